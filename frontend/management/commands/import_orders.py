"""`manage.py import_orders`: import a set of files from the command line."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from config.errors import BadInput
from config.tenancy.models import Environment
from config.tenancy.scope import for_environment
from connectors.tabular.mapping import find_files, load_mapping
from connectors.tabular.models import SavedMapping
from connectors.tabular.services import run_import


class Command(BaseCommand):
    """Import files with a saved mapping or one in a YAML file; prints what was done."""

    help = "Import order files into an environment (--dry-run counts and reports only)"

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("environment", help="public id of the environment")
        parser.add_argument("mapping", help="path of a YAML mapping, or the name of a saved one")
        parser.add_argument(
            "files", nargs="+", help="a folder that holds the files, or KEY=PATH for each file"
        )
        parser.add_argument("--until", help="ISO time up to which the files are complete (now)")
        parser.add_argument("--history", action="store_true", help="never alert on these orders")
        parser.add_argument("--dry-run", action="store_true", help="write nothing but the run")

    def handle(self, *args: Any, **options: Any) -> None:
        environment = Environment.objects.filter(public_id=options["environment"]).first()
        if environment is None:
            raise CommandError(f"no environment {options['environment']}")
        now = timezone.now()
        try:
            mapping = self._load(environment, options["mapping"])
            run = run_import(
                environment,
                mapping=mapping,
                files=self._files(mapping, options["files"]),
                complete_until=self._until(environment, options["until"]) or now,
                now=now,
                is_history=options["history"],
                dry_run=options["dry_run"],
            )
        except BadInput as error:
            raise CommandError(error.text) from error
        for name, count in sorted(run.counts.items()):
            self.stdout.write(f"{name:24}{count:>12,}")
        for notice in run.notices:
            self.stdout.write(f"notice: {notice}")
        for problem in run.problems:
            self.stdout.write(
                f"{problem['file']}:{problem['line']} {problem['column']}: {problem['reason']}"
            )

    @staticmethod
    def _load(environment: Environment, name: str) -> dict[str, Any]:
        path = Path(name)
        if path.suffix in {".yaml", ".yml"} or path.exists():
            return load_mapping(path)
        with for_environment(environment, write=False):
            saved = SavedMapping.objects.filter(name=name).first()
        if saved is None:
            raise CommandError(f"no mapping file or saved mapping {name!r}")
        content: dict[str, Any] = saved.content
        return content

    @staticmethod
    def _files(mapping: dict[str, Any], given: list[str]) -> dict[str, Path]:
        if len(given) == 1 and Path(given[0]).is_dir():
            return find_files(mapping, Path(given[0]))
        files = {}
        for pair in given:
            key, separator, path = pair.partition("=")
            if not separator or not Path(path).is_file():
                raise CommandError(f"expected KEY=PATH of an existing file, got {pair!r}")
            files[key] = Path(path)
        return files

    @staticmethod
    def _until(environment: Environment, text: str | None) -> datetime | None:
        if not text:
            return None
        try:
            moment = datetime.fromisoformat(text)
        except ValueError as error:
            raise CommandError(f"--until must be an ISO time, got {text!r}") from error
        return moment if moment.tzinfo else moment.replace(tzinfo=environment.zone)
