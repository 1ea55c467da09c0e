"""What every simulator is made of: a clock, a call and its answer, the store of lives, a bucket."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, Protocol
from urllib.parse import parse_qsl

from connectors.simulators.life import Life


class Clock:
    """The simulated world's time. `Clock()` runs with real time; `Clock(at=...)` stands until moved.

    `on_moved` is told how far from real time a clock that runs with it has been put.
    """

    def __init__(self, at: datetime | None = None) -> None:
        self._lock = threading.Lock()
        self.is_virtual = at is not None
        self._at = at
        self._offset = timedelta(0)
        self.on_moved: Callable[[timedelta], None] = lambda offset: None

    def now(self) -> datetime:
        """The moment it is, aware, UTC."""
        with self._lock:
            return self._now()

    def _now(self) -> datetime:
        if self._at is not None:
            return self._at.astimezone(UTC)
        return datetime.now(UTC) + self._offset

    def set(self, moment: datetime) -> None:
        """Jump to an aware moment; a real clock runs on from there."""
        with self._lock:
            if self._at is not None:
                self._at = moment
            else:
                self._offset = moment - datetime.now(UTC)
            offset = self._offset
        self.on_moved(offset)

    def advance(self, delta: timedelta) -> None:
        """Move by a span."""
        with self._lock:
            if self._at is not None:
                self._at += delta
            else:
                self._offset += delta
            offset = self._offset
        self.on_moved(offset)


@dataclass(frozen=True)
class Call:
    """One request as an app sees it. `path` is below the app's prefix; `at` is the platform's own
    clock, which the fault `wrong_clock` puts off: judge timestamps and expiries by it."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    raw_target: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)  # names in lower case
    body: bytes = b""
    at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @cached_property
    def form(self) -> tuple[tuple[str, str], ...]:
        """The pairs of a form body, decoded, in order; empty when it is not UTF-8."""
        try:
            return tuple(parse_qsl(self.body.decode(), keep_blank_values=True))
        except UnicodeDecodeError:
            return ()

    @cached_property
    def json(self) -> Any:
        """The JSON body; None when it is none."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None


@dataclass(frozen=True)
class Answer:
    """What goes back on the wire."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


def json_answer(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    """A compact JSON answer in UTF-8."""
    body = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    return Answer(
        status, {"Content-Type": "application/json; charset=utf-8", **(headers or {})}, body
    )


def text_answer(
    text: str, status: int = 200, content_type: str = "text/plain; charset=utf-8"
) -> Answer:
    """A text, HTML or XML answer in UTF-8."""
    return Answer(status, {"Content-Type": content_type}, text.encode())


class App(Protocol):
    """One simulated platform under a prefix of the host.

    Two optional methods the host calls when an app has them: `operation(call) -> (name, page or
    None)` names the call for faults and costs (else: the path, no page); `tick(now)` lets an app
    send what became due (the host calls it when it pumps).
    """

    name: str

    def answer(self, call: Call) -> Answer:
        """Answer one call; called from many threads."""
        ...


class Store:
    """The lives, by order number and per channel, in insertion order. Thread-safe.

    Whoever changes a life in place says so with `replace(life)`, or lists and feeds miss it.
    """

    def __init__(self, *lives: Life) -> None:
        self._lock = threading.RLock()
        self._lives: dict[str, Life] = {}
        self._channels: dict[str, dict[str, None]] = {}
        self._changes: list[str] = []
        self.add(*lives)

    def add(self, *lives: Life) -> None:
        """Add lives; one that is there is replaced."""
        with self._lock:
            for life in lives:
                self._lives[life.order_no] = life
                self._channels.setdefault(life.channel, {})[life.order_no] = None
                self._changes.append(life.order_no)

    def replace(self, life: Life) -> None:
        """Put a changed life in the place of the one with its number."""
        self.add(life)

    def touch(self, order_no: str, at: datetime) -> None:
        """Record a change nothing else explains (a mutation between two pages, a memo edit)."""
        with self._lock:
            life = self._lives[order_no]
            life.touched = (*life.touched, at)
            self._changes.append(order_no)

    def get(self, order_no: str) -> Life | None:
        """The life of an order number."""
        return self._lives.get(order_no)

    def of(self, channel: str) -> list[Life]:
        """All lives of a channel, in insertion order."""
        with self._lock:
            return [self._lives[number] for number in self._channels.get(channel, ())]

    def changes_since(self, position: int) -> tuple[int, list[Life]]:
        """Lives added or changed since a position (0: all), each once, and the position now."""
        with self._lock:
            numbers = dict.fromkeys(self._changes[position:])
            return len(self._changes), [self._lives[number] for number in numbers]

    def __len__(self) -> int:
        return len(self._lives)


class Bucket:
    """A token bucket: `rate_per_second` on average, `burst` at once."""

    def __init__(self, rate_per_second: float, burst: float) -> None:
        self.rate, self.burst = rate_per_second, burst
        self._lock = threading.Lock()
        self._tokens = burst
        self._at: datetime | None = None

    def take(self, now: datetime) -> float:
        """Take one; 0.0 when allowed, else the seconds to wait."""
        with self._lock:
            if self._at is not None:
                passed = max(0.0, (now - self._at).total_seconds())
                self._tokens = min(self.burst, self._tokens + passed * self.rate)
            self._at = now
            if self._tokens >= 1:
                self._tokens -= 1
                return 0.0
            return (1 - self._tokens) / self.rate
