"""Writes calls: branches taken lazily, aggregates, walks over rows, and the plain functions.

A function needs nothing here to be compiled: it is called as the row plan calls it. What stands in
the tables below is written out in place, or called without its coercions, where the kinds of its
arguments prove that this gives the same value.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from .code_inline import INLINE
from .code_parts import (
    BLANK,
    ERROR,
    EVERYTHING,
    LARGEST_PROVEN,
    LOGICAL,
    NOT_KNOWN,
    NOTHING,
    NUMBER,
    NUMERIC,
    ROWS,
    STOPS,
    TEXT,
    WORDS,
    Mode,
    Piece,
)
from .code_trees import reads_text
from .code_writer import Frame
from .functions.registry import Sees, Style
from .row_plan import aggregate_run, is_row_call, row_run, weigh_row
from .tree import ColumnUse, FieldUse, Invoke, Literal, Node
from .values import ErrorValue, Value

_SHORT: Final = 300  # characters of code that may stand in two places


class FormulaFrame(Frame):
    """A function body that can hold calls."""

    def write_call(self, node: Invoke) -> Piece:
        """Write a call of any style."""
        function = node.function
        if is_row_call(node):
            return self._walk_rows(node)
        if function.style is Style.LAZY:
            write = _LAZY.get(function.en)
            return write(self, node.args) if write else self._call_lazily(node)
        if function.style is Style.AGGREGATE:
            write_all = _AGGREGATES.get(function.en)
            return write_all(self, node) if write_all else self.aggregate(node)
        return self._call_plainly(node)

    # --- plain functions -------------------------------------------------------------------------

    def _call_plainly(self, node: Invoke) -> Piece:
        function = node.function
        if function.en == "ISNUMBER" and not self.is_metered:
            found = self._find_in_text(node.args[0])
            if found is not None:
                return found
        parts = [self.write(part) for part in node.args]
        if function.uses_now:
            bits = NUMBER if self.mode is Mode.FAST else EVERYTHING & ~ROWS
            parts.insert(0, Piece("now", bits, 1e75, is_name=True))
        is_text = reads_text(function)
        inline = INLINE.get(function.en)
        if inline is not None and not (self.is_metered and is_text):
            piece = inline(self, parts)
            if piece is not None:
                return piece
        self.calls_text = self.calls_text or is_text
        run: Callable[..., Value] = function.run
        if (
            is_text
            or function.sees is Sees.VALUES
            or (function.sees is Sees.ERRORS and any(part.may_give(NOT_KNOWN) for part in parts))
        ):
            run = function.bind(len(parts))
        joined = ", ".join(part.code for part in parts)
        return Piece(f"{self.writer.bring(run)}({joined})", EVERYTHING)

    def _find_in_text(self, node: Node) -> Piece | None:
        """ISNUMBER(FIND("x", text)) asks whether the text has it."""
        if not isinstance(node, Invoke) or node.function.en != "FIND" or len(node.args) != 2:
            return None
        fragment, inside = node.args
        if not isinstance(fragment, Literal) or not isinstance(fragment.value, str):
            return None
        if not fragment.value or not isinstance(inside, FieldUse) or self.mode is not Mode.FAST:
            return None
        text = self.write(inside)
        if not text.gives_only(WORDS):
            return None
        name = self.writer.constant(fragment.value).code
        first, again = self.twice(text)
        if text.gives_only(TEXT):
            return Piece(f"({name} in {first})", LOGICAL)
        return Piece(f"({first} is not None and {name} in {again})", LOGICAL)

    # --- lazy functions --------------------------------------------------------------------------

    def condition(self, piece: Piece) -> tuple[str, str, int]:
        """Return the test of a condition, the name of what stops it when something may, its kinds."""
        if piece.gives_only(LOGICAL | NUMERIC):
            return piece.code, "", 0
        source, bits = piece.code, piece.bits & STOPS
        if not piece.gives_only(LOGICAL | STOPS):
            source, bits = f"to_logical({piece.code})", bits | ERROR
        elif piece.is_name:
            return f"{piece.code} is True", piece.code, bits
        name = self.new_name()
        return f"({name} := {source}) is True", name, bits

    def _call_lazily(self, node: Invoke) -> Piece:
        """Call a lazy function with its parts as functions."""
        run = self.writer.bring(node.function.run)

        def body(frame: Frame, inner: Invoke) -> tuple[list[str], Piece]:
            parts = []
            for part in inner.args:
                with frame.branch():
                    parts.append(f"lambda: {frame.write(part).code}")
            return [], Piece(
                f"{run}(force, ({''.join(f'({part}), ' for part in parts)}))", EVERYTHING
            )

        return self.outline(node, body)

    # --- aggregates ------------------------------------------------------------------------------

    def aggregate(self, node: Invoke, parts: Sequence[Piece] | None = None) -> Piece:
        """Call an aggregate of the library."""
        if parts is None:
            parts = [self.write(part) for part in node.args]
        run = self.writer.bring(aggregate_run(node))
        marks = self.writer.bring(references_of(node))
        joined = "".join(f"{part.code}, " for part in parts)
        return Piece(f"{run}(({joined}), {marks})", EVERYTHING & ~ROWS)

    # --- rows ------------------------------------------------------------------------------------

    def _walk_rows(self, node: Invoke) -> Piece:
        """Write a walk over rows as a function with one inner function per part."""
        source = self.write(node.args[0])
        writer = self.writer
        rows_id = node.over.id if node.over is not None else "\0list"
        row = writer.new_name("r")
        own = self.parameters_of(*node.args[1:], bound_row=rows_id) if node.over else []
        parameters = ["source", *dict.fromkeys(["s", *own])]
        name = writer.new_name("w")
        lines = [f"def {name}({', '.join(parameters)}):"]
        taken = "item" if node.over is None else "item if type(item) is dict else as_row(item)"
        walk = _WALK.format(row=row, weight=weigh_row(node), taken=taken)
        lines += [f"    {line}" for line in walk.split("\n")]
        names = ["None", "None"]
        if node.over is None:
            lines += ["    def part():", f"        return clean({row})"]
            names[0] = "part"
        else:
            for index, part in enumerate(node.args[1:3]):
                frame = self.inner(writer.count_keys([part]), {**self.rows, rows_id: row})
                names[index] = f"part{index}"
                lines += [f"    def part{index}():", f"        return {frame.write(part).code}"]
                self.calls_text = self.calls_text or frame.calls_text
        run = writer.bring(row_run(node))
        lines.append(f"    return {run}(each(), {', '.join(names)})")
        writer.functions.append("\n".join(lines))
        passed = ", ".join([source.code, *parameters[1:]])
        return Piece(f"{name}({passed})", EVERYTHING)


_WALK: Final = """\
if type(source) is not tuple:
    if type(source) in STOPPING:
        return source
    source = () if source is None else (source,)
{row} = None
def each():
    nonlocal {row}
    for item in source:
        s[0] -= {weight}
        if s[0] < 0:
            raise LIMIT_REACHED
        {row} = {taken}
        yield"""


def references_of(node: Invoke) -> tuple[bool, ...]:
    """Mark the arguments that are references, as Excel calls fields."""
    return tuple(isinstance(part, FieldUse | ColumnUse) for part in node.args)


# --- lazy functions -----------------------------------------------------------------------------


def _write_if(frame: FormulaFrame, args: Sequence[Node]) -> Piece:
    condition = frame.write(args[0])
    if condition.is_constant:
        if condition.value is True:
            return frame.write(args[1])
        if condition.value is False:
            return frame.write(args[2]) if len(args) > 2 else frame.writer.constant(False)
    test, stop, bits = frame.condition(condition)
    with frame.branch():
        yes = frame.write(args[1])
    with frame.branch():
        no = frame.write(args[2]) if len(args) > 2 else frame.writer.constant(False)
    stopped = f"{stop} if {stop} is not False else " if stop else ""
    return _either(f"({yes.code} if {test} else {stopped}{no.code})", (yes, no), bits)


def _either(code: str, pieces: Sequence[Piece], bits: int = 0) -> Piece:
    """One of several pieces, or what stopped the choice."""
    for piece in pieces:
        bits |= piece.bits
    numbers = [piece for piece in pieces if piece.may_give(NUMBER)]
    return Piece(
        code,
        bits,
        max((piece.bound for piece in numbers), default=math.inf),
        is_moment=bool(numbers) and all(piece.is_moment for piece in numbers),
    )


def _write_ifs(frame: FormulaFrame, args: Sequence[Node]) -> Piece:
    pieces: list[Piece] = []
    written: list[str] = []
    bits = 0
    depth = len(frame.scopes)
    last = ""
    for index in range(0, len(args), 2):
        condition = frame.write(args[index])
        if condition.value is True:
            piece = frame.write(args[index + 1])
            pieces.append(piece)
            last = piece.code
            break
        test, stop, stops = frame.condition(condition)
        with frame.branch():
            piece = frame.write(args[index + 1])
        pieces.append(piece)
        bits |= stops
        written.append(f"{piece.code} if {test} else ")
        if stop:
            written.append(f"{stop} if {stop} is not False else ")
        frame.scopes.append({})  # what follows is reached only when this did not hold
    del frame.scopes[depth:]
    if not last:
        last, bits = "NA", bits | ERROR
    return _either(f"({''.join(written)}{last})", pieces, bits)


def _write_switch(frame: FormulaFrame, args: Sequence[Node]) -> Piece:
    subject = frame.write(args[0])
    has_default = len(args) % 2 == 0
    quick = _switch_by_text(frame, subject, args)
    if quick is not None:
        return quick
    first, name = frame.twice(subject)
    stops = subject.bits & STOPS
    # The subject is evaluated first, in a test that never holds where nothing can stop it.
    start = f"{name} if type({first}) in STOPPING else "
    if not stops and subject.is_name:
        start = ""
    known = replace(subject.named(name), bits=subject.bits & ~STOPS)
    depth = len(frame.scopes)
    pieces: list[Piece] = []
    written: list[str] = []
    bits = stops
    for index in range(1, len(args) - 1, 2):
        outcome = frame.compare("=", known, frame.write(args[index]))
        if outcome.gives_only(LOGICAL):
            test, stop = outcome.code, ""
        else:
            stop = frame.new_name()
            test = f"({stop} := {outcome.code}) is True"
            bits |= outcome.bits & STOPS
        with frame.branch():
            piece = frame.write(args[index + 1])
        pieces.append(piece)
        written.append(f"{piece.code} if {test} else ")
        if stop:
            written.append(f"{stop} if {stop} is not False else ")
        frame.scopes.append({})
    last = frame.write(args[-1]) if has_default else Piece("NA", ERROR)
    del frame.scopes[depth:]
    return _either(f"({start}{''.join(written)}{last.code})", (*pieces, last), bits)


def _switch_by_text(frame: FormulaFrame, subject: Piece, args: Sequence[Node]) -> Piece | None:
    """Options and results that are all written out are looked up."""
    if not subject.gives_only(WORDS):
        return None
    values = [frame.writer.constant_of(part) for part in args[1:]]
    options, results = values[: len(values) & ~1 : 2], values[1::2]
    if not all(isinstance(option, str) for option in options):
        return None
    pieces = [frame.write(part) for part in args[1:] if _is_constant(frame, part)]
    if len(pieces) != len(values):
        return None
    table: dict[str, object] = {}
    for option, result in zip(options, results, strict=True):
        if isinstance(option, str):
            table.setdefault(option.lower(), result)
    default = pieces[-1] if len(values) % 2 else frame.writer.constant(ErrorValue.NA)
    text = frame.as_text(subject)
    if text is None:
        return None
    chosen = [*pieces[1::2], default]
    looked_up = frame.writer.bring(table)
    return _either(f"{looked_up}.get({text.code}.lower(), {default.code})", chosen)


def _is_constant(frame: FormulaFrame, part: Node) -> bool:
    return frame.writer.constant_of(part) is not NOTHING


def _write_choose(frame: FormulaFrame, args: Sequence[Node]) -> Piece:
    index = frame.write(args[0])
    number = frame.as_number(index)
    bits = ERROR
    if number is not None:
        first, place = frame.twice(number)
        start = f"VALUE if not 1.0 <= {first} < {float(len(args))} else "
    else:
        place = frame.new_name()
        bits |= index.bits & STOPS
        start = (
            f"{place} if type({place} := to_number({index.code})) is not float else "
            f"VALUE if not 1.0 <= {place} < {float(len(args))} else "
        )
    pieces: list[Piece] = []
    written: list[str] = []
    for option in range(1, len(args)):
        with frame.branch():
            piece = frame.write(args[option])
        pieces.append(piece)
        is_last = option == len(args) - 1
        written.append(piece.code if is_last else f"{piece.code} if {place} < {option + 1}.0 else ")
    return _either(f"({start}{''.join(written)})", pieces, bits)


def _write_iferror(frame: FormulaFrame, args: Sequence[Node]) -> Piece:
    value = frame.write(args[0])
    if not value.may_give(ERROR):
        return value
    first, name = frame.twice(value)
    with frame.branch():
        other = frame.write(args[1])
    code = f"({other.code} if type({first}) is ErrorValue else {name})"
    kept = replace(value, bits=value.bits & ~ERROR)
    return _either(code, (kept, other))


def _write_ifna(frame: FormulaFrame, args: Sequence[Node]) -> Piece:
    value = frame.write(args[0])
    if not value.may_give(ERROR):
        return value
    first, name = frame.twice(value)
    with frame.branch():
        other = frame.write(args[1])
    return _either(f"({other.code} if ({first}) is NA else {name})", (value, other))


_LAZY: Final[dict[str, Callable[[FormulaFrame, Sequence[Node]], Piece]]] = {
    "IF": _write_if,
    "IFS": _write_ifs,
    "SWITCH": _write_switch,
    "CHOOSE": _write_choose,
    "IFERROR": _write_iferror,
    "IFNA": _write_ifna,
}


# --- aggregates ---------------------------------------------------------------------------------


def _write_and(frame: FormulaFrame, node: Invoke) -> Piece:
    return _write_junction(frame, node, is_and=True)


def _write_or(frame: FormulaFrame, node: Invoke) -> Piece:
    return _write_junction(frame, node, is_and=False)


def _write_junction(frame: FormulaFrame, node: Invoke, *, is_and: bool) -> Piece:
    """AND and OR: as in Excel no operand is skipped when it may be an error or spends steps."""
    order = sorted(range(len(node.args)), key=lambda i: _may_be_skipped(frame, node.args[i]))
    parts: dict[int, Piece] = {}
    depth = len(frame.scopes)
    for index in order:
        parts[index] = frame.write(node.args[index])
        if _may_be_skipped(frame, node.args[index]):
            frame.scopes.append({})
    del frame.scopes[depth:]
    terms = {i: _term(parts[i], node.args[i], is_and=is_and) for i in order}
    plain = [i for i in order if terms[i]]
    if any(
        parts[i].gives_only(LOGICAL | NUMERIC) and _is_certain(parts[i], node.args[i])
        for i in plain
    ):
        eager = [terms[i] for i in plain if not _may_be_skipped(frame, node.args[i])]
        lazy = [terms[i] for i in plain if _may_be_skipped(frame, node.args[i])]
        word = " and " if is_and else " or "
        sign = " & " if is_and else " | "
        joined = word.join(([f"({sign.join(eager)})"] if eager else []) + lazy)
        if len(plain) == len(order):
            return Piece(f"({joined})", LOGICAL)
    # The library decides; operands are evaluated in the order they were written above.
    names: dict[int, str] = {}
    firsts = []
    for index in order:
        first, names[index] = frame.twice(parts[index])
        firsts.append(first)
    run = frame.writer.bring(aggregate_run(node))
    marks = frame.writer.bring(references_of(node))
    if order == sorted(order):
        return Piece(f"{run}(({''.join(f'{f}, ' for f in firsts)}), {marks})", LOGICAL | STOPS)
    values = "".join(f"{names[i]}, " for i in range(len(order)))
    return Piece(
        f"{run}(({''.join(f'{f}, ' for f in firsts)}) and ({values}), {marks})", LOGICAL | STOPS
    )


def _may_be_skipped(frame: FormulaFrame, node: Node) -> bool:
    return not frame.charges(node)


def _is_certain(piece: Piece, node: Node) -> bool:
    """Whether the operand always takes part: a field that is blank does not."""
    return not (piece.may_give(BLANK) and isinstance(node, FieldUse | ColumnUse))


def _term(piece: Piece, node: Node, *, is_and: bool) -> str:
    """Return an operand as Python's True or False, nothing when it may be something else."""
    if piece.gives_only(LOGICAL):
        return piece.code
    is_reference = isinstance(node, FieldUse | ColumnUse)
    if piece.gives_only(LOGICAL | BLANK) and is_reference:
        return f"({piece.code} is not False)" if is_and else f"({piece.code} is True)"
    if piece.gives_only(NUMERIC) and not (is_reference and piece.may_give(BLANK)):
        return f"(not not {piece.code})"
    return ""


def _write_sum(frame: FormulaFrame, node: Invoke) -> Piece:
    """A sum of numbers that cannot overflow; a blank adds nothing, as reference or not."""
    parts = [frame.write(part) for part in node.args]
    numbers = _numbers(frame, parts)
    bound = sum(part.bound for part in parts)
    if numbers is None or bound >= LARGEST_PROVEN or node.function.run is not aggregate_run(node):
        return frame.aggregate(node, parts)
    return Piece(f"fsum(({''.join(f'{number.code}, ' for number in numbers)}))", NUMBER, bound)


def _numbers(frame: FormulaFrame, parts: Sequence[Piece]) -> list[Piece] | None:
    """Return the parts as numbers when all are numbers or blank."""
    if not all(part.gives_only(NUMERIC) for part in parts):
        return None
    return [number for part in parts if (number := frame.as_number(part)) is not None]


def _write_smallest(frame: FormulaFrame, node: Invoke) -> Piece:
    return _write_extreme(frame, node, "<")


def _write_largest(frame: FormulaFrame, node: Invoke) -> Piece:
    return _write_extreme(frame, node, ">")


def _write_extreme(frame: FormulaFrame, node: Invoke, sign: str) -> Piece:
    """The smaller or larger of two numbers; of equal ones the first, as Python's min and max."""
    parts = [frame.write(part) for part in node.args]
    if len(parts) != 2 or not all(part.gives_only(NUMBER) for part in parts):
        return frame.aggregate(node, parts)
    a_first, a = frame.twice(parts[0])
    b_first, b = frame.twice(parts[1])
    # The first operand is evaluated first: it stands on the left.
    flipped = ">" if sign == "<" else "<"
    return Piece(
        f"({b} if {a_first} {flipped} {b_first} else {a})",
        NUMBER,
        max(part.bound for part in parts),
        is_moment=all(part.is_moment for part in parts),
    )


_AGGREGATES: Final[dict[str, Callable[[FormulaFrame, Invoke], Piece]]] = {
    "AND": _write_and,
    "OR": _write_or,
    "SUM": _write_sum,
    "MIN": _write_smallest,
    "MAX": _write_largest,
}
