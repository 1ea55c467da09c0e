"""The formats of TEXT: 0.00, #,##0, 0%, 0.00E+00, dates and times, up to four sections."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Final

from .limits import MAX_TEXT
from .moments import split_day, split_time
from .operators import number_to_text, parse_number
from .rounding import round_half_away
from .values import MAX_SERIAL, ErrorValue, Value

_MAX_FORMAT: Final = 255  # as Excel

_PIECE: Final = re.compile(
    r'"(?P<quoted>[^"]*)"|\\(?P<escaped>.)|_(?P<space>.)|\*(?P<fill>.)'
    r"|(?P<elapsed>\[(?:h+|m+|s+)\])|(?P<bracket>\[[^\]]*\])"
    r"|(?P<general>general|常规|g/通用格式)|(?P<half>am/pm|a/p|上午/下午)"
    r"|(?P<date>y+|m+|d+|h+|s+|a{3,4})|(?P<power>e[+-]0+)|(?P<point>\.)"
    r"|(?P<digit>[0#?])|(?P<comma>,)|(?P<percent>%)|(?P<text>@)|(?P<literal>.)",
    re.IGNORECASE | re.DOTALL,
)
_WEEKDAYS: Final = ("日", "一", "二", "三", "四", "五", "六")
_DAY_NAMES: Final = (
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
)
_MONTH_NAMES: Final = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)

_Piece = tuple[str, str]  # kind, text


@dataclass(frozen=True, slots=True)
class _Section:
    pieces: tuple[_Piece, ...]
    is_date: bool
    is_text: bool


@lru_cache(maxsize=512)
def _read_format(pattern: str) -> tuple[_Section, ...]:
    sections: list[list[_Piece]] = [[]]
    for match in _PIECE.finditer(pattern):
        kind = match.lastgroup or "literal"
        piece = match.group(kind)
        if kind == "literal" and piece == ";":
            sections.append([])
        elif kind in ("quoted", "escaped", "literal"):
            sections[-1].append(("literal", piece))
        elif kind == "space":
            sections[-1].append(("literal", " "))
        elif kind not in ("fill", "bracket"):
            sections[-1].append((kind, piece.lower()))
    return tuple(
        _Section(
            tuple(_mark_minutes(pieces)),
            any(kind in ("date", "elapsed", "half") for kind, _ in pieces),
            any(kind == "text" for kind, _ in pieces),
        )
        for pieces in sections
    )


def _mark_minutes(pieces: list[_Piece]) -> list[_Piece]:
    """m is a minute after h and before s, a month elsewhere."""
    marked = list(pieces)
    times = [index for index, (kind, _) in enumerate(pieces) if kind in ("date", "elapsed")]
    for place, index in enumerate(times):
        kind, piece = pieces[index]
        if kind != "date" or piece[0] != "m" or len(piece) > 2:
            continue
        before = pieces[times[place - 1]][1].strip("[")[0] if place else ""
        after = pieces[times[place + 1]][1].strip("[")[0] if place + 1 < len(times) else ""
        if before == "h" or after == "s":
            marked[index] = ("minute", piece)
    return marked


def format_value(value: Value, pattern: str) -> Value:
    """Write a value in a format, as TEXT does; #VALUE! for a format or date out of range."""
    if len(pattern) > _MAX_FORMAT:
        return ErrorValue.VALUE
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    sections = _read_format(pattern)
    if isinstance(value, str):
        number = parse_number(value)
        if not isinstance(number, float):
            return _format_text(value, sections)
        value = number
    if value is None:
        value = 0.0
    if not isinstance(value, float):
        return ErrorValue.VALUE
    return _format_number(value, sections)


def _format_text(value: str, sections: tuple[_Section, ...]) -> str | ErrorValue:
    section = next((section for section in sections if section.is_text), None)
    if section is None:
        return value
    if len(value) * sum(kind == "text" for kind, _ in section.pieces) > MAX_TEXT - _MAX_FORMAT:
        return ErrorValue.VALUE
    return "".join(value if kind == "text" else piece for kind, piece in section.pieces)


def _format_number(value: float, sections: tuple[_Section, ...]) -> Value:
    numeric = [section for section in sections if not section.is_text] or list(sections[:1])
    section, is_signed = numeric[0], True
    if value < 0 and len(numeric) > 1:
        section, is_signed = numeric[1], False
    elif value == 0 and len(numeric) > 2:
        section = numeric[2]
    if section.is_text:
        return _format_text(number_to_text(value), (section,))
    if section.is_date:
        return _format_date(value, section)
    if ("literal", "/") in section.pieces and any(kind == "digit" for kind, _ in section.pieces):
        return ErrorValue.VALUE  # fractions such as # ?/? are not written here
    if not section.pieces:
        return "-" if value < 0 and is_signed and not numeric[0].pieces and numeric else ""
    written = _write_number(abs(value), section.pieces)
    is_negative = value < 0 and is_signed and any(digit in written for digit in "123456789")
    return f"-{written}" if is_negative else written


def _write_number(size: float, pieces: tuple[_Piece, ...]) -> str:
    if any(kind == "general" for kind, _ in pieces):
        return "".join(number_to_text(size) if k == "general" else p for k, p in pieces)
    kinds = [kind for kind, _ in pieces]
    size *= 100.0 ** kinds.count("percent")
    if math.isinf(size):
        raise OverflowError  # #NUM!
    point = kinds.index("point") if "point" in kinds else len(kinds)
    digits_before = [i for i, kind in enumerate(kinds) if kind == "digit" and i < point]
    digits_after = [i for i, kind in enumerate(kinds) if kind == "digit" and i > point]
    last = digits_before[-1] if digits_before else -1
    commas = [i for i, kind in enumerate(kinds) if kind == "comma"]
    is_grouped = any(digits_before and digits_before[0] < i < last for i in commas)
    end = digits_after[-1] if digits_after else last
    size /= 1000.0 ** sum(1 for i in commas if i > end >= 0 or last < i < point)
    if "power" in kinds:
        return _write_power(size, pieces, len(digits_before), len(digits_after))
    return _fill(size, pieces, digits_before, digits_after, is_grouped=is_grouped)


def _fill(
    size: float,
    pieces: tuple[_Piece, ...],
    digits_before: list[int],
    digits_after: list[int],
    *,
    is_grouped: bool,
) -> str:
    rounded = round_half_away(size, float(len(digits_after)))
    shown = Decimal(f"{rounded:.15g}")  # 15 digits, then zeros: the rest is binary dust
    whole, _, fraction = f"{shown:.{len(digits_after)}f}".partition(".")
    whole = whole.lstrip("0")
    spare = len(whole) - len(digits_before)
    kept = len(fraction.rstrip("0"))
    written: list[str] = []
    positions = {index: position for position, index in enumerate(digits_after)}
    place = len(digits_before)  # digits of the whole part still to come
    for index, (kind, piece) in enumerate(pieces):
        if kind == "literal":
            written.append(piece)
        elif kind == "percent":
            written.append("%")
        elif kind == "point":
            if not digits_before:
                written.append(whole)
            written.append(".")
        elif kind == "digit" and index in positions:
            position = positions[index]
            if piece == "0" or position < kept:
                written.append(fraction[position])
            elif piece == "?":
                written.append(" ")
        elif kind == "digit":
            source = whole[: spare + 1] if place == len(digits_before) and spare >= 0 else ""
            position = len(whole) - place
            if not source:
                source = whole[position] if position >= 0 else {"0": "0", "?": " "}.get(piece, "")
            for offset, digit in enumerate(source):
                written.append(digit)
                left = place - 1 + len(source) - 1 - offset
                if is_grouped and left and left % 3 == 0 and digit != " ":
                    written.append(",")
            place -= 1
    return "".join(written)


def _write_power(size: float, pieces: tuple[_Piece, ...], before: int, after: int) -> str:
    power = math.floor(math.log10(size)) if size else 0
    power -= max(0, before - 1)
    mantissa = round_half_away(size / 10.0**power, float(after))
    if mantissa >= 10.0 ** max(1, before):
        mantissa /= 10.0
        power += 1
    tail = next(piece for kind, piece in pieces if kind == "power")
    sign = "-" if power < 0 else "+" if tail[1] == "+" else ""
    body = f"{mantissa:0{before + after + (1 if after else 0)}.{after}f}"
    return f"{body}E{sign}{abs(power):0{len(tail) - 2}d}"


def _format_date(value: float, section: _Section) -> Value:
    if not 0 <= value < MAX_SERIAL:
        return ErrorValue.VALUE
    day, hour, minute, second, millisecond = split_time(value)
    year, month, month_day = split_day(day)
    has_half = any(kind == "half" for kind, _ in section.pieces)
    written: list[str] = []
    decimals = ""
    for kind, piece in section.pieces:
        size = len(piece)
        if kind == "date" and piece[0] == "y":
            written.append(f"{year:04d}" if size > 2 else f"{year % 100:02d}")
        elif kind == "date" and piece[0] == "m":
            name = _MONTH_NAMES[month - 1]
            shown = (str(month), f"{month:02d}", name[:3], name, name[0])
            written.append(shown[min(size, 5) - 1])
        elif kind == "date" and piece[0] == "d":
            name = _DAY_NAMES[(day - 1) % 7]
            shown = (str(month_day), f"{month_day:02d}", name[:3], name, name)
            written.append(shown[min(size, 5) - 1])
        elif kind == "date" and piece[0] == "a":
            weekday = _WEEKDAYS[(day - 1) % 7]
            written.append(f"星期{weekday}" if size == 4 else weekday)
        elif kind == "date" and piece[0] == "h":
            shown_hour = (hour - 1) % 12 + 1 if has_half else hour
            written.append(f"{shown_hour:02d}" if size > 1 else str(shown_hour))
        elif kind == "minute":
            written.append(f"{minute:02d}" if size > 1 else str(minute))
        elif kind == "date":
            written.append(f"{second:02d}" if size > 1 else str(second))
            decimals = f"{millisecond:03d}"
        elif kind == "elapsed":
            seconds = ((day * 24 + hour) * 60 + minute) * 60 + second
            unit = {"h": 3600, "m": 60, "s": 1}[piece[1]]
            written.append(f"{seconds // unit:0{size - 2}d}")
        elif kind == "half":
            names = {"a/p": ("A", "P"), "上午/下午": ("上午", "下午")}.get(piece, ("AM", "PM"))
            written.append(names[hour >= 12])
        elif kind == "digit" and decimals:
            written.append(decimals[0])
            decimals = decimals[1:] or "0"
        else:
            written.append(piece)
    return "".join(written)


def depends_on_day_only(pattern: str) -> bool:
    """Whether a format writes nothing but day, month and year of a date."""
    sections = _read_format(pattern) if len(pattern) <= _MAX_FORMAT else ()
    return (
        len(sections) == 1
        and all(
            kind == "literal" or (kind == "date" and piece[0] in "ymda")
            for kind, piece in sections[0].pieces
        )
        and sections[0].is_date
    )
