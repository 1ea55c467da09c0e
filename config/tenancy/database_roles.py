"""The database roles: tables belong to an owner, the application runs as a role without bypass.

On PostgreSQL every connection of the application becomes APPLICATION_ROLE, which neither owns the
tables nor may bypass row-level security; `manage.py migrate` keeps the role that connected.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from django.conf import settings
from django.db import connection

_is_owner: ContextVar[bool] = ContextVar("hedao_is_owner", default=False)


@contextmanager
def as_owner() -> Iterator[None]:
    """Run the block on a connection that may change tables (migrations only)."""
    token = _is_owner.set(True)
    if connection.vendor == "postgresql":
        connection.close()
    try:
        yield
    finally:
        _is_owner.reset(token)
        if connection.vendor == "postgresql":
            connection.close()


def assume_application_role(connection: Any, **_: Any) -> None:
    """Receiver of connection_created: give up every right beyond the application's."""
    if connection.vendor != "postgresql" or _is_owner.get():
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [settings.APPLICATION_ROLE])
        if cursor.fetchone():
            cursor.execute("SELECT set_config('role', %s, false)", [settings.APPLICATION_ROLE])
