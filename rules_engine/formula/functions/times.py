"""The clock and the distance between moments, exact to the millisecond."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from config.errors import gettext_noop
from rules_engine.formula.values import (
    MS_PER_DAY,
    STOPPING,
    ErrorValue,
    Value,
    ValueType,
    strongest,
)

from .registry import Style, function, moment, to_moment

_TOPIC: Final = gettext_noop("时间")
_NO_MOMENT: Final = gettext_noop("时间为空时得出 #N/A（没有可用的值）")
_NO_PARAMETER: Final = gettext_noop("没有参数")

_MINUTE: Final = 60_000
_HOUR: Final = 3_600_000
_PAID: Final = {"付款时间": 46_337.0}  # 2026-11-11 00:00


def count_milliseconds(start: Value, end: Value) -> float | ErrorValue:
    """Return the whole milliseconds from start to end; #N/A when one is blank."""
    if not isinstance(start, float) or not isinstance(end, float):
        return ErrorValue.NA
    distance = (end - start) * MS_PER_DAY
    return float(round(distance)) if abs(distance) < 1e15 else ErrorValue.NUM


def _distance(start: Value, end: Value, unit: int) -> Value:
    distance = count_milliseconds(start, end)
    return distance / unit if isinstance(distance, float) else distance


@function(
    "现在",
    "NOW",
    result=ValueType.DATETIME,
    uses_now=True,
    topic=_TOPIC,
    blank=_NO_PARAMETER,
    unknown=_NO_PARAMETER,
    reading="现在",
    description=gettext_noop("评分时刻的日期和时间；同一次评分里总是同一个时刻。"),
    examples=[("现在()-现在()", 0.0)],
)
def take_now(now: float) -> float:
    """NOW."""
    return now


@function(
    "今天",
    "TODAY",
    result=ValueType.DATETIME,
    uses_now=True,
    topic=_TOPIC,
    blank=_NO_PARAMETER,
    unknown=_NO_PARAMETER,
    reading="今天",
    description=gettext_noop("评分当天 0 点。"),
    examples=[("今天()=取整(现在())", True)],
)
def take_today(now: float) -> float:
    """TODAY."""
    return float(math.floor(now))


@function(
    "距今分钟",
    "MINUTESSINCE",
    moment("时间"),
    result=ValueType.NUMBER,
    uses_now=True,
    topic=_TOPIC,
    blank=_NO_MOMENT,
    reading="{0}到现在的分钟数",
    description=gettext_noop("从这个时间到现在过了多少分钟；时间在将来时是负数。"),
    examples=[("距今分钟(现在()-1/24)", 60.0)],
)
def count_minutes_since(now: float, when: Value) -> Value:
    """Minutes from `when` to now."""
    return _distance(when, now, _MINUTE)


@function(
    "距今小时",
    "HOURSSINCE",
    moment("时间"),
    result=ValueType.NUMBER,
    uses_now=True,
    topic=_TOPIC,
    blank=_NO_MOMENT,
    reading="{0}到现在的小时数",
    description=gettext_noop("从这个时间到现在过了多少小时；时间在将来时是负数。"),
    examples=[
        ("距今小时(现在()-2)", 48.0),
        ("距今小时(现在()+0.5)", -12.0),
        ("距今小时(付款时间)", ErrorValue.NA, {"付款时间": None}),
    ],
)
def count_hours_since(now: float, when: Value) -> Value:
    """Hours from `when` to now."""
    return _distance(when, now, _HOUR)


@function(
    "距今天数",
    "DAYSSINCE",
    moment("时间"),
    result=ValueType.NUMBER,
    uses_now=True,
    topic=_TOPIC,
    blank=_NO_MOMENT,
    reading="{0}到现在的天数",
    description=gettext_noop("从这个时间到现在过了多少天，可以有小数；时间在将来时是负数。"),
    examples=[("距今天数(现在()-1.5)", 1.5)],
)
def count_days_since(now: float, when: Value) -> Value:
    """Days from `when` to now."""
    return _distance(when, now, MS_PER_DAY)


@function(
    "相隔分钟",
    "MINUTESBETWEEN",
    moment("开始"),
    moment("结束"),
    result=ValueType.NUMBER,
    topic=_TOPIC,
    blank=_NO_MOMENT,
    reading="{0}到{1}的分钟数",
    description=gettext_noop("从开始到结束的分钟数；结束更早时是负数。"),
    examples=[("相隔分钟(付款时间,付款时间+1/24)", 60.0, _PAID)],
)
def count_minutes_between(start: Value, end: Value) -> Value:
    """Minutes from start to end."""
    return _distance(start, end, _MINUTE)


@function(
    "相隔小时",
    "HOURSBETWEEN",
    moment("开始"),
    moment("结束"),
    result=ValueType.NUMBER,
    topic=_TOPIC,
    blank=_NO_MOMENT,
    reading="{0}到{1}的小时数",
    description=gettext_noop("从开始到结束的小时数；结束更早时是负数。"),
    examples=[("相隔小时(付款时间,付款时间+2)", 48.0, _PAID)],
)
def count_hours_between(start: Value, end: Value) -> Value:
    """Hours from start to end."""
    return _distance(start, end, _HOUR)


@function(
    "相隔天数",
    "DAYSBETWEEN",
    moment("开始"),
    moment("结束"),
    result=ValueType.NUMBER,
    topic=_TOPIC,
    blank=_NO_MOMENT,
    reading="{0}到{1}的天数",
    description=gettext_noop("从开始到结束的天数，可以有小数；结束更早时是负数。"),
    examples=[("相隔天数(付款时间,付款时间+0.25)", 0.25, _PAID)],
)
def count_days_between(start: Value, end: Value) -> Value:
    """Days from start to end."""
    return _distance(start, end, MS_PER_DAY)


@function(
    "时间在区间内",
    "ISBETWEEN",
    moment("时间"),
    moment("起"),
    moment("止"),
    result=ValueType.LOGICAL,
    topic=_TOPIC,
    blank=gettext_noop("时间为空时得出“否”；起或止为空时那一边不限"),
    reading="{0}在{1}到{2}之间",
    description=gettext_noop("时间在起止之间（含两端，精确到毫秒）时成立。"),
    examples=[
        ("时间在区间内(付款时间,付款时间,付款时间+1)", True, _PAID),
        ("时间在区间内(付款时间,付款时间+1,付款时间+2)", False, _PAID),
        ("时间在区间内(付款时间,DATE(2026,11,1),DATE(2026,12,1))", False, {"付款时间": None}),
    ],
)
def is_between(when: Value, start: Value, end: Value) -> Value:
    """Tell whether start <= when <= end."""
    if when is None:
        return False
    for earlier, later in ((start, when), (when, end)):
        if earlier is None or later is None:
            continue
        distance = count_milliseconds(earlier, later)
        if not isinstance(distance, float):
            return distance
        if distance < 0:
            return False
    return True


def _moments(values: Sequence[Value]) -> Value | list[float]:
    found: list[Value] = []
    for value in values:
        found.extend(value if type(value) is tuple else (value,))
    moments = [to_moment(value) for value in found]
    if any(type(value) in STOPPING for value in moments):
        return strongest(moments)
    return [value for value in moments if isinstance(value, float)]


@function(
    "最早",
    "EARLIEST",
    moment("时间", many=True),
    result=ValueType.DATETIME,
    style=Style.AGGREGATE,
    topic=_TOPIC,
    aliases=("较早",),
    blank=gettext_noop("空值不参加；全部为空时得出空值"),
    reading="{*}中最早的",
    description=gettext_noop("几个时间里最早的一个。"),
    examples=[
        ("最早(付款时间+1,付款时间)", 46_337.0, _PAID),
        ("EARLIEST(付款时间,DATE(2026,1,1))", 46_023.0, {"付款时间": None}),
    ],
)
def take_earliest(values: Sequence[Value], references: Sequence[bool]) -> Value:
    """The earliest of date-times, ignoring blanks."""
    moments = _moments(values)
    if not isinstance(moments, list):
        return moments
    return min(moments, default=None)


@function(
    "最晚",
    "LATEST",
    moment("时间", many=True),
    result=ValueType.DATETIME,
    style=Style.AGGREGATE,
    topic=_TOPIC,
    aliases=("较晚",),
    blank=gettext_noop("空值不参加；全部为空时得出空值"),
    reading="{*}中最晚的",
    description=gettext_noop("几个时间里最晚的一个。"),
    examples=[("最晚(付款时间+1,付款时间)", 46_338.0, _PAID)],
)
def take_latest(values: Sequence[Value], references: Sequence[bool]) -> Value:
    """The latest of date-times, ignoring blanks."""
    moments = _moments(values)
    if not isinstance(moments, list):
        return moments
    return max(moments, default=None)
