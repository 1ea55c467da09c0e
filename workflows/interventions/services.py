"""The door of this package: what others call."""

from workflows.interventions.delivery import deliver_due
from workflows.interventions.episodes import Decided, decide_interventions
from workflows.interventions.groups import close_groups
from workflows.interventions.holds import (
    close_moot_brakes,
    decide_brake,
    list_held,
    release_hold,
    release_holds,
)
from workflows.interventions.people import (
    cancel_shift,
    create_shift,
    list_members,
    list_on_duty,
    list_recipients,
    save_contact,
)
from workflows.interventions.robots import check_robot, create_robot, save_robot, send_test
from workflows.interventions.sources import watch_sources

__all__ = [
    "Decided",
    "cancel_shift",
    "check_robot",
    "close_groups",
    "close_moot_brakes",
    "create_robot",
    "create_shift",
    "decide_brake",
    "decide_interventions",
    "deliver_due",
    "list_held",
    "list_members",
    "list_on_duty",
    "list_recipients",
    "release_hold",
    "release_holds",
    "save_contact",
    "save_robot",
    "send_test",
    "watch_sources",
]
