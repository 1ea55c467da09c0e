"""Back-fills: a past range read again as history. Estimated first, watched, paused, never alerting."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import path, reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from config.errors import AppError, BadInput, NotFound, gettext_noop
from config.tenancy.models import User
from config.tenancy.roles import MANAGE_CONNECTORS, VIEW_BOARD, check_right
from config.wording import say, say_error
from connectors.shops.models import Connection
from connectors.sync.backfill import (
    cancel_backfill,
    pause_backfill,
    request_backfill,
    resume_backfill,
    start_backfill,
)
from connectors.sync.models import BackfillRun
from connectors.sync.reading import MAIN_STREAM
from connectors.sync.registry import get_connector
from frontend.pages.connections import page
from workflows.patrol.sources import wake_backfill

RUNS_SHOWN = 50
FIRST_GUESS = timedelta(days=7)
State = BackfillRun.State
_ACTIONS: dict[str, Callable[..., None]] = {
    "start": start_backfill,
    "pause": pause_backfill,
    "resume": resume_backfill,
    "cancel": cancel_backfill,
}
_LOOKS = {
    State.DONE: "sent",
    State.RUNNING: "pending",
    State.PAUSED: "ambiguous",
    State.FAILED: "failed",
}


@require_http_methods(["GET", "POST"])
@page(VIEW_BOARD)
def backfill_list(request: Any) -> HttpResponse:
    """Past and running back-fills, and the form that asks for one."""
    now = timezone.now()
    error = ""
    if request.method == "POST":
        check_right(request.rights, MANAGE_CONNECTORS)
        try:
            run = _ask(request, now)
        except AppError as refusal:
            error = say_error(refusal)
        else:
            return redirect("backfill_detail", run.public_id)
    given = request.POST if error else request.GET
    choices = _list_choices(now)
    context = {
        "now": now,
        "error": error,
        "rows": [
            _describe(run)
            for run in BackfillRun.objects.select_related(
                "connection__source", "requested_by"
            ).order_by("-requested_at", "-pk")[:RUNS_SHOWN]
        ],
        "choices": choices,
        "chosen": given.get("connection", ""),
        "start": given.get("start") or _write(now - FIRST_GUESS, request),
        "end": given.get("end") or _write(now, request),
        "may_manage": MANAGE_CONNECTORS in request.rights,
    }
    return render(request, "backfills/list.html", context, status=400 if error else 200)


def _list_choices(now: datetime) -> list[dict[str, Any]]:
    """Connections whose lists can be read by time, with how far back they go."""
    found = []
    for row in Connection.objects.select_related("source").order_by("source__kind", "pk"):
        rules = get_connector(row.vendor).list_streams(row.config).get(MAIN_STREAM)
        if rules is not None:
            found.append({"connection": row, "days": rules.reach.days})
    return found


def _write(moment: datetime, request: Any) -> str:
    return moment.astimezone(request.environment.zone).strftime("%Y-%m-%dT%H:%M")


def _read_moment(request: Any, name: str) -> datetime:
    try:
        moment = datetime.fromisoformat(request.POST.get(name, "").strip())
    except ValueError as error:
        raise BadInput(gettext_noop("请填写开始和结束的日期与时间"), code="bad_range") from error
    return moment.replace(tzinfo=request.environment.zone) if moment.tzinfo is None else moment


def _ask(request: Any, now: datetime) -> BackfillRun:
    connection = Connection.objects.filter(public_id=request.POST.get("connection", "")).first()
    if connection is None:
        raise BadInput(gettext_noop("请选择要补录的来源"), code="no_connection")
    run = request_backfill(
        connection,
        start=_read_moment(request, "start"),
        end=_read_moment(request, "end"),
        actor=request.user,
        now=now,
    )
    wake_backfill(request.environment, run)
    return run


def _get(public_id: str) -> BackfillRun:
    run = (
        BackfillRun.objects.select_related("connection__source", "requested_by")
        .filter(public_id=public_id)
        .first()
    )
    if run is None:
        raise NotFound(gettext_noop("没有这次补录"))
    return run


def _describe(run: BackfillRun) -> dict[str, Any]:
    """A run as the templates draw it: how far the mark has come, what was found."""
    whole = (run.end - run.start).total_seconds()
    done = ((run.mark or run.start) - run.start).total_seconds()
    percent = 100 if run.state == State.DONE else min(99, int(100 * done / whole))
    return {
        "run": run,
        "percent": percent,
        "look": _LOOKS.get(State(run.state), ""),
        "error": say(run.error) if run.error else "",
    }


@require_GET
@page(VIEW_BOARD)
def backfill_detail(request: Any, public_id: str) -> HttpResponse:
    """One back-fill; htmx asks for its moving part, 286 tells it to stop asking."""
    run = _get(public_id)
    context = _describe(run) | {
        "now": timezone.now(),
        "may_manage": MANAGE_CONNECTORS in request.rights,
        "is_moving": run.state in {State.ESTIMATING, State.RUNNING},
    }
    if request.htmx:
        status = 200 if context["is_moving"] else 286
        return render(request, "backfills/_run.html", context, status=status)
    context["crumbs"] = [(_("补录"), reverse("backfill_list")), (str(run.connection), None)]
    return render(request, "backfills/detail.html", context)


@require_POST
@page(MANAGE_CONNECTORS)
def backfill_act(request: Any, public_id: str, action: str) -> HttpResponse:
    """Start, pause, resume or cancel."""
    run = _get(public_id)
    act = _ACTIONS.get(action)
    if act is None:
        raise NotFound(gettext_noop("没有这个操作"))
    actor: User = request.user
    act(run, actor=actor, now=timezone.now())
    if run.state == State.RUNNING:
        wake_backfill(request.environment, run)
    words = {
        "start": _("补录已开始"),
        "pause": _("已暂停，读到的都保留"),
        "resume": _("从停下的地方继续"),
        "cancel": _("已取消，读到的都保留"),
    }[action]
    messages.success(request, words)
    return redirect("backfill_detail", public_id)


urlpatterns = [
    path("backfills/", backfill_list, name="backfill_list"),
    path("backfills/<str:public_id>/", backfill_detail, name="backfill_detail"),
    path("backfills/<str:public_id>/<str:action>/", backfill_act, name="backfill_act"),
]
