"""Lookup tables and terms in formulas: written as text, known by id."""

from __future__ import annotations

import pytest

from rules_engine.formula import (
    UNKNOWN,
    ErrorValue,
    Field,
    Names,
    RowPlan,
    ValueType,
    canonical_text,
    check,
    from_stored,
    sentence,
)
from rules_engine.formula.functions.tables import build_table
from rules_engine.formula.names import Table, Term

TEXT, NUMBER, MONEY, DATETIME = (
    ValueType.TEXT,
    ValueType.NUMBER,
    ValueType.MONEY,
    ValueType.DATETIME,
)


def make_names(table: str = "运费表", fee: str = "运费", order: str = "下单时间") -> Names:
    return Names(
        (
            Field("order.province", "省", "province", TEXT),
            Field("order.weight", "重量", "weight", NUMBER),
            Field("order.placed_at", order, "placed_at", DATETIME),
            Field(
                "relation.buyer",
                "同买家订单",
                "same_buyer",
                ValueType.ROWS,
                columns=(Field("relation.buyer.placed_at", "下单时间", "placed_at", DATETIME),),
                is_prefetched=True,
            ),
        ),
        (
            Table(
                "table:fees",
                table,
                (
                    Field("table:fees.province", "省", "", TEXT),
                    Field("table:fees.weight", "重量", "", NUMBER),
                ),
                (
                    Field("table:fees.fee", fee, "", MONEY),
                    Field("table:fees.days", "天数", "", NUMBER),
                ),
            ),
        ),
        (Term("node:wms_push", "推送WMS"),),
    )


NAMES = make_names()
FEES = build_table(
    NAMES.tables[0],
    [(["浙江省", 1.0], [6.0, 2.0]), (["abc", 0.1 + 0.2], [8.0, None])],
    fallbacks=[None, 9.0],
)


def codes(formula: str, names: Names = NAMES) -> list[str]:
    return [finding.code for finding in check(formula, names).findings]


def run(formula: str, **values: object) -> object:
    checked = check(formula, NAMES)
    assert checked.is_valid, [finding.text for finding in checked.findings]
    facts = {"table:fees": FEES, "order.province": "浙江省", "order.weight": 1.0}
    return RowPlan(checked).evaluate(
        facts | {k.replace("__", ":"): v for k, v in values.items()}, 0
    )


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ('查表("运费表", 省, 重量, "运费")', 6.0),
        ('LOOKUPTABLE("运费表", "ABC", 0.3, "运费")', 8.0),  # case and binary dust do not count
        ('查表("运费表", "abc", 0.3, "天数")', None),  # found, and the cell is blank
        ('查表("运费表", "西藏", 1, "运费")', ErrorValue.NA),
        ('查表("运费表", "西藏", 1, "天数")', 9.0),  # what the table says of the rest
        ('查表("运费表", "西藏", 1, "运费", 25)', 25.0),
        ('查表("运费表", 省, 重量, "运费", 1/0)', 6.0),  # a default that is not needed
        ('查表("运费表", 省, "x", "运费", 25)', ErrorValue.VALUE),
        ('查表("运费表", "", 1, "运费", 25)', 25.0),
    ],
)
def test_a_table_answers_by_its_keys(formula: str, expected: object) -> None:
    assert run(formula) == expected


def test_an_unknown_key_or_a_table_that_is_not_there_is_unknown() -> None:
    formula = '查表("运费表", 省, 重量, "运费", 25)'

    assert run(formula, **{"order.province": UNKNOWN}) is UNKNOWN
    assert run(formula, table__fees=UNKNOWN) is UNKNOWN


@pytest.mark.parametrize(
    ("formula", "code", "fix"),
    [
        ('查表("运费", 省, 重量, "运费")', "unknown_table", '"运费表"'),
        ('查表("运费表", 省, 重量, "运废")', "unknown_table_column", '"运费"'),
        ('查表("运费表", 省, "运费")', "table_keys", None),
        ('查表(省, 省, 重量, "运费")', "table_not_literal", None),
        ('查表("运费表", 省, 重量, 省)', "column_not_literal", None),
        ('查表("运费表", 省, 省, "运费")', "table_key_type", None),
    ],
)
def test_a_wrong_table_or_column_is_found_with_the_nearest_name(formula, code, fix) -> None:
    findings = check(formula, NAMES).findings

    assert [finding.code for finding in findings] == [code]
    assert (findings[0].fix.text if findings[0].fix else None) == fix
    assert findings[0].text


def test_no_published_table_says_where_to_make_one() -> None:
    findings = check('查表("运费表", 1, "运费")', Names(())).findings

    assert "请先在「查找表」页建表并发布" in findings[0].text


def test_renaming_a_table_or_column_leaves_the_formula_bound() -> None:
    checked = check('查表("运费表", 省, 重量, "运费", 0) > 5', NAMES)

    today = from_stored(checked.stored, make_names("快递费", "首重费"))

    assert (
        checked.stored
        == "查表({#table:fees}, {#order.province}, {#order.weight}, {#table:fees.fee}, 0) > 5"
    )
    assert today == '查表("快递费", 省, 重量, "首重费", 0) > 5'
    assert check(today, make_names("快递费", "首重费")).stored == checked.stored


def test_the_type_of_a_column_is_the_type_of_the_answer() -> None:
    assert check('查表("运费表", 省, 重量, "运费")', NAMES).type is MONEY
    assert codes('查表("运费表", 省, 重量, "运费") = "6"') == ["text_against_number"]


def test_a_formula_says_which_tables_and_relations_it_needs() -> None:
    checked = check('且(查表("运费表", 省, 重量, "运费") > 5, 计数(同买家订单) > 1)', NAMES)

    assert checked.table_ids == {"table:fees"}
    assert checked.relation_ids == {"relation.buyer"}
    assert check("省=1", NAMES).relation_ids == frozenset()


def test_a_lookup_reads_back() -> None:
    checked = check('查表("运费表",省,重量,"运费",3)', NAMES)

    assert canonical_text(checked) == '查表("运费表", 省, 重量, "运费", 3)'
    assert (
        sentence(checked) == "读作：查找表「运费表」里「省」、「重量」对应的「运费」（没有时用3）。"
    )


def test_a_column_hides_the_order_s_own_field_unless_it_says_so() -> None:
    formula = "计数(同买家订单, 下单时间 < 本单下单时间)"
    checked = check(formula, NAMES)
    values = {
        "order.placed_at": 10.0,
        "relation.buyer": [{"relation.buyer.placed_at": n} for n in (8.0, 9.0, 11.0)],
    }

    assert checked.is_valid
    assert RowPlan(checked).evaluate(values, 20.0) == 2.0
    assert checked.stored == (
        "计数({#relation.buyer}, {#relation.buyer.placed_at} < {#order.placed_at})"
    )
    assert from_stored(checked.stored, NAMES) == formula
    assert canonical_text(checked) == formula
    # A label that no column hides needs no 本单.
    assert from_stored(checked.stored, make_names(order="拍下时间")) == (
        "计数(同买家订单, 下单时间 < 拍下时间)"
    )
