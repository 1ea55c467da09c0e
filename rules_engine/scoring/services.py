"""`score_orders()`: facts -> verdicts -> scores, in bulk, written by compare-and-set.

A pass reads one row per order (order, snapshot and score joined), takes snapshots again only where
the revision moved, and writes only what changed. An older result never overwrites a newer one:
newer by revision, then by rule version, then by time.
"""

from __future__ import annotations

import hashlib
import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from celery.exceptions import SoftTimeLimitExceeded
from django.db import connection, transaction
from django.db.models import F, Q

from config.tenancy.bulk import upsert_rows
from connectors.orders.models import Order
from rules_engine.facts.catalog import CALENDARS
from rules_engine.facts.collect import (
    CHUNK,
    Completer,
    Setting,
    Standing,
    Values,
    describe_orders,
    read_feeds,
    read_setting,
    standings_as_of,
)
from rules_engine.facts.related import NOTHING, Prefetch, digest_with
from rules_engine.facts.services import (
    Snapshot,
    load_facts,
    open_personal,
    store_snapshots,
    take_snapshots,
)
from rules_engine.facts.tables import newest_publication
from rules_engine.rules.needs import prefetched_ids
from rules_engine.rules.services import (
    Dimension,
    RuleSet,
    get_active_rule_set,
    get_active_version,
    get_rule_set,
)
from rules_engine.scoring.bands import Band, FailedDimension, Outcome, sum_text
from rules_engine.scoring.guard import CHUNK_BYTES, CHUNK_SECONDS, OutOfTime, limits
from rules_engine.scoring.judging import (
    CAUSE_INSUFFICIENT,
    Before,
    Judge,
    Judgement,
    list_failed,
    write_dimensions,
)
from rules_engine.scoring.models import Score, ScoreChange
from rules_engine.scoring.silence import Silence
from rules_engine.scoring.suspensions import Limit, Watch, find_culprits

logger = logging.getLogger(__name__)

_Prepared = tuple[dict[str, Any], Values, str]  # row, values, digest
Classify = Callable[[Sequence[FailedDimension], str], str]

_ORDER = (
    "pk",
    "revision",
    "source_id",
    "channel",
    "stage",
    "is_open",
    "node",
    "node_entered_at",
    "placed_at",
    "presale_phase",
    "balance_due_at",
    "group_state",
)
_SNAPSHOT = tuple(
    f"fact_snapshot__{name}" for name in ("revision", "form", "facts", "personal_sealed", "digest")
)
_SCORE = tuple(
    f"score__{name}"
    for name in (
        "revision",
        "version_id",
        "version__published_at",
        "scored_at",
        "score_hundredths",
        "band",
        "cause",
        "failing",
        "needs_intervention",
        "is_silent",
        "state_digest",
        "fact_digest",
    )
)
_COLUMNS = (*_ORDER, *_SNAPSHOT, *_SCORE)
_SCORE_UPDATE = (
    "score_hundredths",
    "uncapped_hundredths",
    "cap_hundredths",
    "band",
    "sum_text",
    "dimensions",
    "failing",
    "cause",
    "needs_intervention",
    "is_silent",
    "revision",
    "version_id",
    "fact_digest",
    "state_digest",
    "scored_at",
)
_CHANGE_COLUMNS = (
    "order_id",
    "at",
    "until",
    "score_hundredths",
    "band",
    "cause",
    "needs_intervention",
    "is_silent",
    "why",
    "version_id",
    "revision",
    "failing",
    "changed_dimensions",
)


@dataclass(frozen=True, slots=True)
class ScoredOrder:
    """What scoring did to one order.

    `is_uncertain`: some dimension is 数据不足 because its source is late, so that a better band
    may be ignorance, not recovery. `changed`: the health history got a row.
    """

    order_id: int
    before_band: str | None
    after_band: str
    cause: str
    score_hundredths: int
    changed: bool
    is_first: bool
    needs_intervention: bool
    is_uncertain: bool


class Scored(list[ScoredOrder]):
    """The orders scored; `failed_ids` are orders whose own error kept them from being scored."""

    def __init__(self) -> None:
        super().__init__()
        self.failed_ids: list[int] = []


# --- which orders are due -------------------------------------------------------------------------


def list_due_order_ids(
    *, limit: int | None = None, after_id: int = 0, only_changed: bool = False
) -> list[int]:
    """Ids of orders to score, ascending: never scored, changed since, or (clock, rules) open.

    `only_changed` leaves out open orders that are due for the clock only; new rules, and a new
    version of a lookup table that the rules use, are changes. An order that is over is
    scored once more after its last change and then left alone, whatever rules come.
    """
    due = Q(score__isnull=True) | Q(score__revision__lt=F("revision"))
    if only_changed:
        version = get_active_version()
        if version is not None:
            moved = ~Q(score__version_id=version.pk)
            if published := tables_published_at(get_rule_set(version)):
                moved |= Q(score__scored_at__lt=published)
            due |= Q(is_open=True) & moved
    else:
        due |= Q(is_open=True)
    query = Order.objects.filter(due, pk__gt=after_id).order_by("pk").values_list("pk", flat=True)
    return list(query[:limit] if limit else query)


def tables_published_at(rules: RuleSet) -> datetime | None:
    """When the newest of the tables a rule set reads came into force (no query without any)."""
    needed = prefetched_ids(rules.dimensions)
    keys = {id.removeprefix("table:") for id in needed if id.startswith("table:")}
    keys |= {key for id, key in CALENDARS.items() if id in needed}
    return newest_publication(keys) if keys else None


# --- the pass -------------------------------------------------------------------------------------


def score_orders(
    order_ids: Sequence[int],
    *,
    now: datetime,
    why: str,
    classify: Classify,
    as_of: datetime | None = None,
) -> Scored:
    """Score orders with the published rules at `now` (or as of a moment of the past).

    Runs in the scope in force and joins its transaction. Returns the orders that were scored, in
    the order of their ids; without published rules nothing is scored. One order's error stays that
    order's: it keeps its old score, is logged with its id, and is listed in `failed_ids`.
    """
    scored = Scored()
    rules = get_active_rule_set()
    if rules is None or not order_ids:
        return scored
    run = _Pass(rules, now=now, why=why, classify=classify, as_of=as_of)
    ids = sorted(set(order_ids))
    with transaction.atomic():
        for start in range(0, len(ids), CHUNK):
            run.score_chunk(ids[start : start + CHUNK], scored)
    if scored.failed_ids:
        logger.error("scoring failed for %d of %d orders", len(scored.failed_ids), len(ids))
    return scored


@dataclass(frozen=True, slots=True)
class _Outcome:
    """One order's new result beside the row it came from."""

    row: Mapping[str, Any]
    judgement: Judgement
    cause: str
    failing: tuple[str, ...]
    is_silent: bool
    needs_intervention: bool
    digest: str
    state_digest: str

    @property
    def is_first(self) -> bool:
        """Whether the order had no score."""
        return not self.row["score__revision"]

    @property
    def is_change(self) -> bool:
        """Whether something a person can see differs from the stored score."""
        total = self.judgement.total
        after = (
            total.score_hundredths,
            str(total.band),
            self.cause,
            ",".join(self.failing),
            self.needs_intervention,
            self.is_silent,
        )
        return self.is_first or after != tuple(self.row[name] for name in _COMPARED)


def _report(outcome: _Outcome) -> ScoredOrder:
    total = outcome.judgement.total
    return ScoredOrder(
        order_id=outcome.row["pk"],
        before_band=None if outcome.is_first else outcome.row["score__band"],
        after_band=str(total.band),
        cause=outcome.cause,
        score_hundredths=total.score_hundredths,
        changed=outcome.is_change,
        is_first=outcome.is_first,
        needs_intervention=outcome.needs_intervention,
        is_uncertain=any(j.verdict.is_late for j in outcome.judgement.judged),
    )


class _Pass:
    """What all chunks of one pass share."""

    def __init__(
        self,
        rules: RuleSet,
        *,
        now: datetime,
        why: str,
        classify: Classify,
        as_of: datetime | None,
    ) -> None:
        self.now, self.why, self.classify, self.as_of = now, why, classify, as_of
        self.moment = as_of or now
        self.setting: Setting = read_setting()
        self.completer = make_completer(self.setting, self.moment)
        self.prefetch = make_prefetch(rules.dimensions, self.setting, self.completer, as_of=as_of)
        self.tables_at = tables_published_at(rules)
        feeds = self.completer.feeds
        self.watch = Watch(rules)
        self._use(rules)
        self.silence = Silence(self.setting.nodes, feeds, self.moment)
        self.form = self.setting.describer.form

    # -- reading ---------------------------------------------------------------------------------

    def score_chunk(self, ids: list[int], scored: Scored) -> None:
        rows = [
            dict(zip(_COLUMNS, row, strict=True))
            for row in Order.objects.filter(pk__in=ids).order_by("pk").values_list(*_COLUMNS)
        ]
        taken: dict[int, Snapshot] = {}
        outcomes = self._judge_all(list(self._with_values(rows, taken)), scored)
        self._write(outcomes, taken, scored)
        self.watch.save(self.now)

    def _judge_all(self, prepared: Sequence[_Prepared], scored: Scored) -> list[_Outcome]:
        """Judge a chunk within its time and memory; what it did not come to has failed."""
        outcomes: list[_Outcome] = []
        left = deque(prepared)
        try:
            with limits(CHUNK_SECONDS, CHUNK_BYTES):
                while left:
                    self._judge_one(*left[0], outcomes, scored)
                    left.popleft()
        except (OutOfTime, MemoryError) as error:
            self._give_up(left, scored, type(error).__name__)
        return outcomes

    def _judge_one(
        self,
        row: dict[str, Any],
        values: Values,
        digest: str,
        outcomes: list[_Outcome],
        scored: Scored,
    ) -> None:
        try:
            outcomes.append(self._judge(row, values, digest))
        except (OutOfTime, MemoryError, SoftTimeLimitExceeded):
            raise  # not this order's error: the chunk's, or the whole task's
        except Exception:  # noqa: BLE001 - one order's error stays that order's
            logger.exception("scoring failed for order %s", row["pk"])
            scored.failed_ids.append(row["pk"])
        if self.judge.trips:
            self._note_trips([(key, Limit.STEPS) for key in self.judge.trips], row["pk"])
            self.judge.trips.clear()

    def _note_trips(self, trips: Sequence[tuple[str, str]], order_id: int) -> None:
        """Count formulas that ran into a limit; a third time puts one out of use at once."""
        are_out = [self.watch.note(key, str(limit), order_id) for key, limit in trips]
        if any(are_out):
            self._use(self.rules)

    def _give_up(self, left: deque[_Prepared], scored: Scored, why: str) -> None:
        """The rest of a chunk after a bug of ours: reported as failed, its formula counted."""
        row, values, _ = left[0]
        logger.error("scoring a chunk stopped at order %s (%s): %d left", row["pk"], why, len(left))
        scored.failed_ids.extend(item[0]["pk"] for item in left)
        self._note_trips(
            find_culprits(self.rules.dimensions, values, self.completer.now), row["pk"]
        )

    def _use(self, rules: RuleSet) -> None:
        """Take these rules, without the formulas that are out of use."""
        self.rules = self.watch.apply(rules)
        self.judge = Judge(
            self.rules, self.completer.feeds, self.completer.now, make_labels(self.setting)
        )

    def _with_values(
        self, rows: Sequence[dict[str, Any]], taken: dict[int, Snapshot]
    ) -> Iterator[tuple[dict[str, Any], Values, str]]:
        """Rows that may be written, with the values of their facts; new snapshots go to `taken`."""
        fresh = [row for row in rows if not self._is_older(row)]
        if self.as_of is not None:
            yield from self._as_of_values(fresh)
            return
        stale = [
            row["pk"]
            for row in fresh
            if row["fact_snapshot__revision"] != row["revision"]
            or row["fact_snapshot__form"] != self.form
        ]
        if stale:
            orders = list(Order.objects.filter(pk__in=stale).order_by("pk"))
            taken.update(take_snapshots(orders, self.setting, now=self.now))
        extras = self.prefetch.fetch([row["pk"] for row in fresh])
        for row in fresh:
            if row["pk"] in taken:
                snapshot = taken[row["pk"]]
                stored, digest = snapshot.values, snapshot.digest
            else:
                stored, digest = (
                    load_facts(row["fact_snapshot__facts"]),
                    row["fact_snapshot__digest"],
                )
                if self.rules.uses_personal:
                    stored |= open_personal(row["fact_snapshot__personal_sealed"])
            standing = Standing(row["source_id"], row["node"], row["node_entered_at"])
            extra = extras.get(row["pk"], NOTHING)
            values = self.completer.complete(stored, standing, extra.values)
            yield row, values, digest_with(digest, extra)

    def _as_of_values(
        self, rows: list[dict[str, Any]]
    ) -> Iterator[tuple[dict[str, Any], Values, str]]:
        """Values of a moment of the past: described anew, never from snapshots."""
        if self.as_of is None:
            return
        orders = list(Order.objects.filter(pk__in=[row["pk"] for row in rows]))
        described = describe_orders(orders, self.setting, as_of=self.as_of)
        standing = standings_as_of(orders, self.as_of)
        extras = self.prefetch.fetch([row["pk"] for row in rows])
        for row in rows:
            node, entered = standing.get(row["pk"], ("", None))
            row["node"], row["node_entered_at"] = node, entered
            extra = extras.get(row["pk"], NOTHING)
            values = self.completer.complete(
                described[row["pk"]], Standing(row["source_id"], node, entered), extra.values
            )
            yield row, values, digest_with("", extra)

    def _is_older(self, row: Mapping[str, Any]) -> bool:
        """Whether the stored score is newer than the one this pass would write."""
        if not row["score__revision"]:
            return False
        published, ours = row["score__version__published_at"], self.rules.published_at
        if published is not None and ours is not None and published > ours:
            return True
        stored = (row["score__revision"], row["score__scored_at"])
        return bool(stored > (row["revision"], self.moment))

    # -- judging ---------------------------------------------------------------------------------

    def _judge(self, row: Mapping[str, Any], values: Values, digest: str) -> _Outcome:
        before = None
        if row["score__revision"]:
            before = Before(row["score__band"], row["score__needs_intervention"])
        judgement = self.judge.judge_confirmed(
            values, row["source_id"], order_id=row["pk"], before=before
        )
        total = judgement.total
        failing: tuple[str, ...] = ()
        cause, is_capped = "", total.cap_hundredths is not None
        if total.score_hundredths < 100_00 or total.needs_person:
            failed = list_failed(self.rules, judgement)
            failing = tuple(f.key for f in failed if f.outcome != Outcome.PARTIAL)
            if total.band is not Band.HEALTHY or is_capped:
                cause = self.classify(failed, row["node"])
            elif total.needs_person:
                cause = CAUSE_INSUFFICIENT
        is_silent = self.silence.is_silent(row)
        needs = total.band is not Band.HEALTHY or is_capped or is_silent or total.needs_person
        state = self._state_digest(judgement)
        return _Outcome(row, judgement, cause, failing, is_silent, needs, digest, state)

    def _state_digest(self, judgement: Judgement) -> str:
        """Names results and reasons, so that an unchanged score is not written again."""
        text = "".join(
            f"{part.outcome[:2]}{judged.reason}\n" if judged.reason else part.outcome[:2]
            for judged, part in zip(judgement.judged, judgement.total.parts, strict=True)
        )
        total = judgement.total
        key = f"{total.score_hundredths}/{total.uncapped_hundredths}/{total.cap_hundredths}/{text}"
        return hashlib.md5(key.encode(), usedforsecurity=False).hexdigest()

    # -- writing ---------------------------------------------------------------------------------

    def _write(
        self, outcomes: Sequence[_Outcome], taken: Mapping[int, Snapshot], scored: Scored
    ) -> None:
        moved = [o for o in outcomes if self._is_moved(o)]
        self._lock_orders({*taken, *(o.row["pk"] for o in moved)})
        store_snapshots(taken.values())
        lost = self._lose_races(moved)
        moved = [o for o in moved if o.row["pk"] not in lost]
        upsert_rows(
            Score,
            columns=["order_id", *_SCORE_UPDATE],
            rows=[self._score_row(o) for o in moved],
            conflict=["order_id"],
            update=_SCORE_UPDATE,
        )
        firsts = [o.row["pk"] for o in moved if o.row["score__state_digest"] is None]
        if firsts:
            Order.objects.filter(pk__in=firsts, first_scored_at__isnull=True).update(
                first_scored_at=self.moment
            )
        changes = [self._change_row(o) for o in moved if o.is_change]
        if changes:
            ids = [change[0] for change in changes]
            ScoreChange.objects.filter(order_id__in=ids, until__isnull=True).update(
                until=self.moment
            )
            upsert_rows(
                ScoreChange, columns=_CHANGE_COLUMNS, rows=changes, conflict=["id"], update=[]
            )
        scored.extend(_report(o) for o in outcomes if o.row["pk"] not in lost)

    def _is_moved(self, outcome: _Outcome) -> bool:
        """Whether there is anything to write: a change, a new reason, revision, rule version, or
        other facts (an order beside it moved, a table was published)."""
        row = outcome.row
        return (
            outcome.is_change
            or row["score__state_digest"] != outcome.state_digest
            or row["score__revision"] != row["revision"]
            or row["score__version_id"] != self.rules.version_id
            or row["score__fact_digest"] != outcome.digest
            or (self.tables_at is not None and row["score__scored_at"] < self.tables_at)
        )

    @staticmethod
    def _lock_orders(order_ids: set[int]) -> None:
        """Lock the orders whose rows are about to be written, first and in id order.

        Receiving, repairing and placing a hold lock the order too, and then write beside it: with
        the order locked first everywhere, nobody waits for somebody who waits for him.
        """
        if order_ids and connection.features.has_select_for_update:
            orders = Order.objects.filter(pk__in=order_ids).order_by("pk")
            list(orders.select_for_update(no_key=True).values_list("pk", flat=True))

    def _lose_races(self, moved: Sequence[_Outcome]) -> set[int]:
        """Where writers run side by side: lock the scores about to be written, in id order.

        Returns the orders whose score is no longer the one this pass read: somebody was faster,
        theirs stands, and what it lacks is due again.
        """
        if not moved or not connection.features.has_select_for_update:
            return set()
        read = {o.row["pk"]: tuple(o.row[f"score__{name}"] for name in _RACED) for o in moved}
        upsert_rows(  # a row to lock, also where there is no score yet
            Score,
            columns=["order_id", *_SCORE_UPDATE],
            rows=[(pk, *_EMPTY_SCORE) for pk, state in read.items() if state[0] is None],
            conflict=["order_id"],
            update=[],
        )
        locked = (
            Score.objects.filter(order_id__in=read)
            .order_by("order_id")
            .select_for_update(no_key=True)
        )
        return {
            pk
            for pk, *state in locked.values_list("order_id", *_RACED)
            if tuple(state) != (_NO_SCORE if read[pk][0] is None else read[pk])
        }

    def _score_row(self, outcome: _Outcome) -> tuple[Any, ...]:
        total = outcome.judgement.total
        return (
            outcome.row["pk"],
            total.score_hundredths,
            total.uncapped_hundredths,
            total.cap_hundredths,
            str(total.band),
            sum_text(total),
            write_dimensions(self.rules, outcome.judgement),
            ",".join(outcome.failing),
            outcome.cause,
            outcome.needs_intervention,
            outcome.is_silent,
            outcome.row["revision"],
            self.rules.version_id,
            outcome.digest,
            outcome.state_digest,
            self.moment,
        )

    def _change_row(self, outcome: _Outcome) -> tuple[Any, ...]:
        row, total = outcome.row, outcome.judgement.total
        before = {key for key in (row["score__failing"] or "").split(",") if key}
        return (
            row["pk"],
            self.moment,
            None,
            total.score_hundredths,
            str(total.band),
            outcome.cause,
            outcome.needs_intervention,
            outcome.is_silent,
            self.why,
            self.rules.version_id,
            row["revision"],
            list(outcome.failing),
            sorted(before ^ set(outcome.failing)),
        )


_COMPARED = (
    "score__score_hundredths",
    "score__band",
    "score__cause",
    "score__failing",
    "score__needs_intervention",
    "score__is_silent",
)
_RACED = ("revision", "version_id", "scored_at", "state_digest")
_NO_SCORE = (0, None, None, "")
_EMPTY_SCORE: tuple[Any, ...] = (
    0,
    0,
    None,
    "",
    "",
    [],
    "",
    "",
    False,
    False,
    0,
    None,
    "",
    "",
    None,
)


def make_prefetch(
    dimensions: Iterable[Dimension],
    setting: Setting,
    completer: Completer,
    *,
    as_of: datetime | None = None,
) -> Prefetch:
    """What dimensions need beside the orders; without relations and tables it asks nothing."""
    return Prefetch(prefetched_ids(dimensions), setting, completer, as_of=as_of)


def make_labels(setting: Setting) -> dict[str, str]:
    """Fact id -> label, for the reasons."""
    return {fact.id: fact.label for fact in setting.facts}


def make_completer(setting: Setting, moment: datetime) -> Completer:
    """Everything that turns stored facts into values at a moment (one query)."""
    return Completer(
        setting.facts,
        read_feeds(moment),
        moment=moment,
        zone=setting.describer.zone,
        nodes=setting.nodes,
    )
