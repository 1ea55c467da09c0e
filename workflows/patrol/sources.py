"""The upper end of the river: what the platforms and systems have to tell, and holding there.

every minute    -> what is due: lists, sweeps, waiting messages        (connectors.sync)
every 20 s      -> messages that wait at a vendor
a push came in  -> its messages at once
whatever came   -> scored at once
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from django.db import transaction
from django.utils import timezone

from config.tenancy.models import Environment
from config.tenancy.scope import for_environment
from connectors.channels.status_mappings import remap_orders
from connectors.orders.status_mappings import list_statuses_due
from connectors.shops.models import Connection
from connectors.sync.backfill import estimate_backfill, list_running, work_backfill
from connectors.sync.models import BackfillRun
from connectors.sync.pushes import work_messages
from connectors.sync.queues import consume
from connectors.sync.reading import MAIN_STREAM, pull
from connectors.sync.services import (
    INBOXING,
    PULL,
    REREADING,
    SWEEPING,
    Job,
    list_jobs,
    list_queues,
    reread_open_orders,
)
from connectors.sync.sweeps import sweep
from connectors.sync.taking import Taken
from workflows.interventions.models import PatrolLease
from workflows.patrol.queue import enqueue
from workflows.patrol.services import score_due

log = logging.getLogger(__name__)

# A job that nobody took within its slot is found again by the next tick.
JOB_EXPIRES = 55
# No batch takes longer from looking at the status table to being stored.
_ON_ITS_WAY = timedelta(minutes=1)
_LONG_AGO = datetime.fromisoformat("2000-01-01T00:00:00+00:00")


def ring_sources(environment: Environment, *, now: datetime) -> int:
    """Hand out what is due in one environment; returns how many jobs. Call it outside any scope."""
    with for_environment(environment, write=False):
        jobs = list_jobs(now=now)
        backfills = list_running(now=now)
        is_remap_due = bool(list_remaps(now=now))
    if is_remap_due:
        enqueue("patrol.remap", environment.pk, queue="backtest", expires=JOB_EXPIRES)
    for job in jobs:
        enqueue(
            "patrol.sync_job", environment.pk, job.connection_id, job.kind, job.stream,
            queue="sync", expires=JOB_EXPIRES,
        )  # fmt: skip
    for run_id in backfills:
        enqueue("patrol.backfill", environment.pk, run_id, queue="backtest", expires=JOB_EXPIRES)
    return len(jobs) + len(backfills)


def work_job(
    environment: Environment, job: Job, *, clock: Callable[[], datetime] = timezone.now
) -> Taken:
    """Do one job, score what came of it, and say what was taken in. Call it outside any scope."""
    taken, goes_on = Taken(), False
    if job.kind == PULL:
        pulled = pull(environment, job.connection_id, stream=job.stream or MAIN_STREAM, clock=clock)
        if pulled is not None:
            taken, goes_on = pulled.taken, not pulled.is_caught_up and pulled.error is None
    elif job.kind == SWEEPING:
        taken = sweep(environment, job.connection_id, clock=clock)
    elif job.kind == INBOXING:
        taken, settled = work_messages(environment, job.connection_id, clock=clock)
        goes_on = settled > 0  # what was pushed meanwhile was left to us
    elif job.kind == REREADING:
        taken = reread_open_orders(environment, job.connection_id, clock=clock)
    else:
        log.error("unknown kind of job %s", job.kind)
    if goes_on:
        enqueue(
            "patrol.sync_job", environment.pk, job.connection_id, job.kind, job.stream,
            queue="sync",
        )  # fmt: skip
    if taken.received.order_ids:
        score_due(environment, now=clock(), clock=clock)
    return taken


def work_queues(environment: Environment, *, clock: Callable[[], datetime] = timezone.now) -> int:
    """Fetch what waits at vendors with queues, and work it off; returns how many are new."""
    with for_environment(environment, write=False):
        connections = list_queues(now=clock())
    new = 0
    for connection_id in connections:
        try:
            fetched = consume(environment, connection_id, clock=clock)
            if fetched:
                work_job(environment, Job(INBOXING, connection_id), clock=clock)
        except Exception:  # noqa: BLE001 - one shop of several: the others' messages wait as well
            log.exception("the queue of connection %d could not be fetched", connection_id)
            continue
        new += fetched
    return new


def work_backfill_run(
    environment: Environment, run_id: int, *, clock: Callable[[], datetime] = timezone.now
) -> None:
    """Estimate a new back-fill, or read on in a running one."""
    with for_environment(environment, write=False):
        state = BackfillRun.objects.filter(pk=run_id).values_list("state", flat=True).first()
    if state == BackfillRun.State.ESTIMATING:
        estimate_backfill(environment, run_id, clock=clock)
        return
    run = work_backfill(environment, run_id, clock=clock)
    with for_environment(environment, write=False):
        goes_on = run_id in list_running(now=clock())  # else the tick finds it when it is time
    if goes_on:
        enqueue("patrol.backfill", environment.pk, run_id, queue="backtest")
    elif run.is_over:
        score_due(environment, now=clock(), clock=clock)


# -- waking -----------------------------------------------------------------------------------------


def wake_pull(environment: Environment, connection: Connection) -> None:
    """Read a connection's list at once: a person asked, or it was just made. In the scope in force."""
    transaction.on_commit(
        lambda: enqueue("patrol.pull_now", environment.pk, connection.pk, queue="sync")
    )


def wake_backfill(environment: Environment, run: BackfillRun) -> None:
    """Have a back-fill estimated or read on at once. In the scope in force."""
    transaction.on_commit(
        lambda: enqueue("patrol.backfill", environment.pk, run.pk, queue="backtest")
    )


def pull_now(
    environment: Environment, connection_id: int, *, clock: Callable[[], datetime] = timezone.now
) -> None:
    """Whatever the schedule says: read the list, or ask about the orders, of one connection."""
    pulled = pull(environment, connection_id, clock=clock, is_forced=True)
    if pulled is None:
        sweep(environment, connection_id, clock=clock)
    elif not pulled.is_caught_up and pulled.error is None:
        enqueue("patrol.pull_now", environment.pk, connection_id, queue="sync")
    score_due(environment, now=clock(), clock=clock)


def wake_remap(environment: Environment) -> None:
    """Have orders read anew by a status mapping that just came into force. In the scope in force."""
    transaction.on_commit(lambda: enqueue("patrol.remap", environment.pk, queue="backtest"))


def list_remaps(*, now: datetime) -> dict[str, list[str]]:
    """The statuses by channel whose mapping has changed since orders were last read anew by it.

    A version was published, or a row began or ended at a midnight in between. A batch that was on
    its way in meanwhile still used the table of before: for a while they are due once more.
    """
    since = PatrolLease.objects.values_list("mapped_at", flat=True).first()
    return list_statuses_due(since=since - _ON_ITS_WAY if since else _LONG_AGO, now=now)


def remap(environment: Environment, *, clock: Callable[[], datetime] = timezone.now) -> int:
    """Read anew every order of a status whose mapping has changed since the last time.

    Returns how many came out differently; they are scored at once. Safe to run twice. Call it
    outside any scope: every chunk is a transaction of its own.
    """
    now, changed = clock(), 0
    with for_environment(environment, write=False):
        due = list_remaps(now=now)
    for channel, statuses in sorted(due.items()):
        after_id: int | None = 0
        while after_id is not None:
            with for_environment(environment):
                done = remap_orders(
                    channel=channel, statuses=statuses, now=clock(), after_id=after_id
                )
            changed, after_id = changed + done.changed, done.next_after_id
    with for_environment(environment):
        PatrolLease.objects.get_or_create(defaults={"expires_at": _LONG_AGO})
        PatrolLease.objects.update(mapped_at=now)
    if changed:
        score_due(environment, now=clock(), clock=clock)
    return changed
