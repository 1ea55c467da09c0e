"""Where the language goes beyond Excel or answers otherwise, and why; the guide shows this table.

Every line has its cases in tests/formula_cases/differences.txt.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from config.errors import gettext_noop


@dataclass(frozen=True, slots=True)
class Difference:
    """One spot: what Excel does, what we do, and the reason."""

    spot: str
    excel: str
    ours: str
    reason: str


DIFFERENCES: Final[tuple[Difference, ...]] = (
    Difference(
        gettext_noop("未知的值"),
        gettext_noop("没有这个概念"),
        gettext_noop("来源还没有告诉我们的值是“未知”，会一路传下去；且、或、属于能决定时照样决定"),
        gettext_noop("来源晚到时得出“数据不足”，而不是误报"),
    ),
    Difference(
        gettext_noop("长度、左取、中取"),
        gettext_noop("表情符号和生僻字算 2 个字符"),
        gettext_noop("每个字都算 1 个"),
        gettext_noop("姓名和地址里的生僻字不该被切成两半"),
    ),
    Difference(
        gettext_noop("距今小时、相隔小时等，时间为空"),
        gettext_noop("空值按 1900 年计算，得出一百多万小时"),
        gettext_noop("得出 #N/A"),
        gettext_noop("没有发生的事没有时长，不能算作超时"),
    ),
    Difference(
        gettext_noop("时长"),
        gettext_noop("两个时间相减会带上二进制零头"),
        gettext_noop("距今、相隔先取整到毫秒，整 48 小时就是 48"),
        gettext_noop("刚好在时限上的订单不该因为零头而不通过"),
    ),
    Difference(
        gettext_noop("金额求和"),
        gettext_noop("按小数相加"),
        gettext_noop("金额字段按分相加；金额相等按分比较"),
        gettext_noop("几千笔相加也不差一分"),
    ),
    Difference(
        gettext_noop("条件计数里的数字条件"),
        gettext_noop('文本 "5" 也算等于 5'),
        gettext_noop("只有数字才与数字比较"),
        gettext_noop("与其他比较一致；需要时先用 数值() 转换"),
    ),
    Difference(
        gettext_noop("明细函数"),
        gettext_noop("用单元格区域和数组公式"),
        gettext_noop("求和(明细, 表达式, 条件)、任一(明细, 条件) 等，逐行计算"),
        gettext_noop("订单没有单元格区域"),
    ),
    Difference(
        gettext_noop("包含、开头是、结尾是"),
        gettext_noop('没有这些函数；FIND("", 文本) 得出 1'),
        gettext_noop("空片段不算包含"),
        gettext_noop("配置漏填不该让检查总是成立"),
    ),
    Difference(
        gettext_noop("匹配（正则表达式）"),
        gettext_noop("旧版没有，新版会回溯"),
        gettext_noop("整个文本要符合，区分大小写，时间与长度成正比；没有前后查看和反向引用"),
        gettext_noop("写错的模式不能拖住评分"),
    ),
    Difference(
        gettext_noop("省略的参数"),
        gettext_noop("IF(a,,2) 把空的参数当 0"),
        gettext_noop("不接受空的参数"),
        gettext_noop("多半是漏写"),
    ),
    Difference(
        gettext_noop("名称"),
        gettext_noop("只有半角名称和单元格"),
        gettext_noop("字段可用中文名，任意名称写在 [ ] 里；全角标点和数字照认"),
        gettext_noop("按中文输入法的习惯书写"),
    ),
    Difference(
        gettext_noop("空的结果"),
        gettext_noop("公式取到空单元格时显示 0"),
        gettext_noop("取到空值时得出空值"),
        gettext_noop("0 元和没有金额是两回事，是空() 要能分辨"),
    ),
    Difference(
        gettext_noop("工作日和工作时间"),
        gettext_noop("NETWORKDAYS 和 WORKDAY 只认星期一到星期五，节假日要自己列出来"),
        gettext_noop(
            "这两个函数照旧；另有 上班天数、工作小时 等，按「节假日」表认得节假日和调休上班"
        ),
        gettext_noop("国庆前的订单不该算成超时七天"),
    ),
    Difference(
        gettext_noop("大促期间的时长"),
        gettext_noop("没有这些函数"),
        gettext_noop("是大促、按大促、非大促小时 等，按「促销日历」表"),
        gettext_noop("大促期间时限不同，规则不用每次大促都改"),
    ),
    Difference(
        gettext_noop("地址和电话"),
        gettext_noop("没有这些函数"),
        gettext_noop(
            "地址完整、手机号有效 等认得直辖市、不设区县的城市和平台遮挡的号码，看不出来时得出未知"
        ),
        gettext_noop("平台遮挡的内容不该算作缺失或错误"),
    ),
    Difference(
        gettext_noop("查表"),
        gettext_noop("VLOOKUP 在单元格区域里查第一列"),
        gettext_noop("查表(表名, 键…, 列, 默认值) 在业务维护的表里按一个或几个键查，总是精确查找"),
        gettext_noop("没有单元格区域；找不到时要有明确的默认值"),
    ),
    Difference(
        gettext_noop("单元格和数组"),
        gettext_noop("可以写 A1、B2:B10、{1,2,3}"),
        gettext_noop("不接受；用字段名、明细函数和 属于(值, 选项…)"),
        gettext_noop("公式对每张订单计算，不在表格里"),
    ),
    Difference(
        gettext_noop("文本格式里的分数"),
        gettext_noop('TEXT(0.5,"# ?/?") 得出 1/2'),
        gettext_noop("得出 #VALUE!"),
        gettext_noop("订单里用不到分数"),
    ),
)
