"""What a formula computes with: types, the two kinds of not knowing, error values, results.

A value is a float, a text, a logical, None (blank: known to be empty), UNKNOWN (not told yet),
an ErrorValue, a Result, or rows (a tuple). Date-times are Excel serial days as float.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Any, Final, TypeAlias

from config.errors import gettext_noop


class ValueType(StrEnum):
    """The declared or derived type of a value."""

    NUMBER = "number"
    MONEY = "money"  # yuan as float, made from fen / 100
    TEXT = "text"
    LOGICAL = "logical"
    DATETIME = "datetime"  # Excel serial days, local time of the environment
    DURATION = "duration"  # days
    ROWS = "rows"
    RESULT = "result"
    ANY = "any"

    @property
    def label(self) -> str:
        """The Chinese name of the type."""
        return _TYPE_LABELS[self]


_TYPE_LABELS: Final = {
    ValueType.NUMBER: gettext_noop("数字"),
    ValueType.MONEY: gettext_noop("金额"),
    ValueType.TEXT: gettext_noop("文本"),
    ValueType.LOGICAL: gettext_noop("是/否"),
    ValueType.DATETIME: gettext_noop("时间"),
    ValueType.DURATION: gettext_noop("时长"),
    ValueType.ROWS: gettext_noop("多行明细"),
    ValueType.RESULT: gettext_noop("检查结果"),
    ValueType.ANY: gettext_noop("任意值"),
}

NUMERIC_TYPES: Final = frozenset(
    {ValueType.NUMBER, ValueType.MONEY, ValueType.DATETIME, ValueType.DURATION}
)


class Unknown(Enum):
    """The type of UNKNOWN."""

    UNKNOWN = "unknown"

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN: Final = Unknown.UNKNOWN


class ErrorValue(Enum):
    """An Excel error as a value; `ErrorValue("#DIV/0!")` finds one by its code."""

    NULL = "#NULL!"
    DIV0 = "#DIV/0!"
    VALUE = "#VALUE!"
    REF = "#REF!"
    NAME = "#NAME?"
    NUM = "#NUM!"
    NA = "#N/A"
    LIMIT = "#LIMIT!"  # ours: the evaluation used up its steps

    @property
    def code(self) -> str:
        """The code as Excel shows it."""
        return self.value

    @property
    def label(self) -> str:
        """What happened, in Chinese."""
        return _ERROR_LABELS[self.value]

    def __repr__(self) -> str:
        return self.value


_ERROR_LABELS: Final = {
    "#NULL!": gettext_noop("没有交集"),
    "#DIV/0!": gettext_noop("除以了 0 或空值"),
    "#VALUE!": gettext_noop("值的类型不对"),
    "#REF!": gettext_noop("超出了范围"),
    "#NAME?": gettext_noop("名称无法识别"),
    "#NUM!": gettext_noop("数字无效或太大"),
    "#N/A": gettext_noop("没有可用的值"),
    "#LIMIT!": gettext_noop("计算步数超过上限"),
}


class Result(Enum):
    """What a dimension may say besides a number."""

    PASS = "pass"  # noqa: S105 - a word, not a secret
    PARTIAL = "partial"
    FAIL = "fail"
    INSUFFICIENT = "insufficient"
    NOT_APPLICABLE = "not_applicable"

    @property
    def label(self) -> str:
        """The Chinese word for the result."""
        return _RESULT_LABELS[self.value]

    def __repr__(self) -> str:
        return f"Result.{self.name}"


_RESULT_LABELS: Final = {
    "pass": gettext_noop("通过"),
    "partial": gettext_noop("部分"),
    "fail": gettext_noop("不通过"),
    "insufficient": gettext_noop("数据不足"),
    "not_applicable": gettext_noop("不适用"),
}


@dataclass(frozen=True, slots=True, eq=False)
class LookupTable:
    """A table kept by the business, ready to be asked; made once per pass, never changed.

    `kinds`: the types of the key columns. `places`: id of a value column -> its place in the rows.
    `rows`: normalised keys (functions/tables.py) -> values. `fallbacks`: place -> what a key that
    is not there gets when the formula names nothing; a place without one gives #N/A. `digest`
    names the version, so that a score says which one it was made from.
    """

    id: str
    name: str
    kinds: tuple[ValueType, ...]
    places: Mapping[str, int]
    rows: Mapping[tuple[object, ...], tuple[Value, ...]]
    fallbacks: Mapping[int, Value]
    digest: str = ""

    def __repr__(self) -> str:
        return f"「{self.name}」（{len(self.rows)} 行）"


# Any inside rows: a row is a mapping of column id to Value, or an element is a Value itself.
Rows: TypeAlias = "tuple[Any, ...]"
Value: TypeAlias = "float | str | bool | None | Unknown | ErrorValue | Result | Rows | LookupTable"

# What a strict operator or function passes on instead of computing.
STOPPING: Final[frozenset[type]] = frozenset({ErrorValue, Unknown})

# --- the truth table of not knowing -------------------------------------------------------------
# One line per construct: the strongest operand decides. Both plans read this table.
#   strict   operators and functions: an error is certain whatever the unknown turns out to be
#   AND, OR  as strict for errors (Excel does not short-circuit), then the deciding value
ERROR: Final = "error"
STRICT_ORDER: Final = (ERROR, UNKNOWN)
AND_ORDER: Final = (ERROR, False, UNKNOWN, True)
OR_ORDER: Final = (ERROR, True, UNKNOWN, False)


def strongest(values: tuple[Value, ...] | list[Value]) -> ErrorValue | Unknown:
    """Return the first error among values, else UNKNOWN; call it when one of them stops."""
    for value in values:
        if type(value) is ErrorValue:
            return value
    return UNKNOWN


def decide(order: tuple[object, ...], values: list[Value]) -> Value:
    """Return the operand that decides by `order`, the first error standing for all errors.

    values: booleans, UNKNOWN and errors, not empty.
    """
    for kind in order:
        for value in values:
            if (type(value) is ErrorValue) if kind is ERROR else (value is kind):
                return value
    raise AssertionError("operands outside the truth table")


# --- date-times ---------------------------------------------------------------------------------
_EPOCH_ORDINAL: Final = dt.date(1899, 12, 30).toordinal()
MAX_SERIAL: Final = 2_958_466.0  # the first moment after the year 9999
MS_PER_DAY: Final = 86_400_000


def to_serial(moment: dt.datetime | dt.date) -> float:
    """Turn the wall time of a datetime into Excel serial days.

    The time zone is not looked at: bring an aware datetime into the environment's zone first.
    """
    days = float(moment.toordinal() - _EPOCH_ORDINAL)
    if not isinstance(moment, dt.datetime):
        return days
    seconds = moment.hour * 3600 + moment.minute * 60 + moment.second
    return days + (seconds + moment.microsecond / 1e6) / 86_400


def from_serial(serial: float) -> dt.datetime:
    """Turn Excel serial days into a naive datetime, rounded to the millisecond.

    Raises ValueError outside the years 1899 to 9999.
    """
    if not 0 <= serial < MAX_SERIAL:
        raise ValueError(f"serial {serial!r} is outside the calendar")
    days, milliseconds = divmod(round(serial * MS_PER_DAY), MS_PER_DAY)
    midnight = dt.datetime.combine(dt.date.fromordinal(_EPOCH_ORDINAL + days), dt.time())
    return midnight + dt.timedelta(milliseconds=milliseconds)


def clean(value: object) -> Value:
    """Bring a value from outside into the language: numbers to finite float, lists to rows.

    A kind of value the language does not have becomes #VALUE!.
    """
    kind = type(value)
    if kind is float:
        return value if value - value == 0.0 else ErrorValue.NUM  # type: ignore[operator, return-value] # kind says float
    if kind is int:
        try:
            return float(value)  # type: ignore[arg-type] # kind says int
        except OverflowError:
            return ErrorValue.NUM
    if value is None or isinstance(value, str | bool | Unknown | ErrorValue | Result | LookupTable):
        return value
    if isinstance(value, dt.date):
        return to_serial(value)
    if isinstance(value, list | tuple):
        return tuple(item if isinstance(item, Mapping) else clean(item) for item in value)
    return ErrorValue.VALUE
