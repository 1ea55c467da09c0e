"""Every sealed column of the product, declared: what `rotate_keys` seals anew.

tests/negative/test_rotation.py fails when a column named `sealed` or `*_sealed` is missing here.
"""

from __future__ import annotations

from config.sealing import SealedTable
from connectors.orders.models import (
    ADDRESS_PURPOSE,
    NAME_PURPOSE,
    PHONE_PURPOSE,
    RAW_PURPOSE,
    Order,
    RawPayload,
)
from connectors.shops.connections import SECRETS_PURPOSE
from connectors.shops.models import Connection
from connectors.sync.models import (
    CALL_PURPOSE,
    MESSAGE_PURPOSE,
    QUARANTINE_PURPOSE,
    CallLog,
    InboundMessage,
    Quarantine,
)
from connectors.tabular.models import CELLS_PURPOSE, PROFILE_PURPOSE, QuarantineRow, StoredFile
from rules_engine.facts.models import FactSnapshot
from rules_engine.facts.services import PERSONAL_PURPOSE
from workflows.interventions.models import (
    MENTIONS_PURPOSE,
    MOBILE_PURPOSE,
    SECRET_PURPOSE,
    WEBHOOK_PURPOSE,
    Contact,
    Delivery,
    Robot,
)

# Credentials first: they are few, and the calls of the next minute need them.
SEALED_TABLES: tuple[SealedTable, ...] = (
    SealedTable(Connection, {"secrets_sealed": SECRETS_PURPOSE}),
    SealedTable(Robot, {"webhook_sealed": WEBHOOK_PURPOSE, "secret_sealed": SECRET_PURPOSE}),
    SealedTable(Contact, {"mobile_sealed": MOBILE_PURPOSE}),
    SealedTable(Delivery, {"mentions_sealed": MENTIONS_PURPOSE}),
    SealedTable(InboundMessage, {"payload_sealed": MESSAGE_PURPOSE}),
    SealedTable(Quarantine, {"payload_sealed": QUARANTINE_PURPOSE}),
    SealedTable(CallLog, {"request_sealed": CALL_PURPOSE, "answer_sealed": CALL_PURPOSE}),
    SealedTable(StoredFile, {"profile_sealed": PROFILE_PURPOSE}),
    SealedTable(QuarantineRow, {"cells_sealed": CELLS_PURPOSE}),
    SealedTable(
        Order,
        {
            "name_sealed": NAME_PURPOSE,
            "phone_sealed": PHONE_PURPOSE,
            "address_sealed": ADDRESS_PURPOSE,
        },
    ),
    SealedTable(FactSnapshot, {"personal_sealed": PERSONAL_PURPOSE}),
    SealedTable(RawPayload, {"sealed": RAW_PURPOSE}),
)
