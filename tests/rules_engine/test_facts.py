"""The catalogue, collecting facts in bulk, blank against unknown, as-of, snapshots."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from config.tenancy.scope import for_environment
from connectors.orders.canonical import CanonicalLine, CanonicalPayment
from connectors.orders.models import CustomField, Order
from connectors.orders.services import receive
from connectors.orders.statuses import GroupState, PresalePhase, Stage
from connectors.shops.services import record_freshness
from rules_engine.facts.catalog import FACTS, MOVING_IDS, build_names
from rules_engine.facts.collect import collect, read_setting
from rules_engine.facts.models import FactSnapshot
from rules_engine.facts.services import (
    describe_values,
    dump_facts,
    format_value,
    get_names,
    load_facts,
    open_personal,
    store_snapshots,
    take_snapshots,
)
from rules_engine.formula import (
    UNKNOWN,
    ErrorValue,
    ValueType,
    check,
    find_function,
    is_undivided,
    to_serial,
)
from rules_engine.formula.limits import MAX_TEXT
from tests.factories import NOW, World, canonical_order, make_order, make_sources, make_world
from tests.rules_engine.river import NOW as PURE_NOW
from tests.rules_engine.river import SHANGHAI, feeds_at, tell, values_at


@pytest.fixture
def world(db: None) -> World:
    return make_world()


def serial(moment: datetime) -> float:
    return to_serial(moment.astimezone(SHANGHAI))


# --- the catalogue --------------------------------------------------------------------------------


def test_every_fact_has_a_name_of_its_own_in_both_languages() -> None:
    for group in [FACTS, *(fact.columns for fact in FACTS if fact.columns)]:
        labels = [f.label for f in group] + [f.alias.lower() for f in group]
        assert len(labels) == len(set(labels))
        assert all(f.label and f.alias and f.example for f in group)


def test_no_fact_is_named_like_a_function() -> None:
    names = [f for fact in FACTS for f in (fact, *fact.columns)]

    assert [f.label for f in names if find_function(f.label) or find_function(f.alias)] == []


@pytest.mark.parametrize("fact", FACTS, ids=[f.id for f in FACTS])
def test_fact_can_be_written_in_a_formula_by_label_and_alias(fact: Any) -> None:
    names = build_names()

    for name in (fact.label, fact.alias):
        assert check(f"是空({name})", names, kind="judgement").field_ids == {fact.id}


def test_moving_facts_are_the_clock_the_node_and_the_freshness() -> None:
    assert {i.removeprefix("now.") for i in MOVING_IDS} == {
        "node", "node_entered_at", "node_minutes", "stage_hours",
        "channel_until", "gateway_until", "oms_until", "wms_until",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("city", "expected"),
    [
        ("石河子市", True), ("五指山市", True), ("济源市", True), ("东莞市", True), ("中山", True),
        ("义乌市", True), ("昆山市", True), ("琼中黎族苗族自治县", True), ("神农架林区", True),
        ("杭州市", False), ("成都市", False), ("上海市", False), ("北京", False),
        ("恩施土家族苗族自治州", False), ("阿里地区", False), ("锡林郭勒盟", False), ("", False),
    ],
)  # fmt: skip
def test_city_without_districts_is_known(city: str, expected: bool) -> None:
    assert is_undivided(city) is expected


# --- blank and unknown ----------------------------------------------------------------------------


def test_absent_fact_of_a_fresh_source_is_blank_and_of_a_late_one_unknown() -> None:
    told = tell(stage=Stage.AWAIT_SHIP, paid_at=PURE_NOW)

    fresh = values_at(told, PURE_NOW, feeds_at(PURE_NOW, behind={"oms": 30}))
    late = values_at(told, PURE_NOW, feeds_at(PURE_NOW, behind={"oms": 31}))
    none = values_at(told, PURE_NOW, feeds_at(PURE_NOW, missing=["oms"]))

    assert fresh["order.oms_received_at"] is None
    assert fresh["now.oms_until"] == serial(PURE_NOW - timedelta(minutes=30))
    assert late["order.oms_received_at"] is UNKNOWN
    assert late["now.oms_until"] == serial(PURE_NOW - timedelta(minutes=31))
    assert (none["order.oms_received_at"], none["now.oms_until"]) == (UNKNOWN, UNKNOWN)
    assert fresh["order.wms_received_at"] is late["order.wms_received_at"] is None


def test_fact_that_was_told_stays_known_when_its_source_becomes_late() -> None:
    told = tell(oms_received_at=PURE_NOW, paid_at=PURE_NOW)

    late = values_at(told, PURE_NOW, feeds_at(PURE_NOW, behind={"oms": 99, "channel": 99}))

    assert late["order.oms_received_at"] == serial(PURE_NOW)
    assert (late["order.paid_at"], late["order.paid"]) == (serial(PURE_NOW), 100.0)
    assert late["order.shipped_at"] is UNKNOWN  # may have happened since
    assert late["order.refund_state"] is None  # a flag stands as last told


def test_values_have_the_kinds_of_the_language() -> None:
    told = tell(
        lines=[{"quantity": 2, "price_fen": 5990, "is_gift": False, "category": ""}],
        payments=[{"amount_fen": 12345, "status": "paid", "phase": "balance", "method": "支付宝"}],
        is_cod=True, group_state=GroupState.OPEN, presale_phase=PresalePhase.DEPOSIT_PAID,
        gateway_status="paid", refund_state="",
    )  # fmt: skip

    values = values_at(told, PURE_NOW, feeds_at(PURE_NOW))

    assert values["order.payable"] == 100.0
    assert values["order.is_cod"] is True
    assert (values["order.channel"], values["order.stage"]) == ("天猫", "待发货")
    assert (values["order.group_state"], values["order.presale_phase"]) == ("待成团", "定金已付")
    assert (values["order.gateway_status"], values["order.refund_state"]) == ("支付成功", None)
    (line,), (payment,) = values["lines"], values["payments"]  # type: ignore[misc] # rows
    assert (line["lines.quantity"], line["lines.price"], line["lines.category"]) == (
        2.0,
        59.9,
        None,
    )
    assert (payment["payments.amount"], payment["payments.phase"]) == (123.45, "尾款")
    assert (payment["payments.status"], payment["payments.is_gateway"]) == ("支付成功", False)


# --- as of ----------------------------------------------------------------------------------------


def test_as_of_hides_occurrences_and_never_deadlines() -> None:
    t = PURE_NOW
    later = t + timedelta(hours=1)
    told = tell(
        placed_at=t - timedelta(hours=9), paid_at=later, paid_fen=10000, shipped_at=later,
        delivered_at=later, oms_received_at=later, gateway_paid_at=later, gateway_status="paid",
        gateway_paid_fen=1, promised_ship_at=later, estimated_delivery_at=later, balance_due_at=later,
        lines=[{"locked_at": later, "ship_by": later}], payments=[{"paid_at": later}, {"paid_at": None}],
    )  # fmt: skip

    values = values_at(told, t, feeds_at(t), as_of=t)

    for hidden in ("paid_at", "paid", "shipped_at", "delivered_at", "oms_received_at",
                   "gateway_paid_at", "gateway_status", "gateway_paid", "ready_at"):  # fmt: skip
        assert values[f"order.{hidden}"] is None, hidden
    for kept in ("promised_ship_at", "estimated_delivery_at", "balance_due_at"):
        assert values[f"order.{kept}"] == serial(later), kept
    assert values["lines"][0]["lines.locked_at"] is None  # type: ignore[index] # rows
    assert values["lines"][0]["lines.ship_by"] == serial(later)  # type: ignore[index] # rows
    assert len(values["payments"]) == 1  # type: ignore[arg-type] # rows
    assert values["order.stage"] == "待付款"


@pytest.mark.parametrize(
    ("hours_ago", "stage", "age"),
    [
        ({"placed_at": 9}, "待付款", 9),
        ({"placed_at": 9, "approved_at": 5}, "待发货", 5),
        ({"placed_at": 9, "approved_at": 5, "paid_at": 6}, "待发货", 5),
        ({"placed_at": 9, "approved_at": 2, "shipped_at": 4}, "已发货", 4),
        ({"placed_at": 9, "approved_at": 2, "shipped_at": -1}, "待发货", 2),
        ({"placed_at": 9, "approved_at": -3, "shipped_at": 4}, "已发货", 4),
        ({"placed_at": 9, "shipped_at": 1, "delivered_at": 2}, "已签收", 2),
        ({"placed_at": -1}, "未知", None),
    ],
)
def test_stage_as_of_is_the_furthest_with_a_time_even_when_times_run_backwards(
    hours_ago: dict[str, float], stage: str, age: float | None
) -> None:
    told = tell(
        stage=Stage.CLOSED_REFUNDED,
        **{k: PURE_NOW - timedelta(hours=h) for k, h in hours_ago.items()},
    )

    values = values_at(told, PURE_NOW, feeds_at(PURE_NOW), as_of=PURE_NOW)

    assert (values["order.stage"], values["now.stage_hours"]) == (stage, age)


def test_presale_phase_as_of_follows_the_payments() -> None:
    t = PURE_NOW
    told = tell(presale_phase=PresalePhase.BALANCE_PAID, deposit_paid_at=t - timedelta(days=2),
                balance_paid_at=t + timedelta(hours=1), paid_at=t + timedelta(hours=1))  # fmt: skip

    assert values_at(told, t, feeds_at(t), as_of=t)["order.presale_phase"] == "定金已付"


# --- in bulk --------------------------------------------------------------------------------------


def test_collect_costs_the_same_queries_for_one_order_and_for_forty(
    world: World, django_assert_num_queries: Any
) -> None:
    with for_environment(world.production):
        sources = make_sources()
        for _ in range(40):
            make_order(source=sources["channel"])
        orders = list(Order.objects.all())

        for some in (orders[:1], orders):
            with django_assert_num_queries(7):
                values = collect(some, now=NOW)

    assert len(values) == 40
    assert {v["order.stage"] for v in values.values()} == {"待发货"}


def test_collect_sees_only_its_environment(world: World) -> None:
    with for_environment(world.production):
        make_sources()
        mine = make_order()
    with for_environment(world.other):
        make_sources(late="oms")
        theirs = make_order()
        values = collect([theirs], now=NOW)[theirs.pk]
        assert not Order.objects.filter(pk=mine.pk).exists()

    assert values["order.oms_received_at"] is UNKNOWN


def test_facts_follow_the_feed_of_the_order_itself(world: World) -> None:
    with for_environment(world.production):
        sources = make_sources()
        order = make_order(source=sources["channel"])
        before = collect([order], now=NOW + timedelta(minutes=20))[order.pk]
        record_freshness(sources["channel"], complete_until=NOW + timedelta(minutes=19), now=NOW)
        after = collect([order], now=NOW + timedelta(minutes=20))[order.pk]

    assert before["now.channel_until"] == serial(NOW - timedelta(minutes=1))
    assert after["now.channel_until"] == serial(NOW + timedelta(minutes=19))


def test_custom_fields_are_facts_of_their_level_and_type(world: World) -> None:
    with for_environment(world.production):
        for level, key, type in (("order", "vip", "number"), ("order", "bag", "money"),
                                 ("order", "seen", "datetime"), ("order", "odd", "datetime"),
                                 ("order", "none", "text"), ("line", "batch", "text"),
                                 ("payment", "parts", "number")):  # fmt: skip
            CustomField.objects.create(level=level, key=key, label=f"自{key}", type=type)
        sources = make_sources()
        record = canonical_order(
            custom={"vip": 3, "bag": 1250, "seen": "2026-11-11T06:00:00+00:00", "odd": "soon"},
            lines=(CanonicalLine(line_id="1", custom={"batch": "B7"}),),
        )
        record = replace(
            record, payments=(CanonicalPayment(record.order_no, "p1", custom={"parts": 12}),)
        )
        receive([record], source=sources["channel"], now=NOW)
        order = Order.objects.get(order_no=record.order_no)
        values = collect([order], now=NOW)[order.pk]
        names = get_names()

    assert (values["custom.vip"], values["custom.bag"], values["custom.none"]) == (3.0, 12.5, None)
    assert values["custom.seen"] == serial(datetime.fromisoformat("2026-11-11T14:00:00+08:00"))
    assert values["custom.odd"] is ErrorValue.VALUE
    assert values["lines"][0]["lines.custom.batch"] == "B7"  # type: ignore[index] # rows
    assert values["payments"][0]["payments.custom.parts"] == 12.0  # type: ignore[index] # rows
    assert check('任一(明细, 自batch="B7")', names, kind="judgement").is_valid


def test_release_by_the_platform_is_noticed_and_dated_by_its_own_update(world: World) -> None:
    with for_environment(world.production):
        sources = make_sources()
        held = canonical_order(stage=Stage.AWAIT_GROUP, group_state=GroupState.OPEN,
                               placed_at=NOW - timedelta(hours=23), source_updated_at=NOW - timedelta(hours=20))  # fmt: skip
        receive([held], source=sources["channel"], now=NOW)
        free = replace(held, stage=Stage.AWAIT_SHIP, group_state=GroupState.DONE,
                       source_updated_at=NOW - timedelta(minutes=3))  # fmt: skip
        receive([free], source=sources["channel"], now=NOW)
        order = Order.objects.get(order_no=held.order_no)
        values = collect([order], now=NOW)[order.pk]

    assert order.released_at == NOW - timedelta(minutes=3)
    assert values["order.ready_at"] == serial(NOW - timedelta(minutes=3))
    assert (order.node, order.node_entered_at) == ("callback", NOW - timedelta(minutes=3))


def test_a_review_that_begins_late_is_dated_and_raises_the_revision_when_that_changes(
    world: World,
) -> None:
    with for_environment(world.production):
        source = make_sources()["channel"]
        clear = canonical_order(
            placed_at=NOW - timedelta(hours=3), source_updated_at=NOW - timedelta(hours=2)
        )
        risky = replace(
            clear, risk_state="风控审核中", source_updated_at=NOW - timedelta(minutes=9)
        )
        later = replace(clear, source_updated_at=NOW - timedelta(minutes=20))
        receive([risky], source=source, now=NOW)
        order = Order.objects.get()
        assert (order.review_at, order.revision) == (None, 1)  # reviewed ever since it is known

        receive([clear], source=source, now=NOW)  # overtaken, and yet it dates the review
        order = Order.objects.get()
        receive([later], source=source, now=NOW)
        again = Order.objects.get()
        values = collect([again], now=NOW)[again.pk]

    assert (order.review_at, order.revision) == (risky.source_updated_at, 2)
    assert (again.review_at, again.revision) == (risky.source_updated_at, 2)  # nothing new by it
    assert values["order.review_at"] == serial(NOW - timedelta(minutes=9))
    assert (again.node, again.node_entered_at) == ("risk", NOW - timedelta(minutes=9))


# --- snapshots ------------------------------------------------------------------------------------


def test_snapshot_seals_personal_facts_and_reads_back_whole(world: World) -> None:
    with for_environment(world.production):
        sources = make_sources()
        record = canonical_order(remark="放门口，打 13800001234")
        receive([record], source=sources["channel"], now=NOW)
        order = Order.objects.get(order_no=record.order_no)
        taken = take_snapshots([order], read_setting(), now=NOW)[order.pk]
        store_snapshots([taken])
        snapshot = FactSnapshot.objects.get(order=order)

    assert "13800001234" not in snapshot.facts + snapshot.personal_sealed
    assert open_personal(snapshot.personal_sealed) == {"order.remark": "放门口，打 13800001234"}
    stored = load_facts(snapshot.facts) | open_personal(snapshot.personal_sealed)
    assert stored == load_facts(dump_facts(taken.values))
    assert (snapshot.revision, snapshot.digest) == (order.revision, taken.digest)


def test_text_longer_than_a_formula_takes_is_an_error_and_no_work(world: World) -> None:
    with for_environment(world.production):
        sources = make_sources()
        record = canonical_order(remark="长" * (MAX_TEXT + 1))
        receive([record], source=sources["channel"], now=NOW)
        order = Order.objects.get(order_no=record.order_no)
        values = collect([order], now=NOW)[order.pk]

    assert values["order.remark"] is ErrorValue.VALUE


def test_error_value_survives_its_snapshot() -> None:
    values = {"a": ErrorValue.VALUE, "lines": ({"b": ErrorValue.NA},), "c": "x"}

    assert load_facts(dump_facts(values)) == {
        "a": ErrorValue.VALUE,
        "lines": [{"b": ErrorValue.NA}],
        "c": "x",
    }


# --- for people -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "type", "unit", "text"),
    [
        (12.5, ValueType.MONEY, "元", "12.50"),
        (-0.001, ValueType.NUMBER, "", "0"),
        (3.0, ValueType.NUMBER, "", "3"),
        (112.0, ValueType.NUMBER, "分钟", "1 小时 52 分"),
        (59.99, ValueType.NUMBER, "分钟", "59 分"),
        (26.5, ValueType.NUMBER, "小时", "1 天 2 小时"),
        (48.0, ValueType.NUMBER, "小时", "2 天"),
        (112 / 1440, ValueType.DURATION, "", "1 小时 52 分"),
        (-1 / 24, ValueType.DURATION, "", "-1 小时"),
        (to_serial(datetime(2025, 11, 11, 12, 40)), ValueType.DATETIME, "", "11-11 12:40"),  # noqa: DTZ001 - wall time
        (1e300, ValueType.DATETIME, "", "1e+300"),
        (True, ValueType.LOGICAL, "", "是"),
        (None, ValueType.TEXT, "", "空"),
        ("", ValueType.TEXT, "", "空"),
        (UNKNOWN, ValueType.TEXT, "", "未知"),
        (ErrorValue.DIV0, ValueType.NUMBER, "", "除以了 0 或空值"),
        ([{}, {}], ValueType.ROWS, "", "2 行"),
        ("待发货", ValueType.TEXT, "", "待发货"),
    ],
)  # fmt: skip
def test_value_is_written_for_people(value: Any, type: ValueType, unit: str, text: str) -> None:
    assert format_value(value, type, unit) == text


def test_values_are_listed_with_their_labels_in_the_order_of_the_catalogue() -> None:
    values = values_at(tell(), PURE_NOW, feeds_at(PURE_NOW))

    assert describe_values(values, ["order.city", "order.paid", "order.province"], FACTS) == [
        ("实付金额", "100.00"), ("省", "浙江省"), ("市", "杭州市"),
    ]  # fmt: skip


# --- what platforms tell besides ------------------------------------------------------------------


def test_flags_and_line_states_of_the_platform_are_facts(world: World) -> None:
    with for_environment(world.production):
        sources = make_sources()
        record = canonical_order(
            oversold=True, buyer_urged=True, address_change_pending=True, partial_refund=True,
            is_credit_pay=True, platform_hold="处方药待审核", collect_by=NOW,
            lines=(CanonicalLine("1", sku="S", warehouse="HZ-01", is_oversold=True, status="101",
                                 refund_state="requested"),
                   CanonicalLine("2", sku="G", is_gift=True, gift_of="1")),
        )  # fmt: skip
        receive([record], source=sources["channel"], now=NOW)
        order = Order.objects.get()
        values = collect([order], now=NOW)[order.pk]

    for name in ("oversold", "buyer_urged", "address_change_pending", "partial_refund",
                 "is_credit_pay"):  # fmt: skip
        assert values[f"order.{name}"] is True, name
    assert (values["order.platform_hold"], values["order.collect_by"]) == (
        "处方药待审核",
        serial(NOW),
    )
    first, gift = values["lines"]  # type: ignore[misc] # rows
    assert (first["lines.warehouse"], first["lines.is_oversold"]) == ("HZ-01", True)
    assert (first["lines.status"], first["lines.refund_state"]) == ("101", "退款申请中")
    assert (gift["lines.gift_of"], gift["lines.refund_state"]) == ("1", None)
