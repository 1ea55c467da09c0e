"""Qimen as an adapter: the client that asks, hands over and holds, the door for reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from config.errors import BadInput, gettext_noop
from connectors.adapters import (
    PACE_FIELDS,
    Access,
    Answered,
    Connector,
    CredentialField,
    Outgoing,
    PushAnswer,
    PushItem,
    PushRequest,
    RateLimit,
    StockRow,
    VendorRefusal,
)
from connectors.http import ConnectorError, Retry
from connectors.orders.canonical import CanonicalOrder, CanonicalReceipt
from connectors.systems.calls import check_status, get_secret, get_setting, refuse_answer
from connectors.systems.wms import qimen
from connectors.systems.wms.orders import ORDER_TYPE, Sender, build_delivery_order
from connectors.wire import Fault, Mapped, PayloadError, Reader, SignatureRefused, Verified

PATH = "/router/qimen/service"
STOCK_CHUNK = 50  # SKUs per call
_CHECK_NUMBER = "HEDAO-CHECK"
CANNOT_HOLD = Fault(
    Retry.NEVER, gettext_noop("这个仓库不支持挂起（order.pending）：请联系仓库人工拦下，或用取消")
)
_CAN, _CANNOT = "可挂起", "不可挂起"

_APP_KEY = CredentialField(
    "app_key", gettext_noop("AppKey"), help=gettext_noop("奇门 → 应用管理里 ERP 应用的 AppKey")
)
_SECRET = CredentialField(
    "app_secret",
    gettext_noop("AppSecret"),
    is_secret=True,
    help=gettext_noop("同一页的 AppSecret；仓库的回调也用它签名"),
)
_CUSTOMER = CredentialField(
    "customer_id",
    gettext_noop("客户编码 customerId"),
    help=gettext_noop("WMS 方在奇门里给货主的编码，问仓库要"),
)
_OWNER = CredentialField("owner_code", gettext_noop("货主编码"), help=gettext_noop("问仓库要"))
_WAREHOUSES = CredentialField(
    "warehouses",
    gettext_noop("仓库"),
    is_long=True,
    placeholder=f"WH01 {_CAN}\nWH02 {_CANNOT}",
    help=gettext_noop(
        "每行一个：仓库编码，空格，“可挂起”或“不可挂起”（不写算可挂起）。第一行是下发订单用的仓库"
    ),
)
_LOGISTICS = CredentialField(
    "logistics_code",
    gettext_noop("默认快递公司编码"),
    is_required=False,
    placeholder="SF",
    help=gettext_noop("下发订单时必填的物流公司编码；不写用 OTHER，由仓库决定"),
)
_QUERY = CredentialField(
    "query_by",
    gettext_noop("查询仓库进度用"),
    is_required=False,
    choices=(
        ("orderprocess", gettext_noop("订单流水查询（orderprocess.query，有每一步的时间）")),
        ("deliveryorder", gettext_noop("发货单查询（deliveryorder.query，只有当前状态）")),
    ),
    help=gettext_noop("先用流水查询；仓库说没有这个接口再改"),
)
_SENDER = tuple(
    CredentialField(f"sender_{name}", label, is_required=False)
    for name, label in (
        ("name", gettext_noop("发件人")),
        ("mobile", gettext_noop("发件电话")),
        ("province", gettext_noop("发件省")),
        ("city", gettext_noop("发件市")),
        ("address", gettext_noop("发件详细地址")),
    )
)


def read_warehouses(text: str) -> dict[str, bool]:
    """Warehouse codes in their order, and whether orders can be held there.

    Raises BadInput naming the line and the remedy.
    """
    found: dict[str, bool] = {}
    for number, line in enumerate(text.splitlines(), 1):
        parts = line.replace("\u3000", " ").replace(",", " ").replace("，", " ").split()
        if not parts:
            continue
        word = parts[1] if len(parts) > 1 else _CAN
        if len(parts) > 2 or word not in {_CAN, _CANNOT}:
            raise BadInput(
                gettext_noop(
                    "仓库第 %(line)d 行看不懂：应为“编码 可挂起”或“编码 不可挂起”，中间一个空格"
                ),
                code="warehouses",
                line=number,
            )
        found[parts[0]] = word == _CAN
    if not found:
        raise BadInput(gettext_noop("请至少填写一个仓库编码"), code="warehouses")
    return found


class QimenClient:
    """Speaks to the warehouses of one owner through the Qimen gateway."""

    def __init__(self, access: Access) -> None:
        config = access.config
        self._access = access
        self._app_key = get_setting(config, _APP_KEY.name, _APP_KEY.label)
        self._secret = get_secret(access, _SECRET.name, _SECRET.label)
        self._customer = get_setting(config, _CUSTOMER.name, _CUSTOMER.label)
        self._owner = get_setting(config, _OWNER.name, _OWNER.label)
        warehouses = get_setting(config, _WAREHOUSES.name, _WAREHOUSES.label)
        try:
            self._warehouses = read_warehouses(warehouses)
        except BadInput as error:
            raise ConnectorError(error.message, code=error.code, **error.params) from error
        self._logistics = str(config.get(_LOGISTICS.name) or "").strip() or "OTHER"
        self._asks_state_only = config.get(_QUERY.name) == "deliveryorder"
        self._sender = Sender(*(str(config.get(field.name) or "").strip() for field in _SENDER))

    @property
    def warehouse(self) -> str:
        """Where orders are handed over to."""
        return next(iter(self._warehouses))

    def check(self) -> str:
        """Ask for an order nobody has: gateway, signature and warehouse are checked by it."""
        self.ask(_CHECK_NUMBER)
        return gettext_noop("奇门应答正常，仓库接通了")

    # -- asking --------------------------------------------------------------------------------

    def ask(self, order_no: str) -> Answered | None:
        """What the warehouse has done with an order; None when it has no such order."""
        method = "deliveryorder.query" if self._asks_state_only else "orderprocess.query"
        content = self._read(method, order_no)
        if content is None:
            return None
        mapped: Mapped[CanonicalReceipt] | None
        if self._asks_state_only:
            mapped = qimen.map_confirm(content, untold="")
        else:
            mapped = qimen.map_process_query(content)
        if mapped is None:
            return None
        if mapped.record.order_no != order_no:
            raise refuse_answer(PayloadError(gettext_noop("仓库答的不是所问的订单"), field="$"))
        return Answered(mapped, content)

    def read_stock(self, skus: Sequence[str]) -> Sequence[StockRow]:
        """Good stock of these SKUs in every warehouse of the connection."""
        rows: list[StockRow] = []
        for start in range(0, len(skus), STOCK_CHUNK):
            criteria = [
                {
                    "warehouseCode": warehouse,
                    "ownerCode": self._owner,
                    "itemCode": sku,
                    "inventoryType": "ZP",
                }
                for sku in skus[start : start + STOCK_CHUNK]
                for warehouse in self._warehouses
            ]
            body = {"criteriaList": {"criteria": criteria}}
            content = self._call("inventory.query", body)
            for item in qimen.read_list(Reader(content), "items", "item"):
                if item.identifier("inventoryType", limit=20).upper() not in {"", "ZP"}:
                    continue
                rows.append(
                    StockRow(
                        sku=item.required_identifier("itemCode", limit=80),
                        warehouse=item.identifier("warehouseCode", limit=50),
                        available=item.integer("quantity") or 0,
                        locked=item.integer("lockQuantity") or 0,
                    )
                )
        return rows

    # -- orders --------------------------------------------------------------------------------

    def create(self, order: CanonicalOrder, *, key: str) -> str:
        """Hand an order over; returns the warehouse's own number, "" when it tells none.

        The order number makes a repetition the same order: a warehouse that refuses it because
        it has it already has taken the first one.
        """
        body = build_delivery_order(
            order,
            warehouse=self.warehouse,
            owner=self._owner,
            logistics=self._logistics,
            sender=self._sender,
            now=self._access.clock(),
        )
        try:
            content = self._call("deliveryorder.create", body, order.order_no, key=key)
        except VendorRefusal as refusal:
            if refusal.retry is not Retry.NEVER:
                raise
            known = self._read("deliveryorder.query", order.order_no)
            found = Reader(known or {}).one("deliveryOrder")
            if found.identifier("deliveryOrderCode") != order.order_no:
                raise
            return found.identifier("deliveryOrderId")
        return Reader(content).identifier("deliveryOrderId")

    def hold(self, order_no: str, *, reason: str, key: str) -> None:
        """order.pending: stop an order before it is picked."""
        self._pend(order_no, reason=reason, key=key, restore=False)

    def release(self, order_no: str, *, reason: str, key: str) -> None:
        """order.pending with `restore`: let a stopped order go on."""
        self._pend(order_no, reason=reason, key=key, restore=True)

    def cancel(self, order_no: str, *, reason: str, key: str) -> None:
        """order.cancel: take an order back, as long as it is not picked."""
        body = {
            "warehouseCode": self._find_warehouse(order_no),
            "ownerCode": self._owner,
            "orderCode": order_no,
            "orderType": ORDER_TYPE,
            "cancelReason": reason,
        }
        self._call("order.cancel", body, order_no, key=key)

    def _pend(self, order_no: str, *, reason: str, key: str, restore: bool) -> None:
        warehouse = self._find_warehouse(order_no)
        if not self._warehouses.get(warehouse, True):
            raise VendorRefusal(CANNOT_HOLD, vendor_code="no_order_pending")
        body = qimen.write_hold(
            order_no=order_no,
            warehouse=warehouse,
            owner=self._owner,
            reason=reason,
            restore=restore,
        )
        self._send("order.pending", body, order_no, key=key)

    def _find_warehouse(self, order_no: str) -> str:
        """Where an order lies; with several warehouses they are asked."""
        if len(self._warehouses) == 1:
            return self.warehouse
        found = self.ask(order_no)
        told = found.mapped.record.custom.get("wms_warehouse") if found else None
        return str(told or self.warehouse)

    # -- calls ---------------------------------------------------------------------------------

    def _read(self, method: str, order_no: str) -> Mapping[str, object] | None:
        """The answer to a question about one order; None when the warehouse has no such order."""
        fields: dict[str, object] = {
            "orderType": ORDER_TYPE,
            "orderCode": order_no,
            "ownerCode": self._owner,
            "warehouseCode": self.warehouse if len(self._warehouses) == 1 else None,
        }
        if method == "deliveryorder.query":  # its lines come in pages; the head is in each
            fields |= {"page": 1, "pageSize": 100}
        content, fault = self._exchange(method, qimen.write_request(fields), (order_no,))
        if fault is not None and qimen.is_no_order(content):
            return None
        return self._judge(content, fault)

    def _call(
        self, method: str, fields: Mapping[str, object], order_no: str = "", *, key: str = ""
    ) -> Mapping[str, object]:
        return self._send(method, qimen.write_request(fields), order_no, key=key)

    def _send(
        self, method: str, body: bytes, order_no: str = "", *, key: str = ""
    ) -> Mapping[str, object]:
        numbers = (order_no,) if order_no else ()
        content, fault = self._exchange(method, body, numbers, key=key)
        return self._judge(content, fault)

    def _judge(self, content: Mapping[str, object], fault: Fault | None) -> Mapping[str, object]:
        if fault is not None:
            code = Reader(content).identifier("code", limit=60)
            raise VendorRefusal(fault, vendor_code=code or "failure")
        return content

    def _exchange(
        self, method: str, body: bytes, order_nos: tuple[str, ...], *, key: str = ""
    ) -> tuple[Mapping[str, object], Fault | None]:
        params = qimen.build_params(
            app_key=self._app_key,
            secret=self._secret,
            customer_id=self._customer,
            method=method,
            body=body,
            now=self._access.clock(),
        )
        response = self._access.send(
            Outgoing(
                operation=method,
                method="POST",
                url=f"{self._access.base_url}{PATH}?{urlencode(params)}",
                headers={"Content-Type": "text/xml; charset=utf-8"},
                body=body,
                order_nos=order_nos,
                is_effect=bool(key),
                key=key,
            )
        )
        check_status(response)
        try:
            return qimen.read_answer(response.body)
        except PayloadError as error:
            raise refuse_answer(error) from error


# -- reports -----------------------------------------------------------------------------------

_MAPS = {
    "orderprocess.report": qimen.map_process_report,
    "deliveryorder.confirm": qimen.map_confirm,
    "orderexception.report": qimen.map_exception,
}
# Reports warehouses send to everybody and that say nothing of an order: answered, not kept.
_OTHERS = frozenset(
    {
        "inventory.report", "stockchange.report", "returnorder.confirm", "entryorder.confirm",
        "stockout.confirm", "storeprocess.confirm", "itemlack.report", "snreport",
    }
)  # fmt: skip


def _read_number(topic: str, content: Mapping[str, object]) -> str:
    """The order a report is about, for the message's row; the map says what is wrong with it."""
    try:
        return _MAPS[topic](content).record.order_no
    except PayloadError:
        return ""


class QimenDoor:
    """Callbacks of a warehouse: parameters in the URL, signed with the raw body."""

    def verify(
        self,
        request: PushRequest,
        *,
        config: Mapping[str, Any],
        secrets: Mapping[str, str],
        now: datetime,
    ) -> Verified:
        """Check the signature over the URL's parameters and the raw body."""
        params = dict(request.query)
        secret = str(secrets.get(_SECRET.name) or "").strip()
        if not secret:
            raise SignatureRefused(
                gettext_noop("连接还没有填写 AppSecret"), code="signature_missing"
            )
        verified = qimen.verify_callback(
            params,
            request.body,
            app_key=str(config.get(_APP_KEY.name) or ""),
            secrets=[secret],
            now=now,
        )
        customer = str(config.get(_CUSTOMER.name) or "")
        if params.get("customerId", customer) != customer:
            raise SignatureRefused(gettext_noop("奇门回调不是发给这个客户编码的"))
        return verified

    def read(
        self, request: PushRequest, verified: Verified, *, secrets: Mapping[str, str]
    ) -> Sequence[PushItem]:
        """The one report a callback carries.

        One that is signed and cannot be mapped is taken all the same: it is put aside when it is
        worked off, where a person sees it. The warehouse could only send it again.
        """
        content = qimen.read_xml(request.body)
        topic = dict(request.query).get("method", "").removeprefix(qimen.PREFIX)[:100]
        kind = "record" if topic in _MAPS else "probe" if topic in _OTHERS else "unknown"
        order_no = _read_number(topic, content) if kind == "record" else ""
        return [
            PushItem(
                kind=kind,
                replay_key=verified.replay_keys[0],
                topic=topic,
                order_no=order_no,
                payload=content,
            )
        ]

    def map(self, item: PushItem, *, shop: str, stages: Mapping[str, str] | None) -> Answered:
        """The receipt a report tells."""
        return Answered(_MAPS[item.topic](item.payload), item.payload)

    def answer(self, outcome: str) -> PushAnswer:
        """Flags decide, not the status: whatever is not a success is sent again."""
        if outcome in {"stored", "repeated"}:
            return PushAnswer(200, "text/xml; charset=utf-8", qimen.SUCCESS_ANSWER)
        code = "sign-check-failure" if outcome == "refused" else "invalid-body"
        body = (
            f"<response><flag>failure</flag><code>{code}</code><message>{code}</message></response>"
        )
        return PushAnswer(200, "text/xml; charset=utf-8", qimen.DECLARATION + body.encode())


QIMEN = Connector(
    code="qimen",
    label=gettext_noop("奇门 WMS"),
    kind="wms",
    base_url="https://qimen.api.taobao.com",
    fields=(
        _APP_KEY,
        _SECRET,
        _CUSTOMER,
        _OWNER,
        _WAREHOUSES,
        _LOGISTICS,
        _QUERY,
        *_SENDER,
        *PACE_FIELDS,
    ),
    open=QimenClient,
    push=QimenDoor(),
    limit=RateLimit(per_second=10.0, burst=20),
    help=gettext_noop(
        "仓库经奇门接入：查进度，必要时挂起、恢复、取消；下发照旧由 OMS 做。把下方的回调地址登记为奇门的 ERP 接收地址"
    ),
)
