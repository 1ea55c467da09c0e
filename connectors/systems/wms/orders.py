"""A canonical order as Qimen's deliveryorder.create wants it. Pure.

Source: channels.md 10.1 (fields and the sum of amounts), Qimen's own list of flags and platforms.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal

from config.errors import Phrase, gettext_noop, join_phrases
from connectors.http import ConnectorError, Retry
from connectors.orders.canonical import CanonicalLine, CanonicalOrder
from connectors.wire import SHANGHAI

ORDER_TYPE = "JYCK"  # an ordinary sale leaving the warehouse
# Platforms Qimen's documentation lists; any other is OTHER.
_PLATFORMS: Mapping[str, str] = {"tmall": "TM", "jd": "JD"}
_CENT = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class Sender:
    """Where parcels come from; empty texts are left out."""

    name: str = ""
    mobile: str = ""
    province: str = ""
    city: str = ""
    address: str = ""

    @property
    def is_told(self) -> bool:
        return any((self.name, self.mobile, self.province, self.city, self.address))


def build_delivery_order(
    order: CanonicalOrder,
    *,
    warehouse: str,
    owner: str,
    logistics: str,
    sender: Sender,
    now: datetime,
) -> dict[str, object]:
    """The fields of the request in the documented order.

    Raises ConnectorError (`order_incomplete`) naming everything a warehouse cannot do without.
    """
    _check(order)
    delivery: dict[str, object] = {
        "deliveryOrderCode": order.order_no,
        "orderType": ORDER_TYPE,
        "warehouseCode": warehouse,
        "orderFlag": "^".join(_list_flags(order)) or None,
        "sourcePlatformCode": _PLATFORMS.get(order.channel, "OTHER"),
        "createTime": write_time(now),
        "placeOrderTime": write_time(order.placed_at),
        "payTime": write_time(order.paid_at),
        "payNo": _find_payment_number(order),
        "operateTime": write_time(now),
        "shopNick": order.shop,
        **_list_amounts(order),
        "logisticsCode": logistics,
        "oaidOrderSourceCode": order.order_no if is_masked(order) else None,
        "senderInfo": _write_sender(sender) if sender.is_told else None,
        "receiverInfo": {
            "name": order.receiver_name,
            "zipCode": order.postcode or None,
            "mobile": order.receiver_phone,
            "province": order.province,
            "city": order.city,
            "area": order.district or None,
            "town": order.town or None,
            "detailAddress": order.address_detail,
        },
        "latestDeliveryTime": write_time(order.promised_ship_at),
        "buyerMessage": order.remark or None,
    }
    return {
        "deliveryOrder": delivery,
        "orderLines": {
            "orderLine": [
                {
                    "orderLineNo": str(number),
                    "sourceOrderCode": order.order_no,
                    "subSourceOrderCode": line.line_id,
                    "ownerCode": owner,
                    "itemCode": line.sku,
                    "itemName": line.title or None,
                    "inventoryType": "ZP",
                    "planQty": str(line.quantity),
                    "actualPrice": _write_price(line),
                }
                for number, line in enumerate(order.lines, 1)
            ]
        },
    }


def is_masked(order: CanonicalOrder) -> bool:
    """Whether the platform hides the receiver: the warehouse then prints by the OAID."""
    return order.channel == "tmall" and any(
        "*" in text for text in (order.receiver_name, order.receiver_phone, order.address_detail)
    )


def _check(order: CanonicalOrder) -> None:
    missing = []
    for told, label in (
        (order.placed_at, gettext_noop("下单时间")),
        (order.shop, gettext_noop("店铺")),
        (order.receiver_name, gettext_noop("收件人")),
        (order.receiver_phone, gettext_noop("收件电话")),
        (order.province, gettext_noop("省")),
        (order.city, gettext_noop("市")),
        (order.address_detail, gettext_noop("详细地址")),
        (order.lines, gettext_noop("商品行")),
        (_find_total(order) is not None, gettext_noop("应付金额")),
        (all(line.sku for line in order.lines), gettext_noop("每行商品的 SKU 编码")),
        (all(line.quantity > 0 for line in order.lines), gettext_noop("每行商品的件数")),
        (
            all(_find_price(line) is not None for line in order.lines),
            gettext_noop("每行商品的单价"),
        ),
    ):
        if not told:
            missing.append(Phrase(label))
    if not is_masked(order) and "*" in f"{order.receiver_name}{order.receiver_phone}":
        missing.append(Phrase(gettext_noop("未打码的收件人和电话")))
    if missing:
        raise ConnectorError(
            gettext_noop("订单 %(order_no)s 还不能下发到仓库，缺少：%(missing)s"),
            code="order_incomplete",
            retry=Retry.NEVER,
            order_no=order.order_no,
            missing=join_phrases(missing),
        )


def _list_flags(order: CanonicalOrder) -> list[str]:
    flags = []
    if order.is_cod:
        flags.append("COD")
    if order.presale_phase:
        flags.append("PRESELL")
    if order.parent_no:
        flags.append("SPLIT")
    return flags


def _find_total(order: CanonicalOrder) -> int | None:
    return order.payable_fen if order.payable_fen is not None else order.paid_fen


def _list_amounts(order: CanonicalOrder) -> dict[str, str]:
    """totalAmount = arAmount + gotAmount = itemAmount - discountAmount + freight."""
    total, freight = _find_total(order) or 0, order.freight_fen or 0
    goods = order.goods_fen
    if goods is None:
        goods = sum((_find_price(line) or 0) * line.quantity for line in order.lines)
    due = total if order.is_cod else 0
    return {
        "totalAmount": write_yuan(total),
        "itemAmount": write_yuan(goods),
        "discountAmount": write_yuan(goods + freight - total),
        "freight": write_yuan(freight),
        "arAmount": write_yuan(due),
        "gotAmount": write_yuan(total - due),
    }


def _find_price(line: CanonicalLine) -> int | None:
    """The price of one piece in fen, as it is sold."""
    if line.is_gift and line.price_fen is None and line.amount_fen is None:
        return 0
    if line.amount_fen is not None and line.quantity > 0:
        exact = Decimal(line.amount_fen) / line.quantity
        return int(exact.quantize(Decimal(1), rounding=ROUND_HALF_UP))
    return line.price_fen


def _write_price(line: CanonicalLine) -> str:
    return write_yuan(_find_price(line) or 0)


def _find_payment_number(order: CanonicalOrder) -> str | None:
    for payment in order.payments:
        number = str(payment.custom.get("transaction_id") or payment.payment_id)
        if number:
            return number
    return None


def _write_sender(sender: Sender) -> dict[str, object]:
    return {
        "name": sender.name or None,
        "mobile": sender.mobile or None,
        "province": sender.province or None,
        "city": sender.city or None,
        "detailAddress": sender.address or None,
    }


def write_time(moment: datetime | None) -> str | None:
    """Qimen's way to write a moment: Beijing time, without zone."""
    return moment.astimezone(SHANGHAI).strftime("%Y-%m-%d %H:%M:%S") if moment else None


def write_yuan(fen: int) -> str:
    """Fen as yuan with two decimals."""
    return str((Decimal(fen) / 100).quantize(_CENT))
