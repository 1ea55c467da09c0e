"""Every name a formula may use: label, alias, type, unit, source, example. Pure.

A fact is a value, blank (known to be empty) or unknown (not told yet). Facts of the order follow
the order's own channel feed; those of the gateway, OMS and WMS the oldest feed of their kind.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from config.errors import gettext_noop
from connectors.orders.nodes import DEFAULT_NODES
from connectors.orders.statuses import STAGE_LABELS
from rules_engine.formula import Field, Names, Table, Term, ValueType

DEFAULT_NODE_LABELS: Final = tuple((node.code, node.label) for node in DEFAULT_NODES)
CATALOG_VERSION: Final = 5  # raise it when a stored value changes its meaning

NUMBER, MONEY, TEXT = ValueType.NUMBER, ValueType.MONEY, ValueType.TEXT
LOGICAL, DATETIME, ROWS = ValueType.LOGICAL, ValueType.DATETIME, ValueType.ROWS

CHANNEL, GATEWAY, OMS, WMS = "channel", "gateway", "oms", "wms"
SOURCE_LABELS: Final[dict[str, str]] = {
    CHANNEL: gettext_noop("渠道订单"),
    GATEWAY: gettext_noop("支付网关"),
    OMS: "OMS",
    WMS: "WMS",
}


@dataclass(frozen=True, slots=True)
class Fact(Field):
    """A field with where it comes from.

    `source`: the kind of feed that tells it ("" = known by ourselves). `column`: the attribute of
    the order it is read from ("" = computed). `is_occurrence`: a moment that an as-of run hides
    when it is later. `is_current`: added at reading, not part of a snapshot (clock, freshness).
    """

    source: str = ""
    topic: str = ""
    column: str = ""
    is_personal: bool = False
    is_occurrence: bool = False
    is_current: bool = False


_ORDER: Final = gettext_noop("订单")
_TIMES: Final = gettext_noop("时间")
_AMOUNTS: Final = gettext_noop("金额")
_FLAGS: Final = gettext_noop("标记")
_PRESALE: Final = gettext_noop("预售与赠品")
_PAYMENT: Final = gettext_noop("支付网关")
_SYSTEMS: Final = gettext_noop("OMS 与 WMS")
_ADDRESS: Final = gettext_noop("地址")
_NODE: Final = gettext_noop("节点与时钟")
_FRESHNESS: Final = gettext_noop("数据新鲜度")
_ROWS_TOPIC: Final = gettext_noop("明细与付款")
_RELATED: Final = gettext_noop("其他订单")
_CUSTOM: Final = gettext_noop("自定义字段")


def _fact(
    id: str,
    label: str,
    alias: str,
    type: ValueType,
    topic: str,
    example: str,
    description: str = "",
    *,
    unit: str = "",
    source: str = CHANNEL,
    column: str = "",
    is_personal: bool = False,
    is_occurrence: bool = False,
    is_current: bool = False,
    columns: tuple[Field, ...] = (),
    is_prefetched: bool = False,
    is_hidden: bool = False,
) -> Fact:
    return Fact(
        id=id,
        label=label,
        alias=alias,
        type=type,
        description=description,
        unit=unit,
        example=example,
        columns=columns,
        source=source,
        topic=topic,
        column=column,
        is_personal=is_personal,
        is_occurrence=is_occurrence,
        is_current=is_current,
        is_prefetched=is_prefetched,
        is_hidden=is_hidden,
    )


def _time(
    id: str,
    label: str,
    alias: str,
    description: str = "",
    *,
    topic: str = _TIMES,
    source: str = CHANNEL,
    occurs: bool = True,
) -> Fact:
    return _fact(
        f"order.{id}",
        label,
        alias,
        DATETIME,
        topic,
        "2025-11-11 00:15",
        description,
        source=source,
        column=id,
        is_occurrence=occurs,
    )


def _money(
    id: str,
    label: str,
    alias: str,
    description: str = "",
    *,
    topic: str = _AMOUNTS,
    source: str = CHANNEL,
) -> Fact:
    return _fact(
        f"order.{id.removesuffix('_fen')}",
        label,
        alias,
        MONEY,
        topic,
        "128.00",
        description,
        unit=gettext_noop("元"),
        source=source,
        column=id,
    )


def _personal(id: str, label: str, alias: str, example: str, description: str) -> Fact:
    """Of the receiver, in clear for formulas only; opened only for those that use it."""
    return _fact(
        id, label, alias, TEXT, _ADDRESS, example, description, is_personal=True, is_prefetched=True
    )  # fmt: skip


def _text(
    id: str,
    label: str,
    alias: str,
    example: str,
    description: str = "",
    *,
    topic: str = _ORDER,
    is_personal: bool = False,
) -> Fact:
    return _fact(
        f"order.{id}",
        label,
        alias,
        TEXT,
        topic,
        example,
        description,
        column=id,
        is_personal=is_personal,
    )


def _column(
    rows: str, id: str, label: str, alias: str, type: ValueType, example: str, unit: str = ""
) -> Field:
    return Field(id=f"{rows}.{id}", label=label, alias=alias, type=type, unit=unit, example=example)


_YUAN: Final = gettext_noop("元")
_MINUTES: Final = gettext_noop("分钟")
_HOURS: Final = gettext_noop("小时")

LINE_COLUMNS: Final[tuple[Field, ...]] = (
    _column("lines", "sku", "SKU", "sku_code", TEXT, "SKU104"),
    _column("lines", "title", "商品", "product_title", TEXT, "针织开衫"),
    _column("lines", "quantity", "数量", "quantity", NUMBER, "2"),
    _column("lines", "price", "单价", "price", MONEY, "59.00", _YUAN),
    _column("lines", "amount", "行金额", "line_amount", MONEY, "118.00", _YUAN),
    _column("lines", "freight", "行运费", "line_freight", MONEY, "8.00", _YUAN),
    _column("lines", "is_gift", "是赠品", "is_gift", LOGICAL, "否"),
    _column("lines", "seller", "卖家", "seller", TEXT, "S01"),
    _column("lines", "stock_available", "可用库存", "stock_available", NUMBER, "300"),
    _column("lines", "locked_at", "锁定时间", "locked_at", DATETIME, "2025-11-11 00:16"),
    _column("lines", "ship_by", "发货期限", "ship_by", DATETIME, "2025-11-13 00:00"),
    _column("lines", "category", "类目", "category", TEXT, "女装/针织"),
    _column("lines", "weight_g", "重量", "weight_g", NUMBER, "450", gettext_noop("克")),
    _column("lines", "length_cm", "长度厘米", "length_cm", NUMBER, "30", gettext_noop("厘米")),
    _column("lines", "width_cm", "宽度厘米", "width_cm", NUMBER, "20", gettext_noop("厘米")),
    _column("lines", "height_cm", "高度厘米", "height_cm", NUMBER, "5", gettext_noop("厘米")),
    _column("lines", "gift_of", "赠品归属行", "gift_of", TEXT, "2890000000000000002"),
    _column("lines", "status", "行状态", "line_status", TEXT, "WAIT_SELLER_SEND_GOODS"),
    _column("lines", "refund_state", "行退款状态", "line_refund_state", TEXT, "已退款"),
    _column("lines", "warehouse", "发货仓", "warehouse", TEXT, "HZ-01"),
    _column("lines", "is_oversold", "行超卖", "is_line_oversold", LOGICAL, "否"),
)
PAYMENT_COLUMNS: Final[tuple[Field, ...]] = (
    _column("payments", "payment_id", "流水号", "payment_id", TEXT, "P20251111001"),
    _column("payments", "method", "付款方式", "method", TEXT, "支付宝"),
    _column("payments", "status", "付款状态", "status", TEXT, "支付成功"),
    _column("payments", "phase", "付款阶段", "phase", TEXT, "尾款"),
    _column("payments", "amount", "付款金额", "amount", MONEY, "128.00", _YUAN),
    _column("payments", "paid_at", "到账时间", "paid_at", DATETIME, "2025-11-11 00:15"),
    _column("payments", "is_gateway", "来自网关", "is_gateway", LOGICAL, "是"),
)
LINES_ID: Final = "lines"
PAYMENTS_ID: Final = "payments"

# --- what is fetched beside the order, only for formulas that use it -------------------------------

MAX_RELATED: Final = 50  # rows of a relation, the newest
RELATED_DAYS: Final = 30  # how far back buyers and addresses are followed
SAME_SKU_HOURS: Final = 24
RECEIVER_NAME, RECEIVER_PHONE = "receiver.name", "receiver.phone"
RECEIVER_ADDRESS: Final = "receiver.address"
LINKED, SAME_BUYER = "relation.linked", "relation.same_buyer"
SAME_ADDRESS, SAME_SKU = "relation.same_address", "relation.same_sku"
PASSAGES, EVENTS = "history.passages", "history.events"
USED_PROMOTIONS, PARCELS = "promotions", "shipments"
PROMOTIONS_ID, HOLIDAYS_ID = "calendar.promotions", "calendar.holidays"
_PIECES: Final = gettext_noop("件")


def _related_columns(rows: str) -> tuple[Field, ...]:
    """What a formula sees of another order: nothing personal."""
    return (
        _column(rows, "order_no", "订单号", "order_no", TEXT, "MP100110000234"),
        _column(rows, "channel", "渠道", "channel", TEXT, "天猫"),
        _column(rows, "shop", "店铺", "shop", TEXT, "天猫旗舰店"),
        _column(rows, "stage", "阶段", "stage", TEXT, "待发货"),
        _column(rows, "is_over", "已结束", "is_over", LOGICAL, "否"),
        _column(rows, "placed_at", "下单时间", "placed_at", DATETIME, "2025-11-11 00:15"),
        _column(rows, "paid_at", "付款时间", "paid_at", DATETIME, "2025-11-11 00:15"),
        _column(rows, "shipped_at", "发货时间", "shipped_at", DATETIME, "2025-11-12 09:30"),
        _column(rows, "payable", "应付金额", "payable_amount", MONEY, "128.00", _YUAN),
        _column(rows, "paid", "实付金额", "paid_amount", MONEY, "128.00", _YUAN),
        _column(rows, "quantity", "数量", "quantity", NUMBER, "2", _PIECES),
        _column(rows, "refund_state", "退款状态", "refund_state", TEXT, "已退款"),
        _column(rows, "presale_phase", "预售阶段", "presale_phase", TEXT, "定金已付"),
        _column(rows, "deposit", "定金", "deposit", MONEY, "50.00", _YUAN),
        _column(rows, "deposit_paid_at", "定金支付时间", "deposit_paid_at", DATETIME, "2025-11-01 20:05"),
        _column(rows, "balance_due_at", "尾款截止", "balance_due_at", DATETIME, "2025-11-12 00:00"),
    )  # fmt: skip


def _relation(id: str, label: str, alias: str, description: str, *more: Field) -> Fact:
    return _fact(
        id,
        label,
        alias,
        ROWS,
        _RELATED,
        f"计数({label}, 距今天数(下单时间) <= 7)",
        description,
        columns=(*_related_columns(id), *more),
        is_prefetched=True,
    )


def _hidden(id: str, label: str, source: str, *columns: Field) -> Fact:
    alias = id.replace(".", "_")
    return _fact(
        id, label, alias, ROWS, _NODE, "", source=source, columns=columns,
        is_prefetched=True, is_hidden=True,
    )  # fmt: skip


RELATIONS: Final[tuple[Fact, ...]] = (
    _relation(
        LINKED,
        "关联订单",
        "linked_orders",
        gettext_noop(
            "平台说与这张订单有关的订单：特权定金、拆单前后的订单；列名与本单相同时，本单的写成 本单付款时间"
        ),
        _column(LINKED, "link", "关系", "link", TEXT, "上级"),
    ),
    _relation(
        SAME_BUYER,
        "同买家订单",
        "same_buyer_orders",
        gettext_noop("同一买家最近 30 天的其他订单，最多 50 张，新的在前；平台没有给出买家时未知"),
    ),
    _relation(
        SAME_ADDRESS,
        "同地址订单",
        "same_address_orders",
        gettext_noop("收件地址完全相同的最近 30 天的其他订单，最多 50 张；平台隐藏了地址时未知"),
    ),
    _relation(
        SAME_SKU,
        "同商品订单",
        "same_sku_orders",
        gettext_noop("最近 24 小时里含有同一 SKU 的其他订单，最多 50 张，新的在前；赠品不算"),
    ),
)
OWN_PARTS: Final[tuple[Fact, ...]] = (
    _fact(
        USED_PROMOTIONS,
        "促销",
        "promotions",
        ROWS,
        _ROWS_TOPIC,
        '计数(促销, 促销工具="coupon") <= 1',
        gettext_noop("订单用到的优惠和赠品活动，平台给出几项就有几行"),
        columns=(
            _column(USED_PROMOTIONS, "tool", "促销工具", "promotion_tool", TEXT, "mjs"),
            _column(USED_PROMOTIONS, "name", "活动名称", "promotion_name", TEXT, "满 200 减 20"),
            _column(USED_PROMOTIONS, "promotion_id", "活动编号", "promotion_id", TEXT, "mjs-123024_211143"),
            _column(USED_PROMOTIONS, "discount", "优惠金额", "promotion_discount", MONEY, "20.00", _YUAN),
            _column(USED_PROMOTIONS, "funder", "承担方", "promotion_funder", TEXT, "店铺"),
            _column(USED_PROMOTIONS, "gift_sku", "赠品SKU", "promotion_gift_sku", TEXT, "GIFT-SOCKS"),
            _column(USED_PROMOTIONS, "gift_quantity", "赠品件数", "promotion_gift_quantity", NUMBER, "1", _PIECES),
        ),
        is_prefetched=True,
    ),
    _fact(
        PARCELS,
        "发货包裹",
        "shipments",
        ROWS,
        _ROWS_TOPIC,
        "计数(发货包裹, 是空(运单号))",
        gettext_noop("渠道说已经发出的包裹；渠道的数据滞后时未知"),
        columns=(
            _column(PARCELS, "tracking_no", "运单号", "tracking_no", TEXT, "SF1000000000001"),
            _column(PARCELS, "company", "快递公司", "carrier", TEXT, "顺丰速运"),
            _column(PARCELS, "shipped_at", "包裹发出时间", "parcel_shipped_at", DATETIME, "2025-11-12 09:30"),
            _column(PARCELS, "quantity", "包裹件数", "parcel_quantity", NUMBER, "2", _PIECES),
        ),
        is_prefetched=True,
    ),
)  # fmt: skip
HIDDEN: Final[tuple[Fact, ...]] = (
    _hidden(
        PASSAGES,
        "节点经过",
        "",
        _column(PASSAGES, "node", "节点", "node", TEXT, ""),
        _column(PASSAGES, "entered_at", "进入", "entered_at", DATETIME, ""),
        _column(PASSAGES, "left_at", "离开", "left_at", DATETIME, ""),
    ),
    _hidden(
        EVENTS,
        "状态变化",
        CHANNEL,
        _column(EVENTS, "stage", "阶段", "stage", TEXT, ""),
        _column(EVENTS, "at", "时间", "at", DATETIME, ""),
    ),
    _hidden(
        PROMOTIONS_ID,
        "促销日历",
        "",
        _column(PROMOTIONS_ID, "name", "活动", "name", TEXT, ""),
        _column(PROMOTIONS_ID, "starts_at", "开始", "starts_at", DATETIME, ""),
        _column(PROMOTIONS_ID, "ends_at", "结束", "ends_at", DATETIME, ""),
    ),
    _hidden(
        HOLIDAYS_ID,
        "节假日",
        "",
        _column(HOLIDAYS_ID, "day", "日期", "day", DATETIME, ""),
        _column(HOLIDAYS_ID, "name", "名称", "name", TEXT, ""),
        _column(HOLIDAYS_ID, "is_workday", "上班", "is_workday", LOGICAL, ""),
    ),
)
RELATION_IDS: Final = frozenset(fact.id for fact in RELATIONS)
CALENDARS: Final = {PROMOTIONS_ID: "promotions", HOLIDAYS_ID: "holidays"}

FACTS: Final[tuple[Fact, ...]] = (
    _text("order_no", "订单号", "order_no", "MP100110000234"),
    _fact("order.channel", "渠道", "channel", TEXT, _ORDER, "天猫", "天猫、抖音、京东、拼多多、快手、微信小店、私域小程序或其他"),
    _fact("order.shop", "店铺", "shop", TEXT, _ORDER, "天猫旗舰店"),
    _fact("order.stage", "阶段", "stage", TEXT, _ORDER, "待发货", "统一后的阶段，例如 待付款、定金已付待尾款、已付待成团、待发货、已发货、已签收"),
    _text("raw_status", "平台状态", "raw_status", "买家已付款,等待卖家发货", "平台的原话"),
    _fact("order.stage_at", "进入阶段时间", "stage_at", DATETIME, _NODE, "2025-11-11 00:15"),
    _text("parent_no", "关联订单号", "parent_no", "3820119700001234", "平台说的上级订单：特权定金单，或拆单前的订单；没有时为空"),
    _text("remark", "备注", "remark", "尽快发货", is_personal=True),
    _time("placed_at", "下单时间", "placed_at"),
    _time("paid_at", "付款时间", "paid_at", "渠道说的付款时间；预售单是尾款付清的时间"),
    _time("review_at", "审核开始时间", "review_at", "付款之后平台才开始审核的时间，按我们看到的变化；一直在审核的为空"),
    _time("released_at", "放行时间", "released_at", "平台的审核、拼团或暂停结束的时间，按我们看到的变化"),
    _fact("order.ready_at", "可发货时间", "ready_at", DATETIME, _TIMES, "2025-11-11 00:15", "付款时间，或之后付款确认、平台放行的时间；下游从这时起应当收到订单", is_occurrence=True),
    _time("approved_at", "付款确认时间", "approved_at"),
    _time("shipped_at", "发货时间", "shipped_at", "渠道说的发货时间"),
    _time("delivered_at", "签收时间", "delivered_at"),
    _time("closed_at", "关闭时间", "closed_at"),
    _time("promised_ship_at", "承诺发货时间", "promised_ship_at", occurs=False),
    _time("collect_by", "最晚揽收时间", "collect_by", "平台要求快递最晚揽收的时间", occurs=False),
    _time("estimated_delivery_at", "预计送达时间", "estimated_delivery_at", occurs=False),
    _time("deadline_at", "最晚处理时间", "deadline_at", "尾款截止、承诺发货时间，或付款后 48 小时", occurs=False),
    _money("goods_fen", "商品金额", "goods_amount"),
    _money("freight_fen", "运费", "freight"),
    _money("shop_discount_fen", "店铺优惠", "shop_discount"),
    _money("platform_discount_fen", "平台优惠", "platform_discount"),
    _money("coupon_fen", "优惠券", "coupon"),
    _money("payable_fen", "应付金额", "payable_amount"),
    _money("paid_fen", "实付金额", "paid_amount"),
    _money("refunded_fen", "退款金额", "refunded_amount"),
    _text("payment_method", "支付方式", "payment_method", "支付宝"),
    _fact("order.is_cod", "货到付款", "is_cod", LOGICAL, _FLAGS, "否", column="is_cod"),
    _fact("order.is_credit_pay", "先用后付", "is_credit_pay", LOGICAL, _FLAGS, "否", "订单算已付，但钱还没到", column="is_credit_pay"),
    _fact("order.is_over", "已结束", "is_over", LOGICAL, _FLAGS, "否", "交易完成、未付关闭或付后关闭"),
    _fact("order.refund_state", "退款状态", "refund_state", TEXT, _FLAGS, "已退款", "退款申请中、待退货、平台介入、已退款、退款被拒；没有退款时为空"),
    _fact("order.partial_refund", "部分退款", "partial_refund", LOGICAL, _FLAGS, "否", "只有一部分商品或金额退了款", column="partial_refund"),
    _fact("order.group_state", "拼团状态", "group_state", TEXT, _FLAGS, "待成团", "待成团、已成团、拼团失败；不是拼团时为空"),
    _text("risk_state", "风控标记", "risk_state", "风控审核中", "平台的原话；没有未完成的审核或核实时为空", topic=_FLAGS),
    _text("platform_hold", "平台暂停原因", "platform_hold", "处方药待审核", "风控以外的暂停，平台的原话；没有时为空", topic=_FLAGS),
    _fact("order.address_change_pending", "地址修改待确认", "address_change_pending", LOGICAL, _FLAGS, "否", "买家在付款后改了地址，还没有发货", column="address_change_pending"),
    _fact("order.oversold", "超卖", "oversold", LOGICAL, _FLAGS, "否", "平台说至少一行卖超了库存", column="oversold"),
    _fact("order.buyer_urged", "买家催发货", "buyer_urged", LOGICAL, _FLAGS, "否", column="buyer_urged"),
    _fact("order.presale_phase", "预售阶段", "presale_phase", TEXT, _PRESALE, "定金已付", "定金未付、定金已付、尾款已付、定金罚没；不是预售时为空"),
    _money("deposit_fen", "定金", "deposit", topic=_PRESALE),
    _time("deposit_paid_at", "定金支付时间", "deposit_paid_at", topic=_PRESALE),
    _money("balance_fen", "尾款", "balance", topic=_PRESALE),
    _time("balance_paid_at", "尾款支付时间", "balance_paid_at", topic=_PRESALE),
    _time("balance_opens_at", "尾款开始", "balance_opens_at", topic=_PRESALE, occurs=False),
    _time("balance_due_at", "尾款截止", "balance_due_at", topic=_PRESALE, occurs=False),
    _fact("order.gifts_due", "赠品应发", "gifts_due", NUMBER, _PRESALE, "1", unit=gettext_noop("件"), column="gifts_due"),
    _fact("order.gifts_packed", "赠品已配", "gifts_packed", NUMBER, _PRESALE, "1", unit=gettext_noop("件"), column="gifts_packed"),
    _fact("order.gateway_status", "网关支付状态", "gateway_status", TEXT, _PAYMENT, "支付成功", "未支付、支付成功、已退款、已关闭、未知", source=GATEWAY),
    _time("gateway_paid_at", "网关支付时间", "gateway_paid_at", topic=_PAYMENT, source=GATEWAY),
    _money("gateway_paid_fen", "网关支付金额", "gateway_paid_amount", topic=_PAYMENT, source=GATEWAY),
    _time("oms_received_at", "OMS接收时间", "oms_received_at", topic=_SYSTEMS, source=OMS),
    _time("oms_reviewed_at", "OMS审单时间", "oms_reviewed_at", topic=_SYSTEMS, source=OMS),
    _time("wms_received_at", "WMS接收时间", "wms_received_at", topic=_SYSTEMS, source=WMS),
    _time("picked_at", "拣货时间", "picked_at", topic=_SYSTEMS, source=WMS),
    _time("wms_shipped_at", "出库时间", "wms_shipped_at", topic=_SYSTEMS, source=WMS),
    _text("province", "省", "province", "浙江省", topic=_ADDRESS),
    _text("city", "市", "city", "杭州市", topic=_ADDRESS),
    _text("district", "区县", "district", "余杭区", topic=_ADDRESS),
    _text("town", "街道", "town", "仓前街道", topic=_ADDRESS),
    _text("postcode", "邮编", "postcode", "310000", topic=_ADDRESS),
    _fact("order.is_address_visible", "地址可见", "is_address_visible", LOGICAL, _ADDRESS, "是", "平台给出了省、市、区县中的任何一级；发货前隐藏地址的平台为否"),
    _fact("order.is_city_undivided", "无区县城市", "is_city_undivided", LOGICAL, _ADDRESS, "否", "县级市、县，或不设区县的地级市（如 东莞市），没有区县也完整"),
    _fact("order.has_address_detail", "有详细地址", "has_address_detail", LOGICAL, _ADDRESS, "是", "平台常在发货前隐藏详细地址，不宜用来扣分", column="has_address_detail"),
    _personal(RECEIVER_NAME, "收货人", "receiver_name", "王**", "平台给出的收货人；只在公式里用，不显示"),
    _personal(RECEIVER_PHONE, "收货电话", "receiver_phone", "138****5678", "平台给出的电话，发货前可能带 *；用 手机号有效() 检查"),
    _personal(RECEIVER_ADDRESS, "详细地址", "address_detail", "文一西路***", "省市区县以下的地址，平台在发货前可能隐藏"),
    _fact(LINES_ID, "明细", "lines", ROWS, _ROWS_TOPIC, "求和(明细, 数量*单价)", "订单的商品行", columns=LINE_COLUMNS),
    _fact(PAYMENTS_ID, "付款", "payments", ROWS, _ROWS_TOPIC, "求和(付款, 付款金额)", "订单的付款流水", columns=PAYMENT_COLUMNS),
    *OWN_PARTS,
    *RELATIONS,
    _fact("now.node", "节点", "node", TEXT, _NODE, "推送WMS", "订单所在的节点", source="", is_current=True),
    _fact("now.node_entered_at", "进入节点时间", "node_entered_at", DATETIME, _NODE, "2025-11-11 00:15", source="", is_current=True),
    _fact("now.node_minutes", "在节点分钟", "node_minutes", NUMBER, _NODE, "42", "在当前节点停留了多久", unit=_MINUTES, source="", is_current=True),
    _fact("now.stage_hours", "在阶段小时", "stage_hours", NUMBER, _NODE, "3.5", "在当前阶段停留了多久", unit=_HOURS, is_current=True),
    _fact("now.channel_until", "渠道截至", "channel_until", DATETIME, _FRESHNESS, "2025-11-11 14:30", "这张订单所属渠道的数据完整到什么时间", is_current=True),
    _fact("now.gateway_until", "网关截至", "gateway_until", DATETIME, _FRESHNESS, "2025-11-11 14:30", "网关流水完整到什么时间", source=GATEWAY, is_current=True),
    _fact("now.oms_until", "OMS截至", "oms_until", DATETIME, _FRESHNESS, "2025-11-11 14:30", "OMS 数据完整到什么时间；判断“OMS 没有”用它，不用现在", source=OMS, is_current=True),
    _fact("now.wms_until", "WMS截至", "wms_until", DATETIME, _FRESHNESS, "2025-11-11 14:30", "WMS 数据完整到什么时间", source=WMS, is_current=True),
)  # fmt: skip
FIELDS: Final = FACTS

# The facts whose value moves with time or feeds although the order did not change.
MOVING_IDS: Final = frozenset(fact.id for fact in FACTS if fact.is_current)
UNTIL_IDS: Final[dict[str, str]] = {kind: f"now.{kind}_until" for kind in SOURCE_LABELS}

_CUSTOM_TYPES: Final = {
    "number": NUMBER,
    "money": MONEY,
    "text": TEXT,
    "logical": LOGICAL,
    "datetime": DATETIME,
}


@dataclass(frozen=True, slots=True)
class CustomDefinition:
    """A custom field as the catalogue sees it."""

    level: str  # order, line or payment
    key: str
    label: str
    type: str
    source: str


def custom_id(level: str, key: str) -> str:
    """The fact id of a custom field."""
    return {"order": "custom.", "line": "lines.custom.", "payment": "payments.custom."}[level] + key


def build_facts(custom: Sequence[CustomDefinition] = ()) -> tuple[Fact, ...]:
    """The whole catalogue of an environment: ours, then its custom fields."""
    if not custom:
        return FACTS
    extra: dict[str, list[Field]] = {"line": [], "payment": []}
    own: list[Fact] = []
    for item in custom:
        type = _CUSTOM_TYPES[item.type]
        unit = _YUAN if type is MONEY else ""
        if item.level == "order":
            own.append(
                Fact(
                    id=custom_id("order", item.key),
                    label=item.label,
                    alias=item.key,
                    type=type,
                    unit=unit,
                    source=item.source,
                    topic=_CUSTOM,
                )
            )
        else:
            extra[item.level].append(
                Field(custom_id(item.level, item.key), item.label, item.key, type, unit=unit)
            )
    more = {LINES_ID: extra["line"], PAYMENTS_ID: extra["payment"]}
    return tuple(_with_columns(f, more[f.id]) if more.get(f.id) else f for f in FACTS) + tuple(own)


def _with_columns(fact: Fact, columns: Iterable[Field]) -> Fact:
    return Fact(
        id=fact.id,
        label=fact.label,
        alias=fact.alias,
        type=fact.type,
        description=fact.description,
        unit=fact.unit,
        example=fact.example,
        columns=(*fact.columns, *columns),
        source=fact.source,
        topic=fact.topic,
    )


def build_names(
    custom: Sequence[CustomDefinition] = (),
    tables: Iterable[Table] = (),
    nodes: Iterable[tuple[str, str]] = DEFAULT_NODE_LABELS,
) -> Names:
    """The names a formula of an environment may use. nodes: (code, label)."""
    terms = [Term(f"node:{code}", label) for code, label in nodes]
    terms += [Term(f"stage:{code}", label) for code, label in STAGE_LABELS.items()]
    return Names((*build_facts(custom), *HIDDEN), tables, terms)


@dataclass(frozen=True, slots=True)
class SourceState:
    """How far one source (or kind of source) is known at the moment of scoring."""

    is_connected: bool
    is_late: bool = False
    until: datetime | None = None
