"""A gateway that is not there: it writes down signed calls and gives prepared answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from connectors.adapters import Access, Outgoing
from connectors.http import Response

NOW = datetime(2025, 11, 10, 16, 15, tzinfo=UTC)  # 2025-11-11 00:15 in Shanghai


def reply(value: Any, status: int = 200) -> Response:
    """An answer as it comes over the wire: JSON of `value`, or the bytes given."""
    body = value if isinstance(value, bytes) else json.dumps(value, ensure_ascii=False).encode()
    return Response(status=status, headers={}, body=body)


@dataclass
class Gateway:
    """Answers in order, the last one again and again; `calls` are what came."""

    answers: list[Response]
    calls: list[Outgoing] = field(default_factory=list)

    def send(self, call: Outgoing) -> Response:
        self.calls.append(call)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def access(
        self,
        *,
        config: Mapping[str, Any],
        secrets: Mapping[str, str],
        base_url: str = "https://gateway.example",
    ) -> Access:
        return Access(
            shop="河道旗舰店",
            base_url=base_url,
            config=config,
            secrets=secrets,
            send=self.send,
            clock=lambda: NOW,
        )


GARBAGE: tuple[bytes, ...] = (
    b"",
    b"<html><body>502 Bad Gateway</body></html>",
    b"[]",
    b"null",
    b'"ok"',
    b"{",
    b"\xff\xfe\x00",
    b'{"a":NaN}',
    b"[" * 5000,
    b"{}",
    b'{"code":"x"}',
    b'{"error_response":5}',
    b'{"data":7}',
)
