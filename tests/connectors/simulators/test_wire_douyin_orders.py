"""What the simulated Douyin tells of an order (channels.md 5.4, 5.5): fields, money, statuses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from connectors.simulators.douyin import Douyin
from connectors.simulators.life import Life, LifeLine, LifePromotion, LifeShipment
from tests.connectors.simulators.douyin_caller import (
    KEYS,
    Doudian,
    at,
    make,
    seconds,
)
from tests.connectors.simulators.lives import minutes

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
