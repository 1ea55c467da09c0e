"""1-10: addresses that lead inside, names that lie, redirects, and servers that never end."""

from __future__ import annotations

import gzip
import socket
import threading
import time
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.test import Client

from config.audit.models import AuditEntry
from config.tenancy.scope import for_environment
from connectors import http
from connectors.http import AddressRefused, Request
from connectors.orders.models import Order
from connectors.shops.connections import change_connection, create_connection
from connectors.shops.models import AllowedAddress, Connection
from connectors.sync.models import CallLog
from connectors.sync.reading import pull
from connectors.sync.registry import list_connectors
from connectors.sync.sweeps import sweep
from connectors.sync.trying import Trial, try_connection
from tests.connectors.sync.outside import Outside, open_outside
from tests.connectors.sync.test_reading import make_life, stored
from tests.factories import World, make_world
from tests.frontend import sources
from tests.negative.attacks import APPS, START, Watch, reply, serve, settings_of

pytestmark = pytest.mark.django_db

VENDORS = [connector.code for connector in list_connectors()]
INSIDE = {
    1: ["http://127.0.0.1:6379", "http://127.0.0.1", "http://localhost"],
    2: [
        "http://2130706433",
        "http://0x7f000001",
        "http://0177.0.0.1",
        "http://127.1",
        "http://0",
        "http://017700000001",
        "http://0x7f.1",
    ],
    3: ["http://100.100.100.200/latest/meta-data", "http://169.254.169.254"],
    4: [
        "http://[::1]",
        "http://[::ffff:10.0.0.1]",
        "http://[64:ff9b::7f00:1]",
        "http://[2002:7f00:1::]",
        "http://[fd00::1]",
        "http://[::]",
    ],
    8: [
        "file:///etc/passwd",
        "gopher://127.0.0.1:70",
        "ftp://93.184.216.34",
        "http://u:p@93.184.216.34",
        "http://93.184.216.34:22",
    ],
}
ADDRESSES = [pytest.param(url, id=f"{n}-{url}") for n, urls in INSIDE.items() for url in urls]


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    return Watch(monkeypatch)


def attempt(outside: Outside, vendor: str, url: str) -> Trial:
    """The test call of the wizard, with good credentials and this address."""
    config, secrets = settings_of(outside, vendor)
    return try_connection(
        outside.environment,
        vendor=vendor,
        base_url=url,
        config=config,
        secrets=secrets,
        shop="店",
        now=outside.now(),
    )


def sign_in(client: Client, world: World) -> Client:
    client.force_login(world.users["tech_support"])
    return client


def start_draft(client: Client, vendor: str = "tmall") -> str:
    """Pick one vendor in the wizard; the address of its draft."""
    answer = client.post("/connections/new/", {"vendor": [vendor]})
    assert answer.status_code == 302
    return str(answer["Location"])


def fill_in(outside: Outside, vendor: str, url: str) -> dict[str, str]:
    """The wizard's form with good credentials and this address."""
    config, secrets = settings_of(outside, vendor)
    answers = {f"f_{name}": str(value) for name, value in (config | secrets).items()}
    return {"name": "一号", "base_url": url, **answers}


def list_refusals(world: World) -> list[AuditEntry]:
    with for_environment(world.production, write=False):
        return list(AuditEntry.objects.filter(action="connection.refused"))


# -- 1 to 4, 8: where an address leads -------------------------------------------------------------


@pytest.mark.parametrize("vendor", VENDORS)
def test_1_to_8_a_test_call_to_an_inside_address_is_refused_without_a_socket(
    outside: Outside, watch: Watch, vendor: str
) -> None:
    for urls in INSIDE.values():
        for url in urls:
            trial = attempt(outside, vendor, url)
            assert not trial.ok, url
            assert trial.code == "address_refused", url
            assert "目标地址不允许" in trial.words.message, url
    assert watch.opened == []


@pytest.mark.parametrize("url", ADDRESSES)
def test_1_to_8_the_wizard_answers_400_and_says_why(
    world: World, outside: Outside, client: Client, watch: Watch, url: str
) -> None:
    sign_in(client, world)
    draft = start_draft(client)

    for address in (draft, f"{draft}try/"):
        answer = client.post(address, fill_in(outside, "tmall", url))
        page = answer.content.decode()
        assert answer.status_code == 400
        # Some are no address of an interface at all: the form itself says what is wrong with them.
        assert any(
            words in page for words in ("目标地址不允许", "接口地址应以 https://", "不要带用户名")
        )
    assert watch.opened == []
    plan = client.post("/connections/new/plan/", {"every_minutes": "15"})
    assert plan.status_code == 400
    with for_environment(world.production, write=False):
        assert not Connection.objects.exists()


def test_1_every_refusal_leaves_a_row_in_the_audit_log_without_the_address(
    world: World, outside: Outside, client: Client, watch: Watch
) -> None:
    sign_in(client, world)
    draft = start_draft(client)
    form = fill_in(outside, "tmall", "http://127.0.0.1:6379")

    client.post(f"{draft}try/", form)
    assert len(list_refusals(world)) == 1
    client.post(draft, form)
    rows = list_refusals(world)
    assert len(rows) == 2
    for row in rows:
        assert row.actor == world.users["tech_support"]
        assert row.details == {"code": "address_refused"}
        assert "6379" not in row.subject
    with for_environment(world.other, write=False):
        assert not AuditEntry.objects.filter(
            action="connection.refused", environment=world.other
        ).exists()


def test_1_an_edit_that_is_forced_past_the_test_call_is_refused_as_well(
    world: World, client: Client, watch: Watch
) -> None:
    sign_in(client, world)
    with for_environment(world.production):
        connection = sources.connect(START)
    form = {
        "base_url": "http://127.0.0.1:6379",
        "every_minutes": "15",
        "action": "force",
        "f_app_key": "12345678",
        "f_app_secret": "typed-1111",
        "f_access_token": "typed-2222",
        "f_refresh_token": "typed-3333",
    }

    answer = client.post(f"/connections/{connection.public_id}/edit/", form)

    assert answer.status_code == 400
    assert "目标地址不允许" in answer.content.decode()
    assert len(list_refusals(world)) == 1
    assert watch.opened == []
    with for_environment(world.production, write=False):
        assert Connection.objects.get().base_url == "https://eco.taobao.com"


@pytest.mark.parametrize("url", ADDRESSES)
def test_1_to_8_the_service_stores_no_such_address(world: World, url: str) -> None:
    with for_environment(world.production):
        good = sources.connect(START)
        with pytest.raises(AddressRefused):
            change_connection(good, actor=None, now=START, base_url=url)
        with pytest.raises(AddressRefused):
            sources.connect(START, name="另一家", base_url=url)
        assert Connection.objects.get().base_url == "https://eco.taobao.com"


def test_1_an_address_is_listed_for_one_environment_only(world: World) -> None:
    with for_environment(world.staging):
        AllowedAddress.objects.create(
            host="127.0.0.1", port=6379, purpose="x", requested_at=START, approved_at=START
        )
        sources.connect(START, base_url="http://127.0.0.1:6379")
    with for_environment(world.production), pytest.raises(AddressRefused):
        sources.connect(START, base_url="http://127.0.0.1:6379")


def test_1_an_address_somebody_only_asked_for_opens_nothing(world: World) -> None:
    with for_environment(world.production):
        AllowedAddress.objects.create(host="127.0.0.1", port=6379, purpose="x", requested_at=START)
        with pytest.raises(AddressRefused):
            sources.connect(START, base_url="http://127.0.0.1:6379")


@pytest.mark.parametrize("vendor", VENDORS)
def test_1_a_stored_inside_address_is_refused_at_every_call(
    world: World, outside: Outside, watch: Watch, vendor: str
) -> None:
    """It was taken off the list after it had been stored."""
    connection = outside.connect(APPS[vendor])
    with for_environment(world.production):
        AllowedAddress.objects.all().delete()

    read(outside, connection)

    assert watch.opened == []
    with for_environment(world.production, write=False):
        row = Connection.objects.get()
    assert row.state == Connection.State.TROUBLE
    assert row.trouble_code == "address_refused"
    assert row.trouble is not None
    assert "目标地址不允许" in row.trouble.message


def test_1_the_api_takes_no_connection_at_all(world: World, client: Client, watch: Watch) -> None:
    sign_in(client, world)

    answer = client.post("/api/v1/connections/", {"base_url": "http://127.0.0.1:6379"})

    assert answer.status_code in {401, 403, 404, 405}
    assert watch.opened == []


# -- 5, 6, 9: what a name answers ------------------------------------------------------------------


class Names:
    """A resolver that answers each time with the next list; literal addresses as ever."""

    def __init__(self, patch: pytest.MonkeyPatch, *answers: list[str]) -> None:
        self.asked: list[str] = []
        real = socket.getaddrinfo

        def look_up(host: Any, port: Any, *args: Any, **more: Any) -> Any:
            try:
                return real(host, port, *args, **{**more, "flags": socket.AI_NUMERICHOST})
            except socket.gaierror:
                pass
            self.asked.append(str(host))
            found = answers[min(len(self.asked), len(answers)) - 1]
            if not found:
                raise socket.gaierror(socket.EAI_NONAME, "no such name")
            return [
                row for address in found for row in real(address, port, type=socket.SOCK_STREAM)
            ]

        patch.setattr(socket, "getaddrinfo", look_up)


@pytest.mark.parametrize("vendor", VENDORS)
def test_5_a_name_that_moves_inside_after_the_first_answer_never_gets_there(
    outside: Outside, watch: Watch, monkeypatch: pytest.MonkeyPatch, vendor: str
) -> None:
    names = Names(monkeypatch, ["93.184.216.34"], ["127.0.0.1"])

    trial = attempt(outside, vendor, "http://rebind.example")

    assert not trial.ok
    assert names.asked == ["rebind.example"]
    assert [address[0] for address in watch.opened] == ["93.184.216.34"]


@pytest.mark.parametrize("vendor", VENDORS)
def test_6_a_name_with_one_private_answer_among_public_ones_is_refused(
    outside: Outside, watch: Watch, monkeypatch: pytest.MonkeyPatch, vendor: str
) -> None:
    Names(monkeypatch, ["93.184.216.34", "10.0.0.1"])

    assert attempt(outside, vendor, "https://mixed.example").code == "address_refused"
    assert watch.opened == []


@pytest.mark.parametrize("vendor", VENDORS)
def test_9_a_name_that_does_not_resolve_is_refused_and_not_let_through(
    outside: Outside, watch: Watch, monkeypatch: pytest.MonkeyPatch, vendor: str
) -> None:
    Names(monkeypatch, [])

    trial = attempt(outside, vendor, "https://nowhere.example")

    assert (trial.ok, trial.code) == (False, "name_not_resolved")
    assert "域名无法解析" in trial.words.message
    assert watch.opened == []


def test_6_and_9_the_wizard_answers_400_with_a_row_in_the_audit_log(
    world: World,
    outside: Outside,
    client: Client,
    watch: Watch,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sign_in(client, world)
    draft = start_draft(client)
    Names(monkeypatch, ["93.184.216.34", "10.0.0.1"], [])

    for code in ("address_refused", "name_not_resolved"):
        answer = client.post(f"{draft}try/", fill_in(outside, "tmall", "https://odd.example"))
        assert answer.status_code == 400
        assert "目标地址不允许" in answer.content.decode()
        assert list_refusals(world)[-1].details == {"code": code}
    assert watch.opened == []


# -- 7: redirects ----------------------------------------------------------------------------------


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"])
def test_7_a_redirect_inside_is_not_followed(
    world: World, outside: Outside, vendor: str, status: str
) -> None:
    with serve(reply(b'{"secret": "inner"}')) as (inner, reached):
        moved = reply(b"moved", status=status, headers=(f"Location: http://127.0.0.1:{inner}/",))
        with serve(moved) as (port, asked):
            allow(world, port)
            connection = connect_to(outside, vendor, port)
            trial = attempt(outside, vendor, f"http://127.0.0.1:{port}")
            read(outside, connection)

    assert (trial.ok, trial.code) == (False, "redirect")
    assert len(asked) == 2  # the trial and the job: nobody tries a redirect again
    assert reached == []
    with for_environment(world.production, write=False):
        row = Connection.objects.get()
        assert set(CallLog.objects.values_list("http_status", flat=True)) == {int(status[:3])}
    assert row.state == Connection.State.TROUBLE
    assert row.trouble is not None
    assert "跳转" in row.trouble.message


def test_7_the_next_page_of_an_oms_is_asked_for_at_the_oms_only(
    world: World, outside: Outside
) -> None:
    with serve(reply(b"{}")) as (inner, reached):
        page = (
            '{"code": 0, "data": {"rows": [{"orderNo": "1", "updateTime": "2025-11-11 08:30:00"}],'
            f' "next": "http://127.0.0.1:{inner}/"}}}}'
        )
        with serve(reply(page.encode())) as (port, _asked):
            allow(world, port)
            allow(world, inner)
            connection = connect_to(
                outside,
                "generic_oms",
                port,
                paging_kind="next",
                next_path="data.next",
                cursor_path="",
                page_name="",
                size_name="",
            )
            pulled = pull(outside.environment, connection.pk, **outside.tools)

    assert pulled is not None
    assert pulled.error is not None
    assert pulled.error.code == "foreign_link"
    assert reached == []


# -- 10: answers without an end --------------------------------------------------------------------


def drip(client: socket.socket) -> None:
    """A byte now and then, for as long as anybody listens."""
    client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        client.sendall(b" ")
        time.sleep(0.05)


def pour(client: socket.socket) -> None:
    """As much as anybody takes."""
    client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        client.sendall(b"x" * 65536)


BOMB = gzip.compress(b"\0" * 200_000_000)
SERVERS = {
    "drip": (drip, "no_answer"),
    "endless": (pour, "too_large"),
    "bomb": (reply(BOMB, headers=("Content-Encoding: gzip",)), "too_large"),
}


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize("kind", SERVERS)
def test_10_an_answer_without_an_end_is_cut(
    world: World, outside: Outside, monkeypatch: pytest.MonkeyPatch, vendor: str, kind: str
) -> None:
    answer, code = SERVERS[kind]
    monkeypatch.setattr("connectors.sync.trying.Request", partial(Request, total_seconds=0.5))
    with serve(answer) as (port, asked):
        allow(world, port)
        trial = attempt(outside, vendor, f"http://127.0.0.1:{port}")

    assert (trial.ok, trial.code) == (False, code)
    assert len(asked) == 1
    assert len(trial.answer) < 10_000


def test_10_the_limits_are_fifteen_seconds_and_five_megabytes() -> None:
    assert Request("GET", "http://x.example").total_seconds == http.TOTAL_SECONDS == 15
    assert http.MAX_BODY_BYTES == 5 * 1024 * 1024


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("kind", SERVERS)
def test_10_another_tenant_reads_on_while_one_platform_never_ends(
    monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    attacked, other = make_world(), make_world("别家集团", prefix="b-")
    answer, code = SERVERS[kind]
    monkeypatch.setattr("connectors.sync.transport.Request", partial(Request, total_seconds=4))
    is_asked, outcome = threading.Event(), []

    def note_and_answer(client: socket.socket) -> None:
        is_asked.set()
        answer(client)

    with (
        serve(note_and_answer) as (port, _asked),
        open_outside(attacked.production, at=START) as bad,
        open_outside(other.production, at=START) as good,
    ):
        allow(attacked, port)
        connection = connect_to(bad, "tmall", port)
        healthy = good.connect("tmall")
        good.add(*(make_life(good, n) for n in range(5)))

        def read_bad() -> None:
            from django.db import connection as database

            try:
                outcome.append(pull(attacked.production, connection.pk, **bad.tools))
            finally:
                database.close()

        worker = threading.Thread(target=read_bad)
        worker.start()
        assert is_asked.wait(30)
        pulled = pull(other.production, healthy.pk, **good.tools)
        was_going_on = worker.is_alive()
        worker.join(120)

    assert pulled is not None
    assert pulled.error is None
    assert len(stored(good)) == 5
    assert was_going_on or kind != "drip"  # the drip lasts longer than five orders take
    assert [run.error.code for run in outcome] == [code]
    with for_environment(attacked.production, write=False):
        assert not Order.objects.exists()
        assert set(CallLog.objects.values_list("outcome", "vendor_code")) == {("ambiguous", code)}
        assert Connection.objects.get().state == Connection.State.TROUBLE


# -- help ------------------------------------------------------------------------------------------


def allow(world: World, port: int) -> None:
    """Put a port of this machine on the allow-list of the production environment."""
    with for_environment(world.production):
        AllowedAddress.objects.create(
            host="127.0.0.1", port=port, purpose="测试", requested_at=START, approved_at=START
        )


def connect_to(outside: Outside, vendor: str, port: int, **config: str) -> Connection:
    """A connection with good credentials to whatever listens there."""
    settings, secrets = settings_of(outside, vendor)
    connector = next(c for c in list_connectors() if c.code == vendor)
    with for_environment(outside.environment):
        return create_connection(
            vendor=vendor,
            kind=connector.kind,
            name=f"{vendor}坏来源",
            shop=None,
            base_url=f"http://127.0.0.1:{port}",
            config={"calls_per_second": 1000, **settings, **config},
            secrets=secrets,
            actor=None,
            now=START - timedelta(hours=1),
        )


def read(outside: Outside, connection: Connection) -> None:
    """What the river does with a connection every few minutes."""
    job = pull if connection.source.kind in {"channel", "oms"} else sweep
    job(outside.environment, connection.pk, **outside.tools)
