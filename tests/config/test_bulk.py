"""Bulk upserts: what PostgreSQL's sessions keep while tables grow."""

import pytest
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from config.tenancy.bulk import upsert_rows
from config.tenancy.models import new_public_id
from config.tenancy.scope import for_environment
from connectors.shops.models import Shop
from tests.factories import make_order

pytestmark = pytest.mark.django_db


def _needs_postgres(reason: str) -> None:
    if connection.vendor != "postgresql":
        pytest.skip(f"{reason}; the PostgreSQL lane runs this")


@pytest.fixture
def scope(world):
    with for_environment(world.women):
        yield


def _shops(first: int, count: int) -> None:
    upsert_rows(
        Shop,
        columns=["public_id", "channel", "name", "is_active", "created_at"],
        rows=[
            (new_public_id(), "tmall", f"店{number}", True, timezone.now())
            for number in range(first, first + count)
        ],
        conflict=["environment_id", "channel", "name"],
        update=[],
    )


def test_cached_plans_are_dropped_each_time_a_table_doubled_and_no_oftener(scope):
    _needs_postgres("only PostgreSQL's sessions keep the plans of key checks")
    connection.__dict__.pop("bulk_written", None)
    drops = []
    for first in range(0, 2000, 100):
        with CaptureQueriesContext(connection) as queries:
            _shops(first, 100)
        drops.append(sum("DISCARD PLANS" in query["sql"] for query in queries))
    assert [100 * (i + 1) for i, dropped in enumerate(drops) if dropped] == [400, 800, 1600]


def test_a_line_cannot_refer_to_an_order_of_an_environment_that_does_not_exist(scope):
    _needs_postgres("the composite key is the only check left on a line's environment")
    order = make_order()
    with pytest.raises(IntegrityError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "UPDATE orders_orderline SET environment_id = environment_id + 1000 "
            "WHERE order_id = %s",
            [order.pk],
        )
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")


def test_no_table_of_an_environment_carries_an_index_on_its_scope_alone():
    with connection.cursor() as cursor:
        alone = [
            (table, name)
            for table in connection.introspection.table_names(cursor)
            if table.startswith(("orders_", "scoring_", "facts_", "interventions_"))
            for name, rule in connection.introspection.get_constraints(cursor, table).items()
            if rule["index"]
            and not rule["unique"]
            and rule["columns"] in (["tenant_id"], ["environment_id"])
        ]
    assert alone == []
