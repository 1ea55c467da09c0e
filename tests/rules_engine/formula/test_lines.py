"""Formulas as JSON lines: every type in, every shape out, bad lines beside good ones."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from rules_engine.formula.lines import MAX_LINE, PLANS, Answerer, write_answer

from .facts import NOW

plans = pytest.mark.parametrize("plan", sorted(PLANS))


def ask(formula: str, fields: dict[str, Any] | None = None, plan: str = "row") -> dict[str, Any]:
    line = json.dumps({"id": "x", "formula": formula, "fields": fields or {}})
    return Answerer(plan, NOW, time.perf_counter).answer(line.encode())


def said(answer: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in answer.items() if key not in ("id", "ms", "message")}


@plans
@pytest.mark.parametrize(
    ("written", "formula", "expected"),
    [
        (2, "a+1", {"value": 3}),
        (2.5, "a", {"value": 2.5}),
        ("天猫", "a", {"value": "天猫"}),
        ("=1+1", "a", {"value": "=1+1"}),
        (True, "a", {"value": True}),
        (None, "a", {"value": None}),
        (None, "ISBLANK(a)", {"value": True}),
        ({"$unknown": True}, "a+1", {"unknown": True}),
        ({"$unknown": True}, "是未知(a)", {"value": True}),
        ({"$date": "2026-11-11"}, "a", {"value": 46337}),
        ({"$date": "2026-11-11T18:00:00"}, "a", {"value": 46337.75}),
        ({"$date": "2026-11-11T10:00:00Z"}, "a", {"value": 46337.75}),
        ([1, None, "3", 4], "SUM(a)", {"value": 5}),
        ([{"$date": "2026-11-11"}, {"$date": "2026-11-12"}], "MAX(a)", {"value": 46338}),
        ([], "COUNT(a)", {"value": 0}),
        ([1], "a", {"error": "#VALUE!"}),
        (1e400, "a", {"refused": "bad_json", "start": 0, "end": 0}),  # json.dumps says Infinity
        (10**400, "a", {"error": "#NUM!"}),
        (0, "1/a", {"error": "#DIV/0!"}),
        (1, "如果(a>0,通过,不通过)", {"result": "pass"}),
        (1, "数据不足()", {"result": "insufficient"}),
        (1, "不适用()", {"result": "not_applicable"}),
        (1, "部分", {"result": "partial"}),
        (1, "a+b", {"refused": "unknown_name", "start": 2, "end": 3}),
        (1, "支付金额", {"refused": "unknown_name", "start": 0, "end": 4}),
    ],
)
def test_value_comes_in_by_its_json_type_and_goes_out_by_its_shape(
    plan: str, written: Any, formula: str, expected: dict[str, Any]
) -> None:
    assert said(ask(formula, {"a": written}, plan)) == expected


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"", "bad_json"),
        (b"nonsense", "bad_json"),
        (b'{"id":1', "bad_json"),
        (b'{"id":1,"formula":"a","fields":{"a":NaN}}', "bad_json"),
        (b'{"id":1,"formula":"a","fields":{"a":-Infinity}}', "bad_json"),
        (b"[" * 100_000, "bad_json"),
        (b'{"formula":' + b"9" * 5000 + b"}", "bad_json"),
        (b'{"formula":"\xff"}', "bad_encoding"),
        (b" " * (MAX_LINE + 1), "line_too_long"),
        (b"[]", "not_an_object"),
        (b"null", "not_an_object"),
        (b'{"id":1,"fields":{}}', "missing_formula"),
        (b'{"id":1,"formula":null}', "formula_not_text"),
        (b'{"id":1,"formula":["1"]}', "formula_not_text"),
        (b'{"id":1,"formula":"1","fields":[]}', "fields_not_object"),
        (b'{"id":1,"formula":"1","fields":null}', "fields_not_object"),
        (b'{"id":1,"formula":"1","fields":{"a":{}}}', "bad_field"),
        (b'{"id":1,"formula":"1","fields":{"a":{"$date":"tomorrow"}}}', "bad_field"),
        (b'{"id":1,"formula":"1","fields":{"a":{"$date":1}}}', "bad_field"),
        (b'{"id":1,"formula":"1","fields":{"a":{"$date":"0001-01-01T00:00+14:00"}}}', "bad_field"),
        (b'{"id":1,"formula":"1","fields":{"a":{"$unknown":1}}}', "bad_field"),
        (b'{"id":1,"formula":"1","fields":{"a":[[1]]}}', "bad_field"),
        (b'{"id":1,"formula":"1","fields":{"a":{"$date":"2026-11-11","x":1}}}', "bad_field"),
    ],
)
def test_line_that_cannot_be_used_is_refused_by_name(line: bytes, code: str) -> None:
    answer = Answerer("row", NOW, time.perf_counter).answer(line)

    assert answer["refused"] == code
    assert answer["message"]
    assert list(answer) == ["id", "refused", "message", "start", "end", "ms"]


def test_our_own_bug_costs_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fall(*args: object) -> None:
        raise KeyError("planted")

    monkeypatch.setitem(PLANS, "row", fall)

    assert ask("1")["refused"] == "internal_error"


def test_fields_of_one_line_are_not_seen_by_the_next() -> None:
    answerer = Answerer("row", NOW, time.perf_counter)

    first = answerer.answer(b'{"id":1,"formula":"a","fields":{"a":1}}')
    second = answerer.answer(b'{"id":2,"formula":"a","fields":{"b":1}}')

    assert said(first) == {"value": 1}
    assert second["refused"] == "unknown_name"


@pytest.mark.parametrize("id", ["\ud800", 1e999, [1, {"a": None}], None, "订单"])
def test_any_id_comes_back_on_one_writable_line(id: Any) -> None:
    written = write_answer({"id": id, "value": "完成\u2028", "ms": 0.1})

    assert "\n" not in written
    assert json.loads(written.encode())["value"] == "完成\u2028"
    assert json.loads(written)["id"] == (None if id == 1e999 else id)


def test_message_says_where() -> None:
    answer = ask("1+(2*3", {})

    assert answer["refused"] == "unclosed_bracket"
    assert "第 1 行第 3 列" in answer["message"]


def test_milliseconds_cover_the_work_only() -> None:
    ticks = iter([10.0, 10.25])
    answer = Answerer("row", NOW, lambda: next(ticks)).answer(b'{"formula":"1"}')

    assert answer["ms"] == 250.0
