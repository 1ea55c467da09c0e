"""Who is told: the person on duty now, and the people of a role."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Q

from config.audit.services import record
from config.errors import BadInput, gettext_noop
from config.secrets import encrypt
from config.tenancy.models import Environment, Membership, Role, User
from workflows.interventions.models import MOBILE_PURPOSE, Contact, OnCall, Topic

LONGEST_SHIFT = timedelta(days=7)
# Topic -> roles told besides whoever is on duty (requirements S25-S27).
_ROLES: dict[str, tuple[str, ...]] = {
    Topic.YELLOW: (),
    Topic.ORANGE: (Role.SUPERVISOR, Role.TECH_SUPPORT),
    Topic.RED: (Role.SUPERVISOR, Role.TECH_SUPPORT, Role.DIRECTOR, Role.SHOP_OWNER),
    Topic.SOURCE: (Role.TECH_SUPPORT, Role.DIVISION_ADMIN),
    Topic.BRAKE: (Role.SUPERVISOR, Role.DIRECTOR, Role.SHOP_OWNER),
}
_WITH_DUTY = {Topic.YELLOW, Topic.RED}
# Nobody on duty, nobody in the role: somebody must hear it all the same.
_LAST_RESORT = (Role.SUPERVISOR, Role.SHOP_OWNER, Role.DIVISION_ADMIN, Role.DIRECTOR)


def list_on_duty(now: datetime) -> list[User]:
    """The people whose shift runs at this moment, in the environment in force."""
    shifts = OnCall.objects.filter(
        starts_at__lte=now, ends_at__gt=now, user__is_active=True
    ).select_related("user")
    return _unique(shift.user for shift in shifts)


def list_members(environment: Environment, roles: Iterable[str]) -> list[User]:
    """Active people with one of the roles in this environment or its division."""
    rows = Membership.objects.filter(
        Q(division_id=environment.division_id) | Q(environment=environment),
        role__in=list(roles),
        user__is_active=True,
    ).select_related("user")
    return _unique(row.user for row in rows)


def list_recipients(topic: str, *, environment: Environment, now: datetime) -> list[User]:
    """Everybody a topic goes to; when that is nobody, the first of _LAST_RESORT there is."""
    found = list_on_duty(now) if topic in _WITH_DUTY else []
    if roles := _ROLES[topic]:
        found = _unique([*found, *list_members(environment, roles)])
    for role in _LAST_RESORT:
        if found:
            break
        found = list_members(environment, [role])
    return found


def list_mobiles(users: Sequence[User]) -> tuple[str, ...]:
    """The mobile numbers by which these people are mentioned, of those who left one."""
    contacts = {c.user_id: c.mobile for c in Contact.objects.filter(user__in=users)}
    return tuple(contacts[user.pk] for user in users if user.pk in contacts)


def save_contact(user: User, *, mobile: str) -> None:
    """Store the number a person is mentioned by; raises BadInput for anything but 11 digits."""
    mobile = mobile.strip()
    if not (len(mobile) == 11 and mobile.isascii() and mobile.isdigit()):
        raise BadInput(gettext_noop("手机号应为 11 位数字"), code="bad_mobile")
    Contact.objects.update_or_create(
        user=user, defaults={"mobile_sealed": encrypt(mobile, purpose=MOBILE_PURPOSE)}
    )


def create_shift(
    user: User, *, starts_at: datetime, ends_at: datetime, actor: User, now: datetime
) -> OnCall:
    """Put a person on duty; raises BadInput for a shift that ends before it begins or is over."""
    if not starts_at < ends_at:
        raise BadInput(gettext_noop("结束时间应晚于开始时间"), code="bad_shift")
    if ends_at <= now:
        raise BadInput(gettext_noop("这一班已经结束，请检查日期"), code="bad_shift")
    if ends_at - starts_at > LONGEST_SHIFT:
        raise BadInput(gettext_noop("一班最长 7 天，请分开排"), code="bad_shift")
    with transaction.atomic():
        if OnCall.objects.filter(user=user, starts_at__lt=ends_at, ends_at__gt=starts_at).exists():
            raise BadInput(
                gettext_noop("%(person)s 在这段时间已经有班"), code="bad_shift", person=str(user)
            )
        shift: OnCall = OnCall.objects.create(user=user, starts_at=starts_at, ends_at=ends_at)
        record(action="shift.create", subject=str(shift), actor=actor, now=now)
    return shift


def cancel_shift(shift: OnCall, *, actor: User, now: datetime) -> None:
    """Take a shift off the list."""
    with transaction.atomic():
        record(action="shift.cancel", subject=str(shift), actor=actor, now=now)
        OnCall.objects.filter(pk=shift.pk).delete()


def _unique(users: Iterable[User]) -> list[User]:
    return sorted({user.pk: user for user in users}.values(), key=lambda user: user.pk)
