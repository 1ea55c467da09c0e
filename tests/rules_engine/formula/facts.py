"""Test facts: a dict of label -> value becomes Names and values, types read off the values."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

from rules_engine.formula import (
    UNKNOWN,
    ErrorValue,
    Field,
    Names,
    Value,
    ValueType,
    check,
    to_serial,
)
from rules_engine.formula.functions.tables import ExampleTable
from rules_engine.formula.names import Term

from .plans import Run, run_by_rows

TERMS = (
    Term("node:payment", "支付"),
    Term("node:wms_push", "推送WMS"),
    Term("stage:await_pay", "待付款"),
    Term("stage:await_ship", "待发货"),
)
NOW = to_serial(dt.datetime(2026, 11, 13, 10, 0))  # noqa: DTZ001 - local wall time is meant


def type_of(value: object) -> ValueType:
    if isinstance(value, bool):
        return ValueType.LOGICAL
    if isinstance(value, int | float):
        return ValueType.NUMBER
    if isinstance(value, str):
        return ValueType.TEXT
    if isinstance(value, dt.datetime):
        return ValueType.DATETIME
    if isinstance(value, list | tuple):
        return ValueType.ROWS
    return ValueType.ANY


def read_facts(facts: Mapping[str, object]) -> tuple[Names, dict[str, Any]]:
    """Rows without a row to read columns from get the columns 数量 and 金额."""
    fields, tables = [], []
    values: dict[str, Any] = {}
    for label, value in facts.items():
        if isinstance(value, ExampleTable):
            tables.append(value.table)
            values[value.table.id] = value.content
            continue
        columns: tuple[Field, ...] = ()
        if isinstance(value, list | tuple) and (not value or isinstance(value[0], dict)):
            row: dict[str, Any] = {"数量": 0.0, "金额": 0.0} | (value[0] if value else {})
            columns = tuple(
                Field(f"{label}.{name}", name, "", type_of(item)) for name, item in row.items()
            )
            values[label] = [
                {f"{label}.{name}": item for name, item in row.items()} for row in value
            ]
        elif isinstance(value, dt.datetime):
            values[label] = to_serial(value)
        elif isinstance(value, list):
            values[label] = [
                to_serial(item) if isinstance(item, dt.datetime) else item for item in value
            ]
        else:
            values[label] = value
        fields.append(Field(label, label, "", type_of(value), columns=columns))
    return Names(fields, tables, TERMS), values


def evaluate(
    formula: str, facts: Mapping[str, object] | None = None, run: Run = run_by_rows
) -> Value:
    """Check and run; a refused formula fails the test with its findings."""
    names, values = read_facts(facts or {})
    checked = check(formula, names)
    assert checked.is_valid, [finding.text for finding in checked.findings]
    return run(checked, values, NOW)


def refusals(formula: str, facts: Mapping[str, object] | None = None, **options: Any) -> list[str]:
    names, _ = read_facts(facts or {})
    return [item.code for item in check(formula, names, **options).findings if item.refuses]


def warnings(formula: str, facts: Mapping[str, object] | None = None) -> list[str]:
    names, _ = read_facts(facts or {})
    return [item.code for item in check(formula, names).findings if not item.refuses]


def is_same(value: object, expected: object) -> bool:
    """Numbers to 1e-9 relative; a blank and an empty text are the same."""
    if expected is None or expected == "":
        return value is None or value == ""
    if isinstance(expected, bool) or isinstance(value, bool):
        return value is expected
    if isinstance(expected, int | float) and isinstance(value, float):
        return abs(value - expected) <= 1e-9 * max(1.0, abs(expected))
    return value == expected


__all__ = [
    "NOW",
    "UNKNOWN",
    "ErrorValue",
    "evaluate",
    "is_same",
    "read_facts",
    "refusals",
    "warnings",
]
