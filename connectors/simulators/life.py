"""One order's truth as a time line: every simulated platform, gateway, OMS and WMS tells from it.

Moments are aware; a moment of None never comes. Nothing here knows a platform's words: each
simulator says in its own protocol what it would know of a life at its clock's moment.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(slots=True)
class LifeLine:
    """One line. Money in fen.

    `discount_fen` is the line's own, before allocation: a part of its life's `shop_discount_fen`.
    A gift's line is there when the gift was really added; one that was promised and forgotten has
    none (`Life.promotions` still tells of it).
    """

    sku: str
    title: str
    quantity: int = 1
    price_fen: int = 0
    discount_fen: int = 0
    is_gift: bool = False
    gift_of: int | None = None  # index of the main line
    stock_available: int | None = None
    warehouse: str = "WH01"
    is_oversold: bool = False
    refunded: datetime | None = None


@dataclass(slots=True)
class LifePromotion:
    """One promotion that made the order cheaper or gave a gift."""

    promotion_id: str  # tool-activity_detail, as TOP writes it: "mjs-123024_211143"
    tool: str
    name: str
    discount_fen: int = 0
    funder: str = "shop"  # or "platform"
    gift_sku: str = ""
    gift_quantity: int = 0


@dataclass(slots=True)
class LifeShipment:
    """One parcel."""

    at: datetime
    company: str
    tracking_no: str
    lines: tuple[int, ...] = ()  # indexes of lines; empty: all


@dataclass(slots=True)
class Life:
    """One order and its whole life."""

    order_no: str
    channel: str  # "tmall", "douyin" or "private_mall"
    shop: str
    placed: datetime
    lines: list[LifeLine]
    # -- truth, for the ledger only
    cause: str = ""  # Chinese name of the cause that sticks it, "" = healthy
    stuck_since: datetime | None = None
    mended: datetime | None = None  # from when nothing sticks it any more
    look_alike: str = ""  # which healthy look-alike it is
    # -- money
    freight_fen: int = 0
    shop_discount_fen: int = 0
    platform_discount_fen: int = 0
    coupon_fen: int = 0
    promotions: tuple[LifePromotion, ...] = ()
    price_error_fen: int = 0  # paid minus payable, until `price_mended`
    price_mended: datetime | None = None
    # -- payment
    cod: bool = False
    gateway: str = ""  # own mall only: "alipay" or "wechat_pay"
    gateway_paid: datetime | None = None
    paid: datetime | None = None  # what the platform shows; own mall: its callback came
    # -- presale: deposit and balance are one trade
    presale: bool = False
    deposit_fen: int = 0
    deposit_paid: datetime | None = None
    balance_opens: datetime | None = None
    balance_due: datetime | None = None
    balance_paid: datetime | None = None
    forfeited: datetime | None = None
    # -- what the platform stops
    group: bool = False
    group_done: datetime | None = None
    group_failed: datetime | None = None
    risk_words: str = ""
    risk_from: datetime | None = None
    risk_until: datetime | None = None
    address_change_from: datetime | None = None
    address_change_until: datetime | None = None
    urged: datetime | None = None
    unknown_status: str = ""  # a code no mapping knows, from `unknown_from` on
    unknown_from: datetime | None = None
    # -- refund
    refund_requested: datetime | None = None
    refunded: datetime | None = None
    # -- stock and gifts
    locked: datetime | None = None
    gifts_due: int = 0
    gifts_packed: int = 0
    gifts_packed_at: datetime | None = None
    # -- downstream
    oms: datetime | None = None
    reviewed: datetime | None = None
    wms: datetime | None = None
    printed: datetime | None = None
    picked: datetime | None = None
    packed: datetime | None = None
    out: datetime | None = None
    rejected: datetime | None = None  # the warehouse refuses it
    # -- dispatch
    shipments: tuple[LifeShipment, ...] = ()
    part_shipped: datetime | None = None
    shipped: datetime | None = None
    delivered: datetime | None = None
    completed: datetime | None = None
    closed: datetime | None = None
    ship_within: timedelta = timedelta(hours=48)
    # -- how late the platform shows a change of its own in lists (index lag)
    lag: timedelta = timedelta(0)
    # -- people (invented)
    buyer: str = ""
    receiver: str = ""
    phone: str = ""
    province: str = ""
    city: str = ""
    district: str = ""
    town: str = ""
    detail: str = ""
    remark: str = ""
    # Changes nothing else explains: a memo edit, a mutation between two pages.
    touched: tuple[datetime, ...] = ()

    @property
    def goods_fen(self) -> int:
        """Sum of price times quantity."""
        return sum(line.price_fen * line.quantity for line in self.lines)

    @property
    def payable_fen(self) -> int:
        """What the buyer has to pay."""
        off = self.shop_discount_fen + self.platform_discount_fen + self.coupon_fen
        return self.goods_fen + self.freight_fen - off

    def paid_fen_at(self, now: datetime) -> int:
        """What was paid in the end, the price error with it while it is not mended."""
        is_mended = self.price_mended is not None and self.price_mended <= now
        return self.payable_fen + (0 if is_mended else self.price_error_fen)

    def channel_moments(self) -> Iterator[datetime]:
        """The moments at which the channel's record of this order changes, in no order."""
        told = (
            self.placed, self.price_mended, self.paid, self.deposit_paid, self.balance_paid,
            self.forfeited, self.group_done, self.group_failed, self.risk_from, self.risk_until,
            self.address_change_from, self.address_change_until, self.urged, self.unknown_from,
            self.refund_requested, self.refunded, self.locked, self.gifts_packed_at,
            self.part_shipped, self.shipped, self.delivered, self.completed, self.closed,
        )  # fmt: skip
        yield from (moment for moment in told if moment is not None)
        yield from (line.refunded for line in self.lines if line.refunded is not None)
        yield from self.touched

    def modified_at(self, now: datetime) -> datetime:
        """When the channel's record last changed, as of `now`."""
        return max(m for m in self.channel_moments() if m <= max(now, self.placed))


def has_come(moment: datetime | None, now: datetime) -> bool:
    """Whether a moment of a life is over."""
    return moment is not None and moment <= now
