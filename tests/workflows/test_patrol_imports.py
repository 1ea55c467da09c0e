"""The Celery doors of the file connector: safe to run twice, resent when a worker died."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.utils import timezone

from config.tenancy.scope import for_environment
from connectors.orders.models import Order
from connectors.tabular.models import ImportRun
from connectors.tabular.uploads import start_run, store_files, stored_path
from tests.factories import make_world
from workflows.patrol import tasks

ORDERS = "订单号,平台状态,下单时间\nA1,待发货,2025-11-11 10:00:00\nA2,待发货,2025-11-11 10:00:00\n"


@pytest.fixture
def floor(db, settings, tmp_path, monkeypatch):
    """A world with one queued run of uploaded files; `floor.sent` are tasks handed on."""
    settings.MEDIA_ROOT = tmp_path
    world = make_world()
    world.sent, world.woken = [], []
    monkeypatch.setattr(tasks, "enqueue", lambda *args, **kw: world.sent.append((args, kw)))
    monkeypatch.setattr(tasks.services, "wake_scoring", world.woken.append)
    now = timezone.now()
    with for_environment(world.production):
        file_set = store_files(
            world.production,
            [SimpleUploadedFile("订单.csv", ORDERS.encode())],
            user=None,
            now=now,
        )
        world.run = start_run(
            world.production,
            file_set,
            complete_until=datetime(2025, 11, 11, 3, tzinfo=UTC),
            user=None,
            now=now,
            is_dry_run=False,
        )
    return world


def count(world) -> int:
    with for_environment(world.production):
        return Order.objects.count()


def test_the_task_imports_and_wakes_scoring_once(floor):
    tasks.import_files(floor.production.pk, floor.run.pk)
    tasks.import_files(floor.production.pk, floor.run.pk)

    assert count(floor) == 2
    assert floor.woken == [floor.production]
    assert floor.sent == []


def test_a_task_out_of_time_hands_the_rest_to_the_next(floor, monkeypatch):
    monkeypatch.setattr(tasks, "IMPORT_BUDGET", timedelta(seconds=-1))

    tasks.import_files(floor.production.pk, floor.run.pk)

    assert (count(floor), floor.woken) == (0, [])
    assert floor.sent == [
        (("patrol.import_files", floor.production.pk, floor.run.pk), {"queue": "sync"})
    ]
    monkeypatch.setattr(tasks, "IMPORT_BUDGET", timedelta(minutes=1))
    tasks.import_files(floor.production.pk, floor.run.pk)
    assert count(floor) == 2


@pytest.mark.parametrize(
    ("state", "age", "is_resent"),
    [
        ("queued", 10, False),
        ("queued", 300, True),
        ("running", 10, False),
        ("running", 300, True),
        ("done", 300, False),
        ("failed", 300, False),
    ],
)
def test_the_tick_resends_only_what_nobody_works_at(floor, state, age, is_resent):
    then = timezone.now() - timedelta(seconds=age)
    with for_environment(floor.production):
        ImportRun.objects.update(state=state, created_at=then, heartbeat_at=then)

    tasks.resend_imports(floor.production.pk)
    tasks.resend_imports(floor.other.pk)

    expected = (("patrol.import_files", floor.production.pk, floor.run.pk), {"queue": "sync"})
    assert floor.sent == ([expected] if is_resent else [])


def test_a_run_of_another_environment_is_not_touched(floor):
    tasks.import_files(floor.other.pk, floor.run.pk)

    with for_environment(floor.production):
        floor.run.refresh_from_db()
    assert (floor.run.state, count(floor)) == ("queued", 0)


def test_bad_files_fail_the_run_and_not_the_worker(floor):
    with for_environment(floor.production):
        stored = floor.run.file_set.files.get()
    stored_path(floor.production, stored).write_bytes(b"")

    tasks.import_files(floor.production.pk, floor.run.pk)

    with for_environment(floor.production):
        floor.run.refresh_from_db()
    assert floor.run.state == "failed"
    assert "是空的" in floor.run.error
    assert floor.woken == []
