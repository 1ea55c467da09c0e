"""Cells to values: money in fen, aware times, numbers, words. Pure but for the time zone passed in.

Every function returns a value or None for an empty cell and raises BadCell, which says what is
wrong and what to do; messages never repeat a cell of a personal field (the caller sees to that).
"""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal, InvalidOperation

from config.errors import BadInput, gettext_noop

MAX_YUAN = Decimal(1_000_000_000)
MAX_COUNT = 1_000_000
MAX_STOCK = 1_000_000_000
FIRST_YEAR, LAST_YEAR = 2000, 2099

# Ways of writing nothing in a number or time column.
_NOTHING = frozenset(
    {
        "",
        "-",
        "--",
        "—",
        "——",
        "/",
        "null",
        "none",
        "n/a",
        "\\n",
        "无",
        "空",
        "0000-00-00 00:00:00",
        "0000-00-00",
    }
)
_EXCEL_ERRORS = frozenset(
    {"#N/A", "#REF!", "#VALUE!", "#DIV/0!", "#NAME?", "#NUM!", "#NULL!", "########"}
)
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.\d*)?$")
_PLAIN = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)$")
_CURRENCY = re.compile(r"^(?:R\$|US\$|¥|￥|\$|€|RMB|CNY)\s*|\s*(?:元|圆|RMB|CNY)$", re.IGNORECASE)
_SCIENTIFIC = re.compile(r"\d(\.\d+)?E\+?\d+$", re.IGNORECASE)

_YMD = re.compile(
    r"(\d{4})[-/.年](\d{1,2})[-/.月](\d{1,2})日?"
    r"(?:[ T　]*(\d{1,2})[:时](\d{1,2})分?(?:[:]?(\d{1,2})(?:\.\d+)?秒?)?)?$"
)
_SLASHED = re.compile(
    r"(\d{1,2})[/.-](\d{1,2})[/.-](\d{4})(?:[ T]+(\d{1,2}):(\d{1,2})(?::(\d{1,2}))?"
    r"(?:\s*([AaPp])\.?[Mm]\.?)?)?$"
)
_EXCEL_EPOCH = datetime(1899, 12, 30)  # noqa: DTZ001 - local wall time, zone added by the caller

DATE_STYLES: dict[str, str] = {
    "ymd": gettext_noop("年-月-日 时:分:秒（2025-11-11 14:32:00、2025/11/11 14:32、ISO 8601）"),
    "mdy": gettext_noop("月/日/年（11/30/2025 14:32，美式）"),
    "dmy": gettext_noop("日/月/年（30/11/2025 14:32，欧式）"),
    "compact": gettext_noop("连写数字（20251111143200、20251111）"),
    "excel": gettext_noop("Excel 序列号（45972.605）"),
    "unix": gettext_noop("Unix 秒（1762842720）"),
    "unix_ms": gettext_noop("Unix 毫秒（1762842720000）"),
}


class BadCell(BadInput):
    """A cell that cannot be taken: `reason` (with its parameters) and `remedy`."""

    def __init__(self, reason: str, remedy: str, *, code: str, **params: object) -> None:
        super().__init__(reason, code=code, **params)
        self.remedy = remedy


def _is_nothing(text: str) -> bool:
    return text.lower() in _NOTHING


def _shown(text: str) -> str:
    return text if len(text) <= 40 else text[:40] + "…"


def _check_excel_error(text: str) -> None:
    if text in _EXCEL_ERRORS:
        raise BadCell(
            gettext_noop("单元格是 Excel 的错误值「%(value)s」"),
            gettext_noop("在 Excel 中修好公式，或填入正确的值"),
            code="excel_error",
            value=text,
        )


def read_text(text: str, *, max_length: int, is_personal: bool = False) -> str:
    """A cell as text, without surrounding blanks and control characters."""
    text = text.strip()
    if not text:
        return ""
    _check_excel_error(text)
    if not text.isprintable():
        text = "".join(c if c.isprintable() else " " for c in text).strip()
    if max_length and len(text) > max_length:
        raise BadCell(
            gettext_noop("内容有 %(length)s 个字，超过 %(limit)s 个字的上限"),
            gettext_noop("缩短内容，或确认这一列是否对应错了字段"),
            code="too_long",
            length=len(text),
            limit=max_length,
        )
    return text


def read_key(text: str, *, max_length: int) -> str:
    """An order number or other key; refuses one that a spreadsheet has turned into a number."""
    text = text.strip().lstrip("'`").strip()
    if text.startswith('="') and text.endswith('"'):  # the exporters' trick against Excel
        text = text[2:-1].strip()
    if "E" in text.upper() and _SCIENTIFIC.match(text):
        raise BadCell(
            gettext_noop("编号「%(value)s」被 Excel 变成了科学计数，末几位已经丢失"),
            gettext_noop("把这一列设为文本后重新从平台导出"),
            code="number_lost",
            value=_shown(text),
        )
    return read_text(text, max_length=max_length)


def _to_decimal(text: str) -> Decimal:
    plain = text
    if not _PLAIN.match(plain):
        plain = _CURRENCY.sub("", unicodedata.normalize("NFKC", text).strip()).strip()
        plain = plain.replace("−", "-")
        if plain.startswith("(") and plain.endswith(")"):
            plain = "-" + plain[1:-1]
        if _THOUSANDS.match(plain):
            plain = plain.replace(",", "")
    try:
        value = Decimal(plain)
    except InvalidOperation:
        raise BadCell(
            gettext_noop("「%(value)s」不是数字"),
            gettext_noop("填入数字，例如 128.50；没有就留空"),
            code="not_a_number",
            value=_shown(text),
        ) from None
    if not value.is_finite():
        raise BadCell(
            gettext_noop("「%(value)s」不是有限的数字"),
            gettext_noop("填入数字，例如 128.50；没有就留空"),
            code="not_a_number",
            value=_shown(text),
        )
    return value


def read_money(text: str, *, unit: str) -> int | None:
    """An amount as integer fen; `unit` is what the file writes: "yuan" or "fen"."""
    text = text.strip()
    if _is_nothing(text):
        return None
    _check_excel_error(text)
    value = _to_decimal(text)
    if abs(value) > (MAX_YUAN if unit == "yuan" else MAX_YUAN * 100):
        raise BadCell(
            gettext_noop("金额「%(value)s」超出范围（最多 10 亿元）"),
            gettext_noop("核对金额；如果文件以分为单位，请在映射中改金额单位"),
            code="out_of_range",
            value=_shown(text),
        )
    fen = value * 100 if unit == "yuan" else value
    whole = fen.to_integral_value()
    # A spreadsheet's 319.99999999999994 is 320; 12.345 is a question only a person can answer.
    if abs(fen - whole) > Decimal("0.000001"):
        raise BadCell(
            gettext_noop("金额「%(value)s」的小数超过两位"),
            gettext_noop("改为两位小数的金额"),
            code="too_precise",
            value=_shown(text),
        )
    return int(whole)


def read_integer(text: str, *, lowest: int, highest: int) -> int | None:
    """A whole number within bounds."""
    text = text.strip()
    if text.isdecimal() and len(text) < 7 and lowest <= int(text) <= highest:
        return int(text)
    if _is_nothing(text):
        return None
    _check_excel_error(text)
    value = _to_decimal(text)
    if not lowest <= value <= highest:
        raise BadCell(
            gettext_noop("数量「%(value)s」超出范围（%(lowest)s 到 %(highest)s）"),
            gettext_noop("核对数量，改为范围内的整数"),
            code="out_of_range",
            value=_shown(text),
            lowest=lowest,
            highest=highest,
        )
    if value != value.to_integral_value():
        raise BadCell(
            gettext_noop("数量「%(value)s」不是整数"),
            gettext_noop("改为整数"),
            code="not_whole",
            value=_shown(text),
        )
    return int(value)


def read_number(text: str) -> float | None:
    """A measure such as a weight, at most 10^12 in size."""
    text = text.strip()
    if _is_nothing(text):
        return None
    _check_excel_error(text)
    value = _to_decimal(text)
    if abs(value) > 10**12:
        raise BadCell(
            gettext_noop("数值「%(value)s」超出范围"),
            gettext_noop("核对数值和单位"),
            code="out_of_range",
            value=_shown(text),
        )
    return float(value)


_YES = frozenset({"1", "是", "true", "yes", "y", "t", "有", "√", "✓", "真", "on"})
_NO = frozenset({"0", "否", "false", "no", "n", "f", "无", "×", "✗", "假", "off"})


def read_logical(text: str) -> bool | None:
    """Yes or no, in the words files use."""
    text = text.strip().lower()
    if text in _YES:
        return True
    if text in _NO:
        return False
    if _is_nothing(text):
        return None
    raise BadCell(
        gettext_noop("「%(value)s」不是「是」或「否」"),
        gettext_noop("改为 是 或 否"),
        code="not_logical",
        value=_shown(text),
    )


def read_time(text: str, *, styles: tuple[str, ...], zone: tzinfo) -> datetime | None:
    """A moment in UTC, read in the first style of `styles` that fits; zone-less text is in `zone`."""
    text = text.strip()
    if (
        len(text) == 19
        and text[4] == "-"
        and text[10] in " T"
        and text[0] in "2"
        and "ymd" in styles
    ):
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            raise _not_a_time(text) from None
        return _checked(moment, text, zone)
    if _is_nothing(text):
        return None
    _check_excel_error(text)
    text = unicodedata.normalize("NFKC", text)
    for style in styles:
        try:
            moment_or_none = _READERS[style](text)
        except (ValueError, OverflowError, OSError) as error:
            raise _not_a_time(text) from error
        if moment_or_none is not None:
            return _checked(moment_or_none, text, zone)
    raise _not_a_time(text)


def _checked(moment: datetime, text: str, zone: tzinfo) -> datetime:
    if not FIRST_YEAR <= moment.year <= LAST_YEAR:
        raise BadCell(
            gettext_noop("时间「%(value)s」的年份不合理（应在 %(first)s–%(last)s 年）"),
            gettext_noop("改为真实时间；没有就留空"),
            code="bad_year",
            value=_shown(text),
            first=FIRST_YEAR,
            last=LAST_YEAR,
        )
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=zone)
    return moment.astimezone(UTC)


def _not_a_time(text: str) -> BadCell:
    return BadCell(
        gettext_noop("「%(value)s」不是能识别的时间"),
        gettext_noop("改为 2025-11-11 14:32:00 这样的写法，或在映射中选择文件的日期写法"),
        code="not_a_time",
        value=_shown(text),
    )


def _naive(*parts: str | None) -> datetime:
    year, month, day, hour, minute, second = (int(p or 0) for p in parts)
    return datetime(year, month, day, hour, minute, second)  # noqa: DTZ001 - wall time


def _read_ymd(text: str) -> datetime | None:
    found = _YMD.match(text)
    if found:
        return _naive(*found.groups())
    if len(text) >= 16 and text[4:5] == "-" and "T" in text[10:11] + " T"[1:]:
        try:
            return datetime.fromisoformat(text)
        except ValueError:
            return None
    return None


def _read_slashed(text: str, *, is_month_first: bool) -> datetime | None:
    found = _SLASHED.match(text)
    if not found:
        return None
    first, second, year, hour, minute, seconds, half = found.groups()
    month, day = (first, second) if is_month_first else (second, first)
    if int(month) > 12:
        return None
    if half:
        if not 1 <= int(hour) <= 12:
            return None
        hour = str(int(hour) % 12 + (12 if half in "pP" else 0))
    return _naive(year, month, day, hour, minute, seconds)


def _read_compact(text: str) -> datetime | None:
    if not text.isdecimal() or len(text) not in {8, 12, 14}:
        return None
    text = text.ljust(14, "0")
    return _naive(text[:4], text[4:6], text[6:8], text[8:10], text[10:12], text[12:])


def _read_excel(text: str) -> datetime | None:
    if not _PLAIN.match(text) or not 1 <= Decimal(text) < 2_958_466:
        return None
    return _EXCEL_EPOCH + timedelta(seconds=round(Decimal(text) * 86_400))


def _read_unix(text: str, *, digits: tuple[int, ...], divisor: int) -> datetime | None:
    if not text.isdecimal() or len(text) not in digits:
        return None
    return datetime.fromtimestamp(int(text) / divisor, UTC)


_READERS = {
    "ymd": _read_ymd,
    "mdy": lambda text: _read_slashed(text, is_month_first=True),
    "dmy": lambda text: _read_slashed(text, is_month_first=False),
    "compact": _read_compact,
    "excel": _read_excel,
    "unix": lambda text: _read_unix(text, digits=(9, 10), divisor=1),
    "unix_ms": lambda text: _read_unix(text, digits=(12, 13), divisor=1000),
}


def guess_date_style(samples: list[str]) -> str:
    """The style that reads the most samples, and at least two in three; "" when none does.

    Day and month first are told apart by a part above 12; when nothing tells, month first is
    offered, for the person at the mapping page to confirm.
    """
    texts = [
        unicodedata.normalize("NFKC", t.strip()) for t in samples if not _is_nothing(t.strip())
    ]
    read = {style: sum(_reads(style, text) for text in texts) for style in _GUESSED}
    best = max(_GUESSED, key=lambda style: read[style])
    return best if texts and read[best] * 3 >= len(texts) * 2 else ""


_GUESSED = ("ymd", "mdy", "dmy", "compact", "unix", "unix_ms", "excel")


def _reads(style: str, text: str) -> bool:
    try:
        moment = _READERS[style](text)
    except (ValueError, OverflowError, OSError):
        return False
    return moment is not None and FIRST_YEAR <= moment.year <= LAST_YEAR
