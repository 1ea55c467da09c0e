"""Who exists and where: tenant, division, environment, people and their roles.

Tenant, Division, Environment, User and ScopeKey are the *directory*: they are read before a scope
is known (login, token, the minute tick), hold no business data, and so carry no row-level policy.
Everything else with a tenant inherits from `EnvironmentModel` or `TenantModel`.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import ClassVar
from zoneinfo import ZoneInfo

from django.contrib.auth.models import AbstractUser
from django.db import models
from django.utils.translation import gettext_lazy as _

from config.tenancy.scope import EnvironmentManager, TenantManager


def new_public_id() -> str:
    """A random id for addresses and APIs: 16 characters, almost 96 bits; reveals no volume.

    It begins with a letter or digit: a command would read "-x" as an option.
    """
    while not (found := secrets.token_urlsafe(12))[0].isalnum():
        pass
    return found


class Tenant(models.Model):
    """A merchant group (租户)."""

    public_id = models.CharField(max_length=24, unique=True, default=new_public_id, editable=False)
    name = models.CharField(_("名称"), max_length=100)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name = _("租户")
        verbose_name_plural = _("租户")

    def __str__(self) -> str:
        return self.name


class Division(models.Model):
    """A business unit of a tenant (事业部)."""

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="divisions")
    public_id = models.CharField(max_length=24, unique=True, default=new_public_id, editable=False)
    name = models.CharField(_("名称"), max_length=100)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name = _("事业部")
        verbose_name_plural = _("事业部")
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["tenant", "name"], name="division_name_in_tenant")
        ]

    def __str__(self) -> str:
        return self.name


class EnvironmentKind(models.TextChoices):
    DEVELOPMENT = "development", _("开发")
    STAGING = "staging", _("预发")
    PRODUCTION = "production", _("生产")


class Environment(models.Model):
    """One of development, staging, production of a division (环境)."""

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="environments")
    division = models.ForeignKey(Division, on_delete=models.PROTECT, related_name="environments")
    public_id = models.CharField(max_length=24, unique=True, default=new_public_id, editable=False)
    kind = models.CharField(_("类型"), max_length=16, choices=EnvironmentKind)
    time_zone = models.CharField(_("时区"), max_length=64, default="Asia/Shanghai")
    currency = models.CharField(_("币种"), max_length=3, default="CNY")
    hold_limit = models.PositiveIntegerField(
        _("十分钟内最多自动挂起单数"), default=100, help_text=_("超过后先请人确认，不再自动挂起")
    )
    loss_per_hour_fen = models.BigIntegerField(
        _("每小时延迟损失（分）"), default=4_300_000, help_text=_("用于损失估算，可按本事业部调整")
    )
    is_active = models.BooleanField(_("启用"), default=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name = _("环境")
        verbose_name_plural = _("环境")
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["division", "kind"], name="environment_kind_in_division"
            )
        ]

    def __str__(self) -> str:
        return f"{self.division.name} · {self.get_kind_display()}"

    @property
    def zone(self) -> ZoneInfo:
        """The time zone formulas and screens of this environment use."""
        return ZoneInfo(self.time_zone)


class User(AbstractUser):
    """A person. Belongs to exactly one tenant; a platform administrator to none."""

    tenant = models.ForeignKey(
        Tenant, null=True, blank=True, on_delete=models.PROTECT, related_name="users"
    )
    public_id = models.CharField(max_length=24, unique=True, default=new_public_id, editable=False)
    display_name = models.CharField(_("姓名"), max_length=50, blank=True)

    class Meta:
        verbose_name = _("用户")
        verbose_name_plural = _("用户")

    def __str__(self) -> str:
        return self.display_name or self.username


class Role(models.TextChoices):
    """The roles of requirements 1d. `roles.py` says what each may do."""

    AGENT = "agent", _("值班客服")
    NEW_AGENT = "new_agent", _("新人客服")
    SUPERVISOR = "supervisor", _("运营主管")
    DIRECTOR = "director", _("运营总监")
    TECH_SUPPORT = "tech_support", _("技术支援")
    REVIEWER = "reviewer", _("IT 审核者")
    DIVISION_ADMIN = "division_admin", _("事业部管理员")
    HEADQUARTERS = "headquarters", _("总部")
    SHOP_OWNER = "shop_owner", _("小微店主")
    PLATFORM_ADMIN = "platform_admin", _("平台管理员")


class TenantModel(models.Model):
    """Base of every row that belongs to a tenant as a whole."""

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="+", editable=False)

    objects = TenantManager()

    class Meta:
        abstract = True
        base_manager_name = "objects"


class EnvironmentModel(models.Model):
    """Base of every business row: exactly one environment, and its tenant for the row policy.

    Neither has an index of its own: nobody looks up all rows of an environment of a large table,
    and the tables' own indexes begin with the environment where that helps.
    """

    tenant = models.ForeignKey(
        Tenant, on_delete=models.PROTECT, related_name="+", editable=False, db_index=False
    )
    environment = models.ForeignKey(
        Environment, on_delete=models.PROTECT, related_name="+", editable=False, db_index=False
    )

    objects = EnvironmentManager()

    class Meta:
        abstract = True
        base_manager_name = "objects"


class Membership(TenantModel):
    """A person's role in the tenant (division empty), a division, or one environment of it."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    division = models.ForeignKey(
        Division, null=True, blank=True, on_delete=models.CASCADE, related_name="+"
    )
    environment = models.ForeignKey(
        Environment, null=True, blank=True, on_delete=models.CASCADE, related_name="+"
    )
    role = models.CharField(_("角色"), max_length=20, choices=Role)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta(TenantModel.Meta):
        verbose_name = _("成员")
        verbose_name_plural = _("成员")
        constraints: ClassVar = [
            # Three rules, because SQLite counts two empty columns as different.
            models.UniqueConstraint(
                fields=["tenant", "user", "role"],
                condition=models.Q(division=None, environment=None),
                name="membership_once_in_tenant",
            ),
            models.UniqueConstraint(
                fields=["tenant", "user", "division", "role"],
                condition=models.Q(division__isnull=False, environment=None),
                name="membership_once_in_division",
            ),
            models.UniqueConstraint(
                fields=["tenant", "user", "environment", "role"],
                condition=models.Q(environment__isnull=False),
                name="membership_once_in_environment",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user} · {self.get_role_display()}"


class ScopeKey(models.Model):
    """An API token of one environment; only its hash is stored."""

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="+", editable=False)
    environment = models.ForeignKey(Environment, on_delete=models.CASCADE, related_name="+")
    name = models.CharField(_("用途"), max_length=100)
    token_hash = models.CharField(max_length=64, unique=True, editable=False)
    last_four = models.CharField(max_length=4, editable=False)
    is_active = models.BooleanField(_("启用"), default=True)
    created_at = models.DateTimeField(auto_now_add=True)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        verbose_name = _("接口令牌")
        verbose_name_plural = _("接口令牌")

    def __str__(self) -> str:
        return f"{self.name} …{self.last_four}"

    @staticmethod
    def hash_token(token: str) -> str:
        """The stored form of a token (tokens are random, so a plain hash is enough)."""
        return hashlib.sha256(token.encode()).hexdigest()
