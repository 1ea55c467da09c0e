"""The node table: name, evidence and expected dwell of the twelve nodes, through the releases."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import path, reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from config.errors import BadInput, NotFound, gettext_noop
from config.releases import services as releases
from config.releases.models import State, Version
from config.tenancy.roles import REVIEW_RULES, VIEW_BOARD, WRITE_RULES, check_right
from config.wording import say_error
from connectors.orders.nodes import BLOCKERS, DEFAULT_NODES, MOMENTS, nodes_to_content
from connectors.orders.services import NODE_TABLE_KEY, NODE_TABLE_KIND
from connectors.shops.models import SourceKind

# How many moments a person may name as evidence: the first one known counts.
EVIDENCE_PLACES = 3
_OPEN = (State.DRAFT, State.SUBMITTED, State.CHANGES_REQUESTED, State.APPROVED)
_EDITABLE = (State.DRAFT, State.CHANGES_REQUESTED)


def _versions() -> Any:
    return Version.objects.filter(
        document__kind=NODE_TABLE_KIND, document__key=NODE_TABLE_KEY
    ).select_related("document", "author", "published_by")


def _get_version(public_id: str) -> Version:
    found: Version | None = _versions().filter(public_id=public_id).first()
    if found is None:
        raise NotFound(gettext_noop("没有这个版本"))
    return found


def _describe_evidence(names: list[str]) -> str:
    return _(" 或 ").join(_(MOMENTS[n]) if n in MOMENTS else n for n in names)


def describe_rows(
    content: dict[str, Any], before: dict[str, Any] | None = None
) -> list[dict[str, Any]]:
    """The table as people read it; `changes` names what differs from `before`."""
    old = {row["code"]: row for row in (before or content)["nodes"]}
    rows = []
    for number, row in enumerate(content["nodes"], 1):
        was = old.get(row["code"], row)
        rows.append(
            row
            | {
                "number": number,
                "label": _(row["label"]),
                "entered_text": _describe_evidence(row["entered"]),
                "left_text": _describe_evidence(row["left"]),
                "blocker_text": _(BLOCKERS[row["blocker"]]) if row.get("blocker") else "",
                "needs_text": str(SourceKind(row["needs"]).label) if row.get("needs") else "",
                "was": was,
                "was_label": _(was["label"]),
                "was_entered": _describe_evidence(was["entered"]),
                "was_left": _describe_evidence(was["left"]),
                "is_changed": was != row,
                "entered_places": _places(row["entered"]),
                "left_places": _places(row["left"]),
            }
        )
    return rows


def _places(names: list[str]) -> list[str]:
    """The chosen moments and one free place, while there is room."""
    return [*names, ""][:EVIDENCE_PLACES]


def _read_form(post: Any, base: dict[str, Any]) -> dict[str, Any]:
    """The content a form describes. Nothing is refused here: drafts may be half-written."""
    rows = []
    for row in base["nodes"]:
        code = row["code"]
        dwell = post.get(f"dwell-{code}", "").strip()
        rows.append(
            row
            | {
                "label": post.get(f"label-{code}", row["label"]).strip(),
                "dwell_minutes": int(dwell) if dwell.isdigit() and len(dwell) < 9 else dwell,
                "entered": [n for n in post.getlist(f"entered-{code}") if n],
                "left": [n for n in post.getlist(f"left-{code}") if n],
            }
        )
    return {"nodes": rows}


@login_required
@require_GET
def node_table(request: Any) -> HttpResponse:
    """The table in force, the draft under way, and the versions before."""
    check_right(request.rights, VIEW_BOARD)
    versions = list(_versions().order_by("-number"))
    published = next((v for v in versions if v.state == State.PUBLISHED), None)
    content = published.content if published else nodes_to_content(DEFAULT_NODES)
    context = {
        "rows": describe_rows(content),
        "published": published,
        "open_versions": [v for v in versions if v.state in _OPEN],
        "retired": [v for v in versions if v.state == State.RETIRED],
        "may_write": WRITE_RULES in request.rights,
        "may_review": REVIEW_RULES in request.rights,
        "now": timezone.now(),
    }
    return render(request, "nodes/table.html", context)


@login_required
@require_POST
def node_draft(request: Any) -> HttpResponse:
    """Begin a draft from the table in force, or go on with the one under way."""
    check_right(request.rights, WRITE_RULES)
    draft = _versions().filter(state__in=_EDITABLE).order_by("-number").first()
    if draft is None:
        published = releases.get_published(NODE_TABLE_KIND, NODE_TABLE_KEY)
        document = releases.get_or_create_document(
            kind=NODE_TABLE_KIND, key=NODE_TABLE_KEY, name="节点表"
        )
        draft = releases.create_draft(
            document,
            content=published.content if published else nodes_to_content(DEFAULT_NODES),
            author=request.user,
            based_on=published,
        )
    return redirect("node_version", public_id=draft.public_id)


@login_required
@require_GET
def node_version(request: Any, public_id: str) -> HttpResponse:
    """One version: a form while it is a draft, the differences for a reviewer."""
    check_right(request.rights, VIEW_BOARD)
    version = _get_version(public_id)
    return render(request, "nodes/version.html", _version_context(request, version))


def _version_context(request: Any, version: Version) -> dict[str, Any]:
    published = releases.get_published(NODE_TABLE_KIND, NODE_TABLE_KEY)
    base = published.content if published else nodes_to_content(DEFAULT_NODES)
    rows = describe_rows(version.content, base)
    return {
        "version": version,
        "rows": rows,
        "changed": sum(row["is_changed"] for row in rows),
        "crumbs": [(_("节点表"), reverse("node_table")), (f"v{version.number}", None)],
        "is_editable": version.state in _EDITABLE and WRITE_RULES in request.rights,
        "may_decide": version.state == State.SUBMITTED and REVIEW_RULES in request.rights,
        "is_own": version.author_id == request.user.pk,
        "may_publish": version.state == State.APPROVED and REVIEW_RULES in request.rights,
        "may_roll_back": version.state == State.RETIRED and REVIEW_RULES in request.rights,
        "moments": [(code, _(label)) for code, label in MOMENTS.items()],
        "reviews": list(version.reviews.select_related("reviewer").order_by("at")),
        "now": timezone.now(),
    }


@login_required
@require_POST
def node_save(request: Any, public_id: str) -> HttpResponse:
    """Save a draft; with `submit`, put it before the reviewers unless something is wrong."""
    check_right(request.rights, WRITE_RULES)
    version = _get_version(public_id)
    content = _read_form(request.POST, version.content)
    version = releases.save_draft(version, content=content, author=request.user)
    if "submit" not in request.POST:
        messages.success(request, _("草稿已保存"))
    elif problem := _find_problem(content):
        messages.error(request, _("草稿已保存，但还不能提交：%(why)s") % {"why": problem})
    else:
        note = request.POST.get("note", "")[:500]
        releases.submit_version(version, actor=request.user, note=note, now=timezone.now())
        messages.success(request, _("已提交，等另一位有审核权的人处理"))
    return redirect("node_version", public_id=version.public_id)


def _find_problem(content: dict[str, Any]) -> str:
    """What is wrong with a content, in words; empty when nothing is."""
    try:
        releases.get_kind(NODE_TABLE_KIND).check(content)
    except BadInput as error:
        return say_error(error)
    return ""


@login_required
@require_POST
def node_decide(request: Any, public_id: str) -> HttpResponse:
    """Approve, ask for changes, publish or roll back."""
    check_right(request.rights, REVIEW_RULES)
    version, now = _get_version(public_id), timezone.now()
    comment, verdict = request.POST.get("comment", "")[:1000], request.POST.get("verdict", "")
    if verdict == "approve":
        releases.approve_version(version, reviewer=request.user, comment=comment, now=now)
        messages.success(request, _("已通过，可以发布"))
    elif verdict == "changes":
        releases.request_changes(version, reviewer=request.user, comment=comment, now=now)
        messages.success(request, _("已退回，作者会看到您的意见"))
    elif verdict == "publish":
        version = releases.publish_version(version, actor=request.user, now=now)
        messages.success(request, _("v%(n)s 已发布，下一次巡检起生效") % {"n": version.number})
    elif verdict == "roll_back":
        version = releases.roll_back(version, actor=request.user, now=now)
        messages.success(request, _("已回滚：新版本 v%(n)s 与旧内容相同") % {"n": version.number})
    return redirect("node_version", public_id=version.public_id)


urlpatterns = [
    path("nodes/", node_table, name="node_table"),
    path("nodes/draft/", node_draft, name="node_draft"),
    path("nodes/<str:public_id>/", node_version, name="node_version"),
    path("nodes/<str:public_id>/save/", node_save, name="node_save"),
    path("nodes/<str:public_id>/decide/", node_decide, name="node_decide"),
]
