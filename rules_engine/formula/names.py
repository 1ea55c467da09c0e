"""The names a formula may use: fields, found by label or alias."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from .values import ValueType


@dataclass(frozen=True, slots=True)
class Field:
    """A named, typed value; `columns` only for ROWS (明细, 付款, ...)."""

    id: str
    label: str
    alias: str
    type: ValueType
    description: str = ""
    unit: str = ""
    example: str = ""
    columns: tuple[Field, ...] = ()
    is_prefetched: bool = False  # fetched beside the order, only for formulas that use it
    is_hidden: bool = False  # read by functions through its id, never written by people


@dataclass(frozen=True, slots=True)
class Table:
    """A lookup table as formulas see it; `id` begins with "table:", a column's id with that."""

    id: str
    name: str
    keys: tuple[Field, ...]
    columns: tuple[Field, ...]  # those with answers

    @property
    def field(self) -> Field:
        """The table as something a plan reads from the values."""
        return Field(self.id, self.name, "", ValueType.ANY, is_prefetched=True)

    def find_column(self, text: str) -> Field | None:
        """Return the answer column with this label or id; exact labels come first."""
        wanted = text.strip().lower()
        for column in self.columns:
            if text in (column.label, column.id):
                return column
        return next((c for c in self.columns if wanted in (c.label.lower(), c.alias.lower())), None)


@dataclass(frozen=True, slots=True)
class Term:
    """A word that formulas write as text and that keeps its id: a node, a stage."""

    id: str  # kind, colon, code: "node:wms_push"
    label: str

    @property
    def kind(self) -> str:
        """What sort of word it is: node, stage."""
        return self.id.partition(":")[0]


TABLE_PREFIX: Final = "table:"
OWN: Final = "本单"  # 本单下单时间: the order's own, where a column has the same name


class Names:
    """What a formula may name; of two fields with the same name the first is found.

    Tables and terms are written as text ("运费表", "推送WMS") and found by name within their kind.
    """

    def __init__(
        self, fields: Iterable[Field], tables: Iterable[Table] = (), terms: Iterable[Term] = ()
    ) -> None:
        self.fields = tuple(fields)
        self.tables = tuple(tables)
        self.terms = tuple(terms)
        visible = [field for field in self.fields if not field.is_hidden]
        self._by_name: dict[str, Field] = {}
        self._by_id: dict[str, Field] = {}
        self._owners: dict[str, Field] = {}
        for field in self.fields:
            self._by_id.setdefault(field.id, field)
            for column in field.columns:
                self._by_id.setdefault(column.id, column)
                self._owners.setdefault(column.id, field)
        for field in visible:
            self._by_name.setdefault(field.label, field)
        for field in visible:
            if field.alias:
                self._by_name.setdefault(field.alias.lower(), field)
        for field in visible:
            self._by_name.setdefault(field.label.lower(), field)
        self._spelled = [name for f in visible for name in (f.label, f.alias) if name]
        self._columns = {field.id: Names(field.columns) for field in self.fields if field.columns}
        self._written: dict[str, str] = {}  # id -> label of what is written as text
        for table in self.tables:
            self._by_id.setdefault(table.id, table.field)
            self._written[table.id] = table.name
            for column in table.columns:
                self._owners.setdefault(column.id, table.field)
                self._by_id.setdefault(column.id, column)
                self._written[column.id] = column.label
        self._written.update((term.id, term.label) for term in self.terms)

    def find(self, text: str) -> Field | None:
        """Return the field with this label or alias, in any case; exact labels come first."""
        return self._by_name.get(text) or self._by_name.get(text.lower())

    def find_own(self, text: str) -> Field | None:
        """Return the order's own field said with 本单 in front: 本单下单时间."""
        return self._by_name.get(text[len(OWN) :]) if text.startswith(OWN) else None

    def find_table(self, text: str) -> Table | None:
        """Return the lookup table with this name or id, in any case."""
        wanted = text.strip().lower()
        for table in self.tables:
            if text == table.id:
                return table
        return next((t for t in self.tables if t.name.lower() == wanted), None)

    def find_term(self, text: str, kinds: tuple[str, ...]) -> Term | None:
        """Return the term with this label or id; of two with one label the earlier kind's."""
        wanted = text.strip().lower()
        found = [t for t in self.terms if t.kind in kinds and wanted in (t.label.lower(), t.id)]
        return min(found, key=lambda term: kinds.index(term.kind), default=None)

    def written_label(self, id: str) -> str | None:
        """Return the label of what is written as text (a table, its column, a term)."""
        return self._written.get(id)

    def by_id(self, id: str) -> Field | None:
        """Return the field or column with this id."""
        return self._by_id.get(id)

    def owner_of(self, column_id: str) -> Field | None:
        """Return the ROWS field this column belongs to."""
        return self._owners.get(column_id)

    def columns_of(self, rows: Field) -> Names:
        """Return the columns of a ROWS field as names."""
        return self._columns.get(rows.id) or _NO_NAMES

    def nearest(self, text: str) -> str | None:
        """Return the label or alias most like `text`, or None when nothing is near."""
        return nearest_name(text, self.spelled())

    def spelled(self) -> list[str]:
        """Return every label and alias."""
        return list(self._spelled)


def nearest_name(text: str, candidates: Iterable[str]) -> str | None:
    """Return the candidate most like `text` in any case, or None when nothing is near."""
    if not 1 <= len(text) <= _MAX_COMPARED:
        return None
    by_lower = {name.lower(): name for name in candidates}
    near = difflib.get_close_matches(text.lower(), by_lower, n=1, cutoff=0.5)
    return by_lower[near[0]] if near else None


_MAX_COMPARED: Final = 40  # characters; nobody mistypes longer names
_NO_NAMES: Final = Names(())
