"""The own mall's order in our words. Pure. FORMAT.md, beside this file, is the contract.

The format is ours: words of our stages, money in whole fen, times with a zone. What a shop does
not tell it leaves out; a word we do not know becomes a notice, never a guess.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TypeVar

from config.errors import gettext_noop
from connectors.orders.canonical import (
    CanonicalLine,
    CanonicalOrder,
    CanonicalParcelLine,
    CanonicalPayment,
    CanonicalPromotion,
    CanonicalShipment,
)
from connectors.orders.statuses import (
    GroupState,
    PaymentStatus,
    PresalePhase,
    RefundState,
    Stage,
)
from connectors.wire import Mapped, Notice, PayloadError, Reader, read_json

CHANNEL = "private_mall"
ORDER_EVENTS = frozenset({"order.created", "order.updated"})
PAYMENT_EVENTS = frozenset({"payment.updated"})
PROBE_EVENT = "ping"

# The words of FORMAT.md are our stages' own; what else a shop sends, a person maps.
STAGES: Mapping[str, str] = {
    stage.value: stage.value for stage in Stage if stage is not Stage.UNKNOWN
}
FUNDERS = frozenset({"shop", "platform", "author"})

Word = TypeVar("Word", bound=StrEnum)


@dataclass(frozen=True, slots=True)
class Event:
    """One pushed event; `content` is an order, a payment, or nothing in a probe."""

    type: str
    occurred_at: datetime | None
    content: Mapping[str, object]


def read_event(body: bytes) -> Event:
    """The event of a verified push. An unknown type is an event too: the caller tells IT.

    Raises PayloadError, which names the field.
    """
    event = Reader(read_json(body))
    return Event(
        type=event.required_identifier("type", limit=60),
        occurred_at=event.rfc3339("occurred_at"),
        content=event.one("data").mapping,
    )


@dataclass(frozen=True, slots=True)
class OrderPage:
    """One page of the order list; `next_cursor` is empty on the last."""

    orders: tuple[Mapping[str, object], ...]
    next_cursor: str


def read_page(body: bytes) -> OrderPage:
    """One page of `GET /orders`; `orders` has to be there, also when it is empty."""
    page = Reader(read_json(body))
    if not page.has("orders"):
        raise page.missing("orders")
    return OrderPage(
        orders=tuple(order.mapping for order in page.many("orders")),
        next_cursor=page.identifier("next_cursor", limit=500),
    )


def map_order(
    payload: object, *, shop: str, stages: Mapping[str, str] = STAGES
) -> Mapped[CanonicalOrder]:
    """One order of a push or of the list; `stages` by "status/source_status" or "status", as
    mapped by the business. Raises PayloadError, which names the field."""
    order = Reader(payload)
    notices: list[Notice] = []
    status = order.required_identifier("status", limit=60)
    source_status = order.identifier("source_status", limit=39)
    raw_status = f"{status}/{source_status}" if source_status else status
    told = stages.get(raw_status, stages.get(status, ""))
    stage = Stage(told) if told in set(Stage) else Stage.UNKNOWN
    if stage is Stage.UNKNOWN:
        notices.append(Notice("unmapped_status", order.path_of("status"), status))
    amounts, receiver, presale = order.one("amounts"), order.one("receiver"), order.one("presale")
    refund, group, risk = order.one("refund"), order.one("group"), order.one("risk")
    order_no = order.required_identifier("order_no")
    gifts_due, lines = order.one("gifts"), _map_lines(order.many("items"), notices)
    mapped = CanonicalOrder(
        order_no=order_no,
        channel=CHANNEL,
        shop=shop,
        raw_status=raw_status,
        stage=stage,
        placed_at=_require_moment(order, "created_at"),
        paid_at=order.rfc3339("paid_at"),
        approved_at=order.rfc3339("payment_confirmed_at"),
        shipped_at=None if stage is Stage.PART_SHIPPED else order.rfc3339("shipped_at"),
        delivered_at=order.rfc3339("delivered_at"),
        closed_at=order.rfc3339("closed_at"),
        promised_ship_at=order.rfc3339("ship_by"),
        collect_by=order.rfc3339("collect_by"),
        estimated_delivery_at=order.rfc3339("deliver_by"),
        source_updated_at=_require_moment(order, "updated_at"),
        goods_fen=amounts.fen("goods_fen"),
        freight_fen=amounts.fen("freight_fen"),
        shop_discount_fen=amounts.fen("shop_discount_fen"),
        platform_discount_fen=amounts.fen("platform_discount_fen"),
        coupon_fen=amounts.fen("coupon_fen"),
        payable_fen=amounts.fen("payable_fen"),
        paid_fen=amounts.fen("paid_fen"),
        refunded_fen=amounts.fen("refunded_fen"),
        payment_method=order.text("payment_method", limit=40),
        is_cod=order.flag("is_cod"),
        is_credit_pay=order.flag("is_credit_pay"),
        refund_state=_read_word(refund, "state", RefundState, notices) or RefundState.NONE,
        partial_refund=refund.flag("is_partial"),
        group_state=_read_word(group, "state", GroupState, notices) or GroupState.NONE,
        risk_state=_read_risk(risk),
        platform_hold=_read_hold(order.one("hold")),
        address_change_pending=order.flag("address_change_pending"),
        oversold=order.flag("oversold") or any(line.is_oversold for line in lines),
        buyer_urged=order.flag("buyer_urged"),
        presale_phase=_read_word(presale, "phase", PresalePhase, notices) or PresalePhase.NONE,
        deposit_fen=presale.fen("deposit_fen"),
        deposit_paid_at=presale.rfc3339("deposit_paid_at"),
        balance_fen=presale.fen("balance_fen"),
        balance_paid_at=presale.rfc3339("balance_paid_at"),
        balance_opens_at=presale.rfc3339("balance_opens_at"),
        balance_due_at=presale.rfc3339("balance_due_at"),
        gifts_due=gifts_due.quantity("due") if gifts_due.has("due") else None,
        gifts_packed=gifts_due.quantity("packed") if gifts_due.has("packed") else None,
        parent_no=order.identifier("parent_order_no"),
        buyer=order.identifier("buyer_id", limit=200),
        receiver_name=receiver.text("name", limit=100),
        receiver_phone=receiver.text("phone", limit=40),
        province=receiver.text_or_none("province", limit=40),
        city=receiver.text_or_none("city", limit=60),
        district=receiver.text_or_none("district", limit=60),
        town=receiver.text("town", limit=60),
        postcode=receiver.text("postcode", limit=20),
        address_detail=receiver.text("detail", limit=300),
        remark="\n".join(
            text for key in ("buyer_note", "seller_note") if (text := order.text(key, limit=500))
        ),
        lines=lines,
        payments=tuple(
            _map_payment(payment, order_no, notices) for payment in order.many("payments")
        ),
        promotions=tuple(_map_promotion(p, notices) for p in order.many("promotions")),
        shipments=_map_shipments(order.many("shipments")),
        raw=order.mapping,
    )
    return Mapped(mapped, tuple(notices))


def map_payment(payload: object) -> Mapped[CanonicalPayment]:
    """The content of a payment event. Raises PayloadError, which names the field."""
    payment = Reader(payload)
    notices: list[Notice] = []
    mapped = _map_payment(payment, payment.required_identifier("order_no"), notices)
    return Mapped(mapped, tuple(notices))


def _map_payment(payment: Reader, order_no: str, notices: list[Notice]) -> CanonicalPayment:
    phase = payment.identifier("phase", limit=10)
    if phase not in ("", "deposit", "balance"):
        notices.append(Notice("unmapped_value", payment.path_of("phase"), phase))
        phase = ""
    return CanonicalPayment(
        order_no=order_no,
        payment_id=payment.required_identifier("payment_id", limit=80),
        method=payment.text("method", limit=40),
        status=_read_word(payment, "status", PaymentStatus, notices) or PaymentStatus.UNKNOWN,
        amount_fen=payment.fen("amount_fen"),
        paid_at=payment.rfc3339("paid_at"),
        phase=phase,
        source_updated_at=payment.rfc3339("updated_at"),
    )


def _map_promotion(promotion: Reader, notices: list[Notice]) -> CanonicalPromotion:
    funder = promotion.identifier("funder", limit=20)
    if funder and funder not in FUNDERS:
        notices.append(Notice("unmapped_value", promotion.path_of("funder"), funder))
        funder = ""
    gift = promotion.identifier("gift_sku", limit=80)
    return CanonicalPromotion(
        promotion_id=promotion.identifier("promotion_id", limit=100),
        tool=promotion.text("tool", limit=60),
        name=promotion.text("name", limit=200),
        discount_fen=promotion.fen("discount_fen"),
        funder=funder,
        line_id=promotion.identifier("line_id"),
        gift_sku=gift,
        gift_quantity=promotion.quantity("gift_quantity") if gift else 0,
    )


def _map_shipments(parcels: Sequence[Reader]) -> tuple[CanonicalShipment, ...]:
    """The parcels, named by their waybills; without one by their place in the list."""
    found: dict[str, CanonicalShipment] = {}
    for place, parcel in enumerate(parcels):
        number = parcel.identifier("tracking_no", limit=80)
        name = number or str(place + 1)
        found[name] = CanonicalShipment(
            shipment_id=name,
            tracking_no=number,
            company=parcel.text("company", limit=60),
            shipped_at=parcel.rfc3339("shipped_at"),
            lines=tuple(
                CanonicalParcelLine(
                    item.required_identifier("line_id"),
                    item.quantity("quantity") if item.has("quantity") else None,
                )
                for item in parcel.many("items")
            ),
        )
    return tuple(found.values())


def _map_lines(items: Sequence[Reader], notices: list[Notice]) -> tuple[CanonicalLine, ...]:
    lines = []
    seen: set[str] = set()
    for item in items:
        line_id = item.required_identifier("line_id")
        if line_id in seen:
            raise PayloadError(
                gettext_noop("报文字段 %(field)s 与前面的明细重复"), field=item.path_of("line_id")
            )
        seen.add(line_id)
        lines.append(
            CanonicalLine(
                line_id=line_id,
                sku=item.identifier("sku", limit=80),
                title=item.text("title", limit=200),
                quantity=item.quantity("quantity"),
                price_fen=item.fen("price_fen"),
                amount_fen=item.fen("amount_fen"),
                freight_fen=item.fen("freight_fen"),
                is_gift=item.flag("is_gift"),
                gift_of=item.identifier("gift_of"),
                seller=item.text("seller", limit=80),
                stock_available=item.integer("stock_available"),
                locked_at=item.rfc3339("stock_locked_at"),
                ship_by=item.rfc3339("ship_by"),
                category=item.text_or_none("category", limit=100),
                status=item.text("status", limit=100),
                refund_state=_read_word(item, "refund_state", RefundState, notices)
                or RefundState.NONE,
                warehouse=item.text("warehouse", limit=60),
                is_oversold=item.flag("is_oversold"),
            )
        )
    return tuple(lines)


def _read_word(
    reader: Reader,
    key: str,
    words: type[Word],
    notices: list[Notice],
    *,
    code: str = "unmapped_value",
) -> Word | None:
    """The word of an enumeration; one we do not know, "unknown" too, is a notice and None."""
    value = reader.identifier(key, limit=60)
    if not value:
        return None
    if value != Stage.UNKNOWN and value in {word.value for word in words}:
        return words(value)
    notices.append(Notice(code, reader.path_of(key), value))
    return None


def _read_risk(risk: Reader) -> str:
    """The shop's own words for an open review; empty when none is open."""
    if not risk.flag("in_review"):
        return ""
    return risk.text("reason", limit=60) or gettext_noop("风控审核中")


def _read_hold(hold: Reader) -> str:
    """The shop's own words for another stop; empty when there is none."""
    if not hold.flag("is_held"):
        return ""
    return hold.text("reason", limit=60) or gettext_noop("平台暂停")


def _require_moment(order: Reader, key: str) -> datetime:
    moment = order.rfc3339(key)
    if moment is None:
        raise order.missing(key)
    return moment
