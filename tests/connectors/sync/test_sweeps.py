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
from connectors.adapters import PushItem
from connectors.orders.models import Order, Receipt
from connectors.orders.services import receive
from connectors.orders.statuses import Stage
from connectors.shops.models import Connection
from connectors.sync import sweeps
from connectors.sync.leases import LEASE
from connectors.sync.models import Asked, Cursor, InboundMessage, Quarantine, SyncRun
from connectors.sync.pushes import store_messages, work_messages
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
from tests.connectors.sync.asked import (
    complete_until,
    last_run,
    make_reviewed,
    make_unpaid,
    payment_of,
    receipt_of,
    run_sweep,
)
from tests.connectors.sync.scripted import (
    REFUSED,
    UNREACHABLE,
    Bench,
)
from tests.factories import World, make_order

pytestmark = pytest.mark.django_db

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


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
    for _ in range(45):
        if run_sweep(bench, warehouse) is not None and len(vendor.asked) > len(moments):
            moments.append(bench.now())
        bench.pass_time(minutes=1)

    pauses = [(b - a) / MINUTE for a, b in zip(moments, moments[1:], strict=False)]
    assert pauses == [2, 4, 8, 15, 15]
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


def test_a_question_put_aside_settles_itself_though_its_order_closed_unpaid(bench: Bench) -> None:
    gateway, cashier = bench.connect("alipay")
    with for_environment(bench.environment):
        make_unpaid(bench, "G")
        make_unpaid(bench, "NONE")
    cashier.tells = {"G": REFUSED, "NONE": REFUSED}
    run_sweep(bench, gateway)
    with for_environment(bench.environment):
        assert Quarantine.objects.filter(state="open").count() == 2
        Order.objects.update(stage="closed_unpaid", is_open=False, closed_at=bench.now())
    cashier.tells = {"G": payment_of(bench, "G")}  # of the other there is nothing

    bench.pass_time(minutes=119)
    run_sweep(bench, gateway)
    assert cashier.asked.count("G") == 2  # refused and signed anew; then nobody waits for it
    bench.pass_time(minutes=1)
    run_sweep(bench, gateway)

    with for_environment(bench.environment, write=False):
        rows = set(Quarantine.objects.values_list("order_no", "state", "settled_at"))
        assert Order.objects.get(order_no="G").gateway_status == "paid"  # said, not lost
    assert rows == {("G", "mended", bench.now()), ("NONE", "mended", bench.now())}


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


def test_a_sweep_costs_the_same_queries_for_three_orders_or_twelve(bench: Bench) -> None:
    warehouse, vendor = bench.connect("qimen")
    counts = []
    for size in (3, 3, 12):
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
