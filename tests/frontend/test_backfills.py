"""Back-fills: estimated first, watched, paused and resumed; they never alert."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from connectors.sync.models import BackfillRun
from frontend.pages import backfills as backfill_pages
from tests.factories import for_environment, join, make_user
from tests.frontend.sources import ask_backfill, connect

pytestmark = pytest.mark.django_db
State = BackfillRun.State
HTMX = {"HX-Request": "true"}


@pytest.fixture
def enter(client, world):
    def sign_in(role):
        client.force_login(world.users[role])
        return client

    return sign_in


@pytest.fixture
def woken(monkeypatch):
    found = []
    monkeypatch.setattr(
        backfill_pages, "wake_backfill", lambda environment, run: found.append(run.public_id)
    )
    return found


@pytest.fixture
def source(world):
    with for_environment(world.production):
        return connect(timezone.now())


def ask(world, source, **changes):
    with for_environment(world.production):
        return ask_backfill(source, timezone.now(), **changes)


def rows(world):
    with for_environment(world.production, write=False):
        return list(BackfillRun.objects.select_related("connection__source").order_by("pk"))


def form(source, **changes):
    now = timezone.localtime()
    return {
        "connection": source.public_id,
        "start": (now - timedelta(days=7)).strftime("%Y-%m-%dT%H:%M"),
        "end": now.strftime("%Y-%m-%dT%H:%M"),
    } | changes


def test_a_range_is_estimated_before_anything_is_read(world, source, enter, woken):
    client = enter("tech_support")

    page = client.post("/backfills/", form(source), follow=True).content.decode()

    run = rows(world)[0]
    assert run.state == State.ESTIMATING
    assert run.requested_by_id == world.users["tech_support"].pk
    assert run.end - run.start > timedelta(days=6, hours=23)
    assert woken == [run.public_id]
    assert "正在估算" in page
    assert "不告警、不挂起" in page
    assert f'hx-get="/backfills/{run.public_id}/"' in page


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"start": "2099-01-01T00:00"}, "开始时间要早于结束时间"),
        ({"start": ""}, "请填写开始和结束"),
        ({"end": "明天"}, "请填写开始和结束"),
        ({"connection": "nobody"}, "请选择要补录的来源"),
        ({"start": "2020-01-01T00:00"}, "天的列表"),
    ],
)
def test_a_range_that_cannot_be_is_refused_in_words(world, source, enter, woken, changes, words):
    answer = enter("tech_support").post("/backfills/", form(source, **changes))
    assert answer.status_code == 400
    assert words in answer.content.decode()
    assert rows(world) == []
    assert woken == []


def test_a_system_without_lists_is_not_offered(world, source, enter):
    with for_environment(world.production):
        gateway = connect(timezone.now(), name="支付宝", vendor="alipay", kind="gateway", shop=None)
    client = enter("tech_support")
    page = client.get("/backfills/").content.decode()
    assert source.public_id in page
    assert gateway.public_id not in page
    answer = client.post("/backfills/", form(gateway))
    assert answer.status_code == 400
    assert "不能补录" in answer.content.decode()


def test_the_estimate_is_shown_and_the_button_names_what_it_starts(world, source, enter, woken):
    run = ask(world, source, state=State.READY, mark=None, fetched=0, started_at=None)
    client = enter("tech_support")
    page = client.get(f"/backfills/{run.public_id}/").content.decode()
    assert "大约 1,200 单" in page
    assert "开始补录约 1,200 单" in page

    client.post(f"/backfills/{run.public_id}/start/")

    assert rows(world)[0].state == State.RUNNING
    assert woken == [run.public_id]


def test_progress_is_asked_for_until_it_is_over(world, source, enter):
    run = ask(world, source)
    client = enter("agent")

    moving = client.get(f"/backfills/{run.public_id}/", headers=HTMX)
    assert moving.status_code == 200
    assert "<html" not in moving.content.decode()
    assert 'value="33"' in moving.content.decode()
    assert "已读 410 单" in moving.content.decode()

    with for_environment(world.production):
        BackfillRun.objects.update(state=State.DONE, mark=run.end)
    over = client.get(f"/backfills/{run.public_id}/", headers=HTMX)
    assert over.status_code == 286
    assert "补录完成" in over.content.decode()
    assert "hx-get" not in client.get(f"/backfills/{run.public_id}/").content.decode()


def test_it_is_paused_resumed_and_cancelled(world, source, enter, woken):
    run = ask(world, source)
    client = enter("tech_support")
    for action, state in (
        ("pause", State.PAUSED),
        ("resume", State.RUNNING),
        ("cancel", State.CANCELLED),
    ):
        client.post(f"/backfills/{run.public_id}/{action}/")
        assert rows(world)[0].state == state
    assert woken == [run.public_id]
    refused = client.post(f"/backfills/{run.public_id}/resume/")
    assert refused.status_code == 409
    assert "请刷新页面" in refused.content.decode()
    assert client.post(f"/backfills/{run.public_id}/explode/").status_code == 404


def test_a_failure_says_why_and_goes_on_where_it_stood(world, source, enter, woken):
    run = ask(world, source, state=State.FAILED, error_message="授权已失效，请商家重新授权")
    client = enter("tech_support")
    page = client.get(f"/backfills/{run.public_id}/").content.decode()
    assert "授权已失效" in page
    client.post(f"/backfills/{run.public_id}/resume/")
    assert rows(world)[0].state == State.RUNNING
    assert rows(world)[0].mark == run.mark


@pytest.mark.parametrize("role", ["agent", "supervisor", "director"])
def test_only_who_manages_connectors_backfills(world, source, enter, role, woken):
    run = ask(world, source)
    client = enter(role)
    page = client.get("/backfills/").content.decode()
    assert 'data-testid="backfill-form"' not in page
    assert client.post("/backfills/", form(source)).status_code == 403
    for action in ("start", "pause", "resume", "cancel"):
        assert client.post(f"/backfills/{run.public_id}/{action}/").status_code == 403
    assert [row.state for row in rows(world)] == [State.RUNNING]


def test_another_division_neither_sees_nor_stops_it(world, source, client, woken):
    run = ask(world, source)
    other = make_user("tech2", tenant=world.tenant)
    join(other, "tech_support", division=world.divisions[1])
    client.force_login(other)
    assert "天猫旗舰店" not in client.get("/backfills/").content.decode()
    assert client.get(f"/backfills/{run.public_id}/").status_code == 404
    assert client.post(f"/backfills/{run.public_id}/pause/").status_code == 404
    assert client.post("/backfills/", form(source)).status_code == 400
    assert [row.state for row in rows(world)] == [State.RUNNING]


def test_the_list_costs_the_same_queries_for_one_or_thirty(world, source, enter):
    client = enter("tech_support")

    def count():
        client.get("/backfills/")
        with CaptureQueriesContext(database) as caught:
            assert client.get("/backfills/").status_code == 200
        return len(caught)

    ask(world, source)
    few = count()
    for _number in range(30):
        ask(world, source)
    assert count() == few
