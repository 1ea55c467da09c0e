"""Douyin: signatures, pushes, error codes. Vectors: channels.md 5.1 and 5.6."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings

from connectors.channels.douyin.signing import (
    FAULTS,
    build_query,
    find_fault,
    read_push,
    sign_call,
    sign_push,
    verify_push,
    write_param_json,
)
from connectors.http import Retry
from connectors.wire import PayloadError, SignatureRefused
from tests.connectors.wire.test_wire import ANYTHING

APP_KEY, SECRET = "7000000000000000001", "dd-demo-secret"
PARAMS = {
    "size": 100,
    "page": 0,
    "update_time_start": 1762790400,
    "update_time_end": 1762791300,
    "order_by": "update_time",
    "order_asc": True,
}
PUSH = (
    rb'[{"tag":"101","msg_id":"1234567890:0:4500000000000000001:1762790500:1762790500",'
    rb'"data":"{\"p_id\":4500000000000000001,\"order_status\":105}"}]'
)
HMAC_SIGN = "30eec0baaecf90ed1c306d284ef01bf9651e1eaae086c9af7d64f2fdc7b0ccdf"
MD5_SIGN = "d91a407907fd2bc14cca8637124cba32"


def _headers(**changes: str) -> dict[str, str]:
    return {
        "app-id": APP_KEY,
        "event-sign": HMAC_SIGN,
        "sign-method": "hmac-sha256",
    } | {name.replace("_", "-"): value for name, value in changes.items()}


def test_the_call_vector_is_reproduced() -> None:
    param_json = write_param_json(PARAMS)
    sign = sign_call(
        app_key=APP_KEY,
        secret=SECRET,
        method="order.searchList",
        param_json=param_json,
        timestamp=1762791300,
    )

    assert param_json == (
        '{"order_asc":true,"order_by":"update_time","page":0,"size":100,'
        '"update_time_end":1762791300,"update_time_start":1762790400}'
    )
    assert sign == "a4df7fbf6499959e9ac6da9e43a89139e04247f3a8bce908c890c7e76b9c49cd"


def test_the_query_carries_the_signature_and_the_token_outside_of_it() -> None:
    query = build_query(
        app_key=APP_KEY,
        secret=SECRET,
        access_token="t",
        method="order.searchList",
        param_json=write_param_json(PARAMS),
        now=datetime.fromtimestamp(1762791300, UTC),
    )

    assert query == {
        "app_key": APP_KEY,
        "method": "order.searchList",
        "access_token": "t",
        "timestamp": "1762791300",
        "v": "2",
        "sign_method": "hmac-sha256",
        "sign": "a4df7fbf6499959e9ac6da9e43a89139e04247f3a8bce908c890c7e76b9c49cd",
    }


def test_the_canonical_body_sorts_every_level_and_escapes_nothing() -> None:
    assert write_param_json({"b": {"z": "<&>", "a": "中"}, "a": 1}) == (
        '{"a":1,"b":{"a":"中","z":"<&>"}}'
    )


def test_both_push_vectors_are_reproduced() -> None:
    assert sign_push(app_key=APP_KEY, secret=SECRET, body=PUSH) == MD5_SIGN
    assert (
        sign_push(app_key=APP_KEY, secret=SECRET, body=PUSH, sign_method="hmac-sha256") == HMAC_SIGN
    )


@pytest.mark.parametrize(
    "headers",
    [
        _headers(),
        _headers(event_sign=MD5_SIGN, sign_method="md5"),
        _headers(event_sign=MD5_SIGN, sign_method=""),
        {name.title(): value for name, value in _headers().items()},
    ],
)
def test_a_push_is_verified_and_its_messages_are_named(headers: dict[str, str]) -> None:
    verified, messages = verify_push(headers, PUSH, app_key=APP_KEY, secrets=["new", SECRET])

    assert verified.replay_keys == (
        "douyin:1234567890:0:4500000000000000001:1762790500:1762790500",
    )
    assert [(m.tag, m.order_no, m.content["order_status"]) for m in messages] == [
        ("101", "4500000000000000001", 105)
    ]


@pytest.mark.parametrize(
    ("headers", "body", "secrets", "code"),
    [
        (_headers(), PUSH + b" ", [SECRET], "signature_mismatch"),
        (_headers(), PUSH, ["other"], "signature_mismatch"),
        (_headers(), PUSH, [], "signature_mismatch"),
        (_headers(event_sign=MD5_SIGN), PUSH, [SECRET], "signature_mismatch"),
        (_headers(event_sign=HMAC_SIGN[:-1]), PUSH, [SECRET], "signature_mismatch"),
        (_headers(event_sign="签名"), PUSH, [SECRET], "signature_mismatch"),
        (_headers(sign_method="none"), PUSH, [SECRET], "signature_mismatch"),
        (_headers(event_sign=""), PUSH, [SECRET], "signature_missing"),
        (_headers(app_id="another"), PUSH, [SECRET], "signature_missing"),
        ({}, PUSH, [SECRET], "signature_missing"),
    ],
)
def test_a_push_that_is_not_theirs_is_refused(
    headers: dict[str, str], body: bytes, secrets: list[str], code: str
) -> None:
    with pytest.raises(SignatureRefused) as caught:
        verify_push(headers, body, app_key=APP_KEY, secrets=secrets)

    assert caught.value.code == code


def test_a_probe_has_no_replay_key() -> None:
    body = b'[{"tag":"0","msg_id":"0","data":"2020-09-10 16:10:00"}]'.replace(
        b'"2020-09-10 16:10:00"', b'""'
    )
    sign = sign_push(app_key=APP_KEY, secret=SECRET, body=body)

    verified, messages = verify_push({"event-sign": sign}, body, app_key=APP_KEY, secrets=[SECRET])

    assert verified.replay_keys == ()
    assert [m.is_probe for m in messages] == [True]


@given(value=ANYTHING)
@settings(max_examples=150, deadline=None)
def test_any_pushed_json_is_read_or_refused(value: Any) -> None:
    for body in (value, [value], [{"tag": "101", "msg_id": "1", "data": value}]):
        _read_or_refuse(json.dumps(body, default=str).encode())


def _read_or_refuse(body: bytes) -> None:
    try:
        read_push(body)
    except PayloadError as error:
        assert error.text  # noqa: PT017 - any other exception has to fail the test


@pytest.mark.parametrize(
    ("code", "sub_code", "retry", "refresh"),
    [
        (20000, "isp.service-error", Retry.SAFE, False),
        (20001, "", Retry.SAFE, False),
        (40003, "isv.access-token-expired", Retry.SAFE, True),
        (40003, "isv.access-token-no-existed", Retry.SAFE, True),
        (40003, "isv.signature-invalid", Retry.NEVER, False),
        (40003, "isv.parameter-format-invalid", Retry.NEVER, False),
        (60000, "", Retry.LATER, False),
        (30001, "dop.authorization-closed", Retry.NEVER, False),
        (50001, "dop.token-generate-failed:x", Retry.NEVER, False),
        (90000, "", Retry.SAFE, False),
        (12345, "", Retry.NEVER, False),
    ],
)
def test_an_error_code_says_what_may_be_done(
    code: int, sub_code: str, retry: Retry, refresh: bool
) -> None:
    fault = find_fault(code, sub_code)

    assert fault is not None
    assert (fault.retry, fault.refresh_token) == (retry, refresh)
    assert fault.meaning


def test_success_is_no_fault_and_a_clock_error_says_so() -> None:
    assert find_fault(10000) is None
    assert FAULTS[40003]["isv.timestamp-invalid"].resync_clock
