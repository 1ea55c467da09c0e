"""The robot simulator behaves like the platform, judged through our own sender over HTTP."""

from __future__ import annotations

import json
import urllib.request
from datetime import UTC, datetime

import pytest

from connectors.http import ConnectorError, Request, Retry, send
from connectors.simulators.robot import Robot, RobotServer
from connectors.systems.robots import RobotAddress, RobotMessage, send_message

SECRET = "SECsimulated"


class Clock:
    def __init__(self):
        self.now = 1_762_791_300.0

    def __call__(self):
        return self.now

    @property
    def moment(self):
        return datetime.fromtimestamp(self.now, UTC)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def group(clock, tmp_path):
    robots = {"good": Robot(secret=SECRET), "word": Robot(keyword="河道"), "open": Robot()}
    server = RobotServer(robots, ledger=tmp_path / "ledger.jsonl", clock=clock, silence_seconds=0.6)
    with server.running():
        yield server


def say(group, clock, name="good", *, secret=SECRET, text="正文", at_all=False):
    return send_message(
        "dingtalk",
        RobotAddress(group.webhook(name), secret),
        RobotMessage("标题", text, at_all=at_all),
        now=clock.moment,
        allowed=frozenset({("127.0.0.1", group.port)}),
    )


def refusal(*args, **kwargs):
    with pytest.raises(ConnectorError) as caught:
        say(*args, **kwargs)
    return caught.value.vendor_code


def test_a_signed_message_reaches_the_group_and_the_ledger(group, clock, tmp_path):
    say(group, clock, at_all=True)

    entry = json.loads((tmp_path / "ledger.jsonl").read_text("utf-8"))
    assert entry["accepted"] is True
    assert entry["is_at_all"] is True
    assert (entry["title"], entry["text"], entry["token"]) == ("标题", "正文", "good")
    with urllib.request.urlopen(f"http://127.0.0.1:{group.port}/ledger") as response:  # noqa: S310 - loopback
        assert json.load(response) == [entry]


def test_the_ledger_survives_a_restart(group, clock, tmp_path):
    say(group, clock)
    again = RobotServer({}, ledger=tmp_path / "ledger.jsonl")
    again._server.server_close()
    assert again.entries == group.entries


def test_a_wrong_secret_and_an_old_timestamp_are_refused(group, clock):
    assert refusal(group, clock, secret="SECother") == "310000"
    assert refusal(group, clock, secret="") == "310000"
    with pytest.raises(ConnectorError, match="timestamp is invalid"):
        send_message(
            "dingtalk",
            RobotAddress(group.webhook("good"), SECRET),
            RobotMessage("t", "x"),
            now=datetime.fromtimestamp(clock.now - 3601, UTC),
            allowed=frozenset({("127.0.0.1", group.port)}),
        )
    assert group.accepted == []


def test_a_keyword_robot_refuses_text_without_its_keyword(group, clock):
    assert refusal(group, clock, "word", secret="") == "310000"
    say(group, clock, "word", secret="", text="河道告警")


def test_the_twenty_first_message_in_a_minute_mutes_the_robot_for_ten_minutes(group, clock):
    for _ in range(20):
        say(group, clock, "open", secret="")
        clock.now += 1
    assert refusal(group, clock, "open", secret="") == "130101"
    clock.now += 599
    assert refusal(group, clock, "open", secret="") == "130101"
    clock.now += 2
    say(group, clock, "open", secret="")
    assert len(group.accepted) == 21


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("dissolved", "400013"),
        ("stopped", "400102"),
        ("busy", "-1"),
        ("overload", "1111"),
        ("http_500", "500"),
    ],
)
def test_a_robot_shows_the_fault_it_is_told_to(group, clock, fault, code):
    group.robots["good"].fault = fault
    assert refusal(group, clock) == code
    group.robots["good"].fault = ""
    say(group, clock)
    assert len(group.accepted) == 1


def test_an_unknown_token_is_refused(group, clock):
    assert refusal(group, clock, "gone") == "400101"


def test_silence_after_accepting_is_ambiguous_and_in_the_ledger(group, clock):
    group.robots["good"].fault = "silent_after_accept"
    with pytest.raises(ConnectorError) as caught:
        say(group, clock)
    assert caught.value.retry == Retry.AMBIGUOUS
    assert len(group.accepted) == 1


@pytest.mark.parametrize(
    ("method", "body", "kind", "code"),
    [
        ("GET", None, "application/json", 43002),
        ("POST", b"{}", "text/plain", 43004),
        ("POST", b"not json", "application/json", 40035),
        ("POST", b'{"msgtype":"poem"}', "application/json", 400105),
        ("POST", b'{"msgtype":"text"}', "application/json", 40035),
        (
            "POST",
            json.dumps({"msgtype": "text", "text": {"content": "x" * 20_001}}).encode(),
            "application/json",
            40035,
        ),
    ],
)
def test_a_malformed_call_is_refused_with_the_platforms_code(group, method, body, kind, code):
    response = send(
        Request(
            method,
            group.webhook("open"),
            headers={"Content-Type": kind},
            body=body,
            allowed=frozenset({("127.0.0.1", group.port)}),
        )
    )
    assert response.status == 200
    assert response.json()["errcode"] == code


def test_faults_are_switched_over_http(group, clock):
    def control(content):
        return send(
            Request(
                "POST",
                f"http://127.0.0.1:{group.port}/control",
                body=json.dumps(content).encode(),
                allowed=frozenset({("127.0.0.1", group.port)}),
            )
        ).status

    assert control({"token": "good", "fault": "dissolved"}) == 200
    assert refusal(group, clock) == "400013"
    assert control({"token": "good", "fault": "explode"}) == 400
    assert control({"token": "nobody", "fault": ""}) == 400
