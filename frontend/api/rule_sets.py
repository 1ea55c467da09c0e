"""Rule sets as the release machine keeps them: documents, versions, published content."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db.models import Prefetch
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from config.releases.models import Document, State, Version
from frontend.api.errors import ErrorSerializer
from frontend.api.views import RULE_SET_ID, ScopedView

RULE_SET_KIND = "rule_set"
_ERRORS = {400: ErrorSerializer, 401: ErrorSerializer, 429: ErrorSerializer}
# Content that was in force once may be read; drafts belong to their authors.
_PUBLIC_STATES = (State.PUBLISHED, State.RETIRED)


class VersionSerializer(serializers.ModelSerializer):
    """A numbered state of a rule set."""

    class Meta:
        model = Version
        fields: ClassVar = [
            "number",
            "state",
            "note",
            "origin",
            "checksum",
            "created_at",
            "submitted_at",
            "published_at",
        ]


class VersionContentSerializer(VersionSerializer):
    """A version with what it says."""

    content = serializers.DictField(help_text="规则内容：级别线与检查项，与 YAML 导出相同")

    class Meta(VersionSerializer.Meta):
        fields: ClassVar = [*VersionSerializer.Meta.fields, "content"]


class RuleSetSerializer(serializers.Serializer):
    """A rule set and the version in force."""

    id = serializers.CharField(source="public_id")
    key = serializers.CharField()
    name = serializers.CharField()
    created_at = serializers.DateTimeField()
    published = VersionSerializer(allow_null=True, help_text="没有发布版本时为 null")


class RuleSetDetailSerializer(RuleSetSerializer):
    """A rule set with all its versions and the content in force."""

    published = VersionContentSerializer(allow_null=True, help_text="没有发布版本时为 null")
    versions = VersionSerializer(many=True, help_text="从新到旧")


class RuleSetListSerializer(serializers.Serializer):
    """All rule sets of an environment."""

    results = RuleSetSerializer(many=True)


def _describe(document: Document) -> dict[str, Any]:
    versions = sorted(document.versions.all(), key=lambda v: -v.number)
    return {
        "public_id": document.public_id,
        "key": document.key,
        "name": document.name,
        "created_at": document.created_at,
        "published": next((v for v in versions if v.state == State.PUBLISHED), None),
        "versions": versions,
    }


class RuleSetList(ScopedView):
    """Rule sets of the token's environment."""

    @extend_schema(
        operation_id="list_rule_sets",
        summary="规则集列表",
        description="本环境的全部规则集，以及各自正在生效的版本。",
        responses={200: RuleSetListSerializer, **_ERRORS},
    )
    def get(self, request: Request) -> Response:
        """All rule sets with the version in force (two queries)."""
        published = Version.objects.filter(state=State.PUBLISHED).defer("content")
        documents = Document.objects.filter(kind=RULE_SET_KIND).prefetch_related(
            Prefetch("versions", published)
        )
        rows = [_describe(document) for document in documents.order_by("key")]
        return Response(RuleSetListSerializer({"results": rows}).data)


class RuleSetDetail(ScopedView):
    """One rule set of the token's environment."""

    @extend_schema(
        operation_id="get_rule_set",
        summary="规则集详情",
        parameters=[RULE_SET_ID],
        description="所有版本，以及当前发布版本的内容。",
        responses={200: RuleSetDetailSerializer, **_ERRORS, 404: ErrorSerializer},
    )
    def get(self, request: Request, public_id: str) -> Response:
        """The versions, newest first, and the content in force (two queries)."""
        documents = Document.objects.filter(kind=RULE_SET_KIND).prefetch_related("versions")
        document = get_object_or_404(documents, public_id=public_id)
        return Response(RuleSetDetailSerializer(_describe(document)).data)


class RuleSetVersion(ScopedView):
    """One version of a rule set that is or was in force."""

    @extend_schema(
        operation_id="get_rule_set_version",
        summary="规则集的一个版本",
        parameters=[
            RULE_SET_ID,
            OpenApiParameter("number", int, OpenApiParameter.PATH, description="版本号"),
        ],
        description="发布中或已退役的版本；草稿与待审核的版本不对外。",
        responses={200: VersionContentSerializer, **_ERRORS, 404: ErrorSerializer},
    )
    def get(self, request: Request, public_id: str, number: int) -> Response:
        """The content a score of that version was made with (one query)."""
        versions = Version.objects.filter(
            document__kind=RULE_SET_KIND,
            document__public_id=public_id,
            state__in=_PUBLIC_STATES,
        )
        return Response(VersionContentSerializer(get_object_or_404(versions, number=number)).data)
