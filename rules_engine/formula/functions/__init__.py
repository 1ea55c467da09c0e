"""The function library: importing this package declares every function."""

from __future__ import annotations

from typing import Final

from . import (
    aggregates,
    dates,
    deciding,
    lists,
    mathematics,
    numbers,
    results,
    tables,
    testing,
    texts,
    times,
)
from .registry import (
    Cost,
    Example,
    Function,
    Parameter,
    Sees,
    Style,
    constant_named,
    declared_functions,
    find_function,
    function_names,
    is_reserved_name,
)

_TOPIC_MODULES = (
    deciding,
    results,
    times,
    aggregates,
    tables,
    texts,
    testing,
    numbers,
    dates,
    lists,
    mathematics,
)

FUNCTIONS: Final[tuple[Function, ...]] = declared_functions()

__all__ = [
    "FUNCTIONS",
    "Cost",
    "Example",
    "Function",
    "Parameter",
    "Sees",
    "Style",
    "constant_named",
    "find_function",
    "function_names",
    "is_reserved_name",
]
