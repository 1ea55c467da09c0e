"""The compiled plan: the formulas of a rule set as one generated Python function.

The source is written from the checked trees only (see code_writer): it holds identifiers of ours
and nothing of what a user typed; constants come in through a namespace whose builtins are empty.
Operators and functions are those of the row plan, and so is every value, the step limit included.

One function reads every field of an order once and looks whether it is what its declaration
promises. Formulas whose fields keep their promise run written out; the others (an unknown fact, a
text where a number was declared) run through a general version of the same formula, which is
generated when it is first needed. There is no way back to the row plan.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

from . import operators
from .code_calls import FormulaFrame
from .code_parts import EXPECTED, LARGEST, LAST_MOMENT, NUMERIC, WORDS, Mode
from .code_trees import Writer, reads_text
from .functions.registry import Cost, Style
from .limits import MAX_STEPS, MAX_TEXT, MAX_TEXT_WORK, StepLimitReached, start_text_work
from .names import Field
from .row_plan import is_row_call
from .tree import Chain, FieldUse, Invoke, Literal, Node, children_of
from .values import STOPPING, UNKNOWN, ErrorValue, Value, ValueType, clean

if TYPE_CHECKING:
    from .check import Checked

Evaluate = Callable[[Mapping[str, object], float], tuple[Value, ...]]

_EXACT: Final = 1 << 53  # smaller whole numbers are the same as float
_EMPTY_ROW: Final[Mapping[str, object]] = {}


def _as_row(item: object) -> Mapping[str, object]:
    return item if isinstance(item, Mapping) else _EMPTY_ROW


def _use(value: Value, steps: list[int]) -> Value:
    """Read a field that may hold rows: a step for each."""
    if type(value) is tuple:
        steps[0] -= len(value)
        if steps[0] < 0:
            raise StepLimitReached
    return value


def _again(kept: tuple[int, Value, int], steps: list[int]) -> Value:
    """Return what was computed before, at the price it had."""
    steps[0] -= kept[0] - kept[2]
    if steps[0] < 0:
        raise StepLimitReached
    return kept[1]


def _clean_rows(value: object) -> Value:
    """Bring rows in as `clean` does, quicker for plain dicts."""
    if type(value) is tuple or type(value) is list:
        return tuple([item if type(item) is dict else _clean_row(item) for item in value])
    return clean(value)


def _clean_row(item: object) -> Any:
    return item if isinstance(item, Mapping) else clean(item)


def _bring_number(value: object, marks: int, odd: int, is_rows: int) -> tuple[Value, int]:
    """Clean a field declared to be a number; mark it unless it turns out to be one."""
    if type(value) is int and -_EXACT < value < _EXACT:
        return float(value), marks
    taken = clean(value)
    if type(taken) is float and taken * taken < LARGEST * LARGEST:
        return taken, marks
    return taken, marks | (is_rows if type(taken) is tuple else odd)


def _bring_moment(value: object, marks: int, odd: int, is_rows: int) -> tuple[Value, int]:
    """The same for a date-time."""
    taken = clean(value)
    if type(taken) is float and 0.0 <= taken < LAST_MOMENT:
        return taken, marks
    return taken, marks | (is_rows if type(taken) is tuple else odd)


def _bring_other(value: object, marks: int, odd: int, is_rows: int) -> tuple[Value, int]:
    """Clean a field that is not what its declaration promises, and mark it."""
    taken = _clean_rows(value)
    return taken, marks | (is_rows if type(taken) is tuple else odd)


def _force(part: Callable[[], Value]) -> Value:
    return part()


_LIBRARY: Final[dict[str, Any]] = {
    "__builtins__": {},
    "type": type,
    "float": float,
    "str": str,
    "bool": bool,
    "tuple": tuple,
    "dict": dict,
    "len": len,
    "abs": abs,
    "round": round,
    "fsum": math.fsum,
    "KeyError": KeyError,
    "UNKNOWN": UNKNOWN,
    "STOPPING": STOPPING,
    "ErrorValue": ErrorValue,
    "DIV0": ErrorValue.DIV0,
    "NUM": ErrorValue.NUM,
    "NA": ErrorValue.NA,
    "VALUE": ErrorValue.VALUE,
    "LIMIT": ErrorValue.LIMIT,
    "LIMIT_REACHED": StepLimitReached,
    "MISSING": object(),
    "clean": clean,
    "clean_rows": _clean_rows,
    "bring_number": _bring_number,
    "bring_moment": _bring_moment,
    "bring_other": _bring_other,
    "as_row": _as_row,
    "use": _use,
    "again": _again,
    "force": _force,
    "start_text_work": start_text_work,
    "to_number": operators.to_number,
    "to_logical": operators.to_logical,
    "number_to_text": operators.number_to_text,
    "negate": operators.negate,
    "take_percent": operators.take_percent,
    **{run.__name__: run for run in operators.BINARY.values()},
}


class CompiledPlan:
    """Checked formulas fused into one function; may be used by several threads.

    `evaluate(values, now)` gives one value per formula, in their order: the value that a RowPlan
    of the formula gives. values: Field.id -> value; a field that is missing is UNKNOWN. now: Excel
    serial days, local time. Never raises.

    Raises FormulaErrors for a formula whose findings refuse it.
    """

    def __init__(self, checked: Sequence[Checked]) -> None:
        self._trees = tuple(item.require_tree() for item in checked)
        self._namespace = dict(_LIBRARY)
        self._writer = Writer(self._trees, self._namespace)
        self._reads_text = any(
            isinstance(node, Invoke) and reads_text(node.function)
            for tree in self._trees
            for node in self._writer.nodes_of(tree)
        )
        self._bits = {id: 1 << place for place, id in enumerate(self._writer.fields)}
        self._now_bit = 1 << len(self._bits)
        self._is_one = self._now_bit << 1  # shifts the bits of fields that hold rows
        self.source = ""
        self._define(self._write_plan())
        self.evaluate: Evaluate = self._namespace["plan"]

    def _define(self, lines: Sequence[str]) -> None:
        """Compile source of ours into the namespace."""
        functions = self._writer.functions
        source = "\n".join([*functions, *lines, ""])
        functions.clear()
        self.source += source
        exec(compile(source, "<rules>", "exec"), self._namespace)  # noqa: S102 - source of our own, see the module

    # --- the fused function ----------------------------------------------------------------------

    def _write_plan(self) -> list[str]:
        writer = self._writer
        memo = self._choose_shared()
        lines = ["def plan(values, now):", *self._read_fields()]
        lines.append(
            f"    m = 0 if type(now) is float and {-LARGEST!r} < now < {LARGEST!r} else {self._now_bit}"
        )
        for field in writer.fields.values():
            lines += self._check_field(field)
        lines += [f"    {name} = MISSING" for name in memo.values()]
        results = []
        for place, tree in enumerate(self._trees):
            results.append(f"v{place}")
            lines += [f"    {line}" for line in self._write_formula(place, tree, memo)]
        lines.append(f"    return ({''.join(f'{name}, ' for name in results)})")
        return lines

    def _read_fields(self) -> list[str]:
        ids = tuple(self._writer.fields)
        if not ids:
            return []
        names = "".join(f"{self._writer.field_name(f)}, " for f in self._writer.fields.values())

        def look(values: Mapping[str, object]) -> tuple[object, ...]:
            return tuple([values.get(id, UNKNOWN) for id in ids])

        take = itemgetter(*ids) if len(ids) > 1 else (lambda values: (values[ids[0]],))
        self._namespace |= {"look": look, "take": take}
        return [
            "    if type(values) is dict:",
            "        try:",
            f"            {names} = take(values)",
            "        except KeyError:",
            f"            {names} = look(values)",
            "    else:",
            f"        {names} = look(values)",
        ]

    def _check_field(self, field: Field) -> list[str]:
        """Clean a field and mark it when it is not what its declaration promises."""
        name, bit = self._writer.field_name(field), self._bits[field.id]
        if field.type is ValueType.ROWS:
            return [f"    if {name} is not None: {name} = clean_rows({name})"]
        expected = EXPECTED.get(field.type)
        if expected is None:
            return [
                f"    if type({name}) is not str: {name} = clean_rows({name})",
                f"    if type({name}) is tuple: m |= {bit}",
                f"    elif type({name}) is str and len({name}) > {LONG_TEXT}: m |= {bit}",
            ]
        marks = f"{bit}, {bit | bit * self._is_one}"
        if expected == NUMERIC:
            inside = f"{name} * {name} < {LARGEST * LARGEST!r}"
            bring = "bring_number"
            if field.type is ValueType.DATETIME:
                inside, bring = f"0.0 <= {name} < {LAST_MOMENT!r}", "bring_moment"
            number = f"n{name[1:]}"
            return [
                f"    if type({name}) is float and {inside}: {number} = {name}",
                f"    elif {name} is None: {number} = 0.0",
                f"    else: {name}, m = {bring}({name}, m, {marks}); {number} = {name}",
            ]
        if expected == WORDS and self._reads_text:
            return [
                f"    if type({name}) is str:",
                f"        if len({name}) > {LONG_TEXT}: m |= {bit}",
                f"    elif {name} is not None: {name}, m = bring_other({name}, m, {marks})",
            ]
        kind = "str" if expected == WORDS else "bool"
        return [
            f"    if type({name}) is not {kind} and {name} is not None:",
            f"        {name}, m = bring_other({name}, m, {marks})",
        ]

    def _write_formula(self, place: int, tree: Node, memo: Mapping[int, str]) -> list[str]:
        writer = self._writer
        is_metered = may_reach_text_limit(tree)
        frame = FormulaFrame(
            writer,
            Mode.FAST,
            writer.count_keys([tree]),
            memo=None if is_metered else memo,
            is_metered=is_metered,
        )
        frame.is_top = True
        quick = f"v{place} = {frame.write(tree).code}"
        steps = ["start_text_work()"] if frame.calls_text else []
        if frame.charges(tree):
            steps.append(f"s = [{MAX_STEPS}]")
        if steps:
            body = ["try:", f"    {quick}", "except LIMIT_REACHED:", f"    v{place} = LIMIT"]
        else:
            body = [quick]
        reads = writer.reads(tree)
        mask = sum(self._bits[id] for id in reads if id in self._bits)
        rows = mask * self._is_one
        if "\0now" in reads:
            mask |= self._now_bit
        if not mask:
            return [*steps, *body]
        passed = self._parameters(tree)
        self._namespace[f"general{place}"] = self._later(place, tree, Mode.GENERAL)
        self._namespace[f"wild{place}"] = self._later(place, tree, Mode.WILD)
        return [
            f"if m and m & {mask}:",
            f"    v{place} = (wild{place} if m & {rows} else general{place})({passed})",
            "else:",
            *(f"    {line}" for line in (*steps, *body)),
        ]

    def _parameters(self, tree: Node) -> str:
        writer = self._writer
        names = [
            writer.field_name(f) for id, f in writer.fields.items() if id in writer.reads(tree)
        ]
        return ", ".join(["now", *names])

    def _later(self, place: int, tree: Node, mode: Mode) -> Callable[..., Value]:
        """Return a stand-in that generates the slower version of a formula at its first call."""
        name = f"{mode.value}{place}"

        def stand_in(*arguments: Any) -> Value:
            writer = self._writer
            frame = FormulaFrame(writer, mode, writer.count_keys([tree]))
            code = frame.write(tree).code
            lines = [f"def {name}({self._parameters(tree)}):"]
            if frame.calls_text:
                lines.append("    start_text_work()")
            if frame.charges(tree):
                lines.append(f"    s = [{MAX_STEPS}]")
            if frame.calls_text or frame.charges(tree):
                lines += [
                    "    try:",
                    f"        return {code}",
                    "    except LIMIT_REACHED:",
                    "        return LIMIT",
                ]
            else:
                lines.append(f"    return {code}")
            self._define(lines)
            return self._namespace[name](*arguments)  # type: ignore[no-any-return] # defined above

        return stand_in

    # --- what formulas share ---------------------------------------------------------------------

    def _choose_shared(self) -> dict[int, str]:
        """Name the parts worth computing once per order that occur more than once."""
        writer = self._writer
        counts = writer.count_keys(self._trees)
        memo: dict[int, str] = {}
        for tree in self._trees:
            if writer.is_tall_tree(tree):
                continue
            for node in writer.nodes_of(tree):
                key = writer.key_of(node)
                if counts[key] > 1 and key not in memo and self._is_dear(node):
                    memo[key] = writer.new_name("x")
        return memo

    def _is_dear(self, node: Node) -> bool:
        """Whether a part costs more than remembering it."""
        if isinstance(node, Chain) or not isinstance(node, Invoke):
            return False
        if any(read.startswith("\0row") for read in self._writer.reads(node)):
            return False
        return is_row_call(node) or (
            node.function.style is not Style.LAZY and node.function.en not in _CHEAP
        )


_CHEAP: Final = frozenset(
    {"ISBLANK", "ISNUMBER", "ISERROR", "ISLOGICAL", "NOT", "ISIN", "LEN", "LEFT", "RIGHT", "ABS"}
    | {"AND", "OR", "NOW", "MIN", "MAX", "FIND", "MINUTESSINCE", "HOURSSINCE", "DAYSSINCE"}
)


# Characters of a field beyond which its formulas run through the general version, where text work
# is counted: written out, it is not.
LONG_TEXT: Final = 2_000


# Functions that spend no more than the texts they are given.
_LOOKS_ONCE: Final = frozenset(
    {"CONTAINS", "STARTSWITH", "ENDSWITH", "FIND", "SEARCH", "MATCHES", "TRIM", "UPPER", "LOWER"}
)


def may_reach_text_limit(tree: Node) -> bool:
    """Whether the text work of a formula may reach its limit although no field is long.

    Then every call has to be made as often as the row plan makes it.
    """
    work = 0
    waiting = [(tree, False)]
    while waiting:
        node, is_open = waiting.pop()
        if isinstance(node, Invoke):
            function = node.function
            if reads_text(function):
                if is_open or function.cost is not Cost.TEXT:
                    return True
                work += _most_text(node)
            is_open = is_open or is_row_call(node) or function.cost is Cost.LOOKUP
        waiting.extend((part, is_open) for part in children_of(node))
    return work > MAX_TEXT_WORK


def _most_text(node: Invoke) -> int:
    """Return the most a call may spend: what it is given, thrice over for those that look closer."""
    work = 0
    for part in node.args:
        if isinstance(part, Literal):
            work += len(part.value) if isinstance(part.value, str) else 0
        elif isinstance(part, FieldUse):
            work += LONG_TEXT
        else:
            work += MAX_TEXT
    return work if node.function.en in _LOOKS_ONCE else 21 * work + MAX_TEXT
