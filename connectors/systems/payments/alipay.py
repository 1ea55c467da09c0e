"""Alipay (支付宝开放平台): RSA2 signatures, notifications, error codes, trades as payments. Pure.

Source: channels.md 10.2. The rules for notifications (without `sign` and `sign_type`, sorted by
name, values decoded once, plain answer `success`) were read again in Antom's "Verifying the
asynchronous notification" (docs.antom.com/ac/web/async) and are the same there. Their repetition
at 4m, 10m, 10m, 1h, 2h, 6h, 15h is from memory.
"""

from __future__ import annotations

import base64
import binascii
import json
import textwrap
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import lru_cache

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from config.errors import BadInput, gettext_noop
from connectors.http import Retry
from connectors.orders.canonical import CanonicalPayment
from connectors.orders.statuses import PaymentStatus
from connectors.wire import (
    SHANGHAI,
    Fault,
    Mapped,
    Notice,
    PayloadError,
    Reader,
    SignatureRefused,
    Verified,
    read_json,
)

METHOD_QUERY = "alipay.trade.query"
NOTIFY_ANSWER = "success"
# A notification is repeated for about 25 hours with the time it was first written.
NOTIFY_TOLERANCE = timedelta(hours=26)
NOTIFY_AHEAD = timedelta(minutes=5)  # so much our clock may be behind Alipay's
METHOD_NAME = gettext_noop("支付宝")


@lru_cache(maxsize=64)  # reading one checks its primes: 60 ms, at every opening of a session
def read_private_key(text: str) -> rsa.RSAPrivateKey:
    """The application's private key: PEM, or the bare base64 the console gives (PKCS#1 or 8)."""
    for label in ("PRIVATE KEY", "RSA PRIVATE KEY"):
        try:
            key = serialization.load_pem_private_key(_to_pem(text, label), password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            continue
        if isinstance(key, rsa.RSAPrivateKey) and key.key_size >= 2048:
            return key
    raise BadInput(
        gettext_noop("应用私钥读不出来：应为至少 2048 位的 RSA 私钥"), code="private_key"
    )


def read_public_key(text: str) -> rsa.RSAPublicKey:
    """Alipay's public key: PEM, or the bare base64 the console gives."""
    try:
        key = serialization.load_pem_public_key(_to_pem(text, "PUBLIC KEY"))
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size < 2048:
        raise BadInput(
            gettext_noop("支付宝公钥读不出来：应为至少 2048 位的 RSA 公钥"), code="public_key"
        )
    return key


def _to_pem(text: str, label: str) -> bytes:
    if "-----BEGIN" in text:
        return text.strip().encode()
    body = "\n".join(textwrap.wrap("".join(text.split()), 64))
    return f"-----BEGIN {label}-----\n{body}\n-----END {label}-----\n".encode()


def write_signed_text(params: Mapping[str, str], *, without: Sequence[str] = ("sign",)) -> str:
    """What is signed: every parameter with a value, sorted by name, `k=v` joined by `&`."""
    return "&".join(
        f"{name}={params[name]}" for name in sorted(params) if params[name] and name not in without
    )


def sign_text(text: str, private_key: rsa.RSAPrivateKey) -> str:
    """RSA2: SHA256withRSA in base64."""
    signature = private_key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())
    return base64.b64encode(signature).decode()


def build_query(
    *, app_id: str, private_key: rsa.RSAPrivateKey, order_no: str, now: datetime
) -> dict[str, str]:
    """The signed parameters of alipay.trade.query for one order number of the shop."""
    params = {
        "app_id": app_id,
        "method": METHOD_QUERY,
        "format": "JSON",
        "charset": "utf-8",
        "sign_type": "RSA2",
        "timestamp": now.astimezone(SHANGHAI).strftime("%Y-%m-%d %H:%M:%S"),
        "version": "1.0",
        "biz_content": json.dumps(
            {"out_trade_no": order_no}, separators=(",", ":"), ensure_ascii=False
        ),
    }
    return params | {"sign": sign_text(write_signed_text(params), private_key)}


def verify_text(text: bytes, sign: str, public_keys: Sequence[rsa.RSAPublicKey]) -> None:
    """Raise SignatureRefused unless one of the keys made this signature of these bytes."""
    try:
        signature = base64.b64decode(sign, validate=True)
    except (ValueError, binascii.Error) as error:
        raise SignatureRefused(gettext_noop("支付宝的签名不是 base64")) from error
    for key in public_keys:
        try:
            key.verify(signature, text, padding.PKCS1v15(), hashes.SHA256())
        except InvalidSignature:
            continue
        return
    raise SignatureRefused(gettext_noop("支付宝的签名不符，请核对支付宝公钥"))


def verify_notification(
    params: Mapping[str, str],
    *,
    app_id: str,
    public_keys: Sequence[rsa.RSAPublicKey],
    now: datetime,
) -> Verified:
    """Check the decoded form parameters of a notification; `sign` and `sign_type` are not signed.

    The replay key is `notify_id`, which stays the same when Alipay repeats the notification.
    Raises SignatureRefused; PayloadError when its time cannot be read.
    """
    sign, notify_id = params.get("sign", ""), params.get("notify_id", "")
    if not sign or not notify_id or params.get("sign_type", "RSA2") != "RSA2":
        raise SignatureRefused(
            gettext_noop("支付宝通知缺少 sign 或 notify_id，或不是 RSA2"), code="signature_missing"
        )
    text = write_signed_text(params, without=("sign", "sign_type"))
    verify_text(text.encode("utf-8", "surrogatepass"), sign, public_keys)
    if params.get("app_id") != app_id:
        raise SignatureRefused(gettext_noop("支付宝通知不是发给这个应用的"))
    signed_at = Reader(params).clock("notify_time")
    if signed_at is None:
        raise SignatureRefused(gettext_noop("支付宝通知没有时间"), code="signature_missing")
    if not -NOTIFY_AHEAD <= now - signed_at <= NOTIFY_TOLERANCE:
        raise SignatureRefused(gettext_noop("支付宝通知的时间太早或太晚"), code="signature_stale")
    return Verified(replay_keys=(f"alipay:{notify_id[:200]}",), signed_at=signed_at)


def read_answer(
    body: bytes, *, node: str, public_keys: Sequence[rsa.RSAPublicKey]
) -> Mapping[str, object]:
    """The node of an answer, checked over its raw text as it stands in the body.

    Source: channels.md 10.2 ("sign over that node's raw text"). An answer with a refusal of the
    gateway itself may carry no signature: it is then good for its error code only. What is a fact
    about a trade (`code` 10000, or "no such trade") is believed in a signed node only.
    """
    text = body.decode("utf-8", "replace")
    answer = Reader(read_json(text))
    if not answer.has(node) and answer.has("error_response"):
        node = "error_response"
    if not answer.has(node):
        raise answer.missing(node)
    # What is read is what was signed, also when a second node of the same name follows.
    cut = cut_node(text, node)
    content = Reader(read_json(cut), node)
    sign = answer.text("sign")
    if sign:
        verify_text(cut.encode(), sign, public_keys)
    elif (code := content.identifier("code")) == SUCCESS or (
        (code, content.identifier("sub_code")) == NO_TRADE
    ):
        raise SignatureRefused(gettext_noop("支付宝的应答没有签名"), code="signature_missing")
    return content.mapping


def cut_node(text: str, node: str) -> str:
    """The raw text of the object of one top-level key."""
    decoder = json.JSONDecoder()
    position = _skip(text, 0, "{")
    while True:
        key, position = _decode(decoder, text, position)
        position = _skip(text, position, ":")
        start = position
        _, position = _decode(decoder, text, position)
        if key == node:
            return text[start:position]
        position = _skip(text, position, ",")


def _decode(decoder: json.JSONDecoder, text: str, position: int) -> tuple[object, int]:
    try:
        value, end = decoder.raw_decode(text, position)
    except (ValueError, RecursionError) as error:
        raise PayloadError(
            gettext_noop("报文不是可读的 JSON"), code="payload_json", field="$"
        ) from error
    return value, end


def _skip(text: str, position: int, mark: str) -> int:
    rest = text[position:].lstrip()
    if not rest.startswith(mark):
        raise PayloadError(gettext_noop("报文不是可读的 JSON"), code="payload_json", field="$")
    position = len(text) - len(rest) + 1
    return position + len(text[position:]) - len(text[position:].lstrip())


SUCCESS = "10000"
# code, or code/sub_code -> what may be done. A query only reads: every repetition is safe.
FAULTS: Mapping[str, Fault] = {
    "20000": Fault(Retry.SAFE, gettext_noop("支付宝服务繁忙")),
    "40004": Fault(Retry.NEVER, gettext_noop("支付宝业务处理失败")),
    "40004/ACQ.SYSTEM_ERROR": Fault(Retry.SAFE, gettext_noop("支付宝系统错误")),
    "40004/ACQ.INVALID_PARAMETER": Fault(Retry.NEVER, gettext_noop("支付宝说参数无效")),
    # The code numbers below are from memory (channels.md 10.2 does not list them).
    "20001": Fault(Retry.NEVER, gettext_noop("支付宝授权权限不足：请重新授权")),
    "40001": Fault(Retry.NEVER, gettext_noop("请求缺少参数")),
    "40002": Fault(Retry.NEVER, gettext_noop("请求参数不对，或签名不符：请核对应用密钥")),
    "40006": Fault(Retry.NEVER, gettext_noop("应用没有这个接口的权限")),
}
_UNKNOWN_FAULT = Fault(Retry.NEVER, gettext_noop("支付宝返回了没有见过的错误码"))
# The shop's trade was never created at Alipay, for example because nobody scanned: no error.
NO_TRADE = ("40004", "ACQ.TRADE_NOT_EXIST")


def find_fault(code: str, sub_code: str = "") -> Fault | None:
    """What a code allows; None for success and for "no such trade", which is an answer."""
    if code == SUCCESS or (code, sub_code) == NO_TRADE:
        return None
    return FAULTS.get(f"{code}/{sub_code}") or FAULTS.get(code, _UNKNOWN_FAULT)


_STATUSES: Mapping[str, PaymentStatus] = {
    "WAIT_BUYER_PAY": PaymentStatus.PENDING,
    "TRADE_CLOSED": PaymentStatus.CLOSED,
    "TRADE_SUCCESS": PaymentStatus.PAID,
    "TRADE_FINISHED": PaymentStatus.PAID,
}


def map_trade(content: Mapping[str, object]) -> Mapped[CanonicalPayment]:
    """The node of alipay.trade.query as a payment; call it with a success answer only.

    TRADE_CLOSED is a time-out or a full refund: with a time of payment it is a refund.
    """
    return _map(Reader(content), paid_key="send_pay_date")


def map_notification(params: Mapping[str, str]) -> Mapped[CanonicalPayment]:
    """A verified notification as a payment: `gmt_payment` is its time, `gmt_refund` a refund."""
    return _map(Reader(params), paid_key="gmt_payment")


def map_missing(order_no: str) -> Mapped[CanonicalPayment]:
    """What "no such trade" says: the gateway has not been asked for money yet."""
    return Mapped(
        CanonicalPayment(
            order_no=order_no,
            payment_id=f"alipay:{order_no}",
            method=METHOD_NAME,
            status=PaymentStatus.PENDING,
        )
    )


def _map(trade: Reader, *, paid_key: str) -> Mapped[CanonicalPayment]:
    """The gateway's number comes only once somebody pays: the shop's number names the payment."""
    order_no = trade.required_identifier("out_trade_no")
    raw = trade.required_identifier("trade_status", limit=40)
    number = trade.identifier("trade_no", limit=80)
    paid_at, status = trade.clock(paid_key), _STATUSES.get(raw)
    notices: tuple[Notice, ...] = ()
    if status is None:
        status = PaymentStatus.UNKNOWN
        notices = (Notice("unmapped_status", trade.path_of("trade_status"), raw),)
    elif status is PaymentStatus.CLOSED and paid_at is not None:
        status = PaymentStatus.REFUNDED
    return Mapped(
        CanonicalPayment(
            order_no=order_no,
            payment_id=f"alipay:{order_no}",
            method=METHOD_NAME,
            status=status,
            amount_fen=trade.yuan("total_amount"),
            paid_at=paid_at,
            custom={"transaction_id": number} if number else {},
            source_updated_at=_read_state_time(trade, status, paid_at),
        ),
        notices,
    )


def _read_state_time(
    trade: Reader, status: PaymentStatus, paid_at: datetime | None
) -> datetime | None:
    """The moment of the state, where Alipay tells it: a notification has all three, a query one."""
    if status is PaymentStatus.REFUNDED:
        # "2025-11-11 03:00:00.123": with milliseconds, unlike every other time.
        refunded = Reader({"gmt_refund": trade.text("gmt_refund")[:19]}).clock("gmt_refund")
        return refunded or trade.clock("gmt_close")
    if status is PaymentStatus.CLOSED:
        return trade.clock("gmt_close")
    return paid_at if status is PaymentStatus.PAID else None
