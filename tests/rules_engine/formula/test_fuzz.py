"""The parser, the checker and the plans on anything at all: no crash, no exception but ours.

Runs in every test run; `HYPOTHESIS_EXAMPLES` makes it longer.
"""

from __future__ import annotations

import json
import os
import time

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from rules_engine.formula import (
    FormulaErrors,
    RowPlan,
    canonical_text,
    check,
    from_stored,
    sentence,
)
from rules_engine.formula.compiled_plan import CompiledPlan
from rules_engine.formula.limits import MAX_CHARACTERS, MAX_FINDINGS, MAX_TEXT
from rules_engine.formula.lines import PLANS, Answerer, write_answer

from .facts import NOW
from .formulas import NAMES, facts, formulas
from .hostile import expand, read_own
from .test_properties import PIECES, is_value, same

fuzz = settings(
    deadline=None,
    max_examples=int(os.environ.get("HYPOTHESIS_EXAMPLES", "200")),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)

HOSTILE = [text for case in read_own() if len(text := expand(case)) <= 400]
anything = st.text(st.characters(), max_size=30)  # half pairs, controls, private use, everything
pieces = st.lists(
    st.one_of(st.sampled_from(PIECES), st.sampled_from(HOSTILE), anything), max_size=8
)


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """A valid formula, or a hostile one, with a few cuts, doubles, swaps and foreign pieces."""
    text = draw(st.one_of(formulas(), st.sampled_from(HOSTILE)))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 8)))
        kind = draw(st.integers(0, 4))
        if kind == 0:
            text = text[:start] + text[end:]
        elif kind == 1:
            text = text[:end] + text[start:end] + text[end:]
        elif kind == 2:
            text = text[:start] + text[start:end][::-1] + text[end:]
        elif kind == 3:
            text = text[:start] + draw(st.sampled_from(PIECES)) + text[end:]
        else:
            text = text[:start] + draw(anything) + text[start:]
    return text[: MAX_CHARACTERS + 10]


def look_at(text: str, values: dict[str, object]) -> None:
    """Everything the product does with a formula."""
    checked = check(text, NAMES)
    assert len(checked.findings) <= MAX_FINDINGS
    for finding in checked.findings:
        assert finding.text
        assert 0 <= finding.start <= finding.end <= len(text)
    from_stored(checked.stored, NAMES)
    if not checked.is_valid:
        for make in (RowPlan, lambda item: CompiledPlan([item])):
            try:
                make(checked)
            except FormulaErrors:
                continue
            raise AssertionError("a refused formula became a plan")
        return
    first = RowPlan(checked).evaluate(values, NOW)
    (second,) = CompiledPlan([checked]).evaluate(values, NOW)
    assert is_value(first)
    assert same(first, second), (first, second)
    assert not isinstance(first, str) or len(first) <= max(MAX_TEXT, len(text))
    assert sentence(checked)
    assert check(canonical_text(checked), NAMES).is_valid


@fuzz
@given(mutated(), facts)
@example("=", {})
@example("{#f.lines}", {"f.lines": [{"l.qty": "\ud800"}]})
@example('匹配([备注（买家）],".")', {"f.text": "\ud800"})
def test_mutated_formula_never_crashes(text: str, values: dict[str, object]) -> None:
    look_at(text, values)


@fuzz
@given(pieces.map("".join), facts)
def test_pieces_of_anything_never_crash(text: str, values: dict[str, object]) -> None:
    look_at(text[: MAX_CHARACTERS + 10], values)


@fuzz
@given(formulas(), st.text(st.characters(), max_size=20), facts)
def test_any_text_in_a_field_is_only_text(text: str, word: str, values: dict[str, object]) -> None:
    look_at(text, values | {"f.text": word, "f.any": word, "f.number": word})


@fuzz
@given(
    st.one_of(st.binary(max_size=80), anything.map(lambda text: text.encode("utf-8", "replace")))
)
def test_any_bytes_as_a_line_get_an_answer(raw: bytes) -> None:
    for plan in PLANS:
        answer = Answerer(plan, NOW, time.perf_counter).answer(raw)

        assert "refused" in answer
        assert answer["refused"] != "internal_error"
        json.loads(write_answer(answer))


json_values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(allow_nan=False, allow_infinity=False),
        anything,
        st.just({"$unknown": True}),
        st.just({"$date": "2026-11-11T10:00"}),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(anything, inner, max_size=2)
    ),
    max_leaves=4,
)


@fuzz
@given(
    mutated(),
    st.dictionaries(
        st.one_of(st.sampled_from(["a", "b", "数量"]), anything), json_values, max_size=4
    ),
    json_values,
)
def test_any_line_gets_the_same_answer_from_both_plans(
    text: str, fields: object, id: object
) -> None:
    raw = json.dumps({"id": id, "formula": text, "fields": fields}).encode()

    first, second = (
        Answerer(plan, NOW, time.perf_counter).answer(raw) for plan in ("row", "compiled")
    )

    assert first.get("refused") != "internal_error"
    assert {**first, "ms": 0} == {**second, "ms": 0}
    assert json.loads(write_answer(first))
