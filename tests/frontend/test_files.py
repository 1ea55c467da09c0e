"""The pages of the file connector, through the test client; the worker's call stands in for it."""

from __future__ import annotations

import io
import stat
from datetime import timedelta
from pathlib import Path

import openpyxl
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from config.audit.models import AuditEntry
from config.tenancy.scope import for_environment, for_tenant
from connectors.orders.models import Order
from connectors.shops.models import Source
from connectors.tabular.models import FileSet, ImportRun, QuarantineRow, SavedMapping, StoredFile
from connectors.tabular.uploads import display_name, file_folder, work_off

ORDERS = (
    "订单号,平台状态,下单时间,付款时间,实付金额,支付方式,收货人\n"
    "A1,待发货,11/10/2025 10:00,11/10/2025 10:01,30.00,支付宝,王小明\n"
    "A2,神秘状态,11/11/2025 11:00,,20.00,货到付款,李雷\n"
    "A3,交易关闭,11/30/2025 12:00,,,,韩梅\n"
)
LINES = "订单号,SKU,数量,单价\nA1,S1,1,30.00\nA2,S1,-1,20.00\nA3,S2,1,5.00\n"


@pytest.fixture(autouse=True)
def media(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path / "files"


@pytest.fixture
def client(world) -> Client:
    """A supervisor of the first division."""
    client = Client()
    client.force_login(world.users["supervisor"], "django.contrib.auth.backends.ModelBackend")
    return client


@pytest.fixture
def sent(monkeypatch) -> list[tuple]:
    """Tasks that were handed to the queue."""
    tasks: list[tuple] = []
    monkeypatch.setattr(
        "frontend.pages.files.enqueue", lambda *args, **kwargs: tasks.append((args, kwargs))
    )
    return tasks


def upload(client: Client, **files: str | bytes):
    parts = [
        SimpleUploadedFile(name, text.encode() if isinstance(text, str) else text)
        for name, text in (files or {"订单.csv": ORDERS, "订单行.csv": LINES}).items()
    ]
    return client.post("/files/upload", {"files": parts}, follow=True)


def the_set(world) -> FileSet:
    with for_environment(world.production):
        return FileSet.objects.get()


def run_queued(world) -> ImportRun:
    """What the worker does with the newest run."""
    with for_environment(world.production):
        run = ImportRun.objects.order_by("-pk").first()
    work_off(world.production, run.pk, now=timezone.now(), budget=timedelta(minutes=1))
    with for_environment(world.production):
        run.refresh_from_db()
    return run


def test_an_upload_is_guessed_and_shown(world, client):
    response = upload(client)

    page = response.content.decode()
    assert response.redirect_chain[0][0] == f"/files/sets/{the_set(world).public_id}/"
    columns = {
        spec["holds"]: {c["column"]: c["field"] for c in spec["columns"] if "is_one_of" not in c}
        for spec in the_set(world).mapping["files"].values()
    }
    assert columns["orders"]["平台状态"] == "order.stage"
    assert columns["lines"]["数量"] == "line.quantity"
    assert 'value="order.placed_at" selected data-time' in page
    assert "王小明" in page


def test_files_lie_under_names_of_ours_for_the_owner_only(world, client):
    upload(client, **{"..\\..\\evil/../a\u202e.csv": ORDERS})

    with for_environment(world.production):
        stored = StoredFile.objects.get()
    folder = file_folder(world.production)
    path = folder / stored.path
    assert stored.name == "a.csv"
    assert path.parent == folder
    assert path.read_text(encoding="utf-8") == ORDERS
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "王小明" not in stored.profile_sealed


def test_names_are_made_safe():
    assert display_name("../../x.csv") == "x.csv"
    assert display_name("a\0b\n.csv") == "ab.csv"
    assert display_name("长" * 300 + ".csv")[-6:] == "长长.csv"
    assert display_name(None) == display_name("///") == "upload"


def test_an_unreadable_file_is_refused_with_its_name_and_nothing_is_kept(world, client):
    response = upload(client, **{"订单.csv": ORDERS, "坏.xlsx": b"MZ\x00\x00"})

    assert "文件「坏.xlsx」不是表格，而是Windows 程序" in response.content.decode()
    with for_environment(world.production):
        assert FileSet.objects.count() == 0
    assert list(file_folder(world.production).iterdir()) == []


def test_the_outcome_follows_what_is_chosen(world, client):
    upload(client)
    url = f"/files/sets/{the_set(world).public_id}/"

    page = client.post(url, {"name": "门店甲"}, headers={"HX-Request": "true"}).content.decode()

    assert "前 3 单会这样进来（共 3 单）" in page
    assert "数量「-1」超出范围" in page
    assert "还有 1 个词没有定" in page
    assert 'value="1" checked' not in page
    page = client.post(url, {"name": "门店甲", "is_history": "1"}).content.decode()
    assert 'name="is_history" value="1" checked' in page
    assert "导入 3 单" in page
    posted = {"name": "门店甲", "w-stage-2": "await_group", "w-stage-2-word": "神秘状态"}
    page = client.post(url, posted, headers={"HX-Request": "true"}).content.decode()
    assert "没有定" not in page
    mapping = the_set(world).mapping
    assert mapping["name"] == "门店甲"
    assert mapping["words"]["stage"]["*"]["神秘状态"] == "await_group"


def test_an_incomplete_mapping_says_what_is_missing(world, client):
    upload(client)
    file_set = the_set(world)
    key = next(k for k, s in file_set.mapping["files"].items() if s["holds"] == "orders")

    posted = {"name": "x", f"{key}-c0": "", f"{key}-c1": "order.stage"}
    page = client.post(f"/files/sets/{file_set.public_id}/", posted).content.decode()

    assert "还没有指定哪一列是「订单号」" in page
    assert 'data-testid="import"' not in page


def test_a_custom_field_is_made_from_a_column(world, client, sent):
    upload(client)
    file_set = the_set(world)
    key = next(k for k, s in file_set.mapping["files"].items() if s["holds"] == "orders")
    fields = ["order.order_no", "order.stage", "order.placed_at", "order.paid_at", "order.paid_fen"]
    posted = {"name": "x", "action": "import"}
    posted |= {f"{key}-c{i}": field for i, field in enumerate(fields)}
    posted |= {f"{key}-c{i}-style": "mdy" for i in (2, 3)}
    posted |= {f"{key}-c6": "custom", f"{key}-c6-label": "联系人", f"{key}-c6-type": "text"}

    client.post(f"/files/sets/{file_set.public_id}/run", posted)
    run = run_queued(world)

    assert run.counts["orders"] == 2
    with for_environment(world.production):
        custom = Order.objects.get(order_no="A1").custom
        assert list(custom.values()) == ["王小明"]


def test_changing_what_a_file_holds_guesses_it_anew(world, client):
    upload(client, **{"a.csv": "订单号,接收时间,出库时间\nA1,2025-11-11 10:00:00,\n"})
    file_set = the_set(world)

    response = client.post(
        f"/files/sets/{file_set.public_id}/holds", {"name": "x", "f1-holds": "oms"}
    )

    assert response["HX-Trigger"] == "mapping-changed"
    spec = the_set(world).mapping["files"]["f1"]
    assert spec["holds"] == "oms"
    assert [c["field"] for c in spec["columns"]] == [
        "receipt.order_no",
        "receipt.received_at",
        "receipt.shipped_at",
    ]


def test_a_dry_run_then_an_import(world, client, sent, django_capture_on_commit_callbacks):
    upload(client)
    file_set = the_set(world)

    with django_capture_on_commit_callbacks(execute=True):
        response = client.post(
            f"/files/sets/{file_set.public_id}/run",
            {"name": "门店", "until": "2025-12-01T10:00", "action": "try"},
        )
    tried = run_queued(world)
    page = client.get(response["Location"]).content.decode()

    assert sent == [
        (("patrol.import_files", world.production.pk, tried.pk), {"queue": "sync"}),
    ]
    assert (tried.is_dry_run, tried.counts["orders"], tried.counts["bad_rows"]) == (True, 2, 1)
    assert "试运行完成：2 单可以导入，1 单会进隔离区；什么都还没有写入" in page
    assert "数量「-1」超出范围" in page
    with for_environment(world.production):
        assert Order.objects.count() == SavedMapping.objects.count() == 0

    with django_capture_on_commit_callbacks(execute=True):
        response = client.post(
            f"/files/sets/{file_set.public_id}/run",
            {"tried": tried.public_id, "action": "import"},
        )
    run = run_queued(world)
    page = client.get(response["Location"]).content.decode()

    assert "导入完成：2 单，1 单在隔离区" in page
    assert run.complete_until == tried.complete_until
    with for_environment(world.production):
        assert set(Order.objects.values_list("order_no", flat=True)) == {"A1", "A3"}
        assert Order.objects.get(order_no="A1").placed_at.isoformat() == "2025-11-10T02:00:00+00:00"
        assert SavedMapping.objects.get().name == "门店"
        assert Source.objects.get().complete_until.isoformat() == "2025-12-01T02:00:00+00:00"


def test_the_same_files_next_time_bring_the_saved_mapping(world, client, sent):
    upload(client)
    first = the_set(world)
    client.post(
        f"/files/sets/{first.public_id}/run",
        {
            "name": "我的店",
            "w-stage-9": "platform_hold",
            "w-stage-9-word": "神秘状态",
            "action": "import",
        },
    )
    run_queued(world)

    upload(client)

    with for_environment(world.production):
        second = FileSet.objects.order_by("-pk").first()
        assert second.pk != first.pk
        assert second.mapping["name"] == "我的店"
        assert second.mapping["words"]["stage"]["*"]["神秘状态"] == "platform_hold"
        assert SavedMapping.objects.count() == 1


def test_a_date_in_the_future_is_no_moment_of_completeness(world, client, sent):
    upload(client)
    file_set = the_set(world)

    response = client.post(
        f"/files/sets/{file_set.public_id}/run",
        {"name": "x", "until": "2099-01-01T00:00", "action": "import"},
        follow=True,
    )

    assert "不能晚于现在" in response.content.decode()
    with for_environment(world.production):
        assert ImportRun.objects.count() == 0


def test_progress_answers_286_when_the_run_is_over(world, client, sent):
    upload(client)
    client.post(f"/files/sets/{the_set(world).public_id}/run", {"name": "x", "action": "import"})
    with for_environment(world.production):
        run = ImportRun.objects.get()

    waiting = client.get(f"/files/runs/{run.public_id}/progress")
    run_queued(world)
    over = client.get(f"/files/runs/{run.public_id}/progress")

    assert (waiting.status_code, over.status_code) == (200, 286)
    assert "等待空闲的工作进程" in waiting.content.decode()
    assert "导入完成" in over.content.decode()


def test_the_quarantine_is_downloaded_mended_and_imported(world, client, sent):
    upload(client)
    client.post(f"/files/sets/{the_set(world).public_id}/run", {"name": "x", "action": "import"})
    run = run_queued(world)

    response = client.get(f"/files/runs/{run.public_id}/workbook")
    book = openpyxl.load_workbook(io.BytesIO(response.content))
    lines = next(s for s in book if s["B1"].value == "SKU")
    lines["C2"] = 1
    target = io.BytesIO()
    book.save(target)
    answer = client.post(
        f"/files/runs/{run.public_id}/repair",
        {"workbook": SimpleUploadedFile("../改好.xlsx", target.getvalue())},
    )
    repair = run_queued(world)

    assert answer["Location"] == f"/files/runs/{repair.public_id}/"
    assert (repair.repairs_id, repair.counts["orders_new"]) == (run.pk, 1)
    assert repair.counts["bad_rows"] == 0
    with for_environment(world.production):
        assert Order.objects.count() == 3
        assert QuarantineRow.objects.filter(cleared_at=None).count() == 0
    with for_tenant(world.tenant):
        entry = AuditEntry.objects.get(action="files.download_quarantine")
        assert entry.details == {"rows": 2}
        assert entry.actor == world.users["supervisor"]


def test_another_workbook_is_not_taken_for_the_quarantine(world, client, sent):
    upload(client)
    client.post(f"/files/sets/{the_set(world).public_id}/run", {"name": "x", "action": "import"})
    run = run_queued(world)
    book = openpyxl.Workbook()
    book.active.append(["a"])
    target = io.BytesIO()
    book.save(target)

    response = client.post(
        f"/files/runs/{run.public_id}/repair",
        {"workbook": SimpleUploadedFile("别的.xlsx", target.getvalue())},
        follow=True,
    )

    assert "不是这次导入的隔离工作簿" in response.content.decode()
    with for_environment(world.production):
        assert ImportRun.objects.count() == 1


def test_foreign_sets_and_runs_do_not_exist(world, client, sent):
    upload(client)
    file_set = the_set(world)
    client.post(f"/files/sets/{file_set.public_id}/run", {"name": "x", "action": "import"})
    run = run_queued(world)
    outsider = Client()
    outsider.force_login(world.users["outsider"], "django.contrib.auth.backends.ModelBackend")

    gets = [
        f"/files/sets/{file_set.public_id}/",
        f"/files/runs/{run.public_id}/",
        f"/files/runs/{run.public_id}/progress",
        f"/files/runs/{run.public_id}/workbook",
    ]
    posts = [
        f"/files/sets/{file_set.public_id}/",
        f"/files/sets/{file_set.public_id}/holds",
        f"/files/sets/{file_set.public_id}/run",
    ]

    assert [outsider.get(url).status_code for url in gets] == [404] * 4
    assert [outsider.post(url, {"name": "y"}).status_code for url in posts] == [404] * 3
    book = SimpleUploadedFile("a.xlsx", b"x")
    assert (
        outsider.post(f"/files/runs/{run.public_id}/repair", {"workbook": book}).status_code == 404
    )
    assert "导入记录" not in outsider.get("/files/").content.decode()
    with for_environment(world.production):
        assert ImportRun.objects.count() == 1
        assert FileSet.objects.get().mapping["name"] == "x"


@pytest.mark.parametrize("role", ["agent", "director", "reviewer"])
def test_a_role_without_the_right_may_not_import(world, role):
    client = Client()
    client.force_login(world.users[role], "django.contrib.auth.backends.ModelBackend")

    assert client.get("/files/").status_code == 403
    file = SimpleUploadedFile("订单.csv", ORDERS.encode())
    assert client.post("/files/upload", {"files": [file]}).status_code == 403
    with for_environment(world.production):
        assert FileSet.objects.count() == 0


def test_nobody_imports_without_signing_in():
    assert Client().get("/files/")["Location"].startswith("/login")


def test_the_list_costs_a_fixed_number_of_queries(world, client, sent):
    def cost() -> int:
        with CaptureQueriesContext(connection) as queries:
            assert client.get("/files/").status_code == 200
        return len(queries)

    for _ in range(2):
        upload(client)
        with for_environment(world.production):
            file_set = FileSet.objects.order_by("-pk").first()
        client.post(f"/files/sets/{file_set.public_id}/run", {"name": "x", "action": "import"})
        run_queued(world)
    few = cost()
    with for_environment(world.production):
        run = ImportRun.objects.order_by("-pk").first()
        for number in range(20):
            ImportRun.objects.create(
                name=f"n{number}", created_at=run.created_at, created_by=run.created_by
            )

    assert cost() == few


def test_templates_carry_no_inline_style_or_script():
    for path in Path("frontend/templates/files").glob("*.html"):
        text = path.read_text(encoding="utf-8")
        assert "style=" not in text, path
        assert "<script" not in text, path
        assert "onclick" not in text, path
