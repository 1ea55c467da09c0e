"""How the Douyin shop platform tells an order: the fields of channels.md 5.5, fen and Unix seconds."""

from __future__ import annotations

import base64
import json
import zlib
from datetime import datetime
from typing import Any

from connectors.simulators.douyin_lines import Lines, line_id, seconds, trade_type
from connectors.simulators.life import Life, has_come
from connectors.simulators.reading import (
    Standing,
    is_in_review,
    masked_name,
    paid_moment,
    standing,
)

# order_status, its words; main_status where it says more.
STATUSES = {
    Standing.UNPAID: (1, 1, "待支付"),
    Standing.DEPOSIT_PAID: (1, 103, "部分支付"),
    Standing.FORFEITED: (4, 4, "已取消"),
    Standing.IN_GROUP: (105, 105, "已支付"),
    Standing.IN_REVIEW: (105, 105, "已支付"),
    Standing.TO_SHIP: (2, 2, "备货中"),
    Standing.PART_SHIPPED: (101, 101, "部分发货"),
    Standing.SHIPPED: (3, 3, "已发货"),
    Standing.DELIVERED: (3, 3, "已发货"),
    Standing.COMPLETED: (5, 5, "已完成"),
    Standing.REFUNDED: (4, 21, "发货前退款完结"),
    Standing.CANCELLED: (4, 4, "已取消"),
}


def status_of(life: Life, now: datetime) -> tuple[int, int, str]:
    """order_status, main_status and the words for it."""
    if life.unknown_status and has_come(life.unknown_from, now):
        told = life.unknown_status
        code = int(told) if told.isdigit() else 700 + zlib.crc32(told.encode()) % 100
        return code, code, "新状态"
    found = standing(life, now)
    if found is Standing.REFUNDED and has_come(life.delivered, now):
        return 4, 39, "收货后退款完结"
    if found is Standing.REFUNDED and has_come(life.shipped, now):
        return 4, 22, "发货后退款完结"
    return STATUSES[found]


def is_listed_as_risky(life: Life, now: datetime) -> bool:
    """Whether `abnormal_order=2` finds it: nothing inside the order tells of the review."""
    return is_in_review(life, now) and standing(life, now) is Standing.IN_REVIEW


def render_order(
    life: Life, now: datetime, shop_id: int, remark: tuple[str, int]
) -> dict[str, Any]:
    """One element of `shop_order_list`, or `shop_order_detail`."""
    return _Order(life, now, shop_id, remark).render()


class _Order:
    def __init__(self, life: Life, now: datetime, shop_id: int, remark: tuple[str, int]) -> None:
        self.life, self.now, self.shop_id, self.remark = life, now, shop_id, remark
        self.standing = standing(life, now)
        self.status, self.main, self.words = status_of(life, now)
        self.pay_moment = paid_moment(life)
        self.is_paid = has_come(self.pay_moment, now)
        self.updated = int(life.modified_at(now).timestamp())
        self.promise = self._promise()

    def render(self) -> dict[str, Any]:
        life, now = self.life, self.now
        lines = Lines(
            life, now, status=self.status, main=self.main, promise=self.promise,
            updated=self.updated,
        )  # fmt: skip
        return {
            "order_id": life.order_no,
            "order_level": 2,
            "shop_id": self.shop_id,
            "shop_name": life.shop,
            "open_id": life.buyer,
            "doudian_open_id": f"#{_secret(life.buyer)}==",
            "order_status": self.status,
            "order_status_desc": self.words,
            "main_status": self.main,
            "main_status_desc": self.words,
            "trade_type": trade_type(life),
            "biz": 2,
            "b_type": 2,
            "create_time": int(life.placed.timestamp()),
            "pay_time": seconds(self.pay_moment, now),
            "update_time": self.updated,
            "finish_time": seconds(self._finished(), now),
            "exp_ship_time": self.promise,
            "appointment_ship_time": 0,
            "ship_time": seconds(life.part_shipped or life.shipped, now),
            "order_expire_time": 1800,
            "cancel_reason": self._cancel_reason(),
            "pay_type": self._pay_type(),
            "channel_payment_no": self._payment_no() if self.is_paid and not life.presale else "",
            **self._money(),
            "promotion_detail": self._promotions(),
            "promise_info": json.dumps(
                {"ship_within_hours": int(life.ship_within.total_seconds() // 3600)}
            ),
            "seller_words": self.remark[0],
            "seller_remark_stars": self.remark[1],
            "buyer_words": life.remark,
            "shop_order_tag_ui": self._order_tags(),
            "address_tag_ui": [],
            "user_tag_ui": [],
            "accept_order_status": 0,
            "latest_receipt_time": 0,
            **self._receiver(),
            "logistics_info": lines.render_parcels(),
            "order_phase_list": self._phases(),
            "sku_order_list": lines.render(),
        }

    # -- money -------------------------------------------------------------------------------

    def _money(self) -> dict[str, Any]:
        life = self.life
        shop = life.shop_discount_fen + life.coupon_fen
        platform = life.platform_discount_fen
        paid = life.paid_fen_at(self.now) if self.is_paid else life.payable_fen
        return {
            "order_amount": life.goods_fen + life.freight_fen,
            "pay_amount": paid,
            "post_amount": life.freight_fen,
            "post_origin_amount": life.freight_fen,
            "post_promotion_amount": 0,
            "post_insurance_amount": 0,
            "modify_amount": 0,
            "modify_post_amount": 0,
            "promotion_amount": shop + platform,
            "promotion_shop_amount": shop,
            "promotion_platform_amount": platform,
            "promotion_talent_amount": 0,
            "promotion_pay_amount": 0,
            "total_promotion_amount": shop + platform,
            "shop_cost_amount": shop,
            "platform_cost_amount": platform,
            "only_platform_cost_amount": platform,
            "author_cost_amount": 0,
        }

    def _promotions(self) -> dict[str, Any]:
        life = self.life
        shop = _discount(life.shop_discount_fen + life.coupon_fen)
        platform = _discount(life.platform_discount_fen)
        if life.coupon_fen:
            shop["coupon_info"].append(
                {
                    "coupon_id": self._campaign("shopbonus"),
                    "coupon_type": 22,
                    "coupon_amount": life.coupon_fen,
                    "share_discount_cost": _cost(shop=life.coupon_fen),
                }
            )
        if life.shop_discount_fen:
            shop["full_discount_info"].append(
                {
                    "campaign_id": self._campaign("mjs"),
                    "campaign_type": 100,
                    "share_discount_cost": _cost(shop=life.shop_discount_fen),
                }
            )
        if life.platform_discount_fen:
            platform["full_discount_info"].append(
                {
                    "campaign_id": self._campaign("acrossShopMjs"),
                    "campaign_type": 110,
                    "share_discount_cost": _cost(platform=life.platform_discount_fen),
                }
            )
        return {
            "shop_discount_detail": shop,
            "platform_discount_detail": platform,
            "kol_discount_detail": _discount(0),
        }

    def _campaign(self, tool: str) -> str:
        for promotion in self.life.promotions:
            if promotion.tool == tool:
                return promotion.promotion_id
        return str(8_000_000 + zlib.crc32(tool.encode()) % 1_000_000)

    def _pay_type(self) -> int:
        if self.life.cod:
            return 0
        if self.life.payable_fen == 0:
            return 7
        return 1 + zlib.crc32(self.life.order_no.encode()) % 2

    def _payment_no(self, phase: int = 0) -> str:
        return f"4200{phase}{self.life.order_no[-16:]}"

    def _phases(self) -> list[dict[str, Any]]:
        """Deposit and balance, told by the first line."""
        life, now = self.life, self.now
        if not life.presale:
            return []
        deposit = life.deposit_fen
        balance = life.paid_fen_at(now) - deposit if self.is_paid else life.payable_fen - deposit
        steps = (
            (1, deposit, life.placed, life.deposit_paid, life.balance_opens),
            (2, balance, life.balance_opens, life.balance_paid or life.paid, life.balance_due),
        )
        return [
            {
                "sku_order_id": line_id(life, 0),
                "phase_order_id": f"{life.order_no}{phase}",
                "total_phase": 2,
                "current_phase": phase,
                "pay_success": has_come(paid_at, now),
                "campaign_id": 3_214_324_342_342,
                "phase_payable_price": amount // life.lines[0].quantity,
                "phase_pay_type": 1,
                "phase_open_time": int(opens.timestamp()) if opens else 0,
                "phase_pay_time": seconds(paid_at, now),
                "phase_close_time": int(closes.timestamp()) if closes else 0,
                "channel_payment_no": self._payment_no(phase) if has_come(paid_at, now) else "",
                "phase_order_amount": amount,
                "phase_sum_amount": amount,
                "phase_post_amount": 0,
                "phase_pay_amount": amount if has_come(paid_at, now) else 0,
                "phase_promotion_amount": 0,
                "current_phase_status_desc": _phase_words(opens, paid_at, closes, now),
                "sku_price": life.lines[0].price_fen,
            }
            for phase, amount, opens, paid_at, closes in steps
        ]

    # -- people ------------------------------------------------------------------------------

    def _receiver(self) -> dict[str, Any]:
        """Plain fields are empty; cipher texts have the shapes `$...$` and `#...#`."""
        life = self.life
        tel = f"{life.phone[:3]}****{life.phone[-4:]}" if life.phone else ""
        places = {
            key: {"name": name, "id": _place_id(name)}
            for key, name in (
                ("province", life.province),
                ("city", life.city),
                ("town", life.district),
                ("street", life.town),
            )
        }
        return {
            "post_tel": "",
            "post_receiver": "",
            "encrypt_post_tel": f"${tel}${_secret(life.phone)}$1$$" if tel else "",
            "encrypt_post_receiver": f"#{life.receiver[:1]}##{_secret(life.receiver)}$1$$",
            "mask_post_tel": tel,
            "mask_post_receiver": masked_name(life.receiver),
            "post_addr": {**places, "detail": "", "encrypt_detail": f"##{_secret(life.detail)}##"},
            "mask_post_addr": {**places, "detail": f"{life.detail[:2]}***" if life.detail else ""},
        }

    def _order_tags(self) -> list[dict[str, str]]:
        life, now = self.life, self.now
        tags = []
        is_applied = has_come(life.address_change_from, now)
        if is_applied and not has_come(life.address_change_until, now):
            tags.append({"key": "address_change_apply", "text": "申请改地址", "hover_text": ""})
        if has_come(life.urged, now) and not has_come(life.shipped, now):
            tags.append({"key": "urge_shipment", "text": "催发货", "hover_text": ""})
        return tags

    # -- times -------------------------------------------------------------------------------

    def _promise(self) -> int:
        start = self.life.placed if self.life.cod else self.pay_moment
        if start is None or start > self.now:
            return 0
        return int((start + self.life.ship_within).timestamp())

    def _finished(self) -> datetime | None:
        life = self.life
        if self.status == 4:
            return life.refunded or life.closed or life.group_failed or life.forfeited
        return life.completed

    def _cancel_reason(self) -> str:
        if self.status != 4:
            return ""
        if has_come(self.life.group_failed, self.now):
            return "拼团失败"
        return "不想要了" if self.is_paid else "超时未支付"


def _phase_words(
    opens: datetime | None, paid_at: datetime | None, closes: datetime | None, now: datetime
) -> str:
    if has_come(paid_at, now):
        return "已支付"
    if has_come(closes, now):
        return "已结束未支付"
    return "已开始但未支付" if has_come(opens, now) else "未开始"


def _discount(total: int) -> dict[str, Any]:
    return {
        "total_amount": total,
        "coupon_info": [],
        "full_discount_info": [],
        "redpack_info": [],
        "gold_coin_amount": 0,
    }


def _cost(*, shop: int = 0, platform: int = 0) -> dict[str, int]:
    return {"platform_cost": platform, "shop_cost": shop, "author_cost": 0}


def _secret(text: str) -> str:
    return base64.b64encode(f"{zlib.crc32(text.encode()):08x}".encode()).decode().rstrip("=")


def _place_id(name: str) -> str:
    return str(100_000 + zlib.crc32(name.encode()) % 900_000) if name else ""
