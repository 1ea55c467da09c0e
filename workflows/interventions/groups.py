"""From decisions to messages: notices gather for half a minute, then one message per addressee."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import IntegrityError, transaction
from django.db.models import Max

from config.secrets import encrypt
from config.tenancy.models import Environment
from connectors.orders.models import Order
from rules_engine.scoring.bands import SEVERITY, Outcome
from rules_engine.scoring.models import Score
from workflows.interventions.effects import find_troubles
from workflows.interventions.models import (
    MENTIONS_PURPOSE,
    Alert,
    AlertGroup,
    BrakeItem,
    BrakeRequest,
    Delivery,
    Hold,
    Notice,
    Robot,
    SourceAlert,
    Topic,
)
from workflows.interventions.people import list_mobiles, list_recipients
from workflows.interventions.policy import AT_ALL_EVERY, GATHER_FOR
from workflows.interventions.words import (
    OrderWords,
    Words,
    write_alerts,
    write_brake,
    write_sources,
)

# Topic -> the robots that take it.
_ROBOTS = {
    Topic.YELLOW: "takes_yellow",
    Topic.ORANGE: "takes_orange",
    Topic.RED: "takes_red",
    Topic.SOURCE: "takes_technical",
    Topic.BRAKE: "takes_red",
}
# Topics whose addressees are mentioned by name in the group.
_MENTIONED = {Topic.YELLOW, Topic.ORANGE}


@dataclass(frozen=True)
class Subject:
    """What a notice is about: exactly one of the three."""

    topic: str
    cause: str = ""
    alert: Alert | None = None
    source_alert: SourceAlert | None = None
    brake: BrakeRequest | None = None


def record_notices(subjects: Iterable[Subject], *, now: datetime) -> list[AlertGroup]:
    """Decide that words go out, in the transaction of their cause; returns the groups they joined."""
    by_group: dict[tuple[str, str], list[Subject]] = defaultdict(list)
    for subject in subjects:
        by_group[subject.topic, subject.cause].append(subject)
    alerts = [s.alert for found in by_group.values() for s in found if s.alert]
    spoken = dict(
        Notice.objects.filter(alert__in=alerts)
        .values("alert")
        .annotate(last=Max("sequence"))
        .values_list("alert", "last")
    )
    groups, rows = [], []
    # In a fixed order, so that two transactions cannot wait for each other.
    for (topic, cause), found in sorted(by_group.items()):
        group = _open_group(topic, cause, now)
        groups.append(group)
        rows += [
            Notice(
                group=group,
                alert=s.alert,
                source_alert=s.source_alert,
                brake=s.brake,
                sequence=spoken.get(s.alert.pk, 0) + 1 if s.alert else 1,
                level=topic,
                created_at=now,
            )
            for s in found
        ]
    Notice.objects.bulk_create(rows)
    return groups


def _open_group(topic: str, cause: str, now: datetime) -> AlertGroup:
    """The group that is gathering, locked: it cannot close before this transaction ends."""
    for _attempt in range(3):
        group: AlertGroup | None = (
            AlertGroup.objects.select_for_update(of=("self",), no_key=True)
            .filter(topic=topic, cause=cause, closed_at__isnull=True)
            .first()
        )
        if group is not None:
            return group
        try:
            with transaction.atomic():
                made: AlertGroup = AlertGroup.objects.create(
                    topic=topic, cause=cause, opened_at=now, closes_at=now + GATHER_FOR
                )
                return made
        except IntegrityError:
            continue  # somebody else opened it in between: take theirs
    raise RuntimeError(f"group {topic!r} could neither be found nor opened")


def close_groups(environment: Environment, *, now: datetime) -> list[Delivery]:
    """Turn every group whose half minute is over into deliveries, in one transaction."""
    made: list[Delivery] = []
    with transaction.atomic():
        ripe = (
            AlertGroup.objects.select_for_update(of=("self",), no_key=True)
            .filter(closed_at__isnull=True, closes_at__lte=now)
            .order_by("pk")
        )
        for group in ripe:
            words, count = _write_group(group, environment, now)
            group.closed_at, group.count = now, count
            group.save(update_fields=["closed_at", "count"])
            if words is not None:
                made += _address(group, words, environment, now)
    return made


def _write_group(
    group: AlertGroup, environment: Environment, now: datetime
) -> tuple[Words | None, int]:
    """The words of a group, or None when everything in it has become moot meanwhile."""
    place = f"{environment.division.name} · {environment.get_kind_display()}"
    notices = list(
        group.notices.select_related("alert__order__shop", "source_alert__source", "brake")
    )
    if group.topic == Topic.SOURCE:
        late = [a for n in notices if (a := n.source_alert) and a.closed_at is None]
        return (write_sources(group, late, place=place, now=now) if late else None), len(late)
    if group.topic == Topic.BRAKE:
        brake = next((b for n in notices if (b := n.brake) and b.decided_at is None), None)
        if brake is None:
            return None, 0
        waiting = BrakeItem.objects.filter(
            brake=brake, alert__hold_state=Alert.HoldState.WAITING, alert__closed_at__isnull=True
        ).count()
        words = write_brake(
            group, waiting=waiting, recent=brake.recent_holds, limit=brake.hold_limit, place=place
        )
        return (words if waiting else None), waiting
    # Recovered, or gone worse: then another group has the word.
    standing = [
        alert
        for n in notices
        if (alert := n.alert)
        and alert.closed_at is None
        and SEVERITY[alert.level] <= SEVERITY[group.topic]
    ]
    orders = _list_order_words(standing, group.cause)
    return (write_alerts(group, orders, place=place, now=now) if orders else None), len(orders)


def _list_order_words(alerts: Sequence[Alert], cause: str) -> list[OrderWords]:
    ids = [alert.order_id for alert in alerts]
    scores = {s.order_id: s for s in Score.objects.filter(order_id__in=ids)}
    holds = dict(
        Hold.objects.filter(order_id__in=ids, released_at__isnull=True).values_list(
            "order_id", "reach"
        )
    )
    troubles = find_troubles(ids)
    return [
        OrderWords(
            order_no=alert.order.order_no,
            shop=alert.order.shop.name,
            score_hundredths=alert.score_hundredths,
            reason=_choose_reason(scores.get(alert.order_id), cause),
            amount_fen=_amount(alert.order),
            deadline_at=alert.order.deadline_at,
            hold_state=alert.hold_state,
            reach=holds.get(alert.order_id, ""),
            effect=troubles[alert.order_id].state if alert.order_id in troubles else "",
        )
        for alert in alerts
    ]


def _amount(order: Order) -> int | None:
    return order.paid_fen if order.paid_fen is not None else order.payable_fen


def _choose_reason(score: Score | None, cause: str) -> str:
    """The check that gave the cause, in its own words, else the first that failed."""
    troubled = [
        d
        for d in (score.dimensions if score else [])
        if d.get("result") not in {str(Outcome.PASS), str(Outcome.NOT_APPLICABLE)}
    ]
    troubled.sort(key=lambda d: (d.get("cause") != cause, d.get("result") != str(Outcome.FAIL)))
    chosen = troubled[0] if troubled else {}
    return str(chosen.get("reason") or chosen.get("name") or "")


def _address(
    group: AlertGroup, words: Words, environment: Environment, now: datetime
) -> list[Delivery]:
    """One delivery per robot that takes the topic, and one in the product per person."""
    people = list_recipients(group.topic, environment=environment, now=now)
    mobiles = list_mobiles(people) if group.topic in _MENTIONED else ()
    common = {
        "group": group,
        "topic": group.topic,
        "title": words.title,
        "text": words.text,
        "created_at": now,
        "not_before": now,
    }
    robots = Robot.objects.filter(is_active=True, **{_ROBOTS[Topic(group.topic)]: True})
    rows = [
        Delivery(
            **common,
            robot=robot,
            at_all=group.topic == Topic.RED and may_at_all(robot, group.cause, now=now),
            mentions_sealed=encrypt(json.dumps(mobiles), purpose=MENTIONS_PURPOSE),
        )
        for robot in robots.order_by("pk")
    ]
    rows += [
        Delivery(
            **common,
            recipient=person,
            state=Delivery.State.SENT,  # it is in front of them the moment the row exists
            finished_at=now,
        )
        for person in people
    ]
    made: list[Delivery] = Delivery.objects.bulk_create(rows)
    return made


def may_at_all(robot: Robot, cause: str, *, now: datetime) -> bool:
    """Whether everybody may be called: allowed for the robot, and not lately for this cause."""
    lately = Delivery.objects.filter(
        robot=robot, at_all=True, group__cause=cause, created_at__gt=now - AT_ALL_EVERY
    ).exclude(state=Delivery.State.FAILED)
    return robot.may_at_all and not lately.exists()
