"""Stock, flow, age and silt index against plain counting; the lists agree with the numbers."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from statistics import quantiles
from typing import Any

import pytest
from django.db.models import Q
from pytest_django import DjangoAssertNumQueries

from connectors.orders.models import NodePassage, Order
from connectors.orders.nodes import DEFAULT_NODES, Node
from connectors.orders.services import receive
from connectors.shops.models import SourceKind
from tests.factories import NOW, World, canonical_order, for_environment, make_sources, make_world
from workflows.canvas.silting import NodeFigures, measure

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)
RISK = next(n for n in DEFAULT_NODES if n.code == "risk")  # 30 minutes expected


@pytest.fixture
def world(db: None) -> World:
    return make_world()


def _orders(count: int, **changes: Any) -> list[Order]:
    """Bare orders whose own passages are taken away: tests place their own."""
    source = make_sources()[SourceKind.CHANNEL]
    for start in range(0, count, 500):
        records = [canonical_order(**changes) for _ in range(min(500, count - start))]
        receive(records, source=source, now=NOW)
    NodePassage.objects.all().delete()
    Order.objects.update(first_received_at=NOW - timedelta(days=10))
    return list(Order.objects.order_by("pk"))


def _stand(
    orders: list[Order], ages: list[float], *, node: str = "risk", left: list[float] | None = None
) -> None:
    """Put orders at a node: entered `ages` minutes ago, left `left` minutes ago (or not)."""
    NodePassage.objects.bulk_create(
        NodePassage(
            order=order,
            node=node,
            entered_at=NOW - timedelta(minutes=age),
            left_at=None if left is None else NOW - timedelta(minutes=left[i]),
        )
        for i, (order, age) in enumerate(zip(orders, ages, strict=True))
    )


def _risk(at: datetime = NOW) -> NodeFigures:
    return measure(DEFAULT_NODES, at=at)["risk"]


def test_an_empty_river_has_zeros_and_no_heat(world: World) -> None:
    with for_environment(world.production):
        figures = measure(DEFAULT_NODES, at=NOW)

    assert list(figures) == [n.code for n in DEFAULT_NODES]
    for f in figures.values():
        assert (f.stock, f.entered, f.left, f.late, f.at_risk, f.scheduled) == (0, 0, 0, 0, 0, 0)
        assert (f.oldest_minutes, f.median_minutes, f.p90_minutes) == (None, None, None)
        assert (f.silt_index, f.heat, f.excess_hours, f.drain_hours) == (0, "calm", 0.0, None)


def test_figures_are_of_one_environment_only(world: World) -> None:
    with for_environment(world.other):
        _stand(_orders(3), [90, 90, 90])
    with for_environment(world.production):
        _stand(_orders(1), [10])

        assert (_risk().stock, _risk().late) == (1, 0)
    with for_environment(world.staging):
        assert _risk().stock == 0


def test_the_edges_of_an_interval(world: World) -> None:
    with for_environment(world.production):
        _stand(_orders(1), [60], left=[10])
        entered, left = NOW - HOUR, NOW - timedelta(minutes=10)
        second = timedelta(microseconds=1)

        assert _risk(entered - second).stock == 0
        assert _risk(entered).stock == 1
        assert _risk(left - second).stock == 1
        assert _risk(left).stock == 0
        # a window is open at its old end: two windows side by side count nobody twice
        assert (_risk(entered).entered, _risk(entered + HOUR).entered) == (1, 0)
        assert (_risk(left).left, _risk(left + HOUR - second).left, _risk(left + HOUR).left) == (
            1,
            1,
            0,
        )


def test_an_order_nobody_knew_yet_is_in_no_number(world: World) -> None:
    with for_environment(world.production):
        _stand(_orders(2), [90, 90], left=[10, 10])
        Order.objects.update(first_received_at=NOW)  # told late, after they had left
        before = _risk(NOW - timedelta(minutes=20))

        assert (before.stock, before.entered, before.oldest_minutes) == (0, 0, None)
        assert (_risk().left, _risk().entered_trend) == (2, 2)


def test_age_late_and_excess_are_of_those_still_standing(world: World) -> None:
    with for_environment(world.production):
        _stand(_orders(6), [5, 23, 25, 31, 90, 500], left=None)
        NodePassage.objects.filter(entered_at=NOW - timedelta(minutes=500)).update(
            left_at=NOW - timedelta(minutes=200)
        )
        f = _risk()

    assert (f.stock, f.late, f.at_risk) == (5, 2, 1)  # 25 > 0.8 * 30
    assert f.oldest_minutes == 90
    assert f.median_minutes == 25
    assert f.p90_minutes == pytest.approx(31 + 0.6 * (90 - 31))
    assert f.excess_hours == pytest.approx((1 + 60) / 60)
    assert f.late_share == pytest.approx(2 / 5)
    assert f.age_share == 1.0


@pytest.mark.parametrize("count", [1, 2, 3, 7, 10, 11, 100])
def test_percentiles_are_linear_interpolations(world: World, count: int) -> None:
    dice = random.Random(count)  # noqa: S311 - test data
    ages = [dice.choice([dice.uniform(0, 50), 20.0]) for _ in range(count)]  # with ties
    with for_environment(world.production):
        _stand(_orders(count), ages)
        f = _risk()

    cuts = quantiles(ages, n=10, method="inclusive") if count > 1 else ages * 9
    assert f.median_minutes == pytest.approx(cuts[4], abs=1e-4)
    assert f.p90_minutes == pytest.approx(cuts[8], abs=1e-4)


def test_heat_needs_three_late_orders(world: World) -> None:
    with for_environment(world.production):
        orders = _orders(3)
        _stand(orders[:2], [90, 90])
        two = _risk()
        _stand(orders[2:], [90])
        three = _risk()

    assert (two.silt_index, two.heat) == (100, "slow")
    assert (three.silt_index, three.heat) == (100, "blocked")


def test_growth_counts_from_twenty_orders_on(world: World) -> None:
    with for_environment(world.production):
        orders = _orders(20)
        _stand(orders[:19], [1] * 19)
        few = _risk()
        _stand(orders[19:], [1])
        many = _risk()

    assert (few.growth_share, few.silt_index) == (0.0, 0)
    assert (many.growth_share, many.silt_index, many.net) == (1.0, 100, 20)
    assert many.heat == "slow"  # nobody is late yet


def test_a_presale_order_inside_its_window_is_no_silt(world: World) -> None:
    week = 7 * 24 * 60
    with for_environment(world.production):
        waiting = _orders(
            3, presale_phase="deposit_paid", balance_due_at=NOW + timedelta(minutes=1)
        )
        _stand(waiting, [week] * 3)
        inside, after = _risk(), _risk(NOW + timedelta(minutes=2))
        Order.objects.update(balance_due_at=None)  # the platform told no end
        endless = _risk()

    assert (inside.stock, inside.scheduled, inside.late) == (3, 3, 0)
    assert (inside.oldest_minutes, inside.silt_index, inside.excess_hours) == (None, 0, 0.0)
    assert (after.scheduled, after.late, after.heat) == (0, 3, "blocked")
    assert (endless.scheduled, endless.late) == (0, 3)


def test_an_ordinary_order_without_a_presale_end_counts(world: World) -> None:
    with for_environment(world.production):
        _stand(_orders(3, presale_phase=""), [90] * 3)

        assert (_risk().late, _risk().scheduled, _risk().oldest_minutes) == (3, 0, 90)


def _count_by_hand(rows: list[NodePassage], node: Node, at: datetime) -> tuple[Any, ...]:
    mine = [r for r in rows if r.node == node.code]
    standing = [r for r in mine if r.entered_at <= at and (not r.left_at or r.left_at > at)]
    ages = [(at - r.entered_at).total_seconds() / 60 for r in standing]
    return (
        len(standing),
        sum(at - HOUR < r.entered_at <= at for r in mine),
        sum(at - HOUR < r.left_at <= at for r in mine if r.left_at),
        sum(at - 4 * HOUR < r.entered_at <= at for r in mine),
        sum(a > node.dwell_minutes for a in ages),
        round(max(ages), 4) if ages else None,
    )


def test_figures_equal_plain_counting_and_the_flow_adds_up(world: World) -> None:
    dice = random.Random(7)  # noqa: S311 - test data
    with for_environment(world.production):
        rows = []
        for order in _orders(300):
            moment = NOW - timedelta(minutes=dice.uniform(0, 60 * 30))
            for node in DEFAULT_NODES[: dice.randint(1, 12)]:
                stays = dice.random() < 0.1
                left = moment + timedelta(minutes=dice.expovariate(1 / node.dwell_minutes))
                rows.append(
                    NodePassage(
                        order=order,
                        node=node.code,
                        entered_at=moment,
                        left_at=None if stays else left,
                    )
                )
                moment = left
                if stays:
                    break
        NodePassage.objects.bulk_create(rows)

        moments = [NOW - HOUR * h for h in range(6)]
        measured = {at: measure(DEFAULT_NODES, at=at) for at in moments}

    for at in moments:
        for node in DEFAULT_NODES:
            f = measured[at][node.code]
            got = (
                f.stock,
                f.entered,
                f.left,
                f.entered_trend,
                f.late,
                None if f.oldest_minutes is None else round(f.oldest_minutes, 4),
            )
            assert got == _count_by_hand(rows, node, at), (node.code, at)
    for later, earlier in zip(moments, moments[1:], strict=False):
        for node in DEFAULT_NODES:
            before, after = measured[earlier][node.code], measured[later][node.code]
            assert after.stock == before.stock + after.entered - after.left


def test_stock_is_the_list_behind_it(world: World) -> None:
    with for_environment(world.production):
        source = make_sources()[SourceKind.CHANNEL]
        receive([canonical_order() for _ in range(5)], source=source, now=NOW)
        figures = measure(DEFAULT_NODES, at=NOW)
        by_node = {
            code: Order.objects.filter(
                Q(passages__left_at__isnull=True) | Q(passages__left_at__gt=NOW),
                passages__node=code,
                passages__entered_at__lte=NOW,
            ).count()
            for code in figures
        }

        assert {code: f.stock for code, f in figures.items()} == by_node
        assert sum(by_node.values()) == 5
        assert {o.node for o in Order.objects.all()} == {c for c, n in by_node.items() if n}


def test_figures_take_four_queries_however_many_orders(
    world: World, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    with for_environment(world.production):
        orders = _orders(60)
        for many in (1, 59):
            _stand(orders[:many], [40] * many)
            orders = orders[many:]
            with django_assert_num_queries(4):
                measure(DEFAULT_NODES, at=NOW)
