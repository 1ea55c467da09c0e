"""Aggregates: over values and lists as in Excel, and over the rows of an order.

As in Excel, text and logicals that come from a field take no part in a sum; written in the
formula they are coerced. Row forms evaluate an expression per row, with a condition.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Final

from config.errors import gettext_noop
from rules_engine.formula.operators import finite, to_logical, to_number
from rules_engine.formula.tree import Kinds
from rules_engine.formula.values import (
    AND_ORDER,
    NUMERIC_TYPES,
    OR_ORDER,
    STOPPING,
    UNKNOWN,
    ErrorValue,
    Value,
    ValueType,
    decide,
    strongest,
)

from .registry import Cost, Style, anything, function, logical, money, number, rows

_TOPIC: Final = gettext_noop("汇总")
_ROWS_TOPIC: Final = gettext_noop("明细")
_IGNORED: Final = gettext_noop("空值不参加；字段里的文本和“是/否”也不参加")
_ROWS_UNKNOWN: Final = gettext_noop("明细未知，或某一行要用的值未知时，结果未知")
_LINES: Final = {"明细": [{"数量": 2.0, "行金额": 10.0}, {"数量": 1.0, "行金额": 5.5}]}
_PER_ROW: Final = (rows("明细"), number("表达式"), logical("条件", optional=True))

_PerRow = Callable[[], Value]
_EachRow = Any  # an iterator that puts the next row in place; see row_plan


def _same_unit(kinds: Sequence[Kinds]) -> Kinds:
    """Keep the unit when every numeric argument has the same one."""
    units = frozenset().union(*kinds) & NUMERIC_TYPES
    return units if len(units) == 1 else frozenset({ValueType.NUMBER})


def collect_numbers(values: Sequence[Value], references: Sequence[bool]) -> list[float] | Value:
    """Return the numbers that take part, or the error or UNKNOWN that stops the aggregate."""
    found: list[float] = []
    stops: list[Value] = []
    for value, is_reference in zip(values, references, strict=True):
        if type(value) is float:
            found.append(value)
        elif type(value) is tuple:
            for item in value:
                if type(item) is float:
                    found.append(item)
                elif type(item) is int:
                    found.append(float(item))
                elif type(item) in STOPPING:
                    stops.append(item)
        elif type(value) in STOPPING:
            stops.append(value)
        elif not is_reference:
            coerced = to_number(value)
            if isinstance(coerced, float):
                found.append(coerced)
            else:
                stops.append(coerced)
    return strongest(stops) if stops else found


def add_up(numbers: Sequence[float]) -> Value:
    """Sum exactly, rounding once."""
    try:
        return finite(math.fsum(numbers))
    except OverflowError:
        return ErrorValue.NUM


def add_up_money(amounts: Sequence[float]) -> Value:
    """Sum amounts in integer fen."""
    if any(abs(amount) > 1e13 for amount in amounts):
        return ErrorValue.NUM
    return sum(round(amount * 100) for amount in amounts) / 100


# --- forms over rows ----------------------------------------------------------------------------


def _row_values(
    each: _EachRow, expression: _PerRow | None, condition: _PerRow | None
) -> list[Value] | Value:
    """Evaluate the expression on every row the condition takes; stop for error or unknown."""
    found: list[Value] = []
    is_unknown = False
    for _ in each:
        if condition is not None:
            taken = to_logical(condition())
            if type(taken) is ErrorValue:
                return taken
            if type(taken) in STOPPING:
                is_unknown = True
                continue
            if not taken:
                continue
        if expression is None:
            found.append(True)
            continue
        value = expression()
        if type(value) is ErrorValue:
            return value
        if type(value) in STOPPING:
            is_unknown = True
        else:
            found.append(value)
    return UNKNOWN if is_unknown else found


def _row_numbers(
    each: _EachRow, expression: _PerRow | None, condition: _PerRow | None
) -> list[float] | Value:
    values = _row_values(each, expression, condition)
    if not isinstance(values, list):
        return values
    numbers: list[float] = []
    for value in values:
        if value is None:
            continue
        coerced = to_number(value)
        if not isinstance(coerced, float):
            return coerced
        numbers.append(coerced)
    return numbers


def _over_rows(
    finish: Callable[[list[float]], Value],
) -> Callable[[_EachRow, _PerRow | None, _PerRow | None], Value]:
    def run(each: _EachRow, expression: _PerRow | None, condition: _PerRow | None) -> Value:
        numbers = _row_numbers(each, expression, condition)
        return finish(numbers) if isinstance(numbers, list) else numbers

    return run


def _count_rows(each: _EachRow, expression: _PerRow | None, condition: _PerRow | None) -> Value:
    """Count rows; there is no expression to evaluate, the second part is the condition."""
    values = _row_values(each, None, expression)
    return float(len(values)) if isinstance(values, list) else values


def average_numbers(numbers: Sequence[float]) -> Value:
    """Divide the sum by the count; #DIV/0! of nothing."""
    if not numbers:
        return ErrorValue.DIV0
    total = add_up(numbers)
    return total / len(numbers) if isinstance(total, float) else total


@function(
    "求和",
    "SUM",
    number("数值", many=True),
    result=ValueType.NUMBER,
    infer=_same_unit,
    style=Style.AGGREGATE,
    row_parameters=_PER_ROW,
    row_run=_over_rows(add_up),
    row_run_in_fen=_over_rows(add_up_money),
    cost=Cost.ROWS,
    topic=_TOPIC,
    aliases=("合计",),
    blank=_IGNORED,
    unknown=_ROWS_UNKNOWN,
    reading="{*}之和",
    description=gettext_noop("求和(数值…)，或 求和(明细, 表达式[, 条件])：对每一行计算后相加。"),
    examples=[
        ("求和(1,2,3)", 6.0),
        ("求和(明细,行金额)", 15.5, _LINES),
        ("求和(明细,数量*行金额,数量>1)", 20.0, _LINES),
        ("SUM(明细,数量)", 0.0, {"明细": ()}),
        ("SUM(a,1)", 1.0, {"a": "5"}),
    ],
)
def add_values(values: Sequence[Value], references: Sequence[bool]) -> Value:
    """SUM."""
    numbers = collect_numbers(values, references)
    return add_up(numbers) if isinstance(numbers, list) else numbers


@function(
    "平均",
    "AVERAGE",
    number("数值", many=True),
    result=ValueType.NUMBER,
    infer=_same_unit,
    style=Style.AGGREGATE,
    row_parameters=_PER_ROW,
    row_run=_over_rows(average_numbers),
    cost=Cost.ROWS,
    topic=_TOPIC,
    aliases=("平均值",),
    blank=_IGNORED,
    unknown=_ROWS_UNKNOWN,
    reading="{*}的平均值",
    description=gettext_noop(
        "平均(数值…)，或 平均(明细, 表达式[, 条件])；没有数值时得出 #DIV/0!。"
    ),
    examples=[("平均(1,2,3)", 2.0), ("平均(明细,数量)", 1.5, _LINES)],
)
def average_values(values: Sequence[Value], references: Sequence[bool]) -> Value:
    """AVERAGE."""
    numbers = collect_numbers(values, references)
    return average_numbers(numbers) if isinstance(numbers, list) else numbers


@function(
    "最小",
    "MIN",
    number("数值", many=True),
    result=ValueType.NUMBER,
    infer=_same_unit,
    style=Style.AGGREGATE,
    row_parameters=_PER_ROW,
    row_run=_over_rows(lambda numbers: min(numbers, default=None)),
    cost=Cost.ROWS,
    topic=_TOPIC,
    aliases=("最小值",),
    blank=_IGNORED,
    unknown=_ROWS_UNKNOWN,
    reading="{*}中最小的",
    description=gettext_noop(
        "最小(数值…)，或 最小(明细, 表达式[, 条件])；没有任何一行时得出空值。"
    ),
    examples=[("最小(3,1,2)", 1.0), ("最小(明细,行金额)", 5.5, _LINES)],
)
def take_smallest(values: Sequence[Value], references: Sequence[bool]) -> Value:
    """MIN."""
    numbers = collect_numbers(values, references)
    return min(numbers, default=0.0) if isinstance(numbers, list) else numbers


@function(
    "最大",
    "MAX",
    number("数值", many=True),
    result=ValueType.NUMBER,
    infer=_same_unit,
    style=Style.AGGREGATE,
    row_parameters=_PER_ROW,
    row_run=_over_rows(lambda numbers: max(numbers, default=None)),
    cost=Cost.ROWS,
    topic=_TOPIC,
    aliases=("最大值",),
    blank=_IGNORED,
    unknown=_ROWS_UNKNOWN,
    reading="{*}中最大的",
    description=gettext_noop(
        "最大(数值…)，或 最大(明细, 表达式[, 条件])；没有任何一行时得出空值。"
    ),
    examples=[("最大(3,1,2)", 3.0), ("最大(明细,行金额)", 10.0, _LINES)],
)
def take_largest(values: Sequence[Value], references: Sequence[bool]) -> Value:
    """MAX."""
    numbers = collect_numbers(values, references)
    return max(numbers, default=0.0) if isinstance(numbers, list) else numbers


@function(
    "计数",
    "COUNT",
    anything("值", many=True),
    result=ValueType.NUMBER,
    style=Style.AGGREGATE,
    row_parameters=(rows("明细"), logical("条件", optional=True)),
    row_run=_count_rows,
    cost=Cost.ROWS,
    topic=_TOPIC,
    blank=_IGNORED,
    unknown=_ROWS_UNKNOWN,
    reading="{*}的个数",
    description=gettext_noop("计数(明细[, 条件])：行数；计数(值…)：其中数字的个数。"),
    examples=[
        ("计数(明细)", 2.0, _LINES),
        ("计数(明细,数量>1)", 1.0, _LINES),
        ('COUNT(1,"2","x")', 2.0),
    ],
)
def count_numbers(values: Sequence[Value], references: Sequence[bool]) -> Value:
    """COUNT."""
    count = 0
    for value, is_reference in zip(values, references, strict=True):
        items = value if type(value) is tuple else (value,)
        if UNKNOWN in items:
            return UNKNOWN
        for item in items:
            if type(item) is float or type(item) is int:
                count += 1
            elif not is_reference and isinstance(item, str | bool):
                count += isinstance(to_number(item), float)
    return float(count)


@function(
    "不同数",
    "DISTINCT",
    rows("明细"),
    anything("表达式", optional=True),
    logical("条件", optional=True),
    result=ValueType.NUMBER,
    style=Style.ROWS,
    cost=Cost.ROWS,
    topic=_ROWS_TOPIC,
    blank=gettext_noop("空值不算一个值；没有任何一行时得出 0"),
    unknown=_ROWS_UNKNOWN,
    reading="{0}里不同的{1}的个数",
    description=gettext_noop("每一行的表达式一共有几个不同的值，文本不分大小写。"),
    examples=[
        ("不同数(明细,仓库)", 2.0, {"明细": [{"仓库": "A"}, {"仓库": "b"}, {"仓库": "a"}]}),
        ("不同数(列表)", 2.0, {"列表": ["x", "X", "y", None]}),
    ],
)
def count_distinct(each: _EachRow, expression: _PerRow | None, condition: _PerRow | None) -> Value:
    """Count different values."""
    values = _row_values(each, expression, condition)
    if not isinstance(values, list):
        return values
    if any(type(value) is tuple for value in values):
        return ErrorValue.VALUE
    return float(len({_identity(value) for value in values if value is not None and value != ""}))


def _identity(value: Value) -> tuple[type, object]:
    return type(value), value.lower() if isinstance(value, str) else value


def _row_conditions(each: _EachRow, expression: _PerRow, condition: _PerRow | None) -> list[Value]:
    found: list[Value] = []
    for _ in each:
        if condition is not None:
            taken = to_logical(condition())
            if taken is False:
                continue
            if taken is not True:
                found.append(taken)
                continue
        found.append(to_logical(expression()))
    return found


@function(
    "任一",
    "ANY",
    rows("明细"),
    logical("条件"),
    result=ValueType.LOGICAL,
    style=Style.ROWS,
    cost=Cost.ROWS,
    topic=_ROWS_TOPIC,
    blank=gettext_noop("没有任何一行时得出“否”"),
    unknown=gettext_noop("有一行成立就成立；否则有未知的行时未知"),
    reading="{0}里有一行{1}",
    description=gettext_noop("有任何一行满足条件时成立。"),
    examples=[
        ("任一(明细,数量>1)", True, _LINES),
        ("ANY(明细,数量>1)", False, {"明细": ()}),
    ],
)
def any_row(each: _EachRow, expression: _PerRow, condition: _PerRow | None) -> Value:
    """Tell whether a row fulfils the condition."""
    found = _row_conditions(each, expression, condition)
    return decide(OR_ORDER, found) if found else False


@function(
    "每一",
    "EVERY",
    rows("明细"),
    logical("条件"),
    result=ValueType.LOGICAL,
    style=Style.ROWS,
    cost=Cost.ROWS,
    topic=_ROWS_TOPIC,
    blank=gettext_noop("没有任何一行时得出“是”"),
    unknown=gettext_noop("有一行不成立就不成立；否则有未知的行时未知"),
    reading="{0}的每一行都{1}",
    description=gettext_noop("每一行都满足条件时成立。"),
    examples=[
        ("每一(明细,数量>0)", True, _LINES),
        ("EVERY(明细,数量>1)", False, _LINES),
    ],
)
def every_row(each: _EachRow, expression: _PerRow, condition: _PerRow | None) -> Value:
    """Tell whether every row fulfils the condition."""
    found = _row_conditions(each, expression, condition)
    return decide(AND_ORDER, found) if found else True


@function(
    "金额相等",
    "MONEYEQ",
    money("金额1"),
    money("金额2"),
    money("容差元", optional=True),
    result=ValueType.LOGICAL,
    topic=_TOPIC,
    reading="{0}与{1}的金额相等",
    description=gettext_noop("两个金额按分比较，相差不超过容差（元，默认 0）时成立。"),
    examples=[
        ("金额相等(0.1+0.2,0.3)", True),
        ("金额相等(100,99.99)", False),
        ("MONEYEQ(100,99.99,0.01)", True),
    ],
)
def equals_in_fen(first: float, second: float, tolerance: float = 0.0) -> Value:
    """Compare amounts in integer fen."""
    if max(abs(first), abs(second), abs(tolerance)) > 1e13:
        return ErrorValue.NUM
    return abs(round(first * 100) - round(second * 100)) <= round(tolerance * 100)
