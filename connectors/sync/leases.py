"""Who works at one list or inbox of a connection right now: one at a time, and it runs out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from uuid import uuid4

from django.db.models import Q

from config.tenancy.models import Environment
from config.tenancy.scope import for_environment
from connectors.shops.models import Connection
from connectors.sync.models import Cursor
from connectors.sync.transport import Clock

LEASE = timedelta(seconds=150)


@dataclass(frozen=True)
class Lease:
    """A stream that is ours, or (false) somebody else's."""

    environment: Environment
    cursor_id: int
    holder: str
    is_ours: bool
    clock: Clock

    def __bool__(self) -> bool:
        return self.is_ours

    def renew(self) -> bool:
        """Keep it as long again; False when it ran out and somebody has taken over.

        Call it outside any scope, between two parts of a long piece of work.
        """
        with for_environment(self.environment):
            return bool(
                Cursor.objects.filter(pk=self.cursor_id, holder=self.holder).update(
                    lease_until=self.clock() + LEASE
                )
            )


@contextmanager
def hold_stream(
    environment: Environment, connection_id: int, stream: str, *, clock: Clock
) -> Iterator[Lease]:
    """Work at a stream alone for the length of the block; the lease is false when it is taken.

    Enter it outside any scope. The lease runs out by itself when its holder dies. Raises
    Connection.DoesNotExist for a connection of another environment.
    """
    holder, now = uuid4().hex, clock()
    with for_environment(environment):
        connection = Connection.objects.only("pk").get(pk=connection_id)
        cursor, _ = Cursor.objects.get_or_create(connection=connection, stream=stream)
        is_ours = bool(
            Cursor.objects.filter(pk=cursor.pk)
            .filter(Q(lease_until__isnull=True) | Q(lease_until__lte=now))
            .update(holder=holder, lease_until=now + LEASE)
        )
    try:
        yield Lease(environment, cursor.pk, holder, is_ours, clock)
    finally:
        if is_ours:
            with for_environment(environment):
                Cursor.objects.filter(pk=cursor.pk, holder=holder).update(
                    holder="", lease_until=None
                )
