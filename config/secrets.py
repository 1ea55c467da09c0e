"""Encryption at rest with rotating keys, and blind indexes.

AES-256-GCM; a ciphertext is `key id . nonce . sealed` in URL-safe base64, bound to its purpose
(table and column) as associated data, so that a value moved to another column does not open.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
from functools import lru_cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings

from config.errors import AppError, gettext_noop


class SecretUnreadable(AppError):
    """The key that sealed a value is gone: a loud error, never a silent blank."""

    code = "secret_unreadable"


@lru_cache(maxsize=8)
def _load_key(encoded: str) -> tuple[str, AESGCM]:
    raw = base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))
    if len(raw) != 32:
        raise SecretUnreadable(gettext_noop("FIELD_KEYS 中的密钥必须是 32 字节"))
    return hashlib.sha256(raw).hexdigest()[:8], AESGCM(raw)


def encrypt(text: str, *, purpose: str) -> str:
    """Seal a text with the newest key. An empty text stays empty."""
    if not text:
        return ""
    key_id, cipher = _load_key(settings.FIELD_KEYS[0])
    nonce = os.urandom(12)
    sealed = cipher.encrypt(nonce, text.encode(), purpose.encode())
    return f"{key_id}.{base64.urlsafe_b64encode(nonce + sealed).decode()}"


def decrypt(sealed: str, *, purpose: str) -> str:
    """Open a sealed text with whichever known key made it; raises SecretUnreadable."""
    if not sealed:
        return ""
    key_id, _, body = sealed.partition(".")
    for encoded in settings.FIELD_KEYS:
        known_id, cipher = _load_key(encoded)
        if known_id == key_id:
            try:
                raw = base64.urlsafe_b64decode(body)
                return cipher.decrypt(raw[:12], raw[12:], purpose.encode()).decode()
            except (InvalidTag, ValueError):  # altered, cut short, or moved to another column
                break
    raise SecretUnreadable(
        gettext_noop("密文无法解开：密钥 %(key)s 不在 FIELD_KEYS 中"), key=key_id
    )


def list_key_ids() -> list[str]:
    """The ids of the known keys, newest first: what a sealed value begins with, before the dot."""
    return [_load_key(encoded)[0] for encoded in settings.FIELD_KEYS]


def blind_index(value: str, *, purpose: str) -> str:
    """A keyed hash (16 hex bytes) that finds equal values without revealing them."""
    if not value:
        return ""
    message = f"{purpose}\0{value}".encode()
    return hmac.new(settings.BLIND_INDEX_KEY.encode(), message, hashlib.sha256).hexdigest()[:32]


def mask_phone(phone: str) -> str:
    """138****5678; anything shorter is hidden whole."""
    return f"{phone[:3]}****{phone[-4:]}" if len(phone) >= 11 else "****" if phone else ""


def mask_name(name: str) -> str:
    """王*; the first character stays."""
    return name[0] + "*" * min(len(name) - 1, 2) if name else ""


def mask_address(detail: str) -> str:
    """The first three characters stay."""
    return detail[:3] + "***" if detail else ""
