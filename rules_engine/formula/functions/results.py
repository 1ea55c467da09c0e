"""Results and logical constants; they may be written without brackets."""

from __future__ import annotations

from config.errors import gettext_noop
from rules_engine.formula.values import Result, ValueType

from .registry import function

_TOPIC = gettext_noop("结果")
_NONE = gettext_noop("没有参数")


@function(
    "通过",
    "PASS",
    result=ValueType.RESULT,
    topic=_TOPIC,
    is_bare=True,
    blank=_NONE,
    unknown=_NONE,
    description=gettext_noop("检查通过，得满分。"),
    examples=[
        ("通过()", Result.PASS),
        ("如果(实付金额>0,通过,不通过)", Result.PASS, {"实付金额": 9.0}),
    ],
)
def passed() -> Result:
    """The order passes."""
    return Result.PASS


@function(
    "部分",
    "PARTIAL",
    result=ValueType.RESULT,
    topic=_TOPIC,
    is_bare=True,
    blank=_NONE,
    unknown=_NONE,
    description=gettext_noop("检查部分通过。"),
    examples=[("部分()", Result.PARTIAL)],
)
def partial() -> Result:
    """The order passes in part."""
    return Result.PARTIAL


@function(
    "不通过",
    "FAIL",
    result=ValueType.RESULT,
    topic=_TOPIC,
    is_bare=True,
    blank=_NONE,
    unknown=_NONE,
    description=gettext_noop("检查不通过，得 0 分。"),
    examples=[("不通过()", Result.FAIL)],
)
def failed() -> Result:
    """The order fails."""
    return Result.FAIL


@function(
    "数据不足",
    "INSUFFICIENT",
    result=ValueType.RESULT,
    topic=_TOPIC,
    is_bare=True,
    blank=_NONE,
    unknown=_NONE,
    description=gettext_noop("数据不足，无法判断。"),
    examples=[
        ("数据不足()", Result.INSUFFICIENT),
        ("如果(是空(付款时间),数据不足(),TRUE)", Result.INSUFFICIENT, {"付款时间": None}),
    ],
)
def insufficient() -> Result:
    """The facts do not suffice."""
    return Result.INSUFFICIENT


@function(
    "不适用",
    "NOTAPPLICABLE",
    result=ValueType.RESULT,
    topic=_TOPIC,
    is_bare=True,
    blank=_NONE,
    unknown=_NONE,
    description=gettext_noop("这项检查不适用于这张订单，不扣分。"),
    examples=[
        ("不适用()", Result.NOT_APPLICABLE),
        ("如果(是否预售,TRUE,不适用())", Result.NOT_APPLICABLE, {"是否预售": False}),
    ],
)
def not_applicable() -> Result:
    """The dimension does not apply."""
    return Result.NOT_APPLICABLE


@function(
    "真",
    "TRUE",
    result=ValueType.LOGICAL,
    topic=_TOPIC,
    is_bare=True,
    blank=_NONE,
    unknown=_NONE,
    description=gettext_noop("逻辑值“是”。"),
    examples=[("真", True), ("TRUE()", True)],
)
def true() -> bool:
    """TRUE."""
    return True


@function(
    "假",
    "FALSE",
    result=ValueType.LOGICAL,
    topic=_TOPIC,
    is_bare=True,
    blank=_NONE,
    unknown=_NONE,
    description=gettext_noop("逻辑值“否”。"),
    examples=[("假", False), ("FALSE()", False)],
)
def false() -> bool:
    """FALSE."""
    return False
