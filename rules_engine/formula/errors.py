"""What the checker has to say: findings with code, Chinese sentence, place and remedy."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from config.errors import AppError, Phrase, gettext_noop


@dataclass(frozen=True, slots=True)
class Fix:
    """A one-click remedy: put `text` in place of typed characters start..end."""

    start: int
    end: int
    text: str
    label: Phrase


@dataclass(frozen=True, slots=True)
class Finding:
    """One remark about a formula; start and end count characters of the typed text."""

    code: str
    message: str
    params: dict[str, Any]
    start: int
    end: int
    refuses: bool
    fix: Fix | None = None

    @property
    def phrase(self) -> Phrase:
        """The sentence, to be said in any language."""
        return Phrase(self.message, self.params)

    @property
    def text(self) -> str:
        """The Chinese sentence, filled in."""
        return self.message % self.params


class FormulaErrors(AppError):
    """A formula that cannot be used; carries every finding, not only the first."""

    code = "formula_refused"

    def __init__(self, findings: tuple[Finding, ...]) -> None:
        self.findings = findings
        first = next((item for item in findings if item.refuses), None)
        super().__init__(
            gettext_noop("公式不能使用：%(first)s"), first=first.phrase if first else ""
        )


@dataclass(frozen=True, slots=True)
class _Sort:
    """A sort of finding: its sentence and whether it refuses."""

    message: str
    refuses: bool = field(default=True)


_SYNTAX: Final = {
    "empty": gettext_noop("公式是空的，请写上内容"),
    "too_long": gettext_noop("公式有 %(count)d 个字符，最多 %(limit)d 个；请拆成几个检查项"),
    "too_many_nodes": gettext_noop("公式太大，最多 %(limit)d 个部分；请拆成几个检查项"),
    "too_deep": gettext_noop(
        "第 %(line)d 行第 %(column)d 列：嵌套超过 %(limit)d 层，请减少括号或拆成几个检查项"
    ),
    "too_many_arguments": gettext_noop(
        "第 %(line)d 行第 %(column)d 列：%(function)s 的参数超过 %(limit)d 个"
    ),
    "hidden_character": gettext_noop(
        "第 %(line)d 行第 %(column)d 列：有一个看不见的字符 %(character)s，请删除"
    ),
    "unknown_character": gettext_noop(
        "第 %(line)d 行第 %(column)d 列：不能使用“%(character)s”%(hint)s"
    ),
    "unclosed_text": gettext_noop("第 %(line)d 行第 %(column)d 列：文本没有结束，缺少右引号"),
    "unclosed_comment": gettext_noop("第 %(line)d 行第 %(column)d 列：注释没有结束，缺少 */"),
    "unclosed_label": gettext_noop("第 %(line)d 行第 %(column)d 列：字段名没有结束，缺少 ]"),
    "number_too_large": gettext_noop("第 %(line)d 行第 %(column)d 列：数字太大"),
    "unclosed_bracket": gettext_noop("第 %(line)d 行第 %(column)d 列：括号没有闭合，缺少 )"),
    "extra_bracket": gettext_noop("第 %(line)d 行第 %(column)d 列：多了一个 )，没有对应的 ("),
    "missing_operand": gettext_noop(
        "第 %(line)d 行第 %(column)d 列：“%(before)s”后面缺少内容%(hint)s"
    ),
    "missing_argument": gettext_noop(
        "第 %(line)d 行第 %(column)d 列：%(function)s 的第 %(number)d 个参数是空的"
    ),
    "missing_operator": gettext_noop(
        "第 %(line)d 行第 %(column)d 列：“%(before)s”和“%(after)s”之间缺少运算符%(hint)s"
    ),
    "infix_logic": gettext_noop("第 %(line)d 行第 %(column)d 列：“%(word)s”不是运算符%(hint)s"),
    "stray_comma": gettext_noop("第 %(line)d 行第 %(column)d 列：逗号只能用来分隔函数的参数"),
    "call_of_value": gettext_noop("第 %(line)d 行第 %(column)d 列：只有函数名后面可以直接跟括号"),
}

_NAMES: Final = {
    "unknown_name": gettext_noop("没有字段「%(name)s」%(hint)s"),
    "missing_quotes": gettext_noop("没有字段「%(name)s」；如果是文本，要写在双引号里"),
    "cell_reference": gettext_noop(
        "这里没有单元格 %(name)s：公式对每张订单计算一次，请改用字段名，例如 支付金额"
    ),
    "deleted_field": gettext_noop("字段 %(id)s 已被删除，请换一个字段"),
    "mixed_width_name": gettext_noop("字段名「%(name)s」里有全角字母或数字，请改成「%(folded)s」"),
    "function_as_value": gettext_noop("「%(name)s」是函数，后面要写括号和参数"),
    "unknown_function": gettext_noop("没有函数「%(name)s」%(hint)s"),
    "too_few_arguments": gettext_noop(
        "%(function)s 需要%(wanted)s个参数，这里只有 %(count)d 个；用法：%(usage)s"
    ),
    "surplus_arguments": gettext_noop(
        "%(function)s 只要%(wanted)s个参数，这里有 %(count)d 个；用法：%(usage)s"
    ),
    "unpaired_arguments": gettext_noop("%(function)s 的参数要成对出现；用法：%(usage)s"),
    "not_rows": gettext_noop("%(function)s 的第 1 个参数要写多行明细，例如 明细、付款"),
    "rows_need_expression": gettext_noop(
        "%(function)s 要写对「%(rows)s」的哪一列计算，例如 %(usage)s"
    ),
    "pattern_not_literal": gettext_noop("%(function)s 的模式要直接写成文本，不能由计算得出"),
    "bad_pattern": gettext_noop("模式有错：%(reason)s"),
    "pattern_too_long": gettext_noop("模式有 %(count)d 个字符，最多 %(limit)d 个"),
    "table_not_literal": gettext_noop("查表的表名要直接写成文本；用法：%(usage)s"),
    "unknown_table": gettext_noop("没有已发布的查找表「%(name)s」%(hint)s"),
    "table_gone": gettext_noop("查找表 %(id)s 不在这个环境里，请先建表并发布，或换一张表"),
    "table_keys": gettext_noop("查找表「%(table)s」按 %(keys)s 查；用法：%(usage)s"),
    "column_not_literal": gettext_noop(
        "查表要取的列要直接写成文本；「%(table)s」有这些列：%(columns)s"
    ),
    "unknown_table_column": gettext_noop("查找表「%(table)s」没有可取的列「%(name)s」%(hint)s"),
    "term_not_literal": gettext_noop('%(function)s 的%(what)s要直接写成文本，例如 "推送WMS"'),
    "unknown_term": gettext_noop("没有%(what)s「%(name)s」%(hint)s"),
    "judgement_kind": gettext_noop(
        "判断要得出“是/否”或检查结果，这里得出的是%(kind)s；请写成比较，例如 支付金额>0"
    ),
    "points_kind": gettext_noop("计分要得出数字或检查结果，这里得出的是%(kind)s"),
    "too_costly": gettext_noop(
        "这里写死的文本计算太长，每张订单都要算一遍；请缩短文本，或拆成几个检查项"
    ),
    "too_many_lookups": gettext_noop(
        "一个公式最多查表 %(limit)d 次，这里有 %(count)d 次；请合并查找表，或拆成几个检查项"
    ),
    "too_many_walks": gettext_noop(
        "一个公式最多遍历关联订单或历史 %(limit)d 次，这里有 %(count)d 次；请合并条件，或拆成几个检查项"
    ),
    "points_without_else": gettext_noop("条件不成立时没有写得多少分；请补上最后一个参数，例如 0"),
}

_WARNINGS: Final = {
    "table_key_type": gettext_noop(
        "查找表的键「%(key)s」是%(kind)s，这里用文本去查，内容不是%(kind)s时会得出 #VALUE!"
    ),
    "text_against_number": gettext_noop(
        "文本与数字比较：Excel 里文本总是大于数字，这个比较的结果永远是%(outcome)s"
    ),
    "logical_against_other": gettext_noop(
        "“是/否”与%(other)s比较：Excel 里“是/否”总是更大，这个比较的结果永远是%(outcome)s"
    ),
    "date_as_arithmetic": gettext_noop("这里是算术，得出 %(value)s，不是日期；日期写成 %(made)s"),
    "text_in_arithmetic": gettext_noop(
        "这里用文本做计算，内容不是数字时会得出 #VALUE!；可以用 数值() 转换"
    ),
    "rows_as_value": gettext_noop("这里要一个值，写的却是多行明细，会得出 #VALUE!"),
    "rows_as_list": gettext_noop(
        "「%(rows)s」每行有几列，%(function)s 只认一列的列表；可以写成 计数(%(rows)s, 条件) 或 求和(%(rows)s, 列)"
    ),
    "result_as_value": gettext_noop("检查结果不能参与计算，会得出 #VALUE!"),
    "always_error": gettext_noop("这一部分总是得出 %(error)s（%(reason)s）"),
    "constant_formula": gettext_noop("这个公式没有用到订单的任何字段，每张订单都得出同样的结果"),
    "constant_condition": gettext_noop("条件永远是%(outcome)s，不随订单变化"),
    "unreachable_branch": gettext_noop("这一部分永远不会用到"),
}

SORTS: Final[dict[str, _Sort]] = {
    **{code: _Sort(message) for code, message in (_SYNTAX | _NAMES).items()},
    **{code: _Sort(message, refuses=False) for code, message in _WARNINGS.items()},
}


CHANGE: Final = gettext_noop("改成 %(text)s")
REPLACE: Final = gettext_noop("换成 %(text)s")
DELETE: Final = gettext_noop("删除 %(text)s")
ADD_QUOTES: Final = Phrase(gettext_noop("补上双引号"))


def write(start: int, end: int, text: str, message: str = CHANGE, *, shown: str = "") -> Fix:
    """A remedy that shows what it puts in; `shown` says it shorter."""
    return Fix(start, end, text, Phrase(message, {"text": shown or text}))


def find(code: str, *, start: int, end: int, fix: Fix | None = None, **params: object) -> Finding:
    """Make the finding `code` with its sentence from the table."""
    sort = SORTS[code]
    return Finding(code, sort.message, dict(params), start, end, sort.refuses, fix)
