"""One connection's calls: with how much patience, within which budget, and what is written down."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from math import ceil
from typing import Any

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext

from config.errors import Phrase
from config.tenancy.scope import for_environment
from connectors import http
from connectors.adapters import Access, Outgoing, RateLimit, VendorRefusal
from connectors.http import ConnectorError, Request, Response, Retry
from connectors.shops.connections import record_trouble
from connectors.shops.models import Connection
from connectors.sync.limits import Limiter
from connectors.sync.models import CallLog, CallOrder
from connectors.sync.registry import get_connector
from connectors.sync.transport import MAX_KEPT, MAX_PAUSE, Session, open_session
from connectors.wire import Fault, PayloadError
from tests.connectors.sync.scripted import QUOTA, REFUSED, WRONG_CLOCK, Bench
from tests.factories import World

pytestmark = pytest.mark.django_db
Outcome = CallLog.Outcome
PAUSES = (1.0, 3.0, 9.0)


def refusal(retry: Retry, pause: int | None = None) -> VendorRefusal:
    return VendorRefusal(Fault(retry, "not now"), vendor_code="isp.busy", pause_seconds=pause)


def failure(retry: Retry) -> ConnectorError:
    return ConnectorError("no answer", code="http_timeout", retry=retry)


@dataclass
class Client:
    """Sends the same call at every try; what comes of it is told beforehand, the last for good."""

    access: Access
    outcomes: list[Any] = field(default_factory=list)

    def do(self, **changes: Any) -> str:
        values = {
            "operation": "order.get",
            "method": "POST",
            "url": "https://v.example/",
            **changes,
        }
        answer = self.access.send(Outgoing(**values))
        outcome = self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]
        if isinstance(outcome, Exception):
            raise outcome
        return str(outcome or answer.body.decode())


@pytest.fixture
def bench(world: World, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(world.production, monkeypatch)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[Request]:
    """Every request that left; each is answered."""
    found: list[Request] = []

    def send(request: Request) -> Response:
        found.append(request)
        assert len(found) <= 20, "it never ends"
        return Response(200, {}, b'{"ok": true, "phone": "13812345678"}')

    monkeypatch.setattr(http, "send", send)
    return found


def open_with(bench: Bench, *outcomes: Any, vendor: str = "qimen", **config: Any) -> Session:
    with for_environment(bench.environment):
        connection, _ = bench.connect_here(
            vendor, config=config, secrets={"app_secret": "S3CRET-of-ours"}
        )
    bench.change(
        vendor, open=lambda access: Client(access, list(outcomes) or [""]), retry_pauses=PAUSES
    )
    return open_session(bench.environment, connection.pk, **bench.tools)


def call(session: Session, *, may_repeat: bool = True, **changes: Any) -> Any:
    """The answer, or the code of what it came to."""
    try:
        return session.call(lambda client: client.do(**changes), may_repeat=may_repeat)
    except ConnectorError as error:
        return error.code


# --- patience -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcomes", "tries", "waited", "answer"),
    [
        ([failure(Retry.SAFE), failure(Retry.AMBIGUOUS), "told"], 3, 4, "told"),
        ([failure(Retry.AMBIGUOUS)], 4, 13, "http_timeout"),
        ([failure(Retry.NEVER)], 1, 0, "http_timeout"),
        ([refusal(Retry.NEVER)], 1, 0, "vendor_refusal"),
        ([refusal(Retry.LATER, pause=5), "told"], 2, 5, "told"),  # as long as it wished
        ([refusal(Retry.LATER, pause=5)], 4, 15, "vendor_refusal"),  # and no more often than else
        ([refusal(Retry.LATER, pause=31)], 1, 0, "vendor_refusal"),  # the schedule waits, no worker
        ([QUOTA], 1, 0, "vendor_refusal"),
        ([WRONG_CLOCK], 1, 0, "vendor_refusal"),
        ([PayloadError("odd", field="x"), "told"], 2, 1, "told"),
        ([PayloadError("odd", field="x")], 4, 13, "bad_answer"),
    ],
)
def test_a_reading_call_is_tried_again_as_the_failure_allows(
    bench: Bench, sent: list[Request], outcomes: list[Any], tries: int, waited: float, answer: str
) -> None:
    session = open_with(bench, *outcomes)

    assert call(session) == answer
    assert (len(sent), session.calls, bench.waited) == (tries, tries, waited)
    with for_environment(bench.environment):
        session.write_log()
        attempts = CallLog.objects.order_by("pk").values_list("attempt", flat=True)
        assert list(attempts) == list(range(1, tries + 1))


@pytest.mark.parametrize(
    ("outcome", "tries"),
    [(failure(Retry.SAFE), 4), (failure(Retry.AMBIGUOUS), 1), (refusal(Retry.LATER), 4)],
)
def test_an_effect_without_a_key_is_not_repeated_when_nobody_knows_whether_it_came(
    bench: Bench, sent: list[Request], outcome: Exception, tries: int
) -> None:
    call(open_with(bench, outcome), may_repeat=False, is_effect=True)

    assert len(sent) == tries


def test_of_many_each_outcome_stands_in_its_place(bench: Bench, sent: list[Request]) -> None:
    session = open_with(bench)
    answers = {1: "one", 2: REFUSED, 3: "three", 4: failure(Retry.NEVER), 5: "five"}

    def do(client: Client, number: int) -> str:
        client.access.send(Outgoing("order.get", "GET", "https://v.example/"))
        if isinstance(answers[number], Exception):
            raise answers[number]
        return str(answers[number])

    found = session.map(do, list(answers))

    assert found == list(answers.values())
    assert session.map(do, []) == []
    with for_environment(bench.environment):
        session.write_log()
        told = sorted(CallLog.objects.values_list("outcome", "vendor_code"))
    assert told == [("ok", ""), ("ok", ""), ("ok", ""), ("ok", ""), ("refused", "S001")]


# --- the budget -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("seconds", "is_sent"), [(0.0, True), (2.5, True), (MAX_PAUSE + 1, False)])
def test_a_call_waits_for_its_budget_but_never_long(
    bench: Bench, sent: list[Request], seconds: float, is_sent: bool
) -> None:
    session = open_with(bench)
    taken: list[tuple[str, RateLimit]] = []

    class Full(Limiter):
        def take(self, key: str, limit: RateLimit) -> float:
            taken.append((key, limit))
            return seconds if len(taken) == 1 else 99.0

    session.limiter = Full()
    bench.change("qimen", retry_pauses=())
    session.connector = get_connector("qimen")

    assert (call(session) == "over_budget") is not is_sent
    assert len(sent) == int(is_sent)
    assert bench.waited == (seconds if is_sent else 0)


@pytest.mark.parametrize(
    ("told", "rate"),
    [(None, None), ("", None), ("often", None), (-1, None), ("nan", None), (7, 7.0), ("2.5", 2.5)],
)
def test_an_application_may_have_been_granted_another_rate(
    bench: Bench, told: Any, rate: float | None
) -> None:
    session = open_with(bench, vendor="tmall", calls_per_second=told, app_key="K")
    limit = session._limit()
    shipped = session.connector.limit

    assert limit.per_second == (rate or shipped.per_second)
    assert limit.burst == (ceil(2 * rate) if rate else shipped.burst)  # twice the rate, as shipped


# --- written down ---------------------------------------------------------------------------------


def test_a_call_is_logged_with_its_orders_and_without_a_credential(
    bench: Bench, sent: list[Request]
) -> None:
    session = open_with(bench)
    body = b'{"app_secret": "S3CRET-of-ours", "receiver": "13812345678"}'
    session.call(lambda c: c.do(body=body, order_nos=("102",), headers={"authorization": "x"}))
    session.call(lambda c: c.do(order_nos=("102", "103")))
    with for_environment(bench.environment), CaptureQueriesContext(database) as caught:
        session.write_log()
        one, many = CallLog.objects.order_by("pk")
        assert len(caught) == 3  # two to write, one to look
        orders = list(CallOrder.objects.order_by("pk").values_list("call_id", "order_no"))
        session.write_log()
        assert CallLog.objects.count() == 2

    assert orders == [(one.pk, "102"), (many.pk, "102"), (many.pk, "103")]
    assert (one.operation, one.outcome, one.http_status, one.at) == (
        "order.get", Outcome.OK, 200, bench.now(),
    )  # fmt: skip
    assert "S3CRET" not in one.reveal("request")
    assert "13812345678" in one.reveal("request")  # sealed; who may see it sees it masked
    assert "13812345678" not in one.request_sealed + one.answer_sealed
    assert "13812345678" in one.reveal("answer")
    assert many.reveal("answer") == ""  # a list is kept as the orders it told


def test_a_long_body_is_cut(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = b'{"text": "' + "字".encode() * MAX_KEPT * 2 + b'"}'
    monkeypatch.setattr(http, "send", lambda request: Response(200, {}, answer))
    session = open_with(bench, "told")
    session.call(lambda c: c.do(body=b"x" * MAX_KEPT * 2, order_nos=("102",)))
    with for_environment(bench.environment):
        session.write_log()
        row = CallLog.objects.get()

    assert len(row.reveal("request")) <= MAX_KEPT
    assert 0 < len(row.reveal("answer")) <= MAX_KEPT


def test_an_effect_is_written_down_at_once_with_what_came_of_it(
    bench: Bench, sent: list[Request]
) -> None:
    """Whatever happens to the work around it: something was done outside."""
    session = open_with(bench, REFUSED)

    assert call(session, is_effect=True, key="hold-7", order_nos=("102",)) == "vendor_refusal"

    with for_environment(bench.environment, write=False):
        row = CallLog.objects.get()
        assert (row.is_effect, row.key, row.outcome, row.vendor_code) == (
            True, "hold-7", Outcome.REFUSED, "S001",
        )  # fmt: skip
    with for_environment(bench.environment):
        session.write_log()
        assert CallLog.objects.count() == 1  # not once more


@pytest.mark.parametrize(
    ("retry", "outcome"), [(Retry.AMBIGUOUS, "ambiguous"), (Retry.SAFE, "failed")]
)
def test_a_call_that_was_not_answered_says_whether_it_may_have_come(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, retry: Retry, outcome: str
) -> None:
    def send(request: Request) -> Response:
        raise failure(retry)

    monkeypatch.setattr(http, "send", send)
    session = open_with(bench)
    call(session, may_repeat=False)
    with for_environment(bench.environment):
        session.write_log()
        first = CallLog.objects.order_by("pk")[0]
        assert (first.outcome, first.vendor_code, first.http_status) == (
            outcome, "http_timeout", None,
        )  # fmt: skip


# --- what a person is told ------------------------------------------------------------------------


def note(bench: Bench, session: Session, error: ConnectorError) -> Connection:
    with for_environment(bench.environment):
        session.note_failure(error)
        found: Connection = Connection.objects.get(pk=session.connection.pk)
        return found


def test_a_vendor_that_wants_us_to_wait_is_left_alone_so_long_or_until_midnight(
    bench: Bench,
) -> None:
    session = open_with(bench)
    spent = VendorRefusal(Fault(Retry.LATER, "used up", wait_for_quota=True), vendor_code="7")

    asked = note(bench, session, refusal(Retry.LATER, pause=90)).paused_until
    midnight = note(bench, session, spent).paused_until

    assert asked == bench.now() + timedelta(seconds=90)
    assert midnight == bench.now() + timedelta(hours=15, seconds=5)  # nine in the morning here


def test_trouble_names_the_vendor_s_code_and_never_covers_an_ended_authorisation(
    bench: Bench,
) -> None:
    session = open_with(bench)

    row = note(bench, session, REFUSED)
    assert (row.state, row.trouble_code) == (Connection.State.TROUBLE, "S001")
    with for_environment(bench.environment):
        session.note_success()
        assert Connection.objects.get(pk=row.pk).state == Connection.State.OK
        record_trouble(row, code="authorisation", words=Phrase("授权已失效"), now=bench.now())
    later = open_session(bench.environment, row.pk, **bench.tools)
    assert note(bench, later, REFUSED).trouble_code == "authorisation"


def test_a_session_is_of_one_environment(bench: Bench, world: World) -> None:
    session = open_with(bench)

    with pytest.raises(Connection.DoesNotExist):
        open_session(world.staging, session.connection.pk, **bench.tools)
