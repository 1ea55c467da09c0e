"""Between which two points orders are counted: the twelve nodes, and the milestones people say.

A node is left and entered as the passages tell; a milestone ("at the WMS") is a moment of the
order itself, so that an order a system has is never called missing there because the river holds
it further up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from config.errors import BadInput, Phrase, gettext_noop
from connectors.orders.nodes import NODE_CODES, Node

DEFAULT_START, DEFAULT_END = "paid", "wms"

# Which kind of source tells a moment of the node table.
_TOLD_BY = {
    "gateway_paid": "gateway",
    "oms_received": "oms",
    "oms_reviewed": "oms",
    "wms_received": "wms",
    "picked": "wms",
    "wms_shipped": "wms",
}


def _place(code: str) -> int:
    return NODE_CODES.index(code)


@dataclass(frozen=True, slots=True)
class Point:
    """One end of a gap.

    `before`: orders standing at a node of a lower place have not reached it. `after`: orders
    standing at a node of this place or a higher one have it behind them. `column` names the moment
    of the order that proves it. `kinds` are the sources that tell of it; `needs` is the one
    without which nobody can say.
    """

    code: str
    label: str
    before: int
    after: int
    column: str = ""
    kinds: tuple[str, ...] = ()
    needs: str = ""

    @property
    def is_node(self) -> bool:
        """Whether it is one of the twelve (else a milestone)."""
        return self.code in NODE_CODES


MILESTONES: tuple[Point, ...] = (
    Point("paid", gettext_noop("已付款"), 2, 2, "", ("channel",)),
    Point("oms", gettext_noop("OMS 已接收"), 6, 6, "oms_received_at", ("oms",), "oms"),
    Point("wms", gettext_noop("WMS 已接收"), 8, 8, "wms_received_at", ("wms",), "wms"),
    Point("shipped", gettext_noop("已发货"), 11, 11, "shipped_at", ("channel",)),
)


def list_points(nodes: Sequence[Node]) -> tuple[Point, ...]:
    """Milestones first, then the nodes in river order."""
    points = list(MILESTONES)
    for place, node in enumerate(nodes):
        names = set(node.entered) - {"review"}  # it says since when, not whether
        if place and (names == {"previous"} or not names):
            names |= set(nodes[place - 1].left)
        kinds = {_TOLD_BY.get(name, "channel") for name in names - {"previous"}}
        points.append(
            Point(
                node.code,
                node.label,
                place,
                place + 1,
                "",
                tuple(sorted(kinds or {"channel"})),
                node.needs,
            )
        )
    return tuple(points)


def check_pair(start: str, end: str, points: Sequence[Point]) -> tuple[Point, Point]:
    """The two points of these codes; raises BadInput when unknown or not in river order."""
    known = {point.code: point for point in points}
    if start not in known or end not in known:
        raise BadInput(gettext_noop("没有这个起点或终点，请从列表中选择"), code="bad_point")
    a, b = known[start], known[end]
    if a.code == b.code or a.after > b.before:
        raise BadInput(
            gettext_noop("终点要在起点之后：订单先经过「%(end)s」，再经过「%(start)s」"),
            code="bad_pair",
            start=Phrase(a.label),
            end=Phrase(b.label),
        )
    return a, b


def list_places(start: Point, end: Point) -> range:
    """The places of the nodes at which an order has the start behind it and the end ahead.

    Empty for neighbours: leaving the one is entering the other.
    """
    # A moment of the order proves the start wherever the river holds it, from payment on.
    return range(MILESTONES[0].after if start.column else start.after, end.before)


__all__ = [
    "DEFAULT_END",
    "DEFAULT_START",
    "MILESTONES",
    "Point",
    "check_pair",
    "list_places",
    "list_points",
]
