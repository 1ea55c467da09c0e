"""Formulas as JSON lines: one line in, one answer out. What other programs and tests speak.

    {"id": ..., "formula": "...", "fields": {"支付金额": 12.5, "下单时间": {"$date": "2026-11-11"}}}

Types come from the JSON: number, text, logical, {"$date": iso}, {"$unknown": true}, null for blank,
a list for rows of one column. A formula sees the fields of its own line and nothing else.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol
from zoneinfo import ZoneInfo

from config.errors import BadInput, gettext_noop

from .check import Checked, check
from .compiled_plan import CompiledPlan
from .names import Field, Names
from .row_plan import RowPlan
from .values import UNKNOWN, ErrorValue, Result, Value, ValueType, to_serial

logger = logging.getLogger(__name__)

MAX_LINE: Final = 8 << 20  # bytes: the longest formula with a very large order
ZONE: Final = ZoneInfo("Asia/Shanghai")  # of moments that say their zone

_BAD_LINE: Final = {
    "bad_encoding": gettext_noop("这一行不是 UTF-8 文本"),
    "bad_json": gettext_noop("这一行不是 JSON：%(reason)s"),
    "line_too_long": gettext_noop("这一行太长，最多 %(limit)d 字节"),
    "not_an_object": gettext_noop(
        '这一行要写成 {"id": …, "formula": "…", "fields": {…}}，读到的是 %(found)s'
    ),
    "missing_formula": gettext_noop("缺少 formula；请写上公式"),
    "formula_not_text": gettext_noop("formula 要写成文本，读到的是 %(found)s"),
    "fields_not_object": gettext_noop("fields 要写成 {字段名: 值}，读到的是 %(found)s"),
    "bad_field": gettext_noop(
        '字段「%(name)s」的值读不懂；可以写数字、文本、true/false、null、{"$date": "2026-11-11"}、'
        '{"$unknown": true} 或它们的列表'
    ),
    "internal_error": gettext_noop("计算这一行时出错，已记录；其他行不受影响"),
}


class Plan(Protocol):
    """What both plans can do with one formula."""

    def __call__(self, checked: Checked, values: Mapping[str, object], now: float) -> Value:
        """Build and run."""


def run_rows(checked: Checked, values: Mapping[str, object], now: float) -> Value:
    """Evaluate by the row plan."""
    return RowPlan(checked).evaluate(values, now)


def run_compiled(checked: Checked, values: Mapping[str, object], now: float) -> Value:
    """Evaluate by the compiled plan."""
    return CompiledPlan([checked]).evaluate(values, now)[0]


PLANS: Final[dict[str, Plan]] = {"row": run_rows, "compiled": run_compiled}


@dataclass(frozen=True, slots=True)
class Line:
    """One line as read."""

    id: Any
    formula: str
    fields: Mapping[str, Any]


class Answerer:
    """Answers lines by one plan at one moment.

    `now`: Excel serial days, local time; `timer`: seconds, for the `ms` of each answer.
    """

    def __init__(self, plan: str, now: float, timer: Callable[[], float]) -> None:
        self.run, self.now, self.timer = PLANS[plan], now, timer

    def warm_up(self) -> None:
        """Run one formula of every sort, so that no line pays for what is loaded once."""
        self.answer(
            '{"formula":"如果(且(a>1,包含(b,\\"x\\"),匹配(b,\\"x+\\")),求和(c),文本(d,\\"yyyy-mm-dd\\"))",'
            '"fields":{"a":2,"b":"x","c":[1,2],"d":{"$date":"2026-11-11"}}}'.encode()
        )

    def answer(self, raw: bytes) -> dict[str, Any]:
        """The answer to one line; a line that cannot be used gets one as well. Never raises."""
        id: Any = None
        try:
            found = read_object(raw)
            id = found.get("id")
            line = read_line(found)
            names, values = read_fields(line.fields)
            return self.answer_line(line, names, values)
        except BadInput as bad:
            return {"id": id, "refused": bad.code, "message": bad.text} | _NOWHERE
        except Exception:  # noqa: BLE001 - the edge: one line must not stop the others
            logger.exception("a formula line failed")
            message = _BAD_LINE["internal_error"]
            return {"id": id, "refused": "internal_error", "message": message} | _NOWHERE

    def answer_line(self, line: Line, names: Names, values: Mapping[str, object]) -> dict[str, Any]:
        """Parse, check and evaluate; `ms` covers the three."""
        begun = self.timer()
        checked = check(line.formula, names)
        if checked.is_valid:
            said = write_value(self.run(checked, values, self.now))
        else:
            first = next(item for item in checked.findings if item.refuses)
            said = {
                "refused": first.code,
                "message": first.text,
                "start": first.start,
                "end": first.end,
            }
        return {"id": line.id} | said | {"ms": round((self.timer() - begun) * 1000, 4)}


_NOWHERE: Final = {"start": 0, "end": 0, "ms": 0}


# --- reading --------------------------------------------------------------------------------------


def read_object(raw: bytes) -> dict[str, Any]:
    """The JSON object of a line. Raises BadInput."""
    if len(raw) > MAX_LINE:
        raise _bad("line_too_long", limit=MAX_LINE)
    try:
        found = json.loads(raw.decode("utf-8-sig"), parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        raise _bad("bad_encoding") from error
    except RecursionError as error:
        raise _bad("bad_json", reason=gettext_noop("嵌套太深")) from error
    except ValueError as error:
        raise _bad("bad_json", reason=str(error)[:200]) from error
    if not isinstance(found, dict):
        raise _bad("not_an_object", found=_kind(found))
    return found


def read_line(found: Mapping[str, Any]) -> Line:
    """The formula and fields of a line. Raises BadInput."""
    if "formula" not in found:
        raise _bad("missing_formula")
    formula, fields = found["formula"], found.get("fields", {})
    if not isinstance(formula, str):
        raise _bad("formula_not_text", found=_kind(formula))
    if not isinstance(fields, dict):
        raise _bad("fields_not_object", found=_kind(fields))
    return Line(found.get("id"), formula, fields)


def read_fields(fields: Mapping[str, Any]) -> tuple[Names, dict[str, Value]]:
    """The names a line's formula may use, and their values. Raises BadInput."""
    declared: list[Field] = []
    values: dict[str, Value] = {}
    for name, written in fields.items():
        is_list = isinstance(written, list)
        values[name] = (
            tuple(_read_value(name, item) for item in written)
            if is_list
            else _read_value(name, written)
        )
        kind = ValueType.ROWS if is_list else _type_of(written)
        declared.append(Field(name, name, "", kind))
    return Names(declared), values


def _read_value(name: str, written: Any) -> Value:
    """One value that is no list."""
    if written is None or isinstance(written, str | bool):
        return written
    if isinstance(written, int | float):
        try:
            number = float(written)
        except OverflowError:
            return ErrorValue.NUM
        return number if number - number == 0.0 else ErrorValue.NUM
    if isinstance(written, dict) and len(written) == 1:
        if written.get("$unknown") is True:
            return UNKNOWN
        if isinstance(written.get("$date"), str):
            try:
                moment = dt.datetime.fromisoformat(written["$date"])
                return to_serial(moment.astimezone(ZONE) if moment.tzinfo else moment)
            except (ValueError, OverflowError):
                pass  # said below, with every other value that cannot be read
    raise _bad("bad_field", name=name[:40])


def _type_of(written: Any) -> ValueType:
    if isinstance(written, bool):
        return ValueType.LOGICAL
    if isinstance(written, int | float):
        return ValueType.NUMBER
    if isinstance(written, str):
        return ValueType.TEXT
    is_date = isinstance(written, dict) and "$date" in written
    return ValueType.DATETIME if is_date else ValueType.ANY


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")


def _kind(found: Any) -> str:
    return {dict: "object", list: "array", str: "string", bool: "boolean", type(None): "null"}.get(
        type(found), "number"
    )


def _bad(code: str, **params: Any) -> BadInput:
    return BadInput(_BAD_LINE[code], code=code, **params)


# --- writing --------------------------------------------------------------------------------------


def write_value(value: Value) -> dict[str, Any]:
    """A value as part of an answer: dates are serial numbers, rows are no value."""
    if isinstance(value, ErrorValue):
        return {"error": value.code}
    if value is UNKNOWN:
        return {"unknown": True}
    if isinstance(value, Result):
        return {"result": value.value}
    if isinstance(value, float):
        is_whole = value.is_integer() and abs(value) < 1e15
        return {"value": int(value) if is_whole else value}
    if value is None or isinstance(value, str | bool):
        return {"value": value}
    return {"error": ErrorValue.VALUE.code}


def write_answer(answer: Mapping[str, Any]) -> str:
    """An answer as one line of JSON; half a surrogate pair is escaped, all else readable."""
    try:
        text = json.dumps(answer, ensure_ascii=False, allow_nan=False)
    except ValueError:  # an id such as 1e999; values are finite
        return write_answer({**answer, "id": None})
    is_writable = text.isascii() or _HALF_PAIR.search(text) is None
    return text if is_writable else json.dumps(answer, allow_nan=False)


_HALF_PAIR: Final = re.compile("[\ud800-\udfff]")
