"""Seeding the demo and keeping its orders arriving: through files and the real river only."""

from __future__ import annotations

import csv
import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from django.conf import settings
from django.utils import timezone

from config.errors import WrongState
from config.tenancy.models import Environment, Role, User
from config.tenancy.scope import for_environment
from connectors.tabular.mapping import load_mapping
from connectors.tabular.services import run_import
from frontend.demo.accounts import ACCOUNTS, create_accounts, read_password
from frontend.demo.notifications import install_notifications
from frontend.demo.world import SEED, World
from rules_engine.presets import install
from rules_engine.scoring.models import ScoreChange
from rules_engine.scoring.services import list_due_order_ids, score_orders
from workflows.causes import classify
from workflows.patrol.runs import Lease, hold_lease
from workflows.rollup.services import take_snapshot

MAPPING = Path(__file__).with_name("mapping.yaml")
CHUNK = 2000
STEP_PATIENCE = timedelta(minutes=5)


@dataclass(frozen=True)
class Place:
    """One environment of the demo and the day that flows through it."""

    division: str
    kind: str
    seed: int
    scale: float
    preset: str
    # Moments its past is imported and scored at, so that the day's chart has one: hours ago.
    history: tuple[float, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.division}/{self.kind}"


PLACES: tuple[Place, ...] = (
    Place("女装", "production", SEED, 1.0, "promo", history=(5, 1)),
    Place("童装", "production", SEED + 1, 0.08, "promo"),
    Place("女装", "staging", SEED + 2, 0.02, "promo"),
    Place("童装", "staging", SEED + 3, 0.02, "five_dimensions"),
)


class Memory:
    """What the demo remembers between starts: when its day began, up to when each place was fed."""

    def __init__(self, path: Path, started_at: datetime, fed: dict[str, str]) -> None:
        self.path, self.started_at, self.fed = path, started_at, fed

    @classmethod
    def load(cls, *, default_start: datetime) -> Memory:
        """Read it, or begin a day now."""
        path = settings.DATA_DIR / "demo" / "state.json"
        if path.exists():
            stored = json.loads(path.read_text())
            return cls(path, datetime.fromisoformat(stored["started_at"]), stored["fed"])
        memory = cls(path, default_start.replace(microsecond=0), {})
        memory._save()
        return memory

    def _save(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self.path.with_suffix(".new")
        fresh.write_text(json.dumps({"started_at": self.started_at.isoformat(), "fed": self.fed}))
        fresh.replace(self.path)

    def fed_until(self, place: Place) -> datetime | None:
        """Up to when a place's exports have been imported; None before the first."""
        fed = self.fed.get(place.name)
        return datetime.fromisoformat(fed) if fed else None

    def record_fed(self, place: Place, until: datetime) -> None:
        """Remember an import (after it: repeating one changes nothing)."""
        self.fed[place.name] = until.isoformat()
        self._save()

    def is_seeded(self, place: Place) -> bool:
        """Whether a place's day has been imported up to its start."""
        fed = self.fed_until(place)
        return fed is not None and fed >= self.started_at


@contextmanager
def export_files(
    world: World, *, since: datetime | None, until: datetime, folder: Path
) -> Iterator[dict[str, Path]]:
    """Write the systems' exports of (since, until] as CSV files; they are gone afterwards."""
    mapping = load_mapping(MAPPING)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        paths = {}
        for key, rows in world.export(since=since, until=until).items():
            spec = mapping["files"][key]
            paths[key] = folder / spec["file"]
            with paths[key].open("w", encoding="utf-8-sig", newline="") as file:
                writer = csv.DictWriter(file, [c["column"] for c in _unique(spec["columns"])])
                writer.writeheader()
                writer.writerows(rows)
        yield paths
    finally:
        shutil.rmtree(folder)


def _unique(columns: list[dict[str, str]]) -> list[dict[str, str]]:
    seen: dict[str, dict[str, str]] = {}
    for column in columns:
        seen.setdefault(column["column"], column)
    return list(seen.values())


def import_slice(
    environment: Environment,
    world: World,
    *,
    since: datetime | None,
    until: datetime,
    is_history: bool,
) -> None:
    """Import what the demo's systems exported between two moments."""
    folder = settings.DATA_DIR / "demo" / "files" / f"{environment.pk}-{until:%Y%m%d%H%M%S}"
    with export_files(world, since=since, until=until, folder=folder) as files:
        run_import(
            environment,
            mapping=load_mapping(MAPPING),
            files=files,
            complete_until=until,
            now=until,
            is_history=is_history,
        )


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


def seed(*, now: datetime, say: Callable[[str], None]) -> None:
    """Fill an empty installation; go on where an earlier seeding was cut short.

    A filled one is left alone, except that its people, robots and shifts are made sure of.
    """
    environments = create_accounts(read_password())
    for place in PLACES:  # also on a later start: the port may have changed
        install_notifications(
            environments[place.division, place.kind],
            division=place.division,
            people=_people(place.division),
            now=now,
        )
    memory = Memory.load(default_start=now)
    for place in PLACES:
        if not memory.is_seeded(place):
            environment = environments[place.division, place.kind]
            say(f"{environment}：正在导入一个大促日的订单…")
            seed_place(place, environment, memory)


def seed_place(place: Place, environment: Environment, memory: Memory) -> None:
    """Import and score one environment's day in steps, alone: the patrol waits its turn."""
    world = World(seed=place.seed, started_at=memory.started_at, scale=place.scale)
    with for_environment(environment), suppress(WrongState):  # a seeding that was cut short
        install(place.preset, memory.started_at)
    with _alone(environment) as lease:
        for hours in (*place.history, 0):
            until = memory.started_at - timedelta(hours=hours)
            since = memory.fed_until(place)
            if since is not None and until <= since:
                continue
            _stay_alone(environment, lease)
            import_slice(environment, world, since=since, until=until, is_history=True)
            _stay_alone(environment, lease)
            score_history(environment, now=until)
            memory.record_fed(place, until)


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


def list_worlds(memory: Memory) -> list[tuple[Place, Environment, World]]:
    """The environments of the demo with their days, for the feed."""
    environments = create_accounts(read_password())
    return [
        (
            p,
            environments[p.division, p.kind],
            World(seed=p.seed, started_at=memory.started_at, scale=p.scale),
        )
        for p in PLACES
    ]
