"""Environments and small file sets for the connector tests."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.factories import World, make_world

NOW = datetime(2025, 11, 11, 6, 32, tzinfo=UTC)  # 14:32 in Shanghai


@pytest.fixture
def world(db: None) -> World:
    return make_world()


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str], Path]:
    """Write a small UTF-8 file and return its path."""

    def write_file(name: str, text: str) -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write_file


@pytest.fixture
def simple_mapping() -> dict[str, Any]:
    """Orders and lines in two files, joined by 订单号."""
    return {
        "name": "门店",
        "files": {
            "orders": {
                "holds": "orders",
                "file": "订单.csv",
                "constants": {"order.channel": "tmall", "order.shop": "旗舰店"},
                "columns": {
                    "订单号": "order.order_no",
                    "状态": "order.stage",
                    "下单时间": "order.placed_at",
                    "付款时间": "order.paid_at",
                    "实付": "order.paid_fen",
                    "收货人": "order.receiver_name",
                },
            },
            "lines": {
                "holds": "lines",
                "file": "明细.csv",
                "columns": {
                    "订单号": "line.order_no",
                    "SKU": "line.sku",
                    "数量": "line.quantity",
                    "单价": "line.price_fen",
                },
            },
        },
        "words": {"stage": {"待发货": "await_ship", "交易关闭": "closed", "待付款": "await_pay"}},
    }
