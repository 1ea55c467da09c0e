"""Encryption at rest."""

from __future__ import annotations

import base64
import os

import pytest

from config import secrets


def _key() -> str:
    return base64.urlsafe_b64encode(os.urandom(32)).decode()


def test_a_sealed_text_opens_and_hides_its_content():
    sealed = secrets.encrypt("浙江省杭州市", purpose="a")
    assert "浙江" not in sealed
    assert secrets.decrypt(sealed, purpose="a") == "浙江省杭州市"
    assert secrets.encrypt("浙江省杭州市", purpose="a") != sealed


def test_an_empty_text_stays_empty():
    assert secrets.encrypt("", purpose="a") == ""
    assert secrets.decrypt("", purpose="a") == ""


def test_a_value_moved_to_another_column_does_not_open():
    sealed = secrets.encrypt("x", purpose="order.phone")
    with pytest.raises(secrets.SecretUnreadable):
        secrets.decrypt(sealed, purpose="order.name")


def test_an_old_key_still_opens_after_rotation_and_a_removed_one_is_loud(settings):
    old, new = _key(), _key()
    settings.FIELD_KEYS = [old]
    sealed = secrets.encrypt("x", purpose="a")
    settings.FIELD_KEYS = [new, old]
    assert secrets.decrypt(sealed, purpose="a") == "x"
    settings.FIELD_KEYS = [new]
    with pytest.raises(secrets.SecretUnreadable):
        secrets.decrypt(sealed, purpose="a")


def test_a_blind_index_finds_equal_values_per_purpose_only():
    assert secrets.blind_index("138", purpose="a") == secrets.blind_index("138", purpose="a")
    assert secrets.blind_index("138", purpose="a") != secrets.blind_index("138", purpose="b")
    assert secrets.blind_index("", purpose="a") == ""


@pytest.mark.parametrize(
    ("phone", "shown"), [("13812345678", "138****5678"), ("1234", "****"), ("", "")]
)
def test_a_phone_is_masked(phone, shown):
    assert secrets.mask_phone(phone) == shown
