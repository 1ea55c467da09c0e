"""Holding and releasing orders, and the brake that asks a person when too many come at once."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import DatabaseError, transaction

from config.audit.services import record
from config.errors import BadInput, WrongState, gettext_noop
from config.tenancy.models import Environment, User
from config.tenancy.scope import stamp_scope
from connectors.orders.models import Order
from connectors.systems import downstream
from workflows.interventions.effects import list_systems, plan_effects, plan_releases
from workflows.interventions.groups import Subject, record_notices
from workflows.interventions.models import Alert, AlertGroup, BrakeItem, BrakeRequest, Hold, Topic
from workflows.interventions.policy import HOLD_WINDOW, split_holds

log = logging.getLogger(__name__)

REASON_LENGTH = 200
_State = Alert.HoldState


@dataclass(frozen=True)
class Placed:
    """What became of a batch of wishes to hold. The alerts carry it too, not yet saved."""

    held: int = 0
    asked: int = 0
    groups: tuple[AlertGroup, ...] = ()


def list_held(order_ids: Sequence[int]) -> set[int]:
    """Which of these orders are held now, in the scope in force."""
    return set(
        Hold.objects.filter(order_id__in=order_ids, released_at__isnull=True).values_list(
            "order_id", flat=True
        )
    )


# --- placing --------------------------------------------------------------------------------------


def place_holds(alerts: Sequence[Alert], *, environment: Environment, now: datetime) -> Placed:
    """Hold the orders of red alerts as far as the brake allows, worst first; the rest is asked.

    Sets `hold_state` on the alerts and leaves saving them to the caller. A hold that cannot be
    written becomes FAILED, is said in the message, and is tried again by the next pass.
    """
    if not alerts:
        return Placed()
    # One transaction at a time counts and places in an environment.
    limit = (
        Environment.objects.select_for_update(no_key=True)
        .values_list("hold_limit", flat=True)
        .get(pk=environment.pk)
    )
    recent = Hold.objects.filter(placed_by__isnull=True, placed_at__gt=now - HOLD_WINDOW).count()
    brake = BrakeRequest.objects.filter(decided_at__isnull=True).first()
    worst_first = sorted(alerts, key=lambda a: (a.score_hundredths, a.order_id))
    allowed = split_holds(len(worst_first), recent=recent, limit=limit, is_asking=brake is not None)
    held = _hold(worst_first[:allowed], placed_by=None, now=now)
    rest = worst_first[allowed:]
    if not rest:
        return Placed(held)
    groups = _ask(rest, brake, recent=recent + held, limit=limit, now=now)
    return Placed(held, len(rest), tuple(groups))


def _hold(alerts: Sequence[Alert], *, placed_by: User | None, now: datetime) -> int:
    """Insert the hold rows and set each alert's state; returns how many stand."""
    if not alerts:
        return 0
    # The same lock as a push downstream: an order is pushed before it is held, or not at all.
    list(
        Order.objects.select_for_update(of=("self",), no_key=True)
        .filter(pk__in=[alert.order_id for alert in alerts])
        .order_by("pk")
        .values_list("pk")
    )
    already = list_held([alert.order_id for alert in alerts])
    reach = Hold.Reach.PUSH if downstream.has_writer() else Hold.Reach.LOCAL
    rows = [
        (
            alert,
            Hold(
                order_id=alert.order_id,
                alert=alert,
                placed_at=now,
                placed_by=placed_by,
                cause=alert.cause,
                reach=reach,
            ),
        )
        for alert in alerts
        if alert.order_id not in already
    ]
    failed = _insert(rows)
    plan_effects(
        [hold for alert, hold in rows if alert.order_id not in failed],
        systems=list_systems() if rows else (),
        now=now,
    )
    for alert in alerts:
        alert.hold_state = _State.FAILED if alert.order_id in failed else _State.HELD
    return len(rows) - len(failed)


def _insert(rows: Sequence[tuple[Alert, Hold]]) -> set[int]:
    """Insert together; when that fails, one by one. Returns the orders whose hold failed."""
    try:
        with transaction.atomic():
            Hold.objects.bulk_create([hold for _, hold in rows])
        return set()
    except DatabaseError:
        log.exception("placing %d holds together failed, trying one by one", len(rows))
    failed = set()
    for alert, hold in rows:
        try:
            with transaction.atomic():
                hold.pk = None
                stamp_scope([hold])
                hold.save(force_insert=True)
        except DatabaseError:
            log.exception("hold of order %d failed", alert.order_id)
            failed.add(alert.order_id)
    return failed


def _ask(
    alerts: Sequence[Alert],
    brake: BrakeRequest | None,
    *,
    recent: int,
    limit: int,
    now: datetime,
) -> list[AlertGroup]:
    """Put orders before a person: into the open question, or a new one with words of its own."""
    groups: list[AlertGroup] = []
    if brake is None:
        brake = BrakeRequest.objects.create(opened_at=now, recent_holds=recent, hold_limit=limit)
        groups = record_notices([Subject(Topic.BRAKE, brake=brake)], now=now)
    BrakeItem.objects.bulk_create(
        [BrakeItem(brake=brake, alert=alert) for alert in alerts], ignore_conflicts=True
    )
    for alert in alerts:
        alert.hold_state = _State.WAITING
    return groups


def decide_brake(
    brake: BrakeRequest, *, is_approved: bool, actor: User, reason: str, now: datetime
) -> int:
    """Answer the question: hold all that are still red, or none. Returns the orders concerned.

    Raises WrongState when somebody has answered already, BadInput for a refusal without a reason.
    """
    reason = reason.strip()[:REASON_LENGTH]
    if not is_approved and not reason:
        raise BadInput(gettext_noop("不挂起时请写明理由，便于事后追溯"), code="reason_missing")
    with transaction.atomic():
        row: BrakeRequest = BrakeRequest.objects.select_for_update(of=("self",), no_key=True).get(
            pk=brake.pk
        )
        if row.decided_at is not None:
            raise WrongState(gettext_noop("这项挂起确认已经处理过了，请刷新页面"))
        alerts = list(
            Alert.objects.select_for_update(of=("self",), no_key=True)
            .filter(brake_items__brake=row, closed_at__isnull=True, hold_state=_State.WAITING)
            .order_by("order_id")
        )
        if is_approved:
            _hold(alerts, placed_by=actor, now=now)
        else:
            for alert in alerts:
                alert.hold_state = _State.DECLINED
        Alert.objects.bulk_update(alerts, ["hold_state"])
        row.decision = (
            BrakeRequest.Decision.APPROVED if is_approved else BrakeRequest.Decision.REJECTED
        )
        row.decided_at, row.decided_by, row.reason = now, actor, reason
        row.save()
        record(
            action=f"brake.{row.decision}",
            subject=row.public_id,
            actor=actor,
            now=now,
            details={"orders": len(alerts), "reason": reason},
        )
    return len(alerts)


def close_moot_brakes(*, now: datetime) -> None:
    """Withdraw a question all of whose orders have recovered: it must not stop new holds."""
    BrakeRequest.objects.filter(decided_at__isnull=True).exclude(
        pk__in=BrakeItem.objects.filter(
            alert__closed_at__isnull=True, alert__hold_state=_State.WAITING
        ).values("brake")
    ).update(decided_at=now, decision=BrakeRequest.Decision.MOOT)


# --- releasing ------------------------------------------------------------------------------------


def release_recovered(alerts: Iterable[Alert], *, kind: str, now: datetime) -> int:
    """Release the holds of orders that are no longer red; sets `hold_state`, unsaved."""
    waiting = [a for a in alerts if a.hold_state != _State.NONE]
    for alert in waiting:
        alert.hold_state = _State.NONE
    if not waiting:
        return 0
    open_ids = list(
        Hold.objects.filter(
            order_id__in=[a.order_id for a in waiting], released_at__isnull=True
        ).values_list("pk", flat=True)
    )
    if not open_ids:
        return 0
    released: int = Hold.objects.filter(pk__in=open_ids, released_at__isnull=True).update(
        released_at=now, release_kind=kind
    )
    plan_releases(open_ids, now=now)
    return released


def release_hold(hold: Hold, *, actor: User, reason: str, now: datetime) -> Hold:
    """Let one order go on although it is red, with a reason. The caller has checked the right.

    The order is not held again in this stretch of red. Raises BadInput without a reason and
    WrongState when somebody (or a recovery) has released it before.
    """
    reason = reason.strip()[:REASON_LENGTH]
    if not reason:
        raise BadInput(gettext_noop("请写明解除的理由，便于事后追溯"), code="reason_missing")
    with transaction.atomic():
        row: Hold = (
            Hold.objects.select_for_update(of=("self",), no_key=True)
            .select_related("order")
            .get(pk=hold.pk)
        )
        if row.released_at is not None:
            raise WrongState(
                gettext_noop("订单 %(order_no)s 的挂起已经解除，不用重复操作"),
                order_no=row.order.order_no,
            )
        row.released_at, row.released_by = now, actor
        row.release_kind, row.release_reason = Hold.ReleaseKind.PERSON, reason
        row.save()
        plan_releases([row.pk], now=now)
        Alert.objects.filter(pk=row.alert_id).update(hold_state=_State.RELEASED)
        record(
            action="hold.release",
            subject=row.order.order_no,
            actor=actor,
            now=now,
            details={"reason": reason},
        )
    return row


def release_holds(
    holds: Sequence[Hold], *, actor: User, reason: str, now: datetime
) -> tuple[int, int]:
    """Release several at once; returns how many were released here and how many were already."""
    done = late = 0
    with transaction.atomic():
        for hold in sorted(holds, key=lambda h: h.pk):
            try:
                release_hold(hold, actor=actor, reason=reason, now=now)
                done += 1
            except WrongState:
                late += 1
    return done, late
