"""What the attacks share: vendors with credentials, a careless server, a watch over sockets."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.connectors.sync.outside import OMS_FORM, VENDORS, Outside

START = datetime(2025, 11, 11, 1, 0, tzinfo=UTC)  # 9:00 in Beijing
# Every vendor and the app of the simulators' host behind it.
APPS: Mapping[str, str] = {vendor: app for app, (vendor, _kind) in VENDORS.items()}


class Watch:
    """Every socket that Python code connects while it is in force; nothing gets through."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.opened: list[Any] = []

        def connect(sock: socket.socket, address: Any) -> None:
            self.opened.append(address)
            raise OSError("no network in this test")

        patch.setattr(socket.socket, "connect", connect)
        patch.setattr(socket.socket, "connect_ex", connect)


def settings_of(outside: Outside, vendor: str) -> tuple[dict[str, Any], dict[str, str]]:
    """What the form of a vendor would be answered with: openly, and in confidence."""
    config, secrets = outside.credentials(APPS[vendor])
    return dict(OMS_FORM if vendor == "generic_oms" else config), dict(secrets)


Answer = Callable[[socket.socket], None]


@contextmanager
def serve(answer: Answer) -> Iterator[tuple[int, list[bytes]]]:
    """A server on loopback that hands each connection to `answer`; its port, and what it was sent.

    Unlike the simulators' it may do anything a bad server does.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    heads: list[bytes] = []

    def work(client: socket.socket) -> None:
        try:
            with client:
                heads.append(_read_request(client))
                answer(client)
        except OSError:
            return  # the client has had enough: as it should

    def accept() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=work, args=[client], daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1], heads
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def _read_request(client: socket.socket) -> bytes:
    """The whole request: a connection closed on unread bytes is reset, answer and all."""
    found = b""
    while b"\r\n\r\n" not in found:
        if not (part := client.recv(65536)):
            return found
        found += part
    head, _, body = found.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: *(\d+)", head)
    missing = int(length[1]) - len(body) if length else 0
    while missing > 0 and (part := client.recv(65536)):
        found, missing = found + part, missing - len(part)
    return found


def reply(body: bytes, *, status: str = "200 OK", headers: tuple[str, ...] = ()) -> Answer:
    """An ordinary answer."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    raw = "\r\n".join(lines).encode() + body
    return lambda client: client.sendall(raw)
