"""Functions over the order's own history, with what a late feed may not have told yet."""

from __future__ import annotations

import pytest

from rules_engine.formula import UNKNOWN, RowPlan, canonical_text, check, from_stored, sentence

from .formulas import NAMES

P, E = "history.passages", "history.events"
NOW = 46_338.0


def passage(node: str, entered: object, left: object) -> dict[str, object]:
    return {f"{P}.node": f"node:{node}", f"{P}.entered_at": entered, f"{P}.left_at": left}


def event(stage: str | None, at: object) -> dict[str, object]:
    return {f"{E}.stage": stage and f"stage:{stage}", f"{E}.at": at}


WAY = [passage("payment", 46_337.0, 46_337.25), passage("wms_push", 46_337.25, None)]
LATE = [WAY[0], passage("wms_push", UNKNOWN, UNKNOWN)]
TOLD = [event("await_pay", 46_337.0), event("await_ship", 46_337.25), event("await_pay", 46_337.5)]


@pytest.mark.parametrize(
    ("formula", "passages", "events", "expected"),
    [
        ('曾进入("推送WMS")', WAY, [], True),
        ('曾进入("推送WMS")', WAY[:1], [], False),
        ('曾进入("推送WMS")', LATE, [], UNKNOWN),
        ('曾进入("支付")', LATE, [], True),
        ('曾进入("待发货")', [], TOLD, True),
        ('曾进入("待发货")', [], TOLD[:1], False),
        ('曾进入("待发货")', [], [TOLD[0], event(None, UNKNOWN)], UNKNOWN),
        ('在节点时长小时("推送WMS")', WAY, [], 18.0),
        ('在节点时长分钟("支付")', WAY, [], 360.0),
        ('在节点时长小时("推送WMS")', LATE, [], UNKNOWN),
        ('在节点时长小时("推送WMS")', [], [], 0.0),
        ('在阶段时长小时("待付款")', [], TOLD, 18.0),  # both stays, the second until now
        ('首次进入时间("待付款")', [], TOLD, 46_337.0),
        ('首次进入时间("推送WMS")', [], [], None),
        ("状态变化次数()", [], TOLD, 2.0),
        ("状态变化次数()", [], [*TOLD, event(None, UNKNOWN)], UNKNOWN),
        ("状态变化次数()", [], [], 0.0),
    ],
)
def test_history_is_told_as_far_as_it_is_known(formula, passages, events, expected) -> None:
    checked = check(formula, NAMES)
    assert checked.is_valid, [finding.text for finding in checked.findings]

    value = RowPlan(checked).evaluate({P: passages, E: events}, NOW)

    assert value is expected or value == expected


@pytest.mark.parametrize(
    ("formula", "code", "fix"),
    [
        ('曾进入("推送WM")', "unknown_term", '"推送WMS"'),
        ('曾进入("代发货")', "unknown_term", '"待发货"'),
        ('曾进入("不着边际的东西")', "unknown_term", None),
        ("曾进入([备注（买家）])", "term_not_literal", None),
    ],
)
def test_a_node_or_stage_that_is_not_there_is_refused_with_the_nearest(formula, code, fix) -> None:
    findings = check(formula, NAMES).findings

    assert [finding.code for finding in findings] == [code]
    assert (findings[0].fix.text if findings[0].fix else None) == fix


def test_a_node_is_kept_by_its_code_and_its_passages_are_asked_for() -> None:
    checked = check('曾进入("推送wms")', NAMES)

    assert checked.stored == "曾进入({#node:wms_push})"
    assert from_stored(checked.stored, NAMES) == canonical_text(checked) == '曾进入("推送WMS")'
    assert checked.relation_ids == {P, E}
    assert sentence(checked) == "读作：曾进入「推送WMS」。"
