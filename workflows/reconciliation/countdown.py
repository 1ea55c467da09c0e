"""Which orders run out of time: not shipped yet, by what is left; and those that fell silent."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count, FilteredRelation, Q, Sum, Value
from django.db.models.functions import Coalesce

from config.tenancy.scope import require_environment_id
from connectors.orders.models import Order
from connectors.orders.querysets import OrderQuerySet
from connectors.orders.statuses import SHIPPED_STAGES

# What is left, in hours: (name, from, to). The first is what has run out.
CLASSES: tuple[tuple[str, int | None, int], ...] = (
    ("overdue", None, 0),
    ("h4", 0, 4),
    ("h12", 4, 12),
    ("h24", 12, 24),
    ("h48", 24, 48),
)
HORIZON = timedelta(hours=CLASSES[-1][2])
SILENT = "silent"
_AMOUNT = Coalesce("paid_fen", "gateway_paid_fen", "payable_fen", Value(0))


@dataclass(frozen=True)
class DueCount:
    """How many orders of a class, and how much money."""

    name: str
    count: int
    fen: int


def _unshipped() -> OrderQuerySet:
    """Open orders nobody shipped yet (the first two conditions name the index)."""
    rows: OrderQuerySet = Order.objects.filter(is_open=True, shipped_at__isnull=True)
    return rows.exclude(stage__in=sorted(SHIPPED_STAGES))


def _range(name: str, at: datetime) -> Q:
    _name, low, high = next(row for row in CLASSES if row[0] == name)
    found = Q(deadline_at__lt=at) if high == 0 else Q(deadline_at__lt=at + timedelta(hours=high))
    return found if low is None else found & Q(deadline_at__gte=at + timedelta(hours=low))


def due_orders(at: datetime, *, name: str = "") -> OrderQuerySet:
    """Orders whose deadline has passed or comes within HORIZON, or those of one class; unsorted."""
    # One range, whatever is asked: of two the database may follow the wider one.
    return _unshipped().filter(_range(name, at) if name else Q(deadline_at__lt=at + HORIZON))


def silent_orders(at: datetime) -> OrderQuerySet:
    """Unshipped orders that stand still without any news, whatever their deadline; unsorted."""
    current = Q(
        score_changes__until__isnull=True,
        score_changes__needs_intervention=True,  # silence is trouble: names the small index
        score_changes__environment_id=require_environment_id(),
    )
    rows = _unshipped().annotate(quiet=FilteredRelation("score_changes", condition=current))
    return rows.filter(quiet__is_silent=True)


def count_due(at: datetime) -> list[DueCount]:
    """Every class in order, then the silent ones (a query each, answered by an index alone)."""
    names = [name for name, _low, _high in CLASSES]
    return [_count(n, due_orders(at, name=n)) for n in names] + [_count(SILENT, silent_orders(at))]


def _count(name: str, rows: OrderQuerySet) -> DueCount:
    found = rows.aggregate(count=Count("pk"), fen=Sum(_AMOUNT))
    return DueCount(name, found["count"], found["fen"] or 0)


__all__ = ["CLASSES", "HORIZON", "SILENT", "DueCount", "count_due", "due_orders", "silent_orders"]
