"""Authorising by redirect, against the simulated platforms over HTTP: the way, and every way out."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from django.contrib.sessions.backends.db import SessionStore
from django.core import signing
from django.test import Client
from django.utils import timezone

from config.audit.models import AuditEntry
from config.tenancy.middleware import SESSION_KEY as ENVIRONMENT_KEY
from connectors.shops.connections import (
    authorise_connection,
    claim_tokens,
    create_connection,
    record_trouble,
    reveal_secrets,
    store_tokens,
)
from connectors.shops.models import Connection
from connectors.shops.services import get_or_create_shop
from connectors.sync.models import CallLog
from frontend.pages import connection_authorising as authorising
from frontend.pages import connection_wizard
from tests.factories import for_environment, join, make_user
from tests.frontend.consenting import (
    DOUYIN_KEYS,
    OTHER_SHOP,
    SHOP,
    TMALL_KEYS,
    decide,
    find_link,
    running_platforms,
)
from tests.frontend.sources import connect, fail

pytestmark = pytest.mark.django_db
BACK = "/connections/authorised/"


@pytest.fixture
def platforms(world, monkeypatch):
    monkeypatch.setattr(connection_wizard, "wake_pull", lambda environment, row: None)
    with running_platforms() as found:
        found.allow(world.production, world)
        found.woken = []
        monkeypatch.setattr(
            authorising, "wake_pull", lambda environment, row: found.woken.append(row.pk)
        )
        yield found


@pytest.fixture
def person(world):
    client = Client()
    client.force_login(world.users["tech_support"])
    return client


def begin_draft(client, vendor, form):
    """The wizard up to the link that leaves; the draft's page and the platform's address."""
    client.post("/connections/new/", {"vendor": [vendor]})
    kept = client.session["connection_wizard"]
    key = next(d["key"] for place in kept.values() for d in place["drafts"])
    answer = client.post(f"/connections/new/{key}/authorise/", form, follow=True)
    assert answer.status_code == 200, answer.content.decode()
    return f"/connections/new/{key}/", find_link(answer.content.decode())


def make_connection(world, platforms, *, vendor="tmall"):
    """A shop that was connected by pasting, whose access is over."""
    keys = TMALL_KEYS if vendor == "tmall" else DOUYIN_KEYS
    page = "/oauth/authorize" if vendor == "tmall" else "/authorize"
    now = timezone.now()
    with for_environment(world.production):
        row = create_connection(
            vendor=vendor, kind="channel", name=f"{vendor} {SHOP}",
            shop=get_or_create_shop(vendor, SHOP), base_url=f"{platforms.base}/{vendor}",
            config={
                "app_key": keys.app_key, "authorise_url": f"{platforms.base}/{vendor}{page}",
            },
            secrets={
                "app_secret": keys.secret, "access_token": "old-access-000001",
                "refresh_token": "old-refresh-00001",
            },
            actor=None, now=now,
        )  # fmt: skip
        fail(row, now)
        return Connection.objects.get(pk=row.pk)


def leave(client, row):
    """Press 重新授权; the platform's address."""
    answer = client.post(f"/connections/{row.public_id}/authorise/", follow=True)
    return find_link(answer.content.decode())


def read(world, row):
    with for_environment(world.production, write=False):
        fresh = Connection.objects.get(pk=row.pk)
        return fresh, reveal_secrets(fresh)


def audit(world, action):
    with for_environment(world.production, write=False):
        return list(AuditEntry.objects.filter(action=action).order_by("position"))


def test_a_draft_is_authorised_at_the_platform_tested_and_saved(world, platforms, person):
    place, url = begin_draft(person, "tmall", platforms.tmall_form())
    asked = parse_qs(urlsplit(url).query)
    assert asked["redirect_uri"] == [f"http://testserver{BACK}"]
    assert asked["client_id"] == [TMALL_KEYS.app_key]

    answer = person.get(decide(url))

    assert (answer.status_code, answer["Location"]) == (302, place)
    page = person.get(place).content.decode()
    assert f"「{SHOP}」已授权，再点「保存并测试」确认能读到订单" in page
    assert 'data-authorised="yes"' in page
    assert f'value="{SHOP}"' in page  # the shop is called as the platform calls it
    form = platforms.tmall_form(name=SHOP)
    tried = person.post(f"{place}try/", form, follow=True).content.decode()
    assert "测试通过" in tried
    person.post("/connections/new/plan/", {"every_minutes": "15"})
    with for_environment(world.production, write=False):
        row = Connection.objects.get()
        secrets = reveal_secrets(row)
    days = (row.access_expires_at - timezone.now()) / timedelta(days=1)
    assert 29.9 < days < 30.1
    assert row.refresh_expires_at == row.access_expires_at
    assert row.config["authorised_shop_id"] == "2200000001"
    assert platforms.tmall.sessions.find(secrets["access_token"], timezone.now()).shop == SHOP
    assert secrets["access_token"] not in str(dict(person.session))
    (saved,) = audit(world, "connection.authorise")
    assert saved.details == {"shop": SHOP, "shop_id": "2200000001"}
    assert len(audit(world, "connection.authorise_draft")) == 1
    details = person.get(f"/connections/{row.public_id}/").content.decode()
    assert f"{SHOP} 2200000001" in details
    for secret in (secrets["access_token"], secrets["refresh_token"], TMALL_KEYS.secret):
        assert secret not in details + page + tried


def test_an_ended_authorisation_is_renewed_from_the_connections_page(world, platforms, person):
    row = make_connection(world, platforms)
    detail = person.get(f"/connections/{row.public_id}/").content.decode()
    assert f'action="/connections/{row.public_id}/authorise/"' in detail

    answer = person.get(decide(leave(person, row)), follow=True)

    assert answer.redirect_chain[-1][0] == f"/connections/{row.public_id}/"
    assert "已重新授权，正在补读" in answer.content.decode()
    fresh, secrets = read(world, row)
    assert (fresh.trouble_code, fresh.token_version) == ("", row.token_version + 1)
    assert fresh.state == Connection.State.NEW
    assert platforms.tmall.sessions.find(secrets["access_token"], timezone.now()).shop == SHOP
    assert secrets["app_secret"] == TMALL_KEYS.secret
    assert "old-refresh-00001" not in secrets.values()
    assert platforms.woken == [row.pk]


def _deny(platforms, url):
    return decide(url, decision="refuse")


def _forge(platforms, url):
    return f"{BACK}?{urlencode({'code': 'c', 'state': 'forged:1:x'})}"


def _lose_the_code(platforms, url):
    return decide(url).replace("code=", "nothing=")


def _spoil_the_code(platforms, url):
    return decide(url).replace("code=", "code=0")


def _send_another_shop(platforms, url):
    return decide(url, shop=OTHER_SHOP)


def _go_away(platforms, url):
    back = decide(url)
    platforms.faults.switch("tmall", "taobao.top.auth.token.create", "refuse_connection")
    return back


FAILURES = [
    (_deny, "店铺没有同意授权", "denied"),
    (_forge, "不是从这里发起的", "state_refused"),
    (_lose_the_code, "没有带回授权码", "no_code"),
    (_spoil_the_code, "授权码只能用一次", "code_refused"),
    (_send_another_shop, f"把「店铺主账号」填成 {OTHER_SHOP}，再点「去授权」", "other_shop"),
    (_go_away, "没能连上平台换取令牌", "no_answer"),
]


@pytest.mark.parametrize(("go_wrong", "words", "code"), FAILURES)
def test_whatever_goes_wrong_is_said_with_its_remedy_and_changes_nothing(
    world, platforms, person, go_wrong, words, code
):
    row = make_connection(world, platforms)
    before, secrets = read(world, row)

    answer = person.get(go_wrong(platforms, leave(person, row)), follow=True)

    page = answer.content.decode()
    assert words in page
    assert "去授权" in page
    fresh, kept = read(world, row)
    assert kept == secrets
    assert fresh.__dict__ | {"_state": 0} == before.__dict__ | {"_state": 0}
    (entry,) = audit(world, "connection.authorise_refused")
    assert entry.details == {"code": code}
    assert platforms.woken == []
    with for_environment(world.production, write=False):
        assert CallLog.objects.count() == 0  # a code is written nowhere


def test_a_state_is_good_once_even_for_two_at_the_same_time(world, platforms, person, monkeypatch):
    row = make_connection(world, platforms)
    back = decide(leave(person, row))
    ask, heard = authorising.ask_for_grant, []

    def meanwhile(*args, **asking):
        twin = Client()
        twin.cookies = person.cookies
        heard.append(twin.get(back, follow=True).content.decode())
        return ask(*args, **asking)

    monkeypatch.setattr(authorising, "ask_for_grant", meanwhile)
    first = person.get(back, follow=True).content.decode()

    monkeypatch.undo()
    assert "已重新授权" in first
    assert len(heard) == 1
    assert "这次授权已经处理过" in heard[0]
    assert "这次授权已经处理过" in person.get(back, follow=True).content.decode()
    assert len(audit(world, "connection.authorise")) == 1


def test_of_two_that_have_read_their_session_already_one_gets_it(world, platforms, person):
    row = make_connection(world, platforms)
    (state,) = parse_qs(urlsplit(leave(person, row)).query)["state"]
    told = signing.loads(state, salt=authorising.SALT)
    twins = []
    for _each in range(2):
        session = SessionStore(person.session.session_key)
        assert session["authorisations"]  # read now, before either is worked on
        twins.append(
            SimpleNamespace(
                session=session, user=world.users["tech_support"],
                environment=world.production, environments=[world.production],
            )
        )  # fmt: skip

    assert authorising._take(twins[0], told)["key"] == row.public_id

    with pytest.raises(authorising.StateRefused, match="已经处理过"):
        authorising._take(twins[1], told)


def test_a_state_is_good_for_half_an_hour(world, platforms, person, monkeypatch):
    row = make_connection(world, platforms)
    back = decide(leave(person, row))
    monkeypatch.setattr(authorising, "STATE_LIVES", timedelta(seconds=-60))

    page = person.get(back, follow=True).content.decode()

    assert "没有完成，已作废" in page
    assert read(world, row)[1]["access_token"] == "old-access-000001"


def test_a_state_is_of_one_person_one_session_and_one_environment(world, platforms, person):
    row = make_connection(world, platforms)
    colleague = make_user("colleague", tenant=world.tenant)
    join(colleague, "tech_support", division=world.divisions[0])
    for user in (colleague, world.users["tech_support"]):  # another person, another session
        other = Client()
        other.force_login(user)
        page = other.get(decide(leave(person, row)), follow=True).content.decode()
        assert "另一个登录会话" in page
    back = decide(leave(person, row))
    anonymous = Client().get(back)
    assert anonymous["Location"] == "/login/?next=%2Fconnections%2F"  # the code goes no further
    session = person.session
    session[ENVIRONMENT_KEY] = world.staging.public_id
    session.save()

    page = person.get(back, follow=True).content.decode()

    assert "请切换回去，再点一次「去授权」" in page
    assert read(world, row)[1]["access_token"] == "old-access-000001"
    assert [e.details["code"] for e in audit(world, "connection.authorise_refused")] == [
        "state_refused"
    ] * 3


def test_nobody_authorises_what_is_not_theirs(world, platforms, person):
    with for_environment(world.staging):
        row = connect(timezone.now())
    assert person.post(f"/connections/{row.public_id}/authorise/").status_code == 404
    own = make_connection(world, platforms)
    mark = person.post(f"/connections/{own.public_id}/authorise/")["Location"]
    viewer = Client()
    viewer.force_login(world.users["agent"])
    assert viewer.post(f"/connections/{own.public_id}/authorise/").status_code == 403
    assert viewer.get(f"{BACK}?state=x&code=y").status_code == 403
    twin = Client()
    twin.force_login(world.users["tech_support"])
    assert twin.get(mark).status_code == 404  # what one session began is not there for another
    assert person.get(mark).status_code == 200


def test_douyin_goes_by_its_registered_address_and_an_own_application_by_its_shop(
    world, platforms, person
):
    place, url = begin_draft(person, "douyin", platforms.douyin_form())
    assert set(parse_qs(urlsplit(url).query)) == {"service_id", "state"}
    refused = person.get(decide(url, decision="refuse"), follow=True).content.decode()
    assert "平台没有带回授权码" in refused
    page = person.get(decide(find_link(_press(person, place, platforms.douyin_form()))))
    assert page["Location"] == place
    assert f"「{SHOP}」已授权" in person.get(place).content.decode()

    own = platforms.douyin_form(f_service_id="", f_shop_id="88988", name="自用")
    page = person.post(f"{place}authorise/", own, follow=True).content.decode()

    assert f"「{OTHER_SHOP}」已授权" in page
    (draft,) = next(iter(person.session["connection_wizard"].values()))["drafts"]
    assert (draft["name"], draft["is_filled"]) == ("自用", True)


def _press(client, place, form):
    return client.post(f"{place}authorise/", form, follow=True).content.decode()


def test_what_is_missing_is_asked_for_before_anybody_leaves(world, platforms, person):
    person.post("/connections/new/", {"vendor": ["douyin"]})
    kept = person.session["connection_wizard"]
    key = next(d["key"] for place in kept.values() for d in place["drafts"])
    form = platforms.douyin_form(f_service_id="")
    answer = person.post(f"/connections/new/{key}/authorise/", form)
    assert answer.status_code == 400
    assert "去授权要先填写「服务 ID」" in answer.content.decode()
    row = make_connection(world, platforms, vendor="douyin")
    page = person.post(f"/connections/{row.public_id}/authorise/", follow=True)
    assert page.redirect_chain[-1][0] == f"/connections/{row.public_id}/edit/"
    assert "先在这里填写「服务 ID」并保存" in page.content.decode()
    for bad in ("javascript:alert(1)", "https://a@b.example/x", "//evil.example", "ftp://a/b"):
        form = platforms.douyin_form(f_authorise_url=bad)
        answer = person.post(f"/connections/new/{key}/authorise/", form)
        assert answer.status_code == 400, bad
        assert "授权页地址应以 https:// 开头" in answer.content.decode()


def test_only_the_platforms_public_page_is_gone_to_without_a_person(world, platforms, person):
    row = make_connection(world, platforms)
    page = person.post(f"/connections/{row.public_id}/authorise/", follow=True).content.decode()
    assert "不是平台的公开授权页" in page
    assert "data-forward" not in page
    with for_environment(world.production):
        config = {name: v for name, v in row.config.items() if name != "authorise_url"}
        Connection.objects.filter(pk=row.pk).update(config=config)
    page = person.post(f"/connections/{row.public_id}/authorise/", follow=True).content.decode()
    assert find_link(page).startswith("https://oauth.taobao.com/authorize?response_type=code&")
    assert "data-forward" in page
    assert "不是平台的公开授权页" not in page


def test_a_shop_is_connected_once_and_known_by_its_number(world, platforms, person):
    first = make_connection(world, platforms)
    person.get(decide(leave(person, first)))
    with for_environment(world.production):
        twin = connect(
            timezone.now(), name="第二次", base_url=f"{platforms.base}/tmall",
            shop=get_or_create_shop("tmall", SHOP),
            config={
                "app_key": TMALL_KEYS.app_key,
                "authorise_url": f"{platforms.base}/tmall/oauth/authorize",
            },
            secrets={"app_secret": TMALL_KEYS.secret, "access_token": "pasted-000000001"},
        )  # fmt: skip
    page = person.get(decide(leave(person, twin)), follow=True).content.decode()
    assert f"已经接入为「tmall {SHOP}」" in page
    assert read(world, twin)[1]["access_token"] == "pasted-000000001"
    renamed = person.get(decide(leave(person, first), shop=OTHER_SHOP), follow=True)
    assert f"要的是「{SHOP}」" in renamed.content.decode()
    assert "authorised_shop_id" not in read(world, twin)[0].config


def test_tokens_that_are_pasted_after_an_authorisation_are_nobodys(world, platforms, person):
    place, url = begin_draft(person, "tmall", platforms.tmall_form())
    person.get(decide(url))
    form = platforms.tmall_form(name=SHOP, f_access_token="pasted-000000001")
    person.post(place, form)
    person.post("/connections/new/plan/", {"every_minutes": "15"})
    with for_environment(world.production, write=False):
        row = Connection.objects.get()
    assert "authorised_shop_id" not in row.config
    assert (row.authorised_at, row.access_expires_at) == (None, None)
    assert reveal_secrets(row)["access_token"] == "pasted-000000001"


def test_an_authorisation_without_a_refresh_token_forgets_the_one_before(world, platforms):
    row = make_connection(world, platforms)
    with for_environment(world.production):
        authorise_connection(
            row, access_token="new-access-000001", refresh_token="", expires_at=None,
            refresh_expires_at=None, shop_id="1", shop_name=SHOP, actor=None, now=timezone.now(),
        )  # fmt: skip
    fresh, secrets = read(world, row)
    assert secrets == {"app_secret": TMALL_KEYS.secret, "access_token": "new-access-000001"}
    assert set(fresh.secret_hints) == set(secrets)


def test_a_refresh_under_way_does_not_undo_a_new_authorisation(world, platforms, person):
    row = make_connection(world, platforms)
    now = timezone.now()
    late = {
        "access_token": "late-access-0001", "refresh_token": "late-refresh-001",
        "expires_at": None, "refresh_expires_at": None, "now": now,
    }  # fmt: skip
    with for_environment(world.production):
        holder = claim_tokens(row.pk, version=row.token_version, now=now)
        assert holder
        record_trouble(row, code="authorisation", words=row.trouble, now=now)
    person.get(decide(leave(person, row)))
    given = read(world, row)[1]

    with for_environment(world.production):
        assert store_tokens(row.pk, holder=holder, **late) is False

    assert read(world, row)[1] == given
    with for_environment(world.production):  # while nobody else stored, a late answer still counts
        fresh = Connection.objects.get(pk=row.pk)
        holder = claim_tokens(row.pk, version=fresh.token_version, now=now)
        Connection.objects.filter(pk=row.pk).update(token_holder="")
        store_tokens(row.pk, holder=holder, **late)
    assert read(world, row)[1]["access_token"] == "late-access-0001"
