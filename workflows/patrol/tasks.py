"""Thin Celery doors. All tasks live here: they carry `(environment_id, row_id)`, set the scope,
call one service, and are safe to run twice."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from celery import shared_task
from django.conf import settings
from django.utils import timezone

from config.tenancy.scope import for_environment
from config.tenancy.statistics import refresh_statistics
from connectors.sync.services import INBOXING, Job, forget_old
from connectors.tabular.services import list_stalled_runs
from connectors.tabular.uploads import work_off
from workflows.interventions.effects import settle_effects
from workflows.interventions.services import deliver_due
from workflows.patrol import services, sources
from workflows.patrol.queue import enqueue

# Old logs go at four in the morning, Beijing time.
FORGET_AT = (20, 0)


@shared_task(name="patrol.heartbeat", bind=True, acks_late=False)
def heartbeat(self: Any) -> None:
    """Touch the file by which the supervisor sees that this worker still consumes.

    It comes through the worker's own direct queue; the role is the part of its name before `@`.
    """
    folder = settings.DATA_DIR / "heartbeats"
    folder.mkdir(exist_ok=True)
    (folder / str(self.request.hostname).partition("@")[0]).touch()


# --- the patrol -----------------------------------------------------------------------------------


@shared_task(name="patrol.tick")
def tick() -> None:
    """Ring in every active environment; each is patrolled by whichever worker is free."""
    for environment in services.list_environments():
        enqueue("patrol.environment", environment.pk, queue="tick", expires=55)
        enqueue("patrol.sources", environment.pk, queue="tick", expires=55)
    refresh_statistics()


@shared_task(name="patrol.environment")
def patrol_environment(environment_id: int) -> None:
    """One minute of one environment, then whatever words are due."""
    resend_imports(environment_id)
    services.patrol_environment(services.get_environment(environment_id), now=timezone.now())
    enqueue("patrol.settle_holds", environment_id, queue="notify", expires=55)
    if not enqueue("patrol.deliver", environment_id, queue="notify"):
        deliver(environment_id)


@shared_task(name="patrol.score_due")
def score_due(environment_id: int) -> None:
    """Score what just came in."""
    services.score_due(services.get_environment(environment_id), now=timezone.now())


@shared_task(name="patrol.settle_holds", soft_time_limit=270, time_limit=300)
def settle_holds(environment_id: int) -> None:
    """Stop held orders in the OMS and the warehouse, and let released ones go on there."""
    settle_effects(services.get_environment(environment_id), clock=timezone.now)


@shared_task(name="patrol.deliver")
def deliver(environment_id: int) -> None:
    """Send the words that are due."""
    deliver_due(services.get_environment(environment_id), clock=timezone.now)


# --- sources --------------------------------------------------------------------------------------


@shared_task(name="patrol.sources")
def ring_sources(environment_id: int) -> None:
    """Hand out what is due: lists to read, systems to ask, messages that wait."""
    environment, now = services.get_environment(environment_id), timezone.now()
    sources.ring_sources(environment, now=now)
    if (now.hour, now.minute) == FORGET_AT:
        with for_environment(environment):
            forget_old(now=now)


@shared_task(name="patrol.sync_job", soft_time_limit=270, time_limit=300)
def sync_job(environment_id: int, connection_id: int, kind: str, stream: str) -> None:
    """Do one job of one connection."""
    environment = services.get_environment(environment_id)
    sources.work_job(environment, Job(kind, connection_id, stream))


@shared_task(name="patrol.work_messages")
def work_messages(environment_id: int, connection_id: int) -> None:
    """Work off what was just pushed."""
    environment = services.get_environment(environment_id)
    sources.work_job(environment, Job(INBOXING, connection_id))


@shared_task(name="patrol.queues")
def ring_queues() -> None:
    """Every 20 seconds: fetch the messages that wait at vendors."""
    for environment in services.list_environments():
        enqueue("patrol.consume", environment.pk, queue="sync", expires=18)


@shared_task(name="patrol.consume")
def consume(environment_id: int) -> None:
    """Fetch and work off the messages that wait at the vendors of one environment."""
    sources.work_queues(services.get_environment(environment_id))


@shared_task(name="patrol.pull_now", soft_time_limit=270, time_limit=300)
def pull_now(environment_id: int, connection_id: int) -> None:
    """Read one connection at once: a person asked."""
    sources.pull_now(services.get_environment(environment_id), connection_id)


@shared_task(name="patrol.backfill", soft_time_limit=270, time_limit=300)
def backfill(environment_id: int, run_id: int) -> None:
    """Estimate a back-fill, or read on in it."""
    sources.work_backfill_run(services.get_environment(environment_id), run_id)


@shared_task(name="patrol.remap", soft_time_limit=270, time_limit=300)
def remap(environment_id: int) -> None:
    """Read orders anew by the status mappings that came into force."""
    sources.remap(services.get_environment(environment_id))


# --- files ----------------------------------------------------------------------------------------

# Below the soft time limit: a longer import goes back into the queue and on from its cursor.
IMPORT_BUDGET = timedelta(seconds=150)


@shared_task(name="patrol.import_files")
def import_files(environment_id: int, run_id: int) -> None:
    """Import uploaded files, or go on where a dead or timed-out worker left off."""
    environment = services.get_environment(environment_id)
    run = work_off(environment, run_id, now=timezone.now(), budget=IMPORT_BUDGET)
    if run is None:
        return
    if not run.is_over:
        enqueue("patrol.import_files", environment_id, run_id, queue="sync")
    elif not run.is_dry_run:
        services.wake_scoring(environment)


def resend_imports(environment_id: int) -> None:
    """Give runs that nobody works at to a worker again."""
    with for_environment(services.get_environment(environment_id), write=False):
        stalled = [run.pk for run in list_stalled_runs(timezone.now())]
    for run_id in stalled:
        enqueue("patrol.import_files", environment_id, run_id, queue="sync")
