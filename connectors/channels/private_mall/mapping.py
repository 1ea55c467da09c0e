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
from connectors.orders.canonical import CanonicalLine, CanonicalOrder, CanonicalPayment
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


def map_order(payload: object, *, shop: str) -> Mapped[CanonicalOrder]:
    """One order of a push or of the list. Raises PayloadError, which names the field."""
    order = Reader(payload)
    notices: list[Notice] = []
    status = order.required_identifier("status", limit=60)
    stage = _read_word(order, "status", Stage, notices, code="unmapped_status") or Stage.UNKNOWN
    amounts, receiver, presale = order.one("amounts"), order.one("receiver"), order.one("presale")
    refund, group, risk = order.one("refund"), order.one("group"), order.one("risk")
    order_no = order.required_identifier("order_no")
    source_status = order.identifier("source_status", limit=39)
    gifts_due = order.one("gifts")
    mapped = CanonicalOrder(
        order_no=order_no,
        channel=CHANNEL,
        shop=shop,
        raw_status=f"{status}/{source_status}" if source_status else status,
        stage=stage,
        placed_at=_require_moment(order, "created_at"),
        paid_at=order.rfc3339("paid_at"),
        approved_at=order.rfc3339("payment_confirmed_at"),
        shipped_at=None if stage is Stage.PART_SHIPPED else order.rfc3339("shipped_at"),
        delivered_at=order.rfc3339("delivered_at"),
        closed_at=order.rfc3339("closed_at"),
        promised_ship_at=order.rfc3339("ship_by"),
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
        refund_state=_read_word(refund, "state", RefundState, notices) or RefundState.NONE,
        group_state=_read_word(group, "state", GroupState, notices) or GroupState.NONE,
        risk_state=_read_risk(risk),
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
        lines=_map_lines(order.many("items")),
        payments=tuple(
            _map_payment(payment, order_no, notices) for payment in order.many("payments")
        ),
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
    )


def _map_lines(items: Sequence[Reader]) -> tuple[CanonicalLine, ...]:
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
                seller=item.text("seller", limit=80),
                stock_available=item.integer("stock_available"),
                locked_at=item.rfc3339("stock_locked_at"),
                ship_by=item.rfc3339("ship_by"),
                category=item.text_or_none("category", limit=100),
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


def _require_moment(order: Reader, key: str) -> datetime:
    moment = order.rfc3339(key)
    if moment is None:
        raise order.missing(key)
    return moment
