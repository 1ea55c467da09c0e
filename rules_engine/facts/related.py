"""What is fetched beside an order, only for formulas that use it: other orders, its own history,
the receiver, calendars. A fixed number of queries per chunk, whatever its size; at most MAX_RELATED rows each.

Absence is knowledge only while the feed is fresh: with the order's channel feed late, its relations
are UNKNOWN; a node not entered while a feed that would tell is late is UNKNOWN too.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db.models import F, Q, QuerySet, Sum, Window
from django.db.models.functions import RowNumber

from config.secrets import blind_index, decrypt
from connectors.orders.models import (
    ADDRESS_PURPOSE,
    NAME_PURPOSE,
    PHONE_PURPOSE,
    NodePassage,
    Order,
    OrderLine,
    Promotion,
    Shipment,
    StatusEvent,
)
from connectors.orders.nodes import Node
from connectors.orders.statuses import FINAL_STAGES, PRESALE_LABELS, REFUND_LABELS, STAGE_LABELS
from connectors.shops.models import Channel, Shop
from rules_engine.facts.catalog import (
    CALENDARS,
    CHANNEL,
    EVENTS,
    GATEWAY,
    LINKED,
    MAX_RELATED,
    OMS,
    PARCELS,
    PASSAGES,
    RECEIVER_ADDRESS,
    RECEIVER_NAME,
    RECEIVER_PHONE,
    RELATED_DAYS,
    RELATION_IDS,
    SAME_ADDRESS,
    SAME_BUYER,
    SAME_SKU,
    SAME_SKU_HOURS,
    USED_PROMOTIONS,
    WMS,
)
from rules_engine.facts.collect import Completer, Feeds, Setting, Values, fit_text, stage_of
from rules_engine.facts.tables import load_lookups, load_rows
from rules_engine.formula import UNKNOWN, Value, to_serial

_FUNDER_LABELS: Final = {str(value): str(label) for value, label in Promotion.Funder.choices}
_CHANNEL_LABELS: Final = {str(value): str(label) for value, label in Channel.choices}
# Everything `stage_of` and the columns read; "pk" and "revision" name the row in the digest.
_COLUMNS: Final = (
    "pk",
    "revision",
    "shop_id",
    "channel",
    "order_no",
    "parent_no",
    "stage",
    "placed_at",
    "paid_at",
    "approved_at",
    "shipped_at",
    "delivered_at",
    "closed_at",
    "payable_fen",
    "paid_fen",
    "refund_state",
    "presale_phase",
    "deposit_fen",
    "deposit_paid_at",
    "balance_due_at",
)
_HEAD: Final = (
    "pk",
    "source_id",
    "shop_id",
    "order_no",
    "parent_no",
    "buyer_index",
    "address_index",
)
# Which feed tells the moments that nodes take as evidence; the rest is the order's own channel.
_EVIDENCE: Final = {
    "gateway_paid": GATEWAY,
    "oms_received": OMS,
    "oms_reviewed": OMS,
    "wms_received": WMS,
    "picked": WMS,
    "wms_shipped": WMS,
}

_MAX_IDS: Final = 20_000  # in one statement: SQLite takes 32,766 parameters

Row = dict[str, Value]
_Answer = tuple[int, str, Value, str]  # order id, fact id, value, what names it in the digest


@dataclass(frozen=True, slots=True)
class Extra:
    """What was fetched beside one order; `token` names it in the score's digest."""

    values: Values
    token: str


NOTHING: Final = Extra({}, "")


@dataclass(frozen=True, slots=True)
class _Found:
    """Another order, as fetched: its columns and, of a sale of the same goods, the SKU."""

    order: Mapping[str, Any]
    key: Any


class Prefetch:
    """Fetches what a set of formulas needs beside its orders; made once per pass.

    needed: ids of prefetched fields with those of the columns used. Without any, nothing is
    queried. Tables and calendars are read when it is made and put into the completer.
    """

    def __init__(
        self,
        needed: Iterable[str],
        setting: Setting,
        completer: Completer,
        *,
        as_of: datetime | None = None,
    ) -> None:
        self.needed = frozenset(needed)
        self.setting, self.feeds, self.as_of = setting, completer.feeds, as_of
        self.moment = completer.moment
        self.zone = setting.describer.zone
        self.token = self._read_tables(completer)
        self.fetchers: list[_Fetch] = [
            fetch for id, fetch in _FETCHERS.items() if id in self.needed
        ]
        self._shops: dict[int, str] | None = None

    def _read_tables(self, completer: Completer) -> str:
        """Put the tables and calendars into every order's values; returns what names them."""
        tokens = []
        tables = [id for id in self.needed if id.startswith("table:") and "." not in id]
        if tables:
            found = load_lookups(tables)
            completer.add_constants(found)
            tokens += [f"{id}={table.digest}" for id, table in sorted(found.items())]
        for id, key in CALENDARS.items():
            if id in self.needed:
                rows, digest = load_rows(key, id)
                completer.add_constants({id: rows})
                tokens.append(f"{id}={digest}")
        return ";".join(tokens)

    # -- per chunk ---------------------------------------------------------------------------------

    def fetch(self, order_ids: Sequence[int]) -> Mapping[int, Extra]:
        """What belongs beside each order, by id; empty when the formulas need nothing."""
        if not self.fetchers:
            alike = Extra({}, self.token)
            return dict.fromkeys(order_ids, alike) if self.token else {}
        heads = [
            dict(zip(_HEAD, row, strict=True))
            for row in Order.objects.filter(pk__in=order_ids).values_list(*_HEAD)
        ]
        values: dict[int, Values] = {head["pk"]: {} for head in heads}
        tokens: dict[int, list[str]] = {head["pk"]: [self.token] for head in heads}
        for fetch in self.fetchers:
            for pk, id, value, token in fetch(self, heads):
                values[pk][id] = value
                tokens[pk].append(token)
        return {
            pk: Extra(found, hashlib.sha256("\n".join(tokens[pk]).encode()).hexdigest()[:32])
            for pk, found in values.items()
        }

    def uses(self, id: str) -> bool:
        """Whether some formula reads a column."""
        return id in self.needed

    def shop_name(self, shop_id: int) -> str | None:
        """The name of a shop (one query in a pass)."""
        if self._shops is None:
            self._shops = dict(Shop.objects.values_list("pk", "name"))
        return self._shops.get(shop_id) or None

    def is_late(self, head: Mapping[str, Any]) -> bool:
        """Whether the feed that would tell of other orders is behind."""
        return self.feeds.state(CHANNEL, head["source_id"]).is_late

    def serial(self, at: datetime | None) -> Value:
        """A moment as formulas see it; one later than an as-of run has not happened."""
        if at is None or (self.as_of is not None and at > self.as_of):
            return None
        return to_serial(at.astimezone(self.zone))


_Fetch = Callable[[Prefetch, "list[dict[str, Any]]"], "list[_Answer]"]


def digest_with(digest: str, extra: Extra) -> str:
    """The fact digest of a score: the snapshot's, with what was fetched beside it."""
    if not extra.token:
        return digest
    return hashlib.sha256(f"{digest}\n{extra.token}".encode()).hexdigest()[:32]


# --- other orders ---------------------------------------------------------------------------------


def _newest(rows: QuerySet[Any], key: str, prefix: str = "") -> QuerySet[Any]:
    """The newest MAX_RELATED + 1 of every key (one of them may be the order itself)."""
    rank = Window(
        RowNumber(),
        partition_by=F(key),
        order_by=[F(f"{prefix}placed_at").desc(), F(f"{prefix}pk").desc()],
    )
    return rows.annotate(place=rank).filter(place__lte=MAX_RELATED + 1)


def _within(fetch: Prefetch, prefix: str, length: timedelta) -> dict[str, datetime]:
    return {
        f"{prefix}placed_at__gte": fetch.moment - length,
        f"{prefix}placed_at__lte": fetch.moment,
    }


def _read_found(rows: QuerySet[Any], key: str) -> list[_Found]:
    # No name twice: over a ranked query Django then hands out shifted columns (5.2).
    names = [name for name in _COLUMNS if name != key]
    found = []
    for value, *rest in rows.values_list(key, *names):
        order = dict(zip(names, rest, strict=True))
        order[key] = value
        found.append(_Found(order, value))
    return found


class _Rows:
    """Writes fetched orders as rows of one relation; each order once."""

    def __init__(self, fetch: Prefetch, relation: str, quantities: Mapping[int, float]) -> None:
        self.fetch, self.relation, self.quantities = fetch, relation, quantities
        self.made: dict[tuple[int, str], tuple[Row, str]] = {}

    def row(self, found: Mapping[str, Any], link: str = "") -> tuple[Row, str]:
        """The row of another order and the token that names it."""
        place = (found["pk"], link)
        if place not in self.made:
            token = f"{found['pk']}.{found['revision']}{link}"
            self.made[place] = self._write(found, link), token
        return self.made[place]

    def _write(self, found: Mapping[str, Any], link: str) -> Row:
        fetch, name = self.fetch, self.relation
        stage = found["stage"]
        if fetch.as_of is not None:
            stage = stage_of(Order(**found), fetch.as_of)[0]
        is_paid = fetch.as_of is None or (
            found["paid_at"] is not None and found["paid_at"] <= fetch.as_of
        )
        quantity = self.quantities.get(found["pk"])
        row: Row = {
            f"{name}.order_no": found["order_no"],
            f"{name}.channel": _CHANNEL_LABELS.get(found["channel"], found["channel"]),
            f"{name}.shop": fetch.shop_name(found["shop_id"])
            if fetch.uses(f"{name}.shop")
            else UNKNOWN,
            f"{name}.stage": STAGE_LABELS.get(stage, stage),
            f"{name}.is_over": stage in FINAL_STAGES,
            f"{name}.placed_at": fetch.serial(found["placed_at"]),
            f"{name}.paid_at": fetch.serial(found["paid_at"]),
            f"{name}.shipped_at": fetch.serial(found["shipped_at"]),
            f"{name}.payable": _yuan(found["payable_fen"]),
            f"{name}.paid": _yuan(found["paid_fen"]) if is_paid else None,
            f"{name}.quantity": quantity if fetch.uses(f"{name}.quantity") else UNKNOWN,
            f"{name}.refund_state": REFUND_LABELS.get(found["refund_state"]) or None,
            f"{name}.presale_phase": PRESALE_LABELS.get(found["presale_phase"]) or None,
            f"{name}.deposit": _yuan(found["deposit_fen"]),
            f"{name}.deposit_paid_at": fetch.serial(found["deposit_paid_at"]),
            f"{name}.balance_due_at": fetch.serial(found["balance_due_at"]),
        }
        if name == LINKED:
            row[f"{name}.link"] = link
        return row


def _yuan(fen: int | None) -> Value:
    return None if fen is None else fen / 100


def _quantities(
    fetch: Prefetch, relation: str, orders: Iterable[Mapping[str, Any]]
) -> dict[int, float]:
    """Pieces per fetched order (one query), when a formula asks for them."""
    if not fetch.uses(f"{relation}.quantity"):
        return {}
    ids = sorted({order["pk"] for order in orders})
    found: dict[int, float] = {}
    for start in range(0, len(ids), _MAX_IDS):
        lines = OrderLine.objects.filter(order_id__in=ids[start : start + _MAX_IDS])
        for row in lines.values("order_id").annotate(pieces=Sum("quantity")):
            found[row["order_id"]] = float(row["pieces"] or 0)
    return found


def _answer(head: Mapping[str, Any], relation: str, rows: Sequence[tuple[Row, str]]) -> _Answer:
    shown = rows[:MAX_RELATED]
    token = relation + ":" + ",".join(token for _row, token in shown)
    return head["pk"], relation, tuple(row for row, _token in shown), token


def _unknown(head: Mapping[str, Any], relation: str) -> _Answer:
    return head["pk"], relation, UNKNOWN, f"{relation}:?"


def _fetch_sharing(relation: str, column: str) -> _Fetch:
    """Other orders with the same blind index; two queries, whatever the chunk."""

    def fetch_sharing(fetch: Prefetch, heads: list[dict[str, Any]]) -> list[_Answer]:
        keys = {head[column] for head in heads} - {""}
        rows = Order.objects.filter(
            **{f"{column}__in": keys}, **_within(fetch, "", timedelta(days=RELATED_DAYS))
        )
        found = _read_found(_newest(rows, column), column) if keys else []
        writer = _Rows(fetch, relation, _quantities(fetch, relation, (f.order for f in found)))
        by_key: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
        for one in sorted(found, key=lambda one: _age(one.order)):
            by_key[one.key].append(one.order)
        return [
            _unknown(head, relation)
            if not head[column] or fetch.is_late(head)
            else _answer(
                head,
                relation,
                [writer.row(o) for o in by_key[head[column]] if o["pk"] != head["pk"]],
            )
            for head in heads
        ]

    return fetch_sharing


def _age(order: Mapping[str, Any]) -> tuple[float, int]:
    """Sorts the newest first."""
    return -order["placed_at"].timestamp() if order["placed_at"] else 0.0, -order["pk"]


def _fetch_linked(fetch: Prefetch, heads: list[dict[str, Any]]) -> list[_Answer]:
    """Orders a platform ties together, in the same shop: the one above, those below and beside."""
    parents = {head["parent_no"] for head in heads} - {""}
    numbers = {head["order_no"] for head in heads}
    placed = Q(placed_at__lte=fetch.moment) | Q(placed_at=None)
    below = Order.objects.filter(placed, parent_no__in=numbers | parents)
    found = _read_found(_newest(below, "parent_no"), "parent_no")
    if parents:
        above = Order.objects.filter(placed, order_no__in=parents)
        found += _read_found(above, "order_no")
    orders = {one.order["pk"]: one.order for one in found}
    writer = _Rows(fetch, LINKED, _quantities(fetch, LINKED, orders.values()))
    by_parent: dict[tuple[int, str], list[Mapping[str, Any]]] = defaultdict(list)
    by_number: dict[tuple[int, str], Mapping[str, Any]] = {}
    for order in sorted(orders.values(), key=_age):
        by_number[order["shop_id"], order["order_no"]] = order
        if order["parent_no"]:
            by_parent[order["shop_id"], order["parent_no"]].append(order)
    answers: list[_Answer] = []
    for head in heads:
        if fetch.is_late(head):
            answers.append(_unknown(head, LINKED))
            continue
        shop, parent = head["shop_id"], head["parent_no"]
        rows = []
        if parent and (shop, parent) in by_number:
            rows.append(writer.row(by_number[shop, parent], "上级"))
        rows += [writer.row(o, "下级") for o in by_parent.get((shop, head["order_no"]), ())]
        if parent:
            beside = by_parent.get((shop, parent), ())
            rows += [writer.row(o, "同级") for o in beside if o["pk"] != head["pk"]]
        answers.append(_answer(head, LINKED, rows))
    return answers


def _fetch_same_sku(fetch: Prefetch, heads: list[dict[str, Any]]) -> list[_Answer]:
    """Recent orders with one of the order's SKUs; four queries, whatever the chunk."""
    lines = OrderLine.objects.filter(is_gift=False).exclude(sku="")
    skus: dict[int, list[str]] = defaultdict(list)
    ids = [head["pk"] for head in heads]
    for order_id, sku in lines.filter(order_id__in=ids).values_list("order_id", "sku").distinct():
        skus[order_id].append(sku)
    recent = lines.filter(
        sku__in={sku for some in skus.values() for sku in some},
        **_within(fetch, "order__", timedelta(hours=SAME_SKU_HOURS)),
    )
    # Pairs first: an order is read once, however many of the SKUs it has.
    pairs = list(_newest(recent, "sku", "order__").values_list("sku", "order_id")) if skus else []
    others_ids = sorted({order_id for _sku, order_id in pairs})
    found = [
        one
        for start in range(0, len(others_ids), _MAX_IDS)
        for one in _read_found(
            Order.objects.filter(pk__in=others_ids[start : start + _MAX_IDS]), "pk"
        )
    ]
    # Newest first, so that the place in the list sorts without looking at times again.
    orders = {one.key: one.order for one in sorted(found, key=lambda one: _age(one.order))}
    places = {pk: place for place, pk in enumerate(orders)}
    writer = _Rows(fetch, SAME_SKU, _quantities(fetch, SAME_SKU, (one.order for one in found)))
    by_sku: dict[str, set[int]] = defaultdict(set)
    for sku, order_id in pairs:
        by_sku[sku].add(order_id)
    answers: list[_Answer] = []
    for head in heads:
        if head["pk"] not in skus or fetch.is_late(head):
            answers.append(_unknown(head, SAME_SKU))
            continue
        others = set().union(*(by_sku[sku] for sku in skus[head["pk"]])) - {head["pk"]}
        chosen = sorted(others & places.keys(), key=places.__getitem__)[:MAX_RELATED]
        answers.append(_answer(head, SAME_SKU, [writer.row(orders[pk]) for pk in chosen]))
    return answers


# --- the order's own parts ------------------------------------------------------------------------


def _fetch_promotions(fetch: Prefetch, heads: list[dict[str, Any]]) -> list[_Answer]:
    """The promotions of an order, as its platform lists them (one query)."""
    told: dict[int, list[Row]] = defaultdict(list)
    query = Promotion.objects.filter(order_id__in=[head["pk"] for head in heads])
    for row in query.order_by("order_id", "position"):
        told[row.order_id].append(
            {
                f"{USED_PROMOTIONS}.tool": row.tool or None,
                f"{USED_PROMOTIONS}.name": row.name or None,
                f"{USED_PROMOTIONS}.promotion_id": row.promotion_id or None,
                f"{USED_PROMOTIONS}.discount": _yuan(row.discount_fen),
                f"{USED_PROMOTIONS}.funder": _FUNDER_LABELS.get(row.funder),
                f"{USED_PROMOTIONS}.gift_sku": row.gift_sku or None,
                f"{USED_PROMOTIONS}.gift_quantity": float(row.gift_quantity),
            }
        )
    return [_own_answer(head, USED_PROMOTIONS, told[head["pk"]]) for head in heads]


def _fetch_parcels(fetch: Prefetch, heads: list[dict[str, Any]]) -> list[_Answer]:
    """The parcels of an order (one query); a late channel may not have told all of them."""
    told: dict[int, list[Row]] = defaultdict(list)
    query = Shipment.objects.filter(order_id__in=[head["pk"] for head in heads])
    for row in query.order_by("order_id", F("shipped_at").asc(nulls_last=True), "pk"):
        if fetch.as_of is not None and row.shipped_at is not None and row.shipped_at > fetch.as_of:
            continue
        pieces = [line["quantity"] for line in row.lines]
        told[row.order_id].append(
            {
                f"{PARCELS}.tracking_no": row.tracking_no or None,
                f"{PARCELS}.company": row.company or None,
                f"{PARCELS}.shipped_at": fetch.serial(row.shipped_at),
                f"{PARCELS}.quantity": float(sum(pieces))
                if pieces and None not in pieces
                else None,
            }
        )
    return [
        _unknown(head, PARCELS)
        if fetch.is_late(head)
        else _own_answer(head, PARCELS, told[head["pk"]])
        for head in heads
    ]


def _own_answer(head: Mapping[str, Any], id: str, rows: list[Row]) -> _Answer:
    return head["pk"], id, tuple(rows), f"{id}:{[tuple(row.values()) for row in rows]}"


# --- the order's own history ----------------------------------------------------------------------


def _fetch_passages(fetch: Prefetch, heads: list[dict[str, Any]]) -> list[_Answer]:
    """The nodes an order went through (one query); what late feeds may yet tell is UNKNOWN."""
    ids = [head["pk"] for head in heads]
    query = NodePassage.objects.filter(order_id__in=ids).order_by("entered_at", "pk")
    if fetch.as_of is not None:
        query = query.filter(entered_at__lte=fetch.as_of)
    passed: dict[int, list[tuple[str, datetime, datetime | None]]] = defaultdict(list)
    for order_id, node, entered, left in query.values_list(
        "order_id", "node", "entered_at", "left_at"
    ):
        passed[order_id].append((node, entered, left))
    return [_write_passages(fetch, head, passed[head["pk"]]) for head in heads]


def _write_passages(
    fetch: Prefetch, head: Mapping[str, Any], passed: list[tuple[str, datetime, datetime | None]]
) -> _Answer:
    doubtful = _doubtful_nodes(fetch.feeds, head["source_id"], fetch.setting.nodes, passed)
    rows: list[Row] = []
    for node, entered, left in passed:
        left_at = fetch.serial(left)
        if left_at is None and node in doubtful:
            left_at = UNKNOWN
        rows.append(_passage(node, fetch.serial(entered), left_at))
    known = {node for node, _entered, _left in passed}
    rows += [_passage(node, UNKNOWN, UNKNOWN) for node in doubtful if node not in known]
    return head["pk"], PASSAGES, tuple(rows), f"{PASSAGES}:{[tuple(r.values()) for r in rows]}"


def _passage(node: str, entered: Value, left: Value) -> Row:
    return {
        f"{PASSAGES}.node": f"node:{node}",
        f"{PASSAGES}.entered_at": entered,
        f"{PASSAGES}.left_at": left,
    }


def _doubtful_nodes(
    feeds: Feeds,
    source_id: int | None,
    nodes: Sequence[Node],
    passed: Sequence[tuple[str, datetime, datetime | None]],
) -> list[str]:
    """The node an order stands at and those after it, from the first a late feed would tell of."""
    late = {
        kind
        for kind in (CHANNEL, GATEWAY, OMS, WMS)
        if (state := feeds.state(kind, source_id)).is_connected and state.is_late
    }
    open_node = next((node for node, _entered, left in reversed(passed) if left is None), None)
    if not late or open_node is None:
        return []
    codes = [node.code for node in nodes]
    first = codes.index(open_node) if open_node in codes else 0
    for place in range(first, len(nodes)):
        node = nodes[place]
        told = {_EVIDENCE.get(name, CHANNEL) for name in node.left if name != "previous"}
        if told & late:
            after = [n for n in nodes[place + 1 :] if _applies(n, feeds, source_id)]
            return [node.code, *(n.code for n in after)]
    return []


def _applies(node: Node, feeds: Feeds, source_id: int | None) -> bool:
    return not node.needs or feeds.state(node.needs, source_id).is_connected


def _fetch_events(fetch: Prefetch, heads: list[dict[str, Any]]) -> list[_Answer]:
    """The changes of stage of an order, oldest first (one query).

    A late channel may not have told the last one: a row without a stage says so.
    """
    ids = [head["pk"] for head in heads]
    query = StatusEvent.objects.filter(order_id__in=ids).order_by("sequence")
    if fetch.as_of is not None:
        query = query.filter(occurred_at__lte=fetch.as_of)
    told: dict[int, list[Row]] = defaultdict(list)
    for order_id, stage, at in query.values_list("order_id", "stage", "occurred_at"):
        told[order_id].append(_event(f"stage:{stage}", fetch.serial(at)))
    answers: list[_Answer] = []
    for head in heads:
        rows = told[head["pk"]]
        if fetch.is_late(head):
            rows = [*rows, _event(None, UNKNOWN)]
        token = f"{EVENTS}:{[tuple(row.values()) for row in rows]}"
        answers.append((head["pk"], EVENTS, tuple(rows), token))
    return answers


def _event(stage: str | None, at: Value) -> Row:
    return {f"{EVENTS}.stage": stage, f"{EVENTS}.at": at}


# --- the receiver ---------------------------------------------------------------------------------


def _fetch_sealed(id: str, column: str, purpose: str) -> _Fetch:
    """A personal value, opened (one query); the digest knows it by a blind index only."""

    def fetch_sealed(fetch: Prefetch, heads: list[dict[str, Any]]) -> list[_Answer]:
        ids = [head["pk"] for head in heads]
        answers: list[_Answer] = []
        for pk, sealed in Order.objects.filter(pk__in=ids).values_list("pk", column):
            clear = decrypt(sealed, purpose=purpose)
            token = f"{id}:{blind_index(clear, purpose=id)}"
            answers.append((pk, id, fit_text(clear) if clear else None, token))
        return answers

    return fetch_sealed


_FETCHERS: Final[dict[str, _Fetch]] = {
    LINKED: _fetch_linked,
    SAME_BUYER: _fetch_sharing(SAME_BUYER, "buyer_index"),
    SAME_ADDRESS: _fetch_sharing(SAME_ADDRESS, "address_index"),
    SAME_SKU: _fetch_same_sku,
    USED_PROMOTIONS: _fetch_promotions,
    PARCELS: _fetch_parcels,
    PASSAGES: _fetch_passages,
    EVENTS: _fetch_events,
    RECEIVER_NAME: _fetch_sealed(RECEIVER_NAME, "name_sealed", NAME_PURPOSE),
    RECEIVER_PHONE: _fetch_sealed(RECEIVER_PHONE, "phone_sealed", PHONE_PURPOSE),
    RECEIVER_ADDRESS: _fetch_sealed(RECEIVER_ADDRESS, "address_sealed", ADDRESS_PURPOSE),
}
assert set(_FETCHERS) >= RELATION_IDS  # noqa: S101 - a relation without a fetcher is our own bug

__all__ = ["NOTHING", "Extra", "Prefetch", "digest_with"]
