"""Working days and promotions in closed form give what counting day by day gives."""

from __future__ import annotations

import datetime as dt

from hypothesis import given, settings
from hypothesis import strategies as st

from rules_engine.formula import (
    UNKNOWN,
    ErrorValue,
    Field,
    Names,
    RowPlan,
    ValueType,
    canonical_text,
    check,
    sentence,
)
from rules_engine.formula.calendars import (
    HOLIDAYS,
    PROMOTIONS,
    list_promotions,
    measure_promotions,
    read_work_days,
)
from rules_engine.formula.values import from_serial

from .facts import NOW, evaluate

WEEK = 46_335  # Monday, 9 November 2026
days = st.integers(WEEK - 40, WEEK + 40)
calendars = st.dictionaries(days, st.booleans(), max_size=12)


def holidays(named: dict[int, bool]) -> tuple[dict[str, object], ...]:
    return tuple(
        {f"{HOLIDAYS}.day": float(day), f"{HOLIDAYS}.is_workday": worked}
        for day, worked in named.items()
    )


def is_worked(day: int, named: dict[int, bool]) -> bool:
    return named.get(day, from_serial(float(day)).weekday() < 5)


@given(calendars, days, days)
def test_working_days_are_those_counted_one_by_one(named, first, last) -> None:
    found = read_work_days(holidays(named))

    counted = sum(is_worked(day, named) for day in range(first + 1, last + 1))
    assert found.count_until(last) - found.count_until(first) == (
        counted
        if last > first
        else -sum(is_worked(day, named) for day in range(last + 1, first + 1))
    )
    assert found.is_worked(first) is is_worked(first, named)


@given(calendars, days, st.integers(1, 30))
def test_the_day_found_is_the_first_with_that_many(named, start, count) -> None:
    found = read_work_days(holidays(named))

    day = found.find(found.count_until(start) + count)

    assert is_worked(day, named)
    assert sum(is_worked(d, named) for d in range(start + 1, day + 1)) == count


@settings(deadline=None)
@given(calendars, st.integers(0, 40 * 24), st.integers(0, 200))
def test_hours_added_are_the_hours_between(named, start_hours, added) -> None:
    facts = {HOLIDAYS: [{"day": float(d), "is_workday": w} for d, w in named.items()]}
    if not facts[HOLIDAYS]:
        facts = {}
    facts |= {"始": WEEK - 20 + start_hours / 24, "数": float(added)}

    assert evaluate("工作小时(始, 工作小时之后(始, 数))", facts) == float(added)


spans = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=5)


@given(spans, st.integers(0, 40), st.integers(0, 40))
def test_promotions_that_overlap_count_once(promotions, first, last) -> None:
    rows = tuple(
        {f"{PROMOTIONS}.starts_at": float(a), f"{PROMOTIONS}.ends_at": float(b)}
        for a, b in promotions
    )
    unit = 86_400_000

    found = measure_promotions(list_promotions(rows), first * unit, last * unit)

    covered = {day for a, b in promotions for day in range(a, b)} & set(range(first, last))
    assert found == len(covered) * unit


def test_calendar_not_known_makes_the_duration_unknown() -> None:
    names = Names(
        [Field(HOLIDAYS, "节假日", "", ValueType.ROWS, is_prefetched=True, is_hidden=True)]
    )
    checked = check("上班天数(DATE(2026,10,1), DATE(2026,10,2))", names)

    assert checked.relation_ids == {HOLIDAYS}
    assert RowPlan(checked).evaluate({HOLIDAYS: UNKNOWN}, NOW) is UNKNOWN
    assert RowPlan(checked).evaluate({}, NOW) is UNKNOWN
    assert RowPlan(checked).evaluate({HOLIDAYS: ()}, NOW) == 2.0


def test_hidden_calendar_shows_in_no_reading_of_the_formula() -> None:
    names = Names(
        [Field(HOLIDAYS, "节假日", "", ValueType.ROWS, is_prefetched=True, is_hidden=True)]
    )
    checked = check("工作小时(DATE(2026,10,1), DATE(2026,10,2))", names)

    assert canonical_text(checked) == "工作小时(日期(2026, 10, 1), 日期(2026, 10, 2))"
    assert sentence(checked) == "读作：2026年10月1日到2026年10月2日的工作小时数。"
    assert check(checked.stored, names).stored == checked.stored
    texts = [part.text for part in RowPlan(checked).trace({HOLIDAYS: ()}, NOW)]
    assert "" not in texts
    assert len(texts) == 9


def test_odd_hours_and_moments_are_errors() -> None:
    at = {"时": dt.datetime(2026, 11, 13, 10, 0)}  # noqa: DTZ001 - local wall time is meant

    assert evaluate("工作小时(时, 时+1, 18, 9)", at) is ErrorValue.NUM
    assert evaluate("工作小时(时, 时+1, 9, 25)", at) is ErrorValue.NUM
    assert evaluate("工作小时之后(时, -1)", at) is ErrorValue.NUM
    assert evaluate("推移上班日(时, 1E9)", at) is ErrorValue.NUM
    assert evaluate("工作小时(时, -1)", at) is ErrorValue.NUM
    assert evaluate("是大促(空)", {"空": None}) is ErrorValue.NA
    assert evaluate('工作小时(时, 时+1, "9:00", "21:30")', at) == 11.5
