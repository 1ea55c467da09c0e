"""The watch over the children: start, judge, restart, stop."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from django.utils.translation import gettext as _

from frontend.supervisor.children import ChildSpec
from frontend.supervisor.folder import ChildRecord, DataFolder
from frontend.supervisor.processes import (
    MARK,
    Identity,
    find_marked,
    identify,
    kill_group,
    send_signal,
    wait_gone,
)


@dataclass(frozen=True)
class Limits:
    """Times of the watch, in seconds (tests shorten them)."""

    probe_every: float = 5
    back_off_first: float = 1
    back_off_most: float = 60
    settled_after: float = 60  # a child that lived this long starts again without delay
    leftover_patience: float = 10


@dataclass
class _Running:
    """A started child. Times are of the monotonic clock."""

    process: subprocess.Popen[bytes]
    identity: Identity | None
    started_at: float
    seen_at: float  # last sign of life
    probed_at: float = 0


@dataclass
class _Child:
    spec: ChildSpec
    running: _Running | None = None
    failures: int = 0
    start_at: float = 0  # due time of the next start, while it does not run


class Supervisor:
    """Keeps the children of one data folder alive. Not thread-safe: one loop drives it."""

    def __init__(
        self,
        folder: DataFolder,
        *,
        say: Callable[[str], None],
        cwd: Path,
        is_redis_ready: Callable[[], bool] = lambda: True,
        limits: Limits | None = None,
    ) -> None:
        self.folder, self.say, self.cwd = folder, say, cwd
        self.is_redis_ready = is_redis_ready
        self.limits = limits or Limits()
        self._children: dict[str, _Child] = {}
        self._jobs: dict[str, subprocess.Popen[bytes]] = {}

    # --- starting ---------------------------------------------------------------------------

    def start(self, spec: ChildSpec) -> None:
        """Start a child and keep it running from now on."""
        child = self._children[spec.role] = _Child(spec)
        self._spawn(child)

    def start_job(
        self, role: str, command: tuple[str, ...], environment: dict[str, str], *, stdout: IO[bytes]
    ) -> subprocess.Popen[bytes]:
        """Start a process that is to end by itself; what it complains about goes to its log."""
        with self.folder.open_log(role) as log:
            job = self._popen(command, environment, stdout=stdout, stderr=log)
        self._jobs[role] = job
        return job

    def pid_of(self, role: str) -> int | None:
        """Process id of a running child."""
        child = self._children.get(role)
        return child.running.process.pid if child and child.running else None

    def _popen(
        self,
        command: tuple[str, ...],
        environment: dict[str, str],
        *,
        stdout: IO[bytes],
        stderr: IO[bytes] | int,
    ) -> subprocess.Popen[bytes]:
        return subprocess.Popen(  # noqa: S603 - commands are ours, never a user's
            command,
            cwd=self.cwd,
            env={**os.environ, **environment, MARK: str(self.folder.root)},
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,  # Ctrl-C reaches us alone, and a group can be ended whole
        )

    def _spawn(self, child: _Child) -> None:
        with self.folder.open_log(child.spec.role) as log:
            process = self._popen(
                child.spec.command, child.spec.environment, stdout=log, stderr=subprocess.STDOUT
            )
        now = time.monotonic()
        child.running = _Running(process, identify(process.pid), started_at=now, seen_at=now)
        self._record()
        self._say(child, _("%(label)s已启动（进程 %(pid)s）"), pid=process.pid)

    def _record(self) -> None:
        self.folder.record_children(
            [
                ChildRecord(c.spec.role, c.running.identity, c.spec.command)
                for c in self._children.values()
                if c.running is not None and c.running.identity is not None
            ]
        )

    def _say(self, child: _Child, sentence: str, **params: object) -> None:
        self.say(sentence % {"label": _(child.spec.label), **params})

    # --- watching ---------------------------------------------------------------------------

    def watch_once(self) -> None:
        """One turn: reap and restart the dead, probe the living, restart the hung."""
        redis_ready: bool | None = None  # asked at most once a turn
        for child in list(self._children.values()):
            now, running = time.monotonic(), child.running
            if running is None:
                if now >= child.start_at:
                    self._spawn(child)
                continue
            code = running.process.poll()
            if code is not None:
                self._fail(child, running, _("%(label)s退出了（代码 %(code)s）"), code=code)
            elif child.spec.sees_life and now - running.probed_at >= self.limits.probe_every:
                running.probed_at = now
                if child.spec.needs_redis and redis_ready is None:
                    redis_ready = self.is_redis_ready()
                if child.spec.needs_redis and not redis_ready:
                    running.seen_at = now  # its silence is not its own fault
                elif self._is_hung(child.spec, running, child.spec.sees_life):
                    kill_group(running.process.pid)
                    running.process.wait()
                    self._fail(child, running, _("%(label)s没有响应，已强制结束"))

    def _is_hung(self, spec: ChildSpec, running: _Running, sees_life: Callable[[], bool]) -> bool:
        if sees_life():
            running.seen_at = time.monotonic()
            return False
        silent_since = max(running.seen_at, running.started_at + spec.grace)
        if time.monotonic() - silent_since <= spec.stale_after:
            return False
        if spec.excuse is not None and spec.excuse():
            running.seen_at = time.monotonic()
            return False
        return True

    def _fail(self, child: _Child, running: _Running, sentence: str, **params: object) -> None:
        kill_group(running.process.pid)  # what it left in its group
        now = time.monotonic()
        if now - running.started_at >= self.limits.settled_after:
            child.failures = 0
        child.failures += 1
        delay = min(
            self.limits.back_off_most, self.limits.back_off_first * 2 ** (child.failures - 1)
        )
        child.running, child.start_at = None, now + delay
        self._record()
        self._say(child, sentence + _("，%(delay)g 秒后重启"), delay=delay, **params)
        if child.failures >= 3:
            self._say(
                child,
                _("%(label)s连续失败 %(times)s 次，请看日志：%(log)s"),
                times=child.failures,
                log=self.folder.log_path(child.spec.role),
            )

    # --- stopping ---------------------------------------------------------------------------

    def stop_all(self) -> None:
        """End jobs, then the children in reverse order of starting; Redis goes last."""
        for role, job in self._jobs.items():
            self._end(job, signal.SIGTERM, patience=5, role=role)
        self._jobs.clear()
        for group in self._stop_groups():
            self._stop_group(group)
        self._children.clear()
        self._record()

    def kill_all(self) -> None:
        """End everything at once: somebody does not want to wait."""
        for job in self._jobs.values():
            kill_group(job.pid)
        for child in self._children.values():
            if child.running is not None:
                kill_group(child.running.process.pid)

    def _stop_groups(self) -> list[list[_Child]]:
        """Children that may end at the same time, in order: those with one signal in a row."""
        groups: list[list[_Child]] = []
        for child in reversed(self._children.values()):
            if (
                groups
                and groups[-1][0].spec.stop_signal == child.spec.stop_signal
                and not (child.spec.stop or groups[-1][0].spec.stop)
            ):
                groups[-1].append(child)
            else:
                groups.append([child])
        return groups

    def _stop_group(self, group: list[_Child]) -> None:
        running = [(c.spec, c.running) for c in group if c.running is not None]
        for spec, run in running:
            if spec.stop is not None:
                spec.stop()
            elif run.process.poll() is None:
                run.process.send_signal(spec.stop_signal)
        for spec, run in running:
            number = signal.SIGTERM if spec.stop is not None else None
            self._end(run.process, number, patience=spec.stop_patience, role=spec.role)
        for child in group:
            child.running = None

    def _end(
        self,
        process: subprocess.Popen[bytes],
        number: signal.Signals | None,
        *,
        patience: float,
        role: str,
    ) -> None:
        if number is not None and process.poll() is None:
            process.send_signal(number)
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            self.say(
                _("%(role)s 在 %(seconds)g 秒内没有结束，强制结束")
                % {"role": role, "seconds": patience}
            )
        kill_group(process.pid)
        process.wait()

    def end_leftovers(self) -> int:
        """End what a killed supervisor left in this folder; returns how many processes.

        Only processes that are provably ours: the same number, start time, boot and executable
        as recorded, or our mark in their environment. Their work is safe to cut: tasks are
        acknowledged late and run twice without harm.
        """
        recorded = self.folder.list_children()
        ours = {r.identity for r in recorded if identify(r.identity.pid) == r.identity}
        everything = ours | set(find_marked(str(self.folder.root)))
        if not everything:
            return 0
        self.say(
            _("上次没有正常结束，正在结束遗留的 %(count)s 个进程") % {"count": len(everything)}
        )
        # Redis last, so that the workers can still hand their unfinished tasks back.
        by_role = {r.identity: r.role for r in recorded}
        brokers = {i for i in everything if by_role.get(i) == "redis"}
        for batch in (everything - brokers, brokers):
            leaders = batch & ours
            for identity in leaders:
                send_signal(identity, signal.SIGTERM)
            wait_gone(leaders, seconds=self.limits.leftover_patience)
            for identity in batch:
                send_signal(identity, signal.SIGKILL)
            wait_gone(batch, seconds=5)
        self.folder.record_children([])
        return len(everything)
