"""Files as tables: CSV (plain or gz) and XLSX, read row by row with bounded memory.

What is wrong with a file as a whole (truncated, no known encoding, not a workbook, a zip bomb)
raises BadInput before the first row is given out; what is wrong with one row is yielded as a
BadRow and the rows after it go on.
"""

from __future__ import annotations

import codecs
import csv
import datetime as dt
import gzip
import io
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import IO, Any
from xml.etree.ElementTree import ParseError

import openpyxl
from defusedxml.common import DefusedXmlException
from openpyxl.utils.exceptions import InvalidFileException

from config.errors import BadInput, gettext_noop
from connectors.tabular.headers import check_headers

# openpyxl parses workbooks through defusedxml when it is installed; without it, refuse to start.
if not openpyxl.DEFUSEDXML:  # pragma: no cover - defusedxml is a pinned requirement
    raise RuntimeError("defusedxml must be installed: openpyxl would expand entities")

CHUNK = 1 << 20
MAX_INFLATED = 2 << 30  # of a .gz, streamed
MAX_CELL = 131_072
MAX_COLUMNS = 500
MAX_ENTRIES = 1_000  # of a workbook's zip
MAX_WORKBOOK = 1 << 30  # inflated, all entries
MAX_SHARED = 256 << 20  # shared strings are read whole
MAX_RATIO = 150
RATIO_FREE = 32 << 20  # small workbooks may compress as well as they like

_FOREIGN = {
    b"MZ": gettext_noop("Windows 程序"),
    b"\x7fELF": gettext_noop("Linux 程序"),
    b"%PDF": gettext_noop("PDF 文档"),
    b"\x89PNG": gettext_noop("图片"),
    b"\xff\xd8\xff": gettext_noop("图片"),
    b"Rar!": gettext_noop("RAR 压缩包"),
    b"7z\xbc\xaf": gettext_noop("7z 压缩包"),
}
_OLE = b"\xd0\xcf\x11\xe0"


@dataclass(frozen=True, slots=True)
class Row:
    """One data row: the line it starts on (as a text editor or Excel counts) and its cells."""

    line: int
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that cannot be read as cells, with the reason and what to do."""

    line: int
    cells: tuple[str, ...]
    reason: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Table:
    """An open file: its headers, how it was read, and its rows (to be walked once)."""

    name: str
    headers: tuple[str, ...]
    rows: Iterator[Row | BadRow]
    form: str  # "csv" or "xlsx"
    encoding: str
    delimiter: str


@contextmanager
def open_table(path: Path, *, name: str | None = None, sheet: str | None = None) -> Iterator[Table]:
    """Open a file by its content, whatever its name says.

    `name` is what messages call the file. `sheet` picks a sheet of a workbook (the first with
    cells when not given). Raises BadInput for a file that cannot be read as a table.
    """
    name = name or path.name
    with path.open("rb") as stream:
        head = stream.read(8)
    if not head:
        raise BadInput(
            gettext_noop("文件「%(file)s」是空的（0 字节）。请重新导出后再上传"),
            code="empty_file",
            file=name,
        )
    if head[:4] == b"PK\x03\x04":
        with _open_workbook(path, name, sheet) as table:
            yield table
        return
    _check_foreign(head, name)
    if Path(name).suffix.lower() in {".xlsx", ".xlsm"}:
        raise BadInput(
            gettext_noop(
                "文件「%(file)s」的扩展名是 .xlsx，但内容不是 Excel 工作簿。"
                "请用 Excel 打开原文件，另存为 .xlsx 后再上传"
            ),
            code="not_a_workbook",
            file=name,
        )
    is_gzip = head[:2] == b"\x1f\x8b"
    encoding = _decide_encoding(path, name, is_gzip=is_gzip)
    with _open_bytes(path, is_gzip=is_gzip) as raw:
        text = io.TextIOWrapper(raw, encoding=encoding, errors="strict", newline="")
        yield _read_csv(text, name, encoding)


def list_sheets(path: Path, *, name: str) -> list[str]:
    """The sheet names of a workbook, in its order; empty for any other file."""
    with path.open("rb") as stream:
        if stream.read(4) != b"PK\x03\x04":
            return []
    check_workbook(path, name)
    book = _load(path, name)
    try:
        return [s.title for s in book.worksheets]
    finally:
        book.close()


def _check_foreign(head: bytes, name: str) -> None:
    if head[:4] == _OLE:
        raise BadInput(
            gettext_noop(
                "文件「%(file)s」是旧版 .xls 或加了密码的工作簿。"
                "请用 Excel 去掉密码，另存为 .xlsx 或 CSV 后再上传"
            ),
            code="old_workbook",
            file=name,
        )
    for magic, what in _FOREIGN.items():
        if head.startswith(magic):
            raise BadInput(
                gettext_noop(
                    "文件「%(file)s」不是表格，而是%(what)s。请上传 CSV、CSV.gz 或 XLSX 文件"
                ),
                code="not_a_table",
                file=name,
                what=what,
            )


# -- CSV -----------------------------------------------------------------------------------------


@contextmanager
def _open_bytes(path: Path, *, is_gzip: bool) -> Iterator[IO[bytes]]:
    if is_gzip:
        with gzip.open(path, "rb") as stream:
            yield stream  # type: ignore[misc] # GzipFile is a binary stream
    else:
        with path.open("rb") as stream:
            yield stream


def _chunks(path: Path, name: str, *, is_gzip: bool) -> Iterator[bytes]:
    total = 0
    try:
        with _open_bytes(path, is_gzip=is_gzip) as stream:
            while chunk := stream.read(CHUNK):
                total += len(chunk)
                if total > MAX_INFLATED:
                    raise BadInput(
                        gettext_noop(
                            "文件「%(file)s」解压后超过 %(limit)s GB，拒绝读取。请分成几个文件上传"
                        ),
                        code="too_large",
                        file=name,
                        limit=MAX_INFLATED >> 30,
                    )
                yield chunk
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise BadInput(
            gettext_noop(
                "压缩文件「%(file)s」在解压到第 %(at)s 字节后中断：文件不完整或已损坏。"
                "请重新下载或重新压缩后再上传"
            ),
            code="truncated_gzip",
            file=name,
            at=total,
        ) from error


def _decide_encoding(path: Path, name: str, *, is_gzip: bool) -> str:
    """UTF-8 (with or without BOM), UTF-16 with BOM or GB18030: whichever the whole file obeys."""
    first, bad_line, wide = b"", 0, 0
    decoders: dict[str, Any] = {
        "utf-8": codecs.getincrementaldecoder("utf-8")("strict"),
        "gb18030": codecs.getincrementaldecoder("gb18030")("strict"),
    }
    lines = common = 0
    encoding16 = ""
    for chunk in _chunks(path, name, is_gzip=is_gzip):
        if not first:
            first = chunk[:4]
            _check_foreign(first.ljust(4, b" "), name)
            if first[:2] in {b"\xff\xfe", b"\xfe\xff"}:
                encoding16 = "utf-16"
                decoders = {"utf-16": codecs.getincrementaldecoder("utf-16")("strict")}
        if not encoding16 and b"\0" in chunk:
            raise BadInput(
                gettext_noop(
                    "文件「%(file)s」含有二进制内容，不是 CSV 文本。请上传 CSV、CSV.gz 或 XLSX 文件"
                ),
                code="binary",
                file=name,
            )
        for key in list(decoders):
            try:
                text = decoders[key].decode(chunk)
            except UnicodeDecodeError as error:
                del decoders[key]
                if key != "gb18030":
                    bad_line = lines + chunk[: error.start].count(b"\n") + 1
                continue
            if key == "gb18030":
                plain = len(text.encode("ascii", "ignore"))
                wide += len(text) - plain
                common += (len(text.encode("gb2312", "ignore")) - plain) // 2
        lines += chunk.count(b"\n")
        if not decoders:
            break
    for key in list(decoders):
        try:
            decoders[key].decode(b"", final=True)
        except UnicodeDecodeError:
            del decoders[key]
            bad_line = bad_line or lines + 1
    if not first:
        raise BadInput(
            gettext_noop("压缩文件「%(file)s」里没有内容。请重新导出后再上传"),
            code="empty_file",
            file=name,
        )
    if "utf-8" in decoders:
        return "utf-8-sig"
    if encoding16 in decoders:
        return encoding16
    # Nearly any bytes decode as GB18030; Chinese text stays inside its everyday part.
    if "gb18030" in decoders and common >= 0.8 * wide:
        return "gb18030"
    raise BadInput(
        gettext_noop(
            "文件「%(file)s」的编码既不是 UTF-8 也不是 GB18030（第 %(line)s 行起无法识别）。"
            "请在 Excel 中另存为「CSV UTF-8」后再上传"
        ),
        code="unknown_encoding",
        file=name,
        line=bad_line,
    )


def _guess_delimiter(line: str) -> str:
    """The mark that separates the header row, counted outside quotes."""
    outside = "".join(line.split('"')[::2])
    counts = {mark: outside.count(mark) for mark in (",", "\t", ";", "|")}
    best = max(counts, key=lambda mark: counts[mark])
    return best if counts[best] else ","


def _read_csv(text: io.TextIOWrapper, name: str, encoding: str) -> Table:
    skipped, line = 0, text.readline(MAX_CELL)
    while line and not line.strip(' \t\r\n,;\ufeff"'):
        skipped, line = skipped + 1, text.readline(MAX_CELL)
    if not line:
        raise BadInput(
            gettext_noop("文件「%(file)s」里只有空行，没有表头。请重新导出后再上传"),
            code="no_header",
            file=name,
        )
    delimiter = _guess_delimiter(line)

    def lines() -> Iterator[str]:
        yield line
        yield from text

    csv.field_size_limit(MAX_CELL)
    reader = csv.reader(lines(), delimiter=delimiter, strict=True)
    try:
        cells = next(reader)
    except csv.Error as error:
        raise _broken_quotes(name, skipped + 1) from error
    if len(cells) > MAX_COLUMNS:
        raise _too_many_columns(name)
    headers = check_headers(cells, file=name, line=skipped + 1)
    rows = _csv_rows(reader, len(headers), name, skipped)
    return Table(name, headers, rows, "csv", encoding, delimiter)


def _broken_quotes(name: str, line: int) -> BadInput:
    return BadInput(
        gettext_noop(
            "文件「%(file)s」第 %(line)s 行开始的引号没有闭合，之后的内容无法分行。"
            "请检查这一行的双引号后重新上传"
        ),
        code="unclosed_quote",
        file=name,
        line=line,
    )


def _too_many_columns(name: str) -> BadInput:
    return BadInput(
        gettext_noop("文件「%(file)s」超过 %(limit)s 列。请删去不需要的列后再上传"),
        code="too_many_columns",
        file=name,
        limit=MAX_COLUMNS,
    )


def _csv_rows(reader: Any, width: int, name: str, offset: int) -> Iterator[Row | BadRow]:
    while True:
        start = reader.line_num + 1 + offset
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            # Only a stray mark after a closing quote ends with its line; any other fault means
            # that a quote swallowed what follows, and then no later line can be trusted.
            if "expected after" in str(error):
                yield BadRow(
                    start,
                    (),
                    gettext_noop("双引号位置不对，无法分列"),
                    gettext_noop("单元格内的双引号应写成两个"),
                )
                continue
            raise _broken_quotes(name, start) from error
        except UnicodeDecodeError as error:  # the file changed under us
            raise BadInput(
                gettext_noop("文件「%(file)s」第 %(line)s 行无法按 %(encoding)s 读取"),
                code="unknown_encoding",
                file=name,
                line=start,
                encoding=error.encoding,
            ) from error
        row = _fit(start, cells, width, is_ragged_fine=False)
        if row is not None:
            yield row


def _fit(line: int, cells: list[str], width: int, *, is_ragged_fine: bool) -> Row | BadRow | None:
    """The cells of one row in header order; None for an empty row."""
    if len(cells) == width:
        return Row(line, tuple(cells)) if any(cells) else None
    if not any(cell.strip() for cell in cells):
        return None
    if len(cells) > width:
        if any(cell.strip() for cell in cells[width:]):
            return BadRow(
                line,
                tuple(cells[:MAX_COLUMNS]),
                gettext_noop("这一行的列数比表头多"),
                gettext_noop("检查单元格里是否有未加引号的分隔符"),
            )
        return Row(line, tuple(cells[:width]))
    padded = tuple(cells) + ("",) * (width - len(cells))
    if is_ragged_fine:
        return Row(line, padded)
    return BadRow(
        line,
        padded,
        gettext_noop("这一行的列数比表头少"),
        gettext_noop("检查这一行是否被截断，补齐各列"),
    )


# -- workbooks -----------------------------------------------------------------------------------


def check_workbook(path: Path, name: str) -> None:
    """Refuse a workbook by its table of contents alone, before anything is unpacked."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, ValueError, EOFError, NotImplementedError) as error:
        raise _damaged(name) from error
    names = {entry.filename for entry in entries}
    total = sum(entry.file_size for entry in entries)
    packed = max(path.stat().st_size, 1)
    shared = sum(e.file_size for e in entries if "sharedstrings" in e.filename.lower())
    is_bomb = (
        len(entries) > MAX_ENTRIES
        or total > MAX_WORKBOOK
        or shared > MAX_SHARED
        or (total > RATIO_FREE and total / packed > MAX_RATIO)
    )
    if is_bomb:
        raise BadInput(
            gettext_noop(
                "工作簿「%(file)s」解压后有 %(size)s MB、%(entries)s 个部件，像压缩炸弹，未解压。"
                "请改用 CSV 或 CSV.gz 上传"
            ),
            code="zip_bomb",
            file=name,
            size=total >> 20,
            entries=len(entries),
        )
    if any(entry.flag_bits & 1 for entry in entries):
        raise BadInput(
            gettext_noop("工作簿「%(file)s」加了密码。请去掉密码后再上传"),
            code="encrypted",
            file=name,
        )
    if any(n.lower().endswith("vbaproject.bin") or "externallinks/" in n.lower() for n in names):
        raise BadInput(
            gettext_noop(
                "工作簿「%(file)s」含有宏或外部链接，不予读取。"
                "请把内容粘贴为数值，另存为普通 .xlsx 后再上传"
            ),
            code="active_workbook",
            file=name,
        )
    if "[Content_Types].xml" not in names or not any(n.startswith("xl/") for n in names):
        raise BadInput(
            gettext_noop(
                "文件「%(file)s」是压缩包，但不是 Excel 工作簿。请解压后上传里面的 CSV 或 XLSX"
            ),
            code="not_a_workbook",
            file=name,
        )


def _damaged(name: str) -> BadInput:
    return BadInput(
        gettext_noop("工作簿「%(file)s」已损坏或不完整，无法打开。请用 Excel 重新保存后再上传"),
        code="damaged_workbook",
        file=name,
    )


_WORKBOOK_FAULTS = (
    InvalidFileException,
    zipfile.BadZipFile,
    zlib.error,
    KeyError,
    ValueError,
    TypeError,
    IndexError,
    EOFError,
    AttributeError,
    OSError,
    ParseError,
    DefusedXmlException,
)


def _load(path: Path, name: str) -> Any:
    try:
        # A stream: openpyxl refuses paths whose extension it does not know.
        return openpyxl.load_workbook(
            path.open("rb"), read_only=True, data_only=True, keep_links=False
        )
    except _WORKBOOK_FAULTS as error:
        raise _damaged(name) from error


@contextmanager
def _open_workbook(path: Path, name: str, sheet: str | None) -> Iterator[Table]:
    check_workbook(path, name)
    book = _load(path, name)
    try:
        sheets = [s for s in book.worksheets if s.sheet_state == "visible"] or book.worksheets
        if sheet is not None:
            sheets = [s for s in book.worksheets if s.title == sheet]
            if not sheets:
                raise BadInput(
                    gettext_noop("工作簿「%(file)s」里没有工作表「%(sheet)s」"),
                    code="no_sheet",
                    file=name,
                    sheet=sheet,
                )
        for candidate in sheets:
            rows = _sheet_rows(candidate, name)
            for line, cells in rows:
                if any(cells):
                    headers = check_headers(cells, file=name, line=line)
                    body = _fit_rows(rows, len(headers))
                    yield Table(name, headers, body, "xlsx", "", "")
                    return
        raise BadInput(
            gettext_noop("工作簿「%(file)s」里没有数据。请检查是否选错了文件"),
            code="empty_file",
            file=name,
        )
    finally:
        book.close()


def _sheet_rows(sheet: Any, name: str) -> Iterator[tuple[int, list[str]]]:
    sheet.reset_dimensions()  # the stated size may lie
    rows = sheet.iter_rows(max_col=MAX_COLUMNS, values_only=True)
    line = 0
    while True:
        try:
            values = next(rows)
        except StopIteration:
            return
        except _WORKBOOK_FAULTS as error:
            raise _damaged(name) from error
        line += 1
        yield line, [_to_text(value) for value in values]


def _fit_rows(rows: Iterator[tuple[int, list[str]]], width: int) -> Iterator[Row | BadRow]:
    for line, cells in rows:
        row = _fit(line, cells, width, is_ragged_fine=True)
        if row is not None:
            yield row


def _to_text(value: Any) -> str:
    """A workbook cell as the text a CSV would have: ISO times, plain decimals."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, int):
        # Excel keeps 15 digits: a longer number has lost its end and must look like it.
        return str(value) if abs(value) < 10**15 else f"{value:.14E}"
    if isinstance(value, float):
        if abs(value) >= 1e15 or value != value:
            return f"{value:.14E}"
        return format(Decimal(format(value, ".15g")), "f")
    if isinstance(value, dt.datetime):
        # Excel counts in fractions of a day, so seconds come out a few microseconds off.
        rounded = value + dt.timedelta(microseconds=500_000)
        return rounded.strftime("%Y-%m-%d %H:%M:%S") if value.year > 999 else str(value)
    if isinstance(value, dt.date):
        return value.isoformat()
    return str(value)
