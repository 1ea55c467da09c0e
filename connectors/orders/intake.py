"""One batch on its way in: content compared, rows upserted, orders walked through the river.

A fixed number of statements; `services.receive()` puts one transaction around it.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import F, Max, OuterRef, Subquery

from config.secrets import blind_index, encrypt
from config.tenancy.bulk import upsert_rows
from connectors.orders.canonical import (
    CanonicalLine,
    CanonicalOrder,
    CanonicalPayment,
    CanonicalReceipt,
    CanonicalRecord,
)
from connectors.orders.evidence import (
    Line,
    deadline_of,
    digest_systems,
    evidence_of,
    is_held_by_platform,
    moment_of_stage,
    stand_at,
)
from connectors.orders.models import (
    ADDRESS_PURPOSE,
    NAME_PURPOSE,
    PHONE_PURPOSE,
    RAW_PURPOSE,
    Order,
    OrderLine,
    Payment,
    RawPayload,
    Receipt,
    StatusEvent,
)
from connectors.orders.nodes import Passage, walk
from connectors.orders.passages import connected_kinds, list_nodes, save_passages
from connectors.orders.statuses import FINAL_STAGES, Stage
from connectors.shops.models import Shop, Source, SourceKind

MAX_RELATED_MARKED = 500

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


def _digest(record: CanonicalOrder) -> str:
    """Content hash of an order: equal content, equal hash, whatever the raw spelling was."""
    content = [getattr(record, name) for name in _HASHED]
    return hashlib.sha256(repr(content).encode()).hexdigest()[:32]


class Batch:
    """One batch on its way in; holds what its steps share."""

    def __init__(
        self, source: Source, now: datetime, is_history: bool, shops: dict[tuple[str, str], Shop]
    ) -> None:
        self.source, self.now, self.is_history = source, now, is_history
        self.shops = shops
        self.nodes = list_nodes()
        self.connected = connected_kinds() | {source.kind}

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
            # A row that somebody else holds gets its new revision from him.
            free = Order.objects.filter(pk__in=others).order_by("pk")
            free = free.select_for_update(no_key=True, skip_locked=True)
            ids = list(free.values_list("pk", flat=True))
            Order.objects.filter(pk__in=ids).update(revision=F("revision") + 1)


def place_of(record: CanonicalOrder) -> str:
    """The whole address in one form, whatever the spacing; empty when any of it is hidden."""
    detail = record.address_detail
    if not detail or "*" in detail or not (record.province or record.city):
        return ""
    parts = (record.province, record.city, record.district, record.town, detail)
    written = unicodedata.normalize("NFKC", "".join(part or "" for part in parts))
    return "".join(written.split()).lower()


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
