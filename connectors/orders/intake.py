"""One batch on its way in: content compared, rows upserted, orders walked through the river.

A fixed number of statements; `services.receive()` puts one transaction around it.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
import zlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from operator import attrgetter
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db import connection
from django.db.models import F, Max

from config.secrets import blind_index, encrypt
from config.tenancy.bulk import upsert_rows
from config.tenancy.models import new_public_id
from config.tenancy.scope import require_environment_id
from connectors.orders.canonical import (
    CanonicalLine,
    CanonicalOrder,
    CanonicalPayment,
    CanonicalPromotion,
    CanonicalReceipt,
    CanonicalRecord,
    CanonicalShipment,
)
from connectors.orders.deadlines import list_ship_rules
from connectors.orders.evidence import (
    Line,
    deadline_of,
    digest_systems,
    evidence_of,
    is_held_by_platform,
    is_in_review,
    note_hold,
    note_review,
    stand_at,
)
from connectors.orders.merging import (
    NewPayment,
    NewReceipt,
    Outcome,
    PaymentRow,
    ReceiptRow,
    merge_payment,
    merge_receipt,
)
from connectors.orders.models import (
    ADDRESS_PURPOSE,
    NAME_PURPOSE,
    PHONE_PURPOSE,
    RAW_PURPOSE,
    Order,
    OrderLine,
    Payment,
    Promotion,
    RawPayload,
    Receipt,
    Shipment,
    StatusEvent,
)
from connectors.orders.nodes import Passage, walk
from connectors.orders.passages import connected_kinds, list_nodes, save_passages
from connectors.orders.statuses import STAGE_RANKS, is_open_stage
from connectors.orders.steps import Step, list_steps
from connectors.orders.storable import make_storable, may_be_unstorable, mend_text
from connectors.shops.models import Shop, Source, SourceKind

MAX_RELATED_MARKED = 500
# Parts that wait and orders that come are kept apart by this many locks per environment.
_LOCK_BUCKETS = 64

_COPIED = tuple(
    f.name
    for f in fields(CanonicalOrder)
    if f.name
    not in {
        "channel",
        "shop",
        "lines",
        "payments",
        "promotions",
        "shipments",
        "raw",
        "custom",
        "buyer",
        "receiver_name",
        "receiver_phone",
        "address_detail",
        "paid_fen",
        "is_paid_reduced",
    }
)
_HASHED = tuple(f.name for f in fields(CanonicalOrder) if f.name != "raw")
_ORDER_COLUMNS = [
    f.attname for f in Order._meta.concrete_fields if f.name not in {"id", "tenant", "environment"}
]
# What receiving an order again leaves as it is.
_ORDER_FIXED = frozenset(
    {
        *("public_id", "shop_id", "order_no", "first_received_at", "first_scored_at"),
        *("is_history", "is_watched"),
    }
)
_LATE_COLUMNS = ("paid_fen", "released_at", "review_at", "paid_told_at", "hold_log")
_LINE_COLUMNS = ["order_id", *(f.name for f in fields(CanonicalLine))]
_PROMOTION_COLUMNS = ["order_id", "position", *(f.name for f in fields(CanonicalPromotion))]
_SHIPMENT_COLUMNS = ["order_id", *(f.name for f in fields(CanonicalShipment))]
_PAYMENT_KEY, _RECEIPT_KEY = ("order_no", "payment_id"), ("order_no",)
_PART_COLUMNS: dict[type[Payment] | type[Receipt], list[str]] = {
    model: [
        f.attname
        for f in model._meta.concrete_fields
        if f.name not in {"id", "tenant", "environment"}
    ]
    for model in (Payment, Receipt)
}
_PART_VALUES = {model: attrgetter(*columns) for model, columns in _PART_COLUMNS.items()}
_ORDER_VALUES = attrgetter(*_ORDER_COLUMNS)
_HASHED_VALUES = attrgetter(*_HASHED)
Part = PaymentRow | ReceiptRow


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


def _digest(record: CanonicalOrder) -> tuple[str, str]:
    """Content hash of an order, and the text it was made from: equal content, equal hash."""
    written = repr(_HASHED_VALUES(record))
    return hashlib.sha256(written.encode()).hexdigest()[:32], written


def _is_older(record: CanonicalOrder, order: Order, *, is_reread: bool) -> bool:
    """Whether a record tells an earlier state than the stored one, by the source's own time.

    Of two states of one second the further one is the later; where nothing orders them, the one
    that arrives last stands. What is read anew replaces what the same state said before.
    """
    told, known = record.source_updated_at, order.source_updated_at
    if told is None or known is None:
        return False
    if told != known:
        return told < known
    return not is_reread and STAGE_RANKS[record.stage] < STAGE_RANKS[order.stage]


def _lock_numbers(numbers: Sequence[str]) -> None:
    """Keep an order and a part that waits for it from passing each other unseen (PostgreSQL).

    Neither can lock the other's row, for it is not there yet. SQLite has one writer anyway.
    """
    if connection.vendor != "postgresql":
        return
    buckets = sorted({zlib.crc32(number.encode()) % _LOCK_BUCKETS for number in numbers})
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_advisory_xact_lock(%s, bucket) FROM unnest(%s::int[]) AS bucket",
            [require_environment_id(), buckets],
        )


class Batch:
    """One batch on its way in; holds what its steps share."""

    def __init__(
        self,
        source: Source,
        now: datetime,
        is_history: bool,
        shops: dict[tuple[str, str], Shop],
        is_reread: bool = False,
        *,
        history_before: datetime | None = None,
    ) -> None:
        self.source, self.now, self.is_history = source, now, is_history
        self.history_before = history_before
        self.is_reread = is_reread
        self.shops = shops
        self.nodes, self.ship_rules = list_nodes(), list_ship_rules()
        self.connected = connected_kinds() | {source.kind}
        self.blank_order: list[Any] = [field.get_default() for field in Order._meta.concrete_fields]

    def take(self, records: Sequence[CanonicalRecord]) -> Received:
        records = [_mend_part(r) for r in records]
        orders = [r for r in records if isinstance(r, CanonicalOrder)]
        numbers = sorted({r.order_no for r in records})
        _lock_numbers(numbers)
        stored: dict[str, list[Order]] = defaultdict(list)
        # Locked in key order, so that two batches cannot wait for each other.
        query = Order.objects.filter(order_no__in=numbers).order_by("id")
        for order in query.select_for_update(of=("self",), no_key=True):
            stored[order.order_no].append(order)

        counts: dict[str, int] = defaultdict(int)
        changed = self._apply_orders(orders, stored, counts)
        parts = [r for r in records if not isinstance(r, CanonicalOrder)]
        self._read_parts(changed, parts)
        self._merge_told_payments(changed)
        self._merge_parts(parts, stored, changed, counts)
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
        self.steps: dict[str, list[Step]] = defaultdict(list)
        self.told_payments: list[tuple[Order, CanonicalPayment, datetime | None]] = []
        self.noted: dict[str, Order] = {}
        for record in records:
            shop = self._shop(record)
            key = f"{shop.pk}:{record.order_no}"
            order = next((o for o in stored[record.order_no] if o.shop_id == shop.pk), None)
            digest, written = _digest(record)
            if may_be_unstorable(written):
                record = make_storable(record)
            if order is not None:
                if order.content_hash == digest:
                    counts["unchanged"] += 1
                    continue
                if _is_older(record, order, is_reread=self.is_reread):
                    counts["stale"] += 1
                    self._remember_payments(order, record)
                    self._take_late(key, order, record, changed)
                    continue
                counts["updated" if order.pk else "new"] += 1
            else:
                order = self._new_order(shop, record)
                stored[record.order_no].append(order)
                counts["new"] += 1
            before = order.stage or None
            self._fill(order, record, digest)
            if before != order.stage:
                steps = list_steps(order, before, is_reread=self.is_reread, now=self.now)
                self.steps[key] += steps
            self._remember_payments(order, record)
            changed[key], self.records[key] = order, record
        return changed

    def _new_order(self, shop: Shop, record: CanonicalOrder) -> Order:
        """An unsaved row; by position, for Django asks every default anew of names."""
        order = Order(*self.blank_order)  # type: ignore[misc] # stubs know names only
        order.public_id = new_public_id()
        order.shop, order.order_no, order.revision = shop, record.order_no, 0
        order.first_received_at, order.is_history = self.now, self._is_past(record)
        return order

    def _is_past(self, record: CanonicalOrder) -> bool:
        """Whether a new order is history: said so, or placed before what counts as news."""
        if self.is_history or self.history_before is None or record.placed_at is None:
            return self.is_history
        return record.placed_at < self.history_before

    def _remember_payments(self, order: Order, record: CanonicalOrder) -> None:
        """Keep the payments inside an order; without a time of their own they are of its state."""
        at = record.source_updated_at
        self.told_payments += [(order, payment, at) for payment in record.payments]

    def _take_late(
        self, key: str, order: Order, record: CanonicalOrder, changed: dict[str, Order]
    ) -> None:
        """What an overtaken state still tells: an amount before a refund, a hold that is over.

        What only dates them is noted without a new revision: nothing of the order changed.
        """
        before = [getattr(order, name) for name in _LATE_COLUMNS]
        self._take_paid(order, record, is_newest=False)
        self._take_hold(order, record)
        after = [getattr(order, name) for name in _LATE_COLUMNS]
        if before[:3] != after[:3]:
            changed.setdefault(key, order)
        elif before != after:
            self.noted[key] = order

    def _take_paid(self, order: Order, record: CanonicalOrder, *, is_newest: bool) -> None:
        """The amount paid as the newest state before any refund told it (channels.md 3.5)."""
        told_at = record.source_updated_at or self.now
        if not record.is_paid_reduced:
            if order.paid_told_at is None or told_at >= order.paid_told_at:
                order.paid_fen, order.paid_told_at = record.paid_fen, told_at
        elif is_newest and order.paid_told_at is None:
            order.paid_fen = record.paid_fen

    def _take_hold(self, order: Order, record: CanonicalOrder) -> None:
        """What a state, the newest or an overtaken one, says of the platform's hold and review."""
        at, now = record.source_updated_at, self.now
        note_hold(order, told_at=at, is_held=is_held_by_platform(record), now=now)
        note_review(order, told_at=at, is_reviewed=is_in_review(record), now=now)

    def _fill(self, order: Order, record: CanonicalOrder, digest: str) -> None:
        for name in _COPIED:
            setattr(order, name, getattr(record, name))
        self._take_paid(order, record, is_newest=True)
        self._take_hold(order, record)
        order.raw_status = record.raw_status[:100]
        order.channel, order.source = record.channel, self.source
        order.custom = dict(record.custom)
        order.is_open = is_open_stage(record.stage)
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

    def _read_parts(self, changed: dict[str, Order], parts: Sequence[Any]) -> None:
        """All payments and receipts of the numbers this batch touches: two queries."""
        numbers = {order.order_no for order in changed.values()}
        numbers |= {r.order_no for r in parts} | {p.order_no for _, p, _ in self.told_payments}
        self.payments: dict[tuple[int, str, str], PaymentRow] = {}
        self.receipts: dict[tuple[int, str], ReceiptRow] = {}
        self.unsaved: dict[tuple[Any, ...], tuple[Part, Order | None]] = {}
        if not numbers:
            return
        for payment in Payment.objects.filter(order_no__in=numbers).order_by("pk"):
            self.payments[payment.source_id, payment.order_no, payment.payment_id] = payment
        query = Receipt.objects.filter(order_no__in=numbers).order_by("pk")
        for receipt in query.select_related("source"):
            self.receipts[receipt.source_id, receipt.order_no] = receipt

    def _payment(self, record: CanonicalPayment) -> tuple[tuple[int, str, str], PaymentRow]:
        key = (self.source.pk, record.order_no, record.payment_id)
        if key not in self.payments:
            self.payments[key] = NewPayment(
                source_id=self.source.pk,
                order_no=record.order_no,
                payment_id=record.payment_id,
                is_gateway=self.source.kind == SourceKind.GATEWAY,
            )
        return key, self.payments[key]

    def _receipt(self, record: CanonicalReceipt) -> tuple[tuple[int, str], ReceiptRow]:
        key = (self.source.pk, record.order_no)
        if key not in self.receipts:
            self.receipts[key] = NewReceipt(
                source=self.source, source_id=self.source.pk, order_no=record.order_no
            )
        return key, self.receipts[key]

    def _merge_told_payments(self, changed: dict[str, Order]) -> None:
        """Merge the payments that came inside orders, those of an overtaken state too."""
        for order, record, at in self.told_payments:
            key, row = self._payment(record)
            outcome = merge_payment(row, record, now=self.now, state_at=at)
            if outcome is not Outcome.NOTHING:
                self.unsaved[key] = row, order
            if outcome is Outcome.CONTENT:
                changed.setdefault(f"{order.shop_id}:{order.order_no}", order)

    def _merge_parts(
        self,
        records: Sequence[CanonicalPayment | CanonicalReceipt],
        stored: dict[str, list[Order]],
        changed: dict[str, Order],
        counts: dict[str, int],
    ) -> None:
        """Merge payments and receipts that came on their own; their orders count as changed."""
        seen: set[tuple[Any, ...]] = set()
        for record in records:
            key: tuple[Any, ...]
            row: Part
            if isinstance(record, CanonicalPayment):
                key, row = self._payment(record)
                is_new = row.pk is None and key not in seen
                outcome = merge_payment(row, record, now=self.now)
            else:
                key, row = self._receipt(record)
                is_new = row.pk is None and key not in seen
                outcome = merge_receipt(row, record, now=self.now)
            seen.add(key)
            if outcome is Outcome.NOTHING and not is_new:
                counts["unchanged"] += 1
                continue
            owner = stored[record.order_no][0] if stored.get(record.order_no) else None
            self.unsaved[key] = row, owner
            if outcome is not Outcome.CONTENT and not is_new:
                counts["unchanged"] += 1
                continue
            counts["new" if is_new else "updated"] += 1
            if owner is None:
                counts["waiting"] += 1
            else:
                changed.setdefault(f"{owner.shop_id}:{owner.order_no}", owner)

    def _save_parts(self, changed: dict[str, Order], stored: dict[str, list[Order]]) -> None:
        """Upsert what was merged, and tie to their order the parts that waited for it."""
        for order in changed.values():
            first = stored[order.order_no][0]
            for key, part in self._parts_of(order.order_no):
                if part.order_id is None and key not in self.unsaved:
                    self.unsaved[key] = part, first
        rows: dict[type[Payment] | type[Receipt], list[Any]] = {Payment: [], Receipt: []}
        for part, owner in self.unsaved.values():
            if part.order_id is None and owner is not None:
                part.order_id = owner.pk
            model = Payment if isinstance(part, Payment | NewPayment) else Receipt
            rows[model].append(_PART_VALUES[model](part))
        _upsert_parts(Payment, rows[Payment], _PAYMENT_KEY)
        _upsert_parts(Receipt, rows[Receipt], _RECEIPT_KEY)

    def _parts_of(self, number: str) -> Sequence[tuple[tuple[Any, ...], Part]]:
        return self.parts_by_number.get(number, ())

    # -- the rest of the batch ---------------------------------------------------------------

    def _finish(self, changed: dict[str, Order], stored: dict[str, list[Order]]) -> None:
        payments, receipts = self._sort_parts()
        if not changed:
            if self.noted:
                self._save_orders(changed)
            if self.unsaved:
                self._save_parts(changed, stored)
            return
        lines = self._lines_of(changed)

        walked: dict[str, tuple[Passage, ...]] = {}
        for key, order in changed.items():
            digest_systems(order, payments[order.order_no], receipts[order.order_no])
            order.deadline_at = deadline_of(order, self.ship_rules)
            order.revision += 1
            order.received_at = self.now
            evidence = evidence_of(order, lines[key], self.connected)
            walked[key] = walk(evidence, self.nodes)
            stand_at(order, walked[key])

        is_known = {key: order.pk is not None for key, order in changed.items()}
        self._save_orders(changed)
        self._save_children(is_known)
        self._save_parts(changed, stored)
        self._save_events(changed, is_known)
        self._save_passages(changed, walked, is_known)
        self._save_raw()
        self._mark_related(changed)

    def _sort_parts(self) -> tuple[dict[str, list[PaymentRow]], dict[str, list[ReceiptRow]]]:
        """What gateways paid and systems say, by order number."""
        payments: dict[str, list[PaymentRow]] = defaultdict(list)
        receipts: dict[str, list[ReceiptRow]] = defaultdict(list)
        self.parts_by_number: dict[str, list[tuple[tuple[Any, ...], Part]]]
        self.parts_by_number = defaultdict(list)
        for key, payment in self.payments.items():
            self.parts_by_number[payment.order_no].append((key, payment))
            if payment.is_gateway:
                payments[payment.order_no].append(payment)
        for place, receipt in self.receipts.items():
            self.parts_by_number[receipt.order_no].append((place, receipt))
            receipts[receipt.order_no].append(receipt)
        return payments, receipts

    def _save_orders(self, changed: dict[str, Order]) -> None:
        """Upsert the order rows and learn the keys of the new ones."""
        upsert_rows(
            Order,
            columns=_ORDER_COLUMNS,
            rows=[_ORDER_VALUES(order) for order in (self.noted | changed).values()],
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

    def _save_children(self, is_known: dict[str, bool]) -> None:
        """Upsert lines, promotions and parcels of new records; remove what is not told any more."""
        known = [self._changed_pks[key] for key in self.records if is_known[key]]
        orders = [(self._changed_pks[key], record) for key, record in self.records.items()]
        _replace_children(
            OrderLine,
            columns=_LINE_COLUMNS,
            key="line_id",
            known=known,
            rows=[
                (pk, *(getattr(line, name) for name in _LINE_COLUMNS[1:]))
                for pk, record in orders
                for line in record.lines
            ],
        )
        _replace_children(
            Promotion,
            columns=_PROMOTION_COLUMNS,
            key="position",
            known=known,
            rows=[
                (pk, place, *(getattr(promotion, name) for name in _PROMOTION_COLUMNS[2:]))
                for pk, record in orders
                for place, promotion in enumerate(record.promotions)
            ],
        )
        _replace_children(
            Shipment,
            columns=_SHIPMENT_COLUMNS,
            key="shipment_id",
            known=known,
            rows=[
                (pk, p.shipment_id, p.tracking_no, p.company, p.shipped_at, _write_parcel(p))
                for pk, record in orders
                for p in record.shipments
            ],
        )

    def _save_events(self, changed: dict[str, Order], is_known: dict[str, bool]) -> None:
        moved = {key: changed[key] for key in self.steps}
        if not moved:
            return
        last: dict[int, int] = dict(
            StatusEvent.objects.filter(order_id__in=[o.pk for k, o in moved.items() if is_known[k]])
            .values("order_id")
            .annotate(last=Max("sequence"))
            .values_list("order_id", "last")
        )
        rows = [
            (
                order.pk,
                self.source.pk,
                last.get(order.pk, 0) + place,
                step.kind,
                step.stage,
                step.raw_status,
                step.occurred_at,
                self.now,
            )
            for key, order in moved.items()
            for place, step in enumerate(self.steps[key], 1)
        ]
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
                encrypt(_write_raw(record.raw), purpose=RAW_PURPOSE),
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
            # A row that somebody else holds gets its new revision from him.
            free = Order.objects.filter(pk__in=others).order_by("pk")
            free = free.select_for_update(no_key=True, skip_locked=True)
            ids = list(free.values_list("pk", flat=True))
            Order.objects.filter(pk__in=ids).update(revision=F("revision") + 1)


def _mend_part(record: CanonicalRecord) -> CanonicalRecord:
    """A payment or receipt as it can be stored; an order is looked at where it is hashed."""
    if isinstance(record, CanonicalOrder) or not may_be_unstorable(repr(record)):
        return record
    return make_storable(record)


def _write_raw(raw: Mapping[str, Any]) -> str:
    """What the outside sent, as one JSON text that a cipher takes."""
    return mend_text(json.dumps(dict(raw), ensure_ascii=False, cls=DjangoJSONEncoder))


def place_of(record: CanonicalOrder) -> str:
    """The whole address in one form, whatever the spacing; empty when any of it is hidden."""
    detail = record.address_detail
    if not detail or "*" in detail or not (record.province or record.city):
        return ""
    parts = (record.province, record.city, record.district, record.town, detail)
    written = unicodedata.normalize("NFKC", "".join(part or "" for part in parts))
    return "".join(written.split()).lower()


def _write_parcel(parcel: CanonicalShipment) -> list[dict[str, Any]]:
    return [{"line_id": line.line_id, "quantity": line.quantity} for line in parcel.lines]


def _replace_children(
    model: type[OrderLine] | type[Promotion] | type[Shipment],
    *,
    columns: list[str],
    key: str,
    known: Sequence[int],
    rows: list[Any],
) -> None:
    """Upsert the rows of a table under their orders, and delete what else `known` orders have."""
    if known:
        keep = {row[:2] for row in rows}
        stored = model.objects.filter(order_id__in=known).values_list("pk", "order_id", key)
        gone = [pk for pk, *identity in stored if tuple(identity) not in keep]
        if gone:
            model.objects.filter(pk__in=gone).delete()
    upsert_rows(model, columns=columns, rows=rows, conflict=["order_id", key], update=columns[2:])


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
