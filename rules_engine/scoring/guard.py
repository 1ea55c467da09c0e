"""Time and memory for evaluating a chunk of orders, so that even a bug of ours costs one chunk.

The language is bounded when a formula is saved and counts its steps while it runs; this is the
fence behind both. It works where scoring runs: in the main thread of a worker process. Elsewhere
(a thread of the web server, a system without these calls) it lets the work through.
"""

from __future__ import annotations

import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Final

try:
    import resource
except ImportError:  # not a Unix system
    resource = None  # type: ignore[assignment] # looked at before every use

CHUNK_SECONDS: Final = 20.0  # a chunk of 500 orders takes well under one
CHUNK_BYTES: Final = 512 << 20  # beyond what the process has when the chunk begins
_STATUS: Final = Path("/proc/self/status")


class OutOfTime(Exception):
    """The work took longer than it may."""


@contextmanager
def limits(seconds: float, memory: int | None = None) -> Iterator[None]:
    """Do the work inside within `seconds` of wall time and `memory` more bytes.

    Raises OutOfTime, and MemoryError as Python does; both leave the process as it was.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    with _time(seconds), _memory(memory):
        yield


@contextmanager
def _time(seconds: float) -> Iterator[None]:
    def ring(number: int, frame: FrameType | None) -> None:
        raise OutOfTime

    before = signal.signal(signal.SIGALRM, ring)
    left, _ = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, left)  # somebody else's alarm goes on
        signal.signal(signal.SIGALRM, before)


@contextmanager
def _memory(more: int | None) -> Iterator[None]:
    used = _used_bytes()
    if more is None or used is None or resource is None:
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = used + more
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY:
        wanted = min(wanted, soft)
    resource.setrlimit(resource.RLIMIT_DATA, (wanted, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _used_bytes() -> int | None:
    """The private memory of this process as RLIMIT_DATA counts it; None where nobody says."""
    try:
        found = re.search(r"VmData:\s+(\d+) kB", _STATUS.read_text())
    except OSError:
        return None
    return int(found[1]) * 1024 if found else None
