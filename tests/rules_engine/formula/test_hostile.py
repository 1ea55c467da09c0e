"""Nothing a formula says gets out of the language, hangs or grows: in both plans, saved or run.

The bars are 100 ms and 50 MB for one expression. Times are asserted at ten times their bar, since
the machine is shared; the slowest is printed.
"""

from __future__ import annotations

import datetime as dt
import json
import math
import subprocess
import sys
import time
import tracemalloc
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from rules_engine.formula import FUNCTIONS, ErrorValue, FormulaErrors, RowPlan, Unknown, check
from rules_engine.formula.compiled_plan import CompiledPlan
from rules_engine.formula.limits import MAX_TEXT
from rules_engine.formula.lines import PLANS

from .facts import NOW, read_facts
from .hostile import OWN, expand, read_own
from .shared import FOLDER, needs_samples, read_sample

ROOT = Path(__file__).resolve().parents[3]
SAMPLE = [c for c in read_sample("hostile_sample.jsonl") if c["kind"] != "injection_in_data"]
CASES = [*SAMPLE, *read_own()]
FIELDS = {
    "amount": 5.0,
    "channel": "天猫",
    "now": dt.datetime(2026, 11, 13, 10, 0),  # noqa: DTZ001 - local wall time is meant
    "created_at": dt.datetime(2026, 11, 11, 10, 0),  # noqa: DTZ001 - local wall time is meant
    "receiver_address": "文三路 1 号",
    "items": [1.0, 2.0, 3.0],
}
# With these fields the expression is an honest formula: = compares, as in Excel.
HONEST = {"amount = 100": False}
# Kinds that may come to an Excel error or a correct, finite value instead of a refusal.
MAY_COUNT = ("xl_", "regex")
SECONDS, BYTES = 1.0, 50_000_000

plans = pytest.mark.parametrize("plan", sorted(PLANS))
with_facts = pytest.mark.parametrize("facts", [{}, FIELDS], ids=["no fields", "with fields"])


def run(formula: str, facts: dict[str, object], plan: str = "row") -> object:
    names, values = read_facts(facts)
    checked = check(formula, names)
    return PLANS[plan](checked, values, NOW) if checked.is_valid else "refused"


def is_harmless(case: dict[str, str], formula: str, value: object) -> bool:
    if value == "refused" or isinstance(value, ErrorValue):
        return True
    if case["kind"].startswith(MAY_COUNT):
        if isinstance(value, str):
            return len(value) <= MAX_TEXT
        return isinstance(value, bool) or (isinstance(value, float) and math.isfinite(value))
    return formula in HONEST and HONEST[formula] == value


@plans
@with_facts
def test_hostile_expression_is_refused_or_an_error_value(
    plan: str, facts: dict[str, object]
) -> None:
    wrong, slow = [], []
    for case in CASES:
        formula = expand(case)
        begun = time.process_time()
        value = run(formula, facts, plan)
        slow.append((time.process_time() - begun, case["id"], formula[:60]))
        if not is_harmless(case, formula, value):
            wrong.append((case["id"], formula[:80], value))

    slow.sort(reverse=True)
    print(f"slowest of {len(CASES)}, {plan} plan: {slow[0][0] * 1000:.0f} ms, {slow[0][1:]}")  # noqa: T201 - shown with -s
    assert not wrong
    assert slow[0][0] < SECONDS, slow[:5]


@plans
@pytest.mark.slow
def test_hostile_expression_takes_little_memory(plan: str) -> None:
    most = (0, "", "")
    tracemalloc.start()
    try:
        for case in CASES:
            formula = expand(case)
            before = tracemalloc.get_traced_memory()[0]
            tracemalloc.reset_peak()
            run(formula, FIELDS, plan)
            most = max(
                most, (tracemalloc.get_traced_memory()[1] - before, case["id"], formula[:60])
            )
    finally:
        tracemalloc.stop()

    print(f"most memory, {plan} plan: {most[0] / 1e6:.1f} MB, {most[1:]}")  # noqa: T201 - shown with -s
    assert most[0] < BYTES / 5, most  # far below the bar: a growing one is seen in time


def test_every_refusal_holds_at_run_time_as_well() -> None:
    refused: Counter[str] = Counter()
    names, _ = read_facts(FIELDS)
    for case in CASES:
        checked = check(expand(case), names)
        if checked.is_valid:
            continue
        refused[case["kind"]] += 1
        with pytest.raises(FormulaErrors):
            RowPlan(checked)
        with pytest.raises(FormulaErrors):
            CompiledPlan([checked])

    assert refused.total() > 500
    assert {case["kind"] for case in CASES} - set(refused) <= {"xl_date_bomb"}  # errors as values


def test_every_kind_of_the_sample_has_further_cases_of_ours() -> None:
    own = Counter(case["kind"] for case in read_own())

    assert own.total() >= 700
    assert {case["kind"] for case in SAMPLE} <= set(own)


_WHOLE_FILE = """
import json, re, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from rules_engine.formula.lines import Answerer
answerer = Answerer(sys.argv[2], 46339.4, time.perf_counter)
answerer.warm_up()
usage = lambda: int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
before = usage()
slowest = max(answerer.answer(line).get("ms", 0) for line in sys.stdin.buffer)
print(json.dumps({"before_kb": before, "after_kb": usage(), "slowest_ms": slowest}))
"""


@plans
def test_fresh_process_stays_small_over_the_whole_file(plan: str) -> None:
    fields = {"amount": 5, "channel": "天猫", "items": [1, 2, 3], "receiver_address": "文三路 1 号"}
    lines = [json.dumps({"formula": expand(case), "fields": fields}) for case in CASES]

    done = subprocess.run(
        [sys.executable, "-c", _WHOLE_FILE, str(ROOT), plan],
        input="\n".join(lines).encode(),
        capture_output=True,
        check=True,
    )

    found = json.loads(done.stdout)
    grown = found["after_kb"] - found["before_kb"]
    print(  # noqa: T201 - shown with -s
        f"{plan} plan, {len(lines)} expressions: {found['before_kb'] / 1024:.0f} MB before, "
        f"{grown / 1024:.0f} MB more after, slowest {found['slowest_ms']:.0f} ms"
    )
    assert grown * 1024 < BYTES / 2  # of all together; one may take 50 MB
    assert done.stderr == b""


@needs_samples
@pytest.mark.shared_data
@plans
def test_data_is_never_evaluated(plan: str) -> None:
    seen = {}
    for case in read_sample("hostile_sample.jsonl"):
        if case["kind"] == "injection_in_data":
            inner = json.loads(case["expr"])
            seen[inner["formula"]] = run(inner["formula"], inner["fields"], plan)

    assert seen["VALUE(channel)"] is ErrorValue.VALUE
    assert seen["LEN(channel)"] == 13.0
    assert seen["TEXT(1,channel)"] == "%9999999991"


@plans
@pytest.mark.parametrize(
    "text",
    [
        "=1+1",
        "=HYPERLINK(1)",
        "+1",
        "@SUM(1)",
        "{#amount}",
        "{0.__class__}",
        "%(a)s",
        "__import__('os').system('id')",
        "9**9**9",
        "\x00",
        "\ud800",
        "\u202e1",
        "',\"",
        '"&1&"',
        "a\r\nb",
    ],
)
def test_text_from_data_stays_the_text_it_is(plan: str, text: str) -> None:
    assert run("a", {"a": text}, plan) == text
    assert run('a&""', {"a": text}, plan) == text
    assert run("IF(a=a,a,0)", {"a": text}, plan) == text
    assert run("EXACT(a,a)", {"a": text}, plan) is True
    assert run("INDEX(l,1)", {"l": [text]}, plan) == text
    assert run("COUNTIF(l,a)", {"l": ["x"], "a": text}, plan) == 0.0
    assert not isinstance(run('匹配(a,".*")', {"a": text}, plan), Unknown)


@plans
@pytest.mark.parametrize(
    "name",
    ["__class__", "__import__", "import", "None", "lambda", "values", "now", "m", "v0", "True"],
)
def test_field_with_a_name_of_python_is_a_field_and_nothing_else(plan: str, name: str) -> None:
    assert run(f"[{name}]+1", {name: 2.0}, plan) == 3.0
    assert run(f"[{name}]", {"other": 2.0}, plan) == "refused"


@plans
@pytest.mark.parametrize(
    "formula",
    [
        "1" + "+1" * 900,
        "1" + "=1" * 900,
        "1" + "^1" * 900,
        "(" * 64 + "1" + ")" * 64,
        "-" * 64 + "1",
        "1" + "%" * 64,
        "1=1&1+1*1^(" * 21 + "1" + ")" * 21,
        "IF(1=1&1+1*1^1," * 64 + "1" + ",0)" * 64,
        "IF(a>1," * 64 + "a" + ",0)" * 64,
        "a" + "+a" * 900,
        "IFERROR(a/a," * 64 + "1" + ")" * 64,
        "且(a>0," * 64 + "1" + ")" * 64,
        "SWITCH(a," + ",".join(f"{n},a" for n in range(120)) + ",a)",
        "SUM(" + ",".join(["a"] * 255) + ")",
    ],
)
def test_widest_and_deepest_formula_still_runs(plan: str, formula: str) -> None:
    begun = time.process_time()

    value = run(formula, {"a": 1.5}, plan)

    assert value != "refused"
    assert value is not ErrorValue.LIMIT
    assert time.process_time() - begun < SECONDS * 2


@pytest.mark.parametrize(
    ("formula", "code"),
    [
        ("1" + "+1" * 2000, "too_many_nodes"),
        ("(" * 65 + "1" + ")" * 65, "too_deep"),
        ("-" * 65 + "1", "too_deep"),
        ("1=1&1+1*1^(" * 22 + "1" + ")" * 22, "too_deep"),
        ("1" + "%" * 65, "too_deep"),
        ("IF(1," * 65 + "1" + ",0)" * 65, "too_deep"),
        ("SUM(" + ",".join(["1"] * 256) + ")", "too_many_arguments"),
        ("1" * 8193, "too_long"),
        ("1e999999", "number_too_large"),
        ("SUM(" + ",".join(['LEN(REPT("a",32767))'] * 50) + ")", "too_costly"),
    ],
)
def test_limit_refuses_by_its_own_name(formula: str, code: str) -> None:
    names, _ = read_facts({})

    assert [item.code for item in check(formula, names).findings] == [code]


@plans
@pytest.mark.parametrize(
    "formula",
    [
        "求和(甲,求和(乙,数量))",
        "求和(甲,求和(乙,求和(丙,数量)))",
        "计数(甲,任一(乙,每一(丙,数量>0)))",
        "求和(甲,数量*计数(乙)*计数(丙,数量>0))",
        "最大(甲,最小(乙,平均(丙,不同数(甲,数量))))",
    ],
)
def test_rows_inside_rows_use_up_the_steps(plan: str, formula: str) -> None:
    lines: list[dict[str, Any]] = [{"数量": 1.0}] * 2_000
    begun = time.process_time()

    value = run(formula, {"甲": lines, "乙": lines, "丙": lines}, plan)

    assert value is ErrorValue.LIMIT
    assert time.process_time() - begun < SECONDS


@plans
def test_one_formula_that_uses_up_its_steps_leaves_the_others_alone(plan: str) -> None:
    lines: list[dict[str, Any]] = [{"数量": 1.0}] * 2_000
    names, values = read_facts({"甲": lines, "乙": lines, "文": "金" * 30_000})
    formulas = [
        "求和(甲,求和(乙,数量))",
        "1+1",
        f"SUM({','.join(['LEN(UPPER(文))'] * 40)})",
        "LEN(UPPER(文))",
    ]
    checked = [check(formula, names) for formula in formulas]

    if plan == "compiled":
        found = CompiledPlan(checked).evaluate(values, NOW)
    else:
        found = tuple(RowPlan(item).evaluate(values, NOW) for item in checked)

    assert found == (ErrorValue.LIMIT, 2.0, ErrorValue.LIMIT, 30_000.0)


def test_files_of_cases_are_where_they_should_be() -> None:
    assert OWN.is_file()
    assert FOLDER.name == "formula"


_EXTREMES = {
    "huge numbers": "1E308",
    "huge negative numbers": "-1E308",
    "last day": "2958465",
    "tiny numbers": "5E-324",
    "longest text": "t",
    "longest number": "d",
    "many separators": "s",
    "long list": "l",
    "first to last": None,  # 1, 2958465, 1, 2958465 ...
}
_LONG = {
    "t": "金" * 32_767,
    "d": "9" * 32_767,
    "s": "2026-11-11,~*?(" * 2_100,
    "l": [float(n) for n in range(5_000)],
}


@pytest.mark.parametrize("extreme", _EXTREMES)
def test_no_function_is_slow_on_extreme_arguments(extreme: str) -> None:
    names, values = read_facts(_LONG)
    slow, ran = [], 0
    for function in FUNCTIONS:
        count = function.fewest if function.most is None else function.most
        count += 2 if function.most is None else 0
        filling = _EXTREMES[extreme]
        args = [
            '"(a|b)*c"'
            if function.parameter_at(index).is_literal
            else filling or ("1" if index % 2 == 0 else "2958465")
            for index in range(count)
        ]
        formula = f"{function.en}({','.join(args)})"
        begun = time.process_time()
        checked = check(formula, names)
        if checked.is_valid:
            ran += 1
            for run_plan in PLANS.values():
                value = run_plan(checked, values, NOW)
                assert not isinstance(value, float) or math.isfinite(value), formula
        slow.append((time.process_time() - begun, formula))

    slow.sort(reverse=True)
    print(f"{extreme}: slowest of {ran} functions {slow[0][0] * 1000:.0f} ms, {slow[0][1]}")  # noqa: T201 - shown with -s
    assert ran > 100
    assert slow[0][0] < SECONDS, slow[:5]
