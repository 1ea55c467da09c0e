"""Calls to TOP: signed as channels.md says, read without a crash, refused with the right class."""

from __future__ import annotations

import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest

from config.errors import BadInput
from connectors.adapters import Lister, Messages, TokenKeeper, VendorRefusal
from connectors.channels.tmall.client import TmallClient
from connectors.channels.tmall.connector import CONNECTOR
from connectors.channels.tmall.lists import DETAIL_FIELDS, OAID_FIELDS, TOPICS
from connectors.http import ConnectorError, Response, Retry
from connectors.wire import SHANGHAI, PayloadError
from tests.connectors.channels.gateways import GARBAGE, NOW, Gateway, reply

CONFIG = {"app_key": "10000001"}
SECRETS = {
    "app_secret": "demo-top-secret",
    "access_token": "sess-demo-1",
    "refresh_token": "refresh-demo-1",
}
START, END = NOW - timedelta(minutes=15), NOW
GOLDENS = sorted((Path(__file__).parents[2] / "payloads" / "tmall").glob("*.json"))


def _client(*answers: Response, **config: str) -> tuple[TmallClient, Gateway]:
    gateway = Gateway(list(answers))
    return TmallClient(gateway.access(config=CONFIG | config, secrets=SECRETS)), gateway


def _refusal(code: int, sub_code: str = "", sub_msg: str = "") -> Response:
    return reply({"error_response": {"code": code, "msg": "m", "sub_code": sub_code,
                                     "sub_msg": sub_msg, "request_id": "r"}})  # fmt: skip


def _modified(**content: Any) -> Response:
    return reply({"trades_sold_increment_get_response": content})


def _form(gateway: Gateway, index: int = -1) -> dict[str, str]:
    """The form of a call, once its signature was computed anew from channels.md 3.1."""
    call = gateway.calls[index]
    assert call.method == "POST"
    assert call.url == "https://gateway.example/router/rest"
    assert call.headers["Content-Type"].startswith("application/x-www-form-urlencoded")
    form = dict(parse_qsl((call.body or b"").decode(), strict_parsing=True))
    signed = {name: value for name, value in form.items() if name != "sign" and value}
    text = "".join(name + signed[name] for name in sorted(signed))
    key = SECRETS["app_secret"].encode()
    assert form["sign"] == hmac.new(key, text.encode(), hashlib.sha256).hexdigest().upper()
    assert (form["app_key"], form["v"], form["format"]) == ("10000001", "2.0", "json")
    assert form["timestamp"] == "2025-11-11 00:15:00"
    assert call.operation == form["method"]
    return form


# -- lists -----------------------------------------------------------------------------------------


def test_count_asks_for_the_total_of_the_window_in_beijing_time() -> None:
    client, gateway = _client(_modified(total_results=120))

    assert client.count_orders("modified", START, END) == 120

    form = _form(gateway)
    assert form["method"] == "taobao.trades.sold.increment.get"
    assert form["use_has_next"] == "false"
    assert (form["start_modified"], form["end_modified"]) == (
        "2025-11-11 00:00:00",
        "2025-11-11 00:15:00",
    )
    assert form["session"] == "sess-demo-1"


def test_page_asks_few_fields_of_every_kind_of_trade_and_no_total() -> None:
    client, gateway = _client(_modified(has_next=True, trades={"trade": [
        {"tid": 2890000000000000001, "status": "WAIT_SELLER_SEND_GOODS",
         "modified": "2025-11-11 00:14:59"},
    ]}))  # fmt: skip

    listed = client.list_orders("modified", START, END, page=3, cursor="")

    [row] = listed.rows
    assert (row.order_no, row.payload, listed.total, listed.has_more) == (
        "2890000000000000001", None, None, True,
    )  # fmt: skip
    assert row.updated_at == datetime(2025, 11, 11, 0, 14, 59, tzinfo=SHANGHAI)
    form = _form(gateway)
    assert (form["page_no"], form["page_size"], form["use_has_next"]) == ("3", "50", "true")
    assert form["fields"] == "tid,status,modified"
    assert {"eticket", "tmall_i18n", "nopaid", "o2o_offlinetrade", "ec"} <= set(
        form["type"].split(",")
    )


def test_sweep_lists_by_time_of_creation() -> None:
    client, gateway = _client(reply({"trades_sold_get_response": {"has_next": False}}))

    listed = client.list_orders("created", START, END, page=1, cursor="")

    form = _form(gateway)
    assert form["method"] == "taobao.trades.sold.get"
    assert (form["start_created"], form["end_created"]) == (
        "2025-11-11 00:00:00",
        "2025-11-11 00:15:00",
    )
    assert (listed.rows, listed.has_more) == ((), False)


@pytest.mark.parametrize(
    "trades", [[{"tid": 1}, {"tid_str": "2"}], {"trade": [{"tid": 1}, {"tid": 2}]}]
)
def test_both_spellings_of_a_list_are_read(trades: Any) -> None:
    client, _ = _client(_modified(has_next=False, trades=trades))

    listed = client.list_orders("modified", START, END, page=1, cursor="")

    assert [row.order_no for row in listed.rows] == ["1", "2"]


def test_row_without_a_readable_number_comes_with_its_content_and_stops_no_other() -> None:
    bad = {"tid": {"x": 1}, "status": "?"}
    client, _ = _client(
        _modified(has_next=False, trades={"trade": [bad, {"tid": 7, "modified": 9}]})
    )

    first, second = client.list_orders("modified", START, END, page=1, cursor="").rows

    assert (first.order_no, first.payload) == ("", bad)
    assert (second.order_no, second.updated_at, second.payload) == ("7", None, None)


def test_answer_without_rows_and_without_a_word_of_them_is_no_empty_list() -> None:
    client, _ = _client(_modified(request_id="r"))

    with pytest.raises(PayloadError) as caught:
        client.list_orders("modified", START, END, page=1, cursor="")

    assert caught.value.params["field"].endswith("has_next")


@pytest.mark.parametrize("total", [-1, None, "many", 1.5])
def test_unreadable_total_is_an_error(total: Any) -> None:
    client, _ = _client(_modified(total_results=total))

    with pytest.raises(PayloadError):
        client.count_orders("modified", START, END)


# -- details ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "number", [{"tid": 2890000000000000001}, {"tid_str": "2890000000000000001"}]
)
def test_detail_asks_for_every_field_and_gives_the_trade(number: dict[str, Any]) -> None:
    trade = {**number, "status": "TRADE_FINISHED"}
    client, gateway = _client(reply({"trade_fullinfo_get_response": {"trade": trade}}))

    assert client.read_order("2890000000000000001") == trade

    form = _form(gateway)
    assert form["tid"] == "2890000000000000001"
    assert set(form["fields"].split(",")) == set(DETAIL_FIELDS)
    assert set(OAID_FIELDS) | {"oaid"} <= set(DETAIL_FIELDS)
    assert form["include_oaid"] == "false"
    assert gateway.calls[0].order_nos == ("2890000000000000001",)
    assert not gateway.calls[0].is_effect


def test_every_field_of_a_golden_trade_is_asked_for() -> None:
    told: set[str] = set()
    for path in GOLDENS:
        value = json.loads(path.read_text())
        if ".expected" not in path.name:
            value = value.get("trade_fullinfo_get_response", value)
            told |= set(value.get("trade", value))

    assert len(told) > 50
    assert told - set(DETAIL_FIELDS) == set()


def test_trade_that_does_not_exist_is_none() -> None:
    client, _ = _client(_refusal(15, "isv.trade-not-exist"))

    assert client.read_order("2890000000000000001") is None


def test_trade_of_another_number_is_refused() -> None:
    client, _ = _client(reply({"trade_fullinfo_get_response": {"trade": {"tid": 8}}}))

    with pytest.raises(ConnectorError) as caught:
        client.read_order("9")

    assert (caught.value.code, caught.value.retry) == ("wrong_order", Retry.SAFE)


@pytest.mark.parametrize("answer", [{}, {"trade": []}, {"trade": {"status": "x"}}, {"trade": None}])
def test_detail_without_a_trade_is_an_error(answer: Any) -> None:
    client, _ = _client(reply({"trade_fullinfo_get_response": answer}))

    with pytest.raises(PayloadError):
        client.read_order("9")


# -- refusals --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "sub_code", "retry", "flag"),
    [
        (7, "accesscontrol.limited-by-api-access-count", Retry.LATER, ""),
        (7, "accesscontrol.limited-by-app-access-count", Retry.LATER, "wait_for_quota"),
        (10, "", Retry.SAFE, ""),
        (11, "", Retry.NEVER, ""),
        (15, "isp.remote-service-timeout", Retry.SAFE, ""),
        (15, "isv.invalid-parameter", Retry.NEVER, ""),
        (25, "isv.invalid-signature", Retry.NEVER, ""),
        (26, "", Retry.SAFE, "refresh_token"),
        (27, "invalid-sessionkey", Retry.SAFE, "refresh_token"),
        (31, "", Retry.NEVER, "resync_clock"),
        (9999, "", Retry.NEVER, ""),
    ],
)
def test_refusal_has_its_class(code: int, sub_code: str, retry: Retry, flag: str) -> None:
    client, _ = _client(_refusal(code, sub_code))

    with pytest.raises(VendorRefusal) as caught:
        client.count_orders("modified", START, END)

    fault = caught.value.fault
    assert caught.value.retry is retry
    assert caught.value.vendor_code == f"{code} {sub_code}".strip()
    assert [
        name for name in ("refresh_token", "resync_clock", "wait_for_quota") if getattr(fault, name)
    ] == ([flag] if flag else [])


def test_ban_tells_how_long_to_wait() -> None:
    client, _ = _client(_refusal(7, "x", "This ban will last for 3 more seconds"))

    with pytest.raises(VendorRefusal) as caught:
        client.count_orders("modified", START, END)

    assert caught.value.pause_seconds == 3


@pytest.mark.parametrize("status", [200, 400, 500])
def test_refusal_counts_whatever_the_status(status: int) -> None:
    body = json.dumps({"error_response": {"code": 27, "msg": "Invalid session"}}).encode()
    client, _ = _client(reply(body, status))

    with pytest.raises(VendorRefusal):
        client.check()


@pytest.mark.parametrize("body", GARBAGE)
@pytest.mark.parametrize("status", [200, 302, 502, 503])
def test_garbage_is_an_error_of_ours_and_never_an_empty_list(body: bytes, status: int) -> None:
    client, _ = _client(reply(body, status))

    for ask in (
        lambda: client.count_orders("modified", START, END),
        lambda: client.list_orders("created", START, END, page=1, cursor=""),
        lambda: client.read_order("1"),
        lambda: client.consume(100),
        client.refresh_tokens,
        client.check,
    ):
        with pytest.raises((ConnectorError, PayloadError)):
            ask()


@pytest.mark.parametrize(
    ("status", "retry"), [(500, Retry.AMBIGUOUS), (503, Retry.LATER), (302, Retry.NEVER)]
)
def test_page_of_a_broken_gateway_has_the_class_of_its_status(status: int, retry: Retry) -> None:
    client, _ = _client(reply(b"<html>", status))

    with pytest.raises(ConnectorError) as caught:
        client.check()

    code = "redirect" if status == 302 else "http_status"
    assert (caught.value.code, caught.value.retry) == (code, retry)


@pytest.mark.parametrize("missing", ["app_secret", "access_token"])
def test_missing_secret_is_named(missing: str) -> None:
    gateway = Gateway([_modified(total_results=0)])
    secrets = {name: value for name, value in SECRETS.items() if name != missing}

    with pytest.raises(ConnectorError) as caught:
        TmallClient(gateway.access(config=CONFIG, secrets=secrets)).check()

    assert caught.value.code == "not_configured"
    assert gateway.calls == []


# -- messages --------------------------------------------------------------------------------------


def _message(number: int, seller: str, tid: int) -> dict[str, Any]:
    return {
        "id": number,
        "topic": "taobao_trade_TradeBuyerPay",
        "user_nick": seller,
        "pub_time": "2025-11-11 00:15:01",
        "content": json.dumps({"tid": tid}),
    }


def _messages(*messages: dict[str, Any]) -> Response:
    return reply({"tmc_messages_consume_response": {"messages": {"tmc_message": list(messages)}}})


def test_messages_are_consumed_for_the_application_not_for_a_session() -> None:
    client, gateway = _client(_messages(_message(41, "甲店", 2890000000000000001)))

    [message] = client.consume(5)

    assert (message.message_id, message.order_no) == ("41", "2890000000000000001")
    assert message.replay_key == "tmall:tmc:41"
    assert message.payload == {"tid": 2890000000000000001}
    form = _form(gateway)
    assert form["quantity"] == "10"  # TOP's least
    assert {"session", "group_name"} & set(form) == set()


def test_messages_of_another_seller_are_left_in_the_queue() -> None:
    client, gateway = _client(
        _messages(_message(1, "甲店", 1), _message(2, "乙店", 2)),
        seller_nick="乙店",
        group_name="g1",
    )

    assert [message.message_id for message in client.consume(999)] == ["2"]
    form = _form(gateway)
    assert (form["quantity"], form["group_name"]) == ("200", "g1")


def test_empty_queue_is_an_empty_list() -> None:
    client, _ = _client(reply({"tmc_messages_consume_response": {"request_id": "r"}}))

    assert list(client.consume(100)) == []


def test_confirming_takes_two_hundred_at_a_time() -> None:
    client, gateway = _client(reply({"tmc_messages_confirm_response": {"is_success": True}}))

    client.confirm([str(number) for number in range(401)])

    sent = [_form(gateway, index)["s_message_ids"].split(",") for index in range(3)]
    assert [len(part) for part in sent] == [200, 200, 1]
    assert [number for part in sent for number in part] == [str(n) for n in range(401)]


def test_nothing_to_confirm_is_no_call() -> None:
    client, gateway = _client(reply({}))

    client.confirm([])

    assert gateway.calls == []


def test_confirmation_that_was_not_taken_is_repeated() -> None:
    client, _ = _client(reply({"tmc_messages_confirm_response": {"is_success": False}}))

    with pytest.raises(ConnectorError) as caught:
        client.confirm(["1"])

    assert caught.value.retry is Retry.SAFE


def test_permission_names_every_topic() -> None:
    client, gateway = _client(reply({"tmc_user_permit_response": {"is_success": True}}))

    client.permit()

    form = _form(gateway)
    assert form["topics"].split(",") == list(TOPICS)
    assert form["session"] == "sess-demo-1"


# -- tokens ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_text", [True, False])
def test_refreshing_reads_how_long_the_new_tokens_live(is_text: bool) -> None:
    result: Any = {
        "access_token": "new-session",
        "refresh_token": "new-refresh",
        "expires_in": 86400,
        "re_expires_in": "172800",
    }
    content = {"token_result": json.dumps(result) if is_text else result}
    client, gateway = _client(reply({"top_auth_token_refresh_response": content}))

    tokens = client.refresh_tokens()

    assert (tokens.access_token, tokens.refresh_token) == ("new-session", "new-refresh")
    assert tokens.expires_at == NOW + timedelta(days=1)
    assert tokens.refresh_expires_at == NOW + timedelta(days=2)
    form = _form(gateway)
    assert (form["method"], form["refresh_token"]) == (
        "taobao.top.auth.token.refresh",
        "refresh-demo-1",
    )
    assert "session" not in form


def test_end_that_is_not_told_is_not_known() -> None:
    result = json.dumps({"access_token": "s", "re_expires_in": 0})
    client, _ = _client(reply({"top_auth_token_refresh_response": {"token_result": result}}))

    tokens = client.refresh_tokens()

    assert (tokens.expires_at, tokens.refresh_expires_at) == (None, None)
    assert tokens.refresh_token == "refresh-demo-1"


@pytest.mark.parametrize(
    ("code", "sub_code"), [(27, "invalid-sessionkey"), (15, "isv.invalid-grant")]
)
def test_refused_refresh_is_for_a_person(code: int, sub_code: str) -> None:
    client, _ = _client(_refusal(code, sub_code))

    with pytest.raises(VendorRefusal) as caught:
        client.refresh_tokens()

    assert caught.value.retry is Retry.NEVER
    assert not caught.value.fault.refresh_token


# -- memos -----------------------------------------------------------------------------------------


def test_memo_is_an_effect_with_its_key() -> None:
    client, gateway = _client(reply({"trade_memo_update_response": {"trade": {"tid": 9}}}))

    client.write_memo("9", "河道：缺货", 1, "repair-7")

    form = _form(gateway)
    assert (form["tid"], form["memo"], form["flag"]) == ("9", "河道：缺货", "1")
    assert "reset" not in form
    call = gateway.calls[0]
    assert (call.is_effect, call.key, call.order_nos) == (True, "repair-7", ("9",))


def test_empty_memo_clears_the_old_one() -> None:
    client, gateway = _client(reply({"trade_memo_update_response": {}}))

    client.write_memo("9", "", 0, "k")

    assert _form(gateway)["reset"] == "true"


@pytest.mark.parametrize(("text", "flag"), [("字" * 334, 1), ("x", 6), ("x", -1)])
def test_memo_that_top_would_refuse_is_not_sent(text: str, flag: int) -> None:
    client, gateway = _client(reply({}))

    with pytest.raises(BadInput):
        client.write_memo("9", text, flag, "k")

    assert gateway.calls == []


# -- the adapter -----------------------------------------------------------------------------------


def test_client_has_the_capabilities_of_its_channel() -> None:
    client, _ = _client(reply({}))

    assert isinstance(client, Lister)
    assert isinstance(client, Messages)
    assert isinstance(client, TokenKeeper)
    assert set(CONNECTOR.streams) == {"modified", "created"}


def test_checking_says_what_was_found() -> None:
    client, _ = _client(_modified(total_results=12))

    assert "12" in client.check()


def test_connector_maps_with_the_business_table_or_the_shipped_one() -> None:
    assert CONNECTOR.map_order is not None
    trade = json.loads((GOLDENS[0].parent / "paid.json").read_text())

    shipped = CONNECTOR.map_order(trade, shop="甲店", stages=None).record
    mapped = CONNECTOR.map_order(
        trade, shop="甲店", stages={"WAIT_SELLER_SEND_GOODS": "shipped"}
    ).record

    assert (shipped.stage, mapped.stage) == ("await_ship", "shipped")  # type: ignore[union-attr]


def test_moments_of_windows_are_whole_seconds_in_any_zone() -> None:
    client, gateway = _client(_modified(total_results=0))

    client.count_orders("modified", START.astimezone(UTC), END.astimezone(SHANGHAI))

    assert _form(gateway)["end_modified"] == "2025-11-11 00:15:00"


@pytest.mark.parametrize("nick", ["云裳旗舰店", "%E4%BA%91%E8%A3%B3%E6%97%97%E8%88%B0%E5%BA%97"])
def test_a_code_gives_the_session_and_tells_whose_it_is(nick: str) -> None:
    told = {
        "access_token": "new-session", "refresh_token": "new-refresh", "expires_in": 86400,
        "re_expires_in": 0, "taobao_user_id": 2200000001, "taobao_user_nick": nick,
    }  # fmt: skip
    answer = {"top_auth_token_create_response": {"token_result": json.dumps(told)}}
    client, gateway = _client(reply(answer))

    grant = client.create_tokens("code-1")

    assert (grant.shop_id, grant.shop_name) == ("2200000001", "云裳旗舰店")
    assert grant.tokens.expires_at == NOW + timedelta(days=1)
    assert grant.tokens.refresh_expires_at is None
    form = _form(gateway)
    assert (form["method"], form["code"]) == ("taobao.top.auth.token.create", "code-1")
    assert "session" not in form
