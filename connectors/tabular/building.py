"""Rows to canonical records: what a mapping means, compiled once per run and applied row by row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from typing import Any

from config.errors import BadInput, gettext_noop, join_phrases
from connectors.orders.canonical import (
    CanonicalLine,
    CanonicalOrder,
    CanonicalPayment,
    CanonicalReceipt,
)
from connectors.orders.restaging import settle_stage
from connectors.orders.status_mappings import MAX_STATUS
from connectors.orders.statuses import Stage
from connectors.shops.models import Channel
from connectors.shops.services import get_channel_code
from connectors.tabular.fields import BY_NAME, KEY_FIELD, WORD_TYPES
from connectors.tabular.headers import clean_header
from connectors.tabular.staging import StagedRow
from connectors.tabular.values import (
    MAX_COUNT,
    MAX_STOCK,
    BadCell,
    read_integer,
    read_key,
    read_logical,
    read_money,
    read_number,
    read_text,
    read_time,
)
from connectors.tabular.words import ANY_CHANNEL, CLOSED, RISK_OPEN, UNKNOWN_VALUE, word_key

Values = dict[str, Any]
_MAX_CUSTOM_TEXT = 2_000


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a row is refused: which column(s), the reason and the remedy, as a person reads them."""

    column: str
    code: str
    reason: str
    remedy: str


@dataclass(frozen=True, slots=True)
class BadRecord:
    """A key whose rows were refused: the faulty rows by id, and everything that waits with them."""

    key: str
    faults: Mapping[int, Fault]
    rows: Sequence[StagedRow]


@dataclass(slots=True)
class _Reader:
    """How one mapped column is read."""

    index: int
    column: str
    level: str
    attribute: str
    read: Callable[[str], Any]
    is_custom: bool = False
    is_personal: bool = False


@dataclass(slots=True)
class CompiledFile:
    """One file of a set against its actual headers."""

    key: str
    label: str
    holds: str
    headers: tuple[str, ...]
    readers: list[_Reader]
    key_index: int
    on_index: dict[str, int] = field(default_factory=dict)  # lookup file key -> our column index
    constants: list[tuple[str, str, Any]] = field(default_factory=list)

    def read_key(self, cells: Sequence[str]) -> str:
        """The key of a row; raises BadCell when it is empty or lost its digits."""
        text = cells[self.key_index]
        if text.isalnum() and len(text) <= 32:
            return text
        key = read_key(text, max_length=64)
        if not key:
            raise BadCell(
                gettext_noop("「%(column)s」是空的，不知道这一行属于哪个订单"),
                gettext_noop("补上编号；如果是合计行，删去这一行"),
                code="no_key",
                column=self.headers[self.key_index],
            )
        return key

    def sign(self, cells: Sequence[str], level: str | None) -> tuple[Any, ...]:
        """What makes two rows the same: the mapped cells (of one level), by field."""
        return tuple(
            sorted(
                (r.attribute, cells[r.index].strip())
                for r in self.readers
                if level is None or r.level == level
            )
        )

    def name_cells(self, cells: Sequence[str]) -> dict[str, str]:
        """Header -> cell, as the file has it."""
        return dict(zip(self.headers, cells, strict=False))


class Compiler:
    """A mapping made ready to run; counts the words it does not know."""

    def __init__(self, mapping: Mapping[str, Any], zone: tzinfo) -> None:
        self.mapping, self.zone = mapping, zone
        # What the business mapped, by channel and status, where the file's own words do not know.
        self.mapped: Mapping[str, Mapping[str, str]] = {}
        self.nothing = frozenset(n.strip() for n in mapping["nothing"])
        self.unknown: Counter[tuple[str, str, str]] = Counter()  # table, channel, word
        self.merged: Counter[str] = Counter()  # exact repeats, per file label
        self.unmatched: Counter[str] = Counter()  # keys a lookup file does not have, per label
        self.words: dict[str, dict[str, str]] = {}
        self.stages: dict[str, dict[str, str]] = {}
        for table, entries in mapping["words"].items():
            if table == "stage":
                self.stages = {
                    channel: {word_key(w): v for w, v in inner.items()}
                    for channel, inner in entries.items()
                }
            else:
                self.words[table] = {word_key(w): v for w, v in entries.items()}
        self.files: dict[str, CompiledFile] = {}

    def compile_file(self, key: str, headers: tuple[str, ...], *, name: str) -> CompiledFile:
        """Bind a file's mapping to its headers; raises BadInput for columns that are missing."""
        spec = self.mapping["files"][key]
        places = {header.casefold(): index for index, header in enumerate(headers)}
        wanted = [c["column"] for c in spec["columns"]]
        if spec["join"]:
            wanted.append(spec["join"]["column"])
        lookups = {
            other: s["join"]["matches"]
            for other, s in self.mapping["files"].items()
            if s["join"]
            and (s["holds"], spec["holds"]) in {("customers", "orders"), ("products", "lines")}
        }
        # Products may also be joined to lines that stand in the orders file.
        if spec["holds"] == "orders":
            lookups |= {
                other: s["join"]["matches"]
                for other, s in self.mapping["files"].items()
                if s["holds"] == "products"
                and not any(f["holds"] == "lines" for f in self.mapping["files"].values())
            }
        wanted += list(lookups.values())
        missing = [column for column in wanted if column.casefold() not in places]
        if missing:
            raise BadInput(
                gettext_noop(
                    "文件「%(file)s」缺少映射用到的列：%(missing)s。文件现有的列：%(present)s。"
                    "请检查是否选错了文件，或在映射中改对应的列"
                ),
                code="missing_columns",
                file=name,
                missing=join_phrases(dict.fromkeys(missing)),
                present=join_phrases(headers[:40]),
            )
        readers = [self._reader(spec, column, places) for column in spec["columns"]]
        if spec["join"]:
            key_column = spec["join"]["column"]
        else:
            need = KEY_FIELD[spec["holds"]]
            key_column = next(c["column"] for c in spec["columns"] if c.get("field") == need)
        compiled = CompiledFile(
            key=key,
            label=spec["label"],
            holds=spec["holds"],
            headers=headers,
            readers=readers,
            key_index=places[key_column.casefold()],
            on_index={other: places[on.casefold()] for other, on in lookups.items()},
            constants=self._constants(spec),
        )
        self.files[key] = compiled
        return compiled

    def _constants(self, spec: Mapping[str, Any]) -> list[tuple[str, str, Any]]:
        constants = []
        for name, text in spec["constants"].items():
            known = BY_NAME[name]
            try:
                value = self._read_function(known.type, known, spec, ())(text)
            except BadCell as error:
                raise BadInput(
                    gettext_noop("%(file)s：固定值「%(field)s」不能用：%(reason)s"),
                    code="bad_mapping",
                    file=spec["label"],
                    field=known.label,
                    reason=error.text,
                ) from error
            constants.append((known.level, known.attribute, value))
        return constants

    def _reader(
        self, spec: Mapping[str, Any], column: Mapping[str, Any], places: Mapping[str, int]
    ) -> _Reader:
        styles = tuple(column.get("date_styles") or self.mapping["date_styles"])
        index = places[clean_header(column["column"]).casefold()]
        if "custom" in column:
            read = self._read_function(column["type"], None, spec, styles)
            return _Reader(
                index, column["column"], column["level"], column["custom"], read, is_custom=True
            )
        known = BY_NAME[column["field"]]
        if column.get("is_one_of"):
            words = frozenset(word_key(w) for w in column["is_one_of"])
            read = lambda text: word_key(text) in words  # noqa: E731 - a closure over this column
        else:
            read = self._read_function(known.type, known, spec, styles)
        return _Reader(
            index,
            column["column"],
            known.level,
            known.attribute,
            read,
            is_personal=known.is_personal,
        )

    def _read_function(
        self, kind: str, known: Any, spec: Mapping[str, Any], styles: tuple[str, ...]
    ) -> Callable[[str], Any]:
        """The function that reads a cell of a type."""
        unit, zone, limit = spec["money_unit"], self.zone, known.max_length if known else 0
        if kind == "text":
            limit = limit or _MAX_CUSTOM_TEXT
            return lambda text: read_text(text, max_length=limit)
        if kind == "key":
            return lambda text: read_key(text, max_length=limit)
        if kind == "time":
            return lambda text: read_time(text, styles=styles, zone=zone)
        if kind == "datetime":
            return lambda text: _iso(read_time(text, styles=styles, zone=zone))
        if kind == "money":
            return lambda text: read_money(text, unit=unit)
        if kind == "count":
            return lambda text: read_integer(text, lowest=0, highest=MAX_COUNT)
        if kind == "stock":
            return lambda text: read_integer(text, lowest=-MAX_STOCK, highest=MAX_STOCK)
        if kind == "number":
            return read_number
        if kind == "logical":
            return read_logical
        if kind == "channel":
            return self._read_channel
        if kind == "stage":
            return lambda text: read_text(text, max_length=limit)
        table = WORD_TYPES[kind]
        return lambda text: self._read_word(table, text, limit)

    def _read_channel(self, text: str) -> str:
        code = get_channel_code(text)
        if code == Channel.OTHER and text.strip() and text.strip() != Channel.OTHER:
            self.unknown["channel", "", text.strip()[:60]] += 1
        return code

    def _read_word(self, table: str, text: str, limit: int) -> str:
        word = text.strip()
        if not word:
            return ""
        value = self.words.get(table, {}).get(word_key(word))
        if value is None:
            self.unknown[table, "", word[:60]] += 1
            value = UNKNOWN_VALUE[table]
        if table == "risk" and value == RISK_OPEN:
            return read_text(word, max_length=limit)
        return value

    # -- rows ------------------------------------------------------------------------------------

    def read_row(self, row: StagedRow) -> tuple[dict[str, Values], Fault | None]:
        """The values of a row per level, and what is wrong with it (all bad cells in one fault)."""
        file = self.files[row.file_key]
        if row.fault is not None:
            return {}, Fault("", *row.fault)
        values: dict[str, Values] = {}
        for level, attribute, value in file.constants:
            values.setdefault(level, {})[attribute] = value
        bad: list[tuple[str, BadCell]] = []
        cells, nothing = row.cells, self.nothing
        for reader in file.readers:
            text = cells[reader.index]
            if nothing and text.strip() in nothing:
                text = ""
            try:
                value = reader.read(text)
            except BadCell as error:
                if reader.is_personal and "value" in error.params:
                    error.params["value"] = "…"
                bad.append((reader.column, error))
                continue
            target = values.setdefault(reader.level, {})
            if reader.is_custom:
                target.setdefault("custom", {})[reader.attribute] = None if value == "" else value
            else:
                target[reader.attribute] = value
        if not bad:
            return values, None
        return values, Fault(
            "、".join(column for column, _ in bad)[:200],
            bad[0][1].code,
            "；".join(dict.fromkeys(error.text for _, error in bad)),
            "；".join(dict.fromkeys(error.remedy for _, error in bad)),
        )

    def stage_of(self, order: Values, raw_status: str) -> str:
        """The stage of an order, by its word and channel or (olist style) by its furthest time."""
        if self.mapping["stage_from"] == "times":
            return _stage_by_times(order)
        channel, key = order["channel"], word_key(raw_status)
        code = self.stages.get(channel, {}).get(key) or self.stages.get(ANY_CHANNEL, {}).get(key)
        if code is None:
            code = self.mapped.get(channel, {}).get(order["raw_status"][:MAX_STATUS])
        if code is None:
            self.unknown["stage", channel, raw_status[:60]] += 1
            return Stage.UNKNOWN
        if code == CLOSED:
            had_money = (
                order.get("paid_at") or order.get("deposit_paid_at") or order.get("refund_state")
            )
            return Stage.CLOSED_REFUNDED if had_money else Stage.CLOSED_UNPAID
        return settle_stage(code, presale_phase=order.get("presale_phase"))


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def _stage_by_times(order: Values) -> str:
    if order.get("delivered_at"):
        return Stage.DELIVERED
    if order.get("shipped_at"):
        return Stage.SHIPPED
    if order.get("approved_at") or order.get("paid_at"):
        return Stage.AWAIT_SHIP
    return Stage.AWAIT_PAY


def build_receipt(
    compiler: Compiler, key: str, rows: Sequence[StagedRow]
) -> CanonicalReceipt | BadRecord:
    """What an OMS or WMS says of one order; two different rows of one order are refused."""
    kept, faults = _single(compiler, rows, None)
    values, fault = compiler.read_row(kept)
    if fault:
        faults[kept.id] = fault
    if faults:
        return BadRecord(key, faults, rows)
    fields = values["receipt"]
    fields["order_no"] = key
    # A file imported again is how a wrong one is mended.
    return CanonicalReceipt(**fields, is_correction=True)


def build_payments(
    compiler: Compiler, key: str, rows: Sequence[StagedRow]
) -> list[CanonicalPayment] | BadRecord:
    """The payments of one order, exact repeats merged; numbered in file order when unnumbered."""
    payments: list[CanonicalPayment] = []
    faults: dict[int, Fault] = {}
    seen: dict[str, StagedRow] = {}
    for row in _merge(compiler, rows):
        values, fault = compiler.read_row(row)
        if fault:
            faults[row.id] = fault
            continue
        fields = values["payment"]
        fields["order_no"] = key
        identity = fields.get("payment_id") or _numbered(key, seen)
        if identity in seen:
            faults[row.id] = faults[seen[identity].id] = _conflict(compiler, row, seen[identity])
        seen[identity] = row
        fields["payment_id"] = identity
        if "status" in fields and not fields["status"]:
            del fields["status"]
        payments.append(CanonicalPayment(**fields))
    if faults:
        return BadRecord(key, faults, rows)
    return payments


def _numbered(stem: str, taken: Mapping[str, Any]) -> str:
    number, identity = 1, stem[:60]
    while identity in taken:
        number += 1
        identity = f"{stem[:60]}#{number}"
    return identity


def _merge(compiler: Compiler, rows: Sequence[StagedRow]) -> list[StagedRow]:
    """Rows without exact repeats (which are counted)."""
    if len(rows) == 1:
        return list(rows)
    kept, seen = [], set()
    for row in rows:
        identity = (row.file_key, row.cells)
        if identity in seen and row.fault is None:
            compiler.merged[compiler.files[row.file_key].label] += 1
            continue
        seen.add(identity)
        kept.append(row)
    return kept


def _single(
    compiler: Compiler, rows: Sequence[StagedRow], level: str | None
) -> tuple[StagedRow, dict[int, Fault]]:
    """The one row of a key, or faults on all of them when they differ."""
    first = rows[0]
    if len(rows) == 1:
        return first, {}
    file = compiler.files[first.file_key]
    sign = file.sign(first.cells, level)
    for row in rows[1:]:
        other = compiler.files[row.file_key]
        if other.sign(row.cells, level) != sign:
            return first, {
                r.id: _conflict(compiler, r, first if r is not first else row) for r in rows
            }
        if level is None:
            compiler.merged[other.label] += 1
    return first, {}


def _conflict(compiler: Compiler, row: StagedRow, other: StagedRow) -> Fault:
    file = compiler.files[other.file_key]
    error = BadCell(
        gettext_noop("同一编号有两份不同的内容，另一份在「%(file)s」第 %(line)s 行"),
        gettext_noop("确认哪一份是对的，删去另一份"),
        code="conflict",
        file=file.label,
        line=other.line,
    )
    return Fault(
        compiler.files[row.file_key].headers[compiler.files[row.file_key].key_index],
        error.code,
        error.text,
        error.remedy,
    )


@dataclass(slots=True)
class OrderParts:
    """All rows that make one order."""

    key: str
    orders: list[StagedRow]
    lines: list[StagedRow]
    payments: list[StagedRow]


class Lookups:
    """Rows of customers and products, by key, for the batch in hand."""

    def __init__(self, rows: Mapping[str, Mapping[str, list[StagedRow]]]) -> None:
        self.rows = rows  # lookup file key -> key -> rows

    def find(self, compiler: Compiler, row: StagedRow, holds: str) -> list[list[StagedRow]]:
        """The lookup rows a row refers to, per lookup file of this kind."""
        found = []
        for other, index in compiler.files[row.file_key].on_index.items():
            spec = compiler.mapping["files"][other]
            if spec["holds"] != holds:
                continue
            key = row.cells[index].strip()
            rows = self.rows.get(other, {}).get(key, [])
            if rows:
                found.append(rows)
            elif key:
                compiler.unmatched[spec["label"]] += 1
        return found


def build_order(
    compiler: Compiler, parts: OrderParts, lookups: Lookups
) -> CanonicalOrder | BadRecord:
    """One order from all its rows; one bad row refuses the whole order, so nothing is half there."""
    faults: dict[int, Fault] = {}
    involved = [*parts.orders, *parts.lines, *parts.payments]
    is_flat = any(
        r.level == "line" for row in parts.orders for r in compiler.files[row.file_key].readers
    )
    head, clash = _single(compiler, parts.orders, "order" if is_flat else None)
    faults |= clash
    values, fault = compiler.read_row(head)
    if fault:
        faults[head.id] = fault
    order = values.get("order", {})
    order = _look_up(compiler, head, "customers", "order", order, lookups, faults, involved)
    line_rows = parts.orders if is_flat else parts.lines
    lines = _build_lines(compiler, line_rows, lookups, faults, involved)
    payments: list[CanonicalPayment] = []
    if parts.payments:
        built = build_payments(compiler, parts.key, parts.payments)
        if isinstance(built, BadRecord):
            faults |= built.faults
        else:
            payments = built
    if head.fault is None:
        _complete(compiler, head, order, faults)
    if faults:
        return BadRecord(parts.key, faults, involved)
    raw_status = order.get("raw_status") or order.get("stage") or ""
    order["order_no"] = parts.key
    order["raw_status"] = raw_status
    order["stage"] = compiler.stage_of(order, order.get("stage") or "")
    if order.get("is_cod") is None:
        order.pop("is_cod", None)
    return CanonicalOrder(
        **order,
        lines=tuple(lines),
        payments=tuple(payments),
        raw=_raw(compiler, parts),
    )


def _raw(compiler: Compiler, parts: OrderParts) -> dict[str, Any]:
    """The rows of an order as the files have them."""
    raw: dict[str, Any] = {}
    for row in (*parts.orders, *parts.lines, *parts.payments):
        file = compiler.files[row.file_key]
        raw.setdefault(file.label, []).append(file.name_cells(row.cells))
    return raw


def _complete(compiler: Compiler, head: StagedRow, order: Values, faults: dict[int, Fault]) -> None:
    """Fill in channel and shop; refuse an order that was told to have a shop and names none."""
    order["channel"] = order.get("channel") or str(Channel.OTHER)
    if order.get("shop") == "":
        file = compiler.files[head.file_key]
        column = next((r.column for r in file.readers if r.attribute == "shop"), "")
        error = BadCell(gettext_noop("店铺是空的"), gettext_noop("补上店铺名称"), code="no_shop")
        faults.setdefault(head.id, Fault(column, error.code, error.text, error.remedy))
    order["shop"] = order.get("shop") or compiler.mapping["name"]


def _look_up(
    compiler: Compiler,
    row: StagedRow,
    holds: str,
    level: str,
    own: Values,
    lookups: Lookups,
    faults: dict[int, Fault],
    involved: list[StagedRow],
) -> Values:
    """Own values over those of the lookup row; its faults count as this order's."""
    for rows in lookups.find(compiler, row, holds):
        involved.extend(rows)
        kept, clash = _single(compiler, rows, None)
        faults |= clash
        values, fault = compiler.read_row(kept)
        if fault:
            faults[kept.id] = fault
        joined = values.get(level, {})
        custom = {**joined.get("custom", {}), **own.get("custom", {})}
        own = {**joined, **own}
        if custom:
            own["custom"] = custom
    return own


def _build_lines(
    compiler: Compiler,
    rows: Sequence[StagedRow],
    lookups: Lookups,
    faults: dict[int, Fault],
    involved: list[StagedRow],
) -> list[CanonicalLine]:
    lines: list[CanonicalLine] = []
    seen: dict[str, StagedRow] = {}
    for row in _merge(compiler, rows):
        values, fault = compiler.read_row(row)
        if fault:
            faults.setdefault(row.id, fault)
            continue
        line = values.get("line", {})
        if not any(v not in (None, "", {}) for v in line.values()):
            continue  # an orders file row without goods
        line = _look_up(compiler, row, "products", "line", line, lookups, faults, involved)
        line.pop("order_no", None)
        identity = line.get("line_id")
        if identity and identity in seen:
            faults[row.id] = _conflict(compiler, row, seen[identity])
            faults[seen[identity].id] = _conflict(compiler, seen[identity], row)
            continue
        if not identity:
            identity = _numbered(line.get("sku") or str(len(lines) + 1), seen)
        seen[identity] = row
        line["line_id"] = identity
        if line.get("is_gift") is None:
            line.pop("is_gift", None)
        if line.get("quantity", 1) is None:
            faults[row.id] = _no_quantity(compiler, row)
            continue
        lines.append(CanonicalLine(**line))
    return lines


def _no_quantity(compiler: Compiler, row: StagedRow) -> Fault:
    file = compiler.files[row.file_key]
    error = BadCell(gettext_noop("数量是空的"), gettext_noop("补上数量"), code="no_quantity")
    column = next(r.column for r in file.readers if r.attribute == "quantity")
    return Fault(column, error.code, error.text, error.remedy)


def describe_unknown(compiler: Compiler) -> list[dict[str, Any]]:
    """Notices of a run so far: unknown words, merged repeats, keys without a partner."""
    notices: list[dict[str, Any]] = [
        {"kind": "unknown_word", "table": table, "channel": channel, "word": word, "count": count}
        for (table, channel, word), count in sorted(compiler.unknown.items(), key=lambda i: -i[1])
    ]
    notices += [
        {"kind": "merged", "file": file, "count": count}
        for file, count in sorted(compiler.merged.items())
    ]
    notices += [
        {"kind": "unmatched", "file": file, "count": count}
        for file, count in sorted(compiler.unmatched.items())
    ]
    return notices
