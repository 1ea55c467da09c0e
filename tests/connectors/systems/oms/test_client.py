"""The generic OMS client against OMSes of every kind, well-behaved and hostile."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest

from connectors.adapters import Lister, Outgoing, VendorRefusal
from connectors.http import ConnectorError, Response, Retry
from connectors.systems.oms.adapter import GENERIC_OMS
from connectors.systems.oms.client import OmsClient
from connectors.wire import SHANGHAI
from tests.connectors.systems.fakes import Wire, answer, make_access
from tests.connectors.systems.oms.test_form import GOOD

NOW = datetime(2025, 11, 11, 0, 15, tzinfo=SHANGHAI)
START, END = NOW - timedelta(minutes=30), NOW - timedelta(minutes=1)
BASE = "https://oms.example/x"


def _json(value: Any, status: int = 200, **headers: str) -> Response:
    return answer(json.dumps(value, ensure_ascii=False).encode(), status, headers)


@dataclass
class Oms:
    """An OMS with orders by update time; `before` is called before each list answer."""

    numbers: list[str] = field(default_factory=lambda: [f"SO{n}" for n in range(7)])
    kind: str = "page"
    counts: bool = True
    most: int = 1000
    before: Callable[[Oms, dict[str, str]], None] | None = None
    asked: list[dict[str, str]] = field(default_factory=list)

    def reply(self, call: Outgoing) -> Response:
        parts = urlsplit(call.url)
        query = dict(parse_qsl(parts.query))
        if parts.path != "/x/api/orders":
            return _json({"code": 404}, 404)
        self.asked.append(query)
        if self.before is not None:
            self.before(self, query)
        size = min(int(query.get("size", "100")), self.most)
        first = 0
        if self.kind == "page":
            first = (int(query["page"]) - 1) * size
        elif self.kind == "offset":
            first = int(query["page"])
        elif query.get("page"):
            first = self.numbers.index(query["page"]) + 1
        rows = [self._row(number) for number in self.numbers[first : first + size]]
        data: dict[str, Any] = {"rows": rows}
        if self.counts:
            data["total"] = len(self.numbers)
        is_more = first + size < len(self.numbers)
        if self.kind == "cursor":
            data["after"] = rows[-1]["orderNo"] if is_more else ""
        if self.kind == "next" and is_more:
            data["next"] = "/x/api/orders?" + urlencode(query | {"page": rows[-1]["orderNo"]})
        return _json({"code": 0, "data": data})

    @staticmethod
    def _row(number: str) -> dict[str, Any]:
        return {"orderNo": number, "recvTime": "2025-11-11 00:01:00"}


def _client(oms: Oms | Callable[[Outgoing], Response], **config: str) -> tuple[OmsClient, Wire]:
    wire = Wire(oms.reply if isinstance(oms, Oms) else oms)
    access = make_access(
        wire, now=NOW, config=GOOD | config, secrets={"auth_secret": "s3cret"}, base_url=BASE
    )
    return OmsClient(access), wire


def _read_all(client: OmsClient, config: dict[str, Any]) -> list[str]:
    """As the sync reads a window."""
    rules = GENERIC_OMS.list_streams(config)["modified"]
    found: list[str] = []
    if rules.paging.value == "backward":
        total = client.count_orders("modified", START, END)
        last = -(-total // rules.page_size) or 1
        for number in range(last, 0, -1):
            page = rules.first_page + number - 1
            listed = client.list_orders("modified", START, END, page=page, cursor="")
            found += [row.order_no for row in listed.rows]
        return found
    cursor = ""
    for _ in range(50):
        listed = client.list_orders("modified", START, END, page=1, cursor=cursor)
        assert listed.rows or not listed.next_cursor
        found += [row.order_no for row in listed.rows]
        if not listed.next_cursor:
            return found
        assert listed.next_cursor != cursor
        cursor = listed.next_cursor
    raise AssertionError("never ends")


KINDS: list[dict[str, str]] = [
    {"paging_kind": "page"},
    {"paging_kind": "page", "total_path": ""},
    {"paging_kind": "offset"},
    {"paging_kind": "offset", "total_path": ""},
    {"paging_kind": "cursor", "cursor_path": "data.after"},
    {"paging_kind": "next", "next_path": "data.next", "page_name": "page"},
]


@pytest.mark.parametrize("config", KINDS, ids=lambda c: " ".join(c.values()))
@pytest.mark.parametrize("count", [0, 1, 2, 3, 7])
def test_every_kind_of_pages_gives_every_order(config: dict[str, str], count: int) -> None:
    oms = Oms([f"SO{n}" for n in range(count)], kind=config["paging_kind"])
    client, _ = _client(oms, **config)

    assert isinstance(client, Lister)
    assert set(_read_all(client, GOOD | config)) == set(oms.numbers)


@pytest.mark.parametrize("config", KINDS[:4], ids=lambda c: " ".join(c.values()))
def test_an_order_that_leaves_the_window_while_it_is_paged_takes_nobody_along(
    config: dict[str, str],
) -> None:
    def change(oms: Oms, _: dict[str, str]) -> None:
        if len(oms.asked) in {2, 3}:
            oms.numbers.pop(0)  # modified again: it belongs to a later window now

    oms = Oms(kind=config["paging_kind"], before=change)
    client, _ = _client(oms, **config)
    found = _read_all(client, GOOD | config)

    assert set(oms.numbers) <= set(found)


def test_walking_forwards_only_would_lose_an_order() -> None:
    """The naive reader this guards against, on the same OMS."""

    def change(oms: Oms, _: dict[str, str]) -> None:
        if len(oms.asked) == 2:
            oms.numbers.pop(0)

    oms, found = Oms(before=change), set()
    for page in range(1, 6):
        url = f"{BASE}/api/orders?page={page}&size=2"
        body = json.loads(oms.reply(Outgoing("list", "GET", url)).body)
        found |= {row["orderNo"] for row in body["data"]["rows"]}
    assert not set(oms.numbers) <= found


# An offset counts rows, so there the size has to be the one the OMS uses.
@pytest.mark.parametrize("config", [KINDS[1], *KINDS[4:]], ids=lambda c: " ".join(c.values()))
def test_an_oms_that_gives_fewer_than_asked_loses_nothing_where_it_does_not_count(
    config: dict[str, str],
) -> None:
    oms = Oms(kind=config["paging_kind"], most=1)
    client, _ = _client(oms, **(config | {"size_name": ""}))
    found = _read_all(client, GOOD | config | {"size_name": ""})
    assert set(found) == set(oms.numbers)


def test_by_offset_an_oms_that_gives_fewer_is_told_from_its_end() -> None:
    config = {"paging_kind": "offset", "total_path": ""}

    with pytest.raises(ConnectorError) as caught:
        _read_all(_client(Oms(kind="offset", most=1), **config)[0], GOOD | config)

    assert (caught.value.code, caught.value.retry) == ("incomplete_page", Retry.SAFE)


def test_an_oms_that_counts_and_gives_fewer_is_told_from_its_end() -> None:
    client, _ = _client(Oms(most=1))

    with pytest.raises(ConnectorError) as caught:
        _read_all(client, GOOD)

    assert (caught.value.code, caught.value.retry) == ("incomplete_page", Retry.SAFE)
    assert "每页条数" in caught.value.text


def test_a_page_given_twice_is_an_error() -> None:
    oms = Oms(["A", "B", "C", "D", "E", "F"])
    client, _ = _client(oms)
    client.list_orders("modified", START, END, page=3, cursor="")
    oms.numbers = ["A", "B", "E", "F", "C", "D"]

    with pytest.raises(ConnectorError) as caught:
        client.list_orders("modified", START, END, page=2, cursor="")

    assert caught.value.code == "incomplete_page"
    client.list_orders("modified", START, END, page=2, cursor="")  # asked anew: as it comes


def test_reading_the_same_page_again_is_no_repetition() -> None:
    client, _ = _client(Oms())
    for _ in range(2):
        assert client.list_orders("modified", START, END, page=1, cursor="").rows


def test_a_short_page_with_a_next_one_is_an_error_where_the_size_was_asked_for() -> None:
    body = {"data": {"rows": [Oms._row("A")], "after": "x"}}
    config = {"paging_kind": "cursor", "cursor_path": "data.after", "total_path": ""}

    with pytest.raises(ConnectorError) as caught:
        _client(lambda _: _json(body), **config)[0].list_orders(
            "modified", START, END, page=1, cursor=""
        )
    assert "清空" in caught.value.text
    free, _ = _client(lambda _: _json(body), **(config | {"size_name": ""}))
    assert free.list_orders("modified", START, END, page=1, cursor="").next_cursor == "x"
    with pytest.raises(ConnectorError):
        free.list_orders("modified", START, END + timedelta(1), page=1, cursor="x")


@pytest.mark.parametrize(
    ("time_format", "start", "end"),
    [
        ("clock", "2025-11-10 23:45:00", "2025-11-11 00:14:01"),
        ("rfc3339", "2025-11-10T23:45:00+08:00", "2025-11-11T00:14:01+08:00"),
        ("unix", "1762789500", "1762791241"),
        ("unix_ms", "1762789500000", "1762791241000"),
    ],
)
def test_the_window_is_told_in_the_form_asked_for(time_format: str, start: str, end: str) -> None:
    oms = Oms()
    _client(oms, time_format=time_format, list_params="type=sale\nx = 1")[0].list_orders(
        "modified", START, END, page=1, cursor=""
    )

    assert oms.asked[0] == {
        "from": start, "to": end, "type": "sale", "x": "1", "page": "1", "size": "2",
    }  # fmt: skip


def test_a_post_tells_the_same_in_its_body() -> None:
    client, wire = _client(
        lambda _: _json({"data": {"rows": [], "total": 0}}), list_method="POST", time_format="unix"
    )
    client.list_orders("modified", START, END, page=1, cursor="")

    (call,) = wire.calls
    assert (call.method, call.url) == ("POST", BASE + "/api/orders")
    assert json.loads(call.body or b"") == {
        "from": "1762789500", "to": "1762791241", "page": "1", "size": "2",
    }  # fmt: skip


# -- who calls ---------------------------------------------------------------------------------


def _headers_of(**config: str) -> Outgoing:
    client, wire = _client(Oms(), **config)
    client.list_orders("modified", START, END, page=1, cursor="")
    return wire.calls[0]


def test_each_kind_of_authentication_goes_where_it_belongs() -> None:
    assert "Authorization" not in _headers_of(auth_kind="none").headers
    assert _headers_of(auth_kind="bearer").headers["Authorization"] == "Bearer s3cret"
    assert _headers_of(auth_kind="header", auth_header="X-Key").headers["X-Key"] == "s3cret"
    basic = _headers_of(auth_kind="basic", auth_user="hedao").headers["Authorization"]
    assert base64.b64decode(basic.removeprefix("Basic ")) == b"hedao:s3cret"


@pytest.mark.parametrize(
    ("joint", "text"),
    [
        ("lines", "GET\n/x/api/orders\n{pairs}\n"),
        ("pairs", "{pairs}"),
        ("plain", "{plain}"),
    ],
)
def test_a_signature_covers_every_parameter_and_the_time(joint: str, text: str) -> None:
    call = _headers_of(
        auth_kind="signature", sign_key="k1", sign_key_name="appKey", sign_nonce_name="nonce",
        sign_joint=joint, list_params="q=词 1&2",
    )  # fmt: skip
    params = dict(parse_qsl(urlsplit(call.url).query))
    sign = params.pop("sign")

    assert (params["appKey"], params["timestamp"], params["q"]) == ("k1", "1762791300", "词 1&2")
    assert len(params["nonce"]) == 16
    pairs = "&".join(f"{k}={params[k]}" for k in sorted(params))
    plain = "".join(f"{k}{params[k]}" for k in sorted(params))
    wanted = text.format(pairs=pairs, plain=plain)
    assert sign == hmac.new(b"s3cret", wanted.encode(), hashlib.sha256).hexdigest()


def test_a_secret_that_is_missing_or_broken_is_said_without_a_call() -> None:
    for secrets, code in (({}, "not_configured"), ({"auth_secret": "a\nb"}, "bad_secret")):
        wire = Wire(Oms().reply)
        client = OmsClient(
            make_access(
                wire, now=NOW, config=GOOD | {"auth_kind": "bearer"}, secrets=secrets, base_url=BASE
            )
        )
        with pytest.raises(ConnectorError) as caught:
            client.list_orders("modified", START, END, page=1, cursor="")
        assert caught.value.code == code
        assert wire.calls == []


# -- hostile answers ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "link",
    [
        "https://evil.example/x/api/orders",
        "http://oms.example/x/api/orders",
        "//evil.example/",
        "https://oms.example:8443/",
        "https://user:pass@oms.example/",
        "javascript:alert(1)",
        "https://[bad",
    ],
)
def test_a_next_page_elsewhere_is_not_followed(link: str) -> None:
    config = {"paging_kind": "next", "next_path": "next", "rows_path": "rows", "size_name": "",
              "total_path": ""}  # fmt: skip
    client, wire = _client(
        lambda _: _json({"rows": [Oms._row("A")], "next": link}), auth_kind="bearer", **config
    )
    cursor = client.list_orders("modified", START, END, page=1, cursor="").next_cursor

    with pytest.raises(ConnectorError) as caught:
        client.list_orders("modified", START, END, page=1, cursor=cursor)

    assert caught.value.code == "foreign_link"
    assert len(wire.calls) == 1


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"<html>gateway</html>", "JSON"),
        (b"", "JSON"),
        (b'{"data":{"rows":{}}}', "不是列表"),
        (b'{"data":{"rows":"x"}}', "不是列表"),
        (b'{"data":{"rows":[1]}}', "data.rows[0]"),
        (b'{"other":1}', "没有 data.rows"),
        (b"[]", "没有 data.rows"),
        (b"null", "没有 data.rows"),
        (b'{"data":{"rows":[],"total":"many"}}', "data.total"),
        (b'{"data":{"rows":[],"total":-1}}', "data.total"),
        (b'{"data":{"rows":[],"total":true}}', "data.total"),
        (b'{"data":{"rows":[],"total":null}}', "data.total"),
        (b'{"data":{"rows":[{"no":1}],"total":1}}', "没有一行"),
        (b'{"data":{"rows":[' + b"{}," * 2001 + b"{}]}}", "每页条数调小"),
        (b'{"a":' * 200 + b"1" + b"}" * 200, "嵌套"),
        (b'{"a":' * 100_000, "JSON"),
        (b'{"data":{"rows":[],"total":1e999999}}', "data.total"),
    ],
)
def test_an_answer_that_is_none_is_a_clear_error(body: bytes, words: str) -> None:
    with pytest.raises(ConnectorError) as caught:
        _client(lambda _: answer(body))[0].list_orders("modified", START, END, page=1, cursor="")

    assert caught.value.code == "bad_answer"
    assert words in caught.value.text


def test_no_rows_may_be_told_by_leaving_the_list_out() -> None:
    for data in ({"total": 0}, {"total": 0, "rows": None}, {"total": 0, "rows": []}):
        client, _ = _client(lambda _, data=data: _json({"data": data}))
        assert client.list_orders("modified", START, END, page=1, cursor="").rows == ()


def test_one_bad_row_leaves_its_neighbours_alone() -> None:
    rows = [Oms._row("A"), {"orderNo": {}}, Oms._row("B") | {"updateTime": "soon"}]
    client, _ = _client(lambda _: _json({"data": {"rows": rows, "total": 3}}), page_size="5")

    listed = client.list_orders("modified", START, END, page=1, cursor="").rows

    assert [row.order_no for row in listed] == ["A", "", "B"]
    assert all(row.payload is not None for row in listed)


@pytest.mark.parametrize(
    ("status", "retry", "words"),
    [
        (400, Retry.NEVER, "请求不对"),
        (401, Retry.NEVER, "认证"),
        (403, Retry.NEVER, "认证"),
        (404, Retry.NEVER, "路径"),
        (429, Retry.LATER, "限流"),
    ],
)
def test_a_refusal_says_what_may_be_done(status: int, retry: Retry, words: str) -> None:
    client, _ = _client(
        lambda _: _json({"code": 4711}, status, **{"retry-after": "30"}), code_path="code"
    )
    with pytest.raises(VendorRefusal) as caught:
        client.list_orders("modified", START, END, page=1, cursor="")

    assert (caught.value.retry, caught.value.vendor_code) == (retry, "4711")
    assert status != 429 or caught.value.pause_seconds == 30
    assert words in caught.value.text


@pytest.mark.parametrize(("status", "retry"), [(500, Retry.AMBIGUOUS), (503, Retry.LATER)])
def test_a_server_that_is_down_may_be_asked_again(status: int, retry: Retry) -> None:
    for body in (b"{}", b"<html>"):
        with pytest.raises(ConnectorError) as caught:
            _client(lambda _, b=body: answer(b, status))[0].list_orders(
                "modified", START, END, page=1, cursor=""
            )
        assert (caught.value.retry, caught.value.vendor_code) == (retry, str(status))


@pytest.mark.parametrize(
    ("told", "is_good"), [(0, True), ("0", True), (1, False), (None, False), ({}, False)]
)
def test_a_failure_inside_http_200_is_a_failure(told: Any, is_good: bool) -> None:
    client, _ = _client(
        lambda _: _json({"code": told, "data": {"rows": [], "total": 0}}),
        ok_path="code",
        ok_value="0",
    )
    if is_good:
        client.list_orders("modified", START, END, page=1, cursor="")
        return
    with pytest.raises(VendorRefusal):
        client.list_orders("modified", START, END, page=1, cursor="")


def test_flags_of_success_may_be_true() -> None:
    client, _ = _client(
        lambda _: _json({"success": True, "data": {"rows": [], "total": 0}}),
        ok_path="success",
        ok_value="True",
    )
    assert client.list_orders("modified", START, END, page=1, cursor="").total == 0


def test_a_form_with_gaps_makes_no_call() -> None:
    client, wire = _client(Oms(), order_no_path="")

    with pytest.raises(ConnectorError) as caught:
        client.list_orders("modified", START, END, page=1, cursor="")

    assert caught.value.code == "bad_spec"
    assert "「订单号」" in caught.value.text
    assert wire.calls == []
    with pytest.raises(ConnectorError):
        _client(Oms(), page_size="x")


# -- the form's own call -----------------------------------------------------------------------


def test_a_test_call_shows_the_answer_masked_and_proposes_fields() -> None:
    row = Oms._row("SO1") | {"receiverName": "王小明", "phone": "13800001234"}
    wire = Wire(lambda _: _json({"code": 0, "data": {"rows": [row], "total": 1}}))
    client = OmsClient(
        make_access(wire, now=NOW, config={"list_path": "/api/orders"}, secrets={}, base_url=BASE)
    )

    shown = client.test_call(NOW)

    assert (shown.status, shown.rows, shown.trouble) == (200, 1, None)
    assert "王小明" not in shown.body
    assert "13800001234" not in shown.body
    assert '"orderNo": "SO1"' in shown.body
    assert shown.guesses is not None
    assert shown.guesses["rows_path"] == "data.rows"
    assert [f.path for f in shown.row_fields] == ["orderNo", "recvTime", "receiverName", "phone"]
    assert "data.rows[0].orderNo" in [f.path for f in shown.fields]


@pytest.mark.parametrize(
    ("response", "words"),
    [
        (_json({"code": 40100, "message": "认证失败"}, 401), "认证"),
        (answer("<html>请先登录 13800001234</html>".encode()), "JSON"),
        (_json({"data": 5}), "data.rows"),
    ],
)
def test_a_test_call_shows_also_what_went_wrong(response: Response, words: str) -> None:
    shown = _client(lambda _: response)[0].test_call(NOW)

    assert shown.trouble is not None
    assert words in str(shown.trouble)
    assert shown.body
    assert "13800001234" not in shown.body


def test_a_test_call_needs_an_address() -> None:
    with pytest.raises(ConnectorError) as caught:
        _client(Oms(), list_path="")[0].test_call(NOW)

    assert "「订单列表的路径」" in caught.value.text


def test_checking_reads_the_first_page() -> None:
    client, wire = _client(Oms())

    assert "2 条" in str(client.check())
    assert len(wire.calls) == 1


# -- one order ---------------------------------------------------------------------------------

DETAIL = {"detail_path": "/api/orders/{order_no}", "detail_row_path": "data"}


def test_a_single_order_is_read_by_its_number() -> None:
    client, wire = _client(lambda _: _json({"data": Oms._row("A/1")}), **DETAIL)

    envelope = client.read_order("A/1")

    assert envelope is not None
    assert wire.calls[0].url == BASE + "/api/orders/A%2F1"
    assert wire.calls[0].order_nos == ("A/1",)
    assert GENERIC_OMS.map_order is not None
    assert GENERIC_OMS.map_order(envelope, shop="", stages=None).record.order_no == "A/1"


def test_an_order_the_oms_does_not_have_is_none() -> None:
    for response in (_json({}, 404), _json({"data": None}), _json({"x": 1}), _json({"data": []})):
        assert _client(lambda _, r=response: r, **DETAIL)[0].read_order("A") is None


@pytest.mark.parametrize("data", [Oms._row("B"), 5, {"orderNo": None}])
def test_an_answer_about_another_order_is_not_believed(data: Any) -> None:
    with pytest.raises(ConnectorError) as caught:
        _client(lambda _: _json({"data": data}), **DETAIL)[0].read_order("A")

    assert caught.value.code == "bad_answer"


def test_without_a_path_a_single_order_cannot_be_asked() -> None:
    with pytest.raises(ConnectorError) as caught:
        _client(Oms())[0].read_order("A")
    assert caught.value.code == "no_detail"
    with pytest.raises(ConnectorError):
        _client(Oms(), **DETAIL)[0].read_order("..")


# -- holding -----------------------------------------------------------------------------------

HOLD = {
    "hold_path": "/api/orders/{order_no}/hold",
    "hold_body": '{"reason": "{reason}", "id": "{key}"}',
    "release_path": "/api/release",
    "release_method": "PUT",
    "release_body": '{"no": "{order_no}"}',
}


def test_holding_and_releasing_follow_the_templates() -> None:
    client, wire = _client(lambda _: _json({"code": 0}), **HOLD)

    client.hold("A/1", reason='健康分 "42"', key="hold:1")
    client.release("A/1", reason="", key="release:1")

    hold, release = wire.calls
    assert (hold.method, hold.url) == ("POST", BASE + "/api/orders/A%2F1/hold")
    assert json.loads(hold.body or b"") == {"reason": '健康分 "42"', "id": "hold:1"}
    assert (hold.is_effect, hold.key, hold.order_nos) == (True, "hold:1", ("A/1",))
    assert (release.method, json.loads(release.body or b"")) == ("PUT", {"no": "A/1"})


def test_an_empty_answer_to_a_hold_is_a_success_and_a_conflict_a_refusal() -> None:
    _client(lambda _: answer(b"", 204), **HOLD)[0].hold("A", reason="", key="k")

    with pytest.raises(VendorRefusal) as caught:
        _client(lambda _: _json({"code": 40901}, 409), code_path="code", **HOLD)[0].hold(
            "A", reason="", key="k"
        )
    assert (caught.value.retry, caught.value.vendor_code) == (Retry.NEVER, "40901")
    with pytest.raises(ConnectorError):
        _client(lambda _: answer(b"", 204), ok_path="code", ok_value="0", **HOLD)[0].hold(
            "A", reason="", key="k"
        )


def test_without_a_template_nothing_is_held() -> None:
    client, wire = _client(Oms())

    with pytest.raises(VendorRefusal) as caught:
        client.hold("A", reason="", key="k")

    assert "没有填写挂起接口" in caught.value.text
    assert wire.calls == []
