"""The checker: resolves names, knows kinds, and says everything that is wrong or doubtful.

Syntax, names, arity and limits refuse; the rest warns. User text never raises.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from typing import Literal as OneOf

from config.errors import Phrase, gettext_noop

from .conditions import Taken, decide_together, list_else_ifs, read_comparison
from .costs import NOTHING, Demand, count_demand, exceeded
from .errors import ADD_QUOTES, Finding, Fix, FormulaErrors, find, write
from .explain import name_of, write_text
from .functions import Function, Sees, Style, constant_named, find_function, function_names
from .functions.registry import Parameter
from .functions.texts import BadPattern, compile_pattern
from .limits import MAX_CHARACTERS, MAX_FINDINGS, MAX_PATTERN, start_text_work
from .lookups import TABLE_FUNCTION, resolve_table, resolve_term
from .mend import mend
from .moments import parse_moment
from .names import OWN, TABLE_PREFIX, Field, Names, nearest_name
from .operators import COMPARISONS, number_to_text, parse_number, to_logical
from .parse import WORD_OPERATORS, parse
from .row_plan import evaluate_constant
from .tokens import fold_letters, is_bare_name, read_tokens
from .tree import (
    Call,
    Chain,
    ColumnUse,
    FieldUse,
    Invoke,
    Kinds,
    Literal,
    Name,
    Node,
    Percent,
    Sign,
    with_constants,
)
from .values import NUMERIC_TYPES, ErrorValue, Value, ValueType, from_serial

Kind = OneOf["judgement", "points", "any"]

_LIST_TYPES: Final = frozenset({ValueType.ROWS, ValueType.NUMBER, ValueType.ANY, ValueType.LOGICAL})
_MAX_SUGGESTIONS: Final = 10  # a page of nonsense must not cost a search per word
_MAX_PASSES: Final = 8
_CLOSE: Final = 0.75
_CELL: Final = re.compile(r"[A-Za-z]{1,3}[1-9][0-9]{0,6}")
# Functions of other programs and everyday words, by our name.
_OTHER_NAMES: Final = {
    **dict.fromkeys(("若", "假如", "要是", "IIF"), "如果"),
    **dict.fromkeys(("VLOOKUP", "HLOOKUP", "XLOOKUP", "LOOKUP", "查找表"), "查表"),
    **dict.fromkeys(("ISNULL", "ISEMPTY", "为空", "空"), "是空"),
    **dict.fromkeys(("LENGTH", "字数", "字符数"), "长度"),
    **dict.fromkeys(("AVG", "MEAN"), "AVERAGE"),
    **dict.fromkeys(("SUBSTR", "SUBSTRING"), "MID"),
    **dict.fromkeys(("REGEX", "REGEXMATCH", "REGEXP"), "匹配"),
    **dict.fromkeys(("INCLUDES", "CONTAIN", "包括", "含有"), "包含"),
    **dict.fromkeys(("COUNTDISTINCT", "COUNTUNIQUE", "去重计数"), "不同数"),
    "DATEDIFF": "DATEDIF",
    "LCASE": "LOWER",
    "UCASE": "UPPER",
    "IFNULL": "IFERROR",
    "ALL": "每一",
    "SOME": "任一",
    "IN": "属于",
}
_BRANCHING: Final = {"IF": (1, 2), "IFERROR": (0, 1), "IFNA": (0, 1)}
_ALLOWED: Final = {
    "judgement": frozenset({ValueType.LOGICAL, ValueType.RESULT, ValueType.ANY}),
    "points": frozenset({ValueType.NUMBER, ValueType.MONEY, ValueType.RESULT, ValueType.ANY}),
}


@dataclass(frozen=True, slots=True)
class Use:
    """A name in the typed text and the field or column it means."""

    start: int
    end: int
    field_id: str


@dataclass(frozen=True, slots=True)
class Checked:
    """A formula as checked: tree, kind, findings and what it depends on."""

    text: str
    tree: Node | None
    type: ValueType
    findings: tuple[Finding, ...]
    field_ids: frozenset[str]
    is_time_dependent: bool
    stored: str
    uses: tuple[Use, ...] = ()
    names: Names = field(default_factory=lambda: Names(()), repr=False, compare=False)

    @property
    def table_ids(self) -> frozenset[str]:
        """The lookup tables the formula asks."""
        return frozenset(id for id in self._prefetched_ids() if id.startswith(TABLE_PREFIX))

    @property
    def relation_ids(self) -> frozenset[str]:
        """What must be fetched beside the order itself: relations, its history, calendars."""
        return frozenset(id for id in self._prefetched_ids() if not id.startswith(TABLE_PREFIX))

    @property
    def uses_now(self) -> bool:
        """Whether time alone may change the value."""
        return self.is_time_dependent

    def _prefetched_ids(self) -> Iterator[str]:
        for id in self.field_ids:
            owner = self.names.owner_of(id) or self.names.by_id(id)
            if owner is not None and owner.is_prefetched:
                yield owner.id

    @property
    def is_valid(self) -> bool:
        """Whether no finding refuses the formula."""
        return self.tree is not None and not any(item.refuses for item in self.findings)

    @property
    def demand(self) -> Demand:
        """How often the formula looks up tables and walks related rows."""
        return NOTHING if self.tree is None else count_demand(self.tree)

    def require_tree(self) -> Node:
        """Return the tree of a formula that holds together.

        Raises FormulaErrors.
        """
        if self.tree is None or not self.is_valid:
            raise FormulaErrors(self.findings)
        return self.tree


def check(text: str, names: Names, *, kind: Kind = "any") -> Checked:
    """Check a formula as typed (or as stored) against the names it may use.

    kind: "judgement" wants TRUE/FALSE or a result, "points" a number or a result. Never raises
    for any text; findings come in the order of their places.
    """
    parsed, findings = parse(text)
    start_text_work()  # of all constant parts together
    if parsed is None:
        found = _find_behind(text, findings, names)
        return Checked(text, None, ValueType.ANY, tuple(found), frozenset(), False, text)
    checker = _Checker(text, names)
    tree = checker.visit(parsed, ())
    if kind != "any":
        checker.check_kind(tree, kind)
        checker.warn_constant(tree)
    too_much = exceeded(count_demand(tree))
    if too_much is not None:
        code, count, limit = too_much
        checker.say(code, tree, count=count, limit=limit)
    found = sorted(checker.findings, key=lambda item: (item.start, item.end, not item.refuses))
    uses = tuple(sorted(checker.uses, key=lambda use: use.start))
    return Checked(
        text=text,
        tree=tree,
        type=_one_type(tree.kinds),
        findings=tuple(found[:MAX_FINDINGS]),
        field_ids=frozenset(
            {u.field_id for u in uses if names.by_id(u.field_id) is not None} | checker.implicit_ids
        ),
        is_time_dependent=checker.is_time_dependent,
        stored=_write_stored(text, uses),
        uses=uses,
        names=names,
    )


def _find_behind(text: str, findings: Sequence[Finding], names: Names) -> list[Finding]:
    """The findings of a text that does not hold together, and those behind them."""
    if len(text) > MAX_CHARACTERS:
        return list(findings)  # nothing is made of a text that long
    mended = mend(text, findings)
    if mended.tree is not None:
        checker = _Checker(mended.text, names)
        checker.visit(mended.tree, ())
        mended.note(item for item in checker.findings if item.refuses)
    found = sorted(mended.findings, key=lambda item: (item.start, item.end))
    return found[:MAX_FINDINGS]


def from_stored(stored: str, names: Names) -> str:
    """Return a stored formula as text with today's labels.

    A field that is gone, or whose label would mean something else there, stays as {#id}.
    """
    tokens, _ = read_tokens(stored)
    pieces: list[str] = []
    ids: dict[int, str] = {}  # piece index -> field id
    position = 0
    for token in tokens:
        if token.kind == "id":
            pieces.append(stored[position : token.start])
            ids[len(pieces)] = token.value[2:-1]
            pieces.append(name_of(ids[len(pieces)], names))
            position = token.end
    pieces.append(stored[position:])
    # A name put back by id may bring columns into view that change what later names mean: one at
    # a time at first, so that no more ids show than must; then all, so that it ends.
    for attempt in range(_MAX_PASSES):
        misread = _misread_pieces(pieces, ids, names)
        if not misread:
            return "".join(pieces)
        if attempt == 0 and _say_own(pieces, ids, misread, names):
            continue
        for index in misread[:1] if attempt < _MAX_PASSES // 2 else misread:
            pieces[index] = f"{{#{ids[index]}}}"
    return stored


def _say_own(
    pieces: list[str], ids: Mapping[int, str], misread: Sequence[int], names: Names
) -> bool:
    """Put 本单 before fields of the order that a column of the same name hides, where it may be."""
    said = False
    for index in misread:
        field = names.by_id(ids[index])
        own = f"{OWN}{field.label}" if field is not None else ""
        if own and is_bare_name(own) and names.find(own) is None and names.find_own(own) is field:
            pieces[index], said = own, True
    return said


def _misread_pieces(pieces: Sequence[str], ids: dict[int, str], names: Names) -> list[int]:
    """Return the pieces that are names and mean another field than the one wanted."""
    meanings = {use.start: use.field_id for use in check("".join(pieces), names).uses}
    misread = []
    start = 0
    for index, piece in enumerate(pieces):
        wanted = ids.get(index)
        if wanted is not None and not piece.startswith("{#") and meanings.get(start) != wanted:
            misread.append(index)
        start += len(piece)
    return misread


def _write_stored(text: str, uses: Sequence[Use]) -> str:
    pieces: list[str] = []
    position = 0
    for use in uses:
        pieces += (text[position : use.start], f"{{#{use.field_id}}}")
        position = use.end
    pieces.append(text[position:])
    return "".join(pieces)


def _one_type(kinds: Kinds) -> ValueType:
    if len(kinds) == 1:
        return next(iter(kinds))
    if kinds <= {ValueType.LOGICAL, ValueType.RESULT}:
        return ValueType.RESULT
    if kinds <= {ValueType.NUMBER, ValueType.MONEY}:
        return ValueType.NUMBER
    return ValueType.ANY


class _Checker:
    def __init__(self, text: str, names: Names) -> None:
        self.text = text
        self.names = names
        self.findings: list[Finding] = []
        self.uses: list[Use] = []
        self.implicit_ids: set[str] = set()
        self.is_time_dependent = False
        self.is_too_costly = False
        self.constants: dict[int, Value] = {}  # id of typed node -> value without field or clock
        self.kept: list[Node] = []  # keeps those ids alive
        self.suggestions = 0
        self.likely_texts: set[int] = set()  # ids of names that stand where a text is wanted

    def say(self, code: str, node: Node, fix: Fix | None = None, **params: object) -> None:
        self.say_at(code, node.start, node.end, fix, **params)

    def say_at(
        self, code: str, start: int, end: int, fix: Fix | None = None, **params: object
    ) -> None:
        if len(self.findings) < MAX_FINDINGS * 4:
            self.findings.append(find(code, start=start, end=end, fix=fix, **params))

    # --- nodes -----------------------------------------------------------------------------------

    def visit(self, node: Node, scopes: tuple[Field, ...]) -> Node:
        """scopes: the ROWS fields whose rows are at hand, innermost last."""
        if isinstance(node, Chain):
            return self.visit_chain(node, scopes)
        if isinstance(node, Call):
            return self.visit_call(node, scopes)
        if isinstance(node, Name):
            return self.visit_name(node, scopes)
        if isinstance(node, Literal):
            self.note_constant(node, node.value)
            return node
        if isinstance(node, Sign):
            operand = self.visit(node.operand, scopes)
            self.warn_arithmetic(operand, "-")
            kinds = (
                operand.kinds if operand.kinds <= {ValueType.MONEY, ValueType.DURATION} else _NUMBER
            )
            if node.sign == "+":
                kinds = operand.kinds
            return self.keep(Sign(node.start, node.end, node.sign, operand, kinds), (operand,))
        if isinstance(node, Percent):
            operand = self.visit(node.operand, scopes)
            self.warn_arithmetic(operand, "%")
            return self.keep(Percent(node.start, node.end, operand, _NUMBER), (operand,))
        return node

    def keep(self, node: Node, parts: Sequence[Node]) -> Node:
        """Note the value of a node whose parts are constant; say so when it always fails."""
        if not all(id(part) in self.constants for part in parts):
            return node
        values = [self.constants[id(part)] for part in parts]
        value = evaluate_constant(with_constants(node, values))
        self.note_constant(node, value)
        if value is ErrorValue.LIMIT:
            if not self.is_too_costly:
                self.say("too_costly", node)
            self.is_too_costly = True
            return node
        is_news = not any(isinstance(part, ErrorValue) for part in values)
        if isinstance(value, ErrorValue) and is_news and not self.is_expected_error(node):
            self.say("always_error", node, error=value.code, reason=Phrase(value.label))
        return node

    def note_constant(self, node: Node, value: Value) -> None:
        self.constants[id(node)] = value
        self.kept.append(node)

    def is_expected_error(self, node: Node) -> bool:
        if isinstance(node, Invoke) and node.function.en == "NA":
            return True
        return any(
            item.refuses and node.start <= item.start and item.end <= node.end
            for item in self.findings
        )

    def visit_name(self, node: Name, scopes: tuple[Field, ...]) -> Node:
        if node.form == "bare":
            constant = constant_named(node.text)
            if constant is not None:
                kinds = _LOGICAL if isinstance(constant, bool) else _RESULT
                literal = Literal(node.start, node.end, constant, kinds)
                self.note_constant(literal, constant)
                return literal
        used = self.resolve(node, scopes)
        if used is not None:
            target = used.column if isinstance(used, ColumnUse) else used.field
            self.uses.append(Use(node.start, node.end, target.id))
            return used
        self.say_unknown_name(node, scopes)
        return node

    def resolve(self, node: Name, scopes: tuple[Field, ...]) -> FieldUse | ColumnUse | None:
        start, end = node.start, node.end
        for rows in reversed(scopes):
            columns = self.names.columns_of(rows)
            column = columns.by_id(node.text) if node.form == "id" else columns.find(node.text)
            if column is not None:
                return ColumnUse(start, end, rows, column, frozenset({column.type}))
        if node.form == "id":
            found = self.names.by_id(node.text)
            if found is not None and self.names.owner_of(node.text) is not None:
                return None  # a column outside its rows
        else:
            found = self.names.find(node.text) or (
                self.names.find_own(node.text) if scopes else None
            )
        return FieldUse(start, end, found, frozenset({found.type})) if found else None

    def say_unknown_name(self, node: Name, scopes: tuple[Field, ...]) -> None:
        if node.form == "id":
            self.say("deleted_field", node, id=node.text)
            return
        if node.form == "bare" and node.folded != node.text:
            narrow = write(node.start, node.end, node.folded)
            known = self.names.find(node.folded) is not None
            self.say(
                "mixed_width_name",
                node,
                narrow if known else None,
                name=node.text[:40],
                folded=node.folded[:40],
            )
            return
        function = find_function(node.text) if node.form == "bare" else None
        if function is not None:
            empty = None
            if function.most == 0:
                empty = Fix(node.end, node.end, "()", Phrase(gettext_noop("补上括号")))
            self.say("function_as_value", node, empty, name=node.text)
            return
        if node.form == "bare" and _CELL.fullmatch(node.text):
            self.say("cell_reference", node, name=node.text)
            return
        split = self.split_at_word(node, scopes) if node.form == "bare" else None
        if split is not None:
            hint = Phrase(gettext_noop("；写成 %(text)s"), {"text": split.text})
            self.say("unknown_name", node, split, name=node.text[:40], hint=hint)
            return
        near = self.suggest(node.text, self.spelled(scopes))
        if self.is_likely_text(node, near):
            self.say(
                "missing_quotes",
                node,
                Fix(node.start, node.end, write_text(node.text), ADD_QUOTES),
                name=node.text[:40],
            )
            return
        fix = None
        if near is not None:
            written = f"[{near}]" if node.form == "quoted" else near
            fix = write(node.start, node.end, written, shown=near)
        hint = (
            Phrase(gettext_noop("，是不是「%(name)s」？"), {"name": near})
            if near
            else Phrase(gettext_noop("；字段可以从字段列表里选"))
        )
        self.say("unknown_name", node, fix, name=node.text[:40], hint=hint)

    def split_at_word(self, node: Name, scopes: tuple[Field, ...]) -> Fix | None:
        """实付金额大于100 is one name to us: put the operator in place of the word."""
        for word, operator in WORD_OPERATORS.items():
            left, found, right = node.text.partition(word)
            if not found or not left or not right:
                continue
            start = Name(node.start, node.end, left, left, "bare")
            if self.resolve(start, scopes) is not None:
                made = f"{left}{operator}{right}"
                return write(node.start, node.end, made, shown=made[:40])
        return None

    def is_likely_text(self, node: Name, near: str | None) -> bool:
        """Tell whether an unknown name is a text without its quotes rather than a misspelt field."""
        if node.form != "bare":
            return False
        if any(term.label == node.text for term in self.names.terms):
            return True
        if id(node) not in self.likely_texts:
            return False
        return near is None or is_unlike(node.text, near)

    def expect_texts(self, first: Node, others: Sequence[Node], scopes: tuple[Field, ...]) -> None:
        """Note names beside a text field: 渠道=天猫 wants quotes."""
        if isinstance(first, Name):
            used = self.resolve(first, scopes)
            if used is not None and used.kinds == _TEXT:
                self.likely_texts.update(id(part) for part in others if isinstance(part, Name))

    def expect_text_arguments(
        self, node: Call, function: Function, scopes: tuple[Field, ...]
    ) -> None:
        """Note names that stand where a function takes a text: 包含(地址, 自提)."""
        if function.en in ("ISIN", "SWITCH"):
            for first in node.args[:1]:
                self.expect_texts(first, node.args[1:], scopes)
        for index, part in enumerate(node.args[: function.most]):
            is_bare = index > 0 and isinstance(part, Name)
            if is_bare and function.parameter_at(index).type is ValueType.TEXT:
                self.likely_texts.add(id(part))

    def spelled(self, scopes: tuple[Field, ...]) -> list[str]:
        spelled = [name for rows in scopes for name in self.names.columns_of(rows).spelled()]
        return [*spelled, *self.names.spelled()]

    def suggest(self, text: str, candidates: Sequence[str]) -> str | None:
        if self.suggestions >= _MAX_SUGGESTIONS:
            return None
        self.suggestions += 1
        return nearest_name(text, candidates)

    # --- operators -------------------------------------------------------------------------------

    def visit_chain(self, node: Chain, scopes: tuple[Field, ...]) -> Node:
        if len(node.rest) == 1 and node.rest[0][0] in ("=", "<>"):
            self.expect_texts(node.first, (node.rest[0][1],), scopes)
            self.expect_texts(node.rest[0][1], (node.first,), scopes)
        first = self.visit(node.first, scopes)
        rest: list[tuple[str, Node]] = []
        kinds, left = first.kinds, first
        for operator, typed in node.rest:
            right = self.visit(typed, scopes)
            rest.append((operator, right))
            if operator in COMPARISONS:
                self.warn_comparison(left, kinds, operator, right)
            elif operator == "&":
                self.warn_scalar(left)
                self.warn_scalar(right)
            else:
                if left is first:
                    self.warn_arithmetic(left, operator)
                self.warn_arithmetic(right, operator)
            kinds = _kinds_of_operation(operator, kinds, right.kinds)
            left = right
        chain = Chain(node.start, node.end, first, tuple(rest), kinds)
        self.warn_date(chain)
        return self.keep(chain, (first, *(operand for _, operand in rest)))

    def warn_date(self, chain: Chain) -> None:
        """2026-11-11 without quotes is 2004."""
        if len(chain.rest) != 2 or not isinstance(chain.first, Literal):
            return
        operators = {operator for operator, _ in chain.rest}
        parts = [chain.first, *(operand for _, operand in chain.rest)]
        values = [part.value for part in parts if isinstance(part, Literal)]
        if len(values) != 3 or operators not in ({"-"}, {"/"}):
            return
        year, month, day = values
        if not isinstance(year, float) or not isinstance(month, float):
            return
        if not isinstance(day, float) or not all(v.is_integer() for v in (year, month, day)):
            return
        if 1990 <= year <= 2100 and 1 <= month <= 12 and 1 <= day <= 31:
            made = f"日期({int(year)},{int(month)},{int(day)})"
            value = evaluate_constant(chain)
            written = number_to_text(value) if isinstance(value, float) else ""
            fix = write(chain.start, chain.end, made)
            self.say("date_as_arithmetic", chain, fix, value=written, made=made)

    def warn_scalar(self, node: Node) -> bool:
        if node.kinds == {ValueType.ROWS}:
            self.say("rows_as_value", node)
            return True
        return False

    def warn_arithmetic(self, node: Node, operator: str) -> None:
        if self.warn_scalar(node):
            return
        if node.kinds == {ValueType.RESULT}:
            self.say("result_as_value", node)
        elif node.kinds == {ValueType.TEXT}:
            if isinstance(node, Literal) and isinstance(node.value, str):
                if not isinstance(parse_number(node.value), float):
                    self.say("text_in_arithmetic", node)
                return
            self.say("text_in_arithmetic", node)

    def warn_comparison(self, left: Node, left_kinds: Kinds, operator: str, right: Node) -> None:
        if self.warn_scalar(left) or self.warn_scalar(right):
            return
        order = _order_of_kinds(left_kinds, right.kinds)
        asks_for_blank = operator in ("=", "<>") and "" in (_literal(left), _literal(right))
        if order == 0 or asks_for_blank:
            return
        outcome = {
            "=": False,
            "<>": True,
            "<": order < 0,
            "<=": order < 0,
            ">": order > 0,
            ">=": order > 0,
        }[operator]
        code = "text_against_number"
        params: dict[str, Any] = {"outcome": _say_outcome(outcome)}
        if ValueType.LOGICAL in left_kinds | right.kinds:
            code = "logical_against_other"
            other = right.kinds if ValueType.LOGICAL in left_kinds else left_kinds
            params["other"] = Phrase(_one_type(other).label)
        fix = self.fix_of_literal(right) or self.fix_of_literal(left)
        self.say_at(code, left.start, right.end, fix, **params)

    def fix_of_literal(self, node: Node) -> Fix | None:
        """A text that holds a number or a date can be written as one."""
        if not isinstance(node, Literal) or not isinstance(node.value, str):
            return None
        written = node.value.strip(" ")
        serial = parse_moment(written)
        if serial is not None and serial == int(serial) and serial >= 1:
            day = from_serial(serial)
            made = f"日期({day.year},{day.month},{day.day})"
            return write(node.start, node.end, made)
        if isinstance(parse_number(written), float) and serial is None:
            return Fix(node.start, node.end, written, Phrase(gettext_noop("去掉引号")))
        return None

    # --- calls -----------------------------------------------------------------------------------

    def visit_call(self, node: Call, scopes: tuple[Field, ...]) -> Node:
        function = find_function(node.name)
        if function is None:
            self.say_unknown_function(node)
            return self.visit_parts(node, scopes)
        self.is_time_dependent = self.is_time_dependent or function.uses_now
        if function.en == TABLE_FUNCTION:
            return self.visit_lookup(node, function, scopes)
        self.expect_text_arguments(node, function, scopes)
        first = self.visit_argument(function, node.args[0], scopes) if node.args else None
        over = self.rows_walked(function, first)
        inner = scopes if over is None else (*scopes, over)
        args = (
            () if first is None else (first, *(self.visit(part, inner) for part in node.args[1:]))
        )
        if not self.check_arity(node, function, args, over):
            return Call(node.start, node.end, node.name, node.name_end, args)
        if function.style is Style.ROWS and over is None and not self.takes_list(function, args):
            self.say_at("not_rows", node.start, node.name_end, function=function.zh)
            return Call(node.start, node.end, node.name, node.name_end, args)
        self.check_arguments(function, args, over)
        kinds = self.kinds_of_call(function, args, over)
        args = (*(self.read_besides(id, node.end) for id in function.implicit), *args)
        invoke = Invoke(node.start, node.end, function, args, kinds, over)
        if function.style is Style.LAZY:
            self.warn_branches(invoke)
        elif function.en in ("AND", "OR"):
            self.warn_joined(invoke)
        if function.uses_now or function.style is Style.ROWS or over is not None:
            return invoke
        return self.keep(invoke, args)

    def read_besides(self, id: str, place: int) -> Node:
        """A field a function reads by itself; blank where the names have none."""
        field = self.names.by_id(id)
        if field is None:
            return Literal(place, place, None, frozenset({ValueType.ANY}))
        self.implicit_ids.add(id)
        return FieldUse(place, place, field, frozenset({field.type}))

    def visit_lookup(self, node: Call, function: Function, scopes: tuple[Field, ...]) -> Node:
        """A call that asks a table: its name and column are known by id from here on."""
        found = resolve_table(
            node, self.names, lambda part: self.visit(part, scopes), function.usage
        )
        self.findings += found.findings
        self.uses += [Use(part.start, part.end, id) for part, id in found.uses]
        if found.args is None:
            return Call(node.start, node.end, node.name, node.name_end, node.args)
        return Invoke(node.start, node.end, function, found.args, found.kinds)

    def visit_argument(self, function: Function, part: Node, scopes: tuple[Field, ...]) -> Node:
        """The first argument: a node or stage written as text becomes its id."""
        kinds = function.parameters[0].terms if function.parameters else ()
        if not kinds:
            return self.visit(part, scopes)
        term, finding = resolve_term(part, kinds, self.names, function.zh)
        if finding is not None:
            self.findings.append(finding)
        if term is None:
            return part
        self.uses.append(Use(part.start, part.end, str(term.value)))
        return term

    def visit_parts(self, node: Call, scopes: tuple[Field, ...]) -> Call:
        """The arguments of a function nobody knows: after rows their columns are no mistake."""
        first = [self.visit(part, scopes) for part in node.args[:1]]
        rows = _rows_of(first[0]) if first else None
        inner = scopes if rows is None else (*scopes, rows)
        rest = [self.visit(part, inner) for part in node.args[1:]]
        return Call(node.start, node.end, node.name, node.name_end, (*first, *rest))

    def rows_walked(self, function: Function, first: Node | None) -> Field | None:
        """The ROWS field a row function walks, when it is one."""
        rows = _rows_of(first)
        return rows if function.style is Style.ROWS or function.row_parameters else None

    def takes_list(self, function: Function, args: tuple[Node, ...]) -> bool:
        """Without columns only the form with nothing but the list makes sense."""
        if len(args) > 1 or function.parameters[1:] and not function.parameters[1].is_optional:
            return False
        return bool(args[0].kinds & {ValueType.ROWS, ValueType.ANY})

    def say_unknown_function(self, node: Call) -> None:
        plain = fold_letters(node.name)  # full-width letters are offered, never taken for others
        near = (
            plain
            if find_function(plain) is not None
            else _OTHER_NAMES.get(node.name.upper()) or self.suggest(node.name, function_names())
        )
        fix = write(node.start, node.name_end, near) if near else None
        hint = (
            Phrase(gettext_noop("，是不是 %(name)s？"), {"name": near})
            if near
            else Phrase(gettext_noop("；函数可以从函数列表里选"))
        )
        self.say_at(
            "unknown_function", node.start, node.name_end, fix, name=node.name[:40], hint=hint
        )

    def check_arity(
        self, node: Call, function: Function, args: tuple[Node, ...], over: Field | None
    ) -> bool:
        count = len(args)
        fewest, most, usage = function.fewest, function.most, function.usage
        if over is not None and function.row_parameters:
            fewest = sum(not parameter.is_optional for parameter in function.row_parameters)
            most, usage = len(function.row_parameters), function.row_usage
            if count < fewest:
                column = over.columns[0].label
                usage = f"{function.zh}({over.label}, {column})"
                self.say(
                    "rows_need_expression", node, function=function.zh, rows=over.label, usage=usage
                )
                return False
        elif over is not None and function.en == "DISTINCT" and count < 2:
            usage = f"{function.zh}({over.label}, {over.columns[0].label})"
            self.say(
                "rows_need_expression", node, function=function.zh, rows=over.label, usage=usage
            )
            return False
        wanted = (
            gettext_noop("至少 %(fewest)d ")
            if most is None
            else gettext_noop(" %(fewest)d ")
            if fewest == most
            else gettext_noop(" %(fewest)d 到 %(most)d ")
        )
        shared: dict[str, Any] = {
            "function": function.zh,
            "wanted": Phrase(wanted, {"fewest": fewest, "most": most}),
            "count": count,
            "usage": usage,
        }
        if count < fewest:
            self.say("too_few_arguments", node, **shared)
        elif most is not None and count > most:
            self.say_at("surplus_arguments", args[most].start, args[-1].end, **shared)
        elif function.in_pairs and (count - _unpaired(function)) % 2:
            self.say("unpaired_arguments", node, function=function.zh, usage=usage)
        else:
            return True
        return False

    def check_arguments(
        self, function: Function, args: tuple[Node, ...], over: Field | None
    ) -> None:
        walks = over is not None
        for index, part in enumerate(args):
            if walks:
                parameters = function.row_parameters or function.parameters
                parameter = parameters[index]
            else:
                parameter = function.parameter_at(index)
            if parameter.is_literal:
                self.check_pattern(function, part)
            if index or not walks:
                self.warn_argument(function, parameter, part)

    def warn_argument(self, function: Function, parameter: Parameter, part: Node) -> None:
        if isinstance(part, FieldUse) and part.field.columns and parameter.type in _LIST_TYPES:
            self.say("rows_as_list", part, rows=part.field.label, function=function.zh)
            return
        if parameter.type is ValueType.ROWS or function.sees is not Sees.VALUES:
            return
        if function.style is Style.AGGREGATE:
            return
        if function.style is Style.PLAIN and self.warn_scalar(part):
            return
        if parameter.type in NUMERIC_TYPES:
            self.warn_arithmetic(part, function.zh)

    def check_pattern(self, function: Function, part: Node) -> None:
        if not isinstance(part, Literal) or not isinstance(part.value, str):
            self.say("pattern_not_literal", part, function=function.zh)
            return
        if len(part.value) > MAX_PATTERN:
            self.say("pattern_too_long", part, count=len(part.value), limit=MAX_PATTERN)
            return
        try:
            compile_pattern(part.value)
        except BadPattern as bad:
            start, end = part.start, part.end
            place = self.text.find(bad.part, start, end) if bad.part else -1
            if place >= 0:
                start, end = place, place + len(bad.part)
            reason = Phrase(str(bad))
            if bad.part and bad.part != part.value:
                quoted = {"reason": reason, "part": bad.part}
                reason = Phrase(gettext_noop("%(reason)s“%(part)s”"), quoted)
            self.say_at("bad_pattern", start, end, reason=reason)

    def kinds_of_call(
        self, function: Function, args: tuple[Node, ...], over: Field | None
    ) -> Kinds:
        if function.infer is None:
            return frozenset({function.result})
        if over is not None:
            return function.infer([args[1].kinds])
        return function.infer([part.kinds for part in args])

    # --- branches --------------------------------------------------------------------------------

    def warn_branches(self, node: Invoke) -> None:
        english, args = node.function.en, node.args
        if english == "IF":
            outcome = self.constant_condition(args[0])
            if outcome is not None:
                self.say("constant_condition", args[0], outcome=_say_outcome(outcome))
                branch = 2 if outcome else 1
                if branch < len(args):
                    self.say_once("unreachable_branch", args[branch])
            self.warn_else_ifs(node)
        elif english == "IFS":
            self.warn_ifs(args)
        elif english == "SWITCH":
            seen: list[object] = []
            for option in args[1 : len(args) - (len(args) % 2 == 0) : 2]:
                if isinstance(option, Literal):
                    value = option.value.lower() if isinstance(option.value, str) else option.value
                    if (type(value), value) in seen:
                        self.say("unreachable_branch", option)
                    seen.append((type(value), value))

    def warn_else_ifs(self, node: Invoke) -> None:
        """Find an IF in the last place of another whose condition has nothing left to take."""
        taken = Taken()
        for inner in list_else_ifs(node):
            if taken.leaves_nothing(read_comparison(inner.args[0], self.constant_of)):
                self.say_once("unreachable_branch", inner.args[1])

    def warn_joined(self, node: Invoke) -> None:
        """Find conditions that exclude each other in AND, or leave nothing out in OR."""
        if all(id(part) in self.constants for part in node.args):
            return
        found = [read_comparison(part, self.constant_of) for part in node.args]
        outcome = decide_together(
            [item for item in found if item is not None], is_and=node.function.en == "AND"
        )
        if outcome is not None:
            self.say("constant_condition", node, outcome=_say_outcome(outcome))

    def constant_of(self, node: Node) -> Value:
        return self.constants.get(id(node))

    def say_once(self, code: str, node: Node) -> None:
        """Say what an outer part may have said before."""
        if not any(f.code == code and f.start == node.start for f in self.findings):
            self.say(code, node)

    def warn_ifs(self, args: tuple[Node, ...]) -> None:
        is_over = False
        seen: set[str] = set()
        taken = Taken()
        for index in range(0, len(args), 2):
            condition = args[index]
            written = "".join(self.text[condition.start : condition.end].split())
            found = read_comparison(condition, self.constant_of)
            if is_over or written in seen or taken.leaves_nothing(found):
                self.say_at("unreachable_branch", condition.start, args[index + 1].end)
                continue
            seen.add(written)
            outcome = self.constant_condition(condition)
            if outcome is None:
                continue
            is_over = outcome
            if not (outcome and index == len(args) - 2):
                self.say("constant_condition", condition, outcome=_say_outcome(outcome))

    def constant_condition(self, node: Node) -> bool | None:
        if id(node) not in self.constants:
            return None
        outcome = to_logical(self.constants[id(node)])
        return outcome if isinstance(outcome, bool) else None

    def warn_constant(self, tree: Node) -> None:
        """Say when a check looks at nothing of the order; 真, 10 and 通过() are meant so."""
        is_meant = isinstance(tree, Literal) or (isinstance(tree, Invoke) and not tree.args)
        is_refused = any(item.refuses for item in self.findings)
        if id(tree) in self.constants and not is_meant and not is_refused:
            self.say("constant_formula", tree)

    def check_kind(self, tree: Node, kind: Kind) -> None:
        allowed = _ALLOWED[kind]
        for branch in _branches(tree):
            if isinstance(branch, Invoke) and branch.function.en == "IF":  # the missing else
                if kind == "points":
                    fix = Fix(
                        branch.end - 1, branch.end - 1, ",0", Phrase(gettext_noop("补上 0 分"))
                    )
                    self.say("points_without_else", branch, fix)
            elif not branch.kinds <= allowed:
                wrong = Phrase(_one_type(branch.kinds - allowed).label)
                self.say(f"{kind}_kind", branch, kind=wrong)


def _rows_of(node: Node | None) -> Field | None:
    """The field with rows of several columns that a node is."""
    if not isinstance(node, FieldUse | ColumnUse):
        return None
    rows = node.field if isinstance(node, FieldUse) else node.column
    return rows if rows.type is ValueType.ROWS and rows.columns else None


def is_unlike(text: str, near: str) -> bool:
    """Tell whether the nearest name is too far off to be what was meant."""
    return difflib.SequenceMatcher(None, text.lower(), near.lower()).ratio() < _CLOSE


def _say_outcome(outcome: bool) -> Phrase:
    return Phrase(gettext_noop("成立") if outcome else gettext_noop("不成立"))


def _literal(node: Node) -> Value:
    return node.value if isinstance(node, Literal) else None


def _unpaired(function: Function) -> int:
    """How many parameters stand outside the pairs."""
    return sum(not parameter.is_repeated for parameter in function.parameters)


def _branches(node: Node) -> Iterator[Node]:
    """Yield the parts whose value the formula may return; an IF itself where it has no else."""
    waiting = [node]
    while waiting:
        current = waiting.pop()
        if not isinstance(current, Invoke) or current.function.infer is None:
            yield current
            continue
        args, english = current.args, current.function.en
        if english in _BRANCHING:
            waiting.extend(args[index] for index in _BRANCHING[english] if index < len(args))
            if english == "IF" and len(args) == 2:
                yield current
        elif english == "IFS":
            waiting.extend(args[1::2])
        elif english == "SWITCH":
            waiting.extend(args[2::2])
            if len(args) % 2 == 0:
                waiting.append(args[-1])
        elif english == "CHOOSE":
            waiting.extend(args[1:])
        else:
            yield current


_NUMBER: Final[Kinds] = frozenset({ValueType.NUMBER})
_LOGICAL: Final[Kinds] = frozenset({ValueType.LOGICAL})
_RESULT: Final[Kinds] = frozenset({ValueType.RESULT})
_TEXT: Final[Kinds] = frozenset({ValueType.TEXT})
_MONEY: Final[Kinds] = frozenset({ValueType.MONEY})
_DATETIME: Final[Kinds] = frozenset({ValueType.DATETIME})
_DURATION: Final[Kinds] = frozenset({ValueType.DURATION})


def _kinds_of_operation(operator: str, left: Kinds, right: Kinds) -> Kinds:
    if operator in COMPARISONS:
        return _LOGICAL
    if operator == "&":
        return _TEXT
    if operator in ("+", "-"):
        if left == _MONEY and right == _MONEY:  # money times a number may leave whole fen
            return _MONEY
        if left == _DATETIME and right == _DATETIME and operator == "-":
            return _DURATION
        if left == _DATETIME or (right == _DATETIME and operator == "+"):
            return _DATETIME
        if left == _DURATION:
            return _DURATION
    return _NUMBER


def _order_of_kinds(left: Kinds, right: Kinds) -> int:
    """Return -1 or 1 when one kind always comes first, 0 when the values decide."""
    left_rank, right_rank = _rank(left), _rank(right)
    if left_rank is None or right_rank is None:
        return 0
    return (left_rank > right_rank) - (left_rank < right_rank)


def _rank(kinds: Kinds) -> int | None:
    if kinds <= NUMERIC_TYPES:
        return 0
    if kinds == _TEXT:
        return 1
    return 2 if kinds == _LOGICAL else None
