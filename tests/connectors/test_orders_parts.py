"""Promotions, parcels and flags of an order: stored, replaced and dropped as the platform tells."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from config.tenancy.scope import for_environment
from connectors.orders.canonical import (
    CanonicalLine,
    CanonicalParcelLine,
    CanonicalPromotion,
    CanonicalShipment,
)
from connectors.orders.models import Order, Promotion, Shipment
from connectors.orders.services import receive
from connectors.orders.statuses import Stage
from tests.factories import NOW, canonical_order, make_sources

FIRST = CanonicalShipment("SF1", "SF1", "顺丰", NOW, (CanonicalParcelLine("1", 1),))
SECOND = CanonicalShipment("SF2", "SF2", "顺丰", NOW + timedelta(hours=1))
COUPON = CanonicalPromotion("c-1", "coupon", "10 元券", 1000, "shop")
GIFT = CanonicalPromotion("mz-1", "gift", "满赠", 0, "shop", "1", "GIFT", 2)


@pytest.fixture
def env(world):
    with for_environment(world.production):
        yield world.production


def test_everything_a_platform_tells_of_an_order_is_stored(env):
    record = canonical_order(
        order_no="P1",
        promotions=(COUPON, GIFT),
        shipments=(FIRST,),
        lines=(
            CanonicalLine("1", warehouse="WH1", refund_state="requested", status="101"),
            CanonicalLine("2", is_gift=True, gift_of="1", is_oversold=True),
        ),
        oversold=True,
        buyer_urged=True,
        platform_hold="处方药待审核",
        collect_by=NOW,
    )

    receive([record], source=make_sources()["channel"], now=NOW)

    order = Order.objects.get()
    assert [
        (p.position, p.tool, p.discount_fen) for p in order.promotions.order_by("position")
    ] == [
        (0, "coupon", 1000),
        (1, "gift", 0),
    ]
    parcel = order.shipments.get()
    assert (parcel.tracking_no, parcel.lines) == ("SF1", [{"line_id": "1", "quantity": 1}])
    first, gift = order.lines.order_by("line_id")
    assert (first.warehouse, first.refund_state, first.status) == ("WH1", "requested", "101")
    assert (gift.gift_of, gift.is_oversold) == ("1", True)
    assert (order.oversold, order.buyer_urged, order.platform_hold) == (True, True, "处方药待审核")
    assert order.collect_by == NOW


def test_a_stop_of_the_platform_that_is_no_risk_review_holds_the_order_at_its_node(env):
    source = make_sources()["channel"]
    held = canonical_order(order_no="P1", stage=Stage.PLATFORM_HOLD, platform_hold="处方药待审核",
                           source_updated_at=NOW - timedelta(minutes=9))  # fmt: skip
    receive([held], source=source, now=NOW)
    receive(
        [replace(held, stage=Stage.AWAIT_SHIP, platform_hold="", source_updated_at=NOW)],
        source=source,
        now=NOW,
    )

    assert Order.objects.get().released_at == NOW


def test_what_is_not_told_any_more_is_dropped_and_neighbours_stay(env):
    source = make_sources()["channel"]
    one, other = (
        canonical_order(order_no=n, promotions=(COUPON, GIFT), shipments=(FIRST, SECOND))
        for n in ("P1", "P2")
    )
    receive([one, other], source=source, now=NOW)

    receive([replace(one, promotions=(GIFT,), shipments=(SECOND,))], source=source, now=NOW)

    told = Promotion.objects.filter(order__order_no="P1").values_list("position", "tool")
    assert list(told) == [(0, "gift")]
    assert Shipment.objects.get(order__order_no="P1").shipment_id == "SF2"
    assert Promotion.objects.filter(order__order_no="P2").count() == 2
    assert Shipment.objects.filter(order__order_no="P2").count() == 2


def test_a_part_shipped_order_has_a_parcel_and_no_moment_of_shipping(env):
    source = make_sources()["channel"]
    record = canonical_order(order_no="P1", stage=Stage.PART_SHIPPED, shipments=(FIRST,))

    receive([record], source=source, now=NOW)

    order = Order.objects.get()
    assert (order.shipped_at, order.is_open, order.shipments.count()) == (None, True, 1)


def test_parts_live_in_their_environment(world):
    for environment in (world.production, world.staging):
        with for_environment(environment):
            record = canonical_order(order_no="P1", promotions=(COUPON,), shipments=(FIRST,))
            receive([record], source=make_sources()["channel"], now=NOW)
    with for_environment(world.production):
        receive([canonical_order(order_no="P1")], source=make_sources()["channel"], now=NOW)
        assert (Promotion.objects.count(), Shipment.objects.count()) == (0, 0)
    with for_environment(world.staging):
        assert (Promotion.objects.count(), Shipment.objects.count()) == (1, 1)
