"""Which minute is patrolled by whom: one row per slot, and a lease that runs out by itself."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import IntegrityError, transaction

from config.errors import AppError, gettext_noop
from config.tenancy.models import Environment
from config.tenancy.scope import for_environment
from workflows.interventions.models import PatrolLease, PatrolRun

SLOT = timedelta(minutes=1)
# Missed minutes written down after an outage; the pass that follows does the work of all of them.
CATCH_UP = 4
LEASE = timedelta(seconds=120)
KEEP_RUNS = timedelta(days=7)
_LONG_AGO = datetime.fromisoformat("2000-01-01T00:00:00+00:00")


class LeaseLost(AppError):
    """Another worker has taken over the environment: stop at once, it goes on from here."""

    code = "lease_lost"


def claim_slot(now: datetime) -> PatrolRun | None:
    """Open this minute's run in the scope in force; None when somebody has it already.

    Minutes nobody patrolled since the last run are written down as missed, never skipped silently.
    """
    slot = now.replace(second=0, microsecond=0)
    last = PatrolRun.objects.order_by("-slot").values_list("slot", flat=True).first()
    if last is not None and last >= slot:
        return None
    try:
        with transaction.atomic():
            run: PatrolRun = PatrolRun.objects.create(
                slot=slot, started_at=now, lag_seconds=(now - slot).total_seconds()
            )
    except IntegrityError:
        return None  # another beat rang for the same minute
    if last is not None:
        missed = [slot - n * SLOT for n in range(1, CATCH_UP + 1) if slot - n * SLOT > last]
        PatrolRun.objects.bulk_create(
            [PatrolRun(slot=s, state=PatrolRun.State.MISSED) for s in missed],
            ignore_conflicts=True,
        )
    if slot.minute == 0:
        PatrolRun.objects.filter(slot__lt=now - KEEP_RUNS).delete()
    return run


@dataclass(frozen=True)
class Lease:
    """The right to patrol one environment. `renew` belongs into every chunk's transaction."""

    environment: Environment
    holder: str

    def renew(self, now: datetime) -> None:
        """Stay in charge, in the transaction in force: who takes over waits for its end.

        Raises LeaseLost when somebody else has taken over.
        """
        if not PatrolLease.objects.filter(holder=self.holder).update(expires_at=now + LEASE):
            raise LeaseLost(gettext_noop("巡检已由另一个进程接手"))


@contextmanager
def hold_lease(environment: Environment, *, now: datetime) -> Iterator[Lease | None]:
    """Patrol an environment alone for the length of the block; yields None when it is taken.

    Enter it outside any scope: it opens short ones of its own.
    """
    lease = Lease(environment, uuid.uuid4().hex)
    with for_environment(environment):
        PatrolLease.objects.get_or_create(defaults={"expires_at": _LONG_AGO})
        is_ours = PatrolLease.objects.filter(expires_at__lte=now).update(
            holder=lease.holder, expires_at=now + LEASE
        )
    if not is_ours:
        yield None
        return
    try:
        yield lease
    finally:
        with for_environment(environment):
            PatrolLease.objects.filter(holder=lease.holder).update(expires_at=_LONG_AGO)
