"""What the pages of a draft ask the rules engine: names, problems, trials on real orders."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django.core import signing
from django.db.models import F, IntegerField, Window
from django.db.models.functions import Mod, RowNumber
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from config.errors import BY_CLAUSE, AppError, BadInput, gettext_noop
from config.releases.models import Version
from config.tenancy.models import Role
from config.wording import join_words, say, say_error
from connectors.orders.models import Order
from frontend.pages.check_formula import (
    Looked,
    NameGroup,
    describe_formula,
    group_names,
    lay_out,
)
from frontend.pages.trace_tree import Row, build_tree
from frontend.wording import RESULT_LOOKS, describe_band, describe_outcome, describe_score
from rules_engine.facts.catalog import SOURCE_LABELS
from rules_engine.facts.services import get_names, list_fields
from rules_engine.formula import Names, check, sentence
from rules_engine.presets import get_preset, list_presets
from rules_engine.rules import drafts, services
from rules_engine.rules.content import INSUFFICIENT, NOT_APPLICABLE, PART_LABELS, Change
from rules_engine.scoring import trials
from rules_engine.scoring.bands import BAND_LABELS, SEVERITY
from rules_engine.scoring.models import ScoreChange

TRIALS_SHOWN = 20
REVIEWER_ROLES = (Role.REVIEWER,)

# Trials are picked among open orders of every kind, so that every outcome is seen.
POOL_PER_KIND, POOL = 20, 300
_KIND_OF_ORDER = ("channel", "stage", "presale_phase", "group_state", "refund_state", "node")
STEP_SECONDS = 0.7  # how long one step of the comparison may take before the page is told

POLICY_LABELS = {
    "when_insufficient": gettext_lazy("数据不足时"),
    "when_not_applicable": gettext_lazy("不适用时"),
    "when_late": gettext_lazy("来源滞后时"),
}
POLICIES: dict[str, Mapping[str, str]] = {
    "when_insufficient": INSUFFICIENT,
    "when_not_applicable": NOT_APPLICABLE,
    "when_late": INSUFFICIENT,
}


@dataclass(frozen=True)
class Problem:
    """Why a draft cannot be submitted: the dimension and its part, in words."""

    text: str
    key: str = ""
    name: str = ""
    part: str = ""


def list_problems(content: Mapping[str, Any]) -> list[Problem]:
    """What keeps a draft from being submitted, in reading order."""
    return [
        Problem(
            text=say(p.phrase),
            key=p.dimension,
            name=_name_of(p),
            part=p.part,
        )
        for p in services.list_problems(content)
        if p.refuses
    ]


def _name_of(problem: services.Problem) -> str:
    """The dimension's name; its key means nothing to people."""
    if not problem.number:
        return ""
    if problem.label and problem.label != problem.dimension:
        return problem.label
    return _("第 %(n)s 条（未命名）") % {"n": problem.number}


def lines_of(error: AppError) -> list[str]:
    """An error as lines: the sentence, or each of its problems with its place."""
    problems = error.params.get("problems")
    if problems:
        head = _("规则文件有 %(n)s 处问题，没有导入：") % {"n": len(problems)}
        return [head, *(say(p.placed) for p in problems[: services.MAX_SHOWN])]
    return [say_error(error)]


def look_at(formula: str, kind: str) -> Looked:
    """What is to be said about a formula as typed."""
    checked = check(formula, get_names(), kind="points" if kind == "points" else "judgement")
    return describe_formula(checked)


def lay_out_formula(formula: str) -> str:
    """The formula on several lines; as it is while it has errors."""
    return lay_out(check(formula, get_names()))


def list_name_groups() -> list[NameGroup]:
    """Every name a formula may use here, grouped for the list beside it."""
    return group_names(list_fields(), get_names().tables)


def list_causes(content: Mapping[str, Any]) -> list[str]:
    """Causes already in use, to choose from."""
    causes = (d.get("cause") for d in drafts.list_dimensions(content))
    return sorted({c for c in causes if isinstance(c, str) and c})


def list_blind(content: Mapping[str, Any]) -> list[dict[str, str]] | None:
    """Failures that leave an order healthy; None while the draft does not add up."""
    spots = trials.find_blind_spots(content)
    if spots is None:
        return None
    return [
        {
            "names": "＋".join(n or _("未命名的检查") for n in spot.names),
            "score": describe_score(spot.score_hundredths),
        }
        for spot in spots
    ]


def list_sources(dimension: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The kinds of source a dimension may need, and which it names."""
    chosen = str(dimension.get("source") or "").split(",")
    return [
        {"value": kind, "label": _(label), "is_chosen": kind in chosen}
        for kind, label in SOURCE_LABELS.items()
    ]


# --- templates --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Template:
    """A shipped rule set as the page of a new check offers it."""

    key: str
    name: str
    description: str
    dimensions: list[dict[str, Any]]


def list_templates() -> list[Template]:
    """Every shipped rule set with its dimensions."""
    return [
        Template(p.key, p.name, p.description, drafts.list_dimensions(p.content))
        for p in list_presets()
    ]


def dimension_of_template(name: str) -> dict[str, Any]:
    """A dimension of a shipped set ("set/dimension"), or a blank one for ""."""
    if not name:
        return dict(drafts.NEW_DIMENSION)
    preset, _sep, key = name.partition("/")
    found = drafts.find_dimension(whole_template(preset), key)
    if found is None:
        raise BadInput(gettext_noop("没有这个模板，请重新选择"))
    checked = check(found["formula"], get_names(), kind=found.get("kind", "judgement"))
    return {**found, "formula": lay_out(checked)}


def whole_template(key: str) -> dict[str, Any]:
    """The content of a shipped set."""
    if key not in {p.key for p in list_presets()}:
        raise BadInput(gettext_noop("没有这个模板，请重新选择"))
    return dict(get_preset(key).content)


def empty_content(name: str) -> dict[str, Any]:
    """A rule set without dimensions."""
    return {"name": name, "lines": {"yellow": 70, "orange": 60, "red": 50}, "dimensions": []}


# --- trials on real orders ----------------------------------------------------------------------


def get_order(public_id: str) -> Order:
    """An order of this environment."""
    found: Order = Order.objects.get(public_id=public_id)
    return found


def try_out(
    dimension: Mapping[str, Any], *, numbers: Sequence[str], is_mixed: bool, now: datetime
) -> dict[str, Any]:
    """The dimension on up to TRIALS_SHOWN orders: the ones named, the newest, or some of each."""
    looked = look_at(str(dimension.get("formula") or ""), str(dimension.get("kind")))
    if not looked.is_valid:
        return {"error": _("公式写完整以后，这里用真实订单试算。")}
    newest = Order.objects.order_by("-placed_at", "-pk")
    if numbers:
        orders = list(newest.filter(order_no__in=numbers)[:TRIALS_SHOWN])
        if not orders:
            return {"error": _("没有找到这些订单号，请核对后再贴。")}
    elif is_mixed:
        orders = _pool()
    else:
        orders = list(newest.filter(is_open=True)[:TRIALS_SHOWN])
    found = trials.try_dimension(dimension, orders, now=now)
    shown = _mix(found) if is_mixed and not numbers else found
    counts = trials.count_outcomes(shown)
    return {
        "counters": [
            {"label": describe_outcome(o), "band": RESULT_LOOKS[o], "count": n}
            for o, n in counts.items()
        ],
        "looked_at": len(orders) if len(orders) > len(shown) else 0,
        "trials": [_describe_trial(trial) for trial in shown],
    }


def _pool() -> list[Order]:
    """Some open orders of every kind, at most POOL, the same ones each time (one query).

    Scattered over the kind rather than its newest: the newest have all been alive equally long.
    """
    scatter = Mod(F("pk") * 7919, 10007, output_field=IntegerField())
    place = Window(
        RowNumber(), partition_by=list(_KIND_OF_ORDER), order_by=[scatter.asc(), F("pk")]
    )
    query = Order.objects.filter(is_open=True).annotate(place_in_kind=place)
    return list(
        query.filter(place_in_kind__lte=POOL_PER_KIND).order_by("place_in_kind", "pk")[:POOL]
    )


def _mix(found: Sequence[trials.Trial]) -> list[trials.Trial]:
    """Up to TRIALS_SHOWN in their order: an equal share of every outcome, the rest newest first."""
    if len(found) <= TRIALS_SHOWN:
        return list(found)
    outcomes = list(dict.fromkeys(t.outcome for t in found))
    share = TRIALS_SHOWN // len(outcomes)
    chosen = {
        i
        for outcome in outcomes
        for i in [i for i, t in enumerate(found) if t.outcome == outcome][:share]
    }
    chosen |= set([i for i in range(len(found)) if i not in chosen][: TRIALS_SHOWN - len(chosen)])
    return [found[i] for i in sorted(chosen)]


def _describe_trial(trial: trials.Trial) -> dict[str, Any]:
    return {
        "result": trial.outcome,
        "label": describe_outcome(trial.outcome),
        "band": RESULT_LOOKS[trial.outcome],
        "order_no": trial.order.order_no,
        "public_id": trial.order.public_id,
        "reason": trial.reason,
        "points": _("%(n)s 分") % {"n": describe_score(trial.points_hundredths)},
        "values": [{"label": label, "text": text} for label, text in trial.values],
    }


def trace(dimension: Mapping[str, Any], *, order: Order, now: datetime) -> list[Row]:
    """The parts of the formula on one order, as the rows of a tree."""
    found = trials.trace_dimension(dimension, order, now=now)
    if found is None:
        raise BadInput(gettext_noop("公式现在有错误，改好以后再看每一步的值"))
    return read_trace(found)


def read_trace(found: trials.Trace) -> list[Row]:
    """A traced formula as the rows of a tree."""
    tree = found.checked.require_tree()
    return build_tree(tree, found.parts, hidden=found.hidden, hidden_word=_("（个人信息）"))


# --- whom it would move -------------------------------------------------------------------------

_SALT = "checks.impact"


def take_step(
    version: Version, *, state: str, address: str, with_blast: bool, now: datetime
) -> dict[str, Any]:
    """Go on with the comparison for STEP_SECONDS; its figures so far travel signed in `state`.

    `with_blast`: the page also has the strip of four figures, which the last answer fills.
    """
    started = time.monotonic()
    rules, problems = trials.compile_draft(version.content)
    if rules is None:
        text = _("还有 %(n)s 处要改才能试算：%(first)s")
        return {"error": text % {"n": len(problems), "first": say(problems[0].placed)}}
    moves, moment, spent = _read_state(state, version, now)
    comparison = trials.Comparison(rules, now=moment)
    is_going_on = comparison.take_step(moves)
    while is_going_on and time.monotonic() - started < STEP_SECONDS:
        is_going_on = comparison.take_step(moves)
    spent += time.monotonic() - started
    if is_going_on:
        query = urlencode(
            {"state": _write_state(moves, version, moment, spent)}
            | ({"blast": "1"} if with_blast else {})
        )
        total = Order.objects.filter(is_open=True).count()
        return {
            "done": False,
            "next_url": f"{address}?{query}",
            "seen_count": moves.looked_at,
            "total": max(total, moves.looked_at),
        }
    return {
        "done": True,
        "with_blast": with_blast,
        "seconds": f"{spent:.1f}",
        **_describe_moves(moves, version, comparison),
    }


def _write_state(moves: trials.Moves, version: Version, moment: datetime, spent: float) -> str:
    cells = [
        [before, after, cell.count, cell.fen, cell.samples]
        for (before, after), cell in moves.cells.items()
    ]
    kept = [version.checksum, moment.isoformat(), spent, moves.looked_at, moves.last_id, cells]
    return signing.dumps(kept, salt=_SALT, compress=True)


def _read_state(
    state: str, version: Version, now: datetime
) -> tuple[trials.Moves, datetime, float]:
    """What was counted so far; from the beginning when there is nothing, or the draft changed."""
    try:
        checksum, moment, spent, looked_at, last_id, cells = signing.loads(
            state, salt=_SALT, max_age=600
        )
    except signing.BadSignature:
        return trials.Moves(), now, 0.0
    if checksum != version.checksum:
        return trials.Moves(), now, 0.0
    moves = trials.Moves(looked_at=looked_at, last_id=last_id)
    for before, after, count, fen, samples in cells:
        kept = [(int(f), str(i)) for f, i in samples]
        moves.cells[(before, after)] = trials.Cell(count, fen, kept)
    return moves, datetime.fromisoformat(moment), spent


def _describe_moves(
    moves: trials.Moves, version: Version, comparison: trials.Comparison
) -> dict[str, Any]:
    """The finished comparison for the template."""
    bands = list(SEVERITY)
    befores = bands + ([""] if any(before == "" for before, _after in moves.cells) else [])
    worse = [c for (b, a), c in moves.cells.items() if b and SEVERITY[a] > SEVERITY[b]]
    better = [c for (b, a), c in moves.cells.items() if b and SEVERITY[a] < SEVERITY[b]]
    samples = _look_at(moves.list_samples(), comparison)
    if moves.moved > len(samples):
        title = _("先看最重、金额最大的 %(n)s 单；点表里的数字看那一格的")
    else:
        title = _("会移动的 %(n)s 单")
    return {
        "moved": moves.moved,
        "worse": sum(c.count for c in worse),
        "worse_fen": sum(c.fen for c in worse),
        "better": sum(c.count for c in better),
        "better_fen": sum(c.fen for c in better),
        "blind_count": len(list_blind(version.content) or []),
        "total": moves.looked_at,
        "band_labels": [describe_band(b) for b in bands],
        "matrix": [
            {
                "label": _describe_before(before),
                "cells": [_describe_cell(moves, version, before, after) for after in bands],
            }
            for before in befores
        ],
        "samples": samples,
        "samples_title": title % {"n": len(samples)},
    }


def _describe_cell(
    moves: trials.Moves, version: Version, before: str, after: str
) -> dict[str, Any]:
    cell = moves.cells.get((before, after), trials.Cell())
    look, url = "", ""
    if before == after:
        look = "same"
    elif cell.count:
        if before:
            look = "worse" if SEVERITY[after] > SEVERITY[before] else "better"
        ids = [public_id for _fen, public_id in cell.samples]
        token = signing.dumps([before, after, cell.count, ids], salt=_SALT, compress=True)
        address = reverse("check_impact_orders", args=[version.public_id])
        url = f"{address}?{urlencode({'cell': token})}"
    return {
        "before": before or "none",
        "after": after,
        "count": cell.count,
        "fen": cell.fen,
        "look": look,
        "url": url,
        "title": _("看%(before)s变%(after)s的 %(n)s 单")
        % {
            "before": _describe_before(before),
            "after": describe_band(after),
            "n": cell.count,
        },
    }


def _describe_before(band: str) -> str:
    return describe_band(band) if band else _("未评分")


def list_moved(version: Version, *, token: str, now: datetime) -> dict[str, Any]:
    """The sample orders of one cell, scored again as they stand now."""
    try:
        before, after, count, ids = signing.loads(token, salt=_SALT, max_age=3600)
    except signing.BadSignature as error:
        raise BadInput(gettext_noop("这张表已经过期，请重新算一算")) from error
    rules, _problems = trials.compile_draft(version.content)
    if rules is None:
        raise BadInput(gettext_noop("草稿现在有错误，改好以后再算"))
    samples = _look_at(ids, trials.Comparison(rules, now=now))
    words = {
        "before": _describe_before(before),
        "after": describe_band(after),
        "n": count,
        "shown": len(samples),
    }
    title = _("%(before)s → %(after)s 共 %(n)s 单")
    if count > len(samples):
        title = _("%(before)s → %(after)s 共 %(n)s 单，列金额最大的 %(shown)s 单")
    return {"samples": samples, "samples_title": title % words}


def _look_at(ids: Sequence[str], comparison: trials.Comparison) -> list[dict[str, Any]]:
    query = Order.objects.filter(public_id__in=list(ids)).select_related("score")
    orders = {order.public_id: order for order in query}
    return [
        {
            "before_band": moved.before_band,
            "before_score": moved.before_hundredths,
            "after_band": moved.after_band,
            "after_score": moved.after_hundredths,
            "public_id": moved.order.public_id,
            "order_no": moved.order.order_no,
            "reason": moved.reason,
            "fen": moved.order.paid_fen or moved.order.payable_fen,
        }
        for moved in comparison.look_at([orders[i] for i in ids if i in orders])
    ]


# --- the difference -----------------------------------------------------------------------------

_CHANGE_LABELS = {
    "added": gettext_lazy("新增"),
    "removed": gettext_lazy("删除"),
    "changed": gettext_lazy("改动"),
    "moved": gettext_lazy("顺序"),
}
Compare = Callable[[str, str], tuple[list[dict[str, Any]], list[dict[str, Any]]]]


def describe_difference(
    old: Mapping[str, Any] | None, new: Mapping[str, Any], compare: Compare
) -> list[dict[str, Any]]:
    """The changes grouped by dimension: additions, what a dimension means, points and lines."""
    names = get_names()
    groups: dict[tuple[str, str], dict[str, Any]] = {}
    for change in services.describe_changes(old, new):
        is_points = change.kind == "changed" and change.part == "points"
        is_whole = is_points or not change.dimension
        key = ("points", "") if is_points else (change.kind, change.dimension)
        group = groups.setdefault(key, _new_group(change, is_points=is_points))
        if change.kind in ("added", "removed"):
            _describe_whole(group, change, compare, names)
        elif is_points:
            group["lines"].append({**_describe_part(change), "label": change.name})
        elif change.part == "formula":
            before, after = compare(str(change.old or ""), str(change.new or ""))
            group["old_formula"], group["new_formula"] = before, after
            group["sentence"] = _read_back(str(change.new or ""), names)
        elif change.kind == "moved":
            group["lines"].append({"label": _("检查项换了先后"), "old": None, "new": None})
        else:
            group["lines"].append(_describe_part(change))
        group["is_inline"] = is_whole
    if ("points", "") in groups:
        total = {"total": drafts.sum_points(new)}
        groups[("points", "")]["lines"].append(
            {"label": _("合计 %(total)s") % total, "old": None, "new": None}
        )
    return sorted(groups.values(), key=lambda group: group["rank"])


_RANKS = {"added": 0, "removed": 1, "changed": 2, "points": 3, "moved": 4}


def _new_group(change: Change, *, is_points: bool) -> dict[str, Any]:
    kind = "points" if is_points else change.kind
    return {
        "rank": _RANKS[kind],
        "label": _("分值") if is_points else _CHANGE_LABELS[kind],
        "name": "" if is_points else change.name or _("整套"),
        "lines": [],
        "sentence": "",
        "old_formula": None,
        "new_formula": None,
    }


def _describe_part(change: Change) -> dict[str, Any]:
    part = change.part.removeprefix("lines.")
    label = PART_LABELS.get(part) or (
        _("%(band)s线") % {"band": describe_band(part)} if part in BAND_LABELS else part
    )
    return {
        "label": _(label),
        "old": _say(part, change.old),
        "new": _say(part, change.new),
    }


def _say(part: str, value: Any) -> str:
    if value is None or value == "":
        return _("不封顶") if part == "cap" else _("无")
    if part == "source":
        return services.describe_source(str(value).split(","))
    words: Mapping[str, str] = POLICIES.get(part, {})
    return _(words[value]) if value in words else str(value)


def _describe_whole(group: dict[str, Any], change: Change, compare: Compare, names: Names) -> None:
    """A dimension that came or went, with everything a reviewer must know of it."""
    is_new = change.kind == "added"
    row = change.new if is_new else change.old
    side = "new" if is_new else "old"
    for part in ("points", "cap", "cause", "reason", *POLICIES, "source"):
        if part == "source" and not row.get("source"):
            continue
        line = {"label": _(PART_LABELS[part]), "old": None, "new": None}
        line[side] = _say(part, row.get(part))
        group["lines"].append(line)
    formula = str(row.get("formula") or "")
    if is_new:
        group["new_formula"] = compare("", formula)[1]
        group["sentence"] = _read_back(formula, names)
    else:
        group["old_formula"] = compare(formula, "")[0]


def _read_back(formula: str, names: Names) -> str:
    checked = check(formula, names)
    return sentence(checked) if checked.is_valid else ""


def count_waiting(version: Version) -> int:
    """Open orders whose score was not made by this version yet (one query)."""
    return Order.objects.filter(is_open=True).exclude(score__version_id=version.pk).count()


def name_preset(key: str) -> str:
    """The name of a shipped set; the key of one that is no longer shipped."""
    return next((_(p.name) for p in list_presets() if p.key == key), key)


# --- the list ---------------------------------------------------------------------------------


def count_failing() -> Counter[str]:
    """Open orders per dimension that fails now (one query over the unhealthy ones)."""
    counts: Counter[str] = Counter()
    rows = ScoreChange.objects.filter(until=None, order__is_open=True).exclude(failing=[])
    for keys in rows.values_list("failing", flat=True):
        counts.update(keys)
    return counts


def title_of(version: Version, compared: Version | None = None) -> str:
    """What a version is about: the dimensions it brings or changes."""
    before = compared or version.based_on
    content = before.content if before else {}
    old = {d["key"]: d for d in drafts.list_dimensions(content)}
    new = {d["key"]: d for d in drafts.list_dimensions(version.content)}
    added = [_name(d) for key, d in new.items() if key not in old]
    gone = [_name(d) for key, d in old.items() if key not in new]
    meant = [_name(d) for key, d in new.items() if key in old and _meaning(old[key]) != _meaning(d)]
    points = [d for key, d in new.items() if key in old and old[key].get("points") != d["points"]]
    parts = []
    if added:
        parts.append(_("新增%(names)s") % {"names": _join(added)})
    if meant:
        parts.append(_("改%(names)s") % {"names": _join(meant)})
    if gone:
        parts.append(_("删除%(names)s") % {"names": _join(gone)})
    if points:
        parts.append(_("分值重分"))
    if content.get("lines") != version.content.get("lines"):
        parts.append(_("改级别线"))
    return join_words(parts, BY_CLAUSE) or _("没有改动")


def _name(dimension: Mapping[str, Any]) -> str:
    return f"「{dimension.get('name') or _('未命名的检查')}」"


def _meaning(dimension: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in dimension.items() if k not in ("points", "stored")}


def _join(names: list[str]) -> str:
    if len(names) <= 3:
        return "".join(names)
    return _("%(names)s等 %(n)s 条") % {"names": "".join(names[:3]), "n": len(names)}
