"""Asking gateways and warehouses: about whom, how often, until when, and what is believed of it.

Whom a warehouse is asked about after a long silence is in test_questions.py; the wire of both in
tests/connectors/systems/test_systems_through_sync.py.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext

from config.tenancy.scope import for_environment
from connectors.adapters import Answered, PushItem
from connectors.http import ConnectorError
from connectors.orders.canonical import CanonicalPayment, CanonicalReceipt
from connectors.orders.models import Order, Payment, Receipt
from connectors.orders.services import receive
from connectors.orders.statuses import Stage
from connectors.shops.models import Connection
from connectors.shops.services import get_or_create_source
from connectors.sync import sweeps
from connectors.sync.leases import LEASE
from connectors.sync.models import Asked, Cursor, InboundMessage, Quarantine, SyncRun
from connectors.sync.pushes import store_messages, work_messages
from connectors.sync.services import SWEEPING, Job, list_jobs
from connectors.sync.sweeps import (
    LONGEST_PAUSE,
    PAYMENT_AGE,
    PAYMENT_REACH,
    WMS_AGE,
    forget_asked,
    list_questions,
    list_silent,
    sweep,
)
from connectors.sync.transport import MOST_MISSES
from connectors.wire import Mapped
from tests.connectors.sync.scripted import (
    ODD,
    QUOTA,
    REFUSED,
    REVOKED,
    UNREACHABLE,
    WRONG_CLOCK,
    Bench,
)
from tests.factories import World, make_order

pytestmark = pytest.mark.django_db

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def bench(world: World, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(world.production, monkeypatch)


def make_unpaid(bench: Bench, number: str, *, ago: timedelta = 10 * MINUTE, **changes: Any) -> None:
    """An order of the own mall that waits for money, in the scope in force."""
    values: dict[str, Any] = {
        "channel": "private_mall", "shop": "小程序", "stage": Stage.AWAIT_PAY, "paid_at": None,
        "paid_fen": None, "order_no": number, "placed_at": bench.now() - ago,
    }  # fmt: skip
    make_order(bench.now(), **(values | changes))


def make_reviewed(bench: Bench, number: str, *, ago: timedelta = HOUR, **changes: Any) -> None:
    """An order the OMS has reviewed, in the scope in force."""
    make_order(bench.now(), order_no=number, placed_at=bench.now() - ago - HOUR, **changes)
    oms = get_or_create_source(kind="oms", name="OMS")
    reviewed = bench.now() - ago
    receive(
        [CanonicalReceipt(order_no=number, received_at=reviewed, reviewed_at=reviewed)],
        source=oms, now=bench.now(),
    )  # fmt: skip


def payment_of(bench: Bench, number: str) -> Answered:
    record = CanonicalPayment(
        order_no=number, payment_id=f"P{number}", status="paid", amount_fen=32700,
        paid_at=bench.now(),
    )  # fmt: skip
    return Answered(Mapped(record, ()), {"out_trade_no": number})


def receipt_of(bench: Bench, number: str) -> Answered:
    return Answered(Mapped(CanonicalReceipt(order_no=number, received_at=bench.now()), ()), {})


def run_sweep(bench: Bench, connection: Connection, **more: Any) -> Any:
    return sweep(bench.environment, connection.pk, **bench.tools, **more)


def last_run(bench: Bench) -> SyncRun:
    with for_environment(bench.environment, write=False):
        run = SyncRun.objects.order_by("pk").last()
    assert run is not None
    return run


def complete_until(bench: Bench, connection: Connection) -> Any:
    with for_environment(bench.environment, write=False):
        found = Connection.objects.select_related("source").get(pk=connection.pk)
    return found.source.complete_until


# -- about whom ------------------------------------------------------------------------------------


def test_a_gateway_is_asked_about_the_own_malls_unpaid_orders_and_no_others(bench: Bench) -> None:
    gateway, _ = bench.connect("alipay")
    with for_environment(bench.environment):
        make_unpaid(bench, "OLDEST", ago=PAYMENT_REACH - MINUTE)
        make_unpaid(bench, "DEPOSIT", stage=Stage.DEPOSIT_PAID)
        make_unpaid(bench, "YOUNGEST", ago=PAYMENT_AGE)
        make_unpaid(bench, "TOO-YOUNG", ago=PAYMENT_AGE - timedelta(seconds=1))
        make_unpaid(bench, "TOO-OLD", ago=PAYMENT_REACH)
        make_unpaid(bench, "CLOSED", stage=Stage.CLOSED_UNPAID)
        make_unpaid(bench, "PAID", stage=Stage.AWAIT_SHIP, paid_at=bench.now() - MINUTE)
        make_unpaid(bench, "TMALL", channel="tmall", shop="天猫旗舰店")
        make_unpaid(bench, "TOLD")
        receive([payment_of(bench, "TOLD").mapped.record], source=gateway.source, now=bench.now())

        assert list_questions(gateway, now=bench.now(), limit=99) == [
            "OLDEST", "DEPOSIT", "YOUNGEST",
        ]  # fmt: skip
        assert list_questions(gateway, now=bench.now(), limit=2) == ["OLDEST", "DEPOSIT"]


def test_a_warehouse_is_asked_about_reviewed_orders_it_has_not_spoken_of(bench: Bench) -> None:
    warehouse, _ = bench.connect("qimen")
    with for_environment(bench.environment):
        make_reviewed(bench, "LONG-AGO", ago=30 * DAY)
        make_reviewed(bench, "JUST-OLD-ENOUGH", ago=WMS_AGE)
        make_reviewed(bench, "TOO-YOUNG", ago=WMS_AGE - timedelta(seconds=1))
        make_reviewed(bench, "OVER", stage=Stage.CLOSED_REFUNDED)
        make_reviewed(bench, "RECEIVED")
        make_order(bench.now(), order_no="UNREVIEWED", placed_at=bench.now() - HOUR)
        receive(
            [receipt_of(bench, "RECEIVED").mapped.record], source=warehouse.source, now=bench.now()
        )

        assert list_questions(warehouse, now=bench.now(), limit=99) == [
            "LONG-AGO", "JUST-OLD-ENOUGH",
        ]  # fmt: skip


def test_an_oms_and_a_channel_have_lists_and_are_never_asked(bench: Bench) -> None:
    for vendor in ("generic_oms", "private_mall"):
        connection, script = bench.connect(vendor)
        with for_environment(bench.environment):
            make_unpaid(bench, f"U-{vendor}")
            make_reviewed(bench, f"R-{vendor}")
            assert list_questions(connection, now=bench.now(), limit=9) == []
            assert list_silent(connection, now=bench.now(), limit=9) == []
        run_sweep(bench, connection)
        assert script.said == []


def test_a_presale_of_long_ago_is_asked_about_while_its_balance_can_be_paid(bench: Bench) -> None:
    gateway, _ = bench.connect("alipay")
    moments = {"balance_opens_at": bench.now() - HOUR, "balance_due_at": bench.now() + HOUR}
    with for_environment(bench.environment):
        presale: dict[str, Any] = {"ago": 20 * DAY, "stage": Stage.DEPOSIT_PAID}
        make_unpaid(bench, "OPEN", **presale, **moments)
        make_unpaid(
            bench, "NOT-YET", **presale, **moments | {"balance_opens_at": bench.now() + MINUTE}
        )
        make_unpaid(
            bench, "OVERDUE", **presale, **moments | {"balance_due_at": bench.now() - 3 * DAY}
        )
        make_unpaid(bench, "UNTOLD", **presale)

        assert list_questions(gateway, now=bench.now(), limit=99) == []
        assert list_silent(gateway, now=bench.now(), limit=99) == ["OPEN"]


# -- how often -------------------------------------------------------------------------------------


def test_an_order_is_asked_about_after_growing_pauses_and_no_such_order_is_remembered(
    bench: Bench,
) -> None:
    warehouse, vendor = bench.connect("qimen")
    with for_environment(bench.environment):
        make_reviewed(bench, "A")
    moments = []
    for _ in range(60):
        if run_sweep(bench, warehouse) is not None and len(vendor.asked) > len(moments):
            moments.append(bench.now())
        bench.pass_time(minutes=1)

    pauses = [(b - a) / MINUTE for a, b in zip(moments, moments[1:], strict=False)]
    assert pauses == [2, 4, 8, 15, 15, 15]
    assert LONGEST_PAUSE == 15 * MINUTE
    with for_environment(bench.environment, write=False):
        row = Asked.objects.get()
        assert not Receipt.objects.filter(source=warehouse.source).exists()
    assert (row.order_no, row.asked_at) == ("A", moments[-1])


def test_what_was_found_becomes_a_fact_and_is_not_asked_again(bench: Bench) -> None:
    warehouse, vendor = bench.connect("qimen")
    gateway, cashier = bench.connect("alipay")
    with for_environment(bench.environment):
        make_reviewed(bench, "W")
        make_unpaid(bench, "G")
    vendor.tells, cashier.tells = {"W": receipt_of(bench, "W")}, {"G": payment_of(bench, "G")}

    took = [run_sweep(bench, warehouse), run_sweep(bench, gateway)]
    for _ in range(10):
        bench.pass_time(minutes=2)
        run_sweep(bench, warehouse)
        run_sweep(bench, gateway)

    assert [taken.received.order_ids != () for taken in took] == [True, True]
    with for_environment(bench.environment, write=False):
        found = {o.order_no: o for o in Order.objects.all()}
    assert found["W"].wms_received_at == found["G"].gateway_paid_at == bench.now() - 20 * MINUTE
    assert (vendor.asked, cashier.asked) == (["W"], ["G"])


def test_with_nobody_to_ask_about_one_call_shows_that_the_system_is_there(bench: Bench) -> None:
    warehouse, vendor = bench.connect("qimen")

    run_sweep(bench, warehouse)

    assert vendor.said == ["check"]
    assert complete_until(bench, warehouse) == bench.now()
    assert (last_run(bench).state, last_run(bench).kind) == (SyncRun.State.DONE, "sweep")
    vendor.fails = {"check": UNREACHABLE}
    bench.pass_time(minutes=2)
    run_sweep(bench, warehouse)
    assert last_run(bench).state == SyncRun.State.FAILED
    assert complete_until(bench, warehouse) < bench.now() - MINUTE
    vendor.fails = {}
    bench.pass_time(minutes=2)
    run_sweep(bench, warehouse)
    with for_environment(bench.environment, write=False):
        warehouse.refresh_from_db()
    assert (warehouse.state, warehouse.trouble) == ("ok", None)


def test_a_run_that_did_not_get_through_leaves_the_freshness_where_it_was(bench: Bench) -> None:
    warehouse, vendor = bench.connect("qimen")
    with for_environment(bench.environment):
        for n in range(5):
            make_reviewed(bench, f"W{n}")

    run_sweep(bench, warehouse, limit=3)

    assert len(vendor.asked) == 3
    assert last_run(bench).state == SyncRun.State.PARTIAL
    assert complete_until(bench, warehouse) is None
    run_sweep(bench, warehouse, limit=3)
    assert sorted(vendor.asked) == [f"W{n}" for n in range(5)]
    assert complete_until(bench, warehouse) == bench.now()


def test_old_questions_are_forgotten_after_a_week(bench: Bench) -> None:
    warehouse, _ = bench.connect("qimen")
    with for_environment(bench.environment):
        for n in (6, 8):
            at = bench.now() - n * DAY
            Asked.objects.create(
                connection=warehouse, order_no=f"A{n}", asked_at=at, next_at=at + MINUTE
            )

        assert forget_asked(now=bench.now()) == 1
        assert Asked.objects.get().order_no == "A6"


# -- what stops it ---------------------------------------------------------------------------------


def test_a_quota_that_is_used_up_ends_the_sweep_and_what_was_told_stays(bench: Bench) -> None:
    gateway, vendor = bench.connect("alipay")
    with for_environment(bench.environment):
        for n in range(40):
            make_unpaid(bench, f"G{n:02}", ago=(60 - n) * MINUTE)
    vendor.tells = {"G00": payment_of(bench, "G00")} | {f"G{n:02}": QUOTA for n in range(1, 40)}

    taken = run_sweep(bench, gateway)

    assert len(vendor.asked) <= 1 + 4  # those under way side by side
    assert len(taken.unread) == 39
    run = last_run(bench)
    assert (run.state, run.error_code) == (SyncRun.State.FAILED, "vendor_refusal")
    assert complete_until(bench, gateway) is None
    with for_environment(bench.environment, write=False):
        assert Payment.objects.filter(is_gateway=True).count() == 1
        assert [a.order_no for a in Asked.objects.all()] == ["G00"]
        gateway.refresh_from_db()
        assert Job(SWEEPING, gateway.pk) not in list_jobs(now=bench.now() + 10 * MINUTE)
    assert gateway.paused_until == bench.now() + HOUR
    bench.pass_time(minutes=30)
    asked = len(vendor.asked)
    run_sweep(bench, gateway)  # handed out before the pause was known
    assert len(vendor.asked) == asked


def test_a_vendor_that_is_away_is_given_up_after_a_few_orders(bench: Bench) -> None:
    warehouse, vendor = bench.connect("qimen")
    numbers = [f"W{n:02}" for n in range(30)]
    with for_environment(bench.environment):
        for number in numbers:
            make_reviewed(bench, number)
    vendor.tells = dict.fromkeys(numbers, UNREACHABLE)

    taken = run_sweep(bench, warehouse)

    # Thirty orders with all patience would take longer than a worker may.
    assert MOST_MISSES <= len(set(vendor.asked)) <= MOST_MISSES + 4
    assert len(taken.unread) == 30
    with for_environment(bench.environment, write=False):
        assert not Asked.objects.exists()
        assert not Quarantine.objects.exists()
        warehouse.refresh_from_db()
    assert (warehouse.state, warehouse.trouble_code) == ("trouble", "no_answer")
    assert complete_until(bench, warehouse) is None


def test_what_stops_a_sweep_stops_all_of_it(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeps, "CHUNK", 2)
    warehouse, vendor = bench.connect("qimen")
    with for_environment(bench.environment):
        for n in range(6):
            make_reviewed(bench, f"W{n}", ago=(60 - n) * MINUTE)
    vendor.tells = {"W3": UNREACHABLE}

    run_sweep(bench, warehouse)

    assert set(vendor.asked) == {"W0", "W1", "W2", "W3"}
    assert last_run(bench).state == SyncRun.State.FAILED
    assert complete_until(bench, warehouse) is None


@pytest.mark.parametrize("refusal", [REVOKED, REFUSED, ConnectorError("403", code="http_status")])
def test_a_system_that_refuses_everything_has_told_nothing(
    bench: Bench, refusal: ConnectorError
) -> None:
    """An address taken off the list must not read as "the warehouse has none of these orders"."""
    warehouse, vendor = bench.connect("qimen")
    with for_environment(bench.environment):
        for n in range(3):
            make_reviewed(bench, f"W{n}")
    vendor.fails = {"ask": refusal, "check": refusal}

    run_sweep(bench, warehouse)

    assert complete_until(bench, warehouse) is None
    assert last_run(bench).state == SyncRun.State.FAILED
    with for_environment(bench.environment, write=False):
        assert not Quarantine.objects.exists()
        assert not Asked.objects.exists()


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("refusal", [REFUSED, ODD])
def test_one_order_a_system_stumbles_over_is_put_aside_and_holds_nothing_up(
    bench: Bench, refusal: Any, count: int
) -> None:
    warehouse, vendor = bench.connect("qimen")
    with for_environment(bench.environment):
        for n in range(count):
            make_reviewed(bench, f"W{n}")
    vendor.tells = {"W0": refusal}

    taken = run_sweep(bench, warehouse)

    assert taken.quarantined == 1
    assert complete_until(bench, warehouse) == bench.now() - timedelta(seconds=bench.waited)
    assert last_run(bench).state == SyncRun.State.DONE
    with for_environment(bench.environment, write=False):
        assert Quarantine.objects.get().order_no == "W0"
        assert Asked.objects.count() == count  # it too is asked again after a pause only
    tries = vendor.times_asked["W0"]
    bench.pass_time(minutes=1)
    run_sweep(bench, warehouse)
    assert vendor.times_asked["W0"] == tries

    vendor.tells = {}  # it answers now: it has no such order
    bench.pass_time(minutes=1)
    run_sweep(bench, warehouse)
    with for_environment(bench.environment, write=False):
        assert Quarantine.objects.get().state == Quarantine.State.MENDED


def test_a_refusal_of_one_moment_puts_nothing_aside(bench: Bench) -> None:
    warehouse, vendor = bench.connect("qimen")
    with for_environment(bench.environment):
        for n in range(3):
            make_reviewed(bench, f"W{n}")

    def refuse_once() -> None:
        vendor.fails["ask"] = REFUSED
        vendor.meanwhile = vendor.fails.clear

    vendor.fails, vendor.meanwhile = {}, refuse_once
    taken = run_sweep(bench, warehouse)

    assert taken == sweeps.Taken()
    with for_environment(bench.environment, write=False):
        assert not Quarantine.objects.exists()
        assert Asked.objects.count() == 3
    assert complete_until(bench, warehouse) == bench.now()


def test_a_clock_that_is_wrong_is_about_us_even_where_one_order_was_told(bench: Bench) -> None:
    gateway, vendor = bench.connect("alipay")
    with for_environment(bench.environment):
        make_unpaid(bench, "G0", ago=HOUR)
        make_unpaid(bench, "G1")
    vendor.tells = {"G1": WRONG_CLOCK}

    taken = run_sweep(bench, gateway)

    assert (taken.quarantined, taken.unread) == (0, {"G1"})
    assert last_run(bench).state == SyncRun.State.FAILED
    assert complete_until(bench, gateway) is None


def test_settings_that_are_not_enough_to_call_are_said_on_the_connection(bench: Bench) -> None:
    warehouse, _ = bench.connect("qimen")
    with for_environment(bench.environment):
        make_reviewed(bench, "W")

    def refuse(access: Any) -> Any:
        raise ConnectorError("no key", code="not_configured")

    bench.change("qimen", open=refuse)
    run_sweep(bench, warehouse)

    with for_environment(bench.environment, write=False):
        warehouse.refresh_from_db()
    assert (warehouse.state, warehouse.trouble_code) == ("trouble", "not_configured")
    assert complete_until(bench, warehouse) is None


@pytest.mark.parametrize("why", ["off", "paused"])
def test_a_connection_that_is_off_or_told_to_wait_is_not_asked(bench: Bench, why: str) -> None:
    warehouse, vendor = bench.connect("qimen")
    with for_environment(bench.environment):
        make_reviewed(bench, "W")
        Connection.objects.update(
            **({"is_active": False} if why == "off" else {"paused_until": bench.now() + MINUTE})
        )

    run_sweep(bench, warehouse)

    assert vendor.said == []
    assert complete_until(bench, warehouse) is None


# -- by whom, and where ----------------------------------------------------------------------------


def test_two_workers_never_ask_one_system_at_once(bench: Bench) -> None:
    warehouse, vendor = bench.connect("qimen")
    with for_environment(bench.environment):
        make_reviewed(bench, "W")
    vendor.meanwhile = lambda: run_sweep(bench, warehouse)

    run_sweep(bench, warehouse)

    assert vendor.asked == ["W"]
    with for_environment(bench.environment, write=False):
        assert SyncRun.objects.count() == 1
        assert Cursor.objects.get(stream="sweep").lease_until is None


def test_a_sweep_that_was_too_slow_leaves_the_rest_to_who_has_taken_over(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeps, "CHUNK", 1)
    warehouse, vendor = bench.connect("qimen")
    with for_environment(bench.environment):
        for n in range(3):
            make_reviewed(bench, f"W{n}", ago=(60 - n) * MINUTE)

    def dawdle() -> None:
        bench.at += LEASE
        with for_environment(bench.environment):
            Cursor.objects.update(holder="other", lease_until=bench.now() + LEASE)

    vendor.meanwhile = dawdle
    run_sweep(bench, warehouse)

    assert vendor.asked == ["W0"]
    assert last_run(bench).state == SyncRun.State.PARTIAL
    assert complete_until(bench, warehouse) is None


def test_a_slow_sweep_keeps_its_lease(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeps, "CHUNK", 1)
    warehouse, vendor = bench.connect("qimen")
    with for_environment(bench.environment):
        for n in range(5):
            make_reviewed(bench, f"W{n}", ago=(60 - n) * MINUTE)
    seen = []

    def dawdle() -> None:
        bench.at += 0.6 * LEASE
        seen.append(run_sweep(bench, warehouse))
        vendor.meanwhile = dawdle

    vendor.meanwhile = dawdle
    run_sweep(bench, warehouse)

    assert len(seen) == 5
    assert sorted(vendor.asked) == [f"W{n}" for n in range(5)]
    assert complete_until(bench, warehouse) is not None


def test_another_environments_orders_are_neither_asked_about_nor_changed(
    bench: Bench, world: World
) -> None:
    ours, vendor = bench.connect("qimen")
    theirs, _ = bench.connect("qimen", into=world.other)
    vendor = bench.script("qimen")
    with for_environment(world.other):
        make_reviewed(bench, "THEIRS")
        make_reviewed(bench, "BOTH")
    with for_environment(bench.environment):
        make_reviewed(bench, "OURS")
        make_reviewed(bench, "BOTH")
    vendor.tells = {n: receipt_of(bench, n) for n in ("OURS", "THEIRS", "BOTH")}

    run_sweep(bench, ours)

    assert sorted(vendor.asked) == ["BOTH", "OURS"]
    with for_environment(world.other, write=False):
        assert not Order.objects.filter(wms_received_at__isnull=False).exists()
        assert not Asked.objects.exists()
        assert not SyncRun.objects.exists()
    with pytest.raises(Connection.DoesNotExist):
        sweep(bench.environment, theirs.pk, **bench.tools)


def test_a_refund_told_by_its_number_alone_is_asked_about(bench: Bench) -> None:
    gateway, vendor = bench.connect("wechat_pay")
    with for_environment(bench.environment):
        make_unpaid(bench, "G1")
        store_messages(
            gateway,
            [PushItem("hint", "wx:1", "REFUND.SUCCESS", "G1"), PushItem("hint", "wx:2", "R", "G2")],
            signed_at=None, now=bench.now(),
        )  # fmt: skip
    vendor.tells = {"G1": payment_of(bench, "G1"), "G2": UNREACHABLE}

    taken, settled = work_messages(bench.environment, gateway.pk, **bench.tools)

    assert (settled, taken.unread) == (1, {"G2"})
    with for_environment(bench.environment, write=False):
        assert Order.objects.get().gateway_status == "paid"
        found = dict(InboundMessage.objects.values_list("order_no", "state"))
        gateway.refresh_from_db()
    assert found == {"G1": "done", "G2": "waiting"}
    assert gateway.trouble_code == "no_answer"


def test_a_sweep_costs_the_same_queries_for_three_orders_or_thirty(bench: Bench) -> None:
    warehouse, vendor = bench.connect("qimen")
    counts = []
    for size in (3, 3, 30):
        numbers = [f"W{len(counts)}-{n}" for n in range(size)]
        with for_environment(bench.environment):
            for number in numbers:
                make_reviewed(bench, number)
        vendor.tells = {number: receipt_of(bench, number) for number in numbers}
        with CaptureQueriesContext(database) as queries:
            taken = run_sweep(bench, warehouse)
        assert len(taken.received.order_ids) == size
        counts.append(len(queries))
        bench.pass_time(minutes=2)

    assert counts[2] <= counts[1]  # the first one makes the row of the lease
