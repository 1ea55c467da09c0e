"""The authorisation pages of TOP and Douyin: plain HTTP as a browser does it, no product code."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest

from connectors.simulators.douyin import Douyin
from connectors.simulators.tmall import Tmall
from tests.connectors.simulators import douyin_caller, tmall_caller
from tests.connectors.simulators.douyin_caller import Doudian
from tests.connectors.simulators.lives import DOUYIN_SHOP, TMALL_SHOP
from tests.connectors.simulators.tmall_caller import FORM, Top, signed
from tests.connectors.simulators.wire_world import Reply, WireWorld

CALLBACK = "http://127.0.0.1:8000/back"
ASKED = {
    "response_type": "code",
    "client_id": "10000001",
    "redirect_uri": CALLBACK,
    "state": "s-1&x=2",
}


@pytest.fixture
def top() -> Iterator[Top]:
    world = Top()
    world.app = Tmall(world.store, world.clock, world.faults, tmall_caller.KEYS)
    with world.serving(tmall=world.app):
        yield world


@pytest.fixture
def shop() -> Iterator[Doudian]:
    world = Doudian()
    world.app = Douyin(world.store, world.clock, world.faults, world.outbox, douyin_caller.KEYS)
    with world.serving(douyin=world.app):
        yield world


def decide(world: WireWorld, target: str, asked: dict[str, str], **form: str) -> Reply:
    return world.call("POST", f"{target}?{urlencode(asked)}", urlencode(form).encode(), FORM)


def read_back(reply: Reply) -> tuple[str, dict[str, str]]:
    assert reply.status == 302, reply.body
    parts = urlsplit(reply.headers["location"])
    return f"{parts.scheme}://{parts.netloc}{parts.path}", dict(parse_qsl(parts.query))


def test_a_seller_sees_who_asks_and_agrees_for_one_of_the_shops(top: Top) -> None:
    page = top.call("GET", f"/tmall/oauth/authorize?{urlencode(ASKED)}")
    words = page.body.decode()
    assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "应用 10000001" in words
    assert TMALL_SHOP in words
    assert "同意授权" in words
    assert "拒绝" in words

    back, told = read_back(
        decide(top, "/tmall/oauth/authorize", ASKED, decision="agree", shop="别家旗舰店")
    )

    assert (back, told["state"]) == (CALLBACK, "s-1&x=2")
    answer = top.ask("taobao.top.auth.token.create", session="", code=told["code"])
    result = json.loads(answer["token_result"])
    assert (result["taobao_user_nick"], result["taobao_user_id"]) == ("别家旗舰店", "2200000002")


def test_a_seller_who_refuses_sends_back_an_error_and_the_state(top: Top) -> None:
    back, told = read_back(decide(top, "/tmall/oauth/authorize", ASKED, decision="refuse"))
    assert back == CALLBACK
    assert told == {
        "error": "access_denied", "error_description": "authorize reject", "state": "s-1&x=2",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("response_type", "token"),
        ("client_id", "1"),
        ("redirect_uri", "https://evil.example/back"),
        ("redirect_uri", "javascript:alert(1)"),
        ("redirect_uri", ""),
    ],
)
def test_top_goes_nowhere_that_is_not_registered(top: Top, name: str, value: str) -> None:
    for reply in (
        top.call("GET", f"/tmall/oauth/authorize?{urlencode(ASKED | {name: value})}"),
        decide(
            top, "/tmall/oauth/authorize", ASKED | {name: value}, decision="agree", shop=TMALL_SHOP
        ),
    ):
        assert reply.status == 400
        assert "location" not in reply.headers


def test_a_code_of_top_is_over_after_ten_minutes(top: Top) -> None:
    code = top.app.sessions.authorise(TMALL_SHOP, top.clock.now())
    top.clock.advance(timedelta(minutes=10))
    params = top.params("taobao.top.auth.token.create", session="", code=code)
    assert top.refused(signed(params))["sub_code"] == "isv.invalid-grant"


def test_douyin_goes_back_to_the_registered_address_with_code_or_without(shop: Doudian) -> None:
    asked = {"service_id": shop.app.service_id, "state": "s-1"}
    target = "/douyin/authorize"
    assert shop.call("GET", f"{target}?{urlencode(asked)}").status == 400  # none is registered
    shop.app.callback_url = CALLBACK
    assert shop.call("GET", f"{target}?{urlencode(asked | {'service_id': '1'})}").status == 400
    page = shop.call("GET", f"{target}?{urlencode(asked)}")
    assert page.status == 200
    assert DOUYIN_SHOP in page.body.decode()

    back, told = read_back(decide(shop, target, asked, decision="agree", shop=DOUYIN_SHOP))
    _, refused = read_back(decide(shop, target, asked, decision="refuse"))

    assert back == CALLBACK
    assert refused == {"state": "s-1"}
    params = {"grant_type": "authorization_code", "code": told["code"]}
    tokens = shop.ask("token.create", params, access_token="")
    assert (tokens["shop_id"], tokens["shop_name"]) == (77977, DOUYIN_SHOP)


def test_a_shop_nobody_offered_gets_no_code(top: Top) -> None:
    reply = decide(top, "/tmall/oauth/authorize", ASKED, decision="agree", shop="不存在的店")
    assert (reply.status, "location" in reply.headers) == (400, False)
