"""What both plans are fed: formulas as rules are written, and records that try every cell of
type x blank / unknown / error / wrong type, with ties and extremes.

`formulas.calls` covers every function; the grammar here writes the shapes rules have, typed, with
parts that repeat, so that the compiled plan's short ways are taken.
"""

from __future__ import annotations

import datetime as dt
import random
from functools import lru_cache
from typing import Any

from hypothesis import strategies as st

from rules_engine.formula import UNKNOWN, ErrorValue, Field, Names, Result, ValueType

from .facts import NOW
from .formulas import FIELDS, HIDDEN, LOOKUPS, TABLES, TERMS

MORE = (
    Field("p.a", "数量甲", "a", ValueType.NUMBER),
    Field("p.b", "数量乙", "b", ValueType.NUMBER),
    Field("p.due", "应付", "due", ValueType.MONEY),
    Field("p.off", "优惠", "off", ValueType.MONEY),
    Field("p.channel", "渠道", "channel", ValueType.TEXT),
    Field("p.address", "地址", "address", ValueType.TEXT),
    Field("p.locked", "已锁", "locked", ValueType.LOGICAL),
    Field("p.paid", "已付", "paid", ValueType.LOGICAL),
    Field("p.made", "下单时间", "made", ValueType.DATETIME),
    Field("p.sent", "发货时间", "sent", ValueType.DATETIME),
    Field("p.wait", "等待", "wait", ValueType.DURATION),
    Field("p.any", "随意", "any", ValueType.ANY),
    Field("p.result", "结论", "verdict", ValueType.RESULT),
    Field(
        "p.rows",
        "包裹",
        "parcels",
        ValueType.ROWS,
        columns=(
            Field("r.count", "件数", "pieces", ValueType.NUMBER),
            Field("r.price", "单价", "unit_price", ValueType.MONEY),
            Field("r.code", "编号", "code", ValueType.TEXT),
            Field("r.ok", "合格", "ok", ValueType.LOGICAL),
            Field("r.at", "时刻", "at", ValueType.DATETIME),
        ),
    ),
)
RULE_NAMES = Names((*FIELDS, *MORE, *HIDDEN), TABLES, TERMS)

NUMBERS = ["a", "b", "due", "off", "wait", "数值甲", "pay", "0", "1", "2", "0.3", "-3", "0.01"]
TEXTS = ["channel", "address", "[备注（买家）]", '"天猫"', '"abc"', '""', '"A1"', '"5"']
LOGICALS = ["locked", "paid", "是否预售", "TRUE", "FALSE"]
MOMENTS = ["made", "sent", "支付时间", "现在()", "DATE(2026,11,11)"]
ROW_NUMBERS = ["件数", "单价", "1", "a", "件数*单价", "单价-due/2", "距今天数(时刻)"]
ROW_TESTS = [
    "件数>1",
    "合格",
    'AND(合格,编号="a1")',
    "单价>=due",
    "距今小时(时刻)<=48",
    '包含(编号,"A")',
    "计数(明细,数量>1)>0",
    "ISBLANK(编号)",
    "求和(包裹,件数)>件数",
]


@st.composite
def numbers(draw: st.DrawFn, depth: int) -> str:
    choice = draw(st.integers(0, 15)) if depth > 0 else 0
    less = depth - 1
    if choice <= 2:
        return draw(st.sampled_from(NUMBERS))
    if choice <= 5:
        operator = draw(st.sampled_from(["+", "-", "*", "/", "-", "+"]))
        return f"({draw(numbers(less))}{operator}{draw(numbers(less))})"
    if choice == 6:
        return f"{draw(st.sampled_from(MOMENTS))}-{draw(st.sampled_from(MOMENTS))}"
    if choice == 7:
        name = draw(st.sampled_from(["距今小时", "距今天数", "HOURSSINCE"]))
        return f"{name}({draw(st.sampled_from(MOMENTS))})"
    if choice == 8:
        return f"LEN({draw(texts(less))})"
    if choice == 9:
        name = draw(st.sampled_from(["SUM", "MIN", "MAX", "求和"]))
        count = draw(st.integers(1, 4))
        return f"{name}({','.join(draw(numbers(less)) for _ in range(count))})"
    if choice == 10:
        digits = draw(st.sampled_from(["0", "2", "-1", "a"]))
        name = draw(st.sampled_from(["ROUND", "ROUNDUP", "ROUNDDOWN"]))
        return f"{name}({draw(numbers(less))},{digits})"
    if choice == 11:
        return f"IFERROR({draw(numbers(less))},{draw(numbers(less))})"
    if choice == 12:
        return f"IF({draw(logicals(less))},{draw(numbers(less))},{draw(numbers(less))})"
    if choice == 13:
        return f"{draw(st.sampled_from(['ABS', '-', 'INT']))}({draw(numbers(less))})"
    name = draw(st.sampled_from(["求和", "最大", "计数", "平均", "不同数"]))
    expression = "" if name == "计数" else f",{draw(st.sampled_from(ROW_NUMBERS))}"
    test = f",{draw(st.sampled_from(ROW_TESTS))}" if draw(st.booleans()) else ""
    return f"{name}(包裹{expression}{test})"


@st.composite
def texts(draw: st.DrawFn, depth: int) -> str:
    choice = draw(st.integers(0, 7)) if depth > 0 else 0
    less = depth - 1
    if choice <= 3:
        return draw(st.sampled_from(TEXTS))
    if choice == 4:
        return f"({draw(texts(less))}&{draw(st.one_of(texts(less), numbers(less)))})"
    if choice == 5:
        name = draw(st.sampled_from(["LEFT", "RIGHT"]))
        return f"{name}({draw(texts(less))},{draw(st.sampled_from(['1', '4', 'a']))})"
    if choice == 6:
        pattern = draw(st.sampled_from(["mmdd", "yyyy-mm-dd", "0.00", "hh:mm", "yyyy年m月d日"]))
        return f'TEXT({draw(st.sampled_from([*MOMENTS, "a"]))},"{pattern}")'
    return f"IF({draw(logicals(less))},{draw(texts(less))},{draw(texts(less))})"


@st.composite
def logicals(draw: st.DrawFn, depth: int) -> str:
    choice = draw(st.integers(0, 15)) if depth > 0 else 0
    less = depth - 1
    if choice == 0:
        return draw(st.sampled_from(LOGICALS))
    sign = draw(st.sampled_from(["=", "<>", "<", ">", "<=", ">="]))
    if choice <= 3:
        return f"{draw(numbers(less))}{sign}{draw(numbers(less))}"
    if choice <= 5:
        sign = draw(st.sampled_from(["=", "<>", "<", "="]))
        return f"{draw(texts(less))}{sign}{draw(texts(less))}"
    if choice == 6:
        return f"{draw(st.sampled_from(MOMENTS))}{sign}{draw(st.sampled_from(MOMENTS))}"
    if choice <= 9:
        name = draw(st.sampled_from(["AND", "OR", "且", "或"]))
        count = draw(st.integers(1, 4))
        return f"{name}({','.join(draw(logicals(less)) for _ in range(count))})"
    if choice == 10:
        return f"NOT({draw(logicals(less))})"
    if choice == 11:
        field = draw(st.sampled_from(["a", "channel", "made", "locked", "随意", "包裹", "列表"]))
        name = draw(st.sampled_from(["ISBLANK", "ISNUMBER", "是未知", "ISERROR"]))
        return f"{name}({field})"
    if choice == 12:
        part = draw(st.sampled_from(['"a"', '"天"', '""', '"A1","b"']))
        name = draw(st.sampled_from(["包含", "开头是", "结尾是", "属于"]))
        return f"{name}({draw(texts(less))},{part})"
    if choice == 13:
        return f"ISNUMBER(FIND({draw(st.sampled_from(['a', '*'])).join(chr(34) * 2)},{draw(texts(less))}))"
    if choice == 14:
        name = draw(st.sampled_from(["任一", "每一"]))
        return f"{name}(包裹,{draw(st.sampled_from(ROW_TESTS))})"
    left, right = draw(st.sampled_from(["随意", "[通过]", "结论", "locked", "列表"])), "a"
    if draw(st.booleans()):
        right = draw(st.one_of(numbers(less), texts(less), st.just("随意"), st.just("NA()")))
    return f"{left}{sign}{right}"


@st.composite
def rules(draw: st.DrawFn, depth: int = 4) -> str:
    """A formula of a dimension: usually a decision."""
    less = depth - 1
    choice = draw(st.integers(0, 9))
    if choice <= 2:
        return f"IF({draw(logicals(less))},{draw(numbers(1))},{draw(rules(less) if less > 0 else numbers(0))})"
    if choice == 3:
        pairs = ",".join(
            f"{draw(logicals(less))},{draw(numbers(1))}" for _ in range(draw(st.integers(1, 3)))
        )
        last = draw(st.sampled_from(["", ",TRUE,0", ",TRUE,不适用"]))
        return f"IFS({pairs}{last})"
    if choice == 4:
        subject = draw(st.one_of(texts(less), st.just("channel"), numbers(1), st.just("随意")))
        options = draw(
            st.lists(
                st.sampled_from(['"天猫",5', '"ABC",a', '"",-2', "1,2", "a,b", "NA(),1", '"5",3']),
                min_size=1,
                max_size=4,
            )
        )
        return f"SWITCH({subject},{','.join(options)}{draw(st.sampled_from(['', ',0', ',due']))})"
    if choice == 5:
        return f"CHOOSE({draw(numbers(less))},{draw(numbers(1))},通过,{draw(texts(1))})"
    if choice == 6:
        return f"IFNA({draw(numbers(less))},{draw(texts(1))})"
    return draw(st.one_of(logicals(depth), numbers(depth), texts(depth)))


# --- records ------------------------------------------------------------------------------------

_TYPED: dict[ValueType, list[Any]] = {
    ValueType.NUMBER: [
        *(0.0, -0.0, 1.0, 2.0, -3.0, 0.3, 0.1 + 0.2, 0.1, 2.5, 1.005, 3.0, 100.0, 1e15, 123456.789),
        *(1e15 + 1, 5e-324, 1e-200, 1e74, -1e74, 0.99999999999999999, 1.0000000000000002, 7.0),
    ],
    ValueType.MONEY: [0.0, 9.9, 99.99, 33.33 * 3, 0.1 + 0.2, 0.3, -5.0, 1e13, 199.0, 1e14, 0.005],
    ValueType.TEXT: [
        *("", "天猫", "abc", "ABC", "a1b2", "A1", "5", "10%", " 5 ", "TRUE", "false", "*", "=1+1"),
        *("2026-11-11", "İx", "straße", "ΑΣ", "SF12*", "长" * 150, "1e5", "a" * 99, "天"),
    ],
    ValueType.LOGICAL: [True, False],
    ValueType.DATETIME: [
        *(46_337.0, NOW, NOW - 2, NOW - 2 - 1 / 86_400_000, NOW + 0.5, 46_337.999999999, 0.0, 60.0),
        *(61.0, 2_958_464.9999999995, 1.5, NOW - 1),
    ],
    ValueType.DURATION: [0.0, 1.0, 0.5, -2.0, 1 / 24, 30.0],
    ValueType.RESULT: list(Result),
}
_WILD: list[Any] = [
    *(1e75, 1e150, 1e308, -1e308, float("nan"), float("inf"), -1.0, 2_958_465.9999999995, 1e300),
    *(3, 0, -7, 2**53 + 1, 10**30, 10**400, True, False, 5e-324, -0.0, 2_958_466.0, 46_337.5),
    *("", "x", "5", "3.5", "TRUE", "2026/11/11", "b" * 2_001, "c" * 40_000, "天猫"),
    dt.datetime(2026, 11, 11, 10, 0, 0, 500),  # noqa: DTZ001 - local wall time is meant
    dt.date(2026, 11, 11),
    *Result,
    *((), (1.0, 2.0), [1.0, None, "x", 3], [{"r.count": 1.0}], object(), [float("inf")], b"x"),
]
_MISSING = object()


SEEDS = 200


@lru_cache(maxsize=SEEDS)
def make_records(seed: int, count: int) -> list[dict[str, Any]]:
    """Records in three tempers: as declared, with gaps, and anything anywhere."""
    source = random.Random(seed)  # noqa: S311 - records, not secrets
    return [make_record(source, number % 3) for number in range(count)]


def make_record(source: random.Random, temper: int) -> dict[str, Any]:
    record = {field.id: make_value(source, field, temper) for field in (*FIELDS, *MORE)}
    # what functions read besides is ours: rows of the right shape, or not known
    record |= {field.id: make_rows(source, field, 0) for field in HIDDEN if temper < 2}
    record |= {table.id: LOOKUPS[table.id] for table in TABLES}
    if temper == 2 and source.random() < 0.1:
        record["table:fees"] = UNKNOWN
    return {id: value for id, value in record.items() if value is not _MISSING}


def make_value(source: random.Random, field: Field, temper: int) -> Any:
    gap, wild = ((0.0, 0.0), (0.35, 0.05), (0.2, 0.4))[temper]
    draw = source.random()
    if draw < gap:
        return source.choice([None, None, UNKNOWN, UNKNOWN, _MISSING, *ErrorValue])
    if draw < gap + wild:
        return source.choice(_WILD)
    if temper == 0 and source.random() < 0.2 and field.type is not ValueType.ROWS:
        return None
    if field.type is ValueType.ROWS:
        return make_rows(source, field, temper)
    if field.type is ValueType.ANY:
        return source.choice(_TYPED[source.choice([*_TYPED])])
    return source.choice(_TYPED[field.type])


def make_rows(source: random.Random, field: Field, temper: int) -> Any:
    count = source.choice([0, 1, 2, 3, 4])
    if not field.columns:
        if field.id.startswith("history."):
            return [_make_step(source, field.id) for _ in range(count)]
        kinds = [*_TYPED] if temper else [ValueType.NUMBER]
        return [source.choice(_TYPED[source.choice(kinds)]) for _ in range(count)]
    rows: list[Any] = []
    for _ in range(count):
        row = {column.id: make_value(source, column, temper) for column in field.columns}
        rows.append({id: value for id, value in row.items() if value is not _MISSING})
    if temper == 2 and rows and source.random() < 0.2:
        rows[0] = source.choice(_WILD)
    return tuple(rows) if source.random() < 0.5 else rows


def _make_step(source: random.Random, id: str) -> dict[str, Any]:
    if id == "history.passages":
        return {
            "history.passages.node": source.choice(["node:payment", "node:wms_push"]),
            "history.passages.entered_at": source.choice([46_336.25, 46_337.0, UNKNOWN]),
            "history.passages.left_at": source.choice([46_338.5, None, UNKNOWN]),
        }
    return {
        "history.events.stage": source.choice(["stage:await_pay", "stage:await_ship", None]),
        "history.events.at": source.choice([46_336.25, 46_337.0, UNKNOWN]),
    }
