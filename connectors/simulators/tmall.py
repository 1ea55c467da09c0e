"""Taobao / Tmall's gateway (TOP): signed form calls, the order lists, details, TMC, tokens, memos.

Written from channels.md 3. `POST /router/rest` is the gateway, `POST /oauth/token` the token door,
`GET /oauth/authorize` the page a seller agrees on.
Lists give the newest modification first, so paging forwards loses orders; changes appear in them
`life.lag` late; between two pages orders may be modified (fault `mutate_between_pages`).
"""

from __future__ import annotations

import hmac
import json
import secrets
import threading
from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timedelta
from typing import Any

from connectors.simulators.faults import LIST_KINDS, Faults
from connectors.simulators.feeds import ChangeIndex, Row
from connectors.simulators.journal import Told, tell_nobody
from connectors.simulators.keys import PlatformKeys, ShopToken
from connectors.simulators.life import Life
from connectors.simulators.reading import BEIJING, beijing_text, parse_beijing
from connectors.simulators.tmall_messages import Messages
from connectors.simulators.tmall_sessions import Sessions
from connectors.simulators.tmall_trades import NO_MEMO, OAID_NEEDS, Memo, Trade
from connectors.simulators.tmall_wire import (
    Params,
    Refusal,
    invalid,
    limited,
    read_fields,
    read_integer,
    read_moment,
    required,
    sign,
    to_xml,
)
from connectors.simulators.tmall_words import number, status_of, type_of
from connectors.simulators.wire import Answer, Bucket, Call, Clock, Store, json_answer

DEMO_KEYS = PlatformKeys(
    "10000001",
    "demo-top-secret",
    (ShopToken("河道旗舰店", "2200000001", "sess-demo-1", "refresh-demo-1"),),
)
TIMESTAMP_TOLERANCE = timedelta(minutes=10)
MAX_SPAN = timedelta(days=1)
REACH = timedelta(days=92)  # three months
MAX_PAGE_SIZE = 100
MAX_MEMO_BYTES = 1000
MUTATED_PER_PAGE = 3
# Listed without `type`; any other kind has to be named (channels.md 3.2).
_DEFAULT_TYPES = frozenset({"guarantee_trade", "auto_delivery", "ec", "cod", "step"})


class Tmall:
    """The app `tmall`. `session_lives` is how long a session is good after it was granted."""

    name = "tmall"

    def __init__(
        self,
        store: Store,
        clock: Clock,
        faults: Faults,
        keys: PlatformKeys = DEMO_KEYS,
        *,
        session_lives: timedelta = timedelta(days=30),
        rate_per_second: float = 1000.0,
        burst: float = 2000.0,
        daily_quota: int = 10_000_000,
        repeat_messages_after: timedelta = timedelta(minutes=1),
        messages_since: datetime | None = None,
    ) -> None:
        self.store, self.clock, self.faults, self.keys = store, clock, faults, keys
        self.daily_quota = daily_quota
        self.index = ChangeIndex(store, self.name)
        now = clock.now()
        self.messages = Messages(
            store, faults, self.name, messages_since or now, repeat_messages_after
        )
        self.memos: dict[str, Memo] = {}
        self.on_done: Told = tell_nobody
        self._bucket = Bucket(rate_per_second, burst)
        self._lock = threading.Lock()
        self._calls_of_day: tuple[str, int] = ("", 0)
        self.sessions = Sessions(keys, now, session_lives)
        self._kinds: dict[str, str] = {}
        self._seen_kinds: set[str] = set()
        self._position = 0
        self._last_page: dict[tuple[str, ...], int] = {}
        self._methods: dict[str, tuple[Callable[[Params, ShopToken | None, Call], Any], bool]] = {
            "taobao.trades.sold.increment.get": (self._list_modified, True),
            "taobao.trades.sold.get": (self._list_created, True),
            "taobao.trade.fullinfo.get": (self._detail, True),
            "taobao.trade.memo.update": (self._write_memo, True),
            "taobao.tmc.user.permit": (self._permit, True),
            "taobao.tmc.messages.consume": (self._consume, False),
            "taobao.tmc.messages.confirm": (self._confirm, False),
            "taobao.top.auth.token.create": (self._create_token, False),
            "taobao.top.auth.token.refresh": (self._refresh_token, False),
            "taobao.time.get": (self._tell_time, False),
        }

    # -- the door ----------------------------------------------------------------------------

    def operation(self, call: Call) -> tuple[str, int | None]:
        """The API method and the page that is asked for."""
        if call.path.startswith("/oauth"):
            return call.path.strip("/").replace("/", "."), None
        params = dict(call.form)
        page = params.get("page_no", "")
        return params.get("method", ""), int(page) if page.isdigit() else None

    def tick(self, now: datetime) -> None:
        """Put what has happened into the message queue."""
        self.messages.collect(now)

    def answer(self, call: Call) -> Answer:
        """One call of the gateway or the token door."""
        if call.path == "/oauth/token":
            return self.sessions.answer_oauth(call)
        if call.path == "/oauth/authorize":
            return self.sessions.answer_authorise(call)
        params = dict((*call.query, *call.form))
        request_id = secrets.token_hex(6)
        try:
            if call.path != "/router/rest":
                raise Refusal(22, "Invalid Method")
            if call.method != "POST":
                raise Refusal(9, "Http Action Not Allowed")
            method, content = self._judge(params, call)
        except Refusal as refusal:
            content = {"error_response": {**refusal.content, "request_id": request_id}}
        else:
            name = method.removeprefix("taobao.").replace(".", "_") + "_response"
            content = {name: {**content, "request_id": request_id}}
        if params.get("format") == "json":
            return json_answer(content, headers={"Content-Type": "text/javascript;charset=UTF-8"})
        xml = '<?xml version="1.0" encoding="utf-8" ?>' + to_xml(content)
        return Answer(200, {"Content-Type": "text/xml;charset=UTF-8"}, xml.encode())

    def _judge(self, params: Params, call: Call) -> tuple[str, dict[str, Any]]:
        """The platform's checks, in its order; the answer's content."""
        method = params.get("method", "")
        if not method:
            raise Refusal(21, "Missing Method")
        if method not in self._methods:
            raise Refusal(22, "Invalid Method", "isv.invalid-method")
        do, needs_session = self._methods[method]
        if params.get("format", "xml") not in {"json", "xml"}:
            raise Refusal(23, "Invalid Format")
        if not params.get("app_key"):
            raise Refusal(28, "Missing App Key")
        if params["app_key"] != self.keys.app_key:
            raise Refusal(29, "Invalid App Key", "isv.appkey-not-exists")
        if not params.get("v"):
            raise Refusal(32, "Missing Version")
        if params["v"] != "2.0":
            raise Refusal(34, "Unsupported Version")
        self._check_time(params, call.at)
        self._check_sign(params)
        self._check_rate(method, self.operation(call)[1], call)
        shop = self.sessions.find(params.get("session", ""), call.at) if needs_session else None
        return method, do(params, shop, call)

    def _check_time(self, params: Params, at: datetime) -> None:
        if not params.get("timestamp"):
            raise Refusal(30, "Missing Timestamp")
        moment = parse_beijing(params["timestamp"])
        if moment is None or abs(at - moment) > TIMESTAMP_TOLERANCE:
            raise Refusal(31, "Invalid Timestamp", "isv.invalid-timestamp")

    def _check_sign(self, params: Params) -> None:
        given = params.get("sign", "")
        if not given:
            raise Refusal(24, "Missing Signature")
        right = sign(params, self.keys.secret, params.get("sign_method", "md5"))
        if right is None or not hmac.compare_digest(right.encode(), given.encode()):
            raise Refusal(25, "Invalid Signature", "isv.invalid-signature")

    def _check_rate(self, method: str, page: int | None, call: Call) -> None:
        if self.faults.take(self.name, method, page, {"service_error"}) is not None:
            raise Refusal(15, "Remote service error", "isp.remote-service-error", "服务暂不可用")
        fault = self.faults.take(self.name, method, page, {"throttle"})
        wait = (fault.seconds or 1.0) if fault is not None else self._bucket.take(call.at)
        if wait > 0:
            raise limited("accesscontrol.limited-by-api-access-count", wait)
        local = call.at.astimezone(BEIJING)
        with self._lock:
            day, count = self._calls_of_day
            count = count + 1 if day == local.date().isoformat() else 1
            self._calls_of_day = (local.date().isoformat(), count)
        if count > self.daily_quota:
            midnight = local.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
            left = (midnight - local).total_seconds()
            raise limited("accesscontrol.limited-by-app-access-count", left)

    # -- lists and details -------------------------------------------------------------------

    def _list_modified(self, params: Params, shop: ShopToken | None, call: Call) -> dict[str, Any]:
        start, end = read_moment(params, "start_modified"), read_moment(params, "end_modified")
        if not timedelta(0) < end - start <= MAX_SPAN:
            raise invalid("start_modified,end_modified", "the span is at most one day")
        return self._list(params, _known(shop), call, start, end, self.index.modified)

    def _list_created(self, params: Params, shop: ShopToken | None, call: Call) -> dict[str, Any]:
        now = self.clock.now()
        start = read_moment(params, "start_created", now - REACH)
        end = read_moment(params, "end_created", now)
        if start >= end:
            raise invalid("start_created,end_created", "start is not before end")
        return self._list(params, _known(shop), call, start, end, self.index.created)

    def _list(
        self,
        params: Params,
        shop: ShopToken,
        call: Call,
        start: datetime,
        end: datetime,
        look: Callable[[str, datetime, datetime, datetime], list[Row]],
    ) -> dict[str, Any]:
        now, fields = self.clock.now(), read_fields(params)
        if start < now - REACH - timedelta(days=1):
            raise invalid("start", "only the last three months are listed")
        page, size = read_integer(params, "page_no", 1), read_integer(params, "page_size", 40)
        if page < 1:
            raise invalid("page_no", "pages begin with 1")
        if not 1 <= size <= MAX_PAGE_SIZE:
            raise invalid("page_size", f"at most {MAX_PAGE_SIZE}")
        rows = self._wanted(look(shop.shop, now, start, end), params, now)
        rows.reverse()
        method = params["method"]
        fault = self.faults.take(self.name, method, page, LIST_KINDS)
        key = (method, shop.shop, start.isoformat(), end.isoformat())
        shown = page
        if fault is not None and fault.kind == "repeated_page":
            shown = self._last_page.get(key, page)
        self._last_page[key] = page
        part = rows[(shown - 1) * size : shown * size]
        if fault is not None and fault.kind == "half_page":
            part = part[: len(part) // 2]
        is_simple = params.get("simplify") == "true"
        trades = [
            self._trade(life, now - life.lag).render(fields, is_list=True, simplify=is_simple)
            for _, order_no in part
            if (life := self.store.get(order_no)) is not None
        ]
        if fault is not None and fault.kind == "mutate_between_pages":
            for _, order_no in part[:MUTATED_PER_PAGE]:
                self.store.touch(order_no, now)
        answer: dict[str, Any] = {}
        if trades:
            answer["trades"] = trades if is_simple else {"trade": trades}
        if params.get("use_has_next") == "true":
            answer["has_next"] = page * size < len(rows)
        else:
            answer["total_results"] = len(rows)
        return answer

    def _wanted(self, rows: list[Row], params: Params, now: datetime) -> list[Row]:
        """Rows of the kinds and the status that are asked for."""
        told = params.get("type", "")
        kinds = {kind.strip() for kind in told.split(",")} if told else _DEFAULT_TYPES
        status = params.get("status", "")
        if "," in status:
            raise invalid("status", "one value per call")
        kept = self._of_kinds(rows, kinds)
        if not status:
            return kept
        return [
            row
            for row in kept
            if (life := self.store.get(row[1])) and status_of(life, now - life.lag) == status
        ]

    def _of_kinds(self, rows: list[Row], kinds: Collection[str]) -> list[Row]:
        """Rows whose type is asked for; a fixed price is a guarantee trade."""
        with self._lock:
            self._position, changed = self.store.changes_since(self._position)
            for life in changed:
                kind = type_of(life)
                self._kinds[life.order_no] = "guarantee_trade" if kind == "fixed" else kind
            seen = set(self._kinds.values()) if changed else self._seen_kinds
            self._seen_kinds = seen
        if seen <= set(kinds):
            return rows
        return [row for row in rows if self._kinds[row[1]] in kinds]

    def _detail(self, params: Params, shop: ShopToken | None, call: Call) -> dict[str, Any]:
        seen = self.clock.now() - self.faults.take_age(self.name, params["method"])
        fields, life = read_fields(params), self._own(params, _known(shop), seen)
        is_simple = params.get("simplify") == "true"
        trade = self._trade(life, seen)
        # false gives the oaid where it can be made, true insists on it (text of the official SDK)
        if params.get("include_oaid") == "true" and not set(fields) >= OAID_NEEDS:
            raise Refusal(15, "Remote service error", "isv.oaid-field-miss", "缺少生成oaid的字段")
        return {"trade": trade.render(fields, is_list=False, simplify=is_simple)}

    def _write_memo(self, params: Params, shop: ShopToken | None, call: Call) -> dict[str, Any]:
        now = self.clock.now()
        life = self._own(params, _known(shop), now)
        old = self.memos.get(life.order_no, NO_MEMO)
        memo = params.get("memo", old[0])
        flag = read_integer(params, "flag", old[1])
        if len(memo.encode()) > MAX_MEMO_BYTES:
            raise invalid("memo", f"at most {MAX_MEMO_BYTES} bytes")
        if not 0 <= flag <= 5:
            raise invalid("flag", "0 to 5")
        if params.get("reset") == "true":
            memo = ""
        if (memo, flag) != old:
            deed = {"order_no": life.order_no, "memo": memo, "flag": flag}
            self.redo("memo", deed, now)
            self.on_done("memo", deed, now)
        return {"trade": {"tid": number(life.order_no), "modified": beijing_text(now)}}

    def redo(self, what: str, content: Mapping[str, Any], at: datetime) -> None:
        """Put a memo at an order, also again after a restart."""
        if self.store.get(content["order_no"]) is not None:
            self.memos[content["order_no"]] = (content["memo"], content["flag"])
            self.store.touch(content["order_no"], at)

    def _own(self, params: Params, shop: ShopToken, now: datetime) -> Life:
        life = self.store.get(required(params, "tid"))
        if life is None or life.channel != self.name or life.shop != shop.shop or life.placed > now:
            raise Refusal(15, "Remote service error", "isv.trade-not-exist", "交易不存在")
        return life

    def _trade(self, life: Life, at: datetime) -> Trade:
        return Trade(life, at, self.memos.get(life.order_no, NO_MEMO))

    # -- messages ----------------------------------------------------------------------------

    def _permit(self, params: Params, shop: ShopToken | None, call: Call) -> dict[str, Any]:
        seller, topics = _known(shop), required(params, "topics").split(",")
        names = {topic.strip() for topic in topics}
        self.messages.permit(seller.shop, seller.shop_id, names, self.clock.now())
        return {"is_success": True}

    def _consume(self, params: Params, shop: ShopToken | None, call: Call) -> dict[str, Any]:
        if params.get("group_name", "default") != "default":
            raise Refusal(15, "Remote service error", "isv.group-not-exist", "分组不存在")
        quantity = read_integer(params, "quantity", 100)
        if not 10 <= quantity <= 200:
            raise invalid("quantity", "10 to 200")
        found = self.messages.consume(quantity, self.clock.now())
        if not found:
            return {}
        return {"messages": found if params.get("simplify") == "true" else {"tmc_message": found}}

    def _confirm(self, params: Params, shop: ShopToken | None, call: Call) -> dict[str, Any]:
        numbers = [one.strip() for one in required(params, "s_message_ids").split(",")]
        if len(numbers) > 200 or not all(one.isdigit() for one in numbers):
            raise invalid("s_message_ids", "at most 200 numbers")
        self.messages.confirm([int(one) for one in numbers])
        return {"is_success": True}

    def _tell_time(self, params: Params, shop: ShopToken | None, call: Call) -> dict[str, Any]:
        return {"time": beijing_text(call.at)}

    # -- tokens ------------------------------------------------------------------------------

    def expire(self, shop: str) -> None:
        """End the sessions of a shop now."""
        self.sessions.expire(shop, self.clock.now())

    def _create_token(self, params: Params, shop: ShopToken | None, call: Call) -> dict[str, Any]:
        tokens = self.sessions.create(required(params, "code"), call.at)
        return {"token_result": json.dumps(tokens, ensure_ascii=False)}

    def _refresh_token(self, params: Params, shop: ShopToken | None, call: Call) -> dict[str, Any]:
        tokens = self.sessions.refresh(required(params, "refresh_token"), call.at)
        return {"token_result": json.dumps(tokens, ensure_ascii=False)}


def _known(shop: ShopToken | None) -> ShopToken:
    if shop is None:
        raise Refusal(26, "Missing Session")
    return shop
