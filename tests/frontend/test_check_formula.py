"""A formula for people: laid out, its names grouped, its values in words."""

from __future__ import annotations

import pytest

from frontend.pages.check_formula import describe_formula, describe_value, group_names, lay_out
from rules_engine.facts.catalog import FACTS, build_names
from rules_engine.formula import (
    FUNCTIONS,
    UNKNOWN,
    ErrorValue,
    Field,
    Result,
    ValueType,
    canonical_text,
    check,
)
from rules_engine.formula.names import Table
from rules_engine.presets.catalog import PRESETS

NAMES = build_names()
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


def test_every_finding_has_its_own_place_and_its_own_remedy() -> None:
    formula = "如果（实付金颡＞100，\n  应付金颡，\n  求合（明细，数量））"
    findings = describe_formula(check(formula, NAMES)).findings

    assert [(f.line, f.column, f.snippet) for f in findings if f.refuses] == [
        (1, 4, "实付金颡"),
        (2, 3, "应付金颡"),
        (3, 3, "求合"),
    ]
    mended = formula
    for finding in reversed([f for f in findings if f.refuses]):
        assert finding.fix is not None
        mended = mended[: finding.fix.start] + finding.fix.text + mended[finding.fix.end :]
    assert check(mended, NAMES).is_valid


def test_a_finding_about_a_function_leads_to_its_page() -> None:
    found = describe_formula(check("如果(真)", NAMES)).findings[0]
    assert found.function is not None
    assert found.function.en == "IF"
    assert describe_formula(check("没有的字段", NAMES)).findings[0].function is None


def test_what_a_formula_needs_is_said() -> None:
    def needs(formula: str) -> dict[str, str]:
        return {n.key: f"{n.text} {n.help}" for n in describe_formula(check(formula, NAMES)).needs}

    still = needs("且(实付金额>0, 应付金额>0, 实付金额<9)")
    assert "不看时钟" in still["still"]
    assert still["fields"] == "读 2 个字段 实付金额、应付金额"
    assert "clock" not in still

    assert "clock" in needs("距今小时(付款时间)>1")
    assert "clock" in needs("在节点分钟>30")  # moves although no function asks for the time
    assert "逐行 1 处" in needs("任一(明细, 数量>1)")["cost"]
    assert needs("实付金额 >") == {}


def test_what_is_read_beside_the_order_is_said() -> None:
    related = next(f for f in FACTS if f.is_prefetched and f.columns)
    looked = describe_formula(check(f"计数({related.label})>1", NAMES))

    said = {need.key: need.text for need in looked.needs}
    assert said["related"] == f"还读{related.label}"
    assert "fields" not in said


def test_a_lookup_table_goes_in_as_a_whole_call() -> None:
    table = Table(
        "table:freight",
        "运费表",
        keys=(Field("table:freight.p", "省", "", ValueType.TEXT),),
        columns=(Field("table:freight.fee", "运费", "", ValueType.MONEY),),
    )
    groups = group_names(FACTS, [table])
    item = next(g for g in groups if g.label == "查找表").items[0]

    assert item.insert == '查表("运费表", 省, "运费")'
    assert check(item.insert, build_names(tables=[table])).is_valid
    assert "查找表" not in [g.label for g in group_names(FACTS)]
