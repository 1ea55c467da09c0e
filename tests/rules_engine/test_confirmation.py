"""The compiled plan scores; the row plan confirms every worse answer before anybody acts on it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest

from config.tenancy.scope import for_environment
from connectors.orders.models import Order
from connectors.shops.services import record_freshness
from rules_engine import presets
from rules_engine.formula import ErrorValue, Result, RowPlan, Value
from rules_engine.rules.services import RuleSet, get_active_rule_set, get_active_version
from rules_engine.scoring.bands import Band
from rules_engine.scoring.judging import Judge
from rules_engine.scoring.models import Score, ScoreChange
from rules_engine.scoring.services import score_orders
from tests.factories import NOW, World, make_order, make_sources, make_world
from workflows.causes import classify


@pytest.fixture
def world(db: None) -> World:
    return make_world()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[RowPlan]:
    """The row plans that were asked, in order."""
    found: list[RowPlan] = []
    evaluate = RowPlan.evaluate

    def listen(self: RowPlan, values: Mapping[str, object], now: float) -> Value:
        found.append(self)
        return evaluate(self, values, now)

    monkeypatch.setattr(RowPlan, "evaluate", listen)
    return found


def prepare() -> Order:
    presets.install("promo", NOW)
    for source in make_sources().values():
        record_freshness(source, complete_until=NOW, now=NOW)
    return make_order(placed_at=NOW - timedelta(minutes=10))


def score(order: Order, now: datetime = NOW) -> Any:
    (scored,) = score_orders([order.pk], now=now, why="received", classify=classify)
    return scored


def make_it_lie(monkeypatch: pytest.MonkeyPatch, answer: Value) -> None:
    """A fault in the compiled plan: every formula gives the same answer."""
    monkeypatch.setattr(
        RuleSet,
        "evaluate",
        lambda self, values, now: {d.key: answer for d in self.dimensions if d.plan is not None},
    )


def test_healthy_answer_is_the_compiled_plans_alone(world: World, asked: list[RowPlan]) -> None:
    with for_environment(world.production):
        order = prepare()

        scored = score(order)

    assert scored.after_band == Band.HEALTHY
    assert asked == []


def test_worse_answer_of_a_faulty_compiled_plan_never_acts(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with for_environment(world.production):
        order = prepare()
        score(order)
        version = get_active_version()
        before = list(Score.objects.values_list("band", "score_hundredths", "needs_intervention"))
        make_it_lie(monkeypatch, Result.FAIL)

        with caplog.at_level(logging.ERROR):
            scored = score(order, NOW + timedelta(seconds=30))

        assert version is not None
        assert (scored.after_band, scored.needs_intervention) == (Band.HEALTHY, False)
        assert (
            list(Score.objects.values_list("band", "score_hundredths", "needs_intervention"))
            == before
        )
        assert ScoreChange.objects.count() == 1  # the first score
    (record,) = caplog.records
    said = record.getMessage()
    assert f"plans disagree on order {order.pk}, rule version {version.pk}, dimensions " in said
    assert order.order_no not in said


def test_first_answer_below_the_line_is_confirmed(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with for_environment(world.production):
        order = prepare()
        make_it_lie(monkeypatch, Result.FAIL)

        with caplog.at_level(logging.ERROR):
            scored = score(order)

    assert scored.after_band == Band.HEALTHY
    assert "plans disagree" in caplog.text


def test_worse_answer_that_is_right_acts_and_is_confirmed_once(
    world: World, asked: list[RowPlan], caplog: pytest.LogCaptureFixture
) -> None:
    with for_environment(world.production):
        order = prepare()
        Order.objects.filter(pk=order.pk).update(paid_fen=1, revision=order.revision + 1)
        with caplog.at_level(logging.ERROR):
            rules = get_active_rule_set()
            assert rules is not None
            plans = {id(d.plan) for d in rules.dimensions}  # those of reasons are asked anyway
            first = score(order)
            confirmed = sum(id(plan) in plans for plan in asked)
            asked.clear()
            again = score(order, NOW + timedelta(seconds=30))

    assert first.needs_intervention
    assert again.after_band == first.after_band
    assert confirmed == len(plans)  # each formula once
    assert not any(id(plan) in plans for plan in asked)
    assert "disagree" not in caplog.text


def test_limit_that_both_plans_reach_counts_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[str]] = []
    confirmed = Judge.judge_confirmed

    def note(self: Judge, *arguments: Any, **more: Any) -> Any:
        judgement = confirmed(self, *arguments, **more)
        seen.append(list(self.trips))
        return judgement

    with for_environment(world.production):
        order = prepare()
        make_it_lie(monkeypatch, ErrorValue.LIMIT)
        monkeypatch.setattr(RowPlan, "evaluate", lambda self, values, now: ErrorValue.LIMIT)
        monkeypatch.setattr(Judge, "judge_confirmed", note)
        score(order)

    (trips,) = seen
    assert trips
    assert len(trips) == len(set(trips))
