"""The call log of an order and of a connection: masked, and said again only where that is safe."""

from __future__ import annotations

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from config.errors import gettext_noop
from connectors.http import ConnectorError
from connectors.sync.models import CallLog, InboundMessage
from frontend.pages import calls as call_pages
from tests.factories import for_environment, join, make_order, make_user
from tests.frontend.sources import connect, log_call, log_message

pytestmark = pytest.mark.django_db


@pytest.fixture
def enter(client, world):
    def sign_in(role):
        client.force_login(world.users[role])
        return client

    return sign_in


@pytest.fixture
def told(world):
    """An order of which we asked twice and of which we were told once."""
    now = timezone.now()
    with for_environment(world.production):
        source = connect(now)
        order = make_order(now, order_no="C1", shop="天猫旗舰店", source=source.source)
        read = log_call(source, now, order_no="C1")
        held = log_call(
            source,
            now,
            order_no="C1",
            operation="order.pending",
            is_effect=True,
            outcome=CallLog.Outcome.REFUSED,
            vendor_code="S003",
        )
        message = log_message(source, now, key="m1", order_no="C1")
        log_call(source, now, order_no="ELSE")
    return source, order, read, held, message


def test_the_log_of_an_order_tells_calls_and_messages_newest_first_and_masked(told, enter):
    _source, order, _read, _held, _message = told
    page = enter("agent").get(f"/orders/{order.public_id}/calls/").content.decode()
    assert page.count('data-testid="call"') == 3
    assert page.index("order.pending") < page.index("TradeBuyerPay")
    assert "S003" in page
    assert "182 ms" in page
    assert "327.00" in page
    assert "王小明" not in page
    assert "小明同学" not in page
    assert 'data-testid="resend"' not in page  # an agent may read it


def test_the_order_page_loads_its_log_by_itself(told, enter):
    _source, order, *_rest = told
    client = enter("agent")
    page = client.get(f"/orders/{order.public_id}/").content.decode()
    assert f'hx-get="/orders/{order.public_id}/calls/"' in page
    part = client.get(f"/orders/{order.public_id}/calls/", headers={"HX-Request": "true"})
    assert "<html" not in part.content.decode()
    assert part.content.decode().count('data-testid="call"') == 3


def test_an_effect_is_not_offered_again_a_reading_call_and_a_message_are(told, enter):
    source, order, read, held, message = told
    page = enter("tech_support").get(f"/orders/{order.public_id}/calls/").content.decode()
    assert f"/calls/call-{read.pk}/resend/" in page
    assert f"/calls/message-{message.pk}/resend/" in page
    assert f"/calls/call-{held.pk}/resend/" not in page
    assert 'name="order" value="C1"' in page  # a call may have told of others too
    answer = enter("tech_support").post(f"/calls/call-{held.pk}/resend/", follow=True)
    assert "在订单页用挂起" in answer.content.decode()


def test_the_log_of_a_connection_can_be_narrowed_to_what_failed(told, enter):
    source, *_rest = told
    client = enter("agent")
    every = client.get(f"/connections/{source.public_id}/calls/").content.decode()
    failed = client.get(f"/connections/{source.public_id}/calls/?show=failed").content.decode()
    assert every.count('data-testid="call"') >= 3
    assert failed.count('data-testid="call"') == 1
    assert "order.pending" in failed


def test_reading_again_names_the_order_and_goes_back(told, enter, monkeypatch):
    _source, order, read, _held, _message = told
    asked = []

    def again(environment, key, *, actor, now, order_no):
        asked.append((environment.pk, key, actor.username))
        return "C1"

    monkeypatch.setattr(call_pages, "resend", again)
    back = f"/orders/{order.public_id}/"
    answer = enter("tech_support").post(
        f"/calls/call-{read.pk}/resend/", {"back": back}, follow=True
    )
    assert answer.redirect_chain[-1][0] == back
    assert "已重新读取订单 C1" in answer.content.decode()
    assert asked[0][1:] == (f"call-{read.pk}", "tech_support")


def test_what_the_outside_refuses_is_said_in_words(told, enter, monkeypatch):
    _source, _order, read, _held, _message = told

    def refuse(environment, key, *, actor, now, order_no):
        raise ConnectorError(gettext_noop("对方没有应答"))

    monkeypatch.setattr(call_pages, "resend", refuse)
    answer = enter("tech_support").post(
        f"/calls/call-{read.pk}/resend/", {"back": "//evil.example"}, follow=True
    )
    assert answer.redirect_chain[0][0] == "/connections/"
    assert "对方没有应答" in answer.content.decode()


@pytest.mark.parametrize("role", ["agent", "supervisor", "director"])
def test_only_who_manages_connectors_says_it_again(told, enter, role):
    read = told[2]
    assert enter(role).post(f"/calls/call-{read.pk}/resend/").status_code == 403


def test_another_division_finds_neither_log_nor_call(told, world, client):
    source, order, read, _held, message = told
    other = make_user("tech2", tenant=world.tenant)
    join(other, "tech_support", division=world.divisions[1])
    client.force_login(other)
    assert client.get(f"/orders/{order.public_id}/calls/").status_code == 404
    assert client.get(f"/connections/{source.public_id}/calls/").status_code == 404
    for key in (f"call-{read.pk}", f"message-{message.pk}", "call-0", "nonsense"):
        assert client.post(f"/calls/{key}/resend/").status_code == 404
    with for_environment(world.production, write=False):
        assert InboundMessage.objects.get(pk=message.pk).state == InboundMessage.State.DONE


def test_an_order_from_a_file_says_why_there_is_no_log(world, enter):
    with for_environment(world.production):
        order = make_order(order_no="F1")
    page = enter("agent").get(f"/orders/{order.public_id}/calls/").content.decode()
    assert 'data-testid="empty"' in page
    assert "它来自文件" in page


def test_a_body_that_is_no_json_is_shown_as_it_is():
    assert call_pages.write_body("<a>1</a>") == "<a>1</a>"
    assert call_pages.write_body('{"a": 1}') == '{\n  "a": 1\n}'
    assert call_pages.write_body('{"a": ') == '{"a": '


def test_the_log_costs_the_same_queries_for_three_or_sixty(told, world, enter):
    source, order, *_rest = told
    client = enter("tech_support")

    def count(address):
        client.get(address)
        with CaptureQueriesContext(database) as caught:
            assert client.get(address).status_code == 200
        return len(caught)

    addresses = (f"/orders/{order.public_id}/calls/", f"/connections/{source.public_id}/calls/")
    few = [count(address) for address in addresses]
    with for_environment(world.production):
        for number in range(30):
            log_call(source, timezone.now(), order_no="C1")
            log_message(source, timezone.now(), key=f"n{number}", order_no="C1")
    assert [count(address) for address in addresses] == few
