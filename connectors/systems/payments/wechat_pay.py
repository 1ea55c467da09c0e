"""WeChat Pay v3 (微信支付): signatures, notifications, error codes, transactions. Pure.

Source: channels.md 10.2. Read again in WeChat Pay's own documents: 证书和回调报文解密
(pay.weixin.qq.com/wiki/doc/api_external/en/wechatpay/wechatpay4_2.shtml), 商户订单号查询订单
(pay.weixin.qq.com/doc/v3/merchant/4013070356, 2024-12-27). The window of five minutes is what
published client libraries use.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from urllib.parse import quote

from cryptography.exceptions import InvalidSignature, InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.x509 import load_pem_x509_certificate

from config.errors import BadInput, gettext_noop
from connectors.http import Retry
from connectors.orders.canonical import CanonicalPayment
from connectors.orders.statuses import PaymentStatus
from connectors.wire import (
    Fault,
    Mapped,
    Notice,
    PayloadError,
    Reader,
    SignatureRefused,
    Verified,
    check_window,
    read_json,
)

SCHEME = "WECHATPAY2-SHA256-RSA2048"
TOLERANCE = timedelta(minutes=5)
METHOD_NAME = gettext_noop("微信支付")
_KEY_BYTES = 32
# WeChat probes a merchant's verification with signatures that are wrong on purpose.
_PROBE_PREFIX = "WECHATPAY/SIGNTEST/"


@lru_cache(maxsize=64)  # reading one checks its primes: 60 ms, at every opening of a session
def read_private_key(text: str) -> rsa.RSAPrivateKey:
    """The merchant's private key (apiclient_key.pem)."""
    try:
        key = serialization.load_pem_private_key(text.strip().encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, rsa.RSAPrivateKey) or key.key_size < 2048:
        raise BadInput(
            gettext_noop("商户私钥读不出来：应为 apiclient_key.pem 的内容"), code="private_key"
        )
    return key


def read_public_key(text: str) -> rsa.RSAPublicKey:
    """WeChat Pay's public key, or the platform certificate that holds it; PEM."""
    data = text.strip().encode()
    try:
        if b"BEGIN CERTIFICATE" in data:
            found: object = load_pem_x509_certificate(data).public_key()
        else:
            found = serialization.load_pem_public_key(data)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        found = None
    if not isinstance(found, rsa.RSAPublicKey) or found.key_size < 2048:
        raise BadInput(
            gettext_noop("微信支付公钥读不出来：应为公钥或平台证书的 PEM"), code="public_key"
        )
    return found


def write_signed_call(
    *, method: str, target: str, timestamp: int, nonce: str, body: str = ""
) -> str:
    """What a call signs: five lines, each ended; an empty body is an empty line."""
    return f"{method.upper()}\n{target}\n{timestamp}\n{nonce}\n{body}\n"


def write_query_target(*, order_no: str, merchant_id: str) -> str:
    """Path and query of the order query, exactly as signed and sent."""
    return (
        f"/v3/pay/transactions/out-trade-no/{quote(order_no, safe='')}"
        f"?mchid={quote(merchant_id, safe='')}"
    )


def sign_call(
    *,
    private_key: rsa.RSAPrivateKey,
    merchant_id: str,
    serial_no: str,
    method: str,
    target: str,
    nonce: str,
    now: datetime,
    body: str = "",
) -> str:
    """The `Authorization` header of a call."""
    timestamp = int(now.timestamp())
    text = write_signed_call(
        method=method, target=target, timestamp=timestamp, nonce=nonce, body=body
    )
    signature = private_key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())
    return (
        f'{SCHEME} mchid="{merchant_id}",nonce_str="{nonce}",'
        f'signature="{base64.b64encode(signature).decode()}",'
        f'timestamp="{timestamp}",serial_no="{serial_no}"'
    )


@dataclass(frozen=True, slots=True)
class Notification:
    """A notification that was verified and decrypted; `content` is the transaction."""

    notification_id: str
    event_type: str
    content: Mapping[str, object]


def verify_body(
    headers: Mapping[str, str],
    body: bytes,
    *,
    public_keys: Mapping[str, rsa.RSAPublicKey],
    now: datetime,
) -> datetime:
    """Check a notification or an answer over its raw bytes; returns the signed time.

    `public_keys`: by the serial number of certificate or public key (`Wechatpay-Serial`).
    Raises SignatureRefused.
    """
    given = {name.lower(): value for name, value in headers.items()}
    stamp, nonce = given.get("wechatpay-timestamp", ""), given.get("wechatpay-nonce", "")
    sign, serial = given.get("wechatpay-signature", ""), given.get("wechatpay-serial", "")
    if not (stamp and nonce and sign and serial):
        raise SignatureRefused(
            gettext_noop("微信支付的报文缺少 Wechatpay 签名头"), code="signature_missing"
        )
    signed_at = check_window(stamp, now=now, tolerance=TOLERANCE)
    key = public_keys.get(serial)
    if key is None:
        raise SignatureRefused(gettext_noop("微信支付用了没有登记的证书或公钥，请更新平台证书"))
    try:
        if sign.startswith(_PROBE_PREFIX):
            raise ValueError("probe")
        signature = base64.b64decode(sign, validate=True)
        message = f"{stamp}\n{nonce}\n".encode("utf-8", "surrogatepass") + body + b"\n"
        key.verify(signature, message, padding.PKCS1v15(), hashes.SHA256())
    except (InvalidSignature, ValueError, binascii.Error) as error:
        raise SignatureRefused(gettext_noop("微信支付的签名不符，请核对平台证书")) from error
    return signed_at


def verify_notification(
    headers: Mapping[str, str],
    body: bytes,
    *,
    public_keys: Mapping[str, rsa.RSAPublicKey],
    api_key: str,
    now: datetime,
) -> tuple[Verified, Notification]:
    """Check a notification over its raw bytes, then decrypt what it is about.

    The replay key is the notification's `id`. Answer with 200 or 204.
    Raises SignatureRefused; PayloadError when the body or what is in it cannot be read.
    """
    signed_at = verify_body(headers, body, public_keys=public_keys, now=now)
    envelope = Reader(read_json(body))
    notification_id = envelope.required_identifier("id", limit=100)
    content = Reader(decrypt_resource(envelope.one("resource"), api_key=api_key), "resource")
    return (
        Verified(replay_keys=(f"wechat_pay:{notification_id}",), signed_at=signed_at),
        Notification(
            notification_id=notification_id,
            event_type=envelope.identifier("event_type"),
            content=content.mapping,
        ),
    )


def decrypt_resource(resource: Reader, *, api_key: str) -> object:
    """The value inside `resource`: AES-256-GCM under the APIv3 key, then JSON.

    Raises BadInput for a key of another length; PayloadError when it does not decrypt.
    """
    key = api_key.encode()
    if len(key) != _KEY_BYTES:
        raise BadInput(gettext_noop("APIv3 密钥应为 32 字节"), code="api_key")
    algorithm = resource.identifier("algorithm") or "AEAD_AES_256_GCM"
    if algorithm != "AEAD_AES_256_GCM":
        raise resource.refuse_value("algorithm", "AEAD_AES_256_GCM")
    nonce = resource.required_identifier("nonce").encode()
    sealed = resource.raw("ciphertext")
    if not isinstance(sealed, str):
        raise resource.refuse("ciphertext", gettext_noop("base64 文本"))
    # Authenticated as it came: nothing is trimmed.
    extra = resource.raw("associated_data") or ""
    if not isinstance(extra, str):
        raise resource.refuse("associated_data", gettext_noop("文本"))
    try:
        clear = AESGCM(key).decrypt(
            nonce, base64.b64decode(sealed, validate=True), extra.encode() or None
        )
    except (InvalidTag, ValueError, binascii.Error) as error:
        raise PayloadError(
            gettext_noop("报文字段 %(field)s 解不开，请核对 APIv3 密钥"),
            field=resource.path_of("ciphertext"),
        ) from error
    return read_json(clear)


# The `code` of an error answer -> what may be done (channels.md 10.2). A query only reads.
FAULTS: Mapping[str, Fault] = {
    "SIGN_ERROR": Fault(Retry.NEVER, gettext_noop("微信支付拒绝了签名：请核对商户证书")),
    "NO_AUTH": Fault(Retry.NEVER, gettext_noop("商户号没有这个权限")),
    "FREQUENCY_LIMITED": Fault(Retry.LATER, gettext_noop("调用太快，被微信支付限流")),
    "SYSTEM_ERROR": Fault(Retry.SAFE, gettext_noop("微信支付系统错误")),
    # From memory, like the number 404 of "no such order".
    "PARAM_ERROR": Fault(Retry.NEVER, gettext_noop("请求参数不对")),
    "MCH_NOT_EXISTS": Fault(Retry.NEVER, gettext_noop("商户号不存在：请核对")),
}
UNKNOWN_FAULT = Fault(Retry.NEVER, gettext_noop("微信支付返回了没有见过的错误码"))
NO_ORDER = frozenset({"ORDER_NOT_EXIST", "ORDERNOTEXIST"})


def find_fault(code: str) -> Fault | None:
    """What an error code allows; None for "no such order", which is an answer."""
    return None if code in NO_ORDER else FAULTS.get(code, UNKNOWN_FAULT)


_STATES: Mapping[str, PaymentStatus] = {
    "SUCCESS": PaymentStatus.PAID,
    "REFUND": PaymentStatus.REFUNDED,  # it was paid, and money went back, in part or whole
    "NOTPAY": PaymentStatus.PENDING,
    "USERPAYING": PaymentStatus.PENDING,
    "PAYERROR": PaymentStatus.PENDING,  # the attempt failed; the order may still be paid
    "CLOSED": PaymentStatus.CLOSED,
    "REVOKED": PaymentStatus.CLOSED,
}


def map_transaction(content: Mapping[str, object]) -> Mapped[CanonicalPayment]:
    """A transaction, queried or notified, as a payment. Amounts are fen, its time has a zone.

    The gateway's number comes only once somebody pays: the shop's number names the payment.
    """
    trade = Reader(content)
    order_no = trade.required_identifier("out_trade_no")
    raw = trade.required_identifier("trade_state", limit=40)
    number = trade.identifier("transaction_id", limit=80)
    status, paid_at = _STATES.get(raw), trade.rfc3339("success_time")
    notices: tuple[Notice, ...] = ()
    if status is None:
        status = PaymentStatus.UNKNOWN
        notices = (Notice("unmapped_status", trade.path_of("trade_state"), raw),)
    return Mapped(
        CanonicalPayment(
            order_no=order_no,
            payment_id=f"wechat_pay:{order_no}",
            method=METHOD_NAME,
            status=status,
            amount_fen=trade.one("amount").fen("total"),
            paid_at=paid_at,
            custom={"transaction_id": number} if number else {},
            # Of the other states the gateway tells no moment.
            source_updated_at=paid_at if status is PaymentStatus.PAID else None,
        ),
        notices,
    )


def map_missing(order_no: str) -> Mapped[CanonicalPayment]:
    """What "no such order" says: the gateway has not been asked for money yet."""
    return Mapped(
        CanonicalPayment(
            order_no=order_no,
            payment_id=f"wechat_pay:{order_no}",
            method=METHOD_NAME,
            status=PaymentStatus.PENDING,
        )
    )
