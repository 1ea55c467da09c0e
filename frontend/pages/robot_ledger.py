"""The robots' ledger: what was sent to whom and what became of it; the robots; who is on duty."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models import Count, Q, QuerySet
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import path, reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from config.audit.services import record
from config.errors import AppError, BadInput, gettext_noop
from config.tenancy.roles import MANAGE_CONNECTORS, VIEW_ORDERS, check_right
from config.wording import say_error
from connectors.http import AddressRefused
from frontend.pages.orders import decode_key, encode_key
from workflows.interventions.delivery import MINUTE
from workflows.interventions.models import Delivery, OnCall, PatrolRun, Robot
from workflows.interventions.policy import BUDGET_PER_MINUTE, RESERVED_FOR_RED
from workflows.interventions.robots import CHOICES
from workflows.interventions.services import create_robot, list_on_duty, save_robot, send_test
from workflows.patrol.services import wake_delivery

PAGE_SIZE = 50
RECENT = timedelta(hours=24)
_TAKES = {
    "takes_red": gettext_lazy("红色"),
    "takes_orange": gettext_lazy("橙色"),
    "takes_yellow": gettext_lazy("黄色"),
    "takes_technical": gettext_lazy("来源滞后"),
}
VIEWS = {
    "robots": gettext_lazy("发到群里"),
    "mine": gettext_lazy("发给我的"),
    "people": gettext_lazy("站内全部"),
}


@login_required
@require_GET
def robot_ledger(request: Any) -> HttpResponse:
    """Robots, duty and patrol at a glance, then the messages (a fixed number of queries)."""
    check_right(request.rights, VIEW_ORDERS)
    now = timezone.now()
    view = request.GET.get("view", "robots")
    view = view if view in VIEWS else "robots"
    state = request.GET.get("state", "")
    state = state if state in Delivery.State.values else ""
    rows, following = _list_rows(request, view, state, request.GET.get("after", ""))
    recent = _of_view(request, view).filter(created_at__gt=now - RECENT)
    counts = dict(recent.values("state").annotate(n=Count("pk")).values_list("state", "n"))
    robots = _list_robots(now)
    context = {
        "now": now,
        "robots": robots,
        "may_manage": MANAGE_CONNECTORS in request.rights,
        "warnings": _list_warnings(robots),
        "on_duty": list_on_duty(now),
        "shift": OnCall.objects.filter(ends_at__gt=now).order_by("starts_at").first(),
        **_describe_patrol(now),
        "views": [(key, label, _url(key), key == view) for key, label in VIEWS.items()],
        "states": [
            (
                label,
                counts.get(key, 0),
                _url(view) if key == state else _url(view, state=key),
                key == state,
            )
            for key, label in Delivery.State.choices
            if counts.get(key) or key == state
        ],
        "rows": rows,
        "next_url": _url(view, state=state, after=following) if following else "",
        "first_url": _url(view, state=state) if request.GET.get("after") else "",
    }
    return render(request, "robots/ledger.html", context)


def _url(view: str, **parameters: str) -> str:
    wanted = {"view": view} | {k: v for k, v in parameters.items() if v}
    if wanted == {"view": "robots"}:
        return reverse("robot_ledger")
    return f"{reverse('robot_ledger')}?{urlencode(wanted)}"


def _of_view(request: Any, view: str) -> QuerySet[Delivery]:
    rows: QuerySet[Delivery] = Delivery.objects.all()
    if view == "mine":
        return rows.filter(recipient=request.user)
    return rows.filter(robot__isnull=view != "robots")


def _list_rows(request: Any, view: str, state: str, after: str) -> tuple[list[Delivery], str]:
    rows = _of_view(request, view).select_related("robot", "recipient", "group", "merged_into")
    if state:
        rows = rows.filter(state=state)
    if after:
        moment, pk = decode_key(after, 2)
        try:
            created = datetime.fromisoformat(moment)
        except (TypeError, ValueError) as error:
            raise BadInput(gettext_noop("这一页的地址不完整，请从第一页重新翻")) from error
        rows = rows.filter(Q(created_at__lt=created) | Q(created_at=created, pk__lt=pk))
    found = list(rows.order_by("-created_at", "-pk")[: PAGE_SIZE + 1])
    page = found[:PAGE_SIZE]
    last = page[-1] if len(found) > PAGE_SIZE else None
    return page, encode_key([last.created_at, last.pk]) if last else ""


def _list_robots(now: datetime) -> list[Any]:
    """Robots with what they take, what is left of their minute, and how they do."""
    robots = list(Robot.objects.select_related("budget").order_by("-is_active", "name"))
    since = (now - MINUTE).timestamp()
    for robot in robots:
        budget = getattr(robot, "budget", None)
        robot.takes = [label for key, label in _TAKES.items() if getattr(robot, key)]
        robot.used = sum(sent > since for sent, _pk in budget.sent) if budget else 0
        robot.limit = BUDGET_PER_MINUTE
        robot.is_paused = bool(budget and budget.paused_until and budget.paused_until > now)
        robot.trouble = budget if budget and budget.failures else None
    return robots


def _list_warnings(robots: list[Any]) -> list[str]:
    """What would keep a red alert from being heard."""
    active = [r for r in robots if r.is_active]
    if not any(r.takes_red for r in active):
        return [_("没有接收红色告警的群机器人：红色只发站内，夜里可能没人看到")]
    if all(r.trouble for r in active if r.takes_red):
        return [_("接收红色告警的群机器人都在报错，请按下方提示处理")]
    return []


def _describe_patrol(now: datetime) -> dict[str, Any]:
    """The newest finished minute, and how many of the last hour were missed."""
    run = PatrolRun.objects.filter(finished_at__isnull=False).order_by("-slot").first()
    missed = PatrolRun.objects.filter(
        slot__gt=now - timedelta(hours=1),
        state__in=[PatrolRun.State.MISSED, PatrolRun.State.FAILED, PatrolRun.State.BUSY],
    ).count()
    took = run.finished_at - run.started_at if run and run.finished_at and run.started_at else None
    return {
        "run": run,
        "run_took": took,
        "missed": missed,
        "is_patrol_late": run is None or now - run.slot > timedelta(minutes=3),
    }


# --- robots ---------------------------------------------------------------------------------------


@login_required
@require_http_methods(["GET", "POST"])
def robot_new(request: Any) -> HttpResponse:
    """Connect a group's robot."""
    check_right(request.rights, MANAGE_CONNECTORS)
    error, status = "", 200
    if request.method == "POST":
        choices = {key: key in request.POST for key in CHOICES if key != "is_active"}
        try:
            if not any(choices[key] for key in _TAKES):
                raise BadInput(gettext_noop("请至少勾选一种要发到这个群的告警"), code="takes_none")
            robot = create_robot(
                name=request.POST.get("name", ""),
                webhook=request.POST.get("webhook", ""),
                secret=request.POST.get("secret", ""),
                keyword=request.POST.get("keyword", ""),
                actor=request.user,
                now=timezone.now(),
                **choices,
            )
        except (AddressRefused, BadInput) as refusal:
            error, status = say_error(refusal), 400
            _record_refusal(request, refusal)
        else:
            messages.success(
                request, _("已登记「%(name)s」，发一条测试消息试试") % {"name": robot.name}
            )
            return redirect("robot_ledger")
    given = request.POST if request.method == "POST" else None
    context = {
        "crumbs": [(_("通知台账"), reverse("robot_ledger")), (_("接入群机器人"), None)],
        "error": error,
        "given": given,
        "takes": [
            (key, label, key in given if given else key == "takes_red")
            for key, label in _TAKES.items()
        ],
        "may_at_all": "may_at_all" in given if given else True,
        "reserved": RESERVED_FOR_RED,
    }
    return render(request, "robots/new.html", context, status=status)


def _record_refusal(request: Any, refusal: AppError) -> None:
    """An address that points inside is worth a line in the audit log; never the address itself."""
    if isinstance(refusal, AddressRefused):
        record(
            action="robot.refused",
            subject=request.POST.get("name", "")[:60],
            actor=request.user,
            now=timezone.now(),
            details={"code": refusal.code},
        )


@login_required
@require_POST
def robot_test(request: Any, public_id: str) -> HttpResponse:
    """Send a test message."""
    check_right(request.rights, MANAGE_CONNECTORS)
    robot = Robot.objects.get(public_id=public_id)
    send_test(robot, actor=request.user, now=timezone.now())
    wake_delivery(request.environment)
    messages.success(
        request, _("测试消息已交给「%(name)s」，结果看下方第一行") % {"name": robot.name}
    )
    return redirect("robot_ledger")


@login_required
@require_POST
def robot_switch(request: Any, public_id: str) -> HttpResponse:
    """Switch a robot off or on."""
    check_right(request.rights, MANAGE_CONNECTORS)
    robot = Robot.objects.get(public_id=public_id)
    is_active = request.POST.get("active") == "1"
    save_robot(robot, actor=request.user, now=timezone.now(), is_active=is_active)
    words = _("已启用「%(name)s」") if is_active else _("已停用「%(name)s」，待发的消息不再发出")
    messages.success(request, words % {"name": robot.name})
    return redirect("robot_ledger")


urlpatterns = [
    path("robots/", robot_ledger, name="robot_ledger"),
    path("robots/new/", robot_new, name="robot_new"),
    path("robots/<str:public_id>/test/", robot_test, name="robot_test"),
    path("robots/<str:public_id>/switch/", robot_switch, name="robot_switch"),
]
