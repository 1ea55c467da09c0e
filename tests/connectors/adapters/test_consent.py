"""Where a browser is sent for a merchant's consent, and whose consent it has to be."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

import pytest

from config.errors import BadInput
from connectors.adapters import Grant, Tokens
from connectors.adapters.consent import check_page_address, check_shop
from connectors.channels.douyin.connector import CONNECTOR as DOUYIN
from connectors.channels.douyin.connector import CONSENT as DOUYIN_PAGE
from connectors.channels.tmall.connector import CONNECTOR as TMALL
from connectors.channels.tmall.connector import CONSENT as TMALL_PAGE

GRANT = Grant(Tokens("a"), "77", "云裳旗舰店")


def test_the_platforms_public_pages_are_the_default_and_every_parameter_is_encoded():
    url = TMALL_PAGE.write_url({"app_key": "1 2"}, callback="https://me/x?y=1", state="a:b&c")
    assert url.startswith("https://oauth.taobao.com/authorize?")
    assert dict(parse_qsl(urlsplit(url).query)) == {
        "response_type": "code", "client_id": "1 2", "redirect_uri": "https://me/x?y=1",
        "state": "a:b&c", "view": "web",
    }  # fmt: skip
    own = {"service_id": "9", "authorise_url": "http://127.0.0.1:1/authorize"}
    assert DOUYIN_PAGE.write_url(own, callback="x", state="s") == (
        "http://127.0.0.1:1/authorize?service_id=9&state=s"
    )
    assert (TMALL.consent, DOUYIN.consent) == (TMALL_PAGE, DOUYIN_PAGE)


@pytest.mark.parametrize(
    "address",
    ["", "oauth.taobao.com", "//a.example/x", "javascript:alert(1)", "https://u:p@a.example",
     "https://a.example/?x=1", "https://a.example/#x", "https://a.example/a b", "https://a\\b",
     "https://a.example:99999", "https://[::1", "data:text/html,x"],
)  # fmt: skip
def test_nothing_but_a_plain_web_page_is_gone_to(address):
    with pytest.raises(BadInput) as refusal:
        check_page_address(address)
    assert refusal.value.code == "bad_page_address"


@pytest.mark.parametrize(
    ("page", "config", "expected", "is_ours"),
    [
        (TMALL_PAGE, {}, "", True),  # the first who comes
        (TMALL_PAGE, {}, "云裳旗舰店", True),
        (TMALL_PAGE, {}, "别家", False),
        (TMALL_PAGE, {"seller_nick": "云裳旗舰店"}, "店铺的别称", True),
        (TMALL_PAGE, {"seller_nick": "别家"}, "云裳旗舰店", False),
        (TMALL_PAGE, {"authorised_shop_id": "77", "seller_nick": "改名前"}, "别称", True),
        (TMALL_PAGE, {"authorised_shop_id": "78"}, "云裳旗舰店", False),
        (DOUYIN_PAGE, {"shop_id": "77"}, "别称", True),
        (DOUYIN_PAGE, {"shop_id": "78"}, "云裳旗舰店", False),
    ],
)
def test_a_shop_is_known_by_its_number_then_its_account_then_its_name(
    page, config, expected, is_ours
):
    if is_ours:
        check_shop(page, config, GRANT, expected_name=expected)
        return
    with pytest.raises(BadInput) as refusal:
        check_shop(page, config, GRANT, expected_name=expected)
    assert refusal.value.code == "other_shop"
    assert "云裳旗舰店" in refusal.value.text
    is_by_name = not config
    assert ("把「店铺主账号」填成 云裳旗舰店" in refusal.value.text) is is_by_name
    assert ("请新接入一个来源" in refusal.value.text) is not is_by_name


def test_an_own_application_asks_nobody_unless_it_has_a_service():
    answers = {"app_key": "1", "app_secret": "s", "shop_id": "7"}
    assert DOUYIN_PAGE.is_own(answers)
    assert not DOUYIN_PAGE.is_own(answers | {"service_id": "9"})
    assert not DOUYIN_PAGE.is_own(answers | {"app_secret": " "})
    assert DOUYIN_PAGE.list_missing({"app_key": "1"}) == ("app_secret", "service_id")
    assert not TMALL_PAGE.is_own({})
