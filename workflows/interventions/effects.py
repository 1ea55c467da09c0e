"""Holds made true outside: where a held order is stopped, and let go again when the hold ends.

A hold is a row of ours first (holds.py). Beside it, in the same transaction, stands what is to be
done in the OMS or the warehouse; workers do it afterwards, again and again until it is settled:
every call has a key and a second one changes nothing. What cannot be stopped any more is said.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from django.db import transaction
from django.utils import timezone

from config.errors import AppError, gettext_noop
from config.tenancy.models import Environment
from config.tenancy.scope import for_environment
from connectors.orders.models import Order, Receipt
from connectors.shops.models import Connection, SourceKind
from connectors.sync.leases import hold_stream
from connectors.sync.limits import Limiter
from connectors.sync.transport import Clock, Session, Sleep, open_session
from connectors.systems.holding import (
    Attempt,
    Decision,
    Outcome,
    Standing,
    System,
    apply_hold,
    choose_systems,
    release_hold,
)
from connectors.systems.registry import can_hold
from workflows.interventions.models import Hold, HoldEffect

log = logging.getLogger(__name__)

STREAM = "holds"
PER_RUN = 200
ROUNDS = 3  # an order the OMS has passed on is stopped in the warehouse at once
WORK_FOR = timedelta(seconds=90)  # less than the lease of a stream
FIRST_PAUSE, LONGEST_PAUSE = timedelta(minutes=1), timedelta(minutes=15)
# Told to a system beside our reason; the score and its cause stay with us.
_REASON = gettext_noop("订单健康分低于红线，请先不要发货")
_RELEASE = gettext_noop("可以发货")
_State = HoldEffect.State
_STATE_OF: Mapping[Outcome, str] = {
    Outcome.DONE: _State.HELD,
    Outcome.TOO_LATE: _State.TOO_LATE,
    Outcome.OVER: _State.OVER,
    Outcome.PASSED_ON: _State.PASSED_ON,
    Outcome.UNABLE: _State.UNABLE,
    Outcome.REFUSED: _State.REFUSED,
}


# --- deciding, in the transaction of the hold -----------------------------------------------------


def list_systems() -> list[System]:
    """The connected systems an order passes and whether they can stop one, in the scope in force."""
    rows = Connection.objects.filter(
        is_active=True, source__kind__in=[SourceKind.OMS, SourceKind.WMS]
    ).order_by("pk")
    return [
        System(number=pk, kind=kind, can_hold=can_hold(vendor, config))
        for pk, kind, vendor, config in rows.values_list("pk", "source__kind", "vendor", "config")
    ]


def reaches_outside() -> bool:
    """Whether any connected system can be told to stop an order, in the scope in force."""
    return any(system.can_hold for system in list_systems())


def plan_effects(holds: Sequence[Hold], *, systems: Sequence[System], now: datetime) -> None:
    """Write down what these new holds come to outside (three statements for any number).

    Sets `reach` of holds that are to be stopped there; the caller has saved the holds and holds the
    locks of their orders.
    """
    if not holds or not systems:
        return
    standings = _list_standings([hold.order_id for hold in holds])
    rows, reached = [], []
    for hold in holds:
        decision = choose_systems(standings[hold.order_id], systems)
        row = _first_row(hold, decision, now)
        if row is not None:
            rows.append(row)
            if row.due_at is not None:
                hold.reach = Hold.Reach.SYSTEM
                reached.append(hold.pk)
    HoldEffect.objects.bulk_create(rows)
    Hold.objects.filter(pk__in=reached).update(reach=Hold.Reach.SYSTEM)


def _first_row(hold: Hold, decision: Decision, now: datetime) -> HoldEffect | None:
    if decision.systems:
        return HoldEffect(
            hold=hold,
            connection_id=decision.systems[0].number,
            state=_State.HOLDING,
            due_at=now,
            changed_at=now,
        )
    if decision.result is None or decision.answers_for is None:
        return None
    row = HoldEffect(hold=hold, connection_id=decision.answers_for.number, changed_at=now)
    _put(row, _STATE_OF[decision.result.outcome], decision.result, now=now)
    return row


def _list_standings(order_ids: Sequence[int]) -> dict[int, Standing]:
    """How far orders have come outside, by what was told of them (two statements)."""
    states: dict[int, str] = {}
    receipts = Receipt.objects.filter(order_id__in=order_ids, source__kind=SourceKind.WMS)
    for order_id, custom in receipts.order_by("pk").values_list("order_id", "custom"):
        states[order_id] = str(custom.get("wms_state", ""))
    found = {}
    for pk, oms, wms, picked, out, shipped in Order.objects.filter(pk__in=order_ids).values_list(
        "pk", "oms_received_at", "wms_received_at", "picked_at", "wms_shipped_at", "shipped_at"
    ):
        found[pk] = Standing(
            oms_received=oms is not None,
            wms_received=wms is not None,
            picked=picked is not None,
            gone=out is not None or shipped is not None,
            wms_state=states.get(pk, ""),
        )
    return found


def plan_releases(hold_ids: Iterable[int], *, now: datetime) -> None:
    """Holds have ended: let their orders go on where they may have been stopped.

    What nobody was asked to stop yet needs no release; what could not be stopped stays as it is.
    """
    effects = HoldEffect.objects.filter(hold_id__in=list(hold_ids))
    effects.filter(state=_State.HOLDING, was_asked=False).update(
        state=_State.RELEASED, due_at=None, changed_at=now
    )
    effects.filter(state__in=[_State.HOLDING, _State.HELD]).update(
        state=_State.RELEASING, due_at=now, attempts=0, changed_at=now
    )


# --- doing, outside any transaction ---------------------------------------------------------------


def settle_effects(
    environment: Environment,
    *,
    clock: Clock = timezone.now,
    sleep: Sleep = time.sleep,
    limiter: Limiter | None = None,
) -> int:
    """Do what is due in all systems of an environment; returns how many effects were settled.

    Call it outside any scope. Safe to run twice and beside itself: one worker per system.
    """
    settled = 0
    for _ in range(ROUNDS):
        found = 0
        for connection_id in _list_due(environment, clock()):
            with hold_stream(environment, connection_id, STREAM, clock=clock) as is_ours:
                if not is_ours:
                    continue
                try:
                    session = open_session(
                        environment, connection_id, clock=clock, sleep=sleep, limiter=limiter
                    )
                except AppError:  # its secrets cannot be opened: its own page says so
                    log.exception("connection %d cannot be opened, holds wait", connection_id)
                    continue
                found += _settle_connection(session)
        settled += found
        if not found:
            break
    return settled


def _list_due(environment: Environment, now: datetime) -> list[int]:
    """The connections with something due."""
    with for_environment(environment, write=False):
        return list(
            HoldEffect.objects.filter(due_at__lte=now, connection__is_active=True)
            .order_by("connection_id")
            .values_list("connection_id", flat=True)
            .distinct()
        )


def _settle_connection(session: Session) -> int:
    began, settled = session.clock(), 0
    with for_environment(session.environment, write=False):
        ids = list(
            HoldEffect.objects.filter(connection=session.connection, due_at__lte=began)
            .order_by("due_at", "pk")
            .values_list("pk", flat=True)[:PER_RUN]
        )
    for effect_id in ids:
        if session.clock() - began > WORK_FOR:
            break
        attempt = _settle_one(session, effect_id)
        if attempt is None:
            continue
        if attempt.outcome is Outcome.LATER:
            break  # the system is away: the rest would only wait in line too
        settled += 1
    with for_environment(session.environment):
        session.write_log()
    return settled


def _settle_one(session: Session, effect_id: int) -> Attempt | None:
    """One effect: begin, call, write down; None when there was nothing to call for."""
    with for_environment(session.environment):
        begun = _begin(effect_id, now=session.clock())
    if begun is None:
        return None
    effect, order_no = begun
    is_release = effect.state == _State.RELEASING
    act = release_hold if is_release else apply_hold
    attempt = act(
        session.call,
        order_no=order_no,
        reason=_RELEASE if is_release else _REASON,
        key=effect.key_of("release" if is_release else "hold"),
    )
    with for_environment(session.environment):
        _write_down(effect, attempt, is_release=is_release, now=session.clock())
    return attempt


def _begin(effect_id: int, *, now: datetime) -> tuple[HoldEffect, str] | None:
    """Lock an effect, look whether it is still wanted, and note that it is being asked for."""
    with transaction.atomic():
        effect: HoldEffect = (
            HoldEffect.objects.select_for_update(of=("self",), no_key=True)
            .select_related("hold", "hold__order")
            .get(pk=effect_id)
        )
        if effect.due_at is None or effect.due_at > now:
            return None
        if effect.state == _State.RELEASING:
            if _is_held_anew(effect):
                _put(effect, _State.RELEASED, None, now=now)
                effect.save()
                return None
        elif not _is_still_wanted(effect, now=now):
            return None
        effect.attempts += 1
        effect.was_asked = True
        effect.save(update_fields=["attempts", "was_asked"])
    return effect, effect.hold.order.order_no


def _is_held_anew(effect: HoldEffect) -> bool:
    """Whether a newer hold wants the order stopped at the same system: then it stays stopped."""
    return bool(
        HoldEffect.objects.filter(
            hold__order_id=effect.hold.order_id,
            hold__released_at__isnull=True,
            connection_id=effect.connection_id,
            state__in=[_State.HOLDING, _State.HELD],
        ).exists()
    )


def _is_still_wanted(effect: HoldEffect, *, now: datetime) -> bool:
    """Whether this is still the system to turn to; else the result, or the next system, stands."""
    standing = _list_standings([effect.hold.order_id])[effect.hold.order_id]
    decision = choose_systems(standing, list_systems())
    if effect.connection_id in {system.number for system in decision.systems}:
        return True
    if decision.systems:
        _turn_to(effect, decision.systems[0], now=now)
        _put(effect, _State.PASSED_ON, None, now=now)
    elif decision.result is not None:
        _put(effect, _STATE_OF[decision.result.outcome], decision.result, now=now)
    else:
        _put(effect, _State.UNABLE, None, now=now)
    effect.save()
    return False


def _write_down(effect: HoldEffect, attempt: Attempt, *, is_release: bool, now: datetime) -> None:
    """What came of a call; a release that was asked for meanwhile is not overwritten."""
    with transaction.atomic():
        row: HoldEffect = (
            HoldEffect.objects.select_for_update(of=("self",), no_key=True)
            .select_related("hold")
            .get(pk=effect.pk)
        )
        if row.state != (_State.RELEASING if is_release else _State.HOLDING):
            return
        if attempt.outcome in {Outcome.LATER, Outcome.ABSENT}:
            _put(row, row.state, attempt, now=now)
            row.due_at = now + min(FIRST_PAUSE * 2 ** min(row.attempts - 1, 6), LONGEST_PAUSE)
        elif is_release:
            is_done = attempt.outcome is Outcome.DONE
            _put(row, _State.RELEASED if is_done else _State.STUCK, attempt, now=now)
        else:
            _put(row, _STATE_OF[attempt.outcome], attempt, now=now)
            if attempt.outcome is Outcome.PASSED_ON:
                _pass_on(row, now=now)
        row.save()


def _pass_on(row: HoldEffect, *, now: datetime) -> None:
    """The OMS has sent the order on: the warehouse is the next to be asked."""
    after = [s for s in list_systems() if s.kind == "wms" and s.number != row.connection_id]
    able = [system for system in after if system.can_hold]
    if able:
        _turn_to(row, able[0], now=now)
    else:
        row.state = _State.REFUSED


def _turn_to(effect: HoldEffect, system: System, *, now: datetime) -> None:
    HoldEffect.objects.get_or_create(
        hold=effect.hold,
        connection_id=system.number,
        defaults={"state": _State.HOLDING, "due_at": now, "changed_at": now},
    )


def _put(row: HoldEffect, state: str, attempt: Attempt | None, *, now: datetime) -> None:
    """Set a state and its words (unsaved); nothing is due any more."""
    if row.state != state:
        row.changed_at = now
    row.state, row.due_at = state, None
    if attempt is not None:
        row.vendor_code = attempt.vendor_code[:60]
        row.words_message = attempt.words.message
        row.words_params = {name: str(value) for name, value in attempt.words.params.items()}


# --- telling --------------------------------------------------------------------------------------


def list_effects(holds: Sequence[Hold]) -> dict[int, list[HoldEffect]]:
    """What the holds came to outside, by hold, the system asked first comes first (one query)."""
    found: dict[int, list[HoldEffect]] = defaultdict(list)
    rows = HoldEffect.objects.filter(hold__in=[hold.pk for hold in holds])
    for row in rows.select_related("connection__source").order_by("pk"):
        found[row.hold_id].append(row)
    return dict(found)


def find_troubles(order_ids: Sequence[int]) -> dict[int, HoldEffect]:
    """Of these orders those whose hold could not be made true outside, with why (one query)."""
    rows = HoldEffect.objects.filter(
        hold__order_id__in=list(order_ids),
        hold__released_at__isnull=True,
        state__in=[_State.TOO_LATE, _State.UNABLE, _State.REFUSED],
    )
    return {row.hold.order_id: row for row in rows.select_related("hold").order_by("pk")}
