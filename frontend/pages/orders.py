"""The order list: filters as chips, search, keyset pages, always as of one moment."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django.contrib.auth.decorators import login_required
from django.db import connection
from django.db.models import F, Q
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import path, reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from config.errors import BadInput, gettext_noop
from config.tenancy.roles import IMPORT_FILES, VIEW_ORDERS, check_right
from config.wording import join_words
from connectors.orders.querysets import OrderQuerySet
from connectors.orders.services import list_nodes
from connectors.orders.statuses import STAGE_LABELS
from connectors.shops.models import Channel, Shop
from frontend.context import find_url
from frontend.pages import order
from frontend.wording import describe_band, describe_exact
from rules_engine.scoring.bands import SEVERITY
from rules_engine.scoring.models import Score
from workflows.rollup.selection import (
    GAP_AGES,
    NO_CAUSE,
    Selection,
    holds_at,
    orders_at,
    passages_at,
    select_orders,
    sort_by_urgency,
)
from workflows.rollup.services import amount_of, get_newest_snapshot, reason_of

PAGE_SIZE = 50
_FLAGS: dict[str, tuple[str, Any]] = {
    "needs": ("needs", gettext_lazy("待干预")),
    "held": ("is_held", gettext_lazy("已挂起")),
    "silent": ("is_silent", gettext_lazy("沉默")),
    "unscored": ("is_unscored", gettext_lazy("等待首次评分")),
    "late_scan": ("late_scan", gettext_lazy("首扫超过 5 分钟")),
    "closed": ("with_closed", gettext_lazy("含已结束")),
}
_TEXTS = ("cause", "node", "overdue", "entered", "left", "channel", "shop", "stage", "failed")
_HOURS = ("stuck_in", "mended_in")


@dataclass(frozen=True)
class Question:
    """What an address asks for: a selection, a moment, an order of rows, a place to go on from."""

    selection: Selection
    at: datetime
    is_now: bool
    sort: str
    after: str
    parameters: dict[str, str]

    def url(self, *without: str, **changes: Any) -> str:
        """The same list with some conditions changed or dropped, from its first page."""
        parameters = {
            k: v for k, v in self.parameters.items() if k not in without and k != "after"
        } | {k: str(v) for k, v in changes.items()}
        base = reverse("order_list")
        return f"{base}?{urlencode(parameters)}" if parameters else base


def parse_moment(text: str) -> datetime:
    try:
        # An unescaped "+08:00" arrives as a blank.
        moment = datetime.fromisoformat(text.replace(" ", "+"))
    except ValueError as error:
        raise BadInput(
            gettext_noop("地址中的时间「%(text)s」看不懂，请从总览重新点进来"), text=text[:40]
        ) from error
    if moment.tzinfo is None or not 2000 <= moment.year <= 2999:
        raise BadInput(gettext_noop("地址中的时间缺少时区，请从总览重新点进来"))
    return moment


def read_question(parameters: dict[str, str], *, now: datetime) -> Question:
    """Read the conditions of an address; unknown names are ignored, unreadable values refused."""
    wanted = {k: v.strip() for k, v in parameters.items() if v.strip()}
    fields: dict[str, Any] = {name: wanted[name] for name in _TEXTS if name in wanted}
    fields["band"] = tuple(b for b in wanted.get("band", "").split(",") if b in SEVERITY)
    fields |= {name: True for key, (name, _label) in _FLAGS.items() if wanted.get(key) == "1"}
    fields |= {name: parse_moment(wanted[name]) for name in _HOURS if name in wanted}
    if wanted.get("gap") == "wms":
        fields["gap"] = "wms"
        age = wanted.get("age", "")
        if age.isdigit() and int(age) < len(GAP_AGES):
            fields["age"] = int(age)
    fields["words"] = "".join(wanted.get("q", "").split())
    selection = Selection(**fields)
    is_now = "as_of" not in wanted
    at = now if is_now else min(parse_moment(wanted["as_of"]), now)
    sort = wanted.get("sort", "")
    if not selection.is_about_health or sort not in {"time", "urgency"}:
        sort = "urgency" if selection.is_about_health else "time"
    return Question(selection, at, is_now, sort, wanted.get("after", ""), wanted)


# --- chips and menus ------------------------------------------------------------------------


@dataclass(frozen=True)
class Chip:
    """One condition in words, and the list without it."""

    text: str
    url: str


def list_chips(question: Question, *, names: dict[str, dict[str, str]]) -> list[Chip]:
    """The conditions in force, each removable."""
    s = question.selection
    chips = []

    def add(text: str, *without: str) -> None:
        chips.append(Chip(text, question.url(*without)))

    if s.words:
        add(_("搜索：%(words)s") % {"words": s.words}, "q")
    if s.band:
        add(join_words(describe_band(b) for b in s.band), "band")
    if s.cause:
        cause = _("沉默，没有新消息") if s.cause == NO_CAUSE else s.cause
        add(_("原因：%(cause)s") % {"cause": cause}, "cause")
    for key, template in _NODE_CHIPS.items():
        if code := getattr(s, key):
            add(template % {"node": names["node"].get(code, code)}, key)
    for key in ("channel", "shop", "stage"):
        if code := getattr(s, key):
            add(names[key].get(code, code), key)
    if s.failed:
        add(_("不通过：%(name)s") % {"name": names["failed"].get(s.failed, s.failed)}, "failed")
    if s.gap:
        add(_("已付款未到 WMS"), "gap", "age")
    if s.age is not None:
        hours = GAP_AGES[s.age : s.age + 2]
        text = (
            _("付款 %(low)s–%(high)s 小时") % {"low": hours[0], "high": hours[1]}
            if len(hours) == 2
            else _("付款超过 %(low)s 小时") % {"low": hours[0]}
        )
        add(text, "age")
    for key, template in _HOUR_CHIPS.items():
        if hour := getattr(s, key):
            add(template % {"hour": f"{timezone.localtime(hour):%m-%d %H:%M}"}, key)
    for key, (name, label) in _FLAGS.items():
        if getattr(s, name):
            add(str(label), key)
    if not question.is_now:
        add(_("截至 %(at)s") % {"at": describe_exact(question.at)}, "as_of")
    return chips


_NODE_CHIPS: dict[str, Any] = {
    "node": gettext_lazy("停在%(node)s"),
    "overdue": gettext_lazy("在%(node)s超过预期停留"),
    "entered": gettext_lazy("近一小时进入%(node)s"),
    "left": gettext_lazy("近一小时离开%(node)s"),
}
_HOUR_CHIPS: dict[str, Any] = {
    "stuck_in": gettext_lazy("%(hour)s 起一小时内卡住"),
    "mended_in": gettext_lazy("%(hour)s 起一小时内修复"),
}


@dataclass(frozen=True)
class Menu:
    """A filter to choose from; `key` is its parameter."""

    key: str
    label: str
    choices: list[tuple[str, str, bool]]  # words, address, chosen


def list_menus(
    question: Question, *, names: dict[str, dict[str, str]], causes: list[str]
) -> list[Menu]:
    """The filters one may add, each with its choices."""
    wanted = question.parameters

    def menu(key: str, label: str, choices: dict[str, str]) -> Menu:
        rows = [
            (
                words,
                question.url(key) if wanted.get(key) == code else question.url(**{key: code}),
                wanted.get(key) == code,
            )
            for code, words in choices.items()
        ]
        return Menu(key, label, rows)

    bands = {code: describe_band(code) for code in reversed(SEVERITY)}
    flags = {key: str(label) for key, (_name, label) in _FLAGS.items()}
    more = [
        (
            label,
            question.url(key) if wanted.get(key) == "1" else question.url(**{key: 1}),
            wanted.get(key) == "1",
        )
        for key, label in flags.items()
    ]
    more.append(
        (
            _("已付款未到 WMS"),
            question.url("gap", "age") if wanted.get("gap") else question.url(gap="wms"),
            bool(wanted.get("gap")),
        )
    )
    menus = [
        menu("band", _("级别"), bands),
        menu("cause", _("原因"), {cause: cause for cause in causes}),
        menu("node", _("节点"), names["node"]),
        menu("channel", _("渠道"), names["channel"]),
        menu("shop", _("店铺"), names["shop"]),
        menu("stage", _("阶段"), names["stage"]),
    ]
    return [m for m in menus if m.choices] + [Menu("more", _("更多条件"), more)]


def _list_names(snapshot: Any) -> tuple[dict[str, dict[str, str]], list[str]]:
    shops = list(Shop.objects.order_by("channel", "name"))
    used = {shop.channel for shop in shops}
    names = {
        "node": {n.code: _(n.label) for n in list_nodes()},
        "channel": {c.value: str(c.label) for c in Channel if c.value in used},
        "shop": {shop.public_id: str(shop) for shop in shops},
        "stage": {code: _(label) for code, label in STAGE_LABELS.items()},
        "failed": {},
    }
    causes = [c["cause"] for c in snapshot.figures["causes"] if c["cause"]] if snapshot else []
    return names, causes


# --- rows -------------------------------------------------------------------------------------


def encode_key(key: list[Any]) -> str:
    """A place in a list as one word of an address."""
    text = json.dumps([k.isoformat() if isinstance(k, datetime) else k for k in key])
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode_key(text: str, length: int) -> list[Any]:
    """The place again; raises BadInput for anything else. The last part is always an id."""
    try:
        key = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        if not isinstance(key, list) or len(key) != length or not isinstance(key[-1], int):
            raise ValueError
    except ValueError as error:
        raise BadInput(gettext_noop("这一页的地址不完整，请从第一页重新翻")) from error
    return key


def _after_time(rows: OrderQuerySet, after: str) -> OrderQuerySet:
    """Rows behind a key of (placed_at, id), newest first, whichever way nulls sort."""
    rows = rows.order_by("-placed_at", "-id")
    if not after:
        return rows
    placed, pk = decode_key(after, 2)
    nulls_first = connection.vendor == "postgresql"
    if placed is None:
        rest = Q(placed_at__isnull=True, id__lt=pk)
        return rows.filter(rest | Q(placed_at__isnull=False) if nulls_first else rest)
    moment = parse_moment(placed)
    rest = Q(placed_at__lt=moment) | Q(placed_at=moment, id__lt=pk)
    return rows.filter(rest if nulls_first else rest | Q(placed_at__isnull=True))


def _after_urgency(rows: OrderQuerySet, after: str) -> OrderQuerySet:
    """Rows behind a key of (severity, due, id), most urgent first."""
    rows = sort_by_urgency(rows)
    if not after:
        return rows
    severity, due, pk = decode_key(after, 3)
    moment = parse_moment(due)
    return rows.filter(
        Q(severity__lt=severity)
        | Q(severity=severity, due__gt=moment)
        | Q(severity=severity, due=moment, id__gt=pk)
    )


def list_page(question: Question) -> tuple[list[Any], str]:
    """One page of orders with what their rows show, and the key of the next page (or "").

    First the keys, then the wide rows of this page alone: thousands that match are sorted by
    three narrow columns.
    """
    rows = select_orders(question.selection, at=question.at, is_now=question.is_now)
    by_urgency = question.sort == "urgency"
    rows = (_after_urgency if by_urgency else _after_time)(rows, question.after)
    places = ("severity", "due", "pk") if by_urgency else ("placed_at", "pk")
    keys = list(rows.values_list(*places)[: PAGE_SIZE + 1])
    following = encode_key(list(keys[PAGE_SIZE - 1])) if len(keys) > PAGE_SIZE else ""
    ids = [key[-1] for key in keys[:PAGE_SIZE]]
    return load_rows(ids, at=question.at, is_now=question.is_now), following


def load_rows(ids: list[int], *, at: datetime, is_now: bool = False) -> list[Any]:
    """Orders by id, in that order, with what a row of a list shows at a moment (six queries)."""
    wide = orders_at(at, is_now=is_now).select_related("shop")
    found = {
        row.pk: row
        for row in wide.filter(pk__in=ids).annotate(
            band_at=F("health__band"),
            cause_at=F("health__cause"),
            score_at=F("health__score_hundredths"),
        )
    }
    page = [found[pk] for pk in ids if pk in found]
    _dress(page, at)
    return page


def _dress(page: list[Any], at: datetime) -> None:
    """Put reason, node at the moment, hold and amount on the rows (three queries)."""
    scores = {s.order_id: s for s in Score.objects.filter(order__in=page)}
    held = set(holds_at(at).filter(order__in=page).values_list("order_id", flat=True))
    standing = dict(passages_at(at).filter(order__in=page).values_list("order_id", "node"))
    labels = {n.code: _(n.label) for n in list_nodes()}
    for row in page:
        score = scores.get(row.pk)
        is_current = score is not None and (score.band, score.cause) == (row.band_at, row.cause_at)
        row.reason = reason_of(score if is_current else None, row.cause_at or "")
        if row.band_at == "healthy" and not row.cause_at:
            row.reason = ""
        row.is_held = row.pk in held
        row.node_label = labels.get(standing.get(row.pk, ""), "")
        row.amount_fen = amount_of(row)


@login_required
def order_list(request: Any) -> HttpResponse:
    """The list. A search that finds exactly one order opens it."""
    check_right(request.rights, VIEW_ORDERS)
    now = timezone.now()
    question = read_question(request.GET.dict(), now=now)
    count = select_orders(question.selection, at=question.at, is_now=question.is_now).count()
    page, following = list_page(question)
    words = question.selection.words
    if words and count == 1 and question.selection == Selection(words=words):
        return redirect("order_detail", public_id=page[0].public_id)
    names, causes = _list_names(get_newest_snapshot())
    context = {
        "question": question,
        "search_words": request.GET.get("q", ""),
        "orders": page,
        "count": count,
        "now": question.at,
        "chips": list_chips(question, names=names),
        "menus": list_menus(question, names=names, causes=causes),
        "clear_url": reverse("order_list"),
        "now_url": question.url("as_of"),
        "files_url": find_url("file_list") if IMPORT_FILES in request.rights else None,
        "next_url": question.url(after=following) if following else "",
        "first_url": question.url() if question.after else "",
        "sorts": [
            (_("按紧急"), question.url(sort="urgency"), question.sort == "urgency"),
            (_("按时间"), question.url(sort="time"), question.sort == "time"),
        ]
        if question.selection.is_about_health
        else [],
    }
    return render(request, "orders/list.html", context)


urlpatterns = [path("orders/", order_list, name="order_list"), *order.urlpatterns]
