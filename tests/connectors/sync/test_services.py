"""What is due and what is not; orders beyond the list's reach; what is forgotten and what is kept.

That a pull keeps its slot by itself is in test_reading.py, whether a first read is over in
tests/workflows/test_patrol_sources.py.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext

from config.tenancy.models import Environment
from config.tenancy.scope import for_environment
from connectors.adapters import PushItem
from connectors.orders.models import Order
from connectors.orders.statuses import Stage
from connectors.shops.models import Connection
from connectors.sync import services
from connectors.sync.health import read_health
from connectors.sync.models import (
    Asked,
    CallLog,
    Cursor,
    InboundMessage,
    Quarantine,
    SyncRun,
)
from connectors.sync.pushes import INBOX, store_messages
from connectors.sync.registry import get_connector
from connectors.sync.services import (
    INBOXING,
    KEEP_CALLS,
    KEEP_PAYLOADS,
    KEEP_RUNS,
    PULL,
    REREAD_STREAM,
    REREADING,
    SWEEPING,
    Job,
    forget_old,
    list_jobs,
    list_queues,
    reread_open_orders,
)
from tests.connectors.sync.scripted import KINDS, ODD, UNREACHABLE, Bench
from tests.factories import World, make_order

pytestmark = pytest.mark.django_db

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def jobs(bench: Bench, environment: Environment | None = None) -> list[Job]:
    with for_environment(environment or bench.environment, write=False):
        return list_jobs(now=bench.now())


def kinds(bench: Bench) -> set[tuple[str, str]]:
    return {(job.kind, job.stream) for job in jobs(bench)}


def begin(connection: Connection, stream: str, **values: Any) -> None:
    """A list of this connection has been begun, in the scope in force."""
    Cursor.objects.update_or_create(connection=connection, stream=stream, defaults=values)


def rest(bench: Bench, connection: Connection, *, but: str = "") -> None:
    """Everything of a connection was begun a moment ago, but one thing."""
    with for_environment(bench.environment):
        for stream in {"modified", "created", "sweep", REREAD_STREAM} - {but}:
            begin(connection, stream, slot=bench.now())


# -- what is due -----------------------------------------------------------------------------------


FIRST = {
    "tmall": {(PULL, "modified"), (PULL, "created"), (REREADING, "")},
    "douyin": {(PULL, "modified"), (PULL, "created"), (REREADING, "")},
    "private_mall": {(PULL, "modified"), (REREADING, "")},
    "generic_oms": {(PULL, "modified")},
    "alipay": {(SWEEPING, "")},
    "wechat_pay": {(SWEEPING, "")},
    "qimen": {(SWEEPING, "")},
}


@pytest.mark.parametrize("vendor", KINDS)
def test_of_a_new_connection_all_it_has_is_due_and_once_begun_nothing_is(
    bench: Bench, vendor: str
) -> None:
    connection, _ = bench.connect(vendor)
    streams = set(get_connector(vendor).list_streams({})) & {"modified", "created"}

    assert kinds(bench) == FIRST[vendor]
    assert {stream for kind, stream in kinds(bench) if kind == PULL} == streams
    rest(bench, connection)
    assert jobs(bench) == []


def test_slots_that_were_missed_are_one_job(bench: Bench) -> None:
    connection, _ = bench.connect("private_mall", every_minutes=5)
    rest(bench, connection)
    with for_environment(bench.environment):
        begin(connection, "modified", slot=bench.now() - 5 * HOUR)

    assert jobs(bench) == [Job(PULL, connection.pk, "modified")]


@pytest.mark.parametrize("every", [1, 15, 60])
def test_a_list_is_due_once_in_its_interval(bench: Bench, every: int) -> None:
    connection, _ = bench.connect("private_mall", every_minutes=every)
    bench.at = datetime(2025, 11, 11, 2, 0, tzinfo=UTC)
    rest(bench, connection)

    bench.pass_time(minutes=every, seconds=-1)
    assert jobs(bench) == []
    bench.pass_time(seconds=1)
    assert jobs(bench) == [Job(PULL, connection.pk, "modified")]


def test_the_list_by_time_of_creation_is_due_once_a_day_at_four(bench: Bench) -> None:
    connection, _ = bench.connect("tmall", every_minutes=60)
    bench.at = datetime(2025, 11, 11, 19, 59, tzinfo=UTC)  # 3:59 in Beijing
    with for_environment(bench.environment):
        begin(connection, "created", slot=bench.now() - 23 * HOUR)

    assert (PULL, "created") not in kinds(bench)
    bench.pass_time(minutes=1)
    assert (PULL, "created") in kinds(bench)


@pytest.mark.parametrize(("every", "pause"), [(15, 2), (1, 1)])
def test_a_sweep_is_due_every_two_minutes_or_as_often_as_was_wished(
    bench: Bench, every: int, pause: int
) -> None:
    connection, _ = bench.connect("qimen", every_minutes=every)
    rest(bench, connection)

    bench.pass_time(minutes=pause, seconds=-1)
    assert jobs(bench) == []
    bench.pass_time(seconds=1)
    assert jobs(bench) == [Job(SWEEPING, connection.pk)]


def test_messages_are_due_when_they_wait_and_their_pause_is_over(bench: Bench) -> None:
    connection, _ = bench.connect("private_mall")
    rest(bench, connection)
    with for_environment(bench.environment):
        store_messages(
            connection, [PushItem("hint", str(n), "t", f"M{n}") for n in range(3)],
            signed_at=None, now=bench.now(),
        )  # fmt: skip
        rows = InboundMessage.objects.order_by("pk")
        rows.filter(order_no="M0").update(state="failed")
        rows.filter(order_no="M1").update(state="done")
        rows.filter(order_no="M2").update(due_at=bench.now() + MINUTE)

    assert jobs(bench) == []
    bench.pass_time(minutes=1)
    assert jobs(bench) == [Job(INBOXING, connection.pk)]


# stream of the lease -> the job it keeps back
LEASES = {
    ("private_mall", "modified"): PULL, ("private_mall", REREAD_STREAM): REREADING,
    ("qimen", "sweep"): SWEEPING, ("private_mall", INBOX): INBOXING,
}  # fmt: skip


@pytest.mark.parametrize(("vendor", "stream"), LEASES)
def test_what_somebody_works_at_is_not_handed_out_until_his_lease_runs_out(
    bench: Bench, vendor: str, stream: str
) -> None:
    connection, _ = bench.connect(vendor)
    rest(bench, connection, but=stream)
    with for_environment(bench.environment):
        if stream == INBOX:
            store_messages(
                connection, [PushItem("hint", "1", "t", "M1")], signed_at=None, now=bench.now()
            )
        begin(connection, stream, holder="x", lease_until=bench.now() + MINUTE)

    assert jobs(bench) == []
    bench.pass_time(minutes=1)
    assert [job.kind for job in jobs(bench)] == [LEASES[vendor, stream]]


@pytest.mark.parametrize("why", ["off", "paused"])
def test_of_a_connection_that_is_off_or_told_to_wait_no_call_is_due(bench: Bench, why: str) -> None:
    found = {vendor: bench.connect(vendor)[0] for vendor in KINDS}
    mall = found["private_mall"]
    with for_environment(bench.environment):
        store_messages(
            mall, [PushItem("record", "1", "t", "M1", {})], signed_at=None, now=bench.now()
        )
        if why == "off":
            Connection.objects.update(is_active=False)
        else:
            Connection.objects.update(paused_until=bench.now() + MINUTE)
        assert list_queues(now=bench.now()) == []
    # What was pushed whole takes no call; who is switched off does not even hear that.
    assert jobs(bench) == ([] if why == "off" else [Job(INBOXING, mall.pk)])

    bench.pass_time(minutes=1)
    assert (jobs(bench) == []) == (why == "off")


def test_only_vendors_that_keep_messages_have_a_queue(bench: Bench) -> None:
    found = {vendor: bench.connect(vendor)[0].pk for vendor in KINDS}

    with for_environment(bench.environment, write=False):
        assert list_queues(now=bench.now()) == [found["tmall"]]


def test_another_environments_connections_are_not_due_here(bench: Bench, world: World) -> None:
    ours, _ = bench.connect("qimen")
    theirs, _ = bench.connect("private_mall", into=world.other)
    with for_environment(world.other):
        store_messages(theirs, [PushItem("hint", "1", "t", "M1")], signed_at=None, now=bench.now())

    assert {job.connection_id for job in jobs(bench)} == {ours.pk}
    assert {job.connection_id for job in jobs(bench, world.other)} == {theirs.pk}
    with for_environment(world.staging, write=False):
        assert list_jobs(now=bench.now()) == []
        assert list_queues(now=bench.now()) == []


def test_what_is_due_costs_the_same_queries_for_two_connections_or_twelve(bench: Bench) -> None:
    counts = []
    for names in (range(2), range(2, 12)):
        for n in names:
            bench.connect("tmall" if n % 2 else "qimen", name=f"来源{n}")
        with for_environment(bench.environment, write=False):
            with CaptureQueriesContext(database) as queries:
                found = list_jobs(now=bench.now())
            with CaptureQueriesContext(database) as more:
                list_queues(now=bench.now())
        counts.append((len(queries), len(more)))
    assert len(found) == 6 * 3 + 6
    assert counts[0] == counts[1]


# -- orders beyond the list's reach ----------------------------------------------------------------


def make_old(bench: Bench, number: str, *, days: float = 400, **changes: Any) -> None:
    """An order of the own mall that its list gives no more, in the scope in force."""
    values: dict[str, Any] = {"channel": "private_mall", "shop": "private_mall"}
    make_order(
        bench.now(), order_no=number, placed_at=bench.now() - timedelta(days=days),
        **(values | changes),
    )  # fmt: skip


def told(
    bench: Bench, number: str, status: str = "closed_refunded", days: float = 400
) -> dict[str, Any]:
    """What the mall tells of such an order now."""
    placed, now = bench.now() - timedelta(days=days), bench.now().isoformat()
    return {
        "order_no": number, "status": status, "created_at": placed.isoformat(), "updated_at": now,
    }  # fmt: skip


def reread(bench: Bench, connection: Connection) -> Any:
    return reread_open_orders(bench.environment, connection.pk, **bench.tools)


def test_open_orders_the_list_no_longer_gives_are_read_one_by_one(bench: Bench) -> None:
    connection, vendor = bench.connect("private_mall")
    reach = get_connector("private_mall").list_streams({})["modified"].reach
    with for_environment(bench.environment):
        make_old(bench, "CHANGED")
        make_old(bench, "SAME", days=399)
        make_old(bench, "OVER", stage=Stage.COMPLETED)
        make_old(bench, "LISTED", days=reach / DAY)
        make_old(bench, "OTHER-SHOP", shop="别的店")
    vendor.tells = {
        "CHANGED": told(bench, "CHANGED"), "SAME": told(bench, "SAME", "await_ship", days=399),
    }  # fmt: skip

    taken = reread(bench, connection)

    assert sorted(vendor.asked) == ["CHANGED", "SAME"]
    assert len(taken.received.order_ids) >= 1
    with for_environment(bench.environment, write=False):
        assert not Order.objects.get(order_no="CHANGED").is_open
        assert Order.objects.get(order_no="SAME").is_open
        run = SyncRun.objects.get()
        assert (run.kind, run.state, run.fetched) == ("reread", "done", 2)
        assert run.new + run.updated + run.unchanged == 2
        (health,) = read_health(bench.now())
        assert (health.runs, health.last_run) == ((run,), None)  # not what comes every few minutes
    assert (REREADING, "") not in kinds(bench)
    bench.pass_time(days=1, seconds=-1)
    assert (REREADING, "") not in kinds(bench)
    bench.pass_time(seconds=1)
    assert (REREADING, "") in kinds(bench)


def test_more_than_one_run_can_read_are_read_in_rounds_and_none_is_forgotten(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer need not change an order: what was read must not stand at the head again."""
    monkeypatch.setattr(services, "REREAD_PER_RUN", 3)
    monkeypatch.setattr(services, "REREAD_CHUNK", 2)
    connection, vendor = bench.connect("private_mall")
    numbers = [f"M{n}" for n in range(7)]
    with for_environment(bench.environment):
        for n, number in enumerate(numbers):
            make_old(bench, number, days=400 - n)
    vendor.tells = {
        number: told(bench, number, "await_ship", days=400 - n) for n, number in enumerate(numbers)
    }

    for _ in range(4):
        assert (REREADING, "") in kinds(bench)
        reread(bench, connection)
        assert (REREADING, "") not in kinds(bench)
        bench.pass_time(hours=1)

    assert set(vendor.asked) == set(numbers)
    assert (REREADING, "") not in kinds(bench)  # the round is over
    bench.pass_time(hours=23)
    vendor.asked.clear()
    reread(bench, connection)
    assert set(vendor.asked) == {"M0", "M1", "M2"}


def test_a_round_that_found_the_vendor_away_goes_on_within_the_hour(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "REREAD_CHUNK", 2)
    connection, vendor = bench.connect("private_mall")
    with for_environment(bench.environment):
        for n in range(6):
            make_old(bench, f"M{n}", days=400 - n)
    now = {f"M{n}": told(bench, f"M{n}", days=400 - n) for n in range(6)}
    vendor.tells = {f"M{n}": now[f"M{n}"] for n in (0, 1)}
    vendor.tells |= {f"M{n}": UNREACHABLE for n in range(2, 6)}

    assert reread(bench, connection).unread == {"M2", "M3"}
    with for_environment(bench.environment, write=False):
        run = SyncRun.objects.get()
    assert (run.state, run.error_code, run.fetched) == ("failed", "no_answer", 2)

    assert "M4" not in vendor.asked
    vendor.tells = now
    vendor.asked.clear()
    bench.pass_time(hours=1)
    assert (REREADING, "") in kinds(bench)
    reread(bench, connection)
    assert vendor.asked[0] == "M2"
    with for_environment(bench.environment, write=False):
        assert not Order.objects.waiting().exists()


def test_one_order_the_vendor_cannot_tell_holds_up_no_other(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "REREAD_CHUNK", 2)
    connection, vendor = bench.connect("private_mall")
    with for_environment(bench.environment):
        for n in range(4):
            make_old(bench, f"M{n}", days=400 - n)
    vendor.tells = {"M0": ODD} | {f"M{n}": told(bench, f"M{n}", days=400 - n) for n in (1, 2, 3)}

    reread(bench, connection)

    with for_environment(bench.environment, write=False):
        assert [o.order_no for o in Order.objects.waiting()] == ["M0"]


@pytest.mark.parametrize("why", ["off", "paused", "taken"])
def test_nothing_is_read_anew_for_who_may_not_be_called_or_is_called_already(
    bench: Bench, why: str
) -> None:
    connection, vendor = bench.connect("private_mall")
    with for_environment(bench.environment):
        make_old(bench, "M1")
        if why == "taken":
            begin(connection, REREAD_STREAM, holder="x", lease_until=bench.now() + MINUTE)
        else:
            Connection.objects.update(
                **({"is_active": False} if why == "off" else {"paused_until": bench.now() + HOUR})
            )

    reread(bench, connection)

    assert vendor.said == []


def test_another_environments_old_orders_are_not_read(bench: Bench, world: World) -> None:
    ours, vendor = bench.connect("private_mall")
    bench.connect("private_mall", into=world.other)
    vendor = bench.script("private_mall")
    with for_environment(world.other):
        make_old(bench, "THEIRS")
    with for_environment(bench.environment):
        make_old(bench, "OURS")

    reread(bench, ours)

    assert vendor.asked == ["OURS"]
    with pytest.raises(Connection.DoesNotExist):
        reread_open_orders(world.other, ours.pk, **bench.tools)


# -- forgetting ------------------------------------------------------------------------------------


def test_what_is_old_is_forgotten_and_what_is_needed_is_kept(bench: Bench, world: World) -> None:
    for environment in (bench.environment, world.other):
        connection, _ = bench.connect("private_mall", into=environment)
        with for_environment(environment):
            fill(bench, connection)

    with for_environment(bench.environment):
        forget_old(now=bench.now())

        left = {
            CallLog: set(CallLog.objects.values_list("operation", flat=True)),
            SyncRun: set(SyncRun.objects.values_list("stream", flat=True)),
            Asked: set(Asked.objects.values_list("order_no", flat=True)),
        }
        assert left == {CallLog: {"young"}, SyncRun: {"young"}, Asked: {"young"}}
        aside = set(Quarantine.objects.values_list("order_no", flat=True))
        bodies = {m.replay_key: bool(m.payload_sealed) for m in InboundMessage.objects.all()}
    assert aside == {"old-ignored", "old-open", "young-mended", "young-ignored", "young-open"}
    # The keys stay for good; one that waits for its connection to be switched on keeps its body.
    assert bodies == {
        "old-done": False, "old-failed": False, "old-waiting": True, "young-done": True,
        "young-failed": True, "young-waiting": True,
    }  # fmt: skip
    with for_environment(world.other, write=False):
        assert [m.objects.count() for m in (CallLog, SyncRun, Asked)] == [2, 2, 2]
        assert not InboundMessage.objects.filter(payload_sealed="").exists()


def fill(bench: Bench, connection: Connection) -> None:
    """A row of everything that is just too old to keep, and one that is not."""
    for age, more in (("old", timedelta(seconds=1)), ("young", timedelta(0))):
        now = bench.now() - more
        CallLog.objects.create(
            connection=connection, operation=age, at=now - KEEP_CALLS, outcome="ok"
        )
        SyncRun.objects.create(
            connection=connection, kind="pull", stream=age, started_at=now - KEEP_RUNS
        )
        for state in ("mended", "ignored", "open"):
            Quarantine.objects.create(
                connection=connection, order_no=f"{age}-{state}", digest=f"{age}-{state}",
                payload_sealed="x", code="c", message="m", state=state, first_at=now, last_at=now,
                settled_at=None if state == "open" else now - KEEP_PAYLOADS,
            )  # fmt: skip
        Asked.objects.create(
            connection=connection, order_no=age, asked_at=now - 7 * DAY, next_at=now
        )
        for state in ("done", "failed", "waiting"):
            item = PushItem("record", f"{age}-{state}", "t", "M1", {"a": 1})
            store_messages(connection, [item], signed_at=None, now=now - KEEP_PAYLOADS)
            InboundMessage.objects.filter(replay_key=item.replay_key).update(state=state)
