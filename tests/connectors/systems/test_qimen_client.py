"""Qimen: what is asked, handed over and stopped, and how reports are heard (channels.md 10.1)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from xml.etree.ElementTree import Element, fromstring

import pytest

from config.errors import BadInput
from connectors.adapters import (
    Asker,
    DeliveryOrders,
    Outgoing,
    PushItem,
    PushRequest,
    StockReader,
    VendorRefusal,
)
from connectors.http import ConnectorError, Response, Retry
from connectors.orders.canonical import CanonicalLine, CanonicalOrder, CanonicalPayment
from connectors.systems.wms.orders import Sender, build_delivery_order, write_yuan
from connectors.systems.wms.qimen_adapter import QIMEN, QimenClient, QimenDoor, read_warehouses
from connectors.wire import SHANGHAI, PayloadError, SignatureRefused
from tests.connectors.systems.fakes import Wire, answer, make_access

NOW = datetime(2025, 11, 11, 0, 15, tzinfo=SHANGHAI)
SECRET = "qimen-demo-secret"
CONFIG = {
    "app_key": "10000001",
    "customer_id": "CUST0001",
    "owner_code": "OWNER1",
    "warehouses": "WH01 可挂起",
    "logistics_code": "SF",
}
ORDER = "SO202511110001"
OK = b"<response><flag>success</flag><code>0</code><message>ok</message>%s</response>"


def _failure(code: str, message: str = "") -> bytes:
    return (
        f"<response><flag>failure</flag><code>{code}</code><message>{message}</message></response>"
    ).encode()


def _sign(params: Mapping[str, str], body: bytes) -> str:
    text = "".join(f"{k}{params[k]}" for k in sorted(params) if k != "sign")
    joined = SECRET.encode() + text.encode() + body + SECRET.encode()
    return hashlib.md5(joined, usedforsecurity=False).hexdigest().upper()


def _client(reply: Callable[[str, Element], bytes], **config: str) -> tuple[QimenClient, Wire]:
    """A client whose gateway checks signature and time as Qimen does."""

    def read(call: Outgoing) -> Response:
        parts = urlsplit(call.url)
        params = dict(parse_qsl(parts.query))
        assert parts.path == "/router/qimen/service"
        assert params["sign"] == _sign(params, call.body or b"")
        assert params["timestamp"] == "2025-11-11 00:15:00"
        assert (params["app_key"], params["customerId"]) == ("10000001", "CUST0001")
        assert params["method"] == f"taobao.qimen.{call.operation}"
        return answer(reply(call.operation, fromstring((call.body or b"").decode())))  # noqa: S314

    wire = Wire(read)
    access = make_access(wire, now=NOW, config=CONFIG | config, secrets={"app_secret": SECRET})
    return QimenClient(access), wire


def _process(*steps: tuple[str, str], order: str = ORDER, warehouse: str = "WH01") -> bytes:
    inside = "".join(
        f"<process><processStatus>{state}</processStatus><operateTime>{at}</operateTime></process>"
        for state, at in steps
    )
    return (
        OK
        % (
            f"<orderProcess><processes>{inside}</processes><orderCode>{order}</orderCode>"
            f"<warehouseCode>{warehouse}</warehouseCode></orderProcess>"
        ).encode()
    )


def _order(**changes: Any) -> CanonicalOrder:
    values: dict[str, Any] = {
        "order_no": ORDER,
        "channel": "private_mall",
        "shop": "河道羊绒小程序",
        "placed_at": NOW - timedelta(minutes=10),
        "paid_at": NOW - timedelta(minutes=9),
        "promised_ship_at": NOW + timedelta(hours=48),
        "goods_fen": 25000,
        "freight_fen": 1000,
        "payable_fen": 19900,
        "paid_fen": 19900,
        "receiver_name": "王小明",
        "receiver_phone": "13800000000",
        "province": "浙江省",
        "city": "杭州市",
        "district": "余杭区",
        "address_detail": "文一西路 969 号",
        "lines": (
            CanonicalLine(
                "1", sku="SCARF-CAMEL", title="围巾 <驼色>", quantity=2, amount_fen=18900
            ),
            CanonicalLine("2", sku="GIFT-BAG", quantity=1, is_gift=True),
        ),
        "payments": (
            CanonicalPayment(ORDER, "alipay:1", custom={"transaction_id": "2025111122001"}),
        ),
    }
    return CanonicalOrder(**(values | changes))


# -- asking ------------------------------------------------------------------------------------


def test_all_steps_of_an_order_are_one_receipt_with_the_newest_state() -> None:
    client, wire = _client(
        lambda *_: _process(
            ("PICK", "2025-11-11 00:10:00"),
            ("ACCEPT", "2025-11-11 00:05:00"),
            ("CHECK", "2025-11-11 00:10:00"),
            ("ACCEPT", "2025-11-11 00:06:00"),
            ("WEIGH", ""),
        )
    )

    found = client.ask(ORDER)

    assert isinstance(client, Asker)
    assert found is not None
    receipt = found.mapped.record
    assert receipt.received_at == datetime(2025, 11, 11, 0, 5, tzinfo=SHANGHAI)
    assert receipt.picked_at == datetime(2025, 11, 11, 0, 10, tzinfo=SHANGHAI)
    assert receipt.shipped_at is None
    assert receipt.custom == {"wms_state": "CHECK", "wms_warehouse": "WH01"}
    assert receipt.source_updated_at == datetime(2025, 11, 11, 0, 10, tzinfo=SHANGHAI)
    (call,) = wire.calls
    assert (call.operation, call.order_nos, call.is_effect) == (
        "orderprocess.query",
        (ORDER,),
        False,
    )
    assert fromstring((call.body or b"").decode()).findtext("orderCode") == ORDER  # noqa: S314


def test_one_step_is_a_list_of_one_and_a_strange_one_is_noticed() -> None:
    found = _client(lambda *_: _process(("TELEPORTED", "2025-11-11 00:10:00")))[0].ask(ORDER)

    assert found is not None
    assert [n.value for n in found.mapped.notices] == ["TELEPORTED"]
    assert found.mapped.record.received_at is None


@pytest.mark.parametrize(
    "body",
    [
        _process(),
        OK % b"",
        _failure("ORDER_NOT_EXIST", "x"),
        _failure("S003", "订单SO202511110001不存在"),
        _failure("1", "The order does not exist"),
    ],
)
def test_an_order_the_warehouse_does_not_know_is_none(body: bytes) -> None:
    assert _client(lambda *_: body)[0].ask(ORDER) is None


@pytest.mark.parametrize(
    ("code", "message", "retry"),
    [
        ("7", "App Call Limited", Retry.LATER),
        ("10", "Service Currently Unavailable", Retry.SAFE),
        ("15", "Remote service error: 订单不存在", Retry.AMBIGUOUS),
        ("25", "Invalid Signature", Retry.NEVER),
        ("S001", "仓库编码 WH09 不存在", Retry.NEVER),
    ],
)
def test_a_failure_says_what_may_be_done(code: str, message: str, retry: Retry) -> None:
    with pytest.raises(VendorRefusal) as caught:
        _client(lambda *_: _failure(code, message))[0].ask(ORDER)

    assert (caught.value.retry, caught.value.vendor_code) == (retry, code)


@pytest.mark.parametrize(
    "body",
    [b"<html><body>502</body>", b"", b"{}", _process(("ACCEPT", "2025-11-11 00:10:00"), order="X")],
)
def test_an_answer_that_is_none_is_not_believed(body: bytes) -> None:
    with pytest.raises(ConnectorError) as caught:
        _client(lambda *_: body)[0].ask(ORDER)

    assert (caught.value.code, caught.value.retry) == ("bad_answer", Retry.AMBIGUOUS)


def test_a_warehouse_without_the_list_of_steps_is_asked_for_the_delivery_order() -> None:
    body = (
        OK
        % (
            f"<deliveryOrder><deliveryOrderCode>{ORDER}</deliveryOrderCode><status>DELIVERED</status>"
            "<orderConfirmTime>2025-11-11 00:10:00</orderConfirmTime></deliveryOrder>"
        ).encode()
    )
    client, wire = _client(lambda *_: body, query_by="deliveryorder")

    found = client.ask(ORDER)

    assert wire.calls[0].operation == "deliveryorder.query"
    assert found is not None
    assert found.mapped.record.shipped_at is not None


def test_a_delivery_order_without_a_state_has_not_left() -> None:
    body = (
        OK
        % (
            f"<deliveryOrder><deliveryOrderCode>{ORDER}</deliveryOrderCode>"
            "<operateTime>2025-11-11 00:10:00</operateTime></deliveryOrder>"
        ).encode()
    )

    found = _client(lambda *_: body, query_by="deliveryorder")[0].ask(ORDER)

    assert found is not None
    assert (found.mapped.record.shipped_at, found.mapped.notices) == (None, ())


def test_checking_asks_for_an_order_nobody_has() -> None:
    assert "奇门" in _client(lambda *_: _failure("ORDER_NOT_EXIST"))[0].check()
    with pytest.raises(VendorRefusal):
        _client(lambda *_: _failure("25"))[0].check()


def test_stock_is_read_in_chunks_and_what_is_not_good_stock_is_left_out() -> None:
    def reply(_: str, request: Element) -> bytes:
        asked = [c.findtext("itemCode") for c in request.iter("criteria")]
        items = "".join(
            f"<item><warehouseCode>WH01</warehouseCode><itemCode>{sku}</itemCode>"
            "<inventoryType>ZP</inventoryType><quantity>7</quantity><lockQuantity>2</lockQuantity></item>"
            for sku in asked
            if sku != "NOBODY"
        )
        damaged = "<item><itemCode>S0</itemCode><inventoryType>CC</inventoryType><quantity>9</quantity></item>"
        return OK % f"<items>{items}{damaged}</items>".encode()

    client, wire = _client(reply)
    rows = client.read_stock([f"S{n}" for n in range(60)] + ["NOBODY"])

    assert isinstance(client, StockReader)
    assert len(wire.calls) == 2
    assert len(rows) == 60
    assert {(r.available, r.locked, r.warehouse) for r in rows} == {(7, 2, "WH01")}


# -- handing over ------------------------------------------------------------------------------


def test_an_order_is_handed_over_with_all_a_warehouse_needs() -> None:
    client, wire = _client(lambda *_: OK % b"<deliveryOrderId>W1</deliveryOrderId>")

    assert isinstance(client, DeliveryOrders)
    assert client.create(_order(), key="create:1") == "W1"

    (call,) = wire.calls
    assert (call.is_effect, call.key, call.order_nos) == (True, "create:1", (ORDER,))
    sent = fromstring((call.body or b"").decode())  # noqa: S314
    head = sent.find("deliveryOrder")
    assert head is not None
    told = {child.tag: child.text for child in head if len(child) == 0}
    assert told == {
        "deliveryOrderCode": ORDER,
        "orderType": "JYCK",
        "warehouseCode": "WH01",
        "sourcePlatformCode": "OTHER",
        "createTime": "2025-11-11 00:15:00",
        "placeOrderTime": "2025-11-11 00:05:00",
        "payTime": "2025-11-11 00:06:00",
        "payNo": "2025111122001",
        "operateTime": "2025-11-11 00:15:00",
        "shopNick": "河道羊绒小程序",
        "totalAmount": "199.00",
        "itemAmount": "250.00",
        "discountAmount": "61.00",
        "freight": "10.00",
        "arAmount": "0.00",
        "gotAmount": "199.00",
        "logisticsCode": "SF",
        "latestDeliveryTime": "2025-11-13 00:15:00",
    }
    assert head.findtext("receiverInfo/detailAddress") == "文一西路 969 号"
    lines = [{c.tag: c.text for c in line} for line in sent.iter("orderLine")]
    assert [(x["itemCode"], x["planQty"], x["actualPrice"]) for x in lines] == [
        ("SCARF-CAMEL", "2", "94.50"),
        ("GIFT-BAG", "1", "0.00"),
    ]
    assert lines[0]["itemName"] == "围巾 <驼色>"
    assert {x["ownerCode"] for x in lines} == {"OWNER1"}


@pytest.mark.parametrize(
    ("changes", "flags", "ar", "got"),
    [
        ({"is_cod": True}, "COD", "199.00", "0.00"),
        ({"presale_phase": "balance_paid"}, "PRESELL", "0.00", "199.00"),
        ({"is_cod": True, "presale_phase": "balance_paid"}, "COD^PRESELL", "199.00", "0.00"),
    ],
)
def test_the_amounts_add_up_and_flags_are_told(
    changes: dict[str, Any], flags: str, ar: str, got: str
) -> None:
    body = build_delivery_order(
        _order(**changes), warehouse="W", owner="O", logistics="SF", sender=Sender(), now=NOW
    )
    head: Any = body["deliveryOrder"]

    assert (head["orderFlag"], head["arAmount"], head["gotAmount"]) == (flags, ar, got)
    assert float(head["totalAmount"]) == pytest.approx(
        float(head["itemAmount"]) - float(head["discountAmount"]) + float(head["freight"])
    )


def test_a_hidden_receiver_of_tmall_goes_by_its_number_and_elsewhere_it_is_missing() -> None:
    hidden = {"receiver_name": "王**", "receiver_phone": "138****0000"}
    body = build_delivery_order(
        _order(channel="tmall", **hidden),
        warehouse="W", owner="O", logistics="SF", sender=Sender("仓", city="杭州市"), now=NOW,
    )  # fmt: skip
    head: Any = body["deliveryOrder"]
    assert (head["oaidOrderSourceCode"], head["sourcePlatformCode"]) == (ORDER, "TM")
    assert head["senderInfo"]["city"] == "杭州市"

    with pytest.raises(ConnectorError) as caught:
        _client(lambda *_: OK % b"")[0].create(_order(**hidden), key="k")
    assert "未打码" in caught.value.text


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"receiver_name": ""}, "收件人"),
        ({"province": None, "city": ""}, "省、市"),
        ({"lines": ()}, "商品行"),
        ({"lines": (CanonicalLine("1", quantity=1, price_fen=1),)}, "SKU"),
        ({"lines": (CanonicalLine("1", sku="S", quantity=1),)}, "单价"),
        ({"payable_fen": None, "paid_fen": None}, "应付金额"),
        ({"placed_at": None}, "下单时间"),
    ],
)
def test_an_order_a_warehouse_cannot_ship_is_not_sent(changes: dict[str, Any], words: str) -> None:
    client, wire = _client(lambda *_: OK % b"")

    with pytest.raises(ConnectorError) as caught:
        client.create(_order(**changes), key="k")

    assert (caught.value.code, caught.value.retry) == ("order_incomplete", Retry.NEVER)
    assert words in caught.value.text
    assert wire.calls == []


def test_an_order_the_warehouse_has_already_is_the_one_that_was_handed_over() -> None:
    def reply(method: str, _: Element) -> bytes:
        if method == "deliveryorder.create":
            return _failure("S100", "订单已存在")
        return (
            OK
            % (
                f"<deliveryOrder><deliveryOrderCode>{ORDER}</deliveryOrderCode>"
                "<deliveryOrderId>W1</deliveryOrderId></deliveryOrder>"
            ).encode()
        )

    client, wire = _client(reply)

    assert client.create(_order(), key="create:1") == "W1"
    assert [c.operation for c in wire.calls] == ["deliveryorder.create", "deliveryorder.query"]


def test_an_order_the_warehouse_refuses_and_does_not_have_is_refused() -> None:
    def reply(method: str, _: Element) -> bytes:
        if method == "deliveryorder.create":
            return _failure("S101", "商品不存在")
        return _failure("ORDER_NOT_EXIST")

    with pytest.raises(VendorRefusal) as caught:
        _client(reply)[0].create(_order(), key="k")

    assert caught.value.vendor_code == "S101"


def test_fen_become_yuan_with_two_decimals() -> None:
    assert [write_yuan(n) for n in (0, 5, 100, -1, 123456)] == [
        "0.00", "0.05", "1.00", "-0.01", "1234.56",
    ]  # fmt: skip


# -- stopping ----------------------------------------------------------------------------------


def test_holding_releasing_and_cancelling_are_effects_with_a_key() -> None:
    client, wire = _client(lambda *_: OK % b"")

    client.hold(ORDER, reason="健康分 42", key="hold:1")
    client.release(ORDER, reason="已恢复", key="release:1")
    client.cancel(ORDER, reason="买家退款", key="cancel:1")

    assert [(c.operation, c.is_effect, c.key) for c in wire.calls] == [
        ("order.pending", True, "hold:1"),
        ("order.pending", True, "release:1"),
        ("order.cancel", True, "cancel:1"),
    ]
    bodies = [fromstring((c.body or b"").decode()) for c in wire.calls]  # noqa: S314
    assert [b.findtext("actionType") for b in bodies] == ["pending", "restore", None]
    assert {b.findtext("warehouseCode") for b in bodies} == {"WH01"}
    assert bodies[2].findtext("cancelReason") == "买家退款"


def test_a_warehouse_that_cannot_hold_is_not_asked_to() -> None:
    client, wire = _client(lambda *_: OK % b"", warehouses="WH01 不可挂起")

    with pytest.raises(VendorRefusal) as caught:
        client.hold(ORDER, reason="", key="k")

    assert "不支持挂起" in caught.value.text
    assert wire.calls == []


def test_of_several_warehouses_the_one_that_has_the_order_is_asked() -> None:
    def reply(method: str, request: Element) -> bytes:
        if method == "orderprocess.query":
            return _process(("ACCEPT", "2025-11-11 00:05:00"), warehouse="WH02")
        assert request.findtext("warehouseCode") == "WH02"
        return OK % b""

    client, wire = _client(reply, warehouses="WH01 不可挂起\nWH02 可挂起")
    client.hold(ORDER, reason="", key="k")

    assert [c.operation for c in wire.calls] == ["orderprocess.query", "order.pending"]


def test_a_refusal_after_picking_is_passed_on() -> None:
    with pytest.raises(VendorRefusal) as caught:
        _client(lambda *_: _failure("ORDER_PICKED", "已拣货"))[0].hold(ORDER, reason="", key="k")

    assert (caught.value.vendor_code, caught.value.retry) == ("ORDER_PICKED", Retry.NEVER)


def test_warehouses_are_read_line_by_line() -> None:
    assert read_warehouses("WH01 可挂起\n\n WH02，不可挂起 \nWH03") == {
        "WH01": True,
        "WH02": False,
        "WH03": True,
    }
    for text, words in (("WH01 maybe", "第 1 行"), ("", "至少"), ("A\nB 可挂起 x", "第 2 行")):
        with pytest.raises(BadInput) as caught:
            read_warehouses(text)
        assert words in caught.value.text


@pytest.mark.parametrize("missing", ["app_key", "customer_id", "owner_code", "warehouses"])
def test_what_is_not_filled_in_is_named(missing: str) -> None:
    label = next(f.label for f in QIMEN.fields if f.name == missing)

    with pytest.raises(ConnectorError) as caught:
        _client(lambda *_: b"", **{missing: " "})

    assert label in caught.value.text


# -- reports -----------------------------------------------------------------------------------


def _report(method: str, body: bytes, **changes: str) -> PushRequest:
    params = {
        "method": method,
        "app_key": "10000001",
        "customerId": "CUST0001",
        "format": "xml",
        "sign_method": "md5",
        "timestamp": "2025-11-11 00:15:00",
        "v": "2.0",
    } | changes
    params["sign"] = _sign(params, body)
    return PushRequest("POST", {}, tuple(params.items()), body)


PICKED = (
    f"<request><order><orderCode>{ORDER}</orderCode><warehouseCode>WH01</warehouseCode></order>"
    "<process><processStatus>PICK</processStatus><operateTime>2025-11-11 00:10:00</operateTime>"
    "</process></request>"
).encode()
LEFT = (
    f"<request><deliveryOrder><deliveryOrderCode>{ORDER}</deliveryOrderCode><status>DELIVERED</status>"
    "<orderConfirmTime>2025-11-11 00:12:00</orderConfirmTime></deliveryOrder></request>"
).encode()
WRONG = (
    f"<request><deliveryOrderCode>{ORDER}</deliveryOrderCode><messageType>ITEM_LACK</messageType>"
    "<messageDesc>王小明的围巾没有了</messageDesc></request>"
).encode()
SECRETS = {"app_secret": SECRET}


@pytest.mark.parametrize(
    ("method", "body", "told"),
    [
        ("orderprocess.report", PICKED, {"wms_state": "PICK", "wms_warehouse": "WH01"}),
        (
            "taobao.qimen.orderprocess.report",
            PICKED,
            {"wms_state": "PICK", "wms_warehouse": "WH01"},
        ),
        ("deliveryorder.confirm", LEFT, {"wms_state": "DELIVERED"}),
        ("orderexception.report", WRONG, {"wms_exception": "ITEM_LACK"}),
    ],
)
def test_a_report_is_verified_and_becomes_a_receipt(
    method: str, body: bytes, told: dict[str, str]
) -> None:
    door, request = QimenDoor(), _report(method, body)

    verified = door.verify(request, config=CONFIG, secrets=SECRETS, now=NOW)
    (item,) = door.read(request, verified, secrets=SECRETS)

    assert (item.kind, item.order_no) == ("record", ORDER)
    assert item.topic == method.removeprefix("taobao.qimen.")
    record = door.map(item, shop="", stages=None).mapped.record
    assert (record.order_no, record.custom) == (ORDER, told)


def test_reports_that_say_nothing_of_an_order_are_answered_and_strange_ones_kept() -> None:
    door = QimenDoor()
    for method, kind in (("inventory.report", "probe"), ("something.new", "unknown")):
        request = _report(method, b"<request/>")
        verified = door.verify(request, config=CONFIG, secrets=SECRETS, now=NOW)
        assert [i.kind for i in door.read(request, verified, secrets=SECRETS)] == [kind]


def test_a_report_that_cannot_be_mapped_is_taken_and_says_why_when_it_is_worked_off() -> None:
    door = QimenDoor()
    request = _report("orderprocess.report", b"<request><order/></request>")
    verified = door.verify(request, config=CONFIG, secrets=SECRETS, now=NOW)

    (item,) = door.read(request, verified, secrets=SECRETS)

    assert (item.kind, item.order_no) == ("record", "")
    with pytest.raises(PayloadError, match="order"):
        door.map(item, shop="", stages=None)
    with pytest.raises(PayloadError):
        door.map(PushItem("record", "k", "deliveryorder.confirm"), shop="", stages=None)


@pytest.mark.parametrize(
    "request_",
    [
        PushRequest("POST", {}, _report("orderprocess.report", PICKED).query, PICKED + b" "),
        _report("orderprocess.report", PICKED, app_key="2"),
        _report("orderprocess.report", PICKED, customerId="CUST0002"),
        _report("orderprocess.report", PICKED, timestamp="2025-11-11 00:30:00"),
        PushRequest("POST", {}, (), PICKED),
    ],
)
def test_a_report_that_is_not_theirs_or_not_from_now_is_refused(request_: PushRequest) -> None:
    with pytest.raises(SignatureRefused):
        QimenDoor().verify(request_, config=CONFIG, secrets=SECRETS, now=NOW)
    with pytest.raises(SignatureRefused):
        QimenDoor().verify(_report("x", PICKED), config=CONFIG, secrets={}, now=NOW)


def test_the_warehouse_hears_success_only_for_what_is_here() -> None:
    door = QimenDoor()
    flags = [
        fromstring(door.answer(o).body.decode()).findtext("flag")  # noqa: S314
        for o in ("stored", "repeated", "refused", "unreadable")
    ]

    assert flags == ["success", "success", "failure", "failure"]
    assert door.answer("stored").content_type.startswith("text/xml")
