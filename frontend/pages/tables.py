"""Lookup tables kept by the business: list, draft, rows in a form or from a file, review, publish.

A draft belongs to its author. A file that was uploaded waits inside the draft until it is applied;
nothing of it counts before, and it is applied whole or not at all.
"""

from __future__ import annotations

import csv
import io
import secrets
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import openpyxl
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import path, reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from config.errors import (
    AppError,
    BadInput,
    NotAllowed,
    NotFound,
    Phrase,
    WrongState,
    gettext_noop,
)
from config.releases import services as releases
from config.releases.models import Document, State, Version
from config.tenancy.roles import REVIEW_RULES, VIEW_BOARD, WRITE_RULES
from config.wording import join_words, say, say_error
from connectors.tabular.readers import BadRow, open_table
from connectors.tabular.workbook import prefix, unprefix
from frontend.pages.checks import page
from rules_engine.facts import tables
from rules_engine.facts.table_changes import TableChanges, compare_tables
from rules_engine.facts.tables import KIND, MAX_COLUMNS, MAX_ROWS, SHIPPED, TYPES, write_cell
from rules_engine.rules.table_uses import list_table_uses
from workflows.patrol.services import wake_scoring

MAX_UPLOAD = 8 << 20
ROWS_SHOWN, NEW_ROWS = 50, 3
MAX_INPUTS = 700  # Django refuses a form with more than 1,000 fields
PROBLEMS_SHOWN, PREVIEWED = 20, 8
_OPEN = (State.DRAFT, State.SUBMITTED, State.CHANGES_REQUESTED, State.APPROVED)
_EDITABLE = (State.DRAFT, State.CHANGES_REQUESTED)
_GUESSES = ("number", "date", "datetime")  # a file's column is the first of these that fits


# --- what there is ------------------------------------------------------------------------------


def _versions() -> Any:
    return Version.objects.filter(document__kind=KIND).select_related(
        "document", "author", "published_by"
    )


def _get_version(public_id: str) -> Version:
    found: Version | None = _versions().filter(public_id=public_id).first()
    if found is None:
        raise NotFound(gettext_noop("没有这个版本"))
    return found


def _content_in_force(key: str) -> dict[str, Any] | None:
    published = releases.get_published(KIND, key)
    return published.content if published else SHIPPED.get(key)


def _compared_with(version: Version) -> dict[str, Any] | None:
    """What a version is compared with: what it would replace, or what it once replaced."""
    if version.state in _OPEN:
        return _content_in_force(version.document.key)
    former = (
        version.document.versions.filter(
            number__lt=version.number, state__in=(State.PUBLISHED, State.RETIRED)
        )
        .order_by("-number")
        .first()
    )
    return former.content if former else SHIPPED.get(version.document.key)


def describe_version(version: Version, published: Version | None) -> str:
    """One line of what a version changes, for the list of what waits."""
    key = version.document.key
    old = published.content if published else SHIPPED.get(key)
    return say(compare_tables(old, version.content).summary)


def _is_own(version: Version, request: Any) -> bool:
    return (
        version.state in _EDITABLE
        and version.author_id == request.user.pk
        and WRITE_RULES in request.rights
    )


def _own_draft(request: Any, public_id: str) -> Version:
    version = _get_version(public_id)
    if version.state not in _EDITABLE:
        raise WrongState(gettext_noop("这个版本已提交，不能再改；请新建草稿"))
    if version.author_id != request.user.pk:
        raise NotAllowed(
            gettext_noop("这份草稿是别人的，请从表的页面开自己的草稿"), code="not_author"
        )
    return version


# --- the list -----------------------------------------------------------------------------------


@page(VIEW_BOARD)
@require_GET
def table_list(request: Any) -> HttpResponse:
    """Every table in force, and what is being written."""
    published = tables.list_published()
    counts = _count_rows([t.version_id for t in published if t.version_id])
    open_versions = list(_versions().filter(state__in=_OPEN).order_by("-changed_at"))
    by_key: dict[str, list[Version]] = {}
    for version in open_versions:
        by_key.setdefault(version.document.key, []).append(version)
    known = {table.key for table in published}
    rows = [
        {
            "key": t.key,
            "name": t.schema.name,
            "keys": join_words(field.label for field in t.schema.keys),
            "columns": join_words(field.label for field in t.schema.columns),
            "count": counts.get(t.version_id or 0, len(SHIPPED.get(t.key, {}).get("rows", ()))),
            "is_shipped": t.version_id is None,
            "open": by_key.get(t.key, []),
        }
        for t in published
    ]
    context = {
        "rows": rows,
        "unpublished": [v for v in open_versions if v.document.key not in known],
        "may_write": WRITE_RULES in request.rights,
        "now": timezone.now(),
    }
    return render(request, "tables/list.html", context)


def _count_rows(ids: Sequence[int]) -> dict[int, int]:
    rows = Version.objects.filter(pk__in=ids).values_list("pk", "content")
    return {pk: len(content.get("rows", ())) for pk, content in rows}


@page(WRITE_RULES)
@require_POST
def table_new(request: Any) -> HttpResponse:
    """Begin a table: empty, or with the columns and rows of a file."""
    name = _text(request, "name", tables.MAX_NAME)
    if not name:
        messages.error(request, _("请给表起个名字"))
        return redirect("table_list")
    key = f"t_{secrets.token_hex(5)}"
    content = _empty_content(key, name)
    upload = request.FILES.get("file")
    if upload is not None:
        try:
            headers, lines, rows = _read_upload(upload)
        except BadInput as error:
            messages.error(request, say_error(error))
            return redirect("table_list")
        content |= _content_of_file(headers, rows)
    document = releases.get_or_create_document(kind=KIND, key=key, name=name)
    draft = releases.create_draft(document, content=content, author=request.user)
    return redirect("table_version", public_id=draft.public_id)


def _empty_content(key: str, name: str) -> dict[str, Any]:
    return {
        "key": key,
        "name": name,
        "columns": [
            {"key": "c1", "label": _("键"), "type": "text", "is_key": True, "default": None},
            {"key": "c2", "label": _("值"), "type": "text", "is_key": False, "default": None},
        ],
        "rows": [],
    }


def _content_of_file(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> dict[str, Any]:
    """Columns after a file's headers: the first is the key, the types are those that all cells fit."""
    columns = [
        {
            "key": f"c{number}",
            "label": header[: tables.MAX_NAME],
            "type": _guess_type([row[number - 1] for row in rows]),
            "is_key": number == 1,
            "default": None,
        }
        for number, header in enumerate(headers[:MAX_COLUMNS], 1)
    ]
    return {"columns": columns, "rows": [list(row[: len(columns)]) for row in rows]}


def _guess_type(cells: Sequence[str]) -> str:
    told = [cell for cell in cells if cell.strip()]
    if not told or any(cell.startswith("0") and cell[1:2].isdigit() for cell in told):
        return "text"  # 007 is a name, not a number
    return next((type for type in _GUESSES if all(_fits(cell, type) for cell in told)), "text")


def _fits(cell: str, type: str) -> bool:
    try:
        tables.read_cell(cell, type)
    except ValueError:
        return False
    return True


# --- one table ----------------------------------------------------------------------------------


@page(VIEW_BOARD)
@require_GET
def table_detail(request: Any, key: str) -> HttpResponse:
    """A table in force: its rows, the checks that use it, its versions."""
    content = _content_in_force(key)
    versions = list(_versions().filter(document__key=key).order_by("-number"))
    if content is None and not versions:
        raise NotFound(gettext_noop("没有这张查找表"))
    if content is None:  # nothing in force yet: its newest draft is all there is
        return redirect("table_version", public_id=versions[0].public_id)
    published = next((v for v in versions if v.state == State.PUBLISHED), None)
    context = {
        "key": key,
        "content": content,
        "published": published,
        "uses": list_table_uses(key),
        "open_versions": [v for v in versions if v.state in _OPEN],
        "retired": [v for v in versions if v.state == State.RETIRED],
        "may_write": WRITE_RULES in request.rights,
        "example": _example(content),
        "now": timezone.now(),
        "crumbs": [(_("查找表"), reverse("table_list")), (content["name"], None)],
        **_rows_context(request, content, editable=False),
    }
    return render(request, "tables/detail.html", context)


def _example(content: Mapping[str, Any]) -> str:
    """How a formula asks this table."""
    keys = [c["label"] for c in content["columns"] if c["is_key"]]
    column = next((c["label"] for c in content["columns"] if not c["is_key"]), "")
    return f'查表("{content["name"]}", {", ".join(keys)}, "{column}")'


def _rows_context(request: Any, content: Mapping[str, Any], *, editable: bool) -> dict[str, Any]:
    """One page of rows, perhaps only those that contain some words; their places are kept."""
    words = request.GET.get("q", "").replace("\x00", "").strip()[:60]
    columns = content.get("columns", [])
    rows = [
        (i, [write_cell(cell) for cell in row]) for i, row in enumerate(content.get("rows", []))
    ]
    if words:
        rows = [r for r in rows if any(words.lower() in cell.lower() for cell in r[1])]
    size = max(5, min(ROWS_SHOWN, MAX_INPUTS // (len(columns) + 1))) if editable else ROWS_SHOWN
    pages = max(1, -(-len(rows) // size))
    asked = request.GET.get("page", "1")
    number = min(max(1, int(asked)), pages) if asked.isdigit() and len(asked) < 7 else 1
    shown = rows[(number - 1) * size : number * size]
    return {
        "columns": columns,
        "rows": [
            {
                "place": i,
                "number": i + 1,
                "cells": list(zip(columns, _pad(cells, columns), strict=True)),
            }
            for i, cells in shown
        ],
        "row_count": len(content.get("rows", [])),
        "found": len(rows),
        "q": words,
        "page_number": number,
        "page_count": pages,
        "before": number - 1 if number > 1 else None,
        "after": number + 1 if number < pages else None,
    }


def _pad(cells: list[str], columns: Sequence[Any]) -> list[str]:
    return [*cells, *[""] * len(columns)][: len(columns)]


@page(WRITE_RULES)
@require_POST
def table_draft(request: Any, key: str) -> HttpResponse:
    """Go on with one's own draft of a table, or begin one from the content in force."""
    draft = (
        _versions()
        .filter(document__key=key, state__in=_EDITABLE, author=request.user)
        .order_by("-changed_at")
        .first()
    )
    if draft is None:
        content = _content_in_force(key)
        if content is None:
            raise NotFound(gettext_noop("没有这张查找表"))
        document = releases.get_or_create_document(kind=KIND, key=key, name=content["name"])
        draft = releases.create_draft(
            document,
            content=content,
            author=request.user,
            based_on=releases.get_published(KIND, key),
        )
    return redirect("table_version", public_id=draft.public_id)


# --- one version --------------------------------------------------------------------------------


@page(VIEW_BOARD)
@require_GET
def table_version(request: Any, public_id: str) -> HttpResponse:
    """One version: a form while it is one's own draft, the differences for everybody else."""
    version = _get_version(public_id)
    return render(request, "tables/version.html", _version_context(request, version))


def _version_context(request: Any, version: Version) -> dict[str, Any]:
    content = version.content
    is_editable = _is_own(version, request)
    _clean, problems = tables.check_table(content) if is_editable else ({}, [])
    upload = content.get("upload") if is_editable else None
    changes = compare_tables(_compared_with(version), content)
    return {
        "version": version,
        "content": content,
        "key": version.document.key,
        "changes": changes,
        "is_editable": is_editable,
        "problems": problems[:PROBLEMS_SHOWN],
        "more_problems": max(0, len(problems) - PROBLEMS_SHOWN),
        "upload": _describe_upload(content, upload) if upload else None,
        "uses": list_table_uses(version.document.key),
        "types": [(code, _(label)) for code, label in TYPES.items()],
        "new_rows": range(NEW_ROWS),
        "new_columns": range(1 if len(content.get("columns", [])) < MAX_COLUMNS else 0),
        "is_calendar": version.document.key in SHIPPED,
        "max_rows": MAX_ROWS,
        "may_discard": is_editable and version.submitted_at is None,
        "may_decide": version.state == State.SUBMITTED and REVIEW_RULES in request.rights,
        "is_author": version.author_id == request.user.pk,
        "may_publish": version.state == State.APPROVED and REVIEW_RULES in request.rights,
        "may_roll_back": version.state == State.RETIRED and REVIEW_RULES in request.rights,
        "reviews": list(version.reviews.select_related("reviewer").order_by("at")),
        "now": timezone.now(),
        "crumbs": [
            (_("查找表"), reverse("table_list")),
            (
                content.get("name") or version.document.name,
                reverse("table_detail", args=[version.document.key]),
            ),
            (f"v{version.number}", None),
        ],
        **_rows_context(request, content, editable=is_editable),
    }


def _text(request: Any, name: str, limit: int) -> str:
    return str(request.POST.get(name, "")).replace("\x00", "").strip()[:limit]


@page(WRITE_RULES)
@require_POST
def table_save(request: Any, public_id: str) -> HttpResponse:
    """Save name, columns and the rows on screen; with `submit`, put the draft before reviewers."""
    version = _own_draft(request, public_id)
    if request.POST.get("checksum") != version.checksum:
        messages.error(request, _("这份草稿在别的窗口里刚改过，这里的改动没有保存；请看过再改"))
        return _back(request, version)
    content = _read_form(request.POST, version.content)
    version = releases.save_draft(version, content=content, author=request.user)
    if "submit" not in request.POST:
        messages.success(request, _("草稿已保存"))
        return _back(request, version)
    if "upload" in content:
        messages.error(request, _("草稿已保存；上传的文件还没有应用，请先应用或放弃它"))
        return _back(request, version)
    try:
        note = _text(request, "note", 500)
        releases.submit_version(version, actor=request.user, note=note, now=timezone.now())
    except AppError as error:
        messages.error(request, _("草稿已保存，但还不能提交：%(why)s") % {"why": say_error(error)})
    else:
        messages.success(request, _("已提交，等另一位有审核权的人处理"))
    return _back(request, version)


def _back(request: Any, version: Version) -> HttpResponse:
    address = reverse("table_version", args=[version.public_id])
    number, words = _text(request, "page", 6), _text(request, "q", 60)
    query = "&".join(
        f"{name}={quote(value)}" for name, value in (("page", number), ("q", words)) if value
    )
    return redirect(f"{address}?{query}" if query else address)


def _read_form(post: Any, base: Mapping[str, Any]) -> dict[str, Any]:
    """The content a form describes; half-written cells stay what was typed."""
    old = list(base.get("columns", []))
    columns = [_read_column(post, i, c) for i, c in enumerate(old)]
    kept = [i for i, column in enumerate(columns) if column is not None]
    rows = [_pad([*row], old) for row in base.get("rows", [])]
    gone = set()
    for place in post.getlist("row"):
        if not place.isdigit() or len(place) > 6 or int(place) >= len(rows):
            continue
        i = int(place)
        if f"drop-{i}" in post:
            gone.add(i)
        rows[i] = [_cell(post, f"cell-{i}-{j}", rows[i][j]) for j in range(len(old))]
    rows = [row for i, row in enumerate(rows) if i not in gone]
    for n in range(NEW_ROWS):
        made = [_cell(post, f"new-{n}-{j}", "") for j in range(len(old))]
        if any(made):
            rows.append(made)
    content = {
        **base,
        "name": str(post.get("name", base.get("name", ""))).replace("\x00", "").strip()[:100],
        "columns": [columns[i] for i in kept],
        "rows": [[row[i] for i in kept] for row in rows],
    }
    if added := _read_column(post, len(old), None):
        content["columns"].append({**added, "key": _free_key(old)})
        content["rows"] = [[*row, ""] for row in content["rows"]]
    if [c["key"] for c in content["columns"]] != [c["key"] for c in old]:
        content.pop("upload", None)  # its cells stand in the order of the columns before
    return content


def _cell(post: Any, name: str, before: Any) -> Any:
    """What was typed; an untouched cell keeps its type."""
    typed = post.get(name)
    if typed is None or typed.replace("\r\n", "\n") == write_cell(before):
        return before
    return typed.replace("\x00", "")[: tables.MAX_TEXT + 1]


def _read_column(post: Any, place: int, before: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """A column of the form; None for one that is deleted, or new and left empty."""
    label = post.get(f"label-{place}")
    if label is None:
        return dict(before) if before else None
    label = label.replace("\x00", "").strip()[:100]
    if f"drop-column-{place}" in post or (before is None and not label):
        return None
    type = post.get(f"type-{place}", "text")
    return {
        "key": before["key"] if before else "",
        "label": label,
        "type": type if type in TYPES else "text",
        "is_key": f"key-{place}" in post,
        "default": post.get(f"default-{place}", "").replace("\x00", "").strip()[:100] or None,
    }


def _free_key(columns: Sequence[Mapping[str, Any]]) -> str:
    taken = {column["key"] for column in columns}
    return next(key for n in range(1, 1000) if (key := f"c{n}") not in taken)


@page(WRITE_RULES)
@require_POST
def table_discard(request: Any, public_id: str) -> HttpResponse:
    """Throw away a draft that no reviewer has seen."""
    version = _own_draft(request, public_id)
    document = version.document
    releases.discard_draft(version, actor=request.user, now=timezone.now())
    if not document.versions.exists():
        Document.objects.filter(pk=document.pk).delete()
        return redirect("table_list")
    messages.success(request, _("草稿已放弃"))
    return redirect("table_detail", key=document.key)


@page(REVIEW_RULES)
@require_POST
def table_decide(request: Any, public_id: str) -> HttpResponse:
    """Approve, ask for changes, publish or roll back."""
    version, now = _get_version(public_id), timezone.now()
    comment, verdict = _text(request, "comment", 1000), request.POST.get("verdict", "")
    if verdict == "approve":
        releases.approve_version(version, reviewer=request.user, comment=comment, now=now)
        messages.success(request, _("已通过，可以发布"))
    elif verdict == "changes":
        releases.request_changes(version, reviewer=request.user, comment=comment, now=now)
        messages.success(request, _("已退回，作者会看到您的意见"))
    elif verdict == "publish":
        version = releases.publish_version(version, actor=request.user, now=now)
        _say_in_force(request, version, _("v%(n)s 已发布") % {"n": version.number})
    elif verdict == "roll_back":
        version = releases.roll_back(version, actor=request.user, now=now)
        _say_in_force(
            request, version, _("已回滚：新版本 v%(n)s 与旧内容相同") % {"n": version.number}
        )
    return redirect("table_version", public_id=version.public_id)


def _say_in_force(request: Any, version: Version, said: str) -> None:
    uses = list_table_uses(version.document.key)
    if uses or version.document.key in SHIPPED:
        wake_scoring(request.environment)  # else the next minute's patrol finds them
        said = _("%(said)s，在途订单正在按它重新评分") % {"said": said}
    messages.success(request, said)


# --- files --------------------------------------------------------------------------------------


def _read_upload(upload: Any) -> tuple[list[str], list[int], list[list[str]]]:
    """Headers, line numbers and cells of an uploaded file; raises BadInput naming the place."""
    if upload.size > MAX_UPLOAD:
        raise BadInput(gettext_noop("文件超过 8 MB，查找表最多 20000 行"), code="too_large")
    name = str(upload.name)[-80:]
    with tempfile.NamedTemporaryFile(suffix=".upload") as stored:
        for chunk in upload.chunks():
            stored.write(chunk)
        stored.flush()
        with open_table(Path(stored.name), name=name) as found:
            headers = [unprefix(header) for header in found.headers]
            lines, rows = [], []
            for row in found.rows:
                if isinstance(row, BadRow):
                    raise BadInput(
                        gettext_noop("「%(file)s」第 %(line)d 行读不出来：%(why)s。%(remedy)s"),
                        code="bad_row",
                        file=name,
                        line=row.line,
                        why=row.reason,
                        remedy=row.remedy,
                    )
                if any(cell.strip() for cell in row.cells):
                    lines.append(row.line)
                    rows.append([unprefix(cell) for cell in row.cells])
                if len(rows) > MAX_ROWS:
                    raise BadInput(
                        gettext_noop("文件超过 %(limit)d 行，请拆成几张表"),
                        code="too_many_rows",
                        limit=MAX_ROWS,
                    )
    return headers, lines, rows


@page(WRITE_RULES)
@require_POST
def table_upload(request: Any, public_id: str) -> HttpResponse:
    """Read a file beside the draft: nothing of it counts before it is applied."""
    version = _own_draft(request, public_id)
    upload = request.FILES.get("file")
    if upload is None:
        messages.error(request, _("请先选择一个 CSV 或 Excel 文件"))
        return _back(request, version)
    try:
        headers, lines, rows = _read_upload(upload)
        staged = _match(version.content, headers, lines, rows, str(upload.name)[-80:])
    except BadInput as error:
        messages.error(request, say_error(error))
        return _back(request, version)
    content = {**version.content, "upload": staged}
    version = releases.save_draft(version, content=content, author=request.user)
    return redirect(f"{reverse('table_version', args=[version.public_id])}#upload")


def _match(
    content: Mapping[str, Any],
    headers: Sequence[str],
    lines: Sequence[int],
    rows: Sequence[Sequence[str]],
    name: str,
) -> dict[str, Any]:
    """The file's cells in the order of the table's columns; raises BadInput without its keys."""
    places = {header.strip().lower(): i for i, header in enumerate(headers)}
    columns = content["columns"]
    chosen = [places.get(str(c["label"]).strip().lower()) for c in columns]
    missing = [c["label"] for c, place in zip(columns, chosen, strict=True) if place is None]
    keys = [
        c["label"]
        for c, place in zip(columns, chosen, strict=True)
        if place is None and c["is_key"]
    ]
    if keys:
        raise BadInput(
            gettext_noop("文件里没有键列 %(keys)s；文件的列是 %(headers)s。请改列名后再上传"),
            code="key_missing",
            keys=join_words(keys),
            headers=join_words(headers[:20]),
        )
    used = {place for place in chosen if place is not None}
    return {
        "name": name,
        "lines": list(lines),
        "missing": missing,
        "ignored": [header for i, header in enumerate(headers) if i not in used],
        "rows": [["" if place is None else row[place] for place in chosen] for row in rows],
    }


def _describe_upload(content: Mapping[str, Any], upload: Mapping[str, Any]) -> dict[str, Any]:
    """What a file would do, in both ways of applying it."""
    outcomes = {}
    for mode in ("replace", "merge"):
        made = {**content, "rows": _applied(content, upload, mode)}
        outcomes[mode] = compare_tables(content, made, listed=PREVIEWED)
    checked = {**content, "rows": upload["rows"]}
    problems = [p for p in tables.check_table(checked)[1] if p.row]
    return {
        "name": upload["name"],
        "count": len(upload["rows"]),
        "missing": join_words(upload["missing"]),
        "ignored": join_words(upload["ignored"]),
        "replace": outcomes["replace"],
        "merge": outcomes["merge"],
        "problems": [_at_line(p, upload["lines"]) for p in problems[:PROBLEMS_SHOWN]],
        "more_problems": max(0, len(problems) - PROBLEMS_SHOWN),
    }


def _at_line(problem: tables.Problem, lines: Sequence[int]) -> str:
    """A problem with the line of the file, as a text editor or Excel counts."""
    line = lines[problem.row - 1] if problem.row <= len(lines) else problem.row
    place = Phrase(gettext_noop("文件第 %(line)d 行"), {"line": line})
    if problem.first:
        earlier = {**problem.phrase.params, "first": lines[problem.first - 1]}
        problem = replace(problem, phrase=Phrase(problem.phrase.message, earlier))
    return say(problem.say_at(place))


def _applied(content: Mapping[str, Any], upload: Mapping[str, Any], mode: str) -> list[Any]:
    """The rows after applying a file: its own alone, or put over those with the same keys."""
    if mode == "replace":
        return list(upload["rows"])
    places = [i for i, c in enumerate(content["columns"]) if c["is_key"]]

    def key(row: Sequence[Any]) -> tuple[str, ...]:
        return tuple(write_cell(row[i]).strip().lower() for i in places)

    news = {key(row): row for row in upload["rows"]}
    rows = [
        news.pop(key(row), row) for row in (_pad([*r], content["columns"]) for r in content["rows"])
    ]
    return [*rows, *news.values()]


@page(WRITE_RULES)
@require_POST
def table_apply(request: Any, public_id: str) -> HttpResponse:
    """Put an uploaded file into the draft, whole or not at all, or throw it away."""
    version = _own_draft(request, public_id)
    content = dict(version.content)
    upload = content.pop("upload", None)
    if upload is None:
        raise WrongState(gettext_noop("没有待应用的文件，请重新上传"))
    mode = request.POST.get("mode", "")
    if mode in ("replace", "merge"):
        if _describe_upload(content, upload)["problems"]:
            raise WrongState(gettext_noop("文件里还有问题，一行都没有应用；请改好文件后重新上传"))
        content["rows"] = _applied(content, upload, mode)
        clean, problems = tables.check_table(content)
        content = content if problems else clean
        messages.success(request, _("已应用，现在有 %(n)d 行") % {"n": len(content["rows"])})
    else:
        messages.success(request, _("已放弃上传的文件，草稿没有变"))
    releases.save_draft(version, content=content, author=request.user)
    return redirect("table_version", public_id=version.public_id)


@page(VIEW_BOARD)
@require_GET
def table_download(request: Any, key: str) -> HttpResponse:
    """The table as CSV or workbook: in force, or a version of it; it can be uploaded again."""
    wanted = request.GET.get("version", "")
    if wanted:
        version = _get_version(wanted)
        content = version.content if version.document.key == key else None
    else:
        content = _content_in_force(key)
    if content is None:
        raise NotFound(gettext_noop("没有这张查找表"))
    head = [str(c["label"]) for c in content["columns"]]
    rows = [[prefix(write_cell(cell)) for cell in row] for row in content["rows"]]
    if request.GET.get("format") == "xlsx":
        body = _write_workbook(head, rows)
        kind, suffix = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "xlsx"
    else:
        text = io.StringIO()
        csv.writer(text).writerows([[prefix(h) for h in head], *rows])
        body, kind, suffix = text.getvalue().encode("utf-8-sig"), "text/csv; charset=utf-8", "csv"
    answer = HttpResponse(body, content_type=kind)
    name = quote(f"{content['name']}.{suffix}")
    answer["Content-Disposition"] = (
        f"attachment; filename=\"table.{suffix}\"; filename*=UTF-8''{name}"
    )
    return answer


def _write_workbook(head: Sequence[str], rows: Sequence[Sequence[str]]) -> bytes:
    """A workbook of texts: a number typed as text stays what it is, and nothing runs as a formula."""
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet("table")
    sheet.freeze_panes = "A2"
    for row in ([prefix(h) for h in head], *rows):
        cells = []
        for text in row:
            cell = openpyxl.cell.WriteOnlyCell(sheet, text)
            cell.data_type, cell.number_format = "s", "@"
            cells.append(cell)
        sheet.append(cells)
    stream = io.BytesIO()
    book.save(stream)
    return stream.getvalue()


urlpatterns = [
    path("tables/", table_list, name="table_list"),
    path("tables/new/", table_new, name="table_new"),
    path("tables/versions/<str:public_id>/", table_version, name="table_version"),
    path("tables/versions/<str:public_id>/save/", table_save, name="table_save"),
    path("tables/versions/<str:public_id>/upload/", table_upload, name="table_upload"),
    path("tables/versions/<str:public_id>/apply/", table_apply, name="table_apply"),
    path("tables/versions/<str:public_id>/discard/", table_discard, name="table_discard"),
    path("tables/versions/<str:public_id>/decide/", table_decide, name="table_decide"),
    path("tables/<str:key>/", table_detail, name="table_detail"),
    path("tables/<str:key>/draft/", table_draft, name="table_draft"),
    path("tables/<str:key>/download/", table_download, name="table_download"),
]

__all__ = ["TableChanges", "describe_version", "urlpatterns"]
