"""What is due: which lists to read, which systems to ask, which messages wait. Looks at rows only.

The river's tick calls `list_jobs()` for every environment and hands each job to a worker; the same
jobs are found again a minute later when a worker was lost.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Q
from django.utils import timezone

from config.tenancy.models import Environment
from config.tenancy.scope import for_environment
from connectors.orders.models import Order
from connectors.shops.models import Connection, SourceKind
from connectors.sync.leases import hold_stream
from connectors.sync.limits import Limiter
from connectors.sync.models import (
    BackfillRun,
    CallLog,
    Cursor,
    InboundMessage,
    Quarantine,
    SyncRun,
)
from connectors.sync.pushes import INBOX
from connectors.sync.reading import CREATED_STREAM, MAIN_STREAM, find_slot, read_orders
from connectors.sync.registry import get_connector
from connectors.sync.runs import close_run, start_run
from connectors.sync.sweeps import ASKED_KINDS, SWEEP, forget_asked
from connectors.sync.taking import Taken
from connectors.sync.transport import Clock, Sleep, open_session

PULL, SWEEPING, INBOXING, REREADING = "pull", "sweep", "inbox", "reread"
SWEEP_EVERY = timedelta(minutes=2)
REREAD_STREAM = "reread"
REREAD_PER_RUN = 500
REREAD_CHUNK = 100
REREAD_EVERY = timedelta(days=1)
REREAD_ON = timedelta(hours=1)  # a round that is not through goes on
KEEP_CALLS = timedelta(days=14)
KEEP_RUNS = timedelta(days=14)
KEEP_PAYLOADS = timedelta(days=30)


@dataclass(frozen=True)
class Job:
    """One piece of work for a worker."""

    kind: str
    connection_id: int
    stream: str = ""


def list_jobs(*, now: datetime) -> list[Job]:
    """What is due in the environment in force (a fixed number of queries)."""
    connections = list(Connection.objects.filter(is_active=True).select_related("source"))
    cursors = {
        (c.connection_id, c.stream): c
        for c in Cursor.objects.filter(connection__in=[c.pk for c in connections])
    }
    waiting = set(
        InboundMessage.objects.filter(state=InboundMessage.State.WAITING)
        .filter(Q(due_at__isnull=True) | Q(due_at__lte=now))
        .values_list("connection_id", flat=True)
        .distinct()
    )
    jobs: list[Job] = []
    for connection in connections:
        if connection.pk in waiting and not _is_taken(cursors.get((connection.pk, INBOX)), now):
            jobs.append(Job(INBOXING, connection.pk))
        if not connection.may_be_called(now):
            continue  # no calls; what was pushed whole needs none
        jobs.extend(_list_pulls(connection, cursors, now))
        jobs.extend(_list_sweeps(connection, cursors, now))
    return jobs


def _list_pulls(
    connection: Connection, cursors: dict[tuple[int, str], Cursor], now: datetime
) -> list[Job]:
    streams = get_connector(connection.vendor).list_streams(connection.config)
    jobs = []
    for stream in (MAIN_STREAM, CREATED_STREAM):
        if stream not in streams:
            continue
        cursor = cursors.get((connection.pk, stream)) or Cursor(stream=stream)
        if not _is_taken(cursor, now) and find_slot(cursor, connection, now=now) is not None:
            jobs.append(Job(PULL, connection.pk, stream))
    if MAIN_STREAM in streams and connection.source.kind == SourceKind.CHANNEL:
        last = cursors.get((connection.pk, REREAD_STREAM)) or Cursor()
        every = REREAD_EVERY if last.done_until is None else REREAD_ON
        if not _is_taken(last, now) and (last.slot is None or now - last.slot >= every):
            jobs.append(Job(REREADING, connection.pk))
    return jobs


def _list_sweeps(
    connection: Connection, cursors: dict[tuple[int, str], Cursor], now: datetime
) -> list[Job]:
    if connection.source.kind not in ASKED_KINDS:
        return []
    cursor = cursors.get((connection.pk, SWEEP))
    every = min(SWEEP_EVERY, timedelta(minutes=connection.every_minutes))
    is_due = cursor is None or cursor.slot is None or now - cursor.slot >= every
    return [Job(SWEEPING, connection.pk)] if is_due and not _is_taken(cursor, now) else []


def _is_taken(cursor: Cursor | None, now: datetime) -> bool:
    return cursor is not None and cursor.lease_until is not None and cursor.lease_until > now


def list_queues(*, now: datetime) -> list[int]:
    """The connections whose vendor keeps messages for us to fetch, in the scope in force."""
    rows = Connection.objects.filter(is_active=True).filter(
        Q(paused_until__isnull=True) | Q(paused_until__lte=now)
    )
    return [c.pk for c in rows if get_connector(c.vendor).has_queue]


def reread_open_orders(
    environment: Environment,
    connection_id: int,
    *,
    clock: Clock = timezone.now,
    sleep: Sleep = time.sleep,
    limiter: Limiter | None = None,
) -> Taken:
    """Read open orders that the list no longer reaches, one by one; outside any scope.

    A presale of four months ago that changes today is on no list any more (channels.md 5.2). Oldest
    first, so many at a time; the cursor's `done_until` says how far this round has come.
    """
    with hold_stream(environment, connection_id, REREAD_STREAM, clock=clock) as lease:
        if not lease:
            return Taken()
        now = clock()
        with for_environment(environment):
            connection = Connection.objects.select_related("shop").get(pk=connection_id)
            if not connection.may_be_called(now):
                return Taken()
            cursor = Cursor.objects.get(connection=connection, stream=REREAD_STREAM)
            found = _list_beyond_reach(connection, since=cursor.done_until, now=now)
            cursor.slot, cursor.done_until = now, found[0][1] if found else None
            cursor.save(update_fields=["slot", "done_until"])
            if not found:
                return Taken()
            run = start_run(connection, SyncRun.Kind.REREAD, stream=REREAD_STREAM, now=now)
        session = open_session(
            environment, connection_id, clock=clock, sleep=sleep, limiter=limiter
        )
        total, error, read = Taken(), None, 0
        for start in range(0, len(found), REREAD_CHUNK):
            if start and not lease.renew():
                break
            part = found[start : start + REREAD_CHUNK]
            taken, error = read_orders(
                environment, connection_id, [number for number, _ in part],
                clock=clock, session=session,
            )  # fmt: skip
            total, read = total + taken, read + len(part) - len(taken.unread)
            if error is not None and len(taken.unread) == len(part):
                break  # nobody answers: this round goes on from here
            is_over = len(found) < REREAD_PER_RUN and start + REREAD_CHUNK >= len(found)
            with for_environment(environment):
                Cursor.objects.filter(pk=cursor.pk).update(
                    done_until=None if is_over else part[-1][1]
                )
        with for_environment(environment):
            run.fetched = read
            close_run(run, total, error, is_complete=read == len(found),
                      calls=session.calls, now=clock())  # fmt: skip
        return total


def _list_beyond_reach(
    connection: Connection, *, since: datetime | None, now: datetime
) -> list[tuple[str, datetime]]:
    """Open orders placed before the list begins, and when, oldest first, from `since` on."""
    rules = get_connector(connection.vendor).list_streams(connection.config)[MAIN_STREAM]
    wanted = Order.objects.waiting().filter(shop=connection.shop, placed_at__lt=now - rules.reach)
    if since is not None:
        wanted = wanted.filter(placed_at__gte=since)
    rows = wanted.order_by("placed_at", "pk").values_list("order_no", "placed_at")
    return list(rows[:REREAD_PER_RUN])


def forget_old(*, now: datetime) -> None:
    """Drop logs that are old, and the bodies of old messages; the replay keys stay for good.

    A message that still waits (its connection was switched off) keeps what it has to tell.
    """
    CallLog.objects.filter(at__lt=now - KEEP_CALLS).delete()
    SyncRun.objects.filter(started_at__lt=now - KEEP_RUNS).delete()
    InboundMessage.objects.filter(received_at__lt=now - KEEP_PAYLOADS).exclude(
        Q(payload_sealed="") | Q(state=InboundMessage.State.WAITING)
    ).update(payload_sealed="")
    # What could be read after all is in its order; what was ignored stays, or it would come again.
    Quarantine.objects.filter(
        state=Quarantine.State.MENDED, settled_at__lt=now - KEEP_PAYLOADS
    ).delete()
    forget_asked(now=now)


def is_first_read_over(*, now: datetime) -> bool:
    """Whether every connection of the environment in force has told its past (one query).

    One that was made less than a day ago and never came to its end, or a back-fill under way, means
    that what is here is not the whole yet.
    """
    reading = BackfillRun.objects.filter(state=BackfillRun.State.RUNNING)
    fresh = now - timedelta(days=1)
    return (
        not Connection.objects.filter(is_active=True)
        .filter(
            Q(source__complete_until__isnull=True, created_at__gt=fresh)
            | Q(pk__in=reading.values("connection_id"))
        )
        .exists()
    )
