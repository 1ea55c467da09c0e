"""The promo model: every look-alike of promo/README, alone and at its edges."""

from __future__ import annotations

from typing import Any

import pytest

from connectors.orders.statuses import GroupState, PaymentStatus, PresalePhase, RefundState, Stage
from rules_engine.facts.services import get_names
from rules_engine.presets import PRESETS, get_preset, list_presets
from rules_engine.rules.services import check_rule_set, list_problems
from tests.rules_engine.river import NOW, feeds_at, hours, judge, minutes, tell

OLD = {"placed_at": NOW - hours(30), "paid_at": NOW - hours(30)}
AT_WMS = {
    "oms_received_at": NOW - hours(29),
    "oms_reviewed_at": NOW - hours(29),
    "wms_received_at": NOW - hours(28),
}
LOCKED = {"stock_available": 5, "locked_at": NOW - hours(29)}
SHORT = {"quantity": 3, "stock_available": 2}

HEALTHY: dict[str, dict[str, Any]] = {
    "at the warehouse": OLD | AT_WMS,
    "born a minute ago": {"placed_at": NOW - minutes(1), "paid_at": NOW - minutes(1)},
    "waiting to be paid for a day": {"placed_at": NOW - hours(24), "stage": Stage.AWAIT_PAY},
    "unpaid, but with the amount that is to be paid": {"stage": Stage.AWAIT_PAY, "paid_fen": 10000},
    "closed without payment": {"stage": Stage.CLOSED_UNPAID, "paid_fen": None},
    "closed with net paid 0": OLD | {"stage": Stage.CLOSED_REFUNDED, "paid_fen": 0, "refund_state": RefundState.DONE},
    "refunded before the platform closed it": OLD | {"paid_fen": 0, "refund_state": RefundState.DONE},
    "partly refunded": OLD | AT_WMS | {"paid_fen": 6000, "refunded_fen": 4000},
    "cash on delivery without a payment time": {"placed_at": NOW - hours(30), "is_cod": True, "paid_fen": 0},
    "free sample of 0 yuan": {"placed_at": NOW - hours(30), "payable_fen": 0, "paid_fen": 0},
    "free sample, paid with 0": OLD | AT_WMS | {"payable_fen": 0, "paid_fen": 0},
    "one fen of rounding up": OLD | AT_WMS | {"paid_fen": 10001},
    "one fen of rounding down": OLD | AT_WMS | {"paid_fen": 9999},
    "county-level city without a district": OLD | AT_WMS | {"province": "河南省", "city": "济源市", "district": ""},
    "prefecture without districts": OLD | AT_WMS | {"province": "广东省", "city": "东莞市", "district": None},
    "address hidden before shipping": OLD | AT_WMS | {"province": "", "city": "", "district": ""},
    "address detail masked or empty": OLD | AT_WMS | {"has_address_detail": False},
    "review passed": OLD | AT_WMS | {"risk_state": ""},
    "review open, paid 29 minutes ago": {"placed_at": NOW - hours(1), "paid_at": NOW - minutes(29), "risk_state": "风控审核中"},
    "review open, not paid": {"placed_at": NOW - hours(9), "stage": Stage.AWAIT_PAY, "risk_state": "风控审核中"},
    "review open, order closed": OLD | {"stage": Stage.CLOSED_REFUNDED, "risk_state": "风控审核中"},
    "presale inside its window": {
        "placed_at": NOW - hours(200), "stage": Stage.DEPOSIT_PAID, "paid_fen": 2000,
        "presale_phase": PresalePhase.DEPOSIT_PAID, "deposit_paid_at": NOW - hours(200),
        "balance_opens_at": NOW - hours(1), "balance_due_at": NOW + minutes(1)},
    "presale before its window": {
        "placed_at": NOW - hours(200), "stage": Stage.AWAIT_PAY, "paid_fen": 2000,
        "presale_phase": PresalePhase.DEPOSIT_PAID, "balance_due_at": NOW + hours(9)},
    "presale without an announced window": {
        "placed_at": NOW - hours(200), "stage": Stage.DEPOSIT_PAID, "paid_fen": 2000,
        "presale_phase": PresalePhase.DEPOSIT_PAID},
    "balance just paid, after its end": {
        "placed_at": NOW - hours(200), "paid_at": NOW - minutes(3), "balance_due_at": NOW - minutes(5),
        "presale_phase": PresalePhase.BALANCE_PAID, "balance_paid_at": NOW - minutes(3)},
    "deposit forfeited and closed": {
        "stage": Stage.CLOSED_UNPAID, "presale_phase": PresalePhase.FORFEITED,
        "balance_due_at": NOW - hours(9)},
    "overdue balance of a closed presale": {
        "stage": Stage.CLOSED_REFUNDED, "presale_phase": PresalePhase.DEPOSIT_PAID,
        "balance_due_at": NOW - hours(9)},
    "deposit not yet paid": {
        "stage": Stage.AWAIT_PAY, "presale_phase": PresalePhase.DEPOSIT_DUE,
        "balance_due_at": NOW - hours(9)},
    "group younger than a day": {
        "channel": "pinduoduo", "placed_at": NOW - minutes(1439), "paid_at": NOW - minutes(1438),
        "stage": Stage.AWAIT_GROUP, "group_state": GroupState.OPEN},
    "group open, platform already says to ship": {
        "channel": "pinduoduo", "placed_at": NOW - hours(20), "paid_at": NOW - hours(20),
        "stage": Stage.AWAIT_SHIP, "group_state": GroupState.OPEN},
    "group done": OLD | AT_WMS | {"channel": "pinduoduo", "group_state": GroupState.DONE},
    "group open, never paid": {
        "channel": "pinduoduo", "placed_at": NOW - hours(30), "stage": Stage.AWAIT_PAY,
        "group_state": GroupState.OPEN},
    "group failed": OLD | {"stage": Stage.CLOSED_REFUNDED, "group_state": GroupState.FAILED},
    "mall order whose callback came": OLD | AT_WMS | {
        "channel": "private_mall", "gateway_paid_at": NOW - hours(30), "gateway_status": PaymentStatus.PAID},
    "mall order, gateway said paid 4 minutes ago": {
        "channel": "private_mall", "stage": Stage.AWAIT_PAY, "gateway_paid_at": NOW - minutes(4),
        "gateway_status": PaymentStatus.PAID},
    "mall order, payment failed at the gateway": {
        "channel": "private_mall", "stage": Stage.AWAIT_PAY, "gateway_status": PaymentStatus.CLOSED},
    "mall order cancelled and refunded": {
        "channel": "private_mall", "stage": Stage.CLOSED_REFUNDED, "gateway_paid_at": NOW - hours(9),
        "gateway_status": PaymentStatus.REFUNDED, "refund_state": RefundState.DONE},
    "platform order that waits for payment": {"channel": "douyin", "stage": Stage.AWAIT_PAY},
    "reviewed 59 minutes ago": {"placed_at": NOW - hours(2), "paid_at": NOW - hours(2),
        "oms_received_at": NOW - hours(1), "oms_reviewed_at": NOW - minutes(59)},
    "gift packed": OLD | AT_WMS | {"gifts_due": 2, "gifts_packed": 2},
    "more gifts than due": OLD | AT_WMS | {"gifts_due": 1, "gifts_packed": 2},
    "gift due, reviewed 29 minutes ago": {"placed_at": NOW - hours(2), "paid_at": NOW - hours(2),
        "oms_received_at": NOW - hours(1), "oms_reviewed_at": NOW - minutes(29), "gifts_due": 1},
    "gift numbers not told": OLD | AT_WMS | {"gifts_due": None, "gifts_packed": None},
    "shipped": OLD | AT_WMS | {"stage": Stage.SHIPPED, "shipped_at": NOW - hours(3)},
    "delivered": OLD | AT_WMS | {"stage": Stage.DELIVERED, "delivered_at": NOW - hours(3)},
}  # fmt: skip


@pytest.mark.parametrize("name", HEALTHY)
def test_look_alike_is_healthy(name: str) -> None:
    seen = judge("promo", tell(lines=[LOCKED], **HEALTHY[name]))

    assert (seen.band, seen.cause, seen.score, seen.needs_person) == (
        "healthy",
        "",
        100.0,
        False,
    ), seen.reasons


@pytest.mark.parametrize(
    ("line", "is_stuck"),
    [
        (SHORT, True),
        (SHORT | {"locked_at": NOW - hours(1)}, False),
        ({"quantity": 2, "stock_available": 2}, False),
        ({"quantity": 2, "stock_available": None}, False),
        ({"quantity": 1, "stock_available": 0}, True),
        ({"quantity": 1, "stock_available": -3}, True),
    ],
)  # fmt: skip
def test_stock_conflict_is_an_unlocked_line_that_wants_more_than_there_is(
    line: dict[str, Any], is_stuck: bool
) -> None:
    told = tell(lines=[LOCKED, line], oms_received_at=NOW - hours(29), **OLD)

    assert judge("promo", told).cause == ("库存冲突" if is_stuck else "")


def test_missing_gift_explains_that_the_warehouse_has_nothing() -> None:
    reviewed = {"oms_received_at": NOW - hours(3), "oms_reviewed_at": NOW - hours(3)}
    told = tell(lines=[LOCKED], gifts_due=1, **OLD | reviewed)

    seen = judge("promo", told)

    assert set(seen.failing) == {"wms", "gift"}
    assert seen.cause == "赠品缺失"


def test_open_review_explains_that_the_oms_has_nothing() -> None:
    seen = judge("promo", tell(lines=[LOCKED], risk_state="地址待核实", **OLD))

    assert seen.cause == "地址触发风控"
    assert seen.results["oms"] == "not_applicable"


@pytest.mark.parametrize("columns", [{}, {"is_cod": True, "paid_at": None}])
@pytest.mark.parametrize(("minutes_ago", "cause"), [(29, ""), (30, "地址触发风控")])
def test_a_review_that_began_after_the_payment_has_its_half_hour_from_then(
    columns: dict[str, Any], minutes_ago: int, cause: str
) -> None:
    began = {"risk_state": "风控审核中", "review_at": NOW - minutes(minutes_ago)}

    seen = judge("promo", tell(lines=[LOCKED], **OLD | AT_WMS | columns | began))

    assert seen.cause == cause


def test_an_order_its_platform_stops_for_another_reason_is_given_no_cause() -> None:
    stopped = OLD | {"stage": Stage.PLATFORM_HOLD, "platform_hold": "处方药待审核"}

    seen = judge("promo", tell(lines=[LOCKED], **stopped))
    reviewed = judge("promo", tell(lines=[LOCKED], **stopped, risk_state="风控审核中"))

    assert (seen.failing, seen.cause) == ((), "")
    assert reviewed.cause == "地址触发风控"


def test_incomplete_address_alone_costs_points_but_not_health() -> None:
    seen = judge("promo", tell(lines=[LOCKED], district="", **OLD | AT_WMS))

    assert (seen.score, seen.band, seen.failing) == (95.0, "healthy", ("address",))


def test_amounts_a_platform_does_not_tell_need_a_person() -> None:
    seen = judge("promo", tell(lines=[LOCKED], paid_fen=None, **OLD | AT_WMS))

    assert seen.results["price"] == "insufficient"
    assert (seen.needs_person, seen.cause) == (True, "数据不足")


def test_reason_is_written_for_people() -> None:
    told = tell(lines=[LOCKED], **{"placed_at": NOW - minutes(120), "paid_at": NOW - minutes(112)})
    stuck = tell(lines=[LOCKED], paid_fen=9000, risk_state="风控审核中", **OLD | AT_WMS)

    reasons = judge("promo", told).reasons | judge("promo", stuck).reasons

    assert reasons["oms"] == "11-11 12:40 付款，截至 11-11 14:32 OMS 还没有这张订单"
    assert reasons["price"] == "应付 100.00 元，实付 90.00 元，相差 10.00 元"
    assert reasons["risk"] == "11-10 08:32 付款，“风控审核中”至今未完成，已 1 天 6 小时"


# --- the other presets ----------------------------------------------------------------------------


@pytest.mark.parametrize("preset", PRESETS, ids=[p.key for p in PRESETS])
def test_preset_passes_the_check_without_a_warning(preset: Any) -> None:
    assert [p.sentence for p in list_problems(preset.content, names=get_names())] == []
    assert check_rule_set(preset.content)["name"] == preset.name


def test_presets_are_listed_and_found_by_key() -> None:
    assert [p.key for p in list_presets()] == ["five_dimensions", "promo", "pay_ship", "presale"]
    assert get_preset("presale").name == "预售定金尾款"


PRESALE = {
    "placed_at": NOW - hours(90), "payable_fen": 10000, "deposit_fen": 2000, "balance_fen": 8000,
    "deposit_paid_at": NOW - hours(90), "balance_due_at": NOW + hours(2),
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "band", "cause"),
    [
        ({"presale_phase": PresalePhase.DEPOSIT_PAID, "stage": Stage.DEPOSIT_PAID, "paid_fen": 2000}, "healthy", ""),
        ({"presale_phase": PresalePhase.DEPOSIT_PAID, "stage": Stage.DEPOSIT_PAID, "paid_fen": 2000,
          "balance_due_at": NOW}, "red", "预售尾款逾期"),
        ({"presale_phase": PresalePhase.BALANCE_PAID, "paid_at": NOW - hours(1), "paid_fen": 10000,
          "balance_due_at": NOW - minutes(30)}, "healthy", ""),
        ({"presale_phase": PresalePhase.BALANCE_PAID, "paid_at": NOW - hours(1), "paid_fen": 8000}, "orange", "定金尾款不符"),
        ({"presale_phase": PresalePhase.DEPOSIT_PAID, "stage": Stage.DEPOSIT_PAID, "balance_fen": 7000}, "orange", "定金尾款不符"),
        ({"presale_phase": PresalePhase.NONE, "paid_at": NOW}, "healthy", ""),
        ({"presale_phase": PresalePhase.DEPOSIT_PAID, "stage": Stage.CLOSED_UNPAID, "balance_due_at": NOW - hours(9)}, "healthy", ""),
    ],
)  # fmt: skip
def test_presale_is_one_trade_in_two_phases(changes: dict[str, Any], band: str, cause: str) -> None:
    seen = judge("presale", tell(**PRESALE | changes))

    assert (seen.band, seen.cause) == (band, cause)


FIVE_FAILURES: dict[str, tuple[dict[str, Any], list[dict[str, Any]], str, str]] = {
    "address": ({"district": ""}, [LOCKED], "orange", "地址不完整"),
    "callback": ({"oms_received_at": None, "oms_reviewed_at": None, "wms_received_at": None}, [LOCKED], "red", "支付回调丢失"),
    "stock": ({}, [SHORT], "yellow", "库存冲突"),
    "price": ({"paid_fen": 9000}, [LOCKED], "orange", "促销叠加价格异常"),
    "logistics": ({"wms_received_at": None}, [LOCKED], "yellow", "物流未匹配"),
}  # fmt: skip


@pytest.mark.parametrize("key", FIVE_FAILURES)
def test_no_single_failure_of_the_five_dimensions_goes_unseen(key: str) -> None:
    changes, lines, band, cause = FIVE_FAILURES[key]
    told = tell(lines=lines, **OLD | AT_WMS | {"promised_ship_at": NOW + hours(9)} | changes)

    seen = judge("five_dimensions", told)

    assert (seen.failing, seen.band, seen.cause) == ((key,), band, cause)


@pytest.mark.parametrize(
    ("changes", "is_failing"),
    [
        ({"stage": Stage.AWAIT_PAY, "gateway_paid_at": NOW - minutes(5)}, True),
        ({"stage": Stage.AWAIT_PAY, "gateway_paid_at": NOW - minutes(4)}, False),
        ({"stage": Stage.AWAIT_PAY}, False),
        ({"paid_at": NOW - minutes(5)}, False),
    ],
)  # fmt: skip
def test_callback_of_the_own_mall_is_the_gateway_against_the_order(
    changes: dict[str, Any], is_failing: bool
) -> None:
    told = tell(channel="private_mall", lines=[LOCKED], **changes)

    assert ("callback" in judge("five_dimensions", told).failing) is is_failing


def test_feed_fifteen_minutes_behind_makes_no_order_fifteen_minutes_older() -> None:
    told = tell(lines=[LOCKED], placed_at=NOW - minutes(20), paid_at=NOW - minutes(20))

    fresh = judge("promo", told)
    behind = judge("promo", told, feeds=feeds_at(NOW, behind={"oms": 15}))

    assert (fresh.cause, behind.cause, behind.score) == ("OMS未接收", "", 100.0)
