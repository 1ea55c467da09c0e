"""The board's figures: counted at one moment, equal to their lists, scoped, cheap."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from config.tenancy.scope import for_environment, for_tenant
from connectors.orders.canonical import CanonicalReceipt
from connectors.orders.models import NodePassage, Order
from connectors.orders.services import receive
from rules_engine.scoring.models import ScoreChange
from tests.factories import NOW, World, make_day, make_order, make_sources
from workflows.interventions.models import Alert, Hold
from workflows.rollup.models import BoardSnapshot, HourlyFigure
from workflows.rollup.selection import Selection, select_orders
from workflows.rollup.services import list_division_figures, take_snapshot

pytestmark = pytest.mark.django_db


def change(
    order: Order, *, at, band="red", cause="支付回调丢失", needs=True, until=None, score=4900
):
    return ScoreChange.objects.create(
        order=order,
        at=at,
        until=until,
        score_hundredths=score,
        band=band,
        cause=cause if needs else "",
        needs_intervention=needs,
        why="clock",
        revision=order.revision,
    )


def test_bands_and_causes_are_counted_through_the_intervals_at_the_moment(world: World) -> None:
    with for_environment(world.production):
        first, second, third = (make_order(amount_fen=n) for n in (10_000, 20_000, 40_000))
        change(first, at=NOW - timedelta(hours=2), until=NOW - timedelta(hours=1))
        change(first, at=NOW - timedelta(hours=1), band="healthy", needs=False, score=10_000)
        change(second, at=NOW - timedelta(minutes=30))
        change(third, at=NOW + timedelta(minutes=1))  # after the moment

        figures = take_snapshot(NOW).figures

    assert {b: row["count"] for b, row in figures["bands"].items()} == {
        "healthy": 1,
        "yellow": 0,
        "orange": 0,
        "red": 1,
    }
    assert figures["causes"] == [
        {
            "cause": "支付回调丢失",
            "count": 1,
            "fen": 20_000,
            "deadline": second.deadline_at.isoformat(),
            "worst": "red",
        }
    ]
    assert figures["needs"] == {"count": 1, "fen": 20_000, "hour_ago": 0}
    assert figures["totals"]["unscored"] == 1


def test_an_order_received_after_the_moment_is_in_no_list_of_it(world: World) -> None:
    with for_environment(world.production):
        make_order(NOW)
        make_order(NOW + timedelta(minutes=5), placed_at=NOW - timedelta(minutes=5))

        assert select_orders(Selection(), at=NOW).count() == 1
        assert take_snapshot(NOW).figures["totals"]["received"] == 1


def test_an_order_that_is_over_leaves_the_board_but_stays_in_the_past(world: World) -> None:
    with for_environment(world.production):
        order = make_order(NOW - timedelta(hours=2), order_no="A1")
        change(order, at=NOW - timedelta(hours=2))
        make_order(
            NOW, order_no="A1", stage="closed_refunded", placed_at=order.placed_at, closed_at=NOW
        )

        assert take_snapshot(NOW).figures["needs"]["count"] == 0
        assert take_snapshot(NOW - timedelta(hours=1)).figures["needs"]["count"] == 1


def test_node_stock_flow_and_silt_follow_the_passages(world: World) -> None:
    with for_environment(world.production):
        make_sources()
        waiting = make_order(NOW - timedelta(minutes=5), placed_at=NOW - timedelta(minutes=137))
        make_order(NOW - timedelta(minutes=5), placed_at=NOW - timedelta(minutes=10))
        assert waiting.node == "callback"  # paid 135 minutes ago, expected within 15

        nodes = {n["code"]: n for n in take_snapshot(NOW).figures["nodes"]}

    assert (nodes["callback"]["stock"], nodes["callback"]["overdue"]) == (2, 1)
    assert (nodes["callback"]["entered"], nodes["callback"]["left"]) == (1, 0)
    assert nodes["callback"]["silt_hours"] == 2.0
    assert nodes["callback"]["oldest"] == waiting.node_entered_at.isoformat()


def test_a_hold_counts_from_placing_to_release(world: World) -> None:
    with for_environment(world.production):
        order = make_order()
        alert = Alert.objects.create(
            order=order,
            episode=1,
            level="red",
            worst_level="red",
            score_hundredths=4900,
            opened_at=NOW,
            level_since=NOW,
        )
        Hold.objects.create(
            order=order,
            alert=alert,
            placed_at=NOW,
            reach="local",
            released_at=NOW + timedelta(minutes=10),
        )

        counts = [
            take_snapshot(NOW + timedelta(minutes=m)).figures["holds"]["count"] for m in (0, 9, 10)
        ]

    assert counts == [1, 1, 0]


def test_hours_tell_newly_stuck_from_a_changed_cause(world: World) -> None:
    hour = NOW.replace(minute=0)
    with for_environment(world.production):
        order = make_order()
        change(order, at=hour, until=hour + timedelta(minutes=5))
        change(
            order,
            at=hour + timedelta(minutes=5),
            until=hour + timedelta(minutes=9),
            cause="库存冲突",
        )
        change(order, at=hour + timedelta(minutes=9), band="healthy", needs=False)

        last = take_snapshot(NOW).figures["hours"][-1]

    assert last == {"hour": hour.isoformat(), "stuck": 1, "mended": 1}


def test_a_finished_hour_is_counted_once_and_kept(world: World) -> None:
    with for_environment(world.production):
        order = make_order(NOW - timedelta(hours=6))
        change(order, at=NOW - timedelta(hours=5))
        before = take_snapshot(NOW).figures["hours"]
        ScoreChange.objects.all().delete()

        after = take_snapshot(NOW + timedelta(minutes=1)).figures["hours"]

        assert HourlyFigure.objects.count() == 24
    assert sum(h["stuck"] for h in before) == 1
    assert after[:-2] == before[:-2]


def test_the_gap_is_the_difference_between_paid_and_arrived(world: World) -> None:
    with for_environment(world.production):
        sources = make_sources()
        orders = [make_order(order_no=f"G{n}", amount_fen=1000 * n) for n in range(1, 6)]
        receipts = [
            CanonicalReceipt(order_no=o.order_no, received_at=NOW - timedelta(minutes=5))
            for o in orders[:3]
        ]
        receive(receipts, source=sources["wms"], now=NOW)
        make_order(order_no="SHIPPED", stage="shipped", shipped_at=NOW)
        make_order(order_no="UNPAID", stage="await_pay", paid_at=None, paid_fen=None)
        make_order(order_no="CLOSED", stage="closed_refunded")

        gap = take_snapshot(NOW).figures["gap"]

        missing = select_orders(Selection(gap="wms"), at=NOW).values_list("order_no", flat=True)
        assert sorted(missing) == ["G4", "G5"]
    assert gap == {
        "paid": 7,
        "arrived": 5,  # or over: the closed one
        "in_time": 0,
        "excused": 0,
        "missing": 2,
        "fen": 9000,
        "ages": [2, 0, 0, 0, 0],
        "until": (NOW - timedelta(minutes=1)).isoformat(),
        "is_late": False,
    }


def test_without_a_warehouse_there_is_no_gap_to_speak_of(world: World) -> None:
    with for_environment(world.production):
        make_order()

        assert take_snapshot(NOW).figures["gap"] is None


def test_snapshots_older_than_a_day_are_dropped_and_one_moment_keeps_one(world: World) -> None:
    with for_environment(world.production):
        take_snapshot(NOW - timedelta(hours=30))
        take_snapshot(NOW)
        take_snapshot(NOW)

        assert [s.at for s in BoardSnapshot.objects.all()] == [NOW]


def test_the_other_environment_is_never_counted(world: World) -> None:
    with for_environment(world.other):
        order = make_order()
        change(order, at=NOW - timedelta(minutes=5))
    with for_environment(world.production):
        figures = take_snapshot(NOW).figures

        assert BoardSnapshot.objects.count() == 1
    assert figures["totals"]["received"] == 0
    assert figures["needs"]["count"] == 0
    with for_environment(world.other):
        assert BoardSnapshot.objects.count() == 0
        assert take_snapshot(NOW).figures["needs"]["count"] == 1


def test_a_snapshot_costs_the_same_queries_for_many_orders(world: World) -> None:
    def count(size: int) -> int:
        with for_environment(world.production):
            for _n in range(size):
                change(make_order(), at=NOW - timedelta(minutes=3))
            take_snapshot(NOW)
            with CaptureQueriesContext(connection) as queries:
                take_snapshot(NOW)
        return len(queries)

    assert count(2) == count(20)


def test_headquarters_sum_is_the_sum_of_the_divisions(world: World) -> None:
    for environment, size in ((world.production, 2), (world.other, 3)):
        with for_environment(environment):
            make_sources()
            for _n in range(size):
                change(make_order(), at=NOW - timedelta(minutes=3))
            take_snapshot(NOW)

    with for_tenant(world.tenant, write=False):
        rows, total = list_division_figures()

    assert {row.name: row.needs for row in rows} == {"女装": 2, "童装": 3}
    for name in ("open", "needs", "fen", "held", "missing"):
        assert getattr(total, name) == sum(getattr(row, name) for row in rows)
    assert total.bands["red"] == 5


def test_headquarters_sees_sums_and_no_order(world: World) -> None:
    with for_environment(world.production):
        order = make_order()
        take_snapshot(NOW)
    client = Client()
    client.force_login(world.users["headquarters"])

    home = client.get("/")
    page = client.get("/rollup/")

    assert home.status_code == 302
    assert home.url == "/rollup/"
    assert "女装" in page.content.decode()
    assert order.order_no not in page.content.decode()
    assert client.get("/orders/").status_code == 403
    assert client.get(f"/orders/{order.public_id}/").status_code == 403


def test_a_division_s_people_do_not_see_the_headquarters_page(world: World) -> None:
    client = Client()
    client.force_login(world.users["supervisor"])

    assert client.get("/rollup/").status_code == 403


def test_every_selection_has_the_same_orders_now_and_as_of_now(world: World) -> None:
    make_day(world.production, now=NOW, size=60)
    selections = [
        Selection(),
        Selection(needs=True),
        Selection(band=("red", "orange")),
        Selection(cause="支付回调丢失"),
        Selection(failed="address"),
        Selection(node="callback"),
        Selection(gap="wms"),
        Selection(is_silent=True),
    ]
    with for_environment(world.production):
        for selection in selections:
            now, as_of = (
                set(select_orders(selection, at=NOW, is_now=n).values_list("pk", flat=True))
                for n in (True, False)
            )
            assert now == as_of, selection
            assert len(now) == select_orders(selection, at=NOW).count()
        assert NodePassage.objects.exists()
