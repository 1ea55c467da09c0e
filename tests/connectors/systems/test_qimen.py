"""Qimen: signatures, callbacks, XML, reports as receipts (channels.md 10.1)."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.http import Retry
from connectors.systems.wms.qimen import (
    HOLDABLE_STATES,
    PROCESS_STATES,
    SUCCESS_ANSWER,
    build_params,
    map_confirm,
    map_process_report,
    read_answer,
    read_xml,
    sign_call,
    verify_callback,
    write_hold,
    write_request,
)
from connectors.wire import SHANGHAI, PayloadError, SignatureRefused
from tests.connectors.goldens import (
    check_mutation,
    list_cases,
    list_mutations,
    load_case,
    mutate,
    walk,
    write_notices,
    write_record,
)
from tests.connectors.wire.test_wire import ANYTHING

SECRET = "qimen-demo-secret"
NOW = datetime(2025, 11, 11, 0, 15, tzinfo=SHANGHAI)
SIGN = "7BE650B9A789D2454342C61F4B66366F"
BODY = (
    b'<?xml version="1.0" encoding="utf-8"?><request><actionType>pending</actionType>'
    b"<warehouseCode>WH01</warehouseCode><ownerCode>OWNER1</ownerCode>"
    b"<orderCode>SO202511110001</orderCode><orderType>JYCK</orderType>"
    b"<reason>order health score below 50</reason></request>"
)
CASES = list_cases("qimen")


def _params(**changes: str) -> dict[str, str]:
    return (
        build_params(
            app_key="10000001",
            secret=SECRET,
            customer_id="CUST0001",
            method="order.pending",
            body=BODY,
            now=NOW,
        )
        | changes
    )


def test_the_vector_is_reproduced_from_the_fields_on() -> None:
    body = write_hold(
        order_no="SO202511110001",
        warehouse="WH01",
        owner="OWNER1",
        reason="order health score below 50",
    )

    assert body == BODY
    assert _params()["sign"] == SIGN
    assert sign_call(_params(), body, SECRET) == SIGN
    assert _params()["method"] == "taobao.qimen.order.pending"


def test_restoring_is_the_same_call_with_another_word() -> None:
    body = write_hold(order_no="1", warehouse="W", owner="O", reason="", restore=True)

    assert read_xml(body)["actionType"] == "restore"


def test_a_callback_is_verified_and_named_by_its_signature() -> None:
    verified = verify_callback(
        _params(), BODY, app_key="10000001", secrets=["new", SECRET], now=NOW
    )

    assert verified.replay_keys == (f"qimen:{SIGN}",)
    assert verified.signed_at == NOW


def _stamped(stamp: str) -> dict[str, str]:
    params = _params(timestamp=stamp)
    return params | {"sign": sign_call(params, BODY, SECRET)}


@pytest.mark.parametrize(
    ("params", "body", "now", "code"),
    [
        (_params(), BODY + b" ", NOW, "signature_mismatch"),
        (_params(customerId="CUST0002"), BODY, NOW, "signature_mismatch"),
        (_params(extra="1"), BODY, NOW, "signature_mismatch"),
        (_params(sign="签名"), BODY, NOW, "signature_mismatch"),
        (_params(sign_method="hmac"), BODY, NOW, "signature_mismatch"),
        (_params(sign=""), BODY, NOW, "signature_missing"),
        (_params(app_key="2"), BODY, NOW, "signature_missing"),
        (_stamped("today"), BODY, NOW, "signature_missing"),
        (_stamped(""), BODY, NOW, "signature_stale"),
        (_params(), BODY, NOW + timedelta(minutes=11), "signature_stale"),
        (_params(), BODY, NOW - timedelta(minutes=11), "signature_stale"),
    ],
)
def test_a_callback_that_is_not_theirs_or_not_from_now_is_refused(
    params: dict[str, str], body: bytes, now: datetime, code: str
) -> None:
    with pytest.raises(SignatureRefused) as caught:
        verify_callback(params, body, app_key="10000001", secrets=[SECRET], now=now)

    assert caught.value.code == code


def test_lists_nesting_and_marks_survive_writing_and_reading() -> None:
    body = write_request(
        {"order": {"code": "<1>&", "note": None}, "lines": {"line": [{"n": 1}, {"n": 2}]}}
    )

    assert read_xml(body) == {
        "order": {"code": "<1>&"},
        "lines": {"line": [{"n": "1"}, {"n": "2"}]},
    }
    assert b"\x00" not in write_request({"reason": "a\x00b"})


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<request>",
        b"{}",
        b'<!DOCTYPE r [<!ENTITY a "b">]><r>&a;</r>',
        b'<!DOCTYPE r SYSTEM "http://127.0.0.1/x"><r/>',
        b"<a>" * 40 + b"</a>" * 40,
        b"<r>" + b"x" * 2_000_001 + b"</r>",
        b'<?xml version="1.0" encoding="no-such"?><r/>',
    ],
)
def test_what_is_no_harmless_xml_is_one_clear_error(body: bytes) -> None:
    with pytest.raises(PayloadError) as caught:
        read_xml(body)

    assert caught.value.code == "payload_xml"


@pytest.mark.parametrize(
    ("body", "retry"),
    [
        (SUCCESS_ANSWER, None),
        (b"<response><flag>failure</flag><code>15</code></response>", Retry.AMBIGUOUS),
        (b"<response><flag>failure</flag><code>7</code></response>", Retry.LATER),
        (b"<response><flag>failure</flag><code>S003</code></response>", Retry.NEVER),
        (b"<response/>", Retry.NEVER),
    ],
)
def test_an_answer_says_what_may_be_done(body: bytes, retry: Retry | None) -> None:
    _, fault = read_answer(body)

    assert (fault and fault.retry) == retry


def test_every_listed_state_is_known_and_picked_is_too_late_to_hold() -> None:
    listed = (
        "ACCEPT PRINT PICK CHECK PACKAGE WEIGH READY DELIVERED PARTDELIVERED EXCEPTION REFUSE "
        "REJECT CLOSED CANCELED SIGN TMSCANCELED TMSCANCELFAILED OTHER"
    )

    assert set(listed.split()) <= set(PROCESS_STATES)
    assert frozenset({"ACCEPT", "PRINT"}) == HOLDABLE_STATES


def _map(case: dict[str, Any]) -> Any:
    return map_confirm if case["options"]["kind"] == "confirm" else map_process_report


@pytest.mark.parametrize("name", CASES)
def test_a_golden_payload_maps_to_its_receipt(name: str) -> None:
    case = load_case("qimen", name)

    mapped = _map(case)(read_xml(case["payload"].encode()))

    assert write_record(mapped.record) == case["expected"]
    assert write_notices(mapped) == case["notices"]


@pytest.mark.parametrize("name", CASES)
def test_a_nasty_value_anywhere_gives_a_receipt_or_a_named_field(name: str) -> None:
    case = load_case("qimen", name)
    for payload in list_mutations(read_xml(case["payload"].encode()), seed=4, count=150):
        check_mutation(_map(case), payload)


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_any_value_anywhere_gives_a_receipt_or_a_named_field(data: st.DataObject) -> None:
    case = load_case("qimen", data.draw(st.sampled_from(CASES)))
    content = read_xml(case["payload"].encode())
    path = data.draw(st.sampled_from(list(walk(content))))

    check_mutation(_map(case), mutate(content, path, data.draw(ANYTHING)))
