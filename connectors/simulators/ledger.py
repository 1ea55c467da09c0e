"""The truth of a scenario, in a folder of its own: which orders are stuck, why, and since when.

Written beside the simulators for tests and for the curious. No product code reads it: an import
contract keeps the product away from this package, and nothing else knows where the file is.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from connectors.simulators.life import Life, has_come
from connectors.simulators.sticking import GRACE

FILE = "truth.jsonl"
_NODES = {
    "placed": "placed", "paid": "paid", "gateway_paid": "gateway_paid", "locked": "locked",
    "oms": "oms", "reviewed": "reviewed", "wms": "wms", "picked": "picked", "out": "out",
    "shipped": "shipped", "delivered": "delivered", "closed": "closed",
}  # fmt: skip


def is_stuck(life: Life, now: datetime) -> bool:
    """Whether it has been stuck for longer than its cause's grace and was not mended yet."""
    if not life.cause or life.stuck_since is None or has_come(life.mended, now):
        return False
    return life.stuck_since + GRACE[life.cause] <= now and life.placed + life.lag <= now


def list_stuck(lives: Iterable[Life], now: datetime) -> dict[str, str]:
    """Order number -> cause of every order that is stuck at `now`."""
    return {life.order_no: life.cause for life in lives if is_stuck(life, now)}


def describe(life: Life) -> dict[str, Any]:
    """One order's truth as plain values; moments are ISO 8601 with a zone."""
    found = life.stuck_since + GRACE[life.cause] if life.cause and life.stuck_since else None
    moments = {name: getattr(life, key) for name, key in _NODES.items()}
    return {
        "order_no": life.order_no,
        "channel": life.channel,
        "shop": life.shop,
        "cause": life.cause,
        "stuck_since": _text(life.stuck_since),
        "to_be_found": _text(found),
        "mended": _text(life.mended),
        "look_alike": life.look_alike,
        "payable_fen": life.payable_fen,
        "moments": {name: _text(moment) for name, moment in moments.items() if moment},
    }


def _text(moment: datetime | None) -> str:
    return moment.isoformat() if moment is not None else ""


@dataclass(frozen=True)
class Ledger:
    """One scenario's file of truth: a line per order, only ever appended to."""

    folder: Path

    @property
    def path(self) -> Path:
        """The file."""
        return self.folder / FILE

    def begin(self, lives: Iterable[Life]) -> None:
        """Write it anew: a restarted scenario is made again from its seed."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh = self.path.with_suffix(".new")
        fresh.write_text("".join(_lines(lives)), encoding="utf-8")
        fresh.replace(self.path)

    def append(self, lives: Iterable[Life]) -> None:
        """Add orders that were born since."""
        with self.path.open("a", encoding="utf-8") as file:
            file.writelines(_lines(lives))

    def read(self) -> list[dict[str, Any]]:
        """Every order's truth."""
        return [json.loads(line) for line in self.path.read_text("utf-8").splitlines()]


def _lines(lives: Iterable[Life]) -> Iterator[str]:
    for life in lives:
        yield json.dumps(describe(life), ensure_ascii=False) + "\n"
