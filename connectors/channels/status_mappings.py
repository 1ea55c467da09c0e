"""The table of statuses in force per channel, and orders read anew with it."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction

from config.errors import BadInput, gettext_noop
from config.secrets import SecretUnreadable, decrypt
from connectors.adapters import Connector
from connectors.channels.registry import CHANNELS
from connectors.orders.canonical import CanonicalRecord
from connectors.orders.models import RAW_PURPOSE, Order, RawPayload
from connectors.orders.restaging import restage_orders
from connectors.orders.services import MAX_BATCH, receive
from connectors.orders.status_mappings import list_changes
from connectors.wire import read_json

log = logging.getLogger(__name__)


def stages_for(channel: str, at: datetime) -> Mapping[str, str]:
    """Raw status -> stage for a channel at a moment: what the business mapped, over the shipped
    table. One query; raises BadInput for a channel without a connector."""
    return {**_get_connector(channel).stages, **list_changes(channel, at)}


def _get_connector(channel: str) -> Connector:
    connector = CHANNELS.get(channel)
    if connector is None or connector.map_order is None:
        raise BadInput(
            gettext_noop("渠道「%(channel)s」还没有连接器，不能映射状态"),
            code="no_connector",
            channel=channel,
        )
    return connector


@dataclass(frozen=True, slots=True)
class Remapped:
    """One chunk of orders read anew. `changed`: those whose content came out differently;
    `restaged`: those of them whose payload no connector reads, which took the mapped stage alone.
    `next_after_id`: where to go on, None when there are no more."""

    read: int = 0
    changed: int = 0
    restaged: int = 0
    next_after_id: int | None = None


def remap_orders(
    *,
    channel: str,
    statuses: Sequence[str],
    now: datetime,
    limit: int = MAX_BATCH,
    after_id: int = 0,
) -> Remapped:
    """Read orders with these raw statuses anew from their sealed payloads, with the table in force.

    Takes the next `limit` (at most MAX_BATCH) orders after `after_id`, in one transaction and a
    fixed number of statements per feed; safe to run twice. A corrected stage becomes a status event
    of kind CORRECTED. An order that came in a file, or of a channel without a connector, has no
    payload to be mapped: it takes the stage its status has now (`restage_orders`). Call it again
    with `next_after_id` until that is None.
    """
    connector = CHANNELS.get(channel)
    limit = min(limit, MAX_BATCH)
    with transaction.atomic():
        query = Order.objects.filter(
            channel=channel, raw_status__in=list(statuses), pk__gt=after_id
        )
        orders = list(query.select_related("shop", "source").order_by("pk")[:limit])
        if not orders:
            return Remapped()
        changes = list_changes(channel, now)
        batches: dict[int, list[CanonicalRecord]] = defaultdict(list)
        unread = {order.pk for order in orders}
        if connector is not None:
            stages = {**connector.stages, **changes}
            for order, payload in _with_payloads(orders, _read_payloads(orders)):
                record = _map(connector, order, payload, stages)
                if record is not None:
                    batches[order.source_id].append(record)
                    unread.discard(order.pk)
        sources = {order.source_id: order.source for order in orders}
        shops = {(order.shop.channel, order.shop.name): order.shop for order in orders}
        changed = 0
        for source_id, records in sorted(batches.items()):
            received = receive(
                records, source=sources[source_id], now=now, shops=shops, is_reread=True
            )
            changed += len(received.order_ids)
        restaged = restage_orders(unread, stages=changes, now=now)
    return Remapped(
        read=len(orders),
        changed=changed + restaged,
        restaged=restaged,
        next_after_id=orders[-1].pk if len(orders) == limit else None,
    )


def _read_payloads(orders: Sequence[Order]) -> dict[int, str]:
    """The sealed payload of each order from the feed that told its state (one query)."""
    feeds = {order.pk: order.source_id for order in orders}
    rows = RawPayload.objects.filter(order_id__in=list(feeds)).values_list(
        "order_id", "source_id", "sealed"
    )
    return {pk: sealed for pk, source_id, sealed in rows if feeds[pk] == source_id}


def _with_payloads(
    orders: Sequence[Order], payloads: Mapping[int, str]
) -> Iterator[tuple[Order, object]]:
    for order in orders:
        sealed = payloads.get(order.pk)
        if sealed is None:
            continue
        try:
            yield order, read_json(decrypt(sealed, purpose=RAW_PURPOSE))
        except (BadInput, SecretUnreadable) as error:
            log.warning("payload of order %d cannot be opened: %s", order.pk, error.code)


def _map(
    connector: Connector, order: Order, payload: object, stages: Mapping[str, str]
) -> CanonicalRecord | None:
    """The record of a stored payload under the shop it belongs to; None when it is refused.

    That an order came from a list of orders in review its payload may not say: the order does.
    """
    hints: dict[str, Any] = {}
    if "review" in connector.streams and order.risk_state:
        hints["in_risk_review"] = True
    if connector.map_order is None:
        return None
    try:
        return connector.map_order(payload, shop=order.shop.name, stages=stages, **hints).record
    except BadInput as error:
        log.info("order %d is not mapped anew: %s", order.pk, error.code)
        return None
