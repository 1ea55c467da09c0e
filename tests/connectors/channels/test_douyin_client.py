"""Calls to Douyin: signed as channels.md says, read without a crash, refused with the right class."""

from __future__ import annotations

import hashlib
import hmac
import json
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from connectors.adapters import Lister, Paging, TokenKeeper, VendorRefusal
from connectors.channels.douyin.client import IN_REVIEW, DouyinClient
from connectors.channels.douyin.connector import CONNECTOR
from connectors.channels.douyin.lists import MODIFIED
from connectors.http import ConnectorError, Response, Retry
from connectors.wire import PayloadError
from tests.connectors.channels.gateways import GARBAGE, NOW, Gateway, reply

CONFIG = {"app_key": "7000000000000000001"}
SECRETS = {"app_secret": "dd-demo-secret", "access_token": "acc-1", "refresh_token": "ref-1"}
START, END = NOW - timedelta(minutes=15), NOW
NUMBER = "4500000000000000001"
GOLDENS = Path(__file__).parents[2] / "payloads" / "douyin"


def _client(*answers: Response) -> tuple[DouyinClient, Gateway]:
    gateway = Gateway(list(answers))
    return DouyinClient(gateway.access(config=CONFIG, secrets=SECRETS)), gateway


def _data(**data: Any) -> Response:
    return reply({"code": 10000, "msg": "success", "sub_code": "", "data": data, "log_id": "x"})


def _orders(*orders: Any, total: int | None = None) -> Response:
    return _data(
        shop_order_list=list(orders),
        total=len(orders) if total is None else total,
        page=0,
        size=100,
    )


def _order(number: Any = NUMBER, **fields: Any) -> dict[str, Any]:
    return {"order_id": number, "order_status": 2, "update_time": 1762791000, **fields}


def _body(gateway: Gateway, index: int = -1, *, method: str = "order.searchList") -> Any:
    """The body of a call, once its signature was computed anew from channels.md 5.1."""
    call = gateway.calls[index]
    address = urlsplit(call.url)
    query = {name: values[0] for name, values in parse_qs(address.query, True).items()}
    body = (call.body or b"").decode()
    assert (call.method, call.operation, query["method"]) == ("POST", method, method)
    assert address.path == "/" + method.replace(".", "/")
    assert call.headers["x-open-no-old-err-code"] == "1"
    pattern = (
        f"app_key{query['app_key']}method{method}param_json{body}"
        f"timestamp{query['timestamp']}v{query['v']}"
    )
    secret = SECRETS["app_secret"]
    sign = hmac.new(secret.encode(), f"{secret}{pattern}{secret}".encode(), hashlib.sha256)
    assert query["sign"] == sign.hexdigest()
    assert (query["sign_method"], query["v"]) == ("hmac-sha256", "2")
    assert query["timestamp"] == str(int(NOW.timestamp()))
    value = json.loads(body)
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert body == canonical
    return value


# -- lists -----------------------------------------------------------------------------------------


def test_page_is_asked_oldest_change_first_and_carries_whole_orders() -> None:
    client, gateway = _client(_orders(_order(), total=301))

    listed = client.list_orders("modified", START, END, page=2, cursor="")

    assert _body(gateway) == {
        "update_time_start": int(START.timestamp()),
        "update_time_end": int(END.timestamp()),
        "order_by": "update_time",
        "order_asc": True,
        "page": 2,
        "size": 100,
    }
    [row] = listed.rows
    assert (row.order_no, row.payload) == (NUMBER, _order())
    assert row.updated_at is not None
    assert row.updated_at.timestamp() == 1762791000
    assert (listed.total, listed.has_more) == (301, True)


def test_sweep_is_asked_by_time_of_creation() -> None:
    client, gateway = _client(_orders(total=0))

    assert client.list_orders("created", START, END, page=0, cursor="").rows == ()

    body = _body(gateway)
    assert body["order_by"] == "create_time"
    assert {"create_time_start", "create_time_end"} <= set(body)
    assert "abnormal_order" not in body


def test_orders_in_review_have_a_list_of_their_own() -> None:
    client, gateway = _client(_orders(_order()))

    client.list_orders("review", START, END, page=0, cursor="")

    assert _body(gateway)["abnormal_order"] == 2


def test_count_reads_the_total() -> None:
    client, gateway = _client(_orders(_order(), total=1234))

    assert client.count_orders("modified", START, END) == 1234
    assert _body(gateway)["size"] == 1


def test_window_that_the_list_cannot_show_whole_is_refused() -> None:
    client, _ = _client(_orders(_order(), total=50_001))

    with pytest.raises(ConnectorError) as caught:
        client.count_orders("created", START, END)

    assert (caught.value.code, caught.value.retry) == ("window_too_deep", Retry.NEVER)


def test_modified_orders_are_read_from_the_last_page() -> None:
    assert (MODIFIED.paging, MODIFIED.first_page) == (Paging.BACKWARD, 0)


@pytest.mark.parametrize(
    ("told", "number"),
    [(4500000000000000001, NUMBER), (NUMBER, NUMBER), (NUMBER + "A", NUMBER), ({}, ""), (None, "")],
)
def test_number_is_read_in_every_form_and_an_unreadable_one_stops_no_other(
    told: Any, number: str
) -> None:
    client, _ = _client(_orders(_order(told), _order("7")))

    first, second = client.list_orders("modified", START, END, page=0, cursor="").rows

    assert (first.order_no, second.order_no) == (number, "7")
    assert first.payload == _order(told)


def test_empty_list_can_be_null_but_its_total_has_to_be_told() -> None:
    client, _ = _client(_data(shop_order_list=None, total=0))
    assert client.list_orders("modified", START, END, page=0, cursor="").rows == ()

    client, _ = _client(_data(shop_order_list=None))
    with pytest.raises(PayloadError) as caught:
        client.list_orders("modified", START, END, page=0, cursor="")

    assert caught.value.params["field"] == "data.total"


@pytest.mark.parametrize("rows", [{}, "x", [None], [[]], [5]])
def test_list_that_is_none_is_an_error(rows: Any) -> None:
    client, _ = _client(_data(shop_order_list=rows, total=1))

    with pytest.raises(PayloadError):
        client.list_orders("modified", START, END, page=0, cursor="")


# -- details ---------------------------------------------------------------------------------------


def test_detail_is_one_call_for_an_order_that_is_not_held() -> None:
    client, gateway = _client(_data(shop_order_detail=_order()))

    assert client.read_order(NUMBER) == _order()
    assert _body(gateway, method="order.orderDetail") == {"shop_order_id": NUMBER}
    assert [call.order_nos for call in gateway.calls] == [(NUMBER,)]


@pytest.mark.parametrize("is_in_review", [True, False])
def test_held_order_is_looked_up_among_those_in_review(is_in_review: bool) -> None:
    held = _order(order_status=105, create_time=1762790000)
    others = [_order("7"), _order("8")]
    client, gateway = _client(
        _data(shop_order_detail=held), _orders(*others, *([held] if is_in_review else []))
    )

    order = client.read_order(NUMBER)

    assert order == held | {IN_REVIEW: is_in_review}
    body = _body(gateway)
    assert (body["abnormal_order"], body["create_time_start"]) == (2, 1762790000)


def test_lookup_goes_on_to_the_next_page() -> None:
    held = _order(order_status=105, create_time=1762790000)
    full = [_order(str(number)) for number in range(100)]
    client, gateway = _client(
        _data(shop_order_detail=held), _orders(*full, total=101), _orders(held, total=101)
    )

    order = client.read_order(NUMBER)

    assert order is not None
    assert order[IN_REVIEW] is True
    assert _body(gateway)["page"] == 1


def test_empty_detail_is_no_order() -> None:
    client, _ = _client(_data(shop_order_detail={}))

    assert client.read_order(NUMBER) is None


@pytest.mark.parametrize(("words", "is_none"), [("订单不存在", True), ("订单已锁定", False)])
def test_business_failure_is_no_order_only_when_it_says_so(words: str, is_none: bool) -> None:
    client, _ = _client(
        reply({"code": 50002, "msg": "m", "sub_code": "isv.business-failed:2", "sub_msg": words})
    )

    if is_none:
        assert client.read_order(NUMBER) is None
    else:
        with pytest.raises(VendorRefusal):
            client.read_order(NUMBER)


def test_detail_of_another_order_is_refused() -> None:
    client, _ = _client(_data(shop_order_detail=_order("8")))

    with pytest.raises(ConnectorError) as caught:
        client.read_order(NUMBER)

    assert caught.value.code == "wrong_order"


# -- the map ---------------------------------------------------------------------------------------


def _map(payload: dict[str, Any], **hints: Any) -> Any:
    assert CONNECTOR.map_order is not None
    return CONNECTOR.map_order(payload, shop="甲店", stages=None, **hints).record


def _golden(name: str) -> dict[str, Any]:
    payload: dict[str, Any] = json.loads((GOLDENS / f"{name}.json").read_text())["payload"]
    return payload


@pytest.mark.parametrize(
    ("mark", "is_listed", "stage"),
    [
        ({}, False, "pay_processing"),
        ({}, True, "platform_hold"),
        ({IN_REVIEW: True}, False, "platform_hold"),
        ({IN_REVIEW: False}, True, "pay_processing"),
        ({IN_REVIEW: "yes"}, False, "pay_processing"),
    ],
)
def test_own_lookup_of_a_held_order_counts_more_than_the_list(
    mark: dict[str, Any], is_listed: bool, stage: str
) -> None:
    held = _golden("risk_review") | mark

    assert _map(held, in_risk_review=is_listed).stage == stage


def test_shipped_order_is_in_no_review_whatever_a_late_list_says() -> None:
    order = _map(_golden("shipped") | {IN_REVIEW: True}, in_risk_review=True)

    assert (order.stage, order.risk_state) == ("shipped", "")


# -- refusals --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "sub_code", "retry", "flag"),
    [
        (20000, "isp.service-error", Retry.SAFE, ""),
        (30001, "dop.authorization-closed", Retry.NEVER, ""),
        (30002, "", Retry.NEVER, ""),
        (40003, "isv.access-token-expired", Retry.SAFE, "refresh_token"),
        (40003, "isv.access-token-no-existed", Retry.SAFE, "refresh_token"),
        (40003, "isv.signature-invalid", Retry.NEVER, ""),
        (40003, "isv.timestamp-invalid", Retry.NEVER, "resync_clock"),
        (40004, "isv.parameter-invalid", Retry.NEVER, ""),
        (60000, "", Retry.LATER, ""),
        (90000, "", Retry.SAFE, ""),
        (12345, "", Retry.NEVER, ""),
    ],
)
@pytest.mark.parametrize("status", [200, 400])
def test_refusal_has_its_class(
    code: int, sub_code: str, retry: Retry, flag: str, status: int
) -> None:
    client, _ = _client(reply({"code": code, "msg": "m", "sub_code": sub_code}, status))

    with pytest.raises(VendorRefusal) as caught:
        client.count_orders("modified", START, END)

    assert caught.value.retry is retry
    assert caught.value.vendor_code == f"{code} {sub_code}".strip()
    assert [n for n in ("refresh_token", "resync_clock") if getattr(caught.value.fault, n)] == (
        [flag] if flag else []
    )


@pytest.mark.parametrize("body", GARBAGE)
@pytest.mark.parametrize("status", [200, 302, 502])
def test_garbage_is_an_error_of_ours_and_never_an_empty_list(body: bytes, status: int) -> None:
    client, _ = _client(reply(body, status))

    for ask in (
        lambda: client.count_orders("modified", START, END),
        lambda: client.list_orders("created", START, END, page=0, cursor=""),
        lambda: client.read_order("1"),
        client.refresh_tokens,
        client.check,
    ):
        with pytest.raises((ConnectorError, PayloadError)):
            ask()


def test_success_code_under_a_broken_status_is_no_success() -> None:
    client, _ = _client(reply({"code": 10000, "data": {"total": 0}}, 503))

    with pytest.raises(ConnectorError) as caught:
        client.count_orders("modified", START, END)

    assert (caught.value.code, caught.value.retry) == ("http_status", Retry.LATER)


# -- tokens ----------------------------------------------------------------------------------------


def test_refreshing_takes_what_is_told_and_needs_no_access_token() -> None:
    client, gateway = _client(
        _data(access_token="acc-2", refresh_token="ref-2", expires_in=604800, scope="s")
    )

    tokens = client.refresh_tokens()

    assert (tokens.access_token, tokens.refresh_token) == ("acc-2", "ref-2")
    assert tokens.expires_at == NOW + timedelta(days=7)
    assert _body(gateway, method="token.refresh") == {
        "grant_type": "refresh_token",
        "refresh_token": "ref-1",
    }
    assert "access_token=&" in gateway.calls[0].url


def test_same_tokens_may_come_back() -> None:
    client, _ = _client(_data(access_token="acc-1", refresh_token="ref-1", expires_in=300000))

    tokens = client.refresh_tokens()

    assert (tokens.access_token, tokens.refresh_token) == ("acc-1", "ref-1")


@pytest.mark.parametrize(
    ("code", "sub_code"),
    [(50001, "dop.token-generate-failed:1"), (40003, "isv.access-token-no-existed")],
)
def test_refused_refresh_is_for_a_person(code: int, sub_code: str) -> None:
    client, _ = _client(reply({"code": code, "msg": "m", "sub_code": sub_code}))

    with pytest.raises(VendorRefusal) as caught:
        client.refresh_tokens()

    assert caught.value.retry is Retry.NEVER
    assert not caught.value.fault.refresh_token


# -- the adapter -----------------------------------------------------------------------------------


def test_client_has_the_capabilities_of_its_channel() -> None:
    client, _ = _client(_orders(total=3))

    assert isinstance(client, Lister)
    assert isinstance(client, TokenKeeper)
    assert "3" in client.check()
    assert set(CONNECTOR.streams) == {"modified", "created", "review"}
