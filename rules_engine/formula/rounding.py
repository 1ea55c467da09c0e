"""Rounding on the 15-digit decimal, as people see the number, not on its binary dust."""

from __future__ import annotations

import math

from .operators import round_to_15_digits


def round_half_away(value: float, digits: float = 0.0) -> float:
    """Round half away from zero: 1.005 to 2 digits is 1.01, -2.5 to 0 digits -3."""
    return shift_and_cut(value, digits, 0.5)


def shift_and_cut(value: float, digits: float, push: float) -> float:
    """Shift by `digits`, add `push` away from zero, cut: push 0.5 rounds, 0 cuts, 1 raises."""
    if value == 0.0 or digits > 300:
        return value
    if digits < -308:
        return 0.0
    scale = 10.0 ** abs(int(digits))
    shifted = abs(value) * scale if digits >= 0 else abs(value) / scale
    if shifted >= 1e15:
        return value
    whole = math.floor(shifted)
    part = shifted - whole
    if part < 1e-3 or part > 0.999 or abs(part - 0.5) < 1e-3:  # dust may decide: take 15 digits
        shifted = round_to_15_digits(shifted)
        whole = math.floor(shifted)
        part = shifted - whole
    if part and part + push >= 1.0:
        whole += 1
    if not whole:
        return 0.0
    rounded = whole / scale if digits >= 0 else whole * scale
    return rounded if value > 0 else -rounded
