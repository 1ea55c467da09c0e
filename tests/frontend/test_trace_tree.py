"""The tree of values: every part in its place, told apart by words, closed where it ends."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import pytest
from django.template.loader import render_to_string

from frontend.pages.trace_tree import Row, build_tree
from rules_engine.facts.catalog import LINES_ID, build_names
from rules_engine.formula import UNKNOWN, RowPlan, check
from rules_engine.presets.catalog import PRESETS

NAMES = build_names()
NOW = 46000.5
LINES = tuple({"lines.quantity": float(n), "lines.price": 10.0} for n in range(1, 6))


def tree_of(formula: str, values: dict[str, Any] | None = None) -> list[Row]:
    checked = check(formula, NAMES)
    parts = RowPlan(checked).trace(values or {}, NOW)
    hidden = {(0, 0)}
    return build_tree(checked.require_tree(), parts, hidden=hidden, hidden_word="藏")


def briefs(rows: list[Row]) -> list[tuple[int, str, str]]:
    return [(r.depth, r.brief, r.value.words if r.value else "") for r in rows]


def test_parts_stand_below_what_they_are_part_of_and_constants_are_left_out() -> None:
    rows = tree_of("如果(且(实付金额>100, 渠道=“天猫”), 不通过(), 通过())", {
        "order.paid": 120.0, "order.channel": "天猫",
    })  # fmt: skip

    assert briefs(rows) == [
        (0, "如果(且(实付金额>100, 渠道=“天猫”), 不通过(), 通过())", "不通过"),
        (1, "且(实付金额>100, 渠道=“天猫”)", "是"),
        (2, "实付金额>100", "是"),
        (3, "实付金额", "120.00 元"),
        (2, "渠道=“天猫”", "是"),
        (3, "渠道", "“天猫”"),
        (1, "不通过()", "不通过"),
        (1, "通过()", ""),
    ]
    assert [r.is_evaluated for r in rows][-2:] == [True, False]


def test_unknown_blank_and_errors_are_told_apart_by_a_word_and_a_look() -> None:
    values = {"order.paid": UNKNOWN, "order.payable": None, "order.freight": 3.0}
    rows = tree_of("如果错误(实付金额+1, 0) + 应付金额 + 1/0", values)

    looks = {r.brief: (r.value.words, r.value.look) for r in rows if r.value}
    assert looks["实付金额"] == ("未知", "unknown")
    assert looks["应付金额"] == ("空", "blank")
    assert looks["1/0"] == ("#DIV/0!（除以了 0 或空值）", "error")


def test_a_part_inside_rows_shows_the_first_rows_and_how_many_there_are() -> None:
    rows = tree_of("求和(明细, 数量*单价, 数量>1)", {LINES_ID: LINES})
    by_text = {r.brief: r for r in rows}
    product = by_text["数量*单价"]

    assert by_text["明细"].value is not None
    assert by_text["明细"].value.words == "5 行"
    assert by_text["数量>1"].row_count == 5
    assert [(n, v.words) for n, v in by_text["数量>1"].rows] == [(1, "否"), (2, "是"), (3, "是")]
    assert product.row_count == 4
    assert [(n, v.words) for n, v in product.rows] == [(2, "20"), (3, "30"), (4, "40")]


def test_a_long_part_is_called_by_its_shape_and_keeps_its_text() -> None:
    long = "且(实付金额>100, 应付金额>100, 运费>100, 优惠券>100, 定金>100, 尾款>100)"
    root = tree_of(f"如果({long}, 不通过(), 通过())")[0]

    assert root.brief == "如果(且(…)，不通过()，通过())"
    assert root.text.startswith("如果(且(实付金额>100")
    rows = tree_of("如果(计数(明细, 且(数量>1, 单价>100, 行金额>100))>2, 实付金额/0, 备注&1+2*3)")
    assert rows[0].brief == "如果(计数(…)>2，实付金额/0，…)"


class _Balance(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.deepest = 0

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag not in ("br", "input"):
            self.open.append(tag)
            self.deepest = max(self.deepest, self.open.count("ul"))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


FORMULAS = [d["formula"] for p in PRESETS for d in p.content["dimensions"]]
DEEP = "非(" * 60 + "货到付款" + ")" * 60
WIDE = "+".join(f"如果(实付金额>{n}, 应付金额, 运费*{n})" for n in range(100))


@pytest.mark.parametrize("formula", [*FORMULAS, DEEP, WIDE, "1", "实付金额"])
def test_every_list_is_closed_where_its_part_ends(formula: str) -> None:
    rows = tree_of(formula)
    page = render_to_string("checks/_tree.html", {"tree": rows})
    balance = _Balance()
    balance.feed(page)

    assert balance.open == []
    assert balance.deepest == max(r.depth for r in rows) + 1
    assert page.count('class="part') == len(rows)
    assert sum(len(r.closes) for r in rows) == sum(r.has_parts for r in rows)


def test_a_large_tree_opens_only_its_first_levels() -> None:
    rows = tree_of(WIDE)

    assert {r.depth for r in rows if r.is_open} == {0, 1}


def test_what_a_function_reads_besides_has_no_row_and_words_are_said_by_their_name() -> None:
    rows = tree_of('且(曾进入("推送WMS"), 曾进入("推送WMS"), 曾进入("推送WMS"), 实付金额>0)')

    assert [r.depth for r in rows] == [0, 1, 1, 1, 1, 2]
    assert rows[1].brief == '曾进入("推送WMS")'
    assert rows[0].brief == "且(曾进入(…)，曾进入(…)，曾进入(…)，实付金额>0)"
