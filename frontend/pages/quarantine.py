"""Quarantine: payloads that could not be read, why, and what to do with them."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.db.models import Count, Q
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import path, reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_GET, require_POST

from config.errors import AppError, BadInput, NotFound, gettext_noop
from config.tenancy.middleware import outside_scope
from config.tenancy.roles import MANAGE_CONNECTORS, VIEW_ORDERS
from config.wording import say, say_error
from connectors.orders.models import Order
from connectors.sync.masking import mask_value
from connectors.sync.models import Quarantine
from connectors.sync.quarantine import ignore_quarantined, list_quarantine, retry_quarantined
from frontend.pages.connections import page
from frontend.pages.orders import decode_key, encode_key

PAGE_SIZE = 50
MAX_AT_ONCE = 50
MAX_SHOWN = 20_000  # characters of a payload
State = Quarantine.State


@require_GET
@page(VIEW_ORDERS)
def quarantine_list(request: Any) -> HttpResponse:
    """What was put aside, newest first, by state, connection and reason (fixed queries)."""
    asked = _read_question(request)
    rows = _filter(list_quarantine(asked["state"]), asked)
    found, following = _cut(rows, request.GET.get("after", ""))
    for row in found:
        row.words, row.field = _say_reason(row), _name_field(row)
    counts = dict(Quarantine.objects.values_list("state").annotate(n=Count("pk")))
    context = {
        "now": timezone.now(),
        "rows": found,
        "state": asked["state"],
        "states": [
            (key, label, counts.get(key, 0), _url(state=key), key == asked["state"])
            for key, label in State.choices
        ],
        "filters": _list_filters(asked),
        "next_url": _url(**asked, after=following) if following else "",
        "first_url": _url(**asked) if request.GET.get("after") else "",
        "can_choose": MANAGE_CONNECTORS in request.rights and asked["state"] == State.OPEN,
        "back": request.get_full_path(),
    }
    return render(request, "quarantine/list.html", context)


def _read_question(request: Any) -> dict[str, str]:
    state = request.GET.get("state", State.OPEN)
    return {
        "state": state if state in State.values else State.OPEN,
        "connection": request.GET.get("connection", "")[:24],
        "code": request.GET.get("code", "")[:60],
    }


def _url(**parameters: str) -> str:
    wanted = {key: value for key, value in parameters.items() if value}
    if wanted.get("state") == State.OPEN:
        del wanted["state"]
    base = reverse("quarantine_list")
    return f"{base}?{urlencode(wanted)}" if wanted else base


def _filter(rows: Any, asked: dict[str, str]) -> Any:
    if asked["connection"]:
        rows = rows.filter(connection__public_id=asked["connection"])
    return rows.filter(code=asked["code"]) if asked["code"] else rows


def _cut(rows: Any, after: str) -> tuple[list[Any], str]:
    if after:
        moment, pk = decode_key(after, 2)
        try:
            last = datetime.fromisoformat(moment)
        except (TypeError, ValueError) as error:
            raise BadInput(gettext_noop("这一页的地址不完整，请从第一页重新翻")) from error
        rows = rows.filter(Q(last_at__lt=last) | Q(last_at=last, pk__lt=pk))
    found = list(rows[: PAGE_SIZE + 1])
    shown = found[:PAGE_SIZE]
    following = encode_key([shown[-1].last_at, shown[-1].pk]) if len(found) > PAGE_SIZE else ""
    return shown, following


def _say_reason(row: Any) -> str:
    """What is wrong with it, in the reader's language."""
    return say(row.reason)


def _name_field(row: Quarantine) -> str:
    """The path of the field at fault, where the reason names one."""
    name = row.params.get("field", "")
    return name if isinstance(name, str) and name != "$" else ""


def _list_filters(asked: dict[str, str]) -> list[dict[str, Any]]:
    """Connections and fields that occur, each as a chip that filters by it or no longer does."""
    rows = Quarantine.objects.filter(state=asked["state"])
    chips = []
    by_connection = (
        rows.values_list("connection__public_id", "connection__source__name")
        .annotate(n=Count("pk"))
        .order_by("-n")
    )
    for public_id, name, n in by_connection:
        is_on = public_id == asked["connection"]
        wanted = asked | {"connection": "" if is_on else public_id}
        chips.append({"label": name, "count": n, "url": _url(**wanted), "is_on": is_on})
    if asked["code"]:
        wanted = asked | {"code": ""}
        chips.append({"label": asked["code"], "count": None, "url": _url(**wanted), "is_on": True})
    return chips if len(chips) > 1 or any(chip["is_on"] for chip in chips) else []


@require_GET
@page(VIEW_ORDERS)
def quarantine_detail(request: Any, public_id: str) -> HttpResponse:
    """One payload, masked, with what is wrong with it."""
    row = (
        Quarantine.objects.select_related("connection__source", "settled_by")
        .filter(public_id=public_id)
        .first()
    )
    if row is None:
        raise NotFound(gettext_noop("没有这条隔离的报文"))
    masked = json.dumps(mask_value(row.reveal_payload()), ensure_ascii=False, indent=2)
    order = Order.objects.filter(order_no=row.order_no).first() if row.order_no else None
    context = {
        "now": timezone.now(),
        "crumbs": [(_("隔离区"), reverse("quarantine_list")), (row.order_no or public_id, None)],
        "row": row,
        "words": _say_reason(row),
        "field": _name_field(row),
        "payload": masked[:MAX_SHOWN],
        "is_cut": len(masked) > MAX_SHOWN,
        "order": order,
        "may_manage": MANAGE_CONNECTORS in request.rights,
    }
    return render(request, "quarantine/detail.html", context)


@outside_scope
@require_POST
@page(MANAGE_CONNECTORS)
def quarantine_retry(request: Any) -> HttpResponse:
    """Read the chosen ones again, one after the other; one that stays unreadable stops nobody."""
    chosen = list(dict.fromkeys(request.POST.getlist("row")))
    if not chosen:
        messages.error(request, _("请先勾选要重试的报文"))
        return _go_back(request)
    mended, failures = 0, []
    for public_id in chosen[:MAX_AT_ONCE]:
        try:
            is_mended = retry_quarantined(
                request.environment, public_id, actor=request.user, now=timezone.now()
            )
        except AppError as error:
            failures.append(say_error(error))
        else:
            mended += is_mended
    left = len(chosen[:MAX_AT_ONCE]) - mended
    if mended:
        done = ngettext("%(n)s 条已重新读入", "%(n)s 条已重新读入", mended) % {"n": mended}
        messages.success(request, done)
    if left:
        words = ngettext("%(n)s 条仍读不懂，原因见各行", "%(n)s 条仍读不懂，原因见各行", left) % {
            "n": left
        }
        if failures:
            words = _("%(words)s。例如：%(why)s") % {"words": words, "why": failures[0]}
        messages.warning(request, words)
    return _go_back(request)


def _go_back(request: Any) -> HttpResponse:
    """To the page the button was on: the list as it was filtered, or the payload's own."""
    back = request.POST.get("back", "")
    return redirect(back if back.startswith("/quarantine/") else reverse("quarantine_list"))


@require_POST
@page(MANAGE_CONNECTORS)
def quarantine_ignore(request: Any, public_id: str) -> HttpResponse:
    """Set one aside for good, with the reason a person gives."""
    try:
        ignore_quarantined(
            public_id,
            actor=request.user,
            note=request.POST.get("note", ""),
            now=timezone.now(),
        )
    except BadInput as error:
        messages.error(request, say_error(error))
        return redirect("quarantine_detail", public_id)
    messages.success(request, _("已忽略这条报文，理由已记录"))
    return redirect("quarantine_list")


urlpatterns = [
    path("quarantine/", quarantine_list, name="quarantine_list"),
    path("quarantine/retry/", quarantine_retry, name="quarantine_retry"),
    path("quarantine/<str:public_id>/", quarantine_detail, name="quarantine_detail"),
    path("quarantine/<str:public_id>/ignore/", quarantine_ignore, name="quarantine_ignore"),
]
