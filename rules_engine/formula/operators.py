"""The operators and coercions of the language, with Excel's answers. Both plans call these.

Every operator takes values and returns a value; it never raises. Numbers that come out are finite.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Final

from .limits import MAX_NUMBER, MAX_TEXT
from .moments import parse_moment
from .values import (
    STOPPING,
    ErrorValue,
    Result,
    Unknown,
    Value,
    strongest,
)

_NEAR: Final = 1e-14  # closer than this, relatively, two floats may agree in 15 digits

_NUMBER: Final = re.compile(
    r"(?P<open>\()?(?P<sign>[+-])?[¥￥$]?(?P<digits>(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]*)?"
    r"|\.[0-9]+)(?P<power>[eE][+-]?[0-9]{1,4})?(?P<percent>%)?(?P<close>\))?"
)


def round_to_15_digits(number: float) -> float:
    """Return the float nearest to the number written with 15 significant digits."""
    return float(f"{number:.15g}")


def same_in_15_digits(a: float, b: float) -> bool:
    """Whether two numbers of one sign are written alike with 15 significant digits."""
    return a == b or f"{a:.15g}" == f"{b:.15g}"


def finite(number: float) -> float | ErrorValue:
    """Return the number, or #NUM! for infinity and not-a-number."""
    return number if number - number == 0.0 else ErrorValue.NUM


# --- coercions ----------------------------------------------------------------------------------


def to_number(value: Value) -> float | ErrorValue | Unknown:
    """Coerce as Excel's operators do: blank 0, TRUE 1, number-like text its number."""
    kind = type(value)
    if kind is float:
        return value  # type: ignore[return-value] # kind says float
    if value is None:
        return 0.0
    if kind is bool:
        return 1.0 if value else 0.0
    if isinstance(value, str):
        return parse_number(value)
    if isinstance(value, ErrorValue | Unknown):
        return value
    return ErrorValue.VALUE


def parse_number(text: str) -> float | ErrorValue:
    """Read a number, percentage, amount, date or time from text; #VALUE! when it is none."""
    if len(text) > MAX_NUMBER:
        return ErrorValue.VALUE
    stripped = text.strip(" ")
    match = _NUMBER.fullmatch(stripped)
    if match is None or bool(match["open"]) != bool(match["close"]):
        moment = parse_moment(stripped)
        return ErrorValue.VALUE if moment is None else moment
    number = float(match["digits"].replace(",", "") + (match["power"] or ""))
    if match["percent"]:
        number /= 100.0
    if (match["sign"] == "-") != bool(match["open"]):
        number = -number
    return finite(number)


def to_text(value: Value) -> str | ErrorValue | Unknown:
    """Coerce as & does: blank is empty text, TRUE is "TRUE", a number has up to 15 digits."""
    if isinstance(value, str):
        return value
    if type(value) is float:
        return number_to_text(value)
    if value is None:
        return ""
    if value is True:
        return "TRUE"
    if value is False:
        return "FALSE"
    if isinstance(value, ErrorValue | Unknown):
        return value
    if isinstance(value, Result):
        return value.label
    return ErrorValue.VALUE


def number_to_text(number: float) -> str:
    """Write a number in Excel's general format: 15 digits, no exponent below 1E+21."""
    if number == 0.0:
        return "0"
    if number.is_integer() and abs(number) < 1e15:
        return str(int(number))
    digits, _, power = f"{abs(number):.14e}".partition("e")
    exponent = int(power)
    sign = "-" if number < 0 else ""
    mantissa = digits.replace(".", "").rstrip("0")
    if exponent >= 21 or exponent < -9:
        fraction = f".{mantissa[1:]}" if len(mantissa) > 1 else ""
        return f"{sign}{mantissa[0]}{fraction}E{'+' if exponent > 0 else '-'}{abs(exponent):02d}"
    if exponent < 0:
        return f"{sign}0.{'0' * (-exponent - 1)}{mantissa}"
    whole = mantissa[: exponent + 1].ljust(exponent + 1, "0")
    fraction = mantissa[exponent + 1 :]
    return f"{sign}{whole}.{fraction}" if fraction else f"{sign}{whole}"


def to_logical(value: Value) -> bool | ErrorValue | Unknown:
    """Coerce as IF does: blank FALSE, a number by not being 0, "TRUE" and "FALSE" as text."""
    if value is True or value is False:
        return value
    if type(value) is float:
        return value != 0.0
    if value is None:
        return False
    if isinstance(value, ErrorValue | Unknown):
        return value
    if isinstance(value, str) and len(value) <= MAX_NUMBER:
        word = value.strip(" ").upper()
        if word == "TRUE":
            return True
        if word == "FALSE":
            return False
    if value is Result.PASS:
        return True
    if value is Result.FAIL:
        return False
    return ErrorValue.VALUE


def keep(value: Value) -> Value:
    """Take the value as it is; rows are no value."""
    return ErrorValue.VALUE if type(value) is tuple else value


def limit_text(text: str) -> str | ErrorValue:
    """Return the text, or #VALUE! when it is longer than a text may be."""
    return text if len(text) <= MAX_TEXT else ErrorValue.VALUE


# --- arithmetic ---------------------------------------------------------------------------------


def add(a: Value, b: Value) -> Value:
    """Add; a sum that is nothing but binary dust is 0."""
    if type(a) is not float or type(b) is not float:
        a, b = to_number(a), to_number(b)
        if type(a) is not float or type(b) is not float:
            return strongest((a, b))
    total = a + b
    if -_NEAR * a <= total <= _NEAR * a or _NEAR * a <= total <= -_NEAR * a:
        return 0.0 if same_in_15_digits(a, -b) else total
    return total if total - total == 0.0 else ErrorValue.NUM


def subtract(a: Value, b: Value) -> Value:
    """Subtract; the difference is 0 exactly when a = b in 15 digits."""
    if type(a) is not float or type(b) is not float:
        a, b = to_number(a), to_number(b)
        if type(a) is not float or type(b) is not float:
            return strongest((a, b))
    rest = a - b
    if -_NEAR * a <= rest <= _NEAR * a or _NEAR * a <= rest <= -_NEAR * a:
        return 0.0 if same_in_15_digits(a, b) else rest
    return rest if rest - rest == 0.0 else ErrorValue.NUM


def multiply(a: Value, b: Value) -> Value:
    """Multiply."""
    if type(a) is not float or type(b) is not float:
        a, b = to_number(a), to_number(b)
        if type(a) is not float or type(b) is not float:
            return strongest((a, b))
    product = a * b
    return product if product - product == 0.0 else ErrorValue.NUM


def divide(a: Value, b: Value) -> Value:
    """Divide; by 0 or blank is #DIV/0!."""
    if type(a) is not float or type(b) is not float:
        a, b = to_number(a), to_number(b)
        if type(a) is not float or type(b) is not float:
            return strongest((a, b))
    if b == 0.0:
        return ErrorValue.DIV0
    quotient = a / b
    return quotient if quotient - quotient == 0.0 else ErrorValue.NUM


def power(a: Value, b: Value) -> Value:
    """Raise a to b; 0^0 is #NUM!, 0 to a negative power #DIV/0!, as in Excel."""
    if type(a) is not float or type(b) is not float:
        a, b = to_number(a), to_number(b)
        if type(a) is not float or type(b) is not float:
            return strongest((a, b))
    if a == 0.0:
        if b == 0.0:
            return ErrorValue.NUM
        return ErrorValue.DIV0 if b < 0.0 else 0.0
    try:
        return finite(math.pow(a, b))
    except (OverflowError, ValueError):
        return ErrorValue.NUM


def concatenate(a: Value, b: Value) -> Value:
    """Join two texts; beyond the longest text is #VALUE!."""
    a, b = to_text(a), to_text(b)
    if type(a) is not str or type(b) is not str:
        return strongest((a, b))
    return a + b if len(a) + len(b) <= MAX_TEXT else ErrorValue.VALUE


def negate(a: Value) -> Value:
    """Put a minus in front."""
    if type(a) is not float:
        a = to_number(a)
        if type(a) is not float:
            return a
    return -a if a else 0.0


def leave(a: Value) -> Value:
    """Put a plus in front: the value itself, as in Excel."""
    return a


def take_percent(a: Value) -> Value:
    """Divide by 100."""
    if type(a) is not float:
        a = to_number(a)
        if type(a) is not float:
            return a
    return a / 100.0


# --- comparison ---------------------------------------------------------------------------------
_RANKS: Final[dict[type, int]] = {float: 0, str: 1, bool: 2, Result: 3}
_EMPTY: Final[dict[type, Value]] = {float: 0.0, str: "", bool: False}


def compare(a: Value, b: Value) -> int | ErrorValue | Unknown:
    """Order two values: -1, 0 or 1. Number < text < logical; a blank is 0, "" or FALSE."""
    kind_a, kind_b = type(a), type(b)
    if kind_a in STOPPING or kind_b in STOPPING:
        return strongest((a, b))
    if kind_a is tuple or kind_b is tuple:
        return ErrorValue.VALUE
    if a is None:
        a = _EMPTY.get(kind_b)
        kind_a = type(a)
    elif b is None:
        b = _EMPTY.get(kind_a)
        kind_b = type(b)
    if kind_a is not kind_b:
        if a is None or b is None:  # against a result: nothing is less than something
            return -1 if a is None else 1
        return -1 if _RANKS[kind_a] < _RANKS[kind_b] else 1
    if isinstance(a, float) and isinstance(b, float):
        return compare_numbers(a, b)
    if isinstance(a, str) and isinstance(b, str):
        a, b = a.lower(), b.lower()
        return 0 if a == b else -1 if a < b else 1
    if isinstance(a, bool) and isinstance(b, bool):
        return int(a) - int(b)
    return 0 if a is b else 1


def compare_numbers(a: float, b: float) -> int:
    """Order two numbers by their first 15 digits."""
    if a == b:
        return 0
    if abs(a - b) <= _NEAR * abs(a) and same_in_15_digits(a, b):
        return 0
    return -1 if a < b else 1


def equal(a: Value, b: Value) -> Value:
    """a = b."""
    if type(a) is str and type(b) is str:
        return a == b or a.lower() == b.lower()
    order = compare(a, b)
    return order == 0 if type(order) is int else order


def differ(a: Value, b: Value) -> Value:
    """a <> b."""
    if type(a) is str and type(b) is str:
        return a != b and a.lower() != b.lower()
    order = compare(a, b)
    return order != 0 if type(order) is int else order


def less(a: Value, b: Value) -> Value:
    """a < b."""
    if type(a) is float and type(b) is float:
        return a < b and compare_numbers(a, b) < 0
    order = compare(a, b)
    return order < 0 if type(order) is int else order


def greater(a: Value, b: Value) -> Value:
    """a > b."""
    if type(a) is float and type(b) is float:
        return a > b and compare_numbers(a, b) > 0
    order = compare(a, b)
    return order > 0 if type(order) is int else order


def at_most(a: Value, b: Value) -> Value:
    """a <= b."""
    if type(a) is float and type(b) is float:
        return a <= b or compare_numbers(a, b) <= 0
    order = compare(a, b)
    return order <= 0 if type(order) is int else order


def at_least(a: Value, b: Value) -> Value:
    """a >= b."""
    if type(a) is float and type(b) is float:
        return a >= b or compare_numbers(a, b) >= 0
    order = compare(a, b)
    return order >= 0 if type(order) is int else order


BINARY: Final[dict[str, Callable[[Value, Value], Value]]] = {
    "+": add,
    "-": subtract,
    "*": multiply,
    "/": divide,
    "^": power,
    "&": concatenate,
    "=": equal,
    "<>": differ,
    "<": less,
    ">": greater,
    "<=": at_most,
    ">=": at_least,
}
COMPARISONS: Final = frozenset({"=", "<>", "<", ">", "<=", ">="})
