"""What a body looks like to people: structure and numbers stay, persons and credentials do not.

With `only_credentials` it is what may be kept sealed: persons stay, credentials go even there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl, quote, quote_plus, urlencode

# Parts of field names, in lower case. Any field whose name holds one is masked.
_CREDENTIALS = (
    "secret", "token", "session", "password", "passwd", "authorization", "app_key", "appkey",
    "api_key", "apikey", "access_key", "private_key", "privatekey", "credential", "ciphertext",
    "cookie", "signature",
)  # fmt: skip
# A whole word of a name, for "sign" is also a part of design, assign and consign_time.
_SIGN = re.compile(r"(?:^|[_\-.])sign(?:$|[_\-.])|[a-z0-9]Sign(?:$|[A-Z])")
_PERSONS = (
    "receiver", "name", "phone", "mobile", "tel", "address", "detail", "addr", "buyer", "consignee",
    "contact", "nick", "open_id", "openid", "id_card", "idcard", "zip", "postcode", "memo", "remark",
    "words", "note", "email", "town", "street", "oaid", "payer",
)  # fmt: skip
# Names that hold a part of the above and are nobody's: money, states, goods.
_PLAIN = (
    "promotion_name", "sku_name", "product_name", "item_name", "gift_item_name", "company_name",
    "detail_list", "promotion_detail", "promotion_details", "discount_detail", "shop_name",
    "invoice_name", "sub_msg", "trade_status_message",
)  # fmt: skip
_PHONE = re.compile(r"(?<!\d)(1[3-9]\d)\d{4}(\d{4})(?!\d)")
_LONG = 10**6  # a number of so many digits under a personal name is a telephone number
# Closing tags are not asked for: a text that was cut has none.
_XML_TEXT = re.compile(
    r"<([A-Za-z_][\w:.-]*)((?:\s[^<>]*)?)>(?:<!\[CDATA\[(.*?)(\]\]>|$)|([^<>]+))", re.DOTALL
)
_XML_ATTRIBUTE = re.compile(r"""([A-Za-z_][\w:.-]*)=(["'])((?:(?!\2)[^<>])*)""")
_QUOTED = re.compile(r'"([^"\\]{1,60})"\s*:\s*"((?:[^"\\]|\\.)*)"?')
_STAR = "***"
_SHORTEST = 6  # a shorter secret may be part of any word
_TRIES = 40  # places at which a cut text is tried to be closed


def mask_body(text: str, *, only_credentials: bool = False) -> str:
    """A JSON, XML or form body with persons and credentials masked; other text: phones only.

    `only_credentials` is for what is kept sealed: it may hold persons, never a credential.
    """
    stripped = text.lstrip("\ufeff \r\n\t")
    if stripped.startswith(("{", "[")):
        try:
            value = json.loads(stripped)
        except (ValueError, RecursionError):
            return _mask_cut(stripped, only_credentials)
        return _write(mask_value(value, only_credentials=only_credentials))
    if stripped.startswith("<"):
        return _mask_xml(text, only_credentials)
    if "=" in stripped and "\n" not in stripped and " " not in stripped.split("=", 1)[0]:
        pairs = parse_qsl(stripped, keep_blank_values=True)
        return urlencode(
            [(k, _mask_text(v, only_credentials, key=k)) for k, v in pairs], safe='*{}":,[] '
        )
    return text if only_credentials else _PHONE.sub(r"\1****\2", text)


def scrub(text: str, secrets: Iterable[str]) -> str:
    """A text without these very values, as they are or as an address or JSON writes them.

    For what comes back from outside: an error page may quote the whole request.
    """
    for secret in secrets:
        for part in (secret, *secret.splitlines()):
            if len(part) < _SHORTEST:
                continue
            for written in {part, quote(part, safe=""), quote_plus(part), json.dumps(part)[1:-1]}:
                text = text.replace(written, _STAR)
    return text


def mask_value(value: Any, *, only_credentials: bool = False, key: str = "") -> Any:
    """A JSON value with the values of telling names masked, at any depth."""
    if value is None or isinstance(value, bool):
        return value
    if is_credential(key):
        return _STAR
    if isinstance(value, Mapping):
        return {
            k: mask_value(v, only_credentials=only_credentials, key=str(k))
            for k, v in value.items()
        }
    if isinstance(value, list):
        return [mask_value(item, only_credentials=only_credentials, key=key) for item in value]
    if isinstance(value, str):
        return _mask_text(value, only_credentials, key=key)
    if only_credentials:
        return value
    is_phone = isinstance(value, int) and (
        _PHONE.fullmatch(str(value)) or (value > _LONG and is_personal(key))
    )
    return f"{str(value)[:1]}{_STAR}" if is_phone else value


@lru_cache(maxsize=4096)
def is_credential(name: str) -> bool:
    """Whether a field of this name holds a credential."""
    low = name.lower()
    return any(part in low for part in _CREDENTIALS) or bool(_SIGN.search(name))


@lru_cache(maxsize=4096)
def is_personal(name: str) -> bool:
    """Whether a field of this name holds something of a person."""
    low = name.lower()
    return low not in _PLAIN and any(part in low for part in _PERSONS)


def _write(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _mask_text(text: str, only_credentials: bool, *, key: str = "") -> str:
    """The value of a field; it may be JSON or XML itself (Douyin's `data`)."""
    if is_credential(key):
        return _STAR
    if text.lstrip()[:1] in {"{", "[", "<"}:
        inner = mask_body(text, only_credentials=only_credentials)
        if inner != text:
            return inner
    if only_credentials:
        return text
    if is_personal(key):
        return f"{text[:1]}{_STAR}" if text else text
    return _PHONE.sub(r"\1****\2", text)


def _mask_xml(text: str, only_credentials: bool) -> str:
    def mask_element(match: re.Match[str]) -> str:
        name, attributes, marked, end, plain = match.groups()
        inner = plain if marked is None else marked
        if inner.strip():
            inner = _mask_text(inner, only_credentials, key=name)
        inner = inner if marked is None else f"<![CDATA[{inner}{end}"
        return f"<{name}{attributes}>{inner}"

    def mask_attribute(match: re.Match[str]) -> str:
        name, mark, value = match.groups()
        return f"{name}={mark}{_mask_text(value, only_credentials, key=name)}"

    return _XML_ATTRIBUTE.sub(mask_attribute, _XML_TEXT.sub(mask_element, text))


def _mask_cut(text: str, only_credentials: bool) -> str:
    """JSON that was cut short: closed where it can be, else by its quoted names."""
    closed = _close(text)
    if closed is not None:
        return _write(mask_value(closed, only_credentials=only_credentials)) + " …"

    def mask(match: re.Match[str]) -> str:
        name, value = match.group(1), match.group(2)
        return f'"{name}":{_write(_mask_text(value, only_credentials, key=name))}'

    cut = _QUOTED.sub(mask, text)
    return cut if only_credentials else _PHONE.sub(r"\1****\2", cut)


def _close(text: str) -> Any:
    """The value of a JSON text that broke off, as far as it goes; None when it is none."""
    stack: list[str] = []
    places: list[tuple[int, str]] = []  # where a value was over, and what would close the text
    in_string = is_escaped = False
    for position, letter in enumerate(text):
        if in_string:
            if is_escaped:
                is_escaped = False
            elif letter == "\\":
                is_escaped = True
            elif letter == '"':
                in_string = False
        elif letter == '"':
            in_string = True
        elif letter in "{[":
            stack.append("}" if letter == "{" else "]")
        elif letter in "}]":
            if not stack or stack.pop() != letter:
                return None
        elif letter == ",":
            places.append((position, "".join(reversed(stack[-500:]))))
    ending = "".join(reversed(stack[-500:]))
    tries = [(len(text) - cut, '"' + ending) for cut in range(7)] if in_string else []
    tries += [(len(text), ending), *reversed(places[-_TRIES:])]
    for position, closing in tries:
        try:
            return json.loads(text[:position] + closing)
        except (ValueError, RecursionError):
            continue
    return None
