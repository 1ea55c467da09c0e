"""TMC of the simulated TOP (channels.md 3.6): permission, consuming, confirming, repeats."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from connectors.simulators.tmall import Tmall
from tests.connectors.simulators.lives import TMALL_SHOP, make_life, minutes
from tests.connectors.simulators.tmall_caller import (
    KEYS,
    Top,
    at,
    signed,
    text,
)


@pytest.fixture
def top() -> Iterator[Top]:
    world = Top(at=minutes(0))
    world.app = Tmall(world.store, world.clock, world.faults, KEYS)
    with world.serving(tmall=world.app):
        yield world


def consume(top: Top, **more: Any) -> list[dict[str, Any]]:
    """The messages of one consuming call."""
    answer = top.ask("taobao.tmc.messages.consume", session="", **{"quantity": 100, **more})
    return answer.get("messages", {}).get("tmc_message", [])


TOPICS = "taobao_trade_TradeCreate,taobao_trade_TradeBuyerPay,taobao_trade_TradeChanged"


def test_only_permitted_topics_of_permitted_shops_are_told(top: Top) -> None:
    top.store.add(
        life := make_life(1, at=1, paid=minutes(2), shipped=minutes(3)),
        make_life(2, at=1, shop="别家旗舰店"),
    )
    at(top, 0.5)
    assert consume(top) == []
    assert top.ask("taobao.tmc.user.permit", topics=TOPICS)["is_success"] is True
    at(top, 5)
    told = consume(top)
    assert [message["topic"] for message in told] == TOPICS.split(",")[:2]
    message = told[1]
    assert {"id", "topic", "user_id", "user_nick", "pub_time", "content"} <= message.keys()
    assert (message["user_nick"], message["pub_time"]) == (TMALL_SHOP, text(minutes(2)))
    assert json.loads(message["content"])["tid"] == int(life.order_no)
    assert json.loads(message["content"])["status"] == "WAIT_SELLER_SEND_GOODS"


def test_what_happened_before_the_permission_is_not_told(top: Top) -> None:
    top.store.add(make_life(1, at=1, paid=minutes(20)))
    at(top, 10)
    top.ask("taobao.tmc.user.permit", topics=TOPICS)
    at(top, 30)
    assert [message["topic"] for message in consume(top)] == ["taobao_trade_TradeBuyerPay"]


def test_permitted_topics_replace_the_earlier_ones(top: Top) -> None:
    top.ask("taobao.tmc.user.permit", topics=TOPICS)
    top.ask("taobao.tmc.user.permit", topics="taobao_trade_TradeBuyerPay")
    top.store.add(make_life(1, at=1, paid=minutes(2)))
    at(top, 5)
    assert [message["topic"] for message in consume(top)] == ["taobao_trade_TradeBuyerPay"]


def test_an_unconfirmed_message_comes_again_and_a_confirmed_one_does_not(top: Top) -> None:
    top.ask("taobao.tmc.user.permit", topics=TOPICS)
    top.store.add(*(make_life(n, at=1) for n in range(1, 13)))
    at(top, 5)
    first = consume(top, quantity=10)
    assert len(first) == 10
    assert len(consume(top)) == 2
    assert consume(top) == []
    confirmed = ",".join(str(message["id"]) for message in first)
    assert top.ask("taobao.tmc.messages.confirm", session="", s_message_ids=confirmed)["is_success"]
    at(top, 7)
    again = consume(top)
    assert len(again) == 2
    assert not {m["id"] for m in again} & {m["id"] for m in first}


@pytest.mark.parametrize(
    ("method", "more", "code"),
    [
        ("taobao.tmc.messages.consume", {"quantity": 9}, 41),
        ("taobao.tmc.messages.consume", {"quantity": 201}, 41),
        ("taobao.tmc.messages.consume", {"quantity": 100, "group_name": "vip"}, 15),
        ("taobao.tmc.messages.confirm", {"s_message_ids": ",".join(map(str, range(201)))}, 41),
        ("taobao.tmc.messages.confirm", {"s_message_ids": "one"}, 41),
        ("taobao.tmc.messages.confirm", {}, 40),
        ("taobao.tmc.user.permit", {}, 40),
    ],
)
def test_messages_have_their_own_limits(
    top: Top, method: str, more: dict[str, Any], code: int
) -> None:
    assert top.refused(signed(top.params(method, **more)))["code"] == code


@pytest.mark.parametrize(
    ("kind", "at_once", "later"),
    [("drop_callback", 1, 1), ("duplicate_callback", 3, 3), ("delay_callback", 1, 2)],
)
def test_messages_get_lost_doubled_and_late(top: Top, kind: str, at_once: int, later: int) -> None:
    top.ask("taobao.tmc.user.permit", topics=TOPICS)
    top.faults.switch("tmall", "tmc", kind, times=1, seconds=30)
    top.store.add(make_life(1, at=1), make_life(2, at=2))
    at(top, 5)
    ids = {message["id"] for message in consume(top)}
    assert len(ids) == at_once
    at(top, 5.6)
    assert len(ids | {message["id"] for message in consume(top)}) == later
