"""The reference of functions: found by a word, read, and tried on a real order."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import path, reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from config.tenancy.roles import REVIEW_RULES, VIEW_BOARD, WRITE_RULES
from connectors.orders.models import Order
from connectors.orders.statuses import STAGE_LABELS
from frontend.pages import check_trials, function_book
from frontend.pages.check_formula import describe_formula
from frontend.pages.checks import apply_fix, page, read_text
from rules_engine.facts.services import get_names
from rules_engine.formula import Function, find_function
from rules_engine.scoring.trials import try_formula

MAX_WORDS = 60
MAX_TYPED = 20_000  # the checker refuses long before, with a word
NEWEST, SAMPLES = 200, 6  # orders looked at for samples, and samples
_KEPT = "try_order"  # in the session: environment -> order


# --- the order to try on --------------------------------------------------------------------------


def list_samples() -> list[Order]:
    """The newest order of each of a few stages (one query)."""
    newest = Order.objects.select_related("shop").order_by("-placed_at", "-pk")[:NEWEST]
    by_stage: dict[str, Order] = {}
    for order in newest:
        by_stage.setdefault(order.stage, order)
    return list(by_stage.values())[:SAMPLES]


def find_order(number: str) -> Order | None:
    """The order with this number, else the newest whose number begins with it."""
    query = Order.objects.select_related("shop").order_by("-placed_at", "-pk")
    exact = query.filter(order_no=number).first()
    return exact or query.filter(order_no__startswith=number).first()


def pick_order(request: Any) -> dict[str, Any]:
    """The order chosen here or before, what else to choose, and what was not found."""
    asked = request.POST if request.method == "POST" else request.GET
    number = "".join(str(asked.get("number", "")).split())[:60]
    kept = request.session.get(_KEPT, {})
    place = str(request.environment.pk)
    wanted = str(asked.get("order") or kept.get(place) or "")
    missing = ""
    order = find_order(number) if number else None
    if number and order is None:
        missing = _("没有找到订单 %(number)s，请核对订单号") % {"number": number}
    if order is None and wanted:
        order = Order.objects.select_related("shop").filter(public_id=wanted[:60]).first()
    samples = list_samples()
    order = order or (samples[0] if samples else None)
    if order is not None and kept.get(place) != order.public_id:
        request.session[_KEPT] = {**kept, place: order.public_id}
    if order is not None and all(s.pk != order.pk for s in samples):
        samples.insert(0, order)
    return {
        "try_order": order,
        "order_choices": [(s.public_id, _describe_order(s)) for s in samples],
        "order_missing": missing,
    }


def _describe_order(order: Order) -> str:
    stage = _(STAGE_LABELS.get(order.stage, order.stage))
    return f"{order.order_no} · {order.shop.get_channel_display()} · {stage}"


def may_try(request: Any) -> bool:
    """Whether this person may run formulas over orders: those who write or review them."""
    return bool({WRITE_RULES, REVIEW_RULES} & request.rights)


# --- the pages ------------------------------------------------------------------------------------


@page(VIEW_BOARD)
@require_GET
def function_list(request: Any) -> HttpResponse:
    """All functions by topic, or those that match a word."""
    words = str(request.GET.get("q", ""))[:MAX_WORDS]
    context = {"words": words, "may_try": may_try(request)}
    if words.strip():
        context["found"] = function_book.search(words)
    else:
        context["topics"] = function_book.list_topics()
    if request.htmx and request.htmx.target == "function-list":
        return render(request, "functions/_list.html", context)
    context |= {"total": sum(len(t.functions) for t in function_book.list_topics())}
    if may_try(request):
        context |= pick_order(request)
    return render(request, "functions/list.html", context)


def get_function(name: str) -> Function:
    """The function of this name in either language; 404 for another."""
    function = find_function(name)
    if function is None:
        raise Http404
    return function


@page(VIEW_BOARD)
@require_GET
def function_detail(request: Any, name: str) -> HttpResponse:
    """One function: a page of its own, or the part that unfolds in the list and the editor."""
    function = get_function(name)
    context = _detail_context(request, function)
    if request.htmx:
        is_help = "help" in request.GET
        part = "functions/_help.html" if is_help else "functions/_entry.html"
        return render(request, part, context)
    return render(request, "functions/detail.html", context | _page_context(request, function))


def _detail_context(request: Any, function: Function) -> dict[str, Any]:
    entry = function_book.write_entry(function)
    first = entry.examples[0]
    return {
        "entry": entry,
        "may_try": may_try(request),
        "formula": first.formula,
        "example": first.number,
        "example_now": function_book.EXAMPLE_NOW,
    }


def _page_context(request: Any, function: Function) -> dict[str, Any]:
    choice = pick_order(request) if may_try(request) else {}
    return choice | {
        "crumbs": [(_("公式手册"), reverse("function_list")), (function.zh, None)],
        "related": [
            f
            for topic in function_book.list_topics()
            if topic.key == function.topic
            for f in topic.functions
            if f is not function
        ],
    }


@page(WRITE_RULES, REVIEW_RULES)
@require_POST
def function_try(request: Any, name: str) -> HttpResponse:
    """A formula on the chosen order: its value, and that of every part."""
    function = get_function(name)
    choice = pick_order(request)
    example = _read_number(request.POST.get("example", ""), len(function.examples))
    if "show" in request.POST:  # an example's own button
        example = _read_number(request.POST["show"], len(function.examples))
        formula = function.examples[example].formula
    else:
        formula = apply_fix(
            read_text(str(request.POST.get("formula", ""))[:MAX_TYPED]),
            str(request.POST.get("fix", "")),
        )
    context = _detail_context(request, function) | choice
    context |= {"formula": formula, "example": example}
    context |= run(formula, function.examples[example].facts, choice["try_order"])
    if request.htmx:
        return render(request, "functions/_try.html", context)
    return render(request, "functions/detail.html", context | _page_context(request, function))


def _read_number(text: str, count: int) -> int:
    return int(text) if re.fullmatch(r"[0-9]{1,3}", text) and int(text) < count else 0


def run(formula: str, facts: Mapping[str, object], order: Order | None) -> dict[str, Any]:
    """The formula on an order, for the template."""
    names = get_names()
    given = function_book.give_names(formula, facts, names)
    if order is None:
        return {"no_order": True}
    found = try_formula(formula, order, names=given.names, given=given.values, now=timezone.now())
    looked = describe_formula(found.checked)
    context: dict[str, Any] = {"findings": looked.findings, "reading": looked.reading, "ran": True}
    context["needs"] = looked.needs
    if not found.parts:
        return context | {"marked": mark_places(formula, looked.findings)}
    tree = check_trials.read_trace(found)
    return context | {
        "tree": tree,
        "answer": tree[0],
        "from_example": [label for label in given.labels if _is_used(label, formula)],
    }


def _is_used(label: str, formula: str) -> bool:
    return label in formula


def mark_places(formula: str, findings: Any) -> list[tuple[str, str]]:
    """The formula cut at its findings: (text, "" | "bad" | "doubt"); an error covers a doubt."""
    cuts = sorted({0, len(formula), *(p for f in findings for p in (f.start, f.end))})
    pieces = []
    for start, end in zip(cuts, cuts[1:], strict=False):
        over = [f for f in findings if f.start <= start and end <= f.end]
        look = "bad" if any(f.refuses for f in over) else "doubt" if over else ""
        pieces.append((formula[start:end], look))
    if any(f.start >= len(formula) for f in findings):
        pieces.append(("\u2003", "bad"))
    return pieces


@page(WRITE_RULES, REVIEW_RULES)
@require_POST
def function_order(request: Any) -> HttpResponse:
    """Choose the order that formulas are tried on."""
    choice = pick_order(request)
    if not request.htmx:
        return redirect("function_list")
    return render(request, "functions/_order.html", choice)


urlpatterns = [
    path("functions/", function_list, name="function_list"),
    path("functions/order/", function_order, name="function_order"),
    path("functions/<str:name>/", function_detail, name="function_detail"),
    path("functions/<str:name>/try/", function_try, name="function_try"),
]
