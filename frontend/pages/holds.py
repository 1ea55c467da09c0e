"""Alerts and holds: what is held and why, what waits for a person, and letting it go on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models import Count, DateTimeField, F, Min, Q, QuerySet, Sum, Value
from django.db.models.functions import Coalesce
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import path, reverse
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.http import require_GET, require_POST

from config.errors import BadInput, WrongState, gettext_noop
from config.tenancy.roles import RELEASE_HOLD, REPAIR, VIEW_ORDERS, check_right
from connectors.systems.downstream import has_writer
from frontend.pages.orders import decode_key, encode_key
from frontend.wording import describe_band, describe_count
from rules_engine.scoring.models import Score
from workflows.interventions.effects import reaches_outside
from workflows.interventions.models import (
    Alert,
    AlertGroup,
    BrakeRequest,
    Hold,
    SourceAlert,
    Topic,
)
from workflows.interventions.services import decide_brake, release_holds
from workflows.patrol.services import repair_order, wake_holds
from workflows.rollup.services import amount_of, reason_of

PAGE_SIZE = 50
RECENT = timedelta(hours=24)
MAX_AT_ONCE = 200
_NEVER = datetime.fromisoformat("2999-01-01T00:00:00+00:00")  # no deadline: after all others

_State = Alert.HoldState
# View -> label, and the states of open episodes it shows (history shows holds that ended).
VIEWS: dict[str, tuple[Any, tuple[str, ...]]] = {
    "held": (gettext_lazy("已挂起"), (_State.HELD,)),
    "waiting": (gettext_lazy("等人确认"), (_State.WAITING,)),
    "failed": (gettext_lazy("挂起失败"), (_State.FAILED,)),
    "freed": (gettext_lazy("人工放行，仍是红色"), (_State.RELEASED, _State.DECLINED)),
    "alerts": (gettext_lazy("全部告警"), tuple(_State.values)),
    "history": (gettext_lazy("近 24 小时解除"), ()),
}
# Shown even when empty; the others only when they hold something.
_ALWAYS = {"held", "alerts", "history"}


@dataclass(frozen=True)
class Tab:
    """One view with its number."""

    key: str
    label: str
    count: int
    url: str
    is_on: bool


@login_required
@require_GET
def hold_list(request: Any) -> HttpResponse:
    """Open episodes by what became of their hold (a fixed number of queries)."""
    check_right(request.rights, VIEW_ORDERS)
    now = timezone.now()
    view = request.GET.get("view", "held")
    view = view if view in VIEWS else "held"
    cause = request.GET.get("cause", "")[:40]
    counts = _count(now)
    rows, following = _list_rows(view, cause, request.GET.get("after", ""), now)
    context = {
        "now": now,
        "view": view,
        "state_tabs": [
            Tab(key, str(label), counts[key], _url(key), key == view)
            for key, (label, _states) in VIEWS.items()
            if counts[key] or key in _ALWAYS or key == view
        ],
        "causes": _list_causes(view, cause),
        "cause": cause,
        "rows": rows,
        "next_url": _url(view, cause=cause, after=following) if following else "",
        "first_url": _url(view, cause=cause) if request.GET.get("after") else "",
        "may_release": RELEASE_HOLD in request.rights,
        "can_choose": _can_choose(request, rows),
        "is_local": not (has_writer() or reaches_outside()),
        "brake": _describe_brake(now) if counts["waiting"] else None,
        "back": request.get_full_path(),
    }
    return render(request, "holds/list.html", context)


def _url(view: str, **parameters: str) -> str:
    wanted = {"view": view} | {k: v for k, v in parameters.items() if v}
    if wanted == {"view": "held"}:
        return reverse("hold_list")
    return f"{reverse('hold_list')}?{urlencode(wanted)}"


def _open_alerts() -> QuerySet[Alert]:
    rows: QuerySet[Alert] = Alert.objects.filter(closed_at__isnull=True)
    return rows


def _count(now: datetime) -> dict[str, int]:
    by_state = dict(
        _open_alerts().values("hold_state").annotate(n=Count("pk")).values_list("hold_state", "n")
    )
    counts = {
        view: sum(by_state.get(state, 0) for state in states)
        for view, (_label, states) in VIEWS.items()
    }
    counts["history"] = Hold.objects.filter(released_at__gt=now - RECENT).count()
    return counts


def _list_causes(view: str, chosen: str) -> list[tuple[str, int, str, bool]]:
    """The causes in a view with their numbers: words, count, address, chosen."""
    states = VIEWS[view][1]
    if not states:
        return []
    found = (
        _open_alerts()
        .filter(hold_state__in=states)
        .values("cause")
        .annotate(n=Count("pk"))
        .order_by("-n", "cause")
        .values_list("cause", "n")
    )
    return [
        (cause, n, _url(view) if cause == chosen else _url(view, cause=cause), cause == chosen)
        for cause, n in found
        if cause
    ]


def _list_rows(view: str, cause: str, after: str, now: datetime) -> tuple[list[Any], str]:
    """One page of a view and the key of the next one (or ""): most urgent first, history newest."""
    is_history = view == "history"
    rows: QuerySet[Any] = (
        Hold.objects.filter(released_at__gt=now - RECENT)
        .select_related("released_by", "order__shop")
        .annotate(place=F("released_at"))
        if is_history
        else _open_alerts()
        .filter(hold_state__in=VIEWS[view][1])
        .select_related("order__shop")
        .annotate(place=Coalesce("order__deadline_at", Value(_NEVER), output_field=DateTimeField()))
    )
    if cause:
        rows = rows.filter(cause=cause)
    if after:
        moment, pk = decode_key(after, 2)
        try:
            place = datetime.fromisoformat(moment)
        except (TypeError, ValueError) as error:
            raise BadInput(gettext_noop("这一页的地址不完整，请从第一页重新翻")) from error
        beyond = "lt" if is_history else "gt"
        rows = rows.filter(
            Q(**{f"place__{beyond}": place}) | Q(**{"place": place, f"pk__{beyond}": pk})
        )
    order = ("-place", "-pk") if is_history else ("place", "pk")
    found = list(rows.order_by(*order)[: PAGE_SIZE + 1])
    page = found[:PAGE_SIZE]
    following = encode_key([page[-1].place, page[-1].pk]) if len(found) > PAGE_SIZE else ""
    if is_history:
        for hold in page:
            hold.span = hold.released_at - hold.placed_at
    else:
        dress_alerts(page)
    return page, following


def _can_choose(request: Any, rows: list[Any]) -> bool:
    """Whether there is something to release, and this person may."""
    return RELEASE_HOLD in request.rights and any(getattr(row, "hold", None) for row in rows)


def dress_alerts(alerts: list[Any]) -> None:
    """Put reason, amount and open hold on alerts for display (two queries)."""
    ids = [alert.order_id for alert in alerts]
    scores = {s.order_id: s for s in Score.objects.filter(order_id__in=ids)}
    holds = {h.order_id: h for h in Hold.objects.filter(order_id__in=ids, released_at=None)}
    for alert in alerts:
        score = scores.get(alert.order_id)
        alert.reason = reason_of(score, alert.cause)
        alert.amount_fen = amount_of(alert.order)
        alert.hold = holds.get(alert.order_id)


def _describe_brake(now: datetime) -> dict[str, Any] | None:
    """The open question with its size, money and first deadline."""
    brake = BrakeRequest.objects.filter(decided_at__isnull=True).first()
    if brake is None:
        return None
    waiting = _open_alerts().filter(hold_state=_State.WAITING, brake_items__brake=brake)
    return {
        "row": brake,
        **waiting.aggregate(
            count=Count("pk"),
            fen=Coalesce(Sum(Coalesce("order__paid_fen", "order__payable_fen")), 0),
            deadline=Min("order__deadline_at"),
        ),
    }


# --- acting ---------------------------------------------------------------------------------------


def _go_back(request: Any) -> HttpResponse:
    back = request.POST.get("back", "")
    if url_has_allowed_host_and_scheme(back, allowed_hosts={request.get_host()}):
        return redirect(back)
    return redirect("hold_list")


@login_required
@require_POST
def hold_release(request: Any) -> HttpResponse:
    """Release the chosen holds with one reason."""
    check_right(request.rights, RELEASE_HOLD)
    wanted = request.POST.getlist("hold")[:MAX_AT_ONCE]
    holds = list(Hold.objects.filter(public_id__in=wanted))
    if not holds:
        raise BadInput(gettext_noop("请先勾选要解除挂起的订单"), code="nothing_chosen")
    done, late = release_holds(
        holds,
        actor=request.user,
        reason=request.POST.get("reason", ""),
        now=timezone.now(),
    )
    if done:
        wake_holds(request.environment)
        messages.success(
            request,
            ngettext("已解除 %(n)s 单的挂起", "已解除 %(n)s 单的挂起", done)
            % {"n": describe_count(done)},
        )
    if late:
        messages.warning(
            request, _("另有 %(n)s 单此前已经解除，没有重复操作") % {"n": describe_count(late)}
        )
    return _go_back(request)


@login_required
@require_POST
def brake_decide(request: Any, public_id: str) -> HttpResponse:
    """Answer the brake's question."""
    check_right(request.rights, RELEASE_HOLD)
    brake = BrakeRequest.objects.get(public_id=public_id)
    decision = request.POST.get("decision", "")
    if decision not in {"approve", "reject"}:
        raise BadInput(gettext_noop("请选择挂起或不挂起"), code="bad_decision")
    count = decide_brake(
        brake,
        is_approved=decision == "approve",
        actor=request.user,
        reason=request.POST.get("reason", ""),
        now=timezone.now(),
    )
    wake_holds(request.environment)
    words = _("已挂起 %(n)s 单") if decision == "approve" else _("%(n)s 单不挂起，继续告警")
    messages.success(request, words % {"n": describe_count(count)})
    return redirect("hold_list")


# --- one group of alerts: where a message's link leads --------------------------------------------


@login_required
@require_GET
def alert_group(request: Any, public_id: str) -> HttpResponse:
    """What one message was about, as it stands now (a fixed number of queries)."""
    check_right(request.rights, VIEW_ORDERS)
    group = AlertGroup.objects.get(public_id=public_id)
    if group.topic == Topic.BRAKE:
        return redirect(_url("waiting"))
    now = timezone.now()
    context: dict[str, Any] = {
        "now": now,
        "group": group,
        "cause": group.cause or _("未归因"),
        "crumbs": [(_("挂起"), reverse("hold_list")), (str(group), None)],
        "deliveries": list(
            group.deliveries.select_related("robot", "recipient").order_by("recipient", "pk")
        ),
        "is_local": not (has_writer() or reaches_outside()),
        "back": request.get_full_path(),
    }
    if group.topic == Topic.SOURCE:
        context["sources"] = list(
            SourceAlert.objects.filter(notices__group=group).select_related("source")
        )
        return render(request, "holds/group.html", context)
    alerts = Alert.objects.filter(notices__group=group)
    rows = list(
        alerts.select_related("order__shop").order_by(
            F("closed_at").asc(nulls_first=True), F("order__deadline_at").asc(nulls_last=True), "pk"
        )[:PAGE_SIZE]
    )
    dress_alerts(rows)
    still = Q(closed_at__isnull=True)
    context["rows"], context["can_choose"] = rows, _can_choose(request, rows)
    context["figures"] = alerts.aggregate(
        total=Count("pk"),
        still=Count("pk", filter=still),
        held=Count("pk", filter=still & Q(hold_state=_State.HELD)),
        fen=Coalesce(Sum(Coalesce("order__paid_fen", "order__payable_fen"), filter=still), 0),
        deadline=Min("order__deadline_at", filter=still),
    )
    context["band"] = describe_band(group.topic)
    context["may_repair"] = REPAIR in request.rights
    context["repairable"] = min(context["figures"]["still"], PAGE_SIZE)
    return render(request, "holds/group.html", context)


@login_required
@require_POST
def group_repair(request: Any, public_id: str) -> HttpResponse:
    """Read a group's orders again, most urgent first, and say honestly how many are well now."""
    check_right(request.rights, REPAIR)
    group = AlertGroup.objects.get(public_id=public_id)
    now = timezone.now()
    alerts = (
        _open_alerts()
        .filter(notices__group=group)
        .select_related("order")
        .order_by(F("order__deadline_at").asc(nulls_last=True), "pk")[:PAGE_SIZE]
    )
    results = [
        repair_order(alert.order, environment=request.environment, actor=request.user, now=now)
        for alert in alerts
    ]
    if not results:
        raise WrongState(gettext_noop("这组告警里的订单都已恢复，没有要重评的"))
    mended = sum(result.is_mended for result in results)
    if mended:
        messages.success(request, _("已修复 %(n)s 单") % {"n": describe_count(mended)})
    if rest := len(results) - mended:
        messages.warning(
            request,
            _("%(n)s 单重评后仍未恢复：请先在来源系统解决，再重新读取")
            % {"n": describe_count(rest)},
        )
    return redirect("alert_group", public_id=public_id)


urlpatterns = [
    path("holds/", hold_list, name="hold_list"),
    path("holds/release/", hold_release, name="hold_release"),
    path("holds/brake/<str:public_id>/", brake_decide, name="brake_decide"),
    path("alerts/<str:public_id>/", alert_group, name="alert_group"),
    path("alerts/<str:public_id>/repair/", group_repair, name="group_repair"),
]
