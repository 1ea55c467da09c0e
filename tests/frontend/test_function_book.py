"""The reference in words: complete, in the order of the job, found in both languages."""

from __future__ import annotations

import datetime as dt

import pytest
from django.utils.translation import override

from frontend.pages.check_formula import describe_value
from frontend.pages.function_book import (
    EXAMPLE_NOW,
    FIRST_TOPICS,
    LAST_TOPICS,
    give_names,
    list_topics,
    read_facts,
    search,
    write_entry,
)
from rules_engine.facts.catalog import build_names
from rules_engine.formula import (
    FUNCTIONS,
    Function,
    RowPlan,
    ValueType,
    check,
    to_serial,
)
from tests.rules_engine.formula.facts import NOW

REAL = build_names()
EXAMPLES = [
    pytest.param(function, number, id=f"{function.en}:{number}")
    for function in FUNCTIONS
    for number in range(len(function.examples))
]


def test_every_function_stands_once_and_the_job_comes_before_excel() -> None:
    topics = list_topics()
    names = [function.en for topic in topics for function in topic.functions]
    keys = [topic.key for topic in topics]

    assert sorted(names) == sorted(function.en for function in FUNCTIONS)
    assert keys[0] == "结果"
    assert max(keys.index(t) for t in keys if t not in LAST_TOPICS) < min(
        keys.index(t) for t in LAST_TOPICS
    )
    assert set(keys) >= {*LAST_TOPICS, *(t for t in FIRST_TOPICS if t in keys)}


@pytest.mark.parametrize(
    ("words", "first"),
    [
        ("求和", "SUM"),
        ("sum", "SUM"),
        ("ＳＵＭ", "SUM"),
        ("=IF(", "IF"),
        ("距今", "MINUTESSINCE"),
        ("相等 金额", "MONEYEQ"),
        ("小时", "HOUR"),
        ("since hours", "HOURSSINCE"),
    ],
)
def test_a_function_is_found_by_either_name_or_part_of_one(words: str, first: str) -> None:
    assert search(words.replace("(", "()"))[0].en == first


def test_a_function_is_found_by_what_it_does_after_those_named_so() -> None:
    found = [function.en for function in search("条件")]

    assert found[0].startswith(("COUNTIF", "SUMIF"))
    assert "IF" in found
    assert search("没有这样的东西") == []
    assert search("  ") == []


@pytest.mark.parametrize(("function", "number"), EXAMPLES)
def test_an_example_runs_on_real_fields_and_its_own(function: Function, number: int) -> None:
    example = function.examples[number]

    given = give_names(example.formula, example.facts, REAL)

    assert check(example.formula, given.names).is_valid
    assert set(given.labels) <= set(example.facts)


@pytest.mark.parametrize(("function", "number"), EXAMPLES)
def test_the_answer_shown_is_the_one_the_formula_gives(function: Function, number: int) -> None:
    example, line = function.examples[number], write_entry(function).examples[number]
    names, values = read_facts(example.facts)
    checked = check(example.formula, names)

    value = RowPlan(checked).evaluate(values, NOW)

    kinds = checked.require_tree().kinds
    if kinds == {ValueType.DATETIME} and isinstance(value, float):  # said with its year
        assert to_serial(dt.datetime.fromisoformat(line.answer)) == pytest.approx(value, abs=1e-3)
    else:
        assert line.answer in (describe_value(value, kinds), *_BLANK.get(value, ()))


# What a formula gives for nothing is a blank or an empty text: an example may say either.
_BLANK = {None: ("“”",), "": ("空",)}


def test_the_examples_are_worked_out_at_the_moment_that_is_said() -> None:
    assert to_serial(EXAMPLE_NOW) == NOW


def test_an_entry_says_types_units_and_what_blank_and_unknown_do() -> None:
    entry = write_entry(next(f for f in FUNCTIONS if f.en == "SUM"))

    assert [form.usage for form in entry.forms] == ["求和(数值…)", "求和(明细, 表达式, [条件])"]
    assert [p.notes for p in entry.forms[1].parameters] == ["", "", "可以不写"]
    assert "逐行" in entry.cost
    assert entry.blank
    assert entry.unknown
    money = write_entry(next(f for f in FUNCTIONS if f.en == "MONEYEQ"))
    assert {p.kind for p in money.forms[0].parameters} == {"金额（元）"}


def test_real_fields_come_before_those_of_the_example() -> None:
    given = give_names("求和(明细, 数量)", {"明细": [{"数量": 2.0}]}, REAL)
    assert given.labels == ()

    given = give_names("求和(明细, 金额)", {"明细": [{"金额": 2.0}]}, REAL)
    assert given.labels == ("明细",)
    assert check("求和(明细, 金额) + 实付金额", given.names).is_valid


def test_a_signature_goes_by_the_name_of_the_language() -> None:
    function = next(f for f in FUNCTIONS if f.en == "SUM")
    with override("en"):
        assert [f.usage for f in write_entry(function).forms] == [
            "SUM(数值…)",
            "SUM(明细, 表达式, [条件])",
        ]
