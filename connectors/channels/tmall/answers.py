"""What TOP answers: lists in both spellings, messages we consume, refusals. Pure.

Source: channels.md 3.1 and 3.2 (lists), 3.3 (error codes), 3.6 (messages).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from config.errors import gettext_noop
from connectors.http import Retry
from connectors.wire import Fault, PayloadError, Reader, read_json

_BAN_SECONDS = re.compile(r"ban will last for (\d{1,6}) more seconds?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Message:
    """One message of `taobao.tmc.messages.consume`. `order_no` is empty where it names no trade.

    A message is a reason to read the trade anew, never its content: it can be old, out of order
    and repeated until it is confirmed.
    """

    message_id: str
    topic: str
    seller: str
    published_at: datetime | None
    order_no: str
    content: Mapping[str, object]

    @property
    def replay_key(self) -> str:
        return f"tmall:tmc:{self.message_id}"


def read_messages(answer: object) -> tuple[Message, ...]:
    """The messages of a consume answer, in their order. Raises PayloadError naming the field.

    One whose content cannot be read has no content and names no trade.
    They carry no signature: they are the answer to our own signed call, over TLS to the gateway
    (channels.md 3.6). `content` is a JSON text; `tid` in it names the trade.
    """
    reader = Reader(answer)
    if reader.has("tmc_messages_consume_response"):
        reader = reader.one("tmc_messages_consume_response")
    return tuple(_read_message(item) for item in read_list(reader, "messages", "tmc_message"))


def _read_message(item: Reader) -> Message:
    content = _read_content(item)
    return Message(
        message_id=item.required_identifier("id"),
        topic=item.required_identifier("topic", limit=100),
        seller=item.identifier("user_nick", limit=100),
        published_at=item.clock("pub_time"),
        order_no=_read_tid(content),
        content=content.mapping,
    )


def _read_content(item: Reader) -> Reader:
    """What a message says; empty when it cannot be read: it has to be confirmed all the same.

    One that stayed in the queue for its content would come first again for ever.
    """
    raw = item.raw("content")
    try:
        value = read_json(raw) if isinstance(raw, str) and raw else raw or {}
        return Reader(value, item.path_of("content"))
    except PayloadError:
        return Reader({}, item.path_of("content"))


def _read_tid(content: Reader) -> str:
    try:
        return content.identifier("tid")
    except PayloadError:
        return ""


def read_list(reader: Reader, key: str, inner: str, *, limit: int = 500) -> list[Reader]:
    """The objects of a list in both spellings: `{key: {inner: [...]}}`, or `{key: [...]}`.

    The second is what `simplify=true` gives; a list without elements can be absent (channels.md
    3.1, 3.2). Messages of a consume answer and lists inside a trade are both read by it.
    """
    if isinstance(reader.raw(key), list | tuple):
        return reader.many(key, limit=limit)
    return reader.one(key).many(inner, limit=limit)


# -- error codes -----------------------------------------------------------------------------------

_CALLER = gettext_noop("请求参数不对：这是我们的错误，请联系支持")
_LIMITED = gettext_noop("调用次数超限，被淘宝限流")
_PERMISSION = gettext_noop("应用或店铺没有这个接口的权限：请在开放平台申请，或重新授权")

# code -> what may be done (channels.md 3.3). 4-6 and 8 are of the same family as 7 in TOP's list
# of system errors; 3 is about pictures, which are never sent.
FAULTS: Mapping[int, Fault] = {
    **dict.fromkeys((4, 5, 6, 7, 8), Fault(Retry.LATER, _LIMITED)),
    9: Fault(Retry.NEVER, gettext_noop("HTTP 方法不被允许：这是我们的错误，请联系支持")),
    10: Fault(Retry.SAFE, gettext_noop("淘宝服务暂不可用")),
    **dict.fromkeys((11, 12, 13), Fault(Retry.NEVER, _PERMISSION)),
    **dict.fromkeys((21, 22, 23, 24, 32, 33, 34, 40, 41), Fault(Retry.NEVER, _CALLER)),
    25: Fault(Retry.NEVER, gettext_noop("淘宝拒绝了签名：请核对应用密钥")),
    **dict.fromkeys(
        (26, 27),
        Fault(
            Retry.SAFE,
            gettext_noop("店铺授权无效或已过期：刷新令牌，仍失败则请商家重新授权"),
            refresh_token=True,
        ),
    ),
    **dict.fromkeys((28, 29), Fault(Retry.NEVER, gettext_noop("App Key 缺失或无效：请核对应用"))),
    **dict.fromkeys(
        (30, 31),
        Fault(Retry.NEVER, gettext_noop("请求时间与淘宝相差太大：请校准时钟"), resync_clock=True),
    ),
    42: Fault(Retry.NEVER, gettext_noop("请求被淘宝禁止")),
    43: Fault(Retry.NEVER, _CALLER),
}
REMOTE_ERROR = 15
_PLATFORM_FAULT = Fault(Retry.SAFE, gettext_noop("淘宝后台出错，稍后重试"))
_BUSINESS_FAULT = Fault(Retry.NEVER, gettext_noop("淘宝说请求的数据不对"))
_API_QUOTA = Fault(Retry.LATER, gettext_noop("这个接口当日的调用次数已用完"), wait_for_quota=True)
_UNKNOWN_FAULT = Fault(Retry.NEVER, gettext_noop("淘宝返回了没有见过的错误码"))
# Sub-codes of code 7 whose quota is counted for longer than seconds. From memory in channels.md
# 3.3 [M]: whether one means a short ban or the whole day is told by `ban_seconds`.
_QUOTA_SUB_CODES = frozenset({"accesscontrol.limited-by-app-access-count"})


@dataclass(frozen=True, slots=True)
class Refusal:
    """An `error_response`: what it allows, and how to speak of it."""

    fault: Fault
    code: int
    sub_code: str
    request_id: str
    ban_seconds: int | None  # how long the ban lasts, where the text tells it


def find_fault(code: int, sub_code: str = "") -> Fault:
    """What an error code allows; NEVER for a code nobody listed.

    Code 15: `isp.*` is the platform's fault, anything else is about our data.
    """
    if code == REMOTE_ERROR:
        return _PLATFORM_FAULT if sub_code.startswith("isp.") else _BUSINESS_FAULT
    if code == 7 and sub_code in _QUOTA_SUB_CODES:
        return _API_QUOTA
    return FAULTS.get(code, _UNKNOWN_FAULT)


def read_refusal(answer: object) -> Refusal | None:
    """The refusal inside an answer, or None: TOP refuses with HTTP 200 (channels.md 0.8).

    The time of a ban stands in the text, "This ban will last for 1 more seconds" [M]: where it is
    told and short, waiting is enough; where it is not told the caller falls back on its own pause.
    Raises PayloadError when the refusal itself cannot be read.
    """
    reader = Reader(answer)
    if not reader.has("error_response"):
        return None
    told = reader.one("error_response")
    code = told.required_integer("code")
    sub_code = told.identifier("sub_code", limit=200)
    seconds = _BAN_SECONDS.search(f"{told.text('msg')} {told.text('sub_msg')}")
    return Refusal(
        fault=find_fault(code, sub_code),
        code=code,
        sub_code=sub_code,
        request_id=told.identifier("request_id", limit=100),
        ban_seconds=int(seconds.group(1)) if seconds else None,
    )
