"""How orders get stuck: nine causes, each told through what its platform, OMS or WMS would say.

A cause appears only where a platform can show it. Price: Tmall tells the shares of the lines
beside the payment, the own mall what was due; Douyin tells one sum only. Stock and the time a line
was locked: the own mall. The end of a balance window: Douyin and the own mall, TOP has no field for
it. Gifts due and gifts added: Tmall and the own mall; Douyin lists what it gives and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from connectors.simulators.births import CHANNELS, DOUYIN, MALL, TMALL, Births, later
from connectors.simulators.life import Life

CALLBACK_LOST, OMS_MISSING, RISK = "支付回调丢失", "OMS未接收", "地址触发风控"
PRICE, STOCK, BALANCE = "促销叠加价格异常", "库存冲突", "预售尾款逾期"
GROUP, WMS_MISSING, GIFT = "拼团超时", "WMS未接收", "赠品缺失"

CHANNELS_OF: dict[str, tuple[str, ...]] = {
    CALLBACK_LOST: (MALL,),
    OMS_MISSING: CHANNELS,
    RISK: CHANNELS,
    PRICE: CHANNELS,
    STOCK: (MALL,),
    BALANCE: (DOUYIN, MALL),
    GROUP: CHANNELS,
    WMS_MISSING: CHANNELS,
    GIFT: (TMALL, MALL),
}
# How long after `stuck_since` an order counts as stuck (promo/README.md).
GRACE: dict[str, timedelta] = {
    CALLBACK_LOST: timedelta(minutes=5),
    OMS_MISSING: timedelta(minutes=15),
    RISK: timedelta(minutes=30),
    PRICE: timedelta(0),
    STOCK: timedelta(minutes=10),
    BALANCE: timedelta(0),
    GROUP: timedelta(hours=24),
    WMS_MISSING: timedelta(minutes=60),
    GIFT: timedelta(minutes=30),
}
_RISK_WORDS = ("风控审核中", "地址待核实")


def make_stuck(births: Births, cause: str, placed: datetime) -> Life:
    """An order that was placed at `placed` and gets stuck for this cause, for ever.

    Not for a late balance: that one needs its window, see `make_overdue_balance`.
    """
    life = births.bear(births.pick_channel(CHANNELS_OF[cause]), placed)
    life.cause = cause
    paid = later(births.rng, life.placed, 0.3, 3)
    if cause == CALLBACK_LOST:
        life.gateway_paid = life.stuck_since = paid
        return life
    births.pay(life, paid)
    life.stuck_since = paid
    life.locked = later(births.rng, paid, 0.2, 0.6)
    _STICKERS[cause](births, life, paid)
    return life


def make_overdue_balance(births: Births, placed: datetime, due: datetime) -> Life:
    """A presale whose deposit is in and whose balance was not paid by `due`."""
    life = births.bear(births.pick_channel(CHANNELS_OF[BALANCE]), placed)
    births.promise_balance(life, opens=max(placed, due - timedelta(hours=24)), due=due)
    life.cause, life.stuck_since = BALANCE, due
    return life


def _stick_at_oms(births: Births, life: Life, paid: datetime) -> None:
    """Nothing more: the OMS never hears of it."""


def _stick_in_review(births: Births, life: Life, paid: datetime) -> None:
    life.risk_from, life.risk_words = paid, births.rng.choice(_RISK_WORDS)
    if life.risk_words == "地址待核实":
        life.district = life.town = ""


def _stick_on_price(births: Births, life: Life, paid: datetime) -> None:
    too_little = [fen for fen in (-3000, -2000, -1000) if life.payable_fen + fen > 0]
    life.price_error_fen = births.rng.choice((*too_little, 2000))
    life.oms = later(births.rng, paid, 0.3, 4)  # taken in, then suspended


def _stick_without_stock(births: Births, life: Life, paid: datetime) -> None:
    life.locked, life.lines[0].stock_available = None, 0
    life.oms = later(births.rng, paid, 0.3, 4)


def _stick_in_group(births: Births, life: Life, paid: datetime) -> None:
    life.group, life.stuck_since = True, life.placed


def _stick_before_wms(births: Births, life: Life, paid: datetime) -> None:
    life.oms = later(births.rng, paid, 0.3, 4)
    life.reviewed = life.stuck_since = later(births.rng, life.oms, 2, 20)


def _stick_without_gift(births: Births, life: Life, paid: datetime) -> None:
    _stick_before_wms(births, life, paid)
    births.promise_gift(life, is_added=False)


_STICKERS: dict[str, Callable[[Births, Life, datetime], None]] = {
    OMS_MISSING: _stick_at_oms,
    RISK: _stick_in_review,
    PRICE: _stick_on_price,
    STOCK: _stick_without_stock,
    GROUP: _stick_in_group,
    WMS_MISSING: _stick_before_wms,
    GIFT: _stick_without_gift,
}


def mend(births: Births, life: Life, moment: datetime) -> None:
    """Somebody, or the system itself, puts a stuck order right at `moment`; it flows on.

    What was waited for comes at that very moment: an order is not mended before it has arrived.
    """
    life.mended = moment
    if life.cause == CALLBACK_LOST:
        life.paid = life.oms = moment
    elif life.cause == OMS_MISSING:
        life.oms = moment
    elif life.cause == RISK:
        life.risk_until = moment
    elif life.cause == PRICE:
        life.price_mended = moment
    elif life.cause == STOCK:
        life.locked = moment
    elif life.cause == BALANCE:
        births.pay_balance(life, moment)
    elif life.cause == GROUP:
        life.group_done = moment
    elif life.cause == GIFT:
        life.gifts_packed, life.gifts_packed_at = life.gifts_due, moment
    births.flow(life, moment)
    if life.cause in {WMS_MISSING, GIFT}:
        life.wms = moment


def can_mend(life: Life) -> bool:
    """A forgotten gift at Tmall cannot be added to a paid trade; everything else can be mended."""
    return life.cause != GIFT or life.channel == MALL
