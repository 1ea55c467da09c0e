"""Counting the board at one moment, hourly figures, and the headquarters' sums.

`take_snapshot(now)` writes one BoardSnapshot; its `figures`:

    totals      received, open, paid_today, channels, unscored
    needs       count, fen, hour_ago
    bands       {band: {count, fen, deadline}}
    causes      [{cause, count, fen, deadline, worst}] most yuan first
    holds       {count, fen}
    scan        {p95_seconds, scanned, late}
    nodes       [{code, label, stock, entered, left, overdue, oldest, silt_hours, dwell_minutes}]
    hours       [{hour, stuck, mended}] 24, oldest first; the last one is running
    events      [{at, label}] rule releases of these hours
    sources     [{name, kind, until, is_late, lateness_minutes}]
    gap         None without a warehouse, else {paid, arrived, in_time, excused, missing, fen,
                ages: [..], until, is_late}
    urgent      [{public_id, order_no, channel, band, score, node, reason, cause, fen, deadline}]
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Count, F, Min, Q, Sum
from django.db.models.functions import Coalesce

from config.releases.models import Version
from config.tenancy.models import Division, Environment
from config.tenancy.scope import require_environment_id, require_tenant_id
from connectors.orders.models import Order
from connectors.orders.services import list_nodes
from connectors.shops.models import Source
from rules_engine.scoring.bands import SEVERITY
from rules_engine.scoring.models import Score
from workflows.canvas.silting import measure
from workflows.reconciliation import (
    DEFAULT_END,
    DEFAULT_START,
    measure_gap,
    open_gap,
    read_gap,
)
from workflows.rollup.models import BoardSnapshot, HourlyFigure
from workflows.rollup.selection import (
    SCAN_GOAL,
    Selection,
    changes_mended,
    changes_stuck,
    holds_at,
    in_river,
    orders_at,
    orders_scanned,
    select_orders,
    sort_by_urgency,
)

HOUR = timedelta(hours=1)
HOURS_SHOWN = 24
KEEP = timedelta(hours=26)
URGENT_SHOWN = 8
_AMOUNT = Coalesce("paid_fen", "gateway_paid_fen", "payable_fen", 0)


def amount_of(order: Order) -> int:
    """The yuan an order stands for: paid, else received by the gateway, else payable (fen)."""
    for fen in (order.paid_fen, order.gateway_paid_fen, order.payable_fen):
        if fen is not None:
            return fen
    return 0


def get_newest_snapshot() -> BoardSnapshot | None:
    """The newest snapshot of the environment in force (one query)."""
    newest: BoardSnapshot | None = BoardSnapshot.objects.order_by("-at").first()
    return newest


def take_snapshot(now: datetime) -> BoardSnapshot:
    """Count the environment in force at `now`, keep the figures, and drop snapshots of yesterday.

    A fixed number of queries, whatever the number of orders. Taking twice at one moment keeps one.
    """
    started = time.monotonic()
    with transaction.atomic():
        health, unscored = _count_health(now)
        figures = {
            **health,
            "totals": _count_totals(now, unscored),
            "holds": _count_holds(now),
            "scan": _measure_first_scan(now),
            "nodes": _count_nodes(now),
            "hours": _count_hours(now),
            "events": _list_events(now),
            "sources": _list_sources(now),
            "gap": _count_gap(now),
            "urgent": _list_urgent(now),
        }
        taken_ms = int((time.monotonic() - started) * 1000)
        snapshot, _created = BoardSnapshot.objects.update_or_create(
            at=now, defaults={"figures": figures, "taken_ms": taken_ms}
        )
        BoardSnapshot.objects.filter(at__lt=now - KEEP).delete()
        HourlyFigure.objects.filter(hour__lt=now - KEEP).delete()
    found: BoardSnapshot = snapshot
    return found


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def _count_totals(now: datetime, unscored: int) -> dict[str, Any]:
    midnight = _midnight(now)
    row = Order.objects.filter(first_received_at__lte=now).aggregate(
        received=Count("pk"),
        open=Count("pk", filter=in_river(now)),
        paid_today=Count("pk", filter=Q(paid_at__gte=midnight, paid_at__lte=now)),
        channels=Count("channel", distinct=True, filter=in_river(now)),
    )
    return row | {"unscored": unscored}


def _midnight(now: datetime) -> datetime:
    environment = Environment.objects.get(pk=require_environment_id())
    return now.astimezone(environment.zone).replace(hour=0, minute=0, second=0, microsecond=0)


def _count_health(now: datetime) -> tuple[dict[str, Any], int]:
    """Bands, causes and what needs a person, from one grouped query over the intervals at T."""
    rows = (
        orders_at(now)
        .filter(in_river(now))
        .values("health__band", "health__cause", "health__needs_intervention")
        .annotate(n=Count("pk"), fen=Sum(_AMOUNT), due=Min("deadline_at"))
        .order_by()
    )
    bands = {band: {"count": 0, "fen": 0, "deadline": None} for band in SEVERITY}
    causes: dict[str, dict[str, Any]] = {}
    needs = {"count": 0, "fen": 0}
    unscored = 0
    for row in rows:
        band, due = row["health__band"], _iso(row["due"])
        if band is None:
            unscored += row["n"]
            continue
        _add(bands[band], row, due)
        if row["health__needs_intervention"]:
            needs["count"] += row["n"]
            needs["fen"] += row["fen"]
            cause = causes.setdefault(
                row["health__cause"],
                {
                    "cause": row["health__cause"],
                    "count": 0,
                    "fen": 0,
                    "deadline": None,
                    "worst": band,
                },
            )
            _add(cause, row, due)
            cause["worst"] = max(cause["worst"], band, key=SEVERITY.__getitem__)
    hour_ago = (
        orders_at(now - HOUR)
        .filter(in_river(now - HOUR), health__needs_intervention=True)
        .aggregate(n=Count("pk"))["n"]
    )
    return {
        "bands": bands,
        "causes": sorted(causes.values(), key=lambda c: (-c["fen"], c["cause"])),
        "needs": needs | {"hour_ago": hour_ago},
    }, unscored


def _add(target: dict[str, Any], row: dict[str, Any], due: str | None) -> None:
    target["count"] += row["n"]
    target["fen"] += row["fen"]
    if due is not None and (target["deadline"] is None or due < target["deadline"]):
        target["deadline"] = due


def _count_holds(now: datetime) -> dict[str, int]:
    rows = Order.objects.filter(pk__in=holds_at(now).values("order_id"), first_received_at__lte=now)
    row: dict[str, int] = rows.aggregate(count=Count("pk"), fen=Coalesce(Sum(_AMOUNT), 0))
    return row


def _measure_first_scan(now: datetime) -> dict[str, Any]:
    """How long orders of the last day waited for their first score (nearest-rank p95)."""
    waits = sorted(
        (scored - placed).total_seconds()
        for placed, scored in orders_scanned(now).values_list("placed_at", "first_scored_at")
    )
    p95 = waits[math.ceil(len(waits) * 0.95) - 1] if waits else None
    return {
        "p95_seconds": p95,
        "scanned": len(waits),
        "late": sum(1 for wait in waits if wait > SCAN_GOAL.total_seconds()),
    }


def _count_nodes(now: datetime) -> list[dict[str, Any]]:
    """Stock, flow, oldest age and silt of each node, in river order, as the canvas measures them."""
    nodes = list_nodes()
    figures = measure(nodes, at=now)
    return [
        {
            "code": node.code,
            "label": node.label,
            "stock": found.stock,
            "entered": found.entered,
            "left": found.left,
            "overdue": found.late,
            "oldest": None
            if found.oldest_minutes is None
            else _iso(now - timedelta(minutes=found.oldest_minutes)),
            "silt_hours": round(found.excess_hours, 2),
            "dwell_minutes": node.dwell_minutes,
        }
        for node, found in ((node, figures[node.code]) for node in nodes)
    ]


def _hour_of(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)


def _count_hours(now: datetime) -> list[dict[str, Any]]:
    """Newly stuck and mended orders per hour. Finished hours are counted once and kept.

    The hour before the running one is counted again, for changes committed at its very end.
    """
    last = _hour_of(now)
    hours = [last - HOUR * n for n in range(HOURS_SHOWN - 1, -1, -1)]
    kept = {row.hour: row for row in HourlyFigure.objects.filter(hour__gte=hours[0])}
    missing = [h for h in hours[:-2] if h not in kept]
    # The first time (or after a stop) all missing hours come from one query each way.
    fresh = [*missing, *hours[-2:]]
    stuck = _orders_per_hour(changes_stuck(min(fresh), now))
    mended = _orders_per_hour(changes_mended(min(fresh), now))
    rows = []
    for hour in fresh:
        row = kept.get(hour) or HourlyFigure(hour=hour)
        row.newly_stuck, row.mended = len(stuck[hour]), len(mended[hour])
        kept[hour] = row
        rows.append(row)
    HourlyFigure.objects.bulk_create(
        rows,
        update_conflicts=True,
        unique_fields=["environment", "hour"],
        update_fields=["newly_stuck", "mended"],
    )
    return [
        {"hour": h.isoformat(), "stuck": kept[h].newly_stuck, "mended": kept[h].mended}
        for h in hours
    ]


def _orders_per_hour(changes: Any) -> dict[datetime, set[int]]:
    """Orders with a change in each hour; an order counts once in an hour."""
    found: dict[datetime, set[int]] = defaultdict(set)
    for at, order_id in changes.values_list("at", "order_id").iterator():
        found[_hour_of(at)].add(order_id)
    return found


def _list_events(now: datetime) -> list[dict[str, Any]]:
    start = _hour_of(now) - HOUR * (HOURS_SHOWN - 1)
    versions = Version.objects.filter(
        document__kind="rule_set", published_at__gte=start, published_at__lte=now
    ).select_related("document")
    return [
        {"at": v.published_at.isoformat(), "label": f"v{v.number}"}
        for v in versions.order_by("published_at")[:5]
    ]


def _list_sources(now: datetime) -> list[dict[str, Any]]:
    rows = []
    for source in Source.objects.exclude(complete_until=None).order_by("complete_until", "name"):
        until = min(source.complete_until, now)
        rows.append(
            {
                "name": source.name,
                "kind": source.kind,
                "until": until.isoformat(),
                "is_late": now - until > timedelta(minutes=source.lateness_minutes),
                "lateness_minutes": source.lateness_minutes,
            }
        )
    return rows


def _count_gap(now: datetime) -> dict[str, Any] | None:
    """Paid orders the warehouse does not know though it should; None without a warehouse."""
    gap = open_gap(DEFAULT_START, DEFAULT_END, at=now)
    if gap.until is None:
        return None
    found = measure_gap(gap, read_gap(gap))
    return {
        "paid": found.left,
        "arrived": found.arrived,
        "in_time": found.in_time,
        "excused": found.excused,
        "missing": found.missing,
        "fen": found.fen,
        "ages": [share.count for share in found.ages],
        "until": gap.until.isoformat(),
        "is_late": gap.is_late,
    }


def _list_urgent(now: datetime) -> list[dict[str, Any]]:
    rows = sort_by_urgency(select_orders(Selection(needs=True), at=now)).annotate(
        band_now=F("health__band"),
        cause_now=F("health__cause"),
        score_now=F("health__score_hundredths"),
    )[:URGENT_SHOWN]
    orders = list(rows)
    scores = {s.order_id: s for s in Score.objects.filter(order__in=orders)}
    return [
        {
            "public_id": order.public_id,
            "order_no": order.order_no,
            "channel": order.channel,
            "band": order.band_now,
            "score": order.score_now,
            "node": order.node,
            "reason": reason_of(scores.get(order.pk), order.cause_now),
            "cause": order.cause_now,
            "fen": amount_of(order),
            "deadline": _iso(order.deadline_at),
        }
        for order in orders
    ]


def reason_of(score: Score | None, cause: str) -> str:
    """The sentence of the dimension behind a cause; the cause itself when there is none."""
    if score is None:
        return cause
    failed = [d for d in score.dimensions if d["result"] in {"fail", "insufficient"}]
    named = [d for d in failed if d.get("cause") == cause] or failed
    worst = min(named, key=lambda d: (not d.get("is_capping"), -_lost(d)), default=None)
    return (worst.get("reason") if worst else "") or cause


def _lost(dimension: dict[str, Any]) -> float:
    return float(dimension.get("max") or 0) - dimension["points_hundredths"] / 100


# --- headquarters ---------------------------------------------------------------------------


@dataclass
class DivisionFigures:
    """What headquarters sees of one division: sums, never an order."""

    name: str
    at: datetime | None = None
    open: int = 0
    needs: int = 0
    fen: int = 0
    held: int = 0
    missing: int = 0
    bands: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SEVERITY, 0))


_SUMMED = ("open", "needs", "fen", "held", "missing")


def list_division_figures() -> tuple[list[DivisionFigures], DivisionFigures]:
    """Newest figures of each division's production, and their sum (call in the tenant's scope).

    `at` of the sum is the oldest moment among the divisions. Divisions without a snapshot count 0.
    """
    production = {
        e.division_id: e
        for e in Environment.objects.filter(
            tenant_id=require_tenant_id(), kind="production", is_active=True
        )
    }
    newest: dict[int, BoardSnapshot] = {}
    for environment in production.values():
        found = (
            BoardSnapshot.objects.across_environments()
            .filter(environment_id=environment.pk)
            .order_by("-at")
            .first()
        )
        if found is not None:
            newest[environment.division_id] = found
    rows = [
        _figures_of(division.name, newest.get(division.pk))
        for division in Division.objects.filter(tenant_id=require_tenant_id()).order_by("name")
    ]
    total = DivisionFigures(name="")
    for row in rows:
        for name in _SUMMED:
            setattr(total, name, getattr(total, name) + getattr(row, name))
        for band in SEVERITY:
            total.bands[band] += row.bands[band]
        total.at = min(filter(None, (total.at, row.at)), default=None)
    return rows, total


def _figures_of(name: str, snapshot: BoardSnapshot | None) -> DivisionFigures:
    row = DivisionFigures(name=name)
    if snapshot is None:
        return row
    f = snapshot.figures
    row.at, row.open = snapshot.at, f["totals"]["open"]
    row.needs, row.fen, row.held = f["needs"]["count"], f["needs"]["fen"], f["holds"]["count"]
    row.missing = f["gap"]["missing"] if f["gap"] else 0
    row.bands = {band: f["bands"][band]["count"] for band in SEVERITY}
    return row
