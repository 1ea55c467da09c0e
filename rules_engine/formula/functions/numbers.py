"""Arithmetic on single numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from config.errors import gettext_noop
from rules_engine.formula.operators import finite, power, round_to_15_digits, subtract
from rules_engine.formula.rounding import round_half_away, shift_and_cut
from rules_engine.formula.tree import Kinds
from rules_engine.formula.values import ErrorValue, Value, ValueType

from .registry import function, number

_TOPIC: Final = gettext_noop("数字")
_NUMBER: Final = ValueType.NUMBER


def _like_first(kinds: Sequence[Kinds]) -> Kinds:
    """Keep the unit of the first argument: rounding an amount leaves an amount."""
    units = {ValueType.MONEY, ValueType.DURATION, ValueType.DATETIME}
    return kinds[0] if kinds[0] <= units else frozenset({_NUMBER})


@function(
    "绝对值",
    "ABS",
    number("数值"),
    result=_NUMBER,
    infer=_like_first,
    topic=_TOPIC,
    reading="{0}的绝对值",
    description=gettext_noop("去掉负号。"),
    examples=[("绝对值(-3)", 3.0), ('ABS("x")', ErrorValue.VALUE)],
)
def take_absolute(value: float) -> float:
    """ABS."""
    return abs(value)


@function(
    "四舍五入",
    "ROUND",
    number("数值"),
    number("小数位", optional=True),
    result=_NUMBER,
    infer=_like_first,
    topic=_TOPIC,
    reading="{0}四舍五入",
    description=gettext_noop("四舍五入到指定的小数位，负数位舍入到十、百；不写小数位时取整数。"),
    examples=[("四舍五入(2.5,0)", 3.0), ("ROUND(1.005,2)", 1.01), ("ROUND(-2.5,0)", -3.0)],
)
def round_number(value: float, digits: float = 0.0) -> float:
    """ROUND."""
    return shift_and_cut(value, digits, 0.5)


@function(
    "向上舍入",
    "ROUNDUP",
    number("数值"),
    number("小数位", optional=True),
    result=_NUMBER,
    infer=_like_first,
    topic=_TOPIC,
    reading="{0}向上舍入",
    description=gettext_noop("向远离 0 的方向舍入到指定的小数位。"),
    examples=[("向上舍入(2.1,0)", 3.0), ("ROUNDUP(2.1,-2)", 100.0)],
)
def round_away(value: float, digits: float = 0.0) -> float:
    """ROUNDUP."""
    return shift_and_cut(value, digits, 1.0)


@function(
    "向下舍入",
    "ROUNDDOWN",
    number("数值"),
    number("小数位", optional=True),
    result=_NUMBER,
    infer=_like_first,
    topic=_TOPIC,
    reading="{0}向下舍入",
    description=gettext_noop("向靠近 0 的方向舍入到指定的小数位。"),
    examples=[("向下舍入(2.9,0)", 2.0), ("ROUNDDOWN(1299.99,-2)", 1200.0)],
)
def round_towards_zero(value: float, digits: float = 0.0) -> float:
    """ROUNDDOWN."""
    return shift_and_cut(value, digits, 0.0)


@function(
    "截断",
    "TRUNC",
    number("数值"),
    number("小数位", optional=True),
    result=_NUMBER,
    infer=_like_first,
    topic=_TOPIC,
    reading="{0}去掉小数",
    description=gettext_noop("去掉小数部分，不舍入。"),
    examples=[("截断(2.9)", 2.0), ("TRUNC(-2.9)", -2.0)],
)
def cut_number(value: float, digits: float = 0.0) -> float:
    """TRUNC."""
    return shift_and_cut(value, digits, 0.0)


@function(
    "取整",
    "INT",
    number("数值"),
    result=_NUMBER,
    infer=_like_first,
    topic=_TOPIC,
    reading="{0}向下取整",
    description=gettext_noop("向下取到最近的整数，负数取更小的整数。"),
    examples=[("取整(2.9)", 2.0), ("INT(-2.5)", -3.0)],
)
def floor_number(value: float) -> float:
    """INT."""
    return float(math.floor(round_to_15_digits(value)))


@function(
    "求余",
    "MOD",
    number("数值"),
    number("除数"),
    result=_NUMBER,
    topic=_TOPIC,
    aliases=("取余",),
    reading="{0}除以{1}的余数",
    description=gettext_noop("除法的余数，符号与除数相同。"),
    examples=[("求余(7,3)", 1.0), ("MOD(7,-3)", -2.0), ("MOD(7,0)", ErrorValue.DIV0)],
)
def take_remainder(value: float, divisor: float) -> Value:
    """MOD."""
    if divisor == 0.0:
        return ErrorValue.DIV0
    times = value / divisor
    if abs(times) >= 1e13:
        return ErrorValue.NUM
    return subtract(value, divisor * math.floor(round_to_15_digits(times)))


@function(
    "整除",
    "QUOTIENT",
    number("数值"),
    number("除数"),
    result=_NUMBER,
    topic=_TOPIC,
    reading="{0}除以{1}的整数部分",
    description=gettext_noop("除法结果的整数部分。"),
    examples=[("整除(7,2)", 3.0), ("QUOTIENT(-7,2)", -3.0)],
)
def divide_whole(value: float, divisor: float) -> Value:
    """QUOTIENT."""
    if divisor == 0.0:
        return ErrorValue.DIV0
    quotient = finite(value / divisor)
    return float(math.trunc(quotient)) if isinstance(quotient, float) else quotient


@function(
    "符号",
    "SIGN",
    number("数值"),
    result=_NUMBER,
    topic=_TOPIC,
    reading="{0}的符号",
    description=gettext_noop("正数得出 1，负数得出 -1，0 得出 0。"),
    examples=[("符号(-5)", -1.0), ("SIGN(0)", 0.0)],
)
def take_sign(value: float) -> float:
    """SIGN."""
    return float((value > 0) - (value < 0))


@function(
    "平方根",
    "SQRT",
    number("数值"),
    result=_NUMBER,
    topic=_TOPIC,
    reading="{0}的平方根",
    description=gettext_noop("平方根；负数得出 #NUM!。"),
    examples=[("平方根(4)", 2.0), ("SQRT(-1)", ErrorValue.NUM)],
)
def take_root(value: float) -> Value:
    """SQRT."""
    return math.sqrt(value) if value >= 0 else ErrorValue.NUM


@function(
    "乘方",
    "POWER",
    number("底数"),
    number("指数"),
    result=_NUMBER,
    topic=_TOPIC,
    reading="{0}的{1}次方",
    description=gettext_noop("乘方，与 ^ 相同。"),
    examples=[("乘方(2,3)", 8.0), ("POWER(0,-1)", ErrorValue.DIV0)],
)
def raise_number(base: float, exponent: float) -> Value:
    """POWER."""
    return power(base, exponent)


@function(
    "上舍入到倍数",
    "CEILING",
    number("数值"),
    number("倍数"),
    result=_NUMBER,
    infer=_like_first,
    topic=_TOPIC,
    reading="{0}向上取到{1}的倍数",
    description=gettext_noop("向上取到倍数；正数配负的倍数得出 #NUM!。"),
    examples=[("上舍入到倍数(2.1,0.5)", 2.5), ("CEILING(2.1,10)", 10.0)],
)
def raise_to_multiple(value: float, step: float) -> Value:
    """CEILING."""
    if value == 0.0 or step == 0.0:
        return 0.0
    if value > 0 > step:
        return ErrorValue.NUM
    return _multiple(step, math.ceil(round_to_15_digits(value / step)))


@function(
    "下舍入到倍数",
    "FLOOR",
    number("数值"),
    number("倍数"),
    result=_NUMBER,
    infer=_like_first,
    topic=_TOPIC,
    reading="{0}向下取到{1}的倍数",
    description=gettext_noop("向下取到倍数；正数配负的倍数得出 #NUM!。"),
    examples=[("下舍入到倍数(2.9,0.5)", 2.5), ("FLOOR(2.9,1)", 2.0)],
)
def lower_to_multiple(value: float, step: float) -> Value:
    """FLOOR."""
    if value == 0.0:
        return 0.0
    if step == 0.0:
        return ErrorValue.DIV0
    if value > 0 > step:
        return ErrorValue.NUM
    return _multiple(step, math.floor(round_to_15_digits(value / step)))


@function(
    "舍入到倍数",
    "MROUND",
    number("数值"),
    number("倍数"),
    result=_NUMBER,
    infer=_like_first,
    topic=_TOPIC,
    reading="{0}舍入到{1}的倍数",
    description=gettext_noop("四舍五入到最近的倍数；符号不同时得出 #NUM!。"),
    examples=[("舍入到倍数(10,3)", 9.0), ("MROUND(7.3,0.2)", 7.4)],
)
def round_to_multiple(value: float, step: float) -> Value:
    """MROUND."""
    if value == 0.0 or step == 0.0:
        return 0.0
    if (value > 0) != (step > 0):
        return ErrorValue.NUM
    return _multiple(step, round_half_away(value / step))


def _multiple(step: float, times: float) -> Value:
    return round_to_15_digits(step * times) if abs(times) < 1e15 else finite(step * times)


@function(
    "取偶",
    "EVEN",
    number("数值"),
    result=_NUMBER,
    topic=_TOPIC,
    reading="{0}取到偶数",
    description=gettext_noop("向远离 0 的方向取到偶数。"),
    examples=[("取偶(2.5)", 4.0), ("EVEN(-1)", -2.0)],
)
def raise_to_even(value: float) -> float:
    """EVEN."""
    return math.copysign(2.0 * math.ceil(abs(value) / 2.0), value) if value else 0.0


@function(
    "取奇",
    "ODD",
    number("数值"),
    result=_NUMBER,
    topic=_TOPIC,
    reading="{0}取到奇数",
    description=gettext_noop("向远离 0 的方向取到奇数。"),
    examples=[("取奇(2.5)", 3.0), ("ODD(0)", 1.0)],
)
def raise_to_odd(value: float) -> float:
    """ODD."""
    size = 2.0 * math.ceil((abs(value) - 1.0) / 2.0) + 1.0 if abs(value) > 1.0 else 1.0
    return -size if value < 0 else size
