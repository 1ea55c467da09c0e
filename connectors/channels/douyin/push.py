"""The door for Douyin's pushes: messages that an order has changed. Pure.

Source: channels.md 5.6. A push is an array of messages. None of them is believed for its content:
each is a hint to read the order anew. Douyin signs no time, so `msg_id` in the replay table is the
only guard against repetition.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from config.errors import gettext_noop
from connectors.adapters import Answered, PushAnswer, PushItem, PushRequest
from connectors.channels.douyin.signing import (
    PROBE_TAG,
    PUSH_ANSWER,
    check_push,
    read_message,
    split_push,
)
from connectors.wire import PayloadError, Verified

_REFUSED: Final = {"code": 40003, "msg": "signature refused"}
_UNREADABLE: Final = {"code": 40004, "msg": "body is no list of messages"}


class DouyinPush:
    """Verifies, reads and answers Douyin's pushes."""

    def verify(
        self,
        request: PushRequest,
        *,
        config: Mapping[str, Any],
        secrets: Mapping[str, str],
        now: datetime,
    ) -> Verified:
        """Check the signature over the raw body with the secret in force, then the one before.

        Raises SignatureRefused. No time is signed, so there is no time window.
        """
        check_push(
            request.headers,
            request.body,
            app_key=str(config.get("app_key") or ""),
            secrets=[
                secret
                for name in ("app_secret", "previous_app_secret")
                if (secret := secrets.get(name))
            ],
        )
        try:
            items = self._read(request.body)
        except PayloadError:
            return Verified(replay_keys=())  # `read` says what is wrong with it
        return Verified(replay_keys=tuple(i.replay_key for i in items if i.kind != "probe"))

    def read(
        self, request: PushRequest, verified: Verified, *, secrets: Mapping[str, str]
    ) -> Sequence[PushItem]:
        """A hint for each message that names an order, a probe, or something unknown.

        One odd message does not cost the others: it comes as unknown, with its content.
        """
        return self._read(request.body)

    def _read(self, body: bytes) -> Sequence[PushItem]:
        return tuple(_read_item(item, index) for index, item in enumerate(split_push(body)))

    def map(self, item: PushItem, *, shop: str, stages: Mapping[str, str] | None) -> Answered:
        """Never called for Douyin: a push carries no whole order."""
        raise PayloadError(
            gettext_noop("抖店的消息不带整张订单，须按订单号读取"), field=item.topic or "$"
        )

    def answer(self, outcome: str) -> PushAnswer:
        """What Douyin reads as "have it" (code 0, within 5 seconds), or what went wrong."""
        content, status = {
            "refused": (_REFUSED, 401),
            "unreadable": (_UNREADABLE, 400),
        }.get(outcome, (PUSH_ANSWER, 200))
        return PushAnswer(status=status, body=json.dumps(content).encode())


def _read_item(item: object, index: int) -> PushItem:
    try:
        message = read_message(item, index)
    except PayloadError:
        text = json.dumps(item, sort_keys=True, ensure_ascii=False, default=str)
        digest = hashlib.sha256(text.encode()).hexdigest()
        content = item if isinstance(item, Mapping) else {"message": item}
        return PushItem(kind="unknown", replay_key=f"douyin:sha256:{digest}", payload=content)
    if message.tag == PROBE_TAG:
        return PushItem(kind="probe", replay_key="", topic=message.tag)
    return PushItem(
        kind="hint" if message.order_no else "unknown",
        replay_key=f"douyin:{message.message_id}",
        topic=message.tag,
        order_no=message.order_no,
        payload=message.content,
    )
