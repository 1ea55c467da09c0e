"""How each connection fares: its words, its freshness, how soon its orders were here."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection as database
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from config.errors import Phrase
from config.tenancy.scope import for_environment
from connectors.orders.models import Order
from connectors.orders.statuses import Stage
from connectors.shops.connections import record_trouble
from connectors.shops.models import Connection, Source
from connectors.sync.health import SCAN_GOAL, Health, Level, read_health
from connectors.sync.models import Cursor, InboundMessage, SyncRun
from connectors.sync.reading import pull
from tests.connectors.sync.outside import Outside
from tests.connectors.sync.test_reading import make_life
from tests.factories import NOW, World, make_order
from tests.frontend.sources import connect, log_call, log_message, put_in_quarantine, read_well

pytestmark = pytest.mark.django_db
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
NEUTRAL = {"shop": None, "config": {}, "secrets": {}}


def say(health: Health) -> list[str]:
    return [phrase.message % phrase.params for phrase in health.words]


def health_of(connection: Connection, now: Any = NOW) -> Health:
    (found,) = read_health(now, connection=connection)
    return found


# --- words ----------------------------------------------------------------------------------------


def test_a_connection_says_its_state_worst_first_in_words(world: World) -> None:
    with for_environment(world.production):
        connection = connect(NOW)
        new = health_of(connection)
        read_well(connection, NOW)
        well = health_of(connection)
        late = health_of(connection, NOW + HOUR)
        Connection.objects.update(paused_until=NOW + 5 * MINUTE)
        waiting = health_of(connection)
        row = Connection.objects.select_related("source").get()
        record_trouble(row, code="authorisation", words=Phrase("授权已失效"), now=NOW)
        trouble = health_of(connection)
        Connection.objects.update(is_active=False)
        paused = health_of(connection)

    assert [h.level for h in (new, well, late, waiting, trouble, paused)] == [
        Level.NEW, Level.OK, Level.LATE, Level.WAITING, Level.TROUBLE, Level.PAUSED,
    ]  # fmt: skip
    assert say(new)[0] == "刚接入，还没有读到数据"
    assert say(well) == [
        "每 15 分钟读取一次；最近 11-11 14:31 读到 32 单",
        "每 20 秒取一次平台消息，还没有取到过",
    ]
    assert say(late)[0] == "数据只到 11-11 14:30，依赖它的检查暂记为数据不足"
    assert say(waiting)[0] == "平台要求等到 11-11 14:37 再读"
    assert say(trouble)[0] == "授权已失效"
    assert say(paused) == ["已暂停：不读取，也不接收推送"]
    assert (well.complete_until, well.lag_seconds) == (NOW - 2 * MINUTE, 120)


@pytest.mark.parametrize(
    ("ago", "words"),
    [
        (None, "还没有收到过推送"),
        (timedelta(seconds=59), "最近一分钟内收到过推送"),
        (2 * MINUTE, "最近一次推送在 2 分钟前"),
        (119 * MINUTE, "最近一次推送在 119 分钟前"),
        (2 * HOUR, "最近一次推送在 11-11 12:32"),
    ],
)
def test_a_pushing_platform_says_when_it_last_pushed(
    world: World, ago: timedelta | None, words: str
) -> None:
    with for_environment(world.production):
        connection = connect(NOW, vendor="douyin", name="抖音旗舰店")
        Connection.objects.update(last_push_at=None if ago is None else NOW - ago)

        assert words in say(health_of(connection))


def test_what_waits_and_what_a_list_no_longer_gives_is_counted_and_said(world: World) -> None:
    with for_environment(world.production):
        connection, neighbour = connect(NOW), connect(NOW, name="天猫折扣店")
        read_well(connection, NOW)
        Cursor.objects.update(lost_from=NOW - 9 * HOUR, lost_until=NOW - 8 * HOUR)
        state = InboundMessage.State
        for number, told in enumerate((state.WAITING, state.WAITING, state.FAILED, state.DONE)):
            log_message(connection, NOW, key=f"m{number}", state=told)
        log_call(connection, NOW)
        log_call(connection, NOW, at=NOW - timedelta(days=1))  # yesterday's quota
        put_in_quarantine(connection, NOW, order_no="Q1")
        put_in_quarantine(connection, NOW, order_no="Q2", state="mended")
        make_order(order_no="U1", stage=Stage.UNKNOWN, shop="天猫旗舰店")

        found, other = read_health(NOW)

    assert (found.connection, other.connection) == (connection, neighbour)
    assert "2 条消息排队处理中" in say(found)
    assert any(
        words.startswith("11-11 05:32 到 11-11 06:32 已超出平台列表能给的范围，补录也读不到")
        for words in say(found)
    )
    counts = (found.calls_today, found.waiting, found.failed, found.quarantined, found.unmapped)
    assert counts == (1, 2, 1, 1, 1)
    idle = (other.calls_today, other.waiting, other.failed, other.quarantined, other.unmapped)
    assert idle == (0, 0, 0, 0, 0)


def test_the_last_twenty_runs_are_kept_and_one_under_way_is_not_the_last_word(
    world: World,
) -> None:
    with for_environment(world.production):
        connection = connect(NOW)
        read_well(connection, NOW, runs=25)
        running = SyncRun.objects.create(connection=connection, kind="pull", started_at=NOW)

        found = health_of(connection)

    assert len(found.runs) == 20
    assert found.runs[0] == running
    assert found.last_run is not None
    assert found.last_run.state == SyncRun.State.DONE


# --- freshness ------------------------------------------------------------------------------------


def test_freshness_moves_only_when_a_whole_window_was_read(outside: Outside) -> None:
    outside.add(*[make_life(outside, n, minutes_ago=20) for n in range(60)])
    connection = outside.connect("tmall")

    def health() -> Health:
        with for_environment(outside.environment, write=False):
            return health_of(connection, outside.now())

    # The windows before the orders' one are read; that one is not.
    outside.faults.switch("tmall", "taobao.trade.fullinfo.get", "http_503")
    pulled = pull(outside.environment, connection.pk, **outside.tools)
    stuck = health()
    outside.faults.clear()
    outside.pass_time(minutes=15)
    pull(outside.environment, connection.pk, **outside.tools)

    assert pulled is not None
    assert pulled.error is not None
    assert stuck.complete_until is not None
    assert stuck.complete_until < outside.now() - 30 * MINUTE  # the empty windows before it
    assert (stuck.level, stuck.connection.state) == (Level.TROUBLE, "trouble")
    assert health().complete_until == outside.now() - MINUTE
    assert health().level == Level.OK


# --- the first scan -------------------------------------------------------------------------------


def test_the_first_scan_is_measured_per_shop_over_the_last_day(world: World) -> None:
    with for_environment(world.production):
        connection, other = connect(NOW), connect(NOW, name="天猫折扣店")

        def place(number: int, seconds: float, shop: str = "天猫旗舰店", **more: Any) -> Order:
            placed = NOW - HOUR
            at = placed + timedelta(seconds=seconds)
            order = make_order(at, order_no=f"{shop}{number}", shop=shop, placed_at=placed, **more)
            Order.objects.filter(pk=order.pk).update(first_scored_at=at)
            return order

        for number in range(1, 21):  # 15, 30, ... 300 seconds: the last one just in time
            place(number, 15 * number)
        slow = [place(number, 301 + number) for number in range(30, 33)]
        place(90, 9_000, is_history=True)
        early = make_order(NOW, order_no="OLD", shop="天猫旗舰店", placed_at=NOW - 25 * HOUR)
        Order.objects.filter(pk=early.pk).update(first_scored_at=NOW)
        make_order(NOW, order_no="WAITING", shop="天猫旗舰店", placed_at=NOW - HOUR)  # not yet
        place(1, 4, shop="天猫折扣店")

        scan, neighbour = health_of(connection).scan, health_of(other).scan

    assert scan is not None
    assert neighbour is not None
    assert early.order_no not in {row[1] for row in scan.latest}
    assert (scan.count, scan.p50, scan.p95, scan.violators) == (23, 180, 332, 3)
    assert [row[0] for row in scan.latest] == [order.public_id for order in reversed(slow)]
    assert scan.latest[0][2] == 333 > SCAN_GOAL.total_seconds()
    assert (neighbour.count, neighbour.p50, neighbour.p95, neighbour.violators) == (1, 4, 4, 0)


def test_only_a_channel_has_a_first_scan(world: World, client: Client) -> None:
    """Nobody places orders at a gateway, an OMS or a warehouse: their pages say nothing of it."""
    kinds = {"channel": "tmall", "gateway": "alipay", "oms": "generic_oms", "wms": "qimen"}
    client.force_login(world.users["tech_support"])
    with for_environment(world.production):
        rows = {"channel": connect(NOW)} | {
            kind: connect(NOW, vendor=vendor, kind=kind, name=kind, **NEUTRAL)
            for kind, vendor in kinds.items()
            if kind != "channel"
        }
        scans = {h.connection.source.kind: h.scan for h in read_health(NOW)}

    cards = client.get("/connections/").content.decode()
    pages = {
        kind: client.get(f"/connections/{row.public_id}/").content.decode()
        for kind, row in rows.items()
    }

    assert scans.pop("channel") is not None  # told apart: none yet, and never any
    assert scans == {"gateway": None, "oms": None, "wms": None}
    assert cards.count("首扫") == 1
    assert {kind for kind, page in pages.items() if "首扫" in page} == {"channel"}


# --- the quota ------------------------------------------------------------------------------------


def test_a_quota_that_was_filled_in_is_counted_over_the_shops_of_its_application(
    world: World, client: Client
) -> None:
    ours = {"app_key": "A", "calls_per_day": "5"}
    with for_environment(world.production):
        one = connect(NOW, name="一店", config=ours)
        two = connect(NOW, name="二店", config=ours)
        alone = connect(NOW, name="三店", config={"app_key": "B"})
        for connection in (one, two, two, two, alone):
            log_call(connection, NOW)
        log_call(one, NOW - timedelta(days=1))  # yesterday's are another quota
        told = {h.connection.pk: h for h in read_health(NOW)}
        assert health_of(two) == told[two.pk]

    assert [
        (h.calls_today, h.per_day, h.calls_of_application, h.is_quota_shared)
        for h in (told[one.pk], told[two.pk], told[alone.pk])
    ] == [(1, 5, 4, True), (3, 5, 4, True), (1, 0, 1, False)]
    with for_environment(world.production):  # the page counts up to now
        for connection in (one, two, two, two, alone):
            log_call(connection, NOW, at=timezone.now())
    client.force_login(world.users["tech_support"])
    page = client.get(f"/connections/{one.public_id}/").content.decode()
    assert "每天额度 5，已用 80%" in page
    assert "同一应用的连接合计" in page
    page = client.get(f"/connections/{alone.public_id}/").content.decode()
    assert "平台没有说明每天的额度" in page


# --- whose, and at what cost ----------------------------------------------------------------------


def test_health_is_of_one_environment_and_costs_the_same_for_one_or_nine(world: World) -> None:
    def count() -> int:
        with CaptureQueriesContext(database) as caught:
            read_health(NOW)
        return len(caught)

    with for_environment(world.production):
        read_well(connect(NOW), NOW)
        few = count()
        for number in range(8):
            row = connect(NOW, name=f"店{number}")
            read_well(row, NOW, runs=20)
            put_in_quarantine(row, NOW, order_no=str(number))
            make_order(order_no=f"S{number}", shop=f"店{number}")
        assert count() == few
        assert len(read_health(NOW)) == 9
    with for_environment(world.staging, write=False):
        assert read_health(NOW) == []
        assert not Source.objects.exists()
