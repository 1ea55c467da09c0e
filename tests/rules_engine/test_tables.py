"""Lookup tables: what they may hold, how formulas and rules hang on them, when they take effect."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from config.errors import AppError, BadInput, WrongState
from config.releases.models import Document
from config.tenancy.scope import for_environment
from connectors.orders.models import Order
from rules_engine.facts import tables
from rules_engine.facts.services import get_names
from rules_engine.facts.tables import SHIPPED, check_table, list_published, load_lookups
from rules_engine.formula import UNKNOWN, ErrorValue, ValueType, check, to_serial
from rules_engine.formula.functions.tables import look_up
from rules_engine.rules.services import check_rule_set, get_active_rule_set
from rules_engine.rules.table_uses import list_table_uses
from rules_engine.scoring.models import Score
from rules_engine.scoring.services import list_due_order_ids, score_orders
from rules_engine.scoring.trials import try_dimension
from tests.factories import (
    NOW,
    World,
    make_order,
    make_sources,
    make_world,
    publish_rules,
    publish_table,
    rules_of_one,
    table_content,
)
from workflows.causes import classify

FEE = '查表("运费表", 省, "运费") <= 10'


@pytest.fixture
def world(db: None) -> World:
    return make_world()


@pytest.fixture
def env(world: World) -> Any:
    with for_environment(world.production):
        make_sources()
        yield world


def said(**changes: Any) -> list[str]:
    return [p.sentence for p in check_table(table_content(**changes))[1]]


def with_column(place: int, **changes: Any) -> list[dict[str, Any]]:
    columns = table_content()["columns"]
    columns[place] |= changes
    return columns


# --- what a table may hold ------------------------------------------------------------------------


def test_a_table_is_cleaned_into_typed_cells() -> None:
    columns = [
        *with_column(1),
        {"key": "since", "label": "自", "type": "date", "is_key": False},
        {"key": "at", "label": "时刻", "type": "datetime", "is_key": False},
        {"key": "on", "label": "启用", "type": "logical", "is_key": False},
    ]
    rows = [["浙江省", "￥1,006.50", " 2 ", "2026/11/11", "2026-11-11 20:00", "是"]]

    clean, problems = check_table(table_content(columns=columns, rows=rows))

    assert problems == []
    assert clean["rows"] == [["浙江省", 1006.5, 2, "2026-11-11", "2026-11-11 20:00", True]]
    assert clean["columns"][2]["default"] == 5
    assert check_table(clean)[0] == clean  # clean stays clean


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"rows": [["浙江省", 1, 1], ["沪", 2, 2], [" 浙江省", 3, 3]]},
            ["第 3 行：键与第 1 行重复：浙江省"],
        ),
        ({"rows": [["a", 1, 1], ["A", 2, 2]]}, ["第 2 行：键与第 1 行重复：A"]),
        ({"rows": [["", 1, 1]]}, ["第 1 行「省」：键是空的，请填写或删去这一行"]),
        ({"rows": [["沪", "六元", 1]]}, ["第 1 行「运费」：「六元」不是金额"]),
        ({"rows": [["沪", "1.005", 1]]}, ["第 1 行「运费」：金额最多两位小数，现在是「1.005」"]),
        ({"rows": [["沪", 1, "2026-11-11"]]}, ["第 1 行「天数」：「2026-11-11」不是数字"]),
        ({"key": "Freight"}, ["英文编号应以小写字母开头，只含小写字母、数字和下划线，最多 40 个"]),
        ({"name": ""}, ["表名应是 1–40 个字"]),
        ({"columns": with_column(1, label="省")}, ["列名「省」重复"]),
        (
            {"columns": with_column(0, is_key=False)},
            ["键列应有 1 到 4 个"],
        ),
        (
            {"columns": with_column(1, is_key=True), "rows": []},
            ["键列「运费」只能是文本、数字或日期"],
        ),
        (
            {"columns": with_column(2, default="多久")},
            ["列「天数」查不到时的值：「多久」不是数字"],
        ),
    ],
)
def test_what_is_wrong_with_a_table_is_said_with_its_row(changes: Any, expected: Any) -> None:
    assert said(**changes) == expected


def test_a_table_has_limits() -> None:
    many = [[f"省{n}", 1, 1] for n in range(20_001)]
    wide = with_column(1) + [
        {"key": f"c{n}", "label": f"列{n}", "type": "text", "is_key": False} for n in range(18)
    ]

    assert said(rows=many) == ["最多 20000 行，现在 20001 行"]
    assert "最多 20 列，现在 21 列" in said(columns=wide)


@pytest.mark.parametrize(
    "content", [None, 3, [], {}, {"columns": "x", "rows": "y"}, {"columns": [1]}]
)
def test_a_content_of_any_shape_never_crashes(content: Any) -> None:
    assert check_table(content)[1]


@pytest.mark.parametrize("key", sorted(SHIPPED))
def test_a_shipped_table_is_clean(key: str) -> None:
    clean, problems = check_table(SHIPPED[key])

    assert problems == []
    assert clean == SHIPPED[key]


def test_a_calendar_keeps_the_columns_the_system_reads() -> None:
    promotions = SHIPPED["promotions"]
    without = promotions | {"columns": promotions["columns"][:2]}
    backwards = promotions | {"rows": [["双11", "2026-11-12 00:00", "2026-11-11 00:00"]]}

    assert [p.sentence for p in check_table(without)[1]] == [
        "「促销日历」要保留时间列「结束」，系统按它算工作时间和大促"
    ]
    assert [p.sentence for p in check_table(backwards)[1]] == ["第 1 行：结束时间要晚于开始时间"]


# --- asked by formulas ----------------------------------------------------------------------------


def test_a_published_table_answers_like_a_plain_dictionary(env: World) -> None:
    draw = random.Random(7)  # noqa: S311 - test data
    plain = {f"城市{n}": draw.randint(1, 99) for n in range(3000)}
    columns = table_content()["columns"]
    publish_table(env, columns=columns, rows=[[k, v, ""] for k, v in plain.items()])

    table = load_lookups(["table:freight"])["table:freight"]

    fee = "table:freight.fee"
    assert all(look_up(table, city, fee) == float(v) for city, v in plain.items())
    assert look_up(table, "别处", fee) is ErrorValue.NA
    assert look_up(table, "别处", "table:freight.days") == 5.0  # the table's own default


def test_formulas_know_published_tables_and_the_shipped_calendars(env: World) -> None:
    publish_table(env)
    names = get_names()

    assert [t.name for t in names.tables] == ["促销日历", "发货期限", "节假日", "运费表"]
    assert check('查表("节假日", 下单时间, "名称")', names).type is ValueType.TEXT


def test_a_draft_table_is_not_known_to_formulas(env: World) -> None:
    with pytest.raises(BadInput) as refused:
        check_rule_set(rules_of_one(FEE))

    assert "没有已发布的查找表「运费表」" in str(refused.value)


def test_a_day_of_the_holiday_table_is_found_by_any_hour_of_it() -> None:
    table = tables.build_lookup(SHIPPED["holidays"], "holidays", "x")
    noon = to_serial(NOW.replace(year=2026, month=10, day=3, hour=12))

    assert look_up(table, noon, "table:holidays.name") == "国庆节"
    assert look_up(table, noon, "table:holidays.is_workday") is False


# --- rules and tables -----------------------------------------------------------------------------


def test_rules_that_ask_a_table_cannot_come_into_force_without_it(world: World) -> None:
    with for_environment(world.production):
        publish_table(world)
        content = check_rule_set(rules_of_one(FEE))

    with for_environment(world.staging), pytest.raises(AppError) as refused:
        publish_rules(content, world)

    assert "运费表" in str(refused.value) or "freight" in str(refused.value)


def test_rules_are_checked_once_more_when_they_are_published(env: World) -> None:
    from config.releases import services as releases

    publish_table(env)
    document = releases.get_or_create_document(kind="rule_set", key="default", name="规则")
    author, reviewer = env.users["supervisor"], env.users["reviewer"]
    draft = releases.create_draft(document, content=rules_of_one(FEE), author=author)
    draft = releases.submit_version(draft, actor=author, note="", now=NOW)
    draft = releases.approve_version(draft, reviewer=reviewer, comment="", now=NOW)
    columns = [c for c in table_content()["columns"] if c["key"] != "fee"]
    publish_table(env, columns=columns, rows=[])  # nobody uses it yet

    with pytest.raises(WrongState) as refused:
        releases.publish_version(draft, actor=reviewer, now=NOW)

    assert "运费表" in str(refused.value)
    assert get_active_rule_set() is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"columns": [table_content()["columns"][0], table_content()["columns"][2]], "rows": []},
         "检查项「一项」在用列「运费」，不能删去或改成键列"),
        ({"columns": with_column(1, type="text")}, "检查项「一项」在用列「运费」，不能改类型"),
        ({"columns": with_column(0, type="number"), "rows": []},
         "检查项「一项」按现在的键列查这张表，键列不能增减或改类型"),
    ],
)  # fmt: skip
def test_a_column_in_use_is_not_taken_away(env: World, changes: Any, said: str) -> None:
    publish_table(env)
    publish_rules(rules_of_one(FEE), env)

    with pytest.raises(BadInput) as refused:
        publish_table(env, **changes)

    assert said in str(refused.value)
    assert [t.schema.columns[0].label for t in list_published(["freight"])] == ["运费"]


def test_a_table_that_became_used_while_it_waited_is_checked_at_publishing(env: World) -> None:
    from config.releases import services as releases

    publish_table(env)
    columns = [c for c in table_content()["columns"] if c["key"] != "fee"]
    author, reviewer = env.users["supervisor"], env.users["reviewer"]
    document = Document.objects.get(kind="lookup_table", key="freight")
    draft = releases.create_draft(
        document, content=table_content(columns=columns, rows=[]), author=author
    )
    draft = releases.submit_version(draft, actor=author, note="", now=NOW)
    draft = releases.approve_version(draft, reviewer=reviewer, comment="", now=NOW)
    publish_rules(rules_of_one(FEE), env)

    with pytest.raises(WrongState) as refused:
        releases.publish_version(draft, actor=reviewer, now=NOW)

    assert "在用列「运费」" in str(refused.value)


def test_renaming_a_table_and_its_columns_leaves_rules_working(env: World) -> None:
    publish_table(env)
    publish_rules(rules_of_one(FEE), env)
    order = make_order()
    columns = with_column(1, label="首重价")

    publish_table(env, name="快递价目", columns=columns, now=NOW + timedelta(minutes=1))
    score_orders([order.pk], now=NOW + timedelta(minutes=2), why="rule", classify=classify)

    assert Score.objects.get().band == "healthy"
    assert Document.objects.get(kind="lookup_table", key="freight").name == "快递价目"
    assert [use.name for use in list_table_uses("freight")] == ["一项"]


def test_two_tables_of_one_name_are_refused(env: World) -> None:
    publish_table(env)

    with pytest.raises(BadInput) as refused:
        publish_table(env, key="other")

    assert refused.value.code == "table_name_taken"


# --- scores ---------------------------------------------------------------------------------------


def test_publishing_a_table_makes_open_orders_due_and_moves_their_score(env: World) -> None:
    publish_table(env)
    publish_rules(rules_of_one(FEE, reason='运费 {查表("运费表", 省, "运费")} 元'), env)
    order = make_order()
    score_orders([order.pk], now=NOW, why="received", classify=classify)
    before = Score.objects.get()
    assert list_due_order_ids(only_changed=True) == []

    later = NOW + timedelta(minutes=1)
    publish_table(env, rows=[["浙江省", "60", "2"]], now=later)
    due = list_due_order_ids(only_changed=True)
    score_orders(due, now=later + timedelta(seconds=1), why="rule", classify=classify)

    after = Score.objects.get()
    assert due == [order.pk]
    assert (before.band, after.band) == ("healthy", "red")
    assert before.fact_digest != after.fact_digest
    assert after.dimensions[0]["reason"] == "运费 60.00 元"
    assert list_due_order_ids(only_changed=True) == []


def test_a_table_of_the_same_content_gives_the_same_digest(env: World) -> None:
    publish_table(env)
    publish_rules(rules_of_one(FEE), env)
    order = make_order()
    score_orders([order.pk], now=NOW, why="received", classify=classify)
    first = Score.objects.get().fact_digest

    publish_table(env, now=NOW + timedelta(minutes=1))
    score_orders([order.pk], now=NOW + timedelta(minutes=2), why="clock", classify=classify)

    assert Score.objects.get().fact_digest == first
    assert list_due_order_ids(only_changed=True) == []  # looked at, found the same


def test_rules_without_tables_pay_no_query_for_them(env: World) -> None:
    publish_table(env)
    publish_rules(rules_of_one("实付金额 > 0"), env)
    order = make_order()
    score_orders([order.pk], now=NOW, why="received", classify=classify)

    with CaptureQueriesContext(
        connection,
    ) as seen:
        score_orders([order.pk], now=NOW, why="clock", classify=classify)
        list_due_order_ids(only_changed=True)

    assert not [q for q in seen.captured_queries if "lookup_table" in q["sql"]]
    assert not [q for q in seen.captured_queries if "passage" in q["sql"]]


def test_a_trial_and_an_as_of_run_see_the_same_table(env: World) -> None:
    publish_table(env)
    publish_rules(rules_of_one(FEE), env)
    order = make_order(province="西藏自治区")

    (trial,) = try_dimension(rules_of_one(FEE)["dimensions"][0], [order], now=NOW)
    score_orders([order.pk], now=NOW, as_of=NOW, why="as_of", classify=classify)

    assert trial.outcome == "fail"
    assert Score.objects.get().dimensions[0]["result"] == "fail"
    assert Score.objects.get().fact_digest


def test_tables_of_another_environment_do_not_exist(world: World) -> None:
    with for_environment(world.production):
        publish_table(world)
    with for_environment(world.other):
        assert load_lookups(["table:freight"]) == {}
        assert [t.key for t in list_published()] == ["promotions", "deadlines", "holidays"]
        assert "运费表" not in [t.name for t in get_names().tables]
    with for_environment(world.staging):
        publish_table(world, rows=[["浙江省", "99", ""]])
        table = load_lookups(["table:freight"])["table:freight"]
        assert look_up(table, "浙江省", "table:freight.fee") == 99.0
    with for_environment(world.production):
        table = load_lookups(["table:freight"])["table:freight"]
        assert look_up(table, "浙江省", "table:freight.fee") == 6.0


def test_a_table_that_is_gone_is_unknown_and_never_a_pass(env: World) -> None:
    publish_table(env)
    publish_rules(rules_of_one(FEE), env)
    order = make_order()
    Document.objects.filter(kind="lookup_table").update(kind="lost")

    score_orders([order.pk], now=NOW, why="received", classify=classify)

    assert Score.objects.get().dimensions[0]["result"] == "insufficient"
    assert look_up(UNKNOWN, "x", "y") is UNKNOWN
    assert Order.objects.count() == 1


def test_tables_are_found_whatever_a_process_still_keeps_of_others(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    # One worker serves many environments: room for one table, two asked for, in any order.
    monkeypatch.setattr(tables, "_MAX_CONTENTS", 1)
    monkeypatch.setattr(tables, "_MAX_SCHEMAS", 1)
    monkeypatch.setattr(tables, "_lookups", {})
    monkeypatch.setattr(tables, "_schemas", {})
    keys = [f"table:{key}" for key in SHIPPED]
    assert len(keys) >= 2

    with for_environment(world.production):
        for first in keys:
            load_lookups([first])
            assert set(load_lookups(keys)) == set(keys)
