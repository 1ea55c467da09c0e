"""How often we may call a vendor: one budget per application, shared by all workers through Redis.

A token bucket in Redis; while Redis is away each process keeps a bucket of its own, so that a lost
Redis slows nobody down and floods nobody.
"""

from __future__ import annotations

import hashlib
import logging
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import redis
from django.conf import settings

from connectors.adapters import RateLimit

log = logging.getLogger(__name__)

_PREFIX = "hedao:limit:"
_FOREVER = 1e9  # seconds
_AWAY_SECONDS = 5.0  # how long a Redis that did not answer is left alone
MAX_PAUSE = 30.0  # seconds; a longer wait belongs to the schedule, not to a worker
# KEYS[1] bucket; ARGV: rate per second, burst, now, patience. Returns the seconds to wait as text.
_TAKE = """
local tokens, at = unpack(redis.call('HMGET', KEYS[1], 'tokens', 'at'))
local rate, burst, now = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
tokens, at = tonumber(tokens) or burst, tonumber(at) or now
tokens = math.min(burst, tokens + math.max(0, now - at) * rate) - 1
local wait = math.max(0, -tokens / rate)
if wait > tonumber(ARGV[4]) then tokens = tokens + 1 end
redis.call('HSET', KEYS[1], 'tokens', tostring(tokens), 'at', tostring(math.max(at, now)))
redis.call('PEXPIRE', KEYS[1], math.ceil(burst / rate * 1000) + 60000)
return tostring(wait)
"""


@dataclass
class _Bucket:
    tokens: float
    at: float


@dataclass
class Limiter:
    """Says how long to wait before the next call; the caller waits. Safe between threads.

    A wait longer than `patience` seconds takes nothing: that call is not made, and who tries again
    and again would put everybody else off for good.
    """

    client: redis.Redis | None = None
    clock: Callable[[], float] = time.time
    patience: float = math.inf
    _buckets: dict[str, _Bucket] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _away_until: float = 0.0

    def take(self, key: str, limit: RateLimit) -> float:
        """Take one call from the budget of `key`; the seconds to wait before making it."""
        now = self.clock()
        if self.client is not None and time.monotonic() >= self._away_until:
            try:
                told = self.client.eval(_TAKE, 1, _PREFIX + key, limit.per_second, limit.burst, now,
                                        min(self.patience, _FOREVER))  # fmt: skip
                return float(told)
            except redis.RedisError as error:
                log.warning("rate limits are per process: %s", type(error).__name__)
                self._away_until = time.monotonic() + _AWAY_SECONDS
        return self._take_here(key, limit, now)

    def _take_here(self, key: str, limit: RateLimit, now: float) -> float:
        with self._lock:
            bucket = self._buckets.setdefault(key, _Bucket(float(limit.burst), now))
            gained = max(0.0, now - bucket.at) * limit.per_second
            bucket.tokens = min(float(limit.burst), bucket.tokens + gained) - 1
            bucket.at = max(bucket.at, now)
            wait = max(0.0, -bucket.tokens / limit.per_second)
            if wait > self.patience:
                bucket.tokens += 1
            return wait


_shared: Limiter | None = None


def get_limiter() -> Limiter:
    """The limiter of this process, on the Redis of the installation."""
    global _shared
    if _shared is None:
        client = redis.from_url(settings.REDIS_URL, socket_timeout=2, socket_connect_timeout=1)
        _shared = Limiter(client=client, patience=MAX_PAUSE)
    return _shared


def name_budget(vendor: str, application: str) -> str:
    """The key of an application's budget: shops of one application share it; no secret inside."""
    return f"{vendor}:{hashlib.sha256(application.encode()).hexdigest()[:16]}"
