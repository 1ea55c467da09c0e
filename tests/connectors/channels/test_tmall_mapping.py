"""A trade of Tmall in our words: golden payloads, and whatever TOP may send instead of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.channels.tmall.mapping import CHANNEL, STAGES, map_order
from connectors.orders.canonical import CanonicalLine, CanonicalOrder, CanonicalPayment
from connectors.orders.statuses import (
    GroupState,
    PaymentStatus,
    PresalePhase,
    RefundState,
    Stage,
)
from connectors.wire import SHANGHAI, Mapped, Notice, PayloadError, read_json
from tests.connectors.goldens import write_record

PAYLOADS = Path(__file__).parents[2] / "payloads" / "tmall"
CASES = sorted(p.stem for p in PAYLOADS.glob("*.json") if not p.name.endswith(".expected.json"))
# Every field of channels.md 3.5, by where it stands.
TRADE_FIELDS = [
    "tid",
    "tid_str",
    "buyer_open_uid",
    "seller_nick",
    "alipay_no",
    "created",
    "pay_time",
    "modified",
    "consign_time",
    "end_time",
    "send_time",
    "est_con_time",
    "timeout_action_time",
    "delivery_time",
    "collect_time",
    "payment",
    "total_fee",
    "discount_fee",
    "adjust_fee",
    "post_fee",
    "received_payment",
    "paid_coupon_fee",
    "platform_subsidy_fee",
    "alipay_point",
    "pcc_af",
    "o2o_voucher_price",
    "coupon_fee",
    "tmall_coupon_fee",
    "step_trade_status",
    "step_paid_fee",
    "new_presell",
    "general_new_presell",
    "o2o_step_order_id",
    "o2o_et_order_id",
    "receiver_state",
    "receiver_city",
    "receiver_district",
    "receiver_town",
    "receiver_country",
    "receiver_zip",
    "receiver_name",
    "receiver_mobile",
    "receiver_phone",
    "receiver_address",
    "oaid",
    "lm",
    "ti_modify_address_time",
    "is_part_consign",
    "logistics_consign_info",
    "logistics_agreement",
    "top_hold",
    "team_buy_hold",
    "share_group_hold",
    "ofp_hold",
    "forbid_consign",
    "delay_create_delivery",
    "is_sh_ship",
    "rx_audit_status",
    "mark_desc",
    "ob_tag",
    "seller_memo",
    "seller_flag",
    "buyer_message",
    "buyer_memo",
]
LINE_FIELDS = [
    "oid",
    "oid_str",
    "price",
    "num",
    "total_fee",
    "payment",
    "discount_fee",
    "adjust_fee",
    "divide_order_fee",
    "part_mjz_discount",
    "lijian",
    "zhengji_status",
    "is_free_gift",
    "has_gift",
    "gift_mids",
    "modify_address",
    "store_code",
    "inv_type",
    "is_oversold",
    "shipper",
    "logistics_company",
    "invoice_no",
    "consign_time",
    "estimate_con_time",
    "status",
    "refund_status",
]
PROMOTION_FIELDS = [
    "id",
    "promotion_id",
    "promotion_name",
    "promotion_desc",
    "discount_fee",
    "kd_discount_fee",
    "kd_child_discount_fee",
    "gift_item_name",
    "gift_item_id",
    "gift_item_num",
]
STEP_FIELDS = ["step_no", "pay_status", "step_actual_pay_fee", "step_channel_no"]
PARCEL_FIELDS = [
    "store_code",
    "consign_type",
    "need_consign_num",
    "biz_delivery_type",
    "promise_outbound_time",
]


def load(case: str) -> Any:
    return read_json((PAYLOADS / f"{case}.json").read_bytes())


def trade_of(case: str) -> dict[str, Any]:
    return load(case)["trade_fullinfo_get_response"]["trade"]


def map_case(case: str) -> Mapped[CanonicalOrder]:
    return map_order(load(case), shop="河道旗舰店")


def write_out(mapped: Mapped[CanonicalOrder]) -> dict[str, Any]:
    return {
        "order": write_record(mapped.record),
        "notices": [[n.code, n.field, n.value] for n in mapped.notices],
    }


@pytest.mark.parametrize("case", CASES)
def test_golden_payload_becomes_its_expected_order(case: str) -> None:
    expected = json.loads((PAYLOADS / f"{case}.expected.json").read_text(encoding="utf-8"))

    assert json.loads(json.dumps(write_out(map_case(case)))) == expected


def test_golden_payloads_carry_every_listed_field() -> None:
    trade = trade_of("paid")
    promotions = trade_of("promotion_stack_with_gifts")["promotion_details"]["promotion_detail"]
    steps = trade_of("presale_balance_paid")["step_pay_details"]["step_pay_detail"]

    assert [f for f in TRADE_FIELDS if f not in trade] == []
    assert [f for f in LINE_FIELDS if f not in trade["orders"]["order"][0]] == []
    assert [f for f in PROMOTION_FIELDS if f not in promotions[0]] == []
    assert [f for f in STEP_FIELDS if f not in steps[0]] == []
    parcel = trade["logistics_infos"]["logistics_info"][0]
    assert [f for f in PARCEL_FIELDS if f not in parcel] == []


def test_an_order_in_two_parcels_is_sent_with_the_last_of_them() -> None:
    trade = trade_of("shipped")  # its own time is that of the first parcel
    first, last = trade["orders"]["order"]
    first["consign_time"], last["consign_time"] = trade["consign_time"], "2025-11-11 18:30:00"

    record = map_order(trade, shop="河道旗舰店").record

    assert trade["consign_time"] == "2025-11-11 10:00:00"
    assert record.shipped_at == datetime(2025, 11, 11, 18, 30, tzinfo=SHANGHAI)


def test_raw_payload_is_kept_whole() -> None:
    assert map_case("paid").record.raw == trade_of("paid")


def test_paid_order_tells_its_money_and_times() -> None:
    order = map_case("paid").record

    assert (order.channel, order.order_no, order.stage) == (
        CHANNEL, "2890000000000000001", Stage.AWAIT_SHIP,
    )  # fmt: skip
    assert (order.goods_fen, order.freight_fen, order.shop_discount_fen) == (21900, 1000, 2000)
    assert (order.payable_fen, order.paid_fen) == (20900, 20900)
    assert order.paid_at == datetime(2025, 11, 11, 0, 15, tzinfo=SHANGHAI)
    assert order.promised_ship_at == datetime(2025, 11, 13, 0, 15, tzinfo=SHANGHAI)
    assert [(line.sku, line.quantity, line.amount_fen) for line in order.lines] == [
        ("TEA-250G", 2, 17900), ("CUP", 1, 2000),
    ]  # fmt: skip
    assert [(p.payment_id, p.amount_fen, p.status) for p in order.payments] == [
        ("2025111122001400000000000001", 20900, PaymentStatus.PAID)
    ]


def test_simplified_lists_give_the_same_order() -> None:
    plain, simple = map_case("paid").record, map_case("paid_simplified").record

    assert write_record(simple) == write_record(plain)


def test_unpaid_order_has_received_nothing() -> None:
    order = map_case("unpaid").record

    assert (order.stage, order.paid_at, order.paid_fen) == (Stage.AWAIT_PAY, None, 0)
    assert (order.payable_fen, order.payments) == (20900, ())


@pytest.mark.parametrize("case", ["presale_deposit_paid", "presale_balance_overdue"])
def test_paid_deposit_is_not_unpaid(case: str) -> None:
    order = map_case(case).record

    assert order.raw_status == "WAIT_BUYER_PAY"
    assert (order.stage, order.presale_phase) == (Stage.DEPOSIT_PAID, PresalePhase.DEPOSIT_PAID)
    assert (order.deposit_fen, order.paid_fen, order.balance_fen) == (5000, 5000, None)
    assert order.paid_at is None
    assert order.deposit_paid_at == datetime(2025, 10, 20, 20, 0, 30, tzinfo=SHANGHAI)
    assert [(p.phase, p.amount_fen) for p in order.payments] == [("deposit", 5000)]


def test_balance_paid_order_has_both_payments() -> None:
    order = map_case("presale_balance_paid").record

    assert (order.stage, order.presale_phase) == (Stage.AWAIT_SHIP, PresalePhase.BALANCE_PAID)
    assert (order.deposit_fen, order.balance_fen, order.paid_fen) == (5000, 15900, 20900)
    assert order.balance_paid_at == order.paid_at == datetime(2025, 11, 11, 0, 15, tzinfo=SHANGHAI)
    assert [(p.phase, p.amount_fen) for p in order.payments] == [
        ("deposit", 5000), ("balance", 15900),
    ]  # fmt: skip


def test_forfeited_deposit_is_closed_with_its_money_kept() -> None:
    order = map_case("presale_deposit_forfeited").record

    assert (order.stage, order.presale_phase) == (Stage.CLOSED_UNPAID, PresalePhase.FORFEITED)
    assert (order.paid_fen, order.paid_at) == (5000, None)


@pytest.mark.parametrize(
    ("case", "stage", "group", "risk"),
    [
        ("group_open", Stage.AWAIT_GROUP, GroupState.OPEN, ""),
        ("shipping_forbidden", Stage.PLATFORM_HOLD, GroupState.NONE, "发货强管控"),
        ("risk_review", Stage.PLATFORM_HOLD, GroupState.NONE, "订单审核中，请勿发货"),
        ("prescription_audit", Stage.PLATFORM_HOLD, GroupState.NONE, ""),
        ("paid", Stage.AWAIT_SHIP, GroupState.NONE, ""),
    ],
)
def test_paid_order_that_may_not_ship_waits_for_the_platform(
    case: str, stage: Stage, group: GroupState, risk: str
) -> None:
    order = map_case(case).record

    assert (order.stage, order.group_state, order.risk_state) == (stage, group, risk)
    assert order.paid_at is not None


def test_a_stop_that_is_no_risk_review_has_words_of_its_own() -> None:
    held = {case: map_case(case).record.platform_hold for case in CASES}

    assert {case: words for case, words in held.items() if words} == {
        "prescription_audit": "处方药待审核"
    }


def test_part_shipped_order_is_not_shipped() -> None:
    order = map_case("part_shipped").record

    assert (order.stage, order.shipped_at) == (Stage.PART_SHIPPED, None)
    (parcel,) = order.shipments
    assert (parcel.tracking_no, parcel.company) == ("SF1000000000001", "顺丰速运")
    assert [(part.line_id, part.quantity) for part in parcel.lines] == [(order.lines[0].line_id, 2)]


def test_lines_of_one_waybill_share_a_parcel_that_left_with_the_first() -> None:
    trade = trade_of("part_shipped")
    first, second = trade["orders"]["order"]
    second |= {"invoice_no": first["invoice_no"], "consign_time": "2025-11-11 09:59:00"}

    (parcel,) = map_order(trade, shop="s").record.shipments

    assert [part.line_id for part in parcel.lines] == [first["oid_str"], second["oid_str"]]
    assert parcel.shipped_at == datetime(2025, 11, 11, 9, 59, tzinfo=SHANGHAI)


@pytest.mark.parametrize(
    ("changes", "is_pending"),
    [
        ({"lm": "1"}, True),
        ({"lm": ""}, False),
        ({"lm": "1", "status": "WAIT_BUYER_CONFIRM_GOODS"}, False),
    ],
)
def test_a_changed_address_waits_for_downstream_until_the_goods_leave(
    changes: dict[str, str], is_pending: bool
) -> None:
    order = map_order(trade_of("paid") | changes, shop="s").record

    assert order.address_change_pending is is_pending


def test_an_address_changed_before_payment_is_nobodys_work() -> None:
    trade = trade_of("paid") | {"lm": "1"}
    trade["orders"]["order"][0]["modify_address"] = "2"

    assert map_order(trade, shop="s").record.address_change_pending is False


def test_refund_before_shipping_raises_the_flag_and_keeps_the_stage() -> None:
    order = map_case("refund_before_shipping").record

    assert (order.stage, order.refund_state) == (Stage.AWAIT_SHIP, RefundState.REQUESTED)


def test_refund_of_one_line_is_no_price_error() -> None:
    order = map_case("part_refunded").record

    assert (order.refund_state, order.payable_fen, order.paid_fen) == (
        RefundState.NONE,
        None,
        18900,
    )
    assert order.partial_refund is True
    assert [line.refund_state for line in order.lines] == [RefundState.NONE, RefundState.DONE]


def test_trade_closed_by_refund_is_refunded_whatever_its_gift_line_says() -> None:
    order = map_case("closed_refunded").record

    assert (order.stage, order.refund_state) == (Stage.CLOSED_REFUNDED, RefundState.DONE)
    assert order.partial_refund is False
    assert [p.status for p in order.payments] == [PaymentStatus.REFUNDED]


def test_masked_receiver_is_kept_and_marked_as_masked() -> None:
    order = map_case("masked_receiver").record

    assert (order.receiver_name, order.address_detail) == ("*", "*")
    assert order.custom["receiver_masked"] is True
    # A county-level city has no city: its district is the city (channels.md 3.5).
    assert (order.province, order.city, order.district) == ("河南省", "济源市", "济源市")


def test_promotion_stack_tells_promised_and_packed_gifts() -> None:
    order = map_case("promotion_stack_with_gifts").record

    assert (order.gifts_due, order.gifts_packed) == (3, 1)
    assert [line.is_gift for line in order.lines] == [False, False, True]
    assert (order.payable_fen, order.paid_fen) == (16900, 16900)
    assert [(p.tool, p.discount_fen, p.gift_quantity) for p in order.promotions] == [
        ("mjs", 2000, 1),
        ("shopbonus", 1000, 0),
        ("limitdiscount", 3000, 2),
    ]
    assert order.promotions[2].line_id == order.lines[2].gift_of == order.lines[0].line_id


def test_field_not_asked_for_is_unknown_and_not_empty() -> None:
    trade = trade_of("paid")
    for key in ("receiver_state", "receiver_city", "receiver_district", "promotion_details",
                "platform_subsidy_fee"):  # fmt: skip
        del trade[key]
    for line in trade["orders"]["order"]:
        del line["is_free_gift"], line["divide_order_fee"]

    order = map_order(trade, shop="s").record

    assert (order.province, order.gifts_due, order.gifts_packed) == (None, None, None)
    assert (order.platform_discount_fen, order.payable_fen) == (None, None)


def test_unknown_status_is_unknown_and_told() -> None:
    mapped = map_case("unknown_status")

    assert (mapped.record.stage, mapped.record.raw_status) == (Stage.UNKNOWN, "WAIT_ROBOT_DELIVERY")
    assert Notice("unmapped_status", "status", "WAIT_ROBOT_DELIVERY") in mapped.notices


def test_unknown_presale_phase_is_not_guessed_unpaid() -> None:
    mapped = map_case("unknown_presale_phase")

    assert mapped.record.stage == Stage.UNKNOWN
    assert (mapped.record.paid_at, mapped.record.paid_fen) == (None, None)
    assert mapped.notices == (Notice("unmapped_value", "step_trade_status", "MIDDLE_PAID"),)


def test_status_mapped_by_the_business_counts() -> None:
    stages = {**STAGES, "WAIT_ROBOT_DELIVERY": "shipped"}

    mapped = map_order(load("unknown_status"), shop="s", stages=stages)

    assert (mapped.record.stage, mapped.notices) == (Stage.SHIPPED, ())


def test_every_stage_of_the_table_exists() -> None:
    assert set(STAGES.values()) <= set(Stage)
    assert len(STAGES) == 12


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"tid": None, "tid_str": None}, "tid"),
        ({"status": ""}, "status"),
        ({"orders": None}, "orders"),
        ({"payment": "12.345"}, "payment"),
        ({"payment": 209.0}, "payment"),
        ({"pay_time": "2025-11-11T00:15:00Z"}, "pay_time"),
        ({"orders": {"order": [{"num": 1}]}}, "orders.order[0].oid"),
        ({"orders": {"order": [{"oid": 1}, {"oid": "1"}]}}, "orders"),
    ],
)
def test_wrong_field_is_named_in_chinese(change: dict[str, Any], field: str) -> None:
    with pytest.raises(PayloadError) as caught:
        map_order({**trade_of("paid"), **change}, shop="s")

    assert caught.value.params["field"].endswith(field)
    assert "字段" in caught.value.text
    assert field in caught.value.text


# -- any mutation ----------------------------------------------------------------------------------


def paths_of(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    if isinstance(value, dict):
        items: Any = value.items()
    else:
        items = enumerate(value if isinstance(value, list) else [])
    for key, inner in items:
        yield from paths_of(inner, (*path, key))


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.decimals() | st.floats() | st.text(max_size=30)
    | st.sampled_from(["", "0", "1", "-1", "2025-13-45 00:00:00", "0001-01-01 00:00:00", "1e9",
                       "9" * 40, "\ud800", "٣", "2025-11-11 00:15:00", 10**40]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_any_mutation_gives_an_order_or_names_the_field(data: st.DataObject) -> None:
    payload = load(data.draw(st.sampled_from(CASES)))
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from(list(paths_of(payload))))
        new = data.draw(ANYTHING)
        if not path:
            payload = new
            continue
        place = payload
        for key in path[:-1]:
            place = place[key]
        if data.draw(st.booleans()):
            place[path[-1]] = new
        else:
            del place[path[-1]]

    try:
        mapped = map_order(payload, shop="s")
    except PayloadError as error:
        check_named(error)
        return

    check_record(mapped.record)
    assert all(n.code in {"unmapped_status", "unmapped_value"} for n in mapped.notices)


def check_named(error: PayloadError) -> None:
    """The error names its field, in Chinese."""
    assert error.params["field"]
    assert str(error.params["field"]) in error.text
    assert "字段" in error.text


def check_record(record: CanonicalOrder | CanonicalLine | CanonicalPayment) -> None:
    """Fen are integers, moments aware, the stage one of ours, the order has a number and lines."""
    for field in fields(record):
        value = getattr(record, field.name)
        if field.name.endswith("_fen"):
            assert value is None or type(value) is int
        if isinstance(value, datetime):
            assert value.tzinfo is SHANGHAI
    if isinstance(record, CanonicalOrder):
        assert record.stage in set(Stage)
        assert record.order_no
        assert record.lines
        json.dumps({"order": record.custom, "lines": [dict(line.custom) for line in record.lines]})
        for part in (*record.lines, *record.payments):
            check_record(part)
