"""Failed dimensions and the node an order stands at -> its cause. Pure.

When several dimensions fail, one cause is named: the one furthest upstream, because what lies
behind it follows from it; among neighbours the more specific one. A missing gift explains why the
WMS did not get the order, so it goes before; an order nobody received for no other visible reason
is the OMS's or the WMS's. Causes of the business's own rank between the specific and the broad.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from config.errors import gettext_noop
from rules_engine.scoring.bands import FULL_SCORE, FailedDimension, Outcome

UNKNOWN_CAUSE: Final = gettext_noop("未归因")

_OWN_RANK: Final = 50
_MISSING_RANK: Final = 100
# Rank (smaller wins) and the node at which the cause holds orders up.
CAUSES: Final[dict[str, tuple[int, str]]] = {
    gettext_noop("预售尾款逾期"): (10, "payment"),
    gettext_noop("定金尾款不符"): (12, "payment"),
    gettext_noop("支付回调丢失"): (15, "callback"),
    gettext_noop("未付已发"): (18, "ship_back"),
    gettext_noop("拼团超时"): (20, "risk"),
    gettext_noop("地址触发风控"): (25, "risk"),
    gettext_noop("促销叠加价格异常"): (30, "pricing"),
    gettext_noop("库存冲突"): (35, "stock"),
    gettext_noop("赠品缺失"): (40, "wms_push"),
    gettext_noop("OMS未接收"): (60, "callback"),
    gettext_noop("WMS未接收"): (70, "wms_push"),
    gettext_noop("物流未匹配"): (75, "label"),
    gettext_noop("已付未发"): (80, "ship_back"),
    gettext_noop("地址不完整"): (85, "risk"),
    gettext_noop("数据不足"): (_MISSING_RANK, ""),
}


def classify(failed: Sequence[FailedDimension], node: str) -> str:
    """The cause of an order's trouble; 未归因 when nothing that failed names one.

    Among causes of one rank: the one of the node the order stands at, then the lowest cap, then
    the most points lost, then the order of the rule set.
    """
    candidates = [
        (_rank(item), _place(item, node), item.cap if item.cap is not None else FULL_SCORE,
         -item.lost_hundredths, number, item.cause)
        for number, item in enumerate(failed)
        if item.cause
    ]  # fmt: skip
    return min(candidates)[-1] if candidates else UNKNOWN_CAUSE


def _rank(item: FailedDimension) -> int:
    """A dimension that earned part of its points explains less than any that failed."""
    rank = CAUSES.get(item.cause, (_OWN_RANK, ""))[0]
    return rank + _MISSING_RANK if item.outcome == Outcome.PARTIAL else rank


def _place(item: FailedDimension, node: str) -> int:
    return 0 if node and CAUSES.get(item.cause, (0, ""))[1] == node else 1
