"""Vendors that say what a test tells them: everything of ours is real, only the wire is left out.

A test about HTTP takes `outside`; one about leases, pauses and rows takes these.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import OperationalError
from django.db import connection as database

from config.tenancy.models import Environment
from config.tenancy.scope import for_environment
from connectors.adapters import Answered, PulledMessage, VendorRefusal
from connectors.http import ConnectorError, Retry
from connectors.shops.connections import create_connection
from connectors.shops.models import Connection
from connectors.shops.services import get_or_create_shop
from connectors.sync import registry
from connectors.sync.limits import Limiter
from connectors.wire import Fault, PayloadError

KINDS = {"tmall": "channel", "douyin": "channel", "private_mall": "channel", "alipay": "gateway",
         "wechat_pay": "gateway", "qimen": "wms", "generic_oms": "oms"}  # fmt: skip

UNREACHABLE = ConnectorError("no answer", code="no_answer", retry=Retry.AMBIGUOUS)
REVOKED = ConnectorError("not an address of ours", code="address_refused")
QUOTA = VendorRefusal(
    Fault(Retry.LATER, "used up", wait_for_quota=True), vendor_code="7", pause_seconds=3600
)
WRONG_CLOCK = VendorRefusal(
    Fault(Retry.NEVER, "your clock is wrong", resync_clock=True), vendor_code="31"
)
REFUSED = VendorRefusal(Fault(Retry.NEVER, "not this order"), vendor_code="S001")
ODD = PayloadError("odd", field="trade")


@dataclass
class Vendor:
    """The client and all it was asked. `tells`: an answer or a failure by order number."""

    tells: dict[str, Any] = field(default_factory=dict)
    queue: list[PulledMessage] = field(default_factory=list)
    fails: dict[str, BaseException] = field(default_factory=dict)  # by name of the call
    asked: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    meanwhile: Callable[[], None] | None = None  # what happens during the next call

    def _hear(self, call: str) -> None:
        self.said.append(call)
        if self.meanwhile is not None:
            do, self.meanwhile = self.meanwhile, None
            do()
        if call in self.fails:
            raise self.fails[call]

    def check(self) -> str:
        self._hear("check")
        return "ok"

    def _tell(self, number: str) -> Any:
        self.asked.append(number)
        found = self.tells.get(number)
        if isinstance(found, BaseException):
            raise found
        return found

    @property
    def times_asked(self) -> Counter[str]:
        return Counter(self.asked)


class AskedVendor(Vendor):
    """A gateway or warehouse."""

    def ask(self, order_no: str) -> Answered | None:
        self._hear("ask")
        found: Answered | None = self._tell(order_no)
        return found


class ListedVendor(Vendor):
    """A channel whose orders are read one by one, with a queue of messages."""

    def list_orders(self, *_: Any, **__: Any) -> Any:
        raise AssertionError("nobody reads lists here")

    count_orders = list_orders

    def read_order(self, order_no: str) -> Mapping[str, object] | None:
        self._hear("read")
        found: Mapping[str, object] | None = self._tell(order_no)
        return found

    def permit(self) -> None:
        self._hear("permit")

    def consume(self, limit: int) -> Sequence[PulledMessage]:
        self._hear("consume")
        return self.queue[:limit]

    def confirm(self, message_ids: Sequence[str]) -> None:
        self._hear("confirm")
        self.queue = [m for m in self.queue if m.message_id not in set(message_ids)]


@dataclass
class Bench:
    """One environment, a clock that moves when somebody waits or a test says so."""

    environment: Environment
    monkeypatch: pytest.MonkeyPatch
    at: datetime = datetime(2025, 11, 11, 1, 0, tzinfo=UTC)  # 9:00 in Beijing
    waited: float = 0.0

    def now(self) -> datetime:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.waited += seconds
        self.at += timedelta(seconds=seconds)

    def pass_time(self, **span: float) -> None:
        self.at += timedelta(**span)

    @property
    def tools(self) -> dict[str, Any]:
        """What every function of connectors.sync takes."""
        limiter = Limiter(clock=lambda: self.at.timestamp())
        return {"clock": self.now, "sleep": self.sleep, "limiter": limiter}

    def connect(self, vendor: str, *, into: Environment | None = None, **changes: Any) -> Any:
        """A connection of this vendor, and the vendor; one that is connected already is shared."""
        with for_environment(into or self.environment):
            return self.connect_here(vendor, **changes)

    def connect_here(self, vendor: str, **changes: Any) -> tuple[Connection, Any]:
        """As `connect`, in the scope in force."""
        kind = KINDS[vendor]
        name = changes.pop("name", vendor)
        values: dict[str, Any] = {
            "shop": get_or_create_shop(vendor, name) if kind == "channel" else None,
            "base_url": "https://vendor.example", "config": {}, "secrets": {},
        }  # fmt: skip
        connection = create_connection(
            vendor=vendor, kind=kind, name=name, actor=None, now=self.at, **(values | changes)
        )
        return connection, self.script(vendor)

    def script(self, vendor: str) -> Any:
        """Have a vendor speak from a script from now on; returns the script."""
        made = ListedVendor() if KINDS[vendor] in ("channel", "oms") else AskedVendor()
        self.change(vendor, open=lambda access: made)
        return made

    def change(self, vendor: str, **changes: Any) -> None:
        """Have a connector be otherwise."""
        name = "CHANNELS" if vendor in registry.CHANNELS else "SYSTEMS"
        table = getattr(registry, name)
        changed = {**table, vendor: replace(table[vendor], **changes)}
        self.monkeypatch.setattr(registry, name, changed)


@contextmanager
def break_statement(beginning: str, *, on: str) -> Iterator[None]:
    """The database fails at a statement on a table, as when it goes away: nothing may half-happen."""

    def fail(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.lstrip().upper().startswith(beginning) and on in sql:
            raise OperationalError("gone")
        return execute(sql, params, many, context)

    with database.execute_wrapper(fail):
        yield
