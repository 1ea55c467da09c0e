"""The value of every part of a formula on one order, as a tree that folds.

Rows come flat, each before its own parts, with how many lists close behind it: a template that
called itself would reach Python's recursion limit long before a formula reaches its depth.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.utils.translation import gettext as _

from frontend.pages.check_formula import describe_value
from frontend.wording import RESULT_LOOKS
from rules_engine.facts.services import format_value
from rules_engine.formula import UNKNOWN, ErrorValue, Result, TracePart
from rules_engine.formula.functions import Style
from rules_engine.formula.tree import (
    Chain,
    ColumnUse,
    FieldUse,
    Invoke,
    Literal,
    Node,
    Percent,
    Sign,
    TermUse,
    children_of,
    is_hidden,
)
from rules_engine.formula.values import LookupTable

ROWS_SHOWN = 3
SMALL = 40  # parts up to which everything that was evaluated stands open
_OPEN_DEPTH = 2  # of a larger tree
_BRIEF, _BRIEF_PART = 44, 14  # characters of a part, and of a part within it
_BRIEF_CHAIN = 16
_UNITS = frozenset({"分钟", "小时"})


@dataclass(frozen=True)
class Shown:
    """A value in words; `look` is its colour, never its only sign."""

    words: str
    look: str = ""


@dataclass(frozen=True)
class Row:
    """One part. `closes`: lists that end behind it, as a range for the template."""

    brief: str
    text: str
    value: Shown | None
    is_evaluated: bool
    has_parts: bool
    is_open: bool
    depth: int
    rows: list[tuple[int, Shown]] = field(default_factory=list)
    row_count: int = 0
    closes: range = range(0)


@dataclass(frozen=True)
class _Part:
    """A part with the tree's node; `children` without constants, which speak for themselves."""

    node: Node
    traced: TracePart
    is_per_row: bool
    children: list[_Part]


def build_tree(
    tree: Node, parts: Sequence[TracePart], *, hidden: Collection[tuple[int, int]], hidden_word: str
) -> list[Row]:
    """The rows of a traced formula; `parts` are in the order of `tree.walk`."""
    root = _read(tree, list(parts))
    rows: list[Row] = []
    is_small = len(parts) <= SMALL
    waiting: list[tuple[_Part, int, int]] = [(root, 0, 0)]
    while waiting:
        part, depth, closes = waiting.pop()
        is_hidden = (part.traced.start, part.traced.end) in hidden
        rows.append(
            _write(
                part,
                depth,
                range(0 if part.children else closes),
                hidden_word if is_hidden else "",
                is_small or depth < _OPEN_DEPTH,
            )
        )
        for number, child in enumerate(reversed(part.children)):
            waiting.append((child, depth + 1, closes + 1 if number == 0 else 0))
    return rows


def _read(tree: Node, traced: list[TracePart]) -> _Part:
    """The tree with its values. `traced` is used up from the front, as `walk` made it."""
    parts = iter(traced)
    root: list[_Part] = []
    waiting: list[tuple[Node, bool, list[_Part]]] = [(tree, False, root)]
    while waiting:
        node, is_per_row, siblings = waiting.pop()
        if is_hidden(node):  # what a function reads besides what is typed has no row
            continue
        part = _Part(node, next(parts), is_per_row, [])
        if siblings is root or _is_telling(node):
            siblings.append(part)
        walks = _walks_rows(node)
        children = children_of(node)
        waiting.extend(
            (child, is_per_row or (walks and index > 0), part.children)
            for index, child in reversed(list(enumerate(children)))
        )
    return root[0]


def _is_telling(node: Node) -> bool:
    return not isinstance(node, Literal) or isinstance(node.value, Result)


def _walks_rows(node: Node) -> bool:
    return isinstance(node, Invoke) and (node.over is not None or node.function.style is Style.ROWS)


def _write(part: _Part, depth: int, closes: range, hidden_word: str, is_open: bool) -> Row:
    traced, node = part.traced, part.node
    text = " ".join(traced.text.split())
    value: Shown | None = None
    rows: list[tuple[int, Shown]] = []
    count = 0
    if not traced.is_evaluated:
        pass
    elif hidden_word:
        value = Shown(hidden_word, "muted")
    elif part.is_per_row and isinstance(traced.value, tuple):
        count = len(traced.value)
        rows = [
            (number, _show(item, node))
            for number, item in zip(traced.row_numbers, traced.value[:ROWS_SHOWN], strict=False)
        ]
    else:
        value = _show(traced.value, node)
    return Row(
        brief=write_brief(node, text),
        text=text,
        value=value,
        is_evaluated=traced.is_evaluated,
        has_parts=bool(part.children),
        is_open=is_open and traced.is_evaluated,
        depth=depth,
        rows=rows,
        row_count=count,
        closes=closes,
    )


def _show(value: Any, node: Node) -> Shown:
    if value is UNKNOWN:
        return Shown(_("未知"), "unknown")
    if value is None:
        return Shown(_("空"), "blank")
    if isinstance(value, ErrorValue):
        return Shown(describe_value(value, node.kinds), "error")
    if isinstance(value, Result):
        return Shown(describe_value(value, node.kinds), f"band {RESULT_LOOKS[value.value]}")
    if isinstance(value, float) and isinstance(node, FieldUse | ColumnUse):
        used = node.field if isinstance(node, FieldUse) else node.column
        if used.unit in _UNITS:
            return Shown(format_value(value, used.type, used.unit))
    if isinstance(value, LookupTable):
        return Shown(_("%(n)s 行的表") % {"n": len(value.rows)})
    return Shown(describe_value(value, node.kinds))


# --- what a part is called ------------------------------------------------------------------------


def write_brief(node: Node, text: str) -> str:
    """A part as typed while it is short; else with its own parts shortened to …."""
    if len(text) <= _BRIEF:
        return text
    if isinstance(node, Invoke):
        inner = "，".join(_shorten(part) for part in node.typed_args[:4])
        more = "，…" if len(node.typed_args) > 4 else ""
        return f"{node.function.zh}({inner}{more})"
    if isinstance(node, Chain):
        pieces = [_shorten(node.first)]
        for operator, operand in node.rest[:3]:
            pieces += (operator, _shorten(operand))
        more = " …" if len(node.rest) > 3 else ""
        return " ".join(pieces) + more
    if isinstance(node, Sign):
        return f"{node.sign}…"
    if isinstance(node, Percent):
        return "…%"
    return f"{text[: _BRIEF - 1]}…"


def _shorten(node: Node) -> str:
    if isinstance(node, FieldUse):
        return node.field.label
    if isinstance(node, ColumnUse):
        return node.column.label
    if isinstance(node, TermUse):
        return f"“{node.label}”"
    if isinstance(node, Literal):
        said = describe_value(node.value, node.kinds)
        return said if len(said) <= _BRIEF_PART else f"{said[: _BRIEF_PART - 1]}…"
    if isinstance(node, Invoke):
        return f"{node.function.zh}(…)" if node.args else f"{node.function.zh}()"
    if isinstance(node, Chain) and len(node.rest) == 1:
        operator, operand = node.rest[0]
        if not isinstance(node.first, Chain) and not isinstance(operand, Chain):
            said = f"{_shorten(node.first)}{operator}{_shorten(operand)}"
            return said if len(said) <= _BRIEF_CHAIN else "…"
    return "…"
