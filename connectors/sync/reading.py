"""Pulling: legal windows with overlap, pages in the direction that loses nothing, details, rows.

    claim the cursor -> plan windows -> for each: pages -> details -> receive -> close the window

The cursor moves only in the transaction that stores the last rows of a window, and a window closes
only when at least as many orders were seen as it still holds: a page cut short or told twice does
not close it. Whatever dies in between is read again; receiving twice changes nothing.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from django.db.models import Q
from django.utils import timezone

from config.errors import AppError, gettext_noop
from config.secrets import SecretUnreadable
from config.tenancy.models import Environment
from config.tenancy.scope import for_environment
from connectors.adapters import Listed, ListedOrder, ListRules, Paging
from connectors.http import ConnectorError, Retry
from connectors.orders.models import Order
from connectors.shops.models import Connection
from connectors.shops.services import record_freshness
from connectors.sync.leases import LEASE
from connectors.sync.limits import Limiter
from connectors.sync.models import Cursor, SyncRun
from connectors.sync.registry import get_connector
from connectors.sync.runs import close_run, start_run
from connectors.sync.taking import Reading, Taken, put_aside, take_readings
from connectors.sync.transport import Clock, Session, Sleep, open_session
from connectors.sync.windows import SEAM, Slot, Window, advance, due_slot, list_pages, plan_windows

log = logging.getLogger(__name__)

TOO_DEEP = "window_too_deep"  # of a vendor that shows so many orders of a window and no more
MAIN_STREAM = "modified"
REVIEW_STREAM = "review"
CREATED_STREAM = "created"
FIRST_REACH = timedelta(hours=24)  # of a connection that was never read; more is a back-fill
WINDOWS_PER_RUN = 8
TRIES_PER_WINDOW = 3
BUDGET = timedelta(seconds=45)  # then whatever else waits has its turn, and it goes on
# A window of so many details that it outlasts this is left in the middle: what was read of it is
# not read again. Well below the task's own limit, which would end it in the middle of anything.
WINDOW_GRACE = timedelta(seconds=150)
# A detail read this long after a change was certainly made with it.
SURE_AFTER = timedelta(seconds=60)
# What the map of a channel with a review list is told of an order on it.
REVIEW_HINT: Mapping[str, Any] = {"in_risk_review": True}


class _OutOfTime(Exception):
    """A window takes too long for one run: it goes on with what is missing."""


@dataclass
class Progress:
    """What a run has done so far."""

    windows: int = 0
    pages: int = 0
    fetched: int = 0
    taken: Taken = field(default_factory=Taken)

    def add(self, taken: Taken, fetched: int) -> None:
        self.taken, self.fetched, self.pages = (
            self.taken + taken,
            self.fetched + fetched,
            self.pages + 1,
        )


@dataclass(frozen=True)
class Pulled:
    """The outcome of one run. `is_caught_up`: nothing is left to read for now."""

    run: SyncRun
    taken: Taken
    is_caught_up: bool
    error: AppError | None = None


def pull(
    environment: Environment,
    connection_id: int,
    *,
    stream: str = MAIN_STREAM,
    clock: Clock = timezone.now,
    sleep: Sleep = time.sleep,
    limiter: Limiter | None = None,
    is_forced: bool = False,
    budget: timedelta = BUDGET,
) -> Pulled | None:
    """Read what one list of one connection has to tell, as far as time allows.

    Call it outside any scope. None when nothing is due, the connection is switched off or told to
    wait, or somebody else reads it. `is_forced`: now, whatever the schedule says. Failures are
    written down and returned, not raised.
    """
    now = clock()
    with for_environment(environment):
        started = _claim(connection_id, stream, now=now, is_forced=is_forced)
    if started is None:
        return None
    cursor, run, holder = started
    pulled: Pulled | None = None
    try:
        session = open_session(
            environment, connection_id, clock=clock, sleep=sleep, limiter=limiter
        )
        pulled = _Reader(session, cursor, run, holder, deadline=clock() + budget).read()
        return pulled
    except SecretUnreadable as error:
        with for_environment(environment):
            close_run(run, Taken(), error, is_complete=False, calls=0, now=clock())
        pulled = Pulled(run, Taken(), False, error)
        return pulled
    finally:
        # Time was up in the middle of a backlog: the slot stays due, and so it does for a worker
        # that never gets here. A failure waits for the next one.
        is_open = pulled is not None and pulled.error is None and not pulled.is_caught_up
        done = {} if is_open or run.slot is None else {"slot": run.slot}
        with for_environment(environment):
            Cursor.objects.filter(pk=cursor.pk, holder=holder).update(
                holder="", lease_until=None, **done
            )


def _claim(
    connection_id: int, stream: str, *, now: datetime, is_forced: bool
) -> tuple[Cursor, SyncRun, str] | None:
    """Take the list for this run: its lease and its row, in the scope in force.

    The slot stays due until the run is over: one that dies is begun anew when its lease has run out.
    """
    connection = Connection.objects.filter(pk=connection_id, is_active=True).first()
    if connection is None or (connection.paused_until and connection.paused_until > now):
        return None
    if stream not in get_connector(connection.vendor).list_streams(connection.config):
        return None
    cursor, _ = Cursor.objects.get_or_create(connection=connection, stream=stream)
    slot = find_slot(cursor, connection, now=now)
    if slot is None and not is_forced:
        return None
    holder = uuid4().hex
    is_ours = (
        Cursor.objects.filter(pk=cursor.pk)
        .filter(Q(lease_until__isnull=True) | Q(lease_until__lte=now))
        .update(holder=holder, lease_until=now + LEASE)
    )
    if not is_ours:
        return None
    run = start_run(
        connection,
        SyncRun.Kind.PULL,
        stream=stream,
        now=now,
        slot=slot.at if slot else None,
        missed_slots=slot.missed if slot and not _has_begun(connection, stream, slot) else 0,
    )
    cursor.refresh_from_db()
    return cursor, run, holder


def _has_begun(connection: Connection, stream: str, slot: Slot) -> bool:
    """Whether an earlier run worked at this slot: that one has told what was missed before it."""
    earlier = SyncRun.objects.filter(connection=connection, started_at__gte=slot.at)
    return bool(
        slot.missed and earlier.filter(kind=SyncRun.Kind.PULL, stream=stream, slot=slot.at).exists()
    )


def find_slot(cursor: Cursor, connection: Connection, *, now: datetime) -> Slot | None:
    """The slot that is due for a list; the sweep by time of creation has one a day."""
    if cursor.stream == CREATED_STREAM:
        day = timezone.localtime(now).replace(hour=4, minute=0, second=0, microsecond=0)
        due = day if day <= now else day - timedelta(days=1)
        if cursor.slot is None:
            return Slot(due, 0)
        return Slot(due, (due - cursor.slot).days - 1) if due > cursor.slot else None
    return due_slot(last=cursor.slot, now=now, every=timedelta(minutes=connection.every_minutes))


class _Reader:
    """One run over one list."""

    def __init__(
        self, session: Session, cursor: Cursor, run: SyncRun, holder: str, *, deadline: datetime
    ) -> None:
        self.session, self.cursor, self.run, self.holder = session, cursor, run, holder
        self.deadline = deadline
        self.environment = session.environment
        self.rules: ListRules = session.list_rules(cursor.stream)
        self.progress = Progress()
        self.in_review: frozenset[str] = frozenset()

    def read(self) -> Pulled:
        """Windows until caught up, out of time, or failed."""
        session, error, is_caught_up = self.session, None, False
        try:
            if REVIEW_STREAM in session.connector.list_streams(session.connection.config):
                self._read_reviews()
            while not is_caught_up and session.clock() < self.deadline:
                plan = plan_windows(
                    done_until=self.cursor.done_until,
                    now=session.clock(),
                    rules=self.rules,
                    first_reach=min(FIRST_REACH, self.rules.reach),
                    limit=WINDOWS_PER_RUN,
                )
                self._tell_lost(plan.unreachable)
                for window in plan.windows:
                    if session.clock() >= self.deadline:
                        break
                    read_window(session, self.cursor.stream, window, store=self._store)
                    self._advance(window, plan.unreachable)
                else:
                    is_caught_up = plan.is_caught_up
                if not plan.windows:
                    break
        except ConnectorError as failure:
            error = failure
        except _OutOfTime:
            is_caught_up = False
        self._close(error, is_caught_up=is_caught_up)
        return Pulled(self.run, self.progress.taken, is_caught_up, error)

    def _tell_lost(self, lost: Window | None) -> None:
        """A part of the backlog that the list no longer gives: said once, on the cursor."""
        if lost is not None and self.cursor.lost_until != lost.end:
            with for_environment(self.environment):
                Cursor.objects.filter(pk=self.cursor.pk).update(
                    lost_from=lost.start, lost_until=lost.end
                )
            self.cursor.lost_from, self.cursor.lost_until = lost.start, lost.end

    # -- orders the platform has in review -------------------------------------------------------

    def _read_reviews(self) -> None:
        """The platform's own list of orders in review, whole: being on it is the only sign.

        An order that has left it is read anew, for leaving need not count as a change.
        """
        now, stream = self.session.clock(), REVIEW_STREAM
        rules = self.session.list_rules(stream)
        seen: dict[str, ListedOrder] = {}
        page = rules.first_page
        while True:
            listed = self._list_reviews(page, now - rules.reach, now)
            before = len(seen)
            seen |= {row.order_no or repr(row.payload): row for row in listed.rows}
            # The same page told again and again brings nobody new and has no end.
            if len(listed.rows) < rules.page_size or len(seen) == before:
                break
            page += 1
        found, self.in_review = list(seen.values()), frozenset(seen)
        with for_environment(self.environment, write=False):
            known = dict(
                Order.objects.waiting()
                .filter(shop=self.session.connection.shop)
                .exclude(risk_state="")
                .values_list("order_no", "risk_state")
            )
        self._store([row for row in found if row.order_no not in known])
        left = [ListedOrder(number) for number in known if number not in self.in_review]
        self._store(left)

    def _list_reviews(self, page: int, start: datetime, end: datetime) -> Listed:
        def do(client: Any) -> Listed:
            listed: Listed = client.list_orders(REVIEW_STREAM, start, end, page=page, cursor="")
            return listed

        listed = self.session.call(do)
        self.session.name_orders(row.order_no for row in listed.rows)
        return listed

    # -- rows ----------------------------------------------------------------------------------

    def _store(self, rows: Sequence[ListedOrder]) -> None:
        """Details, then one transaction: log, rows, quarantine, and a longer lease."""
        if not rows:
            return
        calls = self.session.calls
        readings, failures = read_details(
            self.session, rows, environment=self.environment, in_review=self.in_review
        )
        with for_environment(self.environment):
            self._renew()
            self.session.write_log()
            taken = take_readings(
                readings,
                connection=self.session.connection,
                connector=self.session.connector,
                now=self.session.clock(),
            )
            for reading, error in failures:
                put_aside(self.session.connection, reading, error, now=self.session.clock())
            taken += Taken(quarantined=len(failures))
        self.progress.add(taken, len(rows))
        if self.session.calls > calls and self.session.clock() >= self.deadline + WINDOW_GRACE:
            raise _OutOfTime

    def _renew(self) -> None:
        """Keep the lease, in the transaction in force; raises when somebody has taken over."""
        if not Cursor.objects.filter(pk=self.cursor.pk, holder=self.holder).update(
            lease_until=self.session.clock() + LEASE
        ):
            raise ConnectorError(
                gettext_noop("另一个进程已接手读取"), code="stream_busy", retry=Retry.LATER
            )

    def _advance(self, window: Window, skipped: Window | None) -> None:
        """Close a window: all its rows are stored."""
        self.progress.windows += 1
        mark = advance(self.cursor.done_until, [window], skipped=skipped)
        with for_environment(self.environment):
            self._renew()
            Cursor.objects.filter(pk=self.cursor.pk).update(done_until=mark)
            if self.cursor.stream == MAIN_STREAM and mark is not None:
                record_freshness(
                    self.session.connection.source, complete_until=mark, now=self.session.clock()
                )
        self.cursor.done_until = mark
        run = self.run
        run.window_start = run.window_start or window.start
        run.window_end = window.end

    def _close(self, error: AppError | None, *, is_caught_up: bool) -> None:
        run, session, progress = self.run, self.session, self.progress
        run.windows, run.pages, run.fetched = progress.windows, progress.pages, progress.fetched
        with for_environment(self.environment):
            session.write_log()
            close_run(run, progress.taken, error, is_complete=is_caught_up, calls=session.calls,
                      now=session.clock())  # fmt: skip
            if error is None:
                session.note_success()
            else:
                session.note_failure(error)


# -- one window ------------------------------------------------------------------------------------

Store = Callable[[Sequence[ListedOrder]], None]


def read_window(session: Session, stream: str, window: Window, *, store: Store) -> None:
    """Read a window page by page until as many orders were seen as it holds.

    What left the window meanwhile (it was changed again) need not be seen: a later window has it.
    One with more orders than the vendor shows is read in halves, the older one first. `store` gets
    the rows of each page. Raises ConnectorError when the list stays short.
    """
    try:
        _read_whole(session, stream, window, store=store)
    except ConnectorError as error:
        for half in _halve(window, error):
            read_window(session, stream, half, store=store)


def _halve(window: Window, error: ConnectorError) -> tuple[Window, Window]:
    """The halves of a window that holds too much; any other error is raised again."""
    half = (window.end - window.start) // 2
    if error.code != TOO_DEEP or half < timedelta(seconds=2):
        raise error
    middle = (window.start + half).replace(microsecond=0)
    return Window(window.start, middle), Window(middle - SEAM, window.end)


def _read_whole(session: Session, stream: str, window: Window, *, store: Store) -> None:
    seen: set[str] = set()
    for _ in range(TRIES_PER_WINDOW):
        pages = _Pages(session, stream, window)
        for rows in pages:
            seen.update(row.order_no or repr(row.payload) for row in rows)
            store(rows)
        if pages.is_whole(seen):
            return
    raise ConnectorError(
        gettext_noop("列表给出的订单少于它自己报的数量，本时段没有读完，稍后重读"),
        code="short_list",
        retry=Retry.SAFE,
    )


def count_window(session: Session, stream: str, window: Window) -> int:
    """How many orders a window holds now; in halves where the vendor does not show them all."""
    try:
        return _count_whole(session, stream, window)
    except ConnectorError as error:
        return sum(count_window(session, stream, half) for half in _halve(window, error))


def _count_whole(session: Session, stream: str, window: Window) -> int:
    def count(client: Any) -> int:
        return int(client.count_orders(stream, window.start, window.end))

    return session.call(count)


class _Pages:
    """The pages of one window, in the direction that loses nothing."""

    def __init__(self, session: Session, stream: str, window: Window) -> None:
        self.session, self.stream, self.window = session, stream, window
        self.rules = session.list_rules(stream)
        self.totals: list[int] = []

    def __iter__(self) -> Iterator[Sequence[ListedOrder]]:
        if self.rules.paging is Paging.BACKWARD:
            self.totals.append(self._count())
            for page in list_pages(self.totals[0], self.rules):
                yield self._list(page=page).rows
            return
        page, cursor = self.rules.first_page, ""
        used: set[str] = set()
        while True:
            listed = self._list(page=page, cursor=cursor)
            if listed.total is not None:
                self.totals.append(listed.total)
            yield listed.rows
            if self.rules.paging is Paging.CURSOR:
                if not listed.next_cursor:
                    return
                if listed.next_cursor in used | {cursor}:
                    raise ConnectorError(
                        gettext_noop("列表的下一页标记没有前进，已停止，稍后重读"),
                        code="stuck_cursor",
                        retry=Retry.SAFE,
                    )
                cursor = listed.next_cursor
                used.add(cursor)
            elif self._is_last(listed, page):
                return
            page += 1

    def is_whole(self, seen: Collection[str]) -> bool:
        """Whether every order that the window still holds was among those seen.

        Backward, nothing slips through: counting again finds a page that was cut or told twice.
        Forward, an order that leaves the window pulls an unread one onto a page that was read
        (order of the answer does not help): only a list that stood still was read whole.
        """
        if self.rules.paging is Paging.BACKWARD:
            return self.totals == [0] or len(seen) >= self._count()
        return not self.totals or (len(set(self.totals)) == 1 and len(seen) >= self.totals[-1])

    def _count(self) -> int:
        return _count_whole(self.session, self.stream, self.window)

    def _is_last(self, listed: Listed, page: int) -> bool:
        """Whether a numbered page is the last: by what the list says of itself."""
        if listed.total is not None:
            return (page - self.rules.first_page + 1) * self.rules.page_size >= listed.total
        if listed.has_more is not None:
            return not listed.has_more
        return len(listed.rows) < self.rules.page_size

    def _list(self, *, page: int, cursor: str = "") -> Listed:
        def do(client: Any) -> Listed:
            listed: Listed = client.list_orders(
                self.stream, self.window.start, self.window.end, page=page, cursor=cursor
            )
            is_cut = len(listed.rows) < self.rules.page_size and bool(
                listed.next_cursor or listed.has_more
            )
            if is_cut and self.rules.paging is not Paging.BACKWARD:
                raise ConnectorError(
                    gettext_noop("列表的一页没有给全，稍后重读"),
                    code="half_page",
                    retry=Retry.SAFE,
                )
            return listed

        listed = self.session.call(do)
        self.session.name_orders(row.order_no for row in listed.rows)
        return listed


# -- details ---------------------------------------------------------------------------------------


def read_details(
    session: Session,
    rows: Sequence[ListedOrder],
    *,
    environment: Environment,
    in_review: Collection[str] = (),
) -> tuple[list[Reading], list[tuple[Reading, AppError]]]:
    """Whole orders of listed rows; and the rows whose detail the vendor refuses for good.

    A detail that is here already is not read again. Raises ConnectorError when the vendor is away:
    then nothing of the page counts.
    """

    def hint(number: str) -> Mapping[str, Any]:
        return REVIEW_HINT if number in in_review else {}

    whole = [
        Reading(row.payload, row.order_no, hint(row.order_no))
        for row in rows
        if row.payload is not None
    ]
    partial = [row for row in rows if row.payload is None]
    wanted = _list_wanted(partial, session, environment)
    failures: list[tuple[Reading, AppError]] = []
    found = session.map(lambda client, number: client.read_order(number), wanted)
    for number, answer in zip(wanted, found, strict=True):
        if isinstance(answer, ConnectorError):
            if answer.is_retriable or answer.retry is Retry.AMBIGUOUS or _is_ours(answer):
                raise answer
            failures.append((Reading({"order_no": number}, number), answer))
        elif answer is None:
            failures.append((Reading({"order_no": number}, number), _vanished()))
        else:
            whole.append(Reading(answer, number, hint(number)))
    return whole, failures


def _is_ours(error: ConnectorError) -> bool:
    """A refusal of the caller, not of one order: authorisation, signature, quota."""
    fault = getattr(error, "fault", None)
    return fault is None or fault.refresh_token or fault.wait_for_quota or fault.resync_clock


def _vanished() -> ConnectorError:
    return ConnectorError(
        gettext_noop("列表里有这张订单，平台却说查不到它的详情；请在平台后台核对"),
        code="order_vanished",
    )


def _list_wanted(
    rows: Sequence[ListedOrder], session: Session, environment: Environment
) -> list[str]:
    """The order numbers whose detail is not here yet, or may be older than their last change."""
    numbers = list(dict.fromkeys(row.order_no for row in rows))
    if not numbers:
        return []
    with for_environment(environment, write=False):
        stored = {
            number: (updated, received)
            for number, updated, received in Order.objects.filter(
                order_no__in=numbers, shop=session.connection.shop
            ).values_list("order_no", "source_updated_at", "received_at")
        }
    told = {row.order_no: row.updated_at for row in rows}

    def is_here(number: str) -> bool:
        updated, received = stored.get(number, (None, None))
        return (
            updated is not None
            and received is not None
            and told[number] == updated
            and received - updated >= SURE_AFTER
        )

    return [number for number in numbers if not is_here(number)]


def _list_in_review(session: Session, order_nos: Sequence[str]) -> frozenset[str]:
    """Those of the orders that the platform's review list named when it was last read."""
    if REVIEW_STREAM not in session.connector.list_streams(session.connection.config):
        return frozenset()
    with for_environment(session.environment, write=False):
        return frozenset(
            Order.objects.filter(order_no__in=list(order_nos), shop=session.connection.shop)
            .exclude(risk_state="")
            .values_list("order_no", flat=True)
        )


def read_orders(
    environment: Environment,
    connection_id: int,
    order_nos: Sequence[str],
    *,
    clock: Clock = timezone.now,
    sleep: Sleep = time.sleep,
    limiter: Limiter | None = None,
    session: Session | None = None,
) -> tuple[Taken, ConnectorError | None]:
    """Read these orders anew, one detail call each, and take them in. Call it outside any scope.

    For messages that only name an order, for orders beyond the list's reach, for a person who
    wants to know now. One that the platform's review list named stays in review until that list
    says otherwise. `session`: one that is open already, whose calls are counted together.
    Returns what came of it and a failure that was not one order's, if there was one: the orders it
    kept from being read are `Taken.unread`.
    """
    session = session or open_session(
        environment, connection_id, clock=clock, sleep=sleep, limiter=limiter
    )
    rows = [ListedOrder(number) for number in dict.fromkeys(order_nos)]
    in_review = _list_in_review(session, order_nos)
    found = session.map(lambda client, row: client.read_order(row.order_no), rows)
    readings, failures, stopped = [], [], None
    unread: set[str] = set()
    for row, answer in zip(rows, found, strict=True):
        extra = REVIEW_HINT if row.order_no in in_review else {}
        if isinstance(answer, ConnectorError):
            if answer.is_retriable or answer.retry is Retry.AMBIGUOUS or _is_ours(answer):
                stopped = answer
                unread.add(row.order_no)
            else:
                failures.append((Reading({"order_no": row.order_no}, row.order_no), answer))
        elif answer is None:
            failures.append((Reading({"order_no": row.order_no}, row.order_no), _vanished()))
        else:
            readings.append(Reading(answer, row.order_no, extra))
    with for_environment(environment):
        session.write_log()
        taken = take_readings(
            readings, connection=session.connection, connector=session.connector, now=clock()
        )
        for reading, error in failures:
            put_aside(session.connection, reading, error, now=clock())
        if stopped is not None:
            session.note_failure(stopped)
        elif readings:
            session.note_success()
    return taken + Taken(quarantined=len(failures), unread=frozenset(unread)), stopped
