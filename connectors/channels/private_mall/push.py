"""The door for the own mall's pushes: whole orders, payments, pings. Pure. FORMAT.md, section 2."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from config.errors import gettext_noop
from connectors.adapters import Answered, PushAnswer, PushItem, PushRequest
from connectors.channels.private_mall.mapping import (
    ORDER_EVENTS,
    PAYMENT_EVENTS,
    PROBE_EVENT,
    STAGES,
    map_order,
    map_payment,
    read_event,
)
from connectors.channels.private_mall.signing import verify_push
from connectors.wire import PayloadError, Reader, Verified

# outcome -> HTTP status and `code` of the answer (FORMAT.md, section 2).
_ANSWERS: Final[Mapping[str, tuple[int, str]]] = {
    "stored": (200, "stored"),
    "repeated": (409, "repeated"),
    "refused": (401, "bad_signature"),
    "unreadable": (400, "bad_request"),
}


class PrivateMallPush:
    """Verifies, reads, maps and answers the own mall's pushes."""

    def verify(
        self,
        request: PushRequest,
        *,
        config: Mapping[str, Any],
        secrets: Mapping[str, str],
        now: datetime,
    ) -> Verified:
        """Check id, time (5 minutes) and signature over the raw body; raises SignatureRefused."""
        return verify_push(
            request.headers,
            request.body,
            secrets=[
                secret for name in ("secret", "previous_secret") if (secret := secrets.get(name))
            ],
            now=now,
        )

    def read(
        self, request: PushRequest, verified: Verified, *, secrets: Mapping[str, str]
    ) -> Sequence[PushItem]:
        """The one event of a push: an order or payment to be mapped, a ping, or something unknown.

        Raises PayloadError when the event itself cannot be read; what is wrong inside an order is
        found when it is mapped, and put aside with the order.
        """
        event = read_event(request.body)
        [key] = verified.replay_keys
        if event.type == PROBE_EVENT:
            return (PushItem(kind="probe", replay_key=key, topic=event.type),)
        is_known = event.type in ORDER_EVENTS | PAYMENT_EVENTS
        return (
            PushItem(
                kind="record" if is_known else "unknown",
                replay_key=key,
                topic=event.type,
                order_no=_read_number(event.content),
                payload=event.content,
            ),
        )

    def map(self, item: PushItem, *, shop: str, stages: Mapping[str, str] | None) -> Answered:
        """The order or payment of a message; `stages` None: the shipped words.

        Raises PayloadError naming the field.
        """
        if item.topic in PAYMENT_EVENTS:
            return Answered(map_payment(item.payload), item.payload)
        if item.topic in ORDER_EVENTS:
            table = STAGES if stages is None else stages
            return Answered(map_order(item.payload, shop=shop, stages=table), item.payload)
        raise PayloadError(gettext_noop("没有见过的推送类型，无法读成订单"), field="type")

    def answer(self, outcome: str) -> PushAnswer:
        """2xx for "stored", 409 for what was here already, 401 and 400 for what was not taken."""
        status, code = _ANSWERS[outcome]
        content = {"result": code} if status == 200 else {"error": {"code": code}}
        return PushAnswer(status=status, body=json.dumps(content).encode())


def _read_number(content: Mapping[str, object]) -> str:
    """The order's number for the message's row; the mapping says what is wrong with it."""
    try:
        return Reader(content).identifier("order_no")
    except PayloadError:
        return ""
