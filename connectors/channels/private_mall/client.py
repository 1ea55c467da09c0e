"""Calls to the own mall: list, single order, payment sync. FORMAT.md, section 3, is the contract."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import quote, urlencode, urlsplit
from uuid import uuid4

from django.utils.translation import gettext

from config.errors import BadInput, gettext_noop
from connectors.adapters import Access, Listed, ListedOrder, Outgoing, VendorRefusal
from connectors.adapters.calls import check_status, get_secret, read_answer
from connectors.channels.private_mall.lists import MODIFIED
from connectors.channels.private_mall.mapping import read_page
from connectors.channels.private_mall.signing import find_fault, sign_call
from connectors.http import ConnectorError, Response, Retry
from connectors.wire import SHANGHAI, PayloadError, Reader, read_json

SYNC_RESULTS: Final = frozenset({"paid", "unchanged", "unpaid"})
_NOT_FOUND: Final = "not_found"


@dataclass(frozen=True, slots=True)
class PaymentSync:
    """What the mall answered when it was asked to look for an order's money again.

    `result`: "paid" (it has mended it now), "unchanged" (it knew), "unpaid" (the gateway has none
    either). `order` is the whole order as it is now.
    """

    result: str
    order: Mapping[str, object] = field(repr=False)


class PrivateMallClient:
    """One shop of the own mall. It keeps no state: every call is signed anew, from any thread."""

    def __init__(self, access: Access, *, nonce: Callable[[], str] = lambda: uuid4().hex) -> None:
        self._access, self._nonce = access, nonce

    def check(self) -> str:
        """List the last hour, one order a page: it takes the very permission we need."""
        now = self._access.clock()
        page = read_page(self._list(now - timedelta(hours=1), now, limit=1).body)
        if page.orders:
            return gettext("连接正常，签名已通过，最近一小时有订单变动")
        return gettext("连接正常，签名已通过，最近一小时没有订单变动")

    def list_orders(
        self, stream: str, start: datetime, end: datetime, *, page: int, cursor: str
    ) -> Listed:
        """One page, oldest change first, with whole orders.

        The mall's list ends before `updated_to`, so the second after `end` is named. A row whose
        number cannot be read comes with an empty number, so that it is put aside.
        """
        response = self._list(start, end, limit=MODIFIED.page_size, cursor=cursor)
        found = read_page(response.body)
        return Listed(
            rows=tuple(_read_row(Reader(order)) for order in found.orders),
            next_cursor=found.next_cursor,
        )

    def count_orders(self, stream: str, start: datetime, end: datetime) -> int:
        """The mall does not count (FORMAT.md); its list is read by cursor. Raises ConnectorError."""
        raise ConnectorError(gettext_noop("自有商城的列表不给总数，按游标读取"), code="not_counted")

    def read_order(self, order_no: str) -> Mapping[str, object] | None:
        """The whole order as it is now; None when the mall has none of this number."""
        try:
            response = self._call("orders.one", "GET", f"/orders/{_quote(order_no)}", (order_no,))
        except VendorRefusal as refusal:
            if refusal.vendor_code == _NOT_FOUND:
                return None
            raise
        order = read_answer(response)
        _require_number(order, order_no)
        return order.mapping

    def sync_payment(self, order_no: str, *, key: str) -> PaymentSync:
        """Let the mall ask its payment gateway again: mends an order whose callback was lost.

        May be repeated: an order that is known to be paid stays as it is. Raises VendorRefusal
        `not_found` when the mall has no such order, or does not offer the call.
        """
        answer = read_answer(
            self._call(
                "orders.sync_payment",
                "POST",
                f"/orders/{_quote(order_no)}/sync_payment",
                (order_no,),
                is_effect=True,
                key=key,
            )
        )
        result = answer.required_identifier("result", limit=40)
        if result not in SYNC_RESULTS:
            raise answer.refuse_value("result", gettext_noop("paid、unchanged 或 unpaid"))
        if not answer.has("order"):
            raise answer.missing("order")
        order = answer.one("order")
        _require_number(order, order_no)
        return PaymentSync(result=result, order=order.mapping)

    # -- one call ----------------------------------------------------------------------------------

    def _list(self, start: datetime, end: datetime, *, limit: int, cursor: str = "") -> Response:
        query = {
            "updated_from": _write_time(start),
            "updated_to": _write_time(end + timedelta(seconds=1)),
            "limit": str(limit),
        }
        if cursor:
            query["cursor"] = cursor
        return self._call("orders", "GET", f"/orders?{urlencode(query)}")

    def _call(
        self,
        operation: str,
        method: str,
        target: str,
        order_nos: tuple[str, ...] = (),
        *,
        is_effect: bool = False,
        key: str = "",
    ) -> Response:
        """The answer of a signed call. Raises VendorRefusal, ConnectorError."""
        access = self._access
        url = access.base_url + target
        response = access.send(
            Outgoing(
                operation=operation,
                method=method,
                url=url,
                headers=self._sign(method, _read_target(url)),
                order_nos=order_nos,
                is_effect=is_effect,
                key=key,
            )
        )
        code = "" if 200 <= response.status < 300 else _read_code(response)
        if code:
            raise VendorRefusal(
                find_fault(code), vendor_code=code, pause_seconds=_read_pause(response)
            )
        check_status(response)
        return response

    def _sign(self, method: str, target: str) -> dict[str, str]:
        """The headers of a call; raises ConnectorError for a key that is none."""
        access = self._access
        secret = get_secret(access, "secret", gettext_noop("签名密钥"))
        nonce, now = self._nonce(), access.clock()
        try:
            return sign_call(secret, method=method, target=target, body=b"", nonce=nonce, now=now)
        except BadInput as error:
            raise ConnectorError(error.message, code=error.code, **error.params) from error


def _read_target(url: str) -> str:
    """Path and query exactly as sent, those of the address included: they are signed."""
    parts = urlsplit(url)
    return f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"


def _read_code(response: Response) -> str:
    """The mall's own code of an error answer; empty when it gives none."""
    try:
        return Reader(read_json(response.body)).one("error").identifier("code", limit=60)
    except PayloadError:
        return ""


def _read_pause(response: Response) -> int | None:
    """Seconds of a Retry-After header, where the mall gives them."""
    text = response.headers.get("retry-after", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 6 else None


def _read_row(order: Reader) -> ListedOrder:
    try:
        order_no = order.required_identifier("order_no")
    except PayloadError:
        order_no = ""
    try:
        updated_at = order.rfc3339("updated_at")
    except PayloadError:
        updated_at = None  # the mapping says what is wrong with it
    return ListedOrder(order_no, updated_at, order.mapping)


def _require_number(order: Reader, order_no: str) -> None:
    if order.required_identifier("order_no") != order_no:
        raise ConnectorError(
            gettext_noop("商城给出的不是所问的订单，已丢弃这次应答"),
            code="wrong_order",
            retry=Retry.SAFE,
        )


def _quote(order_no: str) -> str:
    return quote(order_no, safe="")


def _write_time(moment: datetime) -> str:
    return moment.astimezone(SHANGHAI).isoformat(timespec="seconds")
