"""Many pushes wake one worker: it takes along what came while it was at work."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from datetime import timedelta

import pytest
from django.utils import timezone

from config.tenancy.scope import for_environment
from connectors.shops.connections import create_connection
from connectors.shops.services import get_or_create_shop
from connectors.sync.models import InboundMessage
from connectors.sync.pushes import work_messages
from frontend.inbound import views
from tests.factories import make_world
from workflows.patrol import sources
from workflows.patrol.sources import Job

KEY = bytes(range(32))


@pytest.fixture
def world(transactional_db):
    return make_world()


def _connect(environment):
    with for_environment(environment):
        return create_connection(
            vendor="private_mall", kind="channel", name="商城", base_url="https://mall.example",
            shop=get_or_create_shop("private_mall", "商城"), config={},
            secrets={"secret": "whsec_" + base64.b64encode(KEY).decode()},
            actor=None, now=timezone.now(),
        )  # fmt: skip


def _push(client, environment, connection, number):
    stamp, moment = str(int(time.time())), timezone.now().isoformat()
    order = {"order_no": number, "status": "await_pay", "created_at": moment, "updated_at": moment}
    event = {"type": "order.created", "occurred_at": moment, "data": order}
    body = json.dumps(event).encode()
    sign = hmac.new(KEY, f"{number}.{stamp}.".encode() + body, hashlib.sha256).digest()
    return client.post(
        f"/in/{environment.public_id}/{connection.public_id}/", body,
        content_type="application/json",
        headers={
            "webhook-id": number, "webhook-timestamp": stamp,
            "webhook-signature": "v1," + base64.b64encode(sign).decode(),
        },
    )  # fmt: skip


@pytest.fixture
def woken(monkeypatch):
    calls = []
    monkeypatch.setattr(views, "enqueue", lambda name, *args, **_: calls.append((name, *args)))
    return calls


def test_only_the_first_of_waiting_pushes_wakes_a_worker(world, client, woken):
    first, other = _connect(world.production), _connect(world.other)
    for number in ("A1", "A2", "A3"):
        assert _push(client, world.production, first, number).status_code == 200
    assert _push(client, world.other, other, "B1").status_code == 200

    assert woken == [
        ("patrol.work_messages", world.production.pk, first.pk),
        ("patrol.work_messages", world.other.pk, other.pk),
    ]
    work_messages(world.production, first.pk)
    _push(client, world.production, first, "A4")
    assert len(woken) == 3


def test_a_message_that_waits_for_its_next_try_does_not_keep_others_waiting(world, client, woken):
    connection = _connect(world.production)
    _push(client, world.production, connection, "A1")
    with for_environment(world.production):
        InboundMessage.objects.update(due_at=timezone.now() + timedelta(hours=1))

    _push(client, world.production, connection, "A2")
    assert len(woken) == 2


def test_a_worker_goes_on_while_it_finds_something(world, client, woken, monkeypatch):
    connection = _connect(world.production)
    again = []
    monkeypatch.setattr(sources, "enqueue", lambda name, *args, **_: again.append((name, *args)))
    _push(client, world.production, connection, "A1")

    sources.work_job(world.production, Job("inbox", connection.pk))
    assert [call[0] for call in again] == ["patrol.sync_job"]
    sources.work_job(world.production, Job("inbox", connection.pk))
    assert len(again) == 1
