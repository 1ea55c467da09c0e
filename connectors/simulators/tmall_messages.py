"""TMC: the messages a seller's app may consume, and confirms; what it does not confirm comes again."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from connectors.simulators.faults import CALLBACK_KINDS, Faults
from connectors.simulators.feeds import Feed
from connectors.simulators.life import Life
from connectors.simulators.payments import number_of
from connectors.simulators.reading import beijing_text, paid_moment
from connectors.simulators.tmall_words import number, status_of, type_of, yuan
from connectors.simulators.wire import Store


@dataclass
class _Message:
    number: int
    topic: str
    user_id: str
    nick: str
    published: datetime
    content: str
    due: datetime  # not handed out before


def topics_of(life: Life) -> Iterator[tuple[datetime, str]]:
    """The moments of a life TMC tells, by topic."""
    named = (
        (life.placed, "taobao_trade_TradeCreate"),
        (life.deposit_paid if life.presale else None, "taobao_trade_TradeBuyerStepPay"),
        (paid_moment(life), "taobao_trade_TradeBuyerPay"),
        (life.part_shipped, "taobao_trade_TradePartlySellerShip"),
        (life.shipped, "taobao_trade_TradeSellerShip"),
        (life.completed, "taobao_trade_TradeSuccess"),
        (life.closed or life.refunded or life.group_failed or life.forfeited,
         "taobao_trade_TradeClose"),
        (life.refund_requested, "taobao_refund_RefundCreated"),
        (life.address_change_from, "taobao_trade_TradeLogisticsAddressChanged"),
        (life.urged, "taobao_trade_TradeTimeoutRemind"),
    )  # fmt: skip
    told = set()
    for moment, topic in named:
        if moment is not None:
            told.add(moment)
            yield moment, topic
    for moment in life.channel_moments():
        if moment not in told:
            yield moment, "taobao_trade_TradeChanged"


class Messages:
    """The queue of one app: what permitted shops' orders tell, from the permission on."""

    def __init__(
        self, store: Store, faults: Faults, app: str, since: datetime, repeat_after: timedelta
    ) -> None:
        self._feed = Feed(store, "tmall", topics_of, since=since)
        self._faults, self._app, self._repeat_after = faults, app, repeat_after
        self._lock = threading.Lock()
        self._permits: dict[str, frozenset[str]] = {}  # shop -> topics
        self._sellers: dict[str, tuple[str, str]] = {}  # shop -> user id, nick
        self._waiting: OrderedDict[int, _Message] = OrderedDict()

    def permit(self, shop: str, user_id: str, topics: Collection[str], now: datetime) -> None:
        """A seller lets the app hear topics; they replace those of the last permission."""
        self.collect(now)
        self.keep_permission(shop, user_id, topics)

    def keep_permission(self, shop: str, user_id: str, topics: Collection[str]) -> None:
        """What a seller permitted long ago still holds: nothing since is lost by it."""
        with self._lock:
            self._permits[shop] = frozenset(topics)
            self._sellers[shop] = (user_id, shop)

    def collect(self, now: datetime) -> None:
        """Put what has happened since into the queue."""
        with self._lock:
            for moment, topic, life in self._feed.due(now):
                if topic not in self._permits.get(life.shop, ()):
                    continue
                fault = self._faults.take(self._app, "tmc", kinds=CALLBACK_KINDS)
                kind = fault.kind if fault is not None else ""
                if kind == "drop_callback":
                    continue
                late = timedelta(seconds=fault.seconds if fault and "delay" in kind else 0)
                self._put(life, topic, moment, now + late)
                if kind == "duplicate_callback":
                    self._put(life, topic, moment, now, copy=" again")

    def consume(self, quantity: int, now: datetime) -> list[dict[str, Any]]:
        """Messages that are due, oldest first; each rests then until it is confirmed or repeated."""
        self.collect(now)
        found: list[dict[str, Any]] = []
        with self._lock:
            for message in self._waiting.values():
                if len(found) == quantity:
                    break
                if message.due > now:
                    continue
                message.due = now + self._repeat_after
                found.append(
                    {
                        "id": message.number,
                        "topic": message.topic,
                        "user_id": number(message.user_id),
                        "user_nick": message.nick,
                        "pub_app_key": "12497914",
                        "pub_time": beijing_text(message.published),
                        "content": message.content,
                    }
                )
        return found

    def confirm(self, numbers: Collection[int]) -> None:
        """Forget messages; unknown numbers do no harm."""
        with self._lock:
            for one in numbers:
                self._waiting.pop(one, None)

    def __len__(self) -> int:
        return len(self._waiting)

    def _put(self, life: Life, topic: str, moment: datetime, due: datetime, copy: str = "") -> None:
        # Steady, also over a restart: another message with a number that was told is no message.
        told = f"{life.order_no} {topic} {moment.isoformat()}{copy}"
        message = int("4" + number_of(told, 18))
        user_id, nick = self._sellers[life.shop]
        content = {
            "tid": number(life.order_no),
            "oid": number(life.order_no),
            "seller_nick": nick,
            "buyer_open_uid": f"AAH{life.buyer}",
            "payment": yuan(life.payable_fen),
            "post_fee": yuan(life.freight_fen),
            "status": status_of(life, moment),
            "type": type_of(life),
            "modified": beijing_text(moment),
        }
        text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
        self._waiting[message] = _Message(message, topic, user_id, nick, moment, text, due)
