from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rules_engine.rules.drafts import (
    find_dimension,
    list_dimensions,
    put_dimension,
    rebalance_points,
    remove_dimension,
    sum_points,
)


def make(**points: object) -> dict:
    return {"name": "规则", "dimensions": [{"key": k, "points": p} for k, p in points.items()]}


def points_of(content: dict | None) -> dict[str, int]:
    assert content is not None
    return {d["key"]: d["points"] for d in content["dimensions"]}


def test_rebalancing_keeps_the_new_check_and_makes_the_rest_fit() -> None:
    content = make(address=20, callback=30, stock=25, price=15, logistics=10, presale=10)

    after = points_of(rebalance_points(content, keep="presale"))

    assert after == {
        "address": 18,
        "callback": 27,
        "stock": 23,
        "price": 13,
        "logistics": 9,
        "presale": 10,
    }
    assert sum(after.values()) == 100


@given(
    st.lists(st.integers(min_value=0, max_value=100), min_size=1, max_size=30),
    st.integers(min_value=0, max_value=100),
)
def test_rebalanced_points_sum_to_100_stay_whole_and_keep_their_order(
    others: list[int], kept: int
) -> None:
    content = make(kept=kept, **{f"d{i}": p for i, p in enumerate(others)})

    after = rebalance_points(content, keep="kept")

    if after is None:
        positive = [p for p in others if p]
        assert len(positive) > 100 - kept or (not positive and kept < 100)
        return
    found = points_of(after)
    assert sum(found.values()) == 100
    assert found["kept"] == kept
    for i, before in enumerate(others):
        assert (found[f"d{i}"] > 0) == (before > 0)
        for j, other in enumerate(others):
            if before > other:
                assert found[f"d{i}"] >= found[f"d{j}"]


def test_what_is_no_number_of_points_cannot_be_rebalanced() -> None:
    for typed in ("1e308", 1e308, float("nan"), 12.345, None, True, -1, 101, [5]):
        content = make(a=50, b=typed)

        assert sum_points(content) is None
        assert rebalance_points(content, keep="a") is None


def test_fractions_are_added_exactly_and_scaled_to_whole_points() -> None:
    content = make(a=33.3, b=33.3, c=33.4, new=10)

    assert sum_points(content) == 110
    assert points_of(rebalance_points(content, keep="new")) == {
        "a": 30,
        "b": 30,
        "c": 30,
        "new": 10,
    }
    assert rebalance_points(make(a=50, new=12.5), keep="new") is None


def test_a_draft_of_anything_is_read_without_falling_over() -> None:
    for content in ({}, {"dimensions": None}, {"dimensions": "x"}, {"dimensions": [1, {}, None]}):
        assert list_dimensions(content) == []
        assert find_dimension(content, "a") is None
        assert sum_points(content) == 0
        assert list_dimensions(put_dimension(content, {"key": "a"})) == [{"key": "a"}]


def test_putting_and_removing_a_dimension_leaves_the_others_in_place() -> None:
    content = make(a=1, b=2, c=3)

    changed = put_dimension(content, {"key": "b", "points": 9})

    assert points_of(changed) == {"a": 1, "b": 9, "c": 3}
    assert points_of(remove_dimension(changed, "a")) == {"b": 9, "c": 3}
    assert points_of(content) == {"a": 1, "b": 2, "c": 3}
