"""Back-fills before they begin: who asked for which range, what it will cost, who takes it up."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext

from config.audit.models import AuditEntry
from config.errors import AppError
from config.tenancy.scope import for_environment
from connectors.sync import backfill
from connectors.sync.models import BackfillRun, CallLog
from tests.connectors.sync.outside import Outside
from tests.connectors.sync.test_backfill import mall_life, work
from tests.connectors.sync.test_reading import make_life, stored
from tests.factories import NOW, World
from tests.frontend.sources import ask_backfill, connect

pytestmark = pytest.mark.django_db
State = BackfillRun.State
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


# --- asking for one -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "end", "vendor", "code", "words"),
    [
        (HOUR, 2 * HOUR, "tmall", "bad_range", "开始时间要早于结束时间，且不能在将来"),
        (-HOUR, -HOUR, "tmall", "bad_range", "开始时间要早于结束时间，且不能在将来"),
        (-HOUR, -2 * HOUR, "tmall", "bad_range", "开始时间要早于结束时间，且不能在将来"),
        (-89 * DAY - MINUTE, -DAY, "tmall", "out_of_reach", "平台只给最近 89 天的列表"),
        (-DAY, -HOUR, "alipay", "no_list", "「来源甲」没有可以按时间读取的列表，不能补录"),
    ],
)
def test_a_range_that_cannot_be_read_is_refused_in_words(
    world: World, start: timedelta, end: timedelta, vendor: str, code: str, words: str
) -> None:
    with for_environment(world.production):
        kind = "channel" if vendor == "tmall" else "gateway"
        connection = connect(NOW, name="来源甲", vendor=vendor, kind=kind, shop=None)
        before = AuditEntry.objects.count()

        with pytest.raises(AppError) as refused:
            backfill.request_backfill(
                connection, start=NOW + start, end=NOW + end, actor=None, now=NOW
            )

        assert refused.value.code == code
        assert words in refused.value.message % refused.value.params
        assert not BackfillRun.objects.exists()
        assert AuditEntry.objects.count() == before


def test_who_asked_is_written_down_the_future_is_cut_off_and_nothing_is_read_unasked(
    outside: Outside, world: World
) -> None:
    outside.add(mall_life(outside, 1))
    connection = outside.connect("mall")
    actor = world.users["tech_support"]
    now = outside.now()
    with for_environment(outside.environment):
        run = backfill.request_backfill(
            connection, start=now - 89 * DAY, end=now + DAY, actor=actor, now=now
        )
        entry = AuditEntry.objects.get(action="backfill.request")

    assert (run.state, run.end, run.requested_by) == (State.ESTIMATING, now, actor)
    assert entry.details == {"start": run.start.isoformat(), "end": now.isoformat()}
    assert work(outside, run).state == State.ESTIMATING
    assert outside.host.costs == {}
    assert stored(outside) == set()


# --- the estimate ---------------------------------------------------------------------------------


def test_a_list_that_counts_is_counted_window_by_window(outside: Outside) -> None:
    outside.add(*[make_life(outside, n, minutes_ago=40 + 100 * n) for n in range(4)])
    connection = outside.connect("tmall")
    now = outside.now()
    with for_environment(outside.environment):
        run = backfill.request_backfill(
            connection, start=now - 4 * HOUR, end=now, actor=None, now=now
        )

    run = backfill.estimate_backfill(outside.environment, run.pk, **outside.tools)

    assert (run.state, run.estimate, run.estimate_seconds) == (State.READY, 3, 1)
    with for_environment(outside.environment, write=False):
        assert CallLog.objects.count() == 9  # half an hour each, neighbours share a second
    assert stored(outside) == set()


def test_of_a_long_range_some_windows_stand_for_the_rest(outside: Outside) -> None:
    """Every half hour of three months would be thousands of calls: longer than its task may run."""
    outside.add(*[make_life(outside, n, minutes_ago=45 + 30 * n) for n in range(2 * 24 * 4)])
    connection = outside.connect("tmall")
    now = outside.now()
    with for_environment(outside.environment):
        run = backfill.request_backfill(
            connection, start=now - 4 * DAY, end=now, actor=None, now=now
        )

    run = backfill.estimate_backfill(outside.environment, run.pk, **outside.tools)

    assert run.state == State.READY
    assert run.estimate is not None
    assert 150 < run.estimate < 250  # one in every half hour
    with for_environment(outside.environment, write=False):
        assert CallLog.objects.count() == backfill.MOST_COUNTED


def test_an_estimate_is_made_by_one_and_the_lease_of_the_dead_runs_out(outside: Outside) -> None:
    connection = outside.connect("tmall")
    now = outside.now()
    with for_environment(outside.environment):
        run = backfill.request_backfill(connection, start=now - HOUR, end=now, actor=None, now=now)
        lease = now + backfill.ESTIMATE_LEASE
        BackfillRun.objects.update(holder="another", lease_until=lease)
        assert backfill.list_running(now=now) == []

    left = backfill.estimate_backfill(outside.environment, run.pk, **outside.tools)

    assert (left.state, left.holder) == (State.ESTIMATING, "another")
    assert outside.host.costs == {}
    outside.clock.set(lease)
    made = backfill.estimate_backfill(outside.environment, run.pk, **outside.tools)
    assert (made.state, made.estimate, made.holder) == (State.READY, 0, "")


@pytest.mark.parametrize(("app", "is_down"), [("mall", False), ("tmall", True)])
def test_what_cannot_be_counted_may_be_started_all_the_same(
    outside: Outside, app: str, is_down: bool
) -> None:
    outside.add(mall_life(outside, 1))
    connection = outside.connect(app)
    if is_down:
        outside.faults.switch(app, "*", "http_503")
    now = outside.now()
    with for_environment(outside.environment):
        run = backfill.request_backfill(connection, start=now - HOUR, end=now, actor=None, now=now)

    run = backfill.estimate_backfill(outside.environment, run.pk, **outside.tools)

    assert (run.state, run.estimate, run.estimate_seconds) == (State.READY, None, None)
    assert (run.error is not None) is is_down


def test_who_does_not_wait_for_the_estimate_begins_at_once(outside: Outside) -> None:
    outside.add(mall_life(outside, 1, minutes_ago=30))
    connection = outside.connect("mall")
    now = outside.now()
    with for_environment(outside.environment):
        run = backfill.request_backfill(connection, start=now - HOUR, end=now, actor=None, now=now)
        BackfillRun.objects.update(holder="counting", lease_until=now + MINUTE)
        backfill.start_backfill(run, actor=None, now=now)

    done = work(outside, run)

    assert (done.state, done.new) == (State.DONE, 1)


def test_who_looks_for_work_asks_once(world: World) -> None:
    with for_environment(world.production):
        connection = connect(NOW)
        expected = [ask_backfill(connection, NOW).pk for _ in range(3)]
        ask_backfill(connection, NOW, state=State.PAUSED)
        expected.append(ask_backfill(connection, NOW, state=State.ESTIMATING).pk)
        ask_backfill(connection, NOW, holder="x", lease_until=NOW + MINUTE)

        with CaptureQueriesContext(database) as caught:
            found = backfill.list_running(now=NOW)

    assert (found, len(caught)) == (expected, 1)
