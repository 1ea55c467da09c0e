"""App configuration."""

from django.apps import AppConfig


class TenancyConfig(AppConfig):
    name = "config.tenancy"
    label = "tenancy"
    verbose_name = "租户与权限"

    def ready(self) -> None:
        from django.db.backends.signals import connection_created

        from config.tenancy.database_roles import assume_application_role

        connection_created.connect(assume_application_role, dispatch_uid="hedao_application_role")
