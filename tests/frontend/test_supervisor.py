"""The supervisor with children that are tiny scripts: starting, judging, restarting, ending."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from contextlib import closing
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from config.celery import app
from frontend.supervisor import (
    AlreadyRunning,
    ChildSpec,
    DataFolder,
    FolderNotOurs,
    Limits,
    Product,
)
from frontend.supervisor import Supervisor as RealSupervisor
from frontend.supervisor.beat import WatchedScheduler
from frontend.supervisor.children import find_redis_server, write_redis_config
from frontend.supervisor.probes import FileProbe, is_port_free, is_web_answering
from frontend.supervisor.processes import find_marked, identify, is_alive
from workflows.patrol.tasks import heartbeat

ROOT = Path(__file__).resolve().parents[2]
SLEEPER = "import time; time.sleep(600)"
# A child with a child of its own; both write their numbers down.
PARENT = """
import os, pathlib, subprocess, sys, time
inner = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
pathlib.Path(sys.argv[1]).write_text(f"{os.getpid()} {inner.pid}")
time.sleep(600)
"""
STUBBORN = """
import pathlib, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
pathlib.Path(sys.argv[1]).touch()
time.sleep(600)
"""


def _script(source: str, *arguments: object) -> tuple[str, ...]:
    return (sys.executable, "-c", source, *map(str, arguments))


def _child(role: str, command: tuple[str, ...], **changes: object) -> ChildSpec:
    spec = ChildSpec(role=role, label=role, command=command, grace=0.2, stale_after=0.3)
    return replace(spec, **changes)


@pytest.fixture
def folder(tmp_path):
    made = DataFolder(tmp_path / "data")
    made.prepare(demo=False)
    return made


@pytest.fixture
def supervisor(folder):
    said: list[str] = []
    made = RealSupervisor(
        folder,
        say=said.append,
        cwd=ROOT,
        is_redis_ready=lambda: made.redis_ready,
        limits=Limits(probe_every=0.05, back_off_first=0.05, back_off_most=0.2),
    )
    made.said, made.redis_ready = said, True
    yield made
    made.stop_all()


def _until(is_done, *, turn=lambda: None, seconds=20):
    until = time.monotonic() + seconds
    while not (answer := is_done()):
        assert time.monotonic() < until, "it did not happen in time"
        turn()
        time.sleep(0.02)
    return answer


def _numbers(path: Path) -> list[int]:
    return [int(x) for x in path.read_text().split()] if path.exists() else []


def test_a_dead_child_is_restarted(supervisor):
    supervisor.start(_child("one", _script(SLEEPER)))
    first = supervisor.pid_of("one")

    os.kill(first, signal.SIGKILL)
    second = _until(
        lambda: supervisor.pid_of("one") not in {None, first} and supervisor.pid_of("one"),
        turn=supervisor.watch_once,
    )

    assert identify(first) is None
    assert identify(second) is not None
    assert "one退出了（代码 -9），0.05 秒后重启" in supervisor.said


def test_a_failing_child_backs_off_and_names_its_log(supervisor, folder):
    supervisor.start(_child("one", _script("import sys; sys.exit('no such thing')")))

    _until(lambda: "连续失败 3 次" in "".join(supervisor.said), turn=supervisor.watch_once)

    waits = [s.split("，")[1] for s in supervisor.said if "退出了" in s]
    assert waits == ["0.05 秒后重启", "0.1 秒后重启", "0.2 秒后重启"]
    assert str(folder.log_path("one")) in supervisor.said[-1]
    assert folder.log_path("one").read_text() == "no such thing\n" * 3


def test_a_child_that_settled_starts_again_without_delay(supervisor):
    supervisor.limits = replace(supervisor.limits, settled_after=0)
    supervisor.start(_child("one", _script("")))

    _until(
        lambda: len([s for s in supervisor.said if "退出了" in s]) == 3, turn=supervisor.watch_once
    )

    assert not [s for s in supervisor.said if "连续失败" in s]


def test_a_silent_child_is_ended_with_its_children_and_restarted(supervisor, tmp_path):
    numbers = tmp_path / "numbers"
    supervisor.start(_child("one", _script(PARENT, numbers), sees_life=lambda: False, grace=3))
    first = _until(lambda: _numbers(numbers), turn=supervisor.watch_once)

    _until(lambda: _numbers(numbers) not in (first, []), turn=supervisor.watch_once)

    assert [identify(pid) for pid in first] == [None, None]
    assert any("没有响应" in s for s in supervisor.said)


def test_a_stopped_child_is_seen_by_its_heartbeat_file(supervisor, tmp_path):
    beat = tmp_path / "beat"
    source = (
        "import pathlib, sys, time\nwhile True: pathlib.Path(sys.argv[1]).touch(); time.sleep(.05)"
    )
    supervisor.start(_child("one", _script(source, beat), sees_life=FileProbe(beat), grace=3))
    first = supervisor.pid_of("one")
    _until(beat.exists)

    until = time.monotonic() + 1
    while time.monotonic() < until:
        supervisor.watch_once()
        time.sleep(0.02)
    assert supervisor.pid_of("one") == first
    os.kill(first, signal.SIGSTOP)

    _until(lambda: supervisor.pid_of("one") not in {None, first}, turn=supervisor.watch_once)


def test_a_silent_child_at_work_is_left_alone(supervisor):
    asked: list[int] = []
    supervisor.start(
        _child(
            "one",
            _script(SLEEPER),
            sees_life=lambda: False,
            excuse=lambda: asked.append(1) or True,
        )
    )
    first = supervisor.pid_of("one")

    _until(lambda: len(asked) == 2, turn=supervisor.watch_once)

    assert supervisor.pid_of("one") == first


def test_workers_are_not_judged_while_redis_is_away(supervisor):
    supervisor.redis_ready = False
    supervisor.start(_child("one", _script(SLEEPER), sees_life=lambda: False, needs_redis=True))
    first = supervisor.pid_of("one")

    until = time.monotonic() + 1
    while time.monotonic() < until:
        supervisor.watch_once()
        time.sleep(0.02)
    assert supervisor.pid_of("one") == first

    supervisor.redis_ready = True
    _until(lambda: supervisor.pid_of("one") not in {None, first}, turn=supervisor.watch_once)


def test_stopping_goes_backwards_and_leaves_nothing(supervisor, folder, tmp_path):
    journal = tmp_path / "journal"
    source = (
        "import signal, sys, time, pathlib\n"
        "def end(*_):\n"
        "    open(sys.argv[1], 'a').write(sys.argv[2] + ' ')\n"
        "    sys.exit()\n"
        "signal.signal(signal.SIGTERM, end); signal.signal(signal.SIGQUIT, end)\n"
        "pathlib.Path(sys.argv[1] + sys.argv[2]).touch()\n"
        "time.sleep(600)"
    )
    roles = {"redis": signal.SIGTERM, "worker": signal.SIGQUIT, "beat": signal.SIGTERM}
    for role, number in roles.items():
        supervisor.start(_child(role, _script(source, journal, role), stop_signal=number))
    _until(lambda: all(Path(f"{journal}{role}").exists() for role in roles))
    pids = [supervisor.pid_of(role) for role in roles]

    supervisor.stop_all()

    assert journal.read_text().split() == ["beat", "worker", "redis"]
    assert [identify(pid) for pid in pids] == [None, None, None]
    assert folder.list_children() == []
    assert find_marked(str(folder.root)) == []


def test_a_child_that_will_not_end_is_killed_after_its_patience(supervisor, tmp_path):
    ready = tmp_path / "ready"
    supervisor.start(_child("one", _script(STUBBORN, ready), stop_patience=0.3))
    _until(ready.exists)
    pid = supervisor.pid_of("one")

    supervisor.stop_all()

    assert identify(pid) is None
    assert "one 在 0.3 秒内没有结束，强制结束" in supervisor.said


def test_the_next_start_ends_what_a_killed_supervisor_left(supervisor, folder, tmp_path):
    numbers = tmp_path / "numbers"
    predecessor = textwrap.dedent(
        f"""
        import sys, time, pathlib
        sys.path.insert(0, {str(ROOT)!r})
        import os; os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings_test"
        import django; django.setup()
        from frontend.supervisor import *
        made = Supervisor(DataFolder(pathlib.Path({str(folder.root)!r})), say=lambda s: None,
                          cwd=pathlib.Path("/"))
        with made.folder.locked():
            made.start(ChildSpec("one", "one", {_script(PARENT, numbers)!r}))
            time.sleep(600)
        """
    )
    with subprocess.Popen([sys.executable, "-c", predecessor]) as killed:
        left = _until(lambda: len(_numbers(numbers)) == 2 and _numbers(numbers), seconds=30)
        with pytest.raises(AlreadyRunning, match=str(killed.pid)), folder.locked():
            pytest.fail("two supervisors hold one folder")
        killed.kill()
    assert [r.role for r in folder.list_children()] == ["one"]
    assert all(identify(pid) for pid in left)

    with folder.locked():
        ended = supervisor.end_leftovers()

    assert ended == 2
    assert [identify(pid) for pid in left] == [None, None]
    assert supervisor.end_leftovers() == 0


def test_a_stranger_with_a_recorded_number_is_spared(supervisor, folder):
    with subprocess.Popen(_script(SLEEPER)) as stranger:
        supervisor.start(_child("one", _script(SLEEPER)))
        record = folder.list_children()[0]
        earlier = replace(identify(stranger.pid), started=1)
        folder.record_children([replace(record, identity=earlier)])
        ours = record.identity

        assert supervisor.end_leftovers() == 1  # ours, found by its mark

        assert not is_alive(ours)
        assert stranger.poll() is None
        stranger.kill()


def test_the_data_folder_is_private_and_marked_as_demo_only_at_birth(tmp_path):
    demo, real, odd = (DataFolder(tmp_path / name) for name in ("demo", "real", "odd"))
    for made, statement in ((demo, "PRAGMA user_version = 1"), (real, "CREATE TABLE orders (id)")):
        made.prepare(demo=False)
        with closing(sqlite3.connect(made.root / "hedao.sqlite3")) as connection:
            connection.execute(statement)
        made.prepare(demo=True)
    odd.prepare(demo=False)
    (odd.root / "hedao.sqlite3").write_text("something that is no database")
    odd.prepare(demo=True)

    assert demo.root.stat().st_mode & 0o777 == 0o700
    for folder in (real, odd):
        with pytest.raises(FolderNotOurs):
            folder.delete_demo()
        assert (folder.root / "hedao.sqlite3").exists()
    assert demo.delete_demo() is True
    assert not demo.root.exists()
    assert demo.delete_demo() is False


def test_a_cut_record_of_children_counts_as_empty(folder):
    folder.children_file.write_text('[{"role": "redis", "iden')

    assert folder.list_children() == []


def test_large_logs_are_put_aside_and_three_are_kept(folder, monkeypatch):
    monkeypatch.setattr("frontend.supervisor.folder.LOG_LIMIT_BYTES", 3)
    for text in ("first", "second", "third", "fourth", "fifth"):
        with folder.open_log("one") as log:
            log.write(text.encode())

    kept = {p.name: p.read_text() for p in folder.logs.iterdir()}
    assert kept == {
        "one.log": "fifth",
        "one.log.1": "fourth",
        "one.log.2": "third",
        "one.log.3": "second",
    }


def test_redis_listens_on_a_private_socket_only(folder, tmp_path, settings):
    path = write_redis_config(folder, tmp_path / "s" / "redis.sock")

    lines = path.read_text().splitlines()
    assert path.stat().st_mode & 0o777 == 0o600
    assert "port 0" in lines
    assert "unixsocketperm 700" in lines
    assert "appendonly yes" in lines
    assert f'requirepass "{settings.EMBEDDED_REDIS_PASSWORD}"' in lines
    assert len(settings.EMBEDDED_REDIS_PASSWORD) >= 40
    assert (tmp_path / "s").stat().st_mode & 0o777 == 0o700
    assert os.access(find_redis_server(), os.X_OK)


def test_the_children_serve_every_queue_on_loopback_and_show_no_secret(folder, settings):
    product = Product(folder, port=8600)
    children = [
        *product.workers(),
        product.beat(),
        product.web(),
        product.robot([]),
        product.simulators([]),
    ]
    queues = [c.command[c.command.index("-Q") + 1] for c in product.workers()]
    arguments = [a for c in [product.redis(), *children] for a in c.command]

    assert sorted(",".join(queues).split(",")) == sorted(q.name for q in app.conf.task_queues)
    assert "127.0.0.1:8600" in product.web().command
    assert not [a for a in arguments if settings.EMBEDDED_REDIS_PASSWORD in a]
    assert not [a for a in arguments if "0.0.0.0" in a]  # noqa: S104 - looked for, not bound


def test_a_given_redis_is_not_started_again(folder, settings):
    settings.EMBEDDED_REDIS_SOCKET = None

    assert Product(folder, port=8600).redis() is None


class _Unwell(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_error(503)

    def log_message(self, *_):
        """Keep the test's output clean."""


def test_any_http_answer_is_a_sign_of_life():
    server = HTTPServer(("127.0.0.1", 0), _Unwell)
    port = server.server_address[1]
    Thread(target=server.serve_forever, daemon=True).start()

    assert is_web_answering(f"http://127.0.0.1:{port}/healthz")
    assert not is_port_free(port)
    server.shutdown()
    server.server_close()

    assert not is_web_answering(f"http://127.0.0.1:{port}/healthz")
    assert is_port_free(port)


def test_a_server_that_accepts_and_says_nothing_is_not_alive():
    from socket import create_server

    with create_server(("127.0.0.1", 0)) as mute:
        port = mute.getsockname()[1]
        assert not is_web_answering(f"http://127.0.0.1:{port}/", seconds=0.2)
        assert not is_port_free(port)


def test_the_heartbeat_task_touches_the_file_of_its_worker(settings, tmp_path):
    settings.DATA_DIR = tmp_path

    heartbeat.push_request(hostname="bulk@somewhere-0123abcd")
    heartbeat.run()
    heartbeat.pop_request()

    assert [p.name for p in (tmp_path / "heartbeats").iterdir()] == ["bulk"]


def test_beat_touches_its_file_at_every_turn(settings, tmp_path):
    settings.DATA_DIR = tmp_path
    scheduler = WatchedScheduler(app, schedule_filename=str(tmp_path / "schedule"), lazy=True)
    scheduler._heap, scheduler._store = [], {"entries": {}}
    scheduler.old_schedulers = {}

    assert scheduler.tick() == 5  # seconds until the next turn, at most
    assert (tmp_path / "heartbeats" / "beat").exists()
