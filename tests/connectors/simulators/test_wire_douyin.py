"""The Douyin shop platform as channels.md 5 tells it: signatures written here, no product code."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from connectors.simulators.douyin import Douyin
from tests.connectors.simulators.douyin_caller import (
    KEYS,
    Doudian,
    at,
    canonical,
    make,
    numbers,
    seconds,
    signature,
)
from tests.connectors.simulators.lives import DOUYIN_SHOP, minutes


@pytest.fixture
def shop() -> Iterator[Doudian]:
    world = Doudian(at=minutes(0))
    world.receiver.last = (200, b'{"code":0,"msg":"success"}')
    world.app = Douyin(
        world.store, world.clock, world.faults, world.outbox, KEYS, push_since=minutes(0)
    )
    with world.serving(douyin=world.app):
        yield world


# -- signatures ----------------------------------------------------------------------------------

VECTOR_BODY = (
    b'{"order_asc":true,"order_by":"update_time","page":0,"size":100,'
    b'"update_time_end":1762791300,"update_time_start":1762790400}'
)
VECTOR_SIGN = "a4df7fbf6499959e9ac6da9e43a89139e04247f3a8bce908c890c7e76b9c49cd"


def test_the_vector_of_the_manual_comes_out_of_the_signing_used_here() -> None:
    assert signature("order.searchList", "1762791300", VECTOR_BODY) == VECTOR_SIGN
    assert canonical(json.loads(VECTOR_BODY)) == VECTOR_BODY


def test_the_platform_takes_the_vector_of_the_manual(shop: Doudian) -> None:
    shop.clock.set(datetime.fromtimestamp(1762791300, minutes(0).tzinfo))
    answer = shop.send("order.searchList", VECTOR_BODY, timestamp="1762791300", sign=VECTOR_SIGN)
    assert answer["code"] == 10000
    assert answer["data"] == {"shop_order_list": [], "total": 0, "page": 0, "size": 100}


def test_without_a_sign_method_the_signature_is_md5(shop: Doudian) -> None:
    body, stamp = canonical({"page": 0, "size": 1}), str(seconds(shop.clock.now()))
    md5 = signature("order.searchList", stamp, body, how="md5")
    assert shop.send("order.searchList", body, sign_method="", sign=md5)["code"] == 10000
    assert shop.send("order.searchList", body, sign=md5)["sub_code"] == "isv.signature-invalid"
    wrong = shop.send("order.searchList", body, sign_method="")
    assert wrong["sub_code"] == "isv.signature-invalid"


@pytest.mark.parametrize(
    "body",
    [
        b'{"size":1,"page":0}',  # not sorted
        b'{"page": 0,"size":1}',  # not compact
        b'{"page":0,"size":1.0}',  # a trailing .0
        b'{"page":0,"size":1}\n',
        json.dumps({"page": 0, "size": 1, "x": "围巾"}, separators=(",", ":")).encode(),  # escaped
        b'{"a":{"z":1,"b":2},"page":0,"size":1}',  # not sorted inside
    ],
)
def test_parameters_that_are_not_canonical_never_match(shop: Doudian, body: bytes) -> None:
    assert shop.send("order.searchList", body)["sub_code"] == "isv.signature-invalid"


def test_chinese_and_reserved_characters_stay_as_they_are(shop: Doudian) -> None:
    shop.store.add(life := make())
    remark = {"order_id": life.order_no, "remark": "已联系 <A&B>", "star": 5}
    shop.ask("order.addOrderRemark", remark)
    told = shop.detail(life)
    assert (told["seller_words"], told["seller_remark_stars"]) == ("已联系 <A&B>", 5)


# -- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"app_key": ""}, (40001, "isv.app-id-missing")),
        ({"app_key": "7999999999999999999"}, (40003, "isv.app-id-invalid")),
        ({"sign": ""}, (40001, "isv.signature-missing")),
        ({"sign": "00"}, (40003, "isv.signature-invalid")),
        ({"access_token": ""}, (40002, "isv.access-token-missing")),
        ({"access_token": "act-9"}, (40003, "isv.access-token-no-existed")),
        ({"v": "1"}, (40003, "isv.parameter-invalid")),
        ({"timestamp": "soon"}, (40003, "isv.timestamp-format-error")),
        ({"timestamp": "1"}, (40003, "isv.timestamp-invalid")),
    ],
)
def test_a_wrong_call_is_refused_inside_http_200(
    shop: Doudian, change: dict[str, str], expected: tuple[int, str]
) -> None:
    assert shop.refused("order.searchList", {"page": 0, "size": 1}, **change) == expected


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"page": -1, "size": 10}, 40004),
        ({"page": 0, "size": 101}, 40004),
        ({"page": 0, "size": 0}, 40004),
        ({"page": "0", "size": 10}, 40004),
        ({"page": 0, "size": 10, "order_by": "pay_time"}, 40004),
        ({"page": 0, "size": 10, "update_time_start": 20, "update_time_end": 10}, 40004),
        ({"page": 0, "size": 10, "combine_status": [{"order_status": "2"}, {}]}, 40004),
        ({"page": 500, "size": 100}, 50002),
        (["not", "an", "object"], 40003),
    ],
)
def test_wrong_parameters_are_refused(shop: Doudian, params: Any, code: int) -> None:
    assert shop.refused("order.searchList", params)[0] == code


def test_an_unknown_interface_is_off_line(shop: Doudian) -> None:
    assert shop.refused("order.noSuch", {})[0] == 70000


def test_the_date_form_of_the_timestamp_is_taken_too(shop: Doudian) -> None:
    shop.ask("order.searchList", {"page": 0, "size": 1}, timestamp="2025-11-11 00:00:00")


def test_a_platform_whose_clock_is_wrong_refuses_right_timestamps(shop: Doudian) -> None:
    shop.faults.switch("douyin", "*", "wrong_clock", seconds=-700, times=1)
    assert shop.refused("order.searchList", {"page": 0})[1] == "isv.timestamp-invalid"
    assert shop.page()["total"] == 0


def test_throttling_and_service_errors_come_in_the_envelope(shop: Doudian) -> None:
    shop.faults.switch("douyin", "order.searchList", "throttle", times=1)
    assert shop.refused("order.searchList", {"page": 0})[0] == 60000
    shop.faults.switch("douyin", "order.searchList", "service_error", times=1)
    assert shop.refused("order.searchList", {"page": 0}) == (20000, "isp.service-error")


def test_a_shop_that_closed_its_authorisation_is_refused(shop: Doudian) -> None:
    shop.app.tokens.closed.add(DOUYIN_SHOP)
    assert shop.refused("order.searchList", {"page": 0}) == (30001, "dop.authorization-closed")
    refresh = {"grant_type": "refresh_token", "refresh_token": "rft-1"}
    assert shop.refused("token.refresh", refresh, access_token="") == (
        50001, "dop.token-generate-failed:no-authorization",
    )  # fmt: skip


def test_a_token_sees_its_own_shop_only(shop: Doudian) -> None:
    shop.store.add(mine := make(1), other := make(2, shop="别家抖音店"))
    assert numbers(shop.page()) == [mine.order_no]
    assert shop.refused("order.orderDetail", {"shop_order_id": other.order_no})[0] == 50002
    assert shop.refused("order.orderDetail", {})[0] == 40004


# -- tokens --------------------------------------------------------------------------------------


def refresh(shop: Doudian) -> dict[str, Any]:
    """One refreshing call."""
    params = {"grant_type": "refresh_token", "refresh_token": "rft-1"}
    return shop.ask("token.refresh", params, access_token="")


def is_live(shop: Doudian, access: str) -> bool:
    """Whether a token still opens the list."""
    answer = shop.send("order.searchList", canonical({"page": 0}), access_token=access)
    return bool(answer["code"] == 10000)


def test_a_refresh_more_than_an_hour_before_the_end_gives_the_same_tokens(shop: Doudian) -> None:
    shop.clock.advance(timedelta(days=6, hours=22, minutes=59))
    told = refresh(shop)
    assert (told["access_token"], told["refresh_token"]) == ("act-1", "rft-1")
    assert told["expires_in"] == 3660
    assert (told["shop_id"], told["shop_name"]) == (77977, DOUYIN_SHOP)


def test_in_the_last_hour_new_tokens_come_and_the_old_live_an_hour_more(shop: Doudian) -> None:
    shop.clock.advance(timedelta(days=6, hours=23, minutes=30))
    told = refresh(shop)
    assert told["access_token"] != "act-1"
    assert told["expires_in"] == 7 * 86400
    assert is_live(shop, "act-1")
    assert is_live(shop, told["access_token"])
    assert refresh(shop)["access_token"] == told["access_token"]  # a second worker, the old token
    shop.clock.advance(timedelta(minutes=59))
    assert is_live(shop, "act-1")
    shop.clock.advance(timedelta(minutes=2))
    assert not is_live(shop, "act-1")
    assert is_live(shop, told["access_token"])
    dead = {"grant_type": "refresh_token", "refresh_token": "rft-1"}
    assert shop.refused("token.refresh", dead)[1] == "dop.token-generate-failed:token-invalid"


def test_after_the_end_the_old_token_is_dead_at_once(shop: Doudian) -> None:
    shop.clock.advance(timedelta(days=7))
    assert shop.refused("order.searchList", {"page": 0}) == (40003, "isv.access-token-expired")
    told = refresh(shop)
    assert shop.refused("order.searchList", {"page": 0}) == (40003, "isv.access-token-expired")
    assert is_live(shop, told["access_token"])


def test_a_refresh_token_ends_after_fourteen_days(shop: Doudian) -> None:
    shop.clock.advance(timedelta(days=14))
    params = {"grant_type": "refresh_token", "refresh_token": "rft-1"}
    assert shop.refused("token.refresh", params) == (
        50001, "dop.token-generate-failed:token-expired",
    )  # fmt: skip


def test_a_code_is_good_once_and_for_ten_minutes(shop: Doudian) -> None:
    code = shop.app.tokens.authorise(DOUYIN_SHOP, shop.clock.now())
    params = {"grant_type": "authorization_code", "code": code}
    told = shop.ask("token.create", params, access_token="")
    assert is_live(shop, told["access_token"])
    assert shop.refused("token.create", params)[1] == "dop.token-generate-failed:code-invalid"
    late = shop.app.tokens.authorise(DOUYIN_SHOP, shop.clock.now())
    shop.clock.advance(timedelta(minutes=10))
    params = {"grant_type": "authorization_code", "code": late}
    assert shop.refused("token.create", params)[1] == "dop.token-generate-failed:code-expired"


def test_a_self_use_app_names_its_shop(shop: Doudian) -> None:
    params = {"grant_type": "authorization_self", "shop_id": "77977"}
    assert shop.ask("token.create", params, access_token="")["access_token"] == "act-1"
    for wrong in ({**params, "shop_id": "1"}, {"grant_type": "password"}):
        assert shop.refused("token.create", wrong)[0] == 50001


# -- lists ---------------------------------------------------------------------------------------


def test_pages_begin_with_zero_and_the_total_is_told(shop: Doudian) -> None:
    lives = [make(n, n) for n in range(1, 8)]
    shop.store.add(*lives)
    at(shop, 30)
    first, last = shop.page(0, 3), shop.page(2, 3)
    assert numbers(first) == [life.order_no for life in lives[:3]]
    assert (first["total"], first["page"], first["size"]) == (7, 0, 3)
    assert numbers(last) == [lives[6].order_no]
    assert numbers(shop.page(3, 3)) == []


def test_the_default_is_by_creation_newest_first(shop: Doudian) -> None:
    old, new = make(1, 1, paid=minutes(20)), make(2, 2)
    shop.store.add(old, new)
    at(shop, 30)
    found = shop.ask("order.searchList", {"page": 0, "size": 10})
    assert numbers(found) == [new.order_no, old.order_no]
    assert numbers(shop.page()) == [new.order_no, old.order_no]  # ascending by change
    assert numbers(shop.page(order_asc=False)) == [old.order_no, new.order_no]


def test_both_ends_of_a_window_are_inside(shop: Doudian) -> None:
    shop.store.add(life := make(1, 1, paid=minutes(20)))
    at(shop, 30)
    moment = seconds(minutes(20))
    assert numbers(shop.page(update_time_start=moment, update_time_end=moment)) == [life.order_no]
    assert numbers(shop.page(update_time_end=moment - 1)) == []
    born = seconds(minutes(1))
    assert numbers(shop.page(create_time_start=born, create_time_end=born)) == [life.order_no]
    assert numbers(shop.page(create_time_start=born + 1)) == []
    wish = {"create_time_start": born, "update_time_end": moment - 1}
    assert shop.ask("order.searchList", {"page": 0, **wish})["total"] == 0


def test_an_order_older_than_ninety_days_is_in_no_list_but_has_its_detail(shop: Doudian) -> None:
    old = make(1, -90 * 24 * 60 - 1, paid=minutes(1))
    shop.store.add(old, young := make(2, -90 * 24 * 60 + 60, paid=minutes(1)))
    at(shop, 5)
    assert numbers(shop.page()) == [young.order_no]
    early = {"create_time_start": seconds(minutes(-200 * 24 * 60)), "page": 0}
    assert numbers(shop.ask("order.searchList", early)) == [young.order_no]
    assert shop.detail(old)["order_id"] == old.order_no


def test_the_list_shows_an_order_as_it_was_before_its_lag(shop: Doudian) -> None:
    shop.store.add(life := make(1, paid=minutes(2), lag=timedelta(seconds=90)))
    at(shop, 3)
    (told,) = shop.page()["shop_order_list"]
    assert (told["order_status"], told["update_time"]) == (1, seconds(minutes(0)))
    assert shop.detail(life)["order_status"] == 2
    at(shop, 4)
    assert shop.page()["shop_order_list"][0]["order_status"] == 2


def test_orders_in_risk_review_are_told_by_the_abnormal_list_only(shop: Doudian) -> None:
    risky = make(1, paid=minutes(1), risk_from=minutes(2), risk_until=minutes(20))
    grouped = make(2, paid=minutes(1), group=True)
    shop.store.add(risky, grouped, make(3, paid=minutes(1)))
    at(shop, 5)
    assert numbers(shop.page(abnormal_order=2)) == [risky.order_no]
    assert shop.detail(risky)["order_status"] == shop.detail(grouped)["order_status"] == 105
    at(shop, 20)
    assert numbers(shop.page(abnormal_order=2)) == []
    assert shop.detail(risky)["order_status"] == 2


def test_a_status_or_a_trade_type_may_be_asked_for(shop: Doudian) -> None:
    paid, group = make(1, paid=minutes(1)), make(2, paid=minutes(1), group=True)
    shop.store.add(paid, group, make(3))
    at(shop, 5)
    assert numbers(shop.page(combine_status=[{"order_status": "2"}])) == [paid.order_no]
    assert numbers(shop.page(trade_type=1)) == [group.order_no]


def test_a_half_page_keeps_its_total_and_a_repeated_page_gives_the_one_before(
    shop: Doudian,
) -> None:
    shop.store.add(*(make(n, n) for n in range(1, 9)))
    at(shop, 30)
    shop.faults.switch("douyin", "order.searchList", "half_page", page=0, times=1)
    half = shop.page(0, 4)
    assert (len(numbers(half)), half["total"]) == (2, 8)
    whole = numbers(shop.page(0, 4))
    shop.faults.switch("douyin", "order.searchList", "repeated_page", page=1, times=1)
    assert numbers(shop.page(1, 4)) == whole
    assert not set(numbers(shop.page(1, 4))) & set(whole)
