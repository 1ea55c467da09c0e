"""The supervisor with the real Redis, Celery workers, beat and web server."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from socket import create_server

import pytest
from celery.utils.nodenames import worker_direct

from config.celery import app
from frontend.supervisor import DataFolder
from frontend.supervisor.probes import node_name, redis_client
from frontend.supervisor.processes import find_marked, identify

pytestmark = [pytest.mark.journey, pytest.mark.slow]
ROOT = Path(__file__).resolve().parents[2]


def _heartbeat(river, role: str) -> int:
    path = river.product.folder.heartbeats / role
    return path.stat().st_mtime_ns if path.exists() else 0


def _wait_for_heartbeat(river, role: str) -> None:
    before = _heartbeat(river, role)
    river.wait_until(lambda: _heartbeat(river, role) != before)


@pytest.mark.parametrize("role", ["urgent", "bulk"])
def test_a_killed_worker_comes_back_and_consumes(river, role):
    river.restart(role)

    _wait_for_heartbeat(river, role)


def test_work_given_while_redis_was_dead_is_done_after_its_restart(river):
    app.send_task("patrol.heartbeat", queue=worker_direct(node_name("bulk")))
    river.restart("redis")
    river.wait_until(river.product.is_redis_ready)

    for role in ("urgent", "bulk"):
        _wait_for_heartbeat(river, role)


def test_a_hung_worker_is_restarted_by_its_missing_heartbeat(river):
    """SIGSTOP keeps the process and its sockets: only the round trip shows that it hangs."""
    _wait_for_heartbeat(river, "bulk")
    pid = river.supervisor.pid_of("bulk")
    os.killpg(pid, signal.SIGSTOP)

    river.wait_until(lambda: river.supervisor.pid_of("bulk") not in {None, pid}, seconds=120)

    assert identify(pid) is None
    _wait_for_heartbeat(river, "bulk")


def test_a_hung_redis_is_restarted_and_keeps_what_it_was_told(river):
    client = redis_client()
    client.set("kept", "yes")
    time.sleep(2)  # appendfsync everysec
    pid = river.supervisor.pid_of("redis")
    os.kill(pid, signal.SIGSTOP)

    river.wait_until(lambda: river.supervisor.pid_of("redis") not in {None, pid}, seconds=120)
    river.wait_until(river.product.is_redis_ready)

    assert redis_client().get("kept") == b"yes"


class Up:
    """`manage.py up` in a folder of its own, read line by line."""

    def __init__(self, data: Path, port: int) -> None:
        self.output = data.with_suffix(f".out{time.monotonic_ns()}")
        names = ("DATABASE_URL", "REDIS_URL", "TEST_DATABASE_URL", "DJANGO_SETTINGS_MODULE")
        environment = {k: v for k, v in os.environ.items() if k not in names}
        with self.output.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, str(ROOT / "manage.py"), "up", "--port", str(port)],
                env={**environment, "HEDAO_DATA": str(data), "PYTHONUNBUFFERED": "1"},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )

    def text(self) -> str:
        return self.output.read_text()

    def wait_for(self, sentence: str, *, seconds: float = 90) -> None:
        until = time.monotonic() + seconds
        while sentence not in self.text():
            assert time.monotonic() < until, self.text()
            assert self.process.poll() is None, self.text()
            time.sleep(0.1)


@pytest.fixture
def start(tmp_path):
    with create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    started: list[Up] = []

    def begin() -> Up:
        started.append(Up(tmp_path / "data", port))
        return started[-1]

    begin.port, begin.folder = port, DataFolder(tmp_path / "data")
    yield begin
    for up in started:
        if up.process.poll() is None:
            up.process.terminate()
            up.process.wait(60)


def _listening_addresses(pids: set[int]) -> set[str]:
    """Local addresses (as /proc writes them) on which these processes listen for TCP."""
    inodes = set()
    for pid in pids:
        for link in Path(f"/proc/{pid}/fd").iterdir():
            if found := re.fullmatch(r"socket:\[(\d+)\]", os.readlink(link)):
                inodes.add(found[1])
    rows = [
        line.split()
        for name in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]
    ]
    return {row[1] for row in rows if row[3] == "0A" and row[9] in inodes}


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=10) as answer:
            return answer.status == 200
    except urllib.error.HTTPError as error:
        return error.code == 503
    except OSError:
        return False


def test_up_starts_survives_and_stops(start):
    first = start()
    first.wait_for("已就绪：http://127.0.0.1:")
    assert _answers(start.port)
    children = {r.role: r.identity for r in start.folder.list_children()}
    assert list(children) == ["redis", "web", "urgent", "bulk", "beat"]
    processes = {i.pid for i in find_marked(str(start.folder.root))} | {children["redis"].pid}

    # Nothing listens beyond loopback, and Redis on no port at all.
    assert _listening_addresses(processes) == {f"0100007F:{start.port:04X}"}
    assert "requirepass" not in Path(f"/proc/{children['redis'].pid}/cmdline").read_text()

    # A second one is refused and harms nothing.
    second = start()
    assert second.process.wait(60) == 1
    assert f"河道已经在运行（进程 {first.process.pid}" in second.text()

    # A dead child comes back.
    os.kill(children["web"].pid, signal.SIGKILL)
    first.wait_for("网页服务退出了")
    _until(lambda: _answers(start.port))

    # Killed itself, the next start ends what is left and goes on.
    first.process.kill()
    first.process.wait()
    left = find_marked(str(start.folder.root))
    assert len(left) >= 5
    third = start()
    third.wait_for("已就绪：http://127.0.0.1:")
    assert "上次没有正常结束" in third.text()
    assert [i for i in left if identify(i.pid) == i] == []
    assert identify(children["redis"].pid) != children["redis"]

    # Ctrl-C: a clean end, nobody left.
    third.process.send_signal(signal.SIGINT)
    assert third.process.wait(90) == 0, third.text()
    assert third.text().rstrip().endswith("已停止")
    assert "强制结束" not in third.text()
    assert find_marked(str(start.folder.root)) == []
    assert start.folder.list_children() == []


def _until(is_done, *, seconds=60):
    until = time.monotonic() + seconds
    while not is_done():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.2)
