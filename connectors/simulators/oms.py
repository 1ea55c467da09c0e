"""A local order management system: a plain JSON API as mid-size vendors have them.

It serves the generic connector, so what vendors do differently can be switched: who may call
(`auth`: bearer, api_key, basic, hmac) and how lists are paged (`paging`: page, offset, cursor,
next_link). Windows are half open, oldest update first; times are GMT+8 without a zone.

The signature of kind hmac: query parameters appKey, timestamp (Unix seconds), nonce and sign, the
lower-case hex HMAC-SHA256 over method, path, the other parameters sorted as `k=v` joined by `&`
(decoded), and the body, each on a line of its own.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
from bisect import bisect_right
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import unquote, urlencode

from connectors.simulators.core import (
    Answer,
    Bucket,
    Call,
    Clock,
    Fault,
    Faults,
    Store,
    json_answer,
)
from connectors.simulators.faults import LIST_KINDS
from connectors.simulators.holding import AFTER_OMS, AFTER_WMS, Held, hold_life, release_life
from connectors.simulators.journal import Told, tell_nobody
from connectors.simulators.keys import OmsKeys
from connectors.simulators.life import Life, has_come
from connectors.simulators.oms_index import OmsIndex
from connectors.simulators.payments import number_of, write_yuan
from connectors.simulators.reading import beijing_text, paid_moment, parse_beijing
from connectors.simulators.signatures import signed_targets
from connectors.simulators.wms import warehouse_of

AUTH_KINDS = ("bearer", "api_key", "basic", "hmac")
PAGING_KINDS = ("page", "offset", "cursor", "next_link")
TOLERANCE = timedelta(minutes=5)
DEFAULT_SIZE, MAX_SIZE = 50, 100
_PLATFORMS = {"tmall": "TM", "douyin": "DY", "private_mall": "MALL"}
_STATUSES = {"10": "待审核", "20": "已审核", "30": "已下发仓库", "40": "已挂起", "90": "已取消"}
_MUTATED_AT_ONCE = 3


class Refusal(Exception):
    """An error answer: HTTP status and the code in the body."""

    def __init__(self, status: int, code: int, message: str, *, wait: float = 0.0) -> None:
        super().__init__(message)
        headers = {"Retry-After": str(max(1, round(wait)))} if wait else {}
        if status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        self.answer = json_answer({"code": code, "message": message, "data": None}, status, headers)


@dataclass(frozen=True)
class _Hold:
    held: Held
    reason: str


class OmsApp:
    """The API under /api/orders; a hold here stops an order before it is sent to the warehouse."""

    name = "oms"

    def __init__(
        self,
        store: Store,
        clock: Clock,
        faults: Faults,
        keys: OmsKeys,
        *,
        auth: str = "bearer",
        paging: str = "page",
        bucket: Bucket | None = None,
    ) -> None:
        if auth not in AUTH_KINDS or paging not in PAGING_KINDS:
            raise ValueError(f"unknown kind: {auth}, {paging}")
        self._store, self._clock, self._faults, self.keys = store, clock, faults, keys
        self.auth, self.paging = auth, paging
        self._bucket = bucket or Bucket(20, 40)
        self._index = OmsIndex(store)
        self._holds: dict[str, _Hold] = {}
        self._lock = threading.RLock()
        self.on_done: Told = tell_nobody

    def operation(self, call: Call) -> tuple[str, int | None]:
        """`orders` with its page, `orders.one`, `orders.hold` or `orders.release`."""
        parts = call.path.strip("/").split("/")
        if len(parts) <= 2:
            return "orders", _page_number(self.paging, dict(call.query))
        return ("orders.one" if len(parts) == 3 else f"orders.{parts[3]}"), None

    def answer(self, call: Call) -> Answer:
        """Answer one call."""
        try:
            self._check_caller(call)
            return json_answer({"code": 0, "message": "ok", "data": self._find(call)})
        except Refusal as refusal:
            return refusal.answer

    def _find(self, call: Call) -> dict[str, Any]:
        operation, page = self.operation(call)
        parts = call.path.strip("/").split("/")
        refusal = self._faults.take_refusal(self.name, operation, page)
        if refusal == "service_error":
            raise Refusal(500, 50000, "系统错误，请稍后重试")
        wait = self._bucket.take(self._clock.now())
        if wait or refusal:
            raise Refusal(429, 42900, "请求过于频繁", wait=wait or 1)
        if parts[:2] != ["api", "orders"] or len(parts) > 4:
            raise Refusal(404, 40400, "没有这个地址")
        if len(parts) == 4:
            if call.method != "POST" or parts[3] not in ("hold", "release"):
                raise Refusal(404, 40400, "没有这个地址")
            return self._change(unquote(parts[2]), parts[3], call)
        if call.method != "GET":
            raise Refusal(405, 40500, "请用GET")
        if len(parts) == 3:
            return self._row(self._get(unquote(parts[2])))
        return self._list(call, self._faults.take(self.name, operation, page, LIST_KINDS))

    # -- who calls -----------------------------------------------------------------------------

    def _check_caller(self, call: Call) -> None:
        given = call.headers.get("authorization", "")
        keys = self.keys
        basic = base64.b64encode(f"{keys.user}:{keys.password}".encode()).decode()
        is_known = {
            "bearer": lambda: _is_same(given, f"Bearer {keys.token}"),
            "api_key": lambda: _is_same(call.headers.get("x-api-key", ""), keys.api_key),
            "basic": lambda: _is_same(given, f"Basic {basic}"),
            "hmac": lambda: self._is_signed(call),
        }[self.auth]()
        if not is_known:
            raise Refusal(401, 40100, "认证失败")

    def _is_signed(self, call: Call) -> bool:
        query = dict(call.query)
        stamp = query.get("timestamp", "")
        if query.get("appKey") != self.keys.app_key or not query.get("nonce"):
            return False
        if not stamp.isdigit() or (
            abs(int(stamp) - call.at.timestamp()) > TOLERANCE.total_seconds()
        ):
            return False
        pairs = "&".join(f"{name}={query[name]}" for name in sorted(query) if name != "sign")
        for target in signed_targets(call):
            path = target.partition("?")[0]
            text = f"{call.method}\n{path}\n{pairs}\n".encode() + call.body
            sign = hmac.new(self.keys.secret.encode(), text, hashlib.sha256).hexdigest()
            if _is_same(query.get("sign", ""), sign):
                return True
        return False

    # -- lists ---------------------------------------------------------------------------------

    def _list(self, call: Call, fault: Fault | None) -> dict[str, Any]:
        query, kind = dict(call.query), fault.kind if fault is not None else ""
        start, end = _read_time(query, "updated_from"), _read_time(query, "updated_to")
        if start >= end:
            raise Refusal(400, 40000, "updated_to应晚于updated_from")
        size, first, after = _read_place(self.paging, query)
        now = self._clock.now()
        numbers = self._index.between(now, start, end - timedelta(microseconds=1))
        if after is not None:
            first = bisect_right(numbers, after)
        page = self.operation(call)[1] or 1
        if kind == "repeated_page" and page > 1:
            first, page = max(0, first - size), page - 1
        given = numbers[first : first + size]
        shown = given[: max(1, size // 2)] if kind == "half_page" else given
        lives = (self._store.get(number) for _, number in shown)
        data: dict[str, Any] = {"rows": [self._row(life) for life in lives if life is not None]}
        # Numbered pages are cut and the total stays; a cursor goes on behind the last row given.
        is_last = first + len(shown) >= len(numbers)
        if self.paging in ("page", "offset"):
            data["total"] = len(numbers)
        elif self.paging == "cursor":
            data["hasMore"] = not is_last
            data["nextCursor"] = "" if is_last else _write_cursor(page + 1, shown[-1])
        elif not is_last:
            data["next"] = self._link(call, _write_cursor(page + 1, shown[-1]))
        if kind == "mutate_between_pages":
            for _, number in shown[:_MUTATED_AT_ONCE]:
                self._index.touch(number, now)
        return data

    def _link(self, call: Call, cursor: str) -> str:
        """The address of the next page. Its signature is the caller's to write anew."""
        left_out = ("cursor", "sign", "timestamp", "nonce", "appKey")
        query = [(name, value) for name, value in call.query if name not in left_out]
        path = (call.raw_target or call.path).partition("?")[0]
        host = call.headers.get("host", "localhost")
        return f"http://{host}{path}?{urlencode([*query, ('cursor', cursor)])}"

    def _get(self, order_no: str) -> Life:
        life, now = self._store.get(order_no), self._clock.now()
        if life is None or not has_come(life.oms, now):
            raise Refusal(404, 40400, "没有这张订单")
        return life

    def _row(self, life: Life) -> dict[str, Any]:
        now, hold = self._clock.now(), self._holds.get(life.order_no)
        status = _status(life, now, is_held=hold is not None)
        return {
            "orderNo": life.order_no,
            "omsNo": "OMS" + number_of("oms" + life.order_no, 12),
            "platform": _PLATFORMS.get(life.channel, "OTHER"),
            "shopName": life.shop,
            "recvTime": beijing_text(life.oms, now),
            "auditTime": beijing_text(life.reviewed, now) or None,
            "pushTime": beijing_text(life.wms, now) or None,
            "updateTime": beijing_text(self._index.updated_at(life, now)),
            "status": {"code": status, "name": _STATUSES[status]},
            "detail": {
                "warehouse": {"code": warehouse_of(life)},
                "payAmount": write_yuan(life.paid_fen_at(now)),
                "payTime": beijing_text(paid_moment(life), now) or None,
                "lines": [
                    {
                        "skuCode": line.sku,
                        "title": line.title,
                        "qty": line.quantity,
                        "price": write_yuan(line.price_fen),
                    }
                    for line in life.lines
                ],
                "hold": {
                    "held": hold is not None,
                    "reason": hold.reason if hold is not None else "",
                    "since": beijing_text(hold.held.since) if hold is not None else None,
                },
            },
        }

    # -- hold and release ----------------------------------------------------------------------

    def _change(self, order_no: str, action: str, call: Call) -> dict[str, Any]:
        """Hold or release; both may be repeated."""
        content = call.json
        reason = str(content.get("reason", "")) if isinstance(content, dict) else ""
        deed, now = {"order_no": order_no, "reason": reason}, self._clock.now()
        with self._lock:
            life = self._get(order_no)
            if self._do(life, action, reason, now):
                self.on_done(action, deed, now)
            return self._row(life)

    def redo(self, what: str, content: Mapping[str, Any], at: datetime) -> None:
        """Hold or release again what was before a restart, where the order is still there."""
        life = self._store.get(content["order_no"])
        if life is not None:
            with suppress(Refusal):
                self._do(life, what, content["reason"], at)

    def _do(self, life: Life, action: str, reason: str, now: datetime) -> bool:
        """Hold or release an order; False when it was so already. Raises Refusal."""
        hold = self._holds.get(life.order_no)
        if (action == "hold") == (hold is not None):
            return False
        if hold is not None:
            release_life(life, hold.held, now)
            del self._holds[life.order_no]
        else:
            if has_come(life.wms, now):
                raise Refusal(409, 40901, "订单已下发仓库，请在仓库挂起")
            held = hold_life(life, now, (*AFTER_OMS, *AFTER_WMS))
            self._holds[life.order_no] = _Hold(held, reason)
        self._note(life, now)
        return True

    def _note(self, life: Life, now: datetime) -> None:
        self._index.touch(life.order_no, now)
        self._store.replace(life)


def _status(life: Life, now: datetime, *, is_held: bool) -> str:
    if has_come(life.closed, now) or has_come(life.refunded, now):
        return "90"
    if is_held:
        return "40"
    if has_come(life.wms, now):
        return "30"
    return "20" if has_come(life.reviewed, now) else "10"


def _is_same(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode(), wanted.encode())


# -- parameters --------------------------------------------------------------------------------


def _read_time(query: Mapping[str, str], name: str) -> datetime:
    moment = parse_beijing(query.get(name, ""))
    if moment is None:
        raise Refusal(400, 40000, f"{name}格式应为yyyy-MM-dd HH:mm:ss")
    return moment


def _read_number(query: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
    written = query.get(name, str(default))
    if not written.isdigit() or not low <= int(written) <= high:
        raise Refusal(400, 40000, f"{name}应为{low}到{high}")
    return int(written)


def _read_place(
    paging: str, query: Mapping[str, str]
) -> tuple[int, int, tuple[datetime, str] | None]:
    """How many rows from where: size, index of the first, or the row after which to go on."""
    if paging == "page":
        size = _read_number(query, "size", DEFAULT_SIZE, 1, MAX_SIZE)
        return size, (_read_number(query, "page", 1, 1, 1_000_000) - 1) * size, None
    size = _read_number(query, "limit", DEFAULT_SIZE, 1, MAX_SIZE)
    if paging == "offset":
        return size, _read_number(query, "offset", 0, 0, 100_000_000), None
    return size, 0, _read_cursor(query.get("cursor", ""))[1]


def _page_number(paging: str, query: Mapping[str, str]) -> int | None:
    """The page a call asks for, from 1, where its parameters tell."""
    if paging == "page":
        written = query.get("page", "1")
        return int(written) if written.isdigit() else None
    if paging == "offset":
        offset, limit = query.get("offset", "0"), query.get("limit", str(DEFAULT_SIZE))
        is_legal = offset.isdigit() and limit.isdigit() and int(limit) > 0
        return int(offset) // int(limit) + 1 if is_legal else None
    try:
        return _read_cursor(query.get("cursor", ""))[0]
    except Refusal:
        return None


def _write_cursor(page: int, row: tuple[datetime, str]) -> str:
    """The page it leads to and the row after which that begins."""
    content = [page, row[0].isoformat(), row[1]]
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode()


def _read_cursor(written: str) -> tuple[int, tuple[datetime, str] | None]:
    if not written:
        return 1, None
    try:
        page, moment, number = json.loads(base64.urlsafe_b64decode(written))
        return int(page), (datetime.fromisoformat(moment), str(number))
    except (ValueError, TypeError):
        raise Refusal(400, 40000, "cursor无效") from None
