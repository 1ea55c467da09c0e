"""Reviewing a rule set: the difference, who may approve, publishing, rolling back."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries

from config.audit.models import AuditEntry
from config.releases import services as releases
from config.releases.models import Review, State, Version
from config.releases.services import create_draft, submit_version
from config.tenancy.models import Role
from config.tenancy.scope import for_environment
from connectors.orders.nodes import DEFAULT_NODES, nodes_to_content
from frontend.pages.reviews import compare_formulas
from frontend.pages.submissions import KINDS
from rules_engine import presets
from rules_engine.rules import drafts
from tests.factories import NOW, World, join, make_sources, table_content
from workflows.canvas.drawing import default_canvas
from workflows.canvas.services import CANVAS_KEY

pytestmark = pytest.mark.django_db


def sign_in(world: World, role: str) -> Client:
    client = Client()
    client.force_login(world.users[role])
    return client


@pytest.fixture
def published(world: World) -> Version:
    """The five-dimension model, in force in the first division's production."""
    with for_environment(world.production):
        make_sources()
        return presets.install("five_dimensions", NOW)


@pytest.fixture
def submitted(world: World, published: Version) -> Version:
    """The supervisor's submission: a new check, another cap, other points."""
    return submit(world, published, role=Role.SUPERVISOR)


def submit(world: World, base: Version, *, role: str, name: str = "预售") -> Version:
    with for_environment(world.production):
        content = drafts.put_dimension(
            base.content,
            {
                **drafts.NEW_DIMENSION,
                "key": "presale",
                "name": name,
                "formula": '如果(预售阶段="",不适用(),尾款截止>=现在())',
                "cap": 59,
            },
        )
        price = {**(drafts.find_dimension(content, "price") or {}), "cap": 49, "formula": "真"}
        content = drafts.rebalance_points(drafts.put_dimension(content, price), keep="presale")
        assert content is not None
        author = world.users[role]
        draft = create_draft(base.document, content=content, author=author, based_on=base)
        return submit_version(draft, actor=author, note="尾款没人盯", now=NOW)


def state_of(world: World, version: Version) -> str:
    with for_environment(world.production):
        return str(Version.objects.get(pk=version.pk).state)


def press(client: Client, name: str, version: Version, **posted: str) -> Any:
    return client.post(reverse(name, args=[version.public_id]), posted)


def text_of(answer: Any) -> str:
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", answer.content.decode())))


# --- the difference -------------------------------------------------------------------------------


def test_every_change_is_listed_with_old_and_new(world: World, submitted: Version) -> None:
    answer = sign_in(world, Role.REVIEWER).get(reverse("review_detail", args=[submitted.public_id]))

    said, body = text_of(answer), answer.content.decode()
    assert "新增「预售」，改「价格校验」，分值重分" in said
    assert "王敏 ：尾款没人盯" in said
    assert re.search(r"封顶\s*<del>59</del>\s*<ins>49</ins>", body)
    for name, old, new in (("地址", 20, 18), ("支付回调", 30, 27), ("物流匹配", 10, 9)):
        assert re.search(rf"{name}\s*<del>{old}</del>\s*<ins>{new}</ins>", body)
    assert "合计 100" in said
    assert "读作：如果「预售阶段」为空，那么不适用" in said
    assert "<ins>真</ins>" in body
    assert "和 v1 比" in said


def test_formulas_are_compared_word_by_word() -> None:
    left, right = compare_formulas("如果(尾款截止<现在(),0,1)", "如果(尾款截止<=现在(),0,10)")

    assert "".join(p["text"] for p in left) == "如果(尾款截止<现在(),0,1)"
    assert "".join(p["text"] for p in right) == "如果(尾款截止<=现在(),0,10)"
    assert [p["text"] for p in left if p["changed"]] == ["1"]
    assert [p["text"] for p in right if p["changed"]] == ["=", "10"]


def test_formulas_are_shown_as_text_not_as_markup(world: World, published: Version) -> None:
    version = submit(world, published, role=Role.SUPERVISOR, name="<script>x")

    page = sign_in(world, Role.REVIEWER).get(reverse("review_detail", args=[version.public_id]))

    assert "<script>x" not in page.content.decode()
    assert "&lt;script&gt;x" in page.content.decode()


# --- approving ------------------------------------------------------------------------------------


def test_it_approves_and_publishes_in_one_press(world: World, submitted: Version) -> None:
    reviewer = sign_in(world, Role.REVIEWER)
    page = text_of(reviewer.get(reverse("review_detail", args=[submitted.public_id])))
    assert "通过并发布 v2" in page

    answer = press(reviewer, "review_approve", submitted, then="publish", comment="可以")

    assert answer.status_code == 302
    with for_environment(world.production):
        in_force = Version.objects.get(state=State.PUBLISHED)
        assert in_force.pk == submitted.pk
        assert in_force.published_by_id == world.users[Role.REVIEWER].pk
        assert Version.objects.get(number=1).state == State.RETIRED
        assert [(r.verdict, r.comment) for r in Review.objects.all()] == [("approve", "可以")]
        actions = set(AuditEntry.objects.values_list("action", flat=True))
        assert {"release.submit", "release.approve", "release.publish"} <= actions
    assert "v2 已生效" in text_of(reviewer.get(answer["Location"]))


def test_approving_alone_changes_nothing_in_force(
    world: World, published: Version, submitted: Version
) -> None:
    reviewer = sign_in(world, Role.REVIEWER)

    press(reviewer, "review_approve", submitted)

    assert state_of(world, published) == State.PUBLISHED
    assert "发布 v2" in text_of(reviewer.get(reverse("review_detail", args=[submitted.public_id])))
    press(reviewer, "review_publish", submitted)
    assert state_of(world, submitted) == State.PUBLISHED


def test_nobody_approves_their_own(world: World, published: Version) -> None:
    own = submit(world, published, role=Role.REVIEWER)
    reviewer = sign_in(world, Role.REVIEWER)

    page = reviewer.get(reverse("review_detail", args=[own.public_id]))
    assert re.search(
        r'disabled title="自己提交的版本要由别人审核" data-testid="open-approve"',
        page.content.decode(),
    )
    for name in ("review_approve", "review_request_changes"):
        refused = press(reviewer, name, own, comment="好", then="publish")
        assert refused.status_code == 403
        assert "不能审核自己提交的版本" in text_of(refused)
    assert state_of(world, own) == State.SUBMITTED
    assert state_of(world, published) == State.PUBLISHED
    with for_environment(world.production):
        assert Review.objects.count() == 0


def test_asking_for_changes_needs_a_word_and_goes_back_to_the_author(
    world: World, submitted: Version
) -> None:
    reviewer = sign_in(world, Role.REVIEWER)
    assert press(reviewer, "review_request_changes", submitted, comment="  ").status_code == 400
    assert state_of(world, submitted) == State.SUBMITTED

    press(reviewer, "review_request_changes", submitted, comment="赠品单也有预售阶段吗？")

    assert state_of(world, submitted) == State.CHANGES_REQUESTED
    page = sign_in(world, Role.SUPERVISOR).get(
        reverse("check_edit", args=[submitted.public_id, "presale"])
    )
    assert "赵磊 要求修改" in text_of(page)
    assert "赠品单也有预售阶段吗？" in text_of(page)


def test_an_approval_of_an_earlier_content_does_not_publish_a_later_one(
    world: World, submitted: Version
) -> None:
    reviewer = sign_in(world, Role.REVIEWER)
    press(reviewer, "review_approve", submitted)
    with for_environment(world.production):
        Version.objects.filter(pk=submitted.pk).update(checksum="0" * 64)

    refused = press(reviewer, "review_publish", submitted)

    assert refused.status_code == 403
    assert state_of(world, submitted) == State.APPROVED


def test_what_somebody_else_has_handled_is_not_handled_again(
    world: World, submitted: Version
) -> None:
    reviewer = sign_in(world, Role.REVIEWER)
    press(reviewer, "review_request_changes", submitted, comment="改")

    for name in ("review_approve", "review_publish", "review_request_changes"):
        assert press(reviewer, name, submitted, comment="好").status_code == 409, name
    assert state_of(world, submitted) == State.CHANGES_REQUESTED


def test_a_submission_that_would_undo_a_newer_version_says_so(
    world: World, published: Version, submitted: Version
) -> None:
    later = submit(world, published, role=Role.SUPERVISOR, name="尾款")
    reviewer = sign_in(world, Role.REVIEWER)
    press(reviewer, "review_approve", later, then="publish")

    page = text_of(reviewer.get(reverse("review_detail", args=[submitted.public_id])))

    assert "它从 v1 改起，而现在生效的是 v3" in page
    assert "和 v3 比" in page


# --- rolling back -----------------------------------------------------------------------------------


def test_a_rollback_names_the_version_says_what_it_changes_and_keeps_the_record(
    world: World, published: Version, submitted: Version
) -> None:
    reviewer = sign_in(world, Role.REVIEWER)
    press(reviewer, "review_approve", submitted, then="publish")
    address = reverse("review_roll_back", args=[published.public_id])

    page = reviewer.get(address)
    assert "回滚到 v1" in text_of(page)
    assert "v1 的内容会作为 v3 重新发布，替下 v2" in text_of(page)
    assert "删除 预售" in text_of(page)
    stale = reviewer.post(address, {"expected": published.public_id})
    assert stale.status_code == 409
    done = reviewer.post(address, {"expected": submitted.public_id})

    assert done.status_code == 302
    with for_environment(world.production):
        states = list(Version.objects.order_by("number").values_list("number", "state"))
        assert states == [(1, State.RETIRED), (2, State.RETIRED), (3, State.PUBLISHED)]
        assert Version.objects.get(number=3).content == published.content
    again = reviewer.post(address, {"expected": submitted.public_id})
    assert again.status_code == 409


def test_only_a_version_that_was_in_force_can_be_rolled_back_to(
    world: World, published: Version, submitted: Version
) -> None:
    reviewer = sign_in(world, Role.REVIEWER)
    for version in (published, submitted):
        address = reverse("review_roll_back", args=[version.public_id])
        assert reviewer.get(address).status_code == 409
        assert reviewer.post(address, {"expected": published.public_id}).status_code == 409
    assert state_of(world, published) == State.PUBLISHED


# --- who may do what --------------------------------------------------------------------------------

POSTS = ("review_approve", "review_request_changes", "review_publish", "review_roll_back")


def test_deciding_needs_the_right_to_review(
    world: World, published: Version, submitted: Version
) -> None:
    for role in (Role.SUPERVISOR, Role.AGENT, Role.DIRECTOR, Role.TECH_SUPPORT, Role.SHOP_OWNER):
        client = sign_in(world, role)
        for name in POSTS:
            assert press(client, name, submitted, comment="好", then="publish").status_code == 403
    for name in POSTS:
        assert press(Client(), name, submitted)["Location"].startswith("/login/")
    assert sign_in(world, Role.AGENT).get(reverse("review_list")).status_code == 403
    assert state_of(world, submitted) == State.SUBMITTED
    assert state_of(world, published) == State.PUBLISHED


def test_another_divisions_versions_do_not_exist(world: World, submitted: Version) -> None:
    join(world.users["outsider"], Role.REVIEWER, division=world.divisions[1])
    outsider = sign_in(world, "outsider")

    for name in POSTS:
        assert press(outsider, name, submitted, comment="好").status_code == 404, name
    detail = reverse("review_detail", args=[submitted.public_id])
    assert outsider.get(detail).status_code == 404
    assert "预售" not in text_of(outsider.get(reverse("review_list")))
    assert state_of(world, submitted) == State.SUBMITTED


def test_looking_decides_nothing(world: World, published: Version, submitted: Version) -> None:
    reviewer = sign_in(world, Role.REVIEWER)
    with for_environment(world.production):
        before = list(Version.objects.order_by("pk").values())

    for name in ("review_approve", "review_request_changes", "review_publish"):
        assert reviewer.get(reverse(name, args=[submitted.public_id])).status_code == 405
    reviewer.get(reverse("review_detail", args=[submitted.public_id]))
    reviewer.get(reverse("review_list"))

    with for_environment(world.production):
        assert list(Version.objects.order_by("pk").values()) == before
        assert Review.objects.count() == 0


def test_the_list_shows_what_waits_and_costs_the_same_for_many(
    world: World,
    published: Version,
    submitted: Version,
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    reviewer = sign_in(world, Role.REVIEWER)
    address = reverse("review_list")
    reviewer.get(address)
    with CaptureQueriesContext(connection) as few:
        page = reviewer.get(address)
    assert "1 份在等审核" in text_of(page)
    assert "v2 新增「预售」" in text_of(page)

    for i in range(8):
        submit(world, published, role=Role.SUPERVISOR, name=f"预售{i}")
    with django_assert_num_queries(len(few)):
        page = reviewer.get(address)
    assert "9 份在等审核" in text_of(page)


def test_publishing_and_rolling_back_ask_the_workers_to_rescore_once_committed(
    world: World,
    published: Version,
    submitted: Version,
    monkeypatch: pytest.MonkeyPatch,
    django_capture_on_commit_callbacks: Any,
) -> None:
    asked: list[tuple[str, int]] = []
    monkeypatch.setattr(
        "workflows.patrol.services.enqueue",
        lambda name, environment_id, *, queue: asked.append((name, environment_id)),
    )
    reviewer = sign_in(world, Role.REVIEWER)
    rescore = ("patrol.score_due", world.production.pk)

    with django_capture_on_commit_callbacks(execute=True):
        press(reviewer, "review_approve", submitted, then="publish")
        assert asked == []
    assert asked == [rescore]
    with django_capture_on_commit_callbacks(execute=True):
        press(reviewer, "review_roll_back", published, expected=submitted.public_id)
    assert asked == [rescore, rescore]


def submit_everything(world: World) -> dict[str, Version]:
    """A submission of every kind of document people review, by the supervisor."""
    nodes = nodes_to_content()
    nodes["nodes"][2]["dwell_minutes"] = 25
    contents: dict[str, tuple[str, dict[str, Any]]] = {
        "node_table": ("default", nodes),
        "lookup_table": ("freight", table_content()),
    }
    made = {}
    with for_environment(world.production):
        drawing = default_canvas(DEFAULT_NODES)
        drawing["nodes"][0]["label"] = "下单了"
        contents["canvas"] = (CANVAS_KEY, drawing)
        for kind, (key, content) in contents.items():
            document = releases.get_or_create_document(kind=kind, key=key, name=kind)
            author = world.users[Role.SUPERVISOR]
            draft = releases.create_draft(document, content=content, author=author)
            made[kind] = releases.submit_version(draft, actor=author, note="请看", now=NOW)
    return made


def test_the_list_shows_every_kind_of_submission_with_its_words_and_page(
    world: World, published: Version, submitted: Version
) -> None:
    made = submit_everything(world)
    reviewer = sign_in(world, Role.REVIEWER)

    page = reviewer.get(reverse("review_list")).content.decode()

    assert page.count('data-testid="review-row"') == 4
    for words in (
        "改「支付回调」",
        "新表「运费表」，加 2 行",
        "「下单」改名为「下单了」",
        "新增「预售」",
    ):
        assert words in page, words
    assert "4 份在等审核" in page
    assert '<span class="n">4</span>' in page  # at the entry of the navigation
    for kind, version in made.items():
        url = KINDS[kind].address(version)
        assert f'href="{url}"' in page
        assert reviewer.get(url).status_code == 200


def test_every_kind_people_review_is_counted_in_the_navigation() -> None:
    from frontend.context import REVIEWED_KINDS

    assert set(KINDS) == set(REVIEWED_KINDS)


def test_what_was_said_of_every_kind_stands_below(world: World, published: Version) -> None:
    made = submit_everything(world)
    reviewer = sign_in(world, Role.REVIEWER)
    with for_environment(world.production):
        for version in made.values():
            releases.request_changes(
                version, reviewer=world.users[Role.REVIEWER], comment="再想想", now=NOW
            )

    page = reviewer.get(reverse("review_list")).content.decode()

    assert page.count("再想想") == 3
    for kind, version in made.items():
        assert f'<a href="{KINDS[kind].address(version)}">' in page


def test_submissions_of_every_kind_cost_the_same_queries_for_many(
    world: World, published: Version, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    submit_everything(world)
    reviewer = sign_in(world, Role.REVIEWER)
    address = reverse("review_list")
    reviewer.get(address)
    with CaptureQueriesContext(connection) as few:
        reviewer.get(address)
    with for_environment(world.production):
        for n in range(6):
            key, author = f"t{n}", world.users[Role.SUPERVISOR]
            document = releases.get_or_create_document(kind="lookup_table", key=key, name=key)
            content = table_content(key=key, name=f"表{n}")
            draft = releases.create_draft(document, content=content, author=author)
            releases.submit_version(draft, actor=author, note="", now=NOW)

    with django_assert_num_queries(len(few)):
        page = reviewer.get(address).content.decode()
    assert page.count('data-testid="review-row"') == 9


def test_submissions_of_another_division_are_not_listed(world: World, published: Version) -> None:
    submit_everything(world)

    page = sign_in(world, "outsider").get(reverse("review_list")).content.decode()

    assert page.count('data-testid="review-row"') == 0
