"""What more than one platform reads out of a life: where it stands, who pays what of which line."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from enum import Enum, auto

from connectors.simulators.life import Life, LifeLine, has_come

BEIJING = timezone(timedelta(hours=8))


class Standing(Enum):
    """Where an order stands, before any platform's words for it."""

    UNPAID = auto()
    DEPOSIT_PAID = auto()
    FORFEITED = auto()
    IN_GROUP = auto()
    IN_REVIEW = auto()
    TO_SHIP = auto()
    PART_SHIPPED = auto()
    SHIPPED = auto()
    DELIVERED = auto()
    COMPLETED = auto()
    REFUNDED = auto()
    CANCELLED = auto()


def standing(life: Life, now: datetime) -> Standing:
    """Where an order stands at a moment."""
    if has_come(life.forfeited, now):
        return Standing.FORFEITED
    if has_come(life.refunded, now):
        return Standing.REFUNDED
    is_paid = has_come(paid_moment(life), now)
    if has_come(life.closed, now) or (has_come(life.group_failed, now) and life.group):
        return Standing.REFUNDED if is_paid else Standing.CANCELLED
    if has_come(life.completed, now):
        return Standing.COMPLETED
    if has_come(life.delivered, now):
        return Standing.DELIVERED
    if has_come(life.shipped, now):
        return Standing.SHIPPED
    if has_come(life.part_shipped, now):
        return Standing.PART_SHIPPED
    if not is_paid and not life.cod:
        is_deposit_in = life.presale and has_come(life.deposit_paid, now)
        return Standing.DEPOSIT_PAID if is_deposit_in else Standing.UNPAID
    if life.group and not has_come(life.group_done, now):
        return Standing.IN_GROUP
    return Standing.IN_REVIEW if is_in_review(life, now) else Standing.TO_SHIP


def is_in_review(life: Life, now: datetime) -> bool:
    """Whether the platform reviews the risk of an order right now."""
    return has_come(life.risk_from, now) and not has_come(life.risk_until, now)


def paid_moment(life: Life) -> datetime | None:
    """When the whole sum was in: of a presale that is the balance."""
    return (life.balance_paid or life.paid) if life.presale else life.paid


def shown_lines(life: Life, now: datetime) -> list[tuple[int, LifeLine]]:
    """Lines with their numbers; a gift's line only once the gift was added."""
    is_early = life.gifts_packed_at is not None and life.gifts_packed_at > now
    return [(i, line) for i, line in enumerate(life.lines) if not (line.is_gift and is_early)]


def shares(life: Life) -> list[int]:
    """Fen each line has to bear after allocation, freight apart: they add up to what is payable."""
    amounts = [line.price_fen * line.quantity - line.discount_fen for line in life.lines]
    total, left = sum(amounts), life.payable_fen - life.freight_fen
    found, given, seen = [], 0, 0
    for amount in amounts:
        seen += amount
        upto = round(left * seen / total) if total else 0
        found.append(upto - given)
        given = upto
    return found


def refunded_fen(life: Life, now: datetime) -> int:
    """Fen given back for single lines."""
    parts = shares(life)
    return sum(
        part for line, part in zip(life.lines, parts, strict=True) if has_come(line.refunded, now)
    )


def beijing_text(moment: datetime | None, now: datetime | None = None) -> str:
    """`yyyy-MM-dd HH:mm:ss` in GMT+8; empty for a moment that has not come."""
    if moment is None or (now is not None and moment > now):
        return ""
    return moment.astimezone(BEIJING).strftime("%Y-%m-%d %H:%M:%S")


def parse_beijing(text: str) -> datetime | None:
    """The moment of such a text; None when it is none."""
    try:
        local = datetime.strptime(text, "%Y-%m-%d %H:%M:%S")  # noqa: DTZ007 - the zone follows
    except ValueError:
        return None
    return local.replace(tzinfo=BEIJING).astimezone(UTC)


def masked_name(name: str) -> str:
    """The first character and stars."""
    return name[:1] + "**" if name else ""
