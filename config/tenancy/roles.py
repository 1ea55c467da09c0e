"""What each role may do (requirements 1d). One table; views and services ask `can()`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from config.errors import NotAllowed, gettext_noop
from config.tenancy.models import Division, Environment, Membership, Role, User
from config.tenancy.scope import for_tenant

if TYPE_CHECKING:
    from collections.abc import Iterable

VIEW_BOARD = "view_board"
VIEW_ORDERS = "view_orders"
REPAIR = "repair"  # re-read and rescore, notes
RELEASE_HOLD = "release_hold"
WRITE_RULES = "write_rules"  # checks, canvases, node tables: drafts and submissions
REVIEW_RULES = "review_rules"  # approve, ask for changes, publish, roll back
IMPORT_FILES = "import_files"
MANAGE_SHIFTS = "manage_shifts"  # who is on duty when
MANAGE_CONNECTORS = "manage_connectors"
MANAGE_USERS = "manage_users"
PROMOTE = "promote"
VIEW_ROLLUP = "view_rollup"
VIEW_AUDIT = "view_audit"

_AGENT = {VIEW_BOARD, VIEW_ORDERS, REPAIR}
_ROLE_RIGHTS: dict[str, set[str]] = {
    Role.AGENT: _AGENT | {RELEASE_HOLD},
    Role.NEW_AGENT: _AGENT,
    Role.SUPERVISOR: _AGENT | {RELEASE_HOLD, WRITE_RULES, IMPORT_FILES, MANAGE_SHIFTS},
    Role.DIRECTOR: {VIEW_BOARD, VIEW_ORDERS, RELEASE_HOLD, VIEW_AUDIT},
    Role.TECH_SUPPORT: _AGENT | {IMPORT_FILES, MANAGE_CONNECTORS},
    Role.REVIEWER: {VIEW_BOARD, VIEW_ORDERS, WRITE_RULES, REVIEW_RULES, VIEW_AUDIT},
    Role.DIVISION_ADMIN: _AGENT
    | {
        RELEASE_HOLD,
        IMPORT_FILES,
        MANAGE_CONNECTORS,
        MANAGE_SHIFTS,
        MANAGE_USERS,
        PROMOTE,
        VIEW_AUDIT,
    },
    Role.HEADQUARTERS: {VIEW_ROLLUP},
    Role.SHOP_OWNER: _AGENT
    | {RELEASE_HOLD, WRITE_RULES, IMPORT_FILES, MANAGE_CONNECTORS, MANAGE_SHIFTS},
    Role.PLATFORM_ADMIN: set(),
}


def list_memberships(user: User) -> list[Membership]:
    """All memberships of a user, read in the scope of their own tenant."""
    if user.tenant_id is None or not user.is_active:
        return []
    assert user.tenant is not None  # noqa: S101 - narrowing for the type checker
    with for_tenant(user.tenant, write=False):
        return list(Membership.objects.filter(user=user).select_related("division", "environment"))


def list_environments(
    user: User, memberships: Iterable[Membership] | None = None
) -> list[Environment]:
    """The environments a user may enter, production first. Headquarters alone enter none."""
    if memberships is None:
        memberships = list_memberships(user)
    divisions = {m.division_id for m in memberships if m.division_id and not m.environment_id}
    single = {m.environment_id for m in memberships if m.environment_id}
    if user.tenant_id is None:
        return []
    rows = Environment.objects.filter(tenant_id=user.tenant_id, is_active=True).select_related(
        "division", "tenant"
    )
    order = {"production": 0, "staging": 1, "development": 2}
    found = [e for e in rows if e.division_id in divisions or e.pk in single]
    return sorted(found, key=lambda e: (e.division_id, order[e.kind]))


def rights_in(memberships: Iterable[Membership], environment: Environment | None) -> frozenset[str]:
    """The rights these memberships give in one environment (None: in the tenant as a whole)."""
    rights: set[str] = set()
    for m in memberships:
        is_here = m.division_id is None and m.environment_id is None
        if environment is not None:
            is_here = (
                m.environment_id == environment.pk
                if m.environment_id
                else m.division_id == environment.division_id
            )
        if is_here:
            rights |= _ROLE_RIGHTS[m.role]
    return frozenset(rights)


def check_right(rights: frozenset[str], right: str) -> None:
    """Raise NotAllowed when the right is missing."""
    if right not in rights:
        raise NotAllowed(gettext_noop("您的角色没有这项权限，请联系事业部管理员"), right=right)


def list_members(division: Division, roles: Iterable[str]) -> list[User]:
    """Active people with one of the roles in a division (call inside the tenant's scope)."""
    rows = Membership.objects.filter(
        division=division, role__in=list(roles), user__is_active=True
    ).select_related("user")
    return sorted({m.user for m in rows}, key=lambda u: u.pk)
