"""Seeding the demo and keeping its orders arriving: through files and the real river only."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from django.conf import settings

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
from workflows.rollup.services import take_snapshot

MAPPING = Path(__file__).with_name("mapping.yaml")
# The moments the history is imported at, so that the chart of the day has a past: hours before now.
HISTORY_STEPS = (5, 1)
CHUNK = 2000


@dataclass(frozen=True)
class Place:
    """One environment of the demo and the day that flows through it."""

    division: str
    kind: str
    seed: int
    scale: float
    preset: str


PLACES: tuple[Place, ...] = (
    Place("女装", "production", SEED, 1.0, "promo"),
    Place("童装", "production", SEED + 1, 0.08, "promo"),
    Place("女装", "staging", SEED + 2, 0.02, "promo"),
    Place("童装", "staging", SEED + 3, 0.02, "five_dimensions"),
)


class State:
    """What the demo remembers between starts: when it began and up to when it has been fed."""

    def __init__(self) -> None:
        self.path = settings.DATA_DIR / "demo" / "state.json"

    def read(self) -> dict[str, str]:
        """The stored state; empty before the first seeding."""
        return json.loads(self.path.read_text()) if self.path.exists() else {}

    def write(self, state: dict[str, str]) -> None:
        """Replace the state in one step."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self.path.with_suffix(".new")
        fresh.write_text(json.dumps(state))
        fresh.replace(self.path)


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
    """Fill an empty installation; a seeded one is left alone (its people are made sure of)."""
    environments = create_accounts(read_password())
    for place in PLACES:  # also on a later start: the port may have changed
        install_notifications(
            environments[place.division, place.kind],
            division=place.division,
            people=_people(place.division),
            now=now,
        )
    state = State()
    known = state.read()
    if known.get("seeded"):
        return
    started_at = now.replace(microsecond=0)
    if "started_at" in known:  # an earlier seeding was cut short: the same day goes on
        started_at = datetime.fromisoformat(known["started_at"])
    state.write({"started_at": started_at.isoformat()})
    for place in PLACES:
        environment = environments[place.division, place.kind]
        with for_environment(environment), suppress(WrongState):  # a seeding that was cut short
            install(place.preset, started_at)
        say(f"{environment}：正在导入一个大促日的订单…")
        world = World(seed=place.seed, started_at=started_at, scale=place.scale)
        since: datetime | None = None
        for hours in (*HISTORY_STEPS, 0):
            until = started_at - timedelta(hours=hours)
            import_slice(environment, world, since=since, until=until, is_history=True)
            score_history(environment, now=until)
            since = until
    state.write(
        {"started_at": started_at.isoformat(), "fed_until": started_at.isoformat(), "seeded": "1"}
    )


def worlds(started_at: datetime) -> list[tuple[Environment, World]]:
    """The environments of the demo with their days, for the feed."""
    environments = create_accounts(read_password())
    return [
        (
            environments[p.division, p.kind],
            World(seed=p.seed, started_at=started_at, scale=p.scale),
        )
        for p in PLACES
    ]
