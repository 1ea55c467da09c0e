"""A seeded promo day over three channels: what is true, for every simulator to tell.

`Day` is the incident the product was made for, whose clock runs to the present: 18,000 paid, 16,700
at the warehouse, 1,300 missing by cause, and every healthy look-alike; then live orders minute by
minute. `make_day()` is a day of any size from beginning to end, for the soak.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from connectors.simulators.births import SHOPS, Births, Numbers, later
from connectors.simulators.life import Life
from connectors.simulators.look_alikes import BY_NAME, KINDS, LIVE_KINDS, Kind, make_ordinary
from connectors.simulators.sticking import (
    BALANCE,
    CALLBACK_LOST,
    CHANNELS_OF,
    GIFT,
    GRACE,
    GROUP,
    OMS_MISSING,
    PRICE,
    RISK,
    STOCK,
    WMS_MISSING,
    can_mend,
    make_overdue_balance,
    make_stuck,
    mend,
)

ZONE = ZoneInfo("Asia/Shanghai")
SEED = 20251111

PAID_AT_WMS = 16_700
# The 1,300 paid orders the warehouse never saw, by cause.
MISSING: Mapping[str, int] = {
    CALLBACK_LOST: 480,
    RISK: 300,
    PRICE: 180,
    OMS_MISSING: 150,
    STOCK: 80,
    WMS_MISSING: 50,
    GROUP: 40,
    GIFT: 20,
}
OVERDUE_BALANCES = 46  # deposit paid, balance not: stuck, but not among the paid
LIVE_PER_MINUTE = 6.0

_LIVE_CAUSES = (CALLBACK_LOST, PRICE, OMS_MISSING, RISK, CALLBACK_LOST, STOCK, WMS_MISSING, GIFT)
_ORDERS_PER_STUCK = 12  # of the live ones
_ODD_SHARE = 0.15  # of the healthy live ones
# The first live order that is stuck was paid before the start, and its platform shows it late.
_FIRST_STUCK_AGO = timedelta(minutes=6)
_FIRST_PAID_AGO = timedelta(minutes=4)


class Day:
    """Seed and start decide everything. Not thread-safe: one thread grows it.

    `started_at` (aware) is the moment of the first board: what is before it is history.
    `opened_at` is when live orders begin; None keeps them away until `open()`.
    """

    def __init__(
        self,
        *,
        seed: int,
        started_at: datetime,
        scale: float = 1.0,
        rate: float = LIVE_PER_MINUTE,
        shops: Mapping[str, str] = SHOPS,
        opened_at: datetime | None = None,
    ) -> None:
        self.seed, self.scale, self.rate, self.shops = seed, scale, rate, shops
        self.started_at = started_at.astimezone(ZONE).replace(microsecond=0)
        self._numbers = Numbers()
        rng = random.Random(seed)  # noqa: S311 - invented orders, no secrets
        self._births = Births(rng, self._numbers, shops=shops)
        self.lives: list[Life] = sorted(self._history(), key=lambda life: life.placed)
        self.opened_at: datetime | None = None
        self._live_minutes = 0
        if opened_at is not None:
            self.open(opened_at)

    def _count(self, number: int) -> int:
        return max(1, round(number * self.scale))

    # -- up to the start ---------------------------------------------------------------------

    def _history(self) -> Iterator[Life]:
        settled = 0
        for kind in KINDS:
            for _ in range(self._count(kind.count)):
                settled += kind.settled
                yield self._odd(kind)
        for _ in range(max(0, self._count(PAID_AT_WMS) - settled)):
            # Twelve hours of sale with a swell; the last hour is quiet, so that every healthy
            # order has reached the warehouse and the gap is exactly the stuck ones.
            minutes = 61 + 660 * self._births.rng.betavariate(1.6, 2.4)
            placed = self.started_at - timedelta(minutes=minutes)
            yield make_ordinary(self._births, self._births.pick_channel(), placed)
        for cause, number in MISSING.items():
            for _ in range(self._count(number)):
                ago = (26 * 60, 34 * 60) if cause == GROUP else (90, 640)
                yield make_stuck(self._births, cause, self._before(*ago))
        for _ in range(self._count(OVERDUE_BALANCES)):
            placed = self._before(50 * 60, 66 * 60)
            yield make_overdue_balance(self._births, placed, self._before(20, 600))

    def _odd(self, kind: Kind) -> Life:
        channel = self._births.pick_channel(kind.channels)
        life = kind.make(self._births, channel, self._before(*kind.age))
        life.look_alike = kind.name
        return life

    def _before(self, low: float, high: float) -> datetime:
        return later(self._births.rng, self.started_at, -high, -low)

    # -- from then on ------------------------------------------------------------------------

    def open(self, moment: datetime) -> None:
        """Let live orders begin at `moment`; opening twice changes nothing."""
        if self.opened_at is None:
            self.opened_at = moment.astimezone(ZONE).replace(microsecond=0)

    def grow(self, until: datetime) -> list[Life]:
        """Bear the live orders of the minutes that have begun by `until`; returns the new ones."""
        if self.opened_at is None:
            return []
        minutes = int((until - self.opened_at).total_seconds() // 60) + 1
        born: list[Life] = []
        while self._live_minutes < minutes:
            born.extend(self._minute(self._live_minutes, self.opened_at))
            self._live_minutes += 1
        self.lives.extend(born)
        return born

    def _minute(self, minute: int, opened_at: datetime) -> Iterator[Life]:
        """The orders of one live minute; about every other minute one gets stuck."""
        rng = random.Random(f"{self.seed}:{minute}")  # noqa: S311 - invented orders
        births = Births(rng, self._numbers, shops=self.shops)
        start = opened_at + timedelta(minutes=minute)
        number = int(self.rate * (minute + 1)) - int(self.rate * minute)
        for _ in range(number):
            yield _live_order(births, later(rng, start, 0, 1))
        every = max(2, round(_ORDERS_PER_STUCK / self.rate)) if self.rate > 0 else 0
        if minute == 0:
            yield _first_stuck(births, start)
        elif every and minute % every == 0:
            cause = _LIVE_CAUSES[minute // every % len(_LIVE_CAUSES)]
            life = make_stuck(births, cause, start)
            if rng.random() < 0.5:
                _mend_later(births, life)
            yield life


def _live_order(births: Births, placed: datetime) -> Life:
    """A healthy order of now, sometimes an odd one."""
    if births.rng.random() >= _ODD_SHARE:
        return make_ordinary(births, births.pick_channel(), placed)
    kind = births.rng.choice(LIVE_KINDS)
    life = kind.make(births, births.pick_channel(kind.channels), placed)
    life.look_alike = kind.name
    return life


def _first_stuck(births: Births, start: datetime) -> Life:
    """A lost callback that the platform shows right after the start: red within minutes."""
    life = make_stuck(births, CALLBACK_LOST, start - _FIRST_STUCK_AGO)
    life.gateway_paid = life.stuck_since = start - _FIRST_PAID_AGO
    life.lag = _FIRST_STUCK_AGO + timedelta(seconds=1)
    return life


def _mend_later(births: Births, life: Life) -> None:
    if can_mend(life) and life.stuck_since is not None:
        mend(births, life, later(births.rng, life.stuck_since + GRACE[life.cause], 20, 50))


# -- a whole day of any size ---------------------------------------------------------------------


def make_day(
    *,
    seed: int,
    started_at: datetime,
    orders: int = 54_000,
    stuck_share: float = 0.065,
    mended_share: float = 0.5,
    shops: Mapping[str, str] = SHOPS,
) -> list[Life]:
    """Lives of the 24 hours from `started_at`, in order of placing; `stuck_share` get stuck.

    Every cause and every look-alike occurs when there are a few hundred orders. A balance falls due
    within the day, an open group of its first hours is too old before it ends.
    """
    rng = random.Random(seed)  # noqa: S311 - invented orders
    births = Births(rng, Numbers(), shops=shops)
    start = started_at.astimezone(ZONE).replace(microsecond=0)
    stuck = round(orders * stuck_share)
    causes = list(_spread(stuck))
    lives = [_stuck_in_day(births, cause, start, mended_share) for cause in causes]
    odd = round((orders - stuck) * _ODD_SHARE)
    weights = [max(kind.count, 40) for kind in LIVE_KINDS]
    more = rng.choices(LIVE_KINDS, weights, k=max(0, odd - len(LIVE_KINDS)))
    chosen = [*LIVE_KINDS[:odd], *more]
    for kind in chosen:
        channel = births.pick_channel(kind.channels)
        life = kind.make(births, channel, later(rng, start, 0, 24 * 60))
        life.look_alike = kind.name
        lives.append(life)
    for _ in range(orders - len(lives)):
        placed = start + timedelta(minutes=24 * 60 * rng.betavariate(1.3, 1.5))
        lives.append(make_ordinary(births, births.pick_channel(), placed))
    return sorted(lives, key=lambda life: (life.placed, life.order_no))


def _spread(stuck: int) -> Iterator[str]:
    """So many causes in the proportions of the incident, each at least once."""
    counts = {**MISSING, BALANCE: OVERDUE_BALANCES}
    whole, given = sum(counts.values()), 0
    for cause in CHANNELS_OF:
        number = max(1, stuck * counts[cause] // whole)
        given += number
        yield from [cause] * number
    yield from [CALLBACK_LOST] * (stuck - given)


def _stuck_in_day(births: Births, cause: str, start: datetime, mended_share: float) -> Life:
    rng = births.rng
    if cause == BALANCE:
        placed = later(rng, start, 0, 12 * 60)
        life = make_overdue_balance(births, placed, later(rng, placed, 60, 11 * 60))
    else:
        life = make_stuck(births, cause, later(rng, start, 0, 60 if cause == GROUP else 22 * 60))
    if rng.random() < mended_share:
        _mend_later(births, life)
    return life


__all__ = [
    "BY_NAME",
    "MISSING",
    "OVERDUE_BALANCES",
    "PAID_AT_WMS",
    "SEED",
    "ZONE",
    "Day",
    "make_day",
]
