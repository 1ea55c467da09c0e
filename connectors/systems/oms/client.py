"""The client of any OMS: lists, single orders, holding, and the call that shows a sample."""

from __future__ import annotations

import json
import re
import secrets as randomness
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import quote, urlencode, urlsplit

from config.errors import BadInput, Phrase, gettext_noop
from connectors.adapters import Access, Listed, ListedOrder, Outgoing, VendorRefusal
from connectors.http import ConnectorError, Response, Retry
from connectors.systems.calls import get_secret, refuse_answer
from connectors.systems.oms import calls
from connectors.systems.oms.guessing import guess_fields
from connectors.systems.oms.mapping import read_order_no, read_updated_at, wrap_row
from connectors.systems.oms.paths import (
    MISSING,
    SampleField,
    check_depth,
    find,
    flatten_sample,
    mask_answer,
    parse_path,
)
from connectors.systems.oms.spec import OmsSpec, fill, refuse
from connectors.wire import Fault, PayloadError, read_json

MAX_ROWS = 2000  # in one answer
MAX_PAGES = 20_000
SAMPLE_REACH = timedelta(days=1)
_SHOWN = 20_000  # characters of a test call's answer
_PHONE = re.compile(r"(1[3-9]\d)\d{4}(\d{4})")
CANNOT_HOLD = Fault(Retry.NEVER, gettext_noop("这个 OMS 没有填写挂起接口：请在 OMS 里人工挂起"))


@dataclass(frozen=True, slots=True)
class TestCall:
    """What a call of the list gave, for the form: nothing personal is in it.

    `fields` are places in the whole answer, `row_fields` places in one row, `guesses` proposals for
    settings that are still empty, `trouble` what was wrong with the answer, in words.
    """

    __test__ = False

    status: int
    body: str
    fields: tuple[SampleField, ...] = ()
    row_fields: tuple[SampleField, ...] = ()
    guesses: Mapping[str, str] | None = None
    rows: int | None = None
    trouble: Phrase | None = None


class OmsClient:
    """Speaks to one OMS as the form says."""

    def __init__(self, access: Access) -> None:
        self._access = access
        try:
            self.spec = OmsSpec.read(access.config)
        except BadInput as error:
            raise _as_refusal(error) from error
        self._last: tuple[str, tuple[str, ...]] | None = None

    # -- trying --------------------------------------------------------------------------------

    def check(self) -> Phrase:
        """Read the first page of the last hour with everything the form says."""
        now = self._access.clock()
        page = self.list_orders(
            "modified",
            now - timedelta(hours=1),
            now,
            page=self.spec.first_page,
            cursor="",
        )
        return Phrase(gettext_noop("应答正常，最近一小时第一页 %(n)d 条"), {"n": len(page.rows)})

    def test_call(self, now: datetime) -> TestCall:
        """Call the list for the last day and show what came, masked, for picking fields from.

        Works while fields are still to be picked. Raises ConnectorError when nothing came, or when
        the form is not far enough to call.
        """
        if problems := self.spec.check_call():
            raise _as_refusal(refuse(problems))
        params = self._list_params(now - SAMPLE_REACH, now, self._place(0))
        response = self._send_list(params)
        try:
            value = read_json(response.body)
            check_depth(value)
        except BadInput as error:
            text = response.body[:2000].decode("utf-8", "replace")
            return TestCall(
                status=response.status,
                body=_PHONE.sub(r"\1****\2", text)[:500],
                trouble=Phrase(error.message, error.params),
            )
        return self._show(response, value)

    def _show(self, response: Response, value: object) -> TestCall:
        trouble: Phrase | None = None
        rows: list[Mapping[str, object]] = []
        guesses = guess_fields(value)
        try:
            calls.read_answer(response, self.spec)
            spec = self.spec
            if not spec.rows_path and guesses.get("rows_path"):
                spec = OmsSpec(rows_path=guesses["rows_path"])
            rows = calls.find_rows(value, spec, limit=MAX_ROWS)
        except (ConnectorError, BadInput) as error:
            trouble = Phrase(error.message, error.params)
        return TestCall(
            status=response.status,
            body=json.dumps(mask_answer(value), ensure_ascii=False, indent=2, default=str)[:_SHOWN],
            fields=tuple(flatten_sample(value)),
            row_fields=tuple(flatten_sample(rows[0])) if rows else (),
            guesses={k: v for k, v in guesses.items() if not getattr(self.spec, k)},
            rows=len(rows) if trouble is None else None,
            trouble=trouble,
        )

    # -- lists ---------------------------------------------------------------------------------

    def count_orders(self, stream: str, start: datetime, end: datetime) -> int:
        """How many rows a window has; raises ConnectorError where the OMS does not count."""
        self._check_form()
        value = self._read(self._send_list(self._list_params(start, end, self._place(0))))
        try:
            total = calls.find_total(value, self.spec)
        except PayloadError as error:
            raise refuse_answer(error) from error
        if total is None:
            raise ConnectorError(gettext_noop("这个 OMS 的列表不给总数"), code="no_total")
        return total

    def list_orders(
        self, stream: str, start: datetime, end: datetime, *, page: int, cursor: str
    ) -> Listed:
        """One page of a window, as `list_streams()` says it is to be read.

        Where pages are numbered and nothing counts the rows, the cursor is ours: the last page is
        found by walking to an empty one, then pages are read backwards, for rows that leave the
        window meanwhile then only move onto pages still to be read. A page that is short or
        repeated is an error, not an end.
        """
        self._check_form()
        name = f"{start} {end} {cursor or page}"
        if self.spec.paging_kind in {"page", "offset"}:
            if self.spec.total_path:
                return self._list_counted(start, end, page - self.spec.first_page, name)
            return self._list_uncounted(start, end, cursor, name)
        return self._list_by_cursor(start, end, cursor, name)

    def _list_counted(self, start: datetime, end: datetime, index: int, name: str) -> Listed:
        """A numbered page of a list that counts: it has to hold as many as the count says."""
        value = self._read(self._send_list(self._list_params(start, end, self._place(index))))
        found, total = self._take(value, name)
        size = self.spec.page_size
        wanted = min(size, max((total or 0) - index * size, 0))
        if len(found) < wanted:
            raise _refuse_page(
                gettext_noop(
                    "第 %(page)d 页应有 %(wanted)d 条，只来了 %(count)d 条。"
                    "若每次如此，请把每页条数改成对方允许的上限"
                ),
                page=index + 1,
                wanted=wanted,
                count=len(found),
            )
        return Listed(rows=tuple(found), total=total)

    def _list_uncounted(self, start: datetime, end: datetime, cursor: str, name: str) -> Listed:
        """A numbered page of a list that does not count; `cursor`: "walk:2", "back:1".

        "short:2" walks on after a page that was short: by offset, rows would be missing between.
        """
        kind, _, place = cursor.partition(":")
        index = int(place or 0)
        while True:
            value = self._read(self._send_list(self._list_params(start, end, self._place(index))))
            found, _ = self._take(value, f"{start} {end} {index}")
            if kind == "back" or not (index > 0 and not found):
                break
            # A short page is no end, the OMS may give fewer than asked: an empty one is.
            kind, index = "back", index - 1
        if kind == "short":
            raise _refuse_page(
                gettext_noop(
                    "对方每页给的比每页条数少，按偏移量会漏单：请把每页条数改成对方允许的上限"
                )
            )
        if kind == "back":
            following = f"back:{index - 1}" if index > 0 else ""
        elif index >= MAX_PAGES:
            raise _refuse_page(gettext_noop("翻了太多页还没有到头：请核对翻页设置"))
        else:
            is_short = self.spec.paging_kind == "offset" and len(found) < self.spec.page_size
            following = f"{'short' if is_short else 'walk'}:{index + 1}" if found else ""
        return Listed(rows=tuple(found), next_cursor=following)

    def _list_by_cursor(self, start: datetime, end: datetime, cursor: str, name: str) -> Listed:
        """A page of a list whose answers name the next one, or of a list without pages."""
        paging = self.spec.paging_kind
        if cursor and paging == "next":
            url = calls.resolve_link(self._access.base_url, self._list_url, cursor)
            value = self._read(self._send("GET", url, b"", operation="list"))
        else:
            place = {self.spec.page_name: cursor} if cursor else {}
            value = self._read(self._send_list(self._list_params(start, end, place)))
        found, total = self._take(value, name)
        if paging == "none":
            return Listed(rows=tuple(found), total=total)
        return Listed(
            rows=tuple(found),
            total=total,
            next_cursor=self._find_following(value, cursor, len(found)),
        )

    def _find_following(self, value: object, cursor: str, count: int) -> str:
        """What the answer names as the next page; "" at the end."""
        path = self.spec.cursor_path if self.spec.paging_kind == "cursor" else self.spec.next_path
        told = find(value, parse_path(path))
        if told is MISSING or told in (None, "", 0):  # False is 0
            return ""
        if not isinstance(told, str | int) or told is True or len(str(told)) > calls.MAX_URL:
            raise refuse_answer(
                PayloadError(
                    gettext_noop("应答里的 %(field)s 不是下一页的位置：请在样例里重新选"),
                    field=path,
                )
            )
        if self.spec.size_name and count < self.spec.page_size:
            raise _refuse_page(
                gettext_noop(
                    "这一页只有 %(count)d 条，却说还有下一页。若对方本来如此，请清空「每页条数的参数名」"
                ),
                count=count,
            )
        if str(told) == cursor:
            raise _refuse_page(gettext_noop("对方给的下一页就是这一页，翻页停不下来"))
        return str(told)

    def _check_form(self) -> None:
        if problems := self.spec.check():
            raise _as_refusal(refuse(problems))

    def _read(self, response: Response) -> object:
        return calls.read_answer(response, self.spec)

    def _take(self, value: object, name: str) -> tuple[list[ListedOrder], int | None]:
        """The rows of an answer and the count, where there is one. `name` tells pages apart."""
        try:
            found = self._read_rows(calls.find_rows(value, self.spec, limit=MAX_ROWS))
            total = calls.find_total(value, self.spec)
        except PayloadError as error:
            raise refuse_answer(error) from error
        self._check_repeated(name, found)
        return found, total

    def _check_repeated(self, name: str, found: list[ListedOrder]) -> None:
        """The same rows for another page: the OMS gave a page twice instead of the one asked for."""
        numbers = tuple(row.order_no for row in found)
        last, self._last = self._last, (name, numbers)
        if last is not None and numbers and last[1] == numbers and last[0] != name:
            window, previous = name.rpartition(" ")[0], last[0].rpartition(" ")[0]
            if window == previous and self.spec.paging_kind != "none":
                self._last = None
                raise _refuse_page(gettext_noop("对方把同一页给了两次，这一窗口要重读"))

    def _read_rows(self, rows: list[Mapping[str, object]]) -> list[ListedOrder]:
        found, is_any_named = [], not rows
        for row in rows:
            envelope = wrap_row(row, self.spec)
            number, updated = "", None
            try:
                number = read_order_no(envelope)
                is_any_named = True
                updated = read_updated_at(envelope)
            except PayloadError:  # this row's mapping will say so, and it alone is put aside
                pass
            found.append(ListedOrder(number, updated, envelope))
        if not is_any_named:
            raise refuse_answer(
                PayloadError(
                    gettext_noop("这一页没有一行在 %(field)s 有订单号：请在样例里重新选订单号"),
                    field=self.spec.order_no_path,
                )
            )
        return found

    @property
    def _list_url(self) -> str:
        return self._access.base_url + self.spec.list_path

    def _place(self, index: int) -> dict[str, str]:
        """The parameter that names a page; none for the first page of a cursor."""
        if self.spec.paging_kind == "page":
            return {self.spec.page_name: str(self.spec.first_page + index)}
        if self.spec.paging_kind == "offset":
            return {self.spec.page_name: str(index * self.spec.page_size)}
        return {}

    def _list_params(
        self, start: datetime, end: datetime, place: Mapping[str, str]
    ) -> dict[str, str]:
        params = self.spec.fixed_params() | calls.list_window(self.spec, start, end)
        if self.spec.size_name and self.spec.paging_kind != "none":
            params[self.spec.size_name] = str(self.spec.page_size)
        return params | dict(place)

    def _send_list(self, params: Mapping[str, str]) -> Response:
        if self.spec.list_method == "POST":
            return self._send("POST", self._list_url, calls.write_body(params), operation="list")
        mark = "&" if urlsplit(self._list_url).query else "?"
        url = self._list_url + (f"{mark}{urlencode(params)}" if params else "")
        return self._send("GET", url, b"", operation="list")

    # -- one order -----------------------------------------------------------------------------

    def read_order(self, order_no: str) -> Mapping[str, object] | None:
        """The order as it is now; None when the OMS has none. Needs the path of single orders."""
        if not self.spec.detail_path:
            raise ConnectorError(
                gettext_noop("这个 OMS 没有填写「单个订单的路径」，不能单独查一张订单"),
                code="no_detail",
            )
        url = self._access.base_url + _fill_address(self.spec.detail_path, order_no, "", "")
        response = self._send("GET", url, b"", operation="detail", order_no=order_no)
        if response.status == 404:
            return None
        value = calls.read_answer(response, self.spec)
        row = find(value, parse_path(self.spec.detail_row_path))
        if row is None or row is MISSING:
            return None
        if isinstance(row, list):  # a search that gives the one order
            row = row[0] if row else None
        if row is None:
            return None
        if not isinstance(row, Mapping):
            raise refuse_answer(
                PayloadError(
                    gettext_noop("应答里的 %(field)s 不是对象：请重新填写订单的位置"),
                    field=self.spec.detail_row_path or "$",
                )
            )
        envelope = wrap_row(row, self.spec)
        try:
            told = read_order_no(envelope)
        except PayloadError as error:
            raise refuse_answer(error) from error
        if told != order_no:
            raise refuse_answer(
                PayloadError(gettext_noop("OMS 答的不是所问的订单"), field=self.spec.order_no_path)
            )
        return envelope

    # -- holding -------------------------------------------------------------------------------

    def hold(self, order_no: str, *, reason: str, key: str) -> None:
        """Stop an order there."""
        self._change("hold", order_no, reason, key)

    def release(self, order_no: str, *, reason: str, key: str) -> None:
        """Let a stopped order go on."""
        self._change("release", order_no, reason, key)

    def _change(self, name: str, order_no: str, reason: str, key: str) -> None:
        path = getattr(self.spec, f"{name}_path")
        if not path:
            raise VendorRefusal(CANNOT_HOLD, vendor_code="no_hold")
        self._check_form()
        values = {"{order_no}": order_no, "{reason}": reason, "{key}": key}
        template = json.loads(getattr(self.spec, f"{name}_body") or "{}")
        content = fill(template, values)
        response = self._send(
            getattr(self.spec, f"{name}_method"),
            self._access.base_url + _fill_address(path, order_no, reason, key),
            calls.write_body(content) if isinstance(content, Mapping) else b"{}",
            operation=name,
            order_no=order_no,
            key=key,
        )
        if not response.body.strip() and 200 <= response.status < 300 and not self.spec.ok_path:
            return  # 204: done, and nothing to say
        calls.read_answer(response, self.spec)

    # -- calls ---------------------------------------------------------------------------------

    def _send(
        self,
        method: str,
        url: str,
        body: bytes,
        *,
        operation: str,
        order_no: str = "",
        key: str = "",
    ) -> Response:
        kind = self.spec.auth_kind
        secret = "" if kind == "none" else get_secret(self._access, "auth_secret", SECRET_LABEL)
        url, headers = calls.authorise(
            self.spec,
            secret=secret,
            method=method,
            url=url,
            body=body,
            now=self._access.clock(),
            nonce=randomness.token_hex(8),
        )
        headers["Accept"] = "application/json"
        if body:
            headers["Content-Type"] = "application/json; charset=utf-8"
        return self._access.send(
            Outgoing(
                operation=operation,
                method=method,
                url=url,
                headers=headers,
                body=body or None,
                order_nos=(order_no,) if order_no else (),
                is_effect=bool(key),
                key=key,
            )
        )


SECRET_LABEL = gettext_noop("令牌、API Key、密码或签名密钥")


def _fill_address(template: str, order_no: str, reason: str, key: str) -> str:
    """A path with its placeholders, each as one part that cannot become another path."""
    if order_no in {".", ".."}:
        raise ConnectorError(gettext_noop("订单号不能用在路径里"), code="bad_order_no")
    values = {"{order_no}": order_no, "{reason}": reason, "{key}": key}
    return str(fill(template, {name: quote(text, safe="") for name, text in values.items()}))


def _refuse_page(message: str, **params: int) -> ConnectorError:
    error = ConnectorError(message, code="incomplete_page", retry=Retry.SAFE)
    error.params = dict(params)
    return error


def _as_refusal(error: BadInput) -> ConnectorError:
    return ConnectorError(error.message, code=error.code, retry=Retry.NEVER, **error.params)
