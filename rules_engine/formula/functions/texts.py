"""Text: lengths, parts, searching, patterns. Characters are counted, not UTF-16 units."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Final

import re2

from config.errors import gettext_noop
from rules_engine.formula.limits import (
    MAX_PATTERN,
    MAX_PATTERNS,
    MAX_TEXT,
    PATTERN_MEMORY,
    SHORT_TEXT,
    spend_text,
)
from rules_engine.formula.number_formats import format_value
from rules_engine.formula.operators import limit_text, to_number, to_text
from rules_engine.formula.values import STOPPING, ErrorValue, Value, ValueType, strongest
from rules_engine.formula.wildcards import MAX_WILDCARDS, has_wildcards, search_wildcards

from .registry import Cost, anything, function, logical, number, rows, text

_TOPIC: Final = gettext_noop("文本")
_CONTROLS: Final = re.compile("[\x00-\x1f]+")


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
    cost=Cost.TEXT,
    reading="去掉多余空格的{0}",
    description=gettext_noop("去掉两端的空格，中间连续的空格只留一个。"),
    examples=[('去空格("  a  b ")', "a b")],
)
def trim_spaces(value: str) -> str:
    """TRIM."""
    return " ".join(part for part in value.split(" ") if part)


@function(
    "大写",
    "UPPER",
    text("文本"),
    result=ValueType.TEXT,
    topic=_TOPIC,
    cost=Cost.TEXT,
    reading="大写的{0}",
    description=gettext_noop("英文字母改成大写。"),
    examples=[('大写("sf12")', "SF12")],
)
def raise_case(value: str) -> Value:
    """UPPER."""
    return limit_text(value.upper())


@function(
    "小写",
    "LOWER",
    text("文本"),
    result=ValueType.TEXT,
    topic=_TOPIC,
    cost=Cost.TEXT,
    reading="小写的{0}",
    description=gettext_noop("英文字母改成小写。"),
    examples=[('小写("SF12")', "sf12")],
)
def lower_case(value: str) -> Value:
    """LOWER."""
    return limit_text(value.lower())


@function(
    "首字母大写",
    "PROPER",
    text("文本"),
    result=ValueType.TEXT,
    topic=_TOPIC,
    cost=Cost.TEXT,
    reading="首字母大写的{0}",
    description=gettext_noop("每个英文单词的首字母大写，其余小写。"),
    examples=[('首字母大写("hello world")', "Hello World"), ('PROPER("a1b2")', "A1B2")],
)
def capitalise_words(value: str) -> Value:
    """PROPER."""
    spend_text(3 * len(value) if len(value) > SHORT_TEXT else 0)  # it looks at each by itself
    pieces: list[str] = []
    is_inside = False
    for character in value:
        pieces.append(character.lower() if is_inside else character.upper())
        is_inside = character.isalpha()
    return limit_text("".join(pieces))


@function(
    "清除控制符",
    "CLEAN",
    text("文本"),
    result=ValueType.TEXT,
    topic=_TOPIC,
    cost=Cost.TEXT,
    reading="去掉不可见字符的{0}",
    description=gettext_noop("去掉换行、制表符等控制字符。"),
    examples=[("清除控制符(备注)", "尽快发货", {"备注": "尽快\n发货"})],
)
def remove_controls(value: str) -> str:
    """CLEAN."""
    return _CONTROLS.sub("", value)


@function(
    "连接",
    "CONCATENATE",
    text("文本", many=True),
    result=ValueType.TEXT,
    topic=_TOPIC,
    cost=Cost.TEXT,
    aliases=("CONCAT",),
    reading="{*}连在一起",
    description=gettext_noop("把几个文本连在一起，与 & 相同。"),
    examples=[('连接("浙江省","杭州市")', "浙江省杭州市"), ('CONCATENATE(5,"件")', "5件")],
)
def join_texts(*values: str) -> Value:
    """CONCATENATE."""
    return limit_text("".join(values)) if sum(map(len, values)) <= MAX_TEXT else ErrorValue.VALUE


@function(
    "分隔连接",
    "TEXTJOIN",
    text("分隔符"),
    logical("忽略空值"),
    rows("文本", many=True),
    result=ValueType.TEXT,
    topic=_TOPIC,
    cost=Cost.ROWS,
    reading="{*}用分隔符连在一起",
    description=gettext_noop("用分隔符把文本或列表连在一起，可以忽略空的。"),
    examples=[
        ('分隔连接("-",TRUE,"a","","b")', "a-b"),
        ('TEXTJOIN("-",FALSE,"","y")', "-y"),
    ],
)
def join_separated(separator: str, skips_empty: bool, *lists: tuple[Value, ...]) -> Value:
    """TEXTJOIN."""
    written = [to_text(item) for items in lists for item in items]
    if any(type(item) in STOPPING for item in written):
        return strongest(list(written))
    kept = [item for item in written if isinstance(item, str) and (item or not skips_empty)]
    length = sum(map(len, kept)) + len(separator) * max(0, len(kept) - 1)
    return separator.join(kept) if length <= MAX_TEXT else ErrorValue.VALUE


@function(
    "完全相同",
    "EXACT",
    text("文本1"),
    text("文本2"),
    result=ValueType.LOGICAL,
    topic=_TOPIC,
    reading="{0}与{1}完全相同",
    description=gettext_noop("两个文本完全相同时成立，区分大小写。"),
    examples=[('完全相同("a","a")', True), ('EXACT("a","A")', False)],
)
def is_exactly(first: str, second: str) -> bool:
    """EXACT."""
    return first == second


@function(
    "重复",
    "REPT",
    text("文本"),
    number("次数"),
    result=ValueType.TEXT,
    topic=_TOPIC,
    cost=Cost.TEXT,
    reading="{0}重复{1}次",
    description=gettext_noop("把文本重复若干次；超过 32767 个字符得出 #VALUE!。"),
    examples=[('重复("★",3)', "★★★"), ('REPT("a",1E9)', ErrorValue.VALUE)],
)
def repeat_text(value: str, times: float) -> Value:
    """REPT."""
    if times < 0 or times * len(value) > MAX_TEXT or times > 1e9:
        return ErrorValue.VALUE
    spend_text(len(value) * int(times))
    return value * int(times)


@function(
    "数值",
    "VALUE",
    anything("文本"),
    result=ValueType.NUMBER,
    topic=_TOPIC,
    cost=Cost.TEXT,
    reading="{0}的数值",
    description=gettext_noop("把写成文本的数字、百分数、金额或日期变成数字。"),
    examples=[
        ('数值("10%")', 0.1),
        ('VALUE("¥1,234.50")', 1234.5),
        ('VALUE("x")', ErrorValue.VALUE),
    ],
)
def read_number(value: Value) -> Value:
    """VALUE."""
    return ErrorValue.VALUE if isinstance(value, bool) else to_number(value)


@function(
    "格式",
    "TEXT",
    anything("值"),
    text("格式"),
    result=ValueType.TEXT,
    topic=_TOPIC,
    cost=Cost.TEXT,
    aliases=("格式化",),
    reading="{0}按格式{1}",
    description=gettext_noop("按格式写成文本，例如 0.00、#,##0、0%、yyyy-mm-dd。"),
    examples=[
        ('格式(2.5,"0.00")', "2.50"),
        ('TEXT(1234567.891,"#,##0.00")', "1,234,567.89"),
        ('TEXT(0.256,"0%")', "26%"),
        ('TEXT(DATE(2026,11,11),"mmdd")', "1111"),
        ('TEXT("abc","0")', "abc"),
    ],
)
def format_as(value: Value, pattern: str) -> Value:
    """TEXT."""
    if len(pattern) > SHORT_TEXT:
        spend_text(20 * len(pattern))  # each character of a format is work by itself
    return format_value(value, pattern)


@function(
    "查找",
    "FIND",
    text("片段"),
    text("文本"),
    number("起点", optional=True),
    result=ValueType.NUMBER,
    topic=_TOPIC,
    cost=Cost.TEXT,
    reading="{0}在{1}里的位置",
    description=gettext_noop("片段在文本里第几个字，区分大小写；没有时得出 #VALUE!。"),
    examples=[('查找("市","杭州市")', 3.0), ('FIND("B","abc")', ErrorValue.VALUE)],
)
def find_text(fragment: str, value: str, start: float = 1.0) -> Value:
    """FIND."""
    if not 1 <= start <= len(value) + 1:
        return ErrorValue.VALUE
    place = value.find(fragment, int(start) - 1)
    return float(place + 1) if place >= 0 else ErrorValue.VALUE


@function(
    "搜索",
    "SEARCH",
    text("片段"),
    text("文本"),
    number("起点", optional=True),
    result=ValueType.NUMBER,
    topic=_TOPIC,
    cost=Cost.TEXT,
    reading="{0}在{1}里的位置",
    description=gettext_noop("同查找，但不分大小写，并且可以用通配符 ? 和 *。"),
    examples=[('搜索("B","abc")', 2.0), ('SEARCH("b*d","abcd")', 2.0), ('SEARCH("~*","a*")', 2.0)],
)
def search_text(fragment: str, value: str, start: float = 1.0) -> Value:
    """SEARCH."""
    if not 1 <= start <= len(value) + 1:
        return ErrorValue.VALUE
    wanted, inside = fragment.lower(), value.lower()
    if has_wildcards(wanted):
        if len(wanted) > MAX_WILDCARDS:
            return ErrorValue.VALUE
        place = search_wildcards(wanted, inside, int(start) - 1)
    else:
        place = inside.find(wanted, int(start) - 1)
    return float(place + 1) if place >= 0 else ErrorValue.VALUE


@function(
    "替换文本",
    "SUBSTITUTE",
    text("文本"),
    text("旧片段"),
    text("新片段"),
    number("第几个", optional=True),
    result=ValueType.TEXT,
    topic=_TOPIC,
    cost=Cost.TEXT,
    reading="把{0}里的{1}换成{2}",
    description=gettext_noop("把旧片段换成新片段，可以只换第几个；区分大小写。"),
    examples=[('替换文本("a-b-c","-","")', "abc"), ('SUBSTITUTE("aaa","a","b",2)', "aba")],
)
def substitute_text(value: str, old: str, new: str, which: float | None = None) -> Value:
    """SUBSTITUTE."""
    if which is not None and which < 1:
        return ErrorValue.VALUE
    if not old:
        return value
    if which is None:
        length = len(value) + value.count(old) * (len(new) - len(old))
        return value.replace(old, new) if length <= MAX_TEXT else ErrorValue.VALUE
    place = -len(old)
    for _ in range(int(min(which, len(value) + 1))):
        place = value.find(old, place + len(old))
        if place < 0:
            return value
    return limit_text(value[:place] + new + value[place + len(old) :])


@function(
    "替换位置",
    "REPLACE",
    text("文本"),
    number("起点"),
    number("字数"),
    text("新片段"),
    result=ValueType.TEXT,
    topic=_TOPIC,
    cost=Cost.TEXT,
    reading="把{0}第{1}个字起的{2}个字换成{3}",
    description=gettext_noop("从第几个字开始，把几个字换成新片段。"),
    examples=[('替换位置("13800138000",4,4,"****")', "138****8000")],
)
def replace_part(value: str, start: float, count: float, new: str) -> Value:
    """REPLACE."""
    if start < 1 or count < 0:
        return ErrorValue.VALUE
    first = int(min(start, 1e6)) - 1
    return limit_text(value[:first] + new + value[first + int(min(count, 1e6)) :])


@function(
    "字符",
    "CHAR",
    number("编码"),
    result=ValueType.TEXT,
    topic=_TOPIC,
    description=gettext_noop("编码 1 到 255 的字符。"),
    examples=[("字符(65)", "A"), ("CHAR(0)", ErrorValue.VALUE)],
)
def make_character(code: float) -> Value:
    """CHAR."""
    if not 1 <= code < 256:
        return ErrorValue.VALUE
    return bytes([int(code)]).decode("cp1252", errors="replace")


@function(
    "编码",
    "CODE",
    text("文本"),
    result=ValueType.NUMBER,
    topic=_TOPIC,
    description=gettext_noop("第一个字符的编码；汉字是它的国标（GBK）编码。"),
    examples=[('编码("A")', 65.0)],
)
def take_code(value: str) -> Value:
    """CODE."""
    if not value:
        return ErrorValue.VALUE
    return float(int.from_bytes(value[0].encode("gbk", errors="replace"), "big"))


@function(
    "统一码字符",
    "UNICHAR",
    number("编码"),
    result=ValueType.TEXT,
    topic=_TOPIC,
    description=gettext_noop("统一码（Unicode）编码的字符。"),
    examples=[("统一码字符(26477)", "杭"), ("UNICHAR(0)", ErrorValue.VALUE)],
)
def make_unicode_character(code: float) -> Value:
    """UNICHAR."""
    if not 1 <= code < 0x110000 or 0xD800 <= code < 0xE000:
        return ErrorValue.VALUE
    return chr(int(code))


@function(
    "统一码",
    "UNICODE",
    text("文本"),
    result=ValueType.NUMBER,
    topic=_TOPIC,
    description=gettext_noop("第一个字符的统一码（Unicode）编码。"),
    examples=[('统一码("杭州")', 26477.0), ('UNICODE("")', ErrorValue.VALUE)],
)
def take_unicode(value: str) -> Value:
    """UNICODE."""
    return float(ord(value[0])) if value else ErrorValue.VALUE


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
    cost=Cost.TEXT,
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
    cost=Cost.TEXT,
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


@lru_cache(maxsize=MAX_PATTERNS)
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
    except UnicodeEncodeError:  # half a surrogate pair is no character a pattern could mean
        return False
    except BadPattern:
        return ErrorValue.VALUE
