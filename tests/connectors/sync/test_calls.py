"""The log of calls and messages about an order, and saying one of them once more."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext

from config.audit.models import AuditEntry
from config.errors import AppError
from config.tenancy.scope import for_environment
from connectors.adapters import Answered
from connectors.http import ConnectorError
from connectors.orders.canonical import CanonicalPayment
from connectors.orders.models import Order, Payment
from connectors.sync.calls import list_calls_of_connection, list_calls_of_order, resend
from connectors.sync.models import CallLog, CallOrder, InboundMessage, Quarantine
from connectors.wire import Mapped
from tests.connectors.sync.scripted import REFUSED, UNREACHABLE, Bench
from tests.connectors.sync.test_quarantine import trade
from tests.factories import World
from tests.frontend.sources import log_call, log_message

pytestmark = pytest.mark.django_db
MINUTE = timedelta(minutes=1)


@pytest.fixture
def bench(world: World, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(world.production, monkeypatch)


def again(bench: Bench, key: str, **more: Any) -> str:
    values = {"actor": None, "now": bench.now()} | bench.tools | more
    return resend(values.pop("environment", bench.environment), key, **values)


# --- the log --------------------------------------------------------------------------------------


def test_the_log_of_an_order_is_of_all_sources_newest_first_and_masked(bench: Bench) -> None:
    tmall, _ = bench.connect("tmall")
    qimen, _ = bench.connect("qimen")
    now = bench.now()
    with for_environment(bench.environment):
        log_call(tmall, now - 5 * MINUTE, order_no="1", duration_ms=9, attempt=2)
        log_call(qimen, now, order_no="1", operation="order.pending", is_effect=True,
                 outcome="refused", vendor_code="S003")  # fmt: skip
        log_message(tmall, now - 2 * MINUTE, key="m", order_no="1")
        log_call(tmall, now, order_no="2")
        batch = log_call(tmall, now - 9 * MINUTE, order_no="1", operation="list")
        CallOrder.objects.create(call=batch, order_no="1")  # named twice: one call all the same

        found = list_calls_of_order("1")
        newest = list_calls_of_order("1", limit=2)
        of_qimen = list_calls_of_connection(qimen.pk)

    assert [(e.operation, e.is_inbound, e.attempt) for e in found] == [
        ("order.pending", False, 1),
        ("taobao_trade_TradeBuyerPay", True, 0),
        ("taobao.trade.fullinfo.get", False, 2),
        ("list", False, 1),
    ]
    assert found[0].is_effect
    assert (found[0].vendor_code, found[0].outcome_label) == ("S003", "对方拒绝")
    assert newest == found[:2]
    assert of_qimen == found[:1]
    for exchange in found:
        assert not {"王小明", "小明同学"} & {exchange.answer, exchange.request}
        assert "王小明" not in exchange.answer
        assert "小明同学" not in exchange.request
    assert "327.00" in found[2].answer


def test_the_log_costs_the_same_queries_for_two_or_forty_and_is_of_one_environment(
    bench: Bench, world: World
) -> None:
    connection, _ = bench.connect("tmall")

    def count() -> list[int]:
        counted = []
        for read in (
            lambda: list_calls_of_order("1"),
            lambda: list_calls_of_connection(connection.pk),
        ):
            with CaptureQueriesContext(database) as caught:
                read()
            counted.append(len(caught))
        return counted

    with for_environment(bench.environment):
        log_call(connection, bench.now(), order_no="1")
        log_message(connection, bench.now(), key="m", order_no="1")
        few = count()
        for number in range(20):
            log_call(connection, bench.now(), order_no="1")
            log_message(connection, bench.now(), key=f"m{number}", order_no="1")
        assert (count(), few) == (few, [2, 3])
    with for_environment(world.staging, write=False):
        assert list_calls_of_order("1") == list_calls_of_connection(connection.pk) == []


# --- once more ------------------------------------------------------------------------------------


def test_a_reading_call_reads_its_order_anew_and_says_who_wanted_it(
    bench: Bench, world: World
) -> None:
    connection, vendor = bench.connect("tmall")
    vendor.tells["102"] = trade("102")
    with for_environment(bench.environment):
        call = log_call(connection, bench.now(), order_no="102")
    actor = world.users["tech_support"]

    assert again(bench, f"call-{call.pk}", actor=actor) == "102"

    assert vendor.asked == ["102"]
    with for_environment(bench.environment, write=False):
        assert Order.objects.get().order_no == "102"
        entry = AuditEntry.objects.get(action="call.resend")
        assert (entry.subject, entry.actor) == ("102", actor)


def test_of_a_list_the_order_whose_log_it_is_is_read_anew_and_no_other(bench: Bench) -> None:
    connection, vendor = bench.connect("tmall")
    vendor.tells["102"] = trade("102")
    with for_environment(bench.environment):
        call = log_call(connection, bench.now(), order_no="101", operation="list")
        CallOrder.objects.create(call=call, order_no="102")
        of_order, of_connection = (
            list_calls_of_order("102"),
            list_calls_of_connection(connection.pk),
        )

    assert [e.can_resend for e in of_order + of_connection] == [True, False]
    assert again(bench, of_order[0].key, order_no="102") == "102"
    assert vendor.asked == ["102"]
    with pytest.raises(AppError) as foreign:
        again(bench, of_order[0].key, order_no="999")
    assert foreign.value.code == "many_orders"
    assert vendor.asked == ["102"]


def test_a_message_whose_content_is_not_kept_any_more_is_not_worked_off_again(
    bench: Bench,
) -> None:
    connection, vendor = bench.connect("douyin")
    with for_environment(bench.environment):
        log_message(connection, bench.now(), key="m", order_no="102", kind="record")
        log_message(connection, bench.now(), key="h", order_no="102", kind="hint")
        InboundMessage.objects.update(payload_sealed="")
        hint, record = list_calls_of_order("102")

    assert (hint.can_resend, record.can_resend) == (True, False)
    with pytest.raises(AppError) as refused:
        again(bench, record.key)

    assert refused.value.code == "forgotten"
    with for_environment(bench.environment, write=False):
        assert InboundMessage.objects.get(replay_key="m").state == "done"
        assert not Quarantine.objects.exists()
    assert vendor.asked == []


def test_a_system_is_asked_again(bench: Bench) -> None:
    connection, vendor = bench.connect("alipay")
    payment = CanonicalPayment("102", "P1", amount_fen=100, paid_at=bench.now())
    vendor.tells["102"] = Answered(Mapped(payment), {"trade_no": "P1"})
    with for_environment(bench.environment):
        call = log_call(connection, bench.now(), order_no="102")

    assert again(bench, f"call-{call.pk}") == "102"
    with for_environment(bench.environment, write=False):
        assert Payment.objects.get().payment_id == "P1"


def test_a_message_is_worked_off_again_and_one_that_cannot_be_says_so(bench: Bench) -> None:
    connection, vendor = bench.connect("tmall")
    with for_environment(bench.environment):
        message = log_message(connection, bench.now(), key="m", order_no="102", state="failed",
                              attempts=8, due_at=bench.now() + MINUTE)  # fmt: skip
    vendor.tells["102"] = UNREACHABLE

    with pytest.raises(ConnectorError) as away:
        again(bench, f"message-{message.pk}")
    with for_environment(bench.environment, write=False):
        row = InboundMessage.objects.get()
        assert (row.state, row.attempts) == ("waiting", 1)
    vendor.tells["102"] = trade("102")
    bench.pass_time(minutes=1)

    assert "稍后自动再试" in away.value.message
    assert again(bench, f"message-{message.pk}") == "102"
    with for_environment(bench.environment, write=False):
        assert InboundMessage.objects.get().state == "done"
        assert AuditEntry.objects.filter(action="message.again", subject="102").count() == 2


def test_what_the_outside_still_refuses_is_said(bench: Bench) -> None:
    connection, vendor = bench.connect("tmall")
    vendor.tells["102"] = UNREACHABLE
    with for_environment(bench.environment):
        call = log_call(connection, bench.now(), order_no="102")

    with pytest.raises(ConnectorError) as error:
        again(bench, f"call-{call.pk}")

    assert error.value.code == "no_answer"


@pytest.mark.parametrize(
    ("key", "code"),
    [
        ("call-{effect}", "effect"),
        ("call-{many}", "many_orders"),
        ("call-{none}", "many_orders"),
        ("call-999999", "not_found"),
        ("message-999999", "not_found"),
        ("call-x", "not_found"),
        ("order-{none}", "not_found"),
        ("", "not_found"),
    ],
)
def test_what_cannot_be_said_again_is_refused_and_nothing_is_done(
    bench: Bench, key: str, code: str
) -> None:
    connection, vendor = bench.connect("tmall")
    vendor.tells = {"1": REFUSED}
    with for_environment(bench.environment):
        effect = log_call(connection, bench.now(), order_no="1", is_effect=True)
        many = log_call(connection, bench.now(), order_no="1")
        CallOrder.objects.create(call=many, order_no="2")
        none = log_call(connection, bench.now())
        before = AuditEntry.objects.count()

    with pytest.raises(AppError) as refused:
        again(bench, key.format(effect=effect.pk, many=many.pk, none=none.pk))

    assert refused.value.code == code
    assert vendor.said == []
    with for_environment(bench.environment, write=False):
        assert (AuditEntry.objects.count(), CallLog.objects.count()) == (before, 3)


def test_another_environment_finds_neither_call_nor_message(bench: Bench, world: World) -> None:
    connection, vendor = bench.connect("tmall")
    with for_environment(bench.environment):
        call = log_call(connection, bench.now(), order_no="1")
        message = log_message(connection, bench.now(), key="m", order_no="1")

    for key in (f"call-{call.pk}", f"message-{message.pk}"):
        with pytest.raises(AppError) as refused:
            again(bench, key, environment=world.staging)
        assert refused.value.code == "not_found"

    assert vendor.said == []
    with for_environment(bench.environment, write=False):
        assert InboundMessage.objects.get().state == "done"
