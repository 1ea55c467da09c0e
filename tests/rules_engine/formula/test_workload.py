"""The benchmark workload: both plans give the hand-written sums, and ours is the shared one."""

from __future__ import annotations

import runpy
from typing import Any

import pytest

from rules_engine.formula import CompiledPlan, RowPlan, check
from tests.bench import w12, w12_others
from tests.bench.bench_formula import NAMES, as_facts

from .shared import FOLDER, needs_samples


@pytest.fixture(scope="module")
def orders() -> list[dict[str, object]]:
    return [as_facts(order) for order in w12.norm(w12.gen_orders())]


def test_formulas_of_the_workload_check_without_a_remark() -> None:
    found = [item.text for text in w12.EXCEL.values() for item in check(text, NAMES).findings]

    assert found == []


@pytest.mark.slow
def test_compiled_plan_gives_the_checksum(orders: list[dict[str, object]]) -> None:
    plan = CompiledPlan([check(formula, NAMES) for formula in w12.EXCEL.values()])

    assert w12.summary(plan.evaluate(order, w12.NOW) for order in orders) == w12.CHECKSUM


@pytest.mark.slow
def test_row_plan_and_bare_simpleeval_score_as_the_hand_written_code_does(
    orders: list[dict[str, object]],
) -> None:
    plans = [RowPlan(check(formula, NAMES)) for formula in w12.EXCEL.values()]
    some = orders[:4_000]
    wanted = w12.summary(map(w12.hand, some))

    found = [tuple(plan.evaluate(order, w12.NOW) for plan in plans) for order in some]

    assert w12.summary(found) == wanted
    assert w12.summary(map(w12_others.make_simpleeval(), some)) == wanted


def read_workload() -> tuple[dict[str, Any], list[Checked], list[dict[str, Any]]]:
    w12 = runpy.run_path(str(FOLDER / "w12.py"))
    types = (
        dict.fromkeys(w12["TEXT"], ValueType.TEXT)
        | dict.fromkeys(w12["NUM"], ValueType.NUMBER)
        | dict.fromkeys(w12["BOOL"], ValueType.LOGICAL)
        | dict.fromkeys([*w12["DATE"], "now"], ValueType.DATETIME)
    )
    names = Names(Field(name, name, "", type_) for name, type_ in types.items())
    orders = [order | {"now": w12["NOW"]} for order in w12["norm"](w12["gen_orders"]())]
    checked = [check(formula, names) for formula in w12["EXCEL"].values()]
    assert [item.text for formula in checked for item in formula.findings] == []
    return w12, checked, orders


@needs_samples
@pytest.mark.shared_data
@pytest.mark.slow
def test_row_plan_scores_the_workload_as_the_hand_written_code_does() -> None:
    w12, checked, orders = read_workload()
    plans = [RowPlan(formula) for formula in checked]

    scored = [tuple(plan.evaluate(order, w12["NOW"]) for plan in plans) for order in orders[:4_000]]

    assert w12["summary"](scored) == w12["summary"](map(w12["hand"], orders[:4_000]))


@needs_samples
@pytest.mark.shared_data
@pytest.mark.slow
def test_compiled_plan_scores_the_whole_workload_as_the_hand_written_code_does() -> None:
    w12, checked, orders = read_workload()
    plan = CompiledPlan(checked)

    scored = [plan.evaluate(order, w12["NOW"]) for order in orders]

    assert len(scored) == 20_000
    assert w12["summary"](scored) == w12["summary"](map(w12["hand"], orders))
