"""What the compiled plan knows of a piece of generated code: its text, what it may give, how large.

Kinds of value are bits. Every piece is total: it gives a value and never raises, but for the step
limit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from .values import MAX_SERIAL, ErrorValue, Result, Unknown, Value, ValueType

NUMBER: Final = 1  # a finite float
TEXT: Final = 2
LOGICAL: Final = 4
BLANK: Final = 8
NOT_KNOWN: Final = 16
ERROR: Final = 32
RESULT: Final = 64
ROWS: Final = 128
OTHER: Final = 256
EVERYTHING: Final = 511
STOPS: Final = NOT_KNOWN | ERROR
NUMERIC: Final = NUMBER | BLANK
WORDS: Final = TEXT | BLANK

_BIT_OF: Final[dict[type, int]] = {
    float: NUMBER,
    str: TEXT,
    bool: LOGICAL,
    type(None): BLANK,
    Unknown: NOT_KNOWN,
    ErrorValue: ERROR,
    Result: RESULT,
    tuple: ROWS,
}

# A number of the order that is larger than this sends its formulas to the general code: below it
# sums and products of a few numbers cannot overflow, so the fast code need not look.
LARGEST: Final = 1e75
LARGEST_PROVEN: Final = 1e300
LAST_MOMENT: Final = MAX_SERIAL - 1.0  # rounded to the millisecond it is still inside the calendar


def bit_of(value: Value) -> int:
    """Return the bit of a value's kind."""
    return _BIT_OF.get(type(value), OTHER)


class Mode(Enum):
    """What generated code may take for granted about the fields it reads."""

    FAST = "fast"  # every field is of its declared type or blank, numbers not huge
    GENERAL = "general"  # a field declared to be one value is not rows
    WILD = "wild"  # nothing


class Nothing(Enum):
    """No constant: None is one."""

    NOTHING = "nothing"


NOTHING: Final = Nothing.NOTHING


@dataclass(frozen=True, slots=True)
class Piece:
    """Generated code for one value.

    bits: the kinds it may give. bound: no number it gives is larger in size. count: the same as
    integer code, where the number is a whole count.
    """

    code: str
    bits: int
    bound: float = math.inf
    is_name: bool = False  # may be written down twice
    is_cheap: bool = False  # not worth a name of its own
    is_moment: bool = False  # numbers are inside the calendar
    is_likely_number: bool = False
    count: str = ""
    number_name: str = ""  # where a blank counts as 0 already
    value: Value | Nothing = NOTHING

    @property
    def is_constant(self) -> bool:
        """Whether the value is known."""
        return self.value is not NOTHING

    def gives_only(self, bits: int) -> bool:
        """Whether it gives nothing outside `bits`."""
        return not self.bits & ~bits

    def may_give(self, bits: int) -> bool:
        """Whether it may give one of `bits`."""
        return bool(self.bits & bits)

    def named(self, name: str) -> Piece:
        """The same value under a name."""
        return replace(self, code=name, is_name=True, count="", number_name="")


NUMERIC_BITS: Final = {
    ValueType.NUMBER: NUMERIC,
    ValueType.MONEY: NUMERIC,
    ValueType.DATETIME: NUMERIC,
    ValueType.DURATION: NUMERIC,
}
# What a field of a declared type is expected to hold; other types promise nothing but one value.
EXPECTED: Final[dict[ValueType, int]] = {
    **NUMERIC_BITS,
    ValueType.TEXT: WORDS,
    ValueType.LOGICAL: LOGICAL | BLANK,
}
