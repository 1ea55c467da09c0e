"""The twelve nodes of the river, their evidence, and where an order stands. Pure.

A node has evidence for entering and for leaving, possibly from another system, and may not apply.
An order stands at the first applicable node it has not left; evidence of a later node proves that
an earlier one was left (marked inferred). Names, evidence and expected dwell are a document of the
release machine: `DEFAULT_NODES` is its first content.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from config.errors import BadInput, gettext_noop

# Moments the evidence of a node may name, with what a person reads.
MOMENTS: dict[str, str] = {
    "placed": gettext_noop("下单时间"),
    "paid": gettext_noop("渠道付款时间"),
    "ready": gettext_noop("付款时间，或之后付款确认、平台放行的时间"),
    "gateway_paid": gettext_noop("网关支付时间"),
    "approved": gettext_noop("付款确认时间"),
    "review": gettext_noop("付款之后才开始审核的时间"),
    "locked": gettext_noop("全部商品锁定库存的时间"),
    "oms_received": gettext_noop("OMS 接收时间"),
    "oms_reviewed": gettext_noop("OMS 审单时间"),
    "wms_received": gettext_noop("WMS 接收时间"),
    "picked": gettext_noop("拣货时间"),
    "wms_shipped": gettext_noop("出库时间"),
    "shipped": gettext_noop("渠道发货时间"),
    "delivered": gettext_noop("签收时间"),
    "previous": gettext_noop("离开上一节点的时间"),
}
# Open flags that keep an order at a node although the next moment is missing.
BLOCKERS: dict[str, str] = {
    "": gettext_noop("无"),
    "platform_hold": gettext_noop("风控审核、拼团未成或平台暂停"),
    "price": gettext_noop("实付与应付不符"),
}


@dataclass(frozen=True, slots=True)
class Node:
    """One milestone: how it is entered and left, and how long that may take."""

    code: str
    label: str
    entered: tuple[str, ...]
    left: tuple[str, ...]
    dwell_minutes: int
    blocker: str = ""
    needs: str = ""  # the kind of source without which the node does not apply


DEFAULT_NODES: tuple[Node, ...] = (
    Node("placed", gettext_noop("下单"), ("placed",), ("placed",), 1),
    Node("payment", gettext_noop("支付"), ("placed",), ("paid", "gateway_paid", "approved"), 60),
    Node(
        "callback",
        gettext_noop("支付回调"),
        ("gateway_paid", "ready", "paid"),
        ("oms_received",),
        15,
    ),
    Node(
        "risk",
        gettext_noop("风控"),
        ("review", "previous"),
        ("previous",),
        30,
        blocker="platform_hold",
    ),
    Node("pricing", gettext_noop("促销计价"), ("previous",), ("previous",), 5, blocker="price"),
    Node("stock", gettext_noop("库存锁定"), ("previous",), ("locked",), 10),
    Node(
        "oms_review", gettext_noop("OMS审单"), ("oms_received",), ("oms_reviewed",), 60, needs="oms"
    ),
    Node(
        "wms_push", gettext_noop("推送WMS"), ("oms_reviewed",), ("wms_received",), 60, needs="wms"
    ),
    Node("picking", gettext_noop("拣货打包"), ("wms_received",), ("picked",), 1440, needs="wms"),
    Node("label", gettext_noop("面单/物流匹配"), ("picked",), ("wms_shipped",), 720, needs="wms"),
    Node("ship_back", gettext_noop("发货回传"), ("wms_shipped",), ("shipped",), 240),
    Node("delivery", gettext_noop("签收/售后"), ("shipped",), ("delivered",), 14400),
)
NODE_CODES = tuple(node.code for node in DEFAULT_NODES)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of one order's way: moments (None = has not happened or not told) and flags.

    `applies` lists the codes of nodes that do not exist for this order (cash on delivery has no
    payment, an order without stock data no stock node). `closed_at` ends every open passage.
    """

    moments: Mapping[str, datetime | None]
    blocked: frozenset[str] = frozenset()
    skipped: frozenset[str] = frozenset()
    sources: frozenset[str] = frozenset()
    overrides: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    is_over: bool = False
    closed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Passage:
    """When an order entered and left one node; `is_inferred` when a later node proves it."""

    node: str
    entered_at: datetime
    left_at: datetime | None
    is_inferred: bool


# The shop locks stock at payment, whatever stands in the way; "previous" is no evidence of its own.
_PROVES_NOTHING = frozenset({"previous", "locked"})


def _first(
    names: Sequence[str], moments: Mapping[str, datetime | None], previous: datetime | None
) -> datetime | None:
    for name in names:
        moment = previous if name == "previous" else moments.get(name)
        if moment is not None:
            return moment
    return None


def walk(evidence: Evidence, nodes: Sequence[Node] = DEFAULT_NODES) -> tuple[Passage, ...]:
    """The passages of one order in river order; at most the last one is open.

    A node is left at its own evidence; failing that, when a later node was left (inferred). A
    blocked node is left only through such later evidence.
    """
    moments, present = evidence.moments, evidence.sources
    applicable = [
        n for n in nodes if n.code not in evidence.skipped and (not n.needs or n.needs in present)
    ]
    # later_proof[i]: the first moment at which node i or a later one was *left*. Having entered a
    # later node proves nothing for a blocked one: an OMS takes orders in and suspends them.
    later_proof: list[datetime | None] = [None] * (len(applicable) + 1)
    for i in range(len(applicable) - 1, -1, -1):
        names = [n for n in _left_names(applicable[i], evidence) if n not in _PROVES_NOTHING]
        proof = _first(names, moments, None)
        later_proof[i] = proof if proof is not None else later_proof[i + 1]

    passages: list[Passage] = []
    previous = moments.get("placed")
    for i, node in enumerate(applicable):
        if previous is None:
            break
        entered = _first(node.entered, moments, previous) or previous
        left = _first(_left_names(node, evidence), moments, entered)
        is_inferred = False
        if node.blocker and node.blocker in evidence.blocked:
            left = None
        if left is None and later_proof[i + 1] is not None:
            left, is_inferred = later_proof[i + 1], True
        if left is None and evidence.is_over:
            left, is_inferred = evidence.closed_at or entered, True
            passages.append(Passage(node.code, entered, max(left, entered), True))
            return tuple(passages)
        if left is not None and left < entered:
            entered = left if not is_inferred else entered
            left = max(left, entered)
        passages.append(Passage(node.code, entered, left, is_inferred))
        if left is None:
            return tuple(passages)
        previous = left
    return tuple(passages)


def _left_names(node: Node, evidence: Evidence) -> tuple[str, ...]:
    return evidence.overrides.get(node.code, node.left)


def nodes_from_content(content: Mapping[str, Any]) -> tuple[Node, ...]:
    """Read a node table document; raises BadInput naming the row and the remedy.

    Content: {"nodes": [{"code", "label", "entered": [...], "left": [...], "dwell_minutes",
    "blocker", "needs"}, ...]} with the twelve codes in river order.
    """
    rows = content.get("nodes")
    if not isinstance(rows, list) or [r.get("code") for r in rows if isinstance(r, dict)] != list(
        NODE_CODES
    ):
        raise BadInput(gettext_noop("节点表必须恰好包含十二个节点，顺序不变"), code="bad_nodes")
    nodes = []
    for number, row in enumerate(rows, 1):
        label = str(row.get("label", "")).strip()
        if not 1 <= len(label) <= 12:
            raise BadInput(
                gettext_noop("第 %(n)s 个节点的名称应为 1–12 个字"), code="bad_nodes", n=number
            )
        entered, left = tuple(row.get("entered") or ()), tuple(row.get("left") or ())
        unknown = [m for m in (*entered, *left) if m not in MOMENTS]
        if unknown or not entered or not left:
            raise BadInput(
                gettext_noop("节点「%(label)s」的进入和离开凭据都要从列表中选择"),
                code="bad_nodes",
                label=label,
            )
        dwell = row.get("dwell_minutes")
        if isinstance(dwell, bool) or not isinstance(dwell, int) or not 1 <= dwell <= 60 * 24 * 90:
            raise BadInput(
                gettext_noop("节点「%(label)s」的预期停留应是 1 分钟到 90 天之间的整数分钟"),
                code="bad_nodes",
                label=label,
            )
        blocker, needs = str(row.get("blocker", "")), str(row.get("needs", ""))
        if blocker not in BLOCKERS or needs not in {"", "oms", "wms", "gateway"}:
            raise BadInput(
                gettext_noop("节点「%(label)s」的阻塞标记或所需系统不认识"),
                code="bad_nodes",
                label=label,
            )
        nodes.append(Node(NODE_CODES[number - 1], label, entered, left, dwell, blocker, needs))
    return tuple(nodes)


def nodes_to_content(nodes: Sequence[Node] = DEFAULT_NODES) -> dict[str, Any]:
    """The document content of a node table (inverse of `nodes_from_content`)."""
    return {
        "nodes": [
            {
                "code": n.code,
                "label": n.label,
                "entered": list(n.entered),
                "left": list(n.left),
                "dwell_minutes": n.dwell_minutes,
                "blocker": n.blocker,
                "needs": n.needs,
            }
            for n in nodes
        ]
    }
