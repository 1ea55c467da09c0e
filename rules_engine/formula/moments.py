"""Reading dates and times from text, and the calendar behind Excel serial days."""

from __future__ import annotations

import datetime as dt
import re
from typing import Final

from .values import MAX_SERIAL, to_serial

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
