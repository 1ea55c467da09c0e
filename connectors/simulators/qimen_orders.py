"""What a warehouse behind Qimen reads out of a request, and writes of an order."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from connectors.simulators.life import Life, LifeLine
from connectors.simulators.payments import number_of, write_yuan
from connectors.simulators.qimen_xml import one, read_xml, text
from connectors.simulators.reading import beijing_text, parse_beijing
from connectors.simulators.wms import OWN_CHANNEL, Refused, warehouse_of

ORDER_TYPES = frozenset({"JYCK", "HHCK", "BFCK", "QTCK"})
MAX_PAGE_SIZE = 100
_OWNER = "OWNER1"
_OPERATORS = {"operatorCode": "U7", "operatorName": "仓库员"}
STEP_WORDS = {
    "ACCEPT": "仓库接单",
    "REJECT": "仓库拒单",
    "PRINT": "打印",
    "PICK": "拣货",
    "PACKAGE": "打包",
    "PARTDELIVERED": "部分发货",
    "DELIVERED": "已发货",
    "CANCELED": "取消",
}
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

# -- reading -----------------------------------------------------------------------------------


def read_body(body: bytes) -> dict[str, Any]:
    """The request as nested mappings; raises Refused."""
    try:
        return read_xml(body)
    except ValueError as error:
        raise Refused("S001", f"报文不是可读的XML: {error}") from error


def read_order_code(request: Mapping[str, Any], *required: str) -> tuple[str, str]:
    """Order code and warehouse of a call about one order; raises Refused."""
    for name in ("orderCode", *required):
        if not text(request, name):
            raise Refused("S001", f"{name}不能为空")
    return text(request, "orderCode"), text(request, "warehouseCode")


def read_page(request: Mapping[str, Any]) -> tuple[int, int]:
    """Page and size, both required; raises Refused."""
    page, size = text(request, "page"), text(request, "pageSize")
    if not page.isdigit() or not size.isdigit() or int(page) < 1:
        raise Refused("S001", "page和pageSize不能为空")
    if not 1 <= int(size) <= MAX_PAGE_SIZE:
        raise Refused("S001", f"pageSize最多{MAX_PAGE_SIZE}")
    return int(page), int(size)


def read_order(order: Mapping[str, Any], lines: list[dict[str, Any]], now: datetime) -> Life:
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


def write_failure(code: str, message: str) -> dict[str, Any]:
    """An answer that says no."""
    return {"flag": "failure", "code": code, "message": message}


def wms_number(order_no: str) -> str:
    """The warehouse's own number of an order."""
    return "WMS" + number_of("wms" + order_no, 12)


def write_head(life: Life) -> dict[str, Any]:
    """What every answer and report tells of its order."""
    return {
        "orderCode": life.order_no,
        "orderId": wms_number(life.order_no),
        "orderType": "JYCK",
        "warehouseCode": warehouse_of(life),
    }


def write_process(status: str, at: datetime) -> dict[str, Any]:
    """One step of the process."""
    return {
        "processStatus": status,
        **_OPERATORS,
        "operateTime": beijing_text(at),
        "operateInfo": STEP_WORDS[status],
        "remark": "",
    }


def write_confirm(life: Life, status: str, at: datetime) -> dict[str, Any]:
    """A delivery order with its packages and lines, as it stands at `at`."""
    is_whole, is_out = status == "DELIVERED", status in ("DELIVERED", "PARTDELIVERED")
    sent = [parcel for parcel in life.shipments if is_whole or (is_out and parcel.at <= at)]
    gone = {index for parcel in sent for index in parcel.lines or range(len(life.lines))}
    if is_whole:
        gone = set(range(len(life.lines)))
    return {
        "deliveryOrder": {
            "deliveryOrderCode": life.order_no,
            "deliveryOrderId": wms_number(life.order_no),
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
