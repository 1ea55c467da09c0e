"""What is fetched beside an order: other orders, its history, calendars."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from config.errors import BadInput
from config.tenancy.scope import for_environment
from connectors.orders.models import Order, OrderLine
from connectors.orders.services import receive_all
from connectors.orders.statuses import Stage
from connectors.shops.models import Source
from rules_engine.facts.catalog import (
    EVENTS,
    HOLIDAYS_ID,
    LINKED,
    PASSAGES,
    PROMOTIONS_ID,
    RELATIONS,
    SAME_ADDRESS,
    SAME_BUYER,
    SAME_SKU,
)
from rules_engine.facts.collect import Values, read_setting
from rules_engine.facts.related import Prefetch, digest_with
from rules_engine.formula import UNKNOWN, to_serial
from rules_engine.scoring.models import Score
from rules_engine.scoring.services import make_completer, score_orders
from rules_engine.scoring.trials import Comparison, Moves, compile_draft, try_dimension
from tests.factories import (
    NOW,
    CanonicalLine,
    World,
    canonical_order,
    make_order,
    make_sources,
    make_world,
    publish_document,
    publish_rules,
    rules_of_one,
)
from workflows.causes import classify

EVERYTHING = frozenset(
    {
        *(fact.id for fact in RELATIONS),
        *(column.id for fact in RELATIONS for column in fact.columns),
        PASSAGES,
        EVENTS,
        PROMOTIONS_ID,
        HOLIDAYS_ID,
    }
)


@pytest.fixture
def world(db: None) -> World:
    return make_world()


@pytest.fixture
def env(world: World) -> Any:
    with for_environment(world.production):
        make_sources()
        yield world


def make_late(kind: str) -> None:
    Source.objects.filter(kind=kind).update(complete_until=ago(minutes=40))


def ago(**length: float) -> datetime:
    return NOW - timedelta(**length)


def extras(
    orders: list[Order],
    needed: Any = EVERYTHING,
    now: datetime = NOW,
    as_of: datetime | None = None,
) -> Any:
    setting = read_setting()
    completer = make_completer(setting, as_of or now)
    return Prefetch(needed, setting, completer, as_of=as_of).fetch([o.pk for o in orders])


def fetch(order: Order, **more: Any) -> Values:
    return extras([order], **more)[order.pk].values


def numbers(order: Order, relation: str, **more: Any) -> Any:
    rows = fetch(order, **more)[relation]
    return rows if rows is UNKNOWN else [row[f"{relation}.order_no"] for row in rows]


# --- same buyer, same address ---------------------------------------------------------------------


def test_other_orders_of_a_buyer_come_newest_first_within_thirty_days(env: World) -> None:
    for number, days in (("A1", 1), ("A2", 3), ("A3", 29.9), ("A4", 30.1)):
        make_order(order_no=number, buyer="b", placed_at=ago(days=days))
    make_order(order_no="B1", buyer="someone else")
    order = make_order(order_no="A0", buyer="b", placed_at=ago(days=2))

    assert numbers(order, SAME_BUYER) == ["A1", "A2", "A3"]


def test_a_buyer_s_row_says_what_a_formula_may_know_and_nothing_personal(env: World) -> None:
    placed = ago(hours=3)
    make_order(
        order_no="A1",
        buyer="b",
        shop="抖音女装馆",
        channel="douyin",
        placed_at=placed,
        amount_fen=12_800,
        stage=Stage.SHIPPED,
        shipped_at=ago(hours=1),
    )
    order = make_order(order_no="A0", buyer="b")

    (row,) = fetch(order)[SAME_BUYER]

    zone = env.production.zone
    assert {id.removeprefix("relation.same_buyer."): value for id, value in row.items()} == {
        "order_no": "A1",
        "channel": "抖音",
        "shop": "抖音女装馆",
        "stage": "已发货",
        "is_over": False,
        "placed_at": to_serial(placed.astimezone(zone)),
        "paid_at": to_serial((placed + timedelta(minutes=2)).astimezone(zone)),
        "shipped_at": to_serial(ago(hours=1).astimezone(zone)),
        "payable": 128.0,
        "paid": 128.0,
        "quantity": 1.0,
        "refund_state": None,
        "presale_phase": None,
        "deposit": None,
        "deposit_paid_at": None,
        "balance_due_at": None,
    }


def test_every_column_of_a_relation_is_filled(env: World) -> None:
    parent = make_order(order_no="P1", buyer="b")
    order = make_order(order_no="A0", buyer="b", parent_no="P1", receiver_phone="13800001111")
    Order.objects.update(address_index="same")

    found = fetch(order)

    for fact in RELATIONS:
        (row,) = found[fact.id]
        assert set(row) == {column.id for column in fact.columns}
        assert row[f"{fact.id}.order_no"] == parent.order_no
        assert UNKNOWN not in row.values()


def test_without_a_buyer_or_with_a_hidden_address_the_relation_is_unknown(env: World) -> None:
    make_order(buyer="", address_detail="文一西路***")
    order = make_order(buyer="", address_detail="文一西路***")

    assert fetch(order)[SAME_BUYER] is UNKNOWN
    assert fetch(order)[SAME_ADDRESS] is UNKNOWN


def test_a_known_buyer_without_other_orders_has_none(env: World) -> None:
    assert fetch(make_order())[SAME_BUYER] == ()


def test_orders_to_one_address_are_found_however_it_is_spaced(env: World) -> None:
    make_order(order_no="A1", address_detail="同仁路 5 号 Ａ座")
    make_order(order_no="A2", address_detail="同仁路 6 号")
    order = make_order(order_no="A0", address_detail="同仁路5号a座")

    assert numbers(order, SAME_ADDRESS) == ["A1"]


def test_a_late_channel_makes_other_orders_unknown(env: World) -> None:
    make_order(order_no="A1", buyer="b")
    order = make_order(order_no="A0", buyer="b")
    make_late("channel")

    found = fetch(order)

    assert [found[fact.id] for fact in RELATIONS] == [UNKNOWN] * 4


def test_a_relation_has_at_most_fifty_rows(env: World) -> None:
    source = make_sources()["channel"]
    many = [
        canonical_order(order_no=f"A{n:03d}", buyer="b", placed_at=ago(minutes=n + 1))
        for n in range(70)
    ]
    receive_all(many, source=source, now=NOW)
    order = Order.objects.get(order_no="A010")

    found = numbers(order, SAME_BUYER)

    assert found == [f"A{n:03d}" for n in range(51) if n != 10]
    assert len(numbers(Order.objects.get(order_no="A069"), SAME_BUYER)) == 50
    assert len(numbers(order, SAME_SKU)) == 50


# --- same goods -----------------------------------------------------------------------------------


def lines(*skus: str) -> tuple[CanonicalLine, ...]:
    return tuple(
        CanonicalLine(line_id=str(n), sku=sku.strip("*"), quantity=2, is_gift=sku.startswith("*"))
        for n, sku in enumerate(skus)
    )


def test_orders_of_the_same_goods_within_a_day(env: World) -> None:
    make_order(order_no="A1", lines=lines("X"), placed_at=ago(hours=2))
    make_order(order_no="A2", lines=lines("Y", "X"), placed_at=ago(hours=1))
    make_order(order_no="A3", lines=lines("X"), placed_at=ago(hours=25))
    make_order(order_no="A4", lines=lines("Z", "*X"))
    order = make_order(order_no="A0", lines=lines("X", "Y", "*G"))

    assert numbers(order, SAME_SKU) == ["A2", "A1"]
    assert [row[f"{SAME_SKU}.quantity"] for row in fetch(order)[SAME_SKU]] == [4.0, 2.0]
    assert fetch(make_order(lines=lines("*X")))[SAME_SKU] is UNKNOWN


# --- linked ---------------------------------------------------------------------------------------


def test_a_deposit_and_the_parts_of_a_split_find_each_other(env: World) -> None:
    deposit = make_order(order_no="D1", placed_at=ago(days=90))
    parts = [make_order(order_no=n, parent_no="D1") for n in ("S1", "S2")]
    make_order(order_no="S3", parent_no="D1", shop="别家店")
    alone = make_order(order_no="L1")

    def links(order: Order) -> list[tuple[Any, Any]]:
        rows = fetch(order)[LINKED]
        return [(row[f"{LINKED}.order_no"], row[f"{LINKED}.link"]) for row in rows]  # type: ignore[union-attr]

    assert sorted(links(deposit)) == [("S1", "下级"), ("S2", "下级")]
    assert links(parts[0]) == [("D1", "上级"), ("S2", "同级")]
    assert links(alone) == []


# --- history --------------------------------------------------------------------------------------


def nodes_of(order: Order, **more: Any) -> dict[str, tuple[Any, Any]]:
    return {
        row[f"{PASSAGES}.node"]: (row[f"{PASSAGES}.entered_at"], row[f"{PASSAGES}.left_at"])
        for row in fetch(order, **more)[PASSAGES]  # type: ignore[union-attr]
    }


def test_passages_and_events_are_read_as_rows(env: World) -> None:
    order = make_order(stage=Stage.AWAIT_PAY, paid_at=None, order_no="A1")
    source = make_sources()["channel"]
    later = NOW + timedelta(minutes=1)
    receive_all([canonical_order(later, order_no="A1")], source=source, now=later)

    found = nodes_of(order, now=later)
    stages = [row[f"{EVENTS}.stage"] for row in fetch(order)[EVENTS]]  # type: ignore[union-attr]

    assert found["node:payment"][1] is not None
    assert found["node:callback"][1] is None
    assert "node:wms_push" not in found
    assert stages == ["stage:await_pay", "stage:await_ship"]


def test_what_a_late_system_may_yet_tell_is_unknown(env: World) -> None:
    order = make_order()
    make_late("oms")

    found = nodes_of(order)

    assert found["node:payment"][1] is not None  # known, whatever the OMS says
    assert found["node:callback"][1] is UNKNOWN  # the OMS may have the order by now
    assert found["node:wms_push"] == (UNKNOWN, UNKNOWN)


def test_a_late_channel_may_not_have_told_the_last_stage(env: World) -> None:
    order = make_order()
    make_late("channel")

    last = fetch(order)[EVENTS][-1]  # type: ignore[index]

    assert (last[f"{EVENTS}.stage"], last[f"{EVENTS}.at"]) == (None, UNKNOWN)


# --- as of ----------------------------------------------------------------------------------------


def test_an_as_of_run_sees_the_others_as_they_were(env: World) -> None:
    make_order(
        order_no="A1",
        buyer="b",
        placed_at=ago(hours=5),
        stage=Stage.SHIPPED,
        shipped_at=ago(hours=1),
    )
    make_order(order_no="A2", buyer="b", placed_at=ago(hours=1))
    order = make_order(order_no="A0", buyer="b", placed_at=ago(hours=6), stage=Stage.SHIPPED, shipped_at=ago(hours=1))  # fmt: skip

    (row,) = fetch(order, as_of=ago(hours=2))[SAME_BUYER]

    assert row[f"{SAME_BUYER}.order_no"] == "A1"
    assert (row[f"{SAME_BUYER}.stage"], row[f"{SAME_BUYER}.shipped_at"]) == ("待发货", None)
    assert all(
        left is None or left <= to_serial(ago(hours=2).astimezone(env.production.zone))
        for _entered, left in nodes_of(order, as_of=ago(hours=2)).values()
    )


# --- calendars ------------------------------------------------------------------------------------


def test_calendars_are_shipped_and_replaced_by_what_is_published(env: World) -> None:
    from rules_engine.facts.tables import SHIPPED

    def read(id: str) -> Any:
        setting = read_setting()
        completer = make_completer(setting, NOW)
        Prefetch({id}, setting, completer)
        return completer.blank[id]

    shipped = read(HOLIDAYS_ID)
    rows = [["2026-12-31", "店庆", False]]
    publish_document(SHIPPED["holidays"] | {"rows": rows}, env, kind="lookup_table", key="holidays")

    assert len(shipped) == len(SHIPPED["holidays"]["rows"])
    assert read(HOLIDAYS_ID) == (
        {
            "calendar.holidays.day": 46_387.0,
            "calendar.holidays.name": "店庆",
            "calendar.holidays.is_workday": False,
        },
    )
    assert {
        "calendar.promotions.name",
        "calendar.promotions.starts_at",
        "calendar.promotions.ends_at",
    } == set(read(PROMOTIONS_ID)[0])


# --- cost, isolation, digest ----------------------------------------------------------------------


def count_queries(work: Any) -> int:
    with CaptureQueriesContext(connection) as seen:
        work()
    return len(seen)


def test_five_hundred_orders_cost_as_many_queries_as_one(env: World) -> None:
    source = make_sources()["channel"]
    many = [
        canonical_order(order_no=f"A{n}", buyer=f"b{n % 50}", parent_no=f"A{n - n % 10}")
        for n in range(500)
    ]
    receive_all(many, source=source, now=NOW)
    orders = list(Order.objects.order_by("pk"))

    one = count_queries(lambda: extras(orders[:1]))
    all_of_them = count_queries(lambda: extras(orders))

    assert one == all_of_them
    assert one <= 25


def test_nothing_is_asked_when_nothing_is_needed(env: World) -> None:
    orders = [make_order() for _ in range(3)]
    setting = read_setting()
    completer = make_completer(setting, NOW)

    assert (
        count_queries(lambda: Prefetch((), setting, completer).fetch([o.pk for o in orders])) == 0
    )
    assert extras(orders, ()) == {}


def test_scoring_by_relations_costs_the_same_queries_for_every_chunk_size(env: World) -> None:
    formula = '且(计数(同买家订单, 实付金额 > 5000) = 0, 非(曾进入("推送WMS")))'
    publish_rules(rules_of_one(formula), env)
    source = make_sources()["channel"]
    many = [canonical_order(order_no=f"A{n}", buyer=f"b{n % 50}") for n in range(500)]
    receive_all(many, source=source, now=NOW)
    ids = list(Order.objects.order_by("pk").values_list("pk", flat=True))

    def score(some: list[int], at: datetime) -> int:
        return count_queries(lambda: score_orders(some, now=at, why="clock", classify=classify))

    score(ids, NOW)
    assert score(ids[:1], NOW + timedelta(minutes=1)) == score(ids, NOW + timedelta(minutes=2))
    assert Score.objects.filter(band="healthy").count() == 500


def test_orders_of_another_environment_are_no_relation(world: World) -> None:
    for environment in (world.staging, world.other):
        with for_environment(environment):
            make_sources()
            make_order(order_no="A1", buyer="b", address_detail="同仁路 5 号", parent_no="A0")
    with for_environment(world.production):
        make_sources()
        order = make_order(order_no="A0", buyer="b", address_detail="同仁路 5 号")

        found = fetch(order)

    assert [found[fact.id] for fact in RELATIONS] == [(), (), (), ()]


def test_news_of_another_order_moves_the_digest_and_the_score(env: World) -> None:
    formula = '计数(同买家订单, 且(阶段 = "待付款", 下单时间 > 本单下单时间)) = 0'
    publish_rules(rules_of_one(formula), env)
    order = make_order(order_no="A0", buyer="b")
    score_orders([order.pk], now=NOW, why="received", classify=classify)
    before = Score.objects.get(order=order)

    make_order(
        order_no="A1", buyer="b", stage=Stage.AWAIT_PAY, paid_at=None, placed_at=ago(minutes=5)
    )
    Order.objects.filter(pk=order.pk).update(revision=before.revision)
    score_orders([order.pk], now=NOW, why="clock", classify=classify)
    after = Score.objects.get(order=order)
    score_orders([order.pk], now=NOW, why="clock", classify=classify)

    assert (before.band, after.band) == ("healthy", "red")
    assert before.fact_digest != after.fact_digest == Score.objects.get(order=order).fact_digest


def test_the_digest_without_relations_is_the_snapshot_s(env: World) -> None:
    publish_rules(rules_of_one("实付金额 > 0"), env)
    order = make_order()

    score_orders([order.pk], now=NOW, why="received", classify=classify)

    assert Score.objects.get().fact_digest == order.fact_snapshot.digest
    assert digest_with("x", extras([order], {SAME_BUYER})[order.pk]) != "x"


def test_previews_back_tests_and_scores_agree(env: World) -> None:
    formula = '且(计数(同买家订单) = 1, 曾进入("支付"), 求和(关联订单, 实付金额) = 0)'
    rules = rules_of_one(formula)
    order = make_order(buyer="b")
    make_order(buyer="b")
    publish_rules(rules, env)

    (trial,) = try_dimension(rules["dimensions"][0], [order], now=NOW)
    draft, problems = compile_draft(rules)
    assert draft is not None, problems
    moves = Moves()
    Comparison(draft, now=NOW).take_step(moves)
    score_orders([order.pk], now=NOW, why="clock", classify=classify)

    assert trial.outcome == "pass"
    assert moves.cells[("", "healthy")].count == 2
    assert Score.objects.get(order=order).band == "healthy"


def test_a_history_that_is_not_known_blames_the_late_feed(env: World) -> None:
    publish_rules(rules_of_one('曾进入("推送WMS")'), env)
    order = make_order()
    make_late("oms")

    score_orders([order.pk], now=NOW, why="clock", classify=classify)

    (row,) = Score.objects.get().dimensions
    assert (row["result"], row["is_late"], row["reason"]) == (
        "insufficient",
        True,
        "OMS数据滞后，暂不能判断",
    )
    assert OrderLine.objects.count() == 1


# --- the receiver ---------------------------------------------------------------------------------


def test_the_receiver_is_opened_only_for_formulas_that_ask(env: World) -> None:
    formula = '且(长度(收货电话) = 11, 包含(详细地址, "仁和"), 收货人 <> "")'
    publish_rules(rules_of_one(formula), env)
    order = make_order(receiver_phone="13912345678", address_detail="仁和路 8 号")

    score_orders([order.pk], now=NOW, why="received", classify=classify)
    score = Score.objects.get()

    assert score.band == "healthy"
    assert "13912345678" not in str(score.dimensions) + order.fact_snapshot.facts
    assert fetch(make_order(receiver_phone=""), needed={"receiver.phone"}) == {
        "receiver.phone": None
    }


def test_the_receiver_never_reaches_a_reason_or_a_preview(env: World) -> None:
    dimension = rules_of_one("收货电话 = 1", reason="打给 {收货电话}")["dimensions"][0]
    order = make_order(receiver_phone="13912345678")

    (trial,) = try_dimension(dimension, [order], now=NOW)
    with pytest.raises(BadInput) as refused:
        publish_rules(rules_of_one("收货电话 = 1", reason="打给 {收货电话}"), env)

    assert "含个人信息，不能写进原因" in str(refused.value)
    assert "13912345678" not in str(trial.values)
