"""The quarantine as a workbook: the original columns, what is wrong, what to do; and the way back.

A cell that a spreadsheet would run as a formula gets a leading apostrophe, and so does one that
begins with an apostrophe already: `unprefix(prefix(cell)) == cell` for every cell.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import IO, Any

import openpyxl
from openpyxl.cell import WriteOnlyCell
from openpyxl.styles import Alignment, Font, PatternFill

from config.errors import gettext_noop
from connectors.tabular.fields import HOLDS
from connectors.tabular.headers import column_letter
from connectors.tabular.models import ImportRun, QuarantineRow

_RISKY = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠", "'")
# What a workbook's XML cannot hold.
_ILLEGAL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
FILE, LINE, COLUMN, REASON, REMEDY = (
    gettext_noop("隔离·文件"),
    gettext_noop("隔离·行"),
    gettext_noop("隔离·列"),
    gettext_noop("隔离·原因"),
    gettext_noop("隔离·怎么改"),
)
OUR_COLUMNS = (FILE, LINE, COLUMN, REASON, REMEDY)
_BAD_FILL = PatternFill("solid", fgColor="FDE3E1")
_NOTE_FILL = PatternFill("solid", fgColor="EEF1F5")


def prefix(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{cell}" if cell.startswith(_RISKY) else cell


def unprefix(cell: str) -> str:
    """The cell as it was before `prefix`."""
    return cell[1:] if cell.startswith("'") else cell


def sheet_title(file_key: str) -> str:
    """The sheet of a file in the workbook; the same key finds it again."""
    return re.sub(r"[\[\]:*?/\\']", "_", file_key)[:31] or "sheet"


def write_workbook(run: ImportRun, target: IO[bytes]) -> int:
    """Write the open quarantine of a run, one sheet per file; returns the number of rows."""
    book = openpyxl.Workbook(write_only=True)
    written = 0
    rows = QuarantineRow.objects.filter(run=run, cleared_at=None)
    specs = run.mapping["files"]  # JSON on PostgreSQL keeps no order
    for key in sorted(specs, key=lambda k: (list(HOLDS).index(specs[k]["holds"]), k)):
        written += _write_sheet(book, key, rows.filter(file_key=key).order_by("line"))
    if not book.worksheets:
        book.create_sheet(sheet_title("empty")).append([REASON])
    book.save(target)
    return written


def _write_sheet(book: Any, key: str, rows: Iterable[QuarantineRow]) -> int:
    sheet, headers, written = None, [], 0
    for row in rows:
        cells = row.reveal_cells()
        if sheet is None:
            sheet = book.create_sheet(sheet_title(key))
            headers = list(cells)
            _set_widths(sheet, headers)
            sheet.append(
                [_text_cell(sheet, h, _NOTE_FILL, bold=True) for h in (*headers, *OUR_COLUMNS)]
            )
        faulty = set(row.column.split("、"))
        ours = (row.file_label, str(row.line), row.column, row.reason, row.remedy)
        sheet.append(
            [
                _text_cell(sheet, cells.get(h, ""), _BAD_FILL if h in faulty else None)
                for h in headers
            ]
            + [_text_cell(sheet, text, _NOTE_FILL) for text in ours]
        )
        written += 1
    return written


def _text_cell(sheet: Any, text: str, fill: PatternFill | None, *, bold: bool = False) -> Any:
    cell = WriteOnlyCell(sheet, _ILLEGAL.sub(" ", prefix(text)))
    cell.data_type = "s"
    cell.number_format = "@"
    if fill is not None:
        cell.fill = fill
    if bold:
        cell.font = Font(bold=True)
    cell.alignment = Alignment(vertical="top")
    return cell


def _set_widths(sheet: Any, headers: list[str]) -> None:
    sheet.freeze_panes = "A2"
    widths = [18] * len(headers) + [18, 8, 16, 48, 48]
    for index, width in enumerate(widths):
        letter = column_letter(index)
        sheet.column_dimensions[letter].width = width


def workbook_mapping(mapping: Mapping[str, Any], sheets: Iterable[str]) -> dict[str, Any]:
    """The mapping that reads a quarantine workbook: the files it has sheets for, one sheet each."""
    present = set(sheets)
    files = {
        key: {**spec, "sheet": sheet_title(key)}
        for key, spec in mapping["files"].items()
        if sheet_title(key) in present
    }
    return {**mapping, "files": files}
