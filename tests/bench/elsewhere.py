"""The simulated platforms in a process of their own: their processor time and memory are theirs.

They are those of tests/connectors/sync/outside.py. The bench talks to the process through a pipe;
the product talks to it over HTTP, as to any platform.
"""

from __future__ import annotations

import multiprocessing
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connections

from config.tenancy.models import Environment
from connectors.simulators.births import Births, Numbers
from connectors.simulators.core import Clock, Faults, Outbox, Store
from connectors.simulators.life import Life
from connectors.simulators.look_alikes import make_ordinary
from connectors.simulators.outbox import post
from connectors.simulators.platforms import build_apps, point_at
from tests.connectors.sync.outside import VENDORS, Outside

_FORK = multiprocessing.get_context("fork")
_SENDERS = 4  # as many as the simulators' own outbox has


class SharedClock(Clock):
    """A standing clock of two processes: a client that waits moves it for the platforms too."""

    def __init__(self, at: datetime) -> None:
        super().__init__(at=at)
        self._moment = _FORK.Value("d", at.timestamp())

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._moment.value, UTC)

    def set(self, moment: datetime) -> None:
        """Jump to an aware moment."""
        self._moment.value = moment.timestamp()

    def advance(self, delta: timedelta) -> None:
        """Move by a span."""
        with self._moment.get_lock():
            self._moment.value += delta.total_seconds()


@dataclass(frozen=True)
class Letter:
    """A push that was sent: when (seconds since the epoch), and when it was answered how."""

    order_no: str
    sent_at: float
    answered_at: float
    status: int


class Elsewhere(Outside):
    """An outside that another process serves. The methods `in_...` run there."""

    def start(self, make_lives: Callable[[Mapping[str, str]], Iterable[Life]]) -> None:
        """Fork the process; the lives are made there, so that they are not in our memory."""
        connections.close_all()
        self.pipe, theirs = _FORK.Pipe()
        self._process = _FORK.Process(target=self._serve, args=(theirs, make_lives), daemon=True)
        self._process.start()
        theirs.close()
        self.address = self.pipe.recv()

    def ask(self, name: str, *arguments: Any) -> Any:
        """Have `in_<name>` done there, and wait for what it returns."""
        self.tell(name, *arguments)
        return self.pipe.recv()

    def tell(self, name: str, *arguments: Any) -> None:
        """Have `in_<name>` done there; `pipe` has the answer later."""
        self.pipe.send((name, arguments))

    def stop(self) -> None:
        """End the process."""
        self.pipe.close()
        self._process.join(10)
        if self._process.is_alive():
            self._process.kill()

    def _serve(self, pipe: Any, make_lives: Callable[[Mapping[str, str]], Iterable[Life]]) -> None:
        self.pipe.close()
        self.add(*make_lives(self.shops))
        with self.host.running() as address:
            pipe.send(address)
            while True:
                try:
                    name, arguments = pipe.recv()
                except EOFError:
                    return
                pipe.send(getattr(self, f"in_{name}")(*arguments))

    # -- in the other process ------------------------------------------------------------------

    def in_spent(self) -> float:
        """Processor seconds of all its threads so far."""
        return time.process_time()

    def in_write(self, app: str, count: int, url: str, seed: str) -> int:
        """Invent paid orders of now and write the push that tells each; nothing is sent yet."""
        channel, now = VENDORS[app][0], self.now()
        rng = random.Random(seed)  # noqa: S311 - invented orders, no secrets
        births = Births(rng, self._numbers(), shops=self.shops)
        lives = [make_ordinary(births, channel, now - timedelta(minutes=20)) for _ in range(count)]
        desk = Outbox(self.clock, Faults())
        written: dict[str, dict[str, Any]] = {}

        def keep(**letter: Any) -> None:
            if letter["operation"] in {"push.101", "order.created"}:
                written[letter["order_no"]] = letter

        desk.send = keep  # type: ignore[method-assign]  # the letters wait for our pace
        apps = build_apps(
            Store(*lives), self.clock, self.faults, desk, self.keys,
            since=now - timedelta(days=1), on_synced=lambda life, now: None,
        )  # fmt: skip
        point_at(apps, {app: url})
        apps[app].tick(now)  # type: ignore[attr-defined]  # both apps that push have it
        self._written = [(life, written[life.order_no]) for life in lives]
        return len(self._written)

    def _numbers(self) -> Numbers:
        """Numbers that go on where the last letters' ended."""
        self._row: Numbers = getattr(self, "_row", None) or Numbers()
        return self._row

    def in_send(self, per_second: float | None) -> list[Letter]:
        """Send what was written, so many a second, or as fast as answers come (None)."""
        began = time.monotonic()
        with ThreadPoolExecutor(_SENDERS) as pool:
            sent = []
            for index, (life, letter) in enumerate(self._written):
                if per_second is not None:
                    time.sleep(max(0.0, began + index / per_second - time.monotonic()))
                sent.append(pool.submit(self._send, life, letter))
            return [done.result() for done in sent]

    def _send(self, life: Life, letter: dict[str, Any]) -> Letter:
        self.store.add(life)  # from now on the platform knows the order, too
        headers, sent_at = letter["headers"], time.time()
        told = headers(self.now()) if callable(headers) else headers
        status, _ = post(letter["url"], told, letter["body"], timeout=30)
        return Letter(life.order_no, sent_at, time.time(), status)


@contextmanager
def open_elsewhere(
    environment: Environment,
    *,
    clock: Clock,
    make_lives: Callable[[Mapping[str, str]], Iterable[Life]] = lambda shops: (),
) -> Iterator[Elsewhere]:
    """The outside of an environment, served by a process of its own for the length of the block."""
    outside = Elsewhere(environment, at=clock.now(), clock=clock)
    outside.start(make_lives)
    try:
        yield outside
    finally:
        outside.stop()
