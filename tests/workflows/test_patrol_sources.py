"""What the patrol does when sources come to it: first words of a system, mappings, first readings."""

from __future__ import annotations

from datetime import timedelta

import pytest

from config.tenancy.scope import for_environment
from connectors.orders.models import Order
from connectors.shops.connections import create_connection
from connectors.shops.models import SourceKind
from connectors.shops.services import get_or_create_source, record_freshness
from connectors.sync.models import BackfillRun
from connectors.sync.services import is_first_read_over
from rules_engine.presets import install
from tests.factories import NOW, World, make_order, make_sources
from workflows.patrol.services import patrol_environment

pytestmark = pytest.mark.django_db


def node_of(order: Order) -> str:
    order.refresh_from_db()
    return order.node


def test_orders_are_walked_again_once_the_first_oms_has_spoken(world: World) -> None:
    environment = world.production
    with for_environment(environment):
        channel = get_or_create_source(kind=SourceKind.CHANNEL, name="天猫旗舰店")
        record_freshness(channel, complete_until=NOW, now=NOW)
        order = make_order()
    patrol_environment(environment, now=NOW, clock=lambda: NOW)
    with for_environment(environment, write=False):
        before = node_of(order)
    with for_environment(environment):
        oms = get_or_create_source(kind=SourceKind.OMS, name="OMS")
        record_freshness(oms, complete_until=NOW, now=NOW)

    later = NOW + timedelta(minutes=1)
    patrol_environment(environment, now=later, clock=lambda: later)

    with for_environment(environment, write=False):
        assert before != "callback"
        assert node_of(order) == "callback"  # the OMS has not got it


def test_an_imported_order_is_not_watched_before_the_first_read_is_over(world: World) -> None:
    environment = world.production
    with for_environment(environment):
        install("promo", NOW)
        make_sources(NOW)
        connection = create_connection(
            vendor="qimen", kind="wms", name="新仓", shop=None,
            base_url="https://qimen.api.taobao.com", config={}, secrets={}, actor=None, now=NOW,
        )  # fmt: skip
        order = make_order(is_history=True, placed_at=NOW - timedelta(minutes=3))
    patrol_environment(environment, now=NOW, clock=lambda: NOW)
    with for_environment(environment):
        order.refresh_from_db()
        assert not order.is_watched
        record_freshness(connection.source, complete_until=NOW, now=NOW)

    later = NOW + timedelta(minutes=1)
    patrol_environment(environment, now=later, clock=lambda: later)

    with for_environment(environment, write=False):
        order.refresh_from_db()
        assert order.is_watched


def test_a_back_fill_under_way_means_that_the_past_is_not_whole(world: World) -> None:
    with for_environment(world.production):
        connection = create_connection(
            vendor="tmall", kind="channel", name="天猫旗舰店", shop=None,
            base_url="https://eco.taobao.com", config={}, secrets={}, actor=None, now=NOW,
        )  # fmt: skip
        record_freshness(connection.source, complete_until=NOW, now=NOW)
        assert is_first_read_over(now=NOW)
        run = BackfillRun.objects.create(
            connection=connection, stream="modified", start=NOW - timedelta(days=1), end=NOW,
            state=BackfillRun.State.RUNNING, requested_at=NOW,
        )  # fmt: skip
        assert not is_first_read_over(now=NOW)
        BackfillRun.objects.filter(pk=run.pk).update(state=BackfillRun.State.DONE)
        assert is_first_read_over(now=NOW)
    with for_environment(world.staging, write=False):
        assert is_first_read_over(now=NOW)
