"""Runs tests/formula_cases/*.txt. One case per line, three parts between " ; ":

    formula ; facts ; expected

facts: name=value, name=value. A value is JSON, ? (unknown) or @2026-11-11T10:00 (date-time).
expected: JSON, ? (unknown), an error such as #DIV/0!, a result such as 通过, or
`refused code start-end` / `warned code start-end`. Lines that begin with # are notes.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from pathlib import Path

import pytest

from rules_engine.formula import UNKNOWN, ErrorValue, Result, check
from rules_engine.formula.differences import DIFFERENCES

from .facts import NOW, is_same, read_facts
from .plans import Run, by_both_plans

FOLDER = Path(__file__).parents[2] / "formula_cases"
RESULTS = {result.label: result for result in Result}
ERRORS = {error.code: error for error in ErrorValue}
FINDING = re.compile(r"(refused|warned) (\w+) (\d+)-(\d+)")
MOMENT = re.compile(r"@([0-9T:-]+)")


def read_cases():
    for path in sorted(FOLDER.glob("*.txt")):
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            if line.strip() and not line.startswith("#"):
                yield pytest.param(line, id=f"{path.stem}:{number}")


def read_value(text: str, position: int) -> tuple[object, int]:
    if text[position] == "?":
        return UNKNOWN, position + 1
    if match := MOMENT.match(text, position):
        return dt.datetime.fromisoformat(match[1]), match.end()
    return json.JSONDecoder().raw_decode(text, position)


def read_line_facts(text: str) -> dict[str, object]:
    facts: dict[str, object] = {}
    position = 0
    while position < len(text):
        name, _, _ = text[position:].partition("=")
        value, position = read_value(text, position + len(name) + 1)
        facts[name.strip()] = value
        position += len(text[position:]) - len(text[position:].lstrip(", "))
    return facts


@by_both_plans
@pytest.mark.parametrize("line", list(read_cases()))
def test_formula_gives_what_its_case_says(line: str, run: Run) -> None:
    formula, facts_text, expected = (part.strip() for part in line.split(" ; "))
    names, values = read_facts(read_line_facts(facts_text))

    checked = check(formula, names)

    if finding := FINDING.fullmatch(expected):
        wanted = (finding[2], int(finding[3]), int(finding[4]), finding[1] == "refused")
        said = [(item.code, item.start, item.end, item.refuses) for item in checked.findings]
        assert wanted in said
        return
    assert checked.is_valid, [item.text for item in checked.findings]
    value = run(checked, values, NOW)
    if expected == "?":
        assert value is UNKNOWN
    elif expected in ERRORS or expected in RESULTS:
        assert value is (ERRORS.get(expected) or RESULTS.get(expected))
    else:
        assert is_same(value, json.loads(expected)), value


def test_every_topic_has_cases() -> None:
    assert len(list(FOLDER.glob("*.txt"))) >= 6


def test_every_difference_from_excel_has_cases_of_its_own() -> None:
    counts: dict[str, int] = {}
    spot = ""
    for line in (FOLDER / "differences.txt").read_text("utf-8").splitlines()[1:]:
        if line.startswith("# "):
            spot = line[2:]
            counts[spot] = 0
        elif line.strip():
            counts[spot] += 1

    assert list(counts) == [difference.spot for difference in DIFFERENCES]
    assert min(counts.values()) >= 1
