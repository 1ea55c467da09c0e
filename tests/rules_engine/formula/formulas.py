"""Random formulas over every registered function, and random facts for them."""

from __future__ import annotations

from hypothesis import strategies as st

from rules_engine.formula import (
    FUNCTIONS,
    UNKNOWN,
    ErrorValue,
    Field,
    Function,
    Names,
    ValueType,
)
from rules_engine.formula.functions.tables import build_table
from rules_engine.formula.names import Table, Term

FIELDS = (
    Field("f.number", "数值甲", "num_a", ValueType.NUMBER),
    Field("f.money", "支付金额", "pay", ValueType.MONEY),
    Field("f.text", "备注（买家）", "memo", ValueType.TEXT),
    Field("f.flag", "是否预售", "presale", ValueType.LOGICAL),
    Field("f.time", "支付时间", "paid_at", ValueType.DATETIME),
    Field("f.list", "列表", "list", ValueType.ROWS),
    Field("f.any", "通过", "anything", ValueType.ANY),
    Field(
        "f.lines",
        "明细",
        "lines",
        ValueType.ROWS,
        columns=(
            Field("l.qty", "数量", "qty", ValueType.NUMBER),
            Field("l.price", "支付金额", "price", ValueType.MONEY),
        ),
    ),
)
TABLES = (
    Table(
        "table:fees",
        "运费表",
        keys=(
            Field("table:fees.text", "省", "", ValueType.TEXT),
            Field("table:fees.number", "重量", "", ValueType.NUMBER),
        ),
        columns=(
            Field("table:fees.fee", "运费", "fee", ValueType.MONEY),
            Field("table:fees.any", "说明", "", ValueType.TEXT),
        ),
    ),
    Table(
        "table:days",
        "节假日",
        keys=(Field("table:days.day", "日期", "", ValueType.DATETIME),),
        columns=(Field("table:days.on", "上班", "", ValueType.LOGICAL),),
    ),
)
TERMS = (
    Term("node:payment", "支付"),
    Term("node:wms_push", "推送WMS"),
    Term("stage:await_pay", "待付款"),
    Term("stage:await_ship", "待发货"),
)
HIDDEN = (
    Field("history.passages", "节点经过", "", ValueType.ROWS, is_prefetched=True, is_hidden=True),
    Field("history.events", "状态变化", "", ValueType.ROWS, is_prefetched=True, is_hidden=True),
    Field("calendar.holidays", "节假日", "", ValueType.ROWS, is_prefetched=True, is_hidden=True),
    Field(
        "calendar.promotions", "促销日历", "", ValueType.ROWS, is_prefetched=True, is_hidden=True
    ),
)
NAMES = Names((*FIELDS, *HIDDEN), TABLES, TERMS)
LOOKUPS = {
    "table:fees": build_table(
        TABLES[0],
        [(["天猫", 1.0], [6.5, "普通"]), (["abc", 2.5], [None, ""]), (["5", 0.0], [0.0, "a*"])],
        fallbacks=[9.0],
    ),
    "table:days": build_table(TABLES[1], [([46337.0], [False]), ([46338.5], [True])]),
}

_LEAVES = {
    ValueType.NUMBER: ["数值甲", "0", "1", "2.5", "-3", "1E10", "0.1", "pay", "数值甲%"],
    ValueType.TEXT: ["[备注（买家）]", '"天猫"', '""', '"5"', "“a*”", '"2026-11-11"', '"abc"'],
    ValueType.LOGICAL: ["是否预售", "TRUE", "假", "数值甲>1", '[备注（买家）]="x"'],
    ValueType.DATETIME: ["支付时间", "现在()", "DATE(2026,11,11)", "支付时间-1"],
    ValueType.ROWS: ["列表"],
    ValueType.ANY: ["[通过]", "数值甲", '"x"', "支付时间", "NA()", "数据不足", "1/0"],
}
_SAME = {
    ValueType.MONEY: ValueType.NUMBER,
    ValueType.DURATION: ValueType.NUMBER,
    ValueType.RESULT: ValueType.ANY,
}
_BY_RESULT: dict[ValueType, list[Function]] = {}
for _function in FUNCTIONS:
    _kind = _SAME.get(_function.result, _function.result)
    _BY_RESULT.setdefault(_kind, []).append(_function)
    if _kind is not ValueType.ANY:
        _BY_RESULT.setdefault(ValueType.ANY, []).append(_function)


@st.composite
def formulas(draw: st.DrawFn, kind: ValueType = ValueType.ANY, depth: int = 3) -> str:
    kind = _SAME.get(kind, kind)
    choice = draw(st.integers(0, 5)) if depth else 0
    if choice <= 1 or kind is ValueType.ROWS:
        return draw(st.sampled_from(_LEAVES[kind]))
    if choice <= 3 and kind in _BY_RESULT:
        return draw(calls(draw(st.sampled_from(_BY_RESULT[kind])), depth - 1))
    operator = draw(
        st.sampled_from(
            {
                ValueType.TEXT: ["&"],
                ValueType.LOGICAL: ["=", "<>", "<", "≥", "＞", "<="],
            }.get(kind, ["+", "-", "*", "/", "^", "×"])
        )
    )
    inner = kind if kind in (ValueType.TEXT, ValueType.NUMBER) else ValueType.ANY
    left, right = draw(formulas(inner, depth - 1)), draw(formulas(inner, depth - 1))
    pattern = draw(
        st.sampled_from(["{0}{1}{2}", "({0}){1}({2})", "-({0}){1}{2}", "（{0} {1} {2}）%"])
    )
    return pattern.format(left, operator, right)


@st.composite
def lookup_arguments(draw: st.DrawFn, depth: int) -> list[str]:
    table = draw(st.sampled_from(TABLES))
    keys = [draw(formulas(key.type, max(0, depth))) for key in table.keys]
    column = draw(st.sampled_from(table.columns))
    default = draw(st.booleans())
    rest = [draw(formulas(ValueType.ANY, max(0, depth)))] if default else []
    return [f'"{table.name}"', *keys, f'"{column.label}"', *rest]


@st.composite
def calls(draw: st.DrawFn, function: Function, depth: int = 2) -> str:
    name = draw(st.sampled_from(function.names))
    if function.en == "LOOKUPTABLE":
        return f"{name}({', '.join(draw(lookup_arguments(depth)))})"
    if function.row_parameters and draw(st.booleans()):
        args = ["明细", "数量*支付金额", "数量>1"][: len(function.row_parameters)]
        if len(function.row_parameters) == 2:
            args[1] = "数量>1"
        return f"{name}({', '.join(args)})"
    if function.style.value == "rows":
        expression = draw(st.sampled_from(["数量>1", "支付金额", "数量/[通过]"]))
        return f"{name}(明细, {expression})"
    most = function.fewest + 3 if function.most is None else function.most
    count = draw(st.integers(function.fewest, most))
    if function.in_pairs:
        outside = sum(not parameter.is_repeated for parameter in function.parameters)
        count += (count - outside) % 2
    args = []
    for index in range(count):
        parameter = function.parameter_at(index)
        if parameter.terms:
            known = [term for term in TERMS if term.kind in parameter.terms]
            args.append(f'"{draw(st.sampled_from(known)).label}"')
        elif parameter.is_literal:
            args.append('"[a-z]+"')
        else:
            args.append(draw(formulas(parameter.type, max(0, depth))))
    return f"{name}({', '.join(args)})"


numbers = st.one_of(
    st.sampled_from(
        [0.0, -0.0, 1.0, -1.0, 0.1, 0.3, 2.5, 1e15, 1e308, -1e308, 5e-324, 46337.5, 2958465.0]
    ),
    st.floats(allow_nan=True, allow_infinity=True),
    st.integers(-(10**30), 10**30),
)
texts = st.one_of(
    st.sampled_from(
        ["", "天猫", "ABC", "abc", "5", "10%", " 5 ", "TRUE", "2026-11-11", "*", "=1+1"]
    ),
    st.text(max_size=12),
)
scalars = st.one_of(
    numbers,
    texts,
    st.booleans(),
    st.none(),
    st.just(UNKNOWN),
    st.sampled_from(list(ErrorValue)),
)
rows = st.lists(st.fixed_dictionaries({"l.qty": scalars, "l.price": scalars}), max_size=4)
moments = st.one_of(st.sampled_from([46336.25, 46337.0, 46338.5]), st.just(UNKNOWN))
passages = st.lists(
    st.fixed_dictionaries(
        {
            "history.passages.node": st.sampled_from(["node:payment", "node:wms_push"]),
            "history.passages.entered_at": moments,
            "history.passages.left_at": st.one_of(moments, st.none()),
        }
    ),
    max_size=3,
)
events = st.lists(
    st.fixed_dictionaries(
        {
            "history.events.stage": st.sampled_from(["stage:await_pay", "stage:await_ship", None]),
            "history.events.at": moments,
        }
    ),
    max_size=3,
)
holidays = st.lists(
    st.fixed_dictionaries(
        {
            "calendar.holidays.day": st.sampled_from([46337.0, 46338.0, 46340.0, None]),
            "calendar.holidays.is_workday": st.booleans(),
        }
    ),
    max_size=3,
)
promotions = st.lists(
    st.fixed_dictionaries(
        {
            "calendar.promotions.name": st.sampled_from(["双11", "618", None]),
            "calendar.promotions.starts_at": moments,
            "calendar.promotions.ends_at": moments,
        }
    ),
    max_size=3,
)
facts = st.fixed_dictionaries(
    {
        "calendar.holidays": st.one_of(holidays, st.just(UNKNOWN)),
        "calendar.promotions": st.one_of(promotions, st.just(UNKNOWN)),
        "history.passages": st.one_of(passages, st.just(UNKNOWN)),
        "history.events": st.one_of(events, st.just(UNKNOWN)),
        "f.number": scalars,
        "f.money": scalars,
        "f.text": scalars,
        "f.flag": scalars,
        "f.time": scalars,
        "f.any": scalars,
        "f.list": st.one_of(st.lists(scalars, max_size=5), st.just(UNKNOWN), st.none()),
        "f.lines": st.one_of(rows, st.just(UNKNOWN), st.none()),
        "table:fees": st.sampled_from([LOOKUPS["table:fees"], UNKNOWN]),
        "table:days": st.just(LOOKUPS["table:days"]),
    }
)
