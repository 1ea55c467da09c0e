"""TOP's words for a life: its status and type, ids and money."""

from __future__ import annotations

import zlib
from datetime import datetime

from connectors.simulators.life import Life, LifeLine, has_come
from connectors.simulators.reading import Standing, standing

STATUSES = {
    Standing.UNPAID: "WAIT_BUYER_PAY",
    Standing.DEPOSIT_PAID: "WAIT_BUYER_PAY",
    Standing.FORFEITED: "TRADE_CLOSED_BY_TAOBAO",
    Standing.IN_GROUP: "PAID_FORBID_CONSIGN",
    Standing.IN_REVIEW: "WAIT_SELLER_SEND_GOODS",
    Standing.TO_SHIP: "WAIT_SELLER_SEND_GOODS",
    Standing.PART_SHIPPED: "SELLER_CONSIGNED_PART",
    Standing.SHIPPED: "WAIT_BUYER_CONFIRM_GOODS",
    Standing.DELIVERED: "WAIT_BUYER_CONFIRM_GOODS",
    Standing.COMPLETED: "TRADE_FINISHED",
    Standing.REFUNDED: "TRADE_CLOSED",
    Standing.CANCELLED: "TRADE_CLOSED_BY_TAOBAO",
}


def status_of(life: Life, now: datetime) -> str:
    """The trade's status at a moment."""
    if life.unknown_status and has_come(life.unknown_from, now):
        return life.unknown_status
    found = standing(life, now)
    if found is Standing.DELIVERED and life.cod:
        return "TRADE_BUYER_SIGNED"
    if found is Standing.IN_REVIEW and is_strongly_held(life):
        return "PAID_FORBID_CONSIGN"
    return STATUSES[found]


def type_of(life: Life) -> str:
    """`nopaid` trades, as all but five kinds, are listed only when `type` names them."""
    if life.cod:
        return "cod"
    if life.presale:
        return "step"
    return "nopaid" if life.payable_fen == 0 else "fixed"


def is_strongly_held(life: Life) -> bool:
    """Of the orders in review every fourth is held by 发货强管控, the others by top_hold."""
    return zlib.crc32(life.order_no.encode()) % 4 == 0


def number(order_no: str) -> int | str:
    """TOP tells ids as numbers too long for JavaScript."""
    return int(order_no) if order_no.isdigit() else order_no


def yuan(fen: int) -> str:
    """Fen as TOP's yuan text."""
    return f"{'-' if fen < 0 else ''}{abs(fen) // 100}.{abs(fen) % 100:02d}"


def item_number(line: LifeLine) -> int:
    """The number of a line's goods."""
    return 590_000_000_000 + zlib.crc32(line.sku.encode())


def oid(life: Life, index: int) -> int | str:
    """The number of a line; the only line of an order has the order's."""
    tid = number(life.order_no)
    if isinstance(tid, str):
        return f"{tid}-{index + 1}"
    return tid if len(life.lines) == 1 else tid + index + 1
