"""The pages at 100,000 open orders of one day, 7 % of them stuck: times of the whole view.

Of every hundred orders seven are in trouble, as on a promo day: four the OMS does not know, three
the WMS does not know; of every five hundred one has a status nobody has mapped. All of them are due
within two days, and all came in within the last one: no page has more to count in life.

Beside the times by the clock stands the processor's, of the cheapest request: on a machine that has
other things to do that is the figure to compare (a database server's own is not in it).
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.db import connection
from django.db.models import F
from django.test import Client
from django.utils import timezone

from config.tenancy.database_roles import as_owner
from config.tenancy.models import Environment, Membership, User
from config.tenancy.scope import for_environment, for_tenant
from config.tenancy.statistics import refresh_statistics
from connectors.orders.canonical import CanonicalOrder, CanonicalReceipt
from connectors.orders.models import Order
from connectors.orders.services import MAX_BATCH, receive
from connectors.shops.connections import create_connection
from connectors.shops.models import Shop
from connectors.shops.services import get_or_create_source, record_freshness
from rules_engine.presets import install
from rules_engine.scoring.models import ScoreChange
from rules_engine.scoring.services import list_due_order_ids, score_orders
from tests.bench.bench_receive import make_environment, make_record
from workflows.causes import classify
from workflows.reconciliation import measure_gap, open_gap, read_gap
from workflows.rollup.services import take_snapshot

ORDERS, ROUNDS, GOAL_MS = 100_000, 40, 150
PAGES = (
    "/",
    "/orders/",
    "/orders/?needs=1",
    "/orders/?band=red",
    "/orders/?q=1234",
    "/gaps/",
    "/gaps/?within=0",
    "/gaps/?from=paid&to=oms",
    "/gaps/?from=oms&to=wms",
    "/gaps/?from=oms&to=wms&state=left",
    "/gaps/?state=left",
    "/gaps/?state=arrived",
    "/deadlines/",
    "/deadlines/?left=h48",
    "/deadlines/?left=silent",
    "/unmapped/",
    "/connections/",
)


def _receipt(order_no: str, placed_at: datetime) -> CanonicalReceipt:
    """A system got the order eight minutes after it was placed and looked at it two later."""
    return CanonicalReceipt(
        order_no=order_no,
        received_at=placed_at + timedelta(minutes=8),
        reviewed_at=placed_at + timedelta(minutes=10),
    )


def _make_order(number: int, now: datetime) -> CanonicalOrder:
    order = make_record(number, now=now - timedelta(seconds=number % 1800))
    if number % 500:
        return order
    return replace(order, raw_status=f"等待直播间确认{number % 3}", stage="unknown")


def fill(environment: Environment) -> None:
    """100,000 open orders, received and scored, with a board and a connection."""
    now = timezone.now()
    with for_environment(environment):
        install("promo", now)
        sources = {
            kind: get_or_create_source(kind=kind, name=kind) for kind in ("channel", "oms", "wms")
        }
        for source in sources.values():
            record_freshness(source, complete_until=now, now=now)
    for start in range(0, ORDERS, MAX_BATCH):
        records = [_make_order(n, now) for n in range(start, start + MAX_BATCH)]
        for kind, missing in (("oms", 4), ("wms", 7)):
            told = [r for i, r in enumerate(records) if i % 100 >= missing]
            receipts = [_receipt(r.order_no, r.placed_at or now) for r in told]
            with for_environment(environment):
                receive(receipts, source=sources[kind], now=now, is_history=True)
        with for_environment(environment):
            receive(records, source=sources["channel"], now=now, is_history=True)
    while True:
        with for_environment(environment):
            ids = list_due_order_ids(limit=2000, only_changed=True)
            if not ids:
                break
            score_orders(ids, now=now, why=ScoreChange.Why.RECEIVED, classify=classify)
    with for_environment(environment):
        make_connected(now)
        take_snapshot(timezone.now())
    refresh_statistics()
    if (
        connection.vendor == "postgresql"
    ):  # autovacuum's work, which here nobody has time to wait for
        with as_owner(), connection.cursor() as cursor:
            cursor.execute("VACUUM (ANALYZE)")
    connection.close()


def make_connected(now: datetime) -> None:
    """The orders came live through a connection, each soon after it was placed, in the scope in force."""
    create_connection(
        vendor="tmall", kind="channel", name="天猫来源", shop=Shop.objects.get(),
        base_url="https://eco.taobao.com", config={}, secrets={}, actor=None, now=now,
    )  # fmt: skip
    Order.objects.update(is_history=False)
    for second in range(7):  # some within the five minutes, some not
        Order.objects.alias(way=F("pk") % 7).filter(way=second).update(
            first_scored_at=F("placed_at") + timedelta(seconds=20 + 50 * second)
        )


def run() -> None:
    """Fill an environment, then time the pages as a signed-in supervisor gets them."""
    environment = make_environment()
    started = time.perf_counter()
    fill(environment)
    print(f"{ORDERS:,} orders received and scored in {time.perf_counter() - started:.0f} s")  # noqa: T201
    time_pages(environment)


def time_pages(environment: Environment) -> None:
    """The timings, in an environment that is filled."""
    user = User.objects.create_user(f"bench{time.time()}", tenant=environment.tenant)
    with for_tenant(environment.tenant):
        Membership.objects.create(user=user, division=environment.division, role="supervisor")
    client = Client(HTTP_HOST="127.0.0.1")
    client.force_login(user)

    def ask() -> None:
        with for_environment(environment, write=False):
            gap = open_gap("paid", "wms", at=timezone.now(), is_now=True)
            measure_gap(gap, read_gap(gap))

    _time("a gap's question alone", ask)
    for address in PAGES:
        _time(f"GET {address}", partial(_get, client, address))


def _time(name: str, work: Callable[[], Any]) -> None:
    work()
    times, costs = [], []
    for _ in range(ROUNDS):
        begun, spent = time.perf_counter(), time.process_time()
        work()
        times.append((time.perf_counter() - begun) * 1000)
        costs.append((time.process_time() - spent) * 1000)
    p95 = statistics.quantiles(times, n=20)[18]
    print(  # noqa: T201 - a benchmark prints
        f"{name:<34} p50 {statistics.median(times):6.1f} ms  p95 {p95:6.1f} ms  "
        f"least {min(times):6.1f} ms, of it processor {min(costs):6.1f} ms "
        f"on {connection.vendor} (goal p95 {GOAL_MS} ms)"
    )


def _get(client: Client, address: str) -> None:
    answer = client.get(address)
    # A search that finds one order alone leads straight to it.
    assert answer.status_code in {200, 302}, answer.status_code  # noqa: S101 - a failure is not fast
