"""Scoring through the worker path against bare row-plan evaluation of the same orders.

Worker path: `score_orders` as the tick calls it (facts from snapshots, verdicts, totals, causes,
silence, compare-and-set). Bare: only the ten formulas of the promo model over values in memory.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db import connection

from config.tenancy.models import Division, Environment, Tenant
from config.tenancy.scope import for_environment
from connectors.orders.canonical import CanonicalLine, CanonicalOrder, CanonicalReceipt
from connectors.orders.models import Order
from connectors.orders.services import receive_all
from connectors.shops.services import get_or_create_source, record_freshness
from rules_engine import presets
from rules_engine.facts.collect import Values, collect
from rules_engine.formula import RowPlan, to_serial
from rules_engine.rules.services import get_active_rule_set
from rules_engine.scoring.services import list_due_order_ids, score_orders
from workflows.causes import classify

NOW = datetime(2025, 11, 11, 4, tzinfo=UTC)
ORDERS, CHUNK = 18_000, 2_000


def _record(number: int) -> CanonicalOrder:
    placed = NOW - timedelta(minutes=number % 600 + 60)
    paid = placed + timedelta(minutes=2)
    return CanonicalOrder(
        order_no=f"B{number:07d}",
        channel="tmall",
        shop="旗舰店",
        raw_status="买家已付款,等待卖家发货",
        stage="await_ship",
        placed_at=placed,
        paid_at=paid,
        promised_ship_at=paid + timedelta(hours=48),
        goods_fen=32000,
        payable_fen=32000,
        paid_fen=32000 if number % 25 else 30000,
        gifts_due=0,
        gifts_packed=0,
        province="浙江省",
        city="杭州市",
        district="余杭区",
        lines=tuple(
            CanonicalLine(
                line_id=str(i), sku=f"SKU{i}", price_fen=16000, stock_available=9, locked_at=paid
            )
            for i in range(2)
        ),
    )


def _receipts(kind: str) -> Iterator[CanonicalReceipt]:
    """All but every 14th order reached the OMS and the WMS."""
    for number in range(ORDERS):
        if number % 14:
            at = NOW - timedelta(minutes=number % 600 + 50)
            reviewed = at if kind == "oms" else None
            yield CanonicalReceipt(f"B{number:07d}", received_at=at, reviewed_at=reviewed)


def _environment() -> Environment:
    tenant = Tenant.objects.create(name=f"bench {time.time()}")
    division = Division.objects.create(tenant=tenant, name="bench")
    return Environment.objects.create(tenant=tenant, division=division, kind="development")


@dataclass(frozen=True)
class Spent:
    """Wall-clock and processor seconds of this process; the second is steady on a busy machine."""

    wall: float
    processor: float


def _measure(work: Callable[[], None]) -> Spent:
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return Spent(time.perf_counter() - wall, time.process_time() - processor)


def _pass(environment: Environment, now: datetime, why: str) -> Spent:
    """One pass over everything that is due, a chunk per transaction."""

    def work() -> None:
        with for_environment(environment, write=False):
            due = list_due_order_ids()
        for start in range(0, len(due), CHUNK):
            with for_environment(environment):
                score_orders(due[start : start + CHUNK], now=now, why=why, classify=classify)

    return _measure(work)


def _bare(values: list[Values], plans: list[RowPlan], clock: float) -> Spent:
    """The formulas alone, over every order's values."""

    def work() -> None:
        for one in values:
            for plan in plans:
                plan.evaluate(one, clock)

    return _measure(work)


def _best(found: list[Spent]) -> Spent:
    return Spent(min(s.wall for s in found), min(s.processor for s in found))


def run() -> None:
    """Print seconds and orders per second of first scoring, clock passes and bare evaluation."""
    environment = _environment()
    with for_environment(environment):
        presets.install("promo", NOW)
        sources = {k: get_or_create_source(kind=k, name=k) for k in ("channel", "oms", "wms")}
    with for_environment(environment):
        receive_all((_record(n) for n in range(ORDERS)), source=sources["channel"], now=NOW)
        for kind in ("oms", "wms"):
            receive_all(_receipts(kind), source=sources[kind], now=NOW)
        for source in sources.values():
            record_freshness(source, complete_until=NOW + timedelta(minutes=9), now=NOW)

    first = _pass(environment, NOW, "received")
    with for_environment(environment, write=False):
        rules = get_active_rule_set()
        values = list(collect(list(Order.objects.all()), now=NOW).values())
    plans = [d.plan for d in rules.dimensions if d.plan] if rules else []
    clock, bare = [], []
    for minute in range(1, 4):  # in turn, so that a busy machine slows both
        now = NOW + timedelta(minutes=minute)
        clock.append(_pass(environment, now, "clock"))
        bare.append(_bare(values, plans, to_serial(now.astimezone(environment.zone))))
    rows = [
        ("first scoring (facts collected, all written)", first),
        ("clock pass (snapshots, nothing changes band)", _best(clock)),
        (f"bare row-plan evaluation, {len(plans)} formulas", _best(bare)),
    ]
    for label, spent in rows:
        _say(
            f"{label:<46} {spent.wall:7.2f} s {ORDERS / spent.wall:8,.0f} orders/s"
            f"   processor {spent.processor:6.2f} s {ORDERS / spent.processor:8,.0f} orders/s"
        )
    wall = _best(clock).wall / _best(bare).wall
    processor = _best(clock).processor / _best(bare).processor
    _say(
        f"worker path : bare = {wall:.2f}, processor {processor:.2f} (goal <= 4)"
        f" on {connection.vendor}, {ORDERS:,} orders"
    )


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - a bench prints
