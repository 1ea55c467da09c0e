"""Messages of the own mall, put into the inbox by hand and worked off: for tests of the inbox."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from config.tenancy.models import Environment
from config.tenancy.scope import for_environment
from connectors.adapters import PushItem
from connectors.orders.models import Order
from connectors.shops.models import Connection
from connectors.sync.models import InboundMessage
from connectors.sync.pushes import (
    store_messages,
    work_messages,
)
from tests.connectors.sync.scripted import Bench


def order_of(number: str, bench: Bench, **changes: Any) -> dict[str, Any]:
    """An order of the own mall, as it pushes it and as it answers."""
    at = bench.now().isoformat()
    return {"order_no": number, "status": "await_pay", "created_at": at, "updated_at": at} | changes


def record_of(number: str, bench: Bench, **changes: Any) -> PushItem:
    return PushItem("record", f"mall:{number}", "order.created", number,
                    order_of(number, bench, **changes))  # fmt: skip


def hint_of(number: str, key: str = "") -> PushItem:
    return PushItem("hint", key or f"hint:{number}", "order.updated", number)


def store(bench: Bench, connection: Connection, items: Sequence[PushItem]) -> int:
    with for_environment(bench.environment):
        return store_messages(connection, items, signed_at=None, now=bench.now())


def work(bench: Bench, connection: Connection, **more: Any) -> tuple[Any, int]:
    return work_messages(bench.environment, connection.pk, **bench.tools, **more)


def states(environment: Environment) -> dict[str, str]:
    with for_environment(environment, write=False):
        return dict(InboundMessage.objects.values_list("replay_key", "state"))


def orders(environment: Environment) -> list[str]:
    with for_environment(environment, write=False):
        return list(Order.objects.order_by("pk").values_list("order_no", flat=True))
