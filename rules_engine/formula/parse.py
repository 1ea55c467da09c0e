"""From tokens to the tree: a Pratt parser that never goes deeper than its limit."""

from __future__ import annotations

import math
from typing import Final

from config.errors import Phrase, gettext_noop

from .errors import DELETE, REPLACE, Finding, Fix, find, write
from .limits import MAX_ARGUMENTS, MAX_CHARACTERS, MAX_DEPTH, MAX_HEIGHT, MAX_NODES
from .tokens import ADD_AT_END, Token, fold_letters, place_of, read_tokens
from .tree import Call, Chain, Literal, Name, Node, Percent, Sign
from .values import ValueType

LEVELS: Final = {
    **dict.fromkeys(("=", "<>", "<", ">", "<=", ">="), 1),
    "&": 2,
    "+": 3,
    "-": 3,
    "*": 4,
    "/": 4,
    "^": 5,
}
_TEXT: Final = frozenset({ValueType.TEXT})
_NUMBER: Final = frozenset({ValueType.NUMBER})

_DOUBLED_HINTS: Final = {
    ("=", "="): gettext_noop("，相等只写一个 ="),
    ("*", "*"): gettext_noop("，乘方写成 ^"),
    ("&", "&"): gettext_noop("，“并且”写成 且(条件1, 条件2)"),
    ("<", "<"): "",
    ("/", "/"): gettext_noop("，取整除写成 取整(a/b)"),
    (">", "="): gettext_noop("，大于等于写成 >=，中间不能有空格"),
    ("<", "="): gettext_noop("，小于等于写成 <=，中间不能有空格"),
    ("=", ">"): gettext_noop("，大于等于写成 >="),
    ("=", "<"): gettext_noop("，小于等于写成 <="),
}
_JOINED_AND: Final = gettext_noop("，“并且”写成 且(条件1, 条件2)")
_JOINED_OR: Final = gettext_noop("，“或者”写成 或(条件1, 条件2)")
_BEGINNING: Final = Phrase(gettext_noop("公式开头"))
_SHOWN: Final = 40  # characters of a remedy in its label
_SPLIT_OPERATORS: Final = {
    ("*", "*"): "^",
    ("=", ">"): ">=",
    ("=", "<"): "<=",
    (">", "="): ">=",
    ("<", "="): "<=",
    ("<", ">"): "<>",
}
_JOINING: Final = {
    **dict.fromkeys(("&&", "and", "并且", "且", "而且"), "且"),
    **dict.fromkeys(("||", "|", "or", "或者", "或"), "或"),
}
_WORD_HINTS: Final = {
    "%": gettext_noop("，求余写成 求余(被除数, 除数)"),
    **dict.fromkeys(("not", "非"), gettext_noop("，“不成立”写成 非(条件)")),
    **dict.fromkeys(
        ("if", "如果", "那么", "否则", "else"), gettext_noop("，写成 如果(条件, 成立时, 不成立时)")
    ),
    **dict.fromkeys(("in", "属于"), gettext_noop("，写成 属于(值, 选项1, 选项2)")),
    **dict.fromkeys(("包含", "包括"), gettext_noop("，写成 包含(文本, 片段)")),
}
# Operators as people say them; longer words first, so that 大于等于 is not read as 大于.
WORD_OPERATORS: Final = {
    **dict.fromkeys(("大于等于", "大于或等于", "不小于", "不少于", "不低于", "至少"), ">="),
    **dict.fromkeys(("小于等于", "小于或等于", "不大于", "不超过", "不多于", "至多"), "<="),
    **dict.fromkeys(("不等于", "不是"), "<>"),
    **dict.fromkeys(("大于", "超过", "多于", "晚于"), ">"),
    **dict.fromkeys(("小于", "少于", "不足", "低于", "早于"), "<"),
    **dict.fromkeys(("等于", "是", "is"), "="),
    **dict.fromkeys(("加上", "加"), "+"),
    **dict.fromkeys(("减去", "减"), "-"),
    **dict.fromkeys(("乘以", "乘"), "*"),
    **dict.fromkeys(("除以", "除"), "/"),
}
_UNITS: Final = frozenset(
    [
        "元",
        "块",
        "角",
        "分",
        "件",
        "个",
        "单",
        "笔",
        "次",
        "天",
        "日",
        "小时",
        "分钟",
        "秒",
        "克",
        "千克",
        "公斤",
        "厘米",
        "岁",
    ]
)
_IF_WORDS: Final = frozenset(("if", "如果", "若", "假如", "当"))
_THEN_WORDS: Final = frozenset(("那么", "则", "就", "then"))
_ELSE_WORDS: Final = frozenset(("否则", "不然", "else"))


class _Stop(Exception):  # noqa: N818
    def __init__(self, finding: Finding) -> None:
        self.finding = finding


def parse(text: str) -> tuple[Node | None, list[Finding]]:
    """Parse a formula; the tree is None when the text does not hold together.

    Never raises for any text.
    """
    if len(text) > MAX_CHARACTERS:
        finding = find(
            "too_long",
            start=MAX_CHARACTERS,
            end=len(text),
            count=len(text),
            limit=MAX_CHARACTERS,
        )
        return None, [finding]
    tokens, findings = read_tokens(text)
    if findings:
        return None, findings
    if tokens[0].kind == "end" or (tokens[0].value == "=" and tokens[1].kind == "end"):
        return None, [find("empty", start=0, end=len(text))]
    try:
        return _Parser(text, tokens).parse_formula(), []
    except _Stop as stop:
        return None, [stop.finding]


class _Parser:
    def __init__(self, text: str, tokens: list[Token]) -> None:
        self.text = text
        self.tokens = tokens
        self.index = 0
        self.depth = 0
        self.height = 0
        self.nodes = 0

    def parse_formula(self) -> Node:
        first = self.tokens[0]
        if first.kind == "op" and first.value == "=":
            self.index = 1
        tree = self.parse_expression(1)
        rest = self.tokens[self.index]
        if rest.kind != "end":
            raise _Stop(self.explain_rest(rest))
        return tree

    def parse_expression(self, level: int) -> Node:
        left = self.parse_operand()
        tokens = self.tokens
        while True:
            token = tokens[self.index]
            here = LEVELS.get(token.value, 0) if token.kind == "op" else 0
            if here < level or not here:
                return left
            rest: list[tuple[str, Node]] = []
            while token.kind == "op" and LEVELS.get(token.value) == here:
                self.index += 1
                self.height += 1
                if self.height > MAX_HEIGHT:
                    raise _Stop(self.find("too_deep", token, limit=MAX_HEIGHT))
                rest.append((token.value, self.parse_expression(here + 1)))
                self.height -= 1
                token = tokens[self.index]
            self.count_node(token)
            left = Chain(left.start, rest[-1][1].end, left, tuple(rest))

    def parse_operand(self) -> Node:
        token = self.tokens[self.index]
        kind, value, start, end = token
        self.count_node(token)
        node: Node
        if kind == "op":
            if value == "(":
                node = self.parse_bracket(token)
            elif value in ("+", "-"):
                self.index += 1
                self.go_deeper(token)
                operand = self.parse_operand()
                self.come_back()
                return Sign(start, operand.end, value, operand)
            else:
                raise _Stop(self.missing_operand(token))
        else:
            self.index += 1
            if kind == "number":
                number = float(value)
                if math.isinf(number):
                    raise _Stop(self.find("number_too_large", token))
                node = Literal(start, end, number, _NUMBER)
            elif kind == "text":
                node = Literal(start, end, value, _TEXT)
            elif kind == "name":
                after = self.tokens[self.index]
                if after.kind == "op" and after.value == "(":
                    node = self.parse_call(token)
                else:
                    node = Name(start, end, value, fold_letters(value), "bare")
            elif kind == "label":
                node = Name(start, end, value, value, "quoted")
            elif kind == "id":
                node = Name(start, end, value[2:-1], value[2:-1], "id")
            else:
                self.index -= 1
                raise _Stop(self.missing_operand(token))
        return self.parse_percents(node)

    def parse_percents(self, node: Node) -> Node:
        levels = 0
        token = self.tokens[self.index]
        while token.kind == "op" and token.value == "%":
            self.index += 1
            self.go_deeper(token)
            self.count_node(token)
            levels += 1
            node = Percent(node.start, token.end, node)
            token = self.tokens[self.index]
        self.come_back(levels)
        return node

    def parse_bracket(self, opening: Token) -> Node:
        self.index += 1
        self.go_deeper(opening)
        inner = self.parse_expression(1)
        self.expect_closing(opening)
        self.come_back()
        return inner

    def parse_call(self, name: Token) -> Node:
        opening = self.tokens[self.index]
        self.index += 1
        self.go_deeper(name)
        args: list[Node] = []
        token = self.tokens[self.index]
        if token.kind == "op" and token.value == ")":
            self.index += 1
        else:
            while True:
                token = self.tokens[self.index]
                if token.kind == "op" and token.value in (",", ")"):
                    raise _Stop(self.missing_argument(name, token, len(args) + 1))
                if len(args) == MAX_ARGUMENTS:
                    raise _Stop(
                        self.find(
                            "too_many_arguments", token, function=name.value, limit=MAX_ARGUMENTS
                        )
                    )
                args.append(self.parse_expression(1))
                token = self.tokens[self.index]
                if token.kind == "op" and token.value == ",":
                    self.index += 1
                    continue
                self.expect_closing(opening)
                break
        self.come_back()
        end = self.tokens[self.index - 1].end
        return Call(name.start, end, name.value, name.end, tuple(args))

    def expect_closing(self, opening: Token) -> None:
        token = self.tokens[self.index]
        if token.kind == "op" and token.value == ")":
            self.index += 1
        elif token.kind == "end":
            missing = self.count_open_brackets()
            fix = write(token.start, token.end, ")" * missing, ADD_AT_END)
            raise _Stop(self.find("unclosed_bracket", opening, fix=fix))
        else:
            raise _Stop(self.explain_rest(token))

    def count_node(self, token: Token) -> None:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise _Stop(self.find("too_many_nodes", token, limit=MAX_NODES))

    def go_deeper(self, token: Token) -> None:
        self.depth += 1
        self.height += 1
        if self.depth > MAX_DEPTH or self.height > MAX_HEIGHT:
            limit = MAX_DEPTH if self.depth > MAX_DEPTH else MAX_HEIGHT
            raise _Stop(self.find("too_deep", token, limit=limit))

    def come_back(self, levels: int = 1) -> None:
        self.depth -= levels
        self.height -= levels

    # --- what to say -----------------------------------------------------------------------------

    def find(self, code: str, token: Token, fix: Fix | None = None, **params: object) -> Finding:
        place = place_of(self.text, token.start)
        return find(code, start=token.start, end=token.end, fix=fix, **place, **params)

    def typed(self, token: Token) -> str:
        return self.text[token.start : token.end][:20]

    def missing_operand(self, token: Token) -> Finding:
        before = self.tokens[self.index - 1] if self.index else token
        if self.index == 0:
            return self.find("missing_operand", token, before=_BEGINNING, hint="")
        hint = Phrase(_DOUBLED_HINTS.get((before.value, token.value), ""))
        fix = None
        if (before.value, token.value) == ("=", "="):
            fix = Fix(token.start, token.end, "", Phrase(gettext_noop("去掉一个 =")))
        elif token.kind == "op" and (before.value, token.value) in _SPLIT_OPERATORS:
            whole = _SPLIT_OPERATORS[before.value, token.value]
            fix = write(before.start, token.end, whole, REPLACE)
        elif token.kind == "end" and before.kind == "op" and before.value not in ("(", ","):
            fix = write(before.start, before.end, "", DELETE, shown=self.typed(before))
        return self.find("missing_operand", token, fix=fix, before=self.typed(before), hint=hint)

    def missing_argument(self, name: Token, token: Token, number: int) -> Finding:
        before = self.tokens[self.index - 1]
        fix = Fix(token.start, token.start, "0", Phrase(gettext_noop("补上 0，与 Excel 相同")))
        if token.value == ")":
            fix = Fix(before.start, before.end, "", Phrase(gettext_noop("删除多余的逗号")))
        return self.find("missing_argument", token, fix=fix, function=name.value, number=number)

    def explain_rest(self, token: Token) -> Finding:
        before = self.tokens[self.index - 1]
        if token.value == ")" and token.kind == "op":
            extra = write(token.start, token.end, "", DELETE, shown=")")
            return self.find("extra_bracket", token, fix=extra)
        if token.value == "," and token.kind == "op":
            return self.find("stray_comma", token)
        if token.value == "(" and token.kind == "op":
            return self.find("call_of_value", token)
        if _joining(self.tokens, self.index):
            return self.explain_joined(token)
        words = (token.value.lower(), before.value.lower())
        hint = Phrase(next((_WORD_HINTS[word] for word in words if word in _WORD_HINTS), ""))
        fix = self.write_as_if()
        operator = WORD_OPERATORS.get(words[0], "") if token.kind == "name" else ""
        if operator:
            hint = Phrase(
                gettext_noop("，“%(word)s”写成 %(operator)s"),
                {"word": token.value, "operator": operator},
            )
            fix = write(token.start, token.end, operator, REPLACE)
        elif before.kind == "number" and token.kind == "name" and token.value in _UNITS:
            hint = Phrase(gettext_noop("，单位不用写"))
            fix = write(token.start, token.end, "", DELETE, shown=token.value)
        return self.find(
            "missing_operator",
            token,
            fix=fix,
            before=self.typed(before),
            after=self.typed(token),
            hint=hint,
        )

    def explain_joined(self, token: Token) -> Finding:
        """a && b, a 并且 b: the whole condition can be written as a call."""
        is_and = _joining(self.tokens, self.index) == "且"
        return self.find(
            "infix_logic",
            token,
            fix=self.join_as_calls(),
            word=self.typed(token),
            hint=Phrase(_JOINED_AND if is_and else _JOINED_OR),
        )

    def join_as_calls(self) -> Fix | None:
        """Write the conditions around the place as 且(…) and 或(…); && binds tighter than ||."""
        first, last = self.find_segment()
        alternatives: list[list[list[Token]]] = [[[]]]
        for index in range(first, last):
            joining = _joining(self.tokens, index)
            if joining == "或":
                alternatives.append([[]])
            elif joining == "且":
                alternatives[-1].append([])
            else:
                alternatives[-1][-1].append(self.tokens[index])
        written = []
        for conditions in alternatives:
            if not all(conditions):
                return None
            parts = [self.text[part[0].start : part[-1].end] for part in conditions]
            written.append(parts[0] if len(parts) == 1 else f"且({', '.join(parts)})")
        joined = written[0] if len(written) == 1 else f"或({', '.join(written)})"
        start, end = self.tokens[first].start, self.tokens[last - 1].end
        return write(start, end, joined, shown=joined[:_SHOWN])

    def write_as_if(self) -> Fix | None:
        """如果 a 那么 b 否则 c: the whole can be written as a call."""
        first, last = self.find_segment()
        inside = self.tokens[first:last]
        if not inside or inside[0].kind != "name" or inside[0].value.lower() not in _IF_WORDS:
            return None
        parts: list[list[Token]] = [[]]
        words = [_THEN_WORDS, _ELSE_WORDS]
        depth = 0
        for token in inside[1:]:
            if token.kind == "op":
                depth += (token.value == "(") - (token.value == ")")
            is_word = depth == 0 and token.kind == "name" and len(parts) <= len(words)
            if is_word and token.value.lower() in words[len(parts) - 1]:
                parts.append([])
            else:
                parts[-1].append(token)
        if len(parts) < 2 or not all(parts):
            return None
        written = ", ".join(self.text[part[0].start : part[-1].end] for part in parts)
        made = f"如果({written})"
        return write(inside[0].start, inside[-1].end, made, shown=made[:_SHOWN])

    def find_segment(self) -> tuple[int, int]:
        """The tokens around the place up to the bracket or comma that encloses them."""
        first = last = self.index
        depth = 0
        while first > 0:
            value = self.tokens[first - 1].value if self.tokens[first - 1].kind == "op" else ""
            if depth == 0 and (value in ("(", ",") or (value == "=" and first == 1)):
                break
            depth += (value == ")") - (value == "(")
            first -= 1
        depth = 0
        while self.tokens[last].kind != "end":
            value = self.tokens[last].value if self.tokens[last].kind == "op" else ""
            if depth == 0 and value in (")", ","):
                break
            depth += (value == "(") - (value == ")")
            last += 1
        return first, last

    def count_open_brackets(self) -> int:
        """How many ( have no ) yet."""
        depth = 0
        for token in self.tokens:
            if token.kind == "op":
                depth = max(0, depth + (token.value == "(") - (token.value == ")"))
        return max(1, depth)


def _joining(tokens: list[Token], index: int) -> str:
    """Tell whether a token stands between two conditions: 且, 或 or nothing."""
    token = tokens[index]
    joined = _JOINING.get(token.value.lower(), "") if token.kind in ("op", "name") else ""
    before = tokens[index - 1] if index else token
    follows_operand = before.kind != "op" or before.value in (")", "%")
    return joined if index and follows_operand else ""
