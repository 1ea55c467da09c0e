"""Golden payloads of Tmall through the real door: every one is stored, once, in its stage."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from config.tenancy.scope import for_environment
from connectors.channels.tmall.mapping import map_order
from connectors.orders.canonical import CanonicalOrder
from connectors.orders.models import Order, OrderLine
from connectors.orders.services import receive
from tests.connectors.channels.test_tmall_mapping import CASES, map_case, trade_of
from tests.factories import World, make_sources

NOW = datetime(2025, 11, 11, 6, 32, tzinfo=UTC)


def renumbered(record: CanonicalOrder, order_no: str) -> CanonicalOrder:
    """The same order under a number of its own, its payments too."""
    payments = tuple(replace(payment, order_no=order_no) for payment in record.payments)
    return replace(record, order_no=order_no, payments=payments)


def test_every_golden_payload_is_stored_once_in_its_stage(world: World) -> None:
    records = [renumbered(map_case(case).record, f"T{n}") for n, case in enumerate(CASES)]

    with for_environment(world.staging, write=True):
        source = make_sources(NOW)["channel"]
        first = receive(records, source=source, now=NOW)
        again = receive(records, source=source, now=NOW)

        stored = dict(Order.objects.values_list("order_no", "stage"))
        lines = OrderLine.objects.count()

    assert (first.new, again.new, again.unchanged) == (len(CASES), 0, len(CASES))
    assert stored == {record.order_no: record.stage for record in records}
    assert lines == sum(len(record.lines) for record in records)


def test_older_answer_does_not_undo_a_newer_one(world: World) -> None:
    newer, older = (
        map_case("shipped").record,
        map_order(trade_of("unpaid"), shop="河道旗舰店").record,
    )

    with for_environment(world.staging, write=True):
        source = make_sources(NOW)["channel"]
        receive([newer], source=source, now=NOW)
        told = receive([older], source=source, now=NOW)

        assert (told.stale, told.updated) == (1, 0)
        assert Order.objects.get().stage == "shipped"
