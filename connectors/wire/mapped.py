"""What a mapping returns: the record in our words, and what it could not say in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

Record = TypeVar("Record", covariant=True)


@dataclass(frozen=True, slots=True)
class Notice:
    """A value the mapping does not know. The record stands without it; IT is told.

    `code` is stable: `unmapped_status` (the stage is UNKNOWN) or `unmapped_value` (a flag is left
    empty). `value` is an enumeration's code, never anything personal.
    """

    code: str
    field: str
    value: str


@dataclass(frozen=True, slots=True)
class Mapped(Generic[Record]):
    """A record and the notices of its mapping."""

    record: Record
    notices: tuple[Notice, ...] = ()
