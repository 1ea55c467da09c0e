"""Douyin's orders in our words: golden payloads and every mutation of them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.channels.douyin.mapping import map_order
from connectors.wire import PayloadError
from tests.connectors.goldens import (
    check_mutation,
    find_keys,
    list_cases,
    list_mutations,
    load_case,
    mutate,
    walk,
    write_notices,
    write_record,
)
from tests.connectors.wire.test_wire import ANYTHING

CASES = list_cases("douyin")
# Every field channels.md 5.5 lists (nested JSON texts apart).
LISTED = """
order_id shop_id open_id doudian_open_id create_time pay_time update_time finish_time exp_ship_time
appointment_ship_time ship_time order_expire_time cancel_reason pay_type channel_payment_no
order_amount pay_amount post_amount modify_amount promise_info seller_words seller_remark_stars
buyer_words shop_order_tag_ui address_tag_ui user_tag_ui accept_order_status promotion_amount
promotion_shop_amount promotion_platform_amount promotion_talent_amount promotion_pay_amount
platform_cost_amount only_platform_cost_amount author_cost_amount total_promotion_amount
post_promotion_amount post_origin_amount promotion_detail shop_discount_detail
platform_discount_detail kol_discount_detail total_amount coupon_info coupon_id coupon_type
coupon_amount share_discount_cost platform_cost shop_cost author_cost full_discount_info
campaign_type redpack_info gold_coin_amount campaign_info order_phase_list phase_order_id
current_phase total_phase pay_success phase_payable_price phase_open_time phase_pay_time
phase_close_time phase_pay_amount phase_promotion_amount current_phase_status_desc
given_product_type master_sku_order_id_list given_product_activity_info inventory_list
warehouse_id out_warehouse_id inventory_type count warehouse_type reduce_stock_type
sku_yun_warehouse_info post_addr province city town street encrypt_detail encrypt_post_tel
encrypt_post_receiver mask_post_tel mask_post_receiver logistics_info tracking_no company
delivery_id product_info order_status main_status trade_type pre_sale_type after_sale_info
after_sale_status after_sale_type refund_status
""".split()  # noqa: SIM905 - a hundred names read better as lines


def _map(payload: Any) -> Any:
    return map_order(payload, shop="河道羊绒旗舰店")


@pytest.mark.parametrize("name", CASES)
def test_a_golden_payload_maps_to_its_order(name: str) -> None:
    case = load_case("douyin", name)

    mapped = map_order(case["payload"], shop="河道羊绒旗舰店", **case["options"])

    assert write_record(mapped.record) == case["expected"]
    assert write_notices(mapped) == case["notices"]
    assert mapped.record.raw == case["payload"]


def test_the_goldens_cover_the_situations_and_every_listed_field() -> None:
    assert {
        "paid",
        "unpaid",
        "presale_deposit_paid",
        "balance_overdue",
        "group_open",
        "risk_review",
        "part_shipped",
        "refund_before_shipping",
        "masked_receiver",
        "promotion_stack_with_gifts",
        "unknown_status",
    } <= set(CASES)
    keys = set().union(*(find_keys(load_case("douyin", name)["payload"]) for name in CASES))
    assert set(LISTED) - keys == set()


@pytest.mark.parametrize(
    ("name", "change", "stage"),
    [
        ("paid", {"order_status": 101}, "part_shipped"),
        ("paid", {"main_status": 22}, "closed_refunded"),
        ("paid", {"main_status": 39}, "closed_refunded"),
        ("paid", {"order_status": 105}, "pay_processing"),
        ("unpaid", {"main_status": 103}, "deposit_paid"),
        ("unpaid", {"order_status": 4}, "closed_unpaid"),
        ("presale_deposit_paid", {"main_status": 1}, "deposit_paid"),
        ("group_open", {"order_status": 0}, "unknown"),
    ],
)
def test_the_stage_follows_the_table(name: str, change: dict[str, Any], stage: str) -> None:
    payload = load_case("douyin", name)["payload"] | change

    assert _map(payload).record.stage == stage


def test_an_order_in_two_parcels_is_sent_with_the_last_of_them() -> None:
    payload = load_case("douyin", "shipped")["payload"]
    first = payload["logistics_info"][0]
    last = {**first, "tracking_no": "SF2", "delivery_id": "2", "ship_time": 1762797600}

    record = _map(payload | {"logistics_info": [first, last]}).record

    assert payload["ship_time"] == first["ship_time"]  # the order tells of the first parcel only
    assert record.shipped_at.timestamp() == 1762797600
    assert [parcel.shipped_at.timestamp() for parcel in record.shipments] == [
        first["ship_time"], 1762797600,
    ]  # fmt: skip


def test_a_group_in_risk_review_waits_for_the_group_and_says_both() -> None:
    mapped = map_order(load_case("douyin", "group_open")["payload"], shop="s", in_risk_review=True)

    assert (mapped.record.stage, mapped.record.group_state) == ("await_group", "open")
    assert mapped.record.risk_state == "风控审核中"


@pytest.mark.parametrize(
    ("after_sale", "state"),
    [
        ((6, 2, 1), "requested"),
        ((7, 0, 1), "waiting_return"),
        ((11, 0, 1), "waiting_return"),
        ((12, 2, 3), "done"),
        ((53, 0, 0), "done"),
        ((27, 2, 1), "rejected"),
        ((29, 0, 1), "rejected"),
        ((28, 2, 1), ""),  # withdrawn by the buyer: refund_status stays 1
        ((51, 5, 3), "done"),
        ((51, 5, 1), ""),
        ((12, 3, 0), ""),  # an exchange
        ((12, 6, 3), ""),  # price protection gives back a part
        ((0, 0, 0), ""),
    ],
)
def test_the_refund_flag_follows_the_table(after_sale: tuple[int, int, int], state: str) -> None:
    names = ("after_sale_status", "after_sale_type", "refund_status")
    payload = mutate(
        load_case("douyin", "paid")["payload"],
        ("sku_order_list", 0, "after_sale_info"),
        dict(zip(names, after_sale, strict=True)),
    )

    assert _map(payload).record.refund_state == state


def test_one_refunded_line_of_two_is_no_refunded_order() -> None:
    payload = mutate(
        load_case("douyin", "part_shipped")["payload"],
        ("sku_order_list", 1, "after_sale_info"),
        {"after_sale_status": 12, "after_sale_type": 2, "refund_status": 3},
    )

    assert _map(payload).record.refund_state == ""


@pytest.mark.parametrize(
    ("path", "new", "field"),
    [
        (("order_id",), None, "order_id"),
        (("order_status",), "已支付", "order_status"),
        (("pay_amount",), 269.5, "pay_amount"),
        (("create_time",), 1762790400000, "create_time"),
        (("sku_order_list",), {}, "sku_order_list"),
        (("sku_order_list", 0, "item_num"), -1, "sku_order_list[0].item_num"),
        (("post_addr", "city", "name"), [], "post_addr.city.name"),
    ],
)
def test_what_is_wrong_is_named(path: tuple[Any, ...], new: Any, field: str) -> None:
    with pytest.raises(PayloadError) as caught:
        _map(mutate(load_case("douyin", "paid")["payload"], path, new))

    assert caught.value.params["field"] == field
    assert field in caught.value.text


@pytest.mark.parametrize("name", CASES)
def test_a_nasty_value_anywhere_gives_an_order_or_a_named_field(name: str) -> None:
    for payload in list_mutations(load_case("douyin", name)["payload"], seed=4, count=150):
        check_mutation(_map, payload)


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_any_value_anywhere_gives_an_order_or_a_named_field(data: st.DataObject) -> None:
    payload = load_case("douyin", data.draw(st.sampled_from(CASES)))["payload"]
    path = data.draw(st.sampled_from(list(walk(payload))))

    check_mutation(_map, mutate(payload, path, data.draw(ANYTHING)))


def test_a_charge_that_is_not_the_sum_of_its_lines_shows_as_two_amounts() -> None:
    payload = load_case("douyin", "paid")["payload"]
    charged = payload["pay_amount"] - 1_000

    order = _map({**payload, "pay_amount": charged}).record

    assert order.paid_fen == charged
    assert order.payable_fen == payload["pay_amount"]
