"""Who is woken when: the beat's entries, the tasks they name, and what goes on by itself."""

from __future__ import annotations

from typing import Any

import pytest

from config.celery import app
from config.tenancy.scope import for_environment
from connectors.adapters import PulledMessage
from connectors.http import ConnectorError
from connectors.shops.models import Connection
from connectors.sync.models import InboundMessage, SyncRun
from connectors.sync.reading import Pulled
from connectors.sync.services import PULL, Job
from connectors.sync.taking import Taken
from tests.connectors.sync.scripted import Bench
from tests.factories import World
from workflows.patrol import sources, tasks

pytestmark = pytest.mark.django_db


@pytest.fixture
def woken(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    found: list[tuple[Any, ...]] = []
    for module in (tasks, sources):
        monkeypatch.setattr(module, "enqueue", lambda name, *args, **_: found.append((name, *args)))
    return found


def test_the_beat_fetches_messages_every_twenty_seconds_and_ticks_every_minute() -> None:
    entries = app.conf.beat_schedule

    assert entries["queues"]["schedule"] == 20
    assert entries["tick"]["schedule"]._orig_minute == "*"
    for entry in entries.values():
        assert entry["task"] in app.tasks
        assert entry["options"]["expires"] < 60  # a late one is no second one


def test_a_ring_wakes_every_active_environment_once(
    world: World, woken: list[tuple[Any, ...]]
) -> None:
    world.staging.is_active = False
    world.staging.save()

    tasks.ring_queues()

    assert ("patrol.consume", world.production.pk) in woken
    assert ("patrol.consume", world.other.pk) in woken
    assert ("patrol.consume", world.staging.pk) not in woken
    assert len(woken) == len(set(woken))


def test_a_queue_that_cannot_be_fetched_costs_the_other_shops_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch, woken: list[tuple[Any, ...]]
) -> None:
    bench = Bench(world.production, monkeypatch)
    broken, _ = bench.connect("tmall", name="一店")
    bench.connect("tmall", name="二店")
    vendor = bench.script("tmall")
    vendor.queue = [PulledMessage("1", "tmc:1", "TradeChanged", "T1", None, {"tid": "T1"})]
    with for_environment(world.production):  # its key was removed too early
        Connection.objects.filter(pk=broken.pk).update(secrets_sealed="gone.AAAA")

    assert sources.work_queues(world.production, clock=bench.now) == 1

    assert vendor.asked == ["T1"]
    with for_environment(world.production, write=False):
        assert InboundMessage.objects.get().connection_id != broken.pk


@pytest.mark.parametrize(
    ("is_caught_up", "error", "goes_on"),
    [(False, None, True), (True, None, False), (False, ConnectorError("away"), False)],
)
def test_a_list_that_was_not_read_to_its_end_is_read_on_at_once(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    woken: list[tuple[Any, ...]],
    is_caught_up: bool,
    error: ConnectorError | None,
    goes_on: bool,
) -> None:
    pulled = Pulled(SyncRun(), Taken(), is_caught_up, error)
    monkeypatch.setattr(sources, "pull", lambda *_, **__: pulled)

    sources.work_job(world.production, Job(PULL, 7, "created"))

    again = ("patrol.sync_job", world.production.pk, 7, PULL, "created")
    assert woken == ([again] if goes_on else [])
