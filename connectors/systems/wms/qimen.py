"""Qimen (奇门), the gateway between ERP and WMS: signatures, requests, reports. Pure.

Source: channels.md 10.1 (signature with a computed vector, methods, fields, process states). The
states PARTFULFILLED and FULFILLED of incoming goods were seen in a published client of the
callbacks; they say nothing of an order that leaves.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from xml.etree.ElementTree import Element, ParseError, SubElement, tostring

from defusedxml import ElementTree as SafeTree
from defusedxml.common import DefusedXmlException

from config.errors import gettext_noop
from connectors.http import Retry
from connectors.orders.canonical import CanonicalReceipt
from connectors.wire import (
    SHANGHAI,
    Fault,
    Mapped,
    Notice,
    PayloadError,
    Reader,
    SignatureRefused,
    Verified,
    is_same,
)

TOLERANCE = timedelta(minutes=10)  # of TOP, on whose gateway Qimen runs (channels.md 2)
PREFIX = "taobao.qimen."
DECLARATION = b'<?xml version="1.0" encoding="utf-8"?>'
_NOT_XML = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_MAX_BODY = 2_000_000
_MAX_DEPTH = 30


def sign_call(params: Mapping[str, str], body: bytes, secret: str) -> str:
    """Upper-case MD5 over secret + sorted names and values + raw body + secret.

    Values as they are before URL-encoding; `sign` itself is left out.
    """
    text = "".join(f"{name}{params[name]}" for name in sorted(params) if name != "sign")
    message = secret.encode() + text.encode("utf-8", "surrogatepass") + body + secret.encode()
    return hashlib.md5(message, usedforsecurity=False).hexdigest().upper()


def build_params(
    *, app_key: str, secret: str, customer_id: str, method: str, body: bytes, now: datetime
) -> dict[str, str]:
    """The signed URL parameters of one call; encode them once, when the URL is written."""
    params = {
        "app_key": app_key,
        "customerId": customer_id,
        "format": "xml",
        "method": PREFIX + method.removeprefix(PREFIX),
        "sign_method": "md5",
        "timestamp": now.astimezone(SHANGHAI).strftime("%Y-%m-%d %H:%M:%S"),
        "v": "2.0",
    }
    return params | {"sign": sign_call(params, body, secret)}


def verify_callback(
    params: Mapping[str, str],
    body: bytes,
    *,
    app_key: str,
    secrets: Sequence[str],
    now: datetime,
) -> Verified:
    """Check a callback: its decoded URL parameters and its raw body.

    A callback carries no number of its own: the replay key is the signature, which covers time
    and body. Raises SignatureRefused.
    """
    sign = params.get("sign", "")
    if not sign or params.get("app_key", app_key) != app_key:
        raise SignatureRefused(
            gettext_noop("奇门回调缺少签名，或不是发给这个应用的"), code="signature_missing"
        )
    if params.get("sign_method", "md5").lower() != "md5":
        raise SignatureRefused(gettext_noop("奇门回调的签名方式不是 md5"))
    held = [is_same(sign_call(params, body, secret), sign.upper()) for secret in secrets]
    if not any(held):
        raise SignatureRefused(gettext_noop("奇门回调的签名不符，请核对密钥"))
    try:
        signed_at = Reader(params).clock("timestamp")
    except PayloadError as error:
        raise SignatureRefused(
            gettext_noop("奇门回调的时间读不出来"), code="signature_missing"
        ) from error
    if signed_at is None or abs(signed_at - now) > TOLERANCE:
        raise SignatureRefused(
            gettext_noop("签名的时间与本机相差超过 %(minutes)s 分钟，请核对双方时钟"),
            code="signature_stale",
            minutes=int(TOLERANCE.total_seconds() // 60),
        )
    return Verified(replay_keys=(f"qimen:{sign.upper()}",), signed_at=signed_at)


# -- XML ---------------------------------------------------------------------------------------


def write_request(fields: Mapping[str, object]) -> bytes:
    """The body of a call: `<request>` with the fields in their order; nested mappings, lists of
    one element name, and texts. None is left out."""
    root = Element("request")
    _fill(root, fields)
    return DECLARATION + tostring(root, encoding="unicode").encode()


def _fill(parent: Element, fields: Mapping[str, object]) -> None:
    for name, value in fields.items():
        for item in value if isinstance(value, list | tuple) else [value]:
            if item is None:
                continue
            child = SubElement(parent, name)
            if isinstance(item, Mapping):
                _fill(child, item)
            else:
                child.text = _NOT_XML.sub("", str(item))


def write_hold(
    *, order_no: str, warehouse: str, owner: str, reason: str, restore: bool = False
) -> bytes:
    """The body of order.pending: hold a delivery order in the warehouse, or restore it."""
    return write_request(
        {
            "actionType": "restore" if restore else "pending",
            "warehouseCode": warehouse,
            "ownerCode": owner,
            "orderCode": order_no,
            "orderType": "JYCK",
            "reason": reason,
        }
    )


def read_xml(body: bytes) -> dict[str, object]:
    """The content of the root element as nested mappings; repeated elements become lists.

    Entities, external references and deep nesting are refused. Raises PayloadError.
    """
    if len(body) > _MAX_BODY:
        raise _refuse_xml()
    try:
        root = SafeTree.fromstring(body, forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError, LookupError) as error:
        raise _refuse_xml() from error
    value = _read_element(root, _MAX_DEPTH)
    return value if isinstance(value, dict) else {}


def _refuse_xml() -> PayloadError:
    return PayloadError(gettext_noop("报文不是可读的 XML"), code="payload_xml", field="$")


def _read_element(element: Element, depth: int) -> object:
    if depth == 0:
        raise _refuse_xml()
    if len(element) == 0:
        return (element.text or "").strip()
    value: dict[str, object] = {}
    for child in element:
        item = _read_element(child, depth - 1)
        if child.tag in value:
            known = value[child.tag]
            value[child.tag] = [*known, item] if isinstance(known, list) else [known, item]
        else:
            value[child.tag] = item
    return value


# -- answers -----------------------------------------------------------------------------------

SUCCESS_ANSWER = (
    DECLARATION + b"<response><flag>success</flag><code>0</code><message>ok</message></response>"
)

# The gateway's own codes are TOP's (channels.md 3.3): repetition is safe for what only reads and
# for calls the WMS knows by their order number.
FAULTS: Mapping[str, Fault] = {
    # Whether it means seconds or the day is not told: waiting a little is tried first.
    "7": Fault(Retry.LATER, gettext_noop("调用太快，被奇门限流")),
    "10": Fault(Retry.SAFE, gettext_noop("奇门服务不可用")),
    "15": Fault(Retry.AMBIGUOUS, gettext_noop("奇门转到仓库时出错，可能已经生效：请先查询")),
    "25": Fault(Retry.NEVER, gettext_noop("奇门拒绝了签名：请核对密钥")),
    "31": Fault(Retry.NEVER, gettext_noop("请求时间与奇门相差太大：请校准时钟"), resync_clock=True),
}
_WMS_REFUSAL = Fault(Retry.NEVER, gettext_noop("仓库拒绝了请求"))
# How warehouses say that they have no such order: Qimen has no code of its own for it.
_NO_ORDER_CODES = frozenset({"ORDER_NOT_EXIST", "ORDER_NOT_EXISTS", "ORDER_NOT_FOUND"})
_NO_ORDER_WORDS = re.compile(
    r"(订单|单据|发货单|出库单|单号)[^，。；,;]{0,40}(不存在|没有找到|未找到)"
    r"|order[^,.;]{0,40} (does )?not (exist|found)",
    re.IGNORECASE,
)


def is_no_order(content: Mapping[str, object]) -> bool:
    """Whether a failure says that the warehouse has no such order: that is an answer."""
    answer = Reader(content)
    code = answer.identifier("code", limit=60)
    if code.upper() in _NO_ORDER_CODES:
        return True
    return code not in FAULTS and bool(_NO_ORDER_WORDS.search(answer.text("message", limit=300)))


def read_answer(body: bytes) -> tuple[Mapping[str, object], Fault | None]:
    """The answer and, unless its flag is success, what the failure allows."""
    content = read_xml(body)
    answer = Reader(content)
    if answer.text("flag").lower() == "success":
        return content, None
    return content, FAULTS.get(answer.identifier("code", limit=60), _WMS_REFUSAL)


# -- reports -----------------------------------------------------------------------------------

# processStatus -> the moment of a receipt it tells, or "" for one that is known and tells none.
PROCESS_STATES: Mapping[str, str] = {
    "ACCEPT": "received_at",
    "PRINT": "",
    "PICK": "picked_at",
    "CHECK": "",
    "PACKAGE": "",
    "WEIGH": "",
    "READY": "",
    "DELIVERED": "shipped_at",
    "PARTDELIVERED": "",  # a part has left: the whole has not
    "EXCEPTION": "",
    "REFUSE": "",
    "REJECT": "",
    "CLOSED": "",
    "CANCELED": "",
    "SIGN": "",
    "TMSCANCELED": "",
    "TMSCANCELFAILED": "",
    "OTHER": "",
    "PARTFULFILLED": "",
    "FULFILLED": "",
}
# The order of the steps: of two reports of one second the further one is the later.
STATE_RANKS: Mapping[str, int] = {state: place for place, state in enumerate(
    ("OTHER", "ACCEPT", "PRINT", "PICK", "CHECK", "PACKAGE", "WEIGH", "READY", "PARTDELIVERED",
     "DELIVERED", "SIGN", "EXCEPTION", "REFUSE", "REJECT", "CLOSED", "CANCELED")
)}  # fmt: skip
# Until here order.pending works; from PICK on it is usually refused (channels.md 10.1).
HOLDABLE_STATES = frozenset({"ACCEPT", "PRINT"})


@dataclass(frozen=True, slots=True)
class _Step:
    """One step a warehouse took: its state, its time, and the moment of a receipt it tells."""

    state: str
    at: datetime | None
    column: str
    notices: tuple[Notice, ...]

    @property
    def rank(self) -> int:
        return STATE_RANKS.get(self.state, 0)


def _read_step(step: Reader) -> _Step:
    state = step.required_identifier("processStatus", limit=40).upper()
    return _Step(
        state, step.clock("operateTime"), PROCESS_STATES.get(state, ""),
        _note_state(step, "processStatus", state),
    )  # fmt: skip


def _note_state(reader: Reader, key: str, state: str) -> tuple[Notice, ...]:
    """A notice for a state nobody listed."""
    return (
        ()
        if not state or state in PROCESS_STATES
        else (Notice("unmapped_status", reader.path_of(key), state),)
    )


def _tell(*, warehouse: str = "", **told: str) -> dict[str, str]:
    """What a receipt keeps beside its moments."""
    return {**told, **({"wms_warehouse": warehouse} if warehouse else {})}


def map_process_report(content: Mapping[str, object]) -> Mapped[CanonicalReceipt]:
    """orderprocess.report: one step of one delivery order, at its own time.

    A state nobody listed tells no moment: the receipt keeps it in `custom` and a notice goes out.
    """
    report = Reader(content)
    order, step = report.one("order"), _read_step(report.one("process"))
    return Mapped(
        CanonicalReceipt(
            order_no=order.required_identifier("orderCode"),
            received_at=step.at if step.column == "received_at" else None,
            picked_at=step.at if step.column == "picked_at" else None,
            shipped_at=step.at if step.column == "shipped_at" else None,
            custom=_tell(wms_state=step.state, warehouse=order.identifier("warehouseCode")),
            source_updated_at=step.at,
            rank=step.rank,
        ),
        step.notices,
    )


def map_process_query(content: Mapping[str, object]) -> Mapped[CanonicalReceipt] | None:
    """The answer of orderprocess.query: all steps of one delivery order as one receipt.

    Every moment is the earliest that was told, the state that of the newest step. None when the
    warehouse names no step: then it has not taken the order yet.
    """
    order = Reader(content).one("orderProcess")
    steps = [_read_step(step) for step in read_list(order, "processes", "process")]
    if not steps:
        return None

    def first(column: str) -> datetime | None:
        return min((s.at for s in steps if s.column == column and s.at), default=None)

    newest = max(steps, key=lambda s: (s.at.timestamp() if s.at else 0.0, s.rank))
    return Mapped(
        CanonicalReceipt(
            order_no=order.required_identifier("orderCode"),
            received_at=first("received_at"),
            picked_at=first("picked_at"),
            shipped_at=first("shipped_at"),
            custom=_tell(wms_state=newest.state, warehouse=order.identifier("warehouseCode")),
            source_updated_at=newest.at,
            rank=newest.rank,
        ),
        tuple(dict.fromkeys(notice for step in steps for notice in step.notices)),
    )


def map_confirm(
    content: Mapping[str, object], *, untold: str = "DELIVERED"
) -> Mapped[CanonicalReceipt]:
    """deliveryorder.confirm: the goods have left, in one or more packages.

    The answer of deliveryorder.query has the same shape, but one that tells no state says nothing
    of leaving: `untold` is what a missing state means.
    """
    request = Reader(content)
    order = request.one("deliveryOrder")
    state = order.identifier("status", limit=40).upper() or untold
    told_at = order.clock("orderConfirmTime") or order.clock("operateTime")
    return Mapped(
        CanonicalReceipt(
            order_no=order.required_identifier("deliveryOrderCode"),
            shipped_at=told_at if state == "DELIVERED" else None,
            custom=_tell(wms_state=state, warehouse=order.identifier("warehouseCode")),
            source_updated_at=told_at,
            rank=STATE_RANKS.get(state, 0),
        ),
        _note_state(order, "status", state),
    )


def map_exception(content: Mapping[str, object]) -> Mapped[CanonicalReceipt]:
    """orderexception.report: something went wrong with a delivery order; its kind is kept.

    The description is free text and stays in the raw message.
    """
    request = Reader(content)
    # Implementations put the fields into the request itself or into a deliveryOrder.
    order = request.one("deliveryOrder") if request.has("deliveryOrder") else request
    kind = (order if order.has("messageType") else request).identifier("messageType", limit=60)
    return Mapped(
        CanonicalReceipt(
            order_no=order.required_identifier("deliveryOrderCode"),
            custom=_tell(
                wms_exception=kind or "OTHER", warehouse=order.identifier("warehouseCode")
            ),
            source_updated_at=order.clock("createTime") or order.clock("operateTime"),
        )
    )


def read_list(reader: Reader, name: str, item: str) -> list[Reader]:
    """The elements of a list: XML does not tell one element from a list of one, nor none at all."""
    value = reader.raw(name)
    if value is None or value == "":
        return []
    holder = reader.one(name)
    found = holder.raw(item)
    if found is None or found == "":
        return []
    if isinstance(found, list):
        return holder.many(item, limit=2000)
    return [holder.one(item)]
