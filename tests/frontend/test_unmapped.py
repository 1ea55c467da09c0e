"""Statuses nobody knows: shown, mapped with one click, reviewed, and the orders read anew."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from config.releases.models import State, Version
from connectors.orders.models import Order
from connectors.orders.statuses import Stage
from connectors.shops.models import Connection
from connectors.sync.models import MappingNotice
from connectors.sync.registry import get_connector
from connectors.sync.taking import Reading, take_readings
from frontend.pages import unmapped as unmapped_pages
from tests.factories import for_environment, join, make_order, make_user
from tests.frontend.sources import connect
from workflows.patrol.sources import list_remaps, remap
from workflows.rollup.services import take_snapshot

pytestmark = pytest.mark.django_db
PAYLOAD = Path(__file__).parents[1] / "payloads" / "tmall" / "unknown_status.json"


@pytest.fixture
def enter(client, world):
    def sign_in(role):
        client.force_login(world.users[role])
        return client

    return sign_in


@pytest.fixture
def unknown(world):
    """An order whose status Tmall invented yesterday, taken in through the real door."""
    now = timezone.now()
    with for_environment(world.production):
        source = connect(now)
        payload = json.loads(PAYLOAD.read_text())
        take_readings(
            [Reading(payload)], connection=source, connector=get_connector("tmall"), now=now
        )
        order = Order.objects.get(stage=Stage.UNKNOWN)
        assert order.raw_status
    return order


@pytest.fixture
def woken(monkeypatch):
    found = []
    monkeypatch.setattr(
        unmapped_pages, "wake_remap", lambda environment: found.append(environment.pk)
    )
    return found


def form(order, **changes):
    return {
        "channel": order.channel,
        "raw_status": order.raw_status,
        "stage": "await_ship",
        "effective_from": timezone.localdate().isoformat(),
        "note": "平台公告新增",
    } | changes


def versions(world):
    with for_environment(world.production, write=False):
        return list(Version.objects.filter(document__kind="status_mapping").order_by("number"))


def test_an_unknown_status_is_shown_with_its_orders_on_its_page_and_on_the_home_page(
    world, unknown, enter
):
    client = enter("supervisor")
    with for_environment(world.production):
        take_snapshot(timezone.now())

    page = client.get("/unmapped/").content.decode()
    home = client.get("/").content.decode()

    assert f'data-status="{unknown.raw_status}"' in page
    assert f"/orders/{unknown.public_id}/" in page
    assert "1 单" in page
    assert page.count("<option") == len(Stage)  # "选一个阶段", and every stage but the unknown one
    assert 'data-testid="unmapped-card"' in home
    assert unknown.raw_status in home


def test_one_click_puts_it_before_the_reviewers_and_says_so_everywhere(
    world, unknown, enter, woken
):
    client = enter("tech_support")

    page = client.post("/unmapped/propose/", form(unknown), follow=True).content.decode()

    version = versions(world)[0]
    assert version.state == State.SUBMITTED
    assert "已提交审核" in page
    assert "这是您自己提交的" not in page  # technical support reviews nothing
    listed = client.get("/unmapped/").content.decode()
    assert 'data-testid="proposed"' in listed
    assert 'data-testid="map-form"' not in listed
    reviews = enter("reviewer").get("/reviews/").content.decode()
    assert f"/unmapped/versions/{version.public_id}/" in reviews
    assert f"「{unknown.raw_status}」→ 待发货" in reviews
    assert woken == []


def test_after_publication_the_orders_are_read_anew(world, unknown, enter, woken):
    enter("tech_support").post("/unmapped/propose/", form(unknown))
    version = versions(world)[0]
    address = f"/unmapped/versions/{version.public_id}/"
    reviewer = enter("reviewer")
    assert "1 单" in reviewer.get(address).content.decode()

    page = reviewer.post(f"{address}decide/", {"verdict": "approve_publish"}, follow=True)

    assert "正在按它重读" in page.content.decode()
    assert woken == [world.production.pk]
    assert remap(world.production) == 1
    with for_environment(world.production, write=False):
        order = Order.objects.get(pk=unknown.pk)
        assert (order.stage, order.raw_status) == (Stage.AWAIT_SHIP, unknown.raw_status)
    assert 'data-testid="empty"' in reviewer.get("/unmapped/").content.decode()
    assert remap(world.production) == 0  # safe to run twice


def test_an_order_on_its_way_in_while_a_mapping_came_into_force_is_read_anew_too(
    world, unknown, enter, woken
):
    proposed = enter("tech_support").post("/unmapped/propose/", form(unknown))
    enter("reviewer").post(f"{proposed.url}decide/", {"verdict": "approve_publish"})
    start = timezone.now()
    assert remap(world.production, clock=lambda: start) == 1
    with for_environment(world.production):
        make_order(stage=Stage.UNKNOWN, raw_status=unknown.raw_status)  # by the table of before

        assert list_remaps(now=start + timedelta(seconds=40))
    assert remap(world.production, clock=lambda: start + timedelta(seconds=40)) == 1
    remap(world.production, clock=lambda: start + timedelta(seconds=100))
    with for_environment(world.production):
        assert list_remaps(now=start + timedelta(seconds=160)) == {}


def test_a_status_of_a_file_is_mapped_like_any_other_and_holds_up_no_other_channel(
    world, unknown, enter, woken
):
    with for_environment(world.production):
        filed = make_order(channel="jd", stage=Stage.UNKNOWN, raw_status="等待打印")
    for order in (filed, unknown):
        proposed = enter("tech_support").post("/unmapped/propose/", form(order))
        enter("reviewer").post(f"{proposed.url}decide/", {"verdict": "approve_publish"})

    assert remap(world.production) == 2

    with for_environment(world.production, write=False):
        stages = set(Order.objects.values_list("channel", "stage"))
    assert stages == {("jd", "await_ship"), ("tmall", "await_ship")}
    assert remap(world.production) == 0


def test_nobody_approves_what_they_wrote(world, unknown, enter, woken):
    reviewer = enter("reviewer")
    reviewer.post("/unmapped/propose/", form(unknown))
    version = versions(world)[0]
    page = reviewer.get(f"/unmapped/versions/{version.public_id}/").content.decode()
    assert "这是您自己提交的" in page
    answer = reviewer.post(
        f"/unmapped/versions/{version.public_id}/decide/", {"verdict": "approve_publish"}
    )
    assert answer.status_code == 403
    assert versions(world)[0].state == State.SUBMITTED
    assert woken == []


def test_a_submission_is_sent_back_with_a_word_why(world, unknown, enter, woken):
    enter("tech_support").post("/unmapped/propose/", form(unknown))
    version = versions(world)[0]
    address = f"/unmapped/versions/{version.public_id}/"
    enter("reviewer").post(f"{address}decide/", {"verdict": "changes", "comment": "应为平台暂停"})
    page = enter("tech_support").get(address).content.decode()
    assert "应为平台暂停" in page
    assert "去重新提交" in page
    assert 'data-testid="map-form"' in enter("tech_support").get("/unmapped/").content.decode()


def test_a_version_before_may_be_put_in_force_again(world, unknown, enter, woken):
    for stage in ("await_ship", "platform_hold"):
        enter("tech_support").post("/unmapped/propose/", form(unknown, stage=stage))
        newest = versions(world)[-1]
        enter("reviewer").post(
            f"/unmapped/versions/{newest.public_id}/decide/", {"verdict": "approve_publish"}
        )
    first = versions(world)[0]
    page = enter("reviewer").get(f"/unmapped/versions/{first.public_id}/").content.decode()
    assert 'data-testid="roll-back"' in page

    enter("reviewer").post(
        f"/unmapped/versions/{first.public_id}/decide/", {"verdict": "roll_back"}
    )

    again = versions(world)[-1]
    assert (again.state, again.content) == (State.PUBLISHED, first.content)
    assert len(woken) == 3


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"stage": "unknown"}, "阶段不认识"),
        ({"stage": ""}, "阶段不认识"),
        ({"effective_from": "明天"}, "生效日期应写成"),
        ({"raw_status": ""}, "平台状态应为"),
        ({"channel": "nowhere"}, "没有「nowhere」这个渠道"),
    ],
)
def test_what_cannot_be_is_refused_in_words(world, unknown, enter, changes, words):
    page = enter("tech_support").post("/unmapped/propose/", form(unknown, **changes), follow=True)
    assert words in page.content.decode()
    assert versions(world) == []


@pytest.mark.parametrize("role", ["agent", "director"])
def test_who_writes_no_rules_and_manages_no_connectors_maps_nothing(world, unknown, enter, role):
    client = enter(role)
    page = client.get("/unmapped/").content.decode()
    assert 'data-testid="map-form"' not in page
    assert 'data-testid="who-maps"' in page  # who may is said instead
    assert client.post("/unmapped/propose/", form(unknown)).status_code == 403
    assert versions(world) == []
    enter("tech_support").post("/unmapped/propose/", form(unknown))
    assert "去审核" not in enter(role).get("/unmapped/").content.decode()
    assert "去审核" in enter("reviewer").get("/unmapped/").content.decode()


def test_only_reviewers_decide(world, unknown, enter, woken):
    enter("supervisor").post("/unmapped/propose/", form(unknown))
    version = versions(world)[0]
    for role in ("supervisor", "tech_support", "agent"):
        answer = enter(role).post(
            f"/unmapped/versions/{version.public_id}/decide/", {"verdict": "approve_publish"}
        )
        assert answer.status_code == 403
    assert versions(world)[0].state == State.SUBMITTED


def test_another_division_sees_and_decides_nothing_of_it(world, unknown, enter, woken, client):
    enter("supervisor").post("/unmapped/propose/", form(unknown))
    version = versions(world)[0]
    other = make_user("all2", tenant=world.tenant)
    for role in ("tech_support", "reviewer", "supervisor"):
        join(other, role, division=world.divisions[1])
    client.force_login(other)
    assert unknown.raw_status not in client.get("/unmapped/").content.decode()
    assert client.get(f"/unmapped/versions/{version.public_id}/").status_code == 404
    answer = client.post(f"/unmapped/versions/{version.public_id}/decide/", {"verdict": "approve"})
    assert answer.status_code == 404
    client.post("/unmapped/propose/", form(unknown))
    assert [v.number for v in versions(world)] == [1]
    with for_environment(world.other, write=False):
        assert Version.objects.filter(document__kind="status_mapping").count() == 1


def test_other_values_nobody_knows_are_listed_for_the_it(world, unknown, enter):
    with for_environment(world.production):
        MappingNotice.objects.create(
            connection=Connection.objects.get(),
            code="unmapped_value",
            field="trade.type",
            value="hyper_future",
            times=7,
            first_at=timezone.now(),
            last_at=timezone.now(),
        )
    page = enter("agent").get("/unmapped/").content.decode()
    assert "hyper_future" in page
    assert "trade.type" in page


def test_the_page_costs_the_same_queries_for_one_status_or_thirty(world, unknown, enter, woken):
    client = enter("supervisor")
    client.post("/unmapped/propose/", form(unknown))

    def count():
        client.get("/unmapped/")
        with CaptureQueriesContext(database) as caught:
            assert client.get("/unmapped/").status_code == 200
        return len(caught)

    few = count()
    with for_environment(world.production):
        for number in range(30):
            make_order(
                timezone.now() - timedelta(minutes=number),
                stage=Stage.UNKNOWN,
                raw_status=f"NEW_{number}",
            )
    assert count() == few


def test_nothing_unmapped_is_good_news(world, enter):
    assert "所有状态都认识" in enter("agent").get("/unmapped/").content.decode()
