"""While a vendor wants us to wait we call nobody; what it told us whole is taken in all the same."""

from __future__ import annotations

from datetime import timedelta

import pytest

from config.tenancy.scope import for_environment
from connectors.adapters import PushItem
from connectors.orders.models import Order
from connectors.shops.models import Connection
from connectors.sync.calls import list_calls_of_connection
from connectors.sync.models import InboundMessage
from connectors.sync.pushes import store_messages, work_messages
from connectors.sync.services import INBOXING, list_jobs
from tests.connectors.sync.outside import Outside

pytestmark = pytest.mark.django_db


def test_a_paused_connection_makes_no_call_and_takes_in_what_was_pushed_whole(
    outside: Outside,
) -> None:
    connection = outside.connect("mall")
    record = {
        "order_no": "MP1",
        "status": "await_pay",
        "created_at": outside.now().isoformat(),
        "updated_at": outside.now().isoformat(),
    }
    items = [
        PushItem("record", "mall:1", "order.created", "MP1", record),
        PushItem("hint", "mall:2", "order.updated", "MP2"),
    ]
    with for_environment(outside.environment):
        store_messages(connection, items, signed_at=None, now=outside.now())
        Connection.objects.update(paused_until=outside.now() + timedelta(hours=1))
        jobs = list_jobs(now=outside.now())

    work_messages(outside.environment, connection.pk, **outside.tools)

    with for_environment(outside.environment, write=False):
        told = {e.operation for e in list_calls_of_connection(connection.pk) if e.is_inbound}
        waiting = list(InboundMessage.objects.filter(state="waiting").values_list("order_no"))
        stored = list(Order.objects.values_list("order_no", flat=True))
    assert [job.kind for job in jobs] == [INBOXING]
    assert stored == ["MP1"]
    assert waiting == [("MP2",)]
    assert outside.host.costs == {}
    assert told == {"order.created", "order.updated"}  # the log of the connection shows both
