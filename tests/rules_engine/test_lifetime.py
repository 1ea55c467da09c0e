"""A healthy order never leaves 健康; each cause enters its band within a minute of its time.

Virtual clock, no database: what each feed has told by a minute is written onto an order, which goes
through the facts, judging, node and silence code of the workers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest

from connectors.orders.statuses import GroupState, PaymentStatus, PresalePhase, Stage
from rules_engine.presets import PRESETS
from tests.rules_engine.river import NOW, Told, feeds_at, hours, judge, minutes, tell

BORN = NOW - timedelta(days=3)
DAY = 1440


@dataclass
class Life:
    """A healthy order: minutes after birth at which things happen, and by whom they are told."""

    channel: str = "tmall"
    events: Mapping[str, float] = field(default_factory=dict)
    columns: Mapping[str, Any] = field(default_factory=dict)
    stages: tuple[tuple[str, str], ...] = (("placed_at", Stage.AWAIT_PAY),)


_TOLD_BY = {
    "gateway_paid_at": "gateway",
    "oms_received_at": "oms",
    "oms_reviewed_at": "oms",
    "wms_received_at": "wms",
    "picked_at": "wms",
    "wms_shipped_at": "wms",
}
_USUAL = {
    "placed_at": 0,
    "paid_at": 4,
    "locked_at": 5,
    "oms_received_at": 9,
    "oms_reviewed_at": 25,
    "gifts_packed": 45,
    "wms_received_at": 62,
    "picked_at": 600,
    "wms_shipped_at": 900,
    "shipped_at": 905,
    "delivered_at": 3 * DAY,
}
_STAGES = (
    ("placed_at", Stage.AWAIT_PAY),
    ("paid_at", Stage.AWAIT_SHIP),
    ("shipped_at", Stage.SHIPPED),
    ("delivered_at", Stage.DELIVERED),
)


def _usual(**changes: float | None) -> dict[str, float]:
    return {k: v for k, v in (_USUAL | changes).items() if v is not None}


LIVES: dict[str, Life] = {
    "tmall": Life("tmall", _usual(), stages=_STAGES),
    "douyin": Life("douyin", _usual(), stages=_STAGES),
    "jd": Life("jd", _usual(), stages=_STAGES),
    "pinduoduo_hidden_address": Life(
        "pinduoduo", _usual(), {"province": None, "city": None, "district": None}, _STAGES
    ),
    "kuaishou": Life("kuaishou", _usual(), stages=_STAGES),
    "wechat_shop_county_city": Life(
        "wechat_shop", _usual(), {"province": "海南省", "city": "五指山市", "district": ""}, _STAGES
    ),
    "private_mall": Life(
        "private_mall", _usual(gateway_paid_at=3), {"gateway_status": PaymentStatus.PAID}, _STAGES
    ),
    "cash_on_delivery": Life(
        "jd",
        _usual(paid_at=None),
        {"is_cod": True, "payment_method": "货到付款", "paid_fen": 0},
        (("placed_at", Stage.AWAIT_SHIP), ("shipped_at", Stage.SHIPPED), ("delivered_at", Stage.DELIVERED)),
    ),
    "free_sample": Life(
        "tmall",
        _usual(paid_at=None),
        {"payable_fen": 0, "paid_fen": 0},
        (("placed_at", Stage.AWAIT_SHIP), ("shipped_at", Stage.SHIPPED), ("delivered_at", Stage.DELIVERED)),
    ),
    "one_fen_of_rounding": Life("tmall", _usual(), {"paid_fen": 9999}, _STAGES),
    "gift": Life("douyin", _usual(), {"gifts_due": 1}, _STAGES),
    "presale": Life(
        "tmall",
        {"placed_at": 0, "deposit_paid_at": 2}
        | {k: v + DAY for k, v in _USUAL.items() if k != "placed_at"}
        | {"balance_paid_at": DAY + 4, "delivered_at": 3 * DAY},
        {
            "deposit_fen": 2000,
            "balance_fen": 8000,
            "balance_opens_at": BORN + hours(20),
            "balance_due_at": BORN + minutes(DAY + 5),
        },
        (
            ("placed_at", Stage.AWAIT_PAY),
            ("deposit_paid_at", Stage.DEPOSIT_PAID),
            ("paid_at", Stage.AWAIT_SHIP),
            ("shipped_at", Stage.SHIPPED),
            ("delivered_at", Stage.DELIVERED),
        ),
    ),
    "group": Life(
        "pinduoduo",
        {"grouped": 23.9 * 60, "placed_at": 0, "paid_at": 1, "locked_at": 2}
        | {k: v + DAY for k, v in _USUAL.items() if k.startswith(("oms", "wms", "pick", "ship"))}
        | {"delivered_at": 3 * DAY},
        {},
        (
            ("placed_at", Stage.AWAIT_PAY),
            ("paid_at", Stage.AWAIT_GROUP),
            ("grouped", Stage.AWAIT_SHIP),
            ("shipped_at", Stage.SHIPPED),
            ("delivered_at", Stage.DELIVERED),
        ),
    ),
    "review_passed_in_time": Life(
        "tmall", _usual(review_over=29, oms_received_at=40, oms_reviewed_at=41, gifts_packed=None), {"risk_state": "风控审核中"}, _STAGES
    ),
    "closed_unpaid": Life(
        "kuaishou",
        {"placed_at": 0, "closed_at": 30},
        {"paid_fen": None},
        (("placed_at", Stage.AWAIT_PAY), ("closed_at", Stage.CLOSED_UNPAID)),
    ),
    "refunded": Life(
        "douyin",
        _usual(oms_received_at=None, oms_reviewed_at=None, wms_received_at=None, picked_at=None,
               wms_shipped_at=None, shipped_at=None, delivered_at=None, closed_at=14),
        {"refund_state": "done"},
        (("placed_at", Stage.AWAIT_PAY), ("paid_at", Stage.AWAIT_SHIP), ("closed_at", Stage.CLOSED_REFUNDED)),
    ),
}  # fmt: skip


def told_by(life: Life, now: datetime, behind: Mapping[str, float]) -> Told | None:
    """What has been told of an order by now; None while its channel has not mentioned it."""

    def known(event: str) -> datetime | None:
        if event not in life.events:
            return None
        at = BORN + minutes(life.events[event])
        lag = minutes(behind.get(_TOLD_BY.get(event, "channel"), 0))
        return at if at <= now - lag else None

    placed = known("placed_at")
    if placed is None:
        return None
    columns = dict(life.columns)
    for event in life.events:
        if event not in {"locked_at", "gifts_packed", "grouped", "review_over"}:
            columns[event] = known(event)
    for event, stage in life.stages:
        if known(event) is not None:
            columns["stage"] = stage
    if known("paid_at") is None and not columns.get("is_cod") and columns.get("payable_fen") != 0:
        columns["paid_fen"] = (
            columns.get("paid_fen") if life.columns.get("paid_fen") == 9999 else None
        )
    if "gateway_paid_at" in life.events and known("gateway_paid_at") is None:
        columns["gateway_status"] = ""
    if "deposit_paid_at" in life.events:
        columns |= _presale(known)
    if "grouped" in life.events:
        is_open = known("paid_at") is not None and known("grouped") is None
        columns["group_state"] = GroupState.OPEN if is_open else GroupState.DONE
    if known("paid_at") is None or known("review_over") is not None:
        columns["risk_state"] = ""
    columns["released_at"] = known("grouped") or known("review_over")
    if known("closed_at") is None:
        columns["refund_state"] = ""
    columns["gifts_packed"] = columns.get("gifts_due", 0) if known("gifts_packed") else 0
    line = {"stock_available": 5, "locked_at": known("locked_at")}
    return tell(channel=life.channel, lines=[line], **columns)


def _presale(known: Callable[[str], datetime | None]) -> dict[str, Any]:
    if known("paid_at") is not None:
        return {"presale_phase": PresalePhase.BALANCE_PAID, "paid_fen": 10000}
    if known("deposit_paid_at") is not None:
        return {"presale_phase": PresalePhase.DEPOSIT_PAID, "paid_fen": 2000}
    return {"presale_phase": PresalePhase.DEPOSIT_DUE, "paid_fen": None}


# Up to their allowed lateness (30 minutes) behind, together and one by one.
BEHIND = {
    "fresh": {},
    "all": dict.fromkeys(("channel", "gateway", "oms", "wms"), 30),
    "systems": {"oms": 30, "wms": 17},
    "channel": {"channel": 30},
}


@pytest.mark.slow
@pytest.mark.parametrize("behind", BEHIND.values(), ids=list(BEHIND))
@pytest.mark.parametrize("name", LIVES)
def test_healthy_order_scored_every_minute_never_leaves_healthy(
    name: str, behind: Mapping[str, float]
) -> None:
    life = LIVES[name]
    last = max(life.events.values())
    scored = 0

    for minute in range(int(last) + 40):
        # Nothing moves between a shipment and its delivery but the clock: look every 7 minutes.
        if minute > 1000 and minute % 7 and name not in {"presale", "group"}:
            continue
        now = BORN + minutes(minute)
        told = told_by(life, now, behind)
        if told is None:
            continue
        seen = judge("promo", told, now=now, feeds=feeds_at(now, behind=behind))
        scored += 1
        assert (seen.band, seen.score, seen.is_silent, seen.needs_person) == (
            "healthy", 100.0, False, False,
        ), (name, minute, seen.reasons, told.order.node)  # fmt: skip

    assert scored >= (40 if last < 100 else 400)


@pytest.mark.parametrize("preset", [p.key for p in PRESETS])
@pytest.mark.parametrize("name", LIVES)
def test_healthy_order_is_healthy_for_every_preset(name: str, preset: str) -> None:
    life = LIVES[name]

    for minute in [
        0,
        1,
        3,
        5,
        10,
        16,
        31,
        40,
        61,
        70,
        130,
        899,
        1430,
        1445,
        1460,
        1480,
        4319,
        4321,
    ]:
        now = BORN + minutes(minute)
        told = told_by(life, now, {})
        assert told is not None
        seen = judge(preset, told, now=now)
        assert (seen.band, seen.needs_person) == ("healthy", False), (minute, seen.reasons)


# --- causes ---------------------------------------------------------------------------------------

PAID = {"placed_at": BORN, "paid_at": BORN + minutes(5)}
LOCKED = [{"stock_available": 5, "locked_at": BORN + minutes(6)}]
AT_OMS = {"oms_received_at": BORN + minutes(8), "oms_reviewed_at": BORN + minutes(10)}


@dataclass(frozen=True)
class Trouble:
    """A stuck order, when it counts as stuck (minutes after birth), and the band it enters."""

    cause: str
    after: float
    band: str
    columns: Mapping[str, Any]
    lines: tuple[Mapping[str, Any], ...] = tuple(LOCKED)


TROUBLES = (
    Trouble("支付回调丢失", 5 + 5, "red", {
        "placed_at": BORN, "channel": "private_mall", "stage": Stage.AWAIT_PAY, "paid_fen": None,
        "gateway_paid_at": BORN + minutes(5), "gateway_status": PaymentStatus.PAID,
        "gateway_paid_fen": 10000}),
    Trouble("OMS未接收", 5 + 15, "red", PAID),
    Trouble("地址触发风控", 5 + 30, "orange", PAID | {"risk_state": "地址待核实", "oms_received_at": BORN + minutes(8)}),
    Trouble("地址触发风控", 5 + 30, "orange", PAID | {"stage": Stage.PLATFORM_HOLD}),
    Trouble("促销叠加价格异常", 5, "orange", PAID | {"paid_fen": 9998, "oms_received_at": BORN + minutes(8)}),
    Trouble("促销叠加价格异常", 5, "orange", PAID | {"paid_fen": 10002, "oms_received_at": BORN + minutes(8)}),
    Trouble("库存冲突", 5 + 10, "yellow", PAID | {"oms_received_at": BORN + minutes(8)},
            ({"quantity": 1, "stock_available": 4}, {"quantity": 3, "stock_available": 2})),
    Trouble("预售尾款逾期", 600, "yellow", {
        "placed_at": BORN, "stage": Stage.DEPOSIT_PAID, "presale_phase": PresalePhase.DEPOSIT_PAID,
        "deposit_paid_at": BORN, "deposit_fen": 2000, "balance_fen": 8000, "paid_fen": 2000,
        "balance_due_at": BORN + minutes(600)}),
    Trouble("拼团超时", DAY, "yellow", PAID | {"channel": "pinduoduo", "stage": Stage.AWAIT_GROUP,
                                              "group_state": GroupState.OPEN}),
    Trouble("WMS未接收", 10 + 60, "orange", PAID | AT_OMS),
    Trouble("赠品缺失", 10 + 30, "yellow", PAID | AT_OMS | {"gifts_due": 2, "gifts_packed": 1}),
)  # fmt: skip
IDS = [f"{t.cause}-{n}" for n, t in enumerate(TROUBLES)]


def at_minute(trouble: Trouble, minute: float, **feeds: Any) -> Any:
    now = BORN + minutes(minute)
    columns = {
        k: None if isinstance(v, datetime) and v > now and k in _EVENTS else v
        for k, v in trouble.columns.items()
    }
    told = tell(lines=trouble.lines, **columns)
    return judge("promo", told, now=now, feeds=feeds_at(now, **feeds))


_EVENTS = {"paid_at", "gateway_paid_at", "oms_received_at", "oms_reviewed_at"}


@pytest.mark.parametrize("trouble", TROUBLES, ids=IDS)
def test_stuck_order_enters_its_band_at_its_minute_and_not_before(trouble: Trouble) -> None:
    before, then = at_minute(trouble, trouble.after - 1 / 60), at_minute(trouble, trouble.after)

    assert (before.band, before.cause) == ("healthy", "")
    assert (then.band, then.cause) == (trouble.band, trouble.cause)


@pytest.mark.parametrize("trouble", TROUBLES, ids=IDS)
def test_feed_within_its_lateness_delays_a_cause_by_no_more_than_its_lag(trouble: Trouble) -> None:
    behind = dict.fromkeys(("channel", "oms", "wms"), 12)

    then = at_minute(trouble, trouble.after + 12, behind=behind)

    assert then.cause == trouble.cause


def test_every_cause_of_the_promo_readme_has_its_trouble() -> None:
    assert len({t.cause for t in TROUBLES}) == 9


# --- late and missing sources ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("late", "columns", "dimension"),
    [
        ("oms", PAID, "oms"),
        ("wms", PAID | AT_OMS, "wms"),
        ("oms", PAID | {"gifts_due": 1}, "gift"),
        ("gateway", {"placed_at": BORN, "channel": "private_mall", "stage": Stage.AWAIT_PAY}, "callback"),
        ("channel", {"placed_at": BORN, "channel": "jd"}, "oms"),
    ],
)  # fmt: skip
def test_late_source_gives_insufficient_without_deduction_and_no_red(
    late: str, columns: Mapping[str, Any], dimension: str
) -> None:
    told = tell(lines=LOCKED, **columns)

    seen = judge(
        "promo", told, now=BORN + hours(20), feeds=feeds_at(BORN + hours(20), behind={late: 45})
    )

    assert seen.results[dimension] == "insufficient"
    assert "滞后" in seen.reasons[dimension]
    assert (seen.band, seen.score, seen.needs_person) == ("healthy", 100.0, False)
    assert seen.is_uncertain


def test_price_fault_stays_known_while_its_channel_is_late() -> None:
    told = tell(lines=LOCKED, paid_fen=9000, **PAID | {"oms_received_at": BORN + minutes(8)})
    now = BORN + hours(1)

    seen = judge("promo", told, now=now, feeds=feeds_at(now, behind={"channel": 45}))

    assert (seen.band, seen.cause) == ("orange", "促销叠加价格异常")


@pytest.mark.parametrize("missing", ["gateway", "oms", "wms"])
def test_source_that_is_not_connected_is_named_and_costs_nothing(missing: str) -> None:
    mall = missing == "gateway"
    columns: dict[str, Any] = (
        {"channel": "private_mall", "stage": Stage.AWAIT_PAY} if mall else PAID
    )
    told = tell(
        lines=LOCKED, placed_at=BORN, **{k: v for k, v in columns.items() if k != "placed_at"}
    )
    if missing == "wms":
        told.order.oms_reviewed_at = told.order.oms_received_at = BORN + minutes(8)
    now = BORN + hours(20)
    dimension = "callback" if mall else missing

    seen = judge("promo", told, now=now, feeds=feeds_at(now, missing=[missing]))

    assert seen.results[dimension] == "not_applicable"
    assert seen.reasons[dimension].startswith("未接入")
    assert (seen.band, seen.score) == ("healthy", 100.0)


def test_bare_order_export_is_judged_by_pay_and_ship_alone() -> None:
    bare = {"missing": ["gateway", "oms", "wms"]}
    now = BORN + hours(60)
    unshipped = tell(placed_at=BORN, paid_at=BORN, stage=Stage.AWAIT_SHIP)
    unpaid = tell(placed_at=BORN, stage=Stage.SHIPPED, shipped_at=BORN + hours(3), paid_fen=None)
    cash = tell(placed_at=BORN, stage=Stage.SHIPPED, shipped_at=BORN + hours(3), is_cod=True)

    seen = [
        judge("pay_ship", told, now=now, feeds=feeds_at(now, **bare))
        for told in (unshipped, unpaid, cash)
    ]

    assert [(s.band, s.cause) for s in seen] == [
        ("orange", "已付未发"),
        ("red", "未付已发"),
        ("healthy", ""),
    ]
    assert seen[0].score == 50.0
