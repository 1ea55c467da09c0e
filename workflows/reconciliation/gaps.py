"""The gap between two points at one moment: who left the first and has not come to the second.

Read from passages: an order of the gap stands, at T, at a node behind the start and before the end.
What each order of it is (`kind`) decides the database, in one query with a row per order of the
gap; every figure and every list is made from those rows, which is why they agree.
"""

from __future__ import annotations

import statistics
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property, reduce
from operator import attrgetter, or_
from typing import Any, NamedTuple

from django.db.models import (
    BigIntegerField,
    Case,
    CharField,
    Exists,
    F,
    FilteredRelation,
    OuterRef,
    Q,
    Value,
    When,
)
from django.db.models.functions import Cast, Coalesce

from connectors.orders.models import NodePassage, Order
from connectors.orders.nodes import NODE_CODES, Node
from connectors.orders.services import list_nodes
from connectors.orders.statuses import GroupState, PresalePhase, RefundState, Stage
from connectors.shops.models import Source
from connectors.shops.services import Freshness, summarise_freshness
from rules_engine.scoring.silence import GROUP_PATIENCE
from workflows.canvas.silting import Epoch
from workflows.causes import CAUSES
from workflows.reconciliation.points import Point, check_pair, list_places, list_points

WINDOW = timedelta(days=30)
# Beginnings of the age classes, in hours.
AGES = (0, 1, 4, 12, 24)
_AGE_SECONDS = tuple(3600.0 * hours for hours in AGES)
MISSING, IN_TIME = "missing", "in_time"
# Why an order need not come to the end (yet).
EXCUSES = ("unpaid", "presale", "group", "refund")
_LATER = "later"


@dataclass(frozen=True)
class Gap:
    """What is asked: two points, a patience, a moment, and how far the sources can be believed.

    `allowed` None means: longer at its node than the node table expects. `until` is the moment up
    to which the sources of the end are complete (None: not connected).
    """

    start: Point
    end: Point
    allowed: timedelta | None
    at: datetime
    nodes: tuple[Node, ...]
    until: datetime | None
    is_late: bool
    late_sources: tuple[str, ...] = ()
    is_now: bool = False

    @cached_property
    def at_s(self) -> float:
        """The moment in seconds since 1970."""
        return self.at.timestamp()

    @property
    def is_connected(self) -> bool:
        """Whether there is a source that could tell of the end."""
        return self.until is not None

    @property
    def is_adjacent(self) -> bool:
        """Leaving the start is entering the end: nobody can be between them."""
        return not list_places(self.start, self.end)

    @property
    def limit(self) -> datetime:
        """The moment up to which patience counts.

        With a fresh source: as far as it is complete, for what it has not told yet is not missing.
        With a late one nothing is claimed, so the present shows everyone who may be.
        """
        return self.at if self.is_late or self.until is None else self.until

    @cached_property
    def codes(self) -> tuple[str, ...]:
        """Nodes between the two points."""
        return tuple(self.nodes[place].code for place in list_places(self.start, self.end))


class GapRow(NamedTuple):
    """One order of the gap. Moments in seconds since 1970, money in fen."""

    order_id: int
    kind: str
    node: str
    since: float
    fen: int
    due: float | None
    shop_id: int
    cause: str

    @property
    def left_at(self) -> datetime:
        """When the order left the start."""
        return datetime.fromtimestamp(self.since, UTC)


def open_gap(
    start: str,
    end: str,
    *,
    at: datetime,
    allowed: timedelta | None = None,
    known: datetime | None = None,
    is_now: bool = False,
) -> Gap:
    """The gap between two points by code, in the environment in force (three queries at most).

    `known` repeats an earlier answer: how far the sources were complete then. Raises BadInput for
    points that do not exist or stand the wrong way round.
    """
    nodes = list_nodes()
    a, b = check_pair(start, end, list_points(nodes))
    sources = list(Source.objects.exclude(complete_until=None))
    freshness = summarise_freshness(sources, at)
    until = _known_until(b, freshness, at)
    kinds = set(b.kinds)
    late = [
        source
        for source in sources
        if source.kind in kinds and _is_late(source, min(source.complete_until or at, at), at)
    ]
    is_late = bool(late)
    if known is not None and until is not None:
        until = min(known, at)
        is_late = any(_is_late(s, until, at) for s in sources if s.kind in kinds)
    names = tuple(source.name for source in late) if is_late else ()
    return Gap(a, b, allowed, at, nodes, until, is_late, names, is_now)


def _is_late(source: Source, until: datetime, at: datetime) -> bool:
    return at - until > timedelta(minutes=source.lateness_minutes)


def _known_until(end: Point, freshness: dict[str, Freshness], at: datetime) -> datetime | None:
    """Up to when it is known who came to the end; None when its source is not connected."""
    if end.needs and not freshness[end.needs].is_connected:
        return None
    told = [freshness[kind].complete_until for kind in end.kinds]
    return min((moment for moment in told if moment is not None), default=at)


# --- the one query ----------------------------------------------------------------------------


class _Names:
    """What the columns are called: from a passage, or from the order that stands at it now."""

    def __init__(self, gap: Gap) -> None:
        self._prefix = "" if gap.is_now else "order__"
        self.pk = "pk" if gap.is_now else "order_id"
        self.entered = "node_entered_at" if gap.is_now else "entered_at"

    def of(self, column: str) -> str:
        """A column, or a way on, of the order."""
        return f"{self._prefix}{column}"

    def q(self, **conditions: Any) -> Q:
        """Conditions on columns of the order."""
        return Q(**{self.of(name): value for name, value in conditions.items()})


def _base(gap: Gap) -> Any:
    """Passages between the points, with when their order left the start and what it is.

    Now an order says itself where it stands and since when: its passages need not be asked.
    """
    names = _Names(gap)
    rows: Any = Order.objects.filter(is_open=True) if gap.is_now else NodePassage.objects.all()
    rows = rows.filter(names.q(first_received_at__lte=gap.at), node__in=gap.codes)
    if gap.start.column:
        rows = rows.filter(names.q(**{f"{gap.start.column}__lte": gap.at}))
        rows = rows.annotate(since_at=F(names.of(gap.start.column)))
    else:
        code = NODE_CODES[gap.start.after - 1]
        # Joined outward and tested in `_kind`, so that the database never begins with this side.
        rows = rows.annotate(
            way=FilteredRelation(names.of("passages"), condition=names.q(passages__node=code)),
            since_at=F("way__left_at"),
        )
    if gap.end.column:  # the system has it, wherever the river holds it
        column = gap.end.column
        rows = rows.filter(
            names.q(**{f"{column}__isnull": True}) | names.q(**{f"{column}__gt": gap.at})
        )
    return rows.annotate(kind=_kind(gap, names))


def _kind(gap: Gap, names: _Names) -> Case:
    """What an order of the gap is; the first that holds. `later` was not between the points at T.

    Entering is tested here, not in the filter: as a range beside the leaving one it would lead
    SQLite to the index on entering, which finds every passage there ever was.
    """
    at, patience, of = gap.at, GROUP_PATIENCE, names.q
    whens = [
        When(
            Q(**{f"{names.entered}__gt": at}) | Q(since_at__isnull=True) | Q(since_at__gt=at),
            then=Value(_LATER),
        )
    ]
    if gap.end.before > 2:
        whens.append(When(node="payment", then=Value("unpaid")))
    whens += [
        When(
            of(presale_phase__in=[PresalePhase.DEPOSIT_DUE, PresalePhase.DEPOSIT_PAID])
            & (of(balance_due_at__isnull=True) | of(balance_due_at__gt=at)),
            then=Value("presale"),
        ),
        When(of(presale_phase=PresalePhase.FORFEITED), then=Value("presale")),
        When(
            (of(group_state=GroupState.OPEN) | of(stage=Stage.AWAIT_GROUP))
            & of(placed_at__gt=at - patience),
            then=Value("group"),
        ),
        When(
            of(
                refund_state__in=[
                    RefundState.REQUESTED,
                    RefundState.WAITING_RETURN,
                    RefundState.PLATFORM,
                ]
            ),
            then=Value("refund"),
        ),
        When(_is_refunded_whole(names), then=Value("refund")),
        When(_is_overdue(gap, names), then=Value(MISSING)),
    ]
    return Case(*whens, default=Value(IN_TIME), output_field=CharField())


def _is_refunded_whole(names: _Names) -> Q:
    """A refund of some lines leaves the others to be shipped."""
    return names.q(refund_state=RefundState.DONE) & (
        names.q(refunded_fen__isnull=True)
        | names.q(paid_fen__isnull=True)
        | names.q(refunded_fen__gte=F(names.of("paid_fen")))
    )


def _is_overdue(gap: Gap, names: _Names) -> Q:
    if gap.allowed is not None:
        return Q(since_at__lte=gap.limit - gap.allowed)
    by_node = [
        Q(
            node=node.code,
            **{f"{names.entered}__lte": gap.limit - timedelta(minutes=node.dwell_minutes)},
        )
        for node in gap.nodes
        if node.code in gap.codes
    ]
    return reduce(or_, by_node)


def _standing(gap: Gap) -> list[Any]:
    """Branches of one UNION: standing there still, and left since. Each has its index range."""
    rows = _base(gap)
    if gap.is_now:
        return [rows]
    return [rows.filter(left_at__isnull=True), rows.filter(left_at__gt=gap.at)]


class _AsTold:
    """A number as the database tells it: a function call per row and column for nothing is saved."""

    def get_db_converters(self, connection: Any) -> list[Any]:
        """None: both databases tell numbers as numbers."""
        return []


class _Seconds(_AsTold, Epoch):
    """A moment in seconds since 1970."""


class _Fen(_AsTold, Cast):
    """A sum of money."""


def read_gap(gap: Gap) -> list[GapRow]:
    """Every order between the two points at the moment, whatever its kind (one query).

    Unsorted. The cause is the one stored with the health interval at the moment, "" when there is
    none or when it lies behind the end and so explains nothing.
    """
    if gap.is_adjacent or not gap.is_connected:
        return []
    names = _Names(gap)
    changes = names.of("score_changes")
    inside = Q(**{f"{changes}__until__isnull": True})
    if not gap.is_now:
        inside = Q(**{f"{changes}__at__lte": gap.at}) & (
            inside | Q(**{f"{changes}__until__gt": gap.at})
        )
    paid = (names.of(name) for name in ("paid_fen", "gateway_paid_fen", "payable_fen"))
    fen = Coalesce(*paid, Value(0))
    shop = names.of("shop_id")
    columns = (names.pk, "kind", "node", "since_s", "fen", "due_s", shop, "cause_at")
    branches = [
        rows.annotate(
            health=FilteredRelation(changes, condition=inside),
            since_s=_Seconds("since_at"),
            due_s=_Seconds(names.of("deadline_at")),
            fen=_Fen(fen, BigIntegerField()),
            cause_at=Case(
                When(health__needs_intervention=True, then=F("health__cause")),
                default=Value(""),
                output_field=CharField(),
            ),
        ).values_list(*columns)
        for rows in _standing(gap)
    ]
    found = branches[0].union(*branches[1:], all=True) if len(branches) > 1 else branches[0]
    explaining = _Explaining(gap)
    return [
        GapRow(pk, kind, node, since, fen_, due, shop, explaining[cause])
        for pk, kind, node, since, fen_, due, shop, cause in found
        if kind != _LATER
    ]


class _Explaining(dict[str, str]):
    """A stored cause -> itself, or "" when it cannot be why an order has not come to the end."""

    def __init__(self, gap: Gap) -> None:
        super().__init__()
        self._before = gap.end.before

    def __missing__(self, cause: str) -> str:
        found = cause
        if cause in CAUSES:  # causes of the business's own are taken at their word
            node = CAUSES[cause][1]
            if not node or NODE_CODES.index(node) >= self._before:
                found = ""
        self[cause] = found
        return found


def missing_order_ids(gap: Gap) -> Any:
    """Ids (`missing_id`) of the orders missing at the moment, as a query for `pk__in`."""
    if gap.is_adjacent or not gap.is_connected:
        return NodePassage.objects.none().values(missing_id=F("order_id"))
    pk = F(_Names(gap).pk)
    branches = [rows.filter(kind=MISSING).values(missing_id=pk) for rows in _standing(gap)]
    return branches[0].union(*branches[1:], all=True) if len(branches) > 1 else branches[0]


# --- figures ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Share:
    """A part of the gap: by cause, by shop, by age."""

    key: Any
    count: int
    fen: int
    oldest: datetime | None = None


@dataclass(frozen=True)
class GapFigures:
    """The gap in numbers. `left` − `arrived` − `in_time` − `excused` = `missing`, within WINDOW.

    `older` are missing orders that left the start before the window; `missing` contains them.
    """

    left: int
    arrived: int
    in_time: int
    excused: int
    missing: int
    older: int
    fen: int
    median_age: timedelta | None
    oldest_at: datetime | None
    causes: list[Share]
    shops: list[Share]
    ages: list[Share]
    excuses: list[Share]


def measure_gap(gap: Gap, rows: Sequence[GapRow]) -> GapFigures:
    """The figures of rows read by `read_gap` (how many left the start: three more queries at most)."""
    missing = [row for row in rows if row.kind == MISSING]
    begins = (gap.at - WINDOW).timestamp()
    recent = sum(row.since > begins for row in rows)
    left = _count_left(gap, rows) if gap.is_connected else 0
    older = sum(row.since <= begins for row in missing)
    in_time = sum(row.kind == IN_TIME for row in rows)
    sinces = [row.since for row in missing]
    return GapFigures(
        left=left,
        arrived=max(0, left - recent),
        in_time=in_time,
        excused=len(rows) - in_time - len(missing),
        missing=len(missing),
        older=older,
        fen=sum(row.fen for row in missing),
        median_age=_age(gap, statistics.median(sinces)) if sinces else None,
        oldest_at=datetime.fromtimestamp(min(sinces), UTC) if sinces else None,
        causes=_shares(missing, _CAUSE),
        shops=_shares(missing, _SHOP),
        ages=_ages(gap, missing),
        excuses=_shares([row for row in rows if row.kind in EXCUSES], _KIND),
    )


def _age(gap: Gap, since: float) -> timedelta:
    return timedelta(seconds=gap.at_s - since)


def age_class(gap: Gap, row: GapRow) -> int:
    """Which class of AGES an order is in."""
    return max(0, bisect_right(_AGE_SECONDS, gap.at_s - row.since) - 1)


_FEN, _SINCE = attrgetter("fen"), attrgetter("since")
_CAUSE, _SHOP, _KIND = attrgetter("cause"), attrgetter("shop_id"), attrgetter("kind")


def _shares(rows: Iterable[GapRow], key: Any) -> list[Share]:
    """Parts, most orders first."""
    parts: dict[Any, list[GapRow]] = defaultdict(list)
    for row in rows:
        parts[key(row)].append(row)
    shares = (
        Share(
            name,
            len(part),
            sum(map(_FEN, part)),
            datetime.fromtimestamp(min(map(_SINCE, part)), UTC),
        )
        for name, part in parts.items()
    )
    return sorted(shares, key=lambda share: (-share.count, str(share.key)))


def _ages(gap: Gap, rows: Sequence[GapRow]) -> list[Share]:
    parts = {share.key: share for share in _shares(rows, lambda row: age_class(gap, row))}
    return [parts.get(number, Share(number, 0, 0)) for number in range(len(AGES))]


def _passages_left(gap: Gap) -> Any:
    """Passages by which orders got the start behind them, within the window before the moment."""
    if gap.start.column:
        node, field = NODE_CODES[gap.start.before], "entered_at"
    else:
        node, field = NODE_CODES[gap.start.after - 1], "left_at"
    rows = NodePassage.objects.filter(
        **{"node": node, f"{field}__gt": gap.at - WINDOW, f"{field}__lte": gap.at}
    )
    return rows.annotate(passed_at=F(field))


def _is_end(gap: Gap) -> Any:
    """Passages that an order's end closed at the start: nothing follows them, it never left."""
    if gap.start.column:
        return Q(pk__in=[])
    later = NodePassage.objects.filter(
        order=OuterRef("order"), node__in=NODE_CODES[gap.start.after :]
    )
    return Q(is_inferred=True) & ~Exists(later)


def _count_left(gap: Gap, rows: Sequence[GapRow]) -> int:
    """How many orders have the start behind them, within the window before the moment.

    Everybody and those that ended there, each from an index of its own.
    """
    passages = _passages_left(gap)
    counted: int = passages.count() - passages.filter(_is_end(gap)).count()
    if not gap.is_now:
        # Orders nobody knew at the moment, found from their side: they are few, and indexed.
        unheard = Order.objects.filter(received_at__gt=gap.at, first_received_at__gt=gap.at)
        counted -= unheard.filter(
            Exists(passages.filter(order=OuterRef("pk")).exclude(_is_end(gap)))
        ).count()
    return counted + len(list_early(gap, rows))


def list_early(gap: Gap, rows: Sequence[GapRow]) -> list[GapRow]:
    """Rows of the gap that have the start behind them although the river holds them before it.

    Only a moment of the order itself can say so: the system has it. No passage tells of them.
    """
    if not gap.start.column:
        return []
    begins = (gap.at - WINDOW).timestamp()
    return [
        row for row in rows if NODE_CODES.index(row.node) < gap.start.before and row.since > begins
    ]


def list_left(gap: Gap, *, only_arrived: bool) -> Any:
    """(passed_at, order_id) of orders with the start behind them, as a query, latest first.

    `only_arrived` leaves out those of the gap: they came to the end, or are over. Orders a system
    has while the river holds them earlier are not here: `list_early` has them.
    """
    found = _passages_left(gap).filter(order__first_received_at__lte=gap.at).exclude(_is_end(gap))
    if only_arrived:
        inside = NodePassage.objects.filter(
            Q(left_at__isnull=True) | Q(left_at__gt=gap.at),
            order=OuterRef("order"),
            node__in=gap.codes,
            entered_at__lte=gap.at,
        )
        if gap.end.column:
            column = f"order__{gap.end.column}"
            inside = inside.filter(
                Q(**{f"{column}__isnull": True}) | Q(**{f"{column}__gt": gap.at})
            )
        found = found.exclude(Exists(inside))
    return found.order_by("-passed_at", "-order_id").values_list("passed_at", "order_id")


__all__ = [
    "AGES",
    "EXCUSES",
    "IN_TIME",
    "MISSING",
    "Gap",
    "GapFigures",
    "GapRow",
    "Share",
    "age_class",
    "list_early",
    "list_left",
    "measure_gap",
    "missing_order_ids",
    "open_gap",
    "read_gap",
]
