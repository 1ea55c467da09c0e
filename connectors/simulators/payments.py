"""What both payment gateways know of a life: the trade behind an order of the own mall.

The order number is `out_trade_no`. A presale is one trade here, as on TOP: the gateway tells it as
paid when the balance is.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from decimal import Decimal

from connectors.simulators.core import Store
from connectors.simulators.life import Life, has_come
from connectors.simulators.reading import BEIJING

CHANNEL = "private_mall"
_SCAN_SECONDS = 20


def find_trade(store: Store, gateway: str, order_no: str, now: datetime) -> Life | None:
    """The life whose money goes through this gateway, once it was placed."""
    life = store.get(order_no)
    if life is None or life.gateway != gateway or life.placed > now:
        return None
    return life


def total_fen(life: Life, now: datetime) -> int:
    """What the buyer was asked to pay, or paid, in fen."""
    return life.paid_fen_at(now)


def write_yuan(fen: int) -> str:
    """Fen as the gateway writes money: "279.00"."""
    return str(Decimal(fen).scaleb(-2).quantize(Decimal("0.01")))


def number_of(text: str, digits: int) -> str:
    """A steady number of so many digits that stands for a text."""
    value = int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "big")
    return str(value % 10**digits).zfill(digits)


def transaction_id(life: Life) -> str:
    """The gateway's own number of the trade (28 digits), the same at every asking."""
    day = (life.gateway_paid or life.placed).astimezone(BEIJING).strftime("%Y%m%d")
    if life.gateway == "wechat_pay":
        return f"4200{number_of(life.order_no, 6)}{day}{number_of('t' + life.order_no, 10)}"
    return f"{day}22001{number_of(life.order_no, 15)}"


def is_scanned(life: Life, now: datetime) -> bool:
    """Whether the buyer ever opened Alipay for it: only then the trade exists there.

    Who paid did so shortly before. Of those who never pay, every other one only looked.
    """
    if life.gateway_paid is not None:
        opened = max(life.placed, life.gateway_paid - timedelta(seconds=_SCAN_SECONDS))
        return opened <= now
    is_looking = int(number_of(life.order_no, 6)) % 2 == 0
    return is_looking and life.placed + timedelta(seconds=_SCAN_SECONDS) <= now


def is_paid(life: Life, now: datetime) -> bool:
    """Whether the gateway has the money."""
    return has_come(life.gateway_paid, now)


def is_refunded(life: Life, now: datetime) -> bool:
    """Whether all of it went back."""
    return has_come(life.refunded, now)
