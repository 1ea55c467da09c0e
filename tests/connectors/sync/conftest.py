"""An outside for every test of reading."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from tests.connectors.sync.outside import Outside, open_outside
from tests.factories import World

START = datetime(2025, 11, 11, 1, 0, tzinfo=UTC)  # 9:00 in Beijing


@pytest.fixture
def outside(world: World) -> Iterator[Outside]:
    with open_outside(world.production, at=START) as opened:
        yield opened
