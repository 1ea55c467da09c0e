"""What a formula writes as text but means by id: lookup tables, their columns, nodes and stages.

The checker asks here; what comes back are typed arguments and the uses that the stored text keeps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from config.errors import Phrase, gettext_noop, join_phrases

from .errors import ADD_QUOTES, Finding, Fix, find, write
from .explain import write_text
from .names import Field, Names, Table, Term, nearest_name
from .tree import Call, FieldUse, Kinds, Literal, Name, Node, TermUse
from .values import ValueType

TABLE_FUNCTION: Final = "LOOKUPTABLE"
_MAX_LISTED: Final = 8

Visit = Callable[[Node], Node]
_TEXT: Final[Kinds] = frozenset({ValueType.TEXT})
TERM_KINDS: Final = {"node": gettext_noop("节点"), "stage": gettext_noop("阶段")}
_PERHAPS: Final = gettext_noop("，是不是「%(name)s」？")


@dataclass(slots=True)
class Resolved:
    """The outcome: arguments (None when something refuses), kinds, uses and findings."""

    args: tuple[Node, ...] | None
    kinds: Kinds
    uses: list[tuple[Node, str]]
    findings: list[Finding]


def _text_of(node: Node) -> str | None:
    """The text a person wrote, or the id a stored formula has in its place."""
    if isinstance(node, Literal) and isinstance(node.value, str):
        return node.value
    if isinstance(node, Name) and node.form == "id":
        return node.text
    return None


def _quote(part: Node, known: Sequence[str]) -> Fix | None:
    """Put quotes around a known word that was written without."""
    if not isinstance(part, Name) or part.text not in known:
        return None
    return Fix(part.start, part.end, write_text(part.text), ADD_QUOTES)


def _listed(names: Sequence[str]) -> Phrase:
    quoted = gettext_noop("「%(name)s」")
    shown = join_phrases(Phrase(quoted, {"name": name}) for name in names[:_MAX_LISTED])
    return Phrase(gettext_noop("%(names)s 等"), {"names": shown}) if names[_MAX_LISTED:] else shown


def resolve_table(node: Call, names: Names, visit: Visit, usage: str) -> Resolved:
    """Put the table in place of its name and the column's id in place of its label."""
    found = Resolved(None, frozenset({ValueType.ANY}), [], [])
    written = _text_of(node.args[0]) if node.args else None
    table = names.find_table(written) if written is not None else None
    if table is None:
        for part in node.args[1:]:
            if _text_of(part) is None:
                visit(part)
        found.findings.append(_no_table(node, written, names, usage))
        return found
    found.uses.append((node.args[0], table.id))
    count = len(table.keys)
    if not count + 2 <= len(node.args) <= count + 3:
        found.findings.append(_wrong_count(node, table))
        return found
    keys = [visit(part) for part in node.args[1 : count + 1]]
    place = node.args[count + 1]
    text = _text_of(place)
    column = table.find_column(text) if text is not None else None
    rest = [visit(part) for part in node.args[count + 2 :]]
    if column is None:
        found.findings.append(_no_column(place, text, table))
        return found
    found.uses.append((place, column.id))
    first = node.args[0]
    source = FieldUse(first.start, first.end, table.field, frozenset({ValueType.ANY}))
    chosen = TermUse(place.start, place.end, column.id, _TEXT, column.label)
    found.args = (source, *keys, chosen, *rest)
    found.kinds = frozenset({column.type}).union(*(part.kinds for part in rest))
    for key, part in zip(table.keys, keys, strict=True):
        if finding := _doubtful_key(key, part):
            found.findings.append(finding)
    return found


def _no_table(node: Call, written: str | None, names: Names, usage: str) -> Finding:
    where = node.args[0] if node.args else node
    if written is None:
        fix = _quote(where, [table.name for table in names.tables])
        return find("table_not_literal", start=where.start, end=where.end, fix=fix, usage=usage)
    if written.startswith("table:"):
        return find("table_gone", start=where.start, end=where.end, id=written)
    near = nearest_name(written, [table.name for table in names.tables])
    fix = None
    if near is not None:
        fix = write(where.start, where.end, write_text(near), shown=near)
        hint = Phrase(_PERHAPS, {"name": near})
    elif names.tables:
        known = _listed([table.name for table in names.tables])
        hint = Phrase(gettext_noop("；现有 %(names)s"), {"names": known})
    else:
        hint = Phrase(gettext_noop("；还没有已发布的查找表，请先在「查找表」页建表并发布"))
    return find(
        "unknown_table", start=where.start, end=where.end, fix=fix, name=written[:40], hint=hint
    )


def _no_column(place: Node, written: str | None, table: Table) -> Finding:
    labels = [column.label for column in table.columns]
    if written is None:
        return find(
            "column_not_literal",
            start=place.start,
            end=place.end,
            fix=_quote(place, labels),
            table=table.name,
            columns=_listed(labels),
        )
    near = nearest_name(written, labels)
    fix = write(place.start, place.end, write_text(near), shown=near) if near else None
    hint = (
        Phrase(_PERHAPS, {"name": near})
        if near
        else Phrase(gettext_noop("；可取的列：%(names)s"), {"names": _listed(labels)})
    )
    return find(
        "unknown_table_column",
        start=place.start,
        end=place.end,
        fix=fix,
        table=table.name,
        name=written[:40],
        hint=hint,
    )


def _wrong_count(node: Call, table: Table) -> Finding:
    keys = [key.label for key in table.keys]
    column = table.columns[0].label if table.columns else "列"
    usage = f"查表({write_text(table.name)}, {', '.join(keys)}, {write_text(column)})"
    return find(
        "table_keys",
        start=node.start,
        end=node.end,
        table=table.name,
        keys=join_phrases(keys),
        usage=usage,
    )


def _doubtful_key(key: Field, part: Node) -> Finding | None:
    """A key that can never be found: text where the table has numbers or dates, or the reverse."""
    if isinstance(part, Literal) or key.type is ValueType.TEXT or part.kinds != _TEXT:
        return None
    return find(
        "table_key_type",
        start=part.start,
        end=part.end,
        key=key.label,
        kind=Phrase(key.type.label),
    )


def resolve_term(
    part: Node, kinds: tuple[str, ...], names: Names, function: str
) -> tuple[TermUse | None, Finding | None]:
    """The term a literal names, or the finding that says why there is none."""
    written = _text_of(part)
    what = join_phrases(
        (Phrase(TERM_KINDS.get(kind, kind)) for kind in kinds),
        gettext_noop("%(before)s或%(next)s"),
    )
    if written is None:
        fix = _quote(part, [term.label for term in names.terms if term.kind in kinds])
        return None, find(
            "term_not_literal",
            start=part.start,
            end=part.end,
            fix=fix,
            function=function,
            what=what,
        )
    term: Term | None = names.find_term(written, kinds)
    if term is not None:
        return TermUse(part.start, part.end, term.id, _TEXT, term.label), None
    labels = [term.label for term in names.terms if term.kind in kinds]
    near = nearest_name(written, labels)
    fix = write(part.start, part.end, write_text(near), shown=near) if near else None
    hint = Phrase("")
    if near:
        hint = Phrase(_PERHAPS, {"name": near})
    elif labels:
        hint = Phrase(gettext_noop("；可以写 %(names)s"), {"names": _listed(labels)})
    return None, find(
        "unknown_term",
        start=part.start,
        end=part.end,
        fix=fix,
        what=what,
        name=written[:40],
        hint=hint,
    )
