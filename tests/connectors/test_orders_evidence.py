"""What an order's columns say of its way: since when its shop knows of the payment."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from connectors.orders.evidence import confirmed_at, ready_at
from connectors.orders.models import NodePassage, Order
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
