"""Lookup tables and the formulas that use them: neither may break the other.

The kind "lookup_table" is registered from here, because only here are rules and tables both known.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from config.errors import BadInput, Phrase, WrongState, gettext_noop, list_sentences
from config.releases.models import Document, State, Version
from rules_engine.facts import tables
from rules_engine.facts.services import get_names
from rules_engine.rules.content import check_content
from rules_engine.rules.services import get_active_version

MAX_NAMED = 5
_STORED_ID = re.compile(r"\{#([^{}]+)\}")


@dataclass(frozen=True)
class TableUse:
    """A check in force that asks a table, with the ids of the columns it takes."""

    key: str
    name: str
    formula: str
    columns: frozenset[str]


def list_table_uses(table_key: str) -> list[TableUse]:
    """The checks in force whose formula asks a table (one query).

    Read from the ids in their stored text: what a formula means must not be worked out while the
    table it asks is being replaced.
    """
    version = get_active_version()
    id = f"table:{table_key}"
    found = []
    for item in version.content["dimensions"] if version is not None else ():
        ids = frozenset(_STORED_ID.findall(item.get("stored") or ""))
        if id in ids:
            columns = frozenset(one for one in ids if one.startswith(f"{id}."))
            found.append(TableUse(item["key"], item["name"], item["formula"], columns))
    return found


def list_broken_uses(
    content: Mapping[str, Any], former: Mapping[str, Any] | None = None
) -> list[Phrase]:
    """What a new content of a table would break, one sentence per check in force and column.

    former: the content it replaces; without, the one in force.
    """
    key = str(content["key"])
    uses = list_table_uses(key)
    if not uses:
        return []
    new = tables.schema_of(content, key)
    if former is not None:
        old = tables.schema_of(former, key)
    else:
        old = next((table.schema for table in tables.list_published([key])), new)
    labels = {column.id: column.label for column in old.columns}
    old_types = {column.id: column.type for column in old.columns}
    new_types = {column.id: column.type for column in new.columns}
    broken = []
    for use in uses:
        if [k.type for k in new.keys] != [k.type for k in old.keys]:
            text = gettext_noop("检查项「%(name)s」按现在的键列查这张表，键列不能增减或改类型")
            broken.append(Phrase(text, {"name": use.name}))
            continue
        for id in sorted(use.columns):
            if id not in new_types:
                text = gettext_noop("检查项「%(name)s」在用列「%(column)s」，不能删去或改成键列")
            elif new_types[id] != old_types.get(id, new_types[id]):
                text = gettext_noop("检查项「%(name)s」在用列「%(column)s」，不能改类型")
            else:
                continue
            broken.append(Phrase(text, {"name": use.name, "column": labels.get(id, id)}))
    return broken


def check_table(content: dict[str, Any]) -> dict[str, Any]:
    """The clean content of a table; raises BadInput for what is wrong or would break a check."""
    clean = tables.require_table(content)
    _check_name(clean)
    broken = list_broken_uses(clean)
    if broken:
        raise BadInput(
            gettext_noop("这些检查项正在用这张表：%(broken)s。请先改检查项并发布，再改表"),
            code="table_in_use",
            broken=list_sentences(broken, MAX_NAMED),
        )
    return clean


def _check_name(content: Mapping[str, Any]) -> None:
    name = str(content["name"]).lower()
    for other in tables.list_published():
        if other.key != content["key"] and other.schema.name.lower() == name:
            raise BadInput(
                gettext_noop("已有另一张查找表叫「%(name)s」，请换一个表名"),
                code="table_name_taken",
                name=content["name"],
            )


def on_table_published(version: Version) -> None:
    """Publishing is the last moment at which a table may break a check or take another's name."""
    if version.content["key"] != version.document.key:
        raise WrongState(gettext_noop("表的英文编号和文档不一致，请从原来的表改起"))
    _check_name(version.content)
    former = (
        Version.objects.filter(document_id=version.document_id, state=State.RETIRED)
        .order_by("-published_at")
        .first()
    )
    shipped = tables.SHIPPED.get(version.document.key)
    broken = list_broken_uses(version.content, former.content if former else shipped)
    if broken:
        raise WrongState(
            gettext_noop("不能发布：%(broken)s。请先改检查项并发布，再发布这张表"),
            broken=list_sentences(broken, MAX_NAMED),
        )
    Document.objects.filter(pk=version.document_id).update(name=version.content["name"])


def on_rules_published(version: Version) -> None:
    """Rules come into force only while every table they ask is published as they know it."""
    _clean, problems = check_content(version.content, get_names())
    refusals = [problem.placed for problem in problems if problem.refuses]
    if refusals:
        raise WrongState(
            gettext_noop("不能发布：%(shown)s。请退回修改，或先发布它用到的查找表"),
            shown=list_sentences(refusals, MAX_NAMED),
        )
