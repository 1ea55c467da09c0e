"""A bug of ours costs one chunk; a formula that keeps running into limits is put out of use."""

from __future__ import annotations

import gc
import logging
import resource
import signal
import time
from datetime import timedelta
from typing import Any

import pytest
from celery.exceptions import SoftTimeLimitExceeded
from django.db import connection
from django.test.utils import CaptureQueriesContext

from config.audit.models import AuditEntry
from config.errors import BadInput, NotFound, WrongState
from config.releases.models import Version
from config.tenancy.scope import for_environment
from connectors.orders.canonical import CanonicalLine
from connectors.orders.models import Order
from rules_engine.formula import find_function
from rules_engine.rules.services import forget_compiled, get_active_version, install_rule_set
from rules_engine.scoring import guard, services
from rules_engine.scoring.models import FormulaSuspension, Score
from rules_engine.scoring.services import Scored, score_orders
from rules_engine.scoring.suspensions import (
    TRIPS_ALLOWED,
    lift_suspension,
    list_suspensions,
)
from tests.factories import NOW, World, make_order, make_sources, make_world
from workflows.causes import classify
from workflows.interventions.models import PatrolRun
from workflows.patrol.services import patrol_environment

HEAVY = "求和(明细,求和(明细,求和(明细,数量)))>0"
PLAIN = '首字母大写(订单号)<>""'
MINUTE = timedelta(minutes=1)


@pytest.fixture
def world(db: None) -> World:
    forget_compiled()
    return make_world()


@pytest.fixture(autouse=True)
def _nothing_planted_stays() -> Any:
    yield
    forget_compiled()


def publish(*formulas: str, **more: Any) -> None:
    """Rules with a dimension for each formula, sharing the points."""
    points = 100 / len(formulas)
    dimensions = [
        {"key": f"d{n}", "name": f"第{n}项", "formula": formula, "points": points, "cause": "价格"}
        | more
        for n, formula in enumerate(formulas, 1)
    ]
    install_rule_set({"name": "测试", "dimensions": dimensions}, origin="tests", now=NOW)


def make_heavy_order() -> Order:
    """An order whose lines, walked inside one another, use up the steps."""
    lines = tuple(CanonicalLine(line_id=str(n), sku=f"S{n}", quantity=1) for n in range(90))
    return make_order(lines=lines)


def score(orders: list[Order], minute: int = 0) -> Scored:
    ids = [order.pk for order in orders]
    return score_orders(ids, now=NOW + minute * MINUTE, why="clock", classify=classify)


def dimension_of(order: Order, key: str = "d1") -> dict[str, Any]:
    return next(d for d in Score.objects.get(order=order).dimensions if d["key"] == key)


@pytest.fixture
def planted() -> Any:
    """Plant bugs in functions; they are pulled out again at the end."""
    honest: list[tuple[Any, Any]] = []

    def plant(name: str, trigger: str, do: Any) -> None:
        function = find_function(name)
        assert function is not None
        run = function.run
        honest.append((function, run))

        def buggy(value: Any) -> Any:
            if value == trigger:
                do()
            return run(value)

        object.__setattr__(function, "run", buggy)
        forget_compiled()

    yield plant
    for function, run in honest:
        object.__setattr__(function, "run", run)


def run_for_ever() -> None:
    while True:
        pass


def eat_memory() -> None:
    kept = []
    while True:
        kept.append(bytearray(32 << 20))


# --- one chunk ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bug", "limit", "seconds"),
    # Memory has all the time it wants: on a busy machine 256 MB take longer than half a second.
    [(run_for_ever, "time", 0.5), (eat_memory, "memory", 30)],
)
def test_bug_of_ours_costs_one_chunk_and_its_orders_are_reported(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    planted: Any,
    bug: Any,
    limit: str,
    seconds: float,
) -> None:
    monkeypatch.setattr(services, "CHUNK", 2)
    monkeypatch.setattr(services, "CHUNK_SECONDS", seconds)
    monkeypatch.setattr(services, "CHUNK_BYTES", 256 << 20)
    with for_environment(world.production):
        publish(PLAIN, "实付金额>1")
        make_sources()
        orders = [make_order() for _ in range(6)]
        planted("首字母大写", orders[2].order_no, bug)

        begun = time.monotonic()
        with caplog.at_level(logging.ERROR):
            scored = score(orders)

        assert [item.order_id for item in scored] == [orders[n].pk for n in (0, 1, 4, 5)]
        assert scored.failed_ids == [orders[2].pk, orders[3].pk]
        assert time.monotonic() - begun < 60
        assert Score.objects.count() == 4
        row = FormulaSuspension.objects.get()
        assert (row.dimension_key, row.limit, row.trips) == ("d1", limit, 1)
        assert (row.last_order_no, row.suspended_at) == (orders[2].order_no, None)
    assert f"stopped at order {orders[2].pk}" in caplog.text
    assert orders[2].order_no not in caplog.text


def test_third_trip_suspends_the_slow_formula_and_all_orders_are_scored_again(
    world: World, monkeypatch: pytest.MonkeyPatch, planted: Any
) -> None:
    monkeypatch.setattr(services, "CHUNK_SECONDS", 0.3)
    with for_environment(world.production):
        publish(PLAIN, "实付金额>1")
        make_sources()
        orders = [make_order() for _ in range(3)]
        planted("首字母大写", orders[0].order_no, run_for_ever)

        failed = [len(score(orders, minute).failed_ids) for minute in range(4)]

        assert failed == [3, 3, 3, 0]
        for order in orders:
            row = dimension_of(order)
            assert (row["result"], row["needs_person"]) == ("insufficient", True)
            assert row["reason"] == "公式已暂停（计算时间超过上限，3 次），等待 IT 处理，请人工查看"
            assert dimension_of(order, "d2")["result"] == "pass"
        assert set(Score.objects.values_list("needs_intervention", flat=True)) == {True}


def test_run_of_the_patrol_says_how_many_orders_it_could_not_score(
    world: World, monkeypatch: pytest.MonkeyPatch, planted: Any
) -> None:
    monkeypatch.setattr(services, "CHUNK_SECONDS", 0.3)
    with for_environment(world.production):
        publish(PLAIN)
        make_sources()
        bad = make_order()
        planted("首字母大写", bad.order_no, run_for_ever)

    patrol_environment(world.production, now=NOW, clock=lambda: NOW)

    with for_environment(world.production):
        run = PatrolRun.objects.get()
        assert (run.state, run.scored) == ("done", 0)
        assert run.failed >= 1


def test_time_limit_rings_and_leaves_the_alarm_as_it_was() -> None:
    def mine(*_: Any) -> None:
        raise AssertionError("not now")

    before = signal.signal(signal.SIGALRM, mine)
    left = signal.setitimer(signal.ITIMER_REAL, 100)
    try:
        with pytest.raises(guard.OutOfTime), guard.limits(0.05):
            run_for_ever()
        with guard.limits(5):
            pass
        assert signal.getsignal(signal.SIGALRM) is mine
        assert 50 < signal.getitimer(signal.ITIMER_REAL)[0] <= 100
    finally:
        signal.setitimer(signal.ITIMER_REAL, *left)
        signal.signal(signal.SIGALRM, before)


def test_memory_limit_is_an_error_and_is_gone_afterwards() -> None:
    before = resource.getrlimit(resource.RLIMIT_DATA)
    with pytest.raises(MemoryError), guard.limits(30, 64 << 20):
        eat_memory()
    gc.collect()

    assert resource.getrlimit(resource.RLIMIT_DATA) == before
    assert len(bytearray(256 << 20)) == 256 << 20


# --- steps ----------------------------------------------------------------------------------------


def test_formula_that_uses_up_its_steps_three_times_is_out_at_once(world: World) -> None:
    with for_environment(world.production):
        publish(HEAVY, "实付金额>1")
        make_sources()
        orders = [make_heavy_order() for _ in range(5)]

        scored = score(orders)

        assert (len(scored), scored.failed_ids) == (5, [])
        row = FormulaSuspension.objects.get()
        assert (row.trips, row.limit, row.suspended_at) == (TRIPS_ALLOWED, "steps", NOW)
        assert row.dimension_name == "第1项"
        reasons = [dimension_of(order)["reason"] for order in orders]
        assert reasons[:3] == ["公式得出 #LIMIT!：计算步数超过上限"] * 3
        assert reasons[3:] == [row.reason] * 2
        entry = AuditEntry.objects.get(action="formula.suspend")
        assert (entry.subject, entry.actor) == ("第1项", None)


def test_trips_of_several_passes_add_up(world: World) -> None:
    with for_environment(world.production):
        publish(HEAVY)
        make_sources()
        order = make_heavy_order()

        trips = []
        for minute in range(4):
            score([order], minute)
            trips.append((FormulaSuspension.objects.get().trips, len(list_suspensions())))

        assert trips == [(1, 0), (2, 0), (3, 1), (3, 1)]
        assert "暂停" in dimension_of(order)["reason"]


@pytest.mark.parametrize("policy", ["no_points", "no_deduction", "fail"])
def test_suspended_formula_takes_nothing_away_but_wants_a_person(world: World, policy: str) -> None:
    with for_environment(world.production):
        publish(HEAVY, "实付金额>1", when_insufficient=policy, cap=40)
        make_sources()
        orders = [make_heavy_order() for _ in range(4)]

        score(orders)

        stored = Score.objects.get(order=orders[3])
        assert (stored.score_hundredths, stored.band, stored.cap_hundredths) == (
            100_00,
            "healthy",
            None,
        )
        assert (stored.needs_intervention, stored.cause) == (True, "数据不足")


def test_published_version_never_changes_and_the_next_one_starts_clean(world: World) -> None:
    with for_environment(world.production):
        publish(HEAVY)
        make_sources()
        version = get_active_version()
        assert version is not None
        before = version.checksum
        score([make_heavy_order() for _ in range(3)])

        assert Version.objects.get(pk=version.pk).checksum == before
        assert [row.version_id for row in list_suspensions()] == [version.pk]
        assert list_suspensions(version.pk + 1) == []


# --- lifting --------------------------------------------------------------------------------------


def suspend_one(world: World) -> tuple[Order, FormulaSuspension]:
    publish(HEAVY)
    make_sources()
    orders = [make_heavy_order() for _ in range(3)]
    score(orders)
    return orders[0], list_suspensions()[0]


def test_lifted_formula_runs_again_and_may_trip_three_times_more(world: World) -> None:
    with for_environment(world.production):
        order, row = suspend_one(world)
        lifted = lift_suspension(
            row.public_id, actor=world.users["reviewer"], reason=" 已核对明细 ", now=NOW + MINUTE
        )

        assert list_suspensions() == []
        assert (lifted.lift_reason, lifted.lifted_by) == ("已核对明细", world.users["reviewer"])
        entry = AuditEntry.objects.get(action="formula.lift_suspension")
        assert (entry.actor, entry.details["reason"]) == (world.users["reviewer"], "已核对明细")
        score([order], 2)
        assert "#LIMIT!" in dimension_of(order)["reason"]
        assert list_suspensions() == []
        for minute in (3, 4):
            score([order], minute)
        assert [item.trips for item in list_suspensions()] == [3]
        assert FormulaSuspension.objects.count() == 2


@pytest.mark.parametrize("reason", ["", "   ", "长" * 301])
def test_lifting_wants_a_reason(world: World, reason: str) -> None:
    with for_environment(world.production):
        _, row = suspend_one(world)

        with pytest.raises(BadInput):
            lift_suspension(row.public_id, actor=world.users["reviewer"], reason=reason, now=NOW)

        assert len(list_suspensions()) == 1


def test_lifting_twice_and_lifting_nothing_are_refused(world: World) -> None:
    with for_environment(world.production):
        _, row = suspend_one(world)
        actor = world.users["reviewer"]
        lift_suspension(row.public_id, actor=actor, reason="一次", now=NOW)

        with pytest.raises(WrongState):
            lift_suspension(row.public_id, actor=actor, reason="两次", now=NOW)
        with pytest.raises(NotFound):
            lift_suspension("nothing", actor=actor, reason="无", now=NOW)


def test_suspension_of_one_environment_is_unknown_in_another(world: World) -> None:
    with for_environment(world.production):
        _, row = suspend_one(world)
    with for_environment(world.other):
        assert list_suspensions() == []
        assert FormulaSuspension.objects.count() == 0
        with pytest.raises(NotFound):
            lift_suspension(row.public_id, actor=world.users["reviewer"], reason="外人", now=NOW)
        publish(HEAVY)
        make_sources()
        order = make_heavy_order()
        score([order])
        assert "#LIMIT!" in dimension_of(order)["reason"]
        assert FormulaSuspension.objects.get().trips == 1
    with for_environment(world.production):
        assert len(list_suspensions()) == 1


def test_watching_for_suspensions_costs_one_query_a_pass(world: World) -> None:
    with for_environment(world.production):
        publish("实付金额>1")
        make_sources()
        orders = [make_order() for _ in range(4)]
        score(orders)

        with CaptureQueriesContext(connection) as queries:
            score(orders, 1)

    asked = [q["sql"] for q in queries if "formulasuspension" in q["sql"].lower()]
    assert len(asked) == 1


def test_time_limit_of_the_task_ends_the_task_and_is_no_error_of_an_order(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ring(*_: Any, **__: Any) -> None:
        raise SoftTimeLimitExceeded

    with for_environment(world.production):
        publish("实付金额>1")
        make_sources()
        orders = [make_order() for _ in range(3)]
        monkeypatch.setattr(services.Judge, "judge_confirmed", ring)

        with pytest.raises(SoftTimeLimitExceeded):
            score(orders)

        assert Score.objects.count() == 0
