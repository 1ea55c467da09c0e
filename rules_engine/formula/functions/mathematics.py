"""Mathematics that few checks need: logarithms, factorials, common divisors."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from config.errors import gettext_noop
from rules_engine.formula.operators import finite, round_to_15_digits
from rules_engine.formula.values import ErrorValue, Value, ValueType

from .registry import function, number

_TOPIC: Final = gettext_noop("数学")
_NUMBER: Final = ValueType.NUMBER
_LARGEST: Final = 2.0**53


@function(
    "圆周率",
    "PI",
    result=_NUMBER,
    topic=_TOPIC,
    blank=gettext_noop("没有参数"),
    unknown=gettext_noop("没有参数"),
    description=gettext_noop("圆周率 3.14159…。"),
    examples=[("圆周率()", math.pi)],
)
def take_pi() -> float:
    """PI."""
    return math.pi


@function(
    "自然指数",
    "EXP",
    number("数值"),
    result=_NUMBER,
    topic=_TOPIC,
    description=gettext_noop("e 的多少次方。"),
    examples=[("自然指数(0)", 1.0), ("EXP(1000)", ErrorValue.NUM)],
)
def raise_e(value: float) -> float:
    """EXP."""
    return math.exp(value)


@function(
    "自然对数",
    "LN",
    number("数值"),
    result=_NUMBER,
    topic=_TOPIC,
    description=gettext_noop("以 e 为底的对数；0 和负数得出 #NUM!。"),
    examples=[("自然对数(1)", 0.0), ("LN(0)", ErrorValue.NUM)],
)
def take_ln(value: float) -> Value:
    """LN."""
    return math.log(value) if value > 0 else ErrorValue.NUM


@function(
    "常用对数",
    "LOG10",
    number("数值"),
    result=_NUMBER,
    topic=_TOPIC,
    description=gettext_noop("以 10 为底的对数；0 和负数得出 #NUM!。"),
    examples=[("常用对数(1000)", 3.0), ("LOG10(0)", ErrorValue.NUM)],
)
def take_log10(value: float) -> Value:
    """LOG10."""
    return math.log10(value) if value > 0 else ErrorValue.NUM


@function(
    "对数",
    "LOG",
    number("数值"),
    number("底数", optional=True),
    result=_NUMBER,
    topic=_TOPIC,
    description=gettext_noop("对数，不写底数时以 10 为底。"),
    examples=[("对数(8,2)", 3.0), ("LOG(100)", 2.0)],
)
def take_log(value: float, base: float = 10.0) -> Value:
    """LOG."""
    if value <= 0 or base <= 0:
        return ErrorValue.NUM
    if base == 1.0:
        return ErrorValue.DIV0
    return round_to_15_digits(math.log(value) / math.log(base))


@function(
    "阶乘",
    "FACT",
    number("数值"),
    result=_NUMBER,
    topic=_TOPIC,
    description=gettext_noop("整数部分的阶乘；负数和超过 170 时得出 #NUM!。"),
    examples=[("阶乘(5)", 120.0), ("FACT(-1)", ErrorValue.NUM)],
)
def take_factorial(value: float) -> Value:
    """FACT."""
    if value < 0 or value >= 171:
        return ErrorValue.NUM
    return float(math.factorial(int(value)))


@function(
    "组合数",
    "COMBIN",
    number("总数"),
    number("选取数"),
    result=_NUMBER,
    topic=_TOPIC,
    description=gettext_noop("从总数里选取若干个的不同选法。"),
    examples=[("组合数(4,2)", 6.0), ("COMBIN(2,3)", ErrorValue.NUM)],
)
def count_combinations(total: float, chosen: float) -> Value:
    """COMBIN."""
    total, chosen = math.trunc(total), math.trunc(chosen)
    if total < 0 or chosen < 0 or chosen > total or total > _LARGEST:
        return ErrorValue.NUM
    chosen = min(chosen, total - chosen)
    product = 1.0
    for step in range(1, int(chosen) + 1):  # grows past the largest float within some 600 steps
        product = product * (total - chosen + step) / step
        if math.isinf(product):
            return ErrorValue.NUM
    return float(round(product)) if product < _LARGEST else finite(product)


def _fold_whole(join: Callable[[int, int], int], values: tuple[float, ...]) -> Value:
    result: int | None = None
    for value in values:
        if value < 0 or value >= _LARGEST:
            return ErrorValue.NUM
        result = int(value) if result is None else join(result, int(value))
        if result >= _LARGEST:
            return ErrorValue.NUM
    return float(result or 0)


@function(
    "最大公约数",
    "GCD",
    number("数值", many=True),
    result=_NUMBER,
    topic=_TOPIC,
    description=gettext_noop("几个整数的最大公约数。"),
    examples=[("最大公约数(12,18)", 6.0), ("GCD(0,18)", 18.0)],
)
def take_gcd(*values: float) -> Value:
    """GCD."""
    return _fold_whole(math.gcd, values)


@function(
    "最小公倍数",
    "LCM",
    number("数值", many=True),
    result=_NUMBER,
    topic=_TOPIC,
    description=gettext_noop("几个整数的最小公倍数。"),
    examples=[("最小公倍数(4,6)", 12.0), ("LCM(7,0)", 0.0)],
)
def take_lcm(*values: float) -> Value:
    """LCM."""
    return _fold_whole(math.lcm, values)
