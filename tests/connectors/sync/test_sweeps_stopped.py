"""What ends a sweep, what does not, and that nothing is believed of a system that did not answer."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from config.tenancy.scope import for_environment
from connectors.http import ConnectorError
from connectors.orders.models import Payment
from connectors.shops.models import Connection
from connectors.sync import sweeps
from connectors.sync.models import Asked, Quarantine, SyncRun
from connectors.sync.services import SWEEPING, Job, list_jobs
from connectors.sync.transport import MOST_MISSES
from tests.connectors.sync.asked import (
    complete_until,
    last_run,
    make_reviewed,
    make_unpaid,
    payment_of,
    run_sweep,
)
from tests.connectors.sync.scripted import (
    ODD,
    QUOTA,
    REFUSED,
    REVOKED,
    UNREACHABLE,
    WRONG_CLOCK,
    Bench,
)

pytestmark = pytest.mark.django_db

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def test_a_quota_that_is_used_up_ends_the_sweep_and_what_was_told_stays(bench: Bench) -> None:
    gateway, vendor = bench.connect("alipay")
    with for_environment(bench.environment):
        for n in range(12):
            make_unpaid(bench, f"G{n:02}", ago=(60 - n) * MINUTE)
    vendor.tells = {"G00": payment_of(bench, "G00")} | {f"G{n:02}": QUOTA for n in range(1, 12)}

    taken = run_sweep(bench, gateway)

    assert len(vendor.asked) <= 1 + 4  # those under way side by side
    assert len(taken.unread) == 11
    run = last_run(bench)
    assert (run.state, run.error_code) == (SyncRun.State.FAILED, "vendor_refusal")
    assert complete_until(bench, gateway) is None
    with for_environment(bench.environment, write=False):
        assert Payment.objects.filter(is_gateway=True).count() == 1
        assert [a.order_no for a in Asked.objects.all()] == ["G00"]
        gateway.refresh_from_db()
        assert Job(SWEEPING, gateway.pk) not in list_jobs(now=bench.now() + 10 * MINUTE)
    assert gateway.paused_until == bench.now() + HOUR
    bench.pass_time(minutes=30)
    asked = len(vendor.asked)
    run_sweep(bench, gateway)  # handed out before the pause was known
    assert len(vendor.asked) == asked


def test_a_vendor_that_is_away_is_given_up_after_a_few_orders(bench: Bench) -> None:
    warehouse, vendor = bench.connect("qimen")
    numbers = [f"W{n:02}" for n in range(20)]
    with for_environment(bench.environment):
        for number in numbers:
            make_reviewed(bench, number)
    vendor.tells = dict.fromkeys(numbers, UNREACHABLE)

    taken = run_sweep(bench, warehouse)

    # Twenty orders with all patience would take longer than a worker may.
    assert MOST_MISSES <= len(set(vendor.asked)) <= MOST_MISSES + 4
    assert len(taken.unread) == 20
    with for_environment(bench.environment, write=False):
        assert not Asked.objects.exists()
        assert not Quarantine.objects.exists()
        warehouse.refresh_from_db()
    assert (warehouse.state, warehouse.trouble_code) == ("trouble", "no_answer")
    assert complete_until(bench, warehouse) is None


def test_what_stops_a_sweep_stops_all_of_it(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeps, "CHUNK", 2)
    warehouse, vendor = bench.connect("qimen")
    with for_environment(bench.environment):
        for n in range(6):
            make_reviewed(bench, f"W{n}", ago=(60 - n) * MINUTE)
    vendor.tells = {"W3": UNREACHABLE}

    run_sweep(bench, warehouse)

    assert set(vendor.asked) == {"W0", "W1", "W2", "W3"}
    assert last_run(bench).state == SyncRun.State.FAILED
    assert complete_until(bench, warehouse) is None


@pytest.mark.parametrize("refusal", [REVOKED, REFUSED, ConnectorError("403", code="http_status")])
def test_a_system_that_refuses_everything_has_told_nothing(
    bench: Bench, refusal: ConnectorError
) -> None:
    """An address taken off the list must not read as "the warehouse has none of these orders"."""
    warehouse, vendor = bench.connect("qimen")
    with for_environment(bench.environment):
        for n in range(3):
            make_reviewed(bench, f"W{n}")
    vendor.fails = {"ask": refusal, "check": refusal}

    run_sweep(bench, warehouse)

    assert complete_until(bench, warehouse) is None
    assert last_run(bench).state == SyncRun.State.FAILED
    with for_environment(bench.environment, write=False):
        assert not Quarantine.objects.exists()
        assert not Asked.objects.exists()


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("refusal", [REFUSED, ODD])
def test_one_order_a_system_stumbles_over_is_put_aside_and_holds_nothing_up(
    bench: Bench, refusal: Any, count: int
) -> None:
    warehouse, vendor = bench.connect("qimen")
    with for_environment(bench.environment):
        for n in range(count):
            make_reviewed(bench, f"W{n}")
    vendor.tells = {"W0": refusal}

    taken = run_sweep(bench, warehouse)

    assert taken.quarantined == 1
    assert complete_until(bench, warehouse) == bench.now() - timedelta(seconds=bench.waited)
    assert last_run(bench).state == SyncRun.State.DONE
    with for_environment(bench.environment, write=False):
        assert Quarantine.objects.get().order_no == "W0"
        assert Asked.objects.count() == count  # it too is asked again after a pause only
    tries = vendor.times_asked["W0"]
    bench.pass_time(minutes=1)
    run_sweep(bench, warehouse)
    assert vendor.times_asked["W0"] == tries

    vendor.tells = {}  # it answers now: it has no such order
    bench.pass_time(minutes=1)
    run_sweep(bench, warehouse)
    with for_environment(bench.environment, write=False):
        assert Quarantine.objects.get().state == Quarantine.State.MENDED


def test_a_refusal_of_one_moment_puts_nothing_aside(bench: Bench) -> None:
    warehouse, vendor = bench.connect("qimen")
    with for_environment(bench.environment):
        for n in range(3):
            make_reviewed(bench, f"W{n}")

    def refuse_once() -> None:
        vendor.fails["ask"] = REFUSED
        vendor.meanwhile = vendor.fails.clear

    vendor.fails, vendor.meanwhile = {}, refuse_once
    taken = run_sweep(bench, warehouse)

    assert taken == sweeps.Taken()
    with for_environment(bench.environment, write=False):
        assert not Quarantine.objects.exists()
        assert Asked.objects.count() == 3
    assert complete_until(bench, warehouse) == bench.now()


def test_a_clock_that_is_wrong_is_about_us_even_where_one_order_was_told(bench: Bench) -> None:
    gateway, vendor = bench.connect("alipay")
    with for_environment(bench.environment):
        make_unpaid(bench, "G0", ago=HOUR)
        make_unpaid(bench, "G1")
    vendor.tells = {"G1": WRONG_CLOCK}

    taken = run_sweep(bench, gateway)

    assert (taken.quarantined, taken.unread) == (0, {"G1"})
    assert last_run(bench).state == SyncRun.State.FAILED
    assert complete_until(bench, gateway) is None


def test_settings_that_are_not_enough_to_call_are_said_on_the_connection(bench: Bench) -> None:
    warehouse, _ = bench.connect("qimen")
    with for_environment(bench.environment):
        make_reviewed(bench, "W")

    def refuse(access: Any) -> Any:
        raise ConnectorError("no key", code="not_configured")

    bench.change("qimen", open=refuse)
    run_sweep(bench, warehouse)

    with for_environment(bench.environment, write=False):
        warehouse.refresh_from_db()
    assert (warehouse.state, warehouse.trouble_code) == ("trouble", "not_configured")
    assert complete_until(bench, warehouse) is None


@pytest.mark.parametrize("why", ["off", "paused"])
def test_a_connection_that_is_off_or_told_to_wait_is_not_asked(bench: Bench, why: str) -> None:
    warehouse, vendor = bench.connect("qimen")
    with for_environment(bench.environment):
        make_reviewed(bench, "W")
        Connection.objects.update(
            **({"is_active": False} if why == "off" else {"paused_until": bench.now() + MINUTE})
        )

    run_sweep(bench, warehouse)

    assert vendor.said == []
    assert complete_until(bench, warehouse) is None
