"""Which windows of a list to read next, and in which order its pages. Pure: no I/O, no clock.

A list is read window by window. `done_until` is the high-water mark of *closed* windows: it moves
only when every page of a window was read and stored. Windows overlap what was read already, for
platforms show an order up to minutes after its time; receiving twice changes nothing, missing one
is the incident. Reasons: channels.md 0.7, 0.9 and 3.2.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from connectors.adapters.lists import ListRules, Paging

# Platforms do not say whether a window's end belongs to it: neighbours share this much.
SEAM = timedelta(seconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, order=True)
class Window:
    """A span of a list, both ends included, whole seconds, in UTC."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Plan:
    """What to read next, oldest first.

    `unreachable` is the part of a backlog that this list no longer gives: it has to be read by
    another call, or a person has to be told. `is_caught_up`: nothing is left after these windows.
    """

    windows: tuple[Window, ...]
    is_caught_up: bool
    unreachable: Window | None = None


def plan_windows(
    *,
    done_until: datetime | None,
    now: datetime,
    rules: ListRules,
    first_reach: timedelta,
    limit: int,
) -> Plan:
    """Slice what has to be read into at most `limit` legal windows.

    The first window reaches `overlap` back over what is done; the others follow with a second in
    common. Without `done_until` it starts `first_reach` ago. Nothing younger than `settle` is
    asked for, so that the newest second is complete. Never a window of no length, longer than
    allowed or beyond the reach of the list.
    """
    if limit < 1:
        raise ValueError("at least one window")
    end = _floor(now - rules.settle)
    edge = _ceil(now - rules.reach)
    mark = _floor(done_until) if done_until is not None else _floor(now - first_reach)
    start = mark - rules.overlap if done_until is not None else mark
    unreachable = Window(mark, edge) if done_until is not None and mark < edge else None
    start = max(start, edge)
    windows: list[Window] = []
    while start < end and len(windows) < limit:
        stop = min(start + rules.max_window, end)
        windows.append(Window(start, stop))
        if stop == end:
            break
        start = stop - SEAM
    is_caught_up = not windows or windows[-1].end >= end
    return Plan(tuple(windows), is_caught_up, unreachable)


def advance(
    done_until: datetime | None, closed: Iterable[Window], *, skipped: Window | None = None
) -> datetime | None:
    """The new high-water mark: as far as closed windows reach without a hole.

    A window that failed in between holds the mark back, whatever was read after it. The mark never
    goes back. `skipped` is a plan's `unreachable` part, once somebody has been told of it.
    """
    mark = done_until
    spans = [*closed, *([skipped] if skipped is not None else [])]
    for window in sorted(spans):
        if mark is not None and window.start > mark:
            break
        mark = window.end if mark is None else max(mark, window.end)
    return mark


def list_pages(total: int, rules: ListRules) -> range:
    """The numbers of the pages of a window with `total` orders, in the order that loses nothing.

    Backward: a list ordered newest first loses its foremost orders to a later window while it is
    being read (they are modified again), and all behind them move forward by one. Read from the
    last page, they move to pages not read yet: seen twice at worst. Read from page one, they move
    to pages that were read already: lost (channels.md 0.7). Orders that become visible meanwhile
    move the others the other way; they are what the overlap of the next window is for.
    """
    if rules.paging is Paging.CURSOR:
        raise ValueError("a cursor has no page numbers")
    if total < 0:
        raise ValueError("a negative total")
    pages = range(rules.first_page, rules.first_page + -(-total // rules.page_size))
    return pages[::-1] if rules.paging is Paging.BACKWARD else pages


@dataclass(frozen=True, slots=True)
class Slot:
    """A due run: the slot it stands for, and how many before it were missed."""

    at: datetime
    missed: int


def due_slot(*, last: datetime | None, now: datetime, every: timedelta) -> Slot | None:
    """The slot to run now, or None when the last one is still the newest.

    Slots stand on a fixed grid, so that a late run does not push the next one back. Missed slots
    are caught up by one run: its plan goes on from `done_until`, whatever was missed.
    """
    if not timedelta(minutes=1) <= every <= timedelta(hours=1):
        raise ValueError("between one minute and one hour")
    at = _EPOCH + (now - _EPOCH) // every * every
    if last is None:
        return Slot(at, 0)
    passed = (now - _EPOCH) // every - (last - _EPOCH) // every
    return Slot(at, passed - 1) if passed > 0 else None


def _floor(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(microsecond=0)


def _ceil(moment: datetime) -> datetime:
    floor = _floor(moment)
    return floor if floor == moment else floor + timedelta(seconds=1)


def slice_range(start: datetime, end: datetime, rules: ListRules) -> Iterator[Window]:
    """A past range in legal windows, oldest first, neighbours sharing a second."""
    at, stop = _floor(start), _floor(end)
    while at < stop:
        until = min(at + rules.max_window, stop)
        yield Window(at, until)
        if until == stop:
            return
        at = until - SEAM
