"""One soak from beginning to end: the day, the recovery, the causes, the stand-still, the oracle."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.db import connection

from config.tenancy.models import Environment
from connectors.simulators.faults import KINDS
from tests.connectors.sync.outside import VENDORS
from tests.soak.day import DAY, RECOVERY, STEP, open_day
from tests.soak.oracle import judge, judge_causes
from tests.soak.report import make_report

# Every way in which something can come to us: a day that did without one has proved nothing.
WAYS = (
    "pushes taken in",
    "messages fetched",
    *(f"lists read: {app}" for app in ("tmall", "douyin", "mall", "oms")),
    *(f"messages worked off: {app}" for app in VENDORS if app != "oms"),
    *(f"systems asked: {app}" for app in ("alipay", "wechat_pay", "qimen")),
)
# Long enough for every question to systems to be asked once more, and every list to be read.
STILL = timedelta(hours=5)


def _say_nothing(text: str) -> None:
    pass


def soak(
    environment: Environment,
    *,
    orders: int,
    seed: int,
    step: timedelta = STEP,
    say: Callable[[str], None] = _say_nothing,
) -> dict[str, Any]:
    """Run one day of an empty environment; returns its report. Call it outside any scope."""
    with open_day(environment, orders=orders, seed=seed, step=step) as day:
        for hour in range(int(DAY / timedelta(hours=1))):
            day.run(timedelta(hours=1))
            say(f"hour {hour + 1} of 24")
        day.weather.clear()
        day.run(RECOVERY, is_stormy=False)
        day.patrol()
        causes = judge_causes(day.outside, day.lives)
        say("recovered; the orders stand still now")
        day.freeze()
        day.run(STILL, is_stormy=False)
        judged = judge(day.outside, day.lives)
        expected = {
            *WAYS,
            *KINDS,
            "outage",
            "token_expired",
            "replayed letters",
            "workers that died",
        }
        happened = {*day.spent, *day.weather.told, *day.told}
        judged.open_ends.extend(f"never happened: {one}" for one in sorted(expected - happened))
        return make_report(day, judged, causes, database=connection.vendor)
