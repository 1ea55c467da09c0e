"""`receive()`: idempotent, order-free, all or nothing, one environment, a fixed number of queries."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from config.secrets import decrypt
from config.tenancy.scope import ScopeMissing, for_environment
from connectors.orders import intake
from connectors.orders.canonical import CanonicalLine, CanonicalPayment, CanonicalReceipt
from connectors.orders.models import (
    RAW_PURPOSE,
    NodePassage,
    Order,
    OrderLine,
    Payment,
    RawPayload,
    Receipt,
    StatusEvent,
)
from connectors.orders.services import MAX_BATCH, receive, receive_all, rewalk_orders
from connectors.orders.statuses import Stage
from connectors.shops.models import Shop
from tests.factories import NOW, canonical_order, make_sources

TABLES = (Order, OrderLine, Payment, Receipt, StatusEvent, NodePassage, RawPayload, Shop)


@pytest.fixture
def env(world):
    """The production environment, in scope."""
    with for_environment(world.production):
        yield world.production


def contents() -> dict[str, list[dict]]:
    return {m.__name__: list(m.objects.order_by("pk").values()) for m in TABLES}


def passages(number: str) -> dict[str, tuple]:
    rows = NodePassage.objects.filter(order__order_no=number)
    return {p.node: (p.entered_at, p.left_at, p.is_inferred) for p in rows}


def test_an_order_comes_in_with_all_that_hangs_on_it(env):
    source = make_sources()["channel"]
    payment = CanonicalPayment(order_no="A1", payment_id="1", amount_fen=32700)
    record = canonical_order(order_no="A1", payments=(payment,), raw={"tid": "A1", "名": "值"})

    received = receive([record], source=source, now=NOW)

    order = Order.objects.get()
    assert (received.new, received.order_ids) == (1, (order.pk,))
    assert (order.revision, order.is_open, order.is_history) == (1, True, False)
    assert order.phone_tail == record.receiver_phone[-4:]
    assert order.reveal_receiver() == {
        "name": "王小明",
        "phone": record.receiver_phone,
        "address": record.address_detail,
    }
    assert record.receiver_phone not in order.phone_sealed
    assert order.deadline_at == record.promised_ship_at
    assert order.lines.get().price_fen == 32700
    assert order.payments.get().is_gateway is False
    assert order.events.get().stage == Stage.AWAIT_SHIP
    sealed = order.payloads.get().sealed
    assert decrypt(sealed, purpose=RAW_PURPOSE) == '{"tid": "A1", "名": "值"}'


def test_repeating_a_batch_changes_nothing(env):
    sources = make_sources()
    batches = [
        (sources["channel"], [canonical_order(order_no=f"A{i}") for i in range(5)]),
        (sources["gateway"], [CanonicalPayment(order_no="A1", payment_id="p", paid_at=NOW)]),
        (sources["oms"], [CanonicalReceipt(order_no="A1", received_at=NOW)]),
    ]
    for source, records in batches:
        receive(records, source=source, now=NOW)
    before = contents()

    again = [receive(r, source=s, now=NOW + timedelta(hours=1)) for s, r in batches]

    assert [(r.new, r.updated, r.unchanged, r.order_ids) for r in again] == [
        (0, 0, 5, ()),
        (0, 0, 1, ()),
        (0, 0, 1, ()),
    ]
    assert contents() == before


def test_a_change_raises_the_revision_and_replaces_the_lines(env):
    source = make_sources()["channel"]
    first = canonical_order(
        order_no="A1", lines=(CanonicalLine("1", sku="S1"), CanonicalLine("2", sku="S2"))
    )
    receive([first], source=source, now=NOW)

    changed = replace(
        first, stage=Stage.SHIPPED, shipped_at=NOW, lines=(CanonicalLine("2", sku="S3"),)
    )
    received = receive([changed], source=source, now=NOW + timedelta(minutes=1))

    order = Order.objects.get()
    assert (received.updated, order.revision) == (1, 2)
    assert [(line.line_id, line.sku) for line in order.lines.all()] == [("2", "S3")]
    assert [(e.sequence, e.stage) for e in order.events.order_by("sequence")] == [
        (1, Stage.AWAIT_SHIP),
        (2, Stage.SHIPPED),
    ]
    assert order.first_received_at == NOW


def test_an_older_state_of_an_order_is_ignored(env):
    source = make_sources()["channel"]
    newer = canonical_order(order_no="A1", stage=Stage.SHIPPED, source_updated_at=NOW)
    receive([newer], source=source, now=NOW)
    before = contents()

    older = replace(newer, stage=Stage.AWAIT_PAY, source_updated_at=NOW - timedelta(minutes=5))
    received = receive([older], source=source, now=NOW)

    assert (received.stale, received.order_ids) == (1, ())
    after = contents()
    for rows in (before, after):
        rows["Order"][0].pop("hold_log")  # noted, and no change
    assert after == before


@pytest.mark.parametrize("is_order_first", [True, False])
def test_payment_and_receipts_meet_their_order_whoever_comes_first(env, is_order_first):
    sources = make_sources()
    paid_at = NOW - timedelta(minutes=20)
    order = [(sources["channel"], [canonical_order(order_no="A1", channel="private_mall")])]
    parts = [
        (
            sources["gateway"],
            [CanonicalPayment(order_no="A1", payment_id="p", amount_fen=5, paid_at=paid_at)],
        ),
        (sources["oms"], [CanonicalReceipt(order_no="A1", received_at=NOW, reviewed_at=NOW)]),
        (sources["wms"], [CanonicalReceipt(order_no="A1", received_at=NOW)]),
    ]

    results = [
        receive(records, source=source, now=NOW)
        for source, records in (order + parts if is_order_first else parts + order)
    ]

    assert [r.waiting for r in results] == [0, 0, 0, 0] if is_order_first else [1, 1, 1, 0]
    stored = Order.objects.get()
    assert (stored.gateway_paid_at, stored.gateway_paid_fen) == (paid_at, 5)
    assert (stored.oms_reviewed_at, stored.wms_received_at, stored.node) == (NOW, NOW, "picking")
    assert Payment.objects.get().order_id == stored.pk
    assert set(Receipt.objects.values_list("order_id", flat=True)) == {stored.pk}


def test_an_order_and_its_receipt_may_share_a_batch(env):
    source = make_sources()["oms"]

    receive(
        [CanonicalReceipt(order_no="A1", received_at=NOW), canonical_order(order_no="A1")],
        source=source,
        now=NOW,
    )

    assert Order.objects.get().oms_received_at == NOW
    assert Receipt.objects.get().order.order_no == "A1"


def test_the_passages_say_when_each_node_was_entered_and_left(env):
    sources = make_sources()
    placed = NOW - timedelta(hours=1)
    reviewed = NOW - timedelta(minutes=30)
    receive([canonical_order(order_no="A1", placed_at=placed)], source=sources["channel"], now=NOW)
    assert Order.objects.get().node == "callback"

    receive(
        [CanonicalReceipt(order_no="A1", received_at=reviewed, reviewed_at=reviewed)],
        source=sources["oms"],
        now=NOW,
    )

    order = Order.objects.get()
    assert (order.node, order.node_entered_at) == ("wms_push", reviewed)
    found = passages("A1")
    assert found["payment"] == (placed, placed + timedelta(minutes=2), False)
    assert found["callback"][1] == reviewed
    assert found["wms_push"] == (reviewed, None, False)
    assert "picking" not in found


def test_a_closed_order_stands_nowhere(env):
    source = make_sources()["channel"]
    record = canonical_order(order_no="A1")
    receive([record], source=source, now=NOW)

    receive([replace(record, stage=Stage.CLOSED_REFUNDED, closed_at=NOW)], source=source, now=NOW)

    order = Order.objects.get()
    assert (order.is_open, order.node, order.node_entered_at) == (False, "", None)
    assert NodePassage.objects.filter(left_at=None).count() == 0


def test_a_batch_that_is_too_large_is_refused_whole(env):
    source = make_sources()["channel"]

    with pytest.raises(ValueError, match="at most 500"):
        receive([canonical_order()] * (MAX_BATCH + 1), source=source, now=NOW)

    assert Order.objects.count() == 0


def test_any_number_of_records_is_received_in_batches(env):
    source = make_sources()["channel"]

    received = receive_all(
        (canonical_order(order_no=f"B{i}") for i in range(MAX_BATCH + 7)), source=source, now=NOW
    )

    assert (received.new, Order.objects.count()) == (MAX_BATCH + 7, MAX_BATCH + 7)


@pytest.mark.parametrize(
    "step",
    [
        "_save_orders",
        "_save_children",
        "_save_parts",
        "_save_events",
        "_save_passages",
        "_save_raw",
    ],
)
def test_a_worker_that_dies_between_two_lines_leaves_nothing(world, monkeypatch, step):
    with for_environment(world.production):
        source = make_sources()["channel"]
        receive([CanonicalReceipt(order_no="A1", received_at=NOW)], source=source, now=NOW)
        before = contents()
        real = getattr(intake.Batch, step)

        def run_and_die(self, *args):
            real(self, *args)
            raise KeyboardInterrupt

        monkeypatch.setattr(intake.Batch, step, run_and_die)
        with pytest.raises(KeyboardInterrupt):
            receive([canonical_order(order_no="A1", raw={"a": 1})], source=source, now=NOW)

        assert contents() == before
        monkeypatch.undo()
        receive([canonical_order(order_no="A1", raw={"a": 1})], source=source, now=NOW)
        assert Order.objects.get().revision == 1


def test_the_same_number_lives_in_two_environments(world):
    for environment in (world.production, world.other):
        with for_environment(environment):
            source = make_sources()["channel"]
            receive([canonical_order(order_no="A1")], source=source, now=NOW)
    with for_environment(world.production):
        receive(
            [canonical_order(order_no="A1", paid_fen=1)],
            source=make_sources()["channel"],
            now=NOW,
        )
        assert [(o.revision, o.paid_fen) for o in Order.objects.all()] == [(2, 1)]
    with for_environment(world.other):
        assert [(o.revision, o.paid_fen) for o in Order.objects.all()] == [(1, 32700)]
    with for_environment(world.staging):
        assert Order.objects.count() == 0


def test_nothing_is_received_outside_a_scope(world):
    with for_environment(world.production):
        source = make_sources()["channel"]

    with pytest.raises(ScopeMissing):
        receive([canonical_order()], source=source, now=NOW)


def test_one_number_in_two_shops_is_two_orders(env):
    source = make_sources()["channel"]

    receive(
        [canonical_order(order_no="A1", shop="甲"), canonical_order(order_no="A1", shop="乙")],
        source=source,
        now=NOW,
    )

    assert set(Order.objects.values_list("shop__name", "order_no")) == {("甲", "A1"), ("乙", "A1")}


def test_other_open_orders_of_a_buyer_become_due(env):
    source = make_sources()["channel"]
    receive(
        [
            canonical_order(order_no="A1", buyer="b"),
            canonical_order(order_no="A2", buyer="b", stage=Stage.CLOSED_UNPAID),
            canonical_order(order_no="A3", buyer="c"),
        ],
        source=source,
        now=NOW,
    )

    elsewhere = canonical_order(order_no="A4", buyer="b", address_detail="中山路 1 号")
    receive([elsewhere], source=source, now=NOW)

    assert dict(Order.objects.values_list("order_no", "revision")) == {
        "A1": 2,
        "A2": 1,
        "A3": 1,
        "A4": 1,
    }


def test_a_batch_costs_a_fixed_number_of_queries(env):
    sources = make_sources()

    def cost(count: int, stem: str) -> list[int]:
        numbers = [f"{stem}{i}" for i in range(count)]
        receipts = [CanonicalReceipt(order_no=n, received_at=NOW) for n in numbers]
        orders = [canonical_order(order_no=n, raw={"n": n}) for n in numbers]
        costs = []
        for source, records in (
            (sources["oms"], receipts),
            (sources["channel"], orders),
            (sources["channel"], [replace(o, paid_fen=1) for o in orders]),
            (sources["wms"], receipts),
        ):
            with CaptureQueriesContext(connection) as queries:
                receive(records, source=source, now=NOW)
            # Growing tables let PostgreSQL plan anew now and then (config/tenancy/bulk.py).
            costs.append(sum(query["sql"] != "DISCARD PLANS" for query in queries))
        return costs

    cost(1, "W")  # shops and statements are made once
    few, many = cost(3, "A"), cost(200, "B")

    assert few == many
    assert max(many) <= 40


def test_open_orders_are_walked_again_with_what_is_connected_now(world):
    with for_environment(world.production):
        from connectors.shops.services import get_or_create_source, record_freshness

        channel = get_or_create_source(kind="channel", name="c")
        receive(
            [canonical_order(order_no=f"A{i}") for i in range(3)]
            + [canonical_order(order_no="Z", stage=Stage.COMPLETED)],
            source=channel,
            now=NOW,
        )
        assert "callback" not in set(Order.objects.values_list("node", flat=True))
        oms = get_or_create_source(kind="oms", name="o")
        record_freshness(oms, complete_until=NOW, now=NOW)

        after = rewalk_orders(now=NOW, limit=2)
        assert Order.objects.filter(node="callback", revision=2).count() == 2
        assert rewalk_orders(now=NOW, after_id=after, limit=2) is not None
        assert rewalk_orders(now=NOW, after_id=10**9) is None
        assert rewalk_orders(now=NOW) is not None  # again: nothing moves

        assert set(Order.objects.waiting().values_list("node", "revision")) == {("callback", 2)}
        assert Order.objects.get(order_no="Z").revision == 1


def test_other_open_orders_of_an_address_and_of_a_presale_link_become_due(env):
    source = make_sources()["channel"]
    places = {"B1": "同仁路 5 号", "B2": "别处 1 号", "B3": "别处 2 号", "B4": "139****"}
    receive(
        [canonical_order(order_no=n, address_detail=a) for n, a in places.items()],
        source=source,
        now=NOW,
    )

    told = [
        canonical_order(order_no="B5", address_detail="同仁路5号", parent_no="B2"),
        canonical_order(order_no="B6", address_detail="139****"),
    ]
    receive(told, source=source, now=NOW)

    revisions = dict(Order.objects.values_list("order_no", "revision"))
    assert revisions == {"B1": 2, "B2": 2, "B3": 1, "B4": 1, "B5": 1, "B6": 1}


def test_an_address_shared_by_many_marks_a_bounded_number(env, monkeypatch):
    monkeypatch.setattr("connectors.orders.intake.MAX_RELATED_MARKED", 3)
    source = make_sources()["channel"]
    orders = [canonical_order(order_no=f"C{n}", address_detail="货站 1 号") for n in range(7)]
    receive(orders[:6], source=source, now=NOW)

    receive(orders[6:], source=source, now=NOW)

    assert Order.objects.filter(revision=2).count() == 3


@pytest.mark.parametrize("detail", ["", "文一西路***", None])
def test_a_hidden_address_has_no_index(env, detail):
    source = make_sources()["channel"]
    receive([canonical_order(address_detail=detail or "")], source=source, now=NOW)

    assert Order.objects.get().address_index == ""


def test_of_two_payments_with_one_number_in_a_batch_the_last_counts_and_neighbours_pass(env):
    source = make_sources()["channel"]
    twice = tuple(
        CanonicalPayment(order_no="D1", payment_id="P", amount_fen=fen, paid_at=NOW)
        for fen in (100, 200)
    )

    told = receive(
        [canonical_order(order_no="D1", payments=twice), canonical_order(order_no="D2")],
        source=source,
        now=NOW,
    )

    assert told.new == 2
    assert [p.amount_fen for p in Payment.objects.filter(order_no="D1")] == [200]
