"""WeChat Pay as an adapter: the client that asks for transactions, the door for notifications."""

from __future__ import annotations

import json
import secrets as randomness
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509 import load_pem_x509_certificate

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
from connectors.http import ConnectorError, Response, Retry
from connectors.systems.calls import check_status, get_secret, get_setting, refuse_answer
from connectors.systems.payments import wechat_pay
from connectors.wire import PayloadError, Reader, SignatureRefused, Verified, read_json

OPERATION = "transactions.out-trade-no"
_CHECK_NUMBER = "HEDAO-CHECK"

_MERCHANT_ID = CredentialField(
    "merchant_id",
    gettext_noop("商户号"),
    help=gettext_noop("微信支付商户平台 → 账户中心 → 商户信息"),
    placeholder="1900000001",
)
_MERCHANT_SERIAL = CredentialField(
    "merchant_serial_no",
    gettext_noop("商户 API 证书序列号"),
    help=gettext_noop("账户中心 → API 安全 → 商户 API 证书 → 管理证书"),
)
_PRIVATE_KEY = CredentialField(
    "private_key",
    gettext_noop("商户 API 私钥"),
    is_secret=True,
    is_long=True,
    help=gettext_noop("apiclient_key.pem 的全部内容"),
)
_API_KEY = CredentialField(
    "api_v3_key",
    gettext_noop("APIv3 密钥"),
    is_secret=True,
    help=gettext_noop("API 安全里设置的 32 位密钥，用来解开通知的内容"),
)
_PLATFORM_KEY = CredentialField(
    "platform_public_key",
    gettext_noop("微信支付公钥或平台证书"),
    is_long=True,
    help=gettext_noop("PEM 全文，从 BEGIN 到 END；用来核对微信支付的应答和通知"),
)
_PLATFORM_SERIAL = CredentialField(
    "platform_serial_no",
    gettext_noop("微信支付公钥 ID 或平台证书序列号"),
    is_required=False,
    help=gettext_noop("贴的是平台证书时可以留空，会从证书里读出"),
)
_NEXT_KEY = CredentialField(
    "next_platform_public_key",
    gettext_noop("即将启用的公钥或平台证书"),
    is_required=False,
    is_long=True,
    help=gettext_noop("更换期间两把都认，换完后清空"),
)
_NEXT_SERIAL = CredentialField(
    "next_platform_serial_no", gettext_noop("即将启用的公钥 ID 或证书序列号"), is_required=False
)


def read_platform_keys(config: Mapping[str, Any]) -> dict[str, rsa.RSAPublicKey]:
    """The platform's keys by serial number; raises BadInput naming the one that is wrong."""
    found = {}
    for key_field, serial_field in ((_PLATFORM_KEY, _PLATFORM_SERIAL), (_NEXT_KEY, _NEXT_SERIAL)):
        text = str(config.get(key_field.name) or "").strip()
        if not text:
            continue
        key = wechat_pay.read_public_key(text)
        serial = str(config.get(serial_field.name) or "").strip()
        if not serial and "BEGIN CERTIFICATE" in text:
            serial = f"{load_pem_x509_certificate(text.encode()).serial_number:X}"
        if not serial:
            raise BadInput(
                gettext_noop(
                    "请填写微信支付公钥 ID（PUB_KEY_ID_ 开头），商户平台 API 安全里可以看到"
                ),
                code="platform_serial",
            )
        found[serial] = key
    if not found:
        raise BadInput(gettext_noop("还没有填写微信支付公钥或平台证书"), code="not_configured")
    return found


class WeChatPayClient:
    """Asks WeChat Pay about the transactions of one merchant."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._merchant_id = get_setting(access.config, _MERCHANT_ID.name, _MERCHANT_ID.label)
        self._serial_no = get_setting(access.config, _MERCHANT_SERIAL.name, _MERCHANT_SERIAL.label)
        private = get_secret(access, _PRIVATE_KEY.name, _PRIVATE_KEY.label)
        try:
            self._private_key = wechat_pay.read_private_key(private)
            self._platform_keys = read_platform_keys(access.config)
        except BadInput as error:
            raise ConnectorError(error.message, code=error.code, retry=Retry.NEVER) from error

    def check(self) -> str:
        """Ask for a transaction nobody has: both sides' signatures are checked by it."""
        self.ask(_CHECK_NUMBER)
        return gettext_noop("微信支付应答正常，双方签名都对上了")

    def ask(self, order_no: str) -> Answered | None:
        """The transaction of a shop's order number; None when there is none."""
        now = self._access.clock()
        url = self._access.base_url + wechat_pay.write_query_target(
            order_no=order_no, merchant_id=self._merchant_id
        )
        parts = urlsplit(url)
        authorization = wechat_pay.sign_call(
            private_key=self._private_key,
            merchant_id=self._merchant_id,
            serial_no=self._serial_no,
            method="GET",
            target=f"{parts.path}?{parts.query}",
            nonce=randomness.token_hex(16).upper(),
            now=now,
        )
        response = self._access.send(
            Outgoing(
                operation=OPERATION,
                method="GET",
                url=url,
                headers={"Authorization": authorization, "Accept": "application/json"},
                order_nos=(order_no,),
            )
        )
        answer = self._read(response, now)
        if answer is None:
            return None
        mapped = wechat_pay.map_transaction(answer.mapping)
        if mapped.record.order_no != order_no or answer.identifier("mchid") not in {
            "",
            self._merchant_id,
        }:
            raise refuse_answer(SignatureRefused(gettext_noop("微信支付答的不是所问的订单")))
        return Answered(mapped, answer.mapping)

    def _read(self, response: Response, now: datetime) -> Reader | None:
        """The transaction; None for "no such order". What is believed has to be signed."""
        try:
            answer = Reader(read_json(response.body))
            code = answer.identifier("code", limit=60) if response.status >= 400 else ""
        except PayloadError as error:
            check_status(response)  # a proxy's page says nothing but its status
            raise refuse_answer(error) from error
        if response.status >= 400 and code not in wechat_pay.NO_ORDER:
            fault = wechat_pay.find_fault(code) if code else None
            if fault is None:
                check_status(response)
            raise VendorRefusal(fault or wechat_pay.UNKNOWN_FAULT, vendor_code=code)
        try:
            wechat_pay.verify_body(
                response.headers, response.body, public_keys=self._platform_keys, now=now
            )
        except SignatureRefused as error:
            raise refuse_answer(error) from error
        if code:
            return None
        check_status(response)
        return answer


class WeChatPayDoor:
    """Notifications: JSON, signed in headers, its content encrypted."""

    def verify(
        self,
        request: PushRequest,
        *,
        config: Mapping[str, Any],
        secrets: Mapping[str, str],
        now: datetime,
    ) -> Verified:
        """Check the signature over the raw body; the notification's id is its replay key."""
        try:
            signed_at = wechat_pay.verify_body(
                request.headers, request.body, public_keys=read_platform_keys(config), now=now
            )
            number = Reader(read_json(request.body)).required_identifier("id", limit=100)
        except BadInput as error:
            raise SignatureRefused(
                error.message, code="signature_missing", **error.params
            ) from error
        return Verified(replay_keys=(f"wechat_pay:{number}",), signed_at=signed_at)

    def read(
        self, request: PushRequest, verified: Verified, *, secrets: Mapping[str, str]
    ) -> Sequence[PushItem]:
        """The decrypted transaction; a refund is a hint to ask for the transaction anew."""
        envelope = Reader(read_json(request.body))
        topic = envelope.identifier("event_type", limit=100)
        opened = wechat_pay.decrypt_resource(
            envelope.one("resource"), api_key=str(secrets.get(_API_KEY.name) or "").strip()
        )
        content = Reader(opened, "resource")
        order_no = content.identifier("out_trade_no")
        if not order_no:
            kind = "unknown"
        elif content.has("trade_state"):
            kind = "record"
        else:
            kind = "hint" if content.has("refund_status") else "unknown"
        return [
            PushItem(
                kind=kind,
                replay_key=verified.replay_keys[0],
                topic=topic,
                order_no=order_no,
                payload=content.mapping,
            )
        ]

    def map(self, item: PushItem, *, shop: str, stages: Mapping[str, str] | None) -> Answered:
        """The payment a notification tells."""
        return Answered(wechat_pay.map_transaction(item.payload), item.payload)

    def answer(self, outcome: str) -> PushAnswer:
        """200 or 204 is enough; anything else has the notification repeated."""
        is_good = outcome in {"stored", "repeated"}
        words = (
            {"code": "SUCCESS", "message": "成功"}
            if is_good
            else {"code": "FAIL", "message": "失败"}
        )
        status = 200 if is_good else 401 if outcome == "refused" else 400
        return PushAnswer(
            status, "application/json", json.dumps(words, ensure_ascii=False).encode()
        )


WECHAT_PAY = Connector(
    code="wechat_pay",
    label=gettext_noop("微信支付"),
    kind="gateway",
    base_url="https://api.mch.weixin.qq.com",
    fields=(
        _MERCHANT_ID, _MERCHANT_SERIAL, _PRIVATE_KEY, _API_KEY, _PLATFORM_KEY, _PLATFORM_SERIAL,
        _NEXT_KEY, _NEXT_SERIAL, *PACE_FIELDS,
    ),
    open=WeChatPayClient,
    push=WeChatPayDoor(),
    limit=RateLimit(per_second=20.0, burst=40),
    help=gettext_noop(
        "只查询交易、接收通知，不会发起收款或退款。"
        "把下方的通知地址填到下单和退款两个接口的 notify_url"
    ),
)  # fmt: skip
