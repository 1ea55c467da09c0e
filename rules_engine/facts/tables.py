"""Lookup tables kept by the business: content, check, shipped ones, and tables ready to be asked.

A table is a document of the release machine (kind "lookup_table", key = the table's key):

    {"key", "name", "columns": [{"key", "label", "type", "is_key", "default"}], "rows": [[cell]]}

Types: text, number, money (yuan), logical, date, datetime. Clean cells are texts, numbers,
logicals, "2026-11-11", "2026-11-11 20:00" and null for blank; a draft keeps what was typed.
"""

from __future__ import annotations

import datetime as dt
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from config.errors import BadInput, Phrase, gettext_noop, list_sentences
from config.releases.models import State, Version
from connectors.orders.deadlines import DEADLINE_TABLE, TABLE_KEY, list_faults
from rules_engine.formula import ErrorValue, Field, LookupTable, Table, Value, ValueType, to_serial
from rules_engine.formula.functions.tables import build_table, normalise_key
from rules_engine.formula.moments import parse_moment
from rules_engine.formula.operators import parse_number
from rules_engine.formula.values import from_serial

KIND: Final = "lookup_table"
MAX_ROWS, MAX_COLUMNS, MAX_KEYS, MAX_TEXT, MAX_NAME = 20_000, 20, 4, 500, 40
MAX_SHOWN: Final = 20
PROMOTIONS, HOLIDAYS = "promotions", "holidays"

TYPES: Final[dict[str, str]] = {
    "text": gettext_noop("文本"),
    "number": gettext_noop("数字"),
    "money": gettext_noop("金额（元）"),
    "logical": gettext_noop("是/否"),
    "date": gettext_noop("日期"),
    "datetime": gettext_noop("时间"),
}
KEY_TYPES: Final = ("text", "number", "date")
_VALUE_TYPES: Final = {
    "text": ValueType.TEXT,
    "number": ValueType.NUMBER,
    "money": ValueType.MONEY,
    "logical": ValueType.LOGICAL,
    "date": ValueType.DATETIME,
    "datetime": ValueType.DATETIME,
}
_SLUG: Final = re.compile(r"[a-z][a-z0-9_]{0,39}")
_TRUE: Final = frozenset({"是", "真", "true", "yes", "y", "1", "√", "对"})
_FALSE: Final = frozenset({"否", "假", "false", "no", "n", "0", "×", "错"})


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong with a table; `row` counts its rows from 1 (0: the table itself)."""

    phrase: Phrase
    row: int = 0
    column: str = ""
    first: int = 0  # the earlier row the phrase names

    def say_at(self, place: Phrase) -> Phrase:
        """The phrase with a place and its column in front."""
        words = {"place": place, "column": self.column, "text": self.phrase}
        if self.column:
            return Phrase(gettext_noop("%(place)s「%(column)s」：%(text)s"), words)
        return Phrase(gettext_noop("%(place)s：%(text)s"), words)

    @property
    def placed(self) -> Phrase:
        """The phrase with its row in front."""
        row = Phrase(gettext_noop("第 %(row)d 行"), {"row": self.row})
        return self.say_at(row) if self.row else self.phrase

    @property
    def sentence(self) -> str:
        """The Chinese text with its place in front."""
        return str(self.placed)


# --- cells ----------------------------------------------------------------------------------------


class BadCell(ValueError):
    """A cell that is not of its column's type; the phrase says why."""

    def __init__(self, message: str, **params: Any) -> None:
        self.phrase = Phrase(message, params)
        super().__init__(str(self.phrase))


def _shown(text: str) -> str:
    return text if len(text) <= 20 else text[:20] + "…"


def _read_text(text: str) -> str:
    if len(text) > MAX_TEXT:
        raise BadCell(
            gettext_noop("最多 %(limit)d 个字，现在 %(count)d 个"), limit=MAX_TEXT, count=len(text)
        )
    if any(unicodedata.category(c) in {"Cc", "Cf", "Cs", "Co", "Cn"} for c in text):
        raise BadCell(gettext_noop("含有看不见的控制字符，请删除后重新输入"))
    return text


def _read_number(text: str) -> float | int:
    number = parse_number(text) if parse_moment(text) is None else ErrorValue.VALUE
    if not isinstance(number, float):
        raise BadCell(gettext_noop("「%(text)s」不是数字"), text=_shown(text))
    return int(number) if number.is_integer() and abs(number) < 1e15 else number


def _read_money(text: str) -> float | int:
    number = parse_number(text.removesuffix("元")) if parse_moment(text) is None else None
    if not isinstance(number, float):
        raise BadCell(gettext_noop("「%(text)s」不是金额"), text=_shown(text))
    if abs(round(number * 100) - number * 100) > 1e-6:
        raise BadCell(gettext_noop("金额最多两位小数，现在是「%(text)s」"), text=_shown(text))
    rounded = round(number, 2)
    return int(rounded) if rounded.is_integer() else rounded


def _read_logical(text: str) -> bool:
    word = text.lower()
    if word in _TRUE or word in _FALSE:
        return word in _TRUE
    raise BadCell(gettext_noop("「%(text)s」不是 是 或 否"), text=_shown(text))


def _read_serial(text: str) -> dt.datetime:
    serial = parse_moment(text.removesuffix("+08:00"))
    if serial is None or serial < 1:
        raise BadCell(
            gettext_noop("「%(text)s」不是日期或时间，请写成 2026-11-11 或 2026-11-11 20:00"),
            text=_shown(text),
        )
    return from_serial(serial)


def _read_date(text: str) -> str:
    moment = _read_serial(text)
    if moment.time() != dt.time():
        raise BadCell(gettext_noop("「%(text)s」带有钟点，这一列只要日期"), text=_shown(text))
    return f"{moment:%Y-%m-%d}"


def _read_datetime(text: str) -> str:
    moment = _read_serial(text)
    return f"{moment:%Y-%m-%d %H:%M:%S}" if moment.second else f"{moment:%Y-%m-%d %H:%M}"


_READERS: Final[dict[str, Callable[[str], Any]]] = {
    "text": _read_text,
    "number": _read_number,
    "money": _read_money,
    "logical": _read_logical,
    "date": _read_date,
    "datetime": _read_datetime,
}


def read_cell(value: Any, type: str) -> Any:
    """The clean cell; raises BadCell, a ValueError, with the reason."""
    if value is None:
        return None
    if isinstance(value, bool):
        value = "是" if value else "否"
    elif isinstance(value, float | int):
        value = repr(value)
    text = unicodedata.normalize("NFKC", str(value)).strip() if type != "text" else str(value)
    text = text.strip()
    if not text:
        return None
    return _READERS[type](text)


def write_cell(value: Any) -> str:
    """A cell as people read and type it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "是" if value else "否"
    return str(value)


def _to_value(cell: Any, type: str) -> Value:
    """A clean cell as the language computes with it."""
    if cell is None or isinstance(cell, bool):
        return cell
    if type in ("date", "datetime"):
        return to_serial(dt.datetime.fromisoformat(str(cell)))
    return str(cell) if type == "text" else float(cell)


# --- the check ------------------------------------------------------------------------------------


class _Check:
    def __init__(self, content: Mapping[str, Any]) -> None:
        self.content = content
        self.problems: list[Problem] = []

    def note(self, message: str, row: int = 0, column: str = "", **params: Any) -> None:
        self.problems.append(Problem(Phrase(message, params), row, column))

    def run(self) -> dict[str, Any]:
        key = str(self.content.get("key") or "")
        if not _SLUG.fullmatch(key):
            self.note(
                gettext_noop("英文编号应以小写字母开头，只含小写字母、数字和下划线，最多 40 个")
            )
        columns = self.columns(self.content.get("columns"))
        clean = {
            "key": key,
            "name": self.label(self.content.get("name"), Phrase(gettext_noop("表名"))),
            "columns": columns,
            "rows": self.rows(self.content.get("rows"), columns),
        }
        self.well_known(clean)
        return clean

    def label(self, value: Any, what: Phrase) -> str:
        text = str(value or "").strip()
        if not 1 <= len(text) <= MAX_NAME:
            self.note(gettext_noop("%(what)s应是 1–%(limit)d 个字"), what=what, limit=MAX_NAME)
        elif any(unicodedata.category(c).startswith("C") for c in text) or '"' in text:
            self.note(gettext_noop("%(what)s里不能有引号和看不见的字符"), what=what)
        return text[:MAX_NAME]

    def columns(self, rows: Any) -> list[dict[str, Any]]:
        if not isinstance(rows, list) or not rows:
            self.note(gettext_noop("至少要有一个键列和一个取值列"))
            return []
        if len(rows) > MAX_COLUMNS:
            self.note(
                gettext_noop("最多 %(limit)d 列，现在 %(count)d 列"),
                limit=MAX_COLUMNS,
                count=len(rows),
            )
            rows = rows[:MAX_COLUMNS]
        columns = [
            self.column(number, row if isinstance(row, Mapping) else {})
            for number, row in enumerate(rows, 1)
        ]
        self.unique([c["key"] for c in columns], Phrase(gettext_noop("列的英文编号")))
        self.unique([c["label"].lower() for c in columns], Phrase(gettext_noop("列名")))
        keys = sum(c["is_key"] for c in columns)
        if not 1 <= keys <= MAX_KEYS:
            self.note(gettext_noop("键列应有 1 到 %(limit)d 个"), limit=MAX_KEYS)
        if columns and keys == len(columns):
            self.note(gettext_noop("除了键列，还要有至少一个取值列"))
        return columns

    def column(self, number: int, row: Mapping[str, Any]) -> dict[str, Any]:
        what = Phrase(gettext_noop("第 %(number)d 列的列名"), {"number": number})
        label = self.label(row.get("label"), what)
        key, type = str(row.get("key") or ""), str(row.get("type") or "text")
        if not _SLUG.fullmatch(key):
            self.note(gettext_noop("列「%(label)s」的英文编号不对"), label=label)
        if type not in TYPES:
            self.note(gettext_noop("列「%(label)s」的类型要从列表里选"), label=label)
            type = "text"
        is_key = bool(row.get("is_key"))
        if is_key and type not in KEY_TYPES:
            self.note(gettext_noop("键列「%(label)s」只能是文本、数字或日期"), label=label)
        default = None
        if not is_key:
            try:
                default = read_cell(row.get("default"), type)
            except BadCell as bad:
                self.note(
                    gettext_noop("列「%(label)s」查不到时的值：%(why)s"),
                    label=label,
                    why=bad.phrase,
                )
        return {"key": key, "label": label, "type": type, "is_key": is_key, "default": default}

    def unique(self, values: Iterable[str], what: Phrase) -> None:
        seen: set[str] = set()
        for value in values:
            if value and value in seen:
                self.note(gettext_noop("%(what)s「%(value)s」重复"), what=what, value=value)
            seen.add(value)

    def rows(self, rows: Any, columns: Sequence[Mapping[str, Any]]) -> list[list[Any]]:
        if not isinstance(rows, list):
            self.note(gettext_noop("表的内容应是一行一行的格子"))
            return []
        if len(rows) > MAX_ROWS:
            self.note(
                gettext_noop("最多 %(limit)d 行，现在 %(count)d 行"),
                limit=MAX_ROWS,
                count=len(rows),
            )
            rows = rows[:MAX_ROWS]
        places = [(i, _VALUE_TYPES[c["type"]]) for i, c in enumerate(columns) if c["is_key"]]
        seen: dict[tuple[object, ...], int] = {}
        clean = []
        for number, row in enumerate(rows, 1):
            cells = list(row) if isinstance(row, list | tuple) else []
            made = self.row(number, cells, columns)
            clean.append(made)
            key = tuple(
                normalise_key(_to_value(made[i], columns[i]["type"]), kind) for i, kind in places
            )
            if not key or None in key or any(isinstance(k, ErrorValue) for k in key):
                continue
            first = seen.setdefault(key, number)
            if first != number:
                key_text = "、".join(write_cell(made[i]) for i, _kind in places)
                words = {"first": first, "key": key_text}
                phrase = Phrase(gettext_noop("键与第 %(first)d 行重复：%(key)s"), words)
                self.problems.append(Problem(phrase, number, first=first))
        return clean

    def row(self, number: int, cells: list[Any], columns: Sequence[Mapping[str, Any]]) -> list[Any]:
        made: list[Any] = []
        before = len(self.problems)
        for place, column in enumerate(columns):
            cell = cells[place] if place < len(cells) else None
            try:
                made.append(read_cell(cell, column["type"]))
            except BadCell as bad:
                self.problems.append(Problem(bad.phrase, number, column["label"]))
                made.append(None)
            else:
                if column["is_key"] and made[-1] is None:
                    self.note(gettext_noop("键是空的，请填写或删去这一行"), number, column["label"])
        return made if len(self.problems) == before else made

    def well_known(self, clean: Mapping[str, Any]) -> None:
        """The calendars must keep the columns that working time and promotions read."""
        shipped = SHIPPED.get(str(clean["key"]))
        if shipped is None:
            return
        have = {c["key"]: (c["type"], c["is_key"]) for c in clean["columns"]}
        for column in shipped["columns"]:
            if have.get(column["key"]) != (column["type"], column["is_key"]):
                self.note(
                    gettext_noop("「%(name)s」要保留%(kind)s列「%(label)s」，系统按它算发货期限")
                    if clean["key"] == TABLE_KEY
                    else gettext_noop(
                        "「%(name)s」要保留%(kind)s列「%(label)s」，系统按它算工作时间和大促"
                    ),
                    name=shipped["name"],
                    kind=Phrase(TYPES[column["type"]]),
                    label=column["label"],
                )
        if clean["key"] == TABLE_KEY and not self.problems:
            for number, fault in list_faults(clean):
                self.note(fault.message, number, **fault.params)
        if clean["key"] != PROMOTIONS or self.problems:
            return
        start, end = (_place(clean, key) for key in ("starts_at", "ends_at"))
        for number, row in enumerate(clean["rows"], 1):
            if row[start] is None or row[end] is None or row[end] <= row[start]:
                self.note(gettext_noop("结束时间要晚于开始时间"), number)


def _place(content: Mapping[str, Any], key: str) -> int:
    return next(i for i, c in enumerate(content["columns"]) if c["key"] == key)


def check_table(content: Any) -> tuple[dict[str, Any], list[Problem]]:
    """The clean content as far as it can be read, and every problem, in reading order."""
    checker = _Check(content if isinstance(content, Mapping) else {})
    clean = checker.run()
    return clean, checker.problems


def require_table(content: dict[str, Any]) -> dict[str, Any]:
    """The clean content; raises BadInput naming every problem with its row."""
    clean, problems = check_table(content)
    if problems:
        raise BadInput(
            gettext_noop("查找表有 %(count)s 处问题：%(shown)s"),
            code="bad_table",
            count=len(problems),
            shown=list_sentences([problem.placed for problem in problems], MAX_SHOWN),
            problems=problems,
        )
    return clean


# --- ready to be asked ----------------------------------------------------------------------------


def schema_of(content: Mapping[str, Any], key: str) -> Table:
    """A table as formulas see it. `key` is the document's: what stored formulas keep."""
    id = f"table:{key}"
    fields = [
        (
            bool(c["is_key"]),
            Field(f"{id}.{c['key']}", c["label"], "", _VALUE_TYPES[c["type"]]),
        )
        for c in content["columns"]
    ]
    return Table(
        id,
        content["name"],
        keys=tuple(field for is_key, field in fields if is_key),
        columns=tuple(field for is_key, field in fields if not is_key),
    )


def build_lookup(content: Mapping[str, Any], key: str, digest: str) -> LookupTable:
    """A clean content ready to be asked."""
    columns = content["columns"]
    keys = [(i, c["type"]) for i, c in enumerate(columns) if c["is_key"]]
    answers = [(i, c["type"]) for i, c in enumerate(columns) if not c["is_key"]]
    return build_table(
        schema_of(content, key),
        [
            ([_to_value(row[i], t) for i, t in keys], [_to_value(row[i], t) for i, t in answers])
            for row in content["rows"]
        ],
        fallbacks=[_to_value(columns[i].get("default"), type) for i, type in answers],
        digest=digest,
    )


def rows_of(content: Mapping[str, Any], prefix: str) -> tuple[dict[str, Value], ...]:
    """A clean content as rows of a fact; a column's id is the prefix, a dot and its key."""
    ids = [(f"{prefix}.{c['key']}", c["type"]) for c in content["columns"]]
    return tuple(
        {id: _to_value(cell, type) for (id, type), cell in zip(ids, row, strict=True)}
        for row in content["rows"]
    )


@dataclass(frozen=True, slots=True)
class Published:
    """A table in force: its key, its schema, and what names its content."""

    key: str
    schema: Table
    digest: str
    version_id: int | None  # None: as shipped


_schemas: dict[tuple[int, str], Table] = {}
_contents: dict[tuple[int, str], Mapping[str, Any]] = {}
_lookups: dict[tuple[int, str], LookupTable] = {}
_MAX_SCHEMAS, _MAX_CONTENTS = 2000, 24


def _keep(store: dict[Any, Any], key: Any, value: Any, limit: int) -> None:
    """Keep a value, letting go of the oldest: whoever needs more holds on to his own."""
    if len(store) >= limit:
        store.pop(next(iter(list(store))), None)
    store[key] = value


def list_published(keys: Iterable[str] | None = None) -> list[Published]:
    """The tables in force, by name, with the shipped ones (one query, one more for new content)."""
    query = Version.objects.filter(document__kind=KIND, state=State.PUBLISHED)
    if keys is not None:
        query = query.filter(document__key__in=list(keys))
    rows = list(query.order_by("pk").values_list("pk", "checksum", "document__key"))
    kept = {pk: _schemas.get((pk, checksum)) for pk, checksum, _key in rows}
    read = _read_contents([pk for pk, schema in kept.items() if schema is None])
    found = [
        Published(key, kept[pk] or schema_of(read[pk], key), checksum[:16], pk)
        for pk, checksum, key in rows
    ]
    own = {table.key for table in found}
    for key, content in SHIPPED.items():
        if key not in own and (keys is None or key in keys):
            found.append(Published(key, schema_of(content, key), "shipped", None))
    return sorted(found, key=lambda table: table.schema.name)


def _read_contents(ids: Sequence[int]) -> dict[int, Mapping[str, Any]]:
    """Read the contents of published versions, once per process: they never change."""
    found: dict[int, Mapping[str, Any]] = {}
    if ids:
        rows = Version.objects.filter(pk__in=ids).values_list(
            "pk", "checksum", "document__key", "content"
        )
        for pk, checksum, key, content in rows:
            found[pk] = content
            _keep(_schemas, (pk, checksum), schema_of(content, key), _MAX_SCHEMAS)
            _keep(_contents, (pk, checksum), content, _MAX_CONTENTS)
    return found


def _contents_of(tables: Sequence[Published]) -> dict[str, Mapping[str, Any]]:
    """The contents of tables by key (no query while they are kept)."""
    kept = {(pk, checksum[:16]): content for (pk, checksum), content in _contents.items()}
    missing = [
        t.version_id for t in tables if t.version_id and (t.version_id, t.digest) not in kept
    ]
    read = _read_contents(missing)
    return {
        t.key: SHIPPED[t.key]
        if t.version_id is None
        else read.get(t.version_id) or kept[t.version_id, t.digest]
        for t in tables
    }


def _place_of(table: Published) -> tuple[int, str]:
    return table.version_id or 0, table.key + table.digest


def load_lookups(ids: Iterable[str]) -> dict[str, LookupTable]:
    """The tables of these ids ready to be asked; one that is not published is left out."""
    wanted = {id.removeprefix("table:") for id in ids}
    tables = list_published(wanted) if wanted else []
    # Taken out first: keeping a new one may let go of one that is wanted here too.
    kept = {table.key: _lookups.get(_place_of(table)) for table in tables}
    contents = _contents_of([table for table in tables if kept[table.key] is None])
    found = {}
    for table in tables:
        lookup = kept[table.key]
        if lookup is None:
            lookup = build_lookup(contents[table.key], table.key, table.digest)
            _keep(_lookups, _place_of(table), lookup, _MAX_CONTENTS)
        found[table.schema.id] = lookup
    return found


def load_rows(key: str, prefix: str) -> tuple[tuple[dict[str, Value], ...], str]:
    """The rows of a calendar table as a fact, and what names its content."""
    (table,) = list_published([key])
    return rows_of(_contents_of([table])[key], prefix), table.digest


def newest_publication(keys: Iterable[str]) -> dt.datetime | None:
    """When the newest of these tables came into force (one query); None when all are as shipped."""
    found: dt.datetime | None = (
        Version.objects.filter(
            document__kind=KIND, document__key__in=list(keys), state=State.PUBLISHED
        )
        .order_by("-published_at")
        .values_list("published_at", flat=True)
        .first()
    )
    return found


# --- shipped --------------------------------------------------------------------------------------


def _column(key: str, label: str, type: str, *, is_key: bool = False) -> dict[str, Any]:
    return {"key": key, "label": label, "type": type, "is_key": is_key, "default": None}


def _days(name: str, first: str, last: str) -> list[list[Any]]:
    start, end = dt.date.fromisoformat(first), dt.date.fromisoformat(last)
    count = (end - start).days + 1
    return [[f"{start + dt.timedelta(days=n)}", name, False] for n in range(count)]


def _workdays(name: str, *days: str) -> list[list[Any]]:
    return [[day, f"{name}调休上班", True] for day in days]


# State Council notices on public holidays: 2024-11-12 for 2025, 2025-11-04 for 2026.
_HOLIDAYS: Final[list[list[Any]]] = [
    *_days("元旦", "2025-01-01", "2025-01-01"),
    *_workdays("春节", "2025-01-26", "2025-02-08"),
    *_days("春节", "2025-01-28", "2025-02-04"),
    *_days("清明节", "2025-04-04", "2025-04-06"),
    *_workdays("劳动节", "2025-04-27"),
    *_days("劳动节", "2025-05-01", "2025-05-05"),
    *_days("端午节", "2025-05-31", "2025-06-02"),
    *_workdays("国庆节", "2025-09-28", "2025-10-11"),
    *_days("国庆节、中秋节", "2025-10-01", "2025-10-08"),
    *_days("元旦", "2026-01-01", "2026-01-03"),
    *_workdays("元旦", "2026-01-04"),
    *_workdays("春节", "2026-02-14", "2026-02-28"),
    *_days("春节", "2026-02-15", "2026-02-23"),
    *_days("清明节", "2026-04-04", "2026-04-06"),
    *_days("劳动节", "2026-05-01", "2026-05-05"),
    *_workdays("劳动节", "2026-05-09"),
    *_days("端午节", "2026-06-19", "2026-06-21"),
    *_workdays("国庆节", "2026-09-20", "2026-10-10"),
    *_days("中秋节", "2026-09-25", "2026-09-27"),
    *_days("国庆节", "2026-10-01", "2026-10-07"),
]
SHIPPED: Final[dict[str, dict[str, Any]]] = {
    TABLE_KEY: DEADLINE_TABLE,
    PROMOTIONS: {
        "key": PROMOTIONS,
        "name": gettext_noop("促销日历"),
        "columns": [
            _column("name", gettext_noop("活动"), "text", is_key=True),
            _column("starts_at", gettext_noop("开始"), "datetime"),
            _column("ends_at", gettext_noop("结束"), "datetime"),
        ],
        "rows": [
            row
            for year in (2025, 2026, 2027)
            for row in (
                [f"{year} 年 618", f"{year}-06-16 20:00", f"{year}-06-21 00:00"],
                [f"{year} 年双 11", f"{year}-10-31 20:00", f"{year}-11-12 00:00"],
                [f"{year} 年双 12", f"{year}-12-10 20:00", f"{year}-12-13 00:00"],
            )
        ],
    },
    HOLIDAYS: {
        "key": HOLIDAYS,
        "name": gettext_noop("节假日"),
        "columns": [
            _column("day", gettext_noop("日期"), "date", is_key=True),
            _column("name", gettext_noop("名称"), "text"),
            _column("is_workday", gettext_noop("上班"), "logical"),
        ],
        "rows": _HOLIDAYS,
    },
}
