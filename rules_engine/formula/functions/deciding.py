"""Deciding: IF and its relatives evaluate only the branch they take; AND and OR evaluate all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from config.errors import gettext_noop
from rules_engine.formula.operators import equal, to_logical, to_number
from rules_engine.formula.tree import Kinds
from rules_engine.formula.values import (
    AND_ORDER,
    OR_ORDER,
    STOPPING,
    UNKNOWN,
    ErrorValue,
    Unknown,
    Value,
    ValueType,
    decide,
    strongest,
)

from .registry import Sees, Style, anything, function, logical, number

_TOPIC = gettext_noop("判断")
_LOGICAL: Kinds = frozenset({ValueType.LOGICAL})
_BRANCH_UNKNOWN = gettext_noop("条件未知时结果未知；没有用到的分支不计算")
_DECIDING_UNKNOWN = gettext_noop(
    "有未知时结果未知，除非其他条件已经能决定结果；有错误值时得出错误值"
)
_REFERENCE_BLANK = gettext_noop("空字段和文本字段不参加判断；全部不参加时得出 #VALUE!")

# ev evaluates a part; Any because a part is a Python ast node here and a thunk in another plan.
_Evaluate = Callable[[Any], Value]


def _infer_if(kinds: Sequence[Kinds]) -> Kinds:
    return kinds[1] | (kinds[2] if len(kinds) > 2 else _LOGICAL)


def _infer_every_second(kinds: Sequence[Kinds]) -> Kinds:
    return frozenset().union(*kinds[1::2])


def _infer_switch(kinds: Sequence[Kinds]) -> Kinds:
    default = [kinds[-1]] if len(kinds) % 2 == 0 else []
    return frozenset().union(*kinds[2::2], *default)


def _infer_rest(kinds: Sequence[Kinds]) -> Kinds:
    return frozenset().union(*kinds[1:])


def _infer_all(kinds: Sequence[Kinds]) -> Kinds:
    return frozenset().union(*kinds)


@function(
    "如果",
    "IF",
    logical("条件"),
    anything("成立时"),
    anything("不成立时", optional=True),
    result=ValueType.ANY,
    infer=_infer_if,
    style=Style.LAZY,
    topic=_TOPIC,
    unknown=_BRANCH_UNKNOWN,
    description=gettext_noop(
        "条件成立时取第一个值，不成立时取第二个值；没有写第二个值时得出“否”。"
    ),
    examples=[
        ('如果(实付金额>0,"已付","未付")', "已付", {"实付金额": 5.0}),
        ("IF(1/0,1,2)", ErrorValue.DIV0),
        ("IF(FALSE,1/0,3)", 3.0),
    ],
)
def choose_branch(ev: _Evaluate, args: Sequence[Any]) -> Value:
    """IF."""
    condition = ev(args[0])
    if condition is not True and condition is not False:
        condition = to_logical(condition)
        if type(condition) in STOPPING:
            return condition
    if condition:
        return ev(args[1])
    return ev(args[2]) if len(args) > 2 else False


@function(
    "多重如果",
    "IFS",
    logical("条件", many=True),
    anything("结果", many=True),
    result=ValueType.ANY,
    infer=_infer_every_second,
    style=Style.LAZY,
    in_pairs=True,
    topic=_TOPIC,
    unknown=_BRANCH_UNKNOWN,
    description=gettext_noop("按顺序检查条件，取第一个成立的条件后面的值；都不成立时得出 #N/A。"),
    examples=[
        ('多重如果(分数>=70,"健康",分数>=60,"黄",TRUE,"红")', "黄", {"分数": 65.0}),
        ("IFS(FALSE,1)", ErrorValue.NA),
    ],
)
def choose_first_true(ev: _Evaluate, args: Sequence[Any]) -> Value:
    """IFS."""
    for index in range(0, len(args), 2):
        condition = to_logical(ev(args[index]))
        if type(condition) in STOPPING:
            return condition
        if condition:
            return ev(args[index + 1])
    return ErrorValue.NA


@function(
    "切换",
    "SWITCH",
    anything("值"),
    anything("选项", many=True),
    anything("结果", many=True),
    result=ValueType.ANY,
    infer=_infer_switch,
    style=Style.LAZY,
    topic=_TOPIC,
    unknown=_BRANCH_UNKNOWN,
    description=gettext_noop(
        "把值与每个选项比较，取第一个相等的选项后面的结果；最后单独的一个参数是都不相等时的结果。"
    ),
    examples=[
        ('切换(渠道,"天猫",1,"抖音",2,0)', 2.0, {"渠道": "抖音"}),
        ('SWITCH(风险,"high",-30,0)', -30.0, {"风险": "HIGH"}),
        ("SWITCH(3,1,2)", ErrorValue.NA),
    ],
)
def choose_equal(ev: _Evaluate, args: Sequence[Any]) -> Value:
    """SWITCH."""
    subject = ev(args[0])
    if type(subject) in STOPPING:
        return subject
    for index in range(1, len(args) - 1, 2):
        outcome = equal(subject, ev(args[index]))
        if outcome is True:
            return ev(args[index + 1])
        if outcome is not False:
            return outcome
    return ev(args[-1]) if len(args) % 2 == 0 else ErrorValue.NA


@function(
    "选择",
    "CHOOSE",
    number("序号"),
    anything("选项", many=True),
    result=ValueType.ANY,
    infer=_infer_rest,
    style=Style.LAZY,
    topic=_TOPIC,
    unknown=_BRANCH_UNKNOWN,
    reading="取{*}中第{0}个",
    description=gettext_noop("按序号取一个选项，第一个是 1；序号超出范围时得出 #VALUE!。"),
    examples=[('选择(2,"周一","周二","周三")', "周二"), ("CHOOSE(4,1,2)", ErrorValue.VALUE)],
)
def choose_numbered(ev: _Evaluate, args: Sequence[Any]) -> Value:
    """CHOOSE."""
    place = to_number(ev(args[0]))
    if not isinstance(place, float):
        return place
    if not 1.0 <= place < len(args):
        return ErrorValue.VALUE
    return ev(args[int(place)])


@function(
    "如果错误",
    "IFERROR",
    anything("值"),
    anything("出错时"),
    result=ValueType.ANY,
    infer=_infer_all,
    style=Style.LAZY,
    topic=_TOPIC,
    unknown=gettext_noop("值未知时结果未知：未知不是错误"),
    reading="{0}，出错时取{1}",
    description=gettext_noop("值算不出来（得出错误值）时改用第二个参数。"),
    examples=[("如果错误(1/0,0)", 0.0), ("IFERROR(6/2,0)", 3.0)],
)
def replace_error(ev: _Evaluate, args: Sequence[Any]) -> Value:
    """IFERROR."""
    value = ev(args[0])
    return ev(args[1]) if type(value) is ErrorValue else value


@function(
    "如果无值",
    "IFNA",
    anything("值"),
    anything("无值时"),
    result=ValueType.ANY,
    infer=_infer_all,
    style=Style.LAZY,
    topic=_TOPIC,
    unknown=gettext_noop("值未知时结果未知：未知不是错误"),
    reading="{0}，得出 #N/A 时取{1}",
    description=gettext_noop("值是 #N/A 时改用第二个参数；其他错误值照样得出。"),
    examples=[("如果无值(NA(),5)", 5.0), ("IFNA(1/0,5)", ErrorValue.DIV0)],
)
def replace_na(ev: _Evaluate, args: Sequence[Any]) -> Value:
    """IFNA."""
    value = ev(args[0])
    return ev(args[1]) if value is ErrorValue.NA else value


def _conditions(values: Sequence[Value], references: Sequence[bool]) -> list[Value]:
    """Return what takes part: logicals, errors and unknown; numbers by not being 0.

    As in Excel a field that is blank or holds text takes no part.
    """
    found: list[Value] = []
    for value, is_reference in zip(values, references, strict=True):
        if value is True or value is False:
            found.append(value)
        elif type(value) is tuple:
            for item in value:
                if item is not None and type(item) is not str:
                    found.append(to_logical(item))
        elif is_reference and (value is None or type(value) is str):
            continue
        else:
            found.append(to_logical(value))
    return found


@function(
    "且",
    "AND",
    logical("条件", many=True),
    result=ValueType.LOGICAL,
    style=Style.AGGREGATE,
    topic=_TOPIC,
    aliases=("并且",),
    blank=_REFERENCE_BLANK,
    unknown=_DECIDING_UNKNOWN,
    description=gettext_noop("所有条件都成立时成立。"),
    examples=[
        ("且(1>0,2>1)", True),
        ("AND(FALSE,库存>0)", False, {"库存": UNKNOWN}),
        ("AND(1/0,TRUE)", ErrorValue.DIV0),
    ],
)
def all_true(values: Sequence[Value], references: Sequence[bool]) -> Value:
    """AND."""
    is_false = is_unknown = False
    for value in values:  # as AND_ORDER has it, without a list, where there is nothing else
        if value is False:
            is_false = True
        elif value is UNKNOWN:
            is_unknown = True
        elif value is not True:
            found = _conditions(values, references)
            return decide(AND_ORDER, found) if found else ErrorValue.VALUE
    return False if is_false else UNKNOWN if is_unknown else True


@function(
    "或",
    "OR",
    logical("条件", many=True),
    result=ValueType.LOGICAL,
    style=Style.AGGREGATE,
    topic=_TOPIC,
    aliases=("或者",),
    blank=_REFERENCE_BLANK,
    unknown=_DECIDING_UNKNOWN,
    description=gettext_noop("任何一个条件成立时成立。"),
    examples=[
        ('或(渠道="天猫",渠道="京东")', True, {"渠道": "京东"}),
        ("OR(TRUE,库存>0)", True, {"库存": UNKNOWN}),
        ("OR(TRUE,1/0)", ErrorValue.DIV0),
    ],
)
def any_true(values: Sequence[Value], references: Sequence[bool]) -> Value:
    """OR."""
    is_true = is_unknown = False
    for value in values:  # as OR_ORDER has it
        if value is True:
            is_true = True
        elif value is UNKNOWN:
            is_unknown = True
        elif value is not False:
            found = _conditions(values, references)
            return decide(OR_ORDER, found) if found else ErrorValue.VALUE
    return True if is_true else UNKNOWN if is_unknown else False


@function(
    "异或",
    "XOR",
    logical("条件", many=True),
    result=ValueType.LOGICAL,
    style=Style.AGGREGATE,
    topic=_TOPIC,
    blank=_REFERENCE_BLANK,
    reading="{*}中成立的个数是奇数",
    description=gettext_noop("成立的条件有奇数个时成立。"),
    examples=[("异或(TRUE,FALSE)", True), ("XOR(TRUE,TRUE)", False)],
)
def odd_number_true(values: Sequence[Value], references: Sequence[bool]) -> Value:
    """XOR."""
    found = _conditions(values, references)
    if any(type(value) in STOPPING for value in found):
        return strongest(found)
    return found.count(True) % 2 == 1 if found else ErrorValue.VALUE


@function(
    "非",
    "NOT",
    logical("条件"),
    result=ValueType.LOGICAL,
    topic=_TOPIC,
    description=gettext_noop("条件不成立时成立。"),
    examples=[("非(1>2)", True), ("NOT(NA())", ErrorValue.NA)],
)
def negate_condition(condition: bool) -> bool:
    """NOT."""
    return not condition


@function(
    "是未知",
    "ISUNKNOWN",
    anything("值"),
    result=ValueType.LOGICAL,
    sees=Sees.EVERYTHING,
    topic=_TOPIC,
    unknown=gettext_noop("值未知时得出“是”"),
    reading="{0}还不知道",
    description=gettext_noop("值还没有从来源系统得到时成立；已知为空不算未知。"),
    examples=[
        ("是未知(WMS接收时间)", True, {"WMS接收时间": UNKNOWN}),
        ("是未知(WMS接收时间)", False, {"WMS接收时间": None}),
    ],
)
def is_unknown(value: Value) -> bool:
    """ISUNKNOWN."""
    return type(value) is Unknown


@function(
    "属于",
    "ISIN",
    anything("值"),
    anything("选项", many=True),
    result=ValueType.LOGICAL,
    sees=Sees.EVERYTHING,
    topic=_TOPIC,
    unknown=gettext_noop("等于一个已知的选项就成立；否则有未知时结果未知"),
    reading="{0}是{*}之一",
    description=gettext_noop("值等于任何一个选项时成立，比较文本不分大小写。"),
    examples=[
        ('属于(渠道,"天猫","京东")', True, {"渠道": "天猫"}),
        ('ISIN("a","b","A")', True),
    ],
)
def is_one_of(value: Value, *options: Value) -> Value:
    """ISIN."""
    return decide(OR_ORDER, [equal(value, option) for option in options])
