"""`receive()`: the one door through which orders, payments and receipts come in.

A batch is one transaction and a fixed number of statements. Repeating a batch changes nothing;
records may come in any order: a payment or receipt waits for its order by number.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db import transaction
from django.db.models import F, Max

from config.releases.services import get_published
from config.secrets import blind_index, encrypt
from connectors.orders.canonical import (
    CanonicalOrder,
    CanonicalPayment,
    CanonicalReceipt,
    CanonicalRecord,
)
from connectors.orders.models import (
    ADDRESS_PURPOSE,
    NAME_PURPOSE,
    PHONE_PURPOSE,
    RAW_PURPOSE,
    NodePassage,
    Order,
    OrderLine,
    Payment,
    RawPayload,
    Receipt,
    StatusEvent,
)
from connectors.orders.nodes import DEFAULT_NODES, Evidence, Node, Passage, nodes_from_content, walk
from connectors.orders.statuses import (
    FINAL_STAGES,
    GroupState,
    PaymentStatus,
    PresalePhase,
    Stage,
)
from connectors.shops.models import Channel, Shop, Source, SourceKind

NODE_TABLE_KIND = "node_table"
NODE_TABLE_KEY = "default"
MAX_BATCH = 500
# A platform that tells no promise still expects dispatch within 48 hours of payment.
DEFAULT_SHIP_WITHIN = timedelta(hours=48)
# One fen of rounding between platform and shop is no price error (promo/README).
PRICE_TOLERANCE_FEN = 1

_COPIED = tuple(
    f.name
    for f in fields(CanonicalOrder)
    if f.name
    not in {
        "channel",
        "shop",
        "lines",
        "payments",
        "raw",
        "custom",
        "buyer",
        "receiver_name",
        "receiver_phone",
        "address_detail",
    }
)
_ORDER_COLUMNS = [
    f.name
    for f in Order._meta.concrete_fields
    if f.name
    not in {"id", "tenant", "environment", "public_id", "shop", "order_no", "first_received_at"}
]
_LINE_COLUMNS = [
    f.name
    for f in OrderLine._meta.concrete_fields
    if f.name not in {"id", "tenant", "environment", "order"}
]
_PAYMENT_COLUMNS = [
    "order",
    "is_gateway",
    "method",
    "status",
    "phase",
    "amount_fen",
    "paid_at",
    "custom",
]
_RECEIPT_COLUMNS = ["order", "received_at", "reviewed_at", "picked_at", "shipped_at", "custom"]


@dataclass(frozen=True)
class Received:
    """What one batch did. Counts are of records; `order_ids` are the orders whose revision rose."""

    new: int = 0
    updated: int = 0
    unchanged: int = 0
    stale: int = 0
    waiting: int = 0
    order_ids: tuple[int, ...] = ()

    def __add__(self, other: Received) -> Received:
        return Received(
            self.new + other.new,
            self.updated + other.updated,
            self.unchanged + other.unchanged,
            self.stale + other.stale,
            self.waiting + other.waiting,
            self.order_ids + other.order_ids,
        )


def list_nodes() -> tuple[Node, ...]:
    """The published node table of the environment in force, or the shipped one."""
    version = get_published(NODE_TABLE_KIND, NODE_TABLE_KEY)
    return nodes_from_content(version.content) if version else DEFAULT_NODES


def receive(
    records: Sequence[CanonicalRecord],
    *,
    source: Source,
    now: datetime,
    is_history: bool = False,
    shops: Mapping[tuple[str, str], Shop] | None = None,
) -> Received:
    """Take in up to MAX_BATCH records of one source, in the scope in force, in one transaction.

    `shops` maps (channel, shop name) to shops; missing ones are made. `is_history` marks orders
    that must never alert or hold (first import, back-fill, as-of run). Raises ValueError for a
    batch that is too large; a record is never rejected here: mappings have checked it.
    """
    if len(records) > MAX_BATCH:
        raise ValueError(f"at most {MAX_BATCH} records in one batch, got {len(records)}")
    with transaction.atomic():
        return _Batch(source, now, is_history, dict(shops or {})).take(records)


def receive_all(
    records: Iterable[CanonicalRecord],
    *,
    source: Source,
    now: datetime,
    is_history: bool = False,
) -> Received:
    """Take in any number of records, in batches of MAX_BATCH, each its own transaction."""
    total, batch, shops = Received(), [], _known_shops()
    for record in records:
        batch.append(record)
        if len(batch) == MAX_BATCH:
            total += receive(batch, source=source, now=now, is_history=is_history, shops=shops)
            batch = []
    if batch:
        total += receive(batch, source=source, now=now, is_history=is_history, shops=shops)
    return total


def _known_shops() -> dict[tuple[str, str], Shop]:
    return {(shop.channel, shop.name): shop for shop in Shop.objects.all()}


def _digest(record: CanonicalOrder) -> str:
    """Content hash of an order: equal content, equal hash, whatever the raw spelling was."""
    return hashlib.sha256(repr(replace(record, raw={})).encode()).hexdigest()[:32]


class _Batch:
    """One batch on its way in; holds what its steps share."""

    def __init__(
        self, source: Source, now: datetime, is_history: bool, shops: dict[tuple[str, str], Shop]
    ) -> None:
        self.source, self.now, self.is_history = source, now, is_history
        self.shops = shops
        self.nodes = list_nodes()
        self.connected = frozenset(
            Source.objects.filter(complete_until__isnull=False).values_list("kind", flat=True)
        ) | {source.kind}

    def take(self, records: Sequence[CanonicalRecord]) -> Received:
        orders = [r for r in records if isinstance(r, CanonicalOrder)]
        numbers = sorted({r.order_no for r in records})
        stored: dict[str, list[Order]] = defaultdict(list)
        # Locked in key order, so that two batches cannot wait for each other.
        query = Order.objects.filter(order_no__in=numbers).order_by("id")
        for order in query.select_for_update(of=("self",)):
            stored[order.order_no].append(order)

        counts: dict[str, int] = defaultdict(int)
        changed = self._apply_orders(orders, stored, counts)
        self._save_payments(
            [r for r in records if isinstance(r, CanonicalPayment)], stored, changed, counts
        )
        self._save_receipts(
            [r for r in records if isinstance(r, CanonicalReceipt)], stored, changed, counts
        )
        self._finish(changed, stored)
        return Received(
            new=counts["new"],
            updated=counts["updated"],
            unchanged=counts["unchanged"],
            stale=counts["stale"],
            waiting=counts["waiting"],
            order_ids=tuple(order.pk for order in changed.values()),
        )

    # -- orders ------------------------------------------------------------------------------

    def _shop(self, record: CanonicalOrder) -> Shop:
        key = (record.channel, record.shop)
        if key not in self.shops:
            self.shops[key], _ = Shop.objects.get_or_create(channel=key[0], name=key[1])
        return self.shops[key]

    def _apply_orders(
        self,
        records: list[CanonicalOrder],
        stored: dict[str, list[Order]],
        counts: dict[str, int],
    ) -> dict[str, Order]:
        """Put the newer content on order rows (unsaved); returns changed orders by key."""
        changed: dict[str, Order] = {}
        self.records: dict[str, CanonicalOrder] = {}
        self.previous_stage: dict[str, str | None] = {}
        for record in records:
            shop = self._shop(record)
            key = f"{shop.pk}:{record.order_no}"
            order = next((o for o in stored[record.order_no] if o.shop_id == shop.pk), None)
            digest = _digest(record)
            if order is not None:
                if order.content_hash == digest:
                    counts["unchanged"] += 1
                    continue
                if (
                    record.source_updated_at is not None
                    and order.source_updated_at is not None
                    and record.source_updated_at < order.source_updated_at
                ):
                    counts["stale"] += 1
                    continue
                counts["updated" if order.pk else "new"] += 1
            else:
                order = Order(
                    shop=shop,
                    order_no=record.order_no,
                    revision=0,
                    first_received_at=self.now,
                    is_history=self.is_history,
                )
                stored[record.order_no].append(order)
                counts["new"] += 1
            if key not in self.previous_stage:
                self.previous_stage[key] = order.stage or None
            self._fill(order, record, digest)
            changed[key], self.records[key] = order, record
        return changed

    def _fill(self, order: Order, record: CanonicalOrder, digest: str) -> None:
        for name in _COPIED:
            setattr(order, name, getattr(record, name))
        order.raw_status = record.raw_status[:100]
        order.channel, order.source = record.channel, self.source
        order.custom = dict(record.custom)
        order.is_open = record.stage not in FINAL_STAGES and record.stage != Stage.DELIVERED
        order.has_address_detail = bool(record.address_detail)
        order.name_sealed = encrypt(record.receiver_name, purpose=NAME_PURPOSE)
        order.phone_sealed = encrypt(record.receiver_phone, purpose=PHONE_PURPOSE)
        order.address_sealed = encrypt(record.address_detail, purpose=ADDRESS_PURPOSE)
        phone = record.receiver_phone
        order.phone_tail = phone[-4:] if phone[-4:].isdigit() else ""
        order.phone_index = blind_index(phone, purpose="phone") if "*" not in phone else ""
        order.buyer_index = blind_index(record.buyer, purpose="buyer")
        order.content_hash = digest

    # -- payments and receipts ---------------------------------------------------------------

    def _save_payments(
        self,
        records: list[CanonicalPayment],
        stored: dict[str, list[Order]],
        changed: dict[str, Order],
        counts: dict[str, int],
    ) -> None:
        """Upsert payments that came on their own; their orders count as changed."""
        self._save_parts(
            model=Payment,
            records=records,
            columns=_PAYMENT_COLUMNS,
            key=("order_no", "payment_id"),
            extra={"is_gateway": self.source.kind == SourceKind.GATEWAY},
            stored=stored,
            changed=changed,
            counts=counts,
        )

    def _save_receipts(
        self,
        records: list[CanonicalReceipt],
        stored: dict[str, list[Order]],
        changed: dict[str, Order],
        counts: dict[str, int],
    ) -> None:
        self._save_parts(
            model=Receipt,
            records=records,
            columns=_RECEIPT_COLUMNS,
            key=("order_no",),
            extra={},
            stored=stored,
            changed=changed,
            counts=counts,
        )

    def _save_parts(
        self,
        *,
        model: Any,
        records: Sequence[Any],
        columns: list[str],
        key: tuple[str, ...],
        extra: dict[str, Any],
        stored: dict[str, list[Order]],
        changed: dict[str, Order],
        counts: dict[str, int],
    ) -> None:
        if not records:
            return
        newest = {tuple(getattr(r, k) for k in key): r for r in records}
        known = {
            tuple(getattr(row, k) for k in key): row
            for row in model.objects.filter(
                source=self.source, order_no__in=[r.order_no for r in newest.values()]
            )
        }
        rows = []
        for identity, record in newest.items():
            values = {f.name: getattr(record, f.name) for f in fields(record)} | extra
            values["custom"] = dict(values["custom"])
            before = known.get(identity)
            if before is not None and all(getattr(before, n) == v for n, v in values.items()):
                counts["unchanged"] += 1
                continue
            counts["updated" if before else "new"] += 1
            owner = stored[record.order_no][0] if stored.get(record.order_no) else None
            if owner is None:
                counts["waiting"] += 1
            else:
                changed.setdefault(f"{owner.shop_id}:{owner.order_no}", owner)
            rows.append(
                model(source=self.source, order=owner if owner and owner.pk else None, **values)
            )
        if rows:
            model.objects.bulk_create(
                rows,
                update_conflicts=True,
                unique_fields=["environment", "source", *key],
                update_fields=columns,
            )

    # -- the rest of the batch ---------------------------------------------------------------

    def _finish(self, changed: dict[str, Order], stored: dict[str, list[Order]]) -> None:
        if not changed:
            return
        numbers = [order.order_no for order in changed.values()]
        payments, receipts = defaultdict(list), defaultdict(list)
        for payment in Payment.objects.filter(order_no__in=numbers, is_gateway=True):
            payments[payment.order_no].append(payment)
        for receipt in Receipt.objects.filter(order_no__in=numbers).select_related("source"):
            receipts[receipt.order_no].append(receipt)
        lines = self._lines_of(changed)

        walked: dict[str, tuple[Passage, ...]] = {}
        for key, order in changed.items():
            digest_systems(order, payments[order.order_no], receipts[order.order_no])
            order.deadline_at = deadline_of(order)
            order.revision += 1
            order.received_at = self.now
            evidence = evidence_of(order, lines[key], self.connected)
            walked[key] = walk(evidence, self.nodes)
            stand_at(order, walked[key])

        is_known = {key: order.pk is not None for key, order in changed.items()}
        saved = Order.objects.bulk_create(
            list(changed.values()),
            update_conflicts=True,
            unique_fields=["environment", "shop", "order_no"],
            update_fields=_ORDER_COLUMNS,
        )
        assert all(order.pk for order in saved)  # noqa: S101 - both databases return the keys
        self._changed_pks = {key: order.pk for key, order in changed.items()}
        self._save_lines(is_known)
        self._save_order_payments()
        self._adopt(changed, payments, receipts)
        self._save_events(changed, is_known)
        self._save_passages(changed, walked, is_known)
        self._save_raw(changed)
        self._mark_related(changed)

    def _lines_of(self, changed: dict[str, Order]) -> dict[str, list[OrderLine]]:
        """Lines per changed order: new ones from the record, the rest from the database."""
        lines: dict[str, list[OrderLine]] = defaultdict(list)
        untouched = {o.pk: key for key, o in changed.items() if key not in self.records}
        if untouched:
            for line in OrderLine.objects.filter(order_id__in=untouched):
                lines[untouched[line.order_id]].append(line)
        for key, record in self.records.items():
            for line in record.lines:
                values = {f.name: getattr(line, f.name) for f in fields(line)}
                values["custom"] = dict(values["custom"])
                lines[key].append(OrderLine(order=changed[key], **values))
        self.new_lines = {key: lines[key] for key in self.records}
        return lines

    def _save_lines(self, is_known: dict[str, bool]) -> None:
        rows = [line for lines in self.new_lines.values() for line in lines]
        for line in rows:
            line.order_id = line.order.pk
        orders = [self._changed_pks[key] for key in self.new_lines if is_known[key]]
        if orders:
            keep = {(line.order_id, line.line_id) for line in rows}
            stale = [
                pk
                for pk, order_id, line_id in OrderLine.objects.filter(
                    order_id__in=orders
                ).values_list("pk", "order_id", "line_id")
                if (order_id, line_id) not in keep
            ]
            if stale:
                OrderLine.objects.filter(pk__in=stale).delete()
        if rows:
            OrderLine.objects.bulk_create(
                rows,
                update_conflicts=True,
                unique_fields=["order", "line_id"],
                update_fields=_LINE_COLUMNS[1:],
            )

    def _save_order_payments(self) -> None:
        rows = []
        for key, record in self.records.items():
            for payment in record.payments:
                values = {f.name: getattr(payment, f.name) for f in fields(payment)}
                values["custom"] = dict(values["custom"])
                rows.append(
                    Payment(
                        source=self.source,
                        order_id=self._changed_pks[key],
                        is_gateway=self.source.kind == SourceKind.GATEWAY,
                        **values,
                    )
                )
        if rows:
            Payment.objects.bulk_create(
                rows,
                update_conflicts=True,
                unique_fields=["environment", "source", "order_no", "payment_id"],
                update_fields=_PAYMENT_COLUMNS,
            )

    def _adopt(
        self,
        changed: dict[str, Order],
        payments: Mapping[str, list[Payment]],
        receipts: Mapping[str, list[Receipt]],
    ) -> None:
        """Tie parts that waited for their order to it."""
        by_number = {order.order_no: order for order in changed.values()}
        for model, found in ((Payment, payments), (Receipt, receipts)):
            rows = [row for parts in found.values() for row in parts if row.order_id is None]
            for row in rows:
                row.order = by_number[row.order_no]
            if rows:
                model.objects.bulk_update(rows, ["order"])

    def _save_events(self, changed: dict[str, Order], is_known: dict[str, bool]) -> None:
        moved = {k: changed[k] for k in self.records if self.previous_stage[k] != changed[k].stage}
        if not moved:
            return
        last: dict[int, int] = dict(
            StatusEvent.objects.filter(order_id__in=[o.pk for k, o in moved.items() if is_known[k]])
            .values("order_id")
            .annotate(last=Max("sequence"))
            .values_list("order_id", "last")
        )
        events = []
        for order in moved.values():
            occurred, kind = moment_of_stage(order)
            events.append(
                StatusEvent(
                    order=order,
                    source=self.source,
                    sequence=last.get(order.pk, 0) + 1,
                    kind=kind,
                    stage=order.stage,
                    raw_status=order.raw_status,
                    occurred_at=occurred or self.now,
                    recorded_at=self.now,
                )
            )
        StatusEvent.objects.bulk_create(events)

    def _save_passages(
        self,
        changed: dict[str, Order],
        walked: dict[str, tuple[Passage, ...]],
        is_known: dict[str, bool],
    ) -> None:
        save_passages(
            {order.pk: walked[key] for key, order in changed.items()},
            known=[order.pk for key, order in changed.items() if is_known[key]],
        )

    def _save_raw(self, changed: dict[str, Order]) -> None:
        rows = [
            RawPayload(
                order=changed[key],
                source=self.source,
                sealed=encrypt(
                    json.dumps(dict(record.raw), ensure_ascii=False, cls=DjangoJSONEncoder),
                    purpose=RAW_PURPOSE,
                ),
                received_at=self.now,
            )
            for key, record in self.records.items()
            if record.raw
        ]
        if rows:
            RawPayload.objects.bulk_create(
                rows,
                update_conflicts=True,
                unique_fields=["order", "source"],
                update_fields=["sealed", "received_at"],
            )

    def _mark_related(self, changed: dict[str, Order]) -> None:
        """Raise the revision of other open orders of the same buyers: their facts may move."""
        buyers = {order.buyer_index for order in changed.values() if order.buyer_index}
        if buyers:
            Order.objects.waiting().filter(buyer_index__in=buyers).exclude(
                pk__in=[order.pk for order in changed.values()]
            ).update(revision=F("revision") + 1)


def digest_systems(order: Order, payments: Sequence[Payment], receipts: Sequence[Receipt]) -> None:
    """Write what gateways, OMS and WMS say about an order onto its system columns."""
    paid = [p for p in payments if p.status == PaymentStatus.PAID and p.paid_at is not None]
    order.gateway_status = payments[0].status if payments else ""
    if paid:
        order.gateway_status = PaymentStatus.PAID
    order.gateway_paid_at = min((p.paid_at for p in paid if p.paid_at), default=None)
    order.gateway_paid_fen = sum(p.amount_fen or 0 for p in paid) if paid else None
    for kind, columns in (
        (SourceKind.OMS, {"oms_received_at": "received_at", "oms_reviewed_at": "reviewed_at"}),
        (
            SourceKind.WMS,
            {
                "wms_received_at": "received_at",
                "picked_at": "picked_at",
                "wms_shipped_at": "shipped_at",
            },
        ),
    ):
        rows = [r for r in receipts if r.source.kind == kind]
        for column, name in columns.items():
            moments = [m for r in rows if (m := getattr(r, name)) is not None]
            setattr(order, column, min(moments, default=None))


def deadline_of(order: Order) -> datetime | None:
    """When it is too late: the balance's end, else the promised dispatch, else payment + 48 h."""
    if order.presale_phase == PresalePhase.DEPOSIT_PAID:
        return order.balance_due_at
    if order.promised_ship_at is not None:
        return order.promised_ship_at
    paid = order.paid_at or order.gateway_paid_at
    return paid + DEFAULT_SHIP_WITHIN if paid else None


def moment_of_stage(order: Order) -> tuple[datetime | None, str]:
    """When an order entered its stage, by its own times, and whether that is observed."""
    moments = {
        Stage.AWAIT_PAY: order.placed_at,
        Stage.DEPOSIT_PAID: order.deposit_paid_at,
        Stage.AWAIT_GROUP: order.paid_at,
        Stage.PLATFORM_HOLD: order.paid_at,
        Stage.AWAIT_SHIP: order.paid_at or order.placed_at,
        Stage.SHIPPED: order.shipped_at,
        Stage.DELIVERED: order.delivered_at,
        Stage.COMPLETED: order.delivered_at,
        Stage.CLOSED_UNPAID: order.closed_at,
        Stage.CLOSED_REFUNDED: order.closed_at,
    }
    moment = moments.get(Stage(order.stage))
    kind = StatusEvent.Kind.OBSERVED if moment else StatusEvent.Kind.INFERRED
    return moment, kind


def evidence_of(
    order: Order, lines: Sequence[OrderLine], connected: frozenset[str] | set[str]
) -> Evidence:
    """Read an order's columns and lines as evidence for the twelve nodes."""
    is_mall = order.channel == Channel.PRIVATE_MALL
    blocked, skipped = set(), set()
    if (
        order.risk_state
        or order.group_state == GroupState.OPEN
        or order.stage == Stage.PLATFORM_HOLD
    ):
        blocked.add("platform_hold")
        if not is_mall:
            skipped.add("callback")  # the platform has not let go: nothing is due at the OMS
    if (
        order.paid_fen is not None
        and order.payable_fen is not None
        and order.paid_at is not None
        and order.refund_state == ""
        and abs(order.paid_fen - order.payable_fen) > PRICE_TOLERANCE_FEN
    ):
        blocked.add("price")
    if order.is_cod:
        skipped.add("payment")
    if "oms" not in connected and not is_mall:
        skipped.add("callback")
    stocked = [line for line in lines if line.stock_available is not None or line.locked_at]
    if not stocked:
        skipped.add("stock")
    locked = [line.locked_at for line in stocked]
    return Evidence(
        moments={
            "placed": order.placed_at,
            "paid": order.paid_at,
            "gateway_paid": order.gateway_paid_at,
            "approved": order.approved_at,
            "locked": max((m for m in locked if m), default=None) if all(locked) else None,
            "oms_received": order.oms_received_at,
            "oms_reviewed": order.oms_reviewed_at,
            "wms_received": order.wms_received_at,
            "picked": order.picked_at,
            "wms_shipped": order.wms_shipped_at,
            "shipped": order.shipped_at
            or (order.wms_shipped_at if order.stage in {Stage.SHIPPED, Stage.DELIVERED} else None),
            "delivered": order.delivered_at,
        },
        blocked=frozenset(blocked),
        skipped=frozenset(skipped),
        sources=frozenset(connected),
        overrides={"callback": ("paid",)} if is_mall else {},
        is_over=order.stage in FINAL_STAGES or order.stage == Stage.DELIVERED,
        closed_at=order.closed_at or order.delivered_at,
    )


def stand_at(order: Order, passages: Sequence[Passage]) -> None:
    """Write the node an order stands at (empty when it has left the river)."""
    last = passages[-1] if passages else None
    if last is not None and last.left_at is None:
        order.node, order.node_entered_at = last.node, last.entered_at
    else:
        order.node, order.node_entered_at = "", None


def save_passages(walked: Mapping[int, Sequence[Passage]], *, known: Sequence[int]) -> None:
    """Store passages per order id; `known` are the orders that may have some already."""
    before: dict[tuple[int, str], NodePassage] = {}
    if known:
        before = {(p.order_id, p.node): p for p in NodePassage.objects.filter(order_id__in=known)}
    rows, kept = [], set()
    for order_id, passages in walked.items():
        for p in passages:
            kept.add((order_id, p.node))
            old = before.get((order_id, p.node))
            if old is None or (old.entered_at, old.left_at, old.is_inferred) != (
                p.entered_at,
                p.left_at,
                p.is_inferred,
            ):
                rows.append(
                    NodePassage(
                        order_id=order_id,
                        node=p.node,
                        entered_at=p.entered_at,
                        left_at=p.left_at,
                        is_inferred=p.is_inferred,
                    )
                )
    gone = [row.pk for key, row in before.items() if key not in kept]
    if gone:
        NodePassage.objects.filter(pk__in=gone).delete()
    if rows:
        NodePassage.objects.bulk_create(
            rows,
            update_conflicts=True,
            unique_fields=["order", "node"],
            update_fields=["entered_at", "left_at", "is_inferred"],
        )
