"""The formula language: text -> tokens -> tree -> typed tree -> plan. Pure; user text never runs.

This is the door: check a formula, run it over an order's values, read it back.
"""

from __future__ import annotations

from .check import Checked, check, from_stored
from .compiled_plan import CompiledPlan
from .divisions import is_undivided
from .errors import Finding, Fix, FormulaErrors
from .explain import TracePart, canonical_text, sentence
from .functions import FUNCTIONS, Function, find_function
from .names import Field, Names, Table, Term
from .row_plan import RowPlan
from .values import (
    UNKNOWN,
    ErrorValue,
    LookupTable,
    Result,
    Unknown,
    Value,
    ValueType,
    from_serial,
    to_serial,
)

__all__ = [
    "FUNCTIONS",
    "UNKNOWN",
    "Checked",
    "CompiledPlan",
    "ErrorValue",
    "Field",
    "Finding",
    "Fix",
    "FormulaErrors",
    "Function",
    "LookupTable",
    "Names",
    "Result",
    "RowPlan",
    "Table",
    "Term",
    "TracePart",
    "Unknown",
    "Value",
    "ValueType",
    "canonical_text",
    "check",
    "find_function",
    "from_serial",
    "from_stored",
    "is_undivided",
    "sentence",
    "to_serial",
]
