"""Messages: stored once before they are answered, worked off whole, tried again, never in two places.

Signatures and time windows are attacked in tests/negative/test_inbound.py, what a paused connection
does is in test_paused.py.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError
from django.db import connection as database
from django.test.utils import CaptureQueriesContext

from config.tenancy.scope import for_environment
from connectors.adapters import Answered, PushItem, PushRequest
from connectors.orders.canonical import CanonicalPayment
from connectors.orders.models import Order, Payment
from connectors.shops.models import Connection
from connectors.simulators.douyin_pushes import sign_event
from connectors.sync import pushes
from connectors.sync.models import InboundMessage, MappingNotice, Quarantine
from connectors.sync.pushes import (
    BATCH,
    PushRefused,
    accept_push,
    store_messages,
)
from connectors.wire import Mapped
from tests.connectors.sync.pushed import hint_of, order_of, orders, record_of, states, store, work
from tests.connectors.sync.scripted import ODD, Bench, break_statement
from tests.factories import World

pytestmark = pytest.mark.django_db

State = InboundMessage.State
SECRET = "douyin-secret"


def douyin_request(*messages: Mapping[str, Any], secret: str = SECRET) -> PushRequest:
    """A push of Douyin as it arrives: an array of messages, signed."""
    body = json.dumps(messages).encode()
    headers = {
        "app-id": "4242", "sign-method": "md5", "event-sign": sign_event("4242", body, secret, "md5"),
    }  # fmt: skip
    return PushRequest("POST", headers, (), body)


def douyin_message(number: int) -> dict[str, Any]:
    return {"tag": "100", "msg_id": f"m{number}", "data": json.dumps({"p_id": 6900 + number})}


def connect_douyin(bench: Bench, **more: Any) -> tuple[Connection, Any]:
    return bench.connect(
        "douyin", config={"app_key": "4242"}, secrets={"app_secret": SECRET}, **more
    )


# -- storing and answering -------------------------------------------------------------------------


def test_a_push_is_stored_before_it_is_answered_and_once_however_often_it_comes(
    bench: Bench,
) -> None:
    connection, vendor = connect_douyin(bench)
    request = douyin_request(*[douyin_message(n) for n in range(3)])

    first = accept_push(bench.environment, connection.public_id, request, now=bench.now())
    bench.pass_time(minutes=3)
    again = accept_push(bench.environment, connection.public_id, request, now=bench.now())

    assert (first.stored, first.is_first) == (3, True)
    assert (again.stored, again.is_first) == (0, False)
    assert first.answer == again.answer  # Douyin repeats whatever is answered otherwise
    assert vendor.said == []  # answered without a call of ours
    with for_environment(bench.environment, write=False):
        rows = list(InboundMessage.objects.order_by("pk"))
        connection.refresh_from_db()
    assert [(m.order_no, m.kind, m.state) for m in rows] == [
        (str(6900 + n), "hint", State.WAITING) for n in range(3)
    ]
    assert {m.received_at for m in rows} == {bench.now() - timedelta(minutes=3)}
    assert connection.last_push_at == bench.now()


def test_of_a_push_that_is_partly_known_the_rest_is_stored(bench: Bench) -> None:
    connection, _ = connect_douyin(bench)
    one, two = douyin_message(1), douyin_message(2)
    accept_push(bench.environment, connection.public_id, douyin_request(one), now=bench.now())

    more = accept_push(
        bench.environment, connection.public_id, douyin_request(one, two, two), now=bench.now()
    )

    assert more.stored == 1
    assert len(states(bench.environment)) == 2


@pytest.mark.parametrize("broken", ["INSERT", "UPDATE"])
def test_when_storing_fails_nothing_is_stored_by_halves_and_nothing_is_answered(
    bench: Bench, broken: str
) -> None:
    connection, _ = connect_douyin(bench)
    request = douyin_request(*[douyin_message(n) for n in range(3)])
    table = "sync_inboundmessage" if broken == "INSERT" else "shops_connection"

    with break_statement(broken, on=table), pytest.raises(OperationalError):
        accept_push(bench.environment, connection.public_id, request, now=bench.now())

    assert states(bench.environment) == {}
    with for_environment(bench.environment, write=False):
        connection.refresh_from_db()
    assert connection.last_push_at is None
    stored = accept_push(bench.environment, connection.public_id, request, now=bench.now())
    assert stored.stored == 3  # the platform sends it again, and it is taken as a first


def test_a_probe_is_answered_and_leaves_nothing(bench: Bench) -> None:
    connection, _ = connect_douyin(bench)
    probe = douyin_request({"tag": "0", "msg_id": "0", "data": '{"msg": "probe"}'})

    accepted = accept_push(bench.environment, connection.public_id, probe, now=bench.now())

    assert json.loads(accepted.answer.body)["code"] == 0
    assert states(bench.environment) == {}


def test_a_push_for_another_environments_connection_finds_no_door(
    bench: Bench, world: World
) -> None:
    connection, _ = connect_douyin(bench)

    with pytest.raises(PushRefused) as refused:
        accept_push(world.other, connection.public_id, douyin_request(), now=bench.now())

    assert refused.value.status == 404
    assert states(bench.environment) == states(world.other) == {}


def test_a_push_wakes_somebody_when_the_one_before_it_was_settled_meanwhile(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection, _ = connect_douyin(bench)
    tell = pushes.store_messages

    def push(number: int) -> pushes.Accepted:
        request = douyin_request(douyin_message(number))
        return accept_push(bench.environment, connection.public_id, request, now=bench.now())

    def tell_late(*given: Any, **more: Any) -> int:
        InboundMessage.objects.update(state=State.DONE)  # by a worker who looks no more
        return tell(*given, **more)

    assert (push(1).is_first, push(2).is_first) == (True, False)
    monkeypatch.setattr(pushes, "store_messages", tell_late)

    assert push(3).is_first


# -- working off -----------------------------------------------------------------------------------


def test_messages_are_worked_off_oldest_first_a_batch_at_a_time(bench: Bench) -> None:
    connection, _ = bench.connect("private_mall")
    store(bench, connection, [record_of(f"M{n}", bench) for n in (3, 1, 2)])

    _, settled = work(bench, connection, limit=2)

    assert settled == 2
    assert orders(bench.environment) == ["M3", "M1"]
    _, settled = work(bench, connection, limit=2)
    assert settled == 1
    assert work(bench, connection) == (pushes.Taken(), 0)
    assert orders(bench.environment) == ["M3", "M1", "M2"]
    assert set(states(bench.environment).values()) == {State.DONE}
    with for_environment(bench.environment, write=False):
        assert {m.processed_at for m in InboundMessage.objects.all()} == {bench.now()}
    assert BATCH <= 500  # as many as one `receive()` takes


def test_a_hint_is_followed_by_one_call_however_often_its_order_was_named(bench: Bench) -> None:
    connection, vendor = bench.connect("private_mall")
    vendor.tells = {n: order_of(n, bench) for n in ("M1", "M2")}
    store(bench, connection, [hint_of("M1", "a"), hint_of("M2", "b"), hint_of("M1", "c")])

    taken, settled = work(bench, connection)

    assert (settled, taken.received.new) == (3, 2)
    assert vendor.times_asked == {"M1": 1, "M2": 1}
    assert set(states(bench.environment).values()) == {State.DONE}


def test_a_whole_record_takes_no_call_and_what_nobody_knows_is_kept_and_said(bench: Bench) -> None:
    connection, vendor = bench.connect("private_mall")
    unknown = PushItem("unknown", "mall:9", "coupon.given", "", {"coupon": "1"})
    nameless = PushItem("hint", "mall:8", "order.updated", "")
    store(bench, connection, [record_of("M1", bench), unknown, nameless])

    _, settled = work(bench, connection)

    assert settled == 3
    assert vendor.said == []
    assert states(bench.environment) == {
        "mall:M1": State.DONE, "mall:9": State.IGNORED, "mall:8": State.IGNORED,
    }  # fmt: skip
    with for_environment(bench.environment, write=False):
        told = set(MappingNotice.objects.values_list("code", "value"))
        kept = InboundMessage.objects.get(replay_key="mall:9").reveal_payload()
    assert told == {("unmapped_topic", "coupon.given"), ("unmapped_topic", "order.updated")}
    assert kept == {"coupon": "1"}


def test_a_record_for_a_vendor_without_a_door_is_kept_and_not_worked_at_for_ever(
    bench: Bench,
) -> None:
    connection, _ = bench.connect("tmall")
    store(bench, connection, [PushItem("record", "k", "odd", "1", {"tid": 1})])

    assert work(bench, connection)[1] == 1
    assert states(bench.environment) == {"k": State.IGNORED}
    assert work(bench, connection)[1] == 0


@pytest.mark.parametrize(
    ("failure", "code"), [(ODD, "payload_field"), (KeyError("a gap of ours"), "mapping_failed")]
)
def test_a_message_that_cannot_be_read_is_put_aside_and_its_neighbours_pass(
    bench: Bench, failure: Exception, code: str
) -> None:
    connection, _ = bench.connect("private_mall")
    store(bench, connection, [record_of(f"M{n}", bench) for n in range(3)])
    plain = pushes.get_connector("private_mall").push

    class Door:
        def map(self, item: PushItem, **more: Any) -> Any:
            if item.order_no == "M1":
                raise failure
            return plain.map(item, **more)

    bench.change("private_mall", push=Door())

    taken, settled = work(bench, connection)

    assert (settled, taken.received.new, taken.quarantined) == (3, 2, 1)
    assert orders(bench.environment) == ["M0", "M2"]
    with for_environment(bench.environment, write=False):
        kept = Quarantine.objects.get()
    assert (kept.order_no, kept.reveal_payload()["order_no"], kept.code) == ("M1", "M1", code)


def test_a_message_whose_key_is_gone_waits_for_it_and_its_neighbours_pass(
    bench: Bench, settings: Any
) -> None:
    connection, _ = bench.connect("private_mall")
    store(bench, connection, [record_of(f"M{n}", bench) for n in range(2)])
    with for_environment(bench.environment):
        lost = InboundMessage.objects.get(order_no="M0")
        sealed = lost.payload_sealed
        lost.payload_sealed = "00000000." + sealed.partition(".")[2]
        lost.save()

    work(bench, connection)

    assert orders(bench.environment) == ["M1"]
    with for_environment(bench.environment):
        lost.refresh_from_db()
        assert (lost.state, lost.attempts, lost.error_code) == (
            State.WAITING, 1, "secret_unreadable",
        )  # fmt: skip
        InboundMessage.objects.filter(pk=lost.pk).update(payload_sealed=sealed)
    bench.pass_time(minutes=1)
    work(bench, connection)
    assert orders(bench.environment) == ["M1", "M0"]


def test_a_payment_before_its_order_waits_here_and_meets_it(bench: Bench) -> None:
    mall, _ = bench.connect("private_mall")
    gateway, _ = bench.connect("alipay")
    paid = {"trade_status": "TRADE_SUCCESS", "out_trade_no": "M1"}

    class Door:
        def map(self, item: PushItem, **_: Any) -> Any:
            payment = CanonicalPayment(
                order_no="M1", payment_id="P1", status="paid", amount_fen=100, paid_at=bench.now()
            )
            return Answered(Mapped(payment, ()), item.payload)

    bench.change("alipay", push=Door())
    store(bench, gateway, [PushItem("record", "pay:1", "trade_status_sync", "M1", paid)])

    work(bench, gateway)

    with for_environment(bench.environment, write=False):
        assert Payment.objects.get().order_id is None
    store(bench, mall, [record_of("M1", bench)])
    work(bench, mall)
    with for_environment(bench.environment, write=False):
        order = Order.objects.get()
        assert Payment.objects.get().order_id == order.pk
    assert order.gateway_paid_at == bench.now()


def test_a_hint_at_an_order_the_vendor_does_not_know_is_settled_and_said(bench: Bench) -> None:
    connection, _ = bench.connect("private_mall")
    store(bench, connection, [hint_of("GONE")])

    taken, settled = work(bench, connection)

    assert (settled, taken.quarantined) == (1, 1)
    assert states(bench.environment) == {"hint:GONE": State.DONE}
    with for_environment(bench.environment, write=False):
        assert Quarantine.objects.get().code == "order_vanished"


# -- of another environment, and of many -----------------------------------------------------------


def test_another_environments_messages_are_neither_seen_nor_touched(
    bench: Bench, world: World
) -> None:
    ours, _ = bench.connect("private_mall")
    theirs, _ = bench.connect("private_mall", into=world.other)
    with for_environment(world.other):
        store_messages(theirs, [record_of("M1", bench)], signed_at=None, now=bench.now())
    store(bench, ours, [record_of("M1", bench)])  # the same key, at another connection

    work(bench, ours)

    assert states(bench.environment) == {"mall:M1": State.DONE}
    assert states(world.other) == {"mall:M1": State.WAITING}
    assert orders(world.other) == []
    with pytest.raises(Connection.DoesNotExist), for_environment(world.other):
        Connection.objects.get(pk=ours.pk)


@pytest.mark.parametrize("kind", ["record", "hint"])
def test_a_batch_costs_the_same_queries_for_five_messages_or_fifty(bench: Bench, kind: str) -> None:
    connection, vendor = bench.connect("private_mall")
    counts = []
    for size in (5, 5, 50):
        names = [f"M{len(counts)}-{n}" for n in range(size)]
        vendor.tells = {n: order_of(n, bench) for n in names}
        make = record_of if kind == "record" else (lambda name, _: hint_of(name))
        items = [make(name, bench) for name in names]
        with CaptureQueriesContext(database) as storing:
            assert store(bench, connection, items) == size
        with CaptureQueriesContext(database) as working:
            assert work(bench, connection)[1] == size
        counts.append((len(storing), len(working)))

    assert counts[1] == counts[2]  # the first one makes the shop and the lease
