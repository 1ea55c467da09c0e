"""What the formulas of a rule set need fetched beside the orders: relations, history, tables."""

from __future__ import annotations

from collections.abc import Iterable

from rules_engine.formula import Checked
from rules_engine.rules.services import Dimension


def list_formulas(dimension: Dimension) -> Iterable[Checked]:
    """The formula of a dimension and those in its reason."""
    yield dimension.checked
    for piece in dimension.reason:
        if piece.checked is not None:
            yield piece.checked


def prefetched_ids(dimensions: Iterable[Dimension]) -> frozenset[str]:
    """Ids of everything that must be fetched, with those of the columns used; mostly none."""
    found: set[str] = set()
    for dimension in dimensions:
        for checked in list_formulas(dimension):
            wanted = checked.relation_ids | checked.table_ids
            if wanted:
                found |= wanted
                found |= {id for id in checked.field_ids if id.partition(".")[0] in _ROOTS}
    return frozenset(found)


_ROOTS = frozenset({"relation", "history", "calendar", "receiver"})
