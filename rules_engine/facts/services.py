"""Snapshots of facts, the names formulas may use here, and values said for people."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from config.secrets import decrypt, encrypt
from config.tenancy.bulk import upsert_rows
from config.tenancy.scope import current_scope
from connectors.orders.models import Order
from connectors.orders.services import list_nodes
from rules_engine.facts.catalog import Fact, build_facts, build_names
from rules_engine.facts.collect import (
    CHUNK,
    Setting,
    Values,
    describe_orders,
    form_of,
    list_custom,
)
from rules_engine.facts.models import FactSnapshot
from rules_engine.facts.tables import list_published
from rules_engine.formula import UNKNOWN, ErrorValue, Names, Result, Value, ValueType, from_serial

PERSONAL_PURPOSE = "facts.personal"
_names: dict[tuple[Any, ...], Names] = {}


def list_fields() -> tuple[Fact, ...]:
    """The facts of the environment in force: the catalogue, then its custom fields (one query)."""
    return build_facts(list_custom() if _has_environment() else ())


def get_names() -> Names:
    """The names a formula may use in the environment in force: fields, tables, nodes, stages.

    Three queries, one more the first time a process sees a published table.
    """
    if not _has_environment():
        return build_names()
    custom = list_custom()
    tables = tuple(table.schema for table in list_published())
    nodes = tuple((node.code, node.label) for node in list_nodes())
    key = (custom, tables, nodes)
    if key not in _names:
        if len(_names) > 200:
            _names.clear()
        _names[key] = build_names(custom, tables, nodes)
    return _names[key]


def _has_environment() -> bool:
    scope = current_scope()
    return scope is not None and scope.environment_id is not None


# --- snapshots ------------------------------------------------------------------------------------


_ERROR_MARK, _ERROR_JSON = "\0error", "\\u0000error"
_PERSONAL = frozenset(f.id for f in build_facts() if f.is_personal)


def _to_json(value: Any) -> Any:
    if isinstance(value, ErrorValue):
        return {_ERROR_MARK: value.code}
    raise TypeError(f"{type(value).__name__} is no fact")


def _from_json(item: dict[str, Any]) -> Any:
    return ErrorValue(item[_ERROR_MARK]) if _ERROR_MARK in item else item


def dump_facts(values: Mapping[str, Value]) -> str:
    """Facts as JSON; read back by `load_facts`. With an error value in it, it begins with a space.

    All in ASCII: such text goes from the driver to the parser without being turned about, which
    makes reading a quarter quicker.
    """
    text = json.dumps(values, separators=(",", ":"), default=_to_json)
    return f" {text}" if _ERROR_JSON in text else text


def load_facts(text: str) -> Values:
    """Facts from `dump_facts`; rows come back as lists."""
    if text.startswith(" "):
        return json.loads(text, object_hook=_from_json)
    return orjson.loads(text)


def open_personal(sealed: str) -> Values:
    """The personal facts of a snapshot, in clear: for formulas only."""
    return load_facts(decrypt(sealed, purpose=PERSONAL_PURPOSE)) if sealed else {}


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One order's facts taken at a revision; `row` is what `store_snapshots` writes."""

    values: Values  # personal ones too
    digest: str
    row: tuple[Any, ...]


def take_snapshots(
    orders: Sequence[Order], setting: Setting, *, now: datetime
) -> dict[int, Snapshot]:
    """Describe orders by their ids; nothing is written (three queries for every CHUNK)."""
    form = setting.describer.form
    revisions = {order.pk: order.revision for order in orders}
    taken = {}
    for order_id, values in describe_orders(orders, setting).items():
        personal = {id: values[id] for id in _PERSONAL if id in values}
        text = dump_facts({id: value for id, value in values.items() if id not in personal})
        clear = dump_facts(personal) if personal else ""
        digest = hashlib.sha256(f"{text}\n{clear}".encode()).hexdigest()[:32]
        sealed = encrypt(clear, purpose=PERSONAL_PURPOSE)
        row = (order_id, revisions[order_id], form, text, sealed, digest, now)
        taken[order_id] = Snapshot(values, digest, row)
    return taken


def store_snapshots(snapshots: Iterable[Snapshot]) -> None:
    """Write snapshots, in the order of their orders' ids."""
    upsert_rows(
        FactSnapshot,
        columns=["order_id", "revision", "form", "facts", "personal_sealed", "digest", "taken_at"],
        rows=sorted(snapshot.row for snapshot in snapshots),
        conflict=["order_id"],
        update=["revision", "form", "facts", "personal_sealed", "digest", "taken_at"],
    )


# --- for people -----------------------------------------------------------------------------------


def format_minutes(minutes: float) -> str:
    """A length of time: "52 分", "1 小时 52 分", "3 天 4 小时"."""
    if abs(minutes) >= 1e12:
        return f"{format_number(minutes)} 分"
    sign, total = ("-" if minutes < 0 else ""), int(abs(minutes))
    days, rest = divmod(total, 1440)
    hours, minute = divmod(rest, 60)
    if days:
        return f"{sign}{days} 天 {hours} 小时" if hours else f"{sign}{days} 天"
    if hours:
        return f"{sign}{hours} 小时 {minute} 分" if minute else f"{sign}{hours} 小时"
    return f"{sign}{minute} 分"


def format_number(value: float) -> str:
    """A number with at most two decimals: 3, 3.5, 0.25; huge ones short: 1e+300."""
    if abs(value) >= 1e15:
        return f"{value:.6g}"
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text in {"-0", ""} else text


def format_moment(serial: float) -> str:
    """A moment in local time: "11-11 12:40"."""
    try:
        return f"{from_serial(serial):%m-%d %H:%M}"
    except ValueError:
        return format_number(serial)


def format_value(value: Value, type: ValueType, unit: str = "") -> str:
    """A fact for people: amounts with two decimals, lengths of time in words, moments short."""
    if value is None or value == "":
        return "空"
    if value is UNKNOWN:
        return "未知"
    if isinstance(value, ErrorValue | Result):
        return value.label
    if isinstance(value, bool):
        return "是" if value else "否"
    if isinstance(value, float | int):
        return _format_numeric(float(value), type, unit)
    if isinstance(value, list | tuple):
        return f"{len(value)} 行"
    return str(value)


def _format_numeric(value: float, type: ValueType, unit: str) -> str:
    if type is ValueType.MONEY:
        return f"{value:.2f}" if abs(value) < 1e15 else format_number(value)
    if type is ValueType.DATETIME:
        return format_moment(value)
    if type is ValueType.DURATION:
        return format_minutes(round(value * 86_400_000) / 60_000)
    if unit == "分钟":
        return format_minutes(value)
    return format_minutes(value * 60) if unit == "小时" else format_number(value)


def describe_values(
    values: Mapping[str, Value], ids: Iterable[str], facts: Sequence[Fact]
) -> list[tuple[str, str]]:
    """(label, value for people) of some facts, in the order of the catalogue."""
    wanted = set(ids)
    return [
        (fact.label, format_value(values.get(fact.id, UNKNOWN), fact.type, fact.unit))
        for fact in facts
        if fact.id in wanted
    ]


__all__ = [
    "CHUNK",
    "describe_values",
    "dump_facts",
    "form_of",
    "format_minutes",
    "format_moment",
    "format_number",
    "format_value",
    "get_names",
    "list_fields",
    "load_facts",
    "open_personal",
    "store_snapshots",
    "take_snapshots",
]
