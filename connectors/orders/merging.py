"""How what many messages tell of one payment or one receipt becomes one row.

Messages are repeated, come late and overtake each other. Every field is a register of its own: it
keeps the value with the greatest key, a message that does not tell a field leaves it alone, and so
any order and repetition of the same messages ends in the same row. Plain functions over rows in
hand; nothing here asks the database.

A key holds the source's own time where it tells one. Two values of equal key and no time cannot be
ordered: then the one that arrived last stands, for there is no better guess.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import IntEnum
from typing import Any

from connectors.orders.canonical import CanonicalPayment, CanonicalReceipt
from connectors.orders.models import Payment, Receipt
from connectors.orders.statuses import PaymentStatus
from connectors.shops.models import Source

Key = tuple[Any, ...]

# Whatever its time says: a refund is the last word, and "not paid yet" never undoes a payment.
# Within a class the later source time counts, and without times the further state.
_CLASSES: dict[str, tuple[int, int]] = {
    PaymentStatus.PENDING: (0, 0),
    PaymentStatus.UNKNOWN: (0, 1),
    PaymentStatus.CLOSED: (1, 0),
    PaymentStatus.PAID: (1, 1),
    PaymentStatus.REFUNDED: (2, 0),
}
_PAYMENT_FIELDS = ("method", "amount_fen", "paid_at", "phase")
RECEIPT_MOMENTS = ("received_at", "reviewed_at", "picked_at", "shipped_at")


@dataclass(slots=True)
class NewPayment:
    """A payment not stored yet: the columns of its row, without what a model instance costs."""

    source_id: int
    order_no: str
    payment_id: str
    is_gateway: bool
    pk: None = None
    order_id: int | None = None
    method: str = ""
    status: str = ""
    phase: str = ""
    amount_fen: int | None = None
    paid_at: datetime | None = None
    custom: dict[str, Any] = field(default_factory=dict)
    source_updated_at: datetime | None = None
    told: dict[str, Any] = field(default_factory=dict)
    recorded_at: datetime | None = None


@dataclass(slots=True)
class NewReceipt:
    """A receipt not stored yet: the columns of its row, and the source that tells it."""

    source: Source
    source_id: int
    order_no: str
    pk: None = None
    order_id: int | None = None
    received_at: datetime | None = None
    reviewed_at: datetime | None = None
    picked_at: datetime | None = None
    shipped_at: datetime | None = None
    custom: dict[str, Any] = field(default_factory=dict)
    source_updated_at: datetime | None = None
    told: dict[str, Any] = field(default_factory=dict)


PaymentRow = Payment | NewPayment
ReceiptRow = Receipt | NewReceipt


class Outcome(IntEnum):
    """What a message did to a row."""

    NOTHING = 0
    KEYS = 1  # only how new its values are
    CONTENT = 2


def _write_time(at: datetime | None) -> str:
    """A moment as text that sorts like the moment."""
    return at.astimezone(UTC).isoformat(timespec="microseconds") if at is not None else ""


def payment_key(status: str, at: datetime | None) -> Key:
    """The key of a payment's state: class, source time, rank within the class."""
    group, rank = _CLASSES.get(status, (0, 1))
    return group, _write_time(at), rank


def _is_told(value: Any) -> bool:
    return value is not None and value != ""


def _wins(known: Any, known_key: Key, new: Any, key: Key, *, is_timed: bool) -> bool:
    """Whether a new value replaces a known one that differs from it."""
    if not _is_told(known):
        return True
    if key != known_key:
        return key > known_key
    return repr(new) > repr(known) if is_timed else True


def merge_payment(
    row: PaymentRow, record: CanonicalPayment, *, now: datetime, state_at: datetime | None = None
) -> Outcome:
    """Put one message on a payment's row (unsaved); a new row has an empty status.

    `state_at`: of the order it came inside, for a payment that tells no time of its own.
    `row.told` holds the keys of the fields whose value is not from the state in force.
    """
    told_at = record.source_updated_at or state_at
    if not row.status:
        _fill_payment(row, record, told_at, now)
        return Outcome.CONTENT
    is_timed = told_at is not None
    key = payment_key(record.status, told_at)
    old = payment_key(row.status, row.source_updated_at)
    keys: dict[str, Key] = {name: tuple(k) for name, k in row.told.items()}
    outcome = Outcome.NOTHING
    for name, new in _read_payment(record):
        known = _get(row, name)
        known_key = keys.get(name, old)
        if _same(known, new):
            keys[name] = max(known_key, key)
        elif _wins(known, known_key, new, key, is_timed=is_timed):
            _set(row, name, new)
            keys[name] = key
            outcome = Outcome.CONTENT
        else:
            keys[name] = known_key
    if key > old:
        if row.status != record.status:
            row.status, outcome = record.status, Outcome.CONTENT
        row.source_updated_at = told_at
        # What this state did not tell is from the one before.
        for name in (*_PAYMENT_FIELDS, *(f"custom.{k}" for k in row.custom)):
            if name not in keys and _is_told(_get(row, name)):
                keys[name] = old
    top = max(old, key)
    told = {name: list(k) for name, k in keys.items() if k != top}
    if outcome is Outcome.CONTENT:
        row.recorded_at = now
    elif told != row.told or top != old:
        outcome = Outcome.KEYS
    row.told = told
    return outcome


def _fill_payment(
    row: PaymentRow, record: CanonicalPayment, told_at: datetime | None, now: datetime
) -> None:
    """The first message of a payment is its row."""
    row.status, row.method, row.phase = record.status, record.method, record.phase
    row.amount_fen, row.paid_at = record.amount_fen, record.paid_at
    row.custom = {name: value for name, value in record.custom.items() if _is_told(value)}
    row.source_updated_at, row.recorded_at = told_at, now


def _read_payment(record: CanonicalPayment) -> Iterator[tuple[str, Any]]:
    """The fields a message tells; its state is judged apart."""
    for name in _PAYMENT_FIELDS:
        if _is_told(value := getattr(record, name)):
            yield name, value
    for name, value in record.custom.items():
        if _is_told(value):
            yield f"custom.{name}", value


def merge_receipt(row: ReceiptRow, record: CanonicalReceipt, *, now: datetime) -> Outcome:
    """Put one message on a receipt's row (unsaved).

    A moment stands at the earliest the system told for it, unless a correction moved it: then the
    newest correction counts. Everything else is as new as the report that told it.
    `row.told`: {"keys": {field: key}, "learnt": {moment: when we learnt it}}.
    """
    is_timed = record.source_updated_at is not None
    key: Key = (_write_time(record.source_updated_at), record.rank)
    keys: dict[str, Key] = {name: tuple(k) for name, k in row.told.get("keys", {}).items()}
    learnt: dict[str, str] = dict(row.told.get("learnt", {}))
    outcome, before = Outcome.NOTHING, dict(keys)
    for name in RECEIPT_MOMENTS:
        new, known = getattr(record, name), getattr(row, name)
        if new is None:
            continue
        if _moves(known, keys.get(name), new, record.is_correction, key, is_timed=is_timed):
            setattr(row, name, new)
            learnt[name] = _write_time(now)
            outcome = Outcome.CONTENT
        if record.is_correction and getattr(row, name) == new:
            keys[name] = max(keys.get(name, key), key)
    for short, new in record.custom.items():
        name = f"custom.{short}"
        known, known_key = row.custom.get(short), keys.get(name, ("", 0))
        if not _is_told(new):
            continue
        if _same(known, new):
            keys[name] = max(known_key, key)
        elif _wins(known, known_key, new, key, is_timed=is_timed):
            _set(row, name, new)
            keys[name] = key
            outcome = Outcome.CONTENT
    at = record.source_updated_at
    if at is not None and (row.source_updated_at is None or at > row.source_updated_at):
        row.source_updated_at = at
        outcome = max(outcome, Outcome.KEYS)
    if keys != before:
        outcome = max(outcome, Outcome.KEYS)
    if outcome is not Outcome.NOTHING:
        row.told = {"keys": {name: list(k) for name, k in keys.items()}, "learnt": learnt}
    return outcome


def _moves(
    known: datetime | None,
    corrected: Key | None,
    new: datetime,
    is_correction: bool,
    key: Key,
    *,
    is_timed: bool,
) -> bool:
    """Whether a told moment replaces the known one."""
    if known == new:
        return False
    if is_correction:
        return corrected is None or _wins(known, corrected, new, key, is_timed=is_timed)
    return corrected is None and (known is None or new < known)


def learnt_at(row: Receipt, column: str) -> datetime | None:
    """When we learnt a moment of a receipt; None for what was stored before this was kept."""
    text = row.told.get("learnt", {}).get(column)
    return datetime.fromisoformat(text) if text else None


def is_corrected(row: Receipt, column: str) -> bool:
    """Whether a moment of a receipt stands as its system corrected it."""
    return column in row.told.get("keys", {})


def _get(row: PaymentRow | ReceiptRow, name: str) -> Any:
    kind, _, key = name.partition(".")
    return row.custom.get(key) if kind == "custom" else getattr(row, name)


def _set(row: PaymentRow | ReceiptRow, name: str, value: Any) -> None:
    kind, _, key = name.partition(".")
    if kind == "custom":
        row.custom = {**row.custom, key: value}
    else:
        setattr(row, name, value)


def _same(known: Any, new: Any) -> bool:
    """Equal as stored: 1 and True are not."""
    return bool(known == new) and isinstance(known, bool) == isinstance(new, bool)
