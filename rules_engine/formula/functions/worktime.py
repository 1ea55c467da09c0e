"""Durations that know the calendar: working days and hours, and what runs during promotions.

The calendars are tables kept by the business (节假日, 促销日历) and come in as hidden fields; without
one every Monday to Friday is worked and no promotion runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from config.errors import gettext_noop
from rules_engine.formula.calendars import (
    HOLIDAYS,
    PROMOTIONS,
    Promotion,
    WorkHours,
    list_promotions,
    measure_promotions,
    read_work_days,
    to_milliseconds,
)
from rules_engine.formula.operators import limit_text
from rules_engine.formula.tree import Kinds
from rules_engine.formula.values import MAX_SERIAL, MS_PER_DAY, ErrorValue, Value, ValueType

from .registry import Cost, Parameter, anything, function, moment, number, text

_F = TypeVar("_F", bound=Callable[..., Any])
_WORK: Final = gettext_noop("工作时间")
_PROMOTION: Final = gettext_noop("大促")
_NO_MOMENT: Final = gettext_noop("时间为空时得出 #N/A（没有可用的值）")
_MINUTE, _HOUR = 60_000, 3_600_000
_OPENS, _CLOSES = 9.0, 18.0
_WITH_HOURS: Final = gettext_noop(
    '时间为空时得出 #N/A；上班和下班写成几点（9、21.5）或时刻（"9:00"），不写时是 9 点到 18 点'
)

# National Day 2026: 1 to 7 October off, Saturday 10 October worked.
_OCTOBER: Final[dict[str, Any]] = {
    HOLIDAYS: [
        *({"day": 46_296.0 + n, "name": "国庆节", "is_workday": False} for n in range(7)),
        {"day": 46_305.0, "name": "国庆节调休上班", "is_workday": True},
    ]
}
_SALE: Final[dict[str, Any]] = {
    PROMOTIONS: [{"name": "双11", "starts_at": 46_336.0 + 20 / 24, "ends_at": 46_338.0}]
}


def _work(name: str, *parameters: Parameter, **more: Any) -> Callable[[_F], _F]:
    """Declare a function that reads the holiday calendar; name: both names with a blank."""
    zh, en = name.split()
    shared: dict[str, Any] = {
        "topic": _WORK, "implicit": (HOLIDAYS,), "cost": Cost.ROWS, "blank": _NO_MOMENT,
    }  # fmt: skip
    return function(zh, en, *parameters, **(shared | more))


def _hours() -> tuple[Parameter, ...]:
    return (
        number(gettext_noop("上班"), optional=True),
        number(gettext_noop("下班"), optional=True),
    )


def _time_of_day(value: float) -> int:
    """Milliseconds of the day: 9 and "9:00" are nine o'clock."""
    return round(value * (MS_PER_DAY if 0 <= value < 1 else _HOUR))


def _read_hours(rows: Value, hours: Sequence[float]) -> WorkHours | None:
    opens, closes = (*hours, *(_OPENS, _CLOSES)[len(hours) :])
    if not (0 <= opens <= 24 and 0 <= closes <= 24):
        return None
    made = WorkHours(read_work_days(rows), _time_of_day(opens), _time_of_day(closes))
    return made if made.opens < made.closes else None


def _check_moments(*values: Value) -> ErrorValue | None:
    for value in values:
        if not isinstance(value, float):
            return ErrorValue.NA
        if not 0 <= value < MAX_SERIAL:
            return ErrorValue.NUM
    return None


def _measure(rows: Value, start: Value, end: Value, hours: Sequence[float], unit: int) -> Value:
    wrong = _check_moments(start, end)
    worked = _read_hours(rows, hours)
    if wrong is not None or not isinstance(start, float) or not isinstance(end, float):
        return wrong
    return (
        ErrorValue.NUM if worked is None else (worked.elapsed(end) - worked.elapsed(start)) / unit
    )


@_work(
    "是工作日 ISWORKDAY",
    moment("日期"),
    result=ValueType.LOGICAL,
    reading="{0}是工作日",
    description=gettext_noop("这一天上班时成立：认得法定节假日和调休上班的周末，按「节假日」表。"),
    examples=[
        ("是工作日(DATE(2026,10,1))", False, _OCTOBER),
        ("是工作日(DATE(2026,10,10))", True, _OCTOBER),
        ("ISWORKDAY(DATE(2026,11,14))", False),
    ],
)
def is_work_day(rows: Value, when: Value) -> Value:
    """Tell whether a day is worked."""
    wrong = _check_moments(when)
    if wrong is not None or not isinstance(when, float):
        return wrong
    return read_work_days(rows).is_worked(int(when))


@_work(
    "上班天数 WORKDAYSBETWEEN",
    moment("开始"),
    moment("结束"),
    result=ValueType.NUMBER,
    reading="{0}到{1}的上班天数",
    description=gettext_noop(
        "两个日期之间（含两端）上班的天数，认得节假日和调休；结束更早时是负数。"
        "Excel 的 NETWORKDAYS（工作日数）只认星期一到星期五。"
    ),
    examples=[
        ("上班天数(DATE(2026,9,28),DATE(2026,10,11))", 6.0, _OCTOBER),
        ("WORKDAYSBETWEEN(DATE(2026,11,9),DATE(2026,11,15))", 5.0),
    ],
)
def count_work_days(rows: Value, start: Value, end: Value) -> Value:
    """Count the days worked from start to end, both included."""
    wrong = _check_moments(start, end)
    if wrong is not None or not isinstance(start, float) or not isinstance(end, float):
        return wrong
    days = read_work_days(rows)
    low, high = sorted((int(start), int(end)))
    count = float(days.count_until(high) - days.count_until(low - 1))
    return count if start <= end else -count or 0.0


@_work(
    "推移上班日 ADDWORKDAYS",
    moment("日期"),
    number("天数"),
    result=ValueType.DATETIME,
    reading="{0}之后{1}个上班日",
    description=gettext_noop("几个上班日之后（负数是之前）的日期，认得节假日和调休。"),
    examples=[
        ("推移上班日(DATE(2026,9,30),1)", 46_303.0, _OCTOBER),
        ("ADDWORKDAYS(DATE(2026,10,8),-1)", 46_295.0, _OCTOBER),
    ],
)
def add_work_days(rows: Value, when: Value, count: float) -> Value:
    """Return the day so many working days on."""
    wrong = _check_moments(when)
    if wrong is not None or not isinstance(when, float):
        return wrong
    day, steps = int(when), int(max(-1e7, min(count, 1e7)))
    if steps == 0:
        return float(day)
    days = read_work_days(rows)
    before = days.count_until(day) if steps > 0 else days.count_until(day - 1) + 1
    found = days.find(before + steps)
    return ErrorValue.NUM if found is None else float(found)


@_work(
    "工作小时 WORKHOURSBETWEEN",
    moment("开始"),
    moment("结束"),
    *_hours(),
    blank=_WITH_HOURS,
    aliases=("工作时长小时",),
    result=ValueType.NUMBER,
    reading="{0}到{1}的工作小时数",
    description=gettext_noop("从开始到结束有多少小时在工作时间里；结束更早时是负数。"),
    examples=[
        ("工作小时(DATE(2026,11,13)+17/24,DATE(2026,11,16)+10/24)", 2.0),
        ("WORKHOURSBETWEEN(DATE(2026,9,30),DATE(2026,10,8)+0.5,8,20)", 16.0, _OCTOBER),
    ],
)
def count_work_hours(rows: Value, start: Value, end: Value, *hours: float) -> Value:
    """Hours worked from start to end."""
    return _measure(rows, start, end, hours, _HOUR)


@_work(
    "工作分钟 WORKMINUTESBETWEEN",
    moment("开始"),
    moment("结束"),
    *_hours(),
    blank=_WITH_HOURS,
    aliases=("工作时长分钟",),
    result=ValueType.NUMBER,
    reading="{0}到{1}的工作分钟数",
    description=gettext_noop("从开始到结束有多少分钟在工作时间里；结束更早时是负数。"),
    examples=[("工作分钟(DATE(2026,11,13)+17/24,DATE(2026,11,16)+10/24)", 120.0)],
)
def count_work_minutes(rows: Value, start: Value, end: Value, *hours: float) -> Value:
    """Minutes worked from start to end."""
    return _measure(rows, start, end, hours, _MINUTE)


@_work(
    "距今工作小时 WORKHOURSSINCE",
    moment("时间"),
    *_hours(),
    blank=_WITH_HOURS,
    result=ValueType.NUMBER,
    uses_now=True,
    reading="{0}到现在的工作小时数",
    description=gettext_noop("从这个时间到现在有多少小时在工作时间里；时间在将来时是负数。"),
    examples=[
        ("距今工作小时(现在())", 0.0),
        ("WORKHOURSSINCE(付款时间)", ErrorValue.NA, {"付款时间": None}),
    ],
)
def count_work_hours_since(now: float, rows: Value, when: Value, *hours: float) -> Value:
    """Hours worked from `when` to now."""
    return _measure(rows, when, now, hours, _HOUR)


@_work(
    "距今工作分钟 WORKMINUTESSINCE",
    moment("时间"),
    *_hours(),
    blank=_WITH_HOURS,
    result=ValueType.NUMBER,
    uses_now=True,
    reading="{0}到现在的工作分钟数",
    description=gettext_noop("从这个时间到现在有多少分钟在工作时间里；时间在将来时是负数。"),
    examples=[("距今工作分钟(现在()-7,0,24)", 7200.0)],
)
def count_work_minutes_since(now: float, rows: Value, when: Value, *hours: float) -> Value:
    """Minutes worked from `when` to now."""
    return _measure(rows, when, now, hours, _MINUTE)


@_work(
    "在工作时间 ISWORKTIME",
    moment("时间"),
    *_hours(),
    blank=_WITH_HOURS,
    result=ValueType.LOGICAL,
    reading="{0}在工作时间里",
    description=gettext_noop("这个时刻在工作时间里时成立，下班的那一刻不算。"),
    examples=[
        ("在工作时间(DATE(2026,11,13)+0.5)", True),
        ("ISWORKTIME(DATE(2026,11,14)+0.5)", False),
        ("在工作时间(DATE(2026,11,13)+20/24,9,21.5)", True),
    ],
)
def is_work_time(rows: Value, when: Value, *hours: float) -> Value:
    """Tell whether a moment is worked."""
    wrong = _check_moments(when)
    worked = _read_hours(rows, hours)
    if wrong is not None or not isinstance(when, float):
        return wrong
    return ErrorValue.NUM if worked is None else worked.is_open(when)


@_work(
    "工作小时之后 ADDWORKHOURS",
    moment("时间"),
    number("小时"),
    *_hours(),
    blank=_WITH_HOURS,
    result=ValueType.DATETIME,
    reading="{0}之后{1}个工作小时",
    description=gettext_noop(
        "从这个时间起过了多少个工作小时的时刻，用来算处理时限；小时不能是负数。"
    ),
    examples=[
        ("工作小时之后(DATE(2026,11,13)+17/24,2)", 46_342.0 + 10 / 24),
        ("ADDWORKHOURS(DATE(2026,9,30)+17/24,4)", 46_303.0 + 12 / 24, _OCTOBER),
    ],
)
def add_work_hours(rows: Value, when: Value, count: float, *hours: float) -> Value:
    """Return the moment so many working hours on."""
    wrong = _check_moments(when)
    worked = _read_hours(rows, hours)
    if wrong is not None or not isinstance(when, float):
        return wrong
    if worked is None or not 0 <= count <= 1e6:
        return ErrorValue.NUM
    if count == 0:
        return when
    found = worked.find(worked.elapsed(when) + max(1, round(count * _HOUR)))
    return ErrorValue.NUM if found is None else found


# --- promotions -----------------------------------------------------------------------------------


def _promote(name: str, *parameters: Parameter, **more: Any) -> Callable[[_F], _F]:
    """Declare a function that reads the promotion calendar."""
    zh, en = name.split()
    shared: dict[str, Any] = {
        "topic": _PROMOTION, "implicit": (PROMOTIONS,), "cost": Cost.ROWS, "blank": _NO_MOMENT,
    }  # fmt: skip
    return function(zh, en, *parameters, **(shared | more))


def _find_promotions(rows: Value, when: float) -> list[Promotion]:
    at = to_milliseconds(when)
    return [item for item in list_promotions(rows) if item.starts <= at < item.ends]


@_promote(
    "是大促 ISPROMOTION",
    moment("时间"),
    text("活动", optional=True),
    result=ValueType.LOGICAL,
    reading="{0}在大促期间",
    description=gettext_noop(
        "这个时间在「促销日历」表的一场活动里时成立，结束的那一刻不算；可以只看名称里有这几个字的活动。"
    ),
    examples=[
        ("是大促(DATE(2026,11,11))", True, _SALE),
        ('ISPROMOTION(DATE(2026,11,11),"618")', False, _SALE),
        ("是大促(DATE(2026,11,12))", False, _SALE),
    ],
)
def is_promotion(rows: Value, when: Value, name: str = "") -> Value:
    """Tell whether a promotion runs at a moment."""
    wrong = _check_moments(when)
    if wrong is not None or not isinstance(when, float):
        return wrong
    wanted = name.strip().lower()
    return any(wanted in item.name.lower() for item in _find_promotions(rows, when))


@_promote(
    "大促名称 PROMOTIONNAME",
    moment("时间"),
    result=ValueType.TEXT,
    reading="{0}的大促活动",
    description=gettext_noop(
        "这个时间正在进行的活动的名称，几场同时进行时用顿号隔开；没有时得出空文本。"
    ),
    examples=[
        ("大促名称(DATE(2026,11,11))", "双11", _SALE),
        ("PROMOTIONNAME(DATE(2026,11,1))", "", _SALE),
    ],
)
def name_promotion(rows: Value, when: Value) -> Value:
    """Name the promotions that run at a moment."""
    wrong = _check_moments(when)
    if wrong is not None or not isinstance(when, float):
        return wrong
    names = dict.fromkeys(item.name for item in _find_promotions(rows, when))
    return limit_text("、".join(names))


def _promotion_milliseconds(rows: Value, start: Value, end: Value) -> tuple[int, int] | ErrorValue:
    """Milliseconds from start to end, and how many of them a promotion runs; both signed."""
    wrong = _check_moments(start, end)
    if wrong is not None or not isinstance(start, float) or not isinstance(end, float):
        return wrong or ErrorValue.NA
    first, last = to_milliseconds(start), to_milliseconds(end)
    low, high = min(first, last), max(first, last)
    sign = 1 if first <= last else -1
    return last - first, sign * measure_promotions(list_promotions(rows), low, high)


@_promote(
    "大促小时 PROMOTIONHOURS",
    moment("开始"),
    moment("结束"),
    aliases=("大促时长小时",),
    result=ValueType.NUMBER,
    reading="{0}到{1}里大促的小时数",
    description=gettext_noop("从开始到结束有多少小时在大促期间；结束更早时是负数。"),
    examples=[("大促小时(DATE(2026,11,11),DATE(2026,11,13))", 24.0, _SALE)],
)
def count_promotion_hours(rows: Value, start: Value, end: Value) -> Value:
    """Hours from start to end on which a promotion runs."""
    found = _promotion_milliseconds(rows, start, end)
    return found if isinstance(found, ErrorValue) else found[1] / _HOUR


@_promote(
    "非大促小时 HOURSOUTSIDEPROMOTION",
    moment("开始"),
    moment("结束"),
    result=ValueType.NUMBER,
    reading="{0}到{1}里不在大促的小时数",
    description=gettext_noop(
        "从开始到结束，扣掉大促期间，有多少小时：大促期间不计入时限时用它；结束更早时是负数。"
    ),
    examples=[("非大促小时(DATE(2026,11,11),DATE(2026,11,13))", 24.0, _SALE)],
)
def count_other_hours(rows: Value, start: Value, end: Value) -> Value:
    """Hours from start to end on which no promotion runs."""
    found = _promotion_milliseconds(rows, start, end)
    return found if isinstance(found, ErrorValue) else (found[0] - found[1]) / _HOUR


def _infer_choice(kinds: Sequence[Kinds]) -> Kinds:
    return frozenset().union(*kinds[1:])


@_promote(
    "按大促 DURINGPROMOTION",
    moment("时间"),
    anything("大促期间"),
    anything("平时"),
    result=ValueType.ANY,
    infer=_infer_choice,
    reading="{0}在大促期间时取{1}，平时取{2}",
    description=gettext_noop(
        "时间在大促期间时取第二个参数，平时取第三个：例如 距今小时(付款时间) <= 按大促(付款时间, 72, 48)。"
    ),
    examples=[
        ("按大促(DATE(2026,11,11),72,48)", 72.0, _SALE),
        ("DURINGPROMOTION(DATE(2026,12,1),72,48)", 48.0, _SALE),
    ],
)
def choose_by_promotion(rows: Value, when: Value, during: Value, otherwise: Value) -> Value:
    """Take one of two values by whether a promotion runs."""
    wrong = _check_moments(when)
    if wrong is not None or not isinstance(when, float):
        return wrong
    return during if _find_promotions(rows, when) else otherwise
