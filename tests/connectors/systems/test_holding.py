"""Where an order is stopped, and what a system's answer to that means."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from connectors.adapters import Answered, VendorRefusal
from connectors.http import ConnectorError, Retry
from connectors.orders.canonical import CanonicalReceipt
from connectors.systems.holding import (
    GONE,
    OVER,
    PICKED,
    Outcome,
    Standing,
    System,
    apply_hold,
    choose_systems,
    release_hold,
)
from connectors.systems.oms.calls import CONFLICT, LOGIN, NO_PLACE
from connectors.systems.oms.client import CANNOT_HOLD as OMS_CANNOT
from connectors.systems.registry import can_hold
from connectors.systems.wms.qimen_adapter import CANNOT_HOLD as WMS_CANNOT
from connectors.wire import SHANGHAI, Fault, Mapped

NOW = datetime(2025, 11, 11, 0, 15, tzinfo=SHANGHAI)
OMS, WMS = System(1, "oms", can_hold=True), System(2, "wms", can_hold=True)
MUTE_OMS, MUTE_WMS = System(1, "oms", can_hold=False), System(2, "wms", can_hold=False)


@pytest.mark.parametrize(
    ("standing", "systems", "numbers"),
    [
        (Standing(), [OMS, WMS], (1, 2)),
        (Standing(oms_received=True), [WMS, OMS], (1, 2)),
        (Standing(oms_received=True, wms_received=True), [OMS, WMS], (2,)),
        (Standing(wms_state="PRINT"), [OMS, WMS], (2,)),
        (Standing(oms_received=True), [MUTE_OMS, WMS], (2,)),
        (Standing(oms_received=True), [OMS, MUTE_WMS], (1,)),
        (Standing(wms_received=True), [OMS], (1,)),
        (Standing(wms_received=True, wms_state="EXCEPTION"), [OMS, WMS], (2,)),
    ],
)
def test_an_order_is_stopped_where_it_stands(
    standing: Standing, systems: list[System], numbers: tuple[int, ...]
) -> None:
    decision = choose_systems(standing, systems)

    assert tuple(s.number for s in decision.systems) == numbers
    assert decision.result is None


@pytest.mark.parametrize(
    ("standing", "outcome", "words"),
    [
        (Standing(wms_received=True, picked=True), Outcome.TOO_LATE, PICKED),
        (Standing(wms_received=True, wms_state="PACKAGE"), Outcome.TOO_LATE, PICKED),
        (Standing(picked=True, gone=True), Outcome.TOO_LATE, GONE),
        (Standing(wms_state="PARTDELIVERED"), Outcome.TOO_LATE, GONE),
        (Standing(wms_received=True, wms_state="CANCELED"), Outcome.OVER, OVER),
        (Standing(wms_received=True, wms_state="REJECT"), Outcome.OVER, OVER),
    ],
)
def test_after_picking_nobody_is_called_and_the_result_says_what_to_do(
    standing: Standing, outcome: Outcome, words: Any
) -> None:
    decision = choose_systems(standing, [OMS, WMS])

    assert decision.systems == ()
    assert decision.answers_for == WMS
    assert decision.result is not None
    assert (decision.result.outcome, decision.result.words) == (outcome, words)


def test_where_no_system_can_hold_the_one_that_has_the_order_is_named() -> None:
    there = choose_systems(Standing(wms_received=True), [OMS, MUTE_WMS])
    before = choose_systems(Standing(oms_received=True), [MUTE_OMS, MUTE_WMS])

    assert there.answers_for == MUTE_WMS
    assert before.answers_for == MUTE_OMS
    for decision in (there, before):
        assert decision.result is not None
        assert decision.result.outcome is Outcome.UNABLE


def test_with_nothing_connected_nothing_is_said_of_any_system() -> None:
    for standing in (Standing(), Standing(picked=True), Standing(gone=True)):
        decision = choose_systems(standing, [])
        assert (decision.systems, decision.result, decision.answers_for) == ((), None, None)


# -- calling -----------------------------------------------------------------------------------


class Warehouse:
    """A client that can be asked, held and released."""

    def __init__(self, error: Exception | None = None, answer: Any = None) -> None:
        self.error, self.answer, self.calls = error, answer, []

    def hold(self, order_no: str, *, reason: str, key: str) -> None:
        self.calls.append(("hold", order_no, reason, key))
        if self.error:
            raise self.error

    def release(self, order_no: str, *, reason: str, key: str) -> None:
        self.calls.append(("release", order_no, reason, key))
        if self.error:
            raise self.error

    def ask(self, order_no: str) -> Any:
        self.calls.append(("ask", order_no))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Oms:
    """One that can not be asked."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    def hold(self, order_no: str, *, reason: str, key: str) -> None:
        if self.error:
            raise self.error

    release = hold


def _call(client: Any) -> Callable[[Callable[[Any], Any]], Any]:
    return lambda do: do(client)


def _refusal(fault: Fault | None = None, code: str = "S003") -> VendorRefusal:
    return VendorRefusal(fault or Fault(Retry.NEVER, "仓库拒绝了请求"), vendor_code=code)


def _at(**told: Any) -> Answered:
    return Answered(Mapped(CanonicalReceipt("A", **told)), {})


def test_a_hold_that_is_taken_is_done() -> None:
    client = Warehouse()

    attempt = apply_hold(_call(client), order_no="A", reason="r", key="k")

    assert attempt.outcome is Outcome.DONE
    assert client.calls == [("hold", "A", "r", "k")]


@pytest.mark.parametrize(
    ("answer", "outcome", "words"),
    [
        (_at(picked_at=NOW), Outcome.TOO_LATE, PICKED),
        (_at(custom={"wms_state": "WEIGH"}), Outcome.TOO_LATE, PICKED),
        (_at(picked_at=NOW, shipped_at=NOW), Outcome.TOO_LATE, GONE),
        (_at(custom={"wms_state": "CANCELED"}), Outcome.OVER, OVER),
        (None, Outcome.ABSENT, None),
        (_at(received_at=NOW, custom={"wms_state": "ACCEPT"}), Outcome.REFUSED, None),
    ],
)
def test_a_refusal_is_looked_into(answer: Any, outcome: Outcome, words: Any) -> None:
    attempt = apply_hold(_call(Warehouse(_refusal(), answer)), order_no="A", reason="r", key="k")

    assert (attempt.outcome, attempt.vendor_code) == (outcome, "S003")
    assert words is None or attempt.words == words
    assert outcome is not Outcome.REFUSED or "S003" in str(attempt.words)


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        (OMS_CANNOT, Outcome.UNABLE),
        (WMS_CANNOT, Outcome.UNABLE),
        (NO_PLACE, Outcome.ABSENT),
        (CONFLICT, Outcome.PASSED_ON),
        (LOGIN, Outcome.LATER),
        (Fault(Retry.LATER, "限流"), Outcome.LATER),
        (Fault(Retry.NEVER, "不行"), Outcome.REFUSED),
    ],
)
def test_a_refusal_of_an_oms_is_read_by_its_kind(fault: Fault, outcome: Outcome) -> None:
    attempt = apply_hold(_call(Oms(_refusal(fault))), order_no="A", reason="r", key="k")

    assert attempt.outcome is outcome


def test_a_system_that_is_away_is_tried_again_and_doubt_is_said() -> None:
    for retry in Retry:
        error = ConnectorError("没有得到完整的回答", code="no_answer", retry=retry)
        attempt = apply_hold(_call(Warehouse(error)), order_no="A", reason="r", key="k")
        assert attempt.outcome is Outcome.LATER
        assert ("可能已经生效" in str(attempt.words)) is (retry is Retry.AMBIGUOUS)


def test_a_refusal_by_one_who_answers_no_question_either_is_not_about_the_order() -> None:
    client = Warehouse(_refusal(code="25"), _refusal(code="25"))

    attempt = apply_hold(_call(client), order_no="A", reason="r", key="k")

    assert (attempt.outcome, attempt.vendor_code) == (Outcome.LATER, "25")


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (_at(picked_at=NOW), Outcome.DONE),
        (None, Outcome.DONE),
        (_at(custom={"wms_state": "CANCELED"}), Outcome.DONE),
        (_at(custom={"wms_state": "PRINT"}), Outcome.REFUSED),
    ],
)
def test_what_is_past_stopping_needs_no_release(answer: Any, outcome: Outcome) -> None:
    assert (
        release_hold(
            _call(Warehouse(_refusal(), answer)), order_no="A", reason="r", key="k"
        ).outcome
        is outcome
    )


def test_a_release_that_is_taken_is_done() -> None:
    assert release_hold(_call(Oms()), order_no="A", reason="", key="k").outcome is Outcome.DONE


def test_whether_a_system_can_hold_stands_in_its_settings() -> None:
    assert can_hold("qimen", {"warehouses": "WH01"})
    assert can_hold("qimen", {"warehouses": "WH01 不可挂起\nWH02 可挂起"})
    assert not can_hold("qimen", {"warehouses": "WH01 不可挂起"})
    assert not can_hold("qimen", {})
    assert can_hold("generic_oms", {"hold_path": "/x"})
    assert not can_hold("generic_oms", {})
    assert not can_hold("generic_oms", {"page_size": "x", "hold_path": "/x"})
    assert not can_hold("alipay", {})
    assert not can_hold("nobody", {})
