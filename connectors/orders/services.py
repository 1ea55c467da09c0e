"""`receive()`: the one door through which orders, payments and receipts come in.

A batch is one transaction and a fixed number of statements. Repeating a batch changes nothing;
records may come in any order: a payment or receipt waits for its order by number.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db import transaction
from django.db.models import F, Max, OuterRef, Subquery

from config.releases.services import get_published
from config.secrets import blind_index, encrypt
from config.tenancy.bulk import upsert_rows
from connectors.orders.canonical import (
    CanonicalLine,
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

# A stored line or one on its way in: both carry what the evidence needs.
Line = OrderLine | CanonicalLine

NODE_TABLE_KIND = "node_table"
NODE_TABLE_KEY = "default"
MAX_BATCH = 500
MAX_RELATED_MARKED = 500
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
_HASHED = tuple(f.name for f in fields(CanonicalOrder) if f.name != "raw")
_ORDER_COLUMNS = [
    f.attname for f in Order._meta.concrete_fields if f.name not in {"id", "tenant", "environment"}
]
_ORDER_FIXED = {"public_id", "shop_id", "order_no", "first_received_at", "is_history", "is_watched"}
_LINE_COLUMNS = ["order_id", *(f.name for f in fields(CanonicalLine))]
_PAYMENT_COLUMNS = [
    "source_id",
    "order_id",
    "is_gateway",
    *(f.name for f in fields(CanonicalPayment)),
]
_REREAD = (
    "gateway_status",
    "gateway_paid_at",
    "gateway_paid_fen",
    "oms_received_at",
    "oms_reviewed_at",
    "wms_received_at",
    "picked_at",
    "wms_shipped_at",
    "deadline_at",
    "node",
    "node_entered_at",
)
_RECEIPT_COLUMNS = ["source_id", "order_id", *(f.name for f in fields(CanonicalReceipt))]
_PART_COLUMNS: dict[type[Payment] | type[Receipt], list[str]] = {
    Payment: _PAYMENT_COLUMNS,
    Receipt: _RECEIPT_COLUMNS,
}


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
    whose state on arrival must not alert or hold (first import, back-fill, as-of run). Raises ValueError for a
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
    content = [getattr(record, name) for name in _HASHED]
    return hashlib.sha256(repr(content).encode()).hexdigest()[:32]


class _Batch:
    """One batch on its way in; holds what its steps share."""

    def __init__(
        self, source: Source, now: datetime, is_history: bool, shops: dict[tuple[str, str], Shop]
    ) -> None:
        self.source, self.now, self.is_history = source, now, is_history
        self.shops = shops
        self.nodes = list_nodes()
        self.connected = _connected_kinds() | {source.kind}

    def take(self, records: Sequence[CanonicalRecord]) -> Received:
        orders = [r for r in records if isinstance(r, CanonicalOrder)]
        numbers = sorted({r.order_no for r in records})
        stored: dict[str, list[Order]] = defaultdict(list)
        # Locked in key order, so that two batches cannot wait for each other.
        query = Order.objects.filter(order_no__in=numbers).order_by("id")
        for order in query.select_for_update(of=("self",), no_key=True):
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
        was_held = order.revision > 0 and is_held_by_platform(order)
        for name in _COPIED:
            setattr(order, name, getattr(record, name))
        if was_held and not is_held_by_platform(order):
            order.released_at = min(record.source_updated_at or self.now, self.now)
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
        order.address_index = blind_index(place_of(record), purpose="address")
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
            key=("order_no", "payment_id"),
            head=(self.source.kind == SourceKind.GATEWAY,),
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
            key=("order_no",),
            head=(),
            stored=stored,
            changed=changed,
            counts=counts,
        )

    def _save_parts(
        self,
        *,
        model: Any,
        records: Sequence[Any],
        key: tuple[str, ...],
        head: tuple[Any, ...],
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
        names = [f.name for f in fields(records[0])]
        for identity, record in newest.items():
            values = [getattr(record, name) for name in names]
            before = known.get(identity)
            if before is not None and values == [getattr(before, name) for name in names]:
                counts["unchanged"] += 1
                continue
            counts["updated" if before else "new"] += 1
            owner = stored[record.order_no][0] if stored.get(record.order_no) else None
            if owner is None:
                counts["waiting"] += 1
            else:
                changed.setdefault(f"{owner.shop_id}:{owner.order_no}", owner)
            rows.append((self.source.pk, owner.pk if owner else None, *head, *values))
        _upsert_parts(model, rows, key)

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
        self._save_orders(changed)
        self._save_lines(is_known)
        self._save_order_payments()
        self._adopt(payments, receipts)
        self._save_events(changed, is_known)
        self._save_passages(changed, walked, is_known)
        self._save_raw()
        self._mark_related(changed)

    def _save_orders(self, changed: dict[str, Order]) -> None:
        """Upsert the order rows and learn the keys of the new ones."""
        upsert_rows(
            Order,
            columns=_ORDER_COLUMNS,
            rows=[[getattr(o, c) for c in _ORDER_COLUMNS] for o in changed.values()],
            conflict=["environment_id", "shop_id", "order_no"],
            update=[c for c in _ORDER_COLUMNS if c not in _ORDER_FIXED],
        )
        new = {(o.shop_id, o.order_no): o for o in changed.values() if o.pk is None}
        if new:
            numbers = [number for _shop, number in new]
            found = Order.objects.filter(order_no__in=numbers).values_list(
                "pk", "shop_id", "order_no"
            )
            for pk, shop_id, number in found:
                if (shop_id, number) in new:
                    new[shop_id, number].pk = pk
        self._changed_pks = {key: order.pk for key, order in changed.items()}

    def _lines_of(self, changed: dict[str, Order]) -> dict[str, Sequence[Line]]:
        """Lines per changed order: new ones from the record, the rest from the database."""
        stored: dict[int, list[Line]] = defaultdict(list)
        untouched = [o.pk for key, o in changed.items() if key not in self.records]
        if untouched:
            for line in OrderLine.objects.filter(order_id__in=untouched):
                stored[line.order_id].append(line)
        return {
            key: self.records[key].lines if key in self.records else stored[order.pk]
            for key, order in changed.items()
        }

    def _save_lines(self, is_known: dict[str, bool]) -> None:
        """Upsert the lines of new records and remove lines a changed order no longer has."""
        rows = [
            (self._changed_pks[key], *(getattr(line, name) for name in _LINE_COLUMNS[1:]))
            for key, record in self.records.items()
            for line in record.lines
        ]
        orders = [self._changed_pks[key] for key in self.records if is_known[key]]
        if orders:
            keep = {row[:2] for row in rows}
            stale = [
                pk
                for pk, *identity in OrderLine.objects.filter(order_id__in=orders).values_list(
                    "pk", "order_id", "line_id"
                )
                if tuple(identity) not in keep
            ]
            if stale:
                OrderLine.objects.filter(pk__in=stale).delete()
        upsert_rows(
            OrderLine,
            columns=_LINE_COLUMNS,
            rows=rows,
            conflict=["order_id", "line_id"],
            update=_LINE_COLUMNS[2:],
        )

    def _save_order_payments(self) -> None:
        """Upsert the payments that came inside orders."""
        names = [f.name for f in fields(CanonicalPayment)]
        is_gateway = self.source.kind == SourceKind.GATEWAY
        rows = [
            (self.source.pk, self._changed_pks[key], is_gateway, *(getattr(p, n) for n in names))
            for key, record in self.records.items()
            for p in record.payments
        ]
        _upsert_parts(Payment, rows, ("order_no", "payment_id"))

    def _adopt(
        self, payments: Mapping[str, list[Payment]], receipts: Mapping[str, list[Receipt]]
    ) -> None:
        """Tie parts that waited for their order to it: one statement per table."""
        for model, found in ((Payment, payments), (Receipt, receipts)):
            waiting = [row.pk for parts in found.values() for row in parts if row.order_id is None]
            if waiting:
                owner = Order.objects.filter(order_no=OuterRef("order_no")).order_by("pk")
                model.objects.filter(pk__in=waiting).update(order=Subquery(owner.values("pk")[:1]))

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
        rows = []
        for order in moved.values():
            occurred, kind = moment_of_stage(order)
            rows.append(
                (
                    order.pk,
                    self.source.pk,
                    last.get(order.pk, 0) + 1,
                    kind,
                    order.stage,
                    order.raw_status,
                    occurred or self.now,
                    self.now,
                )
            )
        upsert_rows(
            StatusEvent,
            columns=[
                "order_id",
                "source_id",
                "sequence",
                "kind",
                "stage",
                "raw_status",
                "occurred_at",
                "recorded_at",
            ],
            rows=rows,
            conflict=["order_id", "sequence"],
            update=[],
        )

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

    def _save_raw(self) -> None:
        rows = [
            (
                self._changed_pks[key],
                self.source.pk,
                encrypt(
                    json.dumps(dict(record.raw), ensure_ascii=False, cls=DjangoJSONEncoder),
                    purpose=RAW_PURPOSE,
                ),
                self.now,
            )
            for key, record in self.records.items()
            if record.raw
        ]
        upsert_rows(
            RawPayload,
            columns=["order_id", "source_id", "sealed", "received_at"],
            rows=rows,
            conflict=["order_id", "source_id"],
            update=["sealed", "received_at"],
        )

    def _mark_related(self, changed: dict[str, Order]) -> None:
        """Raise the revision of other open orders of the same buyers and addresses, and of those a
        platform ties to them: their facts may move.

        At most MAX_RELATED_MARKED: thousands may share a forwarder's address. The clock pass of
        the same minute reads the rest anew anyway.
        """
        orders = list(changed.values())
        parents = {order.parent_no for order in orders} - {""}
        wanted = (
            ("buyer_index", {order.buyer_index for order in orders} - {""}),
            ("address_index", {order.address_index for order in orders} - {""}),
            ("parent_no", {order.order_no for order in orders} | parents),
            ("order_no", parents),
        )
        # One query of branches, each with an index of its own: with OR, SQLite walks every order.
        branches = [
            Order.objects.waiting().filter(**{f"{column}__in": keys}).values_list("pk", flat=True)
            for column, keys in wanted
            if keys
        ]
        own = {order.pk for order in orders}
        found = branches[0].union(*branches[1:])[: MAX_RELATED_MARKED + len(own)]
        others = sorted(set(found) - own)[:MAX_RELATED_MARKED]
        if others:
            Order.objects.filter(pk__in=others).update(revision=F("revision") + 1)


def place_of(record: CanonicalOrder) -> str:
    """The whole address in one form, whatever the spacing; empty when any of it is hidden."""
    detail = record.address_detail
    if not detail or "*" in detail or not (record.province or record.city):
        return ""
    parts = (record.province, record.city, record.district, record.town, detail)
    written = unicodedata.normalize("NFKC", "".join(part or "" for part in parts))
    return "".join(written.split()).lower()


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


def is_held_by_platform(order: Order) -> bool:
    """Whether the platform has the order in review, in an open group, or paused."""
    return bool(
        order.risk_state
        or order.group_state == GroupState.OPEN
        or order.stage in {Stage.AWAIT_GROUP, Stage.PLATFORM_HOLD}
    )


def ready_at(order: Order) -> datetime | None:
    """Since when an order may be worked on: its payment, or the platform letting go of it."""
    if order.paid_at is None or order.released_at is None:
        return order.paid_at
    return max(order.paid_at, order.released_at)


def evidence_of(
    order: Order, lines: Sequence[Line], connected: frozenset[str] | set[str]
) -> Evidence:
    """Read an order's columns and lines as evidence for the twelve nodes."""
    is_mall = order.channel == Channel.PRIVATE_MALL
    blocked, skipped = set(), set()
    if is_held_by_platform(order):
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
            "ready": ready_at(order),
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


def rewalk_orders(*, now: datetime, after_id: int = 0, limit: int = MAX_BATCH) -> int | None:
    """Walk open orders through the river again: after the first OMS, or with a new node table.

    Takes the next `limit` open orders after `after_id`, in one transaction; an order whose way
    changed gets a new revision. Returns the id to go on after, or None when there are no more.
    """
    with transaction.atomic():
        query = Order.objects.waiting().filter(pk__gt=after_id).order_by("pk")
        orders = {o.pk: o for o in query.select_for_update(of=("self",), no_key=True)[:limit]}
        if not orders:
            return None
        lines: dict[int, list[OrderLine]] = defaultdict(list)
        for line in OrderLine.objects.filter(order_id__in=orders):
            lines[line.order_id].append(line)
        nodes, connected = list_nodes(), _connected_kinds()
        walked = {
            pk: walk(evidence_of(order, lines[pk], connected), nodes)
            for pk, order in orders.items()
        }
        changed = [orders[pk] for pk in save_passages(walked, known=list(orders))]
        for order in changed:
            stand_at(order, walked[order.pk])
            order.revision += 1
            order.received_at = now
        if changed:
            Order.objects.bulk_update(
                changed, ["node", "node_entered_at", "revision", "received_at"], batch_size=200
            )
    return max(orders)


def reread_order(order_id: int, *, now: datetime) -> bool:
    """Put one order together again from all that its sources have told, and walk it anew.

    Its revision rises in any case, so that its facts are taken again. Returns whether a system's
    word, its deadline or its place in the river came out differently than stored.
    """
    with transaction.atomic():
        order: Order = Order.objects.select_for_update(of=("self",), no_key=True).get(pk=order_id)
        before = {name: getattr(order, name) for name in _REREAD}
        payments = list(Payment.objects.filter(order_no=order.order_no, is_gateway=True))
        receipts = list(Receipt.objects.filter(order_no=order.order_no).select_related("source"))
        digest_systems(order, payments, receipts)
        order.deadline_at = deadline_of(order)
        passages = walk(
            evidence_of(order, list(order.lines.all()), _connected_kinds()), list_nodes()
        )
        moved = save_passages({order.pk: passages}, known=[order.pk])
        stand_at(order, passages)
        order.revision += 1
        order.received_at = now
        order.save(update_fields=[*_REREAD, "revision", "received_at"])
    return bool(moved) or any(getattr(order, name) != value for name, value in before.items())


def _connected_kinds() -> frozenset[str]:
    """The kinds of source that have told how far they are complete."""
    return frozenset(
        Source.objects.filter(complete_until__isnull=False).values_list("kind", flat=True)
    )


def save_passages(walked: Mapping[int, Sequence[Passage]], *, known: Sequence[int]) -> set[int]:
    """Store passages per order id; `known` are the orders that may have some already.

    Returns the ids of the orders whose passages are not what they were.
    """
    before: dict[tuple[int, str], tuple[int, datetime, datetime | None, bool]] = {}
    if known:
        # Plain values: building a model instance per passage costs more than the query.
        for order_id, node, *rest in NodePassage.objects.filter(order_id__in=known).values_list(
            "order_id", "node", "pk", "entered_at", "left_at", "is_inferred"
        ):
            before[order_id, node] = tuple(rest)
    rows, kept = [], set()
    for order_id, passages in walked.items():
        for p in passages:
            kept.add((order_id, p.node))
            old = before.get((order_id, p.node))
            if old is None or old[1:] != (p.entered_at, p.left_at, p.is_inferred):
                rows.append((order_id, p.node, p.entered_at, p.left_at, p.is_inferred))
    gone = [old[0] for key, old in before.items() if key not in kept]
    if gone:
        NodePassage.objects.filter(pk__in=gone).delete()
    upsert_rows(
        NodePassage,
        columns=["order_id", "node", "entered_at", "left_at", "is_inferred"],
        rows=rows,
        conflict=["order_id", "node"],
        update=["entered_at", "left_at", "is_inferred"],
    )
    return {row[0] for row in rows} | {key[0] for key in before if key not in kept}


def _upsert_parts(
    model: type[Payment] | type[Receipt], rows: Sequence[Sequence[Any]], key: tuple[str, ...]
) -> None:
    """Upsert payments or receipts, tying them to their orders where those are known."""
    columns = _PART_COLUMNS[model]
    conflict = ["environment_id", "source_id", *key]
    upsert_rows(
        model,
        columns=columns,
        rows=rows,
        conflict=conflict,
        update=[c for c in columns if c not in conflict],
    )
