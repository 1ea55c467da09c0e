"""Connecting many channels and systems in one go: nothing is stored before the last step."""

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
from config.errors import Phrase
from connectors.shops.addresses import approve_address, request_address
from connectors.shops.connections import reveal_secrets
from connectors.shops.models import Connection, Shop, Source
from connectors.simulators.core import Clock, Faults, Host, Outbox, Store
from connectors.simulators.keys import make_keys
from connectors.simulators.mall import MallApp
from connectors.simulators.oms import OmsApp
from connectors.sync.registry import list_connectors
from connectors.sync.trying import Trial
from frontend.pages import connection_wizard as wizard
from tests.connectors.simulators.lives import make_life
from tests.factories import for_environment, join, make_user
from tests.frontend.sources import CANARY, connect

pytestmark = pytest.mark.django_db

SIX = ("tmall", "douyin", "private_mall", "alipay", "wechat_pay", "qimen")
KEYS = make_keys()
# What has to look like something; everything else is answered with a canary.
ANSWERS = {
    "private_mall": {"secret": KEYS.mall.secret},
    "alipay": {
        "private_key": KEYS.alipay.app.private_pem,
        "alipay_public_key": KEYS.alipay.alipay.public_pem,
    },
    "wechat_pay": {
        "private_key": KEYS.wechat_pay.merchant.private_pem,
        "platform_public_key": KEYS.wechat_pay.platform.public_pem,
        "api_v3_key": KEYS.wechat_pay.api_v3_key,
        "merchant_serial_no": KEYS.wechat_pay.merchant_serial,
        "platform_serial_no": KEYS.wechat_pay.platform_serial,
        "merchant_id": KEYS.wechat_pay.mchid,
    },
    "qimen": {"warehouses": "WH01 可挂起"},
}


@pytest.fixture
def enter(client, world):
    def sign_in(role):
        client.force_login(world.users[role])
        return client

    return sign_in


@pytest.fixture
def outside(monkeypatch):
    """Test calls that answer as told, by vendor; every one that was asked; who was woken."""
    asked: list[dict[str, Any]] = []
    woken: list[str] = []
    refused: dict[str, str] = {}

    def try_it(environment, **asking):
        asked.append(asking)
        words = refused.get(asking["vendor"], "")
        return Trial(not words, Phrase(words or "连接成功"), '{"total": 13}', 0.1)

    monkeypatch.setattr(wizard, "try_connection", try_it)
    monkeypatch.setattr(wizard, "wake_pull", lambda environment, row: woken.append(row.vendor))
    return asked, woken, refused


def rows(world, model=Connection):
    with for_environment(world.production, write=False):
        return list(model.objects.order_by("pk"))


def pick(client, *vendors):
    """Choose vendors; the keys of the drafts, by vendor."""
    client.post("/connections/new/", {"vendor": list(vendors)})
    kept = client.session["connection_wizard"]
    return {d["vendor"]: d["key"] for place in kept.values() for d in place["drafts"]}


def answer_all(vendor, **changes):
    """An answer to every question of a vendor's form."""
    connector = next(c for c in list_connectors() if c.code == vendor)
    form = {"name": f"{connector.label}一号", "base_url": connector.base_url or "https://m.example"}
    for f in connector.fields:
        if f.is_required or f.name in ANSWERS.get(vendor, {}):
            told = ANSWERS.get(vendor, {}).get(f.name, f"{CANARY}-{vendor}-{f.name}")
            form[f"f_{f.name}"] = f.choices[0][0] if f.choices else told
    return form | changes


def open_of(vendor):
    """What a form asks for openly is shown again: it is no secret."""
    connector = next(c for c in list_connectors() if c.code == vendor)
    return {f.name for f in connector.fields if not f.is_secret}


def test_six_sources_are_connected_in_one_run_with_one_schedule_and_one_save(world, enter, outside):
    asked, woken, _refused = outside
    client = enter("tech_support")
    keys = pick(client, *SIX)
    assert list(keys) == list(SIX)

    for vendor, key in keys.items():
        answer = client.post(f"/connections/new/{key}/try/", answer_all(vendor))
        assert answer.status_code == 302, vendor
        assert "测试通过" in client.get(f"/connections/new/{key}/").content.decode()
    assert rows(world) == []
    plan = client.get("/connections/new/plan/").content.decode()
    assert plan.count('data-testid="summary-row"') == 6
    assert 'value="15"' in plan
    assert "接入 6 个来源" in plan
    made = client.post("/connections/new/plan/", {"every_minutes": "10"}, follow=True)

    found = rows(world)
    assert [row.vendor for row in found] == list(SIX)
    assert {row.every_minutes for row in found} == {10}
    assert {row.state for row in found} == {Connection.State.OK}
    assert [shop.channel for shop in rows(world, Shop)] == ["tmall", "douyin", "private_mall"]
    assert woken == list(SIX)
    assert len(asked) == 6
    for row in found:
        given = answer_all(row.vendor)
        kept = reveal_secrets(row)
        assert kept
        assert kept == {name: given[f"f_{name}"].strip() for name in kept}
    page = made.content.decode()
    assert page.count('data-testid="made"') == 6
    addresses = re.findall(r'value="(http://[^"]+/in/[^"]+)"', page)
    pushing = [row for row in found if row.vendor != "tmall"]
    assert addresses == [
        f"http://testserver/in/{world.production.public_id}/{row.public_id}/" for row in pushing
    ]
    assert client.get("/connections/new/plan/").status_code == 302  # the list is empty again


def test_a_secret_once_given_is_sealed_and_shown_as_its_last_four(enter, outside):
    client = enter("tech_support")
    key = pick(client, "tmall")["tmall"]
    form = answer_all("tmall", f_app_secret=f"{CANARY}-9876")
    client.post(f"/connections/new/{key}/", form)

    page = client.get(f"/connections/new/{key}/").content.decode()

    assert "已保存，末四位 …9876" in page
    for name, value in form.items():
        is_open = name.removeprefix("f_") in open_of("tmall") or not name.startswith("f_")
        assert (value in page) is is_open, name
    assert form["f_app_secret"] not in str(dict(client.session))
    assert form["f_access_token"] not in str(dict(client.session))
    client.post(f"/connections/new/{key}/", form | {"f_app_secret": ""})  # empty keeps it
    assert "…9876" in client.get(f"/connections/new/{key}/").content.decode()


def test_a_test_call_that_fails_says_why_and_may_be_mended(world, enter, outside):
    asked, _woken, refused = outside
    refused["douyin"] = "应用没有订单权限（对方代码 isv.no-permission）"
    client = enter("tech_support")
    key = pick(client, "douyin")["douyin"]

    answer = client.post(f"/connections/new/{key}/try/", answer_all("douyin"))

    page = answer.content.decode()
    assert answer.status_code == 400
    assert "测试没有通过" in page
    assert "没有订单权限" in page
    assert "&quot;total&quot;: 13" in page  # the raw answer, folded
    secret = next(iter(set(answer_all("douyin")) - {f"f_{n}" for n in open_of("douyin")}))
    assert secret
    refused.clear()
    form = answer_all("douyin", f_app_secret="")
    assert client.post(f"/connections/new/{key}/try/", form).status_code == 302
    assert asked[-1]["secrets"]["app_secret"] == f"{CANARY}-douyin-app_secret"


def test_what_was_not_tested_may_be_saved_and_the_page_warns(world, enter, outside):
    client = enter("tech_support")
    key = pick(client, "alipay")["alipay"]
    client.post(f"/connections/new/{key}/", answer_all("alipay"))
    assert "还没有测试通过" in client.get("/connections/new/plan/").content.decode()
    client.post("/connections/new/plan/", {"every_minutes": "15"})
    assert [row.state for row in rows(world)] == [Connection.State.NEW]


def test_a_form_left_half_is_named_and_nothing_is_saved(world, enter, outside):
    client = enter("tech_support")
    keys = pick(client, "tmall", "alipay")
    client.post(f"/connections/new/{keys['alipay']}/", answer_all("alipay"))

    refused = client.post(f"/connections/new/{keys['tmall']}/try/", {"name": "一家"})

    page = refused.content.decode()
    assert refused.status_code == 400
    assert "请填写「App Key」" in page
    assert "请填写「App Secret」" in page
    assert outside[0] == []
    assert "先填完剩下的" in client.get("/connections/new/plan/").content.decode()
    answer = client.post("/connections/new/plan/", {"every_minutes": "15"})
    assert answer.status_code == 400
    assert rows(world) == []


def test_all_or_nothing_when_one_cannot_be_made(world, enter, outside):
    client = enter("tech_support")
    keys = pick(client, "tmall", "alipay")
    for vendor, key in keys.items():
        client.post(f"/connections/new/{key}/", answer_all(vendor))
    with for_environment(world.production):  # meanwhile somebody else connects the same one
        connect(timezone.now(), name="支付宝一号", vendor="alipay", kind="gateway", shop=None)

    answer = client.post("/connections/new/plan/", {"every_minutes": "15"})

    assert answer.status_code == 400
    assert "支付宝一号" in answer.content.decode()
    assert [row.vendor for row in rows(world)] == ["alipay"]
    assert [shop.channel for shop in rows(world, Shop)] == []
    assert [source.name for source in rows(world, Source)] == ["支付宝一号"]
    assert outside[1] == []


def test_a_name_that_is_taken_is_said_beside_the_field(world, enter, outside):
    client = enter("tech_support")
    with for_environment(world.production):
        connect(timezone.now(), name="支付宝一号", vendor="alipay", kind="gateway", shop=None)
    keys = pick(client, "alipay", "wechat_pay", "tmall")
    taken = client.post(f"/connections/new/{keys['alipay']}/", answer_all("alipay"))
    assert taken.status_code == 400
    assert "已经接入过" in taken.content.decode()
    client.post(f"/connections/new/{keys['alipay']}/", answer_all("alipay", name="收款"))
    twice = client.post(
        f"/connections/new/{keys['wechat_pay']}/", answer_all("wechat_pay", name="收款")
    )
    assert twice.status_code == 400
    assert "清单里已有" in twice.content.decode()


@pytest.mark.parametrize("minutes", ["0", "61", "-5", "15.5", "", "十五"])
def test_a_schedule_outside_one_to_sixty_minutes_saves_nothing(world, enter, outside, minutes):
    client = enter("tech_support")
    key = pick(client, "alipay")["alipay"]
    client.post(f"/connections/new/{key}/", answer_all("alipay"))
    answer = client.post("/connections/new/plan/", {"every_minutes": minutes})
    assert answer.status_code == 400
    assert "1 到 60" in answer.content.decode()
    assert rows(world) == []


def test_two_shops_of_one_platform_and_taking_one_off_again(world, enter, outside):
    client = enter("tech_support")
    key = pick(client, "tmall")["tmall"]
    client.post(f"/connections/new/{key}/", answer_all("tmall", name="旗舰店"))
    second = client.post(f"/connections/new/{key}/add/")["Location"]
    client.post(second, answer_all("tmall", name="折扣店"))
    third = client.post(f"/connections/new/{key}/add/")["Location"]
    client.post(f"{third}remove/")

    client.post("/connections/new/plan/", {"every_minutes": "15"})

    assert [row.name for row in rows(world, Source)] == ["天猫 旗舰店", "天猫 折扣店"]
    assert [row.name for row in rows(world, Shop)] == ["旗舰店", "折扣店"]


def test_giving_up_leaves_nothing_behind(world, enter, outside):
    client = enter("tech_support")
    key = pick(client, "tmall")["tmall"]
    client.post(f"/connections/new/{key}/", answer_all("tmall"))
    client.post("/connections/new/give-up/")
    assert client.get(f"/connections/new/{key}/").status_code == 404
    assert client.session["connection_wizard"] == {}
    assert rows(world) == []


def test_a_list_begun_in_one_environment_is_not_there_in_another(world, enter, outside):
    client = enter("division_admin")
    key = pick(client, "tmall")["tmall"]
    client.post(reverse("switch_environment"), {"environment": world.staging.public_id})
    assert client.get(f"/connections/new/{key}/").status_code == 404
    assert 'data-testid="give-up"' not in client.get("/connections/new/").content.decode()


@pytest.mark.parametrize("role", ["agent", "supervisor", "reviewer", "director"])
def test_only_who_manages_connectors_may_connect(world, enter, role):
    client = enter(role)
    assert client.get("/connections/new/").status_code == 403
    assert client.post("/connections/new/", {"vendor": ["tmall"]}).status_code == 403
    assert client.post("/connections/new/plan/", {"every_minutes": "15"}).status_code == 403


def test_sources_made_in_one_division_are_not_shown_to_another(world, enter, outside, client):
    enter("tech_support")
    key = pick(client, "alipay")["alipay"]
    client.post(f"/connections/new/{key}/", answer_all("alipay"))
    client.post("/connections/new/plan/", {"every_minutes": "15"})
    made = [row.public_id for row in rows(world)]
    other = make_user("tech2", tenant=world.tenant)
    join(other, "tech_support", division=world.divisions[1])
    client.force_login(other)
    session = client.session
    session["connections_made"] = made
    session.save()
    assert client.get("/connections/new/made/").status_code == 302
    with for_environment(world.other, write=False):
        assert not Connection.objects.exists()


def test_picking_costs_the_same_queries_however_much_is_connected(world, enter):
    client = enter("tech_support")
    now = timezone.now()

    def count():
        client.get("/connections/new/")
        with CaptureQueriesContext(database) as caught:
            assert client.get("/connections/new/").status_code == 200
        return len(caught)

    few = count()
    with for_environment(world.production):
        for number in range(12):
            connect(now, name=f"店{number}")
    assert count() == few


# --- over the wire --------------------------------------------------------------------------------


@pytest.fixture
def mall():
    """A mall that answers over HTTP."""
    clock, faults = Clock(), Faults()
    outbox = Outbox(clock, faults)
    app = MallApp(Store(), clock, faults, outbox, KEYS.mall)
    with Host({"/mall": app}, clock, faults, outbox).running() as address:
        yield f"{address}/mall", KEYS.mall.secret


def allow(world, address):
    """Open the simulator's address: asked for by one, approved by another."""
    port = int(address.split(":")[2].split("/")[0])
    with for_environment(world.production):
        entry = request_address(
            host="127.0.0.1",
            port=port,
            purpose="模拟商城",
            actor=world.users["tech_support"],
            now=timezone.now() - timedelta(minutes=1),
        )
        approve_address(entry, actor=world.users["reviewer"], now=timezone.now())


def test_a_private_address_is_explained_and_opens_once_it_is_allowed(
    world, enter, mall, monkeypatch
):
    address, secret = mall
    monkeypatch.setattr(wizard, "wake_pull", lambda environment, row: None)
    client = enter("tech_support")
    key = pick(client, "private_mall")["private_mall"]
    form = {"name": "自家商城", "base_url": address, "f_secret": secret}

    refused = client.post(f"/connections/new/{key}/try/", form)

    page = refused.content.decode()
    assert refused.status_code == 400
    assert "目标地址不允许" in page
    assert "放行名单" in page
    assert 'data-testid="ask-address"' in page
    assert secret not in page
    with for_environment(world.production, write=False):
        assert AuditEntry.objects.filter(action="connection.refused").count() == 1

    allow(world, address)
    answer = client.post(f"/connections/new/{key}/try/", form | {"f_secret": ""})

    assert answer.status_code == 302
    page = client.get(f"/connections/new/{key}/").content.decode()
    assert 'data-ok="yes"' in page
    assert secret not in page
    client.post("/connections/new/plan/", {"every_minutes": "15"})
    assert [row.base_url for row in rows(world)] == [address]
    assert reveal_secrets(rows(world)[0]) == {"secret": secret}


def test_a_wrong_secret_is_refused_by_the_other_side_and_said_in_words(world, enter, mall):
    address, secret = mall
    allow(world, address)
    client = enter("tech_support")
    key = pick(client, "private_mall")["private_mall"]
    wrong = secret[:-6] + ("AAAAA=" if not secret.endswith("AAAAA=") else "BBBBB=")

    answer = client.post(
        f"/connections/new/{key}/try/",
        {"name": "自家商城", "base_url": address, "f_secret": wrong},
    )

    page = answer.content.decode()
    assert answer.status_code == 400
    assert "测试没有通过" in page
    assert "签名" in page
    assert wrong not in page


# --- a system described by its answers ------------------------------------------------------------


@pytest.fixture
def oms():
    """An OMS with five orders of the last hour, that answers over HTTP."""
    clock, faults = Clock(), Faults()
    store, now = Store(), clock.now()
    for number in range(5):
        placed = now - timedelta(minutes=50 - number)
        store.add(
            make_life(
                number + 1,
                placed=placed,
                paid=placed + timedelta(minutes=1),
                oms=placed + timedelta(minutes=3),
                reviewed=placed + timedelta(minutes=9),
            )
        )
    outbox = Outbox(clock, faults)
    app = OmsApp(store, clock, faults, KEYS.oms)
    with Host({"/oms": app}, clock, faults, outbox).running() as address:
        yield f"{address}/oms"


def oms_form(address, **changes):
    form = {
        "name": "自研 OMS",
        "base_url": address,
        "f_auth_kind": "bearer",
        "f_auth_secret": KEYS.oms.token,
        "f_list_path": "/api/orders",
        "f_list_method": "GET",
        "f_start_name": "updated_from",
        "f_end_name": "updated_to",
        "f_time_format": "clock",
        "f_paging_kind": "page",
        "f_page_name": "page",
        "f_size_name": "size",
        "f_page_size": "50",
    }
    return form | changes


def test_an_oms_is_described_by_its_own_answer_and_three_rows_are_shown_as_they_will_be(
    world, enter, oms, monkeypatch
):
    monkeypatch.setattr(wizard, "wake_pull", lambda environment, row: None)
    allow(world, oms)
    client = enter("tech_support")
    key = pick(client, "generic_oms")["generic_oms"]

    answer = client.post(f"/connections/new/{key}/try/", oms_form(oms, action="sample"))

    assert answer.status_code == 302
    page = client.get(f"/connections/new/{key}/").content.decode()
    assert "取到 5 行订单" in page
    assert 'data-pick="recvTime"' in page
    assert re.search(r'name="f_rows_path" value="data.rows"', page)
    assert re.search(r'name="f_order_no_path" value="orderNo"', page)
    assert "猜的，请核对" in page
    assert page.count('data-testid="preview-row"') == 3
    assert KEYS.oms.token not in page
    assert rows(world) == []

    chosen = dict(re.findall(r'name="(f_[a-z_]+_path)" value="([^"]*)"', page))
    form = oms_form(oms, f_auth_secret="", **(chosen | {"f_reviewed_path": "auditTime"}))
    assert client.post(f"/connections/new/{key}/try/", form).status_code == 302
    page = client.get(f"/connections/new/{key}/").content.decode()
    assert 'data-ok="yes"' in page
    assert page.count('data-testid="preview-row"') == 3
    client.post("/connections/new/plan/", {"every_minutes": "5"})
    made = rows(world)[0]
    assert (made.vendor, made.config["order_no_path"]) == ("generic_oms", "orderNo")
    assert reveal_secrets(made) == {"auth_secret": KEYS.oms.token}


def test_a_wrong_token_or_a_form_with_gaps_is_named_where_it_is_wrong(world, enter, oms):
    allow(world, oms)
    client = enter("tech_support")
    key = pick(client, "generic_oms")["generic_oms"]
    address = f"/connections/new/{key}/try/"

    wrong = client.post(address, oms_form(oms, action="sample", f_auth_secret="wrong-token-1234"))
    gap = client.post(address, oms_form(oms, action="sample", f_page_name=""))
    unpicked = client.post(address, oms_form(oms))

    said = wrong.content.decode() + client.get(f"/connections/new/{key}/").content.decode()
    assert "wrong-token-1234" not in said
    assert "401" in said or "认证" in said
    assert gap.status_code == 400
    assert "还没有填写，例如 page、offset 或 cursor" in gap.content.decode()
    assert unpicked.status_code == 400
    assert "在样例里点一下订单号" in unpicked.content.decode()


def test_an_oms_inside_is_explained_when_a_sample_is_asked_for(world, enter, oms):
    client = enter("tech_support")
    key = pick(client, "generic_oms")["generic_oms"]
    answer = client.post(f"/connections/new/{key}/try/", oms_form(oms, action="sample"))
    assert answer.status_code == 400
    assert "放行名单" in answer.content.decode()
    with for_environment(world.production, write=False):
        assert AuditEntry.objects.filter(action="connection.refused").count() == 1


def test_a_key_that_is_no_key_is_said_before_anything_is_called(world, enter, outside):
    client = enter("tech_support")
    key = pick(client, "alipay")["alipay"]
    answer = client.post(
        f"/connections/new/{key}/try/", answer_all("alipay", f_private_key="not a key")
    )
    assert answer.status_code == 400
    assert 'data-testid="whole-error"' in answer.content.decode()
    assert outside[0] == []


@pytest.mark.parametrize("vendor", ["tmall", "generic_oms"])
@pytest.mark.parametrize("wrong", ["0", "1.5", "１２", "99999"])
def test_what_is_a_number_has_to_be_one_and_is_not_folded_away_when_it_is_not(enter, vendor, wrong):
    client = enter("tech_support")
    (key,) = pick(client, vendor).values()
    form = answer_all(vendor, f_calls_per_second=wrong)

    page = client.post(f"/connections/new/{key}/try/", form)

    assert page.status_code == 400
    text = page.content.decode()
    assert "请填写 1 到 1,000 的整数" in text
    assert "很少用到的设置" in text
    assert not re.search("<summary>[^<]*很少用到的设置", text)
