"""The clients of all systems against the simulators, over HTTP: one effect, refusals, callbacks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from connectors import http
from connectors.adapters import Access, Connector, Outgoing, PushRequest, VendorRefusal
from connectors.http import ConnectorError, Request, Response, Retry
from connectors.orders.canonical import CanonicalLine, CanonicalOrder
from connectors.simulators.alipay import AlipayApp
from connectors.simulators.core import Clock, Faults, Host, Outbox, Store
from connectors.simulators.keys import Keys, make_keys
from connectors.simulators.life import Life, LifeLine
from connectors.simulators.oms import OmsApp
from connectors.simulators.qimen import QimenApp
from connectors.simulators.wechat_pay import WeChatPayApp
from connectors.simulators.wms import Wms
from connectors.systems.oms.adapter import GENERIC_OMS
from connectors.systems.oms.client import OmsClient
from connectors.systems.payments.alipay_adapter import ALIPAY
from connectors.systems.payments.wechat_pay_adapter import WECHAT_PAY
from connectors.systems.wms.qimen_adapter import QIMEN, QimenClient
from connectors.wire import SignatureRefused

pytestmark = pytest.mark.any_database


NOON = datetime(2026, 11, 11, 4, 0, tzinfo=UTC)
PUSHES = "http://product.example/in/x/y/"


@cache
def _keys() -> Keys:
    return make_keys()


class World:
    """The simulators of the systems on one clock, and clients of ours for them."""

    def __init__(self) -> None:
        self.clock, self.faults, self.store = Clock(at=NOON), Faults(), Store()
        self.pushed: list[tuple[str, PushRequest]] = []
        self.answers: dict[str, tuple[int, bytes]] = {}
        self.outbox = Outbox(self.clock, self.faults, transport=self._receive, workers=1)
        keys = self.keys = _keys()
        common = (self.store, self.clock, self.faults)
        self.wms = Wms(self.store, can_hold={"WH02": False})
        self.oms = OmsApp(*common, keys.oms)
        self.apps: dict[str, Any] = {
            "alipay": AlipayApp(*common, self.outbox, keys.alipay, notify_url=PUSHES + "alipay"),
            "wechat_pay": WeChatPayApp(
                *common, self.outbox, keys.wechat_pay, notify_url=PUSHES + "wechat_pay"
            ),
            "qimen": QimenApp(
                *common, self.outbox, keys.qimen, wms=self.wms, callback_url=PUSHES + "qimen"
            ),
            "oms": self.oms,
        }
        apps = {f"/{name}": app for name, app in self.apps.items()}
        self.host = Host(apps, self.clock, self.faults, self.outbox)
        self.address = ""
        self.calls: list[Outgoing] = []

    @contextmanager
    def serving(self) -> Iterator[World]:
        with self.host.running() as self.address:
            yield self

    def now(self) -> datetime:
        return self.clock.now()

    def pass_minutes(self, minutes: float) -> None:
        self.clock.advance(timedelta(minutes=minutes))
        self.host.pump()

    def _receive(self, url: str, headers: Any, body: bytes) -> tuple[int, bytes]:
        parts = urlsplit(url)
        vendor = parts.path.rsplit("/", 1)[-1]
        request = PushRequest(
            "POST",
            {name.lower(): value for name, value in headers.items()},
            tuple(parse_qsl(parts.query, keep_blank_values=True)),
            body,
        )
        self.pushed.append((vendor, request))
        return self.answers.get(vendor, (200, b""))

    def send(self, call: Outgoing) -> Response:
        self.calls.append(call)
        parts = urlsplit(self.address)
        return http.send(
            Request(
                call.method,
                call.url,
                headers=call.headers,
                body=call.body,
                allowed=frozenset({(str(parts.hostname), int(parts.port or 0))}),
            )
        )

    def access(self, connector: Connector, **config: str) -> Access:
        settings, secrets = self.settings(connector)
        name = {"generic_oms": "oms"}.get(connector.code, connector.code)
        return Access(
            shop="河道羊绒小程序",
            base_url=f"{self.address}/{name}",
            config=settings | config,
            secrets=secrets,
            send=self.send,
            clock=self.now,
        )

    def open(self, connector: Connector, **config: str) -> Any:
        return connector.open(self.access(connector, **config))

    def settings(self, connector: Connector) -> tuple[dict[str, str], dict[str, str]]:
        keys = self.keys
        if connector is ALIPAY:
            return (
                {"app_id": keys.alipay.app_id, "alipay_public_key": keys.alipay.alipay.public_pem},
                {"private_key": keys.alipay.app.private_pem},
            )
        if connector is WECHAT_PAY:
            return (
                {
                    "merchant_id": keys.wechat_pay.mchid,
                    "merchant_serial_no": keys.wechat_pay.merchant_serial,
                    "platform_public_key": keys.wechat_pay.platform.public_pem,
                    "platform_serial_no": keys.wechat_pay.platform_serial,
                },
                {
                    "private_key": keys.wechat_pay.merchant.private_pem,
                    "api_v3_key": keys.wechat_pay.api_v3_key,
                },
            )
        if connector is QIMEN:
            return (
                {
                    "app_key": keys.qimen.app_key,
                    "customer_id": keys.qimen.customer_id,
                    "owner_code": "OWNER1",
                    "warehouses": "WH01 可挂起",
                    "logistics_code": "SF",
                },
                {"app_secret": keys.qimen.secret},
            )
        return OMS_FORM, {"auth_secret": keys.oms.token}

    def drain(self, vendor: str) -> list[PushRequest]:
        self.host.pump()
        found = [request for name, request in self.pushed if name == vendor]
        self.pushed = [(name, request) for name, request in self.pushed if name != vendor]
        return found


OMS_FORM = {
    "auth_kind": "bearer",
    "list_path": "/api/orders",
    "start_name": "updated_from",
    "end_name": "updated_to",
    "time_format": "clock",
    "paging_kind": "page",
    "page_name": "page",
    "size_name": "size",
    "page_size": "2",
    "rows_path": "data.rows",
    "total_path": "data.total",
    "ok_path": "code",
    "ok_value": "0",
    "code_path": "code",
    "order_no_path": "orderNo",
    "updated_path": "updateTime",
    "received_path": "recvTime",
    "reviewed_path": "auditTime",
    "status_path": "status.name",
    "detail_path": "/api/orders/{order_no}",
    "detail_row_path": "data",
    "hold_path": "/api/orders/{order_no}/hold",
    "hold_body": '{"reason": "{reason}"}',
    "release_path": "/api/orders/{order_no}/release",
}


@pytest.fixture
def world() -> Iterator[World]:
    with World().serving() as made:
        yield made


def _life(order_no: str = "SO202611110001", **changes: Any) -> Life:
    values: dict[str, Any] = {
        "order_no": order_no,
        "channel": "private_mall",
        "shop": "河道羊绒小程序",
        "placed": NOON - timedelta(minutes=30),
        "lines": [LifeLine("SCARF-CAMEL", "围巾", 1, 19900)],
        "gateway": "alipay",
        "receiver": "王小明",
    }
    return Life(**(values | changes))


def _paid(order_no: str = "SO202611110001", **changes: Any) -> Life:
    at = NOON - timedelta(minutes=28)
    return _life(order_no, **({"gateway_paid": at, "paid": at} | changes))


def _stored(order_no: str = "SO202611110001", **changes: Any) -> Life:
    """In the warehouse since ten minutes ago, picked in half an hour."""

    def after(minutes: float) -> datetime:
        return NOON + timedelta(minutes=minutes)

    steps = {
        "oms": after(-20), "reviewed": after(-15), "wms": after(-10), "printed": after(-5),
        "picked": after(30), "packed": after(40), "out": after(50), "shipped": after(55),
    }  # fmt: skip
    return _paid(order_no, **(steps | changes))


def _order(order_no: str = "SO202611110009") -> CanonicalOrder:
    return CanonicalOrder(
        order_no=order_no,
        channel="private_mall",
        shop="河道羊绒小程序",
        placed_at=NOON - timedelta(minutes=10),
        paid_at=NOON - timedelta(minutes=9),
        payable_fen=19900,
        goods_fen=19900,
        freight_fen=0,
        receiver_name="王小明",
        receiver_phone="13800000000",
        province="浙江省",
        city="杭州市",
        district="余杭区",
        address_detail="文一西路 969 号",
        lines=(CanonicalLine("1", sku="SCARF-CAMEL", quantity=1, price_fen=19900),),
    )


# -- gateways ----------------------------------------------------------------------------------


@pytest.mark.parametrize("connector", [ALIPAY, WECHAT_PAY], ids=lambda c: c.code)
def test_a_gateway_tells_paid_unpaid_refunded_and_unknown(
    world: World, connector: Connector
) -> None:
    gateway = connector.code
    world.store.add(
        _paid("PAID", gateway=gateway),
        _paid("BACK", gateway=gateway, refunded=NOON - timedelta(minutes=1)),
    )
    client = world.open(connector)

    assert "应答正常" in client.check()
    paid, back = client.ask("PAID"), client.ask("BACK")
    assert paid is not None
    assert back is not None
    assert (str(paid.mapped.record.status), paid.mapped.record.amount_fen) == ("paid", 19900)
    assert paid.mapped.record.paid_at == NOON - timedelta(minutes=28)
    assert str(back.mapped.record.status) == "refunded"
    assert client.ask("NOBODY") is None


@pytest.mark.parametrize("connector", [ALIPAY, WECHAT_PAY], ids=lambda c: c.code)
def test_a_notification_comes_through_the_door_again_and_again_under_one_key(
    world: World, connector: Connector
) -> None:
    world.store.add(_paid(gateway=connector.code, paid=NOON, gateway_paid=NOON))
    world.faults.switch(connector.code, "notify", "duplicate_callback", times=1)
    world.answers[connector.code] = (500, b"fail")
    config, secrets = world.settings(connector)
    assert connector.push is not None

    requests = world.drain(connector.code)
    world.pass_minutes(5)
    requests += world.drain(connector.code)

    assert len(requests) >= 3
    keys, records = set(), set()
    for request in requests:
        verified = connector.push.verify(request, config=config, secrets=secrets, now=world.now())
        (item,) = connector.push.read(request, verified, secrets=secrets)
        keys.add(item.replay_key)
        record = connector.push.map(item, shop="", stages=None).mapped.record
        records.add((record.order_no, str(record.status), record.amount_fen))
    assert len(keys) == 1
    assert records == {("SO202611110001", "paid", 19900)}
    body = connector.push.answer("stored")
    world.answers[connector.code] = (body.status, body.body)
    world.pass_minutes(600)
    world.pushed.clear()
    world.pass_minutes(6000)
    assert world.pushed == []


def test_a_notification_changed_on_its_way_is_refused(world: World) -> None:
    world.store.add(_paid(paid=NOON, gateway_paid=NOON))
    (request,) = world.drain("alipay")
    config, secrets = world.settings(ALIPAY)
    assert ALIPAY.push is not None
    forged = PushRequest("POST", request.headers, (), request.body.replace(b"199.00", b"1.99"))

    with pytest.raises(SignatureRefused):
        ALIPAY.push.verify(forged, config=config, secrets=secrets, now=world.now())


@pytest.mark.parametrize(
    ("connector", "config", "code"),
    [
        (ALIPAY, {"app_id": "2021999999999999"}, "40002/isv.invalid-app-id"),
        (WECHAT_PAY, {"merchant_serial_no": "00"}, "SIGN_ERROR"),
        (QIMEN, {"app_key": "99999999"}, "29"),
        (QIMEN, {"customer_id": "NOBODY"}, "41"),
        (GENERIC_OMS, {"auth_kind": "none"}, "40100"),
    ],
    ids=lambda value: getattr(value, "code", None),
)
def test_wrong_credentials_are_refused_with_the_vendors_code(
    world: World, connector: Connector, config: dict[str, str], code: str
) -> None:
    with pytest.raises(VendorRefusal) as caught:
        world.open(connector, **config).check()

    assert (caught.value.vendor_code, caught.value.retry) == (code, Retry.NEVER)


@pytest.mark.parametrize(
    ("connector", "operation"),
    [
        (ALIPAY, "alipay.trade.query"),
        (WECHAT_PAY, "transactions.out-trade-no"),
        (QIMEN, "orderprocess.query"),
    ],
    ids=lambda value: getattr(value, "code", None),
)
@pytest.mark.parametrize(
    ("kind", "allowed"),
    [
        ("throttle", {Retry.LATER, Retry.SAFE}),
        ("service_error", {Retry.SAFE, Retry.AMBIGUOUS}),
        ("http_503", {Retry.LATER}),
        ("http_500", {Retry.AMBIGUOUS}),
        ("garbage", {Retry.AMBIGUOUS}),
        ("refuse_connection", {Retry.AMBIGUOUS}),
    ],
)
def test_whatever_goes_wrong_once_may_be_asked_again(
    world: World, connector: Connector, operation: str, kind: str, allowed: set[Retry]
) -> None:
    world.store.add(_stored(gateway=connector.code if connector is not QIMEN else "alipay"))
    world.faults.switch(connector.code, operation, kind, times=1)
    client = world.open(connector)

    with pytest.raises(ConnectorError) as caught:
        client.ask("SO202611110001")

    assert caught.value.retry in allowed
    assert client.ask("SO202611110001") is not None


def test_a_clock_that_is_off_is_said(world: World) -> None:
    world.faults.switch("qimen", "orderprocess.query", "wrong_clock", seconds=3600)

    with pytest.raises(VendorRefusal) as caught:
        world.open(QIMEN).ask("X")

    assert caught.value.fault.resync_clock


# -- the warehouse -----------------------------------------------------------------------------


def test_the_warehouse_tells_every_step_as_one_receipt(world: World) -> None:
    world.store.add(_stored())
    client = world.open(QIMEN)
    assert "应答正常" in client.check()
    assert client.ask("NOBODY") is None

    first = client.ask("SO202611110001").mapped.record
    world.pass_minutes(60)
    last = client.ask("SO202611110001").mapped.record

    assert (first.received_at, first.picked_at) == (NOON - timedelta(minutes=10), None)
    assert first.custom == {"wms_state": "PRINT", "wms_warehouse": "WH01"}
    assert (last.picked_at, last.shipped_at) == (
        NOON + timedelta(minutes=30),
        NOON + timedelta(minutes=50),
    )
    assert last.custom["wms_state"] == "DELIVERED"
    by_state = world.open(QIMEN, query_by="deliveryorder").ask("SO202611110001").mapped.record
    assert by_state.shipped_at == last.shipped_at


def test_an_order_is_handed_over_once_whatever_happens_to_the_answer(world: World) -> None:
    client: QimenClient = world.open(QIMEN)
    world.faults.switch(
        "qimen", "deliveryorder.create", "timeout_after_accept", times=1, seconds=0.2
    )

    with pytest.raises(ConnectorError) as caught:
        client.create(_order(), key="create:1")
    assert caught.value.retry is Retry.AMBIGUOUS
    number = client.create(_order(), key="create:1")

    assert number
    assert client.create(_order(), key="create:1") == number
    life = world.store.get("SO202611110009")
    assert life is not None
    assert life.wms == NOON
    assert len(world.store) == 1
    assert client.ask("SO202611110009") is not None
    assert {c.key for c in world.calls if c.is_effect} == {"create:1"}


def test_a_hold_has_one_effect_whatever_happens_to_the_answer(world: World) -> None:
    world.store.add(_stored())
    client: QimenClient = world.open(QIMEN)
    world.faults.switch("qimen", "order.pending", "timeout_after_accept", times=1, seconds=0.2)

    with pytest.raises(ConnectorError) as caught:
        client.hold("SO202611110001", reason="健康分 42", key="hold:1")
    assert caught.value.retry is Retry.AMBIGUOUS
    client.hold("SO202611110001", reason="健康分 42", key="hold:1")

    assert world.wms.is_held("SO202611110001")
    world.pass_minutes(300)  # nothing goes on
    assert client.ask("SO202611110001").mapped.record.picked_at is None
    client.release("SO202611110001", reason="已恢复", key="release:1")
    client.release("SO202611110001", reason="已恢复", key="release:1")
    assert not world.wms.is_held("SO202611110001")
    world.pass_minutes(300)
    assert client.ask("SO202611110001").mapped.record.picked_at is not None


def test_from_picking_on_the_warehouse_refuses(world: World) -> None:
    world.store.add(_stored())
    world.pass_minutes(31)
    client: QimenClient = world.open(QIMEN)

    for act in (client.hold, client.cancel):
        with pytest.raises(VendorRefusal) as caught:
            act("SO202611110001", reason="x", key="k")
        assert (caught.value.vendor_code, caught.value.retry) == ("S003", Retry.NEVER)


def test_a_warehouse_without_holding_says_so_with_or_without_our_knowing(world: World) -> None:
    line = LifeLine("SCARF-CAMEL", "围巾", 1, 19900, warehouse="WH02")
    world.store.add(_stored(lines=[line]))

    with pytest.raises(VendorRefusal) as caught:
        world.open(QIMEN, warehouses="WH02").hold("SO202611110001", reason="x", key="k")
    assert caught.value.vendor_code == "S004"
    with pytest.raises(VendorRefusal) as caught:
        world.open(QIMEN, warehouses="WH01\nWH02 不可挂起").hold(
            "SO202611110001", reason="x", key="k"
        )
    assert caught.value.vendor_code == "no_order_pending"


def test_an_order_is_taken_back_before_it_is_picked(world: World) -> None:
    world.store.add(_stored())
    client: QimenClient = world.open(QIMEN)

    client.cancel("SO202611110001", reason="买家退款", key="cancel:1")
    client.cancel("SO202611110001", reason="买家退款", key="cancel:1")

    assert client.ask("SO202611110001").mapped.record.custom["wms_state"] == "CANCELED"


def test_the_warehouse_tells_its_stock(world: World) -> None:
    world.store.add(_stored(locked=NOON - timedelta(minutes=20)))

    (row,) = world.open(QIMEN).read_stock(["SCARF-CAMEL", "NOTHING"])

    assert (row.sku, row.warehouse, row.available, row.locked) == ("SCARF-CAMEL", "WH01", 500, 1)


def test_reports_come_through_the_door_and_repetitions_are_the_same_receipt(world: World) -> None:
    world.store.add(_stored())
    config, secrets = world.settings(QIMEN)
    assert QIMEN.push is not None
    world.faults.switch("qimen", "orderprocess.report", "duplicate_callback", times=1)
    stored = QIMEN.push.answer("stored")
    world.answers["qimen"] = (stored.status, stored.body)

    told: dict[tuple[str, str], set[Any]] = {}
    keys: list[str] = []
    for _ in range(60):
        for request in world.drain("qimen"):
            verified = QIMEN.push.verify(request, config=config, secrets=secrets, now=world.now())
            (item,) = QIMEN.push.read(request, verified, secrets=secrets)
            keys.append(item.replay_key)
            record = QIMEN.push.map(item, shop="", stages=None).mapped.record
            told.setdefault((item.topic, str(record.custom["wms_state"])), set()).add(
                (record.received_at, record.picked_at, record.shipped_at)
            )
        world.clock.advance(timedelta(minutes=1))

    assert {state for _, state in told} == {"ACCEPT", "PRINT", "PICK", "PACKAGE", "DELIVERED"}
    assert ("deliveryorder.confirm", "DELIVERED") in told
    assert all(len(moments) == 1 for moments in told.values())
    assert len(keys) > len(set(keys))  # the duplicate of one moment is the same message


# -- the OMS -----------------------------------------------------------------------------------

AUTHENTICATIONS: dict[str, dict[str, str]] = {
    "bearer": {"auth_kind": "bearer"},
    "api_key": {"auth_kind": "header", "auth_header": "X-Api-Key"},
    "basic": {"auth_kind": "basic"},
    "hmac": {
        "auth_kind": "signature", "sign_key_name": "appKey", "sign_nonce_name": "nonce",
        "sign_joint": "lines",
    },
}  # fmt: skip
PAGINGS: dict[str, dict[str, str]] = {
    "page": {},
    "offset": {"paging_kind": "offset", "page_name": "offset", "size_name": "limit"},
    "cursor": {
        "paging_kind": "cursor", "page_name": "cursor", "size_name": "limit", "total_path": "",
        "cursor_path": "data.nextCursor",
    },
    "next_link": {
        "paging_kind": "next", "page_name": "", "size_name": "limit", "total_path": "",
        "next_path": "data.next",
    },
}  # fmt: skip


def _oms(world: World, *, auth: str = "bearer", paging: str = "page", **more: str) -> OmsClient:
    world.oms.auth, world.oms.paging = auth, paging
    keys = world.keys.oms
    config = OMS_FORM | AUTHENTICATIONS[auth] | PAGINGS[paging] | more
    if auth == "basic":
        config |= {"auth_user": keys.user}
    if auth == "hmac":
        config |= {"sign_key": keys.app_key}
    secret = {
        "bearer": keys.token, "api_key": keys.api_key, "basic": keys.password, "hmac": keys.secret,
    }[auth]  # fmt: skip
    access = world.access(GENERIC_OMS)
    return OmsClient(
        Access(
            shop="", base_url=access.base_url, config=config, secrets={"auth_secret": secret},
            send=world.send, clock=world.now,
        )
    )  # fmt: skip


def _read_window(client: OmsClient, config: dict[str, str], start: datetime, end: datetime) -> Any:
    rules = GENERIC_OMS.list_streams(config)["modified"]
    found = {}
    if rules.paging.value == "backward":
        total = client.count_orders("modified", start, end)
        for page in range(-(-total // rules.page_size), 0, -1):
            listed = client.list_orders("modified", start, end, page=page, cursor="")
            found |= {row.order_no: row for row in listed.rows}
        return found
    cursor = ""
    while True:
        listed = client.list_orders("modified", start, end, page=1, cursor=cursor)
        found |= {row.order_no: row for row in listed.rows}
        if not listed.next_cursor:
            return found
        cursor = listed.next_cursor


@pytest.mark.parametrize("auth", AUTHENTICATIONS)
@pytest.mark.parametrize("paging", PAGINGS)
def test_every_authentication_and_every_kind_of_pages_is_only_a_form(
    world: World, auth: str, paging: str
) -> None:
    world.store.add(*(_stored(f"SO{n}", oms=NOON - timedelta(minutes=40 - n)) for n in range(7)))
    client = _oms(world, auth=auth, paging=paging)

    found = _read_window(client, OMS_FORM | PAGINGS[paging], NOON - timedelta(hours=1), NOON)

    assert set(found) == {f"SO{n}" for n in range(7)}
    assert GENERIC_OMS.map_order is not None
    receipt = GENERIC_OMS.map_order(found["SO3"].payload, shop="", stages=None).record
    assert receipt.received_at == NOON - timedelta(minutes=37)
    assert receipt.reviewed_at == NOON - timedelta(minutes=15)
    assert receipt.custom == {"oms_status": "已下发仓库"}
    assert "条" in str(client.check())


@pytest.mark.parametrize("paging", ["page", "offset"])
@pytest.mark.parametrize("is_counted", [True, False])
def test_orders_that_change_between_two_pages_take_nobody_along(
    world: World, paging: str, is_counted: bool
) -> None:
    world.store.add(*(_stored(f"SO{n}", oms=NOON - timedelta(minutes=40 - n)) for n in range(9)))
    more = {} if is_counted else {"total_path": ""}
    client = _oms(world, paging=paging, **more)
    world.pass_minutes(5)
    end = world.now() - timedelta(minutes=1)
    world.faults.switch("oms", "orders", "mutate_between_pages", times=1)

    found = _read_window(client, OMS_FORM | PAGINGS[paging] | more, NOON - timedelta(hours=1), end)
    later = _read_window(
        client, OMS_FORM | PAGINGS[paging] | more, end, world.now() + timedelta(minutes=1)
    )

    assert set(found) | set(later) == {f"SO{n}" for n in range(9)}


@pytest.mark.parametrize("paging", PAGINGS)
@pytest.mark.parametrize("kind", ["half_page", "repeated_page"])
def test_a_page_that_is_half_or_repeated_is_never_taken_for_the_whole(
    world: World, paging: str, kind: str
) -> None:
    world.store.add(*(_stored(f"SO{n}", oms=NOON - timedelta(minutes=40 - n)) for n in range(6)))
    client = _oms(world, paging=paging)
    config = OMS_FORM | PAGINGS[paging]
    start = NOON - timedelta(hours=1)
    page = 2 if paging in {"page", "offset"} else None
    if page is None and kind == "repeated_page":
        client.list_orders("modified", start, NOON, page=1, cursor="")
    world.faults.switch("oms", "orders", kind, page=page, times=1)

    problems: list[Retry] = []
    for _ in range(3):
        try:
            found = _read_window(client, config, start, NOON)
            break
        except ConnectorError as error:
            problems.append(error.retry)
    assert set(found) == {f"SO{n}" for n in range(6)}
    assert problems == [Retry.SAFE] or (kind == "repeated_page" and not problems)


def test_one_order_is_read_by_its_number(world: World) -> None:
    world.store.add(_stored())
    client = _oms(world)

    assert client.read_order("NOBODY") is None
    envelope = client.read_order("SO202611110001")
    assert envelope is not None
    assert GENERIC_OMS.map_order is not None
    assert GENERIC_OMS.map_order(envelope, shop="", stages=None).record.reviewed_at is not None


def test_the_oms_holds_what_it_has_not_sent_on_once(world: World) -> None:
    world.store.add(_stored(wms=NOON + timedelta(minutes=10)))
    client = _oms(world)
    world.faults.switch("oms", "orders.hold", "timeout_after_accept", times=1, seconds=0.2)

    with pytest.raises(ConnectorError) as caught:
        client.hold("SO202611110001", reason="健康分 42", key="hold:1")
    assert caught.value.retry is Retry.AMBIGUOUS
    client.hold("SO202611110001", reason="健康分 42", key="hold:1")

    life = world.store.get("SO202611110001")
    assert life is not None
    world.pass_minutes(300)
    assert life.wms is None
    client.release("SO202611110001", reason="已恢复", key="release:1")
    client.release("SO202611110001", reason="已恢复", key="release:1")
    world.pass_minutes(300)
    assert life.wms is not None


def test_what_the_oms_has_sent_on_it_cannot_hold(world: World) -> None:
    world.store.add(_stored())

    with pytest.raises(VendorRefusal) as caught:
        _oms(world).hold("SO202611110001", reason="x", key="k")

    assert (caught.value.vendor_code, caught.value.retry) == ("40901", Retry.NEVER)


def test_the_form_fills_itself_from_a_test_call(world: World) -> None:
    world.store.add(_stored())
    access = world.access(GENERIC_OMS)
    bare = {
        "auth_kind": "bearer", "list_path": "/api/orders", "start_name": "updated_from",
        "end_name": "updated_to",
    }  # fmt: skip
    client = OmsClient(
        Access(
            shop="", base_url=access.base_url, config=bare, secrets=access.secrets,
            send=world.send, clock=world.now,
        )
    )  # fmt: skip

    shown = client.test_call(world.now())

    assert shown.guesses is not None
    assert {k: shown.guesses.get(k) for k in ("rows_path", "order_no_path", "updated_path",
            "received_path", "reviewed_path", "total_path")} == {
        "rows_path": "data.rows", "order_no_path": "orderNo", "updated_path": "updateTime",
        "received_path": "recvTime", "reviewed_path": "auditTime", "total_path": "data.total",
    }  # fmt: skip
    assert (shown.rows, shown.trouble) == (1, None)
