"""One order's way as a page tells it: events, passages, receipts, payments, by time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from config.errors import gettext_noop
from connectors.orders.merging import is_corrected, learnt_at
from connectors.orders.models import (
    NodePassage,
    Order,
    Payment,
    Receipt,
    Shipment,
    StatusEvent,
)
from connectors.orders.services import list_nodes
from connectors.orders.statuses import PAYMENT_LABELS, STAGE_LABELS
from connectors.shops.models import SourceKind

EVENT, PASSAGE, RECEIPT, PAYMENT, SHIPMENT = "event", "passage", "receipt", "payment", "shipment"
TOPIC_LABELS: dict[str, str] = {
    EVENT: gettext_noop("平台状态"),
    PASSAGE: gettext_noop("节点经过"),
    RECEIPT: gettext_noop("系统回执"),
    PAYMENT: gettext_noop("付款"),
    SHIPMENT: gettext_noop("包裹"),
}
_TOPIC_ORDER = {topic: place for place, topic in enumerate(TOPIC_LABELS)}
# What a system did to an order: (kind of source, column of the receipt) -> words.
STEP_LABELS: dict[tuple[str, str], str] = {
    (SourceKind.OMS, "received_at"): gettext_noop("OMS 收到订单"),
    (SourceKind.OMS, "reviewed_at"): gettext_noop("OMS 审单通过"),
    (SourceKind.WMS, "received_at"): gettext_noop("仓库收到订单"),
    (SourceKind.WMS, "picked_at"): gettext_noop("仓库拣货"),
    (SourceKind.WMS, "shipped_at"): gettext_noop("仓库出库"),
}
_STEPS = ("received_at", "reviewed_at", "picked_at", "shipped_at")


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """One thing that happened to an order, or one stretch of its way.

    `topic`: one of TOPIC_LABELS. `kind`: a value of StatusEvent.Kind (observed, inferred,
    corrected). `label`: Chinese source text, for `gettext` at the edge. `code`: stage, node,
    receipt column, payment status or tracking number. `until`: when a node was left (passages
    only; None: it stands there). `recorded_at`: when we learnt it; `lag`: how much later that was
    than it happened, None where not known. `detail`: the source's own word. Money in fen.
    """

    at: datetime
    topic: str
    kind: str
    code: str
    label: str
    sequence: int = 0
    until: datetime | None = None
    recorded_at: datetime | None = None
    lag: timedelta | None = None
    source: str = ""
    source_kind: str = ""
    detail: str = ""
    reference: str = ""
    amount_fen: int | None = None


def list_timeline(order: Order) -> tuple[TimelineEntry, ...]:
    """All that is known of one order's way, oldest first; equal moments by topic, then sequence.

    A fixed number of queries, in the scope in force. Total: the same rows give the same order.
    """
    entries = [
        *_read_events(order),
        *_read_passages(order),
        *_read_receipts(order),
        *_read_payments(order),
        *_read_shipments(order),
    ]
    return tuple(
        sorted(entries, key=lambda e: (e.at, _TOPIC_ORDER[e.topic], e.sequence, e.code, e.source))
    )


def _lag(at: datetime, recorded_at: datetime | None) -> timedelta | None:
    """How late something was learnt; never below nothing, clocks differ by seconds."""
    return None if recorded_at is None else max(recorded_at - at, timedelta(0))


def _read_events(order: Order) -> list[TimelineEntry]:
    rows = StatusEvent.objects.filter(order=order).select_related("source")
    return [
        TimelineEntry(
            at=row.occurred_at,
            topic=EVENT,
            kind=row.kind,
            code=row.stage,
            label=STAGE_LABELS.get(row.stage, row.stage),
            sequence=row.sequence,
            recorded_at=row.recorded_at,
            lag=_lag(row.occurred_at, row.recorded_at),
            detail=row.raw_status,
            source=row.source.name,
            source_kind=row.source.kind,
        )
        for row in rows
    ]


def _read_passages(order: Order) -> list[TimelineEntry]:
    nodes = {node.code: (place, node.label) for place, node in enumerate(list_nodes())}
    return [
        TimelineEntry(
            at=row.entered_at,
            topic=PASSAGE,
            kind=StatusEvent.Kind.INFERRED if row.is_inferred else StatusEvent.Kind.OBSERVED,
            code=row.node,
            label=nodes.get(row.node, (len(nodes), row.node))[1],
            sequence=nodes.get(row.node, (len(nodes), ""))[0],
            until=row.left_at,
        )
        for row in NodePassage.objects.filter(order=order)
    ]


def _read_receipts(order: Order) -> list[TimelineEntry]:
    rows = Receipt.objects.filter(order=order).select_related("source")
    return [
        TimelineEntry(
            at=moment,
            topic=RECEIPT,
            kind=StatusEvent.Kind.CORRECTED
            if is_corrected(row, column)
            else StatusEvent.Kind.OBSERVED,
            code=column,
            label=STEP_LABELS.get((row.source.kind, column), column),
            sequence=place,
            recorded_at=learnt_at(row, column),
            lag=_lag(moment, learnt_at(row, column)),
            source=row.source.name,
            source_kind=row.source.kind,
        )
        for row in rows
        for place, column in enumerate(_STEPS)
        if (moment := getattr(row, column)) is not None
    ]


def _read_payments(order: Order) -> list[TimelineEntry]:
    rows = Payment.objects.filter(order=order).select_related("source").order_by("pk")
    return [
        TimelineEntry(
            at=row.paid_at or order.first_received_at,
            topic=PAYMENT,
            kind=StatusEvent.Kind.OBSERVED if row.paid_at else StatusEvent.Kind.INFERRED,
            code=row.status,
            label=PAYMENT_LABELS.get(row.status, row.status),
            sequence=place,
            recorded_at=row.recorded_at,
            lag=_lag(row.paid_at, row.recorded_at) if row.paid_at else None,
            detail=row.method,
            reference=row.payment_id,
            amount_fen=row.amount_fen,
            source=row.source.name,
            source_kind=row.source.kind,
        )
        for place, row in enumerate(rows)
    ]


def _read_shipments(order: Order) -> list[TimelineEntry]:
    """The parcels; one whose moment the channel does not tell stands where the order's does."""
    rows = Shipment.objects.filter(order=order).select_related("order__source").order_by("pk")
    return [
        TimelineEntry(
            at=row.shipped_at or order.shipped_at or order.received_at,
            topic=SHIPMENT,
            kind=StatusEvent.Kind.OBSERVED if row.shipped_at else StatusEvent.Kind.INFERRED,
            code=row.shipment_id,
            label=gettext_noop("包裹发出"),
            sequence=place,
            source=row.order.source.name,
            source_kind=row.order.source.kind,
            detail=row.company,
            reference=row.tracking_no,
        )
        for place, row in enumerate(rows)
    ]
