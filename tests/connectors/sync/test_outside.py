"""The outside itself: every app can be connected with what the wizard would ask for."""

from __future__ import annotations

import pytest

from connectors.sync.registry import get_connector
from connectors.sync.transport import open_session
from tests.connectors.sync.outside import VENDORS, Outside

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("app", VENDORS)
def test_a_connected_app_answers_an_authorised_call(outside: Outside, app: str) -> None:
    connection = outside.connect(app)
    session = open_session(outside.environment, connection.pk, **outside.tools)

    assert session.call(lambda client: client.check())


@pytest.mark.parametrize("app", VENDORS)
def test_the_credentials_answer_every_required_question(outside: Outside, app: str) -> None:
    config, secrets = outside.credentials(app)
    fields = get_connector(VENDORS[app][0]).fields

    secret = {f.name for f in fields if f.is_secret}
    assert set(secrets) <= secret | {"access_token", "refresh_token"}
    required = {f.name for f in fields if f.is_required}
    assert required <= set(secrets) | set(config)
