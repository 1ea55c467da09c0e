"""Messages that wait at the vendor (TOP's TMC): fetched, stored, confirmed, then worked off.

Confirmed only after they are stored: what we lose in between comes again, and its replay key makes
the second time nothing.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.utils import timezone

from config.tenancy.models import Environment
from config.tenancy.scope import for_environment
from connectors.adapters import Messages, PushItem
from connectors.http import ConnectorError
from connectors.shops.models import Connection
from connectors.sync.leases import hold_stream
from connectors.sync.limits import Limiter
from connectors.sync.models import Cursor
from connectors.sync.pushes import store_messages
from connectors.sync.transport import Clock, Session, Sleep, open_session

QUEUE = "queue"
PER_CALL = 200
MAX_CALLS = 20


def consume(
    environment: Environment,
    connection_id: int,
    *,
    clock: Clock = timezone.now,
    sleep: Sleep = time.sleep,
    limiter: Limiter | None = None,
) -> int:
    """Fetch what waits at the vendor; returns how many messages are new here.

    Call it outside any scope. A vendor without a queue gives zero, and so does a connection that is
    switched off or told to wait. A failure is said on the connection, not raised.
    """
    with hold_stream(environment, connection_id, QUEUE, clock=clock) as lease:
        if not lease:
            return 0
        session = open_session(
            environment, connection_id, clock=clock, sleep=sleep, limiter=limiter
        )
        if not session.connection.may_be_called(clock()):
            return 0
        new = 0
        try:
            if not isinstance(session.client, Messages):
                return 0
            _permit_once(session, environment, now=clock())
            for _ in range(MAX_CALLS):
                found = session.call(lambda client: client.consume(PER_CALL))
                if not found:
                    break
                items = [
                    PushItem("hint" if m.order_no else "unknown", m.replay_key, m.topic, m.order_no,
                             m.payload)
                    for m in found
                ]  # fmt: skip
                with for_environment(environment):
                    new += store_messages(session.connection, items, signed_at=None, now=clock())
                    Connection.objects.filter(pk=connection_id).update(last_push_at=clock())
                _confirm(session, [m.message_id for m in found])
                if len(found) < PER_CALL or not lease.renew():
                    break
        except ConnectorError as error:
            with for_environment(environment):
                session.note_failure(error)
        with for_environment(environment):
            session.write_log()
        return new


def _permit_once(session: Session, environment: Environment, *, now: datetime) -> None:
    """Before the first time, and after a shop has agreed anew: else the vendor keeps nothing."""
    with for_environment(environment, write=False):
        cursor = Cursor.objects.get(connection=session.connection, stream=QUEUE)
    agreed_at = session.connection.authorised_at
    if cursor.slot is not None and (agreed_at is None or agreed_at <= cursor.slot):
        return

    def do(client: Any) -> None:
        client.permit()

    session.call(do)
    with for_environment(environment):
        Cursor.objects.filter(pk=cursor.pk).update(slot=now)


def _confirm(session: Session, ids: Sequence[str]) -> None:
    """Everything of these is stored here."""

    def do(client: Any) -> None:
        client.confirm(ids)

    session.call(do)
