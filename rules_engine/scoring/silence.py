"""Which orders are silent: at their node longer than expected, though nothing says to wait."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from connectors.orders.nodes import Node
from connectors.orders.statuses import FINAL_STAGES, GroupState, PresalePhase, Stage
from rules_engine.facts.collect import Feeds

GROUP_PATIENCE = timedelta(days=1)
# Whose news, besides the channel's, would move an order on from a node.
_TELLS: dict[str, tuple[str, ...]] = {
    "callback": ("oms",),
    "oms_review": ("oms",),
    "wms_push": ("wms",),
    "picking": ("wms",),
    "label": ("wms",),
}


class Silence:
    """The node table at one moment; made once per pass."""

    def __init__(self, nodes: Sequence[Node], feeds: Feeds, moment: datetime) -> None:
        self.feeds, self.moment = feeds, moment
        self.dwell = {node.code: timedelta(minutes=node.dwell_minutes) for node in nodes}

    def known_until(self, node: str, channel: str, source_id: int | None) -> datetime:
        """Up to when we know that an order has not moved on (or ended: the channel tells that)."""
        told = () if node == "callback" and channel == "private_mall" else _TELLS.get(node, ())
        until = self.moment
        for kind in ("channel", *told):
            state = self.feeds.state(kind, source_id)
            if state.is_connected and state.until is not None:
                until = min(until, state.until)
        return until

    def is_silent(self, row: Mapping[str, object]) -> bool:
        """Whether an order stands still: `row` has the order's columns by name."""
        entered, node = row["node_entered_at"], str(row["node"])
        dwell = self.dwell.get(node)
        if dwell is None or not isinstance(entered, datetime) or not row["is_open"]:
            return False
        if self.moment - entered <= dwell:
            return False
        channel, source = str(row["channel"]), row["source_id"]
        source_id = source if isinstance(source, int) else None
        if self.known_until(node, channel, source_id) - entered <= dwell:
            return False
        return not waits_by_schedule(row, self.known_until("", channel, source_id))


def waits_by_schedule(row: Mapping[str, object], until: datetime) -> bool:
    """Whether an order is over, inside its presale window, or in a young open group at `until`."""
    stage = row["stage"]
    if stage in FINAL_STAGES:
        return True
    if stage == Stage.DEPOSIT_PAID or row["presale_phase"] == PresalePhase.DEPOSIT_PAID:
        due = row["balance_due_at"]
        return not isinstance(due, datetime) or until < due
    if stage == Stage.AWAIT_GROUP or row["group_state"] == GroupState.OPEN:
        placed = row["placed_at"]
        return isinstance(placed, datetime) and until - placed < GROUP_PATIENCE
    return False
