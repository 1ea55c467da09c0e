"""The scope: no rows without one, no rows of another."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from django.db import connection, transaction

from config.tenancy.models import Membership
from config.tenancy.scope import (
    EnvironmentManager,
    ScopeMissing,
    current_scope,
    for_environment,
    for_tenant,
)
from connectors.shops.models import Shop

ROOT = Path(__file__).resolve().parents[2]


def test_business_rows_are_refused_without_a_scope(world):
    with pytest.raises(ScopeMissing):
        Shop.objects.all()
    with pytest.raises(ScopeMissing):
        Membership.objects.count()


def test_business_rows_are_refused_in_a_tenant_scope(world):
    with for_tenant(world.tenant), pytest.raises(ScopeMissing):
        Shop.objects.count()


def test_one_environment_never_sees_anothers_rows(world):
    with for_environment(world.women):
        Shop.objects.create(channel="tmall", name="女装旗舰店")

    for environment in (world.women_staging, world.kids, world.foreign):
        with for_environment(environment, write=False):
            assert Shop.objects.count() == 0
    with for_environment(world.women, write=False):
        assert Shop.objects.get().name == "女装旗舰店"


def test_what_another_thread_has_just_kept_is_not_taken_for_ones_own(world):
    with for_environment(world.women, write=False):
        theirs = Shop.objects.filter(pk__gt=0)

    class Overtaken(EnvironmentManager):
        """One whose kept rows another thread, in another environment, has always just replaced."""

        @property
        def _narrowed(self):
            return (Shop, None, world.women.pk), theirs

        @_narrowed.setter
        def _narrowed(self, kept):
            """Overwritten at once."""

    manager = Overtaken()
    manager.model = Shop
    with for_environment(world.kids, write=False):
        sql = str(manager.all().query)

    assert sql.endswith(f'"environment_id" = {world.kids.pk}')


def test_a_new_row_is_stamped_by_every_way_of_making_it(world):
    with for_environment(world.women):
        Shop.objects.create(channel="tmall", name="a")
        Shop.objects.get_or_create(channel="tmall", name="b")
        Shop.objects.bulk_create([Shop(channel="tmall", name="c")])

        assert {(s.tenant_id, s.environment_id) for s in Shop.objects.all()} == {
            (world.tenant.pk, world.women.pk)
        }
        assert Shop.objects.count() == 3


def test_a_row_of_another_environment_is_not_saved_here(world):
    with for_environment(world.women):
        foreign = Shop(
            channel="tmall", name="x", environment=world.kids, tenant_id=world.kids.tenant_id
        )
        with pytest.raises(ScopeMissing):
            Shop.objects.bulk_create([foreign])
        assert Shop.objects.count() == 0


def test_a_nested_scope_gives_way_to_the_outer_one(world):
    with for_environment(world.women):
        outer = current_scope()
        with for_environment(world.kids):
            Shop.objects.create(channel="tmall", name="童装店")
        assert current_scope() == outer
        assert Shop.objects.count() == 0
    assert current_scope() is None


def test_a_failing_block_leaves_neither_rows_nor_scope(world):
    with pytest.raises(ZeroDivisionError), for_environment(world.women):
        Shop.objects.create(channel="tmall", name="x")
        raise ZeroDivisionError
    assert current_scope() is None
    with for_environment(world.women):
        assert Shop.objects.count() == 0


def test_raw_sql_of_one_tenant_sees_no_row_of_another(world):
    if connection.vendor != "postgresql":
        pytest.skip("row-level security exists on PostgreSQL only; the PostgreSQL lane runs this")
    with for_environment(world.women):
        Shop.objects.create(channel="tmall", name="x")

    def count() -> int:
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM shops_shop")
            return cursor.fetchone()[0]

    with for_environment(world.foreign):
        assert count() == 0
    with for_environment(world.women):
        assert count() == 1
    with transaction.atomic():
        assert count() == 0


def test_a_reference_across_environments_is_refused_by_the_database(world):
    if connection.vendor != "postgresql":
        pytest.skip("composite foreign keys exist on PostgreSQL only")
    from django.db import IntegrityError

    from connectors.shops.models import Source

    with for_environment(world.kids):
        shop = Shop.objects.create(channel="tmall", name="童装店")
    with pytest.raises(IntegrityError), for_environment(world.women):
        Source.objects.create(kind="channel", name="s", shop_id=shop.pk)
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")


# Every place that looks across the environments of a tenant, each with its reason.
ACROSS_CALLERS = {
    "config/tenancy/scope.py": "its definition",
    "workflows/rollup/services.py": "headquarters' roll-up of board snapshots, no orders",
}


def test_only_listed_places_look_across_environments():
    callers = set()
    for top in ("config", "connectors", "rules_engine", "workflows", "frontend"):
        for path in (ROOT / top).rglob("*.py"):
            if "across_environments" in {
                node.attr if isinstance(node, ast.Attribute) else getattr(node, "name", "")
                for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            }:
                callers.add(str(path.relative_to(ROOT)))
    assert callers <= set(ACROSS_CALLERS)


def test_a_membership_exists_once_per_place(world):
    from django.db import IntegrityError, transaction

    with for_tenant(world.tenant):
        for place in ({}, {"division": world.women.division}, {"environment": world.women}):
            Membership.objects.create(user=world.author, role="agent", **place)
            with pytest.raises(IntegrityError), transaction.atomic():
                Membership.objects.create(user=world.author, role="agent", **place)
