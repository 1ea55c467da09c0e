"""Column headers as people type them: stray blanks, full-width forms, byte-order marks."""

from __future__ import annotations

import re
import unicodedata

from config.errors import BadInput, gettext_noop

_INVISIBLE = dict.fromkeys(map(ord, "\ufeff\u200b\u200c\u200d\u2060\u00ad"))
_BLANKS = re.compile(r"\s+")
# A blank beside a Chinese character says nothing; one between two Latin words does.
_BLANK_AT_CHINESE = re.compile(r"(?<=[\u3400-\u9fff）)])\s+|\s+(?=[\u3400-\u9fff（(])")
_UNIT = re.compile(r"\((?:元|人民币|rmb|cny|￥|¥|分|件|个|g|克|cm|厘米)\)$")
_MARKS = re.compile(r"[\s_\-./:()\[\]【】*#]+")


def clean_header(text: str) -> str:
    """A header without invisible characters, stray blanks and full-width Latin forms."""
    text = unicodedata.normalize("NFKC", text.translate(_INVISIBLE))
    return _BLANK_AT_CHINESE.sub("", _BLANKS.sub(" ", text)).strip()


def match_key(header: str) -> str:
    """What two spellings of one header have in common; used for guessing only."""
    return _MARKS.sub("", _UNIT.sub("", clean_header(header).casefold()))


def column_letter(index: int) -> str:
    """The letter spreadsheets give a column (0 -> A, 26 -> AA)."""
    letters = ""
    index += 1
    while index:
        index, rest = divmod(index - 1, 26)
        letters = chr(65 + rest) + letters
    return letters


def check_headers(cells: list[str], *, file: str, line: int) -> tuple[str, ...]:
    """Clean the header row; blank trailing ones go, other blank ones get a name.

    Raises BadInput when two columns have the same header once blanks are gone, or none is left.
    """
    headers = [clean_header(cell) for cell in cells]
    while headers and not headers[-1]:
        headers.pop()
    if not headers:
        raise BadInput(
            gettext_noop("文件「%(file)s」没有表头：第一行应是各列的名称"),
            code="no_header",
            file=file,
        )
    seen: dict[str, int] = {}
    for index, header in enumerate(headers):
        if not header:
            headers[index] = header = f"({column_letter(index)} 列)"
        if header in seen:
            raise BadInput(
                gettext_noop(
                    "文件「%(file)s」第 %(line)s 行的表头重复：%(first)s 列和 %(second)s 列都叫"
                    "「%(header)s」。请把其中一列改名后再导入"
                ),
                code="duplicate_header",
                file=file,
                line=line,
                first=column_letter(seen[header]),
                second=column_letter(index),
                header=header,
            )
        seen[header] = index
    return tuple(headers)
