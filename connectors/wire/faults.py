"""What a vendor's error code allows, as data (the classes R, T, S, Q of channels.md section 2)."""

from __future__ import annotations

from dataclasses import dataclass

from connectors.http import Retry


@dataclass(frozen=True, slots=True)
class Fault:
    """One error code of a vendor: what may be done, and what a person reads.

    `retry` is the class for the same call; every retry is signed anew, for the time is signed.
    The three flags name what has to happen first.
    """

    retry: Retry
    meaning: str
    refresh_token: bool = False  # then once more; a second time it is for a person
    resync_clock: bool = False
    wait_for_quota: bool = False  # until the time told, or the next day
