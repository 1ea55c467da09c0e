"""A row of an OMS as a receipt: what the picked paths found, read as order number and moments. Pure.

The client puts a row into an envelope: `{"told": {name: {"path", "value"}}, "row": {...}}`. So a row
says by itself what it told, also when it is mapped again later, and an error names the path a
person picked.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime

from config.errors import gettext_noop
from connectors.orders.canonical import CanonicalReceipt
from connectors.systems.oms.paths import MISSING, find, parse_path
from connectors.systems.oms.spec import OmsSpec
from connectors.wire import SHANGHAI, Mapped, Reader

_ROW_FIELDS = (
    "order_no", "updated", "received", "reviewed", "picked", "shipped", "status",
)  # fmt: skip
_CLOCK = re.compile(
    r"(\d{4})[-/](\d{1,2})[-/](\d{1,2})[ T](\d{1,2}):(\d{2})(?::(\d{2})(?:\.\d+)?)?"
)
_DIGITS = re.compile(r"\d{1,16}", re.ASCII)
_FIRST, _LAST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
_MS_FROM = 10**11  # as seconds that is the year 5138
_WANTED = gettext_noop("时间：2025-11-11 00:15:00、带时区的时间、Unix 秒或毫秒")


def wrap_row(row: Mapping[str, object], spec: OmsSpec) -> dict[str, object]:
    """The envelope of one row."""
    told: dict[str, object] = {}
    for name in _ROW_FIELDS:
        path = getattr(spec, f"{name}_path")
        if not path:
            continue
        value = find(row, parse_path(path))
        told[name] = {"path": path, "value": None if value is MISSING else value}
    return {"told": told, "row": dict(row)}


def read_order_no(envelope: Mapping[str, object]) -> str:
    """The order number of a row; raises PayloadError naming the path when there is none."""
    reader, key = _reader(envelope, "order_no")
    return reader.required_identifier(key)


def read_updated_at(envelope: Mapping[str, object]) -> datetime | None:
    """When the OMS last changed the order, where a path was picked for it."""
    return _read_moment(envelope, "updated")


def map_row(
    payload: Mapping[str, object],
    *,
    shop: str = "",
    stages: Mapping[str, str] | None = None,
    **hints: object,
) -> Mapped[CanonicalReceipt]:
    """The receipt of an enveloped row; raises PayloadError naming the path that is wrong."""
    reader, key = _reader(payload, "status")
    status = reader.text(key, limit=60)
    return Mapped(
        CanonicalReceipt(
            order_no=read_order_no(payload),
            received_at=_read_moment(payload, "received"),
            reviewed_at=_read_moment(payload, "reviewed"),
            picked_at=_read_moment(payload, "picked"),
            shipped_at=_read_moment(payload, "shipped"),
            custom={"oms_status": status} if status else {},
            source_updated_at=read_updated_at(payload),
        )
    )


def _reader(envelope: Mapping[str, object], name: str) -> tuple[Reader, str]:
    """A reader over the one value a path found, under the path a person picked."""
    place = Reader(envelope).one("told").one(name)
    path = place.text("path") or name
    return Reader({path: place.raw("value")}), path


def _read_moment(envelope: Mapping[str, object], name: str) -> datetime | None:
    reader, key = _reader(envelope, name)
    try:
        return read_moment(reader.raw(key))
    except ValueError as error:
        raise reader.refuse_value(key, _WANTED) from error
    except TypeError as error:
        raise reader.refuse(key, _WANTED) from error


def read_moment(value: object) -> datetime | None:
    """A moment in any of the forms an OMS writes; None for nothing, and for 0 and year 1 or 1970.

    Without a zone it is Beijing time. Raises TypeError for another kind of value, ValueError for
    a text or number that is no moment.
    """
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise TypeError
    text = value.strip() if isinstance(value, str) else str(value)
    if _DIGITS.fullmatch(text):
        return _from_number(int(text))
    if text.startswith(("0000", "0001", "1970")):
        return None
    match = _CLOCK.fullmatch(text)
    if match:
        year, month, day, hour, minute, second = (int(part or 0) for part in match.groups())
        moment = datetime(year, month, day, hour, minute, second, tzinfo=SHANGHAI)
    else:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            raise ValueError
    try:
        return _in_range(moment.astimezone(SHANGHAI))
    except OverflowError as error:
        raise ValueError from error


def _from_number(number: int) -> datetime | None:
    if number == 0:
        return None
    seconds = number / 1000 if number >= _MS_FROM else float(number)
    if seconds >= _LAST.timestamp():
        raise ValueError
    return _in_range(datetime.fromtimestamp(seconds, SHANGHAI))


def _in_range(moment: datetime) -> datetime:
    if not _FIRST <= moment < _LAST:
        raise ValueError
    return moment
