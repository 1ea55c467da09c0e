"""Quarantine: what could not be read, why, masked; tried again or ignored with a reason."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from connectors.sync.models import Quarantine
from tests.factories import for_environment, join, make_user
from tests.frontend.sources import connect, put_in_quarantine

pytestmark = pytest.mark.django_db
State = Quarantine.State


@pytest.fixture
def enter(client, world):
    def sign_in(role):
        client.force_login(world.users[role])
        return client

    return sign_in


@pytest.fixture
def source(world):
    with for_environment(world.production):
        return connect(timezone.now())


def put(world, source, order_no="QNR0001", **changes):
    with for_environment(world.production):
        return put_in_quarantine(source, timezone.now(), order_no=order_no, **changes)


def fresh(world, row):
    with for_environment(world.production, write=False):
        return Quarantine.objects.get(pk=row.pk)


def test_each_row_says_reason_field_order_source_and_how_often(world, source, enter):
    put(world, source)
    page = enter("agent").get("/quarantine/").content.decode()
    assert page.count('data-testid="quarantine-row"') == 1
    for words in ("trade.payment", "最多两位小数的金额", "QNR0001", "天猫旗舰店", ">3<"):
        assert words in page, words
    assert 'type="checkbox"' not in page  # an agent may look, not press


def test_the_payload_is_shown_masked(world, source, enter):
    row = put(world, source)
    page = enter("agent").get(f"/quarantine/{row.public_id}/").content.decode()
    assert "一百元" in page
    assert "13812345678" not in page
    assert "<code>trade.payment</code>" in page
    assert 'data-testid="retry"' not in page


def test_states_and_sources_narrow_the_list(world, source, enter):
    with for_environment(world.production):
        other = connect(timezone.now(), name="天猫折扣店")
    put(world, source, "QNR0001")
    put(world, other, "QNR0002")
    put(world, source, "QNR0003", state=State.IGNORED, note="测试单")
    client = enter("tech_support")

    every = client.get("/quarantine/").content.decode()
    one = client.get(f"/quarantine/?connection={other.public_id}").content.decode()
    ignored = client.get("/quarantine/?state=ignored").content.decode()

    assert ("QNR0001" in every, "QNR0002" in every, "QNR0003" in every) == (True, True, False)
    assert ("QNR0001" in one, "QNR0002" in one) == (False, True)
    assert ("测试单" in ignored, "QNR0001" in ignored) == (True, False)
    assert 'name="row"' not in ignored
    nonsense = client.get("/quarantine/?state=nonsense&connection=nobody")
    assert nonsense.status_code == 200


def test_a_long_list_is_paged_and_a_broken_address_says_so(world, source, enter):
    now = timezone.now()
    with for_environment(world.production):
        for number in range(53):
            put_in_quarantine(
                source, now, order_no=f"Q{number:02}", last_at=now - timedelta(minutes=number)
            )
    client = enter("tech_support")
    first = client.get("/quarantine/").content.decode()
    following = first.split('rel="next"')[0].rsplit('href="', 1)[1].split('"')[0]
    second = client.get(following.replace("&amp;", "&")).content.decode()
    assert first.count('data-testid="quarantine-row"') == 50
    assert second.count('data-testid="quarantine-row"') == 3
    assert client.get("/quarantine/?after=rubbish").status_code == 400
    assert client.get("/quarantine/?after=WzEsMl0").status_code == 400


def test_a_payload_that_is_still_unreadable_stays_and_the_attempt_counts(world, source, enter):
    row = put(world, source)
    client = enter("tech_support")
    page = client.post("/quarantine/retry/", {"row": [row.public_id]}, follow=True)
    assert "1 条仍读不懂" in page.content.decode()
    found = fresh(world, row)
    assert (found.state, found.attempts) == (State.OPEN, 1)


def test_many_are_tried_at_once_and_what_reads_now_is_settled(world, source, enter, monkeypatch):
    from frontend.pages import quarantine as page_module

    rows = [put(world, source, f"QNR000{n}") for n in range(3)]
    asked = []

    def retry(environment, public_id, *, actor, now):
        asked.append(public_id)
        return public_id != rows[1].public_id

    monkeypatch.setattr(page_module, "retry_quarantined", retry)
    client = enter("tech_support")

    page = client.post(
        "/quarantine/retry/",
        {"row": [r.public_id for r in rows], "back": "/quarantine/?state=open"},
        follow=True,
    )

    assert asked == [r.public_id for r in rows]
    assert "2 条已重新读入" in page.content.decode()
    assert "1 条仍读不懂" in page.content.decode()
    assert page.redirect_chain[-1][0] == "/quarantine/?state=open"


def test_the_way_back_never_leads_away(world, source, enter):
    row = put(world, source)
    answer = enter("tech_support").post(
        "/quarantine/retry/", {"row": [row.public_id], "back": "https://evil.example/"}
    )
    assert answer["Location"] == "/quarantine/"
    nothing = enter("tech_support").post("/quarantine/retry/", {}, follow=True)
    assert "请先勾选" in nothing.content.decode()


def test_ignoring_asks_for_a_reason_and_keeps_it(world, source, enter):
    row = put(world, source)
    client = enter("tech_support")
    address = f"/quarantine/{row.public_id}/ignore/"
    refused = client.post(address, {"note": "  "}, follow=True)
    assert "请写明" in refused.content.decode()
    assert fresh(world, row).state == State.OPEN

    client.post(address, {"note": "平台的测试订单"})

    found = fresh(world, row)
    assert (found.state, found.note) == (State.IGNORED, "平台的测试订单")
    assert found.settled_by_id == world.users["tech_support"].pk
    assert client.post(address, {"note": "再来"}).status_code == 409


@pytest.mark.parametrize("role", ["agent", "supervisor", "director"])
def test_only_who_manages_connectors_settles_anything(world, source, enter, role):
    row = put(world, source)
    client = enter(role)
    assert client.post("/quarantine/retry/", {"row": [row.public_id]}).status_code == 403
    assert client.post(f"/quarantine/{row.public_id}/ignore/", {"note": "x"}).status_code == 403
    assert fresh(world, row).state == State.OPEN


def test_another_division_sees_and_settles_nothing_of_it(world, source, client):
    row = put(world, source)
    other = make_user("tech2", tenant=world.tenant)
    join(other, "tech_support", division=world.divisions[1])
    client.force_login(other)
    assert "QNR0001" not in client.get("/quarantine/").content.decode()
    assert client.get(f"/quarantine/{row.public_id}/").status_code == 404
    client.post("/quarantine/retry/", {"row": [row.public_id]})
    answer = client.post(f"/quarantine/{row.public_id}/ignore/", {"note": "x"})
    assert answer.status_code == 404
    found = fresh(world, row)
    assert (found.state, found.attempts) == (State.OPEN, 0)


def test_the_list_costs_the_same_queries_for_one_or_fifty(world, source, enter):
    client = enter("tech_support")

    def count():
        client.get("/quarantine/")
        with CaptureQueriesContext(database) as caught:
            assert client.get("/quarantine/").status_code == 200
        return len(caught)

    put(world, source, "QNR0001")
    few = count()
    with for_environment(world.production):
        for number in range(40):
            put_in_quarantine(source, timezone.now(), order_no=f"N{number}")
    assert count() == few


def test_an_empty_quarantine_says_that_all_is_read(enter, world):
    assert "没有读不懂的报文" in enter("agent").get("/quarantine/").content.decode()
