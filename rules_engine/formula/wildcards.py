"""Excel's wildcards ? * ~ matched in linear time: pieces between stars are found one after another.

A star takes whatever lies between, so the earliest place of each piece is always a right choice
and nothing is ever tried twice. A piece with ? is searched by the shift-and method: one step per
character of the text, whatever the piece.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from .limits import SHORT_TEXT, spend_text

MAX_WILDCARDS: Final = 255  # characters of a text with wildcards, as in Excel


@dataclass(frozen=True, slots=True)
class _Piece:
    """What stands between two stars: `text` when it has no ?, else bit masks by character.

    Bit i of `masks[c]` says that the piece takes c at place i, of `any` that it takes anything.
    """

    length: int
    text: str | None
    masks: dict[str, int]
    any: int

    def find(self, inside: str, start: int, end: int) -> int:
        """Where the piece stands first in inside[start:end], -1 when nowhere."""
        if self.text is not None:
            return inside.find(self.text, start, end)
        state, last, others, masks = 0, 1 << (self.length - 1), self.any, self.masks
        for place in range(start, end):
            state = (state << 1 | 1) & masks.get(inside[place], others)
            if state & last:
                return place + 1 - self.length
        return -1

    def stands_at(self, inside: str, place: int) -> bool:
        """Whether the piece stands at this place."""
        end = place + self.length
        return place >= 0 and end <= len(inside) and self.find(inside, place, end) == place


def has_wildcards(pattern: str) -> bool:
    """Tell whether the text holds a wildcard or an escaped one."""
    return "*" in pattern or "?" in pattern or "~" in pattern


@lru_cache(maxsize=512)
def _pieces(pattern: str) -> tuple[_Piece, ...]:
    """Cut at stars."""
    pieces: list[list[str | None]] = [[]]
    position = 0
    while position < len(pattern):
        character = pattern[position]
        if character == "~" and pattern[position + 1 : position + 2] in ("*", "?", "~"):
            position += 1
            pieces[-1].append(pattern[position])
        elif character == "*":
            pieces.append([])
        else:
            pieces[-1].append(None if character == "?" else character)
        position += 1
    return tuple(_make_piece(piece) for piece in pieces)


def _make_piece(piece: list[str | None]) -> _Piece:
    """`piece`: characters, None for any."""
    fixed = [character for character in piece if character is not None]
    if len(fixed) == len(piece):
        return _Piece(len(piece), "".join(fixed), {}, 0)
    anything = sum(1 << place for place, character in enumerate(piece) if character is None)
    masks = dict.fromkeys(fixed, anything)
    for place, character in enumerate(piece):
        if character is not None:
            masks[character] |= 1 << place
    return _Piece(len(piece), None, masks, anything)


def search_wildcards(pattern: str, text: str, start: int) -> int:
    """Return where the first match at or after `start` begins, -1 without one; case counts."""
    first = -1
    for index, piece in enumerate(_pieces(pattern)):
        found = piece.find(text, start, len(text))
        if found < 0:
            return -1
        if index == 0:
            first = found
        start = found + piece.length
    return first


def matches_wildcards(pattern: str, text: str) -> bool:
    """Tell whether the whole text matches; case counts.

    Raises StepLimitReached.
    """
    if len(text) > SHORT_TEXT:
        spend_text(len(text))
    first, *middle = _pieces(pattern)
    if not middle:
        return len(text) == first.length and first.stands_at(text, 0)
    last = middle.pop()
    end = len(text) - last.length
    if end < first.length or not first.stands_at(text, 0) or not last.stands_at(text, end):
        return False
    position = first.length
    for piece in middle:
        found = piece.find(text, position, end)
        if found < 0:
            return False
        position = found + piece.length
    return True
