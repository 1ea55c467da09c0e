"""What lists and callbacks need of many lives, without reading them all at every call.

Both keep one entry per life in a heap: the next moment at which it changes. `ChangeIndex` is a
platform's list index with its lag; `Feed` tells each change once. Thread-safe.
"""

from __future__ import annotations

import heapq
import threading
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterable
from datetime import datetime

from connectors.simulators.life import Life
from connectors.simulators.wire import Store

Row = tuple[datetime, str]  # moment in whole seconds, order number
_LAST = "\U0010ffff"


class ChangeIndex:
    """A channel's orders per shop, by last listed change and by creation.

    A change of a life is listed from `moment + life.lag` on; before that the list still shows the
    order as it was, or not at all. Moments are cut to whole seconds, as the platforms tell them.
    """

    def __init__(self, store: Store, channel: str) -> None:
        self._store, self._channel = store, channel
        self._lock = threading.Lock()
        self._reset()

    def _reset(self) -> None:
        self._position = 0
        self._at: datetime | None = None
        self._next: list[tuple[datetime, int, str]] = []
        self._generation: dict[str, int] = {}
        self._listed: dict[str, tuple[str, datetime, datetime]] = {}
        self._modified: dict[str, list[Row]] = {}
        self._created: dict[str, list[Row]] = {}

    def modified(self, shop: str, now: datetime, start: datetime, end: datetime) -> list[Row]:
        """Orders of a shop whose last listed change is in [start, end], oldest first."""
        with self._lock:
            self._advance(now)
            return _between(self._modified.get(shop, []), start, end)

    def created(self, shop: str, now: datetime, start: datetime, end: datetime) -> list[Row]:
        """Listed orders of a shop created in [start, end], oldest first."""
        with self._lock:
            self._advance(now)
            return _between(self._created.get(shop, []), start, end)

    def _advance(self, now: datetime) -> None:
        if self._at is not None and now < self._at:
            self._reset()
        self._position, changed = self._store.changes_since(self._position)
        for life in changed:
            if life.channel == self._channel:
                self._load(life, now)
        while self._next and self._next[0][0] <= now:
            _, generation, number = heapq.heappop(self._next)
            life_now = self._store.get(number)
            if generation == self._generation[number] and life_now is not None:
                self._load(life_now, now)
        self._at = now

    def _load(self, life: Life, now: datetime) -> None:
        number, seen = life.order_no, now - life.lag
        generation = self._generation[number] = self._generation.get(number, 0) + 1
        listed, coming = None, None
        for moment in life.channel_moments():
            if moment <= seen:
                listed = moment if listed is None or moment > listed else listed
            elif coming is None or moment < coming:
                coming = moment
        if coming is not None:
            heapq.heappush(self._next, (coming + life.lag, generation, number))
        old = self._listed.pop(number, None)
        if old is not None:
            _drop(self._modified[old[0]], (old[1], number))
            _drop(self._created[old[0]], (old[2], number))
        if listed is not None and life.placed <= seen:
            entry = (
                life.shop,
                listed.replace(microsecond=0),
                life.placed.replace(microsecond=0),
            )
            self._listed[number] = entry
            insort(self._modified.setdefault(life.shop, []), (entry[1], number))
            insort(self._created.setdefault(life.shop, []), (entry[2], number))


class Feed:
    """Tells every named moment of a channel's lives once, when it has come."""

    def __init__(
        self,
        store: Store,
        channel: str,
        moments: Callable[[Life], Iterable[tuple[datetime, str]]],
        *,
        since: datetime | None = None,
    ) -> None:
        """`moments` names what of a life is told; nothing before `since` is."""
        self._store, self._channel, self._moments, self._since = store, channel, moments, since
        self._lock = threading.Lock()
        self._position = 0
        self._next: list[tuple[datetime, int, str]] = []
        self._generation: dict[str, int] = {}
        self._told: dict[str, set[tuple[datetime, str]]] = {}

    def due(self, now: datetime) -> list[tuple[datetime, str, Life]]:
        """What has come and was not told yet, oldest first."""
        found: list[tuple[datetime, str, Life]] = []
        with self._lock:
            self._position, changed = self._store.changes_since(self._position)
            for life in changed:
                if life.channel == self._channel:
                    self._take(life, now, found)
            while self._next and self._next[0][0] <= now:
                _, generation, number = heapq.heappop(self._next)
                life_now = self._store.get(number)
                if generation == self._generation[number] and life_now is not None:
                    self._take(life_now, now, found)
        return sorted(found, key=lambda item: (item[0], item[2].order_no))

    def _take(self, life: Life, now: datetime, found: list[tuple[datetime, str, Life]]) -> None:
        number = life.order_no
        generation = self._generation[number] = self._generation.get(number, 0) + 1
        told = self._told.setdefault(number, set())
        coming: datetime | None = None
        for moment, kind in self._moments(life):
            if moment > now:
                coming = moment if coming is None or moment < coming else coming
            elif (self._since is None or moment >= self._since) and (moment, kind) not in told:
                told.add((moment, kind))
                found.append((moment, kind, life))
        if coming is not None:
            heapq.heappush(self._next, (coming, generation, number))


def _between(rows: list[Row], start: datetime, end: datetime) -> list[Row]:
    return rows[bisect_left(rows, (start, "")) : bisect_right(rows, (end, _LAST))]


def _drop(rows: list[Row], row: Row) -> None:
    del rows[bisect_left(rows, row)]
