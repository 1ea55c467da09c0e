"""What an order's columns say: systems' words, its deadline, its stage's moment, its evidence.

Plain functions over rows in hand; nothing here asks the database.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from connectors.orders.canonical import CanonicalLine, CanonicalOrder
from connectors.orders.deadlines import SHIPPED_RULES, ShipRule, find_deadline
from connectors.orders.merging import PaymentRow, ReceiptRow
from connectors.orders.models import Order, OrderLine, StatusEvent
from connectors.orders.nodes import Evidence, Passage
from connectors.orders.statuses import GroupState, PaymentStatus, Stage, is_open_stage
from connectors.shops.models import Channel, SourceKind

# A stored line or one on its way in: both carry what the evidence needs.
Line = OrderLine | CanonicalLine

# One fen of rounding between platform and shop is no price error (promo/README).
PRICE_TOLERANCE_FEN = 1
_MONEY_CAME = frozenset({PaymentStatus.PAID, PaymentStatus.REFUNDED})
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_REVIEW_KEYS = frozenset({"review", "unreviewed"})
_MAX_CLEAR = 20  # more changes than an order sees between a hold and the word of it
# Which of several payments speaks for the gateway: the furthest.
_GATEWAY_WORDS: dict[str, int] = {
    PaymentStatus.PENDING: 1,
    PaymentStatus.CLOSED: 2,
    PaymentStatus.REFUNDED: 3,
    PaymentStatus.PAID: 4,
}


def digest_systems(
    order: Order, payments: Sequence[PaymentRow], receipts: Sequence[ReceiptRow]
) -> None:
    """Write what gateways, OMS and WMS say about an order onto its system columns."""
    # Money that went back was paid before; of several payments the furthest speaks.
    paid = [p for p in payments if p.status in _MONEY_CAME and p.paid_at is not None]
    words = sorted((p.status for p in payments), key=lambda word: _GATEWAY_WORDS.get(word, 0))
    order.gateway_status = words[-1] if words else ""
    order.gateway_paid_at = min((p.paid_at for p in paid if p.paid_at), default=None)
    order.gateway_paid_fen = sum(p.amount_fen or 0 for p in paid) if paid else None
    for kind, columns in (
        (SourceKind.OMS, {"oms_received_at": "received_at", "oms_reviewed_at": "reviewed_at"}),
        (
            SourceKind.WMS,
            {
                "wms_received_at": "received_at",
                "picked_at": "picked_at",
                "wms_shipped_at": "shipped_at",
            },
        ),
    ):
        rows = [r for r in receipts if r.source.kind == kind]
        for column, name in columns.items():
            moments = [m for r in rows if (m := getattr(r, name)) is not None]
            setattr(order, column, min(moments, default=None))


def deadline_of(order: Order, rules: Sequence[ShipRule] = SHIPPED_RULES) -> datetime | None:
    """When it is too late, by the shipping rules in force (see `deadlines`)."""
    return find_deadline(order, rules).at


def moment_of_stage(order: Order) -> tuple[datetime | None, str]:
    """When an order entered its stage, by its own times, and whether that is observed."""
    moments = {
        Stage.AWAIT_PAY: order.placed_at,
        Stage.DEPOSIT_PAID: order.deposit_paid_at,
        Stage.AWAIT_GROUP: order.paid_at,
        Stage.PLATFORM_HOLD: order.paid_at,
        Stage.AWAIT_SHIP: order.paid_at or order.placed_at,
        Stage.SHIPPED: order.shipped_at,
        Stage.DELIVERED: order.delivered_at,
        Stage.COMPLETED: order.delivered_at,
        Stage.CLOSED_UNPAID: order.closed_at,
        Stage.CLOSED_REFUNDED: order.closed_at,
    }
    moment = moments.get(Stage(order.stage))
    kind = StatusEvent.Kind.OBSERVED if moment else StatusEvent.Kind.INFERRED
    return moment, kind


def is_held_by_platform(order: Order | CanonicalOrder) -> bool:
    """Whether the platform has the order in review, in an open group, or paused."""
    return bool(
        order.risk_state
        or order.platform_hold
        or order.group_state == GroupState.OPEN
        or order.stage in {Stage.AWAIT_GROUP, Stage.PLATFORM_HOLD}
    )


def note_hold(order: Order, *, told_at: datetime | None, is_held: bool, now: datetime) -> None:
    """When the platform let go: the first state we know of after the last that was held.

    `hold_log` keeps the last held moment and the clear ones after it, in microseconds, so that
    a held state which comes late finds the one that followed it.
    """
    at = _to_micros(min(told_at or now, now))
    held, clear = order.hold_log.get("held"), order.hold_log.get("clear", [])
    if is_held:
        held = max(held or 0, at)
    elif told_at is None and held == at:
        at += 1  # without a time of its own it came after what came before
    known = clear if is_held or at in clear else sorted([*clear, at])
    clear = [moment for moment in known if held is None or moment > held]
    if len(clear) > _MAX_CLEAR:
        clear = [*clear[: _MAX_CLEAR - 1], clear[-1]]
    log = {"clear": clear} if held is None else {"held": held, "clear": clear}
    order.hold_log = log | {key: order.hold_log[key] for key in _REVIEW_KEYS & set(order.hold_log)}
    order.released_at = (
        _EPOCH + timedelta(microseconds=clear[0]) if held is not None and clear else None
    )


def is_in_review(order: Order | CanonicalOrder) -> bool:
    """Whether the platform reviews the order, or stops it without a word why."""
    is_stopped = order.stage == Stage.PLATFORM_HOLD and not order.platform_hold
    return bool(order.risk_state) or is_stopped


def note_review(
    order: Order, *, told_at: datetime | None, is_reviewed: bool, now: datetime
) -> None:
    """When the review began: the first state with it after the last one without.

    Unknown when no state without it came before. `hold_log` keeps the last moment without, and those
    with it after that: whatever the order of arrival, the same moments give the same answer.
    """
    at = _to_micros(min(told_at or now, now))
    seen, without = order.hold_log.get("review", []), order.hold_log.get("unreviewed")
    if is_reviewed:
        seen = sorted({*seen, at})
    else:
        without = at if without is None else max(without, at)
    seen = [moment for moment in seen if without is None or moment > without]
    if len(seen) > _MAX_CLEAR:
        seen = [*seen[: _MAX_CLEAR - 1], seen[-1]]
    log = {key: value for key, value in order.hold_log.items() if key not in _REVIEW_KEYS}
    order.hold_log = (
        log
        | ({"review": seen} if seen else {})
        | ({} if without is None else {"unreviewed": without})
    )
    is_dated = bool(seen) and without is not None
    order.review_at = _EPOCH + timedelta(microseconds=seen[0]) if is_dated else None


def _to_micros(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)


def confirmed_at(order: Order) -> datetime | None:
    """Since when its own shop knows that an order is paid.

    A platform knows with the payment; the own mall when the gateway's callback came, which may be
    hours after the payment when the first one was lost and somebody asked.
    """
    if order.paid_at is None or order.approved_at is None:
        return order.paid_at
    return max(order.paid_at, order.approved_at)


def ready_at(order: Order) -> datetime | None:
    """Since when an order may be worked on: its payment known, and the platform letting go of it."""
    confirmed = confirmed_at(order)
    if confirmed is None or order.released_at is None:
        return confirmed
    return max(confirmed, order.released_at)


def _reviewed_from(order: Order) -> datetime | None:
    """Since when the platform reviews a paid order, where that began after its payment was known."""
    confirmed = confirmed_at(order)
    if order.review_at is None or confirmed is None:
        return None
    return max(order.review_at, confirmed)


def evidence_of(
    order: Order, lines: Sequence[Line], connected: frozenset[str] | set[str]
) -> Evidence:
    """Read an order's columns and lines as evidence for the twelve nodes."""
    is_mall = order.channel == Channel.PRIVATE_MALL
    blocked, skipped = set(), set()
    if is_held_by_platform(order):
        blocked.add("platform_hold")
        if not is_mall:
            skipped.add("callback")  # the platform has not let go: nothing is due at the OMS
    if (
        order.paid_fen is not None
        and order.payable_fen is not None
        and order.paid_at is not None
        and order.refund_state == ""
        and abs(order.paid_fen - order.payable_fen) > PRICE_TOLERANCE_FEN
    ):
        blocked.add("price")
    if order.is_cod:
        skipped.add("payment")
    if "oms" not in connected and not is_mall:
        skipped.add("callback")
    stocked = [line for line in lines if line.stock_available is not None or line.locked_at]
    if not stocked:
        skipped.add("stock")
    locked = [line.locked_at for line in stocked]
    return Evidence(
        moments={
            "placed": order.placed_at,
            "paid": order.paid_at,
            "ready": ready_at(order),
            "confirmed": confirmed_at(order),
            "gateway_paid": order.gateway_paid_at,
            "approved": order.approved_at,
            "review": _reviewed_from(order),
            "locked": max((m for m in locked if m), default=None) if all(locked) else None,
            "oms_received": order.oms_received_at,
            "oms_reviewed": order.oms_reviewed_at,
            "wms_received": order.wms_received_at,
            "picked": order.picked_at,
            "wms_shipped": order.wms_shipped_at,
            "shipped": order.shipped_at
            or (order.wms_shipped_at if order.stage in {Stage.SHIPPED, Stage.DELIVERED} else None),
            "delivered": order.delivered_at,
        },
        blocked=frozenset(blocked),
        skipped=frozenset(skipped),
        sources=frozenset(connected),
        overrides={"callback": ("confirmed",)} if is_mall else {},
        is_over=not is_open_stage(order.stage),
        closed_at=order.closed_at or order.delivered_at,
    )


def stand_at(order: Order, passages: Sequence[Passage]) -> None:
    """Write the node an order stands at (empty when it has left the river)."""
    last = passages[-1] if passages else None
    if last is not None and last.left_at is None:
        order.node, order.node_entered_at = last.node, last.entered_at
    else:
        order.node, order.node_entered_at = "", None
