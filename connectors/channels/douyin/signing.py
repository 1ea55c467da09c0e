"""Signatures, pushes and error codes of Douyin shop (抖店). Pure.

Source: channels.md 5.1 (call and signature; computed vector), 5.3 (error codes), 5.6 (pushes).
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from config.errors import gettext_noop
from connectors.http import Retry
from connectors.wire import Fault, PayloadError, Reader, SignatureRefused, Verified, is_same
from connectors.wire import read_json as read_payload

API_VERSION = "2"
SIGN_METHOD = "hmac-sha256"
PROBE_TAG = "0"
_MAX_MESSAGES = 500
_MAX_ID = 190  # the replay table keeps 200 characters of a key
_HMAC_NAMES = frozenset({SIGN_METHOD})
_MD5_NAMES = frozenset({"", "md5"})


def write_param_json(params: Mapping[str, object]) -> str:
    """The canonical body: keys sorted at every level, compact, nothing escaped.

    What is signed and what is sent have to be the same bytes (channels.md 5.1).
    """
    return json.dumps(
        params, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def sign_call(*, app_key: str, secret: str, method: str, param_json: str, timestamp: int) -> str:
    """The signature of a call, lower-case hex; token and sign_method are not part of it."""
    pattern = (
        f"app_key{app_key}method{method}param_json{param_json}timestamp{timestamp}v{API_VERSION}"
    )
    return _hmac(secret, f"{secret}{pattern}{secret}".encode())


def build_query(
    *,
    app_key: str,
    secret: str,
    access_token: str,
    method: str,
    param_json: str,
    now: datetime,
) -> dict[str, str]:
    """The query of a signed call; the body is `param_json` itself."""
    timestamp = int(now.timestamp())
    return {
        "app_key": app_key,
        "method": method,
        "access_token": access_token,
        "timestamp": str(timestamp),
        "v": API_VERSION,
        "sign_method": SIGN_METHOD,
        "sign": sign_call(
            app_key=app_key,
            secret=secret,
            method=method,
            param_json=param_json,
            timestamp=timestamp,
        ),
    }


def sign_push(*, app_key: str, secret: str, body: bytes, sign_method: str = "md5") -> str:
    """The `event-sign` of a pushed body; `sign_method` is the header of that name."""
    message = app_key.encode() + body + secret.encode()
    if sign_method.lower() in _HMAC_NAMES:
        return _hmac(secret, message)
    return hashlib.md5(message, usedforsecurity=False).hexdigest()


@dataclass(frozen=True, slots=True)
class PushMessage:
    """One message of a push. `order_no` is empty where its content names no order."""

    tag: str
    message_id: str
    order_no: str
    content: Mapping[str, object]

    @property
    def is_probe(self) -> bool:
        return self.tag == PROBE_TAG


def verify_push(
    headers: Mapping[str, str], body: bytes, *, app_key: str, secrets: Sequence[str]
) -> tuple[Verified, tuple[PushMessage, ...]]:
    """Check a push over its raw bytes, before anything parses them, and read its messages.

    Douyin signs no time, so there is no time window: the replay keys (`msg_id` of each message)
    are the only guard, and the replay table has to keep them for good. Answer with PUSH_ANSWER
    within 5 s.

    Raises SignatureRefused; PayloadError when the signature holds but the body is no push.
    """
    check_push(headers, body, app_key=app_key, secrets=secrets)
    messages = read_push(body)
    keys = tuple(f"douyin:{m.message_id}" for m in messages if not m.is_probe)
    return Verified(replay_keys=keys), messages


def check_push(
    headers: Mapping[str, str], body: bytes, *, app_key: str, secrets: Sequence[str]
) -> None:
    """Check the signature of a push over its raw bytes; raises SignatureRefused.

    `secrets`: the one in force, and the one before it while a key is being changed.
    """
    given = {name.lower(): value for name, value in headers.items()}
    sign, method = given.get("event-sign", ""), given.get("sign-method", "").lower()
    if not sign or given.get("app-id", app_key) != app_key:
        raise SignatureRefused(
            gettext_noop("抖店推送缺少签名，或不是发给这个应用的"), code="signature_missing"
        )
    if method not in _HMAC_NAMES | _MD5_NAMES:
        raise SignatureRefused(
            gettext_noop("抖店推送的签名方式没有见过，请联系 IT 核对"), code="signature_mismatch"
        )
    held = [
        is_same(
            sign_push(app_key=app_key, secret=secret, body=body, sign_method=method), sign.lower()
        )
        for secret in secrets
    ]
    if not any(held):
        raise SignatureRefused(gettext_noop("抖店推送的签名不符，请核对应用密钥"))


PUSH_ANSWER: Mapping[str, object] = {"code": 0, "msg": "success"}


def read_push(body: bytes) -> tuple[PushMessage, ...]:
    """The messages of a push in their order. Raises PayloadError naming the field."""
    return tuple(read_message(item, index) for index, item in enumerate(split_push(body)))


def split_push(body: bytes) -> list[object]:
    """The messages of a push, not read yet; raises PayloadError when it is no list of them."""
    value = read_payload(body)
    if not isinstance(value, list) or len(value) > _MAX_MESSAGES:
        raise PayloadError(gettext_noop("抖店推送应为消息列表"), code="payload_field", field="$")
    return value


def read_message(item: object, index: int) -> PushMessage:
    """One message of a push; `data` is a JSON text inside the JSON. Raises PayloadError."""
    reader = Reader(item, f"[{index}]")
    tag = reader.required_identifier("tag", limit=20)
    is_probe = tag == PROBE_TAG
    raw = reader.raw("data")
    content = Reader(
        read_payload(raw) if isinstance(raw, str) and raw else raw or {},
        reader.path_of("data"),
    )
    return PushMessage(
        tag=tag,
        message_id=(
            reader.identifier("msg_id", limit=_MAX_ID)
            if is_probe
            else reader.required_identifier("msg_id", limit=_MAX_ID)
        ),
        order_no=content.identifier("p_id"),
        content=content.mapping,
    )


def _hmac(secret: str, message: bytes) -> str:
    return hmac.digest(secret.encode(), message, hashlib.sha256).hex()


# code -> sub_code (or "" for any other) -> what may be done (channels.md 5.3, the new codes).
FAULTS: Mapping[int, Mapping[str, Fault]] = {
    20000: {"": Fault(Retry.SAFE, gettext_noop("抖店服务出错"))},
    20001: {"": Fault(Retry.SAFE, gettext_noop("抖店服务超时"))},
    30001: {"": Fault(Retry.NEVER, gettext_noop("应用没有权限，或店铺的授权已关闭：请重新授权"))},
    30002: {"": Fault(Retry.NEVER, gettext_noop("出口 IP 不在抖店白名单：请在开放平台添加"))},
    40001: {"": Fault(Retry.NEVER, gettext_noop("请求缺少参数"))},
    40002: {"": Fault(Retry.NEVER, gettext_noop("请求缺少参数"))},
    40003: {
        "isv.access-token-expired": Fault(
            Retry.SAFE, gettext_noop("抖店令牌已过期"), refresh_token=True
        ),
        "isv.access-token-no-existed": Fault(
            Retry.SAFE, gettext_noop("抖店令牌不存在"), refresh_token=True
        ),
        "isv.timestamp-invalid": Fault(
            Retry.NEVER, gettext_noop("请求时间与抖店相差太大：请校准时钟"), resync_clock=True
        ),
        "isv.signature-invalid": Fault(Retry.NEVER, gettext_noop("抖店拒绝了签名：请核对应用密钥")),
        "": Fault(Retry.NEVER, gettext_noop("请求参数不对")),
    },
    40004: {"": Fault(Retry.NEVER, gettext_noop("业务参数不对"))},
    50001: {"": Fault(Retry.NEVER, gettext_noop("取不到令牌：请重新授权店铺"))},
    50002: {"": Fault(Retry.NEVER, gettext_noop("抖店业务处理失败"))},
    60000: {"": Fault(Retry.LATER, gettext_noop("调用太快，被抖店限流"))},
    70000: {"": Fault(Retry.NEVER, gettext_noop("抖店的这个接口已下线"))},
    80000: {"": Fault(Retry.NEVER, gettext_noop("被抖店安全策略拒绝"))},
    90000: {"": Fault(Retry.SAFE, gettext_noop("抖店未知错误"))},
}
SUCCESS = 10000
_UNKNOWN_FAULT = Fault(Retry.NEVER, gettext_noop("抖店返回了没有见过的错误码"))


def find_fault(code: int, sub_code: str = "") -> Fault | None:
    """What a code of an answer allows; None for success, NEVER for a code nobody listed."""
    if code == SUCCESS:
        return None
    by_sub_code = FAULTS.get(code)
    if by_sub_code is None:
        return _UNKNOWN_FAULT
    return by_sub_code.get(sub_code) or by_sub_code[""]
