"""Who is on duty when, and how they are named in the group."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import path
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from config.errors import BadInput, gettext_noop
from config.tenancy.models import Role, User
from config.tenancy.roles import MANAGE_SHIFTS, VIEW_ORDERS, check_right
from workflows.interventions.models import Contact, OnCall
from workflows.interventions.services import (
    cancel_shift,
    create_shift,
    list_members,
    list_on_duty,
    save_contact,
)

AHEAD = timedelta(days=14)
# People who take shifts.
ROLES = (Role.AGENT, Role.NEW_AGENT, Role.SUPERVISOR, Role.TECH_SUPPORT, Role.SHOP_OWNER)


@login_required
@require_GET
def shift_list(request: Any) -> HttpResponse:
    """Running and coming shifts of the next two weeks, and a form for one more."""
    check_right(request.rights, VIEW_ORDERS)
    now = timezone.now()
    shifts = list(
        OnCall.objects.filter(ends_at__gt=now, starts_at__lt=now + AHEAD)
        .select_related("user")
        .order_by("starts_at", "pk")
    )
    hour = timezone.localtime(now).replace(minute=0, second=0, microsecond=0)
    context = {
        "now": now,
        "shifts": shifts,
        "gap": _find_gap(shifts, now),
        "on_duty": list_on_duty(now),
        "people": list_members(request.environment, ROLES),
        "named": set(Contact.objects.values_list("user_id", flat=True)),
        "may_manage": MANAGE_SHIFTS in request.rights,
        "starts": f"{hour:%Y-%m-%dT%H:%M}",
        "ends": f"{hour + timedelta(hours=8):%Y-%m-%dT%H:%M}",
    }
    return render(request, "shifts/list.html", context)


def _find_gap(shifts: list[OnCall], now: datetime) -> datetime | None:
    """The first moment within a day at which nobody is on duty, or None."""
    covered = now
    for shift in shifts:
        if shift.starts_at > covered:
            break
        covered = max(covered, shift.ends_at)
    return covered if covered < now + timedelta(days=1) else None


@login_required
@require_POST
def shift_new(request: Any) -> HttpResponse:
    """Put somebody on duty."""
    check_right(request.rights, MANAGE_SHIFTS)
    person = _get_person(request)
    if mobile := request.POST.get("mobile", "").strip():
        save_contact(person, mobile=mobile)
    create_shift(
        person,
        starts_at=_read_moment(request.POST.get("starts", "")),
        ends_at=_read_moment(request.POST.get("ends", "")),
        actor=request.user,
        now=timezone.now(),
    )
    messages.success(request, _("已排班：%(person)s") % {"person": person})
    return redirect("shift_list")


def _get_person(request: Any) -> User:
    """One of this environment's people; raises DoesNotExist for anybody else."""
    wanted = request.POST.get("person", "")
    for person in list_members(request.environment, ROLES):
        if person.public_id == wanted:
            return person
    raise User.DoesNotExist


def _read_moment(text: str) -> datetime:
    """A moment of the form, on the environment's clock."""
    try:
        moment = parse_datetime(text)
    except ValueError:
        moment = None
    if moment is None or not 2000 <= moment.year <= 2999:
        raise BadInput(gettext_noop("请填写值班的开始和结束时间"), code="bad_moment")
    return timezone.make_aware(moment) if timezone.is_naive(moment) else moment


@login_required
@require_POST
def shift_cancel(request: Any, shift_id: int) -> HttpResponse:
    """Take a shift off the list."""
    check_right(request.rights, MANAGE_SHIFTS)
    shift = OnCall.objects.select_related("user").get(pk=shift_id)
    cancel_shift(shift, actor=request.user, now=timezone.now())
    messages.success(request, _("已取消 %(person)s 的这一班") % {"person": shift.user})
    return redirect("shift_list")


urlpatterns = [
    path("shifts/", shift_list, name="shift_list"),
    path("shifts/new/", shift_new, name="shift_new"),
    path("shifts/<int:shift_id>/cancel/", shift_cancel, name="shift_cancel"),
]
