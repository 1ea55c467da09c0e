"""Imports: joined, counted, resumed, repeated; bad rows aside with their whole order."""

from __future__ import annotations

import copy
import io
from collections import Counter
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import openpyxl
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from config.errors import BadInput
from config.tenancy.scope import for_environment
from connectors.channels.status_mappings import remap_orders
from connectors.orders.models import CustomField, Order, OrderLine, Payment, Receipt
from connectors.orders.status_mappings import STATUS_MAPPING_KIND, list_all_changes
from connectors.shops.models import Shop, Source
from connectors.tabular import services
from connectors.tabular.mapping import check_mapping
from connectors.tabular.models import ImportRun, QuarantineRow
from connectors.tabular.readers import list_sheets
from connectors.tabular.services import TakenOver, create_run, list_stalled_runs, run_import
from connectors.tabular.workbook import prefix, unprefix, workbook_mapping, write_workbook
from tests.connectors.conftest import NOW
from tests.factories import publish_document

ORDERS = """订单号 ,状态,下单时间,付款时间,实付,收货人
A1,待发货,2025-11-11 10:00:00,2025-11-11 10:01:00,30.00,王小明
A2,待发货,2025-11-11 11:00:00,2025-11-11 11:01:00,20.00,=1+1
A3,交易关闭,2025-11-11 12:00:00,,,
"""
LINES = """订单号,SKU,数量,单价
A1,S1,1,10.00
A1,S2,2,10.00
A2,S1,1,20.00
A3,S1,1,20.00
"""


@pytest.fixture
def load(world, write, simple_mapping):
    """Import two small files; every argument of run_import can be given."""

    def run(orders=ORDERS, lines=LINES, mapping=None, environment=None, **more):
        files = {"orders": write("订单.csv", orders), "lines": write("明细.csv", lines)}
        arguments = {"complete_until": NOW, "now": NOW} | more
        return run_import(
            environment or world.production,
            mapping=mapping or simple_mapping,
            files=files,
            **arguments,
        )

    return run


def quarantined(environment) -> list[tuple]:
    with for_environment(environment):
        return [
            (r.file_key, r.line, r.column, r.code, r.is_culprit)
            for r in QuarantineRow.objects.filter(cleared_at=None).order_by("file_key", "line")
        ]


def numbers(environment) -> list[str]:
    with for_environment(environment):
        return sorted(Order.objects.values_list("order_no", flat=True))


def test_two_files_become_orders_with_lines(world, load):
    run = load()

    assert (run.state, run.phase, run.done, run.total) == ("done", "done", 3, 3)
    assert {k: v for k, v in run.counts.items() if v} == {"orders": 3, "lines": 4, "orders_new": 3}
    with for_environment(world.production):
        order = Order.objects.get(order_no="A1")
        assert (order.stage, order.paid_fen, order.shop.name) == ("await_ship", 3000, "旗舰店")
        assert order.placed_at == datetime(2025, 11, 11, 2, 0, tzinfo=UTC)
        assert order.reveal_receiver()["name"] == "王小明"
        assert list(order.lines.order_by("sku").values_list("sku", "quantity", "price_fen")) == [
            ("S1", 1, 1000),
            ("S2", 2, 1000),
        ]
        assert Order.objects.get(order_no="A3").stage == "closed_unpaid"


def test_repeating_an_import_changes_nothing(world, load):
    load()
    with for_environment(world.production):
        before = list(Order.objects.order_by("pk").values())

    run = load(now=NOW + timedelta(hours=1))

    assert (run.counts["orders_unchanged"], run.counts["orders_new"]) == (3, 0)
    with for_environment(world.production):
        assert list(Order.objects.order_by("pk").values()) == before


def test_a_first_import_is_history_and_the_next_is_not(world, load):
    assert load().is_history is True
    later = load(ORDERS + "A4,待发货,2025-11-11 13:00:00,,,\n")

    assert later.is_history is False
    with for_environment(world.production):
        assert dict(Order.objects.values_list("order_no", "is_history")) == {
            "A1": True,
            "A2": True,
            "A3": True,
            "A4": False,
        }


def test_a_bad_line_keeps_its_whole_order_out_and_its_neighbours_come_in(world, load):
    run = load(lines=LINES.replace("A1,S2,2,10.00", "A1,S2,-2,1e308"))

    assert numbers(world.production) == ["A2", "A3"]
    assert (run.counts["quarantined_orders"], run.counts["bad_rows"]) == (1, 1)
    assert quarantined(world.production) == [
        ("lines", 2, "", "companion", False),
        ("lines", 3, "数量、单价", "out_of_range", True),
        ("orders", 2, "", "companion", False),
    ]
    with for_environment(world.production):
        row = QuarantineRow.objects.get(is_culprit=True)
        assert "数量「-2」超出范围" in row.reason
        assert "金额「1e308」超出范围" in row.reason
        assert row.remedy
        assert "王小明" not in QuarantineRow.objects.get(file_key="orders").cells_sealed
        companion = QuarantineRow.objects.get(file_key="orders")
        assert "「明细.csv」第 3 行有问题，整单暂不导入" in companion.reason
        assert companion.reveal_cells()["收货人"] == "王小明"


@pytest.mark.parametrize(
    ("cell", "column", "code"),
    [
        ("0001-01-01 00:00:00", "付款时间", "bad_year"),
        ("9999-12-31 00:00:00", "付款时间", "bad_year"),
        ("昨天", "付款时间", "not_a_time"),
    ],
)
def test_a_bad_time_is_quarantined_with_its_place(world, load, cell, column, code):
    load(ORDERS.replace("2025-11-11 10:01:00", cell))

    assert numbers(world.production) == ["A2", "A3"]
    assert ("orders", 2, column, code, True) in quarantined(world.production)


def test_two_contents_of_one_order_both_go_to_quarantine(world, load):
    run = load(ORDERS + "A1,待付款,2025-11-11 10:00:00,,,王小明\n")

    assert numbers(world.production) == ["A2", "A3"]
    assert run.counts["quarantined_orders"] == 1
    assert [q for q in quarantined(world.production) if q[0] == "orders"] == [
        ("orders", 2, "订单号", "conflict", True),
        ("orders", 5, "订单号", "conflict", True),
    ]
    with for_environment(world.production):
        assert "第 5 行" in QuarantineRow.objects.get(file_key="orders", line=2).reason
        assert "第 2 行" in QuarantineRow.objects.get(file_key="orders", line=5).reason


def test_exact_repeats_are_merged_and_counted(world, load):
    repeated = ORDERS + ORDERS.splitlines()[1] + "\n"

    run = load(repeated, LINES + "A1,S1,1,10.00\n")

    assert numbers(world.production) == ["A1", "A2", "A3"]
    assert quarantined(world.production) == []
    assert run.notices == [
        {"kind": "merged", "file": "明细.csv", "count": 1},
        {"kind": "merged", "file": "订单.csv", "count": 1},
    ]
    with for_environment(world.production):
        assert OrderLine.objects.filter(order__order_no="A1").count() == 2


def test_rows_without_a_key_and_lines_without_an_order_are_quarantined(world, load):
    run = load(ORDERS + ",待发货,,,,\n", LINES + "ZZ,S1,1,1.00\n3.81001E+13,S1,1,1.00\n")

    assert numbers(world.production) == ["A1", "A2", "A3"]
    assert run.counts["bad_rows"] == 3
    assert quarantined(world.production) == [
        ("lines", 6, "订单号", "orphan", True),
        ("lines", 7, "订单号", "number_lost", True),
        ("orders", 5, "订单号", "no_key", True),
    ]


def test_an_unknown_status_word_is_unknown_and_counted_not_guessed(world, load):
    run = load(ORDERS.replace("A2,待发货", "A2,神秘状态"))

    with for_environment(world.production):
        order = Order.objects.get(order_no="A2")
        assert (order.stage, order.raw_status) == ("unknown", "神秘状态")
    assert run.notices == [
        {
            "kind": "unknown_word",
            "table": "stage",
            "channel": "tmall",
            "word": "神秘状态",
            "count": 1,
        }
    ]


def test_a_status_the_business_mapped_is_known_in_the_next_file_and_the_orders_follow(world, load):
    orders = ORDERS.replace("A2,待发货", "A2,神秘状态")
    load(orders)
    with for_environment(world.production):
        row = {"raw_status": "神秘状态", "stage": "shipped", "effective_from": "2025-11-01"}
        publish_document({"rows": [row]}, world, kind=STATUS_MAPPING_KIND, key="tmall", now=NOW)
        assert list_all_changes(NOW) == {"tmall": {"神秘状态": "shipped"}}
        told = remap_orders(channel="tmall", statuses=["神秘状态"], now=NOW)
        assert (told.read, told.restaged) == (1, 1)
        assert Order.objects.get(order_no="A2").stage == "shipped"

    run = load(orders.replace("A3,交易关闭", "A3,神秘状态"))

    with for_environment(world.production):
        assert dict(Order.objects.values_list("order_no", "stage")) == {
            "A1": "await_ship",  # the file's own word comes first
            "A2": "shipped",
            "A3": "shipped",
        }
    assert run.notices == []


def test_a_short_row_keeps_its_order_out(world, load):
    load(lines=LINES.replace("A2,S1,1,20.00", "A2,S1"))

    assert numbers(world.production) == ["A1", "A3"]


def test_a_dry_run_counts_and_writes_nothing_but_the_run(world, load):
    run = load(lines=LINES.replace("A1,S2,2,10.00", "A1,S2,-2,10.00"), dry_run=True)

    assert run.state == "done"
    assert (run.counts["orders"], run.counts["orders_new"]) == (2, 2)
    assert [(p["file"], p["line"], p["column"], p["code"]) for p in run.problems] == [
        ("明细.csv", 3, "数量", "out_of_range")
    ]
    with for_environment(world.production):
        for model in (Order, OrderLine, Shop, Source, QuarantineRow, CustomField):
            assert model.objects.count() == 0, model
        assert ImportRun.objects.count() == 1


def test_a_dry_run_of_many_batches_works(world, write, simple_mapping, monkeypatch):
    monkeypatch.setattr(services, "BATCH", 2)
    files = {"orders": write("订单.csv", ORDERS), "lines": write("明细.csv", LINES)}

    run = run_import(
        world.production,
        mapping=simple_mapping,
        files=files,
        complete_until=NOW,
        now=NOW,
        dry_run=True,
    )

    assert run.counts["orders_new"] == 3
    with for_environment(world.production):
        assert Order.objects.count() == Shop.objects.count() == 0


class Killed(BaseException):
    """What a worker that dies between two lines looks like from inside."""


@pytest.mark.parametrize("death", [0, 1, 2])
def test_an_import_killed_midway_goes_on_where_it_was(
    world, write, simple_mapping, monkeypatch, death
):
    monkeypatch.setattr(services, "BATCH", 1)
    bad_lines = LINES.replace("A1,S2,2,10.00", "A1,S2,-2,10.00")
    files = {"orders": write("订单.csv", ORDERS), "lines": write("明细.csv", bad_lines)}
    mapping = check_mapping(simple_mapping)
    run = create_run(world.production, mapping=mapping, complete_until=NOW, now=NOW)
    real, calls = services.receive, []

    def receive_or_die(*args, **kwargs):
        result = real(*args, **kwargs)
        calls.append(args)
        if len(calls) == death + 1:
            raise Killed  # after the rows are written, before the commit
        return result

    monkeypatch.setattr(services, "receive", receive_or_die)
    arguments = {"mapping": mapping, "files": files, "complete_until": NOW, "now": NOW}
    if death < 2:
        with pytest.raises(Killed):
            run_import(world.production, import_run=run, **arguments)
        with for_environment(world.production):
            run.refresh_from_db()
            assert (run.state, Order.objects.count()) == ("running", death)
            assert run.done == death + 1  # A1 went to quarantine in a batch of its own
            assert Source.objects.filter(complete_until__isnull=False).count() == 0
        with pytest.raises(TakenOver):  # the dead worker's claim is still warm
            run_import(world.production, import_run=run, **arguments)
        with for_environment(world.production):
            ImportRun.objects.update(heartbeat_at=run.heartbeat_at - timedelta(minutes=5))
            assert list_stalled_runs(run.heartbeat_at) == [run]

    run = run_import(world.production, import_run=run, **arguments)

    assert (run.state, run.done) == ("done", 3)
    assert (run.counts["orders"], run.counts["orders_new"]) == (2, 2)
    assert run.counts["bad_rows"] == 1
    assert numbers(world.production) == ["A2", "A3"]
    with for_environment(world.production):
        assert Order.objects.filter(is_history=True).count() == 2
        assert QuarantineRow.objects.count() == 3
        assert set(Order.objects.values_list("revision", flat=True)) == {1}
        assert Source.objects.get().complete_until == NOW


def test_a_run_that_is_over_is_not_run_again(world, load, simple_mapping, write):
    run = load()
    files = {"orders": write("订单.csv", ORDERS), "lines": write("明细.csv", LINES)}

    with pytest.raises(TakenOver):
        run_import(
            world.production,
            mapping=check_mapping(simple_mapping),
            files=files,
            complete_until=NOW,
            now=NOW,
            import_run=run,
        )


def test_a_file_that_cannot_be_read_applies_nothing_and_says_why(world, write, simple_mapping):
    files = {"orders": write("订单.csv", ORDERS), "lines": write("明细.csv", "")}

    with pytest.raises(BadInput):
        run_import(
            world.production, mapping=simple_mapping, files=files, complete_until=NOW, now=NOW
        )

    with for_environment(world.production):
        run = ImportRun.objects.get()
        assert run.state == "failed"
        assert "文件「明细.csv」是空的" in run.error
        assert Order.objects.count() == 0
        assert Source.objects.count() == 0


def test_a_missing_column_is_named_with_the_ones_there_are(world, load):
    with pytest.raises(BadInput) as caught:
        load(ORDERS.replace("付款时间", "支付于"))

    assert caught.value.code == "missing_columns"
    assert "缺少映射用到的列：付款时间" in caught.value.text
    assert "支付于" in caught.value.text


def test_two_environments_do_not_see_each_other(world, load):
    load()

    run = load(environment=world.other, lines=LINES.replace("A1,S1,1", "A1,S1,x"))

    assert run.is_history is True
    assert numbers(world.production) == ["A1", "A2", "A3"]
    assert numbers(world.other) == ["A2", "A3"]
    with for_environment(world.production):
        assert ImportRun.objects.count() == 1
        assert QuarantineRow.objects.count() == 0
    assert numbers(world.staging) == []


def test_receipts_gateway_and_orders_meet_whatever_the_files(world, write, simple_mapping):
    mapping = copy.deepcopy(simple_mapping)
    mapping["files"] |= {
        "gateway": {
            "holds": "gateway",
            "file": "流水.csv",
            "columns": {
                "商户订单号": "payment.order_no",
                "金额": "payment.amount_fen",
                "时间": "payment.paid_at",
                "状态": "payment.status",
            },
        },
        "oms": {
            "holds": "oms",
            "file": "oms.csv",
            "columns": {"订单号": "receipt.order_no", "接收时间": "receipt.received_at"},
        },
    }
    mapping["words"]["payment_status"] = {"支付成功": "paid"}
    gateway = (
        "商户订单号,金额,时间,状态\n"
        "A1,30.00,2025-11-11 10:00:30,支付成功\n"
        "A9,1.00,2025-11-11 10:00:30,支付成功\n"
        "A2,20.00,2025-11-11 11:00:30,怪状态\n"
    )
    oms = "订单号,接收时间\nA1,2025-11-11 10:05:00\nA2,bad\nA3,2025-11-11 10:05:00\nA3,2025-11-11 11:05:00\n"
    files = {
        "orders": write("订单.csv", ORDERS),
        "lines": write("明细.csv", LINES),
        "gateway": write("流水.csv", gateway),
        "oms": write("oms.csv", oms),
    }

    run = run_import(world.production, mapping=mapping, files=files, complete_until=NOW, now=NOW)

    assert (run.counts["gateway"], run.counts["oms"], run.counts["orders"]) == (3, 1, 3)
    assert run.counts["bad_rows"] == 3
    with for_environment(world.production):
        order = Order.objects.get(order_no="A1")
        assert order.gateway_paid_fen == 3000
        assert order.oms_received_at == datetime(2025, 11, 11, 2, 5, tzinfo=UTC)
        assert set(Payment.objects.values_list("order_no", "status", "order__order_no")) == {
            ("A1", "paid", "A1"),
            ("A2", "unknown", "A2"),
            ("A9", "paid", None),
        }
        assert list(Receipt.objects.values_list("order_no", flat=True)) == ["A1"]
        assert set(Source.objects.values_list("kind", flat=True)) == {"channel", "gateway", "oms"}
    assert [n["word"] for n in run.notices] == ["怪状态"]


def test_open_orders_are_walked_again_when_the_first_oms_speaks(world, load, write):
    load()
    with for_environment(world.production):
        before = dict(Order.objects.values_list("order_no", "node"))
    assert before["A1"] == "delivery" or before["A1"] != "callback"
    mapping = {
        "name": "OMS",
        "files": {
            "oms": {
                "holds": "oms",
                "file": "oms.csv",
                "columns": {"订单号": "receipt.order_no", "接收时间": "receipt.received_at"},
            }
        },
    }

    run_import(
        world.production,
        mapping=mapping,
        files={"oms": write("oms.csv", "订单号,接收时间\nA2,2025-11-11 11:05:00\n")},
        complete_until=NOW,
        now=NOW,
    )

    with for_environment(world.production):
        assert Order.objects.get(order_no="A1").node == "callback"
        assert Order.objects.get(order_no="A2").node == "oms_review"


def test_an_orders_file_with_one_row_per_line_is_one_order(world, write):
    mapping = {
        "name": "平铺",
        "files": {
            "orders": {
                "holds": "orders",
                "file": "a.csv",
                "columns": {
                    "订单号": "order.order_no",
                    "状态": "order.stage",
                    "SKU": "line.sku",
                    "数量": "line.quantity",
                },
            }
        },
        "words": {"stage": {"待发货": "await_ship"}},
    }
    text = "订单号,状态,SKU,数量\nA1,待发货,S1,1\nA1,待发货,S2,2\nA2,待发货,S1,1\nA2,待付款,S2,1\n"

    run_import(
        world.production,
        mapping=mapping,
        files={"orders": write("a.csv", text)},
        complete_until=NOW,
        now=NOW,
    )

    assert numbers(world.production) == ["A1"]
    with for_environment(world.production):
        assert Counter(OrderLine.objects.values_list("sku", flat=True)) == {"S1": 1, "S2": 1}
        assert {q.code for q in QuarantineRow.objects.all()} == {"conflict"}
        assert Shop.objects.get().name == "平铺"


def test_custom_fields_are_made_once_and_filled(world, write, simple_mapping):
    mapping = copy.deepcopy(simple_mapping)
    mapping["files"]["orders"]["columns"]["客服"] = {
        "custom": "agent",
        "label": "客服",
        "type": "text",
    }
    mapping["files"]["lines"]["columns"]["成本"] = {
        "custom": "cost",
        "label": "成本",
        "type": "money",
        "level": "line",
    }
    orders = ORDERS.replace("收货人\n", "收货人,客服\n").replace("王小明\n", "王小明,小李\n")
    orders = orders.replace("=1+1\n", "=1+1,\n").replace(",,,\n", ",,,,\n")
    lines = "\n".join(
        line + (",成本" if i == 0 else ",3.50") for i, line in enumerate(LINES.splitlines())
    )
    for _ in range(2):
        run_import(
            world.production,
            mapping=mapping,
            files={"orders": write("订单.csv", orders), "lines": write("明细.csv", lines)},
            complete_until=NOW,
            now=NOW,
        )

    with for_environment(world.production):
        assert set(CustomField.objects.values_list("level", "key", "label", "type")) == {
            ("order", "agent", "客服", "text"),
            ("line", "cost", "成本", "money"),
        }
        assert Order.objects.get(order_no="A1").custom == {"agent": "小李"}
        assert Order.objects.get(order_no="A2").custom == {"agent": None}
        assert OrderLine.objects.filter(order__order_no="A2").get().custom == {"cost": 350}


def test_customers_and_products_are_joined_in(world, write, simple_mapping):
    mapping = copy.deepcopy(simple_mapping)
    mapping["files"] |= {
        "customers": {
            "holds": "customers",
            "file": "c.csv",
            "join": {"column": "编号", "matches": "收货人"},
            "columns": {"城市": "order.city"},
        },
        "products": {
            "holds": "products",
            "file": "p.csv",
            "join": {"column": "SKU", "matches": "SKU"},
            "columns": {"重量": "line.weight_g", "类目": "line.category"},
        },
    }
    files = {
        "orders": write("订单.csv", ORDERS),
        "lines": write("明细.csv", LINES),
        "customers": write("c.csv", "编号,城市\n王小明,杭州市\n"),
        "products": write("p.csv", "SKU,重量,类目\nS1,100,\nS2,x,裙\n"),
    }

    run = run_import(world.production, mapping=mapping, files=files, complete_until=NOW, now=NOW)

    assert numbers(world.production) == ["A2", "A3"]  # S2's weight is bad, and A1 has an S2
    assert ("products", 3, "重量", "not_a_number", True) in quarantined(world.production)
    with for_environment(world.production):
        assert Order.objects.get(order_no="A2").city is None
        line = OrderLine.objects.get(order__order_no="A2")
        assert (line.weight_g, line.category) == (100.0, "")
    assert {"kind": "unmatched", "file": "c.csv", "count": 1} in run.notices


# -- the quarantine workbook -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "cell",
    [
        "=1+1",
        "+1",
        "-5.00",
        "@x",
        "\tx",
        "\rx",
        "＝1",
        "'quoted",
        "''",
        "plain",
        "",
        "=cmd|' /C calc'!A0",
    ],
)
def test_the_formula_guard_round_trips(cell):
    guarded = prefix(cell)

    assert unprefix(guarded) == cell
    assert not guarded.startswith(("=", "+", "-", "@", "\t", "\r", "＝"))


def make_quarantine(run, environment, tmp_path):
    target = io.BytesIO()
    with for_environment(environment):
        rows = write_workbook(run, target)
    path = tmp_path / "隔离.xlsx"
    path.write_bytes(target.getvalue())
    return path, rows


def reimport(environment, run, path):
    mapping = workbook_mapping(run.mapping, list_sheets(path, name=path.name))
    repair = create_run(
        environment,
        mapping=mapping,
        complete_until=run.complete_until,
        now=NOW,
        repairs=run,
    )
    return run_import(
        environment,
        mapping=mapping,
        files=dict.fromkeys(mapping["files"], path),
        complete_until=None,
        now=NOW,
        import_run=repair,
        names=dict.fromkeys(mapping["files"], "隔离.xlsx"),
    )


def test_a_mended_workbook_clears_what_it_mends(world, load, tmp_path):
    bad = LINES.replace("A1,S2,2,10.00", "A1,S2,-2,10.00").replace("A2,S1,1,20.00", "A2,S1,x,20.00")
    run = load(lines=bad)
    path, rows = make_quarantine(run, world.production, tmp_path)
    assert (rows, numbers(world.production)) == (5, ["A3"])

    book = openpyxl.load_workbook(path)
    assert book.sheetnames == ["orders", "lines"]
    sheet = book["lines"]
    header = [c.value for c in sheet[1]]
    assert header[:4] == ["订单号", "SKU", "数量", "单价"]
    assert header[4:] == ["隔离·文件", "隔离·行", "隔离·列", "隔离·原因", "隔离·怎么改"]
    assert [c.value for c in sheet[3]][2] == "'-2"
    receivers = {row[5].value for row in book["orders"].iter_rows(min_row=2)}
    assert receivers == {"王小明", "'=1+1"}
    sheet["C3"] = 2  # a person types a number; A2 stays wrong
    book.save(path)
    repair = reimport(world.production, run, path)

    assert (repair.state, repair.counts["orders_new"]) == ("done", 1)
    assert numbers(world.production) == ["A1", "A3"]
    with for_environment(world.production):
        assert QuarantineRow.objects.filter(run=run, cleared_at=None).count() == 0
        left = QuarantineRow.objects.filter(run=repair, cleared_at=None)
        assert {(r.file_key, r.group, r.is_culprit) for r in left} == {
            ("orders", "A2", False),
            ("lines", "A2", True),
        }
        assert left.get(file_key="orders").reveal_cells()["收货人"] == "=1+1"

    again, rows = make_quarantine(repair, world.production, tmp_path)
    book = openpyxl.load_workbook(again)
    book["lines"]["C2"] = "1"
    book.save(again)
    last = reimport(world.production, repair, again)

    assert last.counts["bad_rows"] == 0
    assert numbers(world.production) == ["A1", "A2", "A3"]
    assert quarantined(world.production) == []
    with for_environment(world.production):
        assert Order.objects.get(order_no="A2").reveal_receiver()["name"] == "=1+1"
        assert Source.objects.get().complete_until == NOW


def test_deleting_the_wrong_one_of_two_contents_settles_both(world, load, tmp_path):
    run = load(ORDERS + "A1,待付款,2025-11-11 10:00:00,,,王小明\n")
    path, rows = make_quarantine(run, world.production, tmp_path)
    assert rows == 4
    book = openpyxl.load_workbook(path)
    book["orders"].delete_rows(3)
    book.save(path)

    repair = reimport(world.production, run, path)

    assert repair.counts["orders_new"] == 1
    assert quarantined(world.production) == []
    with for_environment(world.production):
        assert Order.objects.get(order_no="A1").stage == "await_ship"


def test_customers_wait_with_their_orders_and_leave_with_the_last(
    world, write, simple_mapping, tmp_path
):
    mapping = copy.deepcopy(simple_mapping)
    mapping["files"]["customers"] = {
        "holds": "customers",
        "file": "c.csv",
        "join": {"column": "编号", "matches": "收货人"},
        "columns": {"城市": "order.city"},
    }
    orders = ORDERS.replace("=1+1", "王小明")
    bad = LINES.replace("A1,S1,1", "A1,S1,x").replace("A2,S1,1", "A2,S1,y")
    files = {
        "orders": write("订单.csv", orders),
        "lines": write("明细.csv", bad),
        "customers": write("c.csv", "编号,城市\n王小明,杭州市\n"),
    }
    run = run_import(world.production, mapping=mapping, files=files, complete_until=NOW, now=NOW)
    path, rows = make_quarantine(run, world.production, tmp_path)
    assert rows == 2 + 3 + 1
    book = openpyxl.load_workbook(path)
    for row in book["lines"].iter_rows(min_row=2):
        row[2].value = "1"
    book.save(path)

    reimport(world.production, run, path)

    assert quarantined(world.production) == []
    with for_environment(world.production):
        assert set(Order.objects.exclude(order_no="A3").values_list("city", flat=True)) == {
            "杭州市"
        }


def test_an_import_costs_a_fixed_number_of_queries_per_batch(world, write, simple_mapping):
    def cost(count: int, environment) -> int:
        head, lines = ORDERS.splitlines()[0], LINES.splitlines()[0]
        orders = "\n".join(
            [head, *(f"N{i},待发货,2025-11-11 10:00:00,,1.00,x" for i in range(count))]
        )
        items = "\n".join([lines, *(f"N{i},S1,1,1.00" for i in range(count))])
        files = {"orders": write("订单.csv", orders), "lines": write("明细.csv", items)}
        with CaptureQueriesContext(
            connection,
        ) as queries:
            run_import(
                environment, mapping=simple_mapping, files=files, complete_until=NOW, now=NOW
            )
        return sum("SAVEPOINT" not in q["sql"] and q["sql"] != "DISCARD PLANS" for q in queries)

    small, large = cost(20, world.production), cost(400, world.other)

    assert small == large


# -- time and attempts -----------------------------------------------------------------------------


def test_an_import_that_runs_out_of_time_goes_back_into_the_queue_and_on(
    world, write, simple_mapping, monkeypatch
):
    monkeypatch.setattr(services, "BATCH", 1)
    files = {"orders": write("订单.csv", ORDERS), "lines": write("明细.csv", LINES)}
    mapping = check_mapping(simple_mapping)
    run = create_run(world.production, mapping=mapping, complete_until=NOW, now=NOW)
    arguments = {"mapping": mapping, "files": files, "complete_until": NOW, "now": NOW}
    ticks = iter([0.0, 1.0, 99.0])
    clock = SimpleNamespace(monotonic=lambda: next(ticks))  # the module's own, nobody else's
    monkeypatch.setattr(services, "time", clock)

    run = run_import(world.production, import_run=run, budget=timedelta(seconds=10), **arguments)

    assert (run.state, run.done, numbers(world.production)) == ("queued", 1, ["A1"])
    run = run_import(world.production, import_run=run, **arguments)
    assert (run.state, run.counts["orders_new"]) == ("done", 3)
    assert numbers(world.production) == ["A1", "A2", "A3"]


def test_an_import_that_keeps_breaking_is_given_up_with_a_word(world, write, simple_mapping):
    files = {"orders": write("订单.csv", ORDERS), "lines": write("明细.csv", LINES)}
    mapping = check_mapping(simple_mapping)
    run = create_run(world.production, mapping=mapping, complete_until=NOW, now=NOW)
    with for_environment(world.production):
        ImportRun.objects.update(attempts=services.MAX_ATTEMPTS)

    with pytest.raises(BadInput):
        run_import(
            world.production,
            mapping=mapping,
            files=files,
            complete_until=NOW,
            now=NOW,
            import_run=run,
        )

    with for_environment(world.production):
        run.refresh_from_db()
        assert run.state == "failed"
        assert "不再自动重试" in run.error
        assert Order.objects.count() == 0
