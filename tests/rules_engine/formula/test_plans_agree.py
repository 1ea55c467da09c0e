"""Two plans, one meaning: the compiled plan gives the row plan's value, bit for bit.

An ordinary run compares at least 50,000 cells (formula x record), `make fuzz` a million.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rules_engine.formula import FUNCTIONS, Checked, ErrorValue, RowPlan, check
from rules_engine.formula.code_trees import reads_text
from rules_engine.formula.compiled_plan import CompiledPlan
from rules_engine.formula.tree import Invoke, walk

from .facts import NOW
from .formulas import calls, formulas
from .plan_inputs import RULE_NAMES, SEEDS, make_records, rules

CELLS = int(os.environ.get("HEDAO_FUZZ_CELLS", "50000"))
RECORDS = 60

seeds = st.integers(0, SEEDS - 1)

quiet = settings(deadline=None, database=None, suppress_health_check=list(HealthCheck))


def is_identical(first: object, second: object) -> bool:
    """Same type and same bits: repr tells -0.0 from 0.0 and every float from every other."""
    return first is second or (type(first) is type(second) and repr(first) == repr(second))


def check_all(texts: Sequence[str]) -> list[Checked]:
    checked = [check(text, RULE_NAMES) for text in texts]
    for item in checked:
        assert item.is_valid, (item.text, [finding.text for finding in item.findings])
    return checked


def compare(texts: Sequence[str], seed: int, *, records: int = RECORDS, now: float = NOW) -> int:
    """Run formulas through both plans over records; the number of cells compared."""
    checked = check_all(texts)
    compiled = CompiledPlan(checked)
    plans = [RowPlan(item) for item in checked]
    for record in make_records(seed, records):
        try:
            values = compiled.evaluate(record, now)
            expected = [plan.evaluate(record, now) for plan in plans]
        except Exception as error:
            error.add_note(f"{texts} {[reads(plan, record) for plan in plans]}")
            raise
        for text, plan, value, wanted in zip(texts, plans, values, expected, strict=True):
            assert is_identical(value, wanted), (text, value, wanted, reads(plan, record))
    return len(texts) * records


def reads(plan: RowPlan, record: dict[str, Any]) -> dict[str, Any]:
    ids = plan._checked.field_ids  # noqa: SLF001 - only for the message of a failure
    return {id: str(value)[:80] for id, value in record.items() if id in ids}


def run_rules(examples: int, cells: Counter[str]) -> None:
    @settings(quiet, max_examples=examples)
    @given(st.lists(rules(), min_size=1, max_size=3), seeds)
    def agree(texts: list[str], seed: int) -> None:
        cells["rules"] += compare(texts, seed)

    agree()


def run_mixtures(examples: int, cells: Counter[str]) -> None:
    @settings(quiet, max_examples=examples)
    @given(formulas(depth=4), rules(3), seeds)
    def agree(odd: str, rule: str, seed: int) -> None:
        texts = [odd, rule, f"IFERROR({odd},{rule})"]
        checked = check(texts[2], RULE_NAMES)
        cells["mixtures"] += compare(texts if checked.is_valid else texts[:2], seed)

    agree()


def run_function(function: Any, examples: int, cells: Counter[str], covered: set[str]) -> None:
    @settings(quiet, max_examples=examples)
    @given(calls(function), seeds)
    def agree(text: str, seed: int) -> None:
        (checked,) = check_all([text])
        tree = checked.require_tree()
        if any(isinstance(n, Invoke) and n.function is function for n, _ in walk(tree)):
            covered.add(function.en)
        cells["calls"] += compare([text], seed)

    agree()


@pytest.mark.slow
@pytest.mark.timeout(3600 if CELLS > 50_000 else 300)
def test_plans_agree_on_every_cell() -> None:
    cells: Counter[str] = Counter()
    covered: set[str] = set()
    while cells.total() < CELLS:
        for function in FUNCTIONS:
            run_function(function, 3, cells, covered)
        run_rules(100, cells)
        run_mixtures(60, cells)

    print(f"cells compared: {cells.total()} {dict(cells)}")  # noqa: T201 - shown with -s
    assert cells.total() >= CELLS
    assert {function.en for function in FUNCTIONS} == covered


def every_plan_gives(formula: str, record: dict[str, Any]) -> object:
    (checked,) = check_all([formula])
    (value,) = CompiledPlan([checked]).evaluate(record, NOW)
    expected = RowPlan(checked).evaluate(record, NOW)
    assert is_identical(value, expected), (value, expected)
    return value


LONG_ROWS = [{"r.count": 1.0, "r.code": "a"}] * 2_000


@pytest.mark.parametrize(
    "formula",
    [
        "求和(包裹,求和(包裹,件数))",
        "IFERROR(求和(包裹,求和(包裹,件数)),0)",
        "IF(a>1,求和(包裹,求和(包裹,件数)),5)",
        "AND(FALSE,求和(包裹,计数(包裹))>0)",
        "OR(a>0,计数(列表)>0,计数(列表)>0)",
        "+".join(["计数(列表)"] * 300),
        "+".join(["计数(列表)"] * 90),
        "+".join(["计数(包裹,合格)"] * 60),
        "+".join(["计数(随意)"] * 300),
        "+".join(["SUM(a,1)"] * 300),
        "&".join(['SUBSTITUTE(address,"b","c")'] * 30),
        "LEN(" + "&".join(["LEFT(REPT(channel,9000),3)"] * 60) + ")",
        "LEN(" + "&".join(['REPT("ab",9000)'] * 10) + ")",
        "LEN(" + "&".join(['LEFT(REPT("ab",9000),2)'] * 10) + ")",
        "OR(" + ",".join(['CONTAINS(address,"zz")'] * 250) + ")",
        "AND(a>1," + ",".join(['CONTAINS(address,"zz")'] * 250) + ")",
        '任一(包裹,包含(编号&address,"q"))',
        'COUNTIF(列表,"*z*")+COUNTIF(列表,"*y*")',
    ],
)
@pytest.mark.parametrize("size", [0, 10, 2_000])
def test_plans_reach_the_limits_at_the_same_place(formula: str, size: int) -> None:
    record = {
        "p.a": 1.0,
        "p.channel": "天猫",
        "p.address": "b" * size,
        "p.any": [1.0] * size,
        "f.list": ["z" * 300] * size,
        "p.rows": LONG_ROWS[:size],
    }

    every_plan_gives(formula, record)
    every_plan_gives(formula, record | {"p.a": [1.0] * size})
    every_plan_gives(formula, record | {"p.address": "b" * 40_000})


def test_limit_is_reached_in_both_plans() -> None:
    rows = {"p.rows": LONG_ROWS}

    assert every_plan_gives("求和(包裹,求和(包裹,件数))", rows) is ErrorValue.LIMIT


def test_every_function_that_spends_text_work_says_so() -> None:
    """The compiled plan counts text work only where the declaration has it."""
    spending = {f.en for f in FUNCTIONS if "spend_text" in f.run.__code__.co_names}

    assert spending >= {"PROPER", "REPT"}
    assert {f.en for f in FUNCTIONS if f.en in spending and not reads_text(f)} == set()


def test_shared_part_costs_each_formula_its_steps() -> None:
    """What is computed once is charged to everyone who uses it."""
    part = "计数(包裹,合格)"
    texts = [part, "+".join([part] * 40), "+".join([part] * 60), f"{part}*2"]
    checked = check_all(texts)
    record = {"p.rows": LONG_ROWS}

    values = CompiledPlan(checked).evaluate(record, NOW)

    expected = tuple(RowPlan(item).evaluate(record, NOW) for item in checked)
    assert all(is_identical(*pair) for pair in zip(values, expected, strict=True))
    assert len(set(map(repr, values))) > 1


@pytest.mark.parametrize("now", [NOW, 0.0, -1.0, 1e300, float("inf"), 2_958_465.9999999995])
def test_plans_agree_at_any_moment(now: float) -> None:
    texts = [
        "现在()-made",
        "距今小时(made)>2",
        'TEXT(现在(),"yyyy")',
        "今天()",
        "AND(made<现在(),a>1)",
    ]

    compare(texts, 7, records=30, now=now)


EXTREMES = [
    "1" + "+1" * 900,
    "a" + "+a" * 900,
    "a" + "=a" * 900,
    "a" + "^b" * 900,
    "channel" + "&channel" * 900,
    "(" * 64 + "a" + ")" * 64,
    "-" * 64 + "a",
    "a" + "%" * 64,
    "a=a&a+a*a^(" * 21 + "a" + ")" * 21,
    "IF(a=b&a+a*a^a," * 64 + "a" + ",0)" * 64,
    "IF(a=1," * 64 + "b" + ",0)" * 64,
    "IF(a=1,b," * 64 + "b" + ")" * 64,
    "IFERROR(a/b," * 64 + "0" + ")" * 64,
    "NOT(" * 64 + "locked" + ")" * 64,
    "AND(a>b," * 64 + "locked" + ")" * 64,
    "ABS(a-" * 64 + "b" + ")" * 64,
    "SUM(" + ",".join(["a"] * 255) + ")",
    "AND(" + ",".join(["a>b"] * 255) + ")",
    "OR(" + ",".join([f"a={n}" for n in range(255)]) + ")",
    "IFS(" + ",".join(f"a>{n},{n}" for n in range(127)) + ")",
    "IFS(" + ",".join(f"a/b>{n},{n}" for n in range(127)) + ")",
    "SWITCH(a," + ",".join(f"b+{n},{n}" for n in range(127)) + ")",
    "SWITCH(channel," + ",".join(f'"{n}",{n}' for n in range(127)) + ")",
    "CHOOSE(a," + ",".join(f"b+{n}" for n in range(254)) + ")",
    "CONCATENATE(" + ",".join(["channel"] * 255) + ")",
    "属于(channel," + ",".join(f'"{n}"' for n in range(254)) + ")",
    "求和(包裹," * 15 + "件数" + ")" * 15,
    "任一(包裹," * 20 + "件数>1" + ")" * 20,
    "IF(" * 40 + "a" + "".join(f">{n},locked,paid)" for n in range(40)),
    "最大(a,b)" * 0 + "+".join(["最大(a,最小(b,due))"] * 200),
]


@pytest.mark.parametrize("formula", EXTREMES, ids=lambda text: text[:24])
def test_widest_and_deepest_formula_compiles(formula: str) -> None:
    compare([formula], 11, records=15)


def test_source_holds_nothing_a_user_typed() -> None:
    texts = [
        'IF(channel="天猫__import__",包含(address,"os.system"),LEN("\'""\\\\"))',
        'SWITCH(channel,"eval",1.5,2.25)',
        "ROUND(a,3)+12345.678",
        'TEXT(made,"yyyy;exec")',
    ]
    plan = CompiledPlan(check_all(texts))

    plan.evaluate({"p.channel": UNSEEN, "p.address": "x"}, NOW)

    for typed in ("天猫", "import", "os.system", "eval", "12345", "exec", "channel", "1.5", "2.25"):
        assert typed not in plan.source
    assert plan.source.isascii()
    assert plan._namespace["__builtins__"] == {}  # noqa: SLF001 - what the source may reach


UNSEEN = "eval"


def test_many_formulas_of_one_kind_are_one_function() -> None:
    texts = [f"IF(距今小时(made)>{n},a-{n},求和(包裹,件数)+{n})" for n in range(60)]

    assert compare(texts, 3, records=20) == 1_200
