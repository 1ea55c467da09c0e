"""Status events: observed with their lag, inferred where times prove them, corrected."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from config.tenancy.scope import for_environment
from connectors.orders.models import Order, StatusEvent
from connectors.orders.services import receive
from connectors.orders.statuses import PresalePhase, Stage
from tests.factories import NOW, canonical_order, make_sources

START = NOW - timedelta(hours=5)


def at(minutes: float):
    return START + timedelta(minutes=minutes)


@pytest.fixture
def env(world):
    with for_environment(world.production):
        yield world.production


def events():
    return [
        (e.kind, e.stage, e.occurred_at) for e in StatusEvent.objects.order_by("order", "sequence")
    ]


def state(minutes: float, stage: str, **changes):
    values = {"placed_at": START, "paid_at": None, "paid_fen": None} | changes
    return canonical_order(order_no="E1", stage=stage, source_updated_at=at(minutes), **values)


def take(*records, now=NOW, is_reread=False):
    source = make_sources()["channel"]
    for record in records:
        receive([record], source=source, now=now, is_reread=is_reread)


def test_stages_nobody_saw_are_inferred_from_the_order_s_own_times(env):
    paid = {"paid_at": at(2), "paid_fen": 1}

    take(state(0, Stage.AWAIT_PAY), state(95, Stage.DELIVERED, shipped_at=at(60),
                                          delivered_at=at(90), **paid))  # fmt: skip

    assert events() == [
        ("observed", Stage.AWAIT_PAY, at(0)),
        ("inferred", Stage.AWAIT_SHIP, at(2)),
        ("inferred", Stage.SHIPPED, at(60)),
        ("observed", Stage.DELIVERED, at(90)),
    ]


def test_a_presale_s_deposit_is_inferred_and_an_ordinary_order_has_none(env):
    take(
        state(0, Stage.AWAIT_PAY, presale_phase=PresalePhase.DEPOSIT_DUE),
        state(
            90,
            Stage.AWAIT_SHIP,
            presale_phase=PresalePhase.BALANCE_PAID,
            deposit_paid_at=at(3),
            paid_at=at(80),
        ),
    )

    assert [stage for _kind, stage, _at in events()] == ["await_pay", "deposit_paid", "await_ship"]


def test_a_time_that_runs_backwards_proves_nothing(env):
    take(
        state(0, Stage.AWAIT_PAY),
        state(95, Stage.DELIVERED, paid_at=at(99), shipped_at=at(60), delivered_at=at(90)),
    )

    assert [stage for _kind, stage, _at in events()] == ["await_pay", "shipped", "delivered"]


def test_every_state_of_one_batch_is_observed(env):
    source = make_sources()["channel"]
    paid = {"paid_at": at(2), "paid_fen": 1}

    receive(
        [
            state(0, Stage.AWAIT_PAY),
            state(5, Stage.PLATFORM_HOLD, risk_state="审核", **paid),
            state(9, Stage.AWAIT_SHIP, **paid),
        ],
        source=source,
        now=NOW,
    )

    assert events() == [
        ("observed", Stage.AWAIT_PAY, at(0)),
        ("observed", Stage.PLATFORM_HOLD, at(5)),
        ("observed", Stage.AWAIT_SHIP, at(9)),  # released, not paid
    ]


def test_what_a_source_takes_back_is_a_correction(env):
    paid = {"paid_at": at(2), "paid_fen": 1}
    take(
        state(3, Stage.AWAIT_SHIP, **paid),
        state(60, Stage.SHIPPED, shipped_at=at(60), **paid),
        state(70, Stage.AWAIT_SHIP, **paid),
        state(80, Stage.PLATFORM_HOLD, **paid),
    )

    assert [(kind, stage) for kind, stage, _at in events()] == [
        ("observed", Stage.AWAIT_SHIP),
        ("observed", Stage.SHIPPED),
        ("corrected", Stage.AWAIT_SHIP),
        ("observed", Stage.PLATFORM_HOLD),
    ]
    assert events()[2][2] == at(70)


def test_the_same_state_read_anew_corrects_its_stage(env):
    unknown = state(5, Stage.UNKNOWN, raw_status="NEW", paid_at=at(2))
    take(unknown)
    take(replace(unknown, stage=Stage.AWAIT_SHIP), is_reread=True, now=NOW + timedelta(minutes=1))

    assert [(kind, stage) for kind, stage, _at in events()] == [
        ("observed", Stage.UNKNOWN),
        ("corrected", Stage.AWAIT_SHIP),
    ]
    order = Order.objects.get()
    assert (order.stage, order.revision) == (Stage.AWAIT_SHIP, 2)


def test_a_stage_read_anew_may_also_go_back(env):
    shipped = state(5, Stage.SHIPPED, raw_status="X", paid_at=at(2))
    take(shipped)
    take(replace(shipped, stage=Stage.AWAIT_SHIP), is_reread=True)

    assert Order.objects.get().stage == Stage.AWAIT_SHIP
    assert [kind for kind, _stage, _at in events()] == ["observed", "corrected"]


def test_the_sequence_of_an_order_has_no_gap_and_no_tie(env):
    paid = {"paid_at": at(2), "paid_fen": 1}
    take(state(0, Stage.AWAIT_PAY), state(60, Stage.SHIPPED, shipped_at=at(60), **paid))
    take(
        state(70, Stage.AWAIT_SHIP, **paid), state(90, Stage.COMPLETED, delivered_at=at(85), **paid)
    )

    assert list(StatusEvent.objects.order_by("pk").values_list("sequence", flat=True)) == [
        1, 2, 3, 4, 5, 6,
    ]  # fmt: skip


def test_events_live_in_their_environment(world):
    for environment in (world.production, world.staging):
        with for_environment(environment):
            take(state(0, Stage.AWAIT_PAY))
    with for_environment(world.production):
        take(state(60, Stage.SHIPPED, paid_at=at(2), shipped_at=at(60)))
        assert len(events()) == 3
    with for_environment(world.staging):
        assert len(events()) == 1
