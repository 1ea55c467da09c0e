"""An order of the own mall as the mall writes it at a moment, after FORMAT.md sections 4 and 5."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from connectors.simulators.life import Life, has_come
from connectors.simulators.payments import transaction_id
from connectors.simulators.reading import (
    BEIJING,
    Standing,
    is_in_review,
    paid_moment,
    refunded_fen,
    shares,
    shown_lines,
    standing,
)

WORDS = {
    Standing.UNPAID: "await_pay",
    Standing.DEPOSIT_PAID: "deposit_paid",
    Standing.FORFEITED: "closed_unpaid",
    Standing.IN_GROUP: "await_group",
    Standing.IN_REVIEW: "platform_hold",
    Standing.TO_SHIP: "await_ship",
    Standing.PART_SHIPPED: "part_shipped",
    Standing.SHIPPED: "shipped",
    Standing.DELIVERED: "delivered",
    Standing.COMPLETED: "completed",
    Standing.REFUNDED: "closed_refunded",
    Standing.CANCELLED: "closed_unpaid",
}
METHODS = {"alipay": "支付宝", "wechat_pay": "微信支付", "": "账户余额"}
# The mall's own codes, for `source_status`.
_CODES = {
    "await_pay": "10",
    "deposit_paid": "15",
    "await_group": "18",
    "platform_hold": "19",
    "await_ship": "20",
    "part_shipped": "25",
    "shipped": "30",
    "delivered": "40",
    "completed": "50",
    "closed_unpaid": "90",
    "closed_refunded": "91",
}
_DELIVERY = timedelta(hours=72)


def render_order(life: Life, now: datetime) -> dict[str, Any]:
    """The whole order; nothing later than `now` shows."""
    status = status_of(life, now)
    order: dict[str, Any] = {
        "order_no": life.order_no,
        "status": status,
        "source_status": _CODES.get(status, ""),
        "created_at": write_time(life.placed),
        "paid_at": _tell(_settled_at(life, now), now),
        "payment_confirmed_at": _tell(paid_moment(life), now),
        "shipped_at": _tell(life.shipped, now),
        "delivered_at": _tell(life.delivered, now),
        "closed_at": _tell(_closed_at(life, now), now),
        "updated_at": write_time(life.modified_at(now)),
        "payment_method": "货到付款" if life.cod else METHODS[life.gateway],
        "is_cod": life.cod,
        "amounts": _render_amounts(life, now),
        "items": _render_items(life, now),
        "payments": render_payments(life, now),
        "promotions": [_render_promotion(life, index) for index in range(len(life.promotions))],
        "shipments": [
            {
                "tracking_no": parcel.tracking_no,
                "company": parcel.company,
                "shipped_at": write_time(parcel.at),
                "items": [
                    {"line_id": str(index + 1), "quantity": life.lines[index].quantity}
                    for index in parcel.lines or range(len(life.lines))
                ],
            }
            for parcel in life.shipments
            if parcel.at <= now
        ],
        "receiver": {
            "name": life.receiver,
            "phone": life.phone,
            "province": life.province,
            "city": life.city,
            "district": life.district,
            "town": life.town,
            "detail": life.detail,
        },
        "buyer_id": life.buyer,
        "buyer_note": life.remark,
    }
    due = _ship_by(life, now)
    if due is not None:
        order |= {"ship_by": write_time(due), "deliver_by": write_time(due + _DELIVERY)}
    return order | _render_parts(life, now)


def status_of(life: Life, now: datetime) -> str:
    """The word of section 5, or the unknown word the life says from some moment on."""
    if life.unknown_status and has_come(life.unknown_from, now):
        return life.unknown_status
    return WORDS[standing(life, now)]


def _is_settled(life: Life, now: datetime) -> bool:
    """Whether all is paid, as the mall sees it: a lost callback leaves it unpaid."""
    return has_come(paid_moment(life), now)


def _settled_at(life: Life, now: datetime) -> datetime | None:
    """When the buyer paid all; the mall knows it only once it heard of it."""
    if not _is_settled(life, now):
        return None
    return life.gateway_paid if life.gateway and life.gateway_paid else paid_moment(life)


def _closed_at(life: Life, now: datetime) -> datetime | None:
    """When it was closed: by itself, by the refund of all of it, or with the deposit forfeited."""
    ends = (life.closed, life.refunded, life.forfeited, life.group_failed)
    return min((end for end in ends if end is not None and end <= now), default=None)


def _ship_by(life: Life, now: datetime) -> datetime | None:
    if life.cod:
        return life.placed + life.ship_within
    settled = _settled_at(life, now)
    if settled is None or (life.group and not has_come(life.group_done, now)):
        return None
    return max(settled, life.group_done or settled) + life.ship_within


# -- money -------------------------------------------------------------------------------------


def _render_amounts(life: Life, now: datetime) -> dict[str, int]:
    return {
        "goods_fen": life.goods_fen,
        "freight_fen": life.freight_fen,
        "shop_discount_fen": life.shop_discount_fen,
        "platform_discount_fen": life.platform_discount_fen,
        "coupon_fen": life.coupon_fen,
        "payable_fen": life.payable_fen,
        "paid_fen": _paid_fen(life, now),
        "refunded_fen": _refunded_fen(life, now),
    }


def _paid_fen(life: Life, now: datetime) -> int:
    if _is_settled(life, now):
        return life.paid_fen_at(now)
    return life.deposit_fen if has_come(life.deposit_paid, now) else 0


def _refunded_fen(life: Life, now: datetime) -> int:
    if has_come(life.refunded, now):
        return _paid_fen(life, now)
    return refunded_fen(life, now)


def render_payments(life: Life, now: datetime) -> list[dict[str, Any]]:
    """The payments the mall knows of; none before its callback came."""
    is_refunded = has_come(life.refunded, now)
    method = "货到付款" if life.cod else METHODS[life.gateway]
    payments: list[dict[str, Any]] = []
    if life.presale and has_come(life.deposit_paid, now):
        payments.append(
            {
                "payment_id": f"D{life.order_no}",
                "method": method,
                "status": "refunded" if is_refunded else "paid",
                "amount_fen": life.deposit_fen,
                "paid_at": _tell(life.deposit_paid, now),
                "phase": "deposit",
            }
        )
    if _is_settled(life, now):
        deposit = life.deposit_fen if payments else 0
        payments.append(
            {
                "payment_id": transaction_id(life) if life.gateway else f"P{life.order_no}",
                "method": method,
                "status": "refunded" if is_refunded else "paid",
                "amount_fen": life.paid_fen_at(now) - deposit,
                "paid_at": _tell(_settled_at(life, now), now),
            }
            | ({"phase": "balance"} if payments else {})
        )
    return payments


# -- lines and parts ---------------------------------------------------------------------------


def _render_items(life: Life, now: datetime) -> list[dict[str, Any]]:
    items = []
    amounts = shares(life)
    for index, line in shown_lines(life, now):
        item: dict[str, Any] = {
            "line_id": str(index + 1),
            "sku": line.sku,
            "title": line.title,
            "quantity": line.quantity,
            "price_fen": line.price_fen,
            "amount_fen": amounts[index],
            "freight_fen": life.freight_fen if index == 0 else 0,
            "is_gift": line.is_gift,
            "seller": "自营",
            "stock_locked_at": _tell(life.locked, now),
        }
        if line.stock_available is not None:
            item["stock_available"] = line.stock_available
        items.append(item)
    return items


def _render_promotion(life: Life, index: int) -> dict[str, Any]:
    promotion = life.promotions[index]
    content: dict[str, Any] = {
        "promotion_id": promotion.promotion_id,
        "tool": promotion.tool,
        "name": promotion.name,
        "discount_fen": promotion.discount_fen,
        "funder": promotion.funder,
    }
    if promotion.gift_sku:
        content |= {
            "gift_sku": promotion.gift_sku,
            "gift_quantity": promotion.gift_quantity,
        }
    return content


def _render_parts(life: Life, now: datetime) -> dict[str, Any]:
    """Presale, group, review, refund and gifts: each only when there is something to say."""
    parts: dict[str, Any] = {}
    if life.presale:
        parts["presale"] = {
            "phase": _presale_phase(life, now),
            "deposit_fen": life.deposit_fen,
            "deposit_paid_at": _tell(life.deposit_paid, now),
            "balance_fen": life.payable_fen - life.deposit_fen,
            "balance_opens_at": _write_or_none(life.balance_opens),
            "balance_due_at": _write_or_none(life.balance_due),
            "balance_paid_at": _tell(life.balance_paid, now) if _is_settled(life, now) else None,
        }
    if life.group and _is_settled(life, now):
        is_done, is_failed = has_come(life.group_done, now), has_come(life.group_failed, now)
        parts["group"] = {"state": "done" if is_done else "failed" if is_failed else "open"}
    if has_come(life.risk_from, now):
        parts["risk"] = {"in_review": is_in_review(life, now), "reason": life.risk_words}
    if has_come(life.refund_requested, now) or has_come(life.refunded, now):
        parts["refund"] = {"state": "done" if has_come(life.refunded, now) else "requested"}
    if life.gifts_due:
        packed = life.gifts_packed if has_come(life.gifts_packed_at, now) else 0
        parts["gifts"] = {"due": life.gifts_due, "packed": packed}
    return parts


def _presale_phase(life: Life, now: datetime) -> str:
    if has_come(life.forfeited, now):
        return "forfeited"
    if _is_settled(life, now):
        return "balance_paid"
    return "deposit_paid" if has_come(life.deposit_paid, now) else "deposit_due"


# -- times -------------------------------------------------------------------------------------


def write_time(moment: datetime) -> str:
    """RFC 3339 with the shop's zone, whole seconds."""
    return moment.astimezone(BEIJING).isoformat(timespec="seconds")


def _write_or_none(moment: datetime | None) -> str | None:
    return None if moment is None else write_time(moment)


def _tell(moment: datetime | None, now: datetime) -> str | None:
    """A moment that is over; a later one is not known yet."""
    return write_time(moment) if moment is not None and moment <= now else None
