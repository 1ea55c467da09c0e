"""Joining files by key with bounded memory: a private SQLite file that lives as long as a run."""

from __future__ import annotations

import marshal
import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class StagedRow:
    """One row of one file, as read. `fault` is (code, reason, remedy) of an unreadable row."""

    id: int
    holds: str
    file_key: str
    line: int
    key: str | None
    cells: tuple[str, ...]
    fault: tuple[str, str, str] | None


_COLUMNS = "id, holds, file_key, line, key, cells, fault"


class Staging:
    """All rows of a file set, found again by what they hold and by key."""

    def __init__(self, folder: Path) -> None:
        self._db = sqlite3.connect(folder / "staging.sqlite3", isolation_level=None)
        self._db.executescript(
            "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-32768;"
            "CREATE TABLE rows (id INTEGER PRIMARY KEY, holds TEXT, file_key TEXT, line INT,"
            " key TEXT, cells BLOB, fault BLOB);"
            "CREATE TABLE keys (holds TEXT, position INTEGER, key TEXT, PRIMARY KEY (holds, position))"
            " WITHOUT ROWID;"
        )
        self._waiting: list[tuple[object, ...]] = []

    def close(self) -> None:
        """Let go of the file (its folder is removed by whoever made it)."""
        self._db.close()

    def add(
        self,
        *,
        holds: str,
        file_key: str,
        line: int,
        key: str | None,
        cells: Sequence[str],
        fault: tuple[str, str, str] | None = None,
    ) -> None:
        """Keep one row."""
        self._waiting.append(
            (
                holds,
                file_key,
                line,
                key,
                marshal.dumps(tuple(cells)),
                marshal.dumps(fault) if fault else None,
            )
        )
        if len(self._waiting) >= 5_000:
            self._flush()

    def _flush(self) -> None:
        if self._waiting:
            self._db.execute("BEGIN")
            self._db.executemany(
                "INSERT INTO rows (holds, file_key, line, key, cells, fault) VALUES (?,?,?,?,?,?)",
                self._waiting,
            )
            self._db.execute("COMMIT")
            self._waiting = []

    def seal(self) -> None:
        """Index what was added and number the keys in order of first appearance."""
        self._flush()
        self._db.executescript(
            "CREATE INDEX rows_by_key ON rows (holds, key);"
            "INSERT INTO keys SELECT holds, row_number() OVER (PARTITION BY holds ORDER BY min(id)),"
            " key FROM rows WHERE key IS NOT NULL GROUP BY holds, key;"
        )

    def count_keys(self, holds: str) -> int:
        """How many different keys rows of this kind have."""
        row = self._db.execute("SELECT count(*) FROM keys WHERE holds=?", [holds]).fetchone()
        return int(row[0])

    def count_rows(self) -> dict[str, int]:
        """Rows per kind."""
        return dict(self._db.execute("SELECT holds, count(*) FROM rows GROUP BY holds"))

    def batches(
        self, holds: str, *, after: int, size: int
    ) -> Iterator[tuple[int, dict[str, list[StagedRow]]]]:
        """Groups of rows by key, `size` keys at a time, with the position of the last key."""
        while True:
            last = self._db.execute(
                "SELECT max(position) FROM (SELECT position FROM keys WHERE holds=? AND position>?"
                " ORDER BY position LIMIT ?)",
                [holds, after, size],
            ).fetchone()[0]
            if last is None:
                return
            groups: dict[str, list[StagedRow]] = {}
            for row in self._db.execute(
                f"SELECT {_COLUMNS} FROM (SELECT key AS wanted, position FROM keys"  # noqa: S608 - our own column names
                " WHERE holds=? AND position>? AND position<=?)"
                " JOIN rows ON rows.holds=? AND rows.key=wanted ORDER BY position, id",
                [holds, after, last, holds],
            ):
                staged = _row(row)
                groups.setdefault(staged.key or "", []).append(staged)
            yield last, groups
            after = last

    def find(self, holds: str, keys: Sequence[str]) -> dict[str, list[StagedRow]]:
        """Rows of a kind by key, in file order; at most a few thousand keys at once."""
        found: dict[str, list[StagedRow]] = defaultdict(list)
        for start in range(0, len(keys), 500):
            some = list(keys[start : start + 500])
            marks = ",".join("?" * len(some))
            query = f"SELECT {_COLUMNS} FROM rows WHERE holds=? AND key IN ({marks}) ORDER BY id"  # noqa: S608 - placeholders only
            for row in self._db.execute(query, [holds, *some]):
                staged = _row(row)
                found[staged.key or ""].append(staged)
        return found

    def loose(self, *, after: int, size: int, parents: dict[str, str]) -> list[StagedRow]:
        """Rows that belong to nothing: no readable key, or a child whose parent is not in the set.

        `parents` maps the kind of a child to the kind its key must be found in.
        """
        orphan = " OR ".join(
            "(holds=? AND NOT EXISTS (SELECT 1 FROM rows p WHERE p.holds=? AND p.key=rows.key))"
            for _ in parents
        )
        condition = f"key IS NULL{' OR ' + orphan if orphan else ''}"
        arguments = [word for pair in parents.items() for word in pair]
        query = f"SELECT {_COLUMNS} FROM rows WHERE id>? AND ({condition}) ORDER BY id LIMIT ?"  # noqa: S608 - fixed text
        return [_row(row) for row in self._db.execute(query, [after, *arguments, size])]


def _row(row: tuple[int, str, str, int, str | None, bytes, bytes | None]) -> StagedRow:
    number, holds, file_key, line, key, cells, fault = row
    return StagedRow(
        number,
        holds,
        file_key,
        line,
        key,
        marshal.loads(cells),  # noqa: S302 - written by this process into its private file
        marshal.loads(fault) if fault else None,  # noqa: S302 - likewise
    )
