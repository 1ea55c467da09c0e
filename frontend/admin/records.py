"""The audit log, to be read only."""

from __future__ import annotations

from typing import Any

from django.contrib import admin

from config.audit.models import AuditEntry
from config.tenancy.roles import VIEW_AUDIT
from frontend.admin.base import LABELS, ScopedAdmin, column

_WHO = column("actor", LABELS["actor"])
_WHERE = column("environment", LABELS["environment"])


@admin.register(AuditEntry)
class AuditEntryAdmin(ScopedAdmin):
    """Who did what, in the environments one may enter."""

    right = VIEW_AUDIT
    can_add = False
    can_change = False
    list_display = ("at", _WHO, "action", "subject", _WHERE)
    list_select_related = ("actor", "environment__division")
    search_fields = ("action", "subject")
    ordering = ("-position",)
    readonly_fields = (_WHO, _WHERE)
    fields = (
        "at",
        "actor",
        "environment",
        "action",
        "subject",
        "details",
        "position",
        "entry_hash",
    )

    def get_queryset(self, request: Any) -> Any:
        """Entries of the environments one may enter."""
        own = [e.pk for e in request.environments]
        return super().get_queryset(request).filter(environment__in=own)
