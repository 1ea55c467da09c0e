"""One order's values -> verdicts -> total: the rules run, nothing is read or written."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rules_engine.facts.catalog import FACTS, HIDDEN, PASSAGES, SOURCE_LABELS
from rules_engine.facts.collect import Feeds
from rules_engine.formula import UNKNOWN, ErrorValue, Names, Result, Value
from rules_engine.rules.services import Dimension, RuleSet, describe_source
from rules_engine.scoring.bands import (
    SEVERITY,
    Band,
    FailedDimension,
    InsufficientPolicy,
    Lines,
    Outcome,
    Total,
    Verdict,
    Weight,
    add_up,
    judge_value,
)

logger = logging.getLogger(__name__)

_OUTCOME = {
    Result.PASS: Outcome.PASS,
    Result.PARTIAL: Outcome.PARTIAL,
    Result.FAIL: Outcome.FAIL,
    Result.INSUFFICIENT: Outcome.INSUFFICIENT,
    Result.NOT_APPLICABLE: Outcome.NOT_APPLICABLE,
}
_MAX_TOTALS = 4096  # kept per pass
_PASSED, _FAILED = Verdict(Outcome.PASS), Verdict(Outcome.FAIL)
_SOURCE_OF = {fact.id: fact.source for fact in (*FACTS, *HIDDEN)}
CAUSE_INSUFFICIENT = "数据不足"


@dataclass(frozen=True, slots=True)
class Judged:
    """One dimension of one order: verdict, reason for people, facts that were unknown."""

    verdict: Verdict
    reason: str = ""
    unknown: tuple[str, ...] = ()


_PLAIN_PASS = Judged(_PASSED)


@dataclass(frozen=True, slots=True)
class Judgement:
    """One order: its dimensions and the total."""

    judged: tuple[Judged, ...]
    total: Total


@dataclass(frozen=True, slots=True)
class Before:
    """How an order stood when it was last scored."""

    band: str
    needs_intervention: bool


def _is_worse(total: Total, before: Before | None) -> bool:
    """Whether somebody may act on this who would not have acted before."""
    needs = total.band is not Band.HEALTHY or total.cap_hundredths is not None or total.needs_person
    if not needs:
        return False
    if before is None or not before.needs_intervention:
        return True
    return SEVERITY[total.band] > SEVERITY[Band(before.band)]


class Judge:
    """A rule set at one moment; made once per pass."""

    def __init__(self, rules: RuleSet, feeds: Feeds, now: float, labels: Mapping[str, str]) -> None:
        self.rules, self.feeds, self.now, self.labels = rules, feeds, now, labels
        self.weights = weights_of(rules.dimensions)
        self.lines = Lines(rules.yellow, rules.orange, rules.red)
        self.sources = dict(_SOURCE_OF)
        self._settled: dict[int | None, tuple[Judged | None, ...]] = {}  # by source
        self._totals: dict[tuple[Verdict, ...], Total] = {}
        self.trips: list[str] = []  # keys of dimensions that ran into a limit; the pass empties it

    def judge(self, values: Mapping[str, Value], source_id: int | None) -> Judgement:
        """All dimensions of one order by the row plan, which is the reference."""
        return self._judge_by(values, source_id, {})

    def judge_compiled(self, values: Mapping[str, Value], source_id: int | None) -> Judgement:
        """The same by the compiled plan: for many orders, and where nothing acts on the answer."""
        return self._judge_by(values, source_id, self.rules.evaluate(values, self.now))

    def judge_confirmed(
        self,
        values: Mapping[str, Value],
        source_id: int | None,
        *,
        order_id: int,
        before: Before | None,
    ) -> Judgement:
        """By the compiled plan; a worse answer is confirmed by the row plan before it acts.

        `before` is how the order stood, None when it has no score. Where the two disagree the row
        plan's answer stands and the disagreement is logged as an error of ours.
        """
        start = len(self.trips)
        quick = self.judge_compiled(values, source_id)
        if not _is_worse(quick.total, before):
            return quick
        del self.trips[start:]  # the confirmation counts them
        sure = self.judge(values, source_id)
        if sure != quick:
            wrong = [
                d.key
                for d, ours, theirs in zip(
                    self.rules.dimensions, sure.judged, quick.judged, strict=True
                )
                if ours != theirs
            ]
            logger.error(
                "plans disagree on order %s, rule version %s, dimensions %s: the row plan stands",
                order_id,
                self.rules.version_id,
                ", ".join(wrong),
            )
        return sure

    def _judge_by(
        self, values: Mapping[str, Value], source_id: int | None, found: Mapping[str, Value]
    ) -> Judgement:
        """found: dimension key -> value known already; the others are evaluated here."""
        settled = self._settled.get(source_id)
        if settled is None:
            settled = self._settled[source_id] = tuple(
                self._settle(d, source_id) for d in self.rules.dimensions
            )
        judged = tuple(
            [
                self._judge_one(d, values, source_id, found) if known is None else known
                for d, known in zip(self.rules.dimensions, settled, strict=True)
            ]
        )
        return Judgement(judged, self._add_up(tuple([j.verdict for j in judged])))

    def _add_up(self, verdicts: tuple[Verdict, ...]) -> Total:
        """The total; orders whose dimensions all said the same share it."""
        total = self._totals.get(verdicts)
        if total is None:
            if len(self._totals) >= _MAX_TOTALS:
                self._totals.clear()
            total = self._totals[verdicts] = add_up(self.weights, verdicts, self.lines)
        return total

    def _settle(self, dimension: Dimension, source_id: int | None) -> Judged | None:
        """What is said of a dimension whatever the order, None when its formula has to run."""
        if dimension.suspended:
            return Judged(Verdict(Outcome.INSUFFICIENT, is_suspended=True), dimension.suspended)
        for kind in dimension.sources:
            if not self.feeds.state(kind, source_id).is_connected:
                return _not_connected((kind,))
        if dimension.plan is None:
            return Judged(
                Verdict(Outcome.INSUFFICIENT), f"公式已不能使用：{dimension.broken}"[:300]
            )
        return None

    def judge_one(
        self, dimension: Dimension, values: Mapping[str, Value], source_id: int | None
    ) -> Judged:
        """One dimension of one order by the row plan."""
        settled = self._settle(dimension, source_id)
        return self._judge_one(dimension, values, source_id, {}) if settled is None else settled

    def _judge_one(
        self,
        dimension: Dimension,
        values: Mapping[str, Value],
        source_id: int | None,
        found: Mapping[str, Value],
    ) -> Judged:
        if dimension.key in found:
            value = found[dimension.key]
        elif dimension.plan is not None:
            value = dimension.plan.evaluate(values, self.now)
        else:
            raise AssertionError("a dimension without a plan is settled before")
        if value is True or value is Result.PASS:
            return _PLAIN_PASS
        if value is False or value is Result.FAIL:
            return Judged(_FAILED, self._reason(dimension, values) or f"{dimension.name}不通过")
        if isinstance(value, Result):
            return self._by_result(dimension, value, values, source_id)
        if isinstance(value, float) and dimension.kind == "points":
            outcome = judge_value(dimension.points_hundredths, value)
            if outcome is Outcome.PASS:
                return Judged(Verdict(outcome, value))
            reason = self._reason(dimension, values)
            if outcome is Outcome.FAIL:
                reason = reason or f"{dimension.name}不通过"
            return Judged(Verdict(outcome, value), reason)
        return self._insufficient(dimension, value, values, source_id)

    def _reason(self, dimension: Dimension, values: Mapping[str, Value]) -> str:
        return dimension.write_reason(values, self.now)

    def _by_result(
        self,
        dimension: Dimension,
        value: Result,
        values: Mapping[str, Value],
        source_id: int | None,
    ) -> Judged:
        if value is Result.INSUFFICIENT:
            return self._insufficient(dimension, value, values, source_id)
        reason = self._reason(dimension, values) if value is Result.PARTIAL else ""
        return Judged(Verdict(_OUTCOME[value]), reason)

    def _insufficient(
        self,
        dimension: Dimension,
        value: Value,
        values: Mapping[str, Value],
        source_id: int | None,
    ) -> Judged:
        """数据不足: because a source is not connected, or late, or although all are fresh."""
        if value is ErrorValue.LIMIT:
            self.trips.append(dimension.key)
        unknown = tuple(id for id in dimension.fact_ids if values.get(id, UNKNOWN) is UNKNOWN)
        missing, late = self._blame(dimension, unknown, value, source_id)
        names = tuple(self.labels.get(id, id) for id in unknown)
        if missing:
            return _not_connected(missing, names)
        if late:
            text = f"{describe_source(late)}数据滞后，暂不能判断"
            return Judged(Verdict(Outcome.INSUFFICIENT, is_late=True), text, names)
        return Judged(Verdict(Outcome.INSUFFICIENT), _explain(value, names), names)

    def _blame(
        self, dimension: Dimension, unknown: Sequence[str], value: Value, source_id: int | None
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Which kinds of source are to blame: those not connected, else those late.

        A formula's own 数据不足() is put down to any late source it reads, an error to none but
        those of facts that are unknown.
        """
        # A row may be unknown although its rows are not: then every feed they come from is doubtful.
        is_own = value is Result.INSUFFICIENT or (value is UNKNOWN and not unknown)
        doubtful = dimension.fact_ids if is_own else unknown
        kinds = dict.fromkeys(kind for id in doubtful if (kind := _source_of(id)))
        if is_own and PASSAGES in doubtful:
            kinds |= {kind: None for kind in SOURCE_LABELS if self._tells(kind, source_id)}
        states = {kind: self.feeds.state(kind, source_id) for kind in kinds}
        return (
            tuple(k for k, s in states.items() if not s.is_connected),
            tuple(k for k, s in states.items() if s.is_connected and s.is_late),
        )

    def _tells(self, kind: str, source_id: int | None) -> bool:
        """Whether a kind of feed is there to tell of an order's way."""
        return self.feeds.state(kind, source_id).is_connected


def _source_of(id: str) -> str:
    return _SOURCE_OF.get(id, "channel")


def _not_connected(kinds: Sequence[str], names: tuple[str, ...] = ()) -> Judged:
    return Judged(Verdict(Outcome.NOT_APPLICABLE), f"未接入{describe_source(kinds)}", names)


def _explain(value: Value, names: tuple[str, ...]) -> str:
    """Why a formula gave no verdict although every source is fresh."""
    if isinstance(value, ErrorValue):
        return f"公式得出 {value.code}：{value.label}"
    if value is UNKNOWN:
        return f"缺少：{'、'.join(names)}" if names else "有未知的数据"
    if value is Result.INSUFFICIENT:
        return f"数据不足，缺少：{'、'.join(names)}" if names else "数据不足"
    if value is None:
        return "公式得出空值，不能判断"
    kind = "“是/否”" if isinstance(value, bool) else "数字" if isinstance(value, float) else "文本"
    return f"公式得出的是{kind}，不是这一项要的结果"


def weights_of(dimensions: Sequence[Dimension]) -> tuple[Weight, ...]:
    """The weights of a rule set, in its order."""
    return tuple(
        Weight(
            key=d.key,
            points=d.points_hundredths,
            cap=d.cap_hundredths,
            when_insufficient=d.when_insufficient,
            when_late=d.when_late,
            when_not_applicable=d.when_not_applicable,
        )
        for d in dimensions
    )


def list_failed(rules: RuleSet, judgement: Judgement) -> list[FailedDimension]:
    """What costs an order its points: failing dimensions, and missing facts that earned nothing."""
    failed = []
    for dimension, part in zip(rules.dimensions, judgement.total.parts, strict=True):
        is_fail = part.outcome is Outcome.FAIL
        earns_nothing = part.outcome is Outcome.INSUFFICIENT and (
            part.needs_person or part.points < part.maximum or part.is_capping
        )
        if not is_fail and not earns_nothing and part.outcome is not Outcome.PARTIAL:
            continue
        counts_as_fail = is_fail or (
            earns_nothing
            and not dimension.suspended
            and dimension.when_insufficient == InsufficientPolicy.FAIL
        )
        failed.append(
            FailedDimension(
                key=dimension.key,
                name=dimension.name,
                cause=dimension.cause
                if counts_as_fail or part.outcome is Outcome.PARTIAL
                else CAUSE_INSUFFICIENT,
                outcome=Outcome.FAIL if counts_as_fail else str(part.outcome),
                cap=dimension.cap_hundredths if part.is_capping else None,
                lost_hundredths=part.maximum - part.points_hundredths,
            )
        )
    return failed


def write_dimensions(rules: RuleSet, judgement: Judgement) -> list[dict[str, Any]]:
    """The dimensions of a score as stored and shown."""
    return [
        {
            "key": dimension.key,
            "name": dimension.name,
            "result": str(part.outcome),
            "points_hundredths": part.points_hundredths,
            "max": part.maximum,
            "cap": dimension.cap_hundredths,
            "reason": judged.reason,
            "cause": dimension.cause if part.outcome in (Outcome.FAIL, Outcome.PARTIAL) else "",
            "is_capping": part.is_capping,
            "is_late": judged.verdict.is_late,
            "needs_person": part.needs_person,
            "unknown_facts": list(judged.unknown),
        }
        for dimension, judged, part in zip(
            rules.dimensions, judgement.judged, judgement.total.parts, strict=True
        )
    ]


def labels_of(names: Names) -> dict[str, str]:
    """Fact id -> label."""
    return {field.id: field.label for field in names.fields}
