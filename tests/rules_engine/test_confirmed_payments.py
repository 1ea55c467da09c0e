"""A payment that became known late: the OMS is given its time from then on, not from the payment."""

from __future__ import annotations

import pytest

from connectors.orders.statuses import PaymentStatus
from tests.rules_engine.river import NOW, feeds_at, hours, judge, minutes, tell

PAID = NOW - hours(3)  # the gateway's callback was lost; asked, it confirmed at NOW
LOCKED = {"stock_available": 5, "locked_at": NOW}
FOUND = {
    "channel": "private_mall",
    "placed_at": PAID - minutes(2),
    "gateway_paid_at": PAID,
    "gateway_status": PaymentStatus.PAID,
    "paid_at": PAID,
    "approved_at": NOW,
}


@pytest.mark.parametrize("preset", ["promo", "five_dimensions"])
@pytest.mark.parametrize("after", [0, 1, 14])
def test_an_order_whose_lost_callback_was_found_is_well_while_the_oms_takes_it_in(
    preset: str, after: float
) -> None:
    now = NOW + minutes(after)

    seen = judge(preset, tell(lines=[LOCKED], **FOUND), now=now, feeds=feeds_at(now))

    assert (seen.band, seen.cause, seen.is_silent) == ("healthy", "", False), seen.reasons


def test_an_order_the_oms_never_takes_in_counts_from_the_confirmation() -> None:
    line = {"stock_available": 5, "locked_at": NOW}

    def cause_after(count: float) -> str:
        now = NOW + minutes(count)
        return judge("promo", tell(lines=[line], **FOUND), now=now, feeds=feeds_at(now)).cause

    assert [cause_after(14.9), cause_after(15)] == ["", "OMS未接收"]


def test_stock_that_cannot_be_locked_counts_from_the_confirmation_too() -> None:
    short = {"quantity": 3, "stock_available": 2}

    def cause_after(count: float) -> str:
        now = NOW + minutes(count)
        told = tell(lines=[short], oms_received_at=NOW, **FOUND)
        return judge("promo", told, now=now, feeds=feeds_at(now)).cause

    assert [cause_after(9.9), cause_after(10)] == ["", "库存冲突"]
