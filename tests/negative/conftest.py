"""Attacks on the whole product. Numbers in test names are those of the list of negative tests."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from tests.connectors.sync.outside import Outside, open_outside
from tests.factories import World, make_world

START = datetime(2025, 11, 11, 1, 0, tzinfo=UTC)  # 9:00 in Beijing


@pytest.fixture
def world(db: None) -> World:
    """Two divisions with production and staging, one person per role."""
    return make_world()


@pytest.fixture
def outside(world: World) -> Iterator[Outside]:
    """Simulated platforms around the first division's production."""
    with open_outside(world.production, at=START) as opened:
        yield opened
