"""Healthy orders that look stuck, or odd, to a rule that looks at one field only.

`Kind.make` bears one that was placed at a moment. `age` says how many minutes before now it has to
have been placed so that it shows what it is there for; kinds with `settled` have reached the
warehouse by then, the others are paid (or not) and rightly nowhere yet.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from connectors.simulators.births import CHANNELS, COUNTY_PLACES, DOUYIN, MALL, TMALL, Births, later
from connectors.simulators.life import Life, LifeLine, LifePromotion

UNKNOWN_STATUSES = {TMALL: "WAIT_PACKAGE_MERGE", DOUYIN: "131", MALL: "awaiting_locker"}


@dataclass(frozen=True)
class Kind:
    """One sort of look-alike: its name, who makes it, where it occurs, how old it has to be."""

    name: str
    make: Callable[[Births, str, datetime], Life]
    age: tuple[float, float]  # minutes
    count: int  # at scale 1
    channels: tuple[str, ...] = CHANNELS
    settled: bool = True


def _sell(births: Births, channel: str, placed: datetime) -> tuple[Life, datetime]:
    """An order that is paid and on its way, and when the warehouse receives it."""
    life = births.bear(channel, placed)
    paid = births.pay(life, later(births.rng, life.placed, 0.3, 4))
    return life, births.flow(life, paid)


def make_ordinary(births: Births, channel: str, placed: datetime) -> Life:
    """Nothing odd about it."""
    return _sell(births, channel, placed)[0]


def _one_cent(births: Births, channel: str, placed: datetime) -> Life:
    life, _wms = _sell(births, channel, placed)
    life.price_error_fen = births.rng.choice((-1, 1))
    return life


def _free_sample(births: Births, channel: str, placed: datetime) -> Life:
    life = births.bear(channel, placed)
    life.lines = life.lines[:1]
    life.freight_fen = life.platform_discount_fen = life.coupon_fen = 0
    life.shop_discount_fen = life.goods_fen
    life.promotions = (
        LifePromotion("sample-88001_1", "sample", "免费试用", life.shop_discount_fen),
    )
    life.gateway = ""
    paid = births.pay(life, life.placed + timedelta(seconds=births.rng.randint(1, 20)))
    births.flow(life, paid)
    return life


def _cash_on_delivery(births: Births, channel: str, placed: datetime) -> Life:
    life = births.bear(channel, placed)
    life.cod, life.gateway = True, ""
    births.flow(life, life.placed)
    return life


def _county_city(births: Births, channel: str, placed: datetime) -> Life:
    life, _wms = _sell(births, channel, placed)
    life.province, life.city, life.district, life.town = births.rng.choice(COUNTY_PLACES)
    return life


def _masked(births: Births, channel: str, placed: datetime) -> Life:
    """At the own mall, which shows receivers in clear: this one is masked. Platforms mask anyway."""
    life, _wms = _sell(births, channel, placed)
    life.receiver = life.receiver[0] + "**"
    life.phone = f"{life.phone[:3]}****{life.phone[-4:]}"
    life.detail = life.detail[:3] + "******"
    return life


def _part_shipped(births: Births, channel: str, placed: datetime) -> Life:
    life = births.bear(channel, placed)
    if len(life.lines) < 2:
        life.lines.append(
            LifeLine(sku="SKU190", title="羊绒围巾", price_fen=19_900, stock_available=60)
        )
    paid = births.pay(life, later(births.rng, life.placed, 0.3, 4))
    wms = births.flow(life, paid)
    _pick_at(births, life, later(births.rng, wms, 20, 40))
    first = later(births.rng, wms, 60, 80)
    rest = later(births.rng, first, 9 * 60, 20 * 60)
    life.part_shipped, life.out, life.shipped = first, rest, rest + timedelta(minutes=5)
    life.shipments = (
        births.parcel(first, (0,)),
        births.parcel(life.shipped, tuple(range(1, len(life.lines)))),
    )
    life.delivered = later(births.rng, life.shipped, 24 * 60, 70 * 60)
    life.completed = later(births.rng, life.delivered, 24 * 60, 9 * 24 * 60)
    return life


def _pick_at(births: Births, life: Life, picked: datetime) -> None:
    life.printed = picked - timedelta(minutes=10)
    life.picked, life.packed = picked, later(births.rng, picked, 5, 20)


def _refund_while_picking(births: Births, channel: str, placed: datetime) -> Life:
    life, wms = _sell(births, channel, placed)
    births.stop_before_shipping(life)
    picked = later(births.rng, wms, 20, 40)
    life.printed, life.picked, life.packed = picked - timedelta(minutes=10), picked, None
    life.refund_requested = later(births.rng, picked, 2, 10)
    life.refunded = life.closed = later(births.rng, picked, 8 * 60, 14 * 60)
    return life


def _refunded(births: Births, channel: str, placed: datetime) -> Life:
    """Paid, taken back before it was picked: closed, and nothing paid is left."""
    life, wms = _sell(births, channel, placed)
    births.stop_before_shipping(life)
    life.printed = life.picked = life.packed = None
    life.refund_requested = later(births.rng, wms, 5, 15)
    life.refunded = life.closed = later(births.rng, life.refund_requested, 10, 30)
    return life


def _address_change(births: Births, channel: str, placed: datetime) -> Life:
    life, wms = _sell(births, channel, placed)
    life.address_change_from = later(births.rng, wms, 1, 4)
    life.address_change_until = later(births.rng, life.address_change_from, 8 * 60, 16 * 60)
    births.stop_before_shipping(life)
    life.picked = life.packed = None
    resumed = life.address_change_until
    life.picked = later(births.rng, resumed, 20, 100)
    life.packed = later(births.rng, life.picked, 5, 30)
    life.out = later(births.rng, life.packed, 15, 100)
    life.shipped = later(births.rng, life.out, 2, 20)
    life.shipments = (births.parcel(life.shipped),)
    life.delivered = later(births.rng, life.shipped, 24 * 60, 70 * 60)
    return life


def _refilled(births: Births, channel: str, placed: datetime) -> Life:
    """Sold more than there was, refilled and locked at once; the platform still says oversold."""
    life, _wms = _sell(births, channel, placed)
    life.lines[0].stock_available, life.lines[0].is_oversold = 0, True
    return life


def _group_formed(births: Births, channel: str, placed: datetime) -> Life:
    life = births.bear(channel, placed)
    paid = births.pay(life, later(births.rng, life.placed, 0.3, 3))
    life.group, life.group_done = True, later(births.rng, paid, 10, 60)
    births.flow(life, life.group_done)
    return life


def _group_open(births: Births, channel: str, placed: datetime) -> Life:
    life = births.bear(channel, placed)
    births.pay(life, later(births.rng, life.placed, 0.3, 3))
    life.group, life.group_done = True, later(births.rng, life.placed, 10 * 60, 22 * 60)
    births.flow(life, life.group_done)
    return life


def _group_failed(births: Births, channel: str, placed: datetime) -> Life:
    """Too few joined: the platform gave the money back and closed it. Nothing has to be sent."""
    life = births.bear(channel, placed)
    paid = births.pay(life, later(births.rng, life.placed, 0.3, 3))
    life.group, life.group_failed = True, later(births.rng, paid, 25, 90)
    life.refunded = life.closed = life.group_failed
    return life


def _review_released(births: Births, channel: str, placed: datetime) -> Life:
    life = births.bear(channel, placed)
    paid = births.pay(life, later(births.rng, life.placed, 0.3, 3))
    life.risk_from, life.risk_words = paid, "风控审核中"
    life.risk_until = later(births.rng, paid, 5, 24)
    births.flow(life, life.risk_until)
    return life


def _gift_added(births: Births, channel: str, placed: datetime) -> Life:
    life, _wms = _sell(births, channel, placed)
    births.promise_gift(life, is_added=True)
    life.gifts_packed, life.gifts_packed_at = 1, life.reviewed
    return life


def _urged(births: Births, channel: str, placed: datetime) -> Life:
    life, wms = _sell(births, channel, placed)
    life.urged = later(births.rng, wms, 0.5, 3)
    return life


def _memo_edited(births: Births, channel: str, placed: datetime) -> Life:
    life, wms = _sell(births, channel, placed)
    life.touched = (wms + timedelta(seconds=30), wms + timedelta(seconds=95))
    return life


def _unknown_status(births: Births, channel: str, placed: datetime) -> Life:
    life, wms = _sell(births, channel, placed)
    life.unknown_status = UNKNOWN_STATUSES[channel]
    life.unknown_from = wms + timedelta(seconds=20)
    births.stop_before_shipping(life)
    return life


def _slow_callback(births: Births, channel: str, placed: datetime) -> Life:
    """The gateway's word takes minutes, but comes within the five that are allowed."""
    life = births.bear(channel, placed)
    seconds = births.rng.randint(100, 200)
    paid = later(births.rng, life.placed, 0.5, 2) + timedelta(seconds=seconds)
    births.pay(life, paid, callback_seconds=seconds)
    births.flow(life, paid)
    return life


def _slow_oms(births: Births, channel: str, placed: datetime) -> Life:
    life = births.bear(channel, placed)
    paid = births.pay(life, later(births.rng, life.placed, 0.3, 3))
    life.oms = later(births.rng, paid, 9, 13)
    births.flow(life, paid)
    return life


def _balance_paid(births: Births, channel: str, placed: datetime) -> Life:
    """A presale whose balance came an hour and more ago: both payments are one trade."""
    life = births.bear(channel, placed)
    opens = life.placed + timedelta(hours=20)
    births.promise_balance(life, opens=opens, due=opens + timedelta(hours=48))
    paid = births.pay_balance(life, later(births.rng, opens, 30, 300))
    births.flow(life, paid)
    return life


def _balance_to_come(births: Births, channel: str, placed: datetime) -> Life:
    """A presale inside its window: the deposit is in, the balance may still come for hours."""
    life = births.bear(channel, placed)
    opens = life.placed + timedelta(hours=24)
    due = later(births.rng, opens, 54 * 60, 64 * 60)
    births.promise_balance(life, opens=opens, due=due)
    paid = births.pay_balance(life, due - timedelta(minutes=births.rng.randint(5, 200)))
    births.flow(life, paid)
    return life


def _deposit_forfeited(births: Births, channel: str, placed: datetime) -> Life:
    """The balance never came and the shop keeps the deposit: over, not overdue."""
    life = births.bear(channel, placed)
    opens = life.placed + timedelta(hours=20)
    due = later(births.rng, opens, 20 * 60, 24 * 60)
    births.promise_balance(life, opens=opens, due=due)
    life.forfeited = life.closed = due
    return life


def _unpaid(births: Births, channel: str, placed: datetime) -> Life:
    """Not paid yet; half of them will be, the others are closed."""
    life = births.bear(channel, placed)
    if channel == MALL or births.rng.random() < 0.5:
        paid = births.pay(life, later(births.rng, life.placed, 24, 40))
        births.flow(life, paid)
    else:
        life.closed = later(births.rng, life.placed, 25, 45)
    return life


def _closed_unpaid(births: Births, channel: str, placed: datetime) -> Life:
    life = births.bear(channel, placed)
    life.closed = later(births.rng, life.placed, 15, 30)
    return life


_DAY = (70.0, 720.0)
KINDS: tuple[Kind, ...] = (
    Kind("一分钱差额", _one_cent, _DAY, 160, (TMALL, MALL)),
    Kind("零元样品", _free_sample, _DAY, 60),
    Kind("县级市无区县", _county_city, _DAY, 1700),
    Kind("收货信息打码", _masked, _DAY, 200, (MALL,)),
    Kind("部分发货", _part_shipped, (180, 600), 90),
    Kind("发货前退款而仓库在拣货", _refund_while_picking, (150, 500), 60),
    Kind("付后退款关闭", _refunded, (170, 700), 80),
    Kind("改地址待处理", _address_change, (80, 480), 40),
    Kind("超卖已补货", _refilled, _DAY, 60, (TMALL, MALL)),
    Kind("已成团", _group_formed, (170, 720), 180),
    Kind("风控已放行", _review_released, (110, 720), 150),
    Kind("赠品已配", _gift_added, _DAY, 500),
    Kind("买家催发货", _urged, _DAY, 50),
    Kind("备注改过", _memo_edited, _DAY, 120),
    Kind("未知状态", _unknown_status, _DAY, 6),
    Kind("回调稍慢", _slow_callback, _DAY, 60, (MALL,)),
    Kind("OMS稍慢", _slow_oms, (90, 720), 120),
    Kind("尾款已付", _balance_paid, (29 * 60, 34 * 60), 300),
    Kind("货到付款", _cash_on_delivery, _DAY, 150, settled=False),
    Kind("预售窗口内", _balance_to_come, (56 * 60, 66 * 60), 260, settled=False),
    Kind("定金罚没", _deposit_forfeited, (50 * 60, 66 * 60), 20, settled=False),
    Kind("待付款", _unpaid, (0.5, 20), 180, settled=False),
    Kind("未付关闭", _closed_unpaid, (60, 700), 220, settled=False),
)
# Only these are paid and at no warehouse for longer than minutes, so none of them is in the past:
# on the first board every paid order that the warehouse does not have is a stuck one.
GROUP_OPEN = Kind("拼团未满一天", _group_open, (1, 500), 0, settled=False)
GROUP_FAILED = Kind("未成团已退款", _group_failed, (95, 700), 0, settled=False)
LIVE_KINDS = (*KINDS, GROUP_OPEN, GROUP_FAILED)
BY_NAME = {kind.name: kind for kind in LIVE_KINDS}
