"""Importing a set of files: staged and joined by key, built, received batch by batch.

Order of work: what gateways, OMS and WMS say comes before the orders, so that an order is walked
through the river once, with everything known; a source counts as fresh only after its rows are in.
Each batch is one transaction together with the run's cursor, its counts and its quarantine.
"""

from __future__ import annotations

import json
import logging
import secrets
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone

from config.errors import AppError, BadInput, WrongState, gettext_noop, join_phrases
from config.secrets import encrypt
from config.tenancy.models import Environment
from config.tenancy.scope import for_environment
from connectors.orders.canonical import CanonicalOrder, CanonicalRecord
from connectors.orders.models import CustomField
from connectors.orders.services import MAX_BATCH, Received, receive, rewalk_orders
from connectors.orders.status_mappings import list_all_changes
from connectors.shops.models import Shop, Source, SourceKind
from connectors.shops.services import get_or_create_shop, get_or_create_source, record_freshness
from connectors.tabular.building import (
    BadRecord,
    Compiler,
    Fault,
    Lookups,
    OrderParts,
    build_order,
    build_payments,
    build_receipt,
    describe_unknown,
)
from connectors.tabular.fields import LOOKUPS
from connectors.tabular.mapping import check_mapping
from connectors.tabular.models import CELLS_PURPOSE, ImportRun, QuarantineRow
from connectors.tabular.readers import BadRow, open_table
from connectors.tabular.staging import StagedRow, Staging
from connectors.tabular.values import BadCell
from connectors.tabular.workbook import FILE, LINE, OUR_COLUMNS, unprefix

log = logging.getLogger(__name__)

BATCH = MAX_BATCH
# A worker that has not moved a run for this long is taken for dead.
STALLED_AFTER = timedelta(seconds=45)
MAX_ATTEMPTS = 5
MAX_LISTED_PROBLEMS = 200  # of a dry run; an import keeps every one, in quarantine

_PHASES = ("loose", "gateway", "oms", "wms", "payments", "orders")
PHASE_LABELS: dict[str, str] = {
    "reading": gettext_noop("读取文件"),
    "loose": gettext_noop("查找没有归属的行"),
    "gateway": gettext_noop("导入支付网关流水"),
    "oms": gettext_noop("导入 OMS 接收记录"),
    "wms": gettext_noop("导入 WMS 接收记录"),
    "payments": gettext_noop("导入平台付款"),
    "orders": gettext_noop("导入订单"),
    "done": gettext_noop("完成"),
}
_SOURCE_OF = {
    "orders": SourceKind.CHANNEL,
    "payments": SourceKind.CHANNEL,
    "gateway": SourceKind.GATEWAY,
    "oms": SourceKind.OMS,
    "wms": SourceKind.WMS,
}


class TakenOver(WrongState):
    """Another worker has the run: this one stops without a word to the user."""

    code = "taken_over"


class _OutOfTime(Exception):
    """The worker's time is up; the run goes back into the queue. Never leaves this module."""


class _RollBack(Exception):
    """Ends a dry run's batch; never leaves this module."""


def run_import(
    environment: Environment,
    *,
    mapping: Mapping[str, Any],
    files: Mapping[str, Path],
    complete_until: datetime | None,
    now: datetime,
    is_history: bool = False,
    dry_run: bool = False,
    import_run: ImportRun | None = None,
    names: Mapping[str, str] | None = None,
    budget: timedelta | None = None,
) -> ImportRun:
    """Import a set of files, or go on with a run that was interrupted.

    `files` gives a path per file key of the mapping (`names`: what messages call them). The first
    import of a source counts as history whatever `is_history` says. Call it outside a transaction:
    every batch of 500 keys is one of its own. A dry run does all of it and rolls every batch back.
    With a `budget` a run that takes longer comes back queued, to be called for again.

    Raises BadInput when a file as a whole cannot be taken; nothing of the set is then applied
    and the run says why. TakenOver when another live worker has the run.
    """
    clean = check_mapping(mapping)
    _check_files(clean, files)
    run = import_run or create_run(
        environment,
        mapping=clean,
        complete_until=complete_until,
        now=now,
        is_history=is_history,
        is_dry_run=dry_run,
    )
    importer = _Importer(environment, run, clean, dict(files), dict(names or {}), now)
    if budget is not None:
        importer.stop_at = time.monotonic() + budget.total_seconds()
    return importer.work()


def create_run(
    environment: Environment,
    *,
    mapping: Mapping[str, Any],
    complete_until: datetime | None,
    now: datetime,
    is_history: bool = False,
    is_dry_run: bool = False,
    **more: Any,
) -> ImportRun:
    """A queued run. What is decided once (history or not) is decided here, so a resumed run agrees."""
    with for_environment(environment):
        known = Source.objects.filter(
            kind=SourceKind.CHANNEL,
            name=source_name(mapping, "orders"),
            last_received_at__isnull=False,
        )
        run: ImportRun = ImportRun.objects.create(
            name=mapping["name"],
            mapping=dict(mapping),
            complete_until=complete_until,
            is_history=is_history or not known.exists(),
            is_dry_run=is_dry_run,
            created_at=now,
            **more,
        )
    return run


def source_name(mapping: Mapping[str, Any], holds: str) -> str:
    """The name of the feed a kind of file of this mapping belongs to."""
    kind = _SOURCE_OF[holds]
    return f"{mapping['name']} · {SourceKind(kind).label}"[:100]


def list_stalled_runs(now: datetime) -> list[ImportRun]:
    """Runs of the environment in force that nobody works at: to be sent to a worker again."""
    late = now - STALLED_AFTER
    return list(
        ImportRun.objects.filter(
            Q(state=ImportRun.State.QUEUED, created_at__lt=late)
            | Q(state=ImportRun.State.RUNNING, heartbeat_at__lt=late)
        ).order_by("created_at")
    )


def _check_files(mapping: Mapping[str, Any], files: Mapping[str, Path]) -> None:
    missing = [spec["label"] for key, spec in mapping["files"].items() if key not in files]
    if missing:
        raise BadInput(
            gettext_noop("还缺少文件：%(files)s"), code="missing_files", files=join_phrases(missing)
        )
    unknown = [key for key in files if key not in mapping["files"]]
    if unknown:
        raise BadInput(
            gettext_noop("映射里没有说明这些文件：%(files)s"),
            code="unmapped_files",
            files=join_phrases(unknown),
        )


class _Importer:
    """One worker at one run."""

    def __init__(
        self,
        environment: Environment,
        run: ImportRun,
        mapping: dict[str, Any],
        files: dict[str, Path],
        names: dict[str, str],
        now: datetime,
    ) -> None:
        self.environment, self.run, self.mapping = environment, run, mapping
        self.files, self.names, self.now = files, names, now
        zone = ZoneInfo(mapping["time_zone"]) if mapping["time_zone"] else environment.zone
        self.compiler = Compiler(mapping, zone)
        self.held = {spec["holds"] for spec in mapping["files"].values()}
        self.sources: dict[str, Source] = {}
        self.shops: dict[tuple[str, str], Shop] = {}
        self.stop_at: float | None = None
        # Of a quarantine workbook: which quarantined row each of its rows mends.
        self.origins: dict[tuple[str, int], tuple[str, int]] = {}
        self.children: dict[str, list[StagedRow]] = {}  # lines and payments of the batch in hand

    # -- the run ---------------------------------------------------------------------------------

    def work(self) -> ImportRun:
        """Claim the run and do what is left of it."""
        self._claim()
        try:
            if self.run.attempts > MAX_ATTEMPTS:
                raise BadInput(
                    gettext_noop("导入中断了 %(n)s 次，不再自动重试。请联系技术支援查看日志"),
                    code="too_many_attempts",
                    n=MAX_ATTEMPTS,
                )
            with tempfile.TemporaryDirectory(prefix="hedao-import-") as folder:
                staging = Staging(Path(folder))
                try:
                    self._read_files(staging)
                    self._prepare(staging)
                    for phase in self._open_phases():
                        self._run_phase(staging, phase)
                finally:
                    staging.close()
            self._finish()
        except TakenOver:
            raise
        except _OutOfTime:
            self._report(state=ImportRun.State.QUEUED, attempts=0)
        except AppError as error:
            self._fail(error)
            raise
        return self.run

    def _claim(self) -> None:
        claim, clock = secrets.token_hex(8), timezone.now()
        with for_environment(self.environment):
            free = (
                Q(state=ImportRun.State.QUEUED)
                | Q(claim="")
                | Q(heartbeat_at__isnull=True)
                | Q(heartbeat_at__lt=clock - STALLED_AFTER)
            )
            rows = ImportRun.objects.filter(free, pk=self.run.pk).exclude(
                state__in=[ImportRun.State.DONE, ImportRun.State.FAILED]
            )
            if not rows.update(
                claim=claim,
                attempts=F("attempts") + 1,
                state=ImportRun.State.RUNNING,
                heartbeat_at=clock,
                started_at=self.run.started_at or self.now,
            ):
                raise TakenOver(gettext_noop("这次导入已经完成，或正由另一个进程处理"))
            self.run = ImportRun.objects.get(pk=self.run.pk)
            self.compiler.mapped = list_all_changes(self.now)
        self.base_notices = list(self.run.notices)

    def _write(self, **values: Any) -> None:
        """Save progress, provided the run is still ours; call inside the scope."""
        for name, value in values.items():
            setattr(self.run, name, value)
        values["heartbeat_at"] = timezone.now()
        if not ImportRun.objects.filter(pk=self.run.pk, claim=self.run.claim).update(**values):
            raise TakenOver(gettext_noop("这次导入已由另一个进程接手"))

    def _report(self, **values: Any) -> None:
        with for_environment(self.environment):
            self._write(**values)

    def _fail(self, error: AppError) -> None:
        log.warning("import %s failed: %s", self.run.public_id, error.code)
        self._report(state=ImportRun.State.FAILED, error=error.text, finished_at=timezone.now())

    # -- reading ---------------------------------------------------------------------------------

    def _read_files(self, staging: Staging) -> None:
        self._report(phase="reading", done=0, total=0)
        rows = 0
        for key, path in self.files.items():
            spec = self.mapping["files"][key]
            name = self.names.get(key) or spec["file"] or path.name
            with open_table(path, name=name, sheet=spec["sheet"] or None) as table:
                rows = self._read_table(staging, key, table, name, rows)
        staging.seal()
        self._report(done=rows)

    def _read_table(self, staging: Staging, key: str, table: Any, name: str, rows: int) -> int:
        headers = table.headers
        if self.run.repairs_id:
            headers = tuple(unprefix(header) for header in headers)
        file = self.compiler.compile_file(key, headers, name=name)
        origin = _origin_columns(headers) if self.run.repairs_id else None
        for row in table.rows:
            rows += 1
            if rows % 20_000 == 0:
                self._report(done=rows)
            cells, fault = row.cells, None
            if self.run.repairs_id:
                cells = tuple(unprefix(cell) for cell in cells)
                if origin:
                    self._note_origin(key, row.line, cells, origin)
            key_text: str | None = None
            if isinstance(row, BadRow):
                fault = ("bad_row", row.reason, row.remedy)
            try:
                key_text = file.read_key(cells) if cells else None
            except BadCell as error:
                fault = fault or (error.code, error.text, error.remedy)
            staging.add(
                holds=file.holds,
                file_key=key,
                line=row.line,
                key=key_text,
                cells=cells[: len(headers)],
                fault=fault,
            )
        return rows

    def _note_origin(
        self, key: str, line: int, cells: Sequence[str], origin: tuple[int, int]
    ) -> None:
        """Remember which quarantined row a row of a workbook mends."""
        label, number = cells[origin[0]].strip(), cells[origin[1]].strip()
        if number.isdecimal():
            self.origins[key, line] = (label, int(number))

    # -- preparing -------------------------------------------------------------------------------

    def _prepare(self, staging: Staging) -> None:
        total = sum(staging.count_keys(holds) for holds in self.held & set(_SOURCE_OF))
        with for_environment(self.environment):
            self.shops = {(s.channel, s.name): s for s in Shop.objects.all()}
            self._write(total=total, done=int(self.run.cursor.get("done", 0)))
            if self.run.is_dry_run:
                return
            for holds in self.held & set(_SOURCE_OF):
                self._source(holds)
            self._ensure_custom_fields()

    def _source(self, holds: str) -> Source:
        if holds not in self.sources:
            self.sources[holds] = get_or_create_source(
                kind=_SOURCE_OF[holds], name=source_name(self.mapping, holds)
            )
        return self.sources[holds]

    def _ensure_custom_fields(self) -> None:
        for spec in self.mapping["files"].values():
            for column in spec["columns"]:
                if "custom" in column:
                    _ensure_custom_field(column)

    def _open_phases(self) -> list[str]:
        phases = [p for p in _PHASES if p == "loose" or p in self.held]
        if "orders" in self.held and "payments" in phases:
            phases.remove("payments")  # they travel with their orders
        reached = self.run.cursor.get("phase")
        return phases[phases.index(reached) :] if reached in phases else phases

    # -- phases ----------------------------------------------------------------------------------

    def _run_phase(self, staging: Staging, phase: str) -> None:
        cursor = self.run.cursor
        after = int(cursor["after"]) if cursor.get("phase") == phase else 0
        with for_environment(self.environment):
            self._write(phase=phase)
        if phase == "loose":
            self._take_loose(staging, after)
        else:
            for last, groups in staging.batches(phase, after=after, size=BATCH):
                if self.stop_at is not None and time.monotonic() > self.stop_at:
                    raise _OutOfTime
                built = self._build(staging, phase, groups)
                self._apply(phase, last, built, groups)
        if phase in _SOURCE_OF and not self.run.is_dry_run:
            self._connect(phase)

    def _take_loose(self, staging: Staging, after: int) -> None:
        parents = {
            child: "orders"
            for child in ("lines", "payments")
            if child in self.held and "orders" in self.held
        }
        while rows := staging.loose(after=after, size=2_000, parents=parents):
            after = rows[-1].id
            bad = [
                BadRecord(row.key or "", {row.id: _loose_fault(self.compiler, row)}, [row])
                for row in rows
            ]
            self._apply("loose", after, bad, {})

    def _build(
        self, staging: Staging, phase: str, groups: Mapping[str, list[StagedRow]]
    ) -> list[Any]:
        if phase in {"oms", "wms"}:
            return [build_receipt(self.compiler, k, rows) for k, rows in groups.items()]
        if phase in {"gateway", "payments"}:
            return [build_payments(self.compiler, k, rows) for k, rows in groups.items()]
        keys = list(groups)
        lines = staging.find("lines", keys) if "lines" in self.held else {}
        payments = staging.find("payments", keys) if "payments" in self.held else {}
        lookups = self._lookups(staging, [*_flatten(groups), *_flatten(lines)])
        self.children = {k: [*lines.get(k, []), *payments.get(k, [])] for k in keys}
        return [
            build_order(
                self.compiler,
                OrderParts(key, rows, lines.get(key, []), payments.get(key, [])),
                lookups,
            )
            for key, rows in groups.items()
        ]

    def _lookups(self, staging: Staging, rows: Sequence[StagedRow]) -> Lookups:
        wanted: dict[str, dict[str, None]] = {}
        for row in rows:
            if row.fault and not row.cells:
                continue
            for other, index in self.compiler.files[row.file_key].on_index.items():
                if key := row.cells[index].strip():
                    wanted.setdefault(other, {})[key] = None
        found: dict[str, dict[str, list[StagedRow]]] = {}
        for other, keys in wanted.items():
            holds = self.mapping["files"][other]["holds"]
            found[other] = {
                key: [r for r in rows if r.file_key == other]
                for key, rows in staging.find(holds, list(keys)).items()
            }
        return Lookups(found)

    # -- one batch -------------------------------------------------------------------------------

    def _apply(
        self, phase: str, last: int, built: Sequence[Any], groups: Mapping[str, list[StagedRow]]
    ) -> None:
        """Receive a batch, quarantine what is bad, move the cursor: together or not at all."""
        good: list[CanonicalRecord] = []
        good_keys: list[str] = []
        bad: list[BadRecord] = []
        for key, item in zip(groups or [""] * len(built), built, strict=True):
            if isinstance(item, BadRecord):
                bad.append(item)
            else:
                good.extend(item if isinstance(item, list) else [item])
                good_keys.append(key)
        counts = dict(self.run.counts)
        _count(counts, phase, good, bad)
        done = self.run.done + (len(groups) if phase != "loose" else 0)
        cursor = {"phase": phase, "after": last, "done": done}
        notices = _merge_notices(self.base_notices, describe_unknown(self.compiler))
        try:
            with for_environment(self.environment), transaction.atomic():
                received = self._receive(phase, good)
                for name in ("new", "updated", "unchanged", "stale"):
                    group = "orders" if phase == "orders" else "records"
                    key = f"{group}_{name}"
                    counts[key] = counts.get(key, 0) + getattr(received, name)
                if self.run.is_dry_run:
                    raise _RollBack
                self._quarantine(bad)
                if self.run.repairs_id:
                    self._clear(
                        [r for k in good_keys for r in (*groups[k], *self.children.get(k, []))]
                    )
                    self._clear_groups(phase, good_keys)
                self._write(counts=counts, done=done, cursor=cursor, notices=notices)
        except _RollBack:
            self.sources.clear()  # rolled back with the rest
            self._report(
                counts=counts,
                done=done,
                cursor=cursor,
                notices=notices,
                problems=(self.run.problems + self._list_problems(bad))[:MAX_LISTED_PROBLEMS],
            )

    def _receive(self, phase: str, records: Sequence[CanonicalRecord]) -> Received:
        total = Received()
        if not records:
            return total
        source = self._source(phase)
        shops = self._shops_of(records)
        # One key may bring several payments, so a batch of keys may be more than one of records.
        for start in range(0, len(records), MAX_BATCH):
            total += receive(
                records[start : start + MAX_BATCH],
                source=source,
                now=self.now,
                is_history=self.run.is_history,
                shops=shops,
            )
        return total

    def _shops_of(self, records: Sequence[CanonicalRecord]) -> dict[tuple[str, str], Shop]:
        known = self.shops
        for record in records:
            if isinstance(record, CanonicalOrder):
                key = (record.channel, record.shop)
                if key not in known:
                    shop = get_or_create_shop(*key)
                    if self.run.is_dry_run:  # it goes with the batch
                        known = {**known, key: shop}
                    else:
                        known[key] = shop
        return known

    def _connect(self, holds: str) -> None:
        """Say how far the source is complete; the first OMS or WMS gives open orders new nodes."""
        if self.run.repairs_id or self.run.complete_until is None:
            return
        with for_environment(self.environment):
            source = self._source(holds)
            is_new = (
                source.kind != SourceKind.CHANNEL
                and not Source.objects.filter(
                    kind=source.kind, complete_until__isnull=False
                ).exists()
            )
            record_freshness(source, complete_until=self.run.complete_until, now=self.now)
        after: int | None = 0 if is_new else None
        while after is not None:
            with for_environment(self.environment):
                after = rewalk_orders(now=self.now, after_id=after)
                self._write()

    # -- quarantine ------------------------------------------------------------------------------

    def _quarantine(self, bad: Sequence[BadRecord]) -> None:
        rows: dict[tuple[str, int], QuarantineRow] = {}
        replaced: list[StagedRow] = []
        for record in bad:
            # An order's row is named; the others wait with it, so the workbook can bring all back.
            for row in {r.id: r for r in record.rows}.values():
                fault = record.faults.get(row.id) or _companion(record, self.compiler)
                identity = (row.file_key, row.line)
                if identity in rows and rows[identity].is_culprit:
                    continue
                rows[identity] = self._quarantine_row(row, record.key, fault)
                replaced.append(row)
        if rows:
            QuarantineRow.objects.bulk_create(rows.values(), ignore_conflicts=True)
        if self.run.repairs_id:
            self._clear(replaced)

    def _quarantine_row(self, row: StagedRow, key: str, fault: Fault) -> QuarantineRow:
        file = self.compiler.files[row.file_key]
        spec = self.mapping["files"][row.file_key]
        is_lookup = spec["join"] is not None
        return QuarantineRow(
            run=self.run,
            file_key=row.file_key,
            file_label=(self.names.get(row.file_key) or spec["file"] or file.label)[:200],
            holds=file.holds,
            line=row.line,
            group="" if is_lookup else key[:64],
            column=fault.column[:200],
            code=fault.code,
            reason=fault.reason,
            remedy=fault.remedy,
            is_culprit=fault.code != "companion",
            cells_sealed=encrypt(
                json.dumps(_without_ours(file.name_cells(row.cells)), ensure_ascii=False),
                purpose=CELLS_PURPOSE,
            ),
        )

    def _clear(self, rows: Sequence[StagedRow]) -> None:
        """Mark the quarantined rows that these workbook rows mend, and lookups nobody waits for."""
        wanted = {
            self.origins[row.file_key, row.line]
            for row in rows
            if (row.file_key, row.line) in self.origins
        }
        if not wanted:
            return
        waiting = QuarantineRow.objects.filter(
            run_id=self.run.repairs_id,
            cleared_at=None,
            line__in={line for _, line in wanted},
        ).exclude(holds__in=LOOKUPS)  # a customer or product may have others waiting for it
        cleared = [r.pk for r in waiting if (r.file_label, r.line) in wanted]
        QuarantineRow.objects.filter(pk__in=cleared).update(
            cleared_at=self.now, cleared_by=self.run
        )

    def _clear_groups(self, phase: str, keys: Sequence[str]) -> None:
        """An order that is in leaves nothing waiting: its other rows were deleted on purpose."""
        holds = ["orders", "lines", "payments"] if phase == "orders" else [phase]
        QuarantineRow.objects.filter(
            run_id=self.run.repairs_id,
            cleared_at=None,
            holds__in=holds,
            group__in=[key[:64] for key in keys if key],
        ).update(cleared_at=self.now, cleared_by=self.run)

    def _list_problems(self, bad: Sequence[BadRecord]) -> list[dict[str, Any]]:
        return [
            {
                "file": self.compiler.files[row.file_key].label,
                "line": row.line,
                "column": fault.column,
                "code": fault.code,
                "reason": fault.reason,
                "remedy": fault.remedy,
            }
            for record in bad
            for row in record.rows
            if (fault := record.faults.get(row.id)) is not None
        ]

    def _finish(self) -> None:
        with for_environment(self.environment):
            if self.run.repairs_id:
                _clear_leftovers(self.run, self.now)
            self._write(
                state=ImportRun.State.DONE,
                phase="done",
                done=self.run.total,
                finished_at=timezone.now(),
            )
        log.info("import %s done: %s", self.run.public_id, self.run.counts)


def _flatten(groups: Mapping[str, Sequence[StagedRow]]) -> Iterator[StagedRow]:
    for rows in groups.values():
        yield from rows


def _loose_fault(compiler: Compiler, row: StagedRow) -> Fault:
    file = compiler.files[row.file_key]
    if row.fault is not None:
        return Fault(file.headers[file.key_index] if row.cells else "", *row.fault)
    error = BadCell(
        gettext_noop("订单「%(key)s」不在这组文件的订单里"),
        gettext_noop("把这个订单补进订单文件，或删去这一行"),
        code="orphan",
        key=row.key,
    )
    return Fault(file.headers[file.key_index], error.code, error.text, error.remedy)


def _companion(record: BadRecord, compiler: Compiler) -> Fault:
    """Why a good row waits: a bad one of the same order, named."""
    row = next(r for r in record.rows if r.id in record.faults)
    error = BadCell(
        gettext_noop("同一订单的「%(file)s」第 %(line)s 行有问题，整单暂不导入"),
        gettext_noop("改好那一行后一起重新导入，这一行不用改"),
        code="companion",
        file=compiler.files[row.file_key].label,
        line=row.line,
    )
    return Fault("", error.code, error.text, error.remedy)


def _count(
    counts: dict[str, int], phase: str, good: Sequence[CanonicalRecord], bad: Sequence[BadRecord]
) -> None:
    def add(name: str, number: int) -> None:
        counts[name] = counts.get(name, 0) + number

    if phase == "orders":
        orders = [r for r in good if isinstance(r, CanonicalOrder)]
        add("orders", len(orders))
        add("lines", sum(len(o.lines) for o in orders))
        add("payments", sum(len(o.payments) for o in orders))
        add("quarantined_orders", len(bad))
    elif phase != "loose":
        add(phase, len(good))
    add("bad_rows", len({rid for record in bad for rid in record.faults}))
    add("quarantined_rows", len({r.id for record in bad for r in record.rows}))


def _merge_notices(
    before: Sequence[dict[str, Any]], after: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    merged: dict[tuple[Any, ...], dict[str, Any]] = {}
    for notice in (*before, *after):
        identity = tuple(v for k, v in sorted(notice.items()) if k != "count")
        known = merged.setdefault(identity, {**notice, "count": 0})
        known["count"] += notice["count"]
    return list(merged.values())


def _origin_columns(headers: Sequence[str]) -> tuple[int, int] | None:
    """Where a quarantine workbook says which file and line a row came from."""
    try:
        return headers.index(FILE), headers.index(LINE)
    except ValueError:
        return None


def _without_ours(cells: Mapping[str, str]) -> dict[str, str]:
    return {header: cell for header, cell in cells.items() if header not in OUR_COLUMNS}


def _clear_leftovers(run: ImportRun, now: datetime) -> None:
    """Customers and products wait only as long as an order does."""
    waiting = QuarantineRow.objects.filter(run_id=run.repairs_id, cleared_at=None)
    if not waiting.exclude(holds__in=LOOKUPS).exists():
        waiting.update(cleared_at=now, cleared_by=run)


def _ensure_custom_field(column: Mapping[str, Any]) -> None:
    known = CustomField.objects.filter(level=column["level"])
    field = known.filter(key=column["custom"]).first()
    if field is None:
        if known.filter(label=column["label"]).exists():
            raise BadInput(
                gettext_noop("自定义字段的名称「%(label)s」已被另一个字段使用，请换一个名称"),
                code="custom_field_taken",
                label=column["label"],
            )
        CustomField.objects.create(
            level=column["level"],
            key=column["custom"],
            label=column["label"],
            type=column["type"],
        )
    elif field.type != column["type"]:
        raise BadInput(
            gettext_noop("自定义字段「%(label)s」已有类型 %(known)s，不能改成 %(type)s"),
            code="custom_field_type",
            label=field.label,
            known=field.type,
            type=column["type"],
        )
