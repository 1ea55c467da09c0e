"""Whom a warehouse is asked about: what it has not spoken of first, what it has for long rarely."""

from __future__ import annotations

from datetime import timedelta

import pytest

from config.tenancy.scope import for_environment
from connectors.orders.canonical import CanonicalReceipt
from connectors.orders.services import receive
from connectors.shops.connections import create_connection
from connectors.sync.models import Asked
from connectors.sync.sweeps import WMS_SILENCE, list_questions, list_silent
from tests.factories import NOW, World, make_order, make_world

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)


@pytest.fixture
def world() -> World:
    return make_world()


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
        soon = NOW + WMS_SILENCE - timedelta(minutes=1)
        assert "SILENT" not in list_silent(connection, now=soon, limit=9)
        assert "SILENT" in list_silent(connection, now=NOW + WMS_SILENCE, limit=9)
    with for_environment(world.other):
        assert list_questions(_warehouse(), now=NOW, limit=9) == []


def test_a_gateway_has_no_silent_orders(world):
    with for_environment(world.production):
        gateway = _warehouse("alipay", "gateway")
        assert list_silent(gateway, now=NOW, limit=9) == []
