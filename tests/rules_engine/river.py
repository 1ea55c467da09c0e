"""One order judged without a database: what each source has told, at one moment.

`tell()` builds what we hold of an order; `judge()` runs a rule set over it through the same facts,
judging, node and silence code as the workers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from connectors.orders.models import Order, OrderLine, Payment
from connectors.orders.nodes import DEFAULT_NODES, walk
from connectors.orders.services import deadline_of, evidence_of, stand_at
from connectors.orders.statuses import FINAL_STAGES, Stage
from rules_engine.facts.catalog import FACTS, SourceState, build_names
from rules_engine.facts.collect import Completer, Describer, Feeds, Standing, Values
from rules_engine.presets import get_preset
from rules_engine.rules.content import check_content
from rules_engine.rules.services import RuleSet, compile_rule_set
from rules_engine.scoring.judging import Judge, Judgement, labels_of, list_failed
from rules_engine.scoring.silence import Silence
from workflows.causes import classify

SHANGHAI = ZoneInfo("Asia/Shanghai")
NOW = datetime(2025, 11, 11, 6, 32, tzinfo=UTC)  # 14:32 in Shanghai
SOURCE_ID = 1
KINDS = ("channel", "gateway", "oms", "wms")
NAMES = build_names()


@dataclass(frozen=True)
class Told:
    """What we hold of one order."""

    order: Order
    lines: Sequence[OrderLine] = ()
    payments: Sequence[Payment] = ()


@dataclass(frozen=True)
class Seen:
    """What scoring says of it."""

    score: float
    band: str
    cause: str
    results: dict[str, str]
    reasons: dict[str, str]
    failing: tuple[str, ...]
    is_silent: bool
    needs_person: bool
    is_uncertain: bool
    judgement: Judgement


def minutes(count: float) -> timedelta:
    return timedelta(minutes=count)


def hours(count: float) -> timedelta:
    return timedelta(hours=count)


def tell(
    *,
    lines: Sequence[Mapping[str, Any]] = (),
    payments: Sequence[Mapping[str, Any]] = (),
    **columns: Any,
) -> Told:
    """An order with sensible columns; `lines` and `payments` are columns of theirs."""
    placed = columns.pop("placed_at", NOW - hours(2))
    values: dict[str, Any] = {
        "order_no": "T1",
        "channel": "tmall",
        "source_id": SOURCE_ID,
        "stage": Stage.AWAIT_SHIP,
        "placed_at": placed,
        "payable_fen": 10000,
        "paid_fen": 10000,
        "province": "浙江省",
        "city": "杭州市",
        "district": "余杭区",
        "gifts_due": 0,
        "gifts_packed": 0,
    }
    order = Order(**values | columns)
    order.is_open = order.stage not in FINAL_STAGES and order.stage != Stage.DELIVERED
    order.deadline_at = order.deadline_at or deadline_of(order)
    return Told(
        order,
        [
            OrderLine(**{"line_id": str(n), "quantity": 1} | dict(row))
            for n, row in enumerate(lines)
        ],
        [
            Payment(**{"payment_id": str(n), "status": "paid"} | dict(row))
            for n, row in enumerate(payments)
        ],
    )


def feeds_at(
    now: datetime,
    *,
    behind: Mapping[str, float] | None = None,
    missing: Sequence[str] = (),
    lateness: float = 30,
) -> Feeds:
    """Every source `behind` minutes behind (0 by default); those `missing` are not connected."""
    states = {}
    for kind in KINDS:
        lag = minutes((behind or {}).get(kind, 0))
        states[kind] = SourceState(kind not in missing, lag > minutes(lateness), now - lag)
    channel = states.pop("channel")
    return Feeds({SOURCE_ID: channel}, states)


@lru_cache(maxsize=20)
def preset_rules(key: str) -> RuleSet:
    return rules_of(get_preset(key).content)


def rules_of(content: Mapping[str, Any]) -> RuleSet:
    clean, problems = check_content(content, NAMES)
    assert [p.sentence for p in problems if p.refuses] == []
    return compile_rule_set(clean, names=NAMES)


def one_rule(formula: str, **changes: Any) -> RuleSet:
    """A rule set of one dimension worth 100 points."""
    row = {"key": "d", "name": "一项", "formula": formula, "points": 100, "cap": None, "reason": ""}
    return rules_of({"name": "试", "dimensions": [row | changes]})


def values_at(told: Told, now: datetime, feeds: Feeds, *, as_of: datetime | None = None) -> Values:
    """The facts a formula reads."""
    described = Describer(SHANGHAI).describe(
        told.order, told.lines, told.payments, shop_name="旗舰店", as_of=as_of
    )
    completer = Completer(FACTS, feeds, moment=now, zone=SHANGHAI, nodes=DEFAULT_NODES)
    standing = Standing(told.order.source_id, told.order.node, told.order.node_entered_at)
    return completer.complete(described, standing)


def judge(
    rules: str | RuleSet, told: Told, *, now: datetime = NOW, feeds: Feeds | None = None,
    as_of: datetime | None = None,
) -> Seen:  # fmt: skip
    """Judge one order with a preset (by key) or a rule set."""
    rules = preset_rules(rules) if isinstance(rules, str) else rules
    feeds = feeds or feeds_at(now)
    order = told.order
    connected = frozenset(k for k in KINDS if feeds.state(k, SOURCE_ID).is_connected)
    stand_at(order, walk(evidence_of(order, list(told.lines), connected)))
    values = values_at(told, now, feeds, as_of=as_of)
    judgement = Judge(rules, feeds, values_now(now), labels_of(NAMES)).judge(values, SOURCE_ID)
    total = judgement.total
    failed = list_failed(rules, judgement)
    bad = total.band != "healthy" or total.cap_hundredths is not None
    names = ("node", "node_entered_at", "is_open", "stage", "presale_phase", "balance_due_at",
             "group_state", "placed_at", "source_id", "channel")  # fmt: skip
    row = {name: getattr(order, name) for name in names}
    keys = [d.key for d in rules.dimensions]
    return Seen(
        score=total.score_hundredths / 100,
        band=str(total.band),
        cause=classify(failed, order.node) if bad else "",
        results={k: str(p.outcome) for k, p in zip(keys, total.parts, strict=True)},
        reasons={k: j.reason for k, j in zip(keys, judgement.judged, strict=True) if j.reason},
        failing=tuple(f.key for f in failed),
        is_silent=Silence(DEFAULT_NODES, feeds, now).is_silent(row),
        needs_person=total.needs_person,
        is_uncertain=any(j.verdict.is_late for j in judgement.judged),
        judgement=judgement,
    )


def values_now(now: datetime) -> float:
    from rules_engine.formula import to_serial

    return to_serial(now.astimezone(SHANGHAI))
