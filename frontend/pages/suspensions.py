"""Letting a formula back that is out of use because it kept running into a limit.

What stands suspended is shown by `checks/_suspensions.html` on the pages of checks and reviews.
"""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import path
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from config.errors import BadInput, WrongState
from config.tenancy.roles import REVIEW_RULES
from config.wording import say_error
from frontend.pages.checks import page
from rules_engine.scoring.suspensions import lift_suspension
from workflows.patrol.services import wake_scoring


@page(REVIEW_RULES)
@require_POST
def lift(request: Any, suspension_id: str) -> HttpResponse:
    """Let a formula back into scoring, with a reason."""
    now = timezone.now()
    try:
        row = lift_suspension(
            suspension_id, actor=request.user, reason=request.POST.get("reason", ""), now=now
        )
    except (BadInput, WrongState) as error:
        messages.error(request, say_error(error))
        return _go_back(request)
    wake_scoring(request.environment)
    messages.success(
        request,
        _("「%(name)s」的公式已恢复，订单会在一两分钟内重新评分") % {"name": row.dimension_name},
    )
    return _go_back(request)


def _go_back(request: Any) -> HttpResponse:
    back = request.POST.get("back", "")
    if url_has_allowed_host_and_scheme(back, allowed_hosts={request.get_host()}):
        return redirect(back)
    return redirect("check_list")


urlpatterns = [path("suspensions/<str:suspension_id>/lift/", lift, name="suspension_lift")]
