"""Stopping an order outside: which system can, what its answer means. Pure but for the call itself.

An order is stopped where it stands: at the OMS until that has sent it on, in the warehouse until it
is picked. After that nobody stops it but a person on the telephone: that is a result, not an error.
Every call carries a key and means the same when it is made again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from config.errors import Phrase, gettext_noop
from connectors.adapters import Asker, VendorRefusal
from connectors.adapters.base import may_retry
from connectors.http import ConnectorError, Retry
from connectors.systems.oms.calls import CONFLICT, LOGIN, NO_PLACE
from connectors.systems.oms.client import CANNOT_HOLD as OMS_CANNOT
from connectors.systems.wms.qimen import HOLDABLE_STATES
from connectors.systems.wms.qimen_adapter import CANNOT_HOLD as WMS_CANNOT

Call = Callable[[Callable[[Any], Any]], Any]  # connectors.sync's Session.call

# States of a warehouse from which nothing is stopped any more; and those in which nothing goes on.
_PICKED_STATES = frozenset(
    {"PICK", "CHECK", "PACKAGE", "WEIGH", "READY", "PARTDELIVERED", "DELIVERED", "SIGN"}
)
_GONE_STATES = frozenset({"PARTDELIVERED", "DELIVERED", "SIGN"})
_OVER_STATES = frozenset({"CANCELED", "CLOSED", "REJECT", "REFUSE"})

PICKED = Phrase(gettext_noop("仓库已拣货，挂起被拒：请拦截物流"))
GONE = Phrase(gettext_noop("已经出库，挂不住了：请联系快递拦截"))
OVER = Phrase(gettext_noop("仓库已取消或拒收这张订单，不会再发"))
ABSENT = Phrase(gettext_noop("对方还没有这张订单，到了就挂起"))
PASSED_ON = Phrase(gettext_noop("OMS 已把订单发给仓库，改在仓库挂起"))
STOPPED = Phrase(gettext_noop("已在对方系统里停下"))
GOES_ON = Phrase(gettext_noop("已在对方系统里放行"))
DOUBTFUL = Phrase(gettext_noop("对方没有应答，可能已经生效：会再试，重复不会多出一次"))


class Outcome(StrEnum):
    """What came of one attempt at one system."""

    DONE = "done"
    TOO_LATE = "too_late"  # it is picked or gone
    OVER = "over"  # there is nothing to stop any more
    ABSENT = "absent"  # the system has no such order yet
    PASSED_ON = "passed_on"  # the next system has it
    UNABLE = "unable"  # the system cannot hold
    REFUSED = "refused"  # it said no for a reason of its own
    LATER = "later"  # nobody answered, or not now: the same call again


@dataclass(frozen=True, slots=True)
class Attempt:
    """The outcome with the words a person reads, and the system's own code."""

    outcome: Outcome
    words: Phrase
    vendor_code: str = ""


@dataclass(frozen=True, slots=True)
class Standing:
    """How far an order has come outside, as far as we were told."""

    oms_received: bool = False
    wms_received: bool = False
    picked: bool = False
    gone: bool = False
    wms_state: str = ""

    @property
    def is_gone(self) -> bool:
        return self.gone or self.wms_state in _GONE_STATES

    @property
    def is_picked(self) -> bool:
        return self.picked or self.wms_state in _PICKED_STATES


@dataclass(frozen=True, slots=True)
class System:
    """A connected system an order passes: `kind` "oms" or "wms"; `number` is ours."""

    number: int
    kind: str
    can_hold: bool


@dataclass(frozen=True, slots=True)
class Decision:
    """Where to turn, the first one first; or (nowhere) the result that stands without a call.

    `answers_for`: the system the result is about; None where none is connected.
    """

    systems: tuple[System, ...] = ()
    result: Attempt | None = None
    answers_for: System | None = None


def choose_systems(standing: Standing, systems: Sequence[System]) -> Decision:
    """Where an order is stopped, given how far it has come and what is connected.

    What we were told may lag behind: an order the warehouse has not spoken of is stopped at the
    OMS, and where that has sent it on already, in the warehouse.
    """
    oms = [s for s in systems if s.kind == "oms"]
    wms = [s for s in systems if s.kind == "wms"]
    about = next(iter([*wms, *oms]), None)
    if about is None:
        return Decision()
    if standing.is_gone:
        return Decision(result=Attempt(Outcome.TOO_LATE, GONE), answers_for=about)
    if standing.is_picked:
        return Decision(result=Attempt(Outcome.TOO_LATE, PICKED), answers_for=about)
    if standing.wms_state in _OVER_STATES:
        return Decision(result=Attempt(Outcome.OVER, OVER), answers_for=about)
    is_there = standing.wms_received or standing.wms_state in HOLDABLE_STATES
    asked = wms if is_there and wms else [*oms, *wms]
    able = tuple(s for s in asked if s.can_hold)
    if able:
        return Decision(systems=able)
    words = Phrase((WMS_CANNOT if asked[0].kind == "wms" else OMS_CANNOT).meaning)
    return Decision(result=Attempt(Outcome.UNABLE, words), answers_for=asked[0])


def apply_hold(call: Call, *, order_no: str, reason: str, key: str) -> Attempt:
    """Stop an order at one system. Never raises for what the system does or leaves undone.

    `call` makes a call with a client, with its patience (`Session.call`). A refusal is looked into:
    the system is asked how far the order is.
    """
    try:
        call(lambda client: client.hold(order_no, reason=reason, key=key))
    except VendorRefusal as error:
        return _explain(call, order_no, error)
    except ConnectorError as error:
        return _wait(error)
    return Attempt(Outcome.DONE, STOPPED)


def release_hold(call: Call, *, order_no: str, reason: str, key: str) -> Attempt:
    """Let an order go on at one system. Never raises for what the system does.

    An order that is not there, was picked all the same or is over has nothing left to release.
    """
    try:
        call(lambda client: client.release(order_no, reason=reason, key=key))
    except VendorRefusal as error:
        found = _explain(call, order_no, error)
        if found.outcome in {Outcome.TOO_LATE, Outcome.OVER, Outcome.ABSENT, Outcome.PASSED_ON}:
            return Attempt(Outcome.DONE, GOES_ON, found.vendor_code)
        return found
    except ConnectorError as error:
        return _wait(error)
    return Attempt(Outcome.DONE, GOES_ON)


def _explain(call: Call, order_no: str, error: VendorRefusal) -> Attempt:
    """What a refusal means, by its kind and by how far the order is."""
    code = error.vendor_code
    if may_retry(error) or error.fault == LOGIN:
        return _wait(error)
    if error.fault in {OMS_CANNOT, WMS_CANNOT}:
        return Attempt(Outcome.UNABLE, Phrase(error.message), code)
    if error.fault == NO_PLACE:
        return Attempt(Outcome.ABSENT, ABSENT, code)
    if error.fault == CONFLICT:
        return Attempt(Outcome.PASSED_ON, PASSED_ON, code)
    try:
        found = _ask(call, order_no)
    except ConnectorError:  # not even a question is answered: it is not about this order
        return _wait(error)
    if isinstance(found, Standing):
        if found.is_gone:
            return Attempt(Outcome.TOO_LATE, GONE, code)
        if found.is_picked:
            return Attempt(Outcome.TOO_LATE, PICKED, code)
        if found.wms_state in _OVER_STATES:
            return Attempt(Outcome.OVER, OVER, code)
    elif found is None:
        return Attempt(Outcome.ABSENT, ABSENT, code)
    words = Phrase(
        gettext_noop("对方拒绝了（代码 %(code)s）：%(reason)s"),
        {"code": code, "reason": Phrase(error.message, error.params)},
    )
    return Attempt(Outcome.REFUSED, words, code)


class _Unasked:
    """The system is none that can be asked how far an order is."""


def _ask(call: Call, order_no: str) -> Standing | _Unasked | None:
    """How far an order is, as its system tells now; None when it has no such order.

    Raises ConnectorError when it does not answer.
    """

    def ask(client: Any) -> Any:
        return client.ask(order_no) if isinstance(client, Asker) else _Unasked()

    answer = call(ask)
    if answer is None or isinstance(answer, _Unasked):
        return answer
    record = answer.mapped.record
    return Standing(
        wms_received=True,
        picked=record.picked_at is not None,
        gone=record.shipped_at is not None,
        wms_state=str(record.custom.get("wms_state", "")),
    )


def _wait(error: ConnectorError) -> Attempt:
    """Nothing was decided about the order: the system is away, or the connection has to be mended."""
    is_doubtful = error.retry is Retry.AMBIGUOUS
    words = DOUBTFUL if is_doubtful else Phrase(error.message, error.params)
    return Attempt(Outcome.LATER, words, error.vendor_code or error.code)
