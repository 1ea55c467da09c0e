"""What a rule set may contain: the check of its content, placeholders, and differences."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from config.errors import Phrase, gettext_noop, join_phrases
from rules_engine.facts.catalog import FACTS, SOURCE_LABELS
from rules_engine.formula import Fix, Names, check
from rules_engine.formula.costs import NOTHING
from rules_engine.formula.limits import MAX_RULE_SET_LOOKUPS, MAX_RULE_SET_WALKS

MAX_DIMENSIONS: Final = 60
MAX_NAME, MAX_CAUSE, MAX_REASON, MAX_PLACEHOLDERS = 40, 20, 300, 12
FULL: Final = 100_00

KINDS: Final = {"judgement": gettext_noop("判断"), "points": gettext_noop("计分")}
INSUFFICIENT: Final = {
    "no_points": gettext_noop("不得分，请人看"),
    "no_deduction": gettext_noop("不扣分"),
    "fail": gettext_noop("按不通过"),
}
NOT_APPLICABLE: Final = {
    "full": gettext_noop("不扣分"),
    "rescale": gettext_noop("不计入，其余折算"),
}
LINE_LABELS: Final = {
    "yellow": gettext_noop("黄线"),
    "orange": gettext_noop("橙线"),
    "red": gettext_noop("红线"),
}
DEFAULT_LINES: Final = {"yellow": 70, "orange": 60, "red": 50}
_KEY: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,39}")
_PERSONAL: Final = frozenset(fact.id for fact in FACTS if fact.is_personal)


@dataclass(frozen=True)
class Problem:
    """Something wrong with a draft. `dimension` is its key ("" for the whole set), `number` its
    place from 1; `part` the entry; `start`/`end` count characters of the formula or reason."""

    dimension: str
    part: str
    phrase: Phrase
    number: int = 0
    label: str = ""
    start: int | None = None
    end: int | None = None
    refuses: bool = True
    fix: Fix | None = None

    @property
    def text(self) -> str:
        """The phrase in Chinese."""
        return str(self.phrase)

    @property
    def placed(self) -> Phrase:
        """The phrase with its place in front."""
        if not self.number:
            return self.phrase
        return Phrase(
            gettext_noop("第 %(number)d 项「%(label)s」：%(text)s"),
            {
                "number": self.number,
                "label": self.label or self.dimension,
                "text": self.phrase,
            },
        )

    @property
    def sentence(self) -> str:
        """The Chinese text with its place in front."""
        return str(self.placed)


# --- small readers --------------------------------------------------------------------------------


def _number(value: Any) -> Decimal | None:
    """A finite number of sane size, or None; bools and texts are not numbers."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if abs(value) > 1_000_000:
        return None
    return Decimal(repr(value))


def _hundredths(value: Any) -> int | None:
    """A number with at most two decimals as hundredths, else None."""
    number = _number(value)
    if number is None or number * 100 != (number * 100).to_integral_value():
        return None
    return int(number * 100)


def _plain(value: Decimal | int) -> int | float:
    """As a person writes it: 20, 12.5."""
    whole = int(value)
    return whole if whole == value else float(value)


def _phrase(said: Phrase | str) -> Phrase:
    return said if isinstance(said, Phrase) else Phrase(said)


def _show(value: Any) -> Phrase | str:
    if value is None:
        return Phrase(gettext_noop("空"))
    text = str(value)
    return text if len(text) <= 20 else text[:20] + "…"


def _check_text(value: Any, limit: int) -> Phrase | None:
    """What is wrong with a short text, or None. Length counts characters; nothing invisible."""
    if not isinstance(value, str) or not value.strip():
        return Phrase(gettext_noop("请填写"))
    if len(value.strip()) > limit:
        return Phrase(
            gettext_noop("最多 %(limit)d 个字，现在 %(count)d 个"),
            {
                "limit": limit,
                "count": len(value.strip()),
            },
        )
    if has_hidden(value):
        return Phrase(gettext_noop("含有看不见的控制字符，请删除后重新输入"))
    return None


def has_hidden(text: str) -> bool:
    """Whether a text has control, direction, private or unassigned characters.

    A joiner inside an emoji is not hidden.
    """
    return any(
        unicodedata.category(c) in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"} and c != "\u200d"
        for c in text
    )


def read_placeholders(template: str) -> Iterator[tuple[str, bool]]:
    """Cut a reason into (text, is placeholder); {{ and }} stand for braces."""
    position, buffer = 0, ""
    while position < len(template):
        two = template[position : position + 2]
        if two in ("{{", "}}"):
            buffer, position = buffer + two[0], position + 2
        elif template[position] == "{" and "}" in template[position:]:
            end = template.index("}", position)
            if buffer:
                yield buffer, False
            yield template[position + 1 : end], True
            buffer, position = "", end + 1
        else:
            buffer, position = buffer + template[position], position + 1
    if buffer:
        yield buffer, False


# --- the check ------------------------------------------------------------------------------------


class _Check:
    def __init__(self, names: Names) -> None:
        self.names = names
        self.problems: list[Problem] = []
        self.demand = NOTHING  # of all formulas together

    def note(self, part: str, said: Phrase | str, **more: Any) -> None:
        self.problems.append(Problem("", part, _phrase(said), **more))

    def rule_set(self, content: Any) -> dict[str, Any]:
        if not isinstance(content, Mapping):
            self.note("name", gettext_noop("规则集的内容应是名称、级别线和检查项"))
            return {}
        wrong = _check_text(content.get("name"), MAX_NAME)
        if wrong:
            self.note("name", Phrase(gettext_noop("规则集名称：%(wrong)s"), {"wrong": wrong}))
        clean: dict[str, Any] = {
            "name": str(content.get("name") or "").strip(),
            "lines": self.lines(content.get("lines", DEFAULT_LINES)),
        }
        rows = content.get("dimensions")
        if not isinstance(rows, list) or not rows:
            self.note("dimensions", gettext_noop("至少要有一个检查项"))
            rows = []
        if len(rows) > MAX_DIMENSIONS:
            self.note(
                "dimensions",
                Phrase(
                    gettext_noop("检查项最多 %(limit)d 个，现在 %(count)d 个"),
                    {"limit": MAX_DIMENSIONS, "count": len(rows)},
                ),
            )
            rows = rows[:MAX_DIMENSIONS]
        seen: dict[str, int] = {}
        seen_names: dict[str, int] = {}
        clean["dimensions"] = [
            _CheckDimension(self, number, row, seen, seen_names).run()
            for number, row in enumerate(rows, 1)
        ]
        self.total(clean["dimensions"])
        self.cost()
        return clean

    def cost(self) -> None:
        """Every order pays for all formulas: look-ups and walks are bounded together as well."""
        for count, limit, what in (
            (self.demand.lookups, MAX_RULE_SET_LOOKUPS, gettext_noop("查表")),
            (self.demand.walks, MAX_RULE_SET_WALKS, gettext_noop("遍历关联订单或历史")),
        ):
            if count > limit:
                self.note(
                    "dimensions",
                    Phrase(
                        gettext_noop(
                            "全部检查项一共最多%(what)s %(limit)d 次，现在是 %(count)d 次"
                        ),
                        {"what": Phrase(what), "limit": limit, "count": count},
                    ),
                )

    def lines(self, lines: Any) -> dict[str, int | float]:
        if not isinstance(lines, Mapping):
            self.note("lines", gettext_noop("级别线应有黄线、橙线、红线三个数字"))
            return dict(DEFAULT_LINES)
        values: dict[str, int] = {}
        for key, label in LINE_LABELS.items():
            value = _hundredths(lines.get(key))
            if value is None:
                self.note(
                    "lines",
                    Phrase(
                        gettext_noop(
                            "%(label)s应是 0 到 100 之间、最多两位小数的数字，现在是「%(value)s」"
                        ),
                        {"label": Phrase(label), "value": _show(lines.get(key))},
                    ),
                )
            else:
                values[key] = value
        if len(values) == 3 and not FULL > values["yellow"] > values["orange"] > values["red"] >= 0:
            self.note(
                "lines",
                Phrase(
                    gettext_noop("级别线要满足 100 > 黄线 > 橙线 > 红线 ≥ 0，现在是 %(lines)s"),
                    {"lines": "、".join(str(lines.get(key)) for key in LINE_LABELS)},
                ),
            )
        return {k: _plain(Decimal(v) / 100) for k, v in values.items()} or dict(DEFAULT_LINES)

    def total(self, dimensions: Sequence[Mapping[str, Any]]) -> None:
        if not dimensions or any(p.part in {"points", "dimensions"} for p in self.problems):
            return  # said already, dimension by dimension
        total = sum(_hundredths(item["points"]) or 0 for item in dimensions)
        if total != FULL:
            self.note(
                "sum",
                Phrase(
                    gettext_noop("各检查项分值之和应是 100，现在是 %(total)s，%(advice)s"),
                    {
                        "total": _plain(Decimal(total) / 100),
                        "advice": (
                            Phrase(
                                gettext_noop("还差 %(points)s")
                                if total < FULL
                                else gettext_noop("多了 %(points)s"),
                                {"points": _plain(Decimal(abs(FULL - total)) / 100)},
                            )
                        ),
                    },
                ),
            )


class _CheckDimension:
    def __init__(
        self, owner: _Check, number: int, row: Any, seen: dict[str, int], names: dict[str, int]
    ) -> None:
        self.owner, self.number, self.seen, self.seen_names = owner, number, seen, names
        self.row: Mapping[str, Any] = row if isinstance(row, Mapping) else {}
        self.is_mapping = isinstance(row, Mapping)
        self.key = str(self.row.get("key") or "")[:40]
        self.label = str(self.row.get("name") or self.key or "").strip()[:MAX_NAME]

    def note(self, part: str, said: Phrase | str, **more: Any) -> None:
        self.owner.problems.append(
            Problem(self.key, part, _phrase(said), number=self.number, label=self.label, **more)
        )

    def run(self) -> dict[str, Any]:
        if not self.is_mapping:
            self.note("formula", gettext_noop("检查项应有名称、公式和分值"))
        self.check_identity()
        kind = self.choice("kind", KINDS, "judgement", gettext_noop("类型"))
        formula, stored = self.check_formula(kind)
        points = self.check_points()
        clean = {
            "key": self.key,
            "name": self.label,
            "formula": formula,
            "stored": stored,
            "kind": kind,
            "points": points,
            "cap": self.check_cap(),
            "when_insufficient": self.choice(
                "when_insufficient", INSUFFICIENT, "no_points", gettext_noop("数据不足时")
            ),
            "when_late": self.choice(
                "when_late", INSUFFICIENT, "no_deduction", gettext_noop("来源滞后时")
            ),
            "when_not_applicable": self.choice(
                "when_not_applicable", NOT_APPLICABLE, "full", gettext_noop("不适用时")
            ),
            "reason": self.check_reason(),
            "cause": self.check_cause(),
            "source": self.check_source(),
        }
        note = self.row.get("note")
        if isinstance(note, str) and note.strip():
            clean["note"] = note.strip()[:500]
        return clean

    def check_identity(self) -> None:
        if not _KEY.fullmatch(str(self.row.get("key") or "")):
            self.note(
                "key", gettext_noop("英文编号应以字母开头，只含字母、数字和下划线，最多 40 个")
            )
        elif self.key.lower() in self.seen:
            self.note(
                "key",
                Phrase(
                    gettext_noop("英文编号与第 %(other)d 项重复"),
                    {"other": self.seen[self.key.lower()]},
                ),
            )
        self.seen.setdefault(self.key.lower(), self.number)
        wrong = _check_text(self.row.get("name"), MAX_NAME)
        if wrong:
            self.note("name", Phrase(gettext_noop("名称：%(wrong)s"), {"wrong": wrong}))
        elif self.label in self.seen_names:
            self.note(
                "name",
                Phrase(
                    gettext_noop("名称与第 %(other)d 项重复"),
                    {"other": self.seen_names[self.label]},
                ),
            )
        self.seen_names.setdefault(self.label, self.number)

    def choice(self, part: str, options: Mapping[str, str], default: str, label: str) -> str:
        value = self.row.get(part, default)
        if isinstance(value, str) and value in options:
            return value
        self.note(
            part,
            Phrase(
                gettext_noop("%(label)s不能是「%(value)s」，请从 %(options)s 中选择"),
                {
                    "label": Phrase(label),
                    "value": _show(value),
                    "options": join_phrases(map(Phrase, options.values())),
                },
            ),
        )
        return default

    def check_formula(self, kind: str) -> tuple[str, str]:
        typed, stored = self.row.get("formula"), self.row.get("stored")
        text = typed if isinstance(typed, str) and typed.strip() else stored
        if not isinstance(text, str) or not text.strip():
            self.note("formula", gettext_noop("请写公式"))
            return "", ""
        checked = check(text, self.owner.names, kind="points" if kind == "points" else "judgement")
        self.owner.demand += checked.demand
        for finding in checked.findings:
            self.note(
                "formula",
                finding.phrase,
                start=finding.start,
                end=finding.end,
                refuses=finding.refuses,
                fix=finding.fix,
            )
        return text, checked.stored if checked.is_valid else ""

    def check_points(self) -> int | float:
        value = self.row.get("points")
        points = _hundredths(value)
        if points is None or not 0 <= points <= FULL:
            self.note(
                "points",
                Phrase(
                    gettext_noop("分值应是 0 到 100 之间、最多两位小数的数字，现在是「%(value)s」"),
                    {"value": _show(value)},
                ),
            )
            return 0
        if points == 0 and self.row.get("cap") is None:
            self.note("points", gettext_noop("分值为 0 又没有封顶，这一项不起作用"))
        return _plain(Decimal(points) / 100)

    def check_cap(self) -> int | float | None:
        value = self.row.get("cap")
        if value is None or value == "":
            return None
        cap = _hundredths(value)
        if cap is None or not 0 <= cap <= FULL:
            self.note(
                "cap",
                Phrase(
                    gettext_noop("封顶应是 0 到 100 之间的数字，或留空不封顶，现在是「%(value)s」"),
                    {"value": _show(value)},
                ),
            )
            return None
        return _plain(Decimal(cap) / 100)

    def check_reason(self) -> str:
        value = self.row.get("reason", "")
        if not isinstance(value, str):
            self.note("reason", gettext_noop("原因说明应是文字"))
            return ""
        value = value.strip()
        if len(value) > MAX_REASON:
            self.note(
                "reason",
                Phrase(
                    gettext_noop("原因说明最多 %(limit)d 个字，现在 %(count)d 个"),
                    {"limit": MAX_REASON, "count": len(value)},
                ),
            )
        if has_hidden(value):
            self.note("reason", gettext_noop("原因说明含有看不见的控制字符，请删除后重新输入"))
        placeholders = [text for text, is_one in read_placeholders(value) if is_one]
        if len(placeholders) > MAX_PLACEHOLDERS:
            self.note(
                "reason",
                Phrase(
                    gettext_noop("原因说明里的占位太多，最多 %(limit)d 个"),
                    {"limit": MAX_PLACEHOLDERS},
                ),
            )
        for text in placeholders[:MAX_PLACEHOLDERS]:
            self.check_placeholder(value, text)
        return value[:MAX_REASON]

    def check_placeholder(self, template: str, text: str) -> None:
        checked = check(text, self.owner.names, kind="any")
        start = template.find("{" + text + "}")
        where = {"start": start, "end": start + len(text) + 2} if start >= 0 else {}
        refusals = [finding for finding in checked.findings if finding.refuses]
        if refusals:
            self.note(
                "reason",
                Phrase(
                    gettext_noop("占位 {%(text)s} 不能用：%(why)s"),
                    {"text": _show(text), "why": refusals[0].phrase},
                ),
                **where,
            )
        elif not checked.field_ids.isdisjoint(_PERSONAL):
            self.note(
                "reason",
                Phrase(
                    gettext_noop("占位 {%(text)s} 含个人信息，不能写进原因"), {"text": _show(text)}
                ),
                **where,
            )

    def check_cause(self) -> str:
        value = self.row.get("cause") or self.label
        wrong = _check_text(value, MAX_CAUSE) if self.label or self.row.get("cause") else None
        if wrong:
            self.note("cause", Phrase(gettext_noop("归因：%(wrong)s"), {"wrong": wrong}))
        return str(value).strip()[:MAX_CAUSE]

    def check_source(self) -> str:
        value = self.row.get("source") or ""
        kinds = (
            [s.strip() for s in value.split(",") if s.strip()] if isinstance(value, str) else ["?"]
        )
        unknown = [kind for kind in kinds if kind not in SOURCE_LABELS]
        if unknown:
            self.note(
                "source",
                Phrase(
                    gettext_noop("所需来源「%(value)s」不认识，可选 %(options)s"),
                    {"value": _show(value), "options": "、".join(SOURCE_LABELS)},
                ),
            )
            return ""
        return ",".join(kinds)


def check_content(content: Any, names: Names) -> tuple[dict[str, Any], list[Problem]]:
    """The clean content as far as it can be read, and every problem, in reading order."""
    checker = _Check(names)
    clean = checker.rule_set(content)
    return clean, checker.problems


def lines_of(content: Mapping[str, Any]) -> dict[str, int]:
    """The lines of a clean content in hundredths."""
    return {key: int(Decimal(repr(content["lines"][key])) * 100) for key in LINE_LABELS}


def weight_values(item: Mapping[str, Any]) -> tuple[int, int | None]:
    """Points and cap of a clean dimension in hundredths."""
    cap = item["cap"]
    return (
        int(Decimal(repr(item["points"])) * 100),
        None if cap is None else int(Decimal(repr(cap)) * 100),
    )


# --- differences ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Change:
    """One difference between two contents, with a sentence for the reviewer."""

    kind: str  # added, removed, changed, moved
    dimension: str
    name: str
    part: str
    old: Any
    new: Any
    sentence: str


PART_LABELS: Final = {
    "name": gettext_noop("名称"),
    "formula": gettext_noop("公式"),
    "kind": gettext_noop("类型"),
    "points": gettext_noop("分值"),
    "cap": gettext_noop("封顶"),
    "when_insufficient": gettext_noop("数据不足时"),
    "when_late": gettext_noop("来源滞后时"),
    "when_not_applicable": gettext_noop("不适用时"),
    "reason": gettext_noop("原因说明"),
    "cause": gettext_noop("归因"),
    "source": gettext_noop("所需来源"),
    "note": gettext_noop("说明"),
}
_WORDS: Final[dict[str, Mapping[str, str]]] = {
    "kind": KINDS,
    "when_insufficient": INSUFFICIENT,
    "when_late": INSUFFICIENT,
    "when_not_applicable": NOT_APPLICABLE,
    "source": SOURCE_LABELS,
}


def _say(part: str, value: Any) -> str:
    if value is None or value == "":
        return "无" if part != "cap" else "不封顶"
    return _WORDS.get(part, {}).get(str(value), str(value))


def _rows(content: Mapping[str, Any] | None) -> dict[str, Mapping[str, Any]]:
    rows = (content or {}).get("dimensions")
    return {
        str(row.get("key")): row
        for row in (rows if isinstance(rows, list) else [])
        if isinstance(row, Mapping)
    }


def _is_same(part: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    if part == "formula" and old.get("stored") and new.get("stored"):
        return bool(old["stored"] == new["stored"])
    return (old.get(part) or None) == (new.get(part) or None)


def describe_content_changes(
    old: Mapping[str, Any] | None, new: Mapping[str, Any]
) -> Iterator[Change]:
    """Differences in the order of the new content, removals last."""
    if old is not None and old.get("name") != new.get("name"):
        yield Change("changed", "", "", "name", old.get("name"), new.get("name"),
                     f"规则集名称：「{old.get('name')}」→「{new.get('name')}」")  # fmt: skip
    before, after = (old or {}).get("lines") or {}, new.get("lines") or {}
    for key, label in LINE_LABELS.items():
        if old is not None and before.get(key) != after.get(key):
            yield Change("changed", "", "", f"lines.{key}", before.get(key), after.get(key),
                         f"{label}：{before.get(key)} → {after.get(key)}")  # fmt: skip
    old_rows, new_rows = _rows(old), _rows(new)
    for key, row in new_rows.items():
        name = str(row.get("name") or key)
        if key not in old_rows:
            cap = row.get("cap")
            tail = f"，封顶 {cap}" if cap is not None else ""
            yield Change("added", key, name, "", None, dict(row),
                         f"新增「{name}」：{_say('kind', row.get('kind'))} {row.get('points')} 分{tail}，公式 {row.get('formula')}")  # fmt: skip
            continue
        for part, label in PART_LABELS.items():
            previous = old_rows[key]
            if not _is_same(part, previous, row):
                yield Change("changed", key, name, part, previous.get(part), row.get(part),
                             f"「{name}」{label}：{_say(part, previous.get(part))} → {_say(part, row.get(part))}")  # fmt: skip
    for key, row in old_rows.items():
        if key not in new_rows:
            name = str(row.get("name") or key)
            yield Change("removed", key, name, "", dict(row), None,
                         f"删除「{name}」（{row.get('points')} 分）")  # fmt: skip
    shared_old = [key for key in old_rows if key in new_rows]
    shared_new = [key for key in new_rows if key in old_rows]
    if shared_old != shared_new:
        yield Change("moved", "", "", "order", shared_old, shared_new, "检查项的顺序有变化")
