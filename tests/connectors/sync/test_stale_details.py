"""A platform whose detail has not caught up with its list or its messages: nothing is lost by it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from config.tenancy.scope import for_environment
from connectors.orders.models import Order
from connectors.orders.statuses import Stage
from connectors.simulators.life import Life, LifeLine
from connectors.sync.models import InboundMessage, Quarantine
from connectors.sync.pushes import work_messages
from connectors.sync.queues import consume
from connectors.sync.reading import pull
from tests.connectors.sync.outside import Outside

pytestmark = pytest.mark.django_db

DETAILS = {"tmall": "taobao.trade.fullinfo.get", "douyin": "order.orderDetail"}


@pytest.mark.parametrize("app", DETAILS)
def test_what_an_old_detail_hid_after_a_message_comes_with_the_list(
    outside: Outside, app: str
) -> None:
    """The message is followed to a detail of minutes ago: first no order at all, then one that is
    not paid. Both are made good by the next reading, and what was put aside is settled."""
    connection = outside.connect(app)
    if app == "tmall":
        consume(outside.environment, connection.pk, **outside.tools)  # permits first
    outside.pass_time(seconds=30)
    life = Life(
        order_no="6917000000000000001", channel=app, shop=outside.shops[app], buyer="b1",
        placed=outside.now(), paid=outside.now() + timedelta(minutes=40),
        lines=[LifeLine("SKU1", "羊绒围巾", 1, 10_000)],
    )  # fmt: skip
    outside.add(life)
    for wait, stage in ((1, Stage.AWAIT_PAY), (25, Stage.AWAIT_SHIP)):
        outside.pass_time(minutes=wait)
        outside.faults.switch(app, DETAILS[app], "stale_detail", times=1, seconds=300)
        if app == "tmall":
            consume(outside.environment, connection.pk, **outside.tools)
        work_messages(outside.environment, connection.pk, **outside.tools)
        with for_environment(outside.environment, write=False):
            assert not Order.objects.filter(stage=stage).exists()  # the message told nothing new
            assert not InboundMessage.objects.exclude(state="done").exists()
            assert Quarantine.objects.filter(state="open").count() == (wait == 1)
        outside.faults.clear()

        outside.pass_time(minutes=15)
        pulled = pull(outside.environment, connection.pk, **outside.tools)

        assert pulled is not None
        assert pulled.error is None
        with for_environment(outside.environment, write=False):
            assert Order.objects.get().stage == stage
            assert not Quarantine.objects.filter(state="open").exists()


def test_an_old_detail_of_a_listed_order_is_read_again_with_the_overlap(outside: Outside) -> None:
    """TOP's list tells the change, the detail behind it does not yet: the window closes with the
    old state, and the next one, which reaches back, asks for the detail anew."""
    connection = outside.connect("tmall")
    outside.add(
        Life(
            order_no="2890000000000000001", channel="tmall", shop=outside.shops["tmall"],
            placed=outside.now(), paid=outside.now() + timedelta(minutes=18), buyer="b1",
            lines=[LifeLine("SKU1", "羊绒围巾", 1, 10_000)],
        )
    )  # fmt: skip
    outside.clock.advance(timedelta(minutes=20))
    outside.faults.switch("tmall", DETAILS["tmall"], "stale_detail", times=1, seconds=180)
    stages = []
    for _ in range(2):
        pull(outside.environment, connection.pk, **outside.tools)
        with for_environment(outside.environment, write=False):
            stages.append(Order.objects.get().stage)
        outside.clock.advance(timedelta(minutes=15))

    assert stages == [Stage.AWAIT_PAY, Stage.AWAIT_SHIP]
