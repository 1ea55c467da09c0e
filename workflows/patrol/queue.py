"""Handing work to the workers. The queue only makes things fast: every row that waits is also
found by the next tick, so a queue that is down costs a delay and nothing else."""

from __future__ import annotations

import logging
from typing import Any

from kombu.exceptions import KombuError

from config.celery import app

log = logging.getLogger(__name__)

# A web request must not wait for a queue that is not there.
_ONCE = {"max_retries": 1, "interval_start": 0, "interval_step": 0, "interval_max": 0}


def enqueue(
    name: str,
    *args: Any,
    queue: str,
    countdown: float | None = None,
    expires: float | None = None,
) -> bool:
    """Send one task by name; False, with a line in the log, when the queue is not reachable.

    `countdown` and `expires` in seconds.
    """
    options = {**app.conf.broker_transport_options, **_ONCE}
    try:
        with app.connection_for_write(transport_options=options) as connection:
            app.send_task(
                name,
                args=args,
                queue=queue,
                countdown=countdown,
                expires=expires,
                retry=False,
                connection=connection,
            )
    except (KombuError, OSError) as error:
        log.warning("queue not reachable for %s: %s", name, type(error).__name__)
        return False
    return True
