"""The first read of a place: everything its platforms and systems know, taken in as history.

Through the connectors, as any back-fill: it never alerts and never holds. Two processes share the
work, for a machine with two cores: Tmall, whose details cost a call each, and everything else.
"""

from __future__ import annotations

import logging
import multiprocessing
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import connections as databases
from django.utils import timezone

from config.errors import AppError, gettext_noop
from config.tenancy.models import Environment
from config.tenancy.scope import for_environment
from config.wording import say_error
from connectors.adapters import RateLimit
from connectors.orders.services import rewalk_orders
from connectors.shops.connections import change_connection
from connectors.shops.models import Connection
from connectors.shops.services import record_freshness
from connectors.sync.backfill import request_backfill, start_backfill, work_backfill
from connectors.sync.limits import Limiter
from connectors.sync.models import BackfillRun
from connectors.sync.reading import MAIN_STREAM, REVIEW_STREAM, pull
from connectors.sync.registry import get_connector
from connectors.sync.sweeps import ask, list_questions
from connectors.sync.transport import open_session

log = logging.getLogger(__name__)

REACH = timedelta(hours=68)  # the oldest presale of the demo was placed 66 hours before its start
ASKED_AT_ONCE = 400
CATCH_UPS = 2  # the first takes seconds, so that the second finds next to nothing
OVERLAP = timedelta(minutes=3)  # longer than a platform shows a change late
PATIENCE_SECONDS = 300.0  # for a list that does not get on
_EVERYTHING = 1_000_000
_BUSY_CHANNELS = ("tmall",)  # a detail call for every order


class FirstReadFailed(AppError):
    """A source could not be read to its end."""

    code = "first_read_failed"


class NoLimit(Limiter):
    """The simulators' buckets are wide; the budget of the ordinary schedule is the platform's."""

    def take(self, key: str, limit: RateLimit) -> float:
        return 0.0


def read_everything(
    environment: Environment, connections: Mapping[str, Connection], *, is_parallel: bool = True
) -> None:
    """Read all sources of an environment as history. Raises FirstReadFailed with the reason.

    Gateways and warehouses have no lists: they are asked about the orders that the others told.
    """
    lists = {app: c for app, c in connections.items() if _has_list(c)}
    busy = [c.pk for app, c in lists.items() if app in _BUSY_CHANNELS]
    rest = [c.pk for app, c in lists.items() if app not in _BUSY_CHANNELS]
    began = timezone.now()
    _run(_read_lists, environment, [busy, rest], is_parallel=is_parallel)
    for _round in range(CATCH_UPS):
        # What changed while it was read had left its window: unread, it would come as news.
        start, began = began - OVERLAP, timezone.now()
        for connection in lists.values():
            _backfill(environment, connection.pk, start=start)
    for app, connection in connections.items():
        if app not in lists:
            began = timezone.now()
            with for_environment(environment, write=False):
                numbers = list_questions(connection, now=began, limit=_EVERYTHING)
            halves = [[connection.pk, *numbers[half::2]] for half in range(2)]
            _run(
                _ask, environment, halves, is_parallel=is_parallel and len(numbers) > ASKED_AT_ONCE
            )
            with for_environment(environment):
                record_freshness(connection.source, complete_until=began, now=timezone.now())
    _walk_again(environment)


def _walk_again(environment: Environment) -> None:
    """Orders that came before the OMS and the WMS were known to be there learn of their nodes."""
    after: int | None = 0
    while after is not None:
        with for_environment(environment):
            after = rewalk_orders(now=timezone.now(), after_id=after)


def _has_list(connection: Connection) -> bool:
    return MAIN_STREAM in get_connector(connection.vendor).list_streams(connection.config)


Work = Callable[[int, list[Any]], None]


def _run(
    do: Work, environment: Environment, portions: Sequence[list[Any]], *, is_parallel: bool
) -> None:
    """Do portions side by side, each in a process of its own; or one after the other."""
    if not is_parallel:
        for portion in portions:
            do(environment.pk, portion)
        return
    databases.close_all()
    context = multiprocessing.get_context("fork")
    reasons = context.SimpleQueue()
    children = [
        context.Process(target=_work_apart, args=(do, environment.pk, portion, reasons))
        for portion in portions
    ]
    for child in children:
        child.start()
    for child in children:
        child.join()
    if any(child.exitcode for child in children):
        reason = "?" if reasons.empty() else reasons.get()
        raise FirstReadFailed(gettext_noop("首次读取没有完成：%(reason)s"), reason=reason)


def _work_apart(
    do: Work, environment_id: int, portion: list[Any], reasons: multiprocessing.SimpleQueue[str]
) -> None:
    """In a process of its own: its database connections are its own too."""
    databases.close_all()
    try:
        do(environment_id, portion)
    except AppError as error:
        reasons.put(say_error(error))
        raise SystemExit(1) from error
    finally:
        databases.close_all()


def _get_environment(environment_id: int) -> Environment:
    found: Environment = Environment.objects.select_related("tenant", "division").get(
        pk=environment_id
    )
    return found


def _read_lists(environment_id: int, connection_ids: Sequence[int]) -> None:
    """Back-fill every list; where the platform lists its reviews apart, those too."""
    environment = _get_environment(environment_id)
    for connection_id in connection_ids:
        connection = _backfill(environment, connection_id, start=timezone.now() - REACH)
        if REVIEW_STREAM in get_connector(connection.vendor).list_streams(connection.config):
            _read_reviews(environment, connection)


def _backfill(environment: Environment, connection_id: int, *, start: datetime) -> Connection:
    """Read one list from `start` to now; raises FirstReadFailed when it does not come to its end."""
    now = timezone.now()
    with for_environment(environment):
        connection = Connection.objects.select_related("source").get(pk=connection_id)
        run = request_backfill(connection, start=start, end=now, actor=None, now=now)
        start_backfill(run, actor=None, now=now)
    patience = time.monotonic() + PATIENCE_SECONDS
    while run.state == BackfillRun.State.RUNNING and time.monotonic() < patience:
        mark = run.mark
        run = work_backfill(environment, run.pk, limiter=NoLimit(), even_off=True)
        if run.mark != mark:
            patience = time.monotonic() + PATIENCE_SECONDS
        elif run.state == BackfillRun.State.RUNNING:
            time.sleep(1)  # the platform wants us to wait
    if run.state != BackfillRun.State.DONE:
        raise FirstReadFailed(
            gettext_noop("「%(name)s」没有读完：%(reason)s"),
            name=str(connection),
            reason=str(run.error or run.state),
        )
    return connection


def _read_reviews(environment: Environment, connection: Connection) -> None:
    """A pull reads the list of reviews too; only a connection that is switched on is pulled.

    It is off again at once: what the schedule reads is scored at once, and an order scored before
    the warehouse has told of it would be found healthy, watched, and alerted about afterwards.
    """
    _switch(environment, connection, is_on=True)
    try:
        pulled = pull(environment, connection.pk, is_forced=True, limiter=NoLimit())
    finally:
        _switch(environment, connection, is_on=False)
    if pulled is not None and pulled.error is not None:
        raise pulled.error


def _switch(environment: Environment, connection: Connection, *, is_on: bool) -> None:
    with for_environment(environment):
        row = Connection.objects.select_related("source").get(pk=connection.pk)
        change_connection(row, actor=None, now=timezone.now(), is_active=is_on)


def _ask(environment_id: int, portion: list[Any]) -> None:
    """Ask a gateway or a warehouse about orders: the connection's id, then order numbers."""
    environment, (connection_id, *numbers) = _get_environment(environment_id), portion
    session = open_session(environment, connection_id, limiter=NoLimit())
    for start in range(0, len(numbers), ASKED_AT_ONCE):
        _taken, error = ask(session, numbers[start : start + ASKED_AT_ONCE], is_history=True)
        if error is not None:
            raise error
    with for_environment(environment):
        session.write_log()
        session.note_success()
