"""The river, one minute of it. This file is the whole product in order:

    a source falls behind          -> one alert for the source, its checks become 数据不足
    an order changed, or time went -> facts, checks, a score                    (rules_engine)
    the score crossed a line       -> an episode opens, red is held, words gather (interventions)
    half a minute later            -> one message per cause and group of people   (interventions)
    the score recovered            -> the episode closes, the hold is released
    a person pressed 重新读取并重评  -> the same once more for one order, and the truth about it
    at the end                     -> a snapshot of the board                       (rollup)

Scoring and deciding share one transaction per chunk, so a crash leaves both or neither. Every pass
looks at rows, not at events: whatever a dead worker left undone is due again a minute later.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.utils import timezone

from config.audit.services import record
from config.releases.services import get_published
from config.tenancy.models import Environment, User
from config.tenancy.scope import for_environment
from config.tenancy.statistics import refresh_statistics
from connectors.orders.deadlines import TABLE_KEY, TABLE_KIND
from connectors.orders.models import Order
from connectors.orders.redating import redate_orders
from connectors.orders.services import (
    NODE_TABLE_KEY,
    NODE_TABLE_KIND,
    connected_kinds,
    reread_order,
    rewalk_orders,
)
from rules_engine.rules.services import get_active_rule_set, get_active_version
from rules_engine.scoring.bands import Band, Lines
from rules_engine.scoring.models import Score, ScoreChange
from rules_engine.scoring.services import Scored, list_due_order_ids, score_orders
from workflows.causes import classify
from workflows.interventions.effects import settle_effects
from workflows.interventions.models import AlertGroup, Hold, PatrolLease, PatrolRun, Repair
from workflows.interventions.policy import GATHER_FOR
from workflows.interventions.services import (
    Decided,
    close_moot_brakes,
    decide_interventions,
    deliver_due,
    watch_sources,
)
from workflows.patrol.queue import enqueue
from workflows.patrol.runs import Lease, LeaseLost, claim_slot, hold_lease
from workflows.rollup.services import take_snapshot

log = logging.getLogger(__name__)

Clock = Callable[[], datetime]

# One transaction each: long enough to be cheap, short enough that nobody waits for it.
CHUNK = 1000


# --- every minute ---------------------------------------------------------------------------------


def tick(now: datetime, *, clock: Clock = timezone.now) -> list[PatrolRun]:
    """Patrol every active environment once and send what is due; one's failure stays its own.

    The workers do the same side by side (tasks.py); this is the plain loop. Call it outside any
    scope. An environment whose minute has been taken already gives no run.
    """
    runs = []
    for environment in list_environments():
        try:
            run = patrol_environment(environment, now=now, clock=clock)
            settle_effects(environment, clock=clock)
            deliver_due(environment, clock=clock)
        except Exception:  # noqa: BLE001 - the edge: one environment must not stop the others
            log.exception("patrol of environment %d failed", environment.pk)
            continue
        if run is not None:
            runs.append(run)
    refresh_statistics()
    return runs


def list_environments() -> list[Environment]:
    """The active environments of all tenants, from the directory."""
    return list(
        Environment.objects.filter(is_active=True)
        .select_related("division", "tenant")
        .order_by("pk")
    )


def get_environment(environment_id: int) -> Environment:
    """One active environment, for the tasks; raises DoesNotExist for a closed one."""
    return Environment.objects.select_related("division", "tenant").get(
        pk=environment_id, is_active=True
    )


def patrol_environment(
    environment: Environment, *, now: datetime, clock: Clock = timezone.now
) -> PatrolRun | None:
    """One minute of one environment, in scopes of its own; None when the minute is taken.

    Never runs beside another pass of the same environment: then the run is written as busy.
    """
    with for_environment(environment):
        run = claim_slot(now)
    if run is None:
        return None
    with hold_lease(environment, now=now) as lease:
        if lease is None:
            run.state = PatrolRun.State.BUSY
        else:
            try:
                _patrol(environment, run, lease, now=now, clock=clock)
                run.state = PatrolRun.State.DONE
            except LeaseLost:
                log.warning("environment %d was taken over by another worker", environment.pk)
                run.state = PatrolRun.State.FAILED
                run.note = LeaseLost.code
            except Exception as error:
                run.state, run.note = PatrolRun.State.FAILED, type(error).__name__
                _finish(environment, run, clock)
                raise
    _finish(environment, run, clock)
    if run.state == PatrolRun.State.DONE:
        score_due(environment, now=clock(), clock=clock)  # who came meanwhile was turned away
    return run


def _patrol(
    environment: Environment, run: PatrolRun, lease: Lease, *, now: datetime, clock: Clock
) -> None:
    with for_environment(environment):
        _speak_later(environment, watch_sources(now=now))
        close_moot_brakes(now=now)
    for kind, key, column, step in _FOLLOWED:
        _follow(environment, lease, kind, key, column, step, now=now, clock=clock)
    _follow_sources(environment, lease, now=now, clock=clock)
    done: set[int] = set()
    # What changed comes first; then everything open, because time itself moves scores.
    for only_changed in (True, False):
        for ids in _due_chunks(environment, only_changed=only_changed, without=done):
            with for_environment(environment):
                lease.renew(clock())
                why = _why(ids) if only_changed else ScoreChange.Why.CLOCK
                scored, decided = score_and_decide(ids, environment=environment, now=now, why=why)
            done.update(ids)
            _count(run, scored, decided)
    with for_environment(environment):
        take_snapshot(now)


def _why(order_ids: Sequence[int]) -> str:
    """Why changed orders are due: new rules, or news of the orders themselves."""
    version = get_active_version()
    is_rule = (
        version is not None
        and Score.objects.filter(order_id__in=order_ids, version__isnull=False)
        .exclude(version=version)
        .exists()
    )
    return ScoreChange.Why.RULE if is_rule else ScoreChange.Why.RECEIVED


def _due_chunks(
    environment: Environment, *, only_changed: bool, without: set[int]
) -> Iterator[list[int]]:
    """Ids of due orders in ascending chunks, read anew for each, so that nothing grows old."""
    after = 0
    while True:
        with for_environment(environment, write=False):
            found = list_due_order_ids(limit=CHUNK, after_id=after, only_changed=only_changed)
        if not found:
            return
        after = found[-1]
        if ids := [pk for pk in found if pk not in without]:
            yield ids


# Documents every open order follows once: kind, key, where the lease notes it, one step of it.
_FOLLOWED: tuple[tuple[str, str, str, Callable[..., int | None]], ...] = (
    (NODE_TABLE_KIND, NODE_TABLE_KEY, "node_version_id", rewalk_orders),
    (TABLE_KIND, TABLE_KEY, "deadline_version_id", redate_orders),
)


def _follow(
    environment: Environment,
    lease: Lease,
    kind: str,
    key: str,
    column: str,
    step: Callable[..., int | None],
    *,
    now: datetime,
    clock: Clock,
) -> None:
    """After a new version of a document was published, take all open orders through it."""
    with for_environment(environment, write=False):
        version = get_published(kind, key)
        wanted = version.pk if version else 0
        if PatrolLease.objects.filter(**{column: wanted}).exists():
            return
    _take_all(environment, lease, step, now=now, clock=clock)
    with for_environment(environment):
        PatrolLease.objects.update(**{column: wanted})


def _follow_sources(environment: Environment, lease: Lease, *, now: datetime, clock: Clock) -> None:
    """After the first OMS, WMS or gateway told anything, walk all open orders again.

    Until then nobody was expected to know them there; from now on whoever is not known is missing.
    """
    with for_environment(environment, write=False):
        wanted = ",".join(sorted(connected_kinds()))
        if PatrolLease.objects.filter(connected_kinds=wanted).exists():
            return
    _take_all(environment, lease, rewalk_orders, now=now, clock=clock)
    with for_environment(environment):
        PatrolLease.objects.update(connected_kinds=wanted)


def _take_all(
    environment: Environment,
    lease: Lease,
    step: Callable[..., int | None],
    *,
    now: datetime,
    clock: Clock,
) -> None:
    """Take all open orders through one step, a transaction per chunk."""
    after: int | None = 0
    while after is not None:
        with for_environment(environment):
            lease.renew(clock())
            after = step(now=now, after_id=after)


def _count(run: PatrolRun, scored: Scored, decided: Decided) -> None:
    run.scored += len(scored)
    run.changed += sum(order.changed for order in scored)
    run.failed += len(scored.failed_ids)
    run.opened += decided.opened
    run.closed += decided.closed
    run.held += decided.held
    run.released += decided.released


def _finish(environment: Environment, run: PatrolRun, clock: Clock) -> None:
    run.finished_at = clock()
    with for_environment(environment):
        run.save()


# --- one chunk ------------------------------------------------------------------------------------


def score_and_decide(
    order_ids: Sequence[int], *, environment: Environment, now: datetime, why: str
) -> tuple[Scored, Decided]:
    """Score orders and do what follows, in one transaction of the scope in force.

    The words that were decided leave half a minute after the commit.
    """
    with transaction.atomic():
        scored = score_orders(order_ids, now=now, why=why, classify=classify)
        rules = get_active_rule_set()
        if rules is None or not scored:
            return scored, Decided()
        decided = decide_interventions(
            scored,
            environment=environment,
            lines=Lines(rules.yellow, rules.orange, rules.red),
            now=now,
        )
        if decided.held or decided.released:
            wake_holds(environment)
        _speak_later(environment, decided.groups)
    return scored, decided


def _speak_later(environment: Environment, groups: Sequence[AlertGroup]) -> None:
    """Wake a sender when the groups are ripe. A lost wake-up costs until the next tick."""
    if groups:
        transaction.on_commit(
            lambda: enqueue(
                "patrol.deliver",
                environment.pk,
                queue="notify",
                countdown=GATHER_FOR.total_seconds() + 1,
            )
        )


def score_due(environment: Environment, *, now: datetime, clock: Clock = timezone.now) -> int:
    """Score what changed since its last score, right after something came in; returns how many.

    Call it outside any scope. While somebody else scores it does nothing: whoever does looks once
    more when the lease is free again.
    """
    count, left = 0, set[int]()
    is_due = True
    while is_due:
        with hold_lease(environment, now=now) as lease:
            if lease is None:
                return count
            for ids in _due_chunks(environment, only_changed=True, without=left):
                with for_environment(environment):
                    lease.renew(clock())
                    scored, _ = score_and_decide(
                        ids, environment=environment, now=now, why=_why(ids)
                    )
                count += len(scored)
                left.update(set(ids) - {order.order_id for order in scored})
        # What came in while we held the lease was turned away by it.
        now = clock()
        is_due = any(_due_chunks(environment, only_changed=True, without=left))
    return count


def wake_scoring(environment: Environment) -> None:
    """Have what just came in scored at once: callers of `receive()` call this in their scope."""
    transaction.on_commit(lambda: enqueue("patrol.score_due", environment.pk, queue="evaluate"))


def wake_holds(environment: Environment) -> None:
    """Have holds made true in the OMS and the warehouse at once, and releases likewise."""
    transaction.on_commit(
        lambda: enqueue("patrol.settle_holds", environment.pk, queue="notify", expires=55)
    )


def wake_delivery(environment: Environment) -> None:
    """Have what is due sent at once: after a person decided to send something."""
    transaction.on_commit(lambda: enqueue("patrol.deliver", environment.pk, queue="notify"))


# --- one order, by hand ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Repaired:
    """What 重新读取并重评 found. `is_mended` only when the order now is 健康, never on hope."""

    repair: Repair
    has_changed: bool
    is_mended: bool
    was_released: bool
    before_band: str
    after_band: str
    after_hundredths: int


def repair_order(
    order: Order, *, environment: Environment, actor: User | None, now: datetime
) -> Repaired:
    """Read one order again from everything its sources told, score it, and say what came of it.

    Runs in the scope in force, as one transaction. Raises nothing when nothing changed: that is an
    answer too. Without published rules the order keeps the score it has.
    """
    with transaction.atomic():
        before = Score.objects.filter(order=order).values_list("band", "score_hundredths").first()
        was_held = Hold.objects.filter(order=order, released_at__isnull=True).exists()
        has_changed = reread_order(order.pk, now=now)
        score_and_decide([order.pk], environment=environment, now=now, why=ScoreChange.Why.RECEIVED)
        after = Score.objects.filter(order=order).values_list("band", "score_hundredths").first()
        is_held = Hold.objects.filter(order=order, released_at__isnull=True).exists()
        before_band, before_hundredths = before or ("", None)
        after_band, after_hundredths = after or ("", 0)
        repair: Repair = Repair.objects.create(
            order=order,
            actor=actor,
            at=now,
            before_band=before_band,
            before_hundredths=before_hundredths,
            after_band=after_band,
            after_hundredths=after_hundredths,
            has_changed=has_changed,
            is_mended=after_band == Band.HEALTHY,
            was_released=was_held and not is_held,
        )
        record(
            action="order.repair",
            subject=order.order_no,
            actor=actor,
            now=now,
            details={"before": before_band, "after": after_band, "changed": has_changed},
        )
    return Repaired(
        repair=repair,
        has_changed=has_changed,
        is_mended=repair.is_mended,
        was_released=repair.was_released,
        before_band=before_band,
        after_band=after_band,
        after_hundredths=after_hundredths,
    )
