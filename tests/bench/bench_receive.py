"""receive() against row-by-row saves of the same orders, one transaction per order."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from django.db import connection, transaction

from config.tenancy.models import Division, Environment, Tenant, new_public_id
from config.tenancy.scope import for_environment, stamp_scope
from connectors.orders.canonical import CanonicalLine, CanonicalOrder, CanonicalPayment
from connectors.orders.models import NodePassage, Order, OrderLine, Payment, RawPayload, StatusEvent
from connectors.orders.services import MAX_BATCH, receive
from connectors.shops.models import Shop
from connectors.shops.services import get_or_create_source

NOW = datetime(2025, 11, 11, 4, tzinfo=UTC)
ORDERS, ROW_BY_ROW, WARM_UP = 4000, 400, 2000


def make_record(number: int, *, now: datetime = NOW) -> CanonicalOrder:
    """A paid order with two lines and a payment; `number` makes it unlike the others."""
    placed = now - timedelta(minutes=number % 600 + 60)
    paid = placed + timedelta(minutes=2)
    no = f"B{number:07d}"
    return CanonicalOrder(
        order_no=no,
        channel="tmall",
        shop="旗舰店",
        raw_status="买家已付款,等待卖家发货",
        stage="await_ship",
        placed_at=placed,
        paid_at=paid,
        promised_ship_at=paid + timedelta(hours=48),
        goods_fen=32000,
        payable_fen=32000,
        paid_fen=32000,
        province="浙江省",
        city="杭州市",
        district="余杭区",
        receiver_name="王**",
        receiver_phone=f"199{number:08d}",
        address_detail="演示路******",
        lines=tuple(
            CanonicalLine(
                line_id=str(i), sku=f"SKU{i}", price_fen=16000, stock_available=9, locked_at=paid
            )
            for i in range(2)
        ),
        payments=(CanonicalPayment(order_no=no, payment_id="1", amount_fen=32000, paid_at=paid),),
        raw={"订单号": no, "平台状态": "买家已付款,等待卖家发货"},
    )


def make_environment() -> Environment:
    """A new environment of its own."""
    tenant = Tenant.objects.create(name=f"bench {time.time()}")
    division = Division.objects.create(tenant=tenant, name="bench")
    return Environment.objects.create(tenant=tenant, division=division, kind="development")


def _received(environment: Environment, count: int) -> float:
    with for_environment(environment):
        source = get_or_create_source(kind="channel", name="bench")
    records = [make_record(n) for n in range(count)]
    started = time.perf_counter()
    for start in range(0, count, MAX_BATCH):
        with for_environment(environment):
            receive(records[start : start + MAX_BATCH], source=source, now=NOW)
    return count / (time.perf_counter() - started)


def _saved_row_by_row(template: Environment, count: int) -> float:
    """Save the very rows that receive() made, as a straightforward program would."""
    environment = make_environment()
    with for_environment(template):
        orders = list(Order.objects.order_by("id")[:count])
        children = {
            order.pk: [
                list(model.objects.filter(order=order))
                for model in (OrderLine, Payment, StatusEvent, NodePassage, RawPayload)
            ]
            for order in orders
        }
    with for_environment(environment):
        source = get_or_create_source(kind="channel", name="bench")
        shop = Shop.objects.create(channel="tmall", name="旗舰店")
    started = time.perf_counter()
    for order in orders:
        rows = children[order.pk]
        with for_environment(environment), transaction.atomic():
            order.pk, order.public_id = None, new_public_id()
            order.environment = order.tenant = None
            order.environment_id, order.tenant_id = environment.pk, environment.tenant_id
            order.shop, order.source = shop, source
            order.save(force_insert=True)
            for row in (r for group in rows for r in group):
                row.pk, row.environment_id, row.order = None, None, order
                stamp_scope([row])
                if hasattr(row, "source_id"):
                    row.source = source
                row.save(force_insert=True)
    return count / (time.perf_counter() - started)


def run() -> None:
    """Print orders per second of both ways and their ratio, on tables that are not empty."""
    _received(make_environment(), WARM_UP)
    environment = make_environment()
    fast = _received(environment, ORDERS)
    slow = _saved_row_by_row(environment, ROW_BY_ROW)
    print(  # noqa: T201 - a benchmark prints
        f"receive(): {fast:,.0f} orders/s; row by row: {slow:,.0f} orders/s; "
        f"ratio {fast / slow:.1f}x on {connection.vendor} "
        f"(goal >= {15 if connection.vendor == 'postgresql' else 8}x)"
    )
