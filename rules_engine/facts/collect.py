"""Orders -> facts: in bulk, with a fixed number of queries.

Two steps. `describe_order` writes what an order's rows say (the content of a snapshot: no clock, no
freshness). `Completer` makes the values a formula reads at one moment: it adds the clock, the node
and how far every source is known, and turns the absence of a late source's fact into UNKNOWN.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import Any

from config.tenancy.models import Environment
from config.tenancy.scope import require_environment_id
from connectors.orders.models import CustomField, NodePassage, Order, OrderLine, Payment
from connectors.orders.nodes import Node
from connectors.orders.services import list_nodes, moment_of_stage, ready_at
from connectors.orders.statuses import (
    FINAL_STAGES,
    GROUP_LABELS,
    PAYMENT_LABELS,
    PRESALE_LABELS,
    REFUND_LABELS,
    STAGE_LABELS,
    PresalePhase,
    Stage,
)
from connectors.shops.models import Channel, Shop, Source, SourceKind
from connectors.shops.services import summarise_freshness
from rules_engine.facts.catalog import (
    CATALOG_VERSION,
    CHANNEL,
    FACTS,
    LINE_COLUMNS,
    LINES_ID,
    PAYMENT_COLUMNS,
    PAYMENTS_ID,
    UNTIL_IDS,
    CustomDefinition,
    Fact,
    SourceState,
    build_facts,
    custom_id,
)
from rules_engine.formula import (
    UNKNOWN,
    ErrorValue,
    Value,
    ValueType,
    is_undivided,
    to_serial,
)
from rules_engine.formula.limits import MAX_TEXT

CHUNK = 1000
_PHASE_LABELS = {"": None, "deposit": "定金", "balance": "尾款"}
_CHANNEL_LABELS = {str(value): str(label) for value, label in Channel.choices}

Values = dict[str, Value]
_Convert = Callable[[Any], Value]


# --- one order ------------------------------------------------------------------------------------


def _as_text(value: Any) -> Value:
    return fit_text(str(value)) if value not in (None, "") else None


def fit_text(text: str) -> str | ErrorValue:
    """The text as a fact; #VALUE! when it is longer than any text of a formula may be."""
    return text if len(text) <= MAX_TEXT else ErrorValue.VALUE


def _as_money(value: Any) -> Value:
    return None if value is None else value / 100


def _as_number(value: Any) -> Value:
    return None if value is None else float(value)


def _as_logical(value: Any) -> Value:
    return None if value is None else bool(value)


def _moment_converter(zone: tzinfo) -> _Convert:
    def convert(value: datetime | None) -> Value:
        return None if value is None else to_serial(value.astimezone(zone))

    return convert


def _converters(zone: tzinfo) -> dict[ValueType, _Convert]:
    return {
        ValueType.TEXT: _as_text,
        ValueType.MONEY: _as_money,
        ValueType.NUMBER: _as_number,
        ValueType.LOGICAL: _as_logical,
        ValueType.DATETIME: _moment_converter(zone),
    }


def _custom_value(value: Any, type: str, zone: tzinfo) -> Value:
    """A custom field as stored in JSON; what does not fit its type is #VALUE!, never a crash."""
    if value is None or value == "":
        return None
    try:
        if type == "datetime":
            moment = datetime.fromisoformat(str(value))
            return to_serial(moment.astimezone(zone) if moment.tzinfo else moment)
        if type == "money":
            return int(value) / 100
        if type == "number":
            return float(value)
    except (ValueError, OverflowError, TypeError):
        return ErrorValue.VALUE
    return bool(value) if type == "logical" else fit_text(str(value))


def form_of(zone: tzinfo, custom: Sequence[CustomDefinition]) -> str:
    """Names the catalogue, time zone and custom fields that values were made with."""
    fields = repr(sorted((c.level, c.key, c.type) for c in custom)) if custom else ""
    digest = hashlib.sha256(fields.encode()).hexdigest()[:12]
    return f"{CATALOG_VERSION}:{digest}:{zone}"[:64]


@dataclass(frozen=True)
class Describer:
    """Writes what the rows of orders say, in the time zone of their environment."""

    zone: tzinfo
    custom: tuple[CustomDefinition, ...] = ()

    @property
    def form(self) -> str:
        """Names catalogue, zone and custom fields; a snapshot of another form is out of date."""
        return form_of(self.zone, self.custom)

    def describe(
        self,
        order: Order,
        lines: Iterable[OrderLine],
        payments: Iterable[Payment],
        *,
        shop_name: str = "",
        as_of: datetime | None = None,
    ) -> Values:
        """Facts of one order without the blank ones. With `as_of`, later occurrences are hidden."""
        convert = _converters(self.zone)
        moment = convert[ValueType.DATETIME]
        values: Values = {}
        for fact in _COLUMN_FACTS:
            raw = getattr(order, fact.column)
            if raw is None or raw == "":
                continue
            if as_of is not None and fact.is_occurrence and raw > as_of:
                continue
            values[fact.id] = convert[fact.type](raw)
        stage, stage_at = stage_of(order, as_of)
        values |= {
            "order.channel": _CHANNEL_LABELS.get(order.channel, order.channel),
            "order.stage": STAGE_LABELS.get(stage, stage),
            "order.is_over": stage in FINAL_STAGES,
            "order.is_address_visible": bool(order.province or order.city or order.district),
            "order.is_city_undivided": bool(order.city) and is_undivided(order.city or ""),
        }
        more: dict[str, Value] = {
            "order.shop": shop_name or None,
            "order.stage_at": moment(stage_at),
            "order.ready_at": moment(_unless_later(ready_at(order), as_of)),
            "order.refund_state": REFUND_LABELS.get(order.refund_state) or None,
            "order.group_state": GROUP_LABELS.get(order.group_state) or None,
            "order.presale_phase": PRESALE_LABELS.get(order.presale_phase) or None,
            "order.gateway_status": (
                PAYMENT_LABELS.get(order.gateway_status) if order.gateway_status else None
            ),
            LINES_ID: tuple(self._line(line, convert, as_of) for line in lines),
            PAYMENTS_ID: tuple(
                self._payment(p, convert)
                for p in payments
                if as_of is None or p.paid_at is None or p.paid_at <= as_of
            ),
        }
        for item in self.custom:
            if item.level == "order":
                more[custom_id("order", item.key)] = _custom_value(
                    order.custom.get(item.key), item.type, self.zone
                )
        if as_of is not None:
            _hide_consequences(order, more, values, as_of)
        values.update((id, value) for id, value in more.items() if value is not None)
        return values

    def _row(
        self, row: Any, columns: Sequence[tuple[str, str, ValueType]], level: str, convert: Any
    ) -> dict[str, Value]:
        found = {id: convert[type](getattr(row, name)) for id, name, type in columns}
        for item in self.custom:
            if item.level == level:
                found[custom_id(level, item.key)] = _custom_value(
                    row.custom.get(item.key), item.type, self.zone
                )
        return found

    def _line(self, line: OrderLine, convert: Any, as_of: datetime | None) -> dict[str, Value]:
        row = self._row(line, _LINE_ATTRIBUTES, "line", convert)
        row["lines.refund_state"] = REFUND_LABELS.get(line.refund_state) or None
        if as_of is not None and line.locked_at is not None and line.locked_at > as_of:
            row["lines.locked_at"] = None
        return row

    def _payment(self, payment: Payment, convert: Any) -> dict[str, Value]:
        row = self._row(payment, _PAYMENT_ATTRIBUTES, "payment", convert)
        row["payments.status"] = PAYMENT_LABELS.get(payment.status, payment.status)
        row["payments.phase"] = _PHASE_LABELS.get(payment.phase, payment.phase)
        return row


def _unless_later(at: datetime | None, as_of: datetime | None) -> datetime | None:
    return None if at is not None and as_of is not None and at > as_of else at


def _attributes(
    columns: Sequence[Any], names: Mapping[str, str]
) -> list[tuple[str, str, ValueType]]:
    return [(c.id, names.get(short := c.id.partition(".")[2], short), c.type) for c in columns]


_LINE_ATTRIBUTES = _attributes(
    LINE_COLUMNS, {"price": "price_fen", "amount": "amount_fen", "freight": "freight_fen"}
)
_PAYMENT_ATTRIBUTES = _attributes(PAYMENT_COLUMNS, {"amount": "amount_fen"})
_COLUMN_FACTS = tuple(fact for fact in FACTS if fact.column)


def _hide_consequences(order: Order, more: Values, values: Values, as_of: datetime) -> None:
    """Take back what follows from occurrences that had not happened at `as_of`."""

    def is_later(moment: datetime | None) -> bool:
        return moment is not None and moment > as_of

    if is_later(order.paid_at):
        values.pop("order.paid", None)
    if is_later(order.gateway_paid_at):
        values.pop("order.gateway_paid", None)
        more["order.gateway_status"] = None
    if is_later(order.balance_paid_at) and order.presale_phase == PresalePhase.BALANCE_PAID:
        more["order.presale_phase"] = PRESALE_LABELS[PresalePhase.DEPOSIT_PAID]
    if is_later(order.deposit_paid_at) and order.presale_phase:
        more["order.presale_phase"] = PRESALE_LABELS[PresalePhase.DEPOSIT_DUE]


def stage_of(order: Order, as_of: datetime | None = None) -> tuple[str, datetime | None]:
    """The stage and since when. At a moment of the past: the furthest one with a time up to then.

    Its age counts from that time, also when the times of an order run backwards.
    """
    if as_of is None:
        return order.stage, moment_of_stage(order)[0]
    steps: list[tuple[str, datetime | None]] = [
        (Stage.AWAIT_PAY, order.placed_at),
        (Stage.DEPOSIT_PAID, order.deposit_paid_at),
        (Stage.AWAIT_SHIP, order.approved_at or order.paid_at),
        (Stage.SHIPPED, order.shipped_at),
        (Stage.DELIVERED, order.delivered_at),
    ]
    if order.stage in FINAL_STAGES and order.closed_at is not None:
        steps.append((order.stage, order.closed_at))
    reached = [(stage, at) for stage, at in steps if at is not None and at <= as_of]
    return reached[-1] if reached else (Stage.UNKNOWN, None)


# --- the moment -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Feeds:
    """How far every source is known at one moment: channel feeds one by one, systems by kind."""

    channels: Mapping[int, SourceState]
    kinds: Mapping[str, SourceState]

    def state(self, kind: str, source_id: int | None) -> SourceState:
        """The state of the source that tells facts of a kind about an order of a channel feed."""
        if kind == CHANNEL:
            return self.channels.get(source_id or 0, _ALWAYS)
        return self.kinds.get(kind, _ABSENT)


_ALWAYS = SourceState(is_connected=True)
_ABSENT = SourceState(is_connected=False)


def read_feeds(moment: datetime) -> Feeds:
    """The freshness of every source at a moment (one query). A feed that never said how far it
    is complete counts as known up to when it last spoke, and as never late."""
    sources = list(Source.objects.all())
    channels: dict[int, SourceState] = {}
    for source in sources:
        if source.kind != SourceKind.CHANNEL:
            continue
        until = source.complete_until
        if until is None:
            channels[source.pk] = SourceState(True, False, source.last_received_at)
            continue
        until = min(until, moment)
        late = moment - until > timedelta(minutes=source.lateness_minutes)
        channels[source.pk] = SourceState(True, late, until)
    kinds = {
        kind: SourceState(state.is_connected, state.is_late, state.complete_until)
        for kind, state in summarise_freshness(sources, moment).items()
        if kind != SourceKind.CHANNEL
    }
    return Feeds(channels, kinds)


@dataclass(frozen=True)
class Standing:
    """What moves besides the order's own content: where it stands and who tells of it."""

    source_id: int | None
    node: str
    node_entered_at: datetime | None


class Completer:
    """Makes the values a formula reads at one moment; one per pass."""

    def __init__(
        self,
        facts: Sequence[Fact],
        feeds: Feeds,
        *,
        moment: datetime,
        zone: tzinfo,
        nodes: Sequence[Node],
    ) -> None:
        self.feeds, self.moment, self.zone = feeds, moment, zone
        self.now = to_serial(moment.astimezone(zone))
        self.node_labels = {node.code: node.label for node in nodes}
        # What is fetched beside the order is unknown unless it was fetched.
        self.blank: Values = {fact.id: None for fact in facts if not fact.is_prefetched}
        self.absent: dict[str, list[str]] = defaultdict(list)
        for fact in facts:
            # What a channel told of an order stands until it tells otherwise; only what has not
            # happened yet may have happened since. Of the other systems everything may be news.
            if fact.source and not fact.is_current and not fact.is_prefetched:
                if fact.source == CHANNEL and not fact.is_occurrence:
                    continue
                self.absent[fact.source].append(fact.id)
        self._templates: dict[int | None, tuple[Values, list[str]]] = {}

    def add_constants(self, values: Mapping[str, Value]) -> None:
        """Put into every order's values what is the same for all: tables, calendars."""
        self.blank.update(values)
        self._templates.clear()

    def _template(self, source_id: int | None) -> tuple[Values, list[str]]:
        """Blank values with the freshness facts, and the ids that are unknown when absent."""
        if source_id not in self._templates:
            values, doubtful = dict(self.blank), []
            for kind, id in UNTIL_IDS.items():
                state = self.feeds.state(kind, source_id)
                if not state.is_connected:
                    values[id] = UNKNOWN
                else:
                    until = state.until or self.moment
                    values[id] = to_serial(until.astimezone(self.zone))
                if state.is_late or not state.is_connected:
                    doubtful += self.absent[kind]
            for id in doubtful:
                values[id] = UNKNOWN
            self._templates[source_id] = values, doubtful
        return self._templates[source_id]

    def complete(
        self,
        stored: Mapping[str, Value],
        standing: Standing,
        extra: Mapping[str, Value] | None = None,
    ) -> Values:
        """The values of one order: its stored facts over the template of its feed.

        extra: what was fetched beside it, for formulas that use it.
        """
        values = dict(self._template(standing.source_id)[0])
        values.update(stored)
        if extra:
            values.update(extra)
        if standing.node_entered_at is not None:
            values["now.node"] = self.node_labels.get(standing.node, standing.node)
            entered = to_serial(standing.node_entered_at.astimezone(self.zone))
            values["now.node_entered_at"] = entered
            values["now.node_minutes"] = (self.now - entered) * 1440
        stage_at = values["order.stage_at"]
        if isinstance(stage_at, float):
            values["now.stage_hours"] = round((self.now - stage_at) * 86_400_000) / 3_600_000
        return values


# --- in bulk --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Setting:
    """What every collection in an environment shares (three queries)."""

    describer: Describer
    facts: tuple[Fact, ...]
    nodes: tuple[Node, ...]
    environment: Environment


def read_setting() -> Setting:
    """Time zone, custom fields and node table of the environment in force."""
    environment = Environment.objects.get(pk=require_environment_id())
    custom = list_custom()
    return Setting(
        describer=Describer(environment.zone, custom),
        facts=build_facts(custom),
        nodes=list_nodes(),
        environment=environment,
    )


def list_custom() -> tuple[CustomDefinition, ...]:
    """The custom fields of the environment in force, as the catalogue sees them."""
    return tuple(
        CustomDefinition(*row)
        for row in CustomField.objects.order_by("level", "key").values_list(
            "level", "key", "label", "type", "source_kind"
        )
    )


def describe_orders(
    orders: Sequence[Order], setting: Setting, *, as_of: datetime | None = None
) -> dict[int, Values]:
    """Snapshot content of many orders: three queries for every CHUNK of them."""
    found: dict[int, Values] = {}
    describer = setting.describer
    shops = dict(Shop.objects.values_list("pk", "name"))
    for start in range(0, len(orders), CHUNK):
        chunk = orders[start : start + CHUNK]
        ids = [order.pk for order in chunk]
        lines: dict[int, list[OrderLine]] = defaultdict(list)
        for line in OrderLine.objects.filter(order_id__in=ids).order_by("order_id", "id"):
            lines[line.order_id].append(line)
        payments: dict[int, list[Payment]] = defaultdict(list)
        for payment in Payment.objects.filter(order_id__in=ids).order_by("order_id", "id"):
            payments[payment.order_id].append(payment)
        for order in chunk:
            found[order.pk] = describer.describe(
                order,
                lines[order.pk],
                payments[order.pk],
                shop_name=shops.get(order.shop_id, ""),
                as_of=as_of,
            )
    return found


def standings_as_of(orders: Sequence[Order], as_of: datetime) -> dict[int, tuple[str, datetime]]:
    """Node and time of entering at a moment of the past, by passages."""
    found: dict[int, tuple[str, datetime]] = {}
    for start in range(0, len(orders), CHUNK):
        ids = [order.pk for order in orders[start : start + CHUNK]]
        passages = NodePassage.objects.filter(order_id__in=ids, entered_at__lte=as_of)
        for order_id, node, entered, left in passages.order_by("entered_at", "id").values_list(
            "order_id", "node", "entered_at", "left_at"
        ):
            if left is None or left > as_of:
                found.setdefault(order_id, (node, entered))
    return found


def collect(
    orders: Sequence[Order], *, now: datetime, as_of: datetime | None = None
) -> dict[int, Values]:
    """Every fact of many orders at one moment, by order id; a fixed number of queries per CHUNK.

    With `as_of` the moment is that one: occurrences later than it are blank (deadlines stay), and
    the stage is the furthest one whose time is not later. PaymentStatus and flags without a time
    of their own stay as they are.
    """
    setting = read_setting()
    moment = as_of or now
    completer = Completer(
        setting.facts,
        read_feeds(moment),
        moment=moment,
        zone=setting.describer.zone,
        nodes=setting.nodes,
    )
    described = describe_orders(orders, setting, as_of=as_of)
    standing = standings_as_of(orders, as_of) if as_of is not None else {}
    values: dict[int, Values] = {}
    for order in orders:
        node, entered = (
            standing.get(order.pk, ("", None))
            if as_of is not None
            else (order.node, order.node_entered_at)
        )
        values[order.pk] = completer.complete(
            described[order.pk], Standing(order.source_id, node, entered)
        )
    return values


__all__ = [
    "Completer",
    "Describer",
    "Feeds",
    "Setting",
    "Standing",
    "Values",
    "collect",
    "describe_orders",
    "list_custom",
    "read_feeds",
    "read_setting",
    "stage_of",
    "standings_as_of",
]
