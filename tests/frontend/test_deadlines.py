"""The countdown: the most urgent first, the silent ones before their time is up, live and steady."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from config.tenancy.scope import for_environment
from connectors.orders.canonical import CanonicalReceipt
from connectors.orders.deadlines import DEADLINE_TABLE
from connectors.orders.models import Order
from connectors.orders.services import receive
from frontend.demo.services import score_history
from frontend.pages.deadlines import PAGE_SIZE
from frontend.wording import describe_countdown
from rules_engine.presets import install
from rules_engine.scoring.models import ScoreChange
from tests.factories import NOW, World, make_order, make_sources, publish_document
from workflows.reconciliation.countdown import CLASSES, count_due, due_orders, silent_orders

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)
_COUNT = re.compile(r'data-testid="count" data-count="(\d+)"')


def sign_in(world: World, role: str = "supervisor") -> Client:
    client = Client()
    client.force_login(world.users[role])
    return client


def due(hours: float, *, now: Any = NOW, **changes: Any) -> Order:
    """An order whose deadline is so many hours away."""
    values = {"placed_at": now - 5 * HOUR, "promised_ship_at": now + hours * HOUR}
    return make_order(now, **(values | changes))


def silence(order: Order, *, is_silent: bool = True) -> None:
    ScoreChange.objects.create(
        order=order,
        at=order.first_received_at,
        score_hundredths=6000,
        band="yellow",
        needs_intervention=True,
        is_silent=is_silent,
        why="clock",
        revision=order.revision,
    )


def read(client: Client, address: str = "/deadlines/") -> str:
    answer = client.get(address)
    assert answer.status_code == 200
    return answer.content.decode()


def numbers(page: str) -> list[str]:
    return re.findall(r'id="due-[^"]+" href="[^"]+">([^<]+)</a>', page)


def test_the_most_urgent_stand_first_and_what_is_shipped_or_over_is_not_there(
    world: World,
) -> None:
    now = timezone.now()
    with for_environment(world.production):
        due(30, now=now, order_no="THIRTY")
        due(-2, now=now, order_no="LATE")
        due(0.5, now=now, order_no="SOON")
        due(50, now=now, order_no="FAR")
        due(1, now=now, order_no="SHIPPED", stage="shipped", shipped_at=now - HOUR)
        due(1, now=now, order_no="SENT", stage="shipped")  # shipped, nobody says when
        due(1, now=now, order_no="CLOSED", stage="closed_refunded", closed_at=now)

    page = read(sign_in(world))

    assert numbers(page) == ["LATE", "SOON", "THIRTY"]
    assert "超时 02:00:0" in page
    assert "00:29:5" in page
    assert "FAR" not in page


def test_every_tile_opens_a_list_of_its_length(world: World) -> None:
    now = timezone.now()
    with for_environment(world.production):
        for hours in (-30, -1, 1, 3, 5, 11, 13, 25, 47, 49):
            due(hours, now=now)
        silence(due(60, now=now, order_no="QUIET"))
    client = sign_in(world)

    tiles = re.findall(r'href="([^"]+)" data-testid="tile-(\w+)" data-count="(\d+)"', read(client))

    assert [(name, int(n)) for _url, name, n in tiles] == [
        ("overdue", 2),
        ("h4", 2),
        ("h12", 2),
        ("h24", 1),
        ("h48", 2),
        ("silent", 1),
    ]
    for url, name, count in tiles:
        page = read(client, url)
        found = _COUNT.search(page)
        assert found is not None
        assert found[1] == count, name
        assert page.count('data-testid="due-row"') == int(count)


def test_silent_orders_are_listed_before_their_forty_eight_hours_end(world: World) -> None:
    now = timezone.now()
    with for_environment(world.production):
        silence(due(40, now=now, order_no="QUIET"))
        silence(due(20, now=now, order_no="QUIETER"))
        silence(due(30, now=now, order_no="LOUD"), is_silent=False)
        undated = due(1, now=now, order_no="UNDATED")
        silence(undated)
        Order.objects.filter(pk=undated.pk).update(deadline_at=None)
        closed = due(3, now=now, order_no="OVER")
        silence(closed)
        Order.objects.filter(pk=closed.pk).update(is_open=False)

    page = read(sign_in(world), "/deadlines/?left=silent")

    assert numbers(page) == ["QUIETER", "QUIET", "UNDATED"]
    assert "没有任何来源说起" in page


@pytest.mark.parametrize(("late", "listed"), [("", ["LOST"]), ("oms", [])])
def test_a_lost_order_is_listed_as_silent_with_its_first_score_and_none_of_a_late_feed(
    world: World, late: str, listed: list[str]
) -> None:
    now = timezone.now()
    with for_environment(world.production):
        install("promo", now)
        sources = make_sources(now, late=late)
        due(30, now=now, order_no="LOST", paid_at=now - HOUR / 2)
        due(30, now=now, order_no="YOUNG", placed_at=now - HOUR / 6)
        due(30, now=now, order_no="THERE", paid_at=now - HOUR / 2)
        there = CanonicalReceipt(order_no="THERE", received_at=now - HOUR / 4)
        receive([there], source=sources["oms"], now=now)
    score_history(world.production, now=now)

    page = read(sign_in(world), "/deadlines/?left=silent")

    assert numbers(page) == listed
    with for_environment(world.production, write=False):
        left = Order.objects.get(order_no="LOST").deadline_at - now
    assert timedelta() < left < 48 * HOUR


def test_the_classes_touch_without_gap_or_overlap(world: World) -> None:
    with for_environment(world.production):
        for minutes in (-1, 0, 239, 240, 719, 720, 1439, 1440, 2879, 2880):
            due(minutes / 60)

        counts = {found.name: found.count for found in count_due(NOW)}

        assert counts == {"overdue": 1, "h4": 2, "h12": 2, "h24": 2, "h48": 2, "silent": 0}
        assert due_orders(NOW).count() == 9
        assert sum(due_orders(NOW, name=name).count() for name, _l, _h in CLASSES) == 9


def test_the_row_says_where_the_deadline_comes_from(world: World) -> None:
    now = timezone.now()
    window = [f"{timezone.localtime(now + n * HOUR):%Y-%m-%d %H:%M}" for n in (-24, 24)]
    rows = [["抖音", "店庆", *window, 20, None], ["天猫", "平时", None, None, 30, None]]
    with for_environment(world.production):
        publish_document(
            DEADLINE_TABLE | {"rows": rows}, world, kind="lookup_table", key="deadlines"
        )
        due(9, now=now, order_no="PROMISE")
        due(9, now=now, order_no="SALE", channel="douyin", shop="抖音店")
        due(9, now=now, order_no="CHANNEL", promised_ship_at=None)

    page = read(sign_in(world))

    for words in ("平台承诺", "活动「店庆」", "渠道期限"):
        assert words in page


def test_a_clock_reads_the_same_for_server_and_browser() -> None:
    assert describe_countdown(NOW + timedelta(hours=3, minutes=12, seconds=45), NOW) == "03:12:45"
    assert describe_countdown(NOW + timedelta(days=3, hours=1), NOW) == "3 天 01:00:00"
    assert describe_countdown(NOW - timedelta(seconds=753), NOW) == "超时 00:12:33"
    assert describe_countdown(None, NOW) == "—"


def test_pages_follow_each_other_without_loss_or_repetition(world: World) -> None:
    now = timezone.now()
    deadline = now + 3 * HOUR
    with for_environment(world.production):
        for number in range(PAGE_SIZE + 4):
            order = due(3, now=now, promised_ship_at=deadline)
            silence(order)
            if number % 5 == 0:
                Order.objects.filter(pk=order.pk).update(deadline_at=None)
    client = sign_in(world)
    for address, total in (("/deadlines/", 43), ("/deadlines/?left=silent", PAGE_SIZE + 4)):
        seen: list[str] = []
        following: str | None = address
        while following:
            page = read(client, following)
            seen += numbers(page)
            found = re.search(r'href="([^"]+)" rel="next"', page)
            following = found[1].replace("&amp;", "&") if found else None
        assert len(seen) == len(set(seen)) == total


def test_without_anything_due_the_page_says_what_would_be_there(world: World) -> None:
    client = sign_in(world)

    assert "48 小时内没有订单到期" in read(client)
    assert "没有沉默的订单" in read(client, "/deadlines/?left=silent")
    assert 'data-testid="empty"' in read(client, "/deadlines/?left=nonsense")


def test_another_division_s_countdown_is_its_own(world: World) -> None:
    now = timezone.now()
    with for_environment(world.production):
        silence(due(1, now=now, order_no="OURS"))
    with for_environment(world.other):
        silence(due(1, now=now, order_no="THEIRS"))
        assert [o.order_no for o in due_orders(now)] == ["THEIRS"]
        assert [o.order_no for o in silent_orders(now)] == ["THEIRS"]

    for address in ("/deadlines/", "/deadlines/?left=silent"):
        assert numbers(read(sign_in(world), address)) == ["OURS"]
        assert numbers(read(sign_in(world, "outsider"), address)) == ["THEIRS"]
        assert sign_in(world, "headquarters").get(address).status_code == 403


def test_the_countdown_costs_the_same_queries_for_many_orders(world: World) -> None:
    client = sign_in(world)

    def count(size: int, address: str) -> int:
        now = timezone.now()
        with for_environment(world.production):
            for _n in range(size):
                silence(due(5, now=now))
        client.get(address)
        with CaptureQueriesContext(connection) as queries:
            assert client.get(address).status_code == 200
        wanted = [q["sql"] for q in queries if q["sql"].startswith("SELECT")]
        return len([sql for sql in wanted if "set_config" not in sql])

    for address in ("/deadlines/", "/deadlines/?left=silent"):
        assert count(2, address) == count(20, address) <= 22


@pytest.mark.browser
@pytest.mark.django_db(transaction=True)
def test_the_clock_runs_and_nothing_moves(world: World, live_server: Any, page: Any) -> None:
    now = timezone.now()
    with for_environment(world.production):
        due(2, now=now)
        due(0, now=now, promised_ship_at=now + timedelta(seconds=8), order_no="ENDS")
    page.goto(f"{live_server.url}/login/")
    page.fill("input[name=username]", "supervisor")
    page.fill("input[name=password]", "hedao-test-2026")
    page.click("[data-testid=login-form] button")
    page.goto(f"{live_server.url}/deadlines/")
    clock = page.locator("[data-countdown]").last
    before, box = clock.inner_text(), clock.bounding_box()

    page.wait_for_function(
        "was => document.querySelectorAll('[data-countdown]')[1].textContent !== was", arg=before
    )

    after = clock.bounding_box()
    assert (after["x"], after["y"], after["height"]) == (box["x"], box["y"], box["height"])
    page.wait_for_selector("[data-countdown].danger", timeout=15_000)
    assert page.locator("[data-countdown].danger").inner_text().startswith("超时")
    told = datetime.fromisoformat(page.locator("#due").get_attribute("data-now"))
    assert abs(told - timezone.now()) < timedelta(minutes=2)
