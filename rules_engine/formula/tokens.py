"""From typed text to tokens. Full-width marks and digits are folded character by character.

Every character stands for itself or for exactly one other, so positions stay those of the typed
text. The text of literals and of [labels] is never folded. Letters fold only where a name is
written wholly in full-width letters and a bracket follows: ＩＦ（ is IF(, ａmount is nothing.
"""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

from config.errors import Phrase, gettext_noop

from .errors import REPLACE, Finding, Fix, find, write
from .limits import MAX_FINDINGS

FOLDED: Final = {
    **{ord("０") + i: str(i) for i in range(10)},
    **dict(zip(map(ord, "（），．＝＞＜＋－＊／＾＆％［］【】｛｝＂＃：；　。"), "(),.=><+-*/^&%[][]{}\"#:; .", strict=True)),
}  # fmt: skip
_FULL_WIDTH_LETTERS: Final = {
    **{ord("Ａ") + i: chr(ord("A") + i) for i in range(26)},
    **{ord("ａ") + i: chr(ord("a") + i) for i in range(26)},
    ord("＿"): "_",
}
_SAME_OPERATOR: Final = {
    "≥": ">=",
    "≤": "<=",
    "≠": "<>",
    "×": "*",
    "÷": "/",
    "−": "-",
    "≧": ">=",
    "≦": "<=",
}

_HAN: Final = "\u3007\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0002ebef\U00030000-\U000323af"
_LETTER: Final = f"A-Za-z_Ａ-Ｚａ-ｚ＿{_HAN}"

_TOKEN: Final = re.compile(
    rf"""(?P<space>[ \t\r\n]+)
    |(?P<name>[{_LETTER}][{_LETTER}0-9]*)
    |(?P<number>(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)
    |(?P<comment>/\*.*?(?:\*/|\Z))
    |(?P<op><=|>=|<>|&&|\|\|?|[-+*/^&=<>%(),≥≤≠×÷−≧≦])
    |(?P<text>")
    |(?P<curly>[“”])
    |(?P<label>\[[^\[\]\r\n]*\]?)
    |(?P<id>\{{\#[^{{}}\r\n]*\}})""",
    re.VERBOSE | re.DOTALL,
)
_TEXT_END: Final = re.compile(r'[^"]*(?:""[^"]*)*"')
_CURLY_END: Final = re.compile(r"[^“”]*(?:””[^“”]*)*[“”]")
_LABEL_END: Final = re.compile(rf"[{_LETTER}0-9]*")  # what a label that is not closed likely is
_SINGLE_QUOTED: Final = re.compile(r"'([^'\r\n]*)'|[‘’]([^‘’\r\n]*)[‘’]|`([^`\r\n]*)`")
_BARE_NAME: Final = re.compile(rf"[A-Za-z_{_HAN}][A-Za-z_{_HAN}0-9]*")

# Control, soft hyphen, joiners, zero width, bidi, line and paragraph separators, odd spaces,
# variation selectors, private use, surrogates, non-characters, tags.
_HIDDEN: Final = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\xa0\xad\u034f\u061c\u115f\u1160\u1680\u17b4\u17b5"
    "\u180b-\u180f\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0"
    "\ufff0-\uffff\ue000-\uf8ff\ud800-\udfff\U000e0000-\U0010ffff]"
)

_HINTS: Final = {
    "'": gettext_noop("，文本要用双引号"),
    "‘": gettext_noop("，文本要用双引号"),
    "’": gettext_noop("，文本要用双引号"),
    "、": gettext_noop("，参数之间用逗号"),
    ";": gettext_noop("，参数之间用逗号"),
    "!": gettext_noop("，不等于写成 <>"),
    "！": gettext_noop("，不等于写成 <>"),
    "{": gettext_noop("，多个值请用 属于(值, 选项1, 选项2)"),
    ":": gettext_noop("，这里没有单元格区域，请用字段名"),
    "。": gettext_noop("，公式里不写句号"),
    ".": gettext_noop("，这里没有小数点前后的数字，也不能用点号取属性"),
    "#": gettext_noop("，注释写成 /* … */"),
    "$": gettext_noop("，这里没有单元格引用，请用字段名"),
    "`": gettext_noop("，文本要用双引号"),
    "“": gettext_noop("，文本要用双引号"),
    "]": gettext_noop("，没有对应的 ["),
}
_ADD: Final = gettext_noop("补上 %(text)s")
ADD_AT_END: Final = gettext_noop("在末尾补上 %(text)s")
_DELETE_IT: Final = Phrase(gettext_noop("删除这个字符"))
_TO_DOUBLE_QUOTES: Final = Phrase(gettext_noop("换成双引号"))
_REPLACEMENTS: Final = {"、": ",", ";": ",", "!": "<>", "！": "<>", "‘": '"', "’": '"', "'": '"'}


class Token(NamedTuple):
    """A piece of the formula. kind: number, text, name, label, id, op or end."""

    kind: str
    value: str
    start: int
    end: int


def is_bare_name(text: str) -> bool:
    """Tell whether text can stand in a formula as a name without [brackets]."""
    return _BARE_NAME.fullmatch(text) is not None


def fold_letters(text: str) -> str:
    """Return text with full-width letters and digits made half-width."""
    return text.translate(_FULL_WIDTH_LETTERS).translate(FOLDED)


def place_of(text: str, position: int) -> dict[str, Any]:
    """Return line and column (both from 1) of a position, for messages."""
    return {
        "line": text.count("\n", 0, position) + 1,
        "column": position - (text.rfind("\n", 0, position) + 1) + 1,
    }


def read_tokens(text: str) -> tuple[list[Token], list[Finding]]:
    """Cut text into tokens, the last one of kind "end"; collect what cannot be read."""
    findings = _find_hidden(text)
    if findings:
        return [], findings
    tokens: list[Token] = []
    folded = text.translate(FOLDED)
    position, length = 0, len(text)
    match_token = _TOKEN.match
    while position < length and len(findings) < MAX_FINDINGS:
        match = match_token(folded, position)
        if match is None:
            findings.append(_unknown_character(text, folded, position))
            position = findings[-1].end
            continue
        kind, end = match.lastgroup, match.end()
        if kind == "op":
            typed = match.group()
            tokens.append(Token("op", _SAME_OPERATOR.get(typed, typed), position, end))
        elif kind == "name":
            tokens.append(Token("name", text[position:end], position, end))
        elif kind == "number" or kind == "id":
            tokens.append(Token(kind, match.group(), position, end))
        elif kind == "text" or kind == "curly":
            end = _read_text(text, folded, position, kind == "curly", tokens, findings)
        elif kind == "label":
            _read_label(text, folded, position, end, tokens, findings)
        elif kind == "comment" and (end - position < 4 or folded[end - 2 : end] != "*/"):
            close = write(end, end, "*/", _ADD)
            findings.append(
                find(
                    "unclosed_comment",
                    start=position,
                    end=end,
                    fix=close,
                    **place_of(text, position),
                )
            )
        position = end
    tokens.append(Token("end", "", length, length))
    return tokens, findings


def _find_hidden(text: str) -> list[Finding]:
    findings: list[Finding] = []
    for match in _HIDDEN.finditer(text):
        start, end = match.span()
        findings.append(
            find(
                "hidden_character",
                start=start,
                end=end,
                fix=Fix(start, end, " " if match.group() == "\xa0" else "", _DELETE_IT),
                character=f"U+{ord(match.group()):04X}",
                **place_of(text, start),
            )
        )
        if len(findings) >= MAX_FINDINGS:
            break
    return findings


def _read_text(
    text: str,
    folded: str,
    start: int,
    is_curly: bool,
    tokens: list[Token],
    findings: list[Finding],
) -> int:
    source = text if is_curly else folded
    match = (_CURLY_END if is_curly else _TEXT_END).match(source, start + 1)
    if match is None:
        findings.append(_unclosed_text(text, start))
        return len(text)
    end = match.end()
    content = text[start + 1 : end - 1]
    if is_curly:
        content = content.replace("””", "”")
    elif '"' in folded[start + 1 : end - 1]:
        content = _undouble(content, folded[start + 1 : end - 1])
    tokens.append(Token("text", content, start, end))
    return end


def _undouble(content: str, folded: str) -> str:
    """Turn each doubled quote into one."""
    kept: list[str] = []
    position = 0
    while position < len(content):
        kept.append(content[position])
        position += 2 if folded[position] == '"' else 1
    return "".join(kept)


def _unclosed_text(text: str, start: int) -> Finding:
    curly = max(text.rfind("”"), text.rfind("“"))
    if curly > start and text[start] in '"＂':
        fix = write(curly, curly + 1, '"', REPLACE)
    else:
        closing = '"' if text[start] in '"＂' else "”"
        fix = write(len(text), len(text), closing, ADD_AT_END)
    return find("unclosed_text", start=start, end=len(text), fix=fix, **place_of(text, start))


def _read_label(
    text: str, folded: str, start: int, end: int, tokens: list[Token], findings: list[Finding]
) -> None:
    if folded[end - 1] != "]":
        inner = _LABEL_END.match(folded, start + 1)
        close = inner.end() if inner is not None else end
        fix = write(close, close, "]", _ADD)
        findings.append(
            find("unclosed_label", start=start, end=end, fix=fix, **place_of(text, start))
        )
    else:
        tokens.append(Token("label", text[start + 1 : end - 1].strip(), start, end))


def _unknown_character(text: str, folded: str, position: int) -> Finding:
    character = text[position]
    quoted = _SINGLE_QUOTED.match(text, position)
    if quoted is not None:
        content = (quoted[1] or quoted[2] or quoted[3] or "").replace('"', '""')
        return find(
            "unknown_character",
            start=position,
            end=quoted.end(),
            fix=Fix(position, quoted.end(), f'"{content}"', _TO_DOUBLE_QUOTES),
            character=character,
            hint=Phrase(_HINTS["'"]),
            **place_of(text, position),
        )
    replacement = _REPLACEMENTS.get(character) or _REPLACEMENTS.get(folded[position])
    end = (
        position + 2
        if text[position : position + 2] in ("!=", "！=", "！＝", "!＝")
        else position + 1
    )
    fix = write(position, end, replacement, REPLACE) if replacement else None
    if character == "。":
        fix = Fix(position, end, "", Phrase(gettext_noop("删除句号")))
    return find(
        "unknown_character",
        start=position,
        end=end,
        fix=fix,
        character=character,
        hint=Phrase(_HINTS.get(character) or _HINTS.get(folded[position]) or ""),
        **place_of(text, position),
    )
