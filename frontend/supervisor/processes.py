"""Recognising, finding and ending processes (Linux: everything is read from /proc)."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
# Every child inherits this, so that its own children are found as well.
MARK = "HEDAO_SUPERVISED_IN"


@dataclass(frozen=True)
class Identity:
    """A process that cannot be mistaken for a later one with the same number.

    `started` is in clock ticks since boot. The executable stands in for the command line, which
    Redis overwrites with a title of its own.
    """

    pid: int
    started: int
    boot: str
    executable: str


def identify(pid: int) -> Identity | None:
    """Identity of a living process; None when it is gone, a zombie, or not ours to look at."""
    folder = PROC / str(pid)
    try:
        fields = (folder / "stat").read_bytes().rpartition(b")")[2].split()
        executable = os.readlink(folder / "exe").removesuffix(" (deleted)")
        boot = (PROC / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None
    if fields[0] in {b"Z", b"X"}:
        return None
    return Identity(pid=pid, started=int(fields[19]), boot=boot, executable=executable)


def is_alive(identity: Identity) -> bool:
    """Whether exactly this process still runs."""
    return identify(identity.pid) == identity


def find_marked(mark: str) -> list[Identity]:
    """Every other process whose environment carries our mark with this value."""
    wanted = f"{MARK}={mark}".encode()
    found = []
    for folder in PROC.glob("[0-9]*"):
        try:
            environment = (folder / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if wanted in environment and int(folder.name) not in {os.getpid(), os.getppid()}:
            identity = identify(int(folder.name))
            if identity is not None:
                found.append(identity)
    return found


def send_signal(identity: Identity, number: signal.Signals) -> None:
    """Signal a process if it is still the one we mean."""
    if is_alive(identity):
        try:
            os.kill(identity.pid, number)
        except ProcessLookupError:
            return  # it ended between the look and the signal


def kill_group(leader: int) -> None:
    """SIGKILL a process group that one of our children leads or led."""
    try:
        os.killpg(leader, signal.SIGKILL)
    except ProcessLookupError:
        return  # nobody is left in it


def wait_gone(
    identities: Iterable[Identity],
    *,
    seconds: float,
    sleep: Callable[[float], None] = time.sleep,
) -> list[Identity]:
    """Wait until the processes are gone; return those that are not."""
    until = time.monotonic() + seconds
    left = [i for i in identities if is_alive(i)]
    while left and time.monotonic() < until:
        sleep(0.1)
        left = [i for i in left if is_alive(i)]
    return left
