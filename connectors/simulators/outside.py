"""The whole outside of a demo in one process: places, each with its day, platforms and systems.

A place is what one environment of the product sees: a promo day of its own and the seven simulators
that tell of it, below the place's prefix (`/women/tmall`, `/women/oms`, ...). `GET /_scenario/state`
says what runs; `POST /_scenario/targets` {place, urls: {app: url}} names where callbacks go, and
`POST /_scenario/open` {place} lets live orders begin. Both are kept, and so is what was done to
orders (journal.py): a restart goes on.
"""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from connectors.simulators.births import Births, Numbers
from connectors.simulators.core import (
    Answer,
    App,
    Call,
    Clock,
    Faults,
    Host,
    Outbox,
    Store,
    json_answer,
)
from connectors.simulators.journal import Deed, Doer, Journal
from connectors.simulators.keys import Keys
from connectors.simulators.ledger import Ledger
from connectors.simulators.life import Life
from connectors.simulators.platforms import APP_NAMES, build_apps, point_at
from connectors.simulators.scenario import LIVE_PER_MINUTE, Day

STATE_FILE = "state.json"
# A restart calls back once more what happened this long before the stop, and all that came since.
REPEATED, NOTED_EVERY = timedelta(minutes=30), timedelta(minutes=1)
KEYS_FOLDER, TRUTH_FOLDER, DEEDS_FOLDER = "keys", "truth", "deeds"


@dataclass(frozen=True)
class PlaceSpec:
    """One place: its name in addresses, its seed, how large its day is, live orders per minute."""

    key: str
    seed: int
    scale: float = 1.0
    rate: float = LIVE_PER_MINUTE

    @classmethod
    def parse(cls, text: str) -> PlaceSpec:
        """Read `key:seed:scale:rate`; raises ValueError."""
        key, seed, scale, rate = text.split(":")
        if not key.isascii() or not key.replace("-", "").isalnum():
            raise ValueError(f"{key!r} cannot stand in an address")
        return cls(key, int(seed), float(scale), float(rate))

    def __str__(self) -> str:
        return f"{self.key}:{self.seed}:{self.scale}:{self.rate}"


def keys_folder(folder: Path, place: str) -> Path:
    """Where the credentials of a place are kept (`keys.json` in it)."""
    return folder / KEYS_FOLDER / place


class Place:
    """One place running: day, store, ledger, keys, apps."""

    def __init__(
        self,
        spec: PlaceSpec,
        folder: Path,
        tools: Tools,
        started_at: datetime,
        called_until: datetime,
    ) -> None:
        """`called_until`: what happened before has been called back by an earlier start."""
        self.spec = spec
        self.keys = Keys.load_or_create(keys_folder(folder, spec.key))
        shops = {
            "tmall": self.keys.tmall.shops[0].shop,
            "douyin": self.keys.douyin.shops[0].shop,
            "private_mall": self.keys.mall.shop,
        }
        self.day = Day(
            seed=spec.seed, started_at=started_at, scale=spec.scale, rate=spec.rate, shops=shops
        )
        self.store = Store(*self.day.lives)
        self.ledger = Ledger(folder / TRUTH_FOLDER / spec.key)
        self.journal = Journal(folder / DEEDS_FOLDER / spec.key)
        self.apps = build_apps(
            self.store, tools.clock, tools.faults, tools.outbox, self.keys,
            since=called_until, on_synced=_let_flow,
        )  # fmt: skip

    def list_tokens(self) -> dict[str, Any]:
        """What the platforms gave to shops, by app."""
        return {"tmall": self.apps["tmall"].sessions, "douyin": self.apps["douyin"].tokens}  # type: ignore[attr-defined] # the two that give tokens

    def list_doers(self) -> dict[str, Doer]:
        """The apps in which a caller can change an order, by name."""
        return {name: app for name, app in self.apps.items() if isinstance(app, Doer)}

    def wake(self, now: datetime, synced: Mapping[str, str]) -> None:
        """Come to where the place stands at `now`: what was born since, what was done before a
        restart (`synced`: payments that were found, as an older state keeps them), the truth."""
        self.store.add(*self.day.grow(now))
        doers = self.list_doers()
        found = (
            Deed("mall", "sync_payment", datetime.fromisoformat(moment), {"order_no": order_no})
            for order_no, moment in synced.items()
        )
        for deed in (*found, *self.journal.read()):
            doers[deed.app].redo(deed.what, deed.content, deed.at)
        for name, doer in doers.items():
            doer.on_done = partial(self.journal.write, name)
        self.ledger.begin(self.day.lives)

    def grow(self, now: datetime) -> None:
        """Bear what is due and tell the ledger."""
        born = self.day.grow(now)
        if born:
            self.store.add(*born)
            self.ledger.append(born)


def _let_flow(life: Life, moment: datetime) -> None:
    rng = random.Random(life.order_no)  # noqa: S311 - invented orders, no secrets
    Births(rng, Numbers()).flow(life, moment.replace(microsecond=0))


@dataclass
class Tools:
    """What every app of the process shares."""

    clock: Clock = field(default_factory=Clock)
    faults: Faults = field(default_factory=Faults)
    outbox: Outbox = field(init=False)

    def __post_init__(self) -> None:
        self.outbox = Outbox(self.clock, self.faults)


class _State:
    """What is kept between two starts."""

    def __init__(self, path: Path, started_at: datetime) -> None:
        self.path = path
        self.started_at = started_at.replace(microsecond=0)
        self.opened: dict[str, str] = {}
        self.targets: dict[str, dict[str, str]] = {}
        self.synced: dict[str, dict[str, str]] = {}
        self.granted: dict[str, dict[str, dict[str, list[str]]]] = {}
        self.alive_at = self.started_at  # about when it was last seen to run
        self.offset_seconds = 0.0  # how far somebody has put the clock from real time
        if path.exists():
            kept = json.loads(path.read_text("utf-8"))
            self.started_at = datetime.fromisoformat(kept["started_at"])
            self.opened, self.targets = kept["opened"], kept["targets"]
            self.synced, self.granted = kept.get("synced", {}), kept.get("granted", {})
            self.offset_seconds = kept.get("offset_seconds", 0.0)
            self.alive_at = datetime.fromisoformat(kept.get("alive_at", kept["started_at"]))
        else:
            self.save()

    @property
    def called_until(self) -> datetime:
        """Callbacks of what happened before need not go out again after a restart. What was on its
        way when it stopped does: a platform's callbacks come at least once."""
        return max(self.started_at, self.alive_at - REPEATED)

    def save(self) -> None:
        """Write it, atomically."""
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh = self.path.with_suffix(".new")
        fresh.write_text(
            json.dumps(
                {
                    "started_at": self.started_at.isoformat(),
                    "opened": self.opened,
                    "targets": self.targets,
                    "synced": self.synced,
                    "granted": self.granted,
                    "offset_seconds": self.offset_seconds,
                    "alive_at": self.alive_at.isoformat(),
                },
                ensure_ascii=False,
                indent=1,
            ),
            encoding="utf-8",
        )
        fresh.replace(self.path)


class Outside:
    """All places behind one host. `folder` keeps keys, state and truth."""

    def __init__(
        self, folder: Path, places: Sequence[PlaceSpec], *, tools: Tools | None = None
    ) -> None:
        self.tools = tools or Tools()
        self._lock = threading.RLock()
        self._state = _State(folder / STATE_FILE, self.tools.clock.now())
        if not self.tools.clock.is_virtual:  # the day goes on from where somebody had put it
            self.tools.clock.advance(timedelta(seconds=self._state.offset_seconds))
            self.tools.clock.on_moved = self._keep_offset
        self.places = {
            spec.key: Place(
                spec,
                folder,
                self.tools,
                self._state.started_at,
                self._state.called_until,
            )
            for spec in places
        }
        for key, place in self.places.items():
            point_at(place.apps, self._state.targets.get(key, {}))
            for app, tokens in place.list_tokens().items():
                tokens.restore(self._state.granted.get(key, {}).get(app, {}))
                tokens.on_granted = partial(self._keep_granted, key)
            if key in self._state.opened:
                place.day.open(datetime.fromisoformat(self._state.opened[key]))
            place.wake(self.tools.clock.now(), self._state.synced.get(key, {}))
        apps: dict[str, App] = {
            f"/{key}/{name}": app
            for key, place in self.places.items()
            for name, app in place.apps.items()
        }
        apps["/_scenario"] = ScenarioApp(self)
        self.host = Host(apps, self.tools.clock, self.tools.faults, self.tools.outbox)

    @property
    def started_at(self) -> datetime:
        """The moment of the first board: what is before it is history."""
        return self._state.started_at

    def _keep_offset(self, offset: timedelta) -> None:
        with self._lock:
            self._state.offset_seconds = offset.total_seconds()
            self._state.save()

    def _keep_granted(self, key: str) -> None:
        """Remember what shops hold: what they agreed to outlives a restart."""
        with self._lock:
            held = self.places[key].list_tokens()
            self._state.granted[key] = {app: tokens.export() for app, tokens in held.items()}
            self._state.save()

    def grow(self, now: datetime) -> None:
        """Bear the live orders of every open place."""
        with self._lock:
            if abs(now - self._state.alive_at) >= NOTED_EVERY:
                self._state.alive_at = now
                self._state.save()
            for place in self.places.values():
                place.grow(now)

    def open(self, key: str) -> None:
        """Let a place's live orders begin now; raises KeyError for an unknown place."""
        with self._lock:
            place, now = self.places[key], self.tools.clock.now()
            place.day.open(now)
            if place.day.opened_at is not None:
                self._state.opened[key] = place.day.opened_at.isoformat()
                self._state.save()
            place.grow(now)

    def point(self, key: str, urls: Mapping[str, str]) -> None:
        """Name where a place's callbacks go, by app; raises KeyError or ValueError."""
        with self._lock:
            place = self.places[key]
            for name, url in urls.items():
                if name not in APP_NAMES:
                    raise ValueError(f"no such app: {name}")
                if url and urlsplit(url).scheme not in ("http", "https"):
                    raise ValueError(f"not an address: {url}")
            point_at(place.apps, urls)
            self._state.targets[key] = self._state.targets.get(key, {}) | dict(urls)
            self._state.save()

    def describe(self) -> dict[str, Any]:
        """What runs, without the truth."""
        with self._lock:
            return {
                "started_at": self.started_at.isoformat(),
                "places": {
                    key: {
                        "orders": len(place.store),
                        "opened_at": self._state.opened.get(key, ""),
                        "targets": self._state.targets.get(key, {}),
                        "shops": dict(place.day.shops),
                    }
                    for key, place in self.places.items()
                },
            }


class ScenarioApp:
    """Answers below /_scenario, and grows the days whenever the host pumps."""

    name = "_scenario"

    def __init__(self, outside: Outside) -> None:
        self._outside = outside

    def tick(self, now: datetime) -> None:
        """Called by the host a few times a second."""
        self._outside.grow(now)

    def answer(self, call: Call) -> Answer:
        """Route one call; a foreign Origin is refused."""
        origin = call.headers.get("origin")
        if origin and urlsplit(origin).netloc != call.headers.get("host"):
            return json_answer({"error": "foreign origin"}, 403)
        if call.method == "GET" and call.path == "/state":
            return json_answer(self._outside.describe())
        try:
            wish = call.json
            if call.method != "POST" or not isinstance(wish, dict):
                raise TypeError("POST a JSON object")
            if call.path == "/open":
                self._outside.open(str(wish["place"]))
            elif call.path == "/targets":
                urls = {str(name): str(url) for name, url in dict(wish["urls"]).items()}
                self._outside.point(str(wish["place"]), urls)
            else:
                return json_answer({"error": f"nothing at {call.path}"}, 404)
        except (KeyError, TypeError, ValueError) as error:
            return json_answer({"error": f"{type(error).__name__}: {error}"}, 400)
        return json_answer(self._outside.describe())
