"""Formula book, guide and trace tree with a real mouse, keyboard and phone."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.utils import timezone
from playwright.sync_api import expect

from rules_engine import presets
from tests.factories import for_environment, make_order, make_sources, make_world
from tests.frontend.accessibility import list_violations
from tests.journeys.test_write_and_review_a_check import sign_in

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.django_db(transaction=True)]

PHONE = pytest.mark.browser_context_args(
    viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True
)


@pytest.fixture
def reader(page: Any, live_server: Any, transactional_db: None) -> Any:
    """A supervisor, signed in, with two orders."""
    world, now = make_world(), timezone.now()
    with for_environment(world.production):
        make_sources(now)
        presets.install("five_dimensions", now)
        make_order(now, order_no="BOOK-1", paid_fen=10_000, payable_fen=12_000)
        make_order(now, order_no="BOOK-2", paid_fen=9_900, payable_fen=9_900)
    page.address = live_server.url
    sign_in(page, live_server.url, "supervisor")
    return page


def test_a_function_is_found_opened_tried_and_changed_by_keyboard(reader: Any) -> None:
    reader.goto(f"{reader.address}/functions/")
    reader.get_by_test_id("function-search").press_sequentially("sum")
    expect(reader.get_by_test_id("found")).to_contain_text("找到")
    first = reader.get_by_test_id("function").first
    expect(first).to_have_attribute("id", "SUM")
    assert reader.url.endswith("?q=sum")

    first.locator("summary").first.focus()
    reader.keyboard.press("Enter")
    form = first.get_by_test_id("try")
    expect(form.get_by_test_id("example")).not_to_have_count(0)
    form.get_by_test_id("show-example").first.press("Enter")
    expect(first.get_by_test_id("answer")).to_contain_text("得出 6")

    area = first.get_by_test_id("try-formula")
    area.fill("求和(实付金额, 应付金额)")
    first.get_by_test_id("run").press("Enter")
    expect(first.get_by_test_id("answer")).to_contain_text(re.compile(r"BOOK-\d 得出 (220|198)"))
    expect(first.get_by_test_id("trace")).to_contain_text("应付金额")


def test_another_order_is_chosen_by_its_number_and_used_at_once(reader: Any) -> None:
    reader.goto(f"{reader.address}/functions/IF/")
    for number, answer in (("BOOK-1", "100"), ("BOOK-2", "99")):
        reader.get_by_test_id("try-number").fill(number)
        reader.get_by_test_id("find-order").click()
        chosen = reader.locator("#try-order-choice option:checked")
        expect(chosen).to_contain_text(number)
        reader.get_by_test_id("try-formula").fill("如果(实付金额>0, 实付金额, 0)")
        reader.get_by_test_id("run").click()
        expect(reader.get_by_test_id("answer")).to_contain_text(f"{number} 得出 {answer}")

    reader.get_by_test_id("try-number").fill("NO-SUCH")
    reader.get_by_test_id("find-order").click()
    expect(reader.locator("#try-missing")).to_contain_text("NO-SUCH")


def test_a_mistake_in_the_book_is_marked_and_mended_by_one_click(reader: Any) -> None:
    reader.goto(f"{reader.address}/functions/IF/")
    reader.get_by_test_id("try-formula").fill("如果(实付金颡>0, 1, 2)")
    reader.get_by_test_id("run").click()
    expect(reader.locator("mark.bad")).to_have_text("实付金颡")

    reader.get_by_test_id("fix").click()

    expect(reader.get_by_test_id("answer")).to_contain_text("得出 1")
    assert reader.get_by_test_id("try-formula").input_value() == "如果(实付金额>0, 1, 2)"


def test_an_address_with_a_name_opens_that_function(reader: Any) -> None:
    reader.goto(f"{reader.address}/functions/#MATCHES")

    expect(reader.locator("#MATCHES")).to_have_attribute("open", "")
    expect(reader.locator("#MATCHES").get_by_test_id("entry")).to_be_visible()
    expect(reader.locator("#MATCHES > summary")).to_be_in_viewport()


def open_blank_check(reader: Any) -> Any:
    reader.goto(f"{reader.address}/checks/new/")
    reader.get_by_test_id("blank").click()
    reader.wait_for_url("**/check/**")
    return reader.get_by_test_id("formula")


def test_several_mistakes_are_marked_and_mended_one_by_one(reader: Any) -> None:
    area = open_blank_check(reader)
    area.fill("且（实付金颡＞100，应付金颡＞100，求合（明细，数量）＞1）")
    expect(reader.get_by_test_id("finding")).to_have_count(3)
    expect(reader.locator(".mirror .bad")).to_have_text(["实付金颡", "应付金颡", "求合"])

    for left in (2, 1):
        reader.get_by_test_id("fix").nth(1 if left == 2 else 0).click()
        expect(reader.get_by_test_id("finding")).to_have_count(left)
    reader.get_by_test_id("fix").click()

    expect(reader.get_by_test_id("formula-good")).to_be_visible()
    assert area.input_value() == "且（实付金额＞100，应付金额＞100，求和（明细，数量）＞1）"
    expect(reader.get_by_test_id("needs")).to_contain_text("不看时钟")


def test_the_signature_follows_the_cursor_and_its_help_opens_by_key(reader: Any) -> None:
    area = open_blank_check(reader)
    area.click()
    reader.keyboard.insert_text("如果（实付金额＞100，“a，（”，")
    signature = reader.get_by_test_id("signature")
    expect(signature.locator("b")).to_have_text("[不成立时]")

    reader.keyboard.insert_text("求和（明细")
    expect(signature).to_contain_text("明细")
    reader.keyboard.insert_text("，数量），")
    reader.keyboard.press("F1")
    expect(reader.get_by_test_id("function-help")).to_have_attribute("data-function", "IF")
    reader.keyboard.press("Escape")
    expect(reader.get_by_test_id("function-help")).to_be_hidden()
    assert reader.evaluate("document.activeElement.id") == "formula"


def test_the_tree_of_values_folds_and_unfolds_by_keyboard(reader: Any) -> None:
    area = open_blank_check(reader)
    area.fill("如果（且（实付金额＞1，应付金额＞1），通过（），不通过（））")
    trial = reader.get_by_test_id("trial").first
    trial.locator("summary").first.focus()
    reader.keyboard.press("Enter")
    tree = trial.get_by_test_id("trace")
    field = tree.locator(".leaf code").get_by_text("实付金额", exact=True)
    expect(field).to_be_visible()
    expect(tree.locator(".off")).to_contain_text("没有用到")

    tree.locator("summary").first.focus()
    reader.keyboard.press("Space")
    expect(field).to_be_hidden()
    tree.locator("[data-tree=open]").focus()
    reader.keyboard.press("Enter")
    expect(field).to_be_visible()
    tree.locator("[data-tree=close]").click()
    expect(field).to_be_hidden()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_stands_in_the_way_of_a_reader(reader: Any, scheme: Any) -> None:
    reader.emulate_media(color_scheme=scheme)
    found = {}
    for address in ("/functions/", "/functions/SUM/", "/guide/", "/functions/?q=zzz"):
        reader.goto(reader.address + address)
        if address == "/functions/SUM/":
            reader.get_by_test_id("try-formula").fill("如果(实付金额>1, 1/0, 应付金颡)+1/0")
            reader.get_by_test_id("run").click()
            expect(reader.get_by_test_id("finding").first).to_be_visible()
            found["refused"] = list_violations(reader)
            reader.get_by_test_id("try-formula").fill(
                "如果(实付金额>1, 1/0, 应付金额)+求和(明细, 数量)"
            )
            reader.get_by_test_id("run").click()
            expect(reader.get_by_test_id("trace")).to_be_visible()
        found[address] = list_violations(reader)
    area = open_blank_check(reader)
    area.fill("如果（且（实付金额＞1，应付金额＞1），通过（），不通过（））")
    reader.get_by_test_id("trial").first.locator("summary").first.click()
    expect(reader.get_by_test_id("trace")).to_be_visible()
    found["check"] = list_violations(reader)

    said = [f"{place}: {line}" for place, lines in found.items() for line in lines]
    assert not said, "\n".join(said)


@PHONE
def test_a_phone_tries_a_formula_without_sideways_scrolling(reader: Any) -> None:
    for address in ("/functions/", "/guide/", "/functions/SUM/"):
        reader.goto(reader.address + address)
        assert reader.evaluate("document.documentElement.scrollWidth") <= 390, address

    long = "如果(" * 20 + "实付金额>1" + ", 1, 2)" * 20
    reader.get_by_test_id("try-formula").fill(long)
    reader.get_by_test_id("run").tap()
    expect(reader.get_by_test_id("answer")).to_be_visible()
    reader.locator("[data-tree=open]").tap()
    assert reader.evaluate("document.documentElement.scrollWidth") <= 390
    reader.get_by_test_id("try-formula").fill("没有" * 60)
    reader.get_by_test_id("run").tap()
    expect(reader.get_by_test_id("finding").first).to_be_visible()
    assert reader.evaluate("document.documentElement.scrollWidth") <= 390
