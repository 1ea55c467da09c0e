"""Signatures of the own mall, both ways, and its error codes. Pure. FORMAT.md is the contract.

Pushes follow Standard Webhooks (standardwebhooks.com, specification 1.0): three headers, HMAC-
SHA256 over "id.timestamp.body", secrets written `whsec_` + base64. A shop needs no code of ours:
libraries exist for the common languages. Our calls to the shop are signed in the same way, with
method and path in the signed text, so that a signature is good for one call only.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from config.errors import BadInput, gettext_noop
from connectors.http import Retry
from connectors.wire import Fault, SignatureRefused, Verified, check_window, is_same

TOLERANCE = timedelta(minutes=5)
SECRET_PREFIX = "whsec_"  # noqa: S105 - the marker of a secret, not one
_MIN_KEY_BYTES, _MAX_KEY_BYTES = 24, 64
_MAX_SIGNATURES = 10
_MAX_ID = 128


def read_secret(secret: str) -> bytes:
    """The key inside a secret; raises BadInput when it is not of our form or too weak."""
    try:
        if not secret.startswith(SECRET_PREFIX):
            raise ValueError("prefix")
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except (ValueError, binascii.Error) as error:
        raise BadInput(
            gettext_noop("密钥应以 whsec_ 开头，后接 base64"), code="secret_form"
        ) from error
    if not _MIN_KEY_BYTES <= len(key) <= _MAX_KEY_BYTES:
        raise BadInput(
            gettext_noop("密钥解码后应为 %(min)s 到 %(max)s 字节"),
            code="secret_form",
            min=_MIN_KEY_BYTES,
            max=_MAX_KEY_BYTES,
        )
    return key


def sign_push(secret: str, *, message_id: str, timestamp: int, body: bytes) -> str:
    """The `webhook-signature` of a push: "v1," and base64."""
    return _sign(read_secret(secret), f"{message_id}.{timestamp}.".encode() + body)


def verify_push(
    headers: Mapping[str, str], body: bytes, *, secrets: Sequence[str], now: datetime
) -> Verified:
    """Check a push over its raw bytes: all three headers, the time window, the signature.

    The replay key is the id; the same message sent again keeps its id and is answered as known.
    `secrets`: the one in force, and the one before it while a key is being changed. Every given
    signature is compared with every secret, in constant time.

    Raises SignatureRefused.
    """
    given = {name.lower(): value for name, value in headers.items()}
    message_id = given.get("webhook-id", "")
    stamp, signatures = given.get("webhook-timestamp", ""), given.get("webhook-signature", "")
    if not (message_id and stamp and signatures):
        raise SignatureRefused(
            gettext_noop("推送缺少 webhook-id、webhook-timestamp 或 webhook-signature"),
            code="signature_missing",
        )
    if len(message_id) > _MAX_ID or "." in message_id or not message_id.isprintable():
        # A dot would let one signature stand for two readings of id and time.
        raise SignatureRefused(
            gettext_noop("webhook-id 最多 %(limit)s 个可见字符，不能含有“.”"),
            code="signature_missing",
            limit=_MAX_ID,
        )
    signed_at = check_window(stamp, now=now, tolerance=TOLERANCE)
    message = f"{message_id}.{stamp}.".encode("utf-8", "replace") + body
    candidates = signatures.split(" ")[:_MAX_SIGNATURES]
    held = [
        is_same(_sign(read_secret(secret), message), candidate)
        for secret in secrets
        for candidate in candidates
    ]
    if not any(held):
        raise SignatureRefused(gettext_noop("推送的签名不符，请核对密钥和原始报文"))
    return Verified(replay_keys=(f"private_mall:{message_id}",), signed_at=signed_at)


def sign_call(
    secret: str, *, method: str, target: str, body: bytes, nonce: str, now: datetime
) -> dict[str, str]:
    """The headers of one call to the shop. `target`: path and query exactly as sent."""
    timestamp = int(now.timestamp())
    message = f"{nonce}.{timestamp}.{method.upper()}.{target}.".encode() + body
    return {
        "webhook-id": nonce,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": _sign(read_secret(secret), message),
    }


def _sign(key: bytes, message: bytes) -> str:
    return "v1," + base64.b64encode(hmac.digest(key, message, hashlib.sha256)).decode()


# The `code` of an error answer of the shop (FORMAT.md, errors) -> what may be done.
FAULTS: Mapping[str, Fault] = {
    "bad_signature": Fault(Retry.NEVER, gettext_noop("商城拒绝了签名：请核对密钥")),
    "bad_timestamp": Fault(
        Retry.NEVER, gettext_noop("请求时间与商城相差太大：请校准时钟"), resync_clock=True
    ),
    "bad_request": Fault(Retry.NEVER, gettext_noop("商城说请求参数不对")),
    "forbidden": Fault(Retry.NEVER, gettext_noop("商城没有给这个权限")),
    "not_found": Fault(Retry.NEVER, gettext_noop("商城没有这个订单")),
    "rate_limited": Fault(Retry.LATER, gettext_noop("调用太快，被商城限流")),
    "quota_exceeded": Fault(
        Retry.LATER, gettext_noop("超出商城当日的调用次数"), wait_for_quota=True
    ),
    "busy": Fault(Retry.SAFE, gettext_noop("商城暂时繁忙")),
    "internal": Fault(Retry.SAFE, gettext_noop("商城内部出错")),
}
_UNKNOWN_FAULT = Fault(Retry.NEVER, gettext_noop("商城返回了没有见过的错误码"))


def find_fault(code: str) -> Fault:
    """What an error code allows; NEVER for a code nobody listed. The calls here only read."""
    return FAULTS.get(code, _UNKNOWN_FAULT)
