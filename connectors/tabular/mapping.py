"""Column mappings: which column of which file is which of our fields. Checked, guessed, found.

A mapping is a document of kind "column_mapping": plain data, the same in YAML, in the release
machine and on the page. `check_mapping` returns the clean form:

    name, time_zone ("" = the environment's), money_unit ("yuan" | "fen"), date_styles [...],
    nothing [cells that mean empty], stage_from ("words" | "times"),
    files: {key: {label, file, holds, columns: [{column, field | custom, label, type, ...}],
                  constants: {field: text}, join: {column, matches} or null, sheet}},
    words: {table: {word: value}} with table "stage" one level deeper, per channel or "*"
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml

from config.errors import BadInput, gettext_noop, join_phrases
from connectors.shops.models import Channel
from connectors.tabular.fields import (
    BY_NAME,
    HOLDS,
    KEY_FIELD,
    LEVELS,
    LOOKUPS,
    TIME_TYPES,
    WORD_TYPES,
    Field,
    list_fields,
)
from connectors.tabular.headers import clean_header, match_key
from connectors.tabular.values import DATE_STYLES, guess_date_style
from connectors.tabular.words import ANY_CHANNEL, WORD_TABLES, WORD_VALUES, word_key

MAPPING_KIND = "column_mapping"
CUSTOM_TYPES = ("number", "money", "text", "logical", "datetime")
CUSTOM_LEVELS = ("order", "line", "payment")
_SLUG = re.compile(r"[a-z][a-z0-9_]{0,39}$")


def _refuse(where: str, what: str, **params: Any) -> BadInput:
    """An error that names the place in the mapping, then what is wrong there."""
    return BadInput(what, code="bad_mapping", where=where, **params)


def load_mapping(path: Path) -> dict[str, Any]:
    """Read and check a mapping in a YAML file (a bare content, or one exported by the machine)."""
    try:
        parsed = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise BadInput(
            gettext_noop("映射文件「%(file)s」无法读取，请检查它是否是 UTF-8 编码的 YAML"),
            code="bad_yaml",
            file=path.name,
        ) from error
    if isinstance(parsed, dict) and isinstance(parsed.get("content"), dict):
        parsed = parsed["content"]
    if not isinstance(parsed, dict):
        raise BadInput(
            gettext_noop("映射文件「%(file)s」里没有内容"), code="bad_yaml", file=path.name
        )
    return check_mapping(parsed)


def find_files(mapping: Mapping[str, Any], folder: Path) -> dict[str, Path]:
    """The files of a set in a folder, by the file name (or pattern) each entry states.

    Raises BadInput naming the files that are missing.
    """
    present = sorted(p for p in folder.iterdir() if p.is_file()) if folder.is_dir() else []
    found: dict[str, Path] = {}
    missing = []
    for key, spec in mapping["files"].items():
        path = next((p for p in present if spec["file"] and fnmatch(p.name, spec["file"])), None)
        if path is None:
            missing.append(spec["file"] or key)
        else:
            found[key] = path
    if missing:
        raise BadInput(
            gettext_noop("文件夹「%(folder)s」里缺少：%(files)s"),
            code="missing_files",
            folder=str(folder),
            files=join_phrases(missing),
        )
    return found


# -- checking ------------------------------------------------------------------------------------


def check_mapping(content: Mapping[str, Any]) -> dict[str, Any]:
    """The clean form of a mapping; raises BadInput that says where and what to do."""
    name = str(content.get("name") or "").strip()[:100]
    if not name:
        raise BadInput(gettext_noop("请给这份映射起一个名称"), code="bad_mapping")
    zone = str(content.get("time_zone") or "")
    if zone:
        try:
            ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise _refuse(
                name,
                gettext_noop("%(where)s：不认识时区「%(zone)s」，例如 Asia/Shanghai"),
                zone=zone,
            ) from error
    unit = content.get("money_unit") or "yuan"
    if unit not in {"yuan", "fen"}:
        raise _refuse(name, gettext_noop("%(where)s：金额单位应为 yuan（元）或 fen（分）"))
    stage_from = content.get("stage_from") or "words"
    if stage_from not in {"words", "times"}:
        raise _refuse(
            name,
            gettext_noop("%(where)s：stage_from 应为 words（按状态词）或 times（按最晚的时间）"),
        )
    nothing = content.get("nothing") or []
    if not isinstance(nothing, list) or not all(isinstance(n, str) for n in nothing):
        raise _refuse(name, gettext_noop("%(where)s：nothing 应是表示「没有」的单元格内容列表"))
    files = content.get("files")
    if not isinstance(files, Mapping) or not files:
        raise _refuse(name, gettext_noop("%(where)s：至少要有一个文件"))
    styles = _check_styles(content.get("date_styles") or ["ymd"], name)
    clean_files = {str(key)[:40]: _check_file(str(key), spec, unit) for key, spec in files.items()}
    _check_set(name, clean_files)
    return {
        "name": name,
        "time_zone": zone,
        "money_unit": unit,
        "date_styles": styles,
        "nothing": list(nothing),
        "stage_from": stage_from,
        "files": clean_files,
        "words": _check_words(name, content.get("words") or {}),
    }


def _check_styles(styles: Any, where: str) -> list[str]:
    styles = [styles] if isinstance(styles, str) else list(styles)
    for style in styles:
        if style not in DATE_STYLES:
            raise _refuse(
                where,
                gettext_noop("%(where)s：不认识日期写法「%(style)s」，可用：%(known)s"),
                style=style,
                known=join_phrases(DATE_STYLES),
            )
    if {"mdy", "dmy"} <= set(styles):
        raise _refuse(
            where,
            gettext_noop("%(where)s：日期写法不能同时用 月/日/年 和 日/月/年，请按文件选一种"),
        )
    return styles


def _check_file(key: str, spec: Any, unit: str) -> dict[str, Any]:
    if not isinstance(spec, Mapping) or spec.get("holds") not in HOLDS:
        raise _refuse(
            key,
            gettext_noop("%(where)s：请说明文件装的是什么（holds）：%(known)s"),
            known=join_phrases(HOLDS),
        )
    holds = spec["holds"]
    label = str(spec.get("label") or spec.get("file") or HOLDS[holds])[:100]
    columns = _check_columns(label, holds, spec.get("columns") or {})
    constants = spec.get("constants") or {}
    if not isinstance(constants, Mapping):
        raise _refuse(label, gettext_noop("%(where)s：constants 应是 字段: 值 的对照"))
    for field in constants:
        if field not in BY_NAME or BY_NAME[field].level not in LEVELS[holds]:
            raise _refuse(
                label,
                gettext_noop("%(where)s：固定值的字段「%(field)s」不属于这个文件"),
                field=field,
            )
    join = _check_join(label, holds, spec.get("join"))
    fields = [c["field"] for c in columns if "field" in c]
    repeated = {f for f in fields if fields.count(f) > 1}
    if repeated:
        raise _refuse(
            label,
            gettext_noop("%(where)s：字段「%(field)s」对应了两列，请只留一列"),
            field=BY_NAME[sorted(repeated)[0]].label,
        )
    need = KEY_FIELD.get(holds)
    if need and need not in fields:
        raise _refuse(
            label,
            gettext_noop("%(where)s：还没有指定哪一列是「%(field)s」"),
            field=BY_NAME[need].label,
        )
    if unit_here := spec.get("money_unit"):
        unit = unit_here
    if unit not in {"yuan", "fen"}:
        raise _refuse(label, gettext_noop("%(where)s：金额单位应为 yuan（元）或 fen（分）"))
    return {
        "label": label,
        "file": str(spec.get("file") or "")[:200],
        "holds": holds,
        "sheet": str(spec.get("sheet") or "")[:31],
        "columns": columns,
        "constants": {str(k): str(v) for k, v in constants.items()},
        "join": join,
        "money_unit": unit,
    }


def _check_join(label: str, holds: str, join: Any) -> dict[str, str] | None:
    if holds not in LOOKUPS:
        return None
    if not isinstance(join, Mapping) or not join.get("column") or not join.get("matches"):
        raise _refuse(
            label,
            gettext_noop(
                "%(where)s：请说明用哪一列（column）去对「%(other)s」文件的哪一列（matches）"
            ),
            other=HOLDS[LOOKUPS[holds]],
        )
    return {
        "column": clean_header(str(join["column"])),
        "matches": clean_header(str(join["matches"])),
    }


def _check_columns(label: str, holds: str, columns: Any) -> list[dict[str, Any]]:
    pairs: Iterable[tuple[str, Any]]
    if isinstance(columns, Mapping):
        pairs = [
            (str(column), one)
            for column, entry in columns.items()
            for one in (entry if isinstance(entry, list) else [entry])
        ]
    elif isinstance(columns, list):
        pairs = [(str(c.get("column", "")), c) for c in columns if isinstance(c, Mapping)]
    else:
        raise _refuse(label, gettext_noop("%(where)s：columns 应是 列名: 字段 的对照"))
    return [_check_column(label, holds, clean_header(column), entry) for column, entry in pairs]


def _check_column(label: str, holds: str, column: str, entry: Any) -> dict[str, Any]:
    where = f"{label} › {column}"
    entry = {"field": entry} if isinstance(entry, str) else entry
    if not column or not isinstance(entry, Mapping):
        raise _refuse(where, gettext_noop("%(where)s：每一列要写成 列名: 字段"))
    clean: dict[str, Any] = {"column": column}
    if entry.get("custom"):
        clean |= _check_custom(where, holds, entry)
    else:
        field = BY_NAME.get(str(entry.get("field")))
        if field is None:
            raise _refuse(
                where,
                gettext_noop("%(where)s：没有字段「%(field)s」"),
                field=str(entry.get("field")),
            )
        if field not in list_fields(holds):
            raise _refuse(
                where,
                gettext_noop("%(where)s：字段「%(field)s」不属于「%(holds)s」文件"),
                field=field.label,
                holds=HOLDS[holds],
            )
        clean["field"] = field.name
        if entry.get("is_one_of"):
            if field.type != "logical":
                raise _refuse(where, gettext_noop("%(where)s：is_one_of 只用于 是/否 字段"))
            clean["is_one_of"] = [str(w) for w in entry["is_one_of"]]
    if entry.get("date_styles"):
        clean["date_styles"] = _check_styles(entry["date_styles"], where)
    return clean


def _check_custom(where: str, holds: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    key, kind = str(entry["custom"]), str(entry.get("type") or "text")
    level = str(entry.get("level") or LEVELS[holds][0])
    label = str(entry.get("label") or key).strip()[:40]
    if not _SLUG.match(key):
        raise _refuse(
            where,
            gettext_noop(
                "%(where)s：自定义字段的英文名「%(key)s」应以小写字母开头，只含小写字母、数字和下划线"
            ),
            key=key,
        )
    if kind not in CUSTOM_TYPES:
        raise _refuse(
            where,
            gettext_noop("%(where)s：自定义字段的类型应为 %(known)s"),
            known=join_phrases(CUSTOM_TYPES),
        )
    if level not in LEVELS[holds] or level not in CUSTOM_LEVELS:
        raise _refuse(
            where, gettext_noop("%(where)s：这个文件不能有「%(level)s」级的自定义字段"), level=level
        )
    return {"custom": key, "label": label, "type": kind, "level": level}


def _check_set(name: str, files: Mapping[str, Mapping[str, Any]]) -> None:
    held = [spec["holds"] for spec in files.values()]
    for kind in ("lines", *LOOKUPS):
        if kind in held and "orders" not in held:
            raise _refuse(
                name,
                gettext_noop("%(where)s：「%(kind)s」文件要和订单文件一起导入"),
                kind=HOLDS[kind],
            )
    has_line_columns = any(
        c.get("field", "").startswith("line.") or c.get("level") == "line"
        for s in files.values()
        if s["holds"] == "orders"
        for c in s["columns"]
    )
    if "products" in held and "lines" not in held and not has_line_columns:
        raise _refuse(name, gettext_noop("%(where)s：商品文件要和订单行文件一起导入"))
    if "lines" in held and has_line_columns:
        raise _refuse(
            name,
            gettext_noop("%(where)s：已有订单行文件，订单文件里就不能再有订单行的列，请二选一"),
        )
    customs: dict[tuple[str, str], tuple[str, str]] = {}
    for spec in files.values():
        for column in spec["columns"]:
            if "custom" in column:
                identity = (column["level"], column["custom"])
                known = customs.setdefault(identity, (column["type"], column["label"]))
                if known != (column["type"], column["label"]):
                    raise _refuse(
                        name,
                        gettext_noop(
                            "%(where)s：自定义字段「%(key)s」在两个文件里的名称或类型不同"
                        ),
                        key=column["custom"],
                    )


def _check_words(name: str, words: Any) -> dict[str, Any]:
    if not isinstance(words, Mapping):
        raise _refuse(name, gettext_noop("%(where)s：words 应是 状态词: 含义 的对照"))
    clean: dict[str, Any] = {}
    for table, entries in words.items():
        if table not in WORD_VALUES or not isinstance(entries, Mapping):
            raise _refuse(name, gettext_noop("%(where)s：不认识的词表「%(table)s」"), table=table)
        if table == "stage":
            if entries and not any(isinstance(v, Mapping) for v in entries.values()):
                entries = {ANY_CHANNEL: entries}
            clean[table] = {}
            for channel, inner in entries.items():
                if channel != ANY_CHANNEL and channel not in Channel.values:
                    raise _refuse(
                        name, gettext_noop("%(where)s：不认识渠道「%(channel)s」"), channel=channel
                    )
                clean[table][channel] = _check_table(name, table, inner)
        else:
            clean[table] = _check_table(name, table, entries)
    return clean


def _check_table(name: str, table: str, entries: Any) -> dict[str, str]:
    if not isinstance(entries, Mapping):
        raise _refuse(
            name, gettext_noop("%(where)s：词表「%(table)s」应是 状态词: 含义 的对照"), table=table
        )
    clean = {}
    for word, value in entries.items():
        value = "" if value is None else str(value)
        if value not in WORD_VALUES[table]:
            raise _refuse(
                name,
                gettext_noop("%(where)s：词表「%(table)s」里「%(word)s」的含义「%(value)s」不认识"),
                table=table,
                word=str(word),
                value=value,
            )
        clean[str(word).strip()] = value
    return clean


# -- guessing ------------------------------------------------------------------------------------

_HOLDS_BY_NAME: tuple[tuple[str, str], ...] = (
    ("lines", r"订单行|明细|商品行|order_?items?|order_?lines?|items"),
    ("gateway", r"流水|网关|gateway|对账"),
    ("payments", r"支付|付款|payments?"),
    ("oms", r"oms"),
    ("wms", r"wms|仓"),
    ("customers", r"客户|会员|customers?"),
    ("products", r"商品|货品|products?|sku"),
    ("orders", r"订单|交易|orders?"),
)


def guess_holds(file_name: str, headers: Sequence[str]) -> str:
    """What a file most likely holds, by its name, else by which fields its headers fill best."""
    stem = Path(file_name).name.lower()
    for holds, pattern in _HOLDS_BY_NAME:
        if re.search(pattern, stem):
            return holds
    scores = {
        holds: len(_guess_fields(holds, headers))
        for holds in ("orders", "lines", "gateway", "wms", "oms")
    }
    return max(scores, key=lambda holds: scores[holds])


def _guess_fields(holds: str, headers: Sequence[str]) -> dict[str, Field]:
    """Header -> field, each field once: exact names first, then the header that contains one."""
    fields = list_fields(holds)
    if holds == "orders":  # lines inside an orders file must be asked for, never assumed
        fields = [f for f in fields if f.level == "order"]
    keys = {header: match_key(header) for header in headers}
    guessed: dict[str, Field] = {}
    taken: set[str] = set()
    by_rank: list[tuple[int, int, str, Field]] = []
    for field in fields:
        names = [match_key(n) for n in (*field.synonyms, field.label, field.attribute)]
        for position, header in enumerate(headers):
            if keys[header] in names:
                by_rank.append((names.index(keys[header]), position, header, field))
    for _, _, header, field in sorted(by_rank, key=lambda r: (r[0], r[1])):
        if header not in guessed and field.name not in taken:
            guessed[header] = field
            taken.add(field.name)
    return guessed


def guess_mapping(
    headers: Sequence[str], samples: Sequence[Sequence[str]], *, holds: str
) -> list[dict[str, Any]]:
    """Column entries for the headers we recognise, in file order.

    A time column gets the date style all its samples obey; a column none of whose samples could
    be read as its field's type is left for the person.
    """
    guessed = _guess_fields(holds, headers)
    columns: list[dict[str, Any]] = []
    for position, header in enumerate(headers):
        field = guessed.get(header)
        if field is None:
            continue
        entry: dict[str, Any] = {"column": header, "field": field.name}
        cells = [row[position] for row in samples if position < len(row) and row[position].strip()]
        if field.type in TIME_TYPES and cells:
            style = guess_date_style(cells)
            if not style:
                continue
            if style != "ymd":
                entry["date_styles"] = [style]
        columns.append(entry)
        if field.name == "order.payment_method" and any("货到付款" in cell for cell in cells):
            columns.append({"column": header, "field": "order.is_cod", "is_one_of": ["货到付款"]})
    return columns


def guess_words(table: str, words: Iterable[str]) -> dict[str, str]:
    """What known words mean; words we do not know are left out, for the person to decide."""
    known = {word_key(word): value for word, value in WORD_TABLES[table].items()}
    return {word: known[word_key(word)] for word in words if word_key(word) in known}


def list_word_columns(spec: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(column, table) of every mapped column of a file whose cells are words to explain."""
    return [
        (c["column"], WORD_TYPES[BY_NAME[c["field"]].type])
        for c in spec["columns"]
        if "field" in c and BY_NAME[c["field"]].type in WORD_TYPES
    ]
