"""What changed from one content of a lookup table to another, in words a reviewer reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from config.errors import Phrase, gettext_noop, join_phrases
from rules_engine.facts.tables import TYPES, write_cell

MAX_LISTED: Final = 50
_NOTHING: Final = Phrase(gettext_noop("无"))


@dataclass(frozen=True)
class RowChange:
    """One row that was added, removed or changed; cells are (label, old, new)."""

    kind: str
    key: str
    cells: tuple[tuple[str, str, str], ...] = ()


@dataclass
class TableChanges:
    """Sentences about name and columns, counts of rows, and the first rows that differ."""

    sentences: list[Phrase] = field(default_factory=list)
    added: int = 0
    removed: int = 0
    changed: int = 0
    rows: list[RowChange] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        """Whether the contents say the same."""
        return not self.sentences and not self.row_count

    @property
    def row_count(self) -> int:
        """How many rows differ."""
        return self.added + self.removed + self.changed

    @property
    def not_listed(self) -> int:
        """How many more rows differ than are listed."""
        return self.row_count - len(self.rows)

    @property
    def summary(self) -> Phrase:
        """One line: what the list of submissions shows."""
        parts = [*self.sentences[:2]]
        for count, text in (
            (self.added, gettext_noop("加 %(n)d 行")),
            (self.changed, gettext_noop("改 %(n)d 行")),
            (self.removed, gettext_noop("删 %(n)d 行")),
        ):
            if count:
                parts.append(Phrase(text, {"n": count}))
        joint = gettext_noop("%(before)s，%(next)s")
        return join_phrases(parts, joint) if parts else Phrase(gettext_noop("没有改动"))


def compare_tables(
    old: Mapping[str, Any] | None, new: Mapping[str, Any], *, listed: int = MAX_LISTED
) -> TableChanges:
    """Differences between two contents; drafts may hold cells that are not clean yet.

    listed: how many of the rows that differ are listed; all are counted.
    """
    found = TableChanges()
    before, after = _columns(old), _columns(new)
    if old is None:
        found.sentences.append(
            Phrase(gettext_noop("新表「%(name)s」"), {"name": new.get("name", "")})
        )
    else:
        if old.get("name") != new.get("name"):
            found.sentences.append(
                Phrase(
                    gettext_noop("表名「%(old)s」→「%(new)s」"),
                    {"old": old.get("name"), "new": new.get("name")},
                )
            )
        found.sentences += _compare_columns(before, after)
    _compare_rows(old, new, found, listed)
    return found


def _columns(content: Mapping[str, Any] | None) -> dict[str, Mapping[str, Any]]:
    return {str(c["key"]): c for c in (content or {}).get("columns", ())}


def _compare_columns(
    before: Mapping[str, Mapping[str, Any]], after: Mapping[str, Mapping[str, Any]]
) -> list[Phrase]:
    said = []
    for key, column in after.items():
        label = {"label": column["label"]}
        if key not in before:
            said.append(Phrase(gettext_noop("加列「%(label)s」"), label))
            continue
        was = before[key]
        if was["label"] != column["label"]:
            words = {"old": was["label"]} | label
            said.append(Phrase(gettext_noop("列「%(old)s」改名为「%(label)s」"), words))
        if was["type"] != column["type"]:
            words = {name: _say_type(c["type"]) for name, c in (("old", was), ("new", column))}
            said.append(
                Phrase(gettext_noop("列「%(label)s」的类型 %(old)s → %(new)s"), label | words)
            )
        if bool(was["is_key"]) != bool(column["is_key"]):
            text = (
                gettext_noop("列「%(label)s」改成键列")
                if column["is_key"]
                else gettext_noop("列「%(label)s」不再是键列")
            )
            said.append(Phrase(text, label))
        if write_cell(was.get("default")) != write_cell(column.get("default")):
            words = {
                "old": write_cell(was.get("default")) or _NOTHING,
                "new": write_cell(column.get("default")) or _NOTHING,
            }
            said.append(
                Phrase(gettext_noop("列「%(label)s」查不到时的值 %(old)s → %(new)s"), label | words)
            )
    said += [
        Phrase(gettext_noop("删列「%(label)s」"), {"label": column["label"]})
        for key, column in before.items()
        if key not in after
    ]
    return said


def _say_type(type: str) -> Phrase | str:
    return Phrase(TYPES[type]) if type in TYPES else type


def _keyed(content: Mapping[str, Any] | None) -> dict[tuple[str, ...], dict[str, str]]:
    """Rows by their keys as shown; the cells by the key of their column."""
    columns: Sequence[Mapping[str, Any]] = (content or {}).get("columns", ())
    places = [i for i, c in enumerate(columns) if c["is_key"]]
    found: dict[tuple[str, ...], dict[str, str]] = {}
    for row in (content or {}).get("rows", ()):
        cells = [write_cell(cell) for cell in row] + [""] * len(columns)
        key = tuple(cells[i].strip().lower() for i in places)
        found.setdefault(key, {c["key"]: cells[i] for i, c in enumerate(columns)})
    return found


def _compare_rows(
    old: Mapping[str, Any] | None, new: Mapping[str, Any], found: TableChanges, listed: int
) -> None:
    before, after = _keyed(old), _keyed(new)
    columns = _columns(new)
    keys = [key for key, c in columns.items() if c["is_key"]]
    labels = {key: str(c["label"]) for key, c in columns.items() if not c["is_key"]}

    def note(kind: str, shown: str, cells: list[tuple[str, str, str]]) -> None:
        if len(found.rows) < listed:
            found.rows.append(RowChange(kind, shown, tuple(cells)))

    for key, row in after.items():
        shown = "、".join(row[k] for k in keys)
        if key not in before:
            found.added += 1
            note("added", shown, [(labels[k], "", row[k]) for k in labels])
            continue
        cells = [
            (labels[k], before[key].get(k, ""), row[k])
            for k in labels
            if k in before[key] and before[key][k] != row[k]
        ]
        if cells:
            found.changed += 1
            note("changed", shown, cells)
    for key in before:
        if key not in after:
            found.removed += 1
            note("removed", "、".join(key), [])


__all__ = ["MAX_LISTED", "RowChange", "TableChanges", "compare_tables"]
