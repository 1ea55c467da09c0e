"""The guide for people who come from Excel, as data: every formula in it is run by a test.

In prose, `backquotes` enclose formulas (each must check without an error) and 「」 what is not one.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from config.errors import gettext_noop
from rules_engine.formula import UNKNOWN, find_function
from rules_engine.formula.limits import (
    MAX_ARGUMENTS,
    MAX_CHARACTERS,
    MAX_DEPTH,
    MAX_NODES,
    MAX_PATTERN,
    MAX_TEXT,
)

# The moment the guide's examples are worked out at.
GUIDE_NOW: Final = dt.datetime(2026, 11, 13, 10, 0)  # noqa: DTZ001 - local wall time is meant


@dataclass(frozen=True)
class Case:
    """A formula with its answer in words; `facts` are fields by label, on a made-up order."""

    formula: str
    answer: str
    facts: Mapping[str, object] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True)
class Section:
    """A heading with paragraphs, steps and worked formulas, shown in this order."""

    key: str
    title: str
    prose: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()
    cases: tuple[Case, ...] = ()
    after: tuple[str, ...] = ()
    params: Mapping[str, object] = field(default_factory=dict)


def _at(day: int, hour: int = 0, minute: int = 0) -> dt.datetime:
    return dt.datetime(2026, 11, day, hour, minute)  # noqa: DTZ001 - local wall time is meant


def _find_table() -> object:
    """The freight table of the examples of 查表."""
    lookup = find_function("LOOKUPTABLE")
    assert lookup is not None  # noqa: S101 - narrowing for the type checker
    return lookup.examples[0].facts["运费表"]


PRESALE: Final = (
    "如果（预售阶段＝“”，不适用（），\n"
    "  如果（且（预售阶段＝“定金已付”，尾款截止＜现在（）），不通过（），通过（）））"
)
_LINES: Final = (
    {"商品": "针织开衫", "数量": 2.0, "单价": 59.0, "行金额": 118.0, "是赠品": False},
    {"商品": "羊毛围巾", "数量": 1.0, "单价": 39.0, "行金额": 39.0, "是赠品": False},
    {"商品": "帆布袋", "数量": 1.0, "单价": 0.0, "行金额": 0.0, "是赠品": True},
)
_PAYMENTS: Final = (
    {"付款阶段": "定金", "付款状态": "支付成功", "付款金额": 50.0},
    {"付款阶段": "尾款", "付款状态": "未支付", "付款金额": 107.0},
)

FIRST_CHECK: Final = Section(
    "first",
    gettext_noop("五分钟写好一条检查"),
    prose=(
        gettext_noop(
            "以预售为例：买家付了定金，尾款截止时间已过却没付尾款，这张单就该有人管。"
        ),
    ),
    steps=(
        gettext_noop("先说成一句话：不是预售单，不适用；定金已付而尾款截止已过，不通过；其余通过。"),
        gettext_noop("打开「检查项」，按「新建检查」，选「空白检查」，起个名字。"),
        gettext_noop(
            "把那句话写成公式，跟 Excel 的 IF 一样一层套一层。用中文输入法直接打，全角括号、逗号、引号都认。"
        ),
        gettext_noop("写错的地方会划红线，说明原因，能改的点一下就改好。下面一行把公式读成中文，对一对是不是你的意思。"),
        gettext_noop("右边马上用 20 张真实订单试算。点开一张，能看到公式每一部分的值。"),
        gettext_noop("写原因一句话，例如“尾款已逾期 {现在()-尾款截止}”。大括号里可以写字段名或任何公式，例如 `现在()-尾款截止`。"),
        gettext_noop("定分值和封顶，按「算一算」看会移动哪些订单，再「提交审核」。发布之前不影响任何订单。"),
    ),
    cases=(
        Case(PRESALE, "不适用", {"预售阶段": None}, gettext_noop("普通订单")),
        Case(
            PRESALE,
            "不通过",
            {"预售阶段": "定金已付", "尾款截止": _at(12, 23, 59)},
            gettext_noop("尾款昨晚截止，还没付"),
        ),
        Case(
            PRESALE,
            "通过",
            {"预售阶段": "定金已付", "尾款截止": _at(14)},
            gettext_noop("还没到截止时间"),
        ),
        Case(
            PRESALE,
            "未知",
            {"预售阶段": "定金已付", "尾款截止": UNKNOWN},
            gettext_noop("渠道还没给截止时间：记作数据不足，不会误判"),
        ),
    ),
)  # fmt: skip

EXCEL: Final = Section(
    "operators",
    gettext_noop("和 Excel 一样的"),
    prose=(
        gettext_noop(
            "运算符和先后与 Excel 相同：先负号，再百分号、乘方、乘除、加减、连接文本，最后比较。开头的等号可写可不写；相等用一个等号。"
        ),
        gettext_noop("比较文本不分大小写。函数的中文名和英文名随便用，`如果(1>0, 1, 2)` 和 `IF(1>0, 1, 2)` 是同一个公式。"),
    ),
    cases=(
        Case("-2^2", "4", note=gettext_noop("负号比乘方先算")),
        Case("50%^2", "0.25"),
        Case("2^3^2", "64", note=gettext_noop("同一级从左算起")),
        Case("=1+2*3", "7", note=gettext_noop("开头的等号可写可不写")),
        Case('"第" & 1+2 & "次"', "“第3次”", note=gettext_noop("& 连接文本")),
        Case('"ABC" = "abc"', "是"),
        Case("0.1+0.2 = 0.3", "是", note=gettext_noop("按 15 位数字比较")),
        Case("四舍五入(2.5, 0)", "3"),
        Case("1/0", "#DIV/0!（除以了 0 或空值）", note=gettext_noop("错误是一种值，会一路传下去")),
        Case("如果错误(1/0, 0)", "0"),
    ),
)  # fmt: skip

NAMES_SECTION: Final = Section(
    "names",
    gettext_noop("名称、方括号和全角标点"),
    prose=(
        gettext_noop("不用单元格地址，直接写字段名：`实付金额 < 应付金额`。英文别名也行：`paid_amount < payable_amount`。左边的列表里有全部字段，点一下就插入。"),
        gettext_noop("名称里有空格、斜杠或以数字开头时，用方括号括起来：`[实付金额] < [应付金额]` 与不括时是一个意思。名称后面紧跟括号的是函数，其余是字段。"),
        gettext_noop("全角标点和数字照认，存下来还是你打的样子：`实付金额＜１００`。"),
        gettext_noop("给同事留话写在 /* 和 */ 之间，不影响计算：`实付金额 < 应付金额 /* 少收了钱 */`。字段改名，公式不会坏。"),
    ),
    cases=(
        Case("实付金额＜应付金额", "是", {"实付金额": 97.0, "应付金额": 127.0}),
        Case("属于（渠道，“天猫”，“京东”）", "是", {"渠道": "京东"}),
        Case("[应付金额] - [实付金额]", "30.00 元", {"实付金额": 97.0, "应付金额": 127.0}),
    ),
)  # fmt: skip

UNKNOWN_SECTION: Final = Section(
    "unknown",
    gettext_noop("空和未知是两回事"),
    prose=(
        gettext_noop("空：已经知道没有，例如还没发货的订单，发货时间是空。计算时按 0、空文本或“否”，跟 Excel 的空单元格一样。"),
        gettext_noop("未知：来源还没告诉我们，例如 OMS 数据晚到。未知会一路传下去，结果也是未知，检查记作数据不足，不会把好单判成坏单。"),
        gettext_noop("“且”里只要有一个不成立，“或”里只要有一个成立，就能定下来，不必等未知的那个。"),
    ),
    cases=(
        Case("是空(发货时间)", "是", {"发货时间": None}),
        Case("优惠券 + 10", "10", {"优惠券": None}, gettext_noop("空按 0 算")),
        Case("是空(OMS接收时间)", "未知", {"OMS接收时间": UNKNOWN}, gettext_noop("不知道有没有，就不说没有")),
        Case("是未知(OMS接收时间)", "是", {"OMS接收时间": UNKNOWN}),
        Case("且(实付金额 > 0, 是空(OMS接收时间))", "否", {"实付金额": 0.0, "OMS接收时间": UNKNOWN}, gettext_noop("已经定下来了")),
        Case("距今小时(付款时间)", "#N/A（没有可用的值）", {"付款时间": None}, gettext_noop("没发生的事没有时长")),
    ),
)  # fmt: skip

RESULTS: Final = Section(
    "results",
    gettext_noop("五种结果"),
    prose=(
        gettext_noop("一条「判断」得出是或否：是就通过，得满分；否就不通过，得 0 分。也可以直接写结果：`通过()`、`不通过()`、`数据不足()`、`不适用()`。"),
        gettext_noop("不适用：这条检查跟这张单无关，不扣分。数据不足：想判断但缺数据；来源晚到时不扣分，来源正常却没有数据时不得分并请人看。这两样每条检查都能另选。"),
        gettext_noop("「计分」得出 0 到分值之间的数字，介于中间记作部分通过。得出文本或别的东西的公式存不了，会当场说明。"),
    ),
    cases=(
        Case("实付金额 >= 应付金额", "是", {"实付金额": 127.0, "应付金额": 127.0}, gettext_noop("判断：通过")),
        Case('如果(货到付款, 不适用(), 实付金额 > 0)', "不适用", {"货到付款": True, "实付金额": 0.0}),
        Case('多重如果(距今小时(下单时间) < 24, 10, 距今小时(下单时间) < 48, 5, 真, 0)', "5", {"下单时间": _at(12)}, gettext_noop("计分：拖得越久分越低")),
    ),
)  # fmt: skip

ROWS: Final = Section(
    "rows",
    gettext_noop("明细和付款：逐行计算"),
    prose=(
        gettext_noop("一张订单有几行商品、几笔付款。不用数组公式，把明细或付款写在第一个参数，后面写每一行怎么算，再后面写只要哪些行。"),
        gettext_noop("金额列相加按分计算，几千行也不差一分。比较金额用 `金额相等(实付金额, 应付金额)`，不怕小数零头。"),
    ),
    cases=(
        Case("求和(明细, 数量*单价)", "157", {"明细": _LINES}),
        Case("求和(明细, 数量, 是赠品=假)", "3", {"明细": _LINES}, gettext_noop("不算赠品的件数")),
        Case("计数(明细, 单价 >= 39)", "2", {"明细": _LINES}),
        Case('任一(明细, 包含(商品, "围巾"))', "是", {"明细": _LINES}),
        Case("每一(明细, 数量 > 0)", "是", {"明细": _LINES}),
        Case('求和(付款, 付款金额, 付款状态="支付成功")', "50.00 元", {"付款": _PAYMENTS}),
        Case('计数(付款, 且(付款阶段="尾款", 付款状态<>"支付成功"))', "1", {"付款": _PAYMENTS}),
    ),
)  # fmt: skip

TIME: Final = Section(
    "time",
    gettext_noop("时间"),
    prose=(
        gettext_noop("时间就是数字，一天是 1，跟 Excel 一样：`现在() - 1/24` 是一小时前。更省事的是 `距今分钟(付款时间)`、`距今小时(付款时间)`、`距今天数(付款时间)`。"),
        gettext_noop("用到现在、距今的检查会每分钟重算，订单没有任何消息也会自己到期变红。页面上写着一条检查看不看时钟。"),
        gettext_noop("判断“系统里没有”时，跟那个来源的截至时间比，不要跟现在比：来源晚到十分钟，现在比它多走了十分钟。"),
    ),
    cases=(
        Case("距今小时(付款时间)", "46", {"付款时间": _at(11, 12)}),
        Case("距今分钟(付款时间) > 30", "是", {"付款时间": _at(13, 9, 15)}),
        Case("时间在区间内(下单时间, 日期(2026,11,10), 日期(2026,11,12))", "是", {"下单时间": _at(11, 0, 3)}),
        Case("且(是空(OMS接收时间), 相隔分钟(付款时间, OMS截至) > 15)", "是", {"OMS接收时间": None, "付款时间": _at(13, 9), "OMS截至": _at(13, 9, 55)}),
        Case("现在() - 付款时间", "1 天 22 小时", {"付款时间": _at(11, 12)}, gettext_noop("两个时间相减是时长")),
    ),
)  # fmt: skip

_FREIGHT: Final = {"运费表": _find_table()}
_SAME_BUYER: Final = (
    {"订单号": "MP1001", "下单时间": _at(13, 9, 20), "实付金额": 127.0, "已结束": False},
    {"订单号": "MP0877", "下单时间": _at(2, 20), "实付金额": 59.0, "已结束": True},
)
_HISTORY: Final = {
    "history.passages": (
        {"节点": "node:payment", "进入": _at(11, 12), "离开": _at(11, 12, 30)},
        {"节点": "node:wms_push", "进入": _at(12, 9), "离开": None},
    ),
    "history.events": (
        {"阶段": "stage:await_pay", "时间": _at(11, 12)},
        {"阶段": "stage:await_ship", "时间": _at(11, 12, 30)},
    ),
}
_PROMOTION: Final = {
    "calendar.promotions": ({"活动": "双11", "开始": _at(10, 20), "结束": _at(12)},)
}

BESIDE: Final = Section(
    "beside",
    gettext_noop("查表、别的订单、订单经历、日历"),
    prose=(
        gettext_noop("对照表（运费、发货时限、风险地区）建在「查找表」里，像 Excel 的 VLOOKUP，但按列名取：先写表名，再写键，再写要哪一列，最后写找不到时用什么。表改了，发布以后马上按新的算。"),
        gettext_noop("别的订单也是多行：`同买家订单`、`同地址订单`、`同商品订单`、`关联订单`，写法跟明细一样。每张单最多取最近的 50 张，只在用到时才取。行里的列名与本单的字段同名时，本单的前面加“本单”。"),
        gettext_noop("订单走过的路：`曾进入(\"推送WMS\")`、`在节点时长小时(\"推送WMS\")`、`状态变化次数()`，节点和阶段都可以写。"),
        gettext_noop("工作时间认得节假日和调休；促销日历里的活动期间可以放宽时限。两张日历都在「查找表」里改。"),
    ),
    cases=(
        Case('查表("运费表", 省, "运费")', "6.00 元", {"省": "浙江省", **_FREIGHT}),
        Case('查表("运费表", 省, "运费", 30)', "30", {"省": "台湾省", **_FREIGHT}, gettext_noop("表里没有这个省，用默认值")),
        Case("计数(同买家订单, 距今天数(下单时间) <= 7)", "1", {"同买家订单": _SAME_BUYER}),
        Case("任一(同买家订单, 且(实付金额 = 本单实付金额, 距今小时(下单时间) < 1))", "是", {"同买家订单": _SAME_BUYER, "实付金额": 127.0}, gettext_noop("一小时内同样金额又买一次：可能重复下单")),
        Case('曾进入("推送WMS")', "是", _HISTORY),
        Case('在节点时长小时("推送WMS")', "25", _HISTORY),
        Case("距今小时(付款时间) <= 按大促(付款时间, 72, 48)", "是", {"付款时间": _at(11, 0, 5), **_PROMOTION}, gettext_noop("大促期间付款的放宽到 72 小时")),
    ),
)  # fmt: skip

LIMITS: Final = Section(
    "limits",
    gettext_noop("有哪些限制"),
    prose=(
        gettext_noop("公式没有循环，存得下的公式一定很快算完。超过下面任何一条，存的时候就会说是哪一条："),
    ),
    steps=(
        gettext_noop("公式最长 %(characters)s 个字符，最多 %(nodes)s 个部分，最多套 %(depth)s 层。"),
        gettext_noop("一个函数最多 %(arguments)s 个参数。"),
        gettext_noop("文本结果最长 %(text)s 个字符，与 Excel 相同；匹配的模式最长 %(pattern)s 个字符。"),
        gettext_noop("数据永远只是数据：字段里写着“=1+1”，就是这四个字。"),
    ),
    params={
        "characters": f"{MAX_CHARACTERS:,}",
        "nodes": f"{MAX_NODES:,}",
        "depth": MAX_DEPTH,
        "arguments": MAX_ARGUMENTS,
        "text": f"{MAX_TEXT:,}",
        "pattern": MAX_PATTERN,
    },
)  # fmt: skip

SECTIONS: Final = (
    FIRST_CHECK,
    EXCEL,
    NAMES_SECTION,
    UNKNOWN_SECTION,
    RESULTS,
    ROWS,
    TIME,
    BESIDE,
    LIMITS,
)
