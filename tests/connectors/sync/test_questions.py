"""Whom a warehouse is asked about: what it has not spoken of first, what it has for long rarely."""

from __future__ import annotations

from datetime import timedelta

import pytest

from config.errors import BadInput
from config.tenancy.scope import for_environment
from connectors.orders.canonical import CanonicalPayment, CanonicalReceipt
from connectors.orders.services import receive
from connectors.orders.statuses import Stage
from connectors.shops.connections import create_connection
from connectors.shops.models import Channel
from connectors.sync.models import Asked
from connectors.sync.sweeps import ASIDE_REACH, SILENCE, list_questions, list_silent
from connectors.sync.taking import Reading, put_aside, settle_questions
from tests.factories import NOW, World, make_order, make_world

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)


@pytest.fixture
def world() -> World:
    return make_world()


def _put_aside(connection, number, at):
    reading = Reading({"order_no": number}, number)
    put_aside(connection, reading, BadInput("不肯回答", code="refused"), now=at)


def _warehouse(vendor="qimen", kind="wms"):
    return create_connection(
        vendor=vendor, kind=kind, name=kind, shop=None, base_url="https://x.example", config={},
        secrets={}, actor=None, now=NOW,
    )  # fmt: skip


def _order(source, number, **moments):
    make_order(order_no=number, placed_at=NOW - 8 * HOUR)
    receive([CanonicalReceipt(order_no=number, **moments)], source=source, now=NOW)


def test_a_warehouse_is_asked_about_the_unheard_and_rarely_about_the_silent(world):
    with for_environment(world.production):
        connection = _warehouse()
        oms = _warehouse("generic_oms", "oms").source
        wms = connection.source
        reviewed = {"received_at": NOW - 7 * HOUR, "reviewed_at": NOW - 6 * HOUR}
        for number in ("UNHEARD", "SILENT", "GONE", "YOUNG"):
            _order(oms, number, **reviewed)
        receive(
            [
                CanonicalReceipt(order_no="SILENT", received_at=NOW - 5 * HOUR),
                CanonicalReceipt(
                    order_no="GONE", received_at=NOW - 5 * HOUR, shipped_at=NOW - HOUR
                ),
                CanonicalReceipt(order_no="YOUNG", received_at=NOW - HOUR),
            ],
            source=wms,
            now=NOW,
        )

        assert list_questions(connection, now=NOW, limit=9) == ["UNHEARD"]
        assert list_silent(connection, now=NOW, limit=9) == ["SILENT"]
        assert list_silent(connection, now=NOW, limit=0) == []

        Asked.objects.create(
            connection=connection, order_no="SILENT", asked_at=NOW, next_at=NOW + HOUR / 30
        )
        soon = NOW + SILENCE - timedelta(minutes=1)
        assert "SILENT" not in list_silent(connection, now=soon, limit=9)
        assert "SILENT" in list_silent(connection, now=NOW + SILENCE, limit=9)
    with for_environment(world.other):
        assert list_questions(_warehouse(), now=NOW, limit=9) == []


def test_a_gateway_is_asked_about_paid_orders_it_has_not_spoken_of(world):
    def make_paid(number, **changes):
        paid = {"channel": Channel.PRIVATE_MALL, "placed_at": NOW - HOUR, "paid_at": NOW - HOUR / 2}
        make_order(**{**paid, "order_no": number, "payment_method": "支付宝", **changes})

    with for_environment(world.production):
        gateway = _warehouse("alipay", "gateway")
        make_paid("LOST")
        make_paid("NO-METHOD", payment_method="", placed_at=NOW - HOUR / 2)
        make_paid("BY-WECHAT", payment_method="微信支付")
        make_paid("JUST-NOW", paid_at=NOW - timedelta(minutes=9))
        make_paid("LONG-AGO", placed_at=NOW - 60 * HOUR, paid_at=NOW - 49 * HOUR)
        make_paid("TMALL", channel=Channel.TMALL)
        make_paid("TOLD")
        receive(
            [CanonicalPayment(
                order_no="TOLD", payment_id="1", status="paid", amount_fen=1,
                paid_at=NOW - HOUR / 2,
            )],
            source=gateway.source, now=NOW,
        )  # fmt: skip

        assert list_questions(gateway, now=NOW, limit=9) == []  # nothing waits for them
        assert list_silent(gateway, now=NOW, limit=9) == ["LOST", "NO-METHOD"]
        assert list_silent(gateway, now=NOW, limit=1) == ["LOST"]
        Asked.objects.create(
            connection=gateway, order_no="LOST", asked_at=NOW, next_at=NOW + HOUR / 30
        )
        assert list_silent(gateway, now=NOW + HOUR, limit=9) == ["JUST-NOW", "NO-METHOD"]
    with for_environment(world.other):
        assert list_silent(_warehouse("alipay", "gateway"), now=NOW, limit=9) == []


def test_an_order_that_ended_while_it_could_not_be_asked_about_is_asked_about_again(world):
    with for_environment(world.production):
        gateway, warehouse = _warehouse("alipay", "gateway"), _warehouse()
        closed = {"stage": Stage.CLOSED_UNPAID, "closed_at": NOW - HOUR, "paid_at": None}
        for number in ("ASIDE", "OLD", "SETTLED", "NOTHING"):
            mall = {"channel": Channel.PRIVATE_MALL, "placed_at": NOW - 3 * HOUR}
            make_order(order_no=number, **mall, **closed)
        make_order(order_no="WAITS", **mall, paid_at=None, stage=Stage.AWAIT_PAY)
        for number in ("ASIDE", "SETTLED", "WAITS", "NOBODYS"):
            _put_aside(gateway, number, NOW - 2 * HOUR)
        _put_aside(gateway, "OLD", NOW - ASIDE_REACH)
        settle_questions(gateway, ["SETTLED"], now=NOW - HOUR)

        assert list_questions(gateway, now=NOW, limit=9) == ["WAITS"]
        assert list_silent(gateway, now=NOW, limit=9) == ["ASIDE"]
        assert list_silent(warehouse, now=NOW, limit=9) == []
        Asked.objects.create(
            connection=gateway, order_no="ASIDE", asked_at=NOW, next_at=NOW + HOUR / 30
        )
        assert list_silent(gateway, now=NOW + HOUR, limit=9) == []
    with for_environment(world.other):
        assert list_silent(_warehouse("alipay", "gateway"), now=NOW, limit=9) == []
