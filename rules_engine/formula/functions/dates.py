"""Dates: making them, taking them apart, counting days and working days."""

from __future__ import annotations

import calendar
import datetime as dt
import math
from collections.abc import Callable
from typing import Final

from config.errors import gettext_noop
from rules_engine.formula.moments import make_day, parse_clock, parse_moment, split_day, split_time
from rules_engine.formula.operators import round_to_15_digits, to_number
from rules_engine.formula.values import (
    MAX_SERIAL,
    STOPPING,
    ErrorValue,
    Value,
    ValueType,
    strongest,
)

from .registry import Cost, anything, day, function, logical, number, rows, text

_TOPIC: Final = gettext_noop("日期")
_BLANK: Final = gettext_noop("空值按第 0 天（1900 年 1 月 0 日）计算")
_MARCH: Final = {"日期": 46_082.75}  # 2026-03-01 18:00


def _whole_day(serial: float) -> int | None:
    """Return the day without its time, None outside the calendar."""
    return math.floor(serial) if 0 <= serial < MAX_SERIAL else None


def _serial(made: int | None) -> Value:
    return ErrorValue.NUM if made is None else float(made)


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
def make_date(year: float, month: float, day_number: float) -> Value:
    """DATE."""
    if max(abs(year), abs(month), abs(day_number)) > 1e7:
        return ErrorValue.NUM
    return _serial(make_day(math.floor(year), math.floor(month), math.floor(day_number)))


@function(
    "时刻",
    "TIME",
    number("时"),
    number("分"),
    number("秒"),
    result=ValueType.DATETIME,
    topic=_TOPIC,
    reading="{0}时{1}分{2}秒",
    description=gettext_noop("由时、分、秒组成一天里的时刻，超过 24 小时从头算起。"),
    examples=[("时刻(12,0,0)", 0.5), ("TIME(1E308,0,0)", ErrorValue.NUM)],
)
def make_time(hour: float, minute: float, second: float) -> Value:
    """TIME."""
    if max(abs(hour), abs(minute), abs(second)) > 32_767:
        return ErrorValue.NUM
    seconds = int(hour) * 3600 + int(minute) * 60 + int(second)
    return seconds % 86_400 / 86_400 if seconds >= 0 else ErrorValue.NUM


def _take_from_day(part: int) -> Callable[[float], Value]:
    def take(serial: float) -> Value:
        whole = _whole_day(serial)
        return ErrorValue.NUM if whole is None else float(split_day(whole)[part])

    return take


def _take_from_time(part: int) -> Callable[[float], Value]:
    def take(serial: float) -> Value:
        if not 0 <= serial < MAX_SERIAL:
            return ErrorValue.NUM
        return float(split_time(serial)[part])

    return take


function(
    "年",
    "YEAR",
    day("日期"),
    result=ValueType.NUMBER,
    topic=_TOPIC,
    blank=_BLANK,
    reading="{0}的年份",
    description=gettext_noop("日期的年份。"),
    examples=[("年(日期)", 2026.0, _MARCH)],
)(_take_from_day(0))

function(
    "月",
    "MONTH",
    day("日期"),
    result=ValueType.NUMBER,
    topic=_TOPIC,
    blank=_BLANK,
    reading="{0}的月份",
    description=gettext_noop("日期的月份，1 到 12。"),
    examples=[("月(日期)", 3.0, _MARCH)],
)(_take_from_day(1))

function(
    "日",
    "DAY",
    day("日期"),
    result=ValueType.NUMBER,
    topic=_TOPIC,
    blank=_BLANK,
    reading="{0}是几号",
    description=gettext_noop("日期是一个月里的第几天。"),
    examples=[("日(日期)", 1.0, _MARCH)],
)(_take_from_day(2))

function(
    "时",
    "HOUR",
    day("时间"),
    result=ValueType.NUMBER,
    topic=_TOPIC,
    blank=_BLANK,
    aliases=("小时",),
    reading="{0}的小时",
    description=gettext_noop("时间的小时，0 到 23。"),
    examples=[("时(日期)", 18.0, _MARCH)],
)(_take_from_time(1))

function(
    "分",
    "MINUTE",
    day("时间"),
    result=ValueType.NUMBER,
    topic=_TOPIC,
    blank=_BLANK,
    aliases=("分钟",),
    reading="{0}的分钟",
    description=gettext_noop("时间的分钟，0 到 59。"),
    examples=[("分(日期)", 0.0, _MARCH)],
)(_take_from_time(2))

function(
    "秒",
    "SECOND",
    day("时间"),
    result=ValueType.NUMBER,
    topic=_TOPIC,
    blank=_BLANK,
    reading="{0}的秒",
    description=gettext_noop("时间的秒，0 到 59。"),
    examples=[("秒(日期)", 0.0, _MARCH)],
)(_take_from_time(3))


def _first_weekday(kind: float) -> int | None:
    """Return the day a week starts with (1 Sunday ... 7 Saturday) for Excel's kinds."""
    kind = int(kind)
    if kind in (1, 17):
        return 1
    if kind in (2, 11):
        return 2
    return kind - 9 if 12 <= kind <= 16 else None


@function(
    "星期",
    "WEEKDAY",
    day("日期"),
    number("类型", optional=True),
    result=ValueType.NUMBER,
    topic=_TOPIC,
    blank=_BLANK,
    reading="{0}是星期几",
    description=gettext_noop(
        "星期几：类型 1（默认）星期日是 1，类型 2 星期一是 1，类型 3 星期一是 0。"
    ),
    examples=[("星期(日期,2)", 7.0, _MARCH), ("WEEKDAY(日期)", 1.0, _MARCH)],
)
def take_weekday(serial: float, kind: float = 1.0) -> Value:
    """WEEKDAY."""
    whole = _whole_day(serial)
    if whole is None:
        return ErrorValue.NUM
    if int(kind) == 3:
        return float((whole - 2) % 7)
    first = _first_weekday(kind)
    return ErrorValue.NUM if first is None else float((whole - first) % 7 + 1)


@function(
    "周数",
    "WEEKNUM",
    day("日期"),
    number("类型", optional=True),
    result=ValueType.NUMBER,
    topic=_TOPIC,
    blank=_BLANK,
    reading="{0}是一年里的第几周",
    description=gettext_noop(
        "一年里的第几周：类型 1（默认）星期日开始，类型 2 星期一开始，21 是国际周。"
    ),
    examples=[("周数(日期)", 10.0, _MARCH)],
)
def take_week(serial: float, kind: float = 1.0) -> Value:
    """WEEKNUM."""
    whole = _whole_day(serial)
    if whole is None:
        return ErrorValue.NUM
    if int(kind) == 21:
        return take_iso_week(serial)
    first = _first_weekday(kind)
    new_year = make_day(split_day(whole)[0], 1, 1)
    if first is None or new_year is None:
        return ErrorValue.NUM
    return float((whole - new_year + (new_year - first) % 7) // 7 + 1)


@function(
    "国际周数",
    "ISOWEEKNUM",
    day("日期"),
    result=ValueType.NUMBER,
    topic=_TOPIC,
    blank=_BLANK,
    reading="{0}的国际周数",
    description=gettext_noop("国际标准的第几周：星期一开始，第一周含 1 月 4 日。"),
    examples=[("国际周数(日期)", 9.0, _MARCH)],
)
def take_iso_week(serial: float) -> Value:
    """ISOWEEKNUM."""
    whole = _whole_day(serial)
    if whole is None:
        return ErrorValue.NUM
    year, month, month_day = split_day(whole)
    try:
        return float(dt.date(year, month, month_day).isocalendar().week)
    except ValueError:  # 1900-01-00 and 1900-02-29 are days of Excel's calendar only
        return ErrorValue.NUM


def shift_months(serial: float, months: float) -> tuple[int, int, int] | None:
    """Return year, month and day so many months on, the day cut to the month's last."""
    whole = _whole_day(serial)
    if whole is None or abs(months) > 120_000:
        return None
    year, month, month_day = split_day(whole)
    month += math.trunc(months)
    year += (month - 1) // 12
    month = (month - 1) % 12 + 1
    if not 1900 <= year <= 9999:
        return None
    return year, month, min(month_day, calendar.monthrange(year, month)[1])


@function(
    "推移月份",
    "EDATE",
    day("日期"),
    number("月数"),
    result=ValueType.DATETIME,
    topic=_TOPIC,
    blank=_BLANK,
    reading="{0}之后{1}个月",
    description=gettext_noop("几个月之后（负数是之前）的同一天；没有那一天时取月末。"),
    examples=[("推移月份(DATE(2026,1,31),1)", 46_081.0)],
)
def move_months(serial: float, months: float) -> Value:
    """EDATE."""
    moved = shift_months(serial, months)
    return ErrorValue.NUM if moved is None else _serial(make_day(*moved))


@function(
    "月末",
    "EOMONTH",
    day("日期"),
    number("月数"),
    result=ValueType.DATETIME,
    topic=_TOPIC,
    blank=_BLANK,
    reading="{0}之后{1}个月的月末",
    description=gettext_noop("几个月之后（负数是之前）那个月的最后一天。"),
    examples=[("月末(DATE(2026,1,15),1)", 46_081.0)],
)
def take_month_end(serial: float, months: float) -> Value:
    """EOMONTH."""
    moved = shift_months(serial, months)
    if moved is None:
        return ErrorValue.NUM
    year, month, _ = moved
    return _serial(make_day(year, month, calendar.monthrange(year, month)[1]))


@function(
    "日期间隔",
    "DATEDIF",
    day("开始"),
    day("结束"),
    text("单位"),
    result=ValueType.NUMBER,
    topic=_TOPIC,
    blank=_BLANK,
    reading="{0}到{1}相隔多少（单位{2}）",
    description=gettext_noop(
        "两个日期的间隔；单位 d 天、m 整月、y 整年、ym 不计年的月、md 不计月的天、yd 不计年的天。"
    ),
    examples=[
        ('日期间隔(DATE(2026,1,15),DATE(2026,3,1),"m")', 1.0),
        ('DATEDIF(DATE(2026,1,15),DATE(2026,3,1),"MD")', 14.0),
    ],
)
def count_interval(start: float, end: float, unit: str) -> Value:
    """DATEDIF."""
    first, last = _whole_day(start), _whole_day(end)
    if first is None or last is None or first > last:
        return ErrorValue.NUM
    year, month, month_day = split_day(first)
    end_year, end_month, end_day = split_day(last)
    months = (end_year - year) * 12 + end_month - month - (end_day < month_day)
    unit = unit.lower()
    if unit == "d":
        return float(last - first)
    if unit == "m":
        return float(months)
    if unit == "y":
        return float(months // 12)
    if unit == "ym":
        return float(months % 12)
    if unit == "md":
        base = make_day(end_year, end_month - (end_day < month_day), month_day)
        return ErrorValue.NUM if base is None else float(max(0, last - base))
    if unit == "yd":
        base = make_day(end_year, month, month_day)
        if base is not None and base > last:
            base = make_day(end_year - 1, month, month_day)
        return ErrorValue.NUM if base is None else float(last - base)
    return ErrorValue.NUM


@function(
    "天数差",
    "DAYS",
    day("结束"),
    day("开始"),
    result=ValueType.NUMBER,
    topic=_TOPIC,
    blank=_BLANK,
    reading="{1}到{0}的天数",
    description=gettext_noop("结束日期减开始日期的天数，不计时刻。"),
    examples=[("天数差(DATE(2026,11,11),DATE(2026,11,1))", 10.0)],
)
def subtract_days(end: float, start: float) -> Value:
    """DAYS."""
    first, last = _whole_day(start), _whole_day(end)
    return ErrorValue.NUM if first is None or last is None else float(last - first)


def _is_weekday(whole: int) -> bool:
    return (whole - 2) % 7 < 5  # Monday is 0


def _count_weekdays(first: int, last: int) -> int:
    """Count Monday to Friday from first to last, both included, in closed form."""

    def count_before(whole: int) -> int:
        weeks, rest = divmod(whole - 2, 7)
        return weeks * 5 + min(rest, 5)

    return count_before(last + 1) - count_before(first)


def _holidays(values: tuple[Value, ...]) -> list[int] | Value:
    found = [to_number(value) for value in values if value is not None]
    if any(type(value) in STOPPING for value in found):
        return strongest(list(found))
    days = {_whole_day(value) for value in found if isinstance(value, float)}
    if None in days:
        return ErrorValue.NUM
    return sorted(whole for whole in days if whole is not None and _is_weekday(whole))


@function(
    "工作日数",
    "NETWORKDAYS",
    day("开始"),
    day("结束"),
    rows("假日", optional=True),
    result=ValueType.NUMBER,
    topic=_TOPIC,
    cost=Cost.ROWS,
    blank=_BLANK,
    reading="{0}到{1}的工作日数",
    description=gettext_noop("两个日期之间（含两端）星期一到星期五的天数，可以去掉假日。"),
    examples=[
        ("工作日数(DATE(2026,11,7),DATE(2026,11,8))", 0.0),
        ("NETWORKDAYS(DATE(2026,11,9),DATE(2026,11,13))", 5.0),
    ],
)
def count_working_days(start: float, end: float, holidays: tuple[Value, ...] = ()) -> Value:
    """NETWORKDAYS."""
    first, last = _whole_day(start), _whole_day(end)
    off = _holidays(holidays)
    if first is None or last is None:
        return ErrorValue.NUM
    if not isinstance(off, list):
        return off
    low, high = min(first, last), max(first, last)
    count = _count_weekdays(low, high) - sum(low <= whole <= high for whole in off)
    return float(count if first <= last else -count)


@function(
    "推移工作日",
    "WORKDAY",
    day("开始"),
    number("天数"),
    rows("假日", optional=True),
    result=ValueType.DATETIME,
    topic=_TOPIC,
    cost=Cost.ROWS,
    blank=_BLANK,
    reading="{0}之后{1}个工作日",
    description=gettext_noop("几个工作日之后（负数是之前）的日期，可以跳过假日。"),
    examples=[("推移工作日(DATE(2026,11,6),1)", 46_335.0)],
)
def move_working_days(start: float, days: float, holidays: tuple[Value, ...] = ()) -> Value:
    """WORKDAY."""
    whole = _whole_day(start)
    off = _holidays(holidays)
    if whole is None or abs(days) > 3_000_000:
        return ErrorValue.NUM
    if not isinstance(off, list):
        return off
    count = math.trunc(days)
    if count == 0:
        return float(whole)
    step = 1 if count > 0 else -1
    reached = _move_weekdays(whole, count)
    for holiday in off[::step]:
        if (holiday - whole) * step > 0 and (reached - holiday) * step >= 0:
            reached = _move_weekdays(reached, step)
    return float(reached) if 0 <= reached < MAX_SERIAL else ErrorValue.NUM


def _move_weekdays(whole: int, count: int) -> int:
    """Move by weekdays in closed form; a weekend counts as the weekday behind it."""
    weekday = (whole - 2) % 7
    if count > 0:
        behind = min(weekday, 4)
        weeks, rest = divmod(behind + count, 5)
        return whole - weekday + weeks * 7 + rest
    ahead = 5 if weekday > 4 else weekday
    weeks, rest = divmod(ahead + count, 5)
    return whole - weekday + weeks * 7 + rest


@function(
    "日期值",
    "DATEVALUE",
    anything("文本"),
    result=ValueType.DATETIME,
    topic=_TOPIC,
    reading="{0}的日期",
    description=gettext_noop(
        "把写成文本的日期变成日期，例如 2026-11-11、2026/11/11、2026年11月11日。"
    ),
    examples=[('日期值("2026/11/11")', 46_337.0), ('DATEVALUE("x")', ErrorValue.VALUE)],
)
def read_date(value: Value) -> Value:
    """DATEVALUE."""
    serial = parse_moment(value.strip(" ")) if isinstance(value, str) else None
    return float(math.floor(serial)) if serial is not None else ErrorValue.VALUE


@function(
    "时刻值",
    "TIMEVALUE",
    anything("文本"),
    result=ValueType.DATETIME,
    topic=_TOPIC,
    reading="{0}的时刻",
    description=gettext_noop("把写成文本的时刻变成一天的一部分，例如 12:00 是 0.5。"),
    examples=[('时刻值("12:00")', 0.5)],
)
def read_time(value: Value) -> Value:
    """TIMEVALUE."""
    if not isinstance(value, str):
        return ErrorValue.VALUE
    clock = parse_clock(value.strip(" "))
    if clock is None:
        clock = parse_moment(value.strip(" "))
    return clock % 1.0 if clock is not None else ErrorValue.VALUE


def _ends_february(whole: int) -> bool:
    year, month, month_day = split_day(whole)
    return month == 2 and month_day == calendar.monthrange(year, 2)[1]


def _count_days_360(start: int, end: int, *, is_european: bool) -> int:
    year, month, month_day = split_day(start)
    end_year, end_month, end_day = split_day(end)
    if is_european:
        month_day, end_day = min(month_day, 30), min(end_day, 30)
    else:
        if _ends_february(start):
            month_day = 30
        if month_day >= 30:
            month_day = 30
            end_day = min(end_day, 30)
    return (end_year - year) * 360 + (end_month - month) * 30 + end_day - month_day


@function(
    "三百六十日差",
    "DAYS360",
    day("开始"),
    day("结束"),
    logical("欧洲算法", optional=True),
    result=ValueType.NUMBER,
    topic=_TOPIC,
    blank=_BLANK,
    description=gettext_noop("按一年 360 天、每月 30 天计算的天数。"),
    examples=[("三百六十日差(DATE(2026,1,30),DATE(2026,3,31))", 60.0)],
)
def count_days_360(start: float, end: float, is_european: bool = False) -> Value:
    """DAYS360."""
    first, last = _whole_day(start), _whole_day(end)
    if first is None or last is None:
        return ErrorValue.NUM
    return float(_count_days_360(first, last, is_european=is_european))


@function(
    "年份比例",
    "YEARFRAC",
    day("开始"),
    day("结束"),
    number("基准", optional=True),
    result=ValueType.NUMBER,
    topic=_TOPIC,
    blank=_BLANK,
    description=gettext_noop("两个日期之间占一年的比例；基准 0 到 4 同 Excel。"),
    examples=[("年份比例(DATE(2026,1,1),DATE(2026,7,1))", 0.5)],
)
def take_year_fraction(start: float, end: float, basis: float = 0.0) -> Value:
    """YEARFRAC."""
    first, last = _whole_day(start), _whole_day(end)
    if first is None or last is None or not 0 <= basis < 5:
        return ErrorValue.NUM
    first, last = min(first, last), max(first, last)
    kind = int(basis)
    if kind in (0, 4):
        days = _count_days_360(first, last, is_european=kind == 4)
        if kind == 0 and _ends_february(first) and _ends_february(last):
            days += 30 - split_day(last)[2]  # both count as the 30th here, unlike in DAYS360
        return days / 360
    if kind == 1:
        return round_to_15_digits((last - first) / _average_year(first, last))
    return (last - first) / (360 if kind == 2 else 365)


def _average_year(first: int, last: int) -> float:
    year, month, month_day = split_day(first)
    end_year, end_month, end_day = split_day(last)
    is_within_year = end_year == year or (
        end_year == year + 1 and (end_month, end_day) <= (month, month_day)
    )
    if is_within_year:
        leap_day = next(
            (made for y in {year, end_year} if calendar.isleap(y) and (made := make_day(y, 2, 29))),
            None,
        )
        has_leap_day = leap_day is not None and first <= leap_day <= last
        return 366.0 if has_leap_day or (year == end_year and calendar.isleap(year)) else 365.0
    years = end_year + 1 - year
    return (365 * years + calendar.leapdays(year, end_year + 1)) / years
