"""The guide: every formula it shows is run, every snippet checked, the table is the real one."""

from __future__ import annotations

import re
from html import unescape

import pytest
from django.test import Client
from django.urls import reverse

from frontend.pages.guide import values_of, work_out
from frontend.pages.guide_text import PRESALE, SECTIONS, Case
from rules_engine.facts.catalog import build_names
from rules_engine.formula import check, find_function
from rules_engine.formula.differences import DIFFERENCES
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


@pytest.mark.parametrize("case", CASES)
def test_a_formula_of_the_guide_gives_the_answer_beside_it(case: Case) -> None:
    checked = check(case.formula, NAMES)
    assert checked.is_valid, [f.text for f in checked.findings]

    assert values_of(case.facts, NAMES).keys() >= checked.relation_ids
    assert work_out(case) == case.answer


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
