"""Uploaded files: stored under names of ours, looked through once, and given a first mapping."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from django.conf import settings

from config.errors import BadInput, gettext_noop
from config.secrets import encrypt
from config.tenancy.models import Environment, User
from config.tenancy.scope import for_environment
from connectors.tabular.building import Compiler
from connectors.tabular.fields import LOOKUPS
from connectors.tabular.mapping import (
    check_mapping,
    guess_holds,
    guess_mapping,
    guess_words,
    list_word_columns,
)
from connectors.tabular.models import (
    PROFILE_PURPOSE,
    FileSet,
    ImportRun,
    SavedMapping,
    StoredFile,
)
from connectors.tabular.readers import BadRow, list_sheets, open_table
from connectors.tabular.services import TakenOver, create_run, run_import
from connectors.tabular.words import ANY_CHANNEL
from connectors.tabular.workbook import FILE, LINE, workbook_mapping

MAX_FILES = 20
MAX_BYTES = 500 << 20
SAMPLES = 200
MAX_WORDS = 120  # different cells a column of status words may have
MAX_WORD_LENGTH = 60


class Upload(Protocol):
    """What a web framework hands over for one file."""

    name: str | None
    size: int | None

    def chunks(self) -> Iterable[bytes]:
        """The content, piece by piece."""


def file_folder(environment: Environment) -> Path:
    """Where an environment's uploads lie; made on first use, for the owner only."""
    folder = Path(settings.MEDIA_ROOT) / environment.public_id
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def stored_path(environment: Environment, stored: StoredFile) -> Path:
    """The file on disk. The stored name is ours, so it cannot lead anywhere else."""
    return file_folder(environment) / stored.path


def store_files(
    environment: Environment, uploads: Sequence[Upload], *, user: User | None, now: datetime
) -> FileSet:
    """Keep uploads, look through each one, and start a mapping for them; in the scope in force.

    Raises BadInput naming the first file that cannot be read; then nothing is kept.
    """
    if not uploads:
        raise BadInput(gettext_noop("请选择要上传的文件"), code="no_files")
    if len(uploads) > MAX_FILES:
        raise BadInput(
            gettext_noop("一次最多上传 %(limit)s 个文件，请分几次上传"),
            code="too_many_files",
            limit=MAX_FILES,
        )
    kept: list[Path] = []
    try:
        described = []
        for upload in uploads:
            path, digest, size = _keep(environment, upload)
            kept.append(path)
            name = display_name(upload.name)
            described.append((name, path, digest, size, look_through(path, name=name)))
        file_set = FileSet.objects.create(name="", created_at=now, created_by=user)
        stored = [
            StoredFile(
                file_set=file_set,
                key=f"f{number}",
                name=name,
                path=path.name,
                size=size,
                sha256=digest,
                profile_sealed=encrypt(
                    json.dumps(profile, ensure_ascii=False), purpose=PROFILE_PURPOSE
                ),
            )
            for number, (name, path, digest, size, profile) in enumerate(described, 1)
        ]
        StoredFile.objects.bulk_create(stored)
        file_set.mapping = start_mapping(stored)
        file_set.name = file_set.mapping["name"]
        file_set.save()
    except BaseException:
        for path in kept:
            path.unlink(missing_ok=True)
        raise
    return file_set


def display_name(name: str | None) -> str:
    """A person's file name made safe to show: last part, printable, not too long."""
    last = (name or "").replace("\\", "/").rsplit("/", 1)[-1]
    clean = "".join(c for c in last if c.isprintable()).strip()
    return clean[-120:] or "upload"


def _keep(environment: Environment, upload: Upload) -> tuple[Path, str, int]:
    path = file_folder(environment) / secrets.token_hex(16)
    digest, size = hashlib.sha256(), 0
    path.touch(mode=0o600)
    try:
        with path.open("wb") as target:
            for chunk in upload.chunks():
                size += len(chunk)
                if size > MAX_BYTES:
                    raise BadInput(
                        gettext_noop("文件「%(file)s」超过 %(limit)s MB。请压缩成 .gz 或分成几个"),
                        code="too_large",
                        file=display_name(upload.name),
                        limit=MAX_BYTES >> 20,
                    )
                digest.update(chunk)
                target.write(chunk)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return path, digest.hexdigest(), size


def look_through(path: Path, *, name: str) -> dict[str, Any]:
    """Read a file once: headers, the first rows, and the words of columns that hold few.

    Raises BadInput for a file that cannot be read to its end.
    """
    with open_table(path, name=name) as table:
        samples: list[tuple[str, ...]] = []
        words: list[Counter[str] | None] = [Counter() for _ in table.headers]
        rows = bad = 0
        for row in table.rows:
            if isinstance(row, BadRow):
                bad += 1
                continue
            rows += 1
            if len(samples) < SAMPLES:
                samples.append(row.cells)
            for index, counter in enumerate(words):
                if counter is None:
                    continue
                cell = row.cells[index].strip()
                counter[cell] += 1
                if len(counter) > MAX_WORDS or len(cell) > MAX_WORD_LENGTH:
                    words[index] = None
        return {
            "headers": list(table.headers),
            "form": table.form,
            "encoding": table.encoding,
            "delimiter": table.delimiter,
            "rows": rows,
            "bad_rows": bad,
            "samples": samples,
            "words": {
                header: counter.most_common()
                for header, counter in zip(table.headers, words, strict=True)
                if counter
            },
        }


# -- the first mapping -----------------------------------------------------------------------------


def start_mapping(stored: Sequence[StoredFile]) -> dict[str, Any]:
    """The mapping to start from: a saved one that fits all files, else guesses."""
    profiles = {file.key: file.profile for file in stored}
    saved = _find_saved(stored, profiles)
    if saved is not None:
        return saved
    mapping: dict[str, Any] = {
        "name": _stem(stored[0].name),
        "time_zone": "",
        "money_unit": "yuan",
        "date_styles": ["ymd"],
        "nothing": [],
        "stage_from": "words",
        "files": {},
        "words": {},
    }
    for file in stored:
        headers = profiles[file.key]["headers"]
        mapping["files"][file.key] = guess_file(
            file, profiles[file.key], guess_holds(file.name, headers)
        )
    guess_joins(mapping, profiles)
    fill_words(mapping, profiles)
    return mapping


def guess_file(file: StoredFile, profile: Mapping[str, Any], holds: str) -> dict[str, Any]:
    """A file's part of a mapping, guessed from its headers and first rows."""
    return {
        "label": file.name[:100],
        "file": file.name,
        "holds": holds,
        "sheet": "",
        "columns": guess_mapping(profile["headers"], profile["samples"], holds=holds),
        "constants": {},
        "join": {"column": "", "matches": ""} if holds in LOOKUPS else None,
        "money_unit": "yuan",
    }


def guess_joins(mapping: dict[str, Any], profiles: Mapping[str, Mapping[str, Any]]) -> None:
    """Customers and products: the first column that the file they complete has, too."""
    for key, spec in mapping["files"].items():
        if spec["holds"] not in LOOKUPS or (spec.get("join") or {}).get("column"):
            continue
        targets = [
            header
            for other, s in mapping["files"].items()
            if s["holds"] == LOOKUPS[spec["holds"]]
            for header in profiles[other]["headers"]
        ]
        shared = next((h for h in profiles[key]["headers"] if h in targets), "")
        spec["join"] = {"column": shared, "matches": shared}


def fill_words(mapping: dict[str, Any], profiles: Mapping[str, Mapping[str, Any]]) -> None:
    """Add what known words mean for every word column; words decided already are kept."""
    for key, spec in mapping["files"].items():
        for column, table in list_word_columns(spec):
            seen = [word for word, _ in profiles[key]["words"].get(column, []) if word]
            known = mapping["words"].setdefault(table, {})
            if table == "stage":
                known = known.setdefault(ANY_CHANNEL, {})
            for word, value in guess_words(table, seen).items():
                known.setdefault(word, value)


def _stem(name: str) -> str:
    stem = name
    for suffix in (".gz", ".csv", ".txt", ".xlsx", ".tsv"):
        stem = stem.removesuffix(suffix)
    return stem[:60] or gettext_noop("文件")


def _find_saved(
    stored: Sequence[StoredFile], profiles: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any] | None:
    for saved in SavedMapping.objects.order_by("-changed_at")[:50]:
        fitted = fit_mapping(saved.content, stored, profiles)
        if fitted is not None:
            return fitted
    return None


def fit_mapping(
    content: Mapping[str, Any],
    stored: Sequence[StoredFile],
    profiles: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any] | None:
    """A saved mapping on these files, when every one of its files finds its columns, else None."""
    left = {file.key: file for file in stored}
    files: dict[str, Any] = {}
    for spec in content["files"].values():
        wanted = {c["column"] for c in spec["columns"]}
        if spec["join"]:
            wanted.add(spec["join"]["column"])
        fitting = [k for k in left if wanted <= set(profiles[k]["headers"])]
        # The nearest name first, so that OMS and WMS files with equal headers keep their places.
        fitting.sort(key=lambda k: (left[k].name != spec["file"], left[k].key))
        if not fitting or (
            len(fitting) > 1
            and left[fitting[0]].name != spec["file"]
            and guess_holds(left[fitting[0]].name, ()) != spec["holds"]
        ):
            fitting = [k for k in fitting if guess_holds(left[k].name, ()) == spec["holds"]]
            if not fitting:
                return None
        file = left.pop(fitting[0])
        files[file.key] = {**spec, "file": file.name, "label": file.name[:100], "sheet": ""}
    if left:
        return None
    mapping = {**content, "files": dict(sorted(files.items()))}
    fill_words(mapping, profiles)
    return mapping


# -- runs ------------------------------------------------------------------------------------------


def save_mapping(mapping: Mapping[str, Any], *, user: User | None, now: datetime) -> SavedMapping:
    """Keep a checked mapping under the name of its source, for the next upload."""
    clean = check_mapping(mapping)
    saved, _ = SavedMapping.objects.get_or_create(
        name=clean["name"], defaults={"content": clean, "changed_at": now, "changed_by": user}
    )
    saved.content, saved.changed_at, saved.changed_by = clean, now, user
    saved.save()
    return saved


def start_run(
    environment: Environment,
    file_set: FileSet,
    *,
    complete_until: datetime | None,
    user: User | None,
    now: datetime,
    is_dry_run: bool,
    is_history: bool = False,
) -> ImportRun:
    """A queued run of a file set with its mapping as it is now; raises BadInput when that is not
    complete. An import keeps the mapping for the next time."""
    clean = check_mapping(file_set.mapping)
    if not is_dry_run:
        save_mapping(clean, user=user, now=now)
    return create_run(
        environment,
        mapping=clean,
        complete_until=complete_until,
        now=now,
        is_history=is_history,
        is_dry_run=is_dry_run,
        file_set=file_set,
        created_by=user,
    )


def start_repair(
    environment: Environment, run: ImportRun, upload: Upload, *, user: User | None, now: datetime
) -> ImportRun:
    """A queued run that imports the mended quarantine workbook of an earlier run."""
    path, digest, size = _keep(environment, upload)
    name = display_name(upload.name)
    try:
        sheets = list_sheets(path, name=name)
        mapping = workbook_mapping(run.mapping, sheets)
        if not mapping["files"]:
            raise BadInput(
                gettext_noop(
                    "「%(file)s」不是这次导入的隔离工作簿。请上传从本页下载、改好后的那一份"
                ),
                code="not_the_workbook",
                file=name,
            )
        compiler = Compiler(check_mapping(mapping), environment.zone)
        for key, spec in mapping["files"].items():
            with open_table(path, name=name, sheet=spec["sheet"]) as table:
                compiler.compile_file(key, table.headers, name=name)
                if FILE not in table.headers or LINE not in table.headers:
                    raise BadInput(
                        gettext_noop(
                            "工作簿「%(file)s」里少了「%(first)s」或「%(second)s」列，"
                            "无法认出改的是哪一行。请保留下载时的各列"
                        ),
                        code="no_origin",
                        file=name,
                        first=FILE,
                        second=LINE,
                    )
        file_set = FileSet.objects.create(
            name=name[:100], mapping=mapping, created_at=now, created_by=user
        )
        StoredFile.objects.bulk_create(
            StoredFile(
                file_set=file_set, key=key, name=name, path=path.name, size=size, sha256=digest
            )
            for key in mapping["files"]
        )
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return create_run(
        environment,
        mapping=mapping,
        complete_until=run.complete_until,
        now=now,
        is_history=run.is_history,
        file_set=file_set,
        repairs=run,
        created_by=user,
    )


def list_paths(
    environment: Environment, file_set: FileSet
) -> tuple[dict[str, Path], dict[str, str]]:
    """Paths and display names of a set's files, by key."""
    stored = list(file_set.files.all())
    return (
        {file.key: stored_path(environment, file) for file in stored},
        {file.key: file.name for file in stored},
    )


def work_off(
    environment: Environment, run_id: int, *, now: datetime, budget: timedelta
) -> ImportRun | None:
    """Do, or go on with, a queued run of uploaded files; None when there is nothing to do.

    A run that needs longer than `budget` comes back queued. What is wrong with the files stands on
    the run and is not raised: it is the person's to read, not the worker's to fail with.
    """
    with for_environment(environment, write=False):
        run = ImportRun.objects.select_related("file_set").filter(pk=run_id).first()
        if run is None or run.file_set is None or run.is_over:
            return None
        paths, names = list_paths(environment, run.file_set)
    try:
        return run_import(
            environment,
            mapping=run.mapping,
            files=paths,
            names=names,
            complete_until=run.complete_until,
            now=now,
            import_run=run,
            budget=budget,
        )
    except (BadInput, TakenOver):
        return None
