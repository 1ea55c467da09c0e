"""The canvas page: rights, environments, figures and links, saving by JSON, releases."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from config.releases.models import State, Version
from connectors.orders.models import NodePassage, Order
from connectors.orders.services import receive
from connectors.shops.models import SourceKind
from frontend.pages.canvas import word_figures
from tests.factories import NOW, World, canonical_order, for_environment, make_sources
from workflows.canvas.drawing import default_canvas
from workflows.canvas.services import save_canvas, submit_canvas
from workflows.canvas.silting import NodeFigures

pytestmark = pytest.mark.django_db
SignIn = Callable[[str], Client]


@pytest.fixture
def sign_in(world: World) -> SignIn:
    def make(role: str) -> Client:
        client = Client()
        client.force_login(world.users[role])
        return client

    return make


def _stuck(count: int, *, minutes: int = 600, node: str = "risk") -> None:
    """So many orders that have stood at a node for so long."""
    now = timezone.now()
    source = make_sources(now)[SourceKind.CHANNEL]
    receive([canonical_order(now) for _ in range(count)], source=source, now=now)
    NodePassage.objects.all().delete()
    Order.objects.update(first_received_at=now - timedelta(hours=1))
    NodePassage.objects.bulk_create(
        NodePassage(order=order, node=node, entered_at=now - timedelta(minutes=minutes))
        for order in Order.objects.all()
    )


def _post(client: Client, body: Any) -> Any:
    raw = body if isinstance(body, bytes | str) else json.dumps(body)
    return client.post(
        "/canvas/save/", raw, content_type="application/json", headers={"HX-Request": "true"}
    )


def _body(**changes: Any) -> dict[str, Any]:
    return {"content": default_canvas(), "version": "", "checksum": ""} | changes


def _submitted(world: World, *, author: str = "supervisor", label: str = "买家下单") -> Version:
    content = default_canvas()
    content["nodes"][0]["label"] = label
    with for_environment(world.production):
        user = world.users[author]
        version = save_canvas(content, author=user, based_on=None, checksum="")
        return submit_canvas(version, actor=user, note="理由", now=NOW)


def test_a_visitor_is_sent_to_the_login() -> None:
    for path in ("", "edit/", "figures/"):
        assert Client().get(f"/canvas/{path}").status_code == 302


@pytest.mark.parametrize(
    ("role", "show", "edit"),
    [("agent", 200, 403), ("supervisor", 200, 200), ("reviewer", 200, 200), ("director", 200, 403)],
)
def test_only_those_who_write_rules_may_draw(
    sign_in: SignIn, role: str, show: int, edit: int
) -> None:
    client = sign_in(role)

    assert client.get("/canvas/").status_code == show
    assert client.get("/canvas/figures/").status_code == show
    assert client.get("/canvas/edit/").status_code == edit
    assert _post(client, _body()).status_code == edit


def test_those_who_only_look_change_nothing(sign_in: SignIn, world: World) -> None:
    version = _submitted(world)
    client = sign_in("agent")
    for action in ("submit", "discard", "review", "publish", "roll-back"):
        answer = client.post(f"/canvas/{version.public_id}/{action}/", {"verdict": "publish"})
        assert answer.status_code == 403, action
    _post(client, _body())

    with for_environment(world.production):
        assert [(v.number, v.state) for v in Version.objects.all()] == [(1, State.SUBMITTED)]


def test_an_empty_environment_shows_the_river_and_says_that_nothing_silts(sign_in: SignIn) -> None:
    page = sign_in("agent").get("/canvas/").content.decode()

    assert page.count('<th scope="row">') == 12
    assert "出厂的十二个节点" in page
    assert 'data-testid="canvas-worst"' not in page


def test_the_table_has_the_figures_and_the_sentence_names_the_worst(
    sign_in: SignIn, world: World
) -> None:
    with for_environment(world.production):
        _stuck(5, minutes=601)
    with for_environment(world.other):
        _stuck(7, node="stock")

    answer = sign_in("agent").get("/canvas/")
    page = answer.content.decode()

    figures = answer.context["data"]["figures"]
    assert (figures["risk"]["stock"], figures["stock"]["stock"]) == (5, 0)
    assert figures["risk"]["heat_text"] == "严重淤塞"
    assert figures["risk"]["oldest"] == "10 小时"
    assert figures["risk"]["excess"] == "48"  # 5 x (10 h 1 min - 30 min)
    assert "「风控」淤塞最重：在途 5 单，最久等了 10 小时" in page
    assert "看这 5 单" in page


def test_every_number_links_the_orders_of_the_same_moment(sign_in: SignIn, world: World) -> None:
    with for_environment(world.production):
        _stuck(1)

    answer = sign_in("agent").get("/canvas/figures/").json()

    for code, figures in answer["figures"].items():
        query = parse_qs(urlsplit(figures["url"]).query)
        assert query == {"node": [code], "as_of": [answer["at"]]}
        for name in ("entered", "left"):
            query = parse_qs(urlsplit(figures[f"{name}_url"]).query)
            assert query == {name: [code], "as_of": [answer["at"]]}
    assert datetime.fromisoformat(answer["at"]).tzinfo is not None


def test_a_node_that_is_not_drawn_but_holds_orders_is_said(sign_in: SignIn, world: World) -> None:
    with for_environment(world.production):
        _stuck(3, node="label", minutes=5)
    content = default_canvas()
    content["nodes"] = [b for b in content["nodes"] if b["id"] != "label"]
    content["edges"] = [e for e in content["edges"] if "label" not in e.values()]
    with for_environment(world.production):
        version = save_canvas(content, author=world.users["supervisor"], based_on=None, checksum="")

    page = sign_in("supervisor").get("/canvas/", {"version": version.public_id}).content.decode()

    assert "「面单/物流匹配」没有画出来，那里还有 3 单" in page


def test_a_drawing_is_saved_and_saved_again(sign_in: SignIn, world: World) -> None:
    client = sign_in("supervisor")
    first = _post(client, _body()).json()
    content = default_canvas()
    content["edges"].pop()
    second = _post(
        client, _body(content=content, version=first["version"], checksum=first["checksum"])
    ).json()

    assert first["problems"] == []
    assert second["version"] == first["version"]
    assert [p["text"] for p in second["problems"]] == [
        "「签收/售后」没有连线，请连到上一步或下一步，或删去它"
    ]
    assert second["problems"][0]["ids"] == ["delivery"]
    with for_environment(world.production):
        assert Version.objects.get().content == content
    assert client.get("/canvas/edit/").context["version"].public_id == first["version"]


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 400),
        (b"[" * 100_000, 400),
        (b"\xff\xfe", 400),
        ({"content": None}, 400),
        ({"content": {}}, 400),
        ({"content": {"nodes": [], "edges": "x"}}, 400),
        (b'{"content": {"nodes": [{"id": "a", "x": NaN, "y": 1e999}], "edges": []}}', 400),
        (b" " * 600_000, 400),
    ],
)
def test_what_is_no_canvas_is_refused_with_a_sentence(
    sign_in: SignIn, world: World, raw: Any, status: int
) -> None:
    answer = _post(sign_in("supervisor"), raw)

    assert answer.status_code == status
    assert answer["Content-Type"].startswith("text/plain")
    assert "画布" in answer.content.decode() or "节点" in answer.content.decode()
    with for_environment(world.production):
        assert not Version.objects.exists()


def test_a_drawing_is_checked_without_being_saved(sign_in: SignIn, world: World) -> None:
    content = default_canvas()
    content["edges"] = content["edges"][1:]
    client = sign_in("supervisor")

    def check(body: Any) -> Any:
        return client.post("/canvas/check/", json.dumps(body), content_type="application/json")

    assert check(_body()).json() == {"problems": []}
    assert [p["ids"] for p in check({"content": content}).json()["problems"]] == [["placed"]]
    assert check({"content": {"nodes": 1}}).status_code == 400
    denied = sign_in("agent").post("/canvas/check/", "{}", content_type="application/json")
    assert denied.status_code == 403
    with for_environment(world.production):
        assert not Version.objects.exists()


def test_two_windows_do_not_overwrite_each_other(sign_in: SignIn, world: World) -> None:
    client = sign_in("supervisor")
    first = _post(client, _body()).json()
    content = default_canvas()
    content["nodes"][0]["label"] = "新"
    _post(client, _body(content=content, version=first["version"], checksum=first["checksum"]))

    late = _post(client, _body(version=first["version"], checksum=first["checksum"]))

    assert late.status_code == 409
    assert "别的窗口" in late.content.decode()
    with for_environment(world.production):
        assert Version.objects.get().content == content


def test_a_saving_needs_the_csrf_token(world: World) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(world.users["supervisor"])

    assert _post(client, _body()).status_code == 403


def test_another_environments_canvas_is_not_found(sign_in: SignIn, world: World) -> None:
    version = _submitted(world)
    client = sign_in("outsider")

    assert client.get("/canvas/", {"version": version.public_id}).status_code == 404
    saved = _post(client, _body(version=version.public_id, checksum=version.checksum))
    assert saved.status_code == 404
    for action in ("submit", "discard"):
        assert client.post(f"/canvas/{version.public_id}/{action}/").status_code == 404
    with for_environment(world.production):
        assert Version.objects.get().state == State.SUBMITTED
    with for_environment(world.other):
        assert not Version.objects.exists()


def test_a_reviewer_reads_the_difference_and_publishes(sign_in: SignIn, world: World) -> None:
    version = _submitted(world)
    client = sign_in("reviewer")

    page = client.get("/canvas/", {"version": version.public_id}).content.decode()
    assert "「下单」改名为「买家下单」" in page
    client.post(f"/canvas/{version.public_id}/review/", {"verdict": "approve", "comment": "好"})
    client.post(f"/canvas/{version.public_id}/publish/")

    with for_environment(world.production):
        assert Version.objects.get().state == State.PUBLISHED
    assert '<th scope="row">买家下单' in sign_in("agent").get("/canvas/").content.decode()


def test_a_reviewer_sends_it_back_with_a_word(sign_in: SignIn, world: World) -> None:
    version = _submitted(world)
    client = sign_in("reviewer")
    address = f"/canvas/{version.public_id}/review/"

    assert client.post(address, {"verdict": "request_changes"}).status_code == 400
    assert client.post(address, {"verdict": "nothing"}).status_code == 400
    client.post(address, {"verdict": "request_changes", "comment": "名称太长"})

    page = sign_in("supervisor").get("/canvas/edit/").content.decode()
    assert "赵磊 要求修改：名称太长" in page
    with for_environment(world.production):
        assert Version.objects.get().state == State.CHANGES_REQUESTED


def test_nobody_publishes_their_own_canvas(sign_in: SignIn, world: World) -> None:
    version = _submitted(world, author="reviewer")

    answer = sign_in("reviewer").post(
        f"/canvas/{version.public_id}/review/", {"verdict": "publish"}
    )

    assert answer.status_code == 403
    with for_environment(world.production):
        assert Version.objects.get().state == State.SUBMITTED


def test_an_earlier_canvas_comes_back(sign_in: SignIn, world: World) -> None:
    client = sign_in("reviewer")
    old = _submitted(world, label="旧名")
    client.post(f"/canvas/{old.public_id}/review/", {"verdict": "publish"})
    new = _submitted(world, label="新名")
    client.post(f"/canvas/{new.public_id}/review/", {"verdict": "publish"})

    client.post(f"/canvas/{old.public_id}/roll-back/")

    assert '<th scope="row">旧名' in client.get("/canvas/").content.decode()
    with for_environment(world.production):
        assert Version.objects.get(state=State.PUBLISHED).number == 3


def test_a_draft_is_thrown_away(sign_in: SignIn, world: World) -> None:
    client = sign_in("supervisor")
    saved = _post(client, _body()).json()

    client.post(f"/canvas/{saved['version']}/discard/")

    with for_environment(world.production):
        assert not Version.objects.exists()


@pytest.mark.parametrize("address", ["/canvas/", "/canvas/figures/"])
def test_a_page_costs_the_same_queries_for_one_order_and_for_many(
    sign_in: SignIn, world: World, address: str
) -> None:
    client = sign_in("agent")
    counts = []
    for more in (1, 60):
        with for_environment(world.production):
            _stuck(more)
        with CaptureQueriesContext(connection) as captured:
            assert client.get(address).status_code == 200
        counts.append(len(captured))

    assert counts[0] == counts[1]
    assert counts[0] <= 30  # PostgreSQL adds the statements of the scope


def _figures(**changes: Any) -> NodeFigures:
    values: dict[str, Any] = {
        "code": "risk",
        "label": "风控",
        "expected_minutes": 30,
        "stock": 1234,
        "scheduled": 4,
        "entered": 10,
        "left": 2,
        "entered_trend": 40,
        "left_trend": 8,
        "late": 600,
        "at_risk": 20,
        "oldest_minutes": 112,
        "median_minutes": 40,
        "p90_minutes": 100,
        "excess_hours": 820.4,
    }
    return NodeFigures(**(values | changes))


def test_figures_are_worded_for_people() -> None:
    f = word_figures(_figures(), at=NOW, orders_url="/orders/")

    assert (f["stock_line"], f["oldest_line"], f["flow_line"], f["mark"]) == (
        "在途 1,234",
        "最久 1 小时 52 分",
        "进 10 · 出 2 / 时",
        "✕ 严重淤塞",
    )
    assert f["excess"] == "820"
    assert f["tip"] == (
        "风控：在途 1,234 单，近一小时进 10、出 2；"
        "预期停留 30 分钟，超时 600 单，临近超时 20 单；"
        "另有 4 单在等预售尾款，不计入淤塞；"
        "等待时间中位数 40 分钟，九成在 1 小时 40 分 以内；"
        "淤塞指数 100 = 超时占比 49、久等程度 100、只进不出 80 中最大的一个"
    )
    few = word_figures(_figures(stock=19, late=0, scheduled=0), at=NOW, orders_url="")
    assert "九成" not in few["tip"]
    assert (few["url"], few["excess"]) == ("", "—")
