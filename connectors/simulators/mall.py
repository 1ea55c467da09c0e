"""A local private mall that keeps to FORMAT.md: order list, single order, payment sync, pushes.

Wire code of its own. Calls to it are signed in the way of Standard Webhooks with method and path in
the text; its pushes likewise over the raw body. The list pages by the key of the last row given, so
that an order which changes meanwhile moves to a later page, never out of all pages.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from connectors.simulators.core import (
    Answer,
    Bucket,
    Call,
    ChangeIndex,
    Clock,
    Faults,
    Feed,
    Outbox,
    Store,
    json_answer,
)
from connectors.simulators.faults import LIST_KINDS
from connectors.simulators.journal import Told, tell_nobody
from connectors.simulators.keys import MallKeys
from connectors.simulators.life import Life
from connectors.simulators.mall_orders import render_order, render_payments, write_time
from connectors.simulators.payments import CHANNEL, is_paid
from connectors.simulators.reading import paid_moment
from connectors.simulators.signatures import signed_targets

TOLERANCE = timedelta(minutes=5)
DEFAULT_LIMIT, MAX_LIMIT = 100, 200
# The schedule Standard Webhooks recommends, a day and more in all.
REPEAT_SECONDS = (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
_MAX_ID = 128
_MUTATED_AT_ONCE = 3
_Key = tuple[datetime, str]


class Refusal(Exception):
    """An error answer of section 3."""

    def __init__(self, status: int, code: str, message: str, *, wait: float = 0.0) -> None:
        super().__init__(code)
        headers = {"Retry-After": str(max(1, round(wait)))} if wait else {}
        content = {"error": {"code": code, "message": message}}
        self.answer = json_answer(content, status, headers)


class MallApp:
    """The mall's API and its pushes; `push_url` gets them, "" keeps them back.

    `on_synced` is told of an order whose payment a sync found: the scenario lets it flow on.
    """

    name = "mall"

    def __init__(
        self,
        store: Store,
        clock: Clock,
        faults: Faults,
        outbox: Outbox,
        keys: MallKeys,
        *,
        push_url: str = "",
        push_since: datetime | None = None,
        bucket: Bucket | None = None,
        calls_per_day: int | None = None,
        on_synced: Callable[[Life, datetime], None] | None = None,
    ) -> None:
        self._store, self._clock, self._faults, self._outbox = store, clock, faults, outbox
        self.keys, self.push_url, self.on_synced = keys, push_url, on_synced
        self._key = base64.b64decode(keys.secret.removeprefix("whsec_"), validate=True)
        self._bucket = bucket or Bucket(20, 40)
        self._quota = _Quota(calls_per_day)
        self._index = ChangeIndex(store, CHANNEL)
        self._feed = Feed(store, CHANNEL, _moments, since=push_since)
        self._lock = threading.Lock()
        self.on_done: Told = tell_nobody

    def operation(self, call: Call) -> tuple[str, int | None]:
        """`orders` with its page, `orders.one` or `orders.sync_payment`."""
        parts = call.path.strip("/").split("/")
        if len(parts) == 1:
            cursor = dict(call.query).get("cursor", "")
            return "orders", _page_of(cursor)
        return ("orders.one" if len(parts) == 2 else "orders.sync_payment"), None

    def answer(self, call: Call) -> Answer:
        """Answer one call."""
        try:
            self._check_signature(call)
            self._check_pace(call)
            return json_answer(self._find(call))
        except Refusal as refusal:
            return refusal.answer

    def _find(self, call: Call) -> dict[str, Any]:
        parts = call.path.strip("/").split("/")
        if parts[0] != "orders" or len(parts) > 3:
            raise Refusal(404, "not_found", "没有这个地址")
        if len(parts) == 3:
            if call.method != "POST" or parts[2] != "sync_payment":
                raise Refusal(404, "not_found", "没有这个地址")
            return self._sync_payment(parts[1], self._clock.now())
        if call.method != "GET":
            raise Refusal(400, "bad_request", "请用 GET")
        if len(parts) == 2:
            seen = self._clock.now() - self._faults.take_age(self.name, "orders.one")
            return render_order(self._get(parts[1], seen), seen)
        return self._list(call)

    # -- who calls, and how often --------------------------------------------------------------

    def _check_signature(self, call: Call) -> None:
        number, stamp = (
            call.headers.get("webhook-id", ""),
            call.headers.get("webhook-timestamp", ""),
        )
        signs = call.headers.get("webhook-signature", "").split(" ")
        if not number or len(number) > _MAX_ID or "." in number or not stamp or not signs[0]:
            raise Refusal(401, "bad_signature", "缺少签名的请求头，或编号不合要求")
        if not stamp.isdigit() or (
            abs(int(stamp) - call.at.timestamp()) > TOLERANCE.total_seconds()
        ):
            raise Refusal(401, "bad_timestamp", "请求时间与本机相差超过 5 分钟")
        for target in signed_targets(call):
            text = f"{number}.{stamp}.{call.method}.{target}.".encode() + call.body
            if any(hmac.compare_digest(self._sign(text), sign) for sign in signs):
                return
        raise Refusal(401, "bad_signature", "签名不符")

    def _sign(self, text: bytes) -> str:
        return "v1," + base64.b64encode(hmac.digest(self._key, text, hashlib.sha256)).decode()

    def _check_pace(self, call: Call) -> None:
        now = self._clock.now()
        refusal = self._faults.take_refusal(self.name, *self.operation(call))
        if refusal == "service_error":
            raise Refusal(500, "internal", "商城内部出错，请稍后再试")
        wait = self._bucket.take(now)
        if wait or refusal:
            raise Refusal(429, "rate_limited", "调用太快", wait=wait or 1)
        if not self._quota.take(now):
            raise Refusal(429, "quota_exceeded", "今天的调用次数用完了")

    # -- orders --------------------------------------------------------------------------------

    def _get(self, order_no: str, now: datetime) -> Life:
        life = self._store.get(order_no)
        if (
            life is None
            or life.channel != CHANNEL
            or life.shop != self.keys.shop
            or life.placed > now
        ):
            raise Refusal(404, "not_found", "没有这张订单")
        return life

    def _list(self, call: Call) -> dict[str, Any]:
        query, now = dict(call.query), self._clock.now()
        start, end = _read_time(query, "updated_from"), _read_time(query, "updated_to")
        limit = _read_limit(query.get("limit", ""))
        if start >= end:
            raise Refusal(400, "bad_request", "updated_to 应晚于 updated_from")
        page, before, after = _read_cursor(query.get("cursor", ""))
        fault = self._faults.take(self.name, "orders", page, LIST_KINDS)
        kind = fault.kind if fault else ""
        if kind == "repeated_page" and page > 1:
            page, after = page - 1, before
        found = self._index.modified(
            self.keys.shop, now, max(start, after[0]) if after else start, _just_before(end)
        )
        rows = [row for row in found if after is None or row > after]
        given = rows[: max(1, limit // 2) if kind == "half_page" else limit]
        answer: dict[str, Any] = {"orders": [o for o in map(self._row, given) if o is not None]}
        if len(given) < len(rows):
            answer["next_cursor"] = _write_cursor(page + 1, after, given[-1])
        if kind == "mutate_between_pages":
            self._mutate(given, now)
        return answer

    def _row(self, row: _Key) -> dict[str, Any] | None:
        """An order as the list's index knows it: a lagging one as it was."""
        life = self._store.get(row[1])
        return None if life is None else render_order(life, self._clock.now() - life.lag)

    def _mutate(self, given: Iterable[_Key], now: datetime) -> None:
        for _, order_no in list(given)[:_MUTATED_AT_ONCE]:
            self._store.touch(order_no, now)

    def redo(self, what: str, content: Mapping[str, Any], at: datetime) -> None:
        """Find a payment again that was found before a restart, where the order is still there."""
        with suppress(Refusal):
            self._sync_payment(content["order_no"], at)

    def _sync_payment(self, order_no: str, now: datetime) -> dict[str, Any]:
        """Ask the gateway again; an order it has the money for becomes paid. Safe to repeat."""
        with self._lock:
            life = self._get(order_no, now)
            heard = paid_moment(life)
            is_known = heard is not None and heard <= now
            is_found = not is_known and bool(life.gateway) and is_paid(life, now)
            if is_found:
                life.paid = now
                if life.cause:
                    life.mended = life.mended or now
                if life.presale:
                    life.balance_paid = now
                if self.on_synced is not None:
                    self.on_synced(life, now)
                self._store.replace(life)
                self.on_done("sync_payment", {"order_no": order_no}, now)
        result = "paid" if is_found else "unchanged" if is_known else "unpaid"
        return {"result": result, "order": render_order(life, now)}

    # -- pushes --------------------------------------------------------------------------------

    def tick(self, now: datetime) -> None:
        """Hand the pushes that became due to the outbox; of several changes of one order that
        are due together the last one is told, and of a new order that it was made."""
        orders: dict[str, tuple[datetime, str]] = {}
        for moment, kind, life in self._feed.due(now):
            if not self.push_url or life.shop != self.keys.shop:
                continue
            if kind == "payment.updated":
                for payment in _told_at(life, moment, render_payments(life, now)):
                    content = {"order_no": life.order_no, **payment}
                    self.push(kind, moment, content, order_no=life.order_no)
            else:
                first = orders.get(life.order_no, (moment, kind))[1]
                orders[life.order_no] = moment, "order.created" if "created" in first else kind
        for order_no, (moment, kind) in orders.items():
            known = self._store.get(order_no)
            if known is not None:
                self.push(kind, moment, render_order(known, now), order_no=order_no)

    def ping(self) -> None:
        """Send the message that only tries the connection."""
        self.push("ping", self._clock.now(), None)

    def push(
        self, kind: str, moment: datetime, content: Mapping[str, Any] | None, *, order_no: str = ""
    ) -> None:
        """Send one push; repeats keep its id and body and are signed anew."""
        event: dict[str, Any] = {"type": kind, "occurred_at": write_time(moment)}
        if content is not None:
            event["data"] = content
        body = json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()
        digest = hashlib.sha256(f"{kind} {moment.timestamp()} ".encode() + body).hexdigest()
        number = f"msg_{digest[:32]}"

        def headers(at: datetime) -> Mapping[str, str]:
            stamp = str(int(at.timestamp()))
            return {
                "Content-Type": "application/json; charset=utf-8",
                "webhook-id": number,
                "webhook-timestamp": stamp,
                "webhook-signature": self._sign(f"{number}.{stamp}.".encode() + body),
            }

        self._outbox.send(
            app=self.name,
            operation=kind,
            url=self.push_url,
            headers=headers,
            body=body,
            order_no=order_no,
            ok=lambda status, _: 200 <= status < 300 or status == 409,
            schedule=REPEAT_SECONDS,
        )


class _Quota:
    """So many calls a day of the shop's calendar."""

    def __init__(self, per_day: int | None) -> None:
        self._per_day, self._day, self._used = per_day, "", 0
        self._lock = threading.Lock()

    def take(self, now: datetime) -> bool:
        """Whether one more is allowed."""
        with self._lock:
            day = write_time(now)[:10]
            self._used = self._used + 1 if day == self._day else 1
            self._day = day
            return self._per_day is None or self._used <= self._per_day


def _told_at(life: Life, moment: datetime, payments: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The payments a change is about: all of them when they go back, else the one that came."""
    if moment == life.refunded:
        return payments
    return payments[:1] if moment == life.deposit_paid else payments[-1:]


def _moments(life: Life) -> Iterable[tuple[datetime, str]]:
    """What of a life is pushed."""
    for moment in set(life.channel_moments()):
        yield moment, "order.created" if moment == life.placed else "order.updated"
    for paid in {life.deposit_paid, paid_moment(life), life.refunded} - {None}:
        if paid is not None:
            yield paid, "payment.updated"


# -- parameters --------------------------------------------------------------------------------


def _read_time(query: Mapping[str, str], name: str) -> datetime:
    try:
        moment = datetime.fromisoformat(query[name].replace(" ", "+"))
    except (KeyError, ValueError):
        raise Refusal(400, "bad_request", f"{name} 应为带时区的 RFC 3339 时间") from None
    if moment.tzinfo is None:
        raise Refusal(400, "bad_request", f"{name} 应为带时区的 RFC 3339 时间")
    return moment.astimezone(UTC)


def _read_limit(text: str) -> int:
    if not text:
        return DEFAULT_LIMIT
    if not text.isdigit() or not 1 <= int(text) <= MAX_LIMIT:
        raise Refusal(400, "bad_request", f"limit 应为 1 到 {MAX_LIMIT}")
    return int(text)


def _just_before(end: datetime) -> datetime:
    """The list's end is not part of it; the index counts its end in."""
    return end - timedelta(microseconds=1)


def _write_cursor(page: int, before: _Key | None, after: _Key) -> str:
    """Page number, and the last rows of the page before the last and of the last page."""
    keys = [[key[0].timestamp(), key[1]] if key else None for key in (before, after)]
    return base64.urlsafe_b64encode(json.dumps([page, *keys]).encode()).decode()


def _read_cursor(text: str) -> tuple[int, _Key | None, _Key | None]:
    if not text:
        return 1, None, None
    try:
        page, before, after = json.loads(base64.urlsafe_b64decode(text))
        return int(page), _read_key(before), _read_key(after)
    except (ValueError, TypeError):
        raise Refusal(400, "bad_request", "cursor 无效，请从头取") from None


def _read_key(key: Any) -> _Key | None:
    return None if key is None else (datetime.fromtimestamp(key[0], UTC), str(key[1]))


def _page_of(cursor: str) -> int | None:
    try:
        return _read_cursor(cursor)[0]
    except Refusal:
        return None
