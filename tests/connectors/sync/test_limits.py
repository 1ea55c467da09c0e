"""How often a vendor is called: one budget for all workers, and none lost when Redis is away."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from connectors.adapters import RateLimit
from connectors.sync import limits
from connectors.sync.limits import MAX_PAUSE, Limiter, name_budget
from frontend.supervisor.children import find_redis_server

SLOW = RateLimit(per_second=1.0, burst=5)
SCRIPT = """
import sys, redis
from connectors.adapters import RateLimit
from connectors.sync.limits import Limiter
limiter = Limiter(client=redis.Redis(unix_socket_path=sys.argv[1]), clock=lambda: 1000.0)
print(sum(limiter.take("k", RateLimit(per_second=1.0, burst=50)) == 0 for _ in range(40)))
"""


class Server:
    """A real Redis on a socket of its own."""

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "r.sock"
        self.process = subprocess.Popen(
            [
                find_redis_server(), "--port", "0", "--unixsocket", str(self.socket),
                "--save", "", "--appendonly", "no", "--dir", str(folder),
            ],
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        until = time.monotonic() + 20
        while True:
            try:
                self.client().ping()
                return
            except redis.RedisError:
                assert time.monotonic() < until, "Redis does not start"
                time.sleep(0.05)

    def client(self) -> redis.Redis:
        return redis.Redis(unix_socket_path=str(self.socket), socket_timeout=2)

    def stop(self) -> None:
        self.process.kill()
        self.process.wait(10)


@pytest.fixture
def server() -> Iterator[Server]:
    with tempfile.TemporaryDirectory(prefix="r") as folder:
        made = Server(Path(folder))
        yield made
        made.stop()


def test_a_burst_is_free_and_then_every_call_waits_its_turn() -> None:
    limiter = Limiter(clock=lambda: 1000.0)

    waits = [limiter.take("k", SLOW) for _ in range(8)]

    assert waits == [0, 0, 0, 0, 0, 1, 2, 3]


def test_redis_and_a_process_of_its_own_reckon_the_same(server: Server) -> None:
    for limit in (SLOW, RateLimit(per_second=50.0, burst=3), RateLimit(per_second=0.5, burst=1)):
        now = [1000.0]
        shared = Limiter(client=server.client(), clock=lambda now=now: now[0])
        alone = Limiter(clock=lambda now=now: now[0])
        for step in (0.0, 0.0, 0.0, 0.0, 0.3, 1.0, 0.0, 10.0, 0.0, -5.0, 0.0):
            now[0] += step
            key = f"k{limit.per_second}"
            assert shared.take(key, limit) == pytest.approx(alone.take(key, limit))


@pytest.mark.parametrize("is_shared", [True, False])
def test_who_is_turned_away_does_not_put_the_others_off(server: Server, is_shared: bool) -> None:
    now = [1000.0]
    client = server.client() if is_shared else None
    limiter = Limiter(client=client, clock=lambda: now[0], patience=2.0)

    waits = [limiter.take("k", SLOW) for _ in range(40)]
    now[0] += 1.0

    assert waits == [0] * 5 + [1, 2] + [3] * 33  # the calls of the last ones are not made
    assert limiter.take("k", SLOW) == 2


def test_the_limiter_of_a_process_turns_away_whom_no_worker_waits_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "_shared", None)

    assert limits.get_limiter().patience == MAX_PAUSE


def test_two_processes_share_one_budget(server: Server) -> None:
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(server.socket)], stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]

    free = [int(run.communicate(timeout=60)[0]) for run in runs]

    assert sum(free) == 50  # of eighty calls the burst, however they came
    assert all(number <= 40 for number in free)


def take_in_threads(limiters: list[Limiter]) -> list[float]:
    """Ten calls of each limiter in a thread of its own; all the waits."""
    waits: list[float] = []

    def take(limiter: Limiter) -> None:
        waits.extend(limiter.take("t", SLOW) for _ in range(10))

    threads = [threading.Thread(target=take, args=[limiter]) for limiter in limiters]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return sorted(waits)


def test_threads_share_one_budget_with_and_without_redis(server: Server) -> None:
    expected = pytest.approx([0.0] * 5 + [float(n) for n in range(1, 36)])
    shared = [Limiter(client=server.client(), clock=lambda: 1000.0) for _ in range(4)]

    assert take_in_threads(shared) == expected
    assert take_in_threads([Limiter(clock=lambda: 1000.0)] * 4) == expected


def test_budgets_of_two_applications_are_apart(server: Server) -> None:
    limiter = Limiter(client=server.client(), clock=lambda: 1000.0)
    for _ in range(5):
        limiter.take(name_budget("tmall", "1"), SLOW)

    assert limiter.take(name_budget("tmall", "1"), SLOW) > 0
    assert limiter.take(name_budget("tmall", "2"), SLOW) == 0
    assert limiter.take(name_budget("douyin", "1"), SLOW) == 0


def test_while_redis_is_away_each_process_keeps_its_own_budget_and_nothing_fails(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    limiter = Limiter(client=server.client(), clock=lambda: 1000.0)
    assert limiter.take("k", SLOW) == 0
    server.stop()

    waits = [limiter.take("k", SLOW) for _ in range(7)]

    assert waits == [0, 0, 0, 0, 0, 1, 2]
    # Asked once, then left alone for a while: no call pays for a Redis that is not there.
    assert caplog.text.count("rate limits are per process") == 1


def test_a_redis_that_is_back_is_asked_again(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    limiter = Limiter(client=server.client(), clock=lambda: 1000.0)
    monkeypatch.setattr(limiter, "_away_until", time.monotonic() + 60)
    limiter.take("k", SLOW)
    assert server.client().keys() == []

    monkeypatch.setattr(limiter, "_away_until", time.monotonic())
    limiter.take("k", SLOW)
    assert server.client().keys() == [b"hedao:limit:k"]


def test_a_bucket_goes_by_itself_and_names_no_application(server: Server) -> None:
    limiter = Limiter(client=server.client())
    limiter.take(name_budget("tmall", "12345678"), SLOW)

    [key] = server.client().keys()
    assert b"12345678" not in key
    assert 0 < server.client().pttl(key) <= 65_000
