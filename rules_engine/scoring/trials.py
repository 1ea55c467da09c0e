"""A draft tried out: one dimension on real orders, a whole set over all open ones. Writes nothing.

`try_dimension` and `trace_dimension` take a dimension that is still being written; other parts of
its draft may be broken. `compare_open_orders` walks in steps, so that a page can show how far it
is; the moves of two steps add up with `Moves.merge`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from connectors.orders.models import Order
from rules_engine.facts.collect import Setting, Standing, Values, describe_orders, read_setting
from rules_engine.facts.related import NOTHING
from rules_engine.facts.services import describe_values, get_names, load_facts, open_personal
from rules_engine.formula import Checked, Names, TracePart, Value
from rules_engine.rules.content import DEFAULT_LINES, Problem, check_content
from rules_engine.rules.drafts import NEW_DIMENSION
from rules_engine.rules.services import Dimension, RuleSet, compile_dimension, compile_rule_set
from rules_engine.scoring.bands import SEVERITY, Lines, Outcome, list_blind_spots
from rules_engine.scoring.judging import Judge, Judgement, list_failed, weights_of
from rules_engine.scoring.services import make_completer, make_labels, make_prefetch

STEP = 500  # orders read at once
SAMPLES_PER_CELL = 10
MAX_SAMPLES = 60  # over all cells: they travel in an address


# --- one dimension on some orders -----------------------------------------------------------------


@dataclass(frozen=True)
class Trial:
    """What a dimension says of one order; `values` are (label, text) of the facts it reads."""

    order: Order
    outcome: str
    points_hundredths: int
    reason: str
    values: list[tuple[str, str]]


@dataclass(frozen=True)
class Trace:
    """Every part of a formula on one order. `hidden` are the places of parts with personal text."""

    checked: Checked
    parts: tuple[TracePart, ...]
    hidden: frozenset[tuple[int, int]]


def clean_dimension(dimension: Mapping[str, Any]) -> Dimension:
    """A dimension as far as it is written, ready to run; without a plan while its formula is bad."""
    names = get_names()
    one = {"name": "-", "lines": dict(DEFAULT_LINES), "dimensions": [dict(dimension)]}
    clean, _problems = check_content(one, names)
    # The text as typed, not the stored form: positions of the trace are those on the page.
    return compile_dimension({**clean["dimensions"][0], "stored": ""}, names)


class Bench:
    """One dimension and everything needed to run it at a moment (five queries)."""

    def __init__(self, dimension: Dimension, *, now: datetime) -> None:
        self.dimension = dimension
        self.setting: Setting = read_setting()
        self.completer = make_completer(self.setting, now)
        self.prefetch = make_prefetch([self.dimension], self.setting, self.completer)
        rules = _only(self.dimension)
        feeds, clock = self.completer.feeds, self.completer.now
        self.judge = Judge(rules, feeds, clock, make_labels(self.setting))

    def values_of(self, orders: Sequence[Order]) -> Iterator[tuple[Order, Values]]:
        """The facts of each order, described anew (three queries)."""
        described = describe_orders(orders, self.setting)
        extras = self.prefetch.fetch([order.pk for order in orders])
        for order in orders:
            standing = Standing(order.source_id, order.node, order.node_entered_at)
            extra = extras.get(order.pk, NOTHING).values
            yield order, self.completer.complete(described[order.pk], standing, extra)


def _only(dimension: Dimension) -> RuleSet:
    return RuleSet(
        name="-",
        yellow=70_00,
        orange=60_00,
        red=50_00,
        dimensions=(dimension,),
        version_id=None,
        published_at=None,
        fact_ids=frozenset(dimension.fact_ids),
        uses_personal=False,
    )


def try_dimension(
    dimension: Mapping[str, Any], orders: Sequence[Order], *, now: datetime
) -> list[Trial]:
    """The dimension on each order, in the order given; empty while its formula cannot run."""
    bench = Bench(clean_dimension(dimension), now=now)
    if bench.dimension.plan is None:
        return []
    facts = [fact for fact in bench.setting.facts if not fact.is_personal]
    trials = []
    for order, values in bench.values_of(orders):
        judgement = bench.judge.judge(values, order.source_id)
        part = judgement.total.parts[0]
        trials.append(
            Trial(
                order=order,
                outcome=str(part.outcome),
                points_hundredths=part.points_hundredths,
                reason=judgement.judged[0].reason,
                values=describe_values(values, bench.dimension.fact_ids, facts),
            )
        )
    return trials


def trace_dimension(dimension: Mapping[str, Any], order: Order, *, now: datetime) -> Trace | None:
    """Every part of the formula with its value on one order; None while it cannot run."""
    bench = Bench(clean_dimension(dimension), now=now)
    plan, checked = bench.dimension.plan, bench.dimension.checked
    if plan is None:
        return None
    _order, values = next(bench.values_of([order]))
    parts = plan.trace(values, bench.completer.now)
    return Trace(checked, parts, _hide_personal(checked, parts, bench.setting))


# A formula of its own, as a dimension that nothing counts.
_ANY = {**NEW_DIMENSION, "key": "-", "kind": "any", "source": ""}


def try_formula(
    text: str, order: Order, *, names: Names, given: Mapping[str, Value], now: datetime
) -> Trace:
    """Any formula on one order, with the value of every part; no parts while it has errors.

    names: those of the environment, with further ones whose values are `given` (Field.id -> value).
    """
    dimension = compile_dimension({**_ANY, "formula": text}, names)
    checked = dimension.checked
    if dimension.plan is None:
        return Trace(checked, (), frozenset())
    bench = Bench(dimension, now=now)
    _order, values = next(bench.values_of([order]))
    parts = dimension.plan.trace({**values, **given}, bench.completer.now)
    return Trace(checked, parts, _hide_personal(checked, parts, bench.setting))


def _hide_personal(
    checked: Checked, parts: Sequence[TracePart], setting: Setting
) -> frozenset[tuple[int, int]]:
    """The places of parts that show what a personal fact says, or something computed from it."""
    personal = {fact.id for fact in setting.facts if fact.is_personal}
    places = [(u.start, u.end) for u in checked.uses if u.field_id in personal]
    return frozenset(
        (part.start, part.end)
        for part in parts
        if _tells(part.value) and any(part.start <= s and e <= part.end for s, e in places)
    )


def _tells(value: Value) -> bool:
    if isinstance(value, tuple):
        return any(_tells(item) for item in value)
    return isinstance(value, str | float)


# --- a whole set over the open orders -------------------------------------------------------------


@dataclass
class Cell:
    """Orders that go from one band to another; samples are (fen, public id), largest first."""

    count: int = 0
    fen: int = 0
    samples: list[tuple[int, str]] = field(default_factory=list)


@dataclass
class Moves:
    """Band x band; the band before is "" for orders that have no score yet."""

    cells: dict[tuple[str, str], Cell] = field(default_factory=dict)
    looked_at: int = 0
    last_id: int = 0

    def add(self, before: str, after: str, fen: int, public_id: str) -> None:
        """Count one order."""
        cell = self.cells.setdefault((before, after), Cell())
        cell.count += 1
        cell.fen += fen
        if before != after:
            cell.samples.append((fen, public_id))
            if len(cell.samples) > 4 * SAMPLES_PER_CELL:
                self.trim()

    def trim(self) -> None:
        """Keep the largest amounts of every cell, few enough for an address."""
        moved = [cell for cell in self.cells.values() if cell.samples]
        keep = min(SAMPLES_PER_CELL, MAX_SAMPLES // max(1, len(moved)))
        for cell in moved:
            cell.samples = sorted(cell.samples, key=lambda s: (-s[0], s[1]))[:keep]

    @property
    def moved(self) -> int:
        """Orders whose band would change; a first score is no change."""
        return sum(cell.count for _cell, cell in self._moved())

    def _moved(self) -> list[tuple[tuple[str, str], Cell]]:
        return [(key, c) for key, c in self.cells.items() if key[0] and key[0] != key[1]]

    def list_samples(self, limit: int = SAMPLES_PER_CELL) -> list[str]:
        """The most telling moved orders: the worst bands first, then the largest amounts."""
        found = [
            (-SEVERITY[after], -SEVERITY[before], -fen, public_id)
            for (before, after), cell in self._moved()
            for fen, public_id in cell.samples
        ]
        return [public_id for *_rest, public_id in sorted(found)[:limit]]


_ROW = (
    "pk",
    "public_id",
    "source_id",
    "node",
    "node_entered_at",
    "revision",
    "paid_fen",
    "payable_fen",
    "score__band",
    "score__revision",
    "fact_snapshot__revision",
    "fact_snapshot__form",
    "fact_snapshot__facts",
    "fact_snapshot__personal_sealed",
)


def compile_draft(content: Mapping[str, Any]) -> tuple[RuleSet | None, list[Problem]]:
    """A draft ready to run, or None and the problems that keep it from running."""
    names = get_names()
    clean, problems = check_content(content, names)
    refusals = [problem for problem in problems if problem.refuses]
    return (None if refusals else compile_rule_set(clean, names=names)), refusals


class Comparison:
    """A draft against the scores in force, at one moment (five queries to set up)."""

    def __init__(self, rules: RuleSet, *, now: datetime) -> None:
        self.rules = rules
        self.setting: Setting = read_setting()
        self.completer = make_completer(self.setting, now)
        self.prefetch = make_prefetch(rules.dimensions, self.setting, self.completer)
        feeds, clock = self.completer.feeds, self.completer.now
        self.judge = Judge(rules, feeds, clock, make_labels(self.setting))

    def take_step(self, moves: Moves) -> bool:
        """Add the next STEP open orders; False when there are no more."""
        query = Order.objects.filter(is_open=True, pk__gt=moves.last_id).order_by("pk")
        rows = [dict(zip(_ROW, row, strict=True)) for row in query.values_list(*_ROW)[:STEP]]
        for row, values in self._with_values(rows):
            total = self.judge.judge_compiled(values, row["source_id"]).total
            before = row["score__band"] if row["score__revision"] else ""
            fen = row["paid_fen"] or row["payable_fen"] or 0
            moves.add(before or "", str(total.band), fen, row["public_id"])
        if rows:
            moves.looked_at += len(rows)
            moves.last_id = rows[-1]["pk"]
        moves.trim()
        return len(rows) == STEP

    def _with_values(
        self, rows: Sequence[dict[str, Any]]
    ) -> Iterator[tuple[dict[str, Any], Values]]:
        form = self.setting.describer.form
        stale = [
            row["pk"]
            for row in rows
            if row["fact_snapshot__revision"] != row["revision"]
            or row["fact_snapshot__form"] != form
        ]
        fresh = (
            describe_orders(list(Order.objects.filter(pk__in=stale)), self.setting) if stale else {}
        )
        extras = self.prefetch.fetch([row["pk"] for row in rows])
        for row in rows:
            stored = fresh.get(row["pk"])
            if stored is None:
                stored = load_facts(row["fact_snapshot__facts"])
                if self.rules.uses_personal:
                    stored |= open_personal(row["fact_snapshot__personal_sealed"])
            standing = Standing(row["source_id"], row["node"], row["node_entered_at"])
            extra = extras.get(row["pk"], NOTHING).values
            yield row, self.completer.complete(stored, standing, extra)

    def look_at(self, orders: Sequence[Order]) -> list[MovedOrder]:
        """Before and after of some orders (fetched with their score), in the order given."""
        described = describe_orders(orders, self.setting)
        extras = self.prefetch.fetch([order.pk for order in orders])
        found = []
        for order in orders:
            standing = Standing(order.source_id, order.node, order.node_entered_at)
            extra = extras.get(order.pk, NOTHING).values
            values = self.completer.complete(described[order.pk], standing, extra)
            judgement = self.judge.judge(values, order.source_id)
            score = getattr(order, "score", None)
            score = score if score is not None and score.revision else None
            found.append(
                MovedOrder(
                    order=order,
                    before_band=score.band if score else "",
                    before_hundredths=score.score_hundredths if score else None,
                    after_band=str(judgement.total.band),
                    after_hundredths=judgement.total.score_hundredths,
                    reason=self._explain(judgement, _failing_before(score)),
                )
            )
        return found

    def _explain(self, judgement: Judgement, before: Mapping[str, str]) -> str:
        """Why the score differs: the dimension that newly costs most, or those that no longer do."""
        failed = {f.key: f for f in list_failed(self.rules, judgement)}
        reasons = {
            d.key: j.reason or d.name
            for d, j in zip(self.rules.dimensions, judgement.judged, strict=True)
        }
        new = [f for key, f in failed.items() if key not in before] or list(failed.values())
        if new and (not before or any(f.key not in before for f in new)):
            worst = min(
                new, key=lambda f: (f.cap if f.cap is not None else 1_000_000, -f.lost_hundredths)
            )
            return reasons[worst.key]
        mended = [name for key, name in before.items() if key not in failed]
        if mended:
            return f"「{'」「'.join(mended)}」不再不通过"
        return reasons[new[0].key] if new else ""


@dataclass(frozen=True)
class MovedOrder:
    """One order before and after."""

    order: Order
    before_band: str
    before_hundredths: int | None
    after_band: str
    after_hundredths: int
    reason: str


def _failing_before(score: Any) -> dict[str, str]:
    """Key -> name of what fails in a stored score."""
    if score is None:
        return {}
    keys = set(score.failing.split(",")) - {""}
    return {row["key"]: row["name"] for row in score.dimensions if row["key"] in keys}


# --- what nobody would see ------------------------------------------------------------------------


@dataclass(frozen=True)
class BlindSpot:
    """Dimensions that may fail together while the order stays 健康, and its score then.

    The name of one that has none yet is empty.
    """

    names: tuple[str, ...]
    score_hundredths: int


def find_blind_spots(content: Mapping[str, Any]) -> list[BlindSpot] | None:
    """The blind spots of a draft, smallest first; None while it does not add up."""
    names = get_names()
    clean, problems = check_content(content, names)
    if any(p.refuses and p.part in _DECIDING for p in problems) or not clean.get("dimensions"):
        return None
    rules = compile_rule_set(clean, names=names)
    weights = weights_of(rules.dimensions)
    lines = Lines(rules.yellow, rules.orange, rules.red)
    largest = 3 if len(weights) <= 16 else 2 if len(weights) <= 30 else 1
    labels = {d.key: "" if d.name == d.key else d.name for d in rules.dimensions}
    points = {w.key: w.points for w in weights}
    return [
        BlindSpot(tuple(labels[k] for k in keys), 100_00 - sum(points[k] for k in keys))
        for keys in list_blind_spots(weights, lines, largest=largest, limit=100)
    ]


_DECIDING = frozenset({"points", "cap", "sum", "lines", "dimensions", "key"})


def count_outcomes(trials: Iterable[Trial]) -> dict[str, int]:
    """How many trials came out how, in the order of DESIGN."""
    counts = dict.fromkeys((str(o) for o in Outcome), 0)
    for trial in trials:
        counts[trial.outcome] += 1
    return counts
