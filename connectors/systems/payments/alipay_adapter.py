"""Alipay as an adapter: the client that asks for trades, the door for notifications. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl, urlencode

from cryptography.hazmat.primitives.asymmetric import rsa

from config.errors import BadInput, gettext_noop
from connectors.adapters import (
    PACE_FIELDS,
    Access,
    Answered,
    Connector,
    CredentialField,
    Outgoing,
    PushAnswer,
    PushItem,
    PushRequest,
    RateLimit,
    VendorRefusal,
)
from connectors.http import ConnectorError, Retry
from connectors.systems.calls import check_status, get_secret, get_setting, refuse_answer
from connectors.systems.payments import alipay
from connectors.wire import PayloadError, SignatureRefused, Verified

ANSWER_NODE = "alipay_trade_query_response"
TRADE_TOPIC = "trade_status_sync"
_CHECK_NUMBER = "HEDAO-CHECK"
_PEM = re.compile(r"-----BEGIN [A-Z ]+-----.+?-----END [A-Z ]+-----", re.DOTALL)

_APP_ID = CredentialField(
    "app_id",
    gettext_noop("应用 APPID"),
    help=gettext_noop("支付宝开放平台 → 控制台 → 应用详情页顶部的 16 位数字"),
    placeholder="2021000000000001",
)
_PRIVATE_KEY = CredentialField(
    "private_key",
    gettext_noop("应用私钥"),
    is_secret=True,
    is_long=True,
    help=gettext_noop("用支付宝密钥工具生成的 RSA2（2048 位）私钥，PEM 或一整行 base64 都可以"),
)
_PUBLIC_KEY = CredentialField(
    "alipay_public_key",
    gettext_noop("支付宝公钥"),
    is_long=True,
    help=gettext_noop(
        "开发设置 → 接口加签方式里的“支付宝公钥”，不是应用公钥；更换期间可以贴两段 PEM"
    ),
)


def read_public_keys(text: str) -> list[rsa.RSAPublicKey]:
    """One or more public keys: PEM blocks one after the other, or one bare base64."""
    blocks = _PEM.findall(text)
    return [alipay.read_public_key(block) for block in blocks or [text]]


def read_form(body: bytes) -> dict[str, str]:
    """The decoded parameters of a notification's body."""
    return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))


class AlipayClient:
    """Asks Alipay about the trades of one merchant."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._app_id = get_setting(access.config, _APP_ID.name, _APP_ID.label)
        private = get_secret(access, _PRIVATE_KEY.name, _PRIVATE_KEY.label)
        public = get_setting(access.config, _PUBLIC_KEY.name, _PUBLIC_KEY.label)
        try:
            self._private_key = alipay.read_private_key(private)
            self._public_keys = read_public_keys(public)
        except BadInput as error:
            raise ConnectorError(error.message, code=error.code, retry=Retry.NEVER) from error

    def check(self) -> str:
        """Ask for a trade nobody has: both sides' signatures are checked by it."""
        self.ask(_CHECK_NUMBER)
        return gettext_noop("支付宝应答正常，双方签名都对上了")

    def ask(self, order_no: str) -> Answered | None:
        """The trade of a shop's order number; None when it was never created or scanned."""
        params = alipay.build_query(
            app_id=self._app_id,
            private_key=self._private_key,
            order_no=order_no,
            now=self._access.clock(),
        )
        content = params.pop("biz_content")
        response = self._access.send(
            Outgoing(
                operation=alipay.METHOD_QUERY,
                method="POST",
                url=f"{self._access.base_url}/gateway.do?{urlencode(params)}",
                headers={"Content-Type": "application/x-www-form-urlencoded;charset=utf-8"},
                body=urlencode({"biz_content": content}).encode(),
                order_nos=(order_no,),
            )
        )
        check_status(response)
        try:
            answer = alipay.read_answer(
                response.body, node=ANSWER_NODE, public_keys=self._public_keys
            )
        except (PayloadError, SignatureRefused) as error:
            raise refuse_answer(error) from error
        code, sub_code = str(answer.get("code", "")), str(answer.get("sub_code", ""))
        fault = alipay.find_fault(code, sub_code)
        if fault is not None:
            raise VendorRefusal(fault, vendor_code="/".join(filter(None, (code, sub_code)))[:60])
        if (code, sub_code) == alipay.NO_TRADE:
            return None
        mapped = alipay.map_trade(answer)
        if mapped.record.order_no != order_no:
            raise refuse_answer(
                SignatureRefused(gettext_noop("支付宝答的不是所问的订单")), vendor_code=code
            )
        return Answered(mapped, answer)


class AlipayDoor:
    """Asynchronous notifications: a POST form, signed, answered with the plain word."""

    def verify(
        self,
        request: PushRequest,
        *,
        config: Mapping[str, Any],
        secrets: Mapping[str, str],
        now: datetime,
    ) -> Verified:
        """Check the signature over the decoded parameters of the raw body."""
        try:
            return alipay.verify_notification(
                read_form(request.body),
                app_id=str(config.get(_APP_ID.name) or ""),
                public_keys=read_public_keys(str(config.get(_PUBLIC_KEY.name) or "")),
                now=now,
            )
        except BadInput as error:  # an unreadable time, or a key nobody has entered yet
            raise SignatureRefused(
                error.message, code="signature_missing", **error.params
            ) from error

    def read(
        self, request: PushRequest, verified: Verified, *, secrets: Mapping[str, str]
    ) -> Sequence[PushItem]:
        """The one trade a notification is about."""
        params = read_form(request.body)
        topic = params.get("notify_type", "")
        order_no = params.get("out_trade_no", "")[:64]
        is_trade = topic == TRADE_TOPIC and bool(order_no)
        return [
            PushItem(
                kind="record" if is_trade else "unknown",
                replay_key=verified.replay_keys[0],
                topic=topic[:100],
                order_no=order_no,
                payload=params,
            )
        ]

    def map(self, item: PushItem, *, shop: str, stages: Mapping[str, str] | None) -> Answered:
        """The payment a notification tells."""
        params = {name: str(value) for name, value in item.payload.items()}
        return Answered(alipay.map_notification(params), item.payload)

    def answer(self, outcome: str) -> PushAnswer:
        """Anything but the plain word has the notification repeated for a day."""
        if outcome in {"stored", "repeated"}:
            return PushAnswer(200, "text/plain; charset=utf-8", alipay.NOTIFY_ANSWER.encode())
        status = 401 if outcome == "refused" else 400
        return PushAnswer(status, "text/plain; charset=utf-8", b"fail")


ALIPAY = Connector(
    code="alipay",
    label=gettext_noop("支付宝"),
    kind="gateway",
    base_url="https://openapi.alipay.com",
    fields=(_APP_ID, _PRIVATE_KEY, _PUBLIC_KEY, *PACE_FIELDS),
    open=AlipayClient,
    push=AlipayDoor(),
    limit=RateLimit(per_second=20.0, burst=40),
    help=gettext_noop(
        "只查询交易、接收通知，不会发起收款或退款。把下方的通知地址填到下单接口的 notify_url"
    ),
)
