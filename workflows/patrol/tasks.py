"""Thin Celery doors. All tasks live here: they carry `(environment_id, row_id)`, set the scope,
call one service, and are safe to run twice."""

from __future__ import annotations

from typing import Any

from celery import shared_task
from django.conf import settings


@shared_task(name="patrol.heartbeat", bind=True, acks_late=False)
def heartbeat(self: Any) -> None:
    """Touch the file by which the supervisor sees that this worker still consumes.

    It comes through the worker's own direct queue; the role is the part of its name before `@`.
    """
    folder = settings.DATA_DIR / "heartbeats"
    folder.mkdir(exist_ok=True)
    (folder / str(self.request.hostname).partition("@")[0]).touch()
