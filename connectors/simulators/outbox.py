"""The callbacks the platforms send: each with its platform's repeat schedule, and a ledger."""

from __future__ import annotations

import heapq
import http.client
import itertools
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from connectors.simulators.faults import CALLBACK_KINDS, Faults
from connectors.simulators.wire import Clock

Headers = Mapping[str, str] | Callable[[datetime], Mapping[str, str]]
Url = str | Callable[[datetime], str]
Transport = Callable[[str, Mapping[str, str], bytes], tuple[int, bytes]]


def post(
    url: str, headers: Mapping[str, str], body: bytes, timeout: float = 5.0
) -> tuple[int, bytes]:
    """POST and read the answer; raises OSError or HTTPException when none comes in `timeout`."""
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.netloc, timeout=timeout)
    try:
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        connection.request("POST", target, body=body, headers=dict(headers))
        answer = connection.getresponse()
        return answer.status, answer.read(1_000_000)
    finally:
        connection.close()


@dataclass(frozen=True)
class Attempt:
    """One entry of the ledger. `status` is HTTP's, 0 when no answer came."""

    app: str
    operation: str
    order_no: str
    at: datetime
    attempt: int
    status: int
    accepted: bool
    note: str = ""  # "dropped", or the error's class


@dataclass(frozen=True)
class _Letter:
    app: str
    operation: str
    url: Url
    headers: Headers = field(repr=False)
    body: bytes = field(repr=False)
    order_no: str
    ok: Callable[[int, bytes], bool]
    schedule: tuple[float, ...]
    attempt: int = 1


class Outbox:
    """Letters wait here until they are due; whoever pumps it (the host, or a test) sends them.

    Letters due in one round go out in parallel, so their order is not promised, as in life.
    """

    def __init__(
        self, clock: Clock, faults: Faults, *, transport: Transport = post, workers: int = 4
    ) -> None:
        self._clock, self._faults, self.transport = clock, faults, transport
        self._lock = threading.Lock()
        self._waiting: list[tuple[datetime, int, _Letter]] = []
        self._numbers = itertools.count()
        self._workers = workers
        self._pool: ThreadPoolExecutor | None = None
        self.ledger: list[Attempt] = []

    def send(
        self,
        *,
        app: str,
        operation: str,
        url: Url,
        headers: Headers,
        body: bytes,
        order_no: str,
        ok: Callable[[int, bytes], bool],
        schedule: Sequence[float] = (),
    ) -> None:
        """Send at once (at the next pumping), then after each of `schedule` seconds while `ok`
        says no. `url` and `headers` may be functions of the moment of sending, for signed times."""
        letter = _Letter(app, operation, url, headers, body, order_no, ok, tuple(schedule))
        now = self._clock.now()
        fault = self._faults.take(app, operation, kinds=CALLBACK_KINDS)
        if fault is not None and fault.kind == "drop_callback":
            self._record(Attempt(app, operation, order_no, now, 0, 0, False, "dropped"))
            return
        delay = fault.seconds if fault is not None and fault.kind == "delay_callback" else 0.0
        self._wait(now + timedelta(seconds=delay), letter)
        if fault is not None and fault.kind == "duplicate_callback":
            self._wait(now + timedelta(seconds=fault.seconds), letter)

    def deliver_due(self, now: datetime) -> int:
        """Send everything that is due, wait for the answers, and say how many went out."""
        due: list[_Letter] = []
        with self._lock:
            while self._waiting and self._waiting[0][0] <= now:
                due.append(heapq.heappop(self._waiting)[2])
        if len(due) == 1 or self._workers == 1:
            for letter in due:
                self._deliver(letter, now)
        elif due:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._workers, thread_name_prefix="outbox")
            list(self._pool.map(self._deliver, due, itertools.repeat(now)))
        return len(due)

    @property
    def waiting(self) -> int:
        """How many letters wait for their first or next attempt."""
        return len(self._waiting)

    def next_due(self) -> datetime | None:
        """When the next letter is due."""
        with self._lock:
            return self._waiting[0][0] if self._waiting else None

    def close(self) -> None:
        """End the sending threads."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None

    def _wait(self, due: datetime, letter: _Letter) -> None:
        with self._lock:
            heapq.heappush(self._waiting, (due, next(self._numbers), letter))

    def _deliver(self, letter: _Letter, now: datetime) -> None:
        headers = letter.headers(now) if callable(letter.headers) else letter.headers
        url = letter.url(now) if callable(letter.url) else letter.url
        status, is_accepted, note = 0, False, ""
        try:
            status, answer = self.transport(url, headers, letter.body)
            is_accepted = letter.ok(status, answer)
        except (OSError, http.client.HTTPException) as error:
            note = type(error).__name__
        self._record(
            Attempt(
                letter.app,
                letter.operation,
                letter.order_no,
                now,
                letter.attempt,
                status,
                is_accepted,
                note,
            )
        )
        if not is_accepted and letter.schedule:
            again = replace(letter, schedule=letter.schedule[1:], attempt=letter.attempt + 1)
            self._wait(now + timedelta(seconds=letter.schedule[0]), again)

    def _record(self, attempt: Attempt) -> None:
        with self._lock:
            self.ledger.append(attempt)
