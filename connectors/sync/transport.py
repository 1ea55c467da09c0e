"""One connection's calls: through the door, within the rate limit, written down, tried again.

A `Session` lives outside any scope: a call may take fifteen seconds, a transaction may not. What
it did is written with the rows it brought (`write_log`), effects on the outside world at once.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeVar

from django.utils import timezone

from config.errors import AppError, Phrase, gettext_noop
from config.secrets import SecretUnreadable, encrypt
from config.tenancy.models import Environment, User
from config.tenancy.scope import for_environment
from connectors import http
from connectors.adapters import (
    Access,
    Connector,
    ListRules,
    Outgoing,
    RateLimit,
    TokenKeeper,
    VendorRefusal,
    name_application,
    read_limit,
)
from connectors.adapters.base import may_retry
from connectors.http import ConnectorError, Request, Response, Retry
from connectors.shops.addresses import list_allowed_addresses
from connectors.shops.connections import (
    claim_tokens,
    record_success,
    record_trouble,
    release_tokens,
    reveal_secrets,
    store_tokens,
)
from connectors.shops.models import Connection
from connectors.sync.limits import MAX_PAUSE, Limiter, get_limiter, name_budget
from connectors.sync.masking import mask_body, scrub
from connectors.sync.models import CALL_PURPOSE, CallLog, CallOrder
from connectors.sync.registry import get_connector
from connectors.wire import PayloadError

log = logging.getLogger(__name__)

Found = TypeVar("Found")
Item = TypeVar("Item")
Clock = Callable[[], datetime]
Sleep = Callable[[float], None]

RENEW_BEFORE = timedelta(minutes=30)  # within the last hour, in which Douyin gives new tokens
TOKEN_PATIENCE = 20.0  # seconds to wait for somebody else's refresh
MAX_KEPT = 20_000  # characters of a body in the log
PARALLEL = 4  # calls side by side where order does not matter
MOST_MISSES = 2 * PARALLEL  # orders in a row without an answer: the vendor is away


@dataclass
class _Entry:
    """One call on its way into the log."""

    call: Outgoing
    at: datetime
    attempt: int
    duration_ms: int = 0
    status: int | None = None
    outcome: str = CallLog.Outcome.FAILED
    vendor_code: str = ""
    answer: str = ""
    order_nos: tuple[str, ...] = ()  # of a list, which orders it told of
    row: int | None = None  # once it is written


@dataclass
class _Outage:
    """Whether a vendor can be asked at all, as calls side by side find out.

    A hundred orders asked with all patience of a vendor that is away outlast their worker. One
    order that a vendor stumbles over is no outage: it takes several in a row.
    """

    misses: int = 0
    error: ConnectorError | None = None

    def note(self, found: Found | ConnectorError) -> Found | ConnectorError:
        """Take an outcome into account; returns it."""
        if not isinstance(found, ConnectorError):
            self.misses = 0
        elif _is_spent(found):
            self.error = found
        elif not may_retry(found) or found.code == "bad_answer" or _is_over(found):
            self.misses = 0  # it is there, and has said so
        else:
            self.misses += 1
            if self.misses >= MOST_MISSES:
                self.error = found
        return found


def _is_spent(error: ConnectorError) -> bool:
    """Whether nothing more may be asked for a while, of any order."""
    fault = getattr(error, "fault", None)
    return error.code == "over_budget" or (fault is not None and fault.wait_for_quota)


def _is_over(error: ConnectorError) -> bool:
    fault = getattr(error, "fault", None)
    return fault is not None and bool(fault.refresh_token)


@dataclass
class Session:
    """A client at work for one connection. Make it with `open_session()`."""

    environment: Environment
    connection: Connection
    connector: Connector
    allowed: frozenset[tuple[str, int]]
    clock: Clock = timezone.now
    sleep: Sleep = time.sleep
    limiter: Limiter | None = None
    actor: User | None = None
    calls: int = 0
    _secrets: dict[str, str] = field(default_factory=dict, repr=False)
    _entries: list[_Entry] = field(default_factory=list)
    _current: threading.local = field(default_factory=threading.local)
    _client: Any = None
    _has_renewed_early: bool = False

    # -- the client ----------------------------------------------------------------------------

    @property
    def client(self) -> Any:
        """The vendor's client with the secrets as they are now."""
        if self._client is None:
            self._client = self.connector.open(
                Access(
                    shop=self.connection.shop.name if self.connection.shop else "",
                    base_url=self.connection.base_url,
                    config=self.connection.config,
                    secrets=self._secrets,
                    send=self.send,
                    clock=self.clock,
                    access_expires_at=self.connection.access_expires_at,
                )
            )
        return self._client

    def list_rules(self, stream: str) -> ListRules:
        """How this connection's list may be read."""
        return self.connector.list_streams(self.connection.config)[stream]

    def send(self, call: Outgoing) -> Response:
        """Make one call, within the budget; raises ConnectorError."""
        self._wait_for_budget()
        entry = _Entry(call, self.clock(), getattr(self._current, "attempt", 1))
        self._current.entry = entry
        self._entries.append(entry)
        self.calls += 1
        started = time.monotonic()
        try:
            response = http.send(
                Request(
                    method=call.method,
                    url=call.url,
                    headers=call.headers,
                    body=call.body,
                    allowed=self.allowed,
                )
            )
        except ConnectorError as error:
            entry.outcome = (
                CallLog.Outcome.AMBIGUOUS
                if error.retry is Retry.AMBIGUOUS
                else CallLog.Outcome.FAILED
            )
            entry.vendor_code = error.code
            raise
        else:
            entry.status, entry.outcome = response.status, CallLog.Outcome.OK
            if len(call.order_nos) <= 1:
                answer = response.body[: MAX_KEPT * 3].decode("utf-8", "replace")
                entry.answer = scrub(answer, self._secrets.values())
            return response
        finally:
            entry.duration_ms = round((time.monotonic() - started) * 1000)
            if call.is_effect:
                self._write_effect(entry)

    def name_orders(self, numbers: Iterable[str]) -> None:
        """The latest call of this thread told of these orders: each of their logs has it."""
        entry = getattr(self._current, "entry", None)
        if entry is not None:
            entry.order_nos = tuple(dict.fromkeys(number for number in numbers if number))

    def _wait_for_budget(self) -> None:
        application = name_application(self.connection.config, self.connection.public_id)
        limiter = self.limiter or get_limiter()
        seconds = limiter.take(name_budget(self.connector.code, application), self._limit())
        if seconds > MAX_PAUSE:
            raise ConnectorError(
                gettext_noop("调用太密，本应用的额度要再等 %(seconds)d 秒"),
                code="over_budget",
                retry=Retry.LATER,
                seconds=round(seconds),
            )
        if seconds > 0:
            self.sleep(seconds)

    def _limit(self) -> RateLimit:
        """The vendor's limit, or the one this application was granted."""
        return read_limit(self.connection.config, self.connector.limit)

    # -- calling with patience -----------------------------------------------------------------

    def call(self, do: Callable[[Any], Found], *, may_repeat: bool = True) -> Found:
        """`do(client)`, tried again as the failure allows; every try signs anew.

        An ended authorisation is renewed once, under the lock. `may_repeat`: False for an effect
        that has no key of its own. Raises ConnectorError when it stays refused.
        """
        self._renew_early()
        has_renewed = False
        pauses = list(self.connector.retry_pauses)
        attempt = 1
        while True:
            self._current.attempt = attempt
            try:
                return self._try(do)
            except VendorRefusal as error:
                self._mark_refused(error)
                if error.fault.refresh_token and not has_renewed and self._keeps_tokens():
                    has_renewed = True
                    self.renew_tokens()
                    continue
                if not self._may_go_on(error, may_repeat) or not pauses:
                    raise
                wait, told = pauses.pop(0), error.pause_seconds
                wait = wait if told is None else float(told)
                if error.fault.wait_for_quota or wait > MAX_PAUSE:
                    raise
                self.sleep(wait)
            except ConnectorError as error:
                if not self._may_go_on(error, may_repeat) or not pauses:
                    raise
                self.sleep(pauses.pop(0))
            attempt += 1

    def _try(self, do: Callable[[Any], Found]) -> Found:
        try:
            return do(self.client)
        except PayloadError as error:
            entry = getattr(self._current, "entry", None)
            if entry is not None:
                entry.outcome, entry.vendor_code = CallLog.Outcome.AMBIGUOUS, error.code
            raise ConnectorError(
                gettext_noop("对方的应答读不懂：%(reason)s"),
                code="bad_answer",
                retry=Retry.AMBIGUOUS,
                reason=Phrase(error.message, error.params),
            ) from error

    @staticmethod
    def _may_go_on(error: ConnectorError, may_repeat: bool) -> bool:
        return may_retry(error) if may_repeat else error.is_retriable

    def map(
        self, do: Callable[[Any, Item], Found], items: Sequence[Item]
    ) -> list[Found | ConnectorError]:
        """`do(client, item)` for each item, some side by side; failures stand in their places.

        The first goes alone, so that an ended authorisation is renewed before the rest starts. An
        authorisation that ends in between is renewed afterwards, and what it cost is done again.
        Once the vendor is found to be away, the rest is not asked: each fails with the same words.
        """
        if not items:
            return []
        outage = _Outage()
        first = outage.note(self._one(do, items[0]))
        if len(items) == 1:
            return [first]
        renew = self._keeps_tokens

        def one(item: Item) -> Found | ConnectorError:
            if outage.error is not None:
                return outage.error
            return outage.note(self._one_here(do, item))

        with ThreadPoolExecutor(max_workers=PARALLEL) as pool:
            rest = list(pool.map(one, items[1:]))
        found: list[Found | ConnectorError] = [first, *rest]
        for index, outcome in enumerate(found):
            if isinstance(outcome, VendorRefusal) and outcome.fault.refresh_token and renew():
                found[index] = self._one(do, items[index])
        return found

    def _one(self, do: Callable[[Any, Item], Found], item: Item) -> Found | ConnectorError:
        try:
            return self.call(lambda client: do(client, item))
        except ConnectorError as error:
            return error

    def _one_here(self, do: Callable[[Any, Item], Found], item: Item) -> Found | ConnectorError:
        """In another thread: no database, so no renewing of tokens."""
        pauses = list(self.connector.retry_pauses)
        self._current.attempt = 1
        while True:
            try:
                return self._try(lambda client: do(client, item))
            except ConnectorError as error:
                refusal = error if isinstance(error, VendorRefusal) else None
                if refusal is not None:
                    self._mark_refused(refusal)
                    if refusal.fault.refresh_token or refusal.fault.wait_for_quota:
                        return error
                if not may_retry(error) or not pauses:
                    return error
                wait = pauses.pop(0)
                if refusal is not None and refusal.pause_seconds is not None:
                    wait = float(refusal.pause_seconds)
                if wait > MAX_PAUSE:
                    return error
                self.sleep(wait)
                self._current.attempt += 1

    def _mark_refused(self, error: VendorRefusal) -> None:
        entry = getattr(self._current, "entry", None)
        if entry is not None:
            entry.outcome, entry.vendor_code = CallLog.Outcome.REFUSED, error.vendor_code[:60]
            if entry.row is not None:  # an effect is written before its answer is understood
                with for_environment(self.environment):
                    CallLog.objects.filter(pk=entry.row).update(
                        outcome=entry.outcome, vendor_code=entry.vendor_code
                    )

    # -- tokens --------------------------------------------------------------------------------

    def _keeps_tokens(self) -> bool:
        return isinstance(self.client, TokenKeeper) and bool(self._secrets.get("refresh_token"))

    def _renew_early(self) -> None:
        """Before it ends, once a session: while the access still holds, nobody has to wait for it."""
        expires, now = self.connection.access_expires_at, self.clock()
        is_near = expires is not None and expires - now < RENEW_BEFORE
        if not is_near or self._has_renewed_early or not self._keeps_tokens():
            return
        self._has_renewed_early = True
        try:
            self.renew_tokens()
        except ConnectorError as error:
            if not may_retry(error) or expires is None or expires <= now:
                raise
            log.warning("tokens of connection %d are not renewed yet: %s", self.connection.pk,
                        error.code)  # fmt: skip

    def renew_tokens(self) -> None:
        """Fresh tokens, by us or by whoever is at it already. Raises ConnectorError."""
        version, waited = self.connection.token_version, 0.0
        while True:
            with for_environment(self.environment):
                holder = claim_tokens(self.connection.pk, version=version, now=self.clock())
            if holder:
                self._refresh(holder)
                return
            self._reload()
            if self.connection.token_version != version:
                return  # somebody else has done it
            if waited >= TOKEN_PATIENCE:
                raise ConnectorError(
                    gettext_noop("另一个进程正在刷新授权，稍后再试"),
                    code="token_busy",
                    retry=Retry.LATER,
                )
            self.sleep(0.5)
            waited += 0.5

    def _refresh(self, holder: str) -> None:
        try:
            tokens = self._try(lambda client: client.refresh_tokens())
        except ConnectorError as error:
            with for_environment(self.environment):
                release_tokens(self.connection.pk, holder=holder)
            version = self.connection.token_version
            self._reload()
            if self.connection.token_version != version:
                return  # whose lease had run out has got them after all: ours were used up by it
            with for_environment(self.environment):
                if isinstance(error, VendorRefusal) and not may_retry(error):
                    self._record_ended(error)
            raise
        with for_environment(self.environment):
            store_tokens(
                self.connection.pk,
                holder=holder,
                access_token=tokens.access_token,
                refresh_token=tokens.refresh_token,
                expires_at=tokens.expires_at,
                refresh_expires_at=tokens.refresh_expires_at,
                now=self.clock(),
            )
        self._reload()

    def _record_ended(self, error: VendorRefusal) -> None:
        """In the scope in force: only the shop itself can give access again."""
        record_trouble(
            self.connection,
            code="authorisation",
            words=Phrase(
                gettext_noop("授权已失效，请商家重新授权：%(reason)s"),
                {"reason": Phrase(error.message, error.params)},
            ),
            now=self.clock(),
        )

    def _reload(self) -> None:
        with for_environment(self.environment, write=False):
            self.connection = Connection.objects.select_related("source", "shop").get(
                pk=self.connection.pk
            )
            self._secrets = reveal_secrets(self.connection)
        self._client = None

    # -- writing down --------------------------------------------------------------------------

    def write_log(self) -> None:
        """Write the calls since the last time, in the scope in force (two statements)."""
        entries, self._entries = self._entries, []
        kept = [entry for entry in entries if not entry.call.is_effect]
        write_entries(self.connection, kept, self.actor)

    def _write_effect(self, entry: _Entry) -> None:
        with for_environment(self.environment):
            (entry.row,) = write_entries(self.connection, [entry], self.actor)

    def note_success(self) -> None:
        """In the scope in force: the connection works."""
        record_success(self.connection, now=self.clock())

    def note_failure(self, error: AppError) -> None:
        """In the scope in force: a person has to see to it, or the vendor wants us to wait."""
        now = self.clock()
        if isinstance(error, VendorRefusal):
            wait = error.pause_seconds
            if error.fault.wait_for_quota:
                wait = wait or _seconds_to_midnight(now)
            if wait:
                Connection.objects.filter(pk=self.connection.pk).update(
                    paused_until=now + timedelta(seconds=wait)
                )
        if isinstance(error, VendorRefusal) and error.fault.refresh_token:
            self._record_ended(error)  # there was nothing to renew it with, or that did not help
            return
        code = getattr(error, "vendor_code", "") or error.code
        if self.connection.trouble_code != "authorisation":
            record_trouble(
                self.connection, code=str(code), words=Phrase(error.message, error.params), now=now
            )


def write_entries(
    connection: Connection, entries: Iterable[_Entry], actor: User | None
) -> list[int]:
    """Log rows and the orders they are about; returns the rows' keys."""
    entries = list(entries)
    if not entries:
        return []
    rows = CallLog.objects.bulk_create(
        CallLog(
            connection=connection,
            operation=entry.call.operation[:100],
            at=entry.at,
            duration_ms=entry.duration_ms,
            http_status=entry.status,
            outcome=entry.outcome,
            vendor_code=entry.vendor_code[:60],
            is_effect=entry.call.is_effect,
            key=entry.call.key[:80],
            attempt=entry.attempt,
            request_sealed=_seal(_read_request(entry.call)),
            answer_sealed=_seal(mask_body(entry.answer, only_credentials=True)[:MAX_KEPT]),
            actor=actor,
        )
        for entry in entries
    )
    CallOrder.objects.bulk_create(
        CallOrder(call=row, order_no=number[:64])
        for row, entry in zip(rows, entries, strict=True)
        for number in entry.order_nos or entry.call.order_nos
    )
    return [row.pk for row in rows]


def _read_request(call: Outgoing) -> str:
    """What is kept of a request: its body with every credential masked; never headers or URL."""
    if not call.body:
        return ""
    return mask_body(call.body[:MAX_KEPT].decode("utf-8", "replace"), only_credentials=True)


def _seal(text: str) -> str:
    clean = text.encode("utf-8", "replace").decode().replace("\0", "")
    return encrypt(clean, purpose=CALL_PURPOSE)


def tells_to_wait(refusal: VendorRefusal) -> bool:
    """Whether the vendor is to be left alone for a while: then the connection is."""
    return bool(refusal.pause_seconds or refusal.fault.wait_for_quota)


def _seconds_to_midnight(now: datetime) -> int:
    local = timezone.localtime(now)
    tomorrow = (local + timedelta(days=1)).replace(hour=0, minute=0, second=5, microsecond=0)
    return int((tomorrow - local).total_seconds())


def open_session(
    environment: Environment,
    connection_id: int,
    *,
    clock: Clock = timezone.now,
    sleep: Sleep = time.sleep,
    limiter: Limiter | None = None,
    actor: User | None = None,
) -> Session:
    """A session for one connection of an environment. Call it outside any scope.

    Raises Connection.DoesNotExist for one of another environment, SecretUnreadable without its key:
    that is said on the connection as well.
    """
    with for_environment(environment, write=False):
        connection = Connection.objects.select_related("source", "shop").get(pk=connection_id)
        allowed = list_allowed_addresses()
    try:
        secrets = reveal_secrets(connection)
    except SecretUnreadable as error:
        with for_environment(environment):
            words = Phrase(error.message, error.params)
            record_trouble(connection, code=error.code, words=words, now=clock())
        raise
    return Session(
        environment=environment,
        connection=connection,
        connector=get_connector(connection.vendor),
        allowed=allowed,
        clock=clock,
        sleep=sleep,
        limiter=limiter,
        actor=actor,
        _secrets=secrets,
    )
