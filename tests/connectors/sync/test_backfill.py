"""Back-fills: a past range read as history, window by window, whatever happens in between."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext

from config.audit.models import AuditEntry
from config.errors import BadInput, NotFound, WrongState
from config.tenancy.scope import for_environment
from connectors.adapters import RateLimit
from connectors.channels.registry import CHANNELS
from connectors.http import ConnectorError, Retry
from connectors.orders.models import Order, StatusEvent
from connectors.shops.models import Connection
from connectors.simulators.life import Life
from connectors.sync import backfill
from connectors.sync.limits import Limiter
from connectors.sync.models import BackfillRun, CallLog, Cursor, Quarantine
from tests.connectors.sync.conftest import START
from tests.connectors.sync.outside import Outside
from tests.connectors.sync.scripted import QUOTA, REVOKED
from tests.connectors.sync.stories import shrink_pages
from tests.connectors.sync.test_reading import make_life, stored
from tests.factories import World
from workflows.patrol import sources

pytestmark = pytest.mark.django_db
State = BackfillRun.State
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def mall_life(outside: Outside, number: int, *, minutes_ago: float = 60, **more: Any) -> Life:
    """A paid order of the own mall: lists give it whole, a window is an hour."""
    values = {
        "order_no": f"1100000{number:05d}",
        "channel": "private_mall",
        "shop": outside.shops["private_mall"],
    }
    return make_life(outside, number, minutes_ago=minutes_ago, **(values | more))


def ask(outside: Outside, connection: Connection, *, hours: float = 6) -> BackfillRun:
    """A back-fill of the last hours that was started."""
    now = outside.now()
    with for_environment(outside.environment):
        row = Connection.objects.select_related("source").get(pk=connection.pk)
        run = backfill.request_backfill(row, start=now - hours * HOUR, end=now, actor=None, now=now)
        backfill.start_backfill(run, actor=None, now=now)
    return run


def work(outside: Outside, run: BackfillRun, **more: Any) -> BackfillRun:
    return backfill.work_backfill(outside.environment, run.pk, **(outside.tools | more))


def break_mapping(monkeypatch: pytest.MonkeyPatch, vendor: str, order_no: str) -> None:
    """From now on our mapping cannot read this order."""
    connector = CHANNELS[vendor]
    assert connector.map_order is not None
    sound = connector.map_order

    def map_order(payload: Any, **hints: Any) -> Any:
        mapped = sound(payload, **hints)
        if mapped.record.order_no == order_no:
            raise BadInput("报文字段 %(field)s 的值不对", code="payload_field", field="amounts")
        return mapped

    broken = {**CHANNELS, vendor: replace(connector, map_order=map_order)}
    monkeypatch.setattr("connectors.sync.registry.CHANNELS", broken)


def rows(outside: Outside) -> dict[str, tuple[bool, int]]:
    """Order number -> whether it is history, and how many status events it has."""
    with for_environment(outside.environment, write=False):
        events = list(StatusEvent.objects.values_list("order_id", flat=True))
        return {o.order_no: (o.is_history, events.count(o.pk)) for o in Order.objects.all()}


@dataclass
class ActingLimiter(Limiter):
    """Does something at the n-th call from now on, once or at every call that follows."""

    at: int = 0
    act: Callable[[], object] = lambda: None
    is_lasting: bool = False

    def take(self, key: str, limit: RateLimit) -> float:
        self.at -= 1
        if self.at == 0 or (self.is_lasting and self.at < 0):
            self.act()
        return 0.0


class Killed(BaseException):
    """The worker is gone: nothing of ours may catch it."""


# --- reading --------------------------------------------------------------------------------------


def test_a_range_is_read_in_slices_as_history_and_the_ordinary_reading_goes_on_from_its_end(
    outside: Outside, world: World
) -> None:
    lives = [mall_life(outside, n, minutes_ago=30 + 60 * n) for n in range(5)]
    outside.add(*lives, mall_life(outside, 99, minutes_ago=8 * 60))
    connection = outside.connect("mall")
    run = ask(outside, connection)

    assert backfill.work_backfill(world.production, run.pk, **outside.tools).state == State.DONE

    run = work(outside, run)  # over is over
    with for_environment(outside.environment, write=False):
        connection = Connection.objects.select_related("source").get()
        cursor = Cursor.objects.get(stream="modified")
        effects = CallLog.objects.filter(is_effect=True).count()
        calls = CallLog.objects.count()
    assert rows(outside) == {life.order_no: (True, 1) for life in lives}
    assert (run.fetched, run.new, run.updated, run.quarantined) == (5, 5, 0, 0)
    assert (run.mark, run.finished_at, run.holder) == (run.end, outside.now(), "")
    assert (cursor.done_until, connection.source.complete_until) == (run.end, run.end)
    assert (connection.state, effects, calls) == (Connection.State.OK, 0, 7)


def test_another_environment_neither_works_nor_estimates_it(outside: Outside, world: World) -> None:
    outside.add(mall_life(outside, 1))
    run = ask(outside, outside.connect("mall"))

    for do in (backfill.work_backfill, backfill.estimate_backfill):
        with pytest.raises(NotFound):
            do(world.staging, run.pk, **outside.tools)
    with for_environment(world.staging, write=False):
        assert backfill.list_running(now=outside.now()) == []
    with for_environment(world.production, write=False):
        assert backfill.list_running(now=outside.now()) == [run.pk]
        assert BackfillRun.objects.get().state == State.RUNNING
    assert stored(outside) == set()


def test_time_that_is_up_ends_a_stretch_and_the_next_goes_on(outside: Outside) -> None:
    outside.add(*[mall_life(outside, n, minutes_ago=30 + 60 * n) for n in range(5)])
    run = ask(outside, outside.connect("mall"))
    # Every window takes one call, and every call a minute.
    slow = ActingLimiter()
    slow.take = lambda key, limit: outside.sleep(60) or 0.0  # type: ignore[method-assign]

    states = []
    for _stretch in range(3):
        run = work(outside, run, limiter=slow, budget=3 * MINUTE)
        states.append((run.state, run.fetched))

    assert states == [(State.RUNNING, 2), (State.RUNNING, 5), (State.DONE, 5)]


def test_a_pause_keeps_the_page_in_hand_and_resuming_reads_the_rest(
    outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    shrink_pages(monkeypatch, 2)
    lives = [mall_life(outside, n, minutes_ago=90) for n in range(6)]
    outside.add(*lives)
    run = ask(outside, outside.connect("mall"), hours=2)

    def pause() -> None:
        with for_environment(outside.environment):
            backfill.pause_backfill(run, actor=None, now=outside.now())

    paused = work(outside, run, limiter=ActingLimiter(at=2, act=pause))
    kept = stored(outside)
    with for_environment(outside.environment, write=False):
        logged = CallLog.objects.count()
        assert backfill.list_running(now=outside.now()) == []
    again = work(outside, run)  # nobody works at what is paused
    with for_environment(outside.environment):
        backfill.resume_backfill(run, actor=None, now=outside.now())
    done = work(outside, run)

    assert (paused.state, paused.fetched, paused.new, paused.lease_until) == (
        State.PAUSED, 4, 4, None,
    )  # fmt: skip
    assert (len(kept), logged) == (4, 2)
    assert (again.state, again.fetched) == (State.PAUSED, 4)
    assert (done.state, done.new) == (State.DONE, 6)
    assert rows(outside) == {life.order_no: (True, 1) for life in lives}
    with for_environment(outside.environment, write=False):
        told = AuditEntry.objects.filter(action__startswith="backfill.").order_by("pk")
        assert [entry.action for entry in told] == [
            "backfill.request", "backfill.running", "backfill.paused", "backfill.running",
        ]  # fmt: skip


def test_what_is_cancelled_stays_so_and_what_was_read_stays(outside: Outside) -> None:
    outside.add(*[mall_life(outside, n, minutes_ago=30 + 60 * n) for n in range(5)])
    connection = outside.connect("mall")
    run = ask(outside, connection)

    def cancel() -> None:
        with for_environment(outside.environment):
            backfill.cancel_backfill(run, actor=None, now=outside.now())

    over = work(outside, run, limiter=ActingLimiter(at=4, act=cancel))

    assert (over.state, over.is_over, over.fetched) == (State.CANCELLED, True, 3)
    assert len(stored(outside)) == 3
    for move in (backfill.resume_backfill, backfill.pause_backfill, backfill.cancel_backfill):
        with for_environment(outside.environment), pytest.raises(WrongState):
            move(over, actor=None, now=outside.now())
    with for_environment(outside.environment, write=False):
        assert not Cursor.objects.filter(
            done_until__isnull=False
        ).exists()  # it handed over nothing


def test_a_killed_worker_s_work_is_gone_on_with_once_its_lease_is_over(outside: Outside) -> None:
    lives = [mall_life(outside, n, minutes_ago=30 + 60 * n) for n in range(5)]
    outside.add(*lives)
    run = ask(outside, outside.connect("mall"))

    def die() -> None:
        raise Killed

    with pytest.raises(Killed):
        work(outside, run, limiter=ActingLimiter(at=5, act=die))
    lease = outside.now() + backfill.LEASE
    with for_environment(outside.environment):  # a process that is killed clears nothing up
        BackfillRun.objects.update(holder="gone", lease_until=lease)
    half = rows(outside)
    held = work(outside, run)
    with for_environment(outside.environment, write=False):
        before = backfill.list_running(now=outside.now())
        after = backfill.list_running(now=lease)
    outside.pass_time(seconds=backfill.LEASE.total_seconds())
    done = work(outside, run)

    assert len(half) == 3
    assert (held.state, held.fetched) == (State.RUNNING, 3)
    assert held.mark == run.start + 4 * HOUR - timedelta(seconds=3)  # four windows, three seams
    assert (before, after) == ([], [run.pk])
    assert (done.state, done.new, done.updated) == (State.DONE, 5, 0)
    assert rows(outside) == {life.order_no: (True, 1) for life in lives}


def test_a_worker_that_was_taken_over_stores_nothing_more(outside: Outside) -> None:
    outside.add(mall_life(outside, 1, minutes_ago=30))
    run = ask(outside, outside.connect("mall"), hours=1)

    def take_over() -> None:
        with for_environment(outside.environment):
            BackfillRun.objects.update(holder="another")

    late = work(outside, run, limiter=ActingLimiter(at=1, act=take_over))

    assert (late.state, late.holder, late.fetched, late.mark) == (State.RUNNING, "another", 0, None)
    assert stored(outside) == set()


def test_a_failure_says_why_and_is_gone_on_from_where_it_stood(outside: Outside) -> None:
    lives = [mall_life(outside, n, minutes_ago=30 + 60 * n) for n in range(5)]
    outside.add(*lives)
    connection = outside.connect("mall")
    run = ask(outside, connection)

    def break_down() -> None:
        outside.faults.switch("mall", "*", "http_503")

    failed = work(outside, run, limiter=ActingLimiter(at=4, act=break_down))
    assert (failed.state, failed.fetched) == (State.FAILED, 2)
    assert failed.error is not None
    with for_environment(outside.environment, write=False):
        assert Connection.objects.get().state == Connection.State.TROUBLE
    outside.faults.clear()
    with for_environment(outside.environment):
        backfill.start_backfill(failed, actor=None, now=outside.now())
    done = work(outside, run)

    assert (done.state, done.error, done.new) == (State.DONE, None, 5)
    assert stored(outside) == {life.order_no for life in lives}


def test_while_the_vendor_wants_us_to_wait_nothing_is_read(outside: Outside) -> None:
    outside.add(mall_life(outside, 1))
    run = ask(outside, outside.connect("mall"))
    with for_environment(outside.environment):
        Connection.objects.update(paused_until=outside.now() + HOUR)

    waiting = work(outside, run)

    assert (waiting.state, waiting.fetched) == (State.RUNNING, 0)
    assert outside.host.costs == {}
    with for_environment(outside.environment, write=False):
        assert backfill.list_running(now=outside.now()) == []
        assert backfill.list_running(now=outside.now() + HOUR) == [run.pk]
    outside.pass_time(hours=1)
    assert work(outside, run).state == State.DONE


def exhaust() -> None:
    """From now on the application's budget is used up for long."""
    raise ConnectorError("too many", code="over_budget", retry=Retry.LATER)


def use_up() -> None:
    """The vendor says that its quota is used up."""
    raise QUOTA


@pytest.mark.parametrize(("happen", "rest"), [(exhaust, MINUTE), (use_up, HOUR)])
def test_what_is_only_too_much_for_now_goes_on_by_itself_when_it_is_time(
    outside: Outside, happen: Callable[[], None], rest: timedelta
) -> None:
    lives = [mall_life(outside, n, minutes_ago=30 + 60 * n) for n in range(5)]
    outside.add(*lives)
    run = ask(outside, outside.connect("mall"))

    resting = work(outside, run, limiter=ActingLimiter(at=4, act=happen, is_lasting=True))
    asked = dict(outside.host.costs)
    idle = work(outside, run)

    assert (resting.state, resting.fetched) == (State.RUNNING, 2)
    assert resting.error is not None
    assert (idle.fetched, outside.host.costs) == (2, asked)
    with for_environment(outside.environment, write=False):
        assert backfill.list_running(now=outside.now() + rest - timedelta(seconds=1)) == []
        assert backfill.list_running(now=outside.now() + rest) == [run.pk]
    outside.clock.advance(rest)
    done = work(outside, run)
    assert (done.state, done.error, done.new) == (State.DONE, None, 5)


def test_a_failure_does_not_undo_a_persons_pause(outside: Outside) -> None:
    outside.add(mall_life(outside, 1))
    run = ask(outside, outside.connect("mall"))

    def pause_and_break() -> None:
        with for_environment(outside.environment):
            backfill.pause_backfill(run, actor=None, now=outside.now())
        raise REVOKED

    stopped = work(outside, run, limiter=ActingLimiter(at=1, act=pause_and_break))

    assert (stopped.state, stopped.error) == (State.PAUSED, None)


@pytest.mark.parametrize("why", [{"is_active": False}, {"paused_until": START + HOUR}])
def test_of_a_connection_that_may_not_be_called_nothing_is_read_and_nobody_is_woken_in_vain(
    outside: Outside, monkeypatch: pytest.MonkeyPatch, why: dict[str, Any]
) -> None:
    outside.add(mall_life(outside, 1))
    run = ask(outside, outside.connect("mall"))
    woken: list[str] = []
    monkeypatch.setattr(sources, "enqueue", lambda name, *_, **__: woken.append(name))
    with for_environment(outside.environment):
        Connection.objects.update(**why)

    sources.work_backfill_run(outside.environment, run.pk, clock=outside.now)

    assert outside.host.costs == {}
    assert woken == []
    with for_environment(outside.environment):
        assert backfill.list_running(now=outside.now()) == []
        Connection.objects.update(is_active=True, paused_until=None)
        assert backfill.list_running(now=outside.now()) == [run.pk]


def test_who_reads_a_past_before_switching_a_connection_on_says_so(outside: Outside) -> None:
    outside.add(mall_life(outside, 1))
    run = ask(outside, outside.connect("mall"))
    with for_environment(outside.environment):
        Connection.objects.update(is_active=False)

    assert work(outside, run).state == State.RUNNING
    assert work(outside, run, even_off=True).state == State.DONE


def test_one_unreadable_order_is_put_aside_and_the_rest_passes(
    outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    lives = [mall_life(outside, n, minutes_ago=30) for n in range(3)]
    outside.add(*lives)
    bad = lives[1].order_no
    break_mapping(monkeypatch, "private_mall", bad)
    run = ask(outside, outside.connect("mall"), hours=1)

    done = work(outside, run)

    assert (done.state, done.fetched, done.new, done.quarantined) == (State.DONE, 3, 2, 1)
    assert stored(outside) == {life.order_no for life in lives} - {bad}
    with for_environment(outside.environment, write=False):
        assert Quarantine.objects.get().order_no == bad


# --- cost -----------------------------------------------------------------------------------------


def test_a_page_of_many_costs_as_many_queries_as_a_page_of_two(outside: Outside) -> None:
    connection = outside.connect("mall")

    def count(numbers: range) -> int:
        outside.add(*[mall_life(outside, n, minutes_ago=30) for n in numbers])
        run = ask(outside, connection, hours=1)
        with CaptureQueriesContext(database) as caught:
            assert work(outside, run).new == len(numbers)
        return len(caught)

    count(range(2))  # what is looked up once and kept
    outside.pass_time(hours=2)
    few = count(range(10, 12))
    outside.pass_time(hours=2)

    assert count(range(20, 60)) <= few + 2  # what is kept may run out meanwhile
