"""A hold stops what would have come next in a life; a release lets it come, later by the wait.

The life itself is changed, so that platform, OMS, WMS and the ledger of truth tell the same story:
an order that stands in the warehouse is not shipped on the platform.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from connectors.simulators.life import Life, LifeShipment

AFTER_OMS = ("reviewed", "wms")
AFTER_WMS = (
    "printed",
    "picked",
    "packed",
    "out",
    "rejected",
    "gifts_packed_at",
    "part_shipped",
    "shipped",
    "delivered",
    "completed",
)


@dataclass(frozen=True)
class Held:
    """What a hold took out of a life."""

    since: datetime
    moments: dict[str, datetime]
    shipments: tuple[LifeShipment, ...]


def hold_life(life: Life, now: datetime, fields: Sequence[str] = AFTER_WMS) -> Held:
    """Take the moments after `now` out of a life; give the result to `release_life`."""
    moments: dict[str, datetime] = {}
    for name in fields:
        moment = getattr(life, name)
        if moment is not None and moment > now:
            moments[name] = moment
            setattr(life, name, None)
    coming = tuple(parcel for parcel in life.shipments if parcel.at > now)
    life.shipments = tuple(parcel for parcel in life.shipments if parcel.at <= now)
    return Held(now, moments, coming)


def release_life(life: Life, held: Held, now: datetime) -> None:
    """Put the moments back, each later by as long as the hold lasted.

    What somebody else has set meanwhile stays as it is.
    """
    wait = now - held.since
    changes: dict[str, Any] = {name: moment + wait for name, moment in held.moments.items()}
    for name, moment in changes.items():
        if getattr(life, name) is None:
            setattr(life, name, moment)
    life.shipments = (
        *life.shipments,
        *(replace(parcel, at=parcel.at + wait) for parcel in held.shipments),
    )
