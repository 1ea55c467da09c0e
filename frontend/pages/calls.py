"""The call log: what we asked, what was sent to us, of an order or a connection; saying it again."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import path, reverse
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET, require_POST

from config.errors import AppError, NotFound
from config.tenancy.middleware import outside_scope
from config.tenancy.roles import MANAGE_CONNECTORS, VIEW_ORDERS
from config.wording import say_error
from connectors.sync.calls import (
    Exchange,
    list_calls_of_connection,
    list_calls_of_order,
    resend,
)
from connectors.sync.models import CallLog, InboundMessage
from frontend.pages.connections import get_connection, page
from frontend.pages.order import get_order

SHOWN = 100
MAX_BODY = 20_000  # characters of a body on a page
_LOOKS: dict[str, str] = {
    CallLog.Outcome.OK: "sent",
    CallLog.Outcome.REFUSED: "failed",
    CallLog.Outcome.FAILED: "failed",
    CallLog.Outcome.AMBIGUOUS: "ambiguous",
    InboundMessage.State.DONE: "sent",
    InboundMessage.State.WAITING: "pending",
    InboundMessage.State.IGNORED: "",
}
SHOWS = {
    "": gettext_lazy("全部"),
    "calls": gettext_lazy("我们的调用"),
    "messages": gettext_lazy("收到的消息"),
    "failed": gettext_lazy("没有成功的"),
}


@require_GET
@page(VIEW_ORDERS)
def order_calls(request: Any, public_id: str) -> HttpResponse:
    """Every call and message about an order, newest first; htmx gets the list alone."""
    order = get_order(public_id)
    context = _describe(request, list_calls_of_order(order.order_no, limit=SHOWN)) | {
        "order": order,
        "title": order.order_no,
        "back": reverse("order_detail", args=[order.public_id]),
        "crumbs": [
            (_("订单"), reverse("order_list")),
            (order.order_no, reverse("order_detail", args=[order.public_id])),
            (_("调用记录"), None),
        ],
    }
    template = "calls/_list.html" if request.htmx else "calls/page.html"
    return render(request, template, context)


@require_GET
@page(VIEW_ORDERS)
def connection_calls(request: Any, public_id: str) -> HttpResponse:
    """The latest calls and messages of a connection."""
    connection = get_connection(public_id)
    show = request.GET.get("show", "")
    show = show if show in SHOWS else ""
    found = list_calls_of_connection(connection.pk, limit=SHOWN)
    context = _describe(request, [row for row in found if _is_wanted(row, show)]) | {
        "connection": connection,
        "title": str(connection),
        "back": request.get_full_path(),
        "shows": [
            (label, f"?{urlencode({'show': key})}" if key else "?", key == show)
            for key, label in SHOWS.items()
        ],
        "crumbs": [
            (_("连接器"), reverse("connection_list")),
            (str(connection), reverse("connection_detail", args=[connection.public_id])),
            (_("调用记录"), None),
        ],
    }
    return render(request, "calls/page.html", context)


def _is_wanted(row: Exchange, show: str) -> bool:
    if show == "failed":
        return _LOOKS.get(row.outcome, "failed") in {"failed", "ambiguous"}
    return not show or row.is_inbound == (show == "messages")


def _describe(request: Any, found: list[Exchange]) -> dict[str, Any]:
    return {
        "now": timezone.now(),
        "rows": [
            {
                "exchange": row,
                "look": _LOOKS.get(row.outcome, "failed"),
                "request": write_body(row.request),
                "answer": write_body(row.answer),
            }
            for row in found
        ],
        "limit": SHOWN if len(found) >= SHOWN else None,
        "may_resend": MANAGE_CONNECTORS in request.rights,
    }


def write_body(text: str) -> str:
    """A masked body as people read it: JSON set out over lines, anything else as it is."""
    if text[:1] in {"{", "["}:
        try:
            text = json.dumps(json.loads(text), ensure_ascii=False, indent=2)
        except ValueError:
            return text[:MAX_BODY]
    return text[:MAX_BODY]


@outside_scope
@require_POST
@page(MANAGE_CONNECTORS)
def call_resend(request: Any, key: str) -> HttpResponse:
    """Read the order anew, or work a message off again; what came of it is said on the page."""
    back = request.POST.get("back", "")
    if not url_has_allowed_host_and_scheme(back, allowed_hosts=None):
        back = reverse("connection_list")
    try:
        number = resend(
            request.environment, key, actor=request.user, now=timezone.now(),
            order_no=request.POST.get("order", ""),
        )  # fmt: skip
    except NotFound:
        raise  # absent and foreign look the same
    except AppError as error:
        messages.error(request, say_error(error))
    else:
        words = _("已重新读取订单 %(no)s，评分随后更新") if number else _("已重新处理这条消息")
        messages.success(request, words % {"no": number} if number else words)
    return redirect(back)


urlpatterns = [
    path("orders/<str:public_id>/calls/", order_calls, name="order_calls"),
    path("connections/<str:public_id>/calls/", connection_calls, name="connection_calls"),
    path("calls/<str:key>/resend/", call_resend, name="call_resend"),
]
