"""Back-fills: a past range of one list read again, as history: it never alerts and never holds.

    estimated -> started by a person -> windows, one after the other -> done
                       paused and resumed where it stood, cancelled for good

The mark moves with the rows it covers, so a killed worker goes on where it was. What a back-fill
brings is history, and so is what changes under its hands and comes another way (decision 0015).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from config.audit.services import record
from config.errors import BadInput, NotFound, WrongState, gettext_noop
from config.tenancy.models import Environment, User
from config.tenancy.scope import for_environment
from connectors.adapters import Listed, ListedOrder, Paging, VendorRefusal
from connectors.http import ConnectorError
from connectors.shops.models import Connection
from connectors.shops.services import record_freshness
from connectors.sync.leases import LEASE
from connectors.sync.limits import Limiter
from connectors.sync.models import BackfillRun, Cursor
from connectors.sync.reading import MAIN_STREAM, count_window, read_details, read_window
from connectors.sync.registry import get_connector
from connectors.sync.taking import Taken, describe, put_aside, take_readings
from connectors.sync.transport import Clock, Session, Sleep, open_session, tells_to_wait
from connectors.sync.windows import Window, slice_range

State = BackfillRun.State
BUDGET = timedelta(seconds=60)  # then whatever else waits has its turn, and it goes on
MOST_COUNTED = 48  # windows of an estimate: seconds of calls, not minutes
ESTIMATE_LEASE = timedelta(minutes=5)  # longer than its task may run
_REST = timedelta(minutes=1)  # while other calls of the application use its budget up
_SECONDS_PER_PAGE, _SECONDS_PER_DETAIL = 0.3, 0.1  # of a platform at ordinary speed


def request_backfill(
    connection: Connection,
    *,
    start: datetime,
    end: datetime,
    actor: User | None,
    now: datetime,
    stream: str = MAIN_STREAM,
) -> BackfillRun:
    """Ask for a range, in the scope in force; nothing is read before it is started.

    Raises BadInput for a range that is empty, in the future, beyond the list's reach, or for a
    system without lists.
    """
    rules = get_connector(connection.vendor).list_streams(connection.config).get(stream)
    if rules is None:
        raise BadInput(
            gettext_noop("「%(name)s」没有可以按时间读取的列表，不能补录"),
            code="no_list",
            name=str(connection),
        )
    end = min(end, now)
    if start >= end:
        raise BadInput(gettext_noop("开始时间要早于结束时间，且不能在将来"), code="bad_range")
    if start < now - rules.reach:
        raise BadInput(
            gettext_noop("平台只给最近 %(days)d 天的列表，请改晚开始时间；更早的请用文件导入"),
            code="out_of_reach",
            days=rules.reach.days,
        )
    with transaction.atomic():
        run: BackfillRun = BackfillRun.objects.create(
            connection=connection,
            stream=stream,
            start=start,
            end=end,
            requested_by=actor,
            requested_at=now,
        )
        record(
            action="backfill.request",
            subject=str(run),
            actor=actor,
            now=now,
            details={"start": start.isoformat(), "end": end.isoformat()},
        )
    return run


def estimate_backfill(
    environment: Environment,
    run_id: int,
    *,
    clock: Clock = timezone.now,
    sleep: Sleep = time.sleep,
    limiter: Limiter | None = None,
) -> BackfillRun:
    """Count what the range holds, as far as the platform counts; outside any scope.

    Of a long range so many windows are counted, spread over it, and stand for the rest. One that
    somebody else counts already is left to them.
    """
    holder, now = uuid4().hex, clock()
    with for_environment(environment):
        is_ours = (
            _list_free(now)
            .filter(pk=run_id, state=State.ESTIMATING)
            .update(holder=holder, lease_until=now + ESTIMATE_LEASE)
        )
    run = _get(environment, run_id)
    if not is_ours:
        return run
    session = open_session(
        environment, run.connection_id, clock=clock, sleep=sleep, limiter=limiter
    )
    rules = session.list_rules(run.stream)
    rows, error = None, None
    try:
        rows = _estimate_rows(session, run)
    except ConnectorError as failure:
        error = failure
    with for_environment(environment):
        session.write_log()
        changes: dict[str, Any] = {"estimate": rows}
        if rows is not None:
            pages = -(-rows // rules.page_size)
            details = rows if rules.paging is Paging.BACKWARD else 0
            changes["estimate_seconds"] = round(
                pages * _SECONDS_PER_PAGE + details * _SECONDS_PER_DETAIL
            )
        if error is not None:
            words = describe(error)
            changes |= {"error_message": words.message, "error_params": dict(words.params)}
        mine = BackfillRun.objects.filter(pk=run.pk, holder=holder)
        mine.filter(state=State.ESTIMATING).update(state=State.READY, **changes)
        mine.update(holder="", lease_until=None)
        run.refresh_from_db()
    return run


def _estimate_rows(session: Session, run: BackfillRun) -> int | None:
    """How many rows the range has, about; None where the list does not count."""
    rules = session.list_rules(run.stream)
    windows = list(slice_range(run.start, run.end, rules))
    step = max(1.0, len(windows) / MOST_COUNTED)
    sample = [windows[int(n * step)] for n in range(min(len(windows), MOST_COUNTED))]
    total = 0
    for window in sample:
        count = (
            count_window(session, run.stream, window)
            if rules.paging is Paging.BACKWARD
            else _read_total(session, run.stream, window, rules.first_page)
        )
        if count is None:
            return None
        total += count
    return round(total * len(windows) / len(sample))


def _read_total(session: Session, stream: str, window: Window, page: int) -> int | None:
    """What the first page of a window says of how many there are."""

    def do(client: Any) -> int | None:
        listed: Listed = client.list_orders(stream, window.start, window.end, page=page, cursor="")
        return listed.total

    return session.call(do)


def start_backfill(run: BackfillRun, *, actor: User | None, now: datetime) -> None:
    """Let an estimated back-fill begin, or go on after a pause or a failure.

    One that is still being estimated begins without: nobody waits for that count any more.
    """
    is_counted = run.state == State.ESTIMATING
    freed: dict[str, Any] = {"holder": "", "lease_until": None} if is_counted else {}
    _move(run, {State.ESTIMATING, State.READY, State.PAUSED, State.FAILED}, State.RUNNING,
          actor=actor, now=now, started_at=run.started_at or now, finished_at=None,
          history_until=run.history_until or _find_history_line(run),
          error_message="", error_params={}, **freed)  # fmt: skip


def _find_history_line(run: BackfillRun) -> datetime:
    """Up to when orders nobody told us of are the past, as the back-fill begins.

    What the ordinary reading has still to read stays news, and so do orders that show late.
    """
    connection = run.connection
    done_until = (
        Cursor.objects.filter(connection=connection, stream=MAIN_STREAM)
        .values_list("done_until", flat=True)
        .first()
    )
    rules = get_connector(connection.vendor).list_streams(connection.config)[MAIN_STREAM]
    return min(run.end, done_until or run.end) - rules.overlap


def pause_backfill(run: BackfillRun, *, actor: User | None, now: datetime) -> None:
    """Stop after the page in hand; what was read stays."""
    _move(run, {State.RUNNING}, State.PAUSED, actor=actor, now=now)


def resume_backfill(run: BackfillRun, *, actor: User | None, now: datetime) -> None:
    """Go on where it stood."""
    start_backfill(run, actor=actor, now=now)


def cancel_backfill(run: BackfillRun, *, actor: User | None, now: datetime) -> None:
    """Give up for good; what was read stays."""
    _move(run, {State.ESTIMATING, State.READY, State.RUNNING, State.PAUSED, State.FAILED},
          State.CANCELLED, actor=actor, now=now, finished_at=now)  # fmt: skip


def _move(
    run: BackfillRun,
    allowed: set[State],
    state: State,
    *,
    actor: User | None,
    now: datetime,
    **changes: object,
) -> None:
    with transaction.atomic():
        moved = BackfillRun.objects.filter(pk=run.pk, state__in=allowed).update(
            state=state, **changes
        )
        if not moved:
            raise WrongState(gettext_noop("这次补录已不在可以这样操作的状态，请刷新页面"))
        record(action=f"backfill.{state}", subject=str(run), actor=actor, now=now)
    run.refresh_from_db()


def list_running(*, now: datetime) -> list[int]:
    """The ids of back-fills to be estimated or read on that nobody works at, in the scope in force.

    One whose vendor wants us to wait goes on when the wait is over.
    """
    return list(
        _list_free(now)
        .filter(state__in=[State.RUNNING, State.ESTIMATING])
        .order_by("pk")
        .values_list("pk", flat=True)
    )


def _list_free(now: datetime, *, even_off: bool = False) -> QuerySet[BackfillRun]:
    """Back-fills that nobody works at, whose connection is on and whose vendor may be called."""
    free: QuerySet[BackfillRun] = BackfillRun.objects.filter(
        Q(lease_until__isnull=True) | Q(lease_until__lte=now),
        Q(connection__paused_until__isnull=True) | Q(connection__paused_until__lte=now),
    )
    return free if even_off else free.filter(connection__is_active=True)


def work_backfill(
    environment: Environment,
    run_id: int,
    *,
    clock: Clock = timezone.now,
    sleep: Sleep = time.sleep,
    limiter: Limiter | None = None,
    budget: timedelta = BUDGET,
    even_off: bool = False,
) -> BackfillRun:
    """Read on, as far as time allows; call again while it is running. Outside any scope.

    `even_off`: also while the connection is switched off. Whoever reads a past before switching a
    connection on works at it alone; nobody else hands it out meanwhile.
    """
    holder, now = uuid4().hex, clock()
    with for_environment(environment):
        is_ours = (
            _list_free(now, even_off=even_off)
            .filter(pk=run_id, state=State.RUNNING)
            .update(holder=holder, lease_until=now + LEASE, error_message="", error_params={})
        )
    run = _get(environment, run_id)
    if not is_ours:
        return run
    session = open_session(
        environment, run.connection_id, clock=clock, sleep=sleep, limiter=limiter
    )
    worker = _Worker(session, run, holder, deadline=now + budget)
    try:
        worker.work()
    finally:
        with for_environment(environment):
            session.write_log()
            BackfillRun.objects.filter(pk=run_id, holder=holder).update(
                holder="", lease_until=worker.rests_until
            )
    return _get(environment, run_id)


class _Stopped(Exception):
    """A person paused or cancelled it, or another worker took over."""


class _Worker:
    """One stretch of a back-fill."""

    def __init__(
        self, session: Session, run: BackfillRun, holder: str, *, deadline: datetime
    ) -> None:
        self.session, self.run, self.holder, self.deadline = session, run, holder, deadline
        self.rests_until: datetime | None = None

    def work(self) -> None:
        """Windows until the end, the deadline, a pause or a failure."""
        session, run = self.session, self.run
        rules = session.list_rules(run.stream)
        try:
            for window in slice_range(run.mark or run.start, run.end, rules):
                if session.clock() >= self.deadline:
                    return
                read_window(session, run.stream, window, store=self._store)
                self._save(mark=window.end)
            self._finish()
        except _Stopped:
            return
        except ConnectorError as error:
            self._stop(error)

    def _stop(self, error: ConnectorError) -> None:
        """Say why it stands still. It goes on by itself where it was only too much for now."""
        words, now = describe(error), self.session.clock()
        changes: dict[str, Any] = {
            "error_message": words.message, "error_params": dict(words.params)
        }  # fmt: skip
        if error.code == "over_budget":
            self.rests_until = now + _REST
        elif not (isinstance(error, VendorRefusal) and tells_to_wait(error)):
            changes |= {"state": State.FAILED, "finished_at": now}
        with for_environment(self.session.environment):
            self.session.note_failure(error)
            BackfillRun.objects.filter(
                pk=self.run.pk, holder=self.holder, state=State.RUNNING
            ).update(**changes)

    def _store(self, rows: Sequence[ListedOrder]) -> None:
        session = self.session
        readings, failures = read_details(session, rows, environment=session.environment)
        with for_environment(session.environment):
            session.write_log()
            taken = take_readings(
                readings,
                connection=session.connection,
                connector=session.connector,
                now=session.clock(),
                is_history=True,
            )
            for reading, error in failures:
                put_aside(session.connection, reading, error, now=session.clock())
            goes_on = self._count(taken, len(rows), len(failures))
        if not goes_on:
            raise _Stopped

    def _count(self, taken: Taken, fetched: int, failed: int) -> bool:
        """In the transaction that stores the rows: counts, a longer lease; False to stop after it.

        Raises _Stopped when another worker has taken over: then it stores them.
        """
        done = taken.received
        ours = BackfillRun.objects.filter(pk=self.run.pk, holder=self.holder)
        if not ours.update(
            fetched=F("fetched") + fetched,
            new=F("new") + done.new,
            updated=F("updated") + done.updated,
            unchanged=F("unchanged") + done.unchanged,
            quarantined=F("quarantined") + taken.quarantined + failed,
            lease_until=self.session.clock() + LEASE,
        ):
            raise _Stopped
        return bool(ours.filter(state=State.RUNNING).exists())

    def _save(self, *, mark: datetime) -> None:
        with for_environment(self.session.environment):
            if not BackfillRun.objects.filter(pk=self.run.pk, holder=self.holder).update(mark=mark):
                raise _Stopped

    def _finish(self) -> None:
        """Done: and where the ordinary reading had not begun yet, it goes on from here."""
        session, run = self.session, self.run
        with for_environment(session.environment):
            BackfillRun.objects.filter(pk=run.pk, holder=self.holder).update(
                state=State.DONE, finished_at=session.clock()
            )
            session.note_success()
            if run.stream == MAIN_STREAM:
                self._hand_over()

    def _hand_over(self) -> None:
        """The ordinary reading goes on from the end, unless it is further or was never so far."""
        session, run = self.session, self.run
        cursor, _ = Cursor.objects.get_or_create(connection=run.connection, stream=run.stream)
        if (
            Cursor.objects.filter(pk=cursor.pk)
            .filter(
                Q(done_until__isnull=True) | Q(done_until__gte=run.start, done_until__lt=run.end)
            )
            .update(done_until=run.end)
        ):
            record_freshness(session.connection.source, complete_until=run.end, now=session.clock())


def _get(environment: Environment, run_id: int) -> BackfillRun:
    with for_environment(environment, write=False):
        run = BackfillRun.objects.select_related("connection__source").filter(pk=run_id).first()
    if run is None:
        raise NotFound(gettext_noop("没有这次补录"))
    return run
