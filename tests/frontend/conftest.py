"""Fixtures of the pages and the API: a merchant group, and a program with a token of it."""

from __future__ import annotations

import pytest
from django.core.cache import cache
from django.test import Client

from config.tenancy.services import create_scope_key
from tests.factories import World, make_world


@pytest.fixture
def world(db: None) -> World:
    """Two divisions with production and staging, one person per role."""
    return make_world()


@pytest.fixture
def api(world: World) -> Client:
    """A client with a token of the first division's production."""
    cache.clear()  # throttle counters
    _key, token = create_scope_key(world.production, name="测试")
    return Client(headers={"Authorization": f"Bearer {token}"})
