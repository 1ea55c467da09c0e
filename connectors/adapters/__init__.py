"""What every vendor's adapter is, whatever the vendor: channels and systems fill these shapes.

An adapter is a `Connector`, one per vendor: what its form asks for, how its lists may be read, how
its messages are verified, and `open()`, which gives a client for one authorised shop or system. A
client builds signed calls and reads answers; it never opens a connection itself: `Access.send`
does, with time limit, rate limit, call log and allow-list around it (`connectors.sync.transport`).
"""

from connectors.adapters.base import (
    Access,
    Answered,
    Asker,
    Client,
    Connector,
    CredentialField,
    DeliveryOrders,
    Listed,
    ListedOrder,
    Lister,
    Messages,
    Outgoing,
    PulledMessage,
    PushAnswer,
    PushDoor,
    PushItem,
    PushRequest,
    RateLimit,
    StockReader,
    StockRow,
    TokenKeeper,
    Tokens,
    VendorRefusal,
)
from connectors.adapters.consent import Authoriser, ConsentPage, Grant, OwnAuthoriser
from connectors.adapters.lists import ListRules, Paging
from connectors.adapters.pace import PACE_FIELDS, name_application, read_limit

__all__ = [
    "PACE_FIELDS",
    "Access",
    "Answered",
    "Asker",
    "Authoriser",
    "Client",
    "Connector",
    "ConsentPage",
    "CredentialField",
    "DeliveryOrders",
    "Grant",
    "ListRules",
    "Listed",
    "ListedOrder",
    "Lister",
    "Messages",
    "Outgoing",
    "OwnAuthoriser",
    "Paging",
    "PulledMessage",
    "PushAnswer",
    "PushDoor",
    "PushItem",
    "PushRequest",
    "RateLimit",
    "StockReader",
    "StockRow",
    "TokenKeeper",
    "Tokens",
    "VendorRefusal",
    "name_application",
    "read_limit",
]
