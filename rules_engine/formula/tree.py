"""The tree of a formula: first as parsed, then with names resolved and kinds known.

start and end of every node count characters of the typed text. Equal-precedence operators
stand side by side in one Chain, so a sum of a thousand terms is wide, not deep.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, TypeAlias
from typing import Literal as OneOf

from .names import Field
from .values import Value, ValueType

if TYPE_CHECKING:
    from .functions.registry import Function

Kinds: TypeAlias = frozenset[ValueType]
ANYTHING: Final[Kinds] = frozenset({ValueType.ANY})


@dataclass(frozen=True, slots=True)
class Literal:
    """A number, text, logical or result written in the formula."""

    start: int
    end: int
    value: Value
    kinds: Kinds


@dataclass(frozen=True, slots=True)
class TermUse(Literal):
    """A word the environment knows, written as text: a node, a stage, a column of a table.

    `value` is its id, so that renaming it changes nothing; `label` is what a person reads.
    """

    label: str = ""


@dataclass(frozen=True, slots=True)
class Sign:
    """A plus or minus in front; binds tighter than ^ as in Excel."""

    start: int
    end: int
    sign: str
    operand: Node
    kinds: Kinds = ANYTHING


@dataclass(frozen=True, slots=True)
class Percent:
    """A percent sign behind."""

    start: int
    end: int
    operand: Node
    kinds: Kinds = ANYTHING


@dataclass(frozen=True, slots=True)
class Chain:
    """Operands joined by operators of one precedence, evaluated from the left."""

    start: int
    end: int
    first: Node
    rest: tuple[tuple[str, Node], ...]
    kinds: Kinds = ANYTHING


@dataclass(frozen=True, slots=True)
class Name:
    """A name as typed, not yet resolved; `folded` has half-width letters and digits."""

    start: int
    end: int
    text: str
    folded: str
    form: OneOf["bare", "quoted", "id"]
    kinds: Kinds = ANYTHING


@dataclass(frozen=True, slots=True)
class Call:
    """A call as typed, the function not yet resolved."""

    start: int
    end: int
    name: str
    name_end: int
    args: tuple[Node, ...]
    kinds: Kinds = ANYTHING


@dataclass(frozen=True, slots=True)
class FieldUse:
    """A field of the order."""

    start: int
    end: int
    field: Field
    kinds: Kinds


@dataclass(frozen=True, slots=True)
class ColumnUse:
    """A column of the row at hand, inside a row function over `rows`."""

    start: int
    end: int
    rows: Field
    column: Field
    kinds: Kinds


@dataclass(frozen=True, slots=True)
class Invoke:
    """A call with its function; `over` is the ROWS field a row function walks."""

    start: int
    end: int
    function: Function
    args: tuple[Node, ...]
    kinds: Kinds
    over: Field | None = None

    @property
    def typed_args(self) -> tuple[Node, ...]:
        """The arguments a person wrote, without the fields the function reads besides."""
        return self.args[len(self.function.implicit) :]


Node: TypeAlias = Literal | Sign | Percent | Chain | Name | Call | FieldUse | ColumnUse | Invoke


def is_hidden(node: Node) -> bool:
    """Tell whether a node stands for nothing typed: what a function reads besides."""
    return node.start == node.end and isinstance(node, FieldUse | Literal)


def children_of(node: Node) -> tuple[Node, ...]:
    """Return the direct parts of a node, from left to right."""
    if isinstance(node, Chain):
        return (node.first, *(operand for _, operand in node.rest))
    if isinstance(node, Call | Invoke):
        return node.args
    if isinstance(node, Sign | Percent):
        return (node.operand,)
    return ()


def with_constants(node: Node, values: Sequence[Value]) -> Node:
    """Return the node with its parts replaced by these values, from left to right."""
    parts = [
        Literal(part.start, part.end, value, part.kinds)
        for part, value in zip(children_of(node), values, strict=True)
    ]
    if isinstance(node, Chain):
        rest = tuple(zip((operator for operator, _ in node.rest), parts[1:], strict=True))
        return replace(node, first=parts[0], rest=rest)
    if isinstance(node, Sign | Percent):
        return replace(node, operand=parts[0])
    return replace(node, args=tuple(parts)) if isinstance(node, Invoke) else node


def walk(node: Node, depth: int = 0) -> Iterator[tuple[Node, int]]:
    """Yield every node with its depth, each before its parts."""
    waiting = [(node, depth)]
    while waiting:
        current, level = waiting.pop()
        yield current, level
        waiting.extend((part, level + 1) for part in reversed(children_of(current)))
