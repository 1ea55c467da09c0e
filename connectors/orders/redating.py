"""After new shipping rules: every open order's deadline anew."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from connectors.orders.deadlines import find_deadline, list_ship_rules
from connectors.orders.models import Order

BATCH = 500


def redate_orders(*, now: datetime, after_id: int = 0, limit: int = BATCH) -> int | None:
    """Give the next open orders after `after_id` their deadline by the rules in force.

    One transaction; an order whose deadline moved gets a new revision, because its facts did.
    Returns the id to go on after, or None when there are no more.
    """
    with transaction.atomic():
        query = Order.objects.waiting().filter(pk__gt=after_id).order_by("pk")
        orders = list(query.select_for_update(of=("self",), no_key=True)[:limit])
        if not orders:
            return None
        rules, moved = list_ship_rules(), []
        for order in orders:
            deadline = find_deadline(order, rules).at
            if deadline != order.deadline_at:
                order.deadline_at = deadline
                order.revision += 1
                order.received_at = now
                moved.append(order)
        if moved:
            Order.objects.bulk_update(
                moved, ["deadline_at", "revision", "received_at"], batch_size=200
            )
    last: int = orders[-1].pk
    return last
