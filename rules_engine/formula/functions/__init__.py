"""The function library: importing this package declares every function."""

from __future__ import annotations

from typing import Final

from . import (
    aggregates,
    contacts,
    dates,
    deciding,
    history,
    lists,
    mathematics,
    numbers,
    results,
    tables,
    testing,
    texts,
    times,
    worktime,
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

_TOPIC_MODULES = (  # the job's own first, what helps few checks last
    deciding,
    results,
    times,
    worktime,
    aggregates,
    tables,
    history,
    contacts,
    texts,
    testing,
    numbers,
    dates,
    lists,
    mathematics,
)

_PLACES: Final = {module.__name__: place for place, module in enumerate(_TOPIC_MODULES)}
FUNCTIONS: Final[tuple[Function, ...]] = tuple(
    sorted(declared_functions(), key=lambda declared: _PLACES[declared.run.__module__])
)

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
