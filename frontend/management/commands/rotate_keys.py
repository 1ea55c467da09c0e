"""Seal every secret and every personal field with the newest key, so that older keys may go."""

from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.utils import timezone

from config.audit.services import record
from config.sealing import BATCH, Outcome, count_lost, count_stale, reseal
from config.secrets import list_key_ids
from config.tenancy.models import Tenant
from config.tenancy.scope import for_tenant
from frontend.sealed_columns import SEALED_TABLES


class Command(BaseCommand):
    """Exit code 0: the older keys may be removed. 1: they are still needed, and stderr says why."""

    help = (
        "Seal every sealed field anew with the newest key of FIELD_KEYS. Put the new key in front, "
        "restart web and workers, run this, and remove the old key once it ends with code 0. "
        "May be broken off and run again; workers may run meanwhile."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--check", action="store_true", help="count only, change nothing")
        parser.add_argument("--batch", type=int, default=BATCH, help="rows per transaction")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["check"]:
            lost = count_lost(SEALED_TABLES)
            stale = count_stale(SEALED_TABLES)
            for column, count in sorted(stale.items()):
                self.stdout.write(f"{column}: {count} values under an older key")
            outcome = Outcome(unreadable=lost, left=stale.total() - lost.total())
        else:
            outcome = reseal(SEALED_TABLES, report=self._report, batch=max(1, options["batch"]))
            self._keep(outcome)
            for column, count in sorted(outcome.resealed.items()):
                self.stdout.write(f"{column}: {count} values sealed anew")
        self._conclude(outcome)

    def _report(self, place: str, done: int, total: int) -> None:
        self.stdout.write(f"{place}: {done} of {total} rows")

    def _keep(self, outcome: Outcome) -> None:
        """One line in every tenant's audit log."""
        details = {
            "key": list_key_ids()[0],
            "resealed": outcome.resealed.total(),
            "unreadable": dict(outcome.unreadable),
        }
        for tenant in Tenant.objects.order_by("pk"):
            with for_tenant(tenant):
                record(
                    action="keys.rotate",
                    subject="FIELD_KEYS",
                    actor=None,
                    now=timezone.now(),
                    details=details,
                )

    def _conclude(self, outcome: Outcome) -> None:
        if outcome.is_clean:
            self.stdout.write("Every value is under the newest key: older keys may be removed.")
            return
        for column, count in sorted(outcome.unreadable.items()):
            self.stderr.write(f"ALARM {column}: {count} values cannot be opened")
        if outcome.unreadable:
            self.stderr.write(
                "The key that sealed them is not in FIELD_KEYS: put it back behind the newest one "
                "and run this again. The values were left as they are."
            )
        if outcome.left > 0:
            self.stderr.write(
                f"{outcome.left} values are under an older key. Restart web and workers with the "
                "new FIELD_KEYS and run rotate_keys again before removing a key."
            )
        sys.exit(1)
