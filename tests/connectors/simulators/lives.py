"""Lives for the tests of the wire: one order each, told by its moments."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from connectors.simulators.life import Life, LifeLine

T0 = datetime(2025, 11, 10, 16, 0, tzinfo=UTC)  # midnight in Beijing
TMALL_SHOP, DOUYIN_SHOP = "河道旗舰店", "河道抖音店"


def minutes(count: float) -> datetime:
    """A moment so many minutes after the start."""
    return T0 + timedelta(minutes=count)


def make_life(number: int = 1, at: float = 0.0, channel: str = "tmall", **more: Any) -> Life:
    """A plain order placed `at` minutes after the start, with two lines and 5 yuan off."""
    first = 2_890_000_000_000_000_000 if channel == "tmall" else 6_919_000_000_000_000_000
    made = {
        "order_no": str(first + number * 100),
        "channel": channel,
        "shop": TMALL_SHOP if channel == "tmall" else DOUYIN_SHOP,
        "placed": minutes(at),
        "lines": [
            LifeLine("SKU1", "羊绒围巾", 2, 10_000, stock_available=5),
            LifeLine("SKU2", "羊毛帽", 1, 5_000, stock_available=5),
        ],
        "freight_fen": 1_000,
        "shop_discount_fen": 500,
        "buyer": f"b{number}",
        "receiver": "王女士",
        "phone": "13800001234",
        "province": "浙江省",
        "city": "杭州市",
        "district": "西湖区",
        "town": "古荡街道",
        "detail": "文三路1号",
    }
    return Life(**{**made, **more})
