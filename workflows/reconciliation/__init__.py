"""Reconciliation: who left one point of the river and has not come to another."""

from workflows.reconciliation.gaps import (
    AGES,
    EXCUSES,
    IN_TIME,
    MISSING,
    Gap,
    GapFigures,
    GapRow,
    Share,
    age_class,
    list_early,
    list_left,
    measure_gap,
    missing_order_ids,
    open_gap,
    read_gap,
)
from workflows.reconciliation.points import (
    DEFAULT_END,
    DEFAULT_START,
    Point,
    list_points,
)

__all__ = [
    "AGES",
    "DEFAULT_END",
    "DEFAULT_START",
    "EXCUSES",
    "IN_TIME",
    "MISSING",
    "Gap",
    "GapFigures",
    "GapRow",
    "Point",
    "Share",
    "age_class",
    "list_early",
    "list_left",
    "list_points",
    "measure_gap",
    "missing_order_ids",
    "open_gap",
    "read_gap",
]
