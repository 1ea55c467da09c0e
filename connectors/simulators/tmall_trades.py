"""How TOP tells a trade: every field of channels.md 3.5, of one life at one moment."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from typing import Any

from connectors.simulators.life import Life, LifeLine, LifePromotion, has_come
from connectors.simulators.reading import (
    Standing,
    beijing_text,
    masked_name,
    paid_moment,
    refunded_fen,
    shown_lines,
    standing,
)
from connectors.simulators.tmall_lines import Lines
from connectors.simulators.tmall_words import (
    is_strongly_held,
    item_number,
    number,
    oid,
    status_of,
    type_of,
    yuan,
)

# What the lists can give; everything else needs the detail call.
LIST_FIELDS = frozenset(
    {
        "tid", "tid_str", "type", "status", "title", "seller_nick", "buyer_open_uid", "created",
        "pay_time", "modified", "consign_time", "end_time", "timeout_action_time", "payment",
        "total_fee", "discount_fee", "adjust_fee", "post_fee", "received_payment",
        "step_trade_status", "step_paid_fee", "receiver_name", "receiver_mobile", "receiver_phone",
        "receiver_state", "receiver_city", "receiver_district", "receiver_town", "receiver_zip",
        "receiver_address", "seller_flag", "team_buy_hold", "top_hold", "orders",
    }
)  # fmt: skip
# Generated only when all five are asked for with it (channels.md 3.2).
OAID_NEEDS = frozenset(
    {"receiver_name", "receiver_address", "created", "receiver_mobile", "receiver_phone"}
)
Memo = tuple[str, int]  # text and flag
NO_MEMO: Memo = ("", 0)


class Trade:
    """One trade at one moment. `render` gives the fields that are asked for and known."""

    def __init__(self, life: Life, now: datetime, memo: Memo = NO_MEMO, nick: str = "") -> None:
        self.life, self.now, self.memo, self.nick = life, now, memo, nick or life.shop
        self.standing, self.status = standing(life, now), status_of(life, now)
        self.pay_moment = paid_moment(life)
        self.is_paid = has_come(self.pay_moment, now)

    def render(self, fields: Collection[str], *, is_list: bool, simplify: bool) -> dict[str, Any]:
        """A field not asked for is absent; one that a list does not give is absent there too."""
        wanted = {field.partition(".")[0] for field in fields}
        if is_list:
            wanted &= LIST_FIELDS
        whole: dict[str, Any] = {}
        for keys, tell in _GROUPS:
            if wanted & keys:
                whole.update(tell(self))
        if "oaid" in wanted and wanted >= OAID_NEEDS:
            whole["oaid"] = f"1{zlib.crc32(self.life.buyer.encode()):08x}{self.life.order_no}"
        if "orders" in wanted:
            line_fields = {f.partition(".")[2] for f in fields if f.startswith("orders.")}
            lines = Lines(
                self.life,
                self.now,
                status=self.status,
                is_refunded=self.standing is Standing.REFUNDED,
                promise=self._promise(),
            )
            whole["orders"] = {"order": lines.render(line_fields, is_list=is_list)}
        found = {key: value for key, value in whole.items() if key in wanted}
        return _flatten(found) if simplify else found

    # -- groups of fields --------------------------------------------------------------------

    def _head(self) -> dict[str, Any]:
        life, now = self.life, self.now
        ended = self._ended()
        shipped = life.part_shipped or life.shipped
        return {
            "tid": number(life.order_no),
            "tid_str": life.order_no,
            "type": type_of(life),
            "status": self.status,
            "title": self.nick,
            "seller_nick": self.nick,
            "buyer_open_uid": f"AAH{life.buyer}",
            "alipay_no": f"{life.order_no[-16:]}2200" if self.is_paid and not life.cod else "",
            "created": beijing_text(life.placed),
            "pay_time": self._pay_time(),
            "modified": beijing_text(life.modified_at(now)),
            "consign_time": beijing_text(shipped, now),
            "end_time": beijing_text(ended, now),
            "timeout_action_time": self._timeout(shipped),
        }

    def _promises(self) -> dict[str, Any]:
        life, promise = self.life, self._promise()
        is_presale = life.presale
        return {
            "send_time": promise if is_presale else "",
            "est_con_time": "",
            "delivery_time": "" if is_presale else promise,
            "collect_time": "" if is_presale else promise,
        }

    def _money(self) -> dict[str, Any]:
        life = self.life
        payment = life.paid_fen_at(self.now) if self.is_paid else life.payable_fen
        payment -= refunded_fen(life, self.now)
        if self.standing is Standing.REFUNDED:
            payment = 0
        return {
            "payment": yuan(payment),
            "total_fee": yuan(life.goods_fen),
            "discount_fee": yuan(
                life.shop_discount_fen + life.platform_discount_fen + life.coupon_fen
            ),
            "adjust_fee": "0.00",
            "post_fee": yuan(life.freight_fen),
            "received_payment": yuan(payment if self.standing is Standing.COMPLETED else 0),
            "paid_coupon_fee": "0.00",
            "platform_subsidy_fee": yuan(life.platform_discount_fen),
            "alipay_point": 0,
            "pcc_af": 0,
            "o2o_voucher_price": "",
            "coupon_fee": 0,
            "tmall_coupon_fee": 0,
        }

    def _promotions(self) -> dict[str, Any]:
        told = [self._promotion(promotion) for promotion in self.life.promotions]
        return {"promotion_details": {"promotion_detail": told}} if told else {}

    def _promotion(self, promotion: LifePromotion) -> dict[str, Any]:
        entry: dict[str, Any] = {
            "id": number(self.life.order_no),
            "promotion_id": promotion.promotion_id,
            "promotion_name": promotion.name,
            "promotion_desc": promotion.name,
            "discount_fee": yuan(promotion.discount_fen),
            "kd_discount_fee": "0.00",
            "kd_child_discount_fee": "",
        }
        if promotion.gift_quantity:
            entry["gift_item_name"] = promotion.gift_sku
            entry["gift_item_id"] = promotion.gift_sku
            entry["gift_item_num"] = str(promotion.gift_quantity)
        return entry

    def _presale(self) -> dict[str, Any]:
        life, now = self.life, self.now
        found: dict[str, Any] = {
            "step_trade_status": "",
            "step_paid_fee": "",
            "new_presell": life.presale,
            "general_new_presell": life.presale,
            "o2o_step_order_id": "",
            "o2o_et_order_id": "",
            "o2o_step_trade_detail": "",
        }
        if not life.presale:
            return found
        has_deposit = has_come(life.deposit_paid, now)
        phase = "FRONT_NOPAID_FINAL_NOPAID"
        paid, balance = 0, life.paid_fen_at(now) - life.deposit_fen
        if has_come(life.forfeited, now):
            phase = "FRONT_PAID_FRONT_FORFEITED"
        elif self.is_paid:
            phase = "FRONT_PAID_FINAL_PAID"
        elif has_deposit:
            phase = "FRONT_PAID_FINAL_NOPAID"
        if has_deposit:
            paid = life.deposit_fen + (balance if self.is_paid else 0)
        steps = ((1, has_deposit, life.deposit_fen), (2, self.is_paid, balance))
        found["step_trade_status"], found["step_paid_fee"] = phase, yuan(paid)
        found["step_pay_details"] = {
            "step_pay_detail": [
                {
                    "id": step,
                    "step_no": step,
                    "pay_status": 2 if is_in else 1,
                    "step_actual_pay_fee": yuan(fee if is_in else 0),
                    "step_channel_no": f"{life.order_no[-16:]}220{step}" if is_in else "",
                    "step_instrument_code": "",
                }
                for step, is_in, fee in steps
            ]
        }
        return found

    def _receiver(self) -> dict[str, Any]:
        life = self.life
        is_changed = has_come(life.address_change_from, self.now)
        return {
            "receiver_name": masked_name(life.receiver),
            "receiver_mobile": f"*******{life.phone[-4:]}" if life.phone else "",
            "receiver_phone": "",
            "receiver_country": "",
            "receiver_state": life.province,
            "receiver_city": life.city,
            "receiver_district": life.district,
            "receiver_town": life.town,
            "receiver_zip": "000000",
            "receiver_address": f"{life.detail[:1]}******" if life.detail else "",
            "lm": "1" if is_changed else "",
            "ti_modify_address_time": beijing_text(life.address_change_from, self.now),
        }

    def _logistics(self) -> dict[str, Any]:
        life, now = self.life, self.now
        is_locked = has_come(life.locked, now)
        infos = [
            {
                "trade_id": number(life.order_no),
                "sub_trade_id": oid(life, index),
                "item_code": line.sku,
                "item_id": line.sku,
                "num_iid": item_number(line),
                "sku_id": "",
                "store_code": line.warehouse,
                "consign_type": "SC",
                "need_consign_num": line.quantity,
                "biz_delivery_type": "",
                "promise_outbound_time": self._promise(),
                "type": "00",
            }
            for index, line in shown_lines(life, now)
            if is_locked
        ]
        is_gone = has_come(life.shipped, now) and life.shipped is not None
        signing = beijing_text(life.shipped + timedelta(days=3)) if life.shipped and is_gone else ""
        return {
            **({"logistics_infos": {"logistics_info": infos}} if infos else {}),
            "logistics_consign_info": {},
            "logistics_agreement": {
                "push_time": "",
                "sign_time": beijing_text(life.delivered, now),
                "promise_sign_time": signing,
                "sink_type": "",
            },
            "is_part_consign": self.standing is Standing.PART_SHIPPED,
        }

    def _holds(self) -> dict[str, Any]:
        life = self.life
        is_held = self.standing is Standing.IN_REVIEW
        is_strong = is_held and is_strongly_held(life)
        words = life.risk_words if is_held else "拼团中" if self._is_in_group() else ""
        return {
            "top_hold": int(is_held and not is_strong),
            "team_buy_hold": int(self._is_in_group()),
            "share_group_hold": 0,
            "ofp_hold": 0,
            "forbid_consign": int(is_strong or self._is_in_group()),
            "delay_create_delivery": 0,
            "is_sh_ship": False,
            "rx_audit_status": "",
            "mark_desc": words,
            "ob_tag": "lg" if has_come(life.urged, self.now) else "",
        }

    def _memos(self) -> dict[str, Any]:
        return {
            "seller_memo": self.memo[0],
            "seller_flag": self.memo[1],
            "buyer_message": self.life.remark,
            "buyer_memo": "",
        }

    # -- small things ------------------------------------------------------------------------

    def _is_in_group(self) -> bool:
        return self.standing is Standing.IN_GROUP

    def _pay_time(self) -> str:
        """Of a presale whose balance is open it is the deposit's time."""
        life = self.life
        if life.cod and not self.is_paid:
            return ""
        return beijing_text(self.pay_moment, self.now) or (
            beijing_text(life.deposit_paid, self.now) if life.presale else ""
        )

    def _ended(self) -> datetime | None:
        life = self.life
        if self.standing in {Standing.REFUNDED, Standing.CANCELLED}:
            return life.refunded or life.closed or life.group_failed
        return life.forfeited if self.standing is Standing.FORFEITED else life.completed

    def _timeout(self, shipped: datetime | None) -> str:
        if self.standing in {Standing.SHIPPED, Standing.DELIVERED} and shipped is not None:
            return beijing_text(shipped + timedelta(days=10))
        if self.standing is Standing.UNPAID:
            return beijing_text(self.life.placed + timedelta(days=1))
        return ""

    def _promise(self) -> str:
        """The latest moment to ship: known once the money (cash on delivery: the order) is in."""
        start = self.life.placed if self.life.cod else self.pay_moment
        if start is None or start > self.now:
            return ""
        return beijing_text(start + self.life.ship_within)


def _flatten(value: Any) -> Any:
    """`simplify=true`: {"orders": {"order": [...]}} becomes {"orders": [...]}."""
    if isinstance(value, list):
        return [_flatten(item) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        (only,) = value.values()
        if isinstance(only, list):
            return [_flatten(item) for item in only]
    return {key: _flatten(item) for key, item in value.items()}


_Tell = Callable[[Trade], dict[str, Any]]


def _group(tell: _Tell, *more: str) -> tuple[frozenset[str], _Tell]:
    moment = datetime.fromisoformat("2025-11-11T00:00:00+08:00")
    sample = Life("1", "tmall", "", moment, [LifeLine("", "")], presale=True)
    return frozenset({*tell(Trade(sample, moment)), *more}), tell


_GROUPS: tuple[tuple[frozenset[str], _Tell], ...] = (
    _group(Trade._head),
    _group(Trade._promises),
    _group(Trade._money),
    _group(Trade._promotions, "promotion_details"),
    _group(Trade._presale),
    _group(Trade._receiver),
    _group(Trade._logistics, "logistics_infos"),
    _group(Trade._holds),
    _group(Trade._memos),
)
# Every field of a trade there is.
FIELDS = frozenset({"oaid", "orders"}.union(*(keys for keys, _ in _GROUPS)))
