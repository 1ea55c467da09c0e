"""Tables to take away: CSV and workbook, in which no cell runs as a formula."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import quote

from django.http import HttpResponse
from openpyxl import Workbook
from openpyxl.cell import WriteOnlyCell

from connectors.tabular.workbook import prefix

Cell = str | int | float | None
# What a workbook's XML cannot hold.
_ILLEGAL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
_KINDS = {
    "csv": "text/csv; charset=utf-8",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}


def answer_table(
    head: Sequence[str], rows: Iterable[Sequence[Cell]], *, name: str, is_workbook: bool
) -> HttpResponse:
    """A download of rows under their headings. Texts stay texts, numbers stay numbers."""
    suffix = "xlsx" if is_workbook else "csv"
    body = _write_workbook(head, rows) if is_workbook else _write_csv(head, rows)
    answer = HttpResponse(body, content_type=_KINDS[suffix])
    answer["Content-Disposition"] = (
        f"attachment; filename=\"table.{suffix}\"; filename*=UTF-8''{quote(f'{name}.{suffix}')}"
    )
    return answer


def _write_csv(head: Sequence[str], rows: Iterable[Sequence[Cell]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([prefix(h) for h in head])
    for row in rows:
        writer.writerow([prefix(cell) if isinstance(cell, str) else cell for cell in row])
    return text.getvalue().encode("utf-8-sig")  # Excel reads Chinese only with the mark


def _write_workbook(head: Sequence[str], rows: Iterable[Sequence[Cell]]) -> bytes:
    book = Workbook(write_only=True)
    sheet = book.create_sheet("table")
    sheet.freeze_panes = "A2"
    sheet.append([_text(sheet, h) for h in head])
    for row in rows:
        sheet.append([_text(sheet, cell) if isinstance(cell, str) else cell for cell in row])
    stream = io.BytesIO()
    book.save(stream)
    return stream.getvalue()


def _text(sheet: Any, text: str) -> Any:
    """A cell of text: a long order number keeps its digits, and nothing runs as a formula."""
    cell = WriteOnlyCell(sheet, _ILLEGAL.sub(" ", prefix(text)))
    cell.data_type, cell.number_format = "s", "@"
    return cell
