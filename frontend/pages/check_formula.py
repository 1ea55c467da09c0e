"""A formula for people: what is wrong and where, read back, its names, its values."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.utils.translation import gettext as _

from config.errors import BY_SEMICOLON
from config.wording import join_words, say
from rules_engine.facts.catalog import MOVING_IDS, SOURCE_LABELS, Fact
from rules_engine.facts.services import format_value
from rules_engine.formula import (
    FUNCTIONS,
    UNKNOWN,
    Checked,
    ErrorValue,
    Field,
    Finding,
    Fix,
    Function,
    Result,
    ValueType,
    find_function,
    sentence,
)
from rules_engine.formula.explain import write_text
from rules_engine.formula.functions import Style
from rules_engine.formula.limits import MAX_NODES, MAX_STEPS
from rules_engine.formula.names import Table
from rules_engine.formula.tree import Chain, FieldUse, Invoke, Node, walk

_PLACE = re.compile(r"^(第 \d+ 行第 \d+ 列：|Line \d+ column \d+: )")
_BARE = re.compile(
    r"[A-Za-z_\u3007\u3400-\u4dbf\u4e00-\u9fff][A-Za-z0-9_\u3007\u3400-\u4dbf\u4e00-\u9fff]*"
)
_SNIPPET = 24
_LIST_SHOWN = 4
# Topics of functions that stand first and open: what every check is made of.
_FIRST_TOPICS = ("结果", "判断")


@dataclass(frozen=True)
class Remark:
    """A finding as the page shows it; start and end count characters of the formula."""

    text: str
    start: int
    end: int
    line: int
    column: int
    snippet: str
    refuses: bool
    fix: Fix | None
    function: Function | None = None  # the one it is about, to read on


@dataclass(frozen=True)
class Need:
    """What a formula depends on or costs, in a few words."""

    key: str
    text: str
    help: str = ""


@dataclass(frozen=True)
class Looked:
    """What is to be said about one formula."""

    findings: list[Remark]
    is_valid: bool
    reading: str
    needs: list[Need] = field(default_factory=list)


def describe_formula(checked: Checked) -> Looked:
    """Every finding with its place, and the formula as a sentence when it holds together."""
    remarks = [_remark(finding, checked.text) for finding in checked.findings]
    reading = sentence(checked) if checked.is_valid else ""
    return Looked(remarks, checked.is_valid, reading, list_needs(checked))


def _remark(finding: Finding, text: str) -> Remark:
    before = text[: finding.start]
    snippet = text[finding.start : finding.end]
    said = say(finding.phrase)
    return Remark(
        text=_PLACE.sub("", said),
        start=finding.start,
        end=finding.end,
        line=before.count("\n") + 1,
        column=finding.start - (before.rfind("\n") + 1) + 1,
        snippet=snippet if len(snippet) <= _SNIPPET else f"{snippet[:_SNIPPET]}…",
        refuses=finding.refuses,
        fix=finding.fix,
        function=find_function(str(finding.params.get("function", ""))),
    )


def list_needs(checked: Checked) -> list[Need]:
    """Clock, fields, relations, tables and cost of a formula that holds together."""
    if not checked.is_valid:
        return []
    nodes = [node for node, _depth in walk(checked.require_tree())]
    calls = [node for node in nodes if isinstance(node, Invoke)]
    uses_clock = checked.uses_now or not checked.field_ids.isdisjoint(MOVING_IDS)
    needs = [
        Need("clock", _("看时钟"), _("时间一到就会变，每分钟重算"))
        if uses_clock
        else Need("still", _("不看时钟"), _("订单或来源有消息才重算"))
    ]
    beside = checked.relation_ids | checked.table_ids
    fields = [node.field for node in nodes if isinstance(node, FieldUse)]
    labels = list(dict.fromkeys(f.label for f in fields if f.id not in beside))
    if labels:
        needs.append(Need("fields", _("读 %(n)s 个字段") % {"n": len(labels)}, join_words(labels)))
    names = checked.names
    related = [f.label for id in sorted(checked.relation_ids) if (f := names.by_id(id))]
    if related:
        needs.append(
            Need(
                "related",
                _("还读%(names)s") % {"names": join_words(related)},
                _("每单另取，行数有上限"),
            )
        )
    tables = [f.label for id in sorted(checked.table_ids) if (f := names.by_id(id))]
    if tables:
        needs.append(Need("tables", _("查表：%(names)s") % {"names": join_words(tables)}))
    walks = sum(node.over is not None or node.function.style is Style.ROWS for node in calls)
    cost = _("%(n)s 个部分") % {"n": len(nodes)}
    if walks:
        cost += _("，逐行 %(n)s 处") % {"n": walks}
    needs.append(Need("cost", _("代价：%(cost)s") % {"cost": cost}, _limits()))
    return needs


def _limits() -> str:
    return _("一条公式最多 %(nodes)s 个部分，一次最多算 %(steps)s 步") % {
        "nodes": f"{MAX_NODES:,}",
        "steps": f"{MAX_STEPS:,}",
    }


# --- lines ------------------------------------------------------------------------------------

_ONE_LINE = 40  # a part that is shorter stays on one line
_WIDE = 60  # and so does a calculation that is shorter than this


def lay_out(checked: Checked) -> str:
    """The formula on several lines: the first argument beside its function, the others below it.

    Only blanks between the parts change; marks, names and comments stay as typed.
    """
    return _lay_out(checked.require_tree(), checked.text, 0) if checked.is_valid else checked.text


def _lay_out(tree: Node, text: str, indent: int) -> str:
    before, after = text[: tree.start].strip(), text[tree.end :].strip()
    return before + _lay_out_node(tree, text, indent) + after


def _lay_out_node(node: Node, text: str, indent: int) -> str:
    typed = text[node.start : node.end]
    if isinstance(node, Chain) and len(typed) > _WIDE:  # its calls are laid out where they stand
        pieces, position = [], node.start
        for part in (node.first, *(operand for _, operand in node.rest)):
            pieces += [text[position : part.start], _lay_out_node(part, text, indent)]
            position = part.end
        return "".join(pieces) + text[position : node.end]
    if not isinstance(node, Invoke) or len(node.args) < 2 or len(typed) <= _ONE_LINE:
        return typed
    pieces, position, step = [], node.start, indent + 2
    for number, part in enumerate(node.args):
        gap = text[position : part.start].strip()
        pieces.append(gap if number == 0 else f"{gap}\n{' ' * step}")
        if number and gap.endswith(("(", "（")):  # a bracket around the part belongs to it
            bare = gap.rstrip("(（ ")
            pieces[-1] = f"{bare.rstrip()}\n{' ' * step}{gap[len(bare) :].strip()}"
        pieces.append(_lay_out_node(part, text, step))
        position = part.end
    return "".join(pieces) + text[position : node.end].strip()


# --- the names on the left --------------------------------------------------------------------


@dataclass(frozen=True)
class NameItem:
    """A field or function as the list shows and inserts it."""

    label: str
    insert: str
    names: str
    kind: str
    hint: str
    help: str
    words: str
    parameters: int = 0
    is_column: bool = False
    en: str = ""  # of a function: its address in the book
    usage: str = ""  # its forms, with | between them


@dataclass(frozen=True)
class NameGroup:
    """Names under one heading."""

    label: str
    items: list[NameItem]
    is_open: bool = False


def group_names(facts: Iterable[Fact], tables: Sequence[Table] = ()) -> list[NameGroup]:
    """Results and decisions first, fields by topic, lookup tables, the other functions by topic."""
    fields: dict[str, list[NameItem]] = {}
    for fact in facts:
        items = fields.setdefault(fact.topic, [])
        items.append(_field_item(fact, source=fact.source))
        items.extend(_field_item(column, is_column=True) for column in fact.columns)
    functions: dict[str, list[NameItem]] = {}
    for function in FUNCTIONS:
        functions.setdefault(function.topic, []).append(_function_item(function))
    first = [
        NameGroup(_(topic), functions.pop(topic), is_open=True)
        for topic in _FIRST_TOPICS
        if topic in functions
    ]
    return [
        *first,
        *(NameGroup(_(topic), items) for topic, items in fields.items()),
        *([NameGroup(_("查找表"), [_table_item(table) for table in tables])] if tables else []),
        *(NameGroup(_("函数：%(topic)s") % {"topic": _(t)}, i) for t, i in functions.items()),
    ]


def write_name(field: Field) -> str:
    """A field as it is put into a formula: in brackets where its label asks for them."""
    return field.label if _BARE.fullmatch(field.label) else f"[{field.label}]"


def _field_item(field: Field, *, source: str = "", is_column: bool = False) -> NameItem:
    kind = _(field.unit) if field.unit else _(field.type.label)
    help = [_(field.description)] if field.description else []
    if field.example:
        help.append(_("例：%(example)s") % {"example": field.example})
    if source in SOURCE_LABELS:
        help.append(_("来自%(source)s") % {"source": _(SOURCE_LABELS[source])})
    return NameItem(
        label=field.label,
        insert=write_name(field),
        names="|".join(n for n in (field.label, field.alias) if n),
        kind="field",
        hint=kind,
        help=join_words(help, BY_SEMICOLON),
        words=f"{field.label} {field.alias} {kind} {field.description}",
        is_column=is_column,
    )


def _table_item(table: Table) -> NameItem:
    """A table goes in as a whole call; what to look up by its keys is the person's to change."""
    keys = join_words(key.label for key in table.keys)
    columns = join_words(column.label for column in table.columns)
    parts = [
        write_text(table.name),
        *(write_name(key) for key in table.keys),
        write_text(table.columns[0].label if table.columns else ""),
    ]
    return NameItem(
        label=table.name,
        insert=f"查表({', '.join(parts)})",
        names=table.name,
        kind="table",
        hint=_("按%(keys)s查") % {"keys": keys},
        help=_("按%(keys)s查，可取的列：%(columns)s") % {"keys": keys, "columns": columns},
        words=f"{table.name} {keys} {columns} 查表",
    )


def _function_item(function: Function) -> NameItem:
    return NameItem(
        label=function.zh,
        insert=f"{function.zh}()",
        names="|".join(function.names),
        kind="function",
        hint=function.en,
        help=f"{function.usage}：{_(function.description)}",
        words=" ".join((*function.names, _(function.description))),
        parameters=len(function.parameters),
        en=function.en,
        usage="|".join(dict.fromkeys((function.usage, function.row_usage))),
    )


# --- values -----------------------------------------------------------------------------------


def describe_value(value: Any, kinds: frozenset[ValueType]) -> str:
    """A value of the language in words; the kinds say what a number stands for."""
    if value is UNKNOWN:
        return _("未知")
    if value is None:
        return _("空")
    if isinstance(value, ErrorValue):
        return f"{value.code}（{_(value.label)}）"
    if isinstance(value, Result):
        return _(value.label)
    if isinstance(value, bool):
        return _("是") if value else _("否")
    if isinstance(value, str):
        return f"“{value}”"
    if isinstance(value, tuple | list):
        return _describe_rows(value, kinds)
    return _describe_number(float(value), kinds)


def _describe_rows(values: Any, kinds: frozenset[ValueType]) -> str:
    if any(isinstance(value, dict) for value in values) or kinds == {ValueType.ROWS}:
        return _("%(n)s 行") % {"n": len(values)}
    shown = join_words(describe_value(value, kinds) for value in values[:_LIST_SHOWN])
    return shown + ("…" if len(values) > _LIST_SHOWN else "") if values else _("没有一行")


def _describe_number(number: float, kinds: frozenset[ValueType]) -> str:
    kind = next(iter(kinds)) if len(kinds) == 1 else ValueType.NUMBER
    text = format_value(number, kind)
    return _("%(amount)s 元") % {"amount": text} if kind is ValueType.MONEY else text
