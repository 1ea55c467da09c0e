"""The criteria of COUNTIF and its relatives: ">5", "<>x", "a*", "", "=" and plain values."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final, TypeAlias

from .operators import compare_numbers, parse_number
from .values import ErrorValue, Value
from .wildcards import MAX_WILDCARDS, has_wildcards, matches_wildcards

Test: TypeAlias = Callable[[Value], bool]

_PARTS: Final = re.compile(r"(<>|<=|>=|=|<|>)?(.*)", re.DOTALL)
_HOLDS: Final[dict[str, Callable[[int], bool]]] = {
    "=": lambda order: order == 0,
    "<>": lambda order: order != 0,
    "<": lambda order: order < 0,
    ">": lambda order: order > 0,
    "<=": lambda order: order <= 0,
    ">=": lambda order: order >= 0,
}


def read_criterion(criterion: Value) -> Test | ErrorValue:
    """Turn a criterion into a test of one value; #VALUE! for one that cannot be."""
    if isinstance(criterion, bool):
        return _is_logical("=", criterion)
    if criterion is None:
        return _is_number("=", 0.0)
    if isinstance(criterion, float):
        return _is_number("=", criterion)
    if isinstance(criterion, str):
        return _read_text(criterion)
    return criterion if isinstance(criterion, ErrorValue) else ErrorValue.VALUE


@lru_cache(maxsize=512)
def _read_text(criterion: str) -> Test | ErrorValue:
    match = _PARTS.fullmatch(criterion)
    operator, operand = (match[1], match[2]) if match else (None, criterion)
    if operand == "":
        if operator is None:
            return lambda value: value is None or value == ""
        if operator == "=":
            return lambda value: value is None
        if operator == "<>":
            return lambda value: value is not None
        return lambda value: False
    operator = operator or "="
    number = parse_number(operand)
    if isinstance(number, float):
        return _is_number(operator, number)
    if operand.upper() in ("TRUE", "FALSE"):
        return _is_logical(operator, operand.upper() == "TRUE")
    if has_wildcards(operand) and operator in ("=", "<>") and len(operand) > MAX_WILDCARDS:
        return ErrorValue.VALUE
    return _is_text(operator, operand.lower())


def _is_number(operator: str, wanted: float) -> Test:
    holds = _HOLDS[operator]
    other = operator == "<>"

    def test(value: Value) -> bool:
        if not isinstance(value, float):
            return other
        return holds(compare_numbers(value, wanted))

    return test


def _is_logical(operator: str, wanted: bool) -> Test:
    holds = _HOLDS[operator]
    other = operator == "<>"

    def test(value: Value) -> bool:
        return holds(int(value) - int(wanted)) if isinstance(value, bool) else other

    return test


def _is_text(operator: str, wanted: str) -> Test:
    holds = _HOLDS[operator]
    other = operator == "<>"

    def test(value: Value) -> bool:
        if not isinstance(value, str):
            return other
        written = value.lower()
        if operator in ("=", "<>") and has_wildcards(wanted):
            return matches_wildcards(wanted, written) is not other
        return holds((written > wanted) - (written < wanted))

    return test
