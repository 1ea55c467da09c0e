"""A local DingTalk group robot: verifies like the platform, answers like it, keeps a ledger.

Wire code of its own (it must catch our mistakes, so it shares nothing with the sender). One server
holds any number of robots, told apart by access token:

    server = RobotServer({"token": Robot(secret="SEC...")}, ledger=Path("ledger.jsonl"))
    with server.running() as address: ...

`GET /ledger` gives every request as JSON, `POST /control` switches a robot's behaviour; `GET /` is a
page with both.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

from connectors.simulators.robot_page import WORDS, write_page

TIMESTAMP_TOLERANCE_MS = 3_600_000
PER_MINUTE = 20
MUTE_SECONDS = 600
MAX_BODY_BYTES = 20_000
_TYPES = {"text", "markdown", "link", "actionCard", "feedCard"}
_MENTIONING = {"text", "markdown"}  # a card mentions nobody, whatever its `at` says
# Faults a robot can be told to show; each stays until it is switched back to "".
FAULTS = tuple(WORDS)


@dataclass
class Robot:
    """One robot of a group: its security settings and what it is told to do wrong."""

    secret: str = ""
    keyword: str = ""
    fault: str = ""
    accepted: list[float] = field(default_factory=list)
    muted_until: float = 0.0


class RobotServer:
    """The server and its ledger. `clock` gives seconds since 1970 and can be replaced in tests."""

    def __init__(
        self,
        robots: Mapping[str, Robot],
        *,
        ledger: Path | None = None,
        port: int = 0,
        clock: Callable[[], float] = time.time,
        silence_seconds: float = 20.0,
    ) -> None:
        self.robots = dict(robots)
        self.clock, self.silence_seconds = clock, silence_seconds
        self._path, self._lock = ledger, threading.Lock()
        self.entries: list[dict[str, Any]] = []
        if ledger is not None and ledger.exists():
            self.entries = [json.loads(line) for line in ledger.read_text("utf-8").splitlines()]
        owner = self

        class Handler(_Handler):
            server_of_robots = owner

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def webhook(self, token: str) -> str:
        """The address a group's owner would copy out of DingTalk."""
        return f"http://127.0.0.1:{self.port}/robot/send?access_token={token}"

    def serve(self) -> None:
        """Serve until `stop()` (the command line)."""
        self._server.serve_forever(poll_interval=0.02)

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    @contextmanager
    def running(self) -> Iterator[RobotServer]:
        """Serve in a thread for the length of the block."""
        thread = threading.Thread(target=self.serve, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self.stop()
            thread.join(timeout=5)

    @property
    def accepted(self) -> list[dict[str, Any]]:
        """The messages the group has seen."""
        return [entry for entry in self.entries if entry["accepted"]]

    def record(self, entry: dict[str, Any]) -> None:
        """Append to the ledger, in memory and on disk."""
        with self._lock:
            self.entries.append(entry)
            if self._path is not None:
                with self._path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(entry, ensure_ascii=False) + "\n")

    # -- the platform's checks, in its order --------------------------------------------------

    def answer(
        self, query: Mapping[str, list[str]], raw: bytes
    ) -> tuple[dict[str, Any], Robot | None]:
        """Judge one call; returns the platform's JSON and the robot, and writes the ledger."""
        token = query.get("access_token", [""])[0]
        robot = self.robots.get(token)
        with self._lock:
            refusal, message = self._judge(robot, query, raw)
        wanted, kind = message.get("at"), message.get("msgtype")
        at = wanted if isinstance(wanted, dict) and kind in _MENTIONING else {}
        body = message.get(str(message.get("msgtype")))
        content = body if isinstance(body, dict) else {}
        self.record(
            {
                "at": datetime.fromtimestamp(self.clock(), UTC).isoformat(),
                "token": token[-4:],
                "accepted": refusal is None,
                "errcode": 0 if refusal is None else refusal[0],
                "errmsg": "ok" if refusal is None else refusal[1],
                "msgtype": message.get("msgtype", ""),
                "title": content.get("title", ""),
                "text": content.get("text", content.get("content", "")),
                "is_at_all": bool(at.get("isAtAll")),
                "at_mobiles": list(at.get("atMobiles", [])),
                "bytes": len(raw),
            }
        )
        code, words = refusal or (0, "ok")
        return {"errcode": code, "errmsg": words}, robot

    def _judge(
        self, robot: Robot | None, query: Mapping[str, list[str]], raw: bytes
    ) -> tuple[tuple[int, str] | None, dict[str, Any]]:
        try:
            message = json.loads(raw)
        except ValueError:
            message = None
        if not isinstance(message, dict):
            return (40035, "invalid parameter: body is not JSON"), {}
        if robot is None:
            return (400101, "token is not exist"), message
        if robot.fault == "dissolved":
            return (400013, "group has been dissolved"), message
        if robot.fault == "stopped":
            return (400102, "robot has been stopped"), message
        if robot.fault == "busy":
            return (-1, "system busy"), message
        if refusal := self._check_sign(robot, query):
            return refusal, message
        kind = message.get("msgtype")
        if kind not in _TYPES:
            return (400105, "unsupported msgtype"), message
        content = message.get(kind)
        if not isinstance(content, dict) or not (content.get("text") or content.get("content")):
            return (40035, f"missing parameter {kind}"), message
        if len(raw) > MAX_BODY_BYTES:
            return (40035, "invalid parameter: message too long"), message
        if robot.keyword and robot.keyword not in json.dumps(content, ensure_ascii=False):
            return (310000, "keywords not in content"), message
        return self._check_rate(robot), message

    def _check_sign(self, robot: Robot, query: Mapping[str, list[str]]) -> tuple[int, str] | None:
        if not robot.secret:
            return None
        stamp, given = query.get("timestamp", [""])[0], query.get("sign", [""])[0]
        if not stamp.isdigit() or abs(self.clock() * 1000 - int(stamp)) > TIMESTAMP_TOLERANCE_MS:
            return 310000, "timestamp is invalid"
        digest = hmac.digest(
            robot.secret.encode(), f"{stamp}\n{robot.secret}".encode(), hashlib.sha256
        )
        if not hmac.compare_digest(base64.b64encode(digest), given.encode()):
            return 310000, "sign not match"
        return None

    def _check_rate(self, robot: Robot) -> tuple[int, str] | None:
        now = self.clock()
        if now < robot.muted_until:
            return 130101, "send too fast"
        robot.accepted = [at for at in robot.accepted if at > now - 60]
        if len(robot.accepted) >= PER_MINUTE:
            robot.muted_until = now + MUTE_SECONDS
            return 130101, "send too fast"
        robot.accepted.append(now)
        return None


class _Handler(BaseHTTPRequestHandler):
    server_of_robots: RobotServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        owner, path = self.server_of_robots, urlsplit(self.path).path
        if path == "/ledger":
            self._reply(owner.entries)
        elif path == "/":
            robots = {name: (r.fault, r.muted_until) for name, r in owner.robots.items()}
            page = write_page(robots, owner.entries, owner.clock())
            self._write(page.encode(), "text/html; charset=utf-8")
        else:
            self._reply({"errcode": 43002, "errmsg": "require POST http method"})

    def do_POST(self) -> None:
        owner, parts = self.server_of_robots, urlsplit(self.path)
        raw = self.rfile.read(min(int(self.headers.get("Content-Length") or 0), 1_000_000))
        if parts.path == "/control":
            self._control(raw)
            return
        if parts.path != "/robot/send":
            self._reply({"errcode": 404, "errmsg": "not found"}, status=404)
            return
        query = parse_qs(parts.query, keep_blank_values=True)
        robot = owner.robots.get(query.get("access_token", [""])[0])
        fault = robot.fault if robot else ""
        if fault == "http_500":
            self._reply({"message": "internal"}, status=500)
        elif fault == "overload":
            self._reply({"status": 1111, "wait": 5, "punish": "deny"})
        elif fault == "silent":
            time.sleep(owner.silence_seconds)
            self.close_connection = True
        elif "json" not in (self.headers.get("Content-Type") or ""):
            self._reply({"errcode": 43004, "errmsg": "invalid content type"})
        else:
            answer, _ = owner.answer(query, raw)
            if fault == "silent_after_accept":
                time.sleep(owner.silence_seconds)
                self.close_connection = True
            else:
                self._reply(answer)

    def _control(self, raw: bytes) -> None:
        """Switch a robot: {"token": ..., "fault": one of FAULTS}, as JSON or from the page."""
        origin = self.headers.get("Origin")
        if origin and urlsplit(origin).netloc != self.headers.get("Host"):
            self._reply({"error": "foreign origin"}, status=403)
            return
        is_form = "form" in (self.headers.get("Content-Type") or "")
        try:
            wish = dict(parse_qsl(raw.decode(), True)) if is_form else json.loads(raw)
            robot, fault = self.server_of_robots.robots[wish["token"]], wish["fault"]
        except (ValueError, KeyError, TypeError):
            self._reply({"error": "give token and fault"}, status=400)
            return
        if fault not in FAULTS:
            self._reply({"error": "unknown fault"}, status=400)
            return
        robot.fault = fault
        if is_form:
            self._write(b"", "text/html", status=303, location="/")
        else:
            self._reply({"ok": True})

    def _reply(self, content: Any, *, status: int = 200) -> None:
        body = json.dumps(content, ensure_ascii=False).encode()
        self._write(body, "application/json; charset=utf-8", status=status)

    def _write(self, body: bytes, kind: str, *, status: int = 200, location: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if location:
            self.send_header("Location", location)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
        """The ledger is the log."""
