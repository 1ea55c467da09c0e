"""What every mapping returns: frozen canonical records in our own words. Pure.

Money is integer fen, times are aware, `None` means the source did not tell (unknown to it), an
empty string means it told us that there is nothing. Three kinds of record arrive on their own and
meet by order number: orders (a channel), payments (a gateway), receipts (an OMS or WMS).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from connectors.orders.statuses import Stage


@dataclass(frozen=True, slots=True)
class CanonicalLine:
    """One line of an order."""

    line_id: str
    sku: str = ""
    title: str = ""
    quantity: int = 1
    price_fen: int | None = None
    amount_fen: int | None = None
    freight_fen: int | None = None
    is_gift: bool = False
    gift_of: str = ""  # the line a gift came with
    seller: str = ""
    stock_available: int | None = None
    locked_at: datetime | None = None
    ship_by: datetime | None = None
    category: str | None = None
    weight_g: float | None = None
    length_cm: float | None = None
    width_cm: float | None = None
    height_cm: float | None = None
    status: str = ""  # the platform's own word for this line
    refund_state: str = ""
    warehouse: str = ""
    is_oversold: bool = False
    custom: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CanonicalPromotion:
    """One promotion an order took part in: money off, a gift, or both.

    `tool`: the key for rules on stacking, as the platform names the kind of promotion. `funder`:
    "shop", "platform" or "author" (the streamer); empty when not told. `line_id`: the line it
    belongs to; empty: the whole order.
    """

    promotion_id: str
    tool: str = ""
    name: str = ""
    discount_fen: int | None = None
    funder: str = ""
    line_id: str = ""
    gift_sku: str = ""
    gift_quantity: int = 0


@dataclass(frozen=True, slots=True)
class CanonicalParcelLine:
    """What of a line is in a parcel; `quantity` None when the platform does not tell it."""

    line_id: str
    quantity: int | None = None


@dataclass(frozen=True, slots=True)
class CanonicalShipment:
    """One parcel that left. `shipment_id` names it within its order."""

    shipment_id: str
    tracking_no: str = ""
    company: str = ""
    shipped_at: datetime | None = None
    lines: tuple[CanonicalParcelLine, ...] = ()


@dataclass(frozen=True, slots=True)
class CanonicalPayment:
    """One payment of an order, as a platform or gateway tells it."""

    order_no: str
    payment_id: str
    method: str = ""
    status: str = "paid"
    amount_fen: int | None = None
    paid_at: datetime | None = None
    phase: str = ""  # presale: "deposit" or "balance"
    custom: Mapping[str, Any] = field(default_factory=dict)
    source_updated_at: datetime | None = None  # of this state, by the source's own clock


@dataclass(frozen=True, slots=True)
class CanonicalReceipt:
    """What an OMS or WMS knows of an order; times the system did not tell are None and change
    nothing that is known.

    `source_updated_at`: the moment of the state this tells, by the system's clock; an older report
    never overwrites what a newer one put into `custom`. `rank` orders states of one second.
    `is_correction`: its moments replace those known, instead of the earliest being kept.
    """

    order_no: str
    received_at: datetime | None = None
    reviewed_at: datetime | None = None
    picked_at: datetime | None = None
    shipped_at: datetime | None = None
    custom: Mapping[str, Any] = field(default_factory=dict)
    source_updated_at: datetime | None = None
    rank: int = 0
    is_correction: bool = False


@dataclass(frozen=True, slots=True)
class CanonicalOrder:
    """One order as its channel tells it."""

    order_no: str
    channel: str
    shop: str
    raw_status: str = ""
    stage: str = Stage.UNKNOWN
    placed_at: datetime | None = None
    paid_at: datetime | None = None
    approved_at: datetime | None = None
    shipped_at: datetime | None = None
    delivered_at: datetime | None = None
    closed_at: datetime | None = None
    promised_ship_at: datetime | None = None  # ship by: after it the platform fines
    collect_by: datetime | None = None  # the carrier has to have picked it up by then
    estimated_delivery_at: datetime | None = None
    source_updated_at: datetime | None = None
    goods_fen: int | None = None
    freight_fen: int | None = None
    shop_discount_fen: int | None = None
    platform_discount_fen: int | None = None
    coupon_fen: int | None = None
    payable_fen: int | None = None
    paid_fen: int | None = None
    is_paid_reduced: bool = False  # a refund is taken off paid_fen: what was told before it counts
    refunded_fen: int | None = None
    payment_method: str = ""
    is_cod: bool = False
    is_credit_pay: bool = False  # paid later: the stage is a paid one, no money came
    refund_state: str = ""
    partial_refund: bool = False
    group_state: str = ""
    risk_state: str = ""  # the platform's own words; empty = no review open
    platform_hold: str = ""  # why else the platform stops it, in its words; no risk review
    address_change_pending: bool = False
    oversold: bool = False
    buyer_urged: bool = False
    presale_phase: str = ""
    deposit_fen: int | None = None
    deposit_paid_at: datetime | None = None
    balance_fen: int | None = None
    balance_paid_at: datetime | None = None
    balance_opens_at: datetime | None = None
    balance_due_at: datetime | None = None
    gifts_due: int | None = None
    gifts_packed: int | None = None
    parent_no: str = ""  # the order it belongs to: a privilege deposit, the whole of a split
    buyer: str = ""
    receiver_name: str = ""
    receiver_phone: str = ""
    province: str | None = None
    city: str | None = None
    district: str | None = None
    town: str = ""
    postcode: str = ""
    address_detail: str = ""
    remark: str = ""
    lines: tuple[CanonicalLine, ...] = ()
    payments: tuple[CanonicalPayment, ...] = ()
    promotions: tuple[CanonicalPromotion, ...] = ()
    shipments: tuple[CanonicalShipment, ...] = ()
    custom: Mapping[str, Any] = field(default_factory=dict)
    raw: Mapping[str, Any] = field(default_factory=dict)


CanonicalRecord = CanonicalOrder | CanonicalPayment | CanonicalReceipt
