"""What a sender reads when its push was not taken."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time

import pytest
from django.test import Client
from django.utils import timezone

from config.tenancy.scope import for_environment
from connectors.shops.connections import create_connection
from connectors.shops.services import get_or_create_shop
from connectors.sync.models import InboundMessage
from tests.factories import World, make_world

KEY = bytes(range(32))


@pytest.fixture
def world(db: None) -> World:
    return make_world()


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b'{"data":{}}', "type"),
        (b'{"type":"ping","occurred_at":"soon"}', "occurred_at"),
        (b'{"type":"ping","type":"ping"}', "type"),
        (b"nonsense", "$"),
        (b'{"a\\n":1,"a\\n":2}', None),  # a name that no header could carry
        ('{"字":1,"字":2}'.encode(), None),
    ],
)
def test_unreadable_push_is_answered_with_the_field_at_fault(
    world: World, client: Client, body: bytes, field: str | None
) -> None:
    with for_environment(world.staging, write=True):
        connection = create_connection(
            vendor="private_mall",
            kind="channel",
            name="商城",
            shop=get_or_create_shop("private_mall", "商城"),
            base_url="https://mall.example",
            config={},
            secrets={"secret": "whsec_" + base64.b64encode(KEY).decode()},
            actor=None,
            now=timezone.now(),
        )
    stamp = str(int(time.time()))
    sign = hmac.new(KEY, f"m1.{stamp}.".encode() + body, hashlib.sha256).digest()

    answer = client.post(
        f"/in/{world.staging.public_id}/{connection.public_id}/",
        body,
        content_type="application/json",
        headers={
            "webhook-id": "m1",
            "webhook-timestamp": stamp,
            "webhook-signature": "v1," + base64.b64encode(sign).decode(),
        },
    )

    assert answer.status_code == 400
    assert answer.headers.get("X-Field") == field
    with for_environment(world.staging):
        assert not InboundMessage.objects.exists()
