"""Orders from the platforms: what one worker takes in, and how soon a push has its score.

Two parts. One worker reads a day's orders of each channel over HTTP from simulated platforms in
another process (so the processor time of each is known), maps, receives and scores them; beside it
in the same run stand a bare read of the same calls and a bare `receive()` of the same records. Then
pushes come in at a pace through the real address, with the real web server, Redis, workers and beat.
"""

from __future__ import annotations

import http.client
import json
import os
import resource
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar
from unittest import mock
from urllib.parse import urlsplit

from django.db import connection

from config.tenancy.scope import for_environment
from connectors import http as our_http
from connectors.orders.canonical import CanonicalRecord
from connectors.orders.services import MAX_BATCH, receive
from connectors.shops.models import Connection, Source
from connectors.simulators.life import Life
from connectors.simulators.scenario import make_day
from connectors.sync import taking
from connectors.sync.reading import pull
from rules_engine import presets
from tests.bench.bench_receive import make_environment
from tests.bench.elsewhere import Elsewhere, SharedClock, open_elsewhere
from tests.bench.pushed import measure_pushes
from tests.connectors.sync.outside import VENDORS
from workflows.patrol.services import score_due

NOW = datetime.fromisoformat("2025-11-12T00:00:00+08:00")
ORDERS, ROUNDS, SEED = 3000, 2, 11
_CHANNELS = ("tmall", "douyin", "mall")
Result = TypeVar("Result")
_CALL_EVERY = timedelta(milliseconds=5)  # of the bare reader: the platforms count calls a second


@dataclass
class Spent:
    """Seconds of one piece of work, by whom: by the clock, and of each one's processor."""

    wall: float = 0.0
    product: float = 0.0
    simulators: float = 0.0
    database: float = 0.0  # the server process behind our connection; SQLite is in the product's

    def __add__(self, other: Spent) -> Spent:
        return Spent(
            self.wall + other.wall,
            self.product + other.product,
            self.simulators + other.simulators,
            self.database + other.database,
        )


def run() -> None:
    """Print both parts."""
    before = _read_peak_mb()
    environment = make_environment()
    clock = SharedClock(NOW)
    with open_elsewhere(environment, clock=clock, make_lives=_make_lives) as outside:
        for app in _CHANNELS:
            _measure_channel(outside, app)
    print(  # noqa: T201 - a benchmark prints
        f"memory of the worker's process at its highest: {_read_peak_mb():.0f} MB "
        f"({before:.0f} MB before it began)"
    )
    measure_pushes()


def _make_lives(shops: Mapping[str, str]) -> list[Life]:
    return make_day(seed=SEED, started_at=NOW - timedelta(days=1), orders=ORDERS, shops=shops)


# -- one worker ------------------------------------------------------------------------------------


def _measure_channel(outside: Elsewhere, app: str) -> None:
    """Read all of a channel's orders into fresh environments; print the cheapest of the rounds."""
    calls: list[our_http.Request] = []
    records: list[CanonicalRecord] = []
    with _overhearing(calls, records):
        _read_all(outside, app)  # warms up as well
    rounds = [_read_all(outside, app) for _ in range(ROUNDS)]
    read, scored, count = min(rounds, key=lambda r: r[0].product + r[1].product)
    both = read + scored
    bare_read, _ = _spend(outside, lambda: _replay(outside, calls))
    bare_receive = min((_receive_bare(outside, app, records) for _ in range(2)),
                       key=lambda spent: spent.product)  # fmt: skip
    peers = bare_read.product + bare_receive.product
    vendor = connection.vendor
    database = f" + database {both.database:.1f} s" if both.database else ""
    print(  # noqa: T201 - a benchmark prints
        f"{VENDORS[app][0]:<12} {count:,} orders in {len(calls):,} calls: wall {both.wall:.1f} s, "
        f"product CPU {both.product:.1f} s{database}, simulators' CPU {both.simulators:.1f} s "
        f"-> {count / both.product:,.0f} orders/s by product CPU, {count / both.wall:,.0f} by wall "
        f"on {vendor}\n"
        f"{'':<12} of it pull + receive {read.product:.1f} s, score {scored.product:.1f} s; "
        f"peers: bare HTTP + json of the same calls {bare_read.product:.1f} s, bare receive() of "
        f"the same {len(records):,} records {bare_receive.product:.1f} s; "
        f"ours is {both.product / peers:.2f}x of both"
    )


def _read_all(outside: Elsewhere, app: str) -> tuple[Spent, Spent, int]:
    """What the worker's job does, until nothing is left: reading, then scoring; and how many."""
    outside.environment = environment = make_environment()
    connection_id = outside.connect(app).pk
    with for_environment(environment):
        presets.install("promo", outside.now())
    read, scored, count = Spent(), Spent(), 0
    is_caught_up = False
    while not is_caught_up:
        spent, pulled = _spend(
            outside,
            lambda: pull(environment, connection_id, is_forced=True, **outside.tools),
        )
        if pulled is None or pulled.error is not None:
            raise RuntimeError(f"the list of {app} was not read: {pulled}")
        read += spent
        count += pulled.taken.received.new
        is_caught_up = pulled.is_caught_up
        spent, _ = _spend(
            outside, lambda: score_due(environment, now=outside.now(), clock=outside.now)
        )
        scored += spent
    with for_environment(environment):
        Connection.objects.update(is_active=False)  # nobody is to look for it afterwards
    return read, scored, count


@contextmanager
def _overhearing(calls: list[our_http.Request], records: list[CanonicalRecord]) -> Iterator[None]:
    """Note what is called and what is received, for the peers."""
    send, take = our_http.send, taking.receive

    def note_call(request: our_http.Request, **more: Any) -> our_http.Response:
        calls.append(request)
        return send(request, **more)

    def note_records(batch: list[CanonicalRecord], **more: Any) -> Any:
        records.extend(batch)
        return take(batch, **more)

    with (
        mock.patch.object(our_http, "send", note_call),
        mock.patch.object(taking, "receive", note_records),
    ):
        yield


def _replay(outside: Elsewhere, calls: list[our_http.Request]) -> None:
    """The same calls by the plainest client there is: one kept connection, and json."""
    parts = urlsplit(outside.address)
    line = http.client.HTTPConnection(str(parts.hostname), parts.port or 80)
    for call in calls:
        target = urlsplit(call.url)
        outside.clock.advance(_CALL_EVERY)
        path = f"{target.path}?{target.query}" if target.query else target.path
        line.request(call.method, path, body=call.body, headers=dict(call.headers))
        answer = line.getresponse()
        json.loads(answer.read())
        assert answer.status == 200, answer.status  # noqa: S101 - a refused call is not a read one
    line.close()


def _receive_bare(outside: Elsewhere, app: str, records: list[CanonicalRecord]) -> Spent:
    """The same records into a fresh environment, nothing else."""
    outside.environment = environment = make_environment()
    pk = outside.connect(app).pk
    with for_environment(environment, write=False):
        source = Source.objects.get(pk=Connection.objects.get(pk=pk).source_id)

    def take() -> None:
        for start in range(0, len(records), MAX_BATCH):
            with for_environment(environment):
                receive(records[start : start + MAX_BATCH], source=source, now=outside.now())

    spent, _ = _spend(outside, take)
    with for_environment(environment):
        Connection.objects.update(is_active=False)
    return spent


def _spend(outside: Elsewhere, work: Callable[[], Result]) -> tuple[Spent, Result]:
    """What a piece of work costs, and its result; nobody is woken by a queue."""
    simulators, database = outside.ask("spent"), _read_database_seconds()
    product, wall = time.process_time(), time.perf_counter()
    with mock.patch("workflows.patrol.services.enqueue", return_value=False):
        result = work()
    wall, product = time.perf_counter() - wall, time.process_time() - product
    simulators = outside.ask("spent") - simulators
    return Spent(wall, product, simulators, _read_database_seconds() - database), result


def _read_database_seconds() -> float:
    """Processor seconds of the server process of our connection; 0 for SQLite."""
    if connection.vendor != "postgresql":
        return 0.0
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        [pid] = cursor.fetchone()
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _read_peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
