"""Seeding the demo: people, rules, connections, a first read of everything, then live orders.

Everything comes over the wire from the simulators (`manage.py simulators`); no row is put in.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path

from django.conf import settings
from django.utils import timezone
from django.utils.translation import gettext as _

from config.errors import WrongState
from config.tenancy.models import Environment, Role, User
from config.tenancy.scope import for_environment
from connectors.orders.models import Order
from frontend.demo.accounts import ACCOUNTS, create_accounts, read_password
from frontend.demo.connections import (
    activate,
    allow_simulators,
    install_connections,
    list_targets,
    name_callback,
)
from frontend.demo.first_read import read_everything
from frontend.demo.notifications import install_notifications
from frontend.demo.outside import name_targets, open_place, wait_for_outside
from frontend.demo.places import PLACES, Place
from rules_engine.presets import install
from rules_engine.scoring.models import ScoreChange
from rules_engine.scoring.services import list_due_order_ids, score_orders
from workflows.causes import classify
from workflows.patrol.runs import Lease, hold_lease
from workflows.rollup.services import take_snapshot

CHUNK = 2000
STEP_PATIENCE = timedelta(minutes=10)


class Memory:
    """Which places were read already: a later start leaves them alone."""

    def __init__(self, path: Path, seeded: set[str]) -> None:
        self.path, self.seeded = path, seeded

    @classmethod
    def load(cls) -> Memory:
        """Read it; empty before the first start."""
        path = settings.DATA_DIR / "demo" / "state.json"
        seeded = json.loads(path.read_text())["seeded"] if path.exists() else []
        return cls(path, set(seeded))

    def is_seeded(self, place: Place) -> bool:
        """Whether a place's first read was finished."""
        return place.name in self.seeded

    def record_seeded(self, place: Place) -> None:
        """Remember it (after the read: repeating one changes nothing)."""
        self.seeded.add(place.name)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self.path.with_suffix(".new")
        fresh.write_text(json.dumps({"seeded": sorted(self.seeded)}))
        fresh.replace(self.path)


def seed(*, now: datetime, say: Callable[[str], None]) -> None:
    """Fill an empty installation; go on where an earlier seeding was cut short.

    Of a filled one only people, robots, shifts and addresses are made sure of: ports may have
    changed. Raises OutsideSilent when the simulators do not run.
    """
    environments = create_accounts(read_password())
    for place in PLACES:
        environment, people = environments[place.division, place.kind], _people(place.division)
        install_notifications(environment, division=place.division, people=people, now=now)
        allow_simulators(environment, people=people, now=now)
    wait_for_outside()
    memory = Memory.load()
    for place in PLACES:
        seed_place(place, environments[place.division, place.kind], memory, say=say)


def seed_place(
    place: Place,
    environment: Environment,
    memory: Memory,
    *,
    say: Callable[[str], None],
    is_parallel: bool = True,
) -> None:
    """Connect one environment, read its past, score it, and let its live orders come."""
    now = timezone.now()
    with for_environment(environment), suppress(WrongState):  # a seeding that was cut short
        install(place.preset, now)
    connections = install_connections(place, environment, now=now)
    if not memory.is_seeded(place):
        with _alone(environment) as lease:
            say(_("%(place)s：正在从各平台读取一个大促日的订单…") % {"place": environment})
            began = time.monotonic()
            _stay_alone(environment, lease)
            read_everything(environment, connections, is_parallel=is_parallel)
            _stay_alone(environment, lease)
            score_history(environment, now=timezone.now())
            seconds = time.monotonic() - began
        activate(environment, connections, now=timezone.now())
        memory.record_seeded(place)
        say(
            _("%(place)s：%(count)s 单已读入并评分，用时 %(seconds)d 秒")
            % {"place": environment, "count": _count_orders(environment), "seconds": seconds}
        )
    targets = list_targets(environment, connections) | name_callback()
    name_targets(place.spec.key, targets)
    open_place(place.spec.key)


def _count_orders(environment: Environment) -> int:
    with for_environment(environment, write=False):
        return int(Order.objects.count())


def score_history(environment: Environment, *, now: datetime) -> None:
    """Score everything due as of a past moment, without alerts and holds, and snapshot the board."""
    for only_changed in (True, False):
        after = 0
        while True:
            with for_environment(environment):
                ids = list_due_order_ids(limit=CHUNK, after_id=after, only_changed=only_changed)
                if not ids:
                    break
                why = ScoreChange.Why.RECEIVED if only_changed else ScoreChange.Why.CLOCK
                score_orders(ids, now=now, why=why, classify=classify)
                after = ids[-1]
    with for_environment(environment):
        take_snapshot(now)


def _people(division: str) -> dict[str, User]:
    """Who asks for an address, who allows it, and who is on duty in a division of the demo."""
    wanted = {
        "asks": (Role.TECH_SUPPORT, Role.SUPERVISOR),
        "allows": (Role.REVIEWER,),
        "on_duty": (Role.AGENT, Role.SUPERVISOR),
    }
    found = {}
    for part, roles in wanted.items():
        names = [
            a.username
            for role in roles
            for a in ACCOUNTS
            if (a.division, a.role) == (division, role)
        ]
        found[part] = User.objects.get(username=names[0])
    return found


@contextmanager
def _alone(environment: Environment) -> Iterator[Lease]:
    """Hold the environment's patrol lease, waiting for whoever has it."""
    while True:
        with hold_lease(environment, now=timezone.now()) as lease:
            if lease is not None:
                yield lease
                return
        time.sleep(1)


def _stay_alone(environment: Environment, lease: Lease) -> None:
    """Renew the lease for a step, which may take longer than a chunk of the patrol."""
    with for_environment(environment):
        lease.renew(timezone.now() + STEP_PATIENCE)
