"""What a careless seller's program loses or doubles at TOP, and a careful one does not.

Each misbehaviour of the simulator has its pair here. Both programs are written in this file; the
product is tested elsewhere.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from connectors.simulators.life import LifeLine
from connectors.simulators.tmall import Tmall
from tests.connectors.simulators.lives import make_life, minutes
from tests.connectors.simulators.tmall_caller import (
    DETAIL,
    KEYS,
    LIST,
    Top,
    at,
    numbers,
    signed,
    text,
)

SIZE = 10


@pytest.fixture
def top() -> Iterator[Top]:
    world = Top(at=minutes(0))
    world.app = Tmall(world.store, world.clock, world.faults, KEYS)
    with world.serving(tmall=world.app):
        yield world


def fill(top: Top, count: int, **more: Any) -> set[str]:
    """Orders a minute apart; their numbers."""
    lives = [make_life(n, n, **more) for n in range(1, count + 1)]
    top.store.add(*lives)
    return {life.order_no for life in lives}


def read(top: Top, start: float, end: float, page: int, **more: Any) -> dict[str, Any]:
    """One page of a window in minutes."""
    return top.page(start, end, page, page_size=SIZE, **more)


def read_forwards(top: Top, start: float, end: float) -> list[str]:
    """Careless: page 1, 2, 3... until there is no next."""
    found, page = [], 1
    while True:
        answer = read(top, start, end, page, use_has_next="true")
        found += numbers(answer)
        if not answer["has_next"]:
            return found
        page += 1


def read_backwards(top: Top, start: float, end: float) -> list[str]:
    """Careful: the total first, then from the last page to the first."""
    total = read(top, start, end, 1)["total_results"]
    found: list[str] = []
    for page in range(max(1, -(-total // SIZE)), 0, -1):
        found += numbers(read(top, start, end, page, use_has_next="true"))
    return found


# -- orders change while they are being paged ----------------------------------------------------


@pytest.mark.parametrize("page", [1, 2, 3])
def test_paging_forwards_loses_orders_that_slip_to_a_page_already_read(top: Top, page: int) -> None:
    truth = fill(top, 45)
    at(top, 60)
    assert set(read_forwards(top, 0, 50)) == truth
    top.faults.switch("tmall", LIST, "mutate_between_pages", page=page, times=1)
    assert len(truth - set(read_forwards(top, 0, 50))) == 3


def test_paging_backwards_loses_none_however_often_orders_change(top: Top) -> None:
    truth = fill(top, 45)
    at(top, 60)
    top.faults.switch("tmall", LIST, "mutate_between_pages", times=5)
    seen = set(read_backwards(top, 0, 50))
    # What left the window while it was read is in the next one.
    at(top, 75)
    seen |= set(read_backwards(top, 40, 74))
    assert seen == truth


# -- changes show late -------------------------------------------------------------------------


def read_in_windows(top: Top, overlap: float, settle: float) -> set[str]:
    """A window every 15 minutes: from the last end minus `overlap` to now minus `settle`."""
    found: set[str] = set()
    end = 0.0
    for now in range(15, 106, 15):
        at(top, now)
        found |= set(read_backwards(top, max(end - overlap, -1), now - settle))
        end = now - settle
    return found


def test_windows_without_overlap_lose_what_shows_late(top: Top) -> None:
    late = fill(top, 60, lag=timedelta(minutes=3))
    at(top, 200)
    top.store.add(prompt := make_life(100, 2))
    assert 0 < len(late - read_in_windows(top, overlap=0, settle=0)) < len(late)
    found = read_in_windows(top, overlap=10, settle=1)
    assert found == late | {prompt.order_no}


# -- a window that is not read to its end --------------------------------------------------------


def scan(top: Top, *, moves_early: bool) -> set[str]:
    """Two scans; the first breaks on its second page. `moves_early`: cursor first, then pages."""
    found: set[str] = set()
    cursor = 0.0
    for now in (50.0, 65.0):
        at(top, now)
        start, end = cursor, now - 1
        if moves_early:
            cursor = end
        try:
            total = read(top, start, end, 1)["total_results"]
            for page in range(-(-total // SIZE), 0, -1):
                found |= set(numbers(read(top, start, end, page)))
        except AssertionError:  # the caller's word for HTTP 500
            continue
        cursor = end
    return found


@pytest.mark.parametrize("moves_early", [True, False])
def test_a_cursor_that_moves_before_its_window_is_read_loses_the_rest(
    top: Top, moves_early: bool
) -> None:
    truth = fill(top, 45)
    top.faults.switch("tmall", LIST, "http_500", page=3, times=1)
    lost = truth - scan(top, moves_early=moves_early)
    assert bool(lost) is moves_early


# -- pages that are cut short or come twice ------------------------------------------------------


def read_until_short(top: Top) -> list[str]:
    """Careless: a page that is not full is the last one."""
    found, page = [], 1
    while True:
        part = numbers(read(top, 0, 50, page))
        found += part
        if len(part) < SIZE:
            return found
        page += 1


def read_to_the_total(top: Top) -> list[str]:
    """Careful: the window again until as many different orders came as it has."""
    for _ in range(5):
        total = read(top, 0, 50, 1)["total_results"]
        found = dict.fromkeys(read_backwards(top, 0, 50))
        if len(found) == total:
            return list(found)
    raise AssertionError("never complete")


@pytest.mark.parametrize("kind", ["half_page", "repeated_page"])
def test_a_short_or_repeated_page_loses_and_doubles_for_who_does_not_count(
    top: Top, kind: str
) -> None:
    truth = fill(top, 45)
    at(top, 60)
    top.faults.switch("tmall", LIST, kind, page=2, times=1)
    careless = read_until_short(top)
    assert len(truth) > len(truth - set(careless)) > 0
    if kind == "repeated_page":
        assert len(careless) > len(set(careless))
    top.faults.switch("tmall", LIST, kind, page=2, times=1)
    careful = read_to_the_total(top)
    assert set(careful) == truth
    assert len(careful) == len(truth)


# -- failures that look like an answer, or like none ---------------------------------------------


def read_once(top: Top, *, checks: bool) -> set[str]:
    """All pages; `checks`: whether an answer is looked at before its orders are."""
    found: set[str] = set()
    for page in range(5, 0, -1):
        for _ in range(4 if checks else 1):
            params = top.params(
                LIST, fields="tid_str", start_modified=text(minutes(0)),
                end_modified=text(minutes(50)), page_no=page, page_size=SIZE,
            )  # fmt: skip
            try:
                answer = top.send(signed(params))
            except (AssertionError, ValueError, OSError, http.client.HTTPException):
                continue
            if checks and "error_response" in answer:
                top.clock.advance(timedelta(seconds=2))
                continue
            found |= set(numbers(answer.get("trades_sold_increment_get_response", {})))
            break
    return found


@pytest.mark.parametrize(
    "kind",
    [
        "http_500",
        "http_503",
        "refuse_connection",
        "timeout_before",
        "timeout_after_accept",
        "garbage",
        "throttle",
        "service_error",
        "wrong_clock",
    ],
)
def test_a_failure_taken_for_an_empty_page_loses_its_orders(top: Top, kind: str) -> None:
    truth = fill(top, 45)
    at(top, 60)
    top.faults.switch(
        "tmall", LIST, kind, page=3, times=1, seconds=900 if "clock" in kind else 0.05
    )
    assert len(truth - read_once(top, checks=False)) == SIZE
    top.faults.switch(
        "tmall", LIST, kind, page=3, times=1, seconds=900 if "clock" in kind else 0.05
    )
    assert read_once(top, checks=True) == truth


def test_a_slow_answer_is_lost_only_by_who_hangs_up(top: Top) -> None:
    fill(top, 5)
    at(top, 60)
    params = signed(top.params(
        LIST, fields="tid_str", start_modified=text(minutes(0)), end_modified=text(minutes(50))
    ))  # fmt: skip
    body = "&".join(f"{k}={v.replace(' ', '+').replace(':', '%3A')}" for k, v in params.items())
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    top.faults.switch("tmall", LIST, "slow_drip", times=2, seconds=2)
    with pytest.raises((TimeoutError, http.client.HTTPException)):
        top.call("POST", "/tmall/router/rest", body.encode(), headers, timeout=0.1)
    reply = top.call("POST", "/tmall/router/rest", body.encode(), headers, timeout=3)
    answer = json.loads(reply.body)["trades_sold_increment_get_response"]
    assert answer["total_results"] == 5


# -- kinds nobody asked for ----------------------------------------------------------------------


def test_who_names_no_types_never_sees_free_orders(top: Top) -> None:
    free = make_life(
        1, 1, lines=[LifeLine("GIFT", "小样", 1, 0)], freight_fen=0, shop_discount_fen=0
    )
    top.store.add(free, make_life(2, 1))
    at(top, 60)
    assert free.order_no not in numbers(read(top, 0, 50, 1))
    named = read(top, 0, 50, 1, type="guarantee_trade,step,cod,ec,auto_delivery,nopaid")
    assert free.order_no in numbers(named)


# -- an old picture after a new one --------------------------------------------------------------


class Book:
    """Orders by number with their status; `guards`: an older picture never overwrites a newer."""

    def __init__(self, *, guards: bool) -> None:
        self.guards = guards
        self.orders: dict[str, tuple[str, str]] = {}

    def write(self, trade: dict[str, Any]) -> None:
        picture = (trade["modified"], trade["status"])
        if not self.guards or picture > self.orders.get(trade["tid_str"], ("", "")):
            self.orders[trade["tid_str"]] = picture


@pytest.mark.parametrize("guards", [True, False])
def test_a_lagging_list_turns_an_order_back_for_who_keeps_no_version(
    top: Top, guards: bool
) -> None:
    life = make_life(1, 1, paid=minutes(20), lag=timedelta(minutes=5))
    top.store.add(life)
    at(top, 21)
    book = Book(guards=guards)
    book.write(top.detail(life, "tid_str,status,modified"))  # a message came, the detail was read
    for trade in read(top, 0, 21, 1)["trades"]["trade"]:
        book.write(trade)
    status = book.orders[life.order_no][1]
    assert status == ("WAIT_SELLER_SEND_GOODS" if guards else "WAIT_BUYER_PAY")


@pytest.mark.parametrize("looks_again", [True, False])
def test_a_detail_that_has_not_caught_up_loses_a_payment_for_who_looks_once(
    top: Top, looks_again: bool
) -> None:
    """The list names the change, the detail is still the one before: who does not compare their
    times takes the order for unpaid, and nothing tells of it again."""
    life = make_life(1, 1, paid=minutes(20))
    top.store.add(life)
    at(top, 21)
    top.faults.switch("tmall", DETAIL, "stale_detail", times=1, seconds=90)
    (row,) = read(top, 0, 21, 1)["trades"]["trade"]
    detail = top.detail(life, "tid_str,status,modified")
    if looks_again and detail["modified"] < row["modified"]:
        detail = top.detail(life, "tid_str,status,modified")
    assert detail["status"] == ("WAIT_SELLER_SEND_GOODS" if looks_again else "WAIT_BUYER_PAY")


# -- masks ---------------------------------------------------------------------------------------


def test_who_merges_orders_by_their_masked_receiver_loses_one(top: Top) -> None:
    """Two people of one house: what is shown of them is the same. The oaid tells them apart."""
    fields = "tid_str,receiver_name,receiver_mobile,receiver_phone,receiver_address,created,oaid"
    pair = [
        make_life(1, 1, receiver="王女士", phone="13800001234", buyer="b1"),
        make_life(2, 2, receiver="王小姐", phone="13899991234", buyer="b2"),
    ]
    top.store.add(*pair)
    at(top, 5)
    shown = [top.detail(life, fields) for life in pair]

    def merge(*names: str) -> set[tuple[str, ...]]:
        return {tuple(trade[name] for name in names) for trade in shown}

    assert len(merge("receiver_name", "receiver_mobile", "receiver_address")) == 1
    assert len(merge("oaid")) == len(merge("tid_str")) == 2


# -- messages ------------------------------------------------------------------------------------

TOPICS = "taobao_trade_TradeCreate,taobao_trade_TradeBuyerPay"


def consume(top: Top) -> list[dict[str, Any]]:
    """What waits."""
    answer = top.ask("taobao.tmc.messages.consume", session="", quantity=10)
    found = answer.get("messages", {}).get("tmc_message", [])
    assert isinstance(found, list)
    return found


def confirm(top: Top, messages: list[dict[str, Any]]) -> None:
    """Tell that they are processed."""
    ids = ",".join(str(message["id"]) for message in messages)
    top.ask("taobao.tmc.messages.confirm", session="", s_message_ids=ids)


def work(top: Top, *, confirms_first: bool, dies: Callable[[], bool]) -> list[str]:
    """One round: consume, write, confirm. Returns what was written before the worker died."""
    messages = consume(top)
    written: list[str] = []
    if confirms_first and messages:
        confirm(top, messages)
    for message in messages:
        if dies():
            return written
        written.append(str(json.loads(message["content"])["tid"]))
    if not confirms_first and messages:
        confirm(top, messages)
    return written


@pytest.mark.parametrize("confirms_first", [True, False])
def test_messages_confirmed_before_they_are_written_die_with_the_worker(
    top: Top, confirms_first: bool
) -> None:
    top.ask("taobao.tmc.user.permit", topics=TOPICS)
    truth = fill(top, 4)
    at(top, 10)
    steps = iter([False, False, True])
    written = work(top, confirms_first=confirms_first, dies=lambda: next(steps))
    at(top, 12)
    written += work(top, confirms_first=confirms_first, dies=lambda: False)
    assert (set(written) == truth) is not confirms_first


def test_a_confirmation_without_an_answer_must_be_safe_to_repeat(top: Top) -> None:
    top.ask("taobao.tmc.user.permit", topics=TOPICS)
    fill(top, 3)
    at(top, 10)
    messages = consume(top)
    operation = "taobao.tmc.messages.confirm"
    top.faults.switch("tmall", operation, "timeout_after_accept", times=1, seconds=0.05)
    with pytest.raises((OSError, http.client.HTTPException)):
        confirm(top, messages)
    confirm(top, messages)
    at(top, 12)
    assert consume(top) == []


def test_a_message_that_comes_twice_doubles_for_who_only_appends(top: Top) -> None:
    top.ask("taobao.tmc.user.permit", topics=TOPICS)
    top.faults.switch("tmall", "tmc", "duplicate_callback", times=2)
    truth = fill(top, 3)
    at(top, 10)
    appended, kept = [], {}
    for message in consume(top):
        content = json.loads(message["content"])
        appended.append(content["tid"])
        kept[(content["tid"], message["topic"], message["pub_time"])] = content
    assert len(appended) == 5
    assert len(kept) == len(truth) == 3


def test_a_message_that_is_lost_is_found_by_the_list_only(top: Top) -> None:
    top.ask("taobao.tmc.user.permit", topics=TOPICS)
    top.faults.switch("tmall", "tmc", "drop_callback", times=1)
    truth = fill(top, 3)
    at(top, 60)
    told = {str(json.loads(message["content"])["tid"]) for message in consume(top)}
    assert len(truth - told) == 1
    assert told | set(read_backwards(top, 0, 50)) == truth


# -- tokens --------------------------------------------------------------------------------------


def test_two_workers_that_refresh_the_same_token_leave_one_without(top: Top) -> None:
    fill(top, 1)
    at(top, 60)

    def refresh(token: str) -> dict[str, Any]:
        params = top.params("taobao.top.auth.token.refresh", session="", refresh_token=token)
        return top.send(signed(params))

    first = refresh("refresh-1")["top_auth_token_refresh_response"]
    assert refresh("refresh-1")["error_response"]["sub_code"] == "isv.invalid-grant"
    session = json.loads(first["token_result"])["access_token"]  # who waited for the lock has this
    assert len(numbers(read(top, 0, 50, 1, session=session))) == 1


def test_a_day_of_outage_must_be_read_in_legal_slices(top: Top) -> None:
    truth = {make_life(n, n * 60).order_no for n in range(1, 60)}
    top.store.add(*(make_life(n, n * 60) for n in range(1, 60)))
    at(top, 3600)
    whole = top.params(
        LIST, fields="tid_str", start_modified=text(minutes(0)), end_modified=text(minutes(3599))
    )
    assert top.refused(signed(whole))["code"] == 41
    found: set[str] = set()
    start = minutes(0)
    while start < minutes(3599):
        end = min(start + timedelta(days=1), minutes(3599))
        found |= set(read_backwards(top, _minute(start), _minute(end)))
        start = end
    assert found == truth


def _minute(moment: datetime) -> float:
    return (moment - minutes(0)).total_seconds() / 60
