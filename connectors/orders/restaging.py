"""Orders whose status the business mapped, and whose stored payload no connector can read anew.

A file told them: its own words did not know the status, so the stage is all that was open.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from datetime import datetime

from django.db import transaction
from django.db.models import F, Max

from config.tenancy.bulk import upsert_rows
from connectors.orders.deadlines import list_ship_rules
from connectors.orders.evidence import (
    deadline_of,
    evidence_of,
    is_held_by_platform,
    is_in_review,
    note_hold,
    note_review,
    stand_at,
)
from connectors.orders.models import Order, OrderLine, StatusEvent
from connectors.orders.nodes import walk
from connectors.orders.passages import connected_kinds, list_nodes, save_passages
from connectors.orders.statuses import PresalePhase, Stage, is_open_stage
from connectors.orders.steps import list_steps

_WRITTEN = (
    "stage",
    "is_open",
    "released_at",
    "review_at",
    "hold_log",
    "deadline_at",
    "node",
    "node_entered_at",
    "revision",
    "received_at",
)
_EVENT_COLUMNS = ["order_id", "source_id", "sequence", "kind", "stage", "raw_status", "occurred_at", "recorded_at"]  # fmt: skip


def settle_stage(stage: str, *, presale_phase: str | None) -> str:
    """A mapped stage as this order has it: platforms print "waiting for payment" while only the
    balance of a presale is due (channels.md 1)."""
    if stage == Stage.AWAIT_PAY and presale_phase == PresalePhase.DEPOSIT_PAID:
        return Stage.DEPOSIT_PAID
    return stage


def restage_orders(ids: Collection[int], *, stages: Mapping[str, str], now: datetime) -> int:
    """Give orders the stage their status has by `stages`, UNKNOWN when it has none any more.

    Only those that were ever told with their status unknown: the words of a file knew the others.
    One transaction and a fixed number of statements; safe to run twice. Returns how many changed.
    """
    if not ids:
        return 0
    with transaction.atomic():
        query = Order.objects.filter(pk__in=ids).order_by("pk")
        orders = {o.pk: o for o in query.select_for_update(of=("self",), no_key=True)}
        asked = StatusEvent.objects.filter(
            order_id__in=orders, stage=Stage.UNKNOWN, raw_status=F("order__raw_status")
        )
        before: dict[int, str] = {}
        for pk in sorted(set(asked.values_list("order_id", flat=True))):
            order = orders[pk]
            stage = settle_stage(
                stages.get(order.raw_status, Stage.UNKNOWN), presale_phase=order.presale_phase
            )
            if order.stage != stage:
                before[pk], order.stage = order.stage, stage
        if before:
            _write({pk: orders[pk] for pk in before}, before, now=now)
    return len(before)


def _write(orders: Mapping[int, Order], before: Mapping[int, str], *, now: datetime) -> None:
    """Walk orders of another stage through the river again, and say what was corrected."""
    lines: dict[int, list[OrderLine]] = defaultdict(list)
    for line in OrderLine.objects.filter(order_id__in=orders):
        lines[line.order_id].append(line)
    nodes, connected, rules = list_nodes(), connected_kinds(), list_ship_rules()
    walked = {}
    for pk, order in orders.items():
        order.is_open = is_open_stage(order.stage)
        at, is_held, is_reviewed = (
            order.source_updated_at,
            is_held_by_platform(order),
            is_in_review(order),
        )
        note_hold(order, told_at=at, is_held=is_held, now=now)
        note_review(order, told_at=at, is_reviewed=is_reviewed, now=now)
        order.deadline_at = deadline_of(order, rules)
        walked[pk] = walk(evidence_of(order, lines[pk], connected), nodes)
        stand_at(order, walked[pk])
        order.revision += 1
        order.received_at = now
    save_passages(walked, known=list(orders))
    Order.objects.bulk_update(list(orders.values()), _WRITTEN, batch_size=200)
    rows = StatusEvent.objects.filter(order_id__in=orders).values("order_id")
    last = dict(rows.annotate(last=Max("sequence")).values_list("order_id", "last"))
    upsert_rows(
        StatusEvent,
        columns=_EVENT_COLUMNS,
        rows=[
            (pk, order.source_id, last[pk] + place, step.kind, step.stage, step.raw_status,
             step.occurred_at, now)
            for pk, order in orders.items()
            for place, step in enumerate(
                list_steps(order, before[pk], is_reread=True, now=now), 1
            )
        ],
        conflict=["order_id", "sequence"],
        update=[],
    )  # fmt: skip


__all__ = ["restage_orders", "settle_stage"]
