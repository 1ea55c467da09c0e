"""The bounds that make the language total: what saves cannot hang a worker."""

from __future__ import annotations

import threading
from typing import Final

MAX_CHARACTERS: Final = 8_192  # as Excel
MAX_NODES: Final = 2_000
MAX_DEPTH: Final = 64  # brackets, calls, signs and percents inside one another
MAX_HEIGHT: Final = 128  # the same, with operators inside one another counted too
MAX_ARGUMENTS: Final = 255  # as Excel
MAX_TEXT: Final = 32_767  # characters of a text result, as Excel
MAX_NUMBER: Final = 512  # characters of a text that may say a number, a date, TRUE or FALSE
MAX_STEPS: Final = 200_000  # steps of one evaluation: nodes per row, elements of a list
MAX_TEXT_WORK: Final = 250_000  # characters the text functions of one evaluation may look at
SHORT_TEXT: Final = 100  # characters that count for nothing: the steps bound how many there are
MAX_PATTERN: Final = 500  # characters of a regular expression
PATTERN_MEMORY: Final = 1 << 20  # bytes RE2 may use for one pattern
MAX_PATTERNS: Final = 128  # kept compiled in one process
MAX_FINDINGS: Final = 50  # more would not help anybody
MAX_TRACED_ROWS: Final = 100  # rows whose parts a trace keeps
MAX_LOOKUPS: Final = 30  # look-ups written in one formula
MAX_WALKS: Final = 20  # walks over related orders or history written in one formula
MAX_RULE_SET_LOOKUPS: Final = 200  # the same in all formulas of a rule set
MAX_RULE_SET_WALKS: Final = 100


class StepLimitReached(Exception):
    """Stop an evaluation that has used up its steps."""


class _TextMeter(threading.local):
    """What the evaluation of this thread may still look at, in characters."""

    left = MAX_TEXT_WORK


_METER: Final = _TextMeter()


def start_text_work() -> None:
    """Begin an evaluation: all of its text work lies ahead."""
    _METER.left = MAX_TEXT_WORK


def spend_text(characters: int) -> None:
    """Count characters that a text function looks at or makes.

    Raises StepLimitReached.
    """
    _METER.left -= characters
    if _METER.left < 0:
        raise StepLimitReached
