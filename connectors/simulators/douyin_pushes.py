"""The messages Douyin pushes: which moments of an order they tell, and how they are signed."""

from __future__ import annotations

import hashlib
import hmac
import json
import random
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from connectors.simulators.douyin_orders import status_of
from connectors.simulators.feeds import Feed
from connectors.simulators.life import Life
from connectors.simulators.outbox import Outbox
from connectors.simulators.payments import number_of
from connectors.simulators.reading import paid_moment
from connectors.simulators.wire import Store

PROBE, OTHER_CHANGE = "0", "109"
# The platform states no schedule: repeats within the hour, then it gives up (an assumption).
SCHEDULE = (10.0, 30.0, 60.0, 300.0, 900.0, 1800.0)


def tags_of(life: Life) -> Iterator[tuple[datetime, str]]:
    """The moments of a life and the tags that tell them; what has no tag of its own is 109."""
    named = (
        (life.placed, "100"),
        (paid_moment(life), "101"),
        (life.shipped, "102"),
        (life.completed, "103"),
        (life.address_change_until, "105"),
        (life.closed or life.group_failed or life.forfeited, "106"),
        (life.part_shipped, "108"),
        (life.group_done, "110"),
        (life.risk_until, "110"),
        (life.address_change_from, "111"),
        (life.refund_requested, "200"),
        (life.refunded, "206"),
    )
    told = set()
    for moment, tag in named:
        if moment is not None:
            told.add(moment)
            yield moment, tag
    for moment in life.channel_moments():
        if moment not in told:
            yield moment, OTHER_CHANGE


class Pushes:
    """Sends what has happened to the address the app configured; the order is not guaranteed."""

    def __init__(
        self,
        store: Store,
        outbox: Outbox,
        app: str,
        app_key: str,
        secret: str,
        *,
        since: datetime | None,
        sign_method: str,
    ) -> None:
        self._feed = Feed(store, "douyin", tags_of, since=since)
        self._outbox, self._app, self._app_key, self._secret = outbox, app, app_key, secret
        self.sign_method = sign_method
        self._random = random.Random(5)  # noqa: S311 - it only shuffles

    def collect(self, url: str, shop_ids: dict[str, int], now: datetime) -> None:
        """Hand what is due to the outbox, in no order. Without an address it is lost."""
        due = self._feed.due(now)
        self._random.shuffle(due)
        for moment, tag, life in due:
            if url and life.shop in shop_ids:
                self._send(url, tag, life.order_no, self._data(life, tag, moment, shop_ids))

    def probe(self, url: str) -> None:
        """The test message of the console."""
        self._send(url, PROBE, "", {"msg": "probe"})

    def _data(
        self, life: Life, tag: str, moment: datetime, shop_ids: dict[str, int]
    ) -> dict[str, Any]:
        status, _, _ = status_of(life, moment)
        number = int(life.order_no) if life.order_no.isdigit() else life.order_no
        return {
            "p_id": number,
            "s_ids": [number],
            "shop_id": shop_ids[life.shop],
            "order_status": status,
            "order_type": 0,
            "create_time": int(life.placed.timestamp()),
            "update_time": int(moment.timestamp()),
        }

    def _send(self, url: str, tag: str, order_no: str, data: dict[str, Any]) -> None:
        at = data.get("update_time", 0)
        message = {
            "tag": tag,
            "msg_id": f"{number_of(f'{tag} {order_no} {at}', 10)}:0:{order_no}:{at}:{at}",
            "data": json.dumps(data, ensure_ascii=False, separators=(",", ":")),
        }
        body = json.dumps([message], ensure_ascii=False, separators=(",", ":")).encode()
        self._outbox.send(
            app=self._app,
            operation=f"push.{tag}",
            url=url,
            headers={
                "Content-Type": "application/json;charset=UTF-8",
                "app-id": self._app_key,
                "sign-method": self.sign_method,
                "event-sign": sign_event(self._app_key, body, self._secret, self.sign_method),
            },
            body=body,
            order_no=order_no,
            ok=_is_success,
            schedule=SCHEDULE,
        )


def sign_event(app_key: str, body: bytes, secret: str, sign_method: str) -> str:
    """The `event-sign` of a push (channels.md 5.6)."""
    text = app_key.encode() + body + secret.encode()
    if sign_method == "hmac-sha256":
        return hmac.new(secret.encode(), text, "sha256").hexdigest()
    return hashlib.md5(text, usedforsecurity=False).hexdigest()


def _is_success(status: int, body: bytes) -> bool:
    try:
        answer = json.loads(body)
    except ValueError:
        return False
    return status == 200 and isinstance(answer, dict) and answer.get("code") in (0, "0")
