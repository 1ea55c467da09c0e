"""The pages in a real browser: no breach of the content policy, no overflow, keyboard, live board."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from playwright.sync_api import Page, expect

from config.tenancy.scope import for_environment
from tests.factories import PASSWORD, World, make_day, make_order, make_world
from workflows.rollup.services import take_snapshot

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def day(transactional_db: None) -> World:
    """A small promo day, counted."""
    now = timezone.now()
    world = make_world()
    make_day(world.production, now=now, size=60)
    with for_environment(world.production):
        take_snapshot(now)
    return world


def sign_in(page: Page, live_server: Any, role: str = "supervisor") -> None:
    page.goto(f"{live_server.url}/login/")
    page.fill("input[name=username]", role)
    page.fill("input[name=password]", PASSWORD)
    page.click("[data-testid=login-form] button")
    expect(page.locator("[data-testid=user-menu]")).to_be_visible()


@pytest.mark.parametrize("width", [1440, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_breaks_the_policy_or_the_window(
    page: Page, live_server: Any, day: World, page_problems: list[str], width: int, scheme: Any
) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=scheme)
    sign_in(page, live_server)
    with for_environment(day.production):
        order = make_order(order_no="L" * 64, shop="一" * 100)

    for address in (
        "/",
        "/orders/",
        f"/orders/{order.public_id}/",
        "/nodes/",
        "/orders/?q=nothing",
    ):
        page.goto(live_server.url + address)
        page.wait_for_load_state("networkidle")
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width, address
        assert page_problems == [], address


def test_one_search_leads_to_the_order_and_its_cause(
    page: Page, live_server: Any, day: World
) -> None:
    sign_in(page, live_server)
    with for_environment(day.production):
        number = make_order(order_no="CHASED 1".replace(" ", "")).order_no

    page.keyboard.press("/")
    page.keyboard.type(number)
    page.keyboard.press("Enter")

    expect(page.locator("h1")).to_have_text(number)
    expect(page.locator("[data-testid=headline]")).to_be_visible()


def test_a_number_on_the_board_opens_its_list(page: Page, live_server: Any, day: World) -> None:
    sign_in(page, live_server)
    count = page.locator("[data-testid=tile-red] .n").inner_text()

    page.click("[data-testid=tile-red]")

    expect(page.locator("[data-testid=count]")).to_have_attribute("data-count", count)
    expect(page.locator("[data-testid=order-row]")).to_have_count(int(count))


def test_the_board_takes_over_a_newer_snapshot_by_itself(
    page: Page, live_server: Any, day: World
) -> None:
    sign_in(page, live_server)
    board = page.locator("#board")
    before = board.get_attribute("data-at")
    page.click("#river-table summary")
    with for_environment(day.production):
        take_snapshot(timezone.now() + timedelta(seconds=1))

    expect(board).not_to_have_attribute("data-at", before or "", timeout=20_000)
    expect(page.locator("#river-table")).to_have_attribute("open", "")


def test_escape_closes_a_menu_and_gives_the_focus_back(
    page: Page, live_server: Any, day: World
) -> None:
    sign_in(page, live_server)
    page.click("[data-testid=environment-menu] summary")
    expect(page.locator("[data-testid=environment-menu] .sheet")).to_be_visible()

    page.keyboard.press("Escape")

    expect(page.locator("[data-testid=environment-menu] .sheet")).to_be_hidden()
    assert page.evaluate("document.activeElement.tagName") == "SUMMARY"


def test_the_first_tab_stop_skips_to_the_content(page: Page, live_server: Any, day: World) -> None:
    sign_in(page, live_server)
    page.goto(live_server.url + "/orders/")

    page.keyboard.press("Tab")

    assert page.evaluate("document.activeElement.className") == "skip"


def test_switching_the_environment_changes_colour_and_word(
    page: Page, live_server: Any, day: World
) -> None:
    sign_in(page, live_server)
    page.click("[data-testid=environment-menu] summary")

    page.click("[data-testid=environment-menu] button:has-text('预发')")

    expect(page.locator("html")).to_have_class("env-staging")
    expect(page.locator("[data-testid=empty]")).to_be_visible()


def test_an_unsaved_node_table_says_so(page: Page, live_server: Any, day: World) -> None:
    sign_in(page, live_server)
    page.goto(live_server.url + "/nodes/")
    page.click("[data-testid=edit]")

    page.fill("#dwell-callback", "25")

    expect(page.locator("[data-unsaved]")).to_be_visible()
    page.click("[data-testid=save]")
    expect(page.locator("#dwell-callback")).to_have_value("25")
