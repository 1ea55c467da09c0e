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
from connectors.tabular.services import list_stalled_runs
from connectors.tabular.uploads import work_off
from workflows.interventions.services import deliver_due
from workflows.patrol import services
from workflows.patrol.queue import enqueue


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
    refresh_statistics()


@shared_task(name="patrol.environment")
def patrol_environment(environment_id: int) -> None:
    """One minute of one environment, then whatever words are due."""
    resend_imports(environment_id)
    services.patrol_environment(services.get_environment(environment_id), now=timezone.now())
    if not enqueue("patrol.deliver", environment_id, queue="notify"):
        deliver(environment_id)


@shared_task(name="patrol.score_due")
def score_due(environment_id: int) -> None:
    """Score what just came in."""
    services.score_due(services.get_environment(environment_id), now=timezone.now())


@shared_task(name="patrol.deliver")
def deliver(environment_id: int) -> None:
    """Send the words that are due."""
    deliver_due(services.get_environment(environment_id), clock=timezone.now)


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
