"""A draft tried out on real orders: what it says, whom it would move, what nobody would see."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from connectors.orders.models import Order
from rules_engine.facts.models import FactSnapshot
from rules_engine.formula import Result
from rules_engine.rules.drafts import NEW_DIMENSION
from rules_engine.scoring import trials
from rules_engine.scoring.models import Score, ScoreChange
from rules_engine.scoring.services import list_due_order_ids, score_orders
from tests.factories import NOW, World, for_environment, make_order, make_sources, make_world
from workflows.causes import classify

pytestmark = pytest.mark.django_db

PRICE = "金额相等(实付金额, 应付金额)"


@pytest.fixture
def world(db: None) -> World:
    return make_world()


def dimension(**changes: Any) -> dict[str, Any]:
    return {**NEW_DIMENSION, "key": "price", "name": "价格", "formula": PRICE, **changes}


def rule_set(*dimensions: dict[str, Any]) -> dict[str, Any]:
    lines = {"yellow": 70, "orange": 60, "red": 50}
    return {"name": "规则", "lines": lines, "dimensions": list(dimensions)}


def compare(content: dict[str, Any]) -> trials.Moves:
    rules, problems = trials.compile_draft(content)
    assert problems == []
    assert rules is not None
    comparison, moves = trials.Comparison(rules, now=NOW), trials.Moves()
    while comparison.take_step(moves):
        pass
    return moves


def counts(moves: trials.Moves) -> dict[tuple[str, str], int]:
    return {key: cell.count for key, cell in moves.cells.items()}


def test_a_dimension_is_tried_with_outcome_reason_and_values(world: World) -> None:
    with for_environment(world.production):
        make_sources()
        good = make_order()
        bad = make_order(paid_fen=30000)

        said = trials.try_dimension(
            dimension(reason="实付 {实付金额}，应付 {应付金额}"), [bad, good], now=NOW
        )

    assert [(t.order.pk, t.outcome, t.points_hundredths) for t in said] == [
        (bad.pk, "fail", 0),
        (good.pk, "pass", 1000),
    ]
    assert said[0].reason == "实付 300.00，应付 327.00"
    assert said[0].values == [("应付金额", "327.00"), ("实付金额", "300.00")]


def test_a_dimension_is_tried_although_the_rest_of_it_is_half_written(world: World) -> None:
    with for_environment(world.production):
        make_sources()
        order = make_order(paid_fen=1)
        half = dimension(points="1e308", cap="abc", name="", cause=7, kind="?", reason="{没有}")

        assert [t.outcome for t in trials.try_dimension(half, [order], now=NOW)] == ["fail"]
        for formula in ("", "如果(", "支付金鹅>0", "__import__('os')", 5, None, "(" * 5000):
            assert trials.try_dimension(dimension(formula=formula), [order], now=NOW) == []
            assert trials.trace_dimension(dimension(formula=formula), order, now=NOW) is None


def test_a_trace_has_every_part_at_its_place_and_greys_what_was_not_evaluated(
    world: World,
) -> None:
    formula = "如果（预售阶段＝“”，不适用（），尾款截止＜现在（））"
    with for_environment(world.production):
        make_sources()
        traced = trials.trace_dimension(dimension(formula=formula), make_order(), now=NOW)

    assert traced is not None
    parts = {part.text: part for part in traced.parts}
    assert parts[formula].value is Result.NOT_APPLICABLE
    assert parts["预售阶段＝“”"].value is True
    assert not parts["尾款截止＜现在（）"].is_evaluated
    assert all(formula[p.start : p.end] == p.text for p in traced.parts)


def test_personal_text_is_never_shown_in_a_trial_or_a_trace(world: World) -> None:
    with for_environment(world.production):
        make_sources()
        order = make_order(remark="请打 13900001111")
        written = dimension(formula='左取(备注,20)<>""')

        said = trials.try_dimension(written, [order], now=NOW)
        traced = trials.trace_dimension(written, order, now=NOW)

    assert said[0].outcome == "pass"
    assert said[0].values == []
    assert traced is not None
    shown = {p.text for p in traced.parts if (p.start, p.end) in traced.hidden}
    assert {"备注", "左取(备注,20)"} <= shown


def test_a_draft_is_compared_with_the_bands_in_force(world: World) -> None:
    with for_environment(world.production):
        make_sources()
        from rules_engine import presets

        presets.install("pay_ship", NOW)
        late = [make_order(promised_ship_at=NOW - timedelta(hours=1)) for _ in range(2)]
        cheap = [make_order(paid_fen=100 + i) for i in range(3)]
        make_order()
        score_orders(list_due_order_ids(), now=NOW, why=ScoreChange.Why.RULE, classify=classify)
        before = dict(Score.objects.values_list("order_id", "band"))
        moves = compare(rule_set(dimension(points=100, cap=59)))

        assert {before[order.pk] for order in late} == {"orange"}
        assert counts(moves) == {
            ("orange", "healthy"): 2,
            ("healthy", "red"): 3,
            ("healthy", "healthy"): 1,
        }
        assert moves.moved == 5
        assert moves.cells[("healthy", "red")].fen == 303
        telling = moves.list_samples(3)
        assert telling == [order.public_id for order in reversed(cheap)]
        assert dict(Score.objects.values_list("order_id", "band")) == before


def test_steps_add_up_to_the_whole_and_start_where_the_last_one_ended(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trials, "STEP", 3)
    with for_environment(world.production):
        make_sources()
        for i in range(10):
            make_order(paid_fen=None if i % 2 else 32700)
        moves = compare(rule_set(dimension(points=100)))

    assert moves.looked_at == 10
    assert sum(counts(moves).values()) == 10
    assert {before for before, _after in moves.cells} == {""}
    assert moves.moved == 0


def test_the_samples_of_all_cells_stay_few_enough_for_an_address() -> None:
    moves = trials.Moves()
    bands = ("healthy", "yellow", "orange", "red")
    for i in range(4000):
        moves.add(bands[i % 4], bands[(i // 4) % 4], i, f"{i:016d}")
    moves.trim()

    assert moves.moved == 3000
    assert sum(len(cell.samples) for cell in moves.cells.values()) <= trials.MAX_SAMPLES
    cell = moves.cells[("healthy", "red")]
    assert [fen for fen, _id in cell.samples] == sorted((f for f, _ in cell.samples), reverse=True)
    assert cell.samples[0][0] == 3996


def test_a_comparison_sees_one_environment_only(world: World) -> None:
    with for_environment(world.other):
        make_sources()
        make_order()
    with for_environment(world.production):
        assert compare(rule_set(dimension(points=100))).looked_at == 0


def test_the_number_of_queries_does_not_grow_with_the_orders(world: World) -> None:
    def measure(count: int) -> int:
        for _ in range(count):
            make_order()
        with CaptureQueriesContext(
            connection,
        ) as queries:
            compare(rule_set(dimension(points=100)))
        orders = list(Order.objects.all()[:count])
        with CaptureQueriesContext(connection) as more:
            trials.try_dimension(dimension(), orders, now=NOW)
        return len(queries) + len(more)

    with for_environment(world.production):
        make_sources()
        few = measure(2)
        many = measure(20)
        assert FactSnapshot.objects.count() == 0  # trying writes nothing

    assert many == few


def test_the_users_weights_without_caps_hide_every_single_failure() -> None:
    points = {"地址": 20, "回调": 30, "库存": 25, "价格": 15, "物流": 10}
    literal = rule_set(
        *(
            dimension(key=f"d{i}", name=name, points=p, formula="真")
            for i, (name, p) in enumerate(points.items())
        )
    )
    capped = rule_set(
        *(
            {**d, "cap": cap}
            for d, cap in zip(literal["dimensions"], (59, 49, 69, 59, 69), strict=True)
        )
    )

    spots = trials.find_blind_spots(literal)

    assert spots is not None
    single = {spot.names[0]: spot.score_hundredths for spot in spots if len(spot.names) == 1}
    assert single == {"地址": 8000, "回调": 7000, "库存": 7500, "价格": 8500, "物流": 9000}
    assert trials.find_blind_spots(capped) == []
    assert trials.find_blind_spots(rule_set(dimension(points="1e308"))) is None
    assert trials.find_blind_spots({}) is None
