"""Excel's wildcards ? * ~ matched in linear time: pieces between stars are found one after another.

A star takes whatever lies between, so the earliest place of each piece is always a right choice
and nothing is ever tried twice.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

MAX_WILDCARDS: Final = 255  # characters of a text with wildcards, as in Excel


def has_wildcards(pattern: str) -> bool:
    """Tell whether the text holds a wildcard or an escaped one."""
    return "*" in pattern or "?" in pattern or "~" in pattern


@lru_cache(maxsize=512)
def _pieces(pattern: str) -> tuple[tuple[re.Pattern[str], int], ...]:
    """Cut at stars; each piece as a regular expression of fixed length, and that length."""
    pieces: list[list[str]] = [[]]
    position = 0
    while position < len(pattern):
        character = pattern[position]
        if character == "~" and pattern[position + 1 : position + 2] in ("*", "?", "~"):
            position += 1
            pieces[-1].append(re.escape(pattern[position]))
        elif character == "*":
            pieces.append([])
        else:
            pieces[-1].append("." if character == "?" else re.escape(character))
        position += 1
    return tuple((re.compile("".join(piece), re.DOTALL), len(piece)) for piece in pieces)


def search_wildcards(pattern: str, text: str, start: int) -> int:
    """Return where the first match at or after `start` begins, -1 without one; case counts."""
    first = -1
    for index, (piece, length) in enumerate(_pieces(pattern)):
        found = piece.search(text, start)
        if found is None:
            return -1
        if index == 0:
            first = found.start()
        start = found.start() + length
    return first


def matches_wildcards(pattern: str, text: str) -> bool:
    """Tell whether the whole text matches; case counts."""
    pieces = _pieces(pattern)
    first, first_length = pieces[0]
    if len(pieces) == 1:
        return len(text) == first_length and first.match(text) is not None
    last, last_length = pieces[-1]
    end = len(text) - last_length
    if end < first_length or first.match(text) is None or last.match(text, end) is None:
        return False
    position = first_length
    for piece, length in pieces[1:-1]:
        found = piece.search(text, position, end)
        if found is None:
            return False
        position = found.start() + length
    return True
