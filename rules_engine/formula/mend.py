"""Reads on after a mistake: puts in the remedies that are certain, so that one look finds them all.

What is mended here is only looked at; the formula stays refused and its text as typed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from .errors import Finding, Fix
from .limits import MAX_FINDINGS
from .parse import parse
from .tokens import place_of
from .tree import Node

_MAX_LENGTH: Final = 2_000  # characters; longer texts get their first mistake only
_MAX_ROUNDS: Final = 6


class Mended:
    """A text with remedies put in, and the place every character of it comes from."""

    def __init__(self, text: str) -> None:
        self.typed = text
        self.text = text
        self.origins = list(range(len(text) + 1))
        self.tree: Node | None = None
        self.findings: list[Finding] = []

    def note(self, findings: Iterable[Finding]) -> None:
        """Keep findings about the mended text, with the places they have in the typed one."""
        for finding in findings:
            if len(self.findings) >= MAX_FINDINGS:
                return
            start, end = self._place(finding.start), self._place(finding.end)
            fix = finding.fix
            if fix is not None:
                fix = Fix(self._place(fix.start), self._place(fix.end), fix.text, fix.label)
            params = finding.params
            if "line" in params:
                params = params | place_of(self.typed, start)
            moved = replace(finding, start=start, end=max(start, end), fix=fix, params=params)
            if not any(_is_same(moved, other) for other in self.findings):
                self.findings.append(moved)

    def put_in(self, fixes: Sequence[Fix]) -> None:
        """Put remedies in, from the end so that the places of the earlier ones hold."""
        reached = len(self.text) + 1
        for fix in sorted(fixes, key=lambda item: item.start, reverse=True):
            if fix.end > reached:
                continue
            reached = fix.start
            self.text = self.text[: fix.start] + fix.text + self.text[fix.end :]
            self.origins[fix.start : fix.end] = [self.origins[fix.start]] * len(fix.text)

    def _place(self, position: int) -> int:
        return self.origins[min(position, len(self.origins) - 1)]


def _is_same(first: Finding, second: Finding) -> bool:
    return first.code == second.code and first.start == second.start


def mend(text: str, findings: Sequence[Finding]) -> Mended:
    """Read on behind the findings of a text that does not hold together.

    The tree is None when a mistake has no certain remedy; the findings so far stand all the same.
    """
    mended = Mended(text)
    mended.note(findings)
    for _ in range(_MAX_ROUNDS):
        fixes = [item.fix for item in findings if item.fix is not None]
        is_hopeless = len(fixes) < len(findings) or len(findings) >= MAX_FINDINGS
        if is_hopeless or len(mended.text) > _MAX_LENGTH:
            return mended
        before = mended.text
        mended.put_in(fixes)
        if mended.text == before:
            return mended
        mended.tree, findings = parse(mended.text)
        mended.note(findings)
        if mended.tree is not None or len(mended.findings) >= MAX_FINDINGS:
            return mended
    return mended
