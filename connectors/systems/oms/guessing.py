"""Proposals for the form from a sample answer, by the names of its fields. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from connectors.systems.oms.paths import MAX_STEPS, Path, write_path

# Setting of the form -> names of fields that mean it, the likeliest first, without case and marks.
ROW_FIELDS: Mapping[str, tuple[str, ...]] = {
    "order_no_path": (
        "orderno", "ordercode", "platformorderno", "outorderno", "sourceorderno", "tradeno", "tid",
        "ordersn", "ordernumber", "orderid", "billno", "bizno", "outtradeno", "订单号", "单号",
    ),
    "updated_path": (
        "updatedat", "updatetime", "updated", "modified", "modifiedat", "modifytime", "gmtmodified",
        "lastmodified", "lastupdatetime", "updateat", "更新时间", "修改时间",
    ),
    "received_path": (
        "receivedat", "receivedtime", "receivetime", "recvtime", "acceptedat", "accepttime", "importtime",
        "intime", "createdat", "createtime", "created", "gmtcreate", "接收时间", "创建时间",
    ),
    "reviewed_path": (
        "reviewedat", "reviewat", "auditat", "reviewtime", "auditedat", "audittime", "checkedat", "checktime", "approvedat",
        "approvetime", "confirmtime", "审单时间", "审核时间",
    ),
    "picked_path": ("pickedat", "picktime", "pickedtime", "pickingtime", "拣货时间"),
    "shipped_path": (
        "shippedat", "shiptime", "shippingtime", "shippedtime", "deliveredat", "deliverytime",
        "consigntime", "sendtime", "outtime", "stockouttime", "发货时间", "出库时间",
    ),
    "status_path": ("status", "orderstatus", "state", "orderstate", "processstatus", "状态"),
}  # fmt: skip
ANSWER_FIELDS: Mapping[str, tuple[str, ...]] = {
    "total_path": ("total", "totalcount", "totalresults", "totalnum", "count", "总数"),
    "cursor_path": ("nextcursor", "nexttoken", "nextpagetoken", "cursor", "scrollid"),
    "next_path": ("next", "nexturl", "nextlink", "nextpage"),
}
# A status is often an object: its name or code stands for it.
_FILLERS = frozenset({"name", "text", "desc", "code", "value"})
_MARKS = re.compile(r"[\s_\-.]+")


def guess_fields(sample: object) -> dict[str, str]:
    """Settings of the form this answer suggests: where the rows are, and the fields of a row.

    Only what was found; every proposal is for a person to confirm.
    """
    rows_at = guess_rows(sample)
    if rows_at is None:
        return {}
    found = {"rows_path": write_path(rows_at)}
    rows = _find_rows(sample, rows_at)
    found |= _match(_places(rows[0]), ROW_FIELDS)
    found |= _match(_places(sample), ANSWER_FIELDS)
    return found


def guess_rows(sample: object) -> Path | None:
    """Where the list of orders is: the list of objects that looks most like orders."""
    best: tuple[int, int, int] | None = None
    at: Path | None = None
    for steps, value in _lists(sample, ()):
        names = {_plain(name) for name in value[0]}
        likeness = sum(1 for wanted in ROW_FIELDS.values() if names & set(wanted))
        has_number = bool(names & set(ROW_FIELDS["order_no_path"]))
        rank = (int(has_number), likeness, -len(steps))
        if best is None or rank > best:
            best, at = rank, steps
    return at


def _lists(value: object, steps: Path) -> Iterator[tuple[Path, list[Mapping[str, object]]]]:
    if len(steps) >= MAX_STEPS:
        return
    if isinstance(value, list):
        if value and isinstance(value[0], Mapping):
            yield steps, value
            yield from _lists(value[0], (*steps, 0))
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _lists(item, (*steps, str(key)))


def _find_rows(sample: object, steps: Path) -> list[Mapping[str, object]]:
    return next(rows for at, rows in _lists(sample, ()) if at == steps)


def _places(value: object, steps: Path = ()) -> Iterator[tuple[Path, object]]:
    if isinstance(value, Mapping) and len(steps) < MAX_STEPS:
        for key, item in value.items():
            yield from _places(item, steps=(*steps, str(key)))
    elif not isinstance(value, list | Mapping):
        yield steps, value


def _match(
    places: Iterator[tuple[Path, object]], wanted: Mapping[str, tuple[str, ...]]
) -> dict[str, str]:
    """For each setting the first of its names that is there; of two places the shallower one."""
    by_name: dict[str, Path] = {}
    for steps, _ in sorted(places, key=lambda place: len(place[0])):
        for name in _names_of(steps):
            by_name.setdefault(name, steps)
    found: dict[str, str] = {}
    taken: set[Path] = set()
    for setting, names in wanted.items():
        for name in names:
            if name in by_name and by_name[name] not in taken:
                found[setting] = write_path(by_name[name])
                taken.add(by_name[name])
                break
    return found


def _names_of(steps: Path) -> Iterator[str]:
    """What a place may be called: its own name, and with its parent: `audit.time`, `status.name`."""
    if not steps:
        return
    own = _plain(str(steps[-1]))
    yield own
    if len(steps) > 1:
        parent = _plain(str(steps[-2]))
        yield parent + own
        if own in _FILLERS:
            yield parent


def _plain(name: str) -> str:
    return _MARKS.sub("", name).lower()
