"""Payloads that could not be read: listed, tried again, ignored with a reason."""

from __future__ import annotations

import time
from datetime import datetime

from django.db import transaction
from django.db.models import F, QuerySet
from django.utils import timezone

from config.audit.services import record
from config.errors import BadInput, NotFound, WrongState, gettext_noop
from config.tenancy.models import Environment, User
from config.tenancy.scope import for_environment
from connectors.sync.limits import Limiter
from connectors.sync.models import InboundMessage, Quarantine
from connectors.sync.reading import read_orders
from connectors.sync.registry import get_connector
from connectors.sync.taking import Reading, take_readings
from connectors.sync.transport import Clock, Sleep


def list_quarantine(state: str = Quarantine.State.OPEN) -> QuerySet[Quarantine]:
    """What was put aside, newest first, in the scope in force."""
    rows: QuerySet[Quarantine] = (
        Quarantine.objects.filter(state=state)
        .select_related("connection__source", "settled_by")
        .order_by("-last_at", "-pk")
    )
    return rows


def retry_quarantined(
    environment: Environment,
    public_id: str,
    *,
    actor: User | None,
    now: datetime,
    clock: Clock = timezone.now,
    sleep: Sleep = time.sleep,
    limiter: Limiter | None = None,
) -> bool:
    """Read it again; True when it is settled now. Call it outside any scope.

    A payload that only names its order is fetched anew from the platform; a whole one is mapped
    again, for the mapping or the status table may know it by now.
    """
    with for_environment(environment):
        row = Quarantine.objects.select_related("connection__source", "connection__shop").filter(
            public_id=public_id
        ).first()  # fmt: skip
        if row is None:
            raise NotFound(gettext_noop("没有这条隔离的报文"))
        if row.state == Quarantine.State.MENDED:
            return True
        payload = row.reveal_payload()
        Quarantine.objects.filter(pk=row.pk).update(
            attempts=F("attempts") + 1, state=Quarantine.State.OPEN
        )
        record(
            action="quarantine.retry", subject=row.order_no or row.public_id, actor=actor, now=now
        )
    connector = get_connector(row.connection.vendor)
    is_name_only = set(payload) <= {"order_no"}
    if connector.map_order is None:
        _wake_messages(environment, row)
    elif is_name_only:
        read_orders(
            environment,
            row.connection_id,
            [payload["order_no"]],
            clock=clock,
            sleep=sleep,
            limiter=limiter,
        )
    else:
        with for_environment(environment):
            take_readings(
                [Reading(payload, row.order_no)],
                connection=row.connection,
                connector=connector,
                now=now,
            )
            _settle_if_read(row, now=now)
    with for_environment(environment, write=False):
        return bool(Quarantine.objects.filter(pk=row.pk, state=Quarantine.State.MENDED).exists())


def _settle_if_read(row: Quarantine, *, now: datetime) -> None:
    """A payload without an order number is settled when mapping it again raised nothing."""
    Quarantine.objects.filter(pk=row.pk, state=Quarantine.State.OPEN, times=row.times).update(
        state=Quarantine.State.MENDED, settled_at=now
    )


def _wake_messages(environment: Environment, row: Quarantine) -> None:
    """A push whose record could not be read: its message is worked off once more."""
    with for_environment(environment):
        if row.order_no:
            InboundMessage.objects.filter(
                connection_id=row.connection_id, order_no=row.order_no, kind="record"
            ).update(state=InboundMessage.State.WAITING, due_at=None)


def ignore_quarantined(public_id: str, *, actor: User, note: str, now: datetime) -> None:
    """Set it aside for good, with a reason, in the scope in force."""
    if not note.strip():
        raise BadInput(gettext_noop("请写明为什么忽略这条报文"), code="note_missing")
    with transaction.atomic():
        row = Quarantine.objects.filter(public_id=public_id).first()
        if row is None:
            raise NotFound(gettext_noop("没有这条隔离的报文"))
        changed = Quarantine.objects.filter(pk=row.pk, state=Quarantine.State.OPEN).update(
            state=Quarantine.State.IGNORED,
            settled_by=actor,
            settled_at=now,
            note=note.strip()[:200],
        )
        if not changed:
            raise WrongState(gettext_noop("这条报文已经处理过了，请刷新页面"))
        record(
            action="quarantine.ignore",
            subject=row.order_no or row.public_id,
            actor=actor,
            now=now,
            details={"note": note.strip()[:200]},
        )
