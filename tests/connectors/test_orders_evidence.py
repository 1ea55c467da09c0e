"""What an order's columns say of its way: since when its shop knows of the payment."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import permutations

import pytest

from connectors.orders.evidence import confirmed_at, evidence_of, note_hold, note_review, ready_at
from connectors.orders.models import NodePassage, Order
from connectors.orders.nodes import walk
from connectors.orders.statuses import Stage
from connectors.simulators.life import Life, LifeLine
from tests.factories import World, for_environment
from tests.lives import take_lives

T = datetime(2025, 11, 11, 1, 0, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


@pytest.mark.parametrize(
    ("paid", "confirmed", "released", "known", "ready"),
    [
        (None, None, None, None, None),
        (None, 3, 5, None, None),  # a confirmation of what nobody dates: not paid as far as told
        (0, None, None, 0, 0),
        (0, None, 9, 0, 9),
        (0, 120, None, 120, 120),  # the callback was lost for two hours
        (0, 120, 30, 120, 120),
        (0, 120, 150, 120, 150),
        (5, 2, None, 5, 5),  # of a presale: the deposit's confirmation is not the balance's
    ],
)
def test_work_begins_when_the_payment_is_known_and_the_platform_has_let_go(
    paid: int | None,
    confirmed: int | None,
    released: int | None,
    known: int | None,
    ready: int | None,
) -> None:
    def at(minutes: int | None) -> datetime | None:
        return None if minutes is None else T + minutes * MINUTE

    order = Order(paid_at=at(paid), approved_at=at(confirmed), released_at=at(released))

    assert (confirmed_at(order), ready_at(order)) == (at(known), at(ready))


@pytest.mark.parametrize(
    ("states", "began"),
    [
        ("R", None),  # reviewed ever since it is known: from the payment
        ("CRR", 1),
        ("CCRR", 2),
        ("RCR", 2),  # let go and reviewed again
        ("CRCRR", 3),
        ("CRC", None),  # over
    ],
)
def test_a_review_is_dated_the_same_whatever_the_order_its_states_arrive_in(
    states: str, began: int | None
) -> None:
    """C: a state without a review, R: one with it; a minute apart."""
    for arrival in permutations(enumerate(states)):
        order = Order()
        for minute, state in arrival:
            told = {"told_at": T + minute * MINUTE, "now": T + HOUR}
            note_review(order, is_reviewed=state == "R", **told)
            note_hold(order, is_held=state == "R", **told)

        assert order.review_at == (None if began is None else T + began * MINUTE), arrival
        is_over = states.endswith("C") and "R" in states
        assert (order.released_at is not None) == is_over


def test_an_order_stands_at_risk_control_from_when_its_review_began() -> None:
    values = {"channel": "tmall", "stage": Stage.PLATFORM_HOLD, "risk_state": "风控审核中"}
    order = Order(placed_at=T, paid_at=T + MINUTE, **values)
    for review_at, entered in (
        (None, T + MINUTE),
        (T, T + MINUTE),  # reviewed before it was paid
        (T + HOUR, T + HOUR),
    ):
        order.review_at = review_at

        last = walk(evidence_of(order, [], {"channel", "oms"}))[-1]

        assert (last.node, last.entered_at, last.left_at) == ("risk", entered, None)


@pytest.mark.django_db
def test_an_order_leaves_the_callback_node_when_its_mall_learns_of_the_payment(
    world: World,
) -> None:
    """Not at the payment: standing at the next node for two hours already, it would be silent."""
    life = Life(
        order_no="110000000077",
        channel="private_mall",
        shop="私域小程序商城",
        placed=T,
        lines=[LifeLine("SKU1", "羊绒围巾", 1, 10_000)],
        gateway="alipay",
        gateway_paid=T + MINUTE,
        paid=T + 2 * HOUR,  # somebody asked the gateway
        reviewed=None,
    )
    environment = world.production

    def passages() -> list[tuple[str, datetime, datetime | None]]:
        with for_environment(environment, write=False):
            rows = NodePassage.objects.order_by("entered_at", "pk")
            return [
                (row.node, row.entered_at, row.left_at)
                for row in rows
                if row.node in {"callback", "oms_review"}
            ]

    take_lives(environment, [life], now=T + HOUR)
    before = passages()
    take_lives(environment, [life], now=T + 2 * HOUR + MINUTE)

    assert before == [("callback", T + MINUTE, None)]
    assert passages() == [
        ("callback", T + MINUTE, T + 2 * HOUR),
        ("oms_review", T + 2 * HOUR, None),
    ]
    with for_environment(world.staging, write=False):
        assert not NodePassage.objects.exists()
