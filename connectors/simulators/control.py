"""The host's control page and JSON API: clock, faults, callbacks, costs.

`GET /_control/state`; `POST /_control/faults` {app, operation, kind, page?, times?, seconds?};
`POST /_control/faults/clear` {app?, operation?}; `POST /_control/clock` {at} or {advance_seconds}.
The same as a form, for the page. Only for the machine it runs on: a foreign Origin is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime, timedelta
from html import escape
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from connectors.simulators.faults import KINDS
from connectors.simulators.reading import beijing_text
from connectors.simulators.wire import Answer, Call, json_answer, text_answer

if TYPE_CHECKING:
    from connectors.simulators.host import Host

_LEDGER_SHOWN = 50
# Nothing would be seen of these without a length: who names none gets one that shows.
_SECONDS = {"wrong_clock": 1200.0, "slow_drip": 10.0, "delay_callback": 60.0, "stale_detail": 60.0}
# What each fault looks like from outside, for the page.
_WORDS = {
    "http_500": "应答 HTTP 500，调用没有生效",
    "http_503": "应答 HTTP 503，调用没有生效",
    "refuse_connection": "不应答就断开，调用没有生效",
    "timeout_before": "一直不应答，调用没有生效",
    "timeout_after_accept": "调用已生效，但一直不应答",
    "garbage": "应答的不是 JSON 或 XML",
    "slow_drip": "应答一点一点地来",
    "wrong_clock": "平台的时钟偏了（秒）",
    "half_page": "列表页被截短，总数不变",
    "repeated_page": "再给一次刚才那一页",
    "stale_detail": "单个订单的详情还是若干秒以前的样子",
    "mutate_between_pages": "翻页之间订单又变了",
    "throttle": "平台限流",
    "service_error": "平台内部错误，请稍后再试",
    "drop_callback": "推送丢失",
    "delay_callback": "推送迟到（秒）",
    "duplicate_callback": "推送发两遍",
}


class ControlApp:
    """Answers below /_control."""

    name = "_control"

    def __init__(self, host: Host) -> None:
        self._host = host

    def answer(self, call: Call) -> Answer:
        """Route one call."""
        if call.method == "GET":
            if call.path == "/state":
                return json_answer(self.state())
            return text_answer(self._page(), content_type="text/html; charset=utf-8")
        origin = call.headers.get("origin")
        if origin and urlsplit(origin).netloc != call.headers.get("host"):
            return json_answer({"error": "foreign origin"}, 403)
        is_form = "form" in call.headers.get("content-type", "")
        wish = dict(call.form) if is_form else call.json
        try:
            if not isinstance(wish, dict):
                raise TypeError("a JSON object is expected")
            self._do(call.path, {key: value for key, value in wish.items() if value != ""})
        except (KeyError, TypeError, ValueError) as error:
            words = f"{type(error).__name__}: {error}"
            if is_form:
                page = f'<p>没有执行：{escape(words)}。<a href="/_control/">返回控制台</a></p>'
                return text_answer(page, 400, "text/html; charset=utf-8")
            return json_answer({"error": words}, 400)
        if is_form:
            return Answer(303, {"Location": "/_control/"})
        return json_answer(self.state())

    def state(self) -> dict[str, Any]:
        """Everything the page shows, as JSON."""
        host = self._host
        return {
            "now": host.clock.now().isoformat(),
            "clock": "virtual" if host.clock.is_virtual else "real",
            "apps": {prefix: app.name for prefix, app in host.apps.items()},
            "faults": host.faults.as_list(),
            "kinds": sorted(KINDS),
            "callbacks": [
                {**asdict(attempt), "at": attempt.at.isoformat()}
                for attempt in host.outbox.ledger[-_LEDGER_SHOWN:]
            ],
            "callbacks_waiting": host.outbox.waiting,
            "costs": {
                name: {"calls": count, "seconds": round(seconds, 6)}
                for name, (count, seconds) in sorted(host.costs.items())
            },
        }

    def _do(self, path: str, wish: dict[str, Any]) -> None:
        host = self._host
        if path == "/faults":
            kind = str(wish["kind"])
            host.faults.switch(
                str(wish.get("app", "*")),
                str(wish.get("operation", "*")),
                kind,
                page=None if wish.get("page") is None else int(wish["page"]),
                times=None if wish.get("times") is None else int(wish["times"]),
                seconds=float(wish.get("seconds", 0)) or _SECONDS.get(kind, 0.0),
            )
        elif path == "/faults/clear":
            host.faults.clear(str(wish.get("app", "*")), str(wish.get("operation", "*")))
        elif path == "/clock" and "at" in wish:
            moment = datetime.fromisoformat(str(wish["at"]))
            if moment.tzinfo is None:
                raise ValueError("give the moment with its time zone")
            host.clock.set(moment)
        elif path == "/clock":
            host.clock.advance(timedelta(seconds=float(wish["advance_seconds"])))
        else:
            raise ValueError(f"nothing at {path}")

    def _page(self) -> str:
        state = self.state()
        apps = ["*", *state["apps"].values()]
        faults = _table(
            ("平台", "操作", "故障", "页", "剩余次数", "秒"),
            [
                (
                    fault["app"],
                    fault["operation"],
                    _WORDS[fault["kind"]],
                    fault["page"],
                    fault["times"],
                    fault["seconds"],
                )
                for fault in state["faults"]
            ],
            "没有打开的故障：各平台表现正常。",
        )
        callbacks = _table(
            ("时刻", "平台", "操作", "订单", "第几次", "状态", "已接受", "备注"),
            [
                (
                    beijing_text(attempt.at),
                    attempt.app,
                    attempt.operation,
                    attempt.order_no,
                    attempt.attempt,
                    attempt.status or "",
                    "是" if attempt.accepted else "否",
                    "故意丢弃" if attempt.note == "dropped" else attempt.note,
                )
                for attempt in reversed(self._host.outbox.ledger[-_LEDGER_SHOWN:])
            ],
            "还没有发出过推送。",
        )
        costs = _table(
            ("平台/操作", "次数", "每次毫秒"),
            [
                (name, cost["calls"], f"{cost['seconds'] / cost['calls'] * 1000:.2f}")
                for name, cost in state["costs"].items()
            ],
            "还没有被调用过。",
        )
        return _PAGE.format(
            now=beijing_text(self._host.clock.now()),
            clock="静止（由测试拨动）" if state["clock"] == "virtual" else "随真实时间走",
            apps=_options(apps),
            kinds=_options(state["kinds"], _WORDS),
            operations=_options(sorted({n.partition("/")[2] for n in state["costs"]})),
            faults=faults,
            callbacks=callbacks,
            waiting=state["callbacks_waiting"],
            costs=costs,
        )


def _options(names: list[str], words: Mapping[str, str] | None = None) -> str:
    words = words or {}
    return "".join(
        f'<option value="{escape(name)}">{escape(words.get(name, name))}</option>' for name in names
    )


def _table(heads: tuple[str, ...], rows: list[tuple[Any, ...]], empty: str) -> str:
    if not rows:
        return f"<p>{empty}</p>"
    head = "".join(f"<th>{name}</th>" for name in heads)
    body = "".join(
        "<tr>"
        + "".join(f"<td>{'' if cell is None else escape(str(cell))}</td>" for cell in row)
        + "</tr>"
        for row in rows
    )
    return f"<div class=wide><table><tr>{head}</tr>{body}</table></div>"


_PAGE = """<!doctype html><html lang="zh-CN"><meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1"><title>模拟平台控制台</title>
<style>
:root{{color-scheme:light dark}}
body{{font:15px/1.6 system-ui,sans-serif;max-width:60rem;margin:1rem auto;padding:0 1rem}}
form{{display:flex;flex-wrap:wrap;gap:.5rem;align-items:end;margin:.5rem 0}}
label{{display:grid;font-size:.85rem}}input,select,button{{font:inherit;padding:.3rem;max-width:14rem}}
.wide{{overflow-x:auto}}table{{border-collapse:collapse;white-space:nowrap}}
th,td{{text-align:left;padding:.2rem .7rem;border-bottom:1px solid #8886}}
</style>
<h1>模拟平台控制台</h1>
<p>这里的平台都是假的，只用于演示与测试。北京时间 {now}，{clock}。</p>
<form method="post" action="/_control/clock">
<label>拨快（秒）<input name="advance_seconds" type="number" value="60" required></label>
<button>拨快时间</button></form>
<h2>故障</h2>
<form method="post" action="/_control/faults">
<label>平台<select name="app">{apps}</select></label>
<label>操作（* 为任意）<input name="operation" value="*" list="operations" required></label>
<datalist id="operations">{operations}</datalist>
<label>故障<select name="kind">{kinds}</select></label>
<label>页（空为任意）<input name="page" type="number"></label>
<label>次数（空为一直）<input name="times" type="number" min="1"></label>
<label>秒（空为默认）<input name="seconds" type="number" step="any"></label>
<button>打开故障</button></form>
{faults}
<form method="post" action="/_control/faults/clear"><input type="hidden" name="app" value="*">
<button>清除全部故障</button></form>
<h2>推送（待发 {waiting}）</h2>{callbacks}
<h2>模拟平台自身耗时</h2>{costs}
</html>"""
