"""The systems we can talk to, one line each, and what is wrong with their settings."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from config.errors import AppError, BadInput, Phrase
from connectors.adapters import Access, Connector, Outgoing
from connectors.http import ConnectorError, Response
from connectors.systems.oms.adapter import GENERIC_OMS
from connectors.systems.oms.client import OmsClient
from connectors.systems.oms.spec import OmsSpec
from connectors.systems.payments.alipay_adapter import ALIPAY
from connectors.systems.payments.wechat_pay_adapter import WECHAT_PAY
from connectors.systems.wms.qimen_adapter import QIMEN, read_warehouses

SYSTEMS: Mapping[str, Connector] = {
    connector.code: connector for connector in (ALIPAY, WECHAT_PAY, QIMEN, GENERIC_OMS)
}


def find_problems(
    vendor: str, *, config: Mapping[str, Any], secrets: Mapping[str, str]
) -> list[Phrase]:
    """What is wrong with the settings of a system before anything is called, in words.

    Keys that cannot be read, warehouses nobody understands, a form with gaps: all of it is said at
    once where the form can, else the first of it. Empty when a call may be tried.
    """
    access = Access(
        shop="",
        base_url="https://unused.invalid",
        config=config,
        secrets=secrets,
        send=_refuse_call,
        clock=lambda: datetime.now(UTC),
    )
    try:
        client = SYSTEMS[vendor].open(access)
    except AppError as error:
        return [Phrase(error.message, error.params)]
    if isinstance(client, OmsClient):
        return [problem.sentence for problem in client.spec.check()]
    return []


def can_hold(vendor: str, config: Mapping[str, Any]) -> bool:
    """Whether a connected system can be told to stop an order, by its settings."""
    try:
        if vendor == GENERIC_OMS.code:
            return OmsSpec.read(config).can_hold
        if vendor == QIMEN.code:
            return any(read_warehouses(str(config.get("warehouses") or "")).values())
    except BadInput:
        return False
    return False


def _refuse_call(_: Outgoing) -> Response:
    raise ConnectorError("settings are judged without a call", code="no_call")
