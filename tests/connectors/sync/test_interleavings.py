"""Pushes, pulls, mutations, retries, dying workers and duplicates in any order: nothing is lost.

And five bugs, planted one at a time, each of which some seed finds.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from itertools import count
from typing import Any

import pytest

from connectors.adapters import Connector, Paging
from connectors.orders import intake
from connectors.sync import pushes, reading
from tests.connectors.sync.conftest import START
from tests.connectors.sync.stories import APPS, open_theatre, shrink_pages
from tests.factories import World

pytestmark = [pytest.mark.django_db, pytest.mark.slow(8), pytest.mark.usefixtures("quiet")]

PER_TEST = 21
MOST_SEEDS = 60
SEEDS = range(0, 504, PER_TEST)  # 24 tests, so that two workers share them


@pytest.fixture
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Thousands of calls and refusals are not worth a line each."""
    for name in ("connectors", "frontend"):
        caplog.set_level(logging.ERROR, logger=name)


@pytest.mark.parametrize(
    "first",
    [
        # On PostgreSQL a twelfth of the stories: what differs there are locks, not stories.
        pytest.param(first, marks=[pytest.mark.any_database] if first >= 42 else [])
        for first in SEEDS
    ],
)
def test_whatever_happens_in_between_the_orders_are_the_platforms(
    first: int, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    shrink_pages(monkeypatch)
    with open_theatre(world.production, at=START) as theatre:
        for seed in range(first, first + PER_TEST):
            app = APPS[seed % len(APPS)]
            assert theatre.tell(app, seed) == [], f"{app} seed {seed}"


# -- planted bugs ------------------------------------------------------------------------------

Plant = Callable[[pytest.MonkeyPatch, dict[str, Connector]], None]


def forward_paging(monkeypatch: pytest.MonkeyPatch, connectors: dict[str, Connector]) -> None:
    """Page one first, and believe the list."""
    for code, connector in connectors.items():
        rules = {k: replace(v, paging=Paging.FORWARD) for k, v in connector.streams.items()}
        if code != "private_mall":
            connectors[code] = replace(connector, streams=rules)
    monkeypatch.setattr(reading._Pages, "is_whole", lambda self, seen: True)


def early_cursor(monkeypatch: pytest.MonkeyPatch, connectors: dict[str, Connector]) -> None:
    """Close the window, then read it."""
    plain = reading.read_window

    def read_window(session: Any, stream: str, window: Any, *, store: Any) -> None:
        reader = store.__self__
        reader._advance(window, None)
        plain(session, stream, window, store=store)

    monkeypatch.setattr(reading, "read_window", read_window)


def no_overlap(monkeypatch: pytest.MonkeyPatch, connectors: dict[str, Connector]) -> None:
    """Windows end to end."""
    for code, connector in connectors.items():
        rules = {k: replace(v, overlap=timedelta(0)) for k, v in connector.streams.items()}
        connectors[code] = replace(connector, streams=rules)


def no_version_guard(monkeypatch: pytest.MonkeyPatch, connectors: dict[str, Connector]) -> None:
    """What comes last counts, however old it is."""
    plain = intake.Batch._fill

    def forget(self: Any, records: Any, stored: Any, counts: Any) -> Any:
        for orders in stored.values():
            for order in orders:
                order.source_updated_at = None
        return plain_apply(self, records, stored, counts)

    plain_apply = intake.Batch._apply_orders
    monkeypatch.setattr(intake.Batch, "_apply_orders", forget)
    assert plain is intake.Batch._fill


def no_replay_table(monkeypatch: pytest.MonkeyPatch, connectors: dict[str, Connector]) -> None:
    """Every message is a new one."""
    plain, numbers = pushes.store_messages, count()

    def store(connection: Any, items: Any, **more: Any) -> int:
        fresh = [replace(i, replay_key=f"{i.replay_key}#{next(numbers)}") for i in items]
        return plain(connection, fresh, **more)

    monkeypatch.setattr(pushes, "store_messages", store)


@pytest.mark.any_database
@pytest.mark.parametrize(
    ("plant", "app"),
    [
        (forward_paging, "tmall"),
        (forward_paging, "douyin"),
        (early_cursor, "tmall"),
        (early_cursor, "mall"),
        (no_overlap, "tmall"),
        (no_version_guard, "mall"),
        (no_replay_table, "douyin"),
        (no_replay_table, "mall"),
    ],
)
def test_a_planted_bug_is_found(
    plant: Plant, app: str, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    connectors = shrink_pages(monkeypatch)
    plant(monkeypatch, connectors)

    with open_theatre(world.production, at=START) as theatre:
        for seed in range(MOST_SEEDS):
            wrongs = theatre.tell(app, seed)
            if wrongs:
                print(f"{plant.__name__} on {app}: seed {seed}: {wrongs[0]}")  # noqa: T201 - for the record
                return
    pytest.fail(f"no seed of {MOST_SEEDS} finds {plant.__name__} on {app}")
