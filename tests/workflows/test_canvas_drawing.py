"""What a canvas may be, and what a reviewer is told of a change."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import pytest
from django.utils.translation import override
from hypothesis import event, given
from hypothesis import strategies as st

from config.errors import BadInput
from config.wording import translate
from connectors.orders.nodes import NODE_CODES
from workflows.canvas.drawing import (
    MAX_COORDINATE,
    check_canvas,
    clean_shape,
    default_canvas,
    describe_changes,
    list_missing,
    list_problems,
)


def _box(i: str, node: str = "", label: str = "步骤", x: Any = 0, y: Any = 0) -> dict[str, Any]:
    return {"id": i, "node": node, "x": x, "y": y, "label": label}


def _canvas(*ids: str, lines: str = "") -> dict[str, Any]:
    """Boxes by id; lines as "ab bc"."""
    return {
        "nodes": [_box(i, label=f"步骤{i}") for i in ids],
        "edges": [{"source": line[0], "target": line[1]} for line in lines.split()],
    }


def _texts(content: dict[str, Any]) -> list[tuple[str, str]]:
    return [(p.code, p.message % p.params) for p in list_problems(content)]


def test_the_shipped_canvas_is_the_river() -> None:
    content = default_canvas()

    assert check_canvas(content) == content
    assert [box["node"] for box in content["nodes"]] == list(NODE_CODES)
    assert [(e["source"], e["target"]) for e in content["edges"]] == list(
        zip(NODE_CODES, NODE_CODES[1:], strict=False)
    )
    assert len({(box["x"], box["y"]) for box in content["nodes"]}) == 12
    assert list_missing(content) == []


@pytest.mark.parametrize(
    "content",
    [
        None,
        [],
        "x",
        {},
        {"nodes": {}, "edges": []},
        {"nodes": [], "edges": None},
        {"nodes": [None], "edges": []},
        {"nodes": [{"id": "a"}], "edges": []},
        {"nodes": [_box("")], "edges": []},
        {"nodes": [_box("a b")], "edges": []},
        {"nodes": [_box("a\n")], "edges": []},
        {"nodes": [_box("a" * 41)], "edges": []},
        {"nodes": [_box("a", node="nothing")], "edges": []},
        {"nodes": [_box("a", node=["paid"])], "edges": []},  # type: ignore[arg-type]
        {"nodes": [_box("a", node=None)], "edges": []},  # type: ignore[arg-type]
        {"nodes": [_box("a", x="1")], "edges": []},
        {"nodes": [_box("a", x=True)], "edges": []},
        {"nodes": [_box("a", x=float("nan"))], "edges": []},
        {"nodes": [_box("a", y=float("inf"))], "edges": []},
        {"nodes": [_box("a", y=MAX_COORDINATE + 1)], "edges": []},
        {"nodes": [_box("a", y=10**400)], "edges": []},
        {"nodes": [_box("a"), _box("a")], "edges": []},
        {"nodes": [_box("a")], "edges": [None]},
        {"nodes": [_box("a")], "edges": [{"source": "a"}]},
        {"nodes": [_box("a")], "edges": [{"source": "a", "target": "b"}]},
        {"nodes": [_box("a")], "edges": [{"source": ["a"], "target": {}}]},
        {"nodes": [_box(f"n{i}") for i in range(61)], "edges": []},
        {"nodes": [_box("a")], "edges": [{"source": "a", "target": "a"}] * 201},
    ],
)
def test_what_is_no_canvas_is_refused_even_as_a_draft(content: Any) -> None:
    with pytest.raises(BadInput) as caught:
        clean_shape(content)

    assert caught.value.text  # the sentence can be filled in


def test_a_draft_keeps_nothing_but_a_canvas() -> None:
    clean = clean_shape(
        {
            "nodes": [
                _box("a", "risk", "  风\n控\x00\ud800 ", 1.6, -2.4) | {"stock": 3, "html": "<b>"}
            ],
            "edges": [{"source": "a", "target": "a", "points": [1, 2]}],
            "more": 1,
        }
    )

    assert clean == {
        "nodes": [{"id": "a", "node": "risk", "x": 2, "y": -2, "label": "风 控"}],
        "edges": [{"source": "a", "target": "a"}],
    }


@pytest.mark.parametrize(
    ("content", "problems"),
    [
        ({"nodes": [], "edges": []}, ["empty"]),
        (_canvas("a"), []),
        (_canvas("a", "b", lines="ab"), []),
        (_canvas("a", "b", lines="aa ab"), ["self_loop"]),
        (_canvas("a", "b", lines="ab ab ab"), ["line_twice"]),
        (_canvas("a", "b", "c", lines="ab"), ["unconnected"]),
        (_canvas("a", "b"), ["unconnected", "unconnected"]),
        (_canvas("a", "b", lines="ab ba"), ["no_start"]),
        (_canvas("a", "b", "c", "d", lines="ab cd dc cb"), ["unreachable", "unreachable"]),
        (_canvas("a", "b", "c", "d", lines="ab cd"), ["in_pieces"]),
        (_canvas("a", "b", "c", "d", lines="ab cd dc"), ["in_pieces"]),
        (_canvas("a", "b", "c", "d", "e", lines="ab cd"), ["unconnected", "in_pieces"]),
        (_canvas("a", "b", "c", lines="ab bc ca"), ["no_start"]),
        (_canvas("a", "b", "c", lines="ab bc cb"), []),  # work that goes back is allowed
        (_canvas("a", "b", "c", lines="ac bc"), []),  # two starts
    ],
)
def test_a_canvas_says_everything_that_is_wrong(
    content: dict[str, Any], problems: list[str]
) -> None:
    assert [code for code, _text in _texts(content)] == problems
    if problems:
        with pytest.raises(BadInput) as caught:
            check_canvas(content)
        assert caught.value.code == problems[0]
    else:
        assert check_canvas(content) == content


def test_lists_in_a_finding_have_the_marks_of_the_readers_language() -> None:
    old, new = (
        _canvas("a", "b", "c", "d", lines="ab cd"),
        _canvas("a", "b", "c", "d", lines="ab cd"),
    )
    new["nodes"][0]["x"] = new["nodes"][1]["y"] = 9
    (apart,) = list_problems(old)
    (moved,) = describe_changes(old, new)

    with override("en"):
        told = [translate(found.message, found.params) for found in (apart, moved)]

    assert '"步骤a", "步骤c"' in told[0]
    assert "步骤a, 步骤b" in told[1]


def test_a_problem_names_the_place_and_the_remedy() -> None:
    content = default_canvas()
    content["nodes"].append(_box("again", "risk", "风控"))
    content["nodes"].append(_box("long", "", "十三个字的名称太长了放不下了"))
    content["edges"] += [{"source": "delivery", "target": i} for i in ("again", "long")]

    assert _texts(content) == [
        ("bad_label", "第 14 个节点的名称应为 1–12 个字，现在是「十三个字的名称太长了放不下了」"),
        ("node_twice", "「风控」画了 2 次，只留一个，否则订单会被数两遍"),
    ]


def test_a_broken_flow_names_where_each_piece_begins() -> None:
    content = default_canvas()
    content["edges"] = [e for e in content["edges"] if e["source"] not in {"payment", "picking"}]

    assert _texts(content) == [
        (
            "in_pieces",
            "流程断成了 3 段，分别从「下单」、「支付回调」、「面单/物流匹配」开始，请用连线接起来",
        )
    ]


def test_nodes_that_are_not_drawn_are_named_in_river_order() -> None:
    content = default_canvas()
    content["nodes"] = [b for b in content["nodes"] if b["node"] not in {"label", "risk"}]

    assert list_missing(content) == ["risk", "label"]


def test_a_reviewer_reads_what_changed() -> None:
    old, new = default_canvas(), deepcopy(default_canvas())
    new["nodes"] = [b for b in new["nodes"] if b["id"] != "label"]
    new["edges"] = [e for e in new["edges"] if "label" not in e.values()]
    new["edges"].append({"source": "picking", "target": "ship_back"})
    new["nodes"].append(_box("call", "", "电话确认"))
    new["edges"].append({"source": "risk", "target": "call"})
    new["nodes"][0]["label"] = "买家下单"
    new["nodes"][1]["x"] += 10

    assert [c.message % c.params for c in describe_changes(old, new)] == [
        "新增节点「电话确认」",
        "删去节点「面单/物流匹配」",
        "「下单」改名为「买家下单」",
        "新增连线「拣货打包 → 发货回传」",
        "新增连线「风控 → 电话确认」",
        "删去连线「拣货打包 → 面单/物流匹配」",
        "删去连线「面单/物流匹配 → 发货回传」",
        "移动了 1 个节点：支付",
    ]
    assert describe_changes(new, new) == []
    assert len(describe_changes(None, old)) == 12 + 11


_ANY_BOX = st.fixed_dictionaries(
    {
        "id": st.one_of(st.text(max_size=3), st.integers(), st.none()),
        "node": st.one_of(st.sampled_from(["", *NODE_CODES]), st.text(max_size=3), st.none()),
        "x": st.one_of(st.floats(), st.integers(), st.text(max_size=2)),
        "y": st.one_of(st.floats(), st.integers()),
        "label": st.one_of(st.text(), st.integers(), st.none()),
    }
)
_ANY_END = st.one_of(st.text(max_size=3), st.integers(), st.none(), st.lists(st.none()))
_ANY_LINE = st.fixed_dictionaries({"source": _ANY_END, "target": _ANY_END})


@given(st.fixed_dictionaries({"nodes": st.lists(_ANY_BOX), "edges": st.lists(_ANY_LINE)}))
def test_any_content_is_cleaned_or_refused_with_a_sentence(content: dict[str, Any]) -> None:
    try:
        clean = clean_shape(content)
    except BadInput as error:
        sentence = error.text
        event("refused")
        assert sentence  # noqa: PT017 - both ways are right, each with its promise
        return
    event("cleaned")
    json.dumps(clean).encode()
    assert clean_shape(clean) == clean
    assert all(p.message % p.params for p in list_problems(clean))
