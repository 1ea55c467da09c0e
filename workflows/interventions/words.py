"""The words of a message: what is wrong, what it costs, how long is left, what was done."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.utils.translation import gettext as _

from connectors.systems.robots import write_plain
from rules_engine.scoring.bands import format_score
from workflows.interventions.models import (
    Alert,
    AlertGroup,
    Delivery,
    Hold,
    HoldEffect,
    SourceAlert,
    Topic,
)

LISTED = 10
_LONG_NUMBER = re.compile(r"(?<!\d)(1\d{2})\d{4}(\d{4})(?!\d)")


@dataclass(frozen=True)
class Words:
    """A message without its addressees."""

    title: str
    text: str


@dataclass(frozen=True)
class OrderWords:
    """What a message says of one order."""

    order_no: str
    shop: str
    score_hundredths: int
    reason: str
    amount_fen: int | None
    deadline_at: datetime | None
    hold_state: str
    reach: str
    effect: str = ""  # HoldEffect.State, where the hold could not be made true outside


def write_alerts(
    group: AlertGroup, orders: Sequence[OrderWords], *, place: str, now: datetime
) -> Words:
    """One cause at one level in one message: count, yuan, deadline, the ten most urgent, link."""
    urgent = sorted(orders, key=lambda o: (o.deadline_at is None, o.deadline_at, o.order_no))
    cause = write_plain(group.cause) or _("未归因")
    title = _("%(level)s·%(cause)s %(count)s 单") % {
        "level": group.get_topic_display(),
        "cause": cause,
        "count": len(orders),
    }
    known = [o.amount_fen for o in orders if o.amount_fen is not None]
    if known:
        title += " " + write_yuan(sum(known))
    if urgent[0].deadline_at is not None:
        title += "，" + _write_deadline(urgent[0].deadline_at, now)
    lines = [f"### {title}", f"{write_plain(place)} · {_hold_words(orders)}".rstrip(" ·"), ""]
    lines += [_order_line(o, now) for o in urgent[:LISTED]]
    if len(orders) > LISTED:
        lines.append(_("- 另有 %(count)s 单，见页面") % {"count": len(orders) - LISTED})
    return Words(title=title[:200], text="\n".join([*lines, "", _footer(group)]))


def write_sources(
    group: AlertGroup, alerts: Sequence[SourceAlert], *, place: str, now: datetime
) -> Words:
    """Late sources: one message however many orders wait for them."""
    title = _("来源滞后 %(count)s 个：%(names)s") % {
        "count": len(alerts),
        "names": "、".join(write_plain(a.source.name, limit=20) for a in alerts[:3]),
    }
    lines = [f"### {title}", write_plain(place), ""]
    for alert in alerts[:LISTED]:
        lines.append(
            _("- %(name)s：数据截至 %(span)s前，允许滞后 %(allowed)s 分钟")
            % {
                "name": write_plain(alert.source.name),
                "span": write_span(now - alert.complete_until),
                "allowed": alert.source.lateness_minutes,
            }
        )
    lines += ["", _("依赖它的检查项暂按「数据不足」处理，不扣分、不挂起。请检查连接器或导入任务")]
    return Words(title=title[:200], text="\n".join([*lines, "", _footer(group)]))


def write_brake(group: AlertGroup, *, waiting: int, recent: int, limit: int, place: str) -> Words:
    """The question to a person: may these be held too?"""
    title = _("请确认：%(count)s 单红色订单等待挂起") % {"count": waiting}
    lines = [
        f"### {title}",
        write_plain(place),
        "",
        _("十分钟内已自动挂起 %(recent)s 单，上限 %(limit)s 单。其余先不挂起，等您决定")
        % {"recent": recent, "limit": limit},
        "",
        _footer(group),
    ]
    return Words(title=title[:200], text="\n".join(lines))


def write_digest(deliveries: Sequence[Delivery]) -> Words:
    """Several messages in one, when a robot's minute is used up."""
    title = _("汇总 %(count)s 条告警") % {"count": len(deliveries)}
    lines = [f"### {title}", _("发送额度已用完，以下合并为一条"), ""]
    for delivery in deliveries:
        line = f"- {delivery.title}"
        if delivery.group is not None:
            line += f" {delivery.group} [{_('查看')}]({write_link(delivery.group)})"
        lines.append(line)
    return Words(title=title, text="\n".join(lines))


def write_again(title: str, text: str) -> Words:
    """The same message a second time, marked: the first may have arrived."""
    mark = _("【重发】")
    return Words(
        title=(mark + title)[:200],
        text=mark + _("上一次发送没有收到回执，可能重复，以编号为准") + "\n\n" + text,
    )


def write_link(group: AlertGroup) -> str:
    """The page of a group, for people with a browser."""
    return f"{settings.HEDAO_BASE_URL}/alerts/{group.public_id}/"


def write_yuan(fen: int) -> str:
    """Fen as yuan with two decimals below a thousand, rounded above."""
    if abs(fen) < 100_000:
        return f"¥{fen / 100:,.2f}"
    return f"¥{round(fen / 100):,}"


def write_span(span: timedelta) -> str:
    """A span in its two largest units: 1 小时 52 分."""
    minutes = max(int(span.total_seconds()) // 60, 0)
    days, hours = minutes // 1440, minutes % 1440 // 60
    if days:
        return _("%(d)s 天 %(h)s 小时") % {"d": days, "h": hours}
    if hours:
        return _("%(h)s 小时 %(m)s 分") % {"h": hours, "m": minutes % 60}
    return _("%(m)s 分钟") % {"m": minutes}


def _write_deadline(deadline: datetime, now: datetime) -> str:
    if deadline <= now:
        return _("最早一单已超时 %(span)s") % {"span": write_span(now - deadline)}
    return _("最早 %(span)s后超时") % {"span": write_span(deadline - now)}


def _order_line(order: OrderWords, now: datetime) -> str:
    parts = [
        _("%(score)s 分") % {"score": format_score(order.score_hundredths)},
        _LONG_NUMBER.sub(r"\1****\2", write_plain(order.reason, limit=80)),
    ]
    if order.amount_fen is not None:
        parts.append(write_yuan(order.amount_fen))
    if order.deadline_at is not None:
        left = order.deadline_at - now
        parts.append(
            _("剩 %(span)s") % {"span": write_span(left)} if left > timedelta() else _("已超时")
        )
    shown = " · ".join(part for part in parts if part)
    return f"- {write_plain(order.order_no)}（{write_plain(order.shop, limit=20)}）{shown}"


def _hold_words(orders: Sequence[OrderWords]) -> str:
    """What became of the holds: a failed one is said first and plainly."""
    counts = Counter(order.hold_state for order in orders)
    said = []
    if failed := counts[Alert.HoldState.FAILED]:
        said.append(_("⚠ %(n)s 单挂起失败，请立即人工拦下") % {"n": failed})
    if held := counts[Alert.HoldState.HELD]:
        said.append(_("已挂起 %(n)s 单") % {"n": held})
        if any(o.reach == Hold.Reach.LOCAL for o in orders if o.hold_state == Alert.HoldState.HELD):
            said.append(_("挂起仅在本系统生效：OMS、WMS 未接通写入，请同时在 OMS 拦下"))
        effects = Counter(o.effect for o in orders if o.hold_state == Alert.HoldState.HELD)
        if late := effects.pop(HoldEffect.State.TOO_LATE, 0):
            said.append(_("⚠ %(n)s 单仓库已拣货或已出库，停不下：请拦截物流") % {"n": late})
        if stuck := sum(n for state, n in effects.items() if state):
            said.append(_("⚠ %(n)s 单对方系统停不下：请立即人工拦下") % {"n": stuck})
    if waiting := counts[Alert.HoldState.WAITING]:
        said.append(_("%(n)s 单等人确认后才挂起") % {"n": waiting})
    return "；".join(said)


def _footer(group: AlertGroup) -> str:
    action = _("查看并决定") if group.topic == Topic.BRAKE else _("查看并处理")
    return f"[{action}]({write_link(group)})　{_('编号')} {group}"
