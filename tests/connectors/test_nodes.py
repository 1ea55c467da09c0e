"""Where an order stands: the walk through the twelve nodes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.errors import BadInput
from connectors.orders.nodes import (
    DEFAULT_NODES,
    MOMENTS,
    NODE_CODES,
    Evidence,
    nodes_from_content,
    nodes_to_content,
    walk,
)

T = datetime(2025, 11, 11, 4, tzinfo=UTC)
ALL = frozenset({"oms", "wms", "gateway", "channel"})


def _walk(blocked=(), skipped=(), overrides=None, is_over=False, sources=ALL, **minutes):
    moments = {name: T + timedelta(minutes=m) for name, m in minutes.items()}
    return walk(
        Evidence(
            moments=moments,
            blocked=frozenset(blocked),
            skipped=frozenset(skipped),
            sources=frozenset(sources),
            overrides=overrides or {},
            is_over=is_over,
        )
    )


def _stands_at(passages):
    return passages[-1].node if passages and passages[-1].left_at is None else ""


@pytest.mark.parametrize(
    ("node", "evidence"),
    [
        ("payment", {"placed": 0}),
        ("callback", {"placed": 0, "paid": 2}),
        ("callback", {"placed": 0, "paid": 2, "locked": 3}),
        ("stock", {"placed": 0, "paid": 2, "oms_received": 4}),
        ("oms_review", {"placed": 0, "paid": 2, "locked": 3, "oms_received": 4}),
        ("wms_push", {"placed": 0, "paid": 2, "locked": 3, "oms_received": 4, "oms_reviewed": 9}),
        (
            "picking",
            {"placed": 0, "paid": 2, "locked": 3, "oms_received": 4, "oms_reviewed": 9, "wms_received": 12},
        ),
        ("label", {"placed": 0, "paid": 2, "picked": 60}),
        ("ship_back", {"placed": 0, "paid": 2, "wms_shipped": 90}),
        ("delivery", {"placed": 0, "paid": 2, "shipped": 95}),
        ("", {"placed": 0, "paid": 2, "shipped": 95, "delivered": 3000}),
    ],
)  # fmt: skip
def test_an_order_stands_at_the_first_node_it_has_not_left(node, evidence):
    assert _stands_at(_walk(**evidence)) == node


def test_a_held_order_stands_at_risk_even_when_its_stock_is_locked():
    passages = _walk(["platform_hold"], ["callback"], placed=0, paid=2, locked=3)
    assert _stands_at(passages) == "risk"
    assert passages[-1].entered_at == T + timedelta(minutes=2)


def test_a_price_error_keeps_an_order_at_pricing_although_the_oms_has_taken_it_in():
    assert _stands_at(_walk(["price"], placed=0, paid=2, locked=3, oms_received=4)) == "pricing"


def test_a_blocked_order_that_went_on_all_the_same_has_left_the_node():
    passages = _walk(["price"], placed=0, paid=2, locked=3, oms_received=4, oms_reviewed=9)
    pricing = next(p for p in passages if p.node == "pricing")
    assert pricing.is_inferred
    assert _stands_at(passages) == "wms_push"


def test_a_lost_callback_stands_at_callback_in_the_own_mall():
    passages = _walk(overrides={"callback": ("paid",)}, placed=0, gateway_paid=3)
    assert _stands_at(passages) == "callback"
    assert passages[-1].entered_at == T + timedelta(minutes=3)


def test_nodes_of_systems_that_are_not_connected_do_not_apply():
    passages = _walk(sources={"channel"}, skipped=["callback", "stock"], placed=0, paid=2)
    assert {"oms_review", "wms_push", "picking", "label"}.isdisjoint(p.node for p in passages)
    assert _stands_at(passages) == "ship_back"


def test_an_order_that_is_over_stands_nowhere():
    assert _stands_at(_walk(is_over=True, placed=0)) == ""


def test_an_order_without_a_time_of_placing_has_no_passages():
    assert _walk(paid=2) == ()


@given(
    st.dictionaries(st.sampled_from(sorted(set(MOMENTS) - {"previous"})), st.integers(-500, 5000)),
    st.sets(st.sampled_from(["platform_hold", "price"])),
    st.sets(st.sampled_from(NODE_CODES)),
    st.sets(st.sampled_from(sorted(ALL))),
    st.booleans(),
)
def test_a_walk_is_in_river_order_and_open_at_most_at_its_end(
    minutes, blocked, skipped, sources, over
):
    passages = _walk(blocked, skipped, is_over=over, sources=sources, **minutes)
    order = [NODE_CODES.index(p.node) for p in passages]
    assert order == sorted(set(order))
    assert all(p.left_at is not None for p in passages[:-1])
    assert all(p.left_at is None or p.left_at >= p.entered_at for p in passages)
    assert not (over and _stands_at(passages))


def test_the_node_table_survives_its_document():
    assert nodes_from_content(nodes_to_content()) == DEFAULT_NODES


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"label": ""}, "名称"),
        ({"entered": ["nonsense"]}, "凭据"),
        ({"left": []}, "凭据"),
        ({"dwell_minutes": 0}, "预期停留"),
        ({"dwell_minutes": True}, "预期停留"),
        ({"dwell_minutes": 1e308}, "预期停留"),
        ({"blocker": "x"}, "阻塞"),
    ],
)
def test_a_broken_node_table_names_the_node_and_the_remedy(change, word):
    content = nodes_to_content()
    content["nodes"][3] |= change
    with pytest.raises(BadInput) as caught:
        nodes_from_content(content)
    assert word in caught.value.text


def test_a_node_table_with_a_node_missing_is_refused():
    content = nodes_to_content()
    del content["nodes"][5]
    with pytest.raises(BadInput):
        nodes_from_content(content)
