"""A warehouse and what it knows: orders it received, their steps on the clock, holds, stock.

Every life with a `wms` moment is an order of the warehouse from then on, whoever brought it there.
Orders taken in by a call go the warehouse's usual pace. Holding and cancelling change the life.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from connectors.simulators.core import Store
from connectors.simulators.holding import Held, hold_life, release_life
from connectors.simulators.life import Life, LifeShipment, has_come
from connectors.simulators.payments import number_of
from connectors.simulators.sticking import OMS_MISSING, WMS_MISSING

OWN_CHANNEL = "erp"  # lives that only the warehouse knows
CHANNELS = ("tmall", "douyin", "private_mall", OWN_CHANNEL)
DEFAULT_STOCK = 500
_MENDED_BY_ARRIVAL = frozenset({OMS_MISSING, WMS_MISSING})


class Refused(Exception):
    """The warehouse does not do it."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


@dataclass(frozen=True)
class Pace:
    """How long the warehouse needs from one step to the next, for orders taken in by a call."""

    printing: timedelta = timedelta(minutes=10)
    picking: timedelta = timedelta(minutes=60)
    packing: timedelta = timedelta(minutes=15)
    leaving: timedelta = timedelta(minutes=45)
    shipping: timedelta = timedelta(minutes=5)
    delivery: timedelta = timedelta(hours=40)
    completion: timedelta = timedelta(days=7)


@dataclass
class _Desk:
    """What the warehouse notes about an order beside its life."""

    held: Held | None = None
    cancelled: datetime | None = None


@dataclass
class Stock:
    """One article in one warehouse."""

    warehouse: str
    sku: str
    title: str
    quantity: int
    locked: int


class Wms:
    """The state behind the Qimen gateway. Thread-safe.

    `can_hold` says per warehouse whether it implements order.pending; every other one does.
    """

    def __init__(
        self, store: Store, *, pace: Pace | None = None, can_hold: Mapping[str, bool] | None = None
    ) -> None:
        self._store, self.pace = store, pace or Pace()
        self.can_hold = dict(can_hold or {})
        self._lock = threading.RLock()
        self._desks: dict[str, _Desk] = {}
        self._shelves: dict[str, dict[str, None]] = {}  # article -> its orders, oldest first
        self._position = 0

    # -- orders --------------------------------------------------------------------------------

    def find(self, order_no: str, now: datetime) -> Life | None:
        """An order the warehouse has received."""
        life = self._store.get(order_no)
        return life if life is not None and has_come(life.wms, now) else None

    def get(self, order_no: str, warehouse: str, now: datetime) -> Life:
        """The same for a call that names the warehouse; raises Refused."""
        life = self.find(order_no, now)
        if life is None:
            raise Refused("S002", "单据不存在")
        if warehouse not in ("", "OTHER", warehouse_of(life)):
            raise Refused("S005", "单据不在这个仓库")
        return life

    def accept(self, life: Life, now: datetime) -> bool:
        """Take an order in; one that is already there stays as it is (False)."""
        with self._lock:
            known = self._store.get(life.order_no)
            if known is None:
                known = life
                self._store.add(life)
            elif has_come(known.wms, now):
                return False
            known.wms = now
            if known.cause in _MENDED_BY_ARRIVAL:
                known.mended = known.mended or now
            if known.out is None and known.rejected is None:
                self._plan(known, now)
            self._store.replace(known)
            return True

    def _plan(self, life: Life, now: datetime) -> None:
        pace = self.pace
        life.printed = now + pace.printing
        life.picked = life.printed + pace.picking
        life.packed = life.picked + pace.packing
        life.out = life.packed + pace.leaving
        life.shipped = life.out + pace.shipping
        life.delivered = life.shipped + pace.delivery
        life.completed = life.delivered + pace.completion
        number = f"SF{number_of(life.order_no, 13)}"
        life.shipments = (LifeShipment(life.shipped, "SF", number),)

    def hold(self, order_no: str, warehouse: str, now: datetime) -> bool:
        """Suspend an order; False when it was suspended already. Raises Refused from picking on."""
        with self._lock:
            life = self.get(order_no, warehouse, now)
            if not self.can_hold.get(warehouse_of(life), True):
                raise Refused("S004", "仓库不支持单据挂起")
            desk = self._desk(order_no)
            self._check_open(life, desk, now)
            if desk.held is not None:
                return False
            desk.held = hold_life(life, now)
            self._store.replace(life)
            return True

    def release(self, order_no: str, warehouse: str, now: datetime) -> bool:
        """Restore a suspended order; False when it was not suspended."""
        with self._lock:
            life, desk = self.get(order_no, warehouse, now), self._desk(order_no)
            if not self.can_hold.get(warehouse_of(life), True):
                raise Refused("S004", "仓库不支持单据挂起")
            if desk.held is None:
                return False
            release_life(life, desk.held, now)
            desk.held = None
            self._store.replace(life)
            return True

    def cancel(self, order_no: str, warehouse: str, now: datetime) -> bool:
        """Cancel an order; False when it was cancelled already. Raises Refused from picking on."""
        with self._lock:
            life, desk = self.get(order_no, warehouse, now), self._desk(order_no)
            if desk.cancelled is not None:
                return False
            self._check_open(life, desk, now)
            hold_life(life, now)
            desk.held, desk.cancelled = None, now
            self._store.replace(life)
            return True

    def _check_open(self, life: Life, desk: _Desk, now: datetime) -> None:
        if desk.cancelled is not None:
            raise Refused("S006", "单据已取消")
        if has_come(life.rejected, now):
            raise Refused("S006", "单据已被仓库拒绝")
        if has_come(life.picked, now):
            raise Refused("S003", f"单据状态为{self.steps(life, now)[-1][0]}，不能操作")

    def is_held(self, order_no: str) -> bool:
        """Whether an order is suspended."""
        return self._desk(order_no).held is not None

    def _desk(self, order_no: str) -> _Desk:
        with self._lock:
            return self._desks.setdefault(order_no, _Desk())

    # -- steps ---------------------------------------------------------------------------------

    def steps(self, life: Life, now: datetime | None = None) -> list[tuple[str, datetime]]:
        """An order's process so far, oldest first; with no `now` all that is planned."""
        if life.wms is None:
            return []
        desk = self._desks.get(life.order_no)
        planned = (
            ("ACCEPT", life.wms),
            ("REJECT", life.rejected),
            ("PRINT", life.printed),
            ("PICK", life.picked),
            ("PACKAGE", life.packed),
            ("PARTDELIVERED", life.part_shipped),
            ("DELIVERED", life.out),
            ("CANCELED", desk.cancelled if desk is not None else None),
        )
        end = life.rejected or datetime.max.replace(tzinfo=life.wms.tzinfo)
        return sorted(
            (
                (status, moment)
                for status, moment in planned
                if moment is not None and moment <= end and (now is None or moment <= now)
            ),
            key=lambda step: step[1],
        )

    def moments(self, life: Life) -> Iterable[tuple[datetime, str]]:
        """The steps in the form a feed wants."""
        return [(moment, status) for status, moment in self.steps(life)]

    # -- stock ---------------------------------------------------------------------------------

    def stock(self, skus: Sequence[str], warehouse: str, now: datetime) -> list[Stock]:
        """What is on the shelf of these articles: free and locked, per warehouse that has any."""
        with self._lock:
            self._sort_in()
            found = []
            for sku in skus:
                for number in self._shelves.get(sku, ()):
                    life = self._store.get(number)
                    if life is not None and life.placed <= now:
                        found += self._count(life, sku, now)
            return _add_up([one for one in found if warehouse in ("", "OTHER", one.warehouse)])

    def _sort_in(self) -> None:
        self._position, changed = self._store.changes_since(self._position)
        for life in changed:
            for line in life.lines:
                self._shelves.setdefault(line.sku, {})[life.order_no] = None

    def _count(self, life: Life, sku: str, now: datetime) -> list[Stock]:
        is_gone = any(
            has_come(moment, now) for moment in (life.out, life.shipped, life.refunded, life.closed)
        )
        is_locked = has_come(life.locked, now) and not is_gone
        return [
            Stock(
                line.warehouse,
                sku,
                line.title,
                DEFAULT_STOCK if line.stock_available is None else line.stock_available,
                line.quantity if is_locked else 0,
            )
            for line in life.lines
            if line.sku == sku
        ]


def _add_up(found: Sequence[Stock]) -> list[Stock]:
    """One row per warehouse and article: what is free as the newest order saw it, locks added."""
    rows: dict[tuple[str, str], Stock] = {}
    for one in found:
        row = rows.setdefault(
            (one.warehouse, one.sku), Stock(one.warehouse, one.sku, one.title, one.quantity, 0)
        )
        row.quantity = one.quantity
        row.locked += one.locked
    return [rows[key] for key in sorted(rows)]


def warehouse_of(life: Life) -> str:
    """The warehouse that sends the order: its first line's."""
    return life.lines[0].warehouse if life.lines else "WH01"
