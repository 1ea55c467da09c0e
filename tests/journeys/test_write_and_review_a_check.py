"""J1 and J2: a supervisor writes the presale check from nothing, IT approves it, orders move."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from config.releases.models import State, Version
from connectors.orders.models import Order
from connectors.orders.services import receive
from connectors.orders.statuses import PresalePhase, Stage
from connectors.shops.models import Source
from rules_engine import presets
from rules_engine.scoring.models import Score, ScoreChange
from rules_engine.scoring.services import list_due_order_ids, score_orders
from tests.factories import (
    PASSWORD,
    CanonicalReceipt,
    World,
    for_environment,
    make_order,
    make_sources,
    make_world,
)
from workflows.causes import classify

pytestmark = [pytest.mark.browser, pytest.mark.journey, pytest.mark.django_db(transaction=True)]

FORMULA = (
    "如果（预售阶段＝“”，不适用（），\n"
    "如果（且（预售阶段＝“定金已付”，尾款截至＜现在（）），不通过，通过））"
)
OVERDUE, IN_WINDOW, PAID, ORDINARY = 3, 2, 2, 18


def make_presale(now: datetime, phase: str, due: datetime, **changes: Any) -> Order:
    return make_order(
        now,
        presale_phase=phase,
        stage=Stage.DEPOSIT_PAID if phase == PresalePhase.DEPOSIT_PAID else Stage.AWAIT_SHIP,
        placed_at=now - timedelta(days=10),
        deposit_fen=5000,
        deposit_paid_at=now - timedelta(days=10),
        balance_fen=27700,
        balance_opens_at=now - timedelta(days=2),
        balance_due_at=due,
        promised_ship_at=None,
        **changes,
    )


def let_through(orders: list[Order], sources: dict[str, Source], now: datetime) -> None:
    """The OMS and the WMS have these orders."""
    for kind in ("oms", "wms"):
        receipts = [
            CanonicalReceipt(
                order_no=order.order_no,
                received_at=(order.paid_at or now) + timedelta(minutes=3),
                reviewed_at=(order.paid_at or now) + timedelta(minutes=5)
                if kind == "oms"
                else None,
            )
            for order in orders
        ]
        receive(receipts, source=sources[kind], now=now)


def score_all(now: datetime) -> None:
    """Scores to begin with, before any rule changes."""
    score_orders(list_due_order_ids(), now=now, why=ScoreChange.Why.RULE, classify=classify)


@pytest.fixture
def shop_floor(transactional_db: None) -> World:
    """A division with the five-dimension model in force and orders of every presale phase."""
    world, now = make_world(), timezone.now()
    with for_environment(world.production):
        sources = make_sources(now)
        presets.install("five_dimensions", now)
        for i in range(OVERDUE):
            due = now - timedelta(hours=2 + i)
            make_presale(now, PresalePhase.DEPOSIT_PAID, due, order_no=f"OVERDUE{i}")
        for _ in range(IN_WINDOW):
            make_presale(now, PresalePhase.DEPOSIT_PAID, now + timedelta(hours=20))
        paid_at = now - timedelta(hours=5)
        paid = [
            make_presale(
                now,
                PresalePhase.BALANCE_PAID,
                now - timedelta(hours=1),
                balance_paid_at=paid_at,
                paid_at=paid_at,
            )
            for _ in range(PAID)
        ]
        ordinary = [make_order(now) for _ in range(ORDINARY)]
        let_through([*paid, *ordinary], sources, now)
        score_all(now)
    return world


def sign_in(page: Any, address: str, username: str) -> None:
    page.context.clear_cookies()
    page.goto(f"{address}/login/")
    page.fill("input[name=username]", username)
    page.fill("input[name=password]", PASSWORD)
    page.click("[data-testid=login-form] button")
    page.wait_for_url(f"{address}/")


def bands(world: World) -> dict[str, str]:
    with for_environment(world.production):
        return dict(Score.objects.values_list("order__order_no", "band"))


def test_the_presale_check_is_written_reviewed_and_moves_orders(
    page: Any, live_server: Any, river: Any, shop_floor: World
) -> None:
    world, address = shop_floor, live_server.url
    before = bands(world)
    assert {before[f"OVERDUE{i}"] for i in range(OVERDUE)} == {"healthy"}

    # the supervisor writes it from nothing
    sign_in(page, address, "supervisor")
    page.goto(f"{address}/checks/")
    page.get_by_test_id("new-check").click()
    page.get_by_test_id("blank").click()
    page.get_by_test_id("name").fill("预售定金尾款关联")
    page.get_by_test_id("formula").click()
    page.keyboard.insert_text(FORMULA)
    finding = page.get_by_test_id("finding")
    finding.get_by_text("没有字段「尾款截至」，是不是「尾款截止」？").wait_for()
    assert page.locator(".mirror .bad").inner_text() == "尾款截至"
    assert "第 2 行第 18 列" in finding.inner_text()

    # one click mends it and the cursor stays where it was
    page.evaluate("document.getElementById('formula').setSelectionRange(5, 5)")
    page.get_by_test_id("fix").click()
    page.get_by_test_id("formula-good").wait_for()
    assert "尾款截止" in page.get_by_test_id("formula").input_value()
    assert page.evaluate("document.getElementById('formula').selectionStart") == 5
    assert "读作" in page.get_by_test_id("reading").inner_text()

    # tried on twenty real orders, each result with its values; one opened to its parts
    page.locator("[data-testid=trial][data-result=fail]").first.wait_for()
    trials = page.get_by_test_id("trial")
    assert trials.count() == 20
    results = [trials.nth(i).get_attribute("data-result") for i in range(20)]
    assert results.count("fail") == OVERDUE
    assert results.count("pass") == IN_WINDOW + PAID
    page.locator("[data-testid=trial][data-result=not_applicable]").first.click()
    page.locator("[data-testid=trace] .off").first.wait_for()
    assert "没有用到" in page.get_by_test_id("trace").inner_text()

    # points, cap, reason; 110 points cannot go, one click makes them 100
    page.get_by_test_id("points").fill("10")
    page.get_by_test_id("cap").fill("59")
    page.get_by_test_id("cause").fill("预售尾款逾期")
    page.get_by_test_id("reason").fill("尾款 {尾款} 已过 {尾款截止}")
    page.get_by_test_id("sum").get_by_text("合计 110 分").wait_for()
    page.get_by_test_id("balance").click()
    page.get_by_test_id("sum").get_by_text("合计 100 分").wait_for()
    page.get_by_test_id("saved").get_by_text("已保存").wait_for()

    # what it would move, before anybody else has seen it
    page.get_by_test_id("run-impact").click()
    page.get_by_test_id("impact-summary").get_by_text(f"会移动 {OVERDUE} 单").wait_for()
    cell = page.get_by_test_id("cell-healthy-orange")
    assert cell.inner_text().startswith(str(OVERDUE))
    page.get_by_test_id("open-submit").click()
    page.get_by_test_id("note").fill("预售尾款没人盯，逾期要人看")
    page.get_by_test_id("submit").click()
    page.get_by_test_id("own").wait_for()
    assert bands(world) == before

    # IT reads the difference and publishes it
    sign_in(page, address, "reviewer")
    page.goto(f"{address}/reviews/")
    page.get_by_test_id("review-row").get_by_role("link").click()
    assert "预售定金尾款关联" in page.get_by_test_id("changes").inner_text()
    page.get_by_test_id("impact-summary").get_by_text(f"会移动 {OVERDUE} 单").wait_for()
    assert page.get_by_test_id("moved-order").count() == OVERDUE
    page.get_by_test_id("open-approve").click()
    page.get_by_test_id("approve-publish").click()
    page.get_by_text("v2 已生效").wait_for()

    # rescoring follows by itself, in a worker
    with for_environment(world.production):
        assert Version.objects.get(state=State.PUBLISHED).number == 2
    overdue = [f"OVERDUE{i}" for i in range(OVERDUE)]
    river.wait_until(lambda: {bands(world)[number] for number in overdue} == {"orange"})
    after = bands(world)
    assert {n for n in after if after[n] != before[n]} == set(overdue)
