"""From scores to episodes: what opens, rises, sinks and closes, with its hold and its words.

Everything happens in the transaction that scored: an alert, its hold and the decision to speak are
committed together or not at all.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from django.db.models import Max, Q

from config.tenancy.models import Environment
from connectors.orders.models import Order
from connectors.sync.services import is_first_read_over
from rules_engine.scoring.bands import SEVERITY, Band, Lines, Outcome
from rules_engine.scoring.models import Score, ScoreChange
from rules_engine.scoring.services import ScoredOrder
from workflows.interventions.groups import Subject, record_notices
from workflows.interventions.holds import place_holds, release_recovered
from workflows.interventions.models import Alert, AlertGroup, Hold, Level
from workflows.interventions.policy import SETTLED_AFTER, Move, Standing, decide

_SAVED = (
    "level",
    "worst_level",
    "cause",
    "score_hundredths",
    "level_since",
    "closed_at",
    "close_reason",
    "hold_state",
)
# A stretch of red in these states has no hold yet and no person's word against one.
_TO_HOLD = {Alert.HoldState.NONE, Alert.HoldState.FAILED}


@dataclass
class Decided:
    """What one chunk led to. `groups` gather words that are due in half a minute."""

    opened: int = 0
    closed: int = 0
    held: int = 0
    released: int = 0
    asked: int = 0
    groups: list[AlertGroup] = field(default_factory=list)

    def __iadd__(self, other: Decided) -> Decided:
        self.opened += other.opened
        self.closed += other.closed
        self.held += other.held
        self.released += other.released
        self.asked += other.asked
        self.groups += other.groups
        return self


@dataclass(frozen=True)
class _Row:
    """An order as scored: how it stands, and why."""

    standing: Standing
    cause: str


def decide_interventions(
    scored: Sequence[ScoredOrder], *, environment: Environment, lines: Lines, now: datetime
) -> Decided:
    """Open, raise, lower and close the episodes of orders that were just scored.

    Runs in the transaction that scored them. A check that could not be judged because its source
    is late never counts as recovery: ignorance is no good news.
    """
    if not scored:
        return Decided()
    ids = [order.order_id for order in scored]
    below = {order.order_id for order in scored if order.after_band != Band.HEALTHY}
    _watch_healthy_history([pk for pk in ids if pk not in below], now=now)
    here = set(ids)
    alerts = {
        alert.order_id: alert
        for alert in Alert.objects.filter(
            closed_at__isnull=True, order_id__gte=min(ids), order_id__lte=max(ids)
        )
        if alert.order_id in here
    }
    rows = _read_rows(below | alerts.keys(), alerts)
    moves = {pk: decide(row.standing, lines) for pk, row in rows.items()}
    moves |= _settle([pk for pk, m in moves.items() if m == Move.WAIT], rows, lines, now)
    uncertain = {order.order_id for order in scored if order.is_uncertain}
    better = [pk for pk, m in moves.items() if m in {Move.LOWER, Move.CLOSE}]
    for pk in _list_unproven([pk for pk in better if pk in uncertain], alerts):
        if rows[pk].standing.is_open:
            moves[pk] = Move.NOTHING
    return _Acts(environment, now, alerts, rows).apply(moves)


def _watch_healthy_history(order_ids: Sequence[int], *, now: datetime) -> None:
    """From now on treat imported orders that are well like any other.

    What was wrong when it was imported stays silent; what goes wrong afterwards is news. While the
    first reading of a source is under way nobody is well yet: an order whose warehouse has not been
    heard would turn red the moment it is.
    """
    if not order_ids or not is_first_read_over(now=now):
        return
    Order.objects.filter(pk__in=order_ids, is_history=True, is_watched=False).update(
        is_watched=True
    )


def _read_rows(order_ids: Collection[int], alerts: dict[int, Alert]) -> dict[int, _Row]:
    """How orders stand that are below 健康 or have an open episode, by id."""
    if not order_ids:
        return {}
    rows = (
        Score.objects.filter(order_id__in=order_ids)
        .exclude(band="")
        .order_by("order_id")
        .values_list(
            "order_id",
            "band",
            "score_hundredths",
            "order__is_open",
            "order__is_history",
            "order__is_watched",
            "cause",
        )
    )
    return {
        pk: _Row(
            Standing(
                band,
                score,
                alerts[pk].level if pk in alerts else "",
                is_open,
                is_history and not is_watched,
            ),
            cause,
        )
        for pk, band, score, is_open, is_history, is_watched, cause in rows
    }


def _settle(
    waiting: list[int], rows: dict[int, _Row], lines: Lines, now: datetime
) -> dict[int, Move]:
    """Decide again about what may be flapping, knowing since when it is on this side."""
    if not waiting:
        return {}
    recent: dict[int, list[tuple[datetime, str]]] = {pk: [] for pk in waiting}
    for pk, at, band in (
        ScoreChange.objects.filter(order_id__in=waiting)
        .filter(Q(until__isnull=True) | Q(until__gt=now - SETTLED_AFTER))
        .order_by("-at", "-pk")
        .values_list("order_id", "at", "band")
    ):
        recent[pk].append((at, band))
    moves = {}
    for pk in waiting:
        standing = rows[pk].standing
        level = SEVERITY[standing.level or Band.HEALTHY]
        is_worse, since = SEVERITY[standing.band] > level, now
        for at, band in recent[pk]:
            if SEVERITY[band] == level or (SEVERITY[band] > level) != is_worse:
                break
            since = at
        moves[pk] = decide(replace(standing, settled=now - since), lines)
    return moves


def _list_unproven(order_ids: list[int], alerts: dict[int, Alert]) -> list[int]:
    """Orders of which a check that failed in the open episode cannot be judged now."""
    if not order_ids:
        return []
    failed: dict[int, set[str]] = {pk: set() for pk in order_ids}
    for pk, until, keys in ScoreChange.objects.filter(order_id__in=order_ids).values_list(
        "order_id", "until", "failing"
    ):
        if until is None or until > alerts[pk].opened_at:
            failed[pk].update(keys)
    return [
        pk
        for pk, dimensions in Score.objects.filter(order_id__in=order_ids).values_list(
            "order_id", "dimensions"
        )
        if failed[pk] & {d["key"] for d in dimensions if d["result"] == str(Outcome.INSUFFICIENT)}
    ]


class _Acts:
    """Carries out the moves of one chunk; holds what its steps share."""

    def __init__(
        self,
        environment: Environment,
        now: datetime,
        alerts: dict[int, Alert],
        rows: dict[int, _Row],
    ) -> None:
        self.environment, self.now, self.alerts, self.rows = environment, now, alerts, rows
        self.touched: dict[int, Alert] = {}  # alerts to save, by order
        self.done = Decided()

    def apply(self, moves: dict[int, Move]) -> Decided:
        """Close and sink first (they give holds back), then rise, hold, save, speak."""
        by_move: dict[Move, list[int]] = {move: [] for move in Move}
        for pk, move in moves.items():
            by_move[move].append(pk)
        self._close(by_move[Move.CLOSE])
        self._lower(by_move[Move.LOWER])
        worse = self._open(by_move[Move.OPEN]) + [self._shift(pk) for pk in by_move[Move.RAISE]]
        self._refresh(by_move[Move.NOTHING] + by_move[Move.WAIT])
        placed = place_holds(
            [
                a
                for a in (*worse, *self._list_without_hold())
                if a.level == Level.RED and a.hold_state in _TO_HOLD
            ],
            environment=self.environment,
            now=self.now,
        )
        self.touched |= {a.order_id: a for a in worse}
        if self.touched:
            Alert.objects.bulk_update(list(self.touched.values()), _SAVED)
        self.done.held, self.done.asked = placed.held, placed.asked
        self.done.groups = [
            *placed.groups,
            *record_notices([Subject(a.level, a.cause, alert=a) for a in worse], now=self.now),
        ]
        return self.done

    def _close(self, ids: list[int]) -> None:
        for pk in ids:
            alert, is_over = self.alerts.pop(pk), not self.rows[pk].standing.is_open
            alert.closed_at = self.now
            alert.close_reason = Alert.CloseReason.OVER if is_over else Alert.CloseReason.RECOVERED
            kind = Hold.ReleaseKind.OVER if is_over else Hold.ReleaseKind.RECOVERED
            self.done.released += release_recovered([alert], kind=kind, now=self.now)
            self.touched[pk] = alert
        self.done.closed = len(ids)

    def _lower(self, ids: list[int]) -> None:
        was_red = [self.alerts[pk] for pk in ids if self.alerts[pk].level == Level.RED]
        self.done.released += release_recovered(
            was_red, kind=Hold.ReleaseKind.RECOVERED, now=self.now
        )
        for pk in ids:
            self._shift(pk)

    def _open(self, ids: list[int]) -> list[Alert]:
        if not ids:
            return []
        episodes = dict(
            Alert.objects.filter(order_id__in=ids)
            .values("order")
            .annotate(last=Max("episode"))
            .values_list("order", "last")
        )
        self.done.opened = len(ids)
        made: list[Alert] = Alert.objects.bulk_create(
            [
                Alert(
                    order_id=pk,
                    episode=episodes.get(pk, 0) + 1,
                    level=self.rows[pk].standing.band,
                    worst_level=self.rows[pk].standing.band,
                    cause=self.rows[pk].cause,
                    score_hundredths=self.rows[pk].standing.score_hundredths,
                    opened_at=self.now,
                    level_since=self.now,
                )
                for pk in ids
            ]
        )
        return made

    def _shift(self, pk: int) -> Alert:
        """Take over the order's present level."""
        alert, row = self.alerts[pk], self.rows[pk]
        alert.level, alert.level_since = row.standing.band, self.now
        alert.worst_level = max(alert.worst_level, alert.level, key=SEVERITY.__getitem__)
        alert.cause, alert.score_hundredths = row.cause, row.standing.score_hundredths
        self.touched[pk] = alert
        return alert

    def _refresh(self, ids: list[int]) -> None:
        """Keep score and cause of a standing episode current, so that pages say what is true."""
        for pk in ids:
            alert, row = self.alerts.get(pk), self.rows[pk]
            if alert is None or row.standing.band == Band.HEALTHY:
                continue
            now_is = (row.cause, row.standing.score_hundredths)
            if (alert.cause, alert.score_hundredths) != now_is:
                alert.cause, alert.score_hundredths = now_is
                self.touched[pk] = alert

    def _list_without_hold(self) -> list[Alert]:
        """Red episodes of earlier passes whose hold failed: they are tried again."""
        again = [
            a
            for a in self.alerts.values()
            if a.level == Level.RED
            and a.hold_state == Alert.HoldState.FAILED
            and self.rows[a.order_id].standing.band == Band.RED
        ]
        self.touched |= {a.order_id: a for a in again}
        return again
