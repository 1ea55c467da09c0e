"""How the order list of the own mall may be read (FORMAT.md, section 3). Pure data."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from connectors.adapters.lists import ListRules, Paging

# Oldest first with a cursor: an order that changes meanwhile moves behind it, never past it.
MODIFIED: Final = ListRules(
    max_window=timedelta(hours=1),
    overlap=timedelta(minutes=10),
    settle=timedelta(minutes=1),
    reach=timedelta(days=365),
    page_size=100,
    paging=Paging.CURSOR,
)
