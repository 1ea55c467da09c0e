"""Totals, caps, bands and policies: DESIGN, "What a score is"; requirements traps 1 and 3, S19, S23."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules_engine.presets import get_preset
from rules_engine.rules.content import lines_of, weight_values
from rules_engine.scoring.bands import (
    Band,
    Lines,
    Outcome,
    Verdict,
    Weight,
    add_up,
    count_combinations,
    format_score,
    judge_value,
    list_blind_spots,
    sum_text,
)

PASS, FAIL = Verdict(Outcome.PASS), Verdict(Outcome.FAIL)
NA, PARTIAL = Verdict(Outcome.NOT_APPLICABLE), Verdict(Outcome.PARTIAL)
MISSING, LATE = Verdict(Outcome.INSUFFICIENT), Verdict(Outcome.INSUFFICIENT, is_late=True)
LINES = Lines()
POINTS = {"address": 2000, "callback": 3000, "stock": 2500, "price": 1500, "logistics": 1000}
CAPS = {"address": 5900, "callback": 4900, "stock": 6900, "price": 5900, "logistics": 6900}
LITERAL = [Weight(key, points) for key, points in POINTS.items()]
CAPPED = [Weight(key, points, CAPS[key]) for key, points in POINTS.items()]

# One row per combination of 地址 回调 库存 价格 物流 (1 passes): literal score and band, then capped.
GOLDEN = """
11111 100 healthy 100 healthy
11110 90 healthy 69 yellow
11101 85 healthy 59 orange
11100 75 healthy 59 orange
11011 75 healthy 69 yellow
11010 65 yellow 65 yellow
11001 60 yellow 59 orange
11000 50 orange 50 orange
10111 70 healthy 49 red
10110 60 yellow 49 red
10101 55 orange 49 red
10100 45 red 45 red
10011 45 red 45 red
10010 35 red 35 red
10001 30 red 30 red
10000 20 red 20 red
01111 80 healthy 59 orange
01110 70 healthy 59 orange
01101 65 yellow 59 orange
01100 55 orange 55 orange
01011 55 orange 55 orange
01010 45 red 45 red
01001 40 red 40 red
01000 30 red 30 red
00111 50 orange 49 red
00110 40 red 40 red
00101 35 red 35 red
00100 25 red 25 red
00011 25 red 25 red
00010 15 red 15 red
00001 10 red 10 red
00000 0 red 0 red
"""
ROWS = [line.split() for line in GOLDEN.strip().splitlines()]


@pytest.mark.parametrize(("bits", "literal", "band", "capped", "capped_band"), ROWS)
def test_golden_combination(
    bits: str, literal: str, band: str, capped: str, capped_band: str
) -> None:
    verdicts = [PASS if bit == "1" else FAIL for bit in bits]

    plain, with_caps = add_up(LITERAL, verdicts, LINES), add_up(CAPPED, verdicts, LINES)

    assert (format_score(plain.score_hundredths), plain.band) == (literal, band)
    assert (format_score(with_caps.score_hundredths), with_caps.band) == (capped, capped_band)


def test_golden_table_has_every_combination_once() -> None:
    assert {row[0] for row in ROWS} == {"".join(p) for p in product("01", repeat=5)}
    assert len(ROWS) == 32


def test_literal_weights_give_8_4_5_15_and_caps_1_3_9_19() -> None:
    literal = count_combinations(LITERAL, LINES)
    capped = count_combinations(CAPPED, LINES)

    assert literal == {"healthy": 8, "yellow": 4, "orange": 5, "red": 15}
    assert capped == {"healthy": 1, "yellow": 3, "orange": 9, "red": 19}


def test_shipped_five_dimensions_carry_these_weights_and_caps() -> None:
    content = get_preset("five_dimensions").content
    weights = {d["key"]: weight_values(d) for d in content["dimensions"]}

    assert weights == {key: (POINTS[key], CAPS[key]) for key in POINTS}
    assert lines_of(content) == {"yellow": 7000, "orange": 6000, "red": 5000}


def test_no_single_failure_goes_unseen_with_caps_and_seven_do_without() -> None:
    assert list_blind_spots(CAPPED, LINES) == []
    assert list_blind_spots(LITERAL, LINES) == [
        ("address",), ("callback",), ("stock",), ("price",), ("logistics",),
        ("address", "logistics"), ("price", "logistics"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("score", "band"),
    [(10000, "healthy"), (7000, "healthy"), (6999, "yellow"), (6000, "yellow"), (5999, "orange"),
     (5000, "orange"), (4999, "red"), (0, "red")],
)  # fmt: skip
def test_boundary_belongs_to_the_better_band(score: int, band: str) -> None:
    assert LINES.band_of(score) == band


def test_score_just_below_a_line_is_never_shown_on_it() -> None:
    weights = [Weight("a", 7000), Weight("b", 3000)]

    total = add_up(weights, [Verdict(Outcome.PARTIAL, 69.99), FAIL], LINES)

    assert (total.score_hundredths, total.band) == (6999, Band.YELLOW)
    assert format_score(total.score_hundredths) == "69.99"
    assert sum_text(total) == "69.99 + 0 = 69.99"


@pytest.mark.parametrize(("earned", "score"), [(69.994, 6999), (69.995, 7000), (69.9949999, 6999)])
def test_total_is_rounded_half_up_once(earned: float, score: int) -> None:
    total = add_up([Weight("a", 10000)], [Verdict(Outcome.PARTIAL, earned)], LINES)

    assert total.score_hundredths == score


def test_parts_are_summed_before_they_are_rounded() -> None:
    weights = [Weight(str(n), 3000) for n in range(3)] + [Weight("rest", 1000)]
    third = Verdict(Outcome.PARTIAL, 3.335)

    total = add_up(weights, [third, third, third, FAIL], LINES)

    assert total.score_hundredths == 1001  # 10.005, not three times 3.34 (10.02) or 3.33 (9.99)
    assert sum_text(total) == "3.335 + 3.335 + 3.335 + 0 = 10.01"


def test_sum_is_printed_with_its_cap() -> None:
    total = add_up(CAPPED, [PASS, FAIL, PASS, PASS, PASS], LINES)

    assert sum_text(total) == "20 + 0 + 25 + 15 + 10 = 70 → 封顶 49"


def test_cap_above_the_sum_is_not_printed() -> None:
    total = add_up(CAPPED, [FAIL, FAIL, FAIL, PASS, PASS], LINES)

    assert (total.cap_hundredths, total.score_hundredths) == (4900, 2500)
    assert sum_text(total) == "0 + 0 + 0 + 15 + 10 = 25"


def test_partial_earns_half_and_does_not_cap() -> None:
    total = add_up(CAPPED, [PASS, PARTIAL, PASS, PASS, PASS], LINES)

    assert (total.score_hundredths, total.cap_hundredths) == (8500, None)


@pytest.mark.parametrize(
    ("earned", "outcome"),
    [(0.0, "fail"), (-3.0, "fail"), (9.99, "partial"), (10.0, "pass"), (1e300, "pass")],
)
def test_number_of_a_scored_dimension_becomes_an_outcome(earned: float, outcome: str) -> None:
    assert judge_value(1000, earned) == outcome


@pytest.mark.parametrize(("earned", "points"), [(-3.0, 0), (1e300, 1000)])
def test_points_outside_the_range_are_clamped(earned: float, points: int) -> None:
    weights = [Weight("a", 1000), Weight("b", 9000)]

    total = add_up(weights, [Verdict(judge_value(1000, earned), earned), PASS], LINES)

    assert total.parts[0].points_hundredths == points


def _with(**policy: Any) -> list[Weight]:
    return [Weight("a", 4000, 4900, **policy), Weight("b", 6000)]


@pytest.mark.parametrize(
    ("verdict", "policy", "score", "cap", "person"),
    [
        (NA, {}, 10000, None, False),
        (NA, {"when_not_applicable": "rescale"}, 10000, None, False),
        (MISSING, {}, 4900, 4900, True),
        (MISSING, {"when_insufficient": "no_deduction"}, 10000, None, False),
        (MISSING, {"when_insufficient": "fail"}, 4900, 4900, False),
        (LATE, {}, 10000, None, False),
        (LATE, {"when_late": "no_points"}, 4900, 4900, True),
        (LATE, {"when_insufficient": "fail"}, 10000, None, False),
    ],
)  # fmt: skip
def test_policy_decides_what_missing_data_cost(
    verdict: Verdict, policy: dict[str, str], score: int, cap: int | None, person: bool
) -> None:
    total = add_up(_with(**policy), [verdict, PASS], LINES)

    assert (total.score_hundredths, total.cap_hundredths) == (score, cap)
    assert total.needs_person is person


def test_rescaling_leaves_the_dimension_out_and_counts_the_rest_for_100() -> None:
    weights = [
        Weight("a", 4000, when_not_applicable="rescale"),
        Weight("b", 3500),
        Weight("c", 2500),
    ]

    total = add_up(weights, [NA, PASS, FAIL], LINES)

    assert total.score_hundredths == 5833  # 35 / 60
    assert sum_text(total) == "35 + 0 = 35 ÷ 60 × 100 = 58.33"


def test_everything_left_out_is_a_full_score() -> None:
    weights = [Weight(k, 5000, when_not_applicable="rescale") for k in "ab"]

    assert add_up(weights, [NA, NA], LINES).score_hundredths == 10000


def test_lowest_cap_of_several_counts() -> None:
    total = add_up(CAPPED, [FAIL, PASS, PASS, PASS, FAIL], LINES)

    assert (total.uncapped_hundredths, total.cap_hundredths) == (7000, 5900)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 2500),
            st.none() | st.integers(0, 10000),
            st.sampled_from([PASS, FAIL, NA, PARTIAL, MISSING, LATE]),
        ),
        min_size=1,
        max_size=8,
    )
)
def test_score_stays_between_0_and_the_cap_and_never_rises_with_a_failure(
    rows: list[tuple[int, int | None, Verdict]],
) -> None:
    weights = [Weight(str(n), points, cap) for n, (points, cap, _) in enumerate(rows)]
    verdicts = [verdict for *_, verdict in rows]

    total = add_up(weights, verdicts, LINES)
    worse = add_up(weights, [FAIL, *verdicts[1:]], LINES)

    assert (
        0 <= total.score_hundredths <= total.uncapped_hundredths <= sum(w.points for w in weights)
    )
    if total.cap_hundredths is not None:
        assert total.score_hundredths <= total.cap_hundredths
    assert worse.score_hundredths <= total.score_hundredths
