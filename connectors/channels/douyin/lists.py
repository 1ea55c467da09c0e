"""How the order lists of Douyin shop may be read. Pure data.

Source: channels.md 5.2. `order.searchList` counts its pages from 0, 100 orders each, and keeps no
snapshot: an order that changes while it is being read leaves a window that ended before, and all
behind it move forward by one. Oldest first and read from the *last* page, they move to pages not
read yet; orders that become visible late push only younger ones, which the overlap reads again.
Forward paging, which channels.md suggests, would lose an order at every such move.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from connectors.adapters.lists import ListRules, Paging

PAGE_SIZE: Final = 100
# Only orders created within ninety days are listed; an older one that changes today is read by its
# number only.
_REACH: Final = timedelta(days=89)
# By time of change. Nobody tells a longest window: half an hour keeps a window's pages few.
MODIFIED: Final = ListRules(
    max_window=timedelta(minutes=30),
    overlap=timedelta(minutes=10),
    settle=timedelta(minutes=1),
    reach=_REACH,
    page_size=PAGE_SIZE,
    paging=Paging.BACKWARD,
    first_page=0,
)
# By time of creation, the daily sweep: two hours of a promo day stay below MAX_DEPTH.
CREATED: Final = ListRules(
    max_window=timedelta(hours=2),
    overlap=timedelta(minutes=10),
    settle=timedelta(minutes=1),
    reach=_REACH,
    page_size=PAGE_SIZE,
    paging=Paging.BACKWARD,
    first_page=0,
)
# Orders the platform has in review, by time of creation. The list is short and read whole at every
# run: whether a review changes the time of change is not told.
REVIEW: Final = ListRules(
    max_window=_REACH,
    overlap=timedelta(minutes=10),
    settle=timedelta(0),
    reach=_REACH,
    page_size=PAGE_SIZE,
    paging=Paging.FORWARD,
    first_page=0,
)
# page x size of the after-sale list; assumed for orders too [M] (channels.md 5.2).
MAX_DEPTH: Final = 50_000
