"""The gap page at 100,000 open orders, 7 % of them missing: the question alone and the whole view."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

from django.db import connection
from django.test import Client
from django.utils import timezone

from config.tenancy.models import Membership, User
from config.tenancy.scope import for_environment, for_tenant
from tests.bench.bench_pages import GOAL_MS, ORDERS, fill
from tests.bench.bench_receive import make_environment
from workflows.reconciliation import measure_gap, open_gap, read_gap

ROUNDS = 30
_ADDRESSES = (
    "/gaps/",
    "/gaps/?within=0",
    "/gaps/?from=paid&to=oms",
    "/gaps/?from=oms&to=wms",
    "/gaps/?state=left",
    "/gaps/?state=arrived",
)


def _time(name: str, work: Callable[[], Any]) -> None:
    work()
    times = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        work()
        times.append((time.perf_counter() - begun) * 1000)
    p95 = statistics.quantiles(times, n=20)[18]
    print(  # noqa: T201 - a benchmark prints
        f"{name:<32} p50 {statistics.median(times):6.1f} ms  p95 {p95:6.1f} ms "
        f"on {connection.vendor} (goal p95 {GOAL_MS} ms)"
    )


def run() -> None:
    """Fill an environment, then time the question and the pages as a supervisor gets them."""
    environment = make_environment()
    started = time.perf_counter()
    fill(environment)
    print(f"{ORDERS:,} orders received and scored in {time.perf_counter() - started:.0f} s")  # noqa: T201
    time_gaps(environment)


def time_gaps(environment: Any) -> None:
    """The timings, on an environment that is filled."""
    user = User.objects.create_user(f"bench{time.time()}", tenant=environment.tenant)
    with for_tenant(environment.tenant):
        Membership.objects.create(user=user, division=environment.division, role="supervisor")
    client = Client(HTTP_HOST="127.0.0.1")
    client.force_login(user)

    def ask() -> None:
        with for_environment(environment, write=False):
            gap = open_gap("paid", "wms", at=timezone.now())
            measure_gap(gap, read_gap(gap))

    _time("the question alone", ask)
    for address in _ADDRESSES:
        _time(f"GET {address}", lambda address=address: _get(client, address))


def _get(client: Client, address: str) -> None:
    answer = client.get(address)
    assert answer.status_code == 200, answer.status_code  # noqa: S101 - a page that fails is not fast
