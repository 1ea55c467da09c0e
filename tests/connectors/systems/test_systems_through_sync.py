"""OMS, warehouse and gateways through the real reading, doors and intake: nothing lost or doubled."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from config.tenancy.scope import for_environment
from connectors.orders.models import Order, Payment, Receipt
from connectors.orders.statuses import Stage
from connectors.simulators.life import Life, LifeLine
from connectors.sync.models import InboundMessage, Quarantine
from connectors.sync.pushes import work_messages
from connectors.sync.reading import pull
from connectors.sync.sweeps import sweep
from tests.connectors.sync.outside import Outside, open_outside
from tests.factories import World, make_order

pytestmark = pytest.mark.django_db

START = datetime(2025, 11, 11, 1, 0, tzinfo=UTC)  # 9:00 in Beijing
PAGINGS: dict[str, dict[str, str]] = {
    "page": {
        "paging_kind": "page", "page_name": "page", "size_name": "size", "total_path": "data.total",
    },
    "offset": {
        "paging_kind": "offset", "page_name": "offset", "size_name": "limit",
        "total_path": "data.total",
    },
    "cursor": {
        "paging_kind": "cursor", "page_name": "cursor", "size_name": "limit",
        "cursor_path": "data.nextCursor",
    },
    "next_link": {
        "paging_kind": "next", "page_name": "", "size_name": "limit", "next_path": "data.next",
    },
}  # fmt: skip


@pytest.fixture
def outside(world: World) -> Iterator[Outside]:
    with open_outside(world.production, at=START) as opened:
        yield opened


def _life(order_no: str, **changes: Any) -> Life:
    values: dict[str, Any] = {
        "order_no": order_no,
        "channel": "private_mall",
        "shop": "河道羊绒小程序",
        "placed": START - timedelta(minutes=50),
        "lines": [LifeLine("SCARF-CAMEL", "围巾", 1, 19900)],
        "gateway": "alipay",
    }
    return Life(**(values | changes))


def _after(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


def _rows(outside: Outside, model: Any, **conditions: Any) -> list[Any]:
    with for_environment(outside.environment, write=False):
        return list(model.objects.filter(**conditions).order_by("pk"))


# -- the OMS -----------------------------------------------------------------------------------


@pytest.mark.parametrize("paging", PAGINGS)
@pytest.mark.parametrize("fault", ["", "half_page", "repeated_page", "mutate_between_pages"])
def test_every_order_of_an_oms_is_read_whatever_its_pages_do(
    outside: Outside, paging: str, fault: str
) -> None:
    outside.add(
        *(_life(f"SO{n:02}", oms=_after(n - 40), reviewed=_after(n - 30)) for n in range(17))
    )
    outside.apps["oms"].paging = paging  # type: ignore[attr-defined]
    connection = outside.connect("oms", config={**PAGINGS[paging], "page_size": "4"})
    if fault:
        page = 2 if paging in {"page", "offset"} else None
        outside.faults.switch("oms", "orders", fault, page=page, times=1)

    for _ in range(4):
        outside.clock.advance(timedelta(minutes=15))
        pull(outside.environment, connection.pk, **outside.tools)

    receipts = _rows(outside, Receipt)
    assert {r.order_no for r in receipts} == {f"SO{n:02}" for n in range(17)}
    assert len(receipts) == 17
    assert all(r.received_at and r.reviewed_at for r in receipts)
    assert _rows(outside, Quarantine) == []


# -- the warehouse -----------------------------------------------------------------------------


def test_the_warehouses_reports_build_one_receipt_repeated_late_and_out_of_order(
    outside: Outside,
) -> None:
    connection = outside.connect("qimen")
    outside.add(
        _life(
            "SO1",
            oms=_after(1), reviewed=_after(2), wms=_after(5), printed=_after(6), picked=_after(10),
            packed=_after(15), out=_after(20), shipped=_after(21),
        )
    )  # fmt: skip
    outside.faults.switch("qimen", "orderprocess.report", "duplicate_callback", seconds=400)
    outside.faults.switch("qimen", "orderprocess.report", "delay_callback", times=1, seconds=900)

    for _ in range(45):
        outside.pass_time(minutes=1)
        work_messages(outside.environment, connection.pk, **outside.tools)

    (receipt,) = _rows(outside, Receipt)
    assert (receipt.received_at, receipt.picked_at, receipt.shipped_at) == (
        _after(5), _after(10), _after(20),
    )  # fmt: skip
    assert receipt.custom["wms_state"] == "DELIVERED"
    assert receipt.custom["wms_warehouse"] == "WH01"
    messages = _rows(outside, InboundMessage)
    assert len({m.replay_key for m in messages}) == len(messages)
    assert {m.state for m in messages} == {"done"}


def test_a_warehouse_whose_reports_are_lost_is_asked(outside: Outside) -> None:
    connection = outside.connect("qimen")
    oms = outside.connect("oms")
    outside.faults.switch("qimen", "*", "drop_callback")
    outside.add(_life("SO1", oms=_after(1), reviewed=_after(2), wms=_after(5), picked=_after(10)))
    with for_environment(outside.environment):
        make_order(START, order_no="SO1", shop=outside.shops["private_mall"])
    for _ in range(4):
        outside.pass_time(minutes=15)
        pull(outside.environment, oms.pk, **outside.tools)
        sweep(outside.environment, connection.pk, **outside.tools)

    (receipt,) = _rows(outside, Receipt, source=connection.source)
    assert (receipt.received_at, receipt.picked_at) == (_after(5), _after(10))
    (order,) = _rows(outside, Order)
    assert order.picked_at == _after(10)


# -- gateways ----------------------------------------------------------------------------------


@pytest.mark.parametrize("gateway", ["alipay", "wechat_pay"])
def test_a_payment_is_heard_once_however_often_it_is_told(outside: Outside, gateway: str) -> None:
    connection = outside.connect(gateway)
    outside.faults.switch(gateway, "notify", "duplicate_callback", times=1)
    outside.add(_life("SO1", gateway=gateway, gateway_paid=_after(1), paid=_after(1)))

    outside.pass_time(minutes=2)
    outside.pass_time(minutes=10)
    work_messages(outside.environment, connection.pk, **outside.tools)

    (payment,) = _rows(outside, Payment)
    assert (payment.order_no, payment.status, payment.amount_fen) == ("SO1", "paid", 19900)
    assert len(_rows(outside, InboundMessage)) == 1
    assert outside.outbox.waiting == 0  # both were believed


@pytest.mark.parametrize("gateway", ["alipay", "wechat_pay"])
def test_a_refund_the_gateway_tells_of_is_ours_once_and_the_payment_stays_one(
    outside: Outside, gateway: str
) -> None:
    """WeChat's notice names the trade only: it is asked about. Alipay's tells the trade itself."""
    connection = outside.connect(gateway)
    outside.faults.switch(gateway, "notify", "duplicate_callback")
    outside.add(
        _life("SO1", gateway=gateway, gateway_paid=_after(1), paid=_after(1), refunded=_after(20))
    )

    for _ in range(4):
        outside.pass_time(minutes=10)
        work_messages(outside.environment, connection.pk, **outside.tools)

    (payment,) = _rows(outside, Payment)
    assert (payment.order_no, payment.status, payment.amount_fen) == ("SO1", "refunded", 19900)
    assert payment.paid_at == _after(1)
    told = [(m.topic, m.kind, m.state) for m in _rows(outside, InboundMessage)]
    if gateway == "wechat_pay":
        assert told == [
            ("TRANSACTION.SUCCESS", "record", "done"), ("REFUND.SUCCESS", "hint", "done"),
        ]  # fmt: skip
    assert len(told) == 2
    assert _rows(outside, Quarantine) == []
    assert outside.outbox.waiting == 0


@pytest.mark.parametrize("status", ["ABNORMAL", "CLOSED"])
def test_a_refund_that_failed_at_wechat_leaves_the_payment_as_it_is(
    outside: Outside, status: str
) -> None:
    connection = outside.connect("wechat_pay")
    life = _life("SO1", gateway="wechat_pay", gateway_paid=_after(1), paid=_after(1))
    outside.add(life)
    outside.pass_time(minutes=10)

    outside.apps["wechat_pay"].notify_refund(  # type: ignore[attr-defined] # WeChat Pay's
        life, outside.now(), "asked", 19900, status
    )
    outside.pass_time(minutes=1)
    work_messages(outside.environment, connection.pk, **outside.tools)

    (payment,) = _rows(outside, Payment)
    assert (payment.status, payment.amount_fen) == ("paid", 19900)
    message = _rows(outside, InboundMessage)[-1]
    assert (message.topic, message.kind, message.state) == (f"REFUND.{status}", "hint", "done")


@pytest.mark.parametrize("gateway", ["alipay", "wechat_pay"])
def test_a_payment_nobody_told_us_of_is_found_by_asking(outside: Outside, gateway: str) -> None:
    connection = outside.connect(gateway)
    outside.add(_life("SO1", gateway=gateway, gateway_paid=_after(1)))  # the callback is lost
    with for_environment(outside.environment):
        make_order(
            START,
            order_no="SO1",
            channel="private_mall",
            shop=outside.shops["private_mall"],
            stage=Stage.AWAIT_PAY,
            paid_at=None,
            paid_fen=None,
        )
    outside.pass_time(minutes=5)

    sweep(outside.environment, connection.pk, **outside.tools)

    (payment,) = _rows(outside, Payment, is_gateway=True)
    assert (payment.status, payment.paid_at, payment.amount_fen) == ("paid", _after(1), 19900)
    (order,) = _rows(outside, Order)
    assert order.gateway_status == "paid"
