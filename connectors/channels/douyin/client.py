"""Calls to Douyin shop (抖店): lists, details, orders in review, tokens.

Source: channels.md 5.1 (call, token), 5.2 (lists), 5.4 (risk review); header, addresses and
parameters read again in the generated official SDK (zsmhub/doudian-sdk, 2023-06).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import urlencode

from django.utils.translation import gettext

from config.errors import gettext_noop
from connectors.adapters import Access, Grant, Listed, ListedOrder, Outgoing, Tokens, VendorRefusal
from connectors.adapters.calls import check_status, get_secret, get_setting, read_answer
from connectors.channels.douyin.lists import MAX_DEPTH, PAGE_SIZE
from connectors.channels.douyin.signing import build_query, find_fault, write_param_json
from connectors.http import ConnectorError, Retry
from connectors.wire import PayloadError, Reader

# Our own key in a detail: whether the platform has this order in review. Douyin tells it only by a
# list of its own (abnormal_order=2). Who reads lists reads that one too (stream "review"); a single
# order is looked up in it, so that a push of a held order says at once what it is held for.
IN_REVIEW: Final = "_in_risk_review"
_PAID: Final = 105  # paid, not to be shipped: in review, in a group, or being confirmed
_ABNORMAL_REVIEW: Final = 2
REFRESH_LIVES: Final = timedelta(days=14)
_SECOND: Final = timedelta(seconds=1)
# A business failure that says this is about an order Douyin does not have; its sub-code is a bare
# number that no documentation explains.
_BUSINESS_FAILURE: Final = 50002
_NO_ORDER_WORDS: Final = "订单不存在"


class _NoSuchOrder(VendorRefusal):
    """The shop has no order of this number."""


@dataclass(frozen=True, slots=True)
class _List:
    """One way to ask `order.searchList`: by which time, and for which orders."""

    time: str  # create_time or update_time
    is_review: bool = False


LISTS: Final[Mapping[str, _List]] = {
    "modified": _List("update_time"),
    "created": _List("create_time"),
    "review": _List("create_time", is_review=True),
}


class DouyinClient:
    """One shop at Douyin. It keeps no state: every call is signed anew, from any thread."""

    def __init__(self, access: Access) -> None:
        self._access = access

    # -- lists and details -------------------------------------------------------------------------

    def check(self) -> str:
        """Count what changed in the last half hour: it takes the very permission we need."""
        now = self._access.clock()
        count = self.count_orders("modified", now - timedelta(minutes=30), now)
        return gettext("授权有效，最近 30 分钟有 %(count)d 张订单变动") % {"count": count}

    def count_orders(self, stream: str, start: datetime, end: datetime) -> int:
        """How many orders a window has.

        Raises ConnectorError `window_too_deep` when the list would not show them all.
        """
        count = _read_total(self._search(LISTS[stream], start, end, page=0, size=1))
        if count > MAX_DEPTH:
            raise ConnectorError(
                gettext_noop("这段时间有 %(count)s 张订单，超过抖店一次能翻到的 %(limit)s 张，请缩短时段"),
                code="window_too_deep",
                count=count,
                limit=MAX_DEPTH,
            )  # fmt: skip
        return count

    def list_orders(
        self, stream: str, start: datetime, end: datetime, *, page: int, cursor: str
    ) -> Listed:
        """One page, oldest first, with whole orders; pages are counted from 0.

        A row whose number cannot be read comes with an empty number, so that it is put aside and
        the others are read.
        """
        data = self._search(LISTS[stream], start, end, page=page, size=PAGE_SIZE)
        total = _read_total(data)
        return Listed(
            rows=tuple(_read_row(order) for order in data.many("shop_order_list")),
            total=total,
            has_more=(page + 1) * PAGE_SIZE < total,
        )

    def read_order(self, order_no: str) -> Mapping[str, object] | None:
        """The whole order; None when Douyin has none. One that is held says whether for a review.

        Works for orders of any age, which the lists do not show after ninety days.
        """
        try:
            data = self._call(
                "order.orderDetail", {"shop_order_id": order_no}, order_nos=(order_no,)
            )
        except _NoSuchOrder:
            return None
        if not data.has("shop_order_detail"):
            raise data.missing("shop_order_detail")
        order = data.one("shop_order_detail")
        if not order.mapping:
            return None
        if (order.required_identifier("order_id", limit=65)).removesuffix("A") != order_no:
            raise ConnectorError(
                gettext_noop("平台给出的不是所问的订单，已丢弃这次应答"),
                code="wrong_order",
                retry=Retry.SAFE,
            )
        if not _is_held(order):
            return order.mapping
        return {**order.mapping, IN_REVIEW: self._is_reviewed(order, order_no)}

    def _is_reviewed(self, order: Reader, order_no: str) -> bool:
        """Whether the list of orders in review, of the second this one was made, has it."""
        try:
            made_at = order.unix_seconds("create_time")
        except PayloadError:
            made_at = None  # the mapping says what is wrong with it
        if made_at is None:
            return False
        page = 0
        while True:
            data = self._search(
                LISTS["review"], made_at, made_at + _SECOND, page=page, size=PAGE_SIZE,
                order_nos=(order_no,),
            )  # fmt: skip
            rows = data.many("shop_order_list")
            if any(_read_number(row) == order_no for row in rows):
                return True
            page += 1
            if not rows or page * PAGE_SIZE >= _read_total(data):
                return False

    def _search(
        self,
        found: _List,
        start: datetime,
        end: datetime,
        *,
        page: int,
        size: int,
        order_nos: tuple[str, ...] = (),
    ) -> Reader:
        params: dict[str, object] = {
            f"{found.time}_start": int(start.timestamp()),
            f"{found.time}_end": int(end.timestamp()),
            "order_by": found.time,
            "order_asc": True,
            "page": page,
            "size": size,
        }
        if found.is_review:
            params["abnormal_order"] = _ABNORMAL_REVIEW
        return self._call("order.searchList", params, order_nos=order_nos)

    # -- tokens ------------------------------------------------------------------------------------

    def refresh_tokens(self) -> Tokens:
        """The tokens that are good now: until an hour before the end Douyin gives the same again.

        Later it gives new ones, and the old live for one more hour (channels.md 5.1).
        """
        token = get_secret(self._access, "refresh_token", gettext_noop("刷新令牌"))
        now = self._access.clock()
        params = {"grant_type": "refresh_token", "refresh_token": token}
        try:
            data = self._call("token.refresh", params, with_token=False)
        except VendorRefusal as refusal:
            raise _for_a_person(refusal) from refusal
        tokens = _read_tokens(data, now)
        return tokens if tokens.refresh_token else replace(tokens, refresh_token=token)

    def create_tokens(self, code: str) -> Grant:
        """The tokens for the code of the service market's page, which is good for ten minutes."""
        return self._create({"grant_type": "authorization_code", "code": code})

    def create_own_tokens(self) -> Grant:
        """The tokens of the shop that owns the application; the same ones while they live.

        Not confirmed: whether `shop_id` is wanted as a text or as a number (SDKs differ).
        """
        shop_id = get_setting(self._access.config, "shop_id", gettext_noop("店铺 ID"))
        return self._create({"grant_type": "authorization_self", "code": "", "shop_id": shop_id})

    def _create(self, params: Mapping[str, object]) -> Grant:
        now = self._access.clock()
        data = self._call("token.create", params, with_token=False)
        tokens = _read_tokens(data, now)
        return Grant(
            # How long the refresh token lives is not in the answer: fourteen days (channels.md 5.1).
            tokens=replace(tokens, refresh_expires_at=now + REFRESH_LIVES),
            shop_id=data.required_identifier("shop_id"),
            shop_name=data.text("shop_name", limit=200),
        )

    # -- one call ----------------------------------------------------------------------------------

    def _call(
        self,
        method: str,
        params: Mapping[str, object],
        *,
        with_token: bool = True,
        order_nos: tuple[str, ...] = (),
    ) -> Reader:
        """The `data` of a signed call. Raises VendorRefusal, ConnectorError, PayloadError."""
        access = self._access
        param_json = write_param_json(params)
        query = build_query(
            app_key=get_setting(access.config, "app_key", gettext_noop("App Key")),
            secret=get_secret(access, "app_secret", gettext_noop("App Secret")),
            access_token=(
                get_secret(access, "access_token", gettext_noop("访问令牌")) if with_token else ""
            ),
            method=method,
            param_json=param_json,
            now=access.clock(),
        )
        response = access.send(
            Outgoing(
                operation=method,
                method="POST",
                url=f"{access.base_url}/{method.replace('.', '/')}?{urlencode(query)}",
                headers={
                    "Content-Type": "application/json;charset=UTF-8",
                    "x-open-no-old-err-code": "1",  # the error codes of channels.md 5.3
                },
                body=param_json.encode(),
                order_nos=order_nos,
            )
        )
        answer = read_answer(response)
        if not answer.has("code"):
            check_status(response)
        code, sub_code = answer.required_integer("code"), answer.identifier("sub_code", limit=200)
        fault = find_fault(code, sub_code)
        if fault is not None:
            is_absent = code == _BUSINESS_FAILURE and _NO_ORDER_WORDS in answer.text("sub_msg")
            kind = _NoSuchOrder if is_absent else VendorRefusal
            raise kind(fault, vendor_code=f"{code} {sub_code}".strip())
        check_status(response)
        if not answer.has("data"):
            raise answer.missing("data")
        return answer.one("data")


def _read_total(data: Reader) -> int:
    total = data.required_integer("total")
    if total < 0:
        raise data.refuse_value("total", gettext_noop("不小于 0 的整数"))
    return total


def _read_number(order: Reader) -> str:
    """An order's number; empty when it cannot be read. Old answers write an A behind it."""
    try:
        return order.identifier("order_id", limit=65).removesuffix("A")
    except PayloadError:
        return ""


def _read_row(order: Reader) -> ListedOrder:
    try:
        updated_at = order.unix_seconds("update_time")
    except PayloadError:
        updated_at = None  # the mapping says what is wrong with it
    return ListedOrder(_read_number(order), updated_at, order.mapping)


def _is_held(order: Reader) -> bool:
    """Whether an order is paid and held: any other state has its review behind it, or none."""
    try:
        return order.integer("order_status") == _PAID
    except PayloadError:
        return False  # the mapping says what is wrong with it


def is_in_review(payload: object, *, is_listed: bool) -> bool:
    """Whether an order is in review: by its own lookup, else by the review list (`is_listed`).

    Only a paid order that is held can be: what that list says of an older state is late.
    """
    order = Reader(payload)
    told = order.raw(IN_REVIEW)
    return _is_held(order) and (told if isinstance(told, bool) else is_listed)


def _read_tokens(data: Reader, now: datetime) -> Tokens:
    seconds = data.integer("expires_in")
    lives = timedelta(seconds=min(seconds, 10**9)) if seconds and seconds > 0 else None
    return Tokens(
        access_token=data.required_identifier("access_token", limit=500),
        refresh_token=data.identifier("refresh_token", limit=500),
        expires_at=now + lives if lives else None,
    )


def _for_a_person(refusal: VendorRefusal) -> VendorRefusal:
    """A token error of the refresh itself: there is nothing left to refresh with."""
    if not refusal.fault.refresh_token:
        return refusal
    fault = replace(refusal.fault, retry=Retry.NEVER, refresh_token=False)
    return VendorRefusal(fault, vendor_code=refusal.vendor_code)
