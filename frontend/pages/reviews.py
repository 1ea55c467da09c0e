"""What waits for a reviewer, of every kind. Reviewing rules: the difference, approve, publish."""

from __future__ import annotations

import difflib
import re
from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import path, reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from config.errors import WrongState, gettext_noop
from config.releases.models import Review, State, Version
from config.releases.services import (
    approve_version,
    get_published,
    publish_version,
    request_changes,
    roll_back,
)
from config.tenancy.roles import REVIEW_RULES, WRITE_RULES
from frontend.pages import check_trials as trials
from frontend.pages import submissions
from frontend.pages.checks import EDITABLE, KEY, KIND, blind_context, get_version, page
from rules_engine.rules import drafts
from rules_engine.scoring.suspensions import list_suspensions
from workflows.patrol.services import wake_scoring

MAX_COMMENT = 500
WAITING_SHOWN = 50


@page(REVIEW_RULES, WRITE_RULES)
@require_GET
def review_list(request: Any) -> HttpResponse:
    """What waits for a reviewer, what waits for publishing, what was said last."""
    versions = list(
        Version.objects.select_related("document", "author", "based_on")
        .filter(document__kind__in=submissions.KINDS, state__in=submissions.WAITING)
        .order_by("submitted_at")[:WAITING_SHOWN]
    )
    return render(
        request,
        "reviews/list.html",
        {
            "now": timezone.now(),
            "waiting": [v for v in versions if v.state == State.SUBMITTED],
            "approved": [v for v in versions if v.state == State.APPROVED],
            "items": submissions.list_submissions(versions, request.user),
            "recent": submissions.list_recent(
                Review.objects.select_related("version__document", "reviewer")
                .filter(version__document__kind__in=submissions.KINDS)
                .defer("version__content")
                .order_by("-at")[:10]
            ),
            "suspensions": list_suspensions(),
            "can_review": REVIEW_RULES in request.rights,
        },
    )


@page(REVIEW_RULES, WRITE_RULES)
@require_GET
def review_detail(request: Any, version_id: str) -> HttpResponse:
    """One version: the difference, the same matrix its author saw, and what can be done."""
    version = get_version(version_id)
    published = get_published(KIND, KEY)
    is_open = version.state in (State.SUBMITTED, State.APPROVED, *EDITABLE)
    # What waits is compared with what it would replace; what was published with what it replaced.
    compared = published if is_open else previous_published(version)
    reviews = list(version.reviews.select_related("reviewer").order_by("-at"))
    return render(
        request,
        "reviews/detail.html",
        {
            "crumbs": [
                (_("待审核"), reverse("review_list")),
                (_("v%(n)s") % {"n": version.number}, None),
            ],
            "now": timezone.now(),
            "version": version,
            "title": trials.title_of(version, compared),
            "published": published,
            "compared": compared,
            "changes": list_changes(compared, version),
            "is_own": version.author_id == request.user.pk,
            "is_behind": is_open
            and published is not None
            and version.based_on is not None
            and version.based_on_id != published.pk,
            "can_review": REVIEW_RULES in request.rights,
            "shows_impact": version.state in (State.SUBMITTED, State.APPROVED),
            "reviews": reviews,
            "points": drafts.list_dimensions(version.content),
            "total": drafts.sum_points(version.content),
            **blind_context(version.content),
        },
    )


def previous_published(version: Version) -> Version | None:
    """The version that was in force before this one."""
    found: Version | None = (
        Version.objects.filter(
            document_id=version.document_id,
            number__lt=version.number,
            state__in=(State.PUBLISHED, State.RETIRED),
        )
        .order_by("-number")
        .first()
    )
    return found


def _comment(request: Any) -> str:
    return str(request.POST.get("comment", "")).replace("\x00", "").strip()[:MAX_COMMENT]


@page(REVIEW_RULES)
@require_POST
def review_approve(request: Any, version_id: str) -> HttpResponse:
    """Approve somebody else's submission, and publish it when asked to."""
    version, now = get_version(version_id), timezone.now()
    version = approve_version(version, reviewer=request.user, comment=_comment(request), now=now)
    if request.POST.get("then") == "publish":
        return _publish(request, version)
    messages.success(request, _("v%(n)s 已通过，等待发布") % {"n": version.number})
    return redirect("review_detail", version.public_id)


@page(REVIEW_RULES)
@require_POST
def review_request_changes(request: Any, version_id: str) -> HttpResponse:
    """Send a submission back with a word why."""
    version = request_changes(
        get_version(version_id),
        reviewer=request.user,
        comment=_comment(request),
        now=timezone.now(),
    )
    messages.success(request, _("v%(n)s 已退回修改") % {"n": version.number})
    return redirect("review_list")


@page(REVIEW_RULES)
@require_POST
def review_publish(request: Any, version_id: str) -> HttpResponse:
    """Put an approved version in force."""
    return _publish(request, get_version(version_id))


def _publish(request: Any, version: Version) -> HttpResponse:
    version = publish_version(version, actor=request.user, now=timezone.now())
    wake_scoring(request.environment)  # else the next minute's patrol finds them
    messages.success(
        request,
        _("v%(n)s 已生效，全部在途订单正在按它重新评分") % {"n": version.number},
    )
    return redirect("review_detail", version.public_id)


@page(REVIEW_RULES)
@require_http_methods(["GET", "POST"])
def review_roll_back(request: Any, version_id: str) -> HttpResponse:
    """Say what a rollback would change and move; POST does it."""
    version = get_version(version_id)
    published = get_published(KIND, KEY)
    if request.method == "POST":
        if published is None or request.POST.get("expected") != published.public_id:
            raise WrongState(gettext_noop("生效的版本刚刚变了，请重新看过再回滚"))
        again = roll_back(version, actor=request.user, now=timezone.now())
        wake_scoring(request.environment)
        messages.success(
            request,
            _("已回滚：v%(old)s 的内容作为 v%(new)s 生效，订单正在重新评分")
            % {"old": version.number, "new": again.number},
        )
        return redirect("review_detail", again.public_id)
    if version.state != State.RETIRED:
        raise WrongState(gettext_noop("只能回滚到以前发布过的版本"))
    newest = version.document.versions.order_by("-number").values_list("number", flat=True).first()
    return render(
        request,
        "reviews/roll_back.html",
        {
            "crumbs": [
                (_("检查项"), reverse("check_list")),
                (_("回滚到 v%(n)s") % {"n": version.number}, None),
            ],
            "version": version,
            "published": published,
            "next_number": (newest or 0) + 1,
            "changes": list_changes(published, version),
        },
    )


# --- the difference ---------------------------------------------------------------------------


def list_changes(old: Version | None, new: Version) -> list[dict[str, Any]]:
    """The changes from one version to another, ready for the table."""
    return trials.describe_difference(old.content if old else None, new.content, compare_formulas)


_PIECES = re.compile(
    r"[A-Za-z0-9_\u3007\u3400-\u4dbf\u4e00-\u9fff.]+|“[^“”]*”|\"[^\"]*\"|\s+|.", re.DOTALL
)


def compare_formulas(old: str, new: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Both formulas cut into pieces, each marked when the other side does not have it."""
    before, after = _PIECES.findall(old), _PIECES.findall(new)
    matcher = difflib.SequenceMatcher(None, before, after, autojunk=False)
    left: list[dict[str, Any]] = []
    right: list[dict[str, Any]] = []
    for kind, a, b, c, d in matcher.get_opcodes():
        changed = kind != "equal"
        if b > a:
            left.append({"text": "".join(before[a:b]), "changed": changed})
        if d > c:
            right.append({"text": "".join(after[c:d]), "changed": changed})
    return left, right


urlpatterns = [
    path("reviews/", review_list, name="review_list"),
    path("reviews/<str:version_id>/", review_detail, name="review_detail"),
    path("reviews/<str:version_id>/approve/", review_approve, name="review_approve"),
    path(
        "reviews/<str:version_id>/changes/", review_request_changes, name="review_request_changes"
    ),
    path("reviews/<str:version_id>/publish/", review_publish, name="review_publish"),
    path("reviews/<str:version_id>/roll-back/", review_roll_back, name="review_roll_back"),
]
