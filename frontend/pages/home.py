"""The home page: is the river flowing, where not, what to do about it."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import path

from config.tenancy.roles import VIEW_BOARD, VIEW_ROLLUP, check_right
from frontend.context import find_url
from workflows.rollup.models import BoardSnapshot


@login_required
def home(request: Any) -> HttpResponse:
    """The board of the environment in force, from its newest snapshot."""
    if request.environment is None and VIEW_ROLLUP in request.rights:
        return redirect("rollup")
    if request.environment is None:
        return render(request, "home/no_environment.html", status=403)
    check_right(request.rights, VIEW_BOARD)
    snapshot = BoardSnapshot.objects.order_by("-at").first()
    if snapshot is None:
        return render(request, "home/empty.html", {"files_url": find_url("file_list")})
    return render(request, "home/home.html", {"snapshot": snapshot})


urlpatterns = [path("", home, name="home")]
