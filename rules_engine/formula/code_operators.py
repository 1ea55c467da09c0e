"""Writes coercions, arithmetic and comparisons: in place where kinds prove it right, else as a call.

Numbers are compared in 15 digits and sums lose binary dust, as the library does it: the code asks
cheaply whether two numbers are near enough for that to matter, and calls the library if so.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from .code_parts import (
    BLANK,
    ERROR,
    LARGEST_PROVEN,
    LOGICAL,
    NUMBER,
    NUMERIC,
    ROWS,
    STOPS,
    TEXT,
    WORDS,
    Mode,
    Piece,
)
from .code_trees import Writer
from .limits import MAX_TEXT
from .operators import BINARY, COMPARISONS, to_number, to_text

_NEAR: Final = 1e-9  # safely wider than the 15 digits in which numbers are compared
_FLIPPED: Final = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "=": "=", "<>": "<>"}
_OPERATOR_NAMES: Final = {operator: run.__name__ for operator, run in BINARY.items()}


class Operators:
    """The part of a function body that needs no tree."""

    def __init__(self, writer: Writer, mode: Mode) -> None:
        self.writer = writer
        self.mode = mode
        self.asks_first = True  # asking for a type costs less time than calling, but more code

    # --- names -----------------------------------------------------------------------------------

    def new_name(self) -> str:
        """Return a fresh local name."""
        return self.writer.new_name("t")

    def twice(self, piece: Piece) -> tuple[str, str]:
        """Return the code that evaluates a piece and the code that names it afterwards."""
        if piece.is_name:
            return piece.code, piece.code
        name = self.new_name()
        return f"({name} := {piece.code})", name

    # --- coercions -------------------------------------------------------------------------------

    def as_number(self, piece: Piece) -> Piece | None:
        """Return the piece as a number where that needs no library, as operators coerce."""
        if piece.is_constant:
            number = to_number(piece.value)  # type: ignore[arg-type] # a constant is a value
            return self.writer.constant(number) if isinstance(number, float) else None
        if piece.gives_only(NUMBER):
            return piece
        if piece.gives_only(NUMERIC):
            if piece.number_name:
                return replace(piece, code=piece.number_name, bits=NUMBER)
            first, again = self.twice(piece)
            code = f"(0.0 if {first} is None else {again})"
            return replace(piece, code=code, bits=NUMBER, is_name=False, count="")
        if piece.gives_only(LOGICAL | BLANK):
            return Piece(f"(1.0 if {piece.code} else 0.0)", NUMBER, 1.0)
        return None

    def as_text(self, piece: Piece) -> Piece | None:
        """Return the piece as text where it cannot fail."""
        if piece.is_constant:
            text = to_text(piece.value)  # type: ignore[arg-type] # a constant is a value
            return self.writer.constant(text) if isinstance(text, str) else None
        if piece.gives_only(TEXT):
            return piece
        if piece.gives_only(WORDS):
            return Piece(f"({piece.code} or '')", TEXT, is_cheap=True)
        if piece.gives_only(NUMBER):
            return Piece(f"number_to_text({piece.code})", TEXT)
        return None

    def as_logical(self, piece: Piece) -> Piece | None:
        """Return the piece as a logical where it cannot fail."""
        if piece.gives_only(LOGICAL):
            return piece
        if piece.gives_only(LOGICAL | NUMERIC):
            return Piece(f"(not not {piece.code})", LOGICAL)
        return None

    # --- operators -------------------------------------------------------------------------------

    def negate(self, piece: Piece) -> Piece:
        """Write a minus in front."""
        if piece.gives_only(NUMBER | STOPS) and piece.may_give(STOPS) and piece.may_give(NUMBER):
            return self.lift(piece, lambda number: self.negate(number))
        if piece.gives_only(NUMERIC):
            first, again = self.twice(piece)
            return Piece(f"(-{again} if {first} else 0.0)", NUMBER, piece.bound)
        return Piece(f"negate({piece.code})", NUMBER | ERROR | piece.bits & STOPS)

    def lift(self, piece: Piece, write: Callable[[Piece], Piece]) -> Piece:
        """Write something over a number that may also be an error or unknown, which passes on."""
        first, again = self.twice(piece)
        inner = write(replace(piece.named(again), bits=NUMBER))
        code = f"({inner.code} if type({first}) is float else {again})"
        return Piece(code, inner.bits | piece.bits & STOPS, inner.bound, is_likely_number=True)

    def operate(self, operator: str, left: Piece, right: Piece) -> Piece:
        """Write one operator over two pieces."""
        if operator in COMPARISONS:
            return self.compare(operator, left, right)
        if operator == "&":
            return self._join(left, right)
        name = _OPERATOR_NAMES[operator]
        first, second = self.as_number(left), self.as_number(right)
        if first is not None and second is not None:
            return self._calculate(operator, first, second)
        stops = (left.bits | right.bits) & STOPS | ERROR
        if self._is_worth_a_guard(left, right):
            guard, a, b = self._guard(left, right)
            quick = self._calculate(operator, a, b)
            code = f"({quick.code} if {guard} else {name}({a.code}, {b.code}))"
            return Piece(code, NUMBER | stops, is_likely_number=True)
        return Piece(f"{name}({left.code}, {right.code})", NUMBER | stops)

    def _is_worth_a_guard(self, left: Piece, right: Piece) -> bool:
        """Whether both are most likely numbers, so that asking costs less than calling."""
        return self.asks_first and all(
            piece.gives_only(NUMBER) or piece.is_likely_number for piece in (left, right)
        )

    def _guard(self, left: Piece, right: Piece) -> tuple[str, Piece, Piece]:
        """Return a test that both are numbers and their names after it."""
        tests, names = [], []
        for piece in (left, right):
            first, again = self.twice(piece)
            if not piece.is_name or not piece.gives_only(NUMBER):
                tests.append(f"(type({first}) is float)")
            bound = piece.bound if piece.gives_only(NUMBER) else math.inf
            names.append(replace(piece.named(again), bits=NUMBER, bound=bound))
        if len(tests) == 2 and right.is_name:
            return " and ".join(tests), names[0], names[1]
        return " & ".join(tests), names[0], names[1]

    def _calculate(self, operator: str, left: Piece, right: Piece) -> Piece:
        """Write arithmetic on two numbers."""
        name = _OPERATOR_NAMES[operator]
        if operator in "+-":
            bound = left.bound + right.bound
            total = self.new_name()
            a_first, a = self.twice(left)
            b_first, b = self.twice(right)
            limit = "" if bound < LARGEST_PROVEN else "1e300 > "
            dust = f"{a} * {a} * 1e-20"
            if isinstance(left.value, float):
                dust = self.writer.number(left.value * left.value * 1e-20)
            code = (
                f"({total} if {limit}({total} := {a_first} {operator} {b_first}) * {total} > {dust} "
                f"else 0.0 if {total} == 0.0 else {name}({a}, {b}))"
            )
            return self._number(code, bound)
        if operator == "*":
            bound = left.bound * right.bound
            if bound < LARGEST_PROVEN:
                return self._number(f"({left.code} * {right.code})", bound)
            return self._checked(name, left, right, "*")
        if operator == "/":
            return self._divide(left, right)
        return Piece(f"{name}({left.code}, {right.code})", NUMBER | ERROR)

    def _number(self, code: str, bound: float) -> Piece:
        is_proven = bound < LARGEST_PROVEN
        return Piece(
            code,
            NUMBER if is_proven else NUMBER | ERROR,
            bound if is_proven else math.inf,
            is_likely_number=True,
        )

    def _checked(self, name: str, left: Piece, right: Piece, sign: str) -> Piece:
        a_first, a = self.twice(left)
        b_first, b = self.twice(right)
        result = self.new_name()
        code = (
            f"({result} if -1e300 < ({result} := {a_first} {sign} {b_first}) < 1e300 "
            f"else {name}({a}, {b}))"
        )
        return self._number(code, math.inf)

    def _divide(self, left: Piece, right: Piece) -> Piece:
        if isinstance(right.value, float):
            if right.value == 0.0:
                return Piece(f"divide({left.code}, {right.code})", ERROR)
            size = abs(right.value)
            bound = (
                left.bound / size if size >= 1.0 or left.bound < LARGEST_PROVEN * size else 1e301
            )
            if bound < LARGEST_PROVEN:
                return self._number(f"({left.code} / {right.code})", bound)
            return self._checked("divide", left, right, "/")
        a_first, a = self.twice(left)
        b_first, b = self.twice(right)
        result = self.new_name()
        # 0.0 * a keeps the order of evaluation: a is finite, so it is 0
        is_zero = f"{b_first} == 0.0" if left.is_name else f"{a_first} * 0.0 == {b_first}"
        code = (
            f"(DIV0 if {is_zero} else {result} if -1e300 < ({result} := {a} / {b}) < 1e300 "
            f"else divide({a}, {b}))"
        )
        return self._number(code, math.inf)

    def _join(self, left: Piece, right: Piece) -> Piece:
        first, second = self.as_text(left), self.as_text(right)
        if first is None or second is None:
            stops = (left.bits | right.bits) & STOPS | ERROR
            return Piece(f"concatenate({left.code}, {right.code})", TEXT | stops)
        a_first, a = self.twice(first)
        b_first, b = self.twice(second)
        code = f"({a} + {b} if len({a_first}) + len({b_first}) <= {MAX_TEXT} else VALUE)"
        return Piece(code, TEXT | ERROR)

    # --- comparison ------------------------------------------------------------------------------

    def compare(self, operator: str, left: Piece, right: Piece) -> Piece:
        """Write a comparison."""
        if left.is_constant and left.gives_only(NUMERIC | TEXT | LOGICAL):
            if right.is_constant:
                return self.writer.constant(BINARY[operator](left.value, right.value))  # type: ignore[arg-type] # constants are values
            return self.compare(_FLIPPED[operator], right, left)
        code = self._compare_quickly(operator, left, right)
        if code:
            return Piece(code, LOGICAL)
        name = _OPERATOR_NAMES[operator]
        bits = LOGICAL | (left.bits | right.bits) & STOPS
        is_text = isinstance(right.value, str) and left.may_give(TEXT)
        if operator in ("=", "<>") and is_text and self.asks_first:
            first, again = self.twice(left)
            quick = self._equals_text(replace(left.named(again), bits=TEXT), str(right.value))
            quick = quick if operator == "=" else f"(not {quick})"
            code = f"({quick} if type({first}) is str else {name}({again}, {right.code}))"
            return Piece(code, bits | (ERROR if left.may_give(ROWS) else 0))
        if (left.bits | right.bits) & ~(NUMERIC | TEXT | LOGICAL):
            bits |= ERROR
        if self._is_worth_a_guard(left, right):
            guard, a, b = self._guard(left, right)
            quick = self._compare_numbers(operator, a, b)
            return Piece(f"({quick} if {guard} else {name}({a.code}, {b.code}))", bits)
        return Piece(f"{name}({left.code}, {right.code})", bits)

    def _compare_quickly(self, operator: str, left: Piece, right: Piece) -> str:
        """Return code for kinds that need no library, or nothing."""
        if left.gives_only(NUMERIC) and right.gives_only(NUMERIC):
            a, b = self.as_number(left), self.as_number(right)
            return self._compare_numbers(operator, a, b) if a and b else ""
        if operator not in ("=", "<>"):
            return ""
        code = ""
        if left.gives_only(WORDS) and isinstance(right.value, str):
            code = self._equals_text(left, right.value)
        elif left.gives_only(NUMERIC) and right.value == "" and left.is_name:
            code = f"({left.code} is None)"
        elif left.gives_only(LOGICAL | BLANK) and right.value is True:
            code = f"({left.code} is True)"
        elif left.gives_only(LOGICAL | BLANK) and right.value is False:
            code = f"({left.code} is not True)"
        return code if operator == "=" or not code else f"(not {code})"

    def _equals_text(self, piece: Piece, wanted: str) -> str:
        if not wanted:
            return f"(not {piece.code})"
        name = self.writer.constant(wanted).code
        if all(_has_no_case(character) for character in wanted):
            return f"({piece.code} == {name})"
        text = self.as_text(piece)
        lower = self.writer.constant(wanted.lower()).code
        assert text is not None  # noqa: S101 - the caller has asked for words
        return f"({text.code}.lower() == {lower})"

    def _compare_numbers(self, operator: str, left: Piece, right: Piece) -> str:
        limit = right.value
        if isinstance(limit, float):
            return self._compare_with_limit(operator, left, limit)
        name = _OPERATOR_NAMES[operator]
        a_first, a = self.twice(left)
        b_first, b = self.twice(right)
        gap = self.new_name()
        near = f"({gap} := {a} - {b}) * {gap} <= {a} * {a} * 1e-20"
        far = f"({gap} := {a} - {b}) * {gap} > {a} * {a} * 1e-20"
        if operator in ("<", ">"):
            return f"({a_first} {operator} {b_first} and ({far} or {name}({a}, {b})))"
        if operator in ("<=", ">="):
            return f"({a_first} {operator} {b_first} or {near} and {name}({a}, {b}))"
        same = f"({a_first} == {b_first} or {near} and equal({a}, {b}))"
        return same if operator == "=" else f"(not {same})"

    def _compare_with_limit(self, operator: str, left: Piece, limit: float) -> str:
        sign = {"=": "==", "<>": "!="}.get(operator, operator)
        if left.count and limit.is_integer() and abs(limit) < 1e15:
            return f"({left.count} {sign} {self.writer.bring(int(limit))})"
        if limit == 0.0:
            return f"({left.code} {sign} 0.0)"
        size = abs(limit)
        if not 1e-290 < size < 1e290:
            name = _OPERATOR_NAMES[operator]
            return f"{name}({left.code}, {self.writer.number(limit)})"
        first, again = self.twice(left)
        exact = self.writer.number(limit)
        low = self.writer.number(limit - size * _NEAR)
        high = self.writer.number(limit + size * _NEAR)
        if operator == ">":
            return f"({first} > {high} or {again} > {exact} and greater({again}, {exact}))"
        if operator == "<":
            return f"({first} < {low} or {again} < {exact} and less({again}, {exact}))"
        if operator == ">=":
            return f"({first} >= {exact} or {again} >= {low} and at_least({again}, {exact}))"
        if operator == "<=":
            return f"({first} <= {exact} or {again} <= {high} and at_most({again}, {exact}))"
        same = f"({first} == {exact} or {low} < {again} < {high} and equal({again}, {exact}))"
        return same if operator == "=" else f"(not {same})"


def _has_no_case(character: str) -> bool:
    """Whether no other character is this one in another case."""
    return "0" <= character <= "9" or "\u4e00" <= character <= "\u9fff"
