"""What the query planner knows of the tables."""

from __future__ import annotations

from django.db import connection

# Rows of an index that are looked at: enough for the planner, a few milliseconds at any size.
_ANALYSIS_LIMIT = 400
# How many rows share the first columns of an index: SQLite stops counting at the limit and takes
# the largest environment for one of 400 rows.
_SCOPED = """
    SELECT figures.rowid, figures.stat
    FROM sqlite_stat1 AS figures JOIN pragma_index_info(figures.idx) AS part ON part.seqno = 0
    WHERE part.name IN ('environment_id', 'tenant_id')
"""


def refresh_statistics() -> None:
    """Let SQLite count its tables; PostgreSQL's autovacuum does that by itself.

    Without figures SQLite takes every index that begins with the environment for a good one and
    reads the whole environment to find fifty orders. So an environment counts as all rows there
    are: it narrows nothing. Connections opened afterwards use the figures. Call it outside any
    transaction.
    """
    if connection.vendor != "sqlite":
        return
    with connection.cursor() as cursor:
        cursor.execute(f"PRAGMA analysis_limit = {_ANALYSIS_LIMIT}")
        cursor.execute("ANALYZE")
        cursor.execute(_SCOPED)
        corrected = []
        for row, figures in cursor.fetchall():
            total, _shared, *rest = figures.split(" ")
            corrected.append((" ".join([total, total, *rest]), row))
        cursor.executemany("UPDATE sqlite_stat1 SET stat = %s WHERE rowid = %s", corrected)
        cursor.execute("ANALYZE sqlite_schema")  # reads them again
