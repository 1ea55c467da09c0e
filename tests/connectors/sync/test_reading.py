"""Pulling lists from simulated platforms over HTTP."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from config.tenancy.scope import for_environment
from connectors.adapters import Listed, ListedOrder
from connectors.channels.douyin import client
from connectors.channels.douyin.client import DouyinClient
from connectors.channels.private_mall.client import PrivateMallClient
from connectors.orders.models import Order
from connectors.shops.models import Connection
from connectors.simulators.life import Life, LifeLine
from connectors.sync import reading
from connectors.sync.leases import LEASE
from connectors.sync.models import CallLog, CallOrder, Cursor, Quarantine, SyncRun
from connectors.sync.reading import Pulled, pull, read_orders
from connectors.sync.services import PULL, list_jobs
from tests.connectors.sync.outside import Outside
from tests.factories import World

pytestmark = pytest.mark.django_db


def make_life(outside: Outside, number: int, *, minutes_ago: float = 60, **more: object) -> Life:
    """A paid Tmall order."""
    placed = outside.now() - timedelta(minutes=minutes_ago)
    values = {
        "order_no": str(2_890_000_000_000_000_000 + number),
        "channel": "tmall",
        "shop": outside.shops["tmall"],
        "placed": placed,
        "paid": placed + timedelta(minutes=1),
        "lines": [LifeLine("SKU1", "羊绒围巾", 1, 10_000, stock_available=5)],
        "buyer": f"b{number}",
        "receiver": "王女士",
        "phone": "13800001234",
        "province": "浙江省",
        "city": "杭州市",
        "district": "西湖区",
        "detail": "文三路1号",
    }
    return Life(**(values | more))  # type: ignore[arg-type]


def stored(outside: Outside) -> set[str]:
    with for_environment(outside.environment, write=False):
        return set(Order.objects.values_list("order_no", flat=True))


def test_a_first_pull_brings_every_order_of_the_last_day(outside: Outside) -> None:
    lives = [make_life(outside, n, minutes_ago=30 + n * 7) for n in range(130)]
    outside.add(*lives)
    connection = outside.connect("tmall")

    pulled = pull(outside.environment, connection.pk, **outside.tools)

    assert pulled is not None
    assert pulled.error is None
    assert pulled.is_caught_up
    assert stored(outside) == {life.order_no for life in lives}
    with for_environment(outside.environment, write=False):
        run = SyncRun.objects.get()
        cursor = Cursor.objects.get(stream="modified")
        connection = Connection.objects.select_related("source").get()
        details = CallOrder.objects.filter(call__operation="taobao.trade.fullinfo.get")
        lists = CallOrder.objects.filter(call__operation="taobao.trades.sold.increment.get")
        assert details.count() == 130  # one each: overlaps read none again
        # Whoever looks an order up finds the lists that told of it, too.
        assert lists.values("order_no").distinct().count() == 130
        assert not CallLog.objects.filter(request_sealed__contains="app_secret").exists()
    assert (run.state, run.new) == (SyncRun.State.DONE, 130)
    assert cursor.done_until == outside.now() - timedelta(minutes=1)
    assert connection.source.complete_until == cursor.done_until
    assert connection.state == Connection.State.OK


def test_nothing_is_read_before_its_slot_and_the_missed_ones_are_one_run(outside: Outside) -> None:
    connection = outside.connect("tmall")
    assert pull(outside.environment, connection.pk, **outside.tools) is not None

    assert pull(outside.environment, connection.pk, **outside.tools) is None
    outside.pass_time(minutes=60)
    again = pull(outside.environment, connection.pk, **outside.tools)

    assert again is not None
    assert again.run.missed_slots == 3
    assert pull(outside.environment, connection.pk, is_forced=True, **outside.tools) is not None


def read_slowly(outside: Outside, connection: Connection) -> Pulled | None:
    """A run whose time is up after a few calls: every one of them takes ten seconds."""

    def late() -> datetime:
        outside.clock.advance(timedelta(seconds=10))
        return outside.now()

    return pull(outside.environment, connection.pk, **outside.tools | {"clock": late})


def due(outside: Outside) -> list[str]:
    with for_environment(outside.environment, write=False):
        return [job.stream for job in list_jobs(now=outside.now()) if job.kind == PULL]


def test_a_backlog_that_takes_longer_than_a_run_is_read_on_at_once(outside: Outside) -> None:
    outside.add(*[make_life(outside, n, minutes_ago=60 + n * 60) for n in range(20)])
    connection = outside.connect("tmall")

    first = read_slowly(outside, connection)

    assert first is not None
    assert (first.error, first.is_caught_up) == (None, False)
    assert "modified" in due(outside)
    rest = pull(outside.environment, connection.pk, **outside.tools)
    assert rest is not None
    assert rest.is_caught_up
    assert len(stored(outside)) == 20
    assert "modified" not in due(outside)


def test_what_was_missed_is_told_by_the_first_run_of_a_backlog_only(outside: Outside) -> None:
    connection = outside.connect("tmall")
    pull(outside.environment, connection.pk, **outside.tools)
    outside.pass_time(hours=5)

    first = read_slowly(outside, connection)
    second = pull(outside.environment, connection.pk, **outside.tools)

    assert first is not None
    assert second is not None
    assert (first.run.missed_slots, second.run.missed_slots) == (19, 0)
    assert second.is_caught_up


def test_a_list_whose_reader_was_killed_is_read_again_when_its_lease_has_run_out(
    outside: Outside,
) -> None:
    outside.add(make_life(outside, 1))
    connection = outside.connect("tmall", every_minutes=60)
    with for_environment(outside.environment):  # a process that is killed clears nothing up
        reading._claim(connection.pk, "modified", now=outside.now(), is_forced=False)

    assert "modified" not in due(outside)
    outside.pass_time(seconds=LEASE.total_seconds())
    assert "modified" in due(outside)
    pull(outside.environment, connection.pk, **outside.tools)

    assert len(stored(outside)) == 1
    assert "modified" not in due(outside)
    with for_environment(outside.environment, write=False):
        runs = SyncRun.objects.order_by("pk").values_list("state", "error_code")
        assert list(runs) == [("failed", "abandoned"), ("done", "")]


def test_a_window_of_more_details_than_a_run_has_time_for_goes_on_with_the_rest(
    outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside.add(*[make_life(outside, n, minutes_ago=20) for n in range(120)])
    connection = outside.connect("tmall")
    monkeypatch.setattr(reading, "WINDOW_GRACE", timedelta(seconds=-45))

    runs = [pull(outside.environment, connection.pk, **outside.tools) for _ in range(4)]

    done = [(run.is_caught_up, run.error, run.run.state) for run in runs if run is not None]
    assert done == [(False, None, "partial")] * 3 + [(True, None, "done")]
    assert len(stored(outside)) == 120
    with for_environment(outside.environment, write=False):
        details = CallOrder.objects.filter(call__operation="taobao.trade.fullinfo.get")
        assert details.count() == 120  # what was read is not read again


def test_a_list_that_goes_round_in_circles_has_an_end(
    outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cursors that lead back, a review list that tells the same full page for ever."""
    mall, douyin = outside.connect("mall"), outside.connect("douyin")
    rows = tuple(ListedOrder(f"R{n}", payload={"order_no": f"R{n}"}) for n in range(100))
    circle = {"": "a", "a": "b", "b": "a"}
    monkeypatch.setattr(
        PrivateMallClient, "list_orders",
        lambda self, *_, cursor, **__: Listed(rows, next_cursor=circle[cursor]),
    )  # fmt: skip
    whole = DouyinClient.list_orders

    def tell_again(self: DouyinClient, stream: str, *window: Any, **place: Any) -> Listed:
        if stream == "review":
            return Listed(rows, total=10_000, has_more=True)
        return whole(self, stream, *window, **place)

    monkeypatch.setattr(DouyinClient, "list_orders", tell_again)

    stuck = pull(outside.environment, mall.pk, **outside.tools)
    read = pull(outside.environment, douyin.pk, **outside.tools)

    assert stuck is not None
    assert stuck.error is not None
    assert stuck.error.code == "stuck_cursor"
    assert read is not None
    assert read.is_caught_up


def test_a_window_with_more_orders_than_the_platform_shows_is_read_in_halves(
    outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "MAX_DEPTH", 3)
    lives = [
        make_life(outside, n, minutes_ago=5 + n, channel="douyin", shop=outside.shops["douyin"])
        for n in range(20)
    ]
    outside.add(*lives)
    connection = outside.connect("douyin")

    pulled = pull(outside.environment, connection.pk, **outside.tools)

    assert pulled is not None
    assert (pulled.error, pulled.is_caught_up) == (None, True)
    assert stored(outside) == {life.order_no for life in lives}
    monkeypatch.setattr(client, "MAX_DEPTH", 0)  # halves have an end
    stuck = pull(outside.environment, connection.pk, is_forced=True, **outside.tools)
    assert stuck is not None
    assert stuck.error is not None
    assert stuck.error.code == "window_too_deep"


def test_orders_that_change_while_being_paged_are_not_lost(outside: Outside) -> None:
    lives = [make_life(outside, n, minutes_ago=20) for n in range(140)]
    outside.add(*lives)
    connection = outside.connect("tmall")
    outside.faults.switch(
        "tmall", "taobao.trades.sold.increment.get", "mutate_between_pages", times=2
    )

    pull(outside.environment, connection.pk, **outside.tools)
    outside.pass_time(minutes=15)
    pull(outside.environment, connection.pk, **outside.tools)

    assert stored(outside) == {life.order_no for life in lives}


@pytest.mark.parametrize("kind", ["http_500", "http_503", "garbage", "refuse_connection"])
def test_a_platform_that_stumbles_once_is_asked_again(outside: Outside, kind: str) -> None:
    outside.add(make_life(outside, 1))
    connection = outside.connect("tmall")
    outside.faults.switch("tmall", "taobao.trades.sold.increment.get", kind, times=1)

    pulled = pull(outside.environment, connection.pk, **outside.tools)

    assert pulled is not None
    assert pulled.error is None
    assert len(stored(outside)) == 1


def test_a_platform_that_stays_down_moves_no_cursor_and_is_said(outside: Outside) -> None:
    outside.add(make_life(outside, 1))
    connection = outside.connect("tmall")
    outside.faults.switch("tmall", "*", "http_503")

    pulled = pull(outside.environment, connection.pk, **outside.tools)

    assert pulled is not None
    assert pulled.error is not None
    with for_environment(outside.environment, write=False):
        assert Cursor.objects.get(stream="modified").done_until is None
        connection = Connection.objects.select_related("source").get()
    assert connection.state == Connection.State.TROUBLE
    assert connection.trouble is not None
    assert connection.source.complete_until is None

    outside.faults.clear()
    outside.pass_time(minutes=15)
    again = pull(outside.environment, connection.pk, **outside.tools)
    assert again is not None
    assert again.error is None
    assert len(stored(outside)) == 1


@pytest.mark.parametrize("kind", ["half_page", "repeated_page"])
def test_a_page_cut_short_or_told_twice_closes_no_window(outside: Outside, kind: str) -> None:
    lives = [make_life(outside, n, minutes_ago=20) for n in range(120)]
    outside.add(*lives)
    connection = outside.connect("tmall")
    outside.faults.switch("tmall", "taobao.trades.sold.increment.get", kind, page=2, times=1)

    pulled = pull(outside.environment, connection.pk, **outside.tools)

    assert pulled is not None
    assert pulled.error is None
    assert stored(outside) == {life.order_no for life in lives}


def test_an_ended_session_is_renewed_once_and_the_new_tokens_are_kept(outside: Outside) -> None:
    outside.add(make_life(outside, 1))
    connection = outside.connect("tmall")
    outside.apps["tmall"].expire(outside.shops["tmall"])  # type: ignore[attr-defined]

    pulled = pull(outside.environment, connection.pk, **outside.tools)

    assert pulled is not None
    assert pulled.error is None
    with for_environment(outside.environment, write=False):
        connection = Connection.objects.get()
        refreshes = CallLog.objects.filter(operation="taobao.top.auth.token.refresh").count()
    assert connection.token_version == 1
    assert refreshes == 1
    assert len(stored(outside)) == 1


def test_an_ended_session_that_cannot_be_renewed_asks_for_the_shop_s_consent(
    outside: Outside,
) -> None:
    connection = outside.connect("tmall", secrets={"refresh_token": ""})
    outside.apps["tmall"].expire(outside.shops["tmall"])  # type: ignore[attr-defined]

    pulled = pull(outside.environment, connection.pk, **outside.tools)

    assert pulled is not None
    assert pulled.run.state == SyncRun.State.FAILED
    with for_environment(outside.environment, write=False):
        row = Connection.objects.get()
    assert (row.state, row.trouble_code) == (Connection.State.TROUBLE, "authorisation")
    assert str(row.trouble).startswith("授权已失效，请商家重新授权：店铺授权无效或已过期")


def test_an_answer_nobody_can_read_leaves_its_window_open(outside: Outside) -> None:
    outside.add(make_life(outside, 1), make_life(outside, 2))
    connection = outside.connect("tmall")
    outside.faults.switch("tmall", "taobao.trade.fullinfo.get", "garbage", times=4)

    pulled = pull(outside.environment, connection.pk, **outside.tools)

    assert pulled is not None
    assert pulled.error is not None
    with for_environment(outside.environment, write=False):
        assert not Quarantine.objects.exists()
        mark = Cursor.objects.get(stream="modified").done_until
    assert mark is not None
    assert mark < outside.now() - timedelta(minutes=59)


@pytest.mark.parametrize("app", ["tmall", "douyin"])
def test_an_order_in_review_stays_in_review_when_it_is_read_anew(
    outside: Outside, app: str
) -> None:
    """Douyin says so on a list of its own, Tmall in the order."""
    life = make_life(outside, 1, channel=app, shop=outside.shops[app], risk_words="收货地址异常")
    life.risk_from = life.paid + timedelta(minutes=1)
    outside.add(life)
    connection = outside.connect(app)
    pull(outside.environment, connection.pk, **outside.tools)
    with for_environment(outside.environment, write=False):
        before = Order.objects.get().risk_state

    taken, error = read_orders(outside.environment, connection.pk, [life.order_no], **outside.tools)

    with for_environment(outside.environment, write=False):
        order = Order.objects.get()
        assert not Quarantine.objects.exists()
    assert (error, taken.quarantined) == (None, 0)
    assert before
    assert order.risk_state == before
    assert order.stage == "platform_hold"


def test_another_environment_cannot_pull_this_connection(outside: Outside, world: World) -> None:
    outside.add(make_life(outside, 1))
    connection = outside.connect("tmall")

    assert pull(world.staging, connection.pk, **outside.tools) is None
    assert stored(outside) == set()
