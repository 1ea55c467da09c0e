"""The robots' ledger, and connecting a robot."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from config.audit.models import AuditEntry
from connectors.simulators.robot import Robot as SimulatedRobot
from connectors.simulators.robot import RobotServer
from rules_engine.rules.services import forget_compiled
from tests.factories import for_environment
from tests.workflows.conftest import SECRET, FakeClock, Stream
from workflows.interventions.models import Delivery, OnCall, Robot

pytestmark = pytest.mark.django_db


@pytest.fixture
def stream(world):
    forget_compiled()
    return Stream(world, FakeClock())


@pytest.fixture
def group(stream):
    server = RobotServer({"river": SimulatedRobot(secret=SECRET)}, clock=stream.clock.timestamp)
    with server.running():
        yield server


@pytest.fixture
def enter(client, world):
    def sign_in(role):
        client.force_login(world.users[role])
        return client

    return sign_in


def test_what_was_sent_to_whom_and_with_what_result(stream, group, enter):
    stream.connect_robot(group)
    stream.put(40)
    stream.patrol()
    stream.deliver(seconds=31)
    group.robots["river"].secret = "SECother"
    stream.put(40, remark="乙")
    stream.patrol()
    stream.deliver(seconds=31)

    page = enter("agent").get("/robots/").content.decode()

    assert page.count('data-testid="delivery"') == 2
    assert "红色·甲原因 1 单" in page
    assert "@所有人" in page
    assert "已送达" in page
    assert "310000" in page
    assert "加签密钥" in page
    assert "SECriver" not in page
    assert "access_token" not in page
    failed = enter("agent").get("/robots/?state=failed").content.decode()
    assert failed.count('data-testid="delivery"') == 1


def test_everybody_finds_what_was_said_to_them(stream, enter):
    stream.put(55)
    stream.patrol()
    stream.deliver(seconds=31)
    mine = enter("tech_support").get("/robots/?view=mine").content.decode()
    assert mine.count('data-testid="delivery"') == 1
    assert 'data-testid="delivery"' not in enter("agent").get("/robots/?view=mine").content.decode()


def test_a_missing_red_robot_and_a_missing_shift_are_said(stream, enter):
    page = enter("agent").get("/robots/").content.decode()
    assert "没有接收红色告警的群机器人" in page
    assert "无人" in page


def test_the_person_on_duty_is_named(stream, enter, time_machine):
    time_machine.move_to(stream.clock.now)
    with for_environment(stream.environment):
        OnCall.objects.create(
            user=stream.world.users["agent"],
            starts_at=stream.clock.now,
            ends_at=stream.clock.now.replace(hour=23),
        )
    page = enter("supervisor").get("/robots/").content.decode()
    assert "李娜" in page


def form(webhook, **changes):
    return {"name": "应急群", "webhook": webhook, "secret": SECRET, "takes_red": "on"} | changes


def test_a_robot_is_connected_and_tested_on_the_page(stream, group, enter):
    stream.connect_robot(group)
    group.robots["second"] = SimulatedRobot(secret=SECRET)
    client = enter("tech_support")

    page = client.post("/robots/new/", form(group.webhook("second"), may_at_all="on"), follow=True)

    assert "已登记「应急群」" in page.content.decode()
    robot = stream.rows(Robot, name="应急群")[0]
    assert (robot.takes_red, robot.takes_yellow, robot.may_at_all) == (True, False, True)
    client.post(reverse("robot_test", args=[robot.public_id]))
    stream.clock.now = timezone.now()
    stream.deliver()
    assert [e["title"] for e in group.accepted] == ["测试消息"]
    client.post(reverse("robot_switch", args=[robot.public_id]), {"active": "0"})
    assert stream.rows(Robot, name="应急群")[0].is_active is False


@pytest.mark.parametrize(
    "webhook", ["http://127.0.0.1:6379/", "http://169.254.169.254/", "ftp://x/", "http://[::1]/"]
)
def test_an_address_inside_is_refused_and_the_attempt_is_recorded(stream, enter, webhook):
    answer = enter("tech_support").post("/robots/new/", form(webhook))
    page = answer.content.decode()

    assert answer.status_code == 400
    assert "目标地址不允许" in page
    assert webhook not in page
    assert SECRET not in page
    assert "应急群" in page  # what is no secret is kept
    assert stream.rows(Robot) == []
    with for_environment(stream.environment, write=False):
        entry = AuditEntry.objects.get(action="robot.refused")
        assert webhook not in str(entry.details)


def test_a_robot_for_nothing_is_refused(stream, group, enter):
    stream.connect_robot(group)
    given = form(group.webhook("other"))
    del given["takes_red"]
    answer = enter("tech_support").post("/robots/new/", given)
    assert answer.status_code == 400
    assert "至少勾选一种" in answer.content.decode()


@pytest.mark.parametrize("role", ["agent", "supervisor", "director"])
def test_who_may_not_manage_connectors_changes_no_robot(stream, group, enter, role):
    robot = stream.connect_robot(group)
    client = enter(role)
    assert client.get("/robots/").status_code == 200
    assert client.get("/robots/new/").status_code == 403
    assert client.post("/robots/new/", form(group.webhook("x"))).status_code == 403
    assert client.post(reverse("robot_test", args=[robot.public_id])).status_code == 403
    assert client.post(reverse("robot_switch", args=[robot.public_id])).status_code == 403
    assert len(stream.rows(Robot)) == 1
    assert stream.rows(Delivery) == []


def test_a_robot_of_another_division_does_not_exist(stream, group, client, world):
    from tests.factories import join, make_user

    robot = stream.connect_robot(group)
    other = make_user("tech2", tenant=world.tenant)
    join(other, "tech_support", division=world.divisions[1])
    client.force_login(other)
    assert client.post(reverse("robot_test", args=[robot.public_id])).status_code == 404
    assert robot.name not in client.get("/robots/").content.decode()


def test_the_number_of_queries_does_not_grow(stream, group, enter):
    robot = stream.connect_robot(group)
    client = enter("supervisor")

    def count():
        with CaptureQueriesContext(connection) as caught:
            assert client.get("/robots/").status_code == 200
        return len(caught)

    def send(number):
        with for_environment(stream.environment):
            Delivery.objects.bulk_create(
                [
                    Delivery(
                        robot=robot,
                        topic="red",
                        title=f"第 {n} 条",
                        text="x",
                        state="sent",
                        created_at=stream.clock.now,
                        not_before=stream.clock.now,
                    )
                    for n in range(number)
                ]
            )

    send(2)
    few = count()
    send(60)
    assert count() == few
