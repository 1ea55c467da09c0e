"""The data folder of one installation: lock, record of children, logs, signs of life."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from config.errors import AppError, gettext_noop
from frontend.supervisor.processes import Identity

LOG_LIMIT_BYTES = 5 * 1024 * 1024
LOGS_KEPT = 3


class AlreadyRunning(AppError):
    """Another supervisor holds the data folder."""

    code = "already_running"


class FolderNotOurs(AppError):
    """The folder does not carry the marker of a demo, so nobody may delete it."""

    code = "folder_not_ours"


@dataclass(frozen=True)
class ChildRecord:
    """One line of the record of children: enough to recognise the process after our death."""

    role: str
    identity: Identity
    command: tuple[str, ...]


class DataFolder:
    """Everything the supervisor keeps on disk, below one private folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.lock_file = root / "up.lock"
        self.children_file = root / "children.json"
        self.demo_marker = root / ".hedao-demo"
        self.logs = root / "logs"
        self.heartbeats = root / "heartbeats"

    def prepare(self, *, demo: bool) -> None:
        """Create the folder, private to its owner; mark it as a demo when it is one from birth."""
        for folder in (self.root, self.logs, self.heartbeats):
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o700)
        if demo and not self._holds_tables():
            self.demo_marker.write_text("Made by `make demo`; `make demo-reset` may delete it.\n")

    def _holds_tables(self) -> bool:
        """Whether somebody's work may be in the folder (an empty database file is nobody's)."""
        database = self.root / "hedao.sqlite3"
        if not database.exists():
            return False
        try:
            with closing(sqlite3.connect(database)) as connection:
                return connection.execute("SELECT 1 FROM sqlite_master").fetchone() is not None
        except sqlite3.DatabaseError:
            return True  # not a database of ours: leave it alone

    @contextmanager
    def locked(self, *, note: str = "") -> Iterator[None]:
        """Hold the folder; raises AlreadyRunning. A dead holder's lock is free by itself."""
        self.root.mkdir(parents=True, exist_ok=True)
        with self.lock_file.open("a+") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise AlreadyRunning(
                    gettext_noop(
                        "河道已经在运行（进程 %(pid)s，数据目录 %(folder)s）。先停止它，再启动。"
                    ),
                    pid=self.holder() or "?",
                    folder=str(self.root),
                ) from None
            handle.truncate(0)
            handle.write(f"{os.getpid()} {note}\n")
            handle.flush()
            yield

    def holder(self) -> int | None:
        """Process id written by the last holder of the lock."""
        try:
            return int(self.lock_file.read_text().split()[0])
        except (FileNotFoundError, IndexError, ValueError):
            return None

    def record_children(self, records: list[ChildRecord]) -> None:
        """Replace the record of children, atomically."""
        lines = [asdict(r) for r in records]
        candidate = self.children_file.with_suffix(".new")
        candidate.write_text(json.dumps(lines, indent=1))
        candidate.replace(self.children_file)

    def list_children(self) -> list[ChildRecord]:
        """The children the last supervisor recorded, dead or alive, in starting order."""
        try:
            lines = json.loads(self.children_file.read_text())
            return [
                ChildRecord(x["role"], Identity(**x["identity"]), tuple(x["command"]))
                for x in lines
            ]
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return []  # first start, or a record cut short: the environment mark still finds them

    def log_path(self, role: str) -> Path:
        return self.logs / f"{role}.log"

    def open_log(self, role: str) -> IO[bytes]:
        """Open a child's log for appending; a large one is put aside first, three are kept."""
        path = self.log_path(role)
        if path.exists() and path.stat().st_size > LOG_LIMIT_BYTES:
            for number in range(LOGS_KEPT - 1, 0, -1):
                older = path.with_suffix(f".log.{number}")
                if older.exists():
                    older.replace(path.with_suffix(f".log.{number + 1}"))
            path.replace(path.with_suffix(".log.1"))
        return path.open("ab")

    def delete_demo(self) -> bool:
        """Delete the whole folder; False when nothing was made yet, FolderNotOurs when not a demo's."""
        if not self.demo_marker.exists():
            if not self._holds_tables():
                return False
            raise FolderNotOurs(
                gettext_noop("%(folder)s 不是由 make demo 建立的，没有删除任何内容。"),
                folder=str(self.root),
            )
        shutil.rmtree(self.root)
        return True
