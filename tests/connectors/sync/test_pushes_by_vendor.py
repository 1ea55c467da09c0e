"""What each vendor's push is, a hint or a whole record, and what becomes of it over the real wire."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from config.tenancy.scope import for_environment
from connectors.orders.models import Order, Payment, Receipt
from connectors.simulators.life import Life, LifeLine
from connectors.sync.models import InboundMessage
from connectors.sync.pushes import (
    work_messages,
)
from tests.connectors.sync.outside import Outside

pytestmark = pytest.mark.django_db

State = InboundMessage.State

# app -> what its first push is, and whether taking it in takes a call of ours.
PUSHED = {
    "douyin": ("hint", True),
    "mall": ("record", False),
    "alipay": ("record", False),
    "wechat_pay": ("record", False),
    "qimen": ("record", False),
}


def make_life(outside: Outside, app: str) -> Life:
    """An order that has this app say something a minute from now."""
    soon, vendor = outside.now() + timedelta(minutes=1), "private_mall"
    moments: dict[str, Any] = {"placed": soon, "paid": soon + timedelta(minutes=30)}
    if app == "douyin":
        vendor = "douyin"
    elif app == "qimen":
        early = soon - timedelta(minutes=30)
        moments = {"placed": early, "paid": early, "oms": early, "reviewed": early, "wms": soon}
    elif app != "mall":
        early = soon - timedelta(minutes=5)
        moments = {"placed": early, "paid": soon, "gateway_paid": soon, "gateway": app}
    return Life(
        order_no="6917000000000000001",
        channel=vendor,
        shop=outside.shops[vendor],
        lines=[LifeLine("SKU1", "羊绒围巾", 1, 10_000)],
        **moments,
    )


@pytest.mark.parametrize("app", PUSHED)
def test_each_vendors_push_becomes_what_it_told(outside: Outside, app: str) -> None:
    connection = outside.connect(app)
    outside.add(make_life(outside, app))
    outside.pass_time(minutes=2)
    with for_environment(outside.environment, write=False):
        first = InboundMessage.objects.order_by("pk").first()
    before = sum(count for count, _ in outside.host.costs.values())

    taken, settled = work_messages(outside.environment, connection.pk, **outside.tools)

    kind, takes_call = PUSHED[app]
    assert first is not None
    assert (first.kind, first.order_no) == (kind, "6917000000000000001")
    assert settled >= 1
    assert taken.quarantined == 0
    calls = sum(count for count, _ in outside.host.costs.values()) - before
    assert (calls > 0) == takes_call
    model = {"channel": Order, "gateway": Payment, "wms": Receipt}[connection.source.kind]
    with for_environment(outside.environment, write=False):
        assert [row.order_no for row in model.objects.all()] == ["6917000000000000001"]
        assert not InboundMessage.objects.exclude(state=State.DONE).exists()
    # Worked off again, or told again, it is the same.
    assert work_messages(outside.environment, connection.pk, **outside.tools)[1] == 0
