"""Texts as a database and an encoder take them. Pure.

A NUL is no character of any column, half a character (a lone surrogate) of none and of no cipher.
Mappings drop both; this is the door's own guard, for whoever builds records in another way.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any, TypeVar

_BAD = re.compile("[\x00\ud800-\udfff]")
# As `repr` and JSON write them: cheaper to look for in the text that a digest needs anyway.
_WRITTEN = re.compile(r"\\x00|\\u0000|\\ud[89a-f]", re.IGNORECASE)

T = TypeVar("T")


def may_be_unstorable(written: str) -> bool:
    """Whether the `repr` of a record may hold what cannot be stored; a false alarm is harmless."""
    return "\\" in written and _WRITTEN.search(written) is not None


def mend_text(text: str) -> str:
    """The text without NUL; two halves become their character, a lone half a question mark."""
    if not _BAD.search(text):
        return text
    joined = text.replace("\x00", "").encode("utf-16", "surrogatepass")
    return joined.decode("utf-16", "replace").replace("�", "?")


def make_storable(value: T) -> T:
    """A record, or anything inside one, with every text mended; what needs nothing stays itself."""
    return _mend(value)


def _mend(value: Any) -> Any:
    if isinstance(value, str):
        return mend_text(value)
    if isinstance(value, Mapping):
        return {_mend(key): _mend(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_mend(item) for item in value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [f.name for f in dataclasses.fields(value)]
        return dataclasses.replace(value, **{n: _mend(getattr(value, n)) for n in names})
    return value
