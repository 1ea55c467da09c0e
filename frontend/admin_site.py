"""The AdminSite: Django's admin in our shell, every table scoped to the environment in force."""

from __future__ import annotations

from django.contrib.admin import AdminSite
from django.utils.translation import gettext_lazy as _


class HedaoAdminSite(AdminSite):
    site_header = _("河道")
    site_title = _("河道")
    index_title = _("管理")
