"""`manage.py demo_feed`: the demo's systems keep exporting; runs until it is stopped."""

from __future__ import annotations

import signal
import threading
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.utils import timezone

from frontend.demo.services import Memory, import_slice, list_worlds
from workflows.patrol.queue import enqueue


class Command(BaseCommand):
    """Every few seconds, import what happened since the last time and ask for scoring."""

    help = "让演示订单持续到来"

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--every", type=float, default=20, help="间隔秒数")

    def handle(self, *args: Any, **options: Any) -> None:
        stopped = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stopped.set())
        memory = Memory.load(default_start=timezone.now())
        places = list_worlds(memory)
        while not stopped.is_set():
            now = timezone.now().replace(microsecond=0)
            for place, environment, world in places:
                since = memory.fed_until(place)
                if since is None or stopped.is_set():
                    continue  # not seeded yet
                import_slice(environment, world, since=since, until=now, is_history=False)
                memory.record_fed(place, now)
                enqueue("patrol.score_due", environment.pk, queue="evaluate")
            stopped.wait(options["every"])
