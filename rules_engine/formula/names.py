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


class Names:
    """The fields a formula may use; of two with the same name the first is found."""

    def __init__(self, fields: Iterable[Field]) -> None:
        self.fields = tuple(fields)
        self._by_name: dict[str, Field] = {}
        self._by_id: dict[str, Field] = {}
        self._owners: dict[str, Field] = {}
        for field in self.fields:
            self._by_id.setdefault(field.id, field)
            for column in field.columns:
                self._by_id.setdefault(column.id, column)
                self._owners.setdefault(column.id, field)
        for field in self.fields:
            self._by_name.setdefault(field.label, field)
        for field in self.fields:
            if field.alias:
                self._by_name.setdefault(field.alias.lower(), field)
        for field in self.fields:
            self._by_name.setdefault(field.label.lower(), field)
        self._columns = {field.id: Names(field.columns) for field in self.fields if field.columns}

    def find(self, text: str) -> Field | None:
        """Return the field with this label or alias, in any case; exact labels come first."""
        return self._by_name.get(text) or self._by_name.get(text.lower())

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
        return [name for field in self.fields for name in (field.label, field.alias) if name]


def nearest_name(text: str, candidates: Iterable[str]) -> str | None:
    """Return the candidate most like `text` in any case, or None when nothing is near."""
    if not 1 <= len(text) <= _MAX_COMPARED:
        return None
    by_lower = {name.lower(): name for name in candidates}
    near = difflib.get_close_matches(text.lower(), by_lower, n=1, cutoff=0.5)
    return by_lower[near[0]] if near else None


_MAX_COMPARED: Final = 40  # characters; nobody mistypes longer names
_NO_NAMES: Final = Names(())
