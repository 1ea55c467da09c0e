"""Our fields a column may be mapped to: label, type, and the headers files use for them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from config.errors import gettext_noop

# What one file of a set holds, with what a person reads; the order is the order of reading.
HOLDS: dict[str, str] = {
    "orders": gettext_noop("订单"),
    "lines": gettext_noop("订单行（商品明细）"),
    "payments": gettext_noop("平台付款"),
    "gateway": gettext_noop("支付网关流水"),
    "oms": gettext_noop("OMS 接收记录"),
    "wms": gettext_noop("WMS 接收记录"),
    "customers": gettext_noop("客户（按编号补进订单）"),
    "products": gettext_noop("商品（按编号补进订单行）"),
}
LOOKUPS = {"customers": "orders", "products": "lines"}
# The level of our fields a file may fill; an orders file with one row per line fills both.
LEVELS: dict[str, tuple[str, ...]] = {
    "orders": ("order", "line"),
    "lines": ("line",),
    "payments": ("payment",),
    "gateway": ("payment",),
    "oms": ("receipt",),
    "wms": ("receipt",),
    "customers": ("order",),
    "products": ("line",),
}
KEY_FIELD = {
    "orders": "order.order_no",
    "lines": "line.order_no",
    "payments": "payment.order_no",
    "gateway": "payment.order_no",
    "oms": "receipt.order_no",
    "wms": "receipt.order_no",
}


@dataclass(frozen=True, slots=True)
class Field:
    """One of our fields. `type` decides how a cell is read; `words` names a table of words."""

    name: str
    label: str
    type: str
    synonyms: tuple[str, ...] = ()
    max_length: int = 0
    is_personal: bool = False
    lowest: int = 0

    @property
    def level(self) -> str:
        return self.name.partition(".")[0]

    @property
    def attribute(self) -> str:
        return self.name.partition(".")[2]


def _field(name: str, label: str, kind: str, synonyms: str = "", **more: int | bool) -> Field:
    return Field(name, label, kind, tuple(synonyms.split()), **more)  # type: ignore[arg-type] # table


_ORDER_NO = (
    "订单号 订单编号 主订单编号 交易单号 交易编号 平台订单号 父订单号 外部订单号 来源单号 原始单号 "
    "商户订单号 商家订单号 关联订单号 销售订单号 order_id orderid order_no order_number order_sn orderno tid "
    "out_trade_no merchant_order_no 订单id 单号"
)
FIELDS: tuple[Field, ...] = (
    _field("order.order_no", gettext_noop("订单号"), "key", _ORDER_NO, max_length=64),
    _field(
        "order.channel",
        gettext_noop("渠道"),
        "channel",
        "渠道 平台 销售渠道 来源平台 订单来源 channel platform",
    ),
    _field(
        "order.shop",
        gettext_noop("店铺"),
        "text",
        "店铺 店铺名称 店铺名 门店 店名 shop shop_name store store_name",
        max_length=100,
    ),
    _field(
        "order.stage",
        gettext_noop("平台状态"),
        "stage",
        "平台状态 订单状态 交易状态 状态 order_status status trade_status",
        max_length=100,
    ),
    _field("order.raw_status", gettext_noop("平台状态（只保留原文）"), "text", "", max_length=100),
    _field(
        "order.placed_at",
        gettext_noop("下单时间"),
        "time",
        "下单时间 创建时间 订单创建时间 拍下时间 订单提交时间 order_purchase_timestamp created_at create_time created order_time order_date placed_at 下单日期",
    ),
    _field(
        "order.paid_at",
        gettext_noop("付款时间"),
        "time",
        "付款时间 支付时间 订单付款时间 买家付款时间 支付完成时间 paid_at pay_time payment_time 付款日期",
    ),
    _field(
        "order.approved_at",
        gettext_noop("付款确认时间"),
        "time",
        "付款确认时间 支付确认时间 order_approved_at approved_at payment_confirm_time",
    ),
    _field(
        "order.shipped_at",
        gettext_noop("发货时间"),
        "time",
        "发货时间 订单发货时间 实际发货时间 order_delivered_carrier_date shipped_at ship_time delivery_time consign_time",
    ),
    _field(
        "order.delivered_at",
        gettext_noop("签收时间"),
        "time",
        "签收时间 收货时间 确认收货时间 妥投时间 order_delivered_customer_date delivered_at received_time",
    ),
    _field(
        "order.closed_at",
        gettext_noop("关闭时间"),
        "time",
        "关闭时间 取消时间 交易关闭时间 closed_at cancel_time",
    ),
    _field(
        "order.promised_ship_at",
        gettext_noop("承诺发货时间"),
        "time",
        "承诺发货时间 最晚发货时间 应发货时间 发货截止时间 预计发货时间 promised_ship_at latest_delivery_time ship_deadline",
    ),
    _field(
        "order.estimated_delivery_at",
        gettext_noop("预计送达时间"),
        "time",
        "预计送达时间 承诺送达时间 预计到达时间 order_estimated_delivery_date estimated_delivery_at eta",
    ),
    _field(
        "order.source_updated_at",
        gettext_noop("平台更新时间"),
        "time",
        "更新时间 修改时间 最后修改时间 updated_at modified update_time",
    ),
    _field(
        "order.goods_fen",
        gettext_noop("商品金额"),
        "money",
        "商品金额 商品总额 货款 宝贝总价 商品合计 goods_amount total_fee",
    ),
    _field(
        "order.freight_fen",
        gettext_noop("运费"),
        "money",
        "运费 邮费 买家应付邮费 快递费 post_fee shipping_fee freight",
    ),
    _field(
        "order.shop_discount_fen",
        gettext_noop("店铺优惠"),
        "money",
        "店铺优惠 商家优惠 店铺折扣 shop_discount seller_discount",
    ),
    _field(
        "order.platform_discount_fen",
        gettext_noop("平台优惠"),
        "money",
        "平台优惠 平台补贴 platform_discount",
    ),
    _field(
        "order.coupon_fen",
        gettext_noop("优惠券"),
        "money",
        "优惠券 优惠券金额 红包 coupon coupon_amount",
    ),
    _field(
        "order.payable_fen",
        gettext_noop("应付金额"),
        "money",
        "应付金额 应付 应付款 买家应付货款 订单应付金额 订单金额 总金额 order_amount payable payable_amount total_amount",
    ),
    _field(
        "order.paid_fen",
        gettext_noop("实付金额"),
        "money",
        "实付金额 实付 实付款 实收金额 买家实际支付金额 支付金额 实际支付 paid_amount pay_amount payment received_amount",
    ),
    _field(
        "order.refunded_fen",
        gettext_noop("退款金额"),
        "money",
        "退款金额 已退金额 refund_amount refunded",
    ),
    _field(
        "order.payment_method",
        gettext_noop("支付方式"),
        "text",
        "支付方式 付款方式 支付渠道 pay_type payment_method payment_type",
        max_length=40,
    ),
    _field("order.is_cod", gettext_noop("货到付款"), "logical", "货到付款 是否货到付款 cod is_cod"),
    _field(
        "order.refund_state",
        gettext_noop("退款"),
        "refund",
        "退款 退款状态 售后状态 refund_status refund",
    ),
    _field(
        "order.group_state", gettext_noop("拼团"), "group", "拼团 拼团状态 成团状态 group_status"
    ),
    _field(
        "order.risk_state",
        gettext_noop("风控标记"),
        "risk",
        "风控标记 风控 风控状态 审核状态 风险标记 risk_status risk risk_control_status",
        max_length=60,
    ),
    _field(
        "order.presale_phase",
        gettext_noop("预售阶段"),
        "presale",
        "预售阶段 预售状态 分阶段状态 step_trade_status presale_phase",
    ),
    _field(
        "order.deposit_fen",
        gettext_noop("定金"),
        "money",
        "定金 定金金额 预售定金 deposit deposit_amount",
    ),
    _field(
        "order.deposit_paid_at",
        gettext_noop("定金支付时间"),
        "time",
        "定金支付时间 定金付款时间 deposit_paid_at",
    ),
    _field(
        "order.balance_fen", gettext_noop("尾款"), "money", "尾款 尾款金额 balance balance_amount"
    ),
    _field(
        "order.balance_paid_at",
        gettext_noop("尾款支付时间"),
        "time",
        "尾款支付时间 尾款付款时间 balance_paid_at",
    ),
    _field(
        "order.balance_opens_at",
        gettext_noop("尾款开始"),
        "time",
        "尾款开始 尾款开始时间 balance_start balance_opens_at",
    ),
    _field(
        "order.balance_due_at",
        gettext_noop("尾款截止"),
        "time",
        "尾款截止 尾款截止时间 尾款结束时间 balance_end balance_due_at",
    ),
    _field(
        "order.gifts_due", gettext_noop("赠品应发"), "count", "赠品应发 应发赠品 赠品数量 gifts_due"
    ),
    _field(
        "order.gifts_packed", gettext_noop("赠品已配"), "count", "赠品已配 已配赠品 gifts_packed"
    ),
    _field(
        "order.parent_no",
        gettext_noop("关联订单号"),
        "key",
        "关联订单号 关联订单 父订单号 主订单号 原订单号 特权定金订单号 定金订单号 parent_no parent_order_no related_order_no",
        max_length=64,
    ),
    _field(
        "order.buyer",
        gettext_noop("买家"),
        "text",
        "买家 买家昵称 买家会员名 买家账号 用户名 会员名 用户id customer_unique_id buyer buyer_nick buyer_id",
        max_length=200,
        is_personal=True,
    ),
    _field(
        "order.receiver_name",
        gettext_noop("收货人"),
        "text",
        "收货人 收货人姓名 收件人 收件人姓名 receiver receiver_name",
        max_length=100,
        is_personal=True,
    ),
    _field(
        "order.receiver_phone",
        gettext_noop("收货电话"),
        "key",
        "收货电话 联系电话 联系手机 手机 手机号 收货人手机 收货人手机号 收件人手机 收件人电话 电话 phone mobile receiver_mobile receiver_phone",
        max_length=40,
        is_personal=True,
    ),
    _field(
        "order.province",
        gettext_noop("省"),
        "text",
        "省 省份 收货省份 收货省 province customer_state state receiver_state",
        max_length=40,
    ),
    _field(
        "order.city",
        gettext_noop("市"),
        "text",
        "市 城市 收货城市 收货市 city customer_city receiver_city",
        max_length=60,
    ),
    _field(
        "order.district",
        gettext_noop("区县"),
        "text",
        "区县 区 县 区/县 收货区县 收货区 district receiver_district",
        max_length=60,
    ),
    _field(
        "order.town",
        gettext_noop("街道"),
        "text",
        "街道 乡镇 街道/乡镇 town receiver_town",
        max_length=60,
    ),
    _field(
        "order.postcode",
        gettext_noop("邮编"),
        "key",
        "邮编 邮政编码 收货邮编 zip zipcode postcode postal_code customer_zip_code_prefix",
        max_length=20,
    ),
    _field(
        "order.address_detail",
        gettext_noop("详细地址"),
        "text",
        "详细地址 收货地址 收件地址 地址 收货人地址 address receiver_address address_detail",
        max_length=500,
        is_personal=True,
    ),
    _field(
        "order.remark",
        gettext_noop("备注"),
        "text",
        "备注 订单备注 买家留言 卖家备注 商家备注 留言 remark memo note buyer_message",
        max_length=2000,
    ),
    _field("line.order_no", gettext_noop("订单号"), "key", _ORDER_NO, max_length=64),
    _field(
        "line.line_id",
        gettext_noop("行号"),
        "key",
        "行号 子订单号 子订单编号 明细编号 商品行号 order_item_id item_id line_id line_no oid",
        max_length=64,
    ),
    _field(
        "line.sku",
        gettext_noop("SKU"),
        "key",
        "sku sku编码 商品编码 商家编码 规格编码 货号 外部系统编号 product_id sku_id outer_iid",
        max_length=80,
    ),
    _field(
        "line.title",
        gettext_noop("商品"),
        "text",
        "商品 商品名称 宝贝标题 宝贝名称 标题 商品标题 title product_name item_name goods_name",
        max_length=200,
    ),
    _field(
        "line.quantity",
        gettext_noop("数量"),
        "count",
        "数量 商品数量 购买数量 宝贝总数量 件数 quantity qty num",
    ),
    _field(
        "line.price_fen",
        gettext_noop("单价"),
        "money",
        "单价 商品单价 价格 商品价格 price unit_price",
    ),
    _field(
        "line.amount_fen",
        gettext_noop("行金额"),
        "money",
        "行金额 小计 金额 明细金额 amount line_amount subtotal",
    ),
    _field(
        "line.freight_fen", gettext_noop("行运费"), "money", "行运费 freight_value line_freight"
    ),
    _field("line.is_gift", gettext_noop("赠品"), "logical", "赠品 是否赠品 is_gift gift"),
    _field(
        "line.seller",
        gettext_noop("卖家"),
        "text",
        "卖家 供应商 商家 seller seller_id vendor",
        max_length=80,
    ),
    _field(
        "line.stock_available",
        gettext_noop("可用库存"),
        "stock",
        "可用库存 库存 当前库存 可售库存 stock stock_available available",
    ),
    _field(
        "line.locked_at",
        gettext_noop("锁定时间"),
        "time",
        "锁定时间 锁库时间 库存锁定时间 locked_at",
    ),
    _field(
        "line.ship_by",
        gettext_noop("发货期限"),
        "time",
        "发货期限 最晚发货 shipping_limit_date ship_by",
    ),
    _field(
        "line.category",
        gettext_noop("类目"),
        "text",
        "类目 商品类目 分类 品类 category product_category_name",
        max_length=100,
    ),
    _field(
        "line.weight_g",
        gettext_noop("重量（克）"),
        "number",
        "重量 商品重量 weight product_weight_g weight_g",
    ),
    _field(
        "line.length_cm",
        gettext_noop("长（厘米）"),
        "number",
        "长 长度 length product_length_cm length_cm",
    ),
    _field(
        "line.width_cm",
        gettext_noop("宽（厘米）"),
        "number",
        "宽 宽度 width product_width_cm width_cm",
    ),
    _field(
        "line.height_cm",
        gettext_noop("高（厘米）"),
        "number",
        "高 高度 height product_height_cm height_cm",
    ),
    _field("payment.order_no", gettext_noop("订单号"), "key", _ORDER_NO, max_length=64),
    _field(
        "payment.payment_id",
        gettext_noop("流水号"),
        "key",
        "流水号 支付流水号 支付单号 交易流水号 交易号 支付交易号 微信支付单号 payment_sequential payment_id transaction_id trade_no",
        max_length=80,
    ),
    _field(
        "payment.method",
        gettext_noop("支付方式"),
        "text",
        "支付方式 付款方式 支付渠道 payment_type method pay_type",
        max_length=40,
    ),
    _field(
        "payment.status",
        gettext_noop("支付状态"),
        "payment_status",
        "支付状态 交易状态 状态 payment_status trade_state status",
    ),
    _field(
        "payment.amount_fen",
        gettext_noop("支付金额"),
        "money",
        "支付金额 金额 交易金额 实付金额 付款金额 payment_value amount total_fee pay_amount",
    ),
    _field(
        "payment.paid_at",
        gettext_noop("支付时间"),
        "time",
        "支付时间 付款时间 交易时间 支付完成时间 success_time paid_at pay_time time_end",
    ),
    _field("payment.phase", gettext_noop("预售阶段"), "phase", "预售阶段 付款阶段 phase"),
    _field("receipt.order_no", gettext_noop("订单号"), "key", _ORDER_NO, max_length=64),
    _field(
        "receipt.received_at",
        gettext_noop("接收时间"),
        "time",
        "接收时间 接单时间 下载时间 入库时间 推送时间 received_at receive_time created_at 创建时间",
    ),
    _field(
        "receipt.reviewed_at",
        gettext_noop("审单时间"),
        "time",
        "审单时间 审核时间 审核通过时间 reviewed_at audit_time",
    ),
    _field(
        "receipt.picked_at",
        gettext_noop("拣货时间"),
        "time",
        "拣货时间 打包时间 拣货完成时间 picked_at pick_time",
    ),
    _field(
        "receipt.shipped_at",
        gettext_noop("出库时间"),
        "time",
        "出库时间 发货时间 发运时间 shipped_at ship_time out_time",
    ),
)
BY_NAME: dict[str, Field] = {field.name: field for field in FIELDS}
TIME_TYPES = frozenset({"time", "datetime"})
# Types whose cells are words that a table of the mapping explains.
WORD_TYPES = {
    "stage": "stage",
    "presale": "presale",
    "refund": "refund",
    "group": "group",
    "risk": "risk",
    "payment_status": "payment_status",
    "phase": "phase",
}


def list_fields(holds: str) -> list[Field]:
    """The fields a file of this kind may fill, in reading order."""
    levels: Iterable[str] = LEVELS[holds]
    fields = [f for f in FIELDS if f.level in levels]
    key = KEY_FIELD.get(holds)
    return [f for f in fields if f.attribute != "order_no" or f.name == key]
