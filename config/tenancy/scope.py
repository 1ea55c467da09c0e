"""The scope: whose rows the running code sees.

`for_environment()` and `for_tenant()` set it; managers filter by it and refuse to work without it;
on PostgreSQL the same call sets `app.tenant` for the row-level policies, inside a transaction.
SQLite has no policies; there a read scope opens no transaction, because an IMMEDIATE one would
make every page wait for every writer.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from django.db import connection, models, transaction

from config.errors import AppError, gettext_noop

if TYPE_CHECKING:
    from config.tenancy.models import Environment, Tenant


class ScopeMissing(AppError):
    """Code asked for scoped rows outside a scope: always a bug, never shown as data."""

    code = "scope_missing"


@dataclass(frozen=True)
class Scope:
    """A tenant and, in all but the headquarters' view, one environment of it."""

    tenant_id: int
    environment_id: int | None


_current: ContextVar[Scope | None] = ContextVar("hedao_scope", default=None)


def current_scope() -> Scope | None:
    """The scope in force, or None."""
    return _current.get()


def require_environment_id() -> int:
    """The environment in force; raises ScopeMissing when there is none."""
    scope = _current.get()
    if scope is None or scope.environment_id is None:
        raise ScopeMissing(gettext_noop("没有选定环境，不能读取业务数据"))
    return scope.environment_id


def require_tenant_id() -> int:
    """The tenant in force; raises ScopeMissing when there is none."""
    scope = _current.get()
    if scope is None:
        raise ScopeMissing(gettext_noop("没有选定租户，不能读取业务数据"))
    return scope.tenant_id


def _set_policy_tenant(value: str) -> None:
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config('app.tenant', %s, true)", [value])


@contextmanager
def _enter(scope: Scope, *, write: bool) -> Iterator[Scope]:
    needs_transaction = write or connection.vendor == "postgresql"
    outer = _current.get()
    token = _current.set(scope)
    try:
        with transaction.atomic() if needs_transaction else nullcontext():
            _set_policy_tenant(str(scope.tenant_id))
            yield scope
            if outer is not None:
                _set_policy_tenant(str(outer.tenant_id))
            elif connection.in_atomic_block and connection.savepoint_ids:
                _set_policy_tenant("")  # inside somebody's transaction: close the door behind us
    finally:
        _current.reset(token)


@contextmanager
def for_environment(environment: Environment, *, write: bool = True) -> Iterator[Scope]:
    """Run the block on one environment's rows.

    With `write` (the default) the block is one transaction on every database. Without, it is one
    on PostgreSQL only. A block must not switch environments inside: nest calls instead.
    """
    scope = Scope(tenant_id=environment.tenant_id, environment_id=environment.pk)
    with _enter(scope, write=write):
        yield scope


@contextmanager
def for_tenant(tenant: Tenant, *, write: bool = True) -> Iterator[Scope]:
    """Run the block for a tenant as a whole: memberships, headquarters' roll-up."""
    scope = Scope(tenant_id=tenant.pk, environment_id=None)
    with _enter(scope, write=write):
        yield scope


class TenantQuerySet(models.QuerySet[Any]):
    """Rows of the tenant in force."""

    def create(self, **kwargs: Any) -> Any:
        """As Django's, after stamping the tenant in force."""
        kwargs.setdefault("tenant_id", require_tenant_id())
        return super().create(**kwargs)


class EnvironmentQuerySet(models.QuerySet[Any]):
    """Rows of the environment in force."""

    def for_environment(self, environment: Environment) -> Self:
        """Narrow to one environment, said out loud (it must be the one in force)."""
        return self.filter(environment_id=environment.pk)

    def create(self, **kwargs: Any) -> Any:
        """As Django's, after stamping the scope in force."""
        row = self.model(**kwargs)
        stamp_scope([row])
        self._for_write = True
        row.save(force_insert=True, using=self.db)
        return row

    def bulk_create(self, objs: Any, *args: Any, **kwargs: Any) -> list[Any]:
        """As Django's, after stamping the scope in force on rows that carry none."""
        rows = list(objs)
        stamp_scope(rows)
        return super().bulk_create(rows, *args, **kwargs)


def stamp_scope(rows: list[Any]) -> None:
    """Write the scope in force on new rows; refuse a row that belongs to another one."""
    environment_id, tenant_id = require_environment_id(), require_tenant_id()
    for row in rows:
        if row.environment_id is None:
            row.environment_id, row.tenant_id = environment_id, tenant_id
        elif row.environment_id != environment_id:
            raise ScopeMissing(gettext_noop("这条数据属于另一个环境，不能在这里保存"))


class TenantManager(models.Manager.from_queryset(TenantQuerySet)):  # type: ignore[misc] # dynamic base
    """Default manager of tenant rows: filtered by the scope, refusing without one."""

    def get_queryset(self) -> TenantQuerySet:
        return super().get_queryset().filter(tenant_id=require_tenant_id())


class EnvironmentManager(models.Manager.from_queryset(EnvironmentQuerySet)):  # type: ignore[misc] # dynamic base
    """Default manager of business rows: filtered by the scope, refusing without one."""

    _narrowed: tuple[tuple[Any, ...], EnvironmentQuerySet] | None = None

    def get_queryset(self) -> EnvironmentQuerySet:
        """Rows of the environment in force; what narrows to it is built once and copied."""
        key = (self.model, self._db, require_environment_id())
        kept = self._narrowed  # looked at once: other threads work in other environments
        if kept is None or kept[0] != key or self._hints:
            kept = (key, super().get_queryset().filter(environment_id=key[-1]))
            if not self._hints:
                self._narrowed = kept
        return kept[1].all()

    def across_environments(self) -> EnvironmentQuerySet:
        """Rows of every environment of the tenant in force (headquarters; a test lists callers)."""
        return super().get_queryset().filter(tenant_id=require_tenant_id())
