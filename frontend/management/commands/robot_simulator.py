"""`manage.py robot_simulator`: a local DingTalk group robot for the demo and for trying things out."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.translation import gettext as _

from connectors.simulators.robot import Robot, RobotServer


class Command(BaseCommand):
    """Serve robots on loopback until stopped; every request goes into the ledger."""

    help = "在本机运行钉钉群机器人模拟器：校验签名与频率，逐条记账"
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--port", type=int, required=True, help="监听端口（仅本机）")
        parser.add_argument("--ledger", type=Path, help="账本文件（JSON 行）")
        parser.add_argument(
            "--robot",
            action="append",
            default=[],
            metavar="TOKEN[:SECRET[:KEYWORD]]",
            help="一个机器人；可重复。缺省为不加签的 demo",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        robots = {}
        for given in options["robot"] or ["demo"]:
            token, secret, keyword = [*given.split(":", 2), "", ""][:3]
            if not token:
                raise CommandError(_("--robot 的写法是 TOKEN[:SECRET[:KEYWORD]]"))
            robots[token] = Robot(secret=secret, keyword=keyword)
        if options["ledger"] is not None:
            options["ledger"].parent.mkdir(parents=True, exist_ok=True)
        try:
            server = RobotServer(robots, ledger=options["ledger"], port=options["port"])
        except OSError as error:
            raise CommandError(
                _("端口 %(port)s 已被占用，请换一个") % {"port": options["port"]}
            ) from error

        def stop(*_args: Any) -> None:
            raise KeyboardInterrupt

        signal.signal(signal.SIGTERM, stop)
        self.stdout.write(_("机器人模拟器在 127.0.0.1:%(port)s") % {"port": server.port})
        self.stdout.flush()
        try:
            server.serve()
        except KeyboardInterrupt:
            self.stdout.write(_("已停止"))
