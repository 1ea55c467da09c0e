"""The order list and the order page."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from config.tenancy.scope import for_environment
from connectors.orders.models import Order
from frontend.pages.orders import PAGE_SIZE
from rules_engine.rules.services import install_rule_set
from rules_engine.scoring.models import ScoreChange
from rules_engine.scoring.services import score_orders
from tests.factories import NOW, World, make_day, make_order, make_sources, page_rules
from workflows.causes import classify
from workflows.interventions.models import Alert, Hold

pytestmark = pytest.mark.django_db


def sign_in(world: World, role: str = "supervisor") -> Client:
    client = Client()
    client.force_login(world.users[role])
    return client


def seed_bad_order(world: World, **changes) -> Order:
    """An order whose address lacks the district: 80 points, capped at 59."""
    now = timezone.now()
    with for_environment(world.production):
        make_sources(now)
        if not ScoreChange.objects.exists():
            install_rule_set(page_rules(), origin="tests", now=now)
        order = make_order(now, **({"district": ""} | changes))
        score_orders([order.pk], now=now, why="received", classify=classify)
        order.refresh_from_db()
    return order


def hold(world: World, order: Order) -> Hold:
    now = timezone.now()
    with for_environment(world.production):
        alert = Alert.objects.create(
            order=order,
            episode=1,
            level="red",
            worst_level="red",
            score_hundredths=4900,
            opened_at=now,
            level_since=now,
        )
        return Hold.objects.create(order=order, alert=alert, placed_at=now, reach="local")


def test_pages_by_time_show_every_order_once(world: World) -> None:
    size = PAGE_SIZE + 7
    with for_environment(world.production):
        for n in range(size):
            make_order(placed_at=NOW - timedelta(minutes=n % 9))
        make_order(placed_at=NOW, order_no="UNDATED")
        Order.objects.filter(order_no="UNDATED").update(placed_at=None)
    client = sign_in(world)

    first = client.get("/orders/")
    second = client.get(first.context["next_url"])

    numbers = [o.order_no for page in (first, second) for o in page.context["orders"]]
    assert len(numbers) == len(set(numbers)) == size + 1
    assert second.context["next_url"] == ""
    assert first.context["count"] == size + 1


def test_pages_by_urgency_show_worst_and_earliest_first_and_every_order_once(world: World) -> None:
    bands = ("red", "orange", "yellow")
    with for_environment(world.production):
        for n in range(PAGE_SIZE + 10):
            order = make_order(promised_ship_at=NOW + timedelta(hours=n % 7))
            ScoreChange.objects.create(
                order=order,
                at=NOW,
                band=bands[n % 3],
                score_hundredths=4900,
                cause="库存冲突",
                needs_intervention=True,
                why="clock",
                revision=1,
            )
    client = sign_in(world)

    first = client.get("/orders/?needs=1")
    second = client.get(first.context["next_url"])

    rows = [*first.context["orders"], *second.context["orders"]]
    keys = [(bands.index(o.band_at), o.deadline_at, o.pk) for o in rows]
    assert len(rows) == PAGE_SIZE + 10
    assert keys == sorted(keys)


def test_the_list_costs_the_same_queries_for_any_size(world: World) -> None:
    client = sign_in(world)

    def count(size: int, address: str) -> int:
        with for_environment(world.production):
            for _n in range(size):
                make_order()
        client.get(address)
        with CaptureQueriesContext(connection) as queries:
            assert client.get(address).status_code == 200
        return len(queries)

    assert count(2, "/orders/") == count(30, "/orders/")
    assert count(2, "/orders/?gap=wms") == count(10, "/orders/?gap=wms")


def test_searching_a_whole_number_opens_the_order(world: World) -> None:
    with for_environment(world.production):
        order = make_order(order_no="382011974406")
        make_order(order_no="999900001111")

    answer = sign_in(world).get("/orders/", {"q": " 3820 1197 4406 "})

    assert answer.status_code == 302
    assert answer.url == f"/orders/{order.public_id}/"


def test_searching_a_phone_tail_lists_its_orders(world: World) -> None:
    with for_environment(world.production):
        for number in ("A1", "A2"):
            make_order(order_no=number, receiver_phone="13812349876")
        make_order(order_no="B1", receiver_phone="13812340000")

    page = sign_in(world).get("/orders/", {"q": "9876"})

    assert {o.order_no for o in page.context["orders"]} == {"A1", "A2"}
    assert "搜索：9876" in page.content.decode()


def test_each_chip_takes_one_condition_away(world: World) -> None:
    page = sign_in(world).get("/orders/?band=red,orange&channel=tmall&needs=1")

    chips = {chip.text: chip.url for chip in page.context["chips"]}
    assert chips["红、橙"] == "/orders/?channel=tmall&needs=1"
    assert chips["待干预"] == "/orders/?band=red%2Corange&channel=tmall"
    assert len(chips) == 3


@pytest.mark.parametrize(
    "query",
    ["as_of=yesterday", "as_of=2026-11-11T06:32:00", "after=%%%", "after=WzFd", "stuck_in=9999"],
)
def test_an_unreadable_address_is_refused_in_words(world: World, query: str) -> None:
    answer = sign_in(world).get(f"/orders/?{query}")

    assert answer.status_code == 400
    assert "重新" in answer.content.decode()


def test_a_list_as_of_a_moment_shows_the_score_of_that_moment(world: World) -> None:
    with for_environment(world.production):
        order = make_order(NOW - timedelta(hours=2))
        for at, until, band, score in (
            (NOW - timedelta(hours=2), NOW - timedelta(hours=1), "red", 4900),
            (NOW - timedelta(hours=1), None, "healthy", 10_000),
        ):
            ScoreChange.objects.create(
                order=order,
                at=at,
                until=until,
                band=band,
                score_hundredths=score,
                cause="库存冲突" if band == "red" else "",
                needs_intervention=band == "red",
                why="clock",
                revision=1,
            )
    client = sign_in(world)

    then = client.get("/orders/", {"as_of": (NOW - timedelta(minutes=90)).isoformat()})
    later = client.get("/orders/", {"as_of": NOW.isoformat()})

    assert [(o.band_at, o.reason) for o in then.context["orders"]] == [("red", "库存冲突")]
    assert [o.band_at for o in later.context["orders"]] == ["healthy"]


def test_another_division_s_order_does_not_exist(world: World) -> None:
    with for_environment(world.other):
        order = make_order(order_no="FOREIGN1")
    client = sign_in(world)

    for address in ("", "repair/", "release/", "trace/address/"):
        url = f"/orders/{order.public_id}/{address}"
        answer = client.post(url) if address in {"repair/", "release/"} else client.get(url)
        assert answer.status_code == 404, address
    assert "FOREIGN1" not in client.get("/orders/").content.decode()
    assert sign_in(world, "outsider").get(f"/orders/{order.public_id}/").status_code == 200


def test_the_order_page_says_what_is_wrong_and_prints_the_sum(world: World) -> None:
    order = seed_bad_order(world)

    page = sign_in(world).get(f"/orders/{order.public_id}/")

    text = page.content.decode()
    assert page.context["sum_text"] == "0 + 30 + 25 + 15 + 10 = 80 → 封顶 59"
    assert page.context["headline"] == "收件地址缺区县：浙江省 杭州市"
    assert "橙" in text
    assert [d["key"] for d in page.context["dimensions"] if d["is_main"]] == ["address"]
    assert "文一西***" in text
    assert "文一西路 969 号" not in text
    assert "王小明" not in text


def test_the_order_page_shows_the_platform_s_own_status_and_every_flag(world: World) -> None:
    with for_environment(world.production):
        plain = make_order(raw_status="待发货")  # said as we say it
        marked = make_order(
            stage="unknown",
            raw_status="WAIT_AI_AUDIT",
            risk_state="地址待核实",
            platform_hold="处方药待审核",
            **dict.fromkeys(("partial_refund", "address_change_pending", "oversold"), True),
            **dict.fromkeys(("buyer_urged", "is_credit_pay", "is_cod"), True),
        )
    client = sign_in(world)

    first, second = (client.get(f"/orders/{o.public_id}/") for o in (plain, marked))

    assert first.context["tags"][1:] == ["渠道：待发货"]
    assert 'data-testid="say-stage"' not in first.content.decode()
    assert second.context["tags"][1:] == [
        "渠道：未知",
        "平台状态：WAIT_AI_AUDIT",
        "风控：地址待核实",
        "平台暂停：处方药待审核",
        *("部分退款", "地址修改待确认", "超卖", "买家催发货", "先用后付", "货到付款"),
    ]
    assert 'data-testid="say-stage"' in second.content.decode()


def test_the_trace_gives_the_value_of_every_part(world: World) -> None:
    order = seed_bad_order(world)

    page = sign_in(world).get(f"/orders/{order.public_id}/trace/address/").content.decode()

    assert "浙江省" in page
    assert page.index("且(") < page.index("浙江省")
    assert sign_in(world).get(f"/orders/{order.public_id}/trace/nothing/").status_code == 404


def test_the_timeline_tells_status_score_and_hold_in_order(world: World) -> None:
    order = seed_bad_order(world)
    hold(world, order)

    page = sign_in(world).get(f"/orders/{order.public_id}/")

    moments = page.context["timeline"]
    assert [m.at for m in moments] == sorted((m.at for m in moments), reverse=True)
    texts = [m.text for m in moments]
    assert "挂起" in texts
    assert "首次评分 橙 59" in texts
    assert "渠道状态：待发货" in texts


def test_the_order_page_costs_a_fixed_number_of_queries(world: World) -> None:
    order = seed_bad_order(world)
    client = sign_in(world)
    address = f"/orders/{order.public_id}/"
    client.get(address)
    with CaptureQueriesContext(connection) as few:
        client.get(address)
    with for_environment(world.production):
        now = timezone.now()
        make_order(now, order_no=order.order_no, shop=order.shop.name, stage="shipped")
        for n in range(5):
            hold_row = Alert.objects.create(
                order=order,
                episode=n + 5,
                level="red",
                worst_level="red",
                score_hundredths=1,
                opened_at=now,
                level_since=now,
                closed_at=now,
            )
            Hold.objects.create(
                order=order, alert=hold_row, placed_at=now, released_at=now, reach="local"
            )
    with CaptureQueriesContext(connection) as many:
        client.get(address)

    assert len(few) == len(many)


def test_rereading_says_that_nothing_changed(world: World) -> None:
    order = seed_bad_order(world)

    answer = sign_in(world, "agent").post(f"/orders/{order.public_id}/repair/", follow=True)

    assert "来源没有新数据" in answer.content.decode()
    with for_environment(world.production):
        assert order.repairs.count() == 1


def test_a_director_may_not_repair_but_may_release(world: World) -> None:
    order = seed_bad_order(world)
    held = hold(world, order)
    client = sign_in(world, "director")

    refused = client.post(f"/orders/{order.public_id}/repair/")
    silent = client.post(f"/orders/{order.public_id}/release/", {"reason": " "}, follow=True)
    with for_environment(world.production):
        held.refresh_from_db()
        assert held.released_at is None
    released = client.post(
        f"/orders/{order.public_id}/release/", {"reason": "仓库已确认"}, follow=True
    )

    assert refused.status_code == 403
    assert "请写明解除挂起的理由" in silent.content.decode()
    assert "仓库已确认" in released.content.decode()
    with for_environment(world.production):
        held.refresh_from_db()
        assert held.released_by == world.users["director"]


def test_a_new_agent_may_not_release(world: World) -> None:
    order = seed_bad_order(world)
    held = hold(world, order)

    answer = sign_in(world, "new_agent").post(
        f"/orders/{order.public_id}/release/", {"reason": "试试"}
    )

    assert answer.status_code == 403
    with for_environment(world.production):
        held.refresh_from_db()
        assert held.released_at is None


def test_filters_of_a_day_agree_with_the_rows(world: World) -> None:
    make_day(world.production, now=NOW, size=48)
    client = sign_in(world)

    red = client.get("/orders/?band=red").context["orders"]
    lost = client.get("/orders/?cause=支付回调丢失").context["orders"]
    failing = client.get("/orders/?failed=price").context["orders"]

    assert red
    assert {o.band_at for o in red} == {"red"}
    assert {o.channel for o in lost} == {"private_mall"}
    assert len(failing) == 3
