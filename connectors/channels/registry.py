"""The sales platforms we can talk to, one line each."""

from __future__ import annotations

from collections.abc import Mapping

from connectors.adapters import Connector
from connectors.channels.douyin.connector import CONNECTOR as DOUYIN
from connectors.channels.private_mall.connector import CONNECTOR as PRIVATE_MALL
from connectors.channels.tmall.connector import CONNECTOR as TMALL

CHANNELS: Mapping[str, Connector] = {
    connector.code: connector
    for connector in (
        TMALL,
        DOUYIN,
        PRIVATE_MALL,
    )
}
