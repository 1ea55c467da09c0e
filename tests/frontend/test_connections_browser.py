"""The connectors' pages in a real browser: policy, window, keyboard, picking, copying, progress."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from playwright.sync_api import Page, expect

from config.tenancy.scope import for_environment
from connectors.shops.addresses import approve_address, request_address
from connectors.shops.models import Connection
from connectors.simulators.core import Clock, Faults, Host, Outbox, Store
from connectors.simulators.keys import make_keys
from connectors.simulators.oms import OmsApp
from connectors.sync.models import BackfillRun
from tests.connectors.simulators.lives import make_life
from tests.factories import PASSWORD, World, make_order, make_world
from tests.frontend.accessibility import list_violations
from tests.frontend.sources import (
    ask_backfill,
    connect,
    fail,
    log_call,
    log_message,
    put_in_quarantine,
    read_well,
)

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def places(transactional_db: None) -> tuple[World, dict[str, str]]:
    """Sources with a past, and the address of each page about them."""
    now = timezone.now()
    world = make_world()
    with for_environment(world.production):
        source = connect(now)
        read_well(source, now)
        Connection.objects.filter(pk=source.pk).update(last_push_at=now - timedelta(minutes=3))
        pushing = connect(now, name="支付宝", vendor="alipay", kind="gateway", shop=None)
        fail(connect(now, name="一" * 60), now)
        order = make_order(now, order_no="L" * 64, shop="天猫旗舰店", source=source.source)
        log_call(source, now, order_no=order.order_no)
        log_message(source, now, key="k", order_no=order.order_no)
        aside = put_in_quarantine(source, now, order_no=order.order_no)
        run = ask_backfill(source, now)
    return world, {
        "list": "/connections/",
        "one": f"/connections/{source.public_id}/",
        "pushing": f"/connections/{pushing.public_id}/",
        "edit": f"/connections/{source.public_id}/edit/",
        "new": "/connections/new/",
        "quarantine": "/quarantine/",
        "aside": f"/quarantine/{aside.public_id}/",
        "order": f"/orders/{order.public_id}/",
        "calls": f"/orders/{order.public_id}/calls/",
        "log": f"/connections/{source.public_id}/calls/",
        "backfills": "/backfills/",
        "backfill": f"/backfills/{run.public_id}/",
        "unmapped": "/unmapped/",
    }


def sign_in(page: Page, live_server: Any, role: str = "tech_support") -> None:
    page.goto(f"{live_server.url}/login/")
    page.fill("input[name=username]", role)
    page.fill("input[name=password]", PASSWORD)
    page.click("[data-testid=login-form] button")
    expect(page.locator("[data-testid=user-menu]")).to_be_visible()


@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (390, "dark")])
def test_no_page_breaks_the_policy_the_window_or_what_axe_asks(
    page: Page,
    live_server: Any,
    places: Any,
    page_problems: list[str],
    width: int,
    scheme: Any,
) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=scheme)
    sign_in(page, live_server)
    for address in places[1].values():
        page.goto(live_server.url + address)
        page.wait_for_load_state("networkidle")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, address
        assert page_problems == [], address
        assert list_violations(page) == [], address


def test_the_push_address_is_copied_with_one_press(
    page: Page, live_server: Any, places: Any
) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    sign_in(page, live_server)
    page.goto(live_server.url + places[1]["pushing"])
    page.click("[data-copy]")
    expect(page.locator("[data-copy]")).to_have_text("已复制")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == page.input_value("[data-testid=webhook-address]")
    assert "/in/" in copied


def test_the_order_page_fetches_its_call_log_when_it_is_seen(
    page: Page, live_server: Any, places: Any
) -> None:
    sign_in(page, live_server)
    page.goto(live_server.url + places[1]["order"])
    page.locator("#calls").scroll_into_view_if_needed()
    expect(page.locator("[data-testid=call]")).to_have_count(2)
    page.locator("summary", has_text="重新读取").click()
    expect(page.locator("[data-testid=resend]").first).to_be_visible()


def test_progress_moves_by_itself_and_stops_asking_when_it_is_over(
    page: Page, live_server: Any, places: Any
) -> None:
    world, addresses = places
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    sign_in(page, live_server)
    page.goto(live_server.url + addresses["backfill"])
    expect(page.locator("[data-testid=percent]")).to_contain_text("33%")
    with for_environment(world.production):
        run = BackfillRun.objects.get()
        BackfillRun.objects.update(state=BackfillRun.State.DONE, mark=run.end)
    expect(page.locator("[data-testid=backfill]")).to_have_attribute("data-state", "done")
    page.wait_for_timeout(500)
    before = len(asked)
    page.wait_for_timeout(3000)
    assert len(asked) == before


def test_choosing_rows_names_them_on_the_button(page: Page, live_server: Any, places: Any) -> None:
    sign_in(page, live_server)
    page.goto(live_server.url + places[1]["quarantine"])
    expect(page.locator("[data-testid=retry]")).to_be_hidden()
    page.locator("[data-choose-all]").check()
    expect(page.locator("[data-testid=retry]")).to_have_text("重试 1 条")


def test_an_oms_is_connected_by_picking_places_in_its_answer(
    page: Page, live_server: Any, places: Any
) -> None:
    world, _addresses = places
    clock, faults, store = Clock(), Faults(), Store()
    placed = clock.now() - timedelta(minutes=50)
    store.add(make_life(1, placed=placed, oms=placed + timedelta(minutes=3)))
    outbox = Outbox(clock, faults)
    app = OmsApp(store, clock, faults, make_keys().oms)
    with Host({"/oms": app}, clock, faults, outbox).running() as base:
        with for_environment(world.production):
            entry = request_address(
                host="127.0.0.1",
                port=int(base.split(":")[2]),
                purpose="模拟 OMS",
                actor=world.users["tech_support"],
                now=clock.now(),
            )
            approve_address(entry, actor=world.users["reviewer"], now=clock.now())
        sign_in(page, live_server)
        page.goto(f"{live_server.url}/connections/new/")
        page.check("input[value=generic_oms]")
        page.click("[data-testid=pick-next]")
        page.fill("#base_url", f"{base}/oms")
        expect(page.locator("#f_auth_secret")).to_be_hidden()  # nothing to authenticate with yet
        page.select_option("#f_auth_kind", "bearer")
        page.fill("#f_auth_secret", app.keys.token)
        page.fill("#f_list_path", "/api/orders")
        page.fill("#f_start_name", "updated_from")
        page.fill("#f_end_name", "updated_to")
        page.select_option("#f_paging_kind", "page")
        page.fill("#f_page_name", "page")
        page.fill("#f_size_name", "size")
        page.fill("#f_page_size", "50")
        page.click("[data-testid=take-sample]")
        expect(page.locator("[data-testid=sample]")).to_contain_text("取到 1 行订单")

        page.focus("#f_status_path")
        page.click("[data-picker=row] [data-pick='platform']")

        expect(page.locator("#f_status_path")).to_have_value("platform")
        pressed = page.locator("[data-picker=row] [data-pick='platform']")
        expect(pressed).to_have_attribute("aria-pressed", "true")
        page.click("[data-testid=try]")
        expect(page.locator("[data-testid=trial]")).to_have_attribute("data-ok", "yes")
        expect(page.locator("[data-testid=preview-row]")).to_contain_text("TM")
        page.click("[data-testid=next]")
        page.click("[data-testid=save-all]")
        expect(page.locator("[data-testid=made]")).to_have_count(1)
    with for_environment(world.production, write=False):
        made = Connection.objects.get(vendor="generic_oms")
        assert made.config["status_path"] == "platform"
