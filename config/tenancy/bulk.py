"""Bulk upserts of scoped rows, past the ORM's per-row cost.

PostgreSQL: COPY into a temporary table, then one INSERT ... SELECT ... ON CONFLICT. SQLite: one
prepared statement, executed many times. Rows are tuples; the scope in force is stamped on each.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db import connection, models

from config.tenancy.scope import require_environment_id, require_tenant_id

Convert = Callable[[Any], Any] | None

# With no statistics PostgreSQL's planner assumes 200 different values in every column, so that
# below some hundred rows an index on the environment alone looks as good as the key itself.
_PLANNED_BLIND = 200


def _to_json(value: Any) -> str:
    if value == {}:  # most of them
        return "{}"
    return json.dumps(value, ensure_ascii=False, cls=DjangoJSONEncoder)


def _to_sqlite_time(value: datetime) -> str:
    return str(value.astimezone(UTC).replace(tzinfo=None))


def _converter(field: models.Field[Any, Any]) -> Convert:
    """How a Python value becomes the driver's, per column type (None: as it is)."""
    if isinstance(field, models.JSONField):
        return _to_json
    if isinstance(field, models.DateTimeField) and connection.vendor == "sqlite":
        return _to_sqlite_time
    return None


def _prepare(
    rows: Iterable[Sequence[Any]], converters: list[Convert], head: tuple[int, int]
) -> list[tuple[Any, ...]]:
    active = [(i, c) for i, c in enumerate(converters) if c is not None]
    prepared = []
    for row in rows:
        values = list(row)
        for i, convert in active:
            if (value := values[i]) is not None:
                values[i] = convert(value)
        prepared.append((*head, *values))
    return prepared


def _last_of_each(
    rows: list[tuple[Any, ...]], columns: Sequence[str], conflict: Sequence[str]
) -> list[tuple[Any, ...]]:
    """Of rows with the same key the last: one statement cannot touch a row twice."""
    if not set(conflict) <= set(columns):
        return rows  # the key is made by the database
    places = [columns.index(name) for name in conflict]
    last: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    for number, row in enumerate(rows):
        key = tuple(row[place] for place in places)
        last[(number, *key) if None in key else key] = row  # nulls never collide
    return list(last.values())


def upsert_rows(
    model: type[models.Model],
    *,
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    conflict: Sequence[str],
    update: Sequence[str],
) -> int:
    """Insert rows, or update `update` where `conflict` (a unique rule) already has one.

    `columns`, `conflict` and `update` are attribute names (`order_id`, not `order`); `rows` are
    tuples in the order of `columns`, without tenant and environment. With an empty `update` an
    existing row is left alone. Of given rows with one key the last counts. Returns the number of
    rows given. Values must already be valid: no field is cleaned here.
    """
    fields = {f.attname: f for f in model._meta.concrete_fields}
    converters = [_converter(fields[c]) for c in columns]
    head = (require_tenant_id(), require_environment_id())
    prepared = _prepare(rows, converters, head)
    if not prepared:
        return 0
    given = len(prepared)
    prepared = _last_of_each(prepared, ("tenant_id", "environment_id", *columns), conflict)
    quote = connection.ops.quote_name
    table = quote(model._meta.db_table)

    def column(attname: str) -> str:
        return str(quote(str(fields[attname].column)))

    names = [column(c) for c in ("tenant_id", "environment_id", *columns)]
    target = ", ".join(column(c) for c in conflict)
    action = "NOTHING"
    if update:
        action = "UPDATE SET " + ", ".join(f"{column(c)} = excluded.{column(c)}" for c in update)
    listed = ", ".join(names)
    if connection.vendor == "postgresql":
        _copy_upsert(model, listed, prepared, target, action)
    else:
        marks = ", ".join(["%s"] * len(names))
        with connection.cursor() as cursor:
            cursor.executemany(
                f"INSERT INTO {table} ({listed}) VALUES ({marks}) "  # noqa: S608 - our own names
                f"ON CONFLICT ({target}) DO {action}",
                prepared,
            )
    return given


def _copy_upsert(
    model: type[models.Model],
    listed: str,
    prepared: list[tuple[Any, ...]],
    target: str,
    action: str,
) -> None:
    quote = connection.ops.quote_name
    table = quote(model._meta.db_table)
    staging = quote(f"bulk_{model._meta.db_table}")
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass(%s)", [f"pg_temp.{staging}"])
        if cursor.fetchone()[0] is None:
            # Without constraints and identities: the target has them. Emptied at each commit.
            cursor.execute(
                f"CREATE TEMP TABLE {staging} ON COMMIT DELETE ROWS AS "  # noqa: S608 - our own names
                f"SELECT * FROM {table} WITH NO DATA"
            )
        else:
            cursor.execute(f"TRUNCATE {staging}")
        with cursor.copy(f"COPY {staging} ({listed}) FROM STDIN") as copy:
            for row in prepared:
                copy.write_row(row)
        cursor.execute(
            f"INSERT INTO {table} ({listed}) SELECT {listed} FROM {staging} "  # noqa: S608 - our own names
            f"ON CONFLICT ({target}) DO {action}"
        )
        _plan_again_while_growing(cursor, table, len(prepared))


def _plan_again_while_growing(cursor: Any, table: str, rows: int) -> None:
    """Drop the session's cached plans each time the rows it wrote to a table have doubled.

    A foreign key is checked by a plan that the session keeps. Made while the table was empty, it
    may use any index that begins with the environment, and then walks the whole environment for
    every row: quadratic, until autovacuum's first ANALYZE a minute later. Doubling keeps the
    number of new plans logarithmic.
    """
    written: dict[str, list[int]] = connection.__dict__.setdefault("bulk_written", {})
    count = written.setdefault(table, [0, _PLANNED_BLIND])
    count[0] += rows
    if count[0] >= 2 * count[1]:
        cursor.execute("DISCARD PLANS")
        count[1] = count[0]
