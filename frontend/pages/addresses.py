"""The allow-list of private addresses: asked for by one person, allowed by another (IT)."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import path
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from config.errors import BadInput, NotAllowed, gettext_noop
from config.tenancy.roles import MANAGE_CONNECTORS, REVIEW_RULES, check_right
from connectors.shops.addresses import approve_address, request_address, withdraw_address
from connectors.shops.models import AllowedAddress


def _check_may_see(request: Any) -> None:
    if not {MANAGE_CONNECTORS, REVIEW_RULES} & request.rights:
        raise NotAllowed(gettext_noop("您的角色没有这项权限，请联系事业部管理员"))


@login_required
@require_GET
def address_list(request: Any) -> HttpResponse:
    """Every entry, waiting ones first."""
    _check_may_see(request)
    rows = list(
        AllowedAddress.objects.select_related("requested_by", "approved_by").order_by(
            "approved_at", "host", "port"
        )
    )
    context = {
        "now": timezone.now(),
        "waiting": [row for row in rows if row.approved_at is None],
        "approved": [row for row in rows if row.approved_at is not None],
        "may_request": MANAGE_CONNECTORS in request.rights,
        "may_approve": REVIEW_RULES in request.rights,
    }
    return render(request, "addresses/list.html", context)


@login_required
@require_POST
def address_request(request: Any) -> HttpResponse:
    """Ask for an address."""
    check_right(request.rights, MANAGE_CONNECTORS)
    port = request.POST.get("port", "").strip()
    if not (port.isascii() and port.isdigit() and len(port) <= 5):
        raise BadInput(gettext_noop("端口应在 1–65535 之间"), code="bad_port")
    entry = request_address(
        host=request.POST.get("host", ""),
        port=int(port),
        purpose=request.POST.get("purpose", ""),
        actor=request.user,
        now=timezone.now(),
    )
    messages.success(request, _("已申请放行 %(address)s，等 IT 批准") % {"address": entry})
    return redirect("address_list")


@login_required
@require_POST
def address_approve(request: Any, public_id: str) -> HttpResponse:
    """Open an address somebody else asked for."""
    check_right(request.rights, REVIEW_RULES)
    entry = AllowedAddress.objects.get(public_id=public_id)
    approve_address(entry, actor=request.user, now=timezone.now())
    messages.success(request, _("已放行 %(address)s") % {"address": entry})
    return redirect("address_list")


@login_required
@require_POST
def address_withdraw(request: Any, public_id: str) -> HttpResponse:
    """Take an address off the list."""
    check_right(request.rights, REVIEW_RULES)
    entry = AllowedAddress.objects.get(public_id=public_id)
    withdraw_address(entry, actor=request.user, now=timezone.now())
    messages.success(request, _("已撤销 %(address)s，立即生效") % {"address": entry})
    return redirect("address_list")


urlpatterns = [
    path("addresses/", address_list, name="address_list"),
    path("addresses/request/", address_request, name="address_request"),
    path("addresses/<str:public_id>/approve/", address_approve, name="address_approve"),
    path("addresses/<str:public_id>/withdraw/", address_withdraw, name="address_withdraw"),
]
