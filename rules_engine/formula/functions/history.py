"""The order's own history: nodes it went through, stages it was in, how long and how often.

The rows come from hidden facts that the checker puts before the arguments: passages (node, entered,
left) and events (stage, at), oldest first. What a late feed may not have told yet stands in them
as UNKNOWN, so that "never" is said only when it is known.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from config.errors import gettext_noop
from rules_engine.formula.values import (
    MS_PER_DAY,
    UNKNOWN,
    ErrorValue,
    Unknown,
    Value,
    ValueType,
)

from .registry import Cost, function, term

PASSAGES: Final = "history.passages"
EVENTS: Final = "history.events"
_TOPIC: Final = gettext_noop("订单经历")
_IMPLICIT: Final = (PASSAGES, EVENTS)
_NO_BLANK: Final = gettext_noop("参数是写出来的节点或阶段，没有空值")
_UNKNOWN: Final = gettext_noop("来源滞后、还不能断定时，结果未知")
_HOUR, _MINUTE = 3_600_000, 60_000

_WAY: Final[dict[str, object]] = {
    PASSAGES: [
        {"node": "node:payment", "entered_at": 46_337.0, "left_at": 46_337.5},
        {"node": "node:wms_push", "entered_at": 46_337.5, "left_at": None},
    ],
    EVENTS: [
        {"stage": "stage:await_pay", "at": 46_337.0},
        {"stage": "stage:await_ship", "at": 46_337.5},
    ],
}

Stay = tuple[Value, Value]  # entered, left (blank: still there)


def _list_stays(passages: Value, events: Value, wanted: Value) -> Iterator[Stay]:
    """The stays at a node or in a stage; one that may have been is (UNKNOWN, UNKNOWN)."""
    if str(wanted).startswith("node:"):
        for row in _rows(passages):
            if row.get(f"{PASSAGES}.node") == wanted:
                yield _read(row, f"{PASSAGES}.entered_at"), _read(row, f"{PASSAGES}.left_at")
        return
    told = _rows(events)
    for place, row in enumerate(told):
        stage, at = row.get(f"{EVENTS}.stage"), _read(row, f"{EVENTS}.at")
        if stage == wanted:
            yield at, _read(told[place + 1], f"{EVENTS}.at") if place + 1 < len(told) else None
        elif stage is None:
            yield UNKNOWN, UNKNOWN


def _rows(value: Value) -> tuple[Mapping[str, Any], ...]:
    """The rows as collected; whatever else stands there tells of nothing."""
    return tuple(row for row in value if isinstance(row, Mapping)) if type(value) is tuple else ()


def _read(row: Mapping[str, Any], column: str) -> Value:
    """A moment of a row: a float, blank, or UNKNOWN for what is neither."""
    value = row.get(column, UNKNOWN)
    return value if value is None or type(value) is float else UNKNOWN


def _is_unknown(*values: Value) -> bool:
    return any(isinstance(value, Unknown) for value in values)


@function(
    "曾进入",
    "HASENTERED",
    term(gettext_noop("节点或阶段"), "node", "stage"),
    result=ValueType.LOGICAL,
    implicit=_IMPLICIT,
    cost=Cost.ROWS,
    topic=_TOPIC,
    blank=_NO_BLANK,
    unknown=_UNKNOWN,
    reading="曾进入{0}",
    description=gettext_noop("订单是否到过这个节点或阶段，现在还在也算。"),
    examples=[
        ('曾进入("推送WMS")', True, _WAY),
        ('曾进入("待发货")', True, _WAY),
        ('曾进入("支付")', False, {PASSAGES: [], EVENTS: []}),
    ],
)
def has_entered(passages: Value, events: Value, wanted: Value) -> Value:
    """Tell whether the order was ever there; UNKNOWN only while a late feed may yet say so."""
    answer: Value = False
    for entered, _left in _list_stays(passages, events, wanted):
        if not _is_unknown(entered):
            return True
        answer = UNKNOWN
    return answer


def _time_spent(now: Value, passages: Value, events: Value, wanted: Value, unit: int) -> Value:
    total = 0
    for entered, left in _list_stays(passages, events, wanted):
        end = now if left is None else left
        if not isinstance(entered, float) or not isinstance(end, float):
            return UNKNOWN
        distance = (end - entered) * MS_PER_DAY
        if not abs(distance) < 1e15:
            return ErrorValue.NUM
        total += round(distance)
    return total / unit


@function(
    "在节点时长小时",
    "HOURSAT",
    term(gettext_noop("节点或阶段"), "node", "stage"),
    result=ValueType.NUMBER,
    implicit=_IMPLICIT,
    uses_now=True,
    cost=Cost.ROWS,
    topic=_TOPIC,
    aliases=("在节点时长", "在阶段时长小时"),
    blank=_NO_BLANK,
    unknown=_UNKNOWN,
    reading="在{0}停留的小时数",
    description=gettext_noop(
        "订单在这个节点或阶段一共停留了多少小时；还在那里时算到现在，没到过是 0。"
    ),
    examples=[
        ('在节点时长小时("支付")', 12.0, _WAY),
        ('在节点时长小时("待付款")', 12.0, _WAY),
        ('在节点时长小时("支付")', 0.0, {PASSAGES: [], EVENTS: []}),
    ],
)
def count_hours_at(now: float, passages: Value, events: Value, wanted: Value) -> Value:
    """Hours at a node or in a stage, all stays together."""
    return _time_spent(now, passages, events, wanted, _HOUR)


@function(
    "在节点时长分钟",
    "MINUTESAT",
    term(gettext_noop("节点或阶段"), "node", "stage"),
    result=ValueType.NUMBER,
    implicit=_IMPLICIT,
    uses_now=True,
    cost=Cost.ROWS,
    topic=_TOPIC,
    aliases=("在阶段时长分钟",),
    blank=_NO_BLANK,
    unknown=_UNKNOWN,
    reading="在{0}停留的分钟数",
    description=gettext_noop(
        "订单在这个节点或阶段一共停留了多少分钟；还在那里时算到现在，没到过是 0。"
    ),
    examples=[('在节点时长分钟("支付")', 720.0, _WAY)],
)
def count_minutes_at(now: float, passages: Value, events: Value, wanted: Value) -> Value:
    """Minutes at a node or in a stage, all stays together."""
    return _time_spent(now, passages, events, wanted, _MINUTE)


@function(
    "首次进入时间",
    "FIRSTENTERED",
    term(gettext_noop("节点或阶段"), "node", "stage"),
    result=ValueType.DATETIME,
    implicit=_IMPLICIT,
    cost=Cost.ROWS,
    topic=_TOPIC,
    blank=_NO_BLANK,
    unknown=_UNKNOWN,
    reading="首次进入{0}的时间",
    description=gettext_noop("订单第一次进入这个节点或阶段的时间；没到过时得出空值。"),
    examples=[
        ('首次进入时间("推送WMS")', 46_337.5, _WAY),
        ('首次进入时间("支付")', None, {PASSAGES: [], EVENTS: []}),
    ],
)
def find_first_entered(passages: Value, events: Value, wanted: Value) -> Value:
    """The moment of the first stay; blank when there is none."""
    return next((entered for entered, _left in _list_stays(passages, events, wanted)), None)


@function(
    "状态变化次数",
    "STATUSCHANGES",
    result=ValueType.NUMBER,
    implicit=(EVENTS,),
    cost=Cost.ROWS,
    topic=_TOPIC,
    blank=gettext_noop("没有参数"),
    unknown=_UNKNOWN,
    reading="状态变化的次数",
    description=gettext_noop("订单的阶段变过多少次；刚来时的第一个阶段不算变化。"),
    examples=[
        ("状态变化次数()", 1.0, {EVENTS: _WAY[EVENTS]}),
        ("状态变化次数()", 0.0, {EVENTS: []}),
    ],
)
def count_status_changes(events: Value) -> Value:
    """How often the stage changed after the first one was told."""
    told = _rows(events)
    if any(_is_unknown(_read(row, f"{EVENTS}.at")) for row in told):
        return UNKNOWN
    return float(max(0, len(told) - 1))
