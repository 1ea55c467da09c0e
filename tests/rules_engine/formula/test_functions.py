"""The registry: every declaration is complete and its examples hold."""

from __future__ import annotations

import pytest

from rules_engine.formula import FUNCTIONS, find_function

from .facts import evaluate, is_same
from .plans import Run, by_both_plans

EXAMPLES = [
    pytest.param(example, id=f"{function.en}:{number}")
    for function in FUNCTIONS
    for number, example in enumerate(function.examples)
]


@by_both_plans
@pytest.mark.parametrize("example", EXAMPLES)
def test_example_of_a_function_holds(example, run: Run) -> None:
    value = evaluate(example.formula, example.facts, run)

    assert is_same(value, example.expected), value


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.en)
def test_every_function_says_everything_about_itself(function) -> None:
    assert function.examples
    assert function.description
    assert function.blank
    assert function.unknown
    assert function.topic
    assert find_function(function.zh) is function
    assert find_function(function.en.lower()) is function
    assert "(" in function.usage


def test_no_two_functions_share_a_name() -> None:
    names = [name.upper() for function in FUNCTIONS for name in function.names]

    assert len(names) == len(set(names))
