"""Plain functions the compiled plan writes out, where the kinds of the arguments prove it right.

Each writer gets the pieces of the arguments (the clock first, where the function uses it) and
returns nothing when the proof fails: then the function is called as the row plan calls it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from .code_parts import (
    BLANK,
    ERROR,
    LARGEST,
    LARGEST_PROVEN,
    LOGICAL,
    NOT_KNOWN,
    NUMBER,
    NUMERIC,
    ROWS,
    STOPS,
    TEXT,
    WORDS,
    Piece,
)
from .functions.aggregates import equals_in_fen
from .functions.numbers import floor_number, round_away, round_number, round_towards_zero
from .functions.texts import format_as
from .functions.times import is_between
from .number_formats import depends_on_day_only
from .values import MAX_SERIAL, MS_PER_DAY, Value

if TYPE_CHECKING:
    from .code_writer import Frame

Inline = Callable[["Frame", Sequence[Piece]], Piece | None]


# --- questions ----------------------------------------------------------------------------------


def _is_blank(frame: Frame, parts: Sequence[Piece]) -> Piece | None:
    (part,) = parts
    if part.may_give(NOT_KNOWN | ROWS):
        return None
    return Piece(f"({part.code} is None)", LOGICAL)


def _asks_type(type_name: str) -> Inline:
    def write(frame: Frame, parts: Sequence[Piece]) -> Piece | None:
        (part,) = parts
        if part.may_give(NOT_KNOWN):
            return None
        return Piece(f"(type({part.code}) is {type_name})", LOGICAL)

    return write


def _not(frame: Frame, parts: Sequence[Piece]) -> Piece | None:
    (part,) = parts
    return Piece(f"(not {part.code})", LOGICAL) if part.gives_only(LOGICAL | NUMERIC) else None


def _is_one_of(frame: Frame, parts: Sequence[Piece]) -> Piece | None:
    subject, *options = parts
    values = [option.value for option in options]
    text = frame.as_text(subject) if subject.gives_only(WORDS) else None
    if text is None or not all(isinstance(value, str) for value in values):
        return None
    wanted = frozenset(value.lower() for value in values if isinstance(value, str))
    return Piece(f"({text.code}.lower() in {frame.writer.bring(wanted)})", LOGICAL)


# --- texts --------------------------------------------------------------------------------------


def _length(frame: Frame, parts: Sequence[Piece]) -> Piece | None:
    text = frame.as_text(parts[0])
    if text is None:
        return None
    count = f"len({text.code})"
    return Piece(f"float({count})", NUMBER, LARGEST, is_cheap=text.is_cheap, count=count)


def _part_of_text(slice_of: Callable[[int], slice]) -> Inline:
    """LEFT and RIGHT with a small count that is written out."""

    def write(frame: Frame, parts: Sequence[Piece]) -> Piece | None:
        text = frame.as_text(parts[0])
        count = parts[1].value if len(parts) > 1 else 1.0
        if text is None or not isinstance(count, float) or not 1.0 <= count < 1e6:
            return None
        return Piece(f"{text.code}[{frame.writer.bring(slice_of(int(count)))}]", TEXT)

    return write


def _fragments(frame: Frame, parts: Sequence[Piece]) -> tuple[Piece, list[str]] | None:
    values = [part.value for part in parts[1:]]
    text = frame.as_text(parts[0])
    if text is None or not all(isinstance(value, str) for value in values):
        return None
    return text, [value.lower() for value in values if isinstance(value, str) and value]


def _contains(frame: Frame, parts: Sequence[Piece]) -> Piece | None:
    found = _fragments(frame, parts)
    if found is None or not found[1]:
        return None
    text, fragments = found
    lower = frame.new_name()
    names = [frame.writer.constant(fragment).code for fragment in fragments]
    first = f"{names[0]} in ({lower} := {text.code}.lower())"
    return Piece(
        f"({' or '.join([first, *(f'{name} in {lower}' for name in names[1:])])})", LOGICAL
    )


def _begins_or_ends(method: str) -> Inline:
    def write(frame: Frame, parts: Sequence[Piece]) -> Piece | None:
        found = _fragments(frame, parts)
        if found is None or not found[1]:
            return None
        wanted = frame.writer.bring(tuple(found[1]))
        return Piece(f"{found[0].code}.lower().{method}({wanted})", LOGICAL)

    return write


def _find(frame: Frame, parts: Sequence[Piece]) -> Piece | None:
    """FIND from the beginning; find() is -1 where there is nothing."""
    if len(parts) != 2:
        return None
    fragment, text = frame.as_text(parts[0]), frame.as_text(parts[1])
    if fragment is None or text is None or not fragment.is_name:
        return None
    place = frame.new_name()
    code = f"({place} + 1.0 if ({place} := {text.code}.find({fragment.code})) >= 0 else VALUE)"
    return Piece(code, NUMBER | ERROR, LARGEST)


def _write_day(frame: Frame, parts: Sequence[Piece]) -> Piece | None:
    """TEXT of a date by a format without time: the same text all day long."""
    value, pattern = parts
    if not isinstance(pattern.value, str) or not value.gives_only(NUMERIC):
        return None
    if not depends_on_day_only(pattern.value):
        return None
    number = frame.as_number(value)
    if number is None:
        return None
    write = frame.writer.bring(make_day_writer(pattern.value))
    return Piece(f"{write}({number.code})", TEXT if value.is_moment else TEXT | ERROR)


def make_day_writer(pattern: str) -> Callable[[float], Value]:
    """Return TEXT by a format that depends on the day only, remembering days."""
    written: dict[int, Value] = {}

    def write(value: float) -> Value:
        day = round(value * MS_PER_DAY) // MS_PER_DAY if 0.0 <= value < MAX_SERIAL else -1
        if not 0 <= day < _LAST_DAY:
            return format_as(value, pattern)
        text = written.get(day)
        if text is None:
            if len(written) >= _MAX_DAYS:
                written.clear()
            text = written[day] = format_as(float(day), pattern)
        return text

    return write


_LAST_DAY: Final = int(MAX_SERIAL)
_MAX_DAYS: Final = 4096


# --- numbers ------------------------------------------------------------------------------------


def _absolute(frame: Frame, parts: Sequence[Piece]) -> Piece | None:
    number = frame.as_number(parts[0])
    return None if number is None else Piece(f"abs({number.code})", NUMBER, number.bound)


def _rounds(run: Callable[[float, float], float]) -> Inline:
    """Rounding to a place that is written out and near: it cannot fail then."""

    def write(frame: Frame, parts: Sequence[Piece]) -> Piece | None:
        number = frame.as_number(parts[0])
        digits = parts[1].value if len(parts) > 1 else 0.0
        if not isinstance(digits, float) or not -15.0 <= digits <= 15.0:
            return None
        call = f"{frame.writer.bring(run)}({{}}, {frame.writer.number(digits)})"
        if run is round_number and digits == 0.0:
            call = f"{frame.writer.bring(round_to_whole)}({{}})"

        def round_piece(piece: Piece) -> Piece:
            return Piece(call.format(piece.code), NUMBER, max(piece.bound * 10.0, 1e16))

        if number is not None:
            return round_piece(number)
        if not parts[0].gives_only(NUMBER | STOPS) or not parts[0].may_give(NUMBER):
            return None
        return frame.lift(parts[0], round_piece)

    return write


def round_to_whole(value: float) -> float:
    """ROUND to no digits; where binary dust may decide, the library does."""
    size = abs(value)
    if size >= 1e15:
        return value
    whole = math.floor(size)
    part = size - whole
    if part == 0.0:
        return value
    if part < 1e-3 or part > 0.999 or abs(part - 0.5) < 1e-3:
        return round_number(value)
    if part > 0.5:
        whole += 1
    if not whole:
        return 0.0
    return float(whole) if value > 0.0 else -float(whole)


def _direct(run: Callable[..., Value], bits: int) -> Inline:
    """A function of numbers that does not fail: called without coercions."""

    def write(frame: Frame, parts: Sequence[Piece]) -> Piece | None:
        numbers = [frame.as_number(part) for part in parts]
        joined = ", ".join(number.code for number in numbers if number is not None)
        if None in numbers:
            return None
        return Piece(f"{frame.writer.bring(run)}({joined})", bits)

    return write


# --- times --------------------------------------------------------------------------------------


def _now(frame: Frame, parts: Sequence[Piece]) -> Piece | None:
    return parts[0]


def _distance(milliseconds: int, *, is_since: bool) -> Inline:
    """Whole milliseconds from one moment to the other, in a unit."""

    def write(frame: Frame, parts: Sequence[Piece]) -> Piece | None:
        start, end = (parts[1], parts[0]) if is_since else (parts[0], parts[1])
        if not start.gives_only(NUMERIC) or not end.gives_only(NUMERIC):
            return None
        if start.bound + end.bound >= LARGEST_PROVEN:
            return None
        tests = []
        names = {}
        for piece in (parts[1], parts[0]) if is_since else (parts[0], parts[1]):
            first, names[id(piece)] = frame.twice(piece)
            if piece.may_give(BLANK) or not piece.is_name:
                tests.append(f"({first} is None)")
        gap = frame.new_name()
        missing = f"NA if {' | '.join(tests)} else " if tests else ""
        later, earlier = names[id(end)], names[id(start)]
        code = (
            f"({missing}round({gap}) / {float(milliseconds)} if -1e15 < "
            f"({gap} := ({later} - {earlier}) * {float(MS_PER_DAY)}) < 1e15 else NUM)"
        )
        return Piece(code, NUMBER | ERROR, LARGEST)

    return write


def _is_between(frame: Frame, parts: Sequence[Piece]) -> Piece | None:
    if not all(part.gives_only(NUMERIC) for part in parts):
        return None
    joined = ", ".join(part.code for part in parts)
    return Piece(f"{frame.writer.bring(is_between)}({joined})", LOGICAL | ERROR)


INLINE: Final[dict[str, Inline]] = {
    "ISBLANK": _is_blank,
    "ISNUMBER": _asks_type("float"),
    "ISERROR": _asks_type("ErrorValue"),
    "ISLOGICAL": _asks_type("bool"),
    "NOT": _not,
    "ISIN": _is_one_of,
    "LEN": _length,
    "LEFT": _part_of_text(lambda count: slice(count)),
    "RIGHT": _part_of_text(lambda count: slice(-count, None)),
    "CONTAINS": _contains,
    "STARTSWITH": _begins_or_ends("startswith"),
    "ENDSWITH": _begins_or_ends("endswith"),
    "FIND": _find,
    "TEXT": _write_day,
    "ABS": _absolute,
    "ROUND": _rounds(round_number),
    "ROUNDUP": _rounds(round_away),
    "ROUNDDOWN": _rounds(round_towards_zero),
    "INT": _direct(floor_number, NUMBER),
    "MONEYEQ": _direct(equals_in_fen, LOGICAL | ERROR),
    "NOW": _now,
    "ISBETWEEN": _is_between,
    "MINUTESSINCE": _distance(60_000, is_since=True),
    "HOURSSINCE": _distance(3_600_000, is_since=True),
    "DAYSSINCE": _distance(MS_PER_DAY, is_since=True),
    "MINUTESBETWEEN": _distance(60_000, is_since=False),
    "HOURSBETWEEN": _distance(3_600_000, is_since=False),
    "DAYSBETWEEN": _distance(MS_PER_DAY, is_since=False),
}
