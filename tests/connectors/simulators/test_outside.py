"""The outside of a demo: one process, all places; it goes on after a restart and hides its truth."""

from __future__ import annotations

import http.client
import json
from datetime import UTC, datetime, timedelta
from shutil import rmtree
from urllib.parse import urlsplit

import pytest

from connectors.simulators.core import Clock
from connectors.simulators.keys import Keys
from connectors.simulators.ledger import list_stuck
from connectors.simulators.outside import DEEDS_FOLDER, Outside, PlaceSpec, Tools, keys_folder
from connectors.simulators.sticking import CALLBACK_LOST
from connectors.simulators.tmall_wire import Refusal

START = datetime(2025, 11, 11, 6, 32, tzinfo=UTC)
WOMEN, KIDS = PlaceSpec("women", 1, 0.01, 6), PlaceSpec("kids", 2, 0.005, 1)


def _make(folder, at=START, places=(WOMEN, KIDS)):
    return Outside(folder, places, tools=Tools(clock=Clock(at=at)))


def _call(base, method, path, value=None, headers=None):
    connection = http.client.HTTPConnection(urlsplit(base).netloc, timeout=5)
    try:
        body = None if value is None else json.dumps(value).encode()
        connection.request(method, path, body=body, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


@pytest.fixture(scope="module")
def folder_with_keys(tmp_path_factory):
    """Keys made once: sixteen RSA pairs take a moment."""
    folder = tmp_path_factory.mktemp("outside")
    for place in (WOMEN, KIDS):
        Keys.load_or_create(keys_folder(folder, place.key))
    return folder


@pytest.fixture
def folder(folder_with_keys):
    (folder_with_keys / "state.json").unlink(missing_ok=True)
    rmtree(folder_with_keys / DEEDS_FOLDER, ignore_errors=True)
    return folder_with_keys


def test_a_place_is_read_as_it_is_written():
    assert PlaceSpec.parse("women:20251111:0.5:6") == PlaceSpec("women", 20251111, 0.5, 6.0)
    assert PlaceSpec.parse(str(KIDS)) == KIDS
    for wrong in ("women", "a b:1:1:1", "女装:1:1:1", "women:x:1:1"):
        with pytest.raises(ValueError, match=r".+"):
            PlaceSpec.parse(wrong)


def test_every_place_has_every_platform_with_orders_of_its_own(folder):
    outside = _make(folder)

    apps = outside.host.apps
    for place in ("women", "kids"):
        for name in outside.places[place].apps:
            assert f"/{place}/{name}" in apps
    women = {life.order_no for life in outside.places["women"].day.lives}
    assert len(women) > len(outside.places["kids"].day.lives) > 20
    assert outside.places["women"].keys.tmall != outside.places["kids"].keys.tmall


def test_live_orders_begin_when_a_place_is_opened_and_the_ledger_follows(folder):
    outside = _make(folder)
    with outside.host.running() as base:
        before = _call(base, "GET", "/_scenario/state")[1]["places"]
        outside.tools.clock.advance(timedelta(minutes=3))
        outside.host.pump()
        assert _call(base, "GET", "/_scenario/state")[1]["places"] == before

        status, state = _call(base, "POST", "/_scenario/open", {"place": "women"})
        assert status == 200
        assert state["places"]["women"]["opened_at"]
        outside.tools.clock.advance(timedelta(minutes=3))
        outside.host.pump()
        after = _call(base, "GET", "/_scenario/state")[1]["places"]

    assert after["women"]["orders"] > before["women"]["orders"]
    assert after["kids"] == before["kids"]
    women = outside.places["women"]
    assert len(women.ledger.read()) == len(women.day.lives) == after["women"]["orders"]


def test_a_restart_goes_on_with_the_same_orders_addresses_and_opening(folder):
    first = _make(folder)
    first.open("women")
    first.point("women", {"alipay": "http://127.0.0.1:9/in/a"})
    later = START + timedelta(minutes=5)
    first.grow(later)

    second = _make(folder, at=later)

    assert second.started_at == first.started_at == START
    assert second.describe() == first.describe()
    assert second.places["women"].ledger.read() == [
        *first.places["women"].ledger.read(),
    ]
    assert second.places["women"].apps["alipay"].notify_url == "http://127.0.0.1:9/in/a"
    assert second.places["kids"].apps["alipay"].notify_url == ""


def test_an_order_whose_payment_was_found_flows_on_also_after_a_restart(folder):
    first = _make(folder)
    place = first.places["women"]
    lost = next(life for life in place.day.lives if life.cause == CALLBACK_LOST)
    assert lost.order_no in list_stuck(place.day.lives, START)

    place.apps["mall"]._sync_payment(lost.order_no, START)
    assert lost.order_no not in list_stuck(place.day.lives, START)
    assert lost.wms is not None
    assert lost.shipped is not None

    second = _make(folder).places["women"].store.get(lost.order_no)
    assert second == lost


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("/_scenario/open", {"place": "nowhere"}),
        ("/_scenario/open", ["women"]),
        ("/_scenario/targets", {"place": "women", "urls": {"jd": "http://127.0.0.1/"}}),
        ("/_scenario/targets", {"place": "women", "urls": {"alipay": "file:///etc/passwd"}}),
    ],
)
def test_a_wish_that_makes_no_sense_is_refused_and_changes_nothing(folder, path, value):
    outside = _make(folder)
    with outside.host.running() as base:
        before = _call(base, "GET", "/_scenario/state")[1]
        assert _call(base, "POST", path, value)[0] == 400
        assert _call(base, "GET", "/_scenario/state")[1] == before


def test_a_page_of_another_origin_cannot_steer_it(folder):
    outside = _make(folder)
    with outside.host.running() as base:
        headers = {"Origin": "http://evil.example", "Content-Type": "text/plain"}
        assert _call(base, "POST", "/_scenario/open", {"place": "women"}, headers)[0] == 403
        assert _call(base, "GET", "/_scenario/state")[1]["places"]["women"]["opened_at"] == ""


def test_no_door_tells_the_truth(folder):
    outside = _make(folder)
    with outside.host.running() as base:
        for path in ("/_scenario/state", "/_control/state"):
            text = json.dumps(_call(base, "GET", path)[1], ensure_ascii=False)
            assert "cause" not in text
            assert "支付回调丢失" not in text
        assert _call(base, "GET", "/_scenario/truth")[0] == 400


def test_where_a_shop_s_browser_goes_back_to_is_named_once_and_kept(folder):
    back = "http://127.0.0.1:8000/connections/authorised/"
    named = {"place": "women", "urls": {"douyin.callback": back}}
    with _make(folder).host.running() as base:
        assert _call(base, "POST", "/_scenario/targets", named)[0] == 200

    again = _make(folder).places["women"].apps["douyin"]

    assert (again.callback_url, again.push_url) == (back, "")


def test_what_a_shop_agreed_to_outlives_a_restart(folder):
    before = _make(folder).places["women"].apps
    now = START
    tmall, douyin = before["tmall"], before["douyin"]
    shop, other = next(iter(tmall.keys.shops)).shop, next(iter(douyin.keys.shops)).shop
    old = tmall.keys.token_of(shop).access_token
    code = tmall.sessions.authorise(shop, now)
    session = tmall.sessions.create(code, now)
    grant = douyin.tokens.create(douyin.tokens.authorise(other, now), now)

    after = _make(folder).places["women"].apps

    assert after["tmall"].sessions.find(session["access_token"], now).shop == shop
    with pytest.raises(Refusal):
        after["tmall"].sessions.find(old, now)
    again = after["tmall"].sessions.refresh(session["refresh_token"], now)
    assert again["taobao_user_nick"] == shop
    assert after["douyin"].tokens.find(grant.access, now)[0].shop == other
    assert after["douyin"].tokens.refresh(grant.refresh, now).access == grant.access
