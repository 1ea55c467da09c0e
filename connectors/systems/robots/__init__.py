"""Chat robots: one thin sender per vendor, behind one door."""

from __future__ import annotations

from datetime import datetime

from connectors import http
from connectors.systems.robots import dingtalk
from connectors.systems.robots.base import RobotAddress, RobotMessage, RobotReceipt
from connectors.systems.robots.text import write_plain

__all__ = ["RobotAddress", "RobotMessage", "RobotReceipt", "send_message", "write_plain"]

_SENDERS = {"dingtalk": dingtalk}


def send_message(
    kind: str,
    address: RobotAddress,
    message: RobotMessage,
    *,
    now: datetime,
    allowed: frozenset[tuple[str, int]] = frozenset(),
) -> RobotReceipt:
    """Send one message through the robot of this kind; call it outside any transaction.

    Raises ConnectorError: its `retry` says whether the group may have seen the message.
    """
    sender = _SENDERS[kind]
    request = sender.build_request(address, message, now=now, allowed=allowed)
    return sender.read_answer(http.send(request))
