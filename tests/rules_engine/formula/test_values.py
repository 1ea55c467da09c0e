"""The algebra of not knowing, and date-times as serial days."""

from __future__ import annotations

import datetime as dt

import pytest

from rules_engine.formula import UNKNOWN, ErrorValue, from_serial, to_serial

from .facts import evaluate

VALUE = ErrorValue.VALUE
OPERANDS = {"真": True, "假": False, "未知": UNKNOWN, "错": VALUE}
# operands: AND, OR, =, +
TRUTH = {
    ("真", "真"): (True, True),
    ("真", "假"): (False, True),
    ("真", "未知"): (UNKNOWN, True),
    ("真", "错"): (VALUE, VALUE),
    ("假", "假"): (False, False),
    ("假", "未知"): (False, UNKNOWN),
    ("假", "错"): (VALUE, VALUE),
    ("未知", "未知"): (UNKNOWN, UNKNOWN),
    ("未知", "错"): (VALUE, VALUE),
    ("错", "错"): (VALUE, VALUE),
}


@pytest.mark.parametrize(("first", "second"), TRUTH)
def test_and_and_or_follow_the_truth_table_in_both_orders(first: str, second: str) -> None:
    for a, b in ((first, second), (second, first)):
        facts = {"a": OPERANDS[a], "b": OPERANDS[b]}

        assert (evaluate("AND(a,b)", facts), evaluate("OR(a,b)", facts)) == TRUTH[first, second]


@pytest.mark.parametrize(
    "operator", ["+", "-", "*", "/", "^", "&", "=", "<>", "<", ">", "<=", ">="]
)
def test_error_beats_unknown_in_every_operator(operator: str) -> None:
    unknown, error = {"a": UNKNOWN, "b": 1.0}, {"a": UNKNOWN, "b": ErrorValue.NA}

    assert evaluate(f"a{operator}b", unknown) is UNKNOWN
    assert evaluate(f"b{operator}a", unknown) is UNKNOWN
    assert evaluate(f"a{operator}b", error) is ErrorValue.NA
    assert evaluate(f"b{operator}a", error) is ErrorValue.NA


def test_first_error_from_the_left_is_the_one_that_shows() -> None:
    facts = {"a": ErrorValue.NUM, "b": ErrorValue.NA}

    assert evaluate("a+b", facts) is ErrorValue.NUM
    assert evaluate("b+a", facts) is ErrorValue.NA
    assert evaluate("AND(b,a)", facts) is ErrorValue.NA


def test_row_conditions_follow_the_same_table() -> None:
    lines = [{"数量": UNKNOWN, "金额": 1.0}, {"数量": 2.0, "金额": 1.0}]

    assert evaluate("任一(明细,数量>1)", {"明细": lines}) is True
    assert evaluate("任一(明细,数量>5)", {"明细": lines}) is UNKNOWN
    assert evaluate("每一(明细,数量>5)", {"明细": lines}) is False
    assert evaluate("每一(明细,数量>1)", {"明细": lines}) is UNKNOWN
    assert evaluate("求和(明细,数量)", {"明细": lines}) is UNKNOWN
    assert evaluate("计数(明细)", {"明细": lines}) == 2.0


def test_serial_days_and_date_times_turn_into_each_other() -> None:
    moment = dt.datetime(2026, 11, 11, 6, 30, 15, 123_000)  # noqa: DTZ001 - local wall time is meant

    assert to_serial(dt.date(2026, 11, 11)) == 46_337.0
    assert to_serial(dt.datetime(2026, 11, 11, 6)) == 46_337.25  # noqa: DTZ001 - local wall time
    assert from_serial(to_serial(moment)) == moment


def test_serial_outside_the_calendar_is_refused() -> None:
    with pytest.raises(ValueError, match="outside the calendar"):
        from_serial(-1.0)
