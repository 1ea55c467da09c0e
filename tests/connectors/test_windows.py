"""Windows of a list: nothing is missed, whatever failed, was late or moved meanwhile."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.adapters.lists import ListRules, Paging
from connectors.channels.tmall.lists import CREATED, MODIFIED
from connectors.sync.windows import Window, advance, due_slot, list_pages, plan_windows

NOW = datetime(2025, 11, 11, 6, 32, 7, 123456, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
seconds = st.integers(0, 200 * 24 * 3600).map(lambda n: timedelta(seconds=n))
rules_any = st.builds(
    lambda window, overlap, settle: ListRules(
        max_window=timedelta(seconds=window),
        overlap=timedelta(seconds=min(overlap, window // 2)),
        settle=timedelta(seconds=settle),
        reach=timedelta(days=89),
        page_size=50,
        paging=Paging.BACKWARD,
    ),
    st.integers(10, 86400), st.integers(0, 1200), st.integers(0, 300),
)  # fmt: skip


def plan(done: timedelta | None, rules: ListRules = MODIFIED, limit: int = 100) -> list[Window]:
    return list(
        plan_windows(
            done_until=None if done is None else NOW - done,
            now=NOW,
            rules=rules,
            first_reach=timedelta(days=7),
            limit=limit,
        ).windows
    )


def test_quarter_of_an_hour_is_one_window_with_overlap() -> None:
    (window,) = plan(timedelta(minutes=15, seconds=7, microseconds=123456))

    assert window == Window(
        datetime(2025, 11, 11, 6, 7, tzinfo=UTC), datetime(2025, 11, 11, 6, 31, 7, tzinfo=UTC)
    )


def test_outage_of_a_day_is_sliced_into_legal_windows() -> None:
    windows = plan(timedelta(days=1))

    assert len(windows) == 49
    assert all(w.end - w.start <= timedelta(minutes=30) for w in windows)


@given(st.none() | seconds, rules_any, st.integers(1, 40))
def test_windows_are_legal_and_leave_no_hole(
    done: timedelta | None, rules: ListRules, limit: int
) -> None:
    told = plan_windows(
        done_until=None if done is None else NOW - done,
        now=NOW,
        rules=rules,
        first_reach=timedelta(days=7),
        limit=limit,
    )
    windows = told.windows

    assert len(windows) <= limit
    for window in windows:
        assert timedelta(0) < window.end - window.start <= rules.max_window
        assert NOW - rules.reach <= window.start
        assert window.end <= NOW - rules.settle
        assert window.start.microsecond == window.end.microsecond == 0
    for before, after in zip(windows, windows[1:], strict=False):
        assert before.start < after.start < before.end < after.end
    if windows and done is not None and told.unreachable is None:
        assert windows[0].start <= max(NOW - done - rules.overlap, NOW - rules.reach + 1 * MINUTE)
    if told.is_caught_up and windows:
        assert NOW - rules.settle - windows[-1].end < timedelta(seconds=1)


@given(seconds, rules_any, st.integers(1, 5))
def test_runs_one_after_another_reach_the_present(
    done: timedelta, rules: ListRules, limit: int
) -> None:
    mark: datetime | None = NOW - min(
        done, timedelta(seconds=rules.max_window.total_seconds() * 40)
    )
    covered: list[Window] = []
    for _ in range(500):
        told = plan_windows(
            done_until=mark, now=NOW, rules=rules, first_reach=timedelta(0), limit=limit
        )
        covered += told.windows
        before, mark = mark, advance(mark, told.windows, skipped=told.unreachable)
        if told.is_caught_up:
            break
        assert mark is not None
        assert before is not None
        assert mark > before
    else:
        pytest.fail("a backlog that is read never ends")

    assert mark is not None
    assert mark >= NOW - rules.settle - timedelta(seconds=1) or not covered


def test_what_the_list_no_longer_gives_is_told() -> None:
    told = plan_windows(
        done_until=NOW - timedelta(days=100),
        now=NOW,
        rules=MODIFIED,
        first_reach=timedelta(0),
        limit=3,
    )

    assert told.unreachable is not None
    assert told.unreachable.end == told.windows[0].start
    assert told.unreachable.end - told.unreachable.start > timedelta(days=10)
    assert not told.is_caught_up


def test_clock_that_went_back_reads_nothing_and_keeps_its_mark() -> None:
    told = plan_windows(
        done_until=NOW + timedelta(hours=1), now=NOW, rules=MODIFIED, first_reach=MINUTE, limit=3
    )

    assert told.windows == ()
    assert advance(NOW + timedelta(hours=1), told.windows) == NOW + timedelta(hours=1)


@given(st.sets(st.integers(0, 48)))
def test_failed_window_holds_the_mark_back(failed: set[int]) -> None:
    done = NOW - timedelta(days=1)
    windows = plan(timedelta(days=1))

    mark = advance(done, [w for i, w in enumerate(windows) if i not in failed])

    first = min((i for i in failed if i < len(windows)), default=None)
    if first is None:
        assert mark == windows[-1].end
    elif first == 0:
        assert mark == done
    else:
        assert mark == windows[first - 1].end


@given(st.integers(0, 3600), st.integers(0, 600), st.integers(5, 30))
def test_order_that_becomes_visible_late_is_read(at: int, late: int, every: int) -> None:
    """Runs every few minutes over two hours: an order visible up to `overlap` after its time."""
    start = NOW.replace(microsecond=0)
    order, visible = start + timedelta(seconds=at), start + timedelta(seconds=at + late)
    mark: datetime | None = start
    reads = 0
    for run in range(1, 7200 // (every * 60) + 2):
        now = start + run * every * MINUTE
        told = plan_windows(
            done_until=mark, now=now, rules=MODIFIED, first_reach=timedelta(0), limit=10
        )
        reads += sum(w.start <= order <= w.end and visible <= now for w in told.windows)
        mark = advance(mark, told.windows)

    assert reads >= 1


# -- pages -----------------------------------------------------------------------------------------


def rules_of(paging: Paging, size: int) -> ListRules:
    return ListRules(
        max_window=timedelta(days=1), overlap=MINUTE, settle=MINUTE, reach=timedelta(days=90),
        page_size=size, paging=paging,
    )  # fmt: skip


def read_shifting(orders: int, size: int, leaving: list[list[int]], paging: Paging) -> set[int]:
    """Read a list newest first; after the n-th page the orders `leaving[n]` leave the window."""
    present = list(range(orders))
    seen: set[int] = set()
    for turn, page in enumerate(list_pages(orders, rules_of(paging, size))):
        seen |= set(present[(page - 1) * size : page * size])
        gone = leaving[turn] if turn < len(leaving) else []
        present = [order for order in present if order not in gone]
    return seen | (set(range(orders)) - set(present))


@given(st.integers(0, 60), st.integers(1, 10), st.lists(st.lists(st.integers(0, 59), max_size=5)))
def test_backward_paging_reads_all_that_stayed(
    orders: int, size: int, leaving: list[list[int]]
) -> None:
    assert read_shifting(orders, size, leaving, Paging.BACKWARD) >= set(range(orders))


def test_forward_paging_of_a_shifting_list_loses_an_order() -> None:
    assert read_shifting(6, 2, [[0]], Paging.FORWARD) == {0, 1, 3, 4, 5}
    assert read_shifting(6, 2, [[0]], Paging.BACKWARD) == {0, 1, 2, 3, 4, 5}


def test_pages_are_counted_from_the_platforms_first_page() -> None:
    assert list(list_pages(101, MODIFIED)) == [3, 2, 1]
    assert list(list_pages(100, MODIFIED)) == [2, 1]
    assert list(list_pages(0, MODIFIED)) == []
    zero = ListRules(
        max_window=MINUTE, overlap=timedelta(0), settle=MINUTE, reach=MINUTE, page_size=10,
        paging=Paging.FORWARD, first_page=0,
    )  # fmt: skip
    assert list(list_pages(11, zero)) == [0, 1]


@pytest.mark.parametrize(
    "wrong", [{"overlap": timedelta(days=1)}, {"page_size": 0}, {"settle": -MINUTE}]
)
def test_impossible_rules_are_refused(wrong: dict[str, object]) -> None:
    good: dict[str, object] = {
        "max_window": MINUTE, "overlap": timedelta(0), "settle": MINUTE,
        "reach": MINUTE, "page_size": 1, "paging": Paging.FORWARD,
    }  # fmt: skip

    with pytest.raises(ValueError, match="has to"):
        ListRules(**{**good, **wrong})  # type: ignore[arg-type]


def test_rules_of_tmall_are_inside_the_platforms_limits() -> None:
    for rules in (MODIFIED, CREATED):
        assert rules.max_window <= timedelta(days=1)
        assert rules.page_size <= 100
        assert rules.paging is Paging.BACKWARD
        assert rules.reach < timedelta(days=90)


# -- slots -----------------------------------------------------------------------------------------


def test_slots_stand_on_a_fixed_grid() -> None:
    slot = due_slot(last=NOW - 16 * MINUTE, now=NOW, every=15 * MINUTE)

    assert slot is not None
    assert (slot.at, slot.missed) == (datetime(2025, 11, 11, 6, 30, tzinfo=UTC), 0)
    assert due_slot(last=slot.at, now=NOW, every=15 * MINUTE) is None


def test_missed_slots_are_one_run_and_counted() -> None:
    slot = due_slot(last=NOW - timedelta(hours=2), now=NOW, every=15 * MINUTE)

    assert slot is not None
    assert slot.missed == 7


@given(st.integers(1, 60), st.integers(0, 10**6))
def test_a_late_run_does_not_push_the_next_one(every: int, late: int) -> None:
    now = NOW + timedelta(seconds=late)
    slot = due_slot(last=None, now=now, every=every * MINUTE)

    assert slot is not None
    assert timedelta(0) <= now - slot.at < every * MINUTE
    after = due_slot(last=slot.at, now=slot.at + every * MINUTE, every=every * MINUTE)
    assert after is not None
    assert (after.at, after.missed) == (slot.at + every * MINUTE, 0)


@pytest.mark.parametrize("every", [timedelta(seconds=59), timedelta(minutes=61)])
def test_interval_outside_one_minute_to_one_hour_is_refused(every: timedelta) -> None:
    with pytest.raises(ValueError, match="one minute and one hour"):
        due_slot(last=None, now=NOW, every=every)
