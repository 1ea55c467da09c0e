"""From results to a score: policies, total, caps, band. Pure; DESIGN "What a score is".

Points are summed exactly and rounded half up once, to integer hundredths. The band is read from
the stored hundredths, so 69.99 is yellow and is never shown as 70.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from enum import StrEnum
from itertools import combinations, product
from typing import Final

from config.errors import gettext_noop

FULL_SCORE: Final = 100_00
_CENT: Final = Decimal(1)


class Band(StrEnum):
    """How healthy an order is, best first."""

    HEALTHY = "healthy"
    YELLOW = "yellow"
    ORANGE = "orange"
    RED = "red"


BAND_LABELS: Final[dict[str, str]] = {
    Band.HEALTHY: gettext_noop("健康"),
    Band.YELLOW: gettext_noop("黄"),
    Band.ORANGE: gettext_noop("橙"),
    Band.RED: gettext_noop("红"),
}
# Worse is larger.
SEVERITY: Final[dict[str, int]] = {band: number for number, band in enumerate(Band)}


class Outcome(StrEnum):
    """What a dimension says; the values are those of the formula language's results."""

    PASS = "pass"  # noqa: S105 - not a password
    PARTIAL = "partial"
    FAIL = "fail"
    INSUFFICIENT = "insufficient"
    NOT_APPLICABLE = "not_applicable"


OUTCOME_LABELS: Final[dict[str, str]] = {
    Outcome.PASS: gettext_noop("通过"),
    Outcome.PARTIAL: gettext_noop("部分"),
    Outcome.FAIL: gettext_noop("不通过"),
    Outcome.INSUFFICIENT: gettext_noop("数据不足"),
    Outcome.NOT_APPLICABLE: gettext_noop("不适用"),
}


class InsufficientPolicy(StrEnum):
    """What 数据不足 is worth."""

    NO_POINTS = "no_points"  # earns nothing, a person must look
    NO_DEDUCTION = "no_deduction"
    FAIL = "fail"  # counts as 不通过, with its cause


class NotApplicablePolicy(StrEnum):
    """What 不适用 is worth."""

    FULL = "full"
    RESCALE = "rescale"  # left out, the rest counts for 100


@dataclass(frozen=True, slots=True)
class Lines:
    """The lower ends of 健康, 黄 and 橙, in hundredths."""

    yellow: int = 70_00
    orange: int = 60_00
    red: int = 50_00

    def band_of(self, score_hundredths: int) -> Band:
        """The band of a stored score: below a line means worse, on it better."""
        if score_hundredths >= self.yellow:
            return Band.HEALTHY
        if score_hundredths >= self.orange:
            return Band.YELLOW
        return Band.ORANGE if score_hundredths >= self.red else Band.RED


@dataclass(frozen=True, slots=True)
class Weight:
    """What a dimension is worth: points and cap in hundredths, and its policies."""

    key: str
    points: int
    cap: int | None = None
    when_insufficient: str = InsufficientPolicy.NO_POINTS
    when_late: str = InsufficientPolicy.NO_DEDUCTION
    when_not_applicable: str = NotApplicablePolicy.FULL


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one dimension said of one order.

    `earned`: points (not hundredths) of a 计分 that came out as a number; None means "by outcome".
    `is_late`: the data are missing because their source is late; `is_suspended`: the formula is
    out of use, which takes nothing away but wants a person.
    """

    outcome: Outcome
    earned: float | None = None
    is_late: bool = False
    is_suspended: bool = False


@dataclass(frozen=True, slots=True)
class Part:
    """One dimension's share of the total. `points` is exact, in hundredths."""

    key: str
    outcome: Outcome
    points: Decimal
    maximum: int
    is_left_out: bool = False
    is_capping: bool = False
    needs_person: bool = False

    @property
    def points_hundredths(self) -> int:
        """The share for display, rounded on its own."""
        return _round(self.points)


@dataclass(frozen=True, slots=True)
class Total:
    """A score with everything needed to print its sum."""

    score_hundredths: int
    uncapped_hundredths: int
    cap_hundredths: int | None
    band: Band
    parts: tuple[Part, ...]
    scale: int  # points in hundredths that the parts stand for; FULL_SCORE unless rescaled

    @property
    def needs_person(self) -> bool:
        """Whether facts are missing although their source is fresh."""
        return any(part.needs_person for part in self.parts)


@dataclass(frozen=True, slots=True)
class FailedDimension:
    """A dimension that costs an order its health; what `classify` chooses a cause from."""

    key: str
    name: str
    cause: str
    outcome: str = Outcome.FAIL
    cap: int | None = None
    lost_hundredths: int = 0


def _round(amount: Decimal) -> int:
    return int(amount.quantize(_CENT, rounding=ROUND_HALF_UP))


def _share(weight: Weight, verdict: Verdict) -> Part:
    """What one verdict earns under the dimension's policies."""
    outcome, full = verdict.outcome, Decimal(weight.points)
    if outcome is Outcome.NOT_APPLICABLE:
        left_out = weight.when_not_applicable == NotApplicablePolicy.RESCALE
        return Part(weight.key, outcome, Decimal(0) if left_out else full, weight.points, left_out)
    if outcome is Outcome.INSUFFICIENT:
        if verdict.is_suspended:
            return Part(weight.key, outcome, full, weight.points, needs_person=True)
        policy = weight.when_late if verdict.is_late else weight.when_insufficient
        if policy == InsufficientPolicy.NO_DEDUCTION:
            return Part(weight.key, outcome, full, weight.points)
        return Part(
            weight.key,
            outcome,
            Decimal(0),
            weight.points,
            is_capping=weight.cap is not None,
            needs_person=policy == InsufficientPolicy.NO_POINTS,
        )
    if verdict.earned is not None:
        earned = min(max(Decimal(repr(verdict.earned)) * 100, Decimal(0)), full)
    elif outcome is Outcome.PARTIAL:
        earned = full / 2
    else:
        earned = full if outcome is Outcome.PASS else Decimal(0)
    is_capping = outcome is Outcome.FAIL and weight.cap is not None
    return Part(weight.key, outcome, earned, weight.points, is_capping=is_capping)


_SHARES: dict[tuple[Weight, Outcome, bool, bool], Part] = {}


def _share_cached(weight: Weight, verdict: Verdict) -> Part:
    """As `_share`; the shares of plain outcomes are few and made once."""
    if verdict.earned is not None:
        return _share(weight, verdict)
    key = (weight, verdict.outcome, verdict.is_late, verdict.is_suspended)
    part = _SHARES.get(key)
    if part is None:
        if len(_SHARES) > 10_000:
            _SHARES.clear()
        part = _SHARES[key] = _share(weight, verdict)
    return part


def add_up(weights: Sequence[Weight], verdicts: Sequence[Verdict], lines: Lines) -> Total:
    """Total of one order. Verdicts stand in the order of the weights."""
    parts = tuple(_share_cached(w, v) for w, v in zip(weights, verdicts, strict=True))
    total, left_out, cap = Decimal(0), 0, None
    for weight, part in zip(weights, parts, strict=True):
        total += part.points
        if part.is_left_out:
            left_out += part.maximum
        elif part.is_capping and weight.cap is not None:
            cap = weight.cap if cap is None else min(cap, weight.cap)
    scale = sum(w.points for w in weights) - left_out
    if left_out:
        total = total * FULL_SCORE / scale if scale > 0 else Decimal(FULL_SCORE)
    uncapped = _round(total)
    score = uncapped if cap is None else min(uncapped, cap)
    return Total(
        score, uncapped, cap, lines.band_of(score), parts, scale if left_out else FULL_SCORE
    )


def judge_value(points: int, earned: float) -> Outcome:
    """The outcome of a 计分 that came out as a number; points in hundredths."""
    if earned <= 0:
        return Outcome.FAIL
    return Outcome.PASS if Decimal(repr(earned)) * 100 >= points else Outcome.PARTIAL


def format_points(hundredths: Decimal | int) -> str:
    """Points for people: 70, 69.99, 3.3333; never rounded up to a neighbouring whole number."""
    amount = Decimal(hundredths) / 100
    text = f"{amount:.4f}".rstrip("0").rstrip(".")
    return text or "0"


def format_score(score_hundredths: int) -> str:
    """A stored score for people: 70, 69.99."""
    return format_points(score_hundredths)


def sum_text(total: Total) -> str:
    """The sum as printed: "20 + 0 + 25 + 15 + 10 = 70 → 封顶 49"."""
    parts = [format_points(part.points) for part in total.parts if not part.is_left_out]
    text = " + ".join(parts) or "0"
    if total.scale != FULL_SCORE:
        raw = sum((part.points for part in total.parts), Decimal(0))
        text += f" = {format_points(raw)} ÷ {format_points(total.scale)} × 100"
    text += f" = {format_score(total.uncapped_hundredths)}"
    if total.score_hundredths < total.uncapped_hundredths:
        text += f" → 封顶 {format_score(total.score_hundredths)}"
    return text


# --- what a set of lines and caps can see ---------------------------------------------------------

MAX_ENUMERATED: Final = 14


def _score_failing(weights: Sequence[Weight], failing: Mapping[str, bool], lines: Lines) -> Total:
    verdicts = [
        Verdict(Outcome.FAIL if failing.get(weight.key) else Outcome.PASS) for weight in weights
    ]
    return add_up(weights, verdicts, lines)


def count_combinations(weights: Sequence[Weight], lines: Lines) -> dict[str, int] | None:
    """Bands over all combinations of passing and failing; None for too many dimensions."""
    if len(weights) > MAX_ENUMERATED:
        return None
    counts = dict.fromkeys((str(band) for band in Band), 0)
    keys = [weight.key for weight in weights]
    for bits in product((False, True), repeat=len(weights)):
        total = _score_failing(weights, dict(zip(keys, bits, strict=True)), lines)
        counts[total.band] += 1
    return counts


def list_blind_spots(
    weights: Sequence[Weight], lines: Lines, *, largest: int = 3, limit: int = 200
) -> list[tuple[str, ...]]:
    """Keys of dimensions that may fail together while the order stays 健康; smallest first."""
    found: list[tuple[str, ...]] = []
    for size in range(1, min(largest, len(weights)) + 1):
        for group in combinations(weights, size):
            failing = {weight.key: True for weight in group}
            if _score_failing(weights, failing, lines).band is Band.HEALTHY:
                found.append(tuple(failing))
                if len(found) >= limit:
                    return found
    return found
