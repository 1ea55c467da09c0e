"""What a formula may ask for beside the order is bounded when it is saved."""

from __future__ import annotations

import re
import time

import pytest

from rules_engine.formula import ErrorValue, Field, Names, RowPlan, ValueType, check
from rules_engine.formula.limits import (
    MAX_LOOKUPS,
    MAX_RULE_SET_LOOKUPS,
    MAX_TEXT_WORK,
    MAX_WALKS,
)
from rules_engine.formula.lines import run_compiled, run_rows
from rules_engine.formula.wildcards import matches_wildcards, search_wildcards
from rules_engine.rules.content import check_content

from .facts import NOW
from .formulas import TABLES

_RELATED = Field(
    "rel",
    "同买家订单",
    "",
    ValueType.ROWS,
    columns=(Field("rel.paid", "实付", "", ValueType.MONEY),),
    is_prefetched=True,
)
_LINES = Field(
    "lines", "明细", "", ValueType.ROWS, columns=(Field("l.q", "数量", "", ValueType.NUMBER),)
)
_NAMES = Names((_RELATED, _LINES, Field("a", "甲", "", ValueType.TEXT)), TABLES)
_LOOKUP = f'查表("{TABLES[0].name}",{",".join(["甲"] * len(TABLES[0].keys))},"{TABLES[0].columns[0].label}")'


def codes(formula: str, names: Names = _NAMES) -> list[str]:
    return [item.code for item in check(formula, names).findings if item.refuses]


def repeated(part: str, count: int) -> str:
    return f"SUM({','.join([part] * count)})"


def test_lookups_of_a_formula_are_counted() -> None:
    assert codes(repeated(_LOOKUP, MAX_LOOKUPS)) == []
    assert codes(repeated(_LOOKUP, MAX_LOOKUPS + 1)) == ["too_many_lookups"]


def test_walks_over_related_orders_are_counted_and_walks_over_lines_are_not() -> None:
    assert codes(repeated("计数(同买家订单)", MAX_WALKS)) == []
    assert codes(repeated("计数(同买家订单)", MAX_WALKS + 1)) == ["too_many_walks"]
    assert codes(repeated("计数(明细)", MAX_WALKS + 1)) == []


def test_demand_says_both() -> None:
    demand = check(f"{_LOOKUP}+求和(同买家订单,实付)+计数(同买家订单)", _NAMES).demand

    assert (demand.lookups, demand.walks) == (1, 2)


def test_lookups_of_a_rule_set_are_counted_together() -> None:
    each = MAX_LOOKUPS - 1
    count = MAX_RULE_SET_LOOKUPS // each + 1
    content = {
        "name": "查表太多",
        "dimensions": [
            {"key": f"d{n}", "name": f"第{n}项", "formula": f"{repeated(_LOOKUP, each)}>0"}
            for n in range(count)
        ],
    }

    texts = [problem.text for problem in check_content(content, _NAMES)[1] if problem.refuses]

    assert f"全部检查项一共最多查表 {MAX_RULE_SET_LOOKUPS} 次，现在是 {each * count} 次" in texts


def test_text_work_of_constants_is_refused_when_saved() -> None:
    assert codes(repeated('LEN(REPT("a",32767))', 40)) == ["too_costly"]


def test_text_work_on_an_order_gives_the_limit_error_and_the_next_order_starts_anew() -> None:
    formula = repeated("LEN(UPPER(甲))", 40)
    plan = RowPlan(check(formula, _NAMES))

    assert plan.evaluate({"a": "x" * (MAX_TEXT_WORK // 20)}, NOW) is ErrorValue.LIMIT
    assert plan.evaluate({"a": "x" * 50}, NOW) == 2000.0


@pytest.mark.parametrize("pattern", ["*金*", "?金*", "~**", "*?*a?*b", "???", "", "*", "?*?"])
@pytest.mark.parametrize("text", ["", "金", "a金b", "*a", "xxaxxxb", "abc", "ab", "a" * 40])
def test_wildcards_answer_as_the_regular_expression_would(pattern: str, text: str) -> None:
    written = re.escape(pattern).replace(r"\~\*", "\0").replace(r"\*", ".*?").replace(r"\?", ".")
    written = written.replace("\0", r"\*")
    found = re.search(written, text, re.DOTALL)

    assert matches_wildcards(pattern, text) is (re.fullmatch(written, text, re.DOTALL) is not None)
    assert search_wildcards(pattern, text, 0) == (found.start() if found else -1)


@pytest.mark.parametrize("plan", [run_rows, run_compiled])
@pytest.mark.parametrize("text", [" " * 3_000_000 + "x", "9" * 3_000_000], ids=["blanks", "digits"])
@pytest.mark.parametrize("part", ["甲", "IF(甲,1,2)"])
def test_text_of_megabytes_is_no_number_and_is_not_looked_at(plan, part: str, text: str) -> None:
    checked = check("+".join([part] * 300), _NAMES)
    begun = time.perf_counter()

    assert plan(checked, {"a": text}, NOW) is ErrorValue.VALUE
    assert time.perf_counter() - begun < 0.5
