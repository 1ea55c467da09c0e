"""What a body looks like to people: structure and numbers stay, persons and credentials do not."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode

# Parts of field names, in lower case. Any field whose name holds one is masked.
_CREDENTIALS = (
    "secret", "token", "session", "password", "passwd", "authorization", "sign", "app_key",
    "appkey", "api_key", "apikey", "access_key", "credential", "ciphertext", "cookie",
)  # fmt: skip
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
_XML_TEXT = re.compile(r"<([A-Za-z_][\w.-]*)>([^<>]+)</\1>")
_STAR = "***"


def mask_body(text: str, *, only_credentials: bool = False) -> str:
    """A JSON, XML or form body with persons and credentials masked; other text: phones only.

    `only_credentials` is for what is kept sealed: it may hold persons, never a credential.
    """
    stripped = text.lstrip("\ufeff \r\n\t")
    if stripped.startswith(("{", "[")):
        try:
            value = json.loads(stripped)
        except ValueError:
            return _mask_cut(text, only_credentials)
        masked = mask_value(value, only_credentials=only_credentials)
        return json.dumps(masked, ensure_ascii=False, indent=None)
    if stripped.startswith("<"):
        return _XML_TEXT.sub(lambda m: _mask_element(m, only_credentials), text)
    if "=" in stripped and "\n" not in stripped and " " not in stripped.split("=", 1)[0]:
        pairs = parse_qsl(stripped, keep_blank_values=True)
        return urlencode(
            [(k, _mask_pair(k, v, only_credentials)) for k, v in pairs], safe='*{}":,[] '
        )
    return _PHONE.sub(r"\1****\2", text)


def mask_value(value: Any, *, only_credentials: bool = False, key: str = "") -> Any:
    """A JSON value with the values of telling names masked, at any depth."""
    if isinstance(value, Mapping):
        return {
            k: mask_value(v, only_credentials=only_credentials, key=str(k))
            for k, v in value.items()
        }
    if isinstance(value, list):
        return [mask_value(item, only_credentials=only_credentials, key=key) for item in value]
    if value is None or isinstance(value, bool):
        return value
    if is_credential(key):
        return _STAR
    if only_credentials:
        return value
    if is_personal(key) and not isinstance(value, int | float):
        return f"{value[:1]}{_STAR}" if value else value
    return _mask_text(value) if isinstance(value, str) else value


def is_credential(name: str) -> bool:
    """Whether a field of this name holds a credential."""
    low = name.lower()
    return any(part in low for part in _CREDENTIALS)


def is_personal(name: str) -> bool:
    """Whether a field of this name holds something of a person."""
    low = name.lower()
    return low not in _PLAIN and any(part in low for part in _PERSONS)


def _mask_text(text: str) -> str:
    """A text may be JSON inside JSON (Douyin's `data`), or hold a telephone number."""
    if text[:1] in {"{", "["}:
        return mask_body(text)
    return _PHONE.sub(r"\1****\2", text)


def _mask_pair(name: str, value: str, only_credentials: bool) -> str:
    if is_credential(name):
        return _STAR
    if value[:1] in {"{", "["}:
        return mask_body(value, only_credentials=only_credentials)
    if only_credentials:
        return value
    return f"{value[:1]}{_STAR}" if value and is_personal(name) else _PHONE.sub(r"\1****\2", value)


def _mask_element(match: re.Match[str], only_credentials: bool) -> str:
    name, text = match.group(1), match.group(2)
    if is_credential(name):
        text = _STAR
    elif not only_credentials:
        text = f"{text[:1]}{_STAR}" if is_personal(name) else _PHONE.sub(r"\1****\2", text)
    return f"<{name}>{text}</{name}>"


def _mask_cut(text: str, only_credentials: bool) -> str:
    """JSON that was cut short: by its quoted names, as far as they can be seen."""

    def mask(match: re.Match[str]) -> str:
        name, value = match.group(1), match.group(2)
        if is_credential(name):
            return f'"{name}":"{_STAR}"'
        if only_credentials or not is_personal(name):
            return match.group(0)
        return f'"{name}":"{value[:1]}{_STAR}"'

    cut = re.sub(r'"([^"\\]{1,60})"\s*:\s*"((?:[^"\\]|\\.)*)"?', mask, text)
    return cut if only_credentials else _PHONE.sub(r"\1****\2", cut)
