"""How numbers, money, moments and durations are worded on every page."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.utils import timezone
from django.utils.translation import gettext as _

from rules_engine.scoring.bands import BAND_LABELS, OUTCOME_LABELS

# The band whose colour and sign the result of a dimension borrows.
RESULT_LOOKS = {
    "pass": "healthy",
    "partial": "yellow",
    "fail": "red",
    "insufficient": "unknown",
    "not_applicable": "unknown",
}


def describe_band(code: str) -> str:
    """红 for red."""
    return _(BAND_LABELS[code])


def describe_outcome(code: str) -> str:
    """不通过 for fail."""
    return _(OUTCOME_LABELS[code])


def describe_count(number: int) -> str:
    """1300 -> "1,300"."""
    return f"{number:,}"


def describe_fen(fen: int | None, *, rounded: bool = False) -> str:
    """Fen as yuan: "¥1,268.00", or "¥1,268" when rounded. Unknown is a dash."""
    if fen is None:
        return "—"
    sign, fen = ("-" if fen < 0 else ""), abs(fen)
    if rounded:
        return f"{sign}¥{(fen + 50) // 100:,}"
    return f"{sign}¥{fen // 100:,}.{fen % 100:02d}"


def describe_score(hundredths: int | None) -> str:
    """Hundredths as points without ever rounding up: 6999 -> "69.99", 4900 -> "49"."""
    if hundredths is None:
        return "—"
    sign, rest = ("-" if hundredths < 0 else ""), abs(hundredths)
    whole, part = divmod(rest, 100)
    return f"{sign}{whole}" + (f".{part:02d}".rstrip("0") if part else "")


def describe_duration(span: timedelta | None) -> str:
    """A span in its two largest units: "1 小时 52 分", "4.2 秒" below a minute; never negative."""
    if span is None:
        return "—"
    seconds = abs(span.total_seconds())
    if seconds < 10:
        return _("%(n)s 秒") % {"n": f"{seconds:.1f}".removesuffix(".0")}
    if seconds < 60:
        return _("%(n)s 秒") % {"n": int(seconds)}
    minutes = int(seconds // 60)
    if minutes < 60:
        return _("%(n)s 分钟") % {"n": minutes}
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        if not minutes or hours >= 10:
            return _("%(n)s 小时") % {"n": hours}
        return _("%(h)s 小时 %(m)s 分") % {"h": hours, "m": minutes}
    days, hours = divmod(hours, 24)
    if not hours or days >= 10:
        return _("%(n)s 天") % {"n": days}
    return _("%(d)s 天 %(h)s 小时") % {"d": days, "h": hours}


def describe_remaining(deadline: datetime | None, now: datetime) -> str:
    """What is left until a deadline: "1 小时 20 分", or "超时 3 小时"."""
    if deadline is None:
        return "—"
    if deadline < now:
        return _("超时 %(span)s") % {"span": describe_duration(now - deadline)}
    return describe_duration(deadline - now)


def describe_countdown(deadline: datetime | None, now: datetime) -> str:
    """What is left as a clock: "03:12:45", "3 天 04:12:45", "超时 00:12:33" (countdown.js says
    the same every second, so the text keeps its width)."""
    if deadline is None:
        return "—"
    seconds = int(abs((deadline - now).total_seconds()))
    days, rest = divmod(seconds, 86400)
    text = f"{rest // 3600:02d}:{rest // 60 % 60:02d}:{rest % 60:02d}"
    if days:
        text = _("%(n)s 天 %(clock)s") % {"n": days, "clock": text}
    return _("超时 %(span)s") % {"span": text} if deadline < now else text


def describe_exact(moment: datetime | None) -> str:
    """A moment to the second in the environment's time zone."""
    if moment is None:
        return "—"
    local = timezone.localtime(moment)
    return f"{local:%Y-%m-%d %H:%M:%S}"


def describe_moment(moment: datetime | None, now: datetime) -> str:
    """A moment as short as it is clear: time today, day and time otherwise."""
    if moment is None:
        return "—"
    local, today = timezone.localtime(moment), timezone.localtime(now)
    if local.date() == today.date():
        return f"{local:%H:%M:%S}"
    if local.year == today.year:
        return f"{local:%m-%d %H:%M}"
    return f"{local:%Y-%m-%d %H:%M}"
