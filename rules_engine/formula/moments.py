"""Reading dates and times from text, and the calendar behind Excel serial days."""

from __future__ import annotations

import datetime as dt
import re
from typing import Final

from .values import MAX_SERIAL, MS_PER_DAY, to_serial

_LAST_MILLISECOND: Final = int(MAX_SERIAL) * MS_PER_DAY - 1
FIRST_TRUE_DAY: Final = 61  # 1900-03-01; before it Excel's calendar is one day off
_EPOCH_ORDINAL: Final = dt.date(1899, 12, 30).toordinal()

_DATE: Final = re.compile(
    r"(?P<year>[0-9]{4})(?:[-/.](?P<month>[0-9]{1,2})[-/.](?P<day>[0-9]{1,2})"
    r"|年(?P<month_zh>[0-9]{1,2})月(?P<day_zh>[0-9]{1,2})日)"
    r"(?:[ T]+(?P<time>.+))?"
)
_TIME: Final = re.compile(
    r"(?P<hour>[0-9]{1,4}):(?P<minute>[0-9]{1,2})(?::(?P<second>[0-9]{1,2})(?P<part>\.[0-9]{1,6})?)?"
    r"(?: ?(?P<half>[AaPp][Mm]))?"
)


def parse_moment(text: str) -> float | None:
    """Read "2026-11-11", "2026/11/11 10:00", "2026年11月11日" or "10:30" as a serial."""
    match = _DATE.fullmatch(text)
    if match is None:
        return parse_clock(text)
    try:
        day = dt.date(
            int(match["year"]),
            int(match["month"] or match["month_zh"]),
            int(match["day"] or match["day_zh"]),
        )
    except ValueError:
        return None
    serial = to_serial(day)
    if match["time"]:
        clock = parse_clock(match["time"].strip(" "))
        if clock is None or clock >= 1.0:
            return None
        serial += clock
    return serial if 0 <= serial < MAX_SERIAL else None


def parse_clock(text: str) -> float | None:
    """Read "10:30" or "10:30:15 PM" as a part of a day; hours beyond 24 run on."""
    match = _TIME.fullmatch(text)
    if match is None:
        return None
    hour, minute, second = int(match["hour"]), int(match["minute"]), int(match["second"] or 0)
    if minute > 59 or second > 59:
        return None
    if match["half"]:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if match["half"].lower() == "pm" else 0)
    return (hour * 3600 + minute * 60 + second + float(match["part"] or 0)) / 86_400


def make_day(year: int, month: int, day: int) -> int | None:
    """Return the serial of a day; months and days outside their range run on, as in Excel.

    None outside the calendar. Excel's calendar has a 29 February 1900, so earlier months are one less.
    """
    if 0 <= year < 1900:
        year += 1900
    year += (month - 1) // 12
    month = (month - 1) % 12 + 1
    if not 1899 <= year <= 9999 or abs(day) > 4_000_000:
        return None
    first = round(to_serial(dt.date(year, month, 1)))
    serial = first - (first < FIRST_TRUE_DAY) + day - 1  # 1900-02-29 is counted, as days run on
    return serial if 0 <= serial < MAX_SERIAL else None


def split_day(serial: int) -> tuple[int, int, int]:
    """Return year, month and day of a whole serial; day 0 is 1900-01-00, as in Excel."""
    if serial >= FIRST_TRUE_DAY:
        day = dt.date.fromordinal(serial + _EPOCH_ORDINAL)
        return day.year, day.month, day.day
    if serial == FIRST_TRUE_DAY - 1:
        return 1900, 2, 29
    if serial == 0:
        return 1900, 1, 0
    day = dt.date.fromordinal(serial + _EPOCH_ORDINAL + 1)
    return day.year, day.month, day.day


def split_time(serial: float) -> tuple[int, int, int, int, int]:
    """Return whole day, hour, minute, second and millisecond, rounded to the millisecond.

    The last moment of the calendar is not rounded out of it.
    """
    total = min(round(serial * MS_PER_DAY), _LAST_MILLISECOND)
    day, milliseconds = divmod(total, MS_PER_DAY)
    seconds, millisecond = divmod(milliseconds, 1000)
    minutes, second = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    return day, hour, minute, second, millisecond
