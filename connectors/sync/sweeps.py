"""Asking a gateway or a WMS about orders it should know: the backstop of their callbacks.

Who is asked about: at a gateway, orders of the own mall that still wait for money; at a WMS, orders
the OMS has reviewed and the WMS has not spoken of: again after growing pauses, never more often than
every two minutes. With what room is left, orders a WMS has had for long, and paid orders whose
payment the gateway has not told; they decide nothing.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from django.db.models import Q, QuerySet
from django.utils import timezone

from config.tenancy.models import Environment
from config.tenancy.scope import for_environment
from connectors.adapters import Answered
from connectors.http import ConnectorError, Retry
from connectors.orders.models import Order
from connectors.orders.statuses import Stage
from connectors.shops.models import Channel, Connection, SourceKind
from connectors.shops.services import record_freshness
from connectors.sync.leases import hold_stream
from connectors.sync.limits import Limiter
from connectors.sync.models import Asked, Cursor, Quarantine, SyncRun
from connectors.sync.registry import get_connector
from connectors.sync.runs import close_run, start_run
from connectors.sync.taking import Reading, Taken, put_aside, settle_questions, take_mapped
from connectors.sync.transport import Clock, Session, Sleep, open_session

SWEEP = "sweep"
ASKED_KINDS = frozenset({SourceKind.GATEWAY, SourceKind.WMS})  # they have no list
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
# What is in quarantine without a word for so long waits for a person.
ASIDE_REACH = timedelta(days=2)


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
    the beginning of the sweep. A connection that is switched off or told to wait is not asked.
    """
    with hold_stream(environment, connection_id, SWEEP, clock=clock) as lease:
        if not lease:
            return Taken()
        now = clock()
        session = open_session(
            environment, connection_id, clock=clock, sleep=sleep, limiter=limiter
        )
        connection = session.connection
        if connection.source.kind not in ASKED_KINDS or not connection.may_be_called(now):
            return Taken()
        with for_environment(environment):
            Cursor.objects.filter(connection_id=connection_id, stream=SWEEP).update(slot=now)
            numbers = list_questions(connection, now=now, limit=limit + 1)
            is_complete, numbers = len(numbers) <= limit, numbers[:limit]
            room = min(limit - len(numbers), SILENT_PER_RUN)
            numbers += list_silent(connection, now=now, limit=room)
            run = start_run(connection, SyncRun.Kind.SWEEP, now=now)
        total, error = Taken(), None
        if not numbers:  # nobody to ask about: is it there at all?
            error = _check(session)
        for start in range(0, len(numbers), CHUNK):
            if start and not lease.renew():  # so slow that somebody else is at it
                is_complete = False
                break
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
    this gateway or without saying by which, and the gateway has not spoken of; and presale orders
    of long ago while their balance can be paid. At both: orders that ended while something the
    system said of them, or would not say, is in quarantine: its answer may settle that.
    """
    if limit <= 0:
        return []
    orders, kind, long_ago = Order.objects.waiting(), connection.source.kind, now - SILENCE
    if kind == SourceKind.WMS:
        wanted = orders.filter(wms_received_at__lte=long_ago, wms_shipped_at__isnull=True)
    elif kind == SourceKind.GATEWAY:
        paid = Q(
            paid_at__lte=now - NOTICE_AGE,
            paid_at__gt=now - PAYMENT_REACH,
            payment_method__in=["", get_connector(connection.vendor).label],
        )
        balance = Q(
            stage=Stage.DEPOSIT_PAID,
            placed_at__lte=now - PAYMENT_REACH,
            balance_opens_at__lte=now - NOTICE_AGE,
            balance_due_at__gt=now - PAYMENT_REACH,
        )
        wanted = orders.filter(
            paid | balance, channel=Channel.PRIVATE_MALL, gateway_paid_at__isnull=True
        )
    else:
        return []
    resting = Asked.objects.filter(connection=connection, asked_at__gt=long_ago)
    numbers = _list_numbers(wanted, resting, limit)
    aside = Quarantine.objects.filter(
        connection=connection, state=Quarantine.State.OPEN, last_at__gt=now - ASIDE_REACH
    ).exclude(order_no="")
    over = Order.objects.filter(is_open=False, order_no__in=aside.values("order_no"))
    return numbers + _list_numbers(over, resting, limit - len(numbers))


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

    Returns the failure that stopped it, if one did: then what was answered is taken in all the
    same, and the rest is `Taken.unread`. What is refused of one order alone is put aside.
    """
    found = _ask_all(session, numbers)
    refused = {n: a for n, a in found.items() if isinstance(a, ConnectorError) and _is_of_one(a)}
    stopped = _find_stop(found)
    if refused and len(refused) == len(found):  # nobody was told of: is it the orders, or is it us?
        stopped = stopped or _check(session)
    if refused and stopped is None:  # once more, signed anew: not for one moment of confusion
        found |= _ask_all(session, list(refused))
        stopped = _find_stop(found)
    now, mapped, unread = session.clock(), [], set()
    with for_environment(session.environment):
        session.write_log()
        for number, answer in found.items():
            if isinstance(answer, ConnectorError) and (
                stopped is not None or not _is_of_one(answer)
            ):
                unread.add(number)
            elif isinstance(answer, ConnectorError):
                reading = Reading({"order_no": number}, number)
                put_aside(session.connection, reading, answer, now=now)
            elif answer is not None:
                mapped.append((Reading(answer.payload, number), answer.mapped))
        taken = take_mapped(mapped, connection=session.connection, now=now, is_history=is_history)
        settle_questions(
            session.connection, [n for n, answer in found.items() if answer is None], now=now
        )
        _remember(session.connection, [n for n in found if n not in unread], now=now)
    aside = sum(isinstance(a, ConnectorError) for a in found.values()) - len(unread)
    return taken + Taken(quarantined=aside, unread=frozenset(unread)), stopped


Answer = Answered | ConnectorError | None


def _ask_all(session: Session, numbers: Sequence[str]) -> dict[str, Answer]:
    numbers = list(dict.fromkeys(numbers))
    answers: list[Answer] = session.map(lambda client, number: client.ask(number), numbers)
    return dict(zip(numbers, answers, strict=True))


def _find_stop(found: Mapping[str, Answer]) -> ConnectorError | None:
    """A failure that is not about the one order that was asked about."""
    failures = (a for a in found.values() if isinstance(a, ConnectorError))
    return next((failure for failure in failures if not _is_of_one(failure)), None)


def ask_orders(
    environment: Environment,
    connection_id: int,
    numbers: Sequence[str],
    *,
    clock: Clock = timezone.now,
    sleep: Sleep = time.sleep,
    limiter: Limiter | None = None,
) -> tuple[Taken, ConnectorError | None]:
    """Ask about these orders out of turn, because a message named them. Call it outside any scope."""
    session = open_session(environment, connection_id, clock=clock, sleep=sleep, limiter=limiter)
    taken, stopped = ask(session, numbers)
    with for_environment(environment):
        session.write_log()
        if stopped is not None:
            session.note_failure(stopped)
    return taken, stopped


def _is_of_one(error: ConnectorError) -> bool:
    """Whether a failure can be about the one order that was asked about, and its neighbours pass."""
    fault = getattr(error, "fault", None)
    if fault is not None and (fault.refresh_token or fault.wait_for_quota or fault.resync_clock):
        return False
    return error.retry is Retry.NEVER or error.code == "bad_answer"


def _check(session: Session) -> ConnectorError | None:
    """Why the system cannot be asked at all; None when it answers."""
    try:
        session.call(lambda client: client.check())
    except ConnectorError as failure:
        return failure
    return None


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
        session.note_success()
        if is_complete:
            record_freshness(session.connection.source, complete_until=began, now=session.clock())


def forget_asked(*, now: datetime) -> int:
    """Drop what has not been asked for a week, in the scope in force; returns how many rows."""
    count, _ = Asked.objects.filter(asked_at__lt=now - timedelta(days=7)).delete()
    return count
