"""Orders a gateway or a warehouse has to be asked about, and what it may answer."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from config.tenancy.scope import for_environment
from connectors.adapters import Answered
from connectors.orders.canonical import CanonicalPayment, CanonicalReceipt
from connectors.orders.services import receive
from connectors.orders.statuses import Stage
from connectors.shops.models import Connection
from connectors.shops.services import get_or_create_source
from connectors.sync.models import SyncRun
from connectors.sync.sweeps import (
    sweep,
)
from connectors.wire import Mapped
from tests.connectors.sync.scripted import (
    Bench,
)
from tests.factories import make_order

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def make_unpaid(bench: Bench, number: str, *, ago: timedelta = 10 * MINUTE, **changes: Any) -> None:
    """An order of the own mall that waits for money, in the scope in force."""
    values: dict[str, Any] = {
        "channel": "private_mall", "shop": "小程序", "stage": Stage.AWAIT_PAY, "paid_at": None,
        "paid_fen": None, "order_no": number, "placed_at": bench.now() - ago,
    }  # fmt: skip
    make_order(bench.now(), **(values | changes))


def make_reviewed(bench: Bench, number: str, *, ago: timedelta = HOUR, **changes: Any) -> None:
    """An order the OMS has reviewed, in the scope in force."""
    make_order(bench.now(), order_no=number, placed_at=bench.now() - ago - HOUR, **changes)
    oms = get_or_create_source(kind="oms", name="OMS")
    reviewed = bench.now() - ago
    receive(
        [CanonicalReceipt(order_no=number, received_at=reviewed, reviewed_at=reviewed)],
        source=oms, now=bench.now(),
    )  # fmt: skip


def payment_of(bench: Bench, number: str) -> Answered:
    record = CanonicalPayment(
        order_no=number, payment_id=f"P{number}", status="paid", amount_fen=32700,
        paid_at=bench.now(),
    )  # fmt: skip
    return Answered(Mapped(record, ()), {"out_trade_no": number})


def receipt_of(bench: Bench, number: str) -> Answered:
    return Answered(Mapped(CanonicalReceipt(order_no=number, received_at=bench.now()), ()), {})


def run_sweep(bench: Bench, connection: Connection, **more: Any) -> Any:
    return sweep(bench.environment, connection.pk, **bench.tools, **more)


def last_run(bench: Bench) -> SyncRun:
    with for_environment(bench.environment, write=False):
        run = SyncRun.objects.order_by("pk").last()
    assert run is not None
    return run


def complete_until(bench: Bench, connection: Connection) -> Any:
    with for_environment(bench.environment, write=False):
        found = Connection.objects.select_related("source").get(pk=connection.pk)
    return found.source.complete_until
