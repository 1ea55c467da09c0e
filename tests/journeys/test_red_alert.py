"""J3's beginning: an order becomes due, turns red, is held, and one message calls the group."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from config.celery import app
from config.errors import WrongState
from connectors.orders.canonical import CanonicalReceipt
from connectors.orders.services import receive
from connectors.shops.addresses import approve_address, request_address
from connectors.shops.models import Source
from connectors.simulators.robot import Robot as SimulatedRobot
from connectors.simulators.robot import RobotServer
from connectors.systems import downstream
from rules_engine import presets
from rules_engine.scoring.models import Score
from tests.factories import for_environment, make_order, make_sources, make_world
from workflows.interventions.models import Alert, Delivery, Hold, OnCall, PatrolRun
from workflows.interventions.services import create_robot

pytestmark = [pytest.mark.journey, pytest.mark.slow]
SECRET = "SECjourney"


@pytest.fixture
def group(tmp_path):
    server = RobotServer({"j3": SimulatedRobot(secret=SECRET)}, ledger=tmp_path / "ledger.jsonl")
    with server.running():
        yield server


def prepare(world, group, now):
    """Promo rules, fresh sources, a robot, somebody on duty, and an order due in four seconds."""
    with for_environment(world.production):
        presets.install("promo", now)
        make_sources(now + timedelta(minutes=10))
        entry = request_address(
            host="127.0.0.1",
            port=group.port,
            purpose="模拟器",
            actor=world.users["tech_support"],
            now=now,
        )
        approve_address(entry, actor=world.users["reviewer"], now=now)
        create_robot(
            name="应急群",
            webhook=group.webhook("j3"),
            secret=SECRET,
            actor=world.users["tech_support"],
            now=now,
            takes_red=True,
        )
        OnCall.objects.create(
            user=world.users["agent"],
            starts_at=now - timedelta(hours=1),
            ends_at=now + timedelta(hours=1),
        )
        paid = now - timedelta(minutes=15) + timedelta(seconds=4)
        return make_order(now, placed_at=paid - timedelta(minutes=2))


def ring():
    """What the beat does every minute."""
    app.send_task("patrol.tick", queue="tick")


def test_an_order_becomes_due_turns_red_is_held_and_the_group_is_called_once(river, group):
    world = make_world()
    environment = world.production
    order = prepare(world, group, timezone.now())

    def look(model, **conditions):
        with for_environment(environment, write=False):
            return list(model.objects.filter(**conditions).order_by("pk"))

    # It came in and is well.
    app.send_task("patrol.score_due", args=(environment.pk,), queue="evaluate")
    river.wait_until(lambda: look(Score, order=order, band="healthy"))
    assert look(Alert) == []

    # Nothing more is heard of it: time alone makes it red.
    due = timezone.now() + timedelta(seconds=4)
    river.wait_until(lambda: timezone.now() > due)
    ring()
    river.wait_until(lambda: look(Hold, order=order, released_at=None))
    (alert,) = look(Alert)
    assert (alert.level, alert.cause, alert.hold_state) == ("red", "OMS未接收", "held")
    with for_environment(environment), pytest.raises(WrongState, match="已挂起"):
        downstream.push_order(order.pk, kind="oms", now=timezone.now())

    # Half a minute later the group hears of it, whoever rings how often.
    river.wait_until(lambda: group.accepted, seconds=90)
    for _ in range(3):
        ring()
        app.send_task("patrol.deliver", args=(environment.pk,), queue="notify")
    river.wait_until(river.is_idle)
    (message,) = group.entries
    assert (message["accepted"], message["is_at_all"]) == (True, True)
    assert message["title"].startswith("红色·OMS未接收 1 单")
    assert "已挂起 1 单" in message["text"]
    assert order.order_no in message["text"]
    (delivery,) = look(Delivery, robot__isnull=False)
    assert delivery.state == "sent"
    assert {d.recipient.username for d in _people(environment)} >= {"agent", "director"}
    assert len(look(Alert)) == len(look(Hold)) == 1
    slots = [run.slot for run in look(PatrolRun)]
    assert len(slots) == len(set(slots))

    # The OMS has it after all: the hold goes by itself, and nobody is called again.
    with for_environment(environment):
        now = timezone.now()
        receive(
            [CanonicalReceipt(order_no=order.order_no, received_at=now, reviewed_at=now)],
            source=Source.objects.get(kind="oms"),
            now=now,
        )
    app.send_task("patrol.score_due", args=(environment.pk,), queue="evaluate")
    river.wait_until(lambda: look(Hold, release_kind="recovered"))
    assert look(Alert)[0].close_reason == "recovered"
    assert len(group.entries) == 1


def _people(environment):
    with for_environment(environment, write=False):
        return list(Delivery.objects.filter(recipient__isnull=False).select_related("recipient"))
