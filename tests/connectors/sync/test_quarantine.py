"""What could not be read: kept whole with its reason, tried again, ignored with a reason."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from django.db import DataError
from django.db import connection as database
from django.test.utils import CaptureQueriesContext

from config.audit.models import AuditEntry
from config.errors import BadInput, NotFound, WrongState
from config.tenancy.scope import for_environment
from connectors.adapters import Answered, PushItem
from connectors.channels.registry import CHANNELS
from connectors.orders.canonical import CanonicalPayment
from connectors.orders.models import Order, Payment
from connectors.orders.status_mappings import STATUS_MAPPING_KIND
from connectors.orders.statuses import Stage
from connectors.shops.models import Connection
from connectors.sync import taking
from connectors.sync.masking import mask_value
from connectors.sync.models import InboundMessage, Quarantine
from connectors.sync.pushes import store_messages, work_messages
from connectors.sync.quarantine import ignore_quarantined, list_quarantine, retry_quarantined
from connectors.sync.registry import get_connector
from connectors.sync.taking import Reading, Taken, put_aside, take_readings
from connectors.wire import Mapped
from tests.connectors.channels.test_tmall_mapping import trade_of
from tests.connectors.sync.scripted import ODD, REFUSED, UNREACHABLE, Bench
from tests.factories import World, publish_document

pytestmark = pytest.mark.django_db
State = Quarantine.State
BAD = {"payment": "一百元"}


@pytest.fixture
def bench(world: World, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(world.production, monkeypatch)


@dataclass
class Door:
    """Payments as a push tells them, once our mapping can read them."""

    is_broken: bool
    mapped: list[str] = field(default_factory=list)

    def map(self, item: PushItem, **_more: Any) -> Answered:
        self.mapped.append(item.replay_key)
        if self.is_broken:
            raise ODD
        payment = CanonicalPayment(
            item.order_no, item.replay_key, amount_fen=item.payload["amount_fen"]
        )
        return Answered(Mapped(payment, ()), item.payload)


def trade(number: str, **changes: Any) -> dict[str, Any]:
    """A trade of Tmall as its detail call tells it."""
    return {**trade_of("paid"), "tid": int(number), "tid_str": number, **changes}


def take(bench: Bench, connection: Connection, *payloads: dict[str, Any]) -> Taken:
    with for_environment(bench.environment):
        return take_readings(
            [Reading(p, p["tid_str"]) for p in payloads],
            connection=connection,
            connector=get_connector(connection.vendor),
            now=bench.now(),
        )


def kept(bench: Bench) -> Quarantine:
    with for_environment(bench.environment, write=False):
        return Quarantine.objects.select_related("connection__source").get()


def retry(bench: Bench, row: Quarantine, **more: Any) -> bool:
    return retry_quarantined(
        bench.environment, row.public_id, now=bench.now(), **({"actor": None} | bench.tools | more)
    )


def orders(bench: Bench) -> dict[str, str]:
    with for_environment(bench.environment, write=False):
        return dict(Order.objects.values_list("order_no", "stage"))


# --- put aside ------------------------------------------------------------------------------------


def test_an_unreadable_payload_is_kept_whole_and_sealed_and_its_neighbours_pass(
    bench: Bench,
) -> None:
    connection, _ = bench.connect("tmall")
    bad = trade("102", receiver_mobile="13812345678", **BAD)

    taken = take(bench, connection, trade("101"), bad, trade("103"))

    row = kept(bench)
    assert (taken.received.new, taken.quarantined) == (2, 1)
    assert set(orders(bench)) == {"101", "103"}
    assert (row.order_no, row.state, row.times, row.attempts) == ("102", State.OPEN, 1, 0)
    words = row.reason.message % row.reason.params
    assert "payment" in words
    assert row.reveal_payload() == bad
    assert "13812345678" not in row.payload_sealed
    assert "13812345678" not in str(mask_value(row.reveal_payload()))
    assert "一百元" in str(mask_value(row.reveal_payload()))  # what is wrong with it shows


def test_the_same_payload_again_counts_and_does_not_pile_up(bench: Bench) -> None:
    connection, _ = bench.connect("tmall")
    for _time in range(3):
        take(bench, connection, trade("102", **BAD))
        bench.pass_time(minutes=15)
    row = kept(bench)
    assert (row.times, row.first_at, row.last_at) == (
        3, bench.now() - timedelta(minutes=45), bench.now() - timedelta(minutes=15),
    )  # fmt: skip

    take(bench, connection, trade("102", payment="二百元"))  # another content: another row

    with for_environment(bench.environment, write=False):
        assert sorted(Quarantine.objects.values_list("times", flat=True)) == [1, 3]


def test_a_later_payload_that_can_be_read_settles_it_and_a_bad_one_opens_it_again(
    bench: Bench,
) -> None:
    connection, _ = bench.connect("tmall")
    bad = trade("102", **BAD)
    take(bench, connection, bad)

    take(bench, connection, trade("102"))
    mended = kept(bench)
    take(bench, connection, bad)
    again = kept(bench)

    assert (mended.state, mended.settled_at) == (State.MENDED, bench.now())
    assert (again.state, again.times, again.settled_at) == (State.OPEN, 2, None)


def test_what_the_database_refuses_is_put_aside_and_not_called_read(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection, _ = bench.connect("tmall")
    sound = taking.receive

    def receive(records: Any, **more: Any) -> Any:
        if any(record.order_no == "102" for record in records):
            raise DataError("numeric field overflow")
        return sound(records, **more)

    monkeypatch.setattr(taking, "receive", receive)

    taken = take(bench, connection, trade("101"), trade("102"))

    row = kept(bench)
    assert (taken.received.new, taken.quarantined) == (1, 1)
    assert (row.order_no, row.code, row.state) == ("102", "mapping_failed", State.OPEN)
    assert not retry(bench, row)
    assert kept(bench).state == State.OPEN

    monkeypatch.undo()
    assert retry(bench, row)
    assert set(orders(bench)) == {"101", "102"}


# --- trying again ---------------------------------------------------------------------------------


def test_a_retry_reads_by_the_mapping_and_the_status_table_as_they_are_now(
    bench: Bench, world: World
) -> None:
    connection, _ = bench.connect("tmall")
    payload = trade("102", status="WAIT_ROBOT_DELIVERY", **BAD)
    take(bench, connection, payload)
    actor = world.users["tech_support"]
    sound = CHANNELS["tmall"].map_order
    assert sound is not None

    def learned(told: Any, **hints: Any) -> Any:
        return sound({**told, "payment": "100.00"}, **hints)

    with for_environment(bench.environment):
        rows = [
            {
                "raw_status": "WAIT_ROBOT_DELIVERY",
                "stage": "shipped",
                "effective_from": "2025-01-01",
            }
        ]
        publish_document(
            {"rows": rows}, world, kind=STATUS_MAPPING_KIND, key="tmall", now=bench.now()
        )
    bench.change("tmall", map_order=learned)

    assert retry(bench, kept(bench), actor=actor)

    row = kept(bench)
    assert orders(bench) == {"102": Stage.SHIPPED}
    assert (row.state, row.attempts, row.settled_at) == (State.MENDED, 1, bench.now())
    with for_environment(bench.environment, write=False):
        entry = AuditEntry.objects.get(action="quarantine.retry")
        assert (entry.subject, entry.actor) == ("102", actor)


def test_what_is_still_unreadable_stays_open_with_the_newest_reason(bench: Bench) -> None:
    connection, _ = bench.connect("tmall")
    take(bench, connection, trade("102", **BAD))
    before = kept(bench)

    def stricter(told: Any, **hints: Any) -> Any:
        raise BadInput("也没有买家", code="payload_missing")

    bench.change("tmall", map_order=stricter)
    bench.pass_time(minutes=1)

    assert not retry(bench, before)

    row = kept(bench)
    assert (before.code, row.code) == ("payload_field", "payload_missing")
    assert (row.state, row.attempts, row.times) == (State.OPEN, 1, 2)
    assert orders(bench) == {}


def test_a_row_that_only_names_its_order_is_fetched_anew(bench: Bench) -> None:
    connection, vendor = bench.connect("tmall")
    with for_environment(bench.environment):
        put_aside(connection, Reading({"order_no": "102"}, "102"), REFUSED, now=bench.now())

    vendor.tells["102"] = UNREACHABLE
    away = retry(bench, kept(bench))
    after = kept(bench)
    vendor.tells["102"] = REFUSED
    refused = retry(bench, kept(bench))
    vendor.tells["102"] = trade("102")
    found = retry(bench, kept(bench))

    assert (away, refused, found) == (False, False, True)
    assert (after.state, after.times) == (State.OPEN, 1)  # we know no more of it than before
    assert (kept(bench).state, kept(bench).times, kept(bench).attempts) == (State.MENDED, 2, 3)
    assert set(orders(bench)) == {"102"}


@pytest.mark.parametrize("vendor", ["private_mall", "alipay"])
def test_a_pushed_payment_is_worked_off_as_the_message_it_came_with(
    bench: Bench, vendor: str
) -> None:
    """Its payload alone looks like an order without anything in it."""
    connection, _ = bench.connect(vendor)
    sound = get_connector(vendor).push
    assert sound is not None
    door = Door(is_broken=True)
    bench.change(vendor, push=door)
    items = [
        PushItem("record", key, "payment.paid", "102", {"order_no": "102", "amount_fen": fen})
        for key, fen in (("a", 100), ("b", 200))
    ]
    with for_environment(bench.environment):
        store_messages(connection, items, signed_at=None, now=bench.now())
    work_messages(bench.environment, connection.pk, **bench.tools)
    with for_environment(bench.environment, write=False):
        _first, second = Quarantine.objects.order_by("pk")

    still = retry(bench, second)
    door.is_broken = False
    mended = retry(bench, second)

    assert (still, mended) == (False, True)
    assert door.mapped == ["a", "b", "b", "b"]  # no other message of the order
    with for_environment(bench.environment, write=False):
        payment = Payment.objects.get()
        assert (payment.payment_id, payment.amount_fen) == ("b", 200)
        assert set(InboundMessage.objects.values_list("state", flat=True)) == {"done"}
        states = Quarantine.objects.order_by("pk").values_list("state", flat=True)
        assert list(states) == [State.OPEN, State.MENDED]  # the other payment was never read


def test_a_system_is_asked_again_about_an_order_it_had_refused(bench: Bench) -> None:
    connection, vendor = bench.connect("alipay")
    with for_environment(bench.environment):
        put_aside(connection, Reading({"order_no": "102"}, "102"), REFUSED, now=bench.now())
    told = CanonicalPayment("102", "P1", amount_fen=100, paid_at=bench.now())
    vendor.tells["102"] = Answered(Mapped(told, ()), {"trade_no": "P1"})

    assert retry(bench, kept(bench))
    assert vendor.asked == ["102"]


def test_what_is_settled_is_not_read_again_what_was_ignored_may_be(
    bench: Bench, world: World
) -> None:
    connection, vendor = bench.connect("tmall")
    with for_environment(bench.environment):
        put_aside(connection, Reading({"order_no": "102"}, "102"), REFUSED, now=bench.now())
    row = kept(bench)
    vendor.tells["102"] = REFUSED
    with for_environment(bench.environment):
        actor = world.users["tech_support"]
        ignore_quarantined(row.public_id, actor=actor, note="测试单", now=bench.now())

    assert not retry(bench, row)
    opened = kept(bench)
    vendor.tells["102"] = trade("102")
    assert retry(bench, row)
    calls = len(vendor.said)
    assert retry(bench, row)  # somebody else was faster: it is read

    assert (opened.state, opened.note, opened.settled_by_id) == (State.OPEN, "", None)
    assert (len(vendor.said), kept(bench).attempts) == (calls, 2)
    with for_environment(bench.environment, write=False):
        assert AuditEntry.objects.filter(action="quarantine.retry").count() == 2


# --- ignoring -------------------------------------------------------------------------------------


def test_ignoring_takes_a_reason_once_and_lasts(bench: Bench, world: World) -> None:
    connection, _ = bench.connect("tmall")
    take(bench, connection, trade("102", **BAD))
    row, actor = kept(bench), world.users["tech_support"]

    def ignore(note: str) -> None:
        with for_environment(bench.environment):
            ignore_quarantined(row.public_id, actor=actor, note=note, now=bench.now())

    with pytest.raises(BadInput, match="请写明为什么忽略这条报文"):
        ignore("  ")
    assert kept(bench).state == State.OPEN
    ignore(" 联调的测试单 ")
    with pytest.raises(WrongState, match="已经处理过了"):
        ignore("再来一次")
    take(bench, connection, trade("102", **BAD))  # it comes again, and stays ignored

    done = kept(bench)
    assert (done.state, done.note, done.settled_by, done.times) == (
        State.IGNORED, "联调的测试单", actor, 2,
    )  # fmt: skip
    with for_environment(bench.environment, write=False):
        entry = AuditEntry.objects.get(action="quarantine.ignore")
        assert (entry.subject, entry.details, entry.actor) == (
            "102", {"note": "联调的测试单"}, actor,
        )  # fmt: skip


# --- whose, and at what cost ----------------------------------------------------------------------


def test_another_environment_sees_and_settles_nothing(bench: Bench, world: World) -> None:
    connection, _ = bench.connect("tmall")
    take(bench, connection, trade("102", **BAD))
    row, actor = kept(bench), world.users["tech_support"]

    with pytest.raises(NotFound):
        retry_quarantined(world.staging, row.public_id, actor=actor, now=bench.now())
    with for_environment(world.staging):
        assert not list_quarantine().exists()
        with pytest.raises(NotFound):
            ignore_quarantined(row.public_id, actor=actor, note="x", now=bench.now())
        assert not AuditEntry.objects.filter(action__startswith="quarantine.").exists()
    assert (kept(bench).state, kept(bench).attempts) == (State.OPEN, 0)


def test_the_list_is_newest_first_by_state_and_one_query(bench: Bench) -> None:
    connection, _ = bench.connect("tmall")
    for number in range(101, 106):
        take(bench, connection, trade(str(number), **BAD))
        bench.pass_time(minutes=1)
    take(bench, connection, trade("103"))

    with for_environment(bench.environment, write=False), CaptureQueriesContext(database) as caught:
        found = [(row.order_no, str(row.connection), row.settled_by) for row in list_quarantine()]

    assert [number for number, _, _ in found] == ["105", "104", "102", "101"]
    assert len(caught) == 1
    with for_environment(bench.environment, write=False):
        assert [row.order_no for row in list_quarantine(State.MENDED)] == ["103"]
