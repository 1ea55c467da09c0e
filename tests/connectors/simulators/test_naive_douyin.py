"""What a careless shop's program loses or doubles at Douyin, and a careful one does not.

Each misbehaviour of the simulator has its pair here. Both programs are written in this file; the
product is tested elsewhere.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from connectors.simulators.douyin import Douyin
from tests.connectors.simulators.douyin_caller import (
    KEYS,
    Doudian,
    at,
    canonical,
    make,
    numbers,
    seconds,
)
from tests.connectors.simulators.lives import minutes

SIZE = 10
LIST = "order.searchList"
DAY = 24 * 60


@pytest.fixture
def shop() -> Iterator[Doudian]:
    world = Doudian(at=minutes(0))
    world.receiver.last = (200, b'{"code":0,"msg":"success"}')
    world.app = Douyin(
        world.store, world.clock, world.faults, world.outbox, KEYS, push_since=minutes(0)
    )
    with world.serving(douyin=world.app):
        yield world


def fill(shop: Doudian, count: int, **more: Any) -> set[str]:
    """Orders a minute apart; their numbers."""
    lives = [make(n, n, **more) for n in range(1, count + 1)]
    shop.store.add(*lives)
    return {life.order_no for life in lives}


def window(start: float, end: float) -> dict[str, int]:
    """A window of changes in minutes."""
    return {
        "update_time_start": seconds(minutes(start)), "update_time_end": seconds(minutes(end)),
    }  # fmt: skip


def read_forwards(shop: Doudian, start: float, end: float, *, first: int = 0) -> list[str]:
    """Careless: page after page until all are counted."""
    found, page = [], first
    while True:
        answer = shop.page(page, SIZE, **window(start, end))
        found += numbers(answer)
        if (page + 1) * SIZE >= answer["total"]:
            return found
        page += 1


def read_by_time(shop: Doudian, start: float, end: float) -> list[str]:
    """Careful: the first page again and again, beginning at the last change that was read; only
    inside one full second the pages are turned."""
    found: dict[str, None] = {}
    begin, page = seconds(minutes(start)), 0
    while True:
        wish = {**window(start, end), "update_time_start": begin}
        orders = shop.page(page, SIZE, **wish)["shop_order_list"]
        found |= dict.fromkeys(order["order_id"] for order in orders)
        if len(orders) < SIZE:
            return list(found)
        newest = orders[-1]["update_time"]
        begin, page = (newest, 0) if newest > begin else (begin, page + 1)


def read_backwards(shop: Doudian, start: float, end: float) -> list[str]:
    """Careful as well: oldest change first, but from the last page to the first."""
    total = shop.page(0, SIZE, **window(start, end))["total"]
    found: dict[str, None] = {}
    for page in range(max(0, -(-total // SIZE) - 1), -1, -1):
        found |= dict.fromkeys(numbers(shop.page(page, SIZE, **window(start, end))))
    return list(found)


# -- pages ---------------------------------------------------------------------------------------


def test_who_begins_with_page_one_loses_the_first_page(shop: Doudian) -> None:
    truth = fill(shop, 25)
    at(shop, 60)
    assert len(truth - set(read_forwards(shop, 0, 50, first=1))) == SIZE
    assert set(read_forwards(shop, 0, 50)) == truth


@pytest.mark.parametrize("page", [0, 1, 2])
def test_paging_forwards_loses_orders_even_oldest_first(shop: Doudian, page: int) -> None:
    truth = fill(shop, 45)
    at(shop, 60)
    assert set(read_forwards(shop, 0, 50)) == truth
    shop.faults.switch("douyin", LIST, "mutate_between_pages", page=page, times=1)
    assert len(truth - set(read_forwards(shop, 0, 50))) == 3


@pytest.mark.parametrize("reader", [read_by_time, read_backwards])
def test_reading_by_time_or_backwards_loses_none(shop: Doudian, reader: Any) -> None:
    truth = fill(shop, 45)
    at(shop, 60)
    shop.faults.switch("douyin", LIST, "mutate_between_pages", times=5)
    seen = set(reader(shop, 0, 50))
    shop.faults.clear()
    at(shop, 75)
    seen |= set(reader(shop, 40, 74))  # what left the window is in the next one
    assert seen == truth


@pytest.mark.parametrize("reader", [read_by_time, read_backwards])
def test_nor_do_they_when_the_window_is_open_at_its_end(shop: Doudian, reader: Any) -> None:
    truth = fill(shop, 45)
    at(shop, 60)
    shop.faults.switch("douyin", LIST, "mutate_between_pages", times=5)
    assert set(reader(shop, 0, 61)) == truth


def test_windows_without_overlap_lose_what_shows_late(shop: Doudian) -> None:
    truth = fill(shop, 60, lag=timedelta(minutes=3))

    def run(overlap: float, settle: float) -> set[str]:
        found: set[str] = set()
        end = 0.0
        for now in range(15, 106, 15):
            at(shop, now)
            found |= set(read_by_time(shop, end - overlap, now - settle))
            end = now - settle
        return found

    assert 0 < len(truth - run(overlap=0, settle=0)) < len(truth)
    assert run(overlap=10, settle=1) == truth


@pytest.mark.parametrize("kind", ["half_page", "repeated_page"])
def test_a_short_or_repeated_page_loses_for_who_does_not_count(shop: Doudian, kind: str) -> None:
    truth = fill(shop, 45)
    at(shop, 60)
    shop.faults.switch("douyin", LIST, kind, page=1, times=1)
    careless = read_forwards(shop, 0, 50)
    assert 5 <= len(truth - set(careless)) <= SIZE
    if kind == "repeated_page":
        assert len(careless) > len(set(careless))
    shop.faults.switch("douyin", LIST, kind, page=1, times=1)
    for _ in range(3):
        careful = read_backwards(shop, 0, 50)
        if len(careful) == shop.page(0, 1, **window(0, 50))["total"]:
            break
    assert set(careful) == truth


@pytest.mark.parametrize("moves_early", [True, False])
def test_a_cursor_that_moves_before_its_window_is_read_loses_the_rest(
    shop: Doudian, moves_early: bool
) -> None:
    truth = fill(shop, 45)
    shop.faults.switch("douyin", LIST, "http_503", page=2, times=1)
    found: set[str] = set()
    cursor = 0.0
    for now in (50.0, 65.0):
        at(shop, now)
        start, end = cursor, now - 1
        cursor = end if moves_early else cursor
        try:
            found |= set(read_backwards(shop, start, end))
            cursor = end
        except AssertionError:  # the caller's word for HTTP 503
            continue
    assert bool(truth - found) is moves_early


@pytest.mark.parametrize(
    "kind",
    [
        "http_500", "refuse_connection", "timeout_before", "timeout_after_accept", "garbage",
        "throttle", "service_error", "wrong_clock",
    ],
)  # fmt: skip
def test_a_failure_taken_for_an_empty_page_loses_its_orders(shop: Doudian, kind: str) -> None:
    truth = fill(shop, 45)
    at(shop, 60)

    def read(*, checks: bool) -> set[str]:
        found: set[str] = set()
        for page in range(5):
            wish = {"order_by": "update_time", "order_asc": True, "page": page, "size": SIZE}
            for _ in range(4 if checks else 1):
                try:
                    answer = shop.send(LIST, canonical(wish))
                except (AssertionError, ValueError, OSError, http.client.HTTPException):
                    continue
                if checks and answer["code"] != 10000:
                    continue
                found |= set(numbers(answer.get("data", {"shop_order_list": []})))
                break
        return found

    how: dict[str, Any] = {"page": 2, "times": 1, "seconds": 900 if "clock" in kind else 0.05}
    shop.faults.switch("douyin", LIST, kind, **how)
    assert len(truth - read(checks=False)) == SIZE
    shop.faults.switch("douyin", LIST, kind, **how)
    assert read(checks=True) == truth


# -- what no list tells --------------------------------------------------------------------------


def test_an_old_presale_that_changes_today_is_seen_by_its_detail_only(shop: Doudian) -> None:
    old = make(
        1, -120 * DAY, presale=True, deposit_fen=5000, deposit_paid=minutes(-120 * DAY + 1),
        balance_paid=minutes(5),
    )  # fmt: skip
    shop.store.add(old)
    at(shop, 60)
    assert read_forwards(shop, -200 * DAY, 59) == []
    assert shop.detail(old)["order_status"] == 2  # who kept the open number and asks again


def test_who_never_asks_for_abnormal_orders_takes_a_review_for_processing(shop: Doudian) -> None:
    shop.store.add(life := make(1, paid=minutes(1), risk_from=minutes(2)))
    at(shop, 60)
    (told,) = shop.page(0, SIZE)["shop_order_list"]
    assert (told["order_status"], told["trade_type"]) == (105, 0)
    assert "risk" not in json.dumps(told)
    assert numbers(shop.page(0, SIZE, abnormal_order=2)) == [life.order_no]


# -- masks ---------------------------------------------------------------------------------------


def test_who_merges_orders_by_their_masked_receiver_loses_one(shop: Doudian) -> None:
    """What is shown of two people is the same, and the plain fields are empty for everybody."""
    pair = [
        make(1, 1, receiver="王女士", phone="13800001234", buyer="b1"),
        make(2, 2, receiver="王小姐", phone="13899991234", buyer="b2"),
    ]
    shop.store.add(*pair)
    at(shop, 5)
    told = [shop.detail(life) for life in pair]
    masks = ("mask_post_receiver", "mask_post_tel")
    assert len({tuple(order[name] for name in masks) for order in told}) == 1
    assert len({order["encrypt_post_tel"] for order in told}) == 2
    assert len({order["order_id"] for order in told}) == 2


# -- pushes --------------------------------------------------------------------------------------


def messages(shop: Doudian) -> list[tuple[str, str, dict[str, Any]]]:
    """What arrived: message id, tag, data."""
    return [
        (one["msg_id"], one["tag"], json.loads(one["data"]))
        for _, _, body in shop.receiver.got
        for one in json.loads(body)
    ]


def test_who_lives_on_pushes_alone_loses_the_dropped_one(shop: Doudian) -> None:
    shop.app.push_url = "http://us/"
    shop.faults.switch("douyin", "push.100", "drop_callback", times=1)
    truth = fill(shop, 5)
    shop.run_to(minutes(10), step=timedelta(minutes=1))
    told = {str(data["p_id"]) for _, _, data in messages(shop)}
    assert len(truth - told) == 1
    assert told | set(read_by_time(shop, 0, 9)) == truth


def test_who_gives_up_an_order_its_detail_does_not_know_yet_loses_it(shop: Doudian) -> None:
    """A push can be faster than the index behind the detail."""
    life = make(1, 1)
    shop.app.push_url = "http://us/"
    shop.store.add(life)
    shop.run_to(minutes(1.5))
    assert [str(data["p_id"]) for _, _, data in messages(shop)] == [life.order_no]
    shop.faults.switch("douyin", "order.orderDetail", "stale_detail", times=1, seconds=60)

    told = shop.refused("order.orderDetail", {"shop_order_id": life.order_no})

    assert told == (50002, "isv.business-failed:2")  # no such order, says the naive one: dropped
    assert shop.detail(life)["order_id"] == life.order_no


@pytest.mark.parametrize("how", ["duplicate", "late answer"])
def test_who_keeps_no_table_of_messages_counts_one_twice(shop: Doudian, how: str) -> None:
    shop.app.push_url = "http://us/"
    if how == "duplicate":
        shop.faults.switch("douyin", "push.101", "duplicate_callback", times=1)
    else:  # it was taken in, but the platform did not hear so
        shop.receiver.answers = [(200, b'{"code":0}'), (504, b"")]
    shop.store.add(make(1, 1, paid=minutes(2)))
    shop.run_to(minutes(4))
    paid = [number for number, tag, _ in messages(shop) if tag == "101"]
    assert len(paid) == 2
    assert len(set(paid)) == 1


def test_who_believes_the_last_push_turns_an_order_back(shop: Doudian) -> None:
    shop.app.push_url = "http://us/"
    shop.faults.switch("douyin", "push.101", "delay_callback", times=1, seconds=300)
    shop.store.add(life := make(1, 1, paid=minutes(2), shipped=minutes(4)))
    shop.run_to(minutes(10))
    believed, guarded = 0, (0, 0)
    for _, _, data in messages(shop):
        believed = data["order_status"]
        guarded = max(guarded, (data["update_time"], data["order_status"]))
    assert believed == 2
    assert guarded[1] == shop.detail(life)["order_status"] == 3


# -- tokens --------------------------------------------------------------------------------------


def test_who_counts_seven_days_from_every_refresh_is_locked_out(shop: Doudian) -> None:
    fill(shop, 1)
    shop.clock.advance(timedelta(days=6))
    refresh = {"grant_type": "refresh_token", "refresh_token": "rft-1"}
    told = shop.ask("token.refresh", refresh, access_token="")
    assert told["access_token"] == "act-1"
    assert told["expires_in"] == 86_400  # not seven days: it is the same token
    shop.clock.advance(timedelta(days=1))
    assert shop.refused(LIST, {"page": 0}) == (40003, "isv.access-token-expired")
    fresh = shop.ask("token.refresh", refresh, access_token="")["access_token"]
    answer = shop.send(LIST, canonical({"page": 0}), access_token=fresh)
    assert answer["data"]["total"] == 1
