"""Running: missing facts, money in fen, threads, the sandbox itself."""

from __future__ import annotations

import ast
from concurrent.futures import ThreadPoolExecutor

import pytest
from simpleeval import FeatureNotAvailable

from rules_engine.formula import UNKNOWN, Result, RowPlan, check
from rules_engine.formula.row_plan import Evaluator

from .facts import NOW
from .test_check import NAMES


def run(formula: str, **values: object) -> object:
    named = {
        "pay": "order.pay",
        "channel": "order.channel",
        "lines": "lines",
        "paid_at": "order.paid_at",
    }
    plan = RowPlan(check(formula, NAMES))
    return plan.evaluate({named[key]: value for key, value in values.items()}, NOW)


def test_fact_that_is_missing_is_unknown() -> None:
    assert run("支付金额>1") is UNKNOWN
    assert run("求和(明细,数量)", lines=[{}]) is UNKNOWN


def test_whole_numbers_and_lists_from_outside_are_taken_in() -> None:
    assert run("支付金额*2", pay=3) == 6.0
    assert run("支付金额*2", pay=10**400) != 0
    assert run("计数(明细)", lines=({"lines.qty": 1},)) == 1.0
    assert run("计数(明细)", lines=None) == 0.0


def test_money_is_summed_in_fen() -> None:
    lines = [{"lines.price": 0.1}] * 3_000

    assert run("求和(明细,单价)", lines=lines) == 300.0
    assert run("求和(明细,单价)=支付金额", lines=lines, pay=300.0) is True
    assert run("求和(支付金额,支付金额,支付金额)", pay=0.1) == 0.3


def test_time_of_evaluation_is_an_argument() -> None:
    plan = RowPlan(check("距今小时(支付时间)>48", NAMES))

    assert plan.evaluate({"order.paid_at": 100.0}, 102.0) is False
    assert plan.evaluate({"order.paid_at": 100.0}, 102.0 + 1 / 86_400_000) is True


def test_result_is_reported_as_it_is() -> None:
    assert run("如果(支付金额>1,部分,不适用)", pay=2.0) is Result.PARTIAL


def test_one_plan_may_run_in_several_threads() -> None:
    plan = RowPlan(check("求和(明细,数量)*1000+支付金额", NAMES))

    def work(number: int) -> bool:
        values = {"lines": [{"lines.qty": float(number)}] * 20, "order.pay": float(number)}
        return all(plan.evaluate(values, NOW) == number * 20_001 for _ in range(50))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(40)))


def test_evaluator_takes_no_text() -> None:
    with pytest.raises(FeatureNotAvailable):
        Evaluator().eval("1+1")


@pytest.mark.parametrize(
    "text", ["a.b", "a[0]", "[1]", "lambda: 1", "f'{a}'", "a if b else c", "f(1)"]
)
def test_evaluator_knows_no_python_node(text: str) -> None:
    tree = ast.parse(text, mode="eval").body

    with pytest.raises(KeyError):
        Evaluator().run(tree, {"a": 1.0}, NOW)
