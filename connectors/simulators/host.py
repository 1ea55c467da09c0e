"""One HTTP server for all simulated platforms, each under its prefix, with a control page."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from connectors.simulators.control import ControlApp
from connectors.simulators.faults import CLOCK_KINDS, TRANSPORT_KINDS, Fault, Faults
from connectors.simulators.outbox import Outbox
from connectors.simulators.wire import Answer, App, Call, Clock, json_answer, text_answer

MAX_BODY_BYTES = 5_000_000
PUMP_EVERY_SECONDS = 0.2
_ERROR_PAGES = {"http_500": (500, "Internal Server Error"), "http_503": (503, "Service Busy")}
_GARBAGE = Answer(200, {"Content-Type": "text/html"}, b"<html><body>\xff\xfe<<gateway}}{busy")


class Host:
    """Serves apps by prefix. `costs` has, per "app/operation", how many calls were answered and the
    processor seconds the simulators themselves needed for them (no waiting of any kind)."""

    def __init__(
        self,
        apps: Mapping[str, App],
        clock: Clock,
        faults: Faults,
        outbox: Outbox,
        *,
        bind: str = "127.0.0.1",
        silence_seconds: float = 30.0,
    ) -> None:
        self.apps, self.clock, self.faults, self.outbox = dict(apps), clock, faults, outbox
        self.silence_seconds, self._bind = silence_seconds, bind
        self.costs: dict[str, tuple[int, float]] = {}
        self._control: App = ControlApp(self)
        self._lock, self._stopped = threading.Lock(), threading.Event()
        self._server: _Server | None = None
        self._threads: list[threading.Thread] = []

    def start(self, port: int = 0) -> str:
        """Serve in threads and return the base address."""
        self._stopped.clear()
        server = self._server = _Server(
            (self._bind, port), type("Bound", (_Handler,), {"host": self})
        )
        self._run(lambda: server.serve_forever(poll_interval=0.02))
        if not self.clock.is_virtual:
            self._run(self._pump_on)
        return f"http://127.0.0.1:{server.server_address[1]}"

    def stop(self) -> None:
        """Stop serving, end every wait a fault started."""
        self._stopped.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
        for thread in self._threads:
            thread.join(timeout=5)
        self._threads = []
        self.outbox.close()

    @contextmanager
    def running(self, port: int = 0) -> Iterator[str]:
        """Serve for the length of the block; gives the base address."""
        address = self.start(port)
        try:
            yield address
        finally:
            self.stop()

    def pump(self) -> int:
        """Let the apps send what became due and deliver it; says how many callbacks went out.

        On a real clock the host does so by itself; on a virtual one nothing goes out without it.
        """
        now = self.clock.now()
        for app in self.apps.values():
            tick = getattr(app, "tick", None)
            if tick is not None:
                tick(now)
        return self.outbox.deliver_due(now)

    def find(self, path: str) -> tuple[str, App] | None:
        """The app of a path and its prefix; the longest prefix wins."""
        if path.startswith("/_control"):
            return "/_control", self._control
        fits = [p for p in self.apps if path == p or path.startswith(p + "/")]
        prefix = max(fits, key=len, default=None)
        return None if prefix is None else (prefix, self.apps[prefix])

    def spend(self, app: str, operation: str, seconds: float) -> None:
        """Add one call to the costs."""
        with self._lock:
            count, total = self.costs.get(f"{app}/{operation}", (0, 0.0))
            self.costs[f"{app}/{operation}"] = (count + 1, total + seconds)

    def sleep(self, seconds: float) -> None:
        """Wait, but not beyond `stop()`."""
        self._stopped.wait(seconds)

    def _pump_on(self) -> None:
        while not self._stopped.wait(PUMP_EVERY_SECONDS):
            self.pump()

    def _run(self, target: Any) -> None:
        thread = threading.Thread(target=target, daemon=True)
        thread.start()
        self._threads.append(thread)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def server_bind(self) -> None:
        """Bind without the base class's reverse DNS look-up."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is not worth a traceback."""


class _Handler(BaseHTTPRequestHandler):
    host: Host
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 60
    _spent = 0.0  # of this connection's thread, by the calls before

    def _serve(self) -> None:
        host = self.host
        length = int(self.headers.get("Content-Length") or 0)
        if length > MAX_BODY_BYTES:
            self._write(text_answer("body too large", 413))
            self.close_connection = True
            return
        body = self.rfile.read(length)
        parts = urlsplit(self.path)
        found = host.find(parts.path)
        if found is None:
            self._write(json_answer({"error": "no such platform"}, 404))
            return
        prefix, app = found
        call = Call(
            self.command,
            unquote(parts.path[len(prefix) :]) or "/",
            tuple(parse_qsl(parts.query, keep_blank_values=True)),
            self.path,
            {name.lower(): value for name, value in self.headers.items()},
            body,
            host.clock.now(),
        )
        if app.name == "_control":
            self._write(app.answer(call))
            return
        naming = getattr(app, "operation", None)
        operation, page = naming(call) if naming is not None else (call.path.strip("/"), None)
        skew = host.faults.take(app.name, operation, page, CLOCK_KINDS)
        if skew is not None:
            call = _at(call, skew)
        fault = host.faults.take(app.name, operation, page, TRANSPORT_KINDS)
        if fault is not None and self._break_before(fault):
            return
        answer = app.answer(call)
        # Processor time: by the wall clock it would hold what the caller computes meanwhile, too.
        spent = time.thread_time()
        host.spend(app.name, operation, spent - self._spent)
        self._spent = spent
        if fault is None:
            self._write(answer)
        elif fault.kind == "garbage":
            self._write(_GARBAGE)
        elif fault.kind == "slow_drip":
            self._drip(answer, fault.seconds)
        else:  # timeout_after_accept
            self._hang(fault)

    do_GET = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815 - the base class's names

    def _break_before(self, fault: Fault) -> bool:
        """Show a fault that leaves the call without effect; False when it is not of that kind."""
        if fault.kind in _ERROR_PAGES:
            status, words = _ERROR_PAGES[fault.kind]
            self._write(text_answer(f"<h1>{words}</h1>", status, "text/html"))
        elif fault.kind == "refuse_connection":
            self.close_connection = True
        elif fault.kind == "timeout_before":
            self._hang(fault)
        else:
            return False
        return True

    def _hang(self, fault: Fault) -> None:
        self.host.sleep(fault.seconds or self.host.silence_seconds)
        self.close_connection = True

    def _head(self, answer: Answer) -> bytes:
        headers = {**answer.headers, "Content-Length": str(len(answer.body))}
        lines = [f"HTTP/1.1 {answer.status} {self.responses.get(answer.status, ('', ''))[0]}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def _write(self, answer: Answer) -> None:
        self.wfile.write(self._head(answer) + answer.body)

    def _drip(self, answer: Answer, seconds: float) -> None:
        self.wfile.write(self._head(answer))
        size = max(1, len(answer.body) // 10)
        for start in range(0, len(answer.body), size):
            self.host.sleep(seconds / 10)
            self.wfile.write(answer.body[start : start + size])

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
        """The costs and the ledgers are the log."""


def _at(call: Call, skew: Fault) -> Call:
    return Call(
        call.method,
        call.path,
        call.query,
        call.raw_target,
        call.headers,
        call.body,
        call.at + timedelta(seconds=skew.seconds),
    )
