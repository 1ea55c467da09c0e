"""Shops, sources and custom fields."""

from __future__ import annotations

from typing import Any

from django.contrib import admin

from config.tenancy.roles import MANAGE_CONNECTORS
from connectors.orders.models import CustomField
from connectors.shops.models import Shop, Source
from frontend.admin.base import LABELS, ScopedAdmin, column


@admin.register(Shop)
class ShopAdmin(ScopedAdmin):
    """Stores on sales platforms."""

    right = MANAGE_CONNECTORS
    list_display = ("name", "channel", "is_active", column("created_at", LABELS["created_at"]))
    list_filter = ("channel", "is_active")
    search_fields = ("name",)
    fields = ("channel", "name", "is_active")


@admin.register(Source)
class SourceAdmin(ScopedAdmin):
    """Feeds and how late they may be; their freshness is measured, not typed."""

    right = MANAGE_CONNECTORS
    list_display = (
        "name",
        "kind",
        "shop",
        "complete_until",
        "last_received_at",
        "lateness_minutes",
    )
    list_filter = ("kind",)
    list_select_related = ("shop",)
    search_fields = ("name",)
    fields = ("kind", "name", "shop", "lateness_minutes", "complete_until", "last_received_at")
    readonly_fields = ("complete_until", "last_received_at")
    autocomplete_fields = ("shop",)


@admin.register(CustomField)
class CustomFieldAdmin(ScopedAdmin):
    """Fields of the business's own. Level, key and type stand once orders carry values."""

    right = MANAGE_CONNECTORS
    list_display = ("label", "key", "level", "type")
    list_filter = ("level", "type")
    search_fields = ("label", "key")
    fields = ("level", "key", "label", "type")

    def get_readonly_fields(self, request: Any, obj: Any = None) -> tuple[str, ...]:
        """Only the label of an existing field may change."""
        return () if obj is None else ("level", "key", "type")
