"""The door to what all simulators share: import these names from here.

wire.py has the clock, calls, the store and the bucket; faults.py the switchboard; outbox.py the
callbacks; feeds.py lists and feeds over the lives; host.py serves the apps over HTTP.
"""

from connectors.simulators.faults import KINDS, Fault, Faults
from connectors.simulators.feeds import ChangeIndex, Feed
from connectors.simulators.host import Host
from connectors.simulators.outbox import Attempt, Outbox
from connectors.simulators.wire import (
    Answer,
    App,
    Bucket,
    Call,
    Clock,
    Store,
    json_answer,
    text_answer,
)

__all__ = [
    "KINDS",
    "Answer",
    "App",
    "Attempt",
    "Bucket",
    "Call",
    "ChangeIndex",
    "Clock",
    "Fault",
    "Faults",
    "Feed",
    "Host",
    "Outbox",
    "Store",
    "json_answer",
    "text_answer",
]
