"""The template vocabulary: band, money, durations, moments, icons."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from django import template
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _

import config.wording
from config.errors import Phrase
from connectors.orders.statuses import STAGE_LABELS
from connectors.shops.models import Channel, SourceKind
from frontend import wording

register = template.Library()

# Paths on a 20 x 20 grid, stroked in the colour of the text.
_ICONS = {
    "river": "M2 6c4 0 4 3 8 3s4-3 8-3M2 13c4 0 4 3 8 3s4-3 8-3",
    "orders": "M5 3h10v14l-2.5-1.6L10 17l-2.5-1.6L5 17zM8 7h4M8 10.5h4",
    "hold": "M10 2.5a7.5 7.5 0 1 0 0 15 7.5 7.5 0 0 0 0-15M8 7v6M12 7v6",
    "files": "M4 3h7l5 5v9H4zM11 3v5h5",
    "checks": "M3 6l2 2 3-4M3 14l2 2 3-4M11 6h6M11 14h6",
    "review": "M4 3h12v10l-6 4-6-4zM7.5 9l2 2 3.5-4",
    "rollup": "M3 17V9h4v8M8 17V3h4v14M13 17v-6h4v6",
    "more": "M4 6h12M4 10h12M4 14h12",
}


@register.simple_tag
def icon(name: str) -> SafeString:
    """A decorative icon of 20 px."""
    return format_html(
        '<svg width="20" height="20" viewBox="0 0 20 20" aria-hidden="true"><path d="{}" fill="none" '
        'stroke="currentColor" stroke-width="1.6" stroke-linecap="round" stroke-linejoin="round"/></svg>',
        _ICONS[name],
    )


@register.simple_tag
def band(code: str | None, score_hundredths: int | None = None) -> SafeString:
    """A band as sign, word and (given) score: ✕ 红 49. No band: not scored yet."""
    if not code:
        return format_html('<span class="band unknown">{}</span>', _("未评分"))
    label = wording.describe_band(code)
    points = "" if score_hundredths is None else f" {wording.describe_score(score_hundredths)}"
    return format_html('<span class="band {}">{}{}</span>', code, label, points)


@register.simple_tag
def result(code: str) -> SafeString:
    """The result of one dimension, with the sign of its band."""
    look, label = wording.RESULT_LOOKS[code], wording.describe_outcome(code)
    return format_html('<span class="band {}">{}</span>', look, label)


@register.filter
def say(phrase: Phrase) -> str:
    """A phrase in the reader's language."""
    return config.wording.say(phrase)


@register.filter
def in_a_row(parts: Iterable[str]) -> str:
    """Words with the marks of the reader's language between them."""
    return config.wording.join_words(parts)


@register.filter
def thousands(number: int | None) -> str:
    """1300 -> 1,300; None -> a dash."""
    return "—" if number is None else wording.describe_count(number)


@register.filter
def yuan(fen: int | None) -> str:
    """Fen as yuan with two decimals."""
    return wording.describe_fen(fen)


@register.filter
def yuan_rounded(fen: int | None) -> str:
    """Fen as whole yuan, for tiles and tables."""
    return wording.describe_fen(fen, rounded=True)


@register.filter
def points(hundredths: int | None) -> str:
    """Hundredths of a point: 6999 -> 69.99, never rounded up."""
    return wording.describe_score(hundredths)


@register.filter
def duration(span: timedelta | float | None) -> str:
    """A timedelta, or a number of seconds, in words."""
    if isinstance(span, int | float):
        span = timedelta(seconds=span)
    return wording.describe_duration(span)


@register.filter
def minutes(number: float | str | None) -> str:
    """A number of minutes in words; what is no number (a half-written draft) stays as it is."""
    if isinstance(number, str):
        return number or "—"
    return wording.describe_duration(None if number is None else timedelta(minutes=number))


def _time(text: str, moment: datetime) -> SafeString:
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        moment.isoformat(),
        wording.describe_exact(moment),
        text,
    )


@register.filter
def exact(at: datetime | None) -> str:
    """A moment to the second, as words inside a sentence."""
    return wording.describe_exact(at)


@register.simple_tag
def moment(at: datetime | None, now: datetime | None = None) -> SafeString:
    """A moment, short; exact on hover."""
    if at is None:
        return mark_safe("—")  # noqa: S308 - a constant
    return _time(wording.describe_moment(at, now or timezone.now()), at)


@register.simple_tag
def clock(at: datetime) -> SafeString:
    """A moment as hour, minute, second; exact on hover."""
    return _time(wording.describe_moment(at, timezone.now()), at)


@register.simple_tag
def ago(at: datetime | None, now: datetime | None = None) -> SafeString:
    """How long ago a moment was, as a span; exact on hover."""
    if at is None:
        return mark_safe("—")  # noqa: S308 - a constant
    return _time(wording.describe_duration((now or timezone.now()) - at), at)


@register.simple_tag
def remaining(deadline: datetime | None, now: datetime | None = None) -> SafeString:
    """What is left until a deadline, red when it has passed; exact on hover."""
    if deadline is None:
        return mark_safe("—")  # noqa: S308 - a constant
    now = now or timezone.now()
    return format_html(
        '<time class="{}" datetime="{}" title="{}">{}</time>',
        "danger strong" if deadline < now else "",
        deadline.isoformat(),
        wording.describe_exact(deadline),
        wording.describe_remaining(deadline, now),
    )


@register.simple_tag
def countdown(deadline: datetime | None, now: datetime | None = None) -> SafeString:
    """What is left as a running clock, red when it has run out; exact on hover."""
    if deadline is None:
        return mark_safe("—")  # noqa: S308 - a constant
    now = now or timezone.now()
    return format_html(
        '<time class="countdown{}" datetime="{}" title="{}" data-countdown>{}</time>',
        " danger" if deadline < now else "",
        deadline.isoformat(),
        wording.describe_exact(deadline),
        wording.describe_countdown(deadline, now),
    )


@register.filter
def channel_label(code: str) -> str:
    """天猫 for tmall."""
    return str(Channel(code).label) if code in Channel.values else code


@register.filter
def source_kind_label(code: str) -> str:
    """支付网关 for gateway."""
    return str(SourceKind(code).label) if code in SourceKind.values else code


@register.filter
def stage_label(code: str) -> str:
    """待发货 for await_ship."""
    return _(STAGE_LABELS[code]) if code in STAGE_LABELS else code


@register.filter
def get(mapping: Any, key: Any) -> Any:
    """mapping[key], or None."""
    return mapping.get(key)
