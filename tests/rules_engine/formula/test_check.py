"""What the checker finds, where, and with which remedy."""

from __future__ import annotations

import time

import pytest

from rules_engine.formula import (
    Field,
    FormulaErrors,
    Names,
    RowPlan,
    ValueType,
    check,
    from_stored,
)

from .facts import refusals, warnings

NAMES = Names(
    [
        Field("order.paid_at", "支付时间", "paid_at", ValueType.DATETIME),
        Field("order.balance_due", "尾款截止", "balance_due", ValueType.DATETIME),
        Field("order.pay", "支付金额", "pay_amount", ValueType.MONEY),
        Field("order.score", "分数", "", ValueType.NUMBER),
        Field("order.channel", "渠道", "channel", ValueType.TEXT),
        Field("order.presale", "是否预售", "", ValueType.LOGICAL),
        Field(
            "lines",
            "明细",
            "lines",
            ValueType.ROWS,
            columns=(
                Field("lines.qty", "数量", "qty", ValueType.NUMBER),
                Field("lines.price", "单价", "", ValueType.MONEY),
            ),
        ),
    ]
)


def codes(text: str, **options) -> list[str]:
    return [item.code for item in check(text, NAMES, **options).findings]


def apply_fix(text: str) -> str:
    fix = next(item.fix for item in check(text, NAMES).findings if item.fix)
    return text[: fix.start] + fix.text + text[fix.end :]


def test_unknown_name_comes_with_the_nearest_one() -> None:
    (finding,) = check("尾款截至<现在()", NAMES).findings

    assert finding.text == "没有字段「尾款截至」，是不是「尾款截止」？"
    assert (finding.start, finding.end, finding.refuses) == (0, 4, True)
    assert apply_fix("尾款截至<现在()") == "尾款截止<现在()"


def test_every_unknown_name_is_found_at_once() -> None:
    findings = check("甲+乙*丙(1)+LEN()", NAMES).findings

    assert [(item.code, item.start, item.end) for item in findings] == [
        ("unknown_name", 0, 1),
        ("unknown_name", 2, 3),
        ("unknown_function", 4, 5),
        ("too_few_arguments", 9, 14),
    ]


@pytest.mark.parametrize(
    ("typed", "mended"),
    [
        ("支付金额==1", "支付金额=1"),
        ("支付金额!=1", "支付金额<>1"),
        ("支付金额！＝1", "支付金额<>1"),
        ("SUM(1、2)", "SUM(1,2)"),
        ("SUM(1,2", "SUM(1,2)"),
        ("SUM(1,2))", "SUM(1,2)"),
        ("支付金额**2", "支付金额^2"),
        ("SUM(1)。", "SUM(1)"),
        ("支付\u200b金额", "支付金额"),
        ("支付\xa0金额", "支付 金额"),
        ("现在>1", "现在()>1"),
        ('渠道>5&"a”', '渠道>5&"a"'),
        ('支付时间>"2026-11-11"', "支付时间>日期(2026,11,11)"),
        ('支付金额>"100"', "支付金额>100"),
        ("SUMM(1)", "SUM(1)"),
        ("如裹(1,2,3)", "如果(1,2,3)"),
    ],
)
def test_one_click_fix_mends_the_formula(typed: str, mended: str) -> None:
    assert apply_fix(typed) == mended


def test_place_is_told_by_line_and_column() -> None:
    (finding,) = check("支付金额\n  + (1", NAMES).findings

    assert finding.text == "第 2 行第 5 列：括号没有闭合，缺少 )"


@pytest.mark.parametrize(
    ("formula", "found"),
    [
        ("支付金额>1", []),
        ("如果(是否预售,真,不适用())", []),
        ("如果(是否预售,通过)", []),
        ("支付金额", ["judgement_kind"]),
        ("渠道", ["judgement_kind"]),
        ("如果(是否预售,支付金额,数据不足())", ["judgement_kind"]),
        ("IFERROR(1/支付金额>1,0)", ["judgement_kind"]),
        ("明细", ["judgement_kind"]),
    ],
)
def test_judgement_wants_yes_or_no_or_a_result(formula: str, found: list[str]) -> None:
    assert codes(formula, kind="judgement") == found


@pytest.mark.parametrize(
    ("formula", "found"),
    [
        ("10", []),
        ("支付金额", []),
        ("如果(是否预售,10,不适用())", []),
        ("IFS(是否预售,5,TRUE,0)", []),
        ("支付金额>1", ["points_kind"]),
        ("渠道", ["points_kind"]),
        ("支付时间", ["points_kind"]),
        ("如果(是否预售,10)", ["points_without_else"]),
        ('SWITCH(渠道,"天猫",10,"x")', ["points_kind"]),
    ],
)
def test_points_want_a_number_or_a_result(formula: str, found: list[str]) -> None:
    assert codes(formula, kind="points") == found


def test_offending_branch_is_the_place_of_the_finding() -> None:
    (finding,) = check("如果(是否预售,支付金额,真)", NAMES, kind="judgement").findings

    assert (finding.start, finding.end) == (8, 12)


@pytest.mark.parametrize(
    ("formula", "found"),
    [
        ("渠道>5", ["text_against_number"]),
        ('支付时间>"2026-11-11"', ["text_against_number"]),
        ('渠道=""', []),
        ('支付时间=""', []),
        ("是否预售=1", ["logical_against_other"]),
        ("渠道*2", ["text_in_arithmetic"]),
        ('"5"*2', []),
        ("ROUND(渠道,0)", ["text_in_arithmetic"]),
        ("明细+1", ["rows_as_value"]),
        ("LEN(明细)", ["rows_as_value"]),
        ('条件计数(明细,">5")', ["rows_as_list"]),
        ("通过+1", ["result_as_value", "always_error"]),
        ("1/0", ["always_error"]),
        ("SQRT(-1)+支付金额", ["always_error"]),
        ("IFERROR(1/0,1)", ["always_error"]),
        ("NA()", []),
        ("IF(1>2,支付金额,0)", ["constant_condition", "unreachable_branch"]),
        ("IFS(TRUE,1,支付金额>1,2)", ["constant_condition", "unreachable_branch"]),
        ("IFS(分数>=60,1,分数>=70,2,TRUE,3)", ["unreachable_branch"]),
        ("IFS(分数>=70,1,分数>=60,2,TRUE,3)", []),
        ("IFS(分数<50,1,分数<60,2,TRUE,3)", []),
        ('SWITCH(渠道,"a",1,"A",2)', ["unreachable_branch"]),
        ("IF(现在()>1,1,2)", []),
    ],
)
def test_doubtful_formula_is_warned_about_and_still_valid(formula: str, found: list[str]) -> None:
    checked = check(formula, NAMES)

    assert [item.code for item in checked.findings] == found
    assert checked.is_valid


def test_formula_knows_what_it_depends_on() -> None:
    checked = check("求和(明细,数量*单价)>支付金额", NAMES)

    assert checked.field_ids == {"lines", "lines.qty", "lines.price", "order.pay"}
    assert not checked.is_time_dependent
    assert check("距今小时(支付时间)>1", NAMES).is_time_dependent
    assert check("今天()", NAMES).is_time_dependent


def test_column_wins_over_a_field_of_the_same_label_inside_its_rows() -> None:
    names = Names([*NAMES.fields, Field("order.qty", "数量", "", ValueType.NUMBER)])

    checked = check("求和(明细,数量)+数量", names)

    assert checked.stored == "求和({#lines},{#lines.qty})+{#order.qty}"


def test_column_outside_its_rows_is_refused() -> None:
    assert codes("数量+1") == ["unknown_name"]
    assert codes("{#lines.qty}+1") == ["deleted_field"]


def test_stored_formula_follows_a_renamed_field() -> None:
    stored = check("支付金额>1 /* 金额 */ 且", NAMES).stored
    renamed = Names([Field("order.pay", "实付（元）", "", ValueType.MONEY)])

    assert stored == "支付金额>1 /* 金额 */ 且"  # a draft that does not parse stays as typed
    stored = check("支付金额>1 /* 支付金额 */", NAMES).stored
    assert stored == "{#order.pay}>1 /* 支付金额 */"
    assert from_stored(stored, renamed) == "[实付（元）]>1 /* 支付金额 */"


def test_stored_formula_names_a_deleted_field() -> None:
    gone = from_stored("{#order.gone}>1", NAMES)

    assert gone == "{#order.gone}>1"
    assert codes(gone) == ["deleted_field"]


def test_refused_formula_makes_no_plan() -> None:
    checked = check("甲+乙", NAMES)

    with pytest.raises(FormulaErrors) as refused:
        RowPlan(checked)

    assert refused.value.code == "formula_refused"
    assert len(refused.value.findings) == 2


def test_comparison_with_a_name_that_is_no_field_is_refused() -> None:
    assert refusals("amount = 100") == ["unknown_name"]
    assert warnings("amount = 100", {"amount": 1.0}) == []


def test_page_of_nonsense_costs_little() -> None:
    text = "+".join(f"未知{i}号" for i in range(900))
    began = time.perf_counter()

    findings = check(text, NAMES).findings

    assert len(findings) == 50
    assert time.perf_counter() - began < 0.5


def test_name_put_back_by_id_does_not_change_what_the_others_mean() -> None:
    lines = Field(
        "lines", "数量", "", ValueType.ROWS, columns=(Field("l.a", "金额", "", ValueType.MONEY),)
    )
    renamed = Names(
        [Field("n", "数量", "", ValueType.NUMBER), Field("m", "金额", "", ValueType.MONEY), lines]
    )

    today = from_stored("任一({#lines}, {#l.a}>{#m})", renamed)

    assert today == "任一({#lines}, 金额>{#m})"
    assert check(today, renamed).stored == "任一({#lines}, {#l.a}>{#m})"


# --- several mistakes at once ---------------------------------------------------------------------


def test_reading_goes_on_behind_a_mistake_with_a_certain_remedy() -> None:
    findings = check("如果(支付金鹅==1, 渠道!='天猫', LEN()", NAMES).findings

    assert [(item.code, item.start, item.end) for item in findings] == [
        ("unclosed_bracket", 2, 3),
        ("unknown_name", 3, 7),
        ("missing_operand", 8, 9),
        ("unknown_character", 14, 16),
        ("unknown_character", 16, 20),
        ("too_few_arguments", 22, 27),
    ]


def test_every_remedy_put_in_mends_the_whole_formula() -> None:
    text = "如果(支付金额==1、渠道!='天猫'，支付金额=>2"
    for _ in range(10):
        fixes = [item.fix for item in check(text, NAMES).findings if item.refuses and item.fix]
        if not fixes:
            break
        text = text[: fixes[0].start] + fixes[0].text + text[fixes[0].end :]

    assert text == '如果(支付金额=1,渠道<>"天猫"，支付金额>=2)'
    assert check(text, NAMES).is_valid


def test_places_behind_a_remedy_are_those_of_the_typed_text() -> None:
    text = "支付金额==1、\n甲+乙"

    lines = [item.text for item in check(text, NAMES).findings]

    assert lines[0].startswith("第 1 行第 6 列")
    assert any(
        item.code == "stray_comma" and item.start == 7 for item in check(text, NAMES).findings
    )


@pytest.mark.parametrize(
    ("typed", "mended"),
    [
        ("支付金额>1 && 是否预售", "且(支付金额>1, 是否预售)"),
        ("支付金额>1 || 是否预售 || 分数>2", "或(支付金额>1, 是否预售, 分数>2)"),
        ("支付金额>1 && 是否预售 || 分数>2", "或(且(支付金额>1, 是否预售), 分数>2)"),
        ("支付金额>1 并且 是否预售", "且(支付金额>1, 是否预售)"),
        ("支付金额>1 or 是否预售", "或(支付金额>1, 是否预售)"),
        ("如果(支付金额>1 且 是否预售,1,2)", "如果(且(支付金额>1, 是否预售),1,2)"),
        ("支付金额>1 and (是否预售)", "且(支付金额>1, (是否预售))"),
        ("渠道='天猫'", '渠道="天猫"'),
        ("渠道=‘天猫’", '渠道="天猫"'),
        ("渠道=`天猫`", '渠道="天猫"'),
        ("渠道=天猫", '渠道="天猫"'),
        ("天猫=渠道", '"天猫"=渠道'),
        ("属于(渠道,天猫)", '属于(渠道,"天猫")'),
        ("包含(渠道,自提点)", '包含(渠道,"自提点")'),
        ("支付金额=>1", "支付金额>=1"),
        ("支付金额=<1", "支付金额<=1"),
        ("支付金额> =1", "支付金额>=1"),
        ("支付金额< >1", "支付金额<>1"),
        ("支付金额>1+", "支付金额>1"),
        ("如果(是否预售,如果(是否预售,1,2", "如果(是否预售,如果(是否预售,1,2))"),
        ('渠道="天猫', '渠道="天猫"'),
        ("[支付金额+1", "[支付金额]+1"),
        ("1 /* 说明", "1 /* 说明*/"),
        ("IF(是否预售,,2)", "IF(是否预售,0,2)"),
        ("IF(是否预售,2,)", "IF(是否预售,2)"),
        ("若(是否预售,1,2)", "如果(是否预售,1,2)"),
        ("AVG(分数)", "AVERAGE(分数)"),
        ("支付金额 大于 100", "支付金额 > 100"),
        ("支付金额 不超过 100", "支付金额 <= 100"),
        ("支付金额大于100", "支付金额>100"),
        ("支付金额大于等于分数", "支付金额>=分数"),
        ("支付金额>=100元", "支付金额>=100"),
        ("如果 支付金额>100 那么 10 否则 0", "如果(支付金额>100, 10, 0)"),
        ("1+(若 是否预售 则 LEN(渠道) 否则 2*3)", "1+(如果(是否预售, LEN(渠道), 2*3))"),
        ("支付时间>2026-11-11", "支付时间>日期(2026,11,11)"),
        ("支付时间>2026/11/11", "支付时间>日期(2026,11,11)"),
    ],
)
def test_one_click_fix_for_habits_of_other_languages(typed: str, mended: str) -> None:
    assert apply_fix(typed) == mended


def test_misspelt_field_is_no_text_without_quotes() -> None:
    assert codes("渠道=支付金鹅") == ["unknown_name"]


@pytest.mark.parametrize("text", ["A1>1", "支付金额+B12", "sum(c3)"])
def test_cells_are_explained(text: str) -> None:
    assert codes(text) == ["cell_reference"]


def test_remainder_sign_of_other_languages_is_explained() -> None:
    (finding,) = check("分数 % 2", NAMES).findings

    assert "求余" in finding.text


def test_formula_that_looks_at_nothing_is_doubtful() -> None:
    assert codes("1=1", kind="judgement") == ["constant_formula"]
    assert codes("5+5", kind="points") == ["constant_formula"]
    assert codes("通过()", kind="points") == []
    assert codes("1=1") == []
    assert codes("现在()>1", kind="judgement") == []


# --- conditions that decide themselves ------------------------------------------------------------


@pytest.mark.parametrize(
    ("formula", "found"),
    [
        ('且(渠道="天猫",渠道="京东")', ["constant_condition"]),
        ('且(渠道="天猫",渠道="天猫")', []),
        ('且(渠道="",渠道="天猫")', ["constant_condition"]),
        ('或(渠道<>"天猫",渠道<>"京东")', ["constant_condition"]),
        ('或(渠道="天猫",渠道="京东")', []),
        ('且(渠道<>"天猫",渠道<>"京东")', []),
        ("且(分数>70,分数<60)", ["constant_condition"]),
        ("且(分数>70,分数<=70)", ["constant_condition"]),
        ("且(分数>=70,分数<=70)", []),
        ("且(分数>60,分数<70)", []),
        ("且(70<分数,60>分数)", ["constant_condition"]),
        ("或(分数>60,分数<70)", ["constant_condition"]),
        ("或(分数>=60,分数<60)", ["constant_condition"]),
        ("或(分数>60,分数<60)", []),
        ("且(分数>70,支付金额<60)", []),
        ("且(分数>-1,分数<-2)", ["constant_condition"]),
        ("如果(分数>=60,1,如果(分数>=70,2,3))", ["unreachable_branch"]),
        ("如果(分数>=70,1,如果(分数>=60,2,3))", []),
        ("如果(分数<60,1,如果(分数>=60,2,3))", []),
        ('如果(渠道="天猫",1,如果(渠道="京东",2,如果(渠道="天猫",3,4)))', ["unreachable_branch"]),
        ("如果(分数>60,1,如果(分数=65,2,3))", ["unreachable_branch"]),
        ("如果(分数>60,1,如果(分数=60,2,3))", []),
        ("IFS(分数>=60,1,70<=分数,2,TRUE,3)", ["unreachable_branch"]),
        ("IFS(分数>60,1,分数>=60,2,TRUE,3)", []),
        ("IFS(分数>=60,1,分数>60,2,TRUE,3)", ["unreachable_branch"]),
    ],
)
def test_conditions_that_decide_themselves_are_found(formula: str, found: list[str]) -> None:
    assert codes(formula) == found
