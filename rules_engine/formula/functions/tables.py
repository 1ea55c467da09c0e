"""Looking up in tables kept by the business: 查表("表名", 键…, "列"[, 默认值])."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from config.errors import gettext_noop
from rules_engine.formula.names import Field, Table
from rules_engine.formula.operators import round_to_15_digits, to_number, to_text
from rules_engine.formula.values import (
    STOPPING,
    ErrorValue,
    LookupTable,
    Value,
    ValueType,
    strongest,
)

from .registry import Cost, Sees, anything, function, text

_TOPIC: Final = gettext_noop("查表")


@dataclass(frozen=True, slots=True)
class ExampleTable:
    """A table of an example: what the checker sees and what the plans read."""

    table: Table
    content: LookupTable


def normalise_key(value: Value, kind: ValueType) -> object:
    """Bring a key into the form it is compared in, or return the error or unknown it is.

    Texts compare without case, numbers in 15 digits, dates by the day, as `=` compares them.
    A blank key is None: nothing is kept under it.
    """
    if value is None or value == "":
        return None
    if kind is ValueType.TEXT:
        written = to_text(value)
        return written.strip().lower() if isinstance(written, str) else written
    number = to_number(value)
    if not isinstance(number, float):
        return number
    if kind is ValueType.DATETIME:
        return float(math.floor(number))
    return round_to_15_digits(number) + 0.0  # -0 is 0


def build_table(
    table: Table,
    rows: Sequence[tuple[Sequence[Value], Sequence[Value]]],
    *,
    fallbacks: Sequence[Value | None] = (),
    digest: str = "",
) -> LookupTable:
    """Make a table ready to be asked. rows: (keys, answers) in the order of the table's columns.

    Of two rows with the same keys the first stays; the content's check refuses the second.
    """
    kinds = tuple(key.type for key in table.keys)
    found: dict[tuple[object, ...], tuple[Value, ...]] = {}
    for keys, answers in rows:
        place = tuple(normalise_key(value, kind) for value, kind in zip(keys, kinds, strict=True))
        found.setdefault(place, tuple(answers))
    return LookupTable(
        id=table.id,
        name=table.name,
        kinds=kinds,
        places={column.id: place for place, column in enumerate(table.columns)},
        rows=found,
        fallbacks={place: value for place, value in enumerate(fallbacks) if value is not None},
        digest=digest,
    )


def _example() -> ExampleTable:
    table = Table(
        "table:freight",
        "运费表",
        keys=(Field("table:freight.province", "省", "", ValueType.TEXT),),
        columns=(
            Field("table:freight.fee", "运费", "", ValueType.MONEY),
            Field("table:freight.days", "时效天数", "", ValueType.NUMBER),
        ),
    )
    rows: list[tuple[list[Value], list[Value]]] = [
        (["浙江省"], [6.0, 2.0]),
        (["西藏自治区"], [25.0, None]),
    ]
    return ExampleTable(table, build_table(table, rows))


_FREIGHT: Final[dict[str, object]] = {"运费表": _example()}


@function(
    "查表",
    "LOOKUPTABLE",
    text("表名"),
    anything("键", many=True),
    text("列"),
    anything("默认值", optional=True),
    result=ValueType.ANY,
    sees=Sees.EVERYTHING,
    cost=Cost.LOOKUP,
    topic=_TOPIC,
    blank=gettext_noop("键为空时按没有这一行处理；查到的格子为空时得出空值"),
    unknown=gettext_noop("键未知时，结果未知"),
    description=gettext_noop(
        "在业务维护的查找表里按一个或几个键找到一行，取其中一列；找不到时得出默认值，"
        "没有写默认值时得出 #N/A。表名和列名要直接写成文本；文本键不分大小写。"
    ),
    examples=[
        ('查表("运费表", "浙江省", "运费")', 6.0, _FREIGHT),
        ('查表("运费表", "台湾省", "运费", 30)', 30.0, _FREIGHT),
        ('查表("运费表", "台湾省", "运费")', ErrorValue.NA, _FREIGHT),
        ('查表("运费表", 省, "时效天数") <= 3', True, {"省": "浙江省", **_FREIGHT}),
    ],
)
def look_up(table: Value, *rest: Value) -> Value:
    """Find the row of the keys and give out one of its columns.

    The checker has put the table in the first place and the id of the column in the text's.
    """
    if not isinstance(table, LookupTable):
        return table if type(table) in STOPPING else ErrorValue.REF
    count = len(table.kinds)
    keys = [
        normalise_key(value, kind) for value, kind in zip(rest[:count], table.kinds, strict=True)
    ]
    if any(type(key) in STOPPING for key in keys):
        return strongest([key for key in keys if type(key) in STOPPING])  # type: ignore[misc] # so filtered
    place = table.places.get(str(rest[count]))
    if place is None:  # the column is gone since the formula was checked
        return ErrorValue.REF
    row = table.rows.get(tuple(keys))
    if row is not None:
        return row[place]
    if len(rest) > count + 1:
        return rest[count + 1]
    return table.fallbacks.get(place, ErrorValue.NA)
