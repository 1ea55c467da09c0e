"""A seller's program against the simulated TOP, written from channels.md 3 without product code."""

from __future__ import annotations

import hashlib
import hmac
import json
from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import urlencode

from connectors.simulators.keys import PlatformKeys, ShopToken
from connectors.simulators.life import Life
from connectors.simulators.tmall import Tmall
from tests.connectors.simulators.lives import TMALL_SHOP, minutes
from tests.connectors.simulators.wire_world import WireWorld

GMT8 = timezone(timedelta(hours=8))
SECRET = "demo-top-secret"
KEYS = PlatformKeys(
    "10000001",
    SECRET,
    (
        ShopToken(TMALL_SHOP, "2200000001", "sess-demo-1", "refresh-1"),
        ShopToken("别家旗舰店", "2200000002", "sess-demo-2", "refresh-2"),
    ),
)
LIST = "taobao.trades.sold.increment.get"
DETAIL = "taobao.trade.fullinfo.get"
FORM = {"Content-Type": "application/x-www-form-urlencoded;charset=utf-8"}


def text(moment: datetime) -> str:
    """A moment as TOP writes it."""
    return moment.astimezone(GMT8).strftime("%Y-%m-%d %H:%M:%S")


def signed(params: dict[str, str], secret: str = SECRET) -> dict[str, str]:
    """The parameters with their signature, by the words of channels.md 3.1."""
    joined = "".join(k + params[k] for k in sorted(params) if params[k] != "" and k != "sign")
    how = params.get("sign_method", "md5")
    if how == "md5":
        given = hashlib.md5(f"{secret}{joined}{secret}".encode()).hexdigest()  # noqa: S324
    else:
        kind = hashlib.md5 if how == "hmac" else hashlib.sha256
        given = hmac.new(secret.encode(), joined.encode(), kind).hexdigest()
    return {**params, "sign": given.upper()}


class Top(WireWorld):
    """A seller's program, written for the tests."""

    app: Tmall

    def params(self, method: str, session: str = "sess-demo-1", **more: Any) -> dict[str, str]:
        common = {
            "method": method, "app_key": "10000001", "session": session, "format": "json",
            "v": "2.0", "sign_method": "md5", "timestamp": text(self.clock.now()),
        }  # fmt: skip
        return {**common, **{key: str(value) for key, value in more.items()}}

    def send(self, params: dict[str, str]) -> dict[str, Any]:
        reply = self.call("POST", "/tmall/router/rest", urlencode(params).encode(), FORM)
        assert reply.status == 200
        return json.loads(reply.body)

    def ask(self, method: str, **more: Any) -> dict[str, Any]:
        """A right call; gives what is inside the answer."""
        answer = self.send(signed(self.params(method, **more)))
        name = method.removeprefix("taobao.").replace(".", "_") + "_response"
        assert list(answer) == [name], answer
        return answer[name]

    def refused(self, params: dict[str, str]) -> dict[str, Any]:
        answer = self.send(params)
        assert list(answer) == ["error_response"], answer
        return answer["error_response"]

    def page(self, start: float, end: float, page: int = 1, **more: Any) -> dict[str, Any]:
        """One page of the increment list; start and end in minutes."""
        wish = {
            "fields": "tid,tid_str,status,modified", "start_modified": text(minutes(start)),
            "end_modified": text(minutes(end)), "page_no": page, "page_size": 40,
        }  # fmt: skip
        return self.ask(LIST, **{**wish, **more})

    def detail(self, life: Life, fields: str, **more: Any) -> dict[str, Any]:
        answer = self.ask(DETAIL, tid=life.order_no, fields=fields, **more)
        return answer["trade"]


def numbers(answer: dict[str, Any]) -> list[str]:
    """The order numbers of a list answer, in its order."""
    return [trade["tid_str"] for trade in answer.get("trades", {}).get("trade", [])]


def at(world: Top, moment: float) -> None:
    """Set the world's clock to so many minutes."""
    world.clock.set(minutes(moment))
