"""`manage.py demo`: fill an empty installation with the demo and print its logins."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from config.errors import AppError
from config.wording import say_error
from frontend.demo.accounts import describe_accounts, read_password
from frontend.demo.services import seed


class Command(BaseCommand):
    """Seed once, print the table of logins every time."""

    help = "装入演示数据（只在空库时），并打印登录账号"

    def _say(self, sentence: str) -> None:
        self.stdout.write(sentence)
        self.stdout.flush()

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            seed(now=timezone.now(), say=self._say)
        except AppError as error:
            raise CommandError(say_error(error)) from error
        self.stdout.write("\n" + describe_accounts(read_password()) + "\n")
        self.stdout.flush()
