"""Every table has a scope, a policy and safe references, or a written reason why not."""

from __future__ import annotations

import pytest
from django.apps import apps
from django.db import connection, models

from config.tenancy.models import EnvironmentModel, TenantModel, new_public_id
from config.tenancy.policies import POLICY, TABLES_WITHOUT_POLICY
from config.tenancy.scope import EnvironmentManager, TenantManager


def _our_models():
    return [
        m
        for m in apps.get_models(include_auto_created=True)
        if m._meta.db_table not in TABLES_WITHOUT_POLICY
    ]


def test_every_table_has_a_scope_or_a_written_reason():
    unscoped = [
        m._meta.db_table for m in _our_models() if not issubclass(m, EnvironmentModel | TenantModel)
    ]
    assert unscoped == []


def test_every_default_manager_filters_by_the_scope():
    wrong = [
        m._meta.label
        for m in _our_models()
        if not isinstance(m._default_manager, EnvironmentManager | TenantManager)
        or not isinstance(m._base_manager, EnvironmentManager | TenantManager)
    ]
    assert wrong == []


def test_scope_columns_are_never_null():
    for m in _our_models():
        assert m._meta.get_field("tenant").null is False
        if issubclass(m, EnvironmentModel):
            assert m._meta.get_field("environment").null is False


def test_unique_rules_never_reach_across_environments():
    """A unique column or rule must contain the environment, or a row that belongs to one."""
    wrong = []
    for m in _our_models():
        scoped = {
            f.name
            for f in m._meta.local_fields
            if f.name in {"environment", "tenant"}
            or (f.is_relation and issubclass(f.related_model, EnvironmentModel | TenantModel))
        }
        for f in m._meta.local_fields:
            if f.unique and not f.primary_key and f.name != "public_id" and f.name not in scoped:
                wrong.append(f"{m._meta.label}.{f.name}")
        for rule in m._meta.constraints:
            if isinstance(rule, models.UniqueConstraint) and not scoped & set(rule.fields):
                wrong.append(f"{m._meta.label}: {rule.name}")
    assert wrong == []


def _rows(sql: str) -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return {row[0] for row in cursor.fetchall()}


@pytest.mark.django_db
def test_every_scoped_table_forces_its_policy():
    if connection.vendor != "postgresql":
        pytest.skip("row-level security exists on PostgreSQL only; the PostgreSQL lane runs this")
    forced = _rows(
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND relrowsecurity AND relforcerowsecurity"
    )
    policies = _rows(f"SELECT tablename FROM pg_policies WHERE policyname = '{POLICY}'")
    tables = _rows("SELECT tablename FROM pg_tables WHERE schemaname = 'public'") - set(
        TABLES_WITHOUT_POLICY
    )
    assert tables - forced == set()
    assert tables - policies == set()


@pytest.mark.django_db
def test_every_reference_between_scoped_tables_carries_the_environment():
    if connection.vendor != "postgresql":
        pytest.skip(
            "composite foreign keys exist on PostgreSQL only; the PostgreSQL lane runs this"
        )
    composite = _rows(
        "SELECT conrelid::regclass::text || '.' || conname FROM pg_constraint"
        " WHERE contype = 'f' AND array_length(conkey, 1) = 2"
    )
    missing = []
    for m in _our_models():
        if not issubclass(m, EnvironmentModel):
            continue
        for f in m._meta.local_fields:
            if f.is_relation and issubclass(f.related_model, EnvironmentModel):
                name = f"{m._meta.db_table}_{f.column}_scope"[:60]
                if f"{m._meta.db_table}.{name}" not in composite:
                    missing.append(name)
    assert missing == []


def test_public_ids_can_be_typed_in_a_command():
    ids = {new_public_id() for _ in range(2000)}

    assert len(ids) == 2000
    assert all(len(id) == 16 and id[0].isalnum() for id in ids)
