"""The one registry of functions: each declared once, with everything said about it.

A declaration carries names in both languages, parameters with types, cost class, what blank and
unknown do, a Chinese description and examples. Checker, plans, reference page and tests read it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, StrEnum
from typing import Any, Final, TypeAlias, TypeVar

from config.errors import gettext_noop
from rules_engine.formula.limits import SHORT_TEXT, spend_text
from rules_engine.formula.operators import keep, to_logical, to_number, to_text
from rules_engine.formula.tree import Kinds
from rules_engine.formula.values import (
    STOPPING,
    ErrorValue,
    Result,
    Unknown,
    Value,
    ValueType,
    strongest,
)


class Cost(StrEnum):
    """What one call costs, from constant to one walk per row; look-ups are counted when saved."""

    CONSTANT = "constant"
    TEXT = "text"  # in the length of the text
    ROWS = "rows"  # in the number of rows or list elements
    LOOKUP = "lookup"  # one look into a table kept by the business


class Style(Enum):
    """How a function takes its arguments."""

    PLAIN = "plain"  # evaluated and coerced by the declaration; errors and unknown stop it
    LAZY = "lazy"  # gets the parts unevaluated and an evaluator
    AGGREGATE = "aggregate"  # evaluated, with a mark on those that are fields (Excel's references)
    ROWS = "rows"  # walks rows, evaluating a part per row


class Sees(Enum):
    """Which values reach a PLAIN function instead of stopping it."""

    VALUES = "values"
    ERRORS = "errors"
    EVERYTHING = "everything"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter. A literal one must be written out in the formula."""

    label: str
    type: ValueType
    is_optional: bool = False
    is_repeated: bool = False
    is_literal: bool = False
    keeps_blank: bool = False  # a blank reaches the function instead of counting as 0
    terms: tuple[str, ...] = ()  # written as text, known by id: kinds of Term (node, stage)


@dataclass(frozen=True, slots=True)
class Example:
    """A formula with its answer; `facts` are the fields it uses, by label."""

    formula: str
    expected: object
    facts: Mapping[str, object] = field(default_factory=dict)


Run: TypeAlias = Callable[..., Value]
Infer: TypeAlias = Callable[[Sequence[Kinds]], Kinds]

DEFAULT_BLANK: Final = gettext_noop("空值按 0、空文本或“否”计算")
DEFAULT_UNKNOWN: Final = gettext_noop("有未知的参数时，结果未知")


@dataclass(frozen=True, slots=True, eq=False)
class Function:
    """A declared function; see the module's docstring."""

    zh: str
    en: str
    parameters: tuple[Parameter, ...]
    result: ValueType
    run: Run
    description: str
    examples: tuple[Example, ...]
    topic: str
    aliases: tuple[str, ...] = ()
    style: Style = Style.PLAIN
    sees: Sees = Sees.VALUES
    cost: Cost = Cost.CONSTANT
    blank: str = DEFAULT_BLANK
    unknown: str = DEFAULT_UNKNOWN
    uses_now: bool = False
    implicit: tuple[str, ...] = ()  # ids of fields it reads besides; they come before what is typed
    is_bare: bool = False  # may be written without brackets (通过, TRUE)
    in_pairs: bool = False  # repeated parameters come two by two
    infer: Infer | None = None
    row_parameters: tuple[Parameter, ...] = ()  # the form 求和(明细, 表达式[, 条件])
    row_run: Run | None = None
    row_run_in_fen: Run | None = None  # the same over amounts
    reading: str = ""  # template of the Chinese sentence: {0} {1} ... and {*}

    @property
    def names(self) -> tuple[str, ...]:
        """Every name of the function, Chinese first."""
        return (self.zh, self.en, *self.aliases)

    @property
    def fewest(self) -> int:
        """The smallest number of arguments."""
        return sum(not parameter.is_optional for parameter in self.parameters)

    @property
    def most(self) -> int | None:
        """The largest number of arguments, None when there is no end."""
        if any(parameter.is_repeated for parameter in self.parameters):
            return None
        return len(self.parameters)

    @property
    def usage(self) -> str:
        """The signature in Chinese, for messages and the reference page."""
        return self._write_usage(self.parameters)

    @property
    def row_usage(self) -> str:
        """The signature of the form over rows."""
        return self._write_usage(self.row_parameters or self.parameters)

    def _write_usage(self, parameters: tuple[Parameter, ...]) -> str:
        parts = []
        for parameter in parameters:
            label = f"{parameter.label}…" if parameter.is_repeated else parameter.label
            parts.append(f"[{label}]" if parameter.is_optional else label)
        return f"{self.zh}({', '.join(parts)})"

    def parameter_at(self, index: int) -> Parameter:
        """Return the parameter that the argument at `index` fills."""
        if index < len(self.parameters):
            return self.parameters[index]
        repeated = [parameter for parameter in self.parameters if parameter.is_repeated]
        first = len(self.parameters) - len(repeated)
        return repeated[(index - first) % len(repeated)]

    def bind(self, count: int) -> Callable[..., Value]:
        """Return a callable for `count` evaluated arguments that coerces and stops by itself."""
        return _bind(self, count)


def anything(label: str, **kinds: bool) -> Parameter:
    """A parameter that takes any value as it is."""
    return _parameter(label, ValueType.ANY, **kinds)


def number(label: str, **kinds: bool) -> Parameter:
    """A number; number-like text is coerced."""
    return _parameter(label, ValueType.NUMBER, **kinds)


def money(label: str, **kinds: bool) -> Parameter:
    """An amount in yuan."""
    return _parameter(label, ValueType.MONEY, **kinds)


def text(label: str, **kinds: bool) -> Parameter:
    """A text; numbers are written out."""
    return _parameter(label, ValueType.TEXT, **kinds)


def logical(label: str, **kinds: bool) -> Parameter:
    """A condition."""
    return _parameter(label, ValueType.LOGICAL, **kinds)


def moment(label: str, **kinds: bool) -> Parameter:
    """A date-time; a blank one is passed on, so that it can be told apart."""
    return replace(_parameter(label, ValueType.DATETIME, **kinds), keeps_blank=True)


def day(label: str, **kinds: bool) -> Parameter:
    """A date-time as Excel's date functions take it: blank is day 0."""
    return _parameter(label, ValueType.DATETIME, **kinds)


def term(label: str, *kinds: str) -> Parameter:
    """A word the environment knows, written out as text: a node, a stage. Only as the first."""
    return replace(_parameter(label, ValueType.TEXT), terms=kinds)


def rows(label: str, **kinds: bool) -> Parameter:
    """Rows or a list; one value counts as a list of one."""
    return _parameter(label, ValueType.ROWS, **kinds)


def _parameter(
    label: str,
    type: ValueType,
    *,
    optional: bool = False,
    many: bool = False,
    literal: bool = False,
) -> Parameter:
    return Parameter(label, type, optional, many, literal)


def to_moment(value: Value) -> Value:
    """Coerce to a serial, keeping blank."""
    return None if value is None or value == "" else to_number(value)


def to_rows(value: Value) -> Value:
    """Make one value a list of one."""
    if type(value) is tuple or type(value) in STOPPING:
        return value
    return (value,)


def hand_on(value: Value) -> Value:
    """Take an implicit field as it is, rows too."""
    return value


_COERCE: Final[dict[ValueType, Callable[[Value], Value]]] = {
    ValueType.NUMBER: to_number,
    ValueType.MONEY: to_number,
    ValueType.DURATION: to_number,
    ValueType.DATETIME: to_number,
    ValueType.TEXT: to_text,
    ValueType.LOGICAL: to_logical,
    ValueType.ROWS: to_rows,
    ValueType.ANY: keep,
    ValueType.RESULT: keep,
}


def _coercion(parameter: Parameter) -> Callable[[Value], Value]:
    return to_moment if parameter.keeps_blank else _COERCE[parameter.type]


def _bind(function: Function, count: int) -> Callable[..., Value]:
    run = _metered(function.run) if function.cost is Cost.TEXT else function.run
    if function.sees is Sees.EVERYTHING:
        return run
    hidden = len(function.implicit)
    coerce = (hand_on,) * hidden + tuple(
        _coercion(function.parameter_at(index))
        for index in range(count - function.uses_now - hidden)
    )
    if function.uses_now:
        coerce = (keep, *coerce)
    if function.sees is Sees.ERRORS:
        return _bind_seeing_errors(run)
    if count == 1:
        return _bind_one(run, coerce[0])
    if count == 2:
        return _bind_two(run, coerce[0], coerce[1])
    return _bind_many(run, coerce)


def _metered(run: Run) -> Run:
    """Count the characters a text function is given."""

    def call(*values: Value) -> Value:
        size = 0
        for value in values:
            if type(value) is str:
                size += len(value)
        if size > SHORT_TEXT:
            spend_text(size)
        return run(*values)

    return call


def _bind_seeing_errors(run: Run) -> Run:
    def call(*values: Value) -> Value:
        for value in values:
            if type(value) is Unknown:
                return value
        return run(*values)

    return call


def _bind_one(run: Run, coerce: Callable[[Value], Value]) -> Run:
    def call(value: Value) -> Value:
        value = coerce(value)
        if type(value) in STOPPING:
            return value
        try:
            return run(value)
        except (OverflowError, ZeroDivisionError):
            return ErrorValue.NUM

    return call


def _bind_two(
    run: Run, coerce_first: Callable[[Value], Value], coerce_second: Callable[[Value], Value]
) -> Run:
    def call(first: Value, second: Value) -> Value:
        first = coerce_first(first)
        second = coerce_second(second)
        if type(first) in STOPPING or type(second) in STOPPING:
            return strongest((first, second))
        try:
            return run(first, second)
        except (OverflowError, ZeroDivisionError):
            return ErrorValue.NUM

    return call


def _bind_many(run: Run, coerce: Sequence[Callable[[Value], Value]]) -> Run:
    def call(*values: Value) -> Value:
        taken = [convert(value) for convert, value in zip(coerce, values, strict=True)]
        for value in taken:
            if type(value) in STOPPING:
                return strongest(taken)
        try:
            return run(*taken)
        except (OverflowError, ZeroDivisionError):
            return ErrorValue.NUM

    return call


_BY_NAME: dict[str, Function] = {}
_DECLARED: list[Function] = []
_F = TypeVar("_F", bound=Callable[..., Any])


def function(
    zh: str,
    en: str,
    *parameters: Parameter,
    result: ValueType,
    description: str,
    examples: Sequence[tuple[str, object] | tuple[str, object, Mapping[str, object]]],
    topic: str,
    **more: Any,
) -> Callable[[_F], _F]:
    """Declare a function; the decorated callable computes it.

    examples: (formula, expected) or (formula, expected, facts by label); they run as tests.
    """

    def declare(run: _F) -> _F:
        declared = Function(
            zh=zh,
            en=en,
            parameters=parameters,
            result=result,
            run=run,
            description=description,
            examples=tuple(Example(*example) for example in examples),
            topic=topic,
            **more,
        )
        for name in declared.names:
            if _BY_NAME.setdefault(name.upper(), declared) is not declared:
                raise ValueError(f"function name {name} is declared twice")
        _DECLARED.append(declared)
        return run

    return declare


def find_function(name: str) -> Function | None:
    """Return the function with this name in either language, in any case."""
    return _BY_NAME.get(name.upper())


def constant_named(text: str) -> bool | Result | None:
    """Return the constant a bare name means (通过, 真, TRUE), None when it is no constant."""
    declared = find_function(text)
    if declared is None or not declared.is_bare:
        return None
    if text != declared.zh and text.upper() not in ("TRUE", "FALSE"):
        return None
    value = declared.run()
    return value if isinstance(value, bool | Result) else None


def is_reserved_name(text: str) -> bool:
    """Tell whether a bare name means a constant and never a field."""
    return constant_named(text) is not None


def function_names() -> tuple[str, ...]:
    """Every name of every function."""
    return tuple(name for declared in _DECLARED for name in declared.names)


def declared_functions() -> tuple[Function, ...]:
    """Every function, in the order of declaration."""
    return tuple(_DECLARED)
