"""`manage.py simulators`: every simulated platform and system of the demo, in one process."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.translation import gettext as _

from connectors.simulators.outside import Outside, PlaceSpec


class Command(BaseCommand):
    """Serve on loopback until stopped. Keys, state and truth are kept in the folder."""

    help = "在本机运行各平台、支付、WMS、OMS 的模拟器：真实协议、可切换故障、账本里有真相"
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--port", type=int, required=True, help="监听端口（仅本机）")
        parser.add_argument("--folder", type=Path, required=True, help="密钥、状态和真相的文件夹")
        parser.add_argument(
            "--place",
            action="append",
            required=True,
            metavar="KEY:SEED:SCALE:RATE",
            help="一个环境看到的外部世界：地址里的名字、种子、规模、每分钟新订单；可重复",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            places = [PlaceSpec.parse(text) for text in options["place"]]
        except ValueError as error:
            raise CommandError(
                _("--place 的写法是 KEY:SEED:SCALE:RATE（%(error)s）") % {"error": error}
            ) from error
        try:
            outside = Outside(options["folder"], places)
            address = outside.host.start(options["port"])
        except (OSError, ValueError) as error:
            raise CommandError(_("模拟器没有启动：%(error)s") % {"error": error}) from error
        stopped = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_args: stopped.set())
        self.stdout.write(_("各平台模拟器在 %(address)s/_control/") % {"address": address})
        self.stdout.flush()
        stopped.wait()
        outside.host.stop()
        self.stdout.write(_("已停止"))
