"""`migrate` as the owner of the tables."""

from __future__ import annotations

from typing import Any

from django.core.management.commands.migrate import Command as MigrateCommand

from config.tenancy.database_roles import as_owner


class Command(MigrateCommand):
    """Django's migrate, run before the connection gives up its rights."""

    def handle(self, *args: Any, **options: Any) -> Any:
        with as_owner():
            return super().handle(*args, **options)
