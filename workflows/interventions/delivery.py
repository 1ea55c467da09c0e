"""Sending: claim one message under the robot's budget, send it outside any transaction, write down
what came of it.

At least once, with a visible doubtful state: a message that was sent without a receipt (or whose
worker died while sending) is `ambiguous` and said once more after a minute, marked 重发.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.utils.translation import gettext as _

from config.errors import AppError
from config.secrets import decrypt
from config.tenancy.models import Environment
from config.tenancy.scope import for_environment
from connectors.http import TOTAL_SECONDS, ConnectorError, Retry
from connectors.shops.addresses import list_allowed_addresses
from connectors.systems.robots import RobotAddress, RobotMessage, RobotReceipt, send_message
from workflows.interventions.groups import close_groups
from workflows.interventions.models import (
    MENTIONS_PURPOSE,
    Delivery,
    Robot,
    RobotBudget,
    Topic,
)
from workflows.interventions.policy import Waiting, choose_batch, pause_after
from workflows.interventions.words import write_again, write_digest

log = logging.getLogger(__name__)

LEASE = timedelta(seconds=60)
AGAIN_AFTER = timedelta(seconds=60)
MAX_ATTEMPTS = 8
MINUTE = timedelta(seconds=60)
# One call of deliver_due ends well within a task's time limit.
LONGEST = timedelta(seconds=180)

Clock = Callable[[], datetime]


@dataclass(frozen=True)
class Claim:
    """A message that is ours to send until the lease ends."""

    delivery_id: int
    robot_id: int
    kind: str
    address: RobotAddress
    message: RobotMessage
    allowed: frozenset[tuple[str, int]]


def deliver_due(environment: Environment, *, clock: Clock) -> int:
    """Close ripe groups and send what is due, in scopes of its own; returns messages tried.

    Call it outside any scope and transaction. Any number of workers may run it at once. `clock` is
    read anew for every message, because the budget counts real seconds.
    """
    started, tried = clock(), 0
    with for_environment(environment):
        recover_lost(now=started)
        close_groups(environment, now=started)
        robots = list(
            Delivery.objects.filter(
                state=Delivery.State.PENDING, robot__isnull=False, not_before__lte=started
            )
            .values_list("robot", flat=True)
            .order_by("robot")
            .distinct()
        )
    for robot_id in robots:
        while clock() - started < LONGEST:
            with for_environment(environment):
                claim = claim_next(robot_id, now=clock())
            if claim is None:
                break
            tried += 1
            outcome = _send(claim, now=clock())
            with for_environment(environment):
                record_outcome(claim, outcome, now=clock())
    return tried


def recover_lost(*, now: datetime) -> None:
    """A worker died while sending: nobody knows whether it arrived, so it counts as ambiguous."""
    lost = Delivery.objects.select_for_update(of=("self",), no_key=True).filter(
        state=Delivery.State.SENDING, lease_until__lt=now
    )
    for delivery in lost:
        _mark_ambiguous(delivery, now=now, note=_("发送途中进程中断，不知是否送达"))


def claim_next(robot_id: int, *, now: datetime) -> Claim | None:
    """Take the robot's next message and a place in its minute, in one transaction; None to wait."""
    with transaction.atomic():
        budget = _lock_budget(robot_id)
        robot = budget.robot
        waiting = list(
            Delivery.objects.select_for_update(of=("self",), no_key=True)
            .filter(robot=robot, state=Delivery.State.PENDING, not_before__lte=now)
            .select_related("group")
            .order_by("created_at", "pk")
        )
        if not waiting:
            return None
        if not robot.is_active:
            _fail(waiting, now=now, note=_("机器人已停用"))
            return None
        if budget.paused_until is not None and budget.paused_until > now:
            return None
        since = (now - MINUTE).timestamp()
        budget.sent = [entry for entry in budget.sent if entry[0] > since]
        ids = choose_batch(
            [Waiting(d.pk, is_red=d.topic == Topic.RED) for d in waiting], used=len(budget.sent)
        )
        if not ids:
            return None
        chosen = [d for d in waiting if d.pk in ids]
        delivery = chosen[0] if len(chosen) == 1 else _merge(robot, chosen, now=now)
        delivery.state, delivery.attempts = Delivery.State.SENDING, delivery.attempts + 1
        delivery.lease_until = now + LEASE
        delivery.save()
        # Until it is known when the message left, it counts from the last moment it could.
        budget.sent.append([now.timestamp() + TOTAL_SECONDS, delivery.pk])
        budget.save(update_fields=["sent"])
        return _open_claim(delivery, robot, now=now)


def _lock_budget(robot_id: int) -> RobotBudget:
    RobotBudget.objects.get_or_create(robot_id=robot_id)
    budget: RobotBudget = (
        RobotBudget.objects.select_for_update(of=("self",), no_key=True)
        .select_related("robot")
        .get(robot_id=robot_id)
    )
    return budget


def _open_claim(delivery: Delivery, robot: Robot, *, now: datetime) -> Claim | None:
    try:
        webhook, secret = robot.reveal()
        mobiles = json.loads(decrypt(delivery.mentions_sealed, purpose=MENTIONS_PURPOSE) or "[]")
    except AppError as error:  # the key is gone: loud, and nothing was sent
        _fail([delivery], now=now, note=error.text)
        return None
    return Claim(
        delivery_id=delivery.pk,
        robot_id=robot.pk,
        kind=robot.kind,
        address=RobotAddress(webhook, secret, robot.keyword),
        message=RobotMessage(
            delivery.title, delivery.text, at_all=delivery.at_all, at_mobiles=tuple(mobiles)
        ),
        allowed=list_allowed_addresses(),
    )


def _merge(robot: Robot, chosen: list[Delivery], *, now: datetime) -> Delivery:
    words = write_digest(chosen)
    topics = {d.topic for d in chosen}
    digest: Delivery = Delivery.objects.create(
        robot=robot,
        topic=Topic.RED if Topic.RED in topics else chosen[0].topic,
        title=words.title,
        text=words.text,
        at_all=any(d.at_all for d in chosen),
        created_at=min(d.created_at for d in chosen),
        not_before=now,
    )
    Delivery.objects.filter(pk__in=[d.pk for d in chosen]).update(
        state=Delivery.State.MERGED, merged_into=digest, finished_at=now
    )
    return digest


def _send(claim: Claim, *, now: datetime) -> RobotReceipt | ConnectorError:
    try:
        return send_message(
            claim.kind, claim.address, claim.message, now=now, allowed=claim.allowed
        )
    except ConnectorError as error:
        log.warning("delivery %d failed: %s %s", claim.delivery_id, error.code, error.vendor_code)
        return error


def record_outcome(claim: Claim, outcome: RobotReceipt | ConnectorError, *, now: datetime) -> None:
    """Write down what came of a claim; an outcome that comes after the lease ended is dropped."""
    with transaction.atomic():
        budget = _lock_budget(claim.robot_id)
        budget.sent = [
            [now.timestamp(), pk] if pk == claim.delivery_id and moment > now.timestamp()
            else [moment, pk]
            for moment, pk in budget.sent
        ]  # fmt: skip
        delivery = (
            Delivery.objects.select_for_update(of=("self",), no_key=True)
            .filter(pk=claim.delivery_id, state=Delivery.State.SENDING)
            .first()
        )
        if isinstance(outcome, RobotReceipt):
            budget.failures, budget.paused_until = 0, None
        else:
            _note_failure(budget, outcome, now=now)
        budget.save()
        if delivery is None:
            return
        if isinstance(outcome, RobotReceipt):
            delivery.vendor_code, delivery.note = outcome.vendor_code, ""
            _finish(delivery, Delivery.State.SENT, now=now)
            return
        delivery.vendor_code, delivery.note = outcome.vendor_code, outcome.text[:300]
        if outcome.retry == Retry.AMBIGUOUS:
            _mark_ambiguous(delivery, now=now, note=delivery.note)
        elif outcome.is_retriable and delivery.attempts < MAX_ATTEMPTS:
            delivery.state, delivery.lease_until = Delivery.State.PENDING, None
            delivery.not_before = budget.paused_until or now + timedelta(seconds=5)
            delivery.save()
        else:
            _finish(delivery, Delivery.State.FAILED, now=now)


def _note_failure(budget: RobotBudget, error: ConnectorError, *, now: datetime) -> None:
    budget.failures += 1
    budget.last_error, budget.last_error_at = error.text[:300], now
    pause = pause_after(budget.failures, is_throttled=error.retry == Retry.LATER)
    budget.paused_until = now + pause if pause else None


def _finish(delivery: Delivery, state: str, *, now: datetime) -> None:
    delivery.state, delivery.finished_at, delivery.lease_until = state, now, None
    delivery.save()


def _fail(deliveries: list[Delivery], *, now: datetime, note: str) -> None:
    for delivery in deliveries:
        delivery.note = note
        _finish(delivery, Delivery.State.FAILED, now=now)


def _mark_ambiguous(delivery: Delivery, *, now: datetime, note: str) -> None:
    """Keep the doubt on record and, the first time, decide to say it again in a minute."""
    delivery.note = note
    _finish(delivery, Delivery.State.AMBIGUOUS, now=now)
    if delivery.resend_of_id is not None:
        return
    words = write_again(delivery.title, delivery.text)
    Delivery.objects.create(
        group_id=delivery.group_id,
        robot_id=delivery.robot_id,
        sequence=delivery.sequence + 1,
        topic=delivery.topic,
        title=words.title,
        text=words.text,
        at_all=delivery.at_all,
        mentions_sealed=delivery.mentions_sealed,
        created_at=now,
        not_before=now + AGAIN_AFTER,
        resend_of=delivery,
    )
