"""The guide for people who come from Excel, with the table of additions and differences."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import path
from django.utils.html import conditional_escape, format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET

from config.tenancy.roles import VIEW_BOARD
from frontend.pages.check_formula import describe_value
from frontend.pages.checks import page
from frontend.pages.function_book import write_fact
from frontend.pages.guide_text import GUIDE_NOW, SECTIONS, Case, Section
from rules_engine.facts.catalog import build_names
from rules_engine.formula import ErrorValue, Names, RowPlan, Value, check, to_serial
from rules_engine.formula.differences import DIFFERENCES
from rules_engine.formula.functions.tables import ExampleTable
from rules_engine.formula.tree import Kinds

_CODE = re.compile(r"`([^`]+)`")


def write_prose(text: str, params: Any) -> SafeString:
    """A paragraph in the reader's language, with its formulas as code."""
    said = _(text)
    said = said % params if params else said
    pieces = _CODE.split(said)
    return mark_safe(  # noqa: S308 - every piece is escaped
        "".join(
            format_html("<code>{}</code>", piece) if number % 2 else conditional_escape(piece)
            for number, piece in enumerate(pieces)
        )
    )


def values_of(facts: Mapping[str, object], names: Names) -> dict[str, Any]:
    """Field id -> value of a made-up order; fields by label, rows by the labels of their columns.

    What only functions read (an order's history, calendars) is named by its id.
    """
    values: dict[str, Any] = {}
    for label, value in facts.items():
        if isinstance(value, ExampleTable):
            values[value.table.id] = value.content
            continue
        found = names.find(label) or names.by_id(label)
        if found is None:
            raise KeyError(label)
        values[found.id] = _to_value(value)
        if isinstance(value, tuple):
            ids = {column.label: column.id for column in found.columns}
            values[found.id] = tuple(
                {ids[name]: _to_value(item) for name, item in row.items()} for row in value
            )
    return values


def _to_value(value: object) -> object:
    return to_serial(value) if isinstance(value, dt.datetime) else value


@cache
def _names() -> Names:
    facts = (fact for section in SECTIONS for case in section.cases for fact in case.facts.values())
    tables = {fact.table.id: fact.table for fact in facts if isinstance(fact, ExampleTable)}
    return build_names(tables=tables.values())


_answers: dict[int, tuple[Value, Kinds]] = {}  # the cases are constants of a module


def work_out(case: Case) -> str:
    """What the formula gives on its made-up order, in words of the language in force."""
    if id(case) not in _answers:
        checked = check(case.formula, _names())
        values = values_of(case.facts, _names())
        value = RowPlan(checked).evaluate(values, to_serial(GUIDE_NOW))
        _answers[id(case)] = value, checked.require_tree().kinds
    return describe_value(*_answers[id(case)])


def _write_case(case: Case) -> dict[str, Any]:
    return {
        "formula": case.formula,
        "answer": work_out(case),
        "given": [write_fact(label, value) for label, value in case.facts.items()],
        "note": _(case.note) if case.note else "",
    }


def _write_section(section: Section) -> dict[str, Any]:
    cases = []
    before: Case | None = None
    for case in section.cases:  # what stays the same is shown once
        same = {
            "is_same": before is not None and case.formula == before.formula,
            "is_same_order": before is not None and bool(case.facts) and case.facts == before.facts,
        }
        cases.append({**_write_case(case), **same})
        before = case
    return {
        "key": section.key,
        "title": _(section.title),
        "prose": [write_prose(text, section.params) for text in section.prose],
        "steps": [write_prose(text, section.params) for text in section.steps],
        "cases": cases,
        "after": [write_prose(text, section.params) for text in section.after],
    }


@page(VIEW_BOARD)
@require_GET
def formula_guide(request: Any) -> HttpResponse:
    """The guide."""
    return render(
        request,
        "functions/guide.html",
        {
            "now": GUIDE_NOW,
            "sections": [_write_section(section) for section in SECTIONS],
            "differences": DIFFERENCES,
            "error_values": list(ErrorValue),
        },
    )


urlpatterns = [path("guide/", formula_guide, name="formula_guide")]
