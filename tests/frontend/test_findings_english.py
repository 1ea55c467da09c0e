"""In English nothing the checkers say is Chinese but names, typed text and signatures."""

from __future__ import annotations

import ast
import datetime as dt
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils.translation import override

from config.errors import BadInput, Phrase
from config.tenancy.models import Role
from config.tenancy.scope import for_environment
from config.wording import say, say_error
from frontend.pages.check_formula import describe_formula
from rules_engine.facts.table_changes import compare_tables
from rules_engine.facts.tables import SHIPPED, check_table, require_table
from rules_engine.formula import FUNCTIONS, Finding, FormulaErrors, Names, check
from rules_engine.formula.errors import SORTS
from rules_engine.formula.limits import MAX_CHARACTERS, MAX_DEPTH, MAX_LOOKUPS, MAX_WALKS
from rules_engine.rules.content import check_content
from tests.factories import World, make_order, make_sources, table_content
from tests.rules_engine.formula import formulas, test_check, test_lookups
from tests.rules_engine.formula.facts import read_facts
from tests.rules_engine.formula.test_formula_cases import read_cases, read_line_facts

FOLDER = Path(__file__).parents[1] / "rules_engine" / "formula"
_CHINESE = re.compile(r"[\u4e00-\u9fff]+")


def list_typed_texts() -> list[str]:
    """Every text in the tests of the language: most are formulas, the others are broken ones."""
    found: dict[str, None] = {}
    for path in sorted(FOLDER.glob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found[node.value[:1000]] = None
    return list(found)


def list_large_formulas() -> list[tuple[str, Names]]:
    lookup, walk = '查表("运费表", 省, 重量, "运费")', "计数(同买家订单)"
    texts = [
        "+".join([lookup] * (MAX_LOOKUPS + 1)),
        "+".join([walk] * (MAX_WALKS + 1)),
        "+".join(['LEN(REPT("a",32767))'] * 40),
        "1" * (MAX_CHARACTERS + 1),
        "+".join(["1"] * (MAX_CHARACTERS // 2)),
        "(" * (MAX_DEPTH + 1),
        f"SUM({','.join(['1'] * 300)})",
        f'匹配("a","{"b" * 600}")',
        '匹配("a","b(?=c)d")',
        "{#table:none}+{#gone.field}",
        '查表({#table:none},1,"a")',
    ]
    return [(text, test_lookups.NAMES) for text in texts]


def list_findings() -> Iterator[tuple[str, Names, Finding]]:
    cases: list[tuple[str, Names]] = list_large_formulas()
    for case in read_cases():
        formula, facts, _ = (part.strip() for part in str(case.values[0]).split(" ; "))
        cases.append((formula, read_facts(read_line_facts(facts))[0]))
    for text in list_typed_texts():
        cases += [(text, names) for names in (test_check.NAMES, test_lookups.NAMES, formulas.NAMES)]
    for text, names in cases:
        kinds: Sequence[Any] = ("judgement", "points") if len(text) < 200 else ("any",)
        for kind in kinds:
            for finding in check(text, names, kind=kind).findings:
                yield text, names, finding


def list_names(names: Names) -> set[str]:
    fields = [*names.fields, *(column for field in names.fields for column in field.columns)]
    for table in names.tables:
        fields += [*table.keys, *table.columns]
    known = {word for field in fields for word in (field.label, field.alias)}
    known |= {table.name for table in names.tables} | {term.label for term in names.terms}
    return known | {name for function in FUNCTIONS for name in function.names}


def find_chinese(said: str, typed: str, known: Iterable[str]) -> list[str]:
    """The Chinese in what is said that is neither typed nor a name."""
    allowed = {run for name in known for run in _CHINESE.findall(name)}
    return [run for run in _CHINESE.findall(said) if run not in typed and run not in allowed]


def test_every_finding_and_remedy_is_english() -> None:
    seen: set[str] = set()
    wrong: dict[str, list[str]] = {}
    told: set[tuple[str, str]] = set()
    with override("en"):
        for typed, names, finding in list_findings():
            seen.add(finding.code)
            usage = str(finding.params.get("usage", ""))  # a signature is Chinese in this step
            label = say(finding.fix.label) if finding.fix else ""
            said = (say(finding.phrase).replace(usage, "") if usage else say(finding.phrase), label)
            if said in told:
                continue
            told.add(said)
            known = list_names(names)
            for text in said:
                # What a remedy puts in is a formula: its names and what was typed.
                mended = typed + (finding.fix.text if finding.fix else "")
                if left := find_chinese(
                    text, mended, {*known, "推送WMS", "明细", "付款", "支付金额"}
                ):
                    wrong.setdefault(text, left)

    assert wrong == {}
    assert set(SORTS) - seen == set()


def test_an_error_about_a_formula_is_english_down_to_its_finding() -> None:
    findings = check("SUM(1、2)", Names(())).findings
    with override("en"):
        said = say_error(FormulaErrors(findings))

    assert _CHINESE.findall(said) == []
    assert "commas" in said


def test_the_place_of_a_finding_is_said_once_in_both_languages() -> None:
    checked = check("1+", Names(()))
    for language in ("zh-hans", "en"):
        with override(language):
            (remark,) = describe_formula(checked).findings
        assert not re.search(r"第 1 行|Line 1", remark.text), remark.text


def with_column(place: int, **changes: Any) -> list[dict[str, Any]]:
    columns: list[dict[str, Any]] = table_content()["columns"]
    columns[place] |= changes
    return columns


def with_type(type: str, cell: str) -> dict[str, Any]:
    column = {"key": "x", "label": "X", "type": type, "is_key": False, "default": None}
    return {"columns": [*with_column(0), column], "rows": [["A", 1, 1, cell]]}


def list_broken_tables() -> list[dict[str, Any]]:
    changes: list[dict[str, Any]] = [
        {"rows": [["浙江省", 1, 1], ["沪", 2, 2], [" 浙江省", 3, 3]]},
        {"rows": [["", 1, 1]]},
        {"rows": "x"},
        {"rows": [[f"省{n}", 1, 1] for n in range(20_001)]},
        {"key": "Freight"},
        {"name": ""},
        {"name": 'A"B'},
        {"columns": []},
        {"columns": with_column(1, label="省")},
        {"columns": with_column(1, label="")},
        {"columns": with_column(1, key="province")},
        {"columns": with_column(1, key="!")},
        {"columns": with_column(1, type="?")},
        {"columns": with_column(0, is_key=False)},
        {"columns": with_column(1, is_key=True), "rows": []},
        {"columns": [c | {"is_key": True, "type": "text"} for c in with_column(0)], "rows": []},
        {"columns": with_column(2, default="多久")},
        {"columns": [*with_column(0), *(with_column(0)[0] | {"key": f"c{n}"} for n in range(20))]},
        with_type("money", "六元"),
        with_type("money", "1.005"),
        with_type("number", "多"),
        with_type("logical", "也许"),
        with_type("date", "昨天"),
        with_type("date", "2026-11-11 20:00"),
        with_type("datetime", "昨天"),
        with_type("text", "长" * 600),
        with_type("text", "a\u200bb"),
    ]
    promotions = SHIPPED["promotions"]
    return [table_content(**change) for change in changes] + [
        promotions | {"columns": promotions["columns"][:2]},
        promotions | {"rows": [["双11", "2026-11-12 00:00", "2026-11-11 00:00"]]},
    ]


def test_every_problem_of_a_table_is_english() -> None:
    wrong = {}
    shipped = json.dumps(SHIPPED, ensure_ascii=False)
    with override("en"):
        for content in list_broken_tables():
            typed = json.dumps(content, ensure_ascii=False) + shipped
            problems = check_table(content)[1]
            assert problems
            with pytest.raises(BadInput) as caught:
                require_table(content)
            for said in (*(say(p.placed) for p in problems), say_error(caught.value)):
                if left := find_chinese(said, typed, ("是", "否")):
                    wrong[said] = left

    assert wrong == {}


def test_every_change_of_a_table_is_english() -> None:
    old = table_content()
    changed = [
        old | {"name": "运费", "rows": [["浙江省", "7", "2"], ["沪", "1", "1"]]},
        old | {"columns": with_column(1, label="邮费", type="text", default="3")},
        old | {"columns": with_column(1, is_key=True)},
        old | {"columns": with_column(0, is_key=False)},
        old | {"columns": with_column(0)[:2], "rows": []},
    ]
    pairs = [(old, new) for new in changed] + [(new, old) for new in changed]
    pairs += [(None, old), (old, old)]
    wrong = {}
    with override("en"):
        for before, after in pairs:
            typed = json.dumps([before, after], ensure_ascii=False)
            found = compare_tables(before, after)
            for said in (*map(say, found.sentences), say(found.summary)):
                if left := find_chinese(said, typed, ()):
                    wrong[said] = left

    assert wrong == {}


def list_broken_rule_sets() -> list[Any]:
    def edited(**changes: Any) -> dict[str, Any]:
        row = {"key": "paid", "name": "已付", "formula": "支付金额>0", "points": 100}
        return {"name": "一项", "dimensions": [row | changes]}

    twice = edited()["dimensions"] * 2
    return [
        None,
        edited(formula="支付金颔>0"),
        edited(formula="支付金额>0 并且 分数>1"),
        edited(formula=""),
        edited(formula="+".join(["计数(明细)"] * 3), kind="points", points=3),
        edited(points="多"),
        edited(points=120),
        edited(points=0),
        edited(cap=101),
        edited(kind="别的", when_late="别的", when_not_applicable="别的", source="别的"),
        edited(key="编号", name=""),
        edited(name="长" * 50),
        edited(cause="\u200b"),
        edited(reason=3),
        edited(reason="长" * 400 + "{支付金颔}{收货人}\u200b"),
        edited(reason="{支付金额}" * 20),
        {"name": "", "dimensions": twice, "lines": {"yellow": 50, "orange": 60, "red": None}},
        {"name": "一项", "dimensions": twice, "lines": {"yellow": 50, "orange": 60, "red": 70}},
        {"name": "一项", "dimensions": [3] * 70, "lines": 3},
        {"name": "一项"},
    ]


def test_every_problem_of_a_rule_set_is_english() -> None:
    wrong = {}
    names = list_names(test_check.NAMES) | {"支付金额"}
    with override("en"):
        for content in list_broken_rule_sets():
            typed = json.dumps(content, ensure_ascii=False)
            problems = check_content(content, test_check.NAMES)[1]
            assert problems
            for problem in problems:
                if left := find_chinese(say(problem.placed), typed, names):
                    wrong[say(problem.placed)] = left

    assert wrong == {}


@pytest.mark.django_db
def test_a_page_says_a_remedy_in_the_readers_language(world: World) -> None:
    with for_environment(world.production):
        make_sources()
        make_order()
    client = Client()
    client.force_login(world.users[Role.SUPERVISOR])
    address = reverse("function_try", args=["SUM"])

    chinese = client.post(address, {"formula": "SUM(1、2)", "example": "0"}).content.decode()
    with override("zh-hans"):  # a request leaves its language behind
        client.post("/language/", {"language": "en", "next": "/"})
        english = client.post(address, {"formula": "SUM(1、2)", "example": "0"}).content.decode()

    assert "换成 ," in chinese
    assert "Replace by ," in english
    assert "换成" not in english


def test_a_phrase_inside_a_phrase_is_said_too() -> None:
    phrase = Phrase("「%(name)s」", {"name": Phrase("是")})

    assert str(phrase) == "「是」"
    with override("en"):
        assert say(phrase) == '"yes"'
    assert str(dt.date(2026, 11, 11)) in str(Phrase("%(day)s", {"day": dt.date(2026, 11, 11)}))
