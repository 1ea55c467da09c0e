"""Writes the Python source of a checked formula: one expression per formula, no user text in it.

Only our own identifiers and numbers of our own stand in the source; every constant of a formula
comes in through the namespace. A `Frame` is one generated function body; what it has computed on
the way to a place may be used there again. Pieces are written in the order they are evaluated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final

from .code_operators import Operators
from .code_parts import (
    ERROR,
    EVERYTHING,
    EXPECTED,
    LARGEST,
    LAST_MOMENT,
    NOT_KNOWN,
    NOTHING,
    NUMBER,
    NUMERIC,
    ROWS,
    STOPS,
    Mode,
    Piece,
)
from .code_trees import Writer, may_hold_rows
from .tree import Chain, ColumnUse, FieldUse, Invoke, Node, Percent, Sign
from .values import NUMERIC_TYPES, ValueType

_LARGE: Final = 300  # parts beyond which general code is kept short
_WIDE: Final = 6  # steps of a chain in one expression


class Frame(Operators):
    """The body of one generated function."""

    def __init__(
        self,
        writer: Writer,
        mode: Mode,
        counts: Mapping[int, int],
        *,
        rows: Mapping[str, str] | None = None,
        memo: Mapping[int, str] | None = None,
        is_metered: bool = True,
    ) -> None:
        super().__init__(writer, mode)
        self.counts = counts
        self.asks_first = mode is Mode.FAST or sum(counts.values()) <= _LARGE
        self.rows = dict(rows or {})
        self.memo = memo or {}
        self.is_metered = is_metered  # text work is counted: as often as the row plan does it
        self.calls_text = False
        self.scopes: list[dict[int, Piece]] = [{}]
        self.is_top = False  # the fused function, where blank numbers also have a name as 0

    @contextmanager
    def branch(self) -> Iterator[None]:
        """What is computed inside is not at hand afterwards."""
        self.scopes.append({})
        try:
            yield
        finally:
            self.scopes.pop()

    # --- nodes -----------------------------------------------------------------------------------

    def write(self, node: Node) -> Piece:
        """Write one node; the piece has to be evaluated exactly once, in the order of writing."""
        writer = self.writer
        value = writer.constant_of(node)
        if value is not NOTHING:
            return writer.constant(value)
        key = writer.key_of(node)
        for scope in reversed(self.scopes):
            if key in scope:
                return scope[key]
        if key in self.memo:
            return self._remember(node, key)
        if writer.is_tall(node):
            return self._finish(node, self.outline(node, self._return_node))
        return self._finish(node, self.make(node))

    def _finish(self, node: Node, piece: Piece) -> Piece:
        if node.kinds <= NUMERIC_TYPES and piece.may_give(NUMBER) and not piece.is_likely_number:
            piece = replace(piece, is_likely_number=True)
        key = self.writer.key_of(node)
        if (
            self.counts.get(key, 0) > 1
            and not piece.is_name
            and not piece.is_cheap
            and not self.charges(node)
        ):
            first, again = self.twice(piece)
            self.scopes[-1][key] = piece.named(again)
            return replace(piece, code=first, count="")
        return piece

    def _remember(self, node: Node, key: int) -> Piece:
        """Evaluate at the first place an order comes by, in whatever formula."""
        name = self.memo[key]
        with self.branch():
            piece = self.make(node)
        if self.charges(node):
            code = (
                f"(again({name}, s) if {name} is not MISSING else "
                f"({name} := (s[0], {piece.code}, s[0]))[1])"
            )
            return replace(piece, code=code, count="")
        code = f"({name} if {name} is not MISSING else ({name} := {piece.code}))"
        self.scopes[-1][key] = piece.named(name)
        return replace(piece, code=code, count="")

    def make(self, node: Node) -> Piece:
        """Write a node that is not at hand yet."""
        if isinstance(node, FieldUse):
            return self._make_field(node)
        if isinstance(node, ColumnUse):
            return self._make_column(node)
        if isinstance(node, Sign):
            operand = self.write(node.operand)
            return operand if node.sign == "+" else self.negate(operand)
        if isinstance(node, Percent):
            operand = self.write(node.operand)
            number = self.as_number(operand)
            if number is None:
                return Piece(f"take_percent({operand.code})", NUMBER | operand.bits & STOPS | ERROR)
            return Piece(f"({number.code} / 100.0)", NUMBER, number.bound)
        if isinstance(node, Chain):
            if len(node.rest) > _WIDE:
                return self.outline(node, _return_chain)
            piece = self.write(node.first)
            for operator, following in node.rest:
                piece = self.operate(operator, piece, self.write(following))
            return piece
        if isinstance(node, Invoke):
            return self.write_call(node)
        raise AssertionError("a checked tree has no other nodes")

    def _make_field(self, node: FieldUse) -> Piece:
        name = self.writer.field_name(node.field)
        type_ = node.field.type
        if may_hold_rows(type_, self.mode):
            return Piece(f"use({name}, s)", EVERYTHING)
        if self.mode is Mode.FAST and type_ in EXPECTED:
            is_moment = type_ is ValueType.DATETIME
            bound = LAST_MOMENT if is_moment else LARGEST
            bits = EXPECTED[type_]
            return Piece(
                name,
                bits,
                bound,
                is_name=True,
                is_moment=is_moment,
                is_likely_number=bits == NUMERIC,
                number_name=f"n{name[1:]}" if self.is_top and bits == NUMERIC else "",
            )
        return Piece(name, EVERYTHING & ~ROWS, is_name=True)

    def _make_column(self, node: ColumnUse) -> Piece:
        row = self.rows.get(node.rows.id)
        if row is None:
            return Piece("UNKNOWN", NOT_KNOWN, is_name=True)
        name, column = self.new_name(), self.writer.bring(node.column.id)
        read = f"({name} := {row}.get({column}, UNKNOWN))"
        if node.column.type in NUMERIC_TYPES:
            code = (
                f"({name} if type({read}) is float and {name} - {name} == 0.0 else clean({name}))"
            )
        elif node.column.type is ValueType.TEXT:
            code = f"({name} if type({read}) is str else clean({name}))"
        else:
            code = f"clean({row}.get({column}, UNKNOWN))"
        return Piece(code, EVERYTHING)

    def write_call(self, node: Invoke) -> Piece:
        """Write a call; see code_calls."""
        raise NotImplementedError

    # --- functions of their own ------------------------------------------------------------------

    def outline(self, node: Node, body: Callable[[Frame, Any], tuple[list[str], Piece]]) -> Piece:
        """Write a node as a function of its own and return the call."""
        writer = self.writer
        counts = writer.count_keys([node])
        parameters = self.parameters_of(node)
        frame = self.inner(counts)
        lines, piece = body(frame, node)
        self.calls_text = self.calls_text or frame.calls_text
        name = writer.new_name("o")
        joined = ", ".join(parameters)
        writer.functions.append(
            "\n".join(
                [f"def {name}({joined}):", *(f"    {line}" for line in lines)]
                + [f"    return {piece.code}"]
            )
        )
        return replace(
            piece, code=f"{name}({joined})", is_name=False, is_cheap=False, count="", value=NOTHING
        )

    def inner(self, counts: Mapping[int, int], rows: Mapping[str, str] | None = None) -> Frame:
        """Return the frame of a function called from this one."""
        return type(self)(
            self.writer, self.mode, counts, rows=rows or self.rows, is_metered=self.is_metered
        )

    def charges(self, node: Node) -> bool:
        """Whether evaluating the node may reach a limit: as often as the row plan evaluates it."""
        return self.writer.charges(node, self.mode, is_metered=self.is_metered)

    def parameters_of(self, *nodes: Node, bound_row: str = "") -> list[str]:
        """Return the names a function for these nodes needs."""
        writer = self.writer
        reads: frozenset[str] = frozenset().union(*(writer.reads(node) for node in nodes))
        names = ["s"] if any(self.charges(node) for node in nodes) else []
        if "\0now" in reads:
            names.append("now")
        for id, row in self.rows.items():
            if f"\0row {id}" in reads and id != bound_row:
                names.append(row)
        names += [writer.field_name(f) for id, f in writer.fields.items() if id in reads]
        return list(dict.fromkeys(names))

    def _return_node(self, frame: Frame, node: Node) -> tuple[list[str], Piece]:
        return [], frame.make(node)


def _return_chain(frame: Frame, node: Chain) -> tuple[list[str], Piece]:
    """Write a long chain as one statement per step."""
    lines: list[str] = []
    piece = frame.write(node.first)
    for operator, operand in node.rest:
        if not piece.is_name:
            name = frame.new_name()
            lines.append(f"{name} = {piece.code}")
            piece = piece.named(name)
        piece = frame.operate(operator, piece, frame.write(operand))
    return lines, piece
