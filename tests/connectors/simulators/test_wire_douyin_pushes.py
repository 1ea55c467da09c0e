"""The pushes of the simulated Douyin (channels.md 5.6): signatures, tags, repeats, the probe."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from connectors.simulators.douyin import Douyin
from connectors.simulators.douyin_pushes import sign_event
from tests.connectors.simulators.douyin_caller import (
    KEY,
    KEYS,
    SECRET,
    Doudian,
    make,
)
from tests.connectors.simulators.lives import make_life, minutes


@pytest.fixture
def shop() -> Iterator[Doudian]:
    world = Doudian(at=minutes(0))
    world.receiver.last = (200, b'{"code":0,"msg":"success"}')
    world.app = Douyin(
        world.store, world.clock, world.faults, world.outbox, KEYS, push_since=minutes(0)
    )
    with world.serving(douyin=world.app):
        yield world


PUSH_BODY = (
    b'[{"tag":"101","msg_id":"1234567890:0:4500000000000000001:1762790500:1762790500",'
    b'"data":"{\\"p_id\\":4500000000000000001,\\"order_status\\":105}"}]'
)


def test_the_vectors_of_the_pushes_come_out_of_the_platforms_signing() -> None:
    assert sign_event(KEY, PUSH_BODY, SECRET, "md5") == "d91a407907fd2bc14cca8637124cba32"
    assert sign_event(KEY, PUSH_BODY, SECRET, "hmac-sha256") == (
        "30eec0baaecf90ed1c306d284ef01bf9651e1eaae086c9af7d64f2fdc7b0ccdf"
    )


def pushed(shop: Doudian) -> list[tuple[str, dict[str, Any]]]:
    """Tag and data of what arrived."""
    found = []
    for _, _, body in shop.receiver.got:
        messages = json.loads(body)
        assert isinstance(messages, list)
        found += [(message["tag"], json.loads(message["data"])) for message in messages]
    return found


@pytest.mark.parametrize("how", ["md5", "hmac-sha256"])
def test_a_push_is_signed_over_the_raw_body(shop: Doudian, how: str) -> None:
    shop.app.push_url, shop.app.pushes.sign_method = "http://us/inbound/dy", how
    shop.store.add(life := make(1, 1))
    shop.run_to(minutes(1))
    ((url, headers, body),) = shop.receiver.got
    assert url == "http://us/inbound/dy"
    assert (headers["app-id"], headers["sign-method"]) == (KEY, how)
    text = KEY.encode() + body + SECRET.encode()
    right = (
        hashlib.md5(text).hexdigest()  # noqa: S324
        if how == "md5"
        else hmac.new(SECRET.encode(), text, hashlib.sha256).hexdigest()
    )
    assert headers["event-sign"] == right
    ((tag, data),) = pushed(shop)
    assert (tag, data["p_id"], data["order_status"]) == ("100", int(life.order_no), 1)
    assert len(json.loads(body)[0]["msg_id"].split(":")) == 5


def test_every_change_of_an_order_is_pushed_once(shop: Doudian) -> None:
    shop.app.push_url = "http://us/"
    life = make(
        1, 1, paid=minutes(2), risk_from=minutes(2), risk_until=minutes(4), urged=minutes(5),
        address_change_from=minutes(6), address_change_until=minutes(7), shipped=minutes(8),
        completed=minutes(9),
    )  # fmt: skip
    shop.store.add(life, make(2, 1, shop="不在这里的店"), make_life(3))
    shop.run_to(minutes(20))
    assert [tag for tag, _ in pushed(shop)] == [
        "100", "101", "110", "109", "111", "105", "102", "103",
    ]  # fmt: skip
    assert {data["p_id"] for _, data in pushed(shop)} == {int(life.order_no)}
    shop.store.touch(life.order_no, minutes(20))
    shop.run_to(minutes(21))
    assert pushed(shop)[-1][0] == "109"


def test_what_was_before_the_beginning_is_not_pushed(shop: Doudian) -> None:
    shop.app.push_url = "http://us/"
    shop.store.add(make(1, -10, paid=minutes(1)))
    shop.run_to(minutes(5))
    assert [tag for tag, _ in pushed(shop)] == ["101"]


def test_several_changes_at_once_come_in_no_order(shop: Doudian) -> None:
    shop.app.push_url = "http://us/"
    shop.store.add(*(make(n, n / 100) for n in range(1, 41)))
    shop.run_to(minutes(1), step=timedelta(minutes=1))
    told = [data["update_time"] for _, data in pushed(shop)]
    assert len(told) == 40
    assert told != sorted(told)


@pytest.mark.parametrize(
    "answer",
    [
        (500, b""),
        (200, b"ok"),
        (200, b'{"code":1,"msg":"busy"}'),
        (200, b"[]"),
        (302, b'{"code":0}'),
    ],
)
def test_a_push_is_repeated_until_the_answer_is_code_zero(
    shop: Doudian, answer: tuple[int, bytes]
) -> None:
    shop.app.push_url = "http://us/"
    shop.receiver.answers = [answer]
    shop.store.add(make(1, 1))
    shop.run_to(minutes(2))
    assert [a.accepted for a in shop.outbox.ledger] == [False, True]
    bodies = {body for _, _, body in shop.receiver.got}
    assert len(bodies) == 1  # the same msg_id: the receiver can tell it is a repeat


def test_the_probe_has_tag_zero(shop: Doudian) -> None:
    shop.app.pushes.probe("http://us/")
    assert shop.host is not None
    shop.host.pump()
    assert [tag for tag, _ in pushed(shop)] == ["0"]


def test_without_an_address_pushes_are_lost(shop: Doudian) -> None:
    shop.store.add(make(1, 1))
    shop.run_to(minutes(2))
    shop.app.push_url = "http://us/"
    shop.run_to(minutes(3))
    assert shop.receiver.got == []
