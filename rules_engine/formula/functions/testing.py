"""Questions about a value: is it blank, a number, a text, an error."""

from __future__ import annotations

from typing import Final

from config.errors import gettext_noop
from rules_engine.formula.operators import to_number
from rules_engine.formula.values import UNKNOWN, ErrorValue, Value, ValueType

from .registry import Sees, anything, function, number

_TOPIC: Final = gettext_noop("检验")
_BLANK: Final = gettext_noop("空值既不是数字也不是文本")


@function(
    "是空",
    "ISBLANK",
    anything("值"),
    result=ValueType.LOGICAL,
    sees=Sees.ERRORS,
    topic=_TOPIC,
    blank=gettext_noop('空值得出“是”；空文本 "" 不是空值'),
    reading="{0}为空",
    description=gettext_noop("值已知为空时成立；没有任何一行的明细也算空。"),
    examples=[
        ("是空(付款时间)", True, {"付款时间": None}),
        ("ISBLANK(付款时间)", UNKNOWN, {"付款时间": UNKNOWN}),
        ('ISBLANK("")', False),
    ],
)
def is_blank(value: Value) -> bool:
    """ISBLANK."""
    return value is None or value == ()


@function(
    "是数字",
    "ISNUMBER",
    anything("值"),
    result=ValueType.LOGICAL,
    sees=Sees.ERRORS,
    topic=_TOPIC,
    blank=_BLANK,
    reading="{0}是数字",
    description=gettext_noop("值是数字、金额或时间时成立；看起来像数字的文本不算。"),
    examples=[("是数字(5)", True), ('ISNUMBER(FIND("*",电话))', False, {"电话": "138"})],
)
def is_number(value: Value) -> bool:
    """ISNUMBER."""
    return type(value) is float


@function(
    "是文本",
    "ISTEXT",
    anything("值"),
    result=ValueType.LOGICAL,
    sees=Sees.ERRORS,
    topic=_TOPIC,
    blank=_BLANK,
    reading="{0}是文本",
    description=gettext_noop("值是文本时成立。"),
    examples=[('是文本("5")', True), ("ISTEXT(5)", False)],
)
def is_text(value: Value) -> bool:
    """ISTEXT."""
    return isinstance(value, str)


@function(
    "非文本",
    "ISNONTEXT",
    anything("值"),
    result=ValueType.LOGICAL,
    sees=Sees.ERRORS,
    topic=_TOPIC,
    blank=gettext_noop("空值不是文本，得出“是”"),
    reading="{0}不是文本",
    description=gettext_noop("值不是文本时成立。"),
    examples=[("非文本(5)", True), ('ISNONTEXT("x")', False)],
)
def is_no_text(value: Value) -> bool:
    """ISNONTEXT."""
    return not isinstance(value, str)


@function(
    "是逻辑值",
    "ISLOGICAL",
    anything("值"),
    result=ValueType.LOGICAL,
    sees=Sees.ERRORS,
    topic=_TOPIC,
    blank=_BLANK,
    reading="{0}是“是/否”",
    description=gettext_noop("值是“是”或“否”时成立。"),
    examples=[("是逻辑值(1>0)", True), ("ISLOGICAL(1)", False)],
)
def is_logical(value: Value) -> bool:
    """ISLOGICAL."""
    return isinstance(value, bool)


@function(
    "是错误",
    "ISERROR",
    anything("值"),
    result=ValueType.LOGICAL,
    sees=Sees.ERRORS,
    topic=_TOPIC,
    reading="{0}算不出来",
    description=gettext_noop("值是错误值时成立。"),
    examples=[("是错误(1/0)", True), ("ISERROR(1)", False)],
)
def is_error(value: Value) -> bool:
    """ISERROR."""
    return isinstance(value, ErrorValue)


@function(
    "是非NA错误",
    "ISERR",
    anything("值"),
    result=ValueType.LOGICAL,
    sees=Sees.ERRORS,
    topic=_TOPIC,
    reading="{0}算不出来",
    description=gettext_noop("值是 #N/A 以外的错误值时成立。"),
    examples=[("ISERR(1/0)", True), ("ISERR(NA())", False)],
)
def is_other_error(value: Value) -> bool:
    """ISERR."""
    return isinstance(value, ErrorValue) and value is not ErrorValue.NA


@function(
    "是无值",
    "ISNA",
    anything("值"),
    result=ValueType.LOGICAL,
    sees=Sees.ERRORS,
    topic=_TOPIC,
    reading="{0}没有可用的值",
    description=gettext_noop("值是 #N/A 时成立。"),
    examples=[("ISNA(NA())", True), ("ISNA(1/0)", False)],
)
def is_na(value: Value) -> bool:
    """ISNA."""
    return value is ErrorValue.NA


@function(
    "是偶数",
    "ISEVEN",
    number("数值"),
    result=ValueType.LOGICAL,
    topic=_TOPIC,
    reading="{0}是偶数",
    description=gettext_noop("数值去掉小数后是偶数时成立。"),
    examples=[("是偶数(2)", True), ("ISEVEN(2.9)", True), ("ISEVEN(-1)", False)],
)
def is_even(value: float) -> bool:
    """ISEVEN."""
    return int(value) % 2 == 0


@function(
    "是奇数",
    "ISODD",
    number("数值"),
    result=ValueType.LOGICAL,
    topic=_TOPIC,
    reading="{0}是奇数",
    description=gettext_noop("数值去掉小数后是奇数时成立。"),
    examples=[("是奇数(3)", True), ("ISODD(-1)", True)],
)
def is_odd(value: float) -> bool:
    """ISODD."""
    return int(value) % 2 == 1


@function(
    "无值",
    "NA",
    result=ValueType.ANY,
    topic=_TOPIC,
    blank=gettext_noop("没有参数"),
    unknown=gettext_noop("没有参数"),
    description=gettext_noop("得出错误值 #N/A。"),
    examples=[("NA()", ErrorValue.NA)],
)
def make_na() -> ErrorValue:
    """NA."""
    return ErrorValue.NA


@function(
    "取数值",
    "N",
    anything("值"),
    result=ValueType.NUMBER,
    topic=_TOPIC,
    reading="{0}的数值",
    description=gettext_noop("数字照样得出，“是”得出 1，其他值得出 0。"),
    examples=[("取数值(5)", 5.0), ('N("x")', 0.0), ("N(TRUE)", 1.0)],
)
def take_number(value: Value) -> Value:
    """N."""
    return to_number(value) if isinstance(value, float | bool) else 0.0


@function(
    "取文本",
    "T",
    anything("值"),
    result=ValueType.TEXT,
    topic=_TOPIC,
    reading="{0}的文本",
    description=gettext_noop("文本照样得出，其他值得出空文本。"),
    examples=[('取文本("x")', "x"), ("T(5)", "")],
)
def take_text(value: Value) -> str:
    """T."""
    return value if isinstance(value, str) else ""
