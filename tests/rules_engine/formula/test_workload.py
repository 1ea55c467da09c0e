"""The benchmark workload: the row plan gives the hand-written sums."""

from __future__ import annotations

import runpy

import pytest

from rules_engine.formula import Field, Names, RowPlan, ValueType, check

from .shared import FOLDER, needs_samples


@needs_samples
@pytest.mark.shared_data
@pytest.mark.slow
def test_row_plan_scores_the_workload_as_the_hand_written_code_does() -> None:
    w12 = runpy.run_path(str(FOLDER / "w12.py"))
    types = (
        dict.fromkeys(w12["TEXT"], ValueType.TEXT)
        | dict.fromkeys(w12["NUM"], ValueType.NUMBER)
        | dict.fromkeys(w12["BOOL"], ValueType.LOGICAL)
        | dict.fromkeys([*w12["DATE"], "now"], ValueType.DATETIME)
    )
    names = Names(Field(name, name, "", type_) for name, type_ in types.items())
    now = w12["NOW"]
    orders = [order | {"now": now} for order in w12["norm"](w12["gen_orders"]())[:4_000]]

    checked = [check(formula, names) for formula in w12["EXCEL"].values()]
    plans = [RowPlan(formula) for formula in checked]
    scored = [tuple(plan.evaluate(order, now) for plan in plans) for order in orders]

    assert [item.text for formula in checked for item in formula.findings] == []
    assert w12["summary"](scored) == w12["summary"](map(w12["hand"], orders))
