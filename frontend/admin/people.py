"""Users, memberships and environments: as far as the divisions one manages."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.db.models import Exists, OuterRef, Q
from django.utils.translation import gettext_lazy as _

from config.tenancy.models import Environment, Membership, Role, User
from config.tenancy.roles import MANAGE_USERS
from frontend.admin.base import LABELS, ScopedAdmin, column

admin.site.unregister(Group)

# Roles that reach beyond a division are given by the platform, not by a division's administrator.
_GIVEN_ELSEWHERE = {Role.HEADQUARTERS, Role.PLATFORM_ADMIN}


def division_ids(request: Any) -> set[int]:
    """The divisions of which this person is administrator as a whole."""
    return {
        m.division_id
        for m in request.memberships
        if m.role == Role.DIVISION_ADMIN and m.division_id and not m.environment_id
    }


class MembershipForm(forms.ModelForm):
    """A role in a division, or in one environment of it."""

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = super().clean() or {}
        division, environment = values.get("division"), values.get("environment")
        if environment is not None and division is not None:
            if environment.division_id != division.pk:
                raise ValidationError(_("这个环境不属于所选的事业部"))
        elif environment is not None:
            values["division"] = environment.division
        elif division is None:
            raise ValidationError({"division": _("请选择事业部")})
        return values


@admin.register(Membership)
class MembershipAdmin(ScopedAdmin):
    """Who has which role where."""

    right = MANAGE_USERS
    can_delete = True
    form = MembershipForm
    list_display = (
        column("user", LABELS["user"]),
        "role",
        column("division", LABELS["division"]),
        column("environment", LABELS["environment"]),
        column("created_at", LABELS["created_at"]),
    )
    list_filter = ("role",)
    list_select_related = ("user", "division", "environment__division")
    search_fields = ("user__username", "user__display_name")
    fields = ("user", "role", "division", "environment")

    def get_queryset(self, request: Any) -> Any:
        """Memberships in one's own divisions."""
        own = division_ids(request)
        return (
            super()
            .get_queryset(request)
            .filter(Q(division__in=own) | Q(environment__division__in=own))
        )

    def formfield_for_foreignkey(self, db_field: Any, request: Any, **kwargs: Any) -> Any:
        """Only people, divisions and environments one administers can be chosen."""
        own = division_ids(request)
        if db_field.name == "user":
            kwargs["queryset"] = list_manageable_users(request)
        elif db_field.name == "division":
            kwargs["queryset"] = db_field.related_model.objects.filter(pk__in=own)
        elif db_field.name == "environment":
            kwargs["queryset"] = Environment.objects.filter(division__in=own).select_related(
                "division"
            )
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def formfield_for_choice_field(self, db_field: Any, request: Any, **kwargs: Any) -> Any:
        """Roles a division's administrator may give."""
        if db_field.name == "role":
            kwargs["choices"] = [c for c in Role.choices if c[0] not in _GIVEN_ELSEWHERE]
        return super().formfield_for_choice_field(db_field, request, **kwargs)


def list_manageable_users(request: Any) -> Any:
    """People of the tenant who have no role outside the divisions one administers."""
    own = division_ids(request)
    foreign = Membership.objects.filter(user=OuterRef("pk")).exclude(
        Q(division__in=own) | Q(environment__division__in=own)
    )
    return User.objects.filter(~Exists(foreign), tenant_id=request.user.tenant_id)


@admin.register(User)
class PersonAdmin(ScopedAdmin, UserAdmin):
    """People of one's own divisions; a new one has no role until a membership is added."""

    right = MANAGE_USERS
    list_display = ("username", "display_name", "is_active", "last_login")
    list_filter = ("is_active",)
    search_fields = ("username", "display_name")
    ordering = ("username",)
    filter_horizontal = ()
    readonly_fields = ("last_login", "date_joined")
    fieldsets = (
        (None, {"fields": ("username", "password", "display_name", "is_active")}),
        (_("时间"), {"fields": ("last_login", "date_joined")}),
    )
    add_fieldsets = (
        (
            None,
            {"fields": ("username", "display_name", "usable_password", "password1", "password2")},
        ),
    )

    def get_queryset(self, request: Any) -> Any:
        """People one may manage."""
        return list_manageable_users(request).order_by("username")

    def lookup_allowed(self, lookup: str, value: Any, request: Any = None) -> bool:
        """No probing of password hashes through filters."""
        return lookup in {"is_active__exact", "is_active"}

    def stamp(self, request: Any, obj: Any) -> None:
        """A new person belongs to the tenant of the one who makes them."""
        obj.tenant_id = request.user.tenant_id


_DIVISION = column("division", LABELS["division"])


@admin.register(Environment)
class EnvironmentAdmin(ScopedAdmin):
    """Settings of the environments of one's divisions."""

    right = MANAGE_USERS
    can_add = False
    list_display = (_DIVISION, "kind", "time_zone", "currency", "hold_limit", "is_active")
    list_select_related = ("division",)
    fields = (_DIVISION, "kind", "time_zone", "currency", "hold_limit", "loss_per_hour_fen")
    readonly_fields = (_DIVISION, "kind")

    def get_queryset(self, request: Any) -> Any:
        """Environments of one's divisions."""
        return super().get_queryset(request).filter(division__in=division_ids(request))
