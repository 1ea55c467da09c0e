"""Text: lengths, parts, searching, patterns. Characters are counted, not UTF-16 units."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import re2

from config.errors import gettext_noop
from rules_engine.formula.limits import MAX_PATTERN, PATTERN_MEMORY
from rules_engine.formula.values import ErrorValue, Value, ValueType

from .registry import Cost, function, number, text

_TOPIC: Final = gettext_noop("文本")


@function(
    "长度",
    "LEN",
    text("文本"),
    result=ValueType.NUMBER,
    topic=_TOPIC,
    reading="{0}的字数",
    description=gettext_noop("文本的字符数，汉字和表情符号都算 1 个。"),
    examples=[('长度("自提")', 2.0), ("LEN(12.5)", 4.0)],
)
def count_characters(value: str) -> float:
    """LEN."""
    return float(len(value))


@function(
    "左取",
    "LEFT",
    text("文本"),
    number("字数", optional=True),
    result=ValueType.TEXT,
    topic=_TOPIC,
    reading="{0}开头的{1}个字",
    description=gettext_noop("从左边取几个字，不写字数时取 1 个。"),
    examples=[('左取("浙江省",2)', "浙江"), ('LEFT("abc",-1)', ErrorValue.VALUE)],
)
def take_left(value: str, count: float = 1.0) -> Value:
    """LEFT."""
    return value[: int(min(count, 1e6))] if count >= 0 else ErrorValue.VALUE


@function(
    "右取",
    "RIGHT",
    text("文本"),
    number("字数", optional=True),
    result=ValueType.TEXT,
    topic=_TOPIC,
    reading="{0}末尾的{1}个字",
    description=gettext_noop("从右边取几个字，不写字数时取 1 个。"),
    examples=[('右取("13800138000",4)', "8000"), ('RIGHT("abc",0)', "")],
)
def take_right(value: str, count: float = 1.0) -> Value:
    """RIGHT."""
    if count < 0:
        return ErrorValue.VALUE
    return value[max(0, len(value) - int(min(count, 1e6))) :]


@function(
    "中取",
    "MID",
    text("文本"),
    number("起点"),
    number("字数"),
    result=ValueType.TEXT,
    topic=_TOPIC,
    reading="{0}从第{1}个字起的{2}个字",
    description=gettext_noop("从第几个字开始取几个字，第一个字是 1。"),
    examples=[('中取("浙江省杭州市",4,2)', "杭州"), ('MID("abc",0,1)', ErrorValue.VALUE)],
)
def take_middle(value: str, start: float, count: float) -> Value:
    """MID."""
    if start < 1 or count < 0:
        return ErrorValue.VALUE
    first = int(min(start, 1e6)) - 1
    return value[first : first + int(min(count, 1e6))]


@function(
    "去空格",
    "TRIM",
    text("文本"),
    result=ValueType.TEXT,
    topic=_TOPIC,
    reading="去掉多余空格的{0}",
    description=gettext_noop("去掉两端的空格，中间连续的空格只留一个。"),
    examples=[('去空格("  a  b ")', "a b")],
)
def trim_spaces(value: str) -> str:
    """TRIM."""
    return " ".join(part for part in value.split(" ") if part)


@function(
    "包含",
    "CONTAINS",
    text("文本"),
    text("片段", many=True),
    result=ValueType.LOGICAL,
    topic=_TOPIC,
    cost=Cost.TEXT,
    blank=gettext_noop("空文本不包含任何片段；空片段不参加比较"),
    reading="{0}包含{*或}",
    description=gettext_noop("文本里有任何一个片段时成立，不分大小写。"),
    examples=[
        ('包含(地址,"自提","驿站")', True, {"地址": "菜鸟驿站 3 号"}),
        ('CONTAINS("abc","B")', True),
        ('CONTAINS("abc","")', False),
    ],
)
def contains_any(value: str, *fragments: str) -> bool:
    """CONTAINS."""
    lower = value.lower()
    return any(fragment and fragment.lower() in lower for fragment in fragments)


@function(
    "开头是",
    "STARTSWITH",
    text("文本"),
    text("片段", many=True),
    result=ValueType.LOGICAL,
    topic=_TOPIC,
    blank=gettext_noop("空片段不参加比较"),
    reading="{0}的开头是{*或}",
    description=gettext_noop("文本以任何一个片段开头时成立，不分大小写。"),
    examples=[('开头是("SF123","sf","YT")', True), ('STARTSWITH("abc","b")', False)],
)
def starts_with_any(value: str, *fragments: str) -> bool:
    """STARTSWITH."""
    lower = value.lower()
    return any(fragment and lower.startswith(fragment.lower()) for fragment in fragments)


@function(
    "结尾是",
    "ENDSWITH",
    text("文本"),
    text("片段", many=True),
    result=ValueType.LOGICAL,
    topic=_TOPIC,
    blank=gettext_noop("空片段不参加比较"),
    reading="{0}的结尾是{*或}",
    description=gettext_noop("文本以任何一个片段结尾时成立，不分大小写。"),
    examples=[('结尾是("杭州市","市","县")', True), ('ENDSWITH("abc","b")', False)],
)
def ends_with_any(value: str, *fragments: str) -> bool:
    """ENDSWITH."""
    lower = value.lower()
    return any(fragment and lower.endswith(fragment.lower()) for fragment in fragments)


def _options() -> Any:
    options = re2.Options()
    options.max_mem = PATTERN_MEMORY
    options.log_errors = False
    options.never_capture = True
    return options


_OPTIONS: Final = _options()


class BadPattern(ValueError):
    """A pattern RE2 does not take; the text says why, in Chinese, `part` where."""

    def __init__(self, reason: str, part: str) -> None:
        super().__init__(reason)
        self.part = part


_REASONS: Final = {
    "missing )": gettext_noop("缺少右括号"),
    "unexpected )": gettext_noop("多了一个右括号"),
    "missing ]": gettext_noop("缺少右方括号"),
    "invalid perl operator": gettext_noop("不支持前后查看等写法"),
    "invalid escape sequence": gettext_noop("不支持这个反斜杠写法（包括反向引用）"),
    "invalid repetition size": gettext_noop("重复次数太大"),
    "invalid character class range": gettext_noop("字符范围的起止颠倒"),
    "invalid character class": gettext_noop("字符集合写得不对"),
    "no argument for repetition operator": gettext_noop("重复符号前面没有内容"),
    "bad repetition operator": gettext_noop("重复符号不能连写"),
    "trailing \\": gettext_noop("末尾多了一个反斜杠"),
    "invalid named capture group": gettext_noop("分组名称写得不对"),
    "pattern too large": gettext_noop("模式太复杂"),
}


@lru_cache(maxsize=512)
def compile_pattern(pattern: str) -> Any:
    """Compile a pattern with RE2 in pinned memory.

    Raises BadPattern.
    """
    if len(pattern) > MAX_PATTERN:
        raise BadPattern(gettext_noop("模式太长"), "")
    try:
        return re2.compile(pattern, options=_OPTIONS)
    except re2.error as error:
        said = error.args[0] if error.args else b""
        said = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
        head, _, part = said.partition(": ")
        reason = next((text for key, text in _REASONS.items() if head.startswith(key)), said)
        raise BadPattern(reason, part) from error


@function(
    "匹配",
    "MATCHES",
    text("文本"),
    text("模式", literal=True),
    result=ValueType.LOGICAL,
    topic=_TOPIC,
    cost=Cost.TEXT,
    reading="{0}整个符合模式{1}",
    description=gettext_noop("整个文本符合正则表达式时成立，区分大小写；时间与文本长度成正比。"),
    examples=[
        ('匹配("13800138000","1[3-9][0-9]{9}")', True),
        ('MATCHES("SF12","sf[0-9]+")', False),
    ],
)
def matches_pattern(value: str, pattern: str) -> Value:
    """MATCHES."""
    try:
        return compile_pattern(pattern).fullmatch(value) is not None
    except BadPattern:
        return ErrorValue.VALUE
