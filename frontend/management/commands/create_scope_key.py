"""Make an API token for one environment; the token is printed once and stored nowhere."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from config.audit.services import record
from config.errors import AppError
from config.tenancy.models import Environment
from config.tenancy.scope import for_environment
from config.tenancy.services import create_scope_key


class Command(BaseCommand):
    help = "Make a read-only API token for one environment and print it once."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--environment", required=True, help="public id of the environment")
        parser.add_argument("--name", required=True, help="what the token is for")

    def handle(self, *args: Any, **options: Any) -> None:
        environments = Environment.objects.filter(is_active=True).select_related("division")
        environment = environments.filter(public_id=options["environment"]).first()
        if environment is None:
            known = "\n".join(f"  {e.public_id}  {e}" for e in environments)
            raise CommandError(f"No such environment. Known ones:\n{known}")
        with for_environment(environment):
            try:
                key, token = create_scope_key(environment, name=options["name"])
            except AppError as error:
                raise CommandError(error.text) from error
            record(action="api.create_key", subject=str(key), actor=None, now=timezone.now())
        self.stderr.write(f"Token of {environment}; it is shown only now:")
        self.stdout.write(token)
