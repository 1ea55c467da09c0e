"""Every vendor we can talk to, channels and systems alike."""

from __future__ import annotations

from config.errors import NotFound, gettext_noop
from connectors.adapters import Connector
from connectors.channels.registry import CHANNELS
from connectors.systems.registry import SYSTEMS


def list_connectors() -> list[Connector]:
    """All of them: channels first, in the order people know them."""
    return [*CHANNELS.values(), *SYSTEMS.values()]


def get_connector(vendor: str) -> Connector:
    """The adapter of a vendor; raises NotFound for one nobody wrote."""
    found = CHANNELS.get(vendor) or SYSTEMS.get(vendor)
    if found is None:
        raise NotFound(gettext_noop("没有「%(vendor)s」的连接器"), vendor=vendor)
    return found
