"""Lists of one column: counting and summing by criteria, places, order, statistics."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from typing import Final

from config.errors import gettext_noop
from rules_engine.formula.criteria import Test, read_criterion
from rules_engine.formula.operators import compare, equal, finite
from rules_engine.formula.values import UNKNOWN, ErrorValue, Value, ValueType, strongest
from rules_engine.formula.wildcards import MAX_WILDCARDS, has_wildcards, matches_wildcards

from .aggregates import add_up, average_numbers, collect_numbers
from .registry import Cost, Style, anything, function, number, rows

_TOPIC: Final = gettext_noop("列表")
_IGNORED: Final = gettext_noop("空值不参加；字段里的文本和“是/否”也不参加")
_UNKNOWN: Final = gettext_noop("列表里有未知的值时，结果未知")
_LIST: Final = {"列表": [5.0, 10.0, 15.0, None]}
_PAIR: Final = {"品类": ["衣服", "裤子", "衣架"], "金额": [10.0, 20.0, 30.0]}

_Items = tuple[Value, ...]


def _select(pairs: Sequence[Value | _Items]) -> list[bool] | Value:
    """Tell for every element whether all criteria hold; pairs: list, criterion, ..."""
    taken: list[bool] | None = None
    for items, criterion in zip(pairs[::2], pairs[1::2], strict=True):
        if not isinstance(items, tuple):
            return ErrorValue.VALUE
        if UNKNOWN in items:
            return UNKNOWN
        test: Test | ErrorValue = read_criterion(criterion)
        if isinstance(test, ErrorValue):
            return test
        if taken is None:
            taken = [test(item) for item in items]
        elif len(taken) != len(items):
            return ErrorValue.VALUE
        else:
            taken = [was and test(item) for was, item in zip(taken, items, strict=True)]
    return taken or []


def _numbers_where(items: Value, pairs: Sequence[Value | _Items]) -> list[float] | Value:
    taken = _select(pairs)
    if not isinstance(taken, list):
        return taken
    if not isinstance(items, tuple) or len(items) != len(taken):
        return ErrorValue.VALUE
    kept = tuple(item for item, is_taken in zip(items, taken, strict=True) if is_taken)
    return collect_numbers([kept], [True])


def _finish(
    items: Value, pairs: Sequence[Value | _Items], finish: Callable[[list[float]], Value]
) -> Value:
    numbers = _numbers_where(items, pairs)
    return finish(numbers) if isinstance(numbers, list) else numbers


@function(
    "条件计数",
    "COUNTIF",
    rows("范围"),
    anything("条件"),
    result=ValueType.NUMBER,
    topic=_TOPIC,
    cost=Cost.ROWS,
    unknown=_UNKNOWN,
    reading="{0}里符合{1}的个数",
    description=gettext_noop('符合条件的个数；条件写成 ">5"、"<>红"、"衣*" 或一个值。'),
    examples=[('条件计数(列表,">5")', 2.0, _LIST), ('COUNTIF(列表,"")', 1.0, _LIST)],
)
def count_if(items: _Items, criterion: Value) -> Value:
    """COUNTIF."""
    taken = _select((items, criterion))
    return float(sum(taken)) if isinstance(taken, list) else taken


@function(
    "多条件计数",
    "COUNTIFS",
    rows("范围", many=True),
    anything("条件", many=True),
    result=ValueType.NUMBER,
    topic=_TOPIC,
    in_pairs=True,
    cost=Cost.ROWS,
    unknown=_UNKNOWN,
    reading="{*}都符合的个数",
    description=gettext_noop("几个范围都符合各自条件的个数。"),
    examples=[('多条件计数(品类,"衣*",金额,">10")', 1.0, _PAIR)],
)
def count_ifs(*pairs: Value) -> Value:
    """COUNTIFS."""
    taken = _select(pairs)
    return float(sum(taken)) if isinstance(taken, list) else taken


@function(
    "条件求和",
    "SUMIF",
    rows("范围"),
    anything("条件"),
    rows("求和范围", optional=True),
    result=ValueType.NUMBER,
    topic=_TOPIC,
    cost=Cost.ROWS,
    unknown=_UNKNOWN,
    reading="{0}符合{1}的之和",
    description=gettext_noop("符合条件的数值之和，可以另写求和范围。"),
    examples=[('条件求和(品类,"衣*",金额)', 40.0, _PAIR), ('SUMIF(列表,">5")', 25.0, _LIST)],
)
def sum_if(items: _Items, criterion: Value, sums: _Items | None = None) -> Value:
    """SUMIF."""
    return _finish(items if sums is None else sums, (items, criterion), add_up)


@function(
    "多条件求和",
    "SUMIFS",
    rows("求和范围"),
    rows("范围", many=True),
    anything("条件", many=True),
    result=ValueType.NUMBER,
    topic=_TOPIC,
    in_pairs=True,
    cost=Cost.ROWS,
    unknown=_UNKNOWN,
    reading="{0}里符合{*}的之和",
    description=gettext_noop("几个范围都符合各自条件的数值之和。"),
    examples=[('多条件求和(金额,品类,"衣*",金额,">10")', 30.0, _PAIR)],
)
def sum_ifs(sums: _Items, *pairs: Value) -> Value:
    """SUMIFS."""
    return _finish(sums, pairs, add_up)


@function(
    "条件平均",
    "AVERAGEIF",
    rows("范围"),
    anything("条件"),
    rows("平均范围", optional=True),
    result=ValueType.NUMBER,
    topic=_TOPIC,
    cost=Cost.ROWS,
    unknown=_UNKNOWN,
    reading="{0}符合{1}的平均值",
    description=gettext_noop("符合条件的数值的平均值；没有时得出 #DIV/0!。"),
    examples=[('条件平均(列表,">5")', 12.5, _LIST)],
)
def average_if(items: _Items, criterion: Value, averaged: _Items | None = None) -> Value:
    """AVERAGEIF."""
    return _finish(items if averaged is None else averaged, (items, criterion), average_numbers)


@function(
    "多条件平均",
    "AVERAGEIFS",
    rows("平均范围"),
    rows("范围", many=True),
    anything("条件", many=True),
    result=ValueType.NUMBER,
    topic=_TOPIC,
    in_pairs=True,
    cost=Cost.ROWS,
    unknown=_UNKNOWN,
    reading="{0}里符合{*}的平均值",
    description=gettext_noop("几个范围都符合各自条件的数值的平均值。"),
    examples=[('多条件平均(金额,品类,"衣*")', 20.0, _PAIR)],
)
def average_ifs(averaged: _Items, *pairs: Value) -> Value:
    """AVERAGEIFS."""
    return _finish(averaged, pairs, average_numbers)


@function(
    "多条件最大",
    "MAXIFS",
    rows("范围"),
    rows("条件范围", many=True),
    anything("条件", many=True),
    result=ValueType.NUMBER,
    topic=_TOPIC,
    in_pairs=True,
    cost=Cost.ROWS,
    unknown=_UNKNOWN,
    reading="{0}里符合{*}的最大值",
    description=gettext_noop("符合条件的数值里最大的；没有时得出 0。"),
    examples=[('多条件最大(金额,品类,"衣*")', 30.0, _PAIR)],
)
def max_ifs(items: _Items, *pairs: Value) -> Value:
    """MAXIFS."""
    return _finish(items, pairs, lambda numbers: max(numbers, default=0.0))


@function(
    "多条件最小",
    "MINIFS",
    rows("范围"),
    rows("条件范围", many=True),
    anything("条件", many=True),
    result=ValueType.NUMBER,
    topic=_TOPIC,
    in_pairs=True,
    cost=Cost.ROWS,
    unknown=_UNKNOWN,
    reading="{0}里符合{*}的最小值",
    description=gettext_noop("符合条件的数值里最小的；没有时得出 0。"),
    examples=[('多条件最小(金额,品类,"衣*")', 10.0, _PAIR)],
)
def min_ifs(items: _Items, *pairs: Value) -> Value:
    """MINIFS."""
    return _finish(items, pairs, lambda numbers: min(numbers, default=0.0))


@function(
    "非空计数",
    "COUNTA",
    anything("值", many=True),
    result=ValueType.NUMBER,
    style=Style.AGGREGATE,
    topic=_TOPIC,
    cost=Cost.ROWS,
    blank=gettext_noop("空值不计；空文本计入"),
    unknown=_UNKNOWN,
    reading="{*}里不为空的个数",
    description=gettext_noop("不为空的值的个数。"),
    examples=[("非空计数(列表)", 3.0, _LIST)],
)
def count_filled(values: Sequence[Value], references: Sequence[bool]) -> Value:
    """COUNTA."""
    count = 0
    for value in values:
        items = value if isinstance(value, tuple) else (value,)
        if UNKNOWN in items:
            return UNKNOWN
        count += sum(item is not None for item in items)
    return float(count)


@function(
    "空值计数",
    "COUNTBLANK",
    rows("范围"),
    result=ValueType.NUMBER,
    topic=_TOPIC,
    cost=Cost.ROWS,
    blank=gettext_noop("空值和空文本都计入"),
    unknown=_UNKNOWN,
    reading="{0}里为空的个数",
    description=gettext_noop("空值和空文本的个数。"),
    examples=[("空值计数(列表)", 1.0, _LIST)],
)
def count_blank(items: _Items) -> Value:
    """COUNTBLANK."""
    if UNKNOWN in items:
        return UNKNOWN
    return float(sum(item is None or item == "" for item in items))


def _over_numbers(
    finish: Callable[[list[float]], Value],
) -> Callable[[Sequence[Value], Sequence[bool]], Value]:
    def run(values: Sequence[Value], references: Sequence[bool]) -> Value:
        numbers = collect_numbers(values, references)
        return finish(numbers) if isinstance(numbers, list) else numbers

    return run


function(
    "乘积",
    "PRODUCT",
    number("数值", many=True),
    result=ValueType.NUMBER,
    style=Style.AGGREGATE,
    topic=_TOPIC,
    cost=Cost.ROWS,
    blank=_IGNORED,
    unknown=_UNKNOWN,
    reading="{*}的乘积",
    description=gettext_noop("数值的乘积。"),
    examples=[("乘积(2,3,4)", 24.0)],
)(_over_numbers(lambda numbers: finite(math.prod(numbers)) if numbers else 0.0))

function(
    "中位数",
    "MEDIAN",
    number("数值", many=True),
    result=ValueType.NUMBER,
    style=Style.AGGREGATE,
    topic=_TOPIC,
    cost=Cost.ROWS,
    blank=_IGNORED,
    unknown=_UNKNOWN,
    reading="{*}的中位数",
    description=gettext_noop("从小到大排在中间的数值。"),
    examples=[("中位数(1,9,2)", 2.0), ("MEDIAN(1,2)", 1.5)],
)(_over_numbers(lambda numbers: _median(numbers)))

function(
    "样本方差",
    "VAR",
    number("数值", many=True),
    result=ValueType.NUMBER,
    style=Style.AGGREGATE,
    topic=_TOPIC,
    cost=Cost.ROWS,
    blank=_IGNORED,
    unknown=_UNKNOWN,
    reading="{*}的样本方差",
    description=gettext_noop("样本方差；不到两个数值时得出 #DIV/0!。"),
    examples=[("样本方差(1,2,3)", 1.0), ("VAR(5)", ErrorValue.DIV0)],
)(_over_numbers(lambda numbers: _variance(numbers)))

function(
    "样本标准差",
    "STDEV",
    number("数值", many=True),
    result=ValueType.NUMBER,
    style=Style.AGGREGATE,
    topic=_TOPIC,
    cost=Cost.ROWS,
    blank=_IGNORED,
    unknown=_UNKNOWN,
    reading="{*}的样本标准差",
    description=gettext_noop("样本标准差；不到两个数值时得出 #DIV/0!。"),
    examples=[("样本标准差(1,2,3)", 1.0)],
)(_over_numbers(lambda numbers: _deviation(numbers)))


def _median(numbers: list[float]) -> Value:
    return finite(statistics.median(numbers)) if numbers else ErrorValue.NUM


def _variance(numbers: list[float]) -> Value:
    if len(numbers) < 2:
        return ErrorValue.DIV0
    try:
        return finite(float(statistics.variance(numbers)))
    except OverflowError:
        return ErrorValue.NUM


def _deviation(numbers: list[float]) -> Value:
    variance = _variance(numbers)
    return math.sqrt(variance) if isinstance(variance, float) else variance


@function(
    "乘积之和",
    "SUMPRODUCT",
    rows("列表", many=True),
    result=ValueType.NUMBER,
    topic=_TOPIC,
    cost=Cost.ROWS,
    blank=gettext_noop("不是数字的按 0 计算"),
    unknown=_UNKNOWN,
    reading="{*}逐行相乘之和",
    description=gettext_noop("几个同样长的列表逐行相乘后相加。"),
    examples=[("乘积之和(甲,乙)", 14.0, {"甲": [1.0, 2.0, 3.0], "乙": [1.0, 2.0, 3.0]})],
)
def sum_products(*lists: _Items) -> Value:
    """SUMPRODUCT."""
    if len({len(items) for items in lists}) > 1:
        return ErrorValue.VALUE
    stops = [item for items in lists for item in items if isinstance(item, ErrorValue)]
    if stops or any(UNKNOWN in items for items in lists):
        return strongest(list(stops))
    products = []
    for row in zip(*lists, strict=True):
        product = finite(math.prod(item if type(item) is float else 0.0 for item in row))
        if not isinstance(product, float):
            return product
        products.append(product)
    return add_up(products)


def _ordered(items: _Items) -> list[float] | Value:
    numbers = collect_numbers([items], [True])
    return sorted(numbers) if isinstance(numbers, list) else numbers


@function(
    "第几大",
    "LARGE",
    rows("范围"),
    number("第几"),
    result=ValueType.NUMBER,
    topic=_TOPIC,
    cost=Cost.ROWS,
    blank=_IGNORED,
    unknown=_UNKNOWN,
    reading="{0}里第{1}大的",
    description=gettext_noop("第几大的数值；没有那么多时得出 #NUM!。"),
    examples=[("第几大(列表,2)", 10.0, _LIST)],
)
def take_large(items: _Items, place: float) -> Value:
    """LARGE."""
    numbers = _ordered(items)
    if not isinstance(numbers, list):
        return numbers
    return numbers[-math.ceil(place)] if 0 < place <= len(numbers) else ErrorValue.NUM


@function(
    "第几小",
    "SMALL",
    rows("范围"),
    number("第几"),
    result=ValueType.NUMBER,
    topic=_TOPIC,
    cost=Cost.ROWS,
    blank=_IGNORED,
    unknown=_UNKNOWN,
    reading="{0}里第{1}小的",
    description=gettext_noop("第几小的数值；没有那么多时得出 #NUM!。"),
    examples=[("第几小(列表,2)", 10.0, _LIST)],
)
def take_small(items: _Items, place: float) -> Value:
    """SMALL."""
    numbers = _ordered(items)
    if not isinstance(numbers, list):
        return numbers
    return numbers[math.ceil(place) - 1] if 0 < place <= len(numbers) else ErrorValue.NUM


@function(
    "取第几个",
    "INDEX",
    rows("范围"),
    number("行"),
    number("列", optional=True),
    result=ValueType.ANY,
    topic=_TOPIC,
    cost=Cost.ROWS,
    reading="{0}的第{1}个",
    description=gettext_noop("列表里的第几个值；列表是一行，写行和列时行是 1。"),
    examples=[("取第几个(列表,2)", 10.0, _LIST), ("INDEX(列表,1,2)", 10.0, _LIST)],
)
def take_item(items: _Items, row: float, column: float | None = None) -> Value:
    """INDEX."""
    place = row if column is None else column
    if row < 0 or place < 0 or place >= 1e9 or row >= 1e9:
        return ErrorValue.VALUE
    if column is not None and int(row) > 1:
        return ErrorValue.REF
    if not 1 <= int(place) <= len(items):
        return ErrorValue.REF if int(place) else ErrorValue.VALUE
    found = items[int(place) - 1]
    return ErrorValue.VALUE if isinstance(found, dict) else found


@function(
    "查找位置",
    "MATCH",
    anything("值"),
    rows("范围"),
    number("方式", optional=True),
    result=ValueType.NUMBER,
    topic=_TOPIC,
    cost=Cost.ROWS,
    unknown=_UNKNOWN,
    reading="{0}在{1}里的位置",
    description=gettext_noop(
        "值在列表里是第几个：方式 0 相等（文本可用通配符），1（默认）不大于它的最后一个，-1 不小于它的。"
    ),
    examples=[('查找位置("B",列表,0)', 2.0, {"列表": ["a", "b"]}), ("MATCH(12,列表)", 2.0, _LIST)],
)
def find_place(value: Value, items: _Items, way: float = 1.0) -> Value:
    """MATCH."""
    if UNKNOWN in items:
        return UNKNOWN
    if value is None:
        value = 0.0
    found = 0
    for place, item in enumerate(items, 1):
        if type(item) is not type(value):
            continue
        if way == 0:
            if _is_match(value, item):
                return float(place)
            continue
        order = compare(item, value)
        if not isinstance(order, int):
            return order
        if order == 0 or (order < 0) is (way > 0):
            found = place
        else:
            break
    return float(found) if found else ErrorValue.NA


def _is_match(value: Value, item: Value) -> bool:
    if isinstance(value, str) and isinstance(item, str) and has_wildcards(value):
        return len(value) <= MAX_WILDCARDS and matches_wildcards(value.lower(), item.lower())
    return equal(value, item) is True
