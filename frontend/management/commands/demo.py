"""`manage.py demo`: fill an empty installation with the demo and print its logins."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand
from django.utils import timezone

from frontend.demo.accounts import describe_accounts, read_password
from frontend.demo.services import seed


class Command(BaseCommand):
    """Seed once, print the table of logins every time."""

    help = "装入演示数据（只在空库时），并打印登录账号"

    def handle(self, *args: Any, **options: Any) -> None:
        seed(now=timezone.now(), say=self.stdout.write)
        self.stdout.write("\n" + describe_accounts(read_password()) + "\n")
        self.stdout.flush()
