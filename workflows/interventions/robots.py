"""Setting up chat robots: judged before they are stored, sealed once they are."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from config.audit.services import record
from config.errors import BadInput, gettext_noop
from config.tenancy.models import User
from connectors.http import check_target
from connectors.shops.addresses import list_allowed_addresses
from workflows.interventions.models import Delivery, Robot, Topic

CHOICES = (
    "takes_yellow",
    "takes_orange",
    "takes_red",
    "takes_technical",
    "may_at_all",
    "is_active",
)


def check_robot(*, name: str, webhook: str) -> None:
    """Refuse an unusable robot before anything is stored: AddressRefused or BadInput."""
    if not 1 <= len(name.strip()) <= 60:
        raise BadInput(gettext_noop("请填写群名称（1–60 个字）"), code="bad_name")
    check_target(webhook, allowed=list_allowed_addresses())


def create_robot(
    *,
    name: str,
    webhook: str,
    secret: str,
    actor: User | None,
    now: datetime,
    keyword: str = "",
    **choices: bool,
) -> Robot:
    """Store a robot; address and secret are sealed and never shown again."""
    name, webhook = name.strip(), webhook.strip()
    check_robot(name=name, webhook=webhook)
    robot = Robot(name=name, keyword=keyword.strip(), **_checked(choices))
    robot.seal(webhook=webhook, secret=secret.strip())
    try:
        with transaction.atomic():
            Robot.objects.bulk_create([robot])
    except IntegrityError as error:
        raise BadInput(
            gettext_noop("这个 Webhook 已登记过：一个机器人只能登记一次，否则会超出每分钟限额"),
            code="robot_known",
        ) from error
    record(action="robot.create", subject=robot.name, actor=actor, now=now, details=choices)
    return robot


def save_robot(robot: Robot, *, actor: User | None, now: datetime, **choices: bool) -> Robot:
    """Change what a robot takes, whether it may call everybody, or switch it off."""
    with transaction.atomic():
        row: Robot = Robot.objects.select_for_update(of=("self",), no_key=True).get(pk=robot.pk)
        for key, value in _checked(choices).items():
            setattr(row, key, value)
        row.save()
        record(action="robot.change", subject=row.name, actor=actor, now=now, details=choices)
    return row


def _checked(choices: dict[str, Any]) -> dict[str, bool]:
    if unknown := set(choices) - set(CHOICES):
        raise TypeError(f"unknown choices of a robot: {sorted(unknown)}")
    return {key: bool(value) for key, value in choices.items()}


def send_test(robot: Robot, *, actor: User, now: datetime) -> Delivery:
    """Decide to send a test message; it goes out with the next delivery run."""
    delivery: Delivery = Delivery.objects.create(
        robot=robot,
        topic=Topic.YELLOW,
        title=_("测试消息"),
        text=_("### 测试消息\n\n这是河道发出的测试，收到即表示机器人已接通。无需处理"),
        created_at=now,
        not_before=now,
    )
    record(action="robot.test", subject=robot.name, actor=actor, now=now)
    return delivery
