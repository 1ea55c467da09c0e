"""What every connector needs to read and judge what came over the wire. Pure: no Django, no I/O.

`Reader` reads fields of a payload and names the one that is wrong; `Mapped` is what a mapping
returns; `Fault` says what a vendor's error code allows; `Verified` is a signature that held.
"""

from connectors.wire.faults import Fault
from connectors.wire.mapped import Mapped, Notice
from connectors.wire.reading import SHANGHAI, PayloadError, Reader, read_json
from connectors.wire.verdicts import SignatureRefused, Verified, check_window, is_same

__all__ = [
    "SHANGHAI",
    "Fault",
    "Mapped",
    "Notice",
    "PayloadError",
    "Reader",
    "SignatureRefused",
    "Verified",
    "check_window",
    "is_same",
    "read_json",
]
