"""An outside for every test of reading, a bench for those that need no wire."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from tests.connectors.sync.outside import Outside, open_outside
from tests.connectors.sync.scripted import Bench
from tests.factories import World

START = datetime(2025, 11, 11, 1, 0, tzinfo=UTC)  # 9:00 in Beijing


@pytest.fixture
def outside(world: World) -> Iterator[Outside]:
    with open_outside(world.production, at=START) as opened:
        yield opened


@pytest.fixture
def bench(world: World, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(world.production, monkeypatch)
