"""The mapping page's form: a half-made mapping as rows to fill in, and what was posted back."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext as _

from config.errors import gettext_noop
from connectors.orders.statuses import (
    GROUP_LABELS,
    PAYMENT_LABELS,
    PRESALE_LABELS,
    REFUND_LABELS,
    STAGE_LABELS,
)
from connectors.shops.models import Channel
from connectors.tabular.fields import (
    BY_NAME,
    HOLDS,
    KEY_FIELD,
    LEVELS,
    LOOKUPS,
    TIME_TYPES,
    list_fields,
)
from connectors.tabular.mapping import CUSTOM_LEVELS, list_word_columns
from connectors.tabular.models import StoredFile
from connectors.tabular.uploads import fill_words, guess_file, guess_joins
from connectors.tabular.values import DATE_STYLES
from connectors.tabular.words import (
    ANY_CHANNEL,
    CLOSED,
    CLOSED_LABEL,
    RISK_CLEAR,
    RISK_OPEN,
    WORD_LABELS,
)

CUSTOM = "custom"
UNDECIDED = "?"
CASH_ON_DELIVERY = "货到付款"
SAMPLES_SHOWN = 3

CUSTOM_TYPE_LABELS = {
    "text": gettext_noop("文本"),
    "number": gettext_noop("数字"),
    "money": gettext_noop("金额（元）"),
    "logical": gettext_noop("是/否"),
    "datetime": gettext_noop("时间"),
}
_NONE = {"": gettext_noop("无")}
MEANINGS: dict[str, dict[str, str]] = {
    "stage": {**STAGE_LABELS, CLOSED: CLOSED_LABEL},
    "presale": {**PRESALE_LABELS, "": gettext_noop("不是预售")},
    "refund": {**REFUND_LABELS, **_NONE},
    "group": {**GROUP_LABELS, "": gettext_noop("不是拼团")},
    "risk": {
        RISK_CLEAR: gettext_noop("没有待审核的"),
        RISK_OPEN: gettext_noop("审核中（保留原词）"),
    },
    "payment_status": PAYMENT_LABELS,
    "phase": {
        "": gettext_noop("全款"),
        "deposit": gettext_noop("定金"),
        "balance": gettext_noop("尾款"),
    },
}
Profiles = Mapping[str, Mapping[str, Any]]


# -- what the page shows -------------------------------------------------------------------------


def describe_files(
    mapping: Mapping[str, Any], stored: list[StoredFile], profiles: Profiles
) -> list[dict[str, Any]]:
    """Each file with its columns (samples, chosen field, style) as the template draws them."""
    shown = []
    for file in stored:
        spec, profile = mapping["files"][file.key], profiles[file.key]
        chosen = {c["column"]: c for c in reversed(spec["columns"])}
        shown.append(
            {
                "key": file.key,
                "name": file.name,
                "profile": profile,
                "holds": spec["holds"],
                "holds_choices": [(code, _(label)) for code, label in HOLDS.items()],
                "key_field": _(BY_NAME[KEY_FIELD[spec["holds"]]].label)
                if spec["holds"] in KEY_FIELD
                else "",
                "groups": _field_groups(spec["holds"]),
                "allows_custom": LEVELS[spec["holds"]][0] in CUSTOM_LEVELS,
                "columns": [
                    _describe_column(file.key, number, header, profile, chosen.get(header))
                    for number, header in enumerate(profile["headers"])
                ],
                "mapped": (mapped := sum(h in chosen for h in profile["headers"])),
                "unmapped": len(profile["headers"]) - mapped,
                "is_open": spec["holds"] == "orders" or mapped < len(profile["headers"]),
                "join": spec.get("join"),
                "join_targets": _join_targets(mapping, spec, profiles),
                "constants": spec.get("constants") or {},
                "asks_channel": spec["holds"] == "orders"
                and not any(c.get("field") == "order.channel" for c in spec["columns"]),
                "asks_shop": spec["holds"] == "orders"
                and not any(c.get("field") == "order.shop" for c in spec["columns"]),
            }
        )
    return shown


def _field_groups(holds: str) -> list[tuple[str, list[tuple[str, str, bool]]]]:
    """Fields by what they are about: (group label, [(name, label, is a time)])."""
    groups: dict[str, list[tuple[str, str, bool]]] = {}
    titles = {
        "key": _("编号与归属"),
        "time": _("时间"),
        "money": _("金额"),
        "words": _("状态"),
        "other": _("其他"),
    }
    for field in list_fields(holds):
        kind = (
            "key"
            if field.type in {"key", "channel"} or field.attribute in {"shop", "seller"}
            else field.type
            if field.type in {"time", "money"}
            else "words"
            if field.type in MEANINGS
            else "other"
        )
        title = titles[kind]
        if field.level == "line" and holds == "orders":
            title = _("订单行（一行一个商品时）")
        groups.setdefault(title, []).append((field.name, _(field.label), field.type in TIME_TYPES))
    return list(groups.items())


def _describe_column(
    key: str, number: int, header: str, profile: Mapping[str, Any], entry: Mapping[str, Any] | None
) -> dict[str, Any]:
    cells = [row[number] for row in profile["samples"] if row[number].strip()]
    samples = list(dict.fromkeys(cell.strip()[:60] for cell in cells))[:SAMPLES_SHOWN]
    entry = entry or {}
    return {
        "id": f"{key}-c{number}",
        "header": header,
        "samples": samples,
        "field": CUSTOM if "custom" in entry else entry.get("field", ""),
        "style": (entry.get("date_styles") or ["ymd"])[0],
        "label": entry.get("label", header[:40]),
        "type": entry.get("type", "text"),
    }


def _join_targets(
    mapping: Mapping[str, Any], spec: Mapping[str, Any], profiles: Profiles
) -> list[str]:
    if spec["holds"] not in LOOKUPS:
        return []
    return [
        header
        for key, other in mapping["files"].items()
        if other["holds"] == LOOKUPS[spec["holds"]]
        for header in profiles[key]["headers"]
    ]


def describe_words(mapping: Mapping[str, Any], profiles: Profiles) -> list[dict[str, Any]]:
    """Every status word in the files with its count and its meaning, undecided ones first."""
    tables: dict[str, dict[str, int]] = {}
    for key, spec in mapping["files"].items():
        for column, table in list_word_columns(spec):
            counts = tables.setdefault(table, {})
            for word, count in profiles[key]["words"].get(column, []):
                if word:
                    counts[word] = counts.get(word, 0) + count
    shown = []
    for table, counts in tables.items():
        rows = [
            {
                "id": f"w-{table}-{number}",
                "word": word,
                "count": count,
                "value": _meaning_of(mapping, table, word),
            }
            for number, (word, count) in enumerate(
                sorted(counts.items(), key=lambda item: -item[1])
            )
        ]
        rows.sort(key=lambda row: row["value"] != UNDECIDED)
        shown.append(
            {
                "table": table,
                "label": _(WORD_LABELS[table]),
                "rows": rows,
                "undecided": sum(row["value"] == UNDECIDED for row in rows),
                "choices": [
                    (v, _(label)) for v, label in MEANINGS[table].items() if v != "unknown"
                ],
            }
        )
    return shown


def _meaning_of(mapping: Mapping[str, Any], table: str, word: str) -> str:
    words = mapping["words"].get(table, {})
    if table != "stage":
        return str(words.get(word, UNDECIDED))
    found = {inner[word] for channel, inner in words.items() if word in inner}
    return str(found.pop()) if len(found) == 1 else UNDECIDED


# -- what was posted -----------------------------------------------------------------------------


def read_form(
    mapping: Mapping[str, Any],
    posted: Mapping[str, str],
    stored: list[StoredFile],
    profiles: Profiles,
) -> dict[str, Any]:
    """The mapping with the posted choices; a file that holds something else is guessed anew."""
    draft = {**mapping, "files": dict(mapping["files"])}
    draft["name"] = posted.get("name", mapping["name"]).strip()[:100]
    for name in ("time_zone", "money_unit", "stage_from"):
        if name in posted:
            draft[name] = posted[name]
    if "nothing" in posted:
        draft["nothing"] = [w.strip() for w in re.split(r"[,，\n]", posted["nothing"]) if w.strip()]
    for file in stored:
        spec = dict(draft["files"][file.key])
        holds = posted.get(f"{file.key}-holds", spec["holds"])
        if holds != spec["holds"] and holds in HOLDS:
            spec = guess_file(file, profiles[file.key], holds)
        elif f"{file.key}-c0" in posted:
            spec["columns"] = _read_columns(file.key, spec, posted, profiles[file.key])
            spec["constants"] = _read_constants(file.key, spec, posted)
            if spec["holds"] in LOOKUPS:
                spec["join"] = {
                    "column": posted.get(f"{file.key}-join-column", ""),
                    "matches": posted.get(f"{file.key}-join-matches", ""),
                }
        spec["money_unit"] = draft["money_unit"]
        draft["files"][file.key] = spec
    guess_joins(draft, profiles)
    draft["words"] = _read_words(mapping, posted)
    if any(name.startswith("w-") for name in posted):
        _fill_new_words(draft, mapping, profiles)
    else:
        fill_words(draft, profiles)
    return draft


def _read_columns(
    key: str, spec: Mapping[str, Any], posted: Mapping[str, str], profile: Mapping[str, Any]
) -> list[dict[str, Any]]:
    columns: list[dict[str, Any]] = []
    for number, header in enumerate(profile["headers"]):
        name = posted.get(f"{key}-c{number}", "")
        entry: dict[str, Any] = {"column": header}
        style = posted.get(f"{key}-c{number}-style", "ymd")
        if name == CUSTOM:
            label = posted.get(f"{key}-c{number}-label", "").strip()[:40] or header[:40]
            kind = posted.get(f"{key}-c{number}-type", "text")
            entry |= {
                "custom": _custom_key(spec, header, label),
                "label": label,
                "type": kind if kind in CUSTOM_TYPE_LABELS else "text",
                "level": LEVELS[spec["holds"]][0],
            }
        elif name in BY_NAME:
            entry["field"] = name
        else:
            continue
        is_time = entry.get("type") == "datetime" or (
            name in BY_NAME and BY_NAME[name].type in TIME_TYPES
        )
        if is_time and style in DATE_STYLES and style != "ymd":
            entry["date_styles"] = [style]
        columns.append(entry)
        words = [word for word, _count in profile["words"].get(header, [])]
        if name == "order.payment_method" and CASH_ON_DELIVERY in words:
            columns.append(
                {"column": header, "field": "order.is_cod", "is_one_of": [CASH_ON_DELIVERY]}
            )
    return columns


def _custom_key(spec: Mapping[str, Any], header: str, label: str) -> str:
    """The English key of a custom field: the one it had, the header's own, or a stable stand-in."""
    for column in spec["columns"]:
        if column["column"] == header and "custom" in column:
            return str(column["custom"])
    plain = re.sub(r"[^a-z0-9]+", "_", header.lower()).strip("_")[:40]
    if plain and plain[0].isalpha() and header.isascii():
        return plain
    return "c_" + hashlib.sha256(label.encode()).hexdigest()[:10]


def _read_constants(key: str, spec: Mapping[str, Any], posted: Mapping[str, str]) -> dict[str, str]:
    constants = dict(spec.get("constants") or {})
    mapped = {c.get("field") for c in spec["columns"]}
    for field, name in (("order.channel", "channel"), ("order.shop", "shop")):
        value = posted.get(f"{key}-{name}")
        if field in mapped:
            constants.pop(field, None)
        elif value is not None:
            if value.strip():
                constants[field] = value.strip()[:100]
            else:
                constants.pop(field, None)
    return constants


def _read_words(mapping: Mapping[str, Any], posted: Mapping[str, str]) -> dict[str, Any]:
    """Words as they were, with what was decided; a decision also overrules per-channel tables."""
    words: dict[str, Any] = {
        table: ({c: dict(i) for c, i in entries.items()} if table == "stage" else dict(entries))
        for table, entries in mapping["words"].items()
    }
    for name, word in posted.items():
        found = re.fullmatch(r"w-([a-z_]+)-(\d+)-word", name)
        if not found or found.group(1) not in MEANINGS:
            continue
        table, value = found.group(1), posted.get(name.removesuffix("-word"), UNDECIDED)
        if value == _meaning_of(mapping, table, word):
            continue
        target = words.setdefault(table, {})
        if table == "stage":
            for inner in target.values():
                inner.pop(word, None)
            target = target.setdefault(ANY_CHANNEL, {})
        if value == UNDECIDED:
            target.pop(word, None)
        elif value in MEANINGS[table]:
            target[word] = value
    return words


def _fill_new_words(draft: dict[str, Any], before: Mapping[str, Any], profiles: Profiles) -> None:
    """Guess words of columns that only now became word columns; leave decisions alone."""
    old = {
        (key, column, table)
        for key, spec in before["files"].items()
        for column, table in list_word_columns(spec)
    }
    fresh = {
        key: {
            **spec,
            "columns": [
                c
                for c in spec["columns"]
                if not any((key, c["column"], t) in old for t in MEANINGS)
            ],
        }
        for key, spec in draft["files"].items()
    }
    part = {"files": fresh, "words": draft["words"]}
    fill_words(part, profiles)


CHANNEL_CHOICES = list(Channel.choices)
