"""The home page: is the river flowing, where not, what to do about it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import path, reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from config.tenancy.roles import VIEW_BOARD, VIEW_ROLLUP, check_right
from connectors.orders.status_mappings import list_unmapped
from frontend.context import find_url, get_freshness
from frontend.drawings import draw_day, draw_river, place_on_day
from frontend.pages.gaps import describe_age
from frontend.wording import describe_count
from workflows.rollup.models import BoardSnapshot
from workflows.rollup.selection import NO_CAUSE
from workflows.rollup.services import get_newest_snapshot

# A node is called silted when it holds at least this share of the river's overdue waiting.
SILTED_SHARE = 0.1


@login_required
def home(request: Any) -> HttpResponse:
    """The board of the environment in force, from its newest snapshot.

    htmx asks with `since`: 204 while nothing newer was counted, else the board alone.
    """
    if request.environment is None:
        if VIEW_ROLLUP in request.rights:
            return redirect("rollup")
        return render(request, "home/no_environment.html", status=403)
    check_right(request.rights, VIEW_BOARD)
    snapshot = get_newest_snapshot()
    since = request.GET.get("since", "")
    if request.htmx and (snapshot is None or snapshot.at.isoformat() == since):
        return HttpResponse(status=204)
    if snapshot is None or not snapshot.figures["totals"]["received"]:
        return render(request, "home/empty.html", {"files_url": find_url("file_list")})
    context = build_board(snapshot, now=timezone.now())
    context["unmapped"] = list_unmapped()
    if request.htmx:
        context["freshness"] = get_freshness(timezone.now())
        return render(request, "home/update.html", context)
    return render(request, "home/home.html", context)


class Links:
    """Addresses of the lists behind the figures, all as of one moment."""

    def __init__(self, at: datetime) -> None:
        self._at = at.isoformat()
        self._base = reverse("order_list")

    def to(self, **conditions: Any) -> str:
        """The list of the orders a figure counts."""
        return f"{self._base}?{urlencode(conditions | {'as_of': self._at})}"


def build_board(snapshot: BoardSnapshot, *, now: datetime) -> dict[str, Any]:
    """Everything the board's template shows."""
    f, at = snapshot.figures, snapshot.at
    links = Links(at)
    total = f["totals"]["open"]
    needs = f["needs"]
    return {
        "snapshot": snapshot,
        "at": at,
        "now": now,
        "figures": f,
        "share": f"{needs['count'] / total * 100:.1f}" if total else None,
        "bands": {
            code: row | {"url": links.to(band=code), "deadline": _moment(row["deadline"])}
            for code, row in f["bands"].items()
        },
        "band_order": ("red", "orange", "yellow"),
        "needs_url": links.to(needs=1),
        "unscored_url": links.to(unscored=1),
        "held_url": links.to(held=1),
        "late_scan_url": links.to(late_scan=1),
        "causes": [
            row
            | {
                "url": links.to(cause=row["cause"] or NO_CAUSE),
                "deadline": _moment(row["deadline"]),
            }
            for row in f["causes"]
        ],
        "river": _build_river(f["nodes"], at, links),
        "day": _build_day(f, at, links),
        "sources": [_with_lag(row, at) for row in f["sources"]],
        "gap": _build_gap(f["gap"], at),
        "urgent": _build_urgent(f),
    }


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _with_lag(row: dict[str, Any], at: datetime) -> dict[str, Any]:
    until = datetime.fromisoformat(row["until"])
    return row | {"until": until, "behind": at - until}


def _build_river(nodes: list[dict[str, Any]], at: datetime, links: Links) -> dict[str, Any]:
    drawing = draw_river([n["entered"] for n in nodes], [n["silt_hours"] for n in nodes])
    all_silt = sum(n["silt_hours"] for n in nodes)
    most_flow, most_silt = (max([*(n[k] for n in nodes), 1]) for k in ("entered", "silt_hours"))
    rows = []
    for node, place in zip(nodes, drawing.places, strict=True):
        oldest = _moment(node["oldest"])
        rows.append(
            node
            | {
                "place": place,
                "label": _(node["label"]),
                "flow_share": f"{node['entered'] / most_flow * 100:.1f}",
                "silt_share": f"{node['silt_hours'] / most_silt * 100:.1f}",
                "age": at - oldest if oldest else None,
                "oldest": oldest,
                "is_silted": bool(all_silt) and node["silt_hours"] >= SILTED_SHARE * all_silt,
                "url": links.to(node=node["code"]),
                "overdue_url": links.to(overdue=node["code"]),
                "entered_url": links.to(entered=node["code"]),
                "left_url": links.to(left=node["code"]),
            }
        )
    worst = max(rows, key=lambda r: r["silt_hours"])
    summary = (
        _("十二个节点的订单流；淤积最重的是%(node)s，超时 %(n)s 单")
        % {"node": worst["label"], "n": describe_count(worst["overdue"])}
        if worst["silt_hours"]
        else _("十二个节点的订单流；没有节点超过预期停留")
    )
    return {"drawing": drawing, "nodes": rows, "summary": summary, "worst": worst}


def _build_day(f: dict[str, Any], at: datetime, links: Links) -> dict[str, Any]:
    hours = [row | {"hour": datetime.fromisoformat(row["hour"])} for row in f["hours"]]
    start, span = hours[0]["hour"], timedelta(hours=len(hours) - 1)
    for row in hours:
        row["stuck_url"] = links.to(stuck_in=row["hour"].isoformat())
        row["mended_url"] = links.to(mended_in=row["hour"].isoformat())
    stuck, mended = (sum(row[k] for row in hours) for k in ("stuck", "mended"))
    return {
        "drawing": draw_day([r["stuck"] for r in hours], [r["mended"] for r in hours]),
        "hours": hours,
        "most_stuck": max(r["stuck"] for r in hours),
        "most_mended": max(r["mended"] for r in hours),
        "stuck": stuck,
        "mended": mended,
        "last": hours[-1],
        "last_net": abs(hours[-1]["stuck"] - hours[-1]["mended"]),
        "events": [
            {
                "x": place_on_day((datetime.fromisoformat(e["at"]) - start) / span),
                "at": datetime.fromisoformat(e["at"]),
                "label": e["label"],
            }
            for e in f["events"]
        ],
    }


def _build_gap(gap: dict[str, Any] | None, at: datetime) -> dict[str, Any] | None:
    if gap is None:
        return None
    pinned = {"as_of": at.isoformat()}
    if "until" in gap:  # figures of an older installation have no such word
        pinned["known"] = gap["until"]
    base = reverse("gap_list")

    def to(**conditions: Any) -> str:
        return f"{base}?{urlencode(conditions | pinned)}#orders"

    most = max([*gap["ages"], 1])
    ages = [
        {"label": describe_age(number), "count": count, "most": most, "url": to(age=number)}
        for number, count in enumerate(gap["ages"])
    ]
    return gap | {
        "url": to(),
        "rest_url": to(state="excused"),
        "in_time_url": to(state="in_time"),
        "page_url": base,
        "ages": ages,
        "until": _moment(gap.get("until")),
    }


def _build_urgent(f: dict[str, Any]) -> list[dict[str, Any]]:
    labels = {n["code"]: n["label"] for n in f["nodes"]}
    return [
        row
        | {
            "url": reverse("order_detail", args=[row["public_id"]]),
            "deadline": _moment(row["deadline"]),
            "node_label": _(labels[row["node"]]) if row["node"] in labels else "",
        }
        for row in f["urgent"]
    ]


urlpatterns = [path("", home, name="home")]
