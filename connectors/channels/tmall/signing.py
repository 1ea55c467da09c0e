"""Signatures of Taobao and Tmall, both ways. Pure.

Source: channels.md 3.1 (call and signature; the official vector and computed ones). Calls of TOP
to us (SPI): `SpiUtils` of the official Java SDK, quoted at `verify_push`.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from urllib.parse import unquote_plus

from config.errors import gettext_noop
from connectors.wire import SHANGHAI, SignatureRefused, Verified, is_same

API_VERSION = "2.0"
CLOCK_FORMAT = "%Y-%m-%d %H:%M:%S"
PUSH_TOLERANCE = timedelta(minutes=5)
_MAX_SIGNED_HEADERS = 20
_CLOCK = re.compile(r"\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}", re.ASCII)


class SignMethod(StrEnum):
    """The three signatures TOP accepts; the value is what `sign_method` says on the wire."""

    MD5 = "md5"
    HMAC_MD5 = "hmac"
    HMAC_SHA256 = "hmac-sha256"


def write_clock(moment: datetime) -> str:
    """A moment as TOP reads it: Beijing time without zone, whole seconds."""
    return moment.astimezone(SHANGHAI).strftime(CLOCK_FORMAT)


def sign_call(params: Mapping[str, str], *, secret: str, method: SignMethod) -> str:
    """The signature of a call, upper-case hex (channels.md 3.1).

    All parameters except `sign` and empty ones, sorted by name, names and values joined. MD5 is
    wrapped by the secret; the HMAC forms are keyed by it and not wrapped. `sign_method` itself is
    among the parameters, so it is signed.
    """
    text = "".join(f"{k}{params[k]}" for k in sorted(params) if k != "sign" and params[k] != "")
    if method is SignMethod.MD5:
        return _md5(f"{secret}{text}{secret}".encode())
    algorithm = hashlib.md5 if method is SignMethod.HMAC_MD5 else hashlib.sha256
    return hmac.new(secret.encode(), text.encode(), algorithm).hexdigest().upper()


def build_form(
    *,
    app_key: str,
    secret: str,
    method: str,
    params: Mapping[str, str],
    now: datetime,
    session: str = "",
    sign_method: SignMethod = SignMethod.HMAC_SHA256,
) -> dict[str, str]:
    """The form of a signed call. Build it anew for every retry: the time is signed, ±10 minutes.

    `format` is always sent, for the server's default is XML. Empty parameters are left out.
    """
    form = {name: value for name, value in params.items() if value != ""}
    form |= {
        "method": method,
        "app_key": app_key,
        "timestamp": write_clock(now),
        "format": "json",
        "v": API_VERSION,
        "sign_method": sign_method.value,
    }
    if session:
        form["session"] = session
    return form | {"sign": sign_call(form, secret=secret, method=sign_method)}


# -- calls of TOP to us ----------------------------------------------------------------------------


def sign_push(params: Mapping[str, str], body: bytes, *, secret: str) -> str:
    """The signature of a call of TOP to us: MD5 over secret, sorted parameters, body, secret."""
    text = "".join(f"{name}{params[name]}" for name in sorted(params) if name != "sign")
    return _md5(f"{secret}{text}".encode() + body + secret.encode())


def verify_push(
    headers: Mapping[str, str],
    query: Sequence[tuple[str, str]],
    body: bytes,
    *,
    secrets: Sequence[str],
    now: datetime,
) -> Verified:
    """Check a text-bodied call of TOP to us over its raw body, before anything parses it.

    Signed are the headers named by `top-sign-list` (URL-decoded), the query without `sign` (as
    decoded pairs) and the raw body. The time is refused outside ± 5 minutes. The replay key is the
    signature itself: the same bytes at the same second have the same. `secrets`: the one in force,
    and the one before it while a key is being changed.

    Source: `SpiUtils.checkSign4TextRequest` and `checkTimestamp` of the official Java SDK
    (com.taobao.api.internal.spi). The SDK lets a time of the future pass; we do not.

    Raises SignatureRefused.
    """
    given: dict[str, str] = {}
    for name, value in query:
        if name in given:
            raise SignatureRefused(
                gettext_noop("推送的参数 %(header)s 重复"),
                code="signature_missing",
                header=name[:40],
            )
        given[name] = value
    sign = given.get("sign", "")
    if not sign:
        raise SignatureRefused(gettext_noop("推送缺少签名"), code="signature_missing")
    signed_at = _check_clock(given.get("timestamp", ""), now)
    params = _read_signed_headers(headers) | given
    held = [is_same(sign_push(params, body, secret=secret), sign.upper()) for secret in secrets]
    if not any(held):
        raise SignatureRefused(gettext_noop("推送的签名不符，请核对应用密钥"))
    return Verified(replay_keys=(f"tmall:{sign.upper()}",), signed_at=signed_at)


def _check_clock(text: str, now: datetime) -> datetime:
    try:
        signed_at = (
            datetime.fromisoformat(text).replace(tzinfo=SHANGHAI)
            if _CLOCK.fullmatch(text)
            else None
        )
    except ValueError:
        signed_at = None
    if signed_at is None:
        raise SignatureRefused(
            gettext_noop("签名的时间不是“年-月-日 时:分:秒”形式的北京时间"),
            code="signature_missing",
            header="timestamp",
        )
    if abs(signed_at - now) > PUSH_TOLERANCE:
        raise SignatureRefused(
            gettext_noop("签名的时间与本机相差超过 %(minutes)s 分钟，请核对双方时钟"),
            code="signature_stale",
            minutes=int(PUSH_TOLERANCE.total_seconds() // 60),
        )
    return signed_at


def _read_signed_headers(headers: Mapping[str, str]) -> dict[str, str]:
    given = {name.lower(): value for name, value in headers.items()}
    names = [name for name in given.get("top-sign-list", "").split(",") if name]
    if len(names) > _MAX_SIGNED_HEADERS:
        raise SignatureRefused(
            gettext_noop("推送签名的请求头太多"), code="signature_missing", header="top-sign-list"
        )
    return {name: unquote_plus(given.get(name.lower(), "")) for name in names}


def _md5(message: bytes) -> str:
    return hashlib.md5(message, usedforsecurity=False).hexdigest().upper()
