"""The pages of the functions: found, read, and tried on orders of this environment only."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from config.tenancy.models import Role
from config.tenancy.scope import for_environment
from connectors.orders.models import CustomField, Order
from rules_engine.facts.services import get_names
from rules_engine.formula import FUNCTIONS
from tests.factories import World, make_order, make_sources, publish_table

pytestmark = pytest.mark.django_db
HX = {"HX-Request": "true"}


def sign_in(world: World, role: str = Role.SUPERVISOR) -> Client:
    client = Client()
    client.force_login(world.users[role])
    return client


@pytest.fixture
def supervisor(world: World) -> Client:
    return sign_in(world)


@pytest.fixture
def order(world: World) -> Order:
    with for_environment(world.production):
        make_sources()
        return make_order(paid_fen=12_700, payable_fen=15_000)


def text_of(answer: Any) -> str:
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", answer.content.decode())))


def try_out(client: Client, name: str, **posted: Any) -> Any:
    return client.post(reverse("function_try", args=[name]), posted, headers=HX)


@pytest.mark.any_database
def test_every_function_has_an_address_in_the_list_and_a_page(supervisor: Client) -> None:
    page = supervisor.get(reverse("function_list")).content.decode()

    for function in FUNCTIONS:
        assert f'id="{function.en}"' in page
        answer = supervisor.get(reverse("function_detail", args=[function.en]))
        assert answer.status_code == 200
        said = text_of(answer)
        assert function.usage in said
        assert function.description in said


def test_a_function_is_opened_by_its_chinese_name_and_an_unknown_one_is_not_found(
    supervisor: Client,
) -> None:
    assert "SUM" in text_of(supervisor.get(reverse("function_detail", args=["求和"])))
    assert supervisor.get(reverse("function_detail", args=["没有"])).status_code == 404


def test_a_search_answers_with_the_list_alone_and_says_when_nothing_is_found(
    supervisor: Client,
) -> None:
    headers = {**HX, "HX-Target": "function-list"}
    found = supervisor.get(reverse("function_list"), {"q": "距今"}, headers=headers)

    assert re.findall(r'id="([A-Z]+)"', found.content.decode())[:3] == [
        "MINUTESSINCE",
        "HOURSSINCE",
        "DAYSSINCE",
    ]
    assert "<html" not in found.content.decode()
    nothing = text_of(supervisor.get(reverse("function_list"), {"q": "<没有>"}))
    assert "没有找到“<没有>”" in nothing


def test_an_example_is_tried_on_the_order(supervisor: Client, order: Order) -> None:
    said = text_of(try_out(supervisor, "IF", show="0"))

    assert f"订单 {order.order_no} 得出" in said


def test_a_formula_of_ones_own_gives_its_value_and_that_of_every_part(
    supervisor: Client, order: Order
) -> None:
    said = text_of(
        try_out(supervisor, "IF", formula="如果(实付金额<应付金额, 应付金额-实付金额, 0)")
    )

    assert f"订单 {order.order_no} 得出 23 " in said
    assert "实付金额 127.00 元" in said
    assert "读作：" in said


def test_an_error_is_marked_in_its_place_and_mended_by_its_button(
    supervisor: Client, order: Order
) -> None:
    answer = try_out(supervisor, "IF", formula="实付金颡 + 应付金颡")
    page = answer.content.decode()

    assert page.count('<mark class="bad">') == 2
    assert page.count('data-testid="fix"') == 2
    assert 'data-testid="trace"' not in page
    fixes = re.findall(r'name="fix" value="([^"]+)"', page)
    mended = try_out(supervisor, "IF", formula="实付金颡 + 应付金颡", fix=fixes[0])
    assert "实付金额 + 应付金颡" in text_of(mended)


def test_names_of_the_example_that_no_order_has_take_its_values(
    supervisor: Client, order: Order
) -> None:
    tried = try_out(supervisor, "SUM", formula="求和(没有的明细, 数量)", example="1")
    assert "没有字段" in text_of(tried)

    function = next(f for f in FUNCTIONS if f.en == "COUNTIF")
    label = next(iter(function.examples[0].facts))
    said = text_of(try_out(supervisor, "COUNTIF", show="0"))
    assert f"{label} 用的是例子里的值" in said
    assert "得出 2" in said


def test_the_order_is_found_by_number_kept_and_only_of_this_environment(
    supervisor: Client, world: World, order: Order
) -> None:
    with for_environment(world.production):
        other = make_order(order_no="KEPT-2026-0001")
    with for_environment(world.other):
        make_sources()
        foreign = make_order(order_no="FOREIGN-1")
    address = reverse("function_order")

    page = supervisor.post(address, {"number": "KEPT-2026"}, headers=HX).content.decode()
    assert f'value="{other.public_id}" selected' in page
    assert "KEPT-2026-0001 得出" in text_of(try_out(supervisor, "IF", formula="1"))

    missing = supervisor.post(address, {"number": "FOREIGN-1"}, headers=HX)
    assert "没有找到订单 FOREIGN-1" in text_of(missing)
    said = text_of(try_out(supervisor, "IF", formula="1", order=foreign.public_id))
    assert "FOREIGN-1" not in said


def test_fields_of_another_division_are_unknown_names(
    supervisor: Client, world: World, order: Order
) -> None:
    with for_environment(world.other):
        CustomField.objects.create(
            level="order", key="secret", label="别家的字段", type="number", source_kind="channel"
        )

    assert "没有字段「别家的字段」" in text_of(try_out(supervisor, "IF", formula="别家的字段+1"))


def test_who_may_not_write_checks_reads_but_tries_nothing(world: World, order: Order) -> None:
    agent = sign_in(world, Role.AGENT)

    page = agent.get(reverse("function_detail", args=["IF"])).content.decode()
    assert 'data-testid="run"' not in page
    assert 'data-testid="try-order"' not in page
    assert try_out(agent, "IF", formula="1").status_code == 403
    assert agent.post(reverse("function_order")).status_code == 403


def test_without_orders_the_page_says_so(supervisor: Client) -> None:
    assert "还没有订单可试" in text_of(supervisor.get(reverse("function_list")))
    assert "还没有订单可试" in text_of(try_out(supervisor, "IF", formula="1"))


def test_personal_text_and_what_is_computed_from_it_stay_hidden(
    supervisor: Client, world: World
) -> None:
    with for_environment(world.production):
        make_sources()
        make_order(remark="请放门卫王师傅处 8899")

    for formula in ("备注", "右取(备注, 4)", "数值(右取(备注, 4))", '包含(备注, "王")'):
        page = try_out(supervisor, "IF", formula=formula).content.decode()
        assert "王师傅" not in page
        assert "8899" not in page
        assert "个人信息" in page


def test_any_text_at_all_is_answered(supervisor: Client, order: Order) -> None:
    for formula in ("", "=", "((((", "\x00", "如果(" * 300, "1" * 9000, "求和(明细, 数量", "😀"):
        assert try_out(supervisor, "IF", formula=formula).status_code == 200
    for fix in ("1,2", "x,y,z", "999999999999,1,a", "-1,2,a", "5,1,x"):
        assert try_out(supervisor, "IF", formula="1+1", fix=fix).status_code == 200
    for example in ("-1", "99999", "x", "²"):
        assert try_out(supervisor, "IF", formula="1", example=example).status_code == 200


def test_the_pages_work_without_a_script(supervisor: Client, order: Order) -> None:
    tried = supervisor.post(reverse("function_try", args=["IF"]), {"formula": "1+1"})
    assert "<html" in tried.content.decode()
    assert f"订单 {order.order_no} 得出 2" in text_of(tried)
    chosen = supervisor.post(reverse("function_order"), {"number": order.order_no})
    assert chosen["Location"] == reverse("function_list")


def test_the_number_of_queries_does_not_grow_with_the_orders(
    supervisor: Client, world: World, order: Order
) -> None:
    def count() -> list[int]:
        counts = []
        for call in (
            lambda: supervisor.get(reverse("function_list")),
            lambda: try_out(supervisor, "IF", formula="实付金额"),
        ):
            call()
            with CaptureQueriesContext(connection) as queries:
                call()
            counts.append(len(queries))
        return counts

    few = count()
    with for_environment(world.production):
        for _ in range(8):
            make_order()
    assert count() == few


def test_a_published_table_is_asked_for_real_and_shown_in_the_tree(
    supervisor: Client, world: World, order: Order
) -> None:
    example = '查表("运费表", "浙江省", "运费")'
    assert "运费表 用的是例子里的值" in text_of(try_out(supervisor, "LOOKUPTABLE", formula=example))

    with for_environment(world.production):
        publish_table(world)
        names = get_names()
    table = names.tables[0]
    keys = ", ".join('"没有这个键"' for _key in table.keys)
    formula = f'查表("{table.name}", {keys}, "{table.columns[0].label}", 77)'
    said = text_of(try_out(supervisor, "LOOKUPTABLE", formula=formula))

    assert "得出 77" in said
    assert "行的表" in said
    assert f"查表：{table.name}" in said
    assert "用的是例子里的值" not in said


def test_other_orders_are_read_row_by_row(supervisor: Client, world: World, order: Order) -> None:
    said = text_of(try_out(supervisor, "COUNT", formula="计数(同商品订单, 实付金额 > 0)"))

    assert "还读同商品订单" in said
    assert f"订单 {order.order_no} 得出" in said
