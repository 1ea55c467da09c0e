"""A simulated world for the wire tests: clock, lives, faults, callbacks, and plain HTTP calls.

No product code is used here or in the tests: they would share its mistakes.
"""

from __future__ import annotations

import functools
import http.client
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

from connectors.simulators.core import App, Clock, Faults, Host, Outbox, Store
from connectors.simulators.keys import Keys, make_keys
from connectors.simulators.life import Life, LifeLine

NOON = datetime(2025, 11, 11, 4, 0, tzinfo=UTC)  # 12:00 in Shanghai


@functools.cache
def keys() -> Keys:
    """One set of keys for all tests: RSA pairs take a moment to make."""
    return make_keys()


def minutes(count: float) -> datetime:
    """So many minutes after noon."""
    return NOON + timedelta(minutes=count)


def make_life(order_no: str = "SO202511110001", **changes: object) -> Life:
    """A healthy order of the own mall, paid through Alipay half a minute after noon."""
    values: dict[str, object] = {
        "order_no": order_no,
        "channel": "private_mall",
        "shop": "河道羊绒小程序",
        "placed": NOON,
        "lines": [LifeLine("SCARF-CAMEL", "羊绒围巾 驼色", 1, 27_900, stock_available=35)],
        "gateway": "alipay",
        "gateway_paid": minutes(0.5),
        "paid": minutes(0.55),
    }
    return Life(**(values | changes))  # type: ignore[arg-type] - the tests' own values


@dataclass
class Receiver:
    """Where callbacks arrive; `answers` are used up one by one, then `last` is."""

    last: tuple[int, bytes] = (200, b"success")
    answers: list[tuple[int, bytes]] = field(default_factory=list)
    got: list[tuple[str, Mapping[str, str], bytes]] = field(default_factory=list)

    def __call__(self, url: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
        self.got.append((url, {name.lower(): value for name, value in headers.items()}, body))
        return self.answers.pop(0) if self.answers else self.last


@dataclass
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes


class WireWorld:
    """Apps behind one host; calls go over HTTP, callbacks to the receiver."""

    def __init__(self, *lives: Life, at: datetime = NOON) -> None:
        self.clock, self.store, self.faults = Clock(at=at), Store(*lives), Faults()
        self.receiver = Receiver()
        self.outbox = Outbox(self.clock, self.faults, transport=self.receiver, workers=1)
        self.address = ""
        self.host: Host | None = None

    @contextmanager
    def serving(self, **apps: App) -> Iterator[WireWorld]:
        """Serve apps under their names."""
        prefixes = {f"/{name}": app for name, app in apps.items()}
        self.host = Host(prefixes, self.clock, self.faults, self.outbox, silence_seconds=0.2)
        with self.host.running() as self.address:
            yield self

    def make(self, kind: Callable[..., App], credentials: object, **options: object) -> App:
        """An app of this world."""
        return kind(self.store, self.clock, self.faults, self.outbox, credentials, **options)

    def call(
        self,
        method: str,
        target: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        timeout: float = 2.0,
    ) -> Reply:
        """One plain call; an answer that does not come raises OSError or HTTPException."""
        connection = http.client.HTTPConnection(urlsplit(self.address).netloc, timeout=timeout)
        try:
            connection.request(method, target, body=body, headers=dict(headers or {}))
            reply = connection.getresponse()
            content = reply.read()
            return Reply(reply.status, {k.lower(): v for k, v in reply.getheaders()}, content)
        finally:
            connection.close()

    def run_to(self, moment: datetime, step: timedelta = timedelta(seconds=10)) -> None:
        """Let time pass in steps, so that callbacks go out when they are due."""
        assert self.host is not None
        while self.clock.now() < moment:
            self.clock.set(min(moment, self.clock.now() + step))
            self.host.pump()
