"""Band and history -> what to do, without a database."""

from __future__ import annotations

from datetime import timedelta

import pytest

from rules_engine.scoring.bands import Lines
from workflows.interventions.policy import (
    BUDGET_PER_MINUTE,
    Move,
    Standing,
    Waiting,
    choose_batch,
    decide,
    pause_after,
    split_holds,
)

LINES = Lines()
SETTLED = timedelta(seconds=60)


def stand(band, score, level="", **more):
    return Standing(band=band, score_hundredths=round(score * 100), level=level, **more)


@pytest.mark.parametrize(
    ("standing", "move"),
    [
        (stand("healthy", 100), Move.NOTHING),
        (stand("yellow", 68), Move.OPEN),
        (stand("yellow", 68.01), Move.WAIT),
        (stand("yellow", 69.99, settled=SETTLED), Move.OPEN),
        (stand("yellow", 69.99, settled=timedelta(seconds=44)), Move.WAIT),
        (stand("orange", 59), Move.OPEN),  # far from the line it crossed, 70
        (stand("orange", 59, "yellow"), Move.WAIT),
        (stand("orange", 58, "yellow"), Move.RAISE),
        (stand("red", 49.99), Move.OPEN),
        (stand("red", 49.99, "yellow"), Move.RAISE),
        (stand("red", 49.99, "orange"), Move.RAISE),
        (stand("red", 10, "red"), Move.NOTHING),
        (stand("orange", 50, "red"), Move.WAIT),
        (stand("orange", 52, "red"), Move.LOWER),
        (stand("orange", 50, "red", settled=SETTLED), Move.LOWER),
        (stand("yellow", 60, "red"), Move.LOWER),
        (stand("healthy", 70, "yellow"), Move.WAIT),
        (stand("healthy", 72, "yellow"), Move.CLOSE),
        (stand("healthy", 70, "yellow", settled=SETTLED), Move.CLOSE),
        (stand("healthy", 70, "red"), Move.CLOSE),
        (stand("red", 10, is_history=True), Move.NOTHING),
        (stand("red", 10, is_open=False), Move.NOTHING),
        (stand("red", 10, "red", is_open=False), Move.CLOSE),
    ],
)
def test_each_standing_has_its_move(standing, move):
    assert decide(standing, LINES) == move


def test_lines_of_the_rule_set_are_the_ones_that_count():
    lines = Lines(yellow=80_00, orange=50_00, red=20_00)
    assert decide(stand("yellow", 78), lines) == Move.OPEN
    assert decide(stand("yellow", 79), lines) == Move.WAIT
    assert decide(stand("red", 19.99, "orange"), lines) == Move.RAISE


@pytest.mark.parametrize(
    ("count", "recent", "limit", "is_asking", "allowed"),
    [
        (5, 0, 10, False, 5),
        (5, 8, 10, False, 2),
        (5, 12, 10, False, 0),
        (5, 0, 10, True, 0),
        (0, 0, 0, False, 0),
    ],
)
def test_the_brake_lets_through_what_the_window_has_left(count, recent, limit, is_asking, allowed):
    assert split_holds(count, recent=recent, limit=limit, is_asking=is_asking) == allowed


def drain(waiting, used=0):
    """What a robot sends in one minute: lists of ids per message."""
    sent = []
    while batch := choose_batch(waiting, used=used):
        sent.append(batch)
        used += 1
        waiting = [w for w in waiting if w.id not in batch]
    return sent, used, waiting


def test_red_goes_first_and_the_rest_leaves_three_places_free():
    waiting = [Waiting(n, is_red=False) for n in range(20)] + [Waiting(100, is_red=True)]
    sent, used, left = drain(waiting)

    assert sent[0] == (100,)
    assert used == 15
    assert left == []
    assert sorted(i for batch in sent for i in batch) == [*range(20), 100]
    assert len(sent[-1]) == 7  # what did not fit shares the last place
    assert choose_batch([Waiting(101, is_red=True)], used=15) == (101,)
    assert choose_batch([Waiting(102, is_red=False)], used=15) == ()


def test_a_flood_of_red_fits_into_the_minute_as_a_digest():
    sent, used, left = drain([Waiting(n, is_red=True) for n in range(60)])

    assert used == BUDGET_PER_MINUTE
    assert left == []
    assert len(sent[-1]) == 60 - 17


def test_a_full_minute_sends_nothing():
    assert choose_batch([Waiting(1, is_red=True)], used=BUDGET_PER_MINUTE) == ()


def test_throttling_pauses_at_once_and_other_failures_after_the_third():
    assert [pause_after(n, is_throttled=True).total_seconds() for n in (1, 2, 3, 9)] == [
        60,
        120,
        240,
        600,
    ]
    assert [pause_after(n, is_throttled=False).total_seconds() for n in (1, 2, 3, 4, 20)] == [
        0,
        0,
        30,
        60,
        600,
    ]
