"""The OMS's list: every life it has received, by its last update there, without reading them all."""

from __future__ import annotations

import heapq
import threading
from bisect import bisect_left, bisect_right, insort
from datetime import datetime

from connectors.simulators.core import Store
from connectors.simulators.life import Life

Row = tuple[datetime, str]  # last update in whole seconds, order number
_LAST = "\U0010ffff"


class OmsIndex:
    """Rows by last update; thread-safe. Its clock only runs forwards, or all is read anew."""

    def __init__(self, store: Store) -> None:
        self._store, self._lock = store, threading.RLock()
        self._touched: dict[str, list[datetime]] = {}
        self._reset()

    def _reset(self) -> None:
        self._position, self._at = 0, None  # type: int, datetime | None
        self._next: list[tuple[datetime, int, str]] = []
        self._generation: dict[str, int] = {}
        self._row_of: dict[str, Row] = {}
        self._rows: list[Row] = []

    def between(self, now: datetime, start: datetime, end: datetime) -> list[Row]:
        """Rows whose last update is in [start, end], oldest first."""
        with self._lock:
            self._advance(now)
            low, high = bisect_left(self._rows, (start, "")), bisect_right(self._rows, (end, _LAST))
            return self._rows[low:high]

    def touch(self, order_no: str, at: datetime) -> None:
        """Note an update that the life does not tell: a hold, a release, an edit."""
        with self._lock:
            self._touched.setdefault(order_no, []).append(at)
            life = self._store.get(order_no)
            if life is not None and self._at is not None:
                self._load(life, max(at, self._at))

    def updated_at(self, life: Life, now: datetime) -> datetime | None:
        """When the OMS's record last changed."""
        return max((moment for moment in self._moments(life) if moment <= now), default=None)

    def _moments(self, life: Life) -> list[datetime]:
        """What moves the record. A record that the OMS has not received does not exist."""
        if life.oms is None:
            return []
        told = (life.oms, life.reviewed, life.wms, life.shipped, life.closed, life.refunded)
        touched = self._touched.get(life.order_no, ())
        return [m for m in (*told, *touched) if m is not None and m >= life.oms]

    def _advance(self, now: datetime) -> None:
        if self._at is not None and now < self._at:
            self._reset()
        self._position, changed = self._store.changes_since(self._position)
        for life in changed:
            self._load(life, now)
        while self._next and self._next[0][0] <= now:
            _, generation, number = heapq.heappop(self._next)
            known = self._store.get(number)
            if generation == self._generation[number] and known is not None:
                self._load(known, now)
        self._at = now

    def _load(self, life: Life, now: datetime) -> None:
        number = life.order_no
        generation = self._generation[number] = self._generation.get(number, 0) + 1
        moments = self._moments(life)
        coming = min((moment for moment in moments if moment > now), default=None)
        if coming is not None:
            heapq.heappush(self._next, (coming, generation, number))
        old = self._row_of.pop(number, None)
        if old is not None:
            del self._rows[bisect_left(self._rows, old)]
        last = max((moment for moment in moments if moment <= now), default=None)
        if last is not None:
            row = self._row_of[number] = (last.replace(microsecond=0), number)
            insort(self._rows, row)
