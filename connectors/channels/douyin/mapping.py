"""Douyin's order (抖店 order.searchList, order.orderDetail) in our words. Pure.

Source: channels.md 5.4 (status), 5.5 (fields), 1 (stages and flags); field names and units read
again in the generated official SDK (zsmhub/doudian-sdk, order_searchList_response.go, 2023-06).
Money is fen, times are Unix seconds and 0 is "not yet".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from config.errors import gettext_noop
from connectors.orders.canonical import (
    CanonicalLine,
    CanonicalOrder,
    CanonicalParcelLine,
    CanonicalPayment,
    CanonicalPromotion,
    CanonicalShipment,
)
from connectors.orders.statuses import (
    PAID_STAGES,
    GroupState,
    PaymentStatus,
    PresalePhase,
    RefundState,
    Stage,
)
from connectors.wire import Mapped, Notice, PayloadError, Reader

CHANNEL = "douyin"
RISK_REVIEW = gettext_noop("风控审核中")

# order_status -> stage (channels.md 5.4); payment, group, review and presale refine three of them.
STAGES: Mapping[str, str] = {
    "1": Stage.AWAIT_PAY,
    "105": Stage.PAY_PROCESSING,
    "2": Stage.AWAIT_SHIP,
    "101": Stage.PART_SHIPPED,
    "3": Stage.SHIPPED,
    "4": Stage.CLOSED_REFUNDED,
    "5": Stage.COMPLETED,
}
_PARTLY_PAID = 103
# 发货前退款完结, 发货后退款完结, 收货后退款完结
_REFUNDED_MAIN = frozenset({21, 22, 39})
_MAIN_STATUSES = frozenset({int(code) for code in STAGES} | _REFUNDED_MAIN | {_PARTLY_PAID})

_GROUP_TRADE = 1
_PRESALE_GIFT_TRADE = 102
_PAY_TYPES: Mapping[int, str] = {
    0: gettext_noop("货到付款"),
    1: gettext_noop("微信支付"),
    2: gettext_noop("支付宝"),
    3: gettext_noop("小程序支付"),
    4: gettext_noop("银行卡"),
    5: gettext_noop("余额"),
    7: gettext_noop("无需支付"),
    8: gettext_noop("抖音分期"),
    9: gettext_noop("新卡支付"),
    12: gettext_noop("先用后付"),
}
_COD, _PAY_LATER = 0, 12

# after_sale_status -> our flag. 28 (failed, also withdrawn by the buyer) and 51 (cancelled) leave
# none; 13 and 14 are steps of an exchange.
_AFTER_SALES: Mapping[int, RefundState] = {
    0: RefundState.NONE,
    6: RefundState.REQUESTED,
    7: RefundState.WAITING_RETURN,
    11: RefundState.WAITING_RETURN,
    12: RefundState.DONE,
    13: RefundState.NONE,
    14: RefundState.NONE,
    27: RefundState.REJECTED,
    28: RefundState.NONE,
    29: RefundState.REJECTED,
    51: RefundState.NONE,
    53: RefundState.DONE,
}
# 3 exchange, 6 price protection, 7 resend: the order's money does not come back.
_NO_REFUND_TYPES = frozenset({3, 6, 7})
_REFUND_SUCCEEDED = 3
_ADDRESS_TAGS = ("改地址", "修改地址", "地址修改", "地址变更", "变更地址", "地址待确认")
_URGED_TAGS = ("催发货", "催单", "催促发货")
_OPEN_REFUNDS = (RefundState.REQUESTED, RefundState.WAITING_RETURN, RefundState.REJECTED)


@dataclass(frozen=True, slots=True)
class _Phase:
    """One phase (deposit, balance) of a presale, over all its lines."""

    is_paid: bool
    amount_fen: int | None
    opens_at: datetime | None
    paid_at: datetime | None
    closes_at: datetime | None
    payment_no: str


def map_order(
    payload: object,
    *,
    shop: str,
    in_risk_review: bool = False,
    stages: Mapping[str, str] = STAGES,
) -> Mapped[CanonicalOrder]:
    """One element of `shop_order_list`, or `shop_order_detail`, as an order.

    `in_risk_review`: the order came from the list asked with abnormal_order=2; nothing inside the
    payload tells it. `stages`: by "order_status/main_status" or "order_status", as mapped by the
    business. An unknown status gives Stage.UNKNOWN and a notice.
    Raises PayloadError, which names the field.
    """
    order = Reader(payload)
    notices: list[Notice] = []
    sku_orders = order.many("sku_order_list")
    lines = _map_lines(sku_orders, notices)
    refund_state = _find_refund(sku_orders)
    phases = _read_phases(order, sku_orders)
    is_group = any(line.integer("trade_type") == _GROUP_TRADE for line in sku_orders)
    status, main = order.required_integer("order_status"), order.integer("main_status")
    paid_at = order.unix_seconds("pay_time")
    raw_status = str(status) if main in (None, status) else f"{status}/{main}"
    told = stages.get(raw_status, stages.get(str(status), ""))
    is_known = told in set(Stage) and told != Stage.UNKNOWN
    stage = _refine_stage(
        Stage(told) if is_known else Stage.UNKNOWN,
        main=None if raw_status in stages else main,
        is_paid=paid_at is not None,
        is_group=is_group,
        is_deposit_paid=_is_balance_open(phases),
        in_risk_review=in_risk_review,
    )
    if not is_known:
        notices.append(Notice("unmapped_status", order.path_of("order_status"), str(status)))
    if main is not None and main not in _MAIN_STATUSES and raw_status not in stages:
        notices.append(Notice("unmapped_value", order.path_of("main_status"), str(main)))
    if stage in (Stage.AWAIT_PAY, Stage.DEPOSIT_PAID):
        paid_at = None  # of a presale only the deposit is in
    method, is_cod, is_money_in = _read_pay_type(order, notices)
    charged = _subtract(order.fen("pay_amount"), order.fen("promotion_pay_amount"))
    payable = _find_payable(order, sku_orders)
    payable = charged if payable is None else payable
    is_paid = paid_at is not None and is_money_in
    address = order.one("post_addr")
    finished_at, updated_at = order.unix_seconds("finish_time"), order.unix_seconds("update_time")
    deposit, balance = phases.get(1), _last(phases)
    order_no = _cut_suffix(order.required_identifier("order_id", limit=65))
    parcels = _read_parcels(order)
    mapped = CanonicalOrder(
        order_no=order_no,
        channel=CHANNEL,
        shop=shop,
        raw_status=raw_status,
        stage=stage,
        placed_at=order.unix_seconds("create_time"),
        paid_at=paid_at,
        shipped_at=None if stage is Stage.PART_SHIPPED else _find_dispatch(order, parcels),
        delivered_at=_find_delivery(sku_orders)
        or (finished_at if stage is Stage.COMPLETED else None),
        closed_at=(finished_at or updated_at) if _is_closed(stage) else None,
        promised_ship_at=order.unix_seconds("exp_ship_time"),
        estimated_delivery_at=order.unix_seconds("latest_receipt_time"),
        source_updated_at=updated_at,
        goods_fen=_sum(line.fen("sum_amount") for line in sku_orders),
        freight_fen=order.fen("post_amount"),
        shop_discount_fen=order.fen("promotion_shop_amount"),
        platform_discount_fen=_sum_told(
            order.fen(key)
            for key in (
                "promotion_platform_amount",
                "promotion_talent_amount",
                "promotion_pay_amount",
            )
        ),
        payable_fen=payable,
        paid_fen=charged if is_paid else None,
        payment_method=method,
        is_cod=is_cod,
        refund_state=refund_state,
        group_state=_find_group_state(is_group, stage),
        is_credit_pay=order.integer("pay_type") == _PAY_LATER,
        partial_refund=refund_state is not RefundState.DONE
        and any(line.refund_state == RefundState.DONE for line in lines),
        risk_state=RISK_REVIEW if in_risk_review else "",
        address_change_pending=_has_tag(order, _ADDRESS_TAGS),
        buyer_urged=_has_tag(order, _URGED_TAGS),
        presale_phase=_find_presale_phase(phases),
        deposit_fen=deposit.amount_fen if deposit else None,
        deposit_paid_at=deposit.paid_at if deposit else None,
        balance_fen=balance.amount_fen if balance else None,
        balance_paid_at=balance.paid_at if balance else None,
        balance_opens_at=balance.opens_at if balance else None,
        balance_due_at=balance.closes_at if balance else None,
        gifts_due=_count_gifts(sku_orders, lines),
        buyer=order.identifier("doudian_open_id", limit=200)
        or order.identifier("open_id", limit=200),
        receiver_name=order.text("post_receiver", limit=100)
        or order.text("mask_post_receiver", limit=100),
        receiver_phone=order.text("post_tel", limit=40) or order.text("mask_post_tel", limit=40),
        province=_read_place(address, "province"),
        city=_read_place(address, "city"),
        district=_read_place(address, "town"),
        town=_read_place(address, "street") or "",
        address_detail=address.text("detail", limit=300)
        or order.one("mask_post_addr").text("detail", limit=300),
        remark=_join(order.text("buyer_words", limit=500), order.text("seller_words", limit=500)),
        lines=lines,
        payments=_map_payments(
            order_no,
            order=order,
            phases=phases,
            method=method,
            paid_at=paid_at if is_paid else None,
            amount_fen=charged,
        ),
        promotions=_read_promotions(order),
        shipments=parcels,
        raw=order.mapping,
    )
    return Mapped(mapped, tuple(notices))


def _refine_stage(
    stage: Stage,
    *,
    main: int | None,
    is_paid: bool,
    is_group: bool,
    is_deposit_paid: bool,
    in_risk_review: bool,
) -> Stage:
    """What else the order tells about the stage of its status, the narrowest first (5.4)."""
    if stage is Stage.UNKNOWN:
        return stage
    if _is_closed(stage) or main in _REFUNDED_MAIN:
        return Stage.CLOSED_REFUNDED if is_paid else Stage.CLOSED_UNPAID
    if stage is Stage.AWAIT_PAY:
        is_part = is_deposit_paid or main == _PARTLY_PAID
        return Stage.DEPOSIT_PAID if is_part else Stage.AWAIT_PAY
    if stage is Stage.PAY_PROCESSING:
        if is_group:
            return Stage.AWAIT_GROUP
        return Stage.PLATFORM_HOLD if in_risk_review else Stage.PAY_PROCESSING
    return stage


def _is_closed(stage: Stage) -> bool:
    return stage in (Stage.CLOSED_UNPAID, Stage.CLOSED_REFUNDED)


def _find_group_state(is_group: bool, stage: Stage) -> GroupState:
    """Open while paid and waiting; formed once it may ship. A closed one does not tell why."""
    if not is_group:
        return GroupState.NONE
    if stage is Stage.AWAIT_GROUP:
        return GroupState.OPEN
    is_formed = stage in PAID_STAGES and not _is_closed(stage) and stage is not Stage.PLATFORM_HOLD
    return GroupState.DONE if is_formed else GroupState.NONE


# -- presale -----------------------------------------------------------------------------------


def _read_phases(order: Reader, sku_orders: Sequence[Reader]) -> dict[int, _Phase]:
    """The phases by number. Each line has its own: a phase is paid when all of its lines are."""
    quantities = {
        _cut_suffix(line.identifier("order_id", limit=65)): line.quantity("item_num")
        for line in sku_orders
    }
    rows: dict[int, list[Reader]] = {}
    for row in order.many("order_phase_list"):
        number = row.required_integer("current_phase")
        if not 1 <= number <= 9:
            raise row.refuse_value("current_phase", gettext_noop("1 到 9 的阶段"))
        rows.setdefault(number, []).append(row)
    return {number: _merge_phase(rows[number], quantities) for number in sorted(rows)}


def _merge_phase(rows: Sequence[Reader], quantities: Mapping[str, int]) -> _Phase:
    is_paid = all(row.flag("pay_success") for row in rows)
    paid = [row.unix_seconds("phase_pay_time") for row in rows]
    opens = [moment for row in rows if (moment := row.unix_seconds("phase_open_time"))]
    closes = [moment for row in rows if (moment := row.unix_seconds("phase_close_time"))]
    numbers = [row.identifier("channel_payment_no", limit=80) for row in rows]
    return _Phase(
        is_paid=is_paid,
        amount_fen=_sum(_read_phase_amount(row, quantities) for row in rows),
        opens_at=min(opens, default=None),
        paid_at=max((m for m in paid if m), default=None) if is_paid else None,
        closes_at=min(closes, default=None),
        payment_no=next((number for number in numbers if number), ""),
    )


def _read_phase_amount(row: Reader, quantities: Mapping[str, int]) -> int | None:
    """What the buyer pays in this phase; before payment it follows from the price of a piece."""
    paid, whole = row.fen("phase_pay_amount"), row.fen("phase_order_amount")
    if paid:
        return paid
    promotion = row.fen("phase_promotion_amount") or 0
    if whole:
        return whole - promotion
    price = row.fen("phase_payable_price")
    pieces = quantities.get(_cut_suffix(row.identifier("sku_order_id", limit=65)), 1)
    return None if price is None else price * pieces - promotion


def _last(phases: Mapping[int, _Phase]) -> _Phase | None:
    return phases[max(phases)] if len(phases) > 1 else None


def _is_balance_open(phases: Mapping[int, _Phase]) -> bool:
    balance = _last(phases)
    return balance is not None and 1 in phases and phases[1].is_paid and not balance.is_paid


def _find_presale_phase(phases: Mapping[int, _Phase]) -> PresalePhase:
    if not phases:
        return PresalePhase.NONE
    balance = _last(phases)
    if balance is not None and balance.is_paid:
        return PresalePhase.BALANCE_PAID
    is_paid = 1 in phases and phases[1].is_paid
    return PresalePhase.DEPOSIT_PAID if is_paid else PresalePhase.DEPOSIT_DUE


# -- money -------------------------------------------------------------------------------------


def _read_pay_type(order: Reader, notices: list[Notice]) -> tuple[str, bool, bool]:
    """The words for it, whether it is cash on delivery, whether a payment means money is in."""
    number = order.integer("pay_type")
    if number is None:
        return "", False, True
    if number not in _PAY_TYPES:
        notices.append(Notice("unmapped_value", order.path_of("pay_type"), str(number)))
    return _PAY_TYPES.get(number, ""), number == _COD, number not in (_COD, _PAY_LATER)


def _map_payments(
    order_no: str,
    *,
    order: Reader,
    phases: Mapping[int, _Phase],
    method: str,
    paid_at: datetime | None,
    amount_fen: int | None,
) -> tuple[CanonicalPayment, ...]:
    """A presale's payments by phase, any other order's single one; only what was paid."""
    if phases:
        return tuple(
            CanonicalPayment(
                order_no=order_no,
                payment_id=phase.payment_no or f"{order_no}-{number}",
                method=method,
                status=PaymentStatus.PAID,
                amount_fen=phase.amount_fen,
                paid_at=phase.paid_at,
                phase="deposit" if number == 1 else "balance",
            )
            for number, phase in phases.items()
            if phase.is_paid
        )
    number = order.identifier("channel_payment_no", limit=80)
    if paid_at is None or not number:
        return ()
    return (
        CanonicalPayment(
            order_no=order_no,
            payment_id=number,
            method=method,
            status=PaymentStatus.PAID,
            amount_fen=amount_fen,
            paid_at=paid_at,
        ),
    )


def _subtract(amount: int | None, less: int | None) -> int | None:
    return None if amount is None else amount - (less or 0)


def _find_payable(order: Reader, sku_orders: Sequence[Reader]) -> int | None:
    """What the lines and the freight come to, in fen; None when a line does not tell its share.

    `pay_amount` is what the buyer was charged: a promotion stacked wrongly shows as a difference
    between the two (channels.md 5.5; of one trade both are equal).
    """
    shares = _sum(line.fen("pay_amount") for line in sku_orders)
    freight = order.fen("post_amount")
    if shares is None or freight is None:
        return None
    return _subtract(shares + freight, order.fen("promotion_pay_amount"))


def _sum(amounts: Iterable[int | None]) -> int | None:
    """The sum, or None when one of them was not told, or there is none."""
    told = list(amounts)
    return sum(a for a in told if a is not None) if told and None not in told else None


def _sum_told(amounts: Iterable[int | None]) -> int | None:
    told = [a for a in amounts if a is not None]
    return sum(told) if told else None


# -- promotions and parcels --------------------------------------------------------------------

# Where promotions stand, and who stands for the money when the shares do not tell.
_DISCOUNTS = (
    ("shop_discount_detail", "shop"),
    ("platform_discount_detail", "platform"),
    ("kol_discount_detail", "author"),
)
_CAMPAIGN_NAMES: Mapping[int, str] = {
    100: gettext_noop("店铺满减"),
    110: gettext_noop("平台满减"),
    150: gettext_noop("立减"),
}
_LINE_CAMPAIGN_NAMES: Mapping[int, str] = {
    7: gettext_noop("限时特卖"),
    10: gettext_noop("定金预售"),
    11: gettext_noop("尾款"),
    13: gettext_noop("达人价"),
    14: gettext_noop("限时限量"),
    120: gettext_noop("拼团"),
}


def _read_promotions(order: Reader) -> tuple[CanonicalPromotion, ...]:
    """Coupons, full reductions, red packets and coins of the order, then the lines' campaigns.

    A line's campaign tells no amount: the price is lower already.
    """
    found: list[CanonicalPromotion] = []
    detail = order.one("promotion_detail")
    for key, funder in _DISCOUNTS:
        part = detail.one(key)
        for coupon in part.many("coupon_info"):
            kind = coupon.identifier("coupon_type", limit=20)
            found.append(
                CanonicalPromotion(
                    promotion_id=coupon.identifier("coupon_id", limit=100),
                    tool=f"coupon-{kind}",
                    name=coupon.text("coupon_name", limit=200),
                    discount_fen=coupon.fen("coupon_amount"),
                    funder=_find_funder(coupon, funder),
                )
            )
        for campaign in part.many("full_discount_info"):
            kind = campaign.identifier("campaign_type", limit=20)
            shares = campaign.one("share_discount_cost")
            told = campaign.fen("campaign_amount")
            found.append(
                CanonicalPromotion(
                    promotion_id=campaign.identifier("campaign_id", limit=100),
                    tool=f"campaign-{kind}",
                    name=campaign.text("campaign_name", limit=200)
                    or _CAMPAIGN_NAMES.get(campaign.integer("campaign_type") or 0, ""),
                    discount_fen=told
                    if told is not None
                    else _sum_told(shares.fen(name) for name in _SHARES),
                    funder=_find_funder(campaign, funder),
                )
            )
        found += [
            CanonicalPromotion(
                promotion_id=packet.identifier("redpack_trans_id", limit=100),
                tool="redpack",
                name=gettext_noop("红包"),
                discount_fen=packet.fen("redpack_amount"),
                funder=_find_funder(packet, funder),
            )
            for packet in part.many("redpack_info")
        ]
        if coins := part.fen("gold_coin_amount"):
            found.append(
                CanonicalPromotion(
                    promotion_id="",
                    tool="gold_coin",
                    name=gettext_noop("金币"),
                    discount_fen=coins,
                    funder=funder,
                )
            )
    for line in order.many("sku_order_list"):
        found += _read_campaigns(line)
    return tuple(found)


_SHARES: Mapping[str, str] = {
    "platform_cost": "platform",
    "shop_cost": "shop",
    "author_cost": "author",
}


def _find_funder(promotion: Reader, default: str) -> str:
    """Who bears the largest share of the cost; where no share is told, whose promotion it is."""
    shares = promotion.one("share_discount_cost")
    costs = {funder: shares.fen(key) or 0 for key, funder in _SHARES.items()}
    return max(costs, key=lambda funder: costs[funder]) if any(costs.values()) else default


def _read_campaigns(line: Reader) -> list[CanonicalPromotion]:
    line_id = _cut_suffix(line.identifier("order_id", limit=65))
    return [
        CanonicalPromotion(
            promotion_id=campaign.identifier("campaign_id", limit=100),
            tool=f"campaign-{campaign.identifier('campaign_type', limit=20)}",
            name=campaign.text("campaign_name", limit=200)
            or _LINE_CAMPAIGN_NAMES.get(campaign.integer("campaign_type") or 0, ""),
            line_id=line_id,
        )
        for campaign in line.many("campaign_info")
    ]


def _find_dispatch(order: Reader, parcels: Sequence[CanonicalShipment]) -> datetime | None:
    """When all of it was sent: with the last parcel. The order's own `ship_time` is the first's."""
    told = (order.unix_seconds("ship_time"), *(parcel.shipped_at for parcel in parcels))
    return max((moment for moment in told if moment is not None), default=None)


def _read_parcels(order: Reader) -> tuple[CanonicalShipment, ...]:
    """The parcels; `delivery_id` names one, else its waybill."""
    parcels: dict[str, CanonicalShipment] = {}
    for place, parcel in enumerate(order.many("logistics_info")):
        number = parcel.identifier("tracking_no", limit=80)
        name = parcel.identifier("delivery_id", limit=80) or number or str(place + 1)
        parcels[name] = CanonicalShipment(
            shipment_id=name,
            tracking_no=number,
            company=parcel.text("company_name", limit=60) or parcel.text("company", limit=60),
            shipped_at=parcel.unix_seconds("ship_time"),
            lines=tuple(
                CanonicalParcelLine(
                    _cut_suffix(packed.identifier("sku_order_id", limit=65)),
                    packed.quantity("product_count"),
                )
                for packed in parcel.many("product_info")
            ),
        )
    return tuple(parcels.values())


# -- lines, refunds, receiver ------------------------------------------------------------------


def _map_lines(sku_orders: Sequence[Reader], notices: list[Notice]) -> tuple[CanonicalLine, ...]:
    lines = []
    seen: set[str] = set()
    for reader in sku_orders:
        line_id = _cut_suffix(reader.required_identifier("order_id", limit=65))
        if line_id in seen:
            raise PayloadError(
                gettext_noop("报文字段 %(field)s 与前面的明细重复"),
                field=reader.path_of("order_id"),
            )
        seen.add(line_id)
        is_gift = (
            reader.text("given_product_type") == "FREE"
            or reader.integer("trade_type") == _PRESALE_GIFT_TRADE
        )
        lines.append(
            CanonicalLine(
                line_id=line_id,
                sku=reader.identifier("code", limit=80)
                or reader.identifier("out_sku_id", limit=80)
                or reader.identifier("sku_id", limit=80),
                title=reader.text("product_name", limit=200),
                quantity=reader.quantity("item_num"),
                price_fen=reader.fen("origin_amount"),
                amount_fen=reader.fen("pay_amount"),
                freight_fen=reader.fen("post_amount"),
                is_gift=is_gift,
                gift_of=_read_master(reader) if is_gift else "",
                ship_by=reader.unix_seconds("exp_ship_time"),
                status=reader.identifier("order_status", limit=100),
                refund_state=_read_refund(reader.one("after_sale_info"), notices),
                warehouse=_read_warehouse(reader),
            )
        )
    return tuple(lines)


def _count_gifts(sku_orders: Sequence[Reader], lines: Sequence[CanonicalLine]) -> int | None:
    """Pieces that are gifts; None when no line says whether it is one."""
    if not any(line.has("given_product_type") for line in sku_orders):
        return None
    return sum(line.quantity for line in lines if line.is_gift)


def _read_master(reader: Reader) -> str:
    """The line a gift came with: the first of `master_sku_order_id_list`."""
    told = reader.raw("master_sku_order_id_list")
    first = told[0] if isinstance(told, list) and told else None
    if not isinstance(first, str | int) or isinstance(first, bool):
        return ""
    return _cut_suffix(Reader({"id": first}, reader.path_of("master")).identifier("id", limit=65))


def _read_warehouse(reader: Reader) -> str:
    """The merchant's own code of the warehouse, else the platform's."""
    for stock in reader.many("inventory_list"):
        for key in ("out_warehouse_id", "warehouse_id"):
            if code := stock.identifier(key, limit=60):
                return code
    return ""


def _has_tag(order: Reader, words: tuple[str, ...]) -> bool:
    """Whether a tag shown to the merchant says one of these words.

    The keys of tags are documented nowhere; their texts are what a person in the shop reads.
    """
    lists = (order.raw(key) for key in ("shop_order_tag_ui", "address_tag_ui", "user_tag_ui"))
    tags = (tag for told in lists if isinstance(told, list) for tag in told)
    texts = (tag.get("text") for tag in tags if isinstance(tag, Mapping))
    return any(word in text for text in texts if isinstance(text, str) for word in words)


def _find_refund(sku_orders: Sequence[Reader]) -> RefundState:
    """An open refund of any line; done only when every line that was paid for is refunded."""
    states = []
    for line in sku_orders:
        state = _read_refund(line.one("after_sale_info"), [])
        if state is not RefundState.NONE or line.text("given_product_type") != "FREE":
            states.append(state)
    for state in _OPEN_REFUNDS:
        if state in states:
            return state
    is_done = bool(states) and all(state is RefundState.DONE for state in states)
    return RefundState.DONE if is_done else RefundState.NONE


def _read_refund(after_sale: Reader, notices: list[Notice]) -> RefundState:
    status = after_sale.integer("after_sale_status")
    if after_sale.integer("after_sale_type") in _NO_REFUND_TYPES:
        return RefundState.NONE
    if after_sale.integer("refund_status") == _REFUND_SUCCEEDED:
        return RefundState.DONE
    if status is None:
        return RefundState.NONE
    if status not in _AFTER_SALES:
        notices.append(
            Notice("unmapped_value", after_sale.path_of("after_sale_status"), str(status))
        )
    return _AFTER_SALES.get(status, RefundState.NONE)


def _find_delivery(sku_orders: Sequence[Reader]) -> datetime | None:
    """The last line's delivery, once every line is delivered."""
    moments = [line.unix_seconds("logistics_receipt_time") for line in sku_orders]
    told = [moment for moment in moments if moment is not None]
    return max(told) if told and len(told) == len(moments) else None


def _read_place(address: Reader, key: str) -> str | None:
    """A name of the address; None when the platform told none."""
    return address.one(key).text_or_none("name", limit=40)


def _cut_suffix(number: str) -> str:
    """Old documents write a trailing A behind an order's number (channels.md 5.2)."""
    return number[:-1] if number.endswith("A") and number[:-1].isdigit() else number


def _join(*parts: str) -> str:
    return "\n".join(part for part in parts if part)
