"""A formula for people: laid out, its names grouped, its values in words."""

from __future__ import annotations

import pytest

from frontend.pages.check_formula import describe_formula, describe_value, group_names, lay_out
from rules_engine.facts.catalog import FACTS
from rules_engine.formula import (
    FUNCTIONS,
    UNKNOWN,
    ErrorValue,
    Names,
    Result,
    ValueType,
    canonical_text,
    check,
)
from rules_engine.presets.catalog import PRESETS

NAMES = Names(FACTS)
FORMULAS = [d["formula"] for p in PRESETS for d in p.content["dimensions"]] + [
    "如果（预售阶段＝“”，不适用（），如果（且（预售阶段＝“定金已付”，尾款截止＜现在（）），不通过，通过））",
    "如果((实付金额+应付金额)>1, (应付金额-实付金额)*((2+3)), /* 说 明 */ (如果(((真)),1,2)))",
    '如果(平台状态="两个  空格，和（括号）", 求和(明细, 数量 * 单价, 是赠品=假) > 100, 多重如果(真, 假))',
    "1",
]


@pytest.mark.parametrize("formula", FORMULAS)
def test_laying_out_changes_no_meaning_and_nothing_the_second_time(formula: str) -> None:
    before = check(formula, NAMES)
    text = lay_out(before)

    assert canonical_text(check(text, NAMES)) == canonical_text(before)
    assert lay_out(check(text, NAMES)) == text
    assert max(len(line) for line in text.split("\n")) <= 80


def test_a_formula_with_errors_is_left_as_it_is() -> None:
    for broken in ("如果(", "没有这个  +  1", "", "如果( 真 ,"):
        assert lay_out(check(broken, NAMES)) == broken


def test_every_name_a_formula_may_use_is_in_the_list_once() -> None:
    groups = group_names(FACTS)
    items = [item for group in groups for item in group.items]

    fields = [item.label for item in items if item.kind == "field" and not item.is_column]
    assert fields.count("尾款截止") == 1
    assert sorted(fields) == sorted(fact.label for fact in FACTS)
    assert sorted(i.label for i in items if i.kind == "function") == sorted(f.zh for f in FUNCTIONS)
    for item in items:
        if item.kind == "field" and not item.is_column:
            assert check(item.insert, NAMES).is_valid, item.insert


def test_findings_say_their_place_once() -> None:
    said = describe_formula(check("如果(真,\n  1 2)", NAMES)).findings[0]

    assert (said.line, said.column, said.snippet) == (2, 5, "2")
    assert "第" not in said.text[:2]


@pytest.mark.parametrize(
    ("value", "kind", "said"),
    [
        (None, ValueType.TEXT, "空"),
        (UNKNOWN, ValueType.MONEY, "未知"),
        (ErrorValue.DIV0, ValueType.NUMBER, "#DIV/0!（除以了 0 或空值）"),
        (Result.NOT_APPLICABLE, ValueType.RESULT, "不适用"),
        (True, ValueType.LOGICAL, "是"),
        ("定金已付", ValueType.TEXT, "“定金已付”"),
        (46337.375, ValueType.DATETIME, "11-11 09:00"),
        (9e9, ValueType.DATETIME, "9000000000"),
        (127.5, ValueType.MONEY, "127.50 元"),
        (0.0775, ValueType.DURATION, "1 小时 51 分"),
        (({"a": 1}, {"a": 2}), ValueType.ROWS, "2 行"),
        ((1.0, 2.0, 3.0, 4.0, 5.0), ValueType.NUMBER, "1、2、3、4…"),
        ((), ValueType.NUMBER, "没有一行"),
    ],
)
def test_values_are_said_in_words(value: object, kind: ValueType, said: str) -> None:
    assert describe_value(value, frozenset({kind})) == said
