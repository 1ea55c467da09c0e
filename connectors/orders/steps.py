"""From one stage to the next: what was observed, what that proves, what it takes back.

Plain functions over a row in hand; nothing here asks the database.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from connectors.orders.evidence import moment_of_stage, ready_at
from connectors.orders.models import Order, StatusEvent
from connectors.orders.statuses import FINAL_STAGES, SHIPPED_STAGES, STAGE_RANKS, Stage

# The stages an order may have passed unseen, in their order; only these have moments of their own.
_PASSED = (Stage.AWAIT_PAY, Stage.DEPOSIT_PAID, Stage.AWAIT_SHIP, Stage.SHIPPED, Stage.DELIVERED)
# Behind these an order does not come again unless its source takes back what it said: a platform
# may hold an order that waited to ship, but goods that left are not waiting to leave.
_BEYOND = SHIPPED_STAGES | FINAL_STAGES | {Stage.PART_SHIPPED}


@dataclass(frozen=True, slots=True)
class Step:
    """One status event to be written: its kind (StatusEvent.Kind), stage and moment."""

    kind: str
    stage: str
    raw_status: str
    occurred_at: datetime


def list_steps(order: Order, before: str | None, *, is_reread: bool, now: datetime) -> list[Step]:
    """The events of an order that just moved from stage `before` (None: it is new), oldest first.

    Stages that were skipped are inferred where the order's own times date them: between the stage
    it left and the one it is in, never later than that. A stage that came out differently from the
    same payload, or that the source took back, is a correction.
    """
    occurred_at, kind = _date_stage(order, before, now=now)
    if is_reread and before is not None:
        # What was said of this state before was not so: dated by the state, as far as it tells.
        return [Step(StatusEvent.Kind.CORRECTED, order.stage, order.raw_status, occurred_at)]
    if before is not None and _is_taken_back(before, order.stage):
        at = order.source_updated_at or now
        return [Step(StatusEvent.Kind.CORRECTED, order.stage, order.raw_status, at)]
    steps = _infer_skipped(order, before, until=occurred_at) if before else []
    return [*steps, Step(kind, order.stage, order.raw_status, occurred_at)]


def _date_stage(order: Order, before: str | None, *, now: datetime) -> tuple[datetime, str]:
    """When an order entered its stage: its own time, else its state's, else when we heard of it."""
    moment, _kind = moment_of_stage(order)
    if before is not None and order.stage in {Stage.AWAIT_GROUP, Stage.PLATFORM_HOLD}:
        moment = order.source_updated_at  # held again: the payment dates only the first time
    elif before is not None and order.stage == Stage.AWAIT_SHIP and order.released_at is not None:
        moment = ready_at(order)
    moment = moment or order.source_updated_at
    if moment is None:
        return now, StatusEvent.Kind.INFERRED
    return min(moment, now), StatusEvent.Kind.OBSERVED


def _is_taken_back(before: str, stage: str) -> bool:
    if before == Stage.UNKNOWN or stage == Stage.UNKNOWN:
        return False
    if stage == Stage.AWAIT_PAY and STAGE_RANKS[before] > STAGE_RANKS[Stage.DEPOSIT_PAID]:
        return True
    return before in _BEYOND and STAGE_RANKS[stage] < STAGE_RANKS[before]


def _infer_skipped(order: Order, before: str, *, until: datetime) -> list[Step]:
    """The dated stages between two observed ones, in their order and never running backwards."""
    moments = {
        Stage.AWAIT_PAY: order.placed_at,
        Stage.DEPOSIT_PAID: order.deposit_paid_at,
        Stage.AWAIT_SHIP: ready_at(order),
        Stage.SHIPPED: order.shipped_at,
        Stage.DELIVERED: order.delivered_at,
    }
    low, high = STAGE_RANKS[before], STAGE_RANKS[order.stage]
    steps: list[Step] = []
    earliest: datetime | None = None
    for stage in _PASSED:
        at = moments[stage]
        is_between = low < STAGE_RANKS[stage] < high and (
            before != Stage.UNKNOWN or stage != Stage.AWAIT_PAY
        )
        if not is_between or at is None or at > until or (earliest and at < earliest):
            continue
        if stage == Stage.DEPOSIT_PAID and order.presale_phase == "":
            continue
        steps.append(Step(StatusEvent.Kind.INFERRED, stage, "", at))
        earliest = at
    return steps
