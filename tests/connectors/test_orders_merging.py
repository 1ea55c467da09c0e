"""Messages that are repeated, late and overtake each other: the same rows in the end."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from config.secrets import decrypt
from config.tenancy.scope import for_environment
from connectors.orders.canonical import CanonicalOrder, CanonicalPayment, CanonicalReceipt
from connectors.orders.models import (
    RAW_PURPOSE,
    NodePassage,
    Order,
    OrderLine,
    Payment,
    Receipt,
)
from connectors.orders.services import receive
from connectors.orders.statuses import PaymentStatus, Stage
from tests.factories import NOW, canonical_order, make_sources

MINUTE = timedelta(minutes=1)
SECRETLY = {"name_sealed", "phone_sealed", "address_sealed"}
# When and how often something came, and the keys of rows: not what is known of an order.
BOOKKEEPING = {
    "id", "public_id", "revision", "received_at", "first_received_at", "recorded_at", "order_id",
    "told", "hold_log", "shop_id", "environment_id", "tenant_id",
} | SECRETLY  # fmt: skip


@pytest.fixture
def env(world):
    with for_environment(world.production):
        yield world.production


def told_rows() -> dict[str, list[dict[str, Any]]]:
    """Everything known, without bookkeeping, in an order that does not depend on arrival."""
    rows = {}
    for model in (Order, OrderLine, Payment, Receipt, NodePassage):
        found = [
            {name: value for name, value in row.items() if name not in BOOKKEEPING}
            for row in model.objects.values()
        ]
        rows[model.__name__] = sorted(found, key=repr)
    return rows


def take(sources, messages) -> None:
    for at, (kind, record) in enumerate(messages):
        receive([record], source=sources[kind], now=NOW + at * timedelta(seconds=1))


def tell(*messages) -> list[tuple[str, Any]]:
    return list(messages)


def make_life() -> list[tuple[str, Any]]:
    """What channel, gateway, OMS and WMS tell of one order in its life, a message each."""
    start = NOW - timedelta(hours=6)
    order = canonical_order(order_no="M1", placed_at=start, paid_at=None, paid_fen=None)

    def state(minutes: int, stage: str, **changes: Any) -> tuple[str, CanonicalOrder]:
        at = start + minutes * MINUTE
        return "channel", replace(order, stage=stage, source_updated_at=at, **changes)

    paid = {"paid_at": start + 2 * MINUTE, "paid_fen": 32700}
    platform = CanonicalPayment("M1", "alipay-1", amount_fen=32700, paid_at=paid["paid_at"])
    sent = {**paid, "shipped_at": start + 90 * MINUTE}

    def gateway(status: str, at: int | None, **changes: Any) -> tuple[str, CanonicalPayment]:
        moment = None if at is None else start + at * MINUTE
        return "gateway", CanonicalPayment(
            "M1", "g1", method="支付宝", status=status, source_updated_at=moment, **changes
        )

    def report(state: str, at: int, rank: int, **moments: int) -> tuple[str, CanonicalReceipt]:
        return "wms", CanonicalReceipt(
            "M1",
            custom={"wms_state": state},
            source_updated_at=start + at * MINUTE,
            rank=rank,
            **{name: start + m * MINUTE for name, m in moments.items()},
        )

    return tell(
        state(0, Stage.AWAIT_PAY),
        state(2, Stage.PLATFORM_HOLD, risk_state="风控审核中", payments=(platform,), **paid),
        state(9, Stage.AWAIT_SHIP, payments=(platform,), **paid),
        state(90, Stage.SHIPPED, payments=(platform,), **sent),
        state(
            200,
            Stage.SHIPPED,
            **{**sent, "paid_fen": 30000, "is_paid_reduced": True},
            payments=(replace(platform, amount_fen=None),),
        ),
        gateway(PaymentStatus.PENDING, None, amount_fen=None),
        gateway(PaymentStatus.PAID, 2, amount_fen=32700, paid_at=start + 2 * MINUTE),
        gateway(
            PaymentStatus.REFUNDED,
            200,
            amount_fen=32700,
            paid_at=start + 2 * MINUTE,
            custom={"transaction_id": "4200"},
        ),
        ("oms", CanonicalReceipt("M1", received_at=start + 12 * MINUTE)),
        ("oms", CanonicalReceipt("M1", reviewed_at=start + 20 * MINUTE)),
        report("ACCEPT", 30, 1, received_at=30),
        report("PRINT", 40, 2),
        report("PICK", 40, 3, picked_at=40),
        report("PICK", 47, 3, picked_at=47),
        report("DELIVERED", 80, 9, shipped_at=80),
    )


def test_any_order_and_repetition_of_the_same_messages_ends_in_the_same_rows(env):
    sources, life = make_sources(), make_life()

    def rows_after(messages):
        with transaction.atomic():
            take(sources, messages)
            found = told_rows()
            transaction.set_rollback(True)
        return found

    expected = rows_after(life)

    @settings(
        max_examples=30,
        deadline=None,
        # shrinking asks the database for minutes
        phases=[Phase.explicit, Phase.reuse, Phase.generate],
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(st.data())
    def ends_in_the_same_rows(data):
        repeated = data.draw(st.lists(st.sampled_from(life), max_size=6))
        assert rows_after(data.draw(st.permutations([*life, *repeated]))) == expected

    ends_in_the_same_rows()


def test_a_whole_life_in_one_batch_ends_as_message_by_message(env):
    sources, life = make_sources(), make_life()
    for kind in ("wms", "oms", "gateway", "channel"):
        records = [record for k, record in reversed(life) if k == kind]
        receive(records, source=sources[kind], now=NOW)
    at_once = told_rows()
    Order.objects.all().delete()

    take(sources, life)

    assert told_rows() == at_once


def test_a_pick_after_an_accept_keeps_when_it_was_accepted(env):
    wms = make_sources()["wms"]
    accepted, picked = NOW - timedelta(hours=2), NOW - timedelta(hours=1)
    receive([canonical_order(order_no="M1")], source=make_sources()["channel"], now=NOW)

    receive([CanonicalReceipt("M1", received_at=accepted)], source=wms, now=NOW)
    receive([CanonicalReceipt("M1", picked_at=picked)], source=wms, now=NOW)

    receipt = Receipt.objects.get()
    assert (receipt.received_at, receipt.picked_at) == (accepted, picked)
    order = Order.objects.get()
    assert (order.wms_received_at, order.picked_at) == (accepted, picked)


def test_a_late_report_overwrites_no_newer_state(env):
    wms = make_sources()["wms"]
    picked = CanonicalReceipt(
        "M1", picked_at=NOW, custom={"wms_state": "PICK"}, source_updated_at=NOW
    )
    late = CanonicalReceipt(
        "M1",
        received_at=NOW - MINUTE,
        custom={"wms_state": "ACCEPT", "note": "x"},
        source_updated_at=NOW - MINUTE,
    )

    receive([picked], source=wms, now=NOW)
    receive([late], source=wms, now=NOW + MINUTE)

    receipt = Receipt.objects.get()
    assert receipt.custom == {"wms_state": "PICK", "note": "x"}
    assert (receipt.received_at, receipt.source_updated_at) == (NOW - MINUTE, NOW)


def test_only_a_correction_moves_a_moment_to_later(env):
    wms = make_sources()["wms"]
    receive([CanonicalReceipt("M1", picked_at=NOW)], source=wms, now=NOW)

    receive([CanonicalReceipt("M1", picked_at=NOW + MINUTE)], source=wms, now=NOW)
    assert Receipt.objects.get().picked_at == NOW
    receive(
        [CanonicalReceipt("M1", picked_at=NOW + 2 * MINUTE, is_correction=True)],
        source=wms,
        now=NOW,
    )
    assert Receipt.objects.get().picked_at == NOW + 2 * MINUTE
    receive([CanonicalReceipt("M1", picked_at=NOW)], source=wms, now=NOW)
    assert Receipt.objects.get().picked_at == NOW + 2 * MINUTE


@pytest.mark.parametrize(
    ("first", "late", "stands"),
    [
        ("paid", "pending", "paid"),
        ("paid", "unknown", "paid"),
        ("refunded", "paid", "refunded"),
        ("paid", "refunded", "refunded"),
        ("closed", "paid", "paid"),
        ("pending", "paid", "paid"),
    ],
)
def test_a_late_word_of_a_gateway_undoes_no_later_state(env, first, late, stands):
    gateway = make_sources()["gateway"]
    receive([canonical_order(order_no="M1")], source=make_sources()["channel"], now=NOW)
    paid = CanonicalPayment("M1", "g", status=first, amount_fen=5, paid_at=NOW - MINUTE)

    receive([paid], source=gateway, now=NOW)
    receive([CanonicalPayment("M1", "g", status=late)], source=gateway, now=NOW + MINUTE)

    payment = Payment.objects.get()
    assert (payment.status, payment.amount_fen, payment.paid_at) == (stands, 5, NOW - MINUTE)
    order = Order.objects.get()
    assert order.gateway_status == stands
    assert order.gateway_paid_at == (NOW - MINUTE if stands in {"paid", "refunded"} else None)


def test_of_closed_and_paid_the_later_by_the_gateways_own_time_counts(env):
    gateway = make_sources()["gateway"]
    closed = CanonicalPayment("M1", "g", status="closed", source_updated_at=NOW)
    paid = CanonicalPayment("M1", "g", status="paid", source_updated_at=NOW - MINUTE)

    for records in ([closed], [paid]):
        receive(records, source=gateway, now=NOW)

    assert Payment.objects.get().status == "closed"


@pytest.mark.parametrize("is_refund_first", [True, False])
def test_what_was_paid_first_outlives_a_refund(env, is_refund_first):
    channel = make_sources()["channel"]
    paid = canonical_order(order_no="M1", source_updated_at=NOW - MINUTE)
    refunded = replace(paid, paid_fen=12000, is_paid_reduced=True, source_updated_at=NOW)

    for record in [refunded, paid] if is_refund_first else [paid, refunded]:
        receive([record], source=channel, now=NOW)

    assert Order.objects.get().paid_fen == 32700


def test_an_order_first_seen_after_its_refund_shows_what_is_left(env):
    channel = make_sources()["channel"]

    receive([canonical_order(paid_fen=12000, is_paid_reduced=True)], source=channel, now=NOW)

    assert Order.objects.get().paid_fen == 12000


def test_of_two_states_of_one_second_the_further_one_stands(env):
    channel = make_sources()["channel"]
    unpaid = canonical_order(order_no="M1", stage=Stage.AWAIT_PAY, source_updated_at=NOW)
    paid = replace(unpaid, stage=Stage.AWAIT_SHIP)

    receive([paid], source=channel, now=NOW)
    told = receive([unpaid], source=channel, now=NOW)

    assert (told.stale, Order.objects.get().stage) == (1, Stage.AWAIT_SHIP)


def test_halves_of_characters_and_nul_are_stored_as_what_can_be_stored(env):
    sources = make_sources()
    bad = "好\ud83d\x00\U0001f600"
    record = canonical_order(
        order_no="M1",
        remark=bad,
        receiver_name=bad,
        address_detail=bad,
        custom={"note": bad},
        raw={"备注": bad, "深": [{"\udc00": "\x00"}]},
    )

    first = receive([record], source=sources["channel"], now=NOW)
    again = receive([record], source=sources["channel"], now=NOW)
    receive(
        [CanonicalReceipt("M1", received_at=NOW, custom={"wms_state": bad})],
        source=sources["wms"],
        now=NOW,
    )

    order = Order.objects.get()
    assert (first.new, again.unchanged) == (1, 1)
    assert (order.remark, order.custom) == ("好?😀", {"note": "好?😀"})
    assert order.reveal_receiver()["name"] == "好?😀"
    assert '"备注": "好?😀"' in decrypt(order.payloads.get().sealed, purpose=RAW_PURPOSE)
    assert Receipt.objects.get().custom == {"wms_state": "好?😀"}


def test_a_raw_payload_alone_may_hold_half_a_character(env):
    record = canonical_order(raw={"备注": "好\ud83d", "x": "\x00"})

    receive([record], source=make_sources()["channel"], now=NOW)

    raw = decrypt(Order.objects.get().payloads.get().sealed, purpose=RAW_PURPOSE)
    assert raw == '{"备注": "好?", "x": "\\u0000"}'


def test_merging_stays_inside_its_environment(world):
    report = CanonicalReceipt("M1", received_at=NOW)
    for environment in (world.production, world.staging):
        with for_environment(environment):
            receive([report], source=make_sources()["wms"], now=NOW)
    with for_environment(world.production):
        receive(
            [CanonicalReceipt("M1", received_at=NOW - MINUTE)],
            source=make_sources()["wms"],
            now=NOW,
        )
        assert Receipt.objects.get().received_at == NOW - MINUTE
    with for_environment(world.staging):
        assert Receipt.objects.get().received_at == NOW
