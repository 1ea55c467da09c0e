"""Headquarters: sums per division, never an order."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import path
from django.utils import timezone

from config.tenancy.roles import VIEW_ROLLUP, check_right
from config.tenancy.scope import for_tenant
from workflows.rollup.services import list_division_figures


@login_required
def rollup(request: Any) -> HttpResponse:
    """Totals of each division's production, and their sum."""
    check_right(request.rights, VIEW_ROLLUP)
    with for_tenant(request.user.tenant, write=False):
        rows, total = list_division_figures()
    context = {"rows": rows, "total": total, "now": timezone.now()}
    return render(request, "rollup/rollup.html", context)


urlpatterns = [path("rollup/", rollup, name="rollup")]
