"""The functions of the formula language for people: topics, search, signatures, examples.

Everything comes from the declarations; nothing is said here that a declaration does not say.
"""

from __future__ import annotations

import datetime as dt
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.utils.translation import get_language, gettext_lazy
from django.utils.translation import gettext as _

from config.errors import BY_CLAUSE, BY_SEMICOLON
from config.wording import join_words
from frontend.pages.check_formula import describe_value
from rules_engine.facts.catalog import HIDDEN, build_names
from rules_engine.formula import FUNCTIONS, Field, Function, Names, ValueType, check, to_serial
from rules_engine.formula.functions import Parameter
from rules_engine.formula.values import LookupTable

# Topics in the order of the job; those of Excel's that help few checks come last. A topic that is
# in neither list belongs to the job and stands between them.
FIRST_TOPICS = (
    "结果", "判断", "时间", "工作时间", "大促", "明细", "汇总", "查表", "订单经历", "地址", "电话",
)  # fmt: skip
_HIDDEN = {fact.id: fact for fact in HIDDEN}
_TERMS = build_names().terms  # nodes and stages under the names they ship with
LAST_TOPICS = ("检验", "文本", "数字", "日期", "列表", "数学")
# The moment the examples were worked out at; a test keeps it the one the examples are run at.
EXAMPLE_NOW = dt.datetime(2026, 11, 13, 10, 0)  # noqa: DTZ001 - local wall time is meant

COSTS: Mapping[str, Any] = {
    "constant": gettext_lazy("很轻：每次一样快"),
    "text": gettext_lazy("轻：随文本长度增加"),
    "rows": gettext_lazy("逐行：随行数增加"),
    "lookup": gettext_lazy("查一次表：与表的大小无关"),
}
_UNITS: Mapping[ValueType, Any] = {
    ValueType.MONEY: gettext_lazy("元"),
    ValueType.DURATION: gettext_lazy("天"),
}


@dataclass(frozen=True)
class ParameterLine:
    """One parameter in words."""

    label: str
    kind: str
    notes: str


@dataclass(frozen=True)
class Form:
    """One way to call a function."""

    usage: str
    parameters: list[ParameterLine]


@dataclass(frozen=True)
class ExampleLine:
    """An example with its answer and what its names stood for."""

    number: int
    formula: str
    answer: str
    given: list[tuple[str, str]]


@dataclass(frozen=True)
class Entry:
    """A function as its page shows it."""

    function: Function
    zh: str
    en: str
    aliases: str
    description: str
    forms: list[Form]
    result: str
    cost: str
    blank: str
    unknown: str
    uses_now: bool
    examples: list[ExampleLine]


@dataclass(frozen=True)
class Topic:
    """Functions under one heading."""

    key: str
    label: str
    functions: list[Function]


# --- topics and search ----------------------------------------------------------------------------


def list_topics() -> list[Topic]:
    """Every function once, the job's own topics first."""
    found: dict[str, list[Function]] = {}
    for function in FUNCTIONS:
        found.setdefault(function.topic, []).append(function)
    middle = [t for t in found if t not in FIRST_TOPICS and t not in LAST_TOPICS]
    ordered = [t for t in (*FIRST_TOPICS, *middle, *LAST_TOPICS) if t in found]
    return [Topic(topic, _(topic), found[topic]) for topic in ordered]


def search(words: str) -> list[Function]:
    """The functions that match every word: by name first, then by what is said about them."""
    wanted = [w for w in _fold(words).split() if w]
    if not wanted:
        return []
    ranked = []
    for place, function in enumerate(f for topic in list_topics() for f in topic.functions):
        ranks = [_rank(function, word) for word in wanted]
        if None not in ranks:
            ranked.append((sum(r for r in ranks if r is not None), place, function))
    return [function for _rank_sum, _place, function in sorted(ranked, key=lambda r: r[:2])]


def _fold(text: str) -> str:
    return unicodedata.normalize("NFKC", text).lower().strip().lstrip("=").replace("()", "")


def _rank(function: Function, word: str) -> int | None:
    names = [name.lower() for name in function.names]
    if word in names:
        return 0
    if any(name.startswith(word) for name in names):
        return 1
    if any(word in name for name in names):
        return 2
    usage = f"{function.usage} {function.row_usage}".lower()
    if word in usage or word in _(function.topic).lower():
        return 3
    said = (function.description, _(function.description), function.blank, function.unknown)
    return 4 if any(word in text.lower() for text in said) else None


# --- one function ---------------------------------------------------------------------------------


def write_entry(function: Function) -> Entry:
    """Everything the declaration says, in words."""
    forms = [Form(_call(function, function.usage), _list_parameters(function.parameters))]
    if function.row_parameters:
        rows = _list_parameters(function.row_parameters)
        forms.append(Form(_call(function, function.row_usage), rows))
    return Entry(
        function=function,
        zh=function.zh,
        en=function.en,
        aliases=join_words(function.aliases),
        description=_(function.description),
        forms=forms,
        result=describe_type(function.result),
        cost=str(COSTS.get(function.cost.value, function.cost.value)),
        blank=_(function.blank),
        unknown=_(function.unknown),
        uses_now=function.uses_now,
        examples=[
            ExampleLine(
                number,
                example.formula,
                _write_answer(example.expected, function, example.formula, example.facts),
                [write_fact(label, value) for label, value in example.facts.items()],
            )
            for number, example in enumerate(function.examples)
        ],
    )


def _call(function: Function, usage: str) -> str:
    """The signature under the name that goes with the language in force."""
    is_chinese = str(get_language() or "zh").startswith("zh")
    return usage if is_chinese else usage.replace(f"{function.zh}(", f"{function.en}(", 1)


def _list_parameters(parameters: Sequence[Parameter]) -> list[ParameterLine]:
    return [
        ParameterLine(p.label, describe_type(p.type), join_words(_list_notes(p), BY_SEMICOLON))
        for p in parameters
    ]


def _list_notes(parameter: Parameter) -> Iterable[str]:
    if parameter.is_optional:
        yield _("可以不写")
    if parameter.is_repeated:
        yield _("可以写多个")
    if parameter.is_literal or parameter.terms:
        yield _("要直接写成文本")


def describe_type(type: ValueType) -> str:
    """A type in words, with the unit its numbers are in."""
    unit = _UNITS.get(type)
    return f"{_(type.label)}（{unit}）" if unit else _(type.label)


def _write_answer(value: Any, function: Function, formula: str, facts: Mapping[str, object]) -> str:
    names, _values = read_facts(facts)
    checked = check(formula, names)
    kinds = checked.tree.kinds if checked.tree is not None else frozenset({function.result})
    if kinds == {ValueType.DATETIME} and isinstance(value, int | float):
        return _write_moment(float(value))
    return describe_value(float(value) if type(value) is int else value, kinds)


def _write_moment(serial: float) -> str:
    moment = dt.datetime(1899, 12, 30) + dt.timedelta(days=serial)  # noqa: DTZ001 - wall time
    return f"{moment:%Y-%m-%d}" if serial == int(serial) else f"{moment:%Y-%m-%d %H:%M}"


def write_fact(label: str, value: object) -> tuple[str, str]:
    """What an example takes for granted: its name and value in words."""
    hidden = _HIDDEN.get(label)
    if hidden is not None and isinstance(value, list | tuple):
        columns = {column.alias: column.label for column in hidden.columns}
        rows = [
            {columns.get(n, n): _write_named(columns.get(n, n), v) for n, v in row.items()}
            for row in value
        ]
        lines = (join_words((f"{n} {said}" for n, said in row.items()), BY_CLAUSE) for row in rows)
        said = _("%(n)s 行：%(rows)s") % {"n": len(rows), "rows": join_words(lines, BY_SEMICOLON)}
        return _(hidden.label), said if rows else _("没有一行")
    return label, _write_named(label, value)


_TIMES = ("时间", "日期", "开始", "结束", "进入", "离开")


def _write_named(label: str, value: Any) -> str:
    """A number under the name of a time is a moment; the id of a node or stage its name."""
    if label.endswith(_TIMES) and isinstance(value, float):
        return _write_moment(value)
    if isinstance(value, str) and value.startswith(("node:", "stage:")):
        return next((term.label for term in _TERMS if term.id == value), value)
    return _write_given(value)


def _write_given(value: Any) -> str:
    if isinstance(value, dt.datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    if isinstance(value, dt.date):
        return f"{value:%Y-%m-%d}"
    table = getattr(value, "content", None)
    if isinstance(table, LookupTable):
        return _("%(n)s 行的表") % {"n": len(table.rows)}
    if isinstance(value, list | tuple) and value and isinstance(value[0], Mapping):
        lines = (
            join_words((f"{k} {_write_given(v)}" for k, v in row.items()), BY_CLAUSE)
            for row in value
        )
        return _("%(n)s 行：%(rows)s") % {"n": len(value), "rows": join_words(lines, BY_SEMICOLON)}
    if isinstance(value, list | tuple):
        return join_words(_write_given(item) for item in value) or _("没有一行")
    return describe_value(float(value) if type(value) is int else value, frozenset())


# --- the names of an example ----------------------------------------------------------------------


@dataclass(frozen=True)
class Given:
    """Names for a formula on a real order: the environment's, and an example's where it has none.

    `labels` are the names that came from the example.
    """

    names: Names
    values: dict[str, Any] = field(default_factory=dict)
    labels: tuple[str, ...] = ()


def give_names(formula: str, facts: Mapping[str, object], names: Names) -> Given:
    """The real fields as far as they reach; the example's for names that do not exist here."""
    if not facts or check(formula, names).is_valid:
        return Given(names)
    missing = {label: value for label, value in facts.items() if names.find(label) is None}
    if missing:
        given = _join(missing, names)
        if check(formula, given.names).is_valid:
            return given
    own = _join(facts, names)
    return own if check(formula, own.names).is_valid else Given(names)


def _join(facts: Mapping[str, object], names: Names) -> Given:
    extra, values = read_facts(facts)
    joined = Names(
        (*extra.fields, *names.fields),
        (*extra.tables, *names.tables),
        (*names.terms, *extra.terms),
    )
    return Given(joined, values, tuple(facts))


def _type_of(value: object) -> ValueType:
    if isinstance(value, bool):
        return ValueType.LOGICAL
    if isinstance(value, int | float):
        return ValueType.NUMBER
    if isinstance(value, str):
        return ValueType.TEXT
    if isinstance(value, dt.date):
        return ValueType.DATETIME
    return ValueType.ROWS if isinstance(value, list | tuple) else ValueType.ANY


def _to_value(value: object) -> object:
    return to_serial(value) if isinstance(value, dt.date) else value


def read_facts(facts: Mapping[str, object]) -> tuple[Names, dict[str, Any]]:
    """An example's facts as names and values; rows keep their columns, tables are tables."""
    fields, tables, values = [], [], {}
    for label, value in facts.items():
        table, content = getattr(value, "table", None), getattr(value, "content", None)
        if table is not None and content is not None:
            tables.append(table)
            values[table.id] = content
            continue
        hidden = _HIDDEN.get(label)
        id = label if hidden else f"example.{label}"
        columns: tuple[Field, ...] = ()
        values[id] = _to_value(value)
        if isinstance(value, list | tuple):
            if not value or isinstance(value[0], Mapping):
                columns = _columns_of(id, value)
                values[id] = tuple(
                    {f"{id}.{name}": _to_value(item) for name, item in row.items()} for row in value
                )
            else:
                values[id] = tuple(_to_value(item) for item in value)
        fields.append(hidden or Field(id, label, "", _type_of(value), columns=columns))
    return Names(fields, tables, _TERMS), values


def _columns_of(id: str, rows: Sequence[Any]) -> tuple[Field, ...]:
    columns: dict[str, object] = {"数量": 0.0, "金额": 0.0} if not rows else {}
    for row in rows:
        for name, item in row.items():
            if columns.get(name) is None:
                columns[name] = item
    return tuple(Field(f"{id}.{n}", n, "", _type_of(item)) for n, item in columns.items())
