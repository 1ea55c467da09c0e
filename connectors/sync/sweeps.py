"""Asking a gateway or a WMS about orders it should know: the backstop of their callbacks.

Who is asked about: at a gateway, orders of the own mall that still wait for money; at a WMS, orders
the OMS has reviewed and the WMS has not spoken of: again after growing pauses, never more often than
every two minutes. With what room is left, orders a WMS has had for long, and paid orders whose
payment the gateway has not told; they decide nothing.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db.models import QuerySet
from django.utils import timezone

from config.tenancy.models import Environment
from config.tenancy.scope import for_environment
from connectors.adapters import Answered, Asker
from connectors.http import ConnectorError
from connectors.orders.models import Order
from connectors.orders.statuses import Stage
from connectors.shops.models import Channel, Connection, SourceKind
from connectors.shops.services import record_freshness
from connectors.sync.leases import hold_stream
from connectors.sync.limits import Limiter
from connectors.sync.models import Asked, Cursor, SyncRun
from connectors.sync.registry import get_connector
from connectors.sync.runs import close_run, start_run
from connectors.sync.taking import Reading, Taken, put_aside, take_mapped
from connectors.sync.transport import Clock, Session, Sleep, open_session

SWEEP = "sweep"
PER_RUN = 400
CHUNK = 100
FIRST_PAUSE = timedelta(minutes=2)
LONGEST_PAUSE = timedelta(minutes=15)
# An order unpaid for two days will not be paid: its platform closes it.
PAYMENT_REACH = timedelta(days=2)
PAYMENT_AGE = timedelta(minutes=2)
WMS_AGE = timedelta(minutes=10)
# The notice of a payment comes within seconds, its first repetition after some minutes.
NOTICE_AGE = timedelta(minutes=10)
# Thousands of orders wait in a warehouse for hours: each is asked about so often and no more.
SILENCE = timedelta(hours=2)
SILENT_PER_RUN = 100


def sweep(
    environment: Environment,
    connection_id: int,
    *,
    clock: Clock = timezone.now,
    sleep: Sleep = time.sleep,
    limiter: Limiter | None = None,
    limit: int = PER_RUN,
) -> Taken:
    """Ask one system about the orders that are due; returns what was taken in.

    Call it outside any scope. When nobody is left to ask about, the source counts as complete up to
    the beginning of the sweep.
    """
    with hold_stream(environment, connection_id, SWEEP, clock=clock) as is_ours:
        if not is_ours:
            return Taken()
        now = clock()
        session = open_session(
            environment, connection_id, clock=clock, sleep=sleep, limiter=limiter
        )
        if not isinstance(session.client, Asker):
            return Taken()
        with for_environment(environment):
            Cursor.objects.filter(connection_id=connection_id, stream=SWEEP).update(slot=now)
            numbers = list_questions(session.connection, now=now, limit=limit + 1)
            is_complete, numbers = len(numbers) <= limit, numbers[:limit]
            room = min(limit - len(numbers), SILENT_PER_RUN)
            numbers += list_silent(session.connection, now=now, limit=room)
            run = start_run(session.connection, SyncRun.Kind.SWEEP, now=now)
        total, error = Taken(), None
        if not numbers:  # nobody to ask about: is it there at all?
            try:
                session.call(lambda client: client.check())
            except ConnectorError as failure:
                error = failure
        for start in range(0, len(numbers), CHUNK):
            taken, error = ask(session, numbers[start : start + CHUNK])
            total += taken
            if error is not None:
                break
        _close(session, run, total, error, began=now, is_complete=is_complete and error is None,
               asked=len(numbers))  # fmt: skip
        return total


def list_questions(connection: Connection, *, now: datetime, limit: int) -> list[str]:
    """The orders this system has to be asked about before it counts as known up to now."""
    orders = Order.objects.waiting()
    if connection.source.kind == SourceKind.GATEWAY:
        wanted = orders.filter(
            channel=Channel.PRIVATE_MALL,
            stage__in=[Stage.AWAIT_PAY, Stage.DEPOSIT_PAID, Stage.PAY_PROCESSING],
            placed_at__lte=now - PAYMENT_AGE,
            placed_at__gt=now - PAYMENT_REACH,
            gateway_paid_at__isnull=True,
        )
    elif connection.source.kind == SourceKind.WMS:
        wanted = orders.filter(wms_received_at__isnull=True, oms_reviewed_at__lte=now - WMS_AGE)
    else:
        return []
    return _list_numbers(
        wanted, Asked.objects.filter(connection=connection, next_at__gt=now), limit
    )


def list_silent(connection: Connection, *, now: datetime, limit: int) -> list[str]:
    """Orders whose callback was probably lost, though nothing waits for it.

    At a WMS: orders it has and has not sent for long. At a gateway: orders the mall calls paid, by
    this gateway or without saying by which, and the gateway has not spoken of.
    """
    if limit <= 0:
        return []
    orders, kind, long_ago = Order.objects.waiting(), connection.source.kind, now - SILENCE
    if kind == SourceKind.WMS:
        wanted = orders.filter(wms_received_at__lte=long_ago, wms_shipped_at__isnull=True)
    elif kind == SourceKind.GATEWAY:
        wanted = orders.filter(
            channel=Channel.PRIVATE_MALL,
            paid_at__lte=now - NOTICE_AGE,
            paid_at__gt=now - PAYMENT_REACH,
            gateway_paid_at__isnull=True,
            payment_method__in=["", get_connector(connection.vendor).label],
        )
    else:
        return []
    return _list_numbers(
        wanted, Asked.objects.filter(connection=connection, asked_at__gt=long_ago), limit
    )


def _list_numbers(wanted: QuerySet[Order], resting: QuerySet[Asked], limit: int) -> list[str]:
    return list(
        wanted.exclude(order_no__in=resting.values("order_no"))
        .order_by("placed_at", "pk")
        .values_list("order_no", flat=True)[:limit]
    )


def ask(
    session: Session, numbers: Sequence[str], *, is_history: bool = False
) -> tuple[Taken, ConnectorError | None]:
    """Ask about these orders, some side by side, and take the answers in; outside any scope.

    Returns the failure that stopped it, if one did: then what was answered is taken in all the same.
    """
    answers: list[Answered | None | ConnectorError] = session.map(
        lambda client, number: client.ask(number), numbers
    )
    now, mapped, stopped = session.clock(), [], None
    rejected, told = [], []
    for number, answer in zip(numbers, answers, strict=True):
        if isinstance(answer, ConnectorError):
            if answer.retry.value == "never" and getattr(answer, "fault", None) is None:
                rejected.append((Reading({"order_no": number}, number), answer))
            else:
                stopped = answer
            continue
        told.append(number)
        if answer is not None:
            mapped.append((Reading(answer.payload, number), answer.mapped))
    with for_environment(session.environment):
        session.write_log()
        taken = take_mapped(mapped, connection=session.connection, now=now, is_history=is_history)
        for reading, error in rejected:
            put_aside(session.connection, reading, error, now=now)
        _remember(session.connection, told, now=now)
    return taken + Taken(quarantined=len(rejected)), stopped


def _remember(connection: Connection, numbers: Sequence[str], *, now: datetime) -> None:
    """When to ask again: after twice the pause of the last time."""
    known = {
        row.order_no: row
        for row in Asked.objects.filter(connection=connection, order_no__in=list(numbers))
    }
    fresh, again = [], []
    for number in numbers:
        row = known.get(number)
        if row is None:
            fresh.append(
                Asked(
                    connection=connection, order_no=number, asked_at=now, next_at=now + FIRST_PAUSE
                )
            )
            continue
        pause = min(2 * (row.next_at - row.asked_at), LONGEST_PAUSE)
        row.asked_at, row.next_at = now, now + max(pause, FIRST_PAUSE)
        again.append(row)
    Asked.objects.bulk_create(fresh, ignore_conflicts=True)
    Asked.objects.bulk_update(again, ["asked_at", "next_at"], batch_size=200)


def _close(
    session: Session,
    run: SyncRun,
    taken: Taken,
    error: ConnectorError | None,
    *,
    began: datetime,
    is_complete: bool,
    asked: int,
) -> None:
    run.fetched = asked
    with for_environment(session.environment):
        session.write_log()
        close_run(run, taken, error, is_complete=is_complete, calls=session.calls,
                  now=session.clock())  # fmt: skip
        if error is not None:
            session.note_failure(error)
            return
        if session.calls:
            session.note_success()
        if is_complete:
            record_freshness(session.connection.source, complete_until=began, now=session.clock())


def forget_asked(*, now: datetime) -> int:
    """Drop what has not been asked for a week, in the scope in force; returns how many rows."""
    count, _ = Asked.objects.filter(asked_at__lt=now - timedelta(days=7)).delete()
    return count
