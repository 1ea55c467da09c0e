"""Paths into a JSON answer, as data: `data.orders`, `logs[0].time`, `["a.b"].c`. Pure.

A path is read here and walked here; nothing of it is ever run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from config.errors import BadInput, Phrase, gettext_noop
from connectors.wire.reading import name_kind

Step = str | int
Path = tuple[Step, ...]

MAX_STEPS = 12
MAX_PATH = 200
MAX_DEPTH = 30  # of an answer: deeper ones are refused
MAX_FIELDS = 400  # shown of a sample
_NAME = re.compile(r"[^.\[\]\"\x00-\x1f]{1,80}")
_INDEX = re.compile(r"\[(\d{1,4})\]")
_QUOTED = re.compile(r'\[("(?:[^"\\\x00-\x1f]|\\.){0,80}")\]')


class _Missing:
    """Nothing is there."""

    def __bool__(self) -> bool:
        return False


MISSING: Final = _Missing()


def parse_path(text: str) -> Path:
    """The steps of a path; an empty text is the answer itself.

    Raises BadInput saying where it cannot be read.
    """
    text = text.strip()
    steps: list[Step] = []
    position, wants_dot = 0, False
    while position < len(text):
        rest = text[position:]
        if rest.startswith("."):
            if not wants_dot:
                raise _refuse(text, position)
            position, wants_dot = position + 1, False
            continue
        if match := _INDEX.match(rest):
            steps.append(int(match.group(1)))
        elif match := _QUOTED.match(rest):
            steps.append(_unquote(match.group(1), text, position))
        elif not wants_dot and (match := _NAME.match(rest)):
            steps.append(match.group(0))
        else:
            raise _refuse(text, position)
        position, wants_dot = position + match.end(), True
    if text.endswith(".") or len(steps) > MAX_STEPS or len(text) > MAX_PATH:
        raise _refuse(text, len(text))
    return tuple(steps)


def _unquote(quoted: str, text: str, position: int) -> str:
    try:
        return str(json.loads(quoted))
    except ValueError as error:
        raise _refuse(text, position) from error


def _refuse(text: str, position: int) -> BadInput:
    return BadInput(
        gettext_noop(
            "路径「%(path)s」第 %(position)d 个字符起读不懂：应写成 data.orders 或 logs[0].time 的样子"
        ),
        code="bad_path",
        path=text[:60],
        position=position + 1,
    )


def write_path(steps: Path) -> str:
    """The text of a path; the inverse of `parse_path`."""
    text = ""
    for step in steps:
        if isinstance(step, int):
            text += f"[{step}]"
        elif _NAME.fullmatch(step) and step == step.strip():
            text += f".{step}" if text else step
        else:
            text += f"[{json.dumps(step, ensure_ascii=False)}]"
    return text


def find(value: object, path: Path) -> object:
    """What stands at a path, or MISSING."""
    for step in path:
        if isinstance(step, int):
            if not isinstance(value, list) or step >= len(value):
                return MISSING
            value = value[step]
        else:
            if not isinstance(value, Mapping) or step not in value:
                return MISSING
            value = value[step]
    return value


def check_depth(value: object) -> None:
    """Raise BadInput for an answer nested deeper than any OMS means it."""
    level: list[object] = [value]
    for _ in range(MAX_DEPTH):
        inner: list[object] = []
        for item in level:
            if isinstance(item, Mapping):
                inner.extend(v for v in item.values() if isinstance(v, Mapping | list))
            elif isinstance(item, list):
                inner.extend(v for v in item if isinstance(v, Mapping | list))
        if not inner:
            return
        level = inner
    raise BadInput(
        gettext_noop("应答嵌套超过 %(depth)d 层，读不下去：请确认接口地址"),
        code="too_deep",
        depth=MAX_DEPTH,
    )


# -- a sample for picking ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SampleField:
    """One place in a sample answer: its path, what stood there (masked), its kind in words."""

    path: str
    example: str | Phrase
    kind: str  # Chinese, of connectors.wire.reading.name_kind


def flatten_sample(answer: object) -> list[SampleField]:
    """Every place in an answer, in its order; of a list its first element stands for all.

    At most MAX_FIELDS places and MAX_STEPS steps; what may be personal is masked.
    """
    found: list[SampleField] = []
    for steps, value in _walk(answer, ()):
        if len(found) >= MAX_FIELDS:
            break
        found.append(SampleField(write_path(steps), _show(steps, value), name_kind(value)))
    return found


def _walk(value: object, steps: Path) -> Iterator[tuple[Path, object]]:
    if steps or isinstance(value, list):
        yield steps, value
    if len(steps) >= MAX_STEPS:
        return
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _walk(item, (*steps, str(key)))
    elif isinstance(value, list) and value:
        yield from _walk(value[0], (*steps, 0))


def _show(steps: Path, value: object) -> str | Phrase:
    if isinstance(value, list):
        return Phrase(gettext_noop("%(n)d 条"), {"n": len(value)})
    if isinstance(value, Mapping):
        return Phrase(gettext_noop("%(n)d 个字段"), {"n": len(value)})
    names = [step for step in steps if isinstance(step, str)]
    return mask_scalar(names[-1] if names else "", value)


# -- masking -----------------------------------------------------------------------------------

# A value is shown when its form says that it is nobody's: a time, a state, a number of an order.
_HARMLESS = re.compile(r"[A-Za-z0-9_.:+\-/ ]{1,64}", re.ASCII)
_PHONE = re.compile(r"(?<!\d)(?:\+?86)?1[3-9]\d{9}(?!\d)")
_LONG_SECRET = re.compile(r"[A-Za-z0-9_\-]{40,}")
_PRIVATE = re.compile(
    r"name|nick|phone|mobile|tel|addr|receiver|consignee|contact|buyer|member|user|mail|idcard"
    r"|id_card|token|secret|password|passwd|sign|session|cookie|credential|remark|memo|note|zip",
    re.IGNORECASE,
)


def mask_scalar(name: str, value: object) -> str:
    """A single value as it may be shown to somebody who connects a system."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = format(value, "f") if isinstance(value, Decimal) else str(value)
    is_plain = bool(_HARMLESS.fullmatch(text)) and not _PHONE.search(text)
    if is_plain and not _PRIVATE.search(name) and not _LONG_SECRET.search(text):
        return text
    return f"{text[:1]}***" if text else ""


def mask_answer(value: object, *, name: str = "", rows: int = 3) -> object:
    """An answer as it may be shown: the same structure, of long lists the first `rows`."""
    if isinstance(value, Mapping):
        return {str(k): mask_answer(v, name=str(k), rows=rows) for k, v in value.items()}
    if isinstance(value, list):
        return [mask_answer(v, name=name, rows=rows) for v in value[:rows]]
    if value is None or isinstance(value, bool):
        return value
    shown = mask_scalar(name, value)
    return value if isinstance(value, int) and shown == str(value) else shown
