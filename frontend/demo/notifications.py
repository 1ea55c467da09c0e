"""The demo's notifications: a simulated group robot per environment, and who is on duty."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings

from config.tenancy.models import Environment, User
from config.tenancy.scope import for_environment
from connectors.shops.addresses import approve_address, list_allowed_addresses, request_address
from workflows.interventions.models import OnCall, Robot
from workflows.interventions.services import create_robot, save_contact, save_robot

# The simulator checks the signature with this; it guards nothing outside the demo.
ROBOT_SECRET = "SECdemo-robot"  # noqa: S105 - the simulator's, public on purpose
ROBOT_TOKENS = {
    ("女装", "production"): "women",
    ("童装", "production"): "kids",
    ("女装", "staging"): "women-staging",
    ("童装", "staging"): "kids-staging",
}
SHIFT = timedelta(days=30)


def robot_port() -> int:
    """The port of the demo's robot: the one after the web's."""
    return settings.HEDAO_PORT + 1


def install_notifications(
    environment: Environment, *, division: str, people: dict[str, User], now: datetime
) -> None:
    """Allow the simulator's address (asked by one, allowed by another), add robot and shift.

    `people` maps roles to users of the division. Safe to run twice, also after the port changed.
    """
    token = ROBOT_TOKENS[division, environment.kind]
    webhook = f"http://127.0.0.1:{robot_port()}/robot/send?access_token={token}"
    with for_environment(environment):
        if ("127.0.0.1", robot_port()) not in list_allowed_addresses():
            entry = request_address(
                host="127.0.0.1",
                port=robot_port(),
                purpose="演示用的本机钉钉机器人模拟器",
                actor=people["asks"],
                now=now,
            )
            approve_address(entry, actor=people["allows"], now=now)
        name = f"{division}履约应急群（演示 {robot_port()}）"
        if not Robot.objects.filter(name=name).exists():
            for stale in Robot.objects.filter(is_active=True):
                save_robot(stale, actor=None, now=now, is_active=False)
            create_robot(
                name=name,
                webhook=webhook,
                secret=ROBOT_SECRET,
                actor=None,
                now=now,
                takes_yellow=True,
                takes_orange=True,
                takes_red=True,
                takes_technical=True,
            )
        if not OnCall.objects.filter(ends_at__gt=now).exists():
            OnCall.objects.create(
                user=people["on_duty"], starts_at=now - timedelta(hours=8), ends_at=now + SHIFT
            )
    save_contact_once(environment, people["on_duty"])


def save_contact_once(environment: Environment, user: User) -> None:
    """Give the person on duty a (simulated) phone to be named by."""
    with for_environment(environment):
        save_contact(user, mobile="13800000001")
