"""The plans a formula can run by, for tests that hold for each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import pytest

from rules_engine.formula import Checked, CompiledPlan, RowPlan, Value

Run = Callable[[Checked, Mapping[str, object], float], Value]


def run_by_rows(checked: Checked, values: Mapping[str, object], now: float) -> Value:
    return RowPlan(checked).evaluate(values, now)


def run_compiled(checked: Checked, values: Mapping[str, object], now: float) -> Value:
    return CompiledPlan([checked]).evaluate(values, now)[0]


PLANS: Final[dict[str, Run]] = {"row": run_by_rows, "compiled": run_compiled}
by_both_plans = pytest.mark.parametrize("run", PLANS.values(), ids=PLANS)
