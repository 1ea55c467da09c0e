"""`receive()`: the one door through which orders, payments and receipts come in.

A batch is one transaction and a fixed number of statements. Repeating a batch changes nothing;
records may come in any order: a payment or receipt waits for its order by number.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from django.db import transaction

from connectors.orders.canonical import CanonicalRecord
from connectors.orders.deadlines import list_ship_rules
from connectors.orders.evidence import (
    deadline_of,
    digest_systems,
    evidence_of,
    moment_of_stage,
    ready_at,
    stand_at,
)
from connectors.orders.intake import Batch, Received
from connectors.orders.models import Order, OrderLine, Payment, Receipt
from connectors.orders.nodes import walk
from connectors.orders.passages import (
    NODE_TABLE_KEY,
    NODE_TABLE_KIND,
    connected_kinds,
    list_nodes,
    save_passages,
)
from connectors.shops.models import Shop, Source

MAX_BATCH = 500
_REREAD = (
    "gateway_status",
    "gateway_paid_at",
    "gateway_paid_fen",
    "oms_received_at",
    "oms_reviewed_at",
    "wms_received_at",
    "picked_at",
    "wms_shipped_at",
    "deadline_at",
    "node",
    "node_entered_at",
)


def receive(
    records: Sequence[CanonicalRecord],
    *,
    source: Source,
    now: datetime,
    is_history: bool = False,
    shops: Mapping[tuple[str, str], Shop] | None = None,
    is_reread: bool = False,
    history_before: datetime | None = None,
) -> Received:
    """Take in up to MAX_BATCH records of one source, in the scope in force, in one transaction.

    `shops` maps (channel, shop name) to shops; missing ones are made. `is_history` marks orders
    whose state on arrival must not alert or hold (first import, back-fill, as-of run);
    `history_before` does so for those placed before that moment. An order that is here stays what
    it is. `is_reread`: the records are stored payloads mapped anew, which replace what they said before. Raises
    ValueError for a batch that is too large; a record is never rejected here: mappings have
    checked it.
    """
    if len(records) > MAX_BATCH:
        raise ValueError(f"at most {MAX_BATCH} records in one batch, got {len(records)}")
    with transaction.atomic():
        batch = Batch(
            source, now, is_history, dict(shops or {}), is_reread, history_before=history_before
        )
        return batch.take(records)


def receive_all(
    records: Iterable[CanonicalRecord],
    *,
    source: Source,
    now: datetime,
    is_history: bool = False,
) -> Received:
    """Take in any number of records, in batches of MAX_BATCH, each its own transaction."""
    total, batch, shops = Received(), [], _known_shops()
    for record in records:
        batch.append(record)
        if len(batch) == MAX_BATCH:
            total += receive(batch, source=source, now=now, is_history=is_history, shops=shops)
            batch = []
    if batch:
        total += receive(batch, source=source, now=now, is_history=is_history, shops=shops)
    return total


def _known_shops() -> dict[tuple[str, str], Shop]:
    return {(shop.channel, shop.name): shop for shop in Shop.objects.all()}


def rewalk_orders(*, now: datetime, after_id: int = 0, limit: int = MAX_BATCH) -> int | None:
    """Walk open orders through the river again: after the first OMS, or with a new node table.

    Takes the next `limit` open orders after `after_id`, in one transaction; an order whose way
    changed gets a new revision. Returns the id to go on after, or None when there are no more.
    """
    with transaction.atomic():
        query = Order.objects.waiting().filter(pk__gt=after_id).order_by("pk")
        orders = {o.pk: o for o in query.select_for_update(of=("self",), no_key=True)[:limit]}
        if not orders:
            return None
        lines: dict[int, list[OrderLine]] = defaultdict(list)
        for line in OrderLine.objects.filter(order_id__in=orders):
            lines[line.order_id].append(line)
        nodes, connected = list_nodes(), connected_kinds()
        walked = {
            pk: walk(evidence_of(order, lines[pk], connected), nodes)
            for pk, order in orders.items()
        }
        changed = [orders[pk] for pk in save_passages(walked, known=list(orders))]
        for order in changed:
            stand_at(order, walked[order.pk])
            order.revision += 1
            order.received_at = now
        if changed:
            Order.objects.bulk_update(
                changed, ["node", "node_entered_at", "revision", "received_at"], batch_size=200
            )
    return max(orders)


def reread_order(order_id: int, *, now: datetime) -> bool:
    """Put one order together again from all that its sources have told, and walk it anew.

    Its revision rises in any case, so that its facts are taken again. Returns whether a system's
    word, its deadline or its place in the river came out differently than stored.
    """
    with transaction.atomic():
        order: Order = Order.objects.select_for_update(of=("self",), no_key=True).get(pk=order_id)
        before = {name: getattr(order, name) for name in _REREAD}
        payments = list(Payment.objects.filter(order_no=order.order_no, is_gateway=True))
        receipts = list(Receipt.objects.filter(order_no=order.order_no).select_related("source"))
        digest_systems(order, payments, receipts)
        order.deadline_at = deadline_of(order, list_ship_rules())
        passages = walk(
            evidence_of(order, list(order.lines.all()), connected_kinds()), list_nodes()
        )
        moved = save_passages({order.pk: passages}, known=[order.pk])
        stand_at(order, passages)
        order.revision += 1
        order.received_at = now
        order.save(update_fields=[*_REREAD, "revision", "received_at"])
    return bool(moved) or any(getattr(order, name) != value for name, value in before.items())


__all__ = [
    "MAX_BATCH",
    "NODE_TABLE_KEY",
    "NODE_TABLE_KIND",
    "Received",
    "deadline_of",
    "evidence_of",
    "list_nodes",
    "moment_of_stage",
    "ready_at",
    "receive",
    "receive_all",
    "reread_order",
    "rewalk_orders",
    "stand_at",
]
