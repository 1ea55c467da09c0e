"""Messages that wait at the vendor: fetched, stored, only then confirmed; what is lost comes again.

The own queue of the TOP simulator is in tests/connectors/simulators/test_wire_tmall_messages.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from django.db import OperationalError
from django.db import connection as database
from django.test.utils import CaptureQueriesContext

from config.tenancy.models import Environment
from config.tenancy.scope import for_environment
from connectors.adapters import PulledMessage
from connectors.http import ConnectorError
from connectors.orders.models import Order, StatusEvent
from connectors.shops.models import Connection
from connectors.simulators.life import Life, LifeLine
from connectors.sync import queues
from connectors.sync.health import read_health
from connectors.sync.leases import LEASE
from connectors.sync.models import CallLog, Cursor, InboundMessage
from connectors.sync.pushes import work_messages
from connectors.sync.queues import MAX_CALLS, PER_CALL, QUEUE, consume
from connectors.sync.services import list_queues
from tests.connectors.sync.outside import Outside
from tests.connectors.sync.scripted import QUOTA, UNREACHABLE, Bench, break_statement
from tests.factories import World

pytestmark = pytest.mark.django_db


class WorkerDied(BaseException):
    """The worker is gone between two lines: nothing of ours may catch it."""


def messages(count: int, first: int = 0) -> list[PulledMessage]:
    return [
        PulledMessage(str(n), f"tmc:{n}", "taobao_trade_TradeCreate", str(2_890_000 + n), None,
                      {"tid": 2_890_000 + n})
        for n in range(first, first + count)
    ]  # fmt: skip


def fetch(bench: Bench, connection: Connection) -> int:
    return consume(bench.environment, connection.pk, **bench.tools)


def keys(environment: Environment) -> list[str]:
    with for_environment(environment, write=False):
        return list(InboundMessage.objects.order_by("pk").values_list("replay_key", flat=True))


# -- over the wire ---------------------------------------------------------------------------------


def make_life(outside: Outside, **moments: Any) -> Life:
    placed = outside.now()
    return Life(
        order_no="2890000000000000001", channel="tmall", shop=outside.shops["tmall"],
        placed=placed, lines=[LifeLine("SKU1", "羊绒围巾", 1, 10_000)], buyer="b1", **moments,
    )  # fmt: skip


def test_what_waits_at_top_is_fetched_stored_confirmed_and_followed(outside: Outside) -> None:
    connection = outside.connect("tmall")
    waiting = outside.apps["tmall"].messages  # type: ignore[attr-defined]
    assert consume(outside.environment, connection.pk, **outside.tools) == 0  # permits first
    outside.pass_time(minutes=1)
    outside.add(make_life(outside))
    outside.pass_time(minutes=1)

    assert consume(outside.environment, connection.pk, **outside.tools) == 1

    assert len(waiting) == 0
    with for_environment(outside.environment, write=False):
        message = InboundMessage.objects.get()
        operations = list(CallLog.objects.order_by("pk").values_list("operation", flat=True))
    assert (message.kind, message.order_no) == ("hint", "2890000000000000001")
    assert operations == [
        "taobao.tmc.user.permit", "taobao.tmc.messages.consume",
        "taobao.tmc.messages.consume", "taobao.tmc.messages.confirm",
    ]  # fmt: skip
    assert work_messages(outside.environment, connection.pk, **outside.tools)[1] == 1
    with for_environment(outside.environment, write=False):
        assert Order.objects.get().order_no == "2890000000000000001"
        assert InboundMessage.objects.get().state == "done"


@pytest.mark.parametrize("how", ["killed", "refused"])
def test_what_was_stored_and_not_confirmed_comes_again_and_doubles_nothing(
    outside: Outside, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = outside.connect("tmall")
    consume(outside.environment, connection.pk, **outside.tools)
    outside.pass_time(minutes=1)
    outside.add(make_life(outside))
    outside.pass_time(minutes=1)

    if how == "killed":
        with monkeypatch.context() as patch, pytest.raises(WorkerDied):
            patch.setattr(queues, "_confirm", _die)
            consume(outside.environment, connection.pk, **outside.tools)
    else:
        outside.faults.switch("tmall", "taobao.tmc.messages.confirm", "http_500", times=4)
        assert consume(outside.environment, connection.pk, **outside.tools) == 1
    work_messages(outside.environment, connection.pk, **outside.tools)
    waiting = outside.apps["tmall"].messages  # type: ignore[attr-defined]
    assert len(waiting) == 1

    outside.pass_time(minutes=15)
    assert consume(outside.environment, connection.pk, **outside.tools) == 0  # nothing new
    work_messages(outside.environment, connection.pk, **outside.tools)

    assert len(waiting) == 0
    assert len(keys(outside.environment)) == 1
    with for_environment(outside.environment, write=False):
        assert Order.objects.get().revision == 1
        assert StatusEvent.objects.count() == 1


def _die(session: Any, ids: Sequence[str]) -> None:
    raise WorkerDied


def words_of(bench: Bench) -> str:
    """What the page of the connection says."""
    with for_environment(bench.environment, write=False):
        (health,) = read_health(bench.now())
    return "".join(str(phrase) for phrase in health.words)


# -- the sequence ----------------------------------------------------------------------------------


def test_nothing_is_confirmed_that_is_not_stored(bench: Bench) -> None:
    connection, vendor = bench.connect("tmall")
    vendor.queue = messages(3)

    with break_statement("INSERT", on="sync_inboundmessage"), pytest.raises(OperationalError):
        fetch(bench, connection)

    assert vendor.said == ["permit", "consume"]
    assert len(vendor.queue) == 3
    assert keys(bench.environment) == []
    assert fetch(bench, connection) == 3  # and the lease was given back
    assert vendor.queue == []


def test_permission_is_asked_for_once_and_again_when_it_was_refused(bench: Bench) -> None:
    connection, vendor = bench.connect("tmall")
    vendor.fails = {"permit": ConnectorError("no", code="vendor_refusal")}
    fetch(bench, connection)
    assert vendor.said == ["permit"]  # without it the vendor keeps nothing: there is no need to ask

    vendor.fails = {}
    for _ in range(3):
        fetch(bench, connection)

    assert vendor.said == ["permit", "permit", "consume", "consume", "consume"]

    bench.pass_time(minutes=1)
    with for_environment(bench.environment):  # the shop has agreed once more
        Connection.objects.update(authorised_at=bench.now())
    for _ in range(2):
        bench.pass_time(minutes=1)
        fetch(bench, connection)

    assert vendor.said[5:] == ["permit", "consume", "consume"]


def test_a_full_queue_is_fetched_batch_by_batch_each_confirmed_before_the_next(
    bench: Bench,
) -> None:
    connection, vendor = bench.connect("tmall")
    vendor.queue = messages(2 * PER_CALL + 1)

    assert "还没有取到过" in words_of(bench)
    assert fetch(bench, connection) == 2 * PER_CALL + 1

    assert "最近一次取到在 11-11 09:00" in words_of(bench)
    assert vendor.said[1:] == ["consume", "confirm"] * 3
    assert len(keys(bench.environment)) == 2 * PER_CALL + 1


def test_a_queue_without_an_end_does_not_keep_its_worker_for_ever(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection, vendor = bench.connect("tmall")
    monkeypatch.setattr(queues, "PER_CALL", 1)
    vendor.queue = messages(MAX_CALLS + 5)

    assert fetch(bench, connection) == MAX_CALLS
    assert fetch(bench, connection) == 5


def test_an_empty_queue_confirms_nothing_and_stores_nothing(bench: Bench) -> None:
    connection, vendor = bench.connect("tmall")

    assert fetch(bench, connection) == 0

    assert vendor.said == ["permit", "consume"]
    assert keys(bench.environment) == []


def test_a_message_of_no_order_is_kept_as_unknown(bench: Bench) -> None:
    connection, vendor = bench.connect("tmall")
    vendor.queue = [PulledMessage("1", "tmc:1", "taobao_item_ItemUpdate", "", None, {"num_iid": 7})]

    assert fetch(bench, connection) == 1

    with for_environment(bench.environment, write=False):
        row = InboundMessage.objects.get()
    assert (row.kind, row.topic, row.reveal_payload()) == (
        "unknown", "taobao_item_ItemUpdate", {"num_iid": 7},
    )  # fmt: skip


# -- what stops it ---------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["permit", "consume", "confirm"])
def test_a_vendor_that_is_away_is_said_on_the_connection_and_tried_again(
    bench: Bench, call: str
) -> None:
    connection, vendor = bench.connect("tmall")
    vendor.queue, vendor.fails = messages(1), {call: UNREACHABLE}

    fetch(bench, connection)

    with for_environment(bench.environment, write=False):
        connection.refresh_from_db()
    assert (connection.state, connection.trouble_code) == ("trouble", "no_answer")
    assert len(vendor.queue) == 1
    vendor.fails = {}
    fetch(bench, connection)
    assert vendor.queue == []
    assert keys(bench.environment) == ["tmc:0"]


def test_a_used_up_quota_pauses_the_queue(bench: Bench) -> None:
    connection, vendor = bench.connect("tmall")
    vendor.fails = {"consume": QUOTA}
    fetch(bench, connection)
    before = list(vendor.said)

    with for_environment(bench.environment, write=False):
        assert list_queues(now=bench.now()) == []
    fetch(bench, connection)  # handed out before the pause was known

    assert vendor.said == before
    bench.pass_time(minutes=61)
    with for_environment(bench.environment, write=False):
        assert list_queues(now=bench.now()) == [connection.pk]


def test_a_connection_that_is_switched_off_is_not_asked(bench: Bench) -> None:
    connection, vendor = bench.connect("tmall", is_active=False)

    assert fetch(bench, connection) == 0
    assert vendor.said == []


def test_settings_that_are_not_enough_to_call_are_said_on_the_connection(bench: Bench) -> None:
    connection, _ = bench.connect("tmall")

    def refuse(access: Any) -> Any:
        raise ConnectorError("no key", code="not_configured")

    bench.change("tmall", open=refuse)

    assert fetch(bench, connection) == 0
    with for_environment(bench.environment, write=False):
        connection.refresh_from_db()
    assert connection.trouble_code == "not_configured"


def test_a_vendor_without_a_queue_is_not_asked(bench: Bench) -> None:
    warehouse, vendor = bench.connect("qimen")

    assert fetch(bench, warehouse) == 0
    assert vendor.said == []


# -- by whom, and where ----------------------------------------------------------------------------


def test_two_workers_never_consume_one_queue_at_once(bench: Bench) -> None:
    connection, vendor = bench.connect("tmall")
    vendor.queue, found = messages(1), []
    vendor.meanwhile = lambda: found.append(fetch(bench, connection))

    assert fetch(bench, connection) == 1

    assert found == [0]
    assert vendor.said == ["permit", "consume", "confirm"]


def test_the_lease_of_a_worker_that_died_runs_out(bench: Bench) -> None:
    connection, vendor = bench.connect("tmall")
    vendor.queue = messages(1)
    with for_environment(bench.environment):
        Cursor.objects.create(
            connection=connection, stream=QUEUE, holder="dead", lease_until=bench.now() + LEASE
        )

    assert fetch(bench, connection) == 0
    bench.at += LEASE
    assert fetch(bench, connection) == 1


def test_a_worker_whose_lease_ran_out_does_not_give_back_that_of_its_successor(
    bench: Bench,
) -> None:
    connection, vendor = bench.connect("tmall")

    def take_over() -> None:
        bench.at += LEASE
        with for_environment(bench.environment):
            Cursor.objects.filter(stream=QUEUE).update(
                holder="successor", lease_until=bench.now() + LEASE
            )

    vendor.meanwhile = take_over
    fetch(bench, connection)

    with for_environment(bench.environment, write=False):
        cursor = Cursor.objects.get(stream=QUEUE)
    assert (cursor.holder, cursor.lease_until) == ("successor", bench.now() + LEASE)


def test_another_environments_queue_is_neither_listed_nor_fetched(
    bench: Bench, world: World
) -> None:
    ours, vendor = bench.connect("tmall")
    theirs, vendor = bench.connect("tmall", into=world.other)
    vendor.queue = messages(1)

    with for_environment(bench.environment, write=False):
        assert list_queues(now=bench.now()) == [ours.pk]
    assert fetch(bench, ours) == 1

    assert keys(world.other) == []
    with for_environment(world.other, write=False):
        assert list_queues(now=bench.now()) == [theirs.pk]
        theirs.refresh_from_db()
        assert not Cursor.objects.exists()


def test_fetching_costs_the_same_queries_for_two_messages_or_sixty(bench: Bench) -> None:
    connection, vendor = bench.connect("tmall")
    fetch(bench, connection)
    counts = []
    for size in (2, 60):  # beyond that SQLite wants the rows in several statements
        vendor.queue = messages(size, first=1000 * len(counts))
        with CaptureQueriesContext(database) as queries:
            assert fetch(bench, connection) == size
        counts.append(len(queries))

    assert counts[0] == counts[1]
