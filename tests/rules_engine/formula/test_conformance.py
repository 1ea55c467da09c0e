"""Excel's answers: the conformance sample, per confidence class."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from rules_engine.formula import ErrorValue, check, find_function

from .facts import NOW, is_same, read_facts
from .plans import PLANS, Run, by_both_plans
from .shared import needs_samples, read_field, read_sample

CASES = read_sample("conformance_sample.jsonl")
BARS = {"unanimous": 1.0, "majority": 0.98, "hyperformula_dissents": 0.95}


def answer(case: dict[str, Any], run: Run) -> object:
    names, values = read_facts({name: read_field(v) for name, v in case["fields"].items()})
    checked = check(case["formula"], names)
    if not checked.is_valid:
        return checked.findings[0].code
    return run(checked, values, NOW)


def is_as_expected(case: dict[str, Any], value: object) -> bool:
    expected = case.get("excel", case["expected"])
    if isinstance(expected, dict):
        return value is ErrorValue(expected["error"])
    return is_same(value, expected)


@needs_samples
@pytest.mark.shared_data
@pytest.mark.parametrize("confidence", BARS)
@by_both_plans
def test_sample_reaches_the_bar_of_its_class(
    confidence: str, run: Run, record_property: Any
) -> None:
    passed: Counter[bool] = Counter()
    wrong = []
    absent = set()
    for case in CASES:
        if case["confidence"] != confidence:
            continue
        missing = [name for name in case["functions"] if find_function(name) is None]
        if missing:
            absent.update(missing)
            continue
        value = answer(case, run)
        is_right = is_as_expected(case, value)
        passed[is_right] += 1
        if not is_right:
            wrong.append((case["id"], case["formula"], case["fields"], case["expected"], value))

    total = passed.total()
    plan = next(name for name, known in PLANS.items() if known is run)
    summary = f"{plan} plan, {confidence}: {passed[True]} of {total}; functions still absent: {sorted(absent)}"
    record_property("conformance", summary)
    assert not absent
    print(summary)  # noqa: T201 - shown with -s and on failure
    assert passed[True] >= BARS[confidence] * total, wrong
