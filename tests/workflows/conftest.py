"""A river whose scores a test sets: an order's paid yuan are its score."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import close_old_connections, connection

from config.tenancy.models import Environment
from connectors.orders.models import Order
from connectors.shops.addresses import approve_address, request_address
from connectors.simulators.robot import Robot as SimulatedRobot
from connectors.simulators.robot import RobotServer
from rules_engine.rules.services import forget_compiled, install_rule_set
from rules_engine.scoring.models import Score
from tests.factories import (
    NOW,
    World,
    for_environment,
    make_order,
    make_sources,
    make_world,
)
from workflows.interventions.models import Alert, Delivery, Hold, Robot
from workflows.interventions.services import create_robot, deliver_due
from workflows.patrol.services import patrol_environment

SECRET = "SECriver"

# 实付 N 元 = N 分；备注「乙」封顶 49，另一个原因。
RULES: dict[str, Any] = {
    "name": "试验",
    "lines": {"yellow": 70, "orange": 60, "red": 50},
    "dimensions": [
        {
            "key": "amount",
            "name": "金额",
            "kind": "points",
            "points": 90,
            "formula": "实付金额 - 10",
            "cap": None,
            "when_insufficient": "no_points",
            "when_late": "no_deduction",
            "when_not_applicable": "full",
            "reason": "实付 {实付金额}",
            "cause": "甲原因",
        },
        {
            "key": "remark",
            "name": "备注",
            "kind": "judgement",
            "points": 10,
            "formula": '如果(备注="乙", 不通过, 通过)',
            "cap": 49,
            "when_insufficient": "no_points",
            "when_late": "no_deduction",
            "when_not_applicable": "full",
            "reason": "备注写着乙",
            "cause": "乙原因",
        },
    ],
}


class FakeClock:
    """Seconds that pass only when a test lets them."""

    def __init__(self, start: datetime = NOW) -> None:
        self.now = start

    def __call__(self) -> datetime:
        return self.now

    def timestamp(self) -> float:
        return self.now.timestamp()

    def pass_by(self, seconds: float) -> datetime:
        self.now += timedelta(seconds=seconds)
        return self.now


class Stream:
    """One environment with rules, sources, people and (when asked for) a robot."""

    def __init__(self, world: World, clock: FakeClock) -> None:
        self.world, self.clock = world, clock
        self.environment: Environment = world.production
        with for_environment(self.environment):
            install_rule_set(RULES, origin="test", now=NOW)
            make_sources(clock.now)
        self.server: RobotServer | None = None
        self.robot: Robot | None = None

    def put(self, score: float, *, order_no: str = "", **changes: Any) -> Order:
        """Receive an order (again) whose score will be this."""
        if order_no:
            changes["order_no"] = order_no
        fen = round(score * 100)
        with for_environment(self.environment):
            return make_order(NOW, paid_fen=fen, payable_fen=fen, **changes)

    def patrol(self, *, seconds: float = 60) -> Any:
        """Let a minute pass and patrol."""
        self.clock.pass_by(seconds)
        return patrol_environment(self.environment, now=self.clock.now, clock=self.clock)

    def deliver(self, *, seconds: float = 0) -> int:
        self.clock.pass_by(seconds)
        return deliver_due(self.environment, clock=self.clock)

    def connect_robot(self, server: RobotServer, **choices: bool) -> Robot:
        people = self.world.users
        choices = choices or {"takes_red": True, "takes_orange": True, "takes_yellow": True}
        with for_environment(self.environment):
            entry = request_address(
                host="127.0.0.1",
                port=server.port,
                purpose="模拟器",
                actor=people["tech_support"],
                now=NOW,
            )
            approve_address(entry, actor=people["reviewer"], now=NOW)
            self.robot = create_robot(
                name="干预群",
                webhook=server.webhook("river"),
                secret=SECRET,
                actor=people["tech_support"],
                now=NOW,
                **choices,
            )
        self.server = server
        return self.robot

    # -- looking ---------------------------------------------------------------------------------

    def rows(self, model: Any, **conditions: Any) -> list[Any]:
        with for_environment(self.environment, write=False):
            return list(model.objects.filter(**conditions).order_by("pk"))

    def alert(self, order: Order) -> Alert | None:
        found = self.rows(Alert, order=order, closed_at=None)
        return found[0] if found else None

    def held(self, order: Order) -> bool:
        return bool(self.rows(Hold, order=order, released_at=None))

    def score(self, order: Order) -> Score:
        return self.rows(Score, order=order)[0]

    def robot_deliveries(self, **conditions: Any) -> list[Delivery]:
        return self.rows(Delivery, robot__isnull=False, **conditions)


def side_by_side(*jobs: Callable[[], Any]) -> list[Any]:
    """Run jobs in threads with connections of their own; returns results or errors in order."""
    results: list[Any] = [None] * len(jobs)
    gate = threading.Barrier(len(jobs))

    def run(number: int, job: Callable[[], Any]) -> None:
        gate.wait(timeout=10)
        try:
            results[number] = job()
        except Exception as error:  # noqa: BLE001 - the test looks at it
            results[number] = error
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(n, job)) for n, job in enumerate(jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    close_old_connections()
    return results


@pytest.fixture
def world(db: None) -> World:
    return make_world()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def stream(world: World, clock: FakeClock) -> Stream:
    return Stream(world, clock)


@pytest.fixture
def group(clock: FakeClock, tmp_path: Path) -> Iterator[RobotServer]:
    """A chat group with one robot, on the test's clock."""
    server = RobotServer(
        {"river": SimulatedRobot(secret=SECRET)},
        ledger=tmp_path / "ledger.jsonl",
        clock=clock.timestamp,
        silence_seconds=0.4,
    )
    with server.running():
        yield server


@pytest.fixture(autouse=True)
def _forget_compiled_rules() -> None:
    """Keys start again with every test's database, so a version's id says nothing here."""
    forget_compiled()
