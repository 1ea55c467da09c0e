"""Reading back: canonical text, sentences, traces."""

from __future__ import annotations

import pytest

from rules_engine.formula import (
    Field,
    Names,
    RowPlan,
    ValueType,
    canonical_text,
    check,
    sentence,
)

from .facts import NOW
from .test_check import NAMES


@pytest.mark.parametrize(
    ("typed", "written"),
    [
        ('=IF（支付金额＞1，“已付”，"未付"）', '如果(支付金额 > 1, "已付", "未付")'),
        ("(1+2)*3-((4))", "(1 + 2) * 3 - 4"),
        ("2^(3^2)", "2^(3^2)"),
        ("(2^3)^2", "(2^3)^2"),
        ("-(1+2)", "-(1 + 2)"),
        ("(-2)^2", "-2^2"),
        ("(1+1)%", "(1 + 1)%"),
        ("数据不足", "数据不足()"),
        ("true", "真"),
        ("求和(lines,qty*单价)", "求和(明细, 数量 * 单价)"),
        ("1E3+0.5", "1000 + 0.5"),
    ],
)
def test_canonical_text_has_one_way_to_write_it(typed: str, written: str) -> None:
    assert canonical_text(check(typed, NAMES)) == written


def test_canonical_text_in_english_uses_english_function_names() -> None:
    assert canonical_text(check("如果(真,通过,不适用)", NAMES), language="en") == (
        "IF(TRUE, PASS(), NOTAPPLICABLE())"
    )


def test_label_that_cannot_stand_alone_is_quoted_or_written_by_id() -> None:
    names = Names(
        [
            Field("a", "金额（元）", "", ValueType.NUMBER),
            Field("b", "真", "", ValueType.NUMBER),
            Field("c", "x]y", "", ValueType.NUMBER),
        ]
    )

    assert canonical_text(check("{#a}+{#b}+{#c}", names)) == "[金额（元）] + [真] + {#c}"


@pytest.mark.parametrize(
    ("formula", "said"),
    [
        ("四舍五入(支付金额,1)>2", "读作：「支付金额」四舍五入（小数位 1）大于2。"),
        (
            "工作小时(支付时间,尾款截止,8,22)",
            "读作：「支付时间」到「尾款截止」的工作小时数（上班 8，下班 22）。",
        ),
        ('地址完整(渠道,"",渠道)', "读作：由「渠道」、空文本、「渠道」组成的地址完整。"),
        ("支付金额>=100", "读作：「支付金额」不低于100。"),
        ('渠道=""', "读作：「渠道」为空。"),
        (
            "如果(是空(支付时间),不适用(),距今小时(支付时间)<=48)",
            "读作：如果「支付时间」为空，那么不适用，否则「支付时间」到现在的小时数不超过48。",
        ),
        (
            '且(包含(渠道,"天猫","京东"),或(支付金额>0,是未知(支付时间)))',
            "读作：「渠道」包含“天猫”或“京东”并且（「支付金额」大于0或者「支付时间」还不知道）。",
        ),
        (
            "求和(明细,数量*单价,数量>1)",
            "读作：「明细」里「数量」大于1的行的（「数量」 × 「单价」）之和。",
        ),
        ("任一(明细,数量<=0)", "读作：「明细」里至少有一行「数量」不超过0。"),
        ("计数(明细)", "读作：「明细」的行数。"),
        ("非(是否预售)", "读作：「是否预售」为否。"),
        (
            "IFS(分数>=70,10,TRUE,0)",
            "读作：按顺序看：「分数」不低于70时得10；其他情况得0。",
        ),
    ],
)
def test_sentence_says_what_the_formula_does(formula: str, said: str) -> None:
    assert sentence(check(formula, NAMES)) == said


def trace(formula: str, values: dict[str, object]) -> dict[str, object]:
    parts = RowPlan(check(formula, NAMES)).trace(values, NOW)
    return {part.text: part.value if part.is_evaluated else "not evaluated" for part in parts}


def test_trace_has_the_value_of_every_part_and_marks_what_was_not_evaluated() -> None:
    seen = trace("如果(支付金额>100,支付金额*2,1+2)", {"order.pay": 50.0})

    assert seen == {
        "如果(支付金额>100,支付金额*2,1+2)": 3.0,
        "支付金额>100": False,
        "支付金额": "not evaluated",  # the last one of that text, in the branch not taken
        "100": 100.0,
        "支付金额*2": "not evaluated",
        "2": 2.0,
        "1+2": 3.0,
        "1": 1.0,
    }


def test_trace_of_a_part_per_row_has_a_value_per_row() -> None:
    lines = [{"lines.qty": 2, "lines.price": 5.0}, {"lines.qty": 3, "lines.price": 1.0}]

    seen = trace("求和(明细,数量*单价)", {"lines": lines})

    assert seen["数量*单价"] == (10.0, 3.0)
    assert seen["求和(明细,数量*单价)"] == 13.0


def test_trace_keeps_depth_and_order_of_the_parts() -> None:
    parts = RowPlan(check("1+绝对值(-2)", NAMES)).trace({}, NOW)

    assert [(part.text, part.depth) for part in parts] == [
        ("1+绝对值(-2)", 0),
        ("1", 1),
        ("绝对值(-2)", 1),
        ("-2", 2),
        ("2", 3),
    ]
