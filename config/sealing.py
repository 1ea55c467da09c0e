"""Sealing again with the newest key: every sealed column, tenant by tenant, batch by batch.

A value names the key that sealed it, so what is done is seen in the rows themselves: a run that
was broken off goes on where it stopped, and a value that a worker wrote meanwhile with an older
key is found by the next pass. Rows somebody else has in hand are left for that pass too, so that
nobody ever waits for this. What cannot be opened is counted and left exactly as it is.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from django.db import connection, models
from django.db.models import Q

from config.secrets import SecretUnreadable, decrypt, encrypt, list_key_ids
from config.tenancy.models import Environment, EnvironmentModel, Tenant
from config.tenancy.scope import Scope, for_environment, for_tenant

log = logging.getLogger(__name__)

BATCH = 500
PASSES = 3

Enter = Callable[[], AbstractContextManager[Scope]]
Report = Callable[[str, int, int], None]  # place, values done, values there were to do


@dataclass(frozen=True)
class SealedTable:
    """A model and its sealed columns, each with the purpose its values are bound to."""

    model: type[models.Model]
    purposes: Mapping[str, str]

    @property
    def label(self) -> str:
        """Its name in reports: the table's."""
        return self.model._meta.db_table


@dataclass
class Outcome:
    """What a run did: values by `table.column`, and those no known key opens."""

    resealed: Counter[str] = field(default_factory=Counter)
    unreadable: Counter[str] = field(default_factory=Counter)
    left: int = 0  # readable, but still under an older key: workers write with it

    @property
    def is_clean(self) -> bool:
        """Whether every value is under the newest key, so that the older ones may go."""
        return not self.left and not self.unreadable


def reseal(tables: Sequence[SealedTable], *, report: Report, batch: int = BATCH) -> Outcome:
    """Seal every value of every tenant and environment with the newest of FIELD_KEYS.

    Call it outside any scope; it works in transactions of `batch` rows, beside running workers.
    """
    outcome = Outcome()
    for _ in range(PASSES):
        outcome.unreadable.clear()
        for table, enter, place in _places(tables):
            _reseal_table(table, enter, partial(report, place), outcome, batch)
        outcome.left = sum(count_stale(tables).values()) - outcome.unreadable.total()
        if outcome.left <= 0:
            break
    for column, count in outcome.unreadable.items():
        log.error("no key of FIELD_KEYS opens %d values of %s", count, column)
    return outcome


def count_stale(tables: Sequence[SealedTable]) -> Counter[str]:
    """How many values of each `table.column` the newest key did not seal. Changes nothing."""
    found: Counter[str] = Counter()
    for table, enter, _ in _places(tables):
        with enter():
            rows = table.model._default_manager
            for column in table.purposes:
                if count := rows.filter(_is_stale(column)).count():
                    found[f"{table.label}.{column}"] += count
    return found


def count_lost(tables: Sequence[SealedTable]) -> Counter[str]:
    """How many values of each `table.column` no known key sealed. Changes nothing."""
    found: Counter[str] = Counter()
    for table, enter, _ in _places(tables):
        with enter():
            for column in table.purposes:
                known = Q()
                for key_id in list_key_ids():
                    known |= Q(**{f"{column}__startswith": f"{key_id}."})
                rows = table.model._default_manager.exclude(**{column: ""}).exclude(known)
                if count := rows.count():
                    found[f"{table.label}.{column}"] += count
    return found


def _places(tables: Sequence[SealedTable]) -> Iterator[tuple[SealedTable, Enter, str]]:
    """Every table in every scope it has rows in, switched-off environments too."""
    environments = list(Environment.objects.select_related("tenant", "division").order_by("pk"))
    tenants = list(Tenant.objects.order_by("pk"))
    for table in tables:
        if issubclass(table.model, EnvironmentModel):
            for environment in environments:
                name = f"{table.label} ({environment.tenant}, {environment})"
                yield table, partial(for_environment, environment), name
        else:
            for tenant in tenants:
                yield table, partial(for_tenant, tenant), f"{table.label} ({tenant})"


def _is_stale(column: str) -> Q:
    newest = list_key_ids()[0]
    return ~Q(**{column: ""}) & ~Q(**{f"{column}__startswith": f"{newest}."})


def _reseal_table(
    table: SealedTable,
    enter: Enter,
    report: Callable[[int, int], None],
    outcome: Outcome,
    batch: int,
) -> None:
    columns = list(table.purposes)
    wanted = Q()
    for column in columns:
        wanted |= _is_stale(column)
    with enter():
        total = table.model._default_manager.filter(wanted).count()
    done, last = 0, 0
    while done < total:
        with enter():
            # Rows that are locked elsewhere are skipped, never waited for: no deadlock.
            rows = list(
                table.model._default_manager.filter(wanted, pk__gt=last)
                .order_by("pk")
                .select_for_update(skip_locked=True, no_key=True)
                .values_list("pk", *columns)[:batch]
            )
            if not rows:
                return
            _write(table, columns, [_reseal_row(table, columns, row, outcome) for row in rows])
        done, last = done + len(rows), rows[-1][0]
        report(done, total)


def _reseal_row(
    table: SealedTable, columns: Sequence[str], row: Sequence[Any], outcome: Outcome
) -> tuple[Any, ...]:
    """The row's values under the newest key; what cannot be opened stays as it is."""
    pk, *values = row
    newest = f"{list_key_ids()[0]}."
    for place, (column, sealed) in enumerate(zip(columns, values, strict=True)):
        if not sealed or sealed.startswith(newest):
            continue
        purpose, name = table.purposes[column], f"{table.label}.{column}"
        try:
            values[place] = encrypt(decrypt(sealed, purpose=purpose), purpose=purpose)
        except SecretUnreadable:
            outcome.unreadable[name] += 1
        else:
            outcome.resealed[name] += 1
    return (*values, pk)


def _write(table: SealedTable, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
    """Past the ORM: one prepared statement, and no other column is touched."""
    quote = connection.ops.quote_name
    table_name = quote(table.model._meta.db_table)
    sets = ", ".join(f"{quote(column)} = %s" for column in columns)
    with connection.cursor() as cursor:
        cursor.executemany(
            f"UPDATE {table_name} SET {sets} WHERE id = %s",  # noqa: S608 - names of our own columns
            rows,
        )
