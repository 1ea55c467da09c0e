"""The lines and parcels of an order as Douyin tells them."""

from __future__ import annotations

import zlib
from datetime import datetime
from typing import Any

from connectors.simulators.life import Life, LifeLine, LifeShipment, has_come
from connectors.simulators.reading import paid_moment, shares, shown_lines


def trade_type(life: Life) -> int:
    """1 拼团, 2 定金预售, 5 0元单, 0 普通."""
    if life.group:
        return 1
    if life.presale:
        return 2
    return 5 if life.payable_fen == 0 else 0


def seconds(moment: datetime | None, now: datetime) -> int:
    """Unix seconds; 0 for what has not come."""
    return int(moment.timestamp()) if moment is not None and moment <= now else 0


def line_id(life: Life, index: int) -> str:
    """One line shares its parent's id."""
    number = life.order_no
    if index == 0:
        return number
    return str(int(number) + index) if number.isdigit() else f"{number}-{index}"


class Lines:
    """The lines and parcels of an order at one moment; `status` and `main` are the order's."""

    def __init__(
        self, life: Life, now: datetime, *, status: int, main: int, promise: int, updated: int
    ) -> None:
        self.life, self.now, self.status, self.main = life, now, status, main
        self.promise, self.updated = promise, updated
        self.pay_moment, self.shares = paid_moment(life), shares(life)

    def render(self) -> list[dict[str, Any]]:
        """`sku_order_list`."""
        return [self._line(i, line) for i, line in shown_lines(self.life, self.now)]

    def render_parcels(self) -> list[dict[str, Any]]:
        """`logistics_info`."""
        return [self._parcel(parcel) for parcel in self._parcels()]

    def _line(self, index: int, line: LifeLine) -> dict[str, Any]:
        life, now = self.life, self.now
        share, whole = self.shares[index], line.price_fen * line.quantity
        off = whole - share
        all_off = life.shop_discount_fen + life.platform_discount_fen + life.coupon_fen
        platform = off * life.platform_discount_fen // all_off if all_off else 0
        status, main = self._line_status(index, line)
        return {
            "order_id": line_id(self.life, index),
            "parent_order_id": life.order_no,
            "order_level": 3,
            "order_status": status,
            "main_status": main,
            "trade_type": 102 if life.presale and line.is_gift else trade_type(life),
            "pre_sale_type": 0,
            "product_id": _product(line),
            "product_id_str": str(_product(line)),
            "product_name": line.title,
            "sku_id": _product(line) + 1,
            "code": line.sku,
            "out_sku_id": line.sku,
            "out_product_id": line.sku,
            "item_num": line.quantity,
            "origin_amount": line.price_fen,
            "sum_amount": whole,
            "order_amount": whole,
            "pay_amount": share,
            "post_amount": 0,
            "modify_amount": 0,
            "promotion_amount": off,
            "promotion_shop_amount": off - platform,
            "promotion_platform_amount": platform,
            "promotion_talent_amount": 0,
            "promotion_pay_amount": 0,
            "create_time": int(life.placed.timestamp()),
            "pay_time": seconds(self.pay_moment, now),
            "update_time": self.updated,
            "exp_ship_time": self.promise,
            "ship_time": next((seconds(p.at, now) for p in self._parcels_of(index)), 0)
            or seconds(life.shipped, now),
            "finish_time": seconds(life.completed, now),
            "logistics_receipt_time": seconds(life.delivered, now),
            "confirm_receipt_time": seconds(life.completed, now),
            "appointment_ship_time": 0,
            "reduce_stock_type": 1,
            "inventory_list": [
                {
                    "warehouse_id": str(_product(line))[:13],
                    "out_warehouse_id": line.warehouse,
                    "inventory_type": 1,
                    "inventory_type_desc": "普通库存",
                    "count": line.quantity,
                    "warehouse_type": 0,
                }
            ]
            if has_come(life.locked, now)
            else [],
            "sku_yun_warehouse_info": [],
            **self._gift(index, line),
            "campaign_info": self._campaigns(),
            "after_sale_info": self._after_sale(line),
            "promise_info": "",
            "first_cid": 20005,
            "second_cid": 20174,
            "third_cid": 20175,
            "fourth_cid": 0,
        }

    def _line_status(self, index: int, line: LifeLine) -> tuple[int, int]:
        if has_come(line.refunded, self.now):
            return 4, 22 if has_come(self.life.shipped, self.now) else 21
        if self.status == 101:
            return (3, 3) if self._parcels_of(index) else (2, 2)
        return self.status, self.main

    def _gift(self, index: int, line: LifeLine) -> dict[str, Any]:
        """A main line whose promised gift was forgotten is a MASTER without a FREE line."""
        life = self.life
        promised = sum(promotion.gift_quantity for promotion in life.promotions)
        is_master = any(g.gift_of == index for _, g in shown_lines(life, self.now)) or (
            index == 0 and promised > 0
        )
        kind = "FREE" if line.is_gift else "MASTER" if is_master else ""
        masters = [line_id(self.life, line.gift_of or 0)] if line.is_gift else []
        return {
            "given_product_type": kind,
            "master_sku_order_id_list": masters,
            "given_product_activity_info": {
                "given_product_activity_type": "NORMAL" if kind else "",
                "given_product_activity_value": str(promised or line.quantity) if kind else "",
            },
        }

    def _campaigns(self) -> list[dict[str, Any]]:
        if self.life.group:
            return [{"campaign_id": "9", "campaign_type": 120}]
        if self.life.presale:
            return [{"campaign_id": "3214324342342", "campaign_type": kind} for kind in (10, 11)]
        return []

    def _after_sale(self, line: LifeLine) -> dict[str, int]:
        life, now = self.life, self.now
        is_sent = has_come(life.shipped, now)
        kind = 1 if is_sent else 2
        if has_come(line.refunded, now) or self.main in (21, 22, 39):
            return {"after_sale_status": 12, "after_sale_type": kind, "refund_status": 3}
        if has_come(life.refund_requested, now):
            return {"after_sale_status": 6, "after_sale_type": kind, "refund_status": 1}
        return {"after_sale_status": 0, "after_sale_type": 0, "refund_status": 0}

    def _parcels(self) -> list[LifeShipment]:
        return [parcel for parcel in self.life.shipments if parcel.at <= self.now]

    def _parcels_of(self, index: int) -> list[LifeShipment]:
        return [p for p in self._parcels() if not p.lines or index in p.lines]

    def _parcel(self, parcel: LifeShipment) -> dict[str, Any]:
        shown = shown_lines(self.life, self.now)
        return {
            "tracking_no": parcel.tracking_no,
            "company": parcel.company,
            "company_name": parcel.company,
            "ship_time": int(parcel.at.timestamp()),
            "delivery_id": f"{parcel.company}_{parcel.tracking_no}",
            "product_info": [
                {
                    "product_name": line.title,
                    "price": line.price_fen,
                    "outer_sku_id": line.sku,
                    "sku_id": _product(line) + 1,
                    "product_count": line.quantity,
                    "product_id": _product(line),
                    "sku_order_id": line_id(self.life, index),
                }
                for index, line in shown
                if not parcel.lines or index in parcel.lines
            ],
        }


def _product(line: LifeLine) -> int:
    return 3_473_190_000_000_000_000 + zlib.crc32(line.sku.encode())
