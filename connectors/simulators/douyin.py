"""The Douyin shop platform: signed JSON calls, the order list, details, tokens, pushes.

Written from channels.md 5. `GET /authorize` is the service market's page a shop agrees on. Only the new error codes are told (`x-open-no-old-err-code: 1`). Changes
appear in the list `life.lag` late; between two pages orders may be modified.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from connectors.simulators.consent import answer_consent, is_web_address, refuse_page
from connectors.simulators.douyin_lines import trade_type
from connectors.simulators.douyin_orders import (
    is_listed_as_risky,
    render_order,
    status_of,
)
from connectors.simulators.douyin_pushes import Pushes
from connectors.simulators.douyin_tokens import Grant, TokenRefusal, Tokens
from connectors.simulators.faults import LIST_KINDS, Faults
from connectors.simulators.feeds import ChangeIndex, Row
from connectors.simulators.journal import Told, tell_nobody
from connectors.simulators.keys import PlatformKeys, ShopToken
from connectors.simulators.life import Life
from connectors.simulators.outbox import Outbox
from connectors.simulators.reading import parse_beijing
from connectors.simulators.wire import Answer, Bucket, Call, Clock, Store, json_answer

DEMO_KEYS = PlatformKeys(
    "7000000000000000001",
    "dd-demo-secret",
    (ShopToken("河道抖音店", "77977", "act-demo-1", "rft-demo-1"),),
)
TIMESTAMP_TOLERANCE = timedelta(minutes=10)  # not stated by the platform
LISTED_FOR = timedelta(days=90)
MAX_SIZE = 100
MAX_DEPTH = 50_000  # stated for after-sale lists only
MUTATED_PER_PAGE = 3
_LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)

Params = Mapping[str, Any]


class Refusal(Exception):
    """An answer other than code 10000."""

    def __init__(self, code: int, msg: str, sub_code: str, sub_msg: str) -> None:
        super().__init__(msg)
        self.content = {"code": code, "msg": msg, "sub_code": sub_code, "sub_msg": sub_msg}


class Douyin:
    """The app `douyin`. `push_url` may be set at any time; without one pushes are lost.

    `callback_url` is what the application registered for the way back from the authorisation page.
    """

    name = "douyin"

    def __init__(
        self,
        store: Store,
        clock: Clock,
        faults: Faults,
        outbox: Outbox,
        keys: PlatformKeys = DEMO_KEYS,
        *,
        push_url: str = "",
        push_since: datetime | None = None,
        push_sign_method: str = "hmac-sha256",
        bucket: Bucket | None = None,
    ) -> None:
        self.store, self.clock, self.faults, self.keys = store, clock, faults, keys
        self.push_url = push_url
        self.callback_url = ""
        self.index = ChangeIndex(store, self.name)
        self.tokens = Tokens(keys.shops, clock.now())
        self.remarks: dict[str, tuple[str, int]] = {}
        self.on_done: Told = tell_nobody
        self.shop_ids = {token.shop: int(token.shop_id) for token in keys.shops}
        self.pushes = Pushes(
            store, outbox, self.name, keys.app_key, keys.secret,
            since=push_since, sign_method=push_sign_method,
        )  # fmt: skip
        self._bucket = bucket or Bucket(1000, 2000)
        self._last_page: dict[str, int] = {}
        self._doors: dict[str, Callable[[Params, ShopToken], dict[str, Any]]] = {
            "/order/searchList": self._list,
            "/order/orderDetail": self._detail,
            "/order/addOrderRemark": self._remark,
        }

    # -- the door ----------------------------------------------------------------------------

    def operation(self, call: Call) -> tuple[str, int | None]:
        """The method with dots, and the page that is asked for."""
        page = call.json.get("page") if isinstance(call.json, dict) else None
        return call.path.strip("/").replace("/", "."), page if isinstance(page, int) else None

    def tick(self, now: datetime) -> None:
        """Push what has happened."""
        self.pushes.collect(self.push_url, self.shop_ids, now)

    @property
    def service_id(self) -> str:
        """The number of the application's service on the service market."""
        return self.keys.app_key[-5:]

    def answer(self, call: Call) -> Answer:
        """One call; always HTTP 200, but for the authorisation page."""
        if call.path == "/authorize":
            return self._authorise(call)
        head = {"log_id": secrets.token_hex(12)}
        try:
            data = self._judge(call)
        except Refusal as refusal:
            return json_answer({**refusal.content, **head})
        done = {"code": 10000, "msg": "success", "sub_code": "", "sub_msg": ""}
        return json_answer({**done, "data": data, **head})

    def _judge(self, call: Call) -> dict[str, Any]:
        query = dict(call.query)
        is_token = call.path in {"/token/create", "/token/refresh"}
        if not is_token and call.path not in self._doors:
            raise Refusal(70000, "API已下线", "isv.api-offline", "接口不存在或已下线")
        if call.method != "POST":
            raise _invalid("isv.parameter-invalid", "请使用POST")
        method, page = self.operation(call)
        params = self._check_call(query, method, call)
        if self.faults.take(self.name, method, page, {"service_error"}) is not None:
            raise Refusal(20000, "服务不可用", "isp.service-error", "服务异常，请稍后重试")
        is_throttled = self.faults.take(self.name, method, page, {"throttle"}) is not None
        if is_throttled or self._bucket.take(call.at) > 0:
            raise Refusal(60000, "平台限流", "isv.flow-limit", "请求过于频繁，请稍后重试")
        if is_token:
            return self._give_token(call.path, params, call.at)
        return self._doors[call.path](params, self._find_shop(query, call.at))

    def _check_call(self, query: Mapping[str, str], method: str, call: Call) -> Params:
        if not query.get("app_key"):
            raise _missing("isv.app-id-missing", "app_key不存在")
        if query["app_key"] != self.keys.app_key:
            raise _invalid("isv.app-id-invalid", "app_key格式不正确")
        if query.get("method") != method or query.get("v") != "2":
            raise _invalid("isv.parameter-invalid", "method或v不正确")
        _check_time(query.get("timestamp", ""), call.at)
        params = call.json
        if not isinstance(params, dict):
            raise _invalid("isv.parameter-format-invalid", "业务参数json解析失败")
        if not query.get("sign"):
            raise _missing("isv.signature-missing", "获取签名失败")
        # The platform signs its own canonical form: other bytes can never match.
        right = sign(query, call.body.decode(), self.keys.secret)
        is_right = hmac.compare_digest(right.encode(), query["sign"].encode())
        if call.body != canonical(params) or not is_right:
            raise _invalid("isv.signature-invalid", "签名校验失败")
        return params

    def _find_shop(self, query: Mapping[str, str], at: datetime) -> ShopToken:
        access = query.get("access_token", "")
        if not access:
            raise Refusal(40002, "缺少参数", "isv.access-token-missing", "access_token不能为空")
        shop, was_known = self.tokens.find(access, at)
        if shop is None and was_known:
            raise _invalid("isv.access-token-expired", "access_token已过期")
        if shop is None:
            raise _invalid("isv.access-token-no-existed", "access_token不存在")
        if shop.shop in self.tokens.closed:
            raise Refusal(30001, "无权限", "dop.authorization-closed", "店铺授权已被关闭")
        return shop

    # -- orders ------------------------------------------------------------------------------

    def _list(self, params: Params, shop: ShopToken) -> dict[str, Any]:
        now = self.clock.now()
        page, size = _integer(params, "page", 0), _integer(params, "size", 10)
        if page < 0 or not 1 <= size <= MAX_SIZE:
            raise _business("page", f"page从0开始，size最大{MAX_SIZE}")
        if (page + 1) * size > MAX_DEPTH:
            raise Refusal(50002, "业务处理失败", "isv.business-failed:depth", "page*size过大")
        rows = self._wanted(self._window(params, shop, now), params, now)
        if params.get("order_asc") is not True:
            rows.reverse()
        fault = self.faults.take(self.name, "order.searchList", page, LIST_KINDS)
        shown = page
        key = shop.shop + json.dumps({**params, "page": 0}, sort_keys=True)
        if fault is not None and fault.kind == "repeated_page":
            shown = self._last_page.get(key, page)
        self._last_page[key] = page
        part = rows[shown * size : (shown + 1) * size]
        if fault is not None and fault.kind == "half_page":
            part = part[: len(part) // 2]
        orders = [
            self._render(life, now - life.lag)
            for _, order_no in part
            if (life := self.store.get(order_no)) is not None
        ]
        if fault is not None and fault.kind == "mutate_between_pages":
            for _, order_no in part[:MUTATED_PER_PAGE]:
                self.store.touch(order_no, now)
        return {"shop_order_list": orders, "total": len(rows), "page": page, "size": size}

    def _window(self, params: Params, shop: ShopToken, now: datetime) -> list[Row]:
        """Rows of the time ranges, oldest first; nothing created more than 90 days ago."""
        oldest = now - LISTED_FOR
        created = _range(params, "create_time", oldest, now)
        updated = _range(params, "update_time", oldest, now)
        by = params.get("order_by", "create_time")
        if by not in {"create_time", "update_time"}:
            raise _business("order_by", "create_time或update_time")
        if by == "create_time":
            rows = self.index.created(shop.shop, now, max(created[0], oldest), created[1])
            if not _is_given(params, "update_time"):
                return rows
            inside = {number for _, number in self.index.modified(shop.shop, now, *updated)}
            return [row for row in rows if row[1] in inside]
        rows = self.index.modified(shop.shop, now, *updated)
        if _is_given(params, "create_time"):
            born = self.index.created(shop.shop, now, max(created[0], oldest), created[1])
            inside = {number for _, number in born}
            return [row for row in rows if row[1] in inside]
        too_old = self.index.created(shop.shop, now, _LONG_AGO, oldest - timedelta(seconds=1))
        outside = {number for _, number in too_old}
        return [row for row in rows if row[1] not in outside] if outside else rows

    def _wanted(self, rows: list[Row], params: Params, now: datetime) -> list[Row]:
        """Rows that pass the filters; `combine_status` takes one element."""
        statuses = params.get("combine_status") or []
        if not isinstance(statuses, list) or len(statuses) > 1:
            raise _business("combine_status", "只支持一个元素")
        status = str(statuses[0].get("order_status", "")) if statuses else ""
        is_risky = params.get("abnormal_order") == 2
        kind = params.get("trade_type")
        if not (status or is_risky or kind is not None):
            return rows

        def passes(life: Life | None) -> bool:
            if life is None:
                return False
            seen = now - life.lag
            if status and str(status_of(life, seen)[0]) != status:
                return False
            if kind is not None and trade_type(life) != kind:
                return False
            return not is_risky or is_listed_as_risky(life, seen)

        return [row for row in rows if passes(self.store.get(row[1]))]

    def _detail(self, params: Params, shop: ShopToken) -> dict[str, Any]:
        seen = self.clock.now() - self.faults.take_age(self.name, "order.orderDetail")
        life = self._own(params, shop, "shop_order_id", seen)
        return {"shop_order_detail": self._render(life, seen)}

    def _remark(self, params: Params, shop: ShopToken) -> dict[str, Any]:
        now = self.clock.now()
        life = self._own(params, shop, "order_id", now)
        words = str(params.get("remark", ""))
        old = self.remarks.get(life.order_no, ("", 0))
        star = int(params.get("star", old[1]))
        if len(words) > 60 or not 0 <= star <= 5:
            raise _business("remark", "备注最多60字，星标0到5")
        if (words, star) != old:
            deed = {"order_no": life.order_no, "words": words, "star": star}
            self.redo("remark", deed, now)
            self.on_done("remark", deed, now)
        return {}

    def redo(self, what: str, content: Mapping[str, Any], at: datetime) -> None:
        """Put a remark at an order, also again after a restart."""
        if self.store.get(content["order_no"]) is not None:
            self.remarks[content["order_no"]] = (content["words"], content["star"])
            self.store.touch(content["order_no"], at)

    def _own(self, params: Params, shop: ShopToken, name: str, now: datetime) -> Life:
        number = params.get(name)
        if not number:
            raise Refusal(40004, "非法的参数", "isv.parameter-missing", f"缺少{name}")
        life = self.store.get(str(number))
        is_ours = life is not None and (life.channel, life.shop) == (self.name, shop.shop)
        if life is None or not is_ours or life.placed > now:
            raise Refusal(50002, "业务处理失败", "isv.business-failed:2", "订单不存在")
        return life

    def _render(self, life: Life, at: datetime) -> dict[str, Any]:
        remark = self.remarks.get(life.order_no, ("", 0))
        return render_order(life, at, self.shop_ids[life.shop], remark)

    # -- tokens ------------------------------------------------------------------------------

    def _authorise(self, call: Call) -> Answer:
        """The page on which a shop agrees. The way back is registered, never named by the caller.

        What comes back from a shop that refuses is not confirmed: here the state alone.
        """
        if dict(call.query).get("service_id") != self.service_id:
            return refuse_page("服务不存在")
        if not is_web_address(self.callback_url):
            return refuse_page("应用没有登记回调地址")
        return answer_consent(
            call,
            platform="抖店服务市场 · 授权",
            application=self.service_id,
            shops=list(self.tokens.shops),
            give_code=self.tokens.authorise,
            callback=self.callback_url,
            refusal={},
        )

    def _give_token(self, path: str, params: Params, at: datetime) -> dict[str, Any]:
        kind = params.get("grant_type")
        try:
            if path == "/token/refresh":
                if kind != "refresh_token":
                    raise TokenRefusal("grant-type-invalid")
                grant = self.tokens.refresh(str(params.get("refresh_token", "")), at)
            elif kind == "authorization_code":
                grant = self.tokens.create(str(params.get("code", "")), at)
            elif kind == "authorization_self":
                grant = self.tokens.create_self(str(params.get("shop_id", "")), at)
            else:
                raise TokenRefusal("grant-type-invalid")
        except TokenRefusal as refusal:
            sub_code = f"dop.token-generate-failed:{refusal}"
            raise Refusal(50001, "平台处理失败", sub_code, "生成token失败") from None
        if grant.shop.shop in self.tokens.closed:
            sub_code = "dop.token-generate-failed:no-authorization"
            raise Refusal(50001, "平台处理失败", sub_code, "店铺授权已失效")
        return _tell(grant, at)


def _tell(grant: Grant, at: datetime) -> dict[str, Any]:
    return {
        "access_token": grant.access,
        "expires_in": max(0, int((grant.ends - at).total_seconds())),
        "refresh_token": grant.refresh,
        "scope": "SCOPE",
        "shop_id": int(grant.shop.shop_id),
        "shop_name": grant.shop.shop,
        "authority_id": "",
        "auth_subject_type": "MATERIAL",
    }


def canonical(value: Any) -> bytes:
    """The one way to write parameters: keys sorted at every level, compact, nothing escaped,
    whole numbers without a trailing .0."""
    text = json.dumps(_whole(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode()


def _whole(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _whole(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def sign(query: Mapping[str, str], param_json: str, secret: str) -> str:
    """The signature of a call; without `sign_method` it is MD5 (channels.md 5.1)."""
    names = ("app_key", "method", "param_json", "timestamp", "v")
    given = {**query, "param_json": param_json}
    text = (secret + "".join(name + given.get(name, "") for name in names) + secret).encode()
    if query.get("sign_method") == "hmac-sha256":
        return hmac.new(secret.encode(), text, "sha256").hexdigest()
    return hashlib.md5(text, usedforsecurity=False).hexdigest()


def _check_time(told: str, at: datetime) -> None:
    """Unix seconds, or a date and time in Beijing."""
    moment = datetime.fromtimestamp(int(told), UTC) if told.isdecimal() else parse_beijing(told)
    if moment is None:
        raise _invalid("isv.timestamp-format-error", "时间戳格式错误")
    if abs(at - moment) > TIMESTAMP_TOLERANCE:
        raise _invalid("isv.timestamp-invalid", "时间戳不合法")


def _missing(sub_code: str, words: str) -> Refusal:
    return Refusal(40001, "缺少参数", sub_code, words)


def _invalid(sub_code: str, words: str) -> Refusal:
    return Refusal(40003, "非法的参数", sub_code, words)


def _business(name: str, words: str) -> Refusal:
    return Refusal(40004, "非法的参数", f"isv.parameter-invalid:{name}", words)


def _integer(params: Params, name: str, default: int) -> int:
    value = params.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool):
        raise _business(name, "整数")
    return value


def _is_given(params: Params, name: str) -> bool:
    return f"{name}_start" in params or f"{name}_end" in params


def _range(params: Params, name: str, oldest: datetime, now: datetime) -> tuple[datetime, datetime]:
    """A range in seconds, both ends in it; what is not given is open."""
    start = _integer(params, f"{name}_start", int(oldest.timestamp()))
    end = _integer(params, f"{name}_end", int(now.timestamp()) + 1)
    if start > end:
        raise _business(name, "开始时间晚于结束时间")
    return datetime.fromtimestamp(start, UTC), datetime.fromtimestamp(end, UTC)
