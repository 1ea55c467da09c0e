"""The environments of the demo, and the outside each of them sees."""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings

from connectors.simulators.outside import PlaceSpec
from connectors.simulators.scenario import SEED


@dataclass(frozen=True)
class Place:
    """One environment of the demo, its starter rules, and the promo day that flows through it."""

    division: str
    kind: str
    preset: str
    spec: PlaceSpec

    @property
    def name(self) -> str:
        """How the demo remembers it."""
        return f"{self.division}/{self.kind}"


PLACES: tuple[Place, ...] = (
    Place("女装", "production", "promo", PlaceSpec("women", SEED, 1.0, 6.0)),
    Place("童装", "production", "promo", PlaceSpec("kids", SEED + 1, 0.08, 0.5)),
    Place("女装", "staging", "promo", PlaceSpec("women-staging", SEED + 2, 0.02, 0.2)),
    Place("童装", "staging", "five_dimensions", PlaceSpec("kids-staging", SEED + 3, 0.02, 0.2)),
)


def simulators_port() -> int:
    """The port of the demo's platforms: two after the web's (the robot has the one between)."""
    return settings.HEDAO_PORT + 2


def simulators_address() -> str:
    """Where the demo's platforms are."""
    return f"http://127.0.0.1:{simulators_port()}"
