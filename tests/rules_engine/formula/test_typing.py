"""Formulas are read as people type them: the folding table, names, comments, brackets."""

from __future__ import annotations

import string
import sys
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rules_engine.formula import (
    FUNCTIONS,
    Field,
    Function,
    Names,
    RowPlan,
    ValueType,
    canonical_text,
    check,
    sentence,
)
from rules_engine.formula.tokens import FOLDED, read_tokens

from .facts import NOW, evaluate, refusals
from .formulas import NAMES, calls, facts
from .test_properties import quiet, same

# What people type -> what it stands for. Written out, so that a change of the table shows here.
FULL_WIDTH = {
    "（": "(", "）": ")", "，": ",", "．": ".", "。": ".", "＝": "=", "＞": ">", "＜": "<",
    "＋": "+", "－": "-", "＊": "*", "／": "/", "＾": "^", "＆": "&", "％": "%", "［": "[",
    "］": "]", "【": "[", "】": "]", "｛": "{", "｝": "}", "＂": '"', "＃": "#", "：": ":",
    "；": ";", "　": " ",
    "０": "0", "１": "1", "２": "2", "３": "3", "４": "4",
    "５": "5", "６": "6", "７": "7", "８": "8", "９": "9",
}  # fmt: skip


def test_folding_table_is_the_one_written_here() -> None:
    assert {chr(wide): narrow for wide, narrow in FOLDED.items()} == FULL_WIDTH


@pytest.mark.parametrize(
    ("typed", "plain"),
    [
        ("IF（a＞１，１，２）", "IF(a>1,1,2)"),
        ("a＞＝3", "a>=3"),
        ("a＜＝3", "a<=3"),
        ("a＜＞3", "a<>3"),
        ("a≥3", "a>=3"),
        ("a≤3", "a<=3"),
        ("a≧3", "a>=3"),
        ("a≦3", "a<=3"),
        ("a≠3", "a<>3"),
        ("a×3", "a*3"),
        ("a÷3", "a/3"),
        ("a−3", "a-3"),
        ("＝a＋３", "=a+3"),
        ("a＾２", "a^2"),
        ("５０％", "50%"),
        ("a＆“元”", 'a&"元"'),
        ("【a】＋［a］", "[a]+[a]"),
        ("a　＋　1", "a + 1"),
        ("１２。５＋１．５", "12.5+1.5"),
        ("＂x＂", '"x"'),
    ],
)
def test_full_width_mark_means_what_its_plain_one_means(typed: str, plain: str) -> None:
    assert evaluate(typed, {"a": 3.0}) == evaluate(plain, {"a": 3.0})


@pytest.mark.parametrize("typed", ["ＳＵＭ（a，1）", "ｓｕｍ(a,1)", "SＵM(a,1)"])
def test_a_name_in_full_width_letters_is_offered_in_plain_ones_never_taken_for_them(
    typed: str,
) -> None:
    names = Names([Field("f", "a", "", ValueType.NUMBER)])
    checked = check(typed, names)

    (finding,) = checked.findings
    assert (finding.code, finding.start, finding.end) == ("unknown_function", 0, 3)
    assert finding.fix is not None
    mended = typed[: finding.fix.start] + finding.fix.text + typed[finding.fix.end :]
    assert check(mended, names).is_valid


def test_typed_text_is_kept_as_typed() -> None:
    names = Names([Field("f", "金额", "", ValueType.NUMBER)])
    typed = "如果（金额＞０，“（已付）”，1。5）"

    checked = check(typed, names)

    assert checked.text == typed
    assert checked.stored == typed.replace("金额", "{#f}")
    parts = RowPlan(checked).trace({"f": 1.0}, NOW)
    assert [part.text for part in parts] == [
        typed, "金额＞０", "金额", "０", "“（已付）”", "1。5",
    ]  # fmt: skip


def test_text_in_quotes_and_labels_is_never_folded() -> None:
    assert evaluate("“（，）＝１”&a", {"a": "。"}) == "（，）＝１。"
    assert evaluate('"ＡＢＣ"=a', {"a": "ABC"}) is False
    assert evaluate("[金额（元）]+1", {"金额（元）": 2.0}) == 3.0


def test_no_other_compatibility_character_is_folded() -> None:
    """Folding whole texts by NFKC would read ², ①, ﹢, ⒈ and hundreds more as something else."""
    plain = set(string.printable) - set(string.ascii_letters + "_")
    read = []
    for code in range(0x80, sys.maxunicode + 1):
        character = chr(code)
        if code in FOLDED or 0xD800 <= code < 0xE000:
            continue
        folded = unicodedata.normalize("NFKC", character)
        if folded != character and set(folded) <= plain and not read_tokens(character)[1]:
            read.append(character)

    assert read == []


@pytest.mark.parametrize(
    "text", ["a // 说明", "a # 说明", "a -- ", "a ; b", "a 　//", "<!-- x -->1"]
)
def test_comments_have_one_form_only(text: str) -> None:
    assert refusals(text, {"a": 1.0})


def test_comments_stand_anywhere_between_parts() -> None:
    assert evaluate("/*甲*/a/*乙\n*/+/**/1/* “没有引号 */", {"a": 1.0}) == 2.0
    assert evaluate('"/* 文本 */"') == "/* 文本 */"
    assert refusals("a /* 说明 /* 里面 */ */", {"a": 1.0})


def test_name_before_a_bracket_is_a_function_else_a_field() -> None:
    values = {"求和": 5.0, "列表": [1.0, 2.0], "LEN": 7.0, "是空": None}

    assert evaluate("求和+求和(列表)", values) == 8.0
    assert evaluate("LEN+LEN(“ab”)+len", values) == 16.0
    assert evaluate("求和 + 求和 (列表)", values) == 8.0
    assert evaluate("是空(是空)", values) is True
    assert refusals("列表(1)", values) == ["unknown_function"]


def test_field_named_like_a_constant_needs_brackets() -> None:
    assert evaluate("[真]+1", {"真": 5.0}) == 6.0
    assert evaluate("真", {"真": 5.0}) is True


@pytest.mark.parametrize(
    "label",
    ["付款 金额", "金额(元)", "金额（元）", "a+b", '他说"好"', "100%", "A1", "/*x*/", "“x”"],
)
def test_any_label_can_stand_in_square_brackets(label: str) -> None:
    assert evaluate(f"[{label}]+1", {label: 2.0}) == 3.0
    assert evaluate(f"【 {label} 】+1", {label: 2.0}) == 3.0


def test_every_name_of_a_function_is_known_in_any_case() -> None:
    for function in FUNCTIONS:
        for name in (*function.names, function.en.lower(), function.en.title()):
            codes = [item.code for item in check(f"{name}()", NAMES).findings]
            assert "unknown_function" not in codes, name


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.en)
def test_every_function_reads_back_with_the_same_meaning(function: Function) -> None:
    @settings(quiet, max_examples=8)
    @given(calls(function), facts, st.sampled_from(["zh", "en"]))
    def holds(text: str, values: dict[str, object], language) -> None:
        checked = check(text, NAMES)
        written = canonical_text(checked, language=language)
        again = check(written, NAMES)
        assert again.is_valid, (text, written, [item.text for item in again.findings])
        assert canonical_text(again, language=language) == written
        assert same(RowPlan(checked).evaluate(values, NOW), RowPlan(again).evaluate(values, NOW)), (
            written
        )
        assert sentence(checked).startswith("读作：")
        assert "{" not in sentence(checked).replace("{#", "")

    holds()
