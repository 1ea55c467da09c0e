"""Which orders are silent: at their node longer than expected, though nothing says to wait."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from connectors.orders.nodes import Node
from connectors.orders.statuses import FINAL_STAGES, GroupState, PresalePhase, Stage
from rules_engine.facts.collect import Feeds

GROUP_PATIENCE = timedelta(days=1)
# Whose news would move an order on from a node; "" = the order's channel.
_TELLS: dict[str, tuple[str, ...]] = {
    "callback": ("oms",),
    "stock": ("channel",),
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
        """Up to when we know that an order has not moved on."""
        kinds: tuple[str, ...] = _TELLS.get(node, ("channel",))
        if node == "callback" and channel == "private_mall":
            kinds = ("channel",)
        until = self.moment
        for kind in kinds:
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
        if self.moment - entered <= dwell or self.waits_by_schedule(row):
            return False
        source_id = row["source_id"]
        until = self.known_until(
            node, str(row["channel"]), source_id if isinstance(source_id, int) else None
        )
        return until - entered > dwell

    def waits_by_schedule(self, row: Mapping[str, object]) -> bool:
        """Whether an order is over, inside its presale window, or in a young open group."""
        stage = row["stage"]
        if stage in FINAL_STAGES:
            return True
        if stage == Stage.DEPOSIT_PAID or row["presale_phase"] == PresalePhase.DEPOSIT_PAID:
            due = row["balance_due_at"]
            return not isinstance(due, datetime) or self.moment < due
        if stage == Stage.AWAIT_GROUP or row["group_state"] == GroupState.OPEN:
            placed = row["placed_at"]
            return isinstance(placed, datetime) and self.moment - placed < GROUP_PATIENCE
        return False
