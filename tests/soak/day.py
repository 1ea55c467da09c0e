"""A simulated day through all connectors on a virtual clock: pushes, pulls, sweeps, faults, scores.

The platforms are called over HTTP; what they call back goes byte for byte through our own address
of pushes. Workers die in the middle of calls, and what they held is free again when it runs out.
"""

from __future__ import annotations

import random
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any
from unittest import mock

from config.tenancy.models import Environment
from config.tenancy.scope import for_environment
from config.tenancy.statistics import refresh_statistics
from connectors.shops.models import Connection
from connectors.simulators.life import Life
from connectors.simulators.scenario import make_day
from connectors.sync.leases import LEASE
from connectors.sync.pushes import BATCH, work_messages
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
from rules_engine import presets
from tests.connectors.sync.outside import VENDORS, Outside, open_outside
from tests.connectors.sync.stories import DyingLimiter, WorkerDied
from tests.soak.weather import Weather
from workflows.patrol.services import patrol_environment, score_due

START = datetime.fromisoformat("2025-11-11T00:00:00+08:00")
DAY = timedelta(hours=24)
RECOVERY = timedelta(hours=3)
STEP = timedelta(minutes=10)
SCORE_EVERY = timedelta(hours=2)
_DEATH_SHARE, _REPLAY_SHARE = 0.08, 0.2
_KEPT = 200  # letters somebody keeps to send them again
# Plans of a life, no events: they stay when everything that has not happened is taken away.
_PLANS = frozenset({"balance_opens", "balance_due"})


@dataclass
class Spent:
    """Seconds of one kind of work: of the processor, and by the wall clock."""

    processor: float = 0.0
    wall: float = 0.0
    times: int = 0


class Day:
    """One soaked day of one environment."""

    def __init__(self, outside: Outside, *, orders: int, seed: int, step: timedelta = STEP) -> None:
        self.outside, self.seed, self.step = outside, seed, step
        self.environment: Environment = outside.environment
        self.rng = random.Random(f"day:{seed}")  # noqa: S311 - bad luck, no secret
        self.limiter = outside.limiter = DyingLimiter(clock=lambda: outside.now().timestamp())
        self.lives = make_day(
            seed=seed, started_at=outside.now(), orders=orders, shops=outside.shops
        )
        outside.add(*self.lives)
        outside.host.silence_seconds = 0.05
        self.connections: dict[str, Connection] = {app: outside.connect(app) for app in VENDORS}
        self.weather = Weather(outside, seed, list(VENDORS))
        self.spent: dict[str, Spent] = defaultdict(Spent)
        self.taken: dict[str, Taken] = defaultdict(Taken)
        self.told: Counter[str] = Counter()
        self.kept: list[tuple[str, dict[str, str], bytes]] = []
        self._keep_letters()
        with for_environment(self.environment):
            presets.install("promo", outside.now())
        self._scored_at = outside.now()

    def _keep_letters(self) -> None:
        plain = self.outside.outbox.transport

        def keep(url: str, headers: Any, body: bytes) -> tuple[int, bytes]:
            if len(self.kept) < _KEPT:
                self.kept.append((url, dict(headers), body))
            elif self.rng.random() < 0.05:
                self.kept[self.rng.randrange(_KEPT)] = (url, dict(headers), body)
            return plain(url, headers, body)

        self.outside.outbox.transport = keep

    # -- time ------------------------------------------------------------------------------------

    def run(self, length: timedelta, *, is_stormy: bool = True) -> None:
        """Let so much of the day pass, step by step."""
        end = self.outside.now() + length
        while self.outside.now() < end:
            self.turn(is_stormy=is_stormy)

    def turn(self, *, is_stormy: bool) -> None:
        """One step: what became due goes out, and our workers do what is due here."""
        outside = self.outside
        outside.clock.advance(self.step)
        now = outside.now()
        if is_stormy:
            self.weather.turn(now)
        with self._timed("simulators: their own clock"):
            for app in outside.apps.values():
                tick = getattr(app, "tick", None)
                if tick is not None:
                    tick(now)
        with self._timed("pushes taken in"):
            outside.outbox.deliver_due(now)
            if is_stormy and self.kept and self.rng.random() < _REPLAY_SHARE:
                outside._push(*self.rng.choice(self.kept))
                self.told["replayed letters"] += 1
        self._work(is_stormy=is_stormy)
        if outside.now() - self._scored_at >= SCORE_EVERY:
            self.score()

    def _work(self, *, is_stormy: bool) -> None:
        """What the tick would do and hand out, by one worker."""
        environment = self.environment
        with self._timed("statistics"):
            refresh_statistics()
        with for_environment(environment, write=False):
            queues = list_queues(now=self.outside.now())
        for pk in queues:
            self._do("messages fetched", lambda pk=pk: consume(environment, pk, **self.outside.tools),
                     is_stormy)  # fmt: skip
        with for_environment(environment, write=False):
            jobs = list_jobs(now=self.outside.now())
        for job in jobs:
            self._do(*self._read(job), is_stormy)

    def _read(self, job: Job) -> tuple[str, Callable[[], Any]]:
        environment, pk, tools = self.environment, job.connection_id, self.outside.tools
        if job.kind == PULL:
            name = f"lists read: {self._app(pk)}"
            return name, lambda: self._pull(name, pk, job.stream or MAIN_STREAM)
        if job.kind == SWEEPING:
            name = f"systems asked: {self._app(pk)}"
            return name, lambda: self._count(name, sweep(environment, pk, **tools))
        if job.kind == INBOXING:
            name = f"messages worked off: {self._app(pk)}"
            return name, lambda: self._work_off(name, pk)
        assert job.kind == REREADING
        return "re-reading", lambda: reread_open_orders(environment, pk, clock=self.outside.now)

    def _pull(self, name: str, pk: int, stream: str) -> None:
        pulled = pull(self.environment, pk, stream=stream, **self.outside.tools)
        if pulled is not None:
            self._count(name, pulled.taken)
            if pulled.error is not None:
                self.told[f"failed pulls: {pulled.error.code}"] += 1

    def _work_off(self, name: str, pk: int) -> None:
        settled = BATCH
        while settled >= BATCH:
            taken, settled = work_messages(self.environment, pk, **self.outside.tools)
            self._count(name, taken)

    def _count(self, name: str, taken: Taken) -> None:
        self.taken[name] += taken

    def _app(self, pk: int) -> str:
        return next(app for app, c in self.connections.items() if c.pk == pk)

    def _do(self, name: str, do: Callable[[], Any], is_stormy: bool) -> None:
        """One job of one worker, who may die in the middle of a call."""
        if is_stormy and self.rng.random() < _DEATH_SHARE:
            self.limiter.dies_at = self.rng.randint(1, 30)
        try:
            with self._timed(name):
                do()
        except WorkerDied:
            self.told["workers that died"] += 1
            self.outside.clock.advance(LEASE + timedelta(seconds=1))
        self.limiter.dies_at = 0

    # -- scoring ---------------------------------------------------------------------------------

    def score(self) -> None:
        """Score what changed, as right after a pull."""
        self._scored_at = now = self.outside.now()
        with self._timed("scored"):
            self.told["orders scored"] += score_due(
                self.environment, now=now, clock=self.outside.now
            )

    def patrol(self) -> None:
        """A whole pass: what changed, and everything that time moves."""
        with self._timed("patrolled"):
            patrol_environment(self.environment, now=self.outside.now(), clock=self.outside.now)

    @contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        processor, wall = time.process_time(), time.perf_counter()
        try:
            yield
        finally:
            spent = self.spent[name]
            spent.processor += time.process_time() - processor
            spent.wall += time.perf_counter() - wall
            spent.times += 1

    # -- in the end ------------------------------------------------------------------------------

    def freeze(self) -> None:
        """Nothing more happens to any order: what has happened by now is the whole truth."""
        now = self.outside.now()
        for life in self.lives:
            _cut(life, now)
            self.outside.store.replace(life)


def _cut(life: Life, now: datetime) -> None:
    for name in (f.name for f in fields(life)):
        value = getattr(life, name)
        if isinstance(value, datetime) and value > now and name not in _PLANS | {"placed"}:
            setattr(life, name, None)
    for line in life.lines:
        if line.refunded is not None and line.refunded > now:
            line.refunded = None
    life.shipments = tuple(s for s in life.shipments if s.at <= now)
    life.touched = tuple(m for m in life.touched if m <= now)


@contextmanager
def open_day(
    environment: Environment, *, orders: int, seed: int, step: timedelta = STEP
) -> Iterator[Day]:
    """A day about to begin, served for the length of the block; nobody is woken by a queue."""
    with (
        mock.patch("workflows.patrol.services.enqueue", return_value=False),
        mock.patch("workflows.patrol.sources.enqueue", return_value=False),
        open_outside(environment, at=START) as outside,
    ):
        yield Day(outside, orders=orders, seed=seed, step=step)
