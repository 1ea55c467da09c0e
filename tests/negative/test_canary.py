"""57: a credential is sealed in one column and in clear nowhere: logs, rows, Redis, pages, repr."""

from __future__ import annotations

import json
import logging
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.contrib.sessions.models import Session as StoredSession
from django.core import serializers
from django.db import connection as database
from django.test import Client

from config.celery import app as celery
from config.secrets import decrypt
from config.tenancy.models import Environment
from config.tenancy.scope import for_environment
from config.tenancy.services import create_scope_key
from connectors.http import ConnectorError
from connectors.shops.connections import hint_secrets, reveal_secrets
from connectors.shops.models import AllowedAddress, Connection
from connectors.sync.limits import Limiter
from connectors.sync.models import CallLog, InboundMessage
from connectors.sync.pushes import work_messages
from connectors.sync.queues import consume
from connectors.sync.reading import pull
from connectors.sync.sweeps import ask, sweep
from connectors.sync.transport import open_session
from connectors.sync.trying import try_connection
from frontend.sealed_columns import SEALED_TABLES
from tests.connectors.sync.outside import VENDORS, Outside
from tests.connectors.sync.test_limits import Server
from tests.connectors.sync.test_reading import make_life as make_tmall_life
from tests.factories import World, make_user
from tests.negative.attacks import serve, settings_of
from tests.negative.test_inbound import make_life
from workflows.patrol.queue import enqueue
from workflows.patrol.sources import ring_sources

pytestmark = pytest.mark.django_db


@pytest.fixture
def redis_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A real Redis that every task and every budget goes to."""
    with tempfile.TemporaryDirectory(prefix="r") as folder:
        server = Server(Path(folder))
        monkeypatch.setattr(celery.conf, "broker_url", f"redis+socket://{server.socket}")
        monkeypatch.setattr(celery.conf, "broker_write_url", f"redis+socket://{server.socket}")
        yield server
        server.stop()


class Monitor:
    """Everything a Redis is told while it is watched."""

    def __init__(self, server: Server) -> None:
        self.told: list[str] = []
        self.server = server

    @contextmanager
    def watching(self) -> Iterator[Monitor]:
        is_ready = threading.Event()

        def watch() -> None:
            with self.server.client().monitor() as monitor:
                monitor.connection._sock.settimeout(30)
                is_ready.set()
                for row in monitor.listen():
                    self.told.append(str(row["command"]))
                    if "END-OF-WATCH" in self.told[-1]:
                        return

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        assert is_ready.wait(10)
        yield self
        self.server.client().set("END-OF-WATCH", "1")
        thread.join(20)
        assert not thread.is_alive()


def find_canaries(environment: Environment) -> set[str]:
    """Every secret that is stored, whole; of long ones with many lines each line."""
    with for_environment(environment, write=False):
        values = [v for c in Connection.objects.all() for v in reveal_secrets(c).values()]
    lines = {line for value in values for line in value.splitlines() if "-----" not in line}
    assert all(len(line) > 3 for line in lines)
    return {line for line in lines if len(line) >= 12}


def found_in(text: str, canaries: set[str]) -> list[str]:
    return sorted({canary[:8] for canary in canaries if canary in text})


def dump_tables(environment: Environment) -> str:
    """Every column of every row of every table, as a dump of the database would show it."""
    found = []
    with for_environment(environment, write=False), database.cursor() as cursor:
        for table in database.introspection.table_names(cursor):
            cursor.execute(f"SELECT * FROM {database.ops.quote_name(table)}")
            found.extend(f"{table}: {row!r}" for row in cursor.fetchall())
    assert any("shops_connection: " in row for row in found)
    return "\n".join(found)


def open_everything_sealed(environment: Environment) -> str:
    """All that is sealed, in clear, but the one column that credentials belong in."""
    found = []
    with for_environment(environment, write=False):
        for table in SEALED_TABLES:
            if table.model is Connection:
                continue
            for column, purpose in table.purposes.items():
                values = table.model._default_manager.values_list(column, flat=True)
                found.extend(decrypt(value, purpose=purpose) for value in values)
    return "\n".join(found)


def echo_whole(heads: list[bytes]) -> Any:
    """As a gateway in debug mode: the whole request back, head and body."""

    def answer(client: socket.socket) -> None:
        body = b"<html><pre>" + heads[-1] + b"</pre></html>"
        head = f"HTTP/1.1 500 Oops\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        client.sendall(head + body)

    return answer


def live_through_a_day(outside: Outside, server: Server) -> dict[str, Connection]:
    """Every vendor connected; read, asked, pushed to, refused, broken, renewed; tasks sent."""
    outside.limiter = Limiter(client=server.client(), clock=lambda: outside.now().timestamp())
    connections = {app: outside.connect(app) for app in VENDORS}
    outside.add(make_tmall_life(outside, 1))
    outside.add(make_life(outside, "douyin"), make_life(outside, "alipay"))
    environment = outside.environment
    outside.pass_time(minutes=3)

    def read_all() -> None:
        for app, connection in connections.items():
            if connection.source.kind in {"channel", "oms"}:
                pull(environment, connection.pk, is_forced=True, **outside.tools)
            else:
                sweep(environment, connection.pk, **outside.tools)
                session = open_session(environment, connection.pk, **outside.tools)
                ask(session, ["M0001", "NOBODY"])
            work_messages(environment, connection.pk, **outside.tools)
            if app == "tmall":
                consume(environment, connection.pk, **outside.tools)

    read_all()
    for kind in ("http_500", "garbage", "refuse_connection", "half_page"):
        for app in VENDORS:
            outside.faults.switch(app, "*", kind, times=6)
        outside.pass_time(minutes=20)
        read_all()
        outside.faults.clear()
    outside.apps["tmall"].expire(outside.shops["tmall"])  # type: ignore[attr-defined]
    outside.pass_time(minutes=20)
    read_all()  # renews Tmall's tokens
    ring_sources(environment, now=outside.now())
    for connection in connections.values():
        assert enqueue("patrol.work_messages", environment.pk, connection.pk, queue="sync")
    return connections


def test_57_a_day_of_all_vendors_leaves_no_credential_in_clear(
    world: World,
    outside: Outside,
    redis_server: Server,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    for name in ("urllib3", "celery", "kombu", "django"):
        caplog.set_level(logging.DEBUG, logger=name)
    before = {v for app in VENDORS for v in outside.credentials(app)[1].values()}
    with Monitor(redis_server).watching() as monitor:
        live_through_a_day(outside, redis_server)
        client = redis_server.client()
        kept = [repr(client.dump(key)) + repr(key) for key in client.keys("*")]
    canaries = find_canaries(world.production) | {b for b in before if "\n" not in b}
    with for_environment(world.production, write=False):
        tmall = Connection.objects.get(vendor="tmall")
        assert tmall.token_version >= 1  # so both old and new tokens are looked for
        assert CallLog.objects.filter(operation="taobao.top.auth.token.refresh").exists()
        assert CallLog.objects.exclude(outcome="ok").exists()
        assert InboundMessage.objects.exists()

    assert len(canaries) > 20
    assert found_in(caplog.text, canaries) == []
    assert "http POST 127.0.0.1" in caplog.text
    assert found_in("\n".join(monitor.told), canaries) == []
    assert any("hedao:limit:" in command for command in monitor.told)
    assert any("patrol.work_messages" in command for command in monitor.told)
    assert found_in("\n".join(kept), canaries) == []
    assert found_in(dump_tables(world.production), canaries) == []
    assert found_in(open_everything_sealed(world.production), canaries) == []


def test_57_the_search_itself_finds_what_is_in_clear(world: World, outside: Outside) -> None:
    connection = outside.connect("tmall")
    canaries = find_canaries(world.production)
    with for_environment(world.production):
        secret = reveal_secrets(connection)["app_secret"]
        Connection.objects.update(config={"app_key": "1", "oops": secret})

    assert found_in(dump_tables(world.production), canaries) == [secret[:8]]


@pytest.mark.parametrize("vendor", [vendor for vendor, _kind in VENDORS.values()])
def test_57_an_error_page_that_quotes_the_request_is_kept_without_its_credentials(
    world: World, outside: Outside, vendor: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    app = next(app for app, (code, _kind) in VENDORS.items() if code == vendor)
    heads: list[bytes] = []
    config, secrets = settings_of(outside, vendor)
    with serve(lambda client: echo_whole(heads)(client)) as (port, seen):
        heads = seen
        with for_environment(world.production):
            AllowedAddress.objects.create(
                host="127.0.0.1",
                port=port,
                purpose="x",
                requested_at=outside.now(),
                approved_at=outside.now(),
            )
        connection = outside.connect(app)
        with for_environment(world.production):
            Connection.objects.update(base_url=f"http://127.0.0.1:{port}")
        trial = try_connection(
            world.production,
            vendor=vendor,
            base_url=f"http://127.0.0.1:{port}",
            config=config,
            secrets=secrets,
            shop="店",
            now=outside.now(),
        )
        session = open_session(world.production, connection.pk, **outside.tools)
        with pytest.raises(ConnectorError) as caught:
            session.call(lambda client: client.check())
        with for_environment(world.production):
            session.write_log()
            session.note_failure(caught.value)
    canaries = find_canaries(world.production)

    assert heads
    assert not trial.ok
    assert "POST" in trial.answer or "GET" in trial.answer
    error = caught.value
    told = f"{trial!r} {error!r} {error} {error.params} {error.__cause__!r} {session!r}"
    assert found_in(told, canaries) == []
    assert found_in(caplog.text, canaries) == []
    assert found_in(dump_tables(world.production), canaries) == []
    assert found_in(open_everything_sealed(world.production), canaries) == []


@pytest.mark.parametrize("app", VENDORS)
def test_57_nothing_that_can_be_printed_shows_a_credential(
    world: World, outside: Outside, app: str
) -> None:
    connection = outside.connect(app)
    session = open_session(world.production, connection.pk, **outside.tools)
    client = session.client
    canaries = find_canaries(world.production)

    shown = [repr(session), str(session), repr(client), repr(client._access), repr(connection)]
    shown += [repr(vars(connection)), repr(session.connector)]
    with for_environment(world.production, write=False):
        shown += [serializers.serialize(form, Connection.objects.all()) for form in ("json", "xml")]
    assert found_in("\n".join(shown), canaries) == []
    assert canaries


def test_57_pages_admin_and_api_show_four_characters_at_most(
    world: World, outside: Outside, redis_server: Server
) -> None:
    connections = live_through_a_day(outside, redis_server)
    canaries = find_canaries(world.production)
    person, admin = Client(), Client()
    person.force_login(world.users["tech_support"])
    chief = make_user("chief", tenant=None, is_staff=True, is_superuser=True)
    admin.force_login(chief)
    pages = ["/connections/", "/quarantine/", "/backfills/", "/"]
    for connection in connections.values():
        at = f"/connections/{connection.public_id}/"
        pages += [at, f"{at}edit/", f"{at}calls/"]
    with for_environment(world.production):
        _key, token = create_scope_key(world.production, name="测试")

    seen = ""
    for address in pages:
        answer = person.get(address)
        assert answer.status_code == 200, address
        seen += answer.content.decode()
    for address in ("/admin/", "/admin/shops/source/", "/admin/shops/connection/"):
        seen += admin.get(address).content.decode()
    api = Client(headers={"Authorization": f"Bearer {token}"})
    for address in ("/api/v1/orders/", "/api/v1/schema/"):
        seen += api.get(address).content.decode()

    assert found_in(seen, canaries) == []
    for connection in connections.values():
        with for_environment(world.production, write=False):
            hints = hint_secrets(reveal_secrets(connection))
        assert all(len(hint) <= 4 for hint in hints.values())


def test_57_a_draft_of_the_wizard_keeps_its_credentials_sealed(
    world: World, outside: Outside
) -> None:
    person = Client()
    person.force_login(world.users["tech_support"])
    draft = person.post("/connections/new/", {"vendor": ["tmall"]})["Location"]
    config, secrets = settings_of(outside, "tmall")
    form = {f"f_{k}": str(v) for k, v in (config | secrets).items()}
    form |= {"name": "一号", "base_url": outside.address + "/tmall"}

    tried = person.post(f"{draft}try/", form)  # refused: nobody has allowed the address
    shown = person.get(draft)

    kept = [
        json.dumps(row.get_decoded(), ensure_ascii=False) for row in StoredSession.objects.all()
    ]
    canaries = set(secrets.values())
    assert any("sealed" in row for row in kept)
    assert found_in("\n".join(kept), canaries) == []
    assert found_in(tried.content.decode() + shown.content.decode(), canaries) == []
    assert found_in(dump_tables_without_connection(world.production), canaries) == []


def dump_tables_without_connection(environment: Environment) -> str:
    with for_environment(environment, write=False), database.cursor() as cursor:
        cursor.execute("SELECT * FROM audit_auditentry")
        rows = repr(cursor.fetchall())
        cursor.execute("SELECT * FROM django_session")
        return rows + repr(cursor.fetchall())
