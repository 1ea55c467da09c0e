"""Working days and promotions as kept in an environment's calendars, answered without walking days.

A calendar arrives as rows: holidays (day, is_workday), promotions (name, starts_at, ends_at).
Days the holiday calendar does not name are working days from Monday to Friday.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, TypeGuard

from .values import MAX_SERIAL, MS_PER_DAY, Value, clean

HOLIDAYS: Final = "calendar.holidays"
PROMOTIONS: Final = "calendar.promotions"
_LAST_DAY: Final = int(MAX_SERIAL)


def _rows(value: Value, *columns: str) -> Iterator[tuple[Value, ...]]:
    """Yield the wanted columns of every row."""
    if isinstance(value, tuple):
        for row in value:
            if isinstance(row, Mapping):
                yield tuple(clean(row.get(column)) for column in columns)


# --- working days ---------------------------------------------------------------------------------


def count_weekdays(day: int) -> int:
    """Count Mondays to Fridays up to and with a day; serial 2 is a Monday."""
    weeks, rest = divmod(max(0, day - 1), 7)
    return weeks * 5 + min(rest, 5)


def _is_weekday(day: int) -> bool:
    return (day - 2) % 7 < 5


class WorkDays:
    """Which days are worked: Monday to Friday, but for the days that are named."""

    def __init__(self, named: tuple[tuple[int, bool], ...]) -> None:
        changes = sorted(
            (day, 1 if is_worked else -1)
            for day, is_worked in dict(named).items()
            if is_worked is not _is_weekday(day)
        )
        self._days = [day for day, _ in changes]
        self._sums = [0]
        for _, change in changes:
            self._sums.append(self._sums[-1] + change)

    def count_until(self, day: int) -> int:
        """Count the working days up to and with a day."""
        return count_weekdays(day) + self._sums[bisect_right(self._days, day)]

    def is_worked(self, day: int) -> bool:
        """Tell whether a day is worked."""
        return self.count_until(day) > self.count_until(day - 1)

    def find(self, count: int) -> int | None:
        """Return the first day up to which so many days are worked, None outside the calendar."""
        low, high = 1, _LAST_DAY
        if count < 1 or self.count_until(high) < count:
            return None
        while low < high:  # some twenty steps: the count never falls
            middle = (low + high) // 2
            if self.count_until(middle) >= count:
                high = middle
            else:
                low = middle + 1
        return low


@lru_cache(maxsize=16)
def _work_days(named: tuple[tuple[int, bool], ...]) -> WorkDays:
    return WorkDays(named)


def read_work_days(rows: Value) -> WorkDays:
    """Make the working days of a holiday calendar; a row without a day is passed over."""
    return _work_days(
        tuple(
            (math.floor(day), is_worked is True)
            for day, is_worked in _rows(rows, f"{HOLIDAYS}.day", f"{HOLIDAYS}.is_workday")
            if isinstance(day, float) and 0 < day < MAX_SERIAL
        )
    )


@dataclass(frozen=True, slots=True)
class WorkHours:
    """The hours worked on every working day, in milliseconds of the day."""

    days: WorkDays
    opens: int
    closes: int

    def elapsed(self, serial: float) -> int:
        """Milliseconds worked from the beginning of the calendar up to a moment."""
        day, time = divmod(round(serial * MS_PER_DAY), MS_PER_DAY)
        worked = self.days.count_until(day - 1) * (self.closes - self.opens)
        if self.days.is_worked(day):
            worked += min(max(time, self.opens), self.closes) - self.opens
        return worked

    def is_open(self, serial: float) -> bool:
        """Tell whether a moment is worked; the closing moment is not."""
        day, time = divmod(round(serial * MS_PER_DAY), MS_PER_DAY)
        return self.opens <= time < self.closes and self.days.is_worked(day)

    def find(self, elapsed: int) -> float | None:
        """Return the first moment up to which so many milliseconds are worked."""
        length = self.closes - self.opens
        day = self.days.find(-(-elapsed // length))
        if day is None:
            return None
        rest = elapsed - (self.days.count_until(day) - 1) * length
        return day + (self.opens + rest) / MS_PER_DAY


# --- promotions -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Promotion:
    """A promotion in milliseconds of the calendar, the end not included."""

    name: str
    starts: int
    ends: int


def list_promotions(rows: Value) -> list[Promotion]:
    """Read a promotion calendar in the order of its rows; a row without both ends is passed over."""
    found = []
    columns = (f"{PROMOTIONS}.{column}" for column in ("name", "starts_at", "ends_at"))
    for name, starts, ends in _rows(rows, *columns):
        if _is_moment(starts) and _is_moment(ends) and starts < ends:
            written = name if isinstance(name, str) else ""
            found.append(Promotion(written, to_milliseconds(starts), to_milliseconds(ends)))
    return found


def _is_moment(value: Value) -> TypeGuard[float]:
    return isinstance(value, float) and 0.0 <= value < MAX_SERIAL


def to_milliseconds(serial: float) -> int:
    """Turn a serial into whole milliseconds."""
    return round(serial * MS_PER_DAY)


def measure_promotions(promotions: list[Promotion], starts: int, ends: int) -> int:
    """Milliseconds between two moments on which a promotion runs; overlapping ones count once."""
    covered, reached = 0, starts
    for promotion in sorted(promotions, key=lambda item: item.starts):
        begin = max(promotion.starts, reached)
        end = min(promotion.ends, ends)
        if end > begin:
            covered += end - begin
            reached = end
    return covered
