"""A run that died without a word does not stand open for good."""

from __future__ import annotations

from datetime import timedelta

import pytest

from config.errors import BadInput
from config.tenancy.scope import for_environment
from connectors.shops.connections import create_connection
from connectors.sync.models import SyncRun
from connectors.sync.runs import close_run, start_run
from connectors.sync.taking import Taken
from tests.factories import NOW, make_world

pytestmark = pytest.mark.django_db
LATER = NOW + timedelta(minutes=5)


def _connect(name):
    return create_connection(
        vendor="qimen", kind="wms", name=name, shop=None, base_url="https://x.example", config={},
        secrets={}, actor=None, now=NOW,
    )  # fmt: skip


def test_the_next_run_closes_the_one_whose_worker_died_and_no_other():
    with for_environment(make_world().production):
        connection = _connect("一仓")
        dead = start_run(connection, SyncRun.Kind.SWEEP, now=NOW)
        elsewhere = start_run(_connect("二仓"), SyncRun.Kind.SWEEP, now=NOW)
        of_a_list = start_run(connection, SyncRun.Kind.PULL, stream="modified", now=NOW)

        begun = start_run(connection, SyncRun.Kind.SWEEP, now=LATER)

        dead.refresh_from_db()
        assert (dead.state, dead.finished_at, dead.error_code) == ("failed", LATER, "abandoned")
        assert "中途退出" in dead.error_message
        open_runs = SyncRun.objects.filter(state=SyncRun.State.RUNNING)
        assert set(open_runs) == {begun, elsewhere, of_a_list}


@pytest.mark.parametrize(
    ("error", "is_complete", "state"),
    [
        (None, True, "done"),
        (None, False, "partial"),
        (BadInput("坏了", code="bad"), True, "failed"),
    ],
)
def test_a_run_says_how_it_ended(error, is_complete, state):
    with for_environment(make_world().production):
        run = start_run(_connect("一仓"), SyncRun.Kind.SWEEP, now=NOW)
        close_run(run, Taken(quarantined=2), error, is_complete=is_complete, calls=7, now=LATER)
        run.refresh_from_db()
    assert (run.state, run.calls, run.quarantined, run.finished_at) == (state, 7, 2, LATER)
    assert run.error_code == ("bad" if error else "")
