"""The robots' page: which are muted, what they are told to do wrong, and what the group has seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any

from connectors.simulators.reading import beijing_text

# What each fault looks like from outside, and "" for a robot that behaves.
WORDS = {
    "": "正常",
    "busy": "系统繁忙（errcode -1）",
    "http_500": "应答 HTTP 500，消息没有发出",
    "silent": "一直不应答，消息没有发出",
    "silent_after_accept": "消息已发出，但一直不应答",
    "overload": "入口过载：应答里没有 errcode",
    "dissolved": "群已解散（400013）",
    "stopped": "机器人已停用（400102）",
}
_SHOWN = 30


def write_page(
    robots: Mapping[str, tuple[str, float]], entries: Sequence[Mapping[str, Any]], now: float
) -> str:
    """The page; `robots`: token -> its fault and until when it is muted (seconds since 1970)."""
    rows = "".join(_row(token, fault, until, now) for token, (fault, until) in robots.items())
    told = "".join(_told(entry) for entry in reversed(entries[-_SHOWN:]))
    return _PAGE.format(rows=rows, told=told or "<tr><td colspan=5>还没有人发过消息。</td></tr>")


def _row(token: str, fault: str, until: float, now: float) -> str:
    muted = "—"
    if until > now:
        muted = f"到 {beijing_text(datetime.fromtimestamp(until, UTC))}"
    return (
        f"<tr><td>…{escape(token[-4:])}</td><td>{muted}</td><td>"
        '<form method="post" action="/control">'
        f'<input type="hidden" name="token" value="{escape(token)}">'
        f'<select name="fault" aria-label="故障">{_options(fault)}</select> '
        "<button>切换</button></form></td></tr>"
    )


def _options(chosen: str) -> str:
    return "".join(
        f'<option value="{name}"{" selected" if name == chosen else ""}>{words}</option>'
        for name, words in WORDS.items()
    )


def _told(entry: Mapping[str, Any]) -> str:
    cells = (
        beijing_text(datetime.fromisoformat(entry["at"])), "…" + str(entry["token"]),
        "是" if entry["accepted"] else f"否（{entry['errcode']} {entry['errmsg']}）",
        "是" if entry["is_at_all"] else "", str(entry["title"] or entry["text"])[:60],
    )  # fmt: skip
    return "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"


_PAGE = """<!doctype html><html lang="zh-CN"><meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1"><title>模拟群机器人</title>
<style>
:root{{color-scheme:light dark}}
body{{font:15px/1.6 system-ui,sans-serif;max-width:60rem;margin:1rem auto;padding:0 1rem}}
form{{display:flex;gap:.5rem}}select,button{{font:inherit;padding:.3rem}}
.wide{{overflow-x:auto}}table{{border-collapse:collapse}}
th,td{{text-align:left;padding:.2rem .7rem;border-bottom:1px solid #8886}}
</style>
<h1>模拟群机器人</h1>
<p>只用于演示与测试。每个机器人每分钟最多 20 条，超过后 10 分钟内全部拒绝（130101）。</p>
<div class=wide><table><tr><th>令牌</th><th>禁言</th><th>故障</th></tr>{rows}</table></div>
<h2>最近的消息</h2>
<div class=wide><table><tr><th>时刻</th><th>令牌</th><th>群里看到</th><th>@所有人</th><th>内容</th></tr>
{told}</table></div>
</html>"""
