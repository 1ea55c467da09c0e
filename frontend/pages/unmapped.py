"""Statuses nobody knows: how many orders have them, one click to say what they mean, its review."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import path, reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from config.errors import BY_CLAUSE, BadInput, NotAllowed, NotFound, WrongState, gettext_noop
from config.releases import services as releases
from config.releases.models import State, Version
from config.tenancy.roles import (
    MANAGE_CONNECTORS,
    REVIEW_RULES,
    VIEW_BOARD,
    VIEW_ORDERS,
    WRITE_RULES,
)
from config.wording import join_words, say_error
from connectors.orders.status_mappings import (
    STATUS_MAPPING_KIND,
    StatusRow,
    list_unmapped,
    propose_mapping,
    read_rows,
)
from connectors.orders.statuses import STAGE_LABELS, Stage
from connectors.shops.models import Channel
from connectors.sync.models import MappingNotice
from frontend.pages.connections import page
from workflows.patrol.sources import wake_remap

NOTICES_SHOWN = 50
VERSIONS_SHOWN = 10
_PROPOSERS = frozenset({MANAGE_CONNECTORS, WRITE_RULES})
_WAITING = (State.SUBMITTED, State.APPROVED)


@require_GET
@page(VIEW_BOARD)
def unmapped_list(request: Any) -> HttpResponse:
    """What is not mapped, most orders first; below it what the business mapped (fixed queries)."""
    versions = list(
        Version.objects.filter(document__kind=STATUS_MAPPING_KIND)
        .exclude(state__in=[State.RETIRED, State.DRAFT])
        .select_related("document", "author")
        .order_by("document__key", "-number")
    )
    context = {
        "now": timezone.now(),
        "rows": [
            {
                "unmapped": row,
                "channel": name_channel(row.channel),
                "proposed": _name_stage(row.proposed_stage),
            }
            for row in list_unmapped()
        ],
        "stages": list_stages(),
        "today": timezone.localdate().isoformat(),
        "may_propose": bool(_PROPOSERS & request.rights),
        "may_review": REVIEW_RULES in request.rights,
        "may_see_orders": VIEW_ORDERS in request.rights,
        "notices": list(
            MappingNotice.objects.exclude(code="unmapped_status")
            .select_related("connection__source")
            .order_by("-last_at", "-pk")[:NOTICES_SHOWN]
        ),
        "waiting": [_describe(v) for v in versions if v.state in _WAITING],
        "published": [_describe(v) for v in versions if v.state == State.PUBLISHED],
    }
    return render(request, "unmapped/list.html", context)


def list_stages() -> list[tuple[str, str]]:
    """The stages a status may be given, in the order of an order's life."""
    return [(str(code), _(label)) for code, label in STAGE_LABELS.items() if code != Stage.UNKNOWN]


def name_channel(code: str) -> str:
    """天猫 for tmall."""
    return str(Channel(code).label) if code in Channel.values else code


def _name_stage(code: str) -> str:
    return _(STAGE_LABELS[code]) if code in STAGE_LABELS else ""


def _describe(version: Version) -> dict[str, Any]:
    return {
        "version": version,
        "channel": name_channel(version.document.key),
        "rows": [_describe_row(row) for row in read_rows(version.content)],
    }


def _describe_row(row: StatusRow, change: str = "") -> dict[str, Any]:
    return {"row": row, "stage": _name_stage(row.stage), "change": change}


@require_POST
@page(VIEW_BOARD)
def unmapped_propose(request: Any) -> HttpResponse:
    """Say what a status means; it waits for a reviewer."""
    if not _PROPOSERS & request.rights:
        raise NotAllowed(gettext_noop("您的角色没有这项权限，请联系事业部管理员"))
    try:
        version = propose_mapping(
            channel=request.POST.get("channel", ""),
            raw_status=request.POST.get("raw_status", ""),
            stage=request.POST.get("stage", ""),
            actor=request.user,
            effective_from=_read_day(request.POST.get("effective_from", "")),
            now=timezone.now(),
            note=request.POST.get("note", "").strip()[:200],
        )
    except (BadInput, WrongState) as error:
        messages.error(request, say_error(error))
        return redirect("unmapped_list")
    messages.success(
        request,
        _("已提交审核：%(channel)s状态映射 v%(n)s。发布后这些订单会按它重读")
        % {"channel": name_channel(version.document.key), "n": version.number},
    )
    return redirect("mapping_version", version.public_id)


def _read_day(text: str) -> date:
    try:
        return date.fromisoformat(text.strip())
    except ValueError as error:
        raise BadInput(gettext_noop("生效日期应写成 2025-11-11 这样"), code="bad_day") from error


# --- the review of a mapping ----------------------------------------------------------------------


def _get_version(public_id: str) -> Version:
    found: Version | None = (
        Version.objects.filter(document__kind=STATUS_MAPPING_KIND, public_id=public_id)
        .select_related("document", "author", "published_by")
        .first()
    )
    if found is None:
        raise NotFound(gettext_noop("没有这个版本"))
    return found


@require_GET
@page(VIEW_BOARD)
def mapping_version(request: Any, public_id: str) -> HttpResponse:
    """One version of a channel's mapping: what it changes, and what a reviewer may do."""
    version = _get_version(public_id)
    channel = version.document.key
    published = releases.get_published(STATUS_MAPPING_KIND, channel)
    compared = published if version.state in _WAITING else None
    before = compared.content if compared else {"rows": []}
    rows = compare_rows(before if version.state in _WAITING else None, version.content)
    touched = {row["row"].raw_status for row in rows if row["change"]}
    context = {
        "crumbs": [
            (_("未映射"), reverse("unmapped_list")),
            (
                _("%(channel)s v%(n)s") % {"channel": name_channel(channel), "n": version.number},
                None,
            ),
        ],
        "now": timezone.now(),
        "version": version,
        "channel": name_channel(channel),
        "rows": rows,
        "compared": compared,
        "touched": [u for u in list_unmapped() if u.channel == channel and u.raw_status in touched],
        "reviews": list(version.reviews.select_related("reviewer").order_by("at")),
        "is_own": version.author_id == request.user.pk,
        "may_decide": version.state == State.SUBMITTED and REVIEW_RULES in request.rights,
        "may_publish": version.state == State.APPROVED and REVIEW_RULES in request.rights,
        "may_roll_back": version.state == State.RETIRED and REVIEW_RULES in request.rights,
        "others": list(
            version.document.versions.exclude(pk=version.pk)
            .exclude(state=State.DRAFT)
            .order_by("-number")[:VERSIONS_SHOWN]
        ),
    }
    return render(request, "unmapped/version.html", context)


def compare_rows(
    before: Mapping[str, Any] | None, after: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """The rows of a content, each marked "new", "gone" or "" against another; gone ones last."""
    new = read_rows(after)
    if before is None:
        return [_describe_row(row) for row in new]
    old = read_rows(before)
    marked = [_describe_row(row, "" if row in old else "new") for row in new]
    return marked + [_describe_row(row, "gone") for row in old if row not in new]


def describe_mapping(version: Version, published: Version | None) -> str:
    """What a version changes, in one line: 天猫「NEW_STATUS」→ 待发货."""
    rows = compare_rows(published.content if published else {"rows": []}, version.content)
    said = [
        _("「%(status)s」→ %(stage)s") % {"status": r["row"].raw_status, "stage": r["stage"]}
        for r in rows
        if r["change"] == "new"
    ]
    words = join_words(said[:3], BY_CLAUSE) or _("没有改动")
    return f"{name_channel(version.document.key)} {words}"


def list_touched(before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> list[str]:
    """The statuses that are read differently after than before."""
    rows = compare_rows(before or {"rows": []}, after)
    return sorted({row["row"].raw_status for row in rows if row["change"]})


@require_POST
@page(REVIEW_RULES)
def mapping_decide(request: Any, public_id: str) -> HttpResponse:
    """Approve, ask for changes, publish or roll back; what is in force then is read anew."""
    version, now = _get_version(public_id), timezone.now()
    comment, verdict = request.POST.get("comment", "")[:500], request.POST.get("verdict", "")
    if verdict == "changes":
        releases.request_changes(version, reviewer=request.user, comment=comment, now=now)
        messages.success(request, _("已退回，作者会看到您的意见"))
        return redirect("review_list")
    if verdict in {"approve", "approve_publish"}:
        version = releases.approve_version(version, reviewer=request.user, comment=comment, now=now)
        messages.success(request, _("已通过，可以发布"))
    if verdict in {"publish", "approve_publish", "roll_back"}:
        version = _put_in_force(request, version, is_back=verdict == "roll_back")
    return redirect("mapping_version", version.public_id)


def _put_in_force(request: Any, version: Version, *, is_back: bool) -> Version:
    before = releases.get_published(STATUS_MAPPING_KIND, version.document.key)
    act = releases.roll_back if is_back else releases.publish_version
    version = act(version, actor=request.user, now=timezone.now())
    statuses = list_touched(before.content if before else None, version.content)
    if statuses:
        wake_remap(request.environment)
    messages.success(
        request,
        _("v%(n)s 已生效，状态是 %(statuses)s 的订单正在按它重读")
        % {"n": version.number, "statuses": join_words(statuses) or "—"},
    )
    return version


urlpatterns = [
    path("unmapped/", unmapped_list, name="unmapped_list"),
    path("unmapped/propose/", unmapped_propose, name="unmapped_propose"),
    path("unmapped/versions/<str:public_id>/", mapping_version, name="mapping_version"),
    path("unmapped/versions/<str:public_id>/decide/", mapping_decide, name="mapping_decide"),
]
