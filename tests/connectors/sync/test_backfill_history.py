"""Back-fills and the ordinary reading: no hole between them, and what of it is history, what news."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from config.tenancy.scope import for_environment
from connectors.adapters import PushItem
from connectors.orders.models import Order
from connectors.shops.models import Connection
from connectors.shops.services import record_freshness
from connectors.simulators.life import Life
from connectors.simulators.mall_orders import render_order
from connectors.sync.backfill import start_backfill
from connectors.sync.models import BackfillRun, CallLog, Cursor, SyncRun
from connectors.sync.pushes import store_messages, work_messages
from connectors.sync.reading import pull
from connectors.sync.taking import find_history_line
from rules_engine.presets import install
from rules_engine.scoring.models import Score
from tests.connectors.sync.outside import Outside
from tests.connectors.sync.stories import shrink_pages
from tests.connectors.sync.test_backfill import ActingLimiter, ask, mall_life, rows, work
from tests.connectors.sync.test_reading import make_life, stored
from tests.factories import NOW, World, make_sources
from tests.frontend.sources import ask_backfill, connect
from workflows.interventions.models import Alert, Hold
from workflows.patrol.services import patrol_environment

pytestmark = pytest.mark.django_db
State = BackfillRun.State
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


# --- and the ordinary reading ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mark", "moved"),
    [
        (None, True),  # it never began
        (-7 * HOUR, False),  # a hole between them: it has to read that itself
        (-6 * HOUR, True),
        (-HOUR, True),
        (timedelta(0), False),
        (HOUR, False),  # it is further already
    ],
)
def test_the_cursor_is_handed_over_only_where_no_hole_opens(
    outside: Outside, mark: timedelta | None, moved: bool
) -> None:
    connection = outside.connect("mall")
    now = outside.now()
    before = None if mark is None else now + mark
    with for_environment(outside.environment):
        Cursor.objects.create(connection=connection, stream="modified", done_until=before)
        if before is not None:
            record_freshness(connection.source, complete_until=before, now=now)
    run = ask(outside, connection)

    work(outside, run)

    with for_environment(outside.environment, write=False):
        cursor = Cursor.objects.get()
        source = Connection.objects.select_related("source").get().source
    assert cursor.done_until == (run.end if moved else before)
    assert source.complete_until == cursor.done_until


def test_what_changes_while_it_runs_is_neither_lost_nor_doubled(
    outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    shrink_pages(monkeypatch, 2)
    lives = [make_life(outside, n, minutes_ago=25 + 35 * n) for n in range(6)]
    late = make_life(outside, 50, minutes_ago=4, lag=10 * MINUTE)  # not yet on any list
    younger = make_life(outside, 51, minutes_ago=-4)
    outside.add(*lives, late)
    connection = outside.connect("tmall")
    run = ask(outside, connection, hours=4)

    def change() -> None:
        outside.pass_time(minutes=5)
        for life in lives[:3]:
            outside.store.touch(life.order_no, outside.now())
        outside.add(younger)

    work(outside, run, limiter=ActingLimiter(at=3, act=change))  # five minutes: its time is up
    done = work(outside, run)
    read = stored(outside)
    outside.pass_time(minutes=15)
    pulled = pull(outside.environment, connection.pk, **outside.tools)

    assert pulled is not None
    assert pulled.is_caught_up
    assert done.state == State.DONE
    assert read == {life.order_no for life in lives[3:]}
    assert {number: events for number, (_, events) in rows(outside).items()} == {
        life.order_no: 1 for life in [*lives, late, younger]
    }
    with for_environment(outside.environment, write=False):
        assert SyncRun.objects.get().window_start == run.end - 10 * MINUTE  # the list's overlap


# --- history and news (decision 0015) -------------------------------------------------------------


@pytest.mark.parametrize(
    ("end", "mark", "line"),
    [
        (timedelta(0), None, -10 * MINUTE),  # a first back-fill; an order may show minutes late
        (timedelta(0), -5 * MINUTE, -15 * MINUTE),  # what the reading still has to read is news
        (-3 * HOUR, -5 * MINUTE, -3 * HOUR - 10 * MINUTE),  # a hole of last night
        (timedelta(0), -4 * HOUR, -4 * HOUR - 10 * MINUTE),
    ],
)
def test_the_line_between_history_and_news_is_drawn_when_the_back_fill_begins(
    world: World, end: timedelta, mark: timedelta | None, line: timedelta
) -> None:
    with for_environment(world.production):
        connection, other = connect(NOW), connect(NOW, name="天猫折扣店")
        run = ask_backfill(connection, NOW, end=NOW + end, state=State.READY, started_at=None)
        if mark is not None:
            Cursor.objects.create(connection=connection, stream="modified", done_until=NOW + mark)
        before = find_history_line(connection)
        start_backfill(run, actor=None, now=NOW)
        BackfillRun.objects.update(state=State.PAUSED)
        Cursor.objects.update(done_until=NOW + HOUR)
        start_backfill(run, actor=None, now=NOW + HOUR)  # going on moves no line

        assert before is None
        assert find_history_line(connection) == NOW + line
        assert find_history_line(other) is None


def stuck(outside: Outside, number: int, **more: Any) -> Life:
    """Paid, and no OMS ever hears of it."""
    return mall_life(outside, number, **more)


def watch(outside: Outside) -> dict[str, list[str]]:
    """Score and decide as the minute's patrol does; what was opened, by kind, as order numbers."""
    now: datetime = outside.now()
    with for_environment(outside.environment):
        make_sources(now)
        source = Connection.objects.select_related("source").get().source
        record_freshness(source, complete_until=now, now=now)
    patrol_environment(outside.environment, now=now, clock=lambda: now)
    with for_environment(outside.environment, write=False):
        return {
            "red": sorted(
                Score.objects.filter(band="red").values_list("order__order_no", flat=True)
            ),
            "alerts": sorted(Alert.objects.values_list("order__order_no", flat=True)),
            "holds": sorted(Hold.objects.values_list("order__order_no", flat=True)),
        }


def push(outside: Outside, connection: Connection, life: Life) -> None:
    """The platform tells of this order, whole."""
    payload = render_order(life, outside.now())
    item = PushItem(
        "record", f"{life.order_no}:{outside.now()}", "order.updated", life.order_no, payload
    )
    with for_environment(outside.environment):
        store_messages(connection, [item], signed_at=None, now=outside.now())
    work_messages(outside.environment, connection.pk, **outside.tools)


def test_a_back_fill_never_alerts_whichever_way_its_orders_come(outside: Outside) -> None:
    """Read, or changed under its hands and pulled or pushed afterwards: red, and not a word."""
    read, pulled, pushed, known = (stuck(outside, n, minutes_ago=300) for n in range(4))
    news = stuck(outside, 9, minutes_ago=-2)
    outside.add(read, pulled, pushed, known)
    connection = outside.connect("mall")
    with for_environment(outside.environment):
        install("promo", outside.now())
    push(outside, connection, known)  # live already, and stays so
    run = ask(outside, connection)
    outside.pass_time(minutes=1)
    for life in (pulled, pushed):
        outside.store.touch(life.order_no, outside.now())  # the buyer wrote a note

    done = work(outside, run)
    first = stored(outside)
    push(outside, connection, pushed)
    outside.add(news)
    outside.pass_time(minutes=40)
    pull(outside.environment, connection.pk, **outside.tools)
    opened = watch(outside)

    past = sorted(life.order_no for life in (read, pulled, pushed))
    live = sorted(life.order_no for life in (known, news))
    assert (done.state, first) == (State.DONE, {read.order_no, known.order_no})
    assert {n: is_history for n, (is_history, _) in rows(outside).items()} == {
        **dict.fromkeys(past, True), **dict.fromkeys(live, False),
    }  # fmt: skip
    assert opened["red"] == sorted([*past, *live])
    assert opened["alerts"] == opened["holds"] == live
    with for_environment(outside.environment, write=False):
        assert not CallLog.objects.filter(is_effect=True, orders__order_no__in=past).exists()


def test_what_the_back_fill_itself_brings_is_history_behind_its_line_too(outside: Outside) -> None:
    """The ordinary reading would have brought it as news; the back-fill was faster, and is silent."""
    outside.add(mall_life(outside, 1, minutes_ago=12), mall_life(outside, 2, minutes_ago=12))
    connection = outside.connect("mall")
    with for_environment(outside.environment):
        Cursor.objects.create(
            connection=connection, stream="modified", done_until=outside.now() - 5 * MINUTE
        )
    run = ask(outside, connection)
    push(outside, connection, mall_life(outside, 2, minutes_ago=12))

    work(outside, run)

    assert {n[-1]: is_history for n, (is_history, _) in rows(outside).items()} == {
        "1": True, "2": False,
    }  # fmt: skip


def test_what_was_well_once_the_past_is_whole_is_live(outside: Outside) -> None:
    life = mall_life(outside, 1, minutes_ago=5)  # the OMS has ten minutes left
    outside.add(life)
    connection = outside.connect("mall")
    with for_environment(outside.environment):
        install("promo", outside.now())
    run = ask(outside, connection)

    early = watch(outside)
    work(outside, run)
    outside.pass_time(minutes=1)
    well = watch(outside)
    outside.pass_time(minutes=20)
    late = watch(outside)

    assert early["red"] == well["red"] == well["alerts"] == []
    assert late["red"] == late["alerts"] == [life.order_no]
    with for_environment(outside.environment, write=False):
        order = Order.objects.get()
        assert (order.is_history, order.is_watched) == (True, True)
