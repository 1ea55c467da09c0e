"""Countdown: orders whose time runs out, the most urgent first; and those nobody hears of."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django.contrib.auth.decorators import login_required
from django.db.models import F, Q
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import path, reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET

from config.tenancy.roles import VIEW_ORDERS, check_right
from connectors.orders.deadlines import (
    BASIS_LABELS,
    TABLE_KEY,
    Basis,
    find_deadline,
    list_ship_rules,
)
from connectors.orders.services import list_nodes
from connectors.orders.statuses import REFUND_LABELS
from frontend.pages.orders import decode_key, encode_key, load_rows, parse_moment
from workflows.reconciliation.countdown import (
    SILENT,
    DueCount,
    count_due,
    due_orders,
    silent_orders,
)

PAGE_SIZE = 50
_NEVER = datetime.fromisoformat("2999-01-01T00:00:00+00:00")
LABELS: dict[str, Any] = {
    "overdue": gettext_lazy("期限已过"),
    "h4": gettext_lazy("4 小时内"),
    "h12": gettext_lazy("4–12 小时"),
    "h24": gettext_lazy("12–24 小时"),
    "h48": gettext_lazy("24–48 小时"),
    SILENT: gettext_lazy("沉默订单"),
}


@login_required
@require_GET
def deadline_list(request: Any) -> HttpResponse:
    """The countdown now (a fixed number of queries); the clocks on it run in the browser."""
    check_right(request.rights, VIEW_ORDERS)
    now = timezone.now()
    name = request.GET.get("left", "")
    name = name if name in LABELS else ""
    counts = count_due(now)
    orders, following = list_page(name, request.GET.get("after", ""), now=now)
    count = next((c.count for c in counts if c.name == name), None)
    if count is None:
        count = sum(c.count for c in counts if c.name != SILENT)
    context = {
        "now": now,
        "name": name,
        "label": str(LABELS[name]) if name else _("48 小时内到期"),
        "is_silent": name == SILENT,
        "tiles": [_tile(c, name) for c in counts],
        "orders": orders,
        "count": count,
        "all_url": reverse("deadline_list"),
        "here_url": request.get_full_path(),
        "next_url": _url(left=name, after=following) if following else "",
        "first_url": _url(left=name) if request.GET.get("after") else "",
        "table_url": reverse("table_detail", args=[TABLE_KEY]),
    }
    return render(request, "deadlines/list.html", context)


def _url(**parameters: str) -> str:
    wanted = {key: value for key, value in parameters.items() if value}
    base = reverse("deadline_list")
    return f"{base}?{urlencode(wanted)}" if wanted else base


def _tile(found: DueCount, chosen: str) -> dict[str, Any]:
    return {
        "name": found.name,
        "label": str(LABELS[found.name]),
        "count": found.count,
        "fen": found.fen,
        "url": _url(left=found.name),
        "is_current": found.name == chosen,
    }


def list_page(name: str, after: str, *, now: datetime) -> tuple[list[Any], str]:
    """One page of orders by deadline, those without one last, and the key of the next (or "")."""
    rows = silent_orders(now) if name == SILENT else due_orders(now, name=name)
    if after:
        moment, pk = decode_key(after, 2)
        at = parse_moment(str(moment))
        nothing = Q(deadline_at__isnull=True)
        if at == _NEVER:
            rows = rows.filter(nothing, pk__gt=pk)
        else:
            behind = Q(deadline_at__gt=at) | Q(deadline_at=at, pk__gt=pk)
            rows = rows.filter(behind | nothing if name == SILENT else behind)
    if name == SILENT:
        rows = rows.order_by(F("deadline_at").asc(nulls_last=True), "pk")
    else:
        rows = rows.order_by("deadline_at", "pk")
    keys = list(rows.values_list("deadline_at", "pk")[: PAGE_SIZE + 1])
    page = keys[:PAGE_SIZE]
    following = encode_key([page[-1][0] or _NEVER, page[-1][1]]) if len(keys) > PAGE_SIZE else ""
    orders = load_rows([pk for _deadline, pk in page], at=now, is_now=True)
    rules = list_ship_rules()
    dwell = {node.code: node.dwell_minutes for node in list_nodes()}
    for order in orders:
        found = find_deadline(order, rules)
        order.basis = _say_basis(found.basis, found.occasion)
        order.expected_minutes = dwell.get(order.node)
        order.refund_label = _(REFUND_LABELS[order.refund_state]) if order.refund_state else ""
    return orders, following


def _say_basis(basis: Basis | None, occasion: str) -> str:
    if basis is None:
        return ""
    return _("活动「%(name)s」") % {"name": occasion} if occasion else _(BASIS_LABELS[basis])


urlpatterns = [path("deadlines/", deadline_list, name="deadline_list")]
