"""What a mapping would make of the first orders of a file set, without touching the database."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from config.tenancy.models import Environment
from connectors.orders.canonical import CanonicalOrder
from connectors.tabular.building import (
    BadRecord,
    Compiler,
    Lookups,
    OrderParts,
    build_order,
    build_payments,
    build_receipt,
    describe_unknown,
)
from connectors.tabular.fields import LOOKUPS
from connectors.tabular.mapping import check_mapping
from connectors.tabular.readers import BadRow, open_table
from connectors.tabular.staging import StagedRow, Staging
from connectors.tabular.values import BadCell

# Rows of lines, payments and lookups read in search of the previewed orders' own.
MAX_SCANNED = 200_000


@dataclass(slots=True)
class Preview:
    """The first orders (or, without orders, receipts and payments) as they would come in."""

    orders: list[tuple[str, CanonicalOrder | BadRecord]] = field(default_factory=list)
    parts: dict[str, list[tuple[str, Any]]] = field(default_factory=dict)
    total: int = 0  # different order numbers in the orders file
    notices: list[dict[str, Any]] = field(default_factory=list)


def preview_import(
    environment: Environment,
    *,
    mapping: Mapping[str, Any],
    files: Mapping[str, Path],
    names: Mapping[str, str],
    limit: int = 20,
    mapped: Mapping[str, Mapping[str, str]] | None = None,
) -> Preview:
    """Build the first `limit` orders of a set; raises BadInput as the import would.

    `mapped`: what the business says of statuses, by channel (`list_all_changes`).
    """
    clean = check_mapping(mapping)
    zone = ZoneInfo(clean["time_zone"]) if clean["time_zone"] else environment.zone
    compiler = Compiler(clean, zone)
    compiler.mapped = mapped or {}
    with tempfile.TemporaryDirectory(prefix="hedao-preview-") as folder:
        staging = Staging(Path(folder))
        try:
            return _Previewer(compiler, staging, files, names, limit).work()
        finally:
            staging.close()


class _Previewer:
    """One preview: reads each file once, keeping only rows of the chosen keys."""

    def __init__(
        self,
        compiler: Compiler,
        staging: Staging,
        files: Mapping[str, Path],
        names: Mapping[str, str],
        limit: int,
    ) -> None:
        self.compiler, self.staging, self.limit = compiler, staging, limit
        self.files, self.names = files, names
        self.rows: dict[str, list[StagedRow]] = {}
        self.total = 0
        self.count = 0

    def work(self) -> Preview:
        specs = self.compiler.mapping["files"]
        by_holds: dict[str, list[str]] = {}
        for key, spec in specs.items():
            by_holds.setdefault(spec["holds"], []).append(key)
        orders: dict[str, list[StagedRow]] = {}
        for key in by_holds.get("orders", []):
            self._read(key, orders, is_open=True)
        lines = self._children("lines", by_holds, orders)
        payments = self._children("payments", by_holds, orders)
        lookups = Lookups(
            {
                key: self._lookup(key, orders, lines)
                for holds in LOOKUPS
                for key in by_holds.get(holds, [])
            }
        )
        preview = Preview(total=self.total)
        for key, rows in orders.items():
            parts = OrderParts(key, rows, lines.get(key, []), payments.get(key, []))
            preview.orders.append((key, build_order(self.compiler, parts, lookups)))
        alone = ("gateway", "oms", "wms") if orders else ("gateway", "oms", "wms", "payments")
        for holds in alone:
            for key in by_holds.get(holds, []):
                found: dict[str, list[StagedRow]] = {}
                self._read(key, found, is_open=True)
                build = build_receipt if holds in {"oms", "wms"} else build_payments
                preview.parts.setdefault(holds, []).extend(
                    (number, build(self.compiler, number, rows)) for number, rows in found.items()
                )
        preview.notices = [
            n for n in describe_unknown(self.compiler) if n["kind"] == "unknown_word"
        ]
        return preview

    def _children(
        self, holds: str, by_holds: Mapping[str, list[str]], orders: Mapping[str, Any]
    ) -> dict[str, list[StagedRow]]:
        found: dict[str, list[StagedRow]] = {key: [] for key in orders}
        if orders:
            for key in by_holds.get(holds, []):
                self._read(key, found, is_open=False)
        return found

    def _lookup(
        self, key: str, orders: Mapping[str, Sequence[StagedRow]], lines: Mapping[str, Any]
    ) -> dict[str, list[StagedRow]]:
        wanted: dict[str, list[StagedRow]] = {}
        for rows in (*orders.values(), *lines.values()):
            for row in rows:
                index = self.compiler.files[row.file_key].on_index.get(key)
                if index is not None and row.cells[index].strip():
                    wanted[row.cells[index].strip()] = []
        self._read(key, wanted, is_open=False)
        return {name: rows for name, rows in wanted.items() if rows}

    def _read(self, key: str, found: dict[str, list[StagedRow]], *, is_open: bool) -> None:
        """Collect rows of the keys in `found`; with `is_open`, of the first `limit` keys met."""
        spec = self.compiler.mapping["files"][key]
        name = self.names.get(key) or spec["file"]
        seen: set[str] = set()
        with open_table(self.files[key], name=name, sheet=spec["sheet"] or None) as table:
            file = self.compiler.compile_file(key, table.headers, name=name)
            for number, row in enumerate(table.rows):
                if number >= MAX_SCANNED or (
                    is_open and spec["holds"] != "orders" and len(found) >= self.limit
                ):
                    break
                try:
                    text = file.read_key(row.cells) if row.cells else ""
                except BadCell:
                    continue
                if not text:
                    continue
                seen.add(text)
                if text not in found and is_open and len(found) < self.limit:
                    found[text] = []
                if text in found:
                    self.count += 1
                    fault = None
                    if isinstance(row, BadRow):
                        fault = ("bad_row", row.reason, row.remedy)
                    cells = row.cells[: len(table.headers)]
                    found[text].append(
                        StagedRow(self.count, file.holds, key, row.line, text, cells, fault)
                    )
        if spec["holds"] == "orders":
            self.total += len(seen)
