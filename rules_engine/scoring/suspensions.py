"""Formulas that keep running into a limit are taken out of scoring until a person lets them back.

A published version never changes: the suspension is a row of its own beside it. An order keeps its
points and its band where a formula is suspended (nobody knows better), says 数据不足 with the
suspension as its reason, and needs a person.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from django.db import transaction

from config.audit.services import record
from config.errors import BadInput, NotFound, WrongState, gettext_noop
from config.tenancy.models import User
from connectors.orders.models import Order
from rules_engine.formula.values import Value
from rules_engine.rules.services import Dimension, RuleSet, suspend
from rules_engine.scoring.guard import OutOfTime, limits
from rules_engine.scoring.models import FormulaSuspension, write_reason

logger = logging.getLogger(__name__)

TRIPS_ALLOWED: Final = 3
MAX_REASON: Final = 300
_ALONE_SECONDS: Final = 1.0  # for one formula on one order, when a culprit is looked for
_ALONE_BYTES: Final = 256 << 20

Limit = FormulaSuspension.Limit


class Watch:
    """Which formulas of the published rules ran into a limit, before a pass and in it (one query).

    `note()` every trip, `apply()` the result to the rules whenever it says so, `save()` at the end.
    """

    def __init__(self, rules: RuleSet) -> None:
        self.version_id = rules.version_id
        self.names = {dimension.key: dimension.name for dimension in rules.dimensions}
        self.rows = {row.dimension_key: row for row in self._open_rows()}
        self.new: Counter[str] = Counter()  # trips since the last save
        self.last: dict[str, tuple[str, int]] = {}  # key -> limit and order of the last trip

    def _open_rows(self) -> list[FormulaSuspension]:
        if self.version_id is None:
            return []
        open_rows = FormulaSuspension.objects.filter(lifted_at__isnull=True)
        return list(open_rows.filter(version_id=self.version_id))

    def apply(self, rules: RuleSet) -> RuleSet:
        """The rules without the formulas that are out of use."""
        reasons = {}
        for key in self.names:
            row, trips = self.rows.get(key), self._trips(key)
            if row is not None and row.suspended_at is not None:
                reasons[key] = write_reason(row.limit, row.trips)
            elif trips >= TRIPS_ALLOWED:
                reasons[key] = write_reason(self.last[key][0], trips)
        return suspend(rules, reasons) if reasons else rules

    def note(self, key: str, limit: str, order_id: int) -> bool:
        """Count a trip; True when it puts the formula out of use."""
        self.new[key] += 1
        self.last[key] = limit, order_id
        return self._trips(key) >= TRIPS_ALLOWED

    def _trips(self, key: str) -> int:
        row = self.rows.get(key)
        return self.new[key] + (row.trips if row is not None else 0)

    def save(self, now: datetime) -> None:
        """Write what was counted; nothing was: no query."""
        for key in sorted(self.new):
            if self.new[key] and self.version_id is not None:
                self.rows[key] = self._save_one(key, self.version_id, now)
        self.new.clear()

    def _save_one(self, key: str, version_id: int, now: datetime) -> FormulaSuspension:
        limit, order_id = self.last[key]
        found, _ = FormulaSuspension.objects.get_or_create(
            version_id=version_id,
            dimension_key=key,
            lifted_at=None,
            defaults={
                "dimension_name": self.names.get(key, key),
                "limit": limit,
                "first_tripped_at": now,
                "last_tripped_at": now,
            },
        )
        row = FormulaSuspension.objects.select_for_update(no_key=True).get(pk=found.pk)
        row.trips += self.new[key]
        row.limit, row.last_tripped_at = limit, now
        order_no = Order.objects.filter(pk=order_id).values_list("order_no", flat=True).first()
        row.last_order_no = (order_no or "")[:64]
        is_news = row.suspended_at is None and row.trips >= TRIPS_ALLOWED
        if is_news:
            row.suspended_at = now
        row.save()
        if is_news:
            logger.error("formula %s of version %d is suspended: %s", key, version_id, limit)
            record(
                action="formula.suspend",
                subject=row.dimension_name,
                actor=None,
                now=now,
                details={"limit": limit, "trips": row.trips, "version": version_id},
            )
        return row


def find_culprits(
    dimensions: Sequence[Dimension], values: Mapping[str, Value], now: float
) -> list[tuple[str, str]]:
    """Run each formula alone on the order a chunk died of; (dimension key, limit) of those that die."""
    found = []
    for dimension in dimensions:
        if dimension.plan is None:
            continue
        try:
            with limits(_ALONE_SECONDS, _ALONE_BYTES):
                dimension.plan.evaluate(values, now)
                dimension.write_reason(values, now)
        except OutOfTime:
            found.append((dimension.key, str(Limit.TIME)))
        except MemoryError:
            found.append((dimension.key, str(Limit.MEMORY)))
    return found


# --- for people -----------------------------------------------------------------------------------


def list_suspensions(version_id: int | None = None) -> list[FormulaSuspension]:
    """Formulas that stand suspended, newest first; of one version, or of all (one query)."""
    rows = FormulaSuspension.objects.filter(suspended_at__isnull=False, lifted_at__isnull=True)
    if version_id is not None:
        rows = rows.filter(version_id=version_id)
    return list(rows.order_by("-suspended_at", "-pk"))


def lift_suspension(
    public_id: str, *, actor: User, reason: str, now: datetime
) -> FormulaSuspension:
    """Let a formula back into scoring; the caller has checked that this person may.

    It starts anew: three more trips suspend it again. Raises BadInput without a reason, NotFound,
    and WrongState when it was lifted already.
    """
    with transaction.atomic():
        row = (
            FormulaSuspension.objects.select_for_update(no_key=True)
            .filter(public_id=public_id)
            .first()
        )
        if row is None or row.suspended_at is None:
            raise NotFound(gettext_noop("没有这条暂停记录"))
        reason = _check_reason(reason)
        if row.lifted_at is not None:
            raise WrongState(gettext_noop("这个公式已经恢复"))
        row.lifted_at, row.lifted_by, row.lift_reason = now, actor, reason
        row.save(update_fields=["lifted_at", "lifted_by", "lift_reason"])
        record(
            action="formula.lift_suspension",
            subject=row.dimension_name,
            actor=actor,
            now=now,
            details={"reason": reason, "version": row.version_id},
        )
    return row


def _check_reason(reason: str) -> str:
    reason = reason.strip()
    if not reason:
        raise BadInput(gettext_noop("请写明恢复这个公式的理由"), code="reason_missing")
    if len(reason) > MAX_REASON:
        raise BadInput(
            gettext_noop("理由最多 %(limit)d 个字"), code="reason_too_long", limit=MAX_REASON
        )
    return reason
