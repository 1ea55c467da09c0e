"""Words on their way: grouping, addressees, budget, doubt, and the robot's ledger as witness."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from config.errors import BadInput
from connectors.http import AddressRefused
from connectors.shops.models import AllowedAddress
from connectors.simulators.robot import Robot as SimulatedRobot
from connectors.simulators.robot import RobotServer
from tests.factories import NOW, for_environment, make_world
from tests.workflows.conftest import SECRET, FakeClock, Stream, side_by_side
from workflows.interventions.delivery import claim_next, record_outcome
from workflows.interventions.models import (
    Alert,
    AlertGroup,
    Contact,
    Delivery,
    OnCall,
    Robot,
    RobotBudget,
    SourceAlert,
)
from workflows.interventions.services import (
    create_robot,
    list_on_duty,
    list_recipients,
    save_contact,
    save_robot,
    send_test,
)
from workflows.interventions.words import OrderWords, write_alerts

pytestmark = pytest.mark.django_db


def on_duty(stream, role="agent", *, start=-1, hours=8):
    with for_environment(stream.environment):
        OnCall.objects.create(
            user=stream.world.users[role],
            starts_at=NOW + timedelta(hours=start),
            ends_at=NOW + timedelta(hours=start + hours),
        )


def people_told(stream, topic):
    return sorted(
        d.recipient.username for d in stream.rows(Delivery, topic=topic, recipient__isnull=False)
    )


# --- one cause, one message -----------------------------------------------------------------------


def test_many_red_orders_of_one_cause_are_one_message_that_calls_everybody(stream, group):
    stream.connect_robot(group)
    for n in range(13):
        stream.put(40, order_no=f"RED{n:02d}")
    stream.patrol()
    assert stream.deliver() == 0  # words gather for half a minute
    assert stream.deliver(seconds=31) == 1

    (entry,) = group.accepted
    assert entry["is_at_all"] is True
    assert entry["title"].startswith("红色·甲原因 13 单 ¥520.00，最早 ")
    assert "已挂起 13 单" in entry["text"]
    assert "挂起仅在本系统生效" in entry["text"]
    assert entry["text"].count("\n- RED") == 10
    assert "另有 3 单" in entry["text"]
    (words,) = stream.rows(AlertGroup)
    assert f"#A-{words.short_id}" in entry["text"]
    assert f"/alerts/{words.public_id}/" in entry["text"]
    (delivery,) = stream.robot_deliveries()
    assert (delivery.state, delivery.vendor_code, delivery.attempts) == ("sent", "0", 1)


def test_two_causes_are_two_messages(stream, group):
    stream.connect_robot(group)
    stream.put(40)
    stream.put(90, remark="乙")
    stream.patrol()
    stream.deliver(seconds=31)

    assert sorted(e["title"].split(" ")[0] for e in group.accepted) == [
        "红色·乙原因",
        "红色·甲原因",
    ]


def test_orders_that_turn_red_within_the_half_minute_join_the_message(stream, group):
    stream.connect_robot(group)
    stream.put(40)
    stream.patrol()
    stream.put(41)
    with for_environment(stream.environment):
        AlertGroup.objects.update(closes_at=stream.clock.now + timedelta(seconds=90))
    stream.patrol()
    stream.deliver(seconds=31)

    assert [e["title"].split(" ")[1] for e in group.accepted] == ["2"]


def test_everybody_is_called_once_in_five_minutes_for_one_cause(stream, group):
    stream.connect_robot(group)
    for _ in range(3):
        stream.put(40)
        stream.patrol()
        stream.deliver(seconds=31)
    stream.put(40)
    stream.patrol(seconds=300)
    stream.deliver(seconds=31)

    assert [e["is_at_all"] for e in group.accepted] == [True, False, False, True]


def test_an_order_that_recovered_before_the_words_left_is_not_spoken_of(stream, group):
    stream.connect_robot(group)
    stream.put(40, order_no="Q")
    stream.patrol()
    stream.put(100, order_no="Q")
    stream.patrol(seconds=10)
    stream.put(100, order_no="Q2")
    stream.patrol(seconds=51)
    stream.deliver(seconds=31)

    assert group.entries == []
    assert stream.rows(AlertGroup)[0].count == 0


def test_an_order_that_went_from_orange_to_red_is_told_once_as_red(stream, group):
    stream.connect_robot(group)
    stream.put(55, order_no="UP")
    stream.patrol()
    stream.put(30, order_no="UP")
    stream.patrol(seconds=61)
    stream.deliver(seconds=31)

    assert [e["title"][:2] for e in group.accepted] == ["红色"]


def test_an_order_that_was_never_below_the_line_is_never_spoken_of(stream, group):
    stream.connect_robot(group)
    for score in (100, 72, 70):
        stream.put(score)
    stream.patrol()
    stream.deliver(seconds=31)
    assert group.entries == []
    assert stream.rows(Delivery) == []


# --- who is told ----------------------------------------------------------------------------------


def test_yellow_goes_to_whoever_is_on_duty_now_by_name(stream, group):
    stream.connect_robot(group)
    on_duty(stream, "agent")
    on_duty(stream, "new_agent", start=8)
    with for_environment(stream.environment):
        save_contact(stream.world.users["agent"], mobile="13800000001")
    stream.put(65)
    stream.patrol()
    stream.deliver(seconds=31)

    assert people_told(stream, "yellow") == ["agent"]
    (entry,) = group.accepted
    assert entry["at_mobiles"] == ["13800000001"]
    assert "@13800000001" in entry["text"]
    assert entry["is_at_all"] is False
    assert "13800000001" not in stream.robot_deliveries()[0].mentions_sealed


def test_the_shift_that_counts_is_the_one_when_the_words_leave(stream):
    on_duty(stream, "agent", hours=1)
    on_duty(stream, "new_agent", start=0, hours=2)
    with for_environment(stream.environment, write=False):
        assert [u.username for u in list_on_duty(NOW - timedelta(seconds=1))] == ["agent"]
        assert [u.username for u in list_on_duty(NOW)] == ["new_agent"]
        assert list_on_duty(NOW + timedelta(hours=2)) == []


def test_yellow_with_nobody_on_duty_goes_to_the_supervisor(stream):
    stream.put(65)
    stream.patrol()
    stream.deliver(seconds=31)
    assert people_told(stream, "yellow") == ["supervisor"]


def test_orange_goes_to_supervisor_and_tech_support(stream, group):
    stream.connect_robot(group)
    on_duty(stream, "agent")
    stream.put(55)
    stream.patrol()
    stream.deliver(seconds=31)

    assert people_told(stream, "orange") == ["supervisor", "tech_support"]
    assert "实付 55" in group.accepted[0]["text"]  # the failing check in its own words


def test_a_robot_gets_only_the_levels_it_takes(stream, group):
    stream.connect_robot(group, takes_red=True)
    stream.put(55)
    stream.put(65)
    stream.patrol()
    stream.deliver(seconds=31)
    assert group.entries == []


def test_recipients_of_another_division_are_not_told(stream):
    with for_environment(stream.environment, write=False):
        for topic in ("yellow", "orange", "red", "source", "brake"):
            people = list_recipients(topic, environment=stream.environment, now=NOW)
            assert "outsider" not in {u.username for u in people}
            assert people


def test_a_late_source_is_told_once_to_the_technical_side(stream, group):
    stream.connect_robot(group, takes_technical=True)
    stream.put(100)
    stream.patrol()
    stream.patrol(seconds=40 * 60)
    stream.deliver(seconds=31)
    stream.patrol()
    stream.deliver(seconds=31)

    assert len(stream.rows(SourceAlert)) == 4
    (entry,) = group.accepted
    assert entry["title"].startswith("来源滞后 4 个")
    assert "数据不足" in entry["text"]
    assert people_told(stream, "source") == ["division_admin", "tech_support"]


def test_a_mobile_number_is_checked(stream):
    with for_environment(stream.environment):
        for wrong in ("", "1380000000", "138000000011", "１３８００００００００", "abc"):
            with pytest.raises(BadInput):
                save_contact(stream.world.users["agent"], mobile=wrong)
        assert Contact.objects.count() == 0


# --- what can go wrong ----------------------------------------------------------------------------


def say_red(stream):
    stream.put(40)
    stream.patrol()
    return stream.deliver(seconds=31)


def test_a_refusal_is_final_and_says_why(stream, group):
    stream.connect_robot(group)
    group.robots["river"].secret = "SECchanged"
    say_red(stream)

    (delivery,) = stream.robot_deliveries()
    assert (delivery.state, delivery.vendor_code) == ("failed", "310000")
    assert "加签密钥" in delivery.note
    assert stream.rows(RobotBudget)[0].last_error == delivery.note
    stream.deliver(seconds=120)
    assert len(group.entries) == 1


def test_a_throttled_robot_rests_and_then_the_message_arrives_once(stream, group):
    stream.connect_robot(group)
    group.robots["river"].fault = "busy"
    say_red(stream)
    (delivery,) = stream.robot_deliveries()
    assert (delivery.state, delivery.attempts) == ("pending", 1)

    group.robots["river"].fault = ""
    assert stream.deliver(seconds=30) == 0
    assert stream.deliver(seconds=31) == 1
    assert len(group.accepted) == 1
    assert stream.robot_deliveries()[0].state == "sent"
    assert stream.rows(RobotBudget)[0].failures == 0


def test_silence_is_doubt_and_is_said_once_more_after_a_minute_marked(stream, group):
    stream.connect_robot(group)
    group.robots["river"].fault = "silent_after_accept"
    say_red(stream)
    first = stream.robot_deliveries()[0]
    assert first.state == "ambiguous"

    assert stream.deliver(seconds=30) == 0
    stream.deliver(seconds=31)
    stream.deliver(seconds=300)

    states = [(d.sequence, d.state, d.resend_of_id) for d in stream.robot_deliveries()]
    assert states == [(1, "ambiguous", None), (2, "ambiguous", first.pk)]
    assert len(group.accepted) == 2
    assert group.accepted[1]["title"].startswith("【重发】")
    number = f"#A-{stream.rows(AlertGroup)[0].short_id}"
    assert all(number in e["text"] for e in group.accepted)


def test_a_worker_that_died_while_sending_leaves_a_doubt_not_a_loss(stream, group):
    robot = stream.connect_robot(group)
    stream.put(40)
    stream.patrol()
    with for_environment(stream.environment):
        from workflows.interventions.services import close_groups

        close_groups(stream.environment, now=stream.clock.pass_by(31))
        assert claim_next(robot.pk, now=stream.clock.now) is not None
    # the worker is gone here
    assert stream.deliver(seconds=30) == 0
    assert stream.robot_deliveries()[0].state == "sending"
    stream.deliver(seconds=31)
    assert [d.state for d in stream.robot_deliveries()] == ["ambiguous", "pending"]
    stream.deliver(seconds=60)
    assert [d.state for d in stream.robot_deliveries()] == ["ambiguous", "sent"]
    assert len(group.accepted) == 1


def test_two_workers_never_claim_one_message(stream, group):
    robot = stream.connect_robot(group)
    stream.put(40)
    stream.patrol()
    with for_environment(stream.environment):
        from workflows.interventions.services import close_groups

        now = stream.clock.pass_by(31)
        close_groups(stream.environment, now=now)
        close_groups(stream.environment, now=now)
        assert claim_next(robot.pk, now=now) is not None
        assert claim_next(robot.pk, now=now) is None
    assert len(stream.robot_deliveries()) == 1


def test_an_outcome_after_the_lease_does_not_undo_the_doubt(stream, group):
    from connectors.systems.robots import RobotReceipt

    robot = stream.connect_robot(group)
    stream.put(40)
    stream.patrol()
    with for_environment(stream.environment):
        from workflows.interventions.services import close_groups

        close_groups(stream.environment, now=stream.clock.pass_by(31))
        claim = claim_next(robot.pk, now=stream.clock.now)
    stream.deliver(seconds=61)
    with for_environment(stream.environment):
        record_outcome(claim, RobotReceipt("0", "ok"), now=stream.clock.now)
    assert [d.state for d in stream.robot_deliveries()] == ["ambiguous", "pending"]


def test_a_robot_that_keeps_failing_is_left_alone_for_a_while(stream, group):
    stream.connect_robot(group)
    group.robots["river"].fault = "http_500"
    for n in range(4):
        stream.put(40, remark="" if n % 2 else "乙")
        stream.patrol()
        stream.deliver(seconds=31)
    budget = stream.rows(RobotBudget)[0]
    assert budget.failures >= 3
    assert budget.paused_until > stream.clock.now
    assert stream.deliver() == 0


def test_a_robot_switched_off_fails_its_messages_plainly(stream, group):
    robot = stream.connect_robot(group)
    stream.put(40)
    stream.patrol()
    with for_environment(stream.environment):
        from workflows.interventions.services import close_groups

        close_groups(stream.environment, now=stream.clock.pass_by(31))
        save_robot(robot, actor=stream.world.users["tech_support"], now=NOW, is_active=False)
    stream.deliver()
    (delivery,) = stream.robot_deliveries()
    assert (delivery.state, delivery.note) == ("failed", "机器人已停用")
    assert group.entries == []


def test_a_withdrawn_address_stops_the_robot_without_opening_a_socket(stream, group):
    stream.connect_robot(group)
    with for_environment(stream.environment):
        AllowedAddress.objects.all().delete()
    say_red(stream)
    (delivery,) = stream.robot_deliveries()
    assert delivery.state == "failed"
    assert "放行名单" in delivery.note
    assert group.entries == []


# --- budget ---------------------------------------------------------------------------------------


def flood(stream, robot, count, topic="yellow"):
    with for_environment(stream.environment):
        Delivery.objects.bulk_create(
            [
                Delivery(
                    robot=robot,
                    topic=topic,
                    title=f"{topic} {n}",
                    text="x",
                    created_at=stream.clock.now,
                    not_before=stream.clock.now,
                )
                for n in range(count)
            ]
        )


def test_no_sliding_minute_ever_has_more_than_eighteen_messages(stream, group):
    robot = stream.connect_robot(group)
    times = []
    for _ in range(12):
        flood(stream, robot, 7)
        flood(stream, robot, 4, "red")
        before = len(group.accepted)
        stream.deliver(seconds=13)
        times += [stream.clock.now.timestamp()] * (len(group.accepted) - before)

    assert all(sum(t <= u < t + 60 for u in times) <= 18 for t in times)
    assert [e for e in group.entries if not e["accepted"]] == []
    stream.deliver(seconds=61)
    left = stream.rows(Delivery, state="pending")
    assert left == []
    merged = {d.merged_into_id for d in stream.rows(Delivery, state="merged")}
    assert merged
    assert merged <= {d.pk for d in stream.rows(Delivery, state="sent")}


def test_a_flood_of_yellow_leaves_room_for_red(stream, group):
    robot = stream.connect_robot(group)
    flood(stream, robot, 40)
    stream.deliver()
    assert len(group.accepted) == 15
    assert group.accepted[-1]["title"] == "汇总 26 条告警"

    flood(stream, robot, 3, "red")
    stream.deliver(seconds=1)
    assert len(group.accepted) == 18


# --- robots ---------------------------------------------------------------------------------------


def test_address_and_secret_of_a_robot_are_sealed(stream, group):
    robot = stream.connect_robot(group)
    with for_environment(stream.environment):
        row = Robot.objects.values().get(pk=robot.pk)
    stored = json.dumps(row, default=str)
    assert "SECriver" not in stored
    assert "access_token" not in stored
    assert robot.reveal() == (group.webhook("river"), "SECriver")
    assert robot.webhook_tail == "iver"


def test_a_robot_on_an_address_that_is_not_listed_is_refused(stream):
    with for_environment(stream.environment):
        with pytest.raises(AddressRefused):
            create_robot(
                name="群", webhook="http://127.0.0.1:6379/", secret="", actor=None, now=NOW
            )
        with pytest.raises(BadInput):
            create_robot(
                name=" ", webhook="https://oapi.dingtalk.com/x", secret="", actor=None, now=NOW
            )
        assert Robot.objects.count() == 0


def test_one_robot_is_registered_once_in_a_tenant(stream, group):
    stream.connect_robot(group)
    with for_environment(stream.environment), pytest.raises(BadInput) as caught:
        create_robot(name="又一次", webhook=group.webhook("river"), secret="", actor=None, now=NOW)
    assert caught.value.code == "robot_known"


def test_a_test_message_goes_through_the_same_way(stream, group):
    robot = stream.connect_robot(group)
    with for_environment(stream.environment):
        send_test(robot, actor=stream.world.users["tech_support"], now=NOW)
    stream.deliver()
    assert [e["title"] for e in group.accepted] == ["测试消息"]


# --- words ----------------------------------------------------------------------------------------


def words_of(**changes):
    values = {
        "order_no": "1001",
        "shop": "店",
        "score_hundredths": 4900,
        "reason": "",
        "amount_fen": 32700,
        "deadline_at": NOW + timedelta(hours=8, minutes=12),
        "hold_state": "held",
        "reach": "local",
    } | changes
    group = AlertGroup(
        topic="red", cause=changes.get("cause", "支付回调丢失"), opened_at=NOW, closes_at=NOW
    )
    values.pop("cause", None)
    return write_alerts(group, [OrderWords(**values)], place="女装 · 生产", now=NOW)


def test_the_first_line_says_level_cause_count_yuan_and_time_left(stream):
    assert words_of().title == "红色·支付回调丢失 1 单 ¥327.00，最早 8 小时 12 分后超时"


def test_foreign_text_in_a_message_is_harmless(stream):
    words = words_of(
        order_no="](http://evil) @all",
        shop="**店**",
        reason="致电 13812345678\n# 假标题 @13800000000",
        cause="[点我](http://evil)",
    )
    assert "http://evil" not in words.text
    assert "@all" not in words.text
    assert "13812345678" not in words.text
    assert "138****5678" in words.text
    assert "\n# 假标题" not in words.text
    assert "**店**" not in words.text
    assert "［点我］" in words.title


def test_a_failed_hold_is_said_first(stream):
    text = words_of(hold_state=Alert.HoldState.FAILED).text
    assert text.split("\n")[1].startswith("女装 · 生产 · ⚠ 1 单挂起失败，请立即人工拦下")


def test_a_hold_that_came_too_late_or_was_refused_outside_is_said(stream):
    late = words_of(hold_state=Alert.HoldState.HELD, reach="system", effect="too_late").text
    assert "⚠ 1 单仓库已拣货或已出库，停不下：请拦截物流" in late
    refused = words_of(hold_state=Alert.HoldState.HELD, reach="system", effect="refused").text
    assert "⚠ 1 单对方系统停不下：请立即人工拦下" in refused
    assert "停不下" not in words_of(hold_state=Alert.HoldState.HELD, reach="system").text


def test_an_overdue_order_is_called_overdue(stream):
    words = words_of(deadline_at=NOW - timedelta(hours=3))
    assert "最早一单已超时 3 小时 0 分" in words.title
    assert "已超时" in words.text


@pytest.mark.django_db(transaction=True)
def test_two_senders_at_once_stay_within_the_minute_and_send_each_message_once(tmp_path):
    clock = FakeClock()
    stream = Stream(make_world(), clock)
    server = RobotServer({"river": SimulatedRobot(secret=SECRET)}, clock=clock.timestamp)
    with server.running():
        robot = stream.connect_robot(server)
        flood(stream, robot, 10, "red")
        flood(stream, robot, 20)
        results = side_by_side(stream.deliver, stream.deliver, stream.deliver)

    assert [r for r in results if isinstance(r, Exception)] == []
    assert [e for e in server.entries if not e["accepted"]] == []
    titles = [e["title"] for e in server.accepted]
    assert len(titles) == len(set(titles)) <= 18
    assert {t for t in titles if t.startswith("red")} == {f"red {n}" for n in range(10)}
    assert stream.rows(Delivery, state="pending") == []
