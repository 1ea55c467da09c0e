"""A shop's messy export, mapped in the browser from nothing; the worker dies; the rest is mended."""

from __future__ import annotations

import gzip
from datetime import timedelta
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from django.db.models import Q
from playwright.sync_api import expect

from config.tenancy.scope import for_environment
from connectors.orders.models import Order
from connectors.shops.models import Source
from connectors.tabular.models import ImportRun, QuarantineRow
from tests.factories import PASSWORD, World, make_world
from workflows.patrol.tasks import resend_imports

pytestmark = [
    pytest.mark.browser,
    pytest.mark.journey,
    pytest.mark.shared_data,
    pytest.mark.slow,
    pytest.mark.django_db(transaction=True),
]
ROWS = 9_999
# What somebody's Excel did to three orders; the first row of data is line 2.
IMPOSSIBLE, FAR_FUTURE, TWICE = 101, 5_001, 9_001


def damage(source: Path, target: Path) -> dict[str, str]:
    """A copy of the export with two impossible dates and one order in two versions."""
    lines = gzip.decompress(source.read_bytes()).decode("utf-8-sig").splitlines()
    numbers = {}
    for line, wrong in ((IMPOSSIBLE, "13/45/2017 10:00"), (FAR_FUTURE, "1/1/9999 0:00")):
        cells = lines[line - 1].split(",")
        numbers[wrong] = cells[3]
        cells[3] = wrong
        lines[line - 1] = ",".join(cells)
    cells = lines[TWICE - 1].split(",")
    cells[2] = "created"
    lines.append(",".join(cells))
    target.write_bytes(gzip.compress("\n".join(lines).encode()))
    return numbers


def sign_in(page: Any, address: str) -> None:
    page.goto(f"{address}/login/")
    page.fill("input[name=username]", "supervisor")
    page.fill("input[name=password]", PASSWORD)
    page.click("[data-testid=login-form] button")
    page.wait_for_url(f"{address}/")


def newest_run(world: World) -> ImportRun:
    with for_environment(world.production, write=False):
        return ImportRun.objects.order_by("-pk")[0]


def count_orders(world: World) -> int:
    with for_environment(world.production, write=False):
        return Order.objects.count()


def choose(page: Any, column: str, field: str) -> None:
    row = page.locator("[data-testid=map-row]", has=page.get_by_text(column, exact=True))
    row.locator("[data-testid=field]").select_option(field)


def test_a_messy_export_is_mapped_interrupted_resumed_and_mended(
    page: Any, live_server: Any, river: Any, shared_data: Path, tmp_path: Path
) -> None:
    world = make_world()
    export = tmp_path / "orders_head_us_dates.csv.gz"
    right_dates = damage(shared_data / "data" / "olist" / export.name, export)
    sign_in(page, live_server.url)

    # From nothing: the columns, their date style and the words come filled in; a person decides
    # that this shop's cancelled orders are closed, and which shop it is.
    page.goto(f"{live_server.url}/files/")
    page.set_input_files("#files", str(export))
    page.click("[data-testid=upload]")
    page.wait_for_selector("[data-testid=preview]")
    assert page.locator("[data-testid=preview-row]").count() == 20
    assert "2017-10-02 10:56" in page.inner_text("[data-testid=preview-row] >> nth=0")
    choose(page, "customer_id", "order.buyer")
    page.fill("input[name=name]", "巴西店")
    page.fill("input[name$='-shop']", "Olist")
    page.keyboard.press("Tab")
    expect(page.locator("[data-testid=preview-row]").first).to_contain_text("Olist")

    # A dry run finds what is wrong and writes nothing.
    page.click("[data-testid=try]")
    page.wait_for_url("**/files/runs/**")
    river.wait_until(lambda: newest_run(world).is_over, seconds=120)
    page.wait_for_selector("[data-state=done]")
    assert page.inner_text("[data-testid=bad-rows]") == "4"
    assert f"第 {TWICE} 行" in page.inner_text("[data-testid=problems]")
    assert count_orders(world) == 0

    # The import; its worker is killed in the middle and the minute's tick sends it again.
    page.click("[data-testid=import-tried]")
    expect(page.locator("h1")).to_have_text("导入 巴西店")
    river.wait_until(lambda: count_orders(world) >= 1_000, seconds=120)
    river.kill("bulk")
    killed = newest_run(world)
    assert killed.state == ImportRun.State.RUNNING
    done = count_orders(world)
    assert 0 < done < ROWS - 3
    with for_environment(world.production):
        assert Source.objects.filter(complete_until__isnull=False).count() == 0
        ImportRun.objects.filter(pk=killed.pk).update(
            heartbeat_at=killed.heartbeat_at - timedelta(minutes=5)
        )
    resend_imports(world.production.pk)
    river.wait_until(lambda: newest_run(world).is_over, seconds=120)
    page.wait_for_selector("[data-state=done]")

    run = newest_run(world)
    assert (run.pk, run.state, run.attempts) == (killed.pk, ImportRun.State.DONE, 2)
    assert run.counts["orders_new"] == count_orders(world) == ROWS - 3
    assert (run.counts["bad_rows"], run.counts["quarantined_orders"]) == (4, 3)
    assert run.counts["orders_unchanged"] == 0
    assert page.inner_text("[data-testid=orders-new]") == "9,996"
    assert page.locator("[data-testid=quarantine-row]").count() == 4
    with for_environment(world.production):
        assert Order.objects.filter(Q(is_history=False) | Q(revision__gt=1)).count() == 0
        assert Source.objects.get().complete_until == run.complete_until
        closed = Order.objects.filter(raw_status__in=["canceled", "unavailable"])
        assert set(closed.values_list("stage", flat=True)) <= {"closed_unpaid", "closed_refunded"}

    # The quarantine goes out as a workbook and comes back mended.
    with page.expect_download() as download:
        page.click("[data-testid=download-workbook]")
    workbook = tmp_path / "quarantine.xlsx"
    download.value.save_as(workbook)
    book = openpyxl.load_workbook(workbook)
    sheet = book.worksheets[0]
    assert sheet.max_row == 1 + 4
    surplus = 0
    for row in sheet.iter_rows(min_row=2):
        row[3].value = right_dates.get(row[3].value, row[3].value)
        if row[2].value == "created":
            surplus = row[0].row
    sheet.delete_rows(surplus)
    book.save(workbook)
    page.set_input_files("#workbook", str(workbook))
    page.click("[data-testid=repair]")
    expect(page.locator("h1")).to_have_text("修复 巴西店")
    river.wait_until(lambda: newest_run(world).is_over, seconds=60)
    page.wait_for_selector("[data-state=done]")

    assert page.inner_text("[data-testid=orders-new]") == "3"
    assert count_orders(world) == ROWS
    with for_environment(world.production):
        assert QuarantineRow.objects.filter(cleared_at=None).count() == 0
        mended = Order.objects.filter(raw_status="created").count()
        assert mended == 2  # as in the export before somebody's Excel

    # The same file again, with its saved mapping, changes nothing but what is still wrong in it.
    page.goto(f"{live_server.url}/files/")
    page.set_input_files("#files", str(export))
    page.click("[data-testid=upload]")
    page.wait_for_selector("[data-testid=import]")
    assert page.input_value("input[name=name]") == "巴西店"
    page.click("[data-testid=import]")
    page.wait_for_url("**/files/runs/**")
    river.wait_until(lambda: newest_run(world).is_over, seconds=120)
    page.wait_for_selector("[data-state=done]")
    assert page.inner_text("[data-testid=orders-new]") == "0"
    assert page.inner_text("[data-testid=orders-updated]") == "0"
    assert page.inner_text("[data-testid=orders-unchanged]") == "9,996"
