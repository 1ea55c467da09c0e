"""The clients of all channels against the simulated platforms, over real HTTP.

Time moves only when a test says so. What a caller does with a page, a refusal or a token is done
here in a few lines, the careful way; the same done carelessly loses orders, which is asserted too.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest

from connectors import http
from connectors.adapters import Access, Connector, Outgoing, Paging, PushRequest, VendorRefusal
from connectors.adapters.base import may_retry
from connectors.channels.douyin.client import IN_REVIEW
from connectors.channels.registry import CHANNELS
from connectors.http import ConnectorError, Request, Response, Retry
from connectors.orders.canonical import CanonicalOrder
from connectors.simulators.core import Bucket, Clock, Faults, Host, Outbox, Store
from connectors.simulators.douyin import DEMO_KEYS as DOUYIN_KEYS
from connectors.simulators.douyin import Douyin
from connectors.simulators.keys import MallKeys
from connectors.simulators.life import Life
from connectors.simulators.mall import MallApp
from connectors.simulators.tmall import DEMO_KEYS as TMALL_KEYS
from connectors.simulators.tmall import Tmall
from connectors.sync.windows import list_pages
from connectors.wire import PayloadError
from tests.connectors.simulators.lives import T0, make_life, minutes

pytestmark = pytest.mark.any_database


MALL_KEYS = MallKeys("河道小程序", "whsec_" + base64.b64encode(bytes(range(32))).decode())
APPS = {"tmall": "tmall", "douyin": "douyin", "private_mall": "mall"}  # vendor -> app
LIST_CALLS = {
    "tmall": "taobao.trades.sold.increment.get",
    "douyin": "order.searchList",
    "private_mall": "orders",
}
DETAIL_CALLS = {
    "tmall": "taobao.trade.fullinfo.get",
    "douyin": "order.orderDetail",
    "private_mall": "orders.one",
}
VENDORS = sorted(APPS)
NOW = minutes(60)


@dataclass
class World:
    """Three platforms, their clock and faults, and clients for them."""

    clock: Clock
    store: Store
    faults: Faults
    host: Host
    apps: dict[str, Any]
    address: str = ""
    seconds: float = 5.0
    config: dict[str, dict[str, str]] = field(default_factory=dict)
    secrets: dict[str, dict[str, str]] = field(default_factory=dict)
    pushed: list[tuple[Mapping[str, str], bytes]] = field(default_factory=list)

    def client(self, vendor: str) -> Any:
        """A client with the credentials as they are now."""
        return CHANNELS[vendor].open(
            Access(
                shop="甲店",
                base_url=f"{self.address}/{APPS[vendor]}",
                config=self.config[vendor],
                secrets=self.secrets[vendor],
                send=self.send,
                clock=self.clock.now,
            )
        )

    def send(self, call: Outgoing) -> Response:
        parts = urlsplit(call.url)
        return http.send(
            Request(
                method=call.method, url=call.url, headers=call.headers, body=call.body,
                allowed=frozenset({(parts.hostname or "", parts.port or 80)}),
                total_seconds=self.seconds,
            )
        )  # fmt: skip

    def fault(self, vendor: str, operation: str, kind: str, **more: Any) -> None:
        self.faults.switch(APPS[vendor], operation, kind, **more)


@pytest.fixture
def world() -> Iterator[World]:
    clock, store, faults = Clock(at=NOW), Store(), Faults()
    pushed: list[tuple[Mapping[str, str], bytes]] = []

    def take(url: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
        pushed.append((headers, body))
        return 200, b'{"code":0,"msg":"success"}'

    outbox = Outbox(clock, faults, transport=take, workers=1)
    wide = Bucket(1000, 2000)
    apps: dict[str, Any] = {
        "tmall": Tmall(store, clock, faults),
        "douyin": Douyin(store, clock, faults, outbox, push_url="http://us/in", push_since=NOW),
        "mall": MallApp(
            store, clock, faults, outbox, MALL_KEYS,
            push_url="http://us/in", push_since=NOW, bucket=wide,
        ),
    }  # fmt: skip
    host = Host(
        {f"/{name}": app for name, app in apps.items()}, clock, faults, outbox, silence_seconds=3
    )
    found = World(clock, store, faults, host, apps, pushed=pushed)
    for vendor, keys in (("tmall", TMALL_KEYS), ("douyin", DOUYIN_KEYS)):
        token = keys.shops[0]
        found.config[vendor] = {"app_key": keys.app_key}
        found.secrets[vendor] = {
            "app_secret": keys.secret,
            "access_token": token.access_token,
            "refresh_token": token.refresh_token,
        }
    found.config["private_mall"] = {}
    found.secrets["private_mall"] = {"secret": MALL_KEYS.secret}
    with host.running() as address:
        found.address = address
        yield found


def _life(vendor: str, number: int = 1, at: float = 0.0, **more: Any) -> Life:
    if vendor == "private_mall":
        more = {"order_no": f"M{number:06d}", "shop": MALL_KEYS.shop, **more}
    return make_life(number, at, vendor, **more)


def _fill(world: World, vendor: str, count: int, **more: Any) -> set[str]:
    """Orders ten seconds apart from the start; their numbers."""
    lives = [_life(vendor, n, n / 6, **more) for n in range(count)]
    world.store.add(*lives)
    return {life.order_no for life in lives}


def _read_window(
    world: World, vendor: str, start: float = 0, end: float = 30, *, carelessly: bool = False
) -> list[str]:
    """The numbers in a window, its pages read as the connector's rules say (or just forwards)."""
    connector: Connector = CHANNELS[vendor]
    rules, client = connector.streams["modified"], world.client(vendor)
    window = (minutes(start), minutes(end))
    found: list[str] = []
    if rules.paging is Paging.CURSOR:
        cursor = ""
        while True:
            listed = client.list_orders("modified", *window, page=1, cursor=cursor)
            found += [row.order_no for row in listed.rows]
            cursor = listed.next_cursor
            if not cursor:
                return found
    pages = list(list_pages(client.count_orders("modified", *window), rules))
    for page in sorted(pages) if carelessly else pages:
        listed = client.list_orders("modified", *window, page=page, cursor="")
        found += [row.order_no for row in listed.rows]
    return found


# -- reading ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("vendor", VENDORS)
def test_window_is_read_whole_over_several_pages(world: World, vendor: str) -> None:
    numbers = _fill(world, vendor, 170)

    found = _read_window(world, vendor)

    assert sorted(found) == sorted(numbers)


@pytest.mark.parametrize("vendor", VENDORS)
def test_empty_window_is_empty(world: World, vendor: str) -> None:
    _fill(world, vendor, 3)

    assert _read_window(world, vendor, 40, 50) == []


def _read_while_orders_change(world: World, vendor: str, *, carelessly: bool) -> set[str]:
    """A window whose orders change between its pages, and the next one, where they are found."""
    world.fault(vendor, LIST_CALLS[vendor], "mutate_between_pages")
    found = _read_window(world, vendor, 0, 59, carelessly=carelessly)
    world.faults.clear()
    world.clock.set(minutes(75))
    return {*found, *_read_window(world, vendor, 59, 74)}


@pytest.mark.parametrize("vendor", VENDORS)
def test_orders_that_change_between_two_pages_cost_no_other(world: World, vendor: str) -> None:
    numbers = _fill(world, vendor, 270)

    found = _read_while_orders_change(world, vendor, carelessly=False)

    assert numbers - found == set()


@pytest.mark.parametrize("vendor", ["tmall", "douyin"])
def test_read_forwards_the_same_windows_lose_orders(world: World, vendor: str) -> None:
    numbers = _fill(world, vendor, 270)

    found = _read_while_orders_change(world, vendor, carelessly=True)

    assert numbers - found != set()


@pytest.mark.parametrize("vendor", VENDORS)
def test_whole_order_reads_into_ours_without_a_notice(world: World, vendor: str) -> None:
    world.store.add(_life(vendor, 7, 1, paid=minutes(2), gateway="alipay", gateway_paid=minutes(2)))
    [number] = _read_window(world, vendor)
    connector = CHANNELS[vendor]
    assert connector.map_order is not None

    payload = world.client(vendor).read_order(number)
    mapped = connector.map_order(payload, shop="甲店", stages=None)

    record = mapped.record
    assert isinstance(record, CanonicalOrder)
    assert mapped.notices == ()
    assert (record.order_no, record.stage, record.shop) == (number, "await_ship", "甲店")
    assert (record.paid_fen, record.source_updated_at) == (25_500, minutes(2))
    assert len(record.lines) == 2


@pytest.mark.parametrize("vendor", ["douyin", "private_mall"])
def test_listed_payload_reads_into_the_same_order_as_its_detail(world: World, vendor: str) -> None:
    world.store.add(_life(vendor, 7, 1, paid=minutes(2), gateway="alipay", gateway_paid=minutes(2)))
    client, connector = world.client(vendor), CHANNELS[vendor]
    assert connector.map_order is not None
    first = connector.streams["modified"].first_page

    [row] = client.list_orders("modified", minutes(0), minutes(30), page=first, cursor="").rows

    listed = connector.map_order(row.payload, shop="甲店", stages=None).record
    detail = connector.map_order(client.read_order(row.order_no), shop="甲店", stages=None).record
    assert listed == detail
    assert row.updated_at == minutes(2)


@pytest.mark.parametrize("vendor", VENDORS)
def test_order_that_is_not_there_is_none(world: World, vendor: str) -> None:
    assert world.client(vendor).read_order("6919000000000009999") is None


@pytest.mark.parametrize("vendor", VENDORS)
def test_checking_says_that_it_works(world: World, vendor: str) -> None:
    assert world.client(vendor).check()


@pytest.mark.parametrize("vendor", ["tmall", "douyin"])
def test_sweep_finds_what_was_made_in_a_time_whatever_changed_later(
    world: World, vendor: str
) -> None:
    world.store.add(_life(vendor, 1, 1, paid=minutes(50)), _life(vendor, 2, 40))
    client, first = world.client(vendor), CHANNELS[vendor].streams["created"].first_page

    rows = client.list_orders("created", minutes(0), minutes(30), page=first, cursor="").rows

    assert [row.order_no for row in rows] == [_life(vendor, 1).order_no]
    assert client.count_orders("created", minutes(0), minutes(30)) == 1


@pytest.mark.parametrize("vendor", VENDORS)
def test_page_cut_short_can_be_told_from_a_last_page(world: World, vendor: str) -> None:
    _fill(world, vendor, 170)
    connector, client = CHANNELS[vendor], world.client(vendor)
    rules = connector.streams["modified"]
    world.fault(vendor, LIST_CALLS[vendor], "half_page", page=1 if rules.first_page else 0)

    listed = client.list_orders("modified", T0, minutes(30), page=rules.first_page, cursor="")

    assert len(listed.rows) < rules.page_size
    assert listed.has_more or listed.next_cursor


# -- Douyin's reviews ------------------------------------------------------------------------------


def test_order_in_review_says_so_in_its_detail_and_stands_in_the_review_list(world: World) -> None:
    held = _life("douyin", 1, 1, paid=minutes(2), risk_from=minutes(2), risk_until=minutes(90))
    group = _life("douyin", 2, 1, paid=minutes(2), group=True)
    world.store.add(held, group)
    client, connector = world.client("douyin"), CHANNELS["douyin"]
    assert connector.map_order is not None

    listed = client.list_orders("review", T0, minutes(60), page=0, cursor="")
    order, other = client.read_order(held.order_no), client.read_order(group.order_no)
    record: Any = connector.map_order(order, shop="甲店", stages=None).record

    assert [row.order_no for row in listed.rows] == [held.order_no]
    assert (order[IN_REVIEW], other[IN_REVIEW]) == (True, False)
    assert (record.stage, bool(record.risk_state)) == ("platform_hold", True)

    world.clock.set(minutes(91))
    after = client.read_order(held.order_no)
    record = connector.map_order(after, shop="甲店", stages=None, in_risk_review=True).record
    assert (record.stage, record.risk_state) == ("await_ship", "")


# -- what goes wrong -------------------------------------------------------------------------------

FAULTS = [
    ("http_500", {}, Retry.AMBIGUOUS, "http_status"),
    ("http_503", {}, Retry.LATER, "http_status"),
    ("garbage", {}, Retry.AMBIGUOUS, "bad_answer"),
    ("refuse_connection", {}, Retry.AMBIGUOUS, "no_answer"),
    ("timeout_before", {"seconds": 2.0}, Retry.AMBIGUOUS, "no_answer"),
    ("timeout_after_accept", {"seconds": 2.0}, Retry.AMBIGUOUS, "no_answer"),
    ("slow_drip", {"seconds": 4.0}, Retry.AMBIGUOUS, "no_answer"),
    ("throttle", {"seconds": 2.0}, Retry.LATER, "vendor_refusal"),
    ("service_error", {}, Retry.SAFE, "vendor_refusal"),
    ("wrong_clock", {"seconds": 7200.0}, Retry.NEVER, "vendor_refusal"),
]


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize(
    ("kind", "more", "retry", "code"), FAULTS, ids=[kind for kind, *_ in FAULTS]
)
def test_fault_has_its_class_and_is_over_when_it_is_over(
    world: World, vendor: str, kind: str, more: dict[str, Any], retry: Retry, code: str
) -> None:
    number = _fill(world, vendor, 1).pop()
    world.seconds = 0.7 if more and kind not in {"throttle", "wrong_clock"} else 5.0
    client = world.client(vendor)
    for operation, ask in (
        (LIST_CALLS[vendor], lambda: _read_window(world, vendor)),
        (DETAIL_CALLS[vendor], lambda: client.read_order(number)),
    ):
        world.fault(vendor, operation, kind, times=1, **more)

        with pytest.raises(ConnectorError) as caught:
            _as_connector_error(ask)

        assert (caught.value.retry, caught.value.code) == (retry, code)
        assert may_retry(caught.value) == (retry is not Retry.NEVER)
        if kind == "wrong_clock":
            assert isinstance(caught.value, VendorRefusal)
            assert caught.value.fault.resync_clock
        world.seconds = 5.0
        assert ask()
        world.seconds = 0.7 if more and kind not in {"throttle", "wrong_clock"} else 5.0


def _as_connector_error(ask: Callable[[], Any]) -> Any:
    """As the transport does: an answer that cannot be read is an ambiguous failure."""
    try:
        return ask()
    except PayloadError as error:
        raise ConnectorError(error.message, code="bad_answer", retry=Retry.AMBIGUOUS) from error


@pytest.mark.parametrize("vendor", VENDORS)
def test_nobody_listening_is_safe_to_try_again(world: World, vendor: str) -> None:
    client = world.client(vendor)
    world.host.stop()

    with pytest.raises(ConnectorError) as caught:
        client.check()

    assert (caught.value.code, caught.value.retry) == ("not_connected", Retry.SAFE)


@pytest.mark.parametrize("vendor", VENDORS)
def test_wrong_secret_is_for_a_person(world: World, vendor: str) -> None:
    secret = "whsec_" + base64.b64encode(b"x" * 32).decode()
    world.secrets[vendor] |= {"app_secret": "wrong", "secret": secret}

    with pytest.raises(VendorRefusal) as caught:
        world.client(vendor).check()

    assert caught.value.retry is Retry.NEVER
    assert not caught.value.fault.refresh_token


def test_throttled_top_tells_how_long(world: World) -> None:
    world.fault("tmall", "*", "throttle", times=1, seconds=7.0)

    with pytest.raises(VendorRefusal) as caught:
        world.client("tmall").check()

    assert (caught.value.pause_seconds, caught.value.fault.wait_for_quota) == (7, False)


def test_used_up_quota_of_top_waits_until_midnight(world: World) -> None:
    world.apps["tmall"].daily_quota = 0

    with pytest.raises(VendorRefusal) as caught:
        world.client("tmall").check()

    assert caught.value.fault.wait_for_quota
    assert caught.value.pause_seconds == 23 * 3600  # it is one o'clock in Beijing


def test_platforms_own_trouble_is_safe_to_try_again(world: World) -> None:
    world.fault("douyin", "order.searchList", "service_error", times=1)

    with pytest.raises(VendorRefusal) as caught:
        world.client("douyin").check()

    assert caught.value.retry is Retry.SAFE


# -- tokens ----------------------------------------------------------------------------------------


def _take_tokens(world: World, vendor: str) -> Any:
    tokens = world.client(vendor).refresh_tokens()
    world.secrets[vendor] |= {
        "access_token": tokens.access_token,
        "refresh_token": tokens.refresh_token,
    }
    return tokens


def _refused(world: World, vendor: str) -> VendorRefusal:
    with pytest.raises(VendorRefusal) as caught:
        world.client(vendor).check()
    return caught.value


def test_ended_session_of_top_is_renewed_and_its_refresh_token_with_it(world: World) -> None:
    old = world.secrets["tmall"]["refresh_token"]
    world.clock.set(NOW + timedelta(days=30))
    assert _refused(world, "tmall").fault.refresh_token

    tokens = _take_tokens(world, "tmall")

    assert world.client("tmall").check()
    assert tokens.refresh_token != old
    assert tokens.expires_at == NOW + timedelta(days=60)
    world.secrets["tmall"]["refresh_token"] = old
    with pytest.raises(VendorRefusal) as caught:
        world.client("tmall").refresh_tokens()
    assert caught.value.retry is Retry.NEVER


def test_douyin_gives_the_same_tokens_until_the_last_hour(world: World) -> None:
    first = dict(world.secrets["douyin"])
    ends = NOW + timedelta(days=7)

    world.clock.set(ends - timedelta(minutes=61))
    early = _take_tokens(world, "douyin")
    assert (early.access_token, early.refresh_token) == (
        first["access_token"],
        first["refresh_token"],
    )
    assert early.expires_at == ends

    world.clock.set(ends - timedelta(minutes=30))
    fresh = _take_tokens(world, "douyin")
    assert fresh.access_token != first["access_token"]
    assert world.client("douyin").check()
    new = dict(world.secrets["douyin"])
    world.secrets["douyin"] = first  # the old live for one more hour
    assert world.client("douyin").check()
    world.clock.set(ends + timedelta(minutes=31))
    assert _refused(world, "douyin").fault.refresh_token
    world.secrets["douyin"] = new
    assert world.client("douyin").check()


def test_authorisation_of_douyin_that_was_left_too_long_is_for_a_person(world: World) -> None:
    world.clock.set(NOW + timedelta(days=15))
    assert _refused(world, "douyin").fault.refresh_token

    with pytest.raises(VendorRefusal) as caught:
        world.client("douyin").refresh_tokens()

    assert caught.value.retry is Retry.NEVER


def test_closed_authorisation_of_douyin_is_for_a_person(world: World) -> None:
    world.apps["douyin"].tokens.closed.add("河道抖音店")

    refusal = _refused(world, "douyin")

    assert (refusal.retry, refusal.fault.refresh_token) == (Retry.NEVER, False)


# -- messages, memos, payments ---------------------------------------------------------------------


def test_messages_of_top_come_again_until_they_are_confirmed(world: World) -> None:
    client = world.client("tmall")
    client.permit()
    life = _life("tmall", 1, 61, paid=minutes(62))
    world.store.add(life)
    world.clock.set(minutes(63))

    first = client.consume(100)
    assert client.consume(100) == ()  # handed out, not due again yet
    world.clock.set(minutes(70))
    again = client.consume(100)

    assert [m.replay_key for m in again] == [m.replay_key for m in first]
    assert {m.order_no for m in first} == {life.order_no}
    assert {m.topic for m in first} >= {"taobao_trade_TradeCreate", "taobao_trade_TradeBuyerPay"}
    client.confirm([m.message_id for m in again])
    world.clock.set(minutes(80))
    assert client.consume(100) == ()


def test_memo_is_written_once_however_often_it_is_sent(world: World) -> None:
    life = _life("tmall", 1, 1)
    world.store.add(life)
    client = world.client("tmall")

    client.write_memo(life.order_no, "河道：价格不符，待核", 2, "k1")
    client.write_memo(life.order_no, "河道：价格不符，待核", 2, "k1")

    trade = client.read_order(life.order_no)
    assert (trade["seller_memo"], trade["seller_flag"]) == ("河道：价格不符，待核", 2)
    client.write_memo(life.order_no, "", 0, "k2")
    assert not client.read_order(life.order_no).get("seller_memo")


def test_payment_whose_callback_was_lost_is_mended_once(world: World) -> None:
    lost = _life("private_mall", 1, 1, gateway="alipay", gateway_paid=minutes(2))
    unpaid = _life("private_mall", 2, 1, gateway="alipay")
    world.store.add(lost, unpaid)
    client = world.client("private_mall")

    first = client.sync_payment(lost.order_no, key="k")
    again = client.sync_payment(lost.order_no, key="k")

    assert (first.result, again.result) == ("paid", "unchanged")
    assert first.order["status"] == "await_ship"
    assert client.sync_payment(unpaid.order_no, key="k").result == "unpaid"


# -- pushes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("vendor", "kind"), [("douyin", "hint"), ("private_mall", "record")])
def test_pushes_of_the_platform_pass_our_door(world: World, vendor: str, kind: str) -> None:
    life = _life(vendor, 1, 61, paid=minutes(62), gateway="alipay", gateway_paid=minutes(62))
    world.store.add(life)
    world.clock.set(minutes(63))
    world.host.pump()
    door = CHANNELS[vendor].push
    assert door is not None
    items = []
    for headers, body in world.pushed:
        given = {name.lower(): value for name, value in headers.items()}
        request = PushRequest("POST", given, (), body)
        verified = door.verify(
            request,
            config=world.config[vendor],
            secrets=world.secrets[vendor],
            now=world.clock.now(),
        )
        items += door.read(request, verified, secrets=world.secrets[vendor])

    assert items
    assert {item.kind for item in items} == {kind}
    assert {item.order_no for item in items} == {life.order_no}
    assert len({item.replay_key for item in items}) == len(items)
    if kind == "record":
        records = [door.map(item, shop="甲店", stages=None).mapped.record for item in items]
        assert {type(record).__name__ for record in records} == {
            "CanonicalOrder",
            "CanonicalPayment",
        }
