"""What was asked of a place's platforms and changed an order there: a restart does it again.

The orders themselves come from their seed. What a caller did to them since does not: a delivery
order the warehouse took in, a hold, a memo, a payment that was found. Each such deed is a line,
written when it was done, with the moment it was done at.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, Protocol, runtime_checkable

FILE = "deeds.jsonl"
Told = Callable[[str, Mapping[str, Any], datetime], None]


def tell_nobody(what: str, content: Mapping[str, Any], at: datetime) -> None:
    """The ear of an app whose deeds nobody keeps."""


@runtime_checkable
class Doer(Protocol):
    """An app that tells its deeds, and can do them again without being asked over the wire."""

    on_done: Told

    def redo(self, what: str, content: Mapping[str, Any], at: datetime) -> None:
        """Do at `at` what was done then; what no longer fits the orders there is passed over."""
        ...


@dataclass(frozen=True)
class Deed:
    """One thing that was done."""

    app: str
    what: str
    at: datetime
    content: Mapping[str, Any]


class Journal:
    """One place's file of deeds, only ever appended to. Thread-safe."""

    def __init__(self, folder: Path) -> None:
        self.path, self._lock = folder / FILE, threading.Lock()

    def write(self, app: str, what: str, content: Mapping[str, Any], at: datetime) -> None:
        """Add a deed."""
        deed = {"app": app, "what": what, "at": at.isoformat(), "content": content}
        with self._lock:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with self.path.open("a+b") as file:
                if file.tell() and not _ends_a_line(file):
                    file.write(b"\n")  # half a line of a process that was killed ends here
                file.write(json.dumps(deed, ensure_ascii=False).encode() + b"\n")

    def read(self) -> Iterator[Deed]:
        """Every deed, oldest first; what was cut off while it was written was never answered."""
        if not self.path.exists():
            return
        for line in self.path.read_bytes().splitlines():
            try:
                kept = json.loads(line)
            except ValueError:
                continue
            moment = datetime.fromisoformat(kept["at"])
            yield Deed(kept["app"], kept["what"], moment, kept["content"])


def _ends_a_line(file: BinaryIO) -> bool:
    file.seek(-1, 2)
    return file.read(1) == b"\n"
