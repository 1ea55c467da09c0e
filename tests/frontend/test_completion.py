"""What the editor offers: every name of this environment, none of another, cached by its tag."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from config.tenancy.models import Role
from config.tenancy.scope import for_environment
from connectors.orders.models import CustomField
from rules_engine.facts.catalog import FACTS
from rules_engine.facts.services import get_names
from rules_engine.formula import FUNCTIONS, check
from tests.factories import World, publish_table

pytestmark = pytest.mark.django_db


def sign_in(world: World, role: str = Role.SUPERVISOR) -> Client:
    client = Client()
    client.force_login(world.users[role])
    return client


def ask(client: Client, **headers: str) -> Any:
    return client.get(reverse("formula_names"), headers=headers)


def add_field(key: str, label: str, level: str = "order") -> None:
    CustomField.objects.create(
        level=level, key=key, label=label, type="number", source_kind="channel"
    )


def test_it_has_every_field_function_and_column_with_what_is_said_about_them(world: World) -> None:
    found = ask(sign_in(world)).json()

    fields = {f["label"]: f for f in found["fields"]}
    assert set(fields) == {fact.label for fact in FACTS}
    due = fields["尾款截止"]
    assert (due["alias"], due["type"], due["source"]) == ("balance_due_at", "datetime", "channel")
    assert fields["实付金额"]["unit"] == "元"
    assert [c["label"] for c in fields["明细"]["columns"]][:3] == ["SKU", "商品", "数量"]
    assert {f["alias"] for f in found["functions"]} == {f.en for f in FUNCTIONS}
    total = next(f for f in found["functions"] if f["alias"] == "SUM")
    assert total["usage"] == ["求和(数值…)", "求和(明细, 表达式, [条件])"]
    assert [p["optional"] for p in total["forms"][1]] == [False, False, True]
    assert {c["insert"] for c in found["constants"]} >= {"真", "假", "通过", "不通过"}
    assert {t["kind"] for t in found["terms"]} == {"node", "stage"}


def test_every_name_it_offers_means_that_field_when_it_is_put_into_a_formula(world: World) -> None:
    with for_environment(world.production):
        add_field("odd", "2 号/字段")
    found = ask(sign_in(world)).json()

    with for_environment(world.production):
        names = get_names()
    for field in found["fields"]:
        assert check(field["insert"], names).field_ids == {field["id"]}
    assert "[2 号/字段]" in [f["insert"] for f in found["fields"]]


def test_custom_fields_of_another_division_are_not_offered(world: World) -> None:
    with for_environment(world.production):
        add_field("ours", "我们的字段")
        add_field("ours_line", "我们的列", level="line")
    with for_environment(world.other):
        add_field("theirs", "别家的字段")
        add_field("theirs_line", "别家的列", level="line")

    text = ask(sign_in(world)).content.decode()

    assert "我们的字段" in text
    assert "我们的列" in text
    assert "别家" not in text


def test_lookup_tables_are_offered_with_keys_and_columns_where_they_are_published(
    world: World,
) -> None:
    client = sign_in(world)
    before = ask(client)
    with for_environment(world.production):
        publish_table(world)

    after = ask(client, **{"If-None-Match": before["ETag"]})
    names = [table["label"] for table in after.json()["tables"]]
    assert "运费表" in names
    table = after.json()["tables"][names.index("运费表")]
    assert table["keys"]
    assert table["columns"]

    client.post(reverse("switch_environment"), {"environment": world.staging.public_id})
    assert "运费表" not in [t["label"] for t in ask(client).json()["tables"]]


def test_an_unchanged_answer_is_not_sent_again_and_a_changed_one_is(world: World) -> None:
    client = sign_in(world)
    first = ask(client)
    tag = first["ETag"]

    again = ask(client, **{"If-None-Match": tag})
    assert (again.status_code, again.content, again["ETag"]) == (304, b"", tag)
    assert "private" in first["Cache-Control"]

    with for_environment(world.other):
        add_field("theirs", "别家的字段")
    assert ask(client, **{"If-None-Match": tag}).status_code == 304
    with for_environment(world.production):
        add_field("ours", "新的字段")
    changed = ask(client, **{"If-None-Match": tag})
    assert changed.status_code == 200
    assert "新的字段" in changed.content.decode()


def test_two_environments_never_share_a_tag(world: World) -> None:
    client = sign_in(world)
    tag = ask(client)["ETag"]
    client.post(reverse("switch_environment"), {"environment": world.staging.public_id})

    assert ask(client)["ETag"] != tag
    assert ask(client, **{"If-None-Match": tag}).json()["environment"] == world.staging.public_id


def test_only_who_writes_or_reviews_checks_may_ask(world: World) -> None:
    assert ask(sign_in(world, Role.REVIEWER)).status_code == 200
    assert ask(sign_in(world, Role.AGENT)).status_code == 403


def test_the_number_of_queries_does_not_grow_with_the_fields(world: World) -> None:
    client = sign_in(world)

    def count() -> int:
        ask(client)
        with CaptureQueriesContext(connection) as queries:
            ask(client)
        return len(queries)

    few = count()
    with for_environment(world.production):
        for number in range(20):
            add_field(f"more{number}", f"又一个{number}")
    assert count() == few
