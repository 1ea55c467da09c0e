"""The form of the generic OMS: paths, samples, proposals, everything that can be wrong with it."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config.errors import BadInput, Phrase
from connectors.adapters import PACE_FIELDS
from connectors.systems.oms.adapter import GENERIC_OMS
from connectors.systems.oms.guessing import guess_fields
from connectors.systems.oms.mapping import map_row, read_moment, read_order_no, wrap_row
from connectors.systems.oms.paths import (
    MAX_FIELDS,
    MISSING,
    check_depth,
    find,
    flatten_sample,
    mask_answer,
    mask_scalar,
    parse_path,
    write_path,
)
from connectors.systems.oms.spec import LABELS, OmsSpec, fill
from connectors.systems.registry import SYSTEMS, find_problems
from connectors.wire import SHANGHAI, PayloadError

GOOD: dict[str, Any] = {
    "list_path": "/api/orders",
    "start_name": "from",
    "end_name": "to",
    "paging_kind": "page",
    "page_name": "page",
    "size_name": "size",
    "page_size": "2",
    "rows_path": "data.rows",
    "total_path": "data.total",
    "order_no_path": "orderNo",
    "updated_path": "updateTime",
    "received_path": "recvTime",
    "reviewed_path": "audit.at",
    "shipped_path": "logs[0].time",
    "status_path": "status.name",
}
ROW = {
    "orderNo": "SO1",
    "updateTime": "2025-11-11 00:10:00",
    "recvTime": "2025-11-11 00:01:00",
    "audit": {"at": 1762791300},
    "logs": [{"time": "2025-11-11T00:12:00+08:00"}],
    "status": {"code": "30", "name": "已下发仓库"},
    "receiverName": "王小明",
    "phone": "13800001234",
}
SAMPLE = {"code": 0, "data": {"total": 2, "rows": [ROW, ROW | {"orderNo": "SO2"}]}}
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=20,
)


# -- paths -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("", ()),
        ("data.rows", ("data", "rows")),
        ("logs[0].time", ("logs", 0, "time")),
        ("[3]", (3,)),
        ('["a.b"].c', ("a.b", "c")),
        ('x["[0]"][1]', ("x", "[0]", 1)),
        ("订单.编号", ("订单", "编号")),
        (" data ", ("data",)),
    ],
)
def test_a_path_is_read_and_written_back(text: str, steps: tuple[Any, ...]) -> None:
    assert parse_path(text) == steps
    assert parse_path(write_path(steps)) == steps


@pytest.mark.parametrize(
    "text",
    [".a", "a.", "a..b", "a[", "a[x]", "a]", 'a["x', "a[-1]", "a[0]b", "a.b\n", "a" * 300,
     ".".join("a" * 13), "__import__('os')[0]("],
)  # fmt: skip
def test_a_path_that_is_none_is_refused_with_its_place(text: str) -> None:
    if text == "a.b\n":
        assert parse_path(text) == ("a", "b")
        return
    with pytest.raises(BadInput) as caught:
        parse_path(text)
    assert "第" in caught.value.text


@given(st.lists(st.text(min_size=1, max_size=8) | st.integers(0, 9999), max_size=8))
def test_whatever_stands_in_a_sample_can_be_picked(steps: list[Any]) -> None:
    clean = tuple(s for s in steps if isinstance(s, int) or s.isprintable())
    written = write_path(clean)
    if len(written) <= 200:
        assert parse_path(written) == clean


@given(ANYTHING)
@settings(max_examples=200)
def test_flattening_shows_any_answer_and_every_path_of_it_leads_there(answer: Any) -> None:
    for field in flatten_sample(answer):
        try:
            steps = parse_path(field.path)
        except BadInput:
            continue  # a name with control characters: nothing an OMS has
        if all(isinstance(s, int) or s for s in steps):
            assert find(answer, steps) is not MISSING
        assert isinstance(field.example, str | Phrase)


def test_a_path_that_leads_nowhere_finds_nothing() -> None:
    for path in ("data.none", "code.x", "data.rows[9]", "data[0]", "data.rows.orderNo"):
        assert find(SAMPLE, parse_path(path)) is MISSING


def test_a_sample_shows_places_kinds_and_masked_examples() -> None:
    shown = {field.path: (str(field.example), field.kind) for field in flatten_sample(SAMPLE)}

    assert shown["data.rows"] == ("2 条", "列表")
    assert shown["data.rows[0].orderNo"] == ("SO1", "文本")
    assert shown["data.rows[0].recvTime"] == ("2025-11-11 00:01:00", "文本")
    assert shown["data.rows[0].audit.at"] == ("1762791300", "整数")
    assert shown["data.rows[0].receiverName"] == ("王***", "文本")
    assert shown["data.rows[0].phone"] == ("1***", "文本")
    assert shown["data.rows[0].logs[0].time"][1] == "文本"
    assert "data.rows[1].orderNo" not in shown


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("memo", "ABC"), ("x", "13800001234"), ("x", "送货前打电话"), ("x", "浙江省杭州市"),
        ("accessToken", "abcd"), ("x", "a" * 50), ("x", 13800001234), ("mobile", 5),
    ],
)  # fmt: skip
def test_what_may_be_personal_is_masked(name: str, value: Any) -> None:
    assert mask_scalar(name, value).endswith("***")


def test_a_masked_answer_keeps_its_structure_and_shows_few_rows() -> None:
    masked: Any = mask_answer({"rows": [ROW] * 50, "ok": True, "n": 7, "none": None})

    assert len(masked["rows"]) == 3
    assert (masked["ok"], masked["n"], masked["none"]) == (True, 7, None)
    assert masked["rows"][0]["phone"] == "1***"
    assert "王小明" not in json.dumps(masked, ensure_ascii=False)


def test_a_hostile_answer_is_bounded() -> None:
    deep: Any = {}
    for _ in range(400):
        deep = {"a": deep}
    with pytest.raises(BadInput) as caught:
        check_depth(deep)
    assert "嵌套" in caught.value.text
    assert len(flatten_sample(deep)) <= 12
    assert len(flatten_sample({str(n): n for n in range(5000)})) == MAX_FIELDS
    check_depth({"a": [[[1]]]})


# -- proposals ---------------------------------------------------------------------------------


def test_the_rows_and_fields_of_a_sample_are_proposed() -> None:
    assert guess_fields(SAMPLE) == {
        "rows_path": "data.rows",
        "order_no_path": "orderNo",
        "updated_path": "updateTime",
        "received_path": "recvTime",
        "reviewed_path": "audit.at",
        "status_path": "status.code",
        "total_path": "data.total",
    }


def test_the_list_of_orders_is_told_from_other_lists() -> None:
    sample = {
        "warnings": [{"code": 1}, {"code": 2}],
        "result": {"list": [{"order_code": "A", "created_at": "x", "items": [{"id": 1}]}]},
        "next_cursor": "abc",
    }

    guessed = guess_fields(sample)

    assert guessed["rows_path"] == "result.list"
    assert guessed["order_no_path"] == "order_code"
    assert guessed["received_path"] == "created_at"
    assert guessed["cursor_path"] == "next_cursor"


def test_an_answer_that_is_a_list_itself_and_one_without_orders() -> None:
    assert guess_fields([{"tid": 1}])["rows_path"] == ""
    assert guess_fields([{"tid": 1}])["order_no_path"] == "tid"
    for nothing in ({}, [], None, "x", {"a": [1, 2]}, {"a": []}):
        assert guess_fields(nothing) == {}


@given(ANYTHING)
@settings(max_examples=200)
def test_no_answer_breaks_the_proposals(answer: Any) -> None:
    for path in guess_fields(answer).values():
        assert isinstance(path, str)


# -- the form ----------------------------------------------------------------------------------


def _problems(**changes: Any) -> dict[str, str]:
    return {p.field: str(p.sentence) for p in OmsSpec.read(GOOD | changes).check()}


def test_a_whole_form_has_no_problem() -> None:
    assert _problems() == {}


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"list_path": ""}, "list_path", "以 / 开头"),
        ({"list_path": "https://x.example/a"}, "list_path", "不含网址"),
        ({"list_path": "//x.example/a"}, "list_path", "不含网址"),
        ({"list_path": "/a b"}, "list_path", "空格"),
        ({"list_method": "DELETE"}, "list_method", "列表"),
        ({"auth_kind": "magic"}, "auth_kind", "列表"),
        ({"auth_kind": "header", "auth_header": "Host"}, "auth_header", "X-Api-Key"),
        ({"auth_kind": "header", "auth_header": "X\r\nY: z"}, "auth_header", "X-Api-Key"),
        ({"auth_kind": "basic"}, "auth_user", "还没有填写"),
        ({"auth_kind": "signature"}, "sign_key", "还没有填写"),
        ({"auth_kind": "signature", "sign_key": "1", "sign_name": "a&b"}, "sign_name", "参数名"),
        ({"end_name": ""}, "end_name", "一起填写"),
        ({"start_name": "a=b"}, "start_name", "参数名"),
        ({"list_params": "a=1\nnonsense"}, "list_params", "第 2 行"),
        ({"time_format": "julian"}, "time_format", "列表"),
        ({"page_name": ""}, "page_name", "还没有填写"),
        ({"page_size": "0"}, "page_size", "1000"),
        ({"first_page": "7"}, "first_page", "0 或 1"),
        ({"paging_kind": "cursor"}, "cursor_path", "还没有选"),
        ({"paging_kind": "next"}, "next_path", "还没有选"),
        ({"order_no_path": ""}, "order_no_path", "还没有选"),
        (
            {"received_path": "", "reviewed_path": "", "shipped_path": ""},
            "received_path",
            "至少选一个",
        ),
        ({"rows_path": "a..b"}, "rows_path", "读不懂"),
        ({"ok_path": "code"}, "ok_value", "一起填写"),
        ({"detail_path": "/api/orders"}, "detail_path", "{order_no}"),
        ({"detail_path": "/{order_no}/{secret}"}, "detail_path", "花括号"),
        ({"hold_path": "/h/{order_no}"}, "release_path", "能挂起就要能解除"),
        (
            {"hold_path": "/h", "release_path": "/r/{order_no}", "hold_body": "{"},
            "hold_body",
            "JSON",
        ),
        ({"hold_path": "/h", "release_path": "/r/{order_no}"}, "hold_path", "{order_no}"),
    ],
)
def test_a_problem_names_the_field_and_what_to_write(
    changes: dict[str, str], field: str, words: str
) -> None:
    problems = _problems(**changes)

    assert field in problems
    assert words in problems[field]
    assert problems[field].startswith(f"「{LABELS[field]}」")


def test_a_number_that_is_none_is_refused() -> None:
    with pytest.raises(BadInput) as caught:
        OmsSpec.read({"page_size": "many"})
    assert "每页条数" in caught.value.text


def test_a_sample_may_be_called_before_fields_are_picked() -> None:
    spec = OmsSpec.read({"list_path": "/api/orders"})

    assert spec.check_call() == []
    assert {p.field for p in spec.check()} == {"order_no_path", "received_path"}


def test_templates_are_filled_inside_texts_only() -> None:
    template = {"no": "{order_no}", "n": 1, "list": ["{reason}", {"k": "{key}"}], "x": "{other}"}

    assert fill(template, {"{order_no}": '"},{', "{reason}": "{key}", "{key}": "k"}) == {
        "no": '"},{',
        "n": 1,
        "list": ["{key}", {"k": "k"}],
        "x": "{other}",
    }


def test_every_field_of_the_form_is_asked_for_in_chinese() -> None:
    names = [field.name for field in GENERIC_OMS.fields]

    assert set(names) == {*LABELS, "auth_secret", *(f.name for f in PACE_FIELDS)}
    assert len(names) == len(set(names))
    assert [f.name for f in GENERIC_OMS.fields if f.is_secret] == ["auth_secret"]
    for field in GENERIC_OMS.fields:
        assert any("一" <= letter <= "鿿" for letter in field.label) or field.label.isupper()


def test_problems_of_every_system_are_said_before_a_call() -> None:
    assert set(SYSTEMS) == {"alipay", "wechat_pay", "qimen", "generic_oms"}
    for vendor in SYSTEMS:
        problems = [str(p) for p in find_problems(vendor, config={}, secrets={})]
        assert problems
        assert any("一" <= letter <= "鿿" for letter in problems[0])
    assert find_problems("generic_oms", config=GOOD, secrets={}) == []


def test_streams_follow_the_kind_of_pages() -> None:
    counted = GENERIC_OMS.list_streams(GOOD | {"first_page": "0"})["modified"]
    assert (counted.paging.value, counted.page_size, counted.first_page) == ("backward", 2, 0)
    assert GENERIC_OMS.list_streams(GOOD | {"total_path": ""})["modified"].paging.value == "cursor"
    assert GENERIC_OMS.list_streams({"page_size": "x"})["modified"].paging.value == "cursor"
    assert GENERIC_OMS.list_streams(GOOD | {"page_size": "0"})["modified"].page_size == 1


# -- a row -------------------------------------------------------------------------------------


def test_a_row_becomes_a_receipt_by_the_picked_paths() -> None:
    envelope = wrap_row(ROW, OmsSpec.read(GOOD))
    mapped = map_row(json.loads(json.dumps(envelope)), shop="x", stages=None)

    receipt = mapped.record
    assert receipt.order_no == "SO1"
    assert receipt.received_at == datetime(2025, 11, 11, 0, 1, tzinfo=SHANGHAI)
    assert receipt.reviewed_at == datetime(2025, 11, 11, 0, 15, tzinfo=SHANGHAI)
    assert receipt.picked_at is None
    assert receipt.shipped_at == datetime(2025, 11, 11, 0, 12, tzinfo=SHANGHAI)
    assert receipt.source_updated_at == datetime(2025, 11, 11, 0, 10, tzinfo=SHANGHAI)
    assert receipt.custom == {"oms_status": "已下发仓库"}


@pytest.mark.parametrize(
    ("row", "path"),
    [
        (ROW | {"orderNo": None}, "orderNo"),
        ({k: v for k, v in ROW.items() if k != "orderNo"}, "orderNo"),
        (ROW | {"orderNo": {"x": 1}}, "orderNo"),
        (ROW | {"orderNo": "x" * 65}, "orderNo"),
        (ROW | {"audit": {"at": "soon"}}, "audit.at"),
        (ROW | {"audit": {"at": [1]}}, "audit.at"),
        (ROW | {"audit": {"at": True}}, "audit.at"),
        (ROW | {"logs": [{"time": 10**15}]}, "logs[0].time"),
        (ROW | {"status": {"name": []}}, "status.name"),
    ],
)
def test_a_row_that_cannot_be_read_names_the_picked_path(row: dict[str, Any], path: str) -> None:
    with pytest.raises(PayloadError) as caught:
        map_row(wrap_row(row, OmsSpec.read(GOOD)))

    assert caught.value.params["field"] == path
    assert path in caught.value.text


def test_a_field_that_is_not_told_changes_nothing() -> None:
    bare = map_row(wrap_row({"orderNo": 12345}, OmsSpec.read(GOOD))).record

    assert bare.order_no == "12345"
    assert (bare.received_at, bare.reviewed_at, bare.shipped_at, bare.custom) == (None,) * 3 + ({},)


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        (1762791300, "2025-11-11T00:15:00+08:00"),
        ("1762791300000", "2025-11-11T00:15:00+08:00"),
        ("2025-11-11 00:15:00", "2025-11-11T00:15:00+08:00"),
        ("2025/11/11 0:15", "2025-11-11T00:15:00+08:00"),
        ("2025-11-11T00:15:00.123", "2025-11-11T00:15:00+08:00"),
        ("2025-11-10T16:15:00Z", "2025-11-11T00:15:00+08:00"),
        ("2025-11-11T00:15:00+08:00", "2025-11-11T00:15:00+08:00"),
    ],
)
def test_a_moment_is_read_in_any_of_its_forms(value: Any, moment: str) -> None:
    found = read_moment(value)
    assert found is not None
    assert found.isoformat() == moment


@pytest.mark.parametrize("value", [None, "", 0, "0", "0001-01-01 00:00:00", "1970-01-01 08:00:00"])
def test_nothing_is_no_moment(value: Any) -> None:
    assert read_moment(value) is None


@pytest.mark.parametrize("value", ["x", "2025-13-01 00:00:00", 10**16, "2025-11-11", -5, "9" * 16])
def test_what_is_no_moment_is_refused(value: Any) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - any
        read_moment(value)


@given(ANYTHING)
@settings(max_examples=300)
def test_a_row_of_any_values_is_a_receipt_or_an_error_that_names_a_field(value: Any) -> None:
    row = {
        "orderNo": value, "updateTime": value, "recvTime": value, "audit": {"at": value},
        "logs": [{"time": value}], "status": {"name": value},
    }  # fmt: skip
    envelope, error = wrap_row(row, OmsSpec.read(GOOD)), None
    try:
        map_row(envelope)
    except PayloadError as caught:
        error = caught
    assert error.params["field"] if error else read_order_no(envelope)
