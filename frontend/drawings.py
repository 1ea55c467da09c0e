"""Geometry of the server-drawn pictures: the river, the day's curve, the score ring. Pure.

Colours are classes of the stylesheet; everything here is coordinates, as SVG attributes take them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, MARGIN = 1180, 40
_MIDDLE, _MOST, _LEAST = 86.0, 46.0, 2.5  # half widths of the water
_MOUND, _MOUND_LEAST = 58.0, 6.0
_SWAY = (0.0, 3.0, 5.0, 4.0, 0.0, -3.0, -4.0, -1.0, 3.0, 5.0, 3.0, 0.0)


@dataclass(frozen=True)
class Mound:
    """Sediment at one node."""

    path: str
    opacity: str


@dataclass(frozen=True)
class Place:
    """Where a node's words stand, and the band that takes the pointer."""

    x: float
    anchor: str
    hit_x: float
    hit_width: float
    guide_top: float
    mound: Mound | None


@dataclass(frozen=True)
class River:
    """The whole picture: water, its surface, and a place per node."""

    water: str
    surface: str
    places: list[Place]


def _curve(points: Sequence[tuple[float, float]]) -> str:
    parts = []
    for (x0, y0), (x1, y1) in zip(points, points[1:], strict=False):
        middle = (x0 + x1) / 2
        parts.append(f"C{middle:.1f},{y0:.1f} {middle:.1f},{y1:.1f} {x1:.1f},{y1:.1f}")
    return " ".join(parts)


def draw_river(flows: Sequence[float], silt: Sequence[float]) -> River:
    """Water whose width is the flow, sediment whose height is the silt (both by square root)."""
    step = (WIDTH - 2 * MARGIN) / (len(flows) - 1)
    xs = [MARGIN + step * i for i in range(len(flows))]
    flows = _bridge(flows)
    most, worst = max(flows) or 1, max(silt) or 1
    halves = [max(_LEAST, _MOST * math.sqrt(flow / most)) for flow in flows]
    sway = [_SWAY[i % len(_SWAY)] for i in range(len(flows))]
    tops = [_MIDDLE - h + s for h, s in zip(halves, sway, strict=True)]
    bottoms = [_MIDDLE + h + s for h, s in zip(halves, sway, strict=True)]
    upper = [(0.0, tops[0]), *zip(xs, tops, strict=True), (float(WIDTH), tops[-1])]
    lower = [(0.0, bottoms[0]), *zip(xs, bottoms, strict=True), (float(WIDTH), bottoms[-1])]
    surface = f"M{upper[0][0]:.1f},{upper[0][1]:.1f} {_curve(upper)}"
    back = list(reversed(lower))
    water = f"{surface} L{back[0][0]:.1f},{back[0][1]:.1f} {_curve(back)} Z"
    places = []
    for i, x in enumerate(xs):
        mound = None
        if silt[i] > 0:
            share = math.sqrt(silt[i] / worst)
            mound = _draw_mound(x, bottoms[i], max(_MOUND_LEAST, _MOUND * share), share, step)
        places.append(
            Place(
                x=round(x, 1),
                anchor="middle",
                hit_x=round(max(0, x - step / 2), 1),
                hit_width=round(min(step, x + step / 2), 1),
                guide_top=round(bottoms[i] + 4, 1),
                mound=mound,
            )
        )
    return River(water, surface, places)


def _bridge(flows: Sequence[float]) -> list[float]:
    """A node nobody passes while orders flow before and behind it does not apply: no gap there."""
    bridged = list(flows)
    for i, flow in enumerate(flows):
        before = next((f for f in reversed(flows[:i]) if f), 0)
        behind = next((f for f in flows[i + 1 :] if f), 0)
        if not flow and before and behind:
            bridged[i] = (before + behind) / 2
    return bridged


def _draw_mound(x: float, bed: float, height: float, share: float, step: float) -> Mound:
    half = step * 0.42
    top = bed - height
    path = (
        f"M{x - half:.1f},{bed:.1f} C{x - half * 0.5:.1f},{bed:.1f} {x - half * 0.42:.1f},{top:.1f} "
        f"{x:.1f},{top:.1f} C{x + half * 0.42:.1f},{top:.1f} {x + half * 0.5:.1f},{bed:.1f} "
        f"{x + half:.1f},{bed:.1f} Z"
    )
    return Mound(path, f"{0.45 + 0.5 * share:.2f}")


@dataclass(frozen=True)
class DayCurve:
    """Two lines over the hours of a day, on one scale."""

    stuck: str
    mended: str
    xs: list[float]
    stuck_label: tuple[float, float, str]
    mended_label: tuple[float, float, str]
    is_flat: bool


CURVE_WIDTH, CURVE_HEIGHT, CURVE_TOP = 430, 150, 44


def draw_day(stuck: Sequence[int], mended: Sequence[int]) -> DayCurve:
    """Polyline points of both series; `…_label` is where the highest point's word stands."""
    most = max(*stuck, *mended, 1)
    step = (CURVE_WIDTH - 36) / (len(stuck) - 1)
    xs = [round(18 + step * i, 1) for i in range(len(stuck))]

    def points(series: Sequence[int]) -> list[tuple[float, float]]:
        room = CURVE_HEIGHT - CURVE_TOP
        return [
            (x, round(CURVE_HEIGHT - room * n / most, 1)) for x, n in zip(xs, series, strict=True)
        ]

    lines = [points(stuck), points(mended)]
    texts = [" ".join(f"{x},{y}" for x, y in line) for line in lines]
    labels = [_beside(min(line, key=lambda p: p[1])) for line in lines]
    if abs(labels[0][1] - labels[1][1]) < 14 and abs(labels[0][0] - labels[1][0]) < 120:
        x, y, anchor = labels[1]
        labels[1] = (x, min(labels[0][1], y) - 14, anchor)  # two words never lie on each other
    return DayCurve(
        stuck=texts[0],
        mended=texts[1],
        xs=xs,
        stuck_label=labels[0],
        mended_label=labels[1],
        is_flat=not any(stuck) and not any(mended),
    )


def _beside(top: tuple[float, float]) -> tuple[float, float, str]:
    x, y = top
    anchor = "end" if x > CURVE_WIDTH * 0.8 else "start" if x < CURVE_WIDTH * 0.2 else "middle"
    return (x, round(y - 7, 1), anchor)


def place_on_day(share: float) -> float:
    """The x of a moment, given as its share of the day shown (0 to 1)."""
    return round(18 + (CURVE_WIDTH - 36) * min(1.0, max(0.0, share)), 1)


RING_RADIUS = 51.5


def draw_ring(score_hundredths: int) -> str:
    """The dash pattern of a ring filled to the score."""
    around = 2 * math.pi * RING_RADIUS
    filled = around * min(max(score_hundredths, 0), 10_000) / 10_000
    return f"{filled:.1f} {around - filled:.1f}"
