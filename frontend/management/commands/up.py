"""`manage.py up`: the whole product on this machine, under one supervisor."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import IO, Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.translation import gettext as _

from config.errors import AppError
from config.wording import say_error
from frontend.demo.notifications import ROBOT_SECRET, ROBOT_TOKENS
from frontend.demo.places import PLACES
from frontend.supervisor import AlreadyRunning, DataFolder, Limits, Product, Supervisor
from frontend.supervisor.probes import is_port_free

TURN_SECONDS = 0.25
WEB_PATIENCE_SECONDS = 90
STOP_PATIENCE_SECONDS = 90


class Stopped(Exception):
    """Somebody pressed Ctrl-C or sent SIGTERM while we waited for something."""


class Command(BaseCommand):
    """Start everything, keep it alive, stop it cleanly."""

    help = "在本机启动河道：网页、任务进程、每分钟节拍和内嵌 Redis，由一个监护进程看管"
    requires_system_checks: list[str] = []  # `migrate` and the web check on their own

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--demo", action="store_true", help="装入演示数据并让订单持续到来")
        parser.add_argument("--port", type=int, default=settings.HEDAO_PORT, help="网页端口")
        parser.add_argument("--stop", action="store_true", help="停止正在运行的河道")
        parser.add_argument("--reset", action="store_true", help="停止并删除演示数据目录")

    def handle(self, *args: Any, **options: Any) -> None:
        self.folder = DataFolder(settings.DATA_DIR)
        try:
            if options["stop"] or options["reset"]:
                self._stop_running()
                if options["reset"]:
                    self._delete_demo()
                return
            self.folder.prepare(demo=options["demo"])
            with self.folder.locked(note=f"port={options['port']}"):
                self._run(port=options["port"], demo=options["demo"])
        except AppError as error:
            raise CommandError(say_error(error)) from error

    def _say(self, sentence: str) -> None:
        # A closed terminal must not end the watch.
        with suppress(OSError):
            self.stdout.write(f"{time.strftime('%H:%M:%S')}  {sentence}")
            self.stdout.flush()

    # --- stopping another one -----------------------------------------------------------------

    def _stop_running(self) -> None:
        """Stop a running supervisor, or end what a killed one left."""
        until = time.monotonic() + STOP_PATIENCE_SECONDS
        asked = False
        while True:
            try:
                with self.folder.locked():
                    ended = self._supervisor(0).end_leftovers()
                    self._say(_("已停止") if asked or ended else _("没有正在运行的河道"))
                    return
            except AlreadyRunning:
                holder = self.folder.holder()
                if holder is None or time.monotonic() > until:
                    raise
                if not asked:
                    self._say(_("正在停止（进程 %(pid)s）…") % {"pid": holder})
                    with suppress(ProcessLookupError):
                        os.kill(holder, signal.SIGTERM)
                    asked = True
                time.sleep(TURN_SECONDS)

    def _delete_demo(self) -> None:
        if not self.folder.delete_demo():
            self._say(_("没有演示数据"))
            return
        self._say(_("演示数据已删除：%(folder)s") % {"folder": self.folder.root})
        if settings.DATABASES["default"]["ENGINE"] != "django.db.backends.sqlite3":
            self._say(_("DATABASE_URL 指向的数据库没有改动"))

    # --- running ------------------------------------------------------------------------------

    def _supervisor(self, port: int) -> Supervisor:
        self.product = Product(self.folder, port)
        return Supervisor(
            self.folder,
            say=self._say,
            cwd=settings.BASE_DIR,
            is_redis_ready=self.product.is_redis_ready,
            limits=Limits(),
        )

    def _run(self, *, port: int, demo: bool) -> None:
        self.signals = 0
        self.supervisor = self._supervisor(port)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        begun = time.monotonic()
        try:
            self.supervisor.end_leftovers()
            # The demo's robot and platforms have the two ports after the web's.
            for wanted in range(port, port + 3 if demo else port + 1):
                if not is_port_free(wanted):
                    raise CommandError(
                        _("端口 %(port)s 已被占用，用 --port 换一个。") % {"port": wanted}
                    )
            self._start_everything(begun)
            if demo:
                self._seed_demo()
            self._say(_("按 Ctrl-C 停止"))
            self._wait_until(lambda: False)
        except Stopped:
            self._say(_("正在停止…（再按一次立即结束）"))
        finally:
            self.supervisor.stop_all()
        self._say(_("已停止"))

    def _on_signal(self, number: int, frame: Any) -> None:
        self.signals += 1
        if self.signals > 1:
            self.supervisor.kill_all()

    def _wait_until(self, done: Callable[[], bool], *, seconds: float = float("inf")) -> bool:
        """Watch the children until `done`; False when the time is up; raises Stopped."""
        until = time.monotonic() + seconds
        while not done():
            if self.signals:
                raise Stopped
            if time.monotonic() > until:
                return False
            self.supervisor.watch_once()
            time.sleep(TURN_SECONDS)
        return True

    def _start_everything(self, begun: float) -> None:
        redis = self.product.redis()
        if redis is not None:
            self.supervisor.start(redis)
        if not self._wait_until(self.product.is_redis_ready, seconds=60):
            raise CommandError(
                _("Redis 没有就绪，请看日志：%(log)s") % {"log": self.folder.log_path("redis")}
            )
        with self.folder.open_log("migrate") as log:
            code = self._run_job("migrate", "--no-input", stdout=log)
        if code:
            raise CommandError(
                _("数据库迁移失败，请看日志：%(log)s") % {"log": self.folder.log_path("migrate")}
            )
        self._say(_("数据库已就绪"))
        self.supervisor.start(self.product.web())
        for worker in self.product.workers():
            self.supervisor.start(worker)
        self.supervisor.start(self.product.beat())
        if self._wait_until(self.product.is_web_ready, seconds=WEB_PATIENCE_SECONDS):
            seconds = time.monotonic() - begun
            self._say(
                _("已就绪：%(address)s（用时 %(seconds).1f 秒）")
                % {"address": self.product.address, "seconds": seconds}
            )
        else:
            self._say(_("网页还没有应答，请看日志：%(log)s") % {"log": self.folder.log_path("web")})

    def _run_job(self, command: str, *arguments: str, stdout: IO[bytes]) -> int:
        job = self.supervisor.start_job(
            command,
            self.product.manage(command, *arguments),
            self.product.environment(),
            stdout=stdout,
        )
        self._wait_until(lambda: job.poll() is not None)
        return int(job.returncode)

    def _seed_demo(self) -> None:
        """Start the outside world, fill an empty installation from it, let orders arrive.

        A filled installation is left alone but for what a new port changes.
        """
        robots = [f"{token}:{ROBOT_SECRET}" for token in ROBOT_TOKENS.values()]
        self.supervisor.start(self.product.robot(robots))
        self.supervisor.start(self.product.simulators([str(place.spec) for place in PLACES]))
        self._say(_("正在准备演示数据，网页已经可以打开…"))
        code = self._run_job("demo", stdout=sys.stdout.buffer)
        if code:
            self._say(
                _("演示数据没有装好（代码 %(code)s），请看日志：%(log)s")
                % {"code": code, "log": self.folder.log_path("demo")}
            )
