"""Golden payloads: `tests/payloads/<channel>/<case>.json` and what a mapping makes of them.

A case is `{"payload": ..., "options": {...}, "expected": {...}, "notices": [...]}`; `expected`
holds every field that differs from its default, times in ISO with +08:00.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import random
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from connectors.wire import Mapped, PayloadError, read_json

ROOT = Path(__file__).parent.parent / "payloads"


def list_cases(channel: str) -> list[str]:
    return sorted(path.stem for path in (ROOT / channel).glob("*.json"))


def load_case(channel: str, name: str) -> dict[str, Any]:
    case = read_json((ROOT / channel / f"{name}.json").read_bytes())
    assert isinstance(case, dict)
    return case


def write_record(record: Any) -> dict[str, Any]:
    """Every field of a record that differs from its default; `raw` is the payload and left out."""
    told = {}
    for field in dataclasses.fields(record):
        value = getattr(record, field.name)
        default = (
            field.default_factory()
            if field.default_factory is not dataclasses.MISSING
            else field.default
        )
        if field.name != "raw" and value != default:
            told[field.name] = _write_value(value)
    return told


def _write_value(value: Any) -> Any:
    if isinstance(value, datetime):
        assert value.utcoffset() == timedelta(hours=8)
        return value.isoformat()
    if isinstance(value, tuple):
        return [write_record(item) for item in value]
    return str(value) if isinstance(value, str) else value


def write_notices(mapped: Mapped[Any]) -> list[list[str]]:
    return [[n.code, n.field, n.value] for n in mapped.notices]


def find_keys(value: Any) -> set[str]:
    """Every key anywhere in a value, also inside JSON texts."""
    if isinstance(value, dict):
        return set(value).union(*(find_keys(item) for item in value.values()), set())
    if isinstance(value, list):
        return set().union(*(find_keys(item) for item in value), set())
    return set()


def walk(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of everything inside a value, itself included."""
    yield path
    if isinstance(value, dict):
        for key, item in value.items():
            yield from walk(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from walk(item, (*path, index))


DROP = object()


def mutate(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """A copy in which the thing at `path` is another, or gone (DROP)."""
    if not path:
        return {} if new is DROP else new
    changed = copy.deepcopy(value)
    holder = changed
    for step in path[:-1]:
        holder = holder[step]
    if new is DROP:
        del holder[path[-1]]
    else:
        holder[path[-1]] = new
    return changed


def check_mutation(map_it: Callable[[Any], Mapped[Any]], payload: Any) -> None:
    """A mapping yields a storable record or an error that names the field in Chinese."""
    mapped, error = _try(map_it, payload)
    if error is not None:
        assert "%(" not in error.text
        assert any("一" <= letter <= "鿿" for letter in error.text)
        assert isinstance(error.params["field"], str)
        assert error.params["field"]
        return
    assert mapped is not None
    content = write_record(mapped.record)
    # Storable: encodes, no NUL in what becomes a column, no float among the amounts.
    text = json.dumps(content, ensure_ascii=False)
    text.encode()
    assert "\\u0000" not in text
    assert not [key for key, item in content.items() if isinstance(item, float)]


def _try(
    map_it: Callable[[Any], Mapped[Any]], payload: Any
) -> tuple[Mapped[Any] | None, PayloadError | None]:
    try:
        return map_it(payload), None
    except PayloadError as error:
        return None, error


NASTY: tuple[Any, ...] = (
    DROP,
    None,
    True,
    0,
    -1,
    10**40,
    1.5,
    "",
    "甲",
    "\x00",
    "9" * 5000,
    "2025-13-99 00:00:00",
    [],
    {},
    [[]],
    [None],
    {"x": {"y": []}},
)


def list_mutations(payload: Any, *, seed: int, count: int) -> Iterator[Any]:
    """`count` payloads, each with one thing changed to something nasty; equal seeds, equal list."""
    chance, paths = random.Random(seed), list(walk(payload))  # noqa: S311 - no secret
    for _ in range(count):
        yield mutate(payload, chance.choice(paths), chance.choice(NASTY))
