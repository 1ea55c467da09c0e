"""Lookup tables on the page: drafts, forms, files, review, rights."""

from __future__ import annotations

import io
from datetime import timedelta
from typing import Any

import openpyxl
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from config.releases.models import Document, State, Version
from config.tenancy.scope import for_environment
from rules_engine.facts.tables import list_published, load_lookups
from tests.factories import World, publish_rules, publish_table, rules_of_one, table_content

pytestmark = pytest.mark.django_db
FEE = '查表("运费表", 省, "运费") <= 10'


def sign_in(world: World, role: str) -> Client:
    client = Client()
    client.force_login(world.users[role])
    return client


@pytest.fixture
def freight(world: World) -> Version:
    with for_environment(world.production):
        found: Version = publish_table(world, now=timezone.now() - timedelta(hours=1))
    return found


def begin(world: World, role: str = "supervisor", key: str = "freight") -> Version:
    sign_in(world, role).post(f"/tables/{key}/draft/")
    return newest(world, key)


def newest(world: World, key: str = "freight") -> Version:
    with for_environment(world.production):
        found: Version = (
            Version.objects.select_related("document")
            .filter(document__kind="lookup_table", document__key=key)
            .order_by("-number")
            .first()
        )
    return found


def form_of(version: Version, **changes: Any) -> dict[str, Any]:
    """The form as the page fills it, with some fields changed (__ for -)."""
    content = version.content
    data: dict[str, Any] = {
        "checksum": version.checksum,
        "name": content["name"],
        "row": [str(i) for i in range(len(content["rows"]))],
    }
    for i, row in enumerate(content["rows"]):
        data |= {f"cell-{i}-{j}": "" if c is None else c for j, c in enumerate(row)}
    for i, column in enumerate(content["columns"]):
        data |= {f"label-{i}": column["label"], f"type-{i}": column["type"]}
        data |= {f"default-{i}": column.get("default") or ""}
        if column["is_key"]:
            data[f"key-{i}"] = "on"
    return data | {k.replace("__", "-"): v for k, v in changes.items()}


def upload(client: Client, version: Version, text: str | bytes, name: str = "运费.csv") -> str:
    body = text.encode() if isinstance(text, str) else text
    answer = client.post(
        f"/tables/versions/{version.public_id}/upload/",
        {"file": SimpleUploadedFile(name, body)},
        follow=True,
    )
    return answer.content.decode()


# --- reading --------------------------------------------------------------------------------------


def test_the_list_shows_published_and_shipped_tables(world: World, freight: Version) -> None:
    page = sign_in(world, "agent").get("/tables/").content.decode()

    assert page.count('data-testid="table-row"') == 4
    assert "运费表" in page
    assert page.count("出厂内容") == 3
    assert 'data-testid="new-table"' not in page


def test_a_table_says_its_rows_its_uses_and_how_to_ask_it(world: World, freight: Version) -> None:
    with for_environment(world.production):
        publish_rules(rules_of_one(FEE), world)

    page = sign_in(world, "agent").get("/tables/freight/").content.decode()

    assert page.count('data-testid="row"') == 2
    assert "浙江省" in page
    assert "查表(&quot;运费表&quot;, 省, &quot;运费&quot;)" in page
    assert "一项" in page
    assert 'data-testid="edit"' not in page


def test_rows_are_paged_and_searched_at_the_same_number_of_queries(world: World) -> None:
    client = sign_in(world, "agent")
    counts = []
    for size in (3, 260):
        with for_environment(world.production):
            publish_table(world, rows=[[f"城市{n:03d}", n, ""] for n in range(size)])
        client.get("/tables/freight/")
        with CaptureQueriesContext(connection) as seen:
            page = client.get("/tables/freight/").content.decode()
        counts.append(len(seen))
    last = client.get("/tables/freight/?page=6").content.decode()
    found = client.get("/tables/freight/?q=城市25").content.decode()

    assert counts[0] == counts[1]
    assert page.count('data-testid="row"') == 50
    assert "第 1 / 6 页" in page
    assert last.count('data-testid="row"') == 10
    assert "260 行里有 10 行" in found
    assert client.get("/tables/freight/?page=999").status_code == 200
    assert client.get("/tables/none/").status_code == 404


# --- from draft to use ----------------------------------------------------------------------------


def test_an_edited_row_goes_from_draft_to_use_through_another_person(
    world: World, freight: Version
) -> None:
    draft = begin(world)
    author, reviewer = sign_in(world, "supervisor"), sign_in(world, "reviewer")
    address = f"/tables/versions/{draft.public_id}/"

    changed = form_of(
        draft, cell__0__1="8.5", drop__1="on", new__0__0="沪", new__0__1="7", submit="1"
    )
    said = author.post(f"{address}save/", changed, follow=True).content.decode()
    own = author.post(f"{address}decide/", {"verdict": "approve"})
    page = reviewer.get(address).content.decode()
    early = reviewer.post(f"{address}decide/", {"verdict": "publish"})
    reviewer.post(f"{address}decide/", {"verdict": "approve"})
    reviewer.post(f"{address}decide/", {"verdict": "publish"})

    assert "已提交" in said
    assert own.status_code == 403
    assert early.status_code == 409
    assert "加 1 行，改 1 行，删 1 行" in page
    assert "<del>6</del> <ins>8.5</ins>" in page
    with for_environment(world.production):
        table = load_lookups(["table:freight"])["table:freight"]
    assert table.rows == {("浙江省",): (8.5, 2.0), ("沪",): (7.0, None)}


def test_publishing_a_used_table_asks_the_workers_to_rescore(
    world: World, freight: Version, monkeypatch: pytest.MonkeyPatch
) -> None:
    woken: list[int] = []
    monkeypatch.setattr("frontend.pages.tables.wake_scoring", lambda env: woken.append(env.pk))
    reviewer = sign_in(world, "reviewer")

    def publish_once() -> None:
        draft = begin(world)
        address = f"/tables/versions/{draft.public_id}/"
        sign_in(world, "supervisor").post(f"{address}save/", form_of(draft, submit="1"))
        for verdict in ("approve", "publish"):
            reviewer.post(f"{address}decide/", {"verdict": verdict})

    publish_once()
    assert woken == []
    with for_environment(world.production):
        publish_rules(rules_of_one(FEE), world)
    publish_once()
    assert woken == [world.production.pk]


def test_a_bad_cell_is_named_and_kept(world: World, freight: Version) -> None:
    draft = begin(world)
    client = sign_in(world, "supervisor")

    data = form_of(draft, cell__0__1="六块", submit="1")
    page = client.post(f"/tables/versions/{draft.public_id}/save/", data, follow=True)

    text = page.content.decode()
    assert "第 1 行「运费」：「六块」不是金额" in text
    assert 'value="六块"' in text
    assert newest(world).state == State.DRAFT


def test_columns_are_added_renamed_and_dropped_with_their_cells(
    world: World, freight: Version
) -> None:
    draft = begin(world)
    client = sign_in(world, "supervisor")

    data = form_of(draft, label__3="备注", label__1="首重价", drop__column__2="on")
    client.post(f"/tables/versions/{draft.public_id}/save/", data)

    content = newest(world).content
    assert [c["label"] for c in content["columns"]] == ["省", "首重价", "备注"]
    assert [c["key"] for c in content["columns"]] == ["province", "fee", "c1"]
    assert content["rows"] == [["浙江省", 6, ""], ["西藏自治区", 25, ""]]


def test_a_column_in_use_cannot_be_submitted_away(world: World, freight: Version) -> None:
    with for_environment(world.production):
        publish_rules(rules_of_one(FEE), world)
    draft = begin(world)

    data = form_of(draft, drop__column__1="on", submit="1")
    client = sign_in(world, "supervisor")
    page = client.post(f"/tables/versions/{draft.public_id}/save/", data, follow=True)

    assert "检查项「一项」在用列「运费」，不能删去或改成键列" in page.content.decode()
    assert newest(world).state == State.DRAFT


def test_a_draft_changed_in_another_window_is_not_overwritten(
    world: World, freight: Version
) -> None:
    draft = begin(world)
    client = sign_in(world, "supervisor")
    address = f"/tables/versions/{draft.public_id}/save/"
    client.post(address, form_of(draft, cell__0__1="7"))

    page = client.post(address, form_of(draft, cell__0__1="9"), follow=True)

    assert "在别的窗口里刚改过" in page.content.decode()
    assert newest(world).content["rows"][0][1] == "7"


def test_a_row_of_a_later_page_is_saved_in_its_place(world: World) -> None:
    with for_environment(world.production):
        publish_table(world, rows=[[f"城市{n:03d}", n, ""] for n in range(120)])
    draft = begin(world)
    client = sign_in(world, "supervisor")

    page = client.get(f"/tables/versions/{draft.public_id}/?page=3").content.decode()
    data = {"checksum": draft.checksum, "row": ["110"], "cell-110-1": "999", "page": "3"}
    answer = client.post(f"/tables/versions/{draft.public_id}/save/", data)

    assert 'name="cell-110-1"' in page
    assert answer["Location"].endswith("?page=3")
    rows = newest(world).content["rows"]
    assert (rows[110], rows[109], len(rows)) == (
        ["城市110", "999", None],
        ["城市109", 109, None],
        120,
    )


def test_a_shipped_calendar_is_changed_like_any_table(world: World) -> None:
    draft = begin(world, key="holidays")
    client = sign_in(world, "supervisor")
    data = {"checksum": draft.checksum, "new-0-0": "2026-12-31", "new-0-1": "店庆", "new-0-2": "否"}
    client.post(f"/tables/versions/{draft.public_id}/save/", data | {"submit": "1"})

    version = newest(world, "holidays")
    assert version.state == State.SUBMITTED
    assert version.content["rows"][-1] == ["2026-12-31", "店庆", False]


# --- files ----------------------------------------------------------------------------------------


def test_a_new_table_begins_from_a_file(world: World) -> None:
    client = sign_in(world, "supervisor")
    text = "SKU,重量,上架,备注\n0017,450,2026-11-01,新\n0018,300,2026-11-02,\n"
    body = {"name": "货品", "file": SimpleUploadedFile("sku.csv", text.encode("gb18030"))}

    page = client.post("/tables/new/", body, follow=True).content.decode()

    with for_environment(world.production):
        content = Version.objects.get(document__kind="lookup_table").content
    assert [(c["label"], c["type"], c["is_key"]) for c in content["columns"]] == [
        ("SKU", "text", True),
        ("重量", "number", False),
        ("上架", "date", False),
        ("备注", "text", False),
    ]
    assert content["rows"][0] == ["0017", "450", "2026-11-01", "新"]
    assert 'data-testid="problems"' not in page


@pytest.mark.parametrize(
    ("mode", "rows"),
    [
        ("merge", [["浙江省", 9, 2], ["西藏自治区", 25, None], ["上海市", 7, None]]),
        ("replace", [["浙江省", 9, 2], ["上海市", 7, None]]),
        ("discard", [["浙江省", 6, 2], ["西藏自治区", 25, None]]),
    ],
)
def test_a_file_is_previewed_and_then_applied_whole(
    world: World, freight: Version, mode: str, rows: Any
) -> None:
    draft = begin(world)
    client = sign_in(world, "supervisor")

    page = upload(client, draft, "省,天数,运费,多余\n浙江省,2,9.00,x\n上海市,,7,y\n")
    before = newest(world).content["rows"]
    client.post(f"/tables/versions/{draft.public_id}/apply/", {"mode": mode})

    assert "运费.csv：2 行，还没有应用" in page
    assert "会被忽略：多余" in page
    assert "加 1 行，改 1 行，删 0 行" in page
    assert "加 1 行，改 1 行，删 1 行" in page
    assert before == freight.content["rows"]
    content = newest(world).content
    assert content["rows"] == rows
    assert "upload" not in content


def test_a_file_with_problems_applies_nothing(world: World, freight: Version) -> None:
    draft = begin(world)
    client = sign_in(world, "supervisor")

    page = upload(client, draft, "省,运费\n上海市,7\n江苏省,贵\n上海市,8\n")
    forced = client.post(f"/tables/versions/{draft.public_id}/apply/", {"mode": "merge"})

    assert "文件第 3 行「运费」：「贵」不是金额" in page
    assert "文件第 4 行：键与第 2 行重复：上海市" in page
    assert 'data-testid="apply-merge"' not in page
    assert forced.status_code == 409
    assert newest(world).content["rows"] == freight.content["rows"]


@pytest.mark.parametrize(
    ("name", "body", "said"),
    [
        ("a.csv", b"", "0 字节"),
        ("a.csv", "城市,运费\n上海,1\n".encode(), "文件里没有键列 省；文件的列是 城市、运费"),
        ("a.xlsx", b"not a workbook", "不是 Excel 工作簿"),
        ("a.pdf", b"%PDF-1.4 ...", "PDF"),
    ],
)
def test_a_file_that_is_no_table_is_refused_in_words(
    world: World, freight: Version, name: str, body: bytes, said: str
) -> None:
    draft = begin(world)

    page = upload(sign_in(world, "supervisor"), draft, body, name)

    assert said in page
    assert "upload" not in newest(world).content


def test_a_draft_with_a_file_waiting_is_not_submitted(world: World, freight: Version) -> None:
    draft = begin(world)
    client = sign_in(world, "supervisor")
    upload(client, draft, "省,运费\n上海市,7\n")

    data = form_of(newest(world), submit="1")
    page = client.post(f"/tables/versions/{draft.public_id}/save/", data, follow=True)

    assert "请先应用或放弃它" in page.content.decode()
    assert newest(world).state == State.DRAFT


@pytest.mark.parametrize("form", ["csv", "xlsx"])
def test_what_is_downloaded_can_be_uploaded_again(world: World, form: str) -> None:
    rows = [["=1+1", 6, 2], ["'单引号", 7.5, None], ["0017", 8, 1], ['浙江,省"x', 9, 3]]
    with for_environment(world.production):
        publish_table(world, rows=rows)
    client = sign_in(world, "supervisor")
    draft = begin(world)

    answer = client.get(f"/tables/freight/download/?format={form}")
    upload(client, draft, answer.content, f"x.{form}")
    client.post(f"/tables/versions/{draft.public_id}/apply/", {"mode": "replace"})

    assert newest(world).content["rows"] == rows
    assert "attachment" in answer["Content-Disposition"]
    if form == "xlsx":
        sheet = openpyxl.load_workbook(io.BytesIO(answer.content)).active
        assert {cell.data_type for row in sheet.iter_rows() for cell in row if cell.value} == {"s"}
    else:
        assert b"'=1+1" in answer.content


# --- who may --------------------------------------------------------------------------------------


def test_only_those_who_write_rules_write_tables(world: World, freight: Version) -> None:
    draft = begin(world)
    address = f"/tables/versions/{draft.public_id}/"
    for role in ("agent", "tech_support", "director"):
        client = sign_in(world, role)
        assert client.get("/tables/").status_code == 200
        assert client.get(address).status_code == 200
        for action in ("save", "upload", "apply", "discard", "decide"):
            assert client.post(f"{address}{action}/").status_code == 403, (role, action)
        assert client.post("/tables/new/", {"name": "x"}).status_code == 403
        assert client.post("/tables/freight/draft/").status_code == 403
    assert newest(world).checksum == draft.checksum


def test_a_draft_is_its_author_s(world: World, freight: Version) -> None:
    draft = begin(world)
    other = sign_in(world, "reviewer")

    page = other.get(f"/tables/versions/{draft.public_id}/").content.decode()
    refused = other.post(f"/tables/versions/{draft.public_id}/save/", form_of(draft))

    assert 'data-testid="table-form"' not in page
    assert refused.status_code == 403
    assert begin(world, "reviewer").public_id != draft.public_id


def test_another_division_sees_no_table(world: World, freight: Version) -> None:
    outsider = sign_in(world, "outsider")
    draft = begin(world)

    assert "运费表" not in outsider.get("/tables/").content.decode()
    assert outsider.get("/tables/freight/").status_code == 404
    assert outsider.get("/tables/freight/download/").status_code == 404
    assert outsider.get(f"/tables/versions/{draft.public_id}/").status_code == 404
    assert outsider.post("/tables/freight/draft/").status_code == 404
    with for_environment(world.other):
        assert [t.key for t in list_published()] == ["promotions", "deadlines", "holidays"]


def test_a_draft_never_submitted_can_be_thrown_away(world: World) -> None:
    client = sign_in(world, "supervisor")
    client.post("/tables/new/", {"name": "废表"})
    with for_environment(world.production):
        draft = Version.objects.get(document__kind="lookup_table")

    client.post(f"/tables/versions/{draft.public_id}/discard/")

    with for_environment(world.production):
        assert not Document.objects.filter(kind="lookup_table").exists()
    assert table_content()["key"] == "freight"
