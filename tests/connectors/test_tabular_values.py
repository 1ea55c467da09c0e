"""Cells to values, at their edges."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from connectors.tabular.values import (
    BadCell,
    guess_date_style,
    read_integer,
    read_key,
    read_logical,
    read_money,
    read_number,
    read_text,
    read_time,
)

ZONE = ZoneInfo("Asia/Shanghai")
ALL = ("ymd", "mdy", "compact", "unix", "unix_ms", "excel")


@pytest.mark.parametrize(
    ("text", "fen"),
    [
        ("320.00", 32000),
        ("99.9", 9990),
        (" 50 ", 5000),
        ("¥1,234.50", 123450),
        ("￥１２８．５", 12850),
        ("12元", 1200),
        ("R$ 10.10", 1010),
        ("-5.00", -500),
        ("(5.00)", -500),
        ("319.99999999999994", 32000),
        ("0.29", 29),
        ("", None),
        ("-", None),
        ("1e2", 10000),
    ],
)
def test_money_is_exact_fen(text, fen):
    assert read_money(text, unit="yuan") == fen


def test_money_in_fen_is_taken_as_it_is():
    assert read_money("32000", unit="fen") == 32000


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("1e308", "out_of_range"),
        ("1E+400", "out_of_range"),
        ("1000000000.01", "out_of_range"),
        ("NaN", "not_a_number"),
        ("Infinity", "not_a_number"),
        ("abc", "not_a_number"),
        ("1,23", "not_a_number"),
        ("12.345", "too_precise"),
        ("#REF!", "excel_error"),
    ],
)
def test_bad_money_is_refused_with_a_remedy(text, code):
    with pytest.raises(BadCell) as caught:
        read_money(text, unit="yuan")

    assert caught.value.code == code
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("text", "value"), [("2", 2), ("2.0", 2), ("1,000", 1000), ("", None), ("0", 0)]
)
def test_counts_are_whole(text, value):
    assert read_integer(text, lowest=0, highest=1_000_000) == value


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("-1", "out_of_range"),
        ("1000001", "out_of_range"),
        ("1.5", "not_whole"),
        ("x", "not_a_number"),
    ],
)
def test_bad_counts_are_refused(text, code):
    with pytest.raises(BadCell) as caught:
        read_integer(text, lowest=0, highest=1_000_000)
    assert caught.value.code == code


@pytest.mark.parametrize(
    "text",
    [
        "2025-11-11 14:32:00",
        "2025-11-11T14:32:00",
        "2025/11/11 14:32",
        "2025-11-11T14:32:00+08:00",
        "2025-11-11T06:32:00Z",
        "2025年11月11日 14时32分",
        "２０２５-11-11 14:32:00",
        "11/11/2025 14:32",
        "11/11/2025 2:32 PM",
        "20251111143200",
        "1762842720",
        "1762842720000",
        "45972.6055555556",
    ],
)
def test_every_date_style_gives_the_same_moment(text):
    assert read_time(text, styles=ALL, zone=ZONE) == datetime(2025, 11, 11, 6, 32, tzinfo=UTC)


def test_day_and_month_are_told_apart_by_the_style_only():
    us = read_time("3/4/2025 0:00", styles=("mdy",), zone=ZONE)
    european = read_time("3/4/2025 0:00", styles=("dmy",), zone=ZONE)

    assert (us.astimezone(ZONE).month, european.astimezone(ZONE).month) == (3, 4)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("0001-01-01 00:00:00", "bad_year"),
        ("9999-12-31 23:59:59", "bad_year"),
        ("1/1/9999 0:00", "bad_year"),
        ("2025-02-30 00:00:00", "not_a_time"),
        ("2025-13-01", "not_a_time"),
        ("13/13/2025 0:00", "not_a_time"),
        ("yesterday", "not_a_time"),
        ("NaN", "not_a_time"),
        ("99999999999999999999", "not_a_time"),
    ],
)
def test_bad_times_are_refused(text, code):
    with pytest.raises(BadCell) as caught:
        read_time(text, styles=ALL, zone=ZONE)
    assert caught.value.code == code
    assert caught.value.remedy


def test_a_style_that_is_not_chosen_is_not_tried():
    with pytest.raises(BadCell):
        read_time("1762842720", styles=("ymd",), zone=ZONE)


@pytest.mark.parametrize(
    ("samples", "style"),
    [
        (["10/2/2017 10:56", "7/24/2018 20:41"], "mdy"),
        (["2/10/2017 10:56", "24/7/2018 20:41"], "dmy"),
        (["10/2/2017 10:56"] * 9 + ["13/45/2017 1:00"], "mdy"),
        (["2017-10-02"] * 3 + ["x", "y"], ""),
        (["2026-11-11 10:00:00", "2026/11/11 10:05", "0001-01-01 00:00:00"], "ymd"),
        (["2017/10/2 10:56", ""], "ymd"),
        (["1762842720"], "unix"),
        (["1762842720000"], "unix_ms"),
        (["45972.5", "45973"], "excel"),
        (["20251111"], "compact"),
        (["x"], ""),
        ([""], ""),
    ],
)
def test_the_date_style_is_guessed_from_all_samples(samples, style):
    assert guess_date_style(samples) == style


@pytest.mark.parametrize("text", ["3.81001E+13", "1.00000000000000E+17"])
def test_an_order_number_that_excel_rounded_is_refused(text):
    with pytest.raises(BadCell) as caught:
        read_key(text, max_length=64)
    assert caught.value.code == "number_lost"


@pytest.mark.parametrize(
    ("text", "key"),
    [(" A1 ", "A1"), ("'123", "123"), ('="00123"', "00123"), ("`99", "99"), ("7E12A", "7E12A")],
)
def test_keys_lose_what_exporters_add(text, key):
    assert read_key(text, max_length=64) == key


def test_text_that_is_too_long_is_refused():
    with pytest.raises(BadCell) as caught:
        read_text("x" * 101, max_length=100)
    assert caught.value.code == "too_long"


def test_control_characters_leave_text():
    assert read_text("a\x00b\u202ec", max_length=10) == "a b c"


def test_numbers_and_yes_and_no():
    assert read_number("7,150.5") == 7150.5
    assert (read_logical("是"), read_logical("N"), read_logical("")) == (True, False, None)
    with pytest.raises(BadCell):
        read_number("1e300")
    with pytest.raises(BadCell):
        read_logical("也许")
