"""Alipay: RSA2, notifications, answers, error codes, trades as payments (channels.md 10.2)."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from config.errors import BadInput
from connectors.http import Retry
from connectors.systems.payments.alipay import (
    build_query,
    find_fault,
    map_missing,
    map_notification,
    map_trade,
    read_answer,
    read_private_key,
    read_public_key,
    sign_text,
    verify_notification,
    verify_text,
    write_signed_text,
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

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER = rsa.generate_private_key(public_exponent=65537, key_size=2048)
KEYS = [OTHER.public_key(), KEY.public_key()]
APP_ID = "2021000000000001"
NOW = datetime(2025, 11, 11, 0, 15, tzinfo=SHANGHAI)
CASES = list_cases("alipay")
NODE = "alipay_trade_query_response"


def test_the_text_that_is_signed_is_the_vector() -> None:
    params = build_query(app_id=APP_ID, private_key=KEY, order_no="SO202511110001", now=NOW)
    text = write_signed_text(params)

    assert text == (
        'app_id=2021000000000001&biz_content={"out_trade_no":"SO202511110001"}&charset=utf-8'
        "&format=JSON&method=alipay.trade.query&sign_type=RSA2&timestamp=2025-11-11 00:15:00"
        "&version=1.0"
    )
    assert hashlib.sha256(text.encode()).hexdigest() == (
        "0ec4ff9f71d3bc1366929ed57d17b4d028d2d4bdc0dbb9800da983a6ee057a5f"
    )
    verify_text(text.encode(), params["sign"], [KEY.public_key()])


def test_keys_are_read_as_pem_and_as_the_bare_base64_of_the_console() -> None:
    for form in (
        serialization.PrivateFormat.PKCS8,
        serialization.PrivateFormat.TraditionalOpenSSL,
    ):
        pem = KEY.private_bytes(
            serialization.Encoding.PEM, form, serialization.NoEncryption()
        ).decode()
        bare = "".join(pem.splitlines()[1:-1])
        assert read_private_key(pem).private_numbers() == KEY.private_numbers()
        assert read_private_key(bare).private_numbers() == KEY.private_numbers()
    public = (
        KEY.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )
    assert read_public_key("".join(public.splitlines()[1:-1])) == KEY.public_key()


@pytest.mark.parametrize("text", ["", "abc", "-----BEGIN PRIVATE KEY-----\nAAAA\n", "密钥"])
def test_a_broken_key_is_refused_without_showing_it(text: str) -> None:
    for read in (read_private_key, read_public_key):
        with pytest.raises(BadInput) as caught:
            read(text)
        assert text == "" or text not in caught.value.text


def _notification(**changes: str) -> dict[str, str]:
    params: dict[str, str] = load_case("alipay", "notified_paid")["payload"] | changes
    text = write_signed_text(params, without=("sign", "sign_type"))
    return params | {"sign": sign_text(text, KEY), "sign_type": "RSA2"}


def test_a_notification_is_verified_and_named() -> None:
    verified = verify_notification(_notification(), app_id=APP_ID, public_keys=KEYS, now=NOW)

    assert verified.replay_keys == ("alipay:4a91b7a78a503640467525113fb7d8bg8e",)
    assert verified.signed_at == datetime(2025, 11, 11, 0, 0, 42, tzinfo=SHANGHAI)


def test_a_repetition_a_day_later_still_counts() -> None:
    verify_notification(
        _notification(), app_id=APP_ID, public_keys=KEYS, now=NOW + timedelta(hours=25)
    )


@pytest.mark.parametrize(
    ("params", "now", "code"),
    [
        (_notification() | {"total_amount": "0.01"}, NOW, "signature_mismatch"),
        (_notification() | {"extra": "1"}, NOW, "signature_mismatch"),
        (_notification() | {"sign": "?"}, NOW, "signature_mismatch"),
        (_notification(app_id="2021999"), NOW, "signature_mismatch"),
        (_notification() | {"sign": ""}, NOW, "signature_missing"),
        (_notification() | {"sign_type": "RSA"}, NOW, "signature_missing"),
        (_notification(notify_id=""), NOW, "signature_missing"),
        (_notification(notify_time=""), NOW, "signature_missing"),
        (_notification(), NOW + timedelta(hours=27), "signature_stale"),
        (_notification(), NOW - timedelta(hours=27), "signature_stale"),
    ],
)
def test_a_notification_that_is_not_theirs_is_refused(
    params: dict[str, str], now: datetime, code: str
) -> None:
    with pytest.raises(SignatureRefused) as caught:
        verify_notification(params, app_id=APP_ID, public_keys=KEYS, now=now)

    assert caught.value.code == code


def test_a_notification_of_another_key_is_refused() -> None:
    with pytest.raises(SignatureRefused):
        verify_notification(
            _notification(), app_id=APP_ID, public_keys=[OTHER.public_key()], now=NOW
        )


def _answer(node: str, text: str, *, signed: str | None = None) -> bytes:
    sign = sign_text(text if signed is None else signed, KEY)
    return f'{{ "{node}" : {text} ,"sign":"{sign}"}}'.encode()


def test_an_answer_is_checked_over_its_raw_text() -> None:
    # Spaces and escapes inside: parsing and writing it again would change the bytes.
    text = '{"code": "10000", "out_trade_no":"SO1","subject":"\\u7f8a\\/x }"}'

    content = read_answer(_answer(NODE, text), node=NODE, public_keys=KEYS)

    assert content == {"code": "10000", "out_trade_no": "SO1", "subject": "羊/x }"}


def test_a_changed_answer_is_refused() -> None:
    text = '{"code":"10000","total_amount":"279.00"}'

    with pytest.raises(SignatureRefused):
        read_answer(
            _answer(NODE, text.replace("279", "2"), signed=text), node=NODE, public_keys=KEYS
        )


def test_a_second_node_of_the_same_name_is_not_what_is_read() -> None:
    text = '{"code":"10000","total_amount":"2.00"}'
    body = _answer(NODE, text)[:-1] + f',"{NODE}":{{"code":"10000","total_amount":"9"}}}}'.encode()

    assert read_answer(body, node=NODE, public_keys=KEYS)["total_amount"] == "2.00"


def test_an_unsigned_answer_may_only_refuse() -> None:
    refusal = b'{"error_response":{"code":"40002","sub_code":"isv.invalid-signature"}}'

    assert read_answer(refusal, node=NODE, public_keys=KEYS)["code"] == "40002"
    for body in (
        b'{"alipay_trade_query_response":{"code":"10000"}}',
        b'{"error_response":{"code":"10000"}}',
    ):
        with pytest.raises(SignatureRefused):
            read_answer(body, node=NODE, public_keys=KEYS)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"sign":"x"}', b'{"a":1', b"<html>"])
def test_what_is_no_answer_is_refused(body: bytes) -> None:
    with pytest.raises(PayloadError):
        read_answer(body, node=NODE, public_keys=KEYS)


@pytest.mark.parametrize(
    ("code", "sub_code", "retry"),
    [
        ("20000", "isp.unknow-error", Retry.SAFE),
        ("40004", "ACQ.SYSTEM_ERROR", Retry.SAFE),
        ("40004", "ACQ.INVALID_PARAMETER", Retry.NEVER),
        ("40004", "ACQ.SOMETHING", Retry.NEVER),
        ("40002", "isv.invalid-signature", Retry.NEVER),
        ("99999", "", Retry.NEVER),
    ],
)
def test_an_error_code_says_what_may_be_done(code: str, sub_code: str, retry: Retry) -> None:
    fault = find_fault(code, sub_code)

    assert fault is not None
    assert fault.retry is retry


def test_no_such_trade_is_an_answer() -> None:
    assert find_fault("10000") is None
    assert find_fault("40004", "ACQ.TRADE_NOT_EXIST") is None
    assert map_missing("SO1").record.status == "pending"


def _map(case: dict[str, Any]) -> Any:
    return map_notification if case["options"]["kind"] == "notification" else map_trade


@pytest.mark.parametrize("name", CASES)
def test_a_golden_payload_maps_to_its_payment(name: str) -> None:
    case = load_case("alipay", name)

    mapped = _map(case)(case["payload"])

    assert write_record(mapped.record) == case["expected"]
    assert write_notices(mapped) == case["notices"]


@pytest.mark.parametrize("name", CASES)
def test_a_nasty_value_anywhere_gives_a_payment_or_a_named_field(name: str) -> None:
    case = load_case("alipay", name)
    for payload in list_mutations(case["payload"], seed=4, count=150):
        check_mutation(_map(case), payload)


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_any_value_anywhere_gives_a_payment_or_a_named_field(data: st.DataObject) -> None:
    case = load_case("alipay", data.draw(st.sampled_from(CASES)))
    path = data.draw(st.sampled_from(list(walk(case["payload"]))))

    check_mutation(_map(case), mutate(case["payload"], path, data.draw(ANYTHING)))


@given(value=ANYTHING)
@settings(max_examples=100, deadline=None)
def test_any_answer_is_read_or_refused(value: Any) -> None:
    body = json.dumps({NODE: value}, default=str).encode()
    try:
        read_answer(body, node=NODE, public_keys=KEYS)
    except (PayloadError, SignatureRefused) as error:
        assert error.text  # noqa: PT017 - any other exception has to fail the test
