"""The formula language on W12: 12 checks over 20,000 orders, beside hand-written code and others.

All engines score the same orders in turns, so that a busy machine slows all of them; orders per
second are by processor time, the best and the median of the turns. On PostgreSQL only what the
database changes is measured again.
"""

from __future__ import annotations

import gc
import os
import statistics
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.db import connection

from config.tenancy.models import Division, Environment, Tenant
from config.tenancy.scope import for_environment
from connectors.orders.models import Order
from connectors.orders.statuses import Stage
from connectors.shops.models import Shop, SourceKind
from connectors.shops.services import get_or_create_source
from rules_engine.facts.models import FactSnapshot
from rules_engine.facts.services import dump_facts, load_facts
from rules_engine.formula import Checked, CompiledPlan, Field, Names, RowPlan, ValueType, check
from tests.bench import w12, w12_others

TURNS = 5
SLOW_ORDERS, TRACED_ORDERS = 4_000, 500  # what slow engines score in one turn
CHUNK = 200  # rows at hand at one time: more do not fit into the processor's cache

Values = dict[str, Any]
Rows = list[tuple[Any, ...]]


@dataclass
class Row:
    """One line of the table."""

    label: str
    score: Callable[[Values], tuple[Any, ...]] | None  # one order; None: not installed
    orders: int
    all_at_once: Callable[[], Rows] | None = None  # instead of one order after the other
    note: str = ""

    def __post_init__(self) -> None:
        self.rates: list[float] = []
        self.is_right = "-"


def run() -> None:
    """Print the table."""
    orders = [as_facts(order) for order in w12.norm(w12.gen_orders())]
    checked = [check(formula, NAMES) for formula in w12.EXCEL.values()]
    wrong = [finding.text for item in checked for finding in item.findings]
    if wrong:
        raise SystemExit(f"W12 does not check cleanly: {wrong}")
    if connection.vendor == "sqlite":
        _print_preparation(checked)
    environment = _store(orders)
    gc.collect()
    gc.freeze()  # what stands here beside the work is the bench's own
    with for_environment(environment, write=False):
        rows = _rows(checked, len(orders))
        for _ in range(TURNS):
            for row in rows:
                _take_turn(row, orders)
    _print_table(rows)


def as_facts(order: dict[str, Any]) -> Values:
    """As our facts are: numbers are floats; `now` is one of them."""
    found = {k: float(v) if type(v) is int else v for k, v in order.items()}
    return found | {"now": w12.NOW}


NAMES = Names(
    Field(name, name, "", kind)
    for name, kind in (
        dict.fromkeys(w12.TEXT, ValueType.TEXT)
        | dict.fromkeys(w12.NUM, ValueType.NUMBER)
        | dict.fromkeys(w12.BOOL, ValueType.LOGICAL)
        | dict.fromkeys([*w12.DATE, "now"], ValueType.DATETIME)
    ).items()
)


# --- what is measured -----------------------------------------------------------------------------


def _rows(checked: Sequence[Checked], count: int) -> list[Row]:
    now = w12.NOW
    row_plans = [RowPlan(item) for item in checked]
    compiled = CompiledPlan(checked).evaluate
    ours = [
        Row("compiled plan, facts in memory", lambda order: compiled(order, now), count),
        Row(
            f"compiled plan, stored snapshots ({connection.vendor})",
            None,
            count,
            all_at_once=lambda: [compiled(values, now) for values in _read_snapshots()],
        ),
    ]
    if connection.vendor != "sqlite":
        return ours
    others = [
        Row("hand-written Python", w12.hand, count),
        Row("simpleeval, bare, parsed before", w12_others.make_simpleeval(), SLOW_ORDERS),
        _other("zen-engine, compiled expressions", w12_others.make_zen()),
        _other("Rust CEL, compiled programs", w12_others.make_cel()),
    ]
    rows = [
        Row(
            "row plan, trace off",
            lambda order: tuple([plan.evaluate(order, now) for plan in row_plans]),
            SLOW_ORDERS,
        ),
        Row(
            "row plan, trace on",
            lambda order: tuple([plan.trace(order, now)[0].value for plan in row_plans]),
            TRACED_ORDERS,
        ),
    ]
    return [*others, *rows, *ours]


def _other(label: str, made: w12_others.Score | str) -> Row:
    if isinstance(made, str):
        return Row(label, None, 0, note=made)
    return Row(label, made, SLOW_ORDERS, note="its text length counts bytes")


def _take_turn(row: Row, orders: list[Values]) -> None:
    if row.score is None and row.all_at_once is None:
        return
    gc.collect()
    begun = time.process_time()
    if row.all_at_once is not None:
        found = row.all_at_once()
    else:
        score = row.score
        assert score is not None
        found = [score(order) for order in orders[: row.orders]]
    row.rates.append(row.orders / (time.process_time() - begun))
    row.is_right = "yes" if _is_right(found, orders) else "no"


def _is_right(found: Rows, orders: list[Values]) -> bool:
    """All orders against the checksum of the workload; fewer against the hand-written code."""
    if len(found) == len(orders):
        return w12.summary(found) == w12.CHECKSUM
    return w12.summary(found) == w12.summary(map(w12.hand, orders[: len(found)]))


# --- stored snapshots -----------------------------------------------------------------------------


def _store(orders: list[Values]) -> Environment:
    """The facts of every order as the product stores them: without the blank ones."""
    at = datetime(2026, 11, 13, 2, tzinfo=UTC)
    tenant = Tenant.objects.create(name=f"bench {time.time()}")
    division = Division.objects.create(tenant=tenant, name="bench")
    environment = Environment.objects.create(tenant=tenant, division=division, kind="development")
    with for_environment(environment):
        source = get_or_create_source(kind=SourceKind.CHANNEL, name="bench")
        shop = Shop.objects.create(channel="tmall", name="bench")
        made = Order.objects.bulk_create(
            [
                Order(
                    order_no=v["order_id"],
                    source=source,
                    channel="tmall",
                    stage=Stage.AWAIT_SHIP,
                    placed_at=at,
                    shop=shop,
                    content_hash="",
                    first_received_at=at,
                    received_at=at,
                )
                for v in orders
            ],
            batch_size=1000,
        )
        FactSnapshot.objects.bulk_create(
            [
                FactSnapshot(
                    order=order,
                    revision=1,
                    form="bench",
                    facts=dump_facts({k: v for k, v in values.items() if v is not None}),
                    digest="",
                    taken_at=at,
                )
                for order, values in zip(made, orders, strict=True)
            ],
            batch_size=1000,
        )
    return environment


def _read_snapshots() -> Iterator[Values]:
    """As a back-test reads them: facts over blank values."""
    blank: Values = dict.fromkeys([field.id for field in NAMES.fields])
    texts = FactSnapshot.objects.order_by("order_id").values_list("facts", flat=True)
    for text in texts.iterator(chunk_size=CHUNK):
        yield blank | load_facts(text)


# --- printing -------------------------------------------------------------------------------------


def _print_preparation(checked: Sequence[Checked]) -> None:
    count = len(checked)
    formulas = list(w12.EXCEL.values())
    parts: list[tuple[str, Callable[[], Any]]] = [
        ("parse and check", lambda: [check(formula, NAMES) for formula in formulas]),
        ("row plan", lambda: [RowPlan(item) for item in checked]),
        ("compiled plan of all twelve", lambda: CompiledPlan(checked)),
    ]
    for label, work in parts:
        spent = []
        for _ in range(TURNS * 3):
            begun = time.process_time()
            work()
            spent.append(time.process_time() - begun)
        tracemalloc.start()
        kept = work()
        size = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        del kept
        _say(
            f"{label:<30} {statistics.median(spent) / count * 1e6:8.0f} us per formula"
            f" {size / count / 1024:8.1f} kB per formula"
        )


def _print_table(rows: list[Row]) -> None:
    rate = {row.label: statistics.median(row.rates) for row in rows if row.rates}
    bare = rate.get("simpleeval, bare, parsed before")
    hand = rate.get("hand-written Python")
    _say(f"{'W12, 20,000 orders':<46}{'orders/s':>10}{'best':>10}{'x bare':>8}{'x hand':>8}  sums")
    for row in rows:
        if not row.rates:
            _say(f"{row.label:<46}{row.note:>20}")
            continue
        median = rate[row.label]
        against = f"{median / bare:8.2f}" if bare else " " * 8
        by_hand = f"{median / hand:8.3f}" if hand else " " * 8
        note = f" ({row.note})" if row.is_right == "no" and row.note else ""
        _say(
            f"{row.label:<46}{median:10,.0f}{max(row.rates):10,.0f}{against}{by_hand}"
            f"  {row.is_right}{note}"
        )
    memory = rate["compiled plan, facts in memory"]
    stored = next(value for label, value in rate.items() if "stored" in label)
    _say(f"stored snapshots : facts in memory = {stored / memory:.2f} (goal >= 0.4)")
    if bare and hand:
        _say(
            f"row plan : bare simpleeval = {rate['row plan, trace off'] / bare:.2f} (goal >= 0.8); "
            f"compiled : bare = {memory / bare:.1f} (goal >= 10); "
            f"compiled : hand-written = {memory / hand:.2f} (goal >= 0.25)"
        )
    peak = Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]
    _say(f"highest memory of this process: {int(peak) / 1024:,.0f} MB (pid {os.getpid()})")


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - a bench prints
