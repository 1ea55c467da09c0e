"""What every robot sender takes and gives."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class RobotAddress:
    """Where a robot listens. Both the address and the signing secret are secrets."""

    webhook: str = field(repr=False)
    secret: str = field(default="", repr=False)
    keyword: str = ""


@dataclass(frozen=True)
class RobotMessage:
    """A message in markdown; foreign text in it has been through `write_plain`."""

    title: str
    text: str
    at_all: bool = False
    at_mobiles: tuple[str, ...] = ()


@dataclass(frozen=True)
class RobotReceipt:
    """The vendor's own word that the message was taken."""

    vendor_code: str
    words: str
