"""Payloads that could not be read: listed, tried again, ignored with a reason."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import F, QuerySet
from django.utils import timezone

from config.audit.services import record
from config.errors import BadInput, NotFound, WrongState, gettext_noop
from config.tenancy.models import Environment, User
from config.tenancy.scope import for_environment
from connectors.adapters import Asker
from connectors.sync.limits import Limiter
from connectors.sync.models import InboundMessage, Quarantine
from connectors.sync.pushes import work_messages
from connectors.sync.reading import read_orders
from connectors.sync.registry import get_connector
from connectors.sync.sweeps import ask
from connectors.sync.taking import Reading, take_readings
from connectors.sync.transport import Clock, Sleep, open_session

_MOST_MESSAGES = 50  # of one order, the latest


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

    One that was ignored is open again, unless it can be read now.

    A payload that was pushed is worked off as the message it came with; one that only names its
    order is fetched, or asked for, anew; a whole one is mapped again, for the mapping or the status
    table may know it by now.
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
            attempts=F("attempts") + 1, state=Quarantine.State.OPEN,
            settled_at=None, settled_by=None, note="",
        )  # fmt: skip
        record(
            action="quarantine.retry", subject=row.order_no or row.public_id, actor=actor, now=now
        )
        is_pushed = _wake_messages(row, payload)
    tools: dict[str, Any] = {"clock": clock, "sleep": sleep, "limiter": limiter}
    connector = get_connector(row.connection.vendor)
    if is_pushed:
        work_messages(environment, row.connection_id, **tools)
    elif set(payload) <= {"order_no"}:
        _fetch(environment, row.connection_id, payload.get("order_no") or row.order_no, tools)
    elif connector.map_order is not None:
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


def _fetch(
    environment: Environment, connection_id: int, order_no: str, tools: dict[str, Any]
) -> None:
    """Read the order at its platform, or ask the system about it."""
    session = open_session(environment, connection_id, **tools)
    if isinstance(session.client, Asker):
        ask(session, [order_no])
    else:
        read_orders(environment, connection_id, [order_no], **tools)


def _settle_if_read(row: Quarantine, *, now: datetime) -> None:
    """A payload without an order number is settled when mapping it again raised nothing."""
    Quarantine.objects.filter(pk=row.pk, state=Quarantine.State.OPEN, times=row.times).update(
        state=Quarantine.State.MENDED, settled_at=now
    )


def _wake_messages(row: Quarantine, payload: dict[str, Any]) -> bool:
    """Whether it came by push: then the messages that brought it are to be worked off once more.

    A message knows what its record is (an order, a payment); the payload alone does not.
    """
    told = InboundMessage.objects.filter(
        connection_id=row.connection_id, order_no=row.order_no, kind="record"
    ).order_by("-pk")[:_MOST_MESSAGES]
    same = [message.pk for message in told if message.reveal_payload() == payload]
    woken = InboundMessage.objects.filter(pk__in=same).update(
        state=InboundMessage.State.WAITING, due_at=None, attempts=0
    )
    return woken > 0


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
