"""An order's timeline: what every source told, what we inferred, what we did, newest first.

A moment stands where it happened. When it was learnt later than that, it says so: a late message
explains why nobody acted in between.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import zip_longest
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from connectors.orders.models import Order, StatusEvent
from connectors.orders.timeline import (
    EVENT,
    PASSAGE,
    PAYMENT,
    SHIPMENT,
    TOPIC_LABELS,
    TimelineEntry,
    list_timeline,
)
from frontend.wording import (
    describe_band,
    describe_duration,
    describe_exact,
    describe_fen,
    describe_score,
)
from rules_engine.scoring.models import ScoreChange
from workflows.causes import UNKNOWN_CAUSE
from workflows.interventions.models import Alert, Hold, Repair

# Later than this is late enough to have mattered.
LATE = timedelta(minutes=5)
_HARDLY = timedelta(seconds=1)
_KINDS: dict[str, tuple[Any, Any]] = {
    StatusEvent.Kind.INFERRED: (
        gettext_lazy("推断"),
        gettext_lazy("没有来源直接说过，由别的消息推出来的"),
    ),
    StatusEvent.Kind.CORRECTED: (
        gettext_lazy("更正"),
        gettext_lazy("来源后来改了口，以改过的为准"),
    ),
}


@dataclass(frozen=True)
class Moment:
    """One thing that happened to the order.

    `tag` and `tag_help` mark what was inferred or corrected; `learnt` says when we knew, when that
    was later, and `is_late` that it was much later.
    """

    at: datetime
    text: str
    note: str = ""
    look: str = ""  # "bad", "good" or nothing
    rank: int = 0  # order among equal moments
    tag: Any = ""
    tag_help: Any = ""
    learnt: str = ""
    learnt_exact: str = ""
    is_late: bool = False
    topic: str = ""


def build_timeline(
    order: Order,
    *,
    changes: Sequence[ScoreChange],
    holds: Sequence[Hold],
    alerts: Sequence[Alert],
    repairs: Sequence[Repair],
) -> list[Moment]:
    """Everything known about the order's way, newest first (the sources' part asks six queries)."""
    moments = [_describe_entry(entry, place) for place, entry in enumerate(list_timeline(order))]
    moments += _describe_changes(changes)
    for alert in alerts:
        moments += _describe_alert(alert)
    for hold in holds:
        moments += _describe_hold(hold)
    moments += [_describe_repair(repair) for repair in repairs]
    return sorted(moments, key=lambda moment: (moment.at, moment.rank), reverse=True)


# --- what the sources told ------------------------------------------------------------------------

# Told things stand before what we made of them at the same moment, in the order of the timeline.
_OURS = 1_000_000


def _describe_entry(entry: TimelineEntry, place: int) -> Moment:
    tag, tag_help = _KINDS.get(entry.kind, ("", ""))
    is_learnt = entry.lag is not None and entry.lag >= _HARDLY and entry.recorded_at is not None
    return Moment(
        at=(entry.until or entry.at) if entry.topic == PASSAGE else entry.at,
        text=_WORDS.get(entry.topic, _say_label)(entry),
        note=" · ".join(part for part in _list_notes(entry) if part),
        rank=place,
        tag=tag,
        tag_help=tag_help,
        learnt=_("%(span)s后得知") % {"span": describe_duration(entry.lag)} if is_learnt else "",
        learnt_exact=_("%(at)s 得知") % {"at": describe_exact(entry.recorded_at)}
        if is_learnt
        else "",
        is_late=is_learnt and entry.lag is not None and entry.lag >= LATE,
        topic=str(_(TOPIC_LABELS[entry.topic])),
    )


def _say_label(entry: TimelineEntry) -> str:
    return _(entry.label)


def _say_event(entry: TimelineEntry) -> str:
    return _("渠道状态：%(stage)s") % {"stage": _(entry.label)}


def _say_passage(entry: TimelineEntry) -> str:
    if entry.until is None:
        return _("到达%(node)s，停在这里") % {"node": _(entry.label)}
    return _("通过%(node)s") % {"node": _(entry.label)}


def _say_payment(entry: TimelineEntry) -> str:
    return _("付款：%(status)s") % {"status": _(entry.label)}


_WORDS = {EVENT: _say_event, PASSAGE: _say_passage, PAYMENT: _say_payment}


def _list_notes(entry: TimelineEntry) -> Iterator[str]:
    """Source, the source's own word, money, reference, how long."""
    yield entry.source
    if entry.topic == PASSAGE and entry.until is not None and entry.until - entry.at >= _HARDLY:
        yield _("用时 %(span)s") % {"span": describe_duration(entry.until - entry.at)}
    if entry.amount_fen is not None:
        yield describe_fen(entry.amount_fen)
    if entry.detail and entry.detail != entry.label:
        yield entry.detail
    if entry.reference:
        # A parcel is looked up by its whole number; of a payment the end tells which.
        yield entry.reference if entry.topic == SHIPMENT else f"…{entry.reference[-6:]}"


# --- what we made of it ---------------------------------------------------------------------------


def _describe_changes(changes: Sequence[ScoreChange]) -> list[Moment]:
    """Score changes, newest first, each beside the one before it."""
    moments = []
    for change, before in zip_longest(changes, changes[1:]):
        now_text = f"{describe_band(change.band)} {describe_score(change.score_hundredths)}"
        if before is None:
            words = _("首次评分 %(score)s") % {"score": now_text}
        else:
            was = f"{describe_band(before.band)} {describe_score(before.score_hundredths)}"
            words = _("评分 %(before)s → %(after)s") % {"before": was, "after": now_text}
        note = " · ".join(
            x
            for x in (
                change.cause if change.needs_intervention else "",
                str(change.get_why_display()),
                _("规则 v%(n)s") % {"n": change.version.number} if change.version else "",
            )
            if x
        )
        worse = before is not None and change.severity > before.severity
        better = before is not None and change.severity < before.severity
        first_bad = before is None and change.band != "healthy"
        look = "bad" if worse or first_bad else "good" if better else ""
        moments.append(Moment(change.at, words, note, look, rank=_OURS + 3, topic=_("评分")))
    return moments


def _describe_alert(alert: Alert) -> Iterator[Moment]:
    words = _("开始告警（%(level)s）：%(cause)s") % {
        "level": alert.get_level_display(),
        "cause": alert.cause or _(UNKNOWN_CAUSE),
    }
    yield Moment(alert.opened_at, words, look="bad", rank=_OURS + 4, topic=_("告警"))
    if alert.closed_at:
        note = str(alert.get_close_reason_display())
        yield Moment(alert.closed_at, _("告警结束"), note, "good", _OURS + 4, topic=_("告警"))


def _describe_hold(hold: Hold) -> Iterator[Moment]:
    who = str(hold.placed_by) if hold.placed_by else _("巡检自动")
    note = f"{hold.get_reach_display()} · {who}"
    yield Moment(hold.placed_at, _("挂起"), note, "bad", _OURS + 5, topic=_("挂起"))
    if hold.released_at:
        who = str(hold.released_by) if hold.released_by else ""
        reason = hold.release_reason or str(hold.get_release_kind_display())
        note = " · ".join(x for x in (reason, who) if x)
        yield Moment(hold.released_at, _("解除挂起"), note, "good", _OURS + 5, topic=_("挂起"))


def _describe_repair(repair: Repair) -> Moment:
    result = _("已修复") if repair.is_mended else _("未修复")
    band = describe_band(repair.after_band) if repair.after_band else ""
    score = describe_score(repair.after_hundredths)
    note = " · ".join(x for x in (f"{band} {score}".strip(), str(repair.actor or "")) if x)
    look = "good" if repair.is_mended else ""
    words = _("重新读取并重评：%(result)s") % {"result": result}
    return Moment(repair.at, words, note, look, rank=_OURS + 6, topic=_("修复"))
