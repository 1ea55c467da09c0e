"""The Douyin shop platform as channels.md 5 tells it: signatures written here, no product code."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from connectors.simulators.douyin import Douyin
from connectors.simulators.douyin_pushes import sign_event
from connectors.simulators.life import Life, LifeLine, LifePromotion, LifeShipment
from tests.connectors.simulators.douyin_caller import (
    KEY,
    KEYS,
    SECRET,
    Doudian,
    at,
    canonical,
    make,
    numbers,
    seconds,
    signature,
)
from tests.connectors.simulators.lives import DOUYIN_SHOP, make_life, minutes

ORDER_FIELDS = frozenset(
    {
        "order_id", "shop_id", "open_id", "doudian_open_id", "create_time", "pay_time",
        "update_time", "finish_time", "exp_ship_time", "appointment_ship_time", "ship_time",
        "order_expire_time", "cancel_reason", "pay_type", "channel_payment_no", "order_amount",
        "pay_amount", "post_amount", "modify_amount", "promise_info", "seller_words",
        "seller_remark_stars", "buyer_words", "shop_order_tag_ui", "address_tag_ui", "user_tag_ui",
        "accept_order_status", "promotion_detail", "order_phase_list", "sku_order_list",
        "logistics_info", "post_addr", "encrypt_post_tel", "encrypt_post_receiver",
        "mask_post_tel", "mask_post_receiver", "order_status", "main_status",
    }
)  # fmt: skip
LINE_FIELDS = frozenset(
    {
        "order_id", "parent_order_id", "order_level", "trade_type", "pre_sale_type", "item_num",
        "campaign_info", "given_product_type", "master_sku_order_id_list",
        "given_product_activity_info", "inventory_list", "reduce_stock_type",
        "sku_yun_warehouse_info", "after_sale_info", "order_status", "main_status",
    }
)  # fmt: skip


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


# -- what an order tells -------------------------------------------------------------------------


def test_an_order_has_every_field_of_the_manual(shop: Doudian) -> None:
    shop.store.add(life := make(1, paid=minutes(2), locked=minutes(3)))
    at(shop, 5)
    told = shop.detail(life)
    assert told.keys() >= ORDER_FIELDS
    line = told["sku_order_list"][0]
    assert line.keys() >= LINE_FIELDS
    assert line["inventory_list"][0].keys() >= {
        "warehouse_id", "out_warehouse_id", "inventory_type", "count", "warehouse_type",
    }  # fmt: skip
    assert line["order_id"] == line["parent_order_id"] == life.order_no
    assert len({line["order_id"] for line in told["sku_order_list"]}) == 2
    assert told == shop.page()["shop_order_list"][0]


def test_money_adds_up_in_fen(shop: Doudian) -> None:
    coupon = LifePromotion("shopbonus-1_1", "shopbonus", "店铺券", 333)
    life = make(
        1, paid=minutes(5), platform_discount_fen=1500, coupon_fen=333, price_error_fen=700,
        promotions=(coupon,),
    )  # fmt: skip
    shop.store.add(life)
    at(shop, 10)
    told = shop.detail(life)
    detail = told["promotion_detail"]
    assert told["promotion_amount"] == (
        told["promotion_shop_amount"]
        + told["promotion_platform_amount"]
        + told["promotion_talent_amount"]
    )
    assert told["platform_cost_amount"] == (
        told["only_platform_cost_amount"] + told["author_cost_amount"]
    )
    assert told["total_promotion_amount"] == (
        told["promotion_amount"] + told["post_promotion_amount"]
    )
    assert told["post_origin_amount"] == told["post_amount"] + told["post_promotion_amount"]
    assert detail["shop_discount_detail"]["total_amount"] == told["promotion_shop_amount"] == 833
    assert detail["shop_discount_detail"]["coupon_info"][0]["coupon_id"] == "shopbonus-1_1"
    assert detail["platform_discount_detail"]["full_discount_info"][0]["campaign_type"] == 110
    lines = told["sku_order_list"]
    payable = sum(line["pay_amount"] for line in lines) + told["post_amount"]
    assert payable == told["order_amount"] - told["promotion_amount"] == life.payable_fen
    assert told["pay_amount"] - told["promotion_pay_amount"] == payable + 700
    for line in lines:
        assert line["pay_amount"] == line["order_amount"] - line["promotion_amount"]


def test_the_receiver_is_encrypted_and_masked(shop: Doudian) -> None:
    shop.store.add(life := make())
    told = shop.detail(life)
    assert told["post_tel"] == told["post_receiver"] == told["post_addr"]["detail"] == ""
    assert told["encrypt_post_tel"].startswith("$138****1234$")
    assert told["encrypt_post_receiver"].startswith("#王##")
    assert told["mask_post_receiver"] == "王**"
    assert told["post_addr"]["town"]["name"] == "西湖区"
    assert "1号" not in json.dumps(told, ensure_ascii=False)
    shop.store.add(county := make(2, city="东莞市", district=""))
    assert shop.detail(county)["post_addr"]["town"] == {"name": "", "id": ""}


PRESALE: dict[str, Any] = {
    "presale": True, "deposit_fen": 5000, "deposit_paid": minutes(1),
    "balance_opens": minutes(4), "balance_due": minutes(120),
}  # fmt: skip


@pytest.mark.parametrize(
    ("life", "expected"),
    [
        (make(), {"order_status": 1, "main_status": 1, "pay_time": 0, "exp_ship_time": 0}),
        (make(paid=minutes(5)),
         {"order_status": 2, "pay_time": seconds(minutes(5)),
          "exp_ship_time": seconds(minutes(5 + 48 * 60))}),
        (make(cod=True), {"order_status": 2, "pay_type": 0, "pay_time": 0}),
        (make(paid=minutes(5), group=True), {"order_status": 105, "trade_type": 1}),
        (make(paid=minutes(5), group=True, group_done=minutes(9)), {"order_status": 2}),
        (make(paid=minutes(5), group=True, group_failed=minutes(9)),
         {"order_status": 4, "main_status": 21, "cancel_reason": "拼团失败"}),
        (make(paid=minutes(5), risk_from=minutes(6)), {"order_status": 105, "trade_type": 0}),
        (make(**PRESALE), {"order_status": 1, "main_status": 103, "pay_time": 0, "trade_type": 2}),
        (make(**PRESALE, balance_paid=minutes(8)),
         {"order_status": 2, "pay_time": seconds(minutes(8)), "pay_amount": 25_500}),
        (make(**PRESALE, forfeited=minutes(8)), {"order_status": 4, "pay_time": 0}),
        (make(paid=minutes(5), shipped=minutes(9)),
         {"order_status": 3, "ship_time": seconds(minutes(9))}),
        (make(paid=minutes(5), shipped=minutes(7), completed=minutes(9)),
         {"order_status": 5, "finish_time": seconds(minutes(9))}),
        (make(paid=minutes(5), refunded=minutes(9)),
         {"order_status": 4, "main_status": 21, "pay_time": seconds(minutes(5))}),
        (make(paid=minutes(5), shipped=minutes(7), refunded=minutes(9)), {"main_status": 22}),
        (make(paid=minutes(5), shipped=minutes(6), delivered=minutes(7), refunded=minutes(9)),
         {"main_status": 39}),
        (make(closed=minutes(9)),
         {"order_status": 4, "main_status": 4, "pay_time": 0, "cancel_reason": "超时未支付"}),
        (make(paid=minutes(5), unknown_status="777", unknown_from=minutes(9)),
         {"order_status": 777, "main_status": 777}),
    ],
)  # fmt: skip
def test_each_standing_has_the_platforms_numbers(
    shop: Doudian, life: Life, expected: dict[str, Any]
) -> None:
    shop.store.add(life)
    at(shop, 10)
    told = shop.detail(life)
    assert {key: told[key] for key in expected} == expected


def test_the_phases_of_a_presale_link_deposit_and_balance(shop: Doudian) -> None:
    shop.store.add(life := make(1, **PRESALE, balance_paid=minutes(30)))
    at(shop, 10)
    deposit, balance = shop.detail(life)["order_phase_list"]
    assert (deposit["current_phase"], deposit["pay_success"], deposit["phase_pay_amount"]) == (
        1, True, 5000,
    )  # fmt: skip
    assert (balance["pay_success"], balance["phase_pay_time"]) == (False, 0)
    assert balance["phase_open_time"] == seconds(minutes(4))
    assert balance["phase_close_time"] == seconds(minutes(120))
    assert balance["current_phase_status_desc"] == "已开始但未支付"
    at(shop, 30)
    _, balance = shop.detail(life)["order_phase_list"]
    assert balance["phase_pay_amount"] + 5000 == life.payable_fen


def test_an_overdue_balance_is_over_and_not_paid(shop: Doudian) -> None:
    shop.store.add(life := make(1, **PRESALE))
    at(shop, 121)
    told = shop.detail(life)
    assert told["order_phase_list"][1]["current_phase_status_desc"] == "已结束未支付"
    assert told["main_status"] == 103


def test_of_a_part_shipped_order_only_the_sent_line_is_sent(shop: Doudian) -> None:
    parcel = LifeShipment(minutes(8), "顺丰速运", "SF1", (1,))
    life = make(1, paid=minutes(5), part_shipped=minutes(8), shipments=(parcel,))
    shop.store.add(life)
    at(shop, 10)
    told = shop.detail(life)
    assert told["order_status"] == 101
    assert [line["order_status"] for line in told["sku_order_list"]] == [2, 3]
    (parcel_told,) = told["logistics_info"]
    assert parcel_told["tracking_no"] == "SF1"
    assert [item["product_name"] for item in parcel_told["product_info"]] == ["羊毛帽"]


def test_a_gift_is_linked_to_its_main_line_and_a_forgotten_one_leaves_a_master(
    shop: Doudian,
) -> None:
    gift = LifePromotion("mjs-1", "mjs", "满赠", gift_sku="GIFT01", gift_quantity=1)
    goods = LifeLine("A", "大衣", 1, 90_000)
    added = LifeLine("GIFT01", "帆布袋", is_gift=True, gift_of=0)
    given = make(1, lines=[goods, added], promotions=(gift,), gifts_due=1, gifts_packed=1)
    forgotten = make(2, lines=[goods], promotions=(gift,), gifts_due=1)
    shop.store.add(given, forgotten)
    main, free = shop.detail(given)["sku_order_list"]
    assert (main["given_product_type"], free["given_product_type"]) == ("MASTER", "FREE")
    assert free["master_sku_order_id_list"] == [main["order_id"]]
    (alone,) = shop.detail(forgotten)["sku_order_list"]
    assert alone["given_product_type"] == "MASTER"
    assert alone["given_product_activity_info"]["given_product_activity_value"] == "1"


def test_a_refund_asked_for_and_done_is_told_by_the_lines(shop: Doudian) -> None:
    life = make(1, paid=minutes(5), refund_requested=minutes(6), refunded=minutes(20))
    shop.store.add(life)
    at(shop, 10)
    line = shop.detail(life)["sku_order_list"][0]
    assert line["after_sale_info"] == {
        "after_sale_status": 6, "after_sale_type": 2, "refund_status": 1,
    }  # fmt: skip
    at(shop, 20)
    line = shop.detail(life)["sku_order_list"][0]
    assert line["after_sale_info"]["refund_status"] == 3


def test_a_remark_has_limits(shop: Doudian) -> None:
    shop.store.add(life := make())
    for wrong in ({"remark": "字" * 61}, {"remark": "x", "star": 6}):
        params = {"order_id": life.order_no, **wrong}
        assert shop.refused("order.addOrderRemark", params)[0] == 40004


# -- pushes --------------------------------------------------------------------------------------

PUSH_BODY = (
    b'[{"tag":"101","msg_id":"1234567890:0:4500000000000000001:1762790500:1762790500",'
    b'"data":"{\\"p_id\\":4500000000000000001,\\"order_status\\":105}"}]'
)


def test_the_vectors_of_the_pushes_come_out_of_the_platforms_signing() -> None:
    assert sign_event(KEY, PUSH_BODY, SECRET, "md5") == "d91a407907fd2bc14cca8637124cba32"
    assert sign_event(KEY, PUSH_BODY, SECRET, "hmac-sha256") == (
        "30eec0baaecf90ed1c306d284ef01bf9651e1eaae086c9af7d64f2fdc7b0ccdf"
    )


def pushed(shop: Doudian) -> list[tuple[str, dict[str, Any]]]:
    """Tag and data of what arrived."""
    found = []
    for _, _, body in shop.receiver.got:
        messages = json.loads(body)
        assert isinstance(messages, list)
        found += [(message["tag"], json.loads(message["data"])) for message in messages]
    return found


@pytest.mark.parametrize("how", ["md5", "hmac-sha256"])
def test_a_push_is_signed_over_the_raw_body(shop: Doudian, how: str) -> None:
    shop.app.push_url, shop.app.pushes.sign_method = "http://us/inbound/dy", how
    shop.store.add(life := make(1, 1))
    shop.run_to(minutes(1))
    ((url, headers, body),) = shop.receiver.got
    assert url == "http://us/inbound/dy"
    assert (headers["app-id"], headers["sign-method"]) == (KEY, how)
    text = KEY.encode() + body + SECRET.encode()
    right = (
        hashlib.md5(text).hexdigest()  # noqa: S324
        if how == "md5"
        else hmac.new(SECRET.encode(), text, hashlib.sha256).hexdigest()
    )
    assert headers["event-sign"] == right
    ((tag, data),) = pushed(shop)
    assert (tag, data["p_id"], data["order_status"]) == ("100", int(life.order_no), 1)
    assert len(json.loads(body)[0]["msg_id"].split(":")) == 5


def test_every_change_of_an_order_is_pushed_once(shop: Doudian) -> None:
    shop.app.push_url = "http://us/"
    life = make(
        1, 1, paid=minutes(2), risk_from=minutes(2), risk_until=minutes(4), urged=minutes(5),
        address_change_from=minutes(6), address_change_until=minutes(7), shipped=minutes(8),
        completed=minutes(9),
    )  # fmt: skip
    shop.store.add(life, make(2, 1, shop="不在这里的店"), make_life(3))
    shop.run_to(minutes(20))
    assert [tag for tag, _ in pushed(shop)] == [
        "100", "101", "110", "109", "111", "105", "102", "103",
    ]  # fmt: skip
    assert {data["p_id"] for _, data in pushed(shop)} == {int(life.order_no)}
    shop.store.touch(life.order_no, minutes(20))
    shop.run_to(minutes(21))
    assert pushed(shop)[-1][0] == "109"


def test_what_was_before_the_beginning_is_not_pushed(shop: Doudian) -> None:
    shop.app.push_url = "http://us/"
    shop.store.add(make(1, -10, paid=minutes(1)))
    shop.run_to(minutes(5))
    assert [tag for tag, _ in pushed(shop)] == ["101"]


def test_several_changes_at_once_come_in_no_order(shop: Doudian) -> None:
    shop.app.push_url = "http://us/"
    shop.store.add(*(make(n, n / 100) for n in range(1, 41)))
    shop.run_to(minutes(1), step=timedelta(minutes=1))
    told = [data["update_time"] for _, data in pushed(shop)]
    assert len(told) == 40
    assert told != sorted(told)


@pytest.mark.parametrize(
    "answer",
    [
        (500, b""),
        (200, b"ok"),
        (200, b'{"code":1,"msg":"busy"}'),
        (200, b"[]"),
        (302, b'{"code":0}'),
    ],
)
def test_a_push_is_repeated_until_the_answer_is_code_zero(
    shop: Doudian, answer: tuple[int, bytes]
) -> None:
    shop.app.push_url = "http://us/"
    shop.receiver.answers = [answer]
    shop.store.add(make(1, 1))
    shop.run_to(minutes(2))
    assert [a.accepted for a in shop.outbox.ledger] == [False, True]
    bodies = {body for _, _, body in shop.receiver.got}
    assert len(bodies) == 1  # the same msg_id: the receiver can tell it is a repeat


def test_the_probe_has_tag_zero(shop: Doudian) -> None:
    shop.app.pushes.probe("http://us/")
    assert shop.host is not None
    shop.host.pump()
    assert [tag for tag, _ in pushed(shop)] == ["0"]


def test_without_an_address_pushes_are_lost(shop: Doudian) -> None:
    shop.store.add(make(1, 1))
    shop.run_to(minutes(2))
    shop.app.push_url = "http://us/"
    shop.run_to(minutes(3))
    assert shop.receiver.got == []
