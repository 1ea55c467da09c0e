"""Reading a formula back: canonical text, a Chinese sentence, a trace of values."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from typing import Literal as OneOf

from config.errors import gettext_noop

from .errors import FormulaErrors
from .functions import is_reserved_name
from .names import Field, Names
from .operators import COMPARISONS, number_to_text
from .parse import LEVELS
from .tokens import is_bare_name
from .tree import Chain, ColumnUse, FieldUse, Invoke, Literal, Node, Percent, Sign
from .values import Result, Value

if TYPE_CHECKING:
    from .check import Checked

Language = OneOf["zh", "en"]


@dataclass(frozen=True, slots=True)
class TracePart:
    """One part of a formula with its value on one order; `text` is as typed.

    Parts come each before its own parts; `depth` is the distance from the whole formula.
    """

    start: int
    end: int
    text: str
    value: Value
    is_evaluated: bool
    depth: int


# --- canonical text -----------------------------------------------------------------------------


def canonical_text(checked: Checked, *, language: Language = "zh") -> str:
    """Write the formula in one standard way: half-width marks, fewest brackets, today's labels.

    Reading the text again gives a formula with the same meaning. Raises FormulaErrors when the
    formula does not hold together.
    """
    return _Writer(language, checked.names).write(checked.require_tree())


class _Writer:
    def __init__(self, language: Language, names: Names) -> None:
        self.language = language
        self.names = names
        self.scopes: list[Field] = []  # the ROWS fields whose columns are at hand

    def write(self, node: Node, level: int = 0) -> str:
        """level: the level of the operator around; an operator that binds no tighter gets ()."""
        if isinstance(node, Literal):
            return self.write_literal(node)
        if isinstance(node, FieldUse):
            return self.write_field(node.field)
        if isinstance(node, ColumnUse):
            return self.write_field(node.column)
        if isinstance(node, Sign):
            return f"{node.sign}{self.write(node.operand, 6)}"
        if isinstance(node, Percent):
            return f"{self.write(node.operand, 7)}%"
        if isinstance(node, Chain):
            return self.write_chain(node, level)
        if isinstance(node, Invoke):
            return self.write_call(node)
        raise FormulaErrors(())

    def write_field(self, field: Field) -> str:
        """Write the name that means this field here."""
        for names in (*(self.names.columns_of(rows) for rows in reversed(self.scopes)), self.names):
            found = names.find(field.label)
            if found is not None:
                return name_of(field.id, names) if found.id == field.id else f"{{#{field.id}}}"
        return f"{{#{field.id}}}"

    def write_chain(self, node: Chain, level: int) -> str:
        here = LEVELS[node.rest[0][0]]
        pieces = [self.write(node.first, here)]
        for operator, operand in node.rest:
            pieces.append(operator if here == 5 else f" {operator} ")
            pieces.append(self.write(operand, here))
        inner = "".join(pieces)
        return f"({inner})" if level >= here else inner

    def write_call(self, node: Invoke) -> str:
        first = [self.write(part) for part in node.args[:1]]
        if node.over is not None:
            self.scopes.append(node.over)
        rest = [self.write(part) for part in node.args[1:]]
        if node.over is not None:
            self.scopes.pop()
        name = node.function.zh if self.language == "zh" else node.function.en
        return f"{name}({', '.join(first + rest)})"

    def write_literal(self, node: Literal) -> str:
        value = node.value
        if isinstance(value, bool):
            if self.language == "en":
                return "TRUE" if value else "FALSE"
            return "真" if value else "假"
        if isinstance(value, str):
            return write_text(value)
        if isinstance(value, Result):
            return f"{value.label}()" if self.language == "zh" else f"{_RESULT_EN[value]}()"
        if not isinstance(value, float):
            raise FormulaErrors(())
        return repr(value) if not value.is_integer() or value >= 1e15 else str(int(value))


_RESULT_EN: Final = {
    Result.PASS: "PASS",
    Result.PARTIAL: "PARTIAL",
    Result.FAIL: "FAIL",
    Result.INSUFFICIENT: "INSUFFICIENT",
    Result.NOT_APPLICABLE: "NOTAPPLICABLE",
}


def write_text(value: str) -> str:
    """Write a text literal."""
    doubled = value.replace('"', '""').replace("＂", "＂＂")
    return f'"{doubled}"'


def name_of(field_id: str, names: Names) -> str:
    """Write a field by its label: bare where that reads back, else in [brackets], else by id."""
    field = names.by_id(field_id)
    if field is None:
        return f"{{#{field_id}}}"
    label = field.label
    if is_bare_name(label) and not is_reserved_name(label):
        return label
    if label and label == label.strip() and not re.search(r"[\[\]［］【】\r\n]", label):
        return f"[{label}]"
    return f"{{#{field_id}}}"


# --- the Chinese sentence -----------------------------------------------------------------------

_WORDS: Final = {
    "=": gettext_noop("等于"),
    "<>": gettext_noop("不等于"),
    "<": gettext_noop("小于"),
    ">": gettext_noop("大于"),
    "<=": gettext_noop("不超过"),
    ">=": gettext_noop("不低于"),
    "+": gettext_noop("加"),
    "-": gettext_noop("减"),
    "*": gettext_noop("乘"),
    "/": gettext_noop("除以"),
    "^": gettext_noop("的乘方"),
    "&": gettext_noop("连接"),
}


def sentence(checked: Checked) -> str:
    """Say the formula as a Chinese sentence: 读作：如果…，那么…，否则…。

    Raises FormulaErrors when the formula does not hold together.
    """
    return gettext_noop("读作：") + _say(checked.require_tree()) + "。"


def _say(node: Node, *, is_inner: bool = False) -> str:
    if isinstance(node, Literal):
        return _say_literal(node)
    if isinstance(node, FieldUse):
        return f"「{node.field.label}」"
    if isinstance(node, ColumnUse):
        return f"「{node.column.label}」"
    if isinstance(node, Sign):
        return (
            _say(node.operand, is_inner=True)
            if node.sign == "+"
            else f"负{_say(node.operand, is_inner=True)}"
        )
    if isinstance(node, Percent):
        return f"百分之{_say(node.operand, is_inner=True)}"
    if isinstance(node, Chain):
        return _say_chain(node, is_inner=is_inner)
    if isinstance(node, Invoke):
        return _say_call(node)
    raise FormulaErrors(())


def _say_literal(node: Literal) -> str:
    value = node.value
    if isinstance(value, bool):
        return "是" if value else "否"
    if isinstance(value, str):
        return f"“{value}”" if value else "空文本"
    if isinstance(value, Result):
        return value.label
    return number_to_text(value) if isinstance(value, float) else ""


def _say_chain(node: Chain, *, is_inner: bool) -> str:
    if len(node.rest) == 1 and node.rest[0][0] in COMPARISONS:
        operator, operand = node.rest[0]
        if isinstance(operand, Literal) and operand.value == "" and operator in ("=", "<>"):
            return f"{_say(node.first, is_inner=True)}{'为空' if operator == '=' else '不为空'}"
        return f"{_say(node.first, is_inner=True)}{_WORDS[operator]}{_say(operand, is_inner=True)}"
    pieces = [_say(node.first, is_inner=True)]
    for operator, operand in node.rest:
        pieces.append(f" {_WORDS[operator] if operator in COMPARISONS else operator} ")
        pieces.append(_say(operand, is_inner=True))
    said = "".join(pieces)
    return f"（{said}）" if is_inner else said


def _say_call(node: Invoke) -> str:
    function = node.function
    parts = [_say(part) for part in node.args]
    if function.en == "IF":
        otherwise = parts[2] if len(parts) > 2 else "否"
        return f"如果{parts[0]}，那么{parts[1]}，否则{otherwise}"
    if function.en == "IFS":
        pairs = zip(node.args[::2], parts[::2], parts[1::2], strict=True)
        said = [
            f"其他情况得{outcome}"
            if isinstance(part, Literal) and part.value is True
            else f"{condition}时得{outcome}"
            for part, condition, outcome in pairs
        ]
        return "按顺序看：" + "；".join(said)
    if function.en == "SWITCH":
        said = [
            f"是{option}时得{outcome}"
            for option, outcome in zip(parts[1:-1:2], parts[2::2], strict=False)
        ]
        if len(parts) % 2 == 0:
            said.append(f"其他情况得{parts[-1]}")
        return f"看{parts[0]}：" + "；".join(said)
    if function.en in ("AND", "OR") and len(parts) > 1:
        word = "并且" if function.en == "AND" else "或者"
        said_parts = [
            f"（{said}）"
            if isinstance(part, Invoke)
            and part.function.en in ("AND", "OR", "IF")
            and len(part.args) > 1
            else said
            for part, said in zip(node.args, parts, strict=True)
        ]
        return f"{word}".join(said_parts)
    if function.en == "NOT":
        inner = node.args[0]
        if isinstance(inner, Invoke) and inner.function.en == "ISBLANK":
            return f"{_say(inner.args[0])}不为空"
        return f"并非（{parts[0]}）"
    if node.over is not None:
        return _say_rows(node, parts)
    if function.reading and "{" in function.reading and "{*" not in function.reading:
        wanted = re.findall(r"\{([0-9])\}", function.reading)
        if all(int(index) < len(parts) for index in wanted):
            return re.sub(r"\{([0-9])\}", lambda match: parts[int(match[1])], function.reading)
    if "{*" in function.reading:
        return _say_list(function.reading, parts)
    if not parts:
        return function.reading or function.zh
    return f"{function.zh}({'、'.join(parts)})"


def _say_list(reading: str, parts: list[str]) -> str:
    """{0} is the first part, {*} the rest (or all when there is no {0}), {*或} joined with or."""
    rest = parts[1:] if "{0}" in reading else parts
    said = reading.replace("{0}", parts[0])
    return said.replace("{*或}", "或".join(rest)).replace("{*}", "、".join(rest))


def _say_rows(node: Invoke, parts: list[str]) -> str:
    function, rows = node.function, parts[0]
    if function.en == "ANY":
        return f"{rows}里至少有一行{parts[1]}"
    if function.en == "EVERY":
        return f"{rows}的每一行都{parts[1]}"
    has_expression = len(function.row_parameters) == 3 or function.en == "DISTINCT"
    condition = parts[2:] if has_expression else parts[1:]
    of = f"{rows}里{condition[0]}的行" if condition else f"{rows}每一行"
    if function.en == "COUNT":
        return f"{rows}里{condition[0]}的行数" if condition else f"{rows}的行数"
    what = {
        "SUM": "之和",
        "AVERAGE": "的平均值",
        "MIN": "的最小值",
        "MAX": "的最大值",
        "DISTINCT": "不同值的个数",
    }.get(function.en, function.zh)
    return f"{of}的{parts[1] if len(parts) > 1 else '值'}{what}"
