"""What holds for every formula: no crash, finite numbers, reading back, renaming, tracing."""

from __future__ import annotations

import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rules_engine.formula import (
    FUNCTIONS,
    Checked,
    Field,
    Names,
    Result,
    RowPlan,
    ValueType,
    canonical_text,
    check,
    from_stored,
    sentence,
)
from rules_engine.formula.names import Table, Term
from rules_engine.formula.values import ErrorValue, Unknown

from .facts import NOW
from .formulas import FIELDS, HIDDEN, NAMES, TABLES, TERMS, calls, facts, formulas

quiet = settings(
    deadline=None,
    max_examples=150,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)

PIECES = [
    *"+-*/^&=<>%(),.;:'\"[]{}#!@ \n\t",
    *"（），。“”＝＞＜≥≤≠＋－×÷％＆；：、《》【】０９ａＦ＿",
    *"01289.5eE",
    "/*",
    "*/",
    "支付金额",
    "明细",
    "数量",
    "lines",
    "{#f.money}",
    "{#gone}",
    "\u200b",
    "\u202e",
    "\x00",
    "😀",
    "ß",
    "İ",
    *(name for function in FUNCTIONS for name in function.names[:2]),
]


def is_value(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, tuple):
        return True
    return value is None or isinstance(value, str | bool | Unknown | ErrorValue | Result)


def same(first: object, second: object) -> bool:
    return first is second or (type(first) is type(second) and first == second)


def checked_formula(text: str) -> Checked:
    checked = check(text, NAMES)
    assert checked.is_valid, (text, [item.text for item in checked.findings])
    return checked


@quiet
@given(st.lists(st.sampled_from(PIECES), max_size=40).map("".join), facts)
def test_text_of_any_kind_never_crashes(text: str, values: dict[str, object]) -> None:
    checked = check(text, NAMES)

    for finding in checked.findings:
        assert finding.text
        assert 0 <= finding.start <= finding.end <= max(len(text), finding.end)
    if checked.is_valid:
        assert is_value(RowPlan(checked).evaluate(values, NOW))
        assert sentence(checked)
    from_stored(checked.stored, NAMES)


@quiet
@given(st.text(max_size=60))
def test_text_in_any_script_never_crashes(text: str) -> None:
    check(text, NAMES)
    from_stored(text, NAMES)


@quiet
@given(formulas(), facts)
def test_every_value_is_finite_and_of_the_language(text: str, values: dict[str, object]) -> None:
    assert is_value(RowPlan(checked_formula(text)).evaluate(values, NOW))


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.en)
def test_every_function_takes_every_value(function) -> None:
    @settings(quiet, max_examples=15)
    @given(calls(function), facts)
    def holds(text: str, values: dict[str, object]) -> None:
        assert is_value(RowPlan(checked_formula(text)).evaluate(values, NOW))

    holds()


@quiet
@given(formulas(), facts, st.sampled_from(["zh", "en"]))
def test_canonical_text_means_the_same(text: str, values: dict[str, object], language) -> None:
    checked = checked_formula(text)

    written = canonical_text(checked, language=language)

    again = checked_formula(written)
    assert canonical_text(again, language=language) == written
    first, second = RowPlan(checked), RowPlan(again)
    assert same(first.evaluate(values, NOW), second.evaluate(values, NOW)), written


@quiet
@given(formulas(), facts, st.data())
def test_renaming_fields_never_changes_a_stored_formula(
    text: str, values: dict[str, object], data: st.DataObject
) -> None:
    checked = checked_formula(text)
    labels = st.sampled_from(
        ["数量", "支付金额", "明细", "真", "a b", "x]y", "新名字", "LEN", "", "qty"]
    )
    renamed = Names(
        (
            *HIDDEN,
            *(Field(f.id, data.draw(labels), "", f.type, columns=f.columns) for f in FIELDS),
        ),
        (
            Table(
                table.id,
                data.draw(labels),
                table.keys,
                tuple(Field(c.id, data.draw(labels), "", c.type) for c in table.columns),
            )
            for table in TABLES
        ),
        (Term(term.id, data.draw(labels)) for term in TERMS),
    )

    today = from_stored(checked.stored, renamed)

    again = check(today, renamed)
    assert again.is_valid, (today, [item.text for item in again.findings])
    assert again.stored == checked.stored
    assert again.field_ids == checked.field_ids
    first, second = RowPlan(checked), RowPlan(again)
    assert same(first.evaluate(values, NOW), second.evaluate(values, NOW))


@quiet
@given(formulas())
def test_stored_formula_checks_as_it_is(text: str) -> None:
    checked = checked_formula(text)

    assert check(checked.stored, NAMES).stored == checked.stored


@quiet
@given(formulas(), facts)
def test_trace_ends_with_the_value_of_the_formula(text: str, values: dict[str, object]) -> None:
    plan = RowPlan(checked_formula(text))

    whole, *parts = plan.trace(values, NOW)

    assert same(whole.value, plan.evaluate(values, NOW))
    assert whole.depth == 0
    assert all(text[part.start : part.end] == part.text for part in parts)


def test_every_type_of_field_is_in_the_random_formulas() -> None:
    used = {field.type for field in FIELDS}

    assert used >= set(ValueType) - {ValueType.DURATION, ValueType.RESULT}
