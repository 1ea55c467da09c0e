"""The guide for people who come from Excel, with the table of additions and differences."""

from __future__ import annotations

import re
from typing import Any

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import path
from django.utils.html import conditional_escape, format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET

from config.tenancy.roles import VIEW_BOARD
from frontend.pages.checks import page
from frontend.pages.function_book import write_fact
from frontend.pages.guide_text import GUIDE_NOW, SECTIONS, Case, Section
from rules_engine.formula import ErrorValue
from rules_engine.formula.differences import DIFFERENCES

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


def _write_case(case: Case) -> dict[str, Any]:
    return {
        "formula": case.formula,
        "answer": case.answer,
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
