"""A hold of ours stops the order where it stands, at simulated systems over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from config.tenancy.scope import for_environment
from connectors.orders.canonical import CanonicalReceipt
from connectors.orders.models import Order
from connectors.orders.services import receive
from connectors.shops.connections import change_connection
from connectors.shops.models import Connection
from connectors.simulators.life import Life, LifeLine
from connectors.sync.models import CallLog
from tests.connectors.sync.outside import Outside
from tests.factories import NOW, World
from tests.workflows.conftest import Stream
from workflows.interventions import effects, groups
from workflows.interventions.effects import (
    find_troubles,
    list_effects,
    reaches_outside,
    settle_effects,
)
from workflows.interventions.models import AlertGroup, Hold, HoldEffect
from workflows.interventions.services import release_hold

pytestmark = pytest.mark.django_db

State = HoldEffect.State
OMS_FORM = {
    "auth_kind": "bearer",
    "list_path": "/api/orders",
    "rows_path": "data.rows",
    "order_no_path": "orderNo",
    "received_path": "recvTime",
    "hold_path": "/api/orders/{order_no}/hold",
    "hold_body": '{"reason": "{reason}"}',
    "release_path": "/api/orders/{order_no}/release",
}


class Systems(Outside):
    """An outside with an OMS and a warehouse."""

    def credentials(self, app: str) -> tuple[dict[str, Any], dict[str, str]]:
        keys = self.keys
        if app == "oms":
            return dict(OMS_FORM), {"auth_secret": keys.oms.token}
        return (
            {
                "app_key": keys.qimen.app_key,
                "customer_id": keys.qimen.customer_id,
                "owner_code": "OWNER1",
                "warehouses": "WH01 可挂起",
            },
            {"app_secret": keys.qimen.secret},
        )


class SharedClock:
    """The simulators' time as the river's clock."""

    def __init__(self, outside: Outside) -> None:
        self.outside = outside

    @property
    def now(self) -> datetime:
        return self.outside.now()

    def __call__(self) -> datetime:
        return self.now

    def pass_by(self, seconds: float) -> datetime:
        self.outside.clock.advance(timedelta(seconds=seconds))
        return self.now


class River:
    """Red orders, an OMS and a warehouse on one clock."""

    def __init__(self, world: World, outside: Systems) -> None:
        self.outside = outside
        self.clock = SharedClock(outside)
        self.stream = Stream(world, self.clock)  # type: ignore[arg-type]
        self.environment = world.production

    def connect(self, *apps: str, **config: str) -> list[Connection]:
        return [self.outside.connect(app, config=config) for app in apps]

    def add(self, order_no: str = "A1", **steps: float) -> Order:
        """A red order; `steps` are minutes from now at which the outside takes it on."""
        at = {name: NOW + timedelta(minutes=minutes) for name, minutes in steps.items()}
        self.outside.add(
            Life(
                order_no=order_no,
                channel="tmall",
                shop="天猫旗舰店",
                placed=NOW - timedelta(hours=1),
                lines=[LifeLine("DR-0417-M", "羊绒大衣", 1, 3000)],
                **at,  # type: ignore[arg-type]
            )
        )
        return self.stream.put(30, order_no=order_no)

    def patrol(self) -> None:
        self.stream.patrol()

    def settle(self, *, minutes: float = 0) -> int:
        self.outside.clock.advance(timedelta(minutes=minutes))
        return settle_effects(self.environment, **self.outside.tools)

    def effects(self, order_no: str = "A1") -> list[tuple[str, str]]:
        with for_environment(self.environment, write=False):
            rows = HoldEffect.objects.filter(hold__order__order_no=order_no).order_by("pk")
            return [
                (kind, state)
                for kind, state in rows.values_list("connection__source__kind", "state")
            ]

    def last(self) -> HoldEffect:
        with for_environment(self.environment, write=False):
            found: HoldEffect = HoldEffect.objects.select_related("hold").order_by("pk").last()
            return found

    def calls(self) -> list[CallLog]:
        with for_environment(self.environment, write=False):
            return list(CallLog.objects.filter(is_effect=True).order_by("pk"))

    def release(self, order_no: str = "A1") -> None:
        with for_environment(self.environment):
            hold = Hold.objects.get(order__order_no=order_no, released_at__isnull=True)
            user = self.stream.world.users["supervisor"]
            release_hold(hold, actor=user, reason="已核实", now=self.clock.now)

    def life(self, order_no: str = "A1") -> Life:
        found = self.outside.store.get(order_no)
        assert found is not None
        return found


@pytest.fixture
def river(world: World) -> Iterator[River]:
    outside = Systems(world.production, at=NOW)
    with outside.host.running() as address:
        outside.address = address
        yield River(world, outside)


# -- holding -----------------------------------------------------------------------------------


def test_a_red_order_is_stopped_in_the_oms_before_it_goes_to_the_warehouse(river):
    river.connect("oms", "qimen")
    river.add(oms=-10, wms=30)

    river.patrol()
    assert river.effects() == [("oms", State.HOLDING)]
    assert river.last().hold.reach == Hold.Reach.SYSTEM
    assert river.settle() == 1

    assert river.effects() == [("oms", State.HELD)]
    assert river.life().wms is None
    (call,) = river.calls()
    assert call.key == river.last().key_of("hold")
    assert call.operation == "hold"
    assert river.settle(minutes=60) == 0
    assert len(river.calls()) == 1


def test_an_order_the_oms_has_passed_on_is_stopped_in_the_warehouse(river):
    river.connect("oms", "qimen")
    river.add(oms=-20, wms=-10, printed=-5, picked=30)
    river.patrol()

    river.settle()

    assert river.effects() == [("oms", State.PASSED_ON), ("wms", State.HELD)]
    assert river.life().picked is None


def test_an_order_the_warehouse_has_spoken_of_is_stopped_there_at_once(river):
    _, qimen = river.connect("oms", "qimen")
    river.add(oms=-20, wms=-10, picked=30)
    told(river, qimen, received_at=NOW - timedelta(minutes=10))
    river.patrol()

    river.settle()

    assert river.effects() == [("wms", State.HELD)]


def told(river: River, connection: Connection, **moments: Any) -> None:
    with for_environment(river.environment):
        receive([CanonicalReceipt("A1", **moments)], source=connection.source, now=river.clock.now)


def test_a_picked_order_is_not_tried_and_says_to_stop_the_parcel(river):
    _, qimen = river.connect("oms", "qimen")
    order = river.add(oms=-20, wms=-10, picked=-1)
    told(river, qimen, received_at=NOW - timedelta(minutes=10), picked_at=NOW)
    river.patrol()

    assert river.effects() == [("wms", State.TOO_LATE)]
    assert str(river.last().words) == "仓库已拣货，挂起被拒：请拦截物流"
    assert river.last().hold.reach == Hold.Reach.LOCAL
    assert river.settle() == 0
    assert river.calls() == []
    with for_environment(river.environment):
        assert find_troubles([order.pk])[order.pk].is_troubling


def test_the_message_and_the_order_say_what_could_not_be_stopped(river, client):
    river.connect("qimen")
    order = river.add(oms=-20, wms=-10, picked=-1)
    river.patrol()
    river.settle()
    with for_environment(river.environment):
        group = AlertGroup.objects.get(topic="red")
        words, _ = groups._write_group(group, river.environment, river.clock.now)
    assert words is not None
    assert "停不下：请拦截物流" in words.text
    client.force_login(river.stream.world.users["supervisor"])

    page = client.get(reverse("order_detail", args=[order.public_id])).content.decode()

    assert "qimen来源：仓库已拣货，挂起被拒：请拦截物流" in page
    assert "还没有可以代为拦截" not in page


def test_a_refusal_after_picking_is_a_result_not_an_error(river):
    river.connect("qimen")
    river.add(oms=-20, wms=-10, picked=-1)  # nobody has told us yet
    river.patrol()

    assert river.settle() == 1

    assert river.effects() == [("wms", State.TOO_LATE)]
    effect = river.last()
    assert (effect.vendor_code, str(effect.words)) == ("S003", "仓库已拣货，挂起被拒：请拦截物流")
    assert [(call.outcome, call.vendor_code) for call in river.calls()] == [("refused", "S003")]
    assert river.settle(minutes=60) == 0


def test_a_hold_whose_answer_is_lost_is_made_again_and_has_one_effect(river):
    river.connect("qimen")
    river.add(wms=-10, picked=30)
    river.patrol()
    river.outside.faults.switch(
        "qimen", "order.pending", "timeout_after_accept", times=1, seconds=0.1
    )

    assert river.settle() == 1

    assert river.effects() == [("wms", State.HELD)]
    calls = river.calls()
    assert [call.outcome for call in calls] == ["ambiguous", "ok"]
    assert len({call.key for call in calls}) == 1


def test_a_system_that_stays_away_is_tried_again_with_growing_pauses(river):
    river.connect("qimen")
    river.add(wms=-10, picked=300)
    river.patrol()
    river.outside.faults.switch("qimen", "order.pending", "http_503")

    assert river.settle() == 0
    first = river.last()
    assert (first.state, first.attempts) == (State.HOLDING, 1)
    assert "503" in str(first.words)
    assert river.settle() == 0
    assert river.last().attempts == 1  # not due yet
    river.settle(minutes=2)
    second = river.last()
    assert second.attempts == 2
    assert second.due_at - river.clock.now > timedelta(seconds=100)
    river.outside.faults.clear()
    assert river.settle(minutes=5) == 1
    assert river.effects() == [("wms", State.HELD)]


def test_an_order_that_is_not_there_yet_is_held_once_it_arrives(river):
    river.connect("qimen")
    river.add(wms=10, picked=60)
    river.patrol()

    river.settle()
    assert river.effects() == [("wms", State.HOLDING)]
    assert "还没有" in str(river.last().words)
    for _ in range(8):
        river.settle(minutes=4)
    assert river.effects() == [("wms", State.HELD)]
    assert river.life().picked is None


def test_a_system_that_cannot_hold_is_named_and_not_called(river):
    river.connect("qimen", warehouses="WH01 不可挂起")
    river.add(wms=-10, picked=60)
    river.patrol()

    assert river.effects() == [("wms", State.UNABLE)]
    assert "人工" in str(river.last().words)
    assert river.settle() == 0
    assert river.calls() == []
    with for_environment(river.environment):
        assert not reaches_outside()


def test_with_no_system_connected_a_hold_holds_on_our_side(river):
    river.add()
    river.patrol()

    assert river.effects() == []
    with for_environment(river.environment):
        assert Hold.objects.get().reach == Hold.Reach.LOCAL


def test_a_paused_connection_waits(river):
    (qimen,) = river.connect("qimen")
    river.add(wms=-10, picked=60)
    river.patrol()
    with for_environment(river.environment):
        change_connection(qimen, actor=None, now=river.clock.now, is_active=False)

    assert river.settle() == 0
    assert river.effects() == [("wms", State.HOLDING)]


def test_settings_that_are_wrong_wait_for_somebody_to_mend_them(river):
    (qimen,) = river.connect("qimen")
    river.add(wms=-10, picked=60)
    river.patrol()
    with for_environment(river.environment):
        change_connection(qimen, actor=None, now=river.clock.now, secrets={"app_secret": "wrong"})
    river.settle()
    assert (river.last().state, river.last().vendor_code) == (State.HOLDING, "25")

    with for_environment(river.environment):
        good = river.outside.keys.qimen.secret
        change_connection(qimen, actor=None, now=river.clock.now, secrets={"app_secret": good})
    assert river.settle(minutes=5) == 1
    assert river.effects() == [("wms", State.HELD)]


# -- releasing ---------------------------------------------------------------------------------


def test_a_release_lets_the_order_go_on_outside_once(river):
    river.connect("qimen")
    river.add(wms=-10, picked=30)
    river.patrol()
    river.settle()
    river.release()
    assert river.effects() == [("wms", State.RELEASING)]
    river.outside.faults.switch(
        "qimen", "order.pending", "timeout_after_accept", times=1, seconds=0.1
    )

    assert river.settle(minutes=10) == 1

    assert river.effects() == [("wms", State.RELEASED)]
    assert river.life().picked is not None
    keys = [call.key.partition(":")[0] for call in river.calls()]
    assert keys == ["hold", "release", "release"]


def test_an_order_that_recovers_goes_on_outside(river):
    river.connect("oms")
    river.add(oms=-10, wms=30)
    river.patrol()
    river.settle()

    river.stream.put(95, order_no="A1")
    river.patrol()

    assert river.effects() == [("oms", State.RELEASING)]
    river.settle()
    assert river.effects() == [("oms", State.RELEASED)]
    assert river.life().wms is not None


def test_what_nobody_was_asked_to_stop_needs_no_release(river):
    river.connect("qimen")
    river.add(wms=-10, picked=30)
    river.patrol()
    river.release()

    assert river.effects() == [("wms", State.RELEASED)]
    assert river.settle() == 0
    assert river.calls() == []


def test_a_release_while_the_hold_is_under_way_is_not_lost(river, monkeypatch):
    river.connect("qimen")
    river.add(wms=-10, picked=30)
    river.patrol()
    real = effects.apply_hold

    def hold_and_be_released(*args: Any, **named: Any) -> Any:
        attempt = real(*args, **named)
        river.release()
        return attempt

    monkeypatch.setattr(effects, "apply_hold", hold_and_be_released)
    river.settle()

    assert river.effects() == [("wms", State.RELEASED)]
    assert river.life().picked is not None


def test_a_late_release_does_not_undo_a_newer_hold(river):
    river.connect("qimen")
    river.add(wms=-10, picked=300)
    river.patrol()
    river.settle()
    river.outside.faults.switch("qimen", "order.pending", "http_503")
    river.stream.put(95, order_no="A1")
    river.patrol()
    river.settle()
    assert river.effects() == [("wms", State.RELEASING)]
    river.stream.put(30, order_no="A1")
    river.patrol()
    river.outside.faults.clear()

    for _ in range(4):
        river.settle(minutes=3)

    assert river.effects() == [("wms", State.RELEASED), ("wms", State.HELD)]
    assert river.life().picked is None


# -- whose, and how many -----------------------------------------------------------------------


def test_another_environment_is_left_alone(river):
    river.connect("qimen")
    river.add(wms=-10, picked=30)
    river.patrol()

    assert settle_effects(river.stream.world.other, **river.outside.tools) == 0
    assert river.effects() == [("wms", State.HOLDING)]
    with for_environment(river.stream.world.other):
        assert not reaches_outside()
        assert list_effects([river.last().hold]) == {}
        assert find_troubles([river.last().hold.order_id]) == {}


def test_the_statements_of_a_pass_do_not_grow_with_the_holds(river):
    river.connect("oms", "qimen")

    def count(prefix: str, number: int) -> int:
        for n in range(number):
            river.stream.put(30, order_no=f"{prefix}{n}")
        with CaptureQueriesContext(database) as caught:
            river.patrol()
        return len([q for q in caught if "SAVEPOINT" not in q["sql"]])

    count("WARM", 2)
    assert count("MANY", 20) == count("FEW", 2)
    with for_environment(river.environment):
        holds = list(Hold.objects.all())
        with CaptureQueriesContext(database) as caught:
            assert len(list_effects(holds)) == 24
        assert len(caught) == 1


def test_what_is_under_way_is_not_begun_beside_itself(river, monkeypatch):
    river.connect("qimen")
    river.add(wms=-10, picked=30)
    river.patrol()
    inside: list[int] = []
    real = effects.apply_hold

    def hold(*args: Any, **named: Any) -> Any:
        inside.append(settle_effects(river.environment, **river.outside.tools))
        return real(*args, **named)

    monkeypatch.setattr(effects, "apply_hold", hold)
    river.settle()

    assert inside == [0]
    assert river.effects() == [("wms", State.HELD)]
