"""The planner's figures on SQLite."""

import pytest
from django.db import connection
from django.utils import timezone

from config.tenancy.bulk import upsert_rows
from config.tenancy.models import new_public_id
from config.tenancy.scope import for_environment
from config.tenancy.statistics import refresh_statistics
from connectors.shops.models import Shop
from workflows.patrol import tasks

pytestmark = pytest.mark.django_db


def _plan(sql: str) -> str:
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN QUERY PLAN {sql}")
        return " ".join(str(row) for row in cursor.fetchall())


def _fill(environment, count: int = 1000) -> str:
    with for_environment(environment):
        rows = [(new_public_id(), "tmall", f"店{n}", True, timezone.now()) for n in range(count)]
        upsert_rows(
            Shop,
            columns=["public_id", "channel", "name", "is_active", "created_at"],
            rows=rows,
            conflict=["environment_id", "channel", "name"],
            update=[],
        )
    listed = ", ".join(f"'{row[0]}'" for row in rows[:50])
    return (
        f"SELECT * FROM shops_shop WHERE environment_id = {environment.pk} "
        f"AND public_id IN ({listed})"
    )


def test_the_minute_tick_lets_sqlite_find_rows_by_their_own_key(world, monkeypatch):
    if connection.vendor != "sqlite":
        pytest.skip("PostgreSQL keeps its own statistics")
    monkeypatch.setattr(tasks, "enqueue", lambda *_a, **_k: True)
    question = _fill(world.women)
    blind = _plan(question)

    tasks.tick()

    assert "environment_id=?" in blind
    assert "public_id=?" in _plan(question)


def test_statistics_cost_nothing_where_the_database_keeps_its_own(world, django_assert_num_queries):
    expected = 5 if connection.vendor == "sqlite" else 0
    with django_assert_num_queries(expected):
        refresh_statistics()


def test_a_large_environment_is_not_taken_for_a_small_one(world):
    """SQLite counts to a limit; an index on the environment would then beat one on the key."""
    if connection.vendor != "sqlite":
        pytest.skip("PostgreSQL keeps its own statistics")
    _fill(world.women, 5000)
    refresh_statistics()

    with for_environment(world.women, write=False):
        ids = list(Shop.objects.values_list("pk", flat=True)[:500])
        plan = Shop.objects.filter(pk__in=ids).values_list("name").explain()
    assert "rowid=?" in plan
