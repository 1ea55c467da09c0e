"""A local WeChat Pay (API v3): the query of an order and notifications, signed and encrypted.

Wire code of its own, after channels.md 10.2: calls carry `Authorization: WECHATPAY2-SHA256-RSA2048`
over method, path with query, time, nonce and body; answers and notifications carry the platform's
signature in `Wechatpay-*` headers; a notification's content is AES-256-GCM under the APIv3 key.
The repeat schedule and the notice of a refund are those of WeChat Pay's own 退款结果通知
(pay.weixin.qq.com/wiki/doc/apiv3/apis/chapter3_1_11.shtml). The five minutes of tolerance are from
memory.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from connectors.simulators.core import Answer, Bucket, Call, Clock, Faults, Feed, Outbox, Store
from connectors.simulators.keys import WeChatPayKeys
from connectors.simulators.life import Life, has_come
from connectors.simulators.payments import (
    CHANNEL,
    find_trade,
    is_paid,
    is_refunded,
    number_of,
    total_fen,
    transaction_id,
)
from connectors.simulators.reading import BEIJING, refunded_fen, shares
from connectors.simulators.signatures import (
    is_sha256_signed,
    read_private_key,
    read_public_key,
    sign_sha256,
    signed_targets,
)

SCHEMA = "WECHATPAY2-SHA256-RSA2048"
PREFIX = "/v3/pay/transactions/out-trade-no/"
OPERATION = "transactions.out-trade-no"
TOLERANCE = timedelta(minutes=5)
REPEAT_SECONDS = (
    15, 15, 30, 180, 600, 1200, 1800, 1800, 1800, 3600, 10_800, 10_800, 10_800, 21_600, 21_600,
)  # fmt: skip
PAYING_SECONDS = 20
_PAID, _REFUNDED = "paid", "refunded"
_PART = re.compile(r'(\w+)="([^"]*)"')
_STATE_WORDS = {
    "SUCCESS": "支付成功",
    "REFUND": "转入退款",
    "NOTPAY": "订单未支付",
    "CLOSED": "已关闭",
    "USERPAYING": "用户支付中",
}
_REFUND_WORDS = {"SUCCESS": "退款成功", "ABNORMAL": "退款异常", "CLOSED": "退款关闭"}


class Refusal(Exception):
    """An error answer: HTTP status, code, message."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(code)
        self.status, self.content = status, {"code": code, "message": message}


class WeChatPayApp:
    """The API under /v3; `notify_url` gets the notifications, "" keeps them back."""

    name = "wechat_pay"

    def __init__(
        self,
        store: Store,
        clock: Clock,
        faults: Faults,
        outbox: Outbox,
        keys: WeChatPayKeys,
        *,
        notify_url: str = "",
        bucket: Bucket | None = None,
        notify_since: datetime | None = None,
    ) -> None:
        self._store, self._clock, self._faults, self._outbox = store, clock, faults, outbox
        self.keys, self.notify_url = keys, notify_url
        self._bucket = bucket or Bucket(50, 100)
        self._merchant_key = read_public_key(keys.merchant.public_pem)
        self._own_key = read_private_key(keys.platform.private_pem)
        self._cipher = AESGCM(keys.api_v3_key.encode())
        self._feed = Feed(store, CHANNEL, _moments, since=notify_since)

    def operation(self, call: Call) -> tuple[str, None]:
        """The call's name, for faults and costs."""
        return (OPERATION if call.path.startswith(PREFIX) else call.path), None

    # -- the query -----------------------------------------------------------------------------

    def answer(self, call: Call) -> Answer:
        """Answer one call; every answer of the platform itself is signed."""
        try:
            self._check_signature(call)
            status, content = 200, self._query(call)
        except Refusal as refusal:
            status, content = refusal.status, refusal.content
        body = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "Request-ID": secrets.token_hex(10).upper(),
            **self.sign_message(body, call.at),
        }
        return Answer(status, headers, body)

    def _check_signature(self, call: Call) -> None:
        schema, _, rest = call.headers.get("authorization", "").partition(" ")
        parts = dict(_PART.findall(rest))
        if (
            schema != SCHEMA
            or not {
                "mchid",
                "nonce_str",
                "signature",
                "timestamp",
                "serial_no",
            }
            <= parts.keys()
        ):
            raise Refusal(401, "SIGN_ERROR", "Http头Authorization值格式错误，请参考《签名生成》")
        if parts["mchid"] != self.keys.mchid or parts["serial_no"] != self.keys.merchant_serial:
            raise Refusal(401, "SIGN_ERROR", "商户证书序列号有误")
        if not parts["timestamp"].isdigit() or (
            abs(int(parts["timestamp"]) - call.at.timestamp()) > TOLERANCE.total_seconds()
        ):
            raise Refusal(
                401,
                "SIGN_ERROR",
                "Http头Authorization中的timestamp与发起请求的时间不得超过5分钟",
            )
        stamp, nonce, sign = parts["timestamp"], parts["nonce_str"], parts["signature"]
        for target in signed_targets(call):
            message = f"{call.method}\n{target}\n{stamp}\n{nonce}\n".encode() + call.body + b"\n"
            if is_sha256_signed(self._merchant_key, message, sign):
                return
        raise Refusal(401, "SIGN_ERROR", "签名错误，请检查后再试")

    def _query(self, call: Call) -> dict[str, Any]:
        if call.method != "GET" or not call.path.startswith(PREFIX):
            raise Refusal(404, "RESOURCE_NOT_EXISTS", "请求的资源不存在")
        refusal = self._faults.take_refusal(self.name, OPERATION)
        if refusal == "service_error":
            raise Refusal(500, "SYSTEM_ERROR", "系统错误，请用相同参数重试")
        if refusal or self._bucket.take(self._clock.now()):
            raise Refusal(429, "FREQUENCY_LIMITED", "频率超限")
        mchid = dict(call.query).get("mchid", "")
        if not mchid:
            raise Refusal(400, "PARAM_ERROR", "缺少参数mchid")
        if mchid != self.keys.mchid:
            raise Refusal(403, "NO_AUTH", "商户号与签名的商户不一致")
        order_no = call.path.removeprefix(PREFIX)
        now = self._clock.now()
        life = find_trade(self._store, self.name, order_no, now)
        if life is None:
            raise Refusal(404, "ORDER_NOT_EXIST", "订单不存在")
        return self._render(life, now)

    def _render(self, life: Life, now: datetime) -> dict[str, Any]:
        state, total = _state(life, now), total_fen(life, now)
        order: dict[str, Any] = {
            "appid": self.keys.appid,
            "mchid": self.keys.mchid,
            "out_trade_no": life.order_no,
            "trade_state": state,
            "trade_state_desc": _STATE_WORDS[state],
            "attach": "",
        }
        if state in ("SUCCESS", "REFUND"):
            order |= {
                "transaction_id": transaction_id(life),
                "trade_type": "JSAPI",
                "bank_type": "OTHERS",
                "success_time": _write_time(life.gateway_paid or now),
                "payer": {"openid": "o" + number_of("openid" + life.buyer + life.order_no, 27)},
                "amount": {
                    "total": total,
                    "payer_total": total,
                    "currency": "CNY",
                    "payer_currency": "CNY",
                },
            }
        else:
            order["amount"] = {"total": total, "currency": "CNY"}
        return order

    def sign_message(self, body: bytes, at: datetime) -> dict[str, str]:
        """The four headers with which the platform signs an answer or a notification."""
        stamp, nonce = str(int(at.timestamp())), secrets.token_hex(16)
        message = f"{stamp}\n{nonce}\n".encode() + body + b"\n"
        return {
            "Wechatpay-Timestamp": stamp,
            "Wechatpay-Nonce": nonce,
            "Wechatpay-Signature": sign_sha256(self._own_key, message),
            "Wechatpay-Serial": self.keys.platform_serial,
        }

    # -- notifications -------------------------------------------------------------------------

    def tick(self, now: datetime) -> None:
        """Hand the notifications that became due to the outbox."""
        for moment, kind, life in self._feed.due(now):
            if not self.notify_url:
                continue
            if kind == _PAID:
                self.notify(life, now)
            else:
                self.notify_refund(life, moment, kind, _refund_fen(life, moment, kind))

    def notify(self, life: Life, now: datetime) -> None:
        """Send the notification of a payment."""
        self._tell(
            life, f"EV-{number_of('wechat' + life.order_no, 24)}", now, "TRANSACTION.SUCCESS",
            "支付成功", self._seal(self._render(life, now)),
        )  # fmt: skip

    def notify_refund(
        self, life: Life, moment: datetime, refund: str, fen: int, status: str = "SUCCESS"
    ) -> None:
        """Send the notification of one refund of an order, which ended at `moment`; a refund that
        was closed or could not be credited gave nothing back."""
        number = number_of(f"refund{refund}{life.order_no}", 20)
        total = total_fen(life, moment)
        content: dict[str, Any] = {
            "mchid": self.keys.mchid,
            "transaction_id": transaction_id(life),
            "out_trade_no": life.order_no,
            "refund_id": "5030" + number,
            "out_refund_no": "RF" + number,
            "refund_status": status,
            "user_received_account": "支付用户零钱",
            "amount": {
                "total": total, "refund": fen, "payer_total": total, "payer_refund": fen,
            },
        }  # fmt: skip
        if status == "SUCCESS":
            content["success_time"] = _write_time(moment)
        name = f"EV-{number_of(f'wechat{refund}{status}{life.order_no}', 24)}"
        resource = self._seal(content, kind="refund", associated="")
        words = _REFUND_WORDS[status]
        self._tell(life, name, moment, f"REFUND.{status}", words, resource)

    def _tell(
        self, life: Life, name: str, now: datetime, event: str, words: str,
        resource: Mapping[str, str],
    ) -> None:  # fmt: skip
        """Send one notification; anything but 200 or 204 has it repeated, with the same id and
        content and a new signature."""
        body = json.dumps(
            {
                "id": name,
                "create_time": _write_time(now),
                "event_type": event,
                "resource_type": "encrypt-resource",
                "resource": resource,
                "summary": words,
            },
            ensure_ascii=False,
        ).encode()

        def headers(at: datetime) -> Mapping[str, str]:
            return {"Content-Type": "application/json", **self.sign_message(body, at)}

        self._outbox.send(
            app=self.name,
            operation="notify",
            url=self.notify_url,
            headers=headers,
            body=body,
            order_no=life.order_no,
            ok=lambda status, _: status in (200, 204),
            schedule=REPEAT_SECONDS,
        )

    def _seal(self, content: Mapping[str, Any], **kinds: str) -> dict[str, str]:
        text = json.dumps(content, ensure_ascii=False).encode()
        return seal(self._cipher, text, secrets.token_hex(6), **kinds)


def seal(
    cipher: AESGCM,
    text: bytes,
    nonce: str,
    associated: str = "transaction",
    kind: str = "transaction",
) -> dict[str, str]:
    """The `resource` of a notification: AES-256-GCM, nonce of 12 characters, base64."""
    sealed = cipher.encrypt(nonce.encode(), text, associated.encode())
    return {
        "original_type": kind,
        "algorithm": "AEAD_AES_256_GCM",
        "ciphertext": base64.b64encode(sealed).decode(),
        "associated_data": associated,
        "nonce": nonce,
    }


def _moments(life: Life) -> Iterable[tuple[datetime, str]]:
    """A notification goes out when the mall's callback comes; a lost one never does. Every refund,
    of the order or of a line, has one of its own."""
    if life.gateway != "wechat_pay" or life.gateway_paid is None or life.paid is None:
        return
    yield max(life.paid, life.gateway_paid), _PAID
    if life.refunded is not None:
        yield life.refunded, _REFUNDED
    for index, line in enumerate(life.lines):
        if line.refunded is not None and (life.refunded is None or line.refunded < life.refunded):
            yield line.refunded, f"{_REFUNDED} {index}"


def _refund_fen(life: Life, moment: datetime, kind: str) -> int:
    """What one refund gave back: a line's part, or all that was left."""
    if kind == _REFUNDED:
        before = moment - timedelta(microseconds=1)
        return total_fen(life, moment) - refunded_fen(life, before)
    return shares(life)[int(kind.removeprefix(_REFUNDED))]


def _state(life: Life, now: datetime) -> str:
    if is_paid(life, now):
        was_refunded = is_refunded(life, now) or any(
            has_come(line.refunded, now) for line in life.lines
        )
        return "REFUND" if was_refunded else "SUCCESS"
    if has_come(life.closed, now):
        return "CLOSED"
    soon = now + timedelta(seconds=PAYING_SECONDS)
    return "USERPAYING" if has_come(life.gateway_paid, soon) else "NOTPAY"


def _write_time(moment: datetime) -> str:
    return moment.astimezone(BEIJING).isoformat(timespec="seconds")
