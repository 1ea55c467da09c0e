"""The canvas in a real browser: draw, connect, save, reload; by mouse, keyboard and finger."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from config.releases.models import State, Version
from tests.factories import PASSWORD, World, for_environment, make_order, make_world
from workflows.canvas.drawing import default_canvas
from workflows.canvas.services import get_open_draft, save_canvas

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def world(transactional_db: None) -> World:
    return make_world()


def _sign_in(page: Page, base: str, username: str) -> None:
    page.goto(f"{base}/login/")
    page.fill("input[name=username]", username)
    page.fill("input[name=password]", PASSWORD)
    page.click("[data-testid=login-form] button")
    page.wait_for_url(lambda url: "/login" not in url)


def _open(page: Page, base: str, path: str = "/canvas/edit/") -> None:
    page.goto(f"{base}{path}")
    page.wait_for_selector("#canvas[data-ready=yes]")


def _box(page: Page, i: str) -> Any:
    return page.locator(f'#canvas g[data-id="{i}"]')


def _middle(page: Page, i: str) -> tuple[float, float]:
    frame = _box(page, i).locator(".box").bounding_box()
    assert frame is not None
    return frame["x"] + frame["width"] / 2, frame["y"] + frame["height"] / 2


def _drag(page: Page, begin: tuple[float, float], end: tuple[float, float]) -> None:
    page.mouse.move(*begin)
    page.mouse.down()
    page.mouse.move(begin[0] + 12, begin[1] + 6, steps=3)
    page.mouse.move(*end, steps=8)
    page.mouse.up()
    page.wait_for_timeout(150)


def _draw_line(page: Page, source: str, target: str) -> None:
    """From an anchor of one box into another, by mouse."""
    x, y = _middle(page, source)
    page.mouse.move(x, y - 70)
    page.mouse.move(x, y, steps=4)
    anchor = page.locator(f'.lf-node:has(g[data-id="{source}"]) .lf-node-anchor').first
    frame = anchor.bounding_box()
    assert frame is not None
    begin = (frame["x"] + frame["width"] / 2, frame["y"] + frame["height"] / 2)
    _drag(page, begin, _middle(page, target))


def _content(page: Page) -> dict[str, Any]:
    content: dict[str, Any] = page.evaluate(
        """() => ({
            nodes: hedaoCanvas.graphModel.nodes.map(n => [n.id, n.properties.label, n.x, n.y]),
            edges: hedaoCanvas.graphModel.edges.map(e => [e.sourceNodeId, e.targetNodeId]),
        })"""
    )
    return content


def _save(page: Page) -> None:
    page.click("[data-testid=canvas-save]")
    expect(page.locator("[data-state]")).to_contain_text("已保存")
    expect(page.locator("[data-dirty]")).to_be_hidden()


def test_what_is_drawn_and_saved_is_there_after_a_reload(
    page: Page, live_server: Any, world: World
) -> None:
    _sign_in(page, live_server.url, "supervisor")
    _open(page, live_server.url)

    # move
    x, y = _middle(page, "delivery")
    _drag(page, (x, y), (x + 40, y - 30))
    expect(page.locator("[data-dirty]")).to_be_visible()
    # delete by key, add again by dragging from the palette
    page.mouse.click(*_middle(page, "risk"))
    page.keyboard.press("Delete")
    expect(_box(page, "risk")).to_have_count(0)
    entry = page.locator("[data-testid=canvas-palette] button", has_text="风控")
    expect(entry).to_be_visible()  # shown only once its box is off the canvas
    frame = entry.bounding_box()
    canvas = page.locator("#canvas").bounding_box()
    assert frame is not None
    assert canvas is not None
    _drag(
        page,
        (frame["x"] + 10, frame["y"] + 10),
        (canvas["x"] + canvas["width"] - 110, canvas["y"] + canvas["height"] / 2 - 40),
    )
    expect(_box(page, "risk")).to_have_count(1)
    # connect by mouse, twice from one box
    _draw_line(page, "callback", "risk")
    _draw_line(page, "risk", "pricing")
    _draw_line(page, "callback", "pricing")
    drawn = _content(page)
    assert [e for e in drawn["edges"] if "risk" in e or e == ["callback", "pricing"]] == [
        ["callback", "risk"],
        ["risk", "pricing"],
        ["callback", "pricing"],
    ]
    _save(page)

    page.reload()
    page.wait_for_selector("#canvas[data-ready=yes]")
    again = _content(page)
    assert sorted(again["edges"]) == sorted(drawn["edges"])
    assert sorted(again["nodes"]) == sorted(
        [i, t, round(x), round(y)] for i, t, x, y in drawn["nodes"]
    )
    with for_environment(world.production, write=False):
        draft = get_open_draft(world.users["supervisor"])
        assert draft is not None
        assert len(draft.content["nodes"]) == 12
        assert len(draft.content["edges"]) == 12


def test_a_list_beside_the_drawing_stays_while_a_box_only_moves(
    page: Page, live_server: Any, world: World
) -> None:
    """An entry that is made anew between press and release loses the click."""
    _sign_in(page, live_server.url, "supervisor")
    _open(page, live_server.url)
    page.mouse.click(*_middle(page, "risk"))
    page.keyboard.press("Delete")
    entry = page.locator("[data-testid=canvas-palette] button", has_text="风控")
    row = page.locator("[data-boxes] tr[data-id=delivery]")
    for element in (entry, row):
        element.evaluate("e => { e.dataset.seen = 'before'; }")
    x, y = _middle(page, "delivery")
    _drag(page, (x, y), (x + 40, y - 30))
    for element in (entry, row):
        expect(element).to_have_attribute("data-seen", "before")


def test_undo_and_redo_follow_each_change(page: Page, live_server: Any, world: World) -> None:
    _sign_in(page, live_server.url, "supervisor")
    _open(page, live_server.url)
    before = _content(page)
    expect(page.locator("[data-do=undo]")).to_be_disabled()

    page.mouse.click(*_middle(page, "stock"))
    page.keyboard.press("Delete")
    expect(_box(page, "stock")).to_have_count(0)
    page.wait_for_timeout(300)
    page.click("[data-do=undo]")
    expect(_box(page, "stock")).to_have_count(1)
    assert sorted(_content(page)["edges"]) == sorted(before["edges"])
    expect(page.locator("[data-dirty]")).to_be_hidden()
    page.click("[data-do=redo]")
    expect(_box(page, "stock")).to_have_count(0)
    assert len(_content(page)["edges"]) == 9


def test_the_keyboard_does_everything_the_mouse_does(
    page: Page, live_server: Any, world: World
) -> None:
    _sign_in(page, live_server.url, "supervisor")
    _open(page, live_server.url)

    # add a step of one's own
    page.focus("#add-code")
    page.focus("#add-label")
    page.keyboard.type("电话确认")
    page.keyboard.press("Enter")
    expect(page.locator("#canvas .name", has_text="电话确认")).to_have_count(1)
    # connect it
    page.select_option("tr[data-id=risk] select", label="电话确认")
    expect(page.locator("tr[data-id=risk] .chip")).to_have_count(2)
    # rename a node, take a line away, delete a node
    name = page.locator("tr[data-id=placed] input")
    name.fill("买家下单")
    name.press("Tab")
    expect(_box(page, "placed").locator(".name")).to_have_text("买家下单")
    page.locator("tr[data-id=payment] .chip button").press("Enter")
    expect(page.locator("tr[data-id=payment] .chip")).to_have_count(0)
    page.locator("tr[data-id=label] td:last-child button").press("Enter")
    expect(_box(page, "label")).to_have_count(0)
    # move by arrow
    at = next(n for n in _content(page)["nodes"] if n[0] == "payment")
    page.focus("tr[data-id=payment] input")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("ArrowDown")
    moved = next(n for n in _content(page)["nodes"] if n[0] == "payment")
    assert moved[2:] == [at[2], at[3] + 10]

    # what is missing is said while one draws, and its box is marked
    broken = "流程断成了 3 段"
    expect(page.locator("[data-testid=canvas-problems] li")).to_contain_text([broken])
    page.keyboard.press("Control+s")
    expect(page.locator("[data-state]")).to_contain_text("已保存")
    expect(page.locator("[data-testid=canvas-versions]")).to_contain_text("v1")
    expect(page.locator("[data-testid=canvas-discard]")).to_be_visible()
    expect(page.locator("[data-testid=canvas-problems] li")).to_have_text(
        ["流程断成了 3 段，分别从「买家下单」、「支付回调」、「发货回传」开始，请用连线接起来"]
    )
    expect(page.locator("#canvas g.wrong")).to_have_count(3)
    with for_environment(world.production, write=False):
        draft = get_open_draft(world.users["supervisor"])
        assert draft is not None
        labels = {b["id"]: b["label"] for b in draft.content["nodes"]}
        named = [(labels[e["source"]], labels[e["target"]]) for e in draft.content["edges"]]
    assert ("风控", "电话确认") in named
    assert ("支付", "支付回调") not in named
    assert "label" not in labels


def test_a_canvas_is_submitted_and_published_by_another_person(
    page: Page, context: BrowserContext, live_server: Any, world: World
) -> None:
    _sign_in(page, live_server.url, "supervisor")
    _open(page, live_server.url)
    page.fill("tr[data-id=placed] input", "买家下单")
    page.fill("#note", "和客服的叫法一致")
    page.click("[data-testid=canvas-submit]")
    page.wait_for_url("**/canvas/?version=*")
    expect(page.locator("[data-testid=canvas-review]")).to_contain_text(
        "「下单」改名为「买家下单」"
    )
    expect(page.locator("[data-testid=canvas-approve-publish]")).to_have_count(0)
    address = page.url

    context.clear_cookies()
    _sign_in(page, live_server.url, "reviewer")
    page.goto(address)
    page.click("[data-testid=canvas-approve-publish]")
    page.wait_for_url("**/canvas/")
    page.wait_for_selector("#canvas[data-ready=yes]")

    expect(_box(page, "placed").locator(".name")).to_have_text("买家下单")
    with for_environment(world.production, write=False):
        assert Version.objects.get(document__kind="canvas").state == State.PUBLISHED


def test_a_node_opens_its_orders_as_of_the_same_moment(
    page: Page, live_server: Any, world: World
) -> None:
    with for_environment(world.production):
        order = make_order()
    _sign_in(page, live_server.url, "agent")
    _open(page, live_server.url, "/canvas/")
    expect(page.locator("[data-testid=canvas-edit]")).to_have_count(0)
    expect(_box(page, order.node).locator(".stock")).to_have_text("在途 1")
    before = _content_silent(page)
    x, y = _middle(page, order.node)
    _drag(page, (x, y), (x + 60, y + 40))
    assert "/canvas/" in page.url  # panning over a node is no click on it
    assert _content_silent(page) == before  # nothing moves for those who only look

    link = page.locator(f'tr[data-code="{order.node}"] a').first
    address = link.get_attribute("href")
    _box(page, order.node).locator(".box").click()
    page.wait_for_url(f"**{address}")

    assert "as_of=" in page.url
    assert f"node={order.node}" in page.url


def _content_silent(page: Page) -> list[list[float]]:
    places: list[list[float]] = page.evaluate(
        """() => [...document.querySelectorAll('#canvas .box')]
            .map(b => [+b.getAttribute('x'), +b.getAttribute('y')])"""
    )
    return places


def test_figures_that_changed_are_redrawn_and_carry_their_moment(
    page: Page, live_server: Any, world: World
) -> None:
    _sign_in(page, live_server.url, "agent")
    page.clock.install()
    _open(page, live_server.url, "/canvas/")
    with for_environment(world.production):
        order = make_order()
    row = page.locator(f'tr[data-code="{order.node}"]')
    expect(row.locator("[data-f=stock_text]")).to_have_text("0")

    page.clock.run_for(31_000)

    expect(row.locator("[data-f=stock_text]")).to_have_text("1")
    expect(_box(page, order.node).locator(".stock")).to_have_text("在途 1")
    at = page.locator("[data-at] time").get_attribute("datetime")
    assert at is not None
    for link in page.locator("[data-testid=canvas-table] a").all():
        assert (link.get_attribute("href") or "").endswith(f"&as_of={quote(at)}")


def test_the_canvas_of_another_environment_is_not_there(
    page: Page, live_server: Any, world: World
) -> None:
    with for_environment(world.production):
        version = save_canvas(
            default_canvas(), author=world.users["supervisor"], based_on=None, checksum=""
        )
    _sign_in(page, live_server.url, "outsider")

    answer = page.goto(f"{live_server.url}/canvas/?version={version.public_id}")

    assert answer is not None
    assert answer.status == 404


def test_a_line_goes_round_a_box_that_stands_between(
    page: Page, live_server: Any, world: World
) -> None:
    _sign_in(page, live_server.url, "supervisor")
    _open(page, live_server.url)

    page.select_option("tr[data-id=placed] select", label="支付回调")
    page.wait_for_timeout(150)

    points = page.evaluate(
        """() => hedaoCanvas.graphModel.edges
            .find(e => e.sourceNodeId === 'placed' && e.targetNodeId === 'callback').points"""
    )
    bottom = page.evaluate("hedaoCanvas.getNodeModelById('payment').y + 38")
    heights = [float(pair.split(",")[1]) for pair in points.split()]
    assert max(heights) > bottom


def _move_finger(page: Page, begin: tuple[float, float], dx: float, dy: float) -> None:
    touch = page.context.new_cdp_session(page)
    touch.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [_finger(begin)]})
    for step in range(1, 6):
        at = (begin[0] + dx * step / 5, begin[1] + dy * step / 5)
        touch.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [_finger(at)]})
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    page.wait_for_timeout(200)


@pytest.mark.browser_context_args(
    viewport={"width": 1024, "height": 768}, is_mobile=True, has_touch=True
)
def test_a_finger_moves_a_box_and_saves(page: Page, live_server: Any, world: World) -> None:
    _sign_in(page, live_server.url, "supervisor")
    _open(page, live_server.url)
    page.locator("#canvas").scroll_into_view_if_needed()
    before = {n[0]: n[2:] for n in _content(page)["nodes"]}

    _move_finger(page, _middle(page, "payment"), 30, 40)
    _save(page)

    after = {n[0]: n[2:] for n in _content(page)["nodes"]}
    assert after["payment"][1] > before["payment"][1]
    assert {k: v for k, v in after.items() if k != "payment"} == {
        k: v for k, v in before.items() if k != "payment"
    }


@pytest.mark.browser_context_args(
    viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True
)
def test_a_phone_shows_the_table_first_and_pans_the_drawing(
    page: Page, live_server: Any, world: World
) -> None:
    _sign_in(page, live_server.url, "supervisor")
    _open(page, live_server.url, "/canvas/")

    table = page.locator("[data-testid=canvas-table]").bounding_box()
    drawing = page.locator("#canvas").bounding_box()
    assert table is not None
    assert drawing is not None
    assert table["y"] + table["height"] < drawing["y"]
    assert page.evaluate("document.documentElement.scrollWidth") <= 390

    page.locator("#canvas").scroll_into_view_if_needed()
    page.evaluate("window.scrollBy(0, 200)")
    drawing = page.locator("#canvas").bounding_box()
    assert drawing is not None
    at = (drawing["x"] + 300, drawing["y"] + 200)
    before = _middle(page, "callback")
    _move_finger(page, at, -60, -50)
    after = _middle(page, "callback")

    assert before[0] - after[0] > 20


def _finger(at: tuple[float, float]) -> dict[str, float]:
    return {"x": at[0], "y": at[1]}
