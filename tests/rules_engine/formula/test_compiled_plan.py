"""The compiled plan itself; that its values are the row plan's is in test_plans_agree."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from rules_engine.formula import UNKNOWN, CompiledPlan, ErrorValue, FormulaErrors, Result, check

from .facts import NOW
from .test_check import NAMES


def plan_of(*formulas: str) -> CompiledPlan:
    return CompiledPlan([check(formula, NAMES) for formula in formulas])


class Lazy(Mapping[str, object]):
    """Values that are no dict."""

    def __init__(self, inner: dict[str, object]) -> None:
        self.inner = inner

    def __getitem__(self, id: str) -> object:
        return self.inner[id]

    def __iter__(self) -> Iterator[str]:
        return iter(self.inner)

    def __len__(self) -> int:
        return len(self.inner)


def test_every_formula_gets_its_value_in_its_place() -> None:
    plan = plan_of("支付金额*2", '渠道="天猫"', "不适用", "计数(明细)")
    values = {"order.pay": 2.0, "order.channel": "天猫", "lines": [{}, {}]}

    assert plan.evaluate(values, NOW) == (4.0, True, Result.NOT_APPLICABLE, 2.0)
    assert plan.evaluate(Lazy(values), NOW) == (4.0, True, Result.NOT_APPLICABLE, 2.0)


def test_no_formulas_are_a_plan_too() -> None:
    assert plan_of().evaluate({}, NOW) == ()


def test_fact_that_is_missing_is_unknown_and_spares_the_others() -> None:
    plan = plan_of("支付金额*2", '渠道="天猫"')

    assert plan.evaluate({"order.channel": "京东"}, NOW) == (UNKNOWN, False)


def test_values_are_not_changed_and_no_key_is_added() -> None:
    values: dict[str, Any] = {"order.pay": 3, "lines": [{"lines.qty": 2}]}

    plan_of("支付金额+求和(明细,数量)").evaluate(values, NOW)

    assert values == {"order.pay": 3, "lines": [{"lines.qty": 2}]}
    assert type(values["order.pay"]) is int


def test_formula_that_is_refused_makes_no_plan() -> None:
    with pytest.raises(FormulaErrors):
        plan_of("支付金额*2", "支付金额*")


def test_general_version_is_generated_when_it_is_first_needed() -> None:
    plan = plan_of("支付金额*2", '渠道="天猫"')
    size = len(plan.source)

    plan.evaluate({"order.pay": 1.0, "order.channel": "天猫"}, NOW)
    assert len(plan.source) == size
    plan.evaluate({"order.pay": UNKNOWN, "order.channel": "天猫"}, NOW)
    grown = len(plan.source)
    plan.evaluate({"order.pay": "x", "order.channel": "天猫"}, NOW)

    assert grown > size
    assert len(plan.source) == grown


def test_branch_that_is_not_taken_is_not_evaluated() -> None:
    plan = plan_of("如果(支付金额>1,求和(明细,求和(明细,数量)),5)")
    lines = [{"lines.qty": 1.0}] * 2_000

    assert plan.evaluate({"order.pay": 1.0, "lines": lines}, NOW) == (5.0,)
    assert plan.evaluate({"order.pay": 2.0, "lines": lines}, NOW) == (ErrorValue.LIMIT,)


def test_part_used_by_several_formulas_is_computed_once() -> None:
    plan = plan_of("求和(明细,数量)>1", "求和(明细,数量)*2", "如果(支付金额>1,求和(明细,数量),0)")

    assert plan.source.count("def w") == 3  # written where it may be first, evaluated once
    asked: list[str] = []

    class Row(dict[str, object]):
        def get(self, key: str, default: object = None) -> object:  # type: ignore[override]
            asked.append(key)
            return super().get(key, default)

    values = {"order.pay": 2.0, "lines": [Row({"lines.qty": 3.0})]}
    assert plan.evaluate(values, NOW) == (True, 6.0, 3.0)
    assert asked == ["lines.qty"]


def test_one_plan_may_run_in_several_threads() -> None:
    plan = plan_of("求和(明细,数量)*1000+支付金额", "支付金额*2")

    def work(number: int) -> bool:
        pay: object = float(number) if number % 3 else UNKNOWN
        values = {"lines": [{"lines.qty": float(number)}] * 20, "order.pay": pay}
        first = number * 20_001.0 if number % 3 else UNKNOWN
        return all(plan.evaluate(values, NOW)[0] == first for _ in range(50))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(40)))
