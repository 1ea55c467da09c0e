"""Calls to Taobao and Tmall (TOP): lists, details, messages, tokens, memos.

Source: channels.md 3.1 (call, token), 3.2 (lists), 3.6 (messages, memo); parameters of the calls
read again in generated SDKs of TOP (bububa/opentaobao, model/trade, model/tmc, model/util).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import unquote, urlencode

from django.utils.translation import gettext

from config.errors import BadInput, gettext_noop
from connectors.adapters import (
    Access,
    Grant,
    Listed,
    ListedOrder,
    Outgoing,
    PulledMessage,
    Tokens,
    VendorRefusal,
)
from connectors.adapters.calls import check_status, get_secret, get_setting, read_answer
from connectors.channels.tmall.answers import Refusal, read_list, read_messages, read_refusal
from connectors.channels.tmall.lists import (
    CREATED,
    DETAIL_FIELDS,
    LIST_FIELDS,
    MODIFIED,
    TOPICS,
    TYPES,
)
from connectors.channels.tmall.signing import build_form, write_clock
from connectors.http import ConnectorError, Retry
from connectors.wire import PayloadError, Reader, read_json

GATEWAY_PATH = "/router/rest"
MAX_MEMO_BYTES = 1000
MIN_MESSAGES, MAX_MESSAGES = 10, 200
_FORM_TYPE = "application/x-www-form-urlencoded;charset=utf-8"
_NO_SUCH_TRADE = "isv.trade-not-exist"


@dataclass(frozen=True, slots=True)
class _List:
    """One of TOP's two lists: its call, and how its window is written."""

    method: str
    start: str
    end: str
    page_size: int


LISTS: Final[Mapping[str, _List]] = {
    "modified": _List(
        "taobao.trades.sold.increment.get", "start_modified", "end_modified", MODIFIED.page_size
    ),
    "created": _List("taobao.trades.sold.get", "start_created", "end_created", CREATED.page_size),
}


class TmallClient:
    """One shop at TOP. It keeps no state: every call is signed anew, from any thread."""

    def __init__(self, access: Access) -> None:
        self._access = access

    # -- lists and details -------------------------------------------------------------------------

    def check(self) -> str:
        """Count what changed in the last half hour: it takes the very permission we need."""
        now = self._access.clock()
        count = self.count_orders("modified", now - timedelta(minutes=30), now)
        return gettext("授权有效，最近 30 分钟有 %(count)d 笔交易变动") % {"count": count}

    def count_orders(self, stream: str, start: datetime, end: datetime) -> int:
        """How many trades a window has. Only `use_has_next=false` tells it (channels.md 3.2)."""
        answer = self._list(stream, start, end, page=1, page_size=1, use_has_next=False)
        count = answer.required_integer("total_results")
        if count < 0:
            raise answer.refuse_value("total_results", gettext_noop("不小于 0 的整数"))
        return count

    def list_orders(
        self, stream: str, start: datetime, end: datetime, *, page: int, cursor: str
    ) -> Listed:
        """One page, newest first, without payloads: a list of TOP gives a part of the fields.

        A row whose number cannot be read comes with an empty number and its own content, so that
        it is put aside and the others are read.
        """
        size = LISTS[stream].page_size
        answer = self._list(stream, start, end, page=page, page_size=size, use_has_next=True)
        rows = read_list(answer, "trades", "trade")
        if not rows and not answer.has("has_next"):
            # Neither rows nor a word that there are none: no list at all.
            raise answer.missing("has_next")
        return Listed(
            rows=tuple(_read_row(row) for row in rows),
            has_more=answer.flag("has_next") if answer.has("has_next") else None,
        )

    def read_order(self, order_no: str) -> Mapping[str, object] | None:
        """The whole trade with every field of channels.md 3.5; None when TOP has none.

        `include_oaid` stays false: true would refuse the trade (`isv.oaid-field-miss`) when its
        oaid cannot be made; false gives the oaid wherever it can (SDK text of the parameter).
        """
        params = {"tid": order_no, "fields": ",".join(DETAIL_FIELDS), "include_oaid": "false"}
        try:
            answer = self._call("taobao.trade.fullinfo.get", params, order_nos=(order_no,))
        except VendorRefusal as refusal:
            if refusal.vendor_code.endswith(_NO_SUCH_TRADE):
                return None
            raise
        if not answer.has("trade"):
            raise answer.missing("trade")
        trade = answer.one("trade")
        if (trade.identifier("tid_str") or trade.required_identifier("tid")) != order_no:
            raise ConnectorError(
                gettext_noop("平台给出的不是所问的订单，已丢弃这次应答"),
                code="wrong_order",
                retry=Retry.SAFE,
            )
        return trade.mapping

    def _list(
        self,
        stream: str,
        start: datetime,
        end: datetime,
        *,
        page: int,
        page_size: int,
        use_has_next: bool,
    ) -> Reader:
        found = LISTS[stream]
        return self._call(
            found.method,
            {
                "fields": ",".join(LIST_FIELDS),
                "type": ",".join(TYPES),
                found.start: write_clock(start),
                found.end: write_clock(end),
                "page_no": str(page),
                "page_size": str(page_size),
                "use_has_next": "true" if use_has_next else "false",
            },
        )

    # -- messages ----------------------------------------------------------------------------------

    def permit(self, topics: Sequence[str] = TOPICS) -> None:
        """Let this shop's messages into the queue. The topics replace those permitted before."""
        answer = self._call("taobao.tmc.user.permit", {"topics": ",".join(topics)})
        _require_success(answer)

    def consume(self, limit: int) -> Sequence[PulledMessage]:
        """Messages of this shop, oldest first; TOP hands out between 10 and 200 at a time.

        The queue belongs to the application. Where the form names the seller, messages of other
        sellers are left: unconfirmed they come again, for the connection they belong to.
        """
        quantity = min(max(limit, MIN_MESSAGES), MAX_MESSAGES)
        answer = self._call(
            "taobao.tmc.messages.consume",
            {"quantity": str(quantity), "group_name": self._group()},
            with_session=False,
        )
        seller = str(self._access.config.get("seller_nick") or "")
        return tuple(
            PulledMessage(
                message_id=message.message_id,
                replay_key=message.replay_key,
                topic=message.topic,
                order_no=message.order_no,
                published_at=message.published_at,
                payload=message.content,
            )
            for message in read_messages(answer.mapping)
            if seller in ("", message.seller)
        )

    def confirm(self, message_ids: Sequence[str]) -> None:
        """Tell TOP that these are stored here, at most 200 a call."""
        for first in range(0, len(message_ids), MAX_MESSAGES):
            part = message_ids[first : first + MAX_MESSAGES]
            answer = self._call(
                "taobao.tmc.messages.confirm",
                {"s_message_ids": ",".join(part), "group_name": self._group()},
                with_session=False,
            )
            _require_success(answer)

    def _group(self) -> str:
        # Empty is the default group: an application without groups is refused for naming one.
        return str(self._access.config.get("group_name") or "").strip()

    # -- tokens and memos --------------------------------------------------------------------------

    def refresh_tokens(self) -> Tokens:
        """A new session for the refresh token, which is used up by it.

        How long it lives is read from the answer: it depends on the application and on the
        seller's subscription. Only applications bought on the service market have a refresh token;
        any other authorisation ends and is given again by a person.
        """
        token = get_secret(self._access, "refresh_token", gettext_noop("刷新令牌"))
        now = self._access.clock()
        try:
            answer = self._call(
                "taobao.top.auth.token.refresh", {"refresh_token": token}, with_session=False
            )
        except VendorRefusal as refusal:
            raise _for_a_person(refusal) from refusal
        tokens = _read_tokens(_read_result(answer), now)
        return tokens if tokens.refresh_token else replace(tokens, refresh_token=token)

    def create_tokens(self, code: str) -> Grant:
        """The session a seller's consent gives for the code of the authorisation page.

        Asked of the gateway, so that it is signed and the door needs no second address. Fields of
        the answer by channels.md 3.1 [M]; read in public code: the nick of a sub-account stands
        apart (`taobao_sub_user_nick`), and nicks may come percent-encoded. Not confirmed: how long
        a code lives.
        """
        now = self._access.clock()
        answer = self._call("taobao.top.auth.token.create", {"code": code}, with_session=False)
        result = _read_result(answer)
        return Grant(
            tokens=_read_tokens(result, now),
            shop_id=result.required_identifier("taobao_user_id"),
            shop_name=unquote(result.text("taobao_user_nick", limit=200)),
        )

    def write_memo(self, order_no: str, text: str, flag: int, key: str) -> None:
        """Set the seller's memo and flag (0-5: grey, red, yellow, green, blue, pink) of a trade.

        It replaces the memo that was there, and may be repeated: the last one counts. An empty
        text clears it. Raises BadInput over 1000 bytes or for another flag.
        """
        if len(text.encode()) > MAX_MEMO_BYTES:
            raise BadInput(
                gettext_noop("淘宝备注最多 %(limit)s 字节，请缩短后再写"),
                code="memo_too_long",
                limit=MAX_MEMO_BYTES,
            )
        if not 0 <= flag <= 5:
            raise BadInput(gettext_noop("淘宝备注的旗帜应在 0 到 5 之间"), code="memo_flag")
        self._call(
            "taobao.trade.memo.update",
            {
                "tid": order_no,
                "memo": text,
                "flag": str(flag),
                "reset": "" if text else "true",
            },
            order_nos=(order_no,),
            is_effect=True,
            key=key,
        )

    # -- one call ----------------------------------------------------------------------------------

    def _call(
        self,
        method: str,
        params: Mapping[str, str],
        *,
        with_session: bool = True,
        order_nos: tuple[str, ...] = (),
        is_effect: bool = False,
        key: str = "",
    ) -> Reader:
        """The `..._response` of a signed call. Raises VendorRefusal, ConnectorError, PayloadError."""
        access = self._access
        form = build_form(
            app_key=get_setting(access.config, "app_key", gettext_noop("App Key")),
            secret=get_secret(access, "app_secret", gettext_noop("App Secret")),
            session=(
                get_secret(access, "access_token", gettext_noop("访问令牌")) if with_session else ""
            ),
            method=method,
            params=params,
            now=access.clock(),
        )
        response = access.send(
            Outgoing(
                operation=method,
                method="POST",
                url=access.base_url + GATEWAY_PATH,
                headers={"Content-Type": _FORM_TYPE},
                body=urlencode(form).encode(),
                order_nos=order_nos,
                is_effect=is_effect,
                key=key,
            )
        )
        answer = read_answer(response)
        refusal = read_refusal(answer.mapping)
        if refusal is not None:
            raise VendorRefusal(
                refusal.fault, vendor_code=_write_code(refusal), pause_seconds=refusal.ban_seconds
            )
        check_status(response)
        name = method.removeprefix("taobao.").replace(".", "_") + "_response"
        if not answer.has(name):
            raise answer.missing(name)
        return answer.one(name)


def _write_code(refusal: Refusal) -> str:
    """The code as people look it up: "15 isv.trade-not-exist"."""
    return f"{refusal.code} {refusal.sub_code}".strip()


def _read_row(row: Reader) -> ListedOrder:
    try:
        order_no = row.identifier("tid_str") or row.required_identifier("tid")
    except PayloadError:
        return ListedOrder(order_no="", payload=row.mapping)
    try:
        updated_at = row.clock("modified")
    except PayloadError:
        updated_at = None  # the detail tells it, or says what is wrong with it
    return ListedOrder(order_no=order_no, updated_at=updated_at)


def _require_success(answer: Reader) -> None:
    if answer.has("is_success") and not answer.flag("is_success"):
        raise ConnectorError(
            gettext_noop("淘宝没有确认这次操作，稍后重试"), code="not_done", retry=Retry.SAFE
        )


def _read_result(answer: Reader) -> Reader:
    """The tokens of an answer: a JSON text inside the JSON."""
    raw = answer.raw("token_result")
    if raw is None:
        raise answer.missing("token_result")
    return Reader(read_json(raw) if isinstance(raw, str) else raw, "token_result")


def _read_tokens(result: Reader, now: datetime) -> Tokens:
    return Tokens(
        access_token=result.required_identifier("access_token", limit=500),
        refresh_token=result.identifier("refresh_token", limit=500),
        expires_at=_read_end(result, "expires_in", now),
        refresh_expires_at=_read_end(result, "re_expires_in", now),
    )


def _read_end(result: Reader, key: str, now: datetime) -> datetime | None:
    """When something ends that lives so many seconds; None when TOP does not tell."""
    seconds = result.integer(key)
    return now + timedelta(seconds=min(seconds, 10**9)) if seconds and seconds > 0 else None


def _for_a_person(refusal: VendorRefusal) -> VendorRefusal:
    """A session error of the refresh itself: there is nothing left to refresh with."""
    if not refusal.fault.refresh_token:
        return refusal
    fault = replace(refusal.fault, retry=Retry.NEVER, refresh_token=False)
    return VendorRefusal(fault, vendor_code=refusal.vendor_code)
