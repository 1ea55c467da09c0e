"""Which orders a figure counts: one description, used by the snapshot and by the list it opens.

Everything is asked through intervals at one moment T: health (ScoreChange), nodes (NodePassage)
and holds (Hold). The same selection at the same T gives the same orders.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import (
    Case,
    DateTimeField,
    Exists,
    F,
    FilteredRelation,
    IntegerField,
    OuterRef,
    Q,
    TextField,
    Value,
    When,
)
from django.db.models.functions import Cast, Coalesce

from config.tenancy.scope import require_environment_id
from connectors.orders.models import NodePassage, Order
from connectors.orders.querysets import OrderQuerySet
from connectors.orders.services import list_nodes
from rules_engine.scoring.bands import SEVERITY
from rules_engine.scoring.models import ScoreChange
from workflows.canvas.silting import is_late, with_waiting_since
from workflows.interventions.models import Hold
from workflows.reconciliation import (
    AGES,
    DEFAULT_END,
    DEFAULT_START,
    missing_order_ids,
    open_gap,
)

FLOW_WINDOW = timedelta(hours=1)
SCAN_WINDOW = timedelta(hours=24)
SCAN_GOAL = timedelta(minutes=5)
# Beginnings of the age classes of the gap, in hours.
GAP_AGES = AGES
PAID_SINCE = Coalesce("paid_at", "gateway_paid_at")
NO_CAUSE = "-"  # how an address says "without a cause"
_NEVER = datetime.fromisoformat("2999-01-01T00:00:00+00:00")


@dataclass(frozen=True)
class Selection:
    """Conditions on orders; empty ones do not apply, all given ones must hold.

    `entered` and `left` name a node passed within the hour before T; `stuck_in` and `mended_in`
    are the beginnings of hours. Health conditions mean orders still in the river unless
    `with_closed`.
    """

    band: tuple[str, ...] = ()
    cause: str = ""
    node: str = ""
    overdue: str = ""
    entered: str = ""
    left: str = ""
    channel: str = ""
    shop: str = ""
    stage: str = ""
    failed: str = ""
    gap: str = ""
    age: int | None = None
    stuck_in: datetime | None = None
    mended_in: datetime | None = None
    is_held: bool = False
    needs: bool = False
    is_silent: bool = False
    is_unscored: bool = False
    late_scan: bool = False
    with_closed: bool = False
    words: str = ""

    @property
    def is_about_health(self) -> bool:
        """Whether the selection is of orders in trouble (small, sorted by urgency)."""
        return bool(
            set(self.band) - {"healthy"}
            or self.cause
            or self.needs
            or self.is_silent
            or self.is_held
            or self.failed
        )


def orders_at(at: datetime, *, is_now: bool = False) -> OrderQuerySet:
    """All orders known at T, with `health` = their health interval at T.

    `is_now` says that T is the present, which the index on open intervals answers faster.
    """
    inside = (
        Q(score_changes__until__isnull=True)
        if is_now
        else Q(score_changes__at__lte=at)
        & (Q(score_changes__until__isnull=True) | Q(score_changes__until__gt=at))
    )
    inside &= Q(score_changes__environment_id=require_environment_id())
    rows: OrderQuerySet = Order.objects.annotate(
        health=FilteredRelation("score_changes", condition=inside)
    )
    return rows if is_now else rows.filter(first_received_at__lte=at)


def in_river(at: datetime, *, is_now: bool = False) -> Q:
    """Orders that were not over at T: still open, or closed by something received later."""
    return Q(is_open=True) if is_now else Q(is_open=True) | Q(received_at__gt=at)


def passages_at(at: datetime) -> Any:
    """Node passages standing at T, of orders known at T."""
    return NodePassage.objects.filter(
        Q(left_at__isnull=True) | Q(left_at__gt=at),
        entered_at__lte=at,
        order__first_received_at__lte=at,
    )


def _standing(at: datetime, node: str, condition: Q | None = None) -> Any:
    """Ids of orders standing at a node at T. Two index ranges instead of one OR, which has none."""
    rows = with_waiting_since(NodePassage.objects.filter(node=node, entered_at__lte=at))
    rows = rows.filter(condition or Q())
    still = rows.filter(left_at__isnull=True).values("order_id")
    return still.union(rows.filter(left_at__gt=at).values("order_id"), all=True)


def passages_entered(at: datetime) -> Any:
    """Passages whose order entered the node in the hour before T."""
    return NodePassage.objects.filter(
        entered_at__gt=at - FLOW_WINDOW, entered_at__lte=at, order__first_received_at__lte=at
    )


def passages_left(at: datetime) -> Any:
    """Passages whose order left the node in the hour before T."""
    return NodePassage.objects.filter(
        left_at__gt=at - FLOW_WINDOW, left_at__lte=at, order__first_received_at__lte=at
    )


def holds_at(at: datetime) -> Any:
    """Holds in force at T."""
    return Hold.objects.filter(
        Q(released_at__isnull=True) | Q(released_at__gt=at), placed_at__lte=at
    )


def changes_stuck(start: datetime, end: datetime) -> Any:
    """Intervals in which an order newly became stuck: it was not stuck just before."""
    before = ScoreChange.objects.filter(
        order=OuterRef("order"), until=OuterRef("at"), needs_intervention=True
    )
    return ScoreChange.objects.filter(
        ~Exists(before), at__gte=start, at__lt=end, needs_intervention=True
    )


def changes_mended(start: datetime, end: datetime) -> Any:
    """Intervals in which a stuck order became well: it was stuck just before."""
    before = ScoreChange.objects.filter(
        order=OuterRef("order"), until=OuterRef("at"), needs_intervention=True
    )
    return ScoreChange.objects.filter(
        Exists(before), at__gte=start, at__lt=end, needs_intervention=False
    )


def is_aged(number: int, at: datetime) -> Q:
    """Orders of the gap in one age class of GAP_AGES (annotate `since` = PAID_SINCE first)."""
    found = Q(since__lte=at - timedelta(hours=GAP_AGES[number]))
    if number + 1 < len(GAP_AGES):
        found &= Q(since__gt=at - timedelta(hours=GAP_AGES[number + 1]))
    return found


def orders_scanned(at: datetime) -> OrderQuerySet:
    """Orders placed in the day before T, not from history, that had their first score by then."""
    rows: OrderQuerySet = Order.objects.filter(
        placed_at__gt=at - SCAN_WINDOW,
        placed_at__lte=at,
        first_scored_at__lte=at,
        is_history=False,
    )
    return rows


def select_orders(selection: Selection, *, at: datetime, is_now: bool = False) -> OrderQuerySet:
    """The orders a selection means at T. Unsorted; `health__…` is their health interval at T."""
    s = selection
    rows = orders_at(at, is_now=is_now)
    if s.words:
        rows = rows.search(s.words)
    for column in ("channel", "stage"):
        if getattr(s, column):
            rows = rows.filter(**{column: getattr(s, column)})
    if s.shop:
        rows = rows.filter(shop__public_id=s.shop)
    health = _conditions_on_health(s)
    if health:
        if s.failed:
            rows = rows.annotate(failing_text=Cast("health__failing", TextField()))
        rows = rows.filter(health)  # through the one interval an order has at T
    if s.is_unscored:
        rows = rows.filter(health__id__isnull=True)
    if (health or s.is_unscored) and not s.with_closed:
        rows = rows.filter(in_river(at, is_now=is_now))
    if s.node:
        rows = rows.filter(pk__in=_standing(at, s.node))
    if s.overdue:
        nodes = [node for node in list_nodes() if node.code == s.overdue]
        rows = rows.filter(pk__in=_standing(at, s.overdue, is_late(nodes, at)))
    if s.entered:
        rows = rows.filter(pk__in=passages_entered(at).filter(node=s.entered).values("order_id"))
    if s.left:
        rows = rows.filter(pk__in=passages_left(at).filter(node=s.left).values("order_id"))
    if s.is_held:
        rows = rows.filter(pk__in=holds_at(at).values("order_id"))
    if s.gap == "wms":
        gap = open_gap(DEFAULT_START, DEFAULT_END, at=at, is_now=is_now)
        rows = rows.filter(pk__in=missing_order_ids(gap))
    if s.age is not None:
        rows = rows.annotate(since=PAID_SINCE).filter(is_aged(s.age, at))
    if s.late_scan:
        late_orders = orders_scanned(at).filter(first_scored_at__gt=F("placed_at") + SCAN_GOAL)
        rows = rows.filter(pk__in=late_orders.values("pk"))
    hour = timedelta(hours=1)
    if s.stuck_in:
        moved = changes_stuck(s.stuck_in, min(s.stuck_in + hour, at))
        rows = rows.filter(pk__in=moved.values("order_id"))
    if s.mended_in:
        moved = changes_mended(s.mended_in, min(s.mended_in + hour, at))
        rows = rows.filter(pk__in=moved.values("order_id"))
    return rows


def _conditions_on_health(s: Selection) -> Q:
    """What a selection asks of the health interval (empty when nothing)."""
    health = Q()
    if s.band:
        health &= Q(health__band__in=s.band)
        if "healthy" not in s.band:  # says the same, and names the index of orders in trouble
            health &= Q(health__needs_intervention=True)
    if s.cause:
        health &= Q(
            health__cause="" if s.cause == NO_CAUSE else s.cause, health__needs_intervention=True
        )
    if s.needs:
        health &= Q(health__needs_intervention=True)
    if s.is_silent:
        health &= Q(health__is_silent=True)
    if s.failed:
        health &= Q(failing_text__contains=f'"{s.failed}"')
    return health


def sort_by_urgency(rows: OrderQuerySet) -> OrderQuerySet:
    """Worst band first, then the earliest deadline; annotates `severity` and `due`."""
    severity = Case(
        *[When(health__band=band, then=Value(number)) for band, number in SEVERITY.items()],
        default=Value(-1),
        output_field=IntegerField(),
    )
    due = Coalesce("deadline_at", Value(_NEVER), output_field=DateTimeField())
    return rows.annotate(severity=severity, due=due).order_by("-severity", "due", "id")
