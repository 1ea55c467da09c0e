"""Scores: what is in force now, as a list that can be followed, and the history of one order."""

from __future__ import annotations

from typing import ClassVar

from django.shortcuts import get_object_or_404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from connectors.orders.models import Order
from frontend.api.errors import ErrorSerializer
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
from rules_engine.scoring.bands import Band
from rules_engine.scoring.models import Score, ScoreChange

_ERRORS = {400: ErrorSerializer, 401: ErrorSerializer, 429: ErrorSerializer}


BANDS = [band.value for band in Band]


@extend_schema_field(OpenApiTypes.DECIMAL)
class PointsField(serializers.Field):
    """Stored hundredths as points with two decimals, never rounded up over a line ("69.99")."""

    def to_representation(self, value: int) -> str:
        """6999 -> "69.99"."""
        return f"{value // 100}.{value % 100:02d}"


class ScoreSerializer(serializers.ModelSerializer):
    """The score in force of one order."""

    score = PointsField(source="score_hundredths", read_only=True)
    uncapped = PointsField(source="uncapped_hundredths", read_only=True, help_text="封顶前的分数")
    cap = PointsField(
        source="cap_hundredths", read_only=True, allow_null=True, help_text="封顶；没有时为 null"
    )
    sum = serializers.CharField(source="sum_text", help_text="算式")
    band = serializers.ChoiceField(choices=BANDS)
    rule_version = serializers.IntegerField(source="version.number", allow_null=True)

    class Meta:
        model = Score
        fields: ClassVar = [
            "score",
            "uncapped",
            "cap",
            "sum",
            "band",
            "cause",
            "needs_intervention",
            "is_silent",
            "rule_version",
            "revision",
            "scored_at",
        ]


def get_score(order: Order) -> Score | None:
    """The order's score, or None while it has not been scored (read with select_related)."""
    score: Score | None = getattr(order, "score", None)
    return score if score is not None and score.scored_at is not None else None


class ChangeSerializer(serializers.ModelSerializer):
    """One interval of an order's health: from `at` until `until` (null: in force)."""

    score = PointsField(source="score_hundredths", read_only=True)
    band = serializers.ChoiceField(choices=BANDS)
    rule_version = serializers.IntegerField(source="version.number", allow_null=True)

    class Meta:
        model = ScoreChange
        fields: ClassVar = [
            "at",
            "until",
            "score",
            "band",
            "cause",
            "needs_intervention",
            "is_silent",
            "why",
            "changed_dimensions",
            "rule_version",
            "revision",
        ]


class CurrentSerializer(ChangeSerializer):
    """The interval in force of one order, with the order it belongs to."""

    order = serializers.CharField(source="order.public_id")
    order_no = serializers.CharField(source="order.order_no")
    channel = serializers.CharField(source="order.channel")

    class Meta(ChangeSerializer.Meta):
        fields: ClassVar = ["order", "order_no", "channel", *ChangeSerializer.Meta.fields]


class CurrentPageSerializer(serializers.Serializer):
    """One page of scores."""

    results = CurrentSerializer(many=True)
    next = serializers.CharField(help_text="下一页的 after；没有更多时也可留着，下次只取新变化")
    has_more = serializers.BooleanField()


class OrderScoreSerializer(serializers.Serializer):
    """The score of one order with its dimensions, and how it came about."""

    order = serializers.CharField()
    order_no = serializers.CharField()
    current = ScoreSerializer(allow_null=True, help_text="还没有评分时为 null")
    dimensions = serializers.ListField(
        child=serializers.DictField(), help_text="逐项得分：名称、结果、分数、原因"
    )
    history = ChangeSerializer(many=True, help_text="从旧到新的区间")


class ScoreList(ScopedView):
    """Scores in force in the token's environment, in the order they changed."""

    parameters: ClassVar = frozenset({"band", "cause", "changed_since", "limit", "after"})

    @extend_schema(
        operation_id="list_scores",
        summary="当前评分列表",
        description=(
            "每单一行，按变化先后。把上一页的 next 作为 after 继续取；"
            "保留最后的 next，下次只得到之后变化的评分。"
        ),
        parameters=[
            OpenApiParameter("band", str, enum=BANDS, description="级别"),
            OpenApiParameter("cause", str, description="归因，完全相同；留空为没有归因的"),
            OpenApiParameter(
                "changed_since", OpenApiTypes.DATETIME, description="此时刻及以后变化（带时区）"
            ),
            LIMIT,
            AFTER,
        ],
        responses={200: CurrentPageSerializer, **_ERRORS},
    )
    def get(self, request: Request) -> Response:
        """One page (one query)."""
        params = request.query_params
        rows = ScoreChange.objects.filter(until__isnull=True).select_related("order", "version")
        if band := read_choice(params, "band", BANDS):
            rows = rows.filter(band=band)
        if "cause" in params:
            rows = rows.filter(cause=params["cause"])
        if since := read_moment(params, "changed_since"):
            rows = rows.filter(at__gte=since)
        page = read_page(rows, params)
        return Response(page_body(page, lambda row: CurrentSerializer(row).data))


class OrderScore(ScopedView):
    """Score and score history of one order of the token's environment."""

    @extend_schema(
        operation_id="get_score",
        summary="一单的评分与历史",
        description="当前评分与逐项得分，以及从旧到新的评分区间。",
        parameters=[ORDER_ID],
        responses={200: OrderScoreSerializer, **_ERRORS, 404: ErrorSerializer},
    )
    def get(self, request: Request, public_id: str) -> Response:
        """Current score with its dimensions, and all intervals (two queries)."""
        orders = Order.objects.select_related("score", "score__version")
        order = get_object_or_404(orders, public_id=public_id)
        score = get_score(order)
        history = ScoreChange.objects.filter(order=order).select_related("version")
        body = {
            "order": order.public_id,
            "order_no": order.order_no,
            "current": score,
            "dimensions": score.dimensions if score else [],
            "history": list(history.order_by("at", "pk")),
        }
        return Response(OrderScoreSerializer(body).data)
