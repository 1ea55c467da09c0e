"""The DingTalk group robot on the wire, judged by channels.md 11.1 and a signature of our own."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, quote_plus, urlencode
from urllib.request import urlopen

import pytest

from connectors.simulators.robot import FAULTS, Robot, RobotServer

SECRET = "SECsimulated"
VECTOR_SECRET = "SECdemo0000000000000000000000000000000000000000000000000000000000"
AT = datetime.fromtimestamp(1_762_791_300, UTC)
JSON = {"Content-Type": "application/json; charset=utf-8"}
OK = (200, 0)


class Group:
    """A group with its robots, and somebody who posts to them."""

    def __init__(self, server):
        self.server, self.now = server, AT
        server.clock = lambda: self.now.timestamp()

    def wait(self, **span):
        self.now += timedelta(**span)

    def post(self, robot="open", message=None, *, query=None, headers=None, body=None, verb="POST"):
        target = "/robot/send?" + urlencode({"access_token": robot} | (query or {}))
        return self.send(target, message, headers=headers, body=body, verb=verb)

    def send(self, target, message=None, *, headers=None, body=None, verb="POST"):
        raw = json.dumps(message or text("订单告警")).encode() if body is None else body
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=2)
        try:
            connection.request(verb, target, None if verb == "GET" else raw, headers or JSON)
            reply = connection.getresponse()
            return reply.status, json.loads(reply.read())
        finally:
            connection.close()

    def raw(self, target, body, headers):
        """Status and where it leads, of a form that was sent."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=2)
        try:
            connection.request("POST", target, body, headers)
            reply = connection.getresponse()
            return reply.status, reply.getheader("Location", "")
        finally:
            connection.close()

    def page(self):
        with urlopen(f"http://127.0.0.1:{self.server.port}/", timeout=2) as reply:  # noqa: S310
            assert reply.headers["Content-Type"].startswith("text/html")
            return reply.read().decode()

    def said(self, *args, **options):
        """HTTP's status and the robot's errcode."""
        status, answer = self.post(*args, **options)
        return status, answer.get("errcode")

    @property
    def seen(self):
        return [entry["text"] for entry in self.server.accepted]


@pytest.fixture
def group(tmp_path):
    robots = {
        "signed": Robot(secret=SECRET), "vector": Robot(secret=VECTOR_SECRET),
        "keyword": Robot(keyword="河道"), "open": Robot(), "other": Robot(),
    }  # fmt: skip
    server = RobotServer(robots, ledger=tmp_path / "ledger.jsonl", silence_seconds=0.3)
    with server.running():
        yield Group(server)


def text(words):
    return {"msgtype": "text", "text": {"content": words}}


def signature(now, secret=SECRET):
    """Milliseconds and base64 as the manual has them, not yet encoded for the address."""
    ms = str(int(now.timestamp() * 1000))
    digest = hmac.new(secret.encode(), f"{ms}\n{secret}".encode(), hashlib.sha256).digest()
    return {"timestamp": ms, "sign": base64.b64encode(digest).decode()}


# -- the door ----------------------------------------------------------------------------------


def test_the_vector_of_the_handbook_is_let_in_encoded_exactly_once(group):
    group.now = datetime.fromtimestamp(1_762_791_300, UTC)
    made = signature(group.now, VECTOR_SECRET)
    assert made["sign"] == "CYBbtb6bbTgB4u6GRndkApdohqkJDMmx556vqxMZNdM="
    target = "/robot/send?access_token=vector&timestamp=1762791300000&sign="

    once = group.send(target + "CYBbtb6bbTgB4u6GRndkApdohqkJDMmx556vqxMZNdM%3D")
    twice = group.send(target + quote(quote_plus(made["sign"])))

    assert once == (200, {"errcode": 0, "errmsg": "ok"})
    assert twice == (200, {"errcode": 310000, "errmsg": "sign not match"})
    assert len(group.seen) == 1


def test_a_signature_is_good_for_an_hour_and_for_its_secret_only(group):
    made = signature(group.now)
    assert group.said("signed", query=made) == OK
    assert group.said("signed", query=signature(group.now, "SECother")) == (200, 310000)
    assert group.said("signed", query=made | {"timestamp": "soon"}) == (200, 310000)
    assert group.said("signed") == (200, 310000)
    group.wait(minutes=60)
    assert group.said("signed", query=made) == OK
    group.wait(seconds=1)
    assert group.said("signed", query=made) == (200, 310000)
    assert len(group.seen) == 2


def test_a_keyword_has_to_be_in_the_text_of_any_kind_of_message(group):
    card = {"title": "订单告警", "text": "河道：红色订单", "singleTitle": "查看", "singleURL": "x"}
    for message, code in (
        (text("订单告警"), 310000),
        (text("河道：订单告警"), 0),
        ({"msgtype": "markdown", "markdown": {"title": "河道", "text": "# 告警"}}, 0),
        ({"msgtype": "actionCard", "actionCard": card}, 0),
    ):
        assert group.said("keyword", message) == (200, code)


def test_only_texts_and_markdown_mention_the_group(group):
    everybody = {"isAtAll": True, "atMobiles": ["13800000000"]}
    card = {"title": "红色订单", "text": "# 红色订单", "singleTitle": "查看", "singleURL": "x"}
    for message in (
        text("红色订单"),
        {"msgtype": "markdown", "markdown": {"title": "告警", "text": "# 红色订单"}},
        {"msgtype": "actionCard", "actionCard": card},
    ):
        assert group.said(message=message | {"at": everybody}) == OK

    told = [(entry["msgtype"], entry["is_at_all"]) for entry in group.server.accepted]
    assert told == [("text", True), ("markdown", True), ("actionCard", False)]
    assert [entry["at_mobiles"] for entry in group.server.accepted][2] == []


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"robot": "nobody"}, 400101),
        ({"message": {"msgtype": "video", "video": {}}}, 400105),
        ({"message": {"msgtype": "text"}}, 40035),
        ({"message": {"msgtype": "markdown", "markdown": {"title": "x"}}}, 40035),
        ({"body": b"<xml/>"}, 40035),
        ({"message": text("长" * 7000)}, 40035),  # 21,000 bytes, of 20,000
        ({"headers": {"Content-Type": "text/plain"}}, 43004),
        ({"verb": "GET"}, 43002),
    ],
)
def test_what_is_wrong_is_refused_inside_http_200(group, options, code):
    assert group.said(**options) == (200, code)
    assert group.seen == []


def test_a_group_that_is_gone_and_a_robot_that_was_stopped_say_so_until_they_are_back(group):
    for fault, code in (("dissolved", 400013), ("stopped", 400102), ("busy", -1)):
        switched = group.send(
            "/control", body=json.dumps({"token": "open", "fault": fault}).encode()
        )
        assert switched == (200, {"ok": True})
        assert group.said() == (200, code)
        assert group.said("other") == OK
    assert group.send("/control", body=b'{"token": "open", "fault": ""}')[0] == 200
    assert group.said() == OK
    assert group.send("/control", body=b'{"token": "open", "fault": "sulks"}')[0] == 400


def test_the_page_shows_the_mute_and_switches_faults_but_not_for_another_site(group):
    for n in range(21):
        group.said("open", text(f"<b>告警 {n}</b>"))
    page = group.page()
    assert "&lt;b&gt;告警 20&lt;/b&gt;" in page
    assert "否（130101 send too fast）" in page
    assert page.count("到 2025-11-11 00:25:00") == 1  # ten minutes; and of that robot only

    form = {"Content-Type": "application/x-www-form-urlencoded"}
    for name in FAULTS:
        wish = urlencode({"token": "other", "fault": name}).encode()
        assert group.raw("/control", wish, form) == (303, "/")
        assert group.server.robots["other"].fault == name
        assert f'<option value="{name}" selected>' in group.page()
    foreign = form | {"Origin": "http://evil.example"}
    assert group.raw("/control", b"token=other&fault=busy", foreign)[0] == 403
    assert group.server.robots["other"].fault == FAULTS[-1]


# -- twenty a minute ---------------------------------------------------------------------------


def test_the_twenty_first_message_of_a_minute_mutes_that_robot_for_ten_minutes(group):
    for _ in range(20):
        assert group.said() == OK
        group.wait(seconds=2)
    assert group.said() == (200, 130101)
    assert group.said("other") == OK

    group.wait(minutes=9, seconds=59)  # the minute is long over, the mute is not
    assert group.said() == (200, 130101)
    group.wait(seconds=1)  # and trying meanwhile has not made it longer
    assert group.said() == OK
    assert len(group.seen) == 22


def test_twenty_in_any_sixty_seconds_are_allowed_for_ever(group):
    for _ in range(100):
        assert group.said() == OK
        group.wait(seconds=3)


# -- what a naive sender makes of it -------------------------------------------------------------


def test_a_naive_sender_that_believes_http_200_loses_its_alert(group):
    """The whole of channels.md 11 in one line: the body decides."""
    for options in ({"robot": "signed"}, {"robot": "keyword"}, {"robot": "nobody"}):
        status, answer = group.post(**options)
        assert status == 200  # "sent", says the naive one
        assert answer["errcode"] != 0  # the group has seen nothing
    assert group.seen == []


def test_a_naive_sender_that_tries_again_at_once_loses_every_alert_of_ten_minutes(group):
    naive = [f"告警 {n}" for n in range(60)]
    for words in naive:  # one a second; a refused one is tried twice more
        for _ in range(3):
            if group.said("open", text(words)) == OK:
                break
        group.wait(seconds=1)
    assert group.seen == naive[:20]

    for words in naive:  # who keeps to eighteen a minute loses none
        assert group.said("other", text(words)) == OK
        group.wait(seconds=60 / 18)
    assert group.seen[20:] == naive


def test_two_naive_workers_that_count_for_themselves_mute_the_robot_together(group):
    told = [group.said() for _worker in range(2) for _ in range(18)]

    assert told.count(OK) == 20
    assert told[20:] == [(200, 130101)] * 16


def test_a_naive_sender_that_repeats_after_silence_tells_the_group_twice(group):
    group.send("/control", body=b'{"token": "open", "fault": "silent_after_accept"}')
    for _ in range(2):
        with pytest.raises((OSError, http.client.HTTPException)):
            group.post(message=text("红色订单"))

    assert group.seen == ["红色订单", "红色订单"]


@pytest.mark.parametrize("fault", ["silent", "http_500"])
def test_a_naive_sender_that_never_repeats_loses_an_alert(group, fault):
    group.send("/control", body=json.dumps({"token": "open", "fault": fault}).encode())
    try:
        assert group.post(message=text("红色订单"))[0] == 500
    except (OSError, http.client.HTTPException):
        assert fault == "silent"
    assert group.seen == []

    group.send("/control", body=b'{"token": "open", "fault": ""}')
    assert group.said(message=text("红色订单")) == OK
    assert group.seen == ["红色订单"]


def test_a_naive_sender_that_takes_a_missing_errcode_for_zero_loses_an_alert(group):
    """An overloaded edge answers without one."""
    group.send("/control", body=b'{"token": "open", "fault": "overload"}')

    status, answer = group.post()

    assert (status, answer) == (200, {"status": 1111, "wait": 5, "punish": "deny"})
    assert answer.get("errcode", 0) == 0  # "sent", says the naive one
    assert group.seen == []
