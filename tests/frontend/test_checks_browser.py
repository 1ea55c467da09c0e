"""The page on which a formula is written, with a real keyboard, a bad line and a phone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.utils import timezone

from config.releases.models import State, Version
from rules_engine import presets
from rules_engine.rules import drafts
from tests.factories import World, for_environment, make_order, make_sources, make_world
from tests.journeys.test_write_and_review_a_check import sign_in

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.django_db(transaction=True)]

SELECTION = "(() => { const a = document.activeElement; return [a.id, a.selectionStart]; })()"


@pytest.fixture
def desk(page: Any, live_server: Any, transactional_db: None) -> Any:
    """A supervisor's blank check, open in the browser."""
    page.world, now = make_world(), timezone.now()
    with for_environment(page.world.production):
        make_sources(now)
        presets.install("five_dimensions", now)
        for _ in range(3):
            make_order(now)
    page.address = live_server.url
    sign_in(page, live_server.url, "supervisor")
    page.goto(f"{live_server.url}/checks/new/")
    page.get_by_test_id("blank").click()
    page.wait_for_url("**/check/**")
    wait_until(page, lambda: page.evaluate("Boolean(window.htmx)"))
    return page


def stored(world: World) -> dict[str, Any]:
    with for_environment(world.production):
        version = Version.objects.exclude(state__in=(State.PUBLISHED, State.RETIRED)).get()
        return dict(drafts.list_dimensions(version.content)[-1])


def wait_until(page: Any, is_done: Callable[[], bool]) -> None:
    """Playwright's own waiting for an expression needs eval, which our policy forbids."""
    for _ in range(100):
        if is_done():
            return
        page.wait_for_timeout(100)
    raise AssertionError("not within 10 s")


def wait_saved(page: Any) -> None:
    page.get_by_test_id("saved").get_by_text("已保存").wait_for()


def test_names_are_found_in_both_languages_and_put_at_the_cursor_by_keyboard(desk: Any) -> None:
    desk.get_by_test_id("formula").click()
    desk.keyboard.type("<")
    desk.keyboard.press("Home")
    search = desk.get_by_test_id("name-search")

    search.fill("balance_due")
    search.press("Enter")
    assert desk.get_by_test_id("formula").input_value() == "尾款截止<"
    assert desk.evaluate(SELECTION) == ["formula", 4]

    desk.keyboard.press("End")
    search.fill("MAX")
    search.press("ArrowDown")
    desk.keyboard.press("Enter")
    assert desk.get_by_test_id("formula").input_value() == "尾款截止<最大()"
    assert desk.evaluate(SELECTION) == ["formula", 8]  # between the brackets

    desk.get_by_test_id("reason").click()
    desk.keyboard.type("应付 ")
    search.fill("应付金额")
    search.press("Enter")
    assert desk.get_by_test_id("reason").input_value() == "应付 {应付金额}"
    search.fill("没有这样的名字")
    desk.locator("[data-none]").wait_for()


def test_a_fix_can_be_taken_back(desk: Any) -> None:
    desk.get_by_test_id("formula").click()
    desk.keyboard.type("非(是空(尾款截至))")
    desk.get_by_test_id("fix").click()
    desk.get_by_test_id("formula-good").wait_for()
    assert desk.get_by_test_id("formula").input_value() == "非(是空(尾款截止))"

    desk.keyboard.press("Control+z")

    assert desk.get_by_test_id("formula").input_value() == "非(是空(尾款截至))"


def test_laying_out_fills_the_field_and_can_be_taken_back(desk: Any) -> None:
    wall = '如果(预售阶段="",不适用(),如果(尾款截止<现在(),不通过(),通过()))'
    desk.get_by_test_id("formula").click()
    desk.keyboard.insert_text(wall)
    desk.get_by_test_id("layout").click()
    wait_until(desk, lambda: "\n  不适用" in desk.get_by_test_id("formula").input_value())
    wait_saved(desk)
    assert "\n  不适用" in stored(desk.world)["formula"]

    desk.keyboard.press("Control+z")

    assert desk.get_by_test_id("formula").input_value() == wall


def test_a_word_that_is_still_being_composed_is_not_checked(desk: Any) -> None:
    sent: list[str] = []
    desk.on("request", lambda r: sent.append(r.url) if r.method == "POST" else None)
    desk.get_by_test_id("formula").click()
    cdp = desk.context.new_cdp_session(desk)

    for pinyin in ("zh", "zhen"):
        cdp.send(
            "Input.imeSetComposition", {"text": pinyin, "selectionStart": 2, "selectionEnd": 2}
        )
    desk.wait_for_timeout(700)
    assert sent == []
    cdp.send("Input.insertText", {"text": "真"})

    desk.get_by_test_id("formula-good").wait_for()
    assert stored(desk.world)["formula"] == "真"


def test_work_is_kept_while_the_line_is_down_and_saved_when_it_is_back(desk: Any) -> None:
    desk.context.set_offline(True)
    desk.get_by_test_id("formula").click()
    desk.keyboard.type("真")
    desk.get_by_test_id("saved").get_by_text("没有存上").wait_for()
    assert desk.get_by_test_id("formula").input_value() == "真"

    desk.context.set_offline(False)

    wait_saved(desk)
    assert stored(desk.world)["formula"] == "真"


def test_the_last_keystrokes_are_part_of_what_is_submitted(desk: Any) -> None:
    desk.get_by_test_id("formula").click()
    desk.keyboard.insert_text("非(是空(省))")
    desk.get_by_test_id("points").fill("0")
    desk.get_by_test_id("cap").fill("59")
    desk.get_by_test_id("name").fill("省份")
    desk.evaluate("document.getElementById('submit-sheet').showPopover()")
    desk.get_by_test_id("note").fill("看省份")
    desk.evaluate(
        "() => { const n = document.getElementById('name'); n.value = '省份已填';"
        " n.dispatchEvent(new Event('input', {bubbles: true}));"
        " document.querySelector('[data-testid=submit]').click(); }"
    )

    desk.get_by_test_id("own").wait_for()
    assert stored(desk.world)["name"] == "省份已填"


def test_a_save_that_waits_behind_the_rebalancing_does_not_undo_it(desk: Any) -> None:
    desk.get_by_test_id("formula").click()
    desk.keyboard.insert_text("非(是空(省))")
    desk.get_by_test_id("balance").wait_for()
    desk.evaluate(
        "() => { const n = document.getElementById('name'); n.value = '省份';"
        " n.dispatchEvent(new Event('input', {bubbles: true}));"
        " document.querySelector('[data-testid=balance]').click(); }"
    )

    desk.get_by_test_id("sum").get_by_text("合计 100 分").wait_for()
    desk.wait_for_timeout(1500)
    assert "合计 100 分" in desk.get_by_test_id("sum").inner_text()
    with for_environment(desk.world.production):
        version = Version.objects.get(state=State.DRAFT)
        assert drafts.sum_points(version.content) == 100
        assert drafts.list_dimensions(version.content)[-1]["name"] == "省份"


def test_leaving_at_once_loses_nothing(desk: Any) -> None:
    desk.get_by_test_id("formula").click()
    desk.keyboard.insert_text("真")
    wait_saved(desk)
    desk.evaluate(
        "() => { const n = document.getElementById('name'); n.value = '走得快';"
        " n.dispatchEvent(new Event('input', {bubbles: true})); location.href = '/checks/'; }"
    )

    desk.wait_for_url("**/checks/")
    wait_until(desk, lambda: stored(desk.world)["name"] == "走得快")


def test_the_coloured_copy_lies_exactly_under_the_text(desk: Any) -> None:
    area = desk.get_by_test_id("formula")
    for text in (
        "真",
        "如果（预售阶段＝“”，不适用（），通过）" * 8,
        'a\n\n\nIF(支付方式="x", 1,\n2)\n',
    ):
        area.fill(text)
        same = desk.evaluate(
            "() => { const a = document.getElementById('formula'), m = document.querySelector('.mirror');"
            " const style = (e) => ['fontFamily','fontSize','lineHeight','padding','letterSpacing',"
            "'whiteSpace','overflowWrap','wordBreak','textAutospace','width','tabSize']"
            ".map((n) => getComputedStyle(e)[n]).join();"
            " return [m.textContent === a.value + '\\n', style(a) === style(m),"
            " Math.abs(m.scrollHeight - a.scrollHeight) <= 1]; }"
        )
        assert same == [True, True, True], text


@pytest.mark.browser_context_args(
    viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True
)
def test_a_phone_shows_every_page_without_sideways_scrolling(desk: Any) -> None:
    desk.get_by_test_id("formula").fill("如果（预售阶段＝“”，不适用（），尾款截止＜现在（））" * 3)
    desk.get_by_test_id("finding").first.wait_for()
    here = desk.url

    for address in (here, "/checks/", "/checks/new/", "/reviews/"):
        desk.goto(address if address.startswith("http") else desk.address + address)
        assert desk.evaluate("document.documentElement.scrollWidth") <= 390, address
