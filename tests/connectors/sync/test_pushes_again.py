"""Messages that were not settled at the first try: tried again, given up, never in two places."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from config.tenancy.scope import for_environment
from connectors.orders.models import Order, StatusEvent
from connectors.sync import pushes
from connectors.sync.calls import list_calls_of_connection, resend
from connectors.sync.models import InboundMessage
from connectors.sync.pushes import (
    INBOX,
    MAX_ATTEMPTS,
    list_waiting,
)
from connectors.sync.services import INBOXING, Job, list_jobs
from tests.connectors.sync.pushed import hint_of, order_of, orders, record_of, states, store, work
from tests.connectors.sync.scripted import ODD, QUOTA, UNREACHABLE, Bench

pytestmark = pytest.mark.django_db

State = InboundMessage.State


class WorkerDied(BaseException):
    """The worker is gone between two lines: nothing of ours may catch it."""


def test_one_order_that_is_not_told_costs_the_other_messages_nothing(bench: Bench) -> None:
    connection, vendor = bench.connect("private_mall")
    vendor.tells = {"M1": order_of("M1", bench), "M2": ODD, "M3": order_of("M3", bench)}
    store(bench, connection, [hint_of(f"M{n}") for n in (1, 2, 3)])

    taken, settled = work(bench, connection)

    assert (settled, taken.received.new) == (2, 2)
    assert states(bench.environment) == {
        "hint:M1": State.DONE, "hint:M2": State.WAITING, "hint:M3": State.DONE,
    }  # fmt: skip


def test_a_message_is_tried_eight_times_with_growing_pauses_then_it_is_for_a_person(
    bench: Bench,
) -> None:
    connection, vendor = bench.connect("private_mall")
    vendor.tells = {"M1": ODD}
    store(bench, connection, [hint_of("M1")])
    pauses = []
    for _ in range(MAX_ATTEMPTS):
        assert work(bench, connection)[1] == 0
        with for_environment(bench.environment, write=False):
            row = InboundMessage.objects.get()
            assert row.due_at is not None
            assert list(list_waiting(connection.pk, now=row.due_at - timedelta(seconds=1))) == []
        asked = len(vendor.asked)
        assert work(bench, connection)[1] == 0  # not before its time
        assert len(vendor.asked) == asked
        pauses.append((row.due_at - bench.now()).total_seconds())
        bench.at = row.due_at

    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[1], pauses[-1]) == (30, 60, 900)
    assert (row.state, row.attempts, row.error_code) == (State.FAILED, 8, "bad_answer")
    assert work(bench, connection)[1] == 0
    with for_environment(bench.environment, write=False):
        [told] = [e for e in list_calls_of_connection(connection.pk) if e.is_inbound]
        assert Job(INBOXING, connection.pk) not in list_jobs(now=bench.now())
    assert (told.outcome, told.vendor_code, told.attempt) == (State.FAILED, "bad_answer", 8)

    vendor.tells = {"M1": order_of("M1", bench)}
    number = resend(bench.environment, told.key, actor=None, now=bench.now(), **bench.tools)
    assert number == "M1"
    assert orders(bench.environment) == ["M1"]
    assert states(bench.environment) == {"hint:M1": State.DONE}


def test_a_vendor_whose_quota_is_used_up_is_left_alone_and_the_message_keeps_its_tries(
    bench: Bench,
) -> None:
    connection, vendor = bench.connect("private_mall")
    vendor.tells = {"M1": QUOTA}
    store(bench, connection, [hint_of("M1")])
    work(bench, connection)

    for _ in range(20):
        bench.pass_time(minutes=2)
        work(bench, connection)

    with for_environment(bench.environment, write=False):
        assert InboundMessage.objects.get().attempts == 1
    assert vendor.asked == ["M1"]
    vendor.tells = {"M1": order_of("M1", bench)}
    bench.pass_time(minutes=21)
    assert work(bench, connection)[1] == 1
    assert orders(bench.environment) == ["M1"]


def test_a_vendor_that_cannot_be_reached_is_said_on_the_connection(bench: Bench) -> None:
    connection, vendor = bench.connect("private_mall")
    vendor.tells = {"M1": UNREACHABLE}
    store(bench, connection, [hint_of("M1")])

    work(bench, connection)

    with for_environment(bench.environment, write=False):
        connection.refresh_from_db()
    assert (connection.state, connection.trouble_code) == ("trouble", "no_answer")


@pytest.mark.parametrize("kind", ["record", "hint"])
def test_a_worker_that_dies_between_the_order_and_its_message_doubles_nothing(
    bench: Bench, kind: str
) -> None:
    connection, vendor = bench.connect("private_mall")
    vendor.tells = {"M1": order_of("M1", bench)}
    store(bench, connection, [record_of("M1", bench) if kind == "record" else hint_of("M1")])

    def die(messages: Any, now: Any) -> None:
        raise WorkerDied

    with bench.monkeypatch.context() as patch:
        patch.setattr(pushes, "_settle", die)
        with pytest.raises(WorkerDied):
            work(bench, connection)
    # A record is settled with its order; what a hint led to stays, and is read once more.
    assert orders(bench.environment) == ([] if kind == "record" else ["M1"])
    assert set(states(bench.environment).values()) == {State.WAITING}

    assert work(bench, connection)[1] == 1
    assert orders(bench.environment) == ["M1"]
    with for_environment(bench.environment, write=False):
        assert StatusEvent.objects.count() == 1
        assert Order.objects.get().revision == 1


def test_while_one_works_nobody_else_does(bench: Bench) -> None:
    connection, vendor = bench.connect("private_mall")
    vendor.tells = {"M1": order_of("M1", bench)}
    store(bench, connection, [hint_of("M1")])
    seen: list[Any] = []

    def look() -> None:
        seen.append(work(bench, connection))
        with for_environment(bench.environment, write=False):
            seen.append(list_jobs(now=bench.now()))

    vendor.meanwhile = look
    work(bench, connection)

    assert seen[0] == (pushes.Taken(), 0)
    assert Job(INBOXING, connection.pk) not in seen[1]
    assert vendor.asked == ["M1"]
    with for_environment(bench.environment, write=False):
        cursor = connection.cursors.get(stream=INBOX)
    assert (cursor.holder, cursor.lease_until) == ("", None)


def test_what_is_pushed_while_a_worker_finds_nothing_is_not_left_to_the_tick(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection, _ = bench.connect("private_mall")
    find, turned_away = pushes._find_work, []

    def find_and_be_late(*given: Any, **more: Any) -> Any:
        found = find(*given, **more)
        if not turned_away:  # right after the look, before the inbox is free again
            store(bench, connection, [record_of("M1", bench)])
            turned_away.append(True)
            turned_away.append(work(bench, connection)[1])
        return found

    monkeypatch.setattr(pushes, "_find_work", find_and_be_late)

    assert work(bench, connection)[1] == 1
    assert turned_away == [True, 0]
    assert orders(bench.environment) == ["M1"]
