"""Files as tables: what is read, and what is refused before anything is applied."""

from __future__ import annotations

import datetime as dt
import gzip
import tracemalloc
import zipfile
from pathlib import Path

import openpyxl
import pytest

from config.errors import BadInput
from connectors.tabular import readers
from connectors.tabular.headers import clean_header, match_key
from connectors.tabular.readers import BadRow, Row, list_sheets, open_table

HEADER = "订单号,店铺 ,金额\n"
CSV = HEADER + "A1,旗舰店,1.00\nA2,童装店,2.00\n"


def read(path: Path, **kwargs):
    with open_table(path, **kwargs) as table:
        return table.headers, list(table.rows), table


def refusal(path: Path, **kwargs) -> BadInput:
    with pytest.raises(BadInput) as caught:
        read(path, **kwargs)
    assert caught.value.params.get("file") == (kwargs.get("name") or path.name)
    return caught.value


@pytest.mark.parametrize(
    ("encoding", "known_as"),
    [
        ("utf-8", "utf-8-sig"),
        ("utf-8-sig", "utf-8-sig"),
        ("gb18030", "gb18030"),
        ("utf-16", "utf-16"),
    ],
)
def test_every_usual_encoding_is_recognised(tmp_path, encoding, known_as):
    path = tmp_path / "a.csv"
    path.write_bytes(CSV.encode(encoding))

    headers, rows, table = read(path)

    assert headers == ("订单号", "店铺", "金额")
    assert rows == [Row(2, ("A1", "旗舰店", "1.00")), Row(3, ("A2", "童装店", "2.00"))]
    assert table.encoding == known_as


def test_a_late_gb18030_byte_decides_for_the_whole_file(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"no,shop\n" + b"A1,x\n" * 400_000 + "A2,旗舰店\n".encode("gb18030"))

    with open_table(path) as table:
        last = list(table.rows)[-1]

    assert (table.encoding, last.cells) == ("gb18030", ("A2", "旗舰店"))


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_the_delimiter_is_found(tmp_path, delimiter):
    path = tmp_path / "a.csv"
    path.write_text(CSV.replace(",", delimiter), encoding="utf-8")

    headers, rows, table = read(path)

    assert (table.delimiter, headers, len(rows)) == (delimiter, ("订单号", "店铺", "金额"), 2)


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("店铺 ", "店铺"),
        ("\ufeff订单号", "订单号"),
        ("　订单　号　", "订单号"),
        ("ＳＫＵ", "SKU"),
        ("实付金额（元）", "实付金额(元)"),
        ("order  id", "order id"),
    ],
)
def test_headers_lose_stray_blanks_and_full_width_forms(raw, clean):
    assert clean_header(raw) == clean


def test_headers_match_whatever_their_unit_and_marks():
    assert match_key("实付金额（元）") == match_key(" 实付金额 ") == "实付金额"
    assert match_key("Order_ID") == match_key("order id") == "orderid"


def test_duplicate_headers_are_named_with_their_columns(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("订单号,金额,金额 \n1,2,3\n", encoding="utf-8")

    error = refusal(path)

    assert error.code == "duplicate_header"
    assert "B 列和 C 列都叫「金额」" in error.text
    assert "改名" in error.text


def test_lines_are_counted_as_an_editor_counts_them(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('\n订单号,备注\n1,"两\n行"\n\n2,x\n', encoding="utf-8")

    _, rows, _ = read(path)

    assert [(r.line, r.cells[0]) for r in rows] == [(3, "1"), (6, "2")]


def test_a_row_with_the_wrong_number_of_cells_is_bad_and_its_neighbours_are_read(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('a,b\n1,2\n3\n4,5,6\n7,"8"9\n10,11\n', encoding="utf-8")

    _, rows, _ = read(path)

    assert [(type(r), r.line) for r in rows] == [
        (Row, 2),
        (BadRow, 3),
        (BadRow, 4),
        (BadRow, 5),
        (Row, 6),
    ]
    assert "列数比表头少" in rows[1].reason
    assert "列数比表头多" in rows[2].reason
    assert "双引号" in rows[3].reason


def test_an_unclosed_quote_refuses_the_file_and_names_its_line(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('a,b\n1,2\n3,"4\n5,6\n', encoding="utf-8")

    error = refusal(path)

    assert (error.code, error.params["line"]) == ("unclosed_quote", 3)


def test_an_empty_file_is_refused(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"")

    assert "0 字节" in refusal(path).text


@pytest.mark.parametrize("content", ["\n\n\n", ",,,\n"])
def test_a_file_of_blank_lines_has_no_header(tmp_path, content):
    path = tmp_path / "a.csv"
    path.write_text(content, encoding="utf-8")

    assert refusal(path).code == "no_header"


@pytest.mark.parametrize("keep", [0.3, 0.9])
def test_a_truncated_gz_is_refused_before_its_first_row(tmp_path, keep):
    path = tmp_path / "a.csv.gz"
    whole = gzip.compress(("a,b\n" + "".join(f"{i},{i * i}\n" for i in range(9_000))).encode())
    path.write_bytes(whole[: int(len(whole) * keep)])

    error = refusal(path)

    assert error.code == "truncated_gzip"
    assert "重新" in error.text


def test_a_whole_gz_is_read(tmp_path):
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(CSV.encode("gb18030")))

    assert len(read(path)[1]) == 2


def test_a_gz_bomb_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(readers, "MAX_INFLATED", 4 << 20)
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(b"a,b\n" + b"1,2\n" * (2 << 20)))

    assert refusal(path).code == "too_large"


@pytest.mark.parametrize(
    "content",
    ["São Paulo,é\n".encode("latin-1"), "東京都,名前\n".encode("shift-jis"), b"\x81\x20\xff,1\n"],
)
def test_an_unknown_encoding_is_refused_with_its_line(tmp_path, content):
    path = tmp_path / "a.csv"
    path.write_bytes(b"city,name\nx,y\n" + content)

    error = refusal(path)

    assert (error.code, error.params["line"]) == ("unknown_encoding", 3)
    assert "CSV UTF-8" in error.text


def test_a_program_renamed_to_xlsx_is_refused(tmp_path):
    path = tmp_path / "orders.xlsx"
    path.write_bytes(b"MZ\x90\x00" + b"\x00" * 500)

    assert "Windows 程序" in refusal(path).text


def test_text_renamed_to_xlsx_is_refused(tmp_path):
    path = tmp_path / "orders.xlsx"
    path.write_text(CSV, encoding="utf-8")

    assert refusal(path).code == "not_a_workbook"


def test_an_old_or_encrypted_workbook_is_refused_with_the_way_out(tmp_path):
    path = tmp_path / "orders.xls"
    path.write_bytes(b"\xd0\xcf\x11\xe0" + b"\x00" * 500)

    assert "另存为 .xlsx" in refusal(path).text


def make_workbook(path: Path, rows, *, title="Sheet") -> Path:
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.title = title
    for row in rows:
        sheet.append(row)
    book.save(path)
    return path


def test_a_workbook_gives_text_as_a_csv_would(tmp_path):
    moment = dt.datetime.fromisoformat("2025-11-11 14:32:05")
    path = make_workbook(
        tmp_path / "a.xlsx",
        [
            ["订单号", "店铺 ", "时间", "金额", "大编号", "是"],
            [38100110000009, "旗舰店", moment, 0.1 + 0.2, 1e17, True],
            [None, None, None, None, None, None],
            ["A2", "x", dt.date(2025, 11, 11), 12, None, None],
        ],
    )

    headers, rows, table = read(path)

    assert (table.form, headers) == ("xlsx", ("订单号", "店铺", "时间", "金额", "大编号", "是"))
    assert rows[0] == Row(
        2,
        ("38100110000009", "旗舰店", "2025-11-11 14:32:05", "0.3", "1.00000000000000E+17", "TRUE"),
    )
    assert rows[1] == Row(4, ("A2", "x", "2025-11-11 00:00:00", "12", "", ""))


def test_a_sheet_is_found_by_name(tmp_path):
    path = make_workbook(tmp_path / "a.xlsx", [["a"], ["1"]], title="orders")

    assert list_sheets(path, name="a.xlsx") == ["orders"]
    assert read(path, sheet="orders")[1] == [Row(2, ("1",))]
    assert refusal(path, sheet="lines").code == "no_sheet"


def test_a_damaged_workbook_is_refused(tmp_path):
    path = make_workbook(tmp_path / "a.xlsx", [["a"], ["1"]])
    path.write_bytes(path.read_bytes()[:-400])

    assert refusal(path).code == "damaged_workbook"


def test_a_zip_that_is_no_workbook_is_refused(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("orders.csv", CSV)

    assert refusal(path).code == "not_a_workbook"


def test_a_zip_bomb_is_refused_by_its_table_of_contents(tmp_path, monkeypatch):
    path = make_workbook(tmp_path / "a.xlsx", [["a"], ["1"]])
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/worksheets/sheet9.xml", b"\0" * (64 << 20))
    assert path.stat().st_size < 1 << 20

    def never(*args, **kwargs):
        raise AssertionError("unpacked")

    monkeypatch.setattr(readers.openpyxl, "load_workbook", never)
    monkeypatch.setattr(zipfile.ZipFile, "open", never)

    error = refusal(path)

    assert error.code == "zip_bomb"
    assert "未解压" in error.text


def test_a_workbook_of_many_parts_is_refused(tmp_path):
    path = make_workbook(tmp_path / "a.xlsx", [["a"], ["1"]])
    with zipfile.ZipFile(path, "a") as archive:
        for number in range(1_001):
            archive.writestr(f"xl/media/{number}.bin", b"")

    assert refusal(path).code == "zip_bomb"


@pytest.mark.parametrize("part", ["xl/vbaProject.bin", "xl/externalLinks/externalLink1.xml"])
def test_macros_and_external_links_are_refused(tmp_path, part):
    path = make_workbook(tmp_path / "a.xlsx", [["a"], ["1"]])
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(part, b"x")

    assert refusal(path).code == "active_workbook"


def test_entities_in_a_workbook_are_not_expanded(tmp_path):
    path = tmp_path / "a.xlsx"
    make_workbook(tmp_path / "b.xlsx", [["a"], ["1"]])
    bomb = '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaa">]><worksheet>&a;</worksheet>'
    with zipfile.ZipFile(tmp_path / "b.xlsx") as source, zipfile.ZipFile(path, "w") as target:
        for entry in source.infolist():
            is_sheet = entry.filename == "xl/worksheets/sheet1.xml"
            target.writestr(entry.filename, bomb if is_sheet else source.read(entry.filename))

    assert refusal(path).code == "damaged_workbook"


def test_a_hundred_thousand_rows_are_read_with_bounded_memory(tmp_path):
    path = tmp_path / "a.csv"
    with path.open("w", encoding="utf-8") as stream:
        stream.write("订单号,店铺,金额\n")
        for number in range(120_000):
            stream.write(f"A{number},旗舰店,{number}.00\n")

    tracemalloc.start()
    with open_table(path) as table:
        count = sum(1 for _ in table.rows)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert count == 120_000
    assert peak < 30 << 20
