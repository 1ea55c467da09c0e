"""What every ModelAdmin of ours does: ask for a right, stay in the scope, leave an audit entry."""

from __future__ import annotations

from typing import Any

from django.contrib.admin import ModelAdmin
from django.contrib.admin import display as admin_display
from django.http import Http404
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from config.audit.services import record


def column(name: str, label: Any) -> Any:
    """A column of a list under a heading in words (related models carry none)."""

    @admin_display(description=label, ordering=name, empty_value="—")
    def show(obj: Any) -> Any:
        return getattr(obj, name)

    return show


# What people read beside a field whose model gives it no name of its own.
LABELS: dict[str, Any] = {
    "user": _("用户"),
    "division": _("事业部"),
    "environment": _("环境"),
    "shop": _("店铺"),
    "actor": _("操作人"),
    "created_at": _("建立时间"),
}


class ScopedAdmin(ModelAdmin):
    """A table of the environment (or tenant) in force.

    `right` opens it; without `can_add`/`can_change`/`can_delete` that act is not offered to
    anybody. A row of somebody else does not exist: 404, as on every other page.
    """

    right = ""
    can_add = True
    can_change = True
    can_delete = False
    show_full_result_count = False
    list_per_page = 50

    def formfield_for_dbfield(self, db_field: Any, request: Any, **kwargs: Any) -> Any:
        """As Django's, under a label in words."""
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if field is not None and db_field.name in LABELS:
            field.label = LABELS[db_field.name]
        return field

    def _may(self, request: Any) -> bool:
        return bool(self.right) and self.right in request.rights

    def has_module_permission(self, request: Any) -> bool:
        """Whether the table appears on the index."""
        return self._may(request)

    def has_view_permission(self, request: Any, obj: Any = None) -> bool:
        """Whether rows may be seen."""
        return self._may(request)

    def has_add_permission(self, request: Any, obj: Any = None) -> bool:
        """Whether rows may be made."""
        return self.can_add and self._may(request)

    def has_change_permission(self, request: Any, obj: Any = None) -> bool:
        """Whether rows may be changed."""
        return self.can_change and self._may(request)

    def has_delete_permission(self, request: Any, obj: Any = None) -> bool:
        """Whether rows may be deleted."""
        return self.can_delete and self._may(request)

    def _get_obj_does_not_exist_redirect(self, request: Any, opts: Any, object_id: str) -> Any:
        raise Http404

    def save_model(self, request: Any, obj: Any, form: Any, change: bool) -> None:
        """Save, stamping the scope on a new row, and leave an audit entry."""
        if not change:
            self.stamp(request, obj)
        super().save_model(request, obj, form, change)
        self._record(request, "change" if change else "add", obj, sorted(form.changed_data))

    def stamp(self, request: Any, obj: Any) -> None:
        """Give a new row its place: the environment in force."""
        obj.tenant_id = request.environment.tenant_id
        if any(f.name == "environment" and not f.editable for f in obj._meta.local_fields):
            obj.environment_id = request.environment.pk

    def delete_model(self, request: Any, obj: Any) -> None:
        """Delete and leave an audit entry."""
        self._record(request, "delete", obj, [])
        super().delete_model(request, obj)

    def delete_queryset(self, request: Any, queryset: Any) -> None:
        """Delete one by one, so that each leaves its entry."""
        for obj in queryset:
            self.delete_model(request, obj)

    def _record(self, request: Any, act: str, obj: Any, fields: list[str]) -> None:
        record(
            action=f"admin.{act}",
            subject=f"{obj._meta.label_lower} {obj}"[:200],
            actor=request.user,
            now=timezone.now(),
            details={"fields": fields},
        )
