"""The bounds that make the language total: what saves cannot hang a worker."""

from __future__ import annotations

from typing import Final

MAX_CHARACTERS: Final = 8_192  # as Excel
MAX_NODES: Final = 2_000
MAX_DEPTH: Final = 64  # brackets, calls, signs and percents inside one another
MAX_HEIGHT: Final = 128  # the same, with operators inside one another counted too
MAX_ARGUMENTS: Final = 255  # as Excel
MAX_TEXT: Final = 32_767  # characters of a text result, as Excel
MAX_STEPS: Final = 200_000  # steps of one evaluation: nodes per row, elements of a list
MAX_PATTERN: Final = 500  # characters of a regular expression
PATTERN_MEMORY: Final = 1 << 20  # bytes RE2 may use for one pattern
MAX_FINDINGS: Final = 50  # more would not help anybody
MAX_TRACED_ROWS: Final = 100  # rows whose parts a trace keeps


class StepLimitReached(Exception):
    """Stop an evaluation that has used up its steps."""
