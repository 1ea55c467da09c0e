"""The simulators' keys: made once, readable by their owner only, never changed by reading."""

from __future__ import annotations

import base64
import json
import stat

import pytest

from connectors.simulators.keys import Keys
from tests.connectors.simulators.wire_world import keys as made_keys


@pytest.fixture
def made(monkeypatch):
    """Pairs take a moment to make: one pair serves all of a test."""
    pair = made_keys().alipay.app
    monkeypatch.setattr("connectors.simulators.keys.make_key_pair", lambda: pair)


def test_keys_are_made_once_and_kept(made, tmp_path):
    first = Keys.load_or_create(tmp_path / "sub")

    assert Keys.load_or_create(tmp_path / "sub") == first


def test_the_file_is_readable_by_its_owner_only(made, tmp_path):
    Keys.load_or_create(tmp_path)

    [path] = tmp_path.iterdir()
    assert path.name == "keys.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_new_shop_is_authorised_and_the_others_keep_their_tokens(made, tmp_path):
    before = Keys.load_or_create(tmp_path, tmall_shops=["甲"])

    after = Keys.load_or_create(tmp_path, tmall_shops=["甲", "乙"])

    assert after.tmall.token_of("甲") == before.tmall.token_of("甲")
    assert after.tmall.token_of("乙").access_token != after.tmall.token_of("甲").access_token
    assert Keys.load_or_create(tmp_path, tmall_shops=["乙"]) == after
    with pytest.raises(KeyError):
        after.tmall.token_of("丙")


def test_secrets_have_the_form_their_platforms_ask_for(made, tmp_path):
    keys = Keys.load_or_create(tmp_path)

    assert keys.mall.secret.startswith("whsec_")
    assert 24 <= len(base64.b64decode(keys.mall.secret.removeprefix("whsec_"))) <= 64
    assert len(keys.wechat_pay.api_v3_key.encode()) == 32
    assert keys.alipay.app.private_pem.startswith("-----BEGIN PRIVATE KEY-----")


@pytest.mark.parametrize(
    "text", ["no json", "[]", '{"tmall": {"shops": []}, "douyin": {"shops": []}}']
)
def test_a_file_that_holds_no_keys_is_named(made, tmp_path, text):
    (tmp_path / "keys.json").write_text(text, "utf-8")

    with pytest.raises(ValueError, match="delete it"):
        Keys.load_or_create(tmp_path)

    assert (tmp_path / "keys.json").read_text("utf-8") == text


def test_a_file_of_another_version_is_named(made, tmp_path):
    Keys.load_or_create(tmp_path)
    content = json.loads((tmp_path / "keys.json").read_text("utf-8"))
    del content["qimen"]["customer_id"]
    (tmp_path / "keys.json").write_text(json.dumps(content), "utf-8")

    with pytest.raises(ValueError, match="another version"):
        Keys.load_or_create(tmp_path)
