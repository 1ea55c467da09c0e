"""The node table page, through the release machine."""

from __future__ import annotations

import pytest
from django.test import Client

from config.releases.models import State, Version
from config.releases.services import get_published
from config.tenancy.scope import for_environment
from connectors.orders.nodes import DEFAULT_NODES
from connectors.orders.services import NODE_TABLE_KEY, NODE_TABLE_KIND, list_nodes
from tests.factories import World

pytestmark = pytest.mark.django_db


def sign_in(world: World, role: str) -> Client:
    client = Client()
    client.force_login(world.users[role])
    return client


def form_of(**changes: object) -> dict[str, object]:
    """The form as the page fills it, with some fields changed."""
    data: dict[str, object] = {}
    for node in DEFAULT_NODES:
        data |= {
            f"label-{node.code}": node.label,
            f"dwell-{node.code}": node.dwell_minutes,
            f"entered-{node.code}": [*node.entered, "", ""][:3],
            f"left-{node.code}": [*node.left, "", ""][:3],
        }
    return data | {k.replace("__", "-"): v for k, v in changes.items()}


def begin(world: World) -> Version:
    sign_in(world, "supervisor").post("/nodes/draft/")
    with for_environment(world.production):
        found: Version = Version.objects.get(document__kind=NODE_TABLE_KIND)
    return found


def test_the_shipped_table_says_evidence_in_words(world: World) -> None:
    page = sign_in(world, "agent").get("/nodes/").content.decode()

    assert page.count('data-testid="node-row"') == 12
    assert "渠道付款时间 或 网关支付时间 或 付款确认时间" in page
    assert 'data-testid="edit"' not in page


def test_a_changed_dwell_goes_from_draft_to_use_through_another_person(world: World) -> None:
    draft = begin(world)
    author, reviewer = sign_in(world, "supervisor"), sign_in(world, "reviewer")
    address = f"/nodes/{draft.public_id}/"

    changed = form_of(dwell__callback=25, submit="1", note="回调放宽")
    author.post(f"{address}save/", changed)
    own = author.post(f"{address}decide/", {"verdict": "approve"})
    page = reviewer.get(address).content.decode()
    early = reviewer.post(f"{address}decide/", {"verdict": "publish"})
    reviewer.post(f"{address}decide/", {"verdict": "approve"})
    reviewer.post(f"{address}decide/", {"verdict": "publish"})

    assert own.status_code == 403
    assert early.status_code == 409
    assert "改了 1 个节点" in page
    assert "<del>15 分钟</del> <ins>25 分钟</ins>" in page
    with for_environment(world.production):
        nodes = {n.code: n.dwell_minutes for n in list_nodes()}
    assert nodes["callback"] == 25
    assert nodes["risk"] == 30


def test_a_reviewer_cannot_approve_what_they_submitted(world: World) -> None:
    reviewer = sign_in(world, "reviewer")
    reviewer.post("/nodes/draft/")
    with for_environment(world.production):
        draft = Version.objects.get(document__kind=NODE_TABLE_KIND)
    reviewer.post(f"/nodes/{draft.public_id}/save/", form_of(submit="1"))

    answer = reviewer.post(f"/nodes/{draft.public_id}/decide/", {"verdict": "approve"})

    assert answer.status_code == 403
    assert "不能审核自己提交的版本" in answer.content.decode()
    with for_environment(world.production):
        draft.refresh_from_db()
        assert draft.state == State.SUBMITTED


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("dwell__risk", "0", "节点「风控」的预期停留"),
        ("dwell__risk", "1e308", "节点「风控」的预期停留"),
        ("label__risk", "", "第 4 个节点的名称"),
        ("left__risk", ["", "", ""], "节点「风控」的进入和离开凭据"),
        ("entered__risk", ["nonsense", "", ""], "节点「风控」的进入和离开凭据"),
    ],
)
def test_a_bad_entry_is_named_and_the_draft_is_kept(
    world: World, field: str, value: object, words: str
) -> None:
    draft = begin(world)
    client = sign_in(world, "supervisor")

    data = form_of(submit="1", label__delivery="签收了", **{field: value})
    page = client.post(f"/nodes/{draft.public_id}/save/", data, follow=True)

    assert words in page.content.decode()
    assert "签收了" in page.content.decode()
    with for_environment(world.production):
        draft.refresh_from_db()
        assert draft.state == State.DRAFT


def test_asking_for_changes_needs_a_word_and_reaches_the_author(world: World) -> None:
    draft = begin(world)
    author, reviewer = sign_in(world, "supervisor"), sign_in(world, "reviewer")
    address = f"/nodes/{draft.public_id}/"
    author.post(f"{address}save/", form_of(submit="1"))

    mute = reviewer.post(f"{address}decide/", {"verdict": "changes"})
    reviewer.post(f"{address}decide/", {"verdict": "changes", "comment": "太松了"})

    assert mute.status_code == 400
    assert "太松了" in author.get(address).content.decode()
    assert 'data-testid="node-form"' in author.get(address).content.decode()


def test_rolling_back_publishes_the_old_content_again(world: World) -> None:
    author, reviewer = sign_in(world, "supervisor"), sign_in(world, "reviewer")
    for minutes in (20, 40):
        author.post("/nodes/draft/")
        with for_environment(world.production):
            draft = Version.objects.get(document__kind=NODE_TABLE_KIND, state=State.DRAFT)
        address = f"/nodes/{draft.public_id}/"
        author.post(f"{address}save/", form_of(dwell__risk=minutes, submit="1"))
        for verdict in ("approve", "publish"):
            reviewer.post(f"{address}decide/", {"verdict": verdict})
    with for_environment(world.production):
        first = Version.objects.get(document__kind=NODE_TABLE_KIND, number=1)

    reviewer.post(f"/nodes/{first.public_id}/decide/", {"verdict": "roll_back"})

    with for_environment(world.production):
        published = get_published(NODE_TABLE_KIND, NODE_TABLE_KEY)
        assert published is not None
        assert published.number == 3
        assert {n.code: n.dwell_minutes for n in list_nodes()}["risk"] == 20


def test_roles_without_the_right_change_nothing(world: World) -> None:
    draft = begin(world)
    agent = sign_in(world, "agent")

    assert agent.post("/nodes/draft/").status_code == 403
    assert agent.post(f"/nodes/{draft.public_id}/save/", form_of()).status_code == 403
    decided = agent.post(f"/nodes/{draft.public_id}/decide/", {"verdict": "approve"})
    assert decided.status_code == 403
    with for_environment(world.production):
        draft.refresh_from_db()
        assert draft.state == State.DRAFT


def test_a_foreign_version_does_not_exist(world: World) -> None:
    draft = begin(world)
    outsider = sign_in(world, "outsider")

    assert outsider.get(f"/nodes/{draft.public_id}/").status_code == 404
    assert outsider.post(f"/nodes/{draft.public_id}/save/", form_of()).status_code == 404
