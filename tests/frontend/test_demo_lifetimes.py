"""Every look-alike and every cause of the demo's scenario, told minute by minute as it happens.

A day read once shows each order at one moment. Here all of a life passes: what is healthy has to be
so at every moment of it, also in the minute after a review, a group or a balance was settled.
"""

from __future__ import annotations

import random
from datetime import datetime, timedelta

import pytest

from config.tenancy.scope import for_environment
from connectors.simulators.births import Births, Numbers
from connectors.simulators.ledger import list_stuck
from connectors.simulators.life import Life
from connectors.simulators.look_alikes import LIVE_KINDS
from connectors.simulators.sticking import (
    BALANCE,
    CHANNELS_OF,
    GRACE,
    can_mend,
    make_overdue_balance,
    make_stuck,
    mend,
)
from frontend.demo.services import score_history
from rules_engine.presets import install
from rules_engine.scoring.models import Score
from tests.factories import World
from tests.lives import take_lives

NOW = datetime.fromisoformat("2025-11-11T14:32:00+08:00")
STEP = timedelta(minutes=6)


def _make_lives() -> list[Life]:
    """One of each look-alike, its channels in turn, and of each cause one that stays and one that
    is mended. All are placed in the half hour before NOW, or long enough ago to show in it."""
    rng = random.Random(11)  # noqa: S311 - invented orders
    births = Births(rng, Numbers())
    lives = []
    for n, kind in enumerate(LIVE_KINDS):
        ago = kind.age[0] - 30 if kind.age[0] > 20 * 60 else rng.uniform(0, 30)
        channel = kind.channels[n % len(kind.channels)]
        lives.append(kind.make(births, channel, NOW - timedelta(minutes=ago)))
        lives[-1].look_alike = kind.name
    for cause in CHANNELS_OF:
        for is_mended in (False, True):
            placed = NOW - timedelta(minutes=rng.uniform(0, 20))
            life = (
                make_overdue_balance(births, placed - timedelta(hours=1), NOW + 3 * STEP)
                if cause == BALANCE
                else make_stuck(births, cause, placed)
            )
            if is_mended and can_mend(life) and life.stuck_since is not None:
                mend(births, life, life.stuck_since + GRACE[cause] + timedelta(minutes=25))
            lives.append(life)
    return sorted(lives, key=lambda life: life.placed)


@pytest.mark.django_db
@pytest.mark.slow(5)
@pytest.mark.any_database
def test_at_every_moment_of_its_life_an_order_is_healthy_or_named_with_its_cause(
    world: World,
) -> None:
    environment, lives = world.production, _make_lives()
    with for_environment(environment):
        install("promo", NOW)
    wrong, was_stuck, seen = [], {}, set()
    for step in range(-5, 19):
        now = NOW + step * STEP + timedelta(seconds=7)
        take_lives(environment, lives, now=now)
        score_history(environment, now=now)
        with for_environment(environment, write=False):
            rows = Score.objects.values_list("order__order_no", "band", "cause")
            found = {number: cause for number, band, cause in rows if band != "healthy"}
            seen.update(number for number, _, _ in rows)
        is_stuck = list_stuck(lives, now)
        for life in lives:
            told, true = found.get(life.order_no, ""), is_stuck.get(life.order_no, "")
            if told != true:
                words = life.look_alike or life.cause
                wrong.append(f"{now}: {life.channel} {words} is {true!r}, told as {told!r}")
        was_stuck |= is_stuck

    assert wrong == []
    assert seen == {life.order_no for life in lives}
    assert set(was_stuck.values()) == set(CHANNELS_OF) - {"拼团超时"}  # that one takes a day
