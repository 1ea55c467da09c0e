"""A warehouse behind the Qimen gateway: calls from an ERP, callbacks to it, MD5 over both.

Wire code of its own, after channels.md 10.1 and the gateway's published parameter lists. What the
gateway itself refuses has TOP's numbers (3.3), what the warehouse refuses has codes of its own
(S001 and so on): Qimen leaves those to the warehouse. The repeat schedule is from memory.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import urlencode

from connectors.simulators.core import Answer, Bucket, Call, Clock, Faults, Feed, Outbox, Store
from connectors.simulators.journal import Told, tell_nobody
from connectors.simulators.keys import QimenKeys
from connectors.simulators.life import Life, LifeLine
from connectors.simulators.payments import number_of, write_yuan
from connectors.simulators.qimen_xml import many, one, read_xml, text, write_xml
from connectors.simulators.reading import beijing_text, parse_beijing
from connectors.simulators.wms import CHANNELS, OWN_CHANNEL, Refused, Wms, warehouse_of

PATH = "/router/qimen/service"
PREFIX = "taobao.qimen."
TOLERANCE = timedelta(minutes=10)
REPEAT_SECONDS = (60, 300, 600, 1800, 3600, 7200, 21_600, 43_200, 86_400)
ORDER_TYPES = frozenset({"JYCK", "HHCK", "BFCK", "QTCK"})
MAX_PAGE_SIZE = 100
_WRITES = frozenset({"deliveryorder.create", "order.pending", "order.cancel"})
_OWNER = "OWNER1"
_OPERATORS = {"operatorCode": "U7", "operatorName": "仓库员"}
_WORDS = {
    "ACCEPT": "仓库接单",
    "REJECT": "仓库拒单",
    "PRINT": "打印",
    "PICK": "拣货",
    "PACKAGE": "打包",
    "PARTDELIVERED": "部分发货",
    "DELIVERED": "已发货",
    "CANCELED": "取消",
}
_ORDER_STATUSES = frozenset({"ACCEPT", "REJECT", "PARTDELIVERED", "DELIVERED", "CANCELED"})
_REQUIRED_OF_ORDER = (
    "deliveryOrderCode",
    "orderType",
    "warehouseCode",
    "createTime",
    "placeOrderTime",
    "operateTime",
    "shopNick",
)
_REQUIRED_OF_LINE = ("ownerCode", "itemCode", "planQty", "actualPrice")


class _GatewayRefusal(Exception):
    """The gateway does not pass a call on."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


def sign_md5(params: Mapping[str, str], body: bytes, secret: str) -> str:
    """Upper MD5 over secret, sorted names and values without `sign`, raw body, secret."""
    joined = "".join(f"{name}{params[name]}" for name in sorted(params) if name != "sign")
    content = (secret + joined).encode() + body + secret.encode()
    return hashlib.md5(content, usedforsecurity=False).hexdigest().upper()


class QimenApp:
    """The gateway and the warehouse behind it; `callback_url` gets the reports, "" keeps them back.

    `report` names the steps that are reported one by one (all unless told otherwise).
    """

    name = "qimen"

    def __init__(
        self,
        store: Store,
        clock: Clock,
        faults: Faults,
        outbox: Outbox,
        keys: QimenKeys,
        *,
        wms: Wms | None = None,
        callback_url: str = "",
        callback_since: datetime | None = None,
        report: frozenset[str] = frozenset(_WORDS),
        bucket: Bucket | None = None,
    ) -> None:
        self._store, self._clock, self._faults, self._outbox = store, clock, faults, outbox
        self.keys, self.callback_url, self.report = keys, callback_url, report
        self.wms = wms or Wms(store)
        self._bucket = bucket or Bucket(50, 100)
        self._lock = threading.Lock()
        self.on_done: Told = tell_nobody
        # Of orders taken in by a call: what each line belongs to on its platform.
        self._sources: dict[str, list[tuple[str, str]]] = {}
        self._feeds = [
            Feed(store, channel, self.wms.moments, since=callback_since) for channel in CHANNELS
        ]
        self._methods: dict[str, Callable[[dict[str, Any], datetime], dict[str, Any]]] = {
            "deliveryorder.create": self._create,
            "deliveryorder.query": self._query_order,
            "order.pending": self._pend,
            "order.cancel": self._cancel,
            "orderprocess.query": self._query_process,
            "inventory.query": self._query_inventory,
            "stock.query": self._query_stock,
        }

    def operation(self, call: Call) -> tuple[str, None]:
        """The method without its prefix."""
        return dict(call.query).get("method", "").removeprefix(PREFIX), None

    # -- the gateway ---------------------------------------------------------------------------

    def answer(self, call: Call) -> Answer:
        """Answer one call; failures too come with HTTP 200."""
        if call.path != PATH:
            return Answer(404, {"Content-Type": "text/html"}, b"404 Not Found")
        params = dict(call.query)
        try:
            method = self._check(params, call)
            content = self._do(method, _read_body(call.body), self._clock.now())
            answer = {"flag": "success", "code": "0", "message": "ok"} | content
        except _GatewayRefusal as refusal:
            answer = _failure(str(refusal.code), refusal.message)
        except Refused as refused:
            answer = _failure(refused.code, refused.message)
        return Answer(
            200, {"Content-Type": "text/xml;charset=utf-8"}, write_xml("response", answer)
        )

    def _do(self, method: str, request: dict[str, Any], now: datetime) -> dict[str, Any]:
        """Pass a request on to the warehouse; what was changed there is told, in its sequence."""
        if method not in _WRITES:
            return self._methods[method](request, now)
        with self._lock:
            content = self._methods[method](request, now)
            self.on_done(method, request, now)
            return content

    def redo(self, what: str, content: Mapping[str, Any], at: datetime) -> None:
        """Do again what the warehouse did before a restart, where the order is still there."""
        with suppress(Refused):
            self._methods[what](dict(content), at)

    def _check(self, params: Mapping[str, str], call: Call) -> str:
        """The gateway's own checks, in its order; gives the method."""
        method = params.get("method", "")
        if not method:
            raise _GatewayRefusal(21, "Missing Method")
        name = method.removeprefix(PREFIX)
        if not method.startswith(PREFIX) or name not in self._methods or call.method != "POST":
            raise _GatewayRefusal(22, "Invalid Method")
        if params.get("app_key") != self.keys.app_key:
            raise _GatewayRefusal(29, "Invalid App Key")
        if params.get("v") != "2.0":
            raise _GatewayRefusal(33, "Invalid Version")
        if params.get("format", "xml") != "xml":
            raise _GatewayRefusal(23, "Invalid Format")
        if params.get("customerId") != self.keys.customer_id:
            raise _GatewayRefusal(41, "Invalid Arguments: customerId")
        signed_at = parse_beijing(params.get("timestamp", ""))
        if signed_at is None or abs(signed_at - call.at) > TOLERANCE:
            raise _GatewayRefusal(31, "Invalid Timestamp")
        if not params.get("sign"):
            raise _GatewayRefusal(24, "Missing Signature")
        is_md5 = params.get("sign_method") == "md5"
        if not is_md5 or sign_md5(params, call.body, self.keys.secret) != params["sign"]:
            raise _GatewayRefusal(25, "Invalid Signature")
        refusal = self._faults.take_refusal(self.name, name)
        if refusal == "service_error":
            raise _GatewayRefusal(15, "Remote service error")
        if refusal or self._bucket.take(self._clock.now()):
            raise _GatewayRefusal(7, "App Call Limited")
        return name

    # -- what an ERP asks for ------------------------------------------------------------------

    def _create(self, request: dict[str, Any], now: datetime) -> dict[str, Any]:
        """Take a delivery order in; the same code again gets the same answer and no second one."""
        order, lines = one(request, "deliveryOrder"), many(request, "orderLines", "orderLine")
        life = _read_order(order, lines, now)
        if self.wms.accept(life, now):
            self._sources[life.order_no] = [
                (text(line, "sourceOrderCode"), text(line, "subSourceOrderCode")) for line in lines
            ]
        return {
            "createTime": beijing_text(now),
            "deliveryOrderId": _wms_number(life.order_no),
            "warehouseCode": text(order, "warehouseCode"),
        }

    def _pend(self, request: dict[str, Any], now: datetime) -> dict[str, Any]:
        order_no, warehouse = _read_order_code(request, "warehouseCode")
        action = text(request, "actionType")
        if action == "pending":
            is_new = self.wms.hold(order_no, warehouse, now)
            return {} if is_new else {"message": "单据已经挂起"}
        if action == "restore":
            is_new = self.wms.release(order_no, warehouse, now)
            return {} if is_new else {"message": "单据没有挂起"}
        raise Refused("S001", "actionType应为pending或restore")

    def _cancel(self, request: dict[str, Any], now: datetime) -> dict[str, Any]:
        order_no, warehouse = _read_order_code(request, "warehouseCode")
        is_new = self.wms.cancel(order_no, warehouse, now)
        return {} if is_new else {"message": "单据已经取消"}

    def _query_process(self, request: dict[str, Any], now: datetime) -> dict[str, Any]:
        order_no, warehouse = _read_order_code(request)
        life = self.wms.get(order_no, warehouse, now)
        steps = self.wms.steps(life, now)
        return {
            "orderProcess": {
                **_head(life),
                "processes": {"process": [_process(status, at) for status, at in steps]},
            }
        }

    def _query_order(self, request: dict[str, Any], now: datetime) -> dict[str, Any]:
        order_no, warehouse = _read_order_code(request)
        page, size = _read_page(request)
        life = self.wms.get(order_no, warehouse, now)
        steps = [step for step in self.wms.steps(life, now) if step[0] in _ORDER_STATUSES]
        status, at = steps[-1]
        content = self._confirm(life, status, at)
        lines = content["orderLines"]["orderLine"]
        content["orderLines"] = {"orderLine": lines[(page - 1) * size : page * size]}
        return {"totalLines": len(lines), **content}

    def _query_inventory(self, request: dict[str, Any], now: datetime) -> dict[str, Any]:
        criteria = many(request, "criteriaList", "criteria")
        if not criteria or not all(text(criterion, "itemCode") for criterion in criteria):
            raise Refused("S001", "itemCode不能为空")
        items = []
        for criterion in criteria:
            items += self._find_stock(criterion, now)
        return {"items": {"item": items}}

    def _query_stock(self, request: dict[str, Any], now: datetime) -> dict[str, Any]:
        if not text(request, "itemCode"):
            raise Refused("S001", "itemCode不能为空")
        page, size = _read_page(request)
        items = self._find_stock(request, now)
        return {"totalCount": len(items), "items": {"item": items[(page - 1) * size : page * size]}}

    def _find_stock(self, criterion: Mapping[str, Any], now: datetime) -> list[dict[str, Any]]:
        if text(criterion, "inventoryType") not in ("", "ZP"):
            return []
        found = self.wms.stock([text(criterion, "itemCode")], text(criterion, "warehouseCode"), now)
        return [
            {
                "warehouseCode": stock.warehouse,
                "itemCode": stock.sku,
                "itemId": "I" + stock.sku,
                "itemName": stock.title,
                "inventoryType": "ZP",
                "quantity": stock.quantity,
                "lockQuantity": stock.locked,
            }
            for stock in found
        ]

    # -- callbacks -----------------------------------------------------------------------------

    def tick(self, now: datetime) -> None:
        """Hand the reports that became due to the outbox."""
        for feed in self._feeds:
            for moment, status, life in feed.due(now):
                if self.callback_url:
                    self._report(life, status, moment)

    def _report(self, life: Life, status: str, moment: datetime) -> None:
        if status in self.report:
            process = {"order": _head(life), "process": _process(status, moment)}
            self.call_back("orderprocess.report", life.order_no, process)
        if status in ("DELIVERED", "PARTDELIVERED"):
            content = self._confirm(life, status, moment)
            self.call_back("deliveryorder.confirm", life.order_no, content)

    def _confirm(self, life: Life, status: str, at: datetime) -> dict[str, Any]:
        """A delivery order as it stands; its lines name the platform's order they came from."""
        content = _confirm(life, status, at)
        lines = content["orderLines"]["orderLine"]
        told = self._sources.get(life.order_no, ())
        for line, (source, sub_source) in zip(
            lines, told, strict=False
        ):  # a known life has its own
            line["orderSourceCode"] = source or line["orderSourceCode"]
            line["subSourceCode"] = sub_source or None
        return content

    def call_back(self, method: str, order_no: str, content: Mapping[str, Any]) -> None:
        """Send one callback, repeated until the flag of the answer is success. The time is signed
        anew at each sending; the content stays."""
        body = write_xml("request", content)

        def url(at: datetime) -> str:
            params = {
                "method": method,
                "timestamp": beijing_text(at),
                "format": "xml",
                "app_key": self.keys.app_key,
                "v": "2.0",
                "sign_method": "md5",
                "customerId": self.keys.customer_id,
            }
            params["sign"] = sign_md5(params, body, self.keys.secret)
            mark = "&" if "?" in self.callback_url else "?"
            return self.callback_url + mark + urlencode(params)

        self._outbox.send(
            app=self.name,
            operation=method,
            url=url,
            headers={"Content-Type": "text/xml;charset=utf-8"},
            body=body,
            order_no=order_no,
            ok=lambda status, answer: status == 200 and b"<flag>success</flag>" in answer,
            schedule=REPEAT_SECONDS,
        )


# -- reading -----------------------------------------------------------------------------------


def _read_body(body: bytes) -> dict[str, Any]:
    try:
        return read_xml(body)
    except ValueError as error:
        raise Refused("S001", f"报文不是可读的XML: {error}") from error


def _read_order_code(request: Mapping[str, Any], *required: str) -> tuple[str, str]:
    for name in ("orderCode", *required):
        if not text(request, name):
            raise Refused("S001", f"{name}不能为空")
    return text(request, "orderCode"), text(request, "warehouseCode")


def _read_page(request: Mapping[str, Any]) -> tuple[int, int]:
    page, size = text(request, "page"), text(request, "pageSize")
    if not page.isdigit() or not size.isdigit() or int(page) < 1:
        raise Refused("S001", "page和pageSize不能为空")
    if not 1 <= int(size) <= MAX_PAGE_SIZE:
        raise Refused("S001", f"pageSize最多{MAX_PAGE_SIZE}")
    return int(page), int(size)


def _read_order(order: Mapping[str, Any], lines: list[dict[str, Any]], now: datetime) -> Life:
    """The life of an order that only the warehouse knows; raises Refused for what is not legal."""
    for name in _REQUIRED_OF_ORDER:
        if not text(order, name):
            raise Refused("S001", f"deliveryOrder.{name}不能为空")
    for name in ("createTime", "placeOrderTime", "operateTime"):
        if parse_beijing(text(order, name)) is None:
            raise Refused("S001", f"deliveryOrder.{name}格式应为yyyy-MM-dd HH:mm:ss")
    if text(order, "orderType") not in ORDER_TYPES:
        raise Refused("S001", "deliveryOrder.orderType不支持")
    if not lines:
        raise Refused("S001", "orderLines不能为空")
    _check_amounts(order)
    receiver = one(order, "receiverInfo")
    return Life(
        order_no=text(order, "deliveryOrderCode"),
        channel=OWN_CHANNEL,
        shop=text(order, "shopNick"),
        placed=parse_beijing(text(order, "placeOrderTime")) or now,
        lines=[_read_line(line, text(order, "warehouseCode")) for line in lines],
        paid=parse_beijing(text(order, "payTime")),
        locked=now,
        receiver=text(receiver, "name"),
        phone=text(receiver, "mobile"),
        province=text(receiver, "province"),
        city=text(receiver, "city"),
        district=text(receiver, "area"),
        town=text(receiver, "town"),
        detail=text(receiver, "detailAddress"),
    )


def _read_line(line: Mapping[str, Any], warehouse: str) -> LifeLine:
    for name in _REQUIRED_OF_LINE:
        if not text(line, name):
            raise Refused("S001", f"orderLine.{name}不能为空")
    quantity = text(line, "planQty")
    if not quantity.isdigit() or int(quantity) < 1:
        raise Refused("S001", "orderLine.planQty应为正整数")
    price = _read_yuan(line, "actualPrice")
    title = text(line, "itemName") or text(line, "itemCode")
    fen = int(price * 100)
    return LifeLine(
        text(line, "itemCode"), title, int(quantity), fen, warehouse=warehouse, is_gift=fen == 0
    )


def _check_amounts(order: Mapping[str, Any]) -> None:
    """totalAmount = arAmount + gotAmount = itemAmount - discountAmount + freight, where given."""
    given = {
        name: _read_yuan(order, name)
        for name in (
            "totalAmount",
            "arAmount",
            "gotAmount",
            "itemAmount",
            "discountAmount",
            "freight",
        )  # fmt: skip
        if text(order, name)
    }
    total = given.get("totalAmount")
    if total is None:
        return
    if {"arAmount", "gotAmount"} <= given.keys() and total != given["arAmount"] + given[
        "gotAmount"
    ]:
        raise Refused("S001", "totalAmount应等于arAmount加gotAmount")
    if "itemAmount" in given:
        none = Decimal(0)
        due = given["itemAmount"] - given.get("discountAmount", none) + given.get("freight", none)
        if total != due:
            raise Refused("S001", "totalAmount应等于itemAmount减discountAmount加freight")


def _read_yuan(content: Mapping[str, Any], name: str) -> Decimal:
    try:
        return Decimal(text(content, name))
    except InvalidOperation:
        raise Refused("S001", f"{name}应为金额") from None


# -- writing -----------------------------------------------------------------------------------


def _failure(code: str, message: str) -> dict[str, Any]:
    return {"flag": "failure", "code": code, "message": message}


def _wms_number(order_no: str) -> str:
    return "WMS" + number_of("wms" + order_no, 12)


def _head(life: Life) -> dict[str, Any]:
    return {
        "orderCode": life.order_no,
        "orderId": _wms_number(life.order_no),
        "orderType": "JYCK",
        "warehouseCode": warehouse_of(life),
    }


def _process(status: str, at: datetime) -> dict[str, Any]:
    return {
        "processStatus": status,
        **_OPERATORS,
        "operateTime": beijing_text(at),
        "operateInfo": _WORDS[status],
        "remark": "",
    }


def _confirm(life: Life, status: str, at: datetime) -> dict[str, Any]:
    """A delivery order with its packages and lines, as it stands at `at`."""
    is_whole, is_out = status == "DELIVERED", status in ("DELIVERED", "PARTDELIVERED")
    sent = [parcel for parcel in life.shipments if is_whole or (is_out and parcel.at <= at)]
    gone = {index for parcel in sent for index in parcel.lines or range(len(life.lines))}
    if is_whole:
        gone = set(range(len(life.lines)))
    return {
        "deliveryOrder": {
            "deliveryOrderCode": life.order_no,
            "deliveryOrderId": _wms_number(life.order_no),
            "warehouseCode": warehouse_of(life),
            "orderType": "JYCK",
            "status": status,
            "outBizCode": number_of(f"{status}{life.order_no}{at.timestamp()}", 20),
            "confirmType": "1" if status == "PARTDELIVERED" else "0",
            "orderConfirmTime": beijing_text(at) if is_out else None,
            **_OPERATORS,
            "operateTime": beijing_text(at),
        },
        "packages": {
            "package": [
                {
                    "logisticsCode": parcel.company,
                    "expressCode": parcel.tracking_no,
                    "items": {
                        "item": [
                            {
                                "itemCode": life.lines[index].sku,
                                "quantity": life.lines[index].quantity,
                            }
                            for index in parcel.lines or range(len(life.lines))
                        ]
                    },
                }
                for parcel in sent
            ]
        },
        "orderLines": {
            "orderLine": [
                {
                    "orderLineNo": index + 1,
                    "orderSourceCode": life.order_no,
                    "itemCode": line.sku,
                    "itemName": line.title,
                    "inventoryType": "ZP",
                    "ownerCode": _OWNER,
                    "actualPrice": write_yuan(line.price_fen),
                    "planQty": line.quantity,
                    "actualQty": line.quantity if index in gone else 0,
                }
                for index, line in enumerate(life.lines)
            ]
        },
    }
