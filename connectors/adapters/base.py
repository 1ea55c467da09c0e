"""The shapes between vendors and the river: access, calls, lists, pushes, capabilities. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from config.errors import Phrase
from connectors.adapters.lists import ListRules
from connectors.http import ConnectorError, Response, Retry
from connectors.orders.canonical import CanonicalOrder, CanonicalRecord
from connectors.wire import Fault, Mapped, Verified

if TYPE_CHECKING:
    from connectors.adapters.consent import ConsentPage

# -- one call ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One signed call, ready to leave. Build it anew for every try: its time is signed.

    `operation` is the vendor's own name of the call: call log and rate limit go by it.
    `order_nos` are the orders it is about, for the log. A call that has an effect outside
    (`is_effect`) carries the `key` under which a repetition is the same effect.
    """

    operation: str
    method: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes | None = field(default=None, repr=False)
    order_nos: tuple[str, ...] = ()
    is_effect: bool = False
    key: str = ""


class VendorRefusal(ConnectorError):
    """The vendor answered, and the answer is no. `fault` says what that allows.

    `pause_seconds`: how long to wait, where the vendor told it. The message is the fault's
    meaning with the vendor's own code; never the vendor's free text, which may be personal.
    """

    code = "vendor_refusal"

    def __init__(self, fault: Fault, *, vendor_code: str, pause_seconds: int | None = None) -> None:
        super().__init__(fault.meaning, retry=fault.retry, vendor_code=vendor_code)
        self.fault, self.pause_seconds = fault, pause_seconds


@dataclass(frozen=True, slots=True)
class Access:
    """What a client needs to act for one shop or system.

    `config` is what the form asked for openly (app key, merchant number, warehouse ...), `secrets`
    what it asked for in confidence, with `access_token` and `refresh_token` where the vendor has
    them. `base_url` is the gateway's address without a slash at its end. `send` makes one call and
    returns whatever came back; it raises ConnectorError when nothing whole did.
    """

    shop: str
    base_url: str
    config: Mapping[str, Any]
    secrets: Mapping[str, str] = field(repr=False)
    send: Callable[[Outgoing], Response] = field(repr=False)
    clock: Callable[[], datetime] = field(repr=False)
    access_expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a token call gave. A vendor that does not rotate returns the refresh token it got."""

    access_token: str = field(repr=False)
    refresh_token: str = field(default="", repr=False)
    expires_at: datetime | None = None
    refresh_expires_at: datetime | None = None


# -- lists -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ListedOrder:
    """One row of a list. `payload` is the whole order, or None where it takes a detail call."""

    order_no: str
    updated_at: datetime | None = None
    payload: Mapping[str, object] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Listed:
    """One page. `total` where the vendor counts, `next_cursor` where it names the next page,
    `has_more` where it only says whether there is one (behind this page, in its own order)."""

    rows: tuple[ListedOrder, ...]
    total: int | None = None
    next_cursor: str = ""
    has_more: bool | None = None


@dataclass(frozen=True, slots=True)
class Answered:
    """A whole record as the vendor tells it now, mapped, with what to keep raw."""

    mapped: Mapped[CanonicalRecord]
    payload: Mapping[str, object] = field(default_factory=dict, repr=False)


class Client(Protocol):
    """Whatever `Connector.open()` gives: it can at least be tried."""

    def check(self) -> str | Phrase:
        """Make the cheapest authorised call; returns what the vendor answered, in a few words.

        Raises ConnectorError (VendorRefusal) with the reason when it is refused.
        """


@runtime_checkable
class Lister(Protocol):
    """A source that lists what changed."""

    def count_orders(self, stream: str, start: datetime, end: datetime) -> int:
        """How many rows the window has, for paging backwards (BACKWARD lists only)."""

    def list_orders(
        self, stream: str, start: datetime, end: datetime, *, page: int, cursor: str
    ) -> Listed:
        """One page of a window, both ends included. `page` for numbered lists, `cursor` else."""

    def read_order(self, order_no: str) -> Mapping[str, object] | None:
        """The whole order as it is now; None when the vendor has no such order."""


@runtime_checkable
class Asker(Protocol):
    """A system that is asked about one order at a time: a payment gateway, a WMS."""

    def ask(self, order_no: str) -> Answered | None:
        """What it knows of the order now; None when it knows of none."""


@dataclass(frozen=True, slots=True)
class PulledMessage:
    """A message that was fetched, not pushed: confirm it once it is stored."""

    message_id: str
    replay_key: str
    topic: str
    order_no: str
    published_at: datetime | None
    payload: Mapping[str, object] = field(repr=False)


@runtime_checkable
class Messages(Protocol):
    """A queue of messages at the vendor (TOP's TMC)."""

    def permit(self) -> None:
        """Ask the vendor to keep this shop's messages for us; may be repeated."""

    def consume(self, limit: int) -> Sequence[PulledMessage]:
        """Up to `limit` messages; the same ones come again until they are confirmed."""

    def confirm(self, message_ids: Sequence[str]) -> None:
        """Tell the vendor that these are stored here."""


@runtime_checkable
class TokenKeeper(Protocol):
    """A vendor whose access ends by itself."""

    def refresh_tokens(self) -> Tokens:
        """Fresh tokens for the ones in `Access.secrets`; the caller holds the lock."""


@runtime_checkable
class DeliveryOrders(Protocol):
    """A system that takes orders from us and can stop them. Every call may be repeated."""

    def create(self, order: CanonicalOrder, *, key: str) -> str:
        """Hand an order over; returns the system's own number ("" when it tells none)."""

    def hold(self, order_no: str, *, reason: str, key: str) -> None:
        """Stop an order there. Raises VendorRefusal when it is too late or cannot be done."""

    def release(self, order_no: str, *, reason: str, key: str) -> None:
        """Let a stopped order go on."""

    def cancel(self, order_no: str, *, reason: str, key: str) -> None:
        """Take an order back. Raises VendorRefusal once it is picked."""


@dataclass(frozen=True, slots=True)
class StockRow:
    """Stock of one SKU in one warehouse, in pieces: free to sell, and locked for orders."""

    sku: str
    warehouse: str
    available: int
    locked: int


@runtime_checkable
class StockReader(Protocol):
    """A system that tells stock."""

    def read_stock(self, skus: Sequence[str]) -> Sequence[StockRow]:
        """Stock of these SKUs; one nobody knows is left out."""


# -- pushes ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PushRequest:
    """An HTTP request as it came: header names in lower case, query as decoded pairs, raw body."""

    method: str
    headers: Mapping[str, str] = field(repr=False)
    query: tuple[tuple[str, str], ...] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class PushItem:
    """One message of a verified push.

    `kind`: "hint" (read `order_no` anew), "record" (`payload` is whole: map it), "probe" (answer
    only) or "unknown" (kept, IT is told). `replay_key` names it for good.
    """

    kind: str
    replay_key: str
    topic: str = ""
    order_no: str = ""
    payload: Mapping[str, object] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class PushAnswer:
    """What the vendor has to read to believe that we have it."""

    status: int = 200
    content_type: str = "application/json"
    body: bytes = b""


class PushDoor(Protocol):
    """How a vendor's pushes are verified, read and answered. Pure: no database, no clock."""

    def verify(
        self,
        request: PushRequest,
        *,
        config: Mapping[str, Any],
        secrets: Mapping[str, str],
        now: datetime,
    ) -> Verified:
        """Check the signature over the raw body; raises SignatureRefused."""

    def read(
        self, request: PushRequest, verified: Verified, *, secrets: Mapping[str, str]
    ) -> Sequence[PushItem]:
        """The messages inside; raises PayloadError when the body cannot be read."""

    def map(self, item: PushItem, *, shop: str, stages: Mapping[str, str] | None) -> Answered:
        """The record of an item of kind "record"; raises PayloadError."""

    def answer(self, outcome: str) -> PushAnswer:
        """For "stored", "repeated" (all of it was here already), "refused", "unreadable"."""


# -- the adapter -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CredentialField:
    """One question of the wizard's form. A secret is write-only: never shown again."""

    name: str
    label: str
    is_secret: bool = False
    is_required: bool = True
    help: str = ""
    placeholder: str = ""
    is_long: bool = False  # a PEM key: several lines
    is_rare: bool = False  # hardly ever answered: folded away
    most: int = 0  # a whole number from 1 to this; 0: any text
    choices: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class RateLimit:
    """What a vendor lets one application call: per second, at once, and per day (0: not told)."""

    per_second: float = 10.0
    burst: int = 20
    per_day: int = 0


MapOrder = Callable[..., Mapped[CanonicalRecord]]


@dataclass(frozen=True)
class Connector:
    """One vendor. `kind` is the SourceKind of its feed: channel, gateway, oms or wms.

    `streams`: lists by name; "modified" is the one pulled every few minutes, "created" the daily
    sweep, "review" (Douyin) orders the platform has in review. `map_order(payload, *, shop,
    stages, **hints)` gives the canonical record of a payload. `secrets_of_push`: names of the
    secrets that verify pushes, newest first.
    """

    code: str
    label: str
    kind: str
    base_url: str
    fields: tuple[CredentialField, ...]
    open: Callable[[Access], Any]
    map_order: MapOrder | None = None
    stages: Mapping[str, str] = field(default_factory=dict)  # raw status -> stage, as shipped
    streams: Mapping[str, ListRules] = field(default_factory=dict)
    # For a vendor whose lists are described by its form: config -> streams.
    streams_of: Callable[[Mapping[str, Any]], Mapping[str, ListRules]] | None = None
    push: PushDoor | None = None
    has_queue: bool = False  # keeps messages for us to fetch (`Messages`)
    limit: RateLimit = RateLimit()
    help: str = ""
    retry_pauses: tuple[float, ...] = (1.0, 3.0, 9.0)  # seconds before the tries after the first
    consent: ConsentPage | None = None  # where a merchant gives access on the platform's own page

    def list_streams(self, config: Mapping[str, Any]) -> Mapping[str, ListRules]:
        """The lists of a connection with this configuration, by name."""
        return self.streams_of(config) if self.streams_of is not None else self.streams


def may_retry(error: ConnectorError) -> bool:
    """Whether a reading call may simply be made again: a read has no effect to be doubled."""
    return error.retry in {Retry.SAFE, Retry.LATER, Retry.AMBIGUOUS}
