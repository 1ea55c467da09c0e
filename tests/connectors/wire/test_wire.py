"""Reading fields of a payload, and the time window of a signature."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.wire import (
    SHANGHAI,
    PayloadError,
    Reader,
    SignatureRefused,
    check_window,
    is_same,
    read_json,
)

NOW = datetime(2025, 11, 10, 16, 15, tzinfo=UTC)

# What a field of a payload may hold: anything JSON can say.
ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.decimals(allow_nan=False, allow_infinity=False)
    | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@pytest.mark.parametrize(
    ("value", "fen"),
    [
        ("199.00", 19900),
        ("0.29", 29),
        ("1.1", 110),
        ("-3.05", -305),
        (Decimal("19.9"), 1990),
        (Decimal("1E+2"), 10000),
        (7, 700),
        ("0", 0),
        ("", None),
        (None, None),
    ],
)
def test_yuan_become_whole_fen(value: object, fen: int | None) -> None:
    assert Reader({"x": value}).yuan("x") == fen


@pytest.mark.parametrize(
    "value", ["1.005", "1,000", "1e3", "NaN", 1.1, True, "一", Decimal("1E+99")]
)
def test_what_is_no_amount_is_refused_by_name(value: object) -> None:
    with pytest.raises(PayloadError) as caught:
        Reader({"amounts": {"x": value}}).one("amounts").yuan("x")

    assert caught.value.params["field"] == "amounts.x"
    assert "amounts.x" in caught.value.text


@pytest.mark.parametrize("value", [1.0, True, "1.0", "٣", [], {}, 10**16])
def test_fen_are_never_rounded_from_something_else(value: object) -> None:
    with pytest.raises(PayloadError, match="x"):
        Reader({"x": value}).fen("x")


def test_moments_are_in_shanghai_and_nothing_is_none() -> None:
    row = Reader(
        {
            "seconds": 1762791300,
            "zero": 0,
            "clock": "2025-11-11 00:15:00",
            "never": "0001-01-01 00:00:00",
            "epoch": "1970-01-01 08:00:00",
            "zoned": "2025-11-10T16:15:00Z",
        }
    )

    for moment in (row.unix_seconds("seconds"), row.clock("clock"), row.rfc3339("zoned")):
        assert moment == NOW
        assert moment is not None
        assert moment.tzinfo is SHANGHAI
    assert [row.unix_seconds("zero"), row.clock("never"), row.clock("epoch")] == [None] * 3


@pytest.mark.parametrize(
    ("method", "value"),
    [
        ("unix_seconds", 1762791300000),  # milliseconds
        ("unix_seconds", "yesterday"),
        ("clock", "2025-02-30 00:00:00"),
        ("clock", "2025-11-11T00:15:00"),
        ("rfc3339", "2025-11-11T00:15:00"),  # no zone
        ("rfc3339", "0001-01-01T00:00:00+14:00"),
        ("rfc3339", 1762791300),
    ],
)
def test_what_is_no_moment_is_refused_by_name(method: str, value: object) -> None:
    with pytest.raises(PayloadError, match="报文字段 x"):
        getattr(Reader({"x": value}), method)("x")


def test_an_identifier_is_never_cut() -> None:
    assert Reader({"x": 4781320682406083640}).identifier("x") == "4781320682406083640"
    with pytest.raises(PayloadError, match="64"):
        Reader({"x": "1" * 65}).identifier("x")
    with pytest.raises(PayloadError, match="控制字符"):
        Reader({"x": "1\x002"}).identifier("x")


def test_an_error_shows_the_path_and_never_the_value() -> None:
    payload = {"items": [{}, {"quantity": "张三 13800000000"}]}

    with pytest.raises(PayloadError) as caught:
        Reader(payload).many("items")[1].quantity("quantity")

    assert "items[1].quantity" in caught.value.text
    assert "138" not in caught.value.text


@pytest.mark.parametrize("raw", [b"", b"{", b"[NaN]", b"[" * 100_000, b"\xff\xfe", b"9" * 5000])
def test_what_is_no_json_is_one_clear_error(raw: bytes) -> None:
    with pytest.raises(PayloadError) as caught:
        read_json(raw)

    assert caught.value.code == "payload_json"


def test_fractions_are_decimals_and_half_characters_are_replaced() -> None:
    value = read_json('{"a": 0.1, "b": "x\\ud800y", "c": "\\ud83d\\ude00"}')

    assert value == {"a": Decimal("0.1"), "b": "x?y", "c": "😀"}
    json.dumps(value, ensure_ascii=False, default=str).encode()


_METHODS = [
    "text",
    "text_or_none",
    "identifier",
    "required_identifier",
    "integer",
    "required_integer",
    "quantity",
    "fen",
    "yuan",
    "flag",
    "unix_seconds",
    "clock",
    "rfc3339",
    "one",
    "many",
]


@given(value=ANYTHING, method=st.sampled_from(_METHODS))
@settings(max_examples=400, deadline=None)
def test_any_value_is_read_or_refused_by_name(value: Any, method: str) -> None:
    found, error = _try(getattr(Reader({"x": value}), method))

    if error is not None:
        assert error.params["field"].startswith("x")
        assert error.text
    elif isinstance(found, str):
        found.encode()
    assert not isinstance(found, float)
    assert not isinstance(found, datetime) or found.utcoffset() is not None


def _try(read: Any) -> tuple[object, PayloadError | None]:
    try:
        return read("x"), None
    except PayloadError as error:
        return None, error


def test_the_window_holds_to_the_second() -> None:
    stamp, five = str(int(NOW.timestamp())), timedelta(minutes=5)

    assert check_window(stamp, now=NOW + five, tolerance=five) == NOW
    assert check_window(stamp, now=NOW - five, tolerance=five) == NOW
    for now in (NOW + five + timedelta(seconds=1), NOW - five - timedelta(seconds=1)):
        with pytest.raises(SignatureRefused) as caught:
            check_window(stamp, now=now, tolerance=five)
        assert caught.value.code == "signature_stale"


@pytest.mark.parametrize("stamp", ["", "-1", "1e9", "٣", "9" * 13, "99999999999"])
def test_a_stamp_that_is_no_time_is_refused(stamp: str) -> None:
    with pytest.raises(SignatureRefused):
        check_window(stamp, now=NOW, tolerance=timedelta(minutes=5))


def test_signatures_of_any_characters_are_compared() -> None:
    assert is_same("abc", "abc")
    assert not is_same("abc", "签\ud800名")
