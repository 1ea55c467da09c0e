"""The API keeps its own description whatever is asked (schemathesis makes up the questions)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from drf_spectacular.generators import SchemaGenerator
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from config.tenancy.services import create_scope_key
from config.wsgi import application
from frontend.api.throttling import KeyThrottle
from tests.factories import World, for_environment, make_order

pytestmark = [pytest.mark.django_db, pytest.mark.slow]


def _describe() -> Any:
    """The API's description without its tokens: every question carries one (test_api.py has 401)."""
    schema = SchemaGenerator().get_schema(public=True)
    for methods in schema["paths"].values():
        for operation in methods.values():
            operation.pop("security", None)
    described = schemathesis.openapi.from_dict(schema)
    described.app = application
    return described


described = _describe()


@pytest.fixture
def token(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A token without a limit, of an environment with an order."""
    monkeypatch.setattr(KeyThrottle, "rate", None, raising=False)
    with for_environment(world.production):
        make_order()
    # As Django's own test client: a request must not close the connection of the test.
    signals = (request_started, request_finished)
    for signal in signals:
        signal.disconnect(close_old_connections)
    yield create_scope_key(world.production, name="模糊测试")[1]
    for signal in signals:
        signal.connect(close_old_connections)


@described.parametrize()
@settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_every_answer_is_as_described(case: schemathesis.Case, token: str) -> None:
    case.call_and_validate(
        headers={"Authorization": f"Bearer {token}"},
        # A cursor is a text by its description, but only one this API gave out is accepted.
        excluded_checks=[positive_data_acceptance],
    )
