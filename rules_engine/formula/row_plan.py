"""The row plan: the checked tree as a Python ast of our own making, run by simpleeval.

User text never meets Python's parser: the ast is built here, node by node, from the typed tree.
The SimpleEval subclass knows only the node types emitted below; operators and functions are ours;
there are no attributes, no subscripts, no names but field ids. This plan is the reference.

A plan may be used by several threads: each evaluation borrows an evaluator of its own.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from simpleeval import FeatureNotAvailable, SimpleEval

from .errors import FormulaErrors
from .explain import TracePart
from .functions.aggregates import add_up_money, collect_numbers
from .functions.registry import Function, Style
from .limits import MAX_STEPS, MAX_TRACED_ROWS, StepLimitReached, start_text_work
from .operators import BINARY, leave, negate, take_percent
from .tree import (
    Chain,
    ColumnUse,
    FieldUse,
    Invoke,
    Literal,
    Node,
    Percent,
    Sign,
    is_hidden,
    walk,
)
from .values import STOPPING, UNKNOWN, ErrorValue, Value, ValueType, clean

if TYPE_CHECKING:
    from .check import Checked


class FieldName(ast.Name):
    """A field of the order, read from the values."""


class ColumnName(ast.Name):
    """A column of the row at hand."""


class Now(ast.Name):
    """The moment of evaluation."""


class Operation(ast.BinOp):
    """Two operands and one of our operators."""


class Run(ast.BinOp):
    """A first operand and steps (operator, operand), from the left: wide, not deep."""


class OneCall(ast.Call):
    """A call with one evaluated argument."""


class TwoCall(ast.Call):
    """A call with two evaluated arguments."""


class EagerCall(ast.Call):
    """A call with evaluated arguments."""


class AggregateCall(ast.Call):
    """A call with evaluated arguments and marks on the field references."""


class LazyCall(ast.Call):
    """A call that evaluates its parts itself."""


class RowCall(ast.Call):
    """A call that evaluates its parts once per row."""


class Evaluator(SimpleEval):  # type: ignore[misc] # simpleeval has no types
    """simpleeval with its node table cut to what `Builder` emits."""

    def __init__(self) -> None:
        super().__init__(operators={}, functions={}, names={}, allowed_attrs={})
        self.values: Mapping[str, object] = {}
        self.now = 0.0
        self.steps_left = MAX_STEPS
        self.rows: dict[str, object] = {}
        self.nodes: dict[type, Callable[[Any], Value]] = {
            ast.Constant: self._eval_constant,
            FieldName: self._eval_field,
            ColumnName: self._eval_column,
            Now: self._eval_now,
            Operation: self._eval_operation,
            Run: self._eval_run,
            ast.UnaryOp: self._eval_unaryop,
            OneCall: self._eval_one_call,
            TwoCall: self._eval_two_call,
            EagerCall: self._eval_eager_call,
            AggregateCall: self._eval_aggregate_call,
            LazyCall: self._eval_lazy_call,
            RowCall: self._eval_row_call,
        }
        self.evaluate_part: Callable[[ast.expr], Value] = self._eval

    @staticmethod
    def parse(expr: str) -> ast.AST:
        """Refuse: text never becomes a tree here."""
        raise FeatureNotAvailable("this evaluator runs trees, never text")

    def run(self, tree: ast.expr, values: Mapping[str, object], now: float) -> Value:
        """Evaluate one tree over one order's values; never raises for a tree of `Builder`."""
        start_text_work()
        return self.go_on(tree, values, now)

    def go_on(self, tree: ast.expr, values: Mapping[str, object], now: float) -> Value:
        """Evaluate as part of something larger, which has counted text work already."""
        self.values = values
        self.now = now
        self.steps_left = MAX_STEPS
        try:
            return self.nodes[type(tree)](tree)
        except (StepLimitReached, RecursionError):
            return ErrorValue.LIMIT
        finally:
            self.values = {}
            self.rows.clear()

    def spend(self, steps: int) -> None:
        """Count steps of the evaluation.

        Raises StepLimitReached.
        """
        self.steps_left -= steps
        if self.steps_left < 0:
            raise StepLimitReached

    def _eval(self, node: Any) -> Value:
        return self.nodes[type(node)](node)

    @staticmethod
    def _eval_constant(node: Any) -> Value:
        return node.value  # type: ignore[no-any-return] # put there by Builder

    def _eval_field(self, node: Any) -> Value:
        value = self.values.get(node.id, UNKNOWN)
        kind = type(value)
        if kind is str or kind is bool or value is None:
            return value  # type: ignore[return-value] # kind says so
        if kind is list or kind is tuple:
            self.spend(len(value))  # type: ignore[arg-type] # kind says so
        return clean(value)

    def _eval_column(self, node: Any) -> Value:
        row = self.rows.get(node.rows_id)
        return clean(row.get(node.id, UNKNOWN)) if isinstance(row, Mapping) else UNKNOWN

    def _eval_now(self, node: Any) -> Value:
        return self.now

    def _eval_operation(self, node: Any) -> Value:
        left, right = node.left, node.right
        nodes = self.nodes
        return node.run(nodes[type(left)](left), nodes[type(right)](right))  # type: ignore[no-any-return]

    def _eval_run(self, node: Any) -> Value:
        nodes = self.nodes
        value: Value = nodes[type(node.left)](node.left)
        for operate, operand in node.steps:
            value = operate(value, nodes[type(operand)](operand))
        return value

    def _eval_unaryop(self, node: Any) -> Value:
        operand = node.operand
        return node.run(self.nodes[type(operand)](operand))  # type: ignore[no-any-return]

    def _eval_one_call(self, node: Any) -> Value:
        first = node.first
        return node.run(self.nodes[type(first)](first))  # type: ignore[no-any-return]

    def _eval_two_call(self, node: Any) -> Value:
        first, second = node.args
        nodes = self.nodes
        return node.run(nodes[type(first)](first), nodes[type(second)](second))  # type: ignore[no-any-return]

    def _eval_eager_call(self, node: Any) -> Value:
        nodes = self.nodes
        return node.run(*[nodes[type(part)](part) for part in node.args])  # type: ignore[no-any-return]

    def _eval_aggregate_call(self, node: Any) -> Value:
        nodes = self.nodes
        return node.run([nodes[type(part)](part) for part in node.args], node.references)  # type: ignore[no-any-return]

    def _eval_lazy_call(self, node: Any) -> Value:
        return node.run(self.evaluate_part, node.args)  # type: ignore[no-any-return]

    def _eval_row_call(self, node: Any) -> Value:
        source = self._eval(node.args[0])
        if type(source) in STOPPING:
            return source
        if source is None:
            source = ()
        if type(source) is not tuple:
            source = (source,)
        parts: list[Callable[[], Value]] = [partial(self._eval, part) for part in node.args[1:]]
        if node.is_plain_list:
            parts = [lambda: clean(self.rows[node.rows_id])]
        expression = parts[0] if parts else None
        condition = parts[1] if len(parts) > 1 else None
        outer = self.rows.get(node.rows_id)
        try:
            return node.run(self.each_row(node, source), expression, condition)  # type: ignore[no-any-return]
        finally:
            self.rows[node.rows_id] = outer

    def each_row(self, node: Any, source: Sequence[object]) -> Iterator[None]:
        """Put one row after the other in place, spending the steps of its parts."""
        for row in source:
            self.spend(node.weight)
            self.rows[node.rows_id] = row
            yield


class TracingEvaluator(Evaluator):
    """An evaluator that writes down the value of every part."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[int, list[Value]] = {}
        self.numbers: dict[int, list[int]] = {}  # of the rows the values are of
        self.number = 0
        self.nodes = {kind: self._recording(handle) for kind, handle in self.nodes.items()}

    def _recording(self, handle: Callable[[Any], Value]) -> Callable[[Any], Value]:
        def record(node: Any) -> Value:
            value = handle(node)
            self.note(node, value)
            return value

        return record

    def note(self, node: Any, value: Value) -> None:
        """Remember a value of a part; of parts per row the first rows only."""
        values = self.seen.setdefault(id(node), [])
        if len(values) < MAX_TRACED_ROWS:
            values.append(value)
            self.numbers.setdefault(id(node), []).append(self.number)

    def each_row(self, node: Any, source: Sequence[object]) -> Iterator[None]:
        """Also count the rows, for the parts that are not evaluated in every one."""
        for number, _ in enumerate(super().each_row(node, source), start=1):
            self.number = number
            yield


class Builder:
    """Turns a typed tree into the ast that `Evaluator` runs."""

    def __init__(self, *, folds: bool) -> None:
        self.folds = folds
        self.built: dict[int, ast.expr] = {}  # id of tree node -> ast node, for the trace
        self.evaluator = Evaluator()

    def build(self, node: Node) -> ast.expr:
        """Build one node with its parts; fold it when every part is constant."""
        made, parts = self._make(node)
        if (
            self.folds
            and parts
            and all(type(part) is ast.Constant for part in parts)
            and not isinstance(made, RowCall)
        ):
            made = ast.Constant(self.evaluator.go_on(made, {}, 0.0))  # type: ignore[arg-type] # our values
        self.built[id(node)] = made
        return made

    def _make(self, node: Node) -> tuple[ast.expr, Sequence[ast.expr]]:
        if isinstance(node, Literal):
            return ast.Constant(node.value), ()  # type: ignore[arg-type] # our values
        if isinstance(node, FieldUse):
            return FieldName(id=node.field.id, ctx=ast.Load()), ()
        if isinstance(node, ColumnUse):
            column = ColumnName(id=node.column.id, ctx=ast.Load())
            column.rows_id = node.rows.id  # type: ignore[attr-defined] # our own mark
            return column, ()
        if isinstance(node, Sign | Percent):
            operand = self.build(node.operand)
            unary = ast.UnaryOp(op=ast.USub(), operand=operand)
            unary.run = (  # type: ignore[attr-defined] # our own mark
                take_percent if isinstance(node, Percent) else negate if node.sign == "-" else leave
            )
            return unary, (operand,)
        if isinstance(node, Chain):
            return self._make_chain(node)
        if isinstance(node, Invoke):
            return self._make_call(node)
        raise FormulaErrors(())

    def _make_chain(self, node: Chain) -> tuple[ast.expr, Sequence[ast.expr]]:
        first = self.build(node.first)
        steps = [(BINARY[operator], self.build(operand)) for operator, operand in node.rest]
        made: Any
        if len(steps) == 1:
            made = Operation(left=first, op=ast.Add(), right=steps[0][1])
            made.run = steps[0][0]
        else:
            made = Run(left=first, op=ast.Add(), right=steps[-1][1])
            made.steps = steps
        return made, (first, *(operand for _, operand in steps))

    def _make_call(self, node: Invoke) -> tuple[ast.expr, Sequence[ast.expr]]:
        function = node.function
        parts: list[ast.expr] = [self.build(part) for part in node.args]
        name = ast.Name(id=function.en, ctx=ast.Load())
        made: Any
        if is_row_call(node):
            made = RowCall(func=name, args=parts, keywords=[])
            made.run = row_run(node)
            made.rows_id = node.over.id if node.over is not None else "\0list"
            made.is_plain_list = node.over is None
            made.weight = weigh_row(node)
            return made, parts
        if function.style is Style.LAZY:
            made = LazyCall(func=name, args=parts, keywords=[])
            made.run = function.run
            return made, parts
        if function.style is Style.AGGREGATE:
            made = AggregateCall(func=name, args=parts, keywords=[])
            made.run = aggregate_run(node)
            made.references = tuple(isinstance(part, FieldUse | ColumnUse) for part in node.args)
            return made, parts
        return self._make_plain_call(function, name, parts)

    def _make_plain_call(
        self, function: Function, name: ast.Name, parts: list[ast.expr]
    ) -> tuple[ast.expr, Sequence[ast.expr]]:
        if function.uses_now:
            parts = [Now(id="now", ctx=ast.Load()), *parts]
        kind = OneCall if len(parts) == 1 else TwoCall if len(parts) == 2 else EagerCall
        made: Any = kind(func=name, args=parts, keywords=[])
        made.run = function.bind(len(parts))
        if parts:
            made.first = parts[0]
        return made, parts


def is_row_call(node: Invoke) -> bool:
    """Whether a call walks rows, evaluating its parts once per row."""
    return node.over is not None or node.function.style is Style.ROWS


def weigh_row(node: Invoke) -> int:
    """Return the steps one row of a row call costs."""
    return 1 + sum(1 for part in node.args[1:] for _ in walk(part))


def aggregate_run(node: Invoke) -> Callable[..., Value]:
    """Return what computes an aggregate over its values and the marks on its references."""
    return _in_fen if _is_money_sum(node) else node.function.run


def row_run(node: Invoke) -> Callable[..., Value]:
    """Return what computes a row call over its rows, expression and condition."""
    function = node.function
    if function.row_run is None:
        return function.run
    if _is_money_sum(node):
        return function.row_run_in_fen or function.row_run
    return function.row_run


def _is_money_sum(node: Invoke) -> bool:
    return node.function.en == "SUM" and node.kinds == frozenset({ValueType.MONEY})


def _in_fen(values: Sequence[Value], references: Sequence[bool]) -> Value:
    amounts = collect_numbers(values, references)
    return add_up_money(amounts) if isinstance(amounts, list) else amounts


_FREE: Final[list[Evaluator]] = []  # list.pop and list.append are atomic


class RowPlan:
    """One checked formula, ready to run over one order at a time.

    Raises FormulaErrors for a formula whose findings refuse it.
    """

    def __init__(self, checked: Checked) -> None:
        if checked.tree is None or not checked.is_valid:
            raise FormulaErrors(checked.findings)
        self._checked = checked
        self._node: Node = checked.tree
        start_text_work()
        self._tree = Builder(folds=True).build(self._node)
        self._traced: _Traced | None = None

    def evaluate(self, values: Mapping[str, object], now: float) -> Value:
        """Evaluate over one order.

        values: Field.id -> value; a field that is missing is UNKNOWN. now: Excel serial days,
        local time. Never raises.
        """
        try:
            evaluator = _FREE.pop()
        except IndexError:
            evaluator = Evaluator()
        value = evaluator.run(self._tree, values, now)
        _FREE.append(evaluator)
        return value

    def trace(self, values: Mapping[str, object], now: float) -> tuple[TracePart, ...]:
        """Evaluate and return every part with its value, each before its own parts.

        A part inside a row function has a tuple with its value in every row.
        """
        if self._traced is None:
            self._traced = _Traced(self._node, self._checked.text)
        return self._traced.run(values, now)


class _Traced:
    """The unfolded plan of a formula with the places of its parts."""

    def __init__(self, node: Node, text: str) -> None:
        builder = Builder(folds=False)
        self.tree = builder.build(node)
        built = builder.built
        per_row = {
            id(inner)
            for outer, _ in walk(node)
            if isinstance(outer, Invoke) and isinstance(built[id(outer)], RowCall)
            for part in outer.args[1:]
            for inner, _ in walk(part)
        }
        self.parts = [
            (id(built[id(part)]), id(part) in per_row, part, text[part.start : part.end], depth)
            for part, depth in walk(node)
            if not is_hidden(part)
        ]

    def run(self, values: Mapping[str, object], now: float) -> tuple[TracePart, ...]:
        evaluator = TracingEvaluator()
        value = evaluator.run(self.tree, values, now)
        seen = evaluator.seen
        seen[id(self.tree)] = [value]
        traced = []
        for key, is_per_row, part, text, depth in self.parts:
            found = seen.get(key)
            value = None if found is None else tuple(found) if is_per_row else found[-1]
            is_evaluated = found is not None
            traced.append(
                TracePart(
                    part.start,
                    part.end,
                    text,
                    value,
                    is_evaluated,
                    depth,
                    part.kinds,
                    tuple(evaluator.numbers.get(key, ())) if is_per_row else (),
                )
            )
        return tuple(traced)


def evaluate_constant(node: Node) -> Value:
    """Evaluate a part that uses no field and no clock; its text work counts on."""
    return Evaluator().go_on(Builder(folds=False).build(node), {}, 0.0)
