"""Which of several failing dimensions names the cause."""

from __future__ import annotations

from itertools import permutations

import pytest

from rules_engine.presets import PRESETS
from rules_engine.scoring.bands import FailedDimension
from workflows.causes import CAUSES, classify


def failed(cause: str, **changes: object) -> FailedDimension:
    return FailedDimension(key=cause, name=cause, cause=cause, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("causes", "named"),
    [
        (["赠品缺失", "WMS未接收"], "赠品缺失"),
        (["OMS未接收", "地址触发风控"], "地址触发风控"),
        (["库存冲突", "促销叠加价格异常"], "促销叠加价格异常"),
        (["地址不完整", "OMS未接收"], "OMS未接收"),
        (["支付回调丢失", "库存冲突", "地址不完整"], "支付回调丢失"),
        (["预售尾款逾期", "拼团超时"], "预售尾款逾期"),
        (["礼盒超重", "WMS未接收"], "礼盒超重"),
        (["礼盒超重", "支付回调丢失"], "支付回调丢失"),
        (["数据不足", "地址不完整"], "地址不完整"),
    ],
)
def test_cause_furthest_upstream_wins_whatever_the_order(causes: list[str], named: str) -> None:
    for order in permutations(causes):
        assert classify([failed(c) for c in order], "") == named


def test_nothing_failing_is_not_attributed() -> None:
    assert classify([], "wms_push") == "未归因"
    assert classify([failed("")], "wms_push") == "未归因"


def test_partial_points_explain_less_than_a_failure() -> None:
    assert (
        classify([failed("支付回调丢失", outcome="partial"), failed("地址不完整")], "")
        == "地址不完整"
    )


def test_lower_cap_then_more_points_decide_between_causes_of_the_business() -> None:
    assert classify([failed("甲"), failed("乙", cap=5900), failed("丙", cap=4900)], "") == "丙"
    assert (
        classify([failed("甲", lost_hundredths=500), failed("乙", lost_hundredths=900)], "") == "乙"
    )
    assert classify([failed("乙"), failed("乙")], "") == "乙"


def test_every_cause_of_the_presets_has_a_place() -> None:
    used = {d["cause"] for preset in PRESETS for d in preset.content["dimensions"]}

    assert used <= set(CAUSES)
