"""Tokens that end: one worker refreshes, the others go on with what it got."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection as database

from config.tenancy.scope import for_environment
from connectors.http import ConnectorError, Retry
from connectors.shops.connections import (
    TOKEN_LEASE,
    claim_tokens,
    release_tokens,
    reveal_secrets,
    store_tokens,
)
from connectors.shops.models import Connection
from connectors.sync.transport import TOKEN_PATIENCE, Session, open_session
from tests.connectors.sync.conftest import START
from tests.connectors.sync.outside import Outside, open_outside
from tests.factories import make_world

pytestmark = pytest.mark.django_db(transaction=True)

REFRESH = {"tmall": "taobao.top.auth.token.refresh", "douyin": "token.refresh"}
WORKERS = 4


@pytest.fixture
def outside(transactional_db: None) -> Iterator[Outside]:
    """An outside for workers with connections of their own: no test transaction around them."""
    with open_outside(make_world().production, at=START) as opened:
        yield opened


def let_end(outside: Outside, app: str, connection: Connection) -> None:
    """The shop's access token is over, and the platform says so."""
    if app == "tmall":
        outside.apps["tmall"].expire(outside.shops["tmall"])  # type: ignore[attr-defined]
        return
    outside.pass_time(days=7, minutes=1)


def fresh(outside: Outside) -> Connection:
    with for_environment(outside.environment, write=False):
        return Connection.objects.get()


def open_sessions(outside: Outside, connection: Connection, count: int) -> list[Session]:
    """Workers that all read the same old tokens before any of them has called."""
    tools = outside.tools | {"sleep": lambda seconds: threading.Event().wait(seconds / 10)}
    return [open_session(outside.environment, connection.pk, **tools) for _ in range(count)]


def run_together(sessions: list[Session], do: Callable[[Session], Any]) -> list[Any]:
    """Do it in every session at once, each in a thread with a database connection of its own."""
    gate, outcomes = threading.Barrier(len(sessions)), []

    def work(session: Session) -> None:
        try:
            gate.wait(30)
            outcomes.append(do(session))
        except ConnectorError as error:
            outcomes.append(error)
        finally:
            database.close()

    threads = [threading.Thread(target=work, args=[session]) for session in sessions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(outcomes) == len(sessions)
    return outcomes


def count_refreshes(sessions: list[Session]) -> int:
    """Calls for new tokens, of all the workers."""
    names = set(REFRESH.values())
    return sum(entry.call.operation in names for s in sessions for entry in s._entries)


@pytest.mark.parametrize("app", REFRESH)
def test_workers_that_find_the_access_over_at_once_refresh_it_exactly_once(
    outside: Outside, app: str
) -> None:
    connection = outside.connect(app)
    before = reveal_secrets(fresh(outside))
    let_end(outside, app, connection)
    sessions = open_sessions(outside, connection, WORKERS)

    told = run_together(sessions, lambda s: s.call(lambda client: client.check()))

    assert all(isinstance(words, str) for words in told), told
    assert count_refreshes(sessions) == 1
    row = fresh(outside)
    after = reveal_secrets(row)
    assert row.token_version == 1
    assert after["access_token"] != before["access_token"]
    assert after["refresh_token"] != before["refresh_token"]
    assert after["app_secret"] == before["app_secret"]
    assert {s._secrets["access_token"] for s in sessions} == {after["access_token"]}
    assert (row.token_holder, row.token_lease_until) == ("", None)


@pytest.mark.parametrize("app", REFRESH)
def test_a_worker_that_dies_with_the_lease_delays_the_others_by_no_more_than_it(
    outside: Outside, app: str
) -> None:
    connection = outside.connect(app)
    let_end(outside, app, connection)
    with for_environment(outside.environment):
        assert claim_tokens(connection.pk, version=0, now=outside.now())
    [impatient] = open_sessions(outside, connection, 1)
    impatient.sleep = outside.sleep  # time passes as it waits

    began = outside.now()
    with pytest.raises(ConnectorError) as caught:
        impatient.call(lambda client: client.check(), may_repeat=False)
    assert (caught.value.code, caught.value.retry) == ("token_busy", Retry.LATER)
    assert outside.now() - began <= timedelta(seconds=TOKEN_PATIENCE + 1)
    assert count_refreshes([impatient]) == 0

    outside.clock.set(began + TOKEN_LEASE)
    [next_one] = open_sessions(outside, connection, 1)
    assert next_one.call(lambda client: client.check())
    assert count_refreshes([next_one]) == 1
    assert fresh(outside).token_version == 1


def test_a_connection_waits_patiently_until_the_other_is_done(outside: Outside) -> None:
    connection = outside.connect("tmall")
    let_end(outside, "tmall", connection)
    with for_environment(outside.environment):
        holder = claim_tokens(connection.pk, version=0, now=outside.now())
    [waiting] = open_sessions(outside, connection, 1)
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:  # the other one has got them
            tokens = outside.apps["tmall"].sessions.refresh(  # type: ignore[attr-defined]
                waiting._secrets["refresh_token"], outside.now()
            )
            with for_environment(outside.environment):
                store_tokens(
                    connection.pk, holder=holder, access_token=tokens["access_token"],
                    refresh_token=tokens["refresh_token"], expires_at=None,
                    refresh_expires_at=None, now=outside.now(),
                )  # fmt: skip

    waiting.sleep = sleep
    assert waiting.call(lambda client: client.check())
    assert len(pauses) == 3
    assert count_refreshes([waiting]) == 0


def test_who_comes_back_after_its_lease_neither_loses_tokens_nor_frees_anothers_lease(
    outside: Outside,
) -> None:
    connection = outside.connect("tmall")
    now = outside.now()
    with for_environment(outside.environment):
        late = claim_tokens(connection.pk, version=0, now=now)
        assert claim_tokens(connection.pk, version=0, now=now + TOKEN_LEASE / 2) == ""
        taken = claim_tokens(connection.pk, version=0, now=now + TOKEN_LEASE)
        assert taken not in {"", late}
        release_tokens(connection.pk, holder=late)
        assert Connection.objects.get().token_holder == taken
        # The vendor has forgotten the old ones by now: what it gave the late one is kept.
        is_ours = store_tokens(
            connection.pk, holder=late, access_token="A", refresh_token="R", expires_at=None,
            refresh_expires_at=None, now=now,
        )  # fmt: skip
        assert not is_ours
        row = Connection.objects.get()
        assert reveal_secrets(row)["access_token"] == "A"
        assert row.token_holder == taken
        assert claim_tokens(connection.pk, version=0, now=now + 5 * TOKEN_LEASE) == ""  # outdated


def test_who_is_refused_because_another_used_the_refresh_token_goes_on_with_what_that_one_got(
    outside: Outside,
) -> None:
    connection = outside.connect("tmall")
    let_end(outside, "tmall", connection)
    with for_environment(outside.environment):
        late = claim_tokens(connection.pk, version=0, now=outside.now() - TOKEN_LEASE)
    [second] = open_sessions(outside, connection, 1)
    first = outside.apps["tmall"].sessions.refresh(  # type: ignore[attr-defined]
        second._secrets["refresh_token"], outside.now()
    )
    refused = second.client.refresh_tokens

    def refresh() -> Any:  # the slow one is back while the second is being refused
        with for_environment(outside.environment):
            store_tokens(
                connection.pk, holder=late, access_token=first["access_token"],
                refresh_token=first["refresh_token"], expires_at=None, refresh_expires_at=None,
                now=outside.now(),
            )  # fmt: skip
        return refused()

    second.client.refresh_tokens = refresh

    assert second.call(lambda client: client.check())
    row = fresh(outside)
    assert (row.state, row.trouble_code) == (Connection.State.NEW, "")
    assert (row.token_version, row.token_holder) == (1, "")
    assert second._secrets["access_token"] == first["access_token"]


@pytest.mark.parametrize(("before", "answers"), [(20, True), (-1, False)])
def test_while_the_access_still_holds_a_renewal_that_fails_costs_nothing(
    outside: Outside, before: int, answers: bool
) -> None:
    connection = outside.connect("tmall")
    with for_environment(outside.environment):
        Connection.objects.update(access_expires_at=outside.now() + timedelta(minutes=before))
    outside.faults.switch("tmall", REFRESH["tmall"], "http_503")
    [session] = open_sessions(outside, connection, 1)

    def check() -> Any:
        return session.call(lambda client: client.check())

    if answers:
        assert check()
        assert check()
        assert count_refreshes([session]) == 1  # and it is not asked for at every call
    else:
        with pytest.raises(ConnectorError):
            check()
    assert (fresh(outside).token_holder, fresh(outside).trouble_code) == ("", "")


@pytest.mark.parametrize("app", REFRESH)
def test_a_refresh_that_is_refused_is_said_once_and_frees_the_lease(
    outside: Outside, app: str
) -> None:
    connection = outside.connect(app, secrets={"refresh_token": "unknown"})
    let_end(outside, app, connection)
    sessions = open_sessions(outside, connection, 2)

    told = run_together(sessions, lambda s: s.call(lambda client: client.check()))

    assert all(isinstance(error, ConnectorError) for error in told)
    row = fresh(outside)
    assert (row.state, row.trouble_code) == (Connection.State.TROUBLE, "authorisation")
    assert (row.token_holder, row.token_version) == ("", 0)


def test_the_same_connection_of_another_environment_is_not_claimed(outside: Outside) -> None:
    connection = outside.connect("tmall")
    other = make_world("别家集团", prefix="b-").production

    with for_environment(other):
        assert claim_tokens(connection.pk, version=0, now=outside.now()) == ""
    assert fresh(outside).token_holder == ""
