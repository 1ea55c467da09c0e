"""The row of one run over a list or a system: opened before the first call, closed with its figures."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from config.errors import AppError, gettext_noop
from connectors.shops.models import Connection
from connectors.sync.models import SyncRun
from connectors.sync.taking import Taken, describe

_ABANDONED = gettext_noop("读取的进程中途退出，已从上次完成处继续")


def start_run(
    connection: Connection, kind: str, *, now: datetime, stream: str = "", **known: Any
) -> SyncRun:
    """Open the row of a run, in the scope in force; the caller holds the lease of its list.

    A run of the same list that is still open belongs to a worker that died without a word.
    """
    SyncRun.objects.filter(
        connection=connection, stream=stream, kind=kind, state=SyncRun.State.RUNNING
    ).update(
        state=SyncRun.State.FAILED,
        finished_at=now,
        error_code="abandoned",
        error_message=_ABANDONED,
    )
    run: SyncRun = SyncRun.objects.create(
        connection=connection, kind=kind, stream=stream, started_at=now, **known
    )
    return run


def close_run(
    run: SyncRun,
    taken: Taken,
    error: AppError | None,
    *,
    is_complete: bool,
    calls: int,
    now: datetime,
) -> None:
    """Write what became of a run, in the scope in force. A failure outweighs what was read."""
    run.finished_at, run.calls = now, calls
    run.new, run.updated = taken.received.new, taken.received.updated
    run.unchanged, run.stale = taken.received.unchanged, taken.received.stale
    run.quarantined = taken.quarantined
    run.state = SyncRun.State.DONE if is_complete else SyncRun.State.PARTIAL
    if error is not None:
        words = describe(error)
        run.state, run.error_code = SyncRun.State.FAILED, error.code[:60]
        run.error_message, run.error_params = words.message, dict(words.params)
    run.save()
