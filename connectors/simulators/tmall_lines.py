"""The sub-orders of a trade as TOP tells them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from connectors.simulators.life import Life, LifeLine, LifeShipment, has_come
from connectors.simulators.reading import beijing_text, shares, shown_lines
from connectors.simulators.tmall_words import item_number, oid, yuan

_DETAIL_ONLY = {  # fields the detail call gives of a line and the lists do not
    "divide_order_fee", "part_mjz_discount", "gift_mids", "has_gift", "is_free_gift", "lijian",
    "zhengji_status", "estimate_con_time", "delivery_time", "collect_time",
}  # fmt: skip


class Lines:
    """The lines of a trade at one moment. `promise` is the text of the latest moment to ship."""

    def __init__(
        self, life: Life, now: datetime, *, status: str, is_refunded: bool, promise: str
    ) -> None:
        self.life, self.now, self.status = life, now, status
        self.is_refunded, self.promise = is_refunded, promise

    def render(self, wanted: set[str], *, is_list: bool) -> list[dict[str, Any]]:
        """Fields that are asked for (none named: all); a list does not give all of them."""
        parts = shares(self.life)
        found = [
            self._line(index, line, parts[index])
            for index, line in shown_lines(self.life, self.now)
        ]
        hidden = _DETAIL_ONLY if is_list else set()
        if not wanted and not hidden:
            return found
        return [
            {k: v for k, v in line.items() if k not in hidden and (not wanted or k in wanted)}
            for line in found
        ]

    def _line(self, index: int, line: LifeLine, share: int) -> dict[str, Any]:
        life, now = self.life, self.now
        is_refunded = has_come(line.refunded, now) or self.is_refunded
        parcel = self._parcel(index)
        price = line.price_fen * line.quantity - line.discount_fen
        is_single = len(life.lines) == 1
        gifts = [
            oid(life, i) for i, other in shown_lines(self.life, self.now) if other.gift_of == index
        ]
        mids = [oid(life, line.gift_of)] if line.is_gift and line.gift_of is not None else gifts
        promise = self.promise
        return {
            "oid": oid(life, index),
            "oid_str": str(oid(life, index)),
            "num_iid": item_number(line),
            "sku_id": str(item_number(line) + 1),
            "outer_iid": line.sku,
            "outer_sku_id": line.sku,
            "title": line.title,
            "cid": 50003790,
            "num": line.quantity,
            "price": yuan(line.price_fen),
            "total_fee": yuan(price),
            "payment": yuan(share + life.freight_fen if is_single else price),
            "discount_fee": yuan(line.discount_fen),
            "adjust_fee": "0.00",
            "divide_order_fee": yuan(share),
            "part_mjz_discount": yuan(price - share),
            "status": self._line_status(parcel, is_refunded=is_refunded),
            "refund_status": self._refund_status(is_refunded=is_refunded),
            "is_oversold": line.is_oversold and not has_come(life.locked, now),
            "is_free_gift": "1" if line.is_gift else "0",
            "has_gift": "1" if gifts else "0",
            "gift_mids": ",".join(str(oid) for oid in mids),
            "lijian": "0.00",
            "zhengji_status": "",
            "store_code": line.warehouse if has_come(life.locked, now) else "",
            "inv_type": "1",
            "shipper": "seller",
            "modify_address": "1" if has_come(life.address_change_from, now) else "",
            "estimate_con_time": promise,
            "delivery_time": promise,
            "collect_time": promise,
            "logistics_company": parcel.company if parcel else "",
            "invoice_no": parcel.tracking_no if parcel else "",
            "consign_time": beijing_text(parcel.at) if parcel else "",
            "is_sh_ship": False,
            "order_from": "TAOBAO",
            "seller_type": "B",
        }

    def _line_status(self, parcel: LifeShipment | None, *, is_refunded: bool) -> str:
        if is_refunded:
            return "TRADE_CLOSED"
        if self.status == "SELLER_CONSIGNED_PART":
            return "WAIT_BUYER_CONFIRM_GOODS" if parcel else "WAIT_SELLER_SEND_GOODS"
        return self.status

    def _refund_status(self, *, is_refunded: bool) -> str:
        if is_refunded:
            return "SUCCESS"
        return (
            "WAIT_SELLER_AGREE" if has_come(self.life.refund_requested, self.now) else "NO_REFUND"
        )

    def _parcel(self, index: int) -> LifeShipment | None:
        for parcel in self.life.shipments:
            if parcel.at <= self.now and (not parcel.lines or index in parcel.lines):
                return parcel
        return None
