"""The connectors' health in words, what a person may press there, and secrets that never come out."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from config.audit.models import AuditEntry
from config.errors import Phrase, gettext_noop
from connectors.adapters import RateLimit
from connectors.orders.models import Order
from connectors.shops.connections import record_trouble, reveal_secrets
from connectors.shops.models import Connection
from connectors.sync import health
from connectors.sync.models import Cursor
from connectors.sync.trying import Trial
from frontend.pages import connections as connection_pages
from tests.factories import for_environment, join, make_order, make_user
from tests.frontend.sources import (
    CANARY,
    TMALL_CONFIG,
    connect,
    fail,
    log_call,
    put_in_quarantine,
    read_well,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def enter(client, world):
    def sign_in(role):
        client.force_login(world.users[role])
        return client

    return sign_in


@pytest.fixture
def source(world):
    """A Tmall shop that reads well."""
    now = timezone.now()
    with for_environment(world.production):
        row = connect(now)
        read_well(row, now)
    return row


@pytest.fixture
def answers(monkeypatch):
    """What the outside says to the next test call, and what it was asked with."""
    asked: list[dict[str, Any]] = []
    said: list[Trial] = []

    def try_it(environment, **asking):
        asked.append(asking)
        return said[-1]

    monkeypatch.setattr(connection_pages, "try_connection", try_it)
    monkeypatch.setattr(connection_pages, "wake_pull", lambda environment, row: None)

    def say(*, ok=True, words="连接成功", answer="", code=""):
        said.append(Trial(ok, Phrase(words), answer, 0.1, code))
        return asked

    return say


def fresh(world, row):
    with for_environment(world.production, write=False):
        return Connection.objects.select_related("source").get(pk=row.pk)


def edit_form(**changes):
    form = {
        "base_url": "https://eco.taobao.com",
        "f_app_key": TMALL_CONFIG["app_key"],
        "f_app_secret": "",
        "f_access_token": "",
        "f_refresh_token": "",
        "every_minutes": "15",
    }
    return form | changes


# --- health ---------------------------------------------------------------------------------------


def test_the_list_says_in_words_how_each_source_does_trouble_first(world, source, enter):
    now = timezone.now()
    with for_environment(world.production):
        fail(connect(now, name="天猫折扣店"), now)

    page = enter("agent").get("/connections/").content.decode()

    assert page.count('data-testid="connection"') == 2
    assert page.index("天猫折扣店") < page.index(">天猫旗舰店<")
    assert "授权已失效" in page
    assert "每 15 分钟读取一次" in page
    assert "读到 32 单" in page
    assert "需要处理" in page
    assert 'data-testid="remedy"' not in page  # an agent may look, not press


def test_the_button_that_mends_it_stands_beside_the_trouble(world, source, enter):
    now = timezone.now()
    with for_environment(world.production):
        fail(source, now)
    client = enter("tech_support")
    assert "重新授权" in client.get("/connections/").content.decode()

    with for_environment(world.production):
        fail(source, now, code="address_refused")
    assert "申请放行地址" in client.get("/connections/").content.decode()

    with for_environment(world.production):
        fail(source, now, code="http_502")
    page = client.get(f"/connections/{source.public_id}/").content.decode()
    assert f'action="{reverse("connection_read", args=[source.public_id])}"' in page


def test_the_page_of_one_shows_runs_late_orders_quota_and_what_waits(world, source, enter):
    now = timezone.now()
    with for_environment(world.production):
        late = make_order(
            now, order_no="LATE1", shop="天猫旗舰店", placed_at=now - timedelta(minutes=12)
        )
        make_order(now, order_no="SOON1", shop="天猫旗舰店", placed_at=now - timedelta(minutes=2))
        Order.objects.update(first_scored_at=now)
        log_call(source, now, at=now)  # today's also in the first minute of a day
        put_in_quarantine(source, now, order_no="Q1")

    page = enter("agent").get(f"/connections/{source.public_id}/").content.decode()

    assert page.count('data-testid="run"') == 3
    assert reverse("order_detail", args=[late.public_id]) in page
    assert "LATE1" in page
    assert "SOON1" not in page
    assert "1 单超过 5 分钟" in page
    assert "/quarantine/?connection=" in page
    assert 'data-live="calls">1<' in page


def test_what_moves_is_asked_for_again_without_the_rest_of_the_page(source, enter):
    htmx = {"HX-Request": "true"}
    client = enter("agent")
    for address in ("/connections/", f"/connections/{source.public_id}/"):
        part = client.get(address, headers=htmx).content.decode()
        assert "<html" not in part
        assert "读到 32 单" in part


def test_an_empty_environment_says_what_would_fill_it(enter):
    assert "接入渠道或系统" in enter("tech_support").get("/connections/").content.decode()
    page = enter("agent").get("/connections/").content.decode()
    assert 'data-testid="empty"' in page
    assert 'data-testid="connection-new"' not in page


def test_a_source_of_another_division_does_not_exist(world, source, client):
    other = make_user("tech2", tenant=world.tenant)
    join(other, "tech_support", division=world.divisions[1])
    client.force_login(other)

    assert "天猫旗舰店" not in client.get("/connections/").content.decode()
    for name in ("connection_detail", "connection_edit", "connection_calls"):
        assert client.get(reverse(name, args=[source.public_id])).status_code == 404
    for name in ("connection_read", "connection_switch", "connection_edit"):
        answer = client.post(reverse(name, args=[source.public_id]), edit_form(active="0"))
        assert answer.status_code == 404
    assert fresh(world, source).is_active


def test_the_number_of_queries_does_not_grow_with_sources_or_runs(world, enter):
    client = enter("tech_support")
    now = timezone.now()

    def count(address):
        client.get(address)
        with CaptureQueriesContext(database) as caught:
            assert client.get(address).status_code == 200
        return len(caught)

    def add(name):
        with for_environment(world.production):
            row = connect(now, name=name)
            read_well(row, now, runs=20)
            put_in_quarantine(row, now, order_no=name)
        return row

    first = add("第一家")
    few = count("/connections/"), count(f"/connections/{first.public_id}/")
    for number in range(8):
        add(f"店{number}")
    assert (count("/connections/"), count(f"/connections/{first.public_id}/")) == few


# --- what a person presses ------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["agent", "supervisor", "director", "reviewer"])
def test_who_may_not_manage_connectors_changes_nothing(world, source, enter, role):
    client = enter(role)
    assert client.get(f"/connections/{source.public_id}/").status_code == 200
    assert client.get(f"/connections/{source.public_id}/edit/").status_code == 403
    for name in ("connection_edit", "connection_read", "connection_switch"):
        answer = client.post(reverse(name, args=[source.public_id]), edit_form(active="0"))
        assert answer.status_code == 403
    assert fresh(world, source).is_active


def test_reading_now_wakes_the_reader_and_a_paused_source_says_why_not(
    world, source, enter, monkeypatch, django_capture_on_commit_callbacks
):
    woken = []
    monkeypatch.setattr(
        connection_pages, "wake_pull", lambda environment, row: woken.append(row.pk)
    )
    client = enter("tech_support")
    address = reverse("connection_read", args=[source.public_id])

    page = client.post(address, follow=True).content.decode()

    assert woken == [source.pk]
    assert "立即读取" in page
    client.post(reverse("connection_switch", args=[source.public_id]), {"active": "0"})
    assert fresh(world, source).is_active is False
    refused = client.post(address)
    assert refused.status_code == 409
    assert "已暂停" in refused.content.decode()
    assert woken == [source.pk]
    client.post(reverse("connection_switch", args=[source.public_id]), {"active": "1"})
    assert fresh(world, source).is_active
    assert woken == [source.pk, source.pk]


# --- editing --------------------------------------------------------------------------------------


def test_a_change_is_tested_with_old_and_new_secrets_and_stored_when_it_answers(
    world, source, enter, answers
):
    asked = answers(words="连接成功：店铺有 13 单")
    client = enter("tech_support")

    page = client.post(
        f"/connections/{source.public_id}/edit/",
        edit_form(f_access_token="fresh-token-000999", every_minutes="5"),
        follow=True,
    ).content.decode()

    assert "已保存" in page
    assert asked[0]["secrets"]["access_token"] == "fresh-token-000999"
    assert asked[0]["secrets"]["app_secret"] == f"{CANARY}-app"
    row = fresh(world, source)
    assert row.every_minutes == 5
    assert reveal_secrets(row)["access_token"] == "fresh-token-000999"
    assert row.secret_hints["access_token"] == "0999"


def test_only_the_schedule_changed_asks_nobody(world, source, enter, answers):
    asked = answers(ok=False)
    enter("tech_support").post(
        f"/connections/{source.public_id}/edit/", edit_form(every_minutes="30")
    )
    assert asked == []
    assert fresh(world, source).every_minutes == 30


def test_what_does_not_answer_changes_nothing_until_a_person_insists(world, source, enter, answers):
    answers(ok=False, words="签名不对", answer='{"code": 25}', code="vendor_refusal")
    client = enter("tech_support")
    address = f"/connections/{source.public_id}/edit/"

    refused = client.post(address, edit_form(f_app_secret="another-secret-12345"))

    page = refused.content.decode()
    assert refused.status_code == 400
    assert "签名不对" in page
    assert 'data-testid="force"' in page
    assert "another-secret-12345" not in page
    assert "…2345" in page
    assert reveal_secrets(fresh(world, source))["app_secret"] == f"{CANARY}-app"

    client.post(address, edit_form(action="force"))  # nothing has to be typed again

    assert reveal_secrets(fresh(world, source))["app_secret"] == "another-secret-12345"


def test_what_was_typed_is_forgotten_when_the_page_is_opened_anew(world, source, enter, answers):
    answers(ok=False, words="签名不对")
    client = enter("tech_support")
    address = f"/connections/{source.public_id}/edit/"
    client.post(address, edit_form(f_app_secret="another-secret-12345"))

    client.get(address)
    client.post(address, edit_form(action="force", every_minutes="20"))

    row = fresh(world, source)
    assert row.every_minutes == 20
    assert reveal_secrets(row)["app_secret"] == f"{CANARY}-app"


def test_stored_secrets_are_never_sent_to_another_host(world, source, enter, answers):
    asked = answers()
    client = enter("tech_support")
    address = f"/connections/{source.public_id}/edit/"

    refused = client.post(address, edit_form(base_url="https://collector.example.com"))

    assert refused.status_code == 400
    assert "换了主机" in refused.content.decode()
    forced = client.post(
        address, edit_form(base_url="https://collector.example.com", action="force")
    )
    assert forced.status_code == 400
    assert asked == []
    assert fresh(world, source).base_url == "https://eco.taobao.com"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"every_minutes": "0"}, "1 到 60"),
        ({"every_minutes": "61"}, "1 到 60"),
        ({"every_minutes": "十五"}, "1 到 60"),
        ({"base_url": ""}, "请填写接口地址"),
        ({"base_url": "ftp://eco.taobao.com"}, "https://"),
        ({"base_url": "https://user:pw@eco.taobao.com"}, "用户名"),
        ({"base_url": "https://eco.taobao.com/?token=1"}, "问号"),
        ({"base_url": "https://[::1"}, "不是有效的网址"),
        ({"f_app_key": ""}, "请填写「App Key」"),
    ],
)
def test_an_answer_that_cannot_be_is_named_beside_its_field(
    world, source, enter, answers, changes, words
):
    asked = answers()
    answer = enter("tech_support").post(
        f"/connections/{source.public_id}/edit/", edit_form(**changes)
    )
    assert answer.status_code == 400
    assert words in answer.content.decode()
    assert asked == []
    row = fresh(world, source)
    assert (row.every_minutes, row.base_url, row.config) == (
        15,
        "https://eco.taobao.com",
        TMALL_CONFIG,
    )


def test_an_address_inside_is_refused_explained_and_recorded(world, source, enter):
    client = enter("tech_support")

    answer = client.post(
        f"/connections/{source.public_id}/edit/",
        edit_form(
            base_url="http://127.0.0.1:6379",
            f_app_secret="typed-secret-1111",
            f_access_token="typed-secret-2222",
            f_refresh_token="typed-secret-3333",
        ),
    )

    page = answer.content.decode()
    assert answer.status_code == 400
    assert "目标地址不允许" in page
    assert "127.0.0.1:6379" in page
    assert 'href="/addresses/"' in page
    assert "typed-secret" not in page
    assert fresh(world, source).base_url == "https://eco.taobao.com"
    with for_environment(world.production, write=False):
        entry = AuditEntry.objects.get(action="connection.refused")
        assert "6379" not in str(entry.details)


# --- secrets --------------------------------------------------------------------------------------


def test_no_page_no_session_and_no_audit_line_ever_holds_a_secret(
    world, source, enter, answers, caplog
):
    answers(ok=False, words="签名不对", answer='{"session": "x"}')
    client = enter("division_admin")
    with for_environment(world.production):
        log_call(source, timezone.now(), order_no="S1")
    client.post(
        f"/connections/{source.public_id}/edit/", edit_form(f_app_secret=f"{CANARY}-typed-again")
    )

    pages = [
        client.get(address).content.decode()
        for address in (
            "/connections/",
            f"/connections/{source.public_id}/",
            f"/connections/{source.public_id}/calls/",
            f"/connections/{source.public_id}/edit/",
            "/connections/new/",
            "/quarantine/",
            "/backfills/",
            "/admin/",
        )
    ]

    assert not any(CANARY in page for page in pages)
    assert "已保存，末四位" in pages[1]
    assert CANARY not in str(dict(client.session))
    assert CANARY not in caplog.text
    with for_environment(world.production, write=False):
        assert CANARY not in str(list(AuditEntry.objects.values()))
        assert CANARY not in str(list(Connection.objects.values()))
        assert CANARY not in repr(fresh(world, source))


def test_what_the_platform_said_is_told_in_the_language_of_the_reader(world, client):
    now = timezone.now()
    with for_environment(world.production):
        row = connect(now)
        put_in_quarantine(row, now, order_no="1")
        reason = Phrase(gettext_noop("店铺授权无效或已过期：刷新令牌，仍失败则请商家重新授权"))
        told = Phrase(
            gettext_noop("%(reason)s（对方代码 %(code)s）"), {"reason": reason, "code": "27"}
        )
        words = Phrase(gettext_noop("授权已失效，请商家重新授权：%(reason)s"), {"reason": told})
        record_trouble(row, code="authorisation", words=words, now=now)
    client.force_login(world.users["tech_support"])
    assert "（对方代码 27）" in client.get("/connections/").content.decode()
    client.post("/language/", {"language": "en", "next": "/"})
    for address in ("/connections/", f"/connections/{row.public_id}/"):
        page = client.get(address).content.decode()
        assert "(their code 27)" in page
        assert "授权" not in page, address
    assert "两位小数" not in client.get("/quarantine/").content.decode()


def test_an_authorisation_that_ends_soon_and_cannot_be_renewed_is_said_in_time(world, enter):
    now = timezone.now()
    with for_environment(world.production):
        row = connect(now, secrets={"app_secret": "s" * 12, "access_token": "t" * 12})
        read_well(row, now)
        other = connect(now, name="会续期的店")
    client, places = enter("tech_support"), ("/connections/", f"/connections/{row.public_id}/")
    for days, is_said in ((4, False), (2, True), (-1, False)):
        with for_environment(world.production):
            ends = now + timedelta(days=days)
            Connection.objects.filter(pk__in=[row.pk, other.pk]).update(access_expires_at=ends)
        for place in places:
            page = client.get(place).content.decode()
            assert page.count('data-testid="ending"') == is_said, (place, days)
            assert ("到期，不能自动续期" in page) is is_said


def test_an_english_reader_reads_the_page_of_one_whole(world, enter, monkeypatch):
    monkeypatch.setattr(health, "read_limit", lambda *_: RateLimit(per_day=9))
    now = timezone.now()
    with for_environment(world.production):
        made = connect(
            now, vendor="generic_oms", kind="oms", name="OMS", shop=None,
            config={"auth_kind": "bearer"}, secrets={},
        )  # fmt: skip
        record_trouble(
            made,
            code="over_budget",
            words=Phrase("调用太密，本应用的额度要再等 %(seconds)d 秒", {"seconds": 41}),
            now=now,
        )
    client = enter("tech_support")
    client.post("/language/", {"language": "en", "next": "/"})

    page = client.get(f"/connections/{made.public_id}/").content.decode()

    assert "Bearer token (Authorization header)" in page
    assert "41" in page
    shown = re.sub("<[^>]*>", "", page[page.index('id="health"') :])
    assert not re.search("[\u4e00-\u9fff]", shown), re.findall("[\u4e00-\u9fff]+", shown)


def test_the_next_reading_is_told_while_it_is_to_come(world, source, enter):
    address = f"/connections/{source.public_id}/"
    assert "下次读取" in enter("agent").get(address).content.decode()

    with for_environment(world.production):  # a backlog is being read: its slot is not over
        Cursor.objects.update(slot=timezone.now() - timedelta(hours=1))
    assert "下次读取" not in enter("agent").get(address).content.decode()
