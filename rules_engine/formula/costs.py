"""What a formula asks for beside the order itself: look-ups and walks, counted when it is saved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from .functions.registry import Cost
from .limits import MAX_LOOKUPS, MAX_WALKS
from .tree import FieldUse, Invoke, Node, walk
from .values import ValueType


@dataclass(frozen=True, slots=True)
class Demand:
    """How often a formula looks up tables, and walks related orders or history."""

    lookups: int = 0
    walks: int = 0

    def __add__(self, other: Demand) -> Demand:
        return Demand(self.lookups + other.lookups, self.walks + other.walks)


NOTHING: Final = Demand()


def count_demand(tree: Node) -> Demand:
    """Count the calls of a checked tree by what they cost."""
    lookups = walks = 0
    for node, _ in walk(tree):
        if not isinstance(node, Invoke):
            continue
        if node.function.cost is Cost.LOOKUP:
            lookups += 1
        else:
            walks += any(_is_related(part) for part in node.args)
    return Demand(lookups, walks)


def exceeded(demand: Demand) -> tuple[str, int, int] | None:
    """Code, count and limit of what a formula asks for too often; None when it may."""
    if demand.lookups > MAX_LOOKUPS:
        return "too_many_lookups", demand.lookups, MAX_LOOKUPS
    if demand.walks > MAX_WALKS:
        return "too_many_walks", demand.walks, MAX_WALKS
    return None


def _is_related(part: Node) -> bool:
    """Whether a part is rows fetched beside the order: related orders, history, calendars."""
    return (
        isinstance(part, FieldUse)
        and part.field.is_prefetched
        and part.field.type is ValueType.ROWS
    )
