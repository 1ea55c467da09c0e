"""The page of a platform on which a merchant says yes or no, and the way back with a code.

A browser opens it; nothing is signed. Which parameters a platform wants, what it calls the
application and where it sends the browser afterwards is its own: `tmall.py`, `douyin.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from html import escape
from urllib.parse import urlencode, urlsplit

from connectors.simulators.wire import Answer, Call, text_answer

_HTML = "text/html; charset=utf-8"
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


def answer_consent(
    call: Call,
    *,
    platform: str,
    application: str,
    shops: Sequence[str],
    give_code: Callable[[str, datetime], str],
    callback: str,
    refusal: dict[str, str],
) -> Answer:
    """The page on GET; on POST the browser goes back, with a code or with what stands for no."""
    state = dict(call.query).get("state", "")
    if call.method == "GET":
        return _page(platform, application, shops)
    if call.method != "POST":
        return refuse_page("请求方法不支持")
    form = dict(call.form)
    if form.get("decision") != "agree":
        return _send_back(callback, {**refusal, "state": state})
    if form.get("shop") not in shops:
        return refuse_page("没有这个店铺账号")
    return _send_back(callback, {"code": give_code(form["shop"], call.at), "state": state})


def refuse_page(words: str) -> Answer:
    """A page instead of a redirect: the address to go back to cannot be trusted."""
    return text_answer(_wrap("授权失败", f"<p>{escape(words)}</p>"), 400, _HTML)


def is_web_address(url: str) -> bool:
    """Whether it is an http or https address with a host."""
    parts = urlsplit(url)
    return parts.scheme in {"http", "https"} and bool(parts.hostname)


def _page(platform: str, application: str, shops: Sequence[str]) -> Answer:
    choices = "".join(
        f'<p><label><input type="radio" name="shop" value="{escape(shop)}"'
        f"{' checked' if number == 0 else ''}> {escape(shop)}</label></p>"
        for number, shop in enumerate(shops)
    )
    body = (
        f"<p>应用 {escape(application)} 申请读取以下店铺的订单：</p>"
        f'<form method="post">{choices}'
        '<button name="decision" value="agree">同意授权</button> '
        '<button name="decision" value="refuse">拒绝</button></form>'
    )
    return text_answer(_wrap(platform, body), 200, _HTML)


def _wrap(title: str, body: str) -> str:
    return (
        '<!doctype html><html lang="zh"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title></head><body><h1>{escape(title)}</h1>{body}</body></html>"
    )


def _send_back(callback: str, params: dict[str, str]) -> Answer:
    joint = "&" if urlsplit(callback).query else "?"
    return Answer(302, {"Location": callback + joint + urlencode(params)})
