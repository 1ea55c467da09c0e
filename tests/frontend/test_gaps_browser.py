"""The gap and the countdown in a real browser: policy, window, axe, keyboard."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from playwright.sync_api import Page, expect

from config.tenancy.scope import for_environment
from tests.factories import PASSWORD, World, make_day, make_order, make_world
from tests.frontend.accessibility import list_violations

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def day(transactional_db: None) -> World:
    """A small promo day, with a long name in it."""
    now = timezone.now()
    world = make_world()
    make_day(world.production, now=now, size=60)
    with for_environment(world.production):
        make_order(now, order_no="L" * 64, shop="一" * 100, placed_at=now - timedelta(hours=5))
    return world


def sign_in(page: Page, live_server: Any) -> None:
    page.goto(f"{live_server.url}/login/")
    page.fill("input[name=username]", "supervisor")
    page.fill("input[name=password]", PASSWORD)
    page.click("[data-testid=login-form] button")
    expect(page.locator("[data-testid=user-menu]")).to_be_visible()


@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (390, "dark"), (360, "light")])
def test_no_page_breaks_the_policy_the_window_or_what_axe_asks(
    page: Page, live_server: Any, day: World, page_problems: list[str], width: int, scheme: Any
) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=scheme)
    sign_in(page, live_server)

    for address in (
        "/gaps/",
        "/gaps/?state=excused",
        "/gaps/?from=stock&to=oms_review",
        "/gaps/?from=wms&to=paid",
        "/deadlines/",
        "/deadlines/?left=silent",
    ):
        page.goto(live_server.url + address)
        page.wait_for_load_state("networkidle")
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width, address
        assert page_problems == [], address
        assert list_violations(page) == [], address


def test_another_pair_is_asked_by_keyboard_alone(page: Page, live_server: Any, day: World) -> None:
    sign_in(page, live_server)
    page.goto(f"{live_server.url}/gaps/")

    page.focus("#gap-from")
    for _step in range(4):  # past the milestones
        page.keyboard.press("ArrowDown")
    page.keyboard.press("Tab")
    page.keyboard.type("OMS")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    with page.expect_navigation():
        page.keyboard.press("Enter")

    assert "from=placed" in page.url
    assert "to=oms" in page.url
    expect(page.locator("#gap-from option:checked")).to_have_text("下单")


def test_a_cause_opens_its_orders_and_going_back_returns(
    page: Page, live_server: Any, day: World
) -> None:
    sign_in(page, live_server)
    page.goto(f"{live_server.url}/gaps/")
    link = page.locator("[data-testid=gap-cause] a").first
    count = link.get_attribute("data-count")

    link.click()

    expect(page.locator("[data-testid=count]")).to_have_attribute("data-count", count or "")
    expect(page.locator("#orders-title")).to_be_in_viewport()
    page.go_back()
    expect(page.locator("[data-testid=gap-causes]")).to_be_visible()
