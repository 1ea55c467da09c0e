"""The own mall: its signatures, its format, golden payloads and every mutation of them."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config.errors import BadInput
from connectors.channels.private_mall import mapping
from connectors.channels.private_mall.mapping import map_order, map_payment, read_event, read_page
from connectors.channels.private_mall.signing import (
    FAULTS,
    TOLERANCE,
    find_fault,
    read_secret,
    sign_call,
    sign_push,
    verify_push,
)
from connectors.http import Retry
from connectors.orders.statuses import Stage
from connectors.wire import PayloadError, SignatureRefused
from tests.connectors.goldens import (
    check_mutation,
    find_keys,
    list_cases,
    list_mutations,
    load_case,
    mutate,
    walk,
    write_notices,
    write_record,
)
from tests.connectors.wire.test_wire import ANYTHING

CASES = list_cases("private_mall")
FORMAT = Path(mapping.__file__).with_name("FORMAT.md").read_text(encoding="utf-8")
# What FORMAT.md marks as a name or a value, outside of its blocks of JSON.
WORDS = set(re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", FORMAT, flags=re.DOTALL)))
# The vector of Standard Webhooks, which FORMAT.md prints.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
MESSAGE_ID, STAMP, BODY = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
SIGN = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
NOW = datetime.fromtimestamp(STAMP, UTC)
OTHER = "whsec_" + "A" * 32


def _headers(**changes: str) -> dict[str, str]:
    return {
        "webhook-id": MESSAGE_ID,
        "webhook-timestamp": str(STAMP),
        "webhook-signature": SIGN,
    } | {name.replace("_", "-"): value for name, value in changes.items()}


def test_the_vector_of_standard_webhooks_is_reproduced() -> None:
    assert sign_push(SECRET, message_id=MESSAGE_ID, timestamp=STAMP, body=BODY) == SIGN
    assert {SECRET, MESSAGE_ID, str(STAMP), BODY.decode(), SIGN} <= WORDS


@pytest.mark.parametrize(
    ("headers", "secrets", "now"),
    [
        (_headers(), [SECRET], NOW),
        (_headers(), [OTHER, SECRET], NOW),
        (_headers(webhook_signature=f"v1,AAAA {SIGN}"), [SECRET], NOW),
        ({name.title(): value for name, value in _headers().items()}, [SECRET], NOW),
        (_headers(), [SECRET], NOW + TOLERANCE),
        (_headers(), [SECRET], NOW - TOLERANCE),
    ],
)
def test_a_push_is_verified(headers: dict[str, str], secrets: list[str], now: datetime) -> None:
    verified = verify_push(headers, BODY, secrets=secrets, now=now)

    assert verified.replay_keys == (f"private_mall:{MESSAGE_ID}",)
    assert verified.signed_at == NOW


@pytest.mark.parametrize(
    ("headers", "body", "secrets", "now", "code"),
    [
        (_headers(), BODY + b"\n", [SECRET], NOW, "signature_mismatch"),
        (_headers(), BODY, [OTHER], NOW, "signature_mismatch"),
        (_headers(), BODY, [], NOW, "signature_mismatch"),
        (_headers(webhook_id="msg_2"), BODY, [SECRET], NOW, "signature_mismatch"),
        (_headers(webhook_timestamp=str(STAMP + 1)), BODY, [SECRET], NOW, "signature_mismatch"),
        (_headers(webhook_signature=SIGN[3:]), BODY, [SECRET], NOW, "signature_mismatch"),
        (_headers(webhook_signature="v1,签\ud800"), BODY, [SECRET], NOW, "signature_mismatch"),
        (_headers(webhook_id=""), BODY, [SECRET], NOW, "signature_missing"),
        (_headers(webhook_id="a.b"), BODY, [SECRET], NOW, "signature_missing"),
        (_headers(webhook_id="a" * 129), BODY, [SECRET], NOW, "signature_missing"),
        (_headers(webhook_timestamp="soon"), BODY, [SECRET], NOW, "signature_missing"),
        ({}, BODY, [SECRET], NOW, "signature_missing"),
        (_headers(), BODY, [SECRET], NOW + timedelta(minutes=10), "signature_stale"),
        (_headers(), BODY, [SECRET], NOW - timedelta(minutes=10), "signature_stale"),
    ],
)
def test_a_push_that_is_not_theirs_or_not_from_now_is_refused(
    headers: dict[str, str], body: bytes, secrets: list[str], now: datetime, code: str
) -> None:
    with pytest.raises(SignatureRefused) as caught:
        verify_push(headers, body, secrets=secrets, now=now)

    assert caught.value.code == code


@pytest.mark.parametrize("secret", ["", "abc", "whsec_!!", "whsec_AAAA", "whsec_" + "A" * 100])
def test_a_weak_or_broken_secret_is_refused(secret: str) -> None:
    with pytest.raises(BadInput) as caught:
        read_secret(secret)

    assert caught.value.code == "secret_form"


def test_a_call_is_signed_with_its_method_and_path() -> None:
    call = {"method": "GET", "target": "/orders?limit=100", "body": b"", "nonce": "n1", "now": NOW}

    headers = sign_call(SECRET, **call)

    assert headers["webhook-id"] == "n1"
    assert headers["webhook-timestamp"] == str(STAMP)
    assert headers["webhook-signature"] == sign_push(
        SECRET, message_id="n1", timestamp=STAMP, body=b"GET./orders?limit=100."
    )
    other = sign_call(SECRET, **(call | {"target": "/orders?limit=200"}))
    assert other["webhook-signature"] != headers["webhook-signature"]


@pytest.mark.parametrize(
    ("code", "retry"),
    [
        ("rate_limited", Retry.LATER),
        ("quota_exceeded", Retry.LATER),
        ("busy", Retry.SAFE),
        ("bad_signature", Retry.NEVER),
        ("bad_timestamp", Retry.NEVER),
        ("whatever", Retry.NEVER),
    ],
)
def test_an_error_code_says_what_may_be_done(code: str, retry: Retry) -> None:
    assert find_fault(code).retry is retry


def test_the_documented_words_are_the_ones_we_read() -> None:
    assert set(FAULTS) <= WORDS
    assert {stage.value for stage in Stage} - {"unknown"} <= WORDS
    keys = set().union(*(find_keys(load_case("private_mall", n)["payload"]) for n in CASES))
    assert keys - {word.removesuffix("[]") for word in WORDS} == set()


def test_an_event_is_read() -> None:
    event = read_event(
        b'{"type":"order.updated","occurred_at":"2025-11-11T00:15:00+08:00","data":{"a":1}}'
    )

    assert event.type == "order.updated"
    assert event.content == {"a": 1}
    assert event.occurred_at == datetime(2025, 11, 10, 16, 15, tzinfo=UTC)
    assert read_event(b'{"type":"ping"}').content == {}


def test_a_page_is_read_and_a_missing_list_is_no_empty_page() -> None:
    page = read_page(b'{"orders":[{"order_no":"1"}],"next_cursor":"c2"}')

    assert [order["order_no"] for order in page.orders] == ["1"]
    assert page.next_cursor == "c2"
    assert read_page(b'{"orders":[]}').next_cursor == ""
    with pytest.raises(PayloadError, match="orders"):
        read_page(b"{}")


def _map(payload: Any) -> Any:
    return map_order(payload, shop="河道羊绒小程序")


@pytest.mark.parametrize("name", CASES)
def test_a_golden_payload_maps_to_its_order(name: str) -> None:
    case = load_case("private_mall", name)

    mapped = _map(case["payload"])

    assert write_record(mapped.record) == case["expected"]
    assert write_notices(mapped) == case["notices"]


@pytest.mark.parametrize("stage", [stage for stage in Stage if stage is not Stage.UNKNOWN])
def test_every_stage_is_a_status(stage: Stage) -> None:
    mapped = _map(load_case("private_mall", "least")["payload"] | {"status": stage.value})

    assert (mapped.record.stage, mapped.notices) == (stage, ())


def test_the_word_unknown_is_not_known() -> None:
    mapped = _map(load_case("private_mall", "least")["payload"] | {"status": "unknown"})

    assert mapped.record.stage is Stage.UNKNOWN
    assert write_notices(mapped) == [["unmapped_status", "status", "unknown"]]


def test_a_payment_event_is_a_payment() -> None:
    mapped = map_payment(
        {
            "order_no": "M1",
            "payment_id": "P1",
            "status": "paid",
            "amount_fen": 27900,
            "paid_at": "2025-11-11T00:00:40+08:00",
        }
    )

    assert write_record(mapped.record) == {
        "order_no": "M1",
        "payment_id": "P1",
        "amount_fen": 27900,
        "paid_at": "2025-11-11T00:00:40+08:00",
    }
    assert mapped.notices == ()


@pytest.mark.parametrize(
    ("path", "new", "field"),
    [
        (("updated_at",), None, "updated_at"),
        (("created_at",), "2025-11-11T00:00:00", "created_at"),
        (("amounts", "paid_fen"), 279.0, "amounts.paid_fen"),
        (("items", 0, "line_id"), "", "items[0].line_id"),
        (("payments", 0, "payment_id"), None, "payments[0].payment_id"),
    ],
)
def test_what_is_wrong_is_named(path: tuple[Any, ...], new: Any, field: str) -> None:
    with pytest.raises(PayloadError) as caught:
        _map(mutate(load_case("private_mall", "paid")["payload"], path, new))

    assert caught.value.params["field"] == field
    assert field in caught.value.text


@pytest.mark.parametrize("name", CASES)
def test_a_nasty_value_anywhere_gives_an_order_or_a_named_field(name: str) -> None:
    for payload in list_mutations(load_case("private_mall", name)["payload"], seed=4, count=150):
        check_mutation(_map, payload)


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_any_value_anywhere_gives_an_order_or_a_named_field(data: st.DataObject) -> None:
    payload = load_case("private_mall", data.draw(st.sampled_from(CASES)))["payload"]
    path = data.draw(st.sampled_from(list(walk(payload))))

    check_mutation(_map, mutate(payload, path, data.draw(ANYTHING)))


@given(value=ANYTHING)
@settings(max_examples=100, deadline=None)
def test_any_pushed_json_is_read_or_refused(value: Any) -> None:
    body = json.dumps({"type": "order.updated", "data": value}, default=str).encode()
    for read in (read_event, read_page):
        _read_or_refuse(read, body)


def _read_or_refuse(read: Any, body: bytes) -> None:
    try:
        read(body)
    except PayloadError as error:
        assert error.text  # noqa: PT017 - any other exception has to fail the test
