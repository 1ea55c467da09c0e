"""Canonical orders, masked: a list that can be followed, and one order with all its parts."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db.models import Prefetch, QuerySet
from django.shortcuts import get_object_or_404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from connectors.orders.models import NodePassage, Order, OrderLine, Payment, Receipt
from connectors.orders.services import list_nodes
from connectors.orders.statuses import Stage
from connectors.shops.models import Channel
from frontend.api.errors import ErrorSerializer
from frontend.api.scores import BANDS, ScoreSerializer, get_score
from frontend.api.views import (
    AFTER,
    LIMIT,
    ORDER_ID,
    ScopedView,
    page_body,
    read_choice,
    read_moment,
    read_page,
)

_ERRORS = {400: ErrorSerializer, 401: ErrorSerializer, 429: ErrorSerializer}
_MONEY = (
    "goods_fen",
    "freight_fen",
    "shop_discount_fen",
    "platform_discount_fen",
    "coupon_fen",
    "payable_fen",
    "paid_fen",
    "refunded_fen",
)


class ReceiverSerializer(serializers.Serializer):
    """Who receives the goods; always masked, whatever the token."""

    name = serializers.CharField(help_text="脱敏，如 王**")
    phone = serializers.CharField(help_text="脱敏，如 138****5678")
    address = serializers.CharField(help_text="脱敏，只留前三个字")
    province = serializers.CharField(allow_null=True)
    city = serializers.CharField(allow_null=True)
    district = serializers.CharField(allow_null=True)


class OrderSerializer(serializers.ModelSerializer):
    """One order as the list shows it. Money in fen; null: the source did not tell."""

    id = serializers.CharField(source="public_id", help_text="本系统的订单编号，用于详情地址")
    shop = serializers.CharField(source="shop.name")
    stage = serializers.ChoiceField(choices=[s.value for s in Stage])
    receiver = serializers.SerializerMethodField()
    score = serializers.SerializerMethodField()

    class Meta:
        model = Order
        fields: ClassVar = [
            "id",
            "order_no",
            "channel",
            "shop",
            "stage",
            "stage_label",
            "raw_status",
            "node",
            "node_entered_at",
            "is_open",
            "placed_at",
            "paid_at",
            "shipped_at",
            "delivered_at",
            "deadline_at",
            *_MONEY,
            "payment_method",
            "is_cod",
            "refund_state",
            "group_state",
            "risk_state",
            "presale_phase",
            "receiver",
            "first_received_at",
            "received_at",
            "revision",
            "score",
        ]

    @extend_schema_field(ReceiverSerializer)
    def get_receiver(self, order: Order) -> dict[str, str | None]:
        """The masked receiver."""
        return {
            **order.mask_receiver(),
            "province": order.province,
            "city": order.city,
            "district": order.district,
        }

    @extend_schema_field(ScoreSerializer(allow_null=True))
    def get_score(self, order: Order) -> Any:
        """The score in force; null while the order has not been scored."""
        score = get_score(order)
        return None if score is None else ScoreSerializer(score).data


class LineSerializer(serializers.ModelSerializer):
    """One line of an order."""

    class Meta:
        model = OrderLine
        fields: ClassVar = [
            "line_id",
            "sku",
            "title",
            "quantity",
            "price_fen",
            "amount_fen",
            "freight_fen",
            "is_gift",
            "seller",
            "stock_available",
            "locked_at",
            "ship_by",
        ]


class PaymentSerializer(serializers.ModelSerializer):
    """One payment, from a platform or a gateway."""

    source = serializers.CharField(source="source.name")

    class Meta:
        model = Payment
        fields: ClassVar = [
            "payment_id",
            "source",
            "is_gateway",
            "method",
            "status",
            "phase",
            "amount_fen",
            "paid_at",
        ]


class ReceiptSerializer(serializers.ModelSerializer):
    """What one OMS or WMS says of the order."""

    source = serializers.CharField(source="source.name")
    kind = serializers.CharField(source="source.kind", help_text="oms 或 wms")

    class Meta:
        model = Receipt
        fields: ClassVar = [
            "source",
            "kind",
            "received_at",
            "reviewed_at",
            "picked_at",
            "shipped_at",
        ]


class PassageSerializer(serializers.ModelSerializer):
    """When the order entered and left one of the twelve nodes."""

    label = serializers.SerializerMethodField(help_text="节点名称")

    class Meta:
        model = NodePassage
        fields: ClassVar = ["node", "label", "entered_at", "left_at", "is_inferred"]

    def get_label(self, passage: NodePassage) -> str:
        """The node's name in the published node table."""
        labels: dict[str, str] = self.context["node_labels"]
        return labels.get(passage.node, passage.node)


class OrderDetailSerializer(OrderSerializer):
    """One order with everything that hangs on it."""

    lines = LineSerializer(many=True)
    payments = PaymentSerializer(many=True)
    receipts = ReceiptSerializer(many=True)
    passages = serializers.SerializerMethodField()

    class Meta(OrderSerializer.Meta):
        fields: ClassVar = [
            *OrderSerializer.Meta.fields,
            "approved_at",
            "closed_at",
            "promised_ship_at",
            "estimated_delivery_at",
            "deposit_fen",
            "deposit_paid_at",
            "balance_fen",
            "balance_paid_at",
            "balance_opens_at",
            "balance_due_at",
            "gateway_status",
            "gateway_paid_at",
            "gateway_paid_fen",
            "oms_received_at",
            "oms_reviewed_at",
            "wms_received_at",
            "picked_at",
            "wms_shipped_at",
            "lines",
            "payments",
            "receipts",
            "passages",
        ]

    @extend_schema_field(PassageSerializer(many=True))
    def get_passages(self, order: Order) -> Any:
        """In river order; the open one last."""
        river = {code: place for place, code in enumerate(self.context["node_labels"])}
        rows = sorted(order.passages.all(), key=lambda p: river.get(p.node, len(river)))
        return PassageSerializer(rows, many=True, context=self.context).data


class OrderPageSerializer(serializers.Serializer):
    """One page of orders."""

    results = OrderSerializer(many=True)
    next = serializers.CharField(help_text="下一页的 after；没有更多时也可留着，下次只取新变化")
    has_more = serializers.BooleanField()


def _with_score(orders: QuerySet[Order]) -> QuerySet[Order]:
    return orders.select_related("shop", "score", "score__version")


class OrderList(ScopedView):
    """Orders of the token's environment, longest unchanged first."""

    parameters: ClassVar = frozenset(
        {"order_no", "channel", "stage", "band", "cause", "updated_since", "limit", "after"}
    )

    @extend_schema(
        operation_id="list_orders",
        summary="订单列表",
        description=(
            "按最近收到的时间从旧到新。把上一页的 next 作为 after 继续取；取完后保留最后的 next，"
            "下次用它只会得到新收到或有变化的订单。收货人始终脱敏。"
        ),
        parameters=[
            OpenApiParameter("order_no", str, description="订单号，完全相同"),
            OpenApiParameter("channel", str, enum=Channel.values, description="渠道"),
            OpenApiParameter("stage", str, enum=[s.value for s in Stage], description="阶段"),
            OpenApiParameter("band", str, enum=BANDS, description="级别"),
            OpenApiParameter(
                "cause", str, description="归因，完全相同，如 支付回调丢失；留空为没有归因的"
            ),
            OpenApiParameter(
                "updated_since", OpenApiTypes.DATETIME, description="此时刻及以后收到（带时区）"
            ),
            LIMIT,
            AFTER,
        ],
        responses={200: OrderPageSerializer, **_ERRORS},
    )
    def get(self, request: Request) -> Response:
        """One page of orders (one query beside the token's)."""
        params = request.query_params
        orders = _with_score(Order.objects.all())
        if "order_no" in params:
            orders = orders.filter(order_no=params["order_no"])
        if channel := read_choice(params, "channel", Channel.values):
            orders = orders.filter(channel=channel)
        if stage := read_choice(params, "stage", [s.value for s in Stage]):
            orders = orders.filter(stage=stage)
        if band := read_choice(params, "band", BANDS):
            orders = orders.filter(score__band=band)
        if "cause" in params:
            orders = orders.filter(score__cause=params["cause"])
        if since := read_moment(params, "updated_since"):
            orders = orders.filter(received_at__gte=since)
        page = read_page(orders, params, moment="received_at")
        return Response(page_body(page, lambda order: OrderSerializer(order).data))


class OrderDetail(ScopedView):
    """One order of the token's environment."""

    @extend_schema(
        operation_id="get_order",
        summary="订单详情",
        parameters=[ORDER_ID],
        description="含明细、付款、系统回执、节点经过和当前评分。收货人始终脱敏。",
        responses={200: OrderDetailSerializer, **_ERRORS, 404: ErrorSerializer},
    )
    def get(self, request: Request, public_id: str) -> Response:
        """The order with its lines, payments, receipts and passages (a fixed number of queries)."""
        orders = _with_score(Order.objects.all()).prefetch_related(
            Prefetch("lines", OrderLine.objects.order_by("pk")),
            Prefetch("payments", Payment.objects.select_related("source").order_by("pk")),
            Prefetch("receipts", Receipt.objects.select_related("source").order_by("pk")),
            Prefetch("passages", NodePassage.objects.all()),
        )
        order = get_object_or_404(orders, public_id=public_id)
        context = {"node_labels": {node.code: node.label for node in list_nodes()}}
        return Response(OrderDetailSerializer(order, context=context).data)
