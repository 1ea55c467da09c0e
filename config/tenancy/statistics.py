"""What the query planner knows of the tables."""

from __future__ import annotations

from django.db import connection

# Rows of an index that are looked at: enough for the planner, a few milliseconds at any size.
_ANALYSIS_LIMIT = 400


def refresh_statistics() -> None:
    """Let SQLite count its tables; PostgreSQL's autovacuum does that by itself.

    Without figures SQLite takes every index that begins with the environment for a good one and
    reads the whole environment to find fifty orders. Connections opened afterwards use the
    figures. Call it outside any transaction.
    """
    if connection.vendor != "sqlite":
        return
    with connection.cursor() as cursor:
        cursor.execute(f"PRAGMA analysis_limit = {_ANALYSIS_LIMIT}")
        cursor.execute("ANALYZE")
