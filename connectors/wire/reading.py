"""Fields of a payload, read one by one; what is wrong is named by its path. Pure.

Absent and null are None ("not told"), an empty string is an empty string ("there is nothing").
Money becomes integer fen without ever being a float; times become aware, in Asia/Shanghai.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Final, NoReturn
from zoneinfo import ZoneInfo

from config.errors import BadInput, Phrase, gettext_noop

SHANGHAI: Final = ZoneInfo("Asia/Shanghai")
MAX_NUMBER = 10**15  # fen or pieces: far above any order, far below a column's end
MAX_TEXT = 2000
_FIRST, _LAST = datetime(2000, 1, 1, tzinfo=SHANGHAI), datetime(2100, 1, 1, tzinfo=SHANGHAI)
# "Nothing" as platforms write it (channels.md 0.6): a moment before this year is no moment.
_NO_MOMENT_YEARS = ("0000", "0001", "1970")
_WHOLE = re.compile(r"-?[0-9]{1,16}", re.ASCII)
_YUAN = re.compile(r"-?[0-9]{1,13}(\.[0-9]{1,4})?", re.ASCII)
_CLOCK = re.compile(r"\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}", re.ASCII)
# A lone surrogate, or its escape in a JSON text.
_HALF = re.compile(r"\\u[dD][89a-fA-F]|[\ud800-\udfff]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
# Free text keeps line breaks and tabs; what no database column takes is dropped.
_UNSTORABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


class PayloadError(BadInput):
    """A payload that cannot be read: `params["field"]` is the path of the field at fault."""

    code = "payload_field"


def read_json(raw: bytes | str) -> object:
    """The value of a JSON text. Fractions become Decimal; NaN, Infinity and depth are refused.

    Half a character (a lone surrogate, written as an escape) becomes a question mark: no database
    and no encoder takes it.
    """
    try:
        text = raw.decode("utf-8-sig") if isinstance(raw, bytes) else raw
        value: object = json.loads(
            text, parse_float=_read_fraction, parse_constant=_refuse_constant
        )
        return _replace_halves(value) if _HALF.search(text) else value
    except (ValueError, RecursionError, InvalidOperation) as error:
        raise PayloadError(
            gettext_noop("报文不是可读的 JSON"), code="payload_json", field="$"
        ) from error


def _replace_halves(value: object) -> object:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, list):
        return [_replace_halves(item) for item in value]
    if isinstance(value, dict):
        return {_replace_halves(key): _replace_halves(item) for key, item in value.items()}
    return value


def _read_fraction(text: str) -> Decimal:
    if len(text) > 40:
        raise ValueError("fraction too long")
    return Decimal(text)


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(text)


def name_kind(value: object) -> str:
    """What kind of value arrived, in Chinese; never the value, which may be personal."""
    if value is None:
        return gettext_noop("空值")
    for kind, name in (
        (bool, gettext_noop("是否值")),
        (int, gettext_noop("整数")),
        ((float, Decimal), gettext_noop("小数")),
        (str, gettext_noop("文本")),
        (Mapping, gettext_noop("对象")),
        ((list, tuple), gettext_noop("列表")),
    ):
        if isinstance(value, kind):
            return name
    return gettext_noop("未知类型")


class Reader:
    """One object of a payload. Every method reads one key and raises PayloadError naming it."""

    __slots__ = ("_path", "_value")

    def __init__(self, value: object, path: str = "") -> None:
        """Wrap the value of `path`; raises PayloadError when it is no object."""
        self._path = path
        if not isinstance(value, Mapping):
            raise PayloadError(
                gettext_noop("报文字段 %(field)s 应为对象，收到的是%(kind)s"),
                field=path or "$",
                kind=Phrase(name_kind(value)),
            )
        self._value: Mapping[str, object] = value

    def path_of(self, key: str) -> str:
        """The full path of a key, as errors and notices write it."""
        return f"{self._path}.{key}" if self._path else key

    def raw(self, key: str) -> object:
        """The value as it came, or None."""
        return self._value.get(key)

    def has(self, key: str) -> bool:
        """Whether the source told this field at all."""
        return self._value.get(key) is not None

    def refuse(self, key: str, wanted: str) -> PayloadError:
        """The error for a field of the wrong kind."""
        return PayloadError(
            gettext_noop("报文字段 %(field)s 应为%(wanted)s，收到的是%(kind)s"),
            field=self.path_of(key),
            wanted=Phrase(wanted),
            kind=Phrase(name_kind(self._value.get(key))),
        )

    def refuse_value(self, key: str, wanted: str) -> PayloadError:
        """The error for a field whose value is out of bounds or of another form."""
        return PayloadError(
            gettext_noop("报文字段 %(field)s 的值不对：应为%(wanted)s"),
            field=self.path_of(key),
            wanted=Phrase(wanted),
        )

    def missing(self, key: str) -> PayloadError:
        """The error for a field that has to be there."""
        return PayloadError(gettext_noop("报文缺少字段 %(field)s"), field=self.path_of(key))

    # -- text ------------------------------------------------------------------------------------

    def text_or_none(self, key: str, *, limit: int = MAX_TEXT) -> str | None:
        """Free text, cut at `limit` characters; None when the source did not tell it."""
        value = self._value.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise self.refuse(key, gettext_noop("文本"))
        if isinstance(value, int):
            value = self._write_number(key, value)
        return _UNSTORABLE.sub("", value).strip()[:limit]

    def text(self, key: str, *, limit: int = MAX_TEXT) -> str:
        """Free text; an empty string when the source did not tell it."""
        return self.text_or_none(key, limit=limit) or ""

    def identifier(self, key: str, *, limit: int = 64) -> str:
        """A number or code, never cut: refused when it is longer; empty when not told."""
        value = self._value.get(key)
        if value is None:
            return ""
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise self.refuse(key, gettext_noop("文本"))
        text = self._write_number(key, value) if isinstance(value, int) else value.strip()
        if len(text) > limit or _CONTROL.search(text):
            raise PayloadError(
                gettext_noop("报文字段 %(field)s 超过 %(limit)s 个字符，或含有控制字符"),
                field=self.path_of(key),
                limit=limit,
            )
        return text

    def required_identifier(self, key: str, *, limit: int = 64) -> str:
        """A number or code that has to be there."""
        text = self.identifier(key, limit=limit)
        if not text:
            raise self.missing(key)
        return text

    def _write_number(self, key: str, value: int) -> str:
        if abs(value) >= 10**30:
            raise self.refuse_value(key, gettext_noop("不超过 30 位的数"))
        return str(value)

    # -- numbers ---------------------------------------------------------------------------------

    def integer(self, key: str) -> int | None:
        """A whole number, also as digits in a text; a fraction is refused, not rounded."""
        value = self._value.get(key)
        if value is None or value == "":
            return None
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise self.refuse(key, gettext_noop("整数"))
        if isinstance(value, str):
            if not _WHOLE.fullmatch(value):
                raise self.refuse_value(key, gettext_noop("整数"))
            value = int(value)
        if abs(value) > MAX_NUMBER:
            raise self.refuse_value(key, gettext_noop("不超过一千万亿的整数"))
        return value

    def required_integer(self, key: str) -> int:
        """A whole number that has to be there."""
        value = self.integer(key)
        if value is None:
            raise self.missing(key)
        return value

    def quantity(self, key: str) -> int:
        """A number of pieces; one when not told, never negative."""
        value = self.integer(key)
        if value is None:
            return 1
        if not 0 <= value <= 1_000_000:
            raise self.refuse_value(key, gettext_noop("0 到 1000000 的件数"))
        return value

    def fen(self, key: str) -> int | None:
        """An amount the source tells in fen."""
        return self.integer(key)

    def yuan(self, key: str) -> int | None:
        """An amount the source tells in yuan, as fen; a part of a fen is refused, not rounded."""
        value = self._value.get(key)
        if value is None or value == "":
            return None
        if isinstance(value, bool | float) or not isinstance(value, str | int | Decimal):
            raise self.refuse(key, gettext_noop("以元为单位的金额文本"))
        if isinstance(value, int):
            return self._bound(key, value * 100 if abs(value) <= MAX_NUMBER else value)
        text = format(value, "f") if isinstance(value, Decimal) and _is_small(value) else str(value)
        if not _YUAN.fullmatch(text):
            raise self.refuse_value(key, gettext_noop("以元为单位、最多两位小数的金额"))
        fen = Decimal(text) * 100
        if fen != fen.to_integral_value():
            raise self.refuse_value(key, gettext_noop("以元为单位、最多两位小数的金额"))
        return self._bound(key, int(fen))

    def _bound(self, key: str, value: int) -> int:
        if abs(value) > MAX_NUMBER:
            raise self.refuse_value(key, gettext_noop("不超过一千万亿的整数"))
        return value

    def flag(self, key: str) -> bool:
        """A yes or no; 1, 0, "1", "0", "true" and "false" count; False when not told."""
        value = self._value.get(key)
        if value is None or value == "":
            return False
        if isinstance(value, bool):
            return value
        if value in (0, 1) and isinstance(value, int):
            return value == 1
        if isinstance(value, str) and value.lower() in ("0", "1", "true", "false"):
            return value.lower() in ("1", "true")
        raise self.refuse(key, gettext_noop("是或否"))

    # -- moments ---------------------------------------------------------------------------------

    def unix_seconds(self, key: str) -> datetime | None:
        """A moment in Unix seconds; 0 means that it has not come."""
        value = self.integer(key)
        if value is None or value == 0:
            return None
        if not _FIRST.timestamp() <= value < _LAST.timestamp():
            raise self.refuse_value(key, gettext_noop("2000 年到 2100 年之间的 Unix 秒"))
        return datetime.fromtimestamp(value, SHANGHAI)

    def clock(self, key: str) -> datetime | None:
        """A moment written "yyyy-MM-dd HH:mm:ss" without zone: it is Beijing time."""
        value = self._value.get(key)
        if value is None or value == "":
            return None
        wanted = gettext_noop("“年-月-日 时:分:秒”形式的北京时间")
        if not isinstance(value, str):
            raise self.refuse(key, wanted)
        if value.startswith(_NO_MOMENT_YEARS):
            return None
        if not _CLOCK.fullmatch(value):
            raise self.refuse_value(key, wanted)
        try:
            moment = datetime.fromisoformat(value).replace(tzinfo=SHANGHAI)
        except ValueError as error:
            raise self.refuse_value(key, wanted) from error
        return self._in_range(key, moment)

    def rfc3339(self, key: str) -> datetime | None:
        """A moment with its zone, such as 2025-11-11T00:15:00+08:00."""
        value = self._value.get(key)
        if value is None or value == "":
            return None
        wanted = gettext_noop("带时区的时间，例如 2025-11-11T00:15:00+08:00")
        if not isinstance(value, str):
            raise self.refuse(key, wanted)
        try:
            moment = datetime.fromisoformat(value)
            if moment.tzinfo is None:
                raise self.refuse_value(key, wanted)
            moment = moment.astimezone(SHANGHAI)
        except (ValueError, OverflowError) as error:
            raise self.refuse_value(key, wanted) from error
        return self._in_range(key, moment)

    def _in_range(self, key: str, moment: datetime) -> datetime:
        if not _FIRST <= moment < _LAST:
            raise self.refuse_value(key, gettext_noop("2000 年到 2100 年之间的时间"))
        return moment

    # -- structure -------------------------------------------------------------------------------

    def one(self, key: str) -> Reader:
        """The object under a key; an empty one when not told."""
        value = self._value.get(key)
        return Reader({} if value is None else value, self.path_of(key))

    def many(self, key: str, *, limit: int = 500) -> list[Reader]:
        """The objects of a list; none when not told."""
        return list(self._iterate(key, limit))

    def _iterate(self, key: str, limit: int) -> Iterator[Reader]:
        value = self._value.get(key)
        if value is None:
            return
        if not isinstance(value, list | tuple):
            raise self.refuse(key, gettext_noop("列表"))
        if len(value) > limit:
            raise self.refuse_value(key, gettext_noop("较短的列表"))
        for index, item in enumerate(value):
            yield Reader(item, f"{self.path_of(key)}[{index}]")

    @property
    def mapping(self) -> Mapping[str, object]:
        """The object itself, for keeping it raw."""
        return self._value


def _is_small(value: Decimal) -> bool:
    """Whether writing it out is short: 1E+999999 is not."""
    return value.is_finite() and -6 <= value.adjusted() <= 15
