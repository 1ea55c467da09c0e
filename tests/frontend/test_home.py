"""The home page: every number opens the list it counts, a fixed number of queries, live refresh."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from config.tenancy.scope import for_environment
from frontend.drawings import draw_day, draw_ring, draw_river
from tests.factories import NOW, World, make_day, make_order, make_sources
from workflows.rollup.services import take_snapshot

pytestmark = pytest.mark.django_db

_LINK = re.compile(
    r'<a\b[^>]*?href="(?P<url>/(?:orders|gaps)/\?[^"]+)"[^>]*?data-count="(?P<count>\d+)"'
)
_COUNT = re.compile(r'data-testid="count" data-count="(\d+)"')


def sign_in(world: World, role: str = "supervisor") -> Client:
    client = Client()
    client.force_login(world.users[role])
    return client


def seed(world: World, *, size: int = 70) -> None:
    now = datetime.fromisoformat(NOW.isoformat())
    make_day(world.production, now=now, size=size)
    with for_environment(world.production):
        take_snapshot(now)


def test_every_number_on_the_board_opens_a_list_of_that_length(world: World) -> None:
    seed(world)
    client = sign_in(world)

    page = client.get("/").content.decode()

    links = {(m["url"].replace("&amp;", "&"), int(m["count"])) for m in _LINK.finditer(page)}
    assert len(links) > 40
    assert sum(count > 0 for _url, count in links) > 20
    for url, count in links:
        answer = client.get(url, follow=True)
        found = _COUNT.search(answer.content.decode())
        assert found, url
        assert int(found[1]) == count, url


def test_numbers_stand_still_while_orders_go_on_moving(world: World) -> None:
    seed(world, size=40)
    client = sign_in(world)
    before = client.get("/").content.decode()
    links = {(m["url"].replace("&amp;", "&"), int(m["count"])) for m in _LINK.finditer(before)}

    with for_environment(world.production):
        make_sources(NOW + timedelta(minutes=5))
        make_order(NOW + timedelta(minutes=5), district="")

    for url, count in links:
        found = _COUNT.search(client.get(url, follow=True).content.decode())
        assert found is not None
        assert int(found[1]) == count, url


def test_home_costs_the_same_queries_for_many_orders(world: World) -> None:
    client = sign_in(world)

    def count(size: int) -> int:
        with for_environment(world.production):
            for _n in range(size):
                make_order()
            take_snapshot(NOW + timedelta(seconds=size))
        client.get("/")
        with CaptureQueriesContext(connection) as queries:
            assert client.get("/").status_code == 200
        # PostgreSQL adds savepoints and the policy's setting around each scope.
        read = [q["sql"] for q in queries if q["sql"].startswith("SELECT")]
        return len([sql for sql in read if "set_config" not in sql])

    few, many = count(3), count(30)

    assert few == many
    assert many <= 10  # one of them: the statuses nobody knows


def test_polling_answers_nothing_until_a_newer_snapshot_is_there(world: World) -> None:
    with for_environment(world.production):
        make_order()
        first = take_snapshot(NOW)
    client = sign_in(world)
    htmx = {"HX-Request": "true"}

    same = client.get("/", {"since": first.at.isoformat()}, headers=htmx)
    with for_environment(world.production):
        take_snapshot(NOW + timedelta(minutes=1))
    newer = client.get("/", {"since": first.at.isoformat()}, headers=htmx)

    assert (same.status_code, same.content) == (204, b"")
    assert newer.status_code == 200
    assert "<html" not in newer.content.decode()
    assert 'hx-swap-oob="true"' in newer.content.decode()


def test_a_fresh_environment_says_what_would_fill_it(world: World) -> None:
    page = sign_in(world).get("/").content.decode()

    assert 'data-testid="empty"' in page
    assert "河里还没有水" in page


def test_a_late_source_is_named_on_every_page(world: World) -> None:
    from django.utils import timezone

    with for_environment(world.production):
        make_order()
        make_sources(timezone.now(), late="gateway")

    for address in ("/", "/orders/", "/nodes/"):
        assert "支付宝晚 40 分钟" in sign_in(world).get(address).content.decode()


@pytest.mark.any_database
def test_no_page_carries_an_inline_style_or_handler(world: World) -> None:
    seed(world, size=30)
    client = sign_in(world)
    with for_environment(world.production):
        order = make_order()

    for address in ("/", "/orders/", f"/orders/{order.public_id}/", "/nodes/"):
        page = client.get(address).content.decode()
        assert " style=" not in page
        assert "<style" not in page
        assert not re.search(r"\son[a-z]+=", page)
        assert "hx-on" not in page
        for script in re.findall(r"<script[^>]*>", page):
            assert "src=" in script
            assert 'nonce="' in script


def test_a_node_nobody_passes_does_not_break_the_river() -> None:
    flowing = draw_river([100, 0, 100], [0, 0, 0])
    blocked = draw_river([100, 0, 0], [0, 0, 0])

    assert flowing.places[1].guide_top == draw_river([100, 100, 100], [0, 0, 0]).places[1].guide_top
    assert blocked.places[1].guide_top < flowing.places[1].guide_top


def test_silt_is_drawn_only_where_orders_wait_too_long() -> None:
    drawing = draw_river([5, 5, 5], [0, 12.5, 3])

    assert [place.mound is not None for place in drawing.places] == [False, True, True]


def test_a_day_without_events_is_flat() -> None:
    assert draw_day([0] * 24, [0] * 24).is_flat
    assert not draw_day([0] * 23 + [1], [0] * 24).is_flat


def test_the_ring_is_filled_to_the_score() -> None:
    filled, rest = (float(x) for x in draw_ring(49_00).split())

    assert round(filled / (filled + rest), 2) == 0.49
