"""What a canvas is: boxes for nodes of the river, lines between them, and what must hold.

Content: {"nodes": [{"id", "node", "x", "y", "label"}], "edges": [{"source", "target"}]}. `node` is
one of the twelve codes, or empty for a step of the people's own, which carries no figures.
`clean_shape` is enough for a draft (half-drawn work may be saved); `check_canvas` guards submission.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from config.errors import BadInput, Phrase, gettext_noop, join_phrases
from connectors.orders.nodes import DEFAULT_NODES, NODE_CODES, Node

MAX_NODES = 60
MAX_EDGES = 200
MAX_LABEL = 12
MAX_COORDINATE = 20_000
_ID = re.compile(r"[A-Za-z0-9_-]{1,40}\Z")

# The default drawing bends like a river: three boxes a row, every other row runs back.
_COLUMNS, _STEP_X, _STEP_Y, _FIRST_X, _FIRST_Y = 3, 230, 148, 110, 70


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a drawing: a Chinese template, its values, the boxes it is about."""

    code: str
    message: str
    params: dict[str, Any]
    ids: tuple[str, ...] = ()


def default_canvas(nodes: Sequence[Node] = DEFAULT_NODES) -> dict[str, Any]:
    """The twelve nodes in river order, each connected to the next."""
    boxes = []
    for place, node in enumerate(nodes):
        row, column = divmod(place, _COLUMNS)
        column = column if row % 2 == 0 else _COLUMNS - 1 - column
        boxes.append(
            {
                "id": node.code,
                "node": node.code,
                "x": _FIRST_X + column * _STEP_X,
                "y": _FIRST_Y + row * _STEP_Y,
                "label": node.label,
            }
        )
    lines = [
        {"source": here["id"], "target": there["id"]}
        for here, there in zip(boxes, boxes[1:], strict=False)
    ]
    return {"nodes": boxes, "edges": lines}


def clean_shape(content: Any) -> dict[str, Any]:
    """The content with nothing but what a canvas has; raises BadInput when it is not one."""
    if not isinstance(content, Mapping):
        raise BadInput(gettext_noop("画布内容应包含 nodes 和 edges"), code="bad_canvas")
    boxes, lines = content.get("nodes"), content.get("edges")
    if not isinstance(boxes, list) or not isinstance(lines, list):
        raise BadInput(gettext_noop("画布内容应包含 nodes 和 edges"), code="bad_canvas")
    if len(boxes) > MAX_NODES or len(lines) > MAX_EDGES:
        raise BadInput(
            gettext_noop("一张画布最多 %(nodes)s 个节点、%(edges)s 条连线"),
            code="canvas_too_large",
            nodes=MAX_NODES,
            edges=MAX_EDGES,
        )
    clean_boxes = [_clean_box(number, box) for number, box in enumerate(boxes, 1)]
    ids = Counter(box["id"] for box in clean_boxes)
    twice = next((i for i, n in ids.items() if n > 1), None)
    if twice is not None:
        raise BadInput(gettext_noop("节点编号「%(id)s」重复"), code="bad_canvas", id=twice)
    clean_lines = [_clean_line(number, line, ids) for number, line in enumerate(lines, 1)]
    return {"nodes": clean_boxes, "edges": clean_lines}


def _clean_box(number: int, box: Any) -> dict[str, Any]:
    if not isinstance(box, Mapping) or not _ID.match(str(box.get("id", ""))):
        raise BadInput(gettext_noop("第 %(n)s 个节点没有有效编号"), code="bad_canvas", n=number)
    code = box.get("node", "")
    if code != "" and code not in NODE_CODES:
        raise BadInput(
            gettext_noop("第 %(n)s 个节点「%(name)s」不是十二个节点之一"),
            code="bad_canvas",
            n=number,
            name=str(code)[:40],
        )
    return {
        "id": str(box["id"]),
        "node": code,
        "x": _clean_coordinate(number, box.get("x")),
        "y": _clean_coordinate(number, box.get("y")),
        "label": _clean_label(box.get("label", "")),
    }


def _clean_label(value: Any) -> str:
    """One line of printable characters (PostgreSQL refuses NUL and half surrogates)."""
    text = "".join(c for c in str(value)[:200] if c.isprintable() or c.isspace())
    return " ".join(text.split())[:40]


def _clean_coordinate(number: int, value: Any) -> int:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not abs(value) <= MAX_COORDINATE:  # so written, NaN is refused too
        raise BadInput(
            gettext_noop("第 %(n)s 个节点的位置应是 ±%(max)s 以内的数"),
            code="bad_canvas",
            n=number,
            max=MAX_COORDINATE,
        )
    return round(value)


def _clean_line(number: int, line: Any, ids: Mapping[str, int]) -> dict[str, str]:
    ends = [line.get(end) for end in ("source", "target")] if isinstance(line, Mapping) else []
    source, target = (str(end) for end in ends) if ends else ("", "")
    if source not in ids or target not in ids:
        raise BadInput(gettext_noop("第 %(n)s 条连线的一端不在画布上"), code="bad_canvas", n=number)
    return {"source": source, "target": target}


def list_problems(content: Mapping[str, Any]) -> list[Problem]:
    """Everything that keeps a drawing (of clean shape) from being submitted, all at once."""
    boxes, lines = content["nodes"], content["edges"]
    if not boxes:
        return [Problem("empty", gettext_noop("画布上还没有节点，请先加入一个"), {})]
    labels = {box["id"]: box["label"] or box["id"] for box in boxes}
    return [
        *_label_problems(boxes),
        *_line_problems(lines, labels),
        *_flow_problems(boxes, lines, labels),
    ]


def _label_problems(boxes: Sequence[Mapping[str, Any]]) -> list[Problem]:
    problems = []
    for number, box in enumerate(boxes, 1):
        if not 1 <= len(box["label"]) <= MAX_LABEL:
            problems.append(
                Problem(
                    "bad_label",
                    gettext_noop("第 %(n)s 个节点的名称应为 1–%(max)s 个字，现在是「%(label)s」"),
                    {"n": number, "max": MAX_LABEL, "label": box["label"]},
                    (box["id"],),
                )
            )
    by_code: dict[str, list[Mapping[str, Any]]] = {}
    for box in boxes:
        if box["node"]:
            by_code.setdefault(box["node"], []).append(box)
    for same in by_code.values():
        if len(same) > 1:
            problems.append(
                Problem(
                    "node_twice",
                    gettext_noop("「%(label)s」画了 %(count)s 次，只留一个，否则订单会被数两遍"),
                    {"label": same[0]["label"], "count": len(same)},
                    tuple(box["id"] for box in same),
                )
            )
    return problems


def _line_problems(lines: Sequence[Mapping[str, str]], labels: Mapping[str, str]) -> list[Problem]:
    problems = []
    counts = Counter((line["source"], line["target"]) for line in lines)
    for (source, target), count in counts.items():
        if source == target:
            problems.append(
                Problem(
                    "self_loop",
                    gettext_noop("「%(label)s」连到了自己，请删去这条连线"),
                    {"label": labels[source]},
                    (source,),
                )
            )
        elif count > 1:
            problems.append(
                Problem(
                    "line_twice",
                    gettext_noop("「%(source)s → %(target)s」连了 %(count)s 次，请只留一条"),
                    {"source": labels[source], "target": labels[target], "count": count},
                    (source, target),
                )
            )
    return problems


def _flow_problems(
    boxes: Sequence[Mapping[str, Any]],
    lines: Sequence[Mapping[str, str]],
    labels: Mapping[str, str],
) -> list[Problem]:
    """A flow starts somewhere, and everything on it can be reached from a start."""
    if len(boxes) == 1:
        return []
    following: dict[str, list[str]] = {box["id"]: [] for box in boxes}
    entered: set[str] = set()
    for line in lines:
        if line["source"] != line["target"]:
            following[line["source"]].append(line["target"])
            entered.add(line["target"])
    alone = [i for i, out in following.items() if not out and i not in entered]
    problems = [
        Problem(
            "unconnected",
            gettext_noop("「%(label)s」没有连线，请连到上一步或下一步，或删去它"),
            {"label": labels[i]},
            (i,),
        )
        for i in alone
    ]
    starts = [i for i in following if i not in entered and i not in alone]
    if not starts:
        if len(alone) < len(boxes):
            problems.append(
                Problem(
                    "no_start",
                    gettext_noop("找不到起点：每个节点都有进来的连线，请让第一步没有进来的连线"),
                    {},
                )
            )
        return problems
    pieces = _list_pieces([i for i in following if i not in alone], lines)
    if len(pieces) > 1:
        return [
            *problems,
            Problem(
                "in_pieces",
                gettext_noop("流程断成了 %(count)s 段，分别从%(labels)s开始，请用连线接起来"),
                {
                    "count": len(pieces),
                    "labels": join_phrases(
                        Phrase(gettext_noop("「%(name)s」"), {"name": labels[piece[0]]})
                        for piece in pieces
                    ),
                },
                tuple(piece[0] for piece in pieces),
            ),
        ]
    reached, waiting = set(starts), list(starts)
    while waiting:
        for target in following[waiting.pop()]:
            if target not in reached:
                reached.add(target)
                waiting.append(target)
    problems += [
        Problem(
            "unreachable",
            gettext_noop("从起点走不到「%(label)s」，请补上通向它的连线"),
            {"label": labels[i]},
            (i,),
        )
        for i in following
        if i not in reached and i not in alone
    ]
    return problems


def _list_pieces(ids: Sequence[str], lines: Sequence[Mapping[str, str]]) -> list[list[str]]:
    """Boxes that hang together, whichever way the lines run; first drawn first."""
    piece_of = {i: [i] for i in ids}
    for line in lines:
        one, other = piece_of.get(line["source"]), piece_of.get(line["target"])
        if one is None or other is None or one is other:
            continue
        one.extend(other)
        for i in other:
            piece_of[i] = one
    place = {i: n for n, i in enumerate(ids)}
    pieces = {id(piece): sorted(piece, key=place.__getitem__) for piece in piece_of.values()}
    return sorted(pieces.values(), key=lambda piece: place[piece[0]])


def check_canvas(content: dict[str, Any]) -> dict[str, Any]:
    """The clean content; raises BadInput with the first problem when it cannot be submitted."""
    clean = clean_shape(content)
    problems = list_problems(clean)
    if problems:
        first = problems[0]
        raise BadInput(first.message, code=first.code, **first.params)
    return clean


def list_missing(content: Mapping[str, Any]) -> list[str]:
    """Codes of nodes that are not drawn, in river order: orders may stand there unseen."""
    drawn = {box["node"] for box in content["nodes"]}
    return [code for code in NODE_CODES if code not in drawn]


@dataclass(frozen=True, slots=True)
class Change:
    """One difference between two drawings, as a Chinese template and its values."""

    kind: str
    message: str
    params: dict[str, Any]


def describe_changes(old: Mapping[str, Any] | None, new: Mapping[str, Any]) -> list[Change]:
    """What a reviewer reads: boxes and lines that came, went, moved or were renamed."""
    before = {box["id"]: box for box in (old or {"nodes": []})["nodes"]}
    after = {box["id"]: box for box in new["nodes"]}
    changes = [
        Change("added", gettext_noop("新增节点「%(label)s」"), {"label": after[i]["label"]})
        for i in after
        if i not in before
    ]
    changes += [
        Change("removed", gettext_noop("删去节点「%(label)s」"), {"label": before[i]["label"]})
        for i in before
        if i not in after
    ]
    both = [i for i in after if i in before]
    changes += [
        Change(
            "renamed",
            gettext_noop("「%(old)s」改名为「%(new)s」"),
            {"old": before[i]["label"], "new": after[i]["label"]},
        )
        for i in both
        if before[i]["label"] != after[i]["label"]
    ]
    changes += _line_changes(old, new, before, after)
    moved = [i for i in both if any(before[i][axis] != after[i][axis] for axis in "xy")]
    if moved:
        changes.append(
            Change(
                "moved",
                gettext_noop("移动了 %(count)s 个节点：%(labels)s"),
                {"count": len(moved), "labels": join_phrases(after[i]["label"] for i in moved)},
            )
        )
    return changes


def _line_changes(
    old: Mapping[str, Any] | None,
    new: Mapping[str, Any],
    before: Mapping[str, Mapping[str, Any]],
    after: Mapping[str, Mapping[str, Any]],
) -> list[Change]:
    def name(i: str) -> str:
        return str((after.get(i) or before[i])["label"])

    was = [(e["source"], e["target"]) for e in (old or {"edges": []})["edges"]]
    now = [(e["source"], e["target"]) for e in new["edges"]]
    changes = []
    for kind, message, lines in (
        (
            "connected",
            gettext_noop("新增连线「%(source)s → %(target)s」"),
            [e for e in now if e not in was],
        ),
        (
            "disconnected",
            gettext_noop("删去连线「%(source)s → %(target)s」"),
            [e for e in was if e not in now],
        ),
    ):
        changes += [
            Change(kind, message, {"source": name(source), "target": name(target)})
            for source, target in lines
        ]
    return changes
