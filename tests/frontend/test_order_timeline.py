"""The order page's timeline: who said what, when it happened, when we learnt it."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from config.tenancy.scope import for_environment
from connectors.orders.canonical import CanonicalPayment, CanonicalReceipt
from connectors.orders.models import Order, StatusEvent
from connectors.orders.services import receive
from frontend.pages.order_timeline import Moment, build_timeline
from tests.factories import NOW, World, make_order, make_sources

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)


def timeline(order: Order) -> list[Moment]:
    return build_timeline(order, changes=[], holds=[], alerts=[], repairs=[])


def find(moments: list[Moment], text: str) -> Moment:
    return next(m for m in moments if m.text == text)


def seed(world: World) -> Order:
    """A paid order the OMS told us of three hours late, and a gateway that paid."""
    with for_environment(world.production):
        sources = make_sources()
        order = make_order(placed_at=NOW - 5 * HOUR)
        number = order.order_no
        payment = CanonicalPayment(
            order_no=number, payment_id="2026111122001", amount_fen=32_700, paid_at=NOW - 4 * HOUR
        )
        receive([payment], source=sources["gateway"], now=NOW - 4 * HOUR)
        receipt = CanonicalReceipt(
            order_no=number, received_at=NOW - 3 * HOUR, reviewed_at=NOW - 2 * HOUR
        )
        receive([receipt], source=sources["oms"], now=NOW)
        order.refresh_from_db()
    return order


def test_sources_and_passages_stand_in_one_line_newest_first(world: World) -> None:
    order = seed(world)
    with for_environment(world.production):
        moments = timeline(order)

    assert [m.at for m in moments] == sorted((m.at for m in moments), reverse=True)
    texts = [m.text for m in moments]
    for words in ("渠道状态：待发货", "付款：支付成功", "OMS 收到订单", "OMS 审单通过", "通过支付"):
        assert words in texts, words
    assert any(text.startswith("到达推送WMS") for text in texts)
    assert "¥327.00" in find(moments, "付款：支付成功").note
    assert find(moments, "OMS 收到订单").note == "OMS"


def test_what_was_learnt_late_says_when_and_what_was_learnt_at_once_does_not(world: World) -> None:
    order = seed(world)
    with for_environment(world.production):
        StatusEvent.objects.filter(order=order).update(
            occurred_at=NOW - 5 * HOUR, recorded_at=NOW - 5 * HOUR + timedelta(seconds=20)
        )
        moments = timeline(order)

    event, late = find(moments, "渠道状态：待发货"), find(moments, "OMS 收到订单")
    assert (event.learnt, event.is_late) == ("20 秒后得知", False)
    assert (late.learnt, late.is_late) == ("3 小时后得知", True)
    assert late.learnt_exact == "2026-11-11 14:32:00 得知"
    assert find(moments, "付款：支付成功").learnt == ""


def test_what_was_inferred_or_corrected_is_marked(world: World) -> None:
    order = seed(world)
    with for_environment(world.production):
        event = StatusEvent.objects.get(order=order)
        for number, kind in enumerate(("inferred", "corrected"), 2):
            StatusEvent.objects.create(
                order=order,
                source=event.source,
                sequence=number,
                kind=kind,
                stage="await_ship" if number == 2 else "shipped",
                occurred_at=NOW - timedelta(minutes=number),
                recorded_at=NOW - timedelta(minutes=number),
            )
        moments = [m for m in timeline(order) if m.text.startswith("渠道状态")]

    assert [str(m.tag) for m in moments] == ["推断", "更正", ""]
    assert all(bool(m.tag) == bool(m.tag_help) for m in moments)


def test_the_page_shows_tags_and_lateness_and_stays_within_the_division(world: World) -> None:
    order = seed(world)
    with for_environment(world.production):
        StatusEvent.objects.filter(order=order).update(kind="inferred")
    client = Client()
    client.force_login(world.users["supervisor"])
    outsider = Client()
    outsider.force_login(world.users["outsider"])

    page = client.get(f"/orders/{order.public_id}/").content.decode()
    line = page[page.index('data-testid="timeline"') :]
    line = line[: line.index("</ul>")]

    assert line.count('data-testid="moment"') > 8
    assert ">推断</span>" in line
    assert re.search(r'class="late learnt" title="[^"]+ 得知">\d+ 小时后得知', line)
    assert outsider.get(f"/orders/{order.public_id}/").status_code == 404


def test_a_long_line_costs_no_more_queries(world: World) -> None:
    order = seed(world)

    def count() -> int:
        with for_environment(world.production), CaptureQueriesContext(connection) as queries:
            timeline(Order.objects.get(pk=order.pk))
        return len(queries)

    before = count()
    with for_environment(world.production):
        event = StatusEvent.objects.get(order=order)
        for number in range(2, 30):
            StatusEvent.objects.create(
                order=order,
                source=event.source,
                sequence=number,
                kind="observed",
                stage="await_ship",
                occurred_at=NOW,
                recorded_at=NOW,
            )

    assert count() == before <= 11
