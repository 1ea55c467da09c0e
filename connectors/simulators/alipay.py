"""A local Alipay gateway: `alipay.trade.query` and asynchronous notifications, signed with RSA2.

Wire code of its own, after channels.md 10.2. Calls are judged in the gateway's order: the app, the
signature over all other parameters, the time, the method, the business. Answers are signed over
the raw text of their node, which escapes slashes: who parses it and writes it again cannot verify.
Error codes other than 10000, 20000 and 40004 are from memory, as is the repeat schedule.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlencode

from connectors.simulators.core import Answer, Bucket, Call, Clock, Faults, Feed, Outbox, Store
from connectors.simulators.keys import AlipayKeys
from connectors.simulators.life import Life, has_come
from connectors.simulators.payments import (
    CHANNEL,
    find_trade,
    is_paid,
    is_refunded,
    is_scanned,
    number_of,
    total_fen,
    transaction_id,
    write_yuan,
)
from connectors.simulators.reading import beijing_text, parse_beijing
from connectors.simulators.signatures import (
    is_sha256_signed,
    read_private_key,
    read_public_key,
    sign_sha256,
)

METHOD = "alipay.trade.query"
NODE = "alipay_trade_query_response"
REPEAT_SECONDS = (240, 600, 600, 3600, 7200, 21_600, 54_000)
TOLERANCE = timedelta(minutes=15)  # from memory: the documentation names none
FINISHED_AFTER = timedelta(days=90)  # no refund is possible any more
_PUBLIC = ("app_id", "method", "charset", "sign_type", "sign", "timestamp", "version")


class Refusal(Exception):
    """An answer that is not 10000."""

    def __init__(self, code: str, sub_code: str, sub_msg: str, *, is_signed: bool = True) -> None:
        super().__init__(sub_code)
        self.content = {
            "code": code,
            "msg": _MESSAGES[code],
            "sub_code": sub_code,
            "sub_msg": sub_msg,
        }
        self.is_signed = is_signed


_MESSAGES = {
    "20000": "Service Currently Unavailable",
    "40001": "Missing Required Arguments",
    "40002": "Invalid Arguments",
    "40004": "Business Failed",
}


class AlipayApp:
    """The gateway at /gateway.do; `notify_url` gets the notifications, "" keeps them back."""

    name = "alipay"

    def __init__(
        self,
        store: Store,
        clock: Clock,
        faults: Faults,
        outbox: Outbox,
        keys: AlipayKeys,
        *,
        notify_url: str = "",
        bucket: Bucket | None = None,
        notify_since: datetime | None = None,
    ) -> None:
        self._store, self._clock, self._faults, self._outbox = store, clock, faults, outbox
        self.keys, self.notify_url = keys, notify_url
        self._bucket = bucket or Bucket(50, 100)
        self._app_key = read_public_key(keys.app.public_pem)
        self._own_key = read_private_key(keys.alipay.private_pem)
        self._feed = Feed(store, CHANNEL, _moments, since=notify_since)

    def operation(self, call: Call) -> tuple[str, None]:
        """The method, for faults and costs."""
        return _read_params(call).get("method", "gateway"), None

    # -- the gateway ---------------------------------------------------------------------------

    def answer(self, call: Call) -> Answer:
        """Answer one call; failures too come with HTTP 200."""
        if call.path != "/gateway.do":
            return Answer(404, {"Content-Type": "text/html"}, b"404 Not Found")
        params = _read_params(call)
        try:
            self._check(params, call.at)
            content = self._query(params.get("biz_content", ""), self._clock.now())
        except Refusal as refusal:
            if not refusal.is_signed:
                return self._write("error_response", refusal.content, sign=False)
            content = refusal.content
        return self._write(NODE, content)

    def _check(self, params: Mapping[str, str], now: datetime) -> None:
        """The gateway's own checks."""
        if params.get("app_id") != self.keys.app_id:
            raise Refusal("40002", "isv.invalid-app-id", "无效的AppID参数", is_signed=False)
        for name in _PUBLIC:
            if not params.get(name):
                words = name.replace("_", "-").replace("sign-type", "signature-type")
                words = "signature" if words == "sign" else words
                raise Refusal("40001", f"isv.missing-{words}", f"缺少{name}参数")
        if params["sign_type"] != "RSA2":
            raise Refusal("40002", "isv.invalid-signature-type", "无效的签名类型")
        if params["method"] != METHOD:
            raise Refusal("40002", "isv.invalid-method", "不存在的方法名", is_signed=False)
        if not self._is_signed(params):
            raise Refusal("40002", "isv.invalid-signature", "验签出错，请核对应用私钥和签名内容")
        signed_at = parse_beijing(params["timestamp"])
        if signed_at is None or abs(signed_at - now) > TOLERANCE:
            raise Refusal("40002", "isv.invalid-timestamp", "非法的时间戳参数")
        refusal = self._faults.take_refusal(self.name, METHOD)
        if refusal == "service_error":
            raise Refusal("40004", "ACQ.SYSTEM_ERROR", "系统错误")
        if refusal or self._bucket.take(self._clock.now()):
            raise Refusal("20000", "isp.unknow-error", "系统繁忙")

    def _is_signed(self, params: Mapping[str, str]) -> bool:
        signed = {k: v for k, v in params.items() if k != "sign" and v}
        text = "&".join(f"{name}={signed[name]}" for name in sorted(signed))
        return is_sha256_signed(self._app_key, text.encode(), params["sign"])

    def _query(self, biz_content: str, now: datetime) -> dict[str, Any]:
        try:
            wish = json.loads(biz_content)
            order_no = str(wish.get("out_trade_no") or "")
        except (ValueError, AttributeError):
            raise Refusal("40004", "ACQ.INVALID_PARAMETER", "参数无效") from None
        if not order_no:
            raise Refusal("40004", "ACQ.INVALID_PARAMETER", "参数无效")
        life = find_trade(self._store, self.name, order_no, now)
        if life is None or not is_scanned(life, now):
            raise Refusal("40004", "ACQ.TRADE_NOT_EXIST", "交易不存在")
        return _render_trade(life, now)

    def _write(self, node: str, content: Mapping[str, Any], *, sign: bool = True) -> Answer:
        text = json.dumps(content, ensure_ascii=False, separators=(",", ":")).replace("/", "\\/")
        body = f'{{"{node}":{text}'
        if sign:
            body += f',"sign":"{self._sign(text)}"'
        return Answer(200, {"Content-Type": "text/html;charset=utf-8"}, (body + "}").encode())

    def _sign(self, text: str) -> str:
        return sign_sha256(self._own_key, text.encode())

    # -- notifications -------------------------------------------------------------------------

    def tick(self, now: datetime) -> None:
        """Hand the notifications that became due to the outbox."""
        for _, kind, life in self._feed.due(now):
            if self.notify_url and life.gateway == self.name:
                self.notify(life, now, kind=kind)

    def notify(self, life: Life, now: datetime, *, kind: str = "paid") -> None:
        """Send one notification; anything but the plain text `success` has it repeated."""
        params = _render_notification(life, now, kind) | {
            "app_id": self.keys.app_id,
            "seller_id": self.keys.seller_id,
        }
        text = "&".join(f"{name}={params[name]}" for name in sorted(params) if params[name])
        body = urlencode(params | {"sign": self._sign(text), "sign_type": "RSA2"})
        self._outbox.send(
            app=self.name,
            operation="notify",
            url=self.notify_url,
            headers={"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"},
            body=body.encode(),
            order_no=life.order_no,
            ok=lambda status, answer: status == 200 and answer.strip() == b"success",
            schedule=REPEAT_SECONDS,
        )


def _read_params(call: Call) -> dict[str, str]:
    return dict(call.query) | dict(parse_qsl(call.body.decode("utf-8", "replace"), True))


def _moments(life: Life) -> Iterable[tuple[datetime, str]]:
    """A notification goes out when the mall's callback comes; a lost one never does."""
    if life.gateway == "alipay" and life.gateway_paid is not None and life.paid is not None:
        yield max(life.paid, life.gateway_paid), "paid"
        if life.refunded is not None:
            yield life.refunded, "refunded"


def _status(life: Life, now: datetime) -> str:
    if is_refunded(life, now) or (has_come(life.closed, now) and not is_paid(life, now)):
        return "TRADE_CLOSED"
    if not is_paid(life, now):
        return "WAIT_BUYER_PAY"
    is_over = has_come(life.completed, now - FINISHED_AFTER)
    return "TRADE_FINISHED" if is_over else "TRADE_SUCCESS"


def _buyer(life: Life) -> str:
    return "2088" + number_of("buyer" + life.buyer + life.order_no, 12)


def _render_trade(life: Life, now: datetime) -> dict[str, Any]:
    """The content of an answer, as the query's documentation lists it."""
    total = write_yuan(total_fen(life, now))
    trade: dict[str, Any] = {
        "code": "10000",
        "msg": "Success",
        "trade_no": transaction_id(life),
        "out_trade_no": life.order_no,
        "buyer_logon_id": "138****0000",
        "trade_status": _status(life, now),
        "total_amount": total,
        "buyer_user_id": _buyer(life),
        "store_name": "小程序/" + life.shop,
    }
    if is_paid(life, now):
        trade |= {
            "buyer_pay_amount": total,
            "receipt_amount": total,
            "invoice_amount": total,
            "point_amount": "0.00",
            "send_pay_date": beijing_text(life.gateway_paid or now),
            "fund_bill_list": [{"fund_channel": "ALIPAYACCOUNT", "amount": total}],
        }
    else:
        trade |= {"buyer_pay_amount": "0.00", "receipt_amount": "0.00", "point_amount": "0.00"}
    return trade


def _render_notification(life: Life, now: datetime, kind: str) -> dict[str, str]:
    total = write_yuan(total_fen(life, now))
    moment = life.gateway_paid or now
    content = {
        "notify_time": beijing_text(now),
        "notify_type": "trade_status_sync",
        "notify_id": number_of(f"alipay{kind}{life.order_no}", 34),
        "charset": "utf-8",
        "version": "1.0",
        "trade_no": transaction_id(life),
        "out_trade_no": life.order_no,
        "trade_status": "TRADE_CLOSED" if kind == "refunded" else "TRADE_SUCCESS",
        "total_amount": total,
        "receipt_amount": total,
        "buyer_pay_amount": total,
        "gmt_create": beijing_text(max(life.placed, moment - timedelta(seconds=10))),
        "gmt_payment": beijing_text(moment),
        "subject": life.lines[0].title if life.lines else "",
        "buyer_id": _buyer(life),
        "fund_bill_list": f'[{{"amount":"{total}","fundChannel":"ALIPAYACCOUNT"}}]',
    }
    if kind == "refunded":
        content |= {"refund_fee": total, "gmt_refund": beijing_text(life.refunded or now)}
    return content
