"""Dates: making them, taking them apart, counting days."""

from __future__ import annotations

import datetime as dt
from typing import Final

from config.errors import gettext_noop
from rules_engine.formula.values import MAX_SERIAL, ErrorValue, Value, ValueType, to_serial

from .registry import function, number

_TOPIC: Final = gettext_noop("日期")


def make_day(year: int, month: int, day: int) -> Value:
    """Return the serial of a day; months and days outside their range run on, as in Excel."""
    if 0 <= year < 1900:
        year += 1900
    year += (month - 1) // 12
    month = (month - 1) % 12 + 1
    if not 1899 <= year <= 9999 or abs(day) > 4_000_000:
        return ErrorValue.NUM
    serial = to_serial(dt.date(year, month, 1)) + day - 1
    return serial if 0 <= serial < MAX_SERIAL else ErrorValue.NUM


@function(
    "日期",
    "DATE",
    number("年"),
    number("月"),
    number("日"),
    result=ValueType.DATETIME,
    topic=_TOPIC,
    reading="{0}年{1}月{2}日",
    description=gettext_noop("由年、月、日组成日期；月和日超出范围时顺延。"),
    examples=[("日期(2026,11,11)", 46_337.0), ("DATE(2026,13,1)", 46_388.0)],
)
def make_date(year: float, month: float, day: float) -> Value:
    """DATE."""
    if max(abs(year), abs(month), abs(day)) > 1e7:
        return ErrorValue.NUM
    return make_day(int(year), int(month), int(day))
