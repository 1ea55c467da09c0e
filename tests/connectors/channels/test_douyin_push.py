"""Douyin's push door: hints only, one odd message never costs the others."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

import pytest

from connectors.adapters import PushRequest
from connectors.channels.douyin.push import DouyinPush
from connectors.wire import PayloadError, SignatureRefused
from tests.connectors.channels.gateways import NOW

KEY, SECRET = "7000000000000000001", "dd-demo-secret"
CONFIG, SECRETS = {"app_key": KEY}, {"app_secret": SECRET, "access_token": "a"}
DOOR = DouyinPush()


def _push(content: Any, *, secret: str = SECRET, **headers: str) -> PushRequest:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    text = KEY.encode() + body + secret.encode()
    sign = hmac.new(secret.encode(), text, hashlib.sha256).hexdigest()
    given = {"app-id": KEY, "event-sign": sign, "sign-method": "hmac-sha256"} | headers
    return PushRequest(method="POST", headers=given, query=(), body=body)


def _message(number: str, order: int | None = 45, tag: str = "101") -> dict[str, Any]:
    data = {} if order is None else {"p_id": order, "order_status": 105}
    return {"tag": tag, "msg_id": number, "data": json.dumps(data)}


def _read(request: PushRequest, secrets: dict[str, str] = SECRETS) -> list[Any]:
    verified = DOOR.verify(request, config=CONFIG, secrets=secrets, now=NOW)
    items = list(DOOR.read(request, verified, secrets=secrets))
    assert verified.replay_keys == tuple(i.replay_key for i in items if i.kind != "probe")
    return items


def test_each_message_is_a_hint_to_read_its_order() -> None:
    first, second = _read(_push([_message("m1", 4500000000000000001), _message("m2", 2, "106")]))

    assert (first.kind, first.order_no, first.topic) == ("hint", "4500000000000000001", "101")
    assert (first.replay_key, second.replay_key) == ("douyin:m1", "douyin:m2")
    assert first.payload == {"p_id": 4500000000000000001, "order_status": 105}


def test_vector_of_channels_md_is_accepted() -> None:
    body = (
        rb'[{"tag":"101","msg_id":"1234567890:0:4500000000000000001:1762790500:1762790500",'
        rb'"data":"{\"p_id\":4500000000000000001,\"order_status\":105}"}]'
    )
    request = _push(
        body, **{"event-sign": "d91a407907fd2bc14cca8637124cba32", "sign-method": "md5"}
    )

    [item] = _read(request)

    assert item.order_no == "4500000000000000001"


def test_probe_asks_for_an_answer_only() -> None:
    [item] = _read(_push([{"tag": "0", "msg_id": "", "data": ""}]))

    assert item.kind == "probe"


@pytest.mark.parametrize(
    "odd",
    [
        {"tag": "101", "data": "{}"},
        {"tag": "101", "msg_id": "x", "data": "[]"},
        {"tag": "101", "msg_id": "x", "data": "{"},
        {"msg_id": "x"},
        "text",
        None,
        {"tag": "101", "msg_id": "9" * 300, "data": "{}"},
        _message("x", None),
    ],
)
def test_odd_message_is_kept_as_unknown_beside_the_others(odd: Any) -> None:
    strange, hint = _read(_push([odd, _message("m1")]))

    assert (strange.kind, hint.kind) == ("unknown", "hint")
    assert 0 < len(strange.replay_key) <= 200
    assert _read(_push([odd]))[0].replay_key == strange.replay_key


def test_secret_before_the_change_still_counts() -> None:
    request = _push([_message("m1")], secret="older")

    with pytest.raises(SignatureRefused):
        DOOR.verify(request, config=CONFIG, secrets=SECRETS, now=NOW)
    assert _read(request, SECRETS | {"previous_app_secret": "older"})


@pytest.mark.parametrize(
    "headers",
    [{"event-sign": ""}, {"event-sign": "0" * 64}, {"app-id": "other"}, {"sign-method": "sm3"}],
)
def test_signature_that_does_not_hold_is_refused(headers: dict[str, str]) -> None:
    with pytest.raises(SignatureRefused):
        DOOR.verify(_push([_message("m1")], **headers), config=CONFIG, secrets=SECRETS, now=NOW)


def test_changed_byte_is_refused() -> None:
    request = _push([_message("m1")])
    changed = PushRequest("POST", request.headers, (), request.body.replace(b"m1", b"m2"))

    with pytest.raises(SignatureRefused):
        DOOR.verify(changed, config=CONFIG, secrets=SECRETS, now=NOW)


def test_connection_without_its_secret_refuses_everything() -> None:
    with pytest.raises(SignatureRefused):
        DOOR.verify(_push([], secret=""), config=CONFIG, secrets={}, now=NOW)


@pytest.mark.parametrize("body", [b"", b"{}", b"nonsense", b'"x"', b"[" * 3000])
def test_signed_body_that_is_no_list_is_unreadable_not_refused(body: bytes) -> None:
    request = _push(body)
    verified = DOOR.verify(request, config=CONFIG, secrets=SECRETS, now=NOW)

    with pytest.raises(PayloadError):
        DOOR.read(request, verified, secrets=SECRETS)


@pytest.mark.parametrize("outcome", ["stored", "repeated"])
def test_answer_is_what_douyin_reads_as_taken(outcome: str) -> None:
    answer = DOOR.answer(outcome)

    assert (answer.status, json.loads(answer.body)) == (200, {"code": 0, "msg": "success"})


@pytest.mark.parametrize(("outcome", "status"), [("refused", 401), ("unreadable", 400)])
def test_answer_to_what_was_not_taken_is_no_success(outcome: str, status: int) -> None:
    answer = DOOR.answer(outcome)

    assert answer.status == status
    assert json.loads(answer.body)["code"] != 0
