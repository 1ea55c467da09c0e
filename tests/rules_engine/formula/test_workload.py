"""The benchmark workload: both plans give the hand-written sums, and ours is the shared one."""

from __future__ import annotations

import runpy

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


@needs_samples
@pytest.mark.shared_data
@pytest.mark.slow
def test_our_workload_is_the_shared_one() -> None:
    shared = runpy.run_path(str(FOLDER / "w12.py"))
    theirs = shared["norm"](shared["gen_orders"]())

    assert shared["EXCEL"] == w12.EXCEL
    assert shared["NOW"] == w12.NOW
    assert w12.norm(w12.gen_orders()) == theirs
    assert shared["summary"](map(shared["hand"], theirs)) == w12.CHECKSUM
