"""The generic OMS as an adapter: its form, and how its list may be read. Pure data."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from config.errors import BadInput, gettext_noop
from connectors.adapters import (
    PACE_FIELDS,
    Connector,
    CredentialField,
    ListRules,
    Paging,
    RateLimit,
)
from connectors.systems.oms.client import SECRET_LABEL, OmsClient
from connectors.systems.oms.mapping import map_row
from connectors.systems.oms.spec import (
    AUTH_KINDS,
    CHANGE_METHODS,
    LABELS,
    MAX_PAGE_SIZE,
    METHODS,
    PAGING_KINDS,
    SIGN_JOINTS,
    TIME_FORMATS,
    OmsSpec,
)

_CHOICES: Mapping[str, Mapping[str, str]] = {
    "auth_kind": AUTH_KINDS,
    "sign_joint": SIGN_JOINTS,
    "list_method": METHODS,
    "time_format": TIME_FORMATS,
    "paging_kind": PAGING_KINDS,
    "hold_method": CHANGE_METHODS,
    "release_method": CHANGE_METHODS,
}
_LONG = frozenset({"list_params", "hold_body", "release_body"})
_PLACEHOLDERS: Mapping[str, str] = {
    "auth_header": "X-Api-Key",
    "sign_key_name": "app_key",
    "sign_time_name": "timestamp",
    "sign_nonce_name": "nonce",
    "sign_name": "sign",
    "list_path": "/api/orders",
    "list_params": "type=sale",
    "start_name": "start_time",
    "end_name": "end_time",
    "page_name": "page",
    "size_name": "page_size",
    "page_size": "100",
    "first_page": "1",
    "rows_path": "data.orders",
    "total_path": "data.total",
    "cursor_path": "data.next_cursor",
    "next_path": "links.next",
    "ok_path": "code",
    "ok_value": "0",
    "code_path": "code",
    "order_no_path": "order_no",
    "updated_path": "updated_at",
    "received_path": "created_at",
    "reviewed_path": "audit.time",
    "picked_path": "wms.picked_at",
    "shipped_path": "wms.shipped_at",
    "status_path": "status",
    "detail_path": "/api/orders/{order_no}",
    "detail_row_path": "data",
    "hold_path": "/api/orders/{order_no}/hold",
    "hold_body": '{"reason": "{reason}"}',
    "release_path": "/api/orders/{order_no}/release",
    "release_body": '{"reason": "{reason}"}',
}
_HELP: Mapping[str, str] = {
    "auth_kind": gettext_noop("看对方接口文档的“鉴权”一节；拿不准先选一种试调用"),
    "sign_key": gettext_noop("对方发的 appKey、appId 一类的编号"),
    "sign_nonce_name": gettext_noop("对方不要求随机串就留空"),
    "sign_joint": gettext_noop("参数按名称排序；结果是小写十六进制的 HMAC-SHA256"),
    "list_path": gettext_noop("接口地址之后的部分，以 / 开头"),
    "list_params": gettext_noop("每行一个，参数名=值；没有就留空"),
    "start_name": gettext_noop("按更新时间查询的参数；两个一起填，或都留空"),
    "size_name": gettext_noop("留空则不传，由对方决定每页多少"),
    "rows_path": gettext_noop("试调用后在样例里点选；应答本身就是列表时留空"),
    "total_path": gettext_noop("填了能发现漏给的页；没有总数就留空"),
    "ok_path": gettext_noop("对方用 HTTP 200 报错时填写，例如位置 code、值 0"),
    "order_no_path": gettext_noop("在样例的一行订单里点选；要和渠道的订单号一致"),
    "received_path": gettext_noop("OMS 接到订单的时间；四个时间至少选一个"),
    "detail_path": gettext_noop("选填。{order_no} 处换成订单号；填了才能单独核对一张订单"),
    "hold_path": gettext_noop("选填。填了挂起和解除，红色订单就能在 OMS 里停下"),
    "hold_body": gettext_noop("JSON。可以写 {order_no}、{reason}、{key}（重复调用时不变的编号）"),
}
_SECRET = CredentialField(
    "auth_secret",
    SECRET_LABEL,
    is_secret=True,
    is_required=False,
    help=gettext_noop("和认证方式对应的那一个；不需要认证就留空"),
)


def _make_field(name: str, label: str) -> CredentialField:
    return CredentialField(
        name,
        label,
        is_required=name == "list_path",
        help=_HELP.get(name, ""),
        placeholder=_PLACEHOLDERS.get(name, ""),
        is_long=name in _LONG,
        choices=tuple(_CHOICES.get(name, {}).items()),
    )


def _list_fields() -> tuple[CredentialField, ...]:
    fields = [_make_field(name, label) for name, label in LABELS.items()]
    fields.insert(1, _SECRET)  # beside the kind of authentication
    return (*fields, *PACE_FIELDS)


def list_streams(config: Mapping[str, Any]) -> Mapping[str, ListRules]:
    """How the list of this OMS may be read: by its kind of pages. The rules of a form that cannot
    be read are those of an empty one: the client says what is wrong with it."""
    try:
        spec = OmsSpec.read(config)
    except BadInput:
        spec = OmsSpec()
    is_numbered = spec.paging_kind in {"page", "offset"}
    is_counted = is_numbered and bool(spec.total_path)
    return {
        "modified": ListRules(
            max_window=timedelta(days=1),
            overlap=timedelta(minutes=10),
            settle=timedelta(minutes=1),
            reach=timedelta(days=90),
            # Of pages that are not counted any number of rows may come.
            page_size=min(max(spec.page_size, 1), MAX_PAGE_SIZE) if is_counted else 1,
            paging=Paging.BACKWARD if is_counted else Paging.CURSOR,
            first_page=spec.first_page if is_counted else 1,
        )
    }


GENERIC_OMS = Connector(
    code="generic_oms",
    label=gettext_noop("通用 OMS / ERP"),
    kind="oms",
    base_url="",
    fields=_list_fields(),
    open=OmsClient,
    map_order=map_row,
    streams=list_streams({}),
    streams_of=list_streams,
    limit=RateLimit(per_second=5.0, burst=10),
    help=gettext_noop(
        "任何有 JSON 订单列表接口的 OMS 或 ERP：填地址、认证和翻页，试调用一次，在样例里点出订单号和时间"
    ),
)
