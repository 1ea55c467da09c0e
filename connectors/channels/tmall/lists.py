"""How the order lists of TOP may be read. Pure data.

Source: channels.md 2 (page sizes) and 3.2 (windows, reach, order of the answer, the recipe of ten
minutes of overlap and one minute of settling).
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from connectors.adapters.lists import ListRules, Paging

# taobao.trades.sold.increment.get: a window of at most one day, half an hour advised; three
# months back; newest modification first. 50 a page (40-50 advised, 100 allowed).
MODIFIED: Final = ListRules(
    max_window=timedelta(minutes=30),
    overlap=timedelta(minutes=10),
    settle=timedelta(minutes=1),
    reach=timedelta(days=89),
    page_size=50,
    paging=Paging.BACKWARD,
)
# taobao.trades.sold.get: by time of creation, the daily sweep; newest first.
CREATED: Final = ListRules(
    max_window=timedelta(days=1),
    overlap=timedelta(minutes=10),
    settle=timedelta(minutes=1),
    reach=timedelta(days=89),
    page_size=50,
    paging=Paging.BACKWARD,
)
# Without `type` TOP returns five kinds only; the others have to be named (channels.md 3.2).
TYPES: Final = (
    "guarantee_trade", "auto_delivery", "ec", "cod", "step", "eticket", "tmall_i18n", "nopaid",
    "o2o_offlinetrade",
)  # fmt: skip
# The detail call gives `oaid` only when these five are asked for.
OAID_FIELDS: Final = (
    "receiver_name", "receiver_address", "created", "receiver_mobile", "receiver_phone",
)  # fmt: skip
