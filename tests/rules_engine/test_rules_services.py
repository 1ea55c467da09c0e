"""The check of rule sets, their differences, the release machine around them."""

from __future__ import annotations

import copy
import math
from datetime import datetime
from typing import Any

import pytest

from config.errors import BadInput, WrongState
from config.releases.models import Version
from config.releases.services import (
    approve_version,
    create_draft,
    export_yaml,
    import_yaml,
    publish_version,
    roll_back,
    save_draft,
    submit_version,
)
from config.tenancy.scope import for_environment
from connectors.orders.models import CustomField
from rules_engine import presets
from rules_engine.facts.services import get_names
from rules_engine.rules.content import Change, read_placeholders
from rules_engine.rules.services import (
    KIND,
    check_rule_set,
    describe_changes,
    get_active_rule_set,
    list_problems,
)
from tests.factories import NOW, World, make_world
from tests.rules_engine.river import judge, one_rule, tell


def content(**changes: Any) -> dict[str, Any]:
    """A rule set of two dimensions."""
    rows = [
        {"key": "paid", "name": "已付", "formula": "实付金额>0", "points": 60, "cap": 49,
         "reason": "只付了 {实付金额} 元", "cause": "未付款"},
        {"key": "place", "name": "地址", "formula": "非(是空(省))", "points": 40, "cap": None},
    ]  # fmt: skip
    return {
        "name": "两项",
        "lines": {"yellow": 70, "orange": 60, "red": 50},
        "dimensions": rows,
    } | changes


def edited(number: int, **changes: Any) -> dict[str, Any]:
    made = content()
    made["dimensions"][number] |= changes
    return made


def problems_of(made: Any) -> list[tuple[str, str, str]]:
    return [
        (p.dimension, p.part, p.text) for p in list_problems(made, names=get_names()) if p.refuses
    ]


def test_clean_content_has_every_entry_and_the_stored_form() -> None:
    first = check_rule_set(content())["dimensions"][0]

    assert first == {
        "key": "paid", "name": "已付", "formula": "实付金额>0", "stored": "{#order.paid}>0",
        "kind": "judgement", "points": 60, "cap": 49, "when_insufficient": "no_points",
        "when_late": "no_deduction", "when_not_applicable": "full", "reason": "只付了 {实付金额} 元",
        "cause": "未付款", "source": "",
    }  # fmt: skip


def test_cause_is_the_name_when_none_is_given() -> None:
    assert check_rule_set(content())["dimensions"][1]["cause"] == "地址"


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"points": 61}, "各检查项分值之和应是 100，现在是 101，多了 1"),
        ({"points": 59.5}, "各检查项分值之和应是 100，现在是 99.5，还差 0.5"),
    ],
)
def test_points_must_add_up_to_100(changes: dict[str, Any], text: str) -> None:
    assert problems_of(edited(0, **changes)) == [("", "sum", text)]


@pytest.mark.parametrize(
    "value", [math.nan, math.inf, 1e308, -1, 101, 33.333, "60", "abc", None, True, [], 10**400]
)
def test_points_that_are_no_sane_number_are_refused_with_their_place(value: Any) -> None:
    found = problems_of(edited(0, points=value))

    assert [(d, p) for d, p, _ in found] == [("paid", "points")]
    assert found[0][2].startswith("分值应是 0 到 100 之间")


@pytest.mark.parametrize("value", [math.nan, 1e308, -0.5, 100.01, "59", [59], True])
def test_cap_outside_0_to_100_is_refused(value: Any) -> None:
    assert [(d, p) for d, p, _ in problems_of(edited(0, cap=value))] == [("paid", "cap")]


@pytest.mark.parametrize("value", [0, 100, 59, 59.5, None, ""])
def test_cap_within_0_to_100_or_none_is_taken(value: Any) -> None:
    assert problems_of(edited(0, cap=value)) == []


@pytest.mark.parametrize(
    "lines",
    [
        {"yellow": 70, "orange": 70, "red": 50},
        {"yellow": 60, "orange": 70, "red": 50},
        {"yellow": 100, "orange": 60, "red": 50},
        {"yellow": 70, "orange": 60, "red": -1},
        {"yellow": 70, "orange": 60},
        {"yellow": math.nan, "orange": 60, "red": 50},
        {"yellow": "70", "orange": 60, "red": 50},
        [70, 60, 50],
        None,
    ],
)
def test_lines_must_fall_strictly_from_below_100_to_0(lines: Any) -> None:
    assert {p for _, p, _ in problems_of(content(lines=lines))} == {"lines"}


def test_lines_may_touch_0_and_have_decimals() -> None:
    assert problems_of(content(lines={"yellow": 99.99, "orange": 0.01, "red": 0})) == []


def test_key_and_name_are_unique() -> None:
    found = problems_of(edited(1, key="PAID", name="已付"))

    assert found == [
        ("PAID", "key", "英文编号与第 1 项重复"),
        ("PAID", "name", "名称与第 1 项重复"),
    ]


@pytest.mark.parametrize("key", ["", "1a", "有", "a b", "a" * 41, "a-b", None, 5])
def test_key_is_a_short_english_word(key: Any) -> None:
    assert ("key") in {p for _, p, _ in problems_of(edited(0, key=key))}


@pytest.mark.parametrize("name", ["", "  ", "长" * 41, "a\u202eb", "a\u0000b", "\ufeff", None, 7])
def test_name_is_short_and_has_nothing_hidden(name: Any) -> None:
    assert "name" in {p for _, p, _ in problems_of(edited(0, name=name))}


@pytest.mark.parametrize("name", ["📦", "👩\u200d💻检查", "فحص", "Ü" * 40])
def test_name_may_be_of_any_script(name: str) -> None:
    assert problems_of(edited(0, name=name, cause="x")) == []


def test_missing_fact_is_named_with_dimension_place_and_fix() -> None:
    problem = next(
        p for p in list_problems(edited(0, formula="实付金颔>0"), names=get_names()) if p.refuses
    )

    assert (problem.dimension, problem.part, problem.number) == ("paid", "formula", 1)
    assert (problem.start, problem.end) == (0, 4)
    assert problem.fix is not None
    assert problem.fix.text == "实付金额"
    assert problem.sentence.startswith("第 1 项「已付」：没有字段「实付金颔」")


@pytest.mark.parametrize(
    "formula",
    ["", "   ", None, 5, "(((((", "1" * 9000, "__import__('os')", "实付金额.__class__", "9^9^9^9",
     "(" * 500 + "1" + ")" * 500, "\u202e>0", "求和(明细, 求和(明细, 求和(明细,", "{#order.gone}>0", "1+1", "\"是\""],
)  # fmt: skip
def test_hostile_or_wrong_formula_is_refused_in_chinese(formula: Any) -> None:
    found = [
        item for item in problems_of(edited(0, formula=formula, stored="")) if item[1] == "formula"
    ]

    assert found
    assert any("\u4e00" <= c <= "\u9fff" for c in found[0][2])


@pytest.mark.parametrize(
    ("reason", "is_refused"),
    [
        ("已过 {相隔分钟(付款时间, 渠道截至)}", False),
        ("没有占位，{{不是占位}}", False),
        ("{没有这个}", True),
        ("{实付金额", False),
        ("{}", True),
        ("{备注}", True),
        ("x" * 301, True),
        ("\u202e", True),
        ("{省}" * 13, True),
        (5, True),
    ],
)
def test_placeholder_must_name_a_fact_and_no_personal_one(reason: Any, is_refused: bool) -> None:
    assert (problems_of(edited(0, reason=reason)) != []) is is_refused


def test_braces_are_read_as_placeholders() -> None:
    assert list(read_placeholders("应 {a} 实 {{b}} {c")) == [
        ("应 ", False),
        ("a", True),
        (" 实 {b} {c", False),
    ]


@pytest.mark.parametrize(
    "junk",
    [
        None,
        [],
        "text",
        5,
        {"dimensions": "x"},
        {"dimensions": [1, None, []]},
        {"name": {}, "dimensions": [{}]},
    ],
)
def test_half_written_content_gives_problems_and_never_a_crash(junk: Any) -> None:
    assert problems_of(junk)


def test_all_problems_are_told_at_once() -> None:
    made = edited(
        0, points="x", formula="没有>0", reason="{也没有}", cap=200, kind="guess", source="mars"
    )

    with pytest.raises(BadInput) as caught:
        check_rule_set(made)

    assert caught.value.params["count"] == 6
    parts = [p.part for p in caught.value.params["problems"]]
    assert sorted(parts) == ["cap", "formula", "kind", "points", "reason", "source"]
    assert caught.value.text.startswith("规则集有 6 处问题：第 1 项「已付」：")


def test_sixty_one_dimensions_are_too_many() -> None:
    row = content()["dimensions"][0]
    rows = [row | {"key": f"k{n}", "name": f"名{n}"} for n in range(61)]

    assert "检查项最多 60 个，现在 61 个" in [
        t for _, _, t in problems_of(content(dimensions=rows))
    ]


def test_warning_does_not_refuse() -> None:
    made = edited(0, formula="渠道>5")

    assert problems_of(made) == []
    assert [p.refuses for p in list_problems(made, names=get_names())] == [False]


# --- differences ----------------------------------------------------------------------------------


def test_reviewer_reads_every_difference_as_a_sentence() -> None:
    old = check_rule_set(content())
    new = copy.deepcopy(old)
    new["lines"]["yellow"] = 75
    new["dimensions"][0] |= {
        "points": 50,
        "cap": None,
        "formula": "实付金额>=1",
        "stored": "{#order.paid}>=1",
    }
    new["dimensions"][1] = new["dimensions"][1] | {"key": "town", "name": "街道"}

    changes = describe_changes(old, new)

    assert [c.sentence for c in changes] == [
        "黄线：70 → 75",
        "「已付」公式：实付金额>0 → 实付金额>=1",
        "「已付」分值：60 → 50",
        "「已付」封顶：49 → 不封顶",
        "新增「街道」：判断 40 分，公式 非(是空(省))",
        "删除「地址」（40 分）",
    ]
    assert changes[2] == Change(
        "changed", "paid", "已付", "points", 60, 50, "「已付」分值：60 → 50"
    )


def test_same_formula_under_a_renamed_field_is_no_difference() -> None:
    old = check_rule_set(content())
    new = copy.deepcopy(old)
    new["dimensions"][0]["formula"] = "paid_amount>0"

    assert describe_changes(old, new) == []


def test_first_version_lists_everything_as_new() -> None:
    assert [c.kind for c in describe_changes(None, content())] == ["added", "added"]


# --- results at run time --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("formula", "changes", "outcome", "reason"),
    [
        ("实付金额>0", {}, "pass", ""),
        ("实付金额>100", {}, "fail", "一项不通过"),
        ("通过", {}, "pass", ""),
        ("不通过", {}, "fail", "一项不通过"),
        ("部分()", {}, "partial", ""),
        ("不适用()", {}, "not_applicable", ""),
        ("数据不足()", {}, "insufficient", "数据不足"),
        ("距今分钟(发货时间)>5", {}, "insufficient", "公式得出 #N/A：没有可用的值"),
        ("实付金额/0>1", {}, "insufficient", "公式得出 #DIV/0!：除以了 0 或空值"),
        ("退款金额", {"kind": "points"}, "insufficient", "公式得出空值，不能判断"),
        ("实付金额/2", {"kind": "points"}, "partial", ""),
        ("200", {"kind": "points"}, "pass", ""),
        ("0-5", {"kind": "points"}, "fail", "一项不通过"),
    ],
)  # fmt: skip
def test_what_a_formula_says_becomes_a_result(
    formula: str, changes: dict[str, Any], outcome: str, reason: str
) -> None:
    seen = judge(one_rule(formula, **changes), tell())

    assert seen.results["d"] == outcome
    assert seen.reasons.get("d", "") == reason


def test_points_of_a_scored_dimension_are_its_number() -> None:
    assert judge(one_rule("实付金额/2", kind="points"), tell()).score == 50.0


# --- documents ------------------------------------------------------------------------------------


@pytest.fixture
def world(db: None) -> World:
    return make_world()


def _publish(version: Version, world: World, now: datetime = NOW) -> Version:
    version = submit_version(version, actor=world.users["supervisor"], note="", now=now)
    version = approve_version(version, reviewer=world.users["reviewer"], comment="", now=now)
    return publish_version(version, actor=world.users["reviewer"], now=now)


def test_published_rules_are_active_in_their_environment_only(world: World) -> None:
    with for_environment(world.production):
        presets.install("promo", NOW)
        active = get_active_rule_set()
    with for_environment(world.other):
        elsewhere = get_active_rule_set()

    assert active is not None
    assert active.name == "大促模型"
    assert elsewhere is None


def test_preset_never_overwrites_published_rules(world: World) -> None:
    with for_environment(world.production):
        presets.install("promo", NOW)
        with pytest.raises(WrongState):
            presets.install("presale", NOW)
        active = get_active_rule_set()

    assert active is not None
    assert active.name == "大促模型"


def test_broken_draft_may_be_saved_but_not_submitted(world: World) -> None:
    author = world.users["supervisor"]
    with for_environment(world.production):
        document = presets.install("promo", NOW).document
        draft = create_draft(document, content={"half": "written"}, author=author)
        save_draft(draft, content=edited(0, formula="没有>0"), author=author)
        with pytest.raises(BadInput, match="没有字段「没有」"):
            submit_version(draft, actor=author, note="", now=NOW)
        draft.refresh_from_db()

    assert draft.state == "draft"


def test_rules_travel_as_yaml_to_another_environment_and_are_checked_there(world: World) -> None:
    with for_environment(world.staging):
        exported = export_yaml(presets.install("five_dimensions", NOW))
    with for_environment(world.production):
        draft = import_yaml(exported, author=world.users["supervisor"], origin="staging")
        published = _publish(draft, world)
        active = get_active_rule_set()
        with pytest.raises(BadInput, match="分值之和"):
            import_yaml(
                exported.replace("points: 30", "points: 31").replace("checksum", "# checksum"),
                author=None,
            )

    assert published.document.kind == KIND
    assert active is not None
    assert [d.key for d in active.dimensions] == [
        "address",
        "callback",
        "stock",
        "price",
        "logistics",
    ]


def test_rollback_puts_the_old_rules_in_force_under_a_new_number(world: World) -> None:
    with for_environment(world.production):
        first = presets.install("promo", NOW)
        second = _publish(create_draft(first.document, content=content(), author=None), world)
        again = roll_back(first, actor=world.users["reviewer"], now=NOW)
        active = get_active_rule_set()

    assert (second.number, again.number) == (2, 3)
    assert active is not None
    assert active.version_id == again.pk
    assert active.name == "大促模型"


def test_rules_use_custom_fields_of_their_environment(world: World) -> None:
    with for_environment(world.production):
        CustomField.objects.create(level="order", key="vip_level", label="会员等级", type="number")
        clean = check_rule_set(edited(0, formula="会员等级>=0"))
    with for_environment(world.other), pytest.raises(BadInput, match="没有字段「会员等级」"):
        check_rule_set(edited(0, formula="会员等级>=0"))

    assert clean["dimensions"][0]["stored"] == "{#custom.vip_level}>=0"


def test_active_rules_cost_one_query_once_compiled(
    world: World, django_assert_num_queries: Any
) -> None:
    with for_environment(world.production):
        presets.install("promo", NOW)
        get_active_rule_set()
        with django_assert_num_queries(1):
            get_active_rule_set()
