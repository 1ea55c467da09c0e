"""The page of the gap: every number opens its orders, whoever may, in words that do not overclaim."""

from __future__ import annotations

import csv
import io
import re
from datetime import timedelta
from typing import Any

import openpyxl
import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from config.tenancy.scope import for_environment
from connectors.orders.canonical import CanonicalReceipt
from connectors.orders.models import NodePassage, Order
from connectors.orders.services import receive
from connectors.shops.models import Source
from frontend.pages.gaps import PAGE_SIZE
from tests.factories import NOW, World, make_day, make_order, make_sources

pytestmark = pytest.mark.django_db

_LINK = re.compile(r'<a\b[^>]*?href="(?P<url>/gaps/\?[^"]+)"[^>]*?data-count="(?P<count>\d+)"')
_TILE = re.compile(r'<a class="tile[^>]*?href="(?P<url>[^"#]+)[^>]*?data-count="(?P<count>\d+)"')
_COUNT = re.compile(r'data-testid="count" data-count="(\d+)"')
HOUR = timedelta(hours=1)


def sign_in(world: World, role: str = "supervisor") -> Client:
    client = Client()
    client.force_login(world.users[role])
    return client


def lost(number: int = 1, *, now: Any = NOW, **changes: Any) -> list[Order]:
    """Paid orders no system knows, in the scope in force."""
    return [make_order(now, **({"placed_at": now - 5 * HOUR} | changes)) for _n in range(number)]


def read(client: Client, address: str = "/gaps/") -> str:
    answer = client.get(address)
    assert answer.status_code == 200, answer.status_code
    return answer.content.decode()


@pytest.fixture
def now() -> Any:
    return timezone.now()


def test_every_number_on_the_page_opens_a_list_of_that_length(world: World) -> None:
    make_day(world.production, now=NOW, size=120)
    client = sign_in(world)
    page = read(client, f"/gaps/?as_of={NOW.isoformat().replace('+', '%2B')}")

    links = {(m["url"].replace("&amp;", "&"), int(m["count"])) for m in _LINK.finditer(page)}

    assert len(links) > 12
    assert sum(count > 0 for _url, count in links) > 8
    for url, count in links:
        found = _COUNT.search(read(client, url))
        assert found, url
        assert int(found[1]) == count, url


def test_numbers_stand_still_while_orders_and_sources_go_on(world: World, now: Any) -> None:
    with for_environment(world.production):
        make_sources(now - 10 * timedelta(minutes=1))
        lost(3, now=now)
        make_order(now, placed_at=now - timedelta(minutes=18))
    client = sign_in(world)
    links = {
        (m["url"].replace("&amp;", "&"), int(m["count"])) for m in _LINK.finditer(read(client))
    }
    with for_environment(world.production):
        make_sources(timezone.now() + timedelta(minutes=5))
        lost(2, now=timezone.now() + timedelta(minutes=5))

    assert any(count == 3 for _url, count in links)
    for url, count in links:
        found = _COUNT.search(read(client, url))
        assert found is not None
        assert int(found[1]) == count, url


def test_the_sum_is_said_from_left_to_right(world: World, now: Any) -> None:
    with for_environment(world.production):
        sources = make_sources(now)
        lost(2, now=now)
        there = lost(3, now=now)
        receipts = [CanonicalReceipt(order_no=o.order_no, received_at=now - HOUR) for o in there]
        receive(receipts, source=sources["wms"], now=now)
        lost(1, now=now, refund_state="requested")

    page = read(sign_in(world))

    counts = dict(re.findall(r'data-testid="tile-(\w+)" data-count="(\d+)"', page))
    assert counts == {"left": "6", "arrived": "3", "in_time": "0", "excused": "1", "missing": "2"}
    assert "¥654.00" in page
    assert "未归因" in page


def test_pages_follow_each_other_without_loss_or_repetition(world: World, now: Any) -> None:
    with for_environment(world.production):
        make_sources(now)
        lost(PAGE_SIZE + 7, now=now, placed_at=now - 5 * HOUR)  # all of one moment
    client = sign_in(world)
    for state in ("missing", "left"):
        for sort in ("since", "fen", "due"):
            seen = list_pages(client, f"/gaps/?state={state}&sort={sort}")

            assert len(seen) == len(set(seen)) == PAGE_SIZE + 7


def list_pages(client: Client, address: str) -> list[str]:
    """The orders of a list and of all its further pages, in their order."""
    seen: list[str] = []
    while address:
        page = read(client, address)
        seen += re.findall(r'class="no" href="/orders/([^/]+)/"', page)
        following = re.search(r'href="([^"#]+)#orders" rel="next"', page)
        address = following[1].replace("&amp;", "&") if following else ""
    return seen


def test_every_tile_opens_as_many_orders_as_it_counts(world: World) -> None:
    make_day(world.production, now=NOW, size=48)
    with for_environment(world.other):
        make_sources()
        lost(2)
    with for_environment(world.production):
        # The OMS has them, the river holds them at their price or payment.
        held = [
            *lost(2, paid_fen=29_700),
            *lost(1, paid_at=None, paid_fen=None, stage="await_pay"),
        ]
        told = [CanonicalReceipt(order_no=o.order_no, received_at=NOW - 3 * HOUR) for o in held]
        receive(told, source=Source.objects.get(kind="oms"), now=NOW)
        # Where an order stands is written twice, and a gap of now asks for both.
        standing = NodePassage.objects.filter(left_at=None).values_list("order_id", "node")
        named = Order.objects.filter(is_open=True).exclude(node="").values_list("pk", "node")
        assert set(standing) == set(named) != set()
    client = sign_in(world)

    for pair in (
        "from=paid&to=wms",
        "from=oms&to=wms",
        "from=oms&to=shipped",
        "from=placed&to=oms",
    ):
        page = read(client, f"/gaps/?{pair}&as_of={NOW.isoformat().replace('+', '%2B')}")
        tiles = [(m["url"].replace("&amp;", "&"), int(m["count"])) for m in _TILE.finditer(page)]

        assert len(tiles) == 5, pair
        (_left, left), *rest = tiles
        assert left == sum(count for _url, count in rest) > 0
        for url, count in tiles:
            seen = list_pages(client, url) if count else []
            assert len(seen) == len(set(seen)) == count, url


def test_those_a_system_has_while_the_river_holds_them_earlier_are_paged_with_the_others(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("frontend.pages.gaps.PAGE_SIZE", 2)
    with for_environment(world.production):
        sources = make_sources()
        moments = [NOW - timedelta(minutes=minutes) for minutes in (50, 40, 40, 30, 20)]
        orders = [
            make_order(placed_at=NOW - 3 * HOUR, paid_fen=29_700 if number % 2 else 32_700)
            for number in range(5)
        ]
        for order, moment in zip(orders, moments, strict=True):
            told = CanonicalReceipt(order_no=order.order_no, received_at=moment)
            receive([told], source=sources["oms"], now=NOW)
            order.refresh_from_db()
    nodes = {order.node for order in orders}

    seen = list_pages(
        sign_in(world),
        f"/gaps/?from=oms&to=wms&state=left&as_of={NOW.isoformat().replace('+', '%2B')}",
    )

    assert len(nodes) == 2  # some where the OMS put them, some still at their price
    assert seen == [orders[n].public_id for n in (4, 3, 2, 1, 0)]


def test_a_list_may_be_narrowed_by_cause_shop_channel_and_age(world: World, now: Any) -> None:
    with for_environment(world.production):
        make_sources(now)
        lost(2, now=now)
        (other,) = lost(1, now=now, channel="douyin", shop="抖音店", placed_at=now - 30 * HOUR)
        shop = other.shop.public_id
    client = sign_in(world)

    def count(address: str) -> int:
        found = _COUNT.search(read(client, address))
        assert found is not None
        return int(found[1])

    assert count("/gaps/") == 3
    assert count("/gaps/?channel=douyin") == 1
    assert count(f"/gaps/?shop={shop}") == 1
    assert count("/gaps/?age=4") == 1
    assert count("/gaps/?cause=-") == 3
    assert count("/gaps/?cause=库存冲突") == 0
    assert count("/gaps/?within=600") == 1
    assert count("/gaps/?from=placed&to=oms") == 3
    assert count("/gaps/?state=nonsense&sort=nonsense&within=x&age=99") == 3


def test_without_the_system_the_page_says_how_to_connect_it(world: World, now: Any) -> None:
    with for_environment(world.production):
        lost(1, now=now)

    page = read(sign_in(world))

    assert 'data-testid="not-connected"' in page
    assert "WMS 未接入" in page
    assert 'data-testid="order-row"' not in page


def test_a_late_source_is_named_and_nothing_is_called_missing(world: World, now: Any) -> None:
    with for_environment(world.production):
        make_sources(now, late="wms")
        lost(2, now=now)
    client = sign_in(world)

    page = read(client)
    rows = list(csv.reader(io.StringIO(client.get("/gaps/export/").content.decode("utf-8-sig"))))

    assert 'data-testid="late"' in page
    assert "WMS 的数据截至" in page
    assert "可能未到齐" in page
    assert "缺失的订单" not in page
    assert {row[5] for row in rows[1:]} == {"可能未到齐"}


def test_nothing_missing_is_said_so(world: World, now: Any) -> None:
    with for_environment(world.production):
        make_sources(now)
        make_order(now, placed_at=now - timedelta(minutes=5))

    page = read(sign_in(world))

    assert 'data-testid="nothing-missing"' in page


def test_points_the_wrong_way_round_are_explained_and_one_click_turns_them(world: World) -> None:
    client = sign_in(world)

    answer = client.get("/gaps/?from=wms&to=paid")
    page = answer.content.decode()

    assert answer.status_code == 400
    assert "终点要在起点之后" in page
    assert "from=paid&amp;to=wms" in page
    assert client.get("/gaps/?from=nowhere").status_code == 400
    assert client.get("/gaps/?as_of=yesterday").status_code == 400


def test_neighbours_are_explained_and_a_wider_gap_is_offered(world: World) -> None:
    page = read(sign_in(world), "/gaps/?from=stock&to=oms_review")

    assert 'data-testid="adjacent"' in page
    assert "to=wms_push" in page


def test_both_downloads_hold_every_order_of_the_list_and_no_formula(world: World, now: Any) -> None:
    with for_environment(world.production):
        make_sources(now)
        lost(PAGE_SIZE + 3, now=now)
        lost(1, now=now, order_no='=HYPERLINK("http://evil","x")', shop="@SUM(A1)")
    client = sign_in(world)

    answer = client.get("/gaps/export/", {"format": "csv"})
    rows = list(csv.reader(io.StringIO(answer.content.decode("utf-8-sig"))))
    book = openpyxl.load_workbook(
        io.BytesIO(client.get("/gaps/export/", {"format": "xlsx"}).content)
    )
    cells = list(book.active.iter_rows())

    assert answer["Content-Type"].startswith("text/csv")
    assert "attachment" in answer["Content-Disposition"]
    assert len(rows) == len(cells) == PAGE_SIZE + 5
    evil = next(row for row in rows if "HYPERLINK" in row[0])
    assert evil[0].startswith("'=")
    assert evil[2].startswith("'@")
    for row in cells[1:]:
        assert {cell.data_type for cell in row} <= {"s", "n"}
        assert not str(row[0].value).startswith("=")
        assert row[9].value == 327.0
    narrowed = client.get("/gaps/export/", {"cause": "库存冲突"}).content.decode("utf-8-sig")
    assert len(narrowed.splitlines()) == 1


def test_whoever_may_not_see_orders_sees_no_gap(world: World, now: Any) -> None:
    with for_environment(world.production):
        make_sources(now)
        (order,) = lost(1, now=now)
    for role in ("headquarters", "outsider"):
        client = sign_in(world, role)
        for address in ("/gaps/", "/gaps/export/", "/gaps/?state=left"):
            answer = client.get(address)
            assert order.order_no not in answer.content.decode()
    assert Client().get("/gaps/").status_code == 302


def test_the_page_costs_the_same_queries_for_many_orders(world: World, now: Any) -> None:
    client = sign_in(world)

    def count(size: int, address: str) -> int:
        with for_environment(world.production):
            make_sources(now)
            lost(size, now=now)
        client.get(address)
        with CaptureQueriesContext(connection) as queries:
            assert client.get(address).status_code == 200
        read_only = [q["sql"] for q in queries if q["sql"].startswith(("SELECT", "("))]
        return len([sql for sql in read_only if "set_config" not in sql])

    for address in (
        "/gaps/",
        "/gaps/?state=left",
        "/gaps/?state=arrived",
        "/gaps/?from=oms&to=wms&state=left",
        "/gaps/export/",
    ):
        few, many = count(2, address), count(20, address)
        assert few == many <= 22, (address, few, many)


def test_the_board_s_card_leads_to_the_page_with_the_same_number(world: World, now: Any) -> None:
    from workflows.rollup.services import take_snapshot

    with for_environment(world.production):
        make_sources(now)
        lost(4, now=now)
        lost(2, now=now, refund_state="requested")
        take_snapshot(now)
    client = sign_in(world)
    page = read(client, "/")

    links = [(m["url"].replace("&amp;", "&"), int(m["count"])) for m in _LINK.finditer(page)]

    assert sorted(count for _url, count in links if count) == [2, 4, 4]
    for url, count in links:
        found = _COUNT.search(read(client, url))
        assert found is not None
        assert int(found[1]) == count
    with for_environment(world.production):
        Source.objects.all().update(complete_until=now - 2 * HOUR)
        take_snapshot(now + timedelta(minutes=1))
    assert "可能未到齐 4 单" in read(client, "/")
