"""Mappings: what is refused and why, and what is guessed."""

from __future__ import annotations

import copy
import csv
import gzip
import io
from pathlib import Path

import pytest
import yaml
from django.core.management import CommandError, call_command
from django.utils.translation import override

from config.errors import BadInput
from config.releases.services import export_yaml, get_kind, import_yaml, install_preset
from config.tenancy.scope import for_environment
from config.wording import say_error
from connectors.orders.models import Order
from connectors.tabular.fields import BY_NAME, FIELDS, HOLDS, list_fields
from connectors.tabular.mapping import (
    check_mapping,
    find_files,
    guess_holds,
    guess_mapping,
    guess_words,
    load_mapping,
)
from connectors.tabular.models import SavedMapping
from connectors.tabular.words import WORD_TABLES, WORD_VALUES
from tests.connectors.conftest import NOW

DATA = Path(__file__).resolve().parent.parent / "data"


@pytest.mark.parametrize("name", ["promo_mapping.yaml", "olist_mapping.yaml"])
def test_the_shipped_mappings_are_clean_and_stay_so(name):
    clean = load_mapping(DATA / name)

    assert check_mapping(clean) == clean


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: m.update(name=" "), "名称"),
        (lambda m: m.update(time_zone="Mars/Olympus"), "时区「Mars/Olympus」"),
        (lambda m: m.update(money_unit="dollar"), "金额单位"),
        (lambda m: m.update(files={}), "至少要有一个文件"),
        (lambda m: m.update(date_styles=["mdy", "dmy"]), "不能同时"),
        (lambda m: m.update(date_styles=["xyz"]), "日期写法「xyz」"),
        (lambda m: m["files"]["orders"].update(holds="x"), "holds"),
        (lambda m: m["files"]["orders"]["columns"].pop("订单号"), "哪一列是「订单号」"),
        (lambda m: m["files"]["orders"]["columns"].update({"x": "order.nothing"}), "没有字段"),
        (lambda m: m["files"]["orders"]["columns"].update({"x": "receipt.picked_at"}), "不属于"),
        (lambda m: m["files"]["orders"]["columns"].update({"x": "order.paid_fen"}), "对应了两列"),
        (lambda m: m["files"]["orders"]["columns"].update({"x": "line.sku"}), "二选一"),
        (lambda m: m["files"]["orders"]["columns"].update({"x": {"custom": "坏"}}), "英文名"),
        (lambda m: m["files"].pop("orders"), "要和订单文件一起"),
        (lambda m: m["words"]["stage"].update({"怪": "weird"}), "含义「weird」不认识"),
        (lambda m: m["words"].update({"nope": {}}), "词表「nope」"),
        (
            lambda m: m["files"].update({"c": {"holds": "customers", "columns": {}}}),
            "哪一列",
        ),
    ],
)
def test_a_bad_mapping_is_refused_in_words(simple_mapping, change, words):
    mapping = copy.deepcopy(simple_mapping)
    change(mapping)

    with pytest.raises(BadInput) as caught:
        check_mapping(mapping)

    assert words in caught.value.text


def test_every_field_is_an_attribute_of_its_record():
    from connectors.orders.canonical import (
        CanonicalLine,
        CanonicalOrder,
        CanonicalPayment,
        CanonicalReceipt,
    )

    records = {
        "order": CanonicalOrder,
        "line": CanonicalLine,
        "payment": CanonicalPayment,
        "receipt": CanonicalReceipt,
    }
    for field in FIELDS:
        is_join = field.name == "line.order_no"
        assert is_join or field.attribute in records[field.level].__dataclass_fields__, field.name
    assert len(BY_NAME) == len(FIELDS)
    assert all(list_fields(holds) for holds in HOLDS)


def test_every_shipped_word_means_something_known():
    for table, words in WORD_TABLES.items():
        assert set(words.values()) <= WORD_VALUES[table], table


@pytest.mark.parametrize(
    ("name", "holds"),
    [
        ("渠道订单.csv", "orders"),
        ("订单行.csv", "lines"),
        ("支付流水.csv", "gateway"),
        ("OMS接收.csv", "oms"),
        ("WMS接收.csv", "wms"),
        ("customers.csv.gz", "customers"),
        ("order_items.csv.gz", "lines"),
        ("order_payments.csv.gz", "payments"),
        ("products.csv.gz", "products"),
        ("orders_head_us_dates.csv.gz", "orders"),
    ],
)
def test_a_file_name_tells_what_it_holds(name, holds):
    assert guess_holds(name, []) == holds


def test_headers_tell_what_a_nameless_file_holds():
    assert guess_holds("导出1.csv", ["订单编号", "下单时间", "收货人", "实付金额"]) == "orders"
    assert guess_holds("导出2.csv", ["订单编号", "SKU编码", "数量", "单价"]) == "lines"
    assert guess_holds("导出3.csv", ["订单号", "接收时间", "拣货时间", "出库时间"]) == "wms"


def _sample(path: Path) -> tuple[list[str], list[list[str]]]:
    raw = path.read_bytes()
    text = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode("utf-8-sig")
    rows = list(csv.reader(io.StringIO(text)))
    return [h.strip() for h in rows[0]], rows[1:200]


@pytest.mark.shared_data
def test_guessing_a_promo_day_gives_the_hand_made_mapping(shared_data):
    mapping = load_mapping(DATA / "promo_mapping.yaml")
    for spec in mapping["files"].values():
        headers, rows = _sample(shared_data / "promo" / "day" / spec["file"])

        guessed = guess_mapping(headers, rows, holds=spec["holds"])

        by_hand = {(c["column"], c["field"]) for c in spec["columns"]}
        found = {(c["column"], c["field"]) for c in guessed}
        assert by_hand - found <= {("支付方式", "order.is_cod")}, spec["label"]
        assert found <= by_hand, spec["label"]


@pytest.mark.shared_data
def test_guessing_hand_edited_us_dates_finds_fields_and_style(shared_data):
    headers, rows = _sample(shared_data / "data" / "olist" / "orders_head_us_dates.csv.gz")

    guessed = {c["column"]: c for c in guess_mapping(headers, rows, holds="orders")}

    assert {name: c["field"] for name, c in guessed.items()} == {
        "order_id": "order.order_no",
        "order_status": "order.stage",
        "order_purchase_timestamp": "order.placed_at",
        "order_approved_at": "order.approved_at",
        "order_delivered_carrier_date": "order.shipped_at",
        "order_delivered_customer_date": "order.delivered_at",
        "order_estimated_delivery_date": "order.estimated_delivery_at",
    }
    assert guessed["order_purchase_timestamp"]["date_styles"] == ["mdy"]


def test_a_time_column_whose_cells_are_no_times_is_left_to_the_person():
    guessed = guess_mapping(["订单号", "付款时间"], [["A1", "已付"]], holds="orders")

    assert [c["column"] for c in guessed] == ["订单号"]


def test_words_we_do_not_know_are_not_guessed():
    words = ["卖家已发货，等待买家确认", " 待发货", "神秘状态"]

    assert guess_words("stage", words) == {
        "卖家已发货，等待买家确认": "shipped",
        " 待发货": "await_ship",
    }


def test_missing_files_are_named(tmp_path):
    mapping = load_mapping(DATA / "promo_mapping.yaml")
    (tmp_path / "渠道订单.csv").write_text("x", encoding="utf-8")

    with pytest.raises(BadInput) as caught:
        find_files(mapping, tmp_path)

    assert "订单行.csv、支付流水.csv、OMS接收.csv、WMS接收.csv" in caught.value.text
    with override("en"):  # lists have the marks of the reader's language
        assert "订单行.csv, 支付流水.csv, OMS接收.csv, WMS接收.csv" in say_error(caught.value)


def test_a_mapping_is_a_document_that_travels_between_environments(world, simple_mapping):
    assert get_kind("column_mapping").label == "列映射"
    with for_environment(world.staging):
        version = install_preset(
            kind="column_mapping",
            key="shop",
            name="门店",
            content=simple_mapping,
            origin="test",
            now=NOW,
        )
        text = export_yaml(version)
    with for_environment(world.production):
        draft = import_yaml(text, author=None)
        assert draft.content == check_mapping(simple_mapping)


def test_the_command_imports_with_a_file_or_a_saved_mapping(world, write, simple_mapping, tmp_path):
    write(
        "订单.csv",
        "订单号,状态,下单时间,付款时间,实付,收货人\nA1,待发货,2025-11-11 10:00:00,,1.00,x\n",
    )
    write("明细.csv", "订单号,SKU,数量,单价\nA1,S1,1,1.00\n")
    (tmp_path / "m.yaml").write_text(yaml.safe_dump(simple_mapping, allow_unicode=True), "utf-8")
    key = world.production.public_id

    out = io.StringIO()
    call_command(
        "import_orders", key, str(tmp_path / "m.yaml"), str(tmp_path), "--dry-run", stdout=out
    )
    with for_environment(world.production):
        assert Order.objects.count() == 0
        SavedMapping.objects.create(
            name="门店", content=check_mapping(simple_mapping), changed_at=NOW
        )
    call_command(
        "import_orders",
        key,
        "门店",
        f"orders={tmp_path / '订单.csv'}",
        f"lines={tmp_path / '明细.csv'}",
        "--until=2025-11-11T14:32:00",
        stdout=out,
    )

    assert "orders_new" in out.getvalue()
    with for_environment(world.production):
        assert Order.objects.get().order_no == "A1"


def test_the_command_refuses_in_words(world, tmp_path):
    key = world.production.public_id
    with pytest.raises(CommandError, match="no environment"):
        call_command("import_orders", "nowhere", "m", "f")
    with pytest.raises(CommandError, match="no mapping"):
        call_command("import_orders", key, "没有", "f")
    with pytest.raises(CommandError, match="缺少"):
        call_command("import_orders", key, str(DATA / "promo_mapping.yaml"), str(tmp_path))
