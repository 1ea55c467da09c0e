"""By when an order must be shipped: rules per channel and promotion, kept as a lookup table.

The table `deadlines` is a document of the release machine (kind lookup_table). A row names a
channel (or 全部) and an occasion: 平时, or a promotion with its window; the rule is a number of
hours after payment, a last moment, or both (the earlier counts). What binds an order, first match:

1. the balance's end of a presale whose deposit is paid,
2. a promotion row of its channel (or of all) in whose window it was paid,
3. the platform's own promise,
4. the ordinary row of its channel, then of all, then 48 hours after payment.

While nothing is paid nothing is due, whatever a page of goods promises; on delivery it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo

from config.errors import Phrase, gettext_noop
from config.releases.services import get_published
from config.tenancy.models import Environment
from config.tenancy.scope import require_environment_id
from connectors.orders.models import Order
from connectors.orders.statuses import PresalePhase, Stage
from connectors.shops.models import Channel
from connectors.shops.services import get_channel_code

TABLE_KIND, TABLE_KEY = "lookup_table", "deadlines"
EVERY_CHANNEL, ORDINARY = gettext_noop("全部"), gettext_noop("平时")
# A platform that tells no promise still expects dispatch within 48 hours of payment.
DEFAULT_HOURS = 48
_UNPAID = frozenset({Stage.AWAIT_PAY, Stage.PAY_PROCESSING})
_MAX_HOURS = 24 * 90
_MAX_KEPT = 500


def _column(key: str, label: str, type: str, *, is_key: bool = False) -> dict[str, Any]:
    return {"key": key, "label": label, "type": type, "is_key": is_key, "default": None}


DEADLINE_TABLE: dict[str, Any] = {
    "key": TABLE_KEY,
    "name": gettext_noop("发货期限"),
    "columns": [
        _column("channel", gettext_noop("渠道"), "text", is_key=True),
        _column("occasion", gettext_noop("活动"), "text", is_key=True),
        _column("starts_at", gettext_noop("付款从"), "datetime"),
        _column("ends_at", gettext_noop("付款到"), "datetime"),
        _column("hours", gettext_noop("付款后小时"), "number"),
        _column("ship_by", gettext_noop("最晚发货"), "datetime"),
    ],
    "rows": [[EVERY_CHANNEL, ORDINARY, None, None, DEFAULT_HOURS, None]],
}


class Basis(StrEnum):
    """Why an order's deadline is what it is."""

    BALANCE = "balance"
    PROMOTION = "promotion"
    PROMISE = "promise"
    CHANNEL = "channel"
    DEFAULT = "default"


BASIS_LABELS: dict[str, str] = {
    Basis.BALANCE: gettext_noop("尾款截止"),
    Basis.PROMOTION: gettext_noop("活动期限"),
    Basis.PROMISE: gettext_noop("平台承诺"),
    Basis.CHANNEL: gettext_noop("渠道期限"),
    Basis.DEFAULT: gettext_noop("通用期限"),
}


@dataclass(frozen=True, slots=True)
class ShipRule:
    """One row: `channel` "" means all, `starts_at` None means the ordinary rule."""

    channel: str
    occasion: str
    starts_at: datetime | None
    ends_at: datetime | None
    hours: float | None
    ship_by: datetime | None

    def deadline(self, paid_at: datetime) -> datetime:
        """The earlier of the hours after payment and the last moment."""
        ends = [m for m in (self.ship_by,) if m is not None]
        if self.hours is not None:
            ends.append(paid_at + timedelta(hours=self.hours))
        return min(ends)


SHIPPED_RULES: tuple[ShipRule, ...] = (ShipRule("", "", None, None, DEFAULT_HOURS, None),)


@dataclass(frozen=True, slots=True)
class Deadline:
    """A deadline and what it comes from; `occasion` names the promotion."""

    at: datetime | None
    basis: Basis | None = None
    occasion: str = ""


def find_deadline(order: Order, rules: Sequence[ShipRule] = SHIPPED_RULES) -> Deadline:
    """When it is too late for an order, and by which rule (see the head of this module)."""
    if order.presale_phase == PresalePhase.DEPOSIT_PAID:
        return Deadline(order.balance_due_at, Basis.BALANCE)
    paid = order.paid_at or order.gateway_paid_at
    if paid is None and order.stage in _UNPAID and not order.is_cod:
        return Deadline(None)
    found = _pick(order.channel, paid, rules)
    if paid is not None and found is not None and found.starts_at is not None:
        return Deadline(found.deadline(paid), Basis.PROMOTION, found.occasion)
    if order.promised_ship_at is not None:
        return Deadline(order.promised_ship_at, Basis.PROMISE)
    if paid is None:
        return Deadline(None)
    if found is None:
        return Deadline(paid + timedelta(hours=DEFAULT_HOURS), Basis.DEFAULT)
    return Deadline(found.deadline(paid), Basis.CHANNEL if found.channel else Basis.DEFAULT)


def _pick(channel: str, paid: datetime | None, rules: Sequence[ShipRule]) -> ShipRule | None:
    """The rule that binds: promotions before ordinary ones, a channel's own before all's."""
    fitting = [
        rule
        for rule in rules
        if rule.channel in ("", channel)
        and (
            rule.starts_at is None
            or (
                paid is not None
                and rule.ends_at is not None
                and rule.starts_at <= paid < rule.ends_at
            )
        )
    ]
    # Of two promotions the one that began later: the narrower window inside the wider.
    return max(
        fitting,
        key=lambda rule: (
            rule.starts_at is not None,
            bool(rule.channel),
            rule.starts_at.timestamp() if rule.starts_at else 0.0,
        ),
        default=None,
    )


# --- the table ----------------------------------------------------------------------------------


def read_rules(content: Mapping[str, Any], zone: ZoneInfo) -> tuple[ShipRule, ...]:
    """The rules of a clean table; its moments are of the environment's time zone."""
    places = {column["key"]: place for place, column in enumerate(content["columns"])}

    def moment(cell: Any) -> datetime | None:
        return None if cell is None else datetime.fromisoformat(str(cell)).replace(tzinfo=zone)

    found = []
    for row in content["rows"]:
        cells = {key: row[place] for key, place in places.items()}
        channel, occasion = str(cells["channel"]).strip(), str(cells["occasion"]).strip()
        is_ordinary = occasion == ORDINARY
        found.append(
            ShipRule(
                "" if channel == EVERY_CHANNEL else get_channel_code(channel),
                "" if is_ordinary else occasion,
                None if is_ordinary else moment(cells["starts_at"]),
                None if is_ordinary else moment(cells["ends_at"]),
                cells["hours"],
                None if is_ordinary else moment(cells["ship_by"]),
            )
        )
    return tuple(found)


def list_faults(content: Mapping[str, Any]) -> list[tuple[int, Phrase]]:
    """What is wrong with rows whose cells are of their columns' types: (row from 1, in words).

    Columns are called as the table's own header calls them.
    """
    places = {column["key"]: place for place, column in enumerate(content["columns"])}
    read = {"starts_at", "ends_at", "hours", "ship_by"}
    labels = {c["key"]: c["label"] for c in content["columns"] if c["key"] in read}
    found: list[tuple[int, Phrase]] = []

    def note(number: int, message: str) -> None:
        found.append((number, Phrase(message, labels)))

    for number, row in enumerate(content["rows"], 1):
        cells = {key: row[place] for key, place in places.items()}
        channel = str(cells["channel"] or "").strip()
        is_known = channel == EVERY_CHANNEL or (
            get_channel_code(channel) != Channel.OTHER or channel == Channel.OTHER.label
        )
        hours, ship_by = cells["hours"], cells["ship_by"]
        if not is_known:
            note(
                number, gettext_noop("不认识这个渠道；请写平台名称（如 天猫、抖音），或写「全部」")
            )
        if hours is not None and not 0 < hours <= _MAX_HOURS:
            note(number, gettext_noop("「%(hours)s」应大于 0，不超过 2160（90 天）"))
        if str(cells["occasion"] or "").strip() == ORDINARY:
            if hours is None:
                note(number, gettext_noop("平时的期限要填「%(hours)s」"))
            continue
        starts, ends = cells["starts_at"], cells["ends_at"]
        if starts is None or ends is None or ends <= starts:
            note(
                number,
                gettext_noop("活动要填「%(starts_at)s」和「%(ends_at)s」，而且后者晚于前者"),
            )
        if hours is None and ship_by is None:
            note(number, gettext_noop("「%(hours)s」和「%(ship_by)s」至少填一个"))
        if ship_by is not None and ends is not None and ship_by < ends:
            note(
                number,
                gettext_noop("「%(ship_by)s」不能早于「%(ends_at)s」：最后付款的人来不及发货"),
            )
    return found


_kept: dict[tuple[int, str], tuple[ShipRule, ...]] = {}  # by environment and content


def list_ship_rules() -> tuple[ShipRule, ...]:
    """The rules in force in the environment in force (one query; two for a new version)."""
    version = get_published(TABLE_KIND, TABLE_KEY)
    if version is None:
        return SHIPPED_RULES
    place = (require_environment_id(), version.checksum)
    if place not in _kept:
        if len(_kept) >= _MAX_KEPT:
            _kept.clear()
        zone = Environment.objects.get(pk=place[0]).zone
        _kept[place] = read_rules(version.content, zone)
    return _kept[place]


__all__ = [
    "BASIS_LABELS",
    "DEADLINE_TABLE",
    "DEFAULT_HOURS",
    "EVERY_CHANNEL",
    "ORDINARY",
    "SHIPPED_RULES",
    "TABLE_KEY",
    "TABLE_KIND",
    "Basis",
    "Deadline",
    "ShipRule",
    "find_deadline",
    "list_faults",
    "list_ship_rules",
    "read_rules",
]
