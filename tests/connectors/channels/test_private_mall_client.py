"""Calls to the own mall: signed as FORMAT.md says, read without a crash, refused with their class."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from config.errors import BadInput
from connectors.adapters import Lister, Outgoing, VendorRefusal
from connectors.channels.private_mall.client import PrivateMallClient
from connectors.channels.private_mall.connector import CONNECTOR
from connectors.http import ConnectorError, Response, Retry
from connectors.wire import SHANGHAI, PayloadError
from tests.connectors.channels.gateways import GARBAGE, NOW, Gateway, reply

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
START, END = NOW - timedelta(minutes=15), NOW
GOLDENS = Path(__file__).parents[2] / "payloads" / "private_mall"


def _client(*answers: Response, secret: str = SECRET) -> tuple[PrivateMallClient, Gateway]:
    gateway = Gateway(list(answers))
    access = gateway.access(
        config={}, secrets={"secret": secret}, base_url="https://mall.example/api"
    )
    return PrivateMallClient(access, nonce=lambda: "n1"), gateway


def _check_signature(call: Outgoing) -> None:
    """The signature of a call, computed anew from FORMAT.md 3."""
    target = call.url.removeprefix("https://mall.example")
    stamp = str(int(NOW.timestamp()))
    text = f"n1.{stamp}.{call.method}.{target}.".encode() + (call.body or b"")
    sign = hmac.new(bytes(range(32)), text, hashlib.sha256).digest()
    assert call.headers == {
        "webhook-id": "n1",
        "webhook-timestamp": stamp,
        "webhook-signature": "v1," + base64.b64encode(sign).decode(),
    }


def _error(code: str, status: int) -> Response:
    return reply({"error": {"code": code, "message": "m"}}, status)


def _order(number: Any = "M1", **fields: Any) -> dict[str, Any]:
    return {"order_no": number, "updated_at": "2025-11-11T00:14:00+08:00", **fields}


# -- lists -----------------------------------------------------------------------------------------


def test_window_includes_the_second_of_its_end_and_is_told_with_its_zone() -> None:
    client, gateway = _client(reply({"orders": [_order()], "next_cursor": "c2"}))

    listed = client.list_orders("modified", START, END, page=1, cursor="")

    [call] = gateway.calls
    _check_signature(call)
    address = urlsplit(call.url)
    assert (call.method, address.path) == ("GET", "/api/orders")
    assert parse_qs(address.query) == {
        "updated_from": ["2025-11-11T00:00:00+08:00"],
        "updated_to": ["2025-11-11T00:15:01+08:00"],
        "limit": ["100"],
    }
    [row] = listed.rows
    assert (row.order_no, row.payload, listed.next_cursor) == ("M1", _order(), "c2")
    assert row.updated_at == datetime(2025, 11, 11, 0, 14, tzinfo=SHANGHAI)


def test_next_page_is_asked_by_its_cursor() -> None:
    client, gateway = _client(reply({"orders": []}))

    listed = client.list_orders("modified", START, END, page=2, cursor="a+b/=&c")

    _check_signature(gateway.calls[0])
    assert parse_qs(urlsplit(gateway.calls[0].url).query)["cursor"] == ["a+b/=&c"]
    assert (listed.rows, listed.next_cursor) == ((), "")


def test_row_without_a_readable_number_comes_with_its_content_and_stops_no_other() -> None:
    client, _ = _client(reply({"orders": [_order({}), _order("M2", updated_at="soon")]}))

    first, second = client.list_orders("modified", START, END, page=1, cursor="").rows

    assert (first.order_no, first.payload) == ("", _order({}))
    assert (second.order_no, second.updated_at) == ("M2", None)


@pytest.mark.parametrize("answer", [{}, {"orders": None}, {"orders": {}}, {"orders": [5]}])
def test_answer_without_a_list_is_no_empty_list(answer: Any) -> None:
    client, _ = _client(reply(answer))

    with pytest.raises(PayloadError):
        client.list_orders("modified", START, END, page=1, cursor="")


# -- single orders ---------------------------------------------------------------------------------


def test_order_is_asked_by_its_number_in_the_path() -> None:
    client, gateway = _client(reply(_order("M 1/甲")))

    assert client.read_order("M 1/甲") == _order("M 1/甲")

    [call] = gateway.calls
    _check_signature(call)
    assert call.url == "https://mall.example/api/orders/M%201%2F%E7%94%B2"
    assert call.order_nos == ("M 1/甲",)


def test_order_that_is_not_there_is_none() -> None:
    client, _ = _client(_error("not_found", 404))

    assert client.read_order("M1") is None


def test_page_that_is_not_there_is_an_error_not_a_missing_order() -> None:
    client, _ = _client(reply(b"<html>404</html>", 404))

    with pytest.raises(ConnectorError) as caught:
        client.read_order("M1")

    assert (caught.value.code, caught.value.retry) == ("http_status", Retry.NEVER)


@pytest.mark.parametrize("answer", [_order("M2"), {"order_no": None}, {}])
def test_another_order_is_refused(answer: Any) -> None:
    client, _ = _client(reply(answer))

    with pytest.raises((ConnectorError, PayloadError)):
        client.read_order("M1")


# -- payment sync ----------------------------------------------------------------------------------


@pytest.mark.parametrize("result", ["paid", "unchanged", "unpaid"])
def test_sync_of_a_payment_is_a_repeatable_effect_with_its_key(result: str) -> None:
    client, gateway = _client(reply({"result": result, "order": _order()}))

    synced = client.sync_payment("M1", key="repair-1")

    assert (synced.result, synced.order) == (result, _order())
    [call] = gateway.calls
    _check_signature(call)
    assert (call.method, call.url) == (
        "POST",
        "https://mall.example/api/orders/M1/sync_payment",
    )
    assert (call.is_effect, call.key, call.order_nos) == (True, "repair-1", ("M1",))


@pytest.mark.parametrize(
    "answer",
    [
        {"result": "maybe", "order": _order()},
        {"result": "paid"},
        {"order": _order()},
        {"result": "paid", "order": _order("M2")},
    ],
)
def test_sync_that_is_answered_otherwise_is_an_error(answer: Any) -> None:
    client, _ = _client(reply(answer))

    with pytest.raises((ConnectorError, PayloadError)):
        client.sync_payment("M1", key="k")


def test_mall_without_the_call_refuses_it() -> None:
    client, _ = _client(_error("not_found", 404))

    with pytest.raises(VendorRefusal) as caught:
        client.sync_payment("M1", key="k")

    assert caught.value.vendor_code == "not_found"


# -- refusals --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "status", "retry"),
    [
        ("bad_signature", 401, Retry.NEVER),
        ("bad_timestamp", 401, Retry.NEVER),
        ("bad_request", 400, Retry.NEVER),
        ("forbidden", 403, Retry.NEVER),
        ("rate_limited", 429, Retry.LATER),
        ("quota_exceeded", 429, Retry.LATER),
        ("busy", 503, Retry.SAFE),
        ("internal", 500, Retry.SAFE),
        ("never_seen", 400, Retry.NEVER),
    ],
)
def test_refusal_has_its_class(code: str, status: int, retry: Retry) -> None:
    client, _ = _client(_error(code, status))

    with pytest.raises(VendorRefusal) as caught:
        client.list_orders("modified", START, END, page=1, cursor="")

    assert (caught.value.retry, caught.value.vendor_code) == (retry, code)


@pytest.mark.parametrize(("told", "pause"), [("7", 7), ("", None), ("soon", None), ("-1", None)])
def test_mall_may_tell_how_long_to_wait(told: str, pause: int | None) -> None:
    body = _error("rate_limited", 429).body
    client, _ = _client(Response(status=429, headers={"retry-after": told}, body=body))

    with pytest.raises(VendorRefusal) as caught:
        client.check()

    assert caught.value.pause_seconds == pause


@pytest.mark.parametrize("body", GARBAGE)
@pytest.mark.parametrize(
    ("status", "retry"),
    [(302, Retry.NEVER), (404, Retry.NEVER), (502, Retry.AMBIGUOUS), (503, Retry.LATER)],
)
def test_broken_status_has_its_class_whatever_the_body(
    body: bytes, status: int, retry: Retry
) -> None:
    client, _ = _client(reply(body, status))

    for ask in (client.check, lambda: client.read_order("M1")):
        with pytest.raises(ConnectorError) as caught:
            ask()
        code = "redirect" if status == 302 else "http_status"
        assert (caught.value.code, caught.value.retry) == (code, retry)


@pytest.mark.parametrize("body", GARBAGE)
def test_garbage_is_an_error_of_ours_and_never_an_empty_list(body: bytes) -> None:
    client, _ = _client(reply(body))

    for ask in (
        client.check,
        lambda: client.list_orders("modified", START, END, page=1, cursor=""),
        lambda: client.read_order("M1"),
        lambda: client.sync_payment("M1", key="k"),
    ):
        with pytest.raises((ConnectorError, PayloadError)):
            ask()


@pytest.mark.parametrize(
    "secret", ["", "plain", "whsec_!!", "whsec_" + base64.b64encode(b"x").decode()]
)
def test_weak_or_missing_secret_signs_nothing(secret: str) -> None:
    client, gateway = _client(reply({"orders": []}), secret=secret)

    with pytest.raises((BadInput, ConnectorError)):
        client.check()

    assert gateway.calls == []


# -- the adapter -----------------------------------------------------------------------------------


def test_every_call_has_a_nonce_of_its_own() -> None:
    gateway = Gateway([reply({"orders": []})])
    client = CONNECTOR.open(gateway.access(config={}, secrets={"secret": SECRET}))

    client.check()
    client.check()

    nonces = [call.headers["webhook-id"] for call in gateway.calls]
    assert len(set(nonces)) == 2
    assert not any("." in nonce for nonce in nonces)


def test_client_is_a_lister_and_says_whether_anything_changed() -> None:
    quiet, _ = _client(reply({"orders": []}))
    busy, _ = _client(reply({"orders": [_order()], "next_cursor": "x"}))

    assert isinstance(quiet, Lister)
    assert quiet.check() != busy.check()


def test_connector_maps_a_golden_order() -> None:
    assert CONNECTOR.map_order is not None
    payload = json.loads((GOLDENS / "paid.json").read_text())["payload"]

    record: Any = CONNECTOR.map_order(payload, shop="甲店", stages=None).record

    assert (record.channel, record.shop, record.stage) == ("private_mall", "甲店", "await_ship")
