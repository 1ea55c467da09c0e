"""The node table in force and the passages of orders through it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from config.releases.services import get_published
from config.tenancy.bulk import upsert_rows
from connectors.orders.models import NodePassage
from connectors.orders.nodes import DEFAULT_NODES, Node, Passage, nodes_from_content
from connectors.shops.models import Source

NODE_TABLE_KIND = "node_table"
NODE_TABLE_KEY = "default"


def list_nodes() -> tuple[Node, ...]:
    """The published node table of the environment in force, or the shipped one."""
    version = get_published(NODE_TABLE_KIND, NODE_TABLE_KEY)
    return nodes_from_content(version.content) if version else DEFAULT_NODES


def connected_kinds() -> frozenset[str]:
    """The kinds of source that have told how far they are complete."""
    return frozenset(
        Source.objects.filter(complete_until__isnull=False).values_list("kind", flat=True)
    )


def save_passages(walked: Mapping[int, Sequence[Passage]], *, known: Sequence[int]) -> set[int]:
    """Store passages per order id; `known` are the orders that may have some already.

    Returns the ids of the orders whose passages are not what they were.
    """
    before: dict[tuple[int, str], tuple[int, datetime, datetime | None, bool]] = {}
    if known:
        # Plain values: building a model instance per passage costs more than the query.
        for order_id, node, *rest in NodePassage.objects.filter(order_id__in=known).values_list(
            "order_id", "node", "pk", "entered_at", "left_at", "is_inferred"
        ):
            before[order_id, node] = tuple(rest)
    rows, kept = [], set()
    for order_id, passages in walked.items():
        for p in passages:
            kept.add((order_id, p.node))
            old = before.get((order_id, p.node))
            if old is None or old[1:] != (p.entered_at, p.left_at, p.is_inferred):
                rows.append((order_id, p.node, p.entered_at, p.left_at, p.is_inferred))
    gone = [old[0] for key, old in before.items() if key not in kept]
    if gone:
        NodePassage.objects.filter(pk__in=gone).delete()
    upsert_rows(
        NodePassage,
        columns=["order_id", "node", "entered_at", "left_at", "is_inferred"],
        rows=rows,
        conflict=["order_id", "node"],
        update=["entered_at", "left_at", "is_inferred"],
    )
    return {row[0] for row in rows} | {key[0] for key in before if key not in kept}
