"""WeChat Pay v3: signatures, notifications, error codes, transactions (channels.md 10.2)."""

from __future__ import annotations

import base64
import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from config.errors import BadInput
from connectors.http import Retry
from connectors.systems.payments.wechat_pay import (
    decrypt_resource,
    find_fault,
    map_missing,
    map_transaction,
    read_private_key,
    read_public_key,
    sign_call,
    verify_notification,
    write_query_target,
    write_signed_call,
)
from connectors.wire import PayloadError, Reader, SignatureRefused
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
PUBLIC = {"SERIAL1": KEY.public_key()}
API_KEY = "0123456789abcdef0123456789abcdef"
STAMP = 1762791300
NOW = datetime.fromtimestamp(STAMP, UTC)
CASES = list_cases("wechat_pay")
SEALED = {
    "algorithm": "AEAD_AES_256_GCM",
    "nonce": "abcdefghijkl",
    "associated_data": "transaction",
    "ciphertext": (
        "Eu6myr+6GaECeJdOZPZ6BX5i9C2JslpqL48PrOJs/8hA6tSOTzCX/DkO8dRrsb3/zQD/9/4NJdny3S4gw9jmMe7J8u"
        "+OnxIsaXs5WRBR1A2HiLIrxvnZLWwtdhOToyqcFjw="
    ),
}


def test_the_text_that_is_signed_is_the_vector() -> None:
    text = write_signed_call(
        method="GET",
        target=write_query_target(order_no="SO202511110001", merchant_id="1900000001"),
        timestamp=STAMP,
        nonce="593BEC0C930BF1AFEB40B4A08C8FB242",
    )

    assert hashlib.sha256(text.encode()).hexdigest() == (
        "5aa5c1ab6c1516cf65c254b57470ee86aa0420ad150184f60270116c8985835e"
    )


def test_the_header_carries_a_signature_that_verifies() -> None:
    header = sign_call(
        private_key=KEY,
        merchant_id="1900000001",
        serial_no="S1",
        method="GET",
        target="/v3/x?mchid=1",
        nonce="N1",
        now=NOW,
    )

    scheme, _, rest = header.partition(" ")
    fields = dict(part.split("=", 1) for part in rest.split(","))
    assert scheme == "WECHATPAY2-SHA256-RSA2048"
    assert {name: value.strip('"') for name, value in fields.items() if name != "signature"} == {
        "mchid": "1900000001",
        "nonce_str": "N1",
        "timestamp": str(STAMP),
        "serial_no": "S1",
    }
    KEY.public_key().verify(
        base64.b64decode(fields["signature"].strip('"')),
        f"GET\n/v3/x?mchid=1\n{STAMP}\nN1\n\n".encode(),
        padding.PKCS1v15(),
        hashes.SHA256(),
    )


def test_an_order_number_cannot_leave_its_place_in_the_path() -> None:
    assert write_query_target(order_no="a/../b?c", merchant_id="1&2") == (
        "/v3/pay/transactions/out-trade-no/a%2F..%2Fb%3Fc?mchid=1%262"
    )


def test_the_aes_vector_is_reproduced() -> None:
    assert decrypt_resource(Reader(SEALED, "resource"), api_key=API_KEY) == {
        "out_trade_no": "SO202511110001",
        "trade_state": "SUCCESS",
        "amount": {"total": 19900},
    }


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"associated_data": "refund"}, "resource.ciphertext"),
        ({"nonce": "abcdefghijkm"}, "resource.ciphertext"),
        ({"nonce": "short"}, "resource.ciphertext"),
        ({"ciphertext": "AAAA"}, "resource.ciphertext"),
        ({"ciphertext": "?"}, "resource.ciphertext"),
        ({"ciphertext": None}, "resource.ciphertext"),
        ({"algorithm": "AEAD_SM4_GCM"}, "resource.algorithm"),
        ({"nonce": None}, "resource.nonce"),
    ],
)
def test_what_does_not_decrypt_is_named(change: dict[str, Any], field: str) -> None:
    with pytest.raises(PayloadError) as caught:
        decrypt_resource(Reader(SEALED | change, "resource"), api_key=API_KEY)

    assert caught.value.params["field"] == field


def test_a_key_of_another_length_is_refused() -> None:
    with pytest.raises(BadInput) as caught:
        decrypt_resource(Reader(SEALED), api_key="short")

    assert caught.value.code == "api_key"


def _seal(content: Any, *, nonce: str = "n" * 12) -> dict[str, str]:
    clear = json.dumps(content, default=str).encode()
    sealed = AESGCM(API_KEY.encode()).encrypt(nonce.encode(), clear, b"transaction")
    return {
        "algorithm": "AEAD_AES_256_GCM",
        "nonce": nonce,
        "associated_data": "transaction",
        "ciphertext": base64.b64encode(sealed).decode(),
    }


def _notify(body: bytes, **changes: str) -> dict[str, str]:
    signature = KEY.sign(
        f"{STAMP}\nN1\n".encode() + body + b"\n", padding.PKCS1v15(), hashes.SHA256()
    )
    return {
        "Wechatpay-Timestamp": str(STAMP),
        "Wechatpay-Nonce": "N1",
        "Wechatpay-Signature": base64.b64encode(signature).decode(),
        "Wechatpay-Serial": "SERIAL1",
    } | {f"Wechatpay-{name.title()}": value for name, value in changes.items()}


BODY = json.dumps(
    {
        "id": "EV-2018022511223320873",
        "create_time": "2025-11-11T00:00:41+08:00",
        "event_type": "TRANSACTION.SUCCESS",
        "resource_type": "encrypt-resource",
        "summary": "支付成功",
        "resource": _seal({"out_trade_no": "SO1", "trade_state": "SUCCESS"}),
    }
).encode()


def test_a_notification_is_verified_decrypted_and_named() -> None:
    verified, notification = verify_notification(
        _notify(BODY), BODY, public_keys=PUBLIC, api_key=API_KEY, now=NOW
    )

    assert verified.replay_keys == ("wechat_pay:EV-2018022511223320873",)
    assert verified.signed_at == NOW
    assert notification.event_type == "TRANSACTION.SUCCESS"
    assert notification.content["out_trade_no"] == "SO1"


@pytest.mark.parametrize(
    ("headers", "body", "now", "code"),
    [
        (_notify(BODY), BODY + b" ", NOW, "signature_mismatch"),
        (_notify(BODY, nonce="N2"), BODY, NOW, "signature_mismatch"),
        (_notify(BODY, timestamp=str(STAMP + 1)), BODY, NOW, "signature_mismatch"),
        (_notify(BODY, serial="OTHER"), BODY, NOW, "signature_mismatch"),
        (_notify(BODY, signature="?"), BODY, NOW, "signature_mismatch"),
        (_notify(BODY, signature="WECHATPAY/SIGNTEST/x"), BODY, NOW, "signature_mismatch"),
        (_notify(BODY, signature=""), BODY, NOW, "signature_missing"),
        ({}, BODY, NOW, "signature_missing"),
        (_notify(BODY), BODY, NOW + timedelta(minutes=10), "signature_stale"),
        (_notify(BODY), BODY, NOW - timedelta(minutes=10), "signature_stale"),
    ],
)
def test_a_notification_that_is_not_theirs_or_not_from_now_is_refused(
    headers: dict[str, str], body: bytes, now: datetime, code: str
) -> None:
    with pytest.raises(SignatureRefused) as caught:
        verify_notification(headers, body, public_keys=PUBLIC, api_key=API_KEY, now=now)

    assert caught.value.code == code


def test_keys_are_read_from_pem() -> None:
    private = KEY.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()
    public = (
        KEY.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )

    assert read_private_key(private).private_numbers() == KEY.private_numbers()
    assert read_public_key(public) == KEY.public_key()
    for text in ("", "密钥", "-----BEGIN CERTIFICATE-----\nAA\n-----END CERTIFICATE-----"):
        for read in (read_private_key, read_public_key):
            with pytest.raises(BadInput):
                read(text)


@pytest.mark.parametrize(
    ("code", "retry"),
    [
        ("FREQUENCY_LIMITED", Retry.LATER),
        ("SYSTEM_ERROR", Retry.SAFE),
        ("SIGN_ERROR", Retry.NEVER),
        ("NO_AUTH", Retry.NEVER),
        ("WHATEVER", Retry.NEVER),
    ],
)
def test_an_error_code_says_what_may_be_done(code: str, retry: Retry) -> None:
    fault = find_fault(code)

    assert fault is not None
    assert fault.retry is retry


def test_no_such_order_is_an_answer() -> None:
    assert find_fault("ORDER_NOT_EXIST") is None
    assert map_missing("SO1").record.status == "pending"


@pytest.mark.parametrize("name", CASES)
def test_a_golden_payload_maps_to_its_payment(name: str) -> None:
    case = load_case("wechat_pay", name)

    mapped = map_transaction(case["payload"])

    assert write_record(mapped.record) == case["expected"]
    assert write_notices(mapped) == case["notices"]


@pytest.mark.parametrize("name", CASES)
def test_a_nasty_value_anywhere_gives_a_payment_or_a_named_field(name: str) -> None:
    for payload in list_mutations(load_case("wechat_pay", name)["payload"], seed=4, count=150):
        check_mutation(map_transaction, payload)


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_any_value_anywhere_gives_a_payment_or_a_named_field(data: st.DataObject) -> None:
    payload = load_case("wechat_pay", data.draw(st.sampled_from(CASES)))["payload"]
    path = data.draw(st.sampled_from(list(walk(payload))))

    check_mutation(map_transaction, mutate(payload, path, data.draw(ANYTHING)))


@given(value=ANYTHING, place=st.sampled_from(["id", "resource", "nonce", "associated_data"]))
@settings(max_examples=100, deadline=None)
def test_any_signed_envelope_is_read_or_refused(value: Any, place: str) -> None:
    envelope: dict[str, Any] = json.loads(BODY)
    (envelope["resource"] if place in envelope["resource"] else envelope)[place] = value
    body = json.dumps(envelope, default=str).encode()
    try:
        verify_notification(_notify(body), body, public_keys=PUBLIC, api_key=API_KEY, now=NOW)
    except PayloadError as error:
        assert error.text  # noqa: PT017 - any other exception has to fail the test
