"""The systems we can talk to, one line each."""

from __future__ import annotations

from collections.abc import Mapping

from connectors.adapters import Connector
from connectors.systems.payments.alipay_adapter import ALIPAY
from connectors.systems.payments.wechat_pay_adapter import WECHAT_PAY
from connectors.systems.wms.qimen_adapter import QIMEN

SYSTEMS: Mapping[str, Connector] = {
    connector.code: connector for connector in (ALIPAY, WECHAT_PAY, QIMEN)
}
