"""Importing files: upload, map columns, try, import, watch, mend what was put aside."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import wraps
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db import transaction
from django.db.models import Count, Q
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import path, reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from config.audit.services import record
from config.errors import BadInput, NotFound, WrongState, gettext_noop
from config.tenancy.roles import IMPORT_FILES, check_right
from config.wording import say_error
from connectors.orders.canonical import CanonicalOrder
from connectors.orders.status_mappings import list_all_changes
from connectors.orders.statuses import PAYMENT_LABELS, STAGE_LABELS
from connectors.shops.models import Source
from connectors.tabular.building import BadRecord
from connectors.tabular.fields import HOLDS
from connectors.tabular.models import FileSet, ImportRun, QuarantineRow, StoredFile
from connectors.tabular.preview import preview_import
from connectors.tabular.services import PHASE_LABELS
from connectors.tabular.uploads import list_paths, start_repair, start_run, store_files
from connectors.tabular.values import DATE_STYLES
from connectors.tabular.words import WORD_LABELS
from connectors.tabular.workbook import write_workbook
from frontend.pages import file_drafts as drafts
from workflows.patrol.queue import enqueue

RUNS_SHOWN = 30
ROWS_SHOWN = 50
DATE_STYLE_LABELS = {
    "ymd": gettext_noop("年-月-日"),
    "mdy": gettext_noop("月/日/年（美式）"),
    "dmy": gettext_noop("日/月/年（欧式）"),
    "compact": gettext_noop("连写数字"),
    "excel": gettext_noop("Excel 序列号"),
    "unix": gettext_noop("Unix 秒"),
    "unix_ms": gettext_noop("Unix 毫秒"),
}
View = Callable[..., HttpResponse]


def page(view: View) -> View:
    """A view for people who may import files into the environment in force."""

    @wraps(view)
    def run(request: Any, *args: Any, **kwargs: Any) -> HttpResponse:
        if request.environment is None:
            raise NotFound(gettext_noop("请先选择一个环境"))
        check_right(request.rights, IMPORT_FILES)
        return view(request, *args, **kwargs)

    return login_required(run)


# --- the list ---------------------------------------------------------------------------------


@require_GET
@page
def file_list(request: Any) -> HttpResponse:
    """Sources with their freshness, and past imports."""
    now = timezone.now()
    runs = (
        ImportRun.objects.select_related("created_by", "file_set")
        .annotate(
            waiting=Count(
                "quarantine",
                filter=Q(quarantine__cleared_at=None, quarantine__is_culprit=True),
            )
        )
        .order_by("-created_at", "-pk")[:RUNS_SHOWN]
    )
    sources = [
        {
            "source": source,
            "is_late": source.complete_until is not None
            and now - source.complete_until > timedelta(minutes=source.lateness_minutes),
        }
        for source in Source.objects.order_by("kind", "name")
    ]
    return render(request, "files/list.html", {"runs": runs, "sources": sources, "now": now})


@require_POST
@page
def file_upload(request: Any) -> HttpResponse:
    """Keep the uploaded files and go on to their mapping."""
    try:
        file_set = store_files(
            request.environment,
            request.FILES.getlist("files"),
            user=request.user,
            now=timezone.now(),
        )
    except BadInput as error:
        messages.error(request, say_error(error))
        return redirect("file_list")
    return redirect("file_mapping", file_set.public_id)


# --- the mapping ------------------------------------------------------------------------------


def _open_set(public_id: str) -> tuple[FileSet, list[StoredFile], dict[str, Any]]:
    file_set = FileSet.objects.get(public_id=public_id)
    stored = list(file_set.files.order_by("pk"))
    if any(not file.profile_sealed for file in stored):
        raise WrongState(gettext_noop("隔离工作簿用原来的映射，不能在这里改"))
    return file_set, stored, {file.key: file.profile for file in stored}


@require_http_methods(["GET", "POST"])
@page
def file_mapping(request: Any, public_id: str) -> HttpResponse:
    """GET: the mapping page. POST: save what was chosen and answer with what it would do."""
    file_set, stored, profiles = _open_set(public_id)
    if request.method == "POST":
        file_set.mapping = drafts.read_form(file_set.mapping, request.POST, stored, profiles)
        file_set.save(update_fields=["mapping"])
        return render(request, "files/_outcome.html", _outcome(request, file_set, profiles))
    return render(request, "files/mapping.html", _form(request, file_set, stored, profiles))


@require_POST
@page
def file_holds(request: Any, public_id: str) -> HttpResponse:
    """A file holds something else than was guessed: guess its columns anew."""
    file_set, stored, profiles = _open_set(public_id)
    file_set.mapping = drafts.read_form(file_set.mapping, request.POST, stored, profiles)
    file_set.save(update_fields=["mapping"])
    response = render(request, "files/_columns.html", _form(request, file_set, stored, profiles))
    response["HX-Trigger"] = "mapping-changed"
    return response


def _form(
    request: Any, file_set: FileSet, stored: list[StoredFile], profiles: dict[str, Any]
) -> dict[str, Any]:
    latest = file_set.created_at.astimezone(request.environment.zone)
    return {
        "file_set": file_set,
        "mapping": file_set.mapping,
        "files": drafts.describe_files(file_set.mapping, stored, profiles),
        "styles": [(code, _(label)) for code, label in DATE_STYLE_LABELS.items()],
        "style_help": [_(label) for label in DATE_STYLES.values()],
        "custom_types": [(c, _(label)) for c, label in drafts.CUSTOM_TYPE_LABELS.items()],
        "channels": drafts.CHANNEL_CHOICES,
        "until": latest.strftime("%Y-%m-%dT%H:%M"),
        "nothing": "，".join(file_set.mapping["nothing"]),
        "crumbs": [(_("文件"), reverse("file_list")), (file_set.mapping["name"], None)],
    }


def _outcome(request: Any, file_set: FileSet, profiles: dict[str, Any]) -> dict[str, Any]:
    """What the mapping as it is now makes of the first orders, and which words are open."""
    context: dict[str, Any] = {
        "file_set": file_set,
        "tables": drafts.describe_words(file_set.mapping, profiles)
        if file_set.mapping["stage_from"] == "words"
        else [
            t for t in drafts.describe_words(file_set.mapping, profiles) if t["table"] != "stage"
        ],
        "rows_total": sum(p["rows"] for p in profiles.values()),
        "undecided_value": drafts.UNDECIDED,
        "is_history": "is_history" in request.POST,
    }
    paths, names = list_paths(request.environment, file_set)
    try:
        preview = preview_import(
            request.environment,
            mapping=file_set.mapping,
            files=paths,
            names=names,
            mapped=list_all_changes(timezone.now()),
        )
    except BadInput as error:
        return context | {"error": say_error(error)}
    orders = [_describe_order(key, item) for key, item in preview.orders]
    parts = [
        {
            "label": _(HOLDS[holds]),
            "is_payment": holds in {"gateway", "payments"},
            "rows": [_describe_part(key, item) for key, item in rows[:5]],
        }
        for holds, rows in preview.parts.items()
    ]
    return context | {
        "orders": orders,
        "parts": parts,
        "payment_labels": {code: _(label) for code, label in PAYMENT_LABELS.items()},
        "total": preview.total,
        "bad": sum(not o["is_good"] for o in orders),
    }


def _describe_order(key: str, item: CanonicalOrder | BadRecord) -> dict[str, Any]:
    if isinstance(item, BadRecord):
        return {"key": key, "is_good": False, "faults": list(item.faults.values())[:3]}
    return {
        "key": key,
        "is_good": True,
        "order": item,
        "stage": _(STAGE_LABELS[item.stage]),
        "is_unknown": item.stage == "unknown",
        "lines": len(item.lines),
        "payments": len(item.payments),
        "place": " ".join(p for p in (item.province, item.city, item.district) if p),
    }


def _describe_part(key: str, item: Any) -> dict[str, Any]:
    if isinstance(item, BadRecord):
        return {"key": key, "is_good": False, "faults": list(item.faults.values())[:3]}
    records = item if isinstance(item, list) else [item]
    return {"key": key, "is_good": True, "records": records}


@require_POST
@page
def file_run(request: Any, public_id: str) -> HttpResponse:
    """Queue a dry run or an import of a file set with the mapping as posted (or as saved)."""
    now = timezone.now()
    file_set, stored, profiles = _open_set(public_id)
    if "name" in request.POST:
        file_set.mapping = drafts.read_form(file_set.mapping, request.POST, stored, profiles)
        file_set.save(update_fields=["mapping"])
    tried = request.POST.get("tried")
    before = ImportRun.objects.get(public_id=tried) if tried else None
    try:
        run = start_run(
            request.environment,
            file_set,
            complete_until=before.complete_until if before else _read_until(request, now),
            user=request.user,
            now=now,
            is_dry_run=request.POST.get("action") == "try",
            is_history=before.is_history if before else "is_history" in request.POST,
        )
    except BadInput as error:
        messages.error(request, say_error(error))
        return redirect("file_mapping", public_id)
    _send(request, run)
    return redirect("file_import", run.public_id)


def _read_until(request: Any, now: datetime) -> datetime:
    text = request.POST.get("until", "").strip()
    if not text:
        return now
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadInput(gettext_noop("「数据截至」应是日期和时间"), code="bad_until") from error
    moment = moment.replace(tzinfo=request.environment.zone)
    if moment > now:
        raise BadInput(gettext_noop("「数据截至」不能晚于现在"), code="bad_until")
    return moment


def _send(request: Any, run: ImportRun) -> None:
    environment_id, run_id = request.environment.pk, run.pk
    transaction.on_commit(
        lambda: enqueue("patrol.import_files", environment_id, run_id, queue="sync")
    )


# --- one run ----------------------------------------------------------------------------------


@require_GET
@page
def file_import(request: Any, public_id: str) -> HttpResponse:
    """One import: how far it is, what it did, what it put aside."""
    run = ImportRun.objects.select_related("file_set", "repairs").get(public_id=public_id)
    context = _describe_run(request, run)
    context["crumbs"] = [(_("文件"), reverse("file_list")), (run.name, None)]
    return render(request, "files/import.html", context)


@require_GET
@page
def file_progress(request: Any, public_id: str) -> HttpResponse:
    """The moving part of the page; 286 tells htmx to stop asking."""
    run = ImportRun.objects.select_related("file_set", "repairs").get(public_id=public_id)
    status = 286 if run.is_over else 200
    return render(request, "files/_run.html", _describe_run(request, run), status=status)


def _describe_run(request: Any, run: ImportRun) -> dict[str, Any]:
    after = request.GET.get("after", "")
    rows = QuarantineRow.objects.filter(run=run, cleared_at=None, is_culprit=True)
    counts = rows.count()
    if after.isdecimal():
        rows = rows.filter(pk__gt=int(after))
    shown = list(rows.order_by("pk")[: ROWS_SHOWN + 1])
    return {
        "run": run,
        "phase": _(PHASE_LABELS.get(run.phase, gettext_noop("等待空闲的工作进程"))),
        "counts": run.counts
        and {**run.counts, "records": sum(run.counts.get(k, 0) for k in ("gateway", "oms", "wms"))},
        "notices": [_describe_notice(n) for n in run.notices],
        "has_unknown": any(n["kind"] == "unknown_word" for n in run.notices),
        "rows": shown[:ROWS_SHOWN],
        "next_after": shown[ROWS_SHOWN - 1].pk if len(shown) > ROWS_SHOWN else None,
        "waiting": counts,
        "repairs": list(run.repaired_by.order_by("pk")),
        "now": timezone.now(),
    }


def _describe_notice(notice: dict[str, Any]) -> str:
    if notice["kind"] == "unknown_word":
        label = _("渠道") if notice["table"] == "channel" else _(WORD_LABELS[notice["table"]])
        return _("%(label)s「%(word)s」不认识，%(count)s 单先记为未知") % {
            "label": label,
            "word": notice["word"] or _("（空）"),
            "count": notice["count"],
        }
    if notice["kind"] == "merged":
        return _("「%(file)s」有 %(count)s 行完全重复，已合并") % notice
    return _("%(count)s 行在「%(file)s」里找不到对应的编号，相应字段留空") % notice


@require_GET
@page
def file_workbook(request: Any, public_id: str) -> HttpResponse:
    """The open quarantine as a workbook; it holds personal data, so the download is on record."""
    run = ImportRun.objects.get(public_id=public_id)
    target = io.BytesIO()
    rows = write_workbook(run, target)
    record(
        action="files.download_quarantine",
        subject=run.public_id,
        actor=request.user,
        now=timezone.now(),
        details={"rows": rows},
    )
    response = HttpResponse(
        target.getvalue(),
        content_type="application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    )
    response["Content-Disposition"] = f'attachment; filename="quarantine-{run.public_id}.xlsx"'
    return response


@require_POST
@page
def file_repair(request: Any, public_id: str) -> HttpResponse:
    """Import the mended workbook of a run."""
    run = ImportRun.objects.get(public_id=public_id)
    upload = request.FILES.get("workbook")
    if upload is None:
        messages.error(request, _("请选择改好的工作簿"))
        return redirect("file_import", public_id)
    try:
        repair = start_repair(
            request.environment, run, upload, user=request.user, now=timezone.now()
        )
    except BadInput as error:
        messages.error(request, say_error(error))
        return redirect("file_import", public_id)
    _send(request, repair)
    return redirect("file_import", repair.public_id)


urlpatterns = [
    path("files/", file_list, name="file_list"),
    path("files/upload", file_upload, name="file_upload"),
    path("files/sets/<str:public_id>/", file_mapping, name="file_mapping"),
    path("files/sets/<str:public_id>/holds", file_holds, name="file_holds"),
    path("files/sets/<str:public_id>/run", file_run, name="file_run"),
    path("files/runs/<str:public_id>/", file_import, name="file_import"),
    path("files/runs/<str:public_id>/progress", file_progress, name="file_progress"),
    path("files/runs/<str:public_id>/workbook", file_workbook, name="file_workbook"),
    path("files/runs/<str:public_id>/repair", file_repair, name="file_repair"),
]
