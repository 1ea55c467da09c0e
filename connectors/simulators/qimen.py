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
from typing import Any
from urllib.parse import urlencode

from connectors.simulators.core import Answer, Bucket, Call, Clock, Faults, Feed, Outbox, Store
from connectors.simulators.journal import Told, tell_nobody
from connectors.simulators.keys import QimenKeys
from connectors.simulators.life import Life
from connectors.simulators.qimen_orders import (
    STEP_WORDS,
    read_body,
    read_order,
    read_order_code,
    read_page,
    wms_number,
    write_confirm,
    write_failure,
    write_head,
    write_process,
)
from connectors.simulators.qimen_xml import many, one, text, write_xml
from connectors.simulators.reading import beijing_text, parse_beijing
from connectors.simulators.wms import CHANNELS, Refused, Wms

PATH = "/router/qimen/service"
PREFIX = "taobao.qimen."
TOLERANCE = timedelta(minutes=10)
REPEAT_SECONDS = (60, 300, 600, 1800, 3600, 7200, 21_600, 43_200, 86_400)
_WRITES = frozenset({"deliveryorder.create", "order.pending", "order.cancel"})
_ORDER_STATUSES = frozenset({"ACCEPT", "REJECT", "PARTDELIVERED", "DELIVERED", "CANCELED"})


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
        report: frozenset[str] = frozenset(STEP_WORDS),
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
            content = self._do(method, read_body(call.body), self._clock.now())
            answer = {"flag": "success", "code": "0", "message": "ok"} | content
        except _GatewayRefusal as refusal:
            answer = write_failure(str(refusal.code), refusal.message)
        except Refused as refused:
            answer = write_failure(refused.code, refused.message)
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
        life = read_order(order, lines, now)
        if self.wms.accept(life, now):
            self._sources[life.order_no] = [
                (text(line, "sourceOrderCode"), text(line, "subSourceOrderCode")) for line in lines
            ]
        return {
            "createTime": beijing_text(now),
            "deliveryOrderId": wms_number(life.order_no),
            "warehouseCode": text(order, "warehouseCode"),
        }

    def _pend(self, request: dict[str, Any], now: datetime) -> dict[str, Any]:
        order_no, warehouse = read_order_code(request, "warehouseCode")
        action = text(request, "actionType")
        if action == "pending":
            is_new = self.wms.hold(order_no, warehouse, now)
            return {} if is_new else {"message": "单据已经挂起"}
        if action == "restore":
            is_new = self.wms.release(order_no, warehouse, now)
            return {} if is_new else {"message": "单据没有挂起"}
        raise Refused("S001", "actionType应为pending或restore")

    def _cancel(self, request: dict[str, Any], now: datetime) -> dict[str, Any]:
        order_no, warehouse = read_order_code(request, "warehouseCode")
        is_new = self.wms.cancel(order_no, warehouse, now)
        return {} if is_new else {"message": "单据已经取消"}

    def _query_process(self, request: dict[str, Any], now: datetime) -> dict[str, Any]:
        order_no, warehouse = read_order_code(request)
        life = self.wms.get(order_no, warehouse, now)
        steps = self.wms.steps(life, now)
        return {
            "orderProcess": {
                **write_head(life),
                "processes": {"process": [write_process(status, at) for status, at in steps]},
            }
        }

    def _query_order(self, request: dict[str, Any], now: datetime) -> dict[str, Any]:
        order_no, warehouse = read_order_code(request)
        page, size = read_page(request)
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
        page, size = read_page(request)
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
            process = {"order": write_head(life), "process": write_process(status, moment)}
            self.call_back("orderprocess.report", life.order_no, process)
        if status in ("DELIVERED", "PARTDELIVERED"):
            content = self._confirm(life, status, moment)
            self.call_back("deliveryorder.confirm", life.order_no, content)

    def _confirm(self, life: Life, status: str, at: datetime) -> dict[str, Any]:
        """A delivery order as it stands; its lines name the platform's order they came from."""
        content = write_confirm(life, status, at)
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
