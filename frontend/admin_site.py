"""The AdminSite: Django's admin in our shell, every table scoped to the environment in force."""

from __future__ import annotations

from typing import Any

from django.contrib.admin import AdminSite
from django.contrib.auth.views import LogoutView, redirect_to_login
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from config.tenancy.roles import MANAGE_CONNECTORS, MANAGE_USERS, VIEW_AUDIT

# Any of these opens the admin; each table asks for its own.
ADMIN_RIGHTS = frozenset({MANAGE_USERS, MANAGE_CONNECTORS, VIEW_AUDIT})


class HedaoAdminSite(AdminSite):
    """Who may enter is decided by rights in the environment, never by is_staff."""

    site_header = _("河道")
    site_title = _("河道")
    index_title = _("管理")
    enable_nav_sidebar = False

    def has_permission(self, request: Any) -> bool:
        """People with an administrative right in the environment they are in."""
        return bool(
            request.user.is_active
            and request.user.is_authenticated
            and getattr(request, "environment", None) is not None
            and ADMIN_RIGHTS & request.rights
        )

    def login(self, request: Any, extra_context: Any = None) -> Any:
        """There is one login page. Somebody signed in without the right is told so."""
        if request.user.is_authenticated:
            return render(request, "403.html", status=403)
        wanted = request.GET.get("next", reverse("admin:index"))
        return redirect_to_login(wanted, reverse("login"))

    def logout(self, request: Any, extra_context: Any = None) -> Any:
        """Leave through our own door."""
        return LogoutView.as_view(next_page="login")(request)
