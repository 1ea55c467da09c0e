"""The whole walk of an authorisation in a real browser, to the simulated platform and back."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, expect

from config.tenancy.scope import for_environment
from connectors.shops.connections import reveal_secrets
from connectors.shops.models import Connection
from frontend.pages import connection_wizard
from tests.factories import PASSWORD, make_world
from tests.frontend.accessibility import list_violations
from tests.frontend.consenting import SHOP, TMALL_KEYS, running_platforms

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def test_a_shop_is_authorised_tested_and_connected_without_copying_a_token(
    page: Page,
    live_server: Any,
    transactional_db: None,
    page_problems: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection_wizard, "wake_pull", lambda environment, row: None)
    world = make_world()
    with running_platforms(urlsplit(live_server.url).hostname or "") as platforms:
        platforms.allow(world.production, world)
        page.goto(f"{live_server.url}/login/")
        page.fill("input[name=username]", "tech_support")
        page.fill("input[name=password]", PASSWORD)
        page.click("[data-testid=login-form] button")
        page.goto(f"{live_server.url}/connections/new/")
        page.check("input[value=tmall]")
        page.click("[data-testid=pick-next]")
        page.fill("#base_url", f"{platforms.base}/tmall")
        page.fill("#f_app_key", TMALL_KEYS.app_key)
        page.fill("#f_app_secret", TMALL_KEYS.secret)
        page.click("details.folded summary >> nth=0")
        page.fill("#f_authorise_url", f"{platforms.base}/tmall/oauth/authorize")
        expect(page.locator("#f_access_token")).to_be_hidden()  # pasting is the second way

        page.click("[data-testid=authorise]")
        expect(page.locator("[data-testid=not-public]")).to_be_visible()
        assert list_violations(page) == []
        page.click("[data-testid=go]")
        page.get_by_role("button", name="拒绝").click()
        expect(page.locator(".note.error")).to_contain_text("店铺没有同意授权")
        page.click("[data-testid=authorise]")
        page.click("[data-testid=go]")
        page.get_by_role("button", name="同意授权").click()

        expect(page.locator("[data-testid=authorised-shop]")).to_contain_text(SHOP)
        expect(page.locator("#name")).to_have_value(SHOP)
        assert "code=" not in page.url
        assert list_violations(page) == []
        page.click("[data-testid=try]")
        expect(page.locator("[data-testid=trial]")).to_have_attribute("data-ok", "yes")
        page.click("[data-testid=next]")
        page.click("[data-testid=save-all]")
        expect(page.locator("[data-testid=made]")).to_have_count(1)
        assert page_problems == []
    with for_environment(world.production, write=False):
        row = Connection.objects.get()
        assert row.config["authorised_shop_id"] == "2200000001"
        assert set(reveal_secrets(row)) == {"app_secret", "access_token", "refresh_token"}
