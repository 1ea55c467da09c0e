"""What a simulated platform is told to do wrong, and until when."""

from __future__ import annotations

import threading
from collections.abc import Collection
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

CLOCK_KINDS = frozenset({"wrong_clock"})  # the host shifts Call.at by `seconds`
TRANSPORT_KINDS = frozenset(  # the host shows them, apps know nothing of them
    {
        "http_500",
        "http_503",
        "refuse_connection",
        "timeout_before",
        "timeout_after_accept",
        "garbage",
        "slow_drip",
    }
)
APP_KINDS = frozenset(  # service_error: "our fault, try later" in the platform's own envelope
    {"half_page", "repeated_page", "throttle", "mutate_between_pages", "service_error"}
)
LIST_KINDS = frozenset({"half_page", "repeated_page", "mutate_between_pages"})  # of APP_KINDS
REFUSAL_KINDS = APP_KINDS - LIST_KINDS
# A single order's answer is as the platform knew it `seconds` ago: its index has not caught up.
DETAIL_KINDS = frozenset({"stale_detail"})
CALLBACK_KINDS = frozenset({"drop_callback", "delay_callback", "duplicate_callback"})
KINDS = CLOCK_KINDS | TRANSPORT_KINDS | APP_KINDS | DETAIL_KINDS | CALLBACK_KINDS


@dataclass
class Fault:
    """One fault. `times` None stays until cleared; `page` None fits any page."""

    app: str
    operation: str
    kind: str
    page: int | None = None
    times: int | None = None
    seconds: float = 0.0

    def fits(self, app: str, operation: str, page: int | None) -> bool:
        """Whether it is meant for this call."""
        return (
            self.app in ("*", app)
            and self.operation in ("*", operation)
            and self.page in (None, page)
        )


class Faults:
    """The switchboard: tests, the page and the API switch, host, apps and outbox take."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []

    def switch(
        self,
        app: str,
        operation: str,
        kind: str,
        *,
        page: int | None = None,
        times: int | None = None,
        seconds: float = 0.0,
    ) -> None:
        """Switch a fault on; app and operation "*" fit any. Raises ValueError on an unknown kind."""
        if kind not in KINDS:
            raise ValueError(f"unknown fault {kind!r}; known: {', '.join(sorted(KINDS))}")
        if times is not None and times < 1:
            raise ValueError("times must be 1 or more, or None until cleared")
        with self._lock:
            self._faults.append(Fault(app, operation, kind, page, times, seconds))

    def clear(self, app: str = "*", operation: str = "*") -> None:
        """Switch off the faults of an app and operation; "*" means every one."""
        with self._lock:
            self._faults = [
                fault
                for fault in self._faults
                if (app != "*" and fault.app != app)
                or (operation != "*" and fault.operation != operation)
            ]

    def take(
        self,
        app: str,
        operation: str,
        page: int | None = None,
        kinds: Collection[str] = APP_KINDS,
    ) -> Fault | None:
        """The first fault that fits, counted down. Apps leave `kinds` as it is."""
        with self._lock:
            for fault in self._faults:
                if fault.kind not in kinds or not fault.fits(app, operation, page):
                    continue
                if fault.times is not None:
                    fault.times -= 1
                    if fault.times == 0:
                        self._faults.remove(fault)
                return fault
        return None

    def take_refusal(self, app: str, operation: str, page: int | None = None) -> str:
        """ "throttle" or "service_error" when the call is to be refused, else nothing."""
        fault = self.take(app, operation, page, REFUSAL_KINDS)
        return fault.kind if fault is not None else ""

    def take_age(self, app: str, operation: str) -> timedelta:
        """How old the answer to a question about one order is; nothing unless told so."""
        fault = self.take(app, operation, kinds=DETAIL_KINDS)
        return timedelta(seconds=fault.seconds) if fault is not None else timedelta(0)

    def as_list(self) -> list[dict[str, Any]]:
        """The faults that are on."""
        with self._lock:
            return [asdict(fault) for fault in self._faults]
