"""How a list of orders may be read: width of its windows, reach, direction of its pages. Pure.

`connectors.sync.windows` plans by it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum


class Paging(StrEnum):
    """In which direction the pages of one window are read so that nothing is lost."""

    BACKWARD = "backward"  # newest first and shifting: the last page first, page one last
    FORWARD = "forward"  # a stable order
    CURSOR = "cursor"  # the answer names the next page


@dataclass(frozen=True, slots=True)
class ListRules:
    """How one list of a platform may be read.

    `overlap`: how far a window reaches back over what was read already, for orders that became
    visible late. `settle`: how old the newest moment must be before it is asked for.
    `reach`: how far back the list goes at all; what is older is read by another call.
    """

    max_window: timedelta
    overlap: timedelta
    settle: timedelta
    reach: timedelta
    page_size: int
    paging: Paging
    first_page: int = 1

    def __post_init__(self) -> None:
        if (
            not timedelta(0) <= self.settle
            or not timedelta(0) <= 2 * self.overlap <= self.max_window
        ):
            # A longer overlap would let a run of one window end where it began.
            raise ValueError("the overlap has to be at most half of the longest window")
        if self.max_window > self.reach or self.page_size < 1:
            raise ValueError("a window has to fit into the reach, and a page has to hold an order")
