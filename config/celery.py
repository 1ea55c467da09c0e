"""The Celery application. All tasks live in workflows/patrol/tasks.py."""

from __future__ import annotations

import os

from celery import Celery
from celery.schedules import crontab
from kombu import Queue

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

app = Celery("hedao", include=["workflows.patrol.tasks"])
app.config_from_object("django.conf:settings", namespace="CELERY")
# Red first: one worker serves the urgent queues, another the bulk ones (`manage.py up`).
app.conf.task_queues = [Queue(n) for n in ("tick", "notify", "evaluate", "sync", "backtest")]
# A queue of its own per worker: the supervisor's heartbeat takes the way the work takes.
app.conf.worker_direct = True
app.conf.task_default_queue = "evaluate"
app.conf.beat_schedule = {
    "tick": {
        "task": "patrol.tick",
        "schedule": crontab(),
        "options": {"queue": "tick", "expires": 55},
    },
    "queues": {
        "task": "patrol.queues",
        "schedule": 20.0,
        "options": {"queue": "tick", "expires": 18},
    },
}
app.conf.beat_max_loop_interval = 5
