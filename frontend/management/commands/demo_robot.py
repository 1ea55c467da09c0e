"""`manage.py demo_robot`: the robot simulator with the demo's groups."""

from __future__ import annotations

from typing import Any

from frontend.demo.notifications import ROBOT_SECRET, ROBOT_TOKENS
from frontend.management.commands.robot_simulator import Command as RobotSimulator


class Command(RobotSimulator):
    """Serve one signed robot per environment of the demo."""

    help = "运行演示用的钉钉机器人模拟器（每个环境一个群，验签）"

    def handle(self, *args: Any, **options: Any) -> None:
        options["robot"] = [f"{token}:{ROBOT_SECRET}" for token in ROBOT_TOKENS.values()]
        super().handle(*args, **options)
