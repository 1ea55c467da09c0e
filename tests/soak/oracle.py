"""What has to be true after a soaked day, judged from the lives alone: nothing lost, none doubled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db.models import Count

from config.tenancy.scope import for_environment
from connectors.orders.models import Order, Payment, Receipt, StatusEvent
from connectors.simulators.ledger import list_stuck
from connectors.simulators.life import Life, has_come
from connectors.sync.models import Cursor, InboundMessage, Quarantine, SyncRun
from connectors.sync.reading import MAIN_STREAM
from rules_engine.scoring.models import Score
from tests.connectors.sync.outside import Outside

# Between the platforms' now and what their lists show: what settles, and what the last step brings.
SLACK = timedelta(minutes=20)
_MOST_TOLD = 20


@dataclass
class Judged:
    """What is wrong, by kind; and the figures of the report."""

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    differing: list[str] = field(default_factory=list)
    open_ends: list[str] = field(default_factory=list)  # windows, messages, freshness

    @property
    def is_good(self) -> bool:
        return not (self.lost or self.doubled or self.differing or self.open_ends)

    def list_wrongs(self) -> list[str]:
        """All of it in words, the first few of each kind."""
        kinds = (("lost", self.lost), ("doubled", self.doubled), ("differs", self.differing),
                 ("open", self.open_ends))  # fmt: skip
        return [f"{kind}: {words}" for kind, found in kinds for words in found[:_MOST_TOLD]]


@dataclass(frozen=True)
class Causes:
    """Which stuck orders were found with their true cause, of those the ledger names."""

    stuck: int
    found: int  # with the ledger's cause
    told: int  # named as anything but healthy
    right: int  # of them, with the ledger's cause
    by_cause: dict[str, tuple[int, int]]  # stuck, found

    @property
    def recall(self) -> float:
        return self.found / self.stuck if self.stuck else 1.0

    @property
    def precision(self) -> float:
        return self.right / self.told if self.told else 1.0


def judge(outside: Outside, lives: list[Life]) -> Judged:
    """Compare what is stored with what happened; nothing has happened for a while."""
    judged, now = Judged(), outside.now()
    known = [life for life in lives if life.placed + life.lag <= now]
    with for_environment(outside.environment, write=False):
        _judge_orders(judged, known, now)
        _judge_events(judged)
        _judge_payments(judged, known, now)
        _judge_receipts(judged, known, now)
        _judge_messages(judged, outside)
        _judge_ends(judged, now)
    return judged


def _judge_orders(judged: Judged, lives: list[Life], now: datetime) -> None:
    stored: dict[str, Order] = {}
    for order in Order.objects.select_related("shop").iterator(2000):
        if order.order_no in stored:
            judged.doubled.append(f"order {order.order_no}")
        stored[order.order_no] = order
    for life in lives:
        order = stored.pop(life.order_no, None)
        if order is None:
            judged.lost.append(f"order {life.order_no} of {life.channel}")
            continue
        for words in _list_differences(order, life, now):
            judged.differing.append(f"{life.channel} {life.order_no}: {words}")
    judged.doubled.extend(f"order {number} that never was" for number in stored)


def _list_differences(order: Order, life: Life, now: datetime) -> Iterator[str]:
    told = {
        "source_updated_at": life.modified_at(now),
        "shipped_at": life.shipped if has_come(life.shipped, now) else None,
        "oms_received_at": life.oms if has_come(life.oms, now) else None,
        "oms_reviewed_at": life.reviewed if has_come(life.reviewed, now) else None,
        "wms_received_at": life.wms if has_come(life.wms, now) else None,
        "wms_shipped_at": life.out if has_come(life.out, now) else None,
    }
    for name, true in told.items():
        here = getattr(order, name)
        if true is not None:
            true = true.replace(microsecond=0)
        if (here.replace(microsecond=0) if here else None) != true:
            yield f"{name} is {here}, not {true}"


def _judge_events(judged: Judged) -> None:
    last: dict[int, str] = {}
    seen: set[tuple[int, str, datetime]] = set()
    rows = StatusEvent.objects.order_by("order_id", "sequence").values_list(
        "order_id", "order__order_no", "stage", "occurred_at"
    )
    for pk, number, stage, at in rows.iterator(5000):
        if last.get(pk) == stage:
            judged.doubled.append(f"event {stage} of {number} twice in a row")
        if (pk, stage, at) in seen:
            judged.doubled.append(f"event {stage} of {number} at {at}")
        seen.add((pk, stage, at))
        last[pk] = stage
    for pk, number, stage in Order.objects.values_list("pk", "order_no", "stage"):
        if last.get(pk) != stage:
            judged.lost.append(f"event {stage} of {number}: the last is {last.get(pk)}")


def _judge_payments(judged: Judged, lives: list[Life], now: datetime) -> None:
    """Every payment a gateway took of an order of the own mall is here once."""
    rows = Payment.objects.filter(is_gateway=True, paid_at__isnull=False).values_list(
        "order_no", "paid_at", "amount_fen"
    )
    counted = Counter(rows)
    judged.doubled.extend(f"payment of {row[0]}" for row, times in counted.items() if times > 1)
    told = {number for number, _, _ in counted}
    for life in lives:
        if has_come(life.gateway_paid, now) and life.order_no not in told:
            judged.lost.append(f"payment of {life.order_no}")


def _judge_receipts(judged: Judged, lives: list[Life], now: datetime) -> None:
    kinds = Receipt.objects.values_list("order_no", "source__kind").annotate(n=Count("pk"))
    judged.doubled.extend(f"receipt of {no} from {kind}" for no, kind, n in kinds if n > 1)
    lonely = Receipt.objects.filter(order__isnull=True).count()
    if lonely:
        judged.lost.append(f"the orders of {lonely} receipts")


def _judge_messages(judged: Judged, outside: Outside) -> None:
    """What was accepted is here once and worked off; nothing of it waits or failed."""
    states = Counter(InboundMessage.objects.values_list("state", flat=True))
    for state in (InboundMessage.State.WAITING, InboundMessage.State.FAILED):
        if states[state]:
            judged.open_ends.append(f"{states[state]} messages are {state}")
    doubled = (
        InboundMessage.objects.values("connection", "replay_key")
        .annotate(n=Count("pk"))
        .filter(n__gt=1)
        .count()
    )
    if doubled:
        judged.doubled.append(f"{doubled} messages")
    accepted = {
        (a.app, a.operation, a.order_no) for a in outside.outbox.ledger if a.accepted and a.order_no
    }
    kept = set(
        InboundMessage.objects.exclude(order_no="").values_list("connection__vendor", "order_no")
    )
    vendors = {"mall": "private_mall"}
    for app, operation, number in accepted:
        if (vendors.get(app, app), number) not in kept:
            judged.lost.append(f"message {operation} of {number} from {app}")


def _judge_ends(judged: Judged, now: datetime) -> None:
    for cursor in Cursor.objects.select_related("connection__source"):
        if cursor.lease_until is not None and cursor.lease_until > now:
            judged.open_ends.append(f"{cursor} is still held")
        if cursor.stream == MAIN_STREAM and (
            cursor.done_until is None or now - cursor.done_until > SLACK
        ):
            judged.open_ends.append(f"{cursor} is closed until {cursor.done_until} only")
        source = cursor.connection.source
        late = timedelta(minutes=source.lateness_minutes)
        if source.complete_until is None or now - source.complete_until > late:
            judged.open_ends.append(f"{source} is complete until {source.complete_until} only")
        if cursor.connection.trouble_code:
            judged.open_ends.append(f"{source} is in trouble: {cursor.connection.trouble_code}")
    running = SyncRun.objects.filter(state=SyncRun.State.RUNNING).count()
    if running:
        judged.open_ends.append(f"{running} runs are still open")
    aside = Quarantine.objects.filter(state=Quarantine.State.OPEN)
    for row in aside[:_MOST_TOLD]:
        judged.open_ends.append(f"put aside: {row.order_no} {row.code}")


def judge_causes(outside: Outside, lives: list[Life]) -> Causes:
    """What scoring named, against the ledger. An order the platform showed a moment ago is judged
    by what it was a while before: it counts as found or as right either way."""
    now = outside.now()
    true_now, true_before = list_stuck(lives, now), list_stuck(lives, now - SLACK)
    stuck = {no: cause for no, cause in true_now.items() if true_before.get(no) == cause}
    with for_environment(outside.environment, write=False):
        found = dict(Score.objects.exclude(band="healthy").values_list("order__order_no", "cause"))
    by_cause: dict[str, tuple[int, int]] = {}
    for number, cause in stuck.items():
        all_of, found_of = by_cause.get(cause, (0, 0))
        by_cause[cause] = (all_of + 1, found_of + (found.get(number) == cause))
    right = sum(
        cause in {true_now.get(number), true_before.get(number)} for number, cause in found.items()
    )
    hits = sum(found.get(number) == cause for number, cause in stuck.items())
    return Causes(len(stuck), hits, len(found), right, dict(sorted(by_cause.items())))
