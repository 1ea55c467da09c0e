"""Work on the content of a rule set that is still being written. Pure, and tolerant of anything.

A draft may hold half-written work: text where a number belongs, a missing part, a foreign import.
Nothing here checks it (`check_rule_set` does); nothing here falls over it either.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

TOTAL_POINTS: Final = 100

# What a new check starts with; the policies are those of DESIGN, "What a score is".
NEW_DIMENSION: Final[Mapping[str, Any]] = {
    "name": "",
    "kind": "judgement",
    "formula": "",
    "points": 10,
    "cap": None,
    "when_insufficient": "no_points",
    "when_not_applicable": "full",
    "when_late": "no_deduction",
    "reason": "",
    "cause": "",
}


def list_dimensions(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The dimensions that are at least mappings with a key, in order."""
    found = content.get("dimensions")
    if not isinstance(found, list):
        return []
    return [d for d in found if isinstance(d, dict) and isinstance(d.get("key"), str)]


def find_dimension(content: Mapping[str, Any], key: str) -> dict[str, Any] | None:
    """The dimension with this key."""
    return next((d for d in list_dimensions(content) if d["key"] == key), None)


def new_key(taken: Collection[str]) -> str:
    """A key no other dimension of the set has. Keys are identities and never shown."""
    while True:
        key = f"check_{secrets.token_hex(4)}"
        if key not in taken:
            return key


def put_dimension(content: Mapping[str, Any], dimension: Mapping[str, Any]) -> dict[str, Any]:
    """The content with this dimension in the place of the one with its key, or at the end."""
    dimensions = list_dimensions(content)
    keys = [d["key"] for d in dimensions]
    if dimension["key"] in keys:
        dimensions[keys.index(dimension["key"])] = dict(dimension)
    else:
        dimensions.append(dict(dimension))
    return {**content, "dimensions": dimensions}


def remove_dimension(content: Mapping[str, Any], key: str) -> dict[str, Any]:
    """The content without the dimension with this key."""
    return {**content, "dimensions": [d for d in list_dimensions(content) if d["key"] != key]}


def hundredths_of(value: object) -> int | None:
    """Points of 0 to 100 with at most two decimals in hundredths, or None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if not 0 <= value <= TOTAL_POINTS:  # false for NaN
        return None
    hundredths = round(value * 100)
    return hundredths if abs(hundredths - value * 100) < 1e-6 else None


def sum_points(content: Mapping[str, Any]) -> int | float | None:
    """The sum of all points; None while one of them is no number of 0 to 100."""
    points = [hundredths_of(d.get("points")) for d in list_dimensions(content)]
    if None in points:
        return None
    total = sum(p for p in points if p is not None)
    return total / 100 if total % 100 else total // 100


def rebalance_points(content: Mapping[str, Any], *, keep: str) -> dict[str, Any] | None:
    """The content with the other dimensions' points scaled so that all sum to 100.

    The scaled points are whole numbers (largest remainder; of equal remainders the earlier
    dimension gains), a dimension that had points keeps at least one, and the one with key `keep`
    is not touched. None when that cannot be done: something typed is no number, `keep` has a
    fraction, or there is no room beside it.
    """
    dimensions = list_dimensions(content)
    points = {d["key"]: hundredths_of(d.get("points")) for d in dimensions}
    kept = points.pop(keep, 0)
    if kept is None or kept % 100 or None in points.values():
        return None
    room = TOTAL_POINTS - kept // 100
    others = {key: weight for key, weight in points.items() if weight}
    if len(others) > room or (not others and room):
        return None
    scaled = _share_out(room, others)
    return {
        **content,
        "dimensions": [
            {**d, "points": scaled[d["key"]]} if d["key"] in scaled else d for d in dimensions
        ],
    }


def _share_out(room: int, weights: Mapping[str, int]) -> dict[str, int]:
    """Whole shares of `room` in proportion to the weights, each at least one."""
    total = sum(weights.values())
    shares = {key: max(1, room * weight // total) for key, weight in weights.items()}
    missing = room - sum(shares.values())
    by_remainder = sorted(weights, key=lambda key: _claim(room * weights[key], total), reverse=True)
    for key in _round_robin(by_remainder, missing):
        shares[key] += 1
    while sum(shares.values()) > room:  # lifting gave away too much: the largest pays
        largest = max(shares, key=lambda key: (shares[key], -weights[key]))
        shares[largest] -= 1
    return shares


def _claim(share: int, total: int) -> int:
    """The remainder of a share; one that was lifted to the minimum has no claim left."""
    return share % total if share >= total else -1


def _round_robin(keys: list[str], count: int) -> Iterable[str]:
    return (keys[index % len(keys)] for index in range(max(0, count)))
