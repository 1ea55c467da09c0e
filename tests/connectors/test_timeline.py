"""An order's timeline: everything told of it, in one total order, in a fixed number of queries."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from config.tenancy.scope import for_environment
from connectors.orders.canonical import CanonicalPayment, CanonicalReceipt, CanonicalShipment
from connectors.orders.models import Order
from connectors.orders.services import receive
from connectors.orders.statuses import Stage
from connectors.orders.timeline import list_timeline
from tests.factories import NOW, canonical_order, make_sources

PLACED = NOW - timedelta(hours=2)


@pytest.fixture
def env(world):
    with for_environment(world.production):
        yield world.production


def fill_one_order() -> Order:
    sources = make_sources()
    order = canonical_order(order_no="T1", placed_at=PLACED)
    receive([order], source=sources["channel"], now=NOW)
    receive(
        [CanonicalPayment(order_no="T1", payment_id="p", amount_fen=32700, paid_at=order.paid_at)],
        source=sources["gateway"],
        now=NOW,
    )
    at = PLACED + timedelta(minutes=10)
    receive(
        [CanonicalReceipt("T1", received_at=at, reviewed_at=at)], source=sources["oms"], now=NOW
    )
    receive(
        [
            replace(
                order,
                stage=Stage.SHIPPED,
                shipped_at=NOW - timedelta(minutes=5),
                shipments=(CanonicalShipment("SF1", "SF1", "顺丰", NOW - timedelta(minutes=5)),),
            )
        ],
        source=sources["channel"],
        now=NOW,
    )
    return Order.objects.get()


def test_what_every_source_told_stands_in_one_line_by_time(env):
    entries = list_timeline(fill_one_order())

    assert [e.at for e in entries] == sorted(e.at for e in entries)
    assert {e.topic for e in entries} == {"event", "passage", "receipt", "payment", "shipment"}
    steps = [(e.code, e.label, e.source_kind) for e in entries if e.topic == "receipt"]
    assert steps == [
        ("received_at", "OMS 收到订单", "oms"),
        ("reviewed_at", "OMS 审单通过", "oms"),
    ]
    received = next(e for e in entries if e.topic == "receipt")
    assert (received.recorded_at, received.lag) == (NOW, timedelta(hours=1, minutes=50))
    parcel = next(e for e in entries if e.topic == "shipment")
    assert (parcel.reference, parcel.detail, parcel.source_kind) == ("SF1", "顺丰", "channel")
    shipped = next(e for e in entries if e.code == Stage.SHIPPED)
    assert (shipped.kind, shipped.lag) == ("observed", timedelta(minutes=5))
    paid = next(e for e in entries if e.topic == "payment")
    assert (paid.amount_fen, paid.label, paid.reference) == (32700, "支付成功", "p")


def test_the_timeline_of_an_order_costs_six_queries(env):
    order = fill_one_order()

    with CaptureQueriesContext(connection) as queries:
        list_timeline(order)

    assert len(queries) == 6


def test_an_order_of_another_environment_tells_nothing_here(world):
    with for_environment(world.production):
        order = fill_one_order()
    with for_environment(world.staging):
        assert list_timeline(order) == ()
