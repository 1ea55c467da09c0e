"""The guide: every formula it shows is run, every snippet checked, the table is the real one."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from html import unescape
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from frontend.pages.check_formula import describe_value
from frontend.pages.guide_text import GUIDE_NOW, PRESALE, SECTIONS, Case
from rules_engine.facts.catalog import build_names
from rules_engine.formula import RowPlan, check, find_function, to_serial
from rules_engine.formula.differences import DIFFERENCES
from rules_engine.formula.functions.tables import ExampleTable
from tests.factories import World

FREIGHT = find_function("LOOKUPTABLE").examples[0].facts["运费表"]
NAMES = build_names(tables=[FREIGHT.table])
CASES = [pytest.param(case, id=f"{s.key}-{n}") for s in SECTIONS for n, case in enumerate(s.cases)]
SNIPPETS = [
    snippet
    for section in SECTIONS
    for text in (*section.prose, *section.steps, *section.after)
    for snippet in re.findall(r"`([^`]+)`", text)
]


def values_of(facts: Mapping[str, object]) -> dict[str, Any]:
    """Field id -> value; rows by the labels of their columns."""
    values: dict[str, Any] = {}
    for label, value in facts.items():
        if isinstance(value, ExampleTable):
            values[value.table.id] = value.content
            continue
        found = NAMES.find(label) or NAMES.by_id(label)  # by id: what only functions read
        assert found is not None, label
        if isinstance(value, tuple):
            columns = NAMES.columns_of(found)
            rows = [{columns.find(name): item for name, item in row.items()} for row in value]
            assert None not in {f for row in rows for f in row}, value
            value = tuple({f.id: to_value(item) for f, item in row.items() if f} for row in rows)
        values[found.id] = to_value(value)
    return values


def to_value(value: object) -> object:
    return to_serial(value) if isinstance(value, dt.datetime) else value


@pytest.mark.parametrize("case", CASES)
def test_a_formula_of_the_guide_gives_the_answer_beside_it(case: Case) -> None:
    checked = check(case.formula, NAMES)
    assert checked.is_valid, [f.text for f in checked.findings]

    value = RowPlan(checked).evaluate(values_of(case.facts), to_serial(GUIDE_NOW))

    assert describe_value(value, checked.require_tree().kinds) == case.answer


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_a_formula_in_the_prose_has_no_error(snippet: str) -> None:
    assert [f.text for f in check(snippet, NAMES).findings if f.refuses] == []


def test_the_first_formula_saves_as_a_check() -> None:
    assert check(PRESALE, NAMES, kind="judgement").findings == ()


def test_the_page_shows_every_formula_answer_and_difference(world: World) -> None:
    client = Client()
    client.force_login(world.users["agent"])

    page = client.get(reverse("formula_guide"))

    text = re.sub(r"\s+", "", unescape(re.sub(r"<[^>]+>", " ", page.content.decode())))
    assert page.status_code == 200
    for section in SECTIONS:
        for case in section.cases:
            assert "".join(case.formula.split()) in text
            assert "".join(case.answer.split()) in text
    for line in DIFFERENCES:
        for said in (line.spot, line.excel, line.ours, line.reason):
            assert "".join(said.split()) in text
    assert "`" not in text
    assert "8,192" in text
