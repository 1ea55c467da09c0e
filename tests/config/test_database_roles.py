"""The tests, like the application, run as a role that row-level security binds."""

from __future__ import annotations

import pytest
from django.conf import settings
from django.db import connection, transaction
from django.db.utils import ProgrammingError

from config.tenancy.database_roles import as_owner
from config.tenancy.models import Tenant

pytestmark = pytest.mark.postgres


def _row(sql: str) -> tuple:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()


@pytest.mark.django_db
def test_tests_run_as_the_application_role():
    role = _row(
        "SELECT rolname, rolsuper, rolbypassrls, rolcreaterole, rolcreatedb FROM pg_roles"
        " WHERE rolname = current_user"
    )

    assert role == (settings.APPLICATION_ROLE, False, False, False, False)


@pytest.mark.django_db
def test_the_application_role_owns_no_table():
    owned = _row(
        "SELECT count(*), count(*) FILTER (WHERE tableowner = current_user) FROM pg_tables"
        " WHERE schemaname = 'public'"
    )

    assert owned[0] > 10
    assert owned[1] == 0


@pytest.mark.django_db
def test_the_application_role_cannot_change_tables():
    with pytest.raises(ProgrammingError, match="must be owner"), transaction.atomic():
        _row("ALTER TABLE tenancy_tenant ADD COLUMN sneaked_in integer")


@pytest.mark.django_db(transaction=True)
def test_a_new_connection_gives_up_the_owner_again():
    with as_owner():
        owner = _row("SELECT current_user")[0]

    assert owner != settings.APPLICATION_ROLE
    assert _row("SELECT current_user") == (settings.APPLICATION_ROLE,)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("round_", [1, 2])
def test_transactional_tests_start_empty_and_may_insert(round_):
    """Emptying works without owning the tables, and sequences go on afterwards."""
    assert Tenant.objects.count() == 0

    Tenant.objects.create(name=f"第 {round_} 轮")

    assert Tenant.objects.count() == 1
