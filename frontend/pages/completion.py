"""What an editor offers while a formula is typed: every name of this environment, as JSON.

The answer is the same until a custom field, a table, a node or the product changes; the tag says so.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

from django.http import HttpResponse
from django.urls import path, reverse
from django.utils.cache import get_conditional_response, patch_vary_headers
from django.utils.translation import get_language
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET

from config.tenancy.roles import REVIEW_RULES, WRITE_RULES
from frontend.pages import function_book
from frontend.pages.check_formula import write_name
from frontend.pages.checks import page
from rules_engine.facts.catalog import SOURCE_LABELS, Fact
from rules_engine.facts.services import get_names
from rules_engine.formula import FUNCTIONS, Field, Function, Names

_FUNCTIONS_DIGEST = hashlib.sha256(
    repr([(f.names, f.usage, f.row_usage, f.description, f.topic) for f in FUNCTIONS]).encode()
).hexdigest()
_bodies: dict[str, bytes] = {}
_MAX_BODIES = 64


def describe_names(names: Names) -> dict[str, Any]:
    """Fields, functions, tables, terms and constants, in the language in force."""
    return {
        "fields": [_describe_field(f) for f in names.fields if not getattr(f, "is_hidden", False)],
        "functions": [
            _describe_function(function, topic.label)
            for topic in function_book.list_topics()
            for function in topic.functions
        ],
        "tables": [
            {
                "id": table.id,
                "label": table.name,
                "keys": [_describe_column(key) for key in table.keys],
                "columns": [_describe_column(column) for column in table.columns],
            }
            for table in names.tables
        ],
        "terms": [{"id": term.id, "kind": term.kind, "label": term.label} for term in names.terms],
        "constants": [
            {"label": f.zh, "alias": f.en, "insert": f.zh, "description": _(f.description)}
            for f in FUNCTIONS
            if f.is_bare
        ],
    }


def _describe_column(field: Field) -> dict[str, Any]:
    return {
        "id": field.id,
        "label": field.label,
        "alias": field.alias,
        "insert": write_name(field),
        "type": field.type.value,
        "type_label": _(field.type.label),
        "unit": _(field.unit) if field.unit else "",
        "description": _(field.description) if field.description else "",
        "example": field.example,
    }


def _describe_field(field: Field) -> dict[str, Any]:
    source = field.source if isinstance(field, Fact) else ""
    return _describe_column(field) | {
        "source": source,
        "source_label": _(SOURCE_LABELS[source]) if source in SOURCE_LABELS else "",
        "topic": _(field.topic) if isinstance(field, Fact) and field.topic else "",
        "columns": [_describe_column(column) for column in field.columns],
    }


def _describe_function(function: Function, topic: str) -> dict[str, Any]:
    forms = [function.parameters, *([function.row_parameters] if function.row_parameters else [])]
    return {
        "label": function.zh,
        "alias": function.en,
        "names": list(function.names),
        "insert": f"{function.zh}()",
        "topic": topic,
        "usage": list(dict.fromkeys((function.usage, function.row_usage))),
        "forms": [
            [
                {
                    "label": p.label,
                    "type": p.type.value,
                    "type_label": function_book.describe_type(p.type),
                    "optional": p.is_optional,
                    "repeated": p.is_repeated,
                    "literal": p.is_literal or bool(p.terms),
                }
                for p in form
            ]
            for form in forms
        ],
        "result": function.result.value,
        "result_label": function_book.describe_type(function.result),
        "cost": function.cost.value,
        "uses_now": function.uses_now,
        "description": _(function.description),
        "help": reverse("function_detail", args=[function.en]),
    }


def _digest(parts: Iterable[object]) -> str:
    return hashlib.sha256("\n".join(map(repr, parts)).encode()).hexdigest()[:32]


@page(WRITE_RULES, REVIEW_RULES)
@require_GET
def formula_names(request: Any) -> HttpResponse:
    """The names of the environment in force; 304 while nothing changed."""
    names = get_names()
    place = request.environment.public_id
    tag = _digest(
        (place, get_language(), _FUNCTIONS_DIGEST, names.fields, names.tables, names.terms)
    )
    response = get_conditional_response(request, etag=f'"{tag}"')
    if response is None:
        response = HttpResponse(_body(tag, place, names), content_type="application/json")
    response["ETag"] = f'"{tag}"'
    response["Cache-Control"] = "private, no-cache"
    patch_vary_headers(response, ("Cookie", "Accept-Language"))
    return response


def _body(tag: str, place: str, names: Names) -> bytes:
    if tag not in _bodies:
        if len(_bodies) >= _MAX_BODIES:
            _bodies.clear()
        content = {"environment": place, "version": tag, **describe_names(names)}
        _bodies[tag] = json.dumps(content, ensure_ascii=False).encode()
    return _bodies[tag]


urlpatterns = [path("formula/names.json", formula_names, name="formula_names")]
