"""From a push to its score, as it is lived: web server, Redis, workers and beat of `up`, a pace.

Every stage is read from what the product itself wrote down; only the last, when the score is there
to be seen by others, is watched from outside, every few milliseconds.

    sent -answer-> | arrived -queue-> its batch begins -call-> read -take-> stored -score-> seen
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from socket import create_server

from django.conf import settings
from django.db import connection
from django.db.models import Min
from django.utils import timezone

from config.tenancy.models import Environment
from config.tenancy.scope import for_environment
from connectors.orders.models import Order
from connectors.shops.models import Connection
from connectors.simulators.core import Clock
from connectors.sync.models import CallOrder, InboundMessage
from frontend.supervisor import DataFolder, Limits, Product, Supervisor
from frontend.supervisor.children import RedisMissing, find_redis_server
from frontend.supervisor.processes import find_marked
from rules_engine import presets
from rules_engine.scoring.models import Score, ScoreChange
from tests.bench.bench_receive import make_environment
from tests.bench.elsewhere import Elsewhere, Letter, open_elsewhere
from tests.connectors.sync.outside import VENDORS
from workflows.patrol.queue import enqueue

ROOT = Path(__file__).resolve().parents[2]
# Pushes a second (None: as fast as they are answered) and how many of them.
PACES: Sequence[tuple[float | None, int]] = ((5, 200), (20, 300), (None, 400))
_WARM_UP, _LOOK_EVERY, _PATIENCE = 20, 0.01, 120.0


@dataclass(frozen=True)
class Times:
    """The stages of one push, in seconds."""

    answer: float
    queue: float
    call: float
    take: float
    score: float

    @property
    def total(self) -> float:
        """From the arrival to the score."""
        return self.queue + self.call + self.take + self.score


def measure_pushes() -> None:
    """Start everything, push, print; says so when there is no Redis to do it with."""
    try:
        find_redis_server()
    except RedisMissing:
        print("push to score: not measured, there is no redis-server")  # noqa: T201
        return
    environment = make_environment()
    with open_elsewhere(environment, clock=Clock()) as outside, _running() as (up, product):
        with for_environment(environment):
            presets.install("promo", timezone.now())
        for app in ("douyin", "mall"):
            receiver = outside.connect(app, every_minutes=60)
            _read_first(environment, receiver, up)
            url = f"{product.address}in/{environment.public_id}/{receiver.public_id}/"
            _push(outside, app, url, None, _WARM_UP, up)
            for pace, count in PACES:
                _say(app, pace, _push(outside, app, url, pace, count, up))
        for role in ("web", "bulk", "urgent"):
            print(f"memory of {role} at its highest: {_read_peaks(up, product, role)}")  # noqa: T201


# -- the running product ---------------------------------------------------------------------------


@contextmanager
def _running() -> Iterator[tuple[Supervisor, Product]]:
    """Web, Redis, workers and beat as `manage.py up` starts them, on the database of the bench."""
    with create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    folder = DataFolder(settings.DATA_DIR)
    folder.prepare(demo=False)
    product = Product(folder, port=port)
    supervisor = Supervisor(
        folder,
        say=lambda sentence: None,
        cwd=ROOT,
        is_redis_ready=product.is_redis_ready,
        limits=Limits(),
    )
    redis = product.redis()
    try:
        if redis is not None:
            supervisor.start(redis)
        _wait(supervisor, product.is_redis_ready, "Redis")
        for child in (product.web(), *product.workers(), product.beat()):
            supervisor.start(child)
        _wait(supervisor, product.is_web_ready, "the web server")
        yield supervisor, product
    finally:
        supervisor.stop_all()


def _wait(supervisor: Supervisor, is_done: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + _PATIENCE
    while not is_done():
        if time.monotonic() > until:
            raise TimeoutError(what)
        supervisor.watch_once()
        time.sleep(0.1)


def _read_first(environment: Environment, receiver: Connection, up: Supervisor) -> None:
    """The first read of an empty list, so that no list is due while pushes are timed."""
    enqueue("patrol.pull_now", environment.pk, receiver.pk, queue="sync")

    def is_read() -> bool:
        with for_environment(environment, write=False):
            return Connection.objects.filter(
                pk=receiver.pk, source__complete_until__isnull=False
            ).exists()

    _wait(up, is_read, "the first read")


# -- pushing ---------------------------------------------------------------------------------------


def _push(
    outside: Elsewhere, app: str, url: str, pace: float | None, count: int, up: Supervisor
) -> list[Times]:
    """Push new orders at a pace and watch until each has its score."""
    environment = outside.environment
    outside.ask("write", app, count, url, f"{app} {pace}")
    with for_environment(environment, write=False):
        last = Score.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
    outside.tell("send", pace)
    seen: dict[str, float] = {}
    letters: list[Letter] = []
    until = time.monotonic() + _PATIENCE + (count / pace if pace else 0)
    watched = 0.0
    while len(seen) < count:
        if time.monotonic() > until:
            raise TimeoutError(f"{count - len(seen)} of {count} pushes have no score")
        with for_environment(environment, write=False):
            found = list(
                Score.objects.filter(pk__gt=last)
                .order_by("pk")
                .values_list("pk", "order__order_no")
            )
        now = time.time()
        for pk, number in found:
            last, seen[number] = pk, now
        if now - watched > 1:
            up.watch_once()
            watched = now
        time.sleep(_LOOK_EVERY)
    letters = outside.pipe.recv()
    refused = [letter for letter in letters if letter.status != 200]
    assert not refused, refused[0]  # noqa: S101 - a refused push has no score
    return _read_times(environment, letters, seen)


def _read_times(
    environment: Environment, letters: Sequence[Letter], seen: dict[str, float]
) -> list[Times]:
    numbers = [letter.order_no for letter in letters]
    with for_environment(environment, write=False):
        arrived = dict(
            InboundMessage.objects.filter(order_no__in=numbers).values_list(
                "order_no", "received_at"
            )
        )
        called = dict(
            CallOrder.objects.filter(order_no__in=numbers)
            .values("order_no")
            .annotate(first=Min("call__at"))
            .values_list("order_no", "first")
        )
        taken = dict(
            Order.objects.filter(order_no__in=numbers).values_list("order_no", "first_received_at")
        )
        scored = dict(
            ScoreChange.objects.filter(order__order_no__in=numbers)
            .values("order__order_no")
            .annotate(first=Min("at"))
            .values_list("order__order_no", "first")
        )
    return [
        _split(letter, arrived[n], called.get(n) or taken[n], taken[n], scored[n], seen[n])
        for letter in letters
        for n in [letter.order_no]
    ]


def _split(
    letter: Letter,
    arrived: datetime,
    begun: datetime,
    taken: datetime,
    scored: datetime,
    seen: float,
) -> Times:
    return Times(
        answer=letter.answered_at - letter.sent_at,
        queue=(begun - arrived).total_seconds(),
        call=(taken - begun).total_seconds(),
        take=(scored - taken).total_seconds(),
        score=seen - scored.timestamp(),
    )


# -- saying ----------------------------------------------------------------------------------------


def _say(app: str, pace: float | None, times: Sequence[Times]) -> None:
    total = _percentiles([t.total for t in times])
    stages = ", ".join(
        f"{name} {_milliseconds(statistics.median(values))}/{_milliseconds(_percentiles(values)[1])}"
        for name in ("answer", "queue", "call", "take", "score")
        for values in [[getattr(t, name) for t in times]]
    )
    words = f"{pace:g}/s" if pace else "as fast as answered"
    print(  # noqa: T201 - a benchmark prints
        f"push to score, {VENDORS[app][0]:<12} {words:<20} {len(times)} pushes: "
        f"p50 {total[0]:.2f} s, p95 {total[1]:.2f} s, p99 {total[2]:.2f} s on {connection.vendor} "
        f"(web, Redis, workers, beat, platforms on this machine)\n"
        f"{'':<15}stages p50/p95 ms: {stages}"
    )


def _percentiles(values: Sequence[float]) -> tuple[float, float, float]:
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return cuts[49], cuts[94], cuts[98]


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f}"


def _read_peaks(up: Supervisor, product: Product, role: str) -> str:
    """VmHWM of each process of a child, the highest first."""
    leader = up.pid_of(role)
    peaks = []
    for process in find_marked(str(product.folder.root)):
        folder = Path(f"/proc/{process.pid}")
        try:
            if int(folder.joinpath("stat").read_text().rpartition(")")[2].split()[2]) != leader:
                continue
            for line in folder.joinpath("status").read_text().splitlines():
                if line.startswith("VmHWM"):
                    peaks.append(int(line.split()[1]) // 1024)
        except OSError:
            continue  # it ended meanwhile
    return ", ".join(f"{peak} MB" for peak in sorted(peaks, reverse=True))
