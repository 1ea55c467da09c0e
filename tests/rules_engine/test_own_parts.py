"""促销 and 发货包裹: rows of the order's own, fetched only for formulas that use them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from config.tenancy.scope import for_environment
from connectors.orders.canonical import (
    CanonicalParcelLine,
    CanonicalPromotion,
    CanonicalShipment,
)
from connectors.orders.models import Order
from connectors.shops.models import Source
from rules_engine.facts.catalog import OWN_PARTS, PARCELS, USED_PROMOTIONS
from rules_engine.facts.collect import read_setting
from rules_engine.facts.related import Prefetch
from rules_engine.formula import UNKNOWN, to_serial
from rules_engine.scoring.models import Score
from rules_engine.scoring.services import make_completer, score_orders
from tests.factories import (
    NOW,
    World,
    make_order,
    make_sources,
    make_world,
    publish_rules,
    rules_of_one,
)
from workflows.causes import classify

NEEDED = frozenset({f.id for f in OWN_PARTS} | {c.id for f in OWN_PARTS for c in f.columns})
LEFT = NOW - timedelta(hours=1)
PROMOTIONS = (
    CanonicalPromotion("c-1", "coupon", "券", 1000, "shop"),
    CanonicalPromotion("c-2", "coupon", "券", 500, "platform"),
    CanonicalPromotion("mz-1", "gift", "满赠", 0, "shop", "1", "GIFT", 2),
)
SHIPMENTS = (
    CanonicalShipment("SF1", "SF1", "顺丰", LEFT, (CanonicalParcelLine("1", 2),)),
    CanonicalShipment("2", "", "圆通", None, (CanonicalParcelLine("2"),)),
)


@pytest.fixture
def env(db: None) -> Any:
    world = make_world()
    with for_environment(world.production):
        make_sources()
        yield world


def fetch(orders: list[Order], **more: Any) -> Any:
    setting = read_setting()
    completer = make_completer(setting, NOW)
    return Prefetch(NEEDED, setting, completer, **more).fetch([o.pk for o in orders])


def rows_of(order: Order, id: str, **more: Any) -> Any:
    return fetch([order], **more)[order.pk].values[id]


def test_every_column_of_a_promotion_and_of_a_parcel_is_filled(env: World) -> None:
    order = make_order(promotions=PROMOTIONS, shipments=SHIPMENTS)

    gift = rows_of(order, USED_PROMOTIONS)[2]
    sent, unnumbered = rows_of(order, PARCELS)

    assert gift == {
        "promotions.tool": "gift", "promotions.name": "满赠", "promotions.promotion_id": "mz-1",
        "promotions.discount": 0.0, "promotions.funder": "店铺", "promotions.gift_sku": "GIFT",
        "promotions.gift_quantity": 2.0,
    }  # fmt: skip
    assert sent == {
        "shipments.tracking_no": "SF1", "shipments.company": "顺丰", "shipments.quantity": 2.0,
        "shipments.shipped_at": to_serial(LEFT.astimezone(ZoneInfo("Asia/Shanghai"))),
    }  # fmt: skip
    assert (unnumbered["shipments.tracking_no"], unnumbered["shipments.quantity"]) == (None, None)
    assert {id for fact in OWN_PARTS for id in (c.id for c in fact.columns)} == set(gift) | set(
        sent
    )


def test_an_order_without_parts_has_none_and_a_late_channel_does_not_know_the_parcels(
    env: World,
) -> None:
    order = make_order()

    assert (rows_of(order, USED_PROMOTIONS), rows_of(order, PARCELS)) == ((), ())
    Source.objects.filter(kind="channel").update(complete_until=NOW - timedelta(minutes=40))
    assert rows_of(order, PARCELS) is UNKNOWN
    assert rows_of(order, USED_PROMOTIONS) == ()


def test_an_as_of_run_does_not_see_a_later_parcel(env: World) -> None:
    order = make_order(shipments=SHIPMENTS[:1])

    assert rows_of(order, PARCELS, as_of=LEFT - timedelta(minutes=1)) == ()


def test_a_rule_on_stacked_coupons_finds_the_order_that_breaks_it(env: World) -> None:
    stacked, plain = make_order(promotions=PROMOTIONS), make_order(promotions=PROMOTIONS[:1])
    publish_rules(rules_of_one('计数(促销, 促销工具="coupon") <= 1'), env)

    score_orders([stacked.pk, plain.pk], now=NOW, why="news", classify=classify)

    bands = dict(Score.objects.values_list("order_id", "band"))
    assert bands[plain.pk] == "healthy"
    assert bands[stacked.pk] != "healthy"


def test_two_hundred_orders_cost_as_many_queries_as_one(env: World) -> None:
    orders = [make_order(promotions=PROMOTIONS, shipments=SHIPMENTS) for _ in range(200)]

    def cost(some: list[Order]) -> int:
        with CaptureQueriesContext(connection) as queries:
            fetch(some)
        return len(queries)

    assert cost(orders[:1]) == cost(orders)


def test_parts_of_another_environment_are_not_read(env: World) -> None:
    order = make_order(promotions=PROMOTIONS)

    with for_environment(env.staging):
        assert fetch([order]) == {}
