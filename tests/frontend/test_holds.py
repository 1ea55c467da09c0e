"""Alerts and holds on screen: what is shown, who may press, and what pressing does."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import resolve, reverse

from config.tenancy.models import Environment
from rules_engine.rules.services import forget_compiled
from tests.factories import for_environment
from tests.workflows.conftest import FakeClock, Stream
from workflows.interventions.models import Alert, AlertGroup, BrakeRequest, Hold
from workflows.interventions.words import write_link

pytestmark = pytest.mark.django_db


@pytest.fixture
def stream(world):
    forget_compiled()
    return Stream(world, FakeClock())


@pytest.fixture
def enter(client, world):
    """A client signed in as one role."""

    def sign_in(role):
        client.force_login(world.users[role])
        return client

    return sign_in


def hold_ids(stream):
    return [h.public_id for h in stream.rows(Hold)]


def test_the_list_shows_what_is_held_most_urgent_first(stream, enter):
    for n in range(3):
        stream.put(40, order_no=f"HELD{n}")
    stream.put(55, order_no="ORANGE")
    stream.patrol()

    page = enter("agent").get("/holds/").content.decode()

    assert page.count('data-testid="alert-row"') == 3
    assert "ORANGE" not in page
    assert "挂起仅在本系统生效" in page
    everything = enter("agent").get("/holds/?view=alerts").content.decode()
    assert everything.count('data-testid="alert-row"') == 4


def test_release_asks_for_a_reason_and_goes_back(stream, enter):
    stream.put(40)
    stream.patrol()
    client = enter("supervisor")

    refused = client.post("/holds/release/", {"hold": hold_ids(stream), "reason": " "})
    assert refused.status_code == 400
    assert stream.rows(Hold)[0].released_at is None

    answer = client.post(
        "/holds/release/",
        {"hold": hold_ids(stream), "reason": "仓库已确认", "back": "/holds/?view=alerts"},
        follow=True,
    )
    assert answer.redirect_chain == [("/holds/?view=alerts", 302)]
    assert "已解除 1 单的挂起" in answer.content.decode()
    (hold,) = stream.rows(Hold)
    assert (hold.released_by, hold.release_reason) == (
        stream.world.users["supervisor"],
        "仓库已确认",
    )
    history = client.get("/holds/?view=history").content.decode()
    assert "仓库已确认" in history


def test_a_release_that_came_too_late_says_so(stream, enter):
    stream.put(40)
    stream.patrol()
    client = enter("supervisor")
    form = {"hold": hold_ids(stream), "reason": "一"}
    client.post("/holds/release/", form)
    page = client.post("/holds/release/", form, follow=True).content.decode()
    assert "另有 1 单此前已经解除" in page


def test_release_does_not_lead_to_another_site(stream, enter):
    stream.put(40)
    stream.patrol()
    answer = enter("supervisor").post(
        "/holds/release/",
        {"hold": hold_ids(stream), "reason": "一", "back": "https://evil.example/"},
    )
    assert answer.headers["Location"] == "/holds/"


def test_nothing_chosen_is_refused(stream, enter):
    assert enter("supervisor").post("/holds/release/", {"reason": "x"}).status_code == 400


@pytest.mark.parametrize("role", ["new_agent", "tech_support", "reviewer"])
def test_who_may_not_release_sees_no_button_and_is_refused_by_hand(stream, enter, role):
    stream.put(40)
    stream.patrol()
    client = enter(role)
    assert 'data-testid="release"' not in client.get("/holds/").content.decode()
    answer = client.post("/holds/release/", {"hold": hold_ids(stream), "reason": "x"})
    assert answer.status_code == 403
    assert stream.held(stream.rows(Hold)[0].order_id)


def test_headquarters_and_strangers_do_not_get_in(stream, client, enter):
    assert client.get("/holds/").status_code == 302
    assert enter("headquarters").get("/holds/").status_code in {403, 404}


def test_another_division_gets_404_for_every_address(stream, enter):
    Environment.objects.filter(pk=stream.environment.pk).update(hold_limit=1)
    stream.put(40)
    stream.put(41)
    stream.patrol()
    stream.deliver(seconds=31)
    (brake,) = stream.rows(BrakeRequest)
    group = stream.rows(AlertGroup, topic="red")[0]
    client = enter("outsider")

    assert client.get(reverse("alert_group", args=[group.public_id])).status_code == 404
    assert client.post(reverse("group_repair", args=[group.public_id])).status_code == 404
    decide = client.post(reverse("brake_decide", args=[brake.public_id]), {"decision": "approve"})
    assert decide.status_code == 404
    release = client.post("/holds/release/", {"hold": hold_ids(stream), "reason": "x"})
    assert release.status_code == 400  # nothing of theirs was chosen
    assert len(stream.rows(Hold, released_at=None)) == 1
    assert stream.rows(BrakeRequest)[0].decided_at is None
    assert 'data-testid="alert-row"' not in client.get("/holds/?view=alerts").content.decode()


def test_the_brake_is_answered_on_the_page(stream, enter):
    Environment.objects.filter(pk=stream.environment.pk).update(hold_limit=1)
    for score in (30, 40, 41):
        stream.put(score)
    stream.patrol()
    client = enter("director")
    page = client.get("/holds/").content.decode()
    assert "2 单红色订单等您决定是否挂起" in page
    assert "挂起 2 单" in page
    (brake,) = stream.rows(BrakeRequest)
    address = reverse("brake_decide", args=[brake.public_id])

    assert client.post(address, {"decision": "maybe"}).status_code == 400
    assert client.post(address, {"decision": "reject", "reason": ""}).status_code == 400
    assert stream.rows(BrakeRequest)[0].decided_at is None
    page = client.post(address, {"decision": "approve"}, follow=True).content.decode()

    assert "已挂起 2 单" in page
    assert len(stream.rows(Hold, released_at=None)) == 3
    assert client.post(address, {"decision": "approve"}).status_code == 409
    assert 'data-testid="brake"' not in client.get("/holds/").content.decode()


def test_the_link_of_a_message_opens_its_group(stream, enter):
    for n in range(3):
        stream.put(40, order_no=f"G{n}")
    stream.patrol()
    stream.deliver(seconds=31)
    (group,) = stream.rows(AlertGroup)
    link = write_link(group)
    address = link.removeprefix("http://127.0.0.1:8600")

    assert resolve(address).url_name == "alert_group"
    page = enter("agent").get(address).content.decode()
    assert f"#A-{group.short_id}" in page
    assert page.count('data-testid="alert-row"') == 3
    assert "重新读取并重评 3 单" in page


def test_a_group_is_repaired_and_the_count_is_honest(stream, enter):
    stream.put(40, order_no="WELL")
    stream.put(41, order_no="ILL")
    stream.patrol()
    stream.put(100, order_no="WELL")
    (group,) = stream.rows(AlertGroup)

    page = (
        enter("agent")
        .post(reverse("group_repair", args=[group.public_id]), follow=True)
        .content.decode()
    )

    assert "已修复 1 单" in page
    assert "1 单重评后仍未恢复" in page
    assert [a.order.order_no for a in _open(stream)] == ["ILL"]
    assert (
        enter("director").post(reverse("group_repair", args=[group.public_id])).status_code == 403
    )


def _open(stream):
    with for_environment(stream.environment, write=False):
        return list(Alert.objects.filter(closed_at=None).select_related("order"))


def test_order_numbers_and_causes_are_escaped(stream, enter):
    stream.put(40, order_no='<img src=x onerror="1">')
    stream.patrol()
    stream.deliver(seconds=31)
    (group,) = stream.rows(AlertGroup)
    for address in ("/holds/", f"/alerts/{group.public_id}/", "/robots/?view=people"):
        assert "<img" not in enter("supervisor").get(address).content.decode()


def test_pages_follow_each_other_without_gap_or_repetition(stream, enter, monkeypatch):
    monkeypatch.setattr("frontend.pages.holds.PAGE_SIZE", 4)
    for n in range(10):
        stream.put(40, order_no=f"P{n}X", promised_ship_at=None, paid_at=None)
    stream.patrol()
    client, seen, address = enter("agent"), [], "/holds/"
    while address:
        answer = client.get(address)
        seen += [row.order.order_no for row in answer.context["rows"]]
        address = answer.context["next_url"]
    assert sorted(seen) == sorted(f"P{n}X" for n in range(10))
    assert client.get("/holds/?after=garbage").status_code == 400


@pytest.mark.parametrize("view", ["held", "alerts", "history"])
def test_the_number_of_queries_does_not_grow(stream, enter, view):
    client = enter("supervisor")

    def count():
        with CaptureQueriesContext(connection) as caught:
            assert client.get(f"/holds/?view={view}").status_code == 200
        return len(caught)

    for n in range(2):
        stream.put(40, order_no=f"A{n}")
    stream.put(40, order_no="GONE0")
    stream.patrol()
    stream.put(100, order_no="GONE0")
    stream.patrol()
    few = count()
    for n in range(12):
        stream.put(40, order_no=f"B{n}")
        stream.put(40, order_no=f"GONE{n}")
    stream.patrol()
    for n in range(12):
        stream.put(100, order_no=f"GONE{n}")
    stream.patrol()
    assert count() == few
