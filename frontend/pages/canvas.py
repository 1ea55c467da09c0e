"""The canvas: the drawn flow with its live figures, editing it, and its releases."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import path, reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from config.errors import BY_SEMICOLON, BadInput, gettext_noop
from config.releases.models import Review, State, Version
from config.releases.services import (
    approve_version,
    publish_version,
    request_changes,
    roll_back,
)
from config.tenancy.roles import (
    REVIEW_RULES,
    VIEW_BOARD,
    VIEW_ORDERS,
    WRITE_RULES,
    check_right,
)
from config.wording import join_words, translate
from connectors.orders.nodes import Node
from connectors.orders.services import list_nodes
from frontend.context import find_url
from frontend.wording import describe_count, describe_duration, describe_exact, describe_moment
from workflows.canvas.drawing import (
    MAX_LABEL,
    Problem,
    clean_shape,
    default_canvas,
    describe_changes,
    list_missing,
    list_problems,
)
from workflows.canvas.services import (
    Canvas,
    discard_canvas,
    get_canvas,
    get_canvas_version,
    get_open_draft,
    list_canvas_versions,
    save_canvas,
    submit_canvas,
)
from workflows.canvas.silting import PERCENTILE_FLOOR, NodeFigures, measure

MAX_NOTE = 500
MAX_BODY = 500_000
# Heat: the word, the band whose colour it borrows, and that band's sign.
HEAT_LABELS = {
    "calm": (gettext_lazy("通畅"), "healthy", "✓"),
    "slow": (gettext_lazy("偏慢"), "yellow", "△"),
    "silted": (gettext_lazy("淤塞"), "orange", "!"),
    "blocked": (gettext_lazy("严重淤塞"), "red", "✕"),
}


@dataclass(frozen=True)
class Row:
    """One box of the drawing as the table shows it. `figures` is None for a step of one's own."""

    box: Mapping[str, Any]
    figures: Mapping[str, Any] | None
    following: list[str]


def word_figures(figures: NodeFigures, *, at: datetime, orders_url: str) -> dict[str, Any]:
    """One node's figures in words, for the drawing, the table and the poll."""
    heat, band, sign = HEAT_LABELS[figures.heat]
    oldest = "—"
    if figures.oldest_minutes is not None:
        oldest = describe_duration(timedelta(minutes=figures.oldest_minutes))
    stock, entered, left = (
        describe_count(n) for n in (figures.stock, figures.entered, figures.left)
    )

    def link(condition: str) -> str:
        query = urlencode({condition: figures.code, "as_of": at.isoformat()})
        return f"{orders_url}?{query}" if orders_url else ""

    return {
        "code": figures.code,
        "stock": figures.stock,
        "stock_text": stock,
        "entered": entered,
        "left": left,
        "oldest": oldest,
        # The four lines of the box on the drawing.
        "mark": "" if figures.heat == "calm" else f"{sign} {heat}",
        "stock_line": _("在途 %(n)s") % {"n": stock},
        "oldest_line": _("最久 %(span)s") % {"span": oldest} if oldest != "—" else "",
        "flow_line": _("进 %(entered)s · 出 %(left)s / 时") % {"entered": entered, "left": left},
        "heat": figures.heat,
        "heat_text": str(heat),
        "band": band,
        "index": figures.silt_index,
        "excess": _word_excess(figures),
        "tip": _word_tip(figures),
        "url": link("node"),
        "entered_url": link("entered"),
        "left_url": link("left"),
    }


def _word_excess(figures: NodeFigures) -> str:
    if not figures.late:
        return "—"
    hours = figures.excess_hours
    return f"{hours:,.1f}" if hours < 10 else f"{hours:,.0f}"


def _word_tip(figures: NodeFigures) -> str:
    """How the silt index came about; shown on hover and to screen readers."""
    parts = [
        _("%(label)s：在途 %(stock)s 单，近一小时进 %(entered)s、出 %(left)s")
        % {
            "label": _(figures.label),
            "stock": describe_count(figures.stock),
            "entered": describe_count(figures.entered),
            "left": describe_count(figures.left),
        },
        _("预期停留 %(span)s，超时 %(late)s 单，临近超时 %(risk)s 单")
        % {
            "span": describe_duration(timedelta(minutes=figures.expected_minutes)),
            "late": describe_count(figures.late),
            "risk": describe_count(figures.at_risk),
        },
    ]
    if figures.scheduled:
        parts.append(
            _("另有 %(n)s 单在等预售尾款，不计入淤塞") % {"n": describe_count(figures.scheduled)}
        )
    if figures.p90_minutes is not None and figures.stock >= PERCENTILE_FLOOR:
        parts.append(
            _("等待时间中位数 %(median)s，九成在 %(p90)s 以内")
            % {
                "median": describe_duration(timedelta(minutes=figures.median_minutes or 0)),
                "p90": describe_duration(timedelta(minutes=figures.p90_minutes)),
            }
        )
    parts.append(
        _("淤塞指数 %(index)s = 超时占比 %(a)s、久等程度 %(b)s、只进不出 %(c)s 中最大的一个")
        % {
            "index": figures.silt_index,
            "a": round(100 * figures.late_share),
            "b": round(100 * figures.age_share),
            "c": round(100 * figures.growth_share),
        }
    )
    return join_words(parts, BY_SEMICOLON)


def _word_all(
    measured: Mapping[str, NodeFigures], at: datetime, rights: frozenset[str]
) -> dict[str, Any]:
    orders_url = (find_url("order_list") or "") if VIEW_ORDERS in rights else ""
    return {code: word_figures(f, at=at, orders_url=orders_url) for code, f in measured.items()}


def _moment() -> datetime:
    """The moment of a page's figures: now, to the second, as people read it."""
    return timezone.now().replace(microsecond=0)


def _list_rows(content: Mapping[str, Any], figures: Mapping[str, Any]) -> list[Row]:
    labels = {box["id"]: box["label"] for box in content["nodes"]}
    following: dict[str, list[str]] = {i: [] for i in labels}
    for line in content["edges"]:
        following[line["source"]].append(labels[line["target"]])
    return [Row(box, figures.get(box["node"]), following[box["id"]]) for box in content["nodes"]]


def _word(problem: Problem) -> dict[str, Any]:
    return {"text": translate(problem.message, problem.params), "ids": problem.ids}


@dataclass(frozen=True)
class _Worst:
    """The node the page's first sentence is about."""

    label: str
    figures: Mapping[str, Any]


def _find_worst(content: Mapping[str, Any], measured: Mapping[str, NodeFigures]) -> str | None:
    """The code of the drawn node with most overdue waiting, when any is more than slow."""
    drawn = [measured[b["node"]] for b in content["nodes"] if b["node"] in measured]
    silted = [f for f in drawn if f.heat in {"silted", "blocked"}]
    return max(silted, key=lambda f: f.excess_hours).code if silted else None


def _show(request: Any, canvas: Canvas, *, is_editing: bool) -> HttpResponse:
    at, nodes = _moment(), list_nodes()
    measured = measure(nodes, at=at)
    figures = _word_all(measured, at, request.rights)
    content, version = canvas.content, canvas.version
    labels = {node.code: _(node.label) for node in nodes}
    worst = _find_worst(content, measured)
    versions = list_canvas_versions()
    missing = list_missing(content)
    data = {
        "content": content,
        "figures": figures,
        "at": at.isoformat(),
        "editing": is_editing,
        "catalogue": [{"code": n.code, "label": _(n.label)} for n in nodes],
        "version": version.public_id if version else "",
        "checksum": version.checksum if version else "",
        "figures_url": reverse("canvas_figures"),
        "save_url": reverse("canvas_save"),
        "check_url": reverse("canvas_check"),
        "own": _("自定义步骤"),
        "max_label": MAX_LABEL,
    }
    return render(
        request,
        "canvas/edit.html" if is_editing else "canvas/show.html",
        {
            "data": data,
            "at": at,
            "now": timezone.now(),
            "canvas": canvas,
            "version": version,
            "versions": versions,
            "rows": _list_rows(content, figures),
            "worst": _Worst(labels[worst], figures[worst]) if worst else None,
            "missing": [
                {"label": labels[code], "figures": figures[code]}
                for code in missing
                if figures[code]["stock"]
            ],
            "problems": [_word(p) for p in list_problems(content)] if is_editing else [],
            "can_write": WRITE_RULES in request.rights,
            "max_label": MAX_LABEL,
        }
        | _release_context(request, canvas, versions, nodes),
    )


def _release_context(
    request: Any, canvas: Canvas, versions: Sequence[Version], nodes: Sequence[Node]
) -> dict[str, Any]:
    """What may be done with the version on screen, and what a reviewer compares it with."""
    version = canvas.version
    published = next((v for v in versions if v.state == State.PUBLISHED), None)
    waits = version is not None and version.state in {State.SUBMITTED, State.APPROVED}
    changes, reviews = [], []
    if version is not None and version.state != State.PUBLISHED:
        # The first drawing of its own is compared with the shipped one it replaces.
        before = published.content if published else default_canvas(nodes)
        changes = [
            translate(c.message, c.params) for c in describe_changes(before, version.content)
        ]
        reviews = list(version.reviews.select_related("reviewer").order_by("-at"))
    return {
        "published": published,
        "is_shown_published": version is None or version.state == State.PUBLISHED,
        "changes": changes,
        "reviews": reviews,
        "open_draft": next(
            (
                v
                for v in versions
                if v.author_id == request.user.pk
                and v.state in {State.DRAFT, State.CHANGES_REQUESTED}
            ),
            None,
        ),
        "waiting": [v for v in versions if v.state in {State.SUBMITTED, State.APPROVED}],
        "waits": waits,
        "is_own": version is not None and version.author_id == request.user.pk,
        "can_review": REVIEW_RULES in request.rights,
        "can_discard": version is not None
        and version.author_id == request.user.pk
        and version.state == State.DRAFT
        and version.submitted_at is None,
    }


@login_required
@require_GET
@never_cache
def canvas(request: Any) -> HttpResponse:
    """The published canvas (or `?version=`) with its figures; nothing on it can be moved."""
    check_right(request.rights, VIEW_BOARD)
    wanted = request.GET.get("version", "").replace("\x00", "")
    if wanted:
        version = get_canvas_version(wanted)
        return _show(request, Canvas(version.content, version), is_editing=False)
    return _show(request, get_canvas(), is_editing=False)


@login_required
@require_GET
@never_cache
def canvas_edit(request: Any) -> HttpResponse:
    """The reader's own open draft, or what is published, to be drawn on."""
    check_right(request.rights, WRITE_RULES)
    draft = get_open_draft(request.user)
    shown = Canvas(draft.content, draft) if draft else get_canvas()
    return _show(request, shown, is_editing=True)


@login_required
@require_GET
@never_cache
def canvas_figures(request: Any) -> JsonResponse:
    """The figures of all nodes now; the page redraws those that changed."""
    check_right(request.rights, VIEW_BOARD)
    at = _moment()
    return JsonResponse(
        {
            "at": at.isoformat(),
            "at_text": describe_moment(at, at),
            "at_exact": describe_exact(at),
            "figures": _word_all(measure(list_nodes(), at=at), at, request.rights),
        }
    )


@login_required
@require_POST
def canvas_save(request: Any) -> JsonResponse:
    """Save a drawing sent as JSON {content, version, checksum} as the sender's draft."""
    check_right(request.rights, WRITE_RULES)
    body = _read_body(request)
    based_on = get_canvas_version(body["version"]) if body["version"] else None
    version = save_canvas(
        body["content"], author=request.user, based_on=based_on, checksum=body["checksum"]
    )
    return JsonResponse(
        {
            "version": version.public_id,
            "number": version.number,
            "checksum": version.checksum,
            "saved_at": describe_moment(version.changed_at, version.changed_at),
            "submit_url": reverse("canvas_submit", args=[version.public_id]),
            "problems": [_word(p) for p in list_problems(version.content)],
        }
    )


@login_required
@require_POST
def canvas_check(request: Any) -> JsonResponse:
    """What keeps a drawing, sent as for saving, from being submitted; stores nothing."""
    check_right(request.rights, WRITE_RULES)
    clean = clean_shape(_read_body(request)["content"])
    return JsonResponse({"problems": [_word(p) for p in list_problems(clean)]})


def _read_body(request: Any) -> dict[str, Any]:
    """The request's JSON; raises BadInput for anything else."""
    problem = BadInput(gettext_noop("收到的画布不完整，请刷新页面后重试"), code="bad_body")
    if len(request.body) > MAX_BODY:
        raise BadInput(gettext_noop("画布太大，无法保存"), code="canvas_too_large")
    try:
        body = json.loads(request.body)
    except (ValueError, RecursionError) as error:
        raise problem from error
    if not isinstance(body, dict) or not isinstance(body.get("content"), dict):
        raise problem
    return {
        "content": body["content"],
        "version": str(body.get("version") or "").replace("\x00", "")[:24],
        "checksum": str(body.get("checksum") or ""),
    }


def _read_words(request: Any, name: str) -> str:
    return str(request.POST.get(name, "")).replace("\x00", "").strip()[:MAX_NOTE]


@login_required
@require_POST
def canvas_submit(request: Any, public_id: str) -> HttpResponse:
    """Put the saved draft before the reviewers."""
    check_right(request.rights, WRITE_RULES)
    version = submit_canvas(
        get_canvas_version(public_id),
        actor=request.user,
        note=_read_words(request, "note"),
        now=timezone.now(),
    )
    messages.success(request, _("画布 v%(n)s 已提交，等另一位审核者处理") % {"n": version.number})
    return redirect(_address(version))


@login_required
@require_POST
def canvas_discard(request: Any, public_id: str) -> HttpResponse:
    """Throw the reader's own draft away."""
    check_right(request.rights, WRITE_RULES)
    version = get_canvas_version(public_id)
    discard_canvas(version, actor=request.user)
    messages.success(request, _("草稿 v%(n)s 已丢弃") % {"n": version.number})
    return redirect("canvas")


@login_required
@require_POST
def canvas_review(request: Any, public_id: str) -> HttpResponse:
    """A reviewer's word: approve, approve and publish, or ask for changes."""
    check_right(request.rights, REVIEW_RULES)
    version, now = get_canvas_version(public_id), timezone.now()
    comment, verdict = _read_words(request, "comment"), request.POST.get("verdict")
    if verdict == Review.Verdict.REQUEST_CHANGES:
        version = request_changes(version, reviewer=request.user, comment=comment, now=now)
        messages.success(request, _("画布 v%(n)s 已退回修改") % {"n": version.number})
        return redirect(_address(version))
    if verdict not in {Review.Verdict.APPROVE, "publish"}:
        raise BadInput(gettext_noop("请选择通过、通过并发布或要求修改"), code="bad_verdict")
    version = approve_version(version, reviewer=request.user, comment=comment, now=now)
    if verdict == "publish":
        return _publish(request, version)
    messages.success(request, _("画布 v%(n)s 已通过，等待发布") % {"n": version.number})
    return redirect(_address(version))


@login_required
@require_POST
def canvas_publish(request: Any, public_id: str) -> HttpResponse:
    """Put an approved version in force."""
    check_right(request.rights, REVIEW_RULES)
    return _publish(request, get_canvas_version(public_id))


def _publish(request: Any, version: Version) -> HttpResponse:
    version = publish_version(version, actor=request.user, now=timezone.now())
    messages.success(request, _("画布 v%(n)s 已发布") % {"n": version.number})
    return redirect("canvas")


@login_required
@require_POST
def canvas_roll_back(request: Any, public_id: str) -> HttpResponse:
    """Put an earlier published drawing in force again, under a new number."""
    check_right(request.rights, REVIEW_RULES)
    old = get_canvas_version(public_id)
    version = roll_back(old, actor=request.user, now=timezone.now())
    messages.success(
        request,
        _("已回滚到 v%(old)s 的画法，编号 v%(n)s") % {"old": old.number, "n": version.number},
    )
    return redirect("canvas")


def _address(version: Version) -> str:
    return f"{reverse('canvas')}?{urlencode({'version': version.public_id})}"


urlpatterns = [
    path("canvas/", canvas, name="canvas"),
    path("canvas/edit/", canvas_edit, name="canvas_edit"),
    path("canvas/figures/", canvas_figures, name="canvas_figures"),
    path("canvas/save/", canvas_save, name="canvas_save"),
    path("canvas/check/", canvas_check, name="canvas_check"),
    path("canvas/<str:public_id>/submit/", canvas_submit, name="canvas_submit"),
    path("canvas/<str:public_id>/discard/", canvas_discard, name="canvas_discard"),
    path("canvas/<str:public_id>/review/", canvas_review, name="canvas_review"),
    path("canvas/<str:public_id>/publish/", canvas_publish, name="canvas_publish"),
    path("canvas/<str:public_id>/roll-back/", canvas_roll_back, name="canvas_roll_back"),
]
