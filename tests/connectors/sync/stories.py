"""Seeded stories of one shop and everything that may happen to its orders on their way to us.

A story moves the clock in random steps. At each it pulls, fetches messages, works off pushes, lets
a worker die in the middle of a call, has a page mutate, stumble, or be cut, a push be dropped,
delayed, doubled or sent again by somebody who kept it. Half of the stories are silent: no push
arrives and no message is fetched, so that only the lists can bring what changed, and they are read
after longer pauses. In the end the faults are over and time passes until the platform has shown
everything; then what is stored has to be the platform's truth.

The truth is read from the lives, never through product code.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import transaction

from config.tenancy.models import Environment
from config.tenancy.scope import for_environment
from connectors.adapters import Connector, RateLimit
from connectors.channels.registry import CHANNELS
from connectors.orders.models import Order, StatusEvent
from connectors.orders.statuses import Stage
from connectors.shops.models import Connection
from connectors.simulators.life import Life, LifeLine, LifeShipment
from connectors.sync.leases import LEASE
from connectors.sync.limits import Limiter
from connectors.sync.models import Cursor, InboundMessage
from connectors.sync.pushes import work_messages
from connectors.sync.queues import consume
from connectors.sync.reading import pull
from tests.connectors.sync.outside import VENDORS, Outside, open_outside

APPS = ("tmall", "douyin", "mall")

PAGE = 3
SPAN = timedelta(minutes=45)
SILENT_SPAN = timedelta(minutes=80)
PAUSES = (60, 600)  # seconds between two steps
SILENT_PAUSES = (850, 1800)
BURSTS = (-3, 10, 24)  # minutes around which orders are placed
LONGEST_LAG = timedelta(minutes=6)


class WorkerDied(BaseException):
    """The worker is gone between two lines: nothing of ours may catch it."""


@dataclass
class DyingLimiter(Limiter):
    """A limiter that ends the worker at its n-th call; 0: never."""

    dies_at: int = 0

    def take(self, key: str, limit: RateLimit) -> float:
        """As the real one, until its time has come."""
        if self.dies_at:
            self.dies_at -= 1
            if not self.dies_at:
                raise WorkerDied
        return super().take(key, limit)


def shrink_pages(monkeypatch: pytest.MonkeyPatch, size: int = PAGE) -> dict[str, Connector]:
    """Pages of three orders, so that a dozen orders need paging; returns the connectors."""
    from connectors.channels.douyin import client as douyin
    from connectors.channels.private_mall import client as mall
    from connectors.channels.tmall import client as tmall

    monkeypatch.setattr(
        tmall, "LISTS", {k: replace(v, page_size=size) for k, v in tmall.LISTS.items()}
    )
    monkeypatch.setattr(douyin, "PAGE_SIZE", size)
    monkeypatch.setattr(mall, "MODIFIED", replace(mall.MODIFIED, page_size=size))
    small = {
        code: replace(
            connector,
            streams={k: replace(v, page_size=size) for k, v in connector.streams.items()},
            retry_pauses=(1.0, 2.0, 3.0),
        )
        for code, connector in CHANNELS.items()
    }
    monkeypatch.setattr("connectors.sync.registry.CHANNELS", small)
    return small


def make_lives(
    outside: Outside, rng: random.Random, app: str, count: int, bursts: Sequence[float]
) -> list[Life]:
    """Orders placed around the minutes of `bursts`, so that a window has several pages."""
    vendor, _ = VENDORS[app]
    start = outside.now()
    return [_make_life(outside, rng, vendor, start, number, bursts) for number in range(count)]


def _make_life(
    outside: Outside,
    rng: random.Random,
    vendor: str,
    start: datetime,
    number: int,
    bursts: Sequence[float],
) -> Life:
    def at(low: float, high: float) -> datetime:
        return start + timedelta(seconds=rng.randint(int(low * 60), int(high * 60)))

    first = {"tmall": 2_890, "douyin": 6_919, "private_mall": 1_000}[vendor]
    burst = rng.choice(bursts)
    placed = at(burst - 1, burst + 2)
    minutes = (placed - start).total_seconds() / 60
    life = Life(
        order_no=f"{first}{rng.randrange(10**10, 10**11)}{number:03d}",
        channel=vendor,
        shop=outside.shops[vendor],
        placed=placed,
        lines=[
            LifeLine(f"SKU{n}", "羊绒围巾", rng.randint(1, 3), 100 * rng.randint(50, 900))
            for n in range(rng.randint(1, 2))
        ],
        buyer=f"b{number}",
        receiver="王女士",
        phone="13800001234",
        province="浙江省",
        city="杭州市",
        district="西湖区",
        detail="文三路1号",
        lag=timedelta(seconds=rng.choice([0, 0, 0, 120, LONGEST_LAG.total_seconds()])),
        gateway="alipay" if vendor == "private_mall" else "",
    )
    fate = rng.random()
    if fate < 0.15:
        life.closed = at(minutes + 1, minutes + 20)
    elif fate < 0.9:
        life.paid = at(minutes + 0.2, minutes + 4)
        if vendor == "private_mall":
            life.gateway_paid = life.paid
        if fate < 0.5:
            life.shipped = at(minutes + 9, minutes + 25)
            life.shipments = (LifeShipment(life.shipped, "SF", f"SF{number:06d}"),)
    life.touched = tuple(at(minutes + 1, minutes + 30) for _ in range(rng.choice([0, 0, 0, 1, 2])))
    return life


def true_stage(life: Life, now: datetime) -> str:
    """The stage an order has come to, from its moments alone."""
    if life.closed is not None and life.closed <= now:
        return Stage.CLOSED_UNPAID
    if life.shipped is not None and life.shipped <= now:
        return Stage.SHIPPED
    if life.paid is not None and life.paid <= now:
        return Stage.AWAIT_SHIP
    return Stage.AWAIT_PAY


class Theatre:
    """One host and one connection of each app, for many stories one after the other."""

    def __init__(self, first: Outside) -> None:
        self.environment, self.host, self.address = first.environment, first.host, first.address
        self.at = first.now()
        self.connections = {app: first.connect(app) for app in APPS}
        with for_environment(self.environment):
            # The shops are known up to now: a story needs no first day.
            Cursor.objects.bulk_create(
                Cursor(
                    connection=connection,
                    stream="modified",
                    done_until=self.at - timedelta(minutes=10),
                )
                for connection in self.connections.values()
            )

    def tell(self, app: str, seed: int) -> list[str]:
        """Run one seed's story and forget it; returns what went wrong."""
        outside = Outside(self.environment, at=self.at, host=self.host)
        outside.address = self.address
        rng = random.Random(f"{app}:{seed}")  # noqa: S311 - a story, no secret
        try:
            with transaction.atomic():
                story = Story(outside, app, rng, self.connections[app])
                story.run()
                story.settle()
                wrongs = story.list_wrongs()
                raise _Over
        except _Over:
            return wrongs


class _Over(Exception):
    """Nothing of the story is kept."""


@contextmanager
def open_theatre(environment: Environment, *, at: datetime) -> Iterator[Theatre]:
    """A theatre for the length of the block."""
    with open_outside(environment, at=at) as first:
        yield Theatre(first)


@dataclass
class Story:
    """One seed's story over one app."""

    outside: Outside
    app: str
    rng: random.Random
    connection: Connection
    limiter: DyingLimiter = field(default_factory=DyingLimiter)
    kept: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    is_silent: bool = False
    deaths: int = 0

    def __post_init__(self) -> None:
        self.outside.limiter = self.limiter
        self.is_silent = self.rng.random() < 0.5
        bursts = [self.rng.uniform(-4, 45) for _ in range(2)] if self.is_silent else BURSTS
        count = self.rng.randint(6, 9)
        self.lives = make_lives(self.outside, self.rng, self.app, count, bursts)
        self.outside.add(*self.lives)
        self.outside.listen(self.app, self.connection)
        self._keep_silent()
        plain = self.outside.outbox.transport

        def keep(url: str, headers: Any, body: bytes) -> tuple[int, bytes]:
            self.kept.append((url, dict(headers), body))
            return plain(url, headers, body)

        self.outside.outbox.transport = keep

    def _keep_silent(self) -> None:
        """No push of a silent story ever leaves."""
        if self.is_silent:
            self.outside.faults.switch(self.app, "*", "drop_callback")

    # -- what may happen -------------------------------------------------------------------------

    def run(self) -> None:
        """The story, until the span is over."""
        end = self.outside.now() + (SILENT_SPAN if self.is_silent else SPAN)
        pauses = SILENT_PAUSES if self.is_silent else PAUSES
        heard = 0 if self.is_silent else 1
        steps: list[tuple[int, Callable[[], None]]] = [
            (30, self.pull),
            (12 * heard, self.work),
            (8 * heard, self.fetch),
            (6 * heard, self.replay),
            (10, self.stumble),
            (12 + 12 * (1 - heard), self.die),
            (16 * (1 - heard), self.shift),
        ]
        weights = [weight for weight, _ in steps]
        while self.outside.now() < end:
            self.outside.pass_time(seconds=self.rng.randint(*pauses))
            self.rng.choices([step for _, step in steps], weights)[0]()

    def pull(self) -> None:
        """Read the list now, whatever the schedule says."""
        self._alive(lambda: pull(self.outside.environment, self.connection.pk, is_forced=True,
                                 **self.outside.tools))  # fmt: skip

    def work(self) -> None:
        """Work off what was pushed or fetched."""
        self._alive(
            lambda: work_messages(
                self.outside.environment, self.connection.pk, **self.outside.tools
            )
        )

    def fetch(self) -> None:
        """Fetch messages that wait at the platform."""
        if self.app == "tmall" and not self.is_silent:
            self._alive(
                lambda: consume(self.outside.environment, self.connection.pk, **self.outside.tools)
            )

    def stumble(self) -> None:
        """Something goes wrong at the platform, during this step and maybe the next."""
        kind = self.rng.choice(
            ["mutate_between_pages", "mutate_between_pages", "mutate_between_pages",
             "half_page", "repeated_page",
             "http_500", "refuse_connection", "garbage", "throttle",
             "drop_callback", "duplicate_callback", "delay_callback"]
        )  # fmt: skip
        seconds = 240.0 if kind == "delay_callback" else 0.0
        self.outside.faults.switch(
            self.app, "*", kind, times=self.rng.choice([1, 2, 3, 9]), seconds=seconds
        )
        self.pull()

    def shift(self) -> None:
        """Orders are changed while the pages of a list are being read, and leave its window."""
        self.outside.faults.switch(self.app, "*", "mutate_between_pages", times=2)
        self.pull()

    def replay(self) -> None:
        """Somebody sends what he kept once more, byte for byte."""
        if self.kept:
            url, headers, body = self.rng.choice(self.kept)
            self.outside._push(url, headers, body)
            self.work()

    def die(self) -> None:
        """A worker is gone in the middle of a pull or of its messages."""
        self.limiter.dies_at = self.rng.randint(2, 8 if self.is_silent else 12)
        self.rng.choice([self.pull] if self.is_silent else [self.pull, self.work, self.fetch])()
        self.limiter.dies_at = 0

    def _alive(self, do: Callable[[], Any]) -> None:
        try:
            do()
        except WorkerDied:
            self.deaths += 1
            self.limiter.dies_at = 0
            self.outside.pass_time(seconds=LEASE.total_seconds() + 1)  # its lease runs out

    # -- and in the end --------------------------------------------------------------------------

    def settle(self) -> None:
        """The faults are over, and time passes until the platform has shown everything."""
        self.outside.faults.clear()
        self._keep_silent()
        for _ in range(2):
            self.outside.pass_time(minutes=15)
            self.fetch()
            self.work()
            self.pull()
        self.work()

    def list_wrongs(self) -> list[str]:
        """What is stored otherwise than it is, in words; empty: the story ended well."""
        now, wrongs = self.outside.now(), []
        with for_environment(self.outside.environment, write=False):
            stored = {order.order_no: order for order in Order.objects.all()}
            events: dict[int, list[str]] = {}
            for order_id, stage in StatusEvent.objects.order_by("sequence").values_list(
                "order_id", "stage"
            ):
                events.setdefault(order_id, []).append(stage)
            messages = list(
                InboundMessage.objects.values_list("replay_key", "state", "order_no", "topic")
            )
        count = len(list(stored))
        if count != len(self.lives):
            wrongs.append(f"{count} orders of {len(self.lives)}")
        for life in self.lives:
            order = stored.get(life.order_no)
            if order is None:
                wrongs.append(f"{life.order_no} is lost")
                continue
            if order.stage != true_stage(life, now):
                wrongs.append(f"{life.order_no} is {order.stage}, not {true_stage(life, now)}")
            if order.source_updated_at != life.modified_at(now).replace(microsecond=0):
                wrongs.append(f"{life.order_no} is as of {order.source_updated_at}")
            path = events.get(order.pk, [])
            if not path or path[-1] != order.stage or len(set(path)) != len(path):
                wrongs.append(f"{life.order_no} went {path}")
        if self.app != "tmall" and len(messages) != self.count_told():
            wrongs.append(f"{len(messages)} messages of {self.count_told()}")
        if any(state == InboundMessage.State.WAITING for _, state, *_ in messages):
            wrongs.append("a message still waits")
        return wrongs

    def count_told(self) -> int:
        """How many different messages were pushed to us, by the sender's own numbers."""
        return len({_message_number(self.app, headers, body) for _, headers, body in self.kept})


def _message_number(app: str, headers: dict[str, str], body: bytes) -> str:
    if app == "mall":
        return {k.lower(): v for k, v in headers.items()}["webhook-id"]
    return str(json.loads(body)[0]["msg_id"])
