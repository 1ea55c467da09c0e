"""What goes wrong during a soaked day, by seed: every kind of fault, deaths, replays, tokens."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta

from connectors.simulators.faults import CALLBACK_KINDS, CLOCK_KINDS, KINDS
from tests.connectors.sync.outside import Outside

# Seconds for the kinds that have a length: hangs of the test host are short, clocks far off.
_SECONDS = {
    "timeout_before": 0.02,
    "timeout_after_accept": 0.02,
    "slow_drip": 0.05,
    "wrong_clock": -1200.0,
    "stale_detail": 240.0,
    "delay_callback": 1500.0,
    "duplicate_callback": 90.0,
}
_OUTAGE_SHARE, _EXPIRY_SHARE = 0.06, 0.03


class Weather:
    """Switches faults of a running day on and off; `told` counts them by kind."""

    def __init__(self, outside: Outside, seed: int, apps: Sequence[str]) -> None:
        self.outside, self.apps = outside, list(apps)
        self.rng = random.Random(f"weather:{seed}")  # noqa: S311 - bad luck, no secret
        self.told: Counter[str] = Counter()
        self._kinds: list[str] = []
        self._down: dict[str, datetime] = {}  # app -> until when it is away

    def turn(self, now: datetime) -> None:
        """One step of the day: what was an outage may end, something new may begin."""
        faults = self.outside.faults
        for app, until in list(self._down.items()):
            if until <= now:
                faults.clear(app)
                del self._down[app]
        for _ in range(self.rng.randint(0, 2)):
            self._stumble()
        if self.rng.random() < _OUTAGE_SHARE:
            app = self.rng.choice(self.apps)
            self._down[app] = now + timedelta(minutes=self.rng.randint(10, 45))
            faults.switch(app, "*", "http_503")
            self.told["outage"] += 1
        if self.rng.random() < _EXPIRY_SHARE:
            self._expire(now)

    def _stumble(self) -> None:
        """The next of all kinds, in an order of the seed, at some app."""
        if not self._kinds:
            self._kinds = sorted(KINDS)
            self.rng.shuffle(self._kinds)
        kind = self._kinds.pop()
        app = self.rng.choice(self.apps)
        most = 12 if kind in CALLBACK_KINDS else 2 if kind in CLOCK_KINDS else 4
        seconds = _SECONDS.get(kind, 0.0)
        if kind == "wrong_clock" and self.rng.random() < 0.5:
            seconds = -seconds
        self.outside.faults.switch(app, "*", kind, times=self.rng.randint(1, most), seconds=seconds)
        self.told[kind] += 1

    def _expire(self, now: datetime) -> None:
        """A shop's authorisation runs out before its time. A refresh itself is not disturbed: one
        whose answer is lost needs the merchant, by the platform's rules."""
        self.outside.faults.clear("tmall")
        self._down.pop("tmall", None)
        self.outside.apps["tmall"].expire(self.outside.shops["tmall"])  # type: ignore[attr-defined]
        self.told["token_expired"] += 1

    def clear(self) -> None:
        """The sun shines."""
        self.outside.faults.clear()
        self._down.clear()
