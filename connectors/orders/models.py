"""The canonical order and everything that hangs on it."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils.translation import gettext_lazy as _

from config.secrets import decrypt, mask_address, mask_name, mask_phone
from config.tenancy.models import EnvironmentModel, new_public_id
from connectors.orders.querysets import OrderManager
from connectors.orders.statuses import STAGE_LABELS, Stage
from connectors.shops.models import Channel, Shop, Source

# Purposes bind a ciphertext to its column (config.secrets).
NAME_PURPOSE = "order.receiver_name"
PHONE_PURPOSE = "order.receiver_phone"
ADDRESS_PURPOSE = "order.address_detail"
RAW_PURPOSE = "order.raw"


class Order(EnvironmentModel):
    """One order in our words. Money in fen, times aware, personal fields sealed.

    `revision` rises with every change that may move the score; `content_hash` is the guard that
    makes a repeated payload change nothing. The system columns (gateway_, oms_, wms_) are the
    digest of the payments and receipts that share this order's number.
    """

    public_id = models.CharField(max_length=24, unique=True, default=new_public_id, editable=False)
    shop = models.ForeignKey(Shop, on_delete=models.PROTECT, related_name="+")
    source = models.ForeignKey(Source, on_delete=models.PROTECT, related_name="+")
    channel = models.CharField(_("渠道"), max_length=20, choices=Channel)
    order_no = models.CharField(_("订单号"), max_length=64)
    raw_status = models.CharField(_("平台状态"), max_length=100, blank=True)
    stage = models.CharField(_("阶段"), max_length=20, choices=STAGE_LABELS.items())
    is_open = models.BooleanField(_("在途"), default=True)

    placed_at = models.DateTimeField(_("下单时间"), null=True)
    paid_at = models.DateTimeField(_("付款时间"), null=True)
    approved_at = models.DateTimeField(_("付款确认时间"), null=True)
    shipped_at = models.DateTimeField(_("发货时间"), null=True)
    delivered_at = models.DateTimeField(_("签收时间"), null=True)
    closed_at = models.DateTimeField(_("关闭时间"), null=True)
    released_at = models.DateTimeField(
        _("放行时间"), null=True, help_text=_("平台的审核、拼团或暂停结束的时间，按我们看到的变化")
    )
    review_at = models.DateTimeField(
        _("审核开始时间"),
        null=True,
        help_text=_("付款之后平台才开始审核的时间，按我们看到的变化；一直在审核的为空"),
    )
    promised_ship_at = models.DateTimeField(_("承诺发货时间"), null=True)
    collect_by = models.DateTimeField(_("最晚揽收时间"), null=True)
    estimated_delivery_at = models.DateTimeField(_("预计送达时间"), null=True)
    deadline_at = models.DateTimeField(_("最晚处理时间"), null=True)

    goods_fen = models.BigIntegerField(_("商品金额（分）"), null=True)
    freight_fen = models.BigIntegerField(_("运费（分）"), null=True)
    shop_discount_fen = models.BigIntegerField(_("店铺优惠（分）"), null=True)
    platform_discount_fen = models.BigIntegerField(_("平台优惠（分）"), null=True)
    coupon_fen = models.BigIntegerField(_("优惠券（分）"), null=True)
    payable_fen = models.BigIntegerField(_("应付金额（分）"), null=True)
    paid_fen = models.BigIntegerField(_("实付金额（分）"), null=True)
    refunded_fen = models.BigIntegerField(_("退款金额（分）"), null=True)
    payment_method = models.CharField(_("支付方式"), max_length=40, blank=True)
    is_cod = models.BooleanField(_("货到付款"), default=False)
    is_credit_pay = models.BooleanField(_("先用后付"), default=False)

    refund_state = models.CharField(_("退款"), max_length=20, blank=True)
    partial_refund = models.BooleanField(_("部分退款"), default=False)
    group_state = models.CharField(_("拼团"), max_length=10, blank=True)
    risk_state = models.CharField(_("风控标记"), max_length=60, blank=True)
    platform_hold = models.CharField(_("平台暂停原因"), max_length=60, blank=True)
    address_change_pending = models.BooleanField(_("地址修改待确认"), default=False)
    oversold = models.BooleanField(_("超卖"), default=False)
    buyer_urged = models.BooleanField(_("买家催发货"), default=False)
    presale_phase = models.CharField(_("预售阶段"), max_length=20, blank=True)
    deposit_fen = models.BigIntegerField(_("定金（分）"), null=True)
    deposit_paid_at = models.DateTimeField(_("定金支付时间"), null=True)
    balance_fen = models.BigIntegerField(_("尾款（分）"), null=True)
    balance_paid_at = models.DateTimeField(_("尾款支付时间"), null=True)
    balance_opens_at = models.DateTimeField(_("尾款开始"), null=True)
    balance_due_at = models.DateTimeField(_("尾款截止"), null=True)
    gifts_due = models.IntegerField(_("赠品应发"), null=True)
    gifts_packed = models.IntegerField(_("赠品已配"), null=True)

    gateway_status = models.CharField(_("网关支付状态"), max_length=20, blank=True)
    gateway_paid_at = models.DateTimeField(_("网关支付时间"), null=True)
    gateway_paid_fen = models.BigIntegerField(_("网关支付金额（分）"), null=True)
    oms_received_at = models.DateTimeField(_("OMS 接收时间"), null=True)
    oms_reviewed_at = models.DateTimeField(_("OMS 审单时间"), null=True)
    wms_received_at = models.DateTimeField(_("WMS 接收时间"), null=True)
    picked_at = models.DateTimeField(_("拣货时间"), null=True)
    wms_shipped_at = models.DateTimeField(_("出库时间"), null=True)

    province = models.CharField(_("省"), max_length=40, null=True)  # noqa: DJ001 - null: not told
    city = models.CharField(_("市"), max_length=60, null=True)  # noqa: DJ001 - null: not told
    district = models.CharField(_("区县"), max_length=60, null=True)  # noqa: DJ001 - null: not told
    town = models.CharField(_("街道"), max_length=60, blank=True)
    postcode = models.CharField(_("邮编"), max_length=20, blank=True)
    has_address_detail = models.BooleanField(_("有详细地址"), default=False)
    name_sealed = models.TextField(blank=True, editable=False)
    phone_sealed = models.TextField(blank=True, editable=False)
    address_sealed = models.TextField(blank=True, editable=False)
    phone_tail = models.CharField(_("手机尾号"), max_length=4, blank=True)
    phone_index = models.CharField(max_length=32, blank=True, editable=False)
    buyer_index = models.CharField(max_length=32, blank=True, editable=False)
    address_index = models.CharField(max_length=32, blank=True, editable=False)
    parent_no = models.CharField(
        _("关联订单号"), max_length=64, blank=True, help_text=_("特权定金单，或拆单前的订单")
    )
    remark = models.TextField(_("备注"), blank=True)
    custom = models.JSONField(_("自定义字段"), default=dict, blank=True)

    node = models.CharField(_("所在节点"), max_length=20, blank=True)
    node_entered_at = models.DateTimeField(_("进入节点时间"), null=True)

    source_updated_at = models.DateTimeField(null=True, editable=False)
    # Of which state the amount paid is: one told before a refund outlives what a refund leaves.
    paid_told_at = models.DateTimeField(null=True, editable=False)
    # The last moment the platform held the order, and the clear ones after it (intake.py).
    hold_log = models.JSONField(default=dict, blank=True, editable=False)
    content_hash = models.CharField(max_length=32, editable=False)
    revision = models.PositiveIntegerField(default=1, editable=False)
    first_received_at = models.DateTimeField(_("首次收到"), editable=False)
    received_at = models.DateTimeField(_("最近收到"), editable=False)
    first_scored_at = models.DateTimeField(_("首次评分"), null=True, editable=False)
    is_history = models.BooleanField(
        _("历史导入"), default=False, help_text=_("导入时的状况不告警、不挂起")
    )
    is_watched = models.BooleanField(
        _("已转入看护"),
        default=False,
        editable=False,
        help_text=_("历史导入的订单一旦健康过，此后的变化照常告警"),
    )

    objects = OrderManager()  # type: ignore[misc] # a narrower manager than the base class has

    class Meta(EnvironmentModel.Meta):
        verbose_name = _("订单")
        verbose_name_plural = _("订单")
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["environment", "shop", "order_no"], name="order_once_per_shop"
            )
        ]
        indexes: ClassVar = [
            models.Index(fields=["environment", "order_no"], name="order_by_number"),
            models.Index(fields=["environment", "-placed_at", "-id"], name="order_by_time"),
            # With tenant and id it answers counts alone: the row policy asks for the tenant.
            models.Index(
                fields=["environment", "is_open", "node", "tenant", "id"], name="order_by_node"
            ),
            models.Index(fields=["environment", "received_at", "id"], name="order_by_received"),
            # With what the countdown sums: on a promo day every open order is due within two days.
            models.Index(
                fields=[
                    *("environment", "deadline_at", "id", "tenant", "stage"),
                    *("paid_fen", "gateway_paid_fen", "payable_fen"),
                ],
                condition=models.Q(is_open=True, shipped_at__isnull=True),
                name="order_by_deadline",
            ),
            # How soon an order was scored after it was placed: counted from it alone.
            models.Index(
                fields=["environment", "shop", "placed_at", "first_scored_at", "tenant", "id"],
                condition=models.Q(is_history=False),
                name="order_first_scan",
            ),
            models.Index(fields=["environment", "phone_tail"], name="order_by_phone_tail"),
            models.Index(fields=["environment", "buyer_index"], name="order_by_buyer"),
            models.Index(fields=["environment", "address_index"], name="order_by_address"),
            models.Index(fields=["environment", "parent_no"], name="order_by_parent"),
            # What nobody has mapped: a handful of orders among all, asked for by the home page.
            models.Index(
                fields=["environment", "channel", "raw_status"],
                condition=models.Q(stage="unknown"),
                name="order_unmapped",
            ),
        ]

    def __str__(self) -> str:
        return self.order_no

    @property
    def stage_label(self) -> str:
        return STAGE_LABELS.get(self.stage, self.stage)

    @property
    def is_final(self) -> bool:
        return self.stage in {Stage.COMPLETED, Stage.CLOSED_UNPAID, Stage.CLOSED_REFUNDED}

    def reveal_receiver(self) -> dict[str, str]:
        """Name, phone and address in clear: the caller has checked the right and audits it."""
        return {
            "name": decrypt(self.name_sealed, purpose=NAME_PURPOSE),
            "phone": decrypt(self.phone_sealed, purpose=PHONE_PURPOSE),
            "address": decrypt(self.address_sealed, purpose=ADDRESS_PURPOSE),
        }

    def mask_receiver(self) -> dict[str, str]:
        """The same three, masked for display."""
        clear = self.reveal_receiver()
        return {
            "name": mask_name(clear["name"]),
            "phone": mask_phone(clear["phone"]),
            "address": mask_address(clear["address"]),
        }


class OrderLine(EnvironmentModel):
    """One line of an order."""

    order = models.ForeignKey(Order, on_delete=models.CASCADE, related_name="lines")
    line_id = models.CharField(max_length=64)
    sku = models.CharField("SKU", max_length=80, blank=True)
    title = models.CharField(_("商品"), max_length=200, blank=True)
    quantity = models.IntegerField(_("数量"))
    price_fen = models.BigIntegerField(_("单价（分）"), null=True)
    amount_fen = models.BigIntegerField(_("金额（分）"), null=True)
    freight_fen = models.BigIntegerField(_("运费（分）"), null=True)
    is_gift = models.BooleanField(_("赠品"), default=False)
    gift_of = models.CharField(_("赠品所属明细"), max_length=64, blank=True)
    seller = models.CharField(_("卖家"), max_length=80, blank=True)
    stock_available = models.IntegerField(_("可用库存"), null=True)
    locked_at = models.DateTimeField(_("锁定时间"), null=True)
    ship_by = models.DateTimeField(_("发货期限"), null=True)
    category = models.CharField(_("类目"), max_length=100, null=True)  # noqa: DJ001 - null: not told
    weight_g = models.FloatField(_("重量（克）"), null=True)
    length_cm = models.FloatField(_("长（厘米）"), null=True)
    width_cm = models.FloatField(_("宽（厘米）"), null=True)
    height_cm = models.FloatField(_("高（厘米）"), null=True)
    status = models.CharField(_("明细状态"), max_length=100, blank=True)
    refund_state = models.CharField(_("明细退款"), max_length=20, blank=True)
    warehouse = models.CharField(_("发货仓"), max_length=60, blank=True)
    is_oversold = models.BooleanField(_("明细超卖"), default=False)
    custom = models.JSONField(default=dict, blank=True)

    class Meta(EnvironmentModel.Meta):
        verbose_name = _("订单行")
        verbose_name_plural = _("订单行")
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["order", "line_id"], name="line_once_per_order")
        ]

    def __str__(self) -> str:
        return f"{self.sku} × {self.quantity}"


class Promotion(EnvironmentModel):
    """One promotion of an order, in the order the platform lists them."""

    class Funder(models.TextChoices):
        SHOP = "shop", _("店铺")
        PLATFORM = "platform", _("平台")
        AUTHOR = "author", _("达人")

    order = models.ForeignKey(Order, on_delete=models.CASCADE, related_name="promotions")
    position = models.PositiveIntegerField()
    promotion_id = models.CharField(_("活动编号"), max_length=200, blank=True)
    tool = models.CharField(_("促销工具"), max_length=60, blank=True)
    name = models.CharField(_("活动名称"), max_length=200, blank=True)
    discount_fen = models.BigIntegerField(_("优惠（分）"), null=True)
    funder = models.CharField(_("承担方"), max_length=10, choices=Funder, blank=True)
    line_id = models.CharField(_("所属明细"), max_length=64, blank=True)
    gift_sku = models.CharField(_("赠品"), max_length=80, blank=True)
    gift_quantity = models.IntegerField(_("赠品件数"), default=0)

    class Meta(EnvironmentModel.Meta):
        verbose_name = _("促销")
        verbose_name_plural = _("促销")
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["order", "position"], name="promotion_once_per_order")
        ]

    def __str__(self) -> str:
        return self.name or self.promotion_id


class Shipment(EnvironmentModel):
    """One parcel of an order. `lines`: [{"line_id": ..., "quantity": ... or null}]."""

    order = models.ForeignKey(Order, on_delete=models.CASCADE, related_name="shipments")
    shipment_id = models.CharField(max_length=80)
    tracking_no = models.CharField(_("运单号"), max_length=80, blank=True)
    company = models.CharField(_("快递公司"), max_length=60, blank=True)
    shipped_at = models.DateTimeField(_("发出时间"), null=True)
    lines = models.JSONField(default=list, blank=True)

    class Meta(EnvironmentModel.Meta):
        verbose_name = _("包裹")
        verbose_name_plural = _("包裹")
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["order", "shipment_id"], name="shipment_once_per_order")
        ]

    def __str__(self) -> str:
        return f"{self.company} {self.tracking_no or self.shipment_id}"


class Payment(EnvironmentModel):
    """One payment, from a platform or a gateway; waits for its order when that is not here yet."""

    source = models.ForeignKey(Source, on_delete=models.PROTECT, related_name="+")
    order = models.ForeignKey(Order, null=True, on_delete=models.CASCADE, related_name="payments")
    order_no = models.CharField(_("订单号"), max_length=64)
    payment_id = models.CharField(_("流水号"), max_length=80)
    is_gateway = models.BooleanField(_("来自网关"), default=False)
    method = models.CharField(_("支付方式"), max_length=40, blank=True)
    status = models.CharField(_("状态"), max_length=20)
    phase = models.CharField(_("预售阶段"), max_length=10, blank=True)
    amount_fen = models.BigIntegerField(_("金额（分）"), null=True)
    paid_at = models.DateTimeField(_("支付时间"), null=True)
    custom = models.JSONField(default=dict, blank=True)
    source_updated_at = models.DateTimeField(_("来源更新时间"), null=True, editable=False)
    # Keys of the fields that are not from the state in force (merging.py).
    told = models.JSONField(default=dict, blank=True, editable=False)
    recorded_at = models.DateTimeField(_("记录时间"), null=True, editable=False)

    class Meta(EnvironmentModel.Meta):
        verbose_name = _("付款")
        verbose_name_plural = _("付款")
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["environment", "source", "order_no", "payment_id"], name="payment_once"
            )
        ]
        indexes: ClassVar = [models.Index(fields=["environment", "order_no"], name="payment_by_no")]

    def __str__(self) -> str:
        return self.payment_id


class Receipt(EnvironmentModel):
    """What one OMS or WMS says of an order number; may arrive before the order does."""

    source = models.ForeignKey(Source, on_delete=models.PROTECT, related_name="+")
    order = models.ForeignKey(Order, null=True, on_delete=models.CASCADE, related_name="receipts")
    order_no = models.CharField(_("订单号"), max_length=64)
    received_at = models.DateTimeField(_("接收时间"), null=True)
    reviewed_at = models.DateTimeField(_("审单时间"), null=True)
    picked_at = models.DateTimeField(_("拣货时间"), null=True)
    shipped_at = models.DateTimeField(_("出库时间"), null=True)
    custom = models.JSONField(default=dict, blank=True)
    source_updated_at = models.DateTimeField(_("来源更新时间"), null=True, editable=False)
    # How new each field is and when we learnt it (merging.py).
    told = models.JSONField(default=dict, blank=True, editable=False)

    class Meta(EnvironmentModel.Meta):
        verbose_name = _("系统回执")
        verbose_name_plural = _("系统回执")
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["environment", "source", "order_no"], name="receipt_once"
            )
        ]
        indexes: ClassVar = [models.Index(fields=["environment", "order_no"], name="receipt_by_no")]

    def __str__(self) -> str:
        return f"{self.source} {self.order_no}"


class StatusEvent(EnvironmentModel):
    """A change of stage: when it happened, when we learnt it, who said so. Totally ordered."""

    class Kind(models.TextChoices):
        OBSERVED = "observed", _("观察到")
        INFERRED = "inferred", _("推断")
        CORRECTED = "corrected", _("更正")

    order = models.ForeignKey(Order, on_delete=models.CASCADE, related_name="events")
    source = models.ForeignKey(Source, on_delete=models.PROTECT, related_name="+")
    sequence = models.PositiveIntegerField()
    kind = models.CharField(max_length=10, choices=Kind)
    stage = models.CharField(max_length=20)
    raw_status = models.CharField(max_length=100, blank=True)
    occurred_at = models.DateTimeField()
    recorded_at = models.DateTimeField()

    class Meta(EnvironmentModel.Meta):
        verbose_name = _("状态事件")
        verbose_name_plural = _("状态事件")
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["order", "sequence"], name="event_sequence_once")
        ]

    def __str__(self) -> str:
        return f"{STAGE_LABELS.get(self.stage, self.stage)} @ {self.occurred_at:%m-%d %H:%M}"


class NodePassage(EnvironmentModel):
    """When an order entered and left one node (left empty: it stands there)."""

    order = models.ForeignKey(Order, on_delete=models.CASCADE, related_name="passages")
    node = models.CharField(max_length=20)
    entered_at = models.DateTimeField()
    left_at = models.DateTimeField(null=True)
    is_inferred = models.BooleanField(default=False)

    class Meta(EnvironmentModel.Meta):
        verbose_name = _("节点经过")
        verbose_name_plural = _("节点经过")
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["order", "node"], name="passage_once_per_node")
        ]
        indexes: ClassVar = [
            # With the tenant they answer counts alone: the row policy asks for it.
            models.Index(
                fields=["environment", "node", "entered_at", "tenant"], name="passage_entered"
            ),
            models.Index(fields=["environment", "node", "left_at", "tenant"], name="passage_left"),
            models.Index(
                fields=["environment", "node", "left_at"],
                condition=models.Q(is_inferred=True),
                name="passage_inferred",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.node} {self.entered_at:%m-%d %H:%M}"


class RawPayload(EnvironmentModel):
    """What the outside sent, verbatim and sealed; the newest per order and source."""

    order = models.ForeignKey(Order, on_delete=models.CASCADE, related_name="payloads")
    source = models.ForeignKey(Source, on_delete=models.PROTECT, related_name="+")
    sealed = models.TextField(editable=False)
    received_at = models.DateTimeField()

    class Meta(EnvironmentModel.Meta):
        verbose_name = _("原始报文")
        verbose_name_plural = _("原始报文")
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["order", "source"], name="payload_once_per_source")
        ]

    def __str__(self) -> str:
        return f"{self.source} {self.received_at:%m-%d %H:%M}"


class CustomField(EnvironmentModel):
    """A field of the business's own, filled from a mapping; formulas use it by its label."""

    class Level(models.TextChoices):
        ORDER = "order", _("订单")
        LINE = "line", _("明细")
        PAYMENT = "payment", _("付款")

    class Type(models.TextChoices):
        NUMBER = "number", _("数字")
        MONEY = "money", _("金额（元）")
        TEXT = "text", _("文本")
        LOGICAL = "logical", _("是/否")
        DATETIME = "datetime", _("时间")

    level = models.CharField(_("属于"), max_length=10, choices=Level)
    key = models.SlugField(_("英文名"), max_length=40)
    label = models.CharField(_("中文名"), max_length=40)
    type = models.CharField(_("类型"), max_length=10, choices=Type)
    source_kind = models.CharField(max_length=10, default="channel", editable=False)

    class Meta(EnvironmentModel.Meta):
        verbose_name = _("自定义字段")
        verbose_name_plural = _("自定义字段")
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["environment", "level", "key"], name="custom_field_key_once"
            ),
            models.UniqueConstraint(
                fields=["environment", "level", "label"], name="custom_field_label_once"
            ),
        ]

    def __str__(self) -> str:
        return self.label
