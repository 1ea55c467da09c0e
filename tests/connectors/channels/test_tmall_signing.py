"""Signatures of TOP: the vectors of channels.md 3.1, and calls of TOP to us."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.channels.tmall.signing import (
    SignMethod,
    build_form,
    sign_call,
    sign_push,
    verify_push,
    write_clock,
)
from connectors.wire import SHANGHAI, SignatureRefused

NOW = datetime(2025, 11, 10, 16, 15, tzinfo=UTC)  # 00:15 of the 11th in Shanghai
SECRET = "demo-push-secret"
BODY = '{"tid":2890000000000000001,"备注":"急"}'.encode()
QUERY = [("method", "taobao.demo.notify"), ("app_key", "10000001"), ("timestamp", "2025-11-11 00:15:00")]  # fmt: skip
OFFICIAL = {
    "method": "taobao.item.seller.get",
    "app_key": "12345678",
    "session": "test",
    "timestamp": "2016-01-01 12:00:00",
    "format": "json",
    "v": "2.0",
    "sign_method": "md5",
    "fields": "num_iid,title,nick,price,num",
    "num_iid": "11223344",
}
COMPUTED = {
    "app_key": "10000001",
    "end_modified": "2025-11-11 00:15:00",
    "fields": "tid,status,modified",
    "format": "json",
    "method": "taobao.trades.sold.increment.get",
    "page_no": "1",
    "page_size": "50",
    "session": "sess-demo-1",
    "start_modified": "2025-11-11 00:00:00",
    "timestamp": "2025-11-11 00:15:00",
    "use_has_next": "true",
    "v": "2.0",
}


def test_official_vector_is_reproduced() -> None:
    sign = sign_call(OFFICIAL, secret="helloworld", method=SignMethod.MD5)

    assert sign == "66987CB115214E59E6EC978214934FB8"


def test_official_input_signs_with_hmac_as_computed() -> None:
    sign = sign_call(OFFICIAL, secret="helloworld", method=SignMethod.HMAC_MD5)

    assert sign == "B4DDA503460D60A86B16E950E5D303E9"


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        (SignMethod.MD5, "2BBEC3864415A4C5B22256CABF7C590B"),
        (SignMethod.HMAC_MD5, "738208AD55509EED942B466094C0D0D1"),
        (
            SignMethod.HMAC_SHA256,
            "689AD93A80B9376CA4C8759A39B9C0FB8317BAE40707B41CA892DA7D383B6C71",
        ),
    ],
)
def test_computed_vector_is_reproduced(method: SignMethod, expected: str) -> None:
    params = COMPUTED | {"sign_method": method.value}

    assert sign_call(params, secret="demo-top-secret", method=method) == expected


def test_empty_parameters_and_an_old_sign_are_not_signed() -> None:
    noisy = OFFICIAL | {"partner_id": "", "sign": "OLD"}

    assert sign_call(noisy, secret="helloworld", method=SignMethod.MD5) == (
        "66987CB115214E59E6EC978214934FB8"
    )


def test_form_of_a_call_is_the_computed_vector() -> None:
    own = {"method", "app_key", "timestamp", "format", "v", "session"}
    form = build_form(
        app_key="10000001",
        secret="demo-top-secret",
        method="taobao.trades.sold.increment.get",
        params={k: v for k, v in COMPUTED.items() if k not in own} | {"type": ""},
        now=NOW,
        session="sess-demo-1",
    )

    assert form == COMPUTED | {
        "sign_method": "hmac-sha256",
        "sign": "689AD93A80B9376CA4C8759A39B9C0FB8317BAE40707B41CA892DA7D383B6C71",
    }


def test_clock_is_beijing_time_wherever_the_server_stands() -> None:
    assert write_clock(NOW) == "2025-11-11 00:15:00"
    assert write_clock(NOW.astimezone(SHANGHAI)) == "2025-11-11 00:15:00"


def test_parameters_of_a_caller_never_replace_the_signed_ones() -> None:
    form = build_form(
        app_key="k", secret="s", method="m", params={"app_key": "other", "format": "xml"}, now=NOW
    )

    assert (form["app_key"], form["format"]) == ("k", "json")


# -- calls of TOP to us ----------------------------------------------------------------------------


def push(
    query: list[tuple[str, str]] = QUERY, headers: dict[str, str] | None = None
) -> list[tuple[str, str]]:
    signed = dict(query) | (headers or {})
    return [*query, ("sign", sign_push(signed, BODY, secret=SECRET))]


def test_push_with_its_signature_is_verified_and_keyed() -> None:
    query = push()

    verified = verify_push({}, query, BODY, secrets=["newer", SECRET], now=NOW)

    assert verified.signed_at == NOW
    assert verified.replay_keys == (f"tmall:{query[-1][1]}",)


def test_signed_headers_are_part_of_the_signature() -> None:
    query = push(headers={"X-Shop": "河道"})
    headers = {"top-sign-list": "X-Shop", "x-shop": "%E6%B2%B3%E9%81%93"}

    assert verify_push(headers, query, BODY, secrets=[SECRET], now=NOW).signed_at == NOW
    with pytest.raises(SignatureRefused):
        verify_push({**headers, "x-shop": "else"}, query, BODY, secrets=[SECRET], now=NOW)


@pytest.mark.parametrize(
    "drift", [timedelta(minutes=5, seconds=1), -timedelta(minutes=5, seconds=1)]
)
def test_push_outside_its_time_is_refused(drift: timedelta) -> None:
    with pytest.raises(SignatureRefused) as caught:
        verify_push({}, push(), BODY, secrets=[SECRET], now=NOW + drift)

    assert caught.value.code == "signature_stale"


@pytest.mark.parametrize(
    ("query", "code"),
    [
        (QUERY, "signature_missing"),
        ([*QUERY, ("sign", "0" * 32)], "signature_mismatch"),
        ([*QUERY, ("sign", "签名")], "signature_mismatch"),
        ([("sign", "0" * 32)], "signature_missing"),
        ([("timestamp", "2025-02-30 00:00:00"), ("sign", "0" * 32)], "signature_missing"),
        ([*push(), ("app_key", "10000001")], "signature_missing"),
    ],
)
def test_push_without_a_good_signature_is_refused(query: list[tuple[str, str]], code: str) -> None:
    with pytest.raises(SignatureRefused) as caught:
        verify_push({}, query, BODY, secrets=[SECRET], now=NOW)

    assert caught.value.code == code


@given(st.data())
def test_any_changed_byte_is_refused(data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(BODY) - 1))
    other = data.draw(st.integers(0, 255).filter(lambda byte: byte != BODY[index]))
    changed = BODY[:index] + bytes([other]) + BODY[index + 1 :]

    with pytest.raises(SignatureRefused):
        verify_push({}, push(), changed, secrets=[SECRET], now=NOW)


def test_no_secret_verifies_nothing() -> None:
    with pytest.raises(SignatureRefused):
        verify_push({}, push(), BODY, secrets=[], now=NOW)
