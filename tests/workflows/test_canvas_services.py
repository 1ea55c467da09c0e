"""Saving, submitting and publishing a canvas through the release machine."""

from __future__ import annotations

from copy import deepcopy
from datetime import timedelta
from typing import Any

import pytest

from config.errors import BadInput, NotAllowed, NotFound, WrongState
from config.releases.models import State, Version
from config.releases.services import (
    approve_version,
    create_draft,
    export_yaml,
    get_or_create_document,
    import_yaml,
    install_preset,
    publish_version,
    request_changes,
    roll_back,
)
from config.tenancy.models import User
from connectors.orders.nodes import nodes_to_content
from connectors.orders.services import NODE_TABLE_KEY, NODE_TABLE_KIND
from tests.factories import NOW, World, for_environment, make_world
from workflows.canvas.drawing import default_canvas
from workflows.canvas.services import (
    CANVAS_KEY,
    CANVAS_KIND,
    discard_canvas,
    get_canvas,
    get_canvas_version,
    get_open_draft,
    list_canvas_versions,
    save_canvas,
    submit_canvas,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def world(db: None) -> World:
    return make_world()


@pytest.fixture
def author(world: World) -> User:
    return world.users["supervisor"]


@pytest.fixture
def reviewer(world: World) -> User:
    return world.users["reviewer"]


def _without(*codes: str) -> dict[str, Any]:
    content = default_canvas()
    content["nodes"] = [b for b in content["nodes"] if b["id"] not in codes]
    content["edges"] = [e for e in content["edges"] if not set(codes) & set(e.values())]
    return content


def _save(author: User, content: dict[str, Any] | None = None) -> Version:
    return save_canvas(content or default_canvas(), author=author, based_on=None, checksum="")


def _publish(version: Version, author: User, reviewer: User) -> Version:
    version = submit_canvas(version, actor=author, note="理由", now=NOW)
    version = approve_version(version, reviewer=reviewer, comment="", now=NOW)
    return publish_version(version, actor=reviewer, now=NOW)


def test_an_environment_without_a_canvas_shows_the_river_with_its_own_node_names(
    world: World,
) -> None:
    with for_environment(world.production):
        table = nodes_to_content()
        table["nodes"][3]["label"] = "风险审核"
        install_preset(
            kind=NODE_TABLE_KIND,
            key=NODE_TABLE_KEY,
            name="节点表",
            content=table,
            origin="test",
            now=NOW,
        )
        canvas = get_canvas()

    assert canvas.version is None
    assert canvas.content["nodes"][3]["label"] == "风险审核"


def test_a_canvas_goes_from_draft_to_published_and_back(
    world: World, author: User, reviewer: User
) -> None:
    with for_environment(world.production):
        content = default_canvas()
        content["nodes"][0]["label"] = "买家下单"
        first = _publish(_save(author, content), author, reviewer)
        second = _publish(_save(author), author, reviewer)
        assert get_canvas().content == default_canvas()

        again = roll_back(Version.objects.get(pk=first.pk), actor=reviewer, now=NOW)

        assert get_canvas().version == again
        assert get_canvas().content == content
        assert [(v.number, v.state) for v in list_canvas_versions()] == [
            (3, State.PUBLISHED),
            (2, State.RETIRED),
            (1, State.RETIRED),
        ]
        assert second.pk in {v.pk for v in list_canvas_versions()}


def test_saving_again_replaces_the_draft(world: World, author: User) -> None:
    with for_environment(world.production):
        first = _save(author)
        second = save_canvas(
            _without("risk"), author=author, based_on=first, checksum=first.checksum
        )

        assert (second.pk, second.number) == (first.pk, 1)
        assert len(second.content["nodes"]) == 11
        assert get_open_draft(author) == second


def test_two_windows_do_not_overwrite_each_other(world: World, author: User) -> None:
    with for_environment(world.production):
        draft = _save(author)
        seen = draft.checksum
        kept = save_canvas(_without("risk"), author=author, based_on=draft, checksum=seen)

        with pytest.raises(WrongState) as late:
            save_canvas(
                _without("stock"),
                author=author,
                based_on=get_canvas_version(draft.public_id),
                checksum=seen,
            )
        with pytest.raises(WrongState) as second:
            _save(author)

        assert (late.value.code, second.value.code) == ("draft_changed", "draft_exists")
        assert get_open_draft(author).content == kept.content  # type: ignore[union-attr]


def test_a_change_to_what_others_see_begins_a_draft_of_ones_own(
    world: World, author: User, reviewer: User
) -> None:
    with for_environment(world.production):
        published = _publish(_save(author), author, reviewer)
        draft = save_canvas(
            _without("risk"), author=author, based_on=published, checksum=published.checksum
        )

        assert draft.number == 2
        assert draft.based_on == published
        assert get_canvas().content == default_canvas()
        assert get_open_draft(reviewer) is None


def test_a_half_drawn_canvas_is_saved_but_not_submitted(world: World, author: User) -> None:
    content = deepcopy(default_canvas())
    content["edges"] = []
    with for_environment(world.production):
        draft = _save(author, content)
        with pytest.raises(BadInput, match="没有连线"):
            submit_canvas(draft, actor=author, note="", now=NOW)

        draft.refresh_from_db()
        assert draft.state == State.DRAFT


def test_what_is_no_canvas_is_not_saved(world: World, author: User) -> None:
    with for_environment(world.production):
        with pytest.raises(BadInput):
            save_canvas({"nodes": 1}, author=author, based_on=None, checksum="")

        assert list_canvas_versions() == []


def test_nobody_approves_their_own_canvas(world: World, reviewer: User) -> None:
    with for_environment(world.production):
        version = submit_canvas(_save(reviewer), actor=reviewer, note="", now=NOW)
        with pytest.raises(NotAllowed):
            approve_version(version, reviewer=reviewer, comment="", now=NOW)

        assert get_canvas_version(version.public_id).state == State.SUBMITTED


def test_only_the_author_submits_or_discards(world: World, author: User, reviewer: User) -> None:
    with for_environment(world.production):
        draft = _save(author)
        for attempt in (
            lambda: submit_canvas(draft, actor=reviewer, note="", now=NOW),
            lambda: discard_canvas(draft, actor=reviewer),
        ):
            with pytest.raises(WrongState):
                attempt()

        assert get_canvas_version(draft.public_id).state == State.DRAFT


def test_a_draft_is_discarded_unless_a_reviewer_has_seen_it(
    world: World, author: User, reviewer: User
) -> None:
    with for_environment(world.production):
        discard_canvas(_save(author), actor=author)
        assert list_canvas_versions() == []

        version = submit_canvas(_save(author), actor=author, note="", now=NOW)
        version = request_changes(version, reviewer=reviewer, comment="改名", now=NOW)
        with pytest.raises(WrongState):
            discard_canvas(version, actor=author)
        assert get_open_draft(author) == version


def test_a_canvas_of_another_environment_is_not_found(world: World, author: User) -> None:
    with for_environment(world.production):
        draft = _save(author)
    for environment in (world.staging, world.other):
        with for_environment(environment):
            with pytest.raises(NotFound):
                get_canvas_version(draft.public_id)
            assert list_canvas_versions() == []
            assert get_open_draft(author) is None
            assert get_canvas().version is None


def test_another_kind_of_document_is_no_canvas(world: World, author: User) -> None:
    with for_environment(world.production):
        document = get_or_create_document(kind=NODE_TABLE_KIND, key=NODE_TABLE_KEY, name="节点表")
        version = create_draft(document, content=nodes_to_content(), author=author)
        with pytest.raises(NotFound):
            get_canvas_version(version.public_id)


def test_an_exported_canvas_is_promoted_to_another_environment(
    world: World, author: User, reviewer: User
) -> None:
    with for_environment(world.staging):
        text = export_yaml(_publish(_save(author, default_canvas()), author, reviewer))
    with for_environment(world.production):
        version = import_yaml(text, author=author)
        assert (version.document.kind, version.document.key) == (CANVAS_KIND, CANVAS_KEY)
        submitted = submit_canvas(version, actor=author, note="", now=NOW + timedelta(days=1))

        assert submitted.content == default_canvas()
