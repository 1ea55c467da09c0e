"""Reconciliation: orders that left one point and have not come to another, and why."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import path, reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET

from config.errors import BadInput, gettext_noop
from config.tenancy.roles import IMPORT_FILES, MANAGE_CONNECTORS, VIEW_ORDERS, check_right
from config.wording import join_words, say_error
from connectors.orders.models import Order
from connectors.orders.services import list_nodes
from connectors.orders.statuses import STAGE_LABELS
from connectors.shops.models import Channel, Shop
from frontend.context import find_url
from frontend.downloads import Cell, answer_table
from frontend.pages.orders import Chip, decode_key, encode_key, load_rows, parse_moment
from frontend.wording import describe_count, describe_duration, describe_exact
from workflows.causes import UNKNOWN_CAUSE
from workflows.reconciliation import (
    AGES,
    DEFAULT_END,
    DEFAULT_START,
    EXCUSES,
    IN_TIME,
    MISSING,
    Gap,
    GapFigures,
    GapRow,
    Point,
    age_class,
    list_early,
    list_left,
    list_points,
    measure_gap,
    open_gap,
    read_gap,
)

PAGE_SIZE = 50
MAX_CSV, MAX_WORKBOOK = 100_000, 20_000
_CHUNK = 2000
_MAX_MINUTES = 60 * 24 * 90
NO_CAUSE = "-"  # how an address says "without a cause"
LEFT, ARRIVED, EXCUSED = "left", "arrived", "excused"
_STATES = (MISSING, IN_TIME, EXCUSED, LEFT, ARRIVED)
_SORTS = {
    "since": gettext_lazy("等得最久"),
    "fen": gettext_lazy("金额最大"),
    "due": gettext_lazy("期限最近"),
}
_NO_DUE = 9e12
# Patience one may choose, in minutes, beside the node table's own.
_PATIENCE = (0, 15, 30, 60, 180, 360, 720, 1440, 2880)
EXCUSE_LABELS: dict[str, Any] = {
    "unpaid": gettext_lazy("还没付款"),
    "presale": gettext_lazy("预售等尾款"),
    "group": gettext_lazy("等成团"),
    "refund": gettext_lazy("退款中或已退款"),
}
# Pairs people ask for, one click each.
_PRESETS = (
    ("paid", "wms"),
    ("paid", "oms"),
    ("oms", "wms"),
    ("wms", "shipped"),
    ("placed", "paid"),
)


@dataclass(frozen=True)
class GapQuestion:
    """What an address asks for."""

    start: str
    end: str
    minutes: int | None
    at: datetime
    is_now: bool
    known: datetime | None
    state: str
    cause: str
    shop: str
    channel: str
    age: int | None
    excuse: str
    sort: str
    after: str
    parameters: dict[str, str] = field(default_factory=dict)

    def url(self, *without: str, name: str = "gap_list", **changes: Any) -> str:
        """The same question with some conditions changed or dropped, from its first page."""
        parameters = {
            k: v for k, v in self.parameters.items() if k not in without and k != "after"
        } | {k: str(v) for k, v in changes.items()}
        base = reverse(name)
        return f"{base}?{urlencode(parameters)}" if parameters else base

    def pinned(self, gap: Gap) -> GapQuestion:
        """The question as of the moment it was answered, so that its links count the same."""
        fixed = {"as_of": gap.at.isoformat()}
        if gap.until is not None:
            fixed["known"] = gap.until.isoformat()
        return GapQuestion(**(vars(self) | {"parameters": self.parameters | fixed}))


def read_question(parameters: dict[str, str], *, now: datetime) -> GapQuestion:
    """Read the conditions of an address; unknown names are ignored, unreadable moments refused."""
    wanted = {k: v.strip() for k, v in parameters.items() if v.strip()}
    within, age = wanted.get("within", ""), wanted.get("age", "")
    is_now = "as_of" not in wanted
    state, sort, excuse = (wanted.get(key, "") for key in ("state", "sort", "excuse"))
    return GapQuestion(
        start=wanted.get("from", DEFAULT_START),
        end=wanted.get("to", DEFAULT_END),
        minutes=min(int(within), _MAX_MINUTES) if _is_number(within) else None,
        at=now if is_now else min(parse_moment(wanted["as_of"]), now),
        is_now=is_now,
        known=parse_moment(wanted["known"]) if "known" in wanted else None,
        state=state if state in _STATES else MISSING,
        cause=wanted.get("cause", ""),
        shop=wanted.get("shop", ""),
        channel=wanted.get("channel", ""),
        age=int(age) if _is_number(age) and int(age) < len(AGES) else None,
        excuse=excuse if excuse in EXCUSES else "",
        sort=sort if sort in _SORTS else "since",
        after=wanted.get("after", ""),
        parameters=wanted,
    )


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 7


def ask(question: GapQuestion) -> Gap:
    """The gap a question means; raises BadInput for points that do not go together."""
    return open_gap(
        question.start,
        question.end,
        at=question.at,
        allowed=None if question.minutes is None else timedelta(minutes=question.minutes),
        known=question.known,
        is_now=question.is_now,
    )


def choose_rows(
    question: GapQuestion, gap: Gap, rows: list[GapRow], shops: dict[int, Shop]
) -> list[GapRow]:
    """The rows a question is about, in its order."""
    q = question
    kinds = {q.state} if q.state != EXCUSED else {q.excuse} if q.excuse else set(EXCUSES)
    cause = "" if q.cause == NO_CAUSE else q.cause
    wanted = {
        pk
        for pk, shop in shops.items()
        if q.shop in ("", shop.public_id) and q.channel in ("", shop.channel)
    }
    found = [
        row
        for row in rows
        if row.kind in kinds
        and row.shop_id in wanted
        and (not q.cause or row.cause == cause)
        and (q.age is None or age_class(gap, row) == q.age)
    ]
    return sorted(found, key=_KEYS[q.sort])


# What the rows are sorted by: a number, then the order, so that no two are alike.
_KEYS: dict[str, Callable[[GapRow], tuple[float, int]]] = {
    "since": lambda row: (row.since, row.order_id),
    "fen": lambda row: (-row.fen, row.order_id),
    "due": lambda row: (_NO_DUE if row.due is None else row.due, row.order_id),
}


def _page_of(question: GapQuestion, found: list[GapRow]) -> tuple[list[GapRow], str]:
    """One page of sorted rows, and the key of the next page (or "")."""
    start, key = 0, _KEYS[question.sort]
    if question.after:
        start = bisect_right(found, tuple(decode_key(question.after, 2)), key=key)
    page = found[start : start + PAGE_SIZE]
    more = len(found) > start + PAGE_SIZE
    return page, encode_key(list(key(page[-1]))) if more else ""


def _page_of_left(
    question: GapQuestion, gap: Gap, rows: list[GapRow]
) -> tuple[list[tuple[datetime, int]], str]:
    """One page of the orders that left the start (and arrived): (moment, order id), latest first.

    `rows` are those of the gap: some of them left the start without a passage that says so.
    """
    is_whole = question.state == LEFT
    passed = list_left(gap, only_arrived=not is_whole)
    early = [(row.left_at, row.order_id) for row in list_early(gap, rows)] if is_whole else []
    if question.after:
        moment, last = decode_key(question.after, 2)
        at, pk = parse_moment(str(moment)), int(last)
        # The range alone leads the database to its place; the pair says where in one moment.
        passed = passed.filter(passed_at__lte=at).exclude(passed_at=at, order_id__gte=pk)
        early = [key for key in early if key < (at, pk)]
    found = sorted([*passed[: PAGE_SIZE + 1], *early], reverse=True)
    page = found[:PAGE_SIZE]
    return page, encode_key(list(page[-1])) if len(found) > PAGE_SIZE else ""


# --- words ------------------------------------------------------------------------------------


def _name_start(point: Point) -> str:
    return _("离开「%(node)s」") % {"node": _(point.label)} if point.is_node else _(point.label)


def _name_end(point: Point) -> str:
    return _("进入「%(node)s」") % {"node": _(point.label)} if point.is_node else _(point.label)


def describe_age(number: int) -> str:
    """One class of AGES in words."""
    low = describe_duration(timedelta(hours=AGES[number]))
    if number == 0:
        return _("%(high)s以内") % {"high": describe_duration(timedelta(hours=AGES[1]))}
    if number + 1 == len(AGES):
        return _("%(low)s以上") % {"low": low}
    return _("%(low)s–%(high)s 小时") % {"low": AGES[number], "high": AGES[number + 1]}


def _list_patience(question: GapQuestion) -> list[tuple[str, str, bool]]:
    """The choices of the allowed time: value, words, chosen."""
    minutes = sorted({*_PATIENCE, *([question.minutes] if question.minutes is not None else [])})
    words = {m: describe_duration(timedelta(minutes=m)) for m in minutes} | {0: _("不等，一个不漏")}
    rows = [("", _("按节点表的预期停留"), question.minutes is None)]
    return rows + [(str(m), words[m], m == question.minutes) for m in minutes]


def _list_chips(question: GapQuestion, shops: dict[int, Shop]) -> list[Chip]:
    """The conditions of the list, each removable."""
    q, chips = question, []
    if q.cause:
        cause = _(UNKNOWN_CAUSE) if q.cause == NO_CAUSE else q.cause
        chips.append(Chip(_("原因：%(cause)s") % {"cause": cause}, q.url("cause")))
    if q.channel:
        label = str(Channel(q.channel).label) if q.channel in Channel.values else q.channel
        chips.append(Chip(label, q.url("channel")))
    if q.shop:
        name = next((str(s) for s in shops.values() if s.public_id == q.shop), q.shop)
        chips.append(Chip(name, q.url("shop")))
    if q.age is not None:
        chips.append(Chip(_("等了%(age)s") % {"age": describe_age(q.age)}, q.url("age")))
    if q.excuse:
        chips.append(Chip(str(EXCUSE_LABELS[q.excuse]), q.url("excuse")))
    if not q.is_now:
        chips.append(Chip(_("截至 %(at)s") % {"at": describe_exact(q.at)}, q.url("as_of", "known")))
    return chips


def _list_presets(question: GapQuestion, points: dict[str, Point]) -> list[tuple[str, str, bool]]:
    here = (question.start, question.end)
    base = reverse("gap_list")
    return [
        (
            f"{_(points[a].label)} → {_(points[b].label)}",
            f"{base}?{urlencode({'from': a, 'to': b})}",
            (a, b) == here,
        )
        for a, b in _PRESETS
    ]


# --- the page ---------------------------------------------------------------------------------


@login_required
@require_GET
def gap_list(request: Any) -> HttpResponse:
    """The gap in numbers and its orders, as of one moment (a fixed number of queries)."""
    check_right(request.rights, VIEW_ORDERS)
    question = read_question(request.GET.dict(), now=timezone.now())
    points = list_points(list_nodes())
    known = {point.code: point for point in points}
    context: dict[str, Any] = {
        "question": question,
        "now": question.at,
        "points": [(p, p.code == question.start, p.code == question.end) for p in points],
        "patience": _list_patience(question),
        "presets": _list_presets(question, known),
        "now_url": question.url("as_of", "known"),
    }
    try:
        gap = ask(question)
    except BadInput as error:
        if error.code != "bad_pair":
            raise
        swapped = {"from": question.end, "to": question.start}
        context |= {"problem": say_error(error), "swap_url": question.url(**swapped)}
        return render(request, "gaps/list.html", context, status=400)
    context |= {
        "gap": gap,
        "start": _name_start(gap.start),
        "end": _name_end(gap.end),
        "between": [n for n in gap.nodes if n.code in gap.codes],
    }
    if gap.is_adjacent:
        after = next((p for p in points if p.is_node and p.before == gap.end.before + 1), None)
        context["wider"] = after
        context["wider_url"] = question.url(to=after.code) if after else ""
    elif not gap.is_connected:
        context |= {
            "connect_url": find_url("connection_list")
            if MANAGE_CONNECTORS in request.rights
            else None,
            "files_url": find_url("file_list") if IMPORT_FILES in request.rights else None,
        }
    else:
        context |= _show(question.pinned(gap), gap)
    return render(request, "gaps/list.html", context)


def _show(q: GapQuestion, gap: Gap) -> dict[str, Any]:
    """Figures, parts and one page of the list."""
    rows = read_gap(gap)
    figures = measure_gap(gap, rows)
    shops = {shop.pk: shop for shop in Shop.objects.order_by("channel", "name")}
    if q.state in (LEFT, ARRIVED):
        pairs, following = _page_of_left(q, gap, rows)
        count = figures.left if q.state == LEFT else figures.arrived
        since = {pk: moment for moment, pk in pairs}
        causes: dict[int, str] = {}
    else:
        found = choose_rows(q, gap, rows, shops)
        page, following = _page_of(q, found)
        count = len(found)
        since = {row.order_id: row.left_at for row in page}
        causes = {row.order_id: row.cause for row in page if row.kind == MISSING}
    orders = load_rows(list(since), at=gap.at)
    for order in orders:
        order.since = since[order.pk]
        if order.pk in causes:
            order.gap_cause = causes[order.pk] or _(UNKNOWN_CAUSE)
    is_gap = q.state not in (LEFT, ARRIVED)
    return {
        "question": q,
        "figures": figures,
        "tiles": _list_tiles(q, gap, figures),
        "late_names": join_words(gap.late_sources),
        "causes": _list_causes(q, figures),
        "shops": _list_shops(q, figures, shops),
        "ages": _list_ages(q, figures),
        "excuses": _list_excuses(q, figures),
        "orders": orders,
        "count": count,
        "chips": _list_chips(q, shops),
        "clear_url": q.url("cause", "shop", "channel", "age", "excuse", "state"),
        "next_url": q.url(after=following) if following else "",
        "first_url": q.url() if q.after else "",
        "sorts": [(str(label), q.url(sort=key), key == q.sort) for key, label in _SORTS.items()]
        if is_gap
        else [],
        "csv_url": q.url(name="gap_export", format="csv") if is_gap and count else "",
        "xlsx_url": q.url(name="gap_export", format="xlsx") if is_gap and count else "",
        "shows_oldest": is_gap,
    }


def _list_tiles(q: GapQuestion, gap: Gap, f: GapFigures) -> list[dict[str, Any]]:
    """The sum, from left to right: left − arrived − in time − excused = missing."""
    missing = _("可能未到齐") if gap.is_late else _("缺失")
    rows = (
        (LEFT, _name_start(gap.start), f.left, _("近 30 天")),
        (ARRIVED, _name_end(gap.end), f.arrived, _("或已结束")),
        (IN_TIME, _("允许时间内"), f.in_time, _("还不算缺")),
        (EXCUSED, _("暂不必到"), f.excused, _("付款、成团、退款未定")),
        (MISSING, missing, f.missing, ""),
    )
    return [
        {
            "state": state,
            "label": label,
            "count": count,
            "note": note,
            "sign": "" if state == LEFT else "=" if state == MISSING else "−",
            "url": q.url("cause", "shop", "channel", "age", "excuse", "sort", state=state),
            "is_current": q.state == state,
        }
        for state, label, count, note in rows
    ]


_PARTS = ("cause", "shop", "channel", "age", "excuse")


def _part_url(q: GapQuestion, **condition: Any) -> str:
    return q.url(*_PARTS, state=MISSING, **condition) + "#orders"


def _list_causes(q: GapQuestion, figures: GapFigures) -> list[dict[str, Any]]:
    """Causes, the unexplained last."""
    rows = [
        {
            "label": share.key or _(UNKNOWN_CAUSE),
            "is_known": bool(share.key),
            "share": share,
            "url": _part_url(q, cause=share.key or NO_CAUSE),
        }
        for share in figures.causes
    ]
    return sorted(rows, key=lambda row: not row["is_known"])


def _list_shops(
    q: GapQuestion, figures: GapFigures, shops: dict[int, Shop]
) -> list[dict[str, Any]]:
    """Channels with their shops, most orders first."""
    channels: dict[str, dict[str, Any]] = {}
    for share in figures.shops:
        shop = shops[share.key]
        channel = channels.setdefault(
            shop.channel,
            {
                "label": str(Channel(shop.channel).label),
                "count": 0,
                "fen": 0,
                "url": _part_url(q, channel=shop.channel),
                "shops": [],
            },
        )
        channel["count"] += share.count
        channel["fen"] += share.fen
        channel["shops"].append(
            {"name": shop.name, "share": share, "url": _part_url(q, shop=shop.public_id)}
        )
    return sorted(channels.values(), key=lambda row: -row["count"])


def _list_ages(q: GapQuestion, figures: GapFigures) -> list[dict[str, Any]]:
    most = max([*(share.count for share in figures.ages), 1])
    return [
        {
            "label": describe_age(share.key),
            "share": share,
            "most": most,
            "url": _part_url(q, age=share.key),
        }
        for share in figures.ages
    ]


def _list_excuses(q: GapQuestion, figures: GapFigures) -> list[dict[str, Any]]:
    return [
        {
            "label": str(EXCUSE_LABELS[share.key]),
            "count": share.count,
            "url": q.url(*_PARTS, state=EXCUSED, excuse=share.key) + "#orders",
        }
        for share in figures.excuses
    ]


# --- taking it away ---------------------------------------------------------------------------


@login_required
@require_GET
def gap_export(request: Any) -> HttpResponse:
    """The whole list as CSV or workbook; it names orders and sums, nobody's name or address."""
    check_right(request.rights, VIEW_ORDERS)
    question = read_question(request.GET.dict(), now=timezone.now())
    gap = ask(question)
    is_workbook = request.GET.get("format") == "xlsx"
    if question.state in (LEFT, ARRIVED):
        raise BadInput(gettext_noop("只有缺口里的订单可以导出，请先点「缺失」"))
    shops = {shop.pk: shop for shop in Shop.objects.all()}
    found = choose_rows(question, gap, read_gap(gap), shops)
    limit = MAX_WORKBOOK if is_workbook else MAX_CSV
    if len(found) > limit:
        raise BadInput(
            gettext_noop("一次最多导出 %(limit)s 单，这里有 %(count)s 单；请先按店铺或原因筛选"),
            limit=describe_count(limit),
            count=describe_count(len(found)),
        )
    head = [
        _("订单号"), _("渠道"), _("店铺"), _("平台阶段"), _("停在"), _("结论"), _("原因"),
        _("%(start)s的时间") % {"start": _name_start(gap.start)}, _("已等（小时）"), _("金额（元）"),
        _("最晚处理时间"), _("截至"),
    ]  # fmt: skip
    name = f"{_(gap.start.label)}-{_(gap.end.label)}-{timezone.localtime(gap.at):%Y%m%d-%H%M}"
    return answer_table(head, _list_cells(gap, found, shops), name=name, is_workbook=is_workbook)


def _list_cells(gap: Gap, found: list[GapRow], shops: dict[int, Shop]) -> Iterator[list[Cell]]:
    labels = {n.code: _(n.label) for n in gap.nodes}
    at = describe_exact(gap.at)
    verdicts = {MISSING: _("可能未到齐") if gap.is_late else _("缺失"), IN_TIME: _("允许时间内")}
    for begin in range(0, len(found), _CHUNK):
        part = found[begin : begin + _CHUNK]
        orders = {
            pk: rest
            for pk, *rest in Order.objects.filter(pk__in=[r.order_id for r in part]).values_list(
                "pk", "order_no", "stage", "deadline_at"
            )
        }
        for row in part:
            number, stage, deadline = orders[row.order_id]
            shop = shops[row.shop_id]
            is_missing = row.kind == MISSING
            yield [
                number,
                str(Channel(shop.channel).label),
                shop.name,
                _(STAGE_LABELS.get(stage, stage)),
                labels[row.node],
                verdicts.get(row.kind) or str(EXCUSE_LABELS[row.kind]),
                (row.cause or _(UNKNOWN_CAUSE)) if is_missing else "",
                describe_exact(row.left_at),
                round((gap.at - row.left_at) / timedelta(hours=1), 1),
                row.fen / 100,
                describe_exact(deadline) if deadline else "",
                at,
            ]


urlpatterns = [
    path("gaps/", gap_list, name="gap_list"),
    path("gaps/export/", gap_export, name="gap_export"),
]
