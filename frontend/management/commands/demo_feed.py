"""`manage.py demo_feed`: the demo's systems keep exporting; runs until it is stopped."""

from __future__ import annotations

import signal
import threading
from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.utils import timezone

from frontend.demo.services import State, import_slice, worlds
from workflows.patrol.tasks import score_due


class Command(BaseCommand):
    """Every few seconds, import what happened since the last time and ask for scoring."""

    help = "让演示订单持续到来"

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--every", type=float, default=20, help="间隔秒数")

    def handle(self, *args: Any, **options: Any) -> None:
        stopped = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stopped.set())
        state = State()
        known = state.read()
        places = worlds(datetime.fromisoformat(known["started_at"]))
        since = datetime.fromisoformat(known["fed_until"])
        while not stopped.is_set():
            now = timezone.now().replace(microsecond=0)
            for environment, world in places:
                import_slice(environment, world, since=since, until=now, is_history=False)
                score_due.delay(environment.pk)
            since = now
            state.write(known | {"fed_until": now.isoformat()})
            stopped.wait(options["every"])
