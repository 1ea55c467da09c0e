"""The demo's invented day: its numbers, its truth, and that nobody can peek."""

from __future__ import annotations

import ast
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

from frontend.demo.world import COD, MISSING, OVERDUE_BALANCES, PAID_AT_WMS, SEED, World

ROOT = Path(__file__).resolve().parents[2]
START = datetime(2025, 11, 11, 6, 32, tzinfo=UTC)


def _paid_and_at_wms(files):
    paid = {r["订单编号"] for r in files["orders"] if r["付款时间"]}
    paid |= {r["商户订单号"] for r in files["gateway"]}
    return paid, {r["订单编号"] for r in files["wms"] if r["WMS接收时间"]}


def test_the_day_has_18000_paid_16700_at_the_wms_and_1300_missing_by_cause():
    world = World(seed=SEED, started_at=START)
    paid, at_wms = _paid_and_at_wms(world.export(since=None, until=world.started_at))
    truth = {number: cause for number, cause, _since in world.truth()}

    assert len(paid) == 18_000
    assert len(at_wms & paid) == PAID_AT_WMS == 16_700
    assert len(at_wms - paid) == COD  # cash on delivery ships without a payment
    missing = paid - at_wms
    assert Counter(truth[number] for number in missing) == MISSING
    assert Counter(truth.values()) == MISSING | {"预售尾款逾期": OVERDUE_BALANCES}


def test_the_same_seed_and_start_make_the_same_day():
    until = START + timedelta(minutes=7)
    first, second = (
        World(seed=SEED, started_at=START, scale=0.02).export(since=None, until=until)
        for _ in range(2)
    )
    assert first == second


def test_slices_add_up_to_the_whole():
    world = World(seed=SEED, started_at=START, scale=0.02)
    end = world.started_at + timedelta(minutes=30)
    seen = {}
    since = None
    for minute in (0, 5, 11, 30):
        until = world.started_at + timedelta(minutes=minute)
        for row in world.export(since=since, until=until)["orders"]:
            seen[row["订单编号"]] = row
        since = until

    whole = {r["订单编号"]: r for r in world.export(since=None, until=end)["orders"]}
    assert seen == whole


def test_no_row_tells_of_the_future():
    world = World(seed=SEED, started_at=START, scale=0.05)
    until = world.started_at + timedelta(minutes=10)
    limit = until.strftime("%Y-%m-%d %H:%M:%S")
    deadlines = {"尾款截止", "尾款开始", "承诺发货时间"}
    for rows in world.export(since=None, until=until).values():
        for row in rows:
            for name, value in row.items():
                if "时间" in name and name not in deadlines:
                    assert value <= limit, (name, row)


def test_a_lost_callback_is_reported_right_after_the_start():
    world = World(seed=SEED, started_at=START)
    before = world.export(since=None, until=world.started_at)
    after = world.export(since=world.started_at, until=world.started_at + timedelta(seconds=5))
    known = {r["商户订单号"] for r in before["gateway"]}

    fresh = [r for r in after["gateway"] if r["商户订单号"] not in known]
    assert [r["支付时间"] for r in fresh] == [
        (world.started_at - timedelta(minutes=4)).strftime("%Y-%m-%d %H:%M:%S")
    ]
    order = next(r for r in after["orders"] if r["订单编号"] == fresh[0]["商户订单号"])
    assert order["订单状态"] == "待付款"


def test_only_the_demo_itself_can_see_its_truth():
    """Product code that read the demo's truth would make its detection worthless."""
    allowed = {"frontend/demo", "frontend/management/commands/demo"}
    for top in ("config", "connectors", "rules_engine", "workflows", "frontend"):
        for path in (ROOT / top).rglob("*.py"):
            name = str(path.relative_to(ROOT))
            if any(name.startswith(prefix) for prefix in allowed):
                continue
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ImportFrom):
                    names = [node.module or "", *(f"{node.module}.{a.name}" for a in node.names)]
                elif isinstance(node, ast.Import):
                    names = [alias.name for alias in node.names]
                else:
                    continue
                assert "frontend.demo.world" not in names, name
                assert "frontend.demo.services" not in names, name
