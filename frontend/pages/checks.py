"""Writing a check: a draft of the whole rule set in which one dimension is written at a time.

A draft belongs to the person who writes it (so that nobody can approve what they wrote by having
somebody else submit it); others read it, or copy it. Every keystroke's pause saves; nothing that
is saved here moves an order before it is reviewed and published.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import wraps
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db import transaction
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import path, reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from config.errors import BadInput, NotAllowed, NotFound, WrongState, gettext_noop
from config.releases.models import Review, State, Version
from config.releases.services import (
    checksum_of,
    create_draft,
    discard_draft,
    export_yaml,
    get_or_create_document,
    get_published,
    import_yaml,
    save_draft,
    submit_version,
)
from config.tenancy.roles import REVIEW_RULES, VIEW_BOARD, WRITE_RULES, check_right, list_members
from config.wording import join_words
from frontend.pages import check_trials as trials
from rules_engine.rules import drafts
from rules_engine.scoring.suspensions import list_suspensions

KIND = "rule_set"
KEY = "default"
NAME = gettext_lazy("健康分规则")
EDITABLE = frozenset({State.DRAFT, State.CHANGES_REQUESTED})
MAX_FORMULA = 20_000  # characters a draft keeps; the checker refuses long before
HISTORY_SHOWN = 30
MAX_IMPORT_BYTES = 2_000_000

KINDS = (
    ("judgement", gettext_lazy("判断")),
    ("points", gettext_lazy("计分")),
)
# What a draft keeps; the check refuses earlier, with a word.
_TEXTS = {"name": 60, "cause": 40, "reason": 400}

View = Callable[..., HttpResponse]


def page(*rights: str) -> Callable[[View], View]:
    """A view for signed-in people who have one of the rights in the environment in force."""

    def decorate(view: View) -> View:
        @wraps(view)
        def run(request: Any, *args: Any, **kwargs: Any) -> HttpResponse:
            if request.environment is None:
                raise NotFound(gettext_noop("请先选择一个环境"))
            if not request.rights & set(rights):
                check_right(request.rights, rights[0])
            return view(request, *args, **kwargs)

        return login_required(run)

    return decorate


# --- drafts -----------------------------------------------------------------------------------


def get_version(public_id: str) -> Version:
    """A version of this environment's rule set; DoesNotExist for anything foreign."""
    version: Version = Version.objects.select_related("document", "author", "based_on").get(
        public_id=public_id, document__kind=KIND, document__key=KEY
    )
    return version


def is_editable(version: Version, request: Any) -> bool:
    """Whether this person may change this draft: it is one, and it is theirs."""
    return (
        version.state in EDITABLE
        and version.author_id == request.user.pk
        and WRITE_RULES in request.rights
    )


def check_editable(version: Version, request: Any) -> None:
    """Refuse to change what is not an open draft of this person."""
    if version.state not in EDITABLE:
        raise WrongState(gettext_noop("这个版本已提交，不能再改；请新建草稿"))
    if version.author_id != request.user.pk:
        raise NotAllowed(
            gettext_noop("这份草稿是别人的，请先复制为自己的草稿再改"), code="not_author"
        )


def find_own_draft(request: Any) -> Version | None:
    """This person's newest open draft."""
    found: Version | None = (
        Version.objects.select_related("document", "author", "based_on")
        .filter(
            document__kind=KIND,
            document__key=KEY,
            state__in=EDITABLE,
            author=request.user,
        )
        .order_by("-changed_at")
        .first()
    )
    return found


def open_draft(request: Any) -> Version:
    """This person's open draft, or a new one made from the published version."""
    draft = find_own_draft(request)
    if draft is not None:
        return draft
    document = get_or_create_document(kind=KIND, key=KEY, name=str(NAME))
    published = get_published(KIND, KEY)
    content = published.content if published else trials.empty_content(str(NAME))
    return create_draft(document, content=content, author=request.user, based_on=published)


_NUMBER = re.compile(r"[0-9]{1,6}(\.[0-9]{1,4})?")


def read_number(text: str) -> int | float | str | None:
    """A number as typed (full-width digits too), None for nothing, else the typed text."""
    folded = unicodedata.normalize("NFKC", text).strip()
    if not folded:
        return None
    if _NUMBER.fullmatch(folded):
        return float(folded) if "." in folded else int(folded)
    return text.strip()[:20]


def read_text(text: str) -> str:
    """Typed text as it is kept."""
    # JSON in PostgreSQL has no NUL; browsers send line ends as CRLF, positions count one.
    return text.replace("\x00", "").replace("\r\n", "\n").replace("\r", "\n")


def read_dimension(posted: Any, before: dict[str, Any]) -> dict[str, Any]:
    """The dimension as posted: half-written values stay what was typed; choices stay choices."""
    dimension = dict(before)
    if "formula" in posted:
        formula = read_text(posted["formula"])
        if len(formula) > MAX_FORMULA:
            raise BadInput(gettext_noop("公式超过 20,000 个字符，没有保存；请拆成几条检查"))
        dimension["formula"] = formula
        dimension.pop("stored", None)
    for name, limit in _TEXTS.items():
        if name in posted:
            dimension[name] = read_text(posted[name]).replace("\n", " ").strip()[:limit]
    for name in ("points", "cap"):
        if name in posted:
            dimension[name] = read_number(posted[name])
    for name, choices in {"kind": dict(KINDS), **trials.POLICIES}.items():
        if posted.get(name) in choices:
            dimension[name] = posted[name]
    if "sources" in posted:  # a marker: unticked boxes post nothing
        ticked = posted.getlist("source")
        dimension["source"] = ",".join(kind for kind in trials.SOURCE_LABELS if kind in ticked)
    return dimension


def read_content(posted: Any, content: dict[str, Any], key: str) -> dict[str, Any]:
    """The whole draft as posted by the page of one dimension: it, others' points, the lines."""
    before = drafts.find_dimension(content, key)
    if before is None:
        raise NotFound(gettext_noop("草稿里没有这条检查，可能已被删除"))
    content = drafts.put_dimension(content, read_dimension(posted, before))
    for dimension in drafts.list_dimensions(content):
        name = f"points-{dimension['key']}"
        if dimension["key"] != key and name in posted:
            changed = {**dimension, "points": read_number(posted[name])}
            content = drafts.put_dimension(content, changed)
    lines = content.get("lines")
    lines = dict(lines) if isinstance(lines, dict) else {}
    for band in ("yellow", "orange", "red"):
        if f"line-{band}" in posted:
            lines[band] = read_number(posted[f"line-{band}"])
    return {**content, "lines": lines}


def digest_dimension(content: dict[str, Any], key: str) -> str:
    """What a page has seen of one dimension, to notice that another window changed it."""
    return checksum_of(drafts.find_dimension(content, key) or {})[:16]


# --- the pages --------------------------------------------------------------------------------


@page(VIEW_BOARD)
@require_GET
def check_list(request: Any) -> HttpResponse:
    """What is in force, what is being written, what was."""
    return render(request, "checks/list.html", _list_context(request))


def _list_context(request: Any) -> dict[str, Any]:
    versions = Version.objects.select_related("document", "author", "based_on").filter(
        document__kind=KIND, document__key=KEY
    )
    history = list(
        versions.filter(state__in=(State.PUBLISHED, State.RETIRED)).order_by("-number")[
            :HISTORY_SHOWN
        ]
    )
    open_versions = list(
        versions.exclude(state__in=(State.PUBLISHED, State.RETIRED)).order_by("-changed_at")[
            :HISTORY_SHOWN
        ]
    )
    published = next((v for v in history if v.state == State.PUBLISHED), None)
    content = published.content if published else {}
    fails = trials.count_failing() if published else {}
    changed = last_changes(history)
    for version in history:
        version.origin_label = describe_origin(version)
    now = timezone.now()
    question = {"as_of": now.isoformat()}  # the list counts what the number counted
    rows = [
        {
            **dimension,
            "kind": dict(KINDS).get(str(dimension.get("kind")), "—"),
            "fails": fails.get(dimension["key"], 0),
            "fails_url": f"{reverse('order_list')}?{urlencode(question | {'failed': dimension['key']})}",
            "changed": changed.get(dimension["key"]),
        }
        for dimension in drafts.list_dimensions(content)
    ]
    return {
        "now": now,
        "published": published,
        "waiting": trials.count_waiting(published) if published else 0,
        "rows": rows,
        "total": drafts.sum_points(content),
        "lines": list_lines(content),
        "drafts": [
            {
                "version": v,
                "is_mine": v.author_id == request.user.pk,
                "title": trials.title_of(v),
                "url": reverse(
                    "check_draft" if v.state in EDITABLE else "review_detail", args=[v.public_id]
                ),
            }
            for v in open_versions
        ],
        "history": history,
        "can_write": WRITE_RULES in request.rights,
        "can_review": REVIEW_RULES in request.rights,
        "suspensions": list_suspensions(),
        **blind_context(content if published else None),
    }


def describe_origin(version: Version) -> str:
    """Where a version without a note came from."""
    kind, _sep, rest = version.origin.partition(":")
    words = {
        "rollback": _("回滚到 %(what)s"),
        "import": _("导入自 %(what)s"),
        "preset": _("预置模板 %(what)s"),
    }
    what = trials.name_preset(rest) if kind == "preset" else rest
    return words[kind] % {"what": what} if kind in words else version.origin


def last_changes(history: list[Version]) -> dict[str, Version]:
    """Per dimension the newest of these versions (newest first) that brought its present form."""
    if not history:
        return {}
    found: dict[str, Version] = {}
    for dimension in drafts.list_dimensions(history[0].content):
        since = history[0]
        for version in history[1:]:
            if drafts.find_dimension(version.content, dimension["key"]) != dimension:
                break
            since = version
        found[dimension["key"]] = since
    return found


def list_lines(content: dict[str, Any]) -> list[dict[str, Any]]:
    """The three lines with their words."""
    values = content.get("lines")
    values = values if isinstance(values, dict) else {}
    labels = {"yellow": _("黄"), "orange": _("橙"), "red": _("红")}
    return [{"band": b, "label": labels[b], "value": values.get(b)} for b in labels]


def blind_context(content: dict[str, Any] | None) -> dict[str, Any]:
    """The blind spots of a content, None while it cannot be added up."""
    spots = None if content is None else trials.list_blind(content)
    return {"blind": None if spots is None else spots[:8], "blind_count": len(spots or [])}


@page(WRITE_RULES)
@require_http_methods(["GET", "POST"])
def check_new(request: Any) -> HttpResponse:
    """Start a check from nothing or from a template."""
    if request.method == "GET":
        return render(
            request,
            "checks/new.html",
            {
                "presets": trials.list_templates(),
                "draft": find_own_draft(request),
                "published": get_published(KIND, KEY),
            },
        )
    draft = open_draft(request)
    if "whole" in request.POST:
        content = trials.whole_template(request.POST["whole"])
        save_draft(draft, content=content, author=request.user)
        return redirect("check_draft", draft.public_id)
    dimension = trials.dimension_of_template(request.POST.get("template", ""))
    taken = {d["key"] for d in drafts.list_dimensions(draft.content)}
    if not dimension.get("key") or dimension["key"] in taken:
        dimension["key"] = drafts.new_key(taken)
    content = drafts.put_dimension(draft.content, dimension)
    save_draft(draft, content=content, author=request.user)
    return redirect("check_edit", draft.public_id, dimension["key"])


@page(WRITE_RULES)
@require_POST
def check_change(request: Any, key: str) -> HttpResponse:
    """Open a published dimension in this person's draft."""
    draft = open_draft(request)
    if drafts.find_dimension(draft.content, key) is None:
        published = get_published(KIND, KEY)
        dimension = drafts.find_dimension(published.content, key) if published else None
        if dimension is None:
            raise Http404
        content = drafts.put_dimension(draft.content, dimension)
        save_draft(draft, content=content, author=request.user)
    return redirect("check_edit", draft.public_id, key)


@page(WRITE_RULES)
@require_POST
def check_copy(request: Any, version_id: str, key: str) -> HttpResponse:
    """A draft of one's own with the content of somebody else's."""
    version = get_version(version_id)
    copy = create_draft(
        version.document,
        content=version.content,
        author=request.user,
        based_on=version.based_on if version.state in EDITABLE else version,
        origin=f"copy:v{version.number}",
    )
    return redirect("check_edit", copy.public_id, key)


@page(WRITE_RULES, REVIEW_RULES)
@require_GET
def check_draft(request: Any, version_id: str) -> HttpResponse:
    """Go to the dimension of a draft that differs from what is in force, else to its first."""
    version = get_version(version_id)
    dimensions = drafts.list_dimensions(version.content)
    if version.state not in EDITABLE:
        return redirect("review_detail", version.public_id)
    if not dimensions:
        return redirect("check_new")
    before = version.based_on.content if version.based_on else {}
    changed = [d for d in dimensions if drafts.find_dimension(before, d["key"]) != d]
    return redirect("check_edit", version.public_id, (changed or dimensions)[-1]["key"])


@page(WRITE_RULES, REVIEW_RULES)
@require_http_methods(["GET", "POST"])
def check_edit(request: Any, version_id: str, key: str) -> HttpResponse:
    """Write one dimension of a draft; POST saves what stands on the page and says what is wrong."""
    version = get_version(version_id)
    if drafts.find_dimension(version.content, key) is None:
        raise NotFound(gettext_noop("草稿里没有这条检查，可能已被删除"))
    if request.method == "POST":
        return _save(request, version, key)
    return render(request, "checks/edit.html", _edit_context(request, version, key))


def _save(request: Any, version: Version, key: str) -> HttpResponse:
    check_right(request.rights, WRITE_RULES)
    check_editable(version, request)
    seen = request.POST.get("seen", "")
    is_conflict = seen != digest_dimension(version.content, key) and "overwrite" not in request.POST
    if not is_conflict:
        content = read_content(request.POST, version.content, key)
        if not request.htmx:
            dimension = drafts.find_dimension(content, key) or {}
            fixed = apply_fix(str(dimension.get("formula", "")), request.POST.get("fix", ""))
            content = drafts.put_dimension(content, {**dimension, "formula": fixed})
        version = _store(request, version, content)
    if not request.htmx:
        if is_conflict:
            raise WrongState(gettext_noop("没有存上：这条检查在别的窗口里改过，请刷新后再改"))
        return redirect("check_edit", version.public_id, key)
    context = _status_context(request, version, key)
    context |= {"conflict": is_conflict, "oob": True}
    response = render(request, "checks/_saved_answer.html", context)
    if not is_conflict and context["is_valid"]:
        response["HX-Trigger-After-Settle"] = "check-saved"
    return response


def _store(request: Any, version: Version, content: dict[str, Any]) -> Version:
    saved = save_draft(version, content=content, author=request.user)
    return get_version(saved.public_id)


_FIX = re.compile(r"([0-9]{1,5}),([0-9]{1,5}),(.*)", re.DOTALL)


def apply_fix(formula: str, fix: str) -> str:
    """A one-click fix without a script: "start,end,text" on the formula as posted."""
    found = _FIX.fullmatch(fix)
    if found is None:
        return formula
    return formula[: int(found[1])] + found[3][:MAX_FORMULA] + formula[int(found[2]) :]


def _status_context(request: Any, version: Version, key: str) -> dict[str, Any]:
    """What the page says about the draft as it stands now."""
    content = version.content
    dimension = drafts.find_dimension(content, key) or {}
    formula = dimension.get("formula")
    formula = formula if isinstance(formula, str) else ""
    looked = trials.look_at(formula, str(dimension.get("kind", "judgement")))
    problems = trials.list_problems(content)
    own = [p for p in problems if p.key == key and p.part != "formula"]
    others = [p for p in problems if p.key != key and p.part != "sum"]
    total = drafts.sum_points(content)
    return {
        "version": version,
        "key": key,
        "dimension": {**dimension, "formula": formula},
        "title": dimension.get("name") or _("未命名的检查"),
        "seen": digest_dimension(content, key),
        "editable": is_editable(version, request),
        "findings": looked.findings,
        "is_valid": looked.is_valid,
        "reading": looked.reading,
        "needs": looked.needs,
        "own_problems": own,
        "other_problems": others,
        "points": [
            {
                "key": d["key"],
                "name": d.get("name") or _("未命名的检查"),
                "points": d.get("points"),
                "field": "points" if d["key"] == key else f"points-{d['key']}",
            }
            for d in drafts.list_dimensions(content)
        ],
        "total": total,
        "can_balance": drafts.rebalance_points(content, keep=key) is not None,
        **blind_context(content if total == drafts.TOTAL_POINTS else None),
    }


def _edit_context(request: Any, version: Version, key: str) -> dict[str, Any]:
    context = _status_context(request, version, key)
    dimension = context["dimension"]
    published = get_published(KIND, KEY)
    reviewers = list_members(request.environment.division, trials.REVIEWER_ROLES)
    names = [str(person) for person in reviewers if person.pk != request.user.pk]
    return context | {
        "crumbs": [
            (_("检查项"), reverse("check_list")),
            (_("草稿 v%(n)s") % {"n": version.number}, None),
        ],
        "kinds": KINDS,
        "policies": [
            (name, label, trials.POLICIES[name].items(), dimension.get(name))
            for name, label in trials.POLICY_LABELS.items()
        ],
        "causes": trials.list_causes(version.content),
        "sources": trials.list_sources(dimension),
        "lines": list_lines(version.content),
        "name_groups": trials.list_name_groups(),
        "can_write": WRITE_RULES in request.rights,
        "readonly_reason": _("只读：这是别人的草稿")
        if version.state in EDITABLE
        else _("只读：已提交"),
        "published": published,
        "is_behind": published is not None
        and version.based_on is not None
        and version.based_on_id != published.pk,
        "asked_changes": Review.objects.select_related("reviewer")
        .filter(version=version, verdict=Review.Verdict.REQUEST_CHANGES)
        .order_by("-at")[:3],
        "reviewers": join_words(names[:5]) or _("别的审核者"),
        "note": version.note,
        "now": timezone.now(),
        "can_review": REVIEW_RULES in request.rights,
        "suspensions": [row for row in list_suspensions() if row.dimension_key == key],
    }


@page(WRITE_RULES)
@require_POST
def check_balance(request: Any, version_id: str, key: str) -> HttpResponse:
    """Save the page, then scale the other dimensions' points so that all sum to 100."""
    version = get_version(version_id)
    check_editable(version, request)
    content = read_content(request.POST, version.content, key)
    balanced = drafts.rebalance_points(content, keep=key)
    if balanced is None:
        raise BadInput(
            gettext_noop("没法等比调整：先把分值都改成 0 到 100 的整数，并给其他检查留出至少 1 分")
        )
    version = _store(request, version, balanced)
    if not request.htmx:
        return redirect("check_edit", version.public_id, key)
    context = _status_context(request, version, key) | {"oob": True, "sync": True}
    return render(request, "checks/_saved_answer.html", context)


@page(WRITE_RULES)
@require_POST
def check_layout(request: Any, version_id: str, key: str) -> HttpResponse:
    """Save the page with its formula on several lines."""
    version = get_version(version_id)
    check_editable(version, request)
    content = read_content(request.POST, version.content, key)
    dimension = drafts.find_dimension(content, key) or {}
    formula = trials.lay_out_formula(str(dimension.get("formula") or ""))
    version = _store(
        request, version, drafts.put_dimension(content, {**dimension, "formula": formula})
    )
    if not request.htmx:
        return redirect("check_edit", version.public_id, key)
    context = _status_context(request, version, key) | {"oob": True, "laid_out": True}
    return render(request, "checks/_saved_answer.html", context)


@page(WRITE_RULES)
@require_POST
def check_remove(request: Any, version_id: str, key: str) -> HttpResponse:
    """Take one dimension out of a draft."""
    version = get_version(version_id)
    check_editable(version, request)
    if drafts.find_dimension(version.content, key) is None:
        raise NotFound(gettext_noop("草稿里没有这条检查，可能已被删除"))
    version = _store(request, version, drafts.remove_dimension(version.content, key))
    return redirect("check_draft", version.public_id)


@page(WRITE_RULES)
@require_POST
def check_discard(request: Any, version_id: str) -> HttpResponse:
    """Throw away an open draft of one's own."""
    version = get_version(version_id)
    check_editable(version, request)
    discard_draft(version, actor=request.user, now=timezone.now())
    messages.success(request, _("草稿 v%(n)s 已放弃") % {"n": version.number})
    return redirect("check_list")


@page(WRITE_RULES)
@require_POST
def check_submit(request: Any, version_id: str, key: str) -> HttpResponse:
    """Put a draft before the reviewers; refused with every problem and its place."""
    version = get_version(version_id)
    check_editable(version, request)
    note = read_text(request.POST.get("note", "")).strip()[:500]
    problems = trials.list_problems(version.content)
    if not note:
        problems.append(trials.Problem(text=_("请写一句改了什么、为什么")))
    if problems:
        context = _edit_context(request, version, key) | {"refused": problems, "note": note}
        return render(request, "checks/edit.html", context, status=422)
    submit_version(version, actor=request.user, note=note, now=timezone.now())
    messages.success(request, _("v%(n)s 已提交，等别的审核者处理") % {"n": version.number})
    return redirect("review_detail", version.public_id)


@page(VIEW_BOARD)
@require_GET
def check_export(request: Any, version_id: str) -> HttpResponse:
    """A version as one YAML file."""
    version = get_version(version_id)
    response = HttpResponse(export_yaml(version), content_type="application/yaml; charset=utf-8")
    name = f"hedao-rules-{request.environment.kind}-v{version.number}.yaml"
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


@page(WRITE_RULES)
@require_POST
def check_import(request: Any) -> HttpResponse:
    """A draft from an exported file; anything wrong is said with its place and nothing is made."""
    try:
        with transaction.atomic():
            version = _import(request)
    except BadInput as error:
        context = _list_context(request) | {"import_error": trials.lines_of(error)}
        return render(request, "checks/list.html", context, status=400)
    messages.success(request, _("已导入为草稿 v%(n)s，发布前不影响订单") % {"n": version.number})
    return redirect("check_draft", version.public_id)


def _import(request: Any) -> Version:
    file = request.FILES.get("file")
    if file is None or file.size == 0:
        raise BadInput(gettext_noop("没有选文件，或文件是空的"))
    if file.size > MAX_IMPORT_BYTES:
        raise BadInput(gettext_noop("文件超过 2 MB，不是规则导出文件"), code="too_large")
    try:
        text = file.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(
            gettext_noop("文件不是 UTF-8 文本（第 %(place)s 个字节读不懂），请重新导出"),
            place=error.start + 1,
        ) from error
    version = import_yaml(text, author=request.user)
    if version.document.kind != KIND or version.document.key != KEY:
        raise BadInput(
            gettext_noop("这是「%(kind)s / %(key)s」的文件，不是检查项规则；请选导出的规则文件"),
            kind=version.document.kind,
            key=version.document.key,
        )
    return version


# --- trying it out ----------------------------------------------------------------------------


@page(WRITE_RULES, REVIEW_RULES)
@require_GET
def check_preview(request: Any, version_id: str, key: str) -> HttpResponse:
    """The dimension on 20 real orders, as the draft stands now."""
    version = get_version(version_id)
    dimension = drafts.find_dimension(version.content, key)
    if dimension is None:
        raise NotFound(gettext_noop("草稿里没有这条检查，可能已被删除"))
    numbers = read_text(request.GET.get("numbers", ""))[:4000].split()
    context = trials.try_out(
        dimension,
        numbers=numbers[: trials.TRIALS_SHOWN],
        is_mixed=request.GET.get("pick", "mixed") == "mixed",
        now=timezone.now(),
    )
    context |= {"version": version, "key": key}
    return render(request, "checks/_preview.html", context)


@page(WRITE_RULES, REVIEW_RULES)
@require_GET
def check_trace(request: Any, version_id: str, key: str, order_id: str) -> HttpResponse:
    """Every part of the formula with its value on one order."""
    version = get_version(version_id)
    dimension = drafts.find_dimension(version.content, key)
    order = trials.get_order(order_id)
    if dimension is None:
        raise NotFound(gettext_noop("草稿里没有这条检查，可能已被删除"))
    tree = trials.trace(dimension, order=order, now=timezone.now())
    return render(request, "checks/_trace.html", {"tree": tree, "order": order})


@page(WRITE_RULES, REVIEW_RULES)
@require_GET
def check_impact(request: Any, version_id: str) -> HttpResponse:
    """One step of "if published now": the sum so far travels in the address, signed."""
    version = get_version(version_id)
    context = trials.take_step(
        version,
        state=request.GET.get("state", ""),
        address=reverse("check_impact", args=[version.public_id]),
        with_blast="blast" in request.GET,
        now=timezone.now(),
    )
    return render(request, "checks/_impact.html", context)


@page(WRITE_RULES, REVIEW_RULES)
@require_GET
def check_impact_orders(request: Any, version_id: str) -> HttpResponse:
    """Sample orders of one cell of the matrix, scored again as they stand now."""
    version = get_version(version_id)
    context = trials.list_moved(version, token=request.GET.get("cell", ""), now=timezone.now())
    return render(request, "checks/_impact_orders.html", context)


urlpatterns = [
    path("checks/", check_list, name="check_list"),
    path("checks/new/", check_new, name="check_new"),
    path("checks/import/", check_import, name="check_import"),
    path("checks/change/<str:key>/", check_change, name="check_change"),
    path("checks/<str:version_id>/", check_draft, name="check_draft"),
    path("checks/<str:version_id>/export/", check_export, name="check_export"),
    path("checks/<str:version_id>/discard/", check_discard, name="check_discard"),
    path("checks/<str:version_id>/impact/", check_impact, name="check_impact"),
    path("checks/<str:version_id>/impact/orders/", check_impact_orders, name="check_impact_orders"),
    path("checks/<str:version_id>/check/<str:key>/", check_edit, name="check_edit"),
    path("checks/<str:version_id>/check/<str:key>/preview/", check_preview, name="check_preview"),
    path(
        "checks/<str:version_id>/check/<str:key>/trace/<str:order_id>/",
        check_trace,
        name="check_trace",
    ),
    path("checks/<str:version_id>/check/<str:key>/balance/", check_balance, name="check_balance"),
    path("checks/<str:version_id>/check/<str:key>/layout/", check_layout, name="check_layout"),
    path("checks/<str:version_id>/check/<str:key>/remove/", check_remove, name="check_remove"),
    path("checks/<str:version_id>/check/<str:key>/submit/", check_submit, name="check_submit"),
    path("checks/<str:version_id>/check/<str:key>/copy/", check_copy, name="check_copy"),
]
