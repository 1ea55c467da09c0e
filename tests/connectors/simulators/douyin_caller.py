"""A shop's program against the simulated Douyin, written from channels.md 5 without product code."""

from __future__ import annotations

import hashlib
import hmac
import json
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from connectors.simulators.douyin import Douyin
from connectors.simulators.keys import PlatformKeys, ShopToken
from connectors.simulators.life import Life
from tests.connectors.simulators.lives import DOUYIN_SHOP, make_life, minutes
from tests.connectors.simulators.wire_world import WireWorld

KEY, SECRET = "7000000000000000001", "dd-demo-secret"
KEYS = PlatformKeys(
    KEY,
    SECRET,
    (
        ShopToken(DOUYIN_SHOP, "77977", "act-1", "rft-1"),
        ShopToken("别家抖音店", "88988", "act-2", "rft-2"),
    ),
)


def canonical(value: Any) -> bytes:
    """param_json as the manual wants it."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def seconds(moment: datetime) -> int:
    """Unix seconds."""
    return int(moment.timestamp())


def signature(method: str, stamp: str, body: bytes, *, how: str = "hmac-sha256") -> str:
    """The signature by the words of channels.md 5.1."""
    p = f"app_key{KEY}method{method}param_json{body.decode()}timestamp{stamp}v2"
    text = (SECRET + p + SECRET).encode()
    if how == "hmac-sha256":
        return hmac.new(SECRET.encode(), text, hashlib.sha256).hexdigest()
    return hashlib.md5(text).hexdigest()  # noqa: S324 - the platform's rule


class Doudian(WireWorld):
    """A shop's program, written for the tests."""

    app: Douyin

    def query(self, method: str, body: bytes, **change: str) -> dict[str, str]:
        stamp = change.get("timestamp", str(seconds(self.clock.now())))
        query = {
            "app_key": KEY, "method": method, "access_token": "act-1", "timestamp": stamp, "v": "2",
            "sign_method": "hmac-sha256", "sign": signature(method, stamp, body),
        }  # fmt: skip
        return {**query, **change}

    def send(self, method: str, body: bytes, **change: str) -> dict[str, Any]:
        query = {k: v for k, v in self.query(method, body, **change).items() if v != ""}
        target = f"/douyin/{method.replace('.', '/')}?{urlencode(query)}"
        reply = self.call("POST", target, body, {"Content-Type": "application/json"})
        assert reply.status == 200
        return json.loads(reply.body)

    def ask(self, method: str, params: dict[str, Any], **change: str) -> dict[str, Any]:
        """A right call; gives its data."""
        answer = self.send(method, canonical(params), **change)
        assert (answer["code"], answer["msg"]) == (10000, "success"), answer
        return answer["data"]

    def refused(self, method: str, params: Any, **change: str) -> tuple[int, str]:
        answer = self.send(method, canonical(params), **change)
        assert answer["code"] != 10000, answer
        assert answer["log_id"]
        return answer["code"], answer["sub_code"]

    def page(self, page: int = 0, size: int = 100, **more: Any) -> dict[str, Any]:
        """One page by update time, oldest change first; all of the last days."""
        wish = {"order_by": "update_time", "order_asc": True, "page": page, "size": size}
        return self.ask("order.searchList", {**wish, **more})

    def detail(self, life: Life) -> dict[str, Any]:
        answer = self.ask("order.orderDetail", {"shop_order_id": life.order_no})
        return answer["shop_order_detail"]


def numbers(answer: dict[str, Any]) -> list[str]:
    """The order numbers of a list answer, in its order."""
    return [order["order_id"] for order in answer["shop_order_list"]]


def at(world: Doudian, moment: float) -> None:
    """Set the world's clock to so many minutes."""
    world.clock.set(minutes(moment))


def make(number: int = 1, when: float = 0.0, **more: Any) -> Life:
    """A Douyin order."""
    return make_life(number, when, "douyin", **more)
