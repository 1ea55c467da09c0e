"""The wire of TOP: signatures, refusals, parameters, XML for those who forget `format=json`."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from xml.sax.saxutils import escape

from connectors.simulators.reading import parse_beijing

Params = Mapping[str, str]


class Refusal(Exception):
    """An `error_response`."""

    def __init__(self, code: int, msg: str, sub_code: str = "", sub_msg: str = "") -> None:
        super().__init__(msg)
        self.content = {"code": code, "msg": msg}
        if sub_code:
            self.content |= {"sub_code": sub_code, "sub_msg": sub_msg or msg}


def sign(params: Params, secret: str, sign_method: str) -> str | None:
    """TOP's signature; None for a method it does not know (channels.md 3.1)."""
    pairs = sorted((k, v) for k, v in params.items() if k != "sign" and v != "")
    text = "".join(key + value for key, value in pairs).encode()
    key = secret.encode()
    if sign_method == "md5":
        return hashlib.md5(key + text + key, usedforsecurity=False).hexdigest().upper()
    digest = {"hmac": "md5", "hmac-sha256": "sha256"}.get(sign_method)
    return hmac.new(key, text, digest).hexdigest().upper() if digest else None


def limited(sub_code: str, wait: float) -> Refusal:
    """Too many calls; the text tells the seconds of the ban."""
    seconds = max(1, -int(-wait // 1))
    return Refusal(
        7, "App Call Limited", sub_code, f"This ban will last for {seconds} more seconds"
    )


def invalid(name: str, why: str) -> Refusal:
    """A parameter that breaks a rule."""
    return Refusal(41, f"Invalid Arguments:{name}", f"isv.invalid-parameter:{name}", why)


def required(params: Params, name: str) -> str:
    """A parameter that must be there."""
    if not params.get(name, "").strip():
        raise Refusal(40, f"Missing Required Arguments:{name}", f"isv.missing-parameter:{name}")
    return params[name].strip()


def read_fields(params: Params) -> list[str]:
    """The names in `fields`, which is required."""
    return [name.strip() for name in required(params, "fields").split(",") if name.strip()]


def read_moment(params: Params, name: str, default: datetime | None = None) -> datetime:
    """A moment in Beijing time."""
    if default is not None and not params.get(name):
        return default
    moment = parse_beijing(required(params, name))
    if moment is None:
        raise invalid(name, "yyyy-MM-dd HH:mm:ss")
    return moment


def read_integer(params: Params, name: str, default: int) -> int:
    """A whole number."""
    text = params.get(name) or str(default)
    try:
        return int(text)
    except ValueError:
        raise invalid(name, "a number") from None


def to_xml(content: Any, name: str = "") -> str:
    """The same answer as XML: what a caller gets who forgets `format=json`."""
    if isinstance(content, dict):
        inner = "".join(to_xml(value, key) for key, value in content.items())
    elif isinstance(content, list):
        return "".join(to_xml(item, name) for item in content)
    elif isinstance(content, bool):
        inner = str(content).lower()
    else:
        inner = escape(str(content))
    return f"<{name}>{inner}</{name}>" if name else inner
