"""A vendor at the other end of `Access.send`, without a network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from connectors.adapters import Access, Outgoing
from connectors.http import Response


@dataclass
class Wire:
    """Records every call and answers with what `reply` says."""

    reply: Callable[[Outgoing], Response]
    calls: list[Outgoing] = field(default_factory=list)

    def send(self, call: Outgoing) -> Response:
        self.calls.append(call)
        return self.reply(call)


def answer(body: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(status=status, headers=dict(headers or {}), body=body)


def make_access(
    wire: Wire,
    *,
    now: datetime,
    config: Mapping[str, Any],
    secrets: Mapping[str, str],
    base_url: str = "https://vendor.example",
) -> Access:
    return Access(
        shop="河道羊绒小程序",
        base_url=base_url,
        config=config,
        secrets=secrets,
        send=wire.send,
        clock=lambda: now,
    )
