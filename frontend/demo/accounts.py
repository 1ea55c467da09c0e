"""Who lives in the demo: one group with two divisions, staging and production, a login per role."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from django.conf import settings

from config.tenancy.models import (
    Division,
    Environment,
    EnvironmentKind,
    Membership,
    Role,
    Tenant,
    User,
)
from config.tenancy.scope import for_tenant

TENANT = "示例女装集团"
DIVISIONS = ("女装", "童装")


@dataclass(frozen=True)
class Account:
    """A login of the demo: user name, person, role, and the division it belongs to (None: HQ)."""

    username: str
    person: str
    role: str
    division: str | None


ACCOUNTS: tuple[Account, ...] = (
    Account("zhuguan", "王敏", Role.SUPERVISOR, "女装"),
    Account("shenhe", "赵磊", Role.REVIEWER, "女装"),
    Account("kefu", "李娜", Role.AGENT, "女装"),
    Account("xinren", "陈晨", Role.NEW_AGENT, "女装"),
    Account("zongjian", "周岚", Role.DIRECTOR, "女装"),
    Account("jishu", "孙浩", Role.TECH_SUPPORT, "女装"),
    Account("guanli", "吴静", Role.DIVISION_ADMIN, "女装"),
    Account("tongzhuang", "马丽", Role.SUPERVISOR, "童装"),
    Account("tongshen", "林涛", Role.REVIEWER, "童装"),
    Account("zongbu", "何总", Role.HEADQUARTERS, None),
    Account("dianzhu", "高星", Role.SHOP_OWNER, "童装"),
)


def read_password() -> str:
    """The demo's one password: random, made once, kept private in the data folder."""
    path = settings.DATA_DIR / "demo" / "password"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.touch(mode=0o600)
        path.write_text("hedao-" + secrets.token_hex(4))
    return path.read_text().strip()


def create_accounts(password: str) -> dict[tuple[str, str], Environment]:
    """Make the group, its environments and people where they are missing.

    Returns environments by (division name, kind). Safe to run twice.
    """
    tenant, _ = Tenant.objects.get_or_create(name=TENANT)
    environments: dict[tuple[str, str], Environment] = {}
    divisions: dict[str, Division] = {}
    for name in DIVISIONS:
        division, _ = Division.objects.get_or_create(tenant=tenant, name=name)
        divisions[name] = division
        for kind in (EnvironmentKind.PRODUCTION, EnvironmentKind.STAGING):
            environments[name, kind], _ = Environment.objects.get_or_create(
                tenant=tenant, division=division, kind=kind
            )
    for account in ACCOUNTS:
        user, is_new = User.objects.get_or_create(
            username=account.username,
            defaults={"display_name": account.person, "tenant": tenant},
        )
        if is_new:
            user.set_password(password)
            user.save(update_fields=["password"])
        with for_tenant(tenant):
            Membership.objects.get_or_create(
                user=user,
                division=divisions[account.division] if account.division else None,
                environment=None,
                role=account.role,
            )
    return environments


def describe_accounts(password: str) -> str:
    """The table of logins that the terminal shows."""
    lines = ["  用户名       姓名   角色           所属        密码"]
    for account in ACCOUNTS:
        role = Role(account.role).label
        where = account.division or "总部"
        lines.append(
            f"  {account.username:<12} {account.person:<4} {role:<10} {where:<8} {password}"
        )
    return "\n".join(lines)
