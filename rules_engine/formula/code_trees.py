"""What the compiled plan knows of its trees before it writes: names, constants, meanings, costs."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final

from .code_parts import EXPECTED, LAST_MOMENT, NOTHING, Mode, Nothing, Piece, bit_of
from .functions.registry import Cost, Function, Style
from .limits import StepLimitReached, start_text_work
from .names import Field
from .operators import BINARY, negate, take_percent
from .row_plan import aggregate_run, is_row_call
from .tree import Chain, ColumnUse, FieldUse, Invoke, Literal, Node, Percent, Sign, children_of
from .values import ErrorValue, Value, ValueType

_TALL: Final = 12  # levels of a tree in one expression; Python's parser has a limit


class Writer:
    """Names, constants and functions shared by everything generated for one plan."""

    def __init__(self, trees: Sequence[Node], namespace: dict[str, Any]) -> None:
        self.namespace = namespace
        self.functions: list[str] = []
        self.fields: dict[str, Field] = {}
        self._field_names: dict[str, str] = {}
        self.memo: dict[int, str] = {}
        self._made = 0
        self._constant_names: dict[tuple[type, str], str] = {}
        self._keys: dict[tuple[object, ...], int] = {}
        self._key_of: dict[int, int] = {}
        self._parts: dict[int, tuple[Node, ...]] = {}
        self._constants: dict[int, Value | Nothing] = {}
        self._heights: dict[int, int] = {}
        self._charges: dict[tuple[int, Mode, bool], bool] = {}
        self._reads: dict[int, frozenset[str]] = {}
        self._trees = tuple(trees)  # keeps the ids above alive
        for tree in trees:
            start_text_work()
            self._study(tree)

    def new_name(self, letter: str) -> str:
        """Return a name not used before."""
        self._made += 1
        return f"{letter}{self._made}"

    def field_name(self, field: Field) -> str:
        """Return the local name of a field."""
        return self._field_names[field.id]

    def bring(self, thing: object) -> str:
        """Put a thing of ours into the namespace and return its name."""
        name = self.new_name("k")
        self.namespace[name] = thing
        return name

    def constant(self, value: Value) -> Piece:
        """Return the piece of a constant; equal ones of one type share a name."""
        bits = bit_of(value)
        bound = abs(value) if isinstance(value, float) else math.inf
        if value is None or value is True or value is False:
            return Piece(repr(value), bits, bound, is_name=True, value=value)
        kind = (type(value), repr(value))
        name = self._constant_names.get(kind)
        if name is None:
            name = self._constant_names[kind] = self.bring(value)
        return Piece(
            name,
            bits,
            bound,
            is_name=True,
            is_moment=isinstance(value, float) and 0.0 <= value < LAST_MOMENT,
            value=value,
        )

    def number(self, value: float) -> str:
        """Return the code of a number."""
        return self.constant(value).code

    # --- what is known of the trees --------------------------------------------------------------

    def _study(self, tree: Node) -> None:
        """Give every node its key, height and constant value, parts first; no recursion."""
        for node, parts in _list_bottom_up(tree):
            self._parts[id(node)] = parts
            keys = tuple(self._key_of[id(part)] for part in parts)
            self._key_of[id(node)] = self._keys.setdefault(
                (*_describe(node), *keys), len(self._keys)
            )
            self._heights[id(node)] = 1 + max((self._heights[id(p)] for p in parts), default=-1)
            self._constants[id(node)] = self._fold(node, parts)
            reads: set[str] = set().union(*(self._reads[id(part)] for part in parts))
            if isinstance(node, FieldUse):
                if node.field.id not in self.fields:
                    self._field_names[node.field.id] = f"f{len(self.fields)}"
                    self.fields[node.field.id] = node.field
                reads.add(node.field.id)
            elif isinstance(node, ColumnUse):
                reads.add(f"\0row {node.rows.id}")
            elif isinstance(node, Invoke):
                if node.function.uses_now:
                    reads.add("\0now")
                if node.over is not None:
                    inside = set().union(*(self._reads[id(part)] for part in parts[1:]))
                    inside.discard(f"\0row {node.over.id}")
                    reads = inside | self._reads[id(parts[0])] | (reads & {"\0now"})
            self._reads[id(node)] = frozenset(reads)

    def _fold(self, node: Node, parts: Sequence[Node]) -> Value | Nothing:
        if isinstance(node, Literal):
            return node.value
        if isinstance(node, FieldUse | ColumnUse):
            return NOTHING
        values: list[Any] = [self._constants[id(part)] for part in parts]
        if any(value is NOTHING for value in values):
            return NOTHING
        try:
            value: Value | Nothing = self._compute(node, values)
        except StepLimitReached:  # too much text, as the row plan finds when it folds
            return ErrorValue.LIMIT
        return value

    @staticmethod
    def _compute(node: Node, values: list[Any]) -> Any:
        if isinstance(node, Sign):
            return values[0] if node.sign == "+" else negate(values[0])
        if isinstance(node, Percent):
            return take_percent(values[0])
        if isinstance(node, Chain):
            value = values[0]
            for (operator, _), operand in zip(node.rest, values[1:], strict=True):
                value = BINARY[operator](value, operand)
            return value
        if not isinstance(node, Invoke) or node.function.uses_now or is_row_call(node):
            return NOTHING
        function = node.function
        if function.style is Style.LAZY:
            return function.run(_take, values)
        if function.style is Style.AGGREGATE:
            return aggregate_run(node)(values, [False] * len(values))
        return function.bind(len(values))(*values)

    def constant_of(self, node: Node) -> Value | Nothing:
        """Return the value of a node that reads nothing."""
        return self._constants[id(node)]

    def key_of(self, node: Node) -> int:
        """Return a number that nodes with the same meaning share."""
        return self._key_of[id(node)]

    def is_tall(self, node: Node) -> bool:
        """Whether the node should start a function of its own."""
        height = self._heights[id(node)]
        return height > 0 and height % _TALL == 0

    def is_tall_tree(self, node: Node) -> bool:
        """Whether parts of the tree stand in functions of their own, where nothing is shared."""
        return self._heights[id(node)] >= _TALL

    def reads(self, node: Node) -> frozenset[str]:
        """Return the ids of the fields, rows and clock a node reads."""
        return self._reads[id(node)]

    def charges(self, node: Node, mode: Mode, *, is_metered: bool) -> bool:
        """Whether evaluating the node may spend steps, or text work where that is counted."""
        key = (id(node), mode, is_metered)
        found = self._charges.get(key)
        if found is None:
            if isinstance(node, FieldUse):
                found = may_hold_rows(node.field.type, mode)
            elif isinstance(node, Invoke) and (
                is_row_call(node) or (is_metered and reads_text(node.function))
            ):
                found = True
            else:
                found = any(
                    self.charges(part, mode, is_metered=is_metered)
                    for part in self._parts[id(node)]
                )
            self._charges[key] = found
        return found

    def nodes_of(self, tree: Node) -> Iterator[Node]:
        """Yield every node of a tree, each before its parts."""
        waiting = [tree]
        while waiting:
            node = waiting.pop()
            yield node
            waiting.extend(self._parts[id(node)])

    def count_keys(self, trees: Sequence[Node]) -> Counter[int]:
        """Count how often every meaning occurs."""
        keys = self._key_of
        return Counter([keys[id(node)] for tree in trees for node in self.nodes_of(tree)])


def _list_bottom_up(tree: Node) -> Iterator[tuple[Node, tuple[Node, ...]]]:
    """Yield nodes with their parts, parts first, from left to right."""
    waiting: list[tuple[Node, tuple[Node, ...] | None]] = [(tree, None)]
    while waiting:
        node, parts = waiting.pop()
        if parts is not None:
            yield node, parts
            continue
        parts = children_of(node)
        waiting.append((node, parts))
        waiting.extend((part, None) for part in reversed(parts))


def reads_text(function: Function) -> bool:
    """Whether a call may spend text work (see limits)."""
    return function.cost is Cost.TEXT or (
        function.cost is Cost.ROWS and function.style is Style.PLAIN
    )


def _take(value: Any) -> Value:
    return value  # type: ignore[no-any-return] # the values of constant parts


def _describe(node: Node) -> tuple[object, ...]:
    if isinstance(node, Literal):
        return "literal", type(node.value), repr(node.value)
    if isinstance(node, FieldUse):
        return "field", node.field.id
    if isinstance(node, ColumnUse):
        return "column", node.rows.id, node.column.id
    if isinstance(node, Sign):
        return ("sign", node.sign)
    if isinstance(node, Percent):
        return ("percent",)
    if isinstance(node, Chain):
        return ("chain", *(operator for operator, _ in node.rest))
    if isinstance(node, Invoke):
        over = node.over.id if node.over is not None else None
        return "call", node.function.en, over, node.kinds
    return ("other", id(node))


def may_hold_rows(type_: ValueType, mode: Mode) -> bool:
    """Fields that may hold rows cost a step per row each time they are read."""
    if mode is Mode.WILD or type_ is ValueType.ROWS:
        return True
    return mode is Mode.GENERAL and type_ not in EXPECTED
