"""Refusals and messages of TOP."""

from __future__ import annotations

from datetime import datetime

import pytest

from connectors.channels.tmall.answers import FAULTS, find_fault, read_messages, read_refusal
from connectors.http import Retry
from connectors.wire import SHANGHAI, PayloadError

R, LATER, S = Retry.SAFE, Retry.LATER, Retry.NEVER
LISTED = [7, 9, 10, 11, 12, 13, *range(21, 35), 40, 41, 42, 43]


@pytest.mark.parametrize(
    ("codes", "retry"),
    [
        ([7], LATER),
        ([9, 11, 12, 13, 42, 43], S),
        ([10], R),
        ([*range(21, 26), *range(28, 35), 40, 41], S),
        ([26, 27], R),
    ],
)
def test_error_code_has_its_retry_class(codes: list[int], retry: Retry) -> None:
    assert {find_fault(code).retry for code in codes} == {retry}


def test_every_listed_code_is_in_the_table() -> None:
    assert [code for code in LISTED if code not in FAULTS] == []


def test_only_a_session_error_refreshes_the_token() -> None:
    assert [code for code in FAULTS if FAULTS[code].refresh_token] == [26, 27]


def test_only_a_time_error_resyncs_the_clock() -> None:
    assert [code for code in FAULTS if FAULTS[code].resync_clock] == [30, 31]


@pytest.mark.parametrize(
    ("sub_code", "retry"),
    [("isp.remote-service-timeout", R), ("isv.trade-not-exist", S), ("", S), ("other", S)],
)
def test_remote_error_is_retried_when_it_is_the_platforms(sub_code: str, retry: Retry) -> None:
    assert find_fault(15, sub_code).retry is retry


def test_used_up_quota_waits_and_a_short_limit_does_not() -> None:
    day = find_fault(7, "accesscontrol.limited-by-app-access-count")
    short = find_fault(7, "accesscontrol.limited-by-api-access-count")

    assert (day.retry, day.wait_for_quota) == (LATER, True)
    assert (short.retry, short.wait_for_quota) == (LATER, False)


def test_unlisted_code_is_never_retried() -> None:
    assert find_fault(99999).retry is S


def test_refusal_is_read_from_an_answer_with_status_200() -> None:
    refusal = read_refusal(
        {
            "error_response": {
                "code": 7,
                "msg": "App Call Limited",
                "sub_code": "accesscontrol.limited-by-api-access-count",
                "sub_msg": "This ban will last for 3 more seconds",
                "request_id": "abc1",
            }
        }
    )

    assert refusal is not None
    assert (refusal.code, refusal.ban_seconds, refusal.request_id) == (7, 3, "abc1")
    assert refusal.fault.retry is LATER


def test_answer_without_refusal_is_none() -> None:
    assert read_refusal({"trades_sold_increment_get_response": {}}) is None


@pytest.mark.parametrize("answer", [[], {"error_response": []}, {"error_response": {"code": "x"}}])
def test_unreadable_refusal_names_its_field(answer: object) -> None:
    with pytest.raises(PayloadError) as caught:
        read_refusal(answer)

    assert "字段" in caught.value.text


@pytest.mark.parametrize("is_simple", [False, True])
def test_messages_name_their_trade_in_either_spelling(is_simple: bool) -> None:
    messages = [
        {
            "id": 4160600490938325004,
            "topic": "taobao_trade_TradeBuyerPay",
            "user_nick": "河道旗舰店",
            "pub_time": "2025-11-11 00:15:01",
            "content": '{"tid":2890000000000000001,"status":"WAIT_SELLER_SEND_GOODS"}',
        },
        {"id": 2, "topic": "taobao_item_ItemUpdate", "content": ""},
    ]
    body = messages if is_simple else {"tmc_message": messages}

    first, second = read_messages({"tmc_messages_consume_response": {"messages": body}})

    assert (first.order_no, first.seller) == ("2890000000000000001", "河道旗舰店")
    assert first.published_at == datetime(2025, 11, 11, 0, 15, 1, tzinfo=SHANGHAI)
    assert first.replay_key == "tmall:tmc:4160600490938325004"
    assert (second.order_no, second.published_at) == ("", None)


def test_no_messages_are_an_empty_list() -> None:
    assert read_messages({"tmc_messages_consume_response": {"request_id": "x"}}) == ()


@pytest.mark.parametrize(
    ("message", "field"),
    [({"topic": "t"}, "id"), ({"id": 1}, "topic")],
)
def test_broken_message_names_its_field(message: dict[str, object], field: str) -> None:
    with pytest.raises(PayloadError) as caught:
        read_messages({"messages": [message]})

    assert caught.value.params["field"] == f"messages[0].{field}"


@pytest.mark.parametrize(
    "content", ["[]", "{", "null", '{"tid":[]}', 5, '{"tid":"' + "9" * 99 + '"}']
)
def test_message_with_unreadable_content_can_still_be_confirmed(content: object) -> None:
    [message] = read_messages({"messages": [{"id": 7, "topic": "t", "content": content}]})

    assert (message.message_id, message.order_no) == ("7", "")
