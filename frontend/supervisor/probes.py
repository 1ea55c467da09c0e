"""Signs of life. A probe is called every few seconds and says whether it saw one since last time.

A process id says little: a worker that lost its broker may live on and consume nothing (Celery
after a Redis restart), a stopped process keeps its sockets open. So each child is judged by an
answer: the web by a request, Redis by PING, a worker by a task through its own queue, beat by its
loop.
"""

from __future__ import annotations

import platform
import time
import urllib.error
import urllib.request
from hashlib import sha256
from pathlib import Path

import redis
from celery import Celery
from celery.utils.nodenames import worker_direct
from django.conf import settings
from kombu.exceptions import OperationalError

# A worker takes its heartbeat between two tasks; one at work may be silent for the hard limit.
HEARTBEAT_EVERY_SECONDS = 20
HEARTBEAT_TASK = "patrol.heartbeat"
# kombu wraps most, not all, of what its Redis client raises.
BROKER_ERRORS = (OperationalError, redis.RedisError, OSError)


def is_web_answering(url: str, *, seconds: float = 5) -> bool:
    """Whether any HTTP answer comes: a 503 of /healthz is an answer of a living server."""
    try:
        with urllib.request.urlopen(url, timeout=seconds):  # noqa: S310 - our own loopback address
            return True
    except urllib.error.HTTPError as error:
        error.close()
        return True
    except OSError:
        return False


def is_port_free(port: int) -> bool:
    """Whether nothing at all listens on the loopback port."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=2):
            return False
    except urllib.error.URLError as error:
        return isinstance(error.reason, ConnectionRefusedError)
    except OSError:
        return False  # it accepted the connection and then said nothing sensible


def redis_client(*, seconds: float = 3) -> redis.Redis:
    """A client of the broker that gives up soon."""
    return redis.Redis.from_url(
        settings.REDIS_URL, socket_timeout=seconds, socket_connect_timeout=seconds
    )


def is_redis_answering() -> bool:
    """Whether the broker answers PING; one that still loads its file is alive but not ready."""
    client = redis_client()
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False
    finally:
        client.close()


def is_redis_alive() -> bool:
    """As is_redis_answering, but loading counts as life (a restart would only begin again)."""
    client = redis_client()
    try:
        return bool(client.ping())
    except redis.BusyLoadingError:
        return True
    except redis.RedisError:
        return False
    finally:
        client.close()


def node_name(role: str) -> str:
    """Celery's name of our worker: unique when several data folders share one broker."""
    folder = sha256(str(settings.DATA_DIR).encode()).hexdigest()[:8]
    return f"{role}@{platform.node()}-{folder}"


class FileProbe:
    """Sees life when the file's time of change moved."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen = self._changed_at()

    def _changed_at(self) -> int:
        try:
            return self.path.stat().st_mtime_ns
        except FileNotFoundError:
            return 0

    def __call__(self) -> bool:
        before, self._seen = self._seen, self._changed_at()
        return self._seen != before


class WorkerProbe(FileProbe):
    """Sends a tiny task to the worker's own queue and looks for the file that the task touches."""

    def __init__(self, app: Celery, role: str, path: Path, *, every: float) -> None:
        super().__init__(path)
        self.app, self.role, self.every = app, role, every
        self._sent_at = float("-inf")

    def __call__(self) -> bool:
        now = time.monotonic()
        if now - self._sent_at >= self.every:
            self._sent_at = now
            self._send()
        return super().__call__()

    def _send(self) -> None:
        try:
            self.app.send_task(
                HEARTBEAT_TASK,
                queue=worker_direct(node_name(self.role)),
                expires=60,
                retry_policy={"max_retries": 1, "interval_start": 0},
            )
        except BROKER_ERRORS:
            return  # no broker: the worker is not judged then, the broker's own probe is

    def is_at_work(self) -> bool:
        """Whether the worker answers and every process of it is inside a task within its limit."""
        node = node_name(self.role)
        try:
            # A connection of its own: pooled ones may have died with the last Redis.
            with self.app.connection_for_write() as connection:
                inspect = self.app.control.inspect([node], timeout=3, connection=connection)
                active = (inspect.active() or {}).get(node, [])
                stats = (inspect.stats() or {}).get(node, {})
        except BROKER_ERRORS:
            return False
        oldest_allowed = time.time() - settings.CELERY_TASK_TIME_LIMIT - 60
        at_work = [t for t in active if (t.get("time_start") or 0) > oldest_allowed]
        return len(at_work) >= stats.get("pool", {}).get("max-concurrency", 1)
