"""Band and history -> what to do. Pure: no clock, no database.

Flapping: a score that wanders across a line does not open, raise or close anything until it stands
two points clear of the line it crossed, or has stayed there for a second evaluation. Falling into
red acts at once. Orders from history never act.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from rules_engine.scoring.bands import SEVERITY, Band, Lines

CLEAR_HUNDREDTHS = 2_00
# The patrol evaluates every minute: what has lasted this long was seen twice.
SETTLED_AFTER = timedelta(seconds=45)

# Messages per robot in any sliding minute. DingTalk mutes a robot at the 21st for ten minutes.
BUDGET_PER_MINUTE = 18
RESERVED_FOR_RED = 3
GATHER_FOR = timedelta(seconds=30)
AT_ALL_EVERY = timedelta(minutes=5)
HOLD_WINDOW = timedelta(minutes=10)


class Move(StrEnum):
    """What happens to an order's episode."""

    NOTHING = "nothing"
    WAIT = "wait"  # the band differs, but may be flapping
    OPEN = "open"
    RAISE = "raise"
    LOWER = "lower"
    CLOSE = "close"


@dataclass(frozen=True, slots=True)
class Standing:
    """One order as the patrol finds it. `level` is that of its open episode, "" without one.

    `settled`: how long the band has been on this side of the level; None means not looked up yet.
    """

    band: str
    score_hundredths: int
    level: str = ""
    is_open: bool = True
    is_history: bool = False
    settled: timedelta | None = None


def decide(standing: Standing, lines: Lines) -> Move:
    """The move for one order."""
    if standing.is_history or not standing.is_open:
        return Move.CLOSE if standing.level else Move.NOTHING
    before = SEVERITY[standing.level or Band.HEALTHY]
    after = SEVERITY[standing.band]
    if after == before:
        return Move.NOTHING
    is_worse = after > before
    if standing.band != Band.RED and not _is_confirmed(standing, lines, is_worse=is_worse):
        return Move.WAIT
    if is_worse:
        return Move.RAISE if standing.level else Move.OPEN
    return Move.CLOSE if standing.band == Band.HEALTHY else Move.LOWER


def _is_confirmed(standing: Standing, lines: Lines, *, is_worse: bool) -> bool:
    if standing.settled is not None and standing.settled >= SETTLED_AFTER:
        return True
    upper = {Band.YELLOW: lines.yellow, Band.ORANGE: lines.orange, Band.RED: lines.red}
    lower = {Band.HEALTHY: lines.yellow, Band.YELLOW: lines.orange, Band.ORANGE: lines.red}
    level = Band(standing.level or Band.HEALTHY)
    if is_worse:
        return lower[level] - standing.score_hundredths >= CLEAR_HUNDREDTHS
    return standing.score_hundredths - upper[level] >= CLEAR_HUNDREDTHS


def split_holds(count: int, *, recent: int, limit: int, is_asking: bool) -> int:
    """How many of `count` new holds may be placed without asking a person.

    `recent`: automatic holds of the last ten minutes; `is_asking`: a question is open already,
    so everything new joins it.
    """
    return 0 if is_asking else max(0, min(count, limit - recent))


@dataclass(frozen=True, slots=True)
class Waiting:
    """A message that waits for its turn at a robot."""

    id: int
    is_red: bool


def choose_batch(waiting: Sequence[Waiting], *, used: int) -> tuple[int, ...]:
    """The next message of a robot: one id alone, several to be merged into one digest, or none.

    `waiting` is in order of age. Red goes first and may use the whole budget, the rest leaves
    RESERVED_FOR_RED free. Whatever does not fit into the minute shares the last free place.
    """
    for is_red, limit in ((True, BUDGET_PER_MINUTE), (False, BUDGET_PER_MINUTE - RESERVED_FOR_RED)):
        ids = tuple(w.id for w in waiting if w.is_red == is_red)
        free = limit - used
        if not ids or free <= 0:
            continue
        return ids[:1] if len(ids) <= free or free > 1 else ids
    return ()


def pause_after(failures: int, *, is_throttled: bool) -> timedelta:
    """How long a robot rests after that many failures in a row.

    Throttling rests at once, a minute and then twice as long each time, up to the ten minutes
    DingTalk mutes a robot; other failures open the circuit after the third.
    """
    if is_throttled:
        return timedelta(seconds=min(60 * 2 ** (failures - 1), 600))
    if failures < 3:
        return timedelta()
    return timedelta(seconds=min(30 * 2 ** (failures - 3), 600))
