"""Reading a formula back: canonical text, a Chinese sentence, a trace of values."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from typing import Literal as OneOf

from config.errors import gettext_noop

from .errors import FormulaErrors
from .functions import is_reserved_name
from .names import OWN, Field, Names
from .operators import COMPARISONS, number_to_text
from .parse import LEVELS
from .tokens import is_bare_name
from .tree import (
    ANYTHING,
    Chain,
    ColumnUse,
    FieldUse,
    Invoke,
    Kinds,
    Literal,
    Node,
    Percent,
    Sign,
    TermUse,
)
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
    kinds: Kinds = ANYTHING  # what the part may yield, for showing the value
    row_numbers: tuple[int, ...] = ()  # of a part per row: the rows its values are of, from 1


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
        if isinstance(node, TermUse):
            return name_of(str(node.value), self.names)
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
        if self.names.written_label(field.id) is not None:
            return name_of(field.id, self.names)
        for names in (*(self.names.columns_of(rows) for rows in reversed(self.scopes)), self.names):
            found = names.find(field.label)
            if found is not None:
                if found.id == field.id:
                    return name_of(field.id, names)
                return self.write_own(field)
        return f"{{#{field.id}}}"

    def write_own(self, field: Field) -> str:
        """Write a field of the order that a column of the same name hides."""
        own = f"{OWN}{field.label}"
        is_plain = is_bare_name(own) and self.names.find(own) is None
        return own if is_plain and self.names.find_own(own) is field else f"{{#{field.id}}}"

    def write_chain(self, node: Chain, level: int) -> str:
        here = LEVELS[node.rest[0][0]]
        pieces = [self.write(node.first, here)]
        for operator, operand in node.rest:
            pieces.append(operator if here == 5 else f" {operator} ")
            pieces.append(self.write(operand, here))
        inner = "".join(pieces)
        return f"({inner})" if level >= here else inner

    def write_call(self, node: Invoke) -> str:
        args = node.typed_args
        first = [self.write(part) for part in args[:1]]
        if node.over is not None:
            self.scopes.append(node.over)
        rest = [self.write(part) for part in args[1:]]
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
    """Write a field by its label: bare where that reads back, else in [brackets], else by id.

    A table, its column, a node or a stage is written as text.
    """
    written = names.written_label(field_id)
    if written is not None:
        return write_text(written)
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
}


_SIGNS: Final = {"+": "+", "-": "−", "*": "×", "/": "÷", "^": "^", "&": "&"}


def sentence(checked: Checked) -> str:
    """Say the formula as a Chinese sentence: 读作：如果…，那么…，否则…。

    Raises FormulaErrors when the formula does not hold together.
    """
    return gettext_noop("读作：") + _say(checked.require_tree()) + "。"


def _say(node: Node, *, is_inner: bool = False) -> str:
    if isinstance(node, TermUse):
        return f"「{node.label}」"
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
        said = _say_call(node)
        return f"（{said}）" if is_inner and node.function.en in _WORDY else said
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
        pieces.append(_WORDS[operator] if operator in COMPARISONS else f" {_SIGNS[operator]} ")
        pieces.append(_say(operand, is_inner=True))
    said = "".join(pieces)
    return f"（{said}）" if is_inner else said


def _say_call(node: Invoke) -> str:
    say = _SPECIAL.get(node.function.en)
    if say is not None:
        return say(node)
    if node.over is not None:
        return _say_rows(node, [_say(part, is_inner=True) for part in node.args])
    function = node.function
    parts = [_say_argument(part) for part in node.typed_args]
    if not parts:
        return function.reading or function.zh
    if "{*" in function.reading:
        return _say_list(function.reading, parts)
    places = [int(index) for index in re.findall(r"\{([0-9])\}", function.reading)]
    if places and max(places) < len(parts):
        said = re.sub(r"\{([0-9])\}", lambda match: parts[int(match[1])], function.reading)
        more = [
            f"{function.parameter_at(index).label} {part}"
            for index, part in enumerate(parts)
            if index not in places
        ]
        return f"{said}（{'，'.join(more)}）" if more else said
    return f"{function.zh}({'、'.join(_say(part) for part in node.typed_args)})"


def _say_argument(node: Node) -> str:
    """Arithmetic gets brackets, so that what is said about it covers the whole."""
    is_comparison = isinstance(node, Chain) and node.rest[0][0] in COMPARISONS
    return _say(node, is_inner=not is_comparison)


def _say_if(node: Invoke) -> str:
    condition, then = _say(node.args[0]), _say(node.args[1], is_inner=True)
    otherwise = _say(node.args[2]) if len(node.args) > 2 else "否"
    return f"如果{condition}，那么{then}，否则{otherwise}"


def _say_ifs(node: Invoke) -> str:
    said = []
    for condition, outcome in zip(node.args[::2], node.args[1::2], strict=True):
        got = _say(outcome, is_inner=True)
        is_rest = isinstance(condition, Literal) and condition.value is True
        said.append(f"其他情况得{got}" if is_rest else f"{_say(condition)}时得{got}")
    return "按顺序看：" + "；".join(said)


def _say_switch(node: Invoke) -> str:
    args = node.args
    said = [
        f"是{_say(option, is_inner=True)}时得{_say(outcome, is_inner=True)}"
        for option, outcome in zip(args[1:-1:2], args[2::2], strict=False)
    ]
    if len(args) % 2 == 0:
        said.append(f"其他情况得{_say(args[-1], is_inner=True)}")
    return f"看{_say(args[0], is_inner=True)}：" + "；".join(said)


def _say_joined(node: Invoke) -> str:
    word = "并且" if node.function.en == "AND" else "或者"
    if len(node.args) == 1:
        return _say(node.args[0])
    return word.join(_say_condition(part) for part in node.args)


def _say_condition(node: Node) -> str:
    is_comparison = isinstance(node, Chain) and node.rest[0][0] in COMPARISONS
    return _say(node, is_inner=not is_comparison)


def _say_not(node: Invoke) -> str:
    inner = node.args[0]
    if isinstance(inner, Invoke) and inner.function.en == "ISBLANK":
        return f"{_say_argument(inner.args[0])}不为空"
    if isinstance(inner, FieldUse | ColumnUse):
        return f"{_say(inner)}为否"
    return f"并非（{_say(inner)}）"


def _say_lookup(node: Invoke) -> str:
    """args: table, keys, column and perhaps what else to take."""
    place = next(i for i, part in enumerate(node.args) if isinstance(part, TermUse))
    keys = "、".join(_say(part, is_inner=True) for part in node.args[1:place])
    said = f"查找表{_say(node.args[0])}里{keys}对应的{_say(node.args[place])}"
    default = node.args[place + 1 :]
    return f"{said}（没有时用{_say(default[0], is_inner=True)}）" if default else said


_SPECIAL: Final[dict[str, Callable[[Invoke], str]]] = {
    "LOOKUPTABLE": _say_lookup,
    "IF": _say_if,
    "IFS": _say_ifs,
    "SWITCH": _say_switch,
    "AND": _say_joined,
    "OR": _say_joined,
    "NOT": _say_not,
}
_WORDY: Final = frozenset({"IF", "IFS", "SWITCH", "AND", "OR", "IFERROR", "IFNA"})


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
