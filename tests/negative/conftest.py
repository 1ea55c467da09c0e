"""Attacks on the whole product. Numbers in test names are those of the list of negative tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.connectors.sync.outside import Outside, open_outside
from tests.factories import World, make_world
from tests.negative.attacks import START


@pytest.fixture
def world(db: None) -> World:
    """Two divisions with production and staging, one person per role."""
    return make_world()


@pytest.fixture
def outside(world: World) -> Iterator[Outside]:
    """Simulated platforms around the first division's production."""
    with open_outside(world.production, at=START) as opened:
        yield opened
