"""What the form says about an OMS: address, authentication, list, pages, fields, holds. Pure data.

`OmsSpec.read()` takes the form's texts as they are, `check()` says everything that is wrong with
them, naming the field and what to write instead.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

from config.errors import BadInput, Phrase, gettext_noop, list_sentences
from connectors.systems.oms.paths import parse_path

ORDER_NO = "{order_no}"
PLACEHOLDERS = frozenset({ORDER_NO, "{reason}", "{key}"})
MOMENTS = ("received_path", "reviewed_path", "picked_path", "shipped_path")

AUTH_KINDS: Mapping[str, str] = {
    "none": gettext_noop("不需要"),
    "bearer": gettext_noop("Bearer 令牌（Authorization 头）"),
    "header": gettext_noop("API Key（自定义请求头）"),
    "basic": gettext_noop("用户名和密码（Basic）"),
    "signature": gettext_noop("签名参数（HMAC-SHA256）"),
}
TIME_FORMATS: Mapping[str, str] = {
    "clock": gettext_noop("2025-11-11 00:15:00（北京时间）"),
    "rfc3339": gettext_noop("2025-11-11T00:15:00+08:00"),
    "unix": gettext_noop("Unix 秒"),
    "unix_ms": gettext_noop("Unix 毫秒"),
}
PAGING_KINDS: Mapping[str, str] = {
    "none": gettext_noop("不分页，一次给全"),
    "page": gettext_noop("页码"),
    "offset": gettext_noop("偏移量"),
    "cursor": gettext_noop("游标（应答里给下一页的游标）"),
    "next": gettext_noop("下一页链接（应答里给网址）"),
}
METHODS: Mapping[str, str] = {
    "GET": gettext_noop("GET，参数在网址里"),
    "POST": gettext_noop("POST，参数在 JSON 里"),
}
CHANGE_METHODS: Mapping[str, str] = {"POST": "POST", "PUT": "PUT", "PATCH": "PATCH"}
SIGN_JOINTS: Mapping[str, str] = {
    "lines": gettext_noop("请求方式、路径、参数、内容各占一行"),
    "pairs": gettext_noop("名=值，用 & 连接"),
    "plain": gettext_noop("名值直接相连"),
}

_PARAMETER = re.compile(r"[A-Za-z_][\w.\-\[\]]{0,60}", re.ASCII)
_HEADER = re.compile(r"[A-Za-z][A-Za-z0-9\-]{0,60}", re.ASCII)
_OUR_HEADERS = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "accept-encoding", "user-agent"}
)
_ADDRESS = re.compile(r"/(?!/)[^\s\\#]{0,300}", re.ASCII)
_HOLDER = re.compile(r"\{[^{}]*\}")
MAX_PAGE_SIZE = 1000

# What a person reads for each field of the form; the adapter's fields use the same words.
LABELS: Mapping[str, str] = {
    "auth_kind": gettext_noop("认证方式"),
    "auth_header": gettext_noop("放 API Key 的请求头"),
    "auth_user": gettext_noop("用户名"),
    "sign_key": gettext_noop("签名用的应用编号"),
    "sign_key_name": gettext_noop("应用编号的参数名"),
    "sign_time_name": gettext_noop("时间戳的参数名"),
    "sign_nonce_name": gettext_noop("随机串的参数名"),
    "sign_name": gettext_noop("签名的参数名"),
    "sign_joint": gettext_noop("签名前怎样拼接"),
    "list_path": gettext_noop("订单列表的路径"),
    "list_method": gettext_noop("列表的请求方式"),
    "list_params": gettext_noop("列表的固定参数"),
    "start_name": gettext_noop("开始时间的参数名"),
    "end_name": gettext_noop("结束时间的参数名"),
    "time_format": gettext_noop("时间参数的格式"),
    "paging_kind": gettext_noop("翻页方式"),
    "page_name": gettext_noop("页码、偏移量或游标的参数名"),
    "size_name": gettext_noop("每页条数的参数名"),
    "page_size": gettext_noop("每页条数"),
    "first_page": gettext_noop("第一页的页码"),
    "rows_path": gettext_noop("订单列表在应答里的位置"),
    "total_path": gettext_noop("总数在应答里的位置"),
    "cursor_path": gettext_noop("下一页游标在应答里的位置"),
    "next_path": gettext_noop("下一页链接在应答里的位置"),
    "ok_path": gettext_noop("成功标志在应答里的位置"),
    "ok_value": gettext_noop("成功标志的值"),
    "code_path": gettext_noop("错误码在应答里的位置"),
    "order_no_path": gettext_noop("订单号"),
    "updated_path": gettext_noop("更新时间"),
    "received_path": gettext_noop("接收时间"),
    "reviewed_path": gettext_noop("审单时间"),
    "picked_path": gettext_noop("拣货时间"),
    "shipped_path": gettext_noop("发货时间"),
    "status_path": gettext_noop("状态"),
    "detail_path": gettext_noop("单个订单的路径"),
    "detail_row_path": gettext_noop("订单在单个订单应答里的位置"),
    "hold_path": gettext_noop("挂起的路径"),
    "hold_method": gettext_noop("挂起的请求方式"),
    "hold_body": gettext_noop("挂起的内容"),
    "release_path": gettext_noop("解除挂起的路径"),
    "release_method": gettext_noop("解除挂起的请求方式"),
    "release_body": gettext_noop("解除挂起的内容"),
}


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with one field of the form, and what to write instead."""

    field: str
    words: Phrase

    @property
    def sentence(self) -> Phrase:
        """「字段」：what to do."""
        return Phrase(
            gettext_noop("「%(field)s」%(words)s"),
            {"field": Phrase(LABELS[self.field]), "words": self.words},
        )


@dataclass(frozen=True, slots=True)
class OmsSpec:
    """The form, read. Every field is a text as it was written but for the two numbers."""

    auth_kind: str = "none"
    auth_header: str = "X-Api-Key"
    auth_user: str = ""
    sign_key: str = ""
    sign_key_name: str = "app_key"
    sign_time_name: str = "timestamp"
    sign_nonce_name: str = ""
    sign_name: str = "sign"
    sign_joint: str = "lines"
    list_path: str = ""
    list_method: str = "GET"
    list_params: str = ""
    start_name: str = ""
    end_name: str = ""
    time_format: str = "clock"
    paging_kind: str = "none"
    page_name: str = ""
    size_name: str = ""
    page_size: int = 100
    first_page: int = 1
    rows_path: str = ""
    total_path: str = ""
    cursor_path: str = ""
    next_path: str = ""
    ok_path: str = ""
    ok_value: str = ""
    code_path: str = ""
    order_no_path: str = ""
    updated_path: str = ""
    received_path: str = ""
    reviewed_path: str = ""
    picked_path: str = ""
    shipped_path: str = ""
    status_path: str = ""
    detail_path: str = ""
    detail_row_path: str = ""
    hold_path: str = ""
    hold_method: str = "POST"
    hold_body: str = ""
    release_path: str = ""
    release_method: str = "POST"
    release_body: str = ""

    @classmethod
    def read(cls, config: Mapping[str, Any]) -> OmsSpec:
        """The form's values; an empty one means the default. Raises BadInput for no number."""
        values: dict[str, Any] = {}
        for field in fields(cls):
            text = str(config.get(field.name) if config.get(field.name) is not None else "").strip()
            if not text:
                continue
            if field.name in {"page_size", "first_page"}:
                if not (text.isascii() and text.isdigit() and len(text) < 6):
                    raise BadInput(
                        gettext_noop("「%(field)s」应为整数"),
                        code="bad_spec",
                        field=Phrase(LABELS[field.name]),
                    )
                values[field.name] = int(text)
            else:
                values[field.name] = text
        return cls(**values)

    @property
    def can_hold(self) -> bool:
        """Whether the OMS can be told to stop an order."""
        return bool(self.hold_path)

    def fixed_params(self) -> dict[str, str]:
        """The parameters every list call carries."""
        pairs = (line.partition("=") for line in self.list_params.splitlines() if line.strip())
        return {name.strip(): value.strip() for name, _, value in pairs}

    def check_call(self) -> list[Problem]:
        """What keeps the list from being called at all; paths and fields may still be missing."""
        return [*self._check_auth(), *self._check_list(), *self._check_paging()]

    def check(self) -> list[Problem]:
        """Everything that is wrong with the form."""
        return [*self.check_call(), *self._check_fields(), *self._check_templates()]

    def _check_auth(self) -> Iterator[Problem]:
        yield from self._check_choice("auth_kind", AUTH_KINDS)
        if self.auth_kind == "header" and (
            not _HEADER.fullmatch(self.auth_header) or self.auth_header.lower() in _OUR_HEADERS
        ):
            yield _say("auth_header", gettext_noop("不是可用的请求头名：例如 X-Api-Key"))
        if self.auth_kind == "basic" and not self.auth_user:
            yield _say("auth_user", gettext_noop("还没有填写"))
        if self.auth_kind == "signature":
            if not self.sign_key:
                yield _say("sign_key", gettext_noop("还没有填写"))
            yield from self._check_choice("sign_joint", SIGN_JOINTS)
            for name in ("sign_key_name", "sign_time_name", "sign_name"):
                yield from self._check_parameter(name)
            if self.sign_nonce_name:
                yield from self._check_parameter("sign_nonce_name")

    def _check_list(self) -> Iterator[Problem]:
        if not self.list_path:
            yield _say("list_path", gettext_noop("还没有填写：以 / 开头，例如 /api/orders"))
        elif not _ADDRESS.fullmatch(self.list_path) or _HOLDER.search(self.list_path):
            yield _say(
                "list_path",
                gettext_noop("应以一个 / 开头，不含网址、空格和花括号，例如 /api/orders"),
            )
        yield from self._check_choice("list_method", METHODS)
        yield from self._check_choice("time_format", TIME_FORMATS)
        for name in ("start_name", "end_name"):
            if getattr(self, name):
                yield from self._check_parameter(name)
        if bool(self.start_name) != bool(self.end_name):
            yield _say(
                "start_name" if self.end_name else "end_name",
                gettext_noop("要和另一个时间参数一起填写，或都不填"),
            )
        for number, line in enumerate(self.list_params.splitlines(), 1):
            name, mark, _ = line.partition("=")
            if line.strip() and not (mark and _PARAMETER.fullmatch(name.strip())):
                yield Problem(
                    "list_params",
                    Phrase(
                        gettext_noop("第 %(line)d 行应为“参数名=值”，例如 type=sale"),
                        {"line": number},
                    ),
                )

    def _check_paging(self) -> Iterator[Problem]:
        yield from self._check_choice("paging_kind", PAGING_KINDS)
        if self.paging_kind in {"page", "offset", "cursor"}:
            if not self.page_name:
                yield _say("page_name", gettext_noop("还没有填写，例如 page、offset 或 cursor"))
            else:
                yield from self._check_parameter("page_name")
        if self.size_name:
            yield from self._check_parameter("size_name")
        if not 1 <= self.page_size <= MAX_PAGE_SIZE:
            yield Problem(
                "page_size",
                Phrase(gettext_noop("应在 1 到 %(most)d 之间"), {"most": MAX_PAGE_SIZE}),
            )
        if self.first_page not in {0, 1}:
            yield _say("first_page", gettext_noop("应为 0 或 1"))

    def _check_fields(self) -> Iterator[Problem]:
        if not self.order_no_path:
            yield _say("order_no_path", gettext_noop("还没有选：在样例里点一下订单号"))
        if not any(getattr(self, name) for name in MOMENTS):
            yield _say(
                "received_path", gettext_noop("还没有选：接收、审单、拣货、发货时间至少选一个")
            )
        if self.paging_kind == "cursor" and not self.cursor_path:
            yield _say("cursor_path", gettext_noop("还没有选：按游标翻页时要知道下一页的游标"))
        if self.paging_kind == "next" and not self.next_path:
            yield _say("next_path", gettext_noop("还没有选：按链接翻页时要知道下一页的链接"))
        if bool(self.ok_path) != bool(self.ok_value):
            yield _say(
                "ok_value" if self.ok_path else "ok_path",
                gettext_noop("要和另一项一起填写，例如位置 code、值 0"),
            )
        for field in fields(self):
            if not field.name.endswith("_path") or field.name in _ADDRESSES:
                continue
            try:
                parse_path(getattr(self, field.name))
            except BadInput as error:
                yield Problem(field.name, Phrase(error.message, error.params))

    def _check_templates(self) -> Iterator[Problem]:
        if self.detail_path:
            yield from self._check_address("detail_path")
            if ORDER_NO not in self.detail_path:
                yield _say("detail_path", gettext_noop("要用 {order_no} 标出订单号的位置"))
        if bool(self.hold_path) != bool(self.release_path):
            yield _say(
                "release_path" if self.hold_path else "hold_path",
                gettext_noop("要和另一项一起填写：能挂起就要能解除"),
            )
        for name in ("hold", "release"):
            if not getattr(self, f"{name}_path"):
                continue
            yield from self._check_address(f"{name}_path")
            yield from self._check_choice(f"{name}_method", CHANGE_METHODS)
            body = getattr(self, f"{name}_body")
            try:
                template = json.loads(body) if body else {}
            except (ValueError, RecursionError):
                template = None
            if not isinstance(template, dict):
                yield _say(
                    f"{name}_body",
                    gettext_noop(
                        '应为 JSON 对象，例如 {"orderNo": "{order_no}", "reason": "{reason}"}'
                    ),
                )
            elif ORDER_NO not in getattr(self, f"{name}_path") + body:
                yield _say(
                    f"{name}_path", gettext_noop("要用 {order_no} 标出订单号，在路径或内容里")
                )

    def _check_address(self, name: str) -> Iterator[Problem]:
        text = getattr(self, name)
        strange = [h for h in _HOLDER.findall(text) if h not in PLACEHOLDERS]
        if not _ADDRESS.fullmatch(text) or strange:
            yield _say(
                name,
                gettext_noop(
                    "应以一个 / 开头，不含网址和空格；花括号里只能写 order_no、reason、key"
                ),
            )

    def _check_choice(self, name: str, choices: Mapping[str, str]) -> Iterator[Problem]:
        if getattr(self, name) not in choices:
            yield _say(name, gettext_noop("请从列表中选择"))

    def _check_parameter(self, name: str) -> Iterator[Problem]:
        if not _PARAMETER.fullmatch(getattr(self, name)):
            yield _say(name, gettext_noop("应为参数名：字母、数字、下划线，例如 start_time"))


_ADDRESSES = frozenset({"list_path", "detail_path", "hold_path", "release_path"})


def _say(field: str, message: str) -> Problem:
    return Problem(field, Phrase(message))


def refuse(problems: list[Problem]) -> BadInput:
    """The error for a form with problems: the first ones in words, the fields in `fields`."""
    return BadInput(
        gettext_noop("接口设置还不完整：%(problems)s"),
        code="bad_spec",
        problems=list_sentences([problem.sentence for problem in problems], 5),
    )


def fill(template: object, values: Mapping[str, str]) -> object:
    """A JSON template with its placeholders replaced inside its texts, at any depth."""
    if isinstance(template, str):
        return _HOLDER.sub(lambda m: values.get(m.group(0), m.group(0)), template)
    if isinstance(template, Mapping):
        return {key: fill(item, values) for key, item in template.items()}
    if isinstance(template, list):
        return [fill(item, values) for item in template]
    return template
