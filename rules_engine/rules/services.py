"""Rule sets as documents of the release machine: checked, compiled, compared, activated.

Content of a rule set (kind "rule_set", key "default"):

    {"name", "lines": {"yellow": 70, "orange": 60, "red": 50}, "dimensions": [
      {"key", "name", "formula" (as typed), "stored" (by ids; written by the check), "kind":
       "judgement"|"points", "points", "cap": number|null, "when_insufficient":
       "no_points"|"no_deduction"|"fail", "when_late": the same, "when_not_applicable":
       "full"|"rescale", "reason": "尾款已逾期 {现在()-尾款截止}", "cause", "source": kinds of source
       without which it is 未接入, joined with "," }]}

A placeholder of a reason is a fact or any formula.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import Any

from config.errors import BadInput, gettext_noop, list_sentences
from config.releases.models import State, Version
from config.releases.services import get_published, install_preset
from rules_engine.facts.catalog import FACTS, SOURCE_LABELS
from rules_engine.facts.services import format_value, get_names
from rules_engine.formula import (
    Checked,
    CompiledPlan,
    Names,
    RowPlan,
    Value,
    ValueType,
    check,
)
from rules_engine.rules.content import (
    Problem,
    check_content,
    describe_content_changes,
    lines_of,
    read_placeholders,
    weight_values,
)

KIND = "rule_set"
KEY = "default"
MAX_SHOWN = 20


@dataclass(frozen=True)
class Piece:
    """Part of a reason: fixed text, or a small formula."""

    text: str
    checked: Checked | None = None
    plan: RowPlan | None = None
    unit: str = ""
    type: ValueType = ValueType.ANY


@dataclass(frozen=True)
class Dimension:
    """A dimension ready to run. `plan` is None when its formula no longer holds together."""

    key: str
    name: str
    kind: str
    points_hundredths: int
    cap_hundredths: int | None
    when_insufficient: str
    when_late: str
    when_not_applicable: str
    cause: str
    sources: tuple[str, ...]
    formula: str
    checked: Checked
    plan: RowPlan | None
    broken: str
    reason: tuple[Piece, ...]
    fact_ids: tuple[str, ...]  # of the order, columns counted as their rows
    suspended: str = ""  # why the formula is out of use

    def write_reason(self, values: Mapping[str, Value], now: float) -> str:
        """The reason with its placeholders filled in for people."""
        pieces = []
        for piece in self.reason:
            if piece.plan is None:
                pieces.append(piece.text)
            else:
                pieces.append(
                    format_value(piece.plan.evaluate(values, now), piece.type, piece.unit)
                )
        return "".join(pieces)[:500]


@dataclass(frozen=True)
class RuleSet:
    """A version of the rules, ready to run. `version` is None for a draft."""

    name: str
    yellow: int
    orange: int
    red: int
    dimensions: tuple[Dimension, ...]
    version_id: int | None
    fact_ids: frozenset[str]
    uses_personal: bool
    published_at: datetime | None = None  # which of two versions is newer

    @cached_property
    def compiled(self) -> CompiledPlan:
        """The formulas that can run as one plan, made when it is first needed."""
        return CompiledPlan([d.checked for d in self.dimensions if d.plan is not None])

    @cached_property
    def _running_keys(self) -> tuple[str, ...]:
        return tuple(d.key for d in self.dimensions if d.plan is not None)

    def evaluate(self, values: Mapping[str, Value], now: float) -> dict[str, Value]:
        """Dimension key -> value by the compiled plan, for the formulas that can run."""
        return dict(zip(self._running_keys, self.compiled.evaluate(values, now), strict=True))


_PERSONAL_IDS = frozenset(fact.id for fact in FACTS if fact.is_personal)
_SOURCE_OF = {fact.id: fact.source for fact in FACTS}
_compiled: dict[tuple[int, str, datetime | None], RuleSet] = {}
_suspended: dict[tuple[Any, ...], tuple[RuleSet, RuleSet]] = {}
_MAX_COMPILED = 64


# --- checking -------------------------------------------------------------------------------------


def list_problems(content: Any, *, names: Names | None = None) -> list[Problem]:
    """Everything wrong with a draft, each with dimension, part and Chinese text; never raises."""
    return check_content(content, names or get_names())[1]


def check_rule_set(content: dict[str, Any]) -> dict[str, Any]:
    """The clean content, or BadInput naming every problem (`params["problems"]` has the list)."""
    clean, problems = check_content(content, get_names())
    refusals = [problem for problem in problems if problem.refuses]
    if refusals:
        raise BadInput(
            gettext_noop("规则集有 %(count)s 处问题：%(shown)s"),
            code="bad_rule_set",
            count=len(refusals),
            shown=list_sentences([problem.placed for problem in refusals], MAX_SHOWN),
            problems=refusals,
        )
    return clean


def describe_changes(old: Mapping[str, Any] | None, new: Mapping[str, Any]) -> list[Any]:
    """What a reviewer reads: one Change (kind, dimension, part, old, new, sentence) per difference."""
    return list(describe_content_changes(old, new))


# --- compiling ------------------------------------------------------------------------------------


def compile_rule_set(
    content: Mapping[str, Any], *, names: Names, version: Version | None = None
) -> RuleSet:
    """Make a clean content ready to run."""
    dimensions = tuple(compile_dimension(item, names) for item in content["dimensions"])
    lines = lines_of(content)
    used = frozenset(id for dimension in dimensions for id in dimension.fact_ids)
    return RuleSet(
        name=content["name"],
        yellow=lines["yellow"],
        orange=lines["orange"],
        red=lines["red"],
        dimensions=dimensions,
        version_id=version.pk if version else None,
        published_at=version.published_at if version else None,
        fact_ids=used,
        uses_personal=not used.isdisjoint(_PERSONAL_IDS),
    )


def suspend(rules: RuleSet, reasons: Mapping[str, str]) -> RuleSet:
    """The same rules without the formulas of some dimensions. reasons: dimension key -> why.

    Kept as the rules themselves are: every pass asks again, and compiling takes milliseconds.
    """
    key = (id(rules), *sorted(reasons.items()))
    found = _suspended.get(key)
    if found is None or found[0] is not rules:
        without = replace(
            rules,
            dimensions=tuple(
                replace(d, plan=None, suspended=reasons[d.key]) if d.key in reasons else d
                for d in rules.dimensions
            ),
        )
        if len(_suspended) >= _MAX_COMPILED:
            _suspended.pop(next(iter(_suspended)))
        found = _suspended[key] = (rules, without)
    return found[1]


def compile_dimension(item: Mapping[str, Any], names: Names) -> Dimension:
    """One clean dimension ready to run; by its stored form, so that renamed fields stay bound."""
    text = item.get("stored") or item["formula"]
    checked = check(text, names, kind=item["kind"])
    plan = RowPlan(checked) if checked.is_valid else None
    broken = "" if plan else "；".join(f.text for f in checked.findings if f.refuses)
    points, cap = weight_values(item)
    return Dimension(
        key=item["key"],
        name=item["name"],
        kind=item["kind"],
        points_hundredths=points,
        cap_hundredths=cap,
        when_insufficient=item["when_insufficient"],
        when_late=item["when_late"],
        when_not_applicable=item["when_not_applicable"],
        cause=item["cause"],
        sources=tuple(s for s in item["source"].split(",") if s),
        formula=item["formula"],
        checked=checked,
        plan=plan,
        broken=broken,
        reason=_compile_reason(item["reason"], names),
        fact_ids=tuple(sorted(_order_fact_ids(checked, names))),
    )


def _order_fact_ids(checked: Checked, names: Names) -> set[str]:
    owners = ((id, names.owner_of(id)) for id in checked.field_ids)
    return {owner.id if owner else id for id, owner in owners}


def _compile_reason(template: str, names: Names) -> tuple[Piece, ...]:
    pieces = []
    for text, is_placeholder in read_placeholders(template):
        if not is_placeholder:
            pieces.append(Piece(text))
            continue
        checked = check(text, names, kind="any")
        if not checked.is_valid:
            pieces.append(Piece("{" + text + "}"))
            continue
        field = names.find(text.strip())
        pieces.append(
            Piece(
                text,
                checked,
                RowPlan(checked),
                unit=field.unit if field else _unit_of(text),
                type=field.type if field else checked.type,
            )
        )
    return tuple(pieces)


def _unit_of(text: str) -> str:
    """Minutes and hours counted by a function read as lengths of time."""
    call = text.strip().lstrip("=")
    if call.startswith(("距今分钟", "相隔分钟", "MINUTES")):
        return "分钟"
    return "小时" if call.startswith(("距今小时", "相隔小时", "HOURS")) else ""


# --- the active one -------------------------------------------------------------------------------


def get_active_version() -> Version | None:
    """The published version of the rules of the environment in force (one query)."""
    return get_published(KIND, KEY)


def get_active_rule_set() -> RuleSet | None:
    """The published rules, compiled once per process (one query, two the first time)."""
    version = get_active_version()
    return None if version is None else get_rule_set(version)


def get_rule_set(version: Version) -> RuleSet:
    """A version ready to run; a published content never changes, so it is kept."""
    if version.state not in {State.PUBLISHED, State.RETIRED}:
        return compile_rule_set(version.content, names=get_names(), version=version)
    key = (version.pk, version.checksum, version.published_at)
    found = _compiled.get(key)
    if found is None:
        found = compile_rule_set(version.content, names=get_names(), version=version)
        if len(_compiled) >= _MAX_COMPILED:
            _compiled.pop(next(iter(_compiled)))
        _compiled[key] = found
    return found


def forget_compiled() -> None:
    """Drop compiled rules: tests that change what a formula means behind them."""
    _compiled.clear()
    _suspended.clear()


def install_rule_set(content: dict[str, Any], *, origin: str, now: datetime) -> Version:
    """Publish a shipped content as the first rules of the environment in force."""
    return install_preset(
        kind=KIND, key=KEY, name=str(content["name"]), content=content, origin=origin, now=now
    )


def describe_source(kinds: Sequence[str]) -> str:
    """Source kinds for people: "支付网关、OMS"."""
    return "、".join(SOURCE_LABELS.get(kind, kind) for kind in kinds)


__all__ = ["KEY", "KIND", "Dimension", "Problem", "RuleSet", "check_rule_set"]
