"""Names our AdminSite as the default one (an AppConfig, so that autodiscovery uses it)."""

from django.contrib.admin.apps import AdminConfig


class HedaoAdminConfig(AdminConfig):
    default_site = "frontend.admin_site.HedaoAdminSite"
